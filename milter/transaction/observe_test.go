package transaction

import (
	"net/netip"
	"slices"
	"strings"
	"testing"

	"coexistd/milter/flood"
	"coexistd/milter/notice"
	"coexistd/milter/record"
	"coexistd/policy"
	"coexistd/policy/rate"
	"coexistd/policy/verdict"
)

// observing has mail of the domains be observed, and with "" that of nobody.
func (rt *Runtime) observing(domains ...string) *Runtime {
	rules := rt.Policy.Rules
	for _, name := range domains {
		if name == "" {
			rules.Observe = true
		} else {
			rules.Routes.Domains[name].Observe = true
		}
	}
	rt.Policy = policy.New(rules, rt.Policy.Keys, rt.Policy.Networks)
	return rt
}

// must ends a mail that goes on as it came.
func (t *Transaction) mustGoOn(test *testing.T, about string) {
	test.Helper()
	if answer := t.End(test.Context()); !answer.GoesOn || len(answer.Edits) > 0 {
		test.Errorf("%s: it is answered %+v", about, answer)
	}
}

// told says in a few words what a record tells: what was done, what would have been, and the
// same of each recipient.
func told(r *record.Record) string {
	words := []string{r.Decision.Verdict.String()}
	if would := r.Decision.Observed; would != nil {
		words = append(words, "would be "+would.Verdict.String()+" "+would.Check)
	}
	for _, list := range [][]policy.Ruling{r.Refused, r.Decision.Recipients} {
		for _, one := range list {
			word := one.Address + " " + one.Verdict.String()
			if one.Observed {
				word += " observed"
			}
			words = append(words, word)
		}
	}
	return strings.Join(words, "; ")
}

func TestObservedMailIsDecidedAsEverAndGoesOn(t *testing.T) {
	over := []rate.Grant{{Over: true, Wait: 1, First: true}}
	for about, c := range map[string]struct {
		world fakeWorld
		want  []string
		told  string
	}{
		"nothing is found":      {fakeWorld{grants: []rate.Grant{{}}, find: verdict.Clean}, []string{"limits", "scanners virus and the DNS"}, "accept; would be accept ; bob@open.example accept observed"},
		"a limit is reached":    {fakeWorld{grants: over}, []string{"limits", "notice"}, "accept; would be tempfail rate; bob@open.example tempfail observed"},
		"a virus":               {fakeWorld{grants: []rate.Grant{{}}, find: verdict.Hit}, []string{"limits", "scanners virus and the DNS"}, "accept; would be quarantine virus; bob@open.example quarantine observed"},
		"a scanner cannot tell": {fakeWorld{grants: []rate.Grant{{}}}, []string{"limits", "scanners virus and the DNS"}, "accept; would be tempfail virus; bob@open.example tempfail observed"},
	} {
		rt, sink := newRuntime(&c.world)
		mail := begun(rt.observing("open.example"), stranger)
		if reply := mail.Recipient("bob@open.example", "", ""); !reply.IsZero() {
			t.Errorf("%s: the recipient is refused: %s", about, reply)
		}
		mail.mustGoOn(t, about)
		if !slices.Equal(c.world.what, c.want) {
			t.Errorf("%s: it asked %q; right is %q", about, c.world.what, c.want)
		}
		if r := (*sink)[0]; told(r) != c.told || len(r.Held) > 0 {
			t.Errorf("%s: the record tells %q, held %q; right is %q", about, told(r), r.Held, c.told)
		}
	}
}

func TestNobodyIsToldByMailOfALimitThatStopsNothing(t *testing.T) {
	for domain, mail := range map[string]bool{"open.example": true, "acmecorp.com": false} {
		rt, _ := newRuntime(&fakeWorld{})
		m := New(&Visitor{})
		m.Begin(rt.observing("acmecorp.com"), Arrival{Arrival: policy.Arrival{Login: "bob"}, Path: "bob@" + domain})
		m.Recipient("x@far.example", "", "")
		m.gather()
		rule := &rt.Policy.Rates[0]
		event := m.event(rate.Charge{Rule: rule, Key: "k"}, rate.Grant{})
		if (event != notice.Event{Account: "bob", Rule: rule, Key: "k", Point: verdict.S2, Mail: mail, Observed: !mail}) {
			t.Errorf("%s: the event is %+v", domain, event)
		}
	}
}

