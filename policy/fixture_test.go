package policy_test

import (
	"maps"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"coexistd/policy"
	"coexistd/policy/mail"
	"coexistd/policy/networks"
	"coexistd/policy/route"
	"coexistd/policy/seal"
	"coexistd/policy/senders"
	"coexistd/policy/spoof"
	"coexistd/policy/tenant"
	"coexistd/policy/verdict"
)

// The clients of the tests.
const (
	internetClient = "203.0.113.9"
	officeClient   = "40.92.1.2"
	googleClient   = "209.85.128.7"
	ourClient      = "10.1.2.3"
)

// now is when the messages of the tests come, in seconds since 1970.
const now = 500

// What the tenant's header holds for our tenant at both platforms, and for another.
const ourTenant, anotherTenant = "ours", "another"

// world is a policy with a directory: words by normal form of the address.
type world struct {
	*policy.Rules
	keys   seal.Keys
	live   networks.Live
	words  map[string]string
	failed bool // the directory cannot answer
	// senders are those that recipients have allowed and blocked.
	senders *senders.List
}

// newWorld has three domains: acmecorp.com on both platforms, its subdomain
// eu.acmecorp.com with nothing elsewhere, and acme.net at Office 365.
func newWorld() *world {
	prefix := netip.MustParsePrefix
	rules := &policy.Rules{
		Hostname:    "mail.acmecorp.com",
		OurNetworks: networks.SetOf(prefix("10.0.0.0/8"), prefix("fd00::/8")),
		Routes: route.Rules{
			Platforms: []*route.Platform{{Name: "google", Letter: "G"}, {Name: "office365", Letter: "O"}},
			Domains: map[string]*route.Domain{
				"acmecorp.com": {Name: "acmecorp.com", Alternates: map[string]string{
					"office365": "acmecorp-com.onmicrosoft.com", "google": "gapps.acmecorp.com"}},
				"eu.acmecorp.com": {Name: "eu.acmecorp.com"},
				"acme.net":        {Name: "acme.net", Alternates: map[string]string{"office365": "acme-net.onmicrosoft.com"}},
			},
			MaxPasses: 3,
		},
		Tenants:    tenant.Rules{"google": {Tenant: ourTenant}, "office365": {Tenant: ourTenant}},
		Delimiters: "+",
	}
	return &world{
		Rules: rules,
		keys:  seal.NewKeys([]byte("the trace key of the tests")),
		live: networks.Live{
			"google":    {Networks: networks.SetOf(prefix("209.85.128.0/17"))},
			"office365": {Networks: networks.SetOf(prefix("40.92.0.0/15"))},
		},
		words: map[string]string{
			"alice@acmecorp.com":       "office365",
			"gina@acmecorp.com":        "google",
			"bob@acmecorp.com":         "here",
			"carol@acmecorp.com":       "both:office365",
			"dave@acmecorp.com":        "moving",
			`"two words"@acmecorp.com`: "office365",
			"jürgen@acmecorp.com":      "office365",
			"alice@eu.acmecorp.com":    "here",
			"alice@acme.net":           "office365",
		},
	}
}

// policy is the policy of the world as it stands.
func (w *world) policy() *policy.Policy { return policy.New(w.Rules, w.keys, w.live) }

func (w *world) enter(a policy.Arrival) policy.Entry { return w.policy().Enter(a) }

func (w *world) open(m policy.Message) *policy.Case { return w.policy().Open(m) }

func (w *world) decide(m policy.Message) policy.Decision { return w.open(m).Decide() }

// domain returns the settings of acmecorp.com.
func (w *world) domain() *route.Domain { return w.Routes.Domains["acmecorp.com"] }

func (w *world) address(t testing.TB, path string) mail.Address {
	t.Helper()
	a, err := mail.ParseAddress(path, w.Delimiters)
	if err != nil {
		t.Fatalf("ParseAddress(%q): %v", path, err)
	}
	return a
}

// recipient looks a path up as the directory does: the address, then its owner.
func (w *world) recipient(t testing.TB, path string) route.Recipient {
	t.Helper()
	r := route.Recipient{Path: path, Address: w.address(t, path)}
	home := w.Routes.Home(r.Address)
	domain := w.Routes.Domains[home.Domain]
	if domain == nil {
		return r
	}
	if w.failed {
		r.Listing.Failed = true
		return r
	}
	for _, key := range []string{home.Key, home.Owner} {
		if word, ok := w.words[key]; ok {
			residence, err := domain.Residence(word, w.Routes.Platforms)
			if err != nil {
				t.Fatal(err)
			}
			r.Listing = route.Listing{Found: true, Address: key, Residence: residence}
			return r
		}
	}
	return r
}

