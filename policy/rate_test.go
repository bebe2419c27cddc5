package policy_test

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"coexistd/policy"
	"coexistd/policy/mail"
	"coexistd/policy/networks"
	"coexistd/policy/rate"
	"coexistd/policy/route"
	"coexistd/policy/seal"
	"coexistd/policy/verdict"
)

// limited is a world with the check rate at S0 and S2, and these rules.
func limited(rules ...rate.Rule) *world {
	w := newWorld()
	rate := policy.Check{Name: verdict.CheckRate, OnHit: verdict.Reject}
	w.at(verdict.S0, rate).at(verdict.S2, rate, virus)
	for i := range rules {
		rules[i].Name = fmt.Sprintf("rule %d", i)
		if rules[i].Points == nil {
			rules[i].Points = []verdict.Checkpoint{verdict.S0, verdict.S2}
		}
		if rules[i].Limit == 0 {
			rules[i].Limit, rules[i].Burst, rules[i].Per = 100, 20, 3600
		}
	}
	w.Rates = rules
	return w
}

// sent is a message of bob's.
func (w *world) sent(t *testing.T, to ...string) policy.Message {
	t.Helper()
	m := policy.Message{
		Entry: policy.Entry{Point: verdict.S2, Known: true}, Sender: w.address(t, "Bob+x@acmecorp.com"),
		Client: netip.MustParseAddr("2001:db8:1:2:3::4"), Login: "Bob", Header: header(), Needs: policy.Needs{Size: 5000},
	}
	for _, path := range to {
		m.Recipients = append(m.Recipients, w.recipient(t, path))
	}
	return m
}

func charged(c *policy.Case) string {
	var all []string
	for _, charge := range c.Charges() {
		all = append(all, fmt.Sprintf("%s %d of %d/%d", charge.Key, charge.Amount, charge.Limit, charge.Burst))
	}
	return strings.Join(all, ", ")
}

func TestARuleCountsAtItsPointsWhereTheyMakeTheCheck(t *testing.T) {
	for about, c := range map[string]struct {
		points []verdict.Checkpoint
		want   string
	}{
		"where it entered":                     {[]verdict.Checkpoint{verdict.S2}, "bob 3 of 100/20"},
		"another point":                        {[]verdict.Checkpoint{verdict.S0}, ""},
		"a point that does not make the check": {[]verdict.Checkpoint{verdict.S3}, ""},
		"where it leaves":                      {[]verdict.Checkpoint{verdict.S4}, "bob 2 of 100/20"},
	} {
		w := limited(rate.Rule{By: rate.ByUser, Count: rate.Recipients, Points: c.points})
		w.at(verdict.S4, policy.Check{Name: verdict.CheckRate, OnHit: verdict.Reject})
		want(t, about, charged(w.open(w.sent(t, "alice@acmecorp.com", "gina@acmecorp.com", "x@far.example"))), c.want)
	}
}

func TestADirectoryThatCannotTellALimitPutsTheMessageOff(t *testing.T) {
	w := limited(rate.Rule{By: rate.ByUser, Count: rate.Recipients, Column: "hourly", OnLimit: verdict.Reject}, rate.Rule{By: rate.ByClient})
	m := w.sent(t, "bob@acmecorp.com")
	m.Row = func(mail.Address) route.Row { return route.Row{Failed: true} }
	m.Limit = func(string, string) (string, bool) { return "", true }
	open := w.open(m)
	want(t, "the charges", charged(open), "")
	if !open.IsStopped() {
		t.Error("the message goes on")
	}
	want(t, "the reply", open.Decide().Reply.String(), "451 4.3.0 The directory cannot be read at the moment, try again later")

	m.Row = func(mail.Address) route.Row { return route.Row{Login: "bob"} }
	want(t, "the charges, when another directory knows the login", charged(w.open(m)), "bob 1 of 100/20, 2001:db8:1:2::/64 1 of 100/20")
	m.Row = func(mail.Address) route.Row { return route.Row{Login: "another"} }
	want(t, "the charges, when it knows another", charged(w.open(m)), "")
}

