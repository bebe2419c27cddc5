package config

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"coexistd/policy"
	"coexistd/policy/config/schema"
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

func checkKeys() schema.Section {
	return schema.Section{Path: "check.*", Header: "[check.spam]", About: "what follows, for each check; also [checkpoint.POINT.CHECK]", Keys: []schema.Key{
		{Name: "on_hit", Kind: schema.Choice("a verdict", allVerdicts...), Usually: `ddos "tempfail"; auth, spoof and virus "reject"; block, spam and malware "quarantine"`, Example: `"quarantine"`,
			Meaning: "what is done when the check finds something. ddos: `accept`, `tempfail` or `reject` only; block: `accept`, `quarantine` or `discard` only"},
		{Name: "tag_at", Kind: schema.Score(), Example: "6", Meaning: "spam only: the score from which on a message is tagged. Without any of the three, rspamd's own action counts: `reject` is `on_hit`, `add header` and `rewrite subject` tag, `soft reject` puts off"},
		{Name: "quarantine_at", Kind: schema.Score(), Example: "15", Meaning: "spam only: the score from which on a message is held; higher than `tag_at`"},
		{Name: "reject_at", Kind: schema.Score(), Example: "30", Meaning: "spam only: the score from which on a message is refused; higher than `quarantine_at`"},
		{Name: "on_error", Kind: schema.Choice("a verdict", allVerdicts...), Usually: `virus "tempfail", malware "quarantine", spam and spoof "accept"`, Example: `"accept"`,
			Meaning: "what is done when it cannot tell: the scanner or the DNS does not answer, the message is too large for it, or cannot be taken apart. ddos, auth and block can always tell and do not have it"},
	}}
}

// usualSettings are those of a check of which the file says nothing.
func usualSettings(check string) settings {
	usual := row(check)
	return settings{"on_hit": usual.OnHit, "on_error": usual.OnError}
}

// settingsAt are those that hold for a check at one point, whatever is said of it for all.
func settingsAt(check string, point verdict.Checkpoint) settings {
	if onHit, differs := row(check).OnHitAt[point]; differs {
		return settings{"on_hit": onHit}
	}
	return nil
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

// checkSettings reads the section of a check, which may have further keys. Those that hold for
// other checks only are refused.
func (r *reader) checkSettings(t *schema.Table, check string, further []schema.Key, known ...string) settings {
	s := make(settings)
	usual := row(check)
	keys := slices.DeleteFunc(slices.Concat(r.Schema.Keys("check.*"), further), func(k schema.Key) bool {
		problem := ""
		switch {
		case strings.HasSuffix(k.Name, "_at") && !usual.Scored:
			problem = "%s has no score; only spam has, so take it out"
		case k.Name == "on_error" && usual.AlwaysTells:
			problem = "the check %s can always tell, so take it out"
		}
		if problem != "" && t.Has(k.Name) {
			t.Fail(k.Name, problem, check)
			known = append(known, k.Name)
		}
		return problem != ""
	})
	if i := slices.IndexFunc(keys, func(k schema.Key) bool { return k.Name == "on_hit" }); usual.Verdicts != nil {
		keys[i].Kind = someVerdict(check, usual)
	}
	t.Read(keys, known...)
	for _, k := range r.Schema.Keys("check.*") {
		if value, said := schema.Said[any](t, k.Name); said {
			s[k.Name] = value
		}
	}
	return s
}

// someVerdict is the kind of on_hit for a check with which not all verdicts are possible.
func someVerdict(check string, usual policy.CheckRow) schema.Kind {
	k := schema.Choice("a verdict", usual.Verdicts...)
	return k.But(func(value any) error {
		if slices.ContainsFunc(allVerdicts, func(v verdict.Verdict) bool { return v.String() == value && !slices.Contains(usual.Verdicts, v) }) {
			return fmt.Errorf("%q is not possible for %s, since %s; it would be one of %s", value, check, usual.OnlyThese, strings.Join(k.Words, ", "))
		}
		return nil
	})
}

// refuseOrder refuses a score of the table that gives a verdict where a stricter
// one is given already. Merged are the table's own settings over the general ones.
func refuseOrder(t *schema.Table, own, merged settings) {
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
			t.Fail(key, "%s is %v and %s is %v; the stricter verdict must begin at the higher score", milder, above, one.key, at)
		}
		milder, above = one.key, at
	}
}
