package spoof

import (
	"slices"
	"strings"

	"coexistd/policy/mail"
)

// maxResults bounds the value that Results returns, in bytes beyond our own name.
const maxResults = 1 << 10

// ResultsHeader is the name of the header that tells what was found of the sender.
const ResultsHeader = "Authentication-Results"

// Results returns the value of an Authentication-Results field (RFC 8601) of the host
// that tells what was found, folded with bare newlines.
//
// The value is of printable ASCII and bounded, 1 KB and the host's name: what would
// go beyond is left out, the signatures that did not pass before those that did.
func (f *Facts) Results(hostname string) string {
	if normal := mail.DomainOf(hostname); normal != "" {
		hostname = normal
	}
	found := f.Authentication
	b := append(make([]byte, 0, 256), hostname...)
	most := len(hostname) + maxResults
	// The properties are names and values by turns.
	add := func(method string, result AuthResult, properties ...string) {
		end := len(b)
		b = append(append(append(append(b, ";\n\t"...), method...), '='), result.String()...)
		for i := 0; i < len(properties); i += 2 {
			if value := properties[i+1]; value != "" {
				b = append(append(append(append(b, ' '), properties[i]...), '='), value...)
			}
		}
		if len(b) > most {
			b = b[:end]
		}
	}
	identity, value := f.askedForSPF()
	add("spf", found.SPF.Result, identity, value)
	for _, d := range found.DMARC {
		add("dmarc", f.Names.dmarcResult(found, d), "header.from", d.Domain)
	}
	if len(found.DKIM) == 0 {
		add("dkim", AuthNone)
	}
	for _, passed := range [...]bool{true, false} {
		for i := range found.DKIM {
			if one := &found.DKIM[i]; (one.Result == AuthPass) == passed {
				add("dkim", one.Result, "header.d", one.Domain, "header.s", one.Selector)
			}
		}
	}
	return string(b)
}

// askedForSPF names the identity that SPF was asked for (RFC 8601 section 2.7.2):
// of the sender the domain only, when the local part is not a plain one.
func (f *Facts) askedForSPF() (identity, value string) {
	switch found := f.Authentication.SPF; {
	case found.Helo:
		return "smtp.helo", found.Domain
	case found.Domain != "" && isPlain(f.Sender.Local):
		return "smtp.mailfrom", f.Sender.Local + "@" + found.Domain
	default:
		return "smtp.mailfrom", found.Domain
	}
}

// isPlain reports a local part that means the same to all who read it without
// quotes, and that is no longer than RFC 5321 section 4.5.3.1.1 allows.
func isPlain(local string) bool {
	const longest = 64
	return len(local) <= longest && mail.IsName(local, "-_.+")
}

// ClaimsHost reports that the value of an Authentication-Results field bears the
// host's name as its authserv-id (RFC 8601 section 2.2), so that it is to be
// removed when a stranger has brought it (section 5). Programs read such a field
// in more ways than the RFC has, so the name counts wherever it stands before the
// first result, even in a comment.
func ClaimsHost(value, hostname string) bool {
	hostname = mail.DomainOf(hostname)
	if hostname == "" {
		return false
	}
	// A semicolon may be meant to stand in quotes or in a comment, or to end them.
	cut := head8601(value)
	raw, _, _ := strings.Cut(value, ";")
	for _, part := range [...]string{cut, raw} {
		part = strings.Map(dropMarks, part)
		for _, reading := range [...]string{part, mail.WithoutComments(part)} {
			if namesHost(reading, hostname) {
				return true
			}
		}
	}
	return false
}

// head8601 returns what stands before the first semicolon that is not in quotes or
// in a comment.
func head8601(value string) string {
	for i := 0; i < len(value); i++ {
		switch value[i] {
		case ';':
			return value[:i]
		case '"', '(':
			n, _ := mail.Enclosed(value[i:])
			i += n - 1
		}
	}
	return value
}

// dropMarks drops what may stand within a name without being a part of it, and
// makes white space of what folds.
func dropMarks(c rune) rune {
	switch {
	case c == '\n' || c == '\r' || c == '\t':
		return ' '
	case c == '"' || c == '\\' || c < ' ' || c == 0x7f:
		return -1
	}
	return c
}

// namesHost reports that the host's name stands in a text: as a name of its own in
// ASCII, as a word in any form, or when all white space is dropped before the
// version's number.
func namesHost(text, hostname string) bool {
	if slices.ContainsFunc(strings.Fields(text), func(word string) bool { return mail.DomainOf(word) == hostname }) {
		return true
	}
	lower := strings.ToLower(text)
	if rest, ok := strings.CutPrefix(strings.ReplaceAll(lower, " ", ""), hostname); ok && strings.Trim(rest, "0123456789.") == "" {
		return true
	}
	for before, after, ok := strings.Cut(lower, hostname); ok; before, after, ok = strings.Cut(after, hostname) {
		// A dot may be the name's end.
		last, next := before[max(0, len(before)-1):], strings.TrimLeft(after, ".")
		if !mail.IsName(last, "-_.") && !mail.IsName(next[:min(len(next), 1)], "-_.") {
			return true
		}
	}
	return false
}
