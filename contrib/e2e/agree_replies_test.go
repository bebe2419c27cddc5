package e2e

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	gomilter "github.com/emersion/go-milter"

	"coexistd/contrib/lab"
	"coexistd/policy/mail"
	"coexistd/policy/seal"
	"coexistd/policy/verdict"
)

// place names a daemon with its configuration.
type place int

const (
	usual      place = iota
	outbound         // all mail for the Internet leaves through Office 365
	checked          // every check is made, by servers that do as the message says
	pending          // the networks of Office 365 are not known yet
	troubled         // it has neither a spool nor a quarantine
	encrypted        // TLS is demanded
	unarchived       // the archive's mailbox is being moved
	flooded          // each client is let in once a minute, and may ask for one unknown recipient
)

// agreeChecks has every check made. The servers are those of startServers. What a rule
// counts is bounded for those that its overrides name.
const agreeChecks = `
[checkpoint.S0]
checks = ["rate", "spoof", "spam", "virus", "malware"]
[checkpoint.S0.spam]
on_hit = "reject"
[checkpoint.S0.malware]
on_hit = "reject"

[checkpoint.S2]
checks = ["auth", "rate", "spoof", "spam", "virus"]
[checkpoint.S2.spam]
on_hit = "tempfail"
[checkpoint.S2.virus]
on_error = "reject"

[checkpoint.S4]
checks = ["rate"]

[check.spoof]
spf = "reject"

[scanner.clamd]
address = "inet:{clamd}"
[scanner.rspamd]
address = "{rspamd}"
[redis]
addresses = ["127.0.0.1:1"]

[[rate]]
name      = "per sender"
by        = "sender"
limit     = 1000000
per       = "1h"
overrides = { "limited@example.net" = 1 }
[[rate]]
name      = "per domain"
by        = "sender_domain"
limit     = 1000000
per       = "1h"
on_limit  = "reject"
overrides = { "strict.example" = 1 }
[[rate]]
name      = "bytes"
by        = "client"
count     = "bytes"
limit     = "900G"
per       = "1h"
overrides = { "198.51.100.7/32" = 3000 }
[[rate]]
name      = "to one in an hour"
by        = "recipient"
limit     = 1000000
per       = "1h"
[[rate]]
name      = "to one in a day"
by        = "recipient"
limit     = 1000000
per       = "24h"
[[rate]]
name      = "listed"
by        = "sender"
limit     = 1000000
per       = "1h"
column    = "hourly"
[[rate]]
name        = "to platforms"
checkpoints = ["S4"]
by          = "sender"
limit       = 1000000
per         = "1h"
on_error    = "tempfail"
`

// startAll starts the daemons of all places, which find the keys of these signers.
func startAll(t *testing.T, signers map[string]*signer) map[place]agreedDaemon {
	t.Helper()
	daemons := map[place]agreedDaemon{
		usual:    startAgreed(t, agreeTOML),
		outbound: startAgreed(t, withOutbound(agreeTOML, withOffice)),
		// Users of Office 365 may not send through us, and those of Google prove it by signatures.
		checked: startAgreed(t, startServers(t, signers).Replace(strings.Replace(
			strings.Replace(lab.SiteTOML, "may_relay = true\n", "", 1), `tenant   = "`+lab.GoogleTenant+`"`, `proof = { dkim = "globex.example" }`, 1,
		)+agreePlaces+agreeChecks)),
		pending:    startAgreed(t, strings.Replace(agreeTOML, `networks = ["127.0.1.0/24"]`, `networks = ["spf:unknown.example"]`, 1)),
		troubled:   startAgreed(t, `quarantine.dir = "/proc/held"`+"\n"+lab.SiteTOML+agreePlaces),
		encrypted:  startAgreed(t, lab.SiteTOML+agreePlaces+demandsTOML),
		unarchived: startAgreed(t, lab.SiteTOML+agreePlaces+archiveTOML("dave@acmecorp.com", `points = ["S0"]`)),
		flooded: startAgreed(t, strings.Replace(lab.SiteTOML, `exempt = ["127.0.0.0/8"]`, "per_minute = 1\nunknown = 1", 1)+agreePlaces+`
[checkpoint.S2.ddos]
on_hit = "reject"
`),
	}
	if err := os.RemoveAll(filepath.Join(filepath.Dir(daemons[troubled].config), "state", "spool")); err != nil {
		t.Fatal(err)
	}
	return daemons
}

