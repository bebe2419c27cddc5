package e2e

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"coexistd/contrib/lab"
)

// The address of the archive on the Internet, and where it arrives.
const (
	archiveOutside = "copies-7q@archive.example"
	toArchive      = "Internet " + archiveOutside
)

// archiveTOML has copies go to an archive.
func archiveTOML(address string, more ...string) string {
	return fmt.Sprintf("\n[archive]\naddress = %q\n%s\n", address, strings.Join(more, "\n"))
}

// mustHideArchive compares what the archive's copy says of its delivery, and that nobody else
// sees the archive's address.
func (s *site) mustHideArchive(message []byte, archive string) {
	s.t.Helper()
	for place, sink := range s.sinks() {
		for _, d := range sink.All() {
			if messageID(d.Data) != messageID(message) {
				continue
			}
			for _, r := range d.Recipients {
				if r.Address == archive && r.Notify != "NEVER" {
					s.t.Errorf("the archive's copy has NOTIFY=%s", r.Notify)
				}
			}
			if !slices.Contains(d.To(), archive) && bytes.Contains(d.Data, []byte("copies")) {
				s.t.Errorf("at %s %q see the archive:\n%s", place, d.To(), d.Data)
			}
		}
	}
}

func TestTheArchiveHasOneCopyOfEachMessageOnEveryFlow(t *testing.T) {
	onEachMTA(t, func(t *testing.T, mta lab.MTA) {
		s := startSite(t, lab.SiteConfig{MTA: mta, TOML: withHost(lab.SiteTOML) + archiveTOML(archiveOutside)})
		const eve, bob, alice = "eve@example.net", "bob@acmecorp.com", "alice@acmecorp.com"
		there := lab.Rcpt{Address: "Alice@AcmeCorp.com", Args: "NOTIFY=SUCCESS,FAILURE ORCPT=rfc822;Team@lists.example"}
		for _, c := range []struct {
			about, client, from string
			to                  []lab.Rcpt
			want                []string
		}{
			{"from outside", lab.FromInternet, eve, lab.To(bob), []string{"here " + bob, toArchive}},
			{"from outside to there", lab.FromInternet, eve, lab.To(alice), []string{"office365 " + aliceThere, toArchive}},
			{"to both", lab.FromInternet, eve, lab.To("carol@acmecorp.com"), []string{"here carol@acmecorp.com", "office365 carol@acmecorp-com.onmicrosoft.com", toArchive}},
			{"from here to there", lab.FromUser, bob, []lab.Rcpt{there}, []string{"office365 Alice@acmecorp-com.onmicrosoft.com", toArchive}},
			{"from here to outside", lab.FromUser, bob, lab.To(eve), []string{"Internet " + eve, toArchive}},
			{"from here to here", lab.FromUser, bob, lab.To("hugo@globex.example"), []string{"here hugo@globex.example", toArchive}},
			{"to many, some in Bcc", lab.FromUser, bob, lab.To(alice, "carol@acmecorp.com", "gail@globex.example", bob, eve),
				[]string{"office365 " + aliceThere, "here carol@acmecorp.com", "office365 carol@acmecorp-com.onmicrosoft.com", "google gail@gapps.globex.example", "here " + bob, "Internet " + eve, toArchive}},
			{"from there to here", lab.FromOffice365, alice, lab.To(bob), []string{"here " + bob, toArchive}},
			{"from there through us", lab.FromOffice365, alice, lab.To(eve), []string{"Internet " + eve, toArchive}},
			{"from there to another platform", lab.FromOffice365, alice, lab.To("gail@globex.example"), []string{"google gail@gapps.globex.example", toArchive}},
			{"of the null sender", lab.FromInternet, "", lab.To(alice), []string{"office365 " + aliceThere, toArchive}},
			{"to the archive", lab.FromUser, bob, lab.To(archiveOutside), []string{toArchive}},
			{"to the archive and another", lab.FromUser, bob, lab.To(alice, "Copies-7q@Archive.example"), []string{"office365 " + aliceThere, "Internet Copies-7q@Archive.example"}},
			{"from the archive", lab.FromInternet, archiveOutside, lab.To(alice), []string{"office365 " + aliceThere}},
		} {
			m := lab.Plain(cmp.Or(c.from, "mailer-daemon@example.net"), bob, c.about)
			if c.client == lab.FromOffice365 {
				m = fromTenant(lab.OfficeTenant, m)
			}
			r := s.send(c.client, lab.Mail{From: c.from, To: c.to, Data: m})
			if !r.Accepted() {
				t.Errorf("%s: it was not taken: %+v", c.about, r)
				continue
			}
			archived := ""
			if !strings.Contains(c.about, "the archive") {
				archived = archiveOutside
			}
			if got := s.logged(r)["archived"]; got != archived {
				t.Errorf("%s: the log says archived=%q; right is %q", c.about, got, archived)
			}
			if s.mustArrive(m, c.want...); archived != "" {
				s.mustHideArchive(m, archived)
			}
		}

		onHost := lab.Plain(bob, alice, "made on the host")
		s.sendmail(bob, onHost, alice, bob)
		s.mustArrive(onHost, "office365 "+aliceThere, "here "+bob, toArchive)
		refused := lab.Plain(eve, "nobody@acmecorp.com", "refused")
		if r := s.fromEve(refused, "nobody@acmecorp.com"); r.Accepted() {
			t.Errorf("mail to nobody was taken: %+v", r)
		}
		s.mustArrive(refused)
		for _, d := range s.Office.All() {
			for _, r := range d.Recipients {
				if r.Address == "Alice@acmecorp-com.onmicrosoft.com" && (r.Notify != "SUCCESS,FAILURE" || r.ORCPT != "rfc822;Team@lists.example") {
					t.Errorf("beside the archive, the recipient has NOTIFY=%s and ORCPT=%s", r.Notify, r.ORCPT)
				}
			}
		}

		s.says(exitYes, "explain --from "+eve+" --to "+bob+" --client "+lab.FromInternet, "archived   "+archiveOutside, "a copy goes to the archive")
		s.says(exitYes, "check", "archive    a copy to "+archiveOutside)
		s.says(exitYes, "status", "a copy to "+archiveOutside)
		s.do(s.Daemon.Stop()) // which writes all
		s.says(exitYes, "messages show "+s.find("--to", bob, "--from", eve)[0].ID, "archived   "+archiveOutside)
	})
}

