package policy

import (
	"fmt"
	"strings"
	"unicode"

	"golang.org/x/net/idna"
	"golang.org/x/text/unicode/norm"
)

// The longest texts that are looked into, in bytes: the one beside a mailbox, and
// that of From fields which cannot be read.
const (
	longestDisplay = 4 << 10
	longestText    = 64 << 10
)

// longestGap is how far behind an @ the end of its domain is looked for, in bytes.
const longestGap = 1 << 10

// maxDomain is the longest domain name in bytes (RFC 1035 section 2.3.4).
const maxDomain = 253

// imitates returns why one of the mailboxes pretends to be one of ours: by its
// domain, or by the text beside it, which is all that many mail programs show.
// It is "" when none does. Beside a mailbox of ours, our domains may be named.
func (o own) imitates(authors []Author) string {
	like := o.likenesses()
	for _, author := range authors {
		domain := author.Address.Domain
		isOurs := o.has(domain)
		if ours := like.find(domain); ours != "" && !isOurs {
			return fmt.Sprintf("the domain %s looks like %s, which is ours", printable(domain), ours)
		}
		text := author.Display
		if strings.Contains(author.Address.Local, "@") {
			text = author.Address.Local + " " + text
		}
		for _, name := range domainsIn(visible(text, longestDisplay)) {
			if normal, err := NormalDomain(name); err == nil && o.has(normal) {
				if isOurs {
					continue
				}
				return fmt.Sprintf("the text beside the address %s names %s, which is ours", printable(author.Address.Key), printable(normal))
			}
			if ours := like.find(name); ours != "" {
				return fmt.Sprintf("the text beside the address %s names %s, which looks like %s", printable(author.Address.Key), printable(name), ours)
			}
		}
	}
	return ""
}

// likenesses tell which domains look like ours.
type likenesses struct {
	by      map[string]string // our domains by their skeletons
	deepest int               // the most labels that one of them has
}

func (o own) likenesses() likenesses {
	like := likenesses{by: make(map[string]string, len(o))}
	for name := range o {
		s := skeleton(name)
		// Of two with one skeleton the answer must not depend on the map's order.
		if other, taken := like.by[s]; !taken || name < other {
			like.by[s] = name
		}
		like.deepest = max(like.deepest, strings.Count(name, ".")+1)
	}
	return like
}

// find returns the domain of ours that another one looks like: it is below what
// looks like ours, or has that among the labels which its owner was free to
// choose, as acmecorp.com.example.net has. What has letters or hyphens besides,
// or another public suffix, does not look like ours.
func (l likenesses) find(domain string) string {
	if len(domain) > maxDomain {
		return ""
	}
	free := -1 // the labels before the organisational domain
	if normal, err := NormalDomain(domain); err == nil {
		domain = normal
		free = strings.Count(domain, ".") - strings.Count(organisational(domain), ".")
	}
	labels := strings.Split(skeleton(domain), ".")
	for i := range labels {
		for j := i + 1; j <= min(len(labels), i+l.deepest); j++ {
			if j > free && j < len(labels) {
				continue
			}
			if ours, found := l.by[strings.Join(labels[i:j], ".")]; found {
				return ours
			}
		}
	}
	return ""
}

// skeleton returns a text that domains which look alike have in common: without
// accents and case, with one letter for all that are drawn like it.
func skeleton(domain string) string {
	if strings.Contains(domain, "xn--") {
		// What it returns beside an error is decoded as far as it can be.
		domain, _ = idna.Punycode.ToUnicode(domain)
	}
	if domain = fold(domain); !isASCII(domain) {
		domain = strings.Map(func(r rune) rune {
			if unicode.Is(unicode.Mn, r) {
				return -1
			}
			if i, found := confusable(r); found {
				return i
			}
			return r
		}, norm.NFKD.String(domain))
	}
	return alike.Replace(domain)
}

// alike makes one of the ASCII letters, digits and pairs that look alike.
var alike = strings.NewReplacer("0", "o", "1", "l", "i", "l", "rn", "m", "vv", "w")

