package quarantine

import (
	"fmt"
	"strings"
	"unicode/utf8"

	"coexistd/policy/mail"
)

const (
	// maxText bounds texts that are for people, in bytes.
	maxText = 1000
	// maxPath bounds the paths of the envelope, which have to stay whole. One
	// that was parsed is shorter; one of mail made on the host may not be.
	maxPath = 4 * mail.MaxAddress
	// maxList bounds the number of texts in a list.
	maxList = 32
)

// bounded returns the item as it is stored: with texts of a bounded size that a
// database can hold. The error says what cannot be stored without harm to it.
func (i Item) bounded() (Item, error) {
	if !isStorable(i.Sender) {
		return i, fmt.Errorf("the sender %.100q is not valid UTF-8 of at most %d bytes without NUL", i.Sender, maxPath)
	}
	// A header field's value begins with the space after its colon.
	for _, field := range []*string{&i.From, &i.Subject, &i.MessageID} {
		*field = strings.TrimSpace(*field)
	}
	for _, text := range []*string{&i.QueueID, &i.Client, &i.Login, &i.Platform, &i.From, &i.Subject, &i.MessageID} {
		*text = boundedText(*text)
	}
	if !isStorable(i.Proven) {
		i.Proven = ""
	}
	return i, nil
}

func (r Recipient) bounded() (Recipient, error) {
	if !isStorable(r.Address) || !isStorable(r.Owner) || r.Address == "" {
		return r, fmt.Errorf("the recipient %.100q is not valid UTF-8 of 1 to %d bytes without NUL", r.Address, maxPath)
	}
	// Half an argument would say something else than the whole.
	if !isArgument(r.Notify) {
		r.Notify = ""
	}
	if !isArgument(r.ORcpt) {
		r.ORcpt = ""
	}
	r.Rewritten, r.Found = boundedList(r.Rewritten), boundedList(r.Found)
	return r, nil
}

func isStorable(path string) bool {
	return len(path) <= maxPath && utf8.ValidString(path) && !strings.ContainsRune(path, 0)
}

// isArgument reports a value that stays one ESMTP argument.
func isArgument(value string) bool {
	return isStorable(value) && !strings.ContainsFunc(value, func(c rune) bool { return c <= ' ' || c == 0x7f })
}

// boundedText replaces what is no UTF-8, and NUL, which PostgreSQL does not take.
func boundedText(s string) string {
	s = strings.ReplaceAll(strings.ToValidUTF8(s, "\uFFFD"), "\x00", "\uFFFD")
	// A character that the bound cuts through goes.
	return strings.ToValidUTF8(s[:min(len(s), maxText)], "")
}

func boundedList(list []string) []string {
	bounded := make([]string, min(len(list), maxList))
	for i := range bounded {
		bounded[i] = boundedText(list[i])
	}
	return bounded
}
