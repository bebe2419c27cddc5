package main

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"coexistd/milter/messages"
)

// countFacts is how many messages of a time had a fate in common.
type countFacts struct {
	Time       time.Time `json:"time"` // when the time begins
	Point      string    `json:"point"`
	Flow       string    `json:"flow"`
	Verdict    string    `json:"verdict"`
	Check      string    `json:"check"`
	Messages   int64     `json:"messages"`
	Recipients int64     `json:"recipients"`
}

// spans are the times that counts are told of, by their names.
var spans = []struct {
	name   string
	layout string
	begin  func(time.Time) time.Time // of the one that a time is in
}{
	{"minute", "2006-01-02 15:04", func(t time.Time) time.Time { return t }},
	{"hour", "2006-01-02 15:04", func(t time.Time) time.Time { return t.Add(-time.Duration(t.Minute()) * time.Minute) }},
	{"day", "2006-01-02", func(t time.Time) time.Time { return time.Date(t.Year(), t.Month(), t.Day(), 0, 0, 0, 0, t.Location()) }},
}

func spanNames() (names []string) {
	for _, s := range spans {
		names = append(names, s.name)
	}
	return names
}

func messagesCountsCommand(c *call) *cobra.Command {
	var since, until time.Time
	per := len(spans) - 1
	cmd := c.command(cobra.Command{
		Use:   "counts",
		Short: "count messages by what became of them",
		Long: `counts says how many messages there were, and how many recipients they had, by the day, the
point where they entered, the ways that they took, the verdict, and the check that decided.
Each message counts once: its ways are those of all its recipients, and its recipients are
all, with those that were refused alone. A message that is refused or put off took no way.

What the MTA refused for a rule of its own is not among them: messages find --mta rejected.

A TIME is written as for messages find. Counted are the minutes that begin then or later. A
message counts a second after its end at the latest.

The exit status is 0 when there are some, 1 when there are none, and 2 when it could not be
told or the usage was wrong.`,
		Example: `  coexistd messages counts --since 7d
  coexistd messages counts --since 2026-11-23T14:00 --until 2026-11-23T15:00 --per minute`,
		Args: atMost(0),
	}, func([]string) int { return countMessages(c, since, until, per) })
	flags := cmd.Flags()
	flags.Func("since", "only what came at a `TIME` or later", moment(&since))
	flags.Func("until", "only what came before a `TIME`", moment(&until))
	flags.Func("per", "count by the `SPAN`: "+strings.Join(spanNames(), ", ")+" (default day)", func(text string) error {
		if per = slices.Index(spanNames(), text); per < 0 {
			return fmt.Errorf("%q is no span; it would be one of %s", text, strings.Join(spanNames(), ", "))
		}
		return nil
	})
	cmd.RegisterFlagCompletionFunc("per", cobra.FixedCompletions(spanNames(), cobra.ShellCompDirectiveNoFileComp))
	return cmd
}

func countMessages(c *call, since, until time.Time, per int) int {
	_, all, err := c.openMessages()
	if err != nil {
		return c.fail(err)
	}
	defer all.Close()
	facts := []countFacts{}
	for one, err := range all.Counts(context.Background(), since, until) {
		if err != nil {
			return c.fail(err)
		}
		facts = addCount(facts, one, spans[per].begin(one.Minute.Local()))
	}
	err = c.print(facts, func(w io.Writer) {
		if len(facts) == 0 {
			fmt.Fprintln(c.stderr, "there were none")
			return
		}
		table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
		fmt.Fprintln(table, "TIME\tPOINT\tFLOW\tVERDICT\tCHECK\tMESSAGES\tRECIPIENTS")
		for _, f := range facts {
			fmt.Fprintf(table, "%s\t%s\t%s\t%s\t%s\t%d\t%d\n", f.Time.Format(spans[per].layout), f.Point, f.Flow, f.Verdict, f.Check, f.Messages, f.Recipients)
		}
		table.Flush()
	})
	switch {
	case err != nil:
		return c.fail(err)
	case len(facts) == 0:
		return exitNo
	}
	return exitYes
}

// addCount adds a minute's count to those of the span that begins at a time. These are sorted,
// and no span after it has any yet.
func addCount(facts []countFacts, one messages.Count, begin time.Time) []countFacts {
	f := countFacts{begin, one.Point, one.Flow, one.Verdict, one.Check, one.Messages, one.Recipients}
	at, found := slices.BinarySearchFunc(facts, f, func(a, b countFacts) int {
		return cmp.Or(a.Time.Compare(b.Time), cmp.Compare(a.Point, b.Point), cmp.Compare(a.Flow, b.Flow), cmp.Compare(a.Verdict, b.Verdict), cmp.Compare(a.Check, b.Check))
	})
	if !found {
		return slices.Insert(facts, at, f)
	}
	facts[at].Messages += f.Messages
	facts[at].Recipients += f.Recipients
	return facts
}
