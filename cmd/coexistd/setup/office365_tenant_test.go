package setup_test

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"coexistd/contrib/powershell"
)

// object is one of a tenant's, with its settings.
type object = *powershell.Table

// exchange is a tenant of Exchange Online, as far as the scripts use it: it keeps objects, takes
// the parameters that Microsoft's reference has for a cmdlet and no others, and refuses what that
// says is refused.
type exchange struct {
	id          string
	objects     map[string][]object // by kind, in lower case
	changes     []string            // the cmdlets that changed something
	connections []any               // as Get-ConnectionInformation tells them
	asked       int                 // how often the secret was asked for
	validated   []string
	disabled    bool // new inbound connectors are made switched off
	slow        bool // what is made is not told before the next run
	made        map[object]bool
}

// cmdletsOf has for each kind the parameters of New and Set, besides Name and Identity.
var cmdletsOf = map[string]struct{ made, set string }{
	"InboundConnector": {
		"AssociatedAcceptedDomains CloudServicesMailEnabled Comment ConnectorSource ConnectorType EFSkipIPs EFSkipLastIP EFUsers Enabled RequireTls RestrictDomainsToCertificate RestrictDomainsToIPAddresses SenderDomains SenderIPAddresses TlsSenderCertificateName TreatMessagesAsInternal TrustedOrganizations",
		"AssociatedAcceptedDomains CloudServicesMailEnabled Comment ConnectorSource ConnectorType EFSkipIPs EFSkipLastIP EFUsers Enabled RequireTls RestrictDomainsToCertificate RestrictDomainsToIPAddresses SenderDomains SenderIPAddresses TlsSenderCertificateName TreatMessagesAsInternal TrustedOrganizations",
	},
	"OutboundConnector": {
		"AllAcceptedDomains CloudServicesMailEnabled Comment ConnectorSource ConnectorType Enabled IsTransportRuleScoped RecipientDomains RouteAllMessagesViaOnPremises SenderRewritingEnabled SmartHosts TestMode TlsDomain TlsSettings UseMXRecord",
		"AllAcceptedDomains CloudServicesMailEnabled Comment ConnectorSource ConnectorType Enabled IsTransportRuleScoped IsValidated LastValidationTimestamp RecipientDomains RouteAllMessagesViaOnPremises SenderRewritingEnabled SmartHosts TestMode TlsDomain TlsSettings UseMXRecord ValidationRecipients",
	},
	"TransportRule": {
		"Comments Enabled ExceptIfRecipientAddressMatchesPatterns ExceptIfRecipientDomainIs RemoveHeader ExceptIfHeaderMatchesMessageHeader ExceptIfHeaderMatchesPatterns FromScope HeaderContainsMessageHeader HeaderContainsWords HeaderMatchesMessageHeader HeaderMatchesPatterns Mode Priority RecipientAddressMatchesPatterns RecipientDomainIs RouteMessageOutboundConnector SenderIpRanges SentToScope SetHeaderName SetHeaderValue SetSCL StopRuleProcessing",
		"Comments ExceptIfRecipientAddressMatchesPatterns ExceptIfRecipientDomainIs RemoveHeader ExceptIfHeaderMatchesMessageHeader ExceptIfHeaderMatchesPatterns FromScope HeaderContainsMessageHeader HeaderContainsWords HeaderMatchesMessageHeader HeaderMatchesPatterns Mode Priority RecipientAddressMatchesPatterns RecipientDomainIs RouteMessageOutboundConnector SenderIpRanges SentToScope SetHeaderName SetHeaderValue SetSCL StopRuleProcessing",
	},
	"RemoteDomain":             {"DomainName", "AllowedOOFType AutoForwardEnabled AutoReplyEnabled CharacterSet ContentType DeliveryReportEnabled IsInternal LineWrapSize NDREnabled TNEFEnabled"},
	"JournalRule":              {"Enabled JournalEmailAddress Recipient Scope", "JournalEmailAddress Recipient Scope"},
	"AcceptedDomain":           {"", "DomainType MatchSubDomains OutboundOnly SendingFromDomainDisabled SendingToDomainDisabled"},
	"OrganizationConfig":       {"", "RejectDirectSend"},
	"TransportConfig":          {"", "JournalingReportNdrTo"},
	"DistributionGroup":        {"", "BypassSecurityGroupManagerCheck RequireSenderAuthenticationEnabled"},
	"DynamicDistributionGroup": {"", "RequireSenderAuthenticationEnabled"},
	"UnifiedGroup":             {"", "RequireSenderAuthenticationEnabled"},
	"Mailbox":                  {"", "DeliverToMailboxAndForward ForwardingSmtpAddress"},
}

