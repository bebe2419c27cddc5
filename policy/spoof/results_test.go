package spoof_test

import (
	"strings"
	"testing"

	"coexistd/policy/mail"
	"coexistd/policy/spoof"
)

const host = "mail.acmecorp.com"

func (w *world) results(t testing.TB, host, sender string, found spoof.Authentication) string {
	t.Helper()
	f := w.facts(t, sender, spoof.Authors{})
	f.Authentication = &found
	return f.Results(host)
}

func TestAResultThatBearsOurNameIsFound(t *testing.T) {
	for _, c := range []struct {
		value  string
		claims bool
	}{
		{" mail.acmecorp.com; spf=pass", true},
		{"mail.acmecorp.com;spf=pass", true},
		{" mail.acmecorp.com 1; spf=pass", true},
		{" mail.acmecorp.com", true},
		{" mail.acmecorp.com; none", true},
		{" MAIL.AcmeCorp.COM; spf=pass", true},
		{" mail.acmecorp.com.; spf=pass", true},
		{"\n\tmail.acmecorp.com\n\t;\n\tspf=pass", true},
		{" \r\n mail.acmecorp.com 1;\r\n\tspf=pass", true},
		{` "mail.acmecorp.com"; spf=pass`, true},
		{` "mail\.acme\corp.com" 1; spf=pass`, true},
		{" (a comment) mail.acmecorp.com; spf=pass", true},
		{" (a (nested; one) here) mail.acmecorp.com (x) 1 (y); spf=pass", true},
		{" (mail.acmecorp.com) other.example; spf=pass", true},
		{" mail.acme(x)corp.com; spf=pass", true},
		{" mail . acmecorp . com 1; spf=pass", true},
		{" mail.acmecorp.com(x)1; spf=pass", true},
		{" mail.acmecorp.com spf=pass", true},
		{" mail.acmecorp.com/1; spf=pass", true},
		{" x@mail.acmecorp.com; spf=pass", true},
		{" other.example mail.acmecorp.com; spf=pass", true},
		{" (open mail.acmecorp.com; spf=pass", true},
		{` "open mail.acmecorp.com; spf=pass`, true},
		{" =?utf-8?q?mail.acmecorp.com?=; spf=pass", true},
		{" \x01mail.acme\x00corp.com; spf=pass", true},
		{" ｍail.ａcmecorp.com; spf=pass", true},
		{" mail。acmecorp。com; spf=pass", true},

		{"", false},
		{" ; spf=pass", false},
		{" other.example; spf=pass", false},
		{" other.example; spf=pass (mail.acmecorp.com: it was so)", false},
		{" other.example; spf=pass smtp.helo=mail.acmecorp.com", false},
		{` other.example; reason="mail.acmecorp.com; spf=pass"`, false},
		{" acmecorp.com; spf=pass", false},
		{" xmail.acmecorp.com; spf=pass", false},
		{" x.mail.acmecorp.com; spf=pass", false},
		{" x-mail.acmecorp.com; spf=pass", false},
		{" mail.acmecorp.com.evil.example; spf=pass", false},
		{" mail.acmecorp.community; spf=pass", false},
		{" mail.acmecorp.co; spf=pass", false},
		{" i=1; mail.acmecorp.com; spf=pass", false},
	} {
		if got := spoof.ClaimsHost(c.value, host); got != c.claims {
			t.Errorf("%q: got %v", c.value, got)
		}
		if spoof.ClaimsHost(c.value, "") {
			t.Errorf("%q claims a host without name", c.value)
		}
	}
	for _, value := range []string{" xn--bcher-kva.example; spf=pass", " BÜCHER.example; spf=pass", " bücher.example 1; none"} {
		if !spoof.ClaimsHost(value, "bücher.example") || !spoof.ClaimsHost(value, "xn--bcher-kva.example") {
			t.Errorf("%q is not ours", value)
		}
	}
}

