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
	// counterparts are the alternates of domains.
	counterparts map[string]string
	// hosts are this side's names for it, certificate is the name in its certificate, and
	// addresses are its IPv4 addresses. Empty: it is not known.
	hosts       []string
	certificate string
	addresses   []string
	// mxHere and mxThere say that the MX of one of the domains is here, or there. gateway says
	// that another's server stands before this side: the MX of such a domain names no host of ours.
	mxHere, mxThere, gateway bool
	// several says that there is another tenant.
	several bool
}

// tenants are those of the configuration, by the platform's name.
func tenants(s *Site) (list []*tenant, err error) {
	for _, pair := range s.Pairs(Office365) {
		last := len(list) - 1
		if last < 0 || list[last].platform != pair.Platform {
			proofs := s.Conf.Rules.Tenants[pair.Platform.Name]
			list = append(list, &tenant{site: s, platform: pair.Platform, id: proofs.Tenant, header: proofs.Header, counterparts: make(map[string]string)})
			last++
		}
		t := list[last]
		t.domains = append(t.domains, pair.Domain.Name)
		if pair.Alternate != "" {
			t.alternates = append(t.alternates, pair.Alternate)
			t.counterparts[pair.Domain.Name] = pair.Alternate
		}
		t.mxHere = t.mxHere || pair.Domain.MX == ""
		t.mxThere = t.mxThere || pair.Domain.MX == pair.Platform.Name
		t.gateway = t.gateway || pair.Domain.MX == "" && s.isBehindGateway(pair.Domain.Name)
	}
	if len(list) == 0 {
		return nil, errors.New("no platform of the configuration is Office 365: one would be called office365, have its tenant, or have networks by \"spf:spf.protection.outlook.com\"")
	}
	for _, t := range list {
		t.several = len(list) > 1
		t.hosts = s.hosts()
		t.here = s.here(t.domains)
		t.alternates = append(t.alternates, t.platform.TargetDomains...)
		t.certificate = t.certificateName()
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

// isBehindGateway reports a domain whose MX are known, and none of them a host of ours.
func (s *Site) isBehindGateway(domain string) bool {
	mx, hosts := s.DNS[domain].MX, s.hosts()
	return len(mx) > 0 && !slices.ContainsFunc(mx, func(host string) bool { return slices.Contains(hosts, host) })
}

// certificateName is the name in our certificate by which the tenant knows us: that of a host of
// ours, else one that fits a host, else one in a domain of ours. Where there are several tenants, it is in a domain of
// this one.
func (t *tenant) certificateName() string {
	names := t.site.CertificateNames
	if t.several {
		names = slices.DeleteFunc(slices.Clone(names), func(name string) bool { return !t.accepts(name) })
	}
	if i := slices.IndexFunc(names, func(name string) bool { return slices.Contains(t.hosts, name) }); i >= 0 {
		return names[i]
	}
	for _, name := range names {
		if slices.ContainsFunc(t.hosts, func(host string) bool { return covers(name, host) }) {
			return name
		}
	}
	if i := slices.IndexFunc(names, t.site.isOurs); i >= 0 {
		return names[i]
	}
	return ""
}

// accepts reports a name that is in a domain with mailboxes of the tenant.
func (t *tenant) accepts(name string) bool {
	return slices.ContainsFunc(t.domains, func(domain string) bool { return name == domain || strings.HasSuffix(name, "."+domain) })
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

// addresses6 are the IPv6 addresses of hosts, which a connector does not know.
func (s *Site) addresses6(hosts []string) (list []string) {
	for _, host := range hosts {
		for _, text := range s.DNS[host].Addresses {
			if address, err := netip.ParseAddr(text); err == nil && address.Is6() {
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

// record is the file that the scripts keep what was before in, as the text has it. It is one for
// each tenant, and in the home folder, so that both scripts find it wherever they are run.
func (t *tenant) record() string {
	id := t.id
	if id == "" {
		id = "TENANT"
	}
	return "coexistd-" + id + "-before.xml in the home folder"
}

// offersClean says whether the tenant can be told to trust our verdicts.
func (t *tenant) offersClean() bool { return t.mxHere && t.site.Conf.Rules.Header != "" }

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
	decide := "What neither the configuration nor the DNS tells is left empty; the script stops where it needs such a value. $Hosts, $Certificate and $Addresses are what the configuration and the DNS say: correct them here, each time.\n" +
		"What is $null is a choice that is not made in this script: what an earlier run has chosen stays as it stands in the tenant. A choice is taken back with the value that says so, and not by leaving it out.\n" +
		"$Tls is 'certificate' where this side shows a certificate that Microsoft trusts: then each side accepts the other by its certificate alone; 'encrypted' where the certificate is its own; 'opportunistic' where TLS cannot be demanded of this side's server. At first it is '" + t.firstTLS() + "'" + t.whyFirst() + ". With the latter two this side is known by its IPv4 addresses, which must be its own and no other tenant's (a provider's relay is not), and Microsoft's validation of the connector, below, may fail: what tells is `coexistd doctor --probe`." + t.onlyIPv4()
	return []Step{
		{
			Title: "What is to be decided",
			Needs: "the role Exchange Administrator, or the role group Organization Management",
			Text:  decide,
			Code:  t.variables() + "\n" + tools,
		},
		{
			Title: "Connect, and look at what is there",
			Text: fmt.Sprintf("What is changed, and how it was before, is kept in %s, for --retire: keep that file, and take it along where the scripts are run elsewhere.\n", t.record()) +
				"Connectors that are not ours, and that may take the same mail, are told and left alone: see whether they are still wanted.",
			Code: t.connect() + "Write-Host \"= what was before is kept in $Record\"\n" + t.standing() + needed + t.look(),
		},
	}
}

// onlyIPv4 says how this side has to send where it is known by its addresses.
func (t *tenant) onlyIPv4() string {
	if len(t.site.addresses6(t.hosts)) == 0 {
		return ""
	}
	return " This side has IPv6 addresses as well, and Exchange Online takes mail by IPv6: for the latter two, have the MTA send to it by IPv4 alone (for Postfix a transport of its own with inet_protocols=ipv4), else its mail is a stranger's."
}

func (t *tenant) variables() string {
	var b strings.Builder
	b.WriteString("$ErrorActionPreference = 'Stop'\n")
	for _, one := range []struct {
		name  string
		value any
		what  string
		is    bool
	}{
		{"Apply", false, "$true: do it", true},
		{"Hosts", t.hosts, "the names of this side's servers, that take mail on port 25", true},
		{"Tls", nil, "'certificate', 'encrypted' or 'opportunistic'", true},
		{"Certificate", t.certificate, "the name in this side's certificate, in an accepted domain", true},
		{"Addresses", t.addresses, "this side's IPv4 addresses, as it sends; not wider than /24", true},
		{"Gateways", nil, "the IPv4 addresses of the gateway before this side, as it sends to here; @(): not known", t.gateway},
		{"TestRecipient", "", "an address here that takes Microsoft's test mail; '': no test", true},
		{"NewSecret", false, "$true: ask for the proof's secret again, since it was changed", true},
		{"SameName", nil, "addresses with a mailbox there that are to be delivered here; '*': all; @(): none", true},
		{"TrustClean", nil, "$true: no second spam filter for what was found clean here; $false: filter it", t.offersClean()},
		{"Copies", code("@{}"), "mailboxes on both sides: @{ 'alice@acmecorp.com' = 'alice@here.acmecorp.com' }", len(t.site.BothAt) > 0},
		{"Internal", nil, "'no', 'groups' or 'connector': see below", true},
		{"Groups", []string{}, "the groups that 'groups' is for; '*': all", true},
		{"JournalTo", t.journalTo(), "the archive's address, which gets a report of each mail; '': none", true},
		{"JournalFailed", "", "who gets reports that the archive did not take", true},
		{"RejectDirectSend", nil, "$true: refuse mail from our own domains that comes by no connector; $false: as it was", true},
	} {
		if one.is {
			fmt.Fprintf(&b, "%-40s # %s\n", "$"+one.name+" = "+literal(one.value), one.what)
		}
	}
	b.WriteString("$Secret = ''\n$Missing = @{}\n")
	return b.String()
}

// firstTLS is what the first run demands of this side's TLS: what its certificate does not fulfil keeps all
// mail from coming.
func (t *tenant) firstTLS() string {
	if t.site.CertificateErr != nil {
		return "encrypted"
	}
	return "certificate"
}

func (t *tenant) whyFirst() string {
	if t.site.CertificateErr == nil {
		return ""
	}
	return ", since of the certificate of this host is to be said: " + t.site.CertificateErr.Error()
}

// standing is the code that takes what is left empty from what stands in the tenant.
func (t *tenant) standing() string {
	code := fmt.Sprintf(`$inbound = Find-One InboundConnector Name %s
$outbound = Find-One OutboundConnector Name %s
if (-not $Tls -and $null -eq $inbound) { $Tls = %s }
if (-not $Tls -and $inbound.TlsSenderCertificateName) { $Tls = 'certificate' }
if (-not $Tls -and $null -ne $outbound) {
    $Tls = 'opportunistic'
    if ("$($outbound.TlsSettings)" -eq 'EncryptionOnly') { $Tls = 'encrypted' }
}
if (-not $Hosts -and $null -ne $outbound) { $Hosts = @($outbound.SmartHosts | ForEach-Object { Format-Value $_ }) }
if ($null -ne $inbound) {
    if (-not $Certificate) { $Certificate = "$($inbound.TlsSenderCertificateName)" }
    if (-not $Addresses) { $Addresses = @($inbound.SenderIPAddresses | ForEach-Object { "$_" }) }
}
`, quoted(fromHere), quoted(toHere), quoted(t.firstTLS()))
	if t.offersClean() {
		code += fmt.Sprintf("$clean = Find-One TransportRule Name %s\n"+
			"if ($null -eq $TrustClean) { $TrustClean = ($null -ne $clean) }\n"+
			"if (-not $Addresses -and $null -ne $clean) { $Addresses = @($clean.SenderIpRanges | ForEach-Object { \"$_\" }) }\n", quoted(cleanRule))
	}
	return code
}

// needed is the code that stops while something is missing.
const needed = `if (-not $Hosts) { throw 'fill in $Hosts' }
if ($Tls -notin @('certificate', 'encrypted', 'opportunistic')) { throw 'fill in $Tls' }
if ($Tls -eq 'certificate' -and -not $Certificate) { throw 'fill in $Certificate' }
if ($Tls -ne 'certificate' -and -not $Addresses) { throw 'fill in $Addresses' }
if ($Internal -and $Internal -notin @('no', 'groups', 'connector')) { throw 'fill in $Internal' }
if ($Internal -eq 'groups' -and -not $Groups) { throw 'fill in $Groups' }
if ($JournalTo -and -not $JournalFailed) { throw 'fill in $JournalFailed' }
`

// look is the code that tells what is there.
func (t *tenant) look() string {
	return fmt.Sprintf(`$accepted = @(Get-AcceptedDomain | ForEach-Object { $_.DomainName })
foreach ($domain in %[1]s) {
    if ($domain -notin $accepted) { throw "$domain is no accepted domain of this tenant: add it in the admin center" }
}
foreach ($one in @(Get-AcceptedDomain | Where-Object { $_.DomainName -in %[2]s -and $_.SendingToDomainDisabled })) {
    Write-Host "! the domain $($one.DomainName) takes no mail (SendingToDomainDisabled)"
}
if ($Tls -eq 'certificate') {
    $fits = @($accepted | Where-Object { $Certificate -eq $_ -or $Certificate -like "*.$_" })
    if (-not $fits) { throw "the certificate's name $Certificate is in no accepted domain, so that Exchange Online may take its mail for another tenant's" }
    if (($Certificate -replace '^\*\.', '') -notin $accepted) { Write-Host "! the certificate's name $Certificate is below an accepted domain, and is none itself: Microsoft advises to add it as one (InternalRelay, if anything takes mail in it)" }
    if ($Certificate -ne ($Certificate -replace '^\*\.', '')) { Write-Host "! the certificate's name $Certificate holds for all names in that domain: whoever sends with a certificate for one of them counts as this side" }
}
foreach ($other in @(Get-InboundConnector | Where-Object { $_.Name -notlike 'coexistd *' -and $_.Enabled })) {
    Write-Host "! inbound connector '$($other.Name)' is not ours: $($other.ConnectorType), certificate '$(Format-Value $other.TlsSenderCertificateName)', addresses '$(Format-Value $other.SenderIPAddresses)'"
}
foreach ($other in @(Get-OutboundConnector | Where-Object { $_.Name -notlike 'coexistd *' -and $_.Enabled })) {
    Write-Host "! outbound connector '$($other.Name)' is not ours: for '$(Format-Value $other.RecipientDomains)', by '$(Format-Value $other.SmartHosts)'"
}
`, literal(t.domains), literal(slices.Concat(t.domains, t.alternates))) + t.unknownAddresses()
}

// unknownAddresses is the code that tells of addresses that the connector does not know.
func (t *tenant) unknownAddresses() string {
	list := t.site.addresses6(t.hosts)
	if len(list) == 0 {
		return ""
	}
	return fmt.Sprintf("if (%s) { Write-Host %s }\n", t.orTrusted("$Tls -ne 'certificate'"),
		quoted("! this side has the IPv6 addresses "+strings.Join(list, ", ")+", which $Addresses cannot hold: have it send to Exchange Online by IPv4 alone"))
}

// orTrusted is a condition, or that our verdicts are trusted by our addresses.
func (t *tenant) orTrusted(condition string) string {
	if t.offersClean() {
		return condition + " -or $TrustClean"
	}
	return condition
}

// connect is the code that connects to the tenant and to no other.
func (t *tenant) connect() string {
	connected := "Get-ConnectionInformation | Where-Object { $_.State -eq 'Connected' -and -not $_.IsEopSession }"
	var b strings.Builder
	if t.several {
		fmt.Fprintf(&b, "Disconnect-ExchangeOnline -Confirm:$false\nWrite-Host %s\n", quoted("! sign in to the tenant of the platform "+t.platform.Name))
	}
	fmt.Fprintf(&b, "if (-not (%s)) { Connect-ExchangeOnline -ShowBanner:$false }\n", connected)
	fmt.Fprintf(&b, "$tenants = @(%s | ForEach-Object { $_.TenantID } | Sort-Object -Unique)\n", connected)
	if t.id != "" {
		fmt.Fprintf(&b, "if (%s -notin $tenants -or $tenants.Count -ne 1) { throw \"this is connected to $tenants, and not to %s alone: run Disconnect-ExchangeOnline first\" }\n", quoted(t.id), t.id)
	} else {
		b.WriteString("if ($tenants.Count -ne 1) { throw \"this is connected to $tenants, and not to one tenant: run Disconnect-ExchangeOnline first\" }\n")
	}
	b.WriteString("$Record = Join-Path $HOME \"coexistd-$tenants-before.xml\"\n")
	return b.String()
}
