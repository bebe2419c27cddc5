package config

import (
	"fmt"
	"maps"
	"slices"
	"time"

	"coexistd/policy/config/schema"
	"coexistd/policy/config/wording"
	"coexistd/policy/mail"
)

// Probe is [probe].
type Probe struct {
	// From is the address that probes are sent from, and come back to.
	From string
	// To are those that they are sent to, sorted by platform.
	To []ProbeTo
	// Wait is how long one is waited for.
	Wait time.Duration
}

// ProbeTo is an address at a platform, whose mail a rule there sends back.
type ProbeTo struct{ Platform, Address string }

const likeProbes = `{ office365 = "coexist-probe@example.com" }`

func (r *reader) probeKeys() schema.Section {
	return schema.Section{Path: "probe", Header: "[probe]", About: "the messages of `coexistd doctor --probe`", Keys: []schema.Key{
		{Name: "from", Kind: schema.Text(wantMailbox, r.mailbox), Missing: "write an address of a mailbox here, like from = \"probe@example.com\"", Example: `"probe@example.com"`,
			Meaning: "who sends them, and whom they come back to: an address of ours that lives here. The messages are dropped when they come back; a bounce of one is delivered there"},
		{Name: "addresses", Kind: schema.Inline(likeProbes), Example: likeProbes,
			Meaning: "for each platform an address of ours that lives there, and whose mail a rule over there sends on to `from` ([which rule](probe.md#over-there))"},
		{Name: "wait", Kind: schema.Duration(time.Second, time.Hour), Usual: "2m", Meaning: "how long one is waited for"},
	}}
}

// probe reads [probe].
func (r *reader) probe(t *schema.Table) {
	one := t.Section("probe")
	if one == nil {
		return
	}
	one.ReadSection()
	p := &Probe{From: schema.Value[string](one, "from"), Wait: schema.Value[time.Duration](one, "wait")}
	if p.From != "" {
		if err := r.refuseForeign(p.From); err != nil {
			one.Fail("from", "%v", err)
		}
		from, _ := mail.ParseAddress(p.From, r.config.Rules.Delimiters)
		r.config.Rules.ProbeFrom = from.Owner
	}
	r.probeAddresses(one, p)
	r.config.Probe = p
}

// probeAddresses reads the addresses at the platforms.
func (r *reader) probeAddresses(t *schema.Table, p *Probe) {
	if _, said := schema.Said[map[string]any](t, "addresses"); !said {
		return
	}
	all := t.Section("addresses")
	for _, platform := range slices.Sorted(maps.Keys(all.Entries)) {
		if !r.isPlatform(platform) {
			all.Fail(platform, "%s is not a platform of this file; %s", wording.Quote(platform), r.suggestPlatform(platform))
			continue
		}
		address, ok := schema.ReadEntry[string](all, platform, schema.Text(wantMailbox, r.mailbox))
		if !ok {
			continue
		}
		if err := r.refuseForeign(address); err != nil {
			all.Fail(platform, "%v", err)
		}
		to, _ := mail.ParseAddress(address, r.config.Rules.Delimiters)
		switch platformOf, domain := r.config.Rules.Routes.Platform(platform), r.config.Rules.Routes.Domains[to.Domain]; {
		case to.Owner == r.config.Rules.ProbeFrom:
			all.Fail(platform, "%s is from, to which the probe comes back; write an address that lives at %s", wording.Quote(address), platform)
		case platformOf != nil && domain != nil && !platformOf.Holds(domain):
			all.Fail(platform, "%s has no mailboxes at %s; write an address of a domain that has, or give the domain an alternate there", domain.Name, platform)
		}
		p.To = append(p.To, ProbeTo{platform, address})
	}
}

// refuseForeign refuses an address whose domain is not ours.
func (r *reader) refuseForeign(address string) error {
	a, _ := mail.ParseAddress(address, r.config.Rules.Delimiters)
	if r.config.Rules.Routes.Domains[a.Domain] != nil || a.Domain == "" {
		return nil
	}
	return fmt.Errorf("%s is not an address of ours; write one of a domain of this file", wording.Quote(address))
}
