package main

import (
	"cmp"
	"context"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"coexistd/cmd/coexistd/sendmailcf"
	"coexistd/cmd/coexistd/setup"
	"coexistd/policy/config"
)

// surveyTime bounds the questions to the DNS and to the MTA.
const surveyTime = 30 * time.Second

func setupCommand(c *call) *cobra.Command {
	var retire bool
	var sendmailCF string
	sides := setup.Sides()
	cmd := c.command(cobra.Command{
		Use:   "setup SIDE",
		Short: "say what to set on each side for this configuration",
		Long: `setup says what to set on one side, for this configuration: a step after the other,
each with its commands, filled in with what the configuration, the MTA of this host
and the DNS say. It changes nothing. What is no command is a comment, so that the
whole can be read, and then run.

The MTA is the Postfix whose postconf command PATH has; where there is none, it is
the Sendmail of /etc/mail/sendmail.cf, or of the file that --sendmail-cf names.

SIDE is one of: ` + strings.Join(sides, ", ") + `.`,
		Example: `  coexistd setup postfix
  coexistd setup postfix | sh -e
  coexistd setup sendmail --retire`,
		ValidArgs: sides,
		Args:      exactly(1, "the side to be set up: one of "+strings.Join(sides, ", ")),
	}, func(args []string) int { return writeSetup(c, args[0], sendmailCF, retire) })
	c.jsonFlag(cmd.Flags())
	cmd.Flags().StringVar(&sendmailCF, "sendmail-cf", "", "the MTA is the Sendmail of this `FILE`, whether or not there is a Postfix")
	cmd.Flags().BoolVar(&retire, "retire", false, "say what to undo, and in which order, when the split ends")
	return cmd
}

func writeSetup(c *call, side, sendmailCF string, retire bool) int {
	reading := config.Load(c.config)
	if reading.Config == nil {
		return c.fail(reading.Problems)
	}
	ctx, cancel := context.WithTimeout(context.Background(), surveyTime)
	defer cancel()
	site := setup.Survey(ctx, reading.Config)
	if sendmailCF != "" || site.Postfix == nil || side == "sendmail" {
		site.SurveySendmail(cmp.Or(sendmailCF, sendmailcf.UsualPath))
	}
	guide, err := setup.Make(side, site, retire)
	if err != nil {
		return c.wrong("%v", err)
	}
	if err := c.print(guide, func(w io.Writer) { guide.Write(w) }); err != nil {
		return c.wrong("%v", err)
	}
	return exitYes
}
