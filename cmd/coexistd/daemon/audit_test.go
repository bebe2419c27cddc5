package daemon

import (
	"strings"
	"testing"

	"coexistd/cmd/coexistd/account"
	"coexistd/cmd/coexistd/control"
	"coexistd/milter/audit"
)

// audited returns what the audit has, the oldest first, with the folder as {dir}.
func (s *stand) audited() (told []string) {
	s.t.Helper()
	for e, err := range s.view.Load().generation.audit.All(s.within(), audit.Query{}) {
		if err != nil {
			s.t.Fatal(err)
		}
		text := strings.Join([]string{e.Who, e.Way, e.What, e.Object, e.Whose, e.Outcome}, "|")
		told = append([]string{strings.ReplaceAll(text, s.dir, "{dir}")}, told...)
	}
	return told
}

func TestTheAuditTellsWhatTheDaemonIsAskedAndByWhom(t *testing.T) {
	s := start(t, "\n[[rate]]\nname = \"logins\"\nby = \"user\"\nlimit = 10\nper = \"1h\"\n")
	s.reload()
	s.ask.For = "alice"
	s.write("coexistd.toml", "nonsense")
	s.reload()
	if _, err := s.Reload(BySignal); err == nil {
		t.Error("nonsense is taken")
	}
	if _, err := s.ask.Reset(s.within(), control.Reset{Rule: "logins", Key: "bob"}); err != nil {
		t.Error(err)
	}
	if _, err := s.ask.Unblock(s.within(), control.Unblock{Network: "192.0.2.7"}); err != nil {
		t.Error(err)
	}
	if _, err := s.ask.Accept(s.within(), control.Accept{Source: "source:none"}); err == nil {
		t.Error("a source that does not exist was accepted")
	}
	want := []string{
		account.OwnName() + "|control socket|reload|{dir}/coexistd.toml||done",
		"alice|control socket|reload|{dir}/coexistd.toml||{dir}/coexistd.toml:1:",
		"|signal|reload|{dir}/coexistd.toml||{dir}/coexistd.toml:1:",
		"alice|control socket|reset|logins|bob|nothing was to be changed",
		"alice|control socket|unblock|192.0.2.7||nothing was to be changed",
		`alice|control socket|accept|source:none||"source:none" is not a source`,
	}
	told := s.audited()
	for i := range max(len(want), len(told)) {
		if i >= len(want) || i >= len(told) || !strings.HasPrefix(told[i], want[i]) {
			t.Fatalf("the audit tells\n%s\nwant\n%s", strings.Join(told, "\n"), strings.Join(want, "\n"))
		}
	}
}

func TestAnAuditThatCannotBeWrittenKeepsNoReloadFromHappening(t *testing.T) {
	s := start(t, "\n[quarantine]\ndir = \"/proc/none\"\n") // where nobody can make one
	s.write("coexistd.toml", "log_subject = true\n"+usualTOML+"\n[quarantine]\ndir = \"/proc/none\"\n")
	if r := s.reload(); !r.Applied {
		t.Errorf("the reload is refused: %v", r.Refused)
	}
	if !strings.Contains(s.said.String(), "the audit cannot be written") {
		t.Errorf("the log says\n%s", s.said.String())
	}
}