func TestRecipientsAreLetThroughWhereTheyAreObserved(t *testing.T) {
	const nobody = "nobody@acmecorp.com"
	for _, c := range []struct {
		about, observing string
		sender           string
		insufficient     bool
		to               []string
		replies          string // the first word of each, with "-" for none
		told             string
	}{
		{"unlisted", "acmecorp.com", "x@far.example", false, []string{nobody, nobody}, "- -",
			"accept; would be reject ; nobody@acmecorp.com reject observed; nobody@acmecorp.com reject observed"},
		{"unlisted beside others", "acmecorp.com", "x@far.example", false, []string{nobody, "bob@open.example"}, "- -",
			"accept; would be reject ; nobody@acmecorp.com reject observed; bob@open.example accept"},
		{"refused beside them", "acmecorp.com", "x@far.example", false, []string{"y@far.example", nobody}, "554 -",
			"accept; would be reject ; y@far.example reject; nobody@acmecorp.com reject observed"},
		{"no address", "top", "x@far.example", false, []string{"a@b@"}, "-", "accept; would be reject ; a@b@ reject observed"},
		{"a bad sender", "open.example", "x@@", false, []string{"bob@open.example", nobody}, "- 501",
			"accept; would be reject ; bob@open.example reject observed; nobody@acmecorp.com reject"},
		{"an MTA that lets nothing be changed", "open.example", "x@far.example", true, []string{"bob@open.example", nobody}, "- 451",
			"accept; would be tempfail ; bob@open.example tempfail observed; nobody@acmecorp.com tempfail"},
	} {
		rt, sink := newRuntime(&fakeWorld{find: verdict.Clean, grants: []rate.Grant{{}}})
		m := New(&Visitor{})
		a := Arrival{Path: c.sender, Terms: Terms{Insufficient: c.insufficient}}
		a.Client = netip.MustParseAddr(stranger)
		domain := c.observing
		if domain == "top" {
			domain = ""
		}
		m.Begin(rt.observing(domain), a)
		m.Field([]byte("From"), []byte(" x@far.example"))
		var replies []string
		for _, path := range c.to {
			code, _, _ := strings.Cut(m.Recipient(path, "", "").String(), " ")
			if code == "" {
				code = "-"
			}
			replies = append(replies, code)
		}
		if got := strings.Join(replies, " "); got != c.replies {
			t.Errorf("%s: the replies are %s; right is %s", c.about, got, c.replies)
		}
		m.mustGoOn(t, c.about)
		if r := (*sink)[0]; told(r) != c.told || r.Count != len(c.to) || !r.Ended {
			t.Errorf("%s: the record tells %q of %d; right is %q", c.about, told(r), r.Count, c.told)
		}
	}
}

func TestAMailThatEndsEarlyTellsWhoWouldHaveBeenRefused(t *testing.T) {
	rt, sink := newRuntime(&fakeWorld{})
	m := begun(rt.observing("acmecorp.com"), stranger)
	m.Recipient("nobody@acmecorp.com", "", "")
	m.Abort()
	r := (*sink)[0]
	if got := told(r); got != "accept; would be reject ; nobody@acmecorp.com reject observed" || r.Ended {
		t.Errorf("it tells %q, ended: %v", got, r.Ended)
	}
	if want := (record.Alike{Verdict: verdict.Reject, Observed: true, Count: 1}); !slices.Equal(r.Alike, []record.Alike{want}) {
		t.Errorf("it counts %+v", r.Alike)
	}
}

