package e2e

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"coexistd/contrib/lab"
)

// startBareSendmail starts a site with a Sendmail that is as Debian's package sets it. The listener
// for users is one of its own.
func startBareSendmail(t *testing.T) *bareSite {
	t.Helper()
	return startBareSite(t, lab.SiteConfig{MTA: lab.SendmailMTA, TOML: bareSendmailTOML, Directory: withRoles})
}

// bareSendmailTOML is the configuration beside it.
var bareSendmailTOML = strings.NewReplacer(
	`["127.0.4.0/24"]`, `["127.0.4.0/24", "127.0.0.1", "::1"]`,
	"[[lookup]]", "[[listen]]\naddress = \"unix:{dir}/users.sock\"\nmode = \"0666\"\ncheckpoint = \"S2\"\n\n[[lookup]]",
).Replace(lab.SiteTOML)

// etc is the folder of the site's Sendmail.
func (b *bareSite) etc() string { return filepath.Join(b.Host.(*lab.Sendmail).Dir, "etc") }

func TestSetupSendmailMakesOfAFreshSendmailOneByWhichAllFlowsWork(t *testing.T) {
	t.Parallel()
	b := startBareSendmail(t)
	before := folder(t, b.etc())
	b.setUp("sendmail", "systemctl restart sendmail\n")
	b.retire("sendmail")
	after := folder(t, b.etc())
	for name, text := range after {
		if strings.Contains(name+text, "coexist") && !strings.Contains(before[name], "coexist") && !strings.HasSuffix(name, ".db") {
			t.Errorf("after --retire %s still has something of ours:\n%s", name, text)
		}
	}
	for _, name := range []string{"sendmail.mc", "access", "mailertable", "local-host-names"} {
		if after[name] != before[name] {
			t.Errorf("after --retire %s is\n%s\nat first it was\n%s", name, after[name], before[name])
		}
	}
	b.again()
}

// folder has the texts of a folder's files.
func folder(t *testing.T, dir string) map[string]string {
	t.Helper()
	texts := make(map[string]string)
	list, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, one := range list {
		if !one.Type().IsRegular() {
			continue
		}
		text, err := os.ReadFile(filepath.Join(dir, one.Name()))
		if err != nil {
			t.Fatal(err)
		}
		texts[one.Name()] = string(text)
	}
	return texts
}

// withoutEach returns a script without one of its commands, for each, without one of the lines that it
// writes into coexistd.mc, and without one of the tables that its script writes; by what is missing.
func withoutEach(script string) map[string]string {
	lines := strings.Split(script, "\n")
	less := func(from, to int) string {
		return strings.Join(slices.Concat(lines[:from], lines[to:]), "\n")
	}
	all := make(map[string]string)
	for i := 0; i < len(lines); i++ {
		if !strings.HasSuffix(lines[i], "<<'COEXISTD'") {
			all[lines[i]] = less(i, i+1)
			continue
		}
		end := i + slices.Index(lines[i:], "COEXISTD")
		all[lines[i]] = less(i, end+1)
		for j := i + 1; j < end; j++ {
			if strings.Contains(lines[i], "coexistd.mc ") || strings.Contains(lines[j], "networks export") {
				all[lines[j]] = less(j, j+1)
			}
		}
		i = end
	}
	return all
}

func TestTheDoctorNamesEachSettingOfTheGuideForSendmailThatIsMissing(t *testing.T) {
	t.Parallel()
	b := startBareSendmail(t)
	fresh := folder(t, b.etc())
	var codes []string
	for _, step := range b.guide("sendmail").Steps {
		codes = append(codes, step.Code)
	}
	variants := withoutEach(strings.Join(codes, "\n"))
	if len(variants) < 15 {
		t.Fatalf("the guide has %d commands and lines: %q", len(variants), codes)
	}
	for missing, script := range variants {
		if program, _, _ := strings.Cut(missing, " "); slices.Contains([]string{"dnl", "touch", "make", "systemctl"}, program) {
			continue // It sets nothing, or has what is set taken.
		}
		for name, now := range folder(t, b.etc()) {
			if text, is := fresh[name]; is && text == now {
				continue
			} else if is {
				b.do(os.WriteFile(filepath.Join(b.etc(), name), []byte(text), 0o644))
			} else {
				b.do(os.Remove(filepath.Join(b.etc(), name)))
			}
		}
		cmd := exec.CommandContext(deadline(t), "/bin/sh", "-e")
		cmd.Env = append(os.Environ(), "PATH="+b.bin+":"+os.Getenv("PATH"))
		cmd.Stdin = strings.NewReader(script)
		if cmd.Run() != nil {
			continue // The script tells by itself.
		}
		bad := slices.DeleteFunc(b.complaints("sendmail"), func(line string) bool {
			return strings.Contains(line, "Sendmail has run since before") // for each change
		})
		if len(bad) == 0 {
			t.Errorf("without %s the doctor finds nothing", missing)
		}
		if again := b.guide("sendmail").Steps; len(again) == 0 {
			t.Errorf("without %s there is nothing to be set", missing)
		}
	}
}
