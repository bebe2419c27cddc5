package setup

import (
	"fmt"
	"slices"

	"coexistd/cmd/coexistd/postconf"
)

// relays makes the service that takes mail to the relays of [[route]], with the addresses as they
// were written.
func (g *postfixSide) relays() {
	if !g.Conf.Rules.Routes.HasRelays() {
		return
	}
	var lines []string
	at := slices.IndexFunc(g.p.Services, func(s *postconf.Service) bool { return s.Name == postconf.RelayService && s.Kind == "unix" })
	if at < 0 {
		line := fmt.Sprintf("%s unix - - %s - - smtp", postconf.RelayService, g.chroot("smtp"))
		lines = append(lines, "postconf -M "+quote(postconf.RelayService+"/unix="+line))
		g.p.Services = append(g.p.Services, &postconf.Service{Name: postconf.RelayService, Kind: "unix", Program: "smtp", Own: map[string]string{}})
		at = len(g.p.Services) - 1
	}
	lines = append(lines, g.option(g.p.Services[at], pair{"smtp_generic_maps", g.lookup("generic")})...)
	if len(lines) > 0 {
		g.restart = true
	}
	g.add("Take mail to the relays of [[route]]", "The lookup generic gives such mail the addresses back that were written.", lines...)
}
