package e2e

import (
	"net/netip"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"coexistd/contrib/lab"
)

// bounded is the usual configuration, but that clients are bounded, with further
// lines of [check.ddos]: all but those of the network that a test has for them.
func bounded(lines string) string {
	return strings.Replace(lab.SiteTOML, `exempt = ["127.0.0.0/8"]`, "exempt = [\"127.0.99.0/24\"]\n"+lines, 1)
}

// The texts with which a client that asks for too much is turned away. Of a refusal
// at CONNECT, the MTA says what it wants (ways.shut).
const (
	slow     = "421 4.7.0 Too many connections or commands, try again later"
	slowHard = "554 5.7.0 Too many connections or commands"
	harvest  = "421 4.7.0 Too many unknown recipients, try again later"
)

// enter connects from an address, which must be let in. The session ends with the
// test, if not before.
func (s *site) enter(client string) *lab.Session {
	s.t.Helper()
	session, err := lab.Client{Server: s.Addr("public"), Local: client}.Dial(deadline(s.t))
	if err != nil {
		s.t.Fatalf("%s must be let in: %v", client, err)
	}
	s.t.Cleanup(func() { session.Close() })
	return session
}

// mustBeShutOut connects from an address, which must be refused.
func (s *site) mustBeShutOut(client string) {
	s.t.Helper()
	session, err := lab.Client{Server: s.Addr("public"), Local: client}.Dial(deadline(s.t))
	if err == nil {
		session.Close()
		s.t.Fatalf("%s was let in; it must be turned away", client)
	}
	if !strings.HasSuffix(err.Error(), "refused the connection: "+s.shut) {
		s.t.Fatalf("%s must be turned away with %q: %v", client, s.shut, err)
	}
}

// returns connects again and again until the client is let in: that a connection
// has ended is known here before it is known to coexistd.
func (s *site) returns(client string) {
	s.t.Helper()
	for ctx := deadline(s.t); ; {
		session, err := lab.Client{Server: s.Addr("public"), Local: client}.Dial(ctx)
		if err == nil {
			session.Close()
			return
		}
		if ctx.Err() != nil || !strings.Contains(err.Error(), s.shut) {
			s.t.Fatalf("%s is not let in again: %v", client, err)
		}
	}
}

// names has a session name recipients in one transaction, and returns the replies
// as far as the server gave some, each as "CODE ENHANCED". Hung says that the
// server has ended the connection.
func (s *site) names(session *lab.Session, to ...string) (replies []string, hung bool) {
	s.t.Helper()
	r, err := session.Send(deadline(s.t), lab.Mail{From: "x@example.net", To: lab.To(to...)})
	for _, reply := range r.To {
		if reply.Code == 421 && reply.String() != slow && reply.String() != harvest {
			s.t.Errorf("the reply %q is not coexistd's; %q or %q would be", reply, slow, harvest)
		}
		if reply.Code != 0 {
			replies = append(replies, code(reply))
		}
	}
	return replies, err != nil
}

// mustHear compares what names returns, joined by ", ", with what it must. After
// 421 the connection must have ended, and only then.
func (s *site) mustHear(session *lab.Session, to []string, want string) {
	s.t.Helper()
	replies, hung := s.names(session, to...)
	if got := strings.Join(replies, ", "); got != want {
		s.t.Fatalf("%q were answered with %q; %q is right", to, got, want)
	}
	if hung != strings.HasSuffix(want, "421 4.7.0") {
		s.t.Fatalf("after %s, the connection has ended: %v", want, hung)
	}
}

// mustTake has a session send a message, which must be taken.
func (s *site) mustTake(session *lab.Session) {
	s.t.Helper()
	r, err := session.Send(deadline(s.t), lab.Mail{From: "x@example.net", To: lab.To("bob@acmecorp.com"), Data: lab.Plain("x@example.net", "bob@acmecorp.com", "in bounds")})
	if err != nil || !r.Accepted() {
		s.t.Fatalf("the message was not taken: %+v, %v", r, err)
	}
}

// excesses are the lines of the log about a client that asks for too much.
func (s *site) excesses(client string) (lines []logLine) {
	s.t.Helper()
	for line := range strings.Lines(s.Daemon.Log()) {
		if strings.Contains(line, `msg="a client asks for too much`) && strings.Contains(line, " client="+client+" ") {
			lines = append(lines, parseLogLine(s.t, strings.TrimSuffix(line, "\n")))
		}
	}
	return lines
}

