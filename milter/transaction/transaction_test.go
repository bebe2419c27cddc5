package transaction

import (
	"context"
	"log/slog"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"coexistd/milter/notice"
	"coexistd/milter/probe"
	"coexistd/milter/quarantine"
	"coexistd/milter/record"
	"coexistd/policy"
	"coexistd/policy/directory"
	"coexistd/policy/networks"
	"coexistd/policy/rate"
	"coexistd/policy/route"
	"coexistd/policy/seal"
	"coexistd/policy/spoof"
	"coexistd/policy/tenant"
	"coexistd/policy/verdict"
	"coexistd/scanners"
)

// fakeWorld is a world that notes what it is asked, and answers as it is told.
type fakeWorld struct {
	what   []string
	grants []rate.Grant
	find   verdict.State

	asked Question        // the last that was asked
	held  quarantine.Item // the last that was held

	probes   *probe.Book
	returned probe.Return // how the last probe came back
}

func (a *fakeWorld) note(what string) { a.what = append(a.what, what) }

func (a *fakeWorld) Verify(context.Context, *scanners.Message) []spoof.DKIM {
	a.note("signatures")
	return []spoof.DKIM{}
}

func (a *fakeWorld) Find(_ context.Context, q Question) (found Found) {
	a.asked = q
	what := "scanners " + strings.Join(q.Scans, " ")
	if q.Authentication {
		what += " and the DNS"
		found.Authentication = &spoof.Authentication{
			SPF:   spoof.SPF{Result: spoof.AuthPass, Domain: "example.org"},
			DMARC: []spoof.DMARC{{Domain: "example.org", Lookup: spoof.AuthNone}},
		}
	}
	a.note(what)
	for _, check := range q.Scans {
		found.Findings = append(found.Findings, verdict.Finding{Check: check, State: a.find, Name: "x"})
	}
	return found
}

func (a *fakeWorld) Take(_ context.Context, charges []rate.Charge) []rate.Grant {
	a.note("limits")
	return a.grants
}

func (a *fakeWorld) LimitReached(notice.Event) { a.note("notice") }

func (a *fakeWorld) Hold(item quarantine.Item, held []quarantine.Recipient, _ *scanners.Message) ([]string, error) {
	a.held = item
	a.note("quarantine")
	return []string{"entry"}, nil
}

func (a *fakeWorld) ProbeReturned(p *seal.Probe, r probe.Return) (first bool) {
	a.returned = r
	return a.probes.Returned(p, r)
}

func (a *fakeWorld) ProbeBounced(p *seal.Probe, b probe.Bounce) { a.probes.Bounced(p, b) }

func (a *fakeWorld) Report(_ slog.Level, text string, _ ...slog.Attr) { a.note(text) }

// kept is a sink that keeps what it is told.
type kept []*record.Record

func (k *kept) Record(r *record.Record) { *k = append(*k, r) }

// newRuntime has a domain whose users live here, with the checks rate, spoof and virus,
// and a platform whose tenant a signature proves.
func newRuntime(world *fakeWorld) (*Runtime, *kept) {
	point := policy.Point{Checks: []policy.Check{
		{Name: verdict.CheckRate, OnHit: verdict.Reject},
		{Name: verdict.CheckSpoof, OnHit: verdict.Reject, OnError: verdict.Tempfail},
		{Name: verdict.CheckVirus, OnHit: verdict.Quarantine, OnError: verdict.Tempfail},
	}}
	rules := &policy.Rules{
		Hostname: "mail.acmecorp.com",
		Routes: route.Rules{
			MaxPasses: 3, Platforms: []*route.Platform{{Name: "google", Letter: "G"}},
			Domains: map[string]*route.Domain{
				"acmecorp.com": {Name: "acmecorp.com"},
				"open.example": {Name: "open.example", Unlisted: route.Residence{Kind: route.Here}},
			},
		},
		Tenants: tenant.Rules{"google": {Domains: []string{"open.example"}}},
		Points:  policy.Points{verdict.S0: point, verdict.S2: point},
		Rates: []rate.Rule{{
			Name: "all", By: rate.ByClient, Limit: 1, Burst: 1, Per: 60, OnLimit: verdict.Tempfail, Points: []verdict.Checkpoint{verdict.S0},
		}},
	}
	sink := &kept{}
	google := networks.Live{"google": {Networks: networks.SetOf(netip.MustParsePrefix("209.85.128.0/17"))}}
	return &Runtime{
		Policy: policy.New(rules, seal.NewKeys([]byte("0123456789abcdef0123456789abcdef")), google), World: world,
		Directory: directory.NewSet(nil, nil), Sinks: []record.Sink{sink},
	}, sink
}

