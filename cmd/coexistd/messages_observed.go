package main

import (
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"

	"coexistd/cmd/coexistd/account"
	"coexistd/cmd/coexistd/daemon"
	"coexistd/milter/notice"
	"coexistd/milter/ownmail"
	"coexistd/policy/config"
)

func messagesObservedCommand(c *call) *cobra.Command {
	return c.command(cobra.Command{
		Use:   "observed",
		Short: "tell what would have been done with mail that is only observed",
		Long: `observed tells what would have been done with the messages of the last 24 hours and seven
days for whose recipients the mode is observe, and who sent most of them since the last
daily summary, which says the same by mail. The daemon writes the counts once a minute.

The exit status is 0 when all is ready to be enforced, since nothing unexpected came for as
long as observe.ready_after says, 1 when it is not, and 2 when it could not be told.`,
		Example: `  coexistd messages observed
  coexistd messages observed --json`,
		Args: atMost(0),
	}, func([]string) int { return observedMessages(c) })
}

func observedMessages(c *call) int {
	if err := account.BecomeDaemon(c.config); err != nil {
		return c.wrong("%v", err)
	}
	reading := config.Load(c.config)
	if reading.Config == nil {
		return c.fail(reading.Problems)
	}
	s, err := notice.ReadObserved(daemon.ObservedPath(reading.Config), time.Now(), daemon.Ready(reading.Config))
	if err != nil {
		return c.wrong("%v", err)
	}
	if mode := reading.Config.Rules.Mode(); mode == "enforce" && s.Since.IsZero() {
		return c.wrong("nothing is observed: the mode is enforce")
	}
	if err := c.print(s, func(w io.Writer) { printObserved(w, &s) }); err != nil {
		return c.wrong("%v", err)
	}
	if !s.Ready {
		return exitNo
	}
	return exitYes
}

func printObserved(w io.Writer, s *notice.Summary) {
	clock := func(t time.Time) string { return t.Local().Format("2006-01-02 15:04") }
	fmt.Fprintf(w, "%s\n", s.Readiness(clock))
	for _, one := range s.Kinds {
		fmt.Fprintf(w, "\n%s\n  %s\n", one.String(), one.Counts())
		for _, from := range one.Senders {
			fmt.Fprintf(w, "  %d from <%s>\n", from.Count, printableLine(ownmail.OneLine(from.Address)))
		}
	}
}
