// Package mail reads what strangers write into mail: addresses of the envelope, header
// fields, and texts. It makes them comparable, and harmless where they are shown.
package mail

import (
	"errors"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/net/idna"
	"golang.org/x/text/cases"
)

// MaxAddress is the longest path that is read, in bytes. RFC 5321 section
// 4.5.3.1.3 asks for 256; quotes, source routes and UTF-8 want more.
const MaxAddress = 1024

// Address is a mailbox of the envelope (RFC 5321 section 4.1.2), taken apart.
type Address struct {
	// Path is the mailbox as it was written, without angle brackets and
	// source route, byte for byte.
	Path string
	// Local is the local part as it was written, quotes included.
	Local string
	// Domain is the domain's normal form, or an address literal in lower
	// case. It is empty for a bare local part, which belongs to the MTA.
	Domain string
	// Key is the address in the form that directories are searched by: the
	// local part in lower case, without needless quotes and with those that
	// it needs, "@", Domain.
	Key string
	// Owner is Key without the tag of a subaddress; it equals Key when there
	// is no tag.
	Owner string
}

// IsNull reports the null reverse-path "<>" (RFC 5321 section 4.5.5).
func (a Address) IsNull() bool { return a.Path == "" }

// At returns the address's mailbox in another domain. The local part keeps
// its case, its quotes and its tag. One that lacks quotes gets them: to an MTA
// that is asked to add it, "a,b@example.com" would be two addresses.
func (a Address) At(domain string) string { return addQuotes(a.Local) + "@" + domain }

// InDomain returns the address whose Key and Owner are in another domain, in normal form. Path and Local
// stay.
func (a Address) InDomain(domain string) Address {
	a.Key = strings.TrimSuffix(a.Key, a.Domain) + domain
	a.Owner = strings.TrimSuffix(a.Owner, a.Domain) + domain
	a.Domain = domain
	return a
}

// Tag returns the tag of a subaddress as it was written, its delimiter included, or "".
func (a Address) Tag() string {
	begin := len(a.Owner) - len("@") - len(a.Domain)
	if a.Owner == a.Key {
		return ""
	}
	// Before it, Key has none of the delimiters, nor has the local part as written.
	local := unquote(a.Local)
	return local[strings.IndexByte(local, a.Key[begin]):]
}

// Tagged returns the address's mailbox with a further tag behind its local part.
func (a Address) Tagged(tag string) string {
	local := addQuotes(a.Local + tag)
	if inner, quoted := strings.CutSuffix(a.Local, `"`); quoted {
		local = inner + escaper.Replace(tag) + `"`
	}
	return local + "@" + a.Domain
}

var errDomain = errors.New("the address's domain is not a domain name")

// ParseAddress reads a path as it stands in MAIL FROM or RCPT TO, with or
// without angle brackets. A source route is dropped, as RFC 5321 appendix C
// asks of a receiver. Delimiters are the characters
// that begin a subaddress's tag. The null path
// gives an Address whose IsNull is true. Any input is safe.
func ParseAddress(path, delimiters string) (Address, error) {
	if strings.HasPrefix(path, "<") && strings.HasSuffix(path, ">") && len(path) >= 2 {
		path = path[1 : len(path)-1]
	}
	if err := checkBytes(path); err != nil {
		return Address{}, err
	}
	if path == "" {
		return Address{}, nil
	}
	if path[0] == '@' {
		if path = afterRoute(path); path == "" {
			return Address{}, errors.New("the address's source route is not followed by a mailbox")
		}
	}
	local, domain, err := splitMailbox(path)
	if err != nil {
		return Address{}, err
	}
	a := Address{Path: path, Local: local}
	if domain != "" {
		if a.Domain, err = NormalDomain(domain); err != nil {
			return Address{}, err
		}
	}
	a.Key = Fold(addQuotes(unquote(local))) + "@" + a.Domain
	return a.WithDelimiters(delimiters), nil
}

// WithDelimiters returns the address with the Owner that it has when these begin a tag.
func (a Address) WithDelimiters(delimiters string) Address {
	a.Owner = a.Key
	local := strings.TrimSuffix(a.Key, "@"+a.Domain)
	if i := strings.IndexAny(local, delimiters); i > 0 && local[0] != '"' {
		a.Owner = local[:i] + "@" + a.Domain
	}
	return a
}

// IsIn reports that a list names the address, its owner or its domain, or one that its domain is
// below, as IsBelow has it.
func (a Address) IsIn(list []string) bool {
	return !a.IsNull() && (slices.Contains(list, a.Key) || slices.Contains(list, a.Owner) || slices.Contains(list, "@"+a.Domain) || IsBelow(a.Domain, list))
}

// IsBelow reports that a list has a name, or with a dot before it one that it is below. All are
// normal forms.
func IsBelow(name string, list []string) bool {
	return slices.ContainsFunc(list, func(one string) bool {
		return name == one || strings.HasPrefix(one, ".") && strings.HasSuffix(name, one)
	})
}

// Fold makes letters equal that differ in their case alone. Beyond ASCII that is
// Unicode's full case folding, by which "ß" and "SS" are the same: Postfix folds
// an address so before it asks its tables for it.
func Fold(s string) string {
	if IsASCII(s) {
		return strings.ToLower(s)
	}
	return cases.Fold().String(s)
}

