package e2e

import (
	"cmp"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"coexistd/contrib/lab"
	"coexistd/milter/record"
	"coexistd/policy/mail"
	"coexistd/policy/seal"
	"coexistd/policy/verdict"
)

// agreeTOML has a listener of each kind and a domain of each kind. Of who wrote a
// message explain does not ask the DNS.
const agreeTOML = lab.SiteTOML + agreePlaces + `
[checkpoint.S0]
checks = ["malware"]

[checkpoint.S2]
checks = ["auth"]
`

const agreePlaces = `
[[listen]]
address    = "unix:{dir}/s0.sock"
checkpoint = "S0"

[[listen]]
address    = "unix:{dir}/s1.sock"
checkpoint = "S1"

[[listen]]
address    = "unix:{dir}/s2.sock"
checkpoint = "S2"

[domain."past.example"]
directory = "users.csv"
mx        = "office365"
past_mx   = "reject"
alternate = { office365 = "past-example.onmicrosoft.com" }

[domain."open.example"]
unlisted  = "office365"
alternate = { office365 = "open-example.onmicrosoft.com" }

[domain."local.example"]
unlisted  = "here"

[domain."two.example"]
directory = "users.csv"
alternate = { office365 = "two-example.onmicrosoft.com", google = "gapps.two.example" }

[domain."broken.example"]
directory = "broken.csv"
alternate = { google = "gapps.broken.example" }
`

// agreeUsers have no limits of their own, which the column hourly would say.
var agreeUsers = strings.Replace(strings.ReplaceAll(lab.SiteDirectory+`paul@past.example,here,paul
petra@past.example,office365,
gwen@two.example,google,
otto@two.example,both:office365,
"""quoted name""@acmecorp.com",office365,
grüße@acmecorp.com,office365,
alice+lab@acmecorp.com,here,
postmaster@two.example,google,
`, "\n", ",\n"), "login,", "login,hourly", 1)

// sockets are the paths of the listeners by their numbers from 1.
var sockets = []string{"milter.sock", "s0.sock", "s1.sock", "s2.sock"}

// agreement is one message that both the daemon and explain are asked about.
type agreement struct {
	about          string
	at             place // who is asked
	listener       int   // 0: the first
	client, user   string
	tls, name      string // the version that the client speaks, and that in its trusted certificate
	onHost         bool
	from           string
	to             []string
	tenant, passes int      // headers of our Office 365 tenant; passes that a genuine trace counts
	fields         []string // nil: a From field
	body           string
	pass           *seal.Pass
	signed         string   // the domain that signs it
	again          bool     // such a message came just before
	assume         []string // what explain is told to assume
	want           string
	code           verdict.Code // why it is refused or put off
}

const (
	fromEve   = "eve@example.net"
	fromBob   = "bob@acmecorp.com"
	fromAlice = "alice@acmecorp.com"
	fromGail  = "gail@globex.example"
)

func to(addresses ...string) []string { return addresses }

