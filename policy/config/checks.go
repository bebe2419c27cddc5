package config

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"coexistd/policy"
	"coexistd/policy/config/schema"
	"coexistd/policy/config/wording"
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

func pointKeys() schema.Section {
	return schema.Section{Path: "checkpoint.*", Header: "[checkpoint.S0]", About: "what is checked at a contact point: S0, S1, S2, S3 or S4", Keys: []schema.Key{
		{Name: "checks", Kind: schema.Texts(schema.Rules{}), Usually: "see below", Example: `["ddos", "spoof", "malware"]`,
			Meaning: "a list of the checks that are made, of those that are possible at the point. `\"loop\"` may stand in it; it is made anyway"},
		{Name: "report", Kind: schema.Boolean(), Usually: "`true` at S0, else `false`", Example: "true",
			Meaning: "recipients are told in their report of what is held for them at this point"},
	}}
}

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

// isByWord reports that a check can go by a platform's own verdict at a point.
func isByWord(check string, point verdict.Checkpoint) bool {
	return slices.Contains(row(check).ByWord, point)
}

// parsePoint reads a contact point of this side.
func parsePoint(text string) (verdict.Checkpoint, error) {
	point, ok := verdict.ParseCheckpoint(text)
	if !ok {
		return point, fmt.Errorf("%s is not a contact point of this side; it would be one of S0, S1, S2, S3, S4", wording.Quote(text))
	}
	return point, nil
}

