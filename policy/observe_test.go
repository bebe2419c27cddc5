package policy_test

import (
	"crypto/sha256"
	"fmt"
	"slices"
	"strings"
	"testing"

	"coexistd/policy"
	"coexistd/policy/mail"
	"coexistd/policy/rate"
	"coexistd/policy/route"
	"coexistd/policy/spoof"
	"coexistd/policy/tenant"
	"coexistd/policy/verdict"
)

func TestTheModeIsThatOfTheRecipientsDomainThenOfTheSendersThenTheOneAtTheTop(t *testing.T) {
	for _, c := range []struct {
		observing string // with commas between them; "top" is the one at the top
		from, to  string
		want      bool
	}{
		{"", "x@far.example", "bob@acmecorp.com", false},
		{"acmecorp.com", "x@far.example", "bob@acmecorp.com", true},
		{"acmecorp.com", "x@far.example", "alice@acme.net", false},
		{"acmecorp.com", "bob@acmecorp.com", "alice@acme.net", false},
		{"acmecorp.com", "x@far.example", "alice@acmecorp-com.onmicrosoft.com", true},
		{"acmecorp.com", "x@far.example", "alice@gapps.acmecorp.com", true},
		{"acmecorp.com", "x@far.example", "alice@acme-net.onmicrosoft.com", false},
		{"acmecorp.com", "x@far.example", "alice@eu.acmecorp.com", false},
		{"acmecorp.com", "bob@acmecorp.com", "x@far.example", true},
		{"acmecorp.com", "alice@acmecorp-com.onmicrosoft.com", "x@far.example", true},
		{"acmecorp.com", "x@acme.net", "x@far.example", false},
		{"acmecorp.com", "y@far.example", "x@far.example", false},
		{"acmecorp.com", "<>", "x@far.example", false},
		{"acmecorp.com", "bob@acmecorp.com", "root", true},
		{"top", "<>", "x@far.example", true},
		{"top", "<>", "root", true},
		{"top", "x@far.example", "bob@acmecorp.com", false}, // a domain's mode is its own
		{"top", "bob@acmecorp.com", "x@far.example", false},
		{"top,acmecorp.com", "x@acme.net", "bob@acmecorp.com", true},
	} {
		w := newWorld().observing(domains(c.observing)...)
		if got := w.policy().Observes(w.address(t, c.from), w.address(t, c.to)); got != c.want {
			t.Errorf("%q observing, from %s to %s: got %v", c.observing, c.from, c.to, got)
		}
	}
}

// domains are those of a list with commas, in which "top" is "".
func domains(list string) []string {
	if list == "" {
		return nil
	}
	return strings.Split(strings.ReplaceAll(list, "top", ""), ",")
}

// bothDomains are recipients of two domains who live here.
var bothDomains = []string{"bob@acmecorp.com", "ann@acme.net"}

func TestAMessageForBothModesIsJudgedForTheEnforcedOnesAlone(t *testing.T) {
	const all, none = "acmecorp.com,acme.net", ""
	bobOut := []string{"-bob@acmecorp.com"}
	for _, v := range []verdict.Verdict{verdict.Accept, verdict.Tag, verdict.Quarantine, verdict.Discard, verdict.Tempfail, verdict.Reject} {
		for _, c := range []struct {
			observing string
			verdict   verdict.Verdict
			observed  string
			drop      bool
			edits     []string // of the recipients; nil: any
		}{
			{none, v, "", v == verdict.Quarantine || v == verdict.Discard, nil},
			{all, verdict.Accept, v.String(), false, []string{}},
			{"acme.net", v, v.String(), false, map[verdict.Verdict][]string{verdict.Quarantine: bobOut, verdict.Discard: bobOut}[v]},
		} {
			w := newWorld().with(map[string]string{"ann@acme.net": "here"}).observing(domains(c.observing)...)
			w.at(verdict.S0, policy.Check{Name: verdict.CheckSpam, OnHit: v})
			got := w.send(t, message{client: internetClient, from: stranger, to: bothDomains, findings: []verdict.Finding{hit(verdict.CheckSpam, "bulk")}})
			about := fmt.Sprintf("%v, %q observing", v, c.observing)
			want(t, about, got.Verdict.String(), c.verdict.String())
			want(t, about+": observed", would(got.Decision).Verdict.String(), verdictOr(c.observed))
			if got.Drop != c.drop || c.edits != nil && !slices.Equal(written(got.Decision), c.edits) {
				t.Errorf("%s: the message is dropped: %v; it is changed: %q", about, got.Drop, written(got.Decision))
			}
			for i, r := range got.Recipients {
				want(t, about+": "+r.Address, r.Verdict.String(), v.String())
				if r.Observed != strings.Contains(c.observing, strings.SplitN(bothDomains[i], "@", 2)[1]) {
					t.Errorf("%s: %s is observed: %v", about, r.Address, r.Observed)
				}
			}
			if v >= verdict.Tag && c.observed != "" {
				want(t, about+": the check", would(got.Decision).Check, got.Recipients[1].Check)
			}
		}
	}
}

