package setup_test

import (
	"errors"
	"strings"
	"testing"

	"coexistd/cmd/coexistd/setup"
	"coexistd/cmd/coexistd/zone"
	"coexistd/contrib/lab"
)

var errSilent = errors.New("the server is silent")

const sharedTOML = `hostname = "mail.acmecorp.com"
[[listen]]
address = "inet:127.0.0.1:8701"
[platform.office365]
networks = ["spf:spf.protection.outlook.com"]
tenant = "` + lab.OfficeTenant + `"
[domain."acmecorp.com"]
directory = "users.csv"
alternate = { office365 = "acmecorp-com.onmicrosoft.com" }
`

const onBothSides = "address,residence\nbob@acmecorp.com,here\nalice@acmecorp.com,office365\n"

// shared is a site whose domain has these records for SPF.
func shared(t *testing.T, users string, more zone.Answers, texts ...string) *setup.Site {
	t.Helper()
	answers := zone.Answers{
		"acmecorp.com":               {TXT: texts, MX: []string{"mail.acmecorp.com"}},
		"mail.acmecorp.com":          {Addresses: []string{"192.0.2.25"}},
		"spf.protection.outlook.com": {TXT: []string{"v=spf1 ip4:40.92.0.0/15 -all"}},
	}
	for name, records := range more {
		answers[name] = records
	}
	return survey(t, sharedTOML, users, answers)
}

func vendor(lookups string) zone.Records { return zone.Records{TXT: []string{"v=spf1 " + lookups}} }

func TestAnSPFRecordIsMergedWithWhatIsPublished(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		texts []string
		more  zone.Answers
		want  string   // the record; empty: none
		says  []string // in the notes, or in the error
		done  bool     // just that is published
	}{
		"nothing is published": {want: "v=spf1 ip4:192.0.2.25 include:spf.protection.outlook.com ~all", says: []string{
			"ip4:192.0.2.25 is new: from there this host sends", "include:spf.protection.outlook.com is new: from there office365 sends", "1 of 10 lookups"}},
		"all is published": {texts: []string{"v=spf1 include:spf.protection.outlook.com ip4:192.0.2.0/24 -all"}, done: true,
			want: "v=spf1 include:spf.protection.outlook.com ip4:192.0.2.0/24 -all", says: []string{"1 of 10 lookups"}},
		"the end stays, and so do others": {texts: []string{"v=spf1 ip4:198.51.100.1 exp=x.example -all", "site-verification=1"},
			want: "v=spf1 ip4:192.0.2.25 include:spf.protection.outlook.com ip4:198.51.100.1 -all exp=x.example"},
		"mx is no promise": {texts: []string{"v=spf1 mx -all"}, want: "v=spf1 ip4:192.0.2.25 include:spf.protection.outlook.com mx -all"},
		"a redirect stays the end": {texts: []string{"v=spf1 redirect=all.example"}, more: zone.Answers{"all.example": vendor("ip4:192.0.2.25 -all")},
			want: "v=spf1 ip4:192.0.2.25 include:spf.protection.outlook.com redirect=all.example"},
		"two records become one": {texts: []string{"v=spf1 ip4:198.51.100.1 -all", "v=spf1 a:www.example ip4:198.51.100.1 redirect=all.example"},
			more: zone.Answers{"all.example": vendor("ip4:198.51.100.8 -all"), "www.example": {Addresses: []string{"198.51.100.9"}}},
			want: "v=spf1 ip4:192.0.2.25 include:spf.protection.outlook.com ip4:198.51.100.1 a:www.example include:all.example -all", says: []string{"2 records are published, so that receivers use none of them"}},
		"an include that is gone": {texts: []string{"v=spf1 include:gone.example -all"}, want: "v=spf1 ip4:192.0.2.25 include:spf.protection.outlook.com -all",
			says: []string{"include:gone.example is gone, since no receiver can use a record with it"}},
		"all the Internet": {texts: []string{"v=spf1 +all"}, want: "v=spf1 ip4:192.0.2.25 include:spf.protection.outlook.com ~all", says: []string{"+all is gone: it lets the whole Internet send"}},
		"those whom others let send are left out, to save lookups": {
			texts: []string{"v=spf1 a:www.example include:big.example -all"},
			more:  zone.Answers{"www.example": {Addresses: []string{"198.51.100.9"}}, "big.example": vendor(strings.Repeat("a:www.example ", 8) + "-all")},
			want:  "v=spf1 ip4:192.0.2.25 include:spf.protection.outlook.com a:www.example -all", says: []string{"include:big.example is gone, to save lookups: the others let send whom it lets", "2 of 10 lookups"}},
		"hosts are written as addresses, to save lookups": {
			texts: []string{"v=spf1 a:ftp.example include:big.example -all"},
			more:  zone.Answers{"ftp.example": {Addresses: []string{"198.51.100.8", "2001:db8::8"}}, "www.example": {Addresses: []string{"198.51.100.9"}}, "big.example": vendor(strings.Repeat("a:www.example ", 8) + "-all")},
			want:  "v=spf1 ip4:192.0.2.25 include:spf.protection.outlook.com ip4:198.51.100.8 ip6:2001:db8::8 include:big.example -all", says: []string{"a:ftp.example is written as ip4:198.51.100.8 ip6:2001:db8::8"}},
		"too many": {
			texts: []string{"v=spf1 include:big.example include:small.example -all"},
			more:  zone.Answers{"www.example": {Addresses: []string{"198.51.100.9"}}, "big.example": vendor(strings.Repeat("a:www.example ", 8) + "-all"), "small.example": vendor("ip4:198.51.100.1 -all")},
			says: []string{"it takes 11 lookups in the DNS, and 10 are the most", "include:big.example 9, include:spf.protection.outlook.com 1, include:small.example 1",
				"take out of the published record include:big.example, or what costs as much"}},
	} {
		t.Run(strings.ReplaceAll(name, ",", ""), func(t *testing.T) {
			t.Parallel()
			site := shared(t, onBothSides, c.more, c.texts...)
			got := site.SPF("acmecorp.com", site.Senders(site.Conf.Rules.Routes.Domains["acmecorp.com"]), nil)
			said := strings.Join(got.Notes, "\n")
			if got.Err != nil {
				said = got.Err.Error()
			}
			if got.Text != c.want || got.Published != c.done {
				t.Errorf("the record is %q, published: %v; right is %q\n%s", got.Text, got.Published, c.want, said)
			}
			for _, text := range c.says {
				if !strings.Contains(said, text) {
					t.Errorf("it does not say %q:\n%s", text, said)
				}
			}
		})
	}
}