// newExchange is a tenant with domains and one of everything that others have set up.
func newExchange(id string, domains ...string) *exchange {
	e := &exchange{id: id, objects: make(map[string][]object), made: make(map[object]bool)}
	put := func(kind string, pairs ...any) {
		e.objects[strings.ToLower(kind)] = append(e.objects[strings.ToLower(kind)], powershell.NewTable(pairs...))
	}
	for _, domain := range domains {
		put("AcceptedDomain", "Identity", domain, "Name", domain, "DomainName", domain, "DomainType", "Authoritative")
	}
	put("InboundConnector", "Identity", "Scanner", "Name", "Scanner", "Enabled", true, "ConnectorType", "OnPremises", "SenderDomains", []any{"smtp:*;1"}, "SenderIPAddresses", []any{"198.51.100.5"})
	put("OutboundConnector", "Identity", "Partner", "Name", "Partner", "Enabled", true, "ConnectorType", "Partner", "RecipientDomains", []any{"partner.example"}, "UseMXRecord", true)
	put("TransportRule", "Identity", "Disclaimer", "Name", "Disclaimer", "State", "Enabled", "Priority", 0, "FromScope", "InOrganization")
	put("TransportRule", "Identity", "Old", "Name", "Old", "State", "Disabled", "Priority", 1)
	put("RemoteDomain", "Identity", "Default", "Name", "Default", "DomainName", "*", "TNEFEnabled", nil)
	put("JournalRule", "Identity", "Legal", "Name", "Legal", "Enabled", true, "JournalEmailAddress", "legal@archive.example", "Scope", "Global")
	put("OrganizationConfig", "Identity", "tenant", "Name", "tenant", "RejectDirectSend", false)
	put("TransportConfig", "Identity", "Transport Settings", "Name", "Transport Settings", "JournalingReportNdrTo", "<>")
	for _, name := range []string{"sales", "board"} {
		put("DistributionGroup", "Identity", name, "Name", name, "PrimarySmtpAddress", name+"@acmecorp.com", "RequireSenderAuthenticationEnabled", true)
	}
	put("DistributionGroup", "Identity", "hq", "Name", "hq", "PrimarySmtpAddress", "hq@acmecorp.com", "RequireSenderAuthenticationEnabled", true, "IsDirSynced", true)
	put("UnifiedGroup", "Identity", "team_1a2b", "Name", "team_1a2b", "PrimarySmtpAddress", "team@acmecorp.com", "RequireSenderAuthenticationEnabled", true, "IsDirSynced", false)
	put("Mailbox", "Identity", "alice", "Name", "alice", "PrimarySmtpAddress", "alice@acmecorp.com", "EmailAddresses", []any{"SMTP:alice@acmecorp.com"}, "ForwardingSmtpAddress", nil, "DeliverToMailboxAndForward", false)
	return e
}

// find returns an object by its identity, its name or its address.
func (e *exchange) find(kind, identity string) (object, int) {
	for i, one := range e.objects[strings.ToLower(kind)] {
		if e.made[one] {
			continue
		}
		for _, key := range []string{"Identity", "Name", "PrimarySmtpAddress"} {
			if strings.EqualFold(powershell.Text(one.Get(key)), identity) {
				return one, i
			}
		}
	}
	return nil, -1
}

