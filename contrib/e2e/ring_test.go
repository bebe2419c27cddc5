package e2e

import (
	"fmt"
	"math/rand/v2"
	"net"
	"slices"
	"strings"
	"testing"

	"coexistd/contrib/lab"
)

// The addresses from which mail comes back to a site, beside those of lab: a
// server of the platform's, and one of the Internet's.
const (
	officeServer  = "127.0.1.77"
	googleServer  = "127.0.2.77"
	anotherServer = "127.0.3.77"
)

// hop is a mail server that has no mailbox and sends on what it gets.
type hop struct {
	name    string            // its own, such as office.lab.test
	address string            // HOST:PORT, where it listens; see freeAddress
	from    string            // the IP address that it connects from
	tenant  string            // the tenant that it names in what it sends; empty: none
	aliases map[string]string // addresses, or @domains, to what takes their place
	senders string            // the envelope sender of all that it sends on; empty: as it was
	routes  map[string]string
}

// freeAddress picks the address of a server that is yet to start, so that the
// servers of a ring can name one another.
func freeAddress() string {
	return fmt.Sprintf("127.%d.%d.%d:2525", 64+rand.IntN(128), rand.IntN(256), 1+rand.IntN(254))
}

// nextHop names a server as transport(5) does.
func nextHop(address string) string {
	host, port, _ := net.SplitHostPort(address)
	return fmt.Sprintf("smtp:[%s]:%s", host, port)
}

// inlineTable writes a small table where main.cf names one.
func inlineTable(pairs map[string]string) string {
	var b strings.Builder
	for key, value := range pairs {
		fmt.Fprintf(&b, " { %s = %s }", key, value)
	}
	return "inline:{" + b.String() + " }"
}

func startHop(t *testing.T, h hop) *lab.Postfix {
	t.Helper()
	p := lab.Lend(t)
	main := map[string]string{
		// A server whose name is the client's own is one that Postfix does
		// not speak to.
		"myhostname":        h.name,
		"mynetworks":        "127.0.0.0/8",
		"smtp_bind_address": h.from,
		"soft_bounce":       "no",
	}
	if h.aliases != nil {
		main["virtual_alias_maps"] = inlineTable(h.aliases)
	}
	if h.senders != "" {
		main["sender_canonical_maps"] = "static:" + h.senders
		main["sender_canonical_classes"] = "envelope_sender"
	}
	if h.tenant != "" {
		main["smtp_header_checks"] = "regexp:$config_directory/stamp"
	}
	m, err := p.Start(deadline(t), lab.Config{
		Services: []lab.Service{{Name: "public", Address: h.address}},
		Main:     main,
		Routes:   h.routes,
		Files: map[string]string{"stamp": "/^X-MS-Exchange-CrossTenant-Id:/ IGNORE\n" +
			"/^Message-Id:/ PREPEND X-MS-Exchange-CrossTenant-Id: " + h.tenant + "\n"},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("%s said:\n%s", h.name, m.Log())
		}
		if err := m.Stop(); err != nil {
			t.Error(err)
		}
	})
	return m
}

// ring is one or more sites with the servers through which their mail comes
// back. Messages go round one after the other; see round.
type ring struct {
	t     *testing.T
	sites []*site
	hops  []*lab.Postfix
	seen  map[*lab.Sink]int
	calls []int
}

func newRing(t *testing.T, sites []*site, hops ...*lab.Postfix) *ring {
	return &ring{t: t, sites: sites, hops: hops, seen: map[*lab.Sink]int{}, calls: make([]int, len(hops))}
}

// settle waits until nothing is in any queue. What passes from one queue to
// another meanwhile is logged, and has all of them looked at again.
func (r *ring) settle() {
	r.t.Helper()
	var all []lab.Host
	for _, hop := range r.hops {
		all = append(all, hop)
	}
	for _, s := range r.sites {
		all = append(all, s)
	}
	logged := func() (n int) {
		for _, p := range all {
			n += len(p.Log())
		}
		return n
	}
	for before := -1; before != logged(); {
		before = logged()
		for _, p := range all {
			if err := p.WaitEmpty(deadline(r.t)); err != nil {
				r.t.Fatal(err)
			}
		}
	}
}