func TestAMessageThatAsksForTooManyLimitsIsPutOff(t *testing.T) {
	rule := rate.Rule{By: rate.ByRecipient, OnLimit: verdict.Reject}
	for _, c := range []struct {
		rules, recipients, charges int
	}{{1, 1000, 1000}, {1, 1001, 0}, {2, 500, 1000}, {2, 501, 0}, {2, 4096, 0}} {
		w := limited(slices.Repeat([]rate.Rule{rule}, c.rules)...)
		m := w.sent(t)
		for i := range c.recipients {
			r := w.recipient(t, fmt.Sprintf("%d@far.example", i))
			m.Recipients = append(m.Recipients, r, r)
		}
		open := w.open(m)
		about := fmt.Sprintf("%d rules and %d recipients", c.rules, c.recipients)
		want(t, about, fmt.Sprint(len(open.Charges())), fmt.Sprint(c.charges))
		open.Grants = make([]rate.Grant, c.charges)
		open.Findings = clean(verdict.CheckVirus)
		stops, reply := c.charges == 0, ""
		if stops {
			reply = "452 4.5.3 Too many recipients"
		}
		want(t, about, fmt.Sprint(open.IsStopped()), fmt.Sprint(stops))
		want(t, about, open.Decide().Reply.String(), reply)
	}
}

func TestAnAddressOfAnAlternateDomainCountsForOurs(t *testing.T) {
	w := limited(rate.Rule{By: rate.ByRecipient}, rate.Rule{By: rate.BySender})
	m := w.sent(t, "alice@acmecorp.com", "alice@acmecorp-com.onmicrosoft.com")
	m.Sender = w.address(t, "bob@gapps.acmecorp.com")
	want(t, "the charges", charged(w.open(m)), "alice@acmecorp.com 1 of 100/20, bob@acmecorp.com 1 of 100/20")
}

func TestTheStrictestLimitDecides(t *testing.T) {
	over := rate.Grant{Over: true, Wait: 90_000_001}
	tag, put, refuse := rate.Rule{By: rate.ByUser, OnLimit: verdict.Tag}, rate.Rule{By: rate.ByUser, OnLimit: verdict.Tempfail},
		rate.Rule{By: rate.ByUser, OnLimit: verdict.Reject}
	for _, c := range []struct {
		about  string
		rules  []rate.Rule
		grants []rate.Grant
		null   bool
		want   string
	}{
		{"room", []rate.Rule{put}, []rate.Grant{{}}, false, "accept"},
		{"put off", []rate.Rule{put}, []rate.Grant{over}, false, "tempfail 450 4.7.1 Too many messages were sent, try again in 91 seconds"},
		{"refused", []rate.Rule{put, refuse, tag}, []rate.Grant{over, over, over}, false, "reject 550 5.7.1 Too many messages were sent"},
		{"tagged", []rate.Rule{put, tag}, []rate.Grant{{}, over}, false, "tag"},
		{"never", []rate.Rule{put}, []rate.Grant{{Over: true, Wait: rate.Never}}, false, "reject 550 5.7.1 The message has more messages than are taken at once: 20"},
		{"a bounce is not refused", []rate.Rule{refuse}, []rate.Grant{over}, true, "tempfail 450 4.7.1 Too many messages were sent, try again in 91 seconds"},
		{"unknown, put off", []rate.Rule{put}, []rate.Grant{{Unknown: true}}, false, "tempfail 450 4.7.1 The rate limit cannot be asked at the moment, try again later"},
		{"unknown, accepted", []rate.Rule{{By: rate.ByUser, OnLimit: verdict.Reject, OnError: rate.ErrorAccept}}, []rate.Grant{{Unknown: true}}, false, "accept"},
		{"not asked", []rate.Rule{put}, nil, false, "tempfail 450 4.7.1 The rate limit cannot be asked at the moment, try again later"},
	} {
		w := limited(c.rules...)
		m := w.sent(t, "bob@acmecorp.com")
		if c.null {
			m.Sender = mail.Address{}
		}
		m.Grants = c.grants
		m.Findings = clean(verdict.CheckVirus)
		open := w.open(m)
		d := open.Decide()
		got := strings.TrimSpace(d.Verdict.String() + " " + d.Reply.String())
		want(t, c.about, got, c.want)
		if stops := d.Verdict >= verdict.Tempfail; open.IsStopped() != stops {
			t.Errorf("%s: Stops is %v, want %v", c.about, !stops, stops)
		}
	}
}

