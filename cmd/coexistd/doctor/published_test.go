package doctor

import (
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"coexistd/contrib/lab"
	"coexistd/policy/config"
)

const sharedWithTwo = `hostname = "mail.acmecorp.com"
resolver = "{dns}"
[[listen]]
address = "inet:127.0.0.1:8701"
[[lookup]]
address = "inet:127.0.0.1:8702"
[platform.office365]
networks = ["spf:spf.protection.outlook.com"]
tenant = "3f2504e0-4f89-11d3-9a0c-0305e82c3301"
[platform.google]
networks = ["spf:_spf.google.com"]
[domain."acmecorp.com"]
alternate = { office365 = "acmecorp-com.onmicrosoft.com" }
unlisted = "here"
[domain."globex.example"]
alternate = { google = "gapps.globex.example" }
unlisted = "here"
`

// rightZone is what the DNS has where all is well.
var rightZone = map[string]string{
	"mail.acmecorp.com A": "192.0.2.25", "acmecorp.com MX": "10 mail.acmecorp.com", "globex.example MX": "10 mx.globex.example", "mx.globex.example A": "192.0.2.25",
	"acmecorp.com TXT": "v=spf1 ip4:192.0.2.25 include:spf.protection.outlook.com -all", "globex.example TXT": "v=spf1 ip4:192.0.2.0/24 include:_spf.google.com -all",
	"spf.protection.outlook.com TXT": "v=spf1 ip4:40.92.0.0/15 -all", "_spf.google.com TXT": "v=spf1 ip4:74.125.0.0/16 ~all",
	"acmecorp-com.onmicrosoft.com MX": "0 acmecorp-com.r-v1.mx.microsoft", "acmecorp-com.r-v1.mx.microsoft A": "198.51.100.1", "gapps.globex.example MX": "1 smtp.google.com",
}

