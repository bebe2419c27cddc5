package setup

import (
	"fmt"
	"strings"

	"coexistd/policy/seal"
)

// choices are the steps that are as $variables say, or that are done once mail flows.
func (t *tenant) choices() []Step {
	steps := []Step{t.sameName()}
	if len(t.site.BothAt) > 0 {
		steps = append(steps, t.copies())
	}
	return append(steps, t.spam(), t.internal(), t.journal(), t.directSend())
}

// sameName has mail for names that exist on both sides come here.
func (t *tenant) sameName() Step {
	both := ""
	if len(t.site.BothAt) > 0 {
		both = "\nThe directory has mailboxes that live on both sides. What comes from a platform for such a name is delivered here alone. With its address in $SameName, what is sent over there is in the mailbox here alone. Without it, it is in the one there alone. For both, see the next step."
	}
	connector := wanted{kind: "OutboundConnector", by: "Name", name: toHereByRule, made: table{}, settings: toUs(entry{"IsTransportRuleScoped", true})}
	routed := fmt.Sprintf(`$there = Find-One TransportRule Name %[1]s
if ($null -eq $SameName) {
    Show-Unset SameName
    if ("$($there.RecipientAddressMatchesPatterns)" -like '@*') { $SameName = @('*') }
}
if ($SameName.Count -gt 0 -or ($null -eq $SameName -and $null -ne $there)) {
%[2]s}
if ($SameName.Count -gt 0 -and (Test-Seen OutboundConnector %[3]s)) {
    $patterns = @($SameName | ForEach-Object { '^' + [regex]::Escape($_) + '$' })
    if ('*' -in $SameName) { $patterns = %[4]s }
    foreach ($one in $patterns) {
        if ($one.Length -gt 128) { throw "$one is longer than the 128 characters that a rule's pattern may have" }
    }
    if (($patterns -join '').Length -gt 7000) { throw 'the addresses in $SameName are more than a rule may have (8 KB): take the most needed ones, or *' }
    Set-Wanted TransportRule Name %[1]s @{ Enabled = $true } ([ordered]@{
        RouteMessageOutboundConnector = %[3]s
        RecipientAddressMatchesPatterns = $patterns
        ExceptIfHeaderMatchesMessageHeader = %[5]s
        ExceptIfHeaderMatchesPatterns = '\S'
        Mode = 'Enforce'
    })
}
if ($null -ne $SameName -and $SameName.Count -eq 0) {
%[6]s}
`, quoted(sameNameRule), indented(connector.set()), quoted(toHereByRule), literal(within(t.domains)), quoted(seal.TraceHeader),
		indented(remove("TransportRule", sameNameRule)+remove("OutboundConnector", toHereByRule)))
	return Step{
		Title: "The same name on both sides",
		Needs: ruleLicence + ", no rule with more than 8 KB, and the patterns of all rules together no more than 20 KB",
		Text: fmt.Sprintf("Exchange Online delivers to a mailbox that it has, whatever the directory here says: also to one that a licence has made for somebody whose mailbox is here. For the primary addresses in $SameName it sends to here instead. With '*' it does so for all of %s, and coexistd decides about each; what lives over there then goes back, and is filtered a second time, as mail from Exchange Online.\n"+
			"The exception is what makes it end: what coexistd has sent there bears %s, and stays.%s",
			strings.Join(t.domains, " and "), seal.TraceHeader, both),
		Code: routed,
	}
}

