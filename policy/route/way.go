package route

import (
	"slices"
	"strconv"

	"coexistd/policy/mail"
	"coexistd/policy/verdict"
)

// Hop is one point that a message touches: a contact point of ours or of a platform, or
// its delivery.
type Hop struct {
	// Side is "S" for our own points, a platform's Letter for its, and LD's or ED's.
	Side string
	// Number is that of a contact point: 0 to 4.
	Number uint8
}

// LD and ED are the ends of ways: local delivery, at whichever platform, and delivery to
// the Internet.
var (
	LD = Hop{Side: "LD"}
	ED = Hop{Side: "ED"}
)

// Ours returns the hop of a contact point of ours.
func Ours(p verdict.Checkpoint) Hop { return Hop{"S", uint8(p - verdict.S0)} }

// String returns the hop as flows have it: "S4", "O1", "LD".
func (h Hop) String() string { return Way{h}.String() }

// Way is the points that a message touches for one recipient, in order.
type Way []Hop

// String returns the flow, which is the way as people read it: "S2=>S4=>O1=>LD".
func (w Way) String() string { return string(w.appendTo(make([]byte, 0, 32))) }

func (w Way) appendTo(b []byte) []byte {
	for i, hop := range w {
		if i > 0 {
			b = append(b, "=>"...)
		}
		if b = append(b, hop.Side...); hop != LD && hop != ED {
			b = strconv.AppendInt(b, int64(hop.Number), 10)
		}
	}
	return b
}

// Exit is the hop by which the way leaves our server: S3 or S4, or LD where it ends here.
func (w Way) Exit() Hop {
	for _, hop := range w {
		if hop == Ours(verdict.S3) || hop == Ours(verdict.S4) {
			return hop
		}
	}
	return LD
}

// Ways are those of one recipient: none where the message is refused, two with dual
// delivery.
type Ways []Way

// Leaves reports that one of the ways leaves by that point of ours.
func (w Ways) Leaves(exit verdict.Checkpoint) bool {
	return slices.ContainsFunc(w, func(way Way) bool { return slices.Contains(way, Ours(exit)) })
}

// String returns the flows, with commas between them.
func (w Ways) String() string { return string(w.AppendTo(nil)) }

// AppendTo appends what String returns.
func (w Ways) AppendTo(b []byte) []byte {
	for i, way := range w {
		if i > 0 {
			b = append(b, ", "...)
		}
		b = way.appendTo(b)
	}
	return b
}

// Origin is where a message has entered, once that is settled.
type Origin struct {
	Point    verdict.Checkpoint // S0, S1 or S2
	Platform *Platform          // set at S1
	OnHost   bool               // it was made on this host
	// Upstream is set for what has come through a gateway in front of us, which is where the
	// MX of a domain points that is said to point here.
	Upstream bool
}

// way returns the way from where a message entered, by one of the tails below.
func (r *Rules) way(from Origin, sender mail.Address, to *Recipient, tail ...Hop) Way {
	way := make(Way, 0, 3+len(tail))
	if from.Point == verdict.S1 {
		first := uint8(2)
		domain := r.Domains[to.Address.Domain]
		if _, ours := r.Domains[sender.Domain]; !ours && domain != nil && domain.MX == from.Platform.Name {
			first = 1
		}
		way = append(way, Hop{from.Platform.Letter, first}, Hop{from.Platform.Letter, 3})
	}
	return append(append(way, Ours(from.Point)), tail...)
}

// into is the tail of the way to a mailbox at a platform, through of that to the
// Internet through it.
func into(p *Platform) []Hop    { return []Hop{Ours(verdict.S4), {p.Letter, 1}, LD} }
func through(p *Platform) []Hop { return []Hop{Ours(verdict.S4), {p.Letter, 1}, {p.Letter, 4}, ED} }
