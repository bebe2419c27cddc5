package ldap

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	"coexistd/contrib/lab"
	"coexistd/milter/sources"
)

func deadline(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	t.Cleanup(cancel)
	return ctx
}

func startSlapd(t *testing.T, c lab.SlapdConfig) *lab.Slapd {
	t.Helper()
	s, err := lab.LendDirectories(t).StartSlapd(deadline(t), c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if t.Failed() {
			t.Log(s.Log())
		}
		if err := s.Stop(); err != nil {
			t.Error(err)
		}
	})
	return s
}

// person is an entry of LDIF.
func person(uid string, further ...string) string {
	return strings.Join(append([]string{
		"dn: uid=" + uid + ",ou=people," + lab.SlapdSuffix, "objectClass: inetOrgPerson", "objectClass: labMailRecipient",
		"uid: " + uid, "cn: " + uid, "sn: " + uid, "mail: " + uid + "@acmecorp.com",
	}, further...), "\n") + "\n\n"
}

// crowd are so many entries of LDIF.
func crowd(n int) string {
	var all strings.Builder
	for i := range n {
		all.WriteString(person(fmt.Sprintf("user%03d", i)))
	}
	return all.String()
}

// asReader are the options for the lab's reader.
func asReader(servers ...string) Options {
	o := people(servers...)
	o.Filter, o.Bind, o.Password = "(uid=*)", lab.SlapdReader, lab.SlapdReaderPassword
	return o
}

// proxy passes at most so many of the server's bytes on in each connection, and then ends
// the connection, or says nothing more.
func proxy(t *testing.T, to string, most int64, hang bool) (url string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			client, err := l.Accept()
			if err != nil {
				return
			}
			server, err := net.Dial("tcp", strings.TrimPrefix(to, "ldap://"))
			if err != nil {
				client.Close()
				continue
			}
			t.Cleanup(func() { client.Close(); server.Close() })
			go io.Copy(server, client)
			go func() {
				io.CopyN(client, server, most)
				if !hang {
					client.Close()
				}
			}()
		}
	}()
	return "ldap://" + l.Addr().String()
}

func TestReadsASlapdByEveryWayThere(t *testing.T) {
	t.Parallel()
	ours, err := lab.NewAuthority("ours")
	if err != nil {
		t.Fatal(err)
	}
	other, err := lab.NewAuthority("other")
	if err != nil {
		t.Fatal(err)
	}
	s := startSlapd(t, lab.SlapdConfig{LDIF: person("ann"), Authority: ours})
	plain := startSlapd(t, lab.SlapdConfig{})
	trusting := ours.Client("", nil)
	for name, change := range map[string]func(*Options){
		"plain":    func(o *Options) { o.Servers = []string{s.URL} },
		"StartTLS": func(o *Options) { o.Servers, o.StartTLS, o.TLS = []string{s.URL}, true, trusting },
		"ldaps":    func(o *Options) { o.Servers, o.TLS = []string{s.SecureURL}, trusting },
		"a name":   func(o *Options) { o.Servers, o.TLS = []string{s.SecureURL}, ours.Client("ldap.acmecorp.com", nil) },
		"ldapi":    func(o *Options) { o.Servers, o.StartTLS = []string{s.SocketURL}, true },
	} {
		o := asReader()
		change(&o)
		if got, err := read(t, newReader(t, o)); err != nil || !slices.Equal(got, []string{"ann@acmecorp.com"}) {
			t.Errorf("%s: %q, %v; want ann", name, got, err)
		}
	}
	for want, change := range map[string]func(*Options){
		": TLS: tls: failed to verify certificate: x509: certificate signed by unknown authority": func(o *Options) {
			o.Servers, o.TLS = []string{s.SecureURL}, other.Client("", nil)
		},
		": StartTLS: TLS handshake failed (tls: failed to verify certificate: x509: certificate is valid for ldap.acmecorp.com, not": func(o *Options) {
			o.Servers, o.StartTLS, o.TLS = []string{s.URL}, true, ours.Client("other.example", nil)
		},
		": StartTLS: it answers 2 (Protocol Error)": func(o *Options) {
			o.Servers, o.StartTLS = []string{plain.URL}, true
		},
		": binding as cn=reader,dc=acmecorp,dc=com: it answers 49 (Invalid Credentials); check": func(o *Options) {
			o.Servers, o.Password = []string{s.URL}, "wrong"
		},
		`: reading page 1 of (uid=*) below "ou=people,dc=acmecorp,dc=com": it answers 32 (No Such Object); name one`: func(o *Options) {
			o.Servers, o.Bind = []string{s.URL}, ""
		},
	} {
		o := asReader()
		change(&o)
		if got, err := read(t, newReader(t, o)); err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "secret") {
			t.Errorf("%q, %v; want %s", got, err, want)
		}
	}
}

