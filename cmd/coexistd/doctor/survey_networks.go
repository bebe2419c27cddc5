package doctor

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"coexistd/cmd/coexistd/postconf"
)

// isWide reports a network that is no organisation's, but a great part of the Internet.
func isWide(network netip.Prefix) bool {
	const of4, of6 = 8, 16
	return network.Bits() < of4 || network.Addr().Is6() && network.Bits() < of6
}

// tooWide tells of such a network whose clients may relay without a login. Setting is where it stands.
func tooWide(setting string, network netip.Prefix) Finding {
	return failure("%s has %s, which is a great part of the Internet: strangers may relay mail through here, and would count as your own users", setting, network).
		do("write the networks of your own hosts there instead, such as 127.0.0.0/8")
}

// toBeOurs says what the configuration needs of the networks whose clients the MTA lets relay without a
// login. Setting is where they stand. Others is what else may stand there, or "".
func toBeOurs(setting string, list []netip.Prefix, others string) (findings []Finding) {
	var names []string
	for _, network := range list {
		if isWide(network) {
			findings = append(findings, tooWide(setting, network))
		} else if name := fmt.Sprintf("%q", network); !slices.Contains(names, name) {
			names = append(names, name) // Debian's mynetworks has 127.0.0.0/8 twice, once as it is mapped into IPv6.
		}
	}
	if len(names) > 0 {
		findings = append(findings, fine("%s lets clients send without a login. For coexistd, their mail is that of your users where the configuration says: our_networks = [%s]. Leave the addresses of a gateway out that hands on mail of the Internet",
			setting, strings.Join(names, ", ")))
	}
	if others != "" {
		findings = append(findings, warning("%s names clients by %s as well: for coexistd, their mail would be that of the Internet", setting, others).
			do("list the networks of these clients, too, in our_networks"))
	}
	return findings
}

// surveyNetworks looks at those who may send without a login.
func surveyNetworks(_ context.Context, s *survey) []Finding {
	if !s.configured {
		list, more := s.mta.Networks()
		others := ""
		if more {
			others = "tables, names or exceptions"
		}
		return toBeOurs("mynetworks in main.cf", list, others)
	}
	findings := lookAtNetworks(s.examination)
	if len(findings) == 0 {
		findings = append(findings, fine("our_networks has all networks of mynetworks"))
	}
	return findings
}

// surveyUpstreams looks for a gateway that tells Postfix of its clients. One that does not, main.cf
// does not know.
func surveyUpstreams(_ context.Context, s *survey) []Finding {
	if len(s.upstreams()) > 0 {
		return lookAtUpstreams(s.examination)
	}
	return together("smtpd", s.mta.Running("smtpd"), serviceName, func(service *postconf.Service) (f Finding, is bool) {
		hosts := slices.DeleteFunc(postconf.List(s.mta.Value(service, "smtpd_authorized_xclient_hosts")), func(host string) bool {
			list, _ := postconf.Networks(host)
			return len(list) == 1 && list[0].Addr().IsLoopback() // a content filter of this host
		})
		const named = "name it in the configuration: [upstream.gateway] with networks = [%s] and client = \"mta\""
		switch {
		case s.mta.isProxied(service):
			return warning("is told by a gateway in front who its clients are, by %s: what comes from the gateway itself would count as one client of the Internet", toldByProxy).
				do(named, "its addresses"), true
		case len(hosts) > 0:
			return warning("is told by %s who their clients are, by %s: to coexistd, all that they have not yet told of comes from one client of the Internet, whose connections are bounded (ddos)", some(hosts), toldByXClient).
				do(named, quotedList(hosts)), true
		}
		return f, false
	})
}

// quotedList writes names as an array of TOML has them.
func quotedList(names []string) string {
	var list []string
	for _, name := range names {
		list = append(list, fmt.Sprintf("%q", name))
	}
	return strings.Join(list, ", ")
}
