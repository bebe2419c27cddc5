package main

import (
	"bufio"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"coexistd/milter/ownmail"
	"coexistd/milter/quarantine"
	"coexistd/policy/config"
	"coexistd/policy/mail"
	"coexistd/policy/seal"
)

// heldTable prints entries, one a line.
type heldTable struct {
	listing
	zone  *time.Location
	count int // of the rows
}

func (t *heldTable) row(e *quarantine.Entry) {
	if t.count++; t.count == 1 {
		t.least = []int{10, 16, 5, 9, 24, 28, 28, 0}
		t.add("ID", "TIME", "POINT", "STATE", "CHECK", "FROM", "TO", "SUBJECT")
	}
	from := ownmail.Readable(e.From)
	if from == "" {
		from = "<" + ownmail.Readable(e.Sender) + ">"
	}
	t.add(e.ID, e.Time.In(t.zone).Format("2006-01-02 15:04"), e.Point.String(), string(e.State),
		checksOf(e, " "), from, ownmail.Readable(e.Address), ownmail.Readable(e.Subject))
}

// checksOf lists the checks that hold an entry, with what they found.
func checksOf(e *quarantine.Entry, between string) string {
	var list []string
	for i, check := range e.Checks {
		if i < len(e.Found) && e.Found[i] != "" {
			check += between + ownmail.Readable(e.Found[i])
		}
		list = append(list, check)
	}
	return strings.Join(list, ", ")
}

const (
	// maxHeaderLines and maxHeaderBytes bound the header that show prints.
	maxHeaderLines = 500
	maxHeaderBytes = 256 << 10
)

// shown is all that is known of an entry.
type shown struct {
	quarantine.Entry
	KeptUntil time.Time `json:"kept_until"`
	// Release tells what would become of the message now.
	Release explainedRcpt `json:"release"`
	Header  []string      `json:"header"` // its lines
}

func showCommand(c *call) *cobra.Command {
	var raw bool
	cmd := c.command(cobra.Command{
		Use:   "show ID",
		Short: "tell all that is known of an entry; --raw prints its message",
		Example: `  coexistd quarantine show vb3kq7x2ma
  coexistd quarantine show vb3kq7x2ma --raw >message.eml`,
	}, func(ids []string) int { return showHeld(c, ids, raw) })
	cmd.Flags().BoolVar(&raw, "raw", false, "print the message's bytes and nothing else")
	return cmd
}

func showHeld(c *call, ids []string, raw bool) int {
	if len(ids) != 1 {
		return c.wrong("name one ID (see: coexistd quarantine list)")
	}
	conf, store, err := c.openHeld()
	if err != nil {
		return c.fail(err)
	}
	id := strings.ToLower(ids[0])
	if raw {
		return c.printRaw(store, id)
	}
	entries, err := store.List(quarantine.Query{IDs: []string{id}, All: true})
	if err != nil {
		return c.fail(err)
	}
	if len(entries) == 0 {
		fmt.Fprintf(c.stderr, "there is no entry %q\n", id)
		return exitNo
	}
	s := shown{Entry: entries[0], KeptUntil: entries[0].Time.Add(conf.Quarantine.Keep), Header: []string{}}
	var header *mail.Header
	if content, err := store.Content(id); err == nil {
		s.Header = headerLines(content)
		// A header that cannot be read is not there, as for an entry without content.
		if _, err := content.Seek(0, io.SeekStart); err == nil {
			header, _ = mail.ReadHeader(content)
		}
		content.Close()
	} else if s.State == quarantine.Held {
		fmt.Fprintln(c.stderr, err)
	}
	s.Release = whereTo(conf, header, &s.Entry)
	if err := c.print(s, func(w io.Writer) { s.print(w, conf.Quarantine.Report.Zone) }); err != nil {
		return c.fail(err)
	}
	return exitYes
}

