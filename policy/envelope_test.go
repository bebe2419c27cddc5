package policy_test

import (
	"strings"
	"testing"

	"coexistd/policy/route"
)

func TestRewritesEveryWayOfWritingAnAddress(t *testing.T) {
	const alternate = "@acmecorp-com.onmicrosoft.com"
	for _, c := range []struct{ path, added, orcpt string }{
		{"alice@acmecorp.com", "alice" + alternate, "rfc822;alice@acmecorp.com"},
		{"Alice@AcmeCorp.COM", "Alice" + alternate, "rfc822;Alice@AcmeCorp.COM"},
		{"alice@acmecorp.com.", "alice" + alternate, "rfc822;alice@acmecorp.com."},
		{"alice+tag@acmecorp.com", "alice+tag" + alternate, "rfc822;alice+2Btag@acmecorp.com"},
		{"alice+x=1@acmecorp.com", "alice+x=1" + alternate, "rfc822;alice+2Bx+3D1@acmecorp.com"},
		{"ALICE+Tag+More@acmecorp.com", "ALICE+Tag+More" + alternate, "rfc822;ALICE+2BTag+2BMore@acmecorp.com"},
		{`"alice"@acmecorp.com`, `"alice"` + alternate, `rfc822;"alice"@acmecorp.com`},
		{`"a\lice+x"@acmecorp.com`, `"a\lice+x"` + alternate, `rfc822;"a\lice+2Bx"@acmecorp.com`},
		{`"Two words"@acmecorp.com`, `"Two words"` + alternate, `rfc822;"Two+20words"@acmecorp.com`},
		{`Two words@acmecorp.com`, `"Two words"` + alternate, `rfc822;Two+20words@acmecorp.com`},
		{"jürgen@acmecorp.com", "jürgen" + alternate, `utf-8;j+C3+BCrgen@acmecorp.com`},
		{"JÜRGEN+x=1@acmecorp.com", "JÜRGEN+x=1" + alternate, `utf-8;J+C3+9CRGEN+2Bx+3D1@acmecorp.com`},
		{"@hop.example,@[IPv6:2001:db8::1]:alice@acmecorp.com", "alice" + alternate, "rfc822;alice@acmecorp.com"},
	} {
		got := newWorld().send(t, message{client: internetClient, from: stranger, to: []string{c.path}})
		want(t, c.path+" added", added(got.Decision), c.added)
		// Postfix keeps a recipient without its source route.
		removed := c.path
		if i := strings.LastIndex(c.path, "]:"); i >= 0 {
			removed += " " + c.path[i+2:]
		}
		want(t, c.path+" deleted as written", deleted(got.Decision), removed)
		want(t, c.path+" ORCPT", addition(got.Decision).ORcpt, c.orcpt)
	}
}

func TestAListedSubaddressGoesBeforeItsOwner(t *testing.T) {
	w := newWorld().with(map[string]string{"alice+lab@acmecorp.com": "here"})
	got := w.send(t, message{client: internetClient, from: stranger, to: []string{"alice+lab@acmecorp.com"}})
	want(t, "flow", got.Recipients[0].Ways.String(), "S0=>LD")
}

func TestWithoutDelimitersThereAreNoSubaddresses(t *testing.T) {
	w := newWorld()
	w.Delimiters = ""
	got := w.send(t, message{client: internetClient, from: stranger, to: []string{"alice+tag@acmecorp.com"}})
	want(t, "reply", got.refused["alice+tag@acmecorp.com"].Reply.Enhanced, "5.1.1")
}

func TestAnAddedRecipientIsOneAddressWhateverTheLocalPartHolds(t *testing.T) {
	w := newWorld()
	w.domain().Unlisted = route.Residence{Kind: route.There, Platform: "google"}
	for local, quoted := range map[string]string{
		"a,b": `"a,b"`, "a;b": `"a;b"`, "a:b": `"a:b"`, "a(b)c": `"a(b)c"`, "a[b": `"a[b"`, `a\b`: `"a\\b"`, `a"b`: `"a\"b"`, "a@b": `"a@b"`,
	} {
		path := local + "@acmecorp.com"
		got := w.send(t, message{client: internetClient, from: stranger, to: []string{path, quoted + "@acmecorp.com"}})
		want(t, path, added(got.Decision), quoted+"@gapps.acmecorp.com")
	}
}

