package milter

import (
	"bytes"
	"encoding/binary"
	"net/netip"
	"strings"

	gomilter "github.com/emersion/go-milter"
)

// client is what CONNECT tells of an SMTP session's client.
type client struct {
	name   string     // what the MTA found for its address, or empty
	helo   string     // what it calls itself, or empty
	addr   netip.Addr // invalid when there is none
	onHost bool       // the MTA's own host made the message, without SMTP
}

// parseConnect reads CONNECT's payload: host name, NUL, a byte for the address
// family and, for a known one, 16 bits of port and the address with NUL.
//
// Postfix emulates a session for mail that it did not get by SMTP
// (non_smtpd_milters) and gives port 0 of 127.0.0.1, which no connection comes
// from. Sendmail gives the name localhost without an address.
func parseConnect(payload []byte) (client, error) {
	host, rest, found := bytes.Cut(payload, nul)
	if !found || len(rest) == 0 {
		return client{}, protocolError("CONNECT has no address family")
	}
	family := gomilter.ProtoFamily(rest[0])
	rest = rest[1:]
	switch family {
	case gomilter.FamilyInet, gomilter.FamilyInet6:
	default:
		return client{onHost: string(host) == "localhost"}, nil
	}
	if len(rest) < 2 {
		return client{}, protocolError("CONNECT has no port")
	}
	port := binary.BigEndian.Uint16(rest)
	addr := parseAddr(cString(rest[2:]))
	return client{
		name:   knownName(string(host)),
		addr:   addr,
		onHost: family == gomilter.FamilyInet && port == 0 && addr == netip.AddrFrom4([4]byte{127, 0, 0, 1}),
	}, nil
}

// knownName returns a client's name, or "" for what MTAs give in the place of one
// that they do not know: "unknown", or the address in brackets.
func knownName(name string) string {
	if name == "unknown" || strings.HasPrefix(name, "[") {
		return ""
	}
	return name
}

// commonName returns the common name of a certificate's subject as Sendmail gives
// it: all of it, "/C=DE/CN=mail.example", with odd bytes as +XX. Postfix gives the
// name alone.
func commonName(subject string) string {
	if !strings.HasPrefix(subject, "/") {
		return subject
	}
	name := ""
	for part := range strings.SplitSeq(subject, "/") {
		if value, ok := strings.CutPrefix(part, "CN="); ok {
			name = value
		}
	}
	return name
}

// parseAddr reads an IP address as MTAs write it: Sendmail puts the tag of
// RFC 5321 section 4.1.3, "IPv6:", before it. The result is invalid when the
// text is.
func parseAddr(s string) netip.Addr {
	const tag = "ipv6:"
	if len(s) > len(tag) && strings.EqualFold(s[:len(tag)], tag) {
		s = s[len(tag):]
	}
	addr, err := netip.ParseAddr(s)
	if err != nil {
		return netip.Addr{}
	}
	return addr.Unmap().WithZone("")
}

// parseRecipient reads RCPT's payload: the path as the client wrote it, NUL,
// then each ESMTP argument with NUL. Keywords match without case (RFC 5321
// section 2.4); of an argument that is given twice the first one counts.
func parseRecipient(payload []byte) (path, notify, orcpt string) {
	path, arguments, _ := strings.Cut(string(payload), "\x00")
	for argument := range strings.SplitSeq(arguments, "\x00") {
		keyword, value, _ := strings.Cut(argument, "=")
		switch {
		case notify == "" && strings.EqualFold(keyword, "NOTIFY"):
			notify = value
		case orcpt == "" && strings.EqualFold(keyword, "ORCPT"):
			orcpt = value
		}
	}
	return stripBrackets(path), notify, orcpt
}

func stripBrackets(path string) string {
	if len(path) >= 2 && path[0] == '<' && path[len(path)-1] == '>' {
		return path[1 : len(path)-1]
	}
	return path
}

func cString(b []byte) string {
	b, _, _ = bytes.Cut(b, nul)
	return string(b)
}
