package networks

import (
	"errors"
	"fmt"
	"net/netip"
	"regexp"
	"strconv"
	"strings"

	"coexistd/policy/mail"
)

// maxRecord bounds the SPF record that is read, in bytes. RFC 7208 section 3.4
// asks for records that fit 512.
const maxRecord = 16 << 10

// modifier matches the name of one, in lower case (RFC 7208 section 12).
var modifier = regexp.MustCompile(`^[a-z][-a-z0-9_.]*$`)

// term is a mechanism, or the modifier redirect.
type term struct {
	text string // as the record has it
	pass bool   // what matches may send
	// kind is the name in lower case: "all", "ip4", "ip6", "a", "mx", "include",
	// "redirect", "ptr" or "exists".
	kind string
	// domain is the normal form of the one that is named; empty for the record's
	// own.
	domain string
	// macro is set when the domain depends on the message (RFC 7208 section 7).
	macro bool
	// prefix is that of ip4 and ip6; bits4 and bits6 are the lengths of a and mx.
	prefix       netip.Prefix
	bits4, bits6 int
}

// unlisted reports a term that stands for no list of addresses: what it matches
// depends on the message, or on names that clients give themselves.
func (t term) unlisted() bool { return t.macro || t.kind == "ptr" || t.kind == "exists" }

// isSPF reports a TXT record that is an SPF record (RFC 7208 section 4.5).
func isSPF(text string) bool {
	const version = "v=spf1"
	return len(text) >= len(version) && strings.EqualFold(text[:len(version)], version) &&
		(len(text) == len(version) || text[len(version)] == ' ')
}

// parseRecord takes apart a text for which isSPF holds (RFC 7208 section 4.5): into its
// terms, in their order up to the first "all". Without one a redirect is the last, wherever
// it stands (section 6.1). A mistake anywhere makes all of it an error (section 4.6).
func parseRecord(text string) (terms []term, err error) {
	if len(text) > maxRecord {
		return nil, fmt.Errorf("the record has %d bytes, and %d are the most that is read", len(text), maxRecord)
	}
	ended := false
	modifiers := make(map[string]term)
	for field := range strings.SplitSeq(text[len("v=spf1"):], " ") {
		if field == "" {
			continue
		}
		t, err := parseTerm(field)
		if err != nil {
			return nil, fmt.Errorf("%.100q is not a term of an SPF record: %w", field, err)
		}
		switch {
		case t.kind == "redirect" || t.kind == "exp":
			// RFC 7208 section 6: either may appear once.
			if _, seen := modifiers[t.kind]; seen {
				return nil, fmt.Errorf("the record has %s= twice", t.kind)
			}
			modifiers[t.kind] = t
		case t.kind != "" && !ended:
			terms = append(terms, t)
			ended = t.kind == "all"
		}
	}
	if redirect, is := modifiers["redirect"]; is && !ended {
		terms = append(terms, redirect)
	}
	return terms, nil
}

// parseTerm reads one term. A modifier that names nobody has the kind "exp" or
// "".
func parseTerm(text string) (term, error) {
	if strings.ContainsFunc(text, func(c rune) bool { return c <= ' ' || c >= 0x7f }) {
		return term{}, errors.New("it holds more than printable ASCII")
	}
	t := term{text: text, pass: true}
	body := strings.TrimLeft(text[:1], "+-~?") + text[1:]
	if body != text {
		t.pass = text[0] == '+'
	}
	end := strings.IndexAny(body, ":/=")
	if end < 0 {
		end = len(body)
	}
	t.kind = strings.ToLower(body[:end])
	rest := body[end:]
	if strings.HasPrefix(rest, "=") {
		if body != text || !modifier.MatchString(t.kind) {
			return term{}, errors.New("it is no modifier")
		}
		switch t.kind {
		case "redirect":
			return t.names(rest[1:])
		case "exp":
			return t, nil
		}
		return term{}, nil
	}
	return t.mechanism(rest)
}

// mechanism reads what follows a mechanism's name (RFC 7208 section 5).
func (t term) mechanism(rest string) (term, error) {
	value, hasValue := strings.CutPrefix(rest, ":")
	switch t.kind {
	case "all":
		if rest != "" {
			return term{}, errors.New("all takes no value")
		}
		return t, nil
	case "ip4", "ip6":
		if !hasValue {
			return term{}, errors.New("it needs an address")
		}
		return t.address(value)
	case "include", "exists":
		if !hasValue {
			return term{}, errors.New("it needs a domain")
		}
		return t.names(value)
	case "a", "mx", "ptr":
		return t.hosts(rest)
	}
	return term{}, errors.New("there is no such mechanism")
}

// hosts reads what follows the name of a, mx and ptr, whose domain may be left out. That
// of the first two may end in the lengths of networks around the addresses.
func (t term) hosts(rest string) (_ term, err error) {
	lengths := rest
	if domain, named := strings.CutPrefix(rest, ":"); named {
		lengths = ""
		// A slash within a macro separates nothing.
		macros := strings.LastIndexByte(domain, '}') + 1
		if slash := strings.IndexByte(domain[macros:], '/'); slash >= 0 {
			domain, lengths = domain[:macros+slash], domain[macros+slash:]
		}
		if t, err = t.names(domain); err != nil {
			return term{}, err
		}
	}
	if lengths != "" && t.kind == "ptr" {
		return term{}, errors.New("ptr takes no length")
	}
	v4, v6, hasV6 := strings.Cut(lengths, "//")
	var ok4, ok6 bool
	t.bits4, ok4 = length(strings.TrimPrefix(v4, "/"), v4 != "", 32)
	t.bits6, ok6 = length(v6, hasV6, 128)
	if !ok4 || !ok6 {
		return term{}, fmt.Errorf("%.100q is no length of a network", lengths)
	}
	return t, nil
}

// length reads how many bits a network fixes; all of them when nothing is said.
func length(text string, said bool, most int) (int, bool) {
	if !said {
		return most, true
	}
	n, err := strconv.Atoi(text)
	return n, err == nil && 0 <= n && n <= most && strconv.Itoa(n) == text
}

// address reads the value of ip4 and ip6. Bits beyond the length count for
// nothing.
func (t term) address(value string) (term, error) {
	prefix, err := netip.ParsePrefix(value)
	if err != nil && !strings.Contains(value, "/") {
		var addr netip.Addr
		if addr, err = netip.ParseAddr(value); err == nil && addr.Zone() == "" {
			prefix = netip.PrefixFrom(addr, addr.BitLen())
		}
	}
	if err != nil || !prefix.IsValid() || prefix.Addr().Is4() != (t.kind == "ip4") {
		return term{}, fmt.Errorf("%.100q is no %s network", value, t.kind)
	}
	t.prefix = prefix.Masked()
	return t, nil
}

// names reads the domain that a term names (RFC 7208 section 7.1).
func (t term) names(domain string) (term, error) {
	if strings.Contains(domain, "%") {
		t.macro = true
		return t, nil
	}
	normal, err := mail.NormalDomain(domain)
	top := normal[strings.LastIndexByte(normal, '.')+1:]
	if err != nil || top == normal || strings.Trim(top, "0123456789") == "" || strings.ContainsAny(top, "]_") {
		return term{}, fmt.Errorf("%.100q is no domain", domain)
	}
	t.domain = normal
	return t, nil
}
