package setup

import (
	"fmt"
	"net"
	"slices"
	"strings"

	"coexistd/cmd/coexistd/postconf"
)

// cleanup is the service that cleans up what has passed the milter, where mailboxes are at both
// sides.
const cleanup = "cleanup-milter"

// chroots has Postfix's programs see our Unix sockets, and use them.
func (g *postfixSide) chroots() {
	if !g.hasUnixSockets() {
		return
	}
	var lines []string
	for _, s := range g.p.Services {
		if s.Chroot && slices.Contains([]string{"smtpd", "cleanup", "trivial-rewrite", "pickup"}, s.Program) {
			lines = append(lines, "postconf -F "+quote(s.Name+"/"+s.Kind+"/chroot=n"))
		}
	}
	if len(lines) == 0 {
		return
	}
	g.restart = true
	if g.User != "" {
		lines = append(lines, fmt.Sprintf("usermod -aG %s %s", g.User, g.p.Main["mail_owner"]))
	}
	g.add("Let Postfix reach coexistd's Unix sockets", "", lines...)
}

func (g *postfixSide) hasUnixSockets() bool {
	for _, l := range slices.Concat(g.Conf.Listeners, g.Conf.Lookups) {
		if strings.HasPrefix(l.Address, "unix:") {
			return true
		}
	}
	return false
}

// chroot is the column of master.cf for a further service that speaks with us.
func (g *postfixSide) chroot(program string) string {
	for _, s := range g.p.Running(program) {
		if s.Chroot && !g.hasUnixSockets() {
			return "y"
		}
	}
	return "n"
}

// filtered are the services that take mail which the milter sees: each smtpd, save those that
// take mail back from a content filter.
func (g *postfixSide) filtered() []*postconf.Service {
	return slices.DeleteFunc(g.p.Running("smtpd"), func(s *postconf.Service) bool {
		return slices.Contains(postconf.List(g.p.Value(s, "receive_override_options")), "no_milters")
	})
}

// dual has what has passed the milter cleaned up without dual delivery, which the milter has
// seen to.
func (g *postfixSide) dual() {
	if !g.Both {
		return
	}
	var lines []string
	maps := g.ownMembers()
	at := slices.IndexFunc(g.p.Services, func(s *postconf.Service) bool { return s.Name == cleanup && s.Kind == "unix" })
	if at < 0 {
		line := fmt.Sprintf("%s unix n - %s - 0 cleanup", cleanup, g.chroot("cleanup"))
		lines = append(lines, "postconf -M "+quote(cleanup+"/unix="+line))
		g.p.Services = append(g.p.Services, &postconf.Service{Name: cleanup, Kind: "unix", Program: "cleanup", Own: map[string]string{}})
		at = len(g.p.Services) - 1
	}
	lines = append(lines, g.option(g.p.Services[at], pair{"virtual_alias_maps", maps})...)
	for _, s := range append(g.filtered(), g.p.Running("pickup")...) {
		lines = append(lines, g.option(s, pair{"cleanup_service_name", cleanup})...)
	}
	if len(lines) > 0 {
		g.restart = true
	}
	g.add("Send no second copy to those whose mailbox is at both sides",
		"The milter adds their second address; the lookup aliases would add it once more.", lines...)
}

// ownMembers is virtual_alias_maps as it will be, with the map members in the place of aliases.
// An option of master.cf has no spaces.
func (g *postfixSide) ownMembers() string {
	tables := slices.DeleteFunc(postconf.List(g.p.Main["virtual_alias_maps"]), func(table string) bool { return g.p.IsAnyOfOurs(table, g.Conf.Lookups) })
	if slices.ContainsFunc(tables, func(table string) bool { return !postconf.IsListable(table) }) {
		return strings.Join(append([]string{g.lookup("members")}, tables...), ",")
	}
	return strings.Join(append(tables, g.lookup("members")), ",")
}

// submission has what only those who are logged in may use ask the listener for our users.
func (g *postfixSide) submission() {
	_, users := g.listeners()
	if users == nil {
		return
	}
	var lines []string
	found := false
	for _, s := range g.filtered() {
		if s.Own["smtpd_sasl_auth_enable"] != "yes" {
			continue
		}
		found = true
		if !g.leadsToUs(s.Own["smtpd_milters"]) {
			lines = append(lines, g.option(s, pair{"smtpd_milters", joined(users.Address, s.Own["smtpd_milters"])})...)
		}
	}
	if !found {
		lines = g.newSubmission(users.Address)
		g.restart = true
	}
	g.add("Let users who log in come by a listener of their own", "Passwords are checked by Dovecot here: contrib/postfix has the lines for it.", lines...)
}

