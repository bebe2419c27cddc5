package networks

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"coexistd/contrib/lab"
	"coexistd/policy/networks"
)

func startDNS(t *testing.T) (*lab.DNS, *net.Resolver) {
	t.Helper()
	d, err := lab.StartDNS()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := d.Close(); err != nil {
			t.Error(err)
		}
	})
	return d, &net.Resolver{PreferGo: true, StrictErrors: true, Dial: func(ctx context.Context, network, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, network, d.Addr)
	}}
}

// zone sets records written as "NAME TYPE VALUE".
func zone(d *lab.DNS, lines ...string) {
	type owner struct{ name, kind string }
	values := make(map[owner][]string)
	for _, line := range lines {
		part := strings.SplitN(line, " ", 3)
		o := owner{part[0], part[1]}
		values[o] = append(values[o], part[2])
	}
	for o, v := range values {
		d.Set(o.name, o.kind, v...)
	}
}

func prefixes(t testing.TB, text string) (list []netip.Prefix) {
	t.Helper()
	for field := range strings.FieldsSeq(text) {
		list = append(list, netip.MustParsePrefix(field))
	}
	return list
}

// ours are networks of our own.
func ours(t testing.TB, text string) networks.Set {
	t.Helper()
	return networks.SetOf(prefixes(t, text)...)
}

func wantPrefixes(t testing.TB, got []netip.Prefix, want string) {
	t.Helper()
	if !slices.Equal(got, prefixes(t, want)) {
		t.Errorf("the networks are %v; want %s", got, want)
	}
}

