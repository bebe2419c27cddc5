package main

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"coexistd/cmd/coexistd/account"
	"coexistd/cmd/coexistd/daemon"
	"coexistd/milter/audit"
	"coexistd/milter/quarantine"
	"coexistd/milter/store"
	"coexistd/policy/config"
)

func auditCommand(c *call) *cobra.Command {
	var q audit.Query
	var most int
	cmd := c.command(cobra.Command{
		Use:   "audit",
		Short: "tell who has changed what by hand",
		Long: `audit lists who has released or deleted what is held, had a recipient allow or block a sender,
or ended that, reset a limit, let a client in again, accepted a directory's list, or had the
daemon reload: the newest first, for a year. It tells by which way: by a command, which
changes the store itself, over the daemon's control socket, or by a signal, whose sender
nobody knows. It needs no running daemon.

A TIME is a day like 2026-11-23 (its midnight), 2026-11-23T14:05, 14:05 (of today), a time with
its zone as in RFC 3339, or how long ago: 30m, 2h, 7d. It goes by the clock of this host.

The exit status is 0 when there is something, and 1 when there is nothing.`,
		Example: `  coexistd audit --since 7d
  coexistd audit --what release --who alice
  coexistd audit --since 2026-11-23 --until 2026-11-24 --json`,
		Args: atMost(0),
	}, func([]string) int { return listAudit(c, q, most) })
	flags := cmd.Flags()
	flags.Func("since", "only what was done at a `TIME` or later", moment(&q.Since))
	flags.Func("until", "only what was done before a `TIME`", moment(&q.Until))
	flags.StringVar(&q.Who, "who", "", "only what the `USER` has done")
	flags.Func("what", "only what was done by the `NAME`: "+strings.Join(audit.Whats(), ", "), func(text string) error {
		if q.What = text; !slices.Contains(audit.Whats(), text) {
			return fmt.Errorf("%q is never done; it would be one of %s", text, strings.Join(audit.Whats(), ", "))
		}
		return nil
	})
	flags.IntVar(&most, "most", 100, "list so `MANY` at the most")
	_ = cmd.RegisterFlagCompletionFunc("what", cobra.FixedCompletions(audit.Whats(), cobra.ShellCompDirectiveNoFileComp))
	c.jsonFlag(flags)
	return cmd
}

// openAudit opens the audit of the configuration, as the daemon's user.
func (c *call) openAudit() (*audit.Book, error) {
	if err := account.BecomeDaemon(c.config); err != nil {
		return nil, err
	}
	reading := config.Load(c.config)
	if reading.Config == nil {
		return nil, reading.Problems
	}
	log := slog.New(slog.NewTextHandler(c.stderr, nil))
	return audit.New(store.Open(quarantine.FileOptions(daemon.QuarantineOptions(reading.Config, log).Dir, log))), nil
}

func listAudit(c *call, q audit.Query, most int) int {
	if most < 1 {
		return c.wrong("--most %d: it would be 1 at least", most)
	}
	book, err := c.openAudit()
	if err != nil {
		return c.fail(err)
	}
	events, more := []audit.Event{}, false
	for e, err := range book.All(context.Background(), q) {
		if err != nil {
			return c.fail(err)
		}
		if more = len(events) == most; more {
			break
		}
		events = append(events, e)
	}
	if err := c.print(events, func(w io.Writer) { printEvents(w, events) }); err != nil {
		return c.fail(err)
	}
	switch {
	case len(events) == 0:
		fmt.Fprintln(c.stderr, "nothing was done")
		return exitNo
	case more:
		fmt.Fprintf(c.stderr, "there are more than %d; say more of what is looked for, or --most\n", most)
	}
	return exitYes
}

func printEvents(w io.Writer, events []audit.Event) {
	if len(events) == 0 {
		return
	}
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "TIME\tWHO\tWAY\tWHAT\tOBJECT\tOUTCOME")
	for _, e := range events {
		who, object := e.Who, e.Object
		if who == "" {
			who = "(unknown)"
		}
		if e.Whose != "" {
			object += ", for " + e.Whose
		}
		fmt.Fprintf(table, "%s\t%s\t%s\t%s\t%s\t%s\n", e.Time.Local().Format("2006-01-02 15:04:05"), printableLine(who), e.Way, e.What, printableLine(object), printableLine(e.Outcome))
	}
	table.Flush()
}
