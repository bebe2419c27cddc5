package setup

import (
	"strings"
	"time"

	"coexistd/policy/config"
)

// Sent is a message that was sent to a platform, and for whom.
type Sent struct {
	MessageID  string // with its angle brackets
	Sender     string // empty: the null sender
	Recipients []string
	When       time.Time
}

// Trace is how a platform's administrator finds out what became of a message there.
type Trace struct {
	// Platform is its name.
	Platform string `json:"platform"`
	// Where says where the query is put, and Query is it.
	Where string `json:"where"`
	Query string `json:"query"`
}

const (
	// early is how much before its coming a message is looked for.
	early = time.Hour
	// delayed is how long afterwards it may still come: as long as an MTA tries, as a rule.
	delayed = 5 * 24 * time.Hour
)

// TraceOf returns how to follow a message at the platform that has a letter in flows. Ok is false
// where there is none any more, or none of a kind that is known.
func TraceOf(conf *config.Config, letter string, m Sent, now time.Time) (t Trace, ok bool) {
	s := &Site{Conf: conf}
	for _, p := range conf.Rules.Routes.Platforms {
		switch {
		case p.Letter != letter:
		case Office365(s, p):
			return Trace{p.Name, "in Exchange Online PowerShell, after Connect-ExchangeOnline", m.messageTrace(now)}, true
		case Google(s, p):
			return Trace{p.Name, "in the Google Admin console, at Reporting, Email Log Search", m.logSearch(now)}, true
		}
	}
	return Trace{}, false
}

// until is when the message was there at the latest, so far.
func (m Sent) until(now time.Time) time.Time {
	if last := m.When.Add(delayed); last.Before(now) {
		return last
	}
	return now
}

// messageTrace is a query for Get-MessageTraceV2, which takes ten days at once, of the last 90.
func (m Sent) messageTrace(now time.Time) string {
	words := []string{"Get-MessageTraceV2"}
	add := func(name string, values ...string) {
		for i, value := range values {
			values[i] = quoted(value)
		}
		words = append(words, name, strings.Join(values, ","))
	}
	if m.MessageID != "" {
		add("-MessageId", m.MessageID)
	}
	if m.Sender != "" {
		add("-SenderAddress", m.Sender)
	}
	add("-RecipientAddress", append([]string{}, m.Recipients...)...)
	add("-StartDate", m.When.Add(-early).UTC().Format(time.RFC3339))
	add("-EndDate", m.until(now).UTC().Format(time.RFC3339))
	return strings.Join(words, " ")
}

// logSearch is what to fill in there.
func (m Sent) logSearch(now time.Time) string {
	const layout = "2006-01-02 15:04 MST"
	words := []string{
		"Date: " + m.When.Add(-early).UTC().Format(layout) + " to " + m.until(now).UTC().Format(layout),
		"Recipient: " + strings.Join(m.Recipients, ", or "),
	}
	if m.Sender != "" {
		words = append(words, "Sender: "+m.Sender)
	}
	if m.MessageID != "" {
		words = append(words, "Message ID: "+m.MessageID)
	}
	return strings.Join(words, "; ")
}
