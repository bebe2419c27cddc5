package scantest

import (
	"net"
	"runtime"
	"strings"
	"testing"
	"time"
)

// ReadSome waits for the first bytes of a request.
func ReadSome(c net.Conn) { c.Read(make([]byte, 1024)) }

// NoneLeft waits for the goroutines of scans to end: they are those that the scanners,
// or what they use, have started or run in.
func NoneLeft(t *testing.T) {
	t.Helper()
	again := time.NewTicker(5 * time.Millisecond)
	defer again.Stop()
	var left []string
	for end := time.Now().Add(Patience); time.Now().Before(end); <-again.C {
		left = nil
		stacks := make([]byte, 1<<20)
		for stack := range strings.SplitSeq(string(stacks[:runtime.Stack(stacks, true)]), "\n\n") {
			for _, of := range []string{
				"coexistd/scanners.", "coexistd/scanners/clamd.", "coexistd/scanners/rspamd.", "dutchcoders/go-clamd.", "net/http.",
			} {
				if strings.Contains(stack, of) {
					left = append(left, stack)
					break
				}
			}
		}
		if len(left) == 0 {
			return
		}
	}
	t.Errorf("%d goroutines are left:\n%s", len(left), strings.Join(left, "\n\n"))
}