func (c *call) printRaw(store *quarantine.Store, id string) int {
	content, err := store.Content(id)
	if err != nil {
		fmt.Fprintln(c.stderr, err)
		return exitNo
	}
	defer content.Close()
	if _, err := io.Copy(c.stdout, content); err != nil {
		return c.fail(err)
	}
	return exitYes
}

// headerLines returns a message's first lines up to the empty one.
func headerLines(content io.Reader) []string {
	lines := []string{}
	all := bufio.NewScanner(io.LimitReader(content, maxHeaderBytes))
	all.Buffer(nil, maxHeaderBytes+1)
	for len(lines) < maxHeaderLines && all.Scan() {
		line := strings.TrimRight(all.Text(), "\r")
		if line == "" {
			break
		}
		lines = append(lines, line)
	}
	return lines
}

// whereTo returns what would become of an entry's message, past the checks that
// hold it, by the directory as it is now: what explain says of a message with the pass of
// a release.
func whereTo(conf *config.Config, header *mail.Header, e *quarantine.Entry) explainedRcpt {
	q := question{from: e.Sender, to: []string{e.Address}, header: header, listener: 1, onHost: true}
	q.pass = &seal.Pass{ID: e.ID, Checks: append(slices.Clone(e.Passed), e.Checks...), Point: e.Point, Platform: e.Platform}
	explanation, err := answer(conf, &q)
	if err != nil {
		return explainedRcpt{Address: e.Address, Rewritten: []string{}, Reply: err.Error()}
	}
	return explanation.Recipients[0]
}

func (s *shown) print(w io.Writer, zone *time.Location) {
	clock := func(t time.Time) string { return t.In(zone).Format("2006-01-02 15:04:05 MST") }
	who := "they"
	if len(s.ReportTo) > 0 {
		who = escaped(strings.Join(s.ReportTo, ", "))
	}
	told := who + " are not told of it"
	switch {
	case s.Reported:
		told = who + " were told of it"
	case s.Report:
		told = who + " are told of it in the next report"
	}
	release := s.Release.Flow
	if release == "" {
		release = s.Release.Reply
	}
	if len(s.Release.Rewritten) > 0 {
		release += " as " + strings.Join(s.Release.Rewritten, ", ")
	}
	for _, line := range [][2]string{
		{"id", s.ID},
		{"state", fmt.Sprintf("%s since %s", s.State, clock(s.Changed))},
		{"came", clock(s.Time)},
		{"kept", "until " + clock(s.KeptUntil)},
		{"point", strings.TrimSpace(s.Point.String() + " " + s.Platform)},
		{"held by", checksOf(&s.Entry, ": ")},
		{"let past", strings.Join(s.Passed, ", ")},
		{"queue id", s.QueueID},
		{"client", s.Client},
		{"login", s.Login},
		{"sender", "<" + s.Sender + ">"},
		{"recipient", "<" + s.Address + ">"},
		{"notify", s.Notify},
		{"orcpt", s.ORcpt},
		{"report", told},
		{"from", ownmail.Readable(s.From)},
		{"subject", ownmail.Readable(s.Subject)},
		{"message id", s.MessageID},
		{"size", ownmail.Bytes(s.Size)},
		{"proven", ownmail.Readable(s.Proven)},
		{"lives", s.Release.Residence},
		{"goes", release},
	} {
		if line[1] != "" {
			fmt.Fprintf(w, "%-10s %s\n", line[0], escaped(line[1]))
		}
	}
	if len(s.Header) > 0 {
		fmt.Fprintln(w)
	}
	for _, line := range s.Header {
		fmt.Fprintf(w, "  %s\n", escaped(line))
	}
}

// escaped writes what a terminal must not see as escapes: control characters,
// those that change the direction of writing, and bytes that are not UTF-8.
func escaped(s string) string {
	s = strings.ReplaceAll(s, "\t", " ")
	quoted := strconv.Quote(s)
	return strings.ReplaceAll(quoted[1:len(quoted)-1], `\"`, `"`)
}
