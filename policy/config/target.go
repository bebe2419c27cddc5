package config

import (
	"coexistd/policy/config/mistakes"
	"coexistd/policy/config/schema"
	"coexistd/policy/config/wording"
)

// target is a domain of a platform's target_domains.
type target struct {
	platform, name string // the name in normal form
	place          mistakes.Place
}

// targetDomains reads those of a platform.
func (r *reader) targetDomains(t *schema.Table) []string {
	items := schema.Value[[]schema.Item](t, "target_domains")
	if !t.AtMost("target_domains", 100, len(items), "domains") {
		return nil
	}
	for _, one := range items {
		if name, err := domainName(one.Value); err == nil {
			r.targets = append(r.targets, target{t.Name, name, one.Place})
		}
	}
	return schema.Each(&r.Reader, items, domainName, schema.Refused)
}

// refuseTargets refuses target domains that would not lead away from here, or that do not
// tell to which platform.
func (r *reader) refuseTargets() {
	first := make(map[string]target)
	for _, one := range r.targets {
		if r.config.Rules.Routes.Domains[one.name] != nil {
			r.Fail(one.place, "%s is one of our domains: mail for it would come back here; write a domain that reaches only the other platform", one.name)
		}
		if other, taken := first[one.name]; taken && other.platform != one.platform {
			here, there := mistakes.Later(one.place, other.place)
			r.Fail(here, "%s is already %s on line %d; a target domain reaches one platform", wording.Quote(one.name), there.Key, there.Line)
		}
		first[one.name] = one
	}
	for _, a := range r.alternates {
		if one, taken := first[a.name]; taken && a.platform != one.platform {
			here, there := mistakes.Later(one.place, a.place)
			r.Fail(here, "%s is already %s on line %d; a domain reaches one platform", wording.Quote(a.name), there.Key, there.Line)
		}
	}
}
