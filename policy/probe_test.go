package policy_test

import (
	"net/netip"
	"strings"
	"testing"

	"coexistd/policy"
	"coexistd/policy/route"
	"coexistd/policy/seal"
	"coexistd/policy/tenant"
	"coexistd/policy/verdict"
)

const (
	probeFrom = "probe@acmecorp.com"
	probeTo   = "coexist-probe@acmecorp.com"
)

// probing is a world with the addresses of probes, in which every check is made.
func probing() *world {
	w := newWorld().with(map[string]string{probeFrom: "here", probeTo: "office365"}).checking()
	w.ProbeFrom = probeFrom
	return w
}

// probe opens a case with a probe of a platform for probeTo in it. Keys sign it.
func (w *world) probe(t testing.TB, keys seal.Keys, platform, client string, proven bool, until int64, to ...string) *policy.Case {
	t.Helper()
	h := header("Message-Id: <probe.1@mail.acmecorp.com>", "From: coexistd <probe@acmecorp.com>")
	value := keys.SignProbe(seal.Probe{ID: "k3mf7qz2ab", Platform: platform, Sent: 900, Until: until}, probeTo, seal.MarksOf(h))
	h.Add([]byte(seal.ProbeHeader), []byte(" "+value))
	if proven {
		h.Add([]byte(tenant.CrossTenantHeader), []byte(" "+ourTenant))
	}
	m := policy.Message{Entry: w.enter(policy.Arrival{Client: netip.MustParseAddr(client)}), Client: netip.MustParseAddr(client), Sender: w.address(t, probeFrom), Header: h, ChangesFields: true, Now: 1000}
	for _, path := range to {
		m.Recipients = append(m.Recipients, w.recipient(t, path))
	}
	return w.open(m)
}

func TestAProbeIsKnownWhenItComesBackAndNotBefore(t *testing.T) {
	w := probing()
	stranger := seal.NewKeys([]byte("another organisation's"))
	for _, c := range []struct {
		about    string
		keys     seal.Keys
		platform string
		client   string
		proven   bool
		until    int64
		to       []string
		point    string // empty: it is mail like any other
		same     bool   // it comes for those whom it was sent to
	}{
		{"sent on by our tenant", w.keys, "office365", officeClient, true, 1000, []string{probeFrom}, "S1", false},
		{"sent on without proof", w.keys, "office365", officeClient, false, 1000, []string{probeFrom}, "S0", false},
		{"sent on from elsewhere", w.keys, "office365", internetClient, true, 1000, []string{probeFrom}, "S0", false},
		{"sent on by another platform", w.keys, "office365", googleClient, true, 1000, []string{probeFrom}, "S1", false},
		{"from what counts as ours", w.keys, "office365", ourClient, false, 1000, []string{probeFrom}, "S2", false},
		{"sent on to somebody else", w.keys, "office365", officeClient, true, 1000, []string{"bob@acmecorp.com"}, "S1", false},
		{"sent on to several", w.keys, "office365", officeClient, true, 1000, []string{"bob@acmecorp.com", probeTo}, "S1", false},
		{"sent back", w.keys, "office365", officeClient, true, 1000, []string{probeTo}, "S1", true},
		{"sent back without proof", w.keys, "office365", officeClient, false, 1000, []string{"Coexist-Probe+x@acmecorp.com"}, "S0", true},
		{"on its way out", w.keys, "office365", ourClient, false, 1000, []string{probeTo}, "", true},
		{"of this host's MTA", w.keys, "", ourClient, false, 1000, []string{probeTo}, "S2", true},
		{"expired", w.keys, "office365", officeClient, true, 999, []string{probeFrom}, "", false},
		{"signed by another", stranger, "office365", officeClient, true, 1000, []string{probeFrom}, "", false},
	} {
		open := w.probe(t, c.keys, c.platform, c.client, c.proven, c.until, c.to...)
		if known := open.Probe() != nil; known != (c.point != "") {
			t.Errorf("%s: it is known: %v", c.about, known)
		}
		if open.IsUnforwarded() != c.same {
			t.Errorf("%s: it is for whom it was sent to: %v", c.about, !c.same)
		}
		// What was found is to no purpose.
		open.ProbeIsFirst, open.Findings = true, found(hit("virus", "v"), hit("spam", "s"))
		d := open.Decide()
		if dropped := d.Verdict == verdict.Discard; dropped != (c.point != "") {
			t.Errorf("%s: it is %s: %s", c.about, d.Verdict, d.Reasons)
		}
		if c.point == "" {
			continue
		}
		want(t, c.about+": point", d.Checkpoint.String(), c.point)
		if !d.Drop || len(d.Edits) > 0 || len(d.Recipients) != len(c.to) || len(d.Checks) > 0 {
			t.Errorf("%s: the decision is %+v", c.about, d)
		}
		if !strings.Contains(d.Reasons.String(), "a probe of coexistd's own (k3mf7qz2ab) came back") {
			t.Errorf("%s: the reason is %q", c.about, d.Reasons)
		}
	}
}

