// Package probe keeps in mind which of our probes came back, and how: messages that coexistd
// sends to see whether they come back from a platform. It reads their bounces, too.
package probe

import (
	"maps"
	"net/netip"
	"sync"
	"time"

	"coexistd/policy/seal"
	"coexistd/policy/verdict"
)

// Return is how a probe came back.
type Return struct {
	When  time.Time
	Point verdict.Checkpoint
	// Platform is the one that is proven at S1, and Candidates are those whose addresses the
	// client's is one of, proven or not.
	Platform   string
	Candidates []string
	// Entered and Proof say why it entered where it did.
	Entered, Proof string
	Client         netip.Addr
	// TLS is the version that the client spoke, and Certificate the name in its certificate,
	// which the MTA trusts. Each may be empty.
	TLS, Certificate string
	// Unforwarded is set when it came for the address that it was sent to.
	Unforwarded bool
}

// Bounce is what a bounce of a probe says: the fields of RFC 3464 section 2.3, each of which
// may be empty.
type Bounce struct {
	When                      time.Time
	Action, Status, Diagnosis string
}

// IsFinal reports that the probe is given up, and not only late.
func (b *Bounce) IsFinal() bool { return b.Action != "delayed" }

// Sighting is what is known of one probe. Each part is nil until it is.
type Sighting struct {
	Return *Return
	Bounce *Bounce
	until  int64
}

// most bounds how many probes are kept in mind. Only our own are, since each is signed.
const most = 1000

// Book keeps probes in mind until they no longer hold. The zero Book is empty; any number of
// goroutines may use it.
type Book struct {
	mu   sync.Mutex
	seen map[string]*Sighting
}

// Returned notes that a probe came back, and reports that it did so for the first time. Where
// there is no room to note it, it reports false.
func (b *Book) Returned(p *seal.Probe, r Return) (first bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	s := b.of(p, r.When)
	if s == nil || s.Return != nil {
		return false
	}
	s.Return = &r
	return true
}

// Bounced notes a bounce of a probe. That it is given up is not forgotten for one that it is
// late.
func (b *Book) Bounced(p *seal.Probe, bounce Bounce) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if s := b.of(p, bounce.When); s != nil && (s.Bounce == nil || !s.Bounce.IsFinal()) {
		s.Bounce = &bounce
	}
}

// of returns what is known of a probe, or nil where there is no room for more.
func (b *Book) of(p *seal.Probe, now time.Time) *Sighting {
	if s := b.seen[p.ID]; s != nil {
		return s
	}
	if len(b.seen) >= most {
		maps.DeleteFunc(b.seen, func(_ string, s *Sighting) bool { return s.until < now.Unix() })
	}
	if len(b.seen) >= most {
		return nil
	}
	if b.seen == nil {
		b.seen = make(map[string]*Sighting)
	}
	s := &Sighting{until: p.Until}
	b.seen[p.ID] = s
	return s
}

// Find returns what is known of a probe.
func (b *Book) Find(id string) Sighting {
	b.mu.Lock()
	defer b.mu.Unlock()
	if s := b.seen[id]; s != nil {
		return *s
	}
	return Sighting{}
}
