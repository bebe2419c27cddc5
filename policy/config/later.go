package config

import (
	"slices"
	"strings"

	"coexistd/policy"
)

// allChecks are the names of checks. This version has only loop.
var allChecks = []string{"virus", "spam", "malware", "ddos", "rate", "auth", "spoof", "loop"}

// laterTables are tables that the configuration language has and this version
// has not, or not all of.
var laterTables = []string{"checkpoint", "check", "scanner", "redis", "rate"}

// checks reads [checkpoint.POINT].
func (r *reader) checks(t *table) {
	r.note("of the checks, this version has only loop, which is always on; mail is not checked for %s",
		strings.Join(allChecks[:len(allChecks)-1], ", "))
	for _, one := range t.tables("checkpoint") {
		if _, ok := policy.ParseCheckpoint(one.name); !ok {
			r.fail(one.place, "%s is not a contact point of this side; it would be one of S0, S1, S2, S3, S4", quote(one.name))
			continue
		}
		for _, check := range one.texts("checks") {
			if check.text != "loop" {
				r.fail(check.place, "%s", refusal(check.text))
			}
		}
		r.refuseSettings(one, "checks")
	}
	if one := t.table("check", "tables with a name, each written as [check.NAME]"); one != nil {
		r.refuseSettings(one)
	}
}

// refusal says why a check cannot be made.
func refusal(name string) string {
	if slices.Contains(allChecks, name) {
		return "this version does not have the check " + quote(name) + "; take it out: all it has is loop, which is always on"
	}
	return quote(name) + " is not a check; " + suggest(name, allChecks)
}

// refuseSettings refuses what the table says of single checks.
func (r *reader) refuseSettings(t *table, known ...string) {
	for name := range t.entries {
		switch {
		case slices.Contains(known, name):
		case name == "loop":
			t.fail(name, "the check loop has no settings; it is always on")
		case slices.Contains(allChecks, name):
			t.fail(name, "%s", refusal(name))
		default:
			t.fail(name, "is not a known key; %s", suggest(name, slices.Concat(known, allChecks)))
		}
	}
}

// refuseLater refuses whole tables that this version does not have.
func (r *reader) refuseLater(t *table) {
	if scanners, ok := t.entries["scanner"].(map[string]any); ok && len(scanners) > 0 {
		for _, one := range t.tables("scanner") {
			r.fail(one.place, "this version does not have scanners; take the table out")
		}
	} else if t.has("scanner") {
		t.fail("scanner", "this version does not have scanners; take it out")
	}
	if t.has("redis") {
		t.fail("redis", "this version does not have Redis; take it out")
	}
	if t.has("rate") {
		t.fail("rate", "this version does not have rate limits; take them out")
	}
}
