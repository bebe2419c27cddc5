package milter

import (
	"context"
	"encoding/json"
	"log/slog"
	"slices"
	"strings"

	"coexistd/policy"
)

const (
	// maxLogged bounds the recipients that stand in one line of the log. The
	// number of the others is given.
	maxLogged = 100
	// maxLoggedText bounds, in bytes, a text of the peer's in the log.
	maxLoggedText = 256
)

// refusals are the recipients of a message that were refused alone, for the log.
type refusals struct {
	rulings []policy.Ruling // the first maxLogged
	count   int
	worst   policy.Ruling // the one with the strictest verdict, the first of them
}

func (r *refusals) add(ruling policy.Ruling) {
	ruling.Address = shorten(ruling.Address)
	if ruling.Verdict > r.worst.Verdict {
		r.worst = ruling
	}
	if r.count++; r.count <= maxLogged {
		r.rulings = append(r.rulings, ruling)
	}
}

func (r *refusals) reset() {
	clear(r.rulings)
	*r = refusals{rulings: r.rulings[:0]}
}

// logMessage writes the one line of a message that came to its end. Held are its
// names in the quarantine.
func (s *session) logMessage(d *policy.Decision, held []string) {
	if !s.server.Log.Enabled(context.Background(), slog.LevelInfo) {
		return
	}
	m := &s.message
	list := recipients{rulings: d.Recipients, refused: m.refused.rulings}
	total := len(m.admitted) + m.refused.count
	if len(d.Recipients) == 0 {
		for _, r := range m.admitted[:min(len(m.admitted), maxLogged)] {
			list.rulings = append(list.rulings, policy.Ruling{Address: r.Path})
		}
	}
	s.logLine(d, held, list, total)
}

// logRefused writes the line of a message that ended early, with recipients
// that were refused.
func (s *session) logRefused() {
	if !s.server.Log.Enabled(context.Background(), slog.LevelInfo) {
		return
	}
	m := &s.message
	d := policy.Decision{
		Checkpoint: m.entry.Point,
		Verdict:    m.refused.worst.Verdict,
		Reply:      m.refused.worst.Reply,
		Check:      m.refused.worst.Check,
		Reason:     m.refused.worst.Reason,
	}
	if m.entry.Provisional {
		d.Checkpoint = policy.S0
	}
	s.logLine(&d, nil, recipients{refused: m.refused.rulings}, m.refused.count)
}

func (s *session) logLine(d *policy.Decision, held []string, list recipients, total int) {
	m := &s.message
	attrs := [...]slog.Attr{
		slog.String("queue_id", shorten(s.macros.queueID())),
		slog.Any("client", m.client),
		slog.String("login", shorten(m.login)),
		slog.String("from", shorten(m.path)),
		slog.String("point", d.Checkpoint.String()),
		slog.String("platform", d.Platform),
		slog.String("flow", list.flows()),
		slog.String("verdict", d.Verdict.String()),
		slog.String("check", d.Check),
		slog.String("reply", d.Reply.String()),
		slog.String("reason", d.Reason),
		slog.String("proof", m.facts.Proof.Why),
		slog.String("findings", join(d.Findings)),
		slog.String("held", strings.Join(held, ", ")),
		slog.Int("recipient_count", total),
		slog.Any("recipients", list),
	}
	s.server.Log.LogAttrs(context.Background(), slog.LevelInfo, "message", attrs[:]...)
}

// join writes the findings of a message as one text.
func join(findings []policy.Finding) string {
	parts := make([]string, 0, len(findings))
	for _, f := range findings {
		parts = append(parts, f.String())
	}
	return strings.Join(parts, "; ")
}

// recipients are what the log says of a message's recipients: those that were
// decided on at its end, then those that were refused alone. At most maxLogged
// are written.
type recipients struct{ rulings, refused []policy.Ruling }

func (r recipients) all(yield func(policy.Ruling) bool) {
	left := maxLogged
	for _, list := range [...][]policy.Ruling{r.refused, r.rulings} {
		for _, ruling := range list[:min(left, len(list))] {
			if !yield(ruling) {
				return
			}
		}
		left -= min(left, len(list))
	}
}

// flows returns the flows of the recipients, each once.
func (r recipients) flows() string {
	var flows []string
	for ruling := range r.all {
		if ruling.Flow != "" && !slices.Contains(flows, ruling.Flow) {
			flows = append(flows, ruling.Flow)
		}
	}
	return strings.Join(flows, ", ")
}

// MarshalText writes "address residence flow -> rewritten" for each recipient,
// and for a refused one "address: reply", with semicolons between them.
func (r recipients) MarshalText() ([]byte, error) {
	b := make([]byte, 0, 128)
	for ruling := range r.all {
		if len(b) > 0 {
			b = append(b, "; "...)
		}
		b = append(append(b, '<'), shorten(ruling.Address)...)
		b = append(b, '>')
		for _, word := range [...]string{ruling.Residence, ruling.Flow} {
			if word != "" {
				b = append(append(b, ' '), word...)
			}
		}
		if len(ruling.Rewritten) > 0 {
			b = append(b, " -> "...)
			b = append(b, strings.Join(ruling.Rewritten, " ")...)
		}
		if ruling.Verdict != policy.Accept {
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
		Verdict   string   `json:"verdict"`
		Reply     string   `json:"reply,omitempty"`
	}
	objects := []object{}
	for ruling := range r.all {
		objects = append(objects, object{shorten(ruling.Address), ruling.Residence, ruling.Flow, ruling.Rewritten, ruling.Verdict.String(), ruling.Reply.String()})
	}
	return json.Marshal(objects)
}

func shorten(s string) string {
	if len(s) > maxLoggedText {
		return s[:maxLoggedText] + "..."
	}
	return s
}
