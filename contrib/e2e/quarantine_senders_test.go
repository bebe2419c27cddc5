package e2e

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"coexistd/contrib/lab"
	"coexistd/milter/quarantine"
)

const forBob, forAlice = "bob@acmecorp.com", "alice@acmecorp.com"

// awaitRead has do change the list of senders, and waits until the daemon goes by what it is
// then.
func (s *site) awaitRead(do func()) {
	s.t.Helper()
	lines := s.Daemon.LogLines()
	do()
	if _, err := s.Daemon.WaitLogAfter(deadline(s.t), lines, regexp.MustCompile("the senders that recipients have allowed and blocked were read")); err != nil {
		s.t.Fatal(err)
	}
}

// says250 hands a message in, which must be taken, held or not.
func (s *site) says250(client, from string, message []byte, to ...string) lab.Result {
	s.t.Helper()
	r := s.send(client, lab.Mail{From: from, To: lab.To(to...), Data: message})
	if r.Data.Code != 250 {
		s.t.Fatalf("a message from %s for %q was answered with %s", from, to, r.Data)
	}
	return r
}

// heldFor lists for whom a message is held, and by what: "bob@acmecorp.com block".
func (s *site) heldFor(message []byte) string {
	s.t.Helper()
	var list []string
	for _, e := range s.entriesOf(message) {
		list = append(list, e.Address+" "+strings.Join(e.Checks, "+"))
	}
	return strings.Join(list, ", ")
}

// want compares one text.
func (s *site) want(about, got, want string) {
	s.t.Helper()
	if got != want {
		s.t.Errorf("%s: it is %q, not %q", about, got, want)
	}
}

func TestAnAllowedSenderIsSparedTheCheckSpamWhereTheyAreProven(t *testing.T) {
	onEachMTA(t, func(t *testing.T, mta lab.MTA) {
		clamd, rspamd := startClamd(t, lab.ClamdConfig{}), startRspamd(t, lab.RspamdConfig{})
		s := startSite(t, lab.SiteConfig{MTA: mta, TOML: checkedTOML(clamd.Addr(), rspamd.URL(), neverReport)})
		s.DNS.Set("partner.example", "TXT", usualSPF)
		s.DNS.Set("other.example", "TXT", usualSPF)
		from := func(client, domain, to, subject string, more ...string) []byte {
			m := append(lab.Plain("eve@"+domain, to, subject), lab.GTUBE+"\r\n"+strings.Join(more, "")...)
			s.says250(client, "eve@"+domain, m, to)
			return m
		}
		first, unproven := from(spfPass, "partner.example", forBob, "first"), from(spfFail, "partner.example", forBob, "unproven")
		s.want("the first", s.heldFor(first), forBob+" spam")
		id, other := s.entriesOf(first)[0].ID, s.entriesOf(unproven)[0].ID
		s.says(exitNo, "quarantine allow "+other, "neither SPF nor DKIM proves", "[[allow]]")
		s.says(exitYes, "quarantine show "+id, "proven     eve@partner.example")
		s.awaitRead(func() {
			s.says(exitYes, "quarantine allow "+id+" --for 30d", "@partner.example is allowed for bob@acmecorp.com until ", "spared the check spam")
		})
		proven := from(spfPass, "partner.example", forBob, "proven")
		s.mustArrive(proven, "here "+forBob)
		s.want("what is proven", s.heldFor(proven), "")
		s.waitDaemonLog("spam is passed by: bob@acmecorp.com has allowed @partner.example, which SPF or DKIM proves")
		for about, m := range map[string][]byte{
			forBob + " spam, in their name":          from(spfFail, "partner.example", forBob, "in their name"),
			forBob + " spam, from another domain":    from(spfPass, "other.example", forBob, "another domain"),
			forAlice + " spam, to another recipient": from(spfPass, "partner.example", forAlice, "to another"),
		} {
			want, about, _ := strings.Cut(about, ", ")
			s.want(about, s.heldFor(m), want)
		}
		// A stranger's own envelope proves nothing of whom they name.
		forged := append(lab.Plain("eve@partner.example", forBob, "forged"), lab.GTUBE+"\r\n"...)
		s.says250(spfPass, "x@other.example", forged, forBob)
		s.want("another's name", s.heldFor(forged), forBob+" spam")
		virus := append(lab.Plain("eve@partner.example", forBob, "virus"), lab.GTUBE+"\r\n"+lab.EICAR+"\r\n"...)
		if r := s.send(spfPass, lab.Mail{From: "eve@partner.example", To: lab.To(forBob), Data: virus}); r.Data.Code != 554 {
			t.Errorf("a virus of an allowed sender is answered with %s", r.Data)
		}
		s.says(exitYes, "explain --from eve@partner.example --to bob@acmecorp.com --client "+spfPass+" --find spam=hit "+s.file("mail.eml", proven), "has allowed @partner.example", "verdict    accept")
		s.awaitRead(func() {
			s.says(exitYes, "senders remove bob@acmecorp.com @partner.example", "neither allows nor blocks @partner.example any more")
		})
		s.want("removed", s.heldFor(from(spfPass, "partner.example", forBob, "no longer")), forBob+" spam")
		s.says(exitNo, "senders remove bob@acmecorp.com @partner.example")
		if out := s.says(exitYes, "quarantine block "+id, "eve@partner.example is blocked"); strings.Contains(out, "nothing proves") {
			t.Errorf("of a proven sender a block says\n%s", out)
		}
		if told := s.audit("--what", "allow"); len(told) != 1 || !strings.Contains(told[0], "|command|allow|@partner.example|bob@acmecorp.com|done") {
			t.Errorf("of what was allowed the audit tells %q", told)
		}
	})
}