func TestTheDoctorComparesTheDNSWithTheConfiguration(t *testing.T) {
	t.Parallel()
	const setupDNS = "run: coexistd setup dns"
	for name, c := range map[string]struct {
		zone map[string]string // what differs; "": there is none
		toml [2]string         // what is replaced in the configuration
		want string            // the beginning of a finding; empty: all is well
		do   string            // in its remedy
	}{
		"all is well": {},
		"a platform is not named": {zone: map[string]string{"acmecorp.com TXT": "v=spf1 ip4:192.0.2.25 -all"},
			want: "warn the record for SPF of acmecorp.com does not let office365 (include:spf.protection.outlook.com) send", do: setupDNS},
		"this host is not named": {zone: map[string]string{"globex.example TXT": "v=spf1 include:_spf.google.com -all"},
			want: "warn the record for SPF of globex.example does not let this host (ip4:192.0.2.25) send", do: setupDNS},
		"this host has no address": {zone: map[string]string{"mail.acmecorp.com A": "127.0.0.1", "acmecorp.com TXT": "v=spf1 include:spf.protection.outlook.com -all"},
			want: "warn whether SPF of acmecorp.com, globex.example lets all sides send cannot be told: the DNS knows no public address of mail.acmecorp.com"},
		"too many lookups": {zone: map[string]string{"acmecorp.com TXT": "v=spf1 include:spf.protection.outlook.com" + strings.Repeat(" a:mail.acmecorp.com", 10) + " -all"},
			want: "warn the record for SPF of acmecorp.com: it takes 11 lookups in the DNS, and 10 are the most", do: setupDNS + ", which says what to take out"},
		"an include that is gone": {zone: map[string]string{"acmecorp.com TXT": "v=spf1 mx include:spf.protection.outlook.com include:gone.example -all"},
			want: "warn the record for SPF of acmecorp.com: receivers use none of it: gone.example has 0 TXT records", do: setupDNS},
		"two records": {zone: map[string]string{"acmecorp.com TXT": "v=spf1 mx -all|v=spf1 include:spf.protection.outlook.com -all"},
			want: "warn acmecorp.com has 2 records for SPF, so that receivers use none of them", do: setupDNS + ", which makes one of them"},
		"the MX is there and mx says here": {zone: map[string]string{"acmecorp.com MX": "0 acmecorp-com.mail.protection.outlook.com"},
			want: "fail mx of acmecorp.com is here, and its MX points to office365: acmecorp-com.mail.protection.outlook.com", do: `set mx = "office365" in [domain."acmecorp.com"]`},
		"the MX is here and mx says there": {toml: [2]string{"[domain.\"acmecorp.com\"]", "[domain.\"acmecorp.com\"]\nmx = \"office365\""},
			want: "fail mx of acmecorp.com is office365, and its MX points here: mail.acmecorp.com", do: `set mx = "here" in [domain."acmecorp.com"]`},
		"the MX is here by another name": {toml: [2]string{"[domain.\"globex.example\"]", "[domain.\"globex.example\"]\nmx = \"google\""},
			want: "fail mx of globex.example is google, and its MX points here: mx.globex.example", do: "coexistd setup dns says what to publish"},
		"the MX is on both sides": {zone: map[string]string{"globex.example MX": "10 mx.globex.example|20 aspmx.l.google.com"},
			want: "warn mx of globex.example is here, and some of its MX records point to google: aspmx.l.google.com"},
		"the MX is a gateway":                 {zone: map[string]string{"globex.example MX": "10 mx.gateway.example"}, toml: [2]string{"[domain.\"globex.example\"]", "[domain.\"globex.example\"]\nmx = \"google\""}},
		"no MX":                               {zone: map[string]string{"globex.example MX": ""}, want: "warn whether the MX of globex.example points where mx says cannot be told: the DNS has none", do: setupDNS},
		"the DNS does not tell":               {zone: map[string]string{"globex.example MX": "fails"}, want: "warn whether the MX of globex.example points where mx says cannot be told: the DNS does not tell of globex.example"},
		"the DNS does not tell of an include": {zone: map[string]string{"_spf.google.com TXT": "fails"}, want: "warn whether SPF of globex.example lets all sides send cannot be told: "},
		"an alternate domain without an MX": {zone: map[string]string{"acmecorp-com.onmicrosoft.com MX": ""},
			want: "warn acmecorp-com.onmicrosoft.com, the alternate domain of acmecorp.com at office365, has no MX", do: "platform.office365.relay in "},
		"a relay takes the place of its MX": {zone: map[string]string{"acmecorp-com.onmicrosoft.com MX": ""}, toml: [2]string{"[platform.office365]", "[platform.office365]\nrelay = \"[acmecorp-com.r-v1.mx.microsoft]:25\""}},
		"a relay that is the MX":            {toml: [2]string{"[platform.office365]", "[platform.office365]\nrelay = \"[acmecorp-com.r-v1.mx.microsoft]:25\""}},
		"a relay by MX":                     {toml: [2]string{"[platform.office365]", "[platform.office365]\nrelay = \"acmecorp-com.onmicrosoft.com\""}},
		"a relay that was derived": {toml: [2]string{"[platform.office365]", "[platform.office365]\nrelay = \"[acmecorp-com.mail.protection.outlook.com]:25\""},
			want: "warn the relay of office365, [acmecorp-com.mail.protection.outlook.com]:25, has no address", do: "; the DNS has acmecorp-com.r-v1.mx.microsoft for acmecorp-com.onmicrosoft.com"},
		"a relay that is another": {zone: map[string]string{"smart.provider.example A": "198.51.100.9"}, toml: [2]string{"[platform.office365]", "[platform.office365]\nrelay = \"[smart.provider.example]\""},
			want: "warn the relay of office365 is [smart.provider.example], and mail for its alternate domain acmecorp-com.onmicrosoft.com goes to acmecorp-com.r-v1.mx.microsoft by the DNS",
			do:   `set platform.office365.relay = "[acmecorp-com.r-v1.mx.microsoft]:25"`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			x := published(t, strings.Replace(sharedWithTwo, c.toml[0], c.toml[1], 1), c.zone)
			var wrong []string
			for _, f := range lookAtPublished(t.Context(), x, []string{"acmecorp.com", "globex.example"}) {
				if f.Status == OK {
					continue
				}
				wrong = append(wrong, f.Status+" "+f.Found+"\n  do: "+f.Remedy)
				if c.want == "" || !strings.HasPrefix(f.Status+" "+f.Found, c.want) || !strings.Contains(f.Remedy, c.do) {
					t.Errorf("it finds %s %s\n  do: %s\nright is %q with %q", f.Status, f.Found, f.Remedy, c.want, c.do)
				}
			}
			if c.want != "" && len(wrong) != 1 {
				t.Errorf("it finds\n%s\nright is %q", strings.Join(wrong, "\n"), c.want)
			}
		})
	}
}

// published is an examination of a configuration, with a name server that has the right zone save for
// what differs.
func published(t *testing.T, toml string, differs map[string]string) *examination {
	t.Helper()
	dns, err := lab.StartDNS()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { dns.Close() })
	zone := maps.Clone(rightZone)
	maps.Copy(zone, differs)
	for key, text := range zone {
		name, kind, _ := strings.Cut(key, " ")
		if text == "fails" {
			dns.Fail(name, lab.DNSServFail)
			continue
		}
		dns.Set(name, kind, slices.DeleteFunc(strings.Split(text, "|"), func(one string) bool { return one == "" })...)
	}
	path := filepath.Join(t.TempDir(), "coexistd.toml")
	if err := os.WriteFile(path, []byte(strings.Replace(toml, "{dns}", dns.Addr, 1)), 0o600); err != nil {
		t.Fatal(err)
	}
	reading := config.Load(path)
	if reading.Config == nil {
		t.Fatal(reading.Problems)
	}
	return &examination{conf: reading.Config}
}
