package config

import (
	"fmt"
	"path/filepath"
	"time"

	"coexistd/policy/config/quantity"
	"coexistd/policy/config/schema"
	"coexistd/policy/config/wording"
)

// Messages is [messages].
type Messages struct {
	// Keep is how long the record of a message is kept; 0: none is.
	Keep time.Duration
	// MTALog is the path of the MTA's log, which is followed for what it does with messages, or
	// Journal; empty: it is not followed.
	MTALog string
}

// Journal is Messages.MTALog of an MTA that logs to the journal of systemd.
const Journal = "journal"

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
		{Name: "mta_log", Kind: schema.Text(wantLog, mtaLog), Example: `"/var/log/mail.log"`,
			Meaning: "the MTA's log, which is followed for what it does with each message: the path of the file, or `\"journal\"`. The daemon's user must be let in ([how](messages.md#what-the-mta-did)). Without it, what the MTA does is not known"},
	}}
}

// messages reads [messages], or makes the usual one.
func (r *reader) messages(t *schema.Table) {
	one := t.Optional("messages").ReadSection()
	r.config.Messages = Messages{Keep: schema.Value[time.Duration](one, "keep"), MTALog: schema.Value[string](one, "mta_log")}
	if r.config.Messages.MTALog != "" && r.config.Messages.Keep == 0 {
		one.Fail("mta_log", "nothing is kept of messages, since keep is \"0\"; leave mta_log out, or say how long it is to be kept")
	}
}

const wantLog = `an absolute path, like "/var/log/mail.log", or "journal"`

func mtaLog(text string) (string, error) {
	if text != Journal && !filepath.IsAbs(text) {
		return "", fmt.Errorf("%s is neither an absolute path, like \"/var/log/mail.log\", nor \"journal\"", wording.Quote(text))
	}
	return text, nil
}

func recordsKept(text string) (time.Duration, error) {
	if text == "0" {
		return 0, nil
	}
	kept, err := quantity.Durations.Within(text, int64(leastKept), int64(mostKept))
	return time.Duration(kept), err
}
