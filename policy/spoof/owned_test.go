package spoof_test

import (
	"fmt"
	"strings"
	"testing"

	"coexistd/policy/mail"
	"coexistd/policy/route"
	"coexistd/policy/spoof"
)

// logins are the directory's column of that name in the tests.
var logins = map[string]string{
	"bob@acmecorp.com":     "bob",
	"sales@acmecorp.com":   "carol bob  dave",
	"carol@acmecorp.com":   "carol",
	"alice+lab@acme.net":   "lab",
	"two@acmecorp.com":     "two",
	"two@acme.net":         "other two",
	"part@acmecorp.com":    "part",
	"part@acme.net":        "another",
	"plain@acmecorp.com":   "plain",
	"plain@acme.net":       "", // listed, and nobody's
	"cat-dog@acmecorp.com": "dog",
	"bob@eu.acmecorp.com":  "another",
	"info@eu.acmecorp.com": "Bob",
}

// submitted is a message at S2 from a login.
func (w *world) submitted(t testing.TB, login, sender string, authors spoof.Authors) question {
	t.Helper()
	f := w.facts(t, sender, authors)
	f.Login = login
	f.Row = func(a mail.Address) route.Row {
		login, listed := logins[a.Key]
		if w.failed || !listed {
			return route.Row{Failed: w.failed}
		}
		return route.Row{Login: login, Column: func(string) string { return "" }}
	}
	return question{f, true}
}

