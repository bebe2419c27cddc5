package config

import (
	"time"

	"coexistd/policy/config/quantity"
	"coexistd/policy/config/schema"
)

// Messages is [messages].
type Messages struct {
	// Keep is how long the record of a message is kept; 0: none is.
	Keep time.Duration
}

// Bounds of how long records are kept, when they are.
const (
	leastKept = time.Hour
	mostKept  = 366 * day
)

func messagesKeys() schema.Section {
	kind := schema.Text(quantity.Durations.Want()+`, or "0"`, recordsKept)
	kind.Possible = `"1h" to "366d", or "0"`
	return schema.Section{Path: "messages", Header: "[messages]", About: "what became of each message, to be found again", Keys: []schema.Key{
		{Name: "keep", Kind: kind, Usual: "14d", Meaning: "how long that is kept ([messages.md](messages.md)); `\"0\"` for nothing: what there is goes"},
	}}
}

// messages reads [messages], or makes the usual one.
func (r *reader) messages(t *schema.Table) {
	one := t.Optional("messages").ReadSection()
	r.config.Messages = Messages{Keep: schema.Value[time.Duration](one, "keep")}
}

func recordsKept(text string) (time.Duration, error) {
	if text == "0" {
		return 0, nil
	}
	kept, err := quantity.Durations.Within(text, int64(leastKept), int64(mostKept))
	return time.Duration(kept), err
}
