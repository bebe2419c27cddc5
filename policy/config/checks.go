package config

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"coexistd/policy"
)

// madeChecks are the names of the checks that this version makes at the points
// that name them, and laterChecks those that it does not have.
var (
	madeChecks  = []string{policy.CheckSpam, policy.CheckVirus, policy.CheckMalware}
	laterChecks = []string{"ddos", "rate", "auth", "spoof"}
	allChecks   = slices.Concat(madeChecks, laterChecks, []string{policy.CheckLoop})
)

// allPoints are the contact points of this side.
var allPoints = []policy.Checkpoint{policy.S0, policy.S1, policy.S2, policy.S3, policy.S4}

// usualChecks returns what is made at a point of which the file says nothing.
// Past is S0 for a domain whose MX is elsewhere: spam is that platform's work.
func usualChecks(point policy.Checkpoint, past bool) []string {
	switch point {
	case policy.S0:
		if past {
			return []string{policy.CheckVirus, policy.CheckMalware}
		}
		return []string{policy.CheckSpam, policy.CheckVirus, policy.CheckMalware}
	case policy.S1, policy.S2:
		return []string{policy.CheckVirus}
	}
	return nil
}

// usualActions returns what follows from a check of which the file says nothing.
// Spam goes through while rspamd cannot tell: it harms less than a delay of all
// mail. What may be a virus does not.
func usualActions(check string) policy.Check {
	switch check {
	case policy.CheckSpam:
		return policy.Check{Name: check, OnHit: policy.Quarantine, OnError: policy.Accept}
	case policy.CheckMalware:
		return policy.Check{Name: check, OnHit: policy.Quarantine, OnError: policy.Quarantine}
	}
	return policy.Check{Name: check, OnHit: policy.Reject, OnError: policy.Tempfail}
}

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

// checkPlan is what the file says of checks, while it is read.
type checkPlan struct {
	*reader
	general map[string]settings // [check.NAME]
	lacking map[string][]string // points by the usual check that has no scanner
	made    map[string]bool     // checks that some point makes
}

// checks reads [check.NAME] and [checkpoint.POINT]. The scanners are known.
func (r *reader) checks(t *table) {
	r.note("this version does not have the checks %s; no mail is checked for them", strings.Join(laterChecks, ", "))
	plan := checkPlan{r, make(map[string]settings), make(map[string][]string), make(map[string]bool)}
	sections := plan.readGeneral(t)
	said := make(map[policy.Checkpoint]*table)
	for _, one := range t.tables("checkpoint") {
		if point, ok := policy.ParseCheckpoint(one.name); ok {
			said[point] = one
		} else {
			r.fail(one.place, "%s is not a contact point of this side; it would be one of S0, S1, S2, S3, S4", quote(one.name))
		}
	}
	r.config.Policy.Points = make(map[policy.Checkpoint]policy.Point)
	for _, point := range allPoints {
		plan.readPoint(said[point], point)
	}
	for _, name := range madeChecks {
		if points := plan.lacking[name]; len(points) > 0 {
			r.note("there is no [scanner.%s]: mail is not checked for %s at %s", scannerOf[name], name, strings.Join(points, ", "))
		}
		if scanner := scannerOf[name]; scanner != "" && r.hasScannerFor(name) && !plan.made[name] {
			r.note("[scanner.%s] is never asked: no contact point makes the check %s", scanner, name)
		}
		if slices.Contains(sections, name) && !plan.made[name] {
			r.note("[check.%s] has no effect: no contact point makes that check", name)
		}
	}
}

// readGeneral reads [check.NAME]. It returns the names of the checks that have
// such a section.
func (p *checkPlan) readGeneral(t *table) (sections []string) {
	p.config.Malware = usualMalware()
	parent := t.table("check", "tables with a name, each written as [check.NAME]")
	if parent == nil {
		return nil
	}
	parent.refuseChecks(madeChecks)
	for _, name := range madeChecks {
		section := parent.section(name)
		if section == nil {
			continue
		}
		sections = append(sections, name)
		keys := actionKeys(name)
		if name == policy.CheckMalware {
			keys = append(keys, malwareKeys...)
			p.config.Malware = section.malware()
		}
		p.general[name] = section.settings(name, keys)
		section.refuseOrder(p.general[name], p.general[name])
	}
	return sections
}

// section returns the table of a check.
func (t *table) section(check string) *table {
	return t.table(check, fmt.Sprintf("a table, written as [%s]", join(t.place.key, check)))
}

// actionKeys are the keys of a check's section.
func actionKeys(check string) []string {
	keys := []string{"on_hit", "on_error"}
	if check == policy.CheckSpam {
		for _, one := range thresholds {
			keys = append(keys, one.key)
		}
	}
	return keys
}

// settings reads the section of a check, which may have the keys.
func (t *table) settings(check string, keys []string) settings {
	s := settings{make(map[string]policy.Verdict), make(map[string]float64)}
	for _, one := range thresholds {
		if !t.has(one.key) {
			continue
		}
		if check != policy.CheckSpam {
			t.fail(one.key, "%s has no score; only spam has, so take it out", check)
			keys = append(keys, one.key)
		} else if score, ok := t.score(one.key); ok {
			s.scores[one.key] = score
		}
	}
	for _, key := range []string{"on_hit", "on_error"} {
		if v, ok := t.verdict(key); ok {
			s.verdicts[key] = v
		}
	}
	t.only(keys...)
	return s
}

