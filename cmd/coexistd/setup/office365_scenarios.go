package setup

import (
	"fmt"
	"strings"
)

// scenarios are the steps that belong to one way of splitting a domain.
func (t *tenant) scenarios() (steps []Step) {
	if t.platform.MayRelay {
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

// centralized has all mail for the Internet leave through here.
func (t *tenant) centralized() Step {
	text := "Mail of users over there for the Internet leaves through this side (may_relay). Messages that they forward get a sender of our own (SenderRewritingEnabled), so that SPF holds where they arrive. Microsoft advises against centralized transport by servers that are not Exchange: what such a server sends back would be filtered as if this side had written it.\n" +
		"First the connector, then the rule: without the connector the proof would go to the Internet. coexistd takes it out."
	step := Step{
		Title: "Centralized transport: all mail for the Internet through here",
		Needs: mailboxLicence,
		Text:  text,
		Code: wanted{kind: "OutboundConnector", by: "Name", name: outByHere, made: table{}, settings: toUs(
			entry{"RecipientDomains", []string{"*"}}, entry{"SenderRewritingEnabled", true}, entry{"RouteAllMessagesViaOnPremises", true},
		)}.set(),
	}
	if t.header != "" {
		step.Code += t.secretRule(proofOutside, entry{"SentToScope", "NotInOrganization"})
	}
	return step
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
			"Keep " + t.record() + ": `coexistd setup office365 --retire` reads what was before from it.",
	}
}