func verdictOr(word string) string {
	if word == "" {
		return verdict.None.String()
	}
	return word
}

// would is what would have been done for those who are observed, or nothing.
func would(d policy.Decision) policy.Outcome {
	if d.Observed == nil {
		return policy.Outcome{}
	}
	return *d.Observed
}

// written are a decision's edits, in a few words each.
func written(d policy.Decision) []string {
	words := []string{}
	for _, e := range d.Edits {
		words = append(words, map[policy.EditKind]string{
			policy.DeleteRecipient: "-", policy.AddRecipient: "+", policy.InsertField: "insert ", policy.ChangeField: "change ", policy.DeleteField: "delete ",
		}[e.Kind]+e.Address+e.Name)
	}
	return words
}

func TestWhatIsOnlyObservedIsNotTouched(t *testing.T) {
	w := newWorld().observing("acmecorp.com")
	w.Header = "X-Coexist-Result"
	w.Tenants["office365"] = tenant.Proofs{Header: "X-Proof", Secret: sha256.Sum256([]byte("secret"))}
	w.at(verdict.S0, policy.Check{Name: verdict.CheckSpam, OnHit: verdict.Tag}, policy.Check{Name: verdict.CheckSpoof})
	m := message{
		client: internetClient, from: stranger, to: []string{"alice@acmecorp.com", "carol@acmecorp.com"},
		findings: []verdict.Finding{hit(verdict.CheckSpam, "bulk")}, authentication: &spoof.Authentication{},
		fields: []string{"From: " + stranger, "X-Coexist-Result: forged", "X-Proof: secret", "Authentication-Results: mail.acmecorp.com; spf=pass"},
	}
	got := w.send(t, m)
	want(t, "verdict", got.Verdict.String(), "accept")
	want(t, "edits", strings.Join(written(got.Decision), "; "), "")
	want(t, "observed", would(got.Decision).Verdict.String(), "tag")
	want(t, "elsewhere", got.Recipients[0].Elsewhere, "alice@acmecorp-com.onmicrosoft.com")
	want(t, "its flow", got.Recipients[0].Ways.String(), "S0=>S4=>O1=>LD")

	w.domain().Observe = false
	if all := written(w.send(t, m).Decision); len(all) != 11 {
		t.Errorf("enforced, the edits are %q", all)
	}
}

func TestOnlyEnforcedRecipientsAreSentElsewhere(t *testing.T) {
	w := newWorld().observing("acmecorp.com")
	to := []string{"alice@acmecorp.com", "alice@acme.net", "bob@acmecorp.com"}
	got := w.send(t, message{client: internetClient, from: stranger, to: to})
	want(t, "edits", strings.Join(written(got.Decision)[:2], " "), "-alice@acme.net +alice@acme-net.onmicrosoft.com")
	owners := w.keys.OpenTraces([]string{trace(got.Decision)}, marksOf(message{}))
	for owner, passes := range map[string]int{"alice@acme.net": 1, "alice@acmecorp.com": 0} {
		if n := owners.Passes(owner); n != passes {
			t.Errorf("the trace has %d passes of %s", n, owner)
		}
	}
	// One who is there already is not added, though it be observed.
	w = newWorld().observing("acmecorp.com").with(map[string]string{"alice@acme.net": "both:office365"})
	w.Routes.Domains["acme.net"].Alternates["office365"] = "acmecorp.com"
	got = w.send(t, message{client: ourClient, from: "bob@acmecorp.com", to: []string{"alice@acmecorp.com", "alice@acme.net"}})
	want(t, "added", added(got.Decision), "")
}