func TestALoginSendsAsWhatItOwns(t *testing.T) {
	const refused = "reject not the login's address"
	for _, c := range []struct {
		about, login, address string
		want                  string
	}{
		{"the directory's row", "bob", "bob@acmecorp.com", "accept"},
		{"in any case", "BOB", "Bob@AcmeCorp.com", "accept"},
		{"one of several logins of a row", "bob", "sales@acmecorp.com", "accept"},
		{"a row in another case", "bob", "info@eu.acmecorp.com", "accept"},
		{"a part of a row's login", "car", "sales@acmecorp.com", refused},
		{"all of a row's logins", "carol bob", "sales@acmecorp.com", refused},
		{"a subaddress", "bob", "bob+lists@acmecorp.com", "accept"},
		{"a subaddress with a row of its own", "lab", "alice+lab@acme.net", "accept"},
		{"that row goes before its owner", "alice@acme.net", "alice+lab@acme.net", refused},
		{"a login is the address itself, whatever its row names", "carol@acmecorp.com", "carol@acmecorp.com", "accept"},
		{"and owns its subaddress", "carol@acmecorp.com", "carol+x@acmecorp.com", "accept"},
		{"a row that names nobody does not", "plain@acme.net", "plain@acme.net", "accept"},
		{"nor for the subaddress", "plain@acme.net", "plain+x@acme.net", "accept"},
		{"that row does not lend its owner", "lab", "alice@acme.net", refused},
		{"another's", "bob", "carol@acmecorp.com", refused},
		{"a login's own name in another domain", "bob", "bob@acme.net", refused},
		{"a login's own name where another has it", "bob", "bob@eu.acmecorp.com", refused},
		{"the login is the address", "dave@acmecorp.com", "dave@acmecorp.com", "accept"},
		{"the login is the address, in another case", "Dave@ACMECORP.com", "dave@acmecorp.com", "accept"},
		{"the login is the subaddress's owner", "dave@acmecorp.com", "dave+x@acmecorp.com", "accept"},
		{"the login is a subaddress", "dave+x@acmecorp.com", "dave@acmecorp.com", refused},
		{"the login is the address in another domain", "dave@acmecorp.com", "dave@acme.net", refused},
		{"at the alternate domain", "bob", "bob@gapps.acmecorp.com", "accept"},
		{"the login is the address, at the alternate domain", "dave@acmecorp.com", "dave@gapps.acmecorp.com", "accept"},
		{"a quoted local part", "bob", `"bob"@acmecorp.com`, "accept"},
		{"a foreign address", "bob", "bob@far.example", refused},
		{"a login that the directory does not know", "nobody", "bob@acmecorp.com", refused},
		{"a login that cannot be an address", "<@:>", "bob@acmecorp.com", refused},
		{"an address that the directory does not know", "bob", "none@acmecorp.com", refused},
		{"a delegate of an address", "assistant", "ceo@acmecorp.com", "accept"},
		{"a delegate, in another case", "Assistant", "CEO@acmecorp.com", "accept"},
		{"a delegate of its subaddress", "assistant", "ceo+x@acmecorp.com", "accept"},
		{"a delegate of a domain", "assistant", "anyone@partner.example", "accept"},
		{"not of its subdomain", "assistant", "anyone@sub.partner.example", refused},
		{"a delegate of one domain has no other", "assistant", "anyone@acme.net", refused},
		{"a delegate of an alternate domain", "tester", "anyone@gapps.acmecorp.com", "accept"},
		{"the login is the address at the alternate domain", "dave@gapps.acmecorp.com", "dave@acmecorp.com", "accept"},
		{"a delegate of a subaddress's owner, where another has it", "labs", "alice+lab@acme.net", refused},
		{"a delegate of a subaddress's owner, where nobody has it", "labs", "alice+x@acme.net", "accept"},
		{"a bare local part that is the login's in its only domain", "carol", "carol", "accept"},
		{"a bare local part in another case", "Carol", "CAROL", "accept"},
		{"a bare subaddress", "carol", "carol+x", "accept"},
		{"a bare local part that is the login's in all of its domains", "two", "two", "accept"},
		{"a bare local part in the domains where it is another's", "part", "part", refused},
		{"a bare local part in the domains where it is nobody's", "plain", "plain", refused},
		{"a bare subaddress where it is another's", "part", "part+x", refused},
		{"a bare local part like the login, another's", "sales", "sales", refused},
		{"a bare local part unlike the login", "bob", "sales", "accept"},
		{"a bare local part that no domain has", "nobody", "nobody", refused},
		{"a bare local part, of a login like it, in one of two domains", "bob", "bob", refused},
		{"a bare local part, of another", "bob", "carol", refused},
		{"a bare local part, of a login with a domain", "bob@acmecorp.com", "bob", refused},
	} {
		w := newWorld()
		w.Delegates = map[string][]string{"assistant": {"ceo@acmecorp.com", "@partner.example"}, "tester": {"@gapps.acmecorp.com"}, "labs": {"alice@acme.net"}}
		authors := writtenBy(t, c.address)
		want(t, c.about+", as author", w.outcome(t, w.submitted(t, c.login, "", authors)), c.want)
		want(t, c.about+", in the envelope", w.outcome(t, w.submitted(t, c.login, c.address, spoof.Authors{})), c.want)
		sender := spoof.Authors{Fields: 1, Sender: authors.From}
		sender.From = append(sender.From, author(t, c.address))
		want(t, c.about+", as Sender", w.outcome(t, w.submitted(t, c.login, "", sender)), c.want)
	}
}

