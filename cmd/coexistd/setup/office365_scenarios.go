package setup

import (
	"fmt"
	"strings"
)

// scenarios are the steps that belong to one way of splitting a domain.
func (t *tenant) scenarios() (steps []Step) {
	if t.mxHere {
		steps = append(steps, t.mxIsHere())
	}
	if t.mxThere {
		steps = append(steps, t.mxIsThere())
	}
	if !t.platform.MayRelay {
		steps = append(steps, t.centralized())
	}
	if t.site.Conf.Rules.Routes.Outbound == t.platform.Name {
		steps = append(steps, t.allOut())
	}
	if others := t.others(); len(others) > 0 {
		steps = append(steps, t.twoPlatforms(others))
	}
	return append(steps, t.last())
}

// with are the domains of the tenant whose MX is that platform's; "" is here.
func (t *tenant) with(mx string) string {
	var names []string
	for _, name := range t.domains {
		if t.site.Conf.Rules.Routes.Domains[name].MX == mx {
			names = append(names, name)
		}
	}
	return strings.Join(names, " and ")
}

func (t *tenant) mxIsHere() Step {
	return Step{
		Title: "Mail from the Internet comes here first",
		Needs: mailboxLicence,
		Text:  fmt.Sprintf("So it is for %s. Nothing more is set: what is for a mailbox over there goes on by the inbound connector. What strangers bring to the tenant past this side is filtered there alone.", t.with("")),
	}
}

func (t *tenant) mxIsThere() Step {
	return Step{
		Title: "Mail from the Internet comes there first",
		Needs: mailboxLicence,
		Text:  fmt.Sprintf("So it is for %s. Nothing more is set: what is for a mailbox here goes on by the outbound connector, with the proof. It was filtered over there; what was found to be spam comes all the same, says so (X-Forefront-Antispam-Report), and is tagged here. With `past_mx = \"reject\"` of the domain, this side refuses what strangers bring to it past the MX.", t.with(t.platform.Name)),
	}
}

// centralized has all mail for the Internet leave through here, or no longer.
func (t *tenant) centralized() Step {
	if !t.platform.MayRelay {
		return Step{
			Title: "Mail for the Internet leaves from there",
			Needs: mailboxLicence,
			Text:  fmt.Sprintf("[platform.%s] has no may_relay: what sends such mail through here is removed, if it was set up once.", t.platform.Name),
			Code:  remove("TransportRule", outByHere) + remove("OutboundConnector", outByHere),
		}
	}
	way := wanted{kind: "OutboundConnector", by: "Name", name: outByHere, made: table{}, settings: toUs(
		entry{"IsTransportRuleScoped", true}, entry{"SenderRewritingEnabled", true}, entry{"RouteAllMessagesViaOnPremises", false},
	)}
	return Step{
		Title: "Centralized transport: all mail for the Internet through here",
		Needs: ruleLicence,
		Text: "Mail of users over there for the Internet leaves through this side (may_relay). Messages that they forward get a sender of our own (SenderRewritingEnabled), so that SPF holds where they arrive. Microsoft advises against centralized transport by servers that are not Exchange: what such a server sends back would be filtered as if this side had written it.\n" +
			"One rule adds the proof and names the way, so that neither is without the other: by a connector for all domains alone, Exchange Online sends what has come from here, and is forwarded, straight to the Internet, and the proof with it. coexistd takes the proof out. What no rule touches, such as journal reports, leaves from there: SPF names Exchange Online, too.\n" +
			"RouteAllMessagesViaOnPremises, which the Hybrid Configuration Wizard sets for this, stays off: by it, what comes from the Internet for a mailbox over there would go round by here, too, and what Exchange Online has filtered would be filtered again, as from Exchange Online itself.",
		Code: way.set() + fmt.Sprintf("if (-not (Test-Seen OutboundConnector %s)) { throw 'run this again in some minutes' }\n", quoted(outByHere)) + t.outRule(),
	}
}

// outRule is the code for the rule that has mail for the Internet leave through here.
func (t *tenant) outRule() string {
	settings := table{{"SentToScope", "NotInOrganization"}, {"RouteMessageOutboundConnector", outByHere}}
	if t.header != "" {
		return t.secretRule(outByHere, settings...)
	}
	return wanted{kind: "TransportRule", by: "Name", name: outByHere, made: table{{"Priority", 0}, {"Enabled", true}}, settings: append(settings, entry{"Mode", "Enforce"})}.set()
}

// allOut says what Exchange Online asks of mail that leaves through it.
func (t *tenant) allOut() Step {
	return Step{
		Title: "All mail for the Internet through Exchange Online",
		Needs: mailboxLicence + "; no more outside recipients in 24 hours than 500 x licences^0.7 + 9500, for this side's users and those over there together, and 5000 for a trial",
		Text: fmt.Sprintf("The inbound connector above is all that it takes over there. Exchange Online passes on what comes by it when MAIL FROM or the certificate's name is in an accepted domain. With $Tls = 'certificate' that holds for all mail. By addresses it does not for bounces and for mail that users here forward: have those leave from here, or rewrite their senders. Users whose primary address is in onmicrosoft.com reach 100 outside recipients a day (550 5.7.236).\n"+
			"The MTA here has Exchange Online as its relayhost (see `coexistd setup postfix`), without a password: SMTP AUTH ends, and the connector needs none. SPF of %s names spf.protection.outlook.com (see `coexistd setup dns`).", strings.Join(t.domains, " and of ")),
	}
}

// twoPlatforms says how a third platform is reached.
func (t *tenant) twoPlatforms(others []string) Step {
	return Step{
		Title: "Mailboxes at " + strings.Join(others, " and ") + ", too",
		Text:  fmt.Sprintf("Nothing is set for them over there: mail for a mailbox at %[1]s comes here by the connector, as for one that is here, and mail from there arrives over ours. No connector to %[1]s, and no contact that forwards to its alternate domain: what went past here would bear neither a proof nor a trace. See `coexistd setup google` for that side.", strings.Join(others, " or ")),
	}
}

// last says how it is tried.
func (t *tenant) last() Step {
	return Step{
		Title: "Try it",
		Text: "Run this again: each line begins with \"=\". A change takes effect within half an hour or so. Then `coexistd doctor --probe` sends a message through each flow.\n" +
			"Keep the file " + t.record() + ": `coexistd setup office365 --retire` reads what was before from it.",
	}
}
