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

// settings are what one section, or several that were merged, say of a check.
// What is not said is not in them.
type settings struct {
	verdicts map[string]verdict.Verdict // by key: on_hit, on_error
	scores   map[string]float64         // by key: tag_at, …
}

// over returns the settings with those of s in the place of general ones.
func (s settings) over(general settings) settings {
	merged := settings{make(map[string]verdict.Verdict), make(map[string]float64)}
	for _, one := range []settings{general, s} {
		maps.Copy(merged.verdicts, one.verdicts)
		maps.Copy(merged.scores, one.scores)
	}
	return merged
}

// check is what the settings make of a check.
func (s settings) check(name string) policy.Check {
	usual := row(name)
	c := policy.Check{Name: name, OnHit: usual.OnHit, OnError: usual.OnError}
	if v, said := s.verdicts["on_hit"]; said {
		c.OnHit = v
	}
	if v, said := s.verdicts["on_error"]; said {
		c.OnError = v
	}
	for _, t := range thresholds {
		if at, said := s.scores[t.key]; said {
			c.Thresholds = append(c.Thresholds, policy.Threshold{At: at, Verdict: t.verdict})
		}
	}
	return c
}

// settings reads the section of a check, which may have further keys.
func (t *table) settings(check string, further []string) settings {
	s := settings{make(map[string]verdict.Verdict), make(map[string]float64)}
	keys := slices.Concat([]string{"on_hit"}, further)
	for _, one := range thresholds {
		if row(check).Scored || t.has(one.key) {
			keys = append(keys, one.key)
		}
		if t.has(one.key) && !row(check).Scored {
			t.fail(one.key, "%s has no score; only spam has, so take it out", check)
		} else if score, ok := t.score(one.key); ok {
			s.scores[one.key] = score
		}
	}
	if !row(check).AlwaysTells || t.has("on_error") {
		keys = append(keys, "on_error")
	}
	if row(check).AlwaysTells && t.has("on_error") {
		t.fail("on_error", "the check %s can always tell, so take it out", check)
	} else if v, ok := t.verdict("on_error", check); ok {
		s.verdicts["on_error"] = v
	}
	if v, ok := t.verdict("on_hit", check); ok {
		s.verdicts["on_hit"] = v
	}
	t.only(keys...)
	return s
}

// verdict reads what is to be done for a check.
func (t *table) verdict(name, check string) (verdict.Verdict, bool) {
	known := allVerdicts
	if text, _ := t.entries[name].(string); row(check).Verdicts != nil {
		known = row(check).Verdicts
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
	text, ok := get[string](t, name, "one of "+strings.Join(words, ", ")+", in quotes")
	if !ok {
		return value, false
	}
	if i := slices.Index(words, text); i >= 0 {
		return known[i], true
	}
	t.fail(name, "%s is not %s; %s", quote(text), what, suggest(text, words))
	return value, false
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
	milder := ""
	for _, one := range thresholds {
		at, said := merged.scores[one.key]
		if !said {
			continue
		}
		if milder != "" && at <= merged.scores[milder] {
			key := one.key
			if _, said := own.scores[key]; !said {
				key = milder
			}
			if _, said := own.scores[key]; said {
				t.fail(key, "%s is %v and %s is %v; the stricter verdict must begin at the higher score", milder, merged.scores[milder], one.key, at)
			}
		}
		milder = one.key
	}
}
