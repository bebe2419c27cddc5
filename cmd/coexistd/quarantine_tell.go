package main

import (
	"cmp"
	"context"
	"fmt"
	"os"
	"os/user"
	"strconv"
	"time"

	"coexistd/cmd/coexistd/control"
	"coexistd/policy/config"
)

// tellTime bounds how long a command waits for the daemon to write a line.
const tellTime = 10 * time.Second

// teller has the daemon's log say what a command does to entries, and who runs it. What is
// held can be settled without a daemon: then the command says that no log tells of it.
type teller struct {
	c      *call
	daemon *control.Client
	failed error // why the log cannot tell of it
	said   bool  // that was said
	by     string
}

func (c *call) newTeller() *teller {
	t := &teller{c: c, by: c.by}
	path, err := config.ControlSocket(c.config)
	t.daemon, t.failed = control.NewClient(path), err
	return t
}

// outcome tells of one entry, if something became of it. After a failure it asks no more.
func (t *teller) outcome(o outcome) {
	if o.Result == "failed" || o.Result == "left out" {
		return
	}
	if t.failed == nil {
		ctx, cancel := context.WithTimeout(context.Background(), tellTime)
		defer cancel()
		t.failed = t.daemon.Settled(ctx, control.Settled{ID: o.ID, Result: o.Result, By: t.by, Learned: o.lesson.String()})
	}
	if t.failed != nil && !t.said {
		t.said = true
		fmt.Fprintf(t.c.stderr, "from %s on, the log does not tell what %s has done: %v\n", o.ID, t.by, t.failed)
	}
}

// whoRuns returns the user who runs the command: with sudo, the one who called it.
func whoRuns(sudoer string) string {
	uid := strconv.Itoa(os.Getuid())
	if current, err := user.LookupId(uid); err == nil {
		uid = current.Username
	}
	return cmp.Or(sudoer, uid)
}
