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
	return escaped(text)
}

// task is what a command was told to do something to: entries that are named by their IDs,
// or chosen.
type task struct {
	conf  *config.Config
	store *quarantine.Store
	query quarantine.Query
}

// newTask reads the flags of a command, named by its verb, that does something to
// entries, and opens the store. Status is the exit status when done is true.
func (c *call) newTask(verb string) (t task, status int, done bool) {
	c.usualFlags()
	to := c.flags.String("to", "", verb+" what is held for the `address`")
	words := c.flags.String("query", "", verb+" what the `words` choose")
	ids, status, done := c.parseMixed()
	if done {
		return task{}, status, true
	}
	query, err := chosen(ids, *to, *words)
	if err != nil {
		return task{}, c.wrong("%v", err), true
	}
	conf, store, err := c.openHeld()
	if err != nil {
		return task{}, c.fail(err), true
	}
	return task{conf, store, query}, 0, false
}

// chosen reads IDs, or --to and --query. The error says why they choose nothing.
func chosen(ids []string, to, words string) (q quarantine.Query, err error) {
	if q.Words, err = quarantine.SplitWords(words); err != nil {
		return q, err
	}
	q.To, q.All = to, len(ids) > 0
	for _, id := range ids {
		if id = strings.ToLower(id); !slices.Contains(q.IDs, id) {
			q.IDs = append(q.IDs, id)
		}
	}
	chooses := to != "" || len(q.Words) > 0
	switch {
	case chooses && len(ids) > 0:
		return q, fmt.Errorf("%q is given beside --to or --query: name IDs, or choose with these", ids[0])
	case !chooses && len(ids) == 0:
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

func releaseHeld(c *call) int {
	again := c.flags.Bool("again", false, "release also what may have arrived, since an earlier release was broken off")
	t, status, done := c.newTask("release")
	if done {
		return status
	}
	keys, err := daemon.ReadKeys(t.conf)
	if err != nil {
		return c.fail(err)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	releaser := quarantine.Releaser{Keys: keys, Address: t.conf.Quarantine.SMTP, Hostname: t.conf.Rules.Hostname}
	return c.each(t, func(e quarantine.Entry) (result, detail string) {
		if e.IsVirus() && len(t.query.IDs) == 0 {
			return "left out", "it may have a virus, and such are released only by ID"
		}
		if ctx.Err() != nil {
			return "left out", "the command was interrupted"
		}
		ctx, cancel := context.WithTimeout(ctx, releaseTime)
		defer cancel()
		_, err := t.store.Release(ctx, releaser, e.ID, *again)
		return released(err)
	})
}

// released says what came of a release.
func released(err error) (result, detail string) {
	heldAgain, isHeldAgain := errors.AsType[*quarantine.HeldAgainError](err)
	switch {
	case err == nil:
		return "released", ""
	case isHeldAgain:
		return "held again", fmt.Sprintf("as %s by %s", heldAgain.Entry.ID, strings.Join(heldAgain.Entry.Checks, ", "))
	case errors.Is(err, quarantine.ErrUncertain):
		return "uncertain", err.Error()
	}
	return "failed", err.Error()
}

func deleteHeld(c *call) int {
	t, status, done := c.newTask("delete")
	if done {
		return status
	}
	return c.each(t, func(e quarantine.Entry) (result, detail string) {
		if err := t.store.Delete(e.ID); err != nil {
			return "failed", err.Error()
		}
		return "deleted", ""
	})
}

// each does something to all that is chosen and tells what became of it. The exit
// status is 0 when all of it was done, and something was.
func (c *call) each(t task, do func(quarantine.Entry) (result, detail string)) int {
	entries, err := t.entries()
	if err != nil {
		return c.fail(err)
	}
	outcomes, done := []outcome{}, 0
	for _, e := range entries {
		o := outcome{ID: e.ID, To: e.Address}
		o.Result, o.Detail = do(e)
		outcomes = append(outcomes, o)
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
