package main

import (
	"context"
	"fmt"
	"io"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"coexistd/cmd/coexistd/control"
)

func clientsCommand(c *call) *cobra.Command {
	cmd := c.group(cobra.Command{
		Use:   "clients ACTION",
		Short: "look at who is turned away by the check ddos, or let them in again",
		Long:  "clients asks the running daemon who is turned away by the check ddos, and has it let them in again.",
		Example: `  coexistd clients list
  coexistd clients unblock 192.0.2.7`,
	},
		clientsListCommand(c),
		unblockCommand(c),
	)
	c.jsonFlag(cmd.PersistentFlags())
	return cmd
}

func clientsListCommand(c *call) *cobra.Command {
	return c.command(cobra.Command{
		Use:     "list",
		Short:   "list who is turned away, why, and until when",
		Long:    "list lists the clients and networks that are turned away, the latest first.",
		Example: "  coexistd clients list",
		Args:    atMost(0),
	}, func([]string) int { return listClients(c) })
}

func listClients(c *call) int {
	l, err := ask(c, (*control.Client).Clients)
	if err != nil {
		return c.fail(err)
	}
	if err := c.print(l, func(w io.Writer) { printClients(w, l) }); err != nil {
		return c.fail(err)
	}
	return exitYes
}

func printClients(w io.Writer, l control.Clients) {
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	if len(l.Clients) > 0 {
		fmt.Fprintln(table, "CLIENT\tUNTIL\tBOUND\tWHY")
	}
	for _, one := range l.Clients {
		until := "its connections end"
		if !one.Until.IsZero() {
			until = one.Until.Local().Format("2006-01-02 15:04:05")
		}
		fmt.Fprintf(table, "%s\t%s\t%s\t%s\n", one.Network, until, one.Bound, printableLine(one.Why))
	}
	table.Flush()
	if len(l.Clients) == 0 {
		fmt.Fprintln(w, "nobody is turned away")
	}
	if l.Partial {
		fmt.Fprintln(w, "there are more than these")
	}
}

func unblockCommand(c *call) *cobra.Command {
	return c.command(cobra.Command{
		Use:   "unblock CLIENT",
		Short: "let a client or a network in again",
		Long: `unblock forgets what a client, or a network such as 192.0.2.0/24, has asked for too
much of.

The exit status is 1 when nothing is known of it.`,
		Example: `  coexistd clients unblock 192.0.2.7`,
		Args:    exactly(1, "a client's address, or a network"),
	}, func(args []string) int { return unblock(c, args[0]) })
}

func unblock(c *call, network string) int {
	return c.change(func(daemon *control.Client, ctx context.Context) (bool, error) {
		return daemon.Unblock(ctx, control.Unblock{Network: network})
	}, network+" is let in again", "nothing is known of "+network)
}
