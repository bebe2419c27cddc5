package main

import (
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"syscall"

	systemd "github.com/coreos/go-systemd/v22/daemon"
	"github.com/spf13/cobra"

	"coexistd/cmd/coexistd/daemon"
)

func serveCommand(c *call) *cobra.Command {
	var log logging
	cmd := c.command(cobra.Command{
		Use:   "serve",
		Short: "run the daemon; SIGHUP reloads, SIGTERM drains",
		Long: `serve runs the daemon. It answers the MTA until a signal ends it: SIGTERM lets the
messages under way end first, SIGHUP reads the configuration and the directories
anew. Its log goes to standard error.`,
		Example: `  coexistd serve
  coexistd serve --log-format json --log-level warn`,
		Args: atMost(0),
	}, func([]string) int { return serve(c, log.to(c.stderr)) })
	log.flags(cmd)
	return cmd
}

func serve(c *call, log *slog.Logger) int {
	// Each kind has a channel of its own: one that is full drops a signal, and a
	// flood of SIGHUPs must not take the place of a SIGTERM. They are caught
	// until the process is gone, so that a late SIGHUP does not end the drain.
	hangups, ends := make(chan os.Signal, 1), make(chan os.Signal, 1)
	signal.Notify(hangups, syscall.SIGHUP)
	signal.Notify(ends, syscall.SIGTERM, syscall.SIGINT)

	d, err := daemon.New(daemon.Options{Config: c.config, Version: version, Log: log})
	if err != nil {
		fmt.Fprintln(c.stderr, err)
		return exitNo
	}
	d.Start()
	// It tells systemd, when that started us, where we are (sd_notify(3)).
	notify := func(state string) {
		if _, err := systemd.SdNotify(false, state); err != nil {
			log.Warn("systemd could not be told", "state", state, "error", err)
		}
	}
	notify(systemd.SdNotifyReady)
	for {
		select {
		case sig := <-ends:
			log.Info("stopping", "signal", sig.String())
			notify(systemd.SdNotifyStopping)
			d.Stop()
			return exitYes
		case <-hangups:
			notify(systemd.SdNotifyReloading + "\n" + systemd.SdNotifyMonotonicUsec())
			_, _ = d.Reload(daemon.BySignal) // the log has what it refuses
			notify(systemd.SdNotifyReady)
		}
	}
}
