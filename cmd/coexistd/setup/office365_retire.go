package setup

import (
	"fmt"
	"strings"
)

const office365RetireIntro = `Exchange Online for %s, when the split ends. Before it, all mailboxes are on one side, the MX points to that side, and no mail has come by the other for some days. This is a script for PowerShell with the module ExchangeOnlineManagement, 3.0 or later. It first says what it would change, and changes nothing: set $Apply to $true in step 1 to have it done.
It takes away what is called "coexistd ...", and puts back what the other settings were before, from the file that the set-up has kept. Microsoft's cmdlets were checked against their reference, but the script was not run against a tenant of Microsoft's.`

func retireOffice365(s *Site) (Guide, error) {
	list, err := tenants(s)
	if err != nil {
		return Guide{}, err
	}
	g := Guide{Intro: s.stillSplit() + fmt.Sprintf(office365RetireIntro, platformNames(list)), comment: "# "}
	for i, t := range list {
		tools := office365Common
		if i > 0 {
			tools = ""
		}
		for _, step := range append([]Step{t.endBegin(tools)}, t.undo()...) {
			step.Title = t.title(step.Title)
			g.Steps = append(g.Steps, step)
		}
	}
	return g, nil
}

func (t *tenant) endBegin(tools string) Step {
	return Step{
		Title: "What is to be decided, and connect",
		Needs: "the role group Organization Management",
		Text:  "What was before is read from the file " + t.record() + ", where the set-up has left it. Without that file what was made is taken away, and all else stays as it is now.",
		Code: `$ErrorActionPreference = 'Stop'
$Apply = $false                 # $true: do it
$DomainType = ''                # '': as it was; 'Authoritative' or 'InternalRelay': see "Who has the last word"
$Missing = @{}

` + tools + "\n" + t.connect() + `if (-not (Test-Path $Record)) { Write-Host "! there is no $Record , and nothing is known of what was before" }
`,
	}
}

// remove is the code that takes objects away, in their order.
func remove(kind string, names ...string) string {
	var b strings.Builder
	for _, name := range names {
		fmt.Fprintf(&b, "Remove-Ours %s %s\n", kind, quoted(name))
	}
	return b.String()
}

// undo are the steps in which nothing is taken away that something else still needs.
func (t *tenant) undo() []Step {
	return []Step{
		{
			Title: "Our own domains may come by any way again",
			Text:  "First, since mail from here comes by no connector in the end.",
			Code:  "Restore-Before OrganizationConfig\n",
		},
		{
			Title: "No more copies, and no more journal of ours",
			Code:  "Restore-Before Mailbox\n" + remove("JournalRule", journalRule) + "Restore-Before TransportConfig\n",
		},
		{
			Title: "No more rules of ours",
			Text:  "Those that lead to a connector go before it.",
			Code:  remove("TransportRule", sameNameRule, outByHere, spamRule, cleanRule),
		},
		{
			Title: "Mail for the Internet leaves from there",
			Text:  "SPF of our domains names Exchange Online by now (`coexistd setup dns --retire`).",
			Code:  remove("OutboundConnector", outByHere, toHereByRule),
		},
		{
			Title: "Who has the last word on our domains",
			Text:  "While a domain is an internal relay and there is no connector, mail for an address that nobody has goes to the MX, and may loop: the domain is made authoritative first ($DomainType = 'Authoritative'), where all mailboxes are over there. Where all are here, the domain becomes or stays an internal relay ('InternalRelay') until it is taken out of the tenant in the admin center: were it authoritative, what the tenant itself still sends to it would be refused.",
			Code: fmt.Sprintf(`$decided = @()
if ($DomainType) { $decided = %s }
foreach ($domain in $decided) {
    $have = Find-One AcceptedDomain DomainName $domain
    if ("$($have.DomainType)" -eq $DomainType) {
        Write-Host "= AcceptedDomain '$domain' is $DomainType"
    } else {
        Write-Host "~ AcceptedDomain '$domain' becomes $DomainType"
        if ($Apply) { Set-AcceptedDomain -Identity $have.Identity -DomainType $DomainType }
    }
}
Restore-Before AcceptedDomain $decided
`, literal(t.domains)),
		},
		{
			Title: "The connectors, and the proof",
			Text:  "Mail on its way to here needs the proof until the connector is gone. The secret is of no use after it: should this side go on with coexistd, write a new line into its file." + t.ownWay(),
			Code:  remove("OutboundConnector", toHere) + remove("TransportRule", proofRule, proofStays) + remove("InboundConnector", fromHere),
		},
		{
			Title: "Formats and groups as they were",
			Code:  t.asTheyWere(),
		},
		{
			Title: "Forget what was before",
			Text:  "Last, and only when all of the above was done: the next set-up begins a record of its own.",
			Code: `if ($Missing.Count -gt 0) { Write-Host "! $Record is kept, for what was not looked at" }
if ($Apply -and $Missing.Count -eq 0 -and (Test-Path $Record)) { Remove-Item $Record }
`,
		},
	}
}

// asTheyWere is the code for formats and groups.
func (t *tenant) asTheyWere() string {
	var b strings.Builder
	for _, domain := range t.here {
		b.WriteString(remove("RemoteDomain", remoteName(domain)))
	}
	for _, kind := range append([]string{"RemoteDomain"}, groupKinds...) {
		b.WriteString("Restore-Before " + kind + "\n")
	}
	return b.String()
}

// ownWay says what comes before the inbound connector goes.
func (t *tenant) ownWay() string {
	if t.site.Conf.Rules.Routes.Outbound != t.platform.Name {
		return ""
	}
	return " Before the connector goes, the MTA here sends to the Internet by itself again (`coexistd setup postfix --retire` or `sendmail --retire`), and so does whatever else uses the connector: without it, Exchange Online passes on nothing from here (TenantAttribution; Relay Access Denied)."
}
