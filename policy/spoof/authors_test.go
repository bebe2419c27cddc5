package spoof_test

import (
	"fmt"
	netmail "net/mail"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode"
	"unicode/utf8"

	"coexistd/policy/mail"
	"coexistd/policy/spoof"
)

// read gives the authors of a message with these fields.
func read(fields ...string) spoof.Authors {
	var header mail.Header
	for _, field := range fields {
		name, value, _ := strings.Cut(field, ":")
		header.Add([]byte(name), []byte(value))
	}
	return spoof.ReadAuthors(header.Values)
}

// listed writes authors as "key {display} | key {display}".
func listed(authors []spoof.Author) string {
	var all []string
	for _, a := range authors {
		one := a.Address.Key
		if a.Display != "" {
			one += " {" + a.Display + "}"
		}
		all = append(all, one)
	}
	return strings.Join(all, " | ")
}

func TestMailboxesAreReadAsMailProgramsReadThem(t *testing.T) {
	for _, c := range []struct{ about, from, want string }{
		{"an address", " bob@acmecorp.com", "bob@acmecorp.com"},
		{"in brackets", " <bob@acmecorp.com>", "bob@acmecorp.com"},
		{"with a name", " Bob B. Builder <Bob@AcmeCorp.com>", "bob@acmecorp.com {Bob B. Builder}"},
		{"with a quoted name", ` "Builder, Bob \"the\" <x>" <bob@acmecorp.com>`, `bob@acmecorp.com {Builder, Bob "the" <x>}`},
		{"folded with LF", "\n\tBob\n <bob@acmecorp.com>\n", "bob@acmecorp.com {Bob}"},
		{"folded with CRLF", " Bob\r\n\t<bob@acmecorp.com>\r\n", "bob@acmecorp.com {Bob}"},
		{"a comment behind", " bob@acmecorp.com (Bob (the) Builder)", "bob@acmecorp.com {Bob (the) Builder}"},
		{"comments all over", " (a) bob (b) @ (c) acmecorp.com (d)", "bob@acmecorp.com {a b c d}"},
		{"comments inside brackets", " Bob <(a)bob@acmecorp.com(b)>", "bob@acmecorp.com {Bob a b}"},
		{"white space in the address (RFC 5322 section 4.4)", " bob . b @ acmecorp . com", "bob.b@acmecorp.com"},
		{"two", " bob@acmecorp.com, x@example.net", "bob@acmecorp.com | x@example.net"},
		{"two with names, and empty ones", " , Bob <bob@acmecorp.com>, ,X <x@example.net>,", "bob@acmecorp.com {Bob} | x@example.net {X}"},
		{"a group", " Friends: bob@acmecorp.com, X <x@example.net>;", "bob@acmecorp.com {Friends} | x@example.net {Friends X}"},
		{"a group and more", ` "A b":bob@acmecorp.com;, x@example.net`, "bob@acmecorp.com {A b} | x@example.net"},
		{"a route (section 4.4)", " <@acmecorp.com,@b.example:x@evil.example>", "x@evil.example {@acmecorp.com,@b.example}"},
		{"a quoted local part", ` "bob"@acmecorp.com`, "bob@acmecorp.com"},
		{"a quoted local part that needs it", ` X <"a b"@acmecorp.com>`, `"a b"@acmecorp.com {X}`},
		{"an address literal", " bob@[192.0.2.1]", "bob@[192.0.2.1]"},
		{"an IPv6 literal", " Bob <bob@[IPv6:2001:db8::1]>", "bob@[ipv6:2001:db8::1] {Bob}"},
		{"a bare local part, which the MTA completes", " root", "root@"},
		{"UTF-8", " Jörg <jörg@bücher.example>", "jörg@xn--bcher-kva.example {Jörg}"},
		{"Latin-1 without encoding", " J\xf6rg <x@example.net>", "x@example.net {J\uFFFDrg}"},
		{"brackets in a name", " [External] Bob <bob@acmecorp.com>", "bob@acmecorp.com {[External] Bob}"},
		{"an apostrophe", " 'Bob O'Neill' <o'neill@acmecorp.com>", "o'neill@acmecorp.com {'Bob O'Neill'}"},
		{"a dot at the domain's end", " bob@acmecorp.com.", "bob@acmecorp.com"},
		{"VERP", " <bounces+bob=acmecorp.com@example.net>", "bounces+bob=acmecorp.com@example.net"},

		{"the mail system without an address", " MAILER-DAEMON <>", "mailer-daemon@ {MAILER-DAEMON}"},
		{"the mail system without an address, with more", ` "Mailer-Daemon" (Mail Delivery System) < >`, "mailer-daemon@ {Mailer-Daemon Mail Delivery System}"},
		{"the mail system without a domain", ` "Mail Delivery System" <MAILER-DAEMON>`, "mailer-daemon@ {Mail Delivery System}"},

		// The name poses as an address.
		{"a quoted address", ` "ceo@acmecorp.com" <x@evil.example>`, "x@evil.example {ceo@acmecorp.com}"},
		{"an address without quotes", " ceo@acmecorp.com <x@evil.example>", "x@evil.example {ceo@acmecorp.com}"},
		{"an address in a comment", " x@evil.example (ceo@acmecorp.com)", "x@evil.example {ceo@acmecorp.com}"},
		{"an address in brackets, quoted", ` "CEO <ceo@acmecorp.com>" <x@evil.example>`, "x@evil.example {CEO <ceo@acmecorp.com>}"},
		{"an address in a group's name", " ceo@acmecorp.com: x@evil.example;", "x@evil.example {ceo@acmecorp.com}"},
		{"an address as a local part", ` "ceo@acmecorp.com"@evil.example`, `"ceo@acmecorp.com"@evil.example {ceo@acmecorp.com}`},
		{"an encoded address", " =?utf-8?q?ceo=40acmecorp.com?= <x@evil.example>", "x@evil.example {ceo@acmecorp.com}"},
		{"an address as an empty group", " ceo@acmecorp.com:;, x@evil.example", "x@evil.example {ceo@acmecorp.com}"},
		{"an address as an empty group at the end", " X <x@evil.example>, ceo@acmecorp.com:;", "x@evil.example {X ceo@acmecorp.com}"},
		{"an empty group between two mailboxes", " a@b.example, ceo@acmecorp.com : ; , c@d.example", "a@b.example | c@d.example {ceo@acmecorp.com}"},
		{"empty groups, and one with a mailbox", " =?utf-8?q?ceo=40acmecorp.com?=:;, A:;, B: x@evil.example;, C:;", "x@evil.example {ceo@acmecorp.com A B C}"},
		{"an encoded list", " =?utf-8?B?Y2VvQGFjbWVjb3JwLmNvbSwg?= <x@evil.example>", "x@evil.example {ceo@acmecorp.com, }"},
		{"a NUL in an encoded name", " =?utf-8?q?ceo=40acmecorp.com=00x?= <x@evil.example>", "x@evil.example {ceo@acmecorp.comx ceo@acmecorp.com x}"},

		// Encoded words (RFC 2047).
		{"base64", " =?UTF-8?B?SsO2cmc=?= <x@example.net>", "x@example.net {Jörg}"},
		{"base64 without its end", " =?UTF-8?B?SsO2cmc?= <x@example.net>", "x@example.net {Jörg}"},
		{"Latin-1", " =?iso-8859-1?q?J=F6rg_M.?= <x@example.net>", "x@example.net {Jörg M.}"},
		{"Japanese", " =?iso-2022-jp?B?GyRCOzNFRBsoQg==?= <x@example.net>", "x@example.net {山田}"},
		{"a letter in two words", " =?utf-8?q?J=C3?= =?utf-8?q?=B6rg?= <x@example.net>", "x@example.net {Jörg}"},
		{"UTF-7 (RFC 2152)", " =?utf-7?Q?ceo+AEA-acmecorp.com?= <x@example.net>", "x@example.net {ceo@acmecorp.com}"},
		{"UTF-7 in base64", " =?unicode-1-1-utf-7?B?Y2VvK0FFQS1hY21lY29ycC5jb20=?= <x@example.net>", "x@example.net {ceo@acmecorp.com}"},
		{"UTF-7 in capitals, with a language", " =?UTF-7*en?q?J+APY-rg?= <x@example.net>", "x@example.net {Jörg}"},
		{"two words of UTF-7, of which each begins anew", " =?utf-7?Q?ceo+AEA?= =?utf-7?Q?acmecorp.com?= <x@example.net>", "x@example.net {ceo@acmecorp.com}"},
		{"an @ that UTF-7 encodes in quotes", ` "=?utf-7?Q?ceo+AEA-acmecorp.com?=" <x@evil.example>`, "x@evil.example {ceo@acmecorp.com}"},
		{"a language (RFC 2231 section 5)", " =?utf-8*de?q?J=C3=B6rg?= <x@example.net>", "x@example.net {Jörg}"},
		{"in quotes, where programs decode it", ` "=?utf-8?q?J=C3=B6rg?=" <x@example.net>`, "x@example.net {Jörg}"},
		{"with a space in it", " =?utf-8?q?J=C3=B6rg M.?= <x@example.net>", "x@example.net {Jörg M.}"},
		{"with a comma in it", " =?utf-8?q?M.,_J=C3=B6rg?= <x@example.net>", "x@example.net {M., Jörg}"},
		{"in a comment", " x@example.net (=?utf-8?q?J=C3=B6rg?=)", "x@example.net {Jörg}"},
		{"an unknown charset", " =?klingon?q?J=C3=B6rg?= <x@example.net>", "x@example.net {Jörg}"},
		{"an unknown encoding", " =?utf-8?x?Jorg?= <x@example.net>", "x@example.net {=?utf-8?x?Jorg?=}"},
		{"one without end", " =?utf-8?q?Jorg <x@example.net>", "x@example.net {=?utf-8?q?Jorg}"},
	} {
		t.Run(c.about, func(t *testing.T) {
			got := read("From:" + c.from)
			if listed(got.From) != c.want || got.Broken != "" || got.Fields != 1 {
				t.Errorf("got %s, %d fields, broken: %q\nwant %s", listed(got.From), got.Fields, got.Broken, c.want)
			}
		})
	}
}

