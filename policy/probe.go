package policy

import (
	"slices"

	"coexistd/policy/route"
	"coexistd/policy/seal"
	"coexistd/policy/verdict"
)

// openProbe returns the probe that the message is by its own field, or nil.
func (c *Case) openProbe() *seal.Probe {
	values := c.Header.Values(seal.ProbeHeader)
	if len(values) == 0 {
		return nil
	}
	probe, ok := c.policy.Keys.OpenProbe(values, seal.MarksOf(c.Header), c.Now)
	if !ok {
		return nil
	}
	return &probe
}

// Probe returns the probe of ours that the message is and that has come back, or nil. One that
// only begins its way to a platform is mail like any other.
func (c *Case) Probe() *seal.Probe {
	if c.probe == nil || c.beginsProbe() {
		return nil
	}
	return c.probe
}

// beginsProbe reports a probe on its way to a platform. One that was sent on there before has a
// trace of ours, even if it comes back from addresses that count as ours.
func (c *Case) beginsProbe() bool {
	return c.probe.Platform != "" && c.from.Point == verdict.S2 && c.IsUnforwarded() && len(c.traces.Genuine()) == 0
}

// IsUnforwarded reports a probe for those whom it was sent to: nobody has sent it on to another
// address.
func (c *Case) IsUnforwarded() bool {
	return c.probe != nil && len(c.Recipients) > 0 && !slices.ContainsFunc(c.Recipients, func(r route.Recipient) bool {
		return !c.policy.Keys.IsTo(c.probe, r.Address.Owner)
	})
}

// From tells where the message has entered, as far as that is settled.
func (c *Case) From() route.Origin { return c.from }

// mayTellOfProbe reports a bounce to the address of our probes.
func (c *Case) mayTellOfProbe() bool {
	from := c.policy.ProbeFrom
	return from != "" && c.unfit.Code == "" && c.Sender.IsNull() && len(c.Recipients) == 1 && c.Recipients[0].Address.Owner == from
}

// dropProbe is the decision on a probe that has come back. Whoever its recipients are, nobody
// gets it: the signature says that the message is ours, and that it was for nobody.
func (c *Case) dropProbe() Decision {
	d, why := c.begin(), verdict.Why(verdict.ProbeCameBack, c.probe.ID)
	for _, r := range c.Recipients {
		d.Recipients = append(d.Recipients, Ruling{
			Address: r.Path, Verdict: verdict.Discard, Reasons: verdict.Because(why), Observed: c.policy.Observes(c.Sender, r.Address),
		})
	}
	d.conclude()
	return c.edit(d)
}
