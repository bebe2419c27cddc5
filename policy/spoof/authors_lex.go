package spoof

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"coexistd/policy/mail"
)

// token is one of RFC 5322's tokens (section 3.2), as far as mail programs agree
// on them.
type token struct {
	// kind is atom, '"' for a quoted string, '(' for a comment, '[' for a domain
	// literal, and else the character itself: one of <>@,:;
	kind byte
	text string // as it is written; of a comment what is in it
	// spaced is set when white space stands before it.
	spaced bool
}

const atom byte = 'a'

const (
	space  = " \t\r\n"
	single = "<>@,:;"
)

// lex takes a text apart. closed is false when a quoted string or a comment has no
// end; it then reaches to that of the text.
func lex(s string) (tokens []token, closed bool) {
	closed = true
	for {
		rest := strings.TrimLeft(s, space)
		if rest == "" {
			return tokens, closed
		}
		t := token{spaced: len(rest) < len(s)}
		s = rest
		var n int
		switch c := s[0]; {
		case c == '"' || c == '(':
			var ended bool
			n, ended = mail.Enclosed(s)
			t.kind, t.text = c, s[:n]
			if c == '(' && ended {
				t.text = mail.Unescape(s[1 : n-1])
			} else if c == '(' {
				t.text = mail.Unescape(s[1:n])
			}
			closed = closed && ended
		case strings.IndexByte(single, c) >= 0:
			n, t.kind, t.text = 1, c, s[:1]
		case c == '[' && len(tokens) > 0 && tokens[len(tokens)-1].kind == '@' && strings.IndexByte(s, ']') > 0:
			n = strings.IndexByte(s, ']') + 1
			t.kind, t.text = '[', s[:n]
		default:
			n = atomLength(s)
			t.kind, t.text = atom, s[:n]
		}
		tokens = append(tokens, t)
		s = s[n:]
	}
}

// atomLength returns the length of the atom that s begins with, dots and all else
// in it that has no meaning of its own. An encoded word is one, whatever is in it:
// a comma there parts no mailboxes.
func atomLength(s string) int {
	if n := mail.WordLength(s); n > 0 && !strings.ContainsAny(s[:n], space) {
		return n
	}
	end := strings.IndexAny(s[1:], space+single+`"(`)
	if end < 0 {
		return len(s)
	}
	return end + 1
}

// plain is the text of tokens as it is shown: without quotes and parentheses.
func plain(tokens []token) string {
	var b strings.Builder
	for i, t := range tokens {
		apart := t.spaced || t.kind == '(' || i > 0 && tokens[i-1].kind == '('
		if apart && b.Len() > 0 {
			b.WriteByte(' ')
		}
		text := t.text
		if t.kind == '"' {
			text = mail.Unescape(strings.TrimSuffix(text[1:], `"`))
		}
		b.WriteString(text)
	}
	return b.String()
}

func isComment(t token) bool { return t.kind == '(' }

func comments(tokens []token) []token {
	return slices.DeleteFunc(slices.Clone(tokens), func(t token) bool { return !isComment(t) })
}

// words are the tokens without the comments. White space for a comment is left.
func words(tokens []token) []token {
	var kept []token
	for i, t := range tokens {
		if isComment(t) {
			continue
		}
		t.spaced = t.spaced || i > 0 && isComment(tokens[i-1])
		kept = append(kept, t)
	}
	return kept
}

// address reads an addr-spec, with a route before it or not (RFC 5322 section
// 4.4). unusual is text that a program may take for an address and show: the
// route, or a quoted local part with an "@".
func address(tokens []token) (a mail.Address, unusual string, err error) {
	tokens = words(tokens)
	if len(tokens) > 0 && tokens[0].kind == '@' {
		colon := slices.IndexFunc(tokens, func(t token) bool { return t.kind == ':' })
		if colon < 0 {
			return a, "", errors.New("it has no local part")
		}
		unusual, tokens = decodeWords(plain(tokens[:colon])), tokens[colon+1:]
	}
	at := slices.IndexFunc(tokens, func(t token) bool { return t.kind == '@' })
	if err := checkAddress(tokens, at); err != nil {
		return a, "", err
	}
	var path strings.Builder
	for _, t := range tokens {
		path.WriteString(t.text)
	}
	if a, err = mail.ParseAddress(path.String(), ""); err != nil {
		return a, "", err
	}
	if tokens[0].kind == '"' && strings.Contains(tokens[0].text, "@") {
		unusual = strings.TrimSpace(unusual + " " + plain(tokens[:1]))
	}
	return a, unusual, nil
}

// checkAddress returns an error for tokens that make no mailbox, or one that can
// be read in several ways. at is the place of the first "@", -1 for none.
func checkAddress(tokens []token, at int) error {
	switch {
	case len(tokens) == 0:
		return errors.New("it is empty")
	case at < 0 && (len(tokens) > 1 || tokens[0].kind != atom):
		return errors.New("it has no domain")
	case at == 0 || at == len(tokens)-1:
		return errors.New("it lacks a local part or a domain")
	}
	for i, t := range tokens {
		switch {
		case t.kind == '@' && i == at:
		case t.kind == '"' && i == 0 && at == 1:
		case t.kind == '[' && i == at+1:
		case t.kind != atom:
			return fmt.Errorf("it has a %q in a place where none can be", t.text[:1])
		case strings.ContainsAny(t.text, `)[]\`+"\uFFFD") || strings.Contains(t.text, "=?"):
			return errors.New("it has a character that needs quotes, or is encoded")
		}
		if i > 0 && t.spaced && i != at && i != at+1 && !strings.HasSuffix(tokens[i-1].text, ".") && t.text[0] != '.' {
			return errors.New("it holds more than an address")
		}
	}
	return nil
}
