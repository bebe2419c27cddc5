package config

import (
	"fmt"
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

// settings reads the section of a check, which may have further keys.
func (t *table) settings(check string, further []string) settings {
	s := make(settings)
	usual := row(check)
	keys := slices.Concat([]string{"on_hit"}, further)
	fits := func(key string, fit bool, problem string) bool {
		if fit || t.has(key) {
			keys = append(keys, key)
		}
		if t.has(key) && !fit {
			t.fail(key, problem, check)
		}
		return fit
	}
	for _, one := range thresholds {
		if fits(one.key, usual.Scored, "%s has no score; only spam has, so take it out") {
			if score, ok := t.score(one.key); ok {
				s[one.key] = score
			}
		}
	}
	for _, key := range []string{"on_hit", "on_error"} {
		if key == "on_hit" || fits(key, !usual.AlwaysTells, "the check %s can always tell, so take it out") {
			if v, ok := t.verdict(key, check); ok {
				s[key] = v
			}
		}
	}
	t.only(keys...)
	return s
}

// verdict reads what is to be done for a check.
func (t *table) verdict(name, check string) (verdict.Verdict, bool) {
	known := allVerdicts
	if possible := row(check).Verdicts; possible != nil {
		known = possible
		text, _ := t.entries[name].(string)
		if slices.ContainsFunc(allVerdicts, func(v verdict.Verdict) bool { return v.String() == text && !slices.Contains(known, v) }) {
			t.fail(name, "%s is not possible for ddos, since there is no message yet; it would be one of accept, tempfail, reject", quote(text))
			return 0, false
		}
	}
	return choice(t, name, "a verdict", known)
}

// choice reads one of several words. What names them, with its article.
func choice[T fmt.Stringer](t *table, name, what string, known []T) (value T, ok bool) {
	var words []string
	for _, one := range known {
		words = append(words, one.String())
	}
	return parsed(t, name, "one of "+strings.Join(words, ", ")+", in quotes", func(text string) (value T, err error) {
		if i := slices.Index(words, text); i >= 0 {
			return known[i], nil
		}
		return value, fmt.Errorf("%s is not %s; %s", quote(text), what, suggest(text, words))
	})
}

// choiceOr returns a fallback where choice finds nothing.
func choiceOr[T fmt.Stringer](t *table, name, what string, fallback T, known ...T) T {
	if value, ok := choice(t, name, what, known); ok {
		return value
	}
	return fallback
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