func TestTricksOfALogin(t *testing.T) {
	const (
		own     = "bob@acmecorp.com"
		refused = "reject not the login's address"
	)
	for _, c := range []struct {
		about  string
		sender string
		edit   func(w *world, a *spoof.Authors)
		want   string
	}{
		{"nothing odd", own, func(w *world, a *spoof.Authors) {}, "accept"},
		{"the null sender with his own From", "", func(w *world, a *spoof.Authors) {}, "accept"}, // RFC 8098 section 3
		{"the null sender with another's From", "", func(w *world, a *spoof.Authors) { *a = writtenBy(t, "carol@acmecorp.com") }, refused},
		{"his own envelope, another's From", own, func(w *world, a *spoof.Authors) { *a = writtenBy(t, "carol@acmecorp.com") }, refused},
		{"another's envelope, his own From", "carol@acmecorp.com", func(w *world, a *spoof.Authors) {}, refused},
		{"a foreign envelope, as SRS has it", "SRS0=x=y=far.example=z@acmecorp.com", func(w *world, a *spoof.Authors) {}, refused},
		{"no From field: an MTA takes the envelope's", own, func(w *world, a *spoof.Authors) { *a = spoof.Authors{} }, "accept"},
		{"no From field, another's envelope", "carol@acmecorp.com", func(w *world, a *spoof.Authors) { *a = spoof.Authors{} }, refused},
		{"no From field and the null sender", "", func(w *world, a *spoof.Authors) { *a = spoof.Authors{} }, "reject no author"},
		{"two From fields", own, func(w *world, a *spoof.Authors) { a.Fields = 2 }, "reject several From fields"},
		{"two mailboxes, one another's", own, func(w *world, a *spoof.Authors) { *a = writtenBy(t, own, "carol@acmecorp.com") }, refused},
		{"two mailboxes, both his", own, func(w *world, a *spoof.Authors) { *a = writtenBy(t, own, "sales@acmecorp.com") }, "accept"},
		{"a group of his and another's", own, func(w *world, a *spoof.Authors) {
			*a = writtenBy(t, "Team <bob@acmecorp.com>", "Team <carol@acmecorp.com>")
		}, refused},
		{"an empty group", own, func(w *world, a *spoof.Authors) { a.From = nil }, "reject no author"},
		{"a From field that cannot be read", own, func(w *world, a *spoof.Authors) { a.Broken = "two angle brackets" }, "reject unreadable author"},
		{"another's Sender field", own, func(w *world, a *spoof.Authors) { a.Sender = writtenBy(t, "carol@acmecorp.com").From }, refused},
		{"his own Sender, another's From", own, func(w *world, a *spoof.Authors) {
			*a = writtenBy(t, "carol@acmecorp.com")
			a.Sender = writtenBy(t, own).From
		}, refused},
		// Resent fields are no part of the facts: they lend nothing.
		{"his own Resent-From, a stranger's From", own, func(w *world, a *spoof.Authors) { *a = writtenBy(t, "x@far.example") }, refused},
		{"another's address as display name", own, func(w *world, a *spoof.Authors) { *a = writtenBy(t, "carol@acmecorp.com <bob@acmecorp.com>") }, refused},
		{"another's address among words", own, func(w *world, a *spoof.Authors) {
			*a = writtenBy(t, "Carol (carol@acmecorp.com), sales <bob@acmecorp.com>")
		}, refused},
		{"another's address behind an address of his", own, func(w *world, a *spoof.Authors) {
			*a = writtenBy(t, "bob@acmecorp.com/carol@acmecorp.com <bob@acmecorp.com>")
		}, refused},
		{"another's address in fullwidth letters", own, func(w *world, a *spoof.Authors) {
			*a = writtenBy(t, "ｃａｒｏｌ＠acmecorp.com <bob@acmecorp.com>")
		}, refused},
		{"another's address with a character that is not seen", own, func(w *world, a *spoof.Authors) {
			*a = writtenBy(t, "carol@\u200bacmecorp.com <bob@acmecorp.com>")
		}, refused},
		{"a stranger's address as display name", own, func(w *world, a *spoof.Authors) { *a = writtenBy(t, "x@far.example <bob@acmecorp.com>") }, refused},
		{"another's address beside the Sender", own, func(w *world, a *spoof.Authors) {
			a.Sender = writtenBy(t, "carol@acmecorp.com <bob@acmecorp.com>").From
		}, refused},
		{"his own address as display name", own, func(w *world, a *spoof.Authors) { *a = writtenBy(t, "'Bob@acmecorp.com' <bob@acmecorp.com>") }, "accept"},
		{"our domain as display name", own, func(w *world, a *spoof.Authors) { *a = writtenBy(t, "Bob of acmecorp.com <bob@acmecorp.com>") }, "accept"},
		{"a number behind an @", own, func(w *world, a *spoof.Authors) { *a = writtenBy(t, "Bob, free @5 or meet@noon <bob@acmecorp.com>") }, "accept"},
		{"a domain like ours as display name", own, func(w *world, a *spoof.Authors) { *a = writtenBy(t, "acmec0rp.com <bob@acmecorp.com>") }, "tag look-alike"},
		{"a domain like ours as author", own, func(w *world, a *spoof.Authors) { *a = writtenBy(t, "bob@acmec0rp.com") }, refused},
		{"another's address with spaces around its @", own, beside("carol @ acmecorp.com"), refused},
		{"one that does not exist, with spaces around its @", own, beside("ceo @ acmecorp.com"), refused},
		{"behind a comma", own, beside("The board, ceo @ acmecorp.com"), refused},
		{"behind words, one of an address", own, beside("Your colleague carol @ acmecorp.com"), refused},
		{"a subaddress behind words", own, beside("Your colleague carol+x @ acmecorp.com"), refused},
		{"with a space before its @", own, beside("carol @acmecorp.com"), refused},
		{"with a space behind its @", own, beside("ceo@ acmecorp.com"), refused},
		{"with spaces around its dot", own, beside("ceo@acmecorp . com"), refused},
		{"with (at)", own, beside("ceo (at) acmecorp.com"), refused},
		{"with [AT]", own, beside("ceo[AT]acmecorp.com"), refused},
		{"with {at}", own, beside("ceo{ at }acmecorp.com"), refused},
		{"with <at>", own, beside("ceo <at> acmecorp.com"), refused},
		{"with (a)", own, beside("ceo(a)acmecorp.com"), refused},
		{"with (@)", own, beside("ceo (@) acmecorp.com"), refused},
		{"with (at) and (dot)", own, beside("ceo (at) acmecorp (dot) com"), refused},
		{"with at and dot", own, beside("carol at acmecorp dot com"), refused},
		{"with AT between words", own, beside("I am carol AT ACMECORP.COM, you know"), refused},
		{"with underscores around at", own, beside("carol_at_acmecorp.com"), refused},
		{"below our domain", own, beside("info (at) eu.acmecorp.com carol (at) hr.acmecorp.com"), refused},
		{"at the alternate domain", own, beside("ceo (at) gapps.acmecorp.com"), refused},
		{"fullwidth letters and spaces", own, beside("ｃｅｏ\u3000＠\u3000acmecorp.com"), refused},
		{"turned by an override", own, beside("\u202emoc.procemca@oec"), refused},
		{"turned, with spaces", own, beside("\u202emoc.procemca @ lorac si siht"), refused},
		{"turned (at)", own, beside("\u202emoc.procemca (ta) oec"), refused},
		{"turned in part", own, beside("\u202emoc.\u202dacmecorp\u202c@oec\u202c"), refused},
		{"turned in part, before words", own, beside("\u202emoc.\u202dacmecorp\u202c@oec\u202c and Bob"), refused},
		{"turned by an embedding", own, beside("\u202bcom\u200f.\u200facmecorp\u200f@\u200fceo\u202c"), refused},
		{"turned by an isolate", own, beside("x \u2067com\u200f.\u200facmecorp\u200f@\u200fceo\u2069 y"), refused},
		{"turned beside the Sender", own, func(w *world, a *spoof.Authors) {
			a.Sender = writtenBy(t, "\u202emoc.procemca@oec <bob@acmecorp.com>").From
		}, refused},
		{"more addresses than are looked at", own, beside(addresses(201)), refused},
		{"more turns within each other than programs heed", own, beside(strings.Repeat("\u202e", 64)), "reject many authors"},
		{"more of his own than are looked at", own, func(w *world, a *spoof.Authors) {
			for i := range 201 {
				a.From[0].Display += fmt.Sprintf("bob+%d (at) acmecorp.com ", i)
			}
		}, "reject many authors"},

		{"his own, with spaces", own, beside("Bob @ acmecorp.com"), "accept"},
		{"his own, with (at)", own, beside("bob (at) acmecorp.com"), "accept"},
		{"another of his own, with (at)", own, beside("sales[at]acmecorp.com"), "accept"},
		{"his own, turned", own, beside("\u202emoc.procemca@bob"), "accept"},
		{"his own among letters that are written from the right", own, beside("\u200fדוד bob@acmecorp.com."), "accept"},
		{"his own in an embedding", own, beside("\u202bדוד (bob@acmecorp.com)!\u202c"), "accept"},
		{"his own between isolates", own, beside("\u2068דוד\u2069 \u2068bob@acmecorp.com\u2069"), "accept"},
		{"a name at our domain", own, beside("Bob Builder @ acmecorp.com"), "accept"},
		{"a name at our domain in words", own, beside("Robert at acmecorp.com"), "accept"},
		{"a department at our domain", own, beside("Support at acmecorp.com"), "accept"},
		{"a handle", own, beside("Robert @acmecorp.com"), "accept"},
		{"an invitation", own, beside("Meet me @ acmecorp.com"), "accept"},
		{"Bob at Acme", own, beside("Bob at Acme"), "accept"},
		{"Bob (at work)", own, beside("Bob (at work, acmecorp.com)"), "accept"},
		{"a place elsewhere", own, beside("Carol at far.example"), "accept"},
		{"a place elsewhere, with (at)", own, beside("x (at) far.example"), "accept"},
		{"a grade behind a name", own, beside("Bob Builder (A) acmecorp.com"), "accept"},
		{"a grade", own, beside("Bob (A), acmecorp.com"), "accept"},
		{"a list of what somebody does", own, beside("Bob (a) acmecorp.com, (b) far.example"), "accept"},
		{"letters that turn nothing", own, beside("Bob\u200e of acmecorp.com"), "accept"},
		{"a mailbox without an address", own, func(w *world, a *spoof.Authors) { a.From = append(a.From, spoof.Author{}) }, refused},
		{"addresses without end", own, func(w *world, a *spoof.Authors) {
			for i := range 101 {
				a.From = append(a.From, author(t, fmt.Sprintf("bob+%d@acmecorp.com", i)))
			}
		}, "reject many authors"},
	} {
		t.Run(c.about, func(t *testing.T) {
			w := newWorld()
			authors := writtenBy(t, own)
			c.edit(w, &authors)
			want(t, "the outcome", w.outcome(t, w.submitted(t, "bob", c.sender, authors)), c.want)
		})
	}
}

