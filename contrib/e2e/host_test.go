package e2e

import (
	"bytes"
	"regexp"
	"slices"
	"strings"
	"testing"

	"coexistd/contrib/lab"
)

// sendmail hands a message in with the sendmail command of the site's host.
func (s *site) sendmail(from string, message []byte, to ...string) {
	s.t.Helper()
	if err := s.Sendmail(deadline(s.t), from, to, message); err != nil {
		s.t.Fatal(err)
	}
}

// mustBounce waits for the bounce of a message that arrives at a sink for an
// address, checks that it holds all of the texts, and that it is the only one.
func (s *site) mustBounce(message []byte, sink *lab.Sink, to string, texts ...string) {
	s.t.Helper()
	isBounce := func(d lab.Delivery) bool {
		return d.From == "" && bytes.Contains(d.Data, []byte(messageID(message)))
	}
	if _, err := sink.Wait(deadline(s.t), isBounce); err != nil {
		s.t.Fatal(err)
	}
	if err := s.WaitEmpty(deadline(s.t)); err != nil {
		s.t.Fatal(err)
	}
	count := 0
	for place, other := range s.sinks() {
		for _, d := range other.All() {
			if !isBounce(d) {
				continue
			}
			count++
			if other != sink || !slices.Equal(d.To(), []string{to}) {
				s.t.Errorf("a bounce for %q arrived at %s", d.To(), place)
			}
			for _, text := range texts {
				if !bytes.Contains(d.Data, []byte(text)) {
					s.t.Errorf("the bounce to %s lacks %q:\n%s", to, text, d.Data)
				}
			}
		}
	}
	if count != 1 {
		s.t.Errorf("%d bounces arrived; one is right", count)
	}
}

func (s *site) waitDaemonLog(pattern string) string {
	s.t.Helper()
	line, err := s.Daemon.WaitLog(deadline(s.t), regexp.MustCompile(pattern))
	if err != nil {
		s.t.Fatal(err)
	}
	return line
}

func TestMailFromTheSendmailCommandArrivesWhereEachMailboxLives(t *testing.T) {
	onEachMTA(t, func(t *testing.T, mta lab.MTA) {
		s := startSite(t, lab.SiteConfig{MTA: mta, TOML: withHost(lab.SiteTOML)})
		m := lab.Plain("bob@acmecorp.com", "alice@acmecorp.com", "from the host")
		s.sendmail("bob@acmecorp.com", m, "Alice+x@acmecorp.com", "carol@acmecorp.com", "bob@acmecorp.com", "gail@globex.example", "eve@example.net")
		s.mustArrive(m,
			"office365 Alice+x@acmecorp-com.onmicrosoft.com",
			"office365 carol@acmecorp-com.onmicrosoft.com",
			"here carol@acmecorp.com",
			"here bob@acmecorp.com",
			"google gail@gapps.globex.example",
			"Internet eve@example.net")
		line := s.waitDaemonLog("msg=message")
		for _, want := range []string{"point=S2", `reason="` + s.hostIs + `"`} {
			if !strings.Contains(line, want) {
				t.Errorf("the daemon's log line lacks %s: %s", want, line)
			}
		}
	})
}

func TestMailFromTheSendmailCommandToAnUnlistedAddressBouncesAndTheRestArrives(t *testing.T) {
	onEachMTA(t, func(t *testing.T, mta lab.MTA) {
		s := startSite(t, lab.SiteConfig{MTA: mta, TOML: withHost(lab.SiteTOML)})

		alone := lab.Plain("bob@acmecorp.com", "nobody@acmecorp.com", "to nobody")
		s.sendmail("bob@acmecorp.com", alone, "nobody@acmecorp.com")
		s.mustBounce(alone, s.Here, "bob@acmecorp.com", "nobody@acmecorp.com", "Status: 5.1.1")
		s.mustArrive(alone)

		among := lab.Plain("bob@acmecorp.com", "alice@acmecorp.com", "to one too many")
		s.sendmail("bob@acmecorp.com", among, "alice@acmecorp.com", "nobody@acmecorp.com", "bob@acmecorp.com")
		s.mustBounce(among, s.Here, "bob@acmecorp.com", "nobody@acmecorp.com", "Status: 5.1.1")
		s.mustArrive(among, "office365 alice@acmecorp-com.onmicrosoft.com", "here bob@acmecorp.com")

		fromThere := lab.Plain("alice@acmecorp.com", "nobody@acmecorp.com", "from one who lives elsewhere")
		s.sendmail("alice@acmecorp.com", fromThere, "nobody@acmecorp.com")
		s.mustBounce(fromThere, s.Office, "alice@acmecorp-com.onmicrosoft.com", "nobody@acmecorp.com", "Status: 5.1.1")
		s.mustArrive(fromThere)

		automatic := lab.Plain("bob@acmecorp.com", "nobody@acmecorp.com", "an automatic reply")
		s.sendmail("", automatic, "nobody@acmecorp.com")
		if !s.hostsEach {
			s.waitDaemonLog("msg=message.*from=\"\".*verdict=reject")
		}
		s.mustArrive(automatic)
	})
}

