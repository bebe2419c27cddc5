package sender_test

import (
	"strings"
	"testing"

	"coexistd/policy"
	"coexistd/scanners/sender"
)

const host = "mail.acmecorp.com"

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
		if got := sender.ClaimsHost(c.value, host); got != c.claims {
			t.Errorf("%q: got %v", c.value, got)
		}
		if sender.ClaimsHost(c.value, "") {
			t.Errorf("%q claims a host without name", c.value)
		}
	}
	for _, value := range []string{" xn--bcher-kva.example; spf=pass", " BÜCHER.example; spf=pass", " bücher.example 1; none"} {
		if !sender.ClaimsHost(value, "bücher.example") || !sender.ClaimsHost(value, "xn--bcher-kva.example") {
			t.Errorf("%q is not ours", value)
		}
	}
}

func TestResultsNameWhatWasFound(t *testing.T) {
	plain := sender.Question{Sender: address(t, "bob@acmecorp.com")}
	for _, c := range []struct {
		about string
		q     sender.Question
		found policy.Authentication
		dmarc []policy.AuthResult
		want  string
	}{
		{"nothing", sender.Question{}, policy.Authentication{}, nil, "spf=none;dkim=none"},
		{"all of them", plain, policy.Authentication{
			SPF:   policy.SPF{Result: policy.AuthPass, Domain: "acmecorp.com"},
			DKIM:  []policy.DKIM{{Result: policy.AuthFail, Domain: "x.example", Selector: "a"}, {Result: policy.AuthPass, Domain: "acmecorp.com", Selector: "s1"}},
			DMARC: []policy.DMARC{{Domain: "acmecorp.com"}, {Domain: "xn--bcher-kva.example"}},
		}, []policy.AuthResult{policy.AuthPass, policy.AuthNone},
			"spf=pass smtp.mailfrom=bob@acmecorp.com;dmarc=pass header.from=acmecorp.com;dmarc=none header.from=xn--bcher-kva.example;" +
				"dkim=pass header.d=acmecorp.com header.s=s1;dkim=fail header.d=x.example header.s=a"},
		{"HELO", sender.Question{}, policy.Authentication{SPF: policy.SPF{Result: policy.AuthSoftFail, Domain: "h.example", Helo: true}}, nil,
			"spf=softfail smtp.helo=h.example;dkim=none"},
		{"a local part that needs quotes", sender.Question{Sender: address(t, `"a b; x"@acmecorp.com`)}, policy.Authentication{SPF: policy.SPF{Result: policy.AuthNeutral, Domain: "acmecorp.com"}}, nil,
			"spf=neutral smtp.mailfrom=acmecorp.com;dkim=none"},
		{"a local part in UTF-8", sender.Question{Sender: address(t, "jörg@bücher.example")}, policy.Authentication{SPF: policy.SPF{Result: policy.AuthTempError, Domain: "xn--bcher-kva.example"}}, nil,
			"spf=temperror smtp.mailfrom=xn--bcher-kva.example;dkim=none"},
		{"a signature whose domain cannot be read", plain, policy.Authentication{DKIM: []policy.DKIM{{Result: policy.AuthPermError}}}, nil, "spf=none;dkim=permerror"},
	} {
		want := host + ";\n\t" + strings.ReplaceAll(c.want, ";", ";\n\t")
		if got := sender.Results(host, c.q, c.found, c.dmarc...); got != want {
			t.Errorf("%s:\ngot  %q\nwant %q", c.about, got, want)
		}
	}
	if got := sender.Results("Mail.Bücher.example", plain, policy.Authentication{}); !strings.HasPrefix(got, "mail.xn--bcher-kva.example;") {
		t.Errorf("a host in UTF-8: %q", got)
	}
}

func TestResultsAreBoundedAndKeepWhatPassed(t *testing.T) {
	long := strings.Repeat(strings.Repeat("a", 60)+".", 4) + "example"
	found := policy.Authentication{SPF: policy.SPF{Result: policy.AuthPass, Domain: long}}
	for range 10 {
		found.DKIM = append(found.DKIM, policy.DKIM{Result: policy.AuthFail, Domain: long, Selector: long})
	}
	found.DKIM = append(found.DKIM, policy.DKIM{Result: policy.AuthPass, Domain: "acmecorp.com", Selector: "s"})
	got := sender.Results(host, sender.Question{Sender: address(t, "bob@"+long)}, found)
	if len(got) > 1024+len(host) || !strings.Contains(got, "header.d=acmecorp.com header.s=s") {
		t.Errorf("%d bytes: %s", len(got), got)
	}
}

func FuzzClaimsHost(f *testing.F) {
	f.Add(" (x) \"mail.acmecorp.com\" 1; spf=pass")
	f.Add(" mail.acme(x)corp.com\n\t;;")
	f.Fuzz(func(t *testing.T, value string) {
		claims := sender.ClaimsHost(value, host)
		// The RFC's plain form is always found.
		if word, _, _ := strings.Cut(strings.TrimSpace(value), ";"); strings.EqualFold(strings.TrimSpace(word), host) && !claims {
			t.Errorf("%q is not ours", value)
		}
		if claims && !sender.ClaimsHost("\r\n\t(a comment) "+value, host) {
			t.Errorf("%q is ours, but not when a comment stands before it", value)
		}
	})
}

func FuzzResults(f *testing.F) {
	f.Add("bob@acmecorp.com", "mail.client.example", "acmecorp.com", "s")
	f.Add("\"a\\\"b\n c\"@x.example", "[\x00", "ü.example", ";\n\t x=y")
	f.Fuzz(func(t *testing.T, path, helo, domain, selector string) {
		from, err := policy.ParseAddress(path, "")
		if err != nil {
			return
		}
		// Domains come in normal form, as those who find them promise.
		domain, err = policy.NormalDomain(domain)
		if err != nil {
			domain = ""
		}
		selector, err = policy.NormalDomain(selector)
		if err != nil {
			selector = ""
		}
		got := sender.Results(host, sender.Question{Sender: from, Helo: helo}, policy.Authentication{
			SPF:   policy.SPF{Result: policy.AuthFail, Domain: from.Domain, Helo: from.IsNull()},
			DKIM:  []policy.DKIM{{Result: policy.AuthPass, Domain: domain, Selector: selector}},
			DMARC: []policy.DMARC{{Domain: domain}},
		}, policy.AuthFail)
		if len(got) > 1024+len(host) || !sender.ClaimsHost(got, host) {
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
