package daemon

import (
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"coexistd/cmd/coexistd/control"
)

func TestStopTwiceTakesNothingFromAMessageThatOutlastsIt(t *testing.T) {
	s := start(t, "")
	if !s.current.users.Enter() { // as a message does
		t.Fatal("the generation is gone")
	}
	s.Stop()
	s.Stop()
	if len(s.shared.things) == 0 {
		t.Error("a message's things are closed while it needs them")
	}
	s.current.users.Leave()
	if len(s.shared.things) > 0 {
		t.Error("things are left when the last message has ended")
	}
}

func TestStopEndsWhoDoesNotReadTheDaemonsAnswers(t *testing.T) {
	s := start(t, "")
	s.patience = time.Millisecond
	conn, err := net.Dial("unix", filepath.Join(s.dir, "state", "control.sock"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	conn.SetWriteDeadline(time.Now().Add(patience))
	asked := make(chan error, 1)
	go func() {
		for {
			if _, err := io.WriteString(conn, "GET "+control.PathStatus+" HTTP/1.1\r\nHost: coexistd\r\n\r\n"); err != nil {
				asked <- err
				return
			}
		}
	}()
	s.eventually("an answer that waits for its reader", func() bool {
		stacks := make([]byte, 1<<20)
		stacks = stacks[:runtime.Stack(stacks, true)]
		return slices.ContainsFunc(strings.Split(string(stacks), "\n\n"), func(one string) bool {
			return strings.Contains(one, "http.(*conn).serve(") && strings.Contains(one, "net.(*conn).Write(")
		})
	})
	s.Stop()
	if err := <-asked; errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("the connection outlasts the daemon: %v", err)
	}
}