func TestQuotedAddressesArePassedOnAsTheyWereWritten(t *testing.T) {
	w := newWorld()
	w.domain().Unlisted = route.Residence{Kind: route.There, Platform: "google"}
	for local, orcpt := range map[string]string{`"a b"`: `"a+20b"`, `"a@b"`: `"a@b"`, `"a>\"<b"`: `"a>\"<b"`, `"ab"`: `"ab"`} {
		path := local + "@acmecorp.com"
		got := w.send(t, message{client: internetClient, from: stranger, to: []string{path}})
		want(t, path+" added", added(got.Decision), local+"@gapps.acmecorp.com")
		want(t, path+" deleted", deleted(got.Decision), path)
		want(t, path+" ORCPT", addition(got.Decision).ORcpt, "rfc822;"+orcpt+"@acmecorp.com")
		// Of these, nobody is moved, so that the MTA delivers to what the client wrote.
		got = w.send(t, message{client: ourClient, from: "bob@acmecorp.com", to: []string{local + "@far.example", local + "@gapps.acmecorp.com"}})
		want(t, path+" elsewhere", added(got.Decision)+deleted(got.Decision), "")
	}
}

func TestSubdomainsAndFurtherDomainsStandForThemselves(t *testing.T) {
	got := newWorld().send(t, message{client: internetClient, from: stranger,
		to: []string{"alice@acmecorp.com", "alice@eu.acmecorp.com", "alice@acme.net", "bob@eu.acmecorp.com", "alice@us.acmecorp.com"}})
	want(t, "added", added(got.Decision), "alice@acmecorp-com.onmicrosoft.com alice@acme-net.onmicrosoft.com")
	want(t, "the subdomain", got.Recipients[1].Ways.String(), "S0=>LD")
	want(t, "listed in the parent only", got.refused["bob@eu.acmecorp.com"].Reply.Enhanced, "5.1.1")
	want(t, "a subdomain that is not configured", got.refused["alice@us.acmecorp.com"].Reply.Enhanced, "5.7.1")
}

func TestAnInternationalDomainIsFoundInBothForms(t *testing.T) {
	w := newWorld().with(map[string]string{"alice@xn--bcher-kva.example": "office365"})
	w.Routes.Domains["xn--bcher-kva.example"] = &route.Domain{Name: "xn--bcher-kva.example",
		Alternates: map[string]string{"office365": "buecher.onmicrosoft.com"}}
	for _, path := range []string{"alice@bücher.example", "alice@BÜCHER.example", "alice@XN--bcher-kva.example"} {
		got := w.send(t, message{client: internetClient, from: stranger, to: []string{path}})
		want(t, path, added(got.Decision), "alice@buecher.onmicrosoft.com")
	}
}

func TestABareLocalPartAndAnAddressLiteralAreTheMTAs(t *testing.T) {
	got := newWorld().send(t, message{client: internetClient, from: stranger, to: []string{"postmaster", "alice"}})
	for _, r := range got.Recipients {
		want(t, r.Address, r.Ways.String(), "S0=>LD")
	}
	want(t, "changes", added(got.Decision)+deleted(got.Decision), "")
	for _, path := range []string{"x@[192.0.2.1]", "x@[IPv6:2001:db8::1]"} {
		got = newWorld().send(t, message{client: ourClient, from: stranger, to: []string{path}})
		want(t, path, got.Recipients[0].Ways.String(), "S2=>S3=>ED")
		want(t, path+" changes", added(got.Decision)+deleted(got.Decision), "")
	}
}

func TestMailMadeOnTheHostIsNeverRefusedAtRCPT(t *testing.T) {
	for _, failed := range []bool{false, true} {
		w := newWorld()
		w.failed = failed
		for _, from := range []string{"root@acmecorp.com", "<>"} {
			got := w.send(t, message{onHost: true, from: from, to: []string{"nobody@acmecorp.com", "dave@acmecorp.com", "alice@acmecorp.com", "x@far.example"}})
			if len(got.refused) > 0 {
				t.Errorf("refused: %v", got.refused)
			}
		}
	}
}

