package mail

import (
	"net/netip"
	"strings"
)

// Received is what a Received field tells of the client from whom the host that wrote it
// has got the message (RFC 5321 section 4.4).
type Received struct {
	// Client is the client's address, without a zone. It is valid unless Handed is set.
	Client netip.Addr
	// Helo is what the client called itself, as the field has it, or empty.
	Helo string
	// Handed is set for a field that tells of no client: the host handed the message on to
	// itself, and the field below is its own, too.
	Handed bool
}

// maxReceived bounds the length of a field that is read, in bytes.
const maxReceived = 4096

// ReadReceived reads the value of a Received field, as the MTAs and gateways that are in use
// write it. It is false where it cannot be told for sure whom the field names: what the
// client calls itself stands in the field as well, and must not pass for its address.
func ReadReceived(value string) (r Received, ok bool) {
	if len(value) > maxReceived {
		return Received{}, false
	}
	s := receivedReader{rest: value}
	switch word, comment, _ := s.next(); {
	case isHanded(comment):
		return Received{Handed: true}, true
	case !strings.EqualFold(word, "from"):
		return Received{}, false
	}
	c := fromClause{}
	for {
		word, comment, more := s.next()
		if !more {
			return Received{}, false // there is no "by"
		}
		if strings.EqualFold(word, "by") {
			break
		}
		c.add(word, comment)
	}
	for {
		word, _, more := s.next()
		if !more {
			break
		}
		if strings.EqualFold(word, "by") {
			return Received{}, false // one of the two may be a part of what the client calls itself
		}
	}
	if s.broken {
		return Received{}, false
	}
	return c.read()
}

// isHanded reports the comment of qmail by which a host hands a message on to itself.
func isHanded(comment string) bool {
	return strings.HasPrefix(comment, "qmail ") && strings.HasSuffix(comment, " invoked from network")
}

// receivedReader reads a field's words and comments. Its date is words as well.
type receivedReader struct {
	rest   string
	broken bool // a comment does not end
}

// receivedSpace stands between words. The semicolon before the date is no end: a client may have
// put another one into its name.
const receivedSpace = " \t\r\n;"

// next returns the next word, or comment without its parentheses. More is false at the end.
func (s *receivedReader) next() (word, comment string, more bool) {
	s.rest = strings.TrimLeft(s.rest, receivedSpace)
	if s.rest == "" {
		return "", "", false
	}
	if s.rest[0] == '(' {
		comment, s.rest, more = cutComment(s.rest)
		s.broken = s.broken || !more
		return "", comment, more
	}
	end := strings.IndexAny(s.rest, receivedSpace+"(")
	if end < 0 {
		end = len(s.rest)
	}
	word, s.rest = s.rest[:end], s.rest[end:]
	return word, "", true
}

// cutComment cuts off the comment that a text begins with (RFC 5322 section 3.2.2). Of its
// content, it leaves out comments within it, and what stands in quotes: strangers choose
// what is quoted. It is false where the comment does not end.
func cutComment(text string) (content, rest string, ends bool) {
	var b strings.Builder
	depth, quoted := 0, false
	for i := 0; i < len(text); i++ {
		switch c := text[i]; {
		case c == '\\':
			i++
		case c == '"':
			quoted = !quoted
		case quoted:
		case c == '(':
			depth++
		case c == ')':
			if depth--; depth == 0 {
				return b.String(), text[i+1:], true
			}
		case depth == 1:
			b.WriteByte(c)
		}
	}
	return "", "", false
}

// fromClause is what stands between "from" and "by".
type fromClause struct {
	name    string // the first word
	helo    string // what a comment says that the client calls itself
	clients []netip.Addr
}

// add takes one word or comment of the clause.
func (c *fromClause) add(word, comment string) {
	switch {
	case word != "" && c.name == "":
		c.name = word
	case word != "":
		c.addClient(literal(word))
	default:
		c.addComment(comment)
	}
}

// addComment takes a comment: one that names the client's address, "host [192.0.2.1]", "[192.0.2.1]:25
// helo=name", "192.0.2.1" or "user@192.0.2.1"; or what it calls itself, "HELO name"; or
// anything else.
func (c *fromClause) addComment(comment string) {
	fields := strings.Fields(comment)
	if len(fields) == 0 {
		return
	}
	if strings.EqualFold(fields[0], "HELO") || strings.EqualFold(fields[0], "EHLO") {
		c.helo = strings.Join(fields[1:], " ")
		return
	}
	for _, field := range fields {
		if helo, is := strings.CutPrefix(field, "helo="); is {
			c.helo = helo
		} else {
			c.addClient(literal(field))
		}
	}
	if len(fields) == 1 {
		c.addClient(address(fields[0][strings.LastIndexByte(fields[0], '@')+1:]))
	}
}

func (c *fromClause) addClient(client netip.Addr) {
	if client.IsValid() {
		c.clients = append(c.clients, client)
	}
}

// read says whom the clause names, where it is one for sure. A literal at its beginning is what the
// client calls itself, unless a comment says that.
func (c *fromClause) read() (Received, bool) {
	if client := literal(c.name); len(c.clients) == 0 && c.helo != "" && client.IsValid() {
		return Received{Client: client, Helo: c.helo}, true
	}
	if len(c.clients) == 0 {
		return Received{}, false
	}
	for _, other := range c.clients[1:] {
		if other != c.clients[0] {
			return Received{}, false
		}
	}
	if c.helo == "" {
		c.helo = c.name
	}
	return Received{Client: c.clients[0], Helo: c.helo}, true
}

// literal reads an address in brackets (RFC 5321 section 4.1.3), behind which a port may
// stand. The result is invalid when the text is none.
func literal(text string) netip.Addr {
	if !strings.HasPrefix(text, "[") {
		return netip.Addr{}
	}
	inner, rest, closed := strings.Cut(text[1:], "]")
	if !closed || rest != "" && rest[0] != ':' {
		return netip.Addr{}
	}
	return address(inner)
}

// address reads an address, before which the tag "IPv6:" may stand.
func address(text string) netip.Addr {
	const tag = "ipv6:"
	if len(text) > len(tag) && strings.EqualFold(text[:len(tag)], tag) {
		text = text[len(tag):]
	}
	addr, err := netip.ParseAddr(text)
	if err != nil {
		return netip.Addr{}
	}
	return addr.Unmap().WithZone("")
}
