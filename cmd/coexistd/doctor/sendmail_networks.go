package doctor

import (
	"cmp"
	"context"
	"fmt"
	"net"
	"net/netip"
	"path/filepath"
	"slices"
	"strings"

	"coexistd/cmd/coexistd/sendmailcf"
	"coexistd/policy/config"
	"coexistd/policy/networks"
)

// trusts tells whether a client may relay by its address, if that is sure. Sendmail lets the
// addresses of loopback that it is called by.
func (s *sendmail) trusts(address netip.Addr) (trusted, sure bool) {
	if s.err != nil {
		return false, false
	}
	list, others := s.Relays()
	trusted = networks.SetOf(list...).Has(address) || address == netip.AddrFrom4([4]byte{127, 0, 0, 1}) || address == netip.IPv6Loopback()
	return trusted, !others
}

// lookAtRelays compares the clients that need no login.
func lookAtRelays(x *examination) []Finding {
	list, _ := x.sendmail.Relays()
	findings := append(x.lookForRelays(), x.sendmail.lookForPromiscuous()...)
	var lacking []string
	for _, network := range list {
		if isWide(network) {
			findings = append(findings, tooWide("/etc/mail/relay-domains or the access map", network))
			continue
		}
		isPlatforms := false
		for _, platform := range x.conf.Rules.Routes.Platforms {
			if _, overlaps := x.networks[platform.Name].Networks.Overlapping(network); !overlaps {
				continue
			}
			isPlatforms = true
			if !platform.MayRelay {
				findings = append(findings, failure("Sendmail lets %s relay, from where every tenant of %s sends", network, platform.Name).
					do("take it out of /etc/mail/relay-domains and the access map; for the platform's own users set platform.%s.may_relay in %s", platform.Name, x.conf.Path))
			}
		}
		if upstream := x.ofUpstream(network, networks.Set{}); upstream != "" {
			findings = append(findings, warning("Sendmail lets %s relay, from where the upstream %s hands on the Internet's mail", network, upstream).
				do("take it out of /etc/mail/relay-domains and the access map"))
			continue
		}
		if !isPlatforms && !x.conf.Rules.OurNetworks.Holds(network) {
			lacking = append(lacking, fmt.Sprintf("%q", network))
		}
	}
	if len(lacking) > 0 {
		findings = append(findings, warning("Sendmail lets %s relay, which our_networks lacks: mail from there counts as the Internet's, and that for other domains is refused", strings.Join(lacking, ", ")).
			do("add to our_networks in %s: %s", x.conf.Path, strings.Join(lacking, ", ")))
	}
	return findings
}

// lookForPromiscuous looks for FEATURE(promiscuous_relay), by which the rules for recipients end without a
// refusal.
func (s *sendmail) lookForPromiscuous() []Finding {
	rules := s.Rules["Basic_check_rcpt"]
	if len(rules) == 0 || slices.ContainsFunc(rules, func(rule string) bool { return strings.Contains(rule, `$>"Relay_ok"`) }) {
		return nil
	}
	return []Finding{failure("Sendmail lets anybody relay (FEATURE promiscuous_relay): the Internet's mail for other domains is taken and sent on").
		do("take FEATURE(`promiscuous_relay') out of sendmail.mc, and name the networks of your own hosts: RELAY_DOMAIN(`192.0.2')dnl" + remade)}
}

// lookAtSendmailUpstreams looks for gateways that would have to tell Sendmail of their clients.
func lookAtSendmailUpstreams(x *examination) (findings []Finding) {
	for _, name := range x.upstreams() {
		if x.conf.Rules.Upstreams[name].ByMTA {
			findings = append(findings, failure("the upstream %s tells the MTA of its clients (client), and Sendmail knows neither XCLIENT nor the PROXY protocol: all that comes through it is judged as the gateway's own", name).
				do("have the gateway add a Received field, and write client = \"received\" into [upstream.%s] of %s", name, x.conf.Path))
		}
	}
	return findings
}

// lookForRelays looks for clients that Sendmail should let relay, and does not.
func (x *examination) lookForRelays() (findings []Finding) {
	refused, sure := x.sendmail.Unrelayed(x.conf.Rules.OurNetworks.Prefixes())
	if !sure {
		return nil
	}
	if len(refused) > 0 {
		findings = append(findings, warning("Sendmail does not let all of our_networks relay: mail from %s for other domains is refused", some(texts(refused))).
			inMC("RELAY_DOMAIN(`%s')dnl, and so on for each", sendmailcf.AccessKey(refused[0])))
	}
	for _, platform := range x.conf.Rules.Routes.Platforms {
		if !platform.MayRelay {
			continue
		}
		if refused, _ := x.sendmail.Unrelayed(x.networks[platform.Name].Networks.Prefixes()); len(refused) > 0 {
			findings = append(findings, failure("Sendmail does not let all of %s relay, which may_relay asks for: mail of its users from %s for the Internet is refused", platform.Name, some(texts(refused))).
				do("write into /etc/mail/access what coexistd networks export --for access %s prints, then run: make -C /etc/mail; coexistd setup sendmail has a script that does so each day", platform.Name))
		}
	}
	return findings
}