// beside gives the author's mailbox a text.
func beside(display string) func(w *world, a *spoof.Authors) {
	return func(w *world, a *spoof.Authors) { a.From[0].Display = display }
}

func TestTextThatMayBeAnAddressPutsOffWhileTheDirectoryCannotSay(t *testing.T) {
	for display, expected := range map[string]string{
		"carol at acmecorp.com":   "tempfail unknown",
		"carol (at) acmecorp.com": "tempfail unknown",
		"carol at far.example":    "accept",
	} {
		w := newWorld()
		m := w.submitted(t, "bob@acmecorp.com", "bob@acmecorp.com", writtenBy(t, display+" <bob@acmecorp.com>"))
		w.failed = true
		want(t, display, w.outcome(t, m), expected)
	}
}

func TestALoginThatReadsAsTheNullPathOwnsNothing(t *testing.T) {
	w := newWorld()
	want(t, "the outcome", w.outcome(t, w.submitted(t, "<>", "", spoof.Authors{Fields: 1, From: []spoof.Author{{}}})), "reject not the login's address")
}

func TestTheDirectoryIsAskedOnceForAnAddress(t *testing.T) {
	w := newWorld()
	m := w.submitted(t, "bob", "bob@acmecorp.com", writtenBy(t, "bob@acmecorp.com <BOB@acmecorp.com>", "bob@acmecorp.com"))
	answer, asked := m.Row, 0
	m.Row = func(a mail.Address) route.Row { asked++; return answer(a) }
	want(t, "the outcome", w.outcome(t, m), "accept")
	if asked != 1 {
		t.Errorf("the directory was asked %d times", asked)
	}
}

