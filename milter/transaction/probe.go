package transaction

import (
	"io"
	"time"

	"coexistd/milter/probe"
	"coexistd/policy"
	"coexistd/policy/mail"
)

// isReturnedProbe tells the world of a probe of ours that came back. It reports one that did so
// for the first time, of which nothing else is asked.
func (t *Transaction) isReturnedProbe() bool {
	p := t.open.Probe()
	if p == nil {
		return false
	}
	from := t.open.From()
	r := probe.Return{
		When: time.Now(), Point: from.Point, Candidates: t.entry.Candidates, Entered: t.entry.Why.String(),
		Client: t.Client, TLS: mail.Printable(t.TLS), Certificate: mail.Printable(t.Certificate), Unforwarded: t.open.IsUnforwarded(),
	}
	if t.entry.IsProvisional() {
		r.Proof = t.open.Proof().Reasons.String()
	}
	if from.Platform != nil {
		r.Platform = from.Platform.Name
	}
	if t.open.ProbeIsFirst = t.runtime.World.ProbeReturned(p, r); t.open.ProbeIsFirst {
		t.asks = policy.Asks{}
	}
	return t.open.ProbeIsFirst
}

// hearBounce tells the world of a bounce of a probe of ours. The bounce goes on like any other.
func (t *Transaction) hearBounce() {
	if !t.asks.Bounce {
		return
	}
	body := make([]byte, min(t.body.size(), probe.MaxBounce))
	n, err := t.body.ReadAt(body, 0)
	if err != nil && err != io.EOF {
		return // it could not be read; whoever waits for the probe waits on
	}
	if p, bounce, ok := probe.ReadBounce(body[:n], t.runtime.Policy.Keys, time.Now()); ok {
		t.runtime.World.ProbeBounced(p, bounce)
	}
}
