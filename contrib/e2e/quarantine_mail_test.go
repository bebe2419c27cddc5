package e2e

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/emersion/go-message/mail"

	"coexistd/contrib/lab"
	"coexistd/milter/quarantine"
	"coexistd/policy"
	"coexistd/policy/seal"
	"coexistd/policy/verdict"
)

const (
	aliceThere = "alice@acmecorp-com.onmicrosoft.com"
	// neverReport has the daemon send no reports by itself.
	neverReport = "[quarantine.report]\nat = \"never\""
)

// spamFor makes a message that rspamd refuses.
func spamFor(to, subject string) []byte {
	return append(lab.Plain("eve@example.net", to, subject), lab.GTUBE+"\r\n"...)
}

// programFor makes a message with an attachment of a kind that is held, and about
// that many bytes.
func programFor(to, subject string, size int) []byte {
	head, _, _ := bytes.Cut(lab.Plain("eve@example.net", to, subject), []byte("\r\n\r\n"))
	return fmt.Appendf(head, "\r\nMIME-Version: 1.0\r\nContent-Type: application/octet-stream; name=\"setup.exe\"\r\n\r\n%s",
		strings.Repeat(strings.Repeat("0123456789", 7)+"\r\n", 1+size/72))
}

// fromEve hands a message in from the Internet.
func (s *site) fromEve(message []byte, to ...string) lab.Result {
	s.t.Helper()
	return s.send(lab.FromInternet, lab.Mail{From: "eve@example.net", To: lab.To(to...), Data: message})
}

// hold hands a message in from the Internet, which must be held for each of its
// recipients, and returns the entries in their order.
func (s *site) hold(message []byte, to ...string) []quarantine.Entry {
	s.t.Helper()
	r := s.fromEve(message, to...)
	if r.Data.Code != 250 {
		s.t.Fatalf("the message that is to be held was answered with %s", r.Data)
	}
	if line := s.logged(r); line["verdict"] != "quarantine" || len(strings.Split(line["held"], ", ")) != len(to) {
		s.t.Fatalf("the message is not held for all of its recipients: %v", line)
	}
	entries := s.entriesOf(message)
	if len(entries) != len(to) {
		s.t.Fatalf("for %q there are the entries %+v", to, entries)
	}
	ordered := make([]quarantine.Entry, len(to))
	for i, address := range to {
		k := slices.IndexFunc(entries, func(e quarantine.Entry) bool { return e.Address == address })
		if k < 0 || entries[k].State != quarantine.Held {
			s.t.Fatalf("nothing is held for %s: %+v", address, entries)
		}
		ordered[i] = entries[k]
	}
	return ordered
}

// quarantine runs "coexistd quarantine ACTION" for the site.
func (s *site) quarantine(action string, args ...string) (out string, status int) {
	s.t.Helper()
	b, status := ask(s.t, slices.Concat([]string{"quarantine", action, "-c", s.Config()}, args)...)
	return string(b), status
}

// entries lists the quarantine as the command does.
func (s *site) entries(args ...string) []quarantine.Entry {
	s.t.Helper()
	out, status := s.quarantine("list", append([]string{"--json"}, args...)...)
	var facts []quarantine.Entry
	if err := json.Unmarshal([]byte(out), &facts); err != nil || status != exitYes {
		s.t.Fatalf("the list ended with %d: %v\n%s", status, err, out)
	}
	return facts
}

// entriesOf lists what the quarantine knows of a message, settled entries too.
func (s *site) entriesOf(message []byte) []quarantine.Entry {
	s.t.Helper()
	return slices.DeleteFunc(s.entries("--all"), func(e quarantine.Entry) bool {
		return strings.TrimSpace(e.MessageID) != messageID(message)
	})
}

