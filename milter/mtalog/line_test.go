package mtalog

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// then is when the lines of the test data were read.
var then = time.Date(2027, 1, 2, 3, 4, 5, 0, time.UTC)

// TestEachLineMakesItsEvent compares what is made of lines of real MTAs, of lines of others
// that those did not write here, and of lines in which strangers have written such text.
// WRITE_EVENTS=1 writes the table anew.
func TestEachLineMakesItsEvent(t *testing.T) {
	logs, err := filepath.Glob("testdata/*.log")
	if err != nil || len(logs) < 5 {
		t.Fatal(logs, err)
	}
	for _, log := range logs {
		lines, err := os.ReadFile(log)
		if err != nil {
			t.Fatal(err)
		}
		var got strings.Builder
		for text := range strings.Lines(string(lines)) {
			got.WriteString(told(strings.TrimSuffix(text, "\n")) + "\n")
		}
		golden := strings.TrimSuffix(log, ".log") + ".want"
		if os.Getenv("WRITE_EVENTS") != "" {
			if err := os.WriteFile(golden, []byte(got.String()), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(golden)
		if err != nil {
			t.Fatal(err)
		}
		texts, gots, wants := strings.Split(string(lines), "\n"), strings.Split(got.String(), "\n"), strings.Split(string(want), "\n")
		if len(gots) != len(wants) {
			t.Fatalf("%s: %d lines and %d events", log, len(gots), len(wants))
		}
		for i := range gots {
			if gots[i] != wants[i] {
				t.Errorf("%s:%d: %s\nis   %s\nwant %s", log, i+1, texts[i], gots[i], wants[i])
			}
		}
	}
}

// told is a line of the table.
func told(text string) string {
	line, ok := ParseLine(text, then)
	if !ok {
		return "not a line"
	}
	e := line.Event()
	if e.Kind == None {
		return "-"
	}
	var b strings.Builder
	fmt.Fprintf(&b, "%s %s", e.Time.Format(time.RFC3339Nano), e.Kind)
	for _, one := range [...]struct {
		name  string
		value any
	}{
		{"id", e.QueueID}, {"client", e.Client}, {"hello", e.Hello}, {"from", e.Sender}, {"to", e.Recipient}, {"others", e.Others}, {"original", e.Original},
		{"relay", e.Relay}, {"delay", e.Delay}, {"dsn", e.DSN}, {"next", e.Next}, {"answer", e.Answer},
	} {
		if text := fmt.Sprint(one.value); text != "" && text != "[]" && text != "0s" && text != "invalid IP" {
			fmt.Fprintf(&b, " %s{%s}", one.name, text)
		}
	}
	return b.String()
}

func corpus(t testing.TB) (lines []string) {
	t.Helper()
	logs, err := filepath.Glob("testdata/*.log")
	if err != nil {
		t.Fatal(err)
	}
	for _, log := range logs {
		text, err := os.ReadFile(log)
		if err != nil {
			t.Fatal(err)
		}
		lines = append(lines, strings.Split(strings.TrimSpace(string(text)), "\n")...)
	}
	return lines
}

// FuzzALineMakesAnEventOfBoundedTexts gives it any line.
func FuzzALineMakesAnEventOfBoundedTexts(f *testing.F) {
	for _, line := range corpus(f) {
		f.Add(line)
	}
	f.Fuzz(func(t *testing.T, text string) {
		line, ok := ParseLine(text, then)
		if !ok {
			return
		}
		e := line.Event()
		switch {
		case e.QueueID != "" && !isQueueID(e.QueueID), e.Next != "" && !isQueueID(e.Next):
			t.Errorf("a name of the queue is %q, the next %q", e.QueueID, e.Next)
		case e.Kind != None && e.QueueID == "" && e.Kind != Rejected && e.Kind != Discarded && e.Kind != Held:
			t.Errorf("%s is of no message", e.Kind)
		case len(e.Recipient) > longestAddress, len(e.Original) > longestAddress, len(e.Sender) > longestAddress, len(e.Hello) > longestAddress,
			len(e.Relay) > longestAddress, len(e.Answer) > longestAnswer, len(e.DSN) > len("5.999.999"), len(e.Others) > mostOthers:
			t.Errorf("its texts are too long: %+v", e)
		}
	})
}

// FuzzStrangersTextMakesNoOtherEvent puts texts where strangers may write them.
func FuzzStrangersTextMakesNoOtherEvent(f *testing.F) {
	for _, line := range corpus(f) {
		_, text, _ := strings.Cut(line, ": ")
		f.Add(line, text)
		f.Add(text, line)
	}
	f.Fuzz(func(t *testing.T, local, answer string) {
		// The MTA writes no control characters, and quotes a local part.
		local = strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(printable(local))
		answer = printable(answer)
		address := `"` + local[:len(local)-trailing(local)] + `"@example.net`
		for text, want := range map[string]Event{
			"postfix/smtp[1]: 7B1C2A0F3D: to=<" + address + ">, relay=mx[192.0.2.25]:25, delay=1, delays=0/0/0/1, dsn=5.1.1, status=bounced (" + answer + ")":                                                           {Kind: Bounced, QueueID: "7B1C2A0F3D"},
			"postfix/smtpd[1]: NOQUEUE: reject: RCPT from unknown[192.0.2.66]: 550 5.1.1 <" + address + ">: Recipient address rejected: User unknown; from=<" + address + "> to=<" + address + "> proto=ESMTP helo=<k>": {Kind: Rejected},
			"sendmail[1]: 6217FgZk000097: to=<" + address + ">, delay=00:00:01, xdelay=00:00:01, mailer=esmtp, pri=1, relay=mx. [192.0.2.25], dsn=5.1.1, reply=" + answer + ", stat=User unknown":                       {Kind: Bounced, QueueID: "6217FgZk000097"},
			"sendmail[1]: 6217FgZk000097: ruleset=check_rcpt, arg1=<" + address + ">, relay=[192.0.2.66], reject=550 5.1.1 " + answer:                                                                                   {Kind: Rejected, QueueID: "6217FgZk000097"},
		} {
			line, ok := ParseLine("Mar  1 08:15:42 mx1 "+text, then)
			e := line.Event()
			if !ok || e.Kind != want.Kind || e.QueueID != want.QueueID || e.Recipient != cut(address, longestAddress) || e.DSN != "5.1.1" ||
				e.Client.IsValid() && e.Client.String() != "192.0.2.66" || e.Kind == Rejected && !e.Client.IsValid() {
				t.Errorf("%s\nmakes %+v", text, e)
			}
		}
	})
}

func printable(text string) string {
	return strings.Map(func(c rune) rune {
		if c < ' ' || c > '~' {
			return '?'
		}
		return c
	}, text)
}

// trailing is how many bytes of a text its last escape has, if it is cut in two.
func trailing(text string) int {
	return (len(text) - len(strings.TrimRight(text, `\`))) % 2
}

func BenchmarkALine(b *testing.B) {
	lines := corpus(b)
	b.SetBytes(int64(len(strings.Join(lines, "\n")) / len(lines)))
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		if line, ok := ParseLine(lines[i%len(lines)], then); ok {
			line.Event()
		}
	}
}
