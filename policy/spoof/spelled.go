package spoof

import (
	"strings"
	"unicode"
	"unicode/utf8"

	"coexistd/policy/mail"
)

// mention is what people read as an address in a text.
type mention struct {
	address string
	// plain says that it is written as addresses are: local@domain. All others are
	// in a domain of ours.
	plain bool
	// vague says that it may as well be a person and a place: "Jones at acmecorp.com".
	vague bool
}

// spelled is what may be an address in a text.
type spelled struct {
	local  string
	at     sign
	domain string // as far as it may reach
	alone  bool   // no word stands just before it
	turned bool
}

// addressesOf returns the addresses of a text that it has not returned before, however
// they are spelled: "ceo@acmecorp.com", "ceo @ acmecorp.com", "ceo (at) acmecorp dot com".
func (l *look) addressesOf(r reading) (mentions []mention) {
	if l.searched[r] {
		return nil
	}
	l.searched[r] = true
	for i := range len(r.text) {
		at, start, end := signAt(r.text, i)
		if at == noSign {
			continue
		}
		here := spelled{at: at, turned: r.turned}
		here.local, here.alone = localBefore(r.text[:start])
		here.domain = domainAhead(r.text[end:])
		if here.local == "" || here.domain == "" || l.spelled[here] {
			continue
		}
		if l.addresses--; l.addresses < 0 {
			break
		}
		l.spelled[here] = true
		if m, ok := l.names.mention(here); ok {
			mentions = append(mentions, m)
		}
	}
	return mentions
}

// mention returns the address that is spelled. In a turned text, only those of ours
// count: in it, signs may have changed places with the words beside them.
func (o Names) mention(here spelled) (m mention, ok bool) {
	domain, isOurs, isWhole := o.first(here.domain)
	if here.at == plainSign && isWhole && !here.turned {
		local := strings.TrimLeft(here.local, "'`")
		return mention{address: local + "@" + domain, plain: true}, local != "" && domain != ""
	}
	local := strings.TrimLeftFunc(here.local, func(r rune) bool { return !isWordRune(r) })
	vague := here.at == vagueSign || here.at == apartSign && !here.alone
	return mention{address: local + "@" + domain, vague: vague}, local != "" && isOurs
}

// first reads what domainAhead returns: the first domain of ours in it, or else what
// stands before the first space, for which whole is set.
func (o Names) first(text string) (domain string, isOurs, isWhole bool) {
	var name, first string
	for rest := text; rest != ""; {
		n := domainLength(rest)
		name += rest[:n]
		domain = strings.Trim(name, ".-")
		if strings.Contains(domain, ".") && len(domain) <= maxDomain {
			if normal, err := mail.NormalDomain(domain); err == nil && o.has(normal) {
				return normal, true, n == len(name)
			}
			if n == len(name) {
				first = domain
			}
		}
		rest = rest[n:]
		rest = rest[dotLength(rest, strings.HasSuffix(name, ".")):]
		name = strings.TrimRight(name, ".") + "."
	}
	return first, false, true
}

// sign is how an @ is written.
type sign uint8

const (
	noSign    sign = iota
	plainSign      // "ceo@acme.com"
	clearSign      // "ceo@ acme.com", "ceo (at) acme.com"
	apartSign      // "ceo @ acme.com", "ceo (a) acme.com"
	vagueSign      // "ceo @acme.com", "ceo at acme.com"
)

const (
	opening = "([{<"
	closing = ")]}>"
)

