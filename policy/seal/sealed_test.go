package seal_test

import (
	"slices"
	"strings"

	"coexistd/policy/seal"
)

// sealedField is a field that holds for one message until the second 1000, or does not.
type sealedField struct {
	about  string
	keys   seal.Keys
	values []string
	marks  seal.Marks
	now    int64
	want   bool
}

// forge gives a field's value another signature.
func forge(value string) string {
	return value[:strings.Index(value, "sig=")+4] + strings.Repeat("A", 22)
}

// sealedFields are those that hold, or do not, whatever is signed; sign signs it.
func sealedFields(sign func(seal.Keys, seal.Marks) string) []sealedField {
	value := sign(keys, itsMarks)
	forged := forge(value)
	return []sealedField{
		{"genuine", keys, []string{value}, itsMarks, 999, true},
		{"in its last second", keys, []string{value}, itsMarks, 1000, true},
		{"expired", keys, []string{value}, itsMarks, 1001, false},
		{"none", keys, nil, itsMarks, 0, false},
		{"folded otherwise", keys, []string{strings.ReplaceAll(strings.ReplaceAll(value, "\n\t", "\r\n  "), "; ", ";\t")}, itsMarks, 0, true},
		{"behind others", keys, []string{"", "v=1; sig=", forged, value}, itsMarks, 0, true},
		{"behind too many others", keys, append(slices.Repeat([]string{forged}, 4), value), itsMarks, 0, false},
		{"another message's", keys, []string{value}, seal.MarksOf(header("Message-Id", "another's", "Date", "another's", "From", "another's")), 0, false},
		{"copied into another message", keys, []string{value}, seal.MarksOf(header("Message-Id", "another's", "Date", "the message's Date", "From", "the message's From")), 0, false},
		{"of a message that has lost its Message-Id", keys, []string{value}, seal.MarksOf(header("Date", "the message's Date", "From", "the message's From")), 0, false},
		{"of a message without marks", keys, []string{value}, seal.Marks{}, 0, false},
		{"of a message that has got further marks", keys, []string{sign(keys, seal.MarksOf(header("From", "the message's From", "Date", "the message's Date")))}, itsMarks, 0, true},
		{"signed when the message had other marks", keys, []string{sign(keys, seal.MarksOf(header("From", "another's")))}, itsMarks, 0, false},
		{"another system's", foreign, []string{value}, itsMarks, 0, false},
		{"without a secret", unkeyed, []string{sign(unkeyed, itsMarks)}, itsMarks, 0, false},
		{"forged", keys, []string{forged}, itsMarks, 0, false},
		{"unsigned", keys, []string{value[:strings.Index(value, "sig=")]}, itsMarks, 0, false},
		{"with a later end", keys, []string{strings.Replace(value, "until=1000", "until=9000", 1)}, itsMarks, 0, false},
	}
}
