package mime

import (
	"bytes"
	"io"
	"slices"
	"strings"

	"coexistd/policy/mail"
)

// textTypes are those of parts that hold nothing but text.
var textTypes = []string{"text/plain", "text/html", "text/enriched", "text/richtext", "text/rfc822-headers", "message/delivery-status", "message/rfc822"}

// textFields are the fields of a header that do not say what a part holds.
var textFields = []string{
	"content-language", "content-id", "content-description", "content-length", "content-location", "content-class", "content-base", "content-md5",
	"content-features", "content-duration", "content-return",
}

// maxTextField bounds a field that is read whole.
const maxTextField = 4 << 10

// OnlyTexts reports a message in which nobody can find anything but texts without a name,
// however they read it: no line of it, whether it stands in a header or not, says that
// something else follows, or that parts are encoded as a whole, and none begins a file within
// a text.
func OnlyTexts(message io.Reader) bool {
	var lines Lines
	var t textFinder
	for lines.Reset(message, lineBuffer); ; {
		line, begins := lines.Next()
		if line == nil {
			return t.endField() && t.endBlock()
		}
		text := withoutEnd(line)
		if begins && len(text) == 0 && !(t.endField() && t.endBlock()) {
			return false
		}
		// A CR that ends no line may do so all the same, and need not: a field that it cuts may
		// say either.
		for rest, more := text, true; more; begins = true {
			var piece []byte
			piece, rest, more = bytes.Cut(rest, []byte("\r"))
			if !t.line(piece, begins) || len(t.field) > 0 && len(bytes.TrimLeft(rest, "\r")) > 0 {
				return false
			}
		}
	}
}

// textFinder looks for what is not only a text. Its methods report false for that.
type textFinder struct {
	field []byte // that may go on
	// What the lines up to the next empty one say, which may be one header: that it has parts,
	// and that it is encoded.
	hasParts, isEncoded bool
	isDigest            bool // parts may be messages without saying so
}

// line takes a line, or a further piece of one.
func (t *textFinder) line(text []byte, begins bool) bool {
	// Some programs drop NULs.
	clean := text
	if bytes.IndexByte(text, 0) >= 0 {
		clean = bytes.ReplaceAll(text, []byte{0}, nil)
	}
	unfolded := bytes.TrimLeft(clean, " \t")
	switch {
	case begins && len(t.field) > 0 && len(text) > 0 && text[0] == 0:
		return false // whether the field goes on
	case len(t.field) > 0 && (!begins || len(unfolded) < len(clean)):
		t.field = append(t.field, text...)
		return len(t.field) <= maxTextField
	case !begins:
		return true
	case !t.endField():
		return false
	}
	// Where a header begins, an indented line goes on with nothing.
	if len(unfolded) > 8 && bytes.EqualFold(unfolded[:8], []byte("content-")) {
		t.field = append(t.field, bytes.TrimLeft(text, " \t\x00")...)
	}
	_, decode := uuBegin(clean)
	return decode == nil
}

// endField judges the field that has ended.
func (t *textFinder) endField() bool {
	if len(t.field) == 0 {
		return true
	}
	hasNUL := bytes.IndexByte(t.field, 0) >= 0
	field := strings.ToLower(string(bytes.ReplaceAll(t.field, []byte{0}, nil)))
	t.field = t.field[:0]
	name, value, _ := strings.Cut(field, ":")
	name, value = strings.TrimSpace(name), strings.Trim(value, " \t")
	kind, _, _ := strings.Cut(value, ";")
	kind = strings.Trim(kind, " \t") // what only some programs drop counts
	family, _, _ := strings.Cut(kind, "/")
	switch {
	case name == "content-transfer-encoding" && strings.Contains(value, "binhex"): // which may name a file
		return false
	case name == "content-transfer-encoding":
		t.isEncoded = t.isEncoded || kind != "7bit" && kind != "8bit" && kind != "binary"
		return true
	case slices.Contains(textFields, name):
		return true
	case strings.Contains(value, "name"), strings.Contains(mail.WithoutComments(value), "name"), strings.HasSuffix(value, ";"):
		return false // the last may go on behind an empty line
	case hasNUL: // whoever keeps it finds something else
		return false
	case name == "content-disposition":
		return kind == "inline"
	case name != "content-type":
		return false
	}
	t.hasParts = t.hasParts || family != "text"
	t.isDigest = t.isDigest || kind == "multipart/digest"
	return slices.Contains(textTypes, kind) || family == "multipart"
}

// endBlock judges what may be a header.
func (t *textFinder) endBlock() bool {
	isText := !((t.hasParts || t.isDigest) && t.isEncoded)
	t.hasParts, t.isEncoded = false, false
	return isText
}
