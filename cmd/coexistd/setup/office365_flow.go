package setup

import (
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
)

// What the steps need of the tenant's editions.
const (
	mailboxLicence   = "any edition with Exchange Online"
	connectorLicence = mailboxLicence + ", but for the Microsoft 365 E5 developer subscription, which makes no inbound connectors"
	ruleLicence      = mailboxLicence + ", in which an organization has no more than 300 rules"
)

// flow are the steps without which no mail flows.
func (t *tenant) flow() []Step {
	steps := []Step{t.inbound(), t.outbound()}
	if t.platform.MayRelay {
		steps = append(steps, t.centralized())
	}
	steps = append(steps, t.proof(), t.relayed())
	if len(t.alternates) > 0 {
		steps = append(steps, t.authoritative())
	}
	return append(steps, t.validated(), t.plain())
}

// inbound is the connector for mail from here.
func (t *tenant) inbound() Step {
	connector := table{
		{"ConnectorType", "OnPremises"},
		{"SenderDomains", "*"},
		{"Enabled", true},
		{"RequireTls", code("($Tls -eq 'certificate')")},
		{"TlsSenderCertificateName", code("$(if ($Tls -eq 'certificate') { $Certificate })")},
		{"SenderIPAddresses", code("$(if ($Tls -ne 'certificate') { $Addresses })")},
	}
	filtering, sources := t.enhanced()
	several := ""
	if t.several {
		several = " For each tenant this side shows a certificate of its own, in whose domains no other tenant has a part: by one for all, Exchange Online may take one tenant's mail for the other's."
	}
	return Step{
		Title: "Mail from here: the inbound connector",
		Needs: connectorLicence,
		Text: "By it Exchange Online knows this side, and passes its mail on to others for us. It chooses the tenant by the certificate, then by MAIL FROM, then by the recipient: so the certificate's name is in an accepted domain, and this side has to show the certificate as a client (smtp_tls_cert_file or smtp_tls_chain_files of Postfix, CERT and CLIENT_CERT of Sendmail).\n" +
			filtering + " Some new tenants have the connector made switched off until Microsoft's support enables it: then there is silently none, and the script stops." + several,
		Code: assign("connector", connector) + sources +
			"if ($null -ne $Internal) { $connector.TreatMessagesAsInternal = ($Internal -eq 'connector') }\n" +
			fmt.Sprintf("Set-Wanted InboundConnector Name %[1]s (@{}) $connector\n$made = Find-One InboundConnector Name %[1]s\n"+
				"if ($Apply -and $null -ne $made -and -not $made.Enabled) { throw 'Exchange Online has made the connector switched off: its support has to enable it' }\n", quoted(fromHere)),
	}
}

// enhanced says by which host Exchange Online judges SPF and DMARC of what comes over the
// connector, and is the code that sets it.
func (t *tenant) enhanced() (text, code string) {
	const signed = " Mail of our own users then seems to come from where they sat: sign it with DKIM, so that it is not taken for forged."
	switch {
	case !t.mxHere:
		return "Enhanced filtering is off (EFSkipLastIP): no MX is here, so that what comes from here is of our own users, and SPF of our domains names this side.",
			"$connector.EFSkipLastIP = $false\n$connector.EFSkipIPs = $null\n"
	case t.gateway:
		return "Enhanced filtering has it judge SPF and DMARC by the host before this side. The MX names a gateway, so that the last address is not the one to skip: EFSkipIPs has $Addresses and $Gateways. With none known it is off, since else all mail would be judged by the gateway's address." + signed,
			fmt.Sprintf(`if ($Gateways -and -not $Addresses) { throw 'fill in $Addresses' }
if ($null -eq $Gateways) { Show-Unset Gateways }
if (%s) {
    $connector.EFSkipLastIP = $false
    $connector.EFSkipIPs = $(if (%s) { $Addresses + $Gateways })
}
`, t.orClean("$null -ne $Gateways", " -or $TrustClean"), t.orClean("$Gateways", " -and -not $TrustClean"))
	}
	return "Enhanced filtering (EFSkipLastIP) has it judge SPF and DMARC by the host before this one." + signed,
		"$connector.EFSkipLastIP = (" + t.orClean("$true", " -and -not $TrustClean") + ")\n$connector.EFSkipIPs = $null\n"
}

// orClean is a condition, with a further one where our verdicts may be trusted: a rule that spares
// mail the filter excludes enhanced filtering.
func (t *tenant) orClean(condition, further string) string {
	if t.offersClean() {
		return condition + further
	}
	return condition
}

// toUs are the settings of a connector to here, with further ones.
func toUs(more ...entry) table {
	return append(table{
		{"ConnectorType", "OnPremises"},
		{"Enabled", true},
		{"UseMXRecord", false},
		{"SmartHosts", code("$Hosts")},
		{"TlsSettings", code("$tlsLevel")},
		{"TlsDomain", code("$tlsName")},
	}, more...)
}

