package doctor

import (
	"bufio"
	"cmp"
	"context"
	"fmt"
	"io"
	"net"
	"net/netip"
	"net/textproto"
	"slices"
	"strings"
)

// lookAtSMTP greets the MTA that takes releases and reports.
func lookAtSMTP(ctx context.Context, x *examination) []Finding {
	address := x.conf.Quarantine.SMTP
	remedy := "start the MTA, and see that quarantine.smtp in " + x.conf.Path + " is where it takes mail"
	conn, err := dial(ctx, "tcp", address)
	if err != nil {
		return []Finding{failure("the MTA at %s, which takes releases and reports, cannot be reached: %v", address, plainNet(err)).do("%s", remedy)}
	}
	defer conn.Close()
	offers, err := greet(conn, x.conf.Rules.Hostname)
	if err != nil {
		return []Finding{failure("the MTA at %s, which takes releases and reports, does not let us in: %v", address, plainNet(err)).do("%s", remedy)}
	}
	var offered []string
	for _, extension := range [...]string{"SIZE", "8BITMIME", "DSN", "SMTPUTF8"} {
		if slices.ContainsFunc(offers, func(line string) bool { return strings.EqualFold(strings.Fields(line + " ?")[0], extension) }) {
			offered = append(offered, extension)
		}
	}
	findings := []Finding{fine("the MTA at %s takes releases and reports; it offers %s", address, cmp.Or(strings.Join(offered, ", "), "no extensions"))}
	return append(findings, lookAtSource(x, conn)...)
}

// greet says EHLO and QUIT (RFC 5321 section 4.1.1.1), and returns the lines of
// the answer that tell extensions.
func greet(conn net.Conn, hostname string) (offers []string, err error) {
	in := textproto.NewReader(bufio.NewReader(io.LimitReader(conn, maxAnswer)))
	answer := func(right int, does string) (string, error) {
		code, text, err := in.ReadResponse(0)
		if err == nil && code != right {
			err = fmt.Errorf("it %s with %d %s", does, code, text)
		}
		return text, err
	}
	if _, err := answer(220, "greets"); err != nil {
		return nil, err
	}
	if _, err := fmt.Fprintf(conn, "EHLO %s\r\n", hostname); err != nil {
		return nil, err
	}
	text, err := answer(250, "answers EHLO")
	if err != nil {
		return nil, err
	}
	fmt.Fprint(conn, "QUIT\r\n")
	_, _, _ = in.ReadResponse(0) // It has said all that counts.
	return strings.Split(text, "\n")[1:], nil
}

// lookAtSource sees whether the MTA will let a release go anywhere.
func lookAtSource(x *examination, conn net.Conn) []Finding {
	local, err := netip.ParseAddrPort(conn.LocalAddr().String())
	if err != nil {
		return nil
	}
	source := local.Addr().Unmap().WithZone("")
	var lacking []string
	if !x.conf.Rules.OurNetworks.Has(source) {
		lacking = append(lacking, "our_networks in "+x.conf.Path)
	}
	if trusted, sure := x.mta.trusts(source); sure && !trusted {
		lacking = append(lacking, "mynetworks in main.cf")
	}
	if trusted, sure := x.sendmail.trusts(source); sure && !trusted {
		lacking = append(lacking, "/etc/mail/relay-domains")
	}
	if len(lacking) == 0 {
		return nil
	}
	return []Finding{warning("the releases come from %s, which is not one of our own networks: releases of mail for other domains would be refused as relaying", source).
		do("add %s to %s", source, strings.Join(lacking, " and to "))}
}
