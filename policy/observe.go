package policy

import (
	"maps"
	"slices"
	"strings"

	"coexistd/policy/mail"
	"coexistd/policy/verdict"
)

// Observes reports that mail of that sender is only observed for that recipient: all is
// decided as ever, and nothing of it is done. It is so for recipients in a domain of ours
// that is observed, or in an alternate domain of one; for all others it goes by the
// sender's domain, and where that is not ours either, by Rules.Observe. Either address may
// be zero.
func (r *Rules) Observes(sender, recipient mail.Address) bool {
	for _, a := range [...]mail.Address{recipient, sender} {
		if domain := r.Routes.Domains[r.Routes.Home(a).Domain]; domain != nil {
			return domain.Observe
		}
	}
	return r.Observe
}

// Observes is Rules.Observes. Where nothing is observed, it takes no time.
func (p *Policy) Observes(sender, recipient mail.Address) bool {
	return p.observesAny && p.Rules.Observes(sender, recipient)
}

// ObservesAll reports that all mail is only observed.
func (r *Rules) ObservesAll() bool {
	for _, domain := range r.Routes.Domains {
		if !domain.Observe {
			return false
		}
	}
	return r.Observe
}

// Mode says for people what the mode is: "enforce", "observe", or for whom it is which.
func (r *Rules) Mode() string {
	var observed, enforced []string
	for _, name := range slices.Sorted(maps.Keys(r.Routes.Domains)) {
		if r.Routes.Domains[name].Observe {
			observed = append(observed, name)
		} else {
			enforced = append(enforced, name)
		}
	}
	switch {
	case r.Observe && len(enforced) > 0:
		return "observe, and enforce for " + strings.Join(enforced, ", ")
	case r.Observe:
		return "observe"
	case len(observed) > 0:
		return "enforce, and observe for " + strings.Join(observed, ", ")
	}
	return "enforce"
}

// enforces reports that what is decided of a message is done for somebody. A message of whose
// recipients nothing is known goes by its sender.
func (p *Policy) enforces(m *Message) bool {
	if len(m.Recipients)+m.Unread+m.Observed == 0 {
		return !p.Observes(m.Sender, mail.Address{})
	}
	for i := range m.Recipients {
		if !p.Observes(m.Sender, m.Recipients[i].Address) {
			return true
		}
	}
	return m.Unread > 0
}

// IsObserved reports that nothing is done of what is decided.
func (c *Case) IsObserved() bool { return !c.policy.enforces(&c.Message) }

// Refuses reports that the recipient is refused alone.
func (r *Ruling) Refuses() bool { return r.Verdict >= verdict.Tempfail && !r.Observed }

// Done is what is done for the recipient: the ruling, or, where that is only observed,
// nothing.
func (r *Ruling) Done() Ruling {
	if !r.Observed {
		return *r
	}
	return Ruling{Address: r.Address, Verdict: verdict.Accept, Observed: true}
}

// done are the rulings as they are done.
func done(rulings []Ruling) []Ruling {
	if !slices.ContainsFunc(rulings, func(r Ruling) bool { return r.Observed }) {
		return rulings
	}
	all := make([]Ruling, len(rulings))
	for i := range rulings {
		all[i] = rulings[i].Done()
	}
	return all
}

// Outcome is what a message's recipients come to, for all of them.
type Outcome struct {
	Verdict verdict.Verdict
	Reply   verdict.Reply // set when Verdict is Tempfail or Reject
	Check   string        // the check that decides, or empty
	Reasons verdict.Reasons
}

// conclude returns what a message comes to by its recipients: by those that are only
// observed, or by the others. Some is false when there are none of these.
func conclude(rulings []Ruling, observed bool) (o Outcome, some bool) {
	count, removed := 0, 0
	var last *Ruling
	for i := range rulings {
		r := &rulings[i]
		if r.Observed != observed {
			continue
		}
		count++
		if r.isRemoved() {
			removed++
			if last == nil || last.Verdict != verdict.Quarantine {
				last = r
			}
			continue
		}
		if r.Verdict > max(o.Verdict, verdict.Accept) {
			o.Reply, o.Check, o.Reasons = r.Reply, r.Check, r.Reasons
		}
		o.Verdict = max(o.Verdict, r.Verdict)
	}
	if removed > 0 && removed == count {
		o = Outcome{Verdict: last.Verdict, Check: last.Check, Reasons: last.Reasons}
	}
	return o, count > 0
}
