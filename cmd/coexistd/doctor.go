package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"
	"unicode"

	"github.com/spf13/cobra"

	"coexistd/cmd/coexistd/account"
	checkup "coexistd/cmd/coexistd/doctor"
)

func doctorCommand(c *call) *cobra.Command {
	var o doctorOptions
	cmd := c.command(cobra.Command{
		Use:   "doctor",
		Short: "ask the scanners, the daemon, the MTA and the quarantine how they are, and tell what to do",
		Long: `doctor looks at the running system: each finding is a line with its subject and
what was found, and below it what to do. Run it as root or as the daemon's user.

The MTA is the Postfix whose postconf command PATH has; where there is none, it is
the Sendmail of /etc/mail/sendmail.cf, or of the file that --sendmail-cf names.

With --probe it also sends a message through each flow that can be probed, to the
addresses that [probe] names, and waits for a rule over there to send it back. Nobody
gets these messages: coexistd drops them. The MX of each domain is spoken with up to
RCPT, and no further. What the MTA's log says of them is read, too.

With --survey it tells of an MTA that coexistd is not attached to yet: what stands
there, what coexistd will change about it, and what to do before. It sends nothing and
changes nothing, and needs no configuration. Run it as root. The exit status is 0 when
there is nothing to do before.

The exit status is otherwise 0 when nothing has failed, 1 when something has, and 2 when the
usage was wrong, the doctor is not allowed to look, or the probes were broken off.`,
		Example: `  coexistd doctor
  coexistd doctor --json
  coexistd doctor --probe
  coexistd doctor --survey`,
		Args: atMost(0),
	}, func([]string) int {
		if o.survey {
			return survey(c, o)
		}
		return doctor(c, o)
	})
	cmd.Flags().BoolVar(&o.probe, "probe", false, "send a message through each flow, and wait for it")
	cmd.Flags().BoolVar(&o.survey, "survey", false, "say what attaching coexistd will change about this host's MTA")
	cmd.Flags().StringVar(&o.mailLog, "mail-log", "", "the MTA's log is this `FILE`, and not where it usually is")
	cmd.Flags().StringVar(&o.sendmailCF, "sendmail-cf", "", "look at the Sendmail of this `FILE`, whether or not there is a Postfix")
	c.jsonFlag(cmd.Flags())
	return cmd
}

// doctorOptions are what the flags say.
type doctorOptions struct {
	sendmailCF, mailLog string
	probe, survey       bool
}

// survey tells what attaching coexistd will change about the MTA.
func survey(c *call, o doctorOptions) int {
	if o.probe {
		return c.wrong("--survey looks at an MTA that coexistd is not attached to: leave out --probe")
	}
	findings, err := checkup.Survey(context.Background(), c.config, o.sendmailCF)
	if err != nil {
		return c.wrong("%v", err)
	}
	if err := c.print(findings, func(w io.Writer) { printFindings(w, findings) }); err != nil {
		return c.wrong("%v", err)
	}
	if slices.ContainsFunc(findings, func(f checkup.Finding) bool { return f.Status != checkup.OK }) {
		return exitNo
	}
	return exitYes
}

func doctor(c *call, o doctorOptions) int {
	log, err := o.openMailLog() // as who runs the command: the daemon's user may not
	if err != nil {
		return c.wrong("the MTA's log cannot be read: %v", err)
	}
	defer log.Close()
	if err := account.BecomeDaemon(c.config); err != nil {
		return c.wrong("%v", err)
	}
	findings, brokenOff := checkup.Examine(c.config, o.sendmailCF), false
	if o.probe {
		if !c.asJSON {
			printFindings(c.stdout, findings) // probes are waited for
		}
		ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
		defer stop()
		findings = append(findings, checkup.Probe(ctx, c.config, log)...)
		brokenOff = ctx.Err() != nil
	}
	untold := func(w io.Writer) {
		printFindings(w, slices.DeleteFunc(slices.Clone(findings), func(f checkup.Finding) bool { return o.probe && f.Subject != checkup.Probes }))
	}
	if err := c.print(findings, untold); err != nil {
		return c.wrong("%v", err)
	}
	switch {
	case brokenOff:
		return c.wrong("the probes were broken off before all was known")
	case slices.ContainsFunc(findings, func(f checkup.Finding) bool { return f.Status == checkup.Fail }):
		return exitNo
	}
	return exitYes
}

// openMailLog opens the MTA's log for probes; nil: it is not read.
func (o doctorOptions) openMailLog() (*checkup.MailLog, error) {
	if !o.probe {
		return nil, nil
	}
	return checkup.OpenMailLog(o.mailLog)
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