func TestARecipientWhomRCPTWouldRefuseIsLetThroughWhereItIsObserved(t *testing.T) {
	for _, c := range []struct {
		about, observing string
		m                message
		refuses          string // the addresses, of those who would be
		verdict          string
	}{
		{"observed", "acmecorp.com", message{to: []string{"nobody@acmecorp.com", "dave@acmecorp.com", "bob@acmecorp.com"}}, "", "accept"},
		{"enforced", "acme.net", message{to: []string{"nobody@acmecorp.com", "dave@acmecorp.com", "bob@acmecorp.com"}}, "dave@acmecorp.com nobody@acmecorp.com", "accept"},
		{"none else", "acmecorp.com", message{to: []string{"nobody@acmecorp.com"}}, "", "accept"},
		{"relay", "top", message{to: []string{"x@far.example"}}, "", "accept"},
		{"a bounce to several", "acmecorp.com", message{from: "<>", to: []string{"bob@acmecorp.com", "carol@acmecorp.com", "alice@acme.net"}}, "alice@acme.net", "accept"},
	} {
		w := newWorld().observing(domains(c.observing)...)
		c.m.client = internetClient
		if c.m.from == "" {
			c.m.from = stranger
		}
		got := w.send(t, c.m)
		var refuses []string
		for path, ruling := range got.refused {
			if ruling.Refuses() {
				refuses = append(refuses, path)
			}
			if ruling.Reply.IsZero() || ruling.Reasons.String() == "" {
				t.Errorf("%s: nothing is told of %s", c.about, path)
			}
		}
		slices.Sort(refuses)
		want(t, c.about+": refused", strings.Join(refuses, " "), c.refuses)
		want(t, c.about+": verdict", got.Verdict.String(), c.verdict)
		if c.observing != "acme.net" {
			want(t, c.about+": edits", strings.Join(written(got.Decision), "; "), "")
		}
	}
}

func TestAMessageIsNotDroppedWhileSomebodyObservedWouldHaveBeenRefused(t *testing.T) {
	w := newWorld().observing("acme.net").at(verdict.S0, spam)
	got := w.send(t, message{
		client: internetClient, from: stranger, to: []string{"nobody@acme.net", "bob@acmecorp.com"}, findings: []verdict.Finding{hit(verdict.CheckSpam, "bulk")},
	})
	want(t, "verdict", got.Verdict.String(), "quarantine")
	want(t, "edits", strings.Join(written(got.Decision), " "), "-bob@acmecorp.com")
	if got.Drop {
		t.Error("it is dropped")
	}
}

func TestChecksAreMadeForThoseWhoAreObserved(t *testing.T) {
	loop := []string{"alice@acmecorp.com", "ann@acme.net"}
	for _, c := range []struct {
		about, observing string
		from             string
		checks, observed string
	}{
		{"all are observed", "acmecorp.com,acme.net", stranger, "loop", "reject"},
		{"the loop is refused", "acme.net", stranger, "loop", "accept"},
		{"the loop is observed", "acmecorp.com", stranger, "loop virus", "reject"},
		{"the looping bounce is dropped", "acme.net", "<>", "loop virus", "accept"},
	} {
		w := newWorld().with(map[string]string{"ann@acme.net": "here"}).checking().observing(domains(c.observing)...)
		m := policy.Message{Entry: fromOffice, Sender: w.address(t, c.from), Header: (&message{proven: true}).header()}
		for _, path := range loop {
			m.Recipients = append(m.Recipients, w.recipient(t, path))
		}
		open := w.open(m)
		open.Findings = clean(open.Asks().Scans...)
		got := open.Decide()
		want(t, c.about, strings.Join(got.Checks, " "), c.checks)
		want(t, c.about+": observed", would(got).Verdict.String(), c.observed)
	}
}

func TestWhatIsRefusedAtItsEntryGoesOnWhereAllIsObserved(t *testing.T) {
	why := verdict.Why(verdict.NotSetUp)
	for _, c := range []struct {
		about, observing string
		to               []string
		m                policy.Message
		taken            bool
	}{
		{about: "all", observing: "acmecorp.com", to: []string{"bob@acmecorp.com", "carol@acmecorp.com"}, taken: true},
		{about: "some", observing: "acmecorp.com", to: []string{"bob@acmecorp.com", "alice@acme.net"}},
		{about: "those of the host", observing: "acmecorp.com", m: policy.Message{Unread: 1, Observed: 1}},
		{about: "those whom RCPT would have refused", observing: "acmecorp.com", m: policy.Message{Observed: 2}, taken: true},
		{about: "nobody is known, the top", observing: "top", taken: true},
		{about: "nobody is known", observing: "acmecorp.com"},
	} {
		w := newWorld().observing(domains(c.observing)...)
		c.m.Entry, c.m.Sender, c.m.Header, c.m.ChangesFields = fromOffice, w.address(t, stranger), header(), true
		for _, path := range c.to {
			c.m.Recipients = append(c.m.Recipients, w.recipient(t, path))
		}
		open := w.open(c.m)
		open.Trouble = why
		for _, got := range []policy.Decision{w.policy().RefuseMessage(&c.m, why), open.Decide()} {
			refused := would(got)
			if !c.taken {
				refused = policy.Outcome{Verdict: got.Verdict, Reply: got.Reply}
			}
			if taken := got.Verdict == verdict.Accept && got.Reply.IsZero() && len(got.Edits) == 0; taken != c.taken {
				t.Errorf("%s: got %+v", c.about, got)
			}
			if refused.Reply.IsZero() {
				t.Errorf("%s: nothing is said to the client", c.about)
			}
			want(t, c.about+": verdict", refused.Verdict.String(), "tempfail")
			want(t, c.about+": point", got.Checkpoint.String(), "S0")
		}
	}
	var none *policy.Policy
	want(t, "no configuration", none.RefuseMessage(&policy.Message{}, why).Verdict.String(), "tempfail")
}