// release releases an entry, and compares what became of it.
func (s *site) release(id, result, detail string, args ...string) {
	s.t.Helper()
	out, status := s.quarantine("release", append([]string{"--json", id}, args...)...)
	var outcomes []outcome
	err := json.Unmarshal([]byte(out), &outcomes)
	if err != nil || len(outcomes) != 1 || outcomes[0].Result != result || !strings.Contains(outcomes[0].Detail, detail) || (status == exitYes) != (result == "released") {
		s.t.Errorf("releasing %s ended with %d and %s (%v); it must be %s: %s", id, status, out, err, result, detail)
	}
}

// state returns what has become of an entry.
func (s *site) state(id string) quarantine.State {
	s.t.Helper()
	for _, e := range s.entries("--all") {
		if e.ID == id {
			return e.State
		}
	}
	return "unknown"
}

// store opens the quarantine of the site as it is configured now.
func (s *site) store() *quarantine.Store {
	s.t.Helper()
	return quarantine.OpenExisting(heldBy(s.t, s.Config()))
}

// above lists the names of the header fields that stand above a message where it
// arrived, those of the servers aside.
func above(t *testing.T, arrived, message []byte) (names []string) {
	t.Helper()
	// Postfix ends the last line of each message; those of the tests end.
	head, found := bytes.CutSuffix(arrived, message)
	if !found {
		t.Fatalf("the message arrived changed:\n%q\nwas\n%q", arrived, message)
	}
	for line := range bytes.Lines(head) {
		name, _, _ := bytes.Cut(line, []byte(":"))
		if c := line[0]; c != ' ' && c != '\t' && !slices.Contains([]string{"Received", "Return-Path", "Delivered-To", "X-Original-To"}, string(name)) {
			names = append(names, string(name))
		}
	}
	return names
}

func TestSpamIsHeldAndArrivesOnceWhenItIsReleased(t *testing.T) {
	onEachMTA(t, func(t *testing.T, mta lab.MTA) {
		rspamd := startRspamd(t, lab.RspamdConfig{})
		s := startSite(t, lab.SiteConfig{MTA: mta, TOML: checkedTOML("", rspamd.URL(), neverReport)})
		m := spamFor("bob@acmecorp.com", "past due")
		held := s.hold(m, "bob@acmecorp.com", "alice@acmecorp.com")
		s.mustArrive(m)
		bob, alice := held[0], held[1]
		for _, e := range held {
			if e.Point != verdict.S0 || !slices.Equal(e.Checks, []string{"spam"}) || e.Sender != "eve@example.net" || e.Client != lab.FromInternet || !e.Report {
				t.Errorf("the entry is %+v", e)
			}
		}
		list, _ := s.quarantine("list", "--to", "alice@acmecorp.com")
		for _, want := range []string{alice.ID, "S0", "held", "spam", "eve@example.net", "alice@acmecorp.com", "past due"} {
			if !strings.Contains(list, want) {
				t.Errorf("the list lacks %q:\n%s", want, list)
			}
		}
		if strings.Contains(list, bob.ID) {
			t.Errorf("the list for alice has bob's entry:\n%s", list)
		}
		shown, status := s.quarantine("show", alice.ID)
		for _, want := range []string{alice.ID, "held by    spam", "lives      office365", "as " + aliceThere, "  Subject: past due\n"} {
			if status != exitYes || !strings.Contains(shown, want) {
				t.Errorf("show ended with %d and lacks %q:\n%s", status, want, shown)
			}
		}
		if raw, _ := s.quarantine("show", bob.ID, "--raw"); raw != string(m) {
			t.Errorf("what is held is\n%q\nsent was\n%q", raw, m)
		}

		// Of releases side by side, one sends.
		var both sync.WaitGroup
		results := make([]string, 3)
		for i := range results {
			both.Go(func() { results[i], _ = s.quarantine("release", alice.ID) })
		}
		both.Wait()
		if all := strings.Join(results, ""); strings.Count(all, alice.ID+" released, for alice@acmecorp.com\n") != 1 ||
			strings.Count(all, "is not held any more: it is released since") != len(results)-1 {
			t.Errorf("releases side by side said %q", results)
		}
		s.mustArrive(m, "office365 "+aliceThere)
		s.release(bob.ID, "released", "")
		s.mustArrive(m, "office365 "+aliceThere, "here bob@acmecorp.com")
		for _, e := range held {
			s.release(e.ID, "failed", "is not held any more: it is released since")
			s.release(e.ID, "failed", "is not held any more: it is released since", "--again")
		}
		s.mustArrive(m, "office365 "+aliceThere, "here bob@acmecorp.com")

		copies, _ := s.copies(m)
		if got := above(t, copies["office365"][0], m); !slices.Equal(got, []string{seal.TraceHeader}) {
			t.Errorf("to alice coexistd has added the headers %q", got)
		}
		if got := above(t, copies["here"][0], m); len(got) > 0 {
			t.Errorf("to bob coexistd has added the headers %q", got)
		}
		for _, sink := range []*lab.Sink{s.Office, s.Here} {
			if got := sink.All(); got[0].From != "eve@example.net" {
				t.Errorf("the released message comes from %q", got[0].From)
			}
		}
		line := s.waitDaemonLog("msg=message .*released from quarantine as " + alice.ID)
		if !strings.Contains(line, "point=S0") || !strings.Contains(line, "S0=>S4=>O1=>LD") {
			t.Errorf("the release of alice's message is logged as %s", line)
		}
		if left := s.entries(); len(left) > 0 {
			t.Errorf("there is still held %+v", left)
		}
	})
}

