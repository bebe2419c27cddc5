package e2e

import (
	"bytes"
	"context"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"coexistd/contrib/lab"
	"coexistd/milter/quarantine"
)

// tasks are those of contrib/docs/tasks.md, in its order, each with what proves it.
var tasks = []struct {
	heading string
	prove   func(l *life)
}{
	{"The first hour", (*life).firstHour},
	{"Add a user", (*life).addUser},
	{"Remove a user", (*life).removeUser},
	{"Move a user", (*life).moveUser},
	{"Find a message", (*life).findMessage},
	{"Release a message", (*life).releaseMessage},
	{"Unblock a client", (*life).unblockClient},
	{"Allow a partner", (*life).allowPartner},
	{"Raise a limit", (*life).raiseLimit},
	{"Change the log level", (*life).changeLogLevel},
	{"Upgrade while mail flows", (*life).upgrade},
	{"Back up and restore", (*life).backUp},
	{"Two hosts", (*life).twoHosts},
	{"Another platform", (*life).anotherPlatform},
	{"Retire", (*life).retire},
	{"Uninstall", (*life).uninstall},
}

// life is that of an administrator, who does the tasks of the page one after the other.
type life struct {
	*taskHost
	shared []string             // words of the page that have one meaning on all hosts
	hosts  map[string]*taskHost // others, by how the page's blocks name them
	blocks []taskBlock          // of the task at hand, those that are still to be done
	held   quarantine.Entry     // an entry that the backup has
}

// taskBlock is a block of the page: of TOML, CSV, or commands for a host.
type taskBlock struct{ kind, host, text string }

var (
	taskHeading = regexp.MustCompile(`(?m)^## (.*)\n`)
	fenced      = regexp.MustCompile("(?ms)^```(\\w*) ?(\\w*)\n(.*?)^```\n")
)

// The clients that the page names.
const (
	taskBlocked = "127.0.5.7"
	taskPartner = "127.0.6.25"
)

// TestThePageOfTasksDoesWhatItSays lives an administrator's life by the page: each block is done as
// it stands, in order, and what each task is for has come about then.
func TestThePageOfTasksDoesWhatItSays(t *testing.T) {
	t.Parallel()
	page, err := os.ReadFile("../docs/tasks.md")
	if err != nil {
		t.Fatal(err)
	}
	parts := taskHeading.Split(string(page), -1)[1:]
	headings := taskHeading.FindAllStringSubmatch(string(page), -1)
	for i := range max(len(headings), len(tasks)) {
		if i >= len(headings) || i >= len(tasks) || headings[i][1] != tasks[i].heading {
			t.Fatalf("the page has the tasks %q; those that are proven are %v", headings, tasks)
		}
	}
	redis := startRedis(t, lab.RedisConfig{})
	l := &life{hosts: map[string]*taskHost{}}
	l.shared = []string{"192.0.2.7", taskBlocked, "192.0.2.25", taskPartner, "redis.acmecorp.com:6379", redis.Addr, "/var/backups", filepath.Join(t.TempDir(), "backups")}
	// The doctor gives all that it asks a few seconds, which a busy machine may need twice.
	l.shared = append(l.shared, "coexistd doctor\n", "coexistd doctor || coexistd doctor || coexistd doctor\n")
	l.taskHost = startTaskHost(t, nil, l.shared...)
	l.makeClone(l.taskHost)
	l.tellNames()
	for i, task := range tasks {
		if !t.Run(strings.ReplaceAll(task.heading, " ", "_"), func(t *testing.T) {
			l.site, l.blocks = l.site.in(t), nil
			for _, found := range fenced.FindAllStringSubmatch(parts[i], -1) {
				l.blocks = append(l.blocks, taskBlock{found[1], found[2], found[3]})
			}
			task.prove(l)
			if len(l.blocks) > 0 {
				t.Errorf("the task has blocks that are not done: %+v", l.blocks)
			}
		}) {
			return // the next ones build on this one
		}
	}
}

// tellNames has the DNS know the names that the pages' configurations need.
func (s *site) tellNames() {
	for name, records := range map[string][2]string{
		"acmecorp.com":                 {"TXT", "v=spf1 ip4:192.0.2.7 include:spf.protection.outlook.com include:_spf.google.com -all"},
		"_dmarc.acmecorp.com":          {"TXT", "v=DMARC1; p=reject"},
		"mail.acmecorp.com":            {"A", "192.0.2.7"},
		"spf.protection.outlook.com":   {"TXT", "v=spf1 ip4:127.0.1.0/24 -all"},
		"_spf.google.com":              {"TXT", "v=spf1 ip4:127.0.2.0/24 ~all"},
		"acmecorp-com.onmicrosoft.com": {"MX", "0 acmecorp-com.mail.protection.outlook.com"},
		"gapps.acmecorp.com":           {"MX", "1 smtp.google.com"},
	} {
		s.DNS.Set(name, records[0], records[1])
	}
	s.DNS.Set("acmecorp.com", "MX", "10 mail.acmecorp.com")
}

