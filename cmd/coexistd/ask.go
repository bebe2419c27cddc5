package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"time"

	"coexistd/cmd/coexistd/control"
	"coexistd/policy/config"
)

// askTime bounds a question to the daemon. A reload reads all directories, which may be
// large and far away.
const askTime = 5 * time.Minute

// ask asks the running daemon a question, one of control.Client's. The configuration may
// have mistakes: the daemon runs with the one from before.
func ask[T any](c *call, question func(*control.Client, context.Context) (T, error)) (answer T, err error) {
	path, err := config.ControlSocket(c.config)
	if err != nil {
		return answer, err
	}
	ctx, cancel := context.WithTimeout(context.Background(), askTime)
	defer cancel()
	daemon := control.NewClient(path)
	daemon.For = printableLine(os.Getenv("SUDO_USER"))
	return question(daemon, ctx)
}

// change has do change something in the running daemon, and says whether there was
// anything to be changed.
func (c *call) change(do func(*control.Client, context.Context) (found bool, err error), done, nothing string) int {
	found, err := ask(c, do)
	if err != nil {
		return c.fail(err)
	}
	err = c.print(control.Done{Found: found}, func(w io.Writer) {
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
