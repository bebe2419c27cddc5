package policy_test

import (
	"maps"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"coexistd/policy"
)

// The clients of the tests.
const (
	internetClient = "203.0.113.9"
	officeClient   = "40.92.1.2"
	googleClient   = "209.85.128.7"
	ourClient      = "10.1.2.3"
)

// world is a policy with a directory: words by normal form of the address.
type world struct {
	*policy.Policy
	words  map[string]string
	failed bool // the directory cannot answer
}

// newWorld has three domains: acmecorp.com on both platforms, its subdomain
// eu.acmecorp.com with nothing elsewhere, and acme.net at Office 365.
func newWorld() *world {
	prefix := netip.MustParsePrefix
	p := &policy.Policy{
		Hostname:    "mail.acmecorp.com",
		OurNetworks: []netip.Prefix{prefix("10.0.0.0/8"), prefix("fd00::/8")},
		Platforms: []*policy.Platform{
			{Name: "google", Letter: "G", Networks: []netip.Prefix{prefix("209.85.128.0/17")}, Proof: policy.Proofs{Tenant: "set"}},
			{Name: "office365", Letter: "O", Networks: []netip.Prefix{prefix("40.92.0.0/15")}, Proof: policy.Proofs{Tenant: "set"}},
		},
		Domains: map[string]*policy.Domain{
			"acmecorp.com": {Name: "acmecorp.com", Alternates: map[string]string{
				"office365": "acmecorp-com.onmicrosoft.com", "google": "gapps.acmecorp.com"}},
			"eu.acmecorp.com": {Name: "eu.acmecorp.com"},
			"acme.net":        {Name: "acme.net", Alternates: map[string]string{"office365": "acme-net.onmicrosoft.com"}},
		},
		Delimiters: "+",
		MaxPasses:  3,
		TraceKey:   []byte("the trace key of the tests"),
	}
	return &world{Policy: p, words: map[string]string{
		"alice@acmecorp.com":       "office365",
		"gina@acmecorp.com":        "google",
		"bob@acmecorp.com":         "here",
		"carol@acmecorp.com":       "both:office365",
		"dave@acmecorp.com":        "moving",
		`"two words"@acmecorp.com`: "office365",
		"jürgen@acmecorp.com":      "office365",
		"alice@eu.acmecorp.com":    "here",
		"alice@acme.net":           "office365",
	}}
}

// domain returns the settings of acmecorp.com.
func (w *world) domain() *policy.Domain { return w.Domains["acmecorp.com"] }

func (w *world) address(t testing.TB, path string) policy.Address {
	t.Helper()
	a, err := policy.ParseAddress(path, w.Delimiters)
	if err != nil {
		t.Fatalf("ParseAddress(%q): %v", path, err)
	}
	return a
}

// recipient looks a path up as the directory does: the address, then its owner.
func (w *world) recipient(t testing.TB, path string) policy.Recipient {
	t.Helper()
	r := policy.Recipient{Path: path, Address: w.address(t, path)}
	home := w.Home(r.Address)
	domain := w.Domains[home.Domain]
	if domain == nil {
		return r
	}
	if w.failed {
		r.Listing.Failed = true
		return r
	}
	for _, key := range []string{home.Key, home.Owner} {
		if word, ok := w.words[key]; ok {
			residence, err := domain.Residence(word)
			if err != nil {
				t.Fatal(err)
			}
			r.Listing = policy.Listing{Found: true, Address: key, Residence: residence}
			return r
		}
	}
	return r
}

// mail is one message of a test.
type mail struct {
	client string
	login  string
	onHost bool
	proven bool
	from   string
	to     []string
	// edit changes a recipient before it is ruled on.
	edit   func(*policy.Recipient)
	traces []string
	nonce  byte
	fields map[string]string // header fields, by name
	// findings are what the checks saw, and pass what lets the message past them.
	findings []policy.Finding
	pass     *policy.Pass
}

