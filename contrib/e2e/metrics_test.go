package e2e

import (
	"context"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"
)

// metricsTOML has a site tell its metrics.
const metricsTOML = `
[metrics]
address = "unix:{dir}/metrics.sock"
`

// numbers asks for the metrics, by the name with its labels.
func (s *site) numbers() map[string]float64 {
	s.t.Helper()
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true, DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", filepath.Join(s.Dir, "metrics.sock"))
	}}}
	request, err := http.NewRequestWithContext(deadline(s.t), http.MethodGet, "http://coexistd/metrics", nil)
	s.do(err)
	answer, err := client.Do(request)
	s.do(err)
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	s.do(err)
	all := make(map[string]float64)
	for line := range strings.Lines(string(text)) {
		at := strings.LastIndexByte(line, ' ')
		if value, err := strconv.ParseFloat(strings.TrimSpace(line[at+1:]), 64); err == nil && !strings.HasPrefix(line, "#") {
			all[line[:at]] = value
		}
	}
	return all
}

// counts are what counts messages among numbers, but for what is zero.
func counts(all map[string]float64) map[string]float64 {
	counting := []string{"messages_total", "recipients_total", "findings_total", "unproven_messages_total", "quarantine_failures_total", "step_duration_seconds_count", "scan_duration_seconds_count", "ddos_excesses_total"}
	maps.DeleteFunc(all, func(name string, value float64) bool {
		series, _, _ := strings.Cut(strings.TrimPrefix(name, "coexistd_"), "{")
		return value == 0 || !slices.Contains(counting, series)
	})
	return all
}

// What a message counts as.
func aMessage(point, platform, verdict, check string, ended bool) string {
	return fmt.Sprintf(`coexistd_messages_total{check=%q,ended="%v",platform=%q,point=%q,verdict=%q}`, check, ended, platform, point, verdict)
}

func aRecipient(point, flow, verdict, check string) string {
	return fmt.Sprintf(`coexistd_recipients_total{check=%q,flow=%q,point=%q,verdict=%q}`, check, flow, point, verdict)
}

func aFinding(check, state string) string {
	return fmt.Sprintf(`coexistd_findings_total{check=%q,state=%q}`, check, state)
}

func aStep(name string) string {
	return fmt.Sprintf(`coexistd_step_duration_seconds_count{step=%q}`, name)
}

func aScan(check string) string {
	return fmt.Sprintf(`coexistd_scan_duration_seconds_count{check=%q}`, check)
}

// mustCount waits until the metrics count what they must, and nothing else: a session may end
// a moment after its client has gone.
func (s *site) mustCount(want map[string]float64) {
	s.t.Helper()
	var got map[string]float64
	for ctx := deadline(s.t); ctx.Err() == nil; {
		if got = counts(s.numbers()); maps.Equal(got, want) {
			return
		}
		select {
		case <-time.After(100 * time.Millisecond):
		case <-ctx.Done():
		}
	}
	for _, name := range slices.Sorted(maps.Keys(got)) {
		if got[name] != want[name] {
			s.t.Errorf("%s is %v; what was sent is %v", name, got[name], want[name])
		}
	}
	for _, name := range slices.Sorted(maps.Keys(want)) {
		if _, told := got[name]; !told {
			s.t.Errorf("%s is not told; what was sent is %v", name, want[name])
		}
	}
}

// mustCountFlows compares what the metrics count of recipients with the ways of messages that
// were all accepted.
func (s *site) mustCountFlows(list []*passage) {
	s.t.Helper()
	want := make(map[string]float64)
	for _, p := range list {
		at := strings.IndexByte(p.flow, 'S')
		want[aRecipient(p.flow[at:at+2], p.flow, "accept", "")]++
	}
	got := counts(s.numbers())
	maps.DeleteFunc(got, func(name string, _ float64) bool { return !strings.HasPrefix(name, "coexistd_recipients_total{") })
	if !maps.Equal(got, want) {
		s.t.Errorf("the metrics count\n%v\nand what was sent is\n%v", got, want)
	}
}
