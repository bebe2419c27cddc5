package e2e

import (
	"encoding/json"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"coexistd/contrib/lab"
)

// as runs a command on the site's configuration as root whom sudo has made of a user.
func (s *site) as(sudoer, command string) {
	s.t.Helper()
	path, err := program()
	if err != nil {
		s.t.Fatal(err)
	}
	cmd := exec.CommandContext(deadline(s.t), path, append(strings.Fields(command), "-c", s.Config())...)
	cmd.Env = append(slices.DeleteFunc(os.Environ(), func(v string) bool { return strings.HasPrefix(v, "SUDO_USER=") }), "SUDO_USER="+sudoer)
	if out, err := cmd.CombinedOutput(); err != nil {
		s.t.Errorf("coexistd %s of %s ends with %v and says %s", command, sudoer, err, out)
	}
}

// audited is what audit --json prints of one event.
type audited struct{ Who, Way, What, Object, Whose, Outcome string }

func (e audited) String() string {
	return strings.Join([]string{e.Who, e.Way, e.What, e.Object, e.Whose, e.Outcome}, "|")
}

func TestTheAuditTellsWhoHasChangedWhatAndByWhichWay(t *testing.T) {
	onEachMTA(t, func(t *testing.T, mta lab.MTA) {
		rule := "\n[[rate]]\nname = \"clients\"\nby = \"client\"\ncount = \"messages\"\nlimit = 9\nper = \"1h\"\ncheckpoints = [\"S0\"]\n"
		toml := strings.Replace(checkedTOML("", "", neverReport), `exempt = ["127.0.0.0/8"]`, "exempt = [\"127.0.99.0/24\", \"127.0.1.0/24\", \"127.0.0.1\"]\nper_minute = 9", 1)
		s := startSite(t, lab.SiteConfig{MTA: mta, TOML: toml + rule})
		const client = "127.0.88.7"
		s.DNS.Set("example.net", "TXT", "v=spf1 ip4:"+client+" -all")
		var ids []string
		for _, subject := range []string{"released", "deleted", "blocked"} {
			m := programFor(forBob, subject, 0)
			s.says250(client, "eve@example.net", m, forBob)
			ids = append(ids, s.entriesOf(m)[0].ID)
		}
		begun := s.audit() // of the site's start
		s.as("carol", "quarantine release "+ids[0])
		s.as("dave", "quarantine delete "+ids[1])
		s.as("carol", "quarantine block "+ids[2]+" --for 7d")
		s.as("erin", "senders remove bob@acmecorp.com eve@example.net")
		s.as("carol", "reload")
		s.as("dave", "limits reset clients "+client)
		s.as("erin", "clients unblock "+client)
		s.mustReload()
		want := []string{
			"carol|command|release|" + ids[0] + "|" + forBob + "|done",
			"dave|command|delete|" + ids[1] + "|" + forBob + "|done",
			"carol|command|block|eve@example.net|" + forBob + "|done",
			"erin|command|remove|eve@example.net|" + forBob + "|done",
			"carol|control socket|reload|" + s.Config() + "||done",
			"dave|control socket|reset|clients|" + client + "|done",
			"erin|control socket|unblock|" + client + "||done",
			"|signal|reload|" + s.Config() + "||done",
		}
		var got []string
		for ctx := deadline(t); len(got) < len(want) && ctx.Err() == nil; { // the daemon notes it when it has reloaded
			got = s.audit()[len(begun):]
		}
		if !slices.Equal(got, want) {
			t.Errorf("the audit tells\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
		}
		if chosen := s.audit("--who", "carol", "--what", "block"); !slices.Equal(chosen, want[2:3]) {
			t.Errorf("of carol's blocks it tells %q", chosen)
		}
		s.says(exitYes, "audit", "(unknown)", "eve@example.net, for bob@acmecorp.com")
		s.says(exitNo, "audit --what accept", "nothing was done")
		s.says(exitWrong, "audit --what nothing", "is never done")
	})
}

// audit lists what the audit command tells, the oldest first.
func (s *site) audit(flags ...string) (told []string) {
	s.t.Helper()
	out, _ := ask(s.t, slices.Concat([]string{"audit", "--json", "-c", s.Config()}, flags)...)
	var events []audited
	if err := json.Unmarshal(out, &events); err != nil {
		s.t.Fatalf("%v: %s", err, out)
	}
	for _, e := range slices.Backward(events) {
		told = append(told, e.String())
	}
	return told
}
