package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

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

// task is what a command was told to do something to.
type task struct {
	conf   *config.Config
	store  *quarantine.Store
	chosen selection
	asJSON bool
}

// newTask reads the flags of a command, named by its verb, that does something to
// entries, and opens the store. Status is the exit status when done is true.
func (c *call) newTask(verb string) (t task, status int, done bool) {
	path := c.flags.String("c", defaultConfig, "the configuration `file`")
	asJSON := c.flags.Bool("json", false, "print JSON")
	to := c.flags.String("to", "", verb+" what is held for the `address`")
	query := c.flags.String("query", "", verb+" what the `words` choose")
	ids, status, done := c.parseMixed()
	if done {
		return task{}, status, true
	}
	chosen, err := c.selection(ids, *to, *query)
	if err != nil {
		return task{}, c.wrong("%v", err), true
	}
	conf, store, err := c.openHeld(*path)
	if err != nil {
		return task{}, c.fail(err), true
	}
	return task{conf, store, chosen, *asJSON}, 0, false
}

func releaseHeld(c *call) int {
	again := c.flags.Bool("again", false, "release also what may have arrived, since an earlier release was broken off")
	t, status, done := c.newTask("release")
	if done {
		return status
	}
	conf, store, chosen := t.conf, t.store, t.chosen
	keys, err := readKeys(conf)
	if err != nil {
		return c.fail(err)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	releaser := quarantine.Releaser{Keys: keys, Address: conf.Quarantine.SMTP, Hostname: conf.Rules.Hostname}
	return c.each(store, chosen, t.asJSON, func(e quarantine.Entry) outcome {
		if e.IsVirus() && !chosen.byID() {
			return outcome{ID: e.ID, To: e.Address, Result: "left out", Detail: "it may have a virus, and such are released only by ID"}
		}
		if ctx.Err() != nil {
			return outcome{ID: e.ID, To: e.Address, Result: "left out", Detail: "the command was interrupted"}
		}
		ctx, cancel := context.WithTimeout(ctx, releaseTime)
		defer cancel()
		_, err := store.Release(ctx, releaser, e.ID, *again)
		return released(e, err)
	})
}

// released says what came of a release.
func released(e quarantine.Entry, err error) outcome {
	o := outcome{ID: e.ID, To: e.Address, Result: "released"}
	heldAgain, isHeldAgain := errors.AsType[*quarantine.HeldAgainError](err)
	switch {
	case isHeldAgain:
		o.Result, o.Detail = "held again", fmt.Sprintf("as %s by %s", heldAgain.Entry.ID, strings.Join(heldAgain.Entry.Checks, ", "))
	case errors.Is(err, quarantine.ErrUncertain):
		o.Result, o.Detail = "uncertain", err.Error()
	case err != nil:
		o.Result, o.Detail = "failed", err.Error()
	}
	return o
}

func deleteHeld(c *call) int {
	t, status, done := c.newTask("delete")
	if done {
		return status
	}
	return c.each(t.store, t.chosen, t.asJSON, func(e quarantine.Entry) outcome {
		if err := t.store.Delete(e.ID); err != nil {
			return outcome{ID: e.ID, To: e.Address, Result: "failed", Detail: err.Error()}
		}
		return outcome{ID: e.ID, To: e.Address, Result: "deleted"}
	})
}

// each does something to all that is chosen and tells what became of it. The exit
// status is 0 when all of it was done, and something was.
func (c *call) each(store *quarantine.Store, chosen selection, asJSON bool, do func(quarantine.Entry) outcome) int {
	entries, err := chosen.entries(store)
	if err != nil {
		return c.fail(err)
	}
	outcomes, done := []outcome{}, 0
	for _, e := range entries {
		o := do(e)
		if o.isDone() {
			done++
		}
		if asJSON {
			outcomes = append(outcomes, o)
		} else {
			fmt.Fprintln(c.stdout, o)
		}
	}
	if asJSON {
		if err := printJSON(c.stdout, outcomes); err != nil {
			return c.fail(err)
		}
	} else if len(entries) != 1 {
		fmt.Fprintf(c.stdout, "%d chosen, %d done\n", len(entries), done)
	}
	if done == 0 || done < len(entries) {
		return exitNo
	}
	return exitYes
}