func TestAnSPFRecordGivesTheNetworksForWhichItSaysPass(t *testing.T) {
	for _, c := range []struct {
		name    string
		zone    []string
		want    string
		skipped string
	}{
		{"networks and addresses, sorted, once each", []string{
			"p.example TXT v=spf1 ip6:2001:db8::1 ip4:192.0.2.1 IP4:198.51.100.0/24 ip4:192.0.2.1/32 ip4:198.51.100.7 -all",
		}, "192.0.2.1/32 198.51.100.0/24 2001:db8::1/128", ""},
		{"bits beyond the length", []string{"p.example TXT v=spf1 ip4:192.0.2.77/24 ip6:2001:db8::1/32 ~all"}, "192.0.2.0/24 2001:db8::/32", ""},
		{"only one TXT record is SPF", []string{
			"p.example TXT v=spf10 ip4:192.0.2.9", "p.example TXT V=SPF1 ip4:192.0.2.1", "p.example TXT google-site-verification=x",
		}, "192.0.2.1/32", ""},
		{"as Office 365 has it", []string{
			"p.example TXT v=spf1 ip4:40.92.0.0/15 ip4:40.107.0.0/16 include:spfd.p.example -all",
			"spfd.p.example TXT v=spf1 ip4:51.4.72.0/24 ip6:2a01:111:f400::/48 -all",
		}, "40.92.0.0/15 40.107.0.0/16 51.4.72.0/24 2a01:111:f400::/48", ""},
		{"as Google has it", []string{
			"p.example TXT v=spf1 redirect=_spf.p.example",
			"_spf.p.example TXT v=spf1 include:_netblocks.p.example include:_netblocks2.p.example ~all",
			"_netblocks.p.example TXT v=spf1 ip4:35.190.247.0/24 ~all", "_netblocks2.p.example TXT v=spf1 ip6:2001:4860:4000::/36 ~all",
		}, "35.190.247.0/24 2001:4860:4000::/36", ""},
		{"a and mx", []string{
			"p.example TXT v=spf1 a a:web.p.example/28 mx/24//64 -all",
			"p.example A 192.0.2.1", "web.p.example A 198.51.100.18", "web.p.example AAAA 2001:db8:1::1",
			"p.example MX 10 in1.p.example", "p.example MX 20 in2.p.example", "in1.p.example A 203.0.113.5", "in2.p.example AAAA 2001:db8:2::25",
		}, "192.0.2.1/32 198.51.100.16/28 203.0.113.0/24 2001:db8:1::1/128 2001:db8:2::/64", ""},
		{"a chain of names", []string{"p.example TXT v=spf1 a:alias.p.example", "alias.p.example CNAME h.p.example", "h.p.example A 192.0.2.1"}, "192.0.2.1/32", ""},
		{"nothing behind all counts (RFC 7208 section 5.1)", []string{"p.example TXT v=spf1 ip4:192.0.2.1 ?all ip4:192.0.2.2 include:none.example redirect=none.example"}, "192.0.2.1/32", ""},
		{"redirect counts without all, wherever it stands", []string{"p.example TXT v=spf1 redirect=q.p.example ip4:192.0.2.1", "q.p.example TXT v=spf1 ip4:192.0.2.2 -all"}, "192.0.2.1/32 192.0.2.2/32", ""},
		{"another qualifier passes nobody", []string{"p.example TXT v=spf1 -ip4:192.0.2.1 ~ip4:192.0.2.2 ?ip4:192.0.2.3 +ip4:192.0.2.4 -all"}, "192.0.2.4/32", ""},
		{"what is taken out first stays out", []string{"p.example TXT v=spf1 -ip4:192.0.2.64/26 ?include:q.p.example ip4:192.0.2.0/24", "q.p.example TXT v=spf1 ip4:192.0.2.128 -all"},
			"192.0.2.0/26 192.0.2.129/32 192.0.2.130/31 192.0.2.132/30 192.0.2.136/29 192.0.2.144/28 192.0.2.160/27 192.0.2.192/26", ""},
		{"what is taken out later stays in", []string{"p.example TXT v=spf1 ip4:192.0.2.0/24 -ip4:192.0.2.64/26 -all"}, "192.0.2.0/24", ""},
		{"what an include takes out, others may put in", []string{"p.example TXT v=spf1 include:q.p.example ip4:192.0.2.0/31", "q.p.example TXT v=spf1 -ip4:192.0.2.0 ip4:192.0.2.0/30"}, "192.0.2.0/31 192.0.2.2/31", ""},
		{"what depends on the message is skipped", []string{"p.example TXT v=spf1 exists:%{i}._spf.p.example ptr ptr:p.example include:%{d}.q.example a:%{d}/24 ip4:192.0.2.1 -all"}, "192.0.2.1/32",
			`p.example: "exists:%{i}._spf.p.example"; p.example: "ptr"; p.example: "ptr:p.example"; p.example: "include:%{d}.q.example"; p.example: "a:%{d}/24"`},
		{"modifiers that name nobody", []string{"p.example TXT v=spf1 exp=why.p.example ra=postmaster x-1.y=%{z ip4:192.0.2.1"}, "192.0.2.1/32", ""},
		{"no client has an IPv4 address in IPv6 form", []string{"p.example TXT v=spf1 ip6:::ffff:198.51.100.1 ip4:192.0.2.1"}, "192.0.2.1/32", ""},
		{"two terms that find nothing, and no mail at all (RFC 7505)", []string{"p.example TXT v=spf1 a:gone.example mx ip4:192.0.2.1", "p.example MX 0 ."}, "192.0.2.1/32", ""},
		{"the same include twice is no circle", []string{"p.example TXT v=spf1 include:q.p.example include:r.p.example", "q.p.example TXT v=spf1 include:r.p.example", "r.p.example TXT v=spf1 ip4:192.0.2.1"}, "192.0.2.1/32", ""},
		{"ten lookups", tenLookups("ip4:192.0.2.1"), "192.0.2.1/32", ""},
		{"an IPv4 /8 and an IPv6 /24", []string{"p.example TXT v=spf1 ip4:17.0.0.0/8 ip6:2603:1000::/24"}, "17.0.0.0/8 2603:1000::/24", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			d, resolver := startDNS(t)
			zone(d, c.zone...)
			got, skipped, err := Flatten(t.Context(), resolver, "p.example")
			if err != nil {
				t.Fatal(err)
			}
			wantPrefixes(t, got, c.want)
			if s := strings.Join(skipped, "; "); s != c.skipped {
				t.Errorf("skipped are %s; want %s", s, c.skipped)
			}
		})
	}
}

