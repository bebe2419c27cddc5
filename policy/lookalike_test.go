package policy_test

import (
	"fmt"
	"strings"
	"testing"

	"coexistd/policy"
)

// seen is the outcome of a message at S0 whose authentication has nothing against it.
func (w *world) seen(t testing.TB, authors policy.Authors) string {
	t.Helper()
	return w.outcome(t, w.fromOutside(t, internetClient, "", authors, readAuthentication(t, "none", "", "", authors)))
}

func TestADomainThatLooksLikeOursIsTagged(t *testing.T) {
	for _, c := range []struct {
		domain string
		tagged bool
	}{
		{"acmec0rp.com", true},
		{"acrnecorp.com", true},
		{"acmecorp.com.evil.example", true},
		{"login.acmecorp.com.evil.example", true},
		{"acmec0rp.com.evil.example", true},
		{"mail.acmec0rp.com", true},
		{"ACMEC0RP.COM", true},
		{"аcmecorp.com", true}, // Cyrillic а
		{"асмесогр.com", true}, // all of it
		{"αcmecorp.com", true}, // Greek α
		{"acmecοrp.com", true}, // Greek ο
		{"acmecørp.com", true},
		{"acmécorp.com", true},
		{"acmecorṗ.com", true},
		{"xn--acmcorp-9gg.com", true}, // Cyrillic е, as it comes in a header
		{"acme.net.evil.example", true},
		{"eu.acmec0rp.com", true},
		{"acmecorp-com.0nmicrosoft.com", true},
		{"acmecorn-com.onmicrosoft.com", false}, // a p is no n

		{"acme-corp.com", false},
		{"acmecorps.com", false},
		{"myacmecorp.com", false},
		{"acmecorp.net", false},
		{"acmecorp.com.br", false}, // another's domain, below another public suffix
		{"acme.network", false},
		{"far.example", false},
		{"com", false},
		{"[192.0.2.1]", false},
		{"xn--a.example", false},
	} {
		w := newWorld().spoofing()
		expected := "accept"
		if c.tagged {
			expected = "tag look-alike"
		}
		want(t, c.domain, w.seen(t, w.writtenBy(t, "ceo@"+c.domain)), expected)
	}
}

func TestOneLetterStandsForThoseDrawnLikeIt(t *testing.T) {
	for ours, others := range map[string][]string{
		"willi.example": {"w1lli.example", "vvilli.example", "wiiii.example", "WILLI.example", "wıllı.example", "ԝіӏӏі.example"},
		"modern.de":     {"rnodern.de", "modem.de", "m0dern.de", "мodеrn.de"},
		"bücher.de":     {"bucher.de", "bûcher.de", "bücher.de", "xn--bcher-eva.de"},
		"почта.рф":      {"почтα.рф", "п0чта.рф"},
	} {
		normal, err := policy.NormalDomain(ours)
		if err != nil {
			t.Fatal(err)
		}
		w := newWorld().spoofing()
		w.Domains[normal] = &policy.Domain{Name: normal}
		for _, other := range others {
			if got, err := policy.NormalDomain(other); err == nil && got == normal {
				continue // it is ours
			}
			want(t, other+" for "+ours, w.seen(t, w.writtenBy(t, "ceo <x@evil.example>", other+" <y@evil.example>")), "tag look-alike")
		}
	}
}

func TestTextBesideAnAddressThatNamesOursIsTagged(t *testing.T) {
	for _, c := range []struct {
		display string
		tagged  bool
	}{
		{"ceo@acmecorp.com", true},
		{"Support (acmecorp.com)", true},
		{"Support of AcmeCorp.COM.", true},
		{"https://acmecorp.com/login", true},
		{"<ceo@eu.acmecorp.com>", true},
		{"ceo@hr.acmecorp.com", true},
		{"ceo@acmecorp-com.onmicrosoft.com", true},
		{"ceo@acmec0rp.com", true},
		{"ceo@аcmecorp.com", true},
		{"ceo@acmecorp.com.evil.example", true},
		{"ceo@acme\u00adcorp.com", true},
		{"ceo@acmecorp\u3002com", true},
		{"ceo@acmecorp․com", true}, // one dot leader
		{"\u202eceo@acmecorp.com", true},
		{"ceo\u2066@\u2069acmecorp.com", true},
		{"..acmecorp.com--", true},
		{strings.Repeat("a.", 200) + " acmecorp.com", true},

		{"Acme Corp", false},
		{"acmecorp", false},
		{"acmecorp. com", false},
		{"x@far.example", false},
		{"acme-corp.com", false},
		{"", false},
		{"\xff\xfe", false},
		{strings.Repeat("a", 5000) + " acmecorp.com", false}, // nobody is shown that
	} {
		w := newWorld().spoofing()
		expected := "accept"
		if c.tagged {
			expected = "tag look-alike"
		}
		authors := w.writtenBy(t, "x@evil.example")
		authors.From[0].Display = c.display
		want(t, fmt.Sprintf("%.60q", c.display), w.seen(t, authors), expected)
	}
}

