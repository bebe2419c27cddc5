package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"coexistd/cmd/coexistd/daemon"
	"coexistd/milter/quarantine"
	"coexistd/policy/config"
)

// releaseTime bounds how long the MTA may take for one message.
const releaseTime = 5 * time.Minute

// outcome is what became of one entry.
type outcome struct {
	ID     string `json:"id"`
	To     string `json:"to"`
	Result string `json:"result"` // released, deleted, held again, uncertain, failed or left out
	Detail string `json:"detail,omitempty"`
	lesson
}

// isDone reports that the entry is as the command was to make it.
func (o outcome) isDone() bool { return o.Result == "released" || o.Result == "deleted" }

func (o outcome) String() string {
	text := o.ID + " " + o.Result
	if o.isDone() && o.To != "" {
		text += ", for " + o.To
	}
	if o.Detail != "" {
		text += ": " + o.Detail
	}
	if said := o.lesson.String(); said != "" {
		text += "; " + said
	}
	return escaped(text)
}

// task is what a command was told to do something to: entries that are named by their IDs,
// or chosen.
type task struct {
	conf  *config.Config
	store *quarantine.Store
	query quarantine.Query
}

// choice is what the command line says of the entries to do something to.
type choice struct {
	ids       []string
	to, words string
}

// taskCommand makes a command of a verb that does something to the entries of a choice.
func (c *call) taskCommand(description cobra.Command, verb string, do func(t task) int) *cobra.Command {
	var choose choice
	description.Use = verb + " ID… | --to ADDRESS | --query WORDS"
	cmd := c.command(description, func(ids []string) int {
		choose.ids = ids
		query, err := choose.query()
		if err != nil {
			return c.wrong("%v", err)
		}
		conf, store, err := c.openHeld()
		if err != nil {
			return c.fail(err)
		}
		return do(task{conf, store, query})
	})
	cmd.Flags().StringVar(&choose.to, "to", "", verb+" what is held for the `ADDRESS`")
	cmd.Flags().StringVar(&choose.words, "query", "", verb+" what the `WORDS` choose, which are one argument")
	return cmd
}

// query reads IDs, or --to and --query. The error says why they choose nothing.
func (choose *choice) query() (q quarantine.Query, err error) {
	if q.Words, err = quarantine.SplitWords(choose.words); err != nil {
		return q, err
	}
	q.To, q.All = choose.to, len(choose.ids) > 0
	for _, id := range choose.ids {
		if id = strings.ToLower(id); !slices.Contains(q.IDs, id) {
			q.IDs = append(q.IDs, id)
		}
	}
	chooses := q.To != "" || len(q.Words) > 0
	switch {
	case chooses && len(q.IDs) > 0:
		return q, fmt.Errorf("%q is given beside --to or --query: name IDs, or choose with these", choose.ids[0])
	case !chooses && len(q.IDs) == 0:
		return q, errors.New("no entry is named: give IDs (see: coexistd quarantine list), or choose with --to ADDRESS or --query WORDS")
	}
	return q, nil
}

// entries returns what is chosen. An ID that names no entry is one of which nothing but the
// ID is known.
func (t *task) entries() ([]quarantine.Entry, error) {
	found, err := t.store.List(t.query)
	if err != nil || len(t.query.IDs) == 0 {
		return found, err
	}
	entries := make([]quarantine.Entry, len(t.query.IDs))
	for i, id := range t.query.IDs {
		entries[i].ID = id
		if k := slices.IndexFunc(found, func(e quarantine.Entry) bool { return e.ID == id }); k >= 0 {
			entries[i] = found[k]
		}
	}
	return entries, nil
}

