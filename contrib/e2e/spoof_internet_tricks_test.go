package e2e

import (
	"bytes"
	"slices"
	"strings"
	"testing"

	"coexistd/contrib/lab"
)

// tricky makes a message whose header begins with these lines.
func tricky(lines ...string) []byte {
	_, rest, _ := bytes.Cut(lab.Plain("", "bob@acmecorp.com", "a trick"), []byte("\r\n"))
	var head []byte
	if len(lines) > 0 {
		head = []byte(strings.Join(lines, "\r\n") + "\r\n")
	}
	return slices.Concat(head, rest)
}

// Each comes from a domain for which SPF passes and which publishes no policy, so
// that the trick alone decides. What is refused is refused for what it says of us;
// what only looks like us is marked.
func TestTricksFromTheInternetAgainstARealMTA(t *testing.T) {
	onEachMTA(t, func(t *testing.T, mta lab.MTA) {
		s := startInternet(t, lab.SiteConfig{MTA: mta, TOML: checkedTOML("", ""), Main: map[string]string{"message_reject_characters": `\0`}})
		s.tellDNS(map[string]string{"_dmarc.bank.example": "v=DMARC1; p=reject", "evil.example": usualSPF, "_dmarc.acmecorp.com": "v=DMARC1; p=none", "acmecorp.com": usualSPF})
		const (
			evil      = "x@evil.example"
			own       = "reject own domain"
			several   = "reject several From fields, own domain"
			garbled   = "reject unreadable author, own domain"
			alike     = "tag look-alike"
			both      = "reject unreadable author, own domain, look-alike"
			postfixes = "refused by Postfix" // as contrib/postfix advises
		)
		var done []judgedCase
		for _, c := range []struct {
			about, sender string
			lines         []string
			want          string
			results       string // empty: of an author whose domain publishes nothing
		}{
			{"an honest stranger", evil, []string{`From: "X of Evil, Inc." <x@evil.example>`}, "accept", ""},
			{"a comma outside quotes", evil, []string{"From: X of Evil, Inc. <x@evil.example>"}, "tag unreadable author", ""},
			{"our From alone", evil, []string{"From: ceo@acmecorp.com"}, own, ""},
			{"our From and our envelope", "ceo@acmecorp.com", []string{"From: ceo@acmecorp.com"}, "accept", "pass/pass/none"}, // the DNS lets this client
			{"two From lines, ours second", evil, []string{"From: x@evil.example", "From: ceo@acmecorp.com"}, several, ""},
			{"two From lines, ours first", evil, []string{"From: ceo@acmecorp.com", "From: x@evil.example"}, several, ""},
			{"two From lines far apart, the second in capitals", evil, []string{"From: x@evil.example", "X-A: b", "X-C: d", "FROM: ceo@acmecorp.com"}, several, ""},
			{"two From lines, both a stranger's", evil, []string{"From: x@evil.example", "From: y@evil.example"}, "reject several From fields", ""},
			{"a space before the colon", evil, []string{"X-A: b", "From : ceo@acmecorp.com"}, own, ""},
			{"a second From with a space before the colon", evil, []string{"From: x@evil.example", "From : ceo@acmecorp.com"}, several, ""},
			{"the field's name in capitals", evil, []string{"FROM: ceo@acmecorp.com"}, own, ""},
			{"the domain in capitals", evil, []string{"From: ceo@ACMECORP.Com"}, own, ""},
			{"a trailing dot", evil, []string{"From: ceo@acmecorp.com."}, own, ""},
			{"a trailing dot in brackets", evil, []string{"From: The CEO <ceo@acmecorp.com.>"}, own, ""},
			{"folded before the address", evil, []string{"From:", " ceo@acmecorp.com"}, own, ""},
			{"folded between name and address", evil, []string{"From: The", "\tCEO", "  <ceo@acmecorp.com>"}, own, ""},
			{"folded within the address", evil, []string{"From: ceo@", " acmecorp.com"}, own, ""},
			{"spaces within the address", evil, []string{"From: ceo @ acmecorp . com"}, own, ""},
			{"a comment within the address", evil, []string{"From: ceo@(evil.example)acmecorp.com"}, own, ""},
			{"a comment that is our address", evil, []string{"From: x@evil.example (ceo@acmecorp.com)"}, alike, ""},
			{"a comment with our address first", evil, []string{"From: (ceo@acmecorp.com) x@evil.example"}, alike, ""},
			{"a comment that does not end", evil, []string{"From: x@evil.example (ceo@acmecorp.com"}, both, ""},
			{"a display name that is our address", evil, []string{`From: "ceo@acmecorp.com" <x@evil.example>`}, alike, ""},
			{"a display name that is our address, not in quotes", evil, []string{"From: ceo@acmecorp.com <x@evil.example>"}, alike, ""},
			{"a display name with our domain", evil, []string{`From: "CEO of acmecorp.com" <x@evil.example>`}, alike, ""},
			{"a display name with what looks like our domain", evil, []string{`From: "ceo@acrnecorp.com" <x@evil.example>`}, alike, ""},
			{"an encoded word, Base64", evil, []string{"From: =?utf-8?B?Y2VvQGFjbWVjb3JwLmNvbQ==?= <x@evil.example>"}, alike, ""},
			{"an encoded word, quoted", evil, []string{"From: =?iso-8859-1?Q?ceo=40acmecorp=2Ecom?= <x@evil.example>"}, alike, ""},
			{"an encoded word in quotes", evil, []string{`From: "=?utf-8?Q?ceo=40acmecorp=2Ecom?=" <x@evil.example>`}, alike, ""},
			{"an encoded word cut in two, folded", evil, []string{"From: =?utf-8?Q?ceo=40acme?=", " =?utf-8?Q?corp=2Ecom?= <x@evil.example>"}, alike, ""},
			{"an encoded word for an address", evil, []string{"From: =?utf-8?Q?ceo=40acmecorp=2Ecom?="}, garbled, ""},
			{"a display name with what is not seen", evil, []string{"From: ceo@acme\u200bcorp.com <x@evil.example>"}, alike, ""},
			{"a display name with our address spelled", evil, []string{`From: "ceo (at) acmecorp dot com" <x@evil.example>`}, alike, ""},
			{"a display name with our address spelled apart", evil, []string{`From: "ceo @ acmecorp . com" <x@evil.example>`}, alike, ""},
			{"a display name that is turned", evil, []string{"From: =?utf-8?B?4oCubW9jLnByb2NlbWNhQG9lYw==?= <x@evil.example>"}, alike, ""},
			{"a display name that is turned, not encoded", evil, []string{"From: \"\u202emoc.procemca eht\" <x@evil.example>"}, alike, ""},
			{"a display name in UTF-7", evil, []string{"From: =?utf-7?Q?ceo+AEA-acmecorp+AC4-com?= <x@evil.example>"}, alike, ""},
			{"an empty group beside a mailbox", evil, []string{"From: ceo@acmecorp.com:;, x@evil.example"}, alike, ""},
			{"a homoglyph", evil, []string{"From: ceo@\u0430cmecorp.com"}, alike, ""},
			{"a homoglyph in Punycode", evil, []string{"From: ceo@xn--cmecorp-1fg.com"}, alike, ""},
			{"digits for letters", evil, []string{"From: ceo@acmec0rp.com"}, alike, ""},
			{"fullwidth letters", evil, []string{"From: ceo@\uff41cmecorp\u3002com"}, own, ""},
			{"a soft hyphen", evil, []string{"From: ceo@acme\u00adcorp.com"}, own, ""},
			{"our domain in front of another", evil, []string{"From: ceo@acmecorp.com.evil.example"}, alike, ""},
			{"a subdomain without a record", evil, []string{"From: ceo@hr.acmecorp.com"}, own, ""},
			{"an alternate domain", evil, []string{"From: ceo@acmecorp-com.onmicrosoft.com"}, own, ""},
			{"another domain of ours", evil, []string{"From: ceo@globex.example"}, own, ""},
			{"several mailboxes, ours second", evil, []string{"From: x@evil.example, ceo@acmecorp.com"}, own, ""},
			{"several mailboxes with a Sender", evil, []string{"From: ceo@acmecorp.com, x@evil.example", "Sender: x@evil.example"}, own, ""},
			{"a group", evil, []string{"From: The board: ceo@acmecorp.com, x@evil.example;"}, own, ""},
			{"a group whose name is our address", evil, []string{"From: ceo@acmecorp.com:;"}, garbled, ""},
			{"an empty group", evil, []string{"From: undisclosed:;"}, "tag unreadable author", "pass//none"},
			{"a quoted local part of ours", evil, []string{`From: "c\eo"@acmecorp.com`}, own, ""},
			{"our address as a quoted local part", evil, []string{`From: "ceo@acmecorp.com"@evil.example`}, alike, ""},
			{"a route to ours", evil, []string{"From: <@evil.example:ceo@acmecorp.com>"}, own, ""},
			{"a route by ours", evil, []string{"From: <@acmecorp.com:x@evil.example>"}, alike, ""},
			{"two addresses in brackets", evil, []string{"From: <x@evil.example> <ceo@acmecorp.com>"}, garbled, ""},
			{"a bracket that does not end", evil, []string{"From: x@evil.example <ceo@acmecorp.com"}, garbled, ""},
			{"no comma between two addresses", evil, []string{"From: x@evil.example ceo@acmecorp.com"}, both, ""},
			{"our address behind the brackets", evil, []string{"From: <x@evil.example> ceo@acmecorp.com"}, both, ""},
			{"another's domain with a policy, in a From that cannot be read", evil, []string{"From: <x@evil.example> <ceo@bank.example>"}, "reject unreadable author, DMARC", ""},
			{"another's domain with a policy, where there is no mailbox", evil, []string{"From: ceo@ (the bank) bank.example and more"}, "reject unreadable author, DMARC", ""},
			{"another's domain without a policy, where there is no mailbox", evil, []string{"From: ceo@ (quiet) quiet.example and more"}, "tag unreadable author", ""},
			{"more domains than are asked for, in a From that cannot be read", evil, []string{"From: more (x@a.example x@b.example x@c.example x@d.example) <x@evil.example"}, "reject unreadable author, many authors", ""},
			{"more domains than are looked at", evil, []string{"From: a@a.example, b@b.example, c@c.example, d@d.example, e@e.example"}, "reject many authors", ""},
			{"more mailboxes than are read, ours the last", evil, []string{"From: " + strings.Repeat("x@evil.example,\r\n ", 101) + "ceo@acmecorp.com"}, "reject many authors, unreadable author, own domain", ""},
			{"more text than is read, ours the last", evil, []string{"From: " + strings.Repeat("x@evil.example,\r\n ", 4500) + "ceo@acmecorp.com"}, "reject many authors, unreadable author", ""},
			{"no From at all", evil, nil, "tag no author", "pass//none"},
			{emptyFrom, evil, []string{"From: "}, "tag unreadable author", "pass//none"},
			{"From a bare local part", evil, []string{"From: ceo"}, "tag author without domain", "pass//none"},
			{"Sender ours", evil, []string{"From: x@evil.example", "Sender: ceo@acmecorp.com"}, "tag own domain as Sender", ""},
			{"Resent-From ours", evil, []string{"Resent-From: ceo@acmecorp.com", "From: x@evil.example"}, "accept", ""},
			{"Resent-From a stranger's", evil, []string{"Resent-From: x@evil.example", "From: ceo@acmecorp.com"}, own, ""},
			{"Reply-To ours", evil, []string{"Reply-To: ceo@acmecorp.com", "From: x@evil.example"}, "accept", ""},
			{"the null sender", "", []string{"From: ceo@acmecorp.com"}, own, ""},
			{"the mail system's bounce", "", []string{"From: MAILER-DAEMON <>"}, "accept", "none//none"},
			{"the mail system's bounce, without a domain", "", []string{"From: MAILER-DAEMON"}, "accept", "none//none"},
			{"the mail system's bounce with its name", "", []string{`From: "Mail Delivery System" <MAILER-DAEMON>`}, "accept", "none//none"},
			{"the mail system's bounce in our name", "", []string{`From: "CEO of acmecorp.com" <MAILER-DAEMON>`}, alike, "none//none"},
			{"the mail system's name, and no bounce", evil, []string{"From: MAILER-DAEMON"}, "tag author without domain", "pass//none"},
			{"our envelope, below ours", "ceo@hr.acmecorp.com", []string{"From: x@evil.example"}, own, ""},
			{"our envelope in capitals with a dot", "CEO@ACMECORP-COM.onmicrosoft.com", []string{"From: x@evil.example"}, own, ""},
			{"NUL behind a stranger's address", evil, []string{"From: x@evil.example\x00, ceo@acmecorp.com"}, postfixes, ""},
			{"NUL within our domain", evil, []string{"From: ceo@acme\x00corp.com"}, postfixes, ""},
		} {
			message := tricky(c.lines...)
			switch {
			case c.want == postfixes && !s.refusesNUL:
				c.want = own
			case c.about == emptyFrom && !s.keepsAuthors:
				c.want = "tag no author"
			}
			if c.want == postfixes {
				r := s.send(spfPass, lab.Mail{From: c.sender, To: lab.To("bob@acmecorp.com"), Data: message})
				s.mustReply(r, 550, "5.7.1", "disallowed character")
				s.mustArrive(message)
				continue
			}
			if s.hugeField != "" && len(message) > 64<<10 {
				r := s.send(spfPass, lab.Mail{From: c.sender, To: lab.To("bob@acmecorp.com"), Data: message})
				if code(r.Data) != s.hugeField {
					t.Errorf("%s: the reply is %s; it must be %s", c.about, r.Data, s.hugeField)
				}
				s.mustArrive(message)
				continue
			}
			m := senderCase{about: c.about, client: spfPass, sender: c.sender, want: c.want, results: "pass/none/none"}
			if c.results != "" {
				m.results = c.results
			}
			done = append(done, s.judge(m, message))
		}
		s.mustEnd(done)

		message := tricky("From: x@evil.example")
		r := s.send(spfPass, lab.Mail{From: "root", To: lab.To("bob@acmecorp.com"), Data: message})
		if !s.bareSender {
			r.Data = r.Mail
			s.mustReply(r, 553, "5.5.4", "Domain name required")
		} else {
			s.mustReply(r, 550, "5.7.1", "The sender's address has no domain")
		}
		s.mustArrive(message)
	})
}
