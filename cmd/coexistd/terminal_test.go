package main

import (
	"bytes"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	checkup "coexistd/cmd/coexistd/doctor"
	"coexistd/contrib/lab"
	"coexistd/milter/quarantine"
	"coexistd/policy/verdict"
)

// onTerminal runs a command line on a terminal, and returns what is shown on it.
func onTerminal(t *testing.T, line string) (status int, shown string) {
	t.Helper()
	master, err := os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer master.Close()
	number, err := unix.IoctlGetInt(int(master.Fd()), unix.TIOCGPTN)
	if err == nil {
		err = unix.IoctlSetPointerInt(int(master.Fd()), unix.TIOCSPTLCK, 0)
	}
	if err != nil {
		t.Fatal(err)
	}
	terminal, err := os.OpenFile(fmt.Sprintf("/dev/pts/%d", number), os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer terminal.Close()
	status = run(strings.Fields(line), terminal, terminal)
	fmt.Fprint(terminal, "\x00") // the end
	var all []byte
	for b := make([]byte, 1024); !bytes.HasSuffix(all, []byte{0}); {
		n, err := master.Read(b)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, b[:n]...)
	}
	return status, strings.TrimSuffix(string(all), "\x00")
}

func TestStatusesHaveColoursOnATerminalAlone(t *testing.T) {
	path := configuration(t, lab.SiteTOML, lab.SiteDirectory)
	const ok, bad = "\x1b[32mok\x1b[0m", "\x1b[31m/does/not/exist: "
	for _, c := range []struct {
		term, noColor string
		coloured      bool
	}{
		{"xterm", "", true}, {"xterm", "1", false}, {"dumb", "", false}, {"", "", false},
	} {
		t.Setenv("TERM", c.term)
		t.Setenv("NO_COLOR", c.noColor)
		if status, shown := onTerminal(t, "check -c "+path); status != exitYes || strings.Contains(shown, ok) != c.coloured || strings.Contains(shown, "\x1b") != c.coloured {
			t.Errorf("%+v: check ended with %d and %q", c, status, shown)
		}
		if status, shown := onTerminal(t, "check -c /does/not/exist"); status != exitNo || strings.Contains(shown, bad) != c.coloured || strings.Contains(shown, "\x1b") != c.coloured {
			t.Errorf("%+v: check of no file ended with %d and %q", c, status, shown)
		}
	}
	t.Setenv("TERM", "xterm")
	t.Setenv("NO_COLOR", "")
	for _, line := range []string{"check -c " + path, "check -c /does/not/exist", "check --json -c " + path} {
		if _, out, complaint := typed(line); strings.Contains(out+complaint, "\x1b") {
			t.Errorf("%q, on no terminal, prints %q and %q", line, out, complaint)
		}
	}
	if _, shown := onTerminal(t, "check --json -c "+path); strings.Contains(shown, "\x1b") {
		t.Errorf("JSON on a terminal is %q", shown)
	}
}

func TestWhatTheDoctorFoundCannotUpsetATerminal(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	printFindings(&out, []checkup.Finding{
		{Status: checkup.OK, Found: "x\x1b[31m"}, {Status: checkup.Warn, Found: "y"}, {Status: checkup.Fail, Found: "z", Remedy: "\x1b"},
	})
	if got, want := out.String(), "ok                   x?[31m\nwarn                 y\nFAIL                 z\n  do: ?\n"; got != want {
		t.Errorf("the findings are\n%s right is\n%s", got, want)
	}
}

func TestWideCharactersTakeTwoColumnsAndMarksNone(t *testing.T) {
	t.Parallel()
	for s, want := range map[string]int{"": 0, "abc": 3, "Grüße": 5, "Gru\u0308ße": 5, "請求書": 6, "ｆｕｌｌ": 8, "💰!": 3, "a\u200bb": 2} {
		if got := columns(s); got != want {
			t.Errorf("%q takes %d columns; %d is right", s, got, want)
		}
		if got := columns(pad(s, 9)); got != 9 {
			t.Errorf("%q is padded to %d columns", s, got)
		}
	}
	for s, want := range map[string]string{"abcdef": "abcdef", "abcdefg": "abcde…", "請求書": "請求書", "請求書a": "請求…", "a請求書": "a請求…", "請請請請": "請請…"} {
		if got := narrow(s, 6); got != want {
			t.Errorf("%q is cut to %q; %q is right", s, got, want)
		}
	}
}

func TestAListInAPipeIsAligned(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	table := heldTable{listing: listing{w: &out}, zone: time.UTC}
	const rows = blockRows + 10
	for i := range rows {
		e := quarantine.Entry{ID: "abcdefghij", State: quarantine.Held, Item: quarantine.Item{From: "x@evil.example", Subject: "|", Point: verdict.S0},
			Recipient: quarantine.Recipient{Address: "bob@acmecorp.com", Checks: []string{"virus"}, Found: []string{"Eicar"}}}
		switch i {
		case 3:
			e.From = "請求書@evil.example"
		case 4:
			e.Address = strings.Repeat("t", 60) + "@acmecorp.com"
		}
		table.row(&e)
	}
	table.flush()
	lines := strings.Split(strings.TrimSuffix(out.String(), "\n"), "\n")
	if len(lines) != rows+1 {
		t.Fatalf("%d lines are printed of %d entries", len(lines), rows)
	}
	at := columns(strings.TrimSuffix(lines[0], "SUBJECT"))
	for _, line := range lines[1:] {
		if got := columns(strings.TrimSuffix(line, "|")); got != at {
			t.Fatalf("the subject stands at column %d in place of %d: %s", got, at, line)
		}
	}
}

func TestFlowsOfAPlatformWithALongNameAreAligned(t *testing.T) {
	t.Parallel()
	const name = "a-platform-whose-name-is-very-long"
	path := configuration(t, strings.NewReplacer("platform.office365", "platform."+name, "office365 =", name+" =").Replace(lab.SiteTOML), "address,residence\n")
	status, out, complaint := typed("explain --flows -c " + path)
	table, _, _ := strings.Cut(out, "\n\n")
	var at []int
	for _, line := range strings.Split(table, "\n")[1:] {
		at = append(at, strings.LastIndex(line[:strings.Index(line, "=>")], " "))
	}
	if status != exitYes || len(at) < 5 {
		t.Fatalf("explain --flows ended with %d, %q and\n%s", status, complaint, out)
	}
	for _, one := range at {
		if one != at[0] {
			t.Errorf("the flows stand at columns %v:\n%s", at, table)
			break
		}
	}
}