func TestADirectoryThatCannotAnswerPutsOff(t *testing.T) {
	w := newWorld()
	w.failed = true
	m := w.submitted(t, "bob", "bob@acmecorp.com", writtenBy(t, "bob@acmecorp.com"))
	want(t, "a row", w.outcome(t, m), "tempfail unknown")
	want(t, "the reply", w.reply(m), "451 4.3.0 The message cannot be checked at the moment, try again later")
	m = w.submitted(t, "bob@acmecorp.com", "bob@acmecorp.com", writtenBy(t, "bob@acmecorp.com"))
	want(t, "a login that is the address", w.outcome(t, m), "accept")
	m = w.submitted(t, "carol", "", writtenBy(t, "carol"))
	want(t, "a bare local part", w.outcome(t, m), "tempfail unknown")
	w.Delegates = map[string][]string{"bob": {"@acmecorp.com"}}
	m = w.submitted(t, "bob", "bob@acmecorp.com", writtenBy(t, "bob@acmecorp.com"))
	want(t, "what needs no row", w.outcome(t, m), "accept")
	w.Delegates = nil
	m.Authors.Fields = 2
	want(t, "what no row could change", w.outcome(t, m), "reject several From fields")
	w.failed = false
	m = w.submitted(t, "bob", "", writtenBy(t, "bob@acmecorp.com"))
	m.Row = nil
	want(t, "without a directory", w.outcome(t, m), "reject not the login's address")
}

