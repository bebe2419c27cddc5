//go:build faults

package quarantine

import (
	"os"
	"syscall"
)

// faultHook returns what is called at each step of storing and releasing. It
// kills the process at the step that the environment variable COEXISTD_FAULT
// names, as a crash would.
func faultHook() func(step string) {
	chosen := os.Getenv("COEXISTD_FAULT")
	return func(step string) {
		if step == chosen {
			syscall.Kill(os.Getpid(), syscall.SIGKILL)
			select {}
		}
	}
}
