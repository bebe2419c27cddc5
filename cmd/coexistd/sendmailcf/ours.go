package sendmailcf

import (
	"maps"
	"net"
	"net/netip"
	"slices"
	"strings"

	"coexistd/policy/config"
	"coexistd/policy/config/sockets"
	"coexistd/policy/route"
	"coexistd/policy/verdict"
)

// What coexistd.m4 has where sendmail.mc does not say otherwise: the addresses of the milter and the
// lookups, and how long Sendmail waits for the milter.
const (
	UsualMilter = "inet:8701@127.0.0.1"
	UsualLookup = "inet:8702@127.0.0.1"
	UsualTimes  = "C:30s;S:30s;R:1m;E:5m"
)

// LacksRelays returns the ports of the relays of [[route]] for which there is no mailer: see
// coexistd.m4.
func (s *Settings) LacksRelays(routes *route.Rules) []string {
	return slices.DeleteFunc(routes.RelayPorts(), func(port string) bool {
		_, has := s.Mailers["coexistd"+port]
		return has
	})
}

// Socket reads a socket's address as Sendmail writes it, such as inet:8701@127.0.0.1, as
// config.ListenedAt takes it.
func Socket(text string) (kind, address string) {
	kind, rest, is := strings.Cut(text, ":")
	switch {
	case !is, kind == "":
		return "unix", text
	case kind == "unix", kind == "local":
		return "unix", rest
	}
	port, host, _ := strings.Cut(rest, "@")
	return "inet", net.JoinHostPort(strings.Trim(host, "[]"), port)
}

// Written is an address of ours as Sendmail writes it.
func Written(ours string) string {
	network, address, err := sockets.Parse(ours)
	if err != nil || network == "unix" {
		return "unix:" + address
	}
	host, port, _ := net.SplitHostPort(address)
	ip, err := netip.ParseAddr(host)
	switch {
	case err != nil:
		return "inet:" + port + "@" + host
	case ip.IsUnspecified() && ip.Is6():
		return "inet6:" + port + "@::1"
	case ip.IsUnspecified():
		return "inet:" + port + "@127.0.0.1"
	case ip.Is6():
		return "inet6:" + port + "@" + host
	}
	return "inet:" + port + "@" + host
}

// DomainsAsked are those of whose addresses Sendmail must ask: the shared ones, and alternate domains
// with a relay.
func DomainsAsked(conf *config.Config) []string {
	var list []string
	for _, domain := range Shared(conf) {
		list = append(list, domain.Name)
	}
	for _, domain := range conf.Rules.Routes.Alternates() {
		if conf.Rules.Routes.AlternateOf(domain).Relay != "" {
			list = append(list, domain)
		}
	}
	return list
}

// Shared are our domains as far as mail for them may go elsewhere or be refused, by their names.
func Shared(conf *config.Config) (list []*route.Domain) {
	routes := &conf.Rules.Routes
	for _, name := range slices.Sorted(maps.Keys(routes.Domains)) {
		if one := routes.Domains[name]; len(one.Alternates)+len(one.Platforms)+len(one.SameAs) > 0 || one.Unlisted.Kind != route.Here || conf.HasDirectory(name) {
			list = append(list, one)
		}
	}
	return list
}

// ListenerFor is the address, as Sendmail writes it, of a listener of ours where all mail is that of
// our users, or of one that takes all mail. A listener for all does for users, too.
func ListenerFor(conf *config.Config, users bool) string {
	all := ""
	for _, l := range conf.Listeners {
		switch isForUsers := l.Checkpoint == verdict.S2; {
		case isForUsers && users:
			return Written(l.Address)
		case !isForUsers && all == "":
			all = Written(l.Address)
		}
	}
	return all
}

// LeadsTo reports a filter that leads to one of our listeners.
func (f Filter) LeadsTo(listeners []config.Listener) bool {
	kind, address := Socket(f.Address)
	return config.ListenedAt(kind, address, listeners)
}

// LeadsTo reports a map that asks one of our lookups.
func (m Map) LeadsTo(lookups []config.Listener) bool {
	kind, address := Socket(m.Address)
	return config.ListenedAt(kind, address, lookups)
}

// IsForUsers reports a filter that leads to a listener of ours where all mail is that of our users:
// whoever is not known there gets 530.
func (f Filter) IsForUsers(listeners []config.Listener) bool {
	kind, address := Socket(f.Address)
	return slices.ContainsFunc(listeners, func(l config.Listener) bool {
		return l.Checkpoint == verdict.S2 && config.ListenedAt(kind, address, []config.Listener{l})
	})
}
