package record

import (
	"context"
	"encoding/json"
	"log/slog"
	"slices"
	"strconv"
	"strings"

	"coexistd/policy"
	"coexistd/policy/verdict"
)

// maxText bounds, in bytes, a text of the peer's in the log.
const maxText = 256

// Log is a Sink that writes one line a message.
type Log struct {
	*slog.Logger
	// Subject has the subject written, too.
	Subject bool
}

// Record writes the line.
func (l Log) Record(r *Record) {
	if !l.Enabled(context.Background(), slog.LevelInfo) {
		return
	}
	d := &r.Decision
	list := recipients{refused: r.Refused, rulings: d.Recipients}
	if len(d.Recipients) == 0 {
		list.paths = r.Paths
	}
	attrs := append(make([]slog.Attr, 0, 20),
		slog.String("queue_id", shorten(r.QueueID)),
		slog.Any("client", r.Client),
		slog.String("login", shorten(r.Login)),
		slog.String("from", shorten(r.Sender)),
		slog.String("message_id", shorten(strings.TrimSpace(r.MessageID))),
	)
	if l.Subject {
		attrs = append(attrs, slog.String("subject", shorten(r.Subject)))
	}
	attrs = append(attrs,
		slog.String("point", d.Checkpoint.String()),
		slog.String("platform", d.Platform),
		slog.String("flow", list.flows()),
		slog.String("verdict", d.Verdict.String()),
		slog.String("check", d.Check),
		slog.String("reply", d.Reply.String()),
		slog.String("reason", d.Reasons.String()),
		slog.String("proof", r.Proof.Reasons.String()),
		slog.String("findings", join(d.Findings)),
		slog.String("held", strings.Join(r.Held, ", ")),
		slog.Int("recipient_count", r.Count),
		slog.Any("recipients", list),
	)
	if d.Archived != "" {
		attrs = append(attrs, slog.String("archived", d.Archived))
	}
	if would := d.Observed; would != nil {
		attrs = append(attrs, slog.Group("observed",
			slog.String("verdict", would.Verdict.String()),
			slog.String("check", would.Check),
			slog.String("reply", would.Reply.String()),
			slog.String("reason", would.Reasons.String()),
		))
	}
	l.LogAttrs(context.Background(), slog.LevelInfo, "message", attrs...)
}

// join writes the findings of a message as one text.
func join(findings []verdict.Finding) string {
	parts := make([]string, 0, len(findings))
	for _, f := range findings {
		parts = append(parts, f.String())
	}
	return strings.Join(parts, "; ")
}

// recipients are what the log says of a message's recipients: those that were refused
// alone, then those that were decided on at its end, or the paths of those of whom
// nothing was. At most MaxRecipients are written.
type recipients struct {
	refused, rulings []policy.Ruling
	paths            []string
}

func (r recipients) all(yield func(policy.Ruling) bool) {
	left := MaxRecipients
	for _, list := range [...][]policy.Ruling{r.refused, r.rulings} {
		for _, ruling := range list[:min(left, len(list))] {
			if !yield(ruling) {
				return
			}
		}
		left -= min(left, len(list))
	}
	for _, path := range r.paths[:min(left, len(r.paths))] {
		if !yield(policy.Ruling{Address: path, Verdict: verdict.Accept}) {
			return
		}
	}
}

// flows returns the ways of the recipients, each once, without those of recipients who are only
// observed.
func (r recipients) flows() string {
	var flows []string
	for ruling := range r.all {
		done := ruling.Done()
		for _, way := range done.Ways {
			if flow := way.String(); !slices.Contains(flows, flow) {
				flows = append(flows, flow)
			}
		}
	}
	return strings.Join(flows, ", ")
}

// MarshalText writes "address residence flow -> rewritten by the route "name"" for each
// recipient, without what there is not, and for a refused one "address: reply", with semicolons between them. What is only
// observed would be so: "would be" stands behind the address.
func (r recipients) MarshalText() ([]byte, error) {
	b := make([]byte, 0, 128)
	for ruling := range r.all {
		if len(b) > 0 {
			b = append(b, "; "...)
		}
		b = append(append(b, '<'), shorten(ruling.Address)...)
		b = append(b, '>')
		if ruling.Observed {
			b = append(b, " would be"...)
		}
		for _, word := range [...]string{ruling.Residence.String(), ruling.Ways.String()} {
			if word != "" {
				b = append(append(b, ' '), word...)
			}
		}
		if ruling.Elsewhere != "" {
			b = append(append(b, " -> "...), ruling.Elsewhere...)
		}
		if ruling.Rule != "" {
			b = strconv.AppendQuote(append(b, " by the route "...), ruling.Rule)
		}
		if ruling.Verdict != verdict.Accept {
			b = append(append(b, ' '), ruling.Verdict.String()...)
		}
		if !ruling.Reply.IsZero() {
			b = append(append(b, ": "...), ruling.Reply.String()...)
		}
	}
	return b, nil
}

// MarshalJSON writes an array of objects.
func (r recipients) MarshalJSON() ([]byte, error) {
	type object struct {
		Address   string   `json:"address"`
		Residence string   `json:"residence,omitempty"`
		Flow      string   `json:"flow,omitempty"`
		Rewritten []string `json:"rewritten,omitempty"`
		Route     string   `json:"route,omitempty"`
		Verdict   string   `json:"verdict"`
		Reply     string   `json:"reply,omitempty"`
		Observed  bool     `json:"observed,omitempty"`
	}
	objects := []object{}
	for ruling := range r.all {
		one := object{
			Address: shorten(ruling.Address), Residence: ruling.Residence.String(), Flow: ruling.Ways.String(), Route: ruling.Rule,
			Verdict: ruling.Verdict.String(), Reply: ruling.Reply.String(), Observed: ruling.Observed,
		}
		if ruling.Elsewhere != "" {
			one.Rewritten = []string{ruling.Elsewhere}
		}
		objects = append(objects, one)
	}
	return json.Marshal(objects)
}

func shorten(s string) string {
	if len(s) > maxText {
		return s[:maxText] + "..."
	}
	return s
}