func TestWhatIsProvenOursOrComesFromAServiceLooksLikeNothing(t *testing.T) {
	const trick = "ceo@acmecorp.com <x@esp.example>"
	for _, c := range []struct{ about, client, spf, dkim, want string }{
		{"nothing", internetClient, "pass esp.example", "pass esp.example", "tag look-alike"},
		{"signed by ours", internetClient, "none", "pass acmecorp.com", "accept"},
		{"signed by a subdomain of ours", internetClient, "none", "pass m.acmecorp.com", "accept"},
		{"from our envelope", internetClient, "pass acmecorp.com", "", "accept"},
		{"from our envelope, at a platform of many tenants", officeClient, "pass acmecorp.com", "", "tag look-alike"},
		{"signed by a service", internetClient, "none", "pass mailing.example", "accept"},
		{"from a service's network", serviceClient, "none", "", "accept"},
		{"the DNS failed", internetClient, "none", "temperror acmecorp.com", "tag look-alike"},
	} {
		w := newWorld().spoofing()
		authors := w.writtenBy(t, trick)
		m := w.fromOutside(t, c.client, "", authors, readAuthentication(t, c.spf, c.dkim, "", authors))
		want(t, c.about, w.outcome(t, m), c.want)
	}
}

func TestATagNamesEveryObjection(t *testing.T) {
	w := newWorld().spoofing()
	authors := w.writtenBy(t, "ceo@acmecorp.com <x@evil.example>")
	d := w.Decide(w.fromOutside(t, internetClient, "x@evil.example", authors, readAuthentication(t, "fail evil.example", "", "", authors)))
	if len(d.Headers) != 1 || d.Headers[0] != (policy.Field{Name: policy.TagHeader, Value: "spoof; SPF, look-alike"}) {
		t.Errorf("the headers are %v", d.Headers)
	}
	for _, why := range []string{"the client may not send for evil.example", "names acmecorp.com, which is ours"} {
		if !strings.Contains(d.Findings[0].Reason, why) {
			t.Errorf("the reason %q lacks %q", d.Findings[0].Reason, why)
		}
	}
}

func TestOfTwoDomainsThatLookAlikeTheFirstIsNamed(t *testing.T) {
	for range 50 {
		w := newWorld().spoofing()
		for _, name := range []string{"corn.example", "com.example", "c0rn.example"} {
			w.Domains[name] = &policy.Domain{Name: name}
		}
		authors := w.writtenBy(t, "x@c0m.example")
		d := w.Decide(w.fromOutside(t, internetClient, "", authors, readAuthentication(t, "none", "", "", authors)))
		want(t, "the reason", d.Findings[0].Reason, "the domain c0m.example looks like c0rn.example, which is ours")
	}
}

// hostileAuthors are about the worst that ReadAuthors lets through: 100 mailboxes,
// 64 KB of text, and a group's name beside each of its mailboxes.
func hostileAuthors(w *world, t testing.TB) map[string]policy.Authors {
	beside := func(display func(i int) string) policy.Authors {
		authors := policy.Authors{Fields: 1}
		for i := range 100 {
			authors.From = append(authors.From, policy.Author{Address: w.address(t, "a@e.co"), Display: display(i)})
		}
		return authors
	}
	unreadable := func(text string) policy.Authors {
		return policy.Authors{Fields: 1, Broken: "it cannot be read", Text: text[:min(len(text), 64<<10)]}
	}
	numbered := func(format string) string {
		var b strings.Builder
		for i := range 8000 {
			fmt.Fprintf(&b, format, i)
		}
		return b.String()
	}
	group := strings.Repeat("а.б ", 680)
	all := map[string]policy.Authors{
		"a group's name":             beside(func(int) string { return group }),
		"a group's name and another": beside(func(i int) string { return fmt.Sprint(group[:4000], i) }),
		"many words":                 beside(func(i int) string { return strings.Repeat(fmt.Sprintf("а%d.б ", i), 50) + fmt.Sprint(i, ".а") }),
		"long words":                 beside(func(i int) string { return fmt.Sprint(i, strings.Repeat("á.", 80)) }),
		"comments that hold an @":    unreadable("<" + strings.Repeat(strings.Repeat("@(", 250)+")"+strings.Repeat("á\u0301", 60), 100)),
		"many domains":               unreadable(numbered("@é%d.é")),
		"long domains":               unreadable(numbered("@%d" + strings.Repeat("é.", 82))),
	}
	for about, text := range map[string]string{
		"domains of many labels": strings.Repeat(strings.Repeat("a.", 120)+" ", 17),
		"addresses":              strings.Repeat("a@b.c ", 680),
		"ats":                    strings.Repeat("@", 4096),
		"open comments":          strings.Repeat("@(", 2048),
		"empty comments":         strings.Repeat("@()", 1365),
		"marks":                  "a" + strings.Repeat("\u0301", 2040),
		"encoded labels":         strings.Repeat(strings.Repeat("xn--bcher-kva.", 18)+" ", 16),
		"letters of many bytes":  strings.Repeat(strings.Repeat("é.", 80)+" ", 16),
		"letters that expand":    strings.Repeat("\ufdfa.", 1024),
	} {
		authors := beside(func(int) string { return text })
		authors.Broken, authors.Text = "it cannot be read", strings.Repeat(text, 16)
		all[about] = authors
	}
	return all
}

