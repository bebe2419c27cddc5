package probe

import (
	"bytes"
	"strings"
	"time"

	"coexistd/policy/mail"
	"coexistd/policy/seal"
)

const (
	// MaxBounce is how much of a bounce's body is read, in bytes.
	MaxBounce = 256 << 10
	// mostBlocks bounds the blocks of fields that are read as such.
	mostBlocks = 8
	// longest bounds what is told of a field, in bytes.
	longest = 500
)

// ReadBounce finds in a bounce's body the probe that it encloses, by header or whole (RFC 3462
// section 2), and what is said of it (RFC 3464 section 2.3). It looks for blocks of fields,
// however the bounce is built: servers differ there.
func ReadBounce(body []byte, keys seal.Keys, now time.Time) (*seal.Probe, Bounce, bool) {
	var found *seal.Probe
	bounce, said := Bounce{When: now}, false
	read := 0
	for block := range blocks(body) {
		encloses, tells := holdsField(block, seal.ProbeHeader), holdsField(block, "Action")
		if !encloses && !tells || read == mostBlocks {
			continue
		}
		read++
		h, err := mail.ReadHeader(bytes.NewReader(block))
		if err != nil {
			continue
		}
		if encloses && found == nil {
			if p, ok := keys.OpenProbe(h.Values(seal.ProbeHeader), seal.MarksOf(h), now.Unix()); ok {
				found = &p
			}
		}
		if tells && !said {
			said = true
			bounce.Action, bounce.Status, bounce.Diagnosis = strings.ToLower(told(h, "Action")), told(h, "Status"), told(h, "Diagnostic-Code")
		}
	}
	return found, bounce, found != nil
}

// blocks yields what stands between empty lines.
func blocks(body []byte) func(yield func([]byte) bool) {
	return func(yield func([]byte) bool) {
		begin, at := 0, 0
		for line := range bytes.Lines(body) {
			if len(bytes.TrimRight(line, "\r\n")) == 0 {
				if at > begin && !yield(body[begin:at]) {
					return
				}
				begin = at + len(line)
			}
			at += len(line)
		}
		if at > begin {
			yield(body[begin:at])
		}
	}
}

// holdsField reports a line that begins with a field's name and a colon.
func holdsField(block []byte, name string) bool {
	for line := range bytes.Lines(block) {
		if len(line) > len(name) && line[len(name)] == ':' && strings.EqualFold(string(line[:len(name)]), name) {
			return true
		}
	}
	return false
}

// told is a field's value in one line that is fit to be shown.
func told(h *mail.Header, name string) string {
	return mail.Excerpt(strings.Join(strings.Fields(h.First(name)), " "), longest)
}
