package transaction

import (
	"slices"
	"strings"
	"time"

	"coexistd/milter/record"
	"coexistd/policy"
	"coexistd/policy/verdict"
)

// refusals are the recipients of a mail that were refused alone.
type refusals struct {
	rulings []policy.Ruling // the first record.MaxRecipients
	alike   []record.Alike
	count   int
	// worst is the one with the strictest verdict, the first of them, and observed that of
	// those who are only observed.
	worst, observed policy.Ruling
}

func (r *refusals) add(ruling policy.Ruling) {
	ruling.Address = cut(ruling.Address)
	worst := &r.worst
	if ruling.Observed {
		worst = &r.observed
	}
	if ruling.Verdict > worst.Verdict {
		*worst = ruling
	}
	if r.count++; r.count <= record.MaxRecipients {
		r.rulings = append(r.rulings, ruling)
	}
	alike := record.Alike{Verdict: ruling.Verdict, Check: ruling.Check, Observed: ruling.Observed}
	at := slices.IndexFunc(r.alike, func(a record.Alike) bool { a.Count = 0; return a == alike })
	if at < 0 {
		at = len(r.alike)
		r.alike = append(r.alike, alike)
	}
	r.alike[at].Count++
}

func (r *refusals) reset() {
	clear(r.rulings)
	*r = refusals{rulings: r.rulings[:0]}
}

// record ends the mail, and tells what became of it.
func (t *Transaction) record(d policy.Decision) {
	r := t.fill(d)
	r.Ended = true
	if t.open != nil {
		r.Proof, r.Size, r.Rated = t.open.Proof(), t.open.Size, t.asks.Rate
	}
	r.Held = t.held
	r.Count = len(t.admitted) + t.refused.count
	t.tell(r)
}

// recordRefused ends a mail early, and tells of its recipients that were refused.
func (t *Transaction) recordRefused() {
	worst := t.refused.worst
	d := policy.Decision{
		Checkpoint: t.entry.Point, Verdict: max(worst.Verdict, verdict.Accept), Reply: worst.Reply, Check: worst.Check, Reasons: worst.Reasons,
	}
	if t.entry.IsProvisional() {
		d.Checkpoint = verdict.S0
	}
	r := t.fill(d)
	r.Paths, r.Count = nil, t.refused.count
	t.tell(r)
}

// fill makes a record of what is known in any case.
func (t *Transaction) fill(d policy.Decision) *record.Record {
	if worst := t.refused.observed; worst.Observed && d.Observed == nil {
		d.Observed = &policy.Outcome{Verdict: worst.Verdict, Reply: worst.Reply, Check: worst.Check, Reasons: worst.Reasons}
	}
	r := &record.Record{
		Time: time.Now(), QueueID: t.queueID, Entry: t.entry, Client: t.Client, Login: t.Login, Sender: t.Path,
		MessageID: cut(t.header.First("Message-Id")), Subject: cut(t.header.First("Subject")),
		Decision: d, Refused: slices.Clone(t.refused.rulings), Alike: t.refused.alike, Took: t.durations,
	}
	for _, one := range t.admitted[:min(len(t.admitted), record.MaxRecipients)] {
		r.Paths = append(r.Paths, one.Path)
	}
	return r
}

// tell ends the mail and gives its record to the sinks: the one place from which mail is
// told of. Should that fail, nothing is left to be told again.
func (t *Transaction) tell(r *record.Record) {
	sinks := t.sinks
	t.reset()
	for _, sink := range sinks {
		sink.Record(r)
	}
}

// took notes how long a step took that began at a time. It is called when that ends.
func (t *Transaction) took(step record.Step, begun time.Time) { t.durations[step] = time.Since(begun) }

// cut returns the beginning of a text.
func cut(text string) string {
	const longest = 1000
	if len(text) <= longest {
		return text
	}
	return strings.Clone(text[:longest])
}
