package config

import (
	"fmt"
	"slices"
	"strings"

	"coexistd/policy"
)

// pointChecks are the checks that a point can make, in the order of their making,
// and setChecks those that have a section of their own.
var (
	pointChecks = []string{
		policy.CheckDDoS, policy.CheckRate, policy.CheckAuth, policy.CheckSpoof,
		policy.CheckSpam, policy.CheckVirus, policy.CheckMalware,
	}
	setChecks = slices.DeleteFunc(slices.Clone(pointChecks), func(name string) bool { return name == policy.CheckRate })
	allChecks = slices.Concat(pointChecks, []string{policy.CheckLoop})
)

// allPoints are the contact points of this side.
var allPoints = []policy.Checkpoint{policy.S0, policy.S1, policy.S2, policy.S3, policy.S4}

// usualChecks returns what is made at a point of which the file says nothing.
// Past is S0 for a domain whose MX is elsewhere: spam is that platform's work.
func usualChecks(point policy.Checkpoint, past bool) []string {
	switch point {
	case policy.S0:
		if past {
			return []string{policy.CheckDDoS, policy.CheckRate, policy.CheckSpoof, policy.CheckVirus, policy.CheckMalware}
		}
		return []string{policy.CheckDDoS, policy.CheckRate, policy.CheckSpoof, policy.CheckSpam, policy.CheckVirus, policy.CheckMalware}
	case policy.S1:
		return []string{policy.CheckVirus}
	case policy.S2:
		return []string{policy.CheckDDoS, policy.CheckRate, policy.CheckAuth, policy.CheckSpoof, policy.CheckVirus}
	}
	return nil
}

// misplaced says why a check cannot be made at a point, or returns "".
func misplaced(check string, point policy.Checkpoint) string {
	leaves := point == policy.S3 || point == policy.S4
	switch {
	case check == policy.CheckDDoS && leaves:
		return "no client connects there, mail leaves; ddos is made at S0 and S2"
	case check == policy.CheckDDoS && point == policy.S1:
		return "the platform's few clients connect for all of its users; ddos is made at S0 and S2"
	case (check == policy.CheckAuth || check == policy.CheckSpoof) && leaves:
		return "who sends was judged where the message entered; " + check + " is made at " + placesOf(check)
	case check == policy.CheckAuth && point != policy.S2:
		return "clients do not log in there; auth is made at S2"
	case check == policy.CheckSpoof && point == policy.S1:
		return "what a proven tenant sends was judged by its platform; spoof is made at S0 and S2"
	}
	return ""
}

func placesOf(check string) string {
	if check == policy.CheckAuth {
		return "S2"
	}
	return "S0 and S2"
}

// checkPlan is what the file says of checks, while it is read.
type checkPlan struct {
	*reader
	general map[string]settings // [check.NAME]
	lacking map[string][]string // points by the usual check that cannot be made
	made    map[string]bool     // checks that some point makes
}

// checks reads [check.NAME] and [checkpoint.POINT]. The scanners and the rules of
// rate are known.
func (r *reader) checks(t *table) {
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
	for _, name := range pointChecks {
		points := strings.Join(plan.lacking[name], ", ")
		scanner := scannerOf[name]
		switch {
		case points != "" && name == policy.CheckRate && len(r.rates) == 0:
			r.note("there is no [[rate]]: nothing limits how much is sent at %s", points)
		case points != "" && scanner != "":
			r.note("there is no [scanner.%s]: mail is not checked for %s at %s", scanner, name, points)
		case scanner != "" && r.hasScannerFor(name) && !plan.made[name]:
			r.note("[scanner.%s] is never asked: no contact point makes the check %s", scanner, name)
		}
		if slices.Contains(sections, name) && !plan.made[name] {
			r.note("[check.%s] has no effect: no contact point makes that check", name)
		}
	}
}

// generalKeys are the keys of a check's section that hold for all points alike.
var generalKeys = map[string][]string{
	policy.CheckDDoS:    ddosKeys,
	policy.CheckSpoof:   spoofKeys,
	policy.CheckMalware: malwareKeys,
}

// readGeneral reads [check.NAME]. It returns the names of the checks that have
// such a section.
func (p *checkPlan) readGeneral(t *table) (sections []string) {
	parent := t.table("check", "tables with a name, each written as [check.NAME]")
	if parent == nil {
		parent = &table{r: p.reader}
	}
	parent.refuseChecks(setChecks)
	sectionOf := make(map[string]*table)
	for _, name := range setChecks {
		section := parent.section(name)
		if section == nil {
			sectionOf[name] = &table{r: p.reader}
			continue
		}
		sectionOf[name] = section
		sections = append(sections, name)
		p.general[name] = section.settings(name, generalKeys[name])
		section.refuseOrder(p.general[name], p.general[name])
	}
	p.config.Malware = sectionOf[policy.CheckMalware].malware()
	p.config.Policy.DDoS = p.ddos(sectionOf[policy.CheckDDoS])
	p.config.Policy.Spoof = p.spoof(sectionOf[policy.CheckSpoof])
	return sections
}

