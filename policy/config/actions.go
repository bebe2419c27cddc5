package config

import (
	"maps"
	"slices"
	"strings"

	"coexistd/policy"
	"coexistd/policy/verdict"
)

// allVerdicts are the verdicts, the mildest first.
var allVerdicts = []verdict.Verdict{verdict.Accept, verdict.Tag, verdict.Quarantine, verdict.Discard, verdict.Tempfail, verdict.Reject}

// thresholds are the keys that give a verdict to a score, the mildest first.
var thresholds = []struct {
	key     string
	verdict verdict.Verdict
}{{"tag_at", verdict.Tag}, {"quarantine_at", verdict.Quarantine}, {"reject_at", verdict.Reject}}

// settings are what one section, or several that were merged, say of a check, by key:
// on_hit and on_error are verdicts, the thresholds are scores (float64). What is not said
// is not in them.
type settings map[string]any

// usualSettings are those of a check of which the file says nothing.
func usualSettings(check string) settings {
	usual := row(check)
	return settings{"on_hit": usual.OnHit, "on_error": usual.OnError}
}

// over returns the settings with those of s in the place of general ones.
func (s settings) over(general settings) settings {
	merged := maps.Clone(general)
	maps.Copy(merged, s)
	return merged
}

// check is what the settings, over the usual ones, make of a check.
func (s settings) check(name string) policy.Check {
	c := policy.Check{Name: name, OnHit: s["on_hit"].(verdict.Verdict), OnError: s["on_error"].(verdict.Verdict)}
	for _, t := range thresholds {
		if at, said := s[t.key].(float64); said {
			c.Thresholds = append(c.Thresholds, policy.Threshold{At: at, Verdict: t.verdict})
		}
	}
	return c
}

// settings reads the section of a check, which may have further keys. Those that hold for
// other checks only are refused.
func (t *table) settings(check string, further []key, known ...string) settings {
	s := make(settings)
	usual := row(check)
	keys := slices.DeleteFunc(slices.Concat(keysOf("check.*"), further), func(k key) bool {
		problem := ""
		switch {
		case strings.HasSuffix(k.name, "_at") && !usual.Scored:
			problem = "%s has no score; only spam has, so take it out"
		case k.name == "on_error" && usual.AlwaysTells:
			problem = "the check %s can always tell, so take it out"
		}
		if problem != "" && t.has(k.name) {
			t.fail(k.name, problem, check)
			known = append(known, k.name)
		}
		return problem != ""
	})
	if i := slices.IndexFunc(keys, func(k key) bool { return k.name == "on_hit" }); usual.Verdicts != nil {
		keys[i].kind = someVerdict(check, usual.Verdicts)
	}
	t.read(keys, known...)
	for _, k := range keysOf("check.*") {
		if value, said := t.right[k.name]; said {
			s[k.name] = value
		}
	}
	return s
}

// someVerdict is the kind of on_hit for a check with which not all verdicts are possible.
func someVerdict(check string, possible []verdict.Verdict) kind {
	k := choice("a verdict", possible...)
	read := k.read
	k.read = func(t *table, name string, value any) any {
		if slices.ContainsFunc(allVerdicts, func(v verdict.Verdict) bool { return v.String() == value && !slices.Contains(possible, v) }) {
			t.fail(name, "%q is not possible for %s, since there is no message yet; it would be one of %s", value, check, strings.Join(k.words, ", "))
			return nil
		}
		return read(t, name, value)
	}
	return k
}

// refuseOrder refuses a score of the table that gives a verdict where a stricter
// one is given already. Merged are the table's own settings over the general ones.
func (t *table) refuseOrder(own, merged settings) {
	milder, above := "", -1.0
	for _, one := range thresholds {
		at, said := merged[one.key].(float64)
		if !said {
			continue
		}
		key := one.key
		if own[key] == nil {
			key = milder
		}
		if at <= above && own[key] != nil {
			t.fail(key, "%s is %v and %s is %v; the stricter verdict must begin at the higher score", milder, above, one.key, at)
		}
		milder, above = one.key, at
	}
}
