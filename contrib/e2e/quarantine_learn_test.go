package e2e

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"coexistd/contrib/lab"
)

// learningTOML has rspamd at an address, and its controller at another, learn of what is released.
func (s *site) learningTOML(url, controller string) string {
	s.t.Helper()
	s.mustWrite("rspamd.password", lab.LearnPassword+"\n")
	if err := os.Chmod(filepath.Join(s.Dir, "rspamd.password"), 0o600); err != nil {
		s.t.Fatal(err)
	}
	scanner := fmt.Sprintf("[scanner.rspamd]\ncontroller = %q\npassword_file = \"rspamd.password\"\n", controller)
	return strings.Replace(checkedTOML("", url, "learn = true\n"+neverReport), "[scanner.rspamd]\n", scanner, 1)
}

// startLearning starts an rspamd that learns, and refuses lab.SpamWord: of GTUBE it learns
// nothing, whatever it says.
func startLearning(t *testing.T, redis *lab.Redis) *lab.Rspamd {
	t.Helper()
	return startRspamd(t, lab.RspamdConfig{Learn: redis, Settings: "actions { reject = 7; }\n"})
}

// learnable makes a message that it refuses, of enough words to learn from.
func learnable(to, subject string) []byte {
	return append(lab.Plain("eve@example.net", to, subject), lab.SpamWord+"\r\n"+strings.Repeat("Some words on "+subject+", which are of use to tell this message from all others that come.\r\n", 4)...)
}

// mustTeach releases an entry, and compares what rspamd is said to have learned of it, or why
// it has not.
func (s *site) mustTeach(id, learned, not string) {
	s.t.Helper()
	out, status := s.quarantine("release", "--json", id)
	var outcomes []outcome
	err := json.Unmarshal([]byte(out), &outcomes)
	if err != nil || status != exitYes || len(outcomes) != 1 || outcomes[0].Result != "released" || outcomes[0].Learned != learned ||
		!strings.Contains(outcomes[0].NotLearned, not) || (outcomes[0].NotLearned == "") != (not == "") {
		s.t.Errorf("releasing %s ended with %d (%v) and\n%s", id, status, err, out)
	}
}

func TestReleasedSpamIsLearnedAsHam(t *testing.T) {
	onEachMTA(t, func(t *testing.T, mta lab.MTA) {
		redis := startRedis(t, lab.RedisConfig{})
		rspamd := startLearning(t, redis)
		s := startSite(t, lab.SiteConfig{MTA: mta, TOML: checkedTOML("", rspamd.URL(), neverReport)})
		s.configure(s.learningTOML(rspamd.URL(), rspamd.ControllerURL()))
		mustHaveLearned := func(ham int) {
			t.Helper()
			count, err := rspamd.Learned(deadline(t))
			inRedis, failed := redis.Do(deadline(t), "HGET", "RS", "learns_ham")
			if err != nil || failed != nil || count != ham || inRedis != strconv.Itoa(ham) {
				t.Errorf("rspamd has learned %d messages, and %q as ham, not %d (%v, %v)", count, inRedis, ham, err, failed)
			}
		}
		m := learnable("bob@acmecorp.com", "holidays")
		held := s.hold(m, "bob@acmecorp.com", "alice@acmecorp.com")
		s.mustTeach(held[0].ID, "ham", "")
		mustHaveLearned(1)
		s.waitDaemonLog("id=" + held[0].ID + " result=released by=.* learned=\"rspamd has learned that it is no spam\"")
		// The same message for another recipient, and a release of what is released.
		s.mustTeach(held[1].ID, "ham", "")
		s.release(held[0].ID, "failed", "is not held any more")
		mustHaveLearned(1)
		s.mustArrive(m, "office365 "+aliceThere, "here bob@acmecorp.com")

		other := s.hold(programFor("bob@acmecorp.com", "other", 0), "bob@acmecorp.com")[0]
		s.mustTeach(other.ID, "", "")
		mustHaveLearned(1)

		third := s.hold(learnable("bob@acmecorp.com", "third"), "bob@acmecorp.com")[0]
		if out, status := s.quarantine("release", third.ID); status != exitYes || out != third.ID+" released, for bob@acmecorp.com; rspamd has learned that it is no spam\n" {
			t.Errorf("a release ended with %d and\n%s", status, out)
		}
		mustHaveLearned(2)
	})
}

