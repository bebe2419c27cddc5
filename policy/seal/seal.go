// Package seal signs what coexistd gives a message along on its way, and knows it again
// when it comes back: traces, which end loops, passes, which let a message past a check,
// and probes, which are sent to see whether they come back. It knows its own signatures
// only; what a stranger writes counts for nothing.
package seal

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"hash"
	"slices"
	"sync"

	"coexistd/policy/mail"
)

// Keys sign and open traces, passes and probes. Hosts that share mail share the secret. A
// Keys does not change: any number of goroutines may use it at once. Without a secret, as
// in the zero Keys, nothing is opened, since anybody could have signed it.
type Keys struct{ made *sync.Pool } // of *keyed; nil without a secret

// NewKeys returns the keys that are made of a secret.
func NewKeys(secret []byte) Keys {
	if len(secret) == 0 {
		return Keys{}
	}
	secret = slices.Clone(secret)
	return Keys{&sync.Pool{New: func() any { return &keyed{mac: hmac.New(sha256.New, secret)} }}}
}

// IsZero reports keys that are made of no secret.
func (k Keys) IsZero() bool { return k.made == nil }

// Marks tell a message from others, best first. A signature covers the best one, so what
// is copied from one message into another counts for nothing there, while the copy that
// a mailing list sends back is the same message still.
type Marks struct {
	header *mail.Header
	body   Body
}

// MarksOf returns a message's marks: a digest of each of Message-Id, Date and From that
// it has. Servers on its way add those that are missing, so a mark that was the best one
// may stand further down later.
func MarksOf(h *mail.Header) Marks { return Marks{header: h} }

// And returns the marks with that of the message's body behind them.
func (m Marks) And(body Body) Marks { return Marks{m.header, body} }

// all yields the marks, and then "", which is the mark of a message that has none.
func (m Marks) all(yield func(mark string) bool) {
	for _, name := range [...]string{"Message-Id", "Date", "From"} {
		if m.header == nil || m.header.Count(name) == 0 {
			continue
		}
		text := mail.AppendUnfolded(append(append(make([]byte, 0, 128), name...), ':'), m.header.First(name))
		if sum := sha256.Sum256(text); !yield(string(sum[:])) {
			return
		}
	}
	if m.body != "" && !yield(string(m.body)) {
		return
	}
	yield("")
}

// Any reports that there is a mark.
func (m Marks) Any() bool { return m.best() != "" }

// best returns the mark that a signature covers.
func (m Marks) best() (mark string) {
	for mark = range m.all {
		break
	}
	return mark
}

// What is signed begins with its purpose, so that nothing that is signed for one purpose
// serves for another.
const (
	forTrace = "trace\n"
	forPass  = "pass\n"
	forProbe = "probe\n"
	forName  = "to\n"
)

const (
	signatureBytes = 16
	nameBytes      = 8
)

var encoding = base64.RawURLEncoding

// name is a recipient's keyed hash. It depends on the id of the trace or pass, so two
// messages to one person have nothing in common.
type name [nameBytes]byte

// keyed makes HMAC-SHA256 sums. It serves one goroutine.
type keyed struct {
	mac  hash.Hash
	text []byte
	sum  [sha256.Size]byte
}

// keyed returns one for a caller to use and to give back: to make one costs more than two
// sums.
func (k Keys) keyed() *keyed {
	if k.made == nil {
		return &keyed{mac: hmac.New(sha256.New, nil)}
	}
	return k.made.Get().(*keyed)
}

func (k Keys) giveBack(key *keyed) {
	if k.made != nil {
		k.made.Put(key)
	}
}

// of returns a sum that is valid until the next one.
func (k *keyed) of(purpose, text, more string) []byte {
	k.text = append(append(append(append(k.text[:0], purpose...), text...), '\n'), more...)
	k.mac.Reset()
	k.mac.Write(k.text)
	return k.mac.Sum(k.sum[:0])
}

func (k *keyed) name(id, owner string) name { return name(k.of(forName, id, owner)[:nameBytes]) }

// sign returns a value's body with the signature for a message with that mark after it.
func (k *keyed) sign(purpose string, body []byte, mark string) string {
	digest := sha256.Sum256(mail.AppendUnfolded(make([]byte, 0, 512), body))
	return string(append(append(body, "\n\tsig="...), k.signDigest(purpose, digest, mark)...))
}

func (k *keyed) signDigest(purpose string, body [sha256.Size]byte, mark string) string {
	return encoding.EncodeToString(k.of(purpose, string(body[:]), mark)[:signatureBytes])
}

// hasSigned reports a signature made with any mark of the message, or, but for a pass, with
// none because the message had none then. A long text is read only once for all.
func (k *keyed) hasSigned(purpose, body, signature string, marks Marks) bool {
	if len(signature) != encoding.EncodedLen(signatureBytes) {
		return false
	}
	digest := sha256.Sum256([]byte(body))
	for mark := range marks.all {
		if mark == "" && purpose == forPass {
			return false // it would hold for any message
		}
		if hmac.Equal([]byte(signature), []byte(k.signDigest(purpose, digest, mark))) {
			return true
		}
	}
	return false
}
