package lab

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/dns/dnsmessage"
)

func startDNS(t *testing.T) *DNS {
	t.Helper()
	d, err := StartDNS()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := d.Close(); err != nil {
			t.Error(err)
		}
	})
	return d
}

// resolver is Go's own, over UDP, and over TCP where an answer is truncated.
func resolver(d *DNS) *net.Resolver {
	return &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, network, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, network, d.Addr)
	}}
}

// query sends one question over UDP.
func query(t *testing.T, d *DNS, name string, kind dnsmessage.Type, edns int) (m dnsmessage.Message) {
	t.Helper()
	q := dnsmessage.Message{
		Header:    dnsmessage.Header{ID: 7, RecursionDesired: true},
		Questions: []dnsmessage.Question{{Name: dnsmessage.MustNewName(name), Type: kind, Class: dnsmessage.ClassINET}},
	}
	if edns > 0 {
		opt := dnsmessage.Resource{Body: &dnsmessage.OPTResource{}}
		opt.Header.SetEDNS0(edns, dnsmessage.RCodeSuccess, false)
		q.Additionals = append(q.Additionals, opt)
	}
	packet, err := q.Pack()
	if err != nil {
		t.Fatal(err)
	}
	conn, err := net.Dial("udp", d.Addr)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	end, _ := deadline(t).Deadline()
	conn.SetDeadline(end)
	if _, err := conn.Write(packet); err != nil {
		t.Fatal(err)
	}
	answer := make([]byte, 65536)
	n, err := conn.Read(answer)
	if err == nil {
		err = m.Unpack(answer[:n])
	}
	if err != nil {
		t.Fatal(err)
	}
	if m.ID != 7 || !m.Response || !slices.Equal(m.Questions, q.Questions) {
		t.Errorf("the answer to %s is %+v", name, m)
	}
	return m
}

func TestTheNameServerGivesWhatWasSet(t *testing.T) {
	t.Parallel()
	d := startDNS(t)
	long := strings.Repeat("0123456789", 60)
	d.Set("acmecorp.com", "TXT", "v=spf1 -all", long, "")
	d.Set("acmecorp.com.", "MX", "10 mx.acmecorp.com", "20 MX2.acmecorp.com.")
	d.Set("acmecorp.com", "NS", "ns.acmecorp.com")
	d.Set("mx.acmecorp.com", "A", "127.0.3.1", "127.0.3.2")
	d.Set("mx.acmecorp.com", "AAAA", "2001:db8::1")
	d.Set("mail.acmecorp.com", "CNAME", "alias.acmecorp.com")
	d.Set("alias.acmecorp.com", "CNAME", "mx.acmecorp.com")
	d.Set("1.3.0.127.in-addr.arpa", "PTR", "mx.acmecorp.com")
	d.Set("example.org", "MX", "0 .")
	r, ctx := resolver(d), deadline(t)
	mx := func(name string) (found []string, err error) {
		records, err := r.LookupMX(ctx, name)
		for _, m := range records {
			found = append(found, fmt.Sprintf("%d %s", m.Pref, m.Host))
		}
		return found, err
	}
	ns := func(name string) (found []string, err error) {
		records, err := r.LookupNS(ctx, name)
		for _, n := range records {
			found = append(found, n.Host)
		}
		return found, err
	}
	for _, test := range []struct {
		what   string
		lookup func(string) ([]string, error)
		name   string
		want   []string
	}{
		{"TXT", func(n string) ([]string, error) { return r.LookupTXT(ctx, n) }, "AcmeCorp.com.", []string{"v=spf1 -all", long, ""}},
		{"MX", mx, "acmecorp.com.", []string{"10 mx.acmecorp.com.", "20 MX2.acmecorp.com."}},
		{"null MX", mx, "example.org.", []string{"0 ."}},
		{"NS", ns, "acmecorp.com.", []string{"ns.acmecorp.com."}},
		{"host", func(n string) ([]string, error) { return r.LookupHost(ctx, n) }, "mx.acmecorp.com.", []string{"127.0.3.1", "127.0.3.2", "2001:db8::1"}},
		{"alias", func(n string) ([]string, error) { return r.LookupHost(ctx, n) }, "mail.acmecorp.com.", []string{"127.0.3.1", "127.0.3.2", "2001:db8::1"}},
		{"PTR", func(n string) ([]string, error) { return r.LookupAddr(ctx, n) }, "127.0.3.1", []string{"mx.acmecorp.com."}},
	} {
		got, err := test.lookup(test.name)
		slices.Sort(got)
		slices.Sort(test.want)
		if err != nil || !slices.Equal(got, test.want) {
			t.Errorf("%s of %s: %q, %v; want %q", test.what, test.name, got, err, test.want)
		}
	}
	var chain []string
	for _, answer := range query(t, d, "mail.acmecorp.com.", dnsmessage.TypeAAAA, 0).Answers {
		chain = append(chain, answer.Header.Name.String()+" "+answer.Header.Type.String())
	}
	if want := []string{"mail.acmecorp.com. TypeCNAME", "alias.acmecorp.com. TypeCNAME", "mx.acmecorp.com. TypeAAAA"}; !slices.Equal(chain, want) {
		t.Errorf("the alias is answered with %q; want %q", chain, want)
	}
	txt := query(t, d, "acmecorp.com.", dnsmessage.TypeTXT, 4096)
	var lengths []int
	for _, part := range txt.Answers[1].Body.(*dnsmessage.TXTResource).TXT {
		lengths = append(lengths, len(part))
	}
	if want := []int{255, 255, 90}; !slices.Equal(lengths, want) {
		t.Errorf("600 bytes go out in strings of %d; want %d", lengths, want)
	}
}

