package config

import (
	"time"

	"coexistd/policy/config/schema"
)

// Observe is [observe].
type Observe struct {
	// ReadyAfter is how long nothing unexpected must come before the daily summary says that
	// all is ready to be enforced.
	ReadyAfter time.Duration
}

func observeKeys() schema.Section {
	return schema.Section{Path: "observe", Header: "[observe]", About: "the summary of what is only observed", Keys: []schema.Key{
		{Name: "ready_after", Kind: schema.Duration(time.Hour, 366*day), Usual: "7d",
			Meaning: "how long nothing unexpected must come before the daily mail of the mode observe says \"ready to enforce\" ([observe.md](observe.md#the-daily-summary))"},
	}}
}

// observe reads [observe], or makes the usual one.
func (r *reader) observe(t *schema.Table) {
	r.config.Observe = Observe{ReadyAfter: schema.Value[time.Duration](t.Optional("observe").ReadSection(), "ready_after")}
}
