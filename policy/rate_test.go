package policy_test

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"coexistd/policy"
)

// limited is a world with the check rate at S0 and S2, and these rules.
func limited(rules ...policy.Rate) *world {
	w := newWorld()
	rate := policy.Check{Name: policy.CheckRate, OnHit: policy.Reject}
	w.at(policy.S0, rate).at(policy.S2, rate, virus)
	for i := range rules {
		rules[i].Name = fmt.Sprintf("rule %d", i)
		if rules[i].Points == nil {
			rules[i].Points = []policy.Checkpoint{policy.S0, policy.S2}
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
		Entry: policy.Entry{Point: policy.S2, Known: true}, Sender: w.address(t, "Bob+x@acmecorp.com"),
		Client: netip.MustParseAddr("2001:db8:1:2:3::4"), Login: "Bob", Size: 5000,
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

func TestARuleCountsWhatItSays(t *testing.T) {
	for _, c := range []struct {
		about string
		rule  policy.Rate
		want  string
	}{
		{"messages of a user", policy.Rate{By: policy.ByUser}, "bob 1 of 100/20"},
		{"recipients of a client", policy.Rate{By: policy.ByClient, Count: policy.Recipients}, "2001:db8:1:2::/64 3 of 100/20"},
		{"bytes of a sender", policy.Rate{By: policy.BySender, Count: policy.Bytes}, "bob@acmecorp.com 5000 of 100/20"},
		{"messages of a domain", policy.Rate{By: policy.BySenderDomain}, "acmecorp.com 1 of 100/20"},
		{"recipients of each recipient", policy.Rate{By: policy.ByRecipient, Count: policy.Recipients},
			"alice@acmecorp.com 1 of 100/20, x@far.example 1 of 100/20"},
		{"another point", policy.Rate{By: policy.ByUser, Points: []policy.Checkpoint{policy.S0}}, ""},
		{"a point that does not make the check", policy.Rate{By: policy.ByUser, Points: []policy.Checkpoint{policy.S3}}, ""},
		{"an account of its own", policy.Rate{By: policy.ByUser, Accounts: map[string]int64{"bob": 1000}}, "bob 1 of 1000/200"},
		{"an account without a limit", policy.Rate{By: policy.ByUser, Accounts: map[string]int64{"bob": policy.Unlimited}}, ""},
		{"the smallest network", policy.Rate{By: policy.ByUser, Networks: []policy.NetworkLimit{
			{Network: netip.MustParsePrefix("2001:db8::/32"), Limit: 7}, {Network: netip.MustParsePrefix("2001:db8:1::/48"), Limit: 50},
			{Network: netip.MustParsePrefix("10.0.0.0/8"), Limit: 3}}}, "bob 1 of 50/10"},
		{"the directory's column", policy.Rate{By: policy.ByUser, Column: "hourly"}, "bob 1 of 300/60"},
		{"the directory's column of a sender", policy.Rate{By: policy.BySender, Column: "hourly"}, "bob@acmecorp.com 1 of 400/80"},
		{"another column", policy.Rate{By: policy.ByUser, Column: "daily"}, "bob 1 of 100/20"},
		{"a burst in proportion, without a fraction", policy.Rate{By: policy.ByUser, Limit: 11, Burst: 3, Per: 60, Accounts: map[string]int64{"bob": 55}},
			"bob 1 of 55/15"},
		{"a burst in proportion is at least one", policy.Rate{By: policy.ByUser, Limit: 1_000_000_000_000, Burst: 3, Per: 60, Accounts: map[string]int64{"bob": 1}},
			"bob 1 of 1/1"},
		{"and not without end", policy.Rate{By: policy.ByUser, Limit: 1, Burst: 1_000_000_000_000, Per: 60, Accounts: map[string]int64{"bob": 1_000_000_000_000}},
			"bob 1 of 1000000000000/1125899906842624"},
		{"an account before the column", policy.Rate{By: policy.ByUser, Column: "hourly", Accounts: map[string]int64{"bob": 5}}, "bob 1 of 5/1"},
	} {
		w := limited(c.rule)
		m := w.sent(t, "alice@acmecorp.com", "Alice+tag@acmecorp.com", "x@far.example")
		m.Row = func(a policy.Address) policy.Row {
			if a.Owner != "bob@acmecorp.com" {
				return policy.Row{}
			}
			return policy.Row{Login: "bob", Column: func(name string) string { return map[string]string{"hourly": "400"}[name] }}
		}
		m.Limit = func(login, column string) (string, bool) {
			return map[string]string{"Bob hourly": "300"}[login+" "+column], false
		}
		want(t, c.about, charged(w.Open(m)), c.want)
	}
}

func TestWhoHasNoKeyIsNotCounted(t *testing.T) {
	w := limited(policy.Rate{By: policy.ByUser}, policy.Rate{By: policy.BySender}, policy.Rate{By: policy.BySenderDomain}, policy.Rate{By: policy.ByClient})
	m := w.sent(t, "alice@acmecorp.com")
	m.Sender, m.Login, m.Client = policy.Address{}, "", netip.Addr{}
	want(t, "the null sender without login and address", charged(w.Open(m)), "")
}

func TestADirectoryThatCannotTellALimitPutsTheMessageOff(t *testing.T) {
	w := limited(policy.Rate{By: policy.ByUser, Count: policy.Recipients, Column: "hourly", OnLimit: policy.Reject}, policy.Rate{By: policy.ByClient})
	m := w.sent(t, "bob@acmecorp.com")
	m.Row = func(policy.Address) policy.Row { return policy.Row{Failed: true} }
	m.Limit = func(string, string) (string, bool) { return "", true }
	open := w.Open(m)
	want(t, "the charges", charged(open), "")
	if !open.Stops() {
		t.Error("the message goes on")
	}
	want(t, "the reply", open.Decide().Reply.String(), "451 4.3.0 The directory cannot be read at the moment, try again later")

	m.Row = func(policy.Address) policy.Row { return policy.Row{Login: "bob"} }
	want(t, "the charges, when another directory knows the login", charged(w.Open(m)), "bob 1 of 100/20, 2001:db8:1:2::/64 1 of 100/20")
	m.Row = func(policy.Address) policy.Row { return policy.Row{Login: "another"} }
	want(t, "the charges, when it knows another", charged(w.Open(m)), "")
}

func TestAUsersLimitIsTheSameWhateverHeSendsAs(t *testing.T) {
	w := limited(policy.Rate{By: policy.ByUser, Column: "hourly"})
	m := w.sent(t, "alice@acmecorp.com")
	m.Row = func(a policy.Address) policy.Row {
		return policy.Row{Login: "bob dave", Column: func(string) string { return "unlimited" }}
	}
	m.Limit = func(string, string) (string, bool) { return "5", false }
	for _, sender := range []string{"bob@acmecorp.com", "news@acmecorp.com", "x@far.example", ""} {
		m.Sender = policy.Address{}
		if sender != "" {
			m.Sender = w.address(t, sender)
		}
		want(t, "sent as "+sender, charged(w.Open(m)), "bob 1 of 5/1")
	}
	m.Limit = func(string, string) (string, bool) { return "Unlimited", false }
	want(t, "without a limit", charged(w.Open(m)), "")
}

func TestAMessageThatAsksForTooManyLimitsIsPutOff(t *testing.T) {
	rule := policy.Rate{By: policy.ByRecipient, OnLimit: policy.Reject}
	for _, c := range []struct {
		rules, recipients, charges int
	}{{1, 1000, 1000}, {1, 1001, 0}, {2, 500, 1000}, {2, 501, 0}, {2, 4096, 0}} {
		w := limited(slices.Repeat([]policy.Rate{rule}, c.rules)...)
		m := w.sent(t)
		for i := range c.recipients {
			r := w.recipient(t, fmt.Sprintf("%d@far.example", i))
			m.Recipients = append(m.Recipients, r, r)
		}
		open := w.Open(m)
		about := fmt.Sprintf("%d rules and %d recipients", c.rules, c.recipients)
		want(t, about, fmt.Sprint(len(open.Charges())), fmt.Sprint(c.charges))
		open.Grants = make([]policy.Grant, c.charges)
		open.Findings = []policy.Finding{{Check: policy.CheckVirus}}
		stops, reply := c.charges == 0, ""
		if stops {
			reply = "452 4.5.3 Too many recipients"
		}
		want(t, about, fmt.Sprint(open.Stops()), fmt.Sprint(stops))
		want(t, about, open.Decide().Reply.String(), reply)
	}
}

func TestARuleThatOnlyTagsStopsNothingWhateverFails(t *testing.T) {
	w := limited(policy.Rate{By: policy.ByUser, Column: "hourly", OnLimit: policy.Tag, OnError: policy.ErrorAccept},
		policy.Rate{By: policy.ByRecipient, OnLimit: policy.Tag, OnError: policy.ErrorAccept})
	m := w.sent(t, "bob@acmecorp.com")
	for i := range 1200 {
		m.Recipients = append(m.Recipients, w.recipient(t, fmt.Sprintf("x%d@far.example", i)))
	}
	m.Limit = func(login, column string) (string, bool) { return "", true }
	m.Row = func(policy.Address) policy.Row { return policy.Row{Failed: true} }
	if open := w.Open(m); open.Stops() || len(open.Charges()) != 1000 {
		t.Errorf("it stops: %v; %d charges", open.Stops(), len(open.Charges()))
	}
}

func TestAnAddressOfAnAlternateDomainCountsForOurs(t *testing.T) {
	w := limited(policy.Rate{By: policy.ByRecipient}, policy.Rate{By: policy.BySender})
	m := w.sent(t, "alice@acmecorp.com", "alice@acmecorp-com.onmicrosoft.com")
	m.Sender = w.address(t, "bob@gapps.acmecorp.com")
	want(t, "the charges", charged(w.Open(m)), "alice@acmecorp.com 1 of 100/20, bob@acmecorp.com 1 of 100/20")
}

func TestTheStrictestLimitDecides(t *testing.T) {
	over := policy.Grant{Over: true, Wait: 90_000_001}
	tag, put, refuse := policy.Rate{By: policy.ByUser, OnLimit: policy.Tag}, policy.Rate{By: policy.ByUser, OnLimit: policy.Tempfail},
		policy.Rate{By: policy.ByUser, OnLimit: policy.Reject}
	for _, c := range []struct {
		about  string
		rules  []policy.Rate
		grants []policy.Grant
		null   bool
		want   string
	}{
		{"room", []policy.Rate{put}, []policy.Grant{{}}, false, "accept"},
		{"put off", []policy.Rate{put}, []policy.Grant{over}, false, "tempfail 450 4.7.1 Too many messages were sent, try again in 91 seconds"},
		{"refused", []policy.Rate{put, refuse, tag}, []policy.Grant{over, over, over}, false, "reject 550 5.7.1 Too many messages were sent"},
		{"tagged", []policy.Rate{put, tag}, []policy.Grant{{}, over}, false, "tag"},
		{"never", []policy.Rate{put}, []policy.Grant{{Over: true, Wait: policy.Never}}, false, "reject 550 5.7.1 The message has more messages than are taken at once: 20"},
		{"a bounce is not refused", []policy.Rate{refuse}, []policy.Grant{over}, true, "tempfail 450 4.7.1 Too many messages were sent, try again in 91 seconds"},
		{"unknown, put off", []policy.Rate{put}, []policy.Grant{{Unknown: true}}, false, "tempfail 450 4.7.1 The rate limit cannot be asked at the moment, try again later"},
		{"unknown, accepted", []policy.Rate{{By: policy.ByUser, OnLimit: policy.Reject, OnError: policy.ErrorAccept}}, []policy.Grant{{Unknown: true}}, false, "accept"},
		{"not asked", []policy.Rate{put}, nil, false, "tempfail 450 4.7.1 The rate limit cannot be asked at the moment, try again later"},
	} {
		w := limited(c.rules...)
		m := w.sent(t, "bob@acmecorp.com")
		if c.null {
			m.Sender = policy.Address{}
		}
		m.Grants = c.grants
		m.Findings = []policy.Finding{{Check: policy.CheckVirus}}
		open := w.Open(m)
		d := open.Decide()
		got := strings.TrimSpace(d.Verdict.String() + " " + d.Reply.String())
		want(t, c.about, got, c.want)
		if stops := d.Verdict >= policy.Tempfail; open.Stops() != stops {
			t.Errorf("%s: Stops is %v, want %v", c.about, !stops, stops)
		}
	}
}

func TestWhatALimitStopsIsNotHeldForOtherChecks(t *testing.T) {
	w := limited(policy.Rate{By: policy.ByUser, OnLimit: policy.Tempfail})
	m := w.sent(t, "bob@acmecorp.com")
	m.Grants = []policy.Grant{{Over: true, Wait: 1}}
	d := w.Decide(m) // the virus scanner was not asked
	want(t, "the deciding check", d.Check, policy.CheckRate)
	want(t, "the reply", d.Reply.String(), "450 4.7.1 Too many messages were sent, try again in 1 second")
}

func TestAMessageWithAPassIsJudgedByItsContentAlone(t *testing.T) {
	w := limited(policy.Rate{By: policy.ByClient, OnLimit: policy.Reject})
	w.at(policy.S0, policy.Check{Name: policy.CheckSpoof, OnHit: policy.Reject}, policy.Check{Name: policy.CheckRate, OnHit: policy.Reject}, virus)
	m := w.sent(t, "bob@acmecorp.com")
	pass := policy.Pass{ID: "1", Checks: []string{"spam"}, Point: policy.S0, Until: 10}
	signed, ok := w.OpenPass([]string{w.SignPass(pass, "bob@acmecorp.com", nil)}, nil, 5)
	if !ok {
		t.Fatal("the pass is not taken")
	}
	m.Pass = &signed
	want(t, "the checks", strings.Join(w.Open(m).Decide().Checks, " "), "loop virus")
}

func TestWhoIsNotKnownIsRefusedAtOnceWhereAuthenticationIsAsked(t *testing.T) {
	auth := policy.Check{Name: policy.CheckAuth, OnHit: policy.Reject}
	w := newWorld().at(policy.S2, auth)
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
		c.arrival.Listener = policy.S2
		entry := w.Enter(c.arrival)
		got := w.Admit(entry, w.address(t, "x@y.example"), 0, w.recipient(t, "bob@acmecorp.com"))
		want(t, c.about, got.Reply.String(), c.want)
	}
	entry := w.Enter(policy.Arrival{Client: netip.MustParseAddr(internetClient), Certificate: "printer.acmecorp.com"})
	want(t, "the point of a certificate of ours", entry.Point.String(), "S2")
}

func TestMailOfAPlatformWhoseNetworksAreNotKnownIsPutOff(t *testing.T) {
	w := newWorld()
	w.Platform("google").Pending = true
	for client, unready := range map[string]bool{internetClient: true, officeClient: false, googleClient: false, ourClient: false} {
		entry := w.Enter(policy.Arrival{Client: netip.MustParseAddr(client)})
		if (entry.Unready != "") != unready {
			t.Errorf("%s: Unready is %q", client, entry.Unready)
		}
	}
}
