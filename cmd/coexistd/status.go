package main

import (
	"cmp"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"coexistd/cmd/coexistd/control"
	"coexistd/cmd/coexistd/human"
)

func statusCommand(c *call) *cobra.Command {
	cmd := c.command(cobra.Command{
		Use:   "status",
		Short: "tell what the running daemon has in its memory, and what it is doing",
		Long: `status asks the running daemon for the configuration and the directories that it goes
by, the networks of the other platforms, its scanners, Redis and quarantine, the records
of messages, and the connections and messages under way.

The exit status is 0 when all is well, and 1 when something that was refused or does not
answer needs a look.`,
		Example: `  coexistd status
  coexistd status --json`,
		Args: atMost(0),
	}, func([]string) int { return status(c) })
	c.jsonFlag(cmd.Flags())
	return cmd
}

func status(c *call) int {
	s, err := ask(c, (*control.Client).Status)
	if err != nil {
		return c.fail(err)
	}
	now := time.Now()
	if err := c.print(s, func(w io.Writer) { printStatus(w, s, now) }); err != nil {
		return c.fail(err)
	}
	if !s.Well() {
		return exitNo
	}
	return exitYes
}

// mostFlaws bounds the bad rows of a directory that are named.
const mostFlaws = 5

// printStatus prints a line for each thing, after a word that says what it is.
func printStatus(w io.Writer, s control.Status, now time.Time) {
	line := func(what, format string, args ...any) {
		fmt.Fprintf(w, "%-13s  %s\n", what, printableLine(fmt.Sprintf(format, args...)))
	}
	// A reload and the watch over a directory may both refuse one row.
	var told []string
	refused := func(texts []string) {
		for _, text := range texts {
			if !slices.Contains(told, text) {
				told = append(told, text)
				line("  REFUSED", "%s", text)
			}
		}
	}
	state := ""
	if s.Draining {
		state = "; it ends when its messages have ended"
	}
	line("daemon", "version %s, process %d, started %s%s", s.Version, s.PID, human.Age(now.Sub(s.Started)), state)
	line("configuration", "%s, loaded %s", s.Configuration.Path, human.Age(now.Sub(s.Configuration.Loaded)))
	refused(s.Configuration.Refused)
	if s.Configuration.Mode != "enforce" {
		line("mode", "%s", s.Configuration.Mode)
	}
	if s.Configuration.Archive != "" {
		line("archive", "%s", s.Configuration.Archive)
	}
	for _, l := range s.Listeners {
		if l.Use == control.UseMetrics {
			line(l.Use, "%s", l.Address)
			continue
		}
		line(l.Use, "%s, %s", l.Address, human.Count(len(l.Connections), "connection"))
	}
	line("messages", "%d under way", s.Messages)
	for _, d := range s.Directories {
		printDirectory(line, refused, d, now)
	}
	for _, n := range s.Networks {
		text := fmt.Sprintf("%s, %s: %s, known to be right %s", n.Platform, n.Source, human.Count(n.Count, "network"), human.Age(time.Duration(n.Age)*time.Second))
		if n.Error != "" {
			text += "; it cannot be refreshed: " + n.Error
		}
		line("networks", "%s", text)
	}
	for _, one := range s.Scanners {
		line("scanner", "%s, %d of %d scans under way", serverText(one.Server, now), one.Scans, one.Places)
	}
	if s.Redis != nil {
		line("redis", "%s", serverText(*s.Redis, now))
	}
	if q := s.Quarantine; q.Open {
		line("quarantine", "%s, open", q.Dir)
	} else {
		line("quarantine", "%s, NOT OPEN: %s", q.Dir, cmp.Or(q.Error, "it was not tried yet"))
	}
	line("senders", "%s", sendersText(s.Senders, now))
	line("records", "%s", recordsText(s.Records, now))
	if l := s.Records.MTALog; l != nil {
		line("mta log", "%s", logText(l, now))
	}
}

