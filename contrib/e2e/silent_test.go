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

// says sends lines, and wants an answer to them with that code.
func (k *talk) says(code string, lines ...string) {
	k.t.Helper()
	if _, err := fmt.Fprint(k, strings.Join(lines, "\r\n")+"\r\n"); err != nil {
		k.t.Fatalf("%q: %v", lines, err)
	}
	k.hears(code)
}

func (k *talk) hears(code string) {
	k.t.Helper()
	line, err := k.in.ReadString('\n')
	if !strings.HasPrefix(line, code) {
		k.t.Fatalf("%q was answered, and the error is %v; want %s", line, err, code)
	}
}

// Nobody who says nothing takes the place of mail, on neither kind of socket: what Postfix
// asks is answered, and a message that is under way comes to its end.
func TestSilentConnectionsKeepNoMailAway(t *testing.T) {
	t.Parallel()
	const most = 100
	s := startSite(t, lab.SiteConfig{TOML: fmt.Sprintf("max_connections = %d\n", most) + lab.SiteTOML})
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
	begun.says("354", "DATA")
	begun.says("250", strings.ReplaceAll(string(m), "\r\n.", "\r\n..")+".") // RFC 5321 section 4.5.2
	s.mustArrive(m, toBob)
}