func TestAMessageOfThisHostGoesOnWhereItIsObserved(t *testing.T) {
	for _, observing := range []bool{false, true} {
		rt, _ := newRuntime(&fakeWorld{})
		if observing {
			rt.observing("acmecorp.com")
		}
		m := New(&Visitor{})
		m.Begin(rt, Arrival{Arrival: policy.Arrival{OnHost: true}, Path: "root@acmecorp.com"})
		for range MaxRecipients + 1 {
			if reply := m.Recipient("x@far.example", "", ""); !reply.IsZero() {
				t.Fatalf("a recipient is refused: %s", reply)
			}
		}
		if answer := m.End(t.Context()); answer.GoesOn != observing {
			t.Errorf("observing %v: it is answered %+v", observing, answer)
		}
	}
}

// ddos bounds the unknown recipients, and the messages of a connection.
func (rt *Runtime) guarded() *Runtime {
	rules := rt.Policy.Rules
	rules.DDoS = policy.DDoS{Unknown: 1, Messages: 2}
	at := rules.Points[verdict.S0]
	at.Checks = append([]policy.Check{{Name: verdict.CheckDDoS, OnHit: verdict.Tempfail}}, at.Checks...)
	rules.Points[verdict.S0] = at
	rt.Flood = flood.New()
	return rt.observing()
}

func TestClientsThatAskForTooMuchGoByTheModeAtTheTop(t *testing.T) {
	for _, c := range []struct {
		observing []string
		replies   string // to unlisted recipients of acmecorp.com, the last for one of open.example
		told      string
	}{
		{nil, "550 421 421", ""},
		{[]string{"acmecorp.com"}, "- - -", "accept; would be reject ; nobody@acmecorp.com reject observed; nobody@acmecorp.com reject observed; bob@open.example accept"},
		{[]string{"open.example"}, "550 421 421", ""},
		{[]string{""}, "550 550 -", "accept; nobody@acmecorp.com reject; nobody@acmecorp.com reject; bob@open.example accept"},
		{[]string{"", "acmecorp.com", "open.example"}, "- - -",
			"accept; would be reject ; nobody@acmecorp.com reject observed; nobody@acmecorp.com tempfail observed; bob@open.example tempfail observed"},
	} {
		rt, sink := newRuntime(&fakeWorld{find: verdict.Clean, grants: []rate.Grant{{}}})
		rt.observing(c.observing...).guarded()
		client := policy.Arrival{Client: netip.MustParseAddr(stranger)}
		var v Visitor
		if reply := v.Arrive(rt, client); !reply.IsZero() {
			t.Fatalf("it is turned away: %s", reply)
		}
		m := New(&v)
		m.Begin(rt, Arrival{Arrival: client, Path: "x@far.example"})
		var replies []string
		for _, path := range []string{"nobody@acmecorp.com", "nobody@acmecorp.com", "bob@open.example"} {
			code, _, _ := strings.Cut(m.Recipient(path, "", "").String(), " ")
			if code == "" {
				code = "-"
			}
			replies = append(replies, code)
		}
		if got := strings.Join(replies, " "); got != c.replies {
			t.Errorf("%q observing: the replies are %s; right is %s", c.observing, got, c.replies)
		}
		strict := len(c.observing) == 0 || c.observing[0] == "open.example"
		if got := m.RefusedByMTA(true); got.IsZero() == strict {
			t.Errorf("%q observing: whom the MTA refuses is answered %q", c.observing, got)
		}
		m.Field([]byte("From"), []byte(" x@far.example"))
		m.End(t.Context())
		if got := told((*sink)[0]); c.told != "" && got != c.told {
			t.Errorf("%q observing: the record tells %q; right is %q", c.observing, got, c.told)
		}
		for range 3 {
			m.Begin(rt, Arrival{Arrival: client, Path: "x@far.example"})
		}
		if barred := m.barred.Code != ""; barred == slices.Contains(c.observing, "") {
			t.Errorf("%q observing: the third message is barred: %v", c.observing, barred)
		}
	}
}