// startServers starts what the checks ask, and returns what puts it into a configuration.
// The scanners find what a message's fields X-Clamd and X-Rspamd say.
func startServers(t *testing.T, signers map[string]*signer) *strings.Replacer {
	t.Helper()
	dns, err := lab.StartDNS()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { dns.Close() })
	dns.Set("_dmarc.reject.example", "TXT", "v=DMARC1; p=reject")
	dns.Set("spf.example", "TXT", "v=spf1 -all")
	for _, s := range signers {
		dns.Set(s.name(), "TXT", s.record)
	}
	clamd := standIn(t, func(conn *net.TCPConn) {
		var asked []byte
		for !bytes.HasSuffix(asked, []byte("\n\x00\x00\x00\x00")) {
			piece := make([]byte, 64<<10)
			n, err := conn.Read(piece)
			if err != nil {
				return
			}
			asked = append(asked, piece[:n]...)
		}
		answer := "stream: OK\x00"
		if m := regexp.MustCompile(`X-Clamd: (.*)\r\n`).FindSubmatch(asked); m != nil {
			answer = string(m[1]) + "\x00"
		}
		conn.Write([]byte(answer))
	})
	rspamd := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var asked bytes.Buffer
		asked.ReadFrom(r.Body)
		action := "no action"
		if m := regexp.MustCompile(`X-Rspamd: (.*)\r\n`).FindSubmatch(asked.Bytes()); m != nil {
			action = string(m[1])
		}
		json.NewEncoder(w).Encode(map[string]any{"action": action, "score": 15, "required_score": 15, "symbols": map[string]any{}})
	}))
	t.Cleanup(rspamd.Close)
	return strings.NewReplacer("{dns}", dns.Addr, "{clamd}", clamd, "{rspamd}", rspamd.URL)
}

// many makes addresses of people who live here.
func many(n int) []string {
	all := make([]string, n)
	for i := range all {
		all[i] = fmt.Sprintf("u%d@local.example", i)
	}
	return all
}

// mailboxes makes a field's value of so many mailboxes.
func mailboxes(n int, pattern string) string {
	all := make([]string, n)
	for i := range all {
		all[i] = fmt.Sprintf(pattern, i)
	}
	return strings.Join(all, ", ")
}

const (
	fromBroken = "gail@broken.example"
	bob        = "bob" // the login
)

// text is a body of more than 3,000 bytes.
var text = strings.Repeat(strings.Repeat("0123456789", 7)+"\r\n", 50)