func TestAReleasedMessageGoesWhereItsRecipientLivesNow(t *testing.T) {
	onEachMTA(t, func(t *testing.T, mta lab.MTA) {
		s := startSite(t, lab.SiteConfig{MTA: mta, TOML: checkedTOML("", "", neverReport)})
		m := programFor("bob@acmecorp.com", "moved", 0)
		id := s.hold(m, "Bob+x@acmecorp.com")[0].ID
		s.writeDirectory("bob@acmecorp.com,here,bob", "bob@acmecorp.com,office365,bob")
		s.waitDaemonLog("directory loaded")
		s.release(id, "released", "")
		s.mustArrive(m, "office365 Bob+x@acmecorp-com.onmicrosoft.com")
	})
}

func TestAReleasePastSpamIsHeldByVirusOnce(t *testing.T) {
	onEachMTA(t, func(t *testing.T, mta lab.MTA) {
		rspamd, clamd := startRspamd(t, lab.RspamdConfig{}), startClamd(t, lab.ClamdConfig{})
		s := startSite(t, lab.SiteConfig{MTA: mta, TOML: checkedTOML("", rspamd.URL(), neverReport)})
		m := append(spamFor("bob@acmecorp.com", "both"), lab.EICAR+"\r\n"...)
		id := s.hold(m, "bob@acmecorp.com")[0].ID

		s.configure(checkedTOML(clamd.Addr(), rspamd.URL(), neverReport))
		s.release(id, "failed", "554 5.7.1 Virus found: "+lab.EICARName)
		if got := s.state(id); got != quarantine.Held {
			t.Errorf("refused, the entry is %s", got)
		}

		s.configure(checkedTOML(clamd.Addr(), rspamd.URL(), neverReport, "[check.virus]\non_hit = \"quarantine\""))
		s.release(id, "held again", " by virus")
		open := s.entries()
		if len(open) != 1 || open[0].ID == id || !slices.Equal(open[0].Checks, []string{"virus"}) || open[0].Address != "bob@acmecorp.com" {
			t.Fatalf("held again is %+v", open)
		}
		if got := s.state(id); got != quarantine.Released {
			t.Errorf("held again by another check, the first entry is %s", got)
		}
		s.mustArrive(m)

		// Viruses are released by their ID only, and then past both checks.
		if out, status := s.quarantine("release", "--to", "bob@acmecorp.com"); status != exitNo || !strings.Contains(out, open[0].ID+" left out: it may have a virus") {
			t.Errorf("the release of bob's messages ended with %d and %s", status, out)
		}
		if out, status := s.quarantine("release", "--query", "found:eicar"); status != exitNo || !strings.Contains(out, "left out") {
			t.Errorf("the release by what was found ended with %d and %s", status, out)
		}
		s.mustArrive(m)
		if shown, _ := s.quarantine("show", open[0].ID); !strings.Contains(shown, "held by    virus: "+lab.EICARName+"\nlet past   spam\n") {
			t.Errorf("show says\n%s", shown)
		}
		s.release(open[0].ID, "released", "")
		s.mustArrive(m, "here bob@acmecorp.com")
		if left := s.entries(); len(left) > 0 {
			t.Errorf("there is still held %+v", left)
		}
	})
}

