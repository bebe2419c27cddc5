package e2e

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"coexistd/contrib/lab"
	"coexistd/milter/quarantine"
	"coexistd/policy/verdict"
)

// fillUp takes all space of a file system that is mounted at a folder, and
// returns what gives it back.
func fillUp(t *testing.T, dir string) (free func()) {
	t.Helper()
	path := filepath.Join(dir, "filler")
	if err := fill(path); !errors.Is(err, syscall.ENOSPC) {
		t.Fatalf("the disk is not full: %v", err)
	}
	return func() {
		if err := os.Remove(path); err != nil {
			t.Fatal(err)
		}
	}
}

// mustPutOff checks the reply to a message that is to be sent again.
func mustPutOff(t *testing.T, r lab.Result, code string) {
	t.Helper()
	if got := fmt.Sprintf("%d %s", r.Data.Code, r.Data.Enhanced); got != code {
		t.Errorf("the message was answered with %s; it must be put off with %s", r.Data, code)
	}
}

func TestAFullDiskPutsOffWhatMustBeHeldAndNothingElse(t *testing.T) {
	onEachMTA(t, func(t *testing.T, mta lab.MTA) {
		disk := mountSmall(t, 16<<20)
		dir := filepath.Join(disk, "quarantine")
		s := startSite(t, lab.SiteConfig{MTA: mta, TOML: checkedTOML("", "", fmt.Sprintf("dir = %q", dir), neverReport)})
		before := s.hold(programFor("bob@acmecorp.com", "before", 20_000), "bob@acmecorp.com")[0]

		free := fillUp(t, disk)
		m := programFor("alice@acmecorp.com", "on a full disk", 20_000)
		mustPutOff(t, s.fromEve(m, "alice@acmecorp.com", "bob@acmecorp.com"), "451 4.3.0")
		line := s.waitDaemonLog(`a message cannot be held in quarantine; it is put off`)
		if !strings.Contains(line, "the disk is full") || !strings.Contains(line, dir) {
			t.Errorf("the log says only %s", line)
		}
		if line := s.waitDaemonLog(`msg=message .*verdict=tempfail`); !strings.Contains(line, "451 4.3.0") || !strings.Contains(line, "the disk is full") {
			t.Errorf("the message's line is %s", line)
		}
		status, out, _ := runDoctor(t, t.TempDir(), nil, "-c", s.Config())
		found, remedy, _ := strings.Cut(out[max(0, strings.Index(out, "FAIL  quarantine")):], "\n")
		if status != exitNo || !strings.Contains(found, "nothing can be written to "+dir) || !strings.Contains(found, "no space left") || !strings.HasPrefix(remedy, "  do: ") {
			t.Errorf("doctor ended with %d and\n%s", status, out)
		}
		s.mustFlow("alice@acmecorp.com", "office365 "+aliceThere)
		if len(s.entriesOf(m)) > 0 {
			t.Errorf("the quarantine has %+v", s.entriesOf(m))
		}
		// What is held already can be read, and released from a full disk.
		s.release(before.ID, "released", "")

		free()
		s.hold(m, "alice@acmecorp.com", "bob@acmecorp.com")
		s.mustArrive(m)
	})
}

func TestAFullSpoolPutsOffLongMessagesAndNothingElse(t *testing.T) {
	onEachMTA(t, func(t *testing.T, mta lab.MTA) {
		disk := mountSmall(t, 1<<20)
		toml := strings.Replace(checkedTOML("", "", `dir = "{dir}/quarantine"`, neverReport), "{dir}/state", disk, 1)
		s := startSite(t, lab.SiteConfig{MTA: mta, TOML: toml})
		spool := filepath.Join(disk, "spool")
		free := fillUp(t, disk)
		long := lab.LongLines("eve@example.net", "bob@acmecorp.com", "long", 200_000)
		program := programFor("bob@acmecorp.com", "long", 600_000)
		for _, m := range [][]byte{long, program} {
			mustPutOff(t, s.fromEve(m, "bob@acmecorp.com"), "452 4.3.1")
		}
		if line := s.waitDaemonLog("a message cannot be checked; it is put off"); !strings.Contains(line, "no space left") {
			t.Errorf("the log says only %s", line)
		}
		s.mustFlow("bob@acmecorp.com", "here bob@acmecorp.com")
		short := programFor("bob@acmecorp.com", "short", 1000)
		s.hold(short, "bob@acmecorp.com")

		free()
		s.hold(program, "bob@acmecorp.com")
		if r := s.fromEve(long, "bob@acmecorp.com"); !r.Accepted() {
			t.Errorf("with room again, the long message gets %s", r.Data)
		}
		if left, err := os.ReadDir(spool); err != nil || len(left) > 0 {
			t.Errorf("the spool holds %v, %v", left, err)
		}
	})
}

func TestTheOldestGoWhenTheQuarantineIsFull(t *testing.T) {
	onEachMTA(t, func(t *testing.T, mta lab.MTA) {
		s := startSite(t, lab.SiteConfig{MTA: mta, TOML: checkedTOML("", "", "max_size = \"1M\"", neverReport)})
		var ids []string
		for i := range 4 {
			ids = append(ids, s.hold(programFor("bob@acmecorp.com", fmt.Sprintf("number %d", i), 400_000), "bob@acmecorp.com")[0].ID)
		}
		var states []quarantine.State
		for _, id := range ids {
			states = append(states, s.state(id))
		}
		if want := []quarantine.State{quarantine.Expired, quarantine.Expired, quarantine.Held, quarantine.Held}; !slices.Equal(states, want) {
			t.Errorf("the entries are %q, want %q", states, want)
		}
		s.waitDaemonLog("the quarantine is full: its oldest entries have expired")
		list, _ := s.quarantine("list")
		all, _ := s.quarantine("list", "--all")
		for i, id := range ids {
			if strings.Contains(list, id) != (i >= 2) || !strings.Contains(all, id) {
				t.Errorf("the lists without and with --all are\n%s\n%s", list, all)
			}
		}
		if strings.Count(all, "expired") != 2 {
			t.Errorf("the list with --all is\n%s", all)
		}
		s.release(ids[0], "failed", "is not held any more: it is expired since")
		if out, status := s.quarantine("show", ids[0], "--raw"); status != exitNo || out != "" {
			t.Errorf("an expired message is shown: %d, %d bytes", status, len(out))
		}
	})
}

