package setup

import (
	"fmt"
	"slices"
	"strings"

	"coexistd/cmd/coexistd/account"
	"coexistd/cmd/coexistd/postconf"
	"coexistd/policy/config"
)

// cleanup is the service that cleans up what has passed the milter, where mailboxes are at both
// sides.
const cleanup = "cleanup-milter"

// sockets has Postfix's programs see our Unix sockets, and use them.
func (g *postfixSide) sockets() {
	if !g.hasUnixSockets() {
		return
	}
	var lines []string
	for _, s := range g.p.Services {
		if s.Chroot && slices.Contains([]string{"smtpd", "cleanup", "trivial-rewrite", "pickup"}, s.Program) {
			lines = append(lines, "postconf -F "+quote(s.Name+"/"+s.Kind+"/chroot=n"))
		}
	}
	if g.User != "" && g.lacksRights() {
		lines = append(lines, fmt.Sprintf("usermod -aG %s %s", g.User, g.p.Main["mail_owner"]))
	}
	if len(lines) == 0 {
		return
	}
	g.restart = true
	g.add("Let Postfix reach coexistd's Unix sockets", "", lines...)
}

// lacksRights reports a Unix socket of ours that Postfix's user may not use, as far as can be told.
func (g *postfixSide) lacksRights() bool {
	owner, err := account.Named(g.p.Main["mail_owner"])
	if err != nil || owner.IsRoot() {
		return false
	}
	return slices.ContainsFunc(slices.Concat(g.Conf.Listeners, g.Conf.Lookups), func(l config.Listener) bool {
		path, is := strings.CutPrefix(l.Address, "unix:")
		if !is {
			return false
		}
		barring, err := owner.BarredFrom(path, account.Writing)
		return err != nil || barring != ""
	})
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

// dual has what has passed the milter cleaned up without dual delivery, which the milter has
// seen to.
func (g *postfixSide) dual() {
	if len(g.BothAt) == 0 {
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
	// What a content filter hands back has passed the milter, too.
	for _, s := range append(g.p.Running("smtpd"), g.p.Running("pickup")...) {
		lines = append(lines, g.option(s, pair{"cleanup_service_name", cleanup})...)
	}
	if len(lines) > 0 {
		g.restart = true
	}
	g.add("Send no second copy to those whose mailbox is at both sides",
		"The milter adds their second address; the lookup aliases would add it once more.", lines...)
}

// ownMembers is virtual_alias_maps as it will be, with the map members in the place of aliases.
func (g *postfixSide) ownMembers() string {
	tables := g.p.WithoutOurs(postconf.List(g.p.Main["virtual_alias_maps"]), g.Conf.Lookups)
	if slices.ContainsFunc(tables, func(table string) bool { return !postconf.IsListable(table) }) {
		return joined(append([]string{g.lookup("members")}, tables...)...)
	}
	return joined(append(tables, g.lookup("members"))...)
}

// newSubmission makes the service for port 587, as there is none.
func (g *postfixSide) newSubmission(milters string) []string {
	s := &postconf.Service{Name: "submission", Kind: "inet", Program: "smtpd", Own: map[string]string{}}
	options := []pair{
		{"smtpd_tls_security_level", "encrypt"}, {"smtpd_sasl_auth_enable", "yes"}, {"smtpd_sasl_type", "dovecot"},
		{"smtpd_sasl_path", "private/auth"}, {"smtpd_milters", milters},
	}
	if len(g.BothAt) > 0 {
		options = append(options, pair{"cleanup_service_name", cleanup})
	}
	line := fmt.Sprintf("submission inet n - %s - - smtpd", g.chroot("smtpd"))
	return append([]string{"postconf -M " + quote("submission/inet="+line)}, g.option(s, options...)...)
}

// isServed reports a port at which a service listens.
func (g *postfixSide) isServed(port string) bool {
	return slices.ContainsFunc(g.p.Services, func(s *postconf.Service) bool { return s.Port() == port })
}

// releases makes the service that takes what is released from quarantine, where it has a port of
// its own.
func (g *postfixSide) releases() {
	name := g.Conf.Quarantine.SMTP
	s := &postconf.Service{Name: name, Kind: "inet", Program: "smtpd", Own: map[string]string{}}
	usual := []string{postconf.SMTPPort, postconf.SubmissionPort, postconf.SubmissionsPort}
	// Another host's port is served there, and the usual ones are for all.
	if !postconf.IsOnLoopback(name) || slices.Contains(usual, s.Port()) || g.isServed(s.Port()) {
		return
	}
	options := []pair{{"local_header_rewrite_clients", ""}}
	if len(g.BothAt) > 0 {
		options = append(options, pair{"cleanup_service_name", cleanup})
	}
	g.restart = true
	line := fmt.Sprintf("%s inet n - %s - - smtpd", name, g.chroot("smtpd"))
	g.add("Take what is released from quarantine", "", append([]string{"postconf -M " + quote(name+"/inet="+line)}, g.option(s, options...)...)...)
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