// checks reads [check.NAME] and [checkpoint.POINT]. The scanners and the rules of
// rate are known.
func (r *reader) checks(t *schema.Table) {
	sections := r.readGeneral(t)
	said := make(map[verdict.Checkpoint]*schema.Table)
	for _, one := range t.Tables("checkpoint") {
		point, err := parsePoint(one.Name)
		if err != nil {
			r.Fail(one.Place, "%v", err)
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
		if sections.Has(name) && !r.made[name] {
			r.note("[check.%s] has no effect: no contact point makes that check", name)
		}
	}
}

// readGeneral reads [check.NAME]. It returns the table that holds them.
func (r *reader) readGeneral(t *schema.Table) *schema.Table {
	sections := t.Parent("check")
	if sections == nil {
		sections = r.Nothing()
	}
	refuseChecks(sections, nil)
	r.general[verdict.CheckRate] = usualSettings(verdict.CheckRate)
	for _, name := range setChecks {
		section := sections.Optional(name)
		own := r.checkSettings(section, name, r.Schema.Keys("check."+name))
		refuseOrder(section, own, own)
		r.general[name] = own.over(usualSettings(name))
		switch name {
		case verdict.CheckMalware:
			r.config.Malware = malware(section)
		case verdict.CheckDDoS:
			r.config.Rules.DDoS = r.ddos(section)
		case verdict.CheckSpoof:
			r.config.Rules.Spoof = r.spoof(section)
		}
	}
	return sections
}

// refuseChecks reads the keys of a table where checks have their sections, and refuses the
// sections of what has none.
func refuseChecks(t *schema.Table, keys []schema.Key) {
	for name, remedy := range map[string]string{
		verdict.CheckLoop: "the check loop has no settings; it is always on",
		verdict.CheckRate: "the check rate has no section; each [[rate]] says its own on_limit and on_error",
	} {
		if t.Has(name) {
			t.Fail(name, "%s", remedy)
			delete(t.Entries, name)
		}
	}
	t.Read(keys, setChecks...)
}

// readPoint makes a point of what the file says of it; t is nil when it says
// nothing.
func (r *reader) readPoint(t *schema.Table, point verdict.Checkpoint) {
	if t == nil {
		t = r.Nothing()
	}
	refuseChecks(t, r.Schema.Keys("checkpoint.*"))
	at := r.readSections(t, point)
	names, said := r.named(t, point)
	if !said {
		names = r.usual(point)
	}
	report := schema.Value[bool](t, "report")
	here := policy.Point{Report: report || point == verdict.S0 && !t.Has("report")}
	for _, name := range names {
		check := at[name].check(name)
		check.ByWord = isByWord(name, point) && !(said && r.hasScannerFor(name))
		here.Checks = append(here.Checks, check)
	}
	r.config.Rules.Points[point] = here
	if point == verdict.S0 {
		notPast := func(c policy.Check) bool { return !said && !row(c.Name).PastMX }
		r.config.Rules.PastMX = policy.Point{Report: report, Checks: slices.DeleteFunc(slices.Clone(here.Checks), notPast)}
	}
	r.refuseIdle(t, point, here.Checks)
}

// readSections reads [checkpoint.POINT.CHECK] over [check.CHECK].
func (r *reader) readSections(t *schema.Table, point verdict.Checkpoint) map[string]settings {
	all := maps.Clone(r.general)
	for _, name := range setChecks {
		section := t.Optional(name)
		var moved []string
		for _, k := range r.Schema.Keys("check." + name) {
			if section.Has(k.Name) {
				section.Fail(k.Name, "holds for all contact points alike; move it to [check.%s]", name)
				moved = append(moved, k.Name)
			}
		}
		own := r.checkSettings(section, name, nil, moved...)
		all[name] = own.over(settingsAt(name, point).over(r.general[name]))
		refuseOrder(section, own, all[name])
	}
	return all
}

// named returns the checks that a point names, and whether it names any list.
func (r *reader) named(t *schema.Table, point verdict.Checkpoint) (names []string, said bool) {
	items := schema.Value[[]schema.Item](t, "checks")
	for _, one := range items {
		name := one.Value
		why := row(name).Misplaced[point]
		switch {
		case name == verdict.CheckLoop:
		case !slices.Contains(pointChecks, name):
			r.Fail(one.Place, "%s is not a check; %s", wording.Quote(name), wording.Suggest(name, allChecks))
		case slices.Contains(names, name):
			r.Fail(one.Place, "%s is there twice; keep one of them", wording.Quote(name))
		case why != "":
			r.Fail(one.Place, "%s cannot be checked at %s: %s; take %s out", name, point, why, wording.Quote(name))
		default:
			r.refuseUnable(one, point)
			names = append(names, name)
			r.made[name] = r.made[name] || r.hasScannerFor(name)
		}
	}
	return names, items != nil
}

// refuseUnable refuses a named check that lacks its scanner or its rules.
func (r *reader) refuseUnable(one schema.Item, point verdict.Checkpoint) {
	switch name := one.Value; {
	case name == verdict.CheckTLS && !r.demandsOfClients():
		r.Fail(one.Place, `tls cannot be checked without demands; add [[tls]] with in = "encrypt" or "verify", or take "tls" out`)
	case name == verdict.CheckRate && len(r.rates) == 0:
		r.Fail(one.Place, `rate cannot be checked without rules; add [[rate]] with a limit, or take "rate" out`)
	case name == verdict.CheckRate && !r.isRated(point):
		r.Fail(one.Place, `no [[rate]] counts at %s; add %s to checkpoints of one, or take "rate" out`, point, wording.Quote(point.String()))
	case !r.hasScannerFor(name) && !isByWord(name, point):
		r.Fail(one.Place, "%s cannot be checked without a scanner; add [scanner.%s] with its address, or take %s out", name, row(name).Scanner, wording.Quote(name))
	}
}

// usual returns the usual checks of a point that can be made, and remembers those
// that lack their scanner or their rules.
func (r *reader) usual(point verdict.Checkpoint) (names []string) {
	for _, name := range namesOf(func(r policy.CheckRow) bool { return slices.Contains(r.Usual, point) }) {
		if isByWord(name, point) {
			names = append(names, name)
		} else if name == verdict.CheckTLS && !r.demandsOfClients() {
			continue
		} else if r.hasScannerFor(name) && (name != verdict.CheckRate || r.isRated(point)) {
			names = append(names, name)
			r.made[name] = true
		} else {
			r.lacking[name] = append(r.lacking[name], point.String())
		}
	}
	return names
}

// refuseIdle refuses settings of a point for what it does not do.
func (r *reader) refuseIdle(t *schema.Table, point verdict.Checkpoint, made []policy.Check) {
	for _, name := range setChecks {
		if !t.Has(name) || slices.ContainsFunc(made, func(c policy.Check) bool { return c.Name == name }) {
			continue
		}
		if why := row(name).Misplaced[point]; why != "" {
			t.Fail(name, "%s cannot be checked at %s: %s; take this out", name, point, why)
			continue
		}
		remedy := fmt.Sprintf("add %s to checks of [checkpoint.%s]", wording.Quote(name), point)
		if name == verdict.CheckTLS && !r.demandsOfClients() {
			remedy = `add [[tls]] with in = "encrypt" or "verify"`
		} else if slices.Contains(r.lacking[name], point.String()) {
			remedy = fmt.Sprintf("add [scanner.%s] with its address", row(name).Scanner)
		}
		t.Fail(name, "has no effect: mail is not checked for %s at %s; %s, or take this out", name, point, remedy)
	}
	holds := func(c policy.Check) bool { return c.Name != verdict.CheckDDoS && c.Name != verdict.CheckRate }
	if t.Entries["report"] == true && !slices.ContainsFunc(made, holds) {
		t.Fail("report", "has no effect: no check is made at %s that could hold a message; take it out", point)
	}
}