// routed are the messages of which the envelope and the directory decide.
var routed = []agreement{
	// Points.
	{about: "internet to here", client: lab.FromInternet, from: fromEve, to: to(fromBob), want: "S0 accept"},
	{about: "internet to there", client: lab.FromInternet, from: fromEve, to: to(fromAlice), want: "S0 accept"},
	{about: "no client address", from: fromEve, to: to(fromAlice), want: "S0 accept"},
	{about: "IPv6 client", client: "2001:db8::1", from: fromEve, to: to(fromAlice), want: "S0 accept"},
	{about: "our network", client: lab.FromUser, from: fromBob, to: to(fromAlice, fromEve), want: "S2 accept"},
	{about: "logged in", client: lab.FromInternet, user: "bob", from: fromBob, to: to(fromEve), want: "S2 accept"},
	{about: "logged in from a platform's network", client: lab.FromOffice365, user: "bob", from: fromBob, to: to(fromAlice), want: "S2 accept"},
	{about: "proven tenant", client: lab.FromOffice365, tenant: 1, from: fromAlice, to: to(fromBob), want: "S1 accept"},
	{about: "unproven tenant", client: lab.FromOffice365, from: fromAlice, to: to(fromBob), want: "S0 accept"},
	{about: "tenant named twice", client: lab.FromOffice365, tenant: 2, from: fromAlice, to: to(fromBob), want: "S0 accept"},
	{about: "tenant from elsewhere", client: lab.FromInternet, tenant: 1, from: fromAlice, to: to(fromBob), want: "S0 accept"},
	{about: "tenant of the other platform", client: lab.FromGoogle, tenant: 1, from: "gail@globex.example", to: to(fromBob), want: "S0 accept"},
	{about: "tenant proven by a signature", at: checked, client: lab.FromGoogle, from: fromGail, to: to(fromBob), signed: "globex.example", assume: []string{"--signed", "Globex.Example"}, want: "S1 accept"},
	{about: "a stranger's signature", at: checked, client: lab.FromGoogle, from: fromEve, to: to(fromBob), signed: "example.net", assume: []string{"--signed", "example.net"}, want: "S0 accept"},
	{about: "tenant's signature from elsewhere", at: checked, client: lab.FromInternet, from: fromEve, to: to(fromBob), fields: []string{"From: " + fromGail}, signed: "globex.example", assume: []string{"--find", "spoof=hit", "--signed", "globex.example"}, want: "S0 accept"},
	{about: "listener S0, our network", listener: 2, client: lab.FromUser, from: fromBob, to: to(fromEve), want: "S0 reject"},
	{about: "listener S0, logged in", listener: 2, client: lab.FromUser, user: "bob", from: fromBob, to: to(fromAlice), want: "S0 accept"},
	{about: "listener S1, a platform", listener: 3, client: lab.FromOffice365, tenant: 1, from: fromEve, to: to(fromBob), want: "S1 accept"},
	{about: "listener S1, somebody", listener: 3, client: lab.FromUser, from: fromEve, to: to(fromBob), want: "S0 accept"},
	{about: "listener S2, anybody", listener: 4, client: lab.FromInternet, from: fromEve, to: to("far@example.org"), want: "S2 reject"},
	// Residences.
	{about: "both", client: lab.FromInternet, from: fromEve, to: to("carol@acmecorp.com"), want: "S0 accept"},
	{about: "both, from there", client: lab.FromOffice365, tenant: 1, from: fromAlice, to: to("carol@acmecorp.com"), want: "S1 accept"},
	{about: "both, from the other platform's tenant", client: lab.FromOffice365, tenant: 1, from: fromAlice, to: to("iris@globex.example"), want: "S1 accept"},
	{about: "both:office365", client: lab.FromUser, from: fromBob, to: to("otto@two.example"), want: "S2 accept"},
	{about: "two platforms", client: lab.FromInternet, from: fromEve, to: to("gwen@two.example", fromAlice, "gail@globex.example"), want: "S0 accept"},
	{about: "moving", client: lab.FromInternet, from: fromEve, to: to("dave@acmecorp.com"), want: "S0 tempfail"},
	{about: "moving, from a user", client: lab.FromUser, from: fromBob, to: to("Dave+x@acmecorp.com"), want: "S2 tempfail"},
	{about: "moving, proven tenant", client: lab.FromOffice365, tenant: 1, from: fromAlice, to: to("dave@acmecorp.com"), want: "S0 tempfail"},
	{about: "unlisted", client: lab.FromInternet, from: fromEve, to: to("nobody@acmecorp.com"), want: "S0 reject"},
	{about: "unlisted, from a user", client: lab.FromUser, from: fromBob, to: to("100%nobody@acmecorp.com"), want: "S2 reject"},
	{about: "unlisted there", client: lab.FromInternet, from: fromEve, to: to("Any.Body+x@Open.Example"), want: "S0 accept"},
	{about: "unlisted here", client: lab.FromInternet, from: fromEve, to: to("anybody@local.example"), want: "S0 accept"},
	{about: "unlisted there, from there", client: lab.FromOffice365, tenant: 1, from: fromEve, to: to("anybody@open.example"), want: "S1 reject"},
	{about: "directory cannot be read", client: lab.FromInternet, from: fromEve, to: to("gail@broken.example"), want: "S0 tempfail"},
	{about: "directory cannot be read, others can", client: lab.FromUser, from: fromBob, to: to("gail@broken.example", fromAlice), want: "S2 accept"},
	{about: "a subdomain", client: lab.FromInternet, from: fromEve, to: to("alice@sub.acmecorp.com"), want: "S0 reject"},
	// Addresses.
	{about: "subaddress", client: lab.FromInternet, from: fromEve, to: to("ALICE+News@AcmeCorp.com"), want: "S0 accept"},
	{about: "listed subaddress", client: lab.FromInternet, from: fromEve, to: to("alice+lab@acmecorp.com", "alice+lab2@acmecorp.com"), want: "S0 accept"},
	{about: "quoted", client: lab.FromInternet, from: fromEve, to: to(`"Quoted Name"@acmecorp.com`, `"alice"@acmecorp.com`), want: "S0 accept"},
	{about: "UTF-8", client: lab.FromInternet, from: fromEve, to: to("Grüße@acmecorp.com", "GRÜSSE+x@acmecorp.com"), want: "S0 accept"},
	{about: "source route", client: lab.FromInternet, from: fromEve, to: to("@hop.example:alice@acmecorp.com"), want: "S0 accept"},
	{about: "final dot", client: lab.FromInternet, from: fromEve, to: to("alice@acmecorp.com."), want: "S0 accept"},
	{about: "address literal", client: lab.FromUser, from: fromBob, to: to("alice@[192.0.2.1]"), want: "S2 accept"},
	{about: "bare local part", client: lab.FromUser, from: fromBob, to: to("postmaster"), want: "S2 accept"},
	{about: "postmaster", client: lab.FromInternet, from: fromEve, to: to("Postmaster@acmecorp.com", "abuse+x@globex.example"), want: "S0 accept"},
	{about: "postmaster there, from there", client: lab.FromGoogle, from: fromEve, to: to("postmaster@two.example"), want: "S0 accept"},
	{about: "the same person twice", client: lab.FromInternet, from: fromEve, to: to("alice@acmecorp.com", "Alice@acmecorp.com"), want: "S0 accept"},
	// Several recipients.
	{about: "four places", client: lab.FromUser, from: fromBob, to: to(fromBob, fromAlice, "carol@acmecorp.com", fromEve), want: "S2 accept"},
	{about: "some refused", client: lab.FromInternet, from: fromEve, to: to("nobody@acmecorp.com", fromAlice, "dave@acmecorp.com", fromEve, fromBob), want: "S0 accept"},
	{about: "all refused", client: lab.FromInternet, from: fromEve, to: to("dave@acmecorp.com", "nobody@acmecorp.com", fromEve), want: "S0 reject"},
	{about: "all refused, provisional", client: lab.FromOffice365, tenant: 1, from: fromEve, to: to("dave@acmecorp.com", "nobody@acmecorp.com"), want: "S0 reject"},
	// Relays.
	{about: "relay from the Internet", client: lab.FromInternet, from: fromBob, to: to("far@example.org"), want: "S0 reject"},
	{about: "relay to an alternate domain", client: lab.FromInternet, from: fromEve, to: to("alice@acmecorp-com.onmicrosoft.com"), want: "S0 reject"},
	{about: "user to an alternate domain", client: lab.FromUser, from: fromBob, to: to("alice@acmecorp-com.onmicrosoft.com"), want: "S2 accept"},
	{about: "proven relay", client: lab.FromOffice365, tenant: 1, from: fromAlice, to: to(fromEve, "gail@globex.example"), want: "S1 accept"},
	{about: "unproven relay", client: lab.FromOffice365, from: fromAlice, to: to(fromEve), want: "S0 tempfail", code: verdict.TenantNotProven},
	{about: "unproven relay in the From field's name", client: lab.FromOffice365, from: "news@example.org", fields: []string{"From: " + fromAlice}, to: to(fromEve), want: "S0 tempfail"},
	{about: "unproven relay beside a mailbox here", client: lab.FromOffice365, from: fromAlice, to: to(fromBob, fromEve), want: "S0 tempfail"},
	{about: "a stranger's unproven relay", client: lab.FromOffice365, from: fromEve, to: to("far@example.org"), want: "S0 reject", code: verdict.RelayFromOutside},
	{about: "another tenant's relay", client: lab.FromOffice365, from: fromAlice, fields: []string{"From: " + fromAlice, "X-MS-Exchange-CrossTenant-Id: 11111111-2222-3333-4444-555555555555"}, to: to(fromEve), want: "S0 reject", code: verdict.RelayFromOutside},
	{about: "outbound, a user", at: outbound, client: lab.FromUser, from: fromBob, to: to(fromEve, fromAlice), want: "S2 accept"},
	{about: "outbound, the platform", at: outbound, client: lab.FromOffice365, tenant: 1, from: fromAlice, to: to(fromEve), want: "S0 reject"},
	{about: "past the MX", client: lab.FromInternet, from: fromEve, to: to("paul@past.example", "abuse@past.example"), want: "S0 accept"},
	{about: "by the MX", client: lab.FromOffice365, tenant: 1, from: fromEve, to: to("paul@past.example"), want: "S1 accept"},
	{about: "past the MX in our own name, unproven", client: lab.FromOffice365, from: fromAlice, to: to("paul@past.example"), want: "S0 tempfail", code: verdict.TenantNotProven},
	{about: "past the MX in our own name, another tenant", client: lab.FromOffice365, from: fromAlice, fields: []string{"From: " + fromAlice, crossTenant(foreignTenant)}, to: to("paul@past.example"), want: "S0 reject", code: verdict.PastMX},
	{about: "past the MX, unproven", client: lab.FromOffice365, from: fromEve, to: to("petra@past.example"), want: "S0 reject"},
	{about: "from one platform to the other", client: lab.FromOffice365, tenant: 1, from: fromAlice, to: to("gwen@two.example"), want: "S1 accept"},
	{about: "from one platform to the other's own address", client: lab.FromOffice365, tenant: 1, from: fromAlice, to: to("gwen@gapps.two.example"), want: "S1 accept"},
	{about: "from one platform to the other, unproven", client: lab.FromOffice365, from: fromAlice, to: to("gwen@two.example"), want: "S0 accept"}, // S0 does not make spoof here
	// Loops and the null sender.
	{about: "a loop at S1", client: lab.FromOffice365, tenant: 1, from: fromEve, to: to(fromAlice), want: "S1 reject"},
	{about: "a loop at S1 beside others", client: lab.FromOffice365, tenant: 1, from: fromEve, to: to(fromAlice, fromBob), want: "S1 reject"},
	{about: "a looping bounce", client: lab.FromOffice365, tenant: 1, to: to(fromAlice), want: "S1 discard"},
	{about: "a loop to the alternate domain", client: lab.FromOffice365, tenant: 1, from: fromEve, to: to("alice@acmecorp-com.onmicrosoft.com"), want: "S1 reject"},
	{about: "a bounce", client: lab.FromInternet, to: to(fromAlice), want: "S0 accept"},
	{about: "a bounce to two", client: lab.FromInternet, to: to(fromAlice, fromBob), want: "S0 accept"},
	{about: "one pass before", client: lab.FromInternet, passes: 1, from: fromEve, to: to(fromAlice), want: "S0 accept"},
	{about: "three passes before", client: lab.FromInternet, passes: 3, from: fromEve, to: to(fromAlice), want: "S0 reject"},
	{about: "three passes before, another's", client: lab.FromInternet, passes: 3, from: fromEve, to: to("carol@acmecorp.com"), want: "S0 accept"},
	{about: "three passes before, a bounce", client: lab.FromInternet, passes: 3, to: to(fromAlice), want: "S0 discard"},
	// Mail made on the host.
	{about: "on the host", onHost: true, from: fromBob, to: to(fromAlice, "carol@acmecorp.com", fromEve), want: "S2 accept"},
	{about: "on the host, unlisted", onHost: true, from: fromBob, to: to("nobody@acmecorp.com"), want: "S2 reject"},
	{about: "on the host, unlisted among others", onHost: true, from: fromBob, to: to("nobody@acmecorp.com", fromAlice), want: "S2 accept"},
	{about: "on the host, moving", onHost: true, from: fromBob, to: to("dave@acmecorp.com", fromAlice), want: "S2 tempfail"},
	{about: "on the host, a bounce to two", onHost: true, to: to(fromAlice, fromBob), want: "S2 accept"},
}