// refused are the messages that are refused or put off, each for a reason of its own:
// every reply of the catalogue, together with those of an MTA's faults. What explain
// cannot know it is told to assume.
var refused = []agreement{
	// How the client is connected.
	{about: "nobody demands TLS", at: encrypted, client: lab.FromInternet, from: fromEve, to: to(fromBob), want: "S0 accept"},
	{about: "in the clear", code: verdict.TLSNeeded, at: encrypted, client: lab.FromInternet, from: "x@bank.example", to: to(fromBob, fromAlice), want: "S0 reject"},
	{about: "an old version", code: verdict.TLSTooOld, at: encrypted, client: lab.FromInternet, tls: "1.1", name: "mx.bank.example", from: "x@bank.example", to: to(fromBob), want: "S0 reject"},
	{about: "no certificate", code: verdict.TLSNotTrusted, at: encrypted, client: lab.FromInternet, tls: "1.3", from: "x@bank.example", to: to(fromBob), want: "S0 reject"},
	{about: "another certificate", code: verdict.TLSOtherName, at: encrypted, client: lab.FromInternet, tls: "1.3", name: "mx.example.net", from: "x@bank.example", to: to(fromBob), want: "S0 reject"},
	{about: "as demanded", at: encrypted, client: lab.FromInternet, tls: "1.3", name: "mx.bank.example", from: "x@bank.example", to: to(fromBob), want: "S0 accept"},
	{about: "a platform in the clear", code: verdict.TLSNeeded, at: encrypted, client: lab.FromOffice365, tenant: 1, from: fromAlice, to: to(fromBob), want: "S0 reject"},
	// Where the message comes from, and where its recipients live.
	{about: "networks not known", code: verdict.NetworksNotKnown, at: pending, client: lab.FromInternet, from: fromEve, to: to(fromBob), want: "S0 tempfail"},
	{about: "networks not known, our network", at: pending, client: lab.FromUser, from: fromBob, to: to(fromBob), want: "S2 accept"},
	{about: "a routed local part", code: verdict.RoutedLocalPart, client: lab.FromInternet, from: fromEve, to: to("a%b.example@local.example"), want: "S0 reject"},
	{about: "an alternate domain", code: verdict.AlternateFromOutside, client: lab.FromInternet, from: fromEve, to: to("alice@acmecorp-com.onmicrosoft.com"), want: "S0 reject"},
	{about: "a route's own address", code: verdict.HiddenRecipient, client: lab.FromUser, from: fromBob, to: to("bob=at=far.example@host.example.p25.0123456789abcdef0123.route.invalid"), want: "S2 reject"},
	{about: "a foreign domain", code: verdict.RelayFromOutside, client: lab.FromInternet, from: fromEve, to: to("far@example.org"), want: "S0 reject"},
	{about: "a platform that may not relay", at: checked, client: lab.FromOffice365, tenant: 1, from: fromAlice, to: to(fromEve), want: "S0 reject"},
	{about: "a platform that may not relay any more, released", code: verdict.RelayFromPlatform, at: checked, client: lab.FromUser, from: fromAlice, to: to(fromEve), pass: &seal.Pass{ID: "1", Point: verdict.S1, Platform: "office365"}, want: "S1 reject"},
	{about: "a listed address in its own alternate domain", code: verdict.LoopListed, client: lab.FromOffice365, tenant: 1, from: fromEve, to: to("alice@acmecorp-com.onmicrosoft.com"), want: "S1 reject"},
	{about: "an unlisted address in its own alternate domain", code: verdict.LoopOwnAddress, client: lab.FromOffice365, tenant: 1, from: fromEve, to: to("nobody@acmecorp-com.onmicrosoft.com"), want: "S1 reject"},
	{about: "sent back by its platform", code: verdict.LoopSentBack, client: lab.FromOffice365, tenant: 1, from: fromEve, to: to(fromAlice), want: "S1 reject"},
	{about: "sent on too often", code: verdict.LoopPasses, client: lab.FromInternet, passes: 3, from: fromEve, to: to(fromAlice), want: "S0 reject"},
	{about: "a broken directory", code: verdict.DirectoryFailed, client: lab.FromInternet, from: fromEve, to: to(fromBroken), want: "S0 tempfail"},
	{about: "an unknown address", code: verdict.Unlisted, client: lab.FromInternet, from: fromEve, to: to("nobody@acmecorp.com"), want: "S0 reject"},
	{about: "come past the MX", code: verdict.PastMX, client: lab.FromInternet, from: fromEve, to: to("paul@past.example"), want: "S0 reject"},
	{about: "a mailbox that moves", code: verdict.Moving, client: lab.FromInternet, from: fromEve, to: to("dave@acmecorp.com"), want: "S0 tempfail"},
	{about: "an address that is too long at its platform", code: verdict.TooLongThere, client: lab.FromInternet, from: fromEve, to: to("alice+" + strings.Repeat("x", 220) + "@acmecorp.com"), want: "S0 reject"},
	{about: "a bounce's second recipient", code: verdict.BounceToSeveral, client: lab.FromInternet, to: to(fromAlice, fromBob), want: "S0 accept"},

	// The envelope and the header as such.
	{about: "a sender that is no address", code: verdict.BadSender, client: lab.FromInternet, from: "eve@example..net", to: to(fromBob), want: " reject"},
	{about: "a recipient that is no address", code: verdict.BadRecipient, client: lab.FromInternet, from: fromEve, to: to("bob@acmecorp..com"), want: "S0 reject"},
	{about: "the null path as recipient", code: verdict.BadRecipient, client: lab.FromInternet, from: fromEve, to: to(""), want: "S0 reject"},
	{about: "too many recipients", code: verdict.TooManyRecipients, client: lab.FromInternet, from: fromEve, to: many(4097), want: "S0 accept"},
	{about: "too many recipients on the host", code: verdict.TooManyOnHost, onHost: true, from: fromBob, to: many(4097), want: "S2 reject"},
	{about: "too many fields", code: verdict.HeaderTooLarge, client: lab.FromInternet, from: fromEve, to: to(fromBob), fields: slices.Repeat([]string{"X-Field: x"}, mail.MaxHeaderFields), want: "S0 reject"},
	{about: "too long a header", code: verdict.HeaderTooLarge, client: lab.FromInternet, from: fromEve, to: to(fromBob), fields: slices.Repeat([]string{"X-Field: " + strings.Repeat("x", 60_000)}, 1+mail.MaxHeaderBytes/60_000), want: "S0 reject"},
	{about: "too many fields to be removed", code: verdict.TooManyFields, client: lab.FromInternet, from: fromEve, to: to(fromBob), fields: slices.Repeat([]string{"Authentication-Results: x"}, 101), want: "S0 reject"},

	// What the daemon cannot do.
	{about: "no quarantine", code: verdict.NotHeld, at: troubled, client: lab.FromInternet, from: fromEve, to: to(fromBob), fields: programFields, assume: []string{"--find", "malware=hit:extension setup.exe", "--without", "store"}, want: "S0 tempfail"},
	{about: "no archive", code: verdict.ArchiveLost, at: unarchived, client: lab.FromInternet, from: fromEve, to: to(fromBob), want: "S0 tempfail"},
	{about: "nothing is archived", at: unarchived, client: lab.FromUser, from: fromBob, to: to(fromBob), want: "S2 accept"},
	{about: "no spool", code: verdict.SpoolFailed, at: troubled, client: lab.FromInternet, from: fromEve, to: to(fromBob), body: strings.Repeat(text, 100), assume: []string{"--without", "spool"}, want: "S0 tempfail"},

	// Checks.
	{about: "clamd cannot tell", code: verdict.CheckUnknown, at: checked, client: lab.FromInternet, from: fromEve, to: to(fromBob), fields: scanned("X-Clamd: stream: no ERROR"), assume: []string{"--find", "virus=unknown"}, want: "S0 tempfail"},
	{about: "clamd cannot tell, which refuses", code: verdict.CheckUnknownRefused, at: checked, client: lab.FromUser, from: fromBob, to: to(fromBob), fields: scanned("X-Clamd: stream: no ERROR"), assume: []string{"--find", "virus=unknown"}, want: "S2 reject"},
	{about: "a virus", code: verdict.VirusFound, at: checked, client: lab.FromInternet, from: fromEve, to: to(fromBob), fields: scanned("X-Clamd: stream: Win.Test FOUND"), assume: []string{"--find", "virus=hit:Win.Test"}, want: "S0 reject"},
	{about: "spam that is put off", code: verdict.NotTaken, at: checked, client: lab.FromUser, from: fromBob, to: to(fromBob), fields: scanned("X-Rspamd: reject"), assume: []string{"--find", "spam=hit"}, want: "S2 tempfail"},
	{about: "spam", code: verdict.RefusedAs, at: checked, client: lab.FromInternet, from: fromEve, to: to(fromBob), fields: scanned("X-Rspamd: reject"), assume: []string{"--find", "spam=hit"}, want: "S0 reject"},
	{about: "an attachment", code: verdict.AttachmentRefused, at: checked, client: lab.FromInternet, from: fromEve, to: to(fromBob), fields: programFields, assume: []string{"--find", "malware=hit:extension setup.exe"}, want: "S0 reject"},
	{about: "nobody logged in", code: verdict.AuthRequired, listener: 4, client: lab.FromInternet, from: fromEve, to: to(fromBob), want: "S2 reject"},
	{about: "a flood", code: verdict.TooMuch, at: flooded, again: true, client: "192.0.2.1", from: fromEve, to: to(fromBob), assume: []string{"--find", "ddos=hit"}, want: "S0 tempfail"},
	{about: "a flood that is refused", code: verdict.TooMuchRefused, at: flooded, again: true, listener: 4, client: "192.0.2.2", from: fromEve, to: to(fromBob), assume: []string{"--find", "ddos=hit"}, want: "S2 reject"},
	{about: "a harvest", code: verdict.TooManyUnknown, at: flooded, again: true, client: "192.0.2.3", from: fromEve, to: to("nobody@acmecorp.com", "none@acmecorp.com"), assume: []string{"--find", "ddos=hit:unknown"}, want: "S0 tempfail"},
	{about: "a harvest that is refused", code: verdict.TooManyUnknownRefused, at: flooded, again: true, listener: 4, client: "192.0.2.4", user: "bob", from: fromBob, to: to("nobody@acmecorp.com", "none@acmecorp.com"), assume: []string{"--find", "ddos=hit:unknown"}, want: "S2 reject"},

	// Limits.
	{about: "a limit in a broken directory", code: verdict.LimitNotKnown, at: checked, client: lab.FromInternet, from: fromBroken, to: to(fromBob), want: "S0 tempfail"},
	{about: "too many limits", code: verdict.TooManyLimits, at: checked, client: lab.FromInternet, from: fromEve, to: many(501), want: "S0 tempfail"},
	{about: "a limit that nobody can tell", code: verdict.LimitNotAsked, at: checked, client: lab.FromInternet, from: fromEve, to: to(fromAlice), assume: []string{"--find", "rate=unknown"}, want: "S0 tempfail"},
	{about: "over a limit", code: verdict.OverLimit, at: checked, again: true, client: lab.FromInternet, from: "limited@example.net", to: to(fromBob), assume: []string{"--over", "per sender"}, want: "S0 tempfail"},
	{about: "over a limit that refuses", code: verdict.OverLimitRefused, at: checked, again: true, client: lab.FromInternet, from: "x@strict.example", to: to(fromBob), assume: []string{"--over", "per domain"}, want: "S0 reject"},
	{about: "larger than a limit", code: verdict.OverBurst, at: checked, client: "198.51.100.7", from: fromEve, to: to(fromBob), body: text, want: "S0 reject"},
	{about: "a bounce larger than a limit", code: verdict.OverBurstBounce, at: checked, client: "198.51.100.7", to: to(fromBob), body: text, want: "S0 tempfail"},

	// Senders at S2.
	{about: "more senders than are looked at", code: verdict.TooManySenders, at: checked, client: lab.FromInternet, user: bob, from: fromBob, to: to(fromBob), fields: []string{"From: " + mailboxes(100, "bob+%d@acmecorp.com")}, want: "S2 reject"},
	{about: "another's address", code: verdict.NotTheLogins, at: checked, client: lab.FromInternet, user: bob, from: fromBob, to: to(fromBob), fields: []string{"From: " + fromAlice}, want: "S2 reject"},
	{about: "several From fields", code: verdict.SeveralFrom, at: checked, client: lab.FromInternet, user: bob, from: fromBob, to: to(fromBob), fields: []string{"From: " + fromBob, "From: " + fromAlice}, want: "S2 reject"},
	{about: "an author who cannot be read", code: verdict.AuthorUnreadable, at: checked, client: lab.FromInternet, user: bob, from: fromBob, to: to(fromBob), fields: []string{"From: <<"}, want: "S2 reject"},
	{about: "no author", code: verdict.AuthorLacks, at: checked, client: lab.FromInternet, user: bob, to: to(fromBob), fields: []string{"Subject: x"}, want: "S2 reject"},

	// Senders outside.
	{about: "more authors than are looked at", code: verdict.AuthorsUnread, at: checked, client: lab.FromInternet, from: fromEve, to: to(fromBob), fields: []string{"From: " + mailboxes(101, "a%d@example.net")}, want: "S0 reject"},
	{about: "more domains in what cannot be read than are looked at", code: verdict.TooManyDomainsSeen, at: checked, client: lab.FromInternet, from: fromEve, to: to(fromBob), fields: []string{"From: << " + mailboxes(300, "a@d%d.example")}, want: "S0 reject"},
	{about: "authors of more domains than are looked at", code: verdict.TooManyDomains, at: checked, client: lab.FromInternet, from: fromEve, to: to(fromBob), fields: []string{"From: " + mailboxes(5, "a@d%d.example")}, want: "S0 reject"},
	{about: "a sender without a domain", code: verdict.SenderWithoutDomain, at: checked, client: lab.FromInternet, from: "eve", to: to(fromBob), want: "S0 reject"},
	{about: "a domain of ours", code: verdict.OwnDomain, at: checked, client: lab.FromInternet, from: fromEve, to: to(fromBob), fields: []string{"From: " + fromAlice}, assume: []string{"--find", "spoof=hit:own-domain"}, want: "S0 reject"},
	{about: "a domain of ours, signed by another", code: verdict.OwnDomain, at: checked, client: lab.FromInternet, from: fromEve, to: to(fromBob), fields: []string{"From: " + fromAlice}, signed: "example.net", assume: []string{"--find", "spoof=hit:own-domain", "--signed", "example.net"}, want: "S0 reject"},
	{about: "a domain of ours from another's platform", code: verdict.OwnDomainElsewhere, at: checked, client: lab.FromOffice365, tenant: 1, from: fromAlice, to: to(fromBob), fields: []string{"From: hugo@globex.example"}, assume: []string{"--find", "spoof=hit"}, want: "S1 reject"},
	{about: "a platform without a tenant", code: verdict.TenantNotProven, at: checked, client: lab.FromOffice365, from: fromAlice, to: to(fromBob), fields: []string{"From: " + fromAlice}, assume: []string{"--find", "spoof=hit:tenant-not-proven"}, want: "S0 tempfail"},
	{about: "a stranger's policy and a Sender of ours from a platform without a tenant", code: verdict.TenantNotProven, at: checked, client: lab.FromOffice365, to: to(fromBob), fields: []string{"From: x@reject.example", "Sender: " + fromAlice}, assume: []string{"--find", "spoof=hit:dmarc-fails"}, want: "S0 tempfail"},
	{about: "DMARC", code: verdict.DMARCFails, at: checked, client: lab.FromInternet, from: fromEve, to: to(fromBob), fields: []string{"From: x@reject.example"}, assume: []string{"--find", "spoof=hit:dmarc-fails"}, want: "S0 reject"},
	{about: "SPF", code: verdict.SPFFails, at: checked, client: lab.FromInternet, from: "x@spf.example", to: to(fromBob), assume: []string{"--find", "spoof=hit:spf-fails"}, want: "S0 reject"},
}

