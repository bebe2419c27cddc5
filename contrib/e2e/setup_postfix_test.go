package e2e

import (
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
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

// startBareSite starts one. Services of the host that a guide names are not there: the commands for
// them say what they were asked for in a file.
func startBareSite(t *testing.T, c lab.SiteConfig) *bareSite {
	t.Helper()
	c.Bare = true
	s := startSite(t, c)
	b := &bareSite{site: s, bin: t.TempDir()}
	if m, is := s.Host.(*lab.Sendmail); is {
		b.mta = []string{"--sendmail-cf", filepath.Join(m.Dir, "etc", "sendmail.cf")}
	} else {
		b.bin = postconfOf(t, lab.Lend(t), filepath.Join(s.Postfix.Dir, "etc"))
	}
	for _, name := range []string{"postfix", "systemctl", "usermod"} {
		script := "#!/bin/sh\necho " + name + " \"$@\" >> '" + filepath.Join(s.Dir, "asked") + "'\n"
		if err := os.WriteFile(filepath.Join(b.bin, name), []byte(script), 0o755); err != nil {
			t.Fatal(err)
		}
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

func TestSetupPostfixMakesOfAFreshPostfixOneByWhichAllFlowsWork(t *testing.T) {
	t.Parallel()
	b := startBareSite(t, lab.SiteConfig{Directory: withRoles})
	before := readAll(t, filepath.Join(b.Postfix.Dir, "etc"))
	b.apply(b.setup("postfix"))
	if again := b.guide("postfix"); len(again.Steps) > 0 {
		t.Errorf("what was set is to be set once more: %+v", again.Steps)
	}
	asked, err := os.ReadFile(filepath.Join(b.Dir, "asked"))
	if err != nil || !strings.HasSuffix(string(asked), "postfix check\nsystemctl restart postfix\n") {
		t.Errorf("Postfix was not told to take the changes (%v): %s", err, asked)
	}
	if err := b.Postfix.Again(deadline(t)); err != nil {
		t.Fatal(err)
	}
	if bad := b.complaints("postfix"); len(bad) > 0 {
		t.Errorf("the doctor says\n%s", strings.Join(bad, "\n"))
	}
	b.pass(slices.Concat(withOffice.passages(false), withGoogle.passages(false)))
	m := lab.Plain("eve@example.net", "carol@acmecorp.com", "to both")
	b.deliver(lab.FromInternet, lab.Mail{From: "eve@example.net", To: lab.To("carol@acmecorp.com"), Data: m})
	b.mustArrive(m, "here carol@acmecorp.com", "office365 carol@acmecorp-com.onmicrosoft.com")
	m = lab.Plain("bob@acmecorp.com", "alice@acmecorp.com", "by the sendmail command")
	b.sendmail("bob@acmecorp.com", m, "alice@acmecorp.com")
	b.mustArrive(m, "office365 alice@acmecorp-com.onmicrosoft.com")

	b.apply(b.setup("postfix", "--retire"))
	if again := b.guide("postfix", "--retire"); len(again.Steps) > 0 {
		t.Errorf("what was taken back is to be taken back once more: %+v", again.Steps)
	}
	after := readAll(t, filepath.Join(b.Postfix.Dir, "etc"))
	for _, ours := range []string{"milter.sock", "lookup.sock", "cleanup-milter"} {
		if strings.Contains(after, ours) {
			t.Errorf("after --retire Postfix's configuration still has %s:\n%s\nat first it was\n%s", ours, after, before)
		}
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