// outbound is the connector for mail to here.
func (t *tenant) outbound() Step {
	return Step{
		Title: "Mail to here: the outbound connector",
		Needs: connectorLicence,
		Text: "It takes what is for our domains and for no mailbox of the tenant, whatever their MX is. The sender's address stays as it is (SenderRewritingEnabled is off): this side knows the tenant by its proof, not by SPF.\n" +
			"With 'certificate', mail waits over there while this side shows no valid certificate of that name: for a day, then it is returned to its sender.",
		Code: "$tlsLevel = $null\n$tlsName = $null\n" +
			"if ($Tls -eq 'certificate') {\n    $tlsLevel = 'DomainValidation'\n    $tlsName = $Certificate\n}\n" +
			"if ($Tls -eq 'encrypted') { $tlsLevel = 'EncryptionOnly' }\n" +
			wanted{kind: "OutboundConnector", by: "Name", name: toHere, made: table{}, settings: toUs(
				entry{"RecipientDomains", t.here}, entry{"SenderRewritingEnabled", false}, entry{"RouteAllMessagesViaOnPremises", false},
			)}.set(),
	}
}

// proof is the rule that has each message to here prove its tenant.
func (t *tenant) proof() Step {
	const title = "The header that proves the tenant"
	if t.header == "" {
		return Step{Title: title, Text: fmt.Sprintf("There is none: [platform.%s] has no proof by header. Exchange Online leaves X-MS-Exchange-CrossTenant-Id out of some messages, and mail in our own name without any proof is put off here. Have `proof = { header = \"X-Coexist-Proof\", secret_file = \"proof.key\" }` there, and run this again.", t.platform.Name)}
	}
	return Step{
		Title: title,
		Needs: ruleLicence,
		Text: fmt.Sprintf("Each message for our domains gets the header %s. Its value is the line in the file that secret_file in [platform.%s] names: it is asked for when the rule is made, not shown, and not kept in any file by this script. Over there it can be read by whoever may look at rules, and by each user in the header of what stays there. The rule is made the first one: keep it before those that stop the others. Messages that stay among mailboxes of the tenant bear the header, too. %s Who gets hold of its value can send as our tenant, from Microsoft's networks: then write a new line into the file, reload coexistd, and run this with $NewSecret = $true.",
			t.header, t.platform.Name, t.keptText()),
		Code: t.keptInside() + t.secretRule(proofRule, entry{"RecipientDomainIs", t.here}) + t.passedOn(),
	}
}

// keptText says how others do not get the proof.
func (t *tenant) keptText() string {
	if t.platform.MayRelay {
		return "What leaves for others passes this side (the step before), and coexistd takes the header out; so the rule that takes it out over there is not needed, and goes last."
	}
	return "From what these forward to others, from what goes to outside members of groups, and from what goes to subdomains that are not ours (RecipientDomainIs holds for those, too), it is taken out by a second rule, which is made first."
}

// keptInside is the code that keeps the proof from others, unless all that leaves passes this
// side. The first rule goes before it, if that is there already, and else is put before it.
func (t *tenant) keptInside() string {
	if t.platform.MayRelay {
		return ""
	}
	return fmt.Sprintf("$place = 0\nif (Find-One TransportRule Name %s) { $place = 1 }\n", quoted(proofRule)) +
		wanted{kind: "TransportRule", by: "Name", name: proofStays, made: table{{"Priority", code("$place")}, {"Enabled", true}}, settings: table{
			{"SentToScope", "NotInOrganization"}, {"ExceptIfRecipientAddressMatchesPatterns", within(t.here)}, {"RemoveHeader", t.header}, {"Mode", "Enforce"}, {"StopRuleProcessing", false},
		}}.set()
}

// passedOn is the code that lets the proof reach this side with all that leaves.
func (t *tenant) passedOn() string {
	if t.platform.MayRelay {
		return remove("TransportRule", proofStays)
	}
	return ""
}

// within are patterns for the addresses in these domains, and in none below them.
func within(domains []string) []string {
	var patterns []string
	for _, domain := range domains {
		patterns = append(patterns, "@"+regexp.QuoteMeta(domain)+"$")
	}
	return patterns
}

// secretRule is the code for a rule that adds the proof to what fits the condition.
func (t *tenant) secretRule(name string, settings ...entry) string {
	all := append(table(settings), entry{"SetHeaderName", t.header}, entry{"Mode", "Enforce"}, entry{"StopRuleProcessing", false})
	made := table{{"Priority", 0}, {"Enabled", true}}
	return assign("rule", all) +
		fmt.Sprintf(`$there = Find-One TransportRule Name %s
if ($Apply -and ($NewSecret -or $null -eq $there)) {
    if (-not $Secret) {
        $asked = Read-Host -AsSecureString 'The line in the file that secret_file names'
        $Secret = [Net.NetworkCredential]::new('', $asked).Password.Trim()
        if ($Secret.Length -lt 16) { throw 'the secret has 16 characters or more' }
    }
    $rule.SetHeaderValue = $Secret
}
Set-Wanted TransportRule Name %s (%s) $rule
`, quoted(name), quoted(name), made.literal())
}