// agreedDaemon is a daemon with the configuration that explain reads.
type agreedDaemon struct {
	*lab.Daemon
	config string
}

func startAgreed(t *testing.T, toml string) agreedDaemon {
	t.Helper()
	path, err := program()
	if err != nil {
		t.Fatal(err)
	}
	config := configuration(t, toml, agreeUsers)
	if err := os.WriteFile(filepath.Join(filepath.Dir(config), "broken.csv"), []byte("address,residence,login,hourly\nno address,here,,\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	d, err := lab.StartDaemon(deadline(t), path, config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := d.Stop(); err != nil || strings.Contains(d.Log(), "DATA RACE") {
			t.Errorf("coexistd ended with %v:\n%s", err, tail(d.Log()))
		}
	})
	return agreedDaemon{d, config}
}

// headers are the header fields of a message.
func (a agreement) headers(traces []string) []string {
	var h []string
	if a.passes > 0 {
		h = append(h, traces[a.passes-1])
	}
	for range a.tenant {
		h = append(h, "X-MS-Exchange-CrossTenant-Id: "+lab.OfficeTenant)
	}
	if a.fields == nil {
		h = append(h, "From: sender@example.net")
	}
	return append(append(h, a.fields...), "Message-Id: <agree@example.net>")
}

// passed adds the field that lets a message past checks.
func (d agreedDaemon) passed(t *testing.T, a agreement, headers []string) []string {
	t.Helper()
	if a.pass == nil {
		return headers
	}
	keys := keysOf(t, d.config)
	var h mail.Header
	for _, field := range headers {
		name, value, _ := strings.Cut(field, ": ")
		h.Add([]byte(name), []byte(value))
	}
	pass := *a.pass
	pass.Until = time.Now().Add(time.Hour).Unix()
	value := keys.SignPass(pass, a.to[0], seal.MarksOf(&h))
	return append(headers, seal.PassHeader+": "+strings.ReplaceAll(value, "\n", "\r\n"))
}

