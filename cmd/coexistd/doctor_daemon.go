package main

import (
	"bufio"
	"cmp"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"net"
	"net/netip"
	"net/textproto"
	"slices"
	"strings"
	"time"

	"coexistd/policy/config"
)

// maxAnswer bounds what a server may answer, in bytes.
const maxAnswer = 64 << 10

// dial connects to a server for one question: network and address as net.Dial
// takes them.
func dial(ctx context.Context, network, address string) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, questionTime)
	defer cancel()
	conn, err := new(net.Dialer).DialContext(ctx, network, address)
	if err != nil {
		return nil, err
	}
	until, _ := ctx.Deadline()
	return conn, conn.SetDeadline(until)
}

// lookAtDaemon speaks to the daemon's sockets as the MTA does.
func lookAtDaemon(ctx context.Context, x *examination) []finding {
	var findings []finding
	ask := func(listeners []config.Listener, what string, question func(net.Conn) error) {
		for _, l := range listeners {
			network, address, err := config.ParseListen(l.Address)
			var conn net.Conn
			if err == nil {
				conn, err = dial(ctx, network, address)
			}
			if err == nil {
				err = errors.Join(question(conn), conn.Close())
			}
			if err != nil {
				findings = append(findings, failure("%s does not answer at %s: %v", what, l.Address, plainNet(err)).do("%s", daemonRemedy(err)))
				continue
			}
			findings = append(findings, fine("%s answers at %s", what, l.Address))
		}
	}
	ask(x.conf.Listeners, "the milter", negotiate)
	ask(x.conf.Lookups, "the lookup", func(conn net.Conn) error { return lookUp(conn, x) })
	return findings
}

func daemonRemedy(err error) string {
	switch {
	case errors.Is(err, fs.ErrPermission):
		return fmt.Sprintf("let %s use the socket; run the doctor as root", ownName())
	case isTimeout(err):
		return "run: systemctl restart coexistd; when it happens again, raise max_connections"
	case errors.Is(err, errLookup):
		return "see the findings on the directory, and journalctl -u coexistd"
	}
	return "run: systemctl start coexistd; when it does not start, journalctl -u coexistd says why"
}

// negotiate offers the terms of a milter connection and takes it that they are
// answered.
func negotiate(conn net.Conn) error {
	const optNeg, quit, version, anything = 'O', 'Q', 6, 0x1fffff
	offer := append([]byte{0, 0, 0, 13}, optNeg)
	for _, word := range [...]uint32{version, anything, anything} {
		offer = binary.BigEndian.AppendUint32(offer, word)
	}
	if _, err := conn.Write(offer); err != nil {
		return err
	}
	var head [5]byte
	if _, err := io.ReadFull(conn, head[:]); err != nil {
		return err
	}
	length := binary.BigEndian.Uint32(head[:])
	if head[4] != optNeg || length < 13 || length > maxAnswer {
		return errors.New("what answers there is no milter: it does not negotiate")
	}
	if _, err := io.CopyN(io.Discard, conn, int64(length)-1); err != nil {
		return err
	}
	_, err := conn.Write([]byte{0, 0, 0, 1, quit})
	return err
}

var errLookup = errors.New("the daemon cannot tell where mailboxes are")

// lookUp asks where a mailbox is, in the protocol of Postfix's socketmap.
func lookUp(conn net.Conn, x *examination) error {
	key := "postmaster@" + slices.Sorted(maps.Keys(x.conf.Rules.Routes.Domains))[0]
	request := "recipients " + key
	if _, err := fmt.Fprintf(conn, "%d:%s,", len(request), request); err != nil {
		return err
	}
	in := bufio.NewReader(io.LimitReader(conn, maxAnswer))
	if _, err := in.ReadString(':'); err != nil {
		return err
	}
	answer, err := in.ReadString(',')
	answer = strings.TrimSuffix(answer, ",")
	status, _, _ := strings.Cut(answer, " ")
	switch {
	case err != nil:
		return err
	case status == "OK" || status == "NOTFOUND":
		return nil
	}
	return fmt.Errorf("%w: asked for %s it says %q", errLookup, key, answer)
}

// lookAtSMTP greets the MTA that takes releases and reports.
func lookAtSMTP(ctx context.Context, x *examination) []finding {
	address := x.conf.Quarantine.SMTP
	remedy := "start the MTA, and see that quarantine.smtp in " + x.conf.Path + " is where it takes mail"
	conn, err := dial(ctx, "tcp", address)
	if err != nil {
		return []finding{failure("the MTA at %s, which takes releases and reports, cannot be reached: %v", address, plainNet(err)).do("%s", remedy)}
	}
	defer conn.Close()
	offers, err := greet(conn, x.conf.Rules.Hostname)
	if err != nil {
		return []finding{failure("the MTA at %s, which takes releases and reports, does not let us in: %v", address, plainNet(err)).do("%s", remedy)}
	}
	var offered []string
	for _, extension := range [...]string{"SIZE", "8BITMIME", "DSN", "SMTPUTF8"} {
		if slices.ContainsFunc(offers, func(line string) bool { return strings.EqualFold(strings.Fields(line + " ?")[0], extension) }) {
			offered = append(offered, extension)
		}
	}
	findings := []finding{fine("the MTA at %s takes releases and reports; it offers %s", address, cmp.Or(strings.Join(offered, ", "), "no extensions"))}
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
	in.ReadResponse(0) // It has said all that counts.
	return strings.Split(text, "\n")[1:], nil
}

// lookAtSource sees whether the MTA will let a release go anywhere.
func lookAtSource(x *examination, conn net.Conn) []finding {
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
	if len(lacking) == 0 {
		return nil
	}
	return []finding{warning("the releases come from %s, which is not one of our own networks: releases of mail for other domains would be refused as relaying", source).
		do("add %s to %s", source, strings.Join(lacking, " and to "))}
}

func isTimeout(err error) bool {
	failed, is := errors.AsType[net.Error](err)
	return is && failed.Timeout()
}

// plainNet says what an error of a connection means, without its addresses.
func plainNet(err error) error {
	switch {
	case isTimeout(err):
		return fmt.Errorf("it has said nothing for %v", questionTime.Round(time.Second))
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return errors.New("it closes the connection")
	}
	if failed, is := errors.AsType[*net.OpError](err); is {
		return failed.Err
	}
	return err
}
