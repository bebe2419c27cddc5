package config

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"coexistd/policy"
	"coexistd/policy/verdict"
)

// pointChecks are the checks that a point can make, in the order of their making,
// and setChecks those that have a section of their own.
var (
	pointChecks = namesOf(func(policy.CheckRow) bool { return true })
	setChecks   = slices.DeleteFunc(slices.Clone(pointChecks), func(name string) bool { return name == verdict.CheckRate })
	allChecks   = slices.Concat(pointChecks, []string{verdict.CheckLoop})
)

// allPoints are the contact points of this side.
var allPoints = []verdict.Checkpoint{verdict.S0, verdict.S1, verdict.S2, verdict.S3, verdict.S4}

// namesOf returns the names of those checks whose rows are chosen.
func namesOf(chosen func(policy.CheckRow) bool) (names []string) {
	for _, row := range policy.Checks() {
		if chosen(row) {
			names = append(names, row.Name)
		}
	}
	return names
}

// row returns what is particular to a check, of which the name is known to be one.
func row(check string) policy.CheckRow {
	r, _ := policy.CheckOf(check)
	return r
}

// parsePoint reads a contact point of this side.
func parsePoint(text string) (verdict.Checkpoint, error) {
	point, ok := verdict.ParseCheckpoint(text)
	if !ok {
		return point, fmt.Errorf("%s is not a contact point of this side; it would be one of S0, S1, S2, S3, S4", quote(text))
	}
	return point, nil
}

// checks reads [check.NAME] and [checkpoint.POINT]. The scanners and the rules of
// rate are known.
func (r *reader) checks(t *table) {
	sections := r.readGeneral(t)
	said := make(map[verdict.Checkpoint]*table)
	for _, one := range t.tables("checkpoint") {
		point, err := parsePoint(one.name)
		if err != nil {
			r.fail(one.place, "%v", err)
		}
		said[point] = one
	}
	for _, point := range allPoints {
		r.readPoint(said[point], point)
	}
	for _, name := range pointChecks {
		points := strings.Join(r.lacking[name], ", ")
		scanner := row(name).Scanner
		switch {
		case points != "" && name == verdict.CheckRate && len(r.rates) == 0:
			r.note("there is no [[rate]]: nothing limits how much is sent at %s", points)
		case points != "" && scanner != "":
			text := fmt.Sprintf("there is no [scanner.%s]: mail is not checked for %s at %s", scanner, name, points)
			r.config.Notes = append(r.config.Notes, Note{Text: text, Lacking: scanner})
		case scanner != "" && r.hasScannerFor(name) && !r.made[name]:
			r.note("[scanner.%s] is never asked: no contact point makes the check %s", scanner, name)
		}
		if sections.has(name) && !r.made[name] {
			r.note("[check.%s] has no effect: no contact point makes that check", name)
		}
	}
}

// generalKeys are the keys of a check's section that hold for all points alike.
var generalKeys = map[string][]string{
	verdict.CheckDDoS: {
		"connections", "connections_network", "total", "per_minute", "per_minute_network", "messages", "refused", "unknown", "exempt",
	},
	verdict.CheckSpoof:   {"dmarc", "spf", "services", "delegates"},
	verdict.CheckMalware: {"extensions", "also", "except", "macros", "encrypted", "mismatch", "depth"},
}

// readGeneral reads [check.NAME]. It returns the table that holds them.
func (r *reader) readGeneral(t *table) *table {
	sections := t.parent("check")
	if sections == nil {
		sections = &table{r: r}
	}
	sections.refuseChecks(setChecks)
	r.general[verdict.CheckRate] = usualSettings(verdict.CheckRate)
	for _, name := range setChecks {
		section := sections.optional(name)
		own := section.settings(name, generalKeys[name])
		section.refuseOrder(own, own)
		r.general[name] = own.over(usualSettings(name))
		switch name {
		case verdict.CheckMalware:
			r.config.Malware = section.malware()
		case verdict.CheckDDoS:
			r.config.Rules.DDoS = r.ddos(section)
		case verdict.CheckSpoof:
			r.config.Rules.Spoof = r.spoof(section)
		}
	}
	return sections
}

// refuseChecks refuses what stands where checks have their sections and is none
// of them, nor one of the further keys.
func (t *table) refuseChecks(known []string) {
	for name := range t.entries {
		switch {
		case slices.Contains(known, name):
		case name == verdict.CheckLoop:
			t.fail(name, "the check loop has no settings; it is always on")
		case name == verdict.CheckRate:
			t.fail(name, "the check rate has no section; each [[rate]] says its own on_limit and on_error")
		default:
			t.fail(name, "is not a known key; %s", suggest(name, known))
		}
	}
}

