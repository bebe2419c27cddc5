package e2e

import (
	"slices"
	"strings"
	"testing"

	"coexistd/contrib/lab"
)

// platformSpam are the header fields in which a platform says that a message is spam, each
// with what is said of it.
var platformSpam = []struct{ field, name string }{
	{"X-Forefront-Antispam-Report: CIP:192.0.2.1;CTRY:US;LANG:en;SCL:5;SRV:;IPV:NLI;SFV:SPM;H:mail.example.net;PTR:;CAT:SPM;", "SFV:SPM"},
	{"X-Forefront-Antispam-Report: CIP:192.0.2.1;SCL:9;SFV:SKS;DIR:INB", "SFV:SKS"},
	{"X-Forefront-Antispam-Report: CIP:192.0.2.1;\r\n\tSCL:6; SFV:SKB", "SFV:SKB"},
	{"X-MS-Exchange-Organization-SCL: 7", "SCL:7"},
	{"X-Gm-Spam: 1", "X-Gm-Spam"},
	{"x-gm-phishy: 1", "X-Gm-Phishy"},
}

// platformHam are fields in which it does not.
var platformHam = []string{
	"X-Forefront-Antispam-Report: CIP:192.0.2.1;SCL:1;SFV:NSPM;CAT:NONE", "X-Forefront-Antispam-Report: SFV:SPMX", "X-Forefront-Antispam-Report: ",
	"X-MS-Exchange-Organization-SCL: 4", "X-MS-Exchange-Organization-SCL: -1", "X-MS-Exchange-Organization-SCL: 77", "X-Gm-Spam: 0", "X-Gm-Phishy: yes",
}

func TestWhatAProvenPlatformCallsSpamIsMarked(t *testing.T) {
	onEachMTA(t, func(t *testing.T, mta lab.MTA) {
		s := startSite(t, lab.SiteConfig{MTA: mta, TOML: checkedTOML("", "", neverReport)})
		const to = "bob@acmecorp.com"
		for _, c := range platformSpam {
			m := fromTenant(lab.OfficeTenant, withHeader(c.field, lab.Plain("eve@example.net", to, c.name)))
			line := s.mustEnter(c.field, s.send(lab.FromOffice365, lab.Mail{From: "eve@example.net", To: lab.To(to), Data: m}), "S1", "names our tenant")
			if line["verdict"] != "tag" || !strings.Contains(line["reason"], "office365 holds it for spam ("+c.name+")") {
				t.Errorf("%s: %v", c.field, line)
			}
			s.mustArriveTagged(m, []string{"spam; " + c.name}, "here "+to)
		}
		for _, field := range platformHam {
			m := fromTenant(lab.OfficeTenant, withHeader(field, lab.Plain("eve@example.net", to, field)))
			line := s.mustEnter(field, s.send(lab.FromOffice365, lab.Mail{From: "eve@example.net", To: lab.To(to), Data: m}), "S1", "names our tenant")
			if line["verdict"] != "accept" {
				t.Errorf("%s: %v", field, line)
			}
			s.mustArrive(m, "here "+to)
		}
	})
}

func TestWhatAnybodyElseCallsSpamCountsForNothing(t *testing.T) {
	onEachMTA(t, func(t *testing.T, mta lab.MTA) {
		s := startSite(t, lab.SiteConfig{MTA: mta, TOML: checkedTOML("", "", neverReport)})
		const to = "bob@acmecorp.com"
		for _, c := range platformSpam {
			for about, m := range map[string][]byte{
				lab.FromInternet:  lab.Plain("eve@example.net", to, c.name),
				lab.FromOffice365: fromTenant(foreignTenant, lab.Plain("eve@example.net", to, c.name)),
				lab.FromGoogle:    lab.Plain("eve@example.net", to, c.name),
			} {
				m = withHeader(c.field, m)
				if line := s.logged(s.send(about, lab.Mail{From: "eve@example.net", To: lab.To(to), Data: m})); line["verdict"] != "accept" || line["point"] != "S0" {
					t.Errorf("%s from %s: %v", c.field, about, line)
				}
				s.mustArrive(m, "here "+to)
			}
		}
	})
}

func TestWhatAProvenPlatformCallsSpamIsHeldWhereTheFileSaysSo(t *testing.T) {
	onEachMTA(t, func(t *testing.T, mta lab.MTA) {
		s := startSite(t, lab.SiteConfig{MTA: mta, TOML: checkedTOML("", "", neverReport, "[checkpoint.S1]\nreport = true\n[checkpoint.S1.spam]\non_hit = \"quarantine\"\n")})
		const to = "bob@acmecorp.com"
		for _, c := range platformSpam {
			m := fromTenant(lab.OfficeTenant, withHeader(c.field, lab.Plain("eve@example.net", to, c.name)))
			s.mustEnter(c.field, s.send(lab.FromOffice365, lab.Mail{From: "eve@example.net", To: lab.To(to), Data: m}), "S1", "names our tenant")
			entries := s.held(m)
			if len(entries) != 1 || entries[0].Point.String() != "S1" || !slices.Equal(entries[0].Checks, []string{"spam"}) || !slices.Equal(entries[0].Found, []string{c.name}) {
				t.Errorf("%s is held as %+v", c.field, entries)
			}
		}
	})
}
