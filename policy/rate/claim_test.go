package rate_test

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"coexistd/policy/mail"
	"coexistd/policy/rate"
	"coexistd/policy/route"
	"coexistd/policy/verdict"
)

func address(t testing.TB, path string) mail.Address {
	t.Helper()
	a, err := mail.ParseAddress(path, "+")
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// sent is a message of bob's.
func sent(t testing.TB) *rate.Facts {
	t.Helper()
	return &rate.Facts{Login: "Bob", Client: netip.MustParseAddr("2001:db8:1:2:3::4"), Sender: address(t, "Bob+x@acmecorp.com"), Size: 5000}
}

// ask asks the rules, each of which counts all recipients. One without a limit has 100 an
// hour, 20 at once.
func ask(t testing.TB, f *rate.Facts, rules []rate.Rule, to ...string) *rate.Claim {
	t.Helper()
	for i := range rules {
		rules[i].Name = fmt.Sprintf("rule %d", i)
		if rules[i].Limit == 0 {
			rules[i].Limit, rules[i].Burst, rules[i].Per = 100, 20, 3600
		}
	}
	var counted []mail.Address
	for _, path := range to {
		counted = append(counted, address(t, path))
	}
	return rate.Ask(rules, f, func(*rate.Rule) []mail.Address { return counted })
}

func charged(c *rate.Claim) string {
	var all []string
	for _, charge := range c.Charges() {
		all = append(all, fmt.Sprintf("%s %d of %d/%d", charge.Key, charge.Amount, charge.Limit, charge.Burst))
	}
	return strings.Join(all, ", ")
}

// want compares one text and says what it is about.
func want(t testing.TB, what, got, expected string) {
	t.Helper()
	if got != expected {
		t.Errorf("%s: got %q, want %q", what, got, expected)
	}
}

func TestARuleCountsWhatItSays(t *testing.T) {
	for _, c := range []struct {
		about string
		rule  rate.Rule
		want  string
	}{
		{"messages of a user", rate.Rule{By: rate.ByUser}, "bob 1 of 100/20"},
		{"recipients of a client", rate.Rule{By: rate.ByClient, Count: rate.Recipients}, "2001:db8:1:2::/64 3 of 100/20"},
		{"bytes of a sender", rate.Rule{By: rate.BySender, Count: rate.Bytes}, "bob@acmecorp.com 5000 of 100/20"},
		{"messages of a domain", rate.Rule{By: rate.BySenderDomain}, "acmecorp.com 1 of 100/20"},
		{"recipients of each recipient", rate.Rule{By: rate.ByRecipient, Count: rate.Recipients},
			"alice@acmecorp.com 1 of 100/20, x@far.example 1 of 100/20"},
		{"an account of its own", rate.Rule{By: rate.ByUser, Accounts: map[string]int64{"bob": 1000}}, "bob 1 of 1000/200"},
		{"an account without a limit", rate.Rule{By: rate.ByUser, Accounts: map[string]int64{"bob": rate.Unlimited}}, ""},
		{"the smallest network", rate.Rule{By: rate.ByUser, Networks: rate.LimitNetworks(map[netip.Prefix]int64{
			netip.MustParsePrefix("2001:db8::/32"): 7, netip.MustParsePrefix("2001:db8:1::/48"): 50, netip.MustParsePrefix("10.0.0.0/8"): 3})}, "bob 1 of 50/10"},
		{"the directory's column", rate.Rule{By: rate.ByUser, Column: "hourly"}, "bob 1 of 300/60"},
		{"the directory's column of a sender", rate.Rule{By: rate.BySender, Column: "hourly"}, "bob@acmecorp.com 1 of 400/80"},
		{"another column", rate.Rule{By: rate.ByUser, Column: "daily"}, "bob 1 of 100/20"},
		{"a burst in proportion, without a fraction", rate.Rule{By: rate.ByUser, Limit: 11, Burst: 3, Per: 60, Accounts: map[string]int64{"bob": 55}},
			"bob 1 of 55/15"},
		{"a burst in proportion is at least one", rate.Rule{By: rate.ByUser, Limit: 1_000_000_000_000, Burst: 3, Per: 60, Accounts: map[string]int64{"bob": 1}},
			"bob 1 of 1/1"},
		{"and not without end", rate.Rule{By: rate.ByUser, Limit: 1, Burst: 1_000_000_000_000, Per: 60, Accounts: map[string]int64{"bob": 1_000_000_000_000}},
			"bob 1 of 1000000000000/1125899906842624"},
		{"an account before the column", rate.Rule{By: rate.ByUser, Column: "hourly", Accounts: map[string]int64{"bob": 5}}, "bob 1 of 5/1"},
	} {
		m := sent(t)
		m.Row = func(a mail.Address) route.Row {
			if a.Owner != "bob@acmecorp.com" {
				return route.Row{}
			}
			return route.Row{Login: "bob", Column: func(name string) string { return map[string]string{"hourly": "400"}[name] }}
		}
		m.Limit = func(login, column string) (string, bool) {
			return map[string]string{"Bob hourly": "300"}[login+" "+column], false
		}
		want(t, c.about, charged(ask(t, m, []rate.Rule{c.rule}, "alice@acmecorp.com", "Alice+tag@acmecorp.com", "x@far.example")), c.want)
	}
}

func TestWhoHasNoKeyIsNotCounted(t *testing.T) {
	rules := []rate.Rule{{By: rate.ByUser}, {By: rate.BySender}, {By: rate.BySenderDomain}, {By: rate.ByClient}}
	m := sent(t)
	m.Sender, m.Login, m.Client = mail.Address{}, "", netip.Addr{}
	want(t, "the null sender without login and address", charged(ask(t, m, rules, "alice@acmecorp.com")), "")
}

func TestAUsersLimitIsTheSameWhateverTheySendAs(t *testing.T) {
	rules := []rate.Rule{{By: rate.ByUser, Column: "hourly"}}
	m := sent(t)
	m.Row = func(a mail.Address) route.Row {
		return route.Row{Login: "bob dave", Column: func(string) string { return "unlimited" }}
	}
	m.Limit = func(string, string) (string, bool) { return "5", false }
	for _, sender := range []string{"bob@acmecorp.com", "news@acmecorp.com", "x@far.example", ""} {
		m.Sender = mail.Address{}
		if sender != "" {
			m.Sender = address(t, sender)
		}
		want(t, "sent as "+sender, charged(ask(t, m, rules, "alice@acmecorp.com")), "bob 1 of 5/1")
	}
	m.Limit = func(string, string) (string, bool) { return "Unlimited", false }
	want(t, "without a limit", charged(ask(t, m, rules, "alice@acmecorp.com")), "")
}

func TestARuleThatOnlyTagsStopsNothingWhateverFails(t *testing.T) {
	rules := []rate.Rule{{By: rate.ByUser, Column: "hourly", OnLimit: verdict.Tag, OnError: rate.ErrorAccept},
		{By: rate.ByRecipient, OnLimit: verdict.Tag, OnError: rate.ErrorAccept}}
	m := sent(t)
	to := []string{"bob@acmecorp.com"}
	for i := range 1200 {
		to = append(to, fmt.Sprintf("x%d@far.example", i))
	}
	m.Limit = func(login, column string) (string, bool) { return "", true }
	m.Row = func(mail.Address) route.Row { return route.Row{Failed: true} }
	claim := ask(t, m, rules, to...)
	if f := claim.Finding(nil); f.Proposed >= verdict.Tempfail || len(claim.Charges()) != 1000 {
		t.Errorf("the finding is %v; %d charges", f, len(claim.Charges()))
	}
}

func TestARuleWhoseRecipientsDoNotCountAsksForNothing(t *testing.T) {
	rules := []rate.Rule{{Name: "r", By: rate.ByUser, Limit: 1, Burst: 1, Per: 1}}
	claim := rate.Ask(rules, sent(t), func(*rate.Rule) []mail.Address { return nil })
	if len(claim.Charges()) != 0 || claim.Finding(nil).State != verdict.Clean {
		t.Errorf("it asks for %v and finds %v", claim.Charges(), claim.Finding(nil))
	}
}