func TestWhatALimitStopsIsNotHeldForOtherChecks(t *testing.T) {
	w := limited(rate.Rule{By: rate.ByUser, OnLimit: verdict.Tempfail})
	m := w.sent(t, "bob@acmecorp.com")
	m.Grants = []rate.Grant{{Over: true, Wait: 1}}
	d := w.decide(m) // the virus scanner was not asked
	want(t, "the deciding check", d.Check, verdict.CheckRate)
	want(t, "the reply", d.Reply.String(), "450 4.7.1 Too many messages were sent, try again in 1 second")
}

func TestAMessageWithAPassIsJudgedByItsContentAlone(t *testing.T) {
	w := limited(rate.Rule{By: rate.ByClient, OnLimit: verdict.Reject})
	w.at(verdict.S0, policy.Check{Name: verdict.CheckSpoof, OnHit: verdict.Reject}, policy.Check{Name: verdict.CheckRate, OnHit: verdict.Reject}, virus)
	m := w.sent(t, "bob@acmecorp.com")
	pass := seal.Pass{ID: "1", Checks: []string{"spam"}, Point: verdict.S0, Until: 10}
	m.Header = header(passMark, seal.PassHeader+":"+w.pass(pass, "bob@acmecorp.com"))
	want(t, "the checks", strings.Join(w.open(m).Decide().Checks, " "), "loop virus")
}

func TestWhoIsNotKnownIsRefusedAtOnceWhereAuthenticationIsAsked(t *testing.T) {
	auth := policy.Check{Name: verdict.CheckAuth, OnHit: verdict.Reject}
	w := newWorld().at(verdict.S2, auth)
	w.OurCertificates = []string{"printer.acmecorp.com"}
	for _, c := range []struct {
		about   string
		arrival policy.Arrival
		want    string
	}{
		{"a stranger", policy.Arrival{Client: netip.MustParseAddr(internetClient)}, "530 5.7.0 Authentication required"},
		{"a login", policy.Arrival{Client: netip.MustParseAddr(internetClient), Login: "bob"}, ""},
		{"our network", policy.Arrival{Client: netip.MustParseAddr(ourClient)}, ""},
		{"our certificate", policy.Arrival{Client: netip.MustParseAddr(internetClient), Certificate: "Printer.acmecorp.com"}, ""},
		{"another certificate", policy.Arrival{Client: netip.MustParseAddr(internetClient), Certificate: "x.acmecorp.com"}, "530 5.7.0 Authentication required"},
		{"this host", policy.Arrival{OnHost: true}, ""},
	} {
		c.arrival.Listener = verdict.S2
		entry := w.enter(c.arrival)
		got := w.policy().Admit(entry, w.address(t, "x@y.example"), 0, w.recipient(t, "bob@acmecorp.com"))
		want(t, c.about, got.Reply.String(), c.want)
	}
	entry := w.enter(policy.Arrival{Client: netip.MustParseAddr(internetClient), Certificate: "printer.acmecorp.com"})
	want(t, "the point of a certificate of ours", entry.Point.String(), "S2")
}

func TestMailOfAPlatformWhoseNetworksAreNotKnownIsPutOff(t *testing.T) {
	w := newWorld()
	w.live["google"] = networks.Known{Networks: w.live["google"].Networks, Pending: true}
	for client, unready := range map[string]bool{internetClient: true, officeClient: false, googleClient: false, ourClient: false} {
		entry := w.enter(policy.Arrival{Client: netip.MustParseAddr(client)})
		if (entry.Unready.String() != "") != unready {
			t.Errorf("%s: Unready is %q", client, entry.Unready)
		}
	}
}
