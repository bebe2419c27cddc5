package messages

import (
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"coexistd/milter/mtalog"
	"coexistd/policy/verdict"
)

const (
	// senderTime is how long a refusal waits for the line that says whose it is.
	senderTime = time.Minute
	// mostWaiting bounds those that wait, and mostKnown the messages whose senders are known.
	mostWaiting = 1000
	mostKnown   = 4096
)

// gate makes messages of what the MTA refuses for a rule of its own, of which the daemon gets
// nothing. Postfix says all of it in one line. Sendmail says who the sender is in another one,
// before or after it.
type gate struct {
	delimiters string
	waiting    []*Message // in the order in which they came
	since      []time.Time
	known      recent // what is known of Sendmail's messages
}

// known is what Sendmail said of a message.
type known struct {
	begun    bool // it said who the sender is
	sender   string
	client   netip.Addr
	filtered bool // a milter refused or dropped it whole: that is told by the milter's own record
}

// recent remembers the last few things by their names.
type recent struct{ young, old map[string]known }

func (r *recent) get(name string) known {
	if k, ok := r.young[name]; ok {
		return k
	}
	return r.old[name]
}

func (r *recent) put(name string, k known) {
	if len(r.young) >= mostKnown/2 {
		r.old, r.young = r.young, nil
	}
	if r.young == nil {
		r.young = make(map[string]known)
	}
	r.young[name] = k
}

// clone returns one that can be changed, or dropped.
func (g *gate) clone() gate {
	next := *g
	next.since = slices.Clone(g.since)
	next.waiting = make([]*Message, len(g.waiting))
	for i, m := range g.waiting {
		one := *m
		one.Recipients = slices.Clone(m.Recipients)
		next.waiting[i] = &one
	}
	return next
}

// take returns the messages that events make complete, and the events without those in which
// Sendmail says again of each recipient what a milter did with the whole message.
func (g *gate) take(events []mtalog.Event, now time.Time) (list []*Message, once []mtalog.Event) {
	for i := range events {
		e := &events[i]
		if g.isRepeated(e) {
			continue
		}
		once = append(once, *e)
		switch e.Kind {
		case mtalog.Begun:
			list = append(list, g.begin(e)...)
		case mtalog.Filtered:
			if e.Recipient == "" {
				k := g.known.get(e.QueueID)
				k.filtered = true
				g.known.put(e.QueueID, k)
			}
		case mtalog.Rejected, mtalog.Discarded, mtalog.Held:
			if e.Kind == mtalog.Held && e.QueueID != "" {
				continue // it has come to the daemon
			}
			if m := g.refuse(e, now); m != nil {
				list = append(list, m)
			}
		}
	}
	return append(list, g.late(now.Add(-senderTime))...), once
}

func (g *gate) isRepeated(e *mtalog.Event) bool {
	return (e.Kind == mtalog.Rejected || e.Kind == mtalog.Discarded) && !isWhole(e) && g.known.get(e.QueueID).filtered
}

// isWhole reports a refusal that tells all of itself.
func isWhole(e *mtalog.Event) bool { return e.QueueID == "" || e.Hello != "" }

// refuse makes a message of a refusal, or adds it to the one that waits; nil: there is none
// yet.
func (g *gate) refuse(e *mtalog.Event, now time.Time) *Message {
	k := g.known.get(e.QueueID)
	for _, m := range g.waiting {
		if !isWhole(e) && m.QueueID == e.QueueID {
			g.addTo(m, e)
			return nil
		}
	}
	m := g.messageOf(e)
	if isWhole(e) || k.begun {
		g.complete(m, k)
		return m
	}
	if len(g.waiting) == mostWaiting {
		return m
	}
	g.waiting, g.since = append(g.waiting, m), append(g.since, now)
	return nil
}

// begin learns whose message it is, and returns those that have waited for it.
func (g *gate) begin(e *mtalog.Event) (list []*Message) {
	k := g.known.get(e.QueueID)
	k.begun, k.sender, k.client = true, e.Sender, e.Client
	g.known.put(e.QueueID, k)
	for i, m := range slices.Backward(g.waiting) {
		if m.QueueID == e.QueueID {
			g.complete(m, k)
			list = append(list, m)
			g.waiting, g.since = slices.Delete(g.waiting, i, i+1), slices.Delete(g.since, i, i+1)
		}
	}
	return list
}

// late returns those that have waited since before a time.
func (g *gate) late(before time.Time) (list []*Message) {
	n := 0
	for n < len(g.since) && g.since[n].Before(before) {
		n++
	}
	list = slices.Clone(g.waiting[:n])
	g.waiting, g.since = slices.Delete(g.waiting, 0, n), slices.Delete(g.since, 0, n)
	return list
}

// complete fills in what the refusal itself does not say.
func (g *gate) complete(m *Message, k known) {
	if m.Sender == "" {
		m.Sender = bounded(k.sender)
	}
	if !m.Client.IsValid() {
		m.Client = k.client
	}
	m.SenderOwner = owner(m.Sender, g.delimiters)
}

// messageOf makes the record of a refusal.
func (g *gate) messageOf(e *mtalog.Event) *Message {
	m := &Message{
		Time: e.Time, QueueID: e.QueueID, Client: e.Client, Sender: bounded(e.Sender),
		MTA: e.Kind.String(), Hello: bounded(e.Hello),
	}
	if m.Reply, m.Verdict = replyOf(e); m.Reply.IsZero() {
		m.Answer = bounded(e.Answer)
	}
	g.addTo(m, e)
	return m
}

// addTo adds the recipients of a refusal.
func (g *gate) addTo(m *Message, e *mtalog.Event) {
	reply, v := replyOf(e)
	m.Verdict = max(m.Verdict, v)
	for _, address := range append([]string{e.Recipient}, e.Others...) {
		if address == "" {
			continue
		}
		if m.Count++; len(m.Recipients) < mostRecipients {
			m.Recipients = append(m.Recipients, Recipient{Address: bounded(address), Owner: owner(address, g.delimiters), Verdict: v, Reply: reply, Refused: true})
		}
	}
}

// replyOf reads the reply that the MTA gave, if it is one with its codes, and the verdict that
// it stands for.
func replyOf(e *mtalog.Event) (reply verdict.Reply, v verdict.Verdict) {
	switch e.Kind {
	case mtalog.Discarded:
		return reply, verdict.Discard
	case mtalog.Held:
		return reply, verdict.Accept
	}
	v = verdict.Reject
	if strings.HasPrefix(e.DSN, "4") {
		v = verdict.Tempfail
	}
	digits, text, _ := strings.Cut(e.Answer, " ")
	code, err := strconv.Atoi(digits)
	if err != nil || code < 400 || code > 599 {
		return reply, v
	}
	reply.Code, reply.Enhanced, reply.Text = code, e.DSN, bounded(strings.TrimPrefix(text, e.DSN+" "))
	return reply, reply.Verdict()
}