func TestAnArchiveOfOursIsWhereItLivesAndItsTroubleIsNobodyElses(t *testing.T) {
	onEachMTA(t, func(t *testing.T, mta lab.MTA) {
		full := func(recipient string) *lab.Reply {
			if strings.HasPrefix(recipient, "copies") {
				return &lab.Reply{Code: 552, Enhanced: "5.2.2", Text: "The archive is full"}
			}
			return nil
		}
		users := lab.SiteDirectory + "copies-here@acmecorp.com,here,\ncopies-there@acmecorp.com,office365,\n"
		s := startSite(t, lab.SiteConfig{MTA: mta, Directory: users, RefuseHere: full, TOML: lab.SiteTOML + archiveTOML("copies-there@acmecorp.com")})
		const there = "copies-there@acmecorp-com.onmicrosoft.com"
		send := func(about, client, from string, to ...string) []byte {
			t.Helper()
			m := lab.Plain(from, "bob@acmecorp.com", about)
			if client == lab.FromOffice365 {
				m = fromTenant(lab.OfficeTenant, m)
			}
			s.deliver(client, lab.Mail{From: from, To: lab.To(to...), Data: m})
			return m
		}
		// At a platform, also what comes from there.
		m := send("from there", lab.FromOffice365, "alice@acmecorp.com", "bob@acmecorp.com")
		s.mustArrive(m, "here bob@acmecorp.com", "office365 "+there)
		s.mustHideArchive(m, there)
		// The archive sends its copy on: it comes back, and is not copied once more.
		for _, d := range s.Office.All() {
			if slices.Contains(d.To(), there) && messageID(d.Data) == messageID(m) {
				s.deliver(lab.FromOffice365, lab.Mail{From: d.From, To: lab.To("hugo@globex.example"), Data: d.Data})
			}
		}
		s.mustArrive(m, "here bob@acmecorp.com", "here hugo@globex.example", "office365 "+there)

		// Here, where it takes nothing: nobody hears of that.
		s.configure(lab.SiteTOML + archiveTOML("copies-here@acmecorp.com"))
		m = send("the archive is full", lab.FromUser, "bob@acmecorp.com", "alice@acmecorp.com")
		s.mustArrive(m, "office365 "+aliceThere)
		for _, sink := range s.sinks() {
			for _, d := range sink.All() {
				if d.From == "" {
					t.Errorf("%q get a bounce:\n%s", d.To(), d.Data)
				}
			}
		}

		// Where nobody has its address, all waits, and the tools say so.
		s.configure(lab.SiteTOML + archiveTOML("copies-nowhere@acmecorp.com"))
		m = lab.Plain("eve@example.net", "bob@acmecorp.com", "no archive")
		if r := s.fromEve(m, "bob@acmecorp.com"); !strings.HasPrefix(fmt.Sprint(r.Data), "451 4.3.0") {
			t.Errorf("without an archive, the message is answered %s", r.Data)
		}
		s.says(exitNo, "check", "archive.address: the archive copies-nowhere@acmecorp.com cannot be given a copy")
		s.waitDaemonLog("mail cannot be archived")
		s.says(exitWrong, "explain --from eve@example.net --to bob@acmecorp.com --client "+lab.FromInternet, "cannot be given a copy")
	})
}

