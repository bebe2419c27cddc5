package policy

import (
	"fmt"
	"slices"
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

// maxDomain is the longest domain name in bytes (RFC 1035 section 2.3.4).
const maxDomain = 253

// maxSights is how many domains the texts of one message may name. What looking at
// one of them takes is its sender's to choose, up to that of 253 bytes.
const maxSights = 200

// imitates returns why one of the mailboxes pretends to be one of ours: by its
// domain, or by the text beside it, which is all that many mail programs show.
// It is "" when none does. Beside a mailbox of ours, our domains may be named.
func (o own) imitates(authors []Author) string {
	g := gaze{own: o, like: o.likenesses(), seen: make(map[string][]sight), left: maxSights}
	for _, author := range authors {
		domain := author.Address.Domain
		isOurs := o.has(domain)
		if ours := g.like.find(domain, true); ours != "" && !isOurs {
			return fmt.Sprintf("the domain %s looks like %s, which is ours", printable(domain), ours)
		}
		text := author.Display
		if strings.Contains(author.Address.Local, "@") {
			text = author.Address.Local + " " + text
		}
		for _, part := range parts(text) {
			for _, s := range g.look(part) {
				switch {
				case s.like != "":
					return fmt.Sprintf("the text beside the address %s names %s, which looks like %s", printable(author.Address.Key), printable(s.name), s.like)
				case !isOurs:
					return fmt.Sprintf("the text beside the address %s names %s, which is ours", printable(author.Address.Key), printable(s.name))
				}
			}
			if g.left < 0 {
				return fmt.Sprintf("the texts beside the addresses name more than %d domains", maxSights)
			}
		}
	}
	return ""
}

// parts returns what stands between the spaces of the text beside a mailbox, as
// far as that is looked at. The name of a group stands beside each of its
// mailboxes, so whoever looks at the parts of a message does it once for each.
func parts(text string) []string {
	return strings.Split(text[:min(len(text), longestDisplay)], " ")
}

// gaze looks for our domains in the texts of one message.
type gaze struct {
	own  own
	like likenesses
	seen map[string][]sight // by the part of a text
	left int                // the domains that may still be looked at; less than 0: there were more
}

// sight is a domain in a text, which is ours or looks like one that is.
type sight struct{ name, like string }

// look returns what is to be seen in a part of a text.
func (g *gaze) look(part string) []sight {
	if isASCII(part) && !strings.Contains(part, ".") {
		return nil
	}
	sights, again := g.seen[part]
	if again {
		return sights
	}
	for _, name := range domainsIn(visible(part, longestDisplay)) {
		if g.left--; g.left < 0 {
			break
		}
		normal, err := NormalDomain(name)
		if err == nil && g.own.has(normal) {
			sights = append(sights, sight{name: normal})
			continue
		}
		searched := name
		if err == nil {
			searched = normal
		}
		if ours := g.like.find(searched, err == nil); ours != "" {
			sights = append(sights, sight{name, ours})
		}
	}
	g.seen[part] = sights
	return sights
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
// or another public suffix, does not look like ours. Normal says that NormalDomain
// returned it; else it is a text that is no domain's name.
func (l likenesses) find(domain string, normal bool) string {
	free := -1 // the labels before the organisational domain
	if normal {
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
	text = text[:min(len(text), longest)]
	if !norm.NFKC.IsNormalString(text) {
		// One letter may stand for many: no more is made than is returned.
		const growth = 11 // that of U+FDFA, the most
		normal := make([]byte, min(longest, growth*len(text)))
		n, _, _ := norm.NFKC.Transform(normal, []byte(text), true)
		text = string(normal[:n])
	}
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
		if local != "" && strings.Contains(domain, ".") && len(domain) <= maxDomain {
			addresses = append(addresses, local+"@"+domain)
		}
	}
}

// domainsAddressed lists the domains that stand behind an @ in a visible text,
// with spaces and comments between them or not (RFC 5322 section 4.4), each once.
// More is set when there are more than maxSights, and the rest is left out.
func domainsAddressed(text string) (domains []string, more bool) {
	seen := make(map[string]bool)
	for _, start := range addressed(text) {
		name := text[start:]
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
		if domain, err := NormalDomain(name); err == nil {
			domains = append(domains, domain)
		}
	}
	return domains, false
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
