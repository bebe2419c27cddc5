package lab

import (
	"fmt"
	"io"
	"os"
	"os/exec"
	"strconv"
	"syscall"
)

// guard is a process that ends an instance and removes its folder when this
// one dies without having done so: killed, or out of a test's time. (A parent
// death signal does not do: it reaches one process only, and one that changes
// its user ID, as Postfix's master does, has it cleared.)
type guard struct {
	cmd   *exec.Cmd
	input io.WriteCloser
}

// A line tells the script that all is well; the end of its input, that the
// process which held the other end is gone.
const guardScript = `read -r _ && exit 0
kill -s "$3" -- "-$1"
rm -rf "$2" || rm -rf "$2"`

// startGuard guards a process group, which is to end by the signal of that
// name (TERM, KILL).
func startGuard(group int, dir, signal string) (*guard, error) {
	cmd := exec.Command("/bin/sh", "-c", guardScript, "lab-guard", strconv.Itoa(group), dir, signal)
	cmd.Dir, cmd.Stderr = "/", os.Stderr
	// What ends the caller from the keyboard must not end the guard.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	input, err := cmd.StdinPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		return nil, fmt.Errorf("lab: guarding what was started: %w", err)
	}
	return &guard{cmd, input}, nil
}

// dismiss ends the guard, once there is nothing left to guard.
func (g *guard) dismiss() {
	io.WriteString(g.input, "\n")
	g.cmd.Wait()
}