func TestWhatIsHeldIsArchivedWhenItIsReleasedOrByChoiceBefore(t *testing.T) {
	onEachMTA(t, func(t *testing.T, mta lab.MTA) {
		s := startSite(t, lab.SiteConfig{MTA: mta, TOML: checkedTOML("", "", neverReport, archiveTOML(archiveOutside))})
		m := programFor("bob@acmecorp.com", "held", 0)
		id := s.hold(m, "bob@acmecorp.com")[0].ID
		s.mustArrive(m)
		s.release(id, "released", "")
		s.mustArrive(m, "here bob@acmecorp.com", toArchive)

		// Held for one, and gone on to another: its copy is made then.
		allowed := "[[allow]]\nname = \"carol\"\nrecipients = [\"carol@acmecorp.com\"]\nchecks = [\"malware\"]"
		s.configure(checkedTOML("", "", neverReport, allowed, archiveTOML(archiveOutside)))
		m = programFor("bob@acmecorp.com", "held for one", 0)
		if r := s.fromEve(m, "bob@acmecorp.com", "hugo@globex.example", "carol@acmecorp.com"); r.Data.Code != 250 {
			t.Fatalf("it was answered %s", r.Data)
		}
		carols := []string{"here carol@acmecorp.com", "office365 carol@acmecorp-com.onmicrosoft.com", toArchive}
		s.mustArrive(m, carols...)
		for _, e := range s.entriesOf(m) {
			s.release(e.ID, "released", "")
		}
		s.mustArrive(m, append(carols, "here bob@acmecorp.com", "here hugo@globex.example")...)

		s.configure(checkedTOML("", "", neverReport, archiveTOML(archiveOutside, "held = true")))
		m = programFor("bob@acmecorp.com", "held and archived", 0)
		held := s.hold(m, "bob@acmecorp.com", "alice@acmecorp.com")
		s.mustArrive(m, toArchive)
		for _, e := range held {
			s.release(e.ID, "released", "")
		}
		s.mustArrive(m, toArchive, "here bob@acmecorp.com", "office365 "+aliceThere)

		// What is dropped goes nowhere.
		s.configure(checkedTOML("", "", neverReport, archiveTOML(archiveOutside, "held = true"), "[check.malware]\non_hit = \"discard\""))
		m = programFor("bob@acmecorp.com", "dropped", 0)
		if r := s.fromEve(m, "bob@acmecorp.com"); r.Data.Code != 250 {
			t.Errorf("it was answered %s", r.Data)
		}
		s.mustArrive(m)
	})
}