// cmdlets are those that the tenant answers.
func (e *exchange) cmdlets() map[string]powershell.Cmdlet {
	all := map[string]powershell.Cmdlet{
		"connect-exchangeonline": func(args *powershell.Table) ([]any, error) {
			e.connections = append(e.connections, powershell.NewTable("State", "Connected", "TenantID", e.id))
			return nil, allowed("Connect-ExchangeOnline", args, "ShowBanner")
		},
		"disconnect-exchangeonline": func(args *powershell.Table) ([]any, error) {
			e.connections = nil
			return nil, allowed("Disconnect-ExchangeOnline", args, "Confirm")
		},
		"get-connectioninformation":  func(*powershell.Table) ([]any, error) { return e.connections, nil },
		"validate-outboundconnector": e.validate,
	}
	for kind, parameters := range cmdletsOf {
		all["get-"+strings.ToLower(kind)] = func(args *powershell.Table) ([]any, error) { return e.get(kind, args) }
		all["set-"+strings.ToLower(kind)] = func(args *powershell.Table) ([]any, error) { return nil, e.set(kind, args) }
		if parameters.made != "" {
			all["new-"+strings.ToLower(kind)] = func(args *powershell.Table) ([]any, error) { return nil, e.make(kind, args) }
			all["remove-"+strings.ToLower(kind)] = func(args *powershell.Table) ([]any, error) { return nil, e.remove(kind, args) }
		}
	}
	for _, kind := range []string{"TransportRule", "JournalRule"} {
		all["enable-"+strings.ToLower(kind)] = func(args *powershell.Table) ([]any, error) { return nil, e.enable(kind, args) }
	}
	return all
}

// allowed complains of parameters that a cmdlet does not have.
func allowed(cmdlet string, args *powershell.Table, parameters ...string) error {
	known := strings.Fields(strings.Join(parameters, " "))
	for _, name := range args.Names() {
		if !slices.ContainsFunc(known, func(one string) bool { return strings.EqualFold(one, name) }) {
			return fmt.Errorf("%s has no parameter %s", cmdlet, name)
		}
	}
	return nil
}

func (e *exchange) get(kind string, args *powershell.Table) (list []any, err error) {
	if err := allowed("Get-"+kind, args, "Identity ErrorAction ResultSize"); err != nil {
		return nil, err
	}
	if args.Has("Identity") {
		one, _ := e.find(kind, powershell.Text(args.Get("Identity")))
		if one == nil {
			return nil, fmt.Errorf("Get-%s: there is no %v", kind, args.Get("Identity"))
		}
		return []any{one.Clone()}, nil
	}
	for _, one := range e.objects[strings.ToLower(kind)] {
		if !e.made[one] {
			list = append(list, one.Clone())
		}
	}
	return list, nil
}

func (e *exchange) make(kind string, args *powershell.Table) error {
	cmdlet := "New-" + kind
	if err := allowed(cmdlet, args, "Name", cmdletsOf[kind].made); err != nil {
		return err
	}
	name := powershell.Text(args.Get("Name"))
	if there, _ := e.find(kind, name); there != nil || name == "" || len(name) > 64 {
		return fmt.Errorf("%s: the name %q is there, empty or too long", cmdlet, name)
	}
	one := powershell.NewTable("Identity", name, "Name", name)
	switch kind {
	case "InboundConnector":
		one.Set("Enabled", true)
	case "OutboundConnector":
		one.Set("Enabled", true)
		one.Set("UseMXRecord", true)
	case "RemoteDomain":
		for _, other := range e.objects["remotedomain"] {
			if strings.EqualFold(powershell.Text(other.Get("DomainName")), powershell.Text(args.Get("DomainName"))) {
				return fmt.Errorf("%s: %v has one", cmdlet, args.Get("DomainName"))
			}
		}
	case "TransportRule":
		one.Set("State", "Enabled")
		e.insert(one, args)
	case "JournalRule":
		one.Set("Enabled", false)
	}
	changed := args.Clone()
	if err := e.apply(cmdlet, kind, one, changed); err != nil {
		return err
	}
	if kind == "InboundConnector" && e.disabled {
		one.Set("Enabled", false)
	}
	e.objects[strings.ToLower(kind)] = append(e.objects[strings.ToLower(kind)], one)
	if e.slow {
		e.made[one] = true
	}
	e.changes = append(e.changes, cmdlet+" "+name)
	return nil
}