// file writes a file beside the configuration, and returns its path.
func (s *site) file(name string, content []byte) string {
	s.t.Helper()
	path := filepath.Join(s.Dir, name)
	if err := os.WriteFile(path, content, 0o644); err != nil {
		s.t.Fatal(err)
	}
	return path
}

func TestABlockedSenderIsHeldForTheOneWhoHasBlockedThem(t *testing.T) {
	onEachMTA(t, func(t *testing.T, mta lab.MTA) {
		s := startSite(t, lab.SiteConfig{MTA: mta, TOML: checkedTOML("", "", "[quarantine.report]\nat = [\"00:00\", \"12:00\"]\ncontact = \"bob@acmecorp.com\"")})
		id := s.hold(programFor(forBob, "the program", 0), forBob)[0].ID
		s.says(exitNo, "quarantine allow "+id, "the check malware holds it")
		s.awaitRead(func() {
			s.says(exitYes, "quarantine block "+id, "eve@example.net is blocked for bob@acmecorp.com until ", "their mail is held", "nothing proves that it was they who wrote")
		})
		plain := func(from, subject string) []byte { return lab.Plain(from, forBob, subject) }
		both := plain("eve@example.net", "for both")
		r := s.says250(lab.FromInternet, "eve@example.net", both, forBob, "carol@acmecorp.com")
		s.mustArrive(both, "here carol@acmecorp.com", "office365 carol@acmecorp-com.onmicrosoft.com")
		s.want("for both", s.heldFor(both), forBob+" block")
		if line := s.logged(r); !strings.Contains(line["findings"], "block hit eve@example.net") {
			t.Errorf("the log says %v", line)
		}
		blocked := s.entriesOf(both)[0]
		if blocked.Report {
			t.Error("bob is told of whom he has blocked")
		}
		// It is the author whom people see, and the envelope.
		byList := plain("Eve <eve@example.net>", "by a list")
		s.says250(lab.FromInternet, "bounces@list.example", byList, forBob)
		s.want("the author", s.heldFor(byList), forBob+" block")
		others := plain("adam@example.net", "from another")
		s.says250(lab.FromInternet, "adam@example.net", others, forBob)
		s.mustArrive(others, "here "+forBob)
		bounce := plain("mailer-daemon@example.net", "a bounce")
		s.says250(lab.FromInternet, "", bounce, forBob)
		s.mustArrive(bounce, "here "+forBob)
		ours := plain("eve@example.net", "from our own networks")
		s.says250(lab.FromUser, "eve@example.net", ours, forBob)
		s.mustArrive(ours, "here "+forBob)

		s.says(exitNo, "explain --from eve@example.net --to bob@acmecorp.com --client "+lab.FromInternet, "block: bob@acmecorp.com has blocked eve@example.net", "quarantine")
		s.says(exitYes, "explain --from eve@example.net --to carol@acmecorp.com --client "+lab.FromInternet)
		s.says(exitWrong, "explain --from eve@example.net --to bob@acmecorp.com --client "+lab.FromInternet+" --find block=hit", "what block finds is known")
		for ctx := deadline(t); len(s.find("--check", "block")) < 2; { // records are written some at once
			if ctx.Err() != nil {
				t.Fatal("the records tell of no check block")
			}
		}
		s.says(exitYes, "quarantine list check:block", blocked.ID)
		s.release(blocked.ID, "released", "")
		s.mustArrive(both, "here "+forBob, "here carol@acmecorp.com", "office365 carol@acmecorp-com.onmicrosoft.com")
		s.says(exitNo, "quarantine allow "+blocked.ID, "coexistd senders remove")

		// One that is said again takes the place of what was said, and ends in its time.
		s.says(exitWrong, "quarantine block "+id+" --for 3651d", "at most 3650d")
		s.awaitRead(func() { s.says(exitYes, "quarantine block "+id+" --domain --for 1s", "@example.net is blocked") })
		s.awaitRead(func() { s.says(exitYes, "senders remove bob@acmecorp.com eve@example.net") })
		ctx, later := deadline(t), both
		for n := 0; s.heldFor(later) != ""; n++ {
			if ctx.Err() != nil {
				t.Fatal("a block of a second does not end")
			}
			later = plain("eve@example.net", fmt.Sprintf("later %d", n))
			s.says250(lab.FromInternet, "eve@example.net", later, forBob)
		}
		s.mustArrive(later, "here "+forBob)
		if out := s.says(exitYes, "senders list", "nobody is allowed or blocked"); out != "" {
			t.Errorf("the list is\n%s", out)
		}
	})
}

