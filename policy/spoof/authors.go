package spoof

import (
	"fmt"
	"slices"
	"strings"
	"unicode"

	"coexistd/policy/mail"
)

const (
	// maxAuthorText bounds the From and Sender fields together, in bytes, and what is
	// looked at of all texts in them.
	maxAuthorText = 64 << 10
	// maxMailboxes is how many mailboxes are read of these fields.
	maxMailboxes = 100
	// maxDisplay bounds the text beside one mailbox, in bytes.
	maxDisplay = 4 << 10
)

// ReadAuthors reads the fields From and Sender. Values returns the values of the
// message's header fields of a name, folded or not.
//
// It reads what mail programs read, beyond RFC 5322: display names with dots, an
// "@", brackets or raw UTF-8 outside quotes. Where programs could differ in whom
// they show, Broken says so, and each mailbox that one of them might show is
// there, or at least in Text. "MAILER-DAEMON <>", as some MTAs write it, is that
// local part without a domain. The addresses are parsed without delimiters, so
// that Owner equals Key. Of more than 64 KB or 100 mailboxes, the rest is left out
// and the fields are Broken and Unread.
func ReadAuthors(values func(name string) []string) Authors {
	r := authorReader{left: maxAuthorText, mailboxes: maxMailboxes}
	from := values("From")
	found := Authors{Fields: len(from)}
	var texts []string
	for _, value := range from {
		text := r.take("From", value)
		found.From = append(found.From, r.read(text)...)
		texts = append(texts, decodeWords(text))
	}
	found.Text = strings.Join(texts, "\n")
	for _, value := range values("Sender") {
		found.Sender = append(found.Sender, r.read(r.take("Sender", value))...)
	}
	found.Broken, found.Unread = r.broken, r.unread
	found.readDomains()
	return found
}

// readDomains lists the domains of what was read.
func (a *Authors) readDomains() {
	var named []string
	for _, author := range a.From {
		named = append(named, author.Address.Domain)
	}
	if a.Broken != "" {
		addressed, more := domainsAddressed(a.Text)
		named, a.MoreDomains = append(named, addressed...), more
	}
	for _, domain := range named {
		if domain != "" && !slices.Contains(a.Domains, domain) {
			a.Domains = append(a.Domains, domain)
		}
	}
}

// authorReader reads the fields of one message.
type authorReader struct {
	left      int // bytes that may still be read
	mailboxes int // that may still be read
	broken    string
	unread    bool // something was left out

	// What follows is of the field that is being read.
	name    string
	authors []Author
	group   string // the group's name as far as a display has it
	inGroup bool
	// members are the mailboxes of the group, and loose are the names of groups that
	// have none. The mailbox that comes next shows these.
	members int
	loose   string
	item    item
}

// item is what stands between two commas.
type item struct {
	before, inside, after []token
	bracketed             bool
}

// note keeps the first thing that is wrong.
func (r *authorReader) note(format string, args ...any) {
	if r.broken == "" {
		r.broken = r.name + " " + fmt.Sprintf(format, args...)
	}
}

// take unfolds a field's value (RFC 5322 section 2.2.3), and leaves out what goes
// beyond the bounds.
func (r *authorReader) take(name, value string) string {
	r.name = name
	if len(value) > r.left {
		r.unread = true
		r.note("has more text than is read, with the other fields that name authors more than %d bytes", maxAuthorText)
		value = value[:r.left]
	}
	r.left -= len(value)
	value = strings.ReplaceAll(strings.TrimRight(value, "\r\n"), "\r\n", "\n")
	value = strings.NewReplacer("\n ", " ", "\n\t", "\t").Replace(value)
	return strings.ToValidUTF8(value, "\uFFFD")
}

// read returns the mailboxes of the field that was taken.
func (r *authorReader) read(text string) []Author {
	r.authors, r.item = nil, item{}
	r.group, r.inGroup, r.members, r.loose = "", false, 0, ""
	if strings.ContainsFunc(text, func(c rune) bool { return unicode.IsControl(c) && c != '\t' }) {
		r.note("holds a control character")
	}
	tokens, closed := lex(text)
	if !closed {
		r.note("has a quoted string or a comment that does not end")
	}
	for len(tokens) > 0 {
		first := tokens[0]
		if tokens = tokens[1:]; first.kind == '<' {
			tokens = r.bracket(tokens)
		} else {
			r.token(first)
		}
	}
	r.finish()
	if r.inGroup {
		r.note("has a group that does not end")
	}
	switch last := len(r.authors) - 1; {
	case last < 0:
		r.note("names nobody")
	case r.loose != "":
		r.authors[last].Display = r.cut(r.authors[last].Display, r.loose)
	}
	return r.authors
}