// insert gives a new rule its place, and moves those behind it.
func (e *exchange) insert(one object, args *powershell.Table) {
	rules := e.objects["transportrule"]
	place, is := args.Get("Priority").(int)
	if !is {
		place = len(rules)
	}
	for _, other := range rules {
		if at := other.Get("Priority").(int); at >= place {
			other.Set("Priority", at+1)
		}
	}
	one.Set("Priority", place)
}

func (e *exchange) set(kind string, args *powershell.Table) error {
	cmdlet := "Set-" + kind
	identity := "Identity"
	if kind == "OrganizationConfig" || kind == "TransportConfig" {
		identity = ""
	}
	if err := allowed(cmdlet, args, identity, cmdletsOf[kind].set); err != nil {
		return err
	}
	one := e.objects[strings.ToLower(kind)][0]
	if identity != "" {
		if one, _ = e.find(kind, powershell.Text(args.Get("Identity"))); one == nil {
			return fmt.Errorf("%s: there is no %v", cmdlet, args.Get("Identity"))
		}
	}
	if one.Get("IsDirSynced") == true {
		return fmt.Errorf("%s: %v is synchronized from elsewhere", cmdlet, one.Get("Name"))
	}
	for _, pair := range headerPairs {
		if kind == "TransportRule" && args.Has(pair[0]) != args.Has(pair[1]) {
			return fmt.Errorf("%s takes %s and %s together", cmdlet, pair[0], pair[1])
		}
	}
	if kind == "DistributionGroup" && args.Get("BypassSecurityGroupManagerCheck") != true {
		return fmt.Errorf("%s: only owners change %v", cmdlet, one.Get("Name"))
	}
	changed := &powershell.Table{}
	for _, name := range args.Names() {
		if !strings.EqualFold(name, "Identity") && !strings.EqualFold(name, "BypassSecurityGroupManagerCheck") {
			changed.Set(name, args.Get(name))
		}
	}
	e.changes = append(e.changes, fmt.Sprintf("%s %v %v", cmdlet, one.Get("Name"), changed.Names()))
	return e.apply(cmdlet, kind, one, changed)
}

// apply puts settings into an object, in the form in which Exchange tells them, if they go together.
func (e *exchange) apply(cmdlet, kind string, one object, settings *powershell.Table) error {
	next := one.Clone()
	for _, name := range settings.Names() {
		value := settings.Get(name)
		switch {
		case strings.EqualFold(name, "Enabled") && kind == "TransportRule":
			continue
		case strings.EqualFold(name, "SenderDomains"):
			value = []any{"smtp:" + powershell.Text(value) + ";1"}
		case strings.EqualFold(name, "ForwardingSmtpAddress") && value != nil:
			value = "smtp:" + strings.TrimPrefix(powershell.Text(value), "smtp:")
		case strings.EqualFold(name, "SetSCL"):
			value = powershell.Text(value)
		}
		next.Set(name, value)
	}
	if err := e.fits(kind, next); err != nil {
		return fmt.Errorf("%s: %w", cmdlet, err)
	}
	for _, name := range next.Names() {
		one.Set(name, next.Get(name))
	}
	return nil
}