// header makes a header of "name: value" fields. A value keeps its spaces.
func header(fields ...string) *mail.Header {
	h := &mail.Header{}
	for _, field := range fields {
		name, value, _ := strings.Cut(field, ":")
		h.Add([]byte(name), []byte(value))
	}
	return h
}

// message is one message of a test.
type message struct {
	client string
	login  string
	onHost bool
	proven bool
	from   string
	to     []string
	// edit changes a recipient before it is ruled on.
	edit   func(*route.Recipient)
	traces []string
	nonce  byte
	fields []string // header fields, "name: value"
	// findings are what the checks saw, and pass what lets the message past them.
	findings []verdict.Finding
	pass     string
	// oldMTA is set for an MTA that does not let header fields be changed.
	oldMTA bool
	// signatures and authentication are what is found of them once they are asked for.
	signatures     []spoof.DKIM
	authentication *spoof.Authentication
	// tls and certificate are what the MTA tells of the connection.
	tls, certificate string
}

// header is the message's header.
func (m *message) header() *mail.Header {
	fields := slices.Clone(m.fields)
	for _, trace := range m.traces {
		fields = append(fields, seal.TraceHeader+":"+trace)
	}
	if m.pass != "" {
		fields = append(fields, passMark, seal.PassHeader+":"+m.pass)
	}
	if m.proven {
		fields = append(fields, tenant.CrossTenantHeader+": "+ourTenant)
	}
	return header(fields...)
}

func marksOf(m message) seal.Marks { return seal.MarksOf(m.header()) }

func tenantOf(name string) tenant.Proofs { return tenant.Proofs{Tenant: name} }

// result is what becomes of a mail: what RCPT refused, or would have, by path, and the
// rest.
type result struct {
	refused map[string]policy.Ruling
	policy.Decision
}

// observing has mail of the domains be observed, and with "" that of nobody.
func (w *world) observing(domains ...string) *world {
	for _, name := range domains {
		if name == "" {
			w.Observe = true
		} else {
			w.Routes.Domains[name].Observe = true
		}
	}
	return w
}

// send walks a mail through Enter, Admit and Decide, as the daemon does.
func (w *world) send(t testing.TB, m message) result {
	t.Helper()
	p := w.policy()
	arrival := policy.Arrival{Login: m.login, OnHost: m.onHost, TLS: m.tls, Certificate: m.certificate}
	if m.client != "" {
		arrival.Client = netip.MustParseAddr(m.client)
	}
	message := policy.Message{
		Entry:         p.Enter(arrival),
		Sender:        w.address(t, m.from),
		Client:        arrival.Client,
		Login:         m.login,
		Certificate:   m.certificate,
		Header:        m.header(),
		ChangesFields: !m.oldMTA,
		Senders:       w.senders,
		Now:           now,
		Nonce:         [8]byte{m.nonce},
	}
	if w.Archive != nil {
		message.ArchiveListing = w.recipient(t, w.Archive.Address.Path).Listing
	}
	authors := spoof.ReadAuthors(message.Header.Values)
	message.Authors = func() *spoof.Authors { return &authors }
	out := result{refused: map[string]policy.Ruling{}}
	for _, path := range m.to {
		r := w.recipient(t, path)
		if m.edit != nil {
			m.edit(&r)
		}
		ruling := p.Admit(message.Entry, message.Sender, len(message.Recipients), r)
		switch {
		case ruling.Verdict < verdict.Tempfail:
			message.Recipients = append(message.Recipients, r)
			continue
		case !ruling.Refuses():
			message.Observed++
		}
		out.refused[path] = ruling
	}
	if len(message.Recipients)+message.Observed == 0 {
		return out
	}
	open := p.Open(message)
	if open.Unproven() {
		open.Prove(m.signatures)
	}
	asks := open.Asks()
	open.Findings = m.findings
	if asks.Authentication {
		open.Authentication = m.authentication
	}
	out.Decision = open.Decide()
	checkEnvelope(t, message, out.Decision)
	made := append([]string{verdict.CheckLoop}, asks.Scans...)
	scanned := slices.DeleteFunc(slices.Clone(out.Checks), func(name string) bool {
		return name == verdict.CheckSpoof || name == verdict.CheckRate || name == verdict.CheckAuth || name == verdict.CheckBlock || name == verdict.CheckTLS
	})
	if len(out.Checks) > 0 && !slices.Equal(scanned, made) {
		t.Errorf("the checks %q were made, and %q were asked for", out.Checks, made)
	}
	return out
}

