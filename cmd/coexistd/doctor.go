package main

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"unicode"

	"github.com/spf13/cobra"

	"coexistd/cmd/coexistd/account"
	checkup "coexistd/cmd/coexistd/doctor"
)

func doctorCommand(c *call) *cobra.Command {
	var sendmailCF string
	cmd := c.command(cobra.Command{
		Use:   "doctor",
		Short: "ask the scanners, the daemon, the MTA and the quarantine how they are, and tell what to do",
		Long: `doctor looks at the running system: each finding is a line with its subject and
what was found, and below it what to do. Run it as root or as the daemon's user.

The MTA is the Postfix whose postconf command PATH has; where there is none, it is
the Sendmail of /etc/mail/sendmail.cf, or of the file that --sendmail-cf names.

The exit status is 0 when nothing has failed, 1 when something has, and 2 when the
usage was wrong or the doctor is not allowed to look.`,
		Example: `  coexistd doctor
  coexistd doctor --json`,
		Args: atMost(0),
	}, func([]string) int { return doctor(c, sendmailCF) })
	cmd.Flags().StringVar(&sendmailCF, "sendmail-cf", "", "look at the Sendmail of this `FILE`, whether or not there is a Postfix")
	c.jsonFlag(cmd.Flags())
	return cmd
}

func doctor(c *call, sendmailCF string) int {
	if err := account.BecomeDaemon(c.config); err != nil {
		return c.wrong("%v", err)
	}
	findings := checkup.Examine(c.config, sendmailCF)
	if err := c.print(findings, func(w io.Writer) { printFindings(w, findings) }); err != nil {
		return c.wrong("%v", err)
	}
	if slices.ContainsFunc(findings, func(f checkup.Finding) bool { return f.Status == checkup.Fail }) {
		return exitNo
	}
	return exitYes
}

// printFindings prints a line for each finding, and below it the remedy.
// Whatever servers and files have said cannot upset a terminal.
func printFindings(w io.Writer, findings []checkup.Finding) {
	for _, f := range findings {
		status, colour := f.Status, green
		switch status {
		case checkup.Fail:
			status, colour = "FAIL", red
		case checkup.Warn:
			colour = yellow
		}
		fmt.Fprintf(w, "%s  %-13s  %s\n", paint(w, colour, fmt.Sprintf("%-4s", status)), f.Subject, printableLine(f.Found))
		if f.Remedy != "" {
			fmt.Fprintf(w, "  do: %s\n", printableLine(f.Remedy))
		}
	}
}

func printableLine(s string) string {
	return strings.Map(func(c rune) rune {
		if !unicode.IsPrint(c) {
			return '?'
		}
		return c
	}, strings.ToValidUTF8(s, "?"))
}