func releaseCommand(c *call) *cobra.Command {
	var again bool
	cmd := c.taskCommand(cobra.Command{
		Short: "send messages on to their recipients; viruses only by ID",
		Long: `release sends messages on to their recipients, past the checks that hold them. What
may have a virus is released only by its ID. With [quarantine] learn, rspamd is told that
what the check spam holds is no spam.

` + wordsHelp,
		Example: `  coexistd quarantine release vb3kq7x2ma
  coexistd quarantine release --to alice@acmecorp.com
  coexistd quarantine release --query 'subject:"past due" after:2026-11-01'`,
	}, "release", func(t task) int { return releaseHeld(c, t, again) })
	cmd.Flags().BoolVar(&again, "again", false, "release also what may have arrived, since an earlier release was broken off")
	return cmd
}

func releaseHeld(c *call, t task, again bool) int {
	keys, err := daemon.ReadKeys(t.conf)
	if err != nil {
		return c.fail(err)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	releaser := quarantine.Releaser{Keys: keys, Address: t.conf.Quarantine.SMTP, Hostname: t.conf.Rules.Hostname}
	teacher := newTeacher(t.conf, t.store)
	return c.each(t, func(e quarantine.Entry) outcome {
		if e.IsVirus() && len(t.query.IDs) == 0 {
			return outcome{Result: "left out", Detail: "it may have a virus, and such are released only by ID"}
		}
		if ctx.Err() != nil {
			return outcome{Result: "left out", Detail: "the command was interrupted"}
		}
		// Once it is released, the message is no longer kept.
		lesson := teacher.ham(ctx, &e)
		ctx, cancel := context.WithTimeout(ctx, releaseTime)
		defer cancel()
		_, err := t.store.Release(ctx, releaser, e.ID, again)
		o := released(err)
		o.lesson = lesson
		return o
	})
}

// released says what came of a release.
func released(err error) outcome {
	heldAgain, isHeldAgain := errors.AsType[*quarantine.HeldAgainError](err)
	switch {
	case err == nil:
		return outcome{Result: "released"}
	case isHeldAgain:
		return outcome{Result: "held again", Detail: fmt.Sprintf("as %s by %s", heldAgain.Entry.ID, strings.Join(heldAgain.Entry.Checks, ", "))}
	case errors.Is(err, quarantine.ErrUncertain):
		return outcome{Result: "uncertain", Detail: err.Error()}
	}
	return outcome{Result: "failed", Detail: err.Error()}
}

func deleteCommand(c *call) *cobra.Command {
	return c.taskCommand(cobra.Command{
		Short: "hold messages no longer",
		Long:  "delete deletes messages that are held. Nobody gets them.\n\n" + wordsHelp,
		Example: `  coexistd quarantine delete vb3kq7x2ma
  coexistd quarantine delete --query 'check:spam before:2026-11-01'`,
	}, "delete", func(t task) int { return deleteHeld(c, t) })
}

func deleteHeld(c *call, t task) int {
	return c.each(t, func(e quarantine.Entry) outcome {
		if err := t.store.Delete(e.ID); err != nil {
			return outcome{Result: "failed", Detail: err.Error()}
		}
		return outcome{Result: "deleted"}
	})
}

// each does something to all that is chosen and tells what became of it. The exit
// status is 0 when all of it was done, and something was.
func (c *call) each(t task, do func(quarantine.Entry) outcome) int {
	entries, err := t.entries()
	if err != nil {
		return c.fail(err)
	}
	tell := c.newTeller()
	outcomes, done := []outcome{}, 0
	for _, e := range entries {
		o := do(e)
		o.ID, o.To = e.ID, e.Address
		outcomes = append(outcomes, o)
		tell.outcome(o)
		if o.isDone() {
			done++
		}
		if !c.asJSON {
			fmt.Fprintln(c.stdout, o)
		}
	}
	err = c.print(outcomes, func(w io.Writer) {
		if len(entries) != 1 {
			fmt.Fprintf(w, "%d chosen, %d done\n", len(entries), done)
		}
	})
	if err != nil {
		return c.fail(err)
	}
	if done == 0 || done < len(entries) {
		return exitNo
	}
	return exitYes
}
