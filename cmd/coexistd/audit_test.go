package main

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"coexistd/contrib/lab"
	"coexistd/milter/audit"
)

// audited returns what the command audit tells with such flags, the oldest first.
func (c *cellar) audited(t *testing.T, flags ...string) (told []string) {
	t.Helper()
	_, out, complaint := tell("{none}", append([]string{"audit", "-c", c.config, "--json"}, flags...)...)
	var events []audit.Event
	if err := json.Unmarshal([]byte(out), &events); err != nil {
		t.Fatalf("%v in %s %s", err, out, complaint)
	}
	for _, e := range events {
		for what, id := range c.ids {
			e.Object = strings.ReplaceAll(e.Object, id, what)
		}
		told = append([]string{fmt.Sprintf("%s: %s %s for %s: %s", e.Way, e.What, e.Object, e.Whose, e.Outcome)}, told...)
		if me := whoRuns(os.Getenv("SUDO_USER")); e.Who != me {
			t.Errorf("%+v was not done by %s", e, me)
		}
	}
	return told
}

func TestTheAuditTellsWhatCommandsDoToWhatIsHeld(t *testing.T) {
	t.Parallel()
	c := stock(t, lab.SinkConfig{Refuse: func(to string) *lab.Reply {
		if to == "alice@acmecorp.com" {
			return &lab.Reply{Code: 550, Enhanced: "5.1.1", Text: "gone"}
		}
		return nil
	}})
	c.do(t, "release", "{bob's}", "{alice's}")
	c.do(t, "delete", "{virus}")
	c.do(t, "delete", "{virus}") // which changes nothing
	told := c.audited(t)
	if len(told) != 3 || told[0] != "command: release bob's for bob@acmecorp.com: done" ||
		!strings.HasPrefix(told[1], "command: release alice's for alice@acmecorp.com: ") || !strings.Contains(told[1], "550 5.1.1 gone") ||
		told[2] != "command: delete virus for bob@acmecorp.com: done" {
		t.Errorf("the audit tells\n%s", strings.Join(told, "\n"))
	}
	if told := c.audited(t, "--what", "delete"); len(told) != 1 {
		t.Errorf("of what was deleted it tells %q", told)
	}
	if status, out, complaint := tell("{none}", "audit", "-c", c.config, "--until", "1h"); status != exitNo || out != "" || complaint != "nothing was done\n" {
		t.Errorf("of the time before, audit says %q %q and ends with %d", out, complaint, status)
	}
	if status, out, complaint := tell("{none}", "audit", "-c", c.config, "--most", "1"); status != exitYes || strings.Count(out, "\n") != 2 || !strings.Contains(complaint, "there are more than 1") {
		t.Errorf("of one, audit says %q %q and ends with %d", out, complaint, status)
	}
	if status, _, complaint := tell("{none}", "audit", "-c", c.config, "--what", "sing"); status != exitWrong || !strings.Contains(complaint, "it would be one of release, delete") {
		t.Errorf("a wrong --what ends with %d and %q", status, complaint)
	}
}

func TestWithoutAStoreNothingWasDone(t *testing.T) {
	t.Parallel()
	path := configuration(t, strings.ReplaceAll(heldTOML, "{smtp}", "127.0.0.1:25"), "address,residence\n")
	if status, out, complaint := tell("{none}", "audit", "-c", path); status != exitNo || out != "" || complaint != "nothing was done\n" {
		t.Errorf("audit says %q %q and ends with %d", out, complaint, status)
	}
	if made, _ := filepath.Glob(filepath.Join(filepath.Dir(path), "state", "*")); len(made) > 0 {
		t.Errorf("it has made %v", made)
	}
}
