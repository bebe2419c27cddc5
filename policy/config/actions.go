package config

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"coexistd/policy"
)

// usualActions returns what follows from a check of which the file says nothing.
// Spam goes through while rspamd cannot tell: it harms less than a delay of all
// mail. What may be a virus does not. The findings of rate say themselves what
// is done, and nothing here is stricter or milder.
func usualActions(check string) policy.Check {
	c := policy.Check{Name: check, OnHit: policy.Reject, OnError: policy.Accept}
	switch check {
	case policy.CheckDDoS:
		c.OnHit = policy.Tempfail
	case policy.CheckSpam:
		c.OnHit = policy.Quarantine
	case policy.CheckMalware:
		c.OnHit, c.OnError = policy.Quarantine, policy.Quarantine
	case policy.CheckVirus:
		c.OnError = policy.Tempfail
	}
	return c
}

// allVerdicts are the verdicts, the mildest first, and ddosVerdicts those that
// are possible while there is no message yet.
var (
	allVerdicts = []policy.Verdict{policy.Accept, policy.Tag, policy.Quarantine, policy.Discard, policy.Tempfail, policy.Reject}

	ddosVerdicts = []policy.Verdict{policy.Accept, policy.Tempfail, policy.Reject}
)

// alwaysTells reports a check that cannot be in want of an answer.
func alwaysTells(check string) bool { return check == policy.CheckDDoS || check == policy.CheckAuth }

// thresholds are the keys that give a verdict to a score, the mildest first.
var thresholds = []struct {
	key     string
	verdict policy.Verdict
}{{"tag_at", policy.Tag}, {"quarantine_at", policy.Quarantine}, {"reject_at", policy.Reject}}

// settings are what one section, or several that were merged, say of a check.
// What is not said is not in them.
type settings struct {
	verdicts map[string]policy.Verdict // by key: on_hit, on_error
	scores   map[string]float64        // by key: tag_at, …
}

// over returns the settings with those of s in the place of general ones.
func (s settings) over(general settings) settings {
	merged := settings{make(map[string]policy.Verdict), make(map[string]float64)}
	for _, one := range []settings{general, s} {
		maps.Copy(merged.verdicts, one.verdicts)
		maps.Copy(merged.scores, one.scores)
	}
	return merged
}

// check is what the settings make of a check.
func (s settings) check(name string) policy.Check {
	c := usualActions(name)
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
	s := settings{make(map[string]policy.Verdict), make(map[string]float64)}
	keys := slices.Concat([]string{"on_hit"}, further)
	for _, one := range thresholds {
		if check == policy.CheckSpam || t.has(one.key) {
			keys = append(keys, one.key)
		}
		if t.has(one.key) && check != policy.CheckSpam {
			t.fail(one.key, "%s has no score; only spam has, so take it out", check)
		} else if score, ok := t.score(one.key); ok {
			s.scores[one.key] = score
		}
	}
	if !alwaysTells(check) || t.has("on_error") {
		keys = append(keys, "on_error")
	}
	if alwaysTells(check) && t.has("on_error") {
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
func (t *table) verdict(name, check string) (policy.Verdict, bool) {
	known := allVerdicts
	if text, _ := t.entries[name].(string); check == policy.CheckDDoS {
		known = ddosVerdicts
		if slices.ContainsFunc(allVerdicts, func(v policy.Verdict) bool { return v.String() == text && !slices.Contains(known, v) }) {
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