func TestASlapdsLimitIsAnErrorAndPagesPassIt(t *testing.T) {
	t.Parallel()
	s := startSlapd(t, lab.SlapdConfig{LDIF: crowd(50), Limits: "size=20 size.pr=15 size.prtotal=unlimited"})
	o := asReader(s.URL)
	o.Page = 7
	r := newReader(t, o)
	if got, err := read(t, r); err != nil || len(got) != 50 || len(slices.Compact(got)) != 50 {
		t.Errorf("in pages of 7: %d, %v; want all 50", len(got), err)
	}
	if err := s.Limit(deadline(t), "size=20 size.pr=15 size.prtotal=30"); err != nil {
		t.Fatal(err)
	}
	// A connection keeps the limits that it had when it was bound.
	r.Close()
	got, err := read(t, r)
	if err == nil || !strings.Contains(err.Error(), "Limit Exceeded") || !strings.Contains(err.Error(), "raise the server's limits") {
		t.Errorf("with a limit of 30 in all: %d, %v", len(got), err)
	}
	o.Page = 0
	if got, err := read(t, newReader(t, o)); err == nil || !strings.Contains(err.Error(), "Limit Exceeded") {
		t.Errorf("in one page: %d, %v", len(got), err)
	}
}

func TestASlapdCutOrHungInTheMiddleOfAPageIsAnError(t *testing.T) {
	t.Parallel()
	s := startSlapd(t, lab.SlapdConfig{LDIF: crowd(200)})
	for want, c := range map[string]struct {
		hang    bool
		timeout time.Duration
	}{
		"unable to read LDAP response packet": {false, time.Minute},
		"no answer within 2s":                 {true, 2 * time.Second},
	} {
		o := asReader(proxy(t, s.URL, 5000, c.hang))
		o.Page, o.Timeout = 150, c.timeout
		got, err := read(t, newReader(t, o))
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%d, %v; want %s", len(got), err, want)
		}
		if !c.hang && (len(got) == 0 || len(got) > 150) {
			t.Errorf("%d entries came before the connection was cut; want a part of a page", len(got))
		}
	}
}

func TestNoStepWaitsLongerThanTheTimeout(t *testing.T) {
	t.Parallel()
	ours, err := lab.NewAuthority("ours")
	if err != nil {
		t.Fatal(err)
	}
	s := startSlapd(t, lab.SlapdConfig{LDIF: person("ann"), Authority: ours})
	// The answers to StartTLS and to a bind have 14 bytes.
	for _, most := range []int64{0, 14} {
		for _, startTLS := range []bool{false, true} {
			o := asReader(proxy(t, s.URL, most, true))
			o.StartTLS, o.TLS, o.Timeout = startTLS, ours.Client("ldap.acmecorp.com", nil), 200*time.Millisecond
			if got, err := read(t, newReader(t, o)); err == nil || !strings.HasSuffix(err.Error(), ": no answer within 200ms") {
				t.Errorf("after %d bytes, StartTLS %v: %q, %v", most, startTLS, got, err)
			}
		}
	}
	o := asReader(strings.Replace(proxy(t, s.URL, 0, true), "ldap:", "ldaps:", 1))
	o.Timeout = 200 * time.Millisecond
	if _, err := read(t, newReader(t, o)); err == nil || !strings.HasSuffix(err.Error(), ": TLS: no answer within 200ms") && !strings.HasSuffix(err.Error(), ": connecting: no answer within 200ms") {
		t.Error(err)
	}
}

func TestASlapdThatIsAwayOrHungIsLeftForTheNext(t *testing.T) {
	t.Parallel()
	s := startSlapd(t, lab.SlapdConfig{LDIF: person("ann")})
	away := startSlapd(t, lab.SlapdConfig{})
	if err := away.Kill(); err != nil {
		t.Fatal(err)
	}
	o := asReader(away.URL, proxy(t, s.URL, 0, true), s.URL)
	r := newReader(t, o)
	r.o.Timeout = time.Second
	// Only the two that fail do so in that time, whatever the machine has to do.
	for r.servers[0].failed.IsZero() || r.servers[1].failed.IsZero() {
		r.Mark(deadline(t))
	}
	r.o.Timeout = time.Minute
	if got, err := read(t, r); err != nil || len(got) != 1 {
		t.Errorf("%q, %v", got, err)
	}
	if m := mark(t, r); len(m) != 1 {
		t.Errorf("the mark is %v", m)
	}
}

