package main

import (
	"context"
	"fmt"
	"io"
	"time"

	"coexistd/cmd/coexistd/control"
	"coexistd/policy/config"
)

// askTime bounds a question to the daemon. A reload reads all directories, which may be
// large and far away.
const askTime = 5 * time.Minute

// ask has do ask the running daemon, and returns the exit status where there is no answer.
// The configuration may have mistakes: the daemon runs with the one from before.
func (c *call) ask(do func(context.Context, *control.Client) error) (status int, ok bool) {
	ctx, cancel := context.WithTimeout(context.Background(), askTime)
	defer cancel()
	path, err := config.ControlSocket(c.config)
	if err == nil {
		err = do(ctx, control.NewClient(path))
	}
	if err != nil {
		return c.fail(err), false
	}
	return exitYes, true
}

// change has do change something in the running daemon, and says whether there was
// anything to be changed.
func (c *call) change(do func(context.Context, *control.Client) (found bool, err error), done, nothing string) int {
	var found bool
	status, ok := c.ask(func(ctx context.Context, daemon *control.Client) (err error) {
		found, err = do(ctx, daemon)
		return err
	})
	if !ok {
		return status
	}
	err := c.print(control.Done{Found: found}, func(w io.Writer) {
		if found {
			fmt.Fprintln(w, done)
		} else {
			fmt.Fprintln(c.stderr, nothing)
		}
	})
	switch {
	case err != nil:
		return c.fail(err)
	case !found:
		return exitNo
	}
	return exitYes
}
