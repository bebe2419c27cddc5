package main

import (
	"context"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"coexistd/milter/quarantine"
	kept "coexistd/milter/senders"
	"coexistd/policy"
	"coexistd/policy/config"
	"coexistd/policy/config/quantity"
	"coexistd/policy/senders"
	"coexistd/policy/verdict"
)

// usualTime is for how long a sender is allowed or blocked unless the command says more.
const usualTime = "90d"

// senderOf finds whom the recipient of an entry allows or blocks by it.
type senderOf func(e *quarantine.Entry, conf *config.Config) (senders.Sender, error)

func allowCommand(c *call) *cobra.Command {
	var address bool
	cmd := c.senderCommand(cobra.Command{
		Use:   "allow ID",
		Short: "let a proven sender's mail for the recipient past the check spam",
		Long: `allow has the recipient of an entry allow its sender: later mail from the same domain is
spared the check spam for that recipient, where SPF or DKIM proves that it is from the
domain that its From field names. All other checks are made, so that no virus or malware
comes through. The entry must have been proven itself, which is looked into at S0 by the
check spoof. With --address, only the author's address is allowed, not all of its domain:
use it where strangers share the domain, as at mail providers.

The daemon goes by it within ten seconds. The entry itself stays held: release it. See who
is allowed by coexistd senders list, and end it by coexistd senders remove.`,
		Example: `  coexistd quarantine allow vb3kq7x2ma
  coexistd quarantine allow vb3kq7x2ma --address --for 30d`,
	}, func(e *quarantine.Entry, conf *config.Config) (senders.Sender, error) {
		return e.Allowing(&conf.Rules.Routes, address)
	})
	cmd.Flags().BoolVar(&address, "address", false, "allow the author's address alone, not all of its domain")
	return cmd
}

func blockCommand(c *call) *cobra.Command {
	var domain bool
	cmd := c.senderCommand(cobra.Command{
		Use:   "block ID",
		Short: "hold what the sender writes to the recipient from now on",
		Long: `block has the recipient of an entry block its sender: later mail that has the same author,
or the same sender in its envelope, is held by the check block for that recipient, whom
no report tells of it. Other recipients of such a message get it. With --domain, all of the
sender's domain is blocked. Bounces, our own users and our own domains are not blocked.

The daemon goes by it within ten seconds. The entry itself stays held: delete it. See who
is blocked by coexistd senders list, and end it by coexistd senders remove. With
[quarantine] learn, rspamd is told that the message is spam.`,
		Example: `  coexistd quarantine block vb3kq7x2ma
  coexistd quarantine block vb3kq7x2ma --domain --for 365d`,
	}, func(e *quarantine.Entry, conf *config.Config) (senders.Sender, error) {
		if rules := conf.Rules; !rules.Points[verdict.S0].Makes(verdict.CheckBlock) && !rules.Points[verdict.S1].Makes(verdict.CheckBlock) {
			return senders.Sender{}, fmt.Errorf(`%s cannot be blocked: no contact point makes the check block; add "block" to checks of [checkpoint.S0] in %s`, e.ID, conf.Path)
		}
		return e.Blocking(&conf.Rules.Routes, domain)
	})
	cmd.Flags().BoolVar(&domain, "domain", false, "block all of the sender's domain, not the address alone")
	return cmd
}

// senderCommand makes a command that has the recipient of an entry allow or block the sender
// whom of finds.
func (c *call) senderCommand(description cobra.Command, of senderOf) *cobra.Command {
	description.Args = exactly(1, "the ID of an entry (see: coexistd quarantine list)")
	lasts, _ := parseLasting(usualTime)
	cmd := c.command(description, func(ids []string) int { return addSender(c, strings.ToLower(ids[0]), of, lasts) })
	cmd.Flags().Func("for", "for how `LONG` that holds, at most 3650d ("+usualTime+" when it is not said)", func(text string) (err error) {
		lasts, err = parseLasting(text)
		return err
	})
	return cmd
}

// parseLasting reads for how long a sender is allowed or blocked.
func parseLasting(text string) (time.Duration, error) {
	const most = 3650 * 24 * time.Hour
	n, err := quantity.Durations.Parse(text)
	lasts := time.Duration(n)
	if err == nil && (lasts <= 0 || lasts > most) {
		err = fmt.Errorf("%q is no time for that; it would be like %s, and at most 3650d", text, usualTime)
	}
	return lasts, err
}

// saidOfSender is whom a recipient has allowed or blocked, and what rspamd was told of the
// message by which they have.
type saidOfSender struct {
	kept.Sender
	lesson
}

func addSender(c *call, id string, of senderOf, lasts time.Duration) int {
	conf, held, err := c.openHeld()
	if err != nil {
		return c.fail(err)
	}
	entries, err := held.List(quarantine.Query{IDs: []string{id}, All: true})
	if err != nil {
		return c.fail(err)
	}
	if len(entries) == 0 {
		fmt.Fprintf(c.stderr, "there is no entry %q\n", id)
		return exitNo
	}
	sender, err := of(&entries[0], conf)
	if err != nil {
		fmt.Fprintln(c.stderr, printableLine(err.Error()))
		return exitNo
	}
	added, err := held.AddSender(id, sender, time.Now().Add(lasts))
	if err != nil {
		return c.fail(err)
	}
	said := saidOfSender{Sender: added}
	what := "is spared the check spam where SPF or DKIM proves it"
	if sender.Kind == senders.Blocked {
		what = "is " + onHit(conf.Rules)
		said.lesson = newTeacher(conf, held).spam(context.Background(), &entries[0])
	}
	err = c.print(said, func(w io.Writer) {
		fmt.Fprintf(w, "%s is %s for %s until %s: their mail %s\n",
			printableLine(sender.Name), sender.Kind, printableLine(sender.Owner), added.Until.Local().Format(time.DateOnly), what)
		if sender.Kind == senders.Blocked && entries[0].Proven == "" {
			fmt.Fprintln(w, "nothing proves that it was they who wrote: if somebody borrowed their name, their own mail is stopped, too")
		}
		if learned := said.lesson.String(); learned != "" {
			fmt.Fprintln(w, printableLine(learned))
		}
	})
	if err != nil {
		return c.fail(err)
	}
	return exitYes
}

// onHit says what becomes of what is blocked, at S0 where that makes the check.
func onHit(rules *policy.Rules) string {
	for _, point := range [...]verdict.Checkpoint{verdict.S0, verdict.S1} {
		for _, check := range rules.Points[point].Checks {
			if check.Name == verdict.CheckBlock {
				return map[verdict.Verdict]string{verdict.Quarantine: "held", verdict.Discard: "thrown away", verdict.Accept: "let through all the same (on_hit)"}[check.OnHit]
			}
		}
	}
	return ""
}