// fits says what does not go together, or has a value that is none.
func (e *exchange) fits(kind string, o object) error {
	text := func(name string) string { return powershell.Text(o.Get(name)) }
	is := func(name string) bool { return text(name) == "True" }
	oneOf := func(name string, values ...string) error {
		if !slices.ContainsFunc(values, func(one string) bool { return strings.EqualFold(one, text(name)) }) {
			return fmt.Errorf("%s is none of %q: %q", name, values, text(name))
		}
		return nil
	}
	switch kind {
	case "InboundConnector":
		switch {
		case text("SenderDomains") == "":
			return fmt.Errorf("SenderDomains is wanted")
		case is("EFSkipLastIP") && text("EFSkipIPs") != "":
			return fmt.Errorf("EFSkipIPs goes with EFSkipLastIP $false alone")
		case is("TreatMessagesAsInternal") && (text("ConnectorType") != "OnPremises" || is("CloudServicesMailEnabled")):
			return fmt.Errorf("TreatMessagesAsInternal goes with OnPremises, and not with CloudServicesMailEnabled")
		case text("TlsSenderCertificateName") == "" && text("SenderIPAddresses") == "":
			return fmt.Errorf("by neither certificate nor address it knows nobody")
		}
		for _, address := range powershell.List(o.Get("SenderIPAddresses")) {
			if !isNarrow(powershell.Text(address)) {
				return fmt.Errorf("SenderIPAddresses has %v", address)
			}
		}
		return oneOf("ConnectorType", "OnPremises", "Partner")
	case "OutboundConnector":
		special := is("AllAcceptedDomains") || is("RouteAllMessagesViaOnPremises") || is("SenderRewritingEnabled")
		switch {
		case !is("UseMXRecord") && text("SmartHosts") == "":
			return fmt.Errorf("UseMXRecord $false wants SmartHosts")
		case special && text("ConnectorType") != "OnPremises":
			return fmt.Errorf("what is set is for OnPremises alone")
		case (text("TlsDomain") != "") != (text("TlsSettings") == "DomainValidation"):
			return fmt.Errorf("TlsDomain goes with DomainValidation")
		case text("RecipientDomains") == "" && !is("IsTransportRuleScoped"):
			return fmt.Errorf("it takes nothing")
		}
		return oneOf("TlsSettings", "", "EncryptionOnly", "CertificateValidation", "DomainValidation")
	case "TransportRule":
		return e.ruleFits(o, text, oneOf)
	case "JournalRule":
		if ndr := powershell.Text(e.objects["transportconfig"][0].Get("JournalingReportNdrTo")); ndr == "" || ndr == "<>" {
			return fmt.Errorf("nobody gets undeliverable journal reports")
		}
		return oneOf("Scope", "Global", "Internal", "External")
	case "Mailbox":
		if text("ForwardingSmtpAddress") != "" && !is("DeliverToMailboxAndForward") {
			return fmt.Errorf("mail would be forwarded without a copy")
		}
	case "AcceptedDomain":
		return oneOf("DomainType", "Authoritative", "InternalRelay")
	}
	return nil
}

// headerPairs are the settings of a rule of which neither goes without the other.
var headerPairs = [][2]string{
	{"SetHeaderName", "SetHeaderValue"}, {"HeaderContainsMessageHeader", "HeaderContainsWords"},
	{"HeaderMatchesMessageHeader", "HeaderMatchesPatterns"}, {"ExceptIfHeaderMatchesMessageHeader", "ExceptIfHeaderMatchesPatterns"},
}

func (e *exchange) ruleFits(o object, text func(string) string, oneOf func(string, ...string) error) error {
	size := 0
	for _, name := range o.Names() {
		size += len(name) + len(text(name))
		for _, one := range powershell.List(o.Get(name)) {
			if strings.HasSuffix(name, "Patterns") && len(powershell.Text(one)) > 128 {
				return fmt.Errorf("%s is longer than 128 characters", name)
			}
		}
	}
	if size > 8192 {
		return fmt.Errorf("The rule cannot be created because it is too large")
	}
	for _, pair := range headerPairs {
		if (text(pair[0]) == "") != (text(pair[1]) == "") {
			return fmt.Errorf("%s and %s go together", pair[0], pair[1])
		}
	}
	if name := text("RouteMessageOutboundConnector"); name != "" {
		connector, _ := e.find("OutboundConnector", name)
		if connector == nil || powershell.Text(connector.Get("IsTransportRuleScoped")) != "True" {
			return fmt.Errorf("%q is no connector for rules", name)
		}
	}
	if err := oneOf("SetSCL", "", "-1", "0", "1", "2", "3", "4", "5", "6", "7", "8", "9"); err != nil {
		return err
	}
	if err := oneOf("SentToScope", "", "InOrganization", "NotInOrganization"); err != nil {
		return err
	}
	return oneOf("Mode", "", "Enforce", "Audit", "AuditAndNotify")
}

