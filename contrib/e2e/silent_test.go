package e2e

import (
	"bufio"
	"fmt"
	"net"
	"path/filepath"
	"strings"
	"testing"

	"coexistd/contrib/lab"
)

// crowd opens so many connections on each socket of a site's daemon, which say nothing
// for as long as they are left open.
func (s *site) crowd(most int) {
	s.t.Helper()
	for _, socket := range []string{"milter.sock", "lookup.sock"} {
		for range most {
			conn, err := new(net.Dialer).DialContext(deadline(s.t), "unix", filepath.Join(s.Dir, socket))
			if err != nil {
				s.t.Fatal(err)
			}
			s.t.Cleanup(func() { conn.Close() })
		}
	}
}

// talk is an SMTP session in which a test says each command itself.
type talk struct {
	t *testing.T
	net.Conn
	in *bufio.Reader
}

func (s *site) talk(client string) *talk {
	s.t.Helper()
	from := &net.TCPAddr{IP: net.ParseIP(client)}
	conn, err := (&net.Dialer{LocalAddr: from}).DialContext(deadline(s.t), "tcp", s.Addr("public"))
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { conn.Close() })
	end, _ := deadline(s.t).Deadline()
	conn.SetDeadline(end)
	k := &talk{s.t, conn, bufio.NewReader(conn)}
	k.hears("220")
	k.says("250", "HELO client.example")
	return k
}

// says sends lines, and wants an answer to them with that code, which it returns.
func (k *talk) says(code string, lines ...string) string {
	k.t.Helper()
	if _, err := fmt.Fprint(k, strings.Join(lines, "\r\n")+"\r\n"); err != nil {
		k.t.Fatalf("%q: %v", lines, err)
	}
	return k.hears(code)
}

// ends says the content of a message whose envelope was said.
func (k *talk) ends(m []byte) {
	k.t.Helper()
	k.says("354", "DATA")
	k.says("250", strings.ReplaceAll(string(m), "\r\n.", "\r\n..")+".") // RFC 5321 section 4.5.2
}

func (k *talk) hears(code string) string {
	k.t.Helper()
	line, err := k.in.ReadString('\n')
	if !strings.HasPrefix(line, code) {
		k.t.Fatalf("%q was answered, and the error is %v; want %s", line, err, code)
	}
	return line
}

// Nobody who says nothing takes the place of mail, on neither kind of socket: what the MTA
// asks is answered, and a message that is under way comes to its end.
func TestSilentConnectionsKeepNoMailAway(t *testing.T) {
	onEachMTA(t, func(t *testing.T, mta lab.MTA) {
		const most = 100
		s := startSite(t, lab.SiteConfig{MTA: mta, TOML: fmt.Sprintf("max_connections = %d\n", most) + lab.SiteTOML})
		begun := s.talk(lab.FromInternet)
		begun.says("250", "MAIL FROM:<eve@example.net>")
		begun.says("250", "RCPT TO:<bob@acmecorp.com>")
		// On a slow machine the crowd may be gone by itself before the message comes.
		const yields = `msg="a connection gives way to a new one: max_connections are open"`
		for ctx, i := deadline(t), 0; !strings.Contains(s.Daemon.Log(), yields); i++ {
			if ctx.Err() != nil {
				t.Fatal("no connection has given way")
			}
			s.crowd(most)
			m := lab.Plain("eve@example.net", "alice@acmecorp.com", fmt.Sprintf("in a crowd %d", i))
			s.deliver(lab.FromInternet, lab.Mail{From: "eve@example.net", To: lab.To("alice@acmecorp.com"), Data: m})
			s.mustArrive(m, toAlice)
		}
		m := lab.Plain("eve@example.net", "bob@acmecorp.com", "begun before the crowd")
		begun.ends(m)
		s.mustArrive(m, toBob)
	})
}

// Where each connection is that of a client, the one that rests between two messages gives way
// to another. Its client is put off, as the MTA does while nobody answers, and can come again.
func TestAClientBetweenTwoMessagesWhoseConnectionGaveWayIsPutOff(t *testing.T) {
	onEachMTA(t, func(t *testing.T, mta lab.MTA) {
		s := startSite(t, lab.SiteConfig{MTA: mta, TOML: "max_connections = 2\n" + lab.SiteTOML})
		begin := func() *talk {
			one := s.talk(lab.FromInternet)
			one.says("250", "MAIL FROM:<eve@example.net>")
			one.says("250", "RCPT TO:<bob@acmecorp.com>")
			return one
		}
		first := lab.Plain("eve@example.net", "bob@acmecorp.com", "the first")
		resting := begin()
		resting.ends(first)
		s.mustArrive(first, toBob)
		busy := []*talk{begin(), begin()}
		// An MTA may not wait for what a milter says of the sender, and may not have seen yet that
		// nobody is there.
		if answer := resting.says("", "MAIL FROM:<eve@example.net>"); strings.HasPrefix(answer, "250") {
			resting.says("451", "RCPT TO:<bob@acmecorp.com>")
		} else if !strings.HasPrefix(answer, "451") {
			t.Errorf("the next message is answered with %q", answer)
		}
		for i, one := range busy {
			m := lab.Plain("eve@example.net", "bob@acmecorp.com", fmt.Sprintf("of a busy client %d", i))
			one.ends(m)
			one.says("221", "QUIT")
			s.mustArrive(m, toBob)
		}
		again := lab.Plain("eve@example.net", "bob@acmecorp.com", "once more")
		s.deliver(lab.FromInternet, lab.Mail{From: "eve@example.net", To: lab.To("bob@acmecorp.com"), Data: again})
		s.mustArrive(again, toBob)
	})
}
