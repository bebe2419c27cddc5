package doctor

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/textproto"
	"slices"
	"strings"
	"time"

	"coexistd/cmd/coexistd/sidebyside"
	"coexistd/policy/mail"
	"coexistd/scanners/sender"
)

const (
	// mostMXDomains is how many domains of ours are asked for at their MX, and mostMX how
	// many hosts of each, at most.
	mostMXDomains = 20
	mostMX        = 3
	// mxTime bounds a dialogue with one: some greet late, so as to find who does not wait.
	mxTime = 30 * time.Second
)

// askMX speaks with the MX of each of our domains, as somebody in the Internet would, up to
// RCPT: no message is sent, so nobody gets one. What is said to this host need not be said to
// others.
func (p *prober) askMX(ctx context.Context) []Finding {
	domains := slices.Sorted(maps.Keys(p.conf.Rules.Routes.Domains))
	asked := domains[:min(len(domains), mostMXDomains)]
	findings := sidebyside.Ask(asked, domainsAtOnce, func(domain string) Finding { return p.askMXOf(ctx, domain) })
	if more := len(domains) - len(asked); more > 0 {
		findings = append(findings, fine("the MX of %d more domains was not asked", more))
	}
	return findings
}

// knownIn returns an address of a domain that exists.
func (p *prober) knownIn(domain string) string {
	known := []string{p.conf.Probe.From}
	for _, to := range p.conf.Probe.To {
		known = append(known, to.Address)
	}
	for _, address := range known {
		if a, err := mail.ParseAddress(address, p.conf.Rules.Delimiters); err == nil && a.Domain == domain {
			return address
		}
	}
	return "postmaster@" + domain
}

func (p *prober) askMXOf(ctx context.Context, domain string) Finding {
	about := "Internet: the MX of " + domain
	resolver := sender.NewResolver(p.conf.Resolver)
	hosts, err := resolver.LookupMX(ctx, domain)
	if dns, is := errors.AsType[*net.DNSError](err); len(hosts) == 0 && (err == nil || is && dns.IsNotFound) {
		return failure("Internet: %s has no MX", domain).do("publish one: the DNS of the domain names no host that takes its mail")
	}
	if len(hosts) == 1 && hosts[0].Host == "." {
		return failure("Internet: %s says by its MX that it takes no mail (a null MX, RFC 7505)", domain).do("publish the host that takes its mail in the place of that: coexistd setup dns")
	}
	if err != nil && len(hosts) == 0 {
		return warning("%s cannot be told, since the DNS fails: %v", about, plainDNS(err)).do("see that the domain's name servers answer")
	}
	slices.SortStableFunc(hosts, func(a, b *net.MX) int { return int(a.Pref) - int(b.Pref) })
	to, failed := p.knownIn(domain), error(nil)
	for _, host := range hosts[:min(len(hosts), mostMX)] {
		name := strings.TrimSuffix(host.Host, ".")
		addresses, err := resolver.LookupIPAddr(ctx, name)
		if err == nil && len(addresses) == 0 {
			err = errors.New("the DNS has none")
		}
		if err != nil {
			failed = fmt.Errorf("%s: no address is known (%w)", name, plainDNS(err))
			continue
		}
		err = askRCPT(ctx, net.JoinHostPort(addresses[0].String(), p.port), p.conf.Rules.Hostname, p.conf.Probe.From, to)
		answer, answered := errors.AsType[*textproto.Error](err)
		switch {
		case err == nil:
			return fine("%s, %s, takes mail for %s from this host (no message was sent)", about, name, to)
		case answered && answer.Code >= 500:
			return failure("%s, %s, refuses mail for %s from this host: %d %s", about, name, to, answer.Code, mail.Excerpt(answer.Msg, mostAnswer)).
				do("see whether it refuses this host alone, or everybody: the address must exist where the MX points, and mx of domain.%q in %s be where that is", domain, p.conf.Path)
		case answered:
			return warning("%s, %s, puts mail for %s from this host off: %d %s", about, name, to, answer.Code, mail.Excerpt(answer.Msg, mostAnswer)).do("try again in some minutes, if it greylists")
		}
		failed = fmt.Errorf("%s: %w", name, plainDialogue(err))
	}
	if ctx.Err() != nil {
		return warning("%s: that was broken off before it was known whether it takes mail", about).do(again)
	}
	return warning("%s cannot be spoken with from this host: %v", about, failed).do("see that this host may connect to port 25 outside, or speak with the MX from another")
}

// askRCPT says EHLO, MAIL, RCPT and QUIT (RFC 5321 section 4.1.1). An error is a
// *textproto.Error where the server has said no.
func askRCPT(ctx context.Context, address, hostname, from, to string) error {
	ctx, cancel := context.WithTimeout(ctx, mxTime)
	defer cancel()
	conn, err := new(net.Dialer).DialContext(ctx, "tcp", address)
	if err != nil {
		return err
	}
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { conn.SetDeadline(time.Unix(1, 0)) })()
	in := textproto.NewReader(bufio.NewReader(io.LimitReader(conn, maxAnswer)))
	for _, line := range []string{"", "EHLO " + hostname, "MAIL FROM:<" + from + ">", "RCPT TO:<" + to + ">"} {
		if line != "" {
			if _, err := fmt.Fprintf(conn, "%s\r\n", line); err != nil {
				return err
			}
		}
		if _, _, err := in.ReadResponse(2); err != nil {
			return err
		}
	}
	fmt.Fprint(conn, "RSET\r\nQUIT\r\n")
	_, _, _ = in.ReadResponse(2) // it has said all that counts
	return nil
}

// plainDialogue says what an error of such a dialogue means.
func plainDialogue(err error) error {
	if isTimeout(err) {
		return fmt.Errorf("it has said nothing for %v", mxTime)
	}
	return plainNet(err)
}
