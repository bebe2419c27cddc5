package main

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"coexistd/cmd/coexistd/setup"
	"coexistd/milter/messages"
	"coexistd/milter/ownmail"
	"coexistd/policy/config"
	"coexistd/policy/verdict"
)

// messageFacts is all that is known of a message.
type messageFacts struct {
	ID        string    `json:"id"`
	Time      time.Time `json:"time"`
	QueueID   string    `json:"queue_id"`
	Client    string    `json:"client"`
	Login     string    `json:"login"`
	From      string    `json:"from"`
	MessageID string    `json:"message_id"`
	Subject   string    `json:"subject"`
	Size      int64     `json:"size"`
	Point     string    `json:"point"`
	Platform  string    `json:"platform"`
	Verdict   string    `json:"verdict"`
	Check     string    `json:"check"`
	Reply     string    `json:"reply"`
	Reason    string    `json:"reason"`
	Proof     string    `json:"proof"`
	// Observed is what would have been done for recipients for whom the mode is observe.
	Observed *observedFacts `json:"observed,omitempty"`
	Passed   []string       `json:"passed"`
	Archived string         `json:"archived,omitempty"`
	Findings []findingFacts `json:"findings"`
	// Codes are the reasons as data.
	Codes      verdict.Reasons  `json:"reasons"`
	Count      int              `json:"recipient_count"`
	Recipients []recipientFacts `json:"recipients"`
	Traces     []setup.Trace    `json:"traces"`
	// MTA is what the MTA did with it itself, before coexistd was asked, or empty; Hello is the
	// client's HELO then, and Answer what the MTA says of it.
	MTA    string `json:"mta"`
	Hello  string `json:"helo"`
	Answer string `json:"answer"`
	// Deliveries are what the MTA's log tells of it; find leaves them out.
	Deliveries []messages.Delivery `json:"deliveries,omitempty"`
}

// observedFacts are what would have been done.
type observedFacts struct {
	observed
	Reason string          `json:"reason"`
	Codes  verdict.Reasons `json:"reasons"`
}

// findingFacts is what a check saw of it.
type findingFacts struct {
	Check string          `json:"check"`
	State string          `json:"state"`
	Text  string          `json:"text"`
	Codes verdict.Reasons `json:"reasons"`
}

// recipientFacts is what became of it for one recipient.
type recipientFacts struct {
	explainedRcpt
	Reason string          `json:"reason"`
	Codes  verdict.Reasons `json:"reasons"`
	Check  string          `json:"check"`
	HeldBy []string        `json:"held_by"`
	// Held is its name in the quarantine, or empty.
	Held string `json:"held"`
}

// factsOf makes the facts of what was kept.
func factsOf(conf *config.Config, m *messages.Message) messageFacts {
	f := messageFacts{
		ID: m.ID.String(), Time: m.Time, QueueID: m.QueueID, Login: m.Login, From: m.Sender, MessageID: m.MessageID, Subject: ownmail.Readable(m.Subject),
		Size: m.Size, Point: m.Point.String(), Platform: m.Platform, Verdict: m.Verdict.String(), Check: m.Check,
		Reply: m.Reply.String(), Reason: m.Reasons.String(), Codes: m.Reasons, Proof: m.Proof.String(), Passed: append([]string{}, m.Passed...), Archived: m.Archived,
		Findings: []findingFacts{}, Count: m.Count, Recipients: []recipientFacts{}, Traces: tracesOf(conf, m, time.Now()),
		MTA: m.MTA, Hello: m.Hello, Answer: m.Answer,
	}
	if m.Client.IsValid() {
		f.Client = m.Client.String()
	}
	if would := m.Observed; would.Verdict != verdict.None {
		f.Observed = &observedFacts{observed{would.Verdict.String(), would.Check, would.Reply.String()}, would.Reasons.String(), would.Reasons}
	}
	for _, one := range m.Findings {
		text := one.String()
		if why := one.Reasons.String(); one.State == verdict.Hit && why != "" {
			text += ": " + why
		}
		f.Findings = append(f.Findings, findingFacts{one.Check, one.State.String(), text, one.Reasons})
	}
	for i := range m.Recipients {
		r := &m.Recipients[i]
		one := recipientFacts{
			explainedRcpt: explainedRcpt{
				Address: r.Address, Residence: r.Residence, Flow: r.Flow, Rewritten: []string{}, Verdict: r.Verdict.String(), Reply: r.Reply.String(),
				Observed: r.Observed,
			},
			Reason: r.Reasons.String(), Codes: r.Reasons, Check: r.Check, HeldBy: append([]string{}, r.HeldBy...), Held: r.Held,
		}
		if r.Rewritten != "" {
			one.Rewritten = []string{r.Rewritten}
		}
		f.Recipients = append(f.Recipients, one)
	}
	return f
}

