package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"coexistd/cmd/coexistd/control"
	"coexistd/cmd/coexistd/daemon"
	"coexistd/contrib/lab"
	"coexistd/milter/quarantine"
	"coexistd/milter/store"
	"coexistd/policy/config"
	"coexistd/policy/verdict"
)

const heldTOML = `hostname = "mail.acmecorp.com"
state_dir = "{dir}/state"

[[listen]]
address = "unix:{dir}/milter.sock"

[platform.office365]
networks = ["40.92.0.0/15"]
tenant = "3f2504e0-4f89-11d3-9a0c-0305e82c3301"

[domain."acmecorp.com"]
directory = "users.csv"
alternate = { office365 = "acmecorp-com.onmicrosoft.com" }

[quarantine]
smtp = "{smtp}"

[quarantine.report]
zone = "Europe/Berlin"
contact = "helpdesk@acmecorp.com"
`

// cellar is a quarantine with some entries, its configuration and its MTA.
type cellar struct {
	config string
	store  *quarantine.Store
	sink   *lab.Sink
	ids    map[string]string // by what the message is
}

// stock holds spam for alice, who lives at office365, and for bob, and a virus and
// an attachment for bob.
func stock(t *testing.T, sink lab.SinkConfig) *cellar {
	t.Helper()
	mta, err := lab.StartSink(sink)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { mta.Close() })
	toml := strings.ReplaceAll(heldTOML, "{smtp}", mta.Addr())
	c := &cellar{config: configuration(t, toml, "address,residence\nalice@acmecorp.com,office365\nbob@acmecorp.com,here\n"), sink: mta, ids: make(map[string]string)}
	conf := load(t, c.config)
	if _, err := daemon.MakeKeys(conf); err != nil {
		t.Fatal(err)
	}
	o := daemon.QuarantineOptions(conf, slog.New(slog.DiscardHandler))
	file := store.New(quarantine.FileOptions(o.Dir, o.Log))
	t.Cleanup(func() { file.Close() })
	c.store = quarantine.New(file, o)
	for i, held := range []struct{ what, to, check, found, subject string }{
		{"alice's", "alice@acmecorp.com", "spam", "", "=?utf-8?q?Gr=C3=BC=C3=9Fe?= \u202E\x1b[31m"},
		{"bob's", "bob@acmecorp.com", "spam", "", "past due"},
		{"virus", "bob@acmecorp.com", "virus", "Eicar-Test-Signature", "invoice"},
		{"attachment", "bob@acmecorp.com", "malware", "executable", "scan"},
	} {
		content := fmt.Sprintf("From: x@evil.example\r\nSubject: %s\r\nMessage-Id: <%d@evil.example>\r\n\r\nbody %d\r\n", held.subject, i, i)
		item := quarantine.Item{
			Time: time.Date(2026, 11, 20+i, 9, 0, 0, 0, time.UTC), Point: verdict.S0, QueueID: "4F1", Client: "192.0.2.1",
			Sender: "x@evil.example", From: "x@evil.example", Subject: held.subject, MessageID: fmt.Sprintf("<%d@evil.example>", i),
		}
		to := quarantine.Recipient{Address: held.to, Owner: held.to, Checks: []string{held.check}, Found: []string{held.found}, Report: held.check != "malware"}
		ids, err := c.store.Put(item, []quarantine.Recipient{to}, strings.NewReader(content))
		if err != nil {
			t.Fatal(err)
		}
		c.ids[held.what] = ids[0]
	}
	return c
}

// hear stands for the daemon in whose log commands tell what they do. It returns what they
// have told so far, with the IDs replaced as by do.
func (c *cellar) hear(t *testing.T) (told func() string) {
	t.Helper()
	path, err := config.ControlSocket(c.config)
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	var mu sync.Mutex
	var lines string
	server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var s control.Settled
		if err := json.NewDecoder(r.Body).Decode(&s); err != nil || r.URL.Path != control.PathSettled {
			t.Errorf("%s was asked: %v", r.URL, err)
		}
		mu.Lock()
		defer mu.Unlock()
		lines += fmt.Sprintf("%s %s by %s\n", s.ID, s.Result, s.By)
		fmt.Fprintln(w, "{}")
	})}
	go server.Serve(l)
	t.Cleanup(func() { server.Close() })
	return func() string {
		mu.Lock()
		defer mu.Unlock()
		told := lines
		for what, id := range c.ids {
			told = strings.ReplaceAll(told, id, "{"+what+"}")
		}
		return told
	}
}

