package setup

import (
	"slices"
	"strings"

	"coexistd/cmd/coexistd/postconf"
)

// retirePostfix says what to take back, in the order in which it is done.
func retirePostfix(s *Site) (Guide, error) {
	g, err := newPostfixSide(s)
	if err != nil {
		return Guide{}, err
	}
	// Postfix's programs may read main.cf at any moment: who may send goes first, and the milter, which guards
	// against others, last.
	for _, chapter := range []func(){g.retireRelaying, g.retireDomains, g.retireOutbound, g.retireTables, g.retireServices, g.retireMilters, g.activate} {
		chapter()
	}
	return Guide{
		Intro: g.stillSplit() + "Postfix without coexistd. First see that all mailboxes are here, or all are at the platform and the MX points there, that nothing is held " +
			"(coexistd quarantine list), and that a map of your own knows all users: without the lookup recipients, Postfix refuses whom its own tables do not know.\n" +
			"Run it as root: coexistd setup postfix --retire | sh -e. Then stop coexistd. Domains that have their mailboxes here, mynetworks, recipient_delimiter, TLS, the refusal of NUL and of mail for other domains, and services for submission and releases stay as they are.",
		Steps: g.steps, comment: "# ",
	}, g.err
}

// isOurs reports a table that is one of our lookups.
func (g *postfixSide) isOurs(table string) bool { return g.p.IsAnyOfOurs(table, g.Conf.Lookups) }

// retireDomains has Postfix take no mail for domains whose mailboxes are all elsewhere: it would look for them here
// once it asks us no more.
func (g *postfixSide) retireDomains() {
	var lines, byHand []string
	left := g.left()
	for _, class := range postconf.Classes {
		list := postconf.List(g.p.Raw[class.Domains])
		others := slices.DeleteFunc(slices.Clone(list), func(one string) bool { return slices.Contains(left, strings.ToLower(one)) })
		if len(others) < len(list) {
			lines = append(lines, "postconf -e "+quote(class.Domains+" = "+joined(others...)))
		}
		for _, domain := range left {
			isListed := slices.ContainsFunc(list, func(one string) bool { return strings.EqualFold(one, domain) })
			if g.Classes[domain] == class && !isListed {
				byHand = append(byHand, domain+" ("+class.Domains+" = "+g.p.Raw[class.Domains]+")")
			}
		}
	}
	text := leftText
	if len(byHand) > 0 {
		text += " It stands not by its name in main.cf, and is taken out by hand, before all else: " + strings.Join(byHand, ", ") + "."
	}
	if len(lines)+len(byHand) > 0 {
		g.steps = append(g.steps, Step{Title: "Take no more mail for " + strings.Join(left, ", "), Text: text, Code: strings.Join(lines, "\n")})
	}
}

// retireOutbound has mail for the Internet leave from here again.
func (g *postfixSide) retireOutbound() {
	if host, platform := g.outboundHost(); host != "" && g.p.Main["relayhost"] == host {
		g.add("Send mail for the Internet through "+platform.Name+" no more", "Where a smart host took it before, set relayhost to that. Otherwise this host's addresses must be in the SPF records of your domains by now.", "postconf -X 'relayhost'")
	}
}

// usualLocal is what local_recipient_maps has where main.cf does not say.
const usualLocal = "proxy:unix:passwd.byname $alias_maps"

// without returns the command that leaves of a list in main.cf what is not ours; none where that is all of
// it. What is Postfix's default then, main.cf need not say.
func (g *postfixSide) without(setting string, list, left []string) []string {
	switch {
	case slices.Equal(left, list):
		return nil
	case len(left) == 0, setting == "local_recipient_maps" && slices.Equal(left, postconf.List(usualLocal)):
		return []string{"postconf -X " + quote(setting)}
	}
	return []string{"postconf -e " + quote(setting+" = "+strings.Join(left, ", "))}
}

func (g *postfixSide) retireServices() {
	var lines []string
	own, _ := postconf.Unspaced(joined(g.p.WithoutOurs(postconf.List(g.p.Raw["virtual_mailbox_maps"]), g.Conf.Lookups)...))
	for _, s := range g.p.Services {
		if s.Own["cleanup_service_name"] == cleanup {
			lines = append(lines, "postconf -PX "+quote(s.Name+"/"+s.Kind+"/cleanup_service_name"))
		}
		if s.Program == "virtual" && own != "" && s.Own["virtual_mailbox_maps"] == own {
			lines = append(lines, "postconf -PX "+quote(s.Name+"/"+s.Kind+"/virtual_mailbox_maps"))
		}
	}
	for _, s := range g.p.Services {
		if s.Name == cleanup || s.Name == postconf.RelayService {
			lines = append(lines, "postconf -MX "+quote(s.Name+"/"+s.Kind))
		}
	}
	if len(lines) > 0 {
		g.restart = true
	}
	g.add("Take its services away", "", lines...)
}

func (g *postfixSide) retireTables() {
	var lines []string
	for _, setting := range []string{"transport_maps", "virtual_alias_maps", "virtual_mailbox_maps", "local_recipient_maps", "relay_recipient_maps", "smtp_tls_policy_maps"} {
		list := postconf.List(g.p.Raw[setting])
		lines = append(lines, g.without(setting, list, g.p.WithoutOurs(list, g.Conf.Lookups))...)
	}
	g.add("Ask coexistd no more", "", lines...)
}
