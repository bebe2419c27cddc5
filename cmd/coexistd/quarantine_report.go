package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"coexistd/cmd/coexistd/daemon"
	"coexistd/milter/quarantine"
	"coexistd/policy/mail"
)

func reportCommand(c *call) *cobra.Command {
	var to string
	var dryRun bool
	cmd := c.command(cobra.Command{
		Use:   "report",
		Short: "send the reports now; --dry-run prints them",
		Example: `  coexistd quarantine report --dry-run
  coexistd quarantine report --to alice@acmecorp.com`,
		Args: atMost(0),
	}, func([]string) int { return reportHeld(c, to, dryRun) })
	cmd.Flags().BoolVar(&dryRun, "dry-run", false, "print the reports and send nothing")
	cmd.Flags().StringVar(&to, "to", "", "only the report for the `ADDRESS`")
	return cmd
}

func reportHeld(c *call, to string, dryRun bool) int {
	conf, store, err := c.openHeld()
	if err != nil {
		return c.fail(err)
	}
	keys, err := daemon.ReadKeys(conf)
	if err != nil {
		return c.fail(err)
	}
	texts, err := daemon.ReadTexts(conf)
	if err != nil {
		return c.fail(err)
	}
	// What becomes of each report is told here, not in a log.
	reporter := daemon.NewReporter(conf, keys, store, texts, slog.New(slog.DiscardHandler))
	reporter.TextFailed = func(err error) {
		fmt.Fprintf(c.stderr, "%s; the built-in text is used\n", printableLine(err.Error()))
	}
	now := time.Now()
	mails, err := reporter.Compose(now)
	if err != nil {
		return c.fail(err)
	}
	if to != "" {
		address, err := mail.ParseAddress(to, conf.Rules.Delimiters)
		if err != nil || address.IsNull() {
			return c.wrong("--to %q is not an address", to)
		}
		mails = slices.DeleteFunc(mails, func(m quarantine.Mail) bool {
			return m.Summary || !strings.EqualFold(m.To, to) && m.To != address.Owner
		})
	}
	if len(mails) == 0 && !c.asJSON {
		fmt.Fprintln(c.stderr, "there is nothing to report")
	}
	if dryRun {
		return c.printReports(mails)
	}
	status := c.sendReports(reporter, now, mails)
	if status == exitYes && to == "" {
		if err := store.SetLastReport(now); err != nil {
			return c.fail(err)
		}
	}
	return status
}

// printReports tells who would get what.
func (c *call) printReports(mails []quarantine.Mail) int {
	var failed error
	err := c.print(mails, func(w io.Writer) {
		for _, mail := range mails {
			text, err := mail.Text()
			if failed = err; err != nil {
				return
			}
			fmt.Fprintf(w, "To: %s\nSubject: %s\n\n%s\n", escaped(mail.To), mail.Subject, text)
		}
	})
	if err = errors.Join(err, failed); err != nil {
		return c.fail(err)
	}
	return exitYes
}

// mailOutcome is what became of one report.
type mailOutcome struct {
	quarantine.Mail
	Sent  bool   `json:"sent"`
	Error string `json:"error,omitempty"`
}

// sendReports sends reports, and tells what became of each.
func (c *call) sendReports(reporter *quarantine.Reporter, now time.Time, mails []quarantine.Mail) int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	outcomes, status := []mailOutcome{}, exitYes
	for _, mail := range mails {
		o := mailOutcome{Mail: mail, Sent: true}
		text := "sent to " + mail.To + ": " + mail.Subject
		if err := reporter.Send(ctx, now, mail); err != nil {
			o.Sent, o.Error, text, status = false, err.Error(), err.Error(), exitNo
		}
		outcomes = append(outcomes, o)
		if !c.asJSON {
			fmt.Fprintln(c.stdout, escaped(text))
		}
		if ctx.Err() != nil {
			break
		}
	}
	if err := c.print(outcomes, func(io.Writer) {}); err != nil {
		return c.fail(err)
	}
	return status
}