// tenLookups is a chain of ten includes with a term at its end.
func tenLookups(last string) (lines []string) {
	name := "p.example"
	for i := range 10 {
		next := fmt.Sprintf("n%d.p.example", i)
		lines = append(lines, name+" TXT v=spf1 include:"+next)
		name = next
	}
	return append(lines, name+" TXT v=spf1 "+last)
}

func many(n int, format string) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, format, i>>8, i&0xff)
	}
	return b.String()
}

func TestARecordThatGivesNoSafeListIsAnError(t *testing.T) {
	for _, c := range []struct {
		name string
		zone []string
		want string
	}{
		{"no such domain", nil, "0 TXT records that begin with v=spf1"},
		{"no record", []string{"p.example TXT hello"}, "0 TXT records"},
		{"two records (RFC 7208 section 4.5)", []string{"p.example TXT v=spf1 ip4:192.0.2.1", "p.example TXT v=spf1 -all"}, "2 TXT records"},
		{"an empty list", []string{"p.example TXT v=spf1 -all"}, "names no network"},
		{"a list of what is skipped", []string{"p.example TXT v=spf1 exists:%{i}.p.example -all"}, "names no network"},
		{"all is taken out", []string{"p.example TXT v=spf1 -ip4:0.0.0.0/0 ip4:192.0.2.1"}, "names no network"},
		{"an include without a record (RFC 7208 section 5.2)", []string{"p.example TXT v=spf1 ip4:192.0.2.1 include:none.example"}, "none.example has 0 TXT records"},
		{"a redirect without a record (RFC 7208 section 6.1)", []string{"p.example TXT v=spf1 ip4:192.0.2.1 redirect=none.example"}, "none.example has 0 TXT records"},
		{"a mistake behind all (RFC 7208 section 4.6)", []string{"p.example TXT v=spf1 ip4:192.0.2.1 -all ip4:192.0.2"}, "is not a term"},
		{"a mistake in an include", []string{"p.example TXT v=spf1 ip4:192.0.2.1 include:q.p.example", "q.p.example TXT v=spf1 foo"}, "q.p.example: \"foo\" is not a term"},
		{"itself", []string{"p.example TXT v=spf1 ip4:192.0.2.1 include:P.example."}, "p.example → p.example leads back"},
		{"a circle", []string{"p.example TXT v=spf1 ip4:192.0.2.1 include:q.p.example", "q.p.example TXT v=spf1 redirect=p.example"}, "p.example → q.p.example → p.example leads back"},
		{"eleven lookups", tenLookups("ip4:192.0.2.1 a:h.p.example"), "more than 10 lookups"},
		{"eleven lookups, though some would not be made", []string{"p.example TXT v=spf1 ip4:192.0.2.1" + strings.Repeat(" ptr", 11)}, "more than 10 lookups"},
		{"three terms that find nothing", []string{"p.example TXT v=spf1 ip4:192.0.2.1 a:x.example mx:y.example a:z.example"}, "finds nothing"},
		{"eleven MX hosts", append([]string{"p.example TXT v=spf1 ip4:192.0.2.1 mx"}, strings.Split(strings.TrimSpace(many(11, "p.example MX 10 mx%d-%d.p.example\n")), "\n")...), "11 MX records"},
		{"the whole Internet", []string{"p.example TXT v=spf1 +all"}, "\"+all\" names the whole Internet"},
		{"the whole Internet, in an include", []string{"p.example TXT v=spf1 include:q.p.example -all", "q.p.example TXT v=spf1 all"}, "names the whole Internet"},
		{"half of the Internet", []string{"p.example TXT v=spf1 ip4:128.0.0.0/1"}, "wider than /8"},
		{"wide in IPv6", []string{"p.example TXT v=spf1 ip6:2600::/23"}, "wider than /24"},
		{"wide by an address", []string{"p.example TXT v=spf1 a/7", "p.example A 192.0.2.1"}, "wider than /8"},
		{"wide together", []string{"p.example TXT v=spf1 ip4:17.0.0.0/8 ip4:192.0.2.1"}, "together wider than a /8"},
		{"wide together in IPv6", []string{"p.example TXT v=spf1 ip6:2600::/24 ip6:2001:db8::1"}, "together wider than a /24"},
		{"a long record", []string{"p.example TXT v=spf1 " + many(1200, "ip4:10.0.%d.%d ")}, "the most that is read"},
		{"many networks", append([]string{
			"p.example TXT v=spf1 " + strings.Join(strings.Fields(many(9, "include:n%d-%d.p.example ")), " "),
		}, manyRecords(9, 1150)...), "more than 10000 networks"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			d, resolver := startDNS(t)
			zone(d, c.zone...)
			got, _, err := Flatten(t.Context(), resolver, "p.example")
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Fatalf("got %.200v, %v; want an error with %q", got, err, c.want)
			}
			if got != nil {
				t.Errorf("got %.200v beside the error", got)
			}
		})
	}
}

