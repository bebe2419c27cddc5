package e2e

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"coexistd/contrib/lab"
)

// foundMessage is what messages find --json prints of one.
type foundMessage struct {
	ID         string    `json:"id"`
	Time       time.Time `json:"time"`
	QueueID    string    `json:"queue_id"`
	Client     string    `json:"client"`
	Login      string    `json:"login"`
	From       string    `json:"from"`
	MessageID  string    `json:"message_id"`
	Subject    string    `json:"subject"`
	Point      string    `json:"point"`
	Verdict    string    `json:"verdict"`
	Check      string    `json:"check"`
	Reason     string    `json:"reason"`
	MTA        string    `json:"mta"`
	Recipients []struct {
		Address   string   `json:"address"`
		Flow      string   `json:"flow"`
		Rewritten []string `json:"rewritten"`
		Verdict   string   `json:"verdict"`
		Reason    string   `json:"reason"`
		Held      string   `json:"held"`
	} `json:"recipients"`
	Traces []struct {
		Platform string `json:"platform"`
		Query    string `json:"query"`
	} `json:"traces"`
}

// find runs coexistd messages find.
func (s *site) find(flags ...string) (list []foundMessage) {
	s.t.Helper()
	out, status := ask(s.t, append([]string{"messages", "find", "--json", "--most", "10000", "-c", s.Config()}, flags...)...)
	if err := json.Unmarshal(out, &list); err != nil || (status == exitYes) != (len(list) > 0) || status == exitWrong {
		s.t.Fatalf("find %q ended with %d, %v and %s", flags, status, err, out)
	}
	return list
}

// lines are the lines of the log that tell of messages.
func (s *site) lines() (lines []logLine) {
	s.t.Helper()
	for line := range strings.Lines(s.Daemon.Log()) {
		if strings.Contains(line, " msg=message ") {
			lines = append(lines, parseLogLine(s.t, strings.TrimSpace(line)))
		}
	}
	return lines
}

// countedMessages is what messages counts --json prints of those with a fate in common.
type countedMessages struct {
	Time       time.Time `json:"time"`
	Point      string    `json:"point"`
	Flow       string    `json:"flow"`
	Verdict    string    `json:"verdict"`
	Check      string    `json:"check"`
	Messages   int       `json:"messages"`
	Recipients int       `json:"recipients"`
}

// counted returns what messages counts prints of each minute.
func (s *site) counted() (list []countedMessages) {
	s.t.Helper()
	out, status := ask(s.t, "messages", "counts", "--json", "--per", "minute", "-c", s.Config())
	if err := json.Unmarshal(out, &list); err != nil || (status == exitYes) != (len(list) > 0) || status == exitWrong {
		s.t.Fatalf("counts ended with %d, %v and %s", status, err, out)
	}
	return list
}

func TestEachMessageIsFoundByEachOfItsKeysAsTheLogTellsOfIt(t *testing.T) {
	onEachMTA(t, func(t *testing.T, mta lab.MTA) {
		s := startSite(t, lab.SiteConfig{MTA: mta, TOML: checkedTOML("", "", neverReport)})
		passages := withOffice.passages(false)
		s.pass(passages)
		held := s.hold(programFor("bob@acmecorp.com", "a program", 2000), "bob@acmecorp.com")[0]
		loop := fromTenant(lab.OfficeTenant, lab.Plain("eve@example.net", "alice@acmecorp.com", "back to where it comes from"))
		if r := s.send(lab.FromOffice365, lab.Mail{From: "eve@example.net", To: lab.To("alice@acmecorp.com"), Data: loop}); r.Accepted() {
			t.Fatalf("a message that goes back is taken: %+v", r)
		}
		s.waitDaemonLog("msg=message .*verdict=reject")
		if err := s.Daemon.Stop(); err != nil { // which writes all
			t.Fatal(err)
		}
		lines := s.lines()
		all := s.find()
		if len(all) != len(lines) {
			t.Errorf("%d are found, and the log tells of %d", len(all), len(lines))
		}
		for i, line := range lines {
			m := all[len(all)-1-i]
			if m.QueueID != line["queue_id"] || m.From != line["from"] || m.Point != line["point"] || m.Verdict != line["verdict"] || m.Check != line["check"] || m.Reason != line["reason"] || m.Login != line["login"] || m.Client != line["client"] {
				t.Errorf("found is\n%+v, and the log says\n%v", m, line)
			}
			if i%4 == 1 || m.Verdict != "accept" {
				s.mustFind(m)
			}
		}
		counted := make(map[[4]string]int)
		for _, line := range lines {
			counted[[4]string{line["point"], line["flow"], line["verdict"], line["check"]}]++
		}
		for _, c := range s.counted() {
			counted[[4]string{c.Point, c.Flow, c.Verdict, c.Check}] -= c.Messages
		}
		for fate, less := range counted {
			if less != 0 {
				t.Errorf("of %q, the log has %d more than the counts", fate, less)
			}
		}
		s.says(exitYes, "messages show "+messageID(passages[1].message), passages[1].flow, "rewritten", "Get-MessageTraceV2 -MessageId '"+messageID(passages[1].message)+"'")
		s.says(exitYes, "messages show "+held.MessageID, "coexistd quarantine show "+held.ID, "held by    malware")
		s.says(exitYes, "messages find --to alice@acmecorp.com --verdict reject --check loop", "alice@acmecorp.com")
		s.says(exitNo, "messages show <no@example.net>", "no message has the ID")
	})
}

