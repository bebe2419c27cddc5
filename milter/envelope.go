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
// What tells mail made on the MTA's own host is the MTA's dialect.
func parseConnect(payload []byte, d *dialect) (client, error) {
	host, rest, found := bytes.Cut(payload, nul)
	if !found || len(rest) == 0 {
		return client{}, protocolError("CONNECT has no address family")
	}
	from := origin{host: string(host), family: gomilter.ProtoFamily(rest[0])}
	rest = rest[1:]
	if from.family != gomilter.FamilyInet && from.family != gomilter.FamilyInet6 {
		return client{onHost: d.onHost(from)}, nil
	}
	if len(rest) < 2 {
		return client{}, protocolError("CONNECT has no port")
	}
	from.port = binary.BigEndian.Uint16(rest)
	from.addr = parseAddr(cString(rest[2:]))
	return client{
		name:   knownName(from.host),
		addr:   from.addr,
		onHost: from.addr.IsValid() && d.onHost(from),
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

// asksForReports reports that an envelope command has an argument of RFC 3461 section 4: RET
// and ENVID of MAIL, NOTIFY and ORCPT of RCPT.
func asksForReports(payload []byte) bool {
	_, arguments, _ := strings.Cut(string(payload), "\x00")
	for argument := range strings.SplitSeq(arguments, "\x00") {
		keyword, _, _ := strings.Cut(argument, "=")
		switch strings.ToUpper(keyword) {
		case "RET", "ENVID", "NOTIFY", "ORCPT":
			return true
		}
	}
	return false
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