// sendersText says how the senders are that recipients have allowed and blocked.
func sendersText(s control.Senders, now time.Time) string {
	text := fmt.Sprintf("%d allowed, %d blocked by recipients", s.Allowed, s.Blocked)
	if s.Error != "" {
		text += fmt.Sprintf(", as they were before: CANNOT BE READ since %s: %s", since(s.Since, now), s.Error)
	}
	return text
}

// recordsText says how the records of messages are.
func recordsText(r control.Records, now time.Time) string {
	if r.Keep == 0 {
		return "none of messages are kept (messages.keep)"
	}
	text := fmt.Sprintf("%s, %s, %s", r.Path, human.Count(int(r.Count), "message"), human.Size(r.Bytes))
	if r.Lost > 0 {
		text += fmt.Sprintf("; %d LOST since the start, the last %s", r.Lost, human.Age(now.Sub(r.LastLost)))
	}
	if r.Failed != "" {
		text += "; CANNOT BE WRITTEN: " + r.Failed
	}
	return text
}

// logText says how far the MTA's log was read.
func logText(l *control.MTALog, now time.Time) string {
	text := l.Source
	if l.Latest.IsZero() {
		text += ", nothing was read yet"
	} else {
		text += fmt.Sprintf(", %s read, the last of %s", human.Count(int(l.Lines), "line"), human.Age(now.Sub(l.Latest)))
	}
	if !l.Gap.IsZero() {
		text += fmt.Sprintf("; part of it was GONE before it was read, as was found %s", human.Age(now.Sub(l.Gap)))
	}
	if l.Failed != "" {
		text += "; CANNOT BE READ: " + l.Failed
	}
	return text
}

// printDirectory prints the lines of one directory.
func printDirectory(line func(what, format string, args ...any), refused func([]string), d control.Directory, now time.Time) {
	age := "no list"
	if !d.Loaded.IsZero() {
		age = fmt.Sprintf("%s, %s, loaded %s", human.Count(d.Addresses, "address"), human.Size(d.Bytes), human.Age(now.Sub(d.Loaded)))
	}
	line("directory", "%s for %s: %s%s", d.Source, strings.Join(d.Domains, ", "), age, outsideText(d.Outside, now))
	refused(d.Refused)
	for _, text := range d.Flaws[:min(len(d.Flaws), mostFlaws)] {
		line("  WRONG", "%s", text)
	}
	if len(d.Flaws) > mostFlaws {
		line("  WRONG", "%d more rows; for %d addresses mail is put off: coexistd check names them", len(d.Flaws)-mostFlaws, d.PutOff)
	}
}

// outsideText says how a source outside this host is, or "".
func outsideText(o *control.Outside, now time.Time) string {
	if o == nil {
		return ""
	}
	text := ""
	switch {
	case o.Waits:
		return "; it is not asked until the question before has ended"
	case o.Failed != "":
		text = fmt.Sprintf("; CANNOT BE READ since %s: %s", since(o.Since, now), o.Failed)
	case o.Asked.IsZero() && o.Reading.IsZero():
		return "; it is being read"
	case !o.Asked.IsZero():
		text = fmt.Sprintf("; %s read %s, asked %s", human.Count(o.Rows, "row"), human.Age(now.Sub(o.Read)), human.Age(now.Sub(o.Asked)))
	}
	if !o.Reading.IsZero() {
		text += "; it is being read since " + since(o.Reading, now)
	}
	return text
}

func since(then, now time.Time) string { return strings.TrimSuffix(human.Age(now.Sub(then)), " ago") }

// serverText says how a server is.
func serverText(s control.Server, now time.Time) string {
	switch {
	case s.Reason == "":
		return s.Name + ": in use"
	case !s.Away:
		return fmt.Sprintf("%s: DID NOT ANSWER when it was last asked, %s: %s", s.Name, human.Age(now.Sub(s.Since)), s.Reason)
	}
	return fmt.Sprintf("%s: DOES NOT ANSWER since %s: %s", s.Name, strings.TrimSuffix(human.Age(now.Sub(s.Since)), " ago"), s.Reason)
}
