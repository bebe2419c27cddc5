package e2e

import (
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"coexistd/contrib/lab"
	"coexistd/milter/mtalog"
)

// followedTOML is the usual configuration with the MTA's log followed.
const followedTOML = lab.SiteTOML + "\n[messages]\nmta_log = \"" + lab.MailLog + "\"\n"

// toldMessage is what messages show --json prints of one, as far as the MTA is concerned.
type toldMessage struct {
	ID         string         `json:"id"`
	MTA        string         `json:"mta"`
	From       string         `json:"from"`
	Client     string         `json:"client"`
	Reply      string         `json:"reply"`
	Verdict    string         `json:"verdict"`
	Deliveries []toldDelivery `json:"deliveries"`
}

type toldDelivery struct {
	QueueID   string `json:"queue_id"`
	Status    string `json:"status"`
	Recipient string `json:"recipient"`
	Relay     string `json:"relay"`
	DSN       string `json:"dsn"`
	Answer    string `json:"answer"`
	Notice    bool   `json:"notice"`
}

// awaitTold waits until messages show tells what is looked for.
func (s *site) awaitTold(id, what string, is func(toldMessage) bool) toldMessage {
	s.t.Helper()
	ctx := deadline(s.t)
	for {
		var list []toldMessage
		out, _ := ask(s.t, "messages", "show", "--json", "-c", s.Config(), id)
		if err := json.Unmarshal(out, &list); err != nil {
			s.t.Fatalf("show %s: %v: %s", id, err, out)
		}
		if i := slices.IndexFunc(list, is); i >= 0 {
			return list[i]
		}
		select {
		case <-ctx.Done():
			log, _ := os.ReadFile(filepath.Join(s.Dir, "mail.log"))
			s.t.Fatalf("of %s it is never told that it is %s:\n%s\n%s", id, what, out, log)
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// hasBecome reports a delivery.
func hasBecome(status, recipient, dsn, answer string) func(toldMessage) bool {
	return func(m toldMessage) bool {
		return slices.ContainsFunc(m.Deliveries, func(d toldDelivery) bool {
			return d.Status == status && d.Recipient == recipient && d.DSN == dsn && strings.Contains(d.Answer, answer) && !d.Notice
		})
	}
}

func TestWhatTheMTADidWithAMessageIsFoundWithTheRemotesAnswer(t *testing.T) {
	onEachMTA(t, func(t *testing.T, mta lab.MTA) {
		s := startSite(t, lab.SiteConfig{
			MTA: mta, TOML: followedTOML, Directory: lab.SiteDirectory + "late@acmecorp.com,here,\ngone@acmecorp.com,here,\n",
			RefuseHere: func(to string) *lab.Reply {
				switch {
				case strings.HasPrefix(to, "gone"):
					return &lab.Reply{Code: 550, Enhanced: "5.2.1", Text: "Closed, to=<forged@example.com>, relay=x, dsn=2.0.0, stat=Sent"}
				case strings.HasPrefix(to, "late"):
					return &lab.Reply{Code: 452, Enhanced: "4.2.2", Text: "Full for now"}
				}
				return nil
			},
			RefuseOffice: func(string) *lab.Reply {
				return &lab.Reply{Code: 550, Enhanced: "5.4.1", Text: "Access denied over there"}
			},
		})
		send := func(to ...string) string {
			t.Helper()
			r := s.fromEve(lab.Plain("eve@example.net", to[0], "one"), to...)
			if !r.Accepted() {
				t.Fatalf("%+v", r)
			}
			return s.QueueID(r.Data)
		}
		sent, gone, late, cloud := send("bob@acmecorp.com"), send("gone@acmecorp.com", "bob@acmecorp.com"), send("late@acmecorp.com"), send("alice@acmecorp.com")
		s.awaitTold(sent, "sent", hasBecome("sent", "bob@acmecorp.com", "2.0.0", ""))
		both := s.awaitTold(gone, "bounced", hasBecome("bounced", "gone@acmecorp.com", "5.2.1", "Closed, to=<forged@example.com>"))
		if !hasBecome("sent", "bob@acmecorp.com", "2.0.0", "")(both) {
			both = s.awaitTold(gone, "sent to bob", hasBecome("sent", "bob@acmecorp.com", "2.0.0", ""))
		}
		notice := s.awaitTold(gone, "a bounce that is sent", func(m toldMessage) bool {
			return slices.ContainsFunc(m.Deliveries, func(d toldDelivery) bool { return d.Notice && d.Status == "sent" && d.Recipient == "eve@example.net" })
		})
		s.awaitTold(late, "deferred", hasBecome("deferred", "late@acmecorp.com", "4.2.2", "452 4.2.2 Full for now"))
		s.awaitTold(cloud, "bounced", hasBecome("bounced", "alice@acmecorp-com.onmicrosoft.com", "5.4.1", "Access denied over there"))
		// The bounce's own queue id leads to the message, too.
		bounce := notice.Deliveries[len(notice.Deliveries)-1].QueueID
		if m := s.awaitTold(bounce, "found", func(toldMessage) bool { return true }); m.ID != both.ID {
			t.Errorf("%s leads to %+v, not to %s", bounce, m, both.ID)
		}
		for status, want := range map[string]int{"sent": 2, "bounced": 2, "deferred": 1, "expired": 0, "held": 0} {
			if list := s.find("--mta", status); len(list) != want {
				t.Errorf("--mta %s finds %+v", status, list)
			}
		}
		s.says(exitYes, "messages show "+late, "the MTA, of "+late, "deferred   late@acmecorp.com", "452 4.2.2 Full for now")
		s.says(exitYes, "status", "mta log", "mail.log, ", "lines read")
	})
}

// feed writes what the MTA logs into a journal, as syslog or the MTA itself does, until the function
// that it returns is called.
func (s *site) feed(journal *lab.Journal) (stop func()) {
	ctx, cancel := context.WithCancel(s.t.Context())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for at := 0; ; {
			log := s.Log()
			for line := range strings.Lines(log[at:]) {
				if !strings.HasSuffix(line, "\n") {
					break // it is being written
				}
				at += len(line)
				one, ok := mtalog.ParseLine(strings.TrimSuffix(line, "\n"), time.Now())
				if !ok {
					continue
				}
				if err := journal.Write(facilityMail, one.Program, one.Text); err != nil {
					s.t.Error(err)
					return
				}
			}
			select {
			case <-ctx.Done():
				return
			case <-time.After(20 * time.Millisecond):
			}
		}
	}()
	return func() {
		cancel()
		<-ended
	}
}

// facilityMail and facilityDaemon are syslog's numbers for what mail systems and others log.
const facilityMail, facilityDaemon = 2, 3

// The journal is systemd's own, and so is the journalctl that reads it. It is found by PATH, which
// is all processes'.
func TestWhatTheMTADoesIsReadFromTheJournal(t *testing.T) {
	programs := lab.LendJournalPrograms(t)
	for _, mta := range mtas() {
		t.Run(string(mta), func(t *testing.T) {
			journal, err := programs.Start()
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() {
				if err := journal.Close(); err != nil {
					t.Error(err)
				}
			})
			t.Setenv("PATH", journal.Commands+":"+os.Getenv("PATH"))
			s := startSite(t, lab.SiteConfig{
				MTA: mta, TOML: lab.SiteTOML + "\n[messages]\nmta_log = \"journal\"\n", Directory: lab.SiteDirectory + "late@acmecorp.com,here,\n",
				RefuseHere: func(to string) *lab.Reply {
					if strings.HasPrefix(to, "late") {
						return &lab.Reply{Code: 452, Enhanced: "4.2.2", Text: "Full for now"}
					}
					return nil
				},
			})
			t.Cleanup(s.feed(journal))
			send := func(to string) string {
				t.Helper()
				r := s.fromEve(lab.Plain("eve@example.net", to, "one"), to)
				if !r.Accepted() {
					t.Fatalf("%+v", r)
				}
				return s.QueueID(r.Data)
			}
			s.awaitTold(send("bob@acmecorp.com"), "sent", hasBecome("sent", "bob@acmecorp.com", "2.0.0", ""))
			late := send("late@acmecorp.com")
			s.awaitTold(late, "deferred", hasBecome("deferred", "late@acmecorp.com", "4.2.2", "452 4.2.2 Full for now"))
			if r := s.fromEve(lab.Plain("eve@example.net", "x@elsewhere.example", "relay"), "x@elsewhere.example"); r.Accepted() {
				t.Fatalf("%+v", r)
			}
			s.awaitFound(1, "--mta", "rejected", "--to", "x@elsewhere.example")
			s.says(exitYes, "status", "mta log", "journal, ", "lines read")

			// Others may write to the journal, too. What was written meanwhile is read once.
			if err := s.Daemon.Stop(); err != nil {
				t.Fatal(err)
			}
			for facility, text := range map[int]string{facilityDaemon: "forged", facilityMail: "meanwhile"} {
				s.do(journal.Write(facility, "postfix/lmtp", late+": to=<late@acmecorp.com>, relay=x, delay=1, delays=0/0/0/1, dsn=5.0.0, status=bounced ("+text+")"))
			}
			s.do(s.StartDaemon(deadline(t)))
			m := s.awaitTold(late, "bounced", hasBecome("bounced", "late@acmecorp.com", "5.0.0", "meanwhile"))
			if len(m.Deliveries) != 2 {
				t.Errorf("it is told %+v", m.Deliveries)
			}
			s.awaitTold(send("bob@acmecorp.com"), "sent", hasBecome("sent", "bob@acmecorp.com", "2.0.0", ""))
		})
	}
}

func TestWhatTheMTARefusesBeforeTheMilterIsFound(t *testing.T) {
	onEachMTA(t, func(t *testing.T, mta lab.MTA) {
		s := startSite(t, lab.SiteConfig{MTA: mta, TOML: followedTOML})
		client := lab.Client{Server: s.Addr("public"), Local: lab.FromInternet, Hello: "eve.example.net"}
		r, err := client.Send(deadline(t), lab.Mail{From: "eve@example.net", To: lab.To("dave@elsewhere.example"), Data: lab.Plain("eve@example.net", "dave@elsewhere.example", "relay")})
		if err != nil || r.Accepted() {
			t.Fatalf("%+v, %v", r, err)
		}
		var list []foundMessage
		for ctx := deadline(t); len(list) == 0; {
			if list = s.find("--from", "eve@example.net", "--to", "dave@elsewhere.example", "--client", lab.FromInternet, "--verdict", "reject", "--mta", "rejected"); len(list) > 0 {
				break
			}
			select {
			case <-ctx.Done():
				t.Fatalf("it is never found: %s", s.Log())
			case <-time.After(50 * time.Millisecond):
			}
		}
		m := s.awaitTold(list[0].ID, "rejected", func(m toldMessage) bool { return m.MTA == "rejected" })
		if len(list) != 1 || !strings.Contains(m.Reply, strings.Fields(r.To[0].Text)[len(strings.Fields(r.To[0].Text))-1]) {
			t.Errorf("it is told %+v, and the client %s", m, r.To[0])
		}
		s.says(exitYes, "messages show "+m.ID, "rejected by a rule of the MTA's own", "dave@elsewhere.example")
	})
}

func TestALogThatCannotBeFollowedIsToldByStatusAndDoctor(t *testing.T) {
	t.Parallel()
	s := startSite(t, lab.SiteConfig{TOML: lab.SiteTOML + "\n[messages]\nmta_log = \"{dir}/no/mail.log\"\n"})
	s.waitDaemonLog("the MTA's log cannot be followed")
	s.says(exitNo, "status", "mta log", "CANNOT BE READ", "does not exist")
	_, out, _ := runDoctor(t, t.TempDir(), nil, "-c", s.Config())
	for _, want := range []string{"FAIL  messages", "the MTA's log cannot be read", "FAIL  daemon", "the daemon cannot follow the MTA's log"} {
		if !strings.Contains(out, want) {
			t.Errorf("doctor does not say %q:\n%s", want, out)
		}
	}
	if err := os.Mkdir(filepath.Join(s.Dir, "no"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(s.Dir, "no", "mail.log"), nil, 0o640); err != nil {
		t.Fatal(err)
	}
	s.waitDaemonLog("the MTA's log is followed again")
	s.says(exitYes, "status", "nothing was read yet")
}