// sign adds the signature.
func (a agreement) sign(t *testing.T, s *signer, headers []string) []string {
	t.Helper()
	if s == nil {
		return headers
	}
	message := strings.Join(headers, "\r\n") + "\r\n\r\n" + a.body
	field, _ := strings.CutSuffix(string(s.sign(t, []byte(message))), "\r\n"+message)
	return append([]string{field}, headers...)
}

// explained asks explain about the same message.
func (d agreedDaemon) explained(t *testing.T, a agreement, headers []string) (explanation, int) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "message.eml")
	message := strings.Join(headers, "\r\n") + "\r\n\r\n" + a.body
	if err := os.WriteFile(file, []byte(message), 0o644); err != nil {
		t.Fatal(err)
	}
	args := []string{"explain", "-c", d.config, "--json", "--from", a.from, "--client", a.client, "--login", a.user, "--listener", fmt.Sprint(max(a.listener, 1))}
	for _, to := range a.to {
		args = append(args, "--to", to)
	}
	if a.onHost {
		args = append(args, "--on-host")
	}
	if a.tls != "" {
		args = append(args, "--tls", a.tls, "--certificate", a.name)
	}
	status, out, complaint := run(t, append(append(args, a.assume...), file)...)
	var e explanation
	if err := json.Unmarshal([]byte(out), &e); err != nil {
		t.Fatalf("explain ended with %d, %v:\n%s%s", status, err, out, complaint)
	}
	return e, status
}

