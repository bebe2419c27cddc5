package config

import (
	"fmt"
	"slices"
	"time"

	"coexistd/policy"
	"coexistd/policy/config/schema"
	"coexistd/policy/config/wording"
	"coexistd/policy/verdict"
)

// Observe is [observe].
type Observe struct {
	// ReadyAfter is how long nothing unexpected must come before the daily summary says that
	// all is ready to be enforced.
	ReadyAfter time.Duration
	// Expected are the checks by which mail may be refused, put off, held or dropped meanwhile.
	Expected []string
}

func observeKeys() schema.Section {
	return schema.Section{Path: "observe", Header: "[observe]", About: "the summary of what is only observed", Keys: []schema.Key{
		{Name: "ready_after", Kind: schema.Duration(time.Hour, 366*day), Usual: "7d",
			Meaning: "how long nothing unexpected must come before the daily mail of the mode observe says \"ready to enforce\" ([observe.md](observe.md#the-daily-summary))"},
		{Name: "expected", Kind: schema.List(anyCheck, schema.Rules{Twice: schema.Dropped}), Usual: []any{verdict.CheckVirus, verdict.CheckMalware, verdict.CheckDDoS, verdict.CheckSpam},
			Meaning: "checks that would refuse, put off, hold or drop mail, and are right. Add one when you have looked at its mail, such as `\"spoof\"`"},
	}}
}

// observe reads [observe], or makes the usual one.
func (r *reader) observe(t *schema.Table) {
	section := t.Optional("observe").ReadSection()
	r.config.Observe = Observe{
		ReadyAfter: schema.Value[time.Duration](section, "ready_after"),
		Expected:   schema.Value[[]string](section, "expected"),
	}
}

// anyCheck returns the name of a check.
func anyCheck(name string) (string, error) {
	all := namesOf(func(policy.CheckRow) bool { return true })
	if !slices.Contains(all, name) {
		return "", fmt.Errorf("%s is not a check; %s", wording.Quote(name), wording.Suggest(name, all))
	}
	return name, nil
}
