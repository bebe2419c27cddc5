package policy

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"hash"
	"strings"
)

// TraceHeader is the name of the header that every rewritten message carries.
// Its value names the host and, by keyed hashes, the recipients for whom the
// message was sent on to another platform:
//
//	v=1; by=mail.acmecorp.com; id=0011223344556677; to=HASH,HASH; sig=MAC
//
// The signature is an HMAC-SHA256 over all that stands before it, so a header
// that is forged, altered or another organisation's counts for nothing. It
// covers the best of the message's Marks too: a header that is copied from one
// message into another counts for nothing there, while the copy that a mailing
// list sends back is the same message still. The hashes depend on the random
// id: two messages to one person have nothing in common, and their number is a
// power of two whatever the number of recipients, so a Bcc stays secret.
const TraceHeader = "X-Coexist-Trace"

const (
	traceHashBytes = 8
	traceMACBytes  = 16
	// traceLine is how many hashes stand on one line of the folded header, so
	// that lines keep below 78 characters (RFC 5322 section 2.1.1).
	traceLine = 5
)

var traceEncoding = base64.RawURLEncoding

// Marks returns what tells a message from others, best first: a digest of each
// of Message-Id, Date and From that the message has. Servers on its way add those
// that are missing, so a mark that was the best one may stand further down later.
// Values returns the values of the message's header fields of a name, folded or
// not.
func Marks(values func(name string) []string) []string {
	marks := make([]string, 0, 3)
	for _, name := range [...]string{"Message-Id", "Date", "From"} {
		if fields := values(name); len(fields) > 0 {
			sum := sha256.Sum256([]byte(name + ":" + unfold(fields[0])))
			marks = append(marks, string(sum[:]))
		}
	}
	return marks
}

// traceHeader builds the value for a message that is sent on for owners.
func (p *Policy) traceHeader(nonce [8]byte, marks, owners []string) string {
	key, id := p.traceKey(), hex.EncodeToString(nonce[:])
	unique := make([]string, 0, len(owners))
	seen := make(map[string]bool, len(owners))
	for _, owner := range owners {
		if !seen[owner] {
			seen[owner] = true
			unique = append(unique, key.hash(id, owner))
		}
	}
	for n := len(unique); n&(n-1) != 0 || n < 4; n++ {
		// A space begins no address, so a filler equals no recipient's hash.
		unique = append(unique, key.hash(id, " "+string(rune('0'+n%64))+unique[n-1]))
	}
	var body strings.Builder
	body.WriteString("v=1; by=" + p.Hostname + "; id=" + id + ";\n\tto=")
	for i, hash := range unique {
		if i > 0 {
			body.WriteByte(',')
			if i%traceLine == 0 {
				body.WriteString("\n\t")
			}
		}
		body.WriteString(hash)
	}
	body.WriteByte(';')
	mark := ""
	if len(marks) > 0 {
		mark = marks[0]
	}
	return body.String() + "\n\tsig=" + key.sign(unfold(body.String()), mark)
}

// unfold drops all white space, which hops between may change.
func unfold(value string) string {
	return strings.Map(func(c rune) rune {
		switch c {
		case ' ', '\t', '\r', '\n':
			return -1
		}
		return c
	}, value)
}

// traceKey is the key of one decision, ready to be used any number of times.
type traceKey struct{ mac hash.Hash }

func (p *Policy) traceKey() traceKey { return traceKey{hmac.New(sha256.New, p.TraceKey)} }

// hash names a recipient in the header with that id.
func (k traceKey) hash(id, owner string) string {
	return k.sum(traceHashBytes, "to\n", id, "\n", owner)
}

// sign signs a header's unfolded body for a message with that mark.
func (k traceKey) sign(body, mark string) string {
	return k.sum(traceMACBytes, "trace\n", body, "\n", mark)
}

func (k traceKey) sum(size int, parts ...string) string {
	k.mac.Reset()
	for _, part := range parts {
		k.mac.Write([]byte(part))
	}
	return traceEncoding.EncodeToString(k.mac.Sum(nil)[:size])
}

// trace is one genuine trace header.
type trace struct {
	id     string
	hashes map[string]bool
}

// traces are the genuine trace headers of one message.
type traces struct {
	key  traceKey
	list []trace
}

// openTraces keeps the header values that bear our signature for this message. A
// value that stands twice is one pass, since every pass has an id of its own.
func (p *Policy) openTraces(values, marks []string) traces {
	t := traces{key: p.traceKey()}
	seen := make(map[string]bool)
	for _, value := range values {
		body, sig, found := strings.Cut(unfold(value), "sig=")
		if !found || seen[sig] || !t.key.isGenuine(body, sig, marks) {
			continue
		}
		seen[sig] = true
		one := trace{hashes: make(map[string]bool)}
		for field := range strings.SplitSeq(body, ";") {
			if id, ok := strings.CutPrefix(field, "id="); ok {
				one.id = id
			}
			if to, ok := strings.CutPrefix(field, "to="); ok {
				for hash := range strings.SplitSeq(to, ",") {
					one.hashes[hash] = true
				}
			}
		}
		t.list = append(t.list, one)
	}
	return t
}

// isGenuine reports a signature made with any mark of the message, or with none
// because the message had none then.
func (k traceKey) isGenuine(body, sig string, marks []string) bool {
	for _, mark := range marks {
		if hmac.Equal([]byte(sig), []byte(k.sign(body, mark))) {
			return true
		}
	}
	return hmac.Equal([]byte(sig), []byte(k.sign(body, "")))
}

// passes counts how often the message was sent on for one owner.
func (t traces) passes(owner string) int {
	n := 0
	for _, one := range t.list {
		if one.hashes[t.key.hash(one.id, owner)] {
			n++
		}
	}
	return n
}