// manyRecords is n records of so many networks each.
func manyRecords(n, networks int) (lines []string) {
	for i := range n {
		lines = append(lines, fmt.Sprintf("n0-%d.p.example TXT v=spf1 ", i)+many(networks, fmt.Sprintf("ip4:%d.", i+1)+"%d.%d.1 "))
	}
	return lines
}

func TestAFailureOfTheDNSAnywhereIsAnErrorNotAListInPart(t *testing.T) {
	for _, name := range []string{"p.example", "q.p.example", "h.p.example", "m.p.example", "in.p.example"} {
		for _, kind := range []string{lab.DNSServFail, lab.DNSRefused} {
			t.Run(name+" "+kind, func(t *testing.T) {
				t.Parallel()
				d, resolver := startDNS(t)
				zone(d, "p.example TXT v=spf1 ip4:192.0.2.1 include:q.p.example a:h.p.example mx:m.p.example ~all",
					"q.p.example TXT v=spf1 ip4:192.0.2.2", "h.p.example A 192.0.2.3", "m.p.example MX 10 in.p.example", "in.p.example A 192.0.2.4")
				got, _, err := Flatten(t.Context(), resolver, "p.example")
				if err != nil {
					t.Fatal(err)
				}
				wantPrefixes(t, got, "192.0.2.1/32 192.0.2.2/32 192.0.2.3/32 192.0.2.4/32")
				d.Fail(name, kind)
				if got, _, err = Flatten(t.Context(), resolver, "p.example"); err == nil || !strings.Contains(err.Error(), name) || got != nil {
					t.Errorf("got %v, %v; want an error that names %s", got, err, name)
				}
			})
		}
	}
}

func TestFlattenEndsWithItsContext(t *testing.T) {
	d, resolver := startDNS(t)
	d.Fail("p.example", lab.DNSSilent)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if got, _, err := Flatten(ctx, resolver, "p.example"); err == nil {
		t.Errorf("got %v; want an error", got)
	}
}

func TestTermsOfARecord(t *testing.T) {
	for _, text := range []string{
		"ip4", "ip4:", "ip4:1.2.3", "ip4:1.2.3.4/", "ip4:1.2.3.4/33", "ip4:1.2.3.4/08", "ip4:1.2.3.4/-1", "ip4:2001:db8::", "ip4/8",
		"ip6:1.2.3.4", "ip6:2001:db8::/129", "ip6:fe80::1%eth0", "ip6:fe80::1%eth0/64", "ip6:[2001:db8::]",
		"a:", "a:localhost", "a:1.2.3.4", "a:x..example", "a:[1.2.3.4]", "a:x.example/33", "a/", "a//", "a/24//", "a/24/64", "a//129", "a/024", "a:x.example:y",
		"mx:x.example//64/24", "ptr/24", "ptr:", "include", "include:", "include:x", "include/24", "exists", "all:x.example", "all/8", "-", "+", "--all", "-redirect=x.example",
		"redirect=", "redirect=x", "1x=y", "=y", "foo", "foo:bar", "ip4:1.2.3.4\tall", "a:b\xc3\xbccher.example", "a:x.example\x00",
	} {
		if _, err := parseTerm(text); err == nil {
			t.Errorf("%q is taken for a term", text)
		}
	}
	if _, err := parseRecord("v=spf1 redirect=a.example redirect=b.example"); err == nil {
		t.Error("two redirects are taken (RFC 7208 section 6)")
	}
}