// tracesOf says how to follow a message at each platform that it was sent to.
func tracesOf(conf *config.Config, m *messages.Message, now time.Time) []setup.Trace {
	traces := []setup.Trace{}
	to := make(map[string][]string) // by the platform's letter
	var letters []string
	for i := range m.Recipients {
		r := &m.Recipients[i]
		if r.Side == "" || max(r.Verdict, m.Verdict) > verdict.Quarantine || r.Verdict > verdict.Tag {
			continue
		}
		if !slices.Contains(letters, r.Side) {
			letters = append(letters, r.Side)
		}
		for _, address := range []string{r.Rewritten, r.Address} {
			if address != "" {
				to[r.Side] = append(to[r.Side], address)
			}
		}
	}
	for _, letter := range letters {
		sent := setup.Sent{MessageID: m.MessageID, Sender: m.Sender, Recipients: to[letter], When: m.Time}
		if trace, ok := setup.TraceOf(conf, letter, sent, now); ok {
			traces = append(traces, trace)
		}
	}
	return traces
}

func messagesShowCommand(c *call) *cobra.Command {
	return c.command(cobra.Command{
		Use:   "show ID",
		Short: "tell all that is known of a message: who, when, each recipient's way, and why",
		Long: `show tells what became of a message, by its ID here, its Message-Id or the MTA's queue id:
who sent it, what each check saw, where each recipient lives and by which way it went to
them, what was refused or is held and why, and how to follow it at the other platform. Of a
message that has come several times, all is told, the newest first.

The exit status is 0 when it is found, 1 when it is not, and 2 when it could not be told or
the usage was wrong.`,
		Example: `  coexistd messages show mjx0k3v8c
  coexistd messages show '<20261123091343.6b1f@example.net>'
  coexistd messages show --json 4F1x2Y3z`,
		Args: exactly(1, "an ID (see: coexistd messages find)"),
	}, func(ids []string) int { return showMessages(c, ids[0]) })
}

// mostShown bounds the messages with one ID that are shown.
const mostShown = 100

func showMessages(c *call, id string) int {
	conf, all, err := c.openMessages()
	if err != nil {
		return c.fail(err)
	}
	defer all.Close()
	facts, more, err := shownFacts(conf, all, id)
	if err != nil {
		return c.fail(err)
	}
	if more {
		fmt.Fprintf(c.stderr, "there are more than %d; coexistd messages find --id lists them\n", mostShown)
	}
	err = c.print(facts, func(w io.Writer) {
		for i := range facts {
			if i > 0 {
				fmt.Fprint(w, "\n\n")
			}
			facts[i].print(w)
		}
	})
	switch {
	case err != nil:
		return c.fail(err)
	case len(facts) == 0:
		fmt.Fprintf(c.stderr, "no message has the ID %q\n", id)
		return exitNo
	}
	return exitYes
}

// shownFacts are those of the messages with an ID. Where there are none, that may be a queue id
// under which the MTA went on with one.
func shownFacts(conf *config.Config, all *messages.Records, id string) (facts []messageFacts, more bool, err error) {
	ctx := context.Background()
	facts = []messageFacts{}
	for range 2 {
		for m, err := range all.All(ctx, messages.Query{ID: id}) {
			if err != nil {
				return nil, false, err
			}
			if len(facts) == mostShown {
				return facts, true, nil
			}
			one := factsOf(conf, m)
			if one.Deliveries, err = all.Deliveries(ctx, m); err != nil {
				return nil, false, err
			}
			facts = append(facts, one)
		}
		if len(facts) > 0 {
			break
		}
		origin, err := all.Origin(ctx, id)
		if err != nil || origin == id {
			return facts, false, err
		}
		id = origin
	}
	return facts, false, nil
}