// do runs an action of coexistd quarantine. In what it prints, the IDs are
// replaced by {what the message is}.
func (c *cellar) do(t *testing.T, action string, args ...string) (status int, out, complaint string) {
	t.Helper()
	for i, arg := range args {
		if id, ok := c.ids[strings.Trim(arg, "{}")]; ok {
			args[i] = id
		}
	}
	var stdout, stderr bytes.Buffer
	status = run(slices.Concat([]string{"quarantine", action, "-c", c.config}, args), &stdout, &stderr)
	out, complaint = stdout.String(), stderr.String()
	for what, id := range c.ids {
		out, complaint = strings.ReplaceAll(out, id, "{"+what+"}"), strings.ReplaceAll(complaint, id, "{"+what+"}")
	}
	return status, out, complaint
}

// states lists what has become of the entries.
func (c *cellar) states(t *testing.T) map[string]quarantine.State {
	t.Helper()
	entries, err := c.store.List(quarantine.Query{All: true})
	if err != nil {
		t.Fatal(err)
	}
	states := make(map[string]quarantine.State)
	for _, e := range entries {
		for what, id := range c.ids {
			if id == e.ID {
				states[what] = e.State
			}
		}
	}
	return states
}

func TestTheListShowsWhatIsChosen(t *testing.T) {
	t.Parallel()
	c := stock(t, lab.SinkConfig{})
	for _, test := range []struct {
		args []string
		want string
	}{
		{nil, "attachment virus bob's alice's"},
		{[]string{"--to", "ALICE@acmecorp.com"}, "alice's"},
		{[]string{"subject:due"}, "bob's"},
		{[]string{"check:spam", "after:2026-11-21"}, "bob's"},
		{[]string{"after:2026-11-21", "--to", "bob@acmecorp.com", "before:2026-11-22"}, "bob's"},
		{[]string{"nothing"}, ""},
	} {
		status, out, complaint := c.do(t, "list", test.args...)
		var got []string
		for i, line := range strings.Split(strings.TrimSuffix(out, "\n"), "\n") {
			if id, _, _ := strings.Cut(line, "}"); i > 0 {
				got = append(got, strings.TrimPrefix(id, "{"))
			}
		}
		if status != exitYes || strings.Join(got, " ") != test.want {
			t.Errorf("list %q ended with %d and chose %q: %s", test.args, status, got, complaint)
		}
	}
	_, out, _ := c.do(t, "list", "check:virus")
	if !strings.Contains(out, "{virus}  2026-11-22 10:00  S0     held       virus Eicar-Test-Signature  x@evil.example                bob@acmecorp.com              invoice\n") {
		t.Errorf("the list is\n%s", out)
	}
	if _, out, _ = c.do(t, "list", "--to", "alice@acmecorp.com"); strings.ContainsAny(out, "\u202E\x1b") || !strings.Contains(out, "Grüße") {
		t.Errorf("the list is %q", out)
	}
}

func TestAListOnATerminalIsAsWideAsItIs(t *testing.T) {
	t.Parallel()
	e := quarantine.Entry{ID: "abcdefghij", State: quarantine.Releasing, Item: quarantine.Item{From: strings.Repeat("f", 300), Subject: strings.Repeat("ä", 300), Point: verdict.S0},
		Recipient: quarantine.Recipient{Address: strings.Repeat("t", 300), Checks: []string{"virus"}, Found: []string{strings.Repeat("v", 300)}}}
	for width, want := range map[int]int{80: narrowest, 120: 120, 200: 200} {
		var out bytes.Buffer
		table := heldTable{listing: listing{w: &out, width: width}, zone: time.UTC}
		table.row(&e)
		for _, line := range strings.Split(strings.TrimSuffix(out.String(), "\n"), "\n")[1:] {
			if n := len([]rune(line)); n != want {
				t.Errorf("on a terminal of %d columns a line has %d: %s", width, n, line)
			}
		}
	}
}

func TestTheListAsJSONIsAnArrayOfEntries(t *testing.T) {
	t.Parallel()
	c := stock(t, lab.SinkConfig{})
	_, out, _ := c.do(t, "list", "--json", "check:virus")
	var entries []map[string]any
	if err := json.Unmarshal([]byte(out), &entries); err != nil || len(entries) != 1 || entries[0]["id"] != "{virus}" || entries[0]["point"] != "S0" || entries[0]["state"] != "held" {
		t.Errorf("the list is %v (%v)", entries, err)
	}
	if _, out, _ = c.do(t, "list", "--json", "nothing"); out != "[]\n" {
		t.Errorf("a list of nothing is %q", out)
	}
}