func TestExplainAndTheDaemonAgree(t *testing.T) {
	t.Parallel()
	signers := map[string]*signer{"globex.example": newSigner(t, "globex.example"), "example.net": newSigner(t, "example.net")}
	daemons := startAll(t, signers)
	first := agreement{about: "a pass", client: lab.FromInternet, from: fromEve, to: to(fromAlice)}
	var traces []string
	for range 3 {
		first.passes = len(traces)
		got := daemons[usual].tell(t, first, "pass", first.headers(traces))
		traces = append(traces, got.trace)
	}
	for i, a := range slices.Concat(routed, refused) {
		t.Run(a.about, func(t *testing.T) {
			t.Parallel()
			d := daemons[a.at]
			id, headers := fmt.Sprintf("CASE%d", i), a.sign(t, signers[a.signed], d.passed(t, a, a.headers(traces)))
			if a.again {
				d.tell(t, a, id+"before", headers)
			}
			wire := d.tell(t, a, id, headers)
			line := waitMessage(t, d.Daemon, id)
			e, status := d.explained(t, a, headers)
			if got := e.Checkpoint + " " + e.Verdict; got != a.want {
				t.Errorf("explain says %s; right is %s", got, a.want)
			}
			if line["point"] != e.Checkpoint || line["verdict"] != e.Verdict || timeless(line["reply"]) != timeless(e.Reply) {
				t.Errorf("the daemon logged %s %s %q, and explain says %s %s %q", line["point"], line["verdict"], line["reply"], e.Checkpoint, e.Verdict, e.Reply)
			}
			e.compareRecipients(t, line)
			e.compare(t, wire)
			wantStatus := map[string]int{"accept": exitYes, "tag": exitYes, "discard": exitNo, "reject": exitNo, "tempfail": exitWrong}[e.worst()]
			if status != wantStatus {
				t.Errorf("explain ended with %d, where the strictest verdict is %s", status, e.worst())
			}
			if a.code != "" {
				mustAnswer(t, a.code, wire.last())
				mustAnswer(t, a.code, e.last())
				mustNameReason(t, a.code, e.why()+"\n"+e.last())
			}
		})
	}
}

