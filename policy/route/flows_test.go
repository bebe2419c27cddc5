package route_test

import (
	"slices"
	"strings"
	"testing"

	"coexistd/policy/route"
)

func provable(*route.Platform) bool { return true }

// withMX points the MX of all domains that have mailboxes at a platform there.
func withMX(r *route.Rules, platform string) {
	for _, d := range r.Domains {
		if _, ok := d.Alternates[platform]; ok {
			d.MX = platform
		}
	}
}

func TestFlowsAreTheDesignsTable(t *testing.T) {
	type row struct {
		from, to, flow string
		passesUs       bool
	}
	common := []row{
		{"user here", "mailbox here", "S2=>LD", true},
		{"user here", "mailbox at PLATFORM", "S2=>S4=>P1=>LD", true},
		{"user here", "Internet", "S2=>S3=>ED", true},
		{"user at PLATFORM", "mailbox here", "P2=>P3=>S1=>LD", true},
		{"user at PLATFORM", "mailbox at PLATFORM", "P2=>LD", false},
		{"user at PLATFORM", "Internet", "P2=>P4=>ED", false},
		{"user at PLATFORM", "mailbox at OTHER", "P2=>P3=>S1=>S4=>Q1=>LD", true},
		{"user at PLATFORM", "Internet, through us", "P2=>P3=>S1=>S3=>ED", true},
	}
	tables := map[string][]row{
		"here": append([]row{
			{"Internet", "mailbox here", "S0=>LD", true},
			{"Internet", "mailbox at PLATFORM", "S0=>S4=>P1=>LD", true},
		}, common...),
		"there": append([]row{
			{"Internet", "mailbox here", "P1=>P3=>S1=>LD", true},
			{"Internet", "mailbox at PLATFORM", "P1=>LD", false},
		}, common...),
	}
	for name, letter := range map[string]string{"office365": "O", "google": "G"} {
		other, others := "google", "G"
		if name == other {
			other, others = "office365", "O"
		}
		for mx, rows := range tables {
			t.Run(name+"/MX "+mx, func(t *testing.T) {
				r := rules()
				r.Platform(name).MayRelay = true
				if mx == "there" {
					withMX(r, name)
				}
				fill := strings.NewReplacer("P1", letter+"1", "P2", letter+"2", "P3", letter+"3", "P4", letter+"4", "Q1", others+"1", "PLATFORM", name, "OTHER", other).Replace
				var expected []row
				for _, r := range rows {
					expected = append(expected, row{fill(r.from), fill(r.to), fill(r.flow), r.passesUs})
				}
				var got []row
				for _, f := range r.Flows(r.Domains["acmecorp.com"], r.Platform(name), provable) {
					got = append(got, row{f.From, f.To, f.Ways.String(), f.PassesUs})
				}
				if !slices.Equal(got, expected) {
					t.Errorf("got\n%+v\nwant\n%+v", got, expected)
				}
			})
		}
	}
}

func TestFlowsLeaveOutWhatThePlatformMayNotDo(t *testing.T) {
	r := rules()
	for _, row := range r.Flows(r.Domains["acmecorp.com"], r.Platform("google"), provable) {
		if strings.Contains(row.To, "through us") {
			t.Errorf("may_relay is off, and yet: %+v", row)
		}
	}
}

func TestFlowsThroughTheMXOfAThirdPlatform(t *testing.T) {
	r := rules()
	withMX(r, "google")
	rows := r.Flows(r.Domains["acmecorp.com"], r.Platform("office365"), provable)
	want(t, "Internet to here", rows[0].Ways.String(), "G1=>G3=>S1=>LD")
	want(t, "Internet to Office 365", rows[1].Ways.String(), "G1=>G3=>S1=>S4=>O1=>LD")
}

func TestFlowsBetweenPlatformsAreThoseOfTheDomainsOwn(t *testing.T) {
	r := rules()
	for _, row := range r.Flows(r.Domains["acme.net"], r.Platform("office365"), provable) {
		if strings.Contains(row.To, "google") {
			t.Errorf("acme.net has no mailboxes at google, and yet: %+v", row)
		}
	}
	withMX(r, "google")
	flow := func() string {
		for _, row := range r.Flows(r.Domains["acmecorp.com"], r.Platform("office365"), func(p *route.Platform) bool { return p.Name == "google" }) {
			if row.From == "user at office365" && row.To == "mailbox at google" {
				return row.Ways.String()
			}
		}
		return "no such row"
	}
	want(t, "without a proof of the one", flow(), "O2=>O3=>S0=>S4=>G1=>LD")
	r.Domains["acmecorp.com"].RefusePastMX = true
	want(t, "past the MX at the other", flow(), "")
	r.Domains["acmecorp.com"].RefusePastMX = false
	r.Platform("google").ByRelay = true
	want(t, "by the other's relay", flow(), "O2=>O3=>S0=>S4=>G1=>LD")
}

func TestFlowsShowMailThatLeavesThroughThePlatform(t *testing.T) {
	r := rules()
	r.Outbound = "office365"
	for _, row := range r.Flows(r.Domains["acmecorp.com"], r.Platform("office365"), provable) {
		if row.From == "user here" && row.To == "Internet" {
			want(t, "flow", row.Ways.String(), "S2=>S4=>O1=>O4=>ED")
			return
		}
	}
	t.Error("there is no such row")
}

func TestFlowsOfAPlatformThatCannotProveItsTenantEnterAtS0(t *testing.T) {
	r := rules()
	withMX(r, "google")
	r.Platform("google").MayRelay = true
	flows := func() string {
		var all []string
		for _, row := range r.Flows(r.Domains["acmecorp.com"], r.Platform("google"), func(*route.Platform) bool { return false }) {
			if row.PassesUs && row.From != "user here" {
				all = append(all, row.From+" to "+row.To+": "+row.Ways.String())
			}
		}
		return strings.Join(all, "; ")
	}
	want(t, "the flows", flows(), "Internet to mailbox here: G1=>G3=>S0=>LD; user at google to mailbox here: G2=>G3=>S0=>LD; user at google to mailbox at office365: G2=>G3=>S0=>S4=>O1=>LD; user at google to Internet, through us: ")
	// What comes past the MX enters there as well.
	r.Domains["acmecorp.com"].RefusePastMX = true
	want(t, "with past_mx", flows(), "Internet to mailbox here: ; user at google to mailbox here: ; user at google to mailbox at office365: ; user at google to Internet, through us: ")
}