func TestShowTellsAllAndWhereTheMessageWouldGo(t *testing.T) {
	t.Parallel()
	c := stock(t, lab.SinkConfig{})
	status, out, complaint := c.do(t, "show", "{alice's}")
	for _, part := range []string{
		"id         {alice's}\n", "held by    spam\n", "came       2026-11-20 10:00:00 CET\n", "kept       until 2026-12-20 10:00:00 CET\n", "subject    Grüße [31m\n",
		"report     they are told of it in the next report\n", "lives      office365\n",
		"goes       S0=>S4=>O1=>LD as alice@acmecorp-com.onmicrosoft.com\n", `  Subject: =?utf-8?q?Gr=C3=BC=C3=9Fe?= \u202e\x1b[31m` + "\n",
	} {
		if !strings.Contains(out, part) {
			t.Errorf("show does not say %q", part)
		}
	}
	if status != exitYes || complaint != "" || strings.Contains(out, "body") {
		t.Errorf("show ended with %d, %q and\n%s", status, complaint, out)
	}
	if _, out, _ = c.do(t, "show", "{bob's}", "--raw"); out != "From: x@evil.example\r\nSubject: past due\r\nMessage-Id: <1@evil.example>\r\n\r\nbody 1\r\n" {
		t.Errorf("the message is %q", out)
	}
	status, out, _ = c.do(t, "show", "--json", "{bob's}")
	var s map[string]any
	if err := json.Unmarshal([]byte(out), &s); err != nil || status != exitYes || s["point"] != "S0" || s["release"].(map[string]any)["flow"] != "S0=>LD" {
		t.Errorf("show --json says\n%s (%v)", out, err)
	}
	for _, args := range [][]string{{"nobody"}, {"nobody", "--raw"}} {
		if status, _, complaint = c.do(t, "show", args...); status != exitNo || !strings.Contains(complaint, `there is no entry "nobody"`) {
			t.Errorf("show %q ended with %d and %q", args, status, complaint)
		}
	}
}

func TestReleaseSendsWhatIsChosenSaveViruses(t *testing.T) {
	t.Parallel()
	c := stock(t, lab.SinkConfig{})
	told, me := c.hear(t), whoRuns(os.Getenv("SUDO_USER"))
	status, out, complaint := c.do(t, "release", "--to", "bob@acmecorp.com")
	const want = "{attachment} released, for bob@acmecorp.com\n{virus} left out: it may have a virus, and such are released only by ID\n{bob's} released, for bob@acmecorp.com\n3 chosen, 2 done\n"
	if status != exitNo || out != want || complaint != "" {
		t.Errorf("release ended with %d, %q and\n%s", status, complaint, out)
	}
	if status, out, _ = c.do(t, "release", "{virus}"); status != exitYes || out != "{virus} released, for bob@acmecorp.com\n" {
		t.Errorf("releasing a virus by ID ended with %d and %q", status, out)
	}
	if n := len(c.sink.All()); n != 3 {
		t.Errorf("the MTA has got %d messages", n)
	}
	status, out, _ = c.do(t, "release", strings.ToUpper(c.ids["alice's"]), "{bob's}", "nobody")
	if status != exitNo || !strings.HasPrefix(out, "{alice's} released") || !strings.Contains(out, "{bob's} failed: {bob's} is not held any more: it is released") || !strings.Contains(out, "nobody failed: there is no entry") || !strings.HasSuffix(out, "3 chosen, 1 done\n") {
		t.Errorf("release ended with %d and\n%s", status, out)
	}
	if want := fmt.Sprintf("{attachment} released by %[1]s\n{bob's} released by %[1]s\n{virus} released by %[1]s\n{alice's} released by %[1]s\n", me); told() != want {
		t.Errorf("the log tells %q; right is %q", told(), want)
	}
	if status, out, _ = c.do(t, "release", "--query", "check:spam"); status != exitNo || out != "0 chosen, 0 done\n" {
		t.Errorf("releasing nothing ended with %d and %q", status, out)
	}
}

func TestAReleaseThatTheMTARefusesIsTold(t *testing.T) {
	t.Parallel()
	c := stock(t, lab.SinkConfig{Refuse: func(string) *lab.Reply { return &lab.Reply{Code: 550, Enhanced: "5.1.1", Text: "gone"} }})
	status, out, _ := c.do(t, "release", "--json", "{bob's}")
	var outcomes []outcome
	err := json.Unmarshal([]byte(out), &outcomes)
	if err != nil || status != exitNo || len(outcomes) != 1 || outcomes[0].Result != "failed" || !strings.Contains(outcomes[0].Detail, "550 5.1.1 gone") {
		t.Errorf("release ended with %d and %s (%v)", status, out, err)
	}
	if state := c.states(t)["bob's"]; state != quarantine.Held {
		t.Errorf("the message is %s", state)
	}
}

