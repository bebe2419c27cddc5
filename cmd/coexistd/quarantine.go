package main

import (
	"fmt"
	"io"
	"log/slog"
	"os"

	"github.com/spf13/cobra"

	"coexistd/cmd/coexistd/account"
	"coexistd/cmd/coexistd/daemon"
	"coexistd/milter/quarantine"
	"coexistd/policy/config"
)

// wordsHelp says what chooses entries.
const wordsHelp = `Words choose entries, all of them together: from: to: subject: check: point: found:
before: after: with text or a date like 2026-11-23, or a bare text.`

func quarantineCommand(c *call) *cobra.Command {
	cmd := c.group(cobra.Command{
		Use:   "quarantine ACTION",
		Short: "look at what is held, let it go, or report it",
		Long: `quarantine looks at the messages that are held, sends them on to their recipients,
deletes them, and reports them; it has their recipients allow or block their senders.

` + wordsHelp,
		Example: `  coexistd quarantine list
  coexistd quarantine show vb3kq7x2ma
  coexistd quarantine release vb3kq7x2ma`,
	},
		listCommand(c),
		showCommand(c),
		releaseCommand(c),
		deleteCommand(c),
		allowCommand(c),
		blockCommand(c),
		reportCommand(c),
	)
	c.jsonFlag(cmd.PersistentFlags())
	return cmd
}

// openHeld opens the quarantine of the configuration, as the daemon's user: what SQLite makes
// beside the file is theirs then.
func (c *call) openHeld() (*config.Config, *quarantine.Store, error) {
	c.by = whoRuns(os.Getenv("SUDO_USER"))
	if err := account.BecomeDaemon(c.config); err != nil {
		return nil, nil, err
	}
	reading := config.Load(c.config)
	if len(reading.Problems) > 0 {
		return nil, nil, reading.Problems
	}
	conf := reading.Config
	options := daemon.QuarantineOptions(conf, slog.New(slog.NewTextHandler(c.stderr, nil)))
	options.By = c.by
	return conf, quarantine.OpenExisting(options), nil
}

func listCommand(c *call) *cobra.Command {
	var q quarantine.Query
	cmd := c.command(cobra.Command{
		Use:   "list [WORD…]",
		Short: "list what is held; --all lists what is settled, too",
		Long:  "list lists what is held, the newest first.\n\n" + wordsHelp,
		Example: `  coexistd quarantine list
  coexistd quarantine list --to alice@acmecorp.com check:spam after:2026-11-01
  coexistd quarantine list --all --json`,
	}, func(words []string) int {
		q.Words = words
		return listHeld(c, q)
	})
	cmd.Flags().StringVar(&q.To, "to", "", "only what is held for the `ADDRESS`")
	cmd.Flags().BoolVar(&q.All, "all", false, "list what was released, deleted or has expired, too")
	return cmd
}

func listHeld(c *call, q quarantine.Query) int {
	conf, store, err := c.openHeld()
	if err != nil {
		return c.fail(err)
	}
	facts := []quarantine.Entry{}
	table := heldTable{listing: newListing(c.stdout), zone: conf.Quarantine.Report.Zone}
	for e, err := range store.All(q) {
		if err != nil {
			return c.fail(err)
		}
		if c.asJSON {
			facts = append(facts, e)
		} else {
			table.row(&e)
		}
	}
	table.flush()
	err = c.print(facts, func(io.Writer) {
		switch {
		case table.count > 0:
		case len(q.Words) > 0 || q.To != "":
			fmt.Fprintln(c.stderr, "no entry is chosen")
		default:
			fmt.Fprintln(c.stderr, "nothing is held")
		}
	})
	if err != nil {
		return c.fail(err)
	}
	return exitYes
}
