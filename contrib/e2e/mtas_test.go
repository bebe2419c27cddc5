package e2e

import (
	"testing"

	"coexistd/contrib/lab"
)

// mtas are the MTAs on which mail flows alike.
func mtas() []lab.MTA { return lab.MTAs() }

// onEachMTA runs a test for each of them, side by side.
func onEachMTA(t *testing.T, test func(t *testing.T, mta lab.MTA)) {
	t.Helper()
	t.Parallel()
	for _, mta := range mtas() {
		t.Run(string(mta), func(t *testing.T) {
			t.Parallel()
			test(t, mta)
		})
	}
}