// The clients of the tests.
const (
	stranger = "192.0.2.1"
	google   = "209.85.128.7"
)

// begun is a mail of a client, with its header.
func begun(rt *Runtime, client string) *Transaction {
	t := New(&Visitor{})
	a := Arrival{Path: "x@example.org", Terms: Terms{ChangesFields: true, ExactValues: true}}
	a.Client = netip.MustParseAddr(client)
	t.Begin(rt, a)
	for _, field := range [...][2]string{{"Message-Id", " <1@example.org>"}, {"From", " x@example.org"}, {"DKIM-Signature", " d=open.example"}} {
		t.Field([]byte(field[0]), []byte(field[1]))
	}
	return t
}

func TestTheWorldIsAskedInTheOrderOfTheSteps(t *testing.T) {
	const all, body = "scanners virus and the DNS", "body\r\n"
	over := []rate.Grant{{Over: true, Wait: 1, First: true}}
	for about, c := range map[string]struct {
		client string
		world  fakeWorld
		want   []string
		reply  string // empty: there is none
		drop   bool
	}{
		"nothing is found":       {stranger, fakeWorld{grants: []rate.Grant{{}}, find: verdict.Clean}, []string{"limits", all}, "", false},
		"a platform's client":    {google, fakeWorld{grants: []rate.Grant{{}}, find: verdict.Clean}, []string{"signatures", "limits", all}, "", false},
		"a limit is reached":     {stranger, fakeWorld{grants: over}, []string{"limits", "notice"}, "450 4.7.1", false},
		"a platform is over one": {google, fakeWorld{grants: over}, []string{"signatures", "limits", "notice"}, "450 4.7.1", false},
		"a virus":                {stranger, fakeWorld{grants: []rate.Grant{{}}, find: verdict.Hit}, []string{"limits", all, "quarantine"}, "", true},
		"a scanner cannot tell":  {stranger, fakeWorld{grants: []rate.Grant{{}}}, []string{"limits", all}, "451 4.3.0", false},
	} {
		rt, sink := newRuntime(&c.world)
		mail := begun(rt, c.client)
		if reply := mail.Recipient("bob@open.example", "", ""); !reply.IsZero() {
			t.Fatalf("%s: the recipient is refused: %s", about, reply)
		}
		if !mail.WantsBody() {
			t.Fatalf("%s: its body is not wanted", about)
		}
		mail.Body(func(b []byte) ([]byte, error) { return append(b, body...), nil })
		answer := mail.End(t.Context())
		if !slices.Equal(c.world.what, c.want) || !strings.HasPrefix(answer.Reply.String(), c.reply) || (c.reply == "") != answer.Reply.IsZero() {
			t.Errorf("%s: it asked %q and answers %q; right is %q and %q", about, c.world.what, answer.Reply, c.want, c.reply)
		}
		if answer.Drop != c.drop || answer.GoesOn != (c.reply == "" && !c.drop) {
			t.Errorf("%s: it is answered %+v", about, answer)
		}
		mail.Abort()
		if len(*sink) != 1 {
			t.Fatalf("%s: there are %d records", about, len(*sink))
		}
		const whole = "Message-Id: <1@example.org>\r\nFrom: x@example.org\r\nDKIM-Signature: d=open.example\r\n\r\n" + body
		r := (*sink)[0]
		if !r.Ended || !r.Rated || r.Count != 1 || r.MessageID != " <1@example.org>" || r.Size != int64(len(whole)) || (len(r.Held) > 0) != c.drop {
			t.Errorf("%s: the record is %+v", about, r)
		}
		asks := func(what string) bool { return slices.Contains(c.want, what) }
		for step, made := range [record.Steps]bool{asks("signatures"), asks("limits"), asks(all), asks("quarantine")} {
			if (r.Took[step] > 0) != made {
				t.Errorf("%s: the step %s took %v; that it was made is %v", about, record.Step(step), r.Took[step], made)
			}
		}
	}
}