func TestAConnectionThatTheServerEndedIsMadeAgain(t *testing.T) {
	t.Parallel()
	s := startSlapd(t, lab.SlapdConfig{LDIF: person("ann")})
	r := newReader(t, asReader(s.URL))
	before := mark(t, r)
	if err := errors.Join(s.Kill(), s.Start(deadline(t))); err != nil {
		t.Fatal(err)
	}
	if got, err := read(t, r); err != nil || len(got) != 1 {
		t.Errorf("%q, %v; want ann", got, err)
	}
	if m := mark(t, r); m.WentBack(before) || !r.servers[0].failed.IsZero() {
		t.Errorf("from %v to %v, and the server failed at %v", before, m, r.servers[0].failed)
	}
}

func TestTheMarkOfASlapdIsItsContextCSN(t *testing.T) {
	t.Parallel()
	s := startSlapd(t, lab.SlapdConfig{LDIF: person("ann")})
	r := newReader(t, asReader(s.URL))
	first := mark(t, r)
	if again := mark(t, r); len(first) != 1 || !again.Same(first) {
		t.Errorf("without a change: %v, then %v", first, again)
	}
	if _, err := read(t, r); err != nil {
		t.Fatal(err)
	}
	backup, err := s.Backup(deadline(t))
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Apply(deadline(t), person("bob")); err != nil {
		t.Fatal(err)
	}
	second := mark(t, r)
	if second.Same(first) || second.WentBack(first) {
		t.Errorf("after a change: %v, then %v", first, second)
	}
	if got, err := read(t, r); err != nil || len(got) != 2 {
		t.Errorf("%q, %v; want both", got, err)
	}
	if err := s.Restore(deadline(t), backup); err != nil {
		t.Fatal(err)
	}
	if third := mark(t, r); !third.WentBack(second) {
		t.Errorf("after a restored backup: %v, then %v; want it to go back", second, third)
	}
}

func TestAnAttributeThatTheServerCallsOtherwiseIsAnError(t *testing.T) {
	t.Parallel()
	o := asReader(startSlapd(t, lab.SlapdConfig{LDIF: person("ann")}).URL)
	o.Address = []string{"rfc822Mailbox"}
	if got, err := read(t, newReader(t, o)); err == nil || !strings.Contains(err.Error(), `it calls an attribute "mail" that was not asked for`) {
		t.Errorf("%q, %v", got, err)
	}
}

func TestMembersOfASlapdsGroupLiveWhereItSays(t *testing.T) {
	t.Parallel()
	s := startSlapd(t, lab.SlapdConfig{LDIF: person("ann") + person("bob")})
	const cloud = "cn=Cloud,ou=groups," + lab.SlapdSuffix
	if err := s.Apply(deadline(t), "dn: "+cloud+"\nobjectClass: groupOfNames\ncn: Cloud\nmember: uid=ann,ou=people,"+lab.SlapdSuffix+"\n"); err != nil {
		t.Fatal(err)
	}
	o := asReader(s.URL)
	o.Residence = Residence{Groups: []Choice{{"CN=cloud, OU=groups, " + lab.SlapdSuffix, "office365"}}, Default: "here"}
	var got []string
	r := newReader(t, o)
	if err := r.Read(deadline(t), func(row sources.Row) error {
		got = append(got, row.Address+" "+row.Residence)
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	if slices.Sort(got); !slices.Equal(got, []string{"ann@acmecorp.com office365", "bob@acmecorp.com here"}) {
		t.Errorf("%q", got)
	}
	if err := s.Apply(deadline(t), "dn: "+cloud+"\nchangetype: delete\n"); err != nil {
		t.Fatal(err)
	}
	if got, err := read(t, r); err == nil || !strings.Contains(err.Error(), "reading the group CN=cloud") {
		t.Errorf("%q, %v; want an error, since the group is gone", got, err)
	}
}

func TestEachPresetFindsItsEntriesOnARealServer(t *testing.T) {
	for _, r := range recordings {
		t.Run(r.preset, func(t *testing.T) {
			t.Parallel()
			s := startSlapd(t, lab.SlapdConfig{LDIF: strings.TrimSpace(r.entries) + "\n\n", Schema: r.schema})
			o := r.options()
			o.Servers, o.Bind, o.Password, o.Page = []string{s.URL}, lab.SlapdReader, lab.SlapdReaderPassword, 2
			var got []string
			if err := newReader(t, o).Read(t.Context(), func(row sources.Row) error {
				got = append(got, shown(row))
				return nil
			}); err != nil {
				t.Fatal(err)
			}
			if slices.Sort(got); !slices.Equal(got, r.rows) {
				t.Errorf("\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(r.rows, "\n"))
			}
		})
	}
}