// signAt reads the sign whose "@", "at", or "a" in brackets, begins at a place. The
// spaces and the brackets around it belong to it.
func signAt(text string, i int) (at sign, start, end int) {
	const besideWords = " _*/|~"
	isWord, isLetter := false, false
	end = i + 1
	switch {
	case text[i] == '@':
	case text[i] != 'a' && text[i] != 'A', !isWordEnd(text[:i]):
		return noSign, 0, 0
	case end < len(text) && (text[end] == 't' || text[end] == 'T'):
		isWord, end = true, end+1
	default:
		isLetter = true
	}
	before, behind := strings.TrimRight(text[:i], " "), strings.TrimLeft(text[end:], " ")
	isBefore, isBehind := len(before) < i, len(behind) < len(text)-end
	switch {
	case isIn(opening, before, len(before)-1) && isIn(closing, behind, 0):
		before, behind = strings.TrimRight(before[:len(before)-1], " "), strings.TrimLeft(behind[1:], " ")
		if at = clearSign; isLetter {
			at = apartSign
		}
	case isLetter:
		return noSign, 0, 0
	case isWord:
		before, behind = strings.TrimRight(text[:i], besideWords), strings.TrimLeft(text[end:], besideWords)
		if len(before) == i || len(behind) == len(text)-end {
			return noSign, 0, 0
		}
		at = vagueSign
	case isBefore && isBehind:
		at = apartSign
	case isBefore:
		at = vagueSign
	case isBehind:
		at = clearSign
	default:
		at = plainSign
	}
	return at, len(before), len(text) - len(behind)
}

// isIn reports that a text has one of these characters at a place.
func isIn(characters, text string, place int) bool {
	return place >= 0 && place < len(text) && strings.IndexByte(characters, text[place]) >= 0
}

// localBefore returns the local part that a text ends with. Alone says that no word
// stands just before it.
func localBefore(text string) (local string, alone bool) {
	const separators = ` "(),:;<>@[\]{}` + "\n"
	text = text[max(0, len(text)-mail.MaxAddress):]
	start := strings.LastIndexAny(text, separators) + 1
	before := strings.TrimRight(text[:start], " ")
	return text[start:], before == "" || isWordEnd(before) && !strings.ContainsAny(before[len(before)-1:], ".'&")
}

// domainAhead returns what may be a domain at the beginning of a text, with dots
// that are written apart, or as words; "" when there is no dot.
func domainAhead(text string) string {
	const mostDots = 4 // of those
	length, dots := domainLength(text), 0
	if length == 0 || length > mail.MaxAddress {
		return ""
	}
	for ; dots < mostDots; dots++ {
		dot := dotLength(text[length:], text[length-1] == '.')
		next := domainLength(text[length+dot:])
		if dot == 0 || next == 0 || next > mail.MaxAddress {
			break
		}
		length += dot + next
	}
	if dots == 0 && !strings.Contains(strings.Trim(text[:length], ".-"), ".") {
		return ""
	}
	return text[:length]
}

// domainLength returns the length of the longest beginning of a text that has only
// characters of domains.
func domainLength(text string) int {
	if end := strings.IndexFunc(text, func(r rune) bool { return !isDomainRune(r) }); end >= 0 {
		return end
	}
	return len(text)
}

// dotLength returns the length of a dot that is written apart or as a word, with
// what is around it: " . ", " dot ", "(dot)"; and behind a dot, of the spaces that
// follow it.
func dotLength(text string, behindDot bool) int {
	rest := strings.TrimLeft(text, " ")
	isApart := len(rest) < len(text)
	if behindDot {
		return len(text) - len(rest)
	}
	inBrackets := isIn(opening, rest, 0)
	if inBrackets {
		rest = strings.TrimLeft(rest[1:], " ")
	}
	switch {
	case strings.HasPrefix(rest, "."):
		rest = rest[1:]
	case len(rest) > 3 && strings.EqualFold(rest[:3], "dot") && !isDomainRune(rune(rest[3])):
		rest = rest[3:]
	default:
		return 0
	}
	rest = strings.TrimLeft(rest, " ")
	switch {
	case inBrackets && isIn(closing, rest, 0):
		rest = strings.TrimLeft(rest[1:], " ")
	case inBrackets || !isApart:
		return 0
	}
	return len(text) - len(rest)
}

func isWordRune(r rune) bool { return unicode.IsLetter(r) || unicode.IsDigit(r) }

// isWordEnd reports that no word goes on behind a text.
func isWordEnd(text string) bool {
	r, size := utf8.DecodeLastRuneInString(text)
	return size == 0 || !isWordRune(r)
}