// mustFind looks for a message by each of its keys. What is found besides has the key, too.
func (s *site) mustFind(m foundMessage) {
	s.t.Helper()
	look := func(has func(foundMessage) bool, flags ...string) {
		s.t.Helper()
		list := s.find(flags...)
		if !slices.ContainsFunc(list, func(other foundMessage) bool { return other.ID == m.ID }) {
			s.t.Errorf("%q does not find %+v", flags, m)
		}
		if i := slices.IndexFunc(list, func(other foundMessage) bool { return !has(other) }); i >= 0 {
			s.t.Errorf("%q finds %+v", flags, list[i])
		}
	}
	look(func(o foundMessage) bool { return o.ID == m.ID }, "--id", m.ID)
	look(func(o foundMessage) bool { return o.Point == m.Point && o.Client == m.Client }, "--point", m.Point, "--client", m.Client)
	look(func(o foundMessage) bool { return !o.Time.Before(m.Time) }, "--since", m.Time.Format(time.RFC3339Nano))
	for flag, has := range map[string]struct {
		text string
		of   func(foundMessage) string
	}{
		"--id": {m.MessageID, func(o foundMessage) string { return o.MessageID }}, "--from": {m.From, func(o foundMessage) string { return o.From }},
		"--login": {m.Login, func(o foundMessage) string { return o.Login }}, "--subject": {m.Subject, func(o foundMessage) string {
			if strings.Contains(o.Subject, m.Subject[strings.LastIndexByte(m.Subject, ' ')+1:]) {
				return m.Subject // in whichever order its words are
			}
			return o.Subject
		}},
	} {
		if has.text != "" {
			look(func(o foundMessage) bool { return has.of(o) == has.text }, flag, has.text)
		}
	}
	if m.QueueID != "" {
		look(func(o foundMessage) bool { return o.QueueID == m.QueueID }, "--id", m.QueueID)
	}
	for _, r := range m.Recipients {
		_, domain, _ := strings.Cut(r.Address, "@")
		for _, to := range append([]string{r.Address, "@" + domain}, r.Rewritten...) {
			look(func(foundMessage) bool { return true }, "--to", to, "--verdict", r.Verdict)
		}
	}
}

