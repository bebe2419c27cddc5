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
	ID        string         `json:"id"`
	Time      time.Time      `json:"time"`
	QueueID   string         `json:"queue_id"`
	Client    string         `json:"client"`
	Login     string         `json:"login"`
	From      string         `json:"from"`
	MessageID string         `json:"message_id"`
	Subject   string         `json:"subject"`
	Size      int64          `json:"size"`
	Point     string         `json:"point"`
	Platform  string         `json:"platform"`
	Verdict   string         `json:"verdict"`
	Check     string         `json:"check"`
	Reply     string         `json:"reply"`
	Reason    string         `json:"reason"`
	Proof     string         `json:"proof"`
	Passed    []string       `json:"passed"`
	Findings  []findingFacts `json:"findings"`
	// Codes are the reasons as data.
	Codes      verdict.Reasons  `json:"reasons"`
	Count      int              `json:"recipient_count"`
	Recipients []recipientFacts `json:"recipients"`
	Traces     []setup.Trace    `json:"traces"`
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
		Reply: m.Reply.String(), Reason: m.Reasons.String(), Codes: m.Reasons, Proof: m.Proof.String(), Passed: append([]string{}, m.Passed...),
		Findings: []findingFacts{}, Count: m.Count, Recipients: []recipientFacts{}, Traces: tracesOf(conf, m, time.Now()),
	}
	if m.Client.IsValid() {
		f.Client = m.Client.String()
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
	facts := []messageFacts{}
	for m, err := range all.All(context.Background(), messages.Query{ID: id}) {
		if err != nil {
			return c.fail(err)
		}
		if len(facts) == mostShown {
			fmt.Fprintf(c.stderr, "there are more than %d; coexistd messages find --id lists them\n", mostShown)
			break
		}
		facts = append(facts, factsOf(conf, m))
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
		[2]string{"let past", strings.Join(f.Passed, ", ")},
	)
	for _, one := range f.Findings {
		lines("", [2]string{"found", one.Text})
	}
	lines("", [2]string{"verdict", f.Verdict}, [2]string{"check", f.Check}, [2]string{"reply", f.Reply}, [2]string{"why", f.Reason})
	for i := range f.Recipients {
		r := &f.Recipients[i]
		held := ""
		if r.Held != "" {
			held = r.Held + ": coexistd quarantine show " + r.Held
		}
		fmt.Fprintf(w, "\n%s\n", escaped(r.Address))
		lines("  ",
			[2]string{"residence", r.Residence}, [2]string{"flow", r.Flow}, [2]string{"rewritten", strings.Join(r.Rewritten, ", ")},
			[2]string{"verdict", r.Verdict}, [2]string{"check", r.Check}, [2]string{"reply", r.Reply}, [2]string{"why", r.Reason},
			[2]string{"held by", strings.Join(r.HeldBy, ", ")}, [2]string{"held as", held},
		)
	}
	if more := f.Count - len(f.Recipients); more > 0 {
		fmt.Fprintf(w, "\nand %d more recipients, who are not kept\n", more)
	}
	for _, trace := range f.Traces {
		fmt.Fprintf(w, "\nwhat became of it at %s: %s\n  %s\n", trace.Platform, trace.Where, printableLine(trace.Query))
	}
}