// lookalikes are the letters that are drawn like those of ASCII in common fonts,
// in lower case and without accents: the runes at even places look like those
// that follow them. They are a part of Unicode's list (UTS 39 section 4), which
// has thousands that no domain may hold.
var lookalikes = [...]rune{
	// Cyrillic.
	'а', 'a', 'ԁ', 'd', 'е', 'e', 'є', 'e', 'һ', 'h', 'н', 'h', 'і', 'l', 'ј', 'j', 'к', 'k', 'ӏ', 'l', 'м', 'm', 'п', 'n',
	'о', 'o', 'р', 'p', 'ԛ', 'q', 'г', 'r', 'ѕ', 's', 'т', 't', 'у', 'y', 'ү', 'y', 'ѵ', 'v', 'ԝ', 'w', 'ш', 'w', 'х', 'x',
	'в', 'b', 'ь', 'b', 'с', 'c',
	// Greek.
	'α', 'a', 'β', 'b', 'ϲ', 'c', 'ε', 'e', 'η', 'n', 'ι', 'l', 'ϳ', 'j', 'κ', 'k', 'ν', 'v', 'ο', 'o', 'σ', 'o', 'ρ', 'p',
	'τ', 't', 'υ', 'u', 'χ', 'x', 'ω', 'w', 'γ', 'y',
	// Armenian.
	'օ', 'o', 'ս', 'u', 'հ', 'h', 'ո', 'n', 'ց', 'g', 'յ', 'j',
	// Latin that has no decomposition.
	'ı', 'l', 'ɑ', 'a', 'ƅ', 'b', 'ᴄ', 'c', 'đ', 'd', 'ɡ', 'g', 'ħ', 'h', 'ɩ', 'l', 'ɪ', 'l', 'ł', 'l', 'ʟ', 'l', 'ɴ', 'n',
	'ø', 'o', 'ᴏ', 'o', 'ɔ', 'o', 'ʀ', 'r', 'ꜱ', 's', 'ŧ', 't', 'ᴜ', 'u', 'ᴠ', 'v', 'ᴡ', 'w', 'ʏ', 'y', 'ᴢ', 'z',
	// Hyphens.
	'\u2010', '-', '\u2012', '-', '\u2013', '-', '\u2212', '-',
}

// confusable returns the ASCII letter that another letter looks like.
func confusable(r rune) (ascii rune, found bool) {
	for i := 0; i < len(lookalikes); i += 2 {
		if lookalikes[i] == r {
			return lookalikes[i+1], true
		}
	}
	return 0, false
}

// visible returns what a mail program shows of a text, in one form for letters
// of any width: without characters that are not seen, with plain spaces and dots.
// It is no longer than that, in bytes, whatever its letters are made of.
func visible(text string, longest int) string {
	text = norm.NFKC.String(text[:min(len(text), longest)])
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
	}, text[:min(len(text), longest)])
}

// domainsIn lists what looks like a domain in a visible text.
func domainsIn(text string) []string {
	var domains []string
	for _, word := range strings.FieldsFunc(text, func(r rune) bool { return !isDomainRune(r) }) {
		if word = strings.Trim(word, ".-"); strings.Contains(word, ".") && len(word) <= maxDomain {
			domains = append(domains, word)
		}
	}
	return domains
}

// isDomainRune reports a character of a domain, internationalized or not.
func isDomainRune(r rune) bool {
	return r == '.' || r == '-' || unicode.In(r, unicode.L, unicode.M, unicode.Nd, unicode.Pd)
}

// addressesIn lists what looks like an address in a visible text.
func addressesIn(text string) []string {
	var addresses []string
	for at := 0; ; at++ {
		next := strings.IndexByte(text[at:], '@')
		if next < 0 {
			return addresses
		}
		at += next
		// The part that no separator is in, before the @ and after it.
		local := text[strings.LastIndexAny(text[:at], ` "(),:;<>@[\]`)+1 : at]
		domain := text[at+1:]
		if end := strings.IndexFunc(domain, func(r rune) bool { return !isDomainRune(r) }); end >= 0 {
			domain = domain[:end]
		}
		local, domain = strings.TrimLeft(local, "'`"), strings.Trim(domain, ".-")
		if local != "" && strings.Contains(domain, ".") {
			addresses = append(addresses, local+"@"+domain)
		}
	}
}

// domainsAddressed lists the domains that stand behind an @ in a visible text,
// with spaces and comments between them or not (RFC 5322 section 4.4).
func domainsAddressed(text string) []string {
	var domains []string
	for {
		_, rest, found := strings.Cut(text, "@")
		if !found {
			return domains
		}
		text = rest
		rest = rest[:min(len(rest), longestGap)]
		for rest = strings.TrimLeft(rest, " "); strings.HasPrefix(rest, "("); rest = strings.TrimLeft(rest, " ") {
			if _, rest, found = strings.Cut(rest, ")"); !found {
				break
			}
		}
		if end := strings.IndexFunc(rest, func(r rune) bool { return !isDomainRune(r) && r != '_' }); end >= 0 {
			rest = rest[:end]
		}
		if domain, err := NormalDomain(rest); err == nil {
			domains = append(domains, domain)
		}
	}
}