func TestWhatIsNotKnownIsNotPrinted(t *testing.T) {
	t.Parallel()
	site := shared(t, onBothSides, zone.Answers{"mail.acmecorp.com": {Addresses: []string{"10.0.0.1"}}}, "v=spf1 mx -all")
	text := guideText(site, "dns", false)
	if len(printed(t, text)) > 0 || !strings.Contains(text, "The DNS knows no public address of mail.acmecorp.com (hostname)") {
		t.Errorf("without an address of this host the guide is\n%s", text)
	}
	for _, name := range []string{"acmecorp.com", "spf.protection.outlook.com", "vendor.example"} {
		site := shared(t, onBothSides, nil, "v=spf1 include:vendor.example -all")
		site.DNS[name] = zone.Records{Err: errSilent}
		text := guideText(site, "dns", false)
		if len(printed(t, text)) > 0 || !strings.Contains(strings.ReplaceAll(text, "\n; ", " "), "run this again when the DNS answers") {
			t.Errorf("while the DNS does not tell of %s, the guide is\n%s", name, text)
		}
	}
}

// When the split ends, what is undone goes by where the mailboxes are.
func TestRetiringGoesByWhereTheMailboxesAre(t *testing.T) {
	t.Parallel()
	const published = "v=spf1 ip4:192.0.2.25 include:spf.protection.outlook.com include:vendor.example -all"
	more := zone.Answers{"vendor.example": vendor("ip4:198.51.100.1 -all")}
	for name, c := range map[string]struct {
		users, spf, says string
	}{
		"on both sides": {onBothSides, "", "mailboxes here and at office365"},
		"one is moving": {"address,residence\nbob@acmecorp.com,moving\n", "", "mailboxes here and at office365"},
		"all are here":  {"address,residence\nbob@acmecorp.com,here\n", "v=spf1 ip4:192.0.2.25 include:vendor.example -all", "It points to this host (mail.acmecorp.com)"},
		"all are elsewhere": {"address,residence\nalice@acmecorp.com,office365\n", "v=spf1 include:spf.protection.outlook.com include:vendor.example -all",
			"names below mx.microsoft. Ask, and publish"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			text := guideText(shared(t, c.users, more, published), "dns", true)
			if got := printed(t, text)["acmecorp.com"]; got != c.spf || !strings.Contains(strings.ReplaceAll(text, "\n; ", " "), c.says) {
				t.Errorf("the record is %q; right is %q. The guide should say %q:\n%s", got, c.spf, c.says, text)
			}
		})
	}
}