// compareRecipients checks what explain says of the recipients against the log.
func (e explanation) compareRecipients(t *testing.T, line logLine) {
	t.Helper()
	logged := line.recipients(t)
	for i := range logged {
		logged[i].Reply = timeless(logged[i].Reply)
		if r := &logged[i]; r.Residence == "" && r.Flow == "" && r.Verdict == "accept" && line["verdict"] != "accept" {
			// The message was answered before anybody asked where its recipients live.
			r.Verdict, r.Reply = line["verdict"], timeless(line["reply"])
		}
	}
	var said []explainedRcpt
	for _, r := range e.Recipients {
		r.Reply = timeless(r.Reply)
		if len(e.Recipients) <= record.MaxRecipients || slices.ContainsFunc(logged, func(one explainedRcpt) bool { return one.Address == r.Address }) {
			said = append(said, r)
		}
	}
	if got, want := byAddress(logged), byAddress(said); fmt.Sprintf("%q", got) != fmt.Sprintf("%q", want) {
		t.Errorf("of the recipients the daemon logged\n%q, and explain says\n%q", got, want)
	}
}

// timeless takes out of a reply what depends on the moment.
func timeless(reply string) string {
	return regexp.MustCompile(`try again in \d+ [a-z]+`).ReplaceAllString(reply, "try again in a while")
}

// last is the last reply that the MTA was told.
func (w told) last() string { return cmp.Or(w.end, w.rcpt[len(w.rcpt)-1]) }

// last is the reply to the message, or to its last recipient where it goes on.
func (e explanation) last() string {
	return cmp.Or(e.Reply, e.Recipients[len(e.Recipients)-1].Reply)
}

// why is all that explain says of its reasons.
func (e explanation) why() string { return strings.Join(e.Trace, "\n") }

// worst is the strictest verdict of the message and its recipients.
func (e explanation) worst() string {
	order := []string{"accept", "tag", "quarantine", "discard", "tempfail", "reject"}
	worst := slices.Index(order, e.Verdict)
	for _, r := range e.Recipients {
		worst = max(worst, slices.Index(order, r.Verdict))
	}
	return order[worst]
}

// compare checks what explain says against what the MTA was told.
func (e explanation) compare(t *testing.T, wire told) {
	t.Helper()
	end := e.Reply
	if e.Verdict == "discard" {
		end = "discard"
	}
	var added []string
	for i, r := range e.Recipients {
		if wire.rcpt[i] != "" && timeless(wire.rcpt[i]) != timeless(r.Reply) {
			t.Errorf("RCPT for %s was answered %q, and explain says %q", r.Address, wire.rcpt[i], r.Reply)
		}
		for _, address := range r.Rewritten {
			if !slices.ContainsFunc(added, func(s string) bool { return strings.EqualFold(s, address) }) && e.Verdict == "accept" {
				added = append(added, address)
			}
		}
	}
	if slices.Contains(wire.rcpt, "") && timeless(wire.end) != timeless(end) {
		t.Errorf("the message was answered %q, and explain says %q", wire.end, end)
	}
	if !slices.Equal(wire.added, added) {
		t.Errorf("the daemon added %q, and explain says %q", wire.added, added)
	}
	for _, path := range wire.deleted {
		// A recipient with a source route is removed without it as well, and one of the host's mail
		// without a domain.
		i := slices.IndexFunc(e.Recipients, func(r explainedRcpt) bool {
			return r.Address == path || strings.HasPrefix(r.Address, "@") && strings.HasSuffix(r.Address, ":"+path) || strings.HasPrefix(r.Address, path+"@")
		})
		if i < 0 || len(e.Recipients[i].Rewritten) == 0 || e.Recipients[i].Residence == "both" {
			t.Errorf("the daemon removed %s, which explain does not say", path)
		}
	}
}

func byAddress(list []explainedRcpt) []explainedRcpt {
	return slices.SortedFunc(slices.Values(list), func(a, b explainedRcpt) int {
		return cmp.Or(cmp.Compare(a.Address, b.Address), cmp.Compare(a.Reply, b.Reply))
	})
}