// mustSay expects one line a minute about a client, with its point and the reason.
func (s *site) mustSay(client, point, verdict, reason string) {
	s.t.Helper()
	s.waitDaemonLog(`msg="a client asks for too much.* client=` + regexp.QuoteMeta(client) + ` `)
	lines := s.excesses(client)
	l := lines[0]
	first, err := time.Parse(time.RFC3339, l["time"])
	if err != nil {
		s.t.Fatal(err)
	}
	if most := 1 + int(time.Since(first)/time.Minute); len(lines) > most {
		s.t.Fatalf("the log has %d lines about %s; %d are right: %v", len(lines), client, most, lines)
	}
	if l["level"] != "WARN" || l["point"] != point || l["check"] != "ddos" || l["verdict"] != verdict || l["reason"] != reason {
		s.t.Errorf("the log says %v of %s; want point %s, verdict %s, reason %q", l, client, point, verdict, reason)
	}
}

// refusedFrom waits for the line of a message from a client that was refused by ddos.
func (s *site) refusedFrom(client string) logLine {
	s.t.Helper()
	line := s.waitDaemonLog(`msg=message .* client=` + regexp.QuoteMeta(client) + ` .* reply="421 `)
	return parseLogLine(s.t, line)
}

func TestConnectionsAtOnceAreBounded(t *testing.T) {
	onEachMTA(t, func(t *testing.T, mta lab.MTA) {
		s := startSite(t, lab.SiteConfig{MTA: mta, TOML: bounded("connections = 2\nconnections_network = 3\ntotal = 5\n")})
		first, second := s.enter("127.0.10.1"), s.enter("127.0.10.1")
		for range 3 {
			s.mustBeShutOut("127.0.10.1")
		}
		s.mustSay("127.0.10.1", "S0", "tempfail", "client 127.0.10.1 has 2 connections open, and the bound is 2")
		neighbour := s.enter("127.0.10.2")
		s.mustBeShutOut("127.0.10.3")
		s.mustSay("127.0.10.3", "S0", "tempfail", "network 127.0.10.0/24 has 3 connections open, and the bound is 3")

		user, other := s.enter("127.0.11.1"), s.enter("127.0.12.1")
		s.mustBeShutOut("127.0.13.1")
		s.mustBeShutOut("127.0.14.1")
		s.mustSay("127.0.13.1", "S0", "tempfail", "everybody together has 5 connections open, and the bound is 5")
		// It was everybody together again.
		if lines := s.excesses("127.0.14.1"); len(lines) != 0 {
			t.Errorf("the log says %v, though it has said so of everybody a moment ago", lines)
		}
		// Our own networks are exempt, whatever else is.
		s.mustTake(s.enter(lab.FromUser))

		// Exempt networks and platforms do not count, nor do they suffer.
		for range 4 {
			s.mustTake(s.enter("127.0.99.1"))
			m := fromTenant(lab.OfficeTenant, lab.Plain("alice@acmecorp.com", "bob@acmecorp.com", "from the platform"))
			r, err := s.enter(lab.FromOffice365).Send(deadline(t), lab.Mail{From: "alice@acmecorp.com", To: lab.To("bob@acmecorp.com"), Data: m})
			if err != nil || !r.Accepted() {
				t.Fatalf("the platform's message was not taken: %+v, %v", r, err)
			}
		}
		// Those who were let in go on.
		for _, session := range []*lab.Session{first, second, neighbour, other} {
			s.mustTake(session)
		}
		s.mustHear(user, []string{"bob@acmecorp.com"}, "250 2.1.5")
		second.Close()
		s.returns("127.0.10.1")
	})
}

func TestNewConnectionsAreBoundedByTheMinute(t *testing.T) {
	onEachMTA(t, func(t *testing.T, mta lab.MTA) {
		s := startSite(t, lab.SiteConfig{MTA: mta, TOML: bounded("per_minute = 3\nper_minute_network = 5\n")})
		for range 3 {
			s.enter("127.0.10.1").Close()
		}
		// Those that are refused leave one line.
		for range 10 {
			s.mustBeShutOut("127.0.10.1")
		}
		s.mustSay("127.0.10.1", "S0", "tempfail", "client 127.0.10.1 opened 3 connections in a minute, and the bound is 3")
		for range 2 {
			s.mustTake(s.enter("127.0.10.2"))
		}
		s.mustBeShutOut("127.0.10.2")
		s.mustBeShutOut("127.0.10.3")
		s.mustSay("127.0.10.2", "S0", "tempfail", "network 127.0.10.0/24 opened 5 connections in a minute, and the bound is 5")
		s.mustTake(s.enter("127.0.11.1"))
		for range 6 {
			s.mustTake(s.enter("127.0.99.1"))
			s.enter(lab.FromGoogle).Close()
		}
	})
}

