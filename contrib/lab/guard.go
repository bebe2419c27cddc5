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
// death signal does not do: master changes its user ID, which clears it.)
type guard struct {
	cmd   *exec.Cmd
	input io.WriteCloser
}

// A line tells the script that all is well; the end of its input, that the
// process which held the other end is gone.
const guardScript = `read -r _ && exit 0
kill -s TERM -- "-$1"
rm -rf "$2" || rm -rf "$2"`

func startGuard(group int, dir string) (*guard, error) {
	cmd := exec.Command("/bin/sh", "-c", guardScript, "lab-guard", strconv.Itoa(group), dir)
	cmd.Dir, cmd.Stderr = "/", os.Stderr
	// What ends the caller from the keyboard must not end the guard.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	input, err := cmd.StdinPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		return nil, fmt.Errorf("lab: guarding Postfix: %w", err)
	}
	return &guard{cmd, input}, nil
}

// dismiss ends the guard, once there is nothing left to guard.
func (g *guard) dismiss() {
	io.WriteString(g.input, "\n")
	g.cmd.Wait()
}