func FuzzRecord(f *testing.F) {
	for _, seed := range []string{
		"v=spf1", "v=spf1 ip4:192.0.2.0/24 -ip6:2001:db8::/32 ?a:x.example/24//64 mx//64 ~all", "v=spf1 include:%{d}.x.example redirect=_spf.x.example exp=%{s}",
		"v=spf1 ptr exists:%{ir}.%{v}._spf.%{d2} a/24", "v=spf1 ip6:::ffff:1.2.3.4/90",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		if !isSPF(text) {
			return
		}
		terms, err := parseRecord(text)
		if err != nil {
			return
		}
		for i, term := range terms {
			switch term.kind {
			case "all":
				if i != len(terms)-1 {
					t.Errorf("%q goes on behind all", text)
				}
			case "ip4", "ip6":
				if !term.prefix.IsValid() || term.prefix != term.prefix.Masked() || term.prefix.Addr().Is4() != (term.kind == "ip4") {
					t.Errorf("%q has the network %v", text, term.prefix)
				}
			case "a", "mx":
				if term.bits4 < 0 || term.bits4 > 32 || term.bits6 < 0 || term.bits6 > 128 {
					t.Errorf("%q has lengths of %d and %d", text, term.bits4, term.bits6)
				}
			case "include", "redirect":
				if !term.macro && !strings.Contains(term.domain, ".") {
					t.Errorf("%q has the domain %q", text, term.domain)
				}
			case "ptr", "exists":
			default:
				t.Errorf("%q has a term of the kind %q", text, term.kind)
			}
			if strings.ContainsAny(term.domain, "%/ []") || term.domain != strings.ToLower(term.domain) {
				t.Errorf("%q has the domain %q", text, term.domain)
			}
		}
	})
}

// The lists' arithmetic is held against sets of single addresses.
func TestListsHoldTheAddressesThatTheyShould(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	pick := func() (list []netip.Prefix) {
		for range random.IntN(6) {
			addr := netip.AddrFrom4([4]byte{192, 0, 2, byte(random.IntN(256))})
			list = append(list, netip.PrefixFrom(addr, 24+random.IntN(9)))
		}
		return list
	}
	holds := func(list []netip.Prefix, addr netip.Addr) bool {
		return slices.ContainsFunc(list, func(p netip.Prefix) bool { return p.Contains(addr) })
	}
	for range 2000 {
		in, out := pick(), pick()
		sorted := networks.Normal(in)
		var rest []netip.Prefix
		for _, prefix := range sorted {
			rest = append(rest, without(prefix, networks.SetOf(out...))...)
		}
		for i, prefix := range sorted {
			if i > 0 && (sorted[i-1].Overlaps(prefix) || sorted[i-1].Compare(prefix) >= 0) {
				t.Fatalf("%v is made %v", in, sorted)
			}
		}
		for last := range 256 {
			addr := netip.AddrFrom4([4]byte{192, 0, 2, byte(last)})
			if holds(in, addr) != holds(sorted, addr) {
				t.Fatalf("%v is made %v: %s differs", in, sorted, addr)
			}
			if holds(rest, addr) != (holds(in, addr) && !holds(out, addr)) {
				t.Fatalf("%v without %v is made %v: %s differs", in, out, rest, addr)
			}
		}
	}
}