// hostileMessages are those of hostileAuthors, from outside and of a login.
func hostileMessages(t testing.TB) (*world, map[string]policy.Message) {
	w := newWorld().spoofing()
	all := make(map[string]policy.Message)
	for about, authors := range hostileAuthors(w, t) {
		all[about] = w.fromOutside(t, internetClient, "", authors, readAuthentication(t, "none", "", "", authors))
		own := authors
		own.From, own.Broken = nil, ""
		for _, author := range authors.From {
			own.From = append(own.From, policy.Author{Address: w.address(t, "bob@acmecorp.com"), Display: author.Display})
		}
		if len(own.From) > 0 {
			all[about+", of a login"] = w.submitted(t, "bob", "bob@acmecorp.com", own)
		}
	}
	return w, all
}

// What is looked at costs allocations, which do not depend on the machine.
func TestTheWorkForHostileTextIsBounded(t *testing.T) {
	w, all := hostileMessages(t)
	for about, m := range all {
		const most = 25_000
		if made := testing.AllocsPerRun(1, func() { w.Decide(m) }); made > most {
			t.Errorf("%s: %v allocations were made, and at most %d are right", about, made, most)
		} else {
			t.Logf("%s: %v allocations", about, made)
		}
	}
}

func BenchmarkHostileText(b *testing.B) {
	w, all := hostileMessages(b)
	for about, m := range all {
		b.Run(about, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				w.Decide(m)
			}
		})
	}
}

func TestMoreDomainsThanAreLookedAtAreTagged(t *testing.T) {
	for _, c := range []struct {
		domains int
		want    string
	}{{200, "accept"}, {201, "tag look-alike"}} {
		w := newWorld().spoofing()
		authors := w.writtenBy(t, "x@evil.example", "y@evil.example")
		text := strings.Repeat("www.", 10) // one that stands beside both is looked at once
		for i := range c.domains - 1 {
			text += fmt.Sprintf(" d%d.example", i)
		}
		authors.From[0].Display, authors.From[1].Display = text, text
		want(t, fmt.Sprint(c.domains), w.seen(t, authors), c.want)
	}
}

func TestTextIsNormalizedWhereverItsLettersStand(t *testing.T) {
	for n := range 600 {
		w := newWorld().spoofing()
		authors := w.writtenBy(t, "x@evil.example")
		authors.From[0].Display = strings.Repeat("\ufdfa", n%5) + strings.Repeat("e\u0301", n) + " ａｃｍｅcorp．com"
		if len(authors.From[0].Display) < 4096 {
			want(t, fmt.Sprint(n), w.seen(t, authors), "tag look-alike")
		}
	}
	for n := range 40 {
		w := newWorld().spoofing()
		authors := w.writtenBy(t, "x@evil.example")
		authors.From[0].Display = strings.Repeat("\u0301", n) + "/\ufdfa/ａcmecorp．ｃom" + strings.Repeat("\u0301", n%2)
		want(t, fmt.Sprint("marks, ", n), w.seen(t, authors), "tag look-alike")
	}
}

func FuzzLookalike(f *testing.F) {
	for _, text := range []string{"ceo@acmecorp.com", "acmec0rp.com", "xn--acmcorp-9gg.com", "аcmecorp.com.", "a@@b.c", "\u202e.\xff", "ﷺ.com", "-.-@-.-", "xn--.xn--"} {
		f.Add(text, "x@evil.example")
	}
	f.Fuzz(func(t *testing.T, display, from string) {
		w := newWorld().spoofing()
		address, err := policy.ParseAddress(from, w.Delimiters)
		if err != nil {
			return
		}
		authors := policy.Authors{Fields: 1, From: []policy.Author{{Address: address, Display: display}}}
		for _, m := range []policy.Message{
			w.fromOutside(t, internetClient, "", authors, readAuthentication(t, "none", "", "", authors)),
			w.submitted(t, "bob", "bob@acmecorp.com", authors),
		} {
			if first, again := w.outcome(t, m), w.outcome(t, m); first != again {
				t.Errorf("decided twice: %q and %q", first, again)
			}
		}
	})
}