func TestWhatCanBeReadInSeveralWaysIsBrokenAndShowsEachMailbox(t *testing.T) {
	for _, c := range []struct{ about, from, want, broken string }{
		{"two brackets", " <ceo@acmecorp.com> <x@evil.example>", "ceo@acmecorp.com | x@evil.example", "no comma"},
		{"two brackets with names", " A <x@evil.example> B <ceo@acmecorp.com>", "x@evil.example {A B} | ceo@acmecorp.com", "no comma"},
		{"an address behind", " <x@evil.example> ceo@acmecorp.com", "ceo@acmecorp.com {ceo@acmecorp.com} | x@evil.example {ceo@acmecorp.com}", "behind"},
		{"brackets within brackets", " <x@evil.example <ceo@acmecorp.com>>", "x@evil.example {x@evil.example <ceo@acmecorp.com>} | ceo@acmecorp.com {x@evil.example <ceo@acmecorp.com>}", "not open"},
		{"a list in brackets", " <ceo@acmecorp.com,x@evil.example>", "", "cannot be read"},
		{"an open bracket", " Bob <bob@acmecorp.com", "bob@acmecorp.com {Bob}", "not closed"},
		{"an open bracket before another mailbox", " Bob <x@evil.example, ceo@acmecorp.com", "", "not closed"},
		{"only a closing bracket", " Bob bob@acmecorp.com>", "", "not open"},
		{"two @", " ceo@acmecorp.com@evil.example", "ceo@acmecorp.com {ceo@acmecorp.com@evil.example} | acmecorp.com@evil.example {ceo@acmecorp.com@evil.example}", "cannot be read"},
		{"an address split by a comment", " ceo@acmecorp.com(x)@evil.example", "", "cannot be read"},
		{"two addresses without a comma", " ceo@acmecorp.com x@evil.example", "", "cannot be read"},
		{"a semicolon between", " ceo@acmecorp.com; x@evil.example", "ceo@acmecorp.com | x@evil.example", "semicolon"},
		{"an open quote", ` "ceo@acmecorp.com <x@evil.example>`, "", "does not end"},
		{"an open comment", " x@evil.example (ceo@acmecorp.com", "x@evil.example {ceo@acmecorp.com}", "does not end"},
		{"an open group", " CEO: ceo@acmecorp.com, x@evil.example", "ceo@acmecorp.com {CEO} | x@evil.example {CEO}", "does not end"},
		{"a URL", " mailto:ceo@acmecorp.com", "ceo@acmecorp.com {mailto}", "does not end"},
		{"a colon in a name", " Re: Bob: x <ceo@acmecorp.com>", "", "colon"},
		{"an empty group", " ceo@acmecorp.com:;", "", "names nobody"},
		{"nothing", "", "", "names nobody"},
		{"only a comment", " (ceo@acmecorp.com)", "", "cannot be read"},
		{"empty brackets", " ceo@acmecorp.com <>", "", "cannot be read"},
		{"empty brackets behind the mail system and a name", " MAILER-DAEMON ceo@acmecorp.com <>", "", "cannot be read"},
		{"only a quoted address", ` "ceo@acmecorp.com"`, "", "no domain"},
		{"only an encoded address", " =?utf-8?q?ceo=40acmecorp.com?=", "", "cannot be read"},
		{"an encoded address in brackets", " <=?utf-8?q?ceo=40acmecorp.com?=>", "", "cannot be read"},
		{"an encoded local part", " =?utf-8?q?ceo?=@acmecorp.com", "=?utf-8?q?ceo?=@acmecorp.com {ceo@acmecorp.com}", "cannot be read"},
		{"an encoded mailbox before another", " =?utf-8?B?PGNlb0BhY21lY29ycC5jb20+?=, <x@evil.example>", "x@evil.example", "cannot be read"},
		{"a name only", " Bob Builder", "", "cannot be read"},
		{"no local part", " @acmecorp.com", "", "cannot be read"},
		{"no domain", " ceo@", "", "cannot be read"},
		{"a domain that is none", " ceo@acme corp.com", "", "cannot be read"},
		{"a quote inside a local part", ` a"ceo@acmecorp.com"@evil.example`, "", "cannot be read"},
		{"a route that is none", " <@acmecorp.com>", "", "cannot be read"},
		{"a parenthesis", " x)@evil.example", "", "needs quotes"},
		{"a NUL", " ceo@acmecorp.com\x00@evil.example", "", "control character"},
		{"a bare CR", " x@evil.example\rFrom: ceo@acmecorp.com", "", "control character"},
		{"a line end that folds nothing", " x@evil.example\nFrom: ceo@acmecorp.com", "", "control character"},
		{"an address that is not UTF-8", " c\xe9o@acmecorp.com", "", "needs quotes"},
	} {
		t.Run(c.about, func(t *testing.T) {
			got := read("From:" + c.from)
			if !strings.HasPrefix(got.Broken, "From ") || !strings.Contains(got.Broken, c.broken) {
				t.Errorf("broken: %q, want %q", got.Broken, c.broken)
			}
			if c.want != "" && listed(got.From) != c.want {
				t.Errorf("got  %s\nwant %s", listed(got.From), c.want)
			}
			if strings.Contains(c.from, "acmecorp.com") && !strings.Contains(got.Text, "@acmecorp.com") {
				t.Errorf("the text lacks what is to be found: %q", got.Text)
			}
			// All that has a domain in plain sight is a mailbox, or beside one.
			if strings.Contains(c.from, "ceo@acmecorp.com,") && !strings.Contains(listed(got.From), "ceo@acmecorp.com") {
				t.Errorf("a mailbox is missed: %s", listed(got.From))
			}
		})
	}
}