func TestAMessageHeldForOneReachesTheOther(t *testing.T) {
	onEachMTA(t, func(t *testing.T, mta lab.MTA) {
		rspamd := startRspamd(t, lab.RspamdConfig{})
		s := startSite(t, lab.SiteConfig{MTA: mta, TOML: checkedTOML("", rspamd.URL(), neverReport,
			"[[allow]]\nname = \"carol reads all\"\nrecipients = [\"carol@acmecorp.com\"]",
			"[checkpoint.S4]\nchecks = [\"malware\"]\nreport = true")})
		mustHold := func(m []byte, r lab.Result, address, check string) {
			t.Helper()
			if r.Data.Code != 250 {
				t.Fatalf("the message was answered with %s", r.Data)
			}
			held := s.entriesOf(m)
			if len(held) != 1 || held[0].Address != address || !slices.Equal(held[0].Checks, []string{check}) {
				t.Fatalf("held is %+v; it must be held for %s by %s", held, address, check)
			}
			if line := s.logged(r); line["held"] != held[0].ID {
				t.Errorf("the log names %q, the quarantine %s", line["held"], held[0].ID)
			}
		}
		spam := spamFor("bob@acmecorp.com", "allowed for one")
		mustHold(spam, s.fromEve(spam, "alice@acmecorp.com", "carol@acmecorp.com"), "alice@acmecorp.com", "spam")
		s.mustArrive(spam, "here carol@acmecorp.com", "office365 carol@acmecorp-com.onmicrosoft.com")

		// From our user, only what leaves for the other platform is checked.
		program := programFor("bob@acmecorp.com", "checked for one", 0)
		r := s.send(lab.FromUser, lab.Mail{From: "bob@acmecorp.com", To: lab.To("alice@acmecorp.com", "bob@acmecorp.com", "eve@example.net"), Data: program})
		mustHold(program, r, "alice@acmecorp.com", "malware")
		s.mustArrive(program, "here bob@acmecorp.com", "Internet eve@example.net")
		s.release(s.entriesOf(program)[0].ID, "released", "")
		s.mustArrive(program, "here bob@acmecorp.com", "Internet eve@example.net", "office365 "+aliceThere)
	})
}

// reportTo waits for a report that arrives at a sink for an address after those
// that are known, and returns its text. There must be no trace of how it was let
// past the checks.
func (s *site) reportTo(sink *lab.Sink, address string, known int) string {
	s.t.Helper()
	count := 0
	d, err := sink.Wait(deadline(s.t), func(d lab.Delivery) bool {
		if slices.Equal(d.To(), []string{address}) && bytes.Contains(d.Data, []byte("Auto-Submitted: auto-generated\r\n")) {
			count++
		}
		return count > known
	})
	if err != nil {
		s.t.Fatal(err)
	}
	r, err := mail.CreateReader(bytes.NewReader(d.Data))
	if err != nil {
		s.t.Fatal(err)
	}
	if d.From != "" || r.Header.Has(seal.PassHeader) || r.Header.Has(policy.TagHeader) || r.Header.Get("X-Auto-Response-Suppress") != "All" {
		s.t.Errorf("the report comes from <%s> with\n%s", d.From, d.Data)
	}
	part, err := r.NextPart()
	if err != nil {
		s.t.Fatal(err)
	}
	text, err := io.ReadAll(part.Body)
	if err != nil {
		s.t.Fatal(err)
	}
	return string(text)
}