// makeClone makes a clone of a repository that has what "make install" needs.
func (l *life) makeClone(h *taskHost) {
	l.t.Helper()
	origin := h.clone + ".origin"
	for _, path := range []string{"contrib/man", "contrib/completions", "contrib/systemd"} {
		l.do(os.CopyFS(filepath.Join(origin, path), os.DirFS(filepath.Join("../..", path))))
	}
	text, err := os.ReadFile("../../Makefile")
	l.do(err)
	l.do(os.WriteFile(filepath.Join(origin, "Makefile"), text, 0o644))
	l.git(origin, "init", "-q")
	l.commit(origin)
	l.git(filepath.Dir(origin), "clone", "-q", origin, h.clone)
}

// commit commits all that a repository has.
func (l *life) commit(repository string) {
	l.t.Helper()
	l.git(repository, "add", "-A")
	l.git(repository, "-c", "user.name=x", "-c", "user.email=x@example.net", "commit", "-q", "-m", "x")
}

func (l *life) git(dir string, args ...string) {
	l.t.Helper()
	cmd := exec.CommandContext(deadline(l.t), "git", args...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "GIT_CONFIG_GLOBAL=/dev/null")
	if out, err := cmd.CombinedOutput(); err != nil {
		l.t.Fatalf("git %q: %v\n%s", args, err, out)
	}
}

// next does so many of the task's blocks, and returns what the commands printed.
func (l *life) next(n int) (printed string) {
	l.t.Helper()
	for range n {
		if len(l.blocks) == 0 {
			l.t.Fatal("the task has fewer blocks")
		}
		b := l.blocks[0]
		l.blocks = l.blocks[1:]
		switch {
		case b.kind == "toml":
			l.layTOML(b.text)
		case b.kind == "csv":
			l.layCSV(b.text)
		case b.kind == "sh" && b.host == "":
			printed += l.shell(b.text)
		case b.kind == "sh" && l.hosts[b.host] != nil:
			printed += l.hosts[b.host].shell(b.text)
		default:
			l.t.Fatalf("a block of the kind %q for the host %q cannot be done", b.kind, b.host)
		}
	}
	return printed
}

// means has a word of the page stand for another from here on.
func (l *life) means(word, is string) { l.words = append([]string{word, is}, l.words...) }

// mail sends a message from the Internet to an address, and returns it with what was said.
func (l *life) mail(to string) ([]byte, lab.Result) {
	l.t.Helper()
	m := lab.Plain("eve@example.net", to, "a task")
	return m, l.fromEve(m, to)
}

// mustReach checks where mail to an address arrives.
func (l *life) mustReach(to, where string) {
	l.t.Helper()
	m, r := l.mail(to)
	if !r.Accepted() {
		l.t.Fatalf("mail to %s is answered with %+v", to, r)
	}
	l.mustArrive(m, where)
}

// mustRefuse checks the code with which mail to an address is refused.
func (l *life) mustRefuse(to string, code int) {
	l.t.Helper()
	if _, r := l.mail(to); r.To[0].Code != code {
		l.t.Fatalf("mail to %s is answered with %+v, not %d", to, r, code)
	}
}

func (l *life) mustPrint(printed string, texts ...string) {
	l.t.Helper()
	for _, text := range texts {
		if !strings.Contains(printed, text) {
			l.t.Errorf("the commands do not print %q:\n%s", text, printed)
		}
	}
}

func (l *life) firstHour() {
	l.next(3)
	l.mustPrint(l.next(1), "ok", "S0=>S4=>O1=>LD")
	l.mustPrint(l.next(1), "smtpd_milters")
	l.mustPrint(l.next(1), "ok    postfix", "ok    daemon", "directory")
	l.next(1)
	for name, text := range map[string]string{"office365.ps1": "Set-Wanted InboundConnector", "dns.txt": "acmecorp.com: SPF"} {
		written, err := os.ReadFile(filepath.Join(l.clone, name))
		if err != nil || !bytes.Contains(written, []byte(text)) {
			l.t.Errorf("%s lacks %s (%v):\n%s", name, text, err, written)
		}
	}
	l.mustReach("alice@acmecorp.com", "office365 alice@acmecorp-com.onmicrosoft.com")
	l.mustReach("bob@acmecorp.com", "here bob@acmecorp.com")
	m := lab.Plain("bob@acmecorp.com", "eve@example.net", "outwards")
	l.deliver(lab.FromUser, lab.Mail{From: "bob@acmecorp.com", To: lab.To("eve@example.net"), Data: m})
	l.mustArrive(m, "Internet eve@example.net")
}