func TestARecordCountsAllRecipientsThatWereRefused(t *testing.T) {
	rt, sink := newRuntime(&fakeWorld{grants: []rate.Grant{{}}, find: verdict.Clean})
	mail := begun(rt, stranger)
	for range record.MaxRecipients + 20 {
		mail.Recipient("nobody@acmecorp.com", "", "")
	}
	mail.Recipient("bob@open.example", "", "")
	mail.Recipient("x@elsewhere.example", "", "")
	mail.End(t.Context())
	r := (*sink)[0]
	if want := (record.Alike{Verdict: verdict.Reject, Count: record.MaxRecipients + 21}); len(r.Alike) != 1 || r.Alike[0] != want || r.Count != want.Count+1 {
		t.Errorf("it counts %+v of %d", r.Alike, r.Count)
	}
}

func TestWhatIsRefusedByItsEnvelopeAsksNothing(t *testing.T) {
	world := &fakeWorld{}
	rt, sink := newRuntime(world)
	mail := begun(rt, stranger)
	if reply := mail.Recipient("bob@acmecorp.com", "", ""); !strings.HasPrefix(reply.String(), "550 5.1.1 ") {
		t.Errorf("an unlisted recipient is answered %q", reply)
	}
	if mail.WantsBody() {
		t.Error("the body of a mail without recipients is wanted")
	}
	mail.Abort()
	mail.Abort()
	if len(world.what) > 0 {
		t.Errorf("it asked %q", world.what)
	}
	if len(*sink) != 1 || (*sink)[0].Ended || (*sink)[0].Count != 1 || !strings.HasPrefix((*sink)[0].Decision.Reply.String(), "550 5.1.1 ") {
		t.Errorf("the records are %+v", *sink)
	}
}

func TestWhatIsRefusedByItsEnvelopeAtItsEndAsksNothing(t *testing.T) {
	world := &fakeWorld{}
	rt, sink := newRuntime(world)
	// Mail made on this host is not refused at RCPT.
	mail := New(&Visitor{})
	mail.Begin(rt, Arrival{Arrival: policy.Arrival{OnHost: true}, Path: "root@acmecorp.com"})
	if reply := mail.Recipient("bob@acmecorp.com", "", ""); !reply.IsZero() || mail.WantsBody() {
		t.Errorf("an unlisted recipient is answered %q, or the body is wanted", reply)
	}
	answer := mail.End(t.Context())
	mail.Abort()
	if !strings.HasPrefix(answer.Reply.String(), "550 5.1.1 ") || len(world.what) > 0 {
		t.Errorf("it asked %q and answers %q", world.what, answer.Reply)
	}
	if len(*sink) != 1 || !(*sink)[0].Ended || (*sink)[0].Decision.Verdict != verdict.Reject {
		t.Errorf("the records are %+v", *sink)
	}
}

func TestAMailThatEndsEarlyWithoutARefusalLeavesNoRecord(t *testing.T) {
	rt, sink := newRuntime(&fakeWorld{})
	mail := begun(rt, stranger)
	mail.Recipient("bob@open.example", "", "")
	mail.Abort()
	if answer := mail.End(t.Context()); !answer.Reply.IsZero() || answer.Drop || len(answer.Edits) > 0 {
		t.Errorf("no mail is answered %+v", answer)
	}
	if len(*sink) != 0 {
		t.Errorf("the records are %+v", *sink)
	}
}

func TestADecisionOfNothingLetsNothingThrough(t *testing.T) {
	rt, _ := newRuntime(&fakeWorld{})
	if answer := begun(rt, stranger).answer(policy.Decision{}); answer.GoesOn || answer.Drop {
		t.Errorf("it is answered %+v", answer)
	}
}