// Where the delimiter is common in names, one that has it is no subaddress.
func TestAnAddressWithADelimiterIsItsRowsAndNotItsOwners(t *testing.T) {
	w := newWorld()
	w.delimiters = "-"
	send := func(login, address string) string {
		return w.outcome(t, w.submitted(t, login, address, writtenBy(t, address)))
	}
	want(t, "the row's", send("dog", "cat-dog@acmecorp.com"), "accept")
	want(t, "the owner", send("cat@acmecorp.com", "cat-dog@acmecorp.com"), "reject not the login's address")
	want(t, "the owner's other", send("cat@acmecorp.com", "cat-x@acmecorp.com"), "accept")
}

func TestABareLocalPartIsNotLookedUpInManyDomains(t *testing.T) {
	w := newWorld()
	send := func() string { return w.outcome(t, w.submitted(t, "carol", "", writtenBy(t, "carol"))) }
	for i := len(w.routes.Domains); i < 20; i++ {
		name := fmt.Sprintf("domain%d.example", i)
		w.routes.Domains[name] = &route.Domain{Name: name}
	}
	want(t, "in 20", send(), "accept")
	w.routes.Domains["another.example"] = &route.Domain{Name: "another.example"}
	want(t, "in 21", send(), "reject not the login's address")
}

func TestTheReplyNamesTheAddressAndNotItsOwner(t *testing.T) {
	w := newWorld()
	reply := func(address string) string {
		return w.reply(w.submitted(t, "bob", "", writtenBy(t, address)))
	}
	want(t, "the reply", reply("carol@acmecorp.com"), "553 5.7.1 Sender address refused: carol@acmecorp.com does not belong to the login")
	want(t, "one without a domain", reply("carol"), "553 5.7.1 Sender address refused: carol does not belong to the login")
	want(t, "what is not ASCII", reply("jürgen@acmecorp.com"), "553 5.7.1 Sender address refused: j?rgen@acmecorp.com does not belong to the login")
	if long := reply(strings.Repeat("a", 900) + "@acmecorp.com"); len(long) > 250 {
		t.Errorf("the reply has %d bytes", len(long))
	}
}
