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
	"os"
	"slices"
	"strings"

	"coexistd/cmd/coexistd/account"
	"coexistd/cmd/coexistd/control"
	"coexistd/cmd/coexistd/daemon"
	"coexistd/policy/config"
	"coexistd/policy/config/sockets"
)

// lookAtDaemon speaks to the daemon's sockets as the MTA does, and asks the daemon whether
// it was it who answered, and what it has in its memory.
func lookAtDaemon(ctx context.Context, x *examination) []Finding {
	visits := append(visit(ctx, x.conf.Listeners, "the milter", negotiate),
		visit(ctx, x.conf.Lookups, "the lookup", func(conn net.Conn) error { return lookUp(conn, x) })...)
	// The connections are there until the daemon has told of them.
	status, err := askDaemon(ctx, x)
	var findings []Finding
	for _, v := range visits {
		findings = append(findings, v.judge(status, err))
		v.leave()
	}
	if err != nil {
		return append(findings, failure("what the daemon has in its memory cannot be told: %v", err).
			do("see that the daemon of this configuration runs, in this version: systemctl restart coexistd; journalctl -u coexistd says why when it does not"))
	}
	return append(findings, lookAtMemory(x, status)...)
}

// askDaemon asks the daemon of the configuration how it is.
func askDaemon(ctx context.Context, x *examination) (control.Status, error) {
	ctx, cancel := context.WithTimeout(ctx, questionTime)
	defer cancel()
	return control.NewClient(daemon.ControlPath(x.conf)).Status(ctx)
}

// visited is a connection to a listener that was asked a question.
type visited struct {
	what    string
	address string // as the configuration has it
	conn    net.Conn
	err     error // why it does not answer
}

// visit asks each of some listeners a question.
func visit(ctx context.Context, listeners []config.Listener, what string, question func(net.Conn) error) (list []visited) {
	for _, l := range listeners {
		v := visited{what: what, address: l.Address}
		network, address, err := sockets.Parse(l.Address)
		if err == nil {
			v.conn, err = dial(ctx, network, address)
		}
		if err == nil {
			err = question(v.conn)
		}
		v.err = err
		list = append(list, v)
	}
	return list
}

// leave ends the connection.
func (v *visited) leave() {
	if v.conn == nil {
		return
	}
	if v.err == nil && v.what == "the milter" {
		_, _ = v.conn.Write([]byte{0, 0, 0, 1, 'Q'}) // a courtesy: the end of the connection says the same
	}
	v.conn.Close()
}

// judge says whether the listener answers, and is the daemon's whose status this is.
func (v *visited) judge(status control.Status, unknown error) Finding {
	switch {
	case v.err != nil && unknown == nil && !slices.ContainsFunc(status.Listeners, func(l control.Listener) bool { return l.Address == v.address }):
		return failure("%s does not answer at %s, where the running daemon does not listen yet", v.what, v.address).do("run: systemctl reload coexistd")
	case v.err != nil:
		return failure("%s does not answer at %s: %v", v.what, v.address, plainNet(v.err)).do("%s", daemonRemedy(v.err))
	case unknown != nil:
		return warning("%s answers at %s; whether it is coexistd cannot be told", v.what, v.address).do("see the finding on the daemon's memory")
	case !arrived(status, v.address, v.conn):
		return failure("something answers at %s that is not this daemon: the connection did not arrive there", v.address).
			do("find out who listens there (ss -lntxp), give one of the two another address, and run: systemctl restart coexistd")
	}
	return fine("%s answers at %s", v.what, v.address)
}

// arrived reports that the daemon has our connection to one of its listeners.
func arrived(status control.Status, address string, conn net.Conn) bool {
	us := conn.LocalAddr().String()
	if conn.LocalAddr().Network() == "unix" {
		us = fmt.Sprintf("pid %d", os.Getpid())
	}
	for _, l := range status.Listeners {
		if l.Address == address && slices.ContainsFunc(l.Connections, func(c control.Connection) bool { return c.Peer == us }) {
			return true
		}
	}
	return false
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
	const optNeg, version, anything = 'O', 6, 0x1fffff
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
	_, err := io.CopyN(io.Discard, conn, int64(length)-1)
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
