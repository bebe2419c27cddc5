package spoof

import (
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"

	"coexistd/policy/mail"
)

// maxDomain is the longest domain name in bytes (RFC 1035 section 2.3.4).
const maxDomain = 253

// reading is a visible text: what a mail program shows of a text, or may show.
// Turned says that it is so only where the program heeds the characters which
// change the direction of writing.
type reading struct {
	text   string
	turned bool
}

// look looks into the texts beside one message's mailboxes. The name of a group stands
// beside each of its mailboxes, so what was seen is kept: by the text, and by the word.
type look struct {
	names    Names
	readings map[string][]reading
	sights   map[string][]sight
	searched map[reading]bool // for addresses
	spelled  map[spelled]bool
	// How many bytes, domains and addresses may still be looked at. Less than 0: there
	// were more.
	bytes, domains, addresses int
}

func newLook(names Names) *look {
	return &look{
		names: names, readings: map[string][]reading{}, sights: map[string][]sight{}, searched: map[reading]bool{}, spelled: map[spelled]bool{},
		bytes: maxAuthorText, domains: maxSights, addresses: maxSights,
	}
}

// isOver reports that there was more than is looked at.
func (l *look) isOver() bool { return min(l.bytes, l.domains, l.addresses) < 0 }

// read returns the readings of a text, as far as it is looked at.
func (l *look) read(text string) []reading {
	text = text[:min(len(text), maxDisplay)]
	readings, again := l.readings[text]
	if again || text == "" {
		return readings
	}
	if l.bytes -= len(text); l.bytes < 0 {
		return nil
	}
	readings, more := readingsOf(text)
	if more {
		l.bytes = -1
	}
	l.readings[text] = readings
	return readings
}

// readingsOf returns the readings of a text, of which the first is not turned. More is
// set when it is turned in more ways than are looked at.
func readingsOf(text string) (readings []reading, more bool) {
	if !strings.ContainsFunc(text, func(r rune) bool { return r < ' ' || r > '~' }) {
		return []reading{{text: text}}, false // as most are
	}
	if !norm.NFKC.IsNormalString(text) {
		text = norm.NFKC.String(text) // at most 11 times as long
	}
	plain := visible(text)
	readings = []reading{{text: plain}}
	shown, tooDeep := turned(text)
	for _, text := range shown {
		if shown := visible(text); shown != plain {
			readings = append(readings, reading{shown, true})
		}
	}
	return readings, tooDeep
}

// visible returns what is seen of a text in normal form: without characters that
// are not seen, with plain spaces and dots.
func visible(text string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r == '。':
			return '.'
		case unicode.IsSpace(r):
			return ' '
		case unicode.In(r, unicode.Cc, unicode.Cf, unicode.Variation_Selector, unicode.Other_Default_Ignorable_Code_Point):
			return -1
		}
		return r
	}, text)
}

// isDomainRune reports a character of a domain, internationalized or not.
func isDomainRune(r rune) bool {
	if r < utf8.RuneSelf {
		return r == '.' || r == '-' || 'a' <= r && r <= 'z' || 'A' <= r && r <= 'Z' || '0' <= r && r <= '9'
	}
	return unicode.In(r, unicode.L, unicode.M, unicode.Nd, unicode.Pd)
}

// domainsAddressed lists the domains that stand behind an @ in the text of a From
// field that cannot be read, with spaces and comments between them or not (RFC 5322
// section 4.4). More is set when there are more than maxSights, and the rest is
// left out.
func domainsAddressed(text string) (domains []string, more bool) {
	seen := make(map[string]bool)
	readings, more := readingsOf(text[:min(len(text), maxAuthorText)])
	for _, r := range readings {
		for _, start := range addressed(r.text) {
			name := r.text[start:]
			if end := strings.IndexFunc(name, func(r rune) bool { return !isDomainRune(r) && r != '_' }); end >= 0 {
				name = name[:end]
			}
			if name = ending(name); name == "" || seen[name] {
				continue
			}
			if len(seen) == maxSights {
				return domains, true
			}
			seen[name] = true
			if domain, err := mail.NormalDomain(name); err == nil {
				domains = append(domains, domain)
			}
		}
	}
	return domains, more
}

// addressed lists where what stands behind an @ begins, in ascending order. It
// reads the text once, from its end.
func addressed(text string) []int {
	var starts []int
	next := len(text) // where that begins which an @ just before would have
	behind := -1      // next, behind the comment's end that comes next; -1: there is none
	for i := len(text) - 1; i >= 0; i-- {
		switch text[i] {
		case ' ':
			continue
		case '(':
			next = behind
			continue
		case ')':
			behind = next
		case '@':
			if next >= 0 {
				starts = append(starts, next)
			}
		}
		next = i
	}
	slices.Sort(starts)
	return slices.Compact(starts)
}

// ending returns of a name that is longer than a domain's its last labels: by
// them it is known whose it is.
func ending(name string) string {
	name = strings.TrimSuffix(name, ".")
	if len(name) <= maxDomain {
		return name
	}
	_, name, _ = strings.Cut(name[len(name)-maxDomain-1:], ".")
	return name
}
