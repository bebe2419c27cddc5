package transaction

import (
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"coexistd/milter/probe"
	"coexistd/policy"
	"coexistd/policy/mail"
	"coexistd/policy/rate"
	"coexistd/policy/route"
	"coexistd/policy/seal"
	"coexistd/policy/verdict"
)

// probeFields are those of a probe that the runtime's keys have signed.
func probeFields(rt *Runtime, platform string) [][2]string {
	var h mail.Header
	h.Add([]byte("Message-Id"), []byte(" <probe.1@mail.acmecorp.com>"))
	value := rt.Policy.Keys.SignProbe(seal.Probe{ID: "k3mf7qz2ab", Platform: platform, Until: time.Now().Add(time.Hour).Unix()}, "there@open.example", seal.MarksOf(&h))
	return [][2]string{{"Message-Id", " <probe.1@mail.acmecorp.com>"}, {seal.ProbeHeader, " " + value}}
}

// newProbing has a book of probes, and a mail's fields.
func newProbing() (*Runtime, *fakeWorld, *kept) {
	world := &fakeWorld{grants: []rate.Grant{{}}, find: verdict.Clean, probes: &probe.Book{}}
	rt, sink := newRuntime(world)
	rules := *rt.Policy.Rules
	rules.ProbeFrom = "probe@open.example"
	rt.Policy = policy.New(&rules, seal.NewKeys([]byte("a secret of the tests")), rt.Policy.Networks)
	return rt, world, sink
}

// end takes a mail from a client to its end.
func end(t *testing.T, rt *Runtime, a Arrival, to string, fields [][2]string, body string) Answer {
	t.Helper()
	one := New(&Visitor{})
	a.Terms = Terms{ChangesFields: true, ExactValues: true}
	one.Begin(rt, a)
	if reply := one.Recipient(to, "", ""); !reply.IsZero() {
		t.Fatalf("the recipient is refused: %s", reply)
	}
	for _, field := range fields {
		one.Field([]byte(field[0]), []byte(field[1]))
	}
	if one.WantsBody() {
		one.Body(func(b []byte) ([]byte, error) { return append(b, body...), nil })
	}
	return one.End(t.Context())
}

func from(client, path string) Arrival {
	a := Arrival{Path: path}
	a.TLS = "TLSv1.3"
	a.Client, a.Certificate = netip.MustParseAddr(client), "mail.example"
	return a
}

func TestAProbeThatComesBackIsDroppedOnceAndAsksNobody(t *testing.T) {
	rt, world, sink := newProbing()
	fields := probeFields(rt, "google")
	answer := end(t, rt, from(stranger, "probe@open.example"), "probe@open.example", fields, "body\r\n")
	if !answer.Drop || len(world.what) > 0 {
		t.Errorf("it is answered %+v, and asked %q", answer, world.what)
	}
	if r := world.returned; r.Point != verdict.S0 || r.Client.String() != stranger || r.TLS != "TLSv1.3" || r.Certificate != "mail.example" || r.Unforwarded || !strings.Contains(r.Entered, stranger) {
		t.Errorf("it came back as %+v", r)
	}
	if d := (*sink)[0].Decision; d.Verdict != verdict.Discard || !d.Reasons.HasCode(verdict.ProbeCameBack) || (*sink)[0].Rated {
		t.Errorf("the record is %+v", (*sink)[0])
	}
	if again := end(t, rt, from(stranger, "probe@open.example"), "probe@open.example", fields, "body\r\n"); again.Drop || !slices.Contains(world.what, "limits") {
		t.Errorf("once more it is answered %+v, and asked %q", again, world.what)
	}
}

func TestAProbeOnItsWayOutIsNotDropped(t *testing.T) {
	rt, world, _ := newProbing()
	rules := *rt.Policy.Rules
	rules.Routes.Domains = map[string]*route.Domain{"open.example": {Name: "open.example", Unlisted: route.Residence{Kind: route.Here}}}
	rt.Policy = policy.New(&rules, rt.Policy.Keys, rt.Policy.Networks)
	a := from(stranger, "probe@open.example")
	a.Login = "bob"
	end(t, rt, a, "there@open.example", probeFields(rt, "google"), "body\r\n")
	if world.probes.Find("k3mf7qz2ab").Return != nil || !world.returned.When.IsZero() {
		t.Errorf("it is told to have come back: %+v", world.returned)
	}
}

func TestABounceOfAProbeIsHeardAndGoesOn(t *testing.T) {
	rt, world, _ := newProbing()
	fields := probeFields(rt, "google")
	enclosed := fields[0][0] + ":" + fields[0][1] + "\r\n" + fields[1][0] + ":" + strings.ReplaceAll(fields[1][1], "\n", "\r\n") + "\r\n\r\n"
	const status = "Final-Recipient: rfc822; there@open.example\r\nAction: failed\r\nStatus: 5.7.64\r\n\r\n"
	for _, c := range []struct {
		about, from, to string
		heard           bool
	}{
		{"to another", "", "bob@open.example", false},
		{"with a sender", "x@example.org", "probe@open.example", false},
		{"a bounce", "", "probe@open.example", true},
	} {
		answer := end(t, rt, from(stranger, c.from), c.to, [][2]string{{"From", " postmaster@far.example"}}, status+enclosed)
		if answer.Drop {
			t.Errorf("%s: it is dropped", c.about)
		}
		if b := world.probes.Find("k3mf7qz2ab").Bounce; (b != nil) != c.heard || b != nil && b.Status != "5.7.64" {
			t.Errorf("%s: it is heard: %+v", c.about, b)
		}
	}
}
