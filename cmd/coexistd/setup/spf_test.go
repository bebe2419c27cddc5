package setup_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"regexp"
	"slices"
	"strings"
	"testing"

	"blitiri.com.ar/go/spf"

	"coexistd/cmd/coexistd/setup"
	"coexistd/cmd/coexistd/zone"
	"coexistd/contrib/lab"
	"coexistd/scanners/networks"
	"coexistd/scanners/sender"
)

// spfLine is a record for SPF in the text of a guide. Strings of more than 255 bytes are cut.
var spfLine = regexp.MustCompile(`(?m)^([a-z0-9.-]+)\. \d+ IN TXT "(v=spf1[^\n]*)"$`)

// zoneLine is a line of a zone file as guides have them.
var zoneLine = regexp.MustCompile(`^(;.*|[a-z0-9._-]+\. \d+ IN (TXT( "([^"\\\n]|\\["\\]){1,510}")+|MX \d+ [a-z0-9._-]+\.))?\n$`)

// printed are the records for SPF that a guide prints, by their domains. Whatever else in the text
// looks like one is a mistake, as is a second one for a domain.
func printed(t *testing.T, text string) map[string]string {
	t.Helper()
	records := make(map[string]string)
	for _, found := range spfLine.FindAllStringSubmatch(text, -1) {
		if records[found[1]] != "" {
			t.Errorf("two SPF records are printed for %s", found[1])
		}
		records[found[1]] = strings.NewReplacer(`" "`, "", `\"`, `"`, `\\`, `\`).Replace(found[2])
	}
	for line := range strings.Lines(text) {
		if !zoneLine.MatchString(line) {
			t.Errorf("a zone file has no line like %q", line)
		}
	}
	if n := strings.Count(strings.ToLower(text), "v=spf1 "); n != len(records) {
		t.Errorf("SPF records stand %d times in the text, and %d of them are lines of their own", n, len(records))
	}
	return records
}

// randomSite is a site that somebody might have, and what the DNS might say of it.
type randomSite struct {
	*rand.Rand
	dns zone.Answers
}

func (r *randomSite) one(list ...string) string { return list[r.IntN(len(list))] }

// name is a domain that records name: most have a record, some more than one, some none.
func (r *randomSite) name() string { return fmt.Sprintf("s%d.vendor.example", r.IntN(14)) }

// term is a term as people publish it, right or wrong.
func (r *randomSite) term() string {
	switch r.IntN(16) {
	case 0, 1, 2, 3:
		return "include:" + r.name()
	case 4:
		return "a"
	case 5:
		return "mx"
	case 6:
		return r.one("a:", "mx:", "+a:", "?include:", "~mx:") + r.name()
	case 7:
		return r.one("ptr", "exists:%{i}._spf.vendor.example", "include:%{d}.vendor.example", "exists:void.vendor.example")
	case 8:
		return r.one("-ip4:198.51.100.7", "?ip4:203.0.113.0/30", "ip6:2001:db8:7::/48")
	case 9:
		return r.one("include:spf.protection.outlook.com", "include:_spf.google.com", "ip4:192.0.2.25")
	case 10:
		return r.one("exp=why.vendor.example", "unknown=x", `ip4:1.2.3`, `inlcude:s1.vendor.example`, "moo=\"x\\;\"", "include:none.vendor.example")
	}
	return fmt.Sprintf("ip4:203.0.%d.%d", 113+r.IntN(2), r.IntN(255))
}

func (r *randomSite) record(most int) string {
	words := []string{r.one("v=spf1", "v=spf1", "V=SPF1")}
	for range r.IntN(most) {
		words = append(words, r.term())
	}
	if end := r.one("-all", "~all", "?all", "+all", "", "redirect="+r.name()); end != "" {
		words = append(words, end)
	}
	return strings.Join(words, " ")
}

// records are those of a name that sends mail.
func (r *randomSite) records(most int) zone.Records {
	texts := []string{"site-verification=x"}
	for range []int{1, 1, 1, 1, 0, 2, 3}[r.IntN(7)] {
		texts = append(texts, r.record(most))
	}
	records := zone.Records{TXT: texts}
	if r.IntN(2) == 0 {
		records.Addresses = []string{fmt.Sprintf("203.0.115.%d", r.IntN(255))}
	}
	if r.IntN(2) == 0 {
		records.MX = []string{r.one("mail.acmecorp.com", "s2.vendor.example", "s3.vendor.example", "acmecorp-com.mail.protection.outlook.com", "aspmx.l.google.com")}
	}
	return records
}

// site makes the configuration and the directory, and what the DNS says.
func (r *randomSite) site() (toml, users string) {
	r.dns = zone.Answers{
		"spf.protection.outlook.com": {TXT: []string{"v=spf1 ip4:40.92.0.0/15 include:spfd.protection.outlook.com -all"}}, "spfd.protection.outlook.com": {TXT: []string{"v=spf1 ip4:51.4.72.0/24 -all"}},
		"_spf.google.com": {TXT: []string{"v=spf1 include:_netblocks.google.com include:_netblocks2.google.com ~all"}}, "_netblocks.google.com": {TXT: []string{"v=spf1 ip4:74.125.0.0/16 ~all"}}, "_netblocks2.google.com": {TXT: []string{"v=spf1 ip6:2607:f8b0:4000::/36 ~all"}},
		"mail.acmecorp.com": {Addresses: []string{"192.0.2.25"}},
	}
	// What a term with a macro stands for, nobody can tell before the message comes.
	byMacro := zone.Records{TXT: []string{"v=spf1 ip4:203.0.116.1 -all"}}
	for i := range 12 {
		name := fmt.Sprintf("s%d.vendor.example", i)
		r.dns[name], r.dns[name+".vendor.example"] = r.records(4), byMacro
	}
	var b strings.Builder
	b.WriteString("hostname = \"mail.acmecorp.com\"\n[[listen]]\naddress = \"inet:127.0.0.1:8701\"\n[[lookup]]\naddress = \"inet:127.0.0.1:8702\"\n")
	b.WriteString("[platform.office365]\nnetworks = [\"spf:spf.protection.outlook.com\"]\ntenant = \"" + lab.OfficeTenant + "\"\n[platform.google]\n")
	b.WriteString("[platform.zimbra]\ndeliver = \"relay\"\nrelay = \"[zimbra.acmecorp.com]:25\"\nnetworks = [" + r.one(`"198.51.100.9"`, `"spf:s1.vendor.example"`, `"198.51.100.0/28", "2001:db8:9::/48"`) + "]\n")
	users = "address,residence\n"
	for i := range 1 + r.IntN(3) {
		name := fmt.Sprintf("acme%d.example", i)
		r.dns[name] = r.records(8)
		r.dns["gapps."+name] = r.records(5)
		r.dns[name+".vendor.example"], r.dns["gapps."+name+".vendor.example"] = byMacro, byMacro
		platforms := []string{"office365", "google", "zimbra"}[r.IntN(3):]
		fmt.Fprintf(&b, "[domain.%q]\ndirectory = \"users.csv\"\nmx = %q\n", name, r.one(append(platforms, "here")...))
		var alternates []string
		for _, platform := range platforms {
			switch platform {
			case "office365":
				alternates = append(alternates, fmt.Sprintf("office365 = \"acme%d.onmicrosoft.com\"", i))
			case "google":
				alternates = append(alternates, "google = \"gapps."+name+"\"")
			case "zimbra":
				b.WriteString("platforms = [\"zimbra\"]\n")
			}
		}
		if alternates != nil {
			b.WriteString("alternate = { " + strings.Join(alternates, ", ") + " }\n")
		}
		last := r.one(append(platforms, "here")...)
		users += fmt.Sprintf("a@%s,%s\nb@%s,%s\n", name, last, name, r.one(last, last, "here", platforms[0]))
	}
	return b.String(), users
}

// Whatever stands in the DNS: of each domain one record at most is printed, receivers can use it,
// all who are to send may, and so may all who could before.
func TestAPrintedSPFRecordIsOneAndCanBeUsedAndLosesNobody(t *testing.T) {
	t.Parallel()
	count := 0
	for seed := range uint64(150) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			r := &randomSite{Rand: rand.New(rand.NewPCG(seed, 14))}
			toml, users := r.site()
			site := survey(t, toml, users, r.dns)
			text := guideText(site, "dns", false)
			for domain, record := range printed(t, text) {
				count++
				mustPass(t, site, domain, record, append(r.before(t, site, domain), r.senders(site, domain)...))
			}
			for domain, record := range printed(t, guideText(site, "dns", true)) {
				mustPass(t, site, domain, record, nil)
			}
			if t.Failed() {
				t.Logf("%s\n%s\n%v\n%s", toml, users, r.dns, text)
			}
		})
	}
	if count < 120 {
		t.Errorf("only %d records were printed", count)
	}
}

// senders are the addresses of those that the configuration has send in a domain's name.
func (r *randomSite) senders(site *setup.Site, domain string) (clients []string) {
	d := site.Conf.Rules.Routes.Domains[domain]
	if d == nil { // gapps.NAME
		return []string{"74.125.1.1"}
	}
	clients = []string{"192.0.2.25"}
	for platform, client := range map[string]string{"office365": "51.4.72.1", "google": "2607:f8b0:4000::1", "zimbra": "198.51.100.9"} {
		p := site.Conf.Rules.Routes.Platform(platform)
		if (p.Holds(d) || d.MX == platform) && (platform != "zimbra" || len(site.Conf.Listed["zimbra"]) > 0) {
			clients = append(clients, client)
		}
	}
	return clients
}

// before are addresses that could send by what is published, where that can be used. What the MX
// is to be is not yet what it was.
func (r *randomSite) before(t *testing.T, site *setup.Site, domain string) (clients []string) {
	list, _, err := networks.Flatten(t.Context(), sender.NewResolver(site.Conf.Resolver), domain)
	if err != nil {
		return nil
	}
	for _, network := range list {
		clients = append(clients, network.Addr().String())
	}
	return clients
}

// mustPass publishes a record, and checks clients by it as a receiver does, and one whom nobody
// lets send.
func mustPass(t *testing.T, site *setup.Site, domain, record string, clients []string) {
	t.Helper()
	for _, client := range append(slices.Clone(clients), "198.18.0.1") {
		resolver := &withRecord{sender.NewResolver(site.Conf.Resolver), domain, record}
		got, err := spf.CheckHostWithSender(net.ParseIP(client), "mail.example", "x@"+domain, spf.WithContext(t.Context()), spf.WithResolver(resolver))
		nobody := client == "198.18.0.1"
		if got == spf.PermError || got == spf.TempError || got == spf.None || nobody == (got == spf.Pass) {
			t.Errorf("by %q, %s may send in the name of %s: %s: %v", record, netip.MustParseAddr(client), domain, got, err)
		}
	}
}

// withRecord is the DNS in which a domain has another record for SPF.
type withRecord struct {
	*sender.Resolver
	domain, record string
}

func (w *withRecord) LookupTXT(ctx context.Context, name string) ([]string, error) {
	if strings.TrimSuffix(name, ".") == w.domain {
		return []string{w.record}, nil
	}
	return w.Resolver.LookupTXT(ctx, name)
}
