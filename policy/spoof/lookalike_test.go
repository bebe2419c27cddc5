package spoof_test

import (
	"fmt"
	"strings"
	"testing"

	"coexistd/policy/mail"
	"coexistd/policy/route"
	"coexistd/policy/spoof"
)

// seen is the outcome of a message at S0 whose authentication has nothing against it.
func (w *world) seen(t testing.TB, authors spoof.Authors) string {
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
		w := newWorld()
		expected := "accept"
		if c.tagged {
			expected = "tag look-alike"
		}
		want(t, c.domain, w.seen(t, writtenBy(t, "ceo@"+c.domain)), expected)
	}
}

func TestOneLetterStandsForThoseDrawnLikeIt(t *testing.T) {
	for ours, others := range map[string][]string{
		"willi.example": {"w1lli.example", "vvilli.example", "wiiii.example", "WILLI.example", "wıllı.example", "ԝіӏӏі.example"},
		"modern.de":     {"rnodern.de", "modem.de", "m0dern.de", "мodеrn.de"},
		"bücher.de":     {"bucher.de", "bûcher.de", "bücher.de", "xn--bcher-eva.de"},
		"почта.рф":      {"почтα.рф", "п0чта.рф"},
	} {
		normal, err := mail.NormalDomain(ours)
		if err != nil {
			t.Fatal(err)
		}
		w := newWorld()
		w.routes.Domains[normal] = &route.Domain{Name: normal}
		for _, other := range others {
			if got, err := mail.NormalDomain(other); err == nil && got == normal {
				continue // it is ours
			}
			want(t, other+" for "+ours, w.seen(t, writtenBy(t, "ceo <x@evil.example>", other+" <y@evil.example>")), "tag look-alike")
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
		{"\u202emoc.procemca@oec", true},
		{"\u202eeht OEC <moc.procemca@oec>", true},
		{"the CEO \u202emoc.procemca\u202c", true},
		{"\u202emoc.\u202dacmecorp\u202c@oec\u202c", true},
		{"\u202emoc.pr0cemca\u202c", true},
		{"\u202emoc.procemca", true},
		{"\u200f\u2066com\u2069.\u2066acmecorp\u2069\u200f", true},
		{"ceo@\u2068\u2066\u200e\u2069\u200fcom\u200f.\u200facmecorp\u2069", true},
		{"\u202b\u200fcom\u200f.\u200facmecorp\u202c", true},
		{"\u2067com\u200f.\u200facmecorp\u200f@\u200fceo\u2069", true},
		{"\u200fcom\u200f.\u200facmecorp", true}, // where the text's own direction counts
		{strings.Repeat("\u202b", 62) + "x", false},
		{strings.Repeat("\u202b", 63) + "x", true}, // programs differ in what they show
		{"ceo (at) acmecorp dot com", true},
		{"ceo[at]acmecorp[dot]com", true},
		{"ceo at acmecorp (dot) com", true},
		{"ceo@acmecorp . com", true},
		{"ceo @ acmecorp. com", true},
		{"the CEO, ceo @ acmecorp .com, speaking", true},

		{"Acme Corp", false},
		{"acmecorp", false},
		{"acmecorp. com", false},
		{"moc.procemca@oec", false}, // nothing turns it
		{"\u202emoc.proc-emca@oec", false},
		{"\u200fדוד x@evil.example.", false},
		{"Pat at Acme", false},
		{"looking at com dot acmecorp", false},
		{"ceo (at) far dot example", false},
		{"x@far.example", false},
		{"acme-corp.com", false},
		{"", false},
		{"\xff\xfe", false},
		{strings.Repeat("a", 5000) + " acmecorp.com", false}, // nobody is shown that
	} {
		w := newWorld()
		expected := "accept"
		if c.tagged {
			expected = "tag look-alike"
		}
		authors := writtenBy(t, "x@evil.example")
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
		w := newWorld()
		authors := writtenBy(t, trick)
		m := w.fromOutside(t, c.client, "", authors, readAuthentication(t, c.spf, c.dkim, "", authors))
		want(t, c.about, w.outcome(t, m), c.want)
	}
}

func TestOfTwoDomainsThatLookAlikeTheFirstIsNamed(t *testing.T) {
	for range 50 {
		w := newWorld()
		for _, name := range []string{"corn.example", "com.example", "c0rn.example"} {
			w.routes.Domains[name] = &route.Domain{Name: name}
		}
		authors := writtenBy(t, "x@c0m.example")
		f := w.find(w.fromOutside(t, internetClient, "", authors, readAuthentication(t, "none", "", "", authors)))
		want(t, "the reason", f.Reasons.String(), "the domain c0m.example looks like c0rn.example, which is ours")
	}
}

// hostileAuthors are about the worst that ReadAuthors lets through: 100 mailboxes,
// 64 KB of text, and a group's name beside each of its mailboxes.
func hostileAuthors(w *world, t testing.TB) map[string]spoof.Authors {
	beside := func(display func(i int) string) spoof.Authors {
		authors := spoof.Authors{Fields: 1}
		for i := range 100 {
			authors.From = append(authors.From, spoof.Author{Address: address(t, "a@e.co"), Display: display(i)})
		}
		return authors
	}
	unreadable := func(text string) spoof.Authors {
		return spoof.Authors{Fields: 1, Broken: "it cannot be read", Text: text[:min(len(text), 64<<10)]}
	}
	numbered := func(format string) string {
		var b strings.Builder
		for i := range 8000 {
			fmt.Fprintf(&b, format, i)
		}
		return b.String()
	}
	group := strings.Repeat("а.б ", 680)
	all := map[string]spoof.Authors{
		"turned, each otherwise":     beside(func(i int) string { return strings.Repeat("\u202ea.\u202d", 450) + fmt.Sprint(i) }),
		"words, each otherwise":      beside(func(i int) string { return strings.Repeat(fmt.Sprintf("a at b%d dot ", i), 290) }),
		"ours in words":              beside(func(i int) string { return strings.Repeat(fmt.Sprintf("a%d at acme dot net ", i), 190) }),
		"numbered ours":              beside(func(i int) string { return strings.Repeat(fmt.Sprintf("a%d@acme.net ", i), 290) }),
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
		"turned text":            strings.Repeat("\u202ea.\u202d", 455),
		"isolated text":          strings.Repeat("\u2067a.\u2069", 455),
		"lines":                  strings.Repeat("\u2029\u202ea", 600),
		"open isolates":          strings.Repeat("\u2068", 61) + strings.Repeat("!", 64<<10),
		"words for an @":         strings.Repeat("a at b dot c ", 315),
		"dashes around at":       strings.Repeat("-at", 1365),
	} {
		authors := beside(func(int) string { return text })
		authors.Broken, authors.Text = "it cannot be read", strings.Repeat(text, 16)
		all[about] = authors
	}
	return all
}

// hostileMessages are those of hostileAuthors, from outside and of a login.
func hostileMessages(t testing.TB) (*world, map[string]question) {
	w := newWorld()
	all := make(map[string]question)
	for about, authors := range hostileAuthors(w, t) {
		all[about] = w.fromOutside(t, internetClient, "", authors, readAuthentication(t, "none", "", "", authors))
		own := authors
		own.From, own.Broken = nil, ""
		for _, author := range authors.From {
			own.From = append(own.From, spoof.Author{Address: address(t, "bob@acmecorp.com"), Display: author.Display})
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
		if made := testing.AllocsPerRun(1, func() { w.find(m) }); made > most {
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
				w.find(m)
			}
		})
	}
}