func TestTheMXIsAskedForAndNotDerived(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		mx   string // as configured
		has  []string
		says string
		code string
	}{
		"here, and it is":            {"here", []string{"mail.acmecorp.com"}, "It points to this host (mail.acmecorp.com), as it should", ""},
		"here, and it is a gateway":  {"here", []string{"mx.gateway.example"}, "It points to mx.gateway.example, no host of a platform's, and stays. A gateway there", ""},
		"here, and a gateway, too":   {"here", []string{"mx.acmecorp.com", "mail.acmecorp.com"}, "It points to this host (mail.acmecorp.com), and to mx.acmecorp.com, no host of a platform's", ""},
		"here, and it is there":      {"here", []string{"acmecorp-com.r-v1.mx.microsoft"}, "When this host takes mail for it", "acmecorp.com. 300 IN MX 10 mail.acmecorp.com."},
		"here, and it is on both":    {"here", []string{"mx.acmecorp.com", "acmecorp-com.mail.protection.outlook.com"}, "Take the latter out", "acmecorp.com. 300 IN MX 10 mx.acmecorp.com."},
		"there, and it is":           {"office365", []string{"acmecorp-com.r-v1.mx.microsoft"}, "It points to acmecorp-com.r-v1.mx.microsoft, as it should", ""},
		"there, and it is here":      {"office365", []string{"mail.acmecorp.com"}, "Now it points to mail.acmecorp.com. Give that record a TTL of 300 first, as long before as its TTL is now. Its MX at office365 cannot be told from its name", ""},
		"there, and it is a gateway": {"office365", []string{"mx.gateway.example"}, "If mx.gateway.example is a gateway that stays, leave the MX, and have it hand mail on to office365.", ""},
		"there, and there is none":   {"office365", nil, "Its MX at office365 cannot be told from its name", ""},
		"there, and it is elsewhere": {"office365", []string{"acmecorp-com.mail.protection.outlook.com", "mx.acmecorp.com"}, "Mail goes to mx.acmecorp.com, too", "acmecorp.com. 300 IN MX 10 acmecorp-com.mail.protection.outlook.com."},
	} {
		t.Run(strings.ReplaceAll(name, ",", ""), func(t *testing.T) {
			t.Parallel()
			toml := strings.Replace(sharedTOML, "directory =", "mx = \""+c.mx+"\"\ndirectory =", 1)
			text := guideText(survey(t, toml, onBothSides, zone.Answers{"acmecorp.com": {MX: c.has}, "mail.acmecorp.com": {Addresses: []string{"192.0.2.25"}}}), "dns", false)
			_, text, _ = strings.Cut(text, "acmecorp.com: MX\n")
			if !strings.Contains(strings.ReplaceAll(text, "\n; ", " "), c.says) || strings.Contains(text, " IN MX ") != (c.code != "") || !strings.Contains(text, c.code) {
				t.Errorf("it says\n%s\nright is %q and %q", text, c.says, c.code)
			}
		})
	}
}

// Each domain of a tenant has an MX of its own, and another tenant's refuses its mail.
func TestAnAlternateDomainAtOffice365HasItsOwnMX(t *testing.T) {
	t.Parallel()
	toml := strings.Replace(sharedTOML, "acmecorp-com.onmicrosoft.com", "o365.acmecorp.com", 1)
	for mx, says := range map[string]string{
		"o365-acmecorp-com.mail.protection.outlook.com": "It points to o365-acmecorp-com.mail.protection.outlook.com, as it should",
		"o365-acmecorp-com.r-v1.mx.microsoft":           "It points to o365-acmecorp-com.r-v1.mx.microsoft, as it should",
		"acmecorp-com.mail.protection.outlook.com":      "It points to acmecorp-com.mail.protection.outlook.com, the MX of acmecorp.com. Exchange Online takes mail there for all domains of the tenant",
		"contoso-com.mail.protection.outlook.com":       "by its name is the MX of none of the tenant's domains that the configuration has. Where it is another tenant's, mail for o365.acmecorp.com is refused there. Ask, and publish",
	} {
		text := guideText(survey(t, toml, onBothSides, zone.Answers{"o365.acmecorp.com": {MX: []string{mx}}}), "dns", false)
		_, text, _ = strings.Cut(text, "o365.acmecorp.com: MX (office365)\n")
		text, _, _ = strings.Cut(text, "o365.acmecorp.com: SPF\n")
		if !strings.Contains(strings.ReplaceAll(text, "\n; ", " "), says) || strings.Contains(text, " IN ") {
			t.Errorf("of the MX %s it says\n%s\nright is %q, and no record", mx, text, says)
		}
	}
}

func TestAPolicyForMTASTSComesBeforeTheMX(t *testing.T) {
	t.Parallel()
	toml := strings.Replace(sharedTOML, "directory =", "mx = \"office365\"\ndirectory =", 1)
	for _, policy := range []string{"v=STSv1; id=1", "v=spf1 -all"} {
		text := guideText(survey(t, toml, onBothSides, zone.Answers{"acmecorp.com": {MX: []string{"mail.acmecorp.com"}}, "_mta-sts.acmecorp.com": {TXT: []string{policy}}}), "dns", false)
		if strings.Contains(strings.ReplaceAll(text, "\n; ", " "), "add the new host to https://mta-sts.acmecorp.com/.well-known/mta-sts.txt") != (policy == "v=STSv1; id=1") {
			t.Errorf("where _mta-sts has %q, it says\n%s", policy, text)
		}
	}
}

// A null MX (RFC 7505) names a host without a name.
func TestAHostWithoutANameIsNoPlatforms(t *testing.T) {
	t.Parallel()
	site := survey(t, plainTOML, "address,residence\n", nil)
	if at := site.Takes(""); len(at) > 0 {
		t.Errorf("it is said to be that of %s", at[0].Name)
	}
}