// copies has mailboxes on both sides get what is sent over there on both.
func (t *tenant) copies() Step {
	return Step{
		Title: "Dual delivery: a copy for the mailbox here",
		Needs: "a licence for each mailbox over there; the domain of the copies as an accepted domain (InternalRelay), else an outbound spam policy for these mailboxes alone that lets them forward outside (AutoForwardingMode On)",
		Text:  "What comes from the Internet or from users here for a mailbox on both sides, coexistd delivers to both, if the MX is here. What users over there send goes to the mailbox there. To have it here, too, the mailbox there forwards to an address by which this side alone delivers, in a domain that only this side has, and that the configuration has with `unlisted = \"here\"`, so that the connector takes it. $Copies says so: the address over there, and that of the copy. It forwards all, so that what coexistd has delivered to both is here twice. An address that is taken out of $Copies keeps its copies until --retire, or until they are ended at the mailbox.",
		Code: `foreach ($address in @($Copies.Keys)) {
    Set-Wanted Mailbox Identity $address $null ([ordered]@{ ForwardingSmtpAddress = $Copies[$address]; DeliverToMailboxAndForward = $true })
}
`,
	}
}

// spam has our verdicts count over there.
func (t *tenant) spam() Step {
	text := "What coexistd tags as spam bears X-Spam-Flag: YES, which Exchange Online does not heed: the rule makes SCL 6 of it, and the mailbox's junk folder takes it. It holds for whoever marks their own mail as spam.\n"
	marked := wanted{kind: "TransportRule", by: "Name", name: spamRule, made: table{{"Enabled", true}}, settings: table{
		{"HeaderContainsMessageHeader", "X-Spam-Flag"}, {"HeaderContainsWords", []string{"YES"}}, {"SetSCL", 6}, {"Mode", "Enforce"},
	}}.set()
	step := Step{Title: "Spam that was found here", Needs: ruleLicence, Code: marked}
	header := t.site.Conf.Rules.Header
	if !t.offersClean() {
		step.Code += remove("TransportRule", cleanRule)
	}
	switch {
	case !t.mxHere:
		step.Text = text + "The MX is not here: Exchange Online filters by itself what it gets from the Internet."
	case header == "":
		step.Text = text + "With `header = \"X-Coexist-Result\"` in the configuration, this guide can have Exchange Online spare what was found clean here a second filter."
	default:
		step.Text = text + fmt.Sprintf("With $TrustClean = $true what was found clean at S0 (%s, from $Addresses) gets SCL -1: it is not filtered a second time, and no spam is caught that this side has missed. Enhanced filtering is then switched off, since the two exclude each other.", header)
		step.Code += "if ($TrustClean) {\n    if (-not $Addresses) { throw 'fill in $Addresses' }\n" +
			indented(wanted{kind: "TransportRule", by: "Name", name: cleanRule, made: table{{"Enabled", true}}, settings: table{
				{"HeaderMatchesMessageHeader", header}, {"HeaderMatchesPatterns", []string{"^point=S0; verdict=accept;"}},
				{"SenderIpRanges", code("$Addresses")}, {"SetSCL", -1}, {"Mode", "Enforce"},
			}}.set()) + "} else {\n" + indented(remove("TransportRule", cleanRule)) + "}\n"
	}
	return step
}

// internal says what can be done for mail from here to count as internal.
func (t *tenant) internal() Step {
	return Step{
		Title: "Mail among our own",
		Needs: mailboxLicence + "; for groups of others the role group Organization Management, or the role Security Group Creation and Membership",
		Text: "To Exchange Online what comes from here is from outside, as long as $Internal is 'no': groups that take mail of the organization alone refuse it (550 5.7.133), and it is filtered for spam.\n" +
			"'groups': the groups in $Groups take mail from anybody (RequireSenderAuthenticationEnabled is off). Given up: strangers can write to them, too; what stops those is this side, where the MX is here. A group that is in $Groups no longer, and each of them with 'no' or 'connector', becomes what the record says that it was; a group that the record does not know stays as it is.\n" +
			"'connector': mail over our connector from a sender in a domain of ours is internal (TreatMessagesAsInternal, which does not go with CloudServicesMailEnabled). Given up: it is not filtered for spam, so an account here that somebody has taken over can send all it wants to the mailboxes there.",
		Code: `foreach ($kind in ` + literal(groupKinds) + `) {
    $open = @()
    if ($Internal -eq 'groups' -and (Test-Kind $kind)) {
        $open = @(& "Get-$kind" -ResultSize Unlimited | Where-Object { '*' -in $Groups -or $_.PrimarySmtpAddress -in $Groups })
    }
    foreach ($group in $open) {
        if ($group.IsDirSynced -and $group.RequireSenderAuthenticationEnabled) {
            Write-Host "! $kind '$($group.Identity)' comes from a directory elsewhere, and is to be opened there"
        } else {
            Set-Found $kind $group @{ RequireSenderAuthenticationEnabled = $false }
        }
    }
    if ($Internal) { Restore-Before $kind @($open | ForEach-Object { $_.Identity }) }
}
if (-not $Internal) { Show-Unset Internal }
`,
	}
}