// scanned are the fields of a message of which a scanner is told what to find.
func scanned(field string) []string { return []string{"From: sender@example.net", field} }

// programFields are the fields of a message that is a program.
var programFields = []string{"From: sender@example.net", `Content-Type: application/octet-stream; name="setup.exe"`}

// fault is what only an MTA that is out of order does, which explain is not asked about.
type fault struct {
	about string
	code  verdict.Code
	// say speaks as such an MTA, and returns the daemon's last reply.
	say func(t *testing.T, d agreedDaemon, id string) string
}

var bobsMail = agreement{client: lab.FromUser, from: fromBob}

var faults = []fault{
	{"a queue that is older than the secret", verdict.HiddenUnknown, func(t *testing.T, d agreedDaemon, _ string) string {
		answer := d.lookedUp(t, "transport bob=at=far.example@host.example.p25.0123456789abcdef0123.route.invalid")
		return strings.Replace(answer, "OK ./retry:", "451 ", 1)
	}},
	{"a recipient without a sender", verdict.SenderLacks, func(t *testing.T, d agreedDaemon, _ string) string {
		s := d.session(t, 1, everyAction)
		s.says(s.Conn("client.example", gomilter.FamilyInet, 12345, lab.FromUser))
		return s.says(s.Rcpt(fromAlice, nil))
	}},
	{"the end of a message without a recipient", verdict.RecipientsNotAsked, func(t *testing.T, d agreedDaemon, id string) string {
		s := d.session(t, 1, everyAction)
		s.begin(bobsMail, id)
		_, reply := s.end([]string{"From: " + fromBob}, "")
		return reply
	}},
	{"an MTA that allows no change", verdict.NotSetUp, func(t *testing.T, d agreedDaemon, id string) string {
		s := d.session(t, 1, gomilter.OptAddHeader)
		s.begin(bobsMail, id)
		return s.says(s.Rcpt(fromAlice, nil))
	}},
	{"an ESMTP argument with a space in it", verdict.ChangeUnfit, func(t *testing.T, d agreedDaemon, id string) string {
		s := d.session(t, 1, everyAction)
		s.begin(bobsMail, id)
		s.says(s.Rcpt(fromAlice, []string{"ORCPT=rfc822;alice @acmecorp.com"}))
		_, reply := s.end([]string{"From: " + fromBob}, "")
		return reply
	}},
	{"a connection that is older than the first configuration with scanners", verdict.BodyNotTold, func(t *testing.T, _ agreedDaemon, id string) string {
		toml := "our_networks = [\"127.0.4.0/24\"]\nstate_dir = \"{dir}/state\"\n[[listen]]\naddress = \"unix:{dir}/milter.sock\"\n" +
			"[domain.\"local.example\"]\nunlisted = \"here\"\n[checkpoint.S0]\nchecks = []\n"
		d := startAgreed(t, toml)
		s := d.session(t, 1, everyAction)
		err := os.WriteFile(d.config, []byte(strings.NewReplacer("{dir}", filepath.Dir(d.config), "checks = []", `checks = ["malware"]`).Replace(toml)), 0o644)
		if _, failed := d.Reload(deadline(t)); err != nil || failed != nil {
			t.Fatal(errors.Join(err, failed))
		}
		s.begin(agreement{client: lab.FromInternet, from: fromEve}, id)
		s.says(s.Rcpt("u@local.example", nil))
		_, reply := s.end([]string{"From: " + fromEve}, "")
		return reply
	}},
}

