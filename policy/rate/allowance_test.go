package rate_test

import (
	"net/netip"
	"testing"

	"coexistd/policy/mail"
	"coexistd/policy/rate"
	"coexistd/policy/route"
)

func TestARuleAllowsAKeyWhatItAllowsAMessageOfIt(t *testing.T) {
	networks := rate.LimitNetworks(map[netip.Prefix]int64{netip.MustParsePrefix("2001:db8::/32"): 7})
	accounts := map[string]int64{"bob": 50, "ann@acmecorp.com": rate.Unlimited, "same": 100}
	books := rate.Books{
		Limit: func(login, column string) (string, bool) {
			return map[string]string{"eve hourly": "300"}[login+" "+column], login == "lost"
		},
		Row: func(a mail.Address) route.Row {
			return route.Row{Column: func(string) string { return map[string]string{"eve@acmecorp.com": "unlimited"}[a.Owner] }}
		},
	}
	for _, c := range []struct {
		by   rate.By
		key  string
		want rate.Allowance
	}{
		{rate.ByUser, "bob", rate.Allowance{Limit: 50, Burst: 10}},
		{rate.ByUser, "same", rate.Allowance{Limit: 100, Burst: 20}},
		{rate.ByUser, "eve", rate.Allowance{Limit: 300, Burst: 60}},
		{rate.ByUser, "dave", rate.Allowance{Limit: 100, Burst: 20, Unsure: true}}, // or 7, from that network
		{rate.ByUser, "lost", rate.Allowance{Limit: 100, Burst: 20, Unsure: true}},
		{rate.BySender, "ann@acmecorp.com", rate.Allowance{Limit: rate.Unlimited}},
		{rate.ByRecipient, "eve@acmecorp.com", rate.Allowance{Limit: rate.Unlimited}},
		{rate.ByClient, "2001:db8:1::/64", rate.Allowance{Limit: 7, Burst: 1}},
		{rate.ByClient, "192.0.2.1", rate.Allowance{Limit: 100, Burst: 20}},
	} {
		r := rate.Rule{By: c.by, Limit: 100, Burst: 20, Per: 3600, Column: "hourly", Accounts: accounts, Networks: networks}
		if c.by == rate.ByClient {
			r.Column, r.Accounts = "", nil
		}
		if got := r.Allows(c.key, books); got != c.want {
			t.Errorf("by %s, %s: %+v, want %+v", c.by, c.key, got, c.want)
		}
	}
}

func TestAKeyIsReadAsPeopleWriteIt(t *testing.T) {
	for _, c := range []struct {
		by            rate.By
		written, want string
	}{
		{rate.ByUser, "Bob", "bob"},
		{rate.ByClient, "2001:db8:1:2:3::4", "2001:db8:1:2::/64"},
		{rate.ByClient, "2001:db8:1:2::/64", "2001:db8:1:2::/64"},
		{rate.ByClient, "::ffff:192.0.2.1", "192.0.2.1"},
		{rate.ByClient, "nobody", "nobody"},
		{rate.BySender, "<News@ACMEcorp.com>", "news@acmecorp.com"},
		{rate.ByRecipient, `"bob"@acmecorp.com`, "bob@acmecorp.com"},
		{rate.BySenderDomain, "ACMEcorp.COM", "acmecorp.com"},
		{rate.BySenderDomain, "*", "*"},
		{rate.BySender, "*", "*"},
		{rate.BySender, "#00112233445566778899aabbccddeeff", "#00112233445566778899aabbccddeeff"},
		{rate.ByClient, "*", "*"},
	} {
		r := rate.Rule{By: c.by}
		want(t, c.by.String()+" "+c.written, r.Key(c.written), c.want)
	}
}

func TestPeopleReadWhatARuleCounts(t *testing.T) {
	want(t, "by user", rate.ByUser.Counted(), "login")
	want(t, "by recipient", rate.ByRecipient.Counted(), "recipient's address")
}
