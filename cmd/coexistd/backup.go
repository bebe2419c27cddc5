package main

import (
	"context"
	"fmt"
	"os/signal"
	"path/filepath"
	"syscall"

	"github.com/spf13/cobra"

	"coexistd/cmd/coexistd/account"
	"coexistd/cmd/coexistd/daemon"
	"coexistd/policy/config"
)

func backupCommand(c *call) *cobra.Command {
	return c.command(cobra.Command{
		Use:   "backup FOLDER",
		Short: "copy what is held, the records and the key, while the daemon runs",
		Long: `backup makes a folder with whole copies of what the daemon keeps in state_dir: the
messages that are held, the records of messages, the key that signs traces and
releases, and the saved lists. Mail goes on meanwhile. The configuration is not among
them: copy its folder, too.

The FOLDER must not exist. It has its name when it is whole; until then it ends in
.part. It is made as the user who runs the daemon, who must be able to write to the
folder above it: install -d -m 0700 -o coexistd /var/backups/coexistd makes one. To
restore it, stop the daemon, and put it in the place of state_dir.`,
		Example: "  coexistd backup /var/backups/coexistd/monday",
		Args:    exactly(1, "the folder to be made"),
	}, func(args []string) int { return backup(c, args[0]) })
}

func backup(c *call, folder string) int {
	folder, err := filepath.Abs(folder)
	if err == nil {
		err = account.BecomeDaemon(c.config)
	}
	if err != nil {
		return c.fail(err)
	}
	reading := config.Load(c.config)
	if reading.Config == nil {
		return c.fail(reading.Problems)
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	if err := daemon.Backup(ctx, reading.Config, folder); err != nil {
		return c.fail(fmt.Errorf("nothing was backed up: %w", err))
	}
	fmt.Fprintln(c.stdout, "backed up to", folder)
	return exitYes
}