// relayed has what is not over there come to here.
func (t *tenant) relayed() Step {
	var code strings.Builder
	for _, domain := range t.domains {
		code.WriteString(wanted{kind: "AcceptedDomain", by: "DomainName", name: domain, settings: table{{"DomainType", "InternalRelay"}}}.set())
	}
	return Step{
		Title: "Our domains are internal relays",
		Needs: mailboxLicence,
		Text:  "What has no mailbox in the tenant goes to here by the connector, and is not refused. Recipients are no longer checked over there (directory-based edge blocking is off): coexistd refuses those that nobody has. Each address over there has to be in coexistd's directory, those of groups, shared mailboxes and rooms as well: else its mail from here is refused.",
		Code:  code.String(),
	}
}

// authoritative has the alternates end there what has no mailbox there.
func (t *tenant) authoritative() Step {
	var code strings.Builder
	for _, domain := range slices.Compact(slices.Sorted(slices.Values(t.alternates))) {
		code.WriteString(wanted{kind: "AcceptedDomain", by: "DomainName", name: domain, settings: table{{"DomainType", "Authoritative"}}}.set())
	}
	return Step{
		Title: "Alternate domains end there",
		Needs: mailboxLicence,
		Text: fmt.Sprintf("To %s go the messages from here. An address without a mailbox is refused there, and does not come back. Each mailbox needs its address in that domain. Only in the tenant's first domain (NAME.onmicrosoft.com) does a mailbox get one by itself, made of its alias; where it differs, or for a mailbox's further addresses, the directory's column `target` says which one it is. In any other domain it is added: Set-Mailbox alice -EmailAddresses @{ Add = 'alice@ALTERNATE' }, or in the directory that the mailbox is synchronized from. Those that have none are told.",
			strings.Join(t.alternates, " and ")),
		Code: code.String() + t.lacking(),
	}
}

// lacking is the code that tells of mailboxes that what is rewritten here does not reach.
func (t *tenant) lacking() string {
	if len(t.counterparts) == 0 {
		return ""
	}
	code := "$mailboxes = @(Get-Mailbox -ResultSize Unlimited)\n"
	for _, domain := range slices.Sorted(maps.Keys(t.counterparts)) {
		alternate := t.counterparts[domain]
		code += fmt.Sprintf(`$without = @($mailboxes | Where-Object { "$($_.EmailAddresses) " -like '*@%[1]s *' -and "$($_.EmailAddresses) " -notlike '*@%[2]s *' })
if ($without.Count -gt 0) { Write-Host "! $($without.Count) mailboxes of %[1]s have no address in %[2]s, such as $($without | ForEach-Object { $_.PrimarySmtpAddress } | Select-Object -First 5)" }
`, domain, alternate)
	}
	return code
}

// validated is Microsoft's own test of the connector.
func (t *tenant) validated() Step {
	return Step{
		Title: "Microsoft's test of the connector",
		Needs: mailboxLicence,
		Text: fmt.Sprintf("It connects to each of $Hosts, and sends a message from O365ConnectorValidation@ and the null sender to $TestRecipient, an address in %s. Set that half an hour after the first run: until the proof is added, this side puts off what comes from that sender. It fails where TLS cannot be demanded ($Tls is 'opportunistic'), without harm: mail flows all the same, and `coexistd doctor --probe` is the test. Until the connector is marked as validated, the admin center warns of it.",
			strings.Join(t.here, " or ")),
		Code: fmt.Sprintf("if ($Apply -and $TestRecipient -and (Test-Seen OutboundConnector %[1]s)) {\n    Validate-OutboundConnector -Identity %[1]s -Recipients $TestRecipient | Format-List\n"+
			"    Write-Host 'If all has succeeded: Set-OutboundConnector -Identity \"%[2]s\" -IsValidated $true -LastValidationTimestamp (Get-Date).ToUniversalTime()'\n}\n", quoted(toHere), toHere),
	}
}

// plain has messages to here be made without TNEF.
func (t *tenant) plain() Step {
	var code strings.Builder
	for _, domain := range t.here {
		code.WriteString(wanted{
			kind: "RemoteDomain", by: "DomainName", name: domain, called: remoteName(domain),
			made: table{{"DomainName", domain}}, settings: table{{"TNEFEnabled", false}},
		}.set())
	}
	return Step{
		Title: "No winmail.dat",
		Needs: mailboxLicence,
		Text:  "Messages to mailboxes here are made without TNEF, which nothing but Outlook reads. A remote domain that is there already keeps its other settings; one that is made here has the usual ones, and not those of the remote domain Default.",
		Code:  code.String(),
	}
}

// remoteName is what the remote domain of ours is called.
func remoteName(domain string) string {
	const longest = 64
	name := "coexistd " + domain
	return name[:min(len(name), longest)]
}