func TestDeleteSettlesWhatIsChosen(t *testing.T) {
	t.Parallel()
	c := stock(t, lab.SinkConfig{})
	told, me := c.hear(t), whoRuns(os.Getenv("SUDO_USER"))
	status, out, _ := c.do(t, "delete", "--to", "bob@acmecorp.com", "--query", "before:2026-11-23 after:2026-11-21")
	if status != exitYes || out != "{virus} deleted, for bob@acmecorp.com\n{bob's} deleted, for bob@acmecorp.com\n2 chosen, 2 done\n" {
		t.Errorf("delete ended with %d and\n%s", status, out)
	}
	if got := c.states(t); got["virus"] != quarantine.Deleted || got["bob's"] != quarantine.Deleted || got["attachment"] != quarantine.Held {
		t.Errorf("the entries are %v", got)
	}
	if len(c.sink.All()) > 0 {
		t.Error("deleted messages were sent")
	}
	if want := fmt.Sprintf("{virus} deleted by %[1]s\n{bob's} deleted by %[1]s\n", me); told() != want {
		t.Errorf("the log tells %q; right is %q", told(), want)
	}
}

func TestWithoutADaemonTheCommandSaysOnceThatNoLogTells(t *testing.T) {
	t.Parallel()
	c := stock(t, lab.SinkConfig{})
	status, _, complaint := c.do(t, "delete", "--to", "bob@acmecorp.com")
	if status != exitYes || strings.Count(complaint, "the log does not tell") != 1 || !strings.Contains(complaint, "from {attachment} on, ") || !strings.Contains(complaint, "no daemon runs") {
		t.Errorf("delete ended with %d and says %q", status, complaint)
	}
}

func TestWithSudoTheOneWhoCalledItRunsACommand(t *testing.T) {
	t.Parallel()
	if got := whoRuns("alice"); got != "alice" {
		t.Errorf("it is %q", got)
	}
	if got := whoRuns(""); got == "" {
		t.Error("without it, it is nobody")
	}
}

func TestReportsArePrintedOrSent(t *testing.T) {
	t.Parallel()
	c := stock(t, lab.SinkConfig{})
	status, out, complaint := c.do(t, "report", "--dry-run")
	if status != exitYes || complaint != "" || strings.Count(out, "To: ") != 3 || !strings.Contains(out, "To: alice@acmecorp.com\nSubject: Quarantine: 1 message held for you\n\nOne message") ||
		!strings.Contains(out, "To: bob@acmecorp.com\nSubject: Quarantine: 2 messages held for you\n") || !strings.Contains(out, "ID       {virus}") ||
		!strings.Contains(out, "To: postmaster@acmecorp.com\nSubject: Quarantine of mail.acmecorp.com: 4 held, 4 new\n") {
		t.Errorf("the dry run ended with %d, %q and\n%s", status, complaint, out)
	}
	_, out, _ = c.do(t, "report", "--dry-run", "--json", "--to", "Alice@acmecorp.com")
	var mails []quarantine.Mail
	if err := json.Unmarshal([]byte(out), &mails); err != nil || len(mails) != 1 || mails[0].To != "alice@acmecorp.com" || len(mails[0].IDs) != 1 {
		t.Errorf("the dry run for alice says %s (%v)", out, err)
	}
	if status, out, _ = c.do(t, "report", "--to", "alice+x@acmecorp.com"); status != exitYes || out != "sent to alice@acmecorp.com: Quarantine: 1 message held for you\n" {
		t.Errorf("the report to alice ended with %d and %q", status, out)
	}
	if last, err := c.store.LastReport(); !last.IsZero() || err != nil {
		t.Errorf("a report to one counts as all: %v (%v)", last, err)
	}
	if status, out, _ = c.do(t, "report"); status != exitYes || strings.Count(out, "\n") != 2 || !strings.Contains(out, "sent to bob@acmecorp.com") || !strings.Contains(out, "sent to postmaster@acmecorp.com") {
		t.Errorf("the reports ended with %d and %q", status, out)
	}
	if last, err := c.store.LastReport(); last.IsZero() || err != nil {
		t.Errorf("the last report was at %v (%v)", last, err)
	}
	if n := len(c.sink.All()); n != 3 {
		t.Errorf("the MTA has got %d reports", n)
	}
	if status, _, complaint = c.do(t, "report", "--to", "bob@acmecorp.com"); status != exitYes || complaint != "there is nothing to report\n" {
		t.Errorf("a second report to bob ended with %d and %q", status, complaint)
	}
}