func TestMoreDomainsThanAreLookedAtAreTagged(t *testing.T) {
	for _, c := range []struct {
		domains int
		want    string
	}{{200, "accept"}, {201, "tag look-alike"}} {
		w := newWorld()
		authors := writtenBy(t, "x@evil.example", "y@evil.example")
		text := strings.Repeat("www.", 10) // one that stands beside both is looked at once
		for i := range c.domains - 1 {
			text += fmt.Sprintf(" d%d.example", i)
		}
		authors.From[0].Display, authors.From[1].Display = text, text
		want(t, fmt.Sprint(c.domains), w.seen(t, authors), c.want)
	}
}

func TestMoreTextThanIsLookedAtIsTaggedAndOfALoginRefused(t *testing.T) {
	for _, c := range []struct {
		texts           int
		outside, inside string
	}{{16, "accept", "accept"}, {17, "tag look-alike", "reject many authors"}} {
		w := newWorld()
		strangers, own := spoof.Authors{Fields: 1}, spoof.Authors{Fields: 1}
		for i := range c.texts {
			text := fmt.Sprintf("%04096d", i)
			for range 2 { // a text that stands beside two is looked at once
				strangers.From = append(strangers.From, spoof.Author{Address: address(t, "x@evil.example"), Display: text})
				own.From = append(own.From, spoof.Author{Address: address(t, "bob@acmecorp.com"), Display: text})
			}
		}
		want(t, fmt.Sprint(c.texts, " from outside"), w.seen(t, strangers), c.outside)
		want(t, fmt.Sprint(c.texts, " of a login"), w.outcome(t, w.submitted(t, "bob", "bob@acmecorp.com", own)), c.inside)
	}
}

func TestTextIsNormalizedWhereverItsLettersStand(t *testing.T) {
	for n := range 600 {
		w := newWorld()
		authors := writtenBy(t, "x@evil.example")
		authors.From[0].Display = strings.Repeat("\ufdfa", n%5) + strings.Repeat("e\u0301", n) + " ａｃｍｅcorp．com"
		if len(authors.From[0].Display) < 4096 {
			want(t, fmt.Sprint(n), w.seen(t, authors), "tag look-alike")
		}
	}
	for n := range 40 {
		w := newWorld()
		authors := writtenBy(t, "x@evil.example")
		authors.From[0].Display = strings.Repeat("\u0301", n) + "/\ufdfa/ａcmecorp．ｃom" + strings.Repeat("\u0301", n%2)
		want(t, fmt.Sprint("marks, ", n), w.seen(t, authors), "tag look-alike")
	}
}

func FuzzLookalike(f *testing.F) {
	for _, text := range []string{"ceo@acmecorp.com", "acmec0rp.com", "xn--acmcorp-9gg.com", "аcmecorp.com.", "a@@b.c", "\u202e.\xff", "ﷺ.com", "-.-@-.-", "xn--.xn--",
		"ceo (at) acmecorp dot com", "Jones at acmecorp.com", "ceo @ acmecorp . com", "\u202emoc.procemca@oec", "(@)(.)[a]{dot}<at>. ."} {
		f.Add(text, "x@evil.example")
	}
	f.Fuzz(func(t *testing.T, display, from string) {
		w := newWorld()
		address, err := mail.ParseAddress(from, w.delimiters)
		if err != nil {
			return
		}
		authors := spoof.Authors{Fields: 1, From: []spoof.Author{{Address: address, Display: display}}}
		for _, m := range []question{
			w.fromOutside(t, internetClient, "", authors, readAuthentication(t, "none", "", "", authors)),
			w.submitted(t, "bob", "bob@acmecorp.com", authors),
		} {
			if first, again := w.outcome(t, m), w.outcome(t, m); first != again {
				t.Errorf("decided twice: %q and %q", first, again)
			}
		}
	})
}