// verdict reads what is to be done.
func (t *table) verdict(name string) (policy.Verdict, bool) {
	text, ok := get[string](t, name, "one of accept, tag, quarantine, discard, tempfail, reject, in quotes")
	if !ok {
		return 0, false
	}
	var known []string
	for v := policy.Accept; v <= policy.Reject; v++ {
		if v.String() == text {
			return v, true
		}
		known = append(known, v.String())
	}
	t.fail(name, "%s is not a verdict; %s", quote(text), suggest(text, known))
	return 0, false
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

// refuseChecks refuses what stands where checks have their sections and is none
// of them, nor one of the further keys.
func (t *table) refuseChecks(known []string) {
	for name := range t.entries {
		switch {
		case slices.Contains(known, name):
		case name == policy.CheckLoop:
			t.fail(name, "the check loop has no settings; it is always on")
		case slices.Contains(laterChecks, name):
			t.fail(name, "%s", refusal(name))
		default:
			t.fail(name, "is not a known key; %s", suggest(name, slices.Concat(known, laterChecks)))
		}
	}
}

// refusal says why a check cannot be made.
func refusal(name string) string {
	if slices.Contains(laterChecks, name) {
		return "this version does not have the check " + quote(name) + "; take it out: what it has is " + strings.Join(madeChecks, ", ") + ", and loop, which is always on"
	}
	return quote(name) + " is not a check; " + suggest(name, allChecks)
}

// readPoint makes a point of what the file says of it; t is nil when it says
// nothing.
func (p *checkPlan) readPoint(t *table, point policy.Checkpoint) {
	if t == nil {
		t = &table{r: p.reader}
	}
	t.refuseChecks(slices.Concat([]string{"checks", "report"}, madeChecks))
	at := p.readSections(t)
	names, said := p.named(t)
	report := t.flag("report", false)
	here := policy.Point{Report: report || point == policy.S0 && !t.has("report")}
	past := policy.Point{Report: report}
	if said {
		here.Checks = at.all(names)
		past.Checks = here.Checks
	} else {
		here.Checks = at.all(p.usual(point, false))
		if point == policy.S0 {
			past.Checks = at.all(p.usual(point, true))
		}
	}
	p.config.Policy.Points[point] = here
	if point == policy.S0 {
		p.config.Policy.PastMX = past
	}
	p.refuseIdle(t, point, slices.Concat(here.Checks, past.Checks))
}

// pointSettings are the settings of each check at one point.
type pointSettings map[string]settings

func (s pointSettings) all(names []string) []policy.Check {
	var checks []policy.Check
	for _, name := range names {
		checks = append(checks, s[name].check(name))
	}
	return checks
}

// readSections reads [checkpoint.POINT.CHECK] over [check.CHECK].
func (p *checkPlan) readSections(t *table) pointSettings {
	all := make(pointSettings)
	for _, name := range madeChecks {
		all[name] = p.general[name]
		section := t.section(name)
		if section == nil {
			continue
		}
		keys := actionKeys(name)
		for _, key := range malwareKeys {
			if name == policy.CheckMalware && section.has(key) {
				section.fail(key, "holds for all contact points alike; move it to [check.malware]")
				keys = append(keys, key)
			}
		}
		own := section.settings(name, keys)
		all[name] = own.over(p.general[name])
		section.refuseOrder(own, all[name])
	}
	return all
}

// named returns the checks that a point names, and whether it names any list.
func (p *checkPlan) named(t *table) (names []string, said bool) {
	_, said = t.entries["checks"].([]any)
	for _, one := range t.texts("checks") {
		switch name := one.text; {
		case name == policy.CheckLoop:
		case !slices.Contains(madeChecks, name):
			p.fail(one.place, "%s", refusal(name))
		case slices.Contains(names, name):
			p.fail(one.place, "%s is there twice; keep one of them", quote(name))
		default:
			if !p.hasScannerFor(name) {
				p.fail(one.place, "%s cannot be checked without a scanner; add [scanner.%s] with its address, or take %s out", name, scannerOf[name], quote(name))
			}
			names = append(names, name)
			p.made[name] = true
		}
	}
	return names, said
}

// usual returns the usual checks of a point that can be made, and remembers those
// that lack their scanner.
func (p *checkPlan) usual(point policy.Checkpoint, past bool) []string {
	var names []string
	for _, name := range usualChecks(point, past) {
		if p.hasScannerFor(name) {
			names = append(names, name)
			p.made[name] = true
		} else if !slices.Contains(p.lacking[name], point.String()) {
			p.lacking[name] = append(p.lacking[name], point.String())
		}
	}
	return names
}

// refuseIdle refuses settings of a point for what it does not do.
func (p *checkPlan) refuseIdle(t *table, point policy.Checkpoint, made []policy.Check) {
	for _, name := range madeChecks {
		if !t.has(name) || slices.ContainsFunc(made, func(c policy.Check) bool { return c.Name == name }) {
			continue
		}
		remedy := fmt.Sprintf("add %s to checks of [checkpoint.%s]", quote(name), point)
		if slices.Contains(p.lacking[name], point.String()) {
			remedy = fmt.Sprintf("add [scanner.%s] with its address", scannerOf[name])
		}
		t.fail(name, "has no effect: mail is not checked for %s at %s; %s, or take this out", name, point, remedy)
	}
	if len(made) == 0 && t.entries["report"] == true {
		t.fail("report", "has no effect: no check is made at %s that could hold a message; take it out", point)
	}
}
