package sender_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"coexistd/contrib/lab"
	"coexistd/scanners/sender"
)

func startDNS(t testing.TB) *lab.DNS {
	t.Helper()
	d, err := lab.StartDNS()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { d.Close() })
	return d
}

// unusedAddress is one on which nobody answers, and which says so.
func unusedAddress(t testing.TB) string {
	t.Helper()
	conn, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	return conn.LocalAddr().String()
}

// kindOf says what an error of the resolver is.
func kindOf(err error) string {
	var failed *net.DNSError
	switch {
	case err == nil:
		return "found"
	case !errors.As(err, &failed):
		return "another error: " + err.Error()
	case failed.IsNotFound && !failed.Temporary():
		return "not found"
	case failed.Temporary() && !failed.IsNotFound:
		return "temporary"
	}
	return fmt.Sprintf("both or neither: %+v", failed)
}

func TestTheResolverTellsWhatIsNotThereFromWhatCannotBeAsked(t *testing.T) {
	dns := startDNS(t)
	dns.Set("example.net", "TXT", "hello", strings.Repeat("long ", 3000))
	dns.Set("example.net", "MX", "10 mx.example.net", "20 mx2.example.net")
	dns.Set("mx.example.net", "A", "192.0.2.1", "192.0.2.2")
	dns.Set("mx.example.net", "AAAA", "2001:db8::1")
	dns.Set("four.example.net", "A", "192.0.2.4")
	dns.Set("alias.example.net", "CNAME", "mx.example.net")
	dns.Set("1.2.0.192.in-addr.arpa", "PTR", "mx.example.net")
	dns.Fail("servfail.example.net", lab.DNSServFail)
	dns.Fail("refused.example.net", lab.DNSRefused)
	dns.Fail("silent.example.net", lab.DNSSilent)
	patient, hasty := sender.NewResolver([]string{dns.Addr}), sender.NewResolver([]string{dns.Addr})
	hasty.SetPatience(100*time.Millisecond, 100*time.Millisecond)
	resolver := func(name string) *sender.Resolver {
		if strings.HasPrefix(name, "silent.") {
			return hasty
		}
		return patient
	}
	ctx := t.Context()

	for _, c := range []struct{ name, kind string }{
		{"example.net", "found"}, {"example.net.", "found"}, {"EXAMPLE.net", "found"},
		{"mx.example.net", "not found"}, {"none.example.net", "not found"}, {"example.org", "not found"},
		{"", "not found"}, {".", "not found"}, {"a b.example.net", "not found"}, {"bücher.example", "not found"}, {"a\x00.example.net", "not found"},
		{"x..example.net", "not found"}, {strings.Repeat("a.", 130) + "example.net", "not found"}, {strings.Repeat("a", 64) + ".example.net", "not found"},
		{"servfail.example.net", "temporary"}, {"refused.example.net", "temporary"}, {"silent.example.net", "temporary"},
	} {
		if found, err := resolver(c.name).LookupTXT(ctx, c.name); kindOf(err) != c.kind || (len(found) > 0) != (err == nil) {
			t.Errorf("TXT of %.40q: %s, want %s: %d records, %v", c.name, kindOf(err), c.kind, len(found), err)
		}
		if _, err := resolver(c.name).LookupTXT(ctx, c.name); kindOf(err) != c.kind {
			t.Errorf("TXT of %.40q, asked again: %s, want %s", c.name, kindOf(err), c.kind)
		}
	}
	for _, c := range []struct {
		name, kind string
		count      int
	}{
		{"mx.example.net", "found", 3}, {"four.example.net", "found", 1}, {"alias.example.net", "found", 3},
		{"example.net", "not found", 0}, {"none.example.net", "not found", 0}, {"192.0.2.1", "not found", 0}, {"::1", "not found", 0},
		{"servfail.example.net", "temporary", 0}, {"refused.example.net", "temporary", 0}, {"silent.example.net", "temporary", 0},
	} {
		found, err := resolver(c.name).LookupIPAddr(ctx, c.name)
		if kindOf(err) != c.kind || len(found) < c.count || len(found) > 3 {
			t.Errorf("addresses of %q: %s, want %s: %v, %v", c.name, kindOf(err), c.kind, found, err)
		}
	}
	if found, err := patient.LookupMX(ctx, "example.net"); err != nil || len(found) != 2 || found[0].Host != "mx.example.net." {
		t.Errorf("MX: %v, %v", found, err)
	}
	if found, err := patient.LookupAddr(ctx, "192.0.2.1"); err != nil || !slices.Equal(found, []string{"mx.example.net."}) {
		t.Errorf("PTR: %v, %v", found, err)
	}
	if found, err := patient.LookupAddr(ctx, "192.0.2.77"); kindOf(err) != "not found" {
		t.Errorf("PTR of another: %v, %v", found, err)
	}
}