func TestMailMadeOnTheHostEndsAsItsRecipientsAllow(t *testing.T) {
	for _, c := range []struct {
		name           string
		to             []string
		verdict, reply string
		added          string
	}{
		{"one there", []string{"alice@acmecorp.com"}, "accept", "", "alice@acmecorp-com.onmicrosoft.com"},
		{"nobody beside one there", []string{"nobody@acmecorp.com", "alice@acmecorp.com"}, "accept", "", "alice@acmecorp-com.onmicrosoft.com"},
		{"nobody", []string{"nobody@acmecorp.com"}, "reject", "550 5.1.1", ""},
		{"nobody twice", []string{"nobody@acmecorp.com", "no.one@acmecorp.com"}, "reject", "550 5.1.1", ""},
		{"moving", []string{"dave@acmecorp.com", "bob@acmecorp.com"}, "tempfail", "450 4.2.1", ""},
		{"moving beside nobody", []string{"nobody@acmecorp.com", "dave@acmecorp.com"}, "tempfail", "450 4.2.1", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			got := newWorld().send(t, message{onHost: true, from: "root@acmecorp.com", to: c.to})
			want(t, "point", got.Checkpoint.String(), "S2")
			want(t, "verdict", got.Verdict.String(), c.verdict)
			want(t, "added", added(got.Decision), c.added)
			if !strings.HasPrefix(got.Reply.String(), c.reply) {
				t.Errorf("reply: got %q, want %q", got.Reply, c.reply)
			}
		})
	}
}

// Postfix tells of "alice", whom the sendmail command was given, as alice@ its myorigin, and removes her by
// the name that it was given alone.
func TestRecipientsOfMailMadeOnTheHostAreRemovedByTheirNamesAsWell(t *testing.T) {
	for _, c := range []struct {
		to      []string
		deleted string
	}{
		{[]string{"Alice+x@acmecorp.com"}, "Alice+x@acmecorp.com Alice+x"},
		{[]string{"alice@acmecorp.com", "alice@acme.net"}, "alice@acmecorp.com alice alice@acme.net"},
		{[]string{"alice@acmecorp.com", "alice@far.example"}, "alice@acmecorp.com"},
		{[]string{"alice", "alice@acmecorp.com"}, "alice@acmecorp.com"},
		{[]string{`"two words"@acmecorp.com`}, `"two words"@acmecorp.com "two words"`},
		// Without their domain, these would be others' addresses: x@far.example, the last by Postfix's
		// allow_percent_hack and swap_bangpath.
		{[]string{`"x@far.example"@acmecorp.com`, "x@far.example"}, `"x@far.example"@acmecorp.com`},
		{[]string{`x%far.example@acmecorp.com`, "x@far.example"}, `x%far.example@acmecorp.com`},
		{[]string{`far.example!x@acmecorp.com`, "x@far.example"}, `far.example!x@acmecorp.com`},
		{[]string{"bob@acmecorp.com", "carol@acmecorp.com"}, ""},
	} {
		w := newWorld().with(map[string]string{`"x@far.example"@acmecorp.com`: "office365", "x%far.example@acmecorp.com": "office365", "far.example!x@acmecorp.com": "office365"})
		got := w.send(t, message{onHost: true, from: "root@acmecorp.com", to: c.to})
		want(t, strings.Join(c.to, " "), deleted(got.Decision), c.deleted)
	}
	want(t, "by SMTP", deleted(newWorld().send(t, message{client: ourClient, from: "bob@acmecorp.com", to: []string{"alice@acmecorp.com"}}).Decision), "alice@acmecorp.com")
}

func TestALoopOnTheHostIsNotLeftToTheMTA(t *testing.T) {
	w := newWorld()
	w.Routes.MaxPasses = 1
	m := message{onHost: true, from: "root@acmecorp.com", to: []string{"alice@acmecorp.com", "bob@acmecorp.com"}}
	m.traces = []string{trace(w.send(t, m).Decision)}
	want(t, "reply", w.send(t, m).Reply.Enhanced, "5.4.6")
}

