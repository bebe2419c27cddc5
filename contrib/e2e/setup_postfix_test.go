package e2e

import (
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"coexistd/contrib/lab"
)

// guide is what coexistd setup --json prints.
type guide struct {
	Steps []struct{ Title, Code string }
}

// commands are the lines of all steps but the last, which has the MTA take the changes.
func (g guide) commands() (lines []string) {
	for _, step := range g.Steps[:max(0, len(g.Steps)-1)] {
		for line := range strings.Lines(step.Code) {
			lines = append(lines, strings.TrimSpace(line))
		}
	}
	return lines
}

// bareSite is a site whose MTA is as Debian's package sets it, with a folder of commands that
// change its configuration.
type bareSite struct {
	*site
	bin string
	mta []string // flags by which commands find its MTA
}

// startBareSite starts one.
func startBareSite(t *testing.T, c lab.SiteConfig) *bareSite {
	t.Helper()
	c.Bare = true
	return bare(startSite(t, c))
}

// bare gives a site such a folder. Services of the host that a guide names are not there: the commands for
// them say what they were asked for in a file.
func bare(s *site) *bareSite {
	t := s.t
	t.Helper()
	b := &bareSite{site: s, bin: t.TempDir()}
	if m, is := s.Host.(*lab.Sendmail); is {
		b.mta = []string{"--sendmail-cf", filepath.Join(m.Dir, "etc", "sendmail.cf")}
	} else {
		b.bin = postconfOf(t, lab.Lend(t), filepath.Join(s.Postfix.Dir, "etc"))
	}
	for _, name := range []string{"postfix", "systemctl", "usermod"} {
		b.writeCommand(name, "echo "+name+" \"$@\" >> '"+filepath.Join(s.Dir, "asked")+"'\n")
	}
	path, err := program()
	if err == nil {
		err = os.Symlink(path, filepath.Join(b.bin, "coexistd"))
	}
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// writeCommand has the folder have a command, by a script for the shell.
func (b *bareSite) writeCommand(name, script string) {
	b.t.Helper()
	// A process that another test starts just now would keep the file open for writing.
	syscall.ForkLock.RLock()
	defer syscall.ForkLock.RUnlock()
	b.do(os.WriteFile(filepath.Join(b.bin, name), []byte("#!/bin/sh\n"+script), 0o755))
}

// setup prints a guide.
func (b *bareSite) setup(args ...string) string {
	b.t.Helper()
	path, err := program()
	if err != nil {
		b.t.Fatal(err)
	}
	return b.run(path, "", slices.Concat([]string{"setup", "-c", b.Config()}, b.mta, args)...)
}

// apply runs a guide as it was printed.
func (b *bareSite) apply(script string) {
	b.t.Helper()
	b.run("/bin/sh", script, "-e")
}

func (b *bareSite) run(path, in string, args ...string) string {
	b.t.Helper()
	cmd := exec.CommandContext(deadline(b.t), path, args...)
	cmd.Env = append(os.Environ(), "PATH="+b.bin+":"+os.Getenv("PATH"))
	cmd.Stdin = strings.NewReader(in)
	var complaint bytes.Buffer
	cmd.Stderr = &complaint
	out, err := cmd.Output()
	if err != nil || complaint.Len() > 0 {
		b.t.Fatalf("%s %q: %v: %s\n%s", filepath.Base(path), args, err, complaint.String(), out)
	}
	return string(out)
}

// guide is a guide as data.
func (b *bareSite) guide(args ...string) (g guide) {
	b.t.Helper()
	if err := json.Unmarshal([]byte(b.setup(append(args, "--json")...)), &g); err != nil {
		b.t.Fatal(err)
	}
	return g
}

// complaints are what the doctor says of a subject that is not ok.
func (b *bareSite) complaints(subject string) (lines []string) {
	b.t.Helper()
	_, out, complaint := runDoctor(b.t, b.bin, nil, append([]string{"-c", b.Config()}, b.mta...)...)
	if complaint != "" {
		b.t.Fatal(complaint)
	}
	for line := range strings.Lines(out) {
		if fields := strings.Fields(line); len(fields) > 1 && fields[1] == subject && fields[0] != "ok" {
			lines = append(lines, strings.TrimSpace(line))
		}
	}
	return lines
}

const withRoles = lab.SiteDirectory + `postmaster@acmecorp.com,here,
abuse@acmecorp.com,here,
postmaster@globex.example,here,
abuse@globex.example,here,
`

// setUp applies the guide for a side to an MTA as Debian's package sets it, which is then started again, and sends mail through
// it on each way. Nothing is left to be set, and the doctor is content; asked is the end of what services of the host
// were asked for.
func (b *bareSite) setUp(side, asked string) {
	b.t.Helper()
	b.apply(b.setup(side))
	b.mustBeDone(side)
	if got, err := os.ReadFile(filepath.Join(b.Dir, "asked")); err != nil || !strings.HasSuffix(string(got), asked) {
		b.t.Errorf("the MTA was not told to take the changes (%v): %s", err, got)
	}
	b.again()
	if bad := b.complaints(side); len(bad) > 0 {
		b.t.Errorf("the doctor says\n%s", strings.Join(bad, "\n"))
	}
	b.pass(slices.Concat(withOffice.passages(false), withGoogle.passages(false)))
	m := lab.Plain("eve@example.net", "carol@acmecorp.com", "to both")
	b.deliver(lab.FromInternet, lab.Mail{From: "eve@example.net", To: lab.To("carol@acmecorp.com"), Data: m})
	b.mustArrive(m, "here carol@acmecorp.com", "office365 carol@acmecorp-com.onmicrosoft.com")
	m = lab.Plain("bob@acmecorp.com", "alice@acmecorp.com", "by the sendmail command")
	b.sendmail("bob@acmecorp.com", m, "alice@acmecorp.com")
	b.mustArrive(m, "office365 alice@acmecorp-com.onmicrosoft.com")
}

// retire applies the guide by which the split ends.
func (b *bareSite) retire(side string) {
	b.t.Helper()
	b.apply(b.setup(side, "--retire"))
	b.mustBeDone(side, "--retire")
}

// mustBeDone fails the test where a guide has steps left.
func (b *bareSite) mustBeDone(args ...string) {
	b.t.Helper()
	if again := b.guide(args...); len(again.Steps) > 0 {
		b.t.Errorf("what %q has done is to be done once more: %+v", args, again.Steps)
	}
}

// again has the MTA read its configuration anew.
func (b *bareSite) again() {
	b.t.Helper()
	if err := b.Host.Again(deadline(b.t)); err != nil {
		b.t.Fatal(err)
	}
}

func TestSetupPostfixMakesOfAFreshPostfixOneByWhichAllFlowsWork(t *testing.T) {
	t.Parallel()
	b := startBareSite(t, lab.SiteConfig{Directory: withRoles})
	before := readAll(t, filepath.Join(b.Postfix.Dir, "etc"))
	b.setUp("postfix", "postfix check\nsystemctl restart postfix\n")
	b.retire("postfix")
	after := readAll(t, filepath.Join(b.Postfix.Dir, "etc"))
	for _, ours := range []string{"milter.sock", "lookup.sock", "cleanup-milter"} {
		if strings.Contains(after, ours) {
			t.Errorf("after --retire Postfix's configuration still has %s:\n%s\nat first it was\n%s", ours, after, before)
		}
	}
}

// A Postfix that takes mail for others, too, knows none of their users, and has a milter of theirs.
func TestSetupPostfixLeavesOthersTheirMailAndTheirMilters(t *testing.T) {
	t.Parallel()
	toml := strings.Replace(lab.SiteTOML, "[[lookup]]", "[[listen]]\naddress = \"unix:{dir}/users.sock\"\nmode = \"0666\"\ncheckpoint = \"S2\"\n\n[[lookup]]", 1)
	b := startBareSite(t, lab.SiteConfig{TOML: toml, Directory: withRoles, Main: map[string]string{
		"relay_domains": "acmecorp.com, globex.example, other.example", "smtpd_milters": "unix:{dir}/away.sock", "milter_default_action": "accept",
	}})
	path, err := program()
	b.do(err)
	cmd := exec.CommandContext(deadline(t), path, "setup", "-c", b.Config(), "postfix")
	cmd.Env = append(os.Environ(), "PATH="+b.bin+":"+os.Getenv("PATH"))
	if out, err := cmd.CombinedOutput(); err == nil || !strings.Contains(string(out), "lacks: other.example. coexistd would refuse it") {
		t.Errorf("of a domain that the configuration lacks the guide says (%v)\n%s", err, out)
	}
	b.do(b.WriteTOML(toml + "\n[domain.\"other.example\"]\nunlisted = \"here\"\n"))
	_, err = b.Daemon.Reload(deadline(t))
	b.do(err)
	b.apply(b.setup("postfix"))
	b.again()
	m := lab.Plain("eve@example.net", "anybody@other.example", "to others")
	b.deliver(lab.FromInternet, lab.Mail{From: "eve@example.net", To: lab.To("anybody@other.example"), Data: m})
	b.mustArrive(m, "Internet anybody@other.example")
	m = lab.Plain("eve@example.net", "alice@acmecorp.com", "to who lives elsewhere")
	b.deliver(lab.FromInternet, lab.Mail{From: "eve@example.net", To: lab.To("alice@acmecorp.com"), Data: m})
	b.mustArrive(m, "office365 alice@acmecorp-com.onmicrosoft.com")
	unknown := lab.Mail{From: "eve@example.net", To: lab.To("nobody@acmecorp.com"), Data: lab.Plain("eve@example.net", "nobody@acmecorp.com", "to nobody")}
	if reply := b.send(lab.FromInternet, unknown).To[0]; reply.Code != 550 {
		t.Errorf("a recipient whom nobody has is answered with %v", reply)
	}
	// Others' milter is away, which lets mail pass. Without ours, mail waits.
	b.do(b.Daemon.Stop())
	unknown.To = lab.To("bob@acmecorp.com")
	if r := b.send(lab.FromInternet, unknown); r.Accepted() || r.Mail.Code != 451 && r.To[0].Code != 451 {
		t.Errorf("while coexistd is away, the client is answered with %+v", r)
	}
}

// readAll returns main.cf and master.cf.
func readAll(t *testing.T, etc string) string {
	t.Helper()
	var all strings.Builder
	for _, name := range []string{"main.cf", "master.cf"} {
		text, err := os.ReadFile(filepath.Join(etc, name))
		if err != nil {
			t.Fatal(err)
		}
		all.Write(text)
	}
	return all.String()
}

// Each command of the guide is left out in turn. Of what is not done the doctor must tell, and the
// guide must have it again.
func TestTheDoctorNamesEachSettingOfTheGuideThatIsMissing(t *testing.T) {
	t.Parallel()
	b := startBareSite(t, lab.SiteConfig{Directory: withRoles})
	etc := filepath.Join(b.Postfix.Dir, "etc")
	fresh := map[string][]byte{}
	for _, name := range []string{"main.cf", "master.cf"} {
		text, err := os.ReadFile(filepath.Join(etc, name))
		if err != nil {
			t.Fatal(err)
		}
		fresh[name] = text
	}
	commands := b.guide("postfix").commands()
	if len(commands) < 10 {
		t.Fatalf("the guide has %d commands: %q", len(commands), commands)
	}
	for i, missing := range commands {
		for name, text := range fresh {
			if err := os.WriteFile(filepath.Join(etc, name), text, 0o644); err != nil {
				t.Fatal(err)
			}
		}
		all := append(append([]string{}, commands[:i]...), commands[i+1:]...)
		switch {
		case strings.HasPrefix(missing, "postconf -M"):
			continue // Its options are commands of their own, which cannot do without it.
		case strings.Contains(missing, "virtual_transport"):
			continue // The site's transport_maps have a way for its mailboxes all the same.
		}
		b.apply(strings.Join(all, "\n"))
		if bad := b.complaints("postfix"); len(bad) == 0 {
			t.Errorf("without %s the doctor finds nothing", missing)
		}
		if again := b.guide("postfix").commands(); len(again) == 0 {
			t.Errorf("without %s there is nothing to be set", missing)
		}
	}
}