func TestReportsReachRecipientsOnEitherPlatformPastTheSpamCheck(t *testing.T) {
	onEachMTA(t, func(t *testing.T, mta lab.MTA) {
		rspamd := startRspamd(t, lab.RspamdConfig{})
		quoting := checkedTOML("", rspamd.URL(), "[checkpoint.S2]\nchecks = [\"spam\"]\n")
		s := startSite(t, lab.SiteConfig{MTA: mta, TOML: quoting + neverReport})
		// What the report quotes makes it spam itself.
		quoted := "cheap " + lab.SpamWord
		m := spamFor("bob@acmecorp.com", lab.GTUBE)
		first := s.hold(m, "bob@acmecorp.com", "alice@acmecorp.com")
		if out, status := s.quarantine("report", "--dry-run"); status != exitYes || !strings.Contains(out, first[0].ID) {
			t.Errorf("the dry run ended with %d and %s", status, out)
		}
		out, status := s.quarantine("report")
		for _, want := range []string{"sent to bob@acmecorp.com: Quarantine: 1 message held for you\n", "sent to alice@acmecorp.com: ", "sent to postmaster@acmecorp.com: "} {
			if status != exitYes || !strings.Contains(out, want) {
				t.Errorf("report ended with %d and %s", status, out)
			}
		}
		for i, text := range []string{s.reportTo(s.Here, "bob@acmecorp.com", 0), s.reportTo(s.Office, aliceThere, 0)} {
			if !strings.Contains(text, first[i].ID) || strings.Contains(text, first[1-i].ID) || !strings.Contains(text, "eve[@]example[.]net") {
				t.Errorf("the report does not tell of %s alone:\n%s", first[i].ID, text)
			}
		}

		// The daemon's own: since the last report, an hour ago, this minute has come.
		second := s.hold(spamFor("bob@acmecorp.com", quoted), "bob@acmecorp.com", "alice@acmecorp.com")
		now := time.Now().UTC()
		if err := s.store().SetLastReport(now.Add(-time.Hour)); err != nil {
			t.Fatal(err)
		}
		due := quoting + fmt.Sprintf("[quarantine.report]\nat = [%q, %q]\nzone = \"UTC\"\n", now.Add(12*time.Hour).Format("15:04"), now.Format("15:04"))
		s.configure(due)
		for i, text := range []string{s.reportTo(s.Here, "bob@acmecorp.com", 1), s.reportTo(s.Office, aliceThere, 1)} {
			if !strings.Contains(text, second[i].ID) || strings.Contains(text, first[i].ID) {
				t.Errorf("the second report does not tell of %s alone:\n%s", second[i].ID, text)
			}
		}
		s.waitDaemonLog(`msg="quarantine report sent" to=postmaster@acmecorp.com .*summary=true`)
		if _, status := s.quarantine("report"); status != exitYes {
			t.Errorf("a report of nothing ended with %d", status)
		}
		if err := s.WaitEmpty(deadline(t)); err != nil {
			t.Error(err)
		}
		reports := 0
		for _, sink := range s.sinks() {
			for _, d := range sink.All() {
				if bytes.Contains(d.Data, []byte("messages held for you")) || bytes.Contains(d.Data, []byte("message held for you")) {
					reports++
				}
			}
		}
		if reports != 4 || len(s.entries()) != 4 {
			t.Errorf("%d reports have arrived, and %d entries are held; both must be 4", reports, len(s.entries()))
		}
	})
}
