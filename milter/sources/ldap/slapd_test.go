package ldap

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"coexistd/contrib/lab"
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

// hanging is the URL of a proxy that passes on so many of the server's bytes, and then nothing.
func hanging(t *testing.T, url string, after int64) string {
	t.Helper()
	p, err := lab.StartProxy(strings.TrimPrefix(url, "ldap://"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.Close() })
	p.HangAfter(after)
	return "ldap://" + p.Addr
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
			o := asReader(hanging(t, s.URL, most))
			o.StartTLS, o.TLS, o.Timeout = startTLS, ours.Client("ldap.acmecorp.com", nil), 200*time.Millisecond
			if got, err := read(t, newReader(t, o)); err == nil || !strings.Contains(err.Error(), ": no answer within 200ms; ") {
				t.Errorf("after %d bytes, StartTLS %v: %q, %v", most, startTLS, got, err)
			}
		}
	}
	o := asReader(strings.Replace(hanging(t, s.URL, 0), "ldap:", "ldaps:", 1))
	o.Timeout = 200 * time.Millisecond
	if _, err := read(t, newReader(t, o)); err == nil || !strings.Contains(err.Error(), ": TLS: no answer within 200ms") && !strings.Contains(err.Error(), ": connecting: no answer within 200ms") {
		t.Error(err)
	}
}

func TestAConnectionThatTheServerEndedIsMadeAgain(t *testing.T) {
	t.Parallel()
	s := startSlapd(t, lab.SlapdConfig{LDIF: person("ann")})
	r := newReader(t, asReader(s.URL))
	before := mark(t, r)
	if csn := before["contextCSN 000 of "+s.URL]; csn == "" || before["progress of contextCSN 000"] != csn {
		t.Errorf("the mark is %q; want that of the server, and of all its replicas", before)
	}
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
	if got := readAll(t, o); !slices.Equal(got, []string{"ann@acmecorp.com office365 'ann' '' ", "bob@acmecorp.com here 'bob' '' "}) {
		t.Errorf("%q", got)
	}
	if err := s.Apply(deadline(t), "dn: "+cloud+"\nchangetype: delete\n"); err != nil {
		t.Fatal(err)
	}
	if got, err := read(t, newReader(t, o)); err == nil || !strings.Contains(err.Error(), "reading the group CN=cloud") {
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
			if got := readAll(t, o); !slices.Equal(got, r.rows) {
				t.Errorf("\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(r.rows, "\n"))
			}
		})
	}
}