func TestMailOfThisHostGoesOnForThoseWhoAreObserved(t *testing.T) {
	host := message{onHost: true, from: "x@acmecorp.com", to: []string{"nobody@acmecorp.com", "nobody@acme.net"}}
	got := newWorld().send(t, host)
	want(t, "enforced", got.Verdict.String(), "reject")
	got = newWorld().observing("acme.net").send(t, host)
	want(t, "mixed", got.Verdict.String(), "accept")
	want(t, "mixed: observed", would(got.Decision).Verdict.String(), "reject")
	got = newWorld().observing("acme.net", "acmecorp.com").send(t, host)
	want(t, "observed", would(got.Decision).Verdict.String(), "reject")

	w := newWorld().observing("acmecorp.com")
	w.Header = "X-Coexist-Result"
	m := policy.Message{Entry: policy.Entry{Point: verdict.S2, OnHost: true}, Header: header(), Recipients: []route.Recipient{w.recipient(t, "bob@acmecorp.com")}}
	for unread, edits := range map[int]string{0: "", 1: "insert X-Coexist-Result"} {
		m.Unread = unread
		want(t, fmt.Sprint(unread, " that are no addresses"), strings.Join(written(w.decide(m)), " "), edits)
	}
}

func TestAReachedLimitStopsNobodyWhoIsObserved(t *testing.T) {
	for observing, verdicts := range map[string][2]string{"": {"tempfail", "none"}, "acme.net": {"tempfail", "tempfail"}, "acmecorp.com,acme.net": {"accept", "tempfail"}} {
		w := newWorld().observing(domains(observing)...).at(verdict.S0, policy.Check{Name: verdict.CheckRate, OnHit: verdict.Reject}, virus)
		w.Rates = []rate.Rule{{Name: "all", By: rate.BySender, Limit: 1, Burst: 1, Per: 60, OnLimit: verdict.Tempfail, Points: []verdict.Checkpoint{verdict.S0}}}
		m := policy.Message{Entry: policy.Entry{Point: verdict.S0}, Sender: w.address(t, stranger), Header: header()}
		for _, path := range []string{"bob@acmecorp.com", "alice@acme.net"} {
			m.Recipients = append(m.Recipients, w.recipient(t, path))
		}
		open := w.open(m)
		if n := len(open.Charges()); n != 1 {
			t.Errorf("%q observing: %d limits are asked", observing, n)
		}
		open.Grants = []rate.Grant{{Over: true, Wait: 1}}
		got := open.Decide()
		want(t, observing, got.Verdict.String(), verdicts[0])
		want(t, observing+": observed", would(got).Verdict.String(), verdicts[1])
	}
}

func TestAProbeThatComesBackIsLetThroughWhereItIsObserved(t *testing.T) {
	w := probing().observing("acmecorp.com")
	open := w.probe(t, w.keys, "office365", officeClient, true, 1000, probeTo)
	open.ProbeIsFirst = true
	got := open.Decide()
	want(t, "verdict", got.Verdict.String(), "accept")
	want(t, "observed", would(got).Verdict.String(), "discard")
	if got.Drop || len(got.Edits) > 0 {
		t.Errorf("it is dropped: %v; it is changed: %q", got.Drop, written(got))
	}
}

func TestNothingIsObservedOfAnAddressThatIsZero(t *testing.T) {
	if newWorld().observing("acmecorp.com").policy().Observes(mail.Address{}, mail.Address{}) {
		t.Error("it is observed")
	}
}