// section returns the table of a check.
func (t *table) section(check string) *table {
	return t.table(check, fmt.Sprintf("a table, written as [%s]", join(t.place.key, check)))
}

// refuseChecks refuses what stands where checks have their sections and is none
// of them, nor one of the further keys.
func (t *table) refuseChecks(known []string) {
	for name := range t.entries {
		switch {
		case slices.Contains(known, name):
		case name == policy.CheckLoop:
			t.fail(name, "the check loop has no settings; it is always on")
		case name == policy.CheckRate:
			t.fail(name, "the check rate has no section; each [[rate]] says its own on_limit and on_error")
		default:
			t.fail(name, "is not a known key; %s", suggest(name, known))
		}
	}
}

// readPoint makes a point of what the file says of it; t is nil when it says
// nothing.
func (p *checkPlan) readPoint(t *table, point policy.Checkpoint) {
	if t == nil {
		t = &table{r: p.reader}
	}
	t.refuseChecks(slices.Concat([]string{"checks", "report"}, setChecks))
	at := p.readSections(t)
	names, said := p.named(t, point)
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
	for _, name := range setChecks {
		all[name] = p.general[name]
		section := t.section(name)
		if section == nil {
			continue
		}
		var moved []string
		for _, key := range generalKeys[name] {
			if section.has(key) {
				section.fail(key, "holds for all contact points alike; move it to [check.%s]", name)
				moved = append(moved, key)
			}
		}
		own := section.settings(name, moved)
		all[name] = own.over(p.general[name])
		section.refuseOrder(own, all[name])
	}
	return all
}

// named returns the checks that a point names, and whether it names any list.
func (p *checkPlan) named(t *table, point policy.Checkpoint) (names []string, said bool) {
	_, said = t.entries["checks"].([]any)
	for _, one := range t.texts("checks") {
		name := one.text
		why := misplaced(name, point)
		switch {
		case name == policy.CheckLoop:
		case !slices.Contains(pointChecks, name):
			p.fail(one.place, "%s is not a check; %s", quote(name), suggest(name, allChecks))
		case slices.Contains(names, name):
			p.fail(one.place, "%s is there twice; keep one of them", quote(name))
		case why != "":
			p.fail(one.place, "%s cannot be checked at %s: %s; take %s out", name, point, why, quote(name))
		default:
			p.refuseUnable(one, point)
			names = append(names, name)
			p.made[name] = true
		}
	}
	return names, said
}

// refuseUnable refuses a named check that lacks its scanner or its rules.
func (p *checkPlan) refuseUnable(one item, point policy.Checkpoint) {
	switch name := one.text; {
	case name == policy.CheckRate && len(p.rates) == 0:
		p.fail(one.place, `rate cannot be checked without rules; add [[rate]] with a limit, or take "rate" out`)
	case name == policy.CheckRate && !p.isRated(point):
		p.fail(one.place, `no [[rate]] counts at %s; add %s to checkpoints of one, or take "rate" out`, point, quote(point.String()))
	case !p.hasScannerFor(name):
		p.fail(one.place, "%s cannot be checked without a scanner; add [scanner.%s] with its address, or take %s out", name, scannerOf[name], quote(name))
	}
}

// usual returns the usual checks of a point that can be made, and remembers those
// that lack their scanner or their rules.
func (p *checkPlan) usual(point policy.Checkpoint, past bool) []string {
	var names []string
	for _, name := range usualChecks(point, past) {
		if p.hasScannerFor(name) && (name != policy.CheckRate || p.isRated(point)) {
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
	for _, name := range setChecks {
		if !t.has(name) || slices.ContainsFunc(made, func(c policy.Check) bool { return c.Name == name }) {
			continue
		}
		if why := misplaced(name, point); why != "" {
			t.fail(name, "%s cannot be checked at %s: %s; take this out", name, point, why)
			continue
		}
		remedy := fmt.Sprintf("add %s to checks of [checkpoint.%s]", quote(name), point)
		if slices.Contains(p.lacking[name], point.String()) {
			remedy = fmt.Sprintf("add [scanner.%s] with its address", scannerOf[name])
		}
		t.fail(name, "has no effect: mail is not checked for %s at %s; %s, or take this out", name, point, remedy)
	}
	holds := func(c policy.Check) bool { return c.Name != policy.CheckDDoS && c.Name != policy.CheckRate }
	if t.entries["report"] == true && !slices.ContainsFunc(made, holds) {
		t.fail("report", "has no effect: no check is made at %s that could hold a message; take it out", point)
	}
}
