package doctor

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"net"
	"slices"
	"strings"

	"coexistd/cmd/coexistd/account"
	"coexistd/policy/config"
)

// lookAtDaemon speaks to the daemon's sockets as the MTA does.
func lookAtDaemon(ctx context.Context, x *examination) []Finding {
	var findings []Finding
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
		return fmt.Sprintf("let %s use the socket; run the doctor as root", account.OwnName())
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