func TestAReportThatIsNotTakenIsTold(t *testing.T) {
	t.Parallel()
	c := stock(t, lab.SinkConfig{})
	c.sink.Close()
	status, out, _ := c.do(t, "report")
	if status != exitNo || strings.Count(out, "cannot be reached") != 3 {
		t.Errorf("the reports ended with %d and\n%s", status, out)
	}
	if last, err := c.store.LastReport(); !last.IsZero() || err != nil {
		t.Errorf("reports that were not sent count: %v (%v)", last, err)
	}
}

func TestWrongUseOfTheQuarantineChangesNothing(t *testing.T) {
	t.Parallel()
	c := stock(t, lab.SinkConfig{})
	for _, test := range []struct {
		args []string
		want string
	}{
		{[]string{"release"}, "no entry is named"},
		{[]string{"delete", "--query", ""}, "no entry is named"},
		{[]string{"delete", "--query", "  "}, "no entry is named"},
		{[]string{"delete", "--to", ""}, "no entry is named"},
		{[]string{"delete", "{bob's}", "--to", "alice@acmecorp.com"}, "is given beside --to or --query"},
		{[]string{"delete", "--query", `subject:"past`}, "closing one"},
		{[]string{"delete", "--query", "before:tomorrow past"}, `"before:tomorrow" does not name a date`},
		{[]string{"list", "after:x", "form:y"}, `"form:y" begins with a name that is not known`},
		{[]string{"show"}, "name one ID"},
		{[]string{"show", "a", "b"}, "name one ID"},
		{[]string{"report", "alice@acmecorp.com"}, "one argument too many"},
		{[]string{"report", "--to", "a b@@"}, "is not an address"},
		{[]string{"release", "--agian", "{bob's}"}, "unknown flag: --agian; did you mean --again?"},
		{[]string{"relaese", "{bob's}"}, `there is no action "relaese"`},
	} {
		status, out, complaint := c.do(t, test.args[0], test.args[1:]...)
		if status != exitWrong || out != "" || !strings.Contains(complaint, test.want) {
			t.Errorf("%q ended with %d, %q and %q, without %q", test.args, status, out, complaint, test.want)
		}
	}
	for what, state := range c.states(t) {
		if state != quarantine.Held {
			t.Errorf("%s is %s", what, state)
		}
	}
	if len(c.sink.All()) > 0 {
		t.Error("something was sent")
	}
}

func TestAQuarantineThatWasNeverOpenedIsEmpty(t *testing.T) {
	t.Parallel()
	c := &cellar{config: configuration(t, strings.ReplaceAll(heldTOML, "{smtp}", "127.0.0.1:25"), "address,residence\n")}
	for _, test := range []struct {
		args   []string
		status int
	}{
		{[]string{"list"}, exitYes}, {[]string{"show", "x"}, exitNo}, {[]string{"release", "x"}, exitNo}, {[]string{"delete", "x"}, exitNo},
		{[]string{"delete", "--query", "x"}, exitNo}, {[]string{"report", "--dry-run"}, exitYes},
	} {
		if status, out, complaint := c.do(t, test.args[0], test.args[1:]...); status != test.status {
			t.Errorf("%q ended with %d, %q and %q", test.args, status, out, complaint)
		}
	}
	if _, err := os.Stat(filepath.Join(filepath.Dir(c.config), "state", "quarantine")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a command has made the quarantine's folder (%v)", err)
	}
}

func TestTheQuarantineHelpsItsUser(t *testing.T) {
	t.Parallel()
	var stdout, stderr bytes.Buffer
	if status := run([]string{"quarantine", "help"}, &stdout, &stderr); status != exitYes || stderr.Len() > 0 {
		t.Errorf("quarantine help ended with %d and %q", status, &stderr)
	}
	for _, action := range []string{"list", "show", "release", "delete", "report"} {
		if !strings.Contains(stdout.String(), "\n  "+action+" ") {
			t.Errorf("the help does not tell of %s:\n%s", action, &stdout)
		}
	}
	stdout.Reset()
	if status := run([]string{"quarantine"}, &stdout, &stderr); status != exitWrong || stdout.Len() > 0 || !strings.Contains(stderr.String(), "release") {
		t.Errorf("quarantine without an action ended with %d and %q", status, &stderr)
	}
}