func TestAKilledDaemonHasCountedNoMoreThanWasSent(t *testing.T) {
	t.Parallel()
	s := startSite(t, lab.SiteConfig{})
	total := 0
	for range 3 {
		for range 20 {
			s.deliver(lab.FromInternet, lab.Mail{From: "eve@example.net", To: lab.To("bob@acmecorp.com"), Data: lab.Plain("eve@example.net", "bob@acmecorp.com", "one")})
		}
		if err := s.Daemon.Kill(); err != nil {
			t.Fatal(err)
		}
		total += len(s.lines())
		if err := s.StartDaemon(deadline(t)); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Daemon.Stop(); err != nil {
		t.Fatal(err)
	}
	found, counted := len(s.find()), 0
	for _, c := range s.counted() {
		counted += c.Messages
	}
	if found != counted || counted > total {
		t.Errorf("%d are counted and %d are found of %d", counted, found, total)
	}
}

func TestAFullDiskCostsRecordsAndNoMail(t *testing.T) {
	t.Parallel()
	disk := mountSmall(t, 4<<20)
	toml := strings.Replace(checkedTOML("", "", `dir = "{dir}/quarantine"`, neverReport), "{dir}/state", disk, 1)
	s := startSite(t, lab.SiteConfig{TOML: toml})
	mail := func() lab.Result {
		return s.fromEve(lab.Plain("eve@example.net", "bob@acmecorp.com", "one"), "bob@acmecorp.com")
	}
	s.says(exitYes, "status", "records", "messages.db, 0 messages")
	free := fillUp(t, disk)
	for range 1000 {
		if r := mail(); !r.Accepted() {
			t.Fatalf("on a full disk, a message gets %s", r.Data)
		}
		if strings.Contains(s.Daemon.Log(), "records of messages cannot be written") {
			break
		}
	}
	if line := s.waitDaemonLog("records of messages cannot be written: those that come are lost"); !strings.Contains(line, "the disk is full") {
		t.Errorf("the log says only %s", line)
	}
	s.waitDaemonLog("records of messages are lost: messages find does not know them")
	// By and by a little may be written again, so that either is true.
	out, _ := ask(t, "status", "-c", s.Config())
	if !strings.Contains(string(out), "LOST since the start") {
		t.Errorf("status says\n%s", out)
	}
	_, found, _ := runDoctor(t, t.TempDir(), nil, "-c", s.Config())
	if !regexp.MustCompile(`FAIL +daemon +the daemon cannot write what becomes of messages[^\n]*the disk is full[^\n]*\n +do: make room on the file system of ` + regexp.QuoteMeta(disk) +
		`|warn +daemon +the daemon has lost [0-9]+ records since its start`).MatchString(found) {
		t.Errorf("the doctor says\n%s", found)
	}
	free()
	last := s.QueueID(mail().Data)
	for ctx := deadline(t); len(s.find("--id", last)) != 1; {
		if ctx.Err() != nil {
			t.Fatal("with room again, the message is not found")
		}
	}
}

// What root looks for, it looks for as the daemon's user: nothing that the daemon could not
// open is left behind.
func TestRootSearchesAsTheDaemonsUser(t *testing.T) {
	t.Parallel()
	if os.Geteuid() != 0 {
		t.Fatal("run the tests as root")
	}
	s := startSite(t, lab.SiteConfig{})
	s.deliver(lab.FromInternet, lab.Mail{From: "eve@example.net", To: lab.To("bob@acmecorp.com"), Data: lab.Plain("eve@example.net", "bob@acmecorp.com", "one")})
	if err := s.Daemon.Stop(); err != nil {
		t.Fatal(err)
	}
	const nobody = 65534
	state := load(t, s.Config()).StateDir
	if out, err := exec.Command("chown", "-R", "65534:65534", state).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	for name := s.Dir; name != "/"; name = filepath.Dir(name) {
		if err := os.Chmod(name, 0o755); err != nil {
			t.Fatal(err)
		}
		if name == os.TempDir() {
			break
		}
	}
	owned := func() {
		t.Helper()
		names, err := filepath.Glob(filepath.Join(state, "*"))
		if err != nil || len(names) == 0 {
			t.Fatalf("%q, %v", names, err)
		}
		for _, name := range names {
			if info, err := os.Stat(name); err == nil && info.Sys().(*syscall.Stat_t).Uid != nobody {
				t.Errorf("%s is of %d", name, info.Sys().(*syscall.Stat_t).Uid)
			}
		}
	}
	if list := s.find("--to", "bob"); len(list) != 1 {
		t.Errorf("%+v is found", list)
	}
	owned()
	for _, name := range []string{"messages.db", "messages.db-wal", "messages.db-shm"} {
		if err := os.Remove(filepath.Join(state, name)); err != nil && !os.IsNotExist(err) {
			t.Fatal(err)
		}
	}
	if list := s.find(); len(list) != 0 {
		t.Errorf("without a file, %+v is found", list)
	}
	owned()
	if err := s.StartDaemon(deadline(t)); err != nil {
		t.Fatal(err)
	}
}