func (l *life) addUser() {
	l.mustRefuse("carol@acmecorp.com", 550)
	l.mustPrint(l.next(2), "carol@acmecorp.com")
	l.mustReach("carol@acmecorp.com", "here carol@acmecorp.com")
}

func (l *life) removeUser() {
	l.mustReach("erin@acmecorp.com", "here erin@acmecorp.com")
	l.next(1)
	l.mustRefuse("erin@acmecorp.com", 550)
}

func (l *life) moveUser() {
	l.next(2)
	l.mustRefuse("carol@acmecorp.com", 450)
	waits := lab.Plain("bob@acmecorp.com", "carol@acmecorp.com", "it waits")
	l.sendmail("bob@acmecorp.com", waits, "carol@acmecorp.com")
	l.do(l.WaitHostMailPutOff(deadline(l.t)))
	l.mustPrint(l.next(2), "S0=>S4=>O1=>LD")
	l.mustArrive(waits, "office365 carol@acmecorp-com.onmicrosoft.com")
	l.mustReach("carol@acmecorp.com", "office365 carol@acmecorp-com.onmicrosoft.com")
}

func (l *life) findMessage() {
	m, r := l.mail("alice@acmecorp.com")
	l.settle()
	var found []foundMessage
	for ctx := deadline(l.t); len(found) == 0; {
		if found = l.find("--id", l.QueueID(r.Data)); ctx.Err() != nil {
			l.t.Fatal("the message is not found")
		}
	}
	l.means("mmx23lv69", found[0].ID)
	l.mustPrint(l.next(1), found[0].ID, "S0=>S4=>O1=>LD", messageID(m))
}

func (l *life) releaseMessage() {
	m := programFor("alice@acmecorp.com", "a program", 100)
	entry := l.hold(m, "alice@acmecorp.com")[0]
	l.means("vb3kq7x2ma", entry.ID)
	l.mustPrint(l.next(1), entry.ID+" released")
	l.mustArrive(m, "office365 "+aliceThere)
}

func (l *life) unblockClient() {
	for ctx := deadline(l.t); l.isLetIn(taskBlocked); {
		l.do(ctx.Err())
		session := l.enter(taskBlocked)
		l.names(session, "one@acmecorp.com", "two@acmecorp.com", "three@acmecorp.com", "four@acmecorp.com", "five@acmecorp.com")
		session.Close()
	}
	l.mustPrint(l.next(1), taskBlocked, "unknown", "let in again")
	if !l.isLetIn(taskBlocked) {
		l.t.Error("the client is not let in again")
	}
}

// isLetIn reports that a client may connect.
func (l *life) isLetIn(client string) bool {
	session, err := lab.Client{Server: l.Addr("public"), Local: client}.Dial(deadline(l.t))
	if err == nil {
		l.do(session.Close())
	}
	return err == nil
}

func (l *life) allowPartner() {
	send := func() (m []byte) {
		m = programFor("bob@acmecorp.com", "a program of a partner's", 100)
		l.deliver(taskPartner, lab.Mail{From: "jane@partner.example", To: lab.To("bob@acmecorp.com"), Data: m})
		return m
	}
	if m := send(); len(l.entriesOf(m)) != 1 {
		l.t.Error("the partner's attachment is not held")
	}
	l.next(2)
	l.mustArrive(send(), "here bob@acmecorp.com")
}

func (l *life) raiseLimit() {
	send := func(recipients int) bool {
		m := lab.Mail{From: "bob@acmecorp.com", Data: lab.Plain("bob@acmecorp.com", "bob@acmecorp.com", "to many")}
		for i := range recipients {
			m.To = append(m.To, lab.Rcpt{Address: fmt.Sprintf("bob+%d@acmecorp.com", i)})
		}
		r := l.submitAs(submitter{login: "bob"}, m)
		return r.Accepted()
	}
	if !send(200) || send(1) {
		l.t.Fatal("200 recipients are the limit")
	}
	l.mustPrint(l.next(2), "per user", "bob", "forgotten")
	if !send(201) {
		l.t.Error("the limit is not raised")
	}
}