// print prints the facts for people.
func (f *messageFacts) print(w io.Writer) {
	lines := func(indent string, list ...[2]string) {
		for _, line := range list {
			if line[1] != "" {
				fmt.Fprintf(w, "%s%-10s %s\n", indent, line[0], escaped(line[1]))
			}
		}
	}
	size := ""
	if f.Size > 0 {
		size = ownmail.Bytes(f.Size)
	}
	lines("",
		[2]string{"id", f.ID}, [2]string{"came", f.Time.Local().Format("2006-01-02 15:04:05 MST")}, [2]string{"queue id", f.QueueID},
		[2]string{"client", f.Client}, [2]string{"login", f.Login}, [2]string{"sender", "<" + f.From + ">"},
		[2]string{"message id", f.MessageID}, [2]string{"subject", f.Subject}, [2]string{"size", size},
		[2]string{"point", strings.TrimSpace(f.Point + " " + f.Platform)}, [2]string{"proof", f.Proof},
		[2]string{"let past", strings.Join(f.Passed, ", ")}, [2]string{"archived", f.Archived},
	)
	for _, one := range f.Findings {
		lines("", [2]string{"found", one.Text})
	}
	if f.MTA != "" {
		lines("", [2]string{"mta", f.MTA + " by a rule of the MTA's own, before coexistd was asked"}, [2]string{"helo", f.Hello}, [2]string{"it says", f.Answer})
	}
	lines("", [2]string{"verdict", f.Verdict}, [2]string{"check", f.Check}, [2]string{"reply", f.Reply}, [2]string{"why", f.Reason})
	if would := f.Observed; would != nil {
		lines("", [2]string{"would be", strings.TrimSpace(would.Verdict + " " + would.Check)}, [2]string{"reply", would.Reply}, [2]string{"why", would.Reason})
	}
	for i := range f.Recipients {
		r := &f.Recipients[i]
		held := ""
		if r.Held != "" {
			held = r.Held + ": coexistd quarantine show " + r.Held
		}
		fmt.Fprintf(w, "\n%s\n", escaped(r.Address))
		lines("  ",
			[2]string{"mode", r.mode()}, [2]string{"residence", r.Residence}, [2]string{"flow", r.Flow}, [2]string{"rewritten", strings.Join(r.Rewritten, ", ")},
			[2]string{"verdict", r.Verdict}, [2]string{"check", r.Check}, [2]string{"reply", r.Reply}, [2]string{"why", r.Reason},
			[2]string{"held by", strings.Join(r.HeldBy, ", ")}, [2]string{"held as", held},
		)
	}
	if more := f.Count - len(f.Recipients); more > 0 {
		fmt.Fprintf(w, "\nand %d more recipients, who are not kept\n", more)
	}
	printDeliveries(w, f)
	for _, trace := range f.Traces {
		fmt.Fprintf(w, "\nwhat became of it at %s: %s\n  %s\n", trace.Platform, trace.Where, printableLine(trace.Query))
	}
}

// printDeliveries prints what the MTA's log tells.
func printDeliveries(w io.Writer, f *messageFacts) {
	queueID := ""
	for i := range f.Deliveries {
		d := &f.Deliveries[i]
		if d.QueueID != queueID {
			queueID = d.QueueID
			of := ""
			if d.Notice {
				of = ", a notification"
			}
			fmt.Fprintf(w, "\nthe MTA, of %s%s\n", queueID, of)
		}
		fmt.Fprintf(w, "  %-10s %s\n", d.Kind, printableLine(deliveryText(d)))
		if d.Answer != "" {
			fmt.Fprintf(w, "  %-10s %s\n", "", printableLine(d.Answer))
		}
	}
}

// deliveryText says all of a delivery but what happened and the answer.
func deliveryText(d *messages.Delivery) string {
	const layout = "2006-01-02 15:04:05"
	parts := []string{}
	add := func(format, text string) {
		if text != "" {
			parts = append(parts, fmt.Sprintf(format, text))
		}
	}
	add("%s", d.Recipient)
	if d.Original != d.Recipient {
		add("for %s", d.Original)
	}
	add("%s", d.First.Local().Format(layout))
	if d.Tries > 1 {
		parts = append(parts, fmt.Sprintf("%d tries until %s", d.Tries, d.Last.Local().Format(layout)))
	}
	add("relay %s", d.Relay)
	add("dsn %s", d.DSN)
	if d.Delay > 0 {
		add("after %s", d.Delay.String())
	}
	add("goes on as %s", d.Next)
	return strings.Join(parts, ", ")
}