func TestANameWithoutRecordsExistsOnlyAboveOthers(t *testing.T) {
	t.Parallel()
	d := startDNS(t)
	d.Set("_dmarc.mail.acmecorp.com", "TXT", "v=DMARC1; p=reject")
	d.Set("loop.example", "CNAME", "loop.example")
	d.Set("dangling.example", "CNAME", "nowhere.example")
	d.Set("gone.example", "A", "127.0.0.1")
	d.Set("gone.example", "A")
	for name, want := range map[string]dnsmessage.RCode{
		"_dmarc.mail.acmecorp.com.": dnsmessage.RCodeSuccess,
		"mail.acmecorp.com.":        dnsmessage.RCodeSuccess,
		"ACMEcorp.com.":             dnsmessage.RCodeSuccess,
		"other.acmecorp.com.":       dnsmessage.RCodeNameError,
		"corp.com.":                 dnsmessage.RCodeNameError,
		"x.mail.acmecorp.com.":      dnsmessage.RCodeNameError,
		"gone.example.":             dnsmessage.RCodeNameError,
		"dangling.example.":         dnsmessage.RCodeNameError,
		"loop.example.":             dnsmessage.RCodeSuccess,
	} {
		m := query(t, d, name, dnsmessage.TypeA, 0)
		if m.RCode != want || !m.RecursionAvailable {
			t.Errorf("an A of %s: %+v; want %s", name, m.Header, want)
		}
		if strings.HasSuffix(name, "com.") && len(m.Answers) > 0 {
			t.Errorf("an A of %s: %+v; want none", name, m.Answers)
		}
	}
}

func TestANameFailsAsToldUntilItIsCleared(t *testing.T) {
	t.Parallel()
	d := startDNS(t)
	d.Set("acmecorp.com", "TXT", "v=spf1 -all")
	for kind, want := range map[string]dnsmessage.RCode{DNSServFail: dnsmessage.RCodeServerFailure, DNSRefused: dnsmessage.RCodeRefused} {
		d.Fail("ACMEcorp.com", kind)
		if m := query(t, d, "acmecorp.com.", dnsmessage.TypeTXT, 0); m.RCode != want || len(m.Answers) > 0 {
			t.Errorf("%s: %+v; want %s", kind, m, want)
		}
	}
	if got := d.Asked("acmeCorp.com."); got != 2 {
		t.Errorf("the name was asked for %d times; want 2", got)
	}
	d.Fail("acmecorp.com", DNSSilent)
	for short := 100 * time.Millisecond; d.Asked("acmecorp.com") < 3; short *= 2 { // until the question has come
		ctx, cancel := context.WithTimeout(deadline(t), short)
		var failure *net.DNSError
		if got, err := resolver(d).LookupTXT(ctx, "acmecorp.com."); !errors.As(err, &failure) || !failure.IsTimeout {
			t.Errorf("silent: %q, %v; want a time-out", got, err)
		}
		cancel()
		if short > time.Minute {
			t.Fatal("the unanswered query is not counted")
		}
	}
	d.Clear("acmecorp.com")
	if m := query(t, d, "acmecorp.com.", dnsmessage.TypeTXT, 0); m.RCode != dnsmessage.RCodeNameError {
		t.Errorf("cleared: %+v; want no such name", m)
	}
	if got := d.Asked("example.org"); got != 0 {
		t.Errorf("a name that nobody asked for was asked for %d times", got)
	}
}

func TestAnAnswerTooLongForUDPComesOverTCP(t *testing.T) {
	t.Parallel()
	d := startDNS(t)
	for _, test := range []struct {
		bytes, edns int
		truncated   bool
	}{
		{300, 0, false}, {600, 0, true}, {600, 1232, false}, {600, 100, true}, {1300, 1232, true}, {5000, 4096, true}, {60_000, 1232, true},
	} {
		long := strings.Repeat("x", test.bytes)
		d.Set("long.example", "TXT", long)
		m := query(t, d, "long.example.", dnsmessage.TypeTXT, test.edns)
		if m.Truncated != test.truncated || (len(m.Answers) == 0) != test.truncated || m.RCode != dnsmessage.RCodeSuccess || (len(m.Additionals) > 0) != (test.edns > 0) {
			t.Errorf("%d bytes for %d: %+v; want truncated %v", test.bytes, test.edns, m.Header, test.truncated)
		}
		got, err := resolver(d).LookupTXT(deadline(t), "long.example.")
		if err != nil || len(got) != 1 || got[0] != long {
			t.Errorf("%d bytes over TCP: %d records, %v", test.bytes, len(got), err)
		}
	}
}

func TestTheNameServerTakesNoNonsense(t *testing.T) {
	t.Parallel()
	d := startDNS(t)
	for _, test := range [][]string{
		{"a.example", "SRV", "x"}, {"a.example", "A", "::1"}, {"a.example", "AAAA", "127.0.0.1"}, {"a.example", "A", "x"},
		{"a.example", "MX", "mx.example"}, {"a..example", "A", "127.0.0.1"}, {strings.Repeat("x", 64), "A", "127.0.0.1"},
		{"a.example", "CNAME", strings.Repeat("x.", 200)},
	} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("it took %q", test)
				}
			}()
			d.Set(test[0], test[1], test[2:]...)
		}()
	}
	conn, err := net.Dial("udp", d.Addr)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if _, err := conn.Write([]byte("nonsense")); err != nil {
		t.Fatal(err)
	}
	if m := query(t, d, "a.example.", dnsmessage.TypeA, 0); m.RCode != dnsmessage.RCodeNameError {
		t.Errorf("after nonsense: %+v", m)
	}
}