// result is what becomes of a mail: what RCPT refused, by path, and the rest.
type result struct {
	refused map[string]policy.Ruling
	policy.Decision
}

// send walks a mail through Enter, Admit and Decide, as the daemon does.
func (w *world) send(t testing.TB, m mail) result {
	t.Helper()
	arrival := policy.Arrival{Login: m.login, OnHost: m.onHost}
	if m.client != "" {
		arrival.Client = netip.MustParseAddr(m.client)
	}
	message := policy.Message{
		Entry:  w.Enter(arrival),
		Sender: w.address(t, m.from),
		Proof:  policy.Proof{Proven: m.proven, Why: "the test says so"},
		Client: arrival.Client,
		Traces: m.traces,
		Nonce:  [8]byte{m.nonce},

		Findings: m.findings,
		Pass:     m.pass,
	}
	message.Marks = policy.Marks(func(name string) []string {
		if value, ok := m.fields[name]; ok {
			return []string{value, "another"}
		}
		return nil
	})
	out := result{refused: map[string]policy.Ruling{}}
	for _, path := range m.to {
		r := w.recipient(t, path)
		if m.edit != nil {
			m.edit(&r)
		}
		ruling := w.Admit(message.Entry, message.Sender, len(message.Recipients), r)
		if ruling.Verdict >= policy.Tempfail {
			out.refused[path] = ruling
			continue
		}
		message.Recipients = append(message.Recipients, r)
	}
	if len(message.Recipients) > 0 {
		out.Decision = w.Decide(message)
		checkEnvelope(t, message, out.Decision)
		made := append([]string{policy.CheckLoop}, w.Open(message).Asks().Scans...)
		if !slices.Equal(out.Checks, made) {
			t.Errorf("the checks %q were made, and %q were asked for", out.Checks, made)
		}
	}
	return out
}

// checkEnvelope holds what is true of every decision, whatever the message: no
// accepted message ends without a recipient, and nobody is named twice.
func checkEnvelope(t testing.TB, m policy.Message, d policy.Decision) {
	t.Helper()
	if d.Verdict > policy.Tag {
		if len(d.Delete) > 0 || len(d.Add) > 0 || d.Trace != "" {
			t.Errorf("verdict %v changes the message: %+v", d.Verdict, d)
		}
		if d.Verdict >= policy.Tempfail && d.Reply.IsZero() {
			t.Errorf("verdict %v says nothing to the client", d.Verdict)
		}
		return
	}
	left := map[string]int{}
	unrouted := map[string]bool{} // what an MTA may keep of a path with a source route
	for _, r := range m.Recipients {
		left[r.Path]++
		if r.Path != r.Address.Path {
			unrouted[r.Address.Path] = true
		}
	}
	for _, path := range d.Delete {
		if _, ok := left[path]; !ok && !unrouted[path] {
			t.Errorf("%q is removed and is no recipient, or was removed before", path)
		}
		delete(left, path)
	}
	for _, a := range d.Add {
		left[a.Address]++
		if a.ORcpt == "" {
			t.Errorf("%q is added without ORCPT", a.Address)
		}
		if left[a.Address] > 1 {
			t.Errorf("%q is added although it is there", a.Address)
		}
	}
	if len(left) == 0 {
		t.Errorf("the message is accepted and has no recipient left: it would be lost")
	}
	if (len(d.Add) > 0) && d.Trace == "" {
		t.Errorf("the message is sent on without a trace")
	}
}

// added returns the addresses that a decision adds, in order.
func added(d policy.Decision) string {
	var list []string
	for _, a := range d.Add {
		list = append(list, a.Address)
	}
	return strings.Join(list, " ")
}

func deleted(d policy.Decision) string { return strings.Join(d.Delete, " ") }

// want compares one text and says what it is about.
func want(t testing.TB, what, got, expected string) {
	t.Helper()
	if got != expected {
		t.Errorf("%s: got %q, want %q", what, got, expected)
	}
}

func (w *world) withMX(platform string) *world {
	for _, d := range w.Domains {
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