func TestResultsNameWhatWasFound(t *testing.T) {
	w := newWorld()
	for _, c := range []struct {
		about string
		from  string
		found spoof.Authentication
		want  string
	}{
		{"nothing", "", spoof.Authentication{}, "spf=none;dkim=none"},
		{"all of them", "bob@acmecorp.com", spoof.Authentication{
			SPF:   spoof.SPF{Result: spoof.AuthPass, Domain: "acmecorp.com"},
			DKIM:  []spoof.DKIM{{Result: spoof.AuthFail, Domain: "x.example", Selector: "a"}, {Result: spoof.AuthPass, Domain: "acmecorp.com", Selector: "s1"}},
			DMARC: []spoof.DMARC{{Domain: "acmecorp.com", Lookup: spoof.AuthPass}, {Domain: "xn--bcher-kva.example"}},
		},
			"spf=pass smtp.mailfrom=bob@acmecorp.com;dmarc=pass header.from=acmecorp.com;dmarc=none header.from=xn--bcher-kva.example;" +
				"dkim=pass header.d=acmecorp.com header.s=s1;dkim=fail header.d=x.example header.s=a"},
		{"HELO", "", spoof.Authentication{SPF: spoof.SPF{Result: spoof.AuthSoftFail, Domain: "h.example", Helo: true}},
			"spf=softfail smtp.helo=h.example;dkim=none"},
		{"a local part that needs quotes", `"a b; x"@acmecorp.com`, spoof.Authentication{SPF: spoof.SPF{Result: spoof.AuthNeutral, Domain: "acmecorp.com"}},
			"spf=neutral smtp.mailfrom=acmecorp.com;dkim=none"},
		{"a local part in UTF-8", "jörg@bücher.example", spoof.Authentication{SPF: spoof.SPF{Result: spoof.AuthTempError, Domain: "xn--bcher-kva.example"}},
			"spf=temperror smtp.mailfrom=xn--bcher-kva.example;dkim=none"},
		{"a signature whose domain cannot be read", "bob@acmecorp.com", spoof.Authentication{DKIM: []spoof.DKIM{{Result: spoof.AuthPermError}}}, "spf=none;dkim=permerror"},
	} {
		want := host + ";\n\t" + strings.ReplaceAll(c.want, ";", ";\n\t")
		if got := w.results(t, host, c.from, c.found); got != want {
			t.Errorf("%s:\ngot  %q\nwant %q", c.about, got, want)
		}
	}
	if got := w.results(t, "Mail.Bücher.example", "bob@acmecorp.com", spoof.Authentication{}); !strings.HasPrefix(got, "mail.xn--bcher-kva.example;") {
		t.Errorf("a host in UTF-8: %q", got)
	}
}

func TestResultsAreBoundedAndKeepWhatPassed(t *testing.T) {
	long := strings.Repeat(strings.Repeat("a", 60)+".", 4) + "example"
	found := spoof.Authentication{SPF: spoof.SPF{Result: spoof.AuthPass, Domain: long}}
	for range 10 {
		found.DKIM = append(found.DKIM, spoof.DKIM{Result: spoof.AuthFail, Domain: long, Selector: long})
	}
	found.DKIM = append(found.DKIM, spoof.DKIM{Result: spoof.AuthPass, Domain: "acmecorp.com", Selector: "s"})
	got := newWorld().results(t, host, "bob@"+long, found)
	if len(got) > 1024+len(host) || !strings.Contains(got, "header.d=acmecorp.com header.s=s") {
		t.Errorf("%d bytes: %s", len(got), got)
	}
}

func FuzzClaimsHost(f *testing.F) {
	f.Add(" (x) \"mail.acmecorp.com\" 1; spf=pass")
	f.Add(" mail.acme(x)corp.com\n\t;;")
	f.Fuzz(func(t *testing.T, value string) {
		claims := spoof.ClaimsHost(value, host)
		// The RFC's plain form is always found.
		if word, _, _ := strings.Cut(strings.TrimSpace(value), ";"); strings.EqualFold(strings.TrimSpace(word), host) && !claims {
			t.Errorf("%q is not ours", value)
		}
		if claims && !spoof.ClaimsHost("\r\n\t(a comment) "+value, host) {
			t.Errorf("%q is ours, but not when a comment stands before it", value)
		}
	})
}

func FuzzResults(f *testing.F) {
	f.Add("bob@acmecorp.com", "mail.client.example", "acmecorp.com", "s")
	f.Add("\"a\\\"b\n c\"@x.example", "[\x00", "ü.example", ";\n\t x=y")
	f.Fuzz(func(t *testing.T, path, helo, domain, selector string) {
		from, err := mail.ParseAddress(path, "")
		if err != nil {
			return
		}
		// Domains come in normal form, as those who find them promise.
		domain, err = mail.NormalDomain(domain)
		if err != nil {
			domain = ""
		}
		selector, err = mail.NormalDomain(selector)
		if err != nil {
			selector = ""
		}
		if helo, err = mail.NormalDomain(helo); err != nil {
			helo = ""
		}
		asked := from.Domain
		if from.IsNull() {
			asked = helo
		}
		got := newWorld().results(t, host, path, spoof.Authentication{
			SPF:   spoof.SPF{Result: spoof.AuthFail, Domain: asked, Helo: from.IsNull()},
			DKIM:  []spoof.DKIM{{Result: spoof.AuthPass, Domain: domain, Selector: selector}},
			DMARC: []spoof.DMARC{{Domain: domain, Lookup: spoof.AuthPermError}},
		})
		if len(got) > 1024+len(host) || !spoof.ClaimsHost(got, host) {
			t.Errorf("got %q", got)
		}
		lines := strings.Split(got, "\n\t")
		if len(lines) > 4 {
			t.Errorf("%d results: %q", len(lines), got)
		}
		for i, line := range lines {
			if strings.ContainsFunc(line, func(c rune) bool { return c < ' ' || c > '~' }) || strings.Contains(strings.TrimSuffix(line, ";"), ";") || strings.HasSuffix(line, ";") != (i < len(lines)-1) {
				t.Errorf("got %q", got)
			}
		}
	})
}
