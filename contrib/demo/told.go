package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"coexistd/contrib/lab"
)

// toldTOML has coexistd count messages, and follow what the MTA does with them.
const toldTOML = `
[messages]
mta_log = "` + lab.MailLog + `"

[metrics]
address = "unix:{dir}/` + metricsSocket + `"
`

const metricsSocket = "metrics.sock"

// told is what coexistd tells of messages, by how often: of each message, of those of a fate
// together, and in the metrics.
type told map[string]int

// tell prints what coexistd tells of the messages, and returns whether that is what was sent.
func tell(ctx context.Context, site *lab.Site, program string, shipments []shipment, out io.Writer) (ok bool, err error) {
	want, got := make(told), make(told)
	for i := range shipments {
		want.expect(&shipments[i])
	}
	run := func(args ...string) ([]byte, error) {
		// Its status is 1 when nothing is found, which is no failure.
		text, err := exec.CommandContext(ctx, program, append(args, "-c", site.Config())...).Output()
		if exit, ended := err.(*exec.ExitError); ended && exit.ExitCode() > 1 {
			return nil, fmt.Errorf("coexistd %s: %s", strings.Join(args, " "), exit.Stderr)
		} else if err != nil && !ended {
			return nil, fmt.Errorf("coexistd %s: %w", strings.Join(args, " "), err)
		}
		return text, nil
	}
	if err := got.readMessages(ctx, run, len(shipments)); err != nil {
		return false, err
	}
	for _, args := range [][]string{{"messages", "find"}, {"messages", "counts"}} {
		text, err := run(args...)
		if err != nil {
			return false, err
		}
		fmt.Fprintf(out, "\n$ coexistd %s\n%s", strings.Join(args, " "), text)
	}
	fmt.Fprintln(out, "\nOf the metrics:")
	if err := got.readMetrics(ctx, filepath.Join(site.Dir, metricsSocket), out); err != nil {
		return false, err
	}
	return want.isToldBy(got, out), nil
}

// expect adds a shipment, each of whose recipients must get it.
func (t told) expect(s *shipment) {
	platform := ""
	if s.point == "S1" {
		platform = "office365"
	}
	var flows []string
	message := fmt.Sprintf("message: %s accept <%s>", s.point, s.from)
	for _, r := range s.recipients {
		message += fmt.Sprintf(" %s %s", r.address, r.flow)
		for _, flow := range strings.Split(r.flow, ", ") {
			if !slices.Contains(flows, flow) {
				flows = append(flows, flow)
			}
		}
		t[fmt.Sprintf(`coexistd_recipients_total{check="",flow=%q,point=%q,verdict="accept"}`, r.flow, s.point)]++
	}
	t[message]++
	t[fmt.Sprintf(`coexistd_messages_total{check="",ended="true",platform=%q,point=%q,verdict="accept"}`, platform, s.point)]++
	fate := fmt.Sprintf("%s %q accept %q", s.point, strings.Join(flows, ", "), "")
	t["messages of "+fate]++
	t["recipients of "+fate] += len(s.recipients)
}

// readMessages reads what messages find and messages counts tell, once that are so many.
func (t told) readMessages(ctx context.Context, run func(...string) ([]byte, error), count int) error {
	var found []struct {
		Point, Verdict, From string
		Recipients           []struct{ Address, Flow string }
	}
	for len(found) < count {
		text, err := run("messages", "find", "--json")
		if err == nil {
			err = json.Unmarshal(text, &found)
		}
		if err != nil {
			return fmt.Errorf("what messages find tells cannot be read: %w", err)
		}
		select {
		case <-time.After(50 * time.Millisecond):
		case <-ctx.Done():
			count = 0 // what is missing is told with all else
		}
	}
	for _, m := range found {
		message := fmt.Sprintf("message: %s %s <%s>", m.Point, m.Verdict, m.From)
		for _, r := range m.Recipients {
			message += fmt.Sprintf(" %s %s", r.Address, r.Flow)
		}
		t[message]++
	}
	var counts []struct {
		Point, Flow, Verdict, Check string
		Messages, Recipients        int
	}
	text, err := run("messages", "counts", "--json")
	if err == nil {
		err = json.Unmarshal(text, &counts)
	}
	if err != nil {
		return fmt.Errorf("what messages counts tells cannot be read: %w", err)
	}
	for _, c := range counts {
		fate := fmt.Sprintf("%s %q %s %q", c.Point, c.Flow, c.Verdict, c.Check)
		t["messages of "+fate] += c.Messages
		t["recipients of "+fate] += c.Recipients
	}
	return nil
}

// readMetrics reads and prints those that count messages and recipients.
func (t told) readMetrics(ctx context.Context, socket string, out io.Writer) error {
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true, DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", socket)
	}}}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://coexistd/metrics", nil)
	if err != nil {
		return err
	}
	answer, err := client.Do(request)
	if err != nil {
		return fmt.Errorf("the metrics cannot be read: %w", err)
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	if err != nil {
		return fmt.Errorf("the metrics cannot be read: %w", err)
	}
	for line := range strings.Lines(string(text)) {
		isOne := strings.HasPrefix(line, "coexistd_messages_total{") || strings.HasPrefix(line, "coexistd_recipients_total{")
		at := strings.LastIndexByte(line, ' ')
		if n, err := strconv.Atoi(strings.TrimSpace(line[at+1:])); isOne && err == nil && n > 0 {
			t[line[:at]] = n
			fmt.Fprint(out, line)
		}
	}
	return nil
}

// isToldBy compares what was sent with what is told, and prints what is not the same.
func (t told) isToldBy(got told, out io.Writer) (ok bool) {
	ok = true
	all := maps.Clone(got)
	maps.Copy(all, t)
	for _, what := range slices.Sorted(maps.Keys(all)) {
		if got[what] != t[what] {
			fmt.Fprintf(out, "WRONG: %d were sent, and %d are told: %s\n", t[what], got[what], what)
			ok = false
		}
	}
	return ok
}
