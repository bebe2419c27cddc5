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
	g.retireMilters()
	g.retireServices()
	g.retireTables()
	g.retireOutbound()
	g.activate()
	return Guide{
		Intro: "Postfix without coexistd. First see that all mailboxes are here, or all are at the platform and the MX points there, that nothing is held " +
			"(coexistd quarantine list), and that a map of your own knows all users: without the lookup recipients, Postfix refuses whom its own tables do not know.\n" +
			"Run it as root: coexistd setup postfix --retire | sh -e. Then stop coexistd. Domains, TLS, the refusal of NUL, and services for submission and releases stay as they are.",
		Steps: g.steps, comment: "# ",
	}, nil
}

// isOurs reports a table that is one of our lookups.
func (g *postfixSide) isOurs(table string) bool { return g.p.IsAnyOfOurs(table, g.Conf.Lookups) }

// retireOutbound has mail for the Internet leave from here again.
func (g *postfixSide) retireOutbound() {
	if host, platform := g.outboundHost(); host != "" && g.p.Main["relayhost"] == host {
		g.add("Send mail for the Internet through "+platform.Name+" no more", "This host's addresses must be in the SPF records of your domains by now.", "postconf -X 'relayhost'")
	}
}

// without returns the command that takes what is ours out of a list in main.cf; none where there
// is nothing.
func (g *postfixSide) without(setting string, list []string, isOurs func(one string) bool) []string {
	left := slices.DeleteFunc(slices.Clone(list), isOurs)
	switch {
	case len(left) == len(list):
		return nil
	case len(left) == 0:
		return []string{"postconf -X " + quote(setting)}
	}
	return []string{"postconf -e " + quote(setting+" = "+strings.Join(left, ", "))}
}

func (g *postfixSide) retireMilters() {
	isOurs := func(one string) bool { return g.leadsToUs(one) }
	lines := g.without("smtpd_milters", postconf.List(g.p.Raw["smtpd_milters"]), isOurs)
	if g.p.Raw["non_smtpd_milters"] != "$smtpd_milters" {
		lines = append(lines, g.without("non_smtpd_milters", postconf.List(g.p.Raw["non_smtpd_milters"]), isOurs)...)
	} else if len(lines) > 0 && !g.others("smtpd_milters") {
		lines = append(lines, "postconf -X 'non_smtpd_milters'")
	}
	if len(lines) > 0 && !g.others("smtpd_milters") && g.p.IsWritten("milter_default_action") {
		lines = append(lines, "postconf -X 'milter_default_action'")
	}
	for _, s := range g.p.Running("smtpd") {
		if own := s.Own["smtpd_milters"]; g.leadsToUs(own) {
			left := slices.DeleteFunc(postconf.List(own), isOurs)
			if key := s.Name + "/" + s.Kind + "/smtpd_milters"; len(left) == 0 {
				lines = append(lines, "postconf -PX "+quote(key))
			} else {
				lines = append(lines, "postconf -P "+quote(key+"="+strings.Join(left, ", ")))
			}
		}
	}
	g.add("Give coexistd no more messages", "", lines...)
}

func (g *postfixSide) retireServices() {
	var lines []string
	own := strings.Join(slices.DeleteFunc(postconf.List(g.p.Raw["virtual_mailbox_maps"]), g.isOurs), ", ")
	for _, s := range g.p.Services {
		if s.Own["cleanup_service_name"] == cleanup {
			lines = append(lines, "postconf -PX "+quote(s.Name+"/"+s.Kind+"/cleanup_service_name"))
		}
		if s.Program == "virtual" && own != "" && s.Own["virtual_mailbox_maps"] == own {
			lines = append(lines, "postconf -PX "+quote(s.Name+"/"+s.Kind+"/virtual_mailbox_maps"))
		}
	}
	for _, s := range g.p.Services {
		if s.Name == cleanup {
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
	for _, setting := range []string{"transport_maps", "virtual_alias_maps", "virtual_mailbox_maps", "local_recipient_maps", "relay_recipient_maps"} {
		lines = append(lines, g.without(setting, postconf.List(g.p.Raw[setting]), g.isOurs)...)
	}
	for _, setting := range []string{"smtpd_relay_restrictions", "smtpd_recipient_restrictions"} {
		list := postconf.List(g.p.Raw[setting])
		if at := slices.IndexFunc(list, g.isOurs); at > 0 && list[at-1] == "check_client_access" {
			lines = append(lines, "postconf -e "+quote(setting+" = "+strings.Join(slices.Delete(list, at-1, at+1), ", ")))
		}
	}
	g.add("Ask coexistd no more", "", lines...)
}