func TestWhatIsBlockedIsLearnedAsSpam(t *testing.T) {
	t.Parallel()
	redis := startRedis(t, lab.RedisConfig{})
	rspamd := startLearning(t, redis)
	s := startSite(t, lab.SiteConfig{TOML: checkedTOML("", rspamd.URL(), neverReport)})
	s.configure(s.learningTOML(rspamd.URL(), rspamd.ControllerURL()))
	mustHaveLearned := func(spam string) {
		t.Helper()
		got, err := redis.Do(deadline(t), "HGET", "RS", "learns_spam")
		if err != nil || got != spam {
			t.Errorf("rspamd has learned %q messages as spam, not %s (%v)", got, spam, err)
		}
	}
	// The check spam has missed it: a program holds it.
	words := strings.Repeat("Some words on offers, which are of use to tell this message from all others that come.\r\n", 4)
	program := strings.Replace(string(programFor("bob@acmecorp.com", "missed", 0)), "Content-Type: ",
		"Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\nContent-Type: text/plain\r\n\r\n"+words+"--b\r\nContent-Type: ", 1) + "--b--\r\n"
	missed := s.hold([]byte(program), "bob@acmecorp.com")[0]
	s.says(exitYes, "quarantine block "+missed.ID, "eve@example.net is blocked for bob@acmecorp.com", "rspamd has learned that it is spam")
	mustHaveLearned("1")
	found := s.hold(learnable("alice@acmecorp.com", "found"), "alice@acmecorp.com")[0]
	out := s.says(exitYes, "quarantine block --json "+found.ID)
	var said struct{ Sender, Learned string }
	if err := json.Unmarshal([]byte(out), &said); err != nil || said.Sender != "eve@example.net" || said.Learned != "spam" {
		t.Errorf("a block says (%v)\n%s", err, out)
	}
	mustHaveLearned("2")

	// The block holds, whatever rspamd does.
	if err := rspamd.Kill(); err != nil {
		t.Fatal(err)
	}
	s.says(exitYes, "quarantine block --domain "+missed.ID, "@example.net is blocked", "rspamd has not learned of it: rspamd's controller does not answer: ")
	s.says(exitYes, "senders list --to bob@acmecorp.com", "@example.net")
}

func TestAReleaseGoesOnWhenRspamdDoesNotLearn(t *testing.T) {
	t.Parallel()
	rspamd := startLearning(t, startRedis(t, lab.RedisConfig{}))
	s := startSite(t, lab.SiteConfig{TOML: checkedTOML("", rspamd.URL(), neverReport)})
	s.configure(s.learningTOML(rspamd.URL(), rspamd.ControllerURL()))
	first := s.hold(learnable("bob@acmecorp.com", "first"), "bob@acmecorp.com")[0]
	s.mustWrite("rspamd.password", "another password")
	s.mustTeach(first.ID, "", "does not let us have it learn: Unauthorized")
	s.says(exitNo, "doctor", "rspamd's controller does not let us have it learn")

	m := learnable("bob@acmecorp.com", "second")
	held := s.hold(m, "bob@acmecorp.com", "alice@acmecorp.com")
	if err := rspamd.Kill(); err != nil {
		t.Fatal(err)
	}
	out, status := s.quarantine("release", held[0].ID, held[1].ID)
	if status != exitYes || strings.Count(out, "; rspamd has not learned of it: rspamd's controller does not answer: ") != 2 {
		t.Errorf("without rspamd the release ended with %d and\n%s", status, out)
	}
}