// bracket takes what follows a "<" up to its ">", and returns the rest.
func (r *authorReader) bracket(tokens []token) (rest []token) {
	if r.item.bracketed {
		r.note("has no comma between two addresses in brackets")
		r.finish()
	}
	end := slices.IndexFunc(tokens, func(t token) bool { return t.kind == '>' })
	if end < 0 {
		r.note("has a bracket that is not closed")
		end = len(tokens)
	}
	r.item.bracketed, r.item.inside = true, tokens[:end]
	return tokens[min(end+1, len(tokens)):]
}

// token takes what stands outside brackets.
func (r *authorReader) token(t token) {
	switch t.kind {
	case ',':
		r.finish()
		return
	case ';':
		if !r.inGroup {
			r.note("has a semicolon outside a group")
		}
		r.finish()
		if r.inGroup && r.members == 0 {
			r.loose = r.cut(r.loose, r.group)
		}
		r.group, r.inGroup = "", false
		return
	case ':':
		if !r.inGroup && !r.item.bracketed && len(r.item.before) > 0 {
			r.group, r.inGroup, r.members, r.item = r.display(r.item.before), true, 0, item{}
			return
		}
		r.note("has a colon that begins no group")
	case '>':
		r.note("closes a bracket that is not open")
	}
	if r.item.bracketed {
		r.item.after = append(r.item.after, t)
	} else {
		r.item.before = append(r.item.before, t)
	}
}

// finish ends an item, which may be empty (RFC 5322 section 4.4).
func (r *authorReader) finish() {
	i := r.item
	r.item = item{}
	if !i.bracketed && len(i.before) == 0 {
		return
	}
	if isMailSystem(i) {
		i.inside = []token{{kind: atom, text: mailSystem}}
	}
	spec, beside := i.before, comments(i.before)
	if i.bracketed {
		spec, beside = i.inside, slices.Concat(i.before, i.after, comments(i.inside))
	}
	a, unusual, err := address(spec)
	if err == nil && len(words(i.after)) > 0 {
		r.note("has text behind an address in brackets")
		r.salvage(i.after)
	}
	if err != nil {
		r.note("has a mailbox that cannot be read: %v", err)
		r.salvage(slices.Concat(i.before, i.inside, i.after))
		return
	}
	r.add(a, r.display(beside, unusual))
}

// mailSystem is the local part that bounces have as their author.
const mailSystem = "MAILER-DAEMON"

// isMailSystem reports a mailbox that some MTAs write as "MAILER-DAEMON <>": it
// means the same as "<MAILER-DAEMON>".
func isMailSystem(i item) bool {
	name := words(i.before)
	return i.bracketed && len(i.inside) == 0 && len(words(i.after)) == 0 && len(name) == 1 &&
		strings.EqualFold(strings.Trim(name[0].text, `"`), mailSystem)
}

// salvage adds what may be mailboxes in a text that cannot be read: each "@" with
// what stands on both sides of it.
func (r *authorReader) salvage(tokens []token) {
	display := r.display(tokens)
	for i := 1; i+1 < len(tokens); i++ {
		left, right := tokens[i-1], tokens[i+1]
		if tokens[i].kind != '@' || left.kind != atom && left.kind != '"' || right.kind != atom && right.kind != '[' {
			continue
		}
		if a, err := mail.ParseAddress(left.text+"@"+strings.TrimRight(right.text, `.)]>'`), ""); err == nil {
			r.add(a, display)
		}
	}
}

func (r *authorReader) add(a mail.Address, display string) {
	if r.mailboxes == 0 {
		r.unread = true
		r.note("names more than %d mailboxes, with the other fields that name authors", maxMailboxes)
		return
	}
	r.mailboxes--
	r.members++
	r.authors = append(r.authors, Author{Address: a, Display: r.cut(r.loose, display)})
	r.loose = ""
}

// display is the text of tokens for people, after the name of their group.
func (r *authorReader) display(tokens []token, further ...string) string {
	return r.cut(append([]string{r.group, decodeWords(plain(tokens))}, further...)...)
}

// cut joins texts for people, as far as they are read.
func (r *authorReader) cut(parts ...string) string {
	parts = slices.DeleteFunc(parts, func(s string) bool { return s == "" })
	display := strings.Join(parts, " ")
	if len(display) > maxDisplay {
		r.note("has a name of more than %d bytes", maxDisplay)
		display = strings.ToValidUTF8(display[:maxDisplay], "")
	}
	return display
}

// decodeWords decodes the encoded words of a text, with valid UTF-8 and without control
// characters as the result. Programs differ in whether they drop these or stop there, so
// such a text is there twice: without them, and with a space for each.
func decodeWords(s string) string {
	s, _ = mail.DecodeWords(s)
	s = strings.ToValidUTF8(s, "\uFFFD")
	if !strings.ContainsFunc(s, unicode.IsControl) {
		return s
	}
	replace := func(by rune) string {
		return strings.Map(func(c rune) rune {
			if unicode.IsControl(c) {
				return by
			}
			return c
		}, s)
	}
	dropped, spaced := replace(-1), replace(' ')
	if strings.TrimSpace(spaced) == dropped {
		return dropped
	}
	return dropped + " " + spaced
}