// texts are networks as they are written.
func texts(list []netip.Prefix) (texts []string) {
	for _, network := range list {
		texts = append(texts, network.String())
	}
	return texts
}

// submission is where submit.cf has the sendmail command bring mail.
type submission struct{ host, port string }

// submission reads submit.cf, which stands beside sendmail.cf.
func (s *sendmail) submission() (to submission, is bool) {
	submit := readSendmail(filepath.Join(filepath.Dir(s.Path), "submit.cf"))
	host := strings.Trim(submit.Macros["MTAHost"], "[]")
	if submit.err != nil || host == "" {
		return to, false
	}
	return submission{strings.TrimPrefix(host, "IPv6:"), cmp.Or(submit.Mailers["relay"].Port, "smtp")}, true
}

// sources are the addresses from which mail comes to it.
func (s submission) sources() []netip.Addr {
	v4, v6 := netip.AddrFrom4([4]byte{127, 0, 0, 1}), netip.IPv6Loopback()
	address, err := netip.ParseAddr(s.host)
	switch {
	case strings.EqualFold(s.host, "localhost"):
		return []netip.Addr{v4, v6}
	case err == nil && address.Is4() && address.IsLoopback():
		return []netip.Addr{v4}
	case err == nil && address.IsLoopback():
		return []netip.Addr{v6}
	}
	return nil
}

// takesHostMail reports the listener to which the sendmail command brings mail.
func (x *examination) takesHostMail(d sendmailcf.Daemon) bool {
	to, is := x.sendmail.submission()
	return is && to.isAt(d)
}

func (s submission) isAt(d sendmailcf.Daemon) bool {
	ours, theirs := sendmailcf.PortNumber(s.port), sendmailcf.PortNumber(d.Port)
	if ours != theirs || ours == 0 {
		return false
	}
	if d.Address() == "" { // On Linux, an IPv6 socket for all addresses gets what comes by IPv4, too.
		return d.IsIPv6 || !strings.Contains(s.host, ":")
	}
	if strings.EqualFold(s.host, "localhost") && d.IsLoopback() {
		return true
	}
	return config.SameSocket(net.JoinHostPort(s.host, "0"), net.JoinHostPort(d.Address(), "0"))
}

// lookForHostMail sees whether mail of the sendmail command is to count as that of our users.
func (x *examination) lookForHostMail() []Finding {
	to, is := x.sendmail.submission()
	var lacking []string
	for _, source := range to.sources() {
		if is && !x.conf.Rules.OurNetworks.Has(source) {
			lacking = append(lacking, fmt.Sprintf("%q", source))
		}
	}
	if len(lacking) == 0 {
		return nil
	}
	return []Finding{failure("mail of the sendmail command comes from %s, which our_networks lacks: it counts as the Internet's, and that for other domains is refused", strings.Join(lacking, " and ")).
		do("add to our_networks in %s: %s", x.conf.Path, strings.Join(lacking, ", "))}
}

// lookAtSubmission sees whether mail of the sendmail command comes to us as mail of our users.
func lookAtSubmission(ctx context.Context, x *examination) []Finding {
	to, is := x.sendmail.submission()
	if !is || len(to.sources()) == 0 {
		return nil // It goes to another host, or there is no submit.cf.
	}
	findings := x.lookForHostMail()
	daemons := x.sendmail.Listening()
	i := slices.IndexFunc(daemons, to.isAt)
	switch where := net.JoinHostPort(to.host, to.port); {
	case i < 0 && knock(ctx, "tcp", where) == deaf:
		findings = append(findings, failure("the sendmail command brings mail to %s (submit.cf), where nobody listens: it waits in the queue", where).
			do("have a daemon listen there: DAEMON_OPTIONS(`Name=MTA, Addr=%s, Port=%s')dnl in sendmail.mc%s", to.host, to.port, remade))
	case i >= 0 && len(x.filtersOfOurs(daemons[i])) == 0:
		findings = append(findings, failure("the sendmail command brings mail to the daemon %s (submit.cf), which does not hand it to coexistd", daemons[i].Name).
			do("have %s hand its mail to coexistd, as is said of it above, or name another port in FEATURE(`msp') of submit.mc", daemons[i].Name))
	}
	return findings
}