func TestAllFromAndSenderFieldsCount(t *testing.T) {
	got := read("From: a@one.example", "FROM: B <b@two.example>", "Sender: S <s@three.example>", "sender: t@four.example", "Resent-From: r@five.example", "Fr\u017fm: x@six.example")
	if got.Fields != 2 || listed(got.From) != "a@one.example | b@two.example {B}" || listed(got.Sender) != "s@three.example {S} | t@four.example" || got.Broken != "" {
		t.Errorf("got %+v", got)
	}
	if got.Text != " a@one.example\n B <b@two.example>" {
		t.Errorf("the text is %q", got.Text)
	}
	got = read("From: a@one.example", "Sender: nobody in particular")
	if !strings.HasPrefix(got.Broken, "Sender ") || listed(got.From) != "a@one.example" || strings.Contains(got.Text, "nobody") {
		t.Errorf("got %+v", got)
	}
	if got := read("Subject: x"); got.Fields != 0 || got.From != nil || got.Sender != nil || got.Broken != "" || got.Text != "" {
		t.Errorf("without From: %+v", got)
	}
}

func TestAuthorsAreBounded(t *testing.T) {
	for _, c := range []struct {
		about, from, broken string
		mailboxes           int
	}{
		{"100 mailboxes", strings.Repeat("a@b.example,", 100), "", 100},
		{"101 mailboxes", strings.Repeat("a@b.example,", 101), "more than 100", 100},
		{"100 in a group with a long name", strings.Repeat("long name ", 300) + ":" + strings.Repeat("a@b.example,", 100) + ";", "", 100},
		{"a name too long", strings.Repeat("long name ", 500) + "<a@b.example>", "a name of more than", 1},
		{"text too long", strings.Repeat("(c)", 30_000) + "a@b.example", "more text than is read", 0},
		{"many brackets", strings.Repeat("<", 60_000), "", -1},
		{"many comments", strings.Repeat("(", 60_000), "", -1},
		{"many words without end", strings.Repeat("=?a?b?", 10_000), "", -1},
		{"many words", strings.Repeat("=?a?b??=", 7_000) + "<a@b.example>", "", -1},
		{"many @", strings.Repeat("@", 60_000), "", -1},
		{"many mailboxes that cannot be read", strings.Repeat("a@b.example ", 5000), "", -1},
		{"many colons", strings.Repeat("a:", 30_000), "", -1},
		{"many empty groups", strings.Repeat("long name:;,", 5000) + "a@b.example", "a name of more than", 1},
		{"many backslashes", `"` + strings.Repeat(`\`, 60_000), "", -1},
	} {
		t.Run(c.about, func(t *testing.T) {
			start := time.Now()
			got := read("From:"+c.from, "Sender:"+c.from)
			if took := time.Since(start); took > time.Minute {
				t.Errorf("took %v", took)
			}
			check(t, got)
			if c.mailboxes >= 0 && (len(got.From) != c.mailboxes || c.broken != "" && !strings.Contains(got.Broken, c.broken)) {
				t.Errorf("%d mailboxes, broken: %s", len(got.From), got.Broken)
			}
			if strings.HasPrefix(c.broken, "more t") && !got.Unread {
				t.Error("nothing says that there is more")
			}
		})
	}
	many := make([]string, 10_000)
	for i := range many {
		many[i] = fmt.Sprintf("From: a%d@b.example", i)
	}
	if got := read(many...); got.Fields != 10_000 || len(got.From) != 100 || got.Broken == "" {
		t.Errorf("%d fields, %d mailboxes, broken: %s", got.Fields, len(got.From), got.Broken)
	}
}

func TestTheDomainsOfAuthorsAreEachListedOnce(t *testing.T) {
	for from, want := range map[string]string{
		"a@one.example, b@ONE.example, bare, c@[192.0.2.1], B B <b@bücher.example>": "one.example [192.0.2.1] xn--bcher-kva.example",
		// What an unreadable field might show is listed as well.
		"<x@a.example> b@b.example c@ (c) c.example b@b.example": "b.example a.example c.example",
		"the CEO of two.example":                                 "",
		"a@one.example (of two.example)":                         "one.example",
		`"b@two.example" <a@one.example>`:                        "one.example",
		`"b@two.example" <a@one.example> x`:                      "one.example two.example",
	} {
		got := read("From: "+from, "Sender: s@sender.example")
		if strings.Join(got.Domains, " ") != want || got.MoreDomains {
			t.Errorf("%s: got %q, %v; want %s", from, got.Domains, got.MoreDomains, want)
		}
	}
	for _, many := range []int{200, 201} {
		got := read("From: <<" + addresses(many))
		if got.MoreDomains != (many > 200) || len(got.Domains) != 200 {
			t.Errorf("of %d, %d are listed; more: %v", many, len(got.Domains), got.MoreDomains)
		}
	}
}

// check holds what is promised of any input.
func check(t *testing.T, got spoof.Authors) {
	t.Helper()
	all := slices.Concat(got.From, got.Sender)
	if len(all) > 100 || len(got.Text) > 1<<20 || len(got.Broken) > 1000 {
		t.Errorf("%d mailboxes, %d bytes of text, %d of reason", len(all), len(got.Text), len(got.Broken))
	}
	fits := func(s string) bool {
		return utf8.ValidString(s) && !strings.ContainsFunc(strings.ReplaceAll(s, "\n", ""), unicode.IsControl)
	}
	if !fits(got.Text) || !fits(got.Broken) {
		t.Errorf("text %q, broken %q", got.Text, got.Broken)
	}
	for _, a := range all {
		if len(a.Display) > 4<<10 || !fits(a.Display) || strings.Contains(a.Display, "\n") {
			t.Errorf("a display of %d bytes: %.100q", len(a.Display), a.Display)
		}
		again, err := mail.ParseAddress(a.Address.Path, "")
		if err != nil || again != a.Address || a.Address.IsNull() {
			t.Errorf("%+v, parsed again: %+v, %v", a.Address, again, err)
		}
	}
	if got.Fields > 0 && len(got.From) == 0 && got.Broken == "" {
		t.Error("nobody is named, and nothing is broken")
	}
}

func FuzzReadAuthors(f *testing.F) {
	for _, seed := range []string{
		` "ceo@acmecorp.com" <x@evil.example>, (c) y @ z.example (d)`, " G: a@b.example, =?utf-8?q?a=40b?= <c@d.example>;", " <@a,@b:c@d.example> e@f.example",
		"\r\n\t=?iso-2022-jp?B?GyRCO3NFRBsoQg==?= =?utf-7?q?+AEA-?= <\"a\\\"b\"@[IPv6:::1]>", " a@b@c, <d@e> <f@g", " ceo@acmecorp.com:;, MAILER-DAEMON <>, A:;",
		" \x00(((\")\"",
	} {
		f.Add(seed, "s@example.net")
	}
	f.Fuzz(func(t *testing.T, from, from2 string) {
		got := read("From:"+from, "Sender:"+from2)
		check(t, got)
		if got.Broken != "" {
			return
		}
		// What a strict reader sees is there.
		list, err := netmail.ParseAddressList(from)
		if err != nil {
			return
		}
		for _, one := range list {
			at := strings.LastIndexByte(one.Address, '@')
			domain, err := mail.NormalDomain(one.Address[at+1:])
			if err != nil {
				continue
			}
			if !slices.ContainsFunc(got.From, func(a spoof.Author) bool { return a.Address.Domain == domain }) {
				t.Errorf("%q: net/mail sees %q, we %s", from, one.Address, listed(got.From))
			}
		}
	})
}
