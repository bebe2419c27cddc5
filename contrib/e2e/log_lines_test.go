package e2e

import (
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"coexistd/contrib/lab"
)

// configuration writes a configuration and its directory, and returns the
// path.
func configuration(t *testing.T, toml, users string) string {
	t.Helper()
	path, err := lab.WriteConfiguration(t.TempDir(), toml, users)
	if err != nil {
		t.Fatal(err)
	}
	return path
}

// logLine is one line of the daemon's log by its keys.
type logLine map[string]string

// logged waits for the log line of a message that was taken.
func (s *site) logged(r lab.Result) logLine {
	s.t.Helper()
	id := s.QueueID(r.Data)
	if id == "" {
		s.t.Fatalf("the reply %s names no queue id", r.Data)
	}
	return waitMessage(s.t, s.Daemon, id)
}

// waitMessage waits for the log line of the message with a queue id.
func waitMessage(t *testing.T, d *lab.Daemon, id string) logLine {
	t.Helper()
	line, err := d.WaitLog(deadline(t), regexp.MustCompile(`msg=message queue_id=`+regexp.QuoteMeta(id)+` `))
	if err != nil {
		t.Fatal(err)
	}
	return parseLogLine(t, line)
}

// parseLogLine takes a line of slog's text handler apart.
func parseLogLine(t *testing.T, line string) logLine {
	t.Helper()
	l := logLine{}
	for rest := line; rest != ""; {
		key, after, found := strings.Cut(rest, "=")
		if !found {
			t.Fatalf("the log line %q is not made of keys and values", line)
		}
		value, _, _ := strings.Cut(after, " ")
		if quoted, err := strconv.QuotedPrefix(after); err == nil {
			after = after[len(quoted):]
			value, _ = strconv.Unquote(quoted)
		} else {
			after = after[len(value):]
		}
		l[key] = value
		rest = strings.TrimPrefix(after, " ")
	}
	return l
}

var loggedRecipient = regexp.MustCompile(`^<(.*?)>` +
	`(?: ([a-z][a-z0-9-]*))??` + // residence
	`(?: ([A-Z]+\d=>[^ ]+(?:, [A-Z]+\d=>[^ ]+)*))?` + // flow
	`(?: -> (.+?))?` +
	`(?: (tag|quarantine|discard|tempfail|reject))?` +
	`(?:: (\d{3} .*))?$`)

// recipients takes what a message's line says of its recipients apart.
func (l logLine) recipients(t *testing.T) []explainedRcpt {
	t.Helper()
	list := []explainedRcpt{}
	for one := range strings.SplitSeq(strings.ReplaceAll(l["recipients"], "; <", "\n<"), "\n") {
		m := loggedRecipient.FindStringSubmatch(one)
		if m == nil {
			t.Fatalf("the log says of a recipient %q", one)
		}
		r := explainedRcpt{Address: m[1], Residence: m[2], Flow: m[3], Rewritten: []string{}, Verdict: "accept", Reply: m[6]}
		if m[4] != "" {
			r.Rewritten = []string{m[4]}
		}
		if m[5] != "" {
			r.Verdict = m[5]
		}
		list = append(list, r)
	}
	return list
}

// recipient returns what a message's line says of one recipient.
func (l logLine) recipient(t *testing.T, address string) explainedRcpt {
	t.Helper()
	list := l.recipients(t)
	i := slices.IndexFunc(list, func(r explainedRcpt) bool { return r.Address == address })
	if i < 0 {
		t.Fatalf("the log line names %v, not %s", list, address)
	}
	return list[i]
}