func TestMessagesOfAConnectionAreBounded(t *testing.T) {
	onEachMTA(t, func(t *testing.T, mta lab.MTA) {
		s := startSite(t, lab.SiteConfig{MTA: mta, TOML: bounded("messages = 2\n")})
		for range 2 {
			session := s.enter("127.0.10.1")
			s.mustTake(session)
			s.mustTake(session)
			s.mustHear(session, []string{"bob@acmecorp.com"}, "421 4.7.0")
		}
		s.mustSay("127.0.10.1", "S0", "tempfail", "client 127.0.10.1 began 3 messages in one connection, and the bound is 2")
		if l := s.refusedFrom("127.0.10.1"); l["check"] != "ddos" || l["verdict"] != "tempfail" || l["reply"] != slow {
			t.Errorf("the log says %v of the third message", l)
		}
		for _, client := range []string{"127.0.99.1", lab.FromOffice365} {
			session := s.enter(client)
			for range 4 {
				s.mustHear(session, []string{"bob@acmecorp.com"}, "250 2.1.5")
			}
		}
	})
}

// A recipient that Postfix refuses, which with the lookups is one that nobody has,
// gets its answer from Postfix. The client is told of its excess by the next one that
// Postfix would take.
func TestRefusedRecipientsOfAConnectionAreBounded(t *testing.T) {
	config := func(*testing.T) lab.SiteConfig { return lab.SiteConfig{TOML: bounded("refused = 2\n")} }
	everyWay(t, config, func(t *testing.T, s *site, milter bool) {
		// A mailbox that is being moved is refused by Sendmail's map, and told to nobody.
		movers := milter || !s.asksMovers
		milter = milter || !s.refusesUnlisted
		for client, c := range map[string]struct {
			local, code string
			milter      bool // who refuses it
		}{
			"127.0.10.1": {"nobody", "550 5.1.1", milter},
			"127.0.11.1": {"dave", "450 4.2.1", true},
		} {
			if c.local == "dave" && !movers {
				continue
			}
			address := func(tag string) string { return c.local + tag + "@acmecorp.com" }
			for range 2 {
				session := s.enter(client)
				s.mustHear(session, []string{address(""), "bob@acmecorp.com", address("+a")}, c.code+", 250 2.1.5, "+c.code)
				s.mustTake(session)
				if c.milter {
					s.mustHear(session, []string{address("+b")}, "421 4.7.0")
				} else {
					s.mustHear(session, []string{address("+b"), address("+c"), "bob@acmecorp.com"}, c.code+", "+c.code+", 421 4.7.0")
				}
			}
			l := s.refusedFrom(client)
			if to := l.recipient(t, map[bool]string{true: address("+b"), false: "bob@acmecorp.com"}[c.milter]); to.Reply != slow || l["check"] != "ddos" {
				t.Errorf("the log says %v of the message with the third", l)
			}
			s.mustSay(client, "S0", "tempfail", "client "+client+" had 3 recipients refused in one connection, and the bound is 2")
		}
		for _, client := range []string{"127.0.99.1", lab.FromOffice365} {
			s.mustHear(s.enter(client), []string{"nobody@acmecorp.com", "no@acmecorp.com", "none@acmecorp.com", "bob@acmecorp.com"},
				"550 5.1.1, 550 5.1.1, 550 5.1.1, 250 2.1.5")
		}
	})
}

