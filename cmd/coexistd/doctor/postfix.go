package doctor

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"coexistd/cmd/coexistd/account"
	"coexistd/cmd/coexistd/postconf"
	"coexistd/cmd/coexistd/sendmailcf"
	"coexistd/policy/networks"
)

// postfix is what Postfix's own configuration says.
type postfix struct {
	err                error // why nothing is known; postconf.ErrNone when there is none
	*postconf.Settings       // never nil
}

// readPostfix asks Postfix of its configuration.
func readPostfix(ctx context.Context) *postfix {
	settings, err := postconf.Read(ctx)
	if err != nil {
		return noPostfix(err)
	}
	return &postfix{nil, settings}
}

// noPostfix is one of which nothing is known.
func noPostfix(err error) *postfix { return &postfix{err, &postconf.Settings{}} }

// trusts tells whether mynetworks has an address, if that is sure.
func (p *postfix) trusts(address netip.Addr) (trusted, sure bool) {
	if p.err != nil {
		return false, false
	}
	list, others := p.Networks()
	trusted = networks.SetOf(list...).Has(address)
	return trusted, !others
}

func serviceName(s *postconf.Service) string { return s.Name }

// put says that a setting is to have a value: in the lines of a service that has it there, otherwise in main.cf.
func put(s *postconf.Service, setting, value string) string {
	own := false
	if s != nil {
		_, own = s.Own[setting]
	}
	if own {
		value, _ = postconf.Unspaced(value)
		return "put into the lines of " + s.Name + " in master.cf: -o " + setting + "=" + value + "; then run: postfix reload"
	}
	return "put into main.cf: " + setting + " = " + value + "; then run: postfix reload"
}

// lookAtPostfix compares Postfix's settings with ours.
func lookAtPostfix(ctx context.Context, x *examination) []Finding {
	switch err := x.mta.err; {
	case errors.Is(err, postconf.ErrNone) && x.sendmail.Path == sendmailcf.UsualPath && errors.Is(x.sendmail.err, sendmailcf.ErrNone):
		return []Finding{warning("%v, and %v", err, x.sendmail.err).
			do("where there is a Postfix, put the folder of its postconf command into PATH; where there is a Sendmail, say where its configuration is: coexistd doctor --sendmail-cf FILE")}
	case errors.Is(err, postconf.ErrNone):
		return nil // The MTA is Sendmail.
	case err != nil:
		return []Finding{warning("Postfix's settings cannot be read: %v", err).do("see what postconf says as %s", account.OwnName())}
	}
	if x.conf.Rules.ObservesAll() {
		return lookAtObservedPostfix(ctx, x)
	}
	return slices.Concat(
		lookAtMilters(ctx, x, "smtpd", "smtpd_milters"),
		lookAtMilters(ctx, x, "cleanup", "non_smtpd_milters"),
		lookAtOtherMilters(x),
		wrong(lookAtContentFilters(x)), // lookAtMilters has told of what is right.
		lookAtProtocol(x.mta),
		lookAtCharacters(x.mta),
		lookAtOriginal(x.mta),
		lookAtMaps(ctx, x),
		lookAtOwnMaps(x),
		lookAtCanonical(ctx, x),
		lookAtDual(x),
		lookAtRelaying(ctx, x),
		lookAtDemands(x),
		lookAtRoutes(x),
		x.judgeChroot(x.mta.chrooted(), x.unixSockets()),
		lookAtRights(x),
		lookAtDelimiters(x),
		lookAtNetworks(x),
		lookAtUpstreams(x),
		lookAtBlocklists(ctx, x),
		lookAtDomains(ctx, x),
		lookAtAliases(ctx, x),
		lookAtMoved(ctx, x),
		lookAtRefused(ctx, x),
		lookAtHostname(x),
		x.mta.smartHost(),
		lookAtLogins(ctx, x),
	)
}

func lookAtProtocol(p *postfix) []Finding {
	if version := p.Main["milter_protocol"]; version != "6" {
		return []Finding{warning("milter_protocol is %s: what the sender asked to be told (NOTIFY, ORCPT) is lost when a recipient is rewritten", version).
			do("put into main.cf: milter_protocol = 6; then run: postfix reload")}
	}
	return nil
}

// chrooted are the services that ask milters, or our lookups, and see nothing but the queue directory.
func (p *postfix) chrooted() (names []string) {
	for _, s := range p.Services {
		if s.Chroot && slices.Contains([]string{"smtpd", "cleanup", "trivial-rewrite", "pickup"}, s.Program) {
			names = append(names, s.Name)
		}
	}
	return names
}