func TestWhatIsHeldTooLongExpires(t *testing.T) {
	onEachMTA(t, func(t *testing.T, mta lab.MTA) {
		s := startSite(t, lab.SiteConfig{MTA: mta, TOML: checkedTOML("", "", "keep = \"2h\"", neverReport)})
		young := s.hold(programFor("bob@acmecorp.com", "young", 0), "bob@acmecorp.com")[0].ID
		old, err := s.store().Put(quarantine.Item{Time: time.Now().Add(-3 * time.Hour), Point: verdict.S0, Sender: "eve@example.net"},
			[]quarantine.Recipient{{Address: "bob@acmecorp.com", Owner: "bob@acmecorp.com", Checks: []string{"malware"}, Found: []string{"executable"}}},
			strings.NewReader("Subject: old\r\n\r\nold\r\n"))
		if err != nil {
			t.Fatal(err)
		}
		if got := s.state(old[0]); got != quarantine.Held {
			t.Fatalf("the old entry is %s", got)
		}
		// The daemon clears out when it starts, and then from time to time.
		if err := errors.Join(s.Daemon.Stop(), s.StartDaemon(deadline(t))); err != nil {
			t.Fatal(err)
		}
		s.waitDaemonLog("the quarantine was cleared out.*expired=1")
		if a, b := s.state(old[0]), s.state(young); a != quarantine.Expired || b != quarantine.Held {
			t.Errorf("the old entry is %s and the young one %s", a, b)
		}
	})
}

func TestCommandsWorkWhileTheDaemonIsDown(t *testing.T) {
	onEachMTA(t, func(t *testing.T, mta lab.MTA) {
		s := startSite(t, lab.SiteConfig{MTA: mta, TOML: checkedTOML("", "", neverReport)})
		m, other := programFor("bob@acmecorp.com", "kept", 0), programFor("bob@acmecorp.com", "deleted", 0)
		kept, deleted := s.hold(m, "bob@acmecorp.com")[0].ID, s.hold(other, "bob@acmecorp.com")[0].ID
		if err := s.Daemon.Stop(); err != nil {
			t.Fatal(err)
		}
		if list, status := s.quarantine("list"); status != exitYes || !strings.Contains(list, kept) || !strings.Contains(list, deleted) {
			t.Errorf("the list ended with %d and\n%s", status, list)
		}
		if raw, status := s.quarantine("show", kept, "--raw"); status != exitYes || raw != string(m) {
			t.Errorf("show ended with %d and %q", status, raw)
		}
		if out, status := s.quarantine("delete", deleted); status != exitYes || out != deleted+" deleted, for bob@acmecorp.com\n" {
			t.Errorf("delete ended with %d and %q", status, out)
		}
		s.release(deleted, "failed", "is not held any more: it is deleted since")
		// The MTA lets nothing past a milter that does not answer.
		s.release(kept, "failed", s.away)
		if got := s.state(kept); got != quarantine.Held {
			t.Errorf("what could not be released is %s", got)
		}
		if err := s.StartDaemon(deadline(t)); err != nil {
			t.Fatal(err)
		}
		s.release(kept, "released", "")
		s.mustArrive(m, "here bob@acmecorp.com")
		s.mustArrive(other)
	})
}

func TestAReloadMovesTheQuarantine(t *testing.T) {
	onEachMTA(t, func(t *testing.T, mta lab.MTA) {
		s := startSite(t, lab.SiteConfig{MTA: mta, TOML: checkedTOML("", "", neverReport)})
		mustList := func(ids ...string) {
			t.Helper()
			var got []string
			for _, e := range s.entries() {
				got = append(got, e.ID)
			}
			if !slices.Equal(got, ids) {
				t.Errorf("listed are %q, want %q", got, ids)
			}
		}
		first := programFor("bob@acmecorp.com", "first", 0)
		id := s.hold(first, "bob@acmecorp.com")[0].ID
		s.configure(checkedTOML("", "", "dir = \"{dir}/other\"", neverReport))
		mustList()
		other := s.hold(programFor("bob@acmecorp.com", "second", 0), "bob@acmecorp.com")[0].ID
		mustList(other)

		// A folder that cannot be made is refused, and what was stays in use.
		if err := s.WriteTOML(checkedTOML("", "", "dir = \"/proc/coexistd/quarantine\"", neverReport)); err != nil {
			t.Fatal(err)
		}
		s.mustRefuse("the folder for /proc/coexistd/quarantine/store.db cannot be made")
		m := programFor("bob@acmecorp.com", "third", 0)
		if r := s.fromEve(m, "bob@acmecorp.com"); r.Data.Code != 250 {
			t.Errorf("after a reload that was refused, the message gets %s", r.Data)
		}
		s.mustArrive(m)

		s.configure(checkedTOML("", "", neverReport))
		mustList(id)
		s.release(id, "released", "")
		s.mustArrive(first, "here bob@acmecorp.com")
		if info, err := os.Stat(filepath.Join(s.Dir, "other")); err != nil || info.Mode().Perm() != 0o700 {
			t.Errorf("the other folder is %v, %v", info, err)
		}
	})
}
