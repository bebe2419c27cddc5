package setup

import (
	_ "embed"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"coexistd/policy/route"
)

// What our objects are called at Exchange Online. Each name begins with "coexistd ", by which
// the scripts know what is theirs. None may be longer than 64 characters.
const (
	fromHere     = "coexistd from here"
	toHere       = "coexistd to here"
	toHereByRule = "coexistd to here by rule"
	outByHere    = "coexistd out by here"
	proofRule    = "coexistd proof"
	proofOutside = "coexistd proof outside"
	proofStays   = "coexistd proof stays"
	sameNameRule = "coexistd same name"
	spamRule     = "coexistd spam"
	cleanRule    = "coexistd clean"
	journalRule  = "coexistd journal"
)

var (
	//go:embed office365_common.ps1
	office365Common string
	//go:embed office365_tools.ps1
	office365Tools string
	//go:embed office365_retire.ps1
	office365RetireTools string
)

// tenant is one tenant of Office 365 and what the guide for it is made of.
type tenant struct {
	site     *Site
	platform *route.Platform
	// id is the tenant's GUID, in lower case; empty: it is not said.
	id string
	// header is the name of the header that proves the tenant; empty: there is none.
	header string
	// domains are those of ours with mailboxes there, and alternates the domains that reach
	// these. here are all of ours that this side takes mail for.
	domains, alternates, here []string
	// hosts are this side's names for it, certificate is the name in its certificate, and
	// addresses are its IPv4 addresses. Empty: it is not known.
	hosts       []string
	certificate string
	addresses   []string
	// mxHere and mxThere say that the MX of one of the domains is here, or there.
	mxHere, mxThere bool
	// several says that there is another tenant.
	several bool
}

// tenants are those of the configuration, by the platform's name.
func tenants(s *Site) (list []*tenant, err error) {
	for _, pair := range s.Pairs(Office365) {
		last := len(list) - 1
		if last < 0 || list[last].platform != pair.Platform {
			proofs := s.Conf.Rules.Tenants[pair.Platform.Name]
			list = append(list, &tenant{site: s, platform: pair.Platform, id: proofs.Tenant, header: proofs.Header})
			last++
		}
		t := list[last]
		t.domains = append(t.domains, pair.Domain.Name)
		if pair.Alternate != "" {
			t.alternates = append(t.alternates, pair.Alternate)
		}
		t.mxHere = t.mxHere || pair.Domain.MX == ""
		t.mxThere = t.mxThere || pair.Domain.MX == pair.Platform.Name
	}
	if len(list) == 0 {
		return nil, errors.New("no platform of the configuration is Office 365: one would be called office365, have its tenant, or have networks by \"spf:spf.protection.outlook.com\"")
	}
	for _, t := range list {
		t.several = len(list) > 1
		t.hosts = s.hosts()
		t.here = s.here(t.domains)
		t.alternates = append(t.alternates, t.platform.TargetDomains...)
		t.certificate = s.certificate(t.hosts)
		t.addresses = s.addresses(t.hosts)
	}
	return list, nil
}

// here are these domains, and those of ours that have mailboxes elsewhere only but their MX here,
// sorted.
func (s *Site) here(domains []string) []string {
	all := slices.Clone(domains)
	for name, domain := range s.Conf.Rules.Routes.Domains {
		if domain.MX == "" {
			all = append(all, name)
		}
	}
	slices.Sort(all)
	return slices.Compact(all)
}