// isNarrow reports an IPv4 address, or a network of them that is no wider than /24.
func isNarrow(text string) bool {
	if address, err := netip.ParseAddr(text); err == nil {
		return address.Is4()
	}
	network, err := netip.ParsePrefix(text)
	return err == nil && network.Addr().Is4() && network.Bits() >= 24
}

func (e *exchange) remove(kind string, args *powershell.Table) error {
	cmdlet := "Remove-" + kind
	if err := allowed(cmdlet, args, "Identity Confirm"); err != nil {
		return err
	}
	one, at := e.find(kind, powershell.Text(args.Get("Identity")))
	switch {
	case one == nil:
		return fmt.Errorf("%s: there is no %v", cmdlet, args.Get("Identity"))
	case args.Get("Confirm") != false:
		return fmt.Errorf("%s asks for confirmation", cmdlet)
	}
	for _, rule := range e.objects["transportrule"] {
		switch {
		case kind == "OutboundConnector" && powershell.Text(rule.Get("RouteMessageOutboundConnector")) == one.Get("Name"):
			return fmt.Errorf("%s: the rule %v leads to it", cmdlet, rule.Get("Name"))
		case kind == "TransportRule" && rule.Get("Priority").(int) > one.Get("Priority").(int):
			rule.Set("Priority", rule.Get("Priority").(int)-1)
		}
	}
	e.objects[strings.ToLower(kind)] = slices.Delete(e.objects[strings.ToLower(kind)], at, at+1)
	e.changes = append(e.changes, fmt.Sprintf("%s %v", cmdlet, one.Get("Name")))
	return nil
}

func (e *exchange) enable(kind string, args *powershell.Table) error {
	one, _ := e.find(kind, powershell.Text(args.Get("Identity")))
	if one == nil {
		return fmt.Errorf("Enable-%s: there is no %v", kind, args.Get("Identity"))
	}
	e.changes = append(e.changes, fmt.Sprintf("Enable-%s %v", kind, one.Get("Name")))
	if kind == "TransportRule" {
		one.Set("State", "Enabled")
	} else {
		one.Set("Enabled", true)
	}
	return nil
}

func (e *exchange) validate(args *powershell.Table) ([]any, error) {
	if err := allowed("Validate-OutboundConnector", args, "Identity Recipients"); err != nil {
		return nil, err
	}
	e.validated = append(e.validated, powershell.Text(args.Get("Recipients")))
	if one, _ := e.find("OutboundConnector", powershell.Text(args.Get("Identity"))); one == nil {
		return nil, fmt.Errorf("Validate-OutboundConnector: there is no %v", args.Get("Identity"))
	}
	return []any{powershell.NewTable("IsTaskSuccessful", true)}, nil
}

// state is all that the tenant has, object by object, without those whose names begin so.
func (e *exchange) state(without string) []string {
	var list []string
	for kind, objects := range e.objects {
		for _, one := range objects {
			if without != "" && strings.HasPrefix(powershell.Text(one.Get("Name")), without) {
				continue
			}
			text := kind
			for _, name := range slices.Sorted(slices.Values(one.Names())) {
				text += fmt.Sprintf(" %s=%v", name, one.Get(name))
			}
			list = append(list, text)
		}
	}
	slices.Sort(list)
	return list
}
