package spoof

import (
	"cmp"
	"strings"
	"unicode"

	"golang.org/x/net/idna"
	"golang.org/x/text/unicode/norm"

	"coexistd/policy/mail"
	"coexistd/policy/verdict"
)

// maxSights is how many domains the texts of one message may name. What looking at
// one of them takes is its sender's to choose, up to that of 253 bytes.
const maxSights = 200

// imitates tells whether one of the mailboxes pretends to be one of ours, and why: by its
// domain, or by the text beside it, which is all that many mail programs show. Beside a
// mailbox of ours, our domains may be named.
func (o Names) imitates(a *Authors) (why verdict.Reason, imitates bool) {
	l := newLook(o)
	for _, authors := range [...][]Author{a.From, a.Sender} {
		for i := range authors {
			if why, imitates = l.imitates(&authors[i]); imitates {
				return why, true
			}
		}
	}
	return verdict.Reason{}, false
}

func (l *look) imitates(author *Author) (why verdict.Reason, imitates bool) {
	domain := author.Address.Domain
	isOurs := l.names.has(domain)
	if ours := l.names.like.find(domain, true); ours != "" && !isOurs {
		return verdict.Why(verdict.DomainLooksLike, domain, ours), true
	}
	text := author.Display
	if strings.Contains(author.Address.Local, "@") {
		text = author.Address.Local + " " + text
	}
	for _, r := range l.read(text) {
		for _, s := range l.domainsOf(r.text) {
			switch {
			case s.like != "":
				return verdict.Why(verdict.TextLooksLike, author.Address.Key, s.name, s.like), true
			case !isOurs:
				return verdict.Why(verdict.TextNamesOurs, author.Address.Key, s.name), true
			}
		}
		if isOurs {
			continue
		}
		for _, mention := range l.addressesOf(r) {
			if !mention.plain {
				return verdict.Why(verdict.TextReadsAsOurs, author.Address.Key, mention.address), true
			}
		}
	}
	return verdict.Why(verdict.TextsHoldMore), l.isOver()
}

// sight is a domain in a text, which is ours or looks like one that is.
type sight struct{ name, like string }

// domainsOf returns the domains in a visible text that are ours or look so.
func (l *look) domainsOf(text string) (sights []sight) {
	for word := range strings.SplitSeq(text, " ") {
		if strings.Contains(word, ".") {
			sights = append(sights, l.domainsOfWord(word)...)
		}
	}
	return sights
}

func (l *look) domainsOfWord(word string) []sight {
	sights, again := l.sights[word]
	if again {
		return sights
	}
	for name := range strings.FieldsFuncSeq(word, func(r rune) bool { return !isDomainRune(r) }) {
		name = strings.Trim(name, ".-")
		if !strings.Contains(name, ".") || len(name) > maxDomain {
			continue
		}
		if l.domains--; l.domains < 0 {
			break
		}
		normal, err := mail.NormalDomain(name)
		if err == nil && l.names.has(normal) {
			sights = append(sights, sight{name: normal})
			continue
		}
		if ours := l.names.like.find(cmp.Or(normal, name), err == nil); ours != "" {
			sights = append(sights, sight{name, ours})
		}
	}
	l.sights[word] = sights
	return sights
}

// likenesses tell which domains look like ours.
type likenesses struct {
	by      map[string]string // our domains by their skeletons
	deepest int               // the most labels that one of them has
}

func (o Names) likenesses() likenesses {
	like := likenesses{by: make(map[string]string, len(o.is))}
	for name := range o.is {
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
	name := skeleton(domain)
	labels := strings.Count(name, ".") + 1
	for i, start := 0, 0; i < labels; i, start = i+1, labelEnd(name, start)+1 {
		for j, end := i+1, start-1; j <= min(labels, i+l.deepest); j++ {
			end = labelEnd(name, end+1)
			if ours, found := l.by[name[start:end]]; found && (j == labels || normal && j <= free(domain)) {
				return ours
			}
		}
	}
	return ""
}

// free counts the labels before the organisational domain.
func free(domain string) int {
	return strings.Count(domain, ".") - strings.Count(organisational(domain), ".")
}

// labelEnd returns where the label ends that begins at start.
func labelEnd(name string, start int) int {
	if dot := strings.IndexByte(name[start:], '.'); dot >= 0 {
		return start + dot
	}
	return len(name)
}

// skeleton returns a text that domains which look alike have in common: without
// accents and case, with one letter for all that are drawn like it.
func skeleton(domain string) string {
	if strings.Contains(domain, "xn--") {
		// What it returns beside an error is decoded as far as it can be.
		domain, _ = idna.Punycode.ToUnicode(domain)
	}
	if domain = mail.Fold(domain); !mail.IsASCII(domain) {
		domain = drawn.Replace(strings.Map(func(r rune) rune {
			if unicode.Is(unicode.Mn, r) {
				return -1
			}
			return r
		}, norm.NFKD.String(domain)))
	}
	return alike.Replace(strings.ReplaceAll(strings.ReplaceAll(domain, "rn", "m"), "vv", "w"))
}

// alike makes one of the ASCII letters and digits that look alike. That of single bytes is
// a fast one.
var alike = strings.NewReplacer("0", "o", "1", "l", "i", "l")

// drawn makes those of ASCII of the letters that are drawn like them in common fonts, in
// lower case and without accents. They are a part of Unicode's list (UTS 39 section 4),
// which has thousands that no domain may hold.
var drawn = strings.NewReplacer(
	// Cyrillic.
	"а", "a", "ԁ", "d", "е", "e", "є", "e", "һ", "h", "н", "h", "і", "l", "ј", "j", "к", "k", "ӏ", "l", "м", "m", "п", "n",
	"о", "o", "р", "p", "ԛ", "q", "г", "r", "ѕ", "s", "т", "t", "у", "y", "ү", "y", "ѵ", "v", "ԝ", "w", "ш", "w", "х", "x",
	"в", "b", "ь", "b", "с", "c",
	// Greek.
	"α", "a", "β", "b", "ϲ", "c", "ε", "e", "η", "n", "ι", "l", "ϳ", "j", "κ", "k", "ν", "v", "ο", "o", "σ", "o", "ρ", "p",
	"τ", "t", "υ", "u", "χ", "x", "ω", "w", "γ", "y",
	// Armenian.
	"օ", "o", "ս", "u", "հ", "h", "ո", "n", "ց", "g", "յ", "j",
	// Latin that has no decomposition.
	"ı", "l", "ɑ", "a", "ƅ", "b", "ᴄ", "c", "đ", "d", "ɡ", "g", "ħ", "h", "ɩ", "l", "ɪ", "l", "ł", "l", "ʟ", "l", "ɴ", "n",
	"ø", "o", "ᴏ", "o", "ɔ", "o", "ʀ", "r", "ꜱ", "s", "ŧ", "t", "ᴜ", "u", "ᴠ", "v", "ᴡ", "w", "ʏ", "y", "ᴢ", "z",
	// Hyphens.
	"\u2010", "-", "\u2012", "-", "\u2013", "-", "\u2212", "-",
)