// checkEnvelope holds what is true of every decision, whatever the message: no
// accepted message ends without a recipient, and nobody is named twice.
func checkEnvelope(t testing.TB, m policy.Message, d policy.Decision) {
	t.Helper()
	if d.Verdict == verdict.None {
		t.Errorf("nothing is decided: %+v", d)
	}
	beside := m.Unread + m.Observed // recipients whom nothing is done about, and the archive
	if d.Archived != "" {
		beside++
	}
	for _, r := range d.Recipients {
		if r.Observed {
			beside++
		}
	}
	if d.Drop != (beside == 0 && (d.Verdict == verdict.Quarantine || d.Verdict == verdict.Discard)) {
		t.Errorf("verdict %v: Drop is %v", d.Verdict, d.Drop)
	}
	if d.Verdict > verdict.Tag {
		if (beside == 0 || d.Verdict >= verdict.Tempfail) && len(d.Edits) > 0 {
			t.Errorf("verdict %v changes the message: %+v", d.Verdict, d)
		}
		if d.Verdict >= verdict.Tempfail && d.Reply.IsZero() {
			t.Errorf("verdict %v says nothing to the client", d.Verdict)
		}
		return
	}
	left := map[string]int{}
	kept := map[string]bool{} // other forms in which an MTA may keep a recipient
	for _, r := range m.Recipients {
		left[r.Path]++
		kept[r.Address.Path] = kept[r.Address.Path] || r.Path != r.Address.Path
		kept[r.Address.Local] = kept[r.Address.Local] || m.Entry.OnHost
	}
	for _, e := range d.Edits {
		switch e.Kind {
		case policy.DeleteRecipient:
			if _, ok := left[e.Address]; !ok && !kept[e.Address] {
				t.Errorf("%q is removed and is no recipient, or was removed before", e.Address)
			}
			delete(left, e.Address)
		case policy.AddRecipient:
			left[e.Address]++
			if e.ORcpt == "" {
				t.Errorf("%q is added without ORCPT", e.Address)
			}
			if left[e.Address] > 1 {
				t.Errorf("%q is added although it is there", e.Address)
			}
		}
	}
	if len(left)+m.Unread+m.Observed == 0 {
		t.Errorf("the message is accepted and has no recipient left: it would be lost")
	}
	if added(d) != "" && trace(d) == "" {
		t.Errorf("the message is sent on without a trace")
	}
}

// addresses returns those of a decision's edits of a kind, in order.
func addresses(d policy.Decision, kind policy.EditKind) string {
	var list []string
	for _, e := range d.Edits {
		if e.Kind == kind {
			list = append(list, e.Address)
		}
	}
	return strings.Join(list, " ")
}

func added(d policy.Decision) string { return addresses(d, policy.AddRecipient) }

func deleted(d policy.Decision) string { return addresses(d, policy.DeleteRecipient) }

// addition returns the first recipient that a decision adds.
func addition(d policy.Decision) policy.Edit {
	for _, e := range d.Edits {
		if e.Kind == policy.AddRecipient {
			return e
		}
	}
	return policy.Edit{}
}

// inserted returns the header fields that a decision inserts, "name: value", without the
// trace.
func inserted(d policy.Decision) []string {
	var fields []string
	for _, e := range d.Edits {
		if e.Kind == policy.InsertField && e.Name != seal.TraceHeader {
			fields = append(fields, e.Name+": "+e.Value)
		}
	}
	return fields
}

// trace returns the value of the trace that a decision leaves, or "".
func trace(d policy.Decision) string {
	for _, e := range d.Edits {
		if e.Name == seal.TraceHeader && e.Kind != policy.DeleteField {
			return e.Value
		}
	}
	return ""
}

// want compares one text and says what it is about.
func want(t testing.TB, what, got, expected string) {
	t.Helper()
	if got != expected {
		t.Errorf("%s: got %q, want %q", what, got, expected)
	}
}

func (w *world) withMX(platform string) *world {
	for _, d := range w.Routes.Domains {
		if _, ok := d.Alternates[platform]; ok {
			d.MX = platform
		}
	}
	return w
}

func (w *world) with(words map[string]string) *world {
	maps.Copy(w.words, words)
	return w
}