func TestAHarvesterOfAddressesIsShutOutOverSeveralConnections(t *testing.T) {
	config := func(*testing.T) lab.SiteConfig { return lab.SiteConfig{TOML: bounded("unknown = 4\n")} }
	everyWay(t, config, func(t *testing.T, s *site, milter bool) {
		milter = milter || !s.refusesUnlisted
		const harvester, unlucky = "127.0.10.1", "127.0.10.2"
		for range 2 {
			s.mustHear(s.enter(harvester), []string{"n1@acmecorp.com", "n2@acmecorp.com", "bob@acmecorp.com"}, "550 5.1.1, 550 5.1.1, 250 2.1.5")
			// Recipients that are refused for another reason are not unknown.
			s.mustHear(s.enter(unlucky), []string{"dave@acmecorp.com", "dave+a@acmecorp.com", "dave+b@acmecorp.com"}, "450 4.2.1, 450 4.2.1, 450 4.2.1")
		}
		open, session := s.enter(harvester), s.enter(harvester)
		if milter {
			s.mustHear(session, []string{"bob@acmecorp.com", "n3@acmecorp.com"}, "250 2.1.5, 421 4.7.0")
		} else {
			s.mustHear(session, []string{"bob@acmecorp.com", "n3@acmecorp.com", "carol@acmecorp.com"}, "250 2.1.5, 550 5.1.1, 421 4.7.0")
		}
		l := parseLogLine(t, s.waitDaemonLog(`msg=message .* client=`+regexp.QuoteMeta(harvester)+` .*Too many unknown`))
		if to := l.recipient(t, map[bool]string{true: "n3@acmecorp.com", false: "carol@acmecorp.com"}[milter]); to.Reply != harvest || l["check"] != "ddos" {
			t.Errorf("the log says %v of the message with one unknown recipient too many", l)
		}
		s.mustBeShutOut(harvester)
		s.mustBeShutOut(harvester)
		s.mustSay(harvester, "S0", "tempfail", "client "+harvester+" asked for 5 unknown recipients in ten minutes, and the bound is 4")
		// A connection that was there before goes on, as long as it does not harvest.
		s.mustTake(open)
		s.mustTake(s.enter(unlucky))
	})
}

func TestWhatIsDoneAboutClientsWhoAskForTooMuchIsConfigured(t *testing.T) {
	onEachMTA(t, func(t *testing.T, mta lab.MTA) {
		s := startSite(t, lab.SiteConfig{MTA: mta, MC: withoutLookupsMC, TOML: bounded("per_minute = 1\nmessages = 1\non_hit = \"reject\"\n")})
		const first, second = "127.0.10.1", "127.0.11.1"
		session := s.enter(first)
		s.mustTake(session)
		for range 2 {
			r, err := session.Send(deadline(t), lab.Mail{From: "x@example.net", To: lab.To("bob@acmecorp.com")})
			if err != nil || r.To[0].String() != slowHard {
				t.Errorf("the second message was answered with %v, %v; %q is right", r.To, err, slowHard)
			}
		}
		s.mustSay(first, "S0", "reject", "client "+first+" began 2 messages in one connection, and the bound is 1")
		if _, err := (lab.Client{Server: s.Addr("public"), Local: first}).Dial(deadline(t)); err == nil || !strings.HasSuffix(err.Error(), s.shutHard) {
			t.Errorf("the second connection came to %v; it must be refused with %q", err, s.shutHard)
		}

		s.configure(bounded("per_minute = 1\nmessages = 1\nunknown = 1\non_hit = \"accept\"\n"))
		for range 3 {
			session := s.enter(second)
			s.mustHear(session, []string{"nobody@acmecorp.com", "no@acmecorp.com", "bob@acmecorp.com"}, "550 5.1.1, 550 5.1.1, 250 2.1.5")
			s.mustTake(session)
		}
		s.mustSay(second, "S0", "accept", "client "+second+" asked for 2 unknown recipients in ten minutes, and the bound is 1")

		// A point may differ from the others.
		s.configure(bounded("per_minute = 1\n[checkpoint.S0.ddos]\non_hit = \"accept\"\n"))
		for range 2 {
			s.enter(second).Close()
		}
		s.configure(bounded("per_minute = 1\n"))
		s.mustBeShutOut(second)
		s.configure(bounded("per_minute = 1\n[checkpoint.S0]\nchecks = [\"malware\"]\n"))
		s.enter(second).Close()
	})
}

