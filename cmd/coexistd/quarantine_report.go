package main

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"
	"time"

	"coexistd/milter/quarantine"
	"coexistd/policy/config"
	"coexistd/policy/mail"
	"coexistd/policy/seal"
)

// newReporter makes what sends the reports of a configuration.
func newReporter(conf *config.Config, keys seal.Keys, store *quarantine.Store, log *slog.Logger) *quarantine.Reporter {
	q := conf.Quarantine
	return &quarantine.Reporter{
		Store: store, Post: post(conf, keys),
		From: q.Report.From, Contact: q.Report.Contact, Summary: q.Report.Summary,
		Hour: q.Report.Hour, Minute: q.Report.Minute, Zone: q.Report.Zone, Keep: q.Keep, Log: log,
	}
}

func reportHeld(c *call) int {
	path := c.flags.String("c", defaultConfig, "the configuration `file`")
	asJSON := c.flags.Bool("json", false, "print JSON")
	dryRun := c.flags.Bool("dry-run", false, "print the reports and send nothing")
	to := c.flags.String("to", "", "only the report for this `address`")
	if status, done := c.parse(0); done {
		return status
	}
	conf, store, err := c.openHeld(*path)
	if err != nil {
		return c.fail(err)
	}
	keys, err := readKeys(conf)
	if err != nil {
		return c.fail(err)
	}
	// What becomes of each report is told here, not in a log.
	reporter := newReporter(conf, keys, store, slog.New(slog.DiscardHandler))
	now := time.Now()
	mails, err := reporter.Compose(now)
	if err != nil {
		return c.fail(err)
	}
	if *to != "" {
		address, err := mail.ParseAddress(*to, conf.Rules.Delimiters)
		if err != nil || address.IsNull() {
			return c.wrong("--to %q is not an address", *to)
		}
		mails = slices.DeleteFunc(mails, func(m quarantine.Mail) bool {
			return m.Summary || !strings.EqualFold(m.To, *to) && m.To != address.Owner
		})
	}
	if *dryRun {
		return c.printReports(mails, *asJSON)
	}
	status := c.sendReports(reporter, now, mails, *asJSON)
	if status == exitYes && *to == "" {
		if err := store.SetLastReport(now); err != nil {
			return c.fail(err)
		}
	}
	return status
}

// printReports tells who would get what.
func (c *call) printReports(mails []quarantine.Mail, asJSON bool) int {
	if asJSON {
		if err := printJSON(c.stdout, mails); err != nil {
			return c.fail(err)
		}
		return exitYes
	}
	if len(mails) == 0 {
		fmt.Fprintln(c.stderr, "there is nothing to report")
	}
	for _, mail := range mails {
		text, err := mail.Text()
		if err != nil {
			return c.fail(err)
		}
		fmt.Fprintf(c.stdout, "To: %s\nSubject: %s\n\n%s\n", escaped(mail.To), mail.Subject, text)
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
func (c *call) sendReports(reporter *quarantine.Reporter, now time.Time, mails []quarantine.Mail, asJSON bool) int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	outcomes, status := []mailOutcome{}, exitYes
	for _, mail := range mails {
		o := mailOutcome{Mail: mail, Sent: true}
		text := "sent to " + mail.To + ": " + mail.Subject
		if err := reporter.Send(ctx, now, mail); err != nil {
			o.Sent, o.Error, text, status = false, err.Error(), err.Error(), exitNo
		}
		if asJSON {
			outcomes = append(outcomes, o)
		} else {
			fmt.Fprintln(c.stdout, escaped(text))
		}
		if ctx.Err() != nil {
			break
		}
	}
	if asJSON {
		if err := printJSON(c.stdout, outcomes); err != nil {
			return c.fail(err)
		}
	} else if len(mails) == 0 {
		fmt.Fprintln(c.stderr, "there is nothing to report")
	}
	return status
}