func (l *life) changeLogLevel() {
	l.next(1)
	l.mustReach("bob@acmecorp.com", "here bob@acmecorp.com")
	if log := l.Daemon.Log(); strings.Contains(log, "level=INFO") {
		l.t.Errorf("at the level warn the daemon logs\n%s", log)
	}
	l.next(1)
	_, r := l.mail("bob@acmecorp.com")
	if line := l.logged(r); line["verdict"] != "accept" {
		l.t.Errorf("at the usual level the daemon logs %v", line)
	}
}

// upgrade has a client send message after message meanwhile, who tries again what was put off.
func (l *life) upgrade() {
	l.do(os.WriteFile(filepath.Join(l.clone+".origin", "NEWS"), []byte("a new version\n"), 0o644))
	l.commit(l.clone + ".origin")
	before := l.Daemon.Pid()
	ctx, end := context.WithCancel(deadline(l.t))
	var sent [][]byte
	done, taken := make(chan error, 1), make(chan bool)
	go func() {
		for ctx.Err() == nil {
			m := lab.Plain("eve@example.net", "alice@acmecorp.com", "it flows")
			if err := l.untilTaken("alice@acmecorp.com", m); err != nil {
				done <- err
				return
			}
			sent = append(sent, m)
			select {
			case taken <- true:
			default:
			}
		}
		done <- nil
	}()
	flows := func() {
		l.t.Helper()
		select {
		case <-taken:
		case err := <-done:
			l.t.Fatal(err)
		}
	}
	flows()
	l.mustPrint(l.next(1), "ok", "messages")
	flows() // of the next two, one was begun by now
	flows()
	end()
	if err := <-done; err != nil {
		l.t.Error(err)
	}
	for _, m := range sent {
		l.mustArrive(m, "office365 "+aliceThere)
	}
	runs, err := os.Readlink(fmt.Sprintf("/proc/%d/exe", l.Daemon.Pid()))
	if l.Daemon.Pid() == before || runs != filepath.Join(l.root, "usr/local/sbin/coexistd") {
		l.t.Errorf("the program that runs is %s (%v)", runs, err)
	}
	if _, err := os.Stat(filepath.Join(l.clone, "NEWS")); err != nil {
		l.t.Error(err)
	}
}

// untilTaken hands a message in until it is taken. The error is that of a refusal for good.
func (l *life) untilTaken(to string, m []byte) error {
	for ctx := deadline(l.t); ; {
		r, err := lab.Client{Server: l.Addr("public"), Local: "127.0.7.1"}.Send(ctx, lab.Mail{From: "eve@example.net", To: lab.To(to), Data: m})
		if err == nil && r.Accepted() {
			return nil
		}
		for _, reply := range append(r.To, r.Mail, r.Data) {
			if reply.Code/100 == 5 {
				return fmt.Errorf("the message was refused for good: %+v", r)
			}
		}
		if ctx.Err() != nil || err != nil && !regexp.MustCompile(`: 4\d\d `).MatchString(err.Error()) {
			return fmt.Errorf("the message was not taken: %+v, %w", r, err)
		}
	}
}

// install brings another host to where the page's first hour begins to be about the
// configuration, and has it be a name of the page's.
func (l *life) install(name string) *taskHost {
	l.t.Helper()
	h := startTaskHost(l.t, l.taskHost, l.shared...)
	l.makeClone(h)
	l.hosts[name] = h
	l.t.Cleanup(func() { os.RemoveAll(h.Dir + ".before") })
	h.shell("make install")
	return h
}

// mustShareKeys checks that two hosts know each other's traces: a message that goes round by
// way of both ends after three passes.
func (l *life) mustShareKeys(h *taskHost) {
	l.t.Helper()
	m := lab.Plain("eve@example.net", "alice@acmecorp.com", "round and round")
	var arrived []byte
	for pass := range 4 {
		s := []*site{l.site, h.site}[pass%2]
		r := s.send("127.0.3.9", lab.Mail{From: "eve@example.net", To: lab.To("alice@acmecorp.com"), Data: m})
		if pass == 3 {
			if r.Data.Code != 554 || r.Data.Enhanced != "5.4.6" {
				l.t.Errorf("after three passes the message is answered with %+v", r)
			}
			return
		}
		if !r.Accepted() {
			l.t.Fatalf("pass %d is answered with %+v", pass+1, r)
		}
		s.settle()
		for _, d := range s.Office.All() { // the last one is that of this pass
			if messageID(d.Data) == messageID(m) {
				arrived = d.Data
			}
		}
		m = arrived
	}
}