func TestCountsOfClientsOutliveAReload(t *testing.T) {
	onEachMTA(t, func(t *testing.T, mta lab.MTA) {
		toml := bounded("per_minute = 2\nmessages = 2\nunknown = 2\n")
		s := startSite(t, lab.SiteConfig{MTA: mta, MC: withoutLookupsMC, TOML: toml})
		const client, often, harvester = "127.0.10.1", "127.0.11.1", "127.0.12.1"
		first, second := s.enter(client), s.enter(client)
		s.mustTake(first)
		for range 2 {
			s.enter(often).Close()
		}
		s.mustBeShutOut(often)
		harvest := s.enter(harvester)
		s.mustHear(harvest, []string{"n1@acmecorp.com", "n2@acmecorp.com"}, "550 5.1.1, 550 5.1.1")

		s.configure(toml)
		s.mustBeShutOut(often)
		s.mustSay(often, "S0", "tempfail", "client "+often+" opened 2 connections in a minute, and the bound is 2")
		s.mustTake(first)
		s.mustHear(first, []string{"bob@acmecorp.com"}, "421 4.7.0")
		if s.refusesUnlisted {
			s.mustHear(harvest, []string{"n3@acmecorp.com", "bob@acmecorp.com"}, "550 5.1.1, 421 4.7.0")
		} else {
			s.mustHear(harvest, []string{"n3@acmecorp.com"}, "421 4.7.0")
		}
		s.mustBeShutOut(harvester)

		// Other bounds hold at once, for what was counted before.
		s.configure(bounded("connections = 1\n"))
		s.mustBeShutOut(client)
		for range 3 {
			s.mustTake(second)
		}
		second.Close()
		s.returns(client)
		s.returns(often)
		s.returns(harvester)
	})
}

func TestAFloodFromOneAddressIsRefusedWhileOthersMailGoesOn(t *testing.T) {
	t.Parallel()
	const (
		rate    = 5000       // connections a second, as far as the machine can
		flood   = 20_000     // connections
		usual   = 120        // connections of one client that are let in in a minute
		most    = 32_000_000 // bytes over the idle daemon
		senders = 2
		batch   = 20 // messages of a connection
	)
	// The usual bounds hold, and nobody is exempt.
	s := startSite(t, lab.SiteConfig{Program: plainProgram(t), TOML: strings.Replace(lab.SiteTOML, `exempt = ["127.0.0.0/8"]`, "exempt = []", 1)})
	const flooder, other = "203.0.113.9", "127.0.3.1"
	pid := s.Daemon.Pid()
	idle := residentNow(t, pid)
	forgetPeak(t, pid)

	over := make(chan struct{})
	var sending sync.WaitGroup
	var taken [senders]int
	for i := range senders {
		sending.Go(func() {
			// Each connection is one of at most 120 a minute; in the end some messages
			// come after the flood.
			for connection := 0; connection < usual/2/senders; connection++ {
				session, err := lab.Client{Server: s.Addr("public"), Local: other}.Dial(deadline(t))
				if err != nil {
					t.Errorf("a client that asks for little was refused: %v", err)
					return
				}
				for range batch {
					m := lab.Plain("x@example.net", "bob@acmecorp.com", "beside a flood")
					r, err := session.Send(deadline(t), lab.Mail{From: "x@example.net", To: lab.To("bob@acmecorp.com"), Data: m})
					if err != nil || !r.Accepted() {
						t.Errorf("the message of another client was not taken: %+v, %v", r, err)
						session.Close()
						return
					}
					taken[i]++
				}
				session.Close()
				select {
				case <-over:
					return
				default:
				}
			}
		})
	}
	f := lab.Flood{Socket: filepath.Join(s.Dir, "milter.sock"), Client: netip.MustParseAddr(flooder), Rate: rate, AtOnce: 20}
	begun, letIn, refused := time.Now(), 0, 0
	for letIn+refused < flood {
		flooded, err := f.Run(t.Context(), time.Second)
		if err != nil {
			t.Error(err)
			break
		}
		letIn, refused = letIn+flooded.LetIn, refused+flooded.Refused
	}
	took := time.Since(begun)
	close(over)
	sending.Wait()
	growth := residentPeak(t, pid) - idle
	t.Logf("%d connections in %.1f s; %d let in, %d refused; %d messages of another client taken; %.1f MB over the idle daemon's %.1f MB",
		letIn+refused, took.Seconds(), letIn, refused, taken[0]+taken[1], float64(growth)/1e6, float64(idle)/1e6)
	if most := usual * (1 + int(took/time.Minute)); letIn < usual || letIn > most {
		t.Errorf("%d connections of the flooder were let in; %d a minute, and so %d at most, are right", letIn, usual, most)
	}
	if growth > most {
		t.Errorf("the daemon's memory grew by %d bytes in the flood; %d is the most", growth, most)
	}
	s.mustSay(flooder, "S0", "tempfail", "client "+flooder+" opened 120 connections in a minute, and the bound is 120")
	if lines := s.excesses(other); len(lines) != 0 {
		t.Errorf("the log has %d lines about the other client: %v", len(lines), lines)
	}
}