func TestAProbeThatCountsAsOursWasSentOnBeforeWhenItHasATrace(t *testing.T) {
	w := probing()
	for _, sentOn := range []bool{false, true} {
		h := header("Message-Id: <probe.1@mail.acmecorp.com>")
		marks := seal.MarksOf(h)
		h.Add([]byte(seal.ProbeHeader), []byte(w.keys.SignProbe(seal.Probe{ID: "k3mf7qz2ab", Platform: "office365", Until: 1000}, probeTo, marks)))
		if sentOn {
			h.Add([]byte(seal.TraceHeader), []byte(w.keys.SignTrace(seal.Traces{}, w.Hostname, [8]byte{1}, marks, []string{probeTo})))
		}
		client := netip.MustParseAddr(ourClient)
		open := w.open(policy.Message{Entry: w.enter(policy.Arrival{Client: client}), Client: client, Sender: w.address(t, probeFrom), Header: h, Now: 1000, Recipients: []route.Recipient{w.recipient(t, probeTo)}})
		if known := open.Probe() != nil; known != sentOn {
			t.Errorf("sent on before: %v; it is known: %v", sentOn, known)
		}
	}
}

func TestAProbeThatCameBeforeIsMailLikeAnyOther(t *testing.T) {
	w := probing()
	open := w.probe(t, w.keys, "office365", officeClient, true, 1000, probeFrom)
	open.Findings = found(hit("virus", "v"))
	d := open.Decide()
	want(t, "with a virus", d.Verdict.String(), "reject")
	open = w.probe(t, w.keys, "office365", officeClient, true, 1000, probeFrom)
	open.Findings = found()
	want(t, "clean", open.Decide().Verdict.String(), "accept")
	open = w.probe(t, w.keys, "office365", officeClient, true, 1000, probeTo)
	open.Findings = found()
	want(t, "in a loop", open.Decide().Reply.Enhanced, "5.4.6")
}

func TestOnlyABounceToTheProbesAddressIsReadForThem(t *testing.T) {
	w := probing()
	for _, c := range []struct {
		from string
		to   []string
		want bool
	}{
		{"<>", []string{probeFrom}, true},
		{"<>", []string{"Probe+x@acmecorp.com"}, true},
		{"<>", []string{"bob@acmecorp.com"}, false},
		{"x@example.net", []string{probeFrom}, false},
	} {
		for _, configured := range []bool{true, false} {
			if w.ProbeFrom = ""; configured {
				w.ProbeFrom = probeFrom
			}
			m := policy.Message{Entry: w.enter(policy.Arrival{Client: netip.MustParseAddr(internetClient)}), Sender: w.address(t, c.from), Header: header("From: x")}
			for _, path := range c.to {
				m.Recipients = append(m.Recipients, w.recipient(t, path))
			}
			asks := w.open(m).Asks()
			if asks.Bounce != (c.want && configured) || asks.Bounce && !asks.Body {
				t.Errorf("from %s to %v: it asks %+v", c.from, c.to, asks)
			}
		}
	}
}

func TestWithProbesBodiesOfSomeMessagesAreRead(t *testing.T) {
	w := newWorld()
	w.Tenants = nil // whose proof may be a signature
	for _, from := range []string{"", probeFrom} {
		w.ProbeFrom = from
		if some, all := w.NeedsContent(verdict.Undecided); some != (from != "") || all {
			t.Errorf("with the address %q, some bodies are read: %v, and all: %v", from, some, all)
		}
	}
}
