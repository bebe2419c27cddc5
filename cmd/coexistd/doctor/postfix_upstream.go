package doctor

import (
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"

	"coexistd/cmd/coexistd/postconf"
	"coexistd/policy/networks"
)

// upstreams are the names of those that are configured, sorted.
func (x *examination) upstreams() []string {
	return slices.Sorted(maps.Keys(x.conf.Rules.Upstreams))
}

// lookAtUpstreams sees whether Postfix learns of the gateways' clients where it should, and not
// where we read their Received fields.
func lookAtUpstreams(x *examination) (findings []Finding) {
	for _, name := range x.upstreams() {
		findings = append(findings, x.lookAtUpstream(name))
	}
	return findings
}

func (x *examination) lookAtUpstream(name string) Finding {
	known := x.networks[name].Networks
	told := x.mta.tells(known)
	byMTA := x.conf.Rules.Upstreams[name].ByMTA
	addresses := some(texts(known.Prefixes()))
	receive := fmt.Sprintf("write client = \"received\" into [upstream.%s] of %s where the gateway adds a Received field", name, x.conf.Path)
	switch {
	case known.Len() == 0:
		return warning("the networks of the upstream %s are not known yet, so that mail from unknown clients is put off", name).do("see what is said of networks above")
	case byMTA && told == toldByNobody:
		return failure("the upstream %s tells the MTA of its clients (client), but Postfix hears nothing of the kind from %s: all that comes through it is judged as the gateway's own", name, addresses).
			do("put into main.cf: smtpd_authorized_xclient_hosts = %s, where the gateway speaks XCLIENT, or give smtpd in master.cf the option smtpd_upstream_proxy_protocol = haproxy, where it speaks the PROXY protocol; then run: postfix reload; or %s", strings.Join(texts(known.Prefixes()), ", "), receive)
	case byMTA:
		return fine("Postfix takes from the upstream %s who its clients are, by %s", name, told)
	case told == toldByProxy:
		return failure("all of Postfix's smtpd want the PROXY protocol, which tells who the client is: the upstream %s is not seen, and its Received field not read", name).
			do("write client = \"mta\" into [upstream.%s] of %s, and run: systemctl reload coexistd", name, x.conf.Path)
	case told == toldByXClient:
		return warning("Postfix takes XCLIENT from %s: when the gateway says it, mail no longer counts as that of the upstream %s, whose Received field is to be read", addresses, name).
			do("write client = \"mta\" into [upstream.%s] of %s where the gateway speaks XCLIENT; else take it out of smtpd_authorized_xclient_hosts in main.cf", name, x.conf.Path)
	}
	return fine("Postfix leaves it to us to find the clients of the upstream %s, by their Received fields", name)
}

// telling is how Postfix is told of a gateway's clients, in words.
type telling string

const (
	toldByNobody  telling = ""
	toldByXClient telling = "XCLIENT"
	toldByProxy   telling = "the PROXY protocol"
)

// tells says how Postfix is told of the clients of a gateway with those addresses. What is in tables, or
// named, may be any.
func (p *postfix) tells(gateway networks.Set) telling {
	services := p.Running("smtpd")
	// Services for logins, and those that take mail back from a content filter, have other clients.
	public := slices.DeleteFunc(slices.Clone(services), func(s *postconf.Service) bool {
		return p.Value(s, "smtpd_sasl_auth_enable") == "yes" && s.Port() != postconf.SMTPPort || p.IsReturn(s)
	})
	switch {
	case len(public) > 0 && !slices.ContainsFunc(public, func(s *postconf.Service) bool { return !p.isProxied(s) }):
		return toldByProxy
	case slices.ContainsFunc(services, func(s *postconf.Service) bool { return hasSome(p.Value(s, "smtpd_authorized_xclient_hosts"), gateway) }):
		return toldByXClient
	case slices.ContainsFunc(services, p.isProxied):
		return toldByProxy
	}
	return toldByNobody
}

// isProxied reports a service whose clients come by the PROXY protocol.
func (p *postfix) isProxied(s *postconf.Service) bool {
	return p.Value(s, "smtpd_upstream_proxy_protocol") != "" || s.Kind == "pass" && p.Main["postscreen_upstream_proxy_protocol"] != ""
}

// hasSome reports a list of hosts in which one of the addresses may be.
func hasSome(hosts string, gateway networks.Set) bool {
	list, others := postconf.Networks(hosts)
	return others || slices.ContainsFunc(list, func(one netip.Prefix) bool {
		_, overlaps := gateway.Overlapping(one)
		return overlaps
	})
}

// ofUpstream returns the upstream that hands on mail from a network, save from those excepted, and
// whose clients the MTA is not told of; else "".
func (x *examination) ofUpstream(network netip.Prefix, excepted networks.Set) string {
	for _, name := range x.upstreams() {
		isWithin := func(one netip.Prefix) bool { return one.Overlaps(network) && !excepted.Holds(one) }
		if !x.conf.Rules.Upstreams[name].ByMTA && slices.ContainsFunc(x.networks[name].Networks.Prefixes(), isWithin) {
			return name
		}
	}
	return ""
}
