package main

import (
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"coexistd/cmd/coexistd/control"
)

func reloadCommand(c *call) *cobra.Command {
	cmd := c.command(cobra.Command{
		Use:   "reload",
		Short: "have the daemon take the configuration and the directories as they are now",
		Long: `reload has the running daemon read its configuration and directories anew, waits for
it, and tells what was refused. When the configuration is refused, nothing changes. A
directory that lacks too many addresses is refused alone.

The exit status is 0 when all was taken, and 1 when anything was refused.`,
		Example: `  coexistd reload
  coexistd reload --json`,
		Args: atMost(0),
	}, func([]string) int { return reload(c) })
	c.jsonFlag(cmd.Flags())
	return cmd
}

func reload(c *call) int {
	r, err := ask(c, (*control.Client).Reload)
	if err != nil {
		return c.fail(err)
	}
	err = c.print(r, func(w io.Writer) {
		switch {
		case !r.Applied:
			fmt.Fprintln(c.stderr, "the reload was refused: the configuration stays as it was")
		case len(r.Refused) > 0:
			fmt.Fprintln(c.stderr, "reloaded, but for what was refused:")
		default:
			fmt.Fprintln(w, "reloaded")
		}
		for _, text := range r.Refused {
			fmt.Fprintln(c.stderr, text)
		}
	})
	switch {
	case err != nil:
		return c.fail(err)
	case !r.Applied || len(r.Refused) > 0:
		return exitNo
	}
	return exitYes
}