// listed is what senders list --json prints of one.
type listed struct{ Recipient, Sender, Kind, Who, Entry string }

func TestTheLastListOfSendersHoldsWhileTheStoreIsGone(t *testing.T) {
	t.Parallel()
	s := startSite(t, lab.SiteConfig{TOML: checkedTOML("", "", neverReport)})
	id := s.hold(programFor(forBob, "the program", 0), forBob)[0].ID
	s.awaitRead(func() { s.says(exitYes, "quarantine block "+id) })
	s.says(exitYes, "status", "0 allowed, 1 blocked")
	store := filepath.Join(load(t, s.Config()).Quarantine.Dir, quarantine.FileName)
	away := func() {
		t.Helper()
		for _, suffix := range []string{"", "-wal", "-shm"} {
			if err := os.Rename(store+suffix, store+".away"+suffix); err != nil && !os.IsNotExist(err) {
				t.Fatal(err)
			}
		}
	}
	mustBlock := func(about string) {
		t.Helper()
		m := lab.Plain("eve@example.net", forBob, about)
		s.says250(lab.FromInternet, "eve@example.net", m, forBob)
		s.want(about, s.heldFor(m), forBob+" block")
	}
	// Another file takes its place: it gets the list.
	s.awaitRead(away)
	s.waitDaemonLog("those from before were written into it.*senders=1")
	mustBlock("in a new file")
	var all []listed
	if err := json.Unmarshal([]byte(s.says(exitYes, "senders list --json")), &all); err != nil || len(all) != 1 || all[0].Recipient != forBob || all[0].Sender != "eve@example.net" || all[0].Kind != "blocked" || all[0].Entry != id {
		t.Errorf("in the new file are %+v, %v", all, err)
	}
	// None can: what is blocked cannot be held, and is put off.
	away()
	if err := os.MkdirAll(store, 0o700); err != nil {
		t.Fatal(err)
	}
	s.waitDaemonLog("the senders that recipients have allowed and blocked cannot be read: those from before hold.*blocked=1")
	if r := s.send(lab.FromInternet, lab.Mail{From: "eve@example.net", To: lab.To(forBob), Data: lab.Plain("eve@example.net", forBob, "without a store")}); r.Data.Code != 451 {
		t.Errorf("what is blocked while nothing can be held is answered with %s", r.Data)
	}
	m := lab.Plain("adam@example.net", forBob, "from another")
	s.says250(lab.FromInternet, "adam@example.net", m, forBob)
	s.mustArrive(m, "here "+forBob)
	s.says(exitNo, "status", "1 blocked by recipients, as they were before: CANNOT BE READ")
	if told := s.aboutDaemon(); !strings.Contains(told, "which senders recipients have allowed and blocked, and goes by what it read before (0 and 1)") {
		t.Errorf("the doctor says\n%s", told)
	}
	s.awaitRead(func() {
		if err := os.Remove(store); err != nil {
			t.Fatal(err)
		}
	})
	mustBlock("with a store again")
	s.says(exitYes, "status", "0 allowed, 1 blocked by recipients")
}
