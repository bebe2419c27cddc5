package route

import (
	"cmp"
	"net/netip"
	"strings"

	"coexistd/policy/mail"
	"coexistd/policy/seal"
)

// No milter can choose the next hop of one recipient. So a recipient whom a rule takes to a relay
// gets another address, which says both who that is and where the mail goes:
//
//	bob=at=example.org@mail.filter.example.p25.1f3a….route.invalid
//
// By the lookup transport the MTA learns the next hop of it, and by generic the address that the
// relay is to see. It says the hop itself and not the rule, so that mail in the queue goes on
// whatever becomes of the rules. It is signed: nobody else can have us send to a host of their choice.
const (
	hiddenDomain = ".route.invalid" // RFC 2606 section 2: nobody has such a domain
	hiddenAt     = "=at="
	portLabel    = "p"
	mxLabel      = "mx" // the same, where the MX of the host is asked for
	ipv6Label    = "ip6-"
)

// IsHidden reports the domain of addresses that Hide makes, or that seem so.
func IsHidden(domain string) bool { return strings.HasSuffix("."+domain, hiddenDomain) }

// Hide returns the address by which the MTA knows a recipient whose mail is to go to a next hop,
// which is HOST, HOST:PORT, [HOST] or [HOST]:PORT as Postfix's transport(5) has it. The address has a domain.
func Hide(keys seal.Keys, a mail.Address, hop string) string {
	domain := hopLabels(hop)
	local := strings.TrimSuffix(a.At(""), "@")
	return escape(local) + hiddenAt + escape(a.Path[strings.LastIndexByte(a.Path, '@')+1:]) + "@" + domain + "." + keys.SignHop(domain) + hiddenDomain
}

// Reveal returns the address and the next hop of an address that Hide has made with these keys.
func Reveal(keys seal.Keys, hidden string) (address, hop string, ok bool) {
	at := strings.LastIndexByte(hidden, '@')
	local, domain := hidden[:max(at, 0)], strings.ToLower(hidden[at+1:])
	labels, isHidden := strings.CutSuffix(domain, hiddenDomain)
	dot := strings.LastIndexByte(labels, '.')
	i := strings.LastIndex(local, hiddenAt)
	if !isHidden || dot < 0 || i < 0 || !keys.HasSignedHop(labels[:dot], labels[dot+1:]) {
		return "", "", false
	}
	name, whole := mail.Unhex(local[:i], '=')
	where, all := mail.Unhex(local[i+len(hiddenAt):], '=')
	address = name + "@" + where
	_, err := mail.ParseAddress(address, "")
	return address, labelsHop(labels[:dot]), whole && all && err == nil
}

// hopLabels writes a next hop as labels of a domain. The last one is the port.
func hopLabels(hop string) string {
	inner, isHost := strings.CutPrefix(hop, "[")
	host, port, _ := strings.Cut(inner, ":")
	if isHost {
		host, port, _ = strings.Cut(inner, "]")
		host, port = strings.TrimPrefix(host, "ipv6:"), strings.TrimPrefix(port, ":")
	}
	if ip, err := netip.ParseAddr(host); err == nil && ip.Is6() {
		host = ipv6Label + strings.ReplaceAll(ip.StringExpanded(), ":", "-")
	}
	label := mxLabel
	if isHost {
		label = portLabel
	}
	return strings.ToLower(host) + "." + label + cmp.Or(port, "25")
}

// labelsHop is what hopLabels has written.
func labelsHop(labels string) string {
	dot := strings.LastIndexByte(labels, '.')
	host, last := labels[:max(dot, 0)], labels[dot+1:]
	if port, byMX := strings.CutPrefix(last, mxLabel); byMX {
		return host + ":" + port
	}
	if six, isIPv6 := strings.CutPrefix(host, ipv6Label); isIPv6 {
		host = strings.ReplaceAll(six, "-", ":")
	}
	return "[" + host + "]:" + strings.TrimPrefix(last, portLabel)
}

// escape has a part of an address mean the same to every MTA without quotes: what is not plain stands as
// "=" with two hexadecimal digits, and so does "=" itself.
func escape(local string) string {
	const digits = "0123456789ABCDEF"
	var b strings.Builder
	for i := range len(local) {
		c := local[i]
		plain := 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || c >= 0x80 || strings.IndexByte("#$&'*+_~.^`{|}?", c) >= 0 || c == '-' && i > 0
		if plain {
			b.WriteByte(c)
		} else {
			b.Write([]byte{'=', digits[c>>4], digits[c&0xf]})
		}
	}
	return b.String()
}