// newSubmission makes the service for port 587, as there is none.
func (g *postfixSide) newSubmission(milter string) []string {
	s := &postconf.Service{Name: "submission", Kind: "inet", Program: "smtpd", Own: map[string]string{}}
	options := []pair{
		{"smtpd_tls_security_level", "encrypt"}, {"smtpd_sasl_auth_enable", "yes"}, {"smtpd_sasl_type", "dovecot"},
		{"smtpd_sasl_path", "private/auth"}, {"smtpd_milters", milter},
	}
	if g.Both {
		options = append(options, pair{"cleanup_service_name", cleanup})
	}
	line := fmt.Sprintf("submission inet n - %s - - smtpd", g.chroot("smtpd"))
	return append([]string{"postconf -M " + quote("submission/inet="+line)}, g.option(s, options...)...)
}

// releases makes the service that takes what is released from quarantine, where it has a port of
// its own.
func (g *postfixSide) releases() {
	_, port, err := net.SplitHostPort(g.Conf.Quarantine.SMTP)
	if err != nil || port == "25" {
		return
	}
	if slices.ContainsFunc(g.p.Running("smtpd"), func(s *postconf.Service) bool { return s.Name == port || strings.HasSuffix(s.Name, ":"+port) }) {
		return
	}
	name := g.Conf.Quarantine.SMTP
	s := &postconf.Service{Name: name, Kind: "inet", Program: "smtpd", Own: map[string]string{}}
	options := []pair{{"local_header_rewrite_clients", ""}}
	if g.Both {
		options = append(options, pair{"cleanup_service_name", cleanup})
	}
	g.restart = true
	line := fmt.Sprintf("%s inet n - %s - - smtpd", name, g.chroot("smtpd"))
	g.add("Take what is released from quarantine", "", append([]string{"postconf -M " + quote(name+"/inet="+line)}, g.option(s, options...)...)...)
}

// milters gives coexistd every message.
func (g *postfixSide) milters() {
	general, users := g.listeners()
	if general == nil {
		general = users
	}
	if general == nil {
		general = &g.Conf.Listeners[0]
	}
	ours := general.Address
	// Before 3.0 Postfix knows one action for all milters.
	others := g.others("smtpd_milters") && g.p.IsFrom(3)
	var wanted []pair
	if others {
		ours = "{ " + ours + ", default_action=tempfail }"
	} else {
		wanted = append(wanted, pair{"milter_default_action", "tempfail"})
	}
	if !g.leadsToUs(g.p.Main["smtpd_milters"]) {
		wanted = append(wanted, pair{"smtpd_milters", joined(ours, g.p.Raw["smtpd_milters"])})
	}
	// What refers to smtpd_milters has us with them.
	if raw := g.p.Raw["non_smtpd_milters"]; !g.leadsToUs(g.p.Main["non_smtpd_milters"]) && !strings.Contains(raw, "$smtpd_milters") && !strings.Contains(raw, "${smtpd_milters}") {
		value := "$smtpd_milters"
		if others || g.p.Main["non_smtpd_milters"] != "" {
			value = joined(ours, g.p.Raw["non_smtpd_milters"])
		}
		wanted = append(wanted, pair{"non_smtpd_milters", value})
	}
	wanted = append(wanted, pair{"milter_protocol", "6"})
	if g.p.Main["message_strip_characters"] == "" {
		wanted = append(wanted, pair{"message_reject_characters", `\0`})
	}
	lines := g.set(wanted...)
	for _, s := range g.filtered() {
		if own, has := s.Own["smtpd_milters"]; has && !g.leadsToUs(own) && s.Own["smtpd_sasl_auth_enable"] != "yes" {
			lines = append(lines, g.option(s, pair{"smtpd_milters", joined(ours, own)})...)
		}
	}
	g.add("Give coexistd every message", "While it is away, clients are told to try again: nothing passes by.", lines...)
}

// leadsToUs reports that a list of milters has one of our listeners.
func (g *postfixSide) leadsToUs(milters string) bool {
	return slices.ContainsFunc(postconf.Milters(milters), func(m postconf.Milter) bool { return g.p.LeadsTo(m.Address, g.Conf.Listeners) })
}

// others reports that a list of milters has further ones.
func (g *postfixSide) others(setting string) bool {
	return slices.ContainsFunc(postconf.Milters(g.p.Main[setting]), func(m postconf.Milter) bool { return !g.p.LeadsTo(m.Address, g.Conf.Listeners) })
}

// activate has Postfix take the changes.
func (g *postfixSide) activate() {
	if !slices.ContainsFunc(g.steps, func(s Step) bool { return s.Code != "" }) {
		return
	}
	lines := []string{"postfix check", "postfix reload"}
	if g.restart {
		lines[1] = "systemctl restart postfix"
	}
	g.add("Have Postfix take the changes", "", lines...)
}