func TestNobodyIsAddedTwice(t *testing.T) {
	const sentOn = "alice@acmecorp-com.onmicrosoft.com"
	for _, c := range []struct {
		to             []string
		added, deleted string
	}{
		{[]string{"alice@acmecorp.com", "ALICE@acmecorp.com"}, sentOn, "alice@acmecorp.com ALICE@acmecorp.com"},
		{[]string{"alice@acmecorp.com", `"alice"@acmecorp.com`}, sentOn, `alice@acmecorp.com "alice"@acmecorp.com`},
		{[]string{sentOn, "alice@acmecorp.com"}, "", "alice@acmecorp.com"},
		{[]string{"alice@acmecorp.com", `"Alice"@acmecorp-com.onmicrosoft.com`}, "", "alice@acmecorp.com"},
		{[]string{"alice@acmecorp.com", "alice@acme.net"}, sentOn + " alice@acme-net.onmicrosoft.com", "alice@acmecorp.com alice@acme.net"},
		{[]string{"alice@acmecorp.com", "alice+x@acmecorp.com"}, sentOn + " alice+x@acmecorp-com.onmicrosoft.com", "alice@acmecorp.com alice+x@acmecorp.com"},
		{[]string{"carol@acmecorp.com", "Carol@acmecorp.com"}, "carol@acmecorp-com.onmicrosoft.com", ""},
	} {
		got := newWorld().send(t, message{client: ourClient, from: "bob@acmecorp.com", to: c.to})
		want(t, "added", added(got.Decision), c.added)
		want(t, "deleted", deleted(got.Decision), c.deleted)
	}
}

func TestNotifyAndORCPTOfTheSenderAreKept(t *testing.T) {
	m := message{client: internetClient, from: stranger, to: []string{"alice@acmecorp.com"}, edit: func(r *route.Recipient) {
		r.Notify, r.ORcpt = "NEVER", "rfc822;list+2Bmember@far.example"
	}}
	for _, to := range []string{"alice@acmecorp.com", "carol@acmecorp.com"} {
		m.to[0] = to
		add := addition(newWorld().send(t, m).Decision)
		want(t, "NOTIFY", add.Notify, "NEVER")
		want(t, "ORCPT", add.ORcpt, "rfc822;list+2Bmember@far.example")
	}
	for given, kept := range map[string]string{
		`utf-8;J\x{FC}rgen\x{2B}x@far.example`: "utf-8;J+C3+BCrgen+2Bx@far.example",
		"UTF-8;Jürgen@far.example":             "UTF-8;J+C3+BCrgen@far.example",
		`utf-8;\x{5C}\x{110000}\x{\x{e9}\x{`:   `utf-8;\\x{110000}\x{+C3+A9\x{`,
	} {
		m.edit = func(r *route.Recipient) { r.ORcpt = given }
		want(t, given, addition(newWorld().send(t, m).Decision).ORcpt, kept)
	}
	m.edit = nil
	want(t, "no NOTIFY", addition(newWorld().send(t, m).Decision).Notify, "")
}

// Sendmail loses a recipient that is added with a longer address.
func TestNobodyIsSentOnToAnAddressThatNoMTATakes(t *testing.T) {
	const longest = 253
	for _, owner := range []string{"alice", "carol"} {
		fits := owner + "+" + strings.Repeat("x", longest-len(owner+"+@acmecorp-com.onmicrosoft.com"))
		for _, point := range []message{{client: internetClient, from: stranger}, {client: officeClient, proven: true, from: stranger}} {
			point.to = []string{fits + "x@acmecorp.com"}
			want(t, point.to[0], newWorld().send(t, point).refused[point.to[0]].Reply.Enhanced, "5.1.3")
		}
		add := addition(newWorld().send(t, message{client: internetClient, from: stranger, to: []string{fits + "@acmecorp.com"}}).Decision)
		want(t, "the address", add.Address, fits+"@acmecorp-com.onmicrosoft.com")
	}
}

func TestRepliesAreOneLineOfPrintableASCIIOfBoundedLength(t *testing.T) {
	long := strings.Repeat("ü", 110)
	w := newWorld().with(map[string]string{long + "@acmecorp.com": "office365"})
	got := w.send(t, message{client: officeClient, proven: true, from: stranger, to: []string{long + "@acmecorp.com"}})
	reply := got.Reply.String()
	if len(reply) > 512 || strings.ContainsFunc(reply, func(c rune) bool { return c < ' ' || c > '~' }) {
		t.Errorf("got %q", reply)
	}
	want(t, "reply", got.Reply.Enhanced, "5.4.6")
}