func TestTheArchiveHasEachOfTwoHundredMessagesOnceOverRestarts(t *testing.T) {
	onEachMTA(t, func(t *testing.T, mta lab.MTA) {
		s := startSite(t, lab.SiteConfig{MTA: mta, TOML: lab.SiteTOML + archiveTOML(archiveOutside), Main: map[string]string{"notify_classes": ""}})
		const total, clients = 200, 4
		ctx := deadline(t)
		all := make([][]byte, total)
		taken := make(chan struct{}, total)
		var next atomic.Int64
		var senders sync.WaitGroup
		for range clients {
			senders.Go(func() {
				for n := int(next.Add(1)) - 1; n < total; n = int(next.Add(1)) - 1 {
					all[n] = lab.Plain("bob@acmecorp.com", "alice@acmecorp.com", fmt.Sprint("number ", n))
					if err := s.sendUntilTaken(ctx, lab.Mail{From: "bob@acmecorp.com", To: lab.To("alice@acmecorp.com", "eve@example.net"), Data: all[n]}); err != nil {
						t.Error(err)
						return
					}
					taken <- struct{}{}
				}
			})
		}
		for _, after := range []int{60, 60} {
			for range after {
				select {
				case <-taken:
				case <-ctx.Done():
					t.Fatal("the messages are not taken")
				}
			}
			s.restart()
		}
		senders.Wait()
		s.settle()
		copies := make(map[string]int)
		for _, d := range s.Outside.All() {
			if slices.Contains(d.To(), archiveOutside) {
				copies[messageID(d.Data)]++
			}
		}
		for n, m := range all {
			if got := copies[messageID(m)]; got != 1 {
				t.Errorf("of message %d the archive has %d copies", n, got)
			}
		}
		if len(copies) != total {
			t.Errorf("the archive has %d messages of %d", len(copies), total)
		}
	})
}

func TestTheJournalOfAPlatformReachesTheArchiveOnceAndUnchecked(t *testing.T) {
	onEachMTA(t, func(t *testing.T, mta lab.MTA) {
		const box = "copies@acmecorp.com"
		archive := archiveTOML(box, `journals = ["office365"]`)
		s := startSite(t, lab.SiteConfig{MTA: mta, Directory: lab.SiteDirectory + box + ",here,\n", TOML: checkedTOML("", "", neverReport, archive)})
		report := func(about string) []byte {
			return withHeader("Sender: <MicrosoftExchange329e71ec88ae4615bbc36ab6ce41109e@acmecorp-com.onmicrosoft.com>\r\nX-MS-Journal-Report:", programFor(box, about, 0))
		}
		m := report("a report")
		r := s.send(lab.FromOffice365, lab.Mail{To: lab.To(box), Data: m})
		if !r.Accepted() {
			t.Fatalf("the report is answered %+v", r)
		}
		s.mustArrive(m, "here "+box)
		if line := s.logged(r); line["point"] != "S1" || line["verdict"] != "accept" || line["archived"] != "" || !strings.Contains(line["proof"], "a report of office365 to the archive") {
			t.Errorf("the report is logged as %v", line)
		}
		for about, c := range map[string]struct {
			client, to string
			tenant     bool
		}{
			"from the Internet": {lab.FromInternet, box, false}, "of another tenant": {lab.FromOffice365, box, true}, "to another": {lab.FromOffice365, "bob@acmecorp.com", false},
		} {
			m := report(about)
			if c.tenant {
				m = fromTenant("11111111-2222-3333-4444-555555555555", m)
			}
			if r := s.send(c.client, lab.Mail{To: lab.To(c.to), Data: m}); r.Accepted() && s.logged(r)["verdict"] == "accept" {
				t.Errorf("%s, what looks like a report passes unchecked", about)
			}
			s.mustArrive(m)
		}
	})
}

// sendUntilTaken hands a message of a user's in, again as long as it is put off.
func (s *site) sendUntilTaken(ctx context.Context, m lab.Mail) error {
	for {
		r, err := lab.Client{Server: s.Addr("public"), Local: lab.FromUser}.Send(ctx, m)
		switch {
		case err == nil && r.Accepted():
			return nil
		case ctx.Err() != nil:
			return fmt.Errorf("a message was not taken in time: %+v, %w", r, err)
		case err == nil && r.Data.Code >= 500:
			return fmt.Errorf("a message was refused: %+v", r)
		}
	}
}
