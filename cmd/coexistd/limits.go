package main

import (
	"context"
	"fmt"
	"io"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"coexistd/cmd/coexistd/control"
)

func limitsCommand(c *call) *cobra.Command {
	cmd := c.group(cobra.Command{
		Use:   "limits ACTION",
		Short: "look at what is counted for rate limits, or let go",
		Long: `limits asks the running daemon how much of the limits of [[rate]] is used, and has it
forget what was counted.`,
		Example: `  coexistd limits list
  coexistd limits reset logins alice`,
	},
		limitsListCommand(c),
		limitsResetCommand(c),
	)
	c.jsonFlag(cmd.PersistentFlags())
	return cmd
}

func limitsListCommand(c *call) *cobra.Command {
	return c.command(cobra.Command{
		Use:     "list",
		Short:   "list the fullest limits, and who has used them",
		Long:    "list lists by rule and key how much of a limit is used, the fullest first.",
		Example: "  coexistd limits list",
		Args:    atMost(0),
	}, func([]string) int { return listLimits(c) })
}

func listLimits(c *call) int {
	l, err := ask(c, (*control.Client).Limits)
	if err != nil {
		return c.fail(err)
	}
	now := time.Now()
	if err := c.print(l, func(w io.Writer) { printLimits(w, l, now) }); err != nil {
		return c.fail(err)
	}
	if l.Error != "" {
		return c.wrong("Redis cannot be asked, so this is what the daemon counts itself meanwhile: %s", printableLine(l.Error))
	}
	return exitYes
}

func printLimits(w io.Writer, l control.Limits, now time.Time) {
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	if len(l.Buckets) > 0 {
		fmt.Fprintln(table, "RULE\tKEY\tIS A\tUSED\tOF\tUNIT\tSTATE\tEMPTY IN")
	}
	for _, b := range l.Buckets {
		state := "passes"
		if b.Over {
			state = "OVER"
		}
		fmt.Fprintf(table, "%s\t%s\t%s\t%d\t%d\t%s\t%s\t%s\n", b.Rule, printableLine(b.Key), b.By, b.Used, b.Burst, b.Unit, state, b.Empty.Sub(now).Round(time.Second))
	}
	table.Flush()
	if len(l.Buckets) == 0 && l.Error == "" {
		fmt.Fprintln(w, "nothing is counted at the moment")
	}
	if l.Partial {
		fmt.Fprintln(w, "there are more than these")
	}
	if l.Damaged > 0 {
		fmt.Fprintf(w, "%d values in Redis are none of limits: another program uses their keys\n", l.Damaged)
	}
}

func limitsResetCommand(c *call) *cobra.Command {
	return c.command(cobra.Command{
		Use:   "reset RULE KEY",
		Short: "forget what was counted for a key of a rule",
		Long: `reset forgets what was counted for a key of a rule, so that its next message passes.
RULE and KEY are as "coexistd limits list" prints them. The key "*" is all of the rule.

The exit status is 1 when nothing was counted there.`,
		Example: `  coexistd limits reset logins alice
  coexistd limits reset logins '*'`,
		Args: exactly(2, "a rule and a key"),
	}, func(args []string) int { return resetLimit(c, control.Reset{Rule: args[0], Key: args[1]}) })
}

func resetLimit(c *call, what control.Reset) int {
	return c.change(func(daemon *control.Client, ctx context.Context) (bool, error) { return daemon.Reset(ctx, what) },
		fmt.Sprintf("forgotten: %s %s", what.Rule, what.Key), fmt.Sprintf("nothing is counted for %s %s", what.Rule, what.Key))
}