// groupKinds are the kinds of groups that take mail of the organization alone, or of anybody.
var groupKinds = []string{"DistributionGroup", "DynamicDistributionGroup", "UnifiedGroup"}

// journalTo is the archive's address where [archive] says that the journal goes there, or nil.
func (t *tenant) journalTo() any {
	if address := t.site.journalTo(t.platform); address != "" {
		return address
	}
	return nil
}

// journal has the archive get a report of each message.
func (t *tenant) journal() Step {
	enter := "contrib/docs/oddmail.md says what lets them in."
	if t.journalTo() != nil {
		enter = "[archive] of coexistd takes them unchecked (journals); where the archive is not here, they do not pass here."
	}
	return Step{
		Title: "The journal to the archive",
		Needs: "an edition of Exchange Online with journaling, as the description of its compliance features has it; the role Journaling (in Organization Management)",
		Text:  "Each message over there, also those among its own mailboxes, is reported to $JournalTo (the null sender, the message enclosed). Reports that the archive does not take go to $JournalFailed, whose own mail is not journaled: take a mailbox for this alone. Neither may be a mailbox at Exchange Online; addresses here are reached by the connector. Rules do not apply to reports, so that they come without the proof: " + enter,
		Code: fmt.Sprintf(`if ($null -eq $JournalTo) { Show-Unset JournalTo }
if ($JournalTo -and (Test-Kind JournalRule) -and (Test-Kind TransportConfig)) {
    $transport = Get-TransportConfig
    if ("$($transport.JournalingReportNdrTo)" -ne $JournalFailed) {
        Write-Host "~ undeliverable journal reports go to '$JournalFailed'"
        if ($Apply) {
            Add-Record TransportConfig 'TransportConfig' JournalingReportNdrTo $transport.JournalingReportNdrTo
            Set-TransportConfig -JournalingReportNdrTo $JournalFailed
        }
    }
%s}
if ('' -eq $JournalTo -and (Test-Kind JournalRule)) {
%s}
`, indented(wanted{kind: "JournalRule", by: "Name", name: journalRule, made: table{{"Enabled", true}}, settings: table{
			{"JournalEmailAddress", code("$JournalTo")}, {"Scope", "Global"},
		}}.set()), indented(remove("JournalRule", journalRule)+"Restore-Before TransportConfig\n")),
	}
}

// directSend has our own domains be refused from whom no connector knows.
func (t *tenant) directSend() Step {
	text := "Mail from our own domains to the tenant that comes by no connector is refused, so that nobody past this side can write in our name. Set $RejectDirectSend when mail from here has arrived by the connector, and not before. Services that send in our name straight to the tenant, and forwarders elsewhere that keep the sender, are refused, too."
	if t.mxThere {
		text += " The MX of a domain is there: what others forward unchanged comes that way."
	}
	return Step{
		Title: "No mail past the connector",
		Needs: mailboxLicence,
		Text:  text,
		Code: "if ($null -eq $RejectDirectSend) { Show-Unset RejectDirectSend }\n" +
			"if ($RejectDirectSend) {\n" +
			indented(wanted{kind: "OrganizationConfig", name: "the organization", settings: table{{"RejectDirectSend", true}}}.set()) + "}\n" +
			"if ($null -ne $RejectDirectSend -and -not $RejectDirectSend) { Restore-Before OrganizationConfig }\n",
	}
}