// readPoint makes a point of what the file says of it; t is nil when it says
// nothing.
func (r *reader) readPoint(t *table, point verdict.Checkpoint) {
	if t == nil {
		t = &table{r: r}
	}
	t.refuseChecks(slices.Concat([]string{"checks", "report"}, setChecks))
	at := r.readSections(t)
	names, said := r.named(t, point)
	if !said {
		names = r.usual(point)
	}
	report := t.flag("report", false)
	here := policy.Point{Report: report || point == verdict.S0 && !t.has("report")}
	for _, name := range names {
		here.Checks = append(here.Checks, at[name].check(name))
	}
	r.config.Rules.Points[point] = here
	if point == verdict.S0 {
		notPast := func(c policy.Check) bool { return !said && !row(c.Name).PastMX }
		r.config.Rules.PastMX = policy.Point{Report: report, Checks: slices.DeleteFunc(slices.Clone(here.Checks), notPast)}
	}
	r.refuseIdle(t, point, here.Checks)
}

// readSections reads [checkpoint.POINT.CHECK] over [check.CHECK].
func (r *reader) readSections(t *table) map[string]settings {
	all := maps.Clone(r.general)
	for _, name := range setChecks {
		section := t.optional(name)
		moved := slices.DeleteFunc(slices.Clone(generalKeys[name]), func(key string) bool { return !section.has(key) })
		for _, key := range moved {
			section.fail(key, "holds for all contact points alike; move it to [check.%s]", name)
		}
		own := section.settings(name, moved)
		all[name] = own.over(r.general[name])
		section.refuseOrder(own, all[name])
	}
	return all
}

// named returns the checks that a point names, and whether it names any list.
func (r *reader) named(t *table, point verdict.Checkpoint) (names []string, said bool) {
	items := t.texts("checks")
	for _, one := range items {
		name := one.value
		why := row(name).Misplaced[point]
		switch {
		case name == verdict.CheckLoop:
		case !slices.Contains(pointChecks, name):
			r.fail(one.place, "%s is not a check; %s", quote(name), suggest(name, allChecks))
		case slices.Contains(names, name):
			r.fail(one.place, "%s is there twice; keep one of them", quote(name))
		case why != "":
			r.fail(one.place, "%s cannot be checked at %s: %s; take %s out", name, point, why, quote(name))
		default:
			r.refuseUnable(one, point)
			names = append(names, name)
			r.made[name] = true
		}
	}
	return names, items != nil
}

// refuseUnable refuses a named check that lacks its scanner or its rules.
func (r *reader) refuseUnable(one item, point verdict.Checkpoint) {
	switch name := one.value; {
	case name == verdict.CheckRate && len(r.rates) == 0:
		r.fail(one.place, `rate cannot be checked without rules; add [[rate]] with a limit, or take "rate" out`)
	case name == verdict.CheckRate && !r.isRated(point):
		r.fail(one.place, `no [[rate]] counts at %s; add %s to checkpoints of one, or take "rate" out`, point, quote(point.String()))
	case !r.hasScannerFor(name):
		r.fail(one.place, "%s cannot be checked without a scanner; add [scanner.%s] with its address, or take %s out", name, row(name).Scanner, quote(name))
	}
}

// usual returns the usual checks of a point that can be made, and remembers those
// that lack their scanner or their rules.
func (r *reader) usual(point verdict.Checkpoint) (names []string) {
	for _, name := range namesOf(func(r policy.CheckRow) bool { return slices.Contains(r.Usual, point) }) {
		if r.hasScannerFor(name) && (name != verdict.CheckRate || r.isRated(point)) {
			names = append(names, name)
			r.made[name] = true
		} else {
			r.lacking[name] = append(r.lacking[name], point.String())
		}
	}
	return names
}

// refuseIdle refuses settings of a point for what it does not do.
func (r *reader) refuseIdle(t *table, point verdict.Checkpoint, made []policy.Check) {
	for _, name := range setChecks {
		if !t.has(name) || slices.ContainsFunc(made, func(c policy.Check) bool { return c.Name == name }) {
			continue
		}
		if why := row(name).Misplaced[point]; why != "" {
			t.fail(name, "%s cannot be checked at %s: %s; take this out", name, point, why)
			continue
		}
		remedy := fmt.Sprintf("add %s to checks of [checkpoint.%s]", quote(name), point)
		if slices.Contains(r.lacking[name], point.String()) {
			remedy = fmt.Sprintf("add [scanner.%s] with its address", row(name).Scanner)
		}
		t.fail(name, "has no effect: mail is not checked for %s at %s; %s, or take this out", name, point, remedy)
	}
	holds := func(c policy.Check) bool { return c.Name != verdict.CheckDDoS && c.Name != verdict.CheckRate }
	if t.entries["report"] == true && !slices.ContainsFunc(made, holds) {
		t.fail("report", "has no effect: no check is made at %s that could hold a message; take it out", point)
	}
}