func checkBytes(path string) error {
	switch {
	case len(path) > MaxAddress:
		return errors.New("the address is longer than 1024 bytes")
	case !utf8.ValidString(path):
		return errors.New("the address is not valid UTF-8")
	case strings.ContainsFunc(path, unicode.IsControl):
		return errors.New("the address holds a control character")
	}
	return nil
}

// afterRoute returns what follows a source route: all behind the first colon
// that is not inside an address literal, or "".
func afterRoute(path string) string {
	inLiteral := false
	end := strings.IndexFunc(path, func(c rune) bool {
		inLiteral = c == '[' || inLiteral && c != ']'
		return c == ':' && !inLiteral
	})
	if end < 0 {
		return ""
	}
	return path[end+1:]
}

// splitMailbox cuts at the @ that ends the local part. Unquoted, that is the
// last one: MTAs accept more in the local part than RFC 5321 does.
func splitMailbox(path string) (local, domain string, err error) {
	if path[0] != '"' {
		i := strings.LastIndexByte(path, '@')
		switch {
		case path[0] == '@':
			return "", "", errors.New("the address has no local part")
		case strings.ContainsAny(path, "<>"):
			return "", "", errors.New("the address has an angle bracket outside quotes")
		case i < 0:
			return path, "", nil
		case i == len(path)-1:
			return "", "", errDomain
		}
		return path[:i], path[i+1:], nil
	}
	n, ended := Enclosed(path)
	rest := path[n:]
	if !ended || rest == "@" || rest != "" && rest[0] != '@' {
		return "", "", errors.New("the address's quoted string does not end before the @")
	}
	return path[:n], strings.TrimPrefix(rest, "@"), nil
}

// unquote drops quotes that change nothing: "alice" and alice are the same
// mailbox (RFC 5321 section 4.1.2). Quotes that the content needs stay.
func unquote(local string) string {
	if len(local) < 2 || local[0] != '"' {
		return local
	}
	plain := Unescape(local[1 : len(local)-1])
	if isDotString(plain) {
		return plain
	}
	return quote(plain)
}

// addQuotes quotes a local part that means something else without quotes. Odd
// dots ("a..b") stay as they are, since MTAs take them for what they say.
func addQuotes(local string) string {
	if strings.HasPrefix(local, `"`) || !strings.ContainsAny(local, ` @,;:()[]\"`) {
		return local
	}
	return quote(local)
}

// quote writes a quoted string (RFC 5321 section 4.1.2) with that content.
func quote(s string) string { return `"` + escaper.Replace(s) + `"` }

var escaper = strings.NewReplacer(`"`, `\"`, `\`, `\\`)

// isDotString reports that a local part needs no quotes (RFC 5321 section
// 4.1.2 and RFC 6531 section 3.3).
func isDotString(s string) bool {
	if s == "" || s[0] == '.' || s[len(s)-1] == '.' || strings.Contains(s, "..") {
		return false
	}
	return !strings.ContainsFunc(s, func(c rune) bool {
		return c < utf8.RuneSelf && !isLetter(c) && !strings.ContainsRune("!#$%&'*+-/=?^_`{|}~.", c)
	})
}

// isLetter reports a letter or a digit of ASCII.
func isLetter(c rune) bool {
	return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9'
}

// NormalDomain returns the form in which domains are compared: lower case,
// without a final dot, an internationalized name as A-labels (RFC 5890). An
// address literal (RFC 5321 section 4.1.3) is only put in lower case.
func NormalDomain(domain string) (string, error) {
	domain = strings.TrimSuffix(domain, ".")
	if strings.HasPrefix(domain, "[") && strings.HasSuffix(domain, "]") && IsName(domain[1:len(domain)-1], ".:-_") {
		return strings.ToLower(domain), nil
	}
	if !IsASCII(domain) {
		mapped, err := idna.Lookup.ToASCII(domain)
		if err != nil {
			return "", errDomain
		}
		domain = mapped
	}
	if len(domain) > 253 || !IsName(domain, ".-_") ||
		strings.Contains("."+domain+".", "..") {
		return "", errDomain
	}
	return strings.ToLower(domain), nil
}

// IsASCII reports a text without any character beyond ASCII.
func IsASCII(s string) bool {
	for i := range len(s) {
		if s[i] >= utf8.RuneSelf {
			return false
		}
	}
	return true
}

// IsName reports that s is not empty and consists of ASCII letters, digits and the extra
// characters.
func IsName(s, extra string) bool {
	return s != "" && !strings.ContainsFunc(s, func(c rune) bool { return !isLetter(c) && !strings.ContainsRune(extra, c) })
}

// IsLiteral reports an address literal in the place of a domain (RFC 5321 section 4.1.3).
func IsLiteral(domain string) bool { return strings.HasPrefix(domain, "[") }

// DomainOf returns the normal form of what a stranger gives as a domain, or "" when it is
// none, or an address literal. What is far too long is not looked at: the work for a name
// in UTF-8 grows with the square of its length.
func DomainOf(text string) string {
	if len(text) > MaxAddress {
		return ""
	}
	normal, err := NormalDomain(text)
	if err != nil || IsLiteral(normal) {
		return ""
	}
	return normal
}