func TestAnswersAreRememberedAndFailuresAreNot(t *testing.T) {
	dns := startDNS(t)
	dns.Set("a.example", "TXT", "one")
	dns.Set("huge.example", "TXT", strings.Repeat("x", 8<<10))
	dns.Fail("c.example", lab.DNSServFail)
	r := sender.NewResolver([]string{dns.Addr})
	now := time.Unix(1_800_000_000, 0)
	r.SetClock(func() time.Time { return now })

	ask := func(name, want string) {
		t.Helper()
		found, err := r.LookupTXT(t.Context(), name)
		if got := strings.Join(found, " "); got != want && (want != "" || err == nil) {
			t.Errorf("%s: %.40q, %v; want %q", name, got, err, want)
		}
	}
	asked := func(name string, want int) {
		t.Helper()
		if got := dns.Asked(name); got != want {
			t.Errorf("%s was asked for %d times, want %d", name, got, want)
		}
	}
	ask("a.example", "one")
	ask("A.Example.", "one")
	ask("b.example", "")
	dns.Set("a.example", "TXT", "two")
	dns.Set("b.example", "TXT", "new")
	now = now.Add(59 * time.Second)
	ask("a.example", "one")
	ask("b.example", "")
	asked("a.example", 1)
	asked("b.example", 1)
	now = now.Add(time.Second) // one minute: what was missing
	ask("a.example", "one")
	ask("b.example", "new")
	asked("a.example", 1)
	now = now.Add(4 * time.Minute) // five: what was found
	ask("a.example", "two")
	asked("a.example", 2)

	ask("c.example", "")
	dns.Clear("c.example")
	dns.Set("c.example", "TXT", "back")
	ask("c.example", "back")

	ask("huge.example", strings.Repeat("x", 8<<10))
	before := dns.Asked("huge.example")
	ask("huge.example", strings.Repeat("x", 8<<10))
	if dns.Asked("huge.example") == before {
		t.Error("a huge answer was kept")
	}
}

func TestTheNextServerAnswersForOneThatDoesNot(t *testing.T) {
	for _, how := range []string{lab.DNSServFail, lab.DNSRefused, lab.DNSSilent, "dead"} {
		t.Run(how, func(t *testing.T) {
			good := startDNS(t)
			good.Set("a.example", "TXT", "here")
			good.Set("b.example", "TXT", "here")
			first, bad := unusedAddress(t), startDNS(t)
			if how != "dead" {
				bad.Fail("a.example", how)
				bad.Fail("b.example", how)
				first = bad.Addr
			}
			r := sender.NewResolver([]string{first, good.Addr})
			r.SetPatience(2*time.Second, 20*time.Second)
			for _, name := range []string{"a.example", "b.example"} {
				found, err := r.LookupTXT(t.Context(), name)
				if err != nil || len(found) != 1 {
					t.Fatalf("%s: %v, %v", name, found, err)
				}
			}
			if how == lab.DNSSilent && bad.Asked("b.example") > 0 {
				t.Error("the silent server was waited for again")
			}
		})
	}
}

func TestALookupEndsWithItsContext(t *testing.T) {
	dns := startDNS(t)
	dns.Fail("silent.example", lab.DNSSilent)
	r := sender.NewResolver([]string{dns.Addr})
	r.SetPatience(time.Minute, time.Minute)
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	start := time.Now()
	if _, err := r.LookupTXT(ctx, "silent.example"); kindOf(err) != "temporary" {
		t.Errorf("got %v", err)
	}
	if took := time.Since(start); took >= time.Minute {
		t.Errorf("took %v", took)
	}
}

func TestManyMayAskAtOnce(t *testing.T) {
	dns := startDNS(t)
	for i := range 10 {
		dns.Set(fmt.Sprintf("n%d.example", i), "TXT", fmt.Sprint(i))
	}
	r := sender.NewResolver([]string{dns.Addr})
	var done sync.WaitGroup
	for i := range 200 {
		done.Go(func() {
			found, err := r.LookupTXT(t.Context(), fmt.Sprintf("n%d.example", i%10))
			if err != nil || !slices.Equal(found, []string{fmt.Sprint(i % 10)}) {
				t.Errorf("got %v, %v", found, err)
			}
		})
	}
	done.Wait()
}