// round hands a message in at the first site and waits until every queue is
// empty. All that has arrived anywhere since the last round must be what is
// wanted, each as "PLACE <SENDER> RECIPIENT", and is returned by that.
func (r *ring) round(client string, m lab.Mail, want ...string) map[string]lab.Delivery {
	r.t.Helper()
	r.sites[0].deliver(client, m)
	return r.mustHave(want...)
}

func (r *ring) mustHave(want ...string) map[string]lab.Delivery {
	r.t.Helper()
	r.settle()
	got, deliveries := []string{}, map[string]lab.Delivery{}
	for _, s := range r.sites {
		for place, sink := range s.sinks() {
			all := sink.All()
			for _, d := range all[r.seen[sink]:] {
				for _, to := range d.To() {
					key := fmt.Sprintf("%s <%s> %s", place, d.From, to)
					got, deliveries[key] = append(got, key), d
				}
			}
			r.seen[sink] = len(all)
		}
	}
	slices.Sort(got)
	slices.Sort(want)
	if !slices.Equal(got, want) {
		r.t.Errorf("%q arrived; it must be %q", got, want)
	}
	return deliveries
}

// visits checks how often mail has come to each hop since the last call.
func (r *ring) visits(want ...int) {
	r.t.Helper()
	got := make([]int, len(r.hops))
	for i, p := range r.hops {
		n := p.Visits()
		got[i], r.calls[i] = n-r.calls[i], n
	}
	if !slices.Equal(got, want) {
		r.t.Errorf("the message was at the servers %d times; it must be %d times", got, want)
	}
}

// mustTell checks that a bounce holds the words, wherever its lines are broken.
func mustTell(t *testing.T, bounce lab.Delivery, words ...string) {
	t.Helper()
	text := strings.Join(strings.Fields(string(bounce.Data)), " ")
	for _, w := range words {
		if !strings.Contains(text, w) {
			t.Errorf("the bounce does not say %q:\n%s", w, bounce.Data)
		}
	}
}

// note makes a plain message with its envelope.
func note(from string, to ...string) lab.Mail {
	head := from
	if from == "" {
		head = "MAILER-DAEMON@far.example"
	}
	return lab.Mail{From: from, To: lab.To(to...), Data: lab.Plain(head, to[0], "round")}
}

// officeRing is a site with an Office 365 that knows no mailbox of acmecorp.com
// and sends mail for it back, from its server of that address.
func officeRing(t *testing.T, from, tenant string, c lab.SiteConfig) *ring {
	t.Helper()
	address := freeAddress()
	c.Routes = map[string]string{"acmecorp-com.onmicrosoft.com": nextHop(address)}
	s := startSite(t, c)
	office := startHop(t, hop{
		name: "office.lab.test", address: address, from: from, tenant: tenant,
		aliases: map[string]string{"@acmecorp-com.onmicrosoft.com": "@acmecorp.com"},
		routes:  map[string]string{"acmecorp.com": nextHop(s.Addr("public")), "*": s.Outside.NextHop()},
	})
	return newRing(t, []*site{s}, office)
}

const (
	bounceToBob  = "here <> bob@acmecorp.com"
	bounceToEve  = "Internet <> eve@example.net"
	aliceIsThere = "the directory says that alice@acmecorp.com lives at office365"
)

// unguarded is the usual configuration, but that mail in our own name may come back
// from anywhere.
const unguarded = lab.SiteTOML + `
[checkpoint.S0]
checks = ["malware"]
`

// configure replaces the site's configuration by way of SIGHUP.
func (s *site) configure(toml string) {
	s.t.Helper()
	if err := s.WriteTOML(toml); err != nil {
		s.t.Fatal(err)
	}
	if line, err := s.Daemon.Reload(deadline(s.t)); err != nil || !strings.Contains(line, "msg=reloaded") {
		s.t.Fatalf("the configuration was not taken: %s %v", line, err)
	}
}