// hosts are the names of this side's MTAs, sorted: this host, if the DNS knows its name, and the
// others in our domains that an MX names beside it. Where the MX does not name this host, another's
// gateway stands there.
func (s *Site) hosts() []string {
	hostname := s.Conf.Rules.Hostname
	var names []string
	if len(s.DNS[hostname].Addresses) > 0 {
		names = append(names, hostname)
	}
	for _, domain := range s.Conf.Rules.Routes.Domains {
		if mx := s.DNS[domain.Name].MX; domain.MX == "" && slices.Contains(mx, hostname) {
			names = append(names, slices.DeleteFunc(slices.Clone(mx), func(host string) bool { return !s.isOurs(host) })...)
		}
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// isOurs reports a name that is, or is below, a domain of ours.
func (s *Site) isOurs(name string) bool {
	for domain := range s.Conf.Rules.Routes.Domains {
		if name == domain || strings.HasSuffix(name, "."+domain) {
			return true
		}
	}
	return false
}

// certificate is the name in our certificate by which others know us: one that fits a host of
// ours, else one in a domain of ours.
func (s *Site) certificate(hosts []string) string {
	for _, name := range s.CertificateNames {
		if slices.ContainsFunc(hosts, func(host string) bool { return covers(name, host) }) {
			return name
		}
	}
	if i := slices.IndexFunc(s.CertificateNames, s.isOurs); i >= 0 {
		return s.CertificateNames[i]
	}
	return ""
}

// covers reports a certificate's name that a host may show (RFC 6125 section 6.4.3).
func covers(name, host string) bool {
	_, parent, _ := strings.Cut(host, ".")
	return name == host || name == "*."+parent
}

// addresses are the IPv4 addresses of hosts. Exchange Online takes no others in a connector.
func (s *Site) addresses(hosts []string) (list []string) {
	for _, host := range hosts {
		for _, text := range s.DNS[host].Addresses {
			if address, err := netip.ParseAddr(text); err == nil && address.Is4() {
				list = append(list, text)
			}
		}
	}
	return list
}

// others are the names of the platforms besides this one that have mailboxes of its domains.
func (t *tenant) others() (names []string) {
	routes := &t.site.Conf.Rules.Routes
	for _, platform := range routes.Platforms {
		holds := func(name string) bool { return platform.Holds(routes.Domains[name]) }
		if platform != t.platform && slices.ContainsFunc(t.domains, holds) {
			names = append(names, platform.Name)
		}
	}
	return names
}

// title is a step's title, which names the tenant where there are several.
func (t *tenant) title(text string) string {
	if t.several {
		return t.platform.Name + ": " + text
	}
	return text
}

// record is the file that the scripts keep what was before in.
func (t *tenant) record() string { return "coexistd-" + t.platform.Name + "-before.xml" }

const office365Intro = `Exchange Online for %s. This is a script for PowerShell with the module ExchangeOnlineManagement, 3.0 or later. It first says what it would change, and changes nothing: set $Apply to $true in step 1 to have it done. It may be run again at any time, and then does what is still missing. What it makes is called "coexistd ...", and all else stays as it is.
It was made from the configuration and the DNS as they are now. Microsoft's cmdlets were checked against their reference, but the script was not run against a tenant of Microsoft's.`

func office365(s *Site) (Guide, error) {
	list, err := tenants(s)
	if err != nil {
		return Guide{}, err
	}
	g := Guide{Intro: fmt.Sprintf(office365Intro, platformNames(list)), comment: "# "}
	for i, t := range list {
		tools := office365Common + office365Tools
		if i > 0 {
			tools = ""
		}
		for _, step := range slices.Concat(t.begin(tools), t.flow(), t.choices(), t.scenarios()) {
			step.Title = t.title(step.Title)
			g.Steps = append(g.Steps, step)
		}
	}
	return g, nil
}

func platformNames(list []*tenant) string {
	var names []string
	for _, t := range list {
		names = append(names, fmt.Sprintf("the platform %s (%s)", t.platform.Name, strings.Join(t.domains, ", ")))
	}
	return strings.Join(names, " and ")
}

// begin are the steps before anything is changed.
func (t *tenant) begin(tools string) []Step {
	decide := "What it says and does not know stays empty; the script goes no further while it is needed.\n" +
		"$Tls is 'certificate' where this side shows a certificate that Microsoft trusts, to which each side then holds the other; 'encrypted' where the certificate is its own; 'opportunistic' where TLS cannot be demanded of this side's server. With the latter two this side is known by its IPv4 addresses, which must be its own and no other tenant's (a provider's relay is not), and Microsoft's validation of the connector, below, may fail: what tells is `coexistd doctor --probe`."
	return []Step{
		{
			Title: "What is to be decided",
			Needs: "the role Exchange Administrator, or the role group Organization Management",
			Text:  decide,
			Code:  t.variables() + "\n" + tools,
		},
		{
			Title: "Connect, and look at what is there",
			Text:  "Connectors that are not ours, and that may take the same mail, are told and left alone: see whether they are still wanted.",
			Code:  t.look(),
		},
	}
}

func (t *tenant) variables() string {
	var b strings.Builder
	b.WriteString("$ErrorActionPreference = 'Stop'\n")
	for _, one := range []struct {
		name  string
		value any
		what  string
	}{
		{"Apply", false, "$true: do it"},
		{"Record", t.record(), "keeps what was before: keep it for --retire"},
		{"Hosts", t.hosts, "the names of this side's servers, that take mail on port 25"},
		{"Tls", "certificate", "'certificate', 'encrypted' or 'opportunistic'"},
		{"Certificate", t.certificate, "the name in this side's certificate, in an accepted domain"},
		{"Addresses", t.addresses, "this side's IPv4 addresses, as it sends; not wider than /24"},
		{"TestRecipient", "", "an address here that takes Microsoft's test mail; '': no test"},
		{"NewSecret", false, "$true: ask for the proof's secret again, since it was changed"},
		{"SameName", []string{}, "addresses with a mailbox there that are to be delivered here; '*': all"},
		{"TrustClean", false, "$true: no second spam filter for what was found clean here"},
		{"Internal", "no", "'no', 'groups' or 'connector': see below"},
		{"Groups", []string{}, "the groups that 'groups' is for; '*': all"},
		{"JournalTo", "", "the archive's address, which gets a report of each mail; '': none"},
		{"JournalFailed", "", "who gets reports that the archive did not take"},
		{"RejectDirectSend", false, "$true: refuse our own domains from whom no connector knows"},
	} {
		fmt.Fprintf(&b, "%-40s # %s\n", "$"+one.name+" = "+literal(one.value), one.what)
	}
	b.WriteString(`$Secret = ''
if (-not $Hosts) { throw 'fill in $Hosts' }
if ($Tls -notin @('certificate', 'encrypted', 'opportunistic')) { throw 'fill in $Tls' }
if ($Tls -eq 'certificate' -and -not $Certificate) { throw 'fill in $Certificate' }
if ($Tls -ne 'certificate' -and -not $Addresses) { throw 'fill in $Addresses' }
if ($JournalTo -and -not $JournalFailed) { throw 'fill in $JournalFailed' }
`)
	return b.String()
}

// look is the code that connects, and tells what is there.
func (t *tenant) look() string {
	return t.connect() + fmt.Sprintf(`$accepted = @(Get-AcceptedDomain | ForEach-Object { $_.DomainName })
foreach ($domain in %s) {
    if ($domain -notin $accepted) { throw "$domain is no accepted domain of this tenant: add it in the admin center" }
}
if ($Tls -eq 'certificate') {
    $fits = @($accepted | Where-Object { $Certificate -eq $_ -or $Certificate -like "*.$_" })
    if (-not $fits) { throw "the certificate's name $Certificate is in no accepted domain, so that Exchange Online may take its mail for another tenant's" }
    if (($Certificate -replace '^\*\.', '') -notin $accepted) { Write-Host "! the certificate's name $Certificate is below an accepted domain, and is none itself: Microsoft advises to add it as one" }
}
foreach ($other in @(Get-InboundConnector | Where-Object { $_.Name -notlike 'coexistd *' -and $_.Enabled })) {
    Write-Host "! inbound connector '$($other.Name)' is not ours: $($other.ConnectorType), certificate '$(Format-Value $other.TlsSenderCertificateName)', addresses '$(Format-Value $other.SenderIPAddresses)'"
}
foreach ($other in @(Get-OutboundConnector | Where-Object { $_.Name -notlike 'coexistd *' -and $_.Enabled })) {
    Write-Host "! outbound connector '$($other.Name)' is not ours: for '$(Format-Value $other.RecipientDomains)', by '$(Format-Value $other.SmartHosts)'"
}
`, literal(t.domains))
}

// connect is the code that connects to the tenant and to no other.
func (t *tenant) connect() string {
	connected := "Get-ConnectionInformation | Where-Object { $_.State -eq 'Connected' }"
	var b strings.Builder
	if t.several {
		b.WriteString("Disconnect-ExchangeOnline -Confirm:$false\n")
	}
	fmt.Fprintf(&b, "if (-not (%s)) { Connect-ExchangeOnline -ShowBanner:$false }\n", connected)
	if t.id != "" {
		fmt.Fprintf(&b, "$tenants = @(%s | ForEach-Object { $_.TenantID } | Sort-Object -Unique)\n", connected)
		fmt.Fprintf(&b, "if (%s -notin $tenants -or $tenants.Count -ne 1) { throw \"this is connected to $tenants, and not to %s alone: run Disconnect-ExchangeOnline first\" }\n", quoted(t.id), t.id)
	}
	return b.String()
}