// mustWaitUndecided checks that one message is in the queue, before its
// recipients were decided, and that nothing has arrived anywhere.
func (s *site) mustWaitUndecided() {
	s.t.Helper()
	queue, err := s.Queue(deadline(s.t))
	if err != nil {
		s.t.Fatal(err)
	}
	if len(queue) != 1 || queue[0].Queue != s.hostQueue {
		s.t.Errorf("the queue holds %+v; it must hold one message, in %s", queue, s.hostQueue)
	}
	for place, sink := range s.sinks() {
		for _, d := range sink.All() {
			s.t.Errorf("mail from <%s> to %q arrived at %s:\n%s", d.From, d.To(), place, d.Data)
		}
	}
}

func (s *site) reload() string {
	s.t.Helper()
	line, err := s.Daemon.Reload(deadline(s.t))
	if err != nil {
		s.t.Fatal(err)
	}
	return line
}

func (s *site) flush() {
	s.t.Helper()
	if err := s.Flush(deadline(s.t)); err != nil {
		s.t.Fatal(err)
	}
}

func TestMailFromTheSendmailCommandWaitsWhileTheMailboxMoves(t *testing.T) {
	onEachMTA(t, func(t *testing.T, mta lab.MTA) {
		s := startSite(t, lab.SiteConfig{MTA: mta, TOML: withHost(lab.SiteTOML)})
		m := lab.Plain("bob@acmecorp.com", "dave@acmecorp.com", "to one who moves")
		s.sendmail("bob@acmecorp.com", m, "dave@acmecorp.com", "bob@acmecorp.com", "nobody@acmecorp.com")
		if s.hostsEach {
			s.do(s.WaitDeferred(deadline(t), "dave@acmecorp.com", "being moved"))
		} else {
			s.waitDaemonLog("msg=message.*verdict=tempfail.*450 4.2.1")
			s.mustWaitUndecided()
		}
		if err := s.WriteDirectory(strings.Replace(lab.SiteDirectory, "dave@acmecorp.com,moving", "dave@acmecorp.com,office365", 1)); err != nil {
			t.Fatal(err)
		}
		s.reload()
		s.flush()
		s.mustBounce(m, s.Here, "bob@acmecorp.com", "nobody@acmecorp.com")
		s.mustArrive(m, "office365 dave@acmecorp-com.onmicrosoft.com", "here bob@acmecorp.com")
	})
}

func TestMailFromTheSendmailCommandWaitsWhileTheDirectoryCannotBeRead(t *testing.T) {
	onEachMTA(t, func(t *testing.T, mta lab.MTA) {
		s := startSite(t, lab.SiteConfig{MTA: mta, TOML: withHost(lab.SiteTOML), Directory: "address,residence\nalice@acmecorp.com,nowhere\n"})
		m := lab.Plain("bob@acmecorp.com", "alice@acmecorp.com", "without a directory")
		s.sendmail("bob@acmecorp.com", m, "alice@acmecorp.com")
		s.do(s.WaitHostMailPutOff(deadline(t)))
		s.mustWaitUndecided()
		if err := s.WriteDirectory(lab.SiteDirectory); err != nil {
			t.Fatal(err)
		}
		s.waitDaemonLog("directory loaded")
		s.flush()
		s.mustArrive(m, "office365 alice@acmecorp-com.onmicrosoft.com")
	})
}

func TestMailFromTheSendmailCommandWaitsWhileTheDaemonIsAway(t *testing.T) {
	onEachMTA(t, func(t *testing.T, mta lab.MTA) {
		s := startSite(t, lab.SiteConfig{MTA: mta, TOML: withHost(lab.SiteTOML)})
		if err := s.Daemon.Stop(); err != nil {
			t.Fatal(err)
		}
		m := lab.Plain("bob@acmecorp.com", "alice@acmecorp.com", "without a daemon")
		s.sendmail("bob@acmecorp.com", m, "alice@acmecorp.com")
		s.do(s.WaitHostMailPutOff(deadline(t)))
		s.mustWaitUndecided()
		if err := s.StartDaemon(deadline(t)); err != nil {
			t.Fatal(err)
		}
		s.flush()
		s.mustArrive(m, "office365 alice@acmecorp-com.onmicrosoft.com")
	})
}