// judgeChroot tells of services in their chroot that do not see these sockets.
func (x *examination) judgeChroot(names, sockets []string) []Finding {
	if len(names) == 0 || len(sockets) == 0 {
		return nil
	}
	return []Finding{failure("Postfix runs %s in its chroot, where they do not see coexistd's Unix sockets (%s): %s", strings.Join(names, ", "), some(sockets), x.whenUnasked()).
		do("write n into the chroot column of their lines in master.cf, or let coexistd listen on inet:127.0.0.1:8701 and inet:127.0.0.1:8702, and name these in their place; then run: systemctl restart postfix")}
}

// unixSockets are our Unix sockets that main.cf and master.cf name.
func (x *examination) unixSockets() (paths []string) {
	var used strings.Builder
	for _, setting := range postconf.Names {
		used.WriteString(x.mta.Main[setting] + " ")
		for _, s := range x.mta.Services {
			used.WriteString(s.Own[setting] + " ")
		}
	}
	for _, l := range slices.Concat(x.conf.Listeners, x.conf.Lookups) {
		if path, is := strings.CutPrefix(l.Address, "unix:"); is && strings.Contains(used.String(), l.Address) {
			paths = append(paths, path)
		}
	}
	return paths
}

// lookAtRights sees whether the user as whom Postfix runs may use our Unix sockets.
func lookAtRights(x *examination) []Finding {
	postfix, err := account.Named(x.mta.Main["mail_owner"])
	if err != nil || postfix.IsRoot() {
		return nil // It does not run then, or may do all.
	}
	var findings []Finding
	for _, path := range x.unixSockets() {
		barring, err := postfix.BarredFrom(path, account.Writing)
		if err == nil && barring != "" {
			findings = append(findings, failure("%s, as whom Postfix runs, may not use %s: the owner and the mode of %s do not allow it, and %s", postfix.Name, path, barring, x.whenUnasked()).
				do("run: usermod -aG %s %s; systemctl restart postfix", account.OwnName(), postfix.Name))
		}
	}
	return findings
}

func lookAtDelimiters(x *examination) []Finding {
	ours, theirs := x.conf.Rules.Delimiters, x.mta.Main["recipient_delimiter"]
	if ours == theirs {
		return nil
	}
	return []Finding{warning("recipient_delimiter is %q in main.cf and %q here, so one of us takes a subaddress for another's address", theirs, ours).
		do("set recipient_delimiter = %q in %s, or put into main.cf: recipient_delimiter = %s", theirs, x.conf.Path, ours)}
}

// lookAtHostname looks for a name of the host without a domain, which is what many systems call
// themselves: an MTA may refuse it in our HELO (reject_non_fqdn_helo_hostname).
func lookAtHostname(x *examination) []Finding {
	ours, theirs := x.conf.Rules.Hostname, x.mta.Main["myhostname"]
	if strings.Contains(ours, ".") || !strings.Contains(theirs, ".") {
		return nil
	}
	return []Finding{warning("hostname is %q, which has no domain, so that other hosts may take none of our mail; Postfix calls itself %q", ours, theirs).
		do("put at the top of %s: hostname = %q; then run: systemctl reload coexistd", x.conf.Path, theirs)}
}

// lookAtNetworks compares the clients that need no login.
func lookAtNetworks(x *examination) []Finding {
	var findings []Finding
	var lacking []string
	list, _ := x.mta.Networks()
	excepted := networks.SetOf(postconf.Exceptions(x.mta.Main["mynetworks"])...)
	for _, network := range list {
		if isWide(network) {
			findings = append(findings, tooWide("mynetworks in main.cf", network))
			continue
		}
		isPlatforms := false
		for _, platform := range x.conf.Rules.Routes.Platforms {
			if _, overlaps := x.networks[platform.Name].Networks.Overlapping(network); overlaps {
				isPlatforms = true
				findings = append(findings, failure("mynetworks has %s, from where every tenant of %s sends: all of them may relay through Postfix", network, platform.Name).
					do("take it out of mynetworks in main.cf; see may_relay in contrib/postfix for the platform's own users"))
			}
		}
		if upstream := x.ofUpstream(network, excepted); upstream != "" {
			findings = append(findings, warning("mynetworks has %s, from where the upstream %s hands on the Internet's mail: Postfix itself lets all of it relay, and makes exceptions for it", network, upstream).
				do("take it out of mynetworks in main.cf, or write the gateway's addresses before it, each with a ! in front, as in !192.0.2.7; then run: postfix reload"))
			continue
		}
		if !isPlatforms && !x.conf.Rules.OurNetworks.Holds(network) {
			lacking = append(lacking, fmt.Sprintf("%q", network))
		}
	}
	if len(lacking) > 0 {
		findings = append(findings, warning("mynetworks has %s, which our_networks lacks: mail from there counts as the Internet's, and that for other domains is refused", strings.Join(lacking, ", ")).
			do("add to our_networks in %s: %s", x.conf.Path, strings.Join(lacking, ", ")))
	}
	return findings
}