// lookedUp asks a lookup of the daemon (socketmap_table(5)).
func (d agreedDaemon) lookedUp(t *testing.T, request string) string {
	t.Helper()
	conn, err := net.Dial("unix", filepath.Join(filepath.Dir(d.config), "lookup.sock"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	fmt.Fprintf(conn, "%d:%s,", len(request), request)
	var length int
	r := bufio.NewReader(conn)
	if _, err := fmt.Fscanf(r, "%d:", &length); err != nil {
		t.Fatal(err)
	}
	answer := make([]byte, length)
	if _, err := io.ReadFull(r, answer); err != nil {
		t.Fatal(err)
	}
	return string(answer)
}

func TestTheFaultsOfAnMTAAreAnswered(t *testing.T) {
	t.Parallel()
	d := startAgreed(t, agreeTOML)
	for i, f := range faults {
		t.Run(f.about, func(t *testing.T) {
			mustAnswer(t, f.code, f.say(t, d, fmt.Sprintf("FAULT%d", i)))
		})
	}
}

func TestEveryReplyOfTheCatalogueIsGivenAndForeseen(t *testing.T) {
	given := make(map[verdict.Code]bool)
	for _, a := range slices.Concat(routed, refused) {
		given[a.code] = true
	}
	for _, f := range faults {
		if given[f.code] {
			t.Errorf("explain foresees %s: it is no MTA's fault", f.code)
		}
		given[f.code] = true
	}
	for _, code := range verdict.Replies() {
		if !given[code] {
			t.Errorf("no message is refused or put off for %s", code)
		}
	}
}

// pattern returns what matches a text that is filled in with arg.
func pattern(text string) *regexp.Regexp {
	quoted := regexp.QuoteMeta(text)
	return regexp.MustCompile(strings.NewReplacer(`"`+arg+`"`, ".*", arg, ".*", regexp.QuoteMeta("invalid IP"), ".*").Replace(quoted))
}

const arg = "ARGUMENT"

// why is a reason with that code.
func why(code verdict.Code) verdict.Reason { return verdict.Why(code, arg, arg, arg, arg, arg) }

// mustAnswer checks that a reply is the one that belongs to a code.
func mustAnswer(t *testing.T, code verdict.Code, reply string) {
	t.Helper()
	want := why(code).Reply()
	if want.Text != why(code).String() {
		// Of a loop, the client is told all reasons.
		want.Text = strings.ReplaceAll(want.Text, why(code).String(), arg)
	}
	if !pattern(want.String()).MatchString(reply) {
		t.Errorf("the reply is %q; that of %s is %q", reply, code, want)
	}
}

// mustNameReason checks that a text gives a reason.
func mustNameReason(t *testing.T, code verdict.Code, text string) {
	t.Helper()
	if !pattern(why(code).String()).MatchString(text) {
		t.Errorf("the reason %s, %q, is not among\n%s", code, why(code), text)
	}
}