func (l *life) backUp() {
	m := programFor("alice@acmecorp.com", "held over a backup", 100)
	l.held = l.hold(m, "alice@acmecorp.com")[0]
	h := l.install("newhost")
	l.mustPrint(l.next(1), "backed up to")
	l.mustPrint(l.next(1), l.held.ID)
	h.release(l.held.ID, "released", "")
	h.mustArrive(m, "office365 "+aliceThere)
	if list := h.find("--to", "carol@acmecorp.com"); len(list) == 0 {
		l.t.Error("the records of messages are not there")
	}
	l.mustShareKeys(h)
}

func (l *life) twoHosts() {
	h := l.install("mx2")
	l.do(os.Symlink(h.Dir, filepath.Join(l.root, "mx2")))
	l.mustPrint(l.next(4), "ok    redis")
	l.mustShareKeys(h)
	// The count drains all the time, so each host has far more counted than drains meanwhile.
	const each = 200
	tagged := make([]string, each)
	for i := range tagged {
		tagged[i] = fmt.Sprintf("bob+%d@acmecorp.com", i)
	}
	m := lab.Plain("bob@acmecorp.com", "bob@acmecorp.com", "counted by both")
	for _, s := range []*site{l.site, h.site} {
		if r := s.submitAs(submitter{login: "bob"}, lab.Mail{From: "bob@acmecorp.com", To: lab.To(tagged...), Data: m}); !r.Accepted() {
			l.t.Errorf("bob's message is answered with %+v", r)
		}
	}
	for _, host := range []*taskHost{l.taskHost, h} {
		printed := host.shell("coexistd limits list")
		used := regexp.MustCompile(`bob +login +(\d+) `).FindStringSubmatch(printed)
		if used == nil {
			l.t.Errorf("nothing is counted for bob:\n%s", printed)
		} else if n, err := strconv.Atoi(used[1]); err != nil || n <= each {
			l.t.Errorf("the hosts do not count together:\n%s", printed)
		}
	}
}

func (l *life) anotherPlatform() {
	l.next(1)
	l.mustPrint(l.next(3), "G1=>LD")
	// It waits until Google's networks are known.
	out := lab.Plain("eve@example.net", "gail@acmecorp.com", "over there")
	l.do(l.untilTaken("gail@acmecorp.com", out))
	l.mustArrive(out, "google gail@gapps.acmecorp.com")
	secret, err := os.ReadFile(filepath.Join(l.Dir, "google.proof"))
	l.do(err)
	m := lab.Plain("gail@acmecorp.com", "bob@acmecorp.com", "from over there")
	r := l.send(lab.FromGoogle, lab.Mail{From: "gail@acmecorp.com", To: lab.To("bob@acmecorp.com"), Data: withHeader("X-Acme-Proof: "+strings.TrimSpace(string(secret)), m)})
	if line := l.logged(r); line["point"] != "S1" {
		l.t.Errorf("mail from Google is judged so: %v", line)
	}
	l.mustArrive(m, "here bob@acmecorp.com")
}

func (l *life) retire() {
	l.mustPrint(l.next(2), "reloaded", l.held.ID)
	for _, name := range []string{"dns.txt", "office365.ps1", "google.txt"} {
		if guide, err := os.ReadFile(filepath.Join(l.clone, name)); err != nil || bytes.Contains(guide, []byte(": not yet")) {
			l.t.Errorf("%s does not say what is to be undone (%v):\n%s", name, err, guide)
		}
	}
	l.next(1)
	m, r := l.mail("alice@acmecorp.com")
	if !r.Accepted() {
		l.t.Fatalf("mail is answered with %+v", r)
	}
	l.mustArrive(m, "here alice@acmecorp.com")
	left := readAll(l.t, filepath.Join(l.Postfix.Dir, "etc"))
	if strings.Contains(left, l.run) {
		l.t.Errorf("Postfix still asks coexistd:\n%s", left)
	}
}

func (l *life) uninstall() {
	l.next(1)
	var left []string
	l.do(filepath.WalkDir(l.root, func(path string, d fs.DirEntry, err error) error {
		if path == l.state || path == l.run {
			return fs.SkipDir
		}
		if err == nil && !d.IsDir() && path != filepath.Join(l.root, "mx2") {
			left = append(left, path)
		}
		return err
	}))
	if len(left) > 0 {
		l.t.Errorf("what make install has brought is left: %q", left)
	}
	for _, path := range []string{l.Config(), filepath.Join(l.Dir, "users.csv"), filepath.Join(l.state, quarantine.FileName)} {
		if _, err := os.Stat(path); err != nil {
			l.t.Errorf("what may still be needed is gone: %v", err)
		}
	}
}
