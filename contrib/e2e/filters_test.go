package e2e

import (
	"fmt"
	"strings"
	"testing"

	"coexistd/contrib/lab"
)

// startClamd starts a clamd for one test.
func startClamd(t *testing.T, c lab.ClamdConfig) *lab.Clamd {
	t.Helper()
	clamd, err := lab.LendFilters(t).StartClamd(deadline(t), c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { stopFilter(t, clamd.Stop) })
	return clamd
}

// startRspamd starts an rspamd for one test.
func startRspamd(t *testing.T, c lab.RspamdConfig) *lab.Rspamd {
	t.Helper()
	rspamd, err := lab.LendFilters(t).StartRspamd(deadline(t), c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { stopFilter(t, rspamd.Stop) })
	return rspamd
}

func stopFilter(t *testing.T, stop func() error) {
	t.Helper()
	if err := stop(); err != nil {
		t.Error(err)
	}
}

// inTime is how long a scanner that answers is waited for, as the configuration has
// it: it may be slow on a busy machine.
const inTime = "5m"

// checkedTOML is lab.SiteTOML with the scanners at these addresses, none where
// one is empty, a quarantine that releases to the site's Postfix, and further
// tables.
func checkedTOML(clamd, rspamd string, more ...string) string {
	toml := lab.SiteTOML
	if clamd != "" {
		toml += fmt.Sprintf("\n[scanner.clamd]\naddress = %q\ntimeout = %q\n", clamd, inTime)
	}
	if rspamd != "" {
		toml += fmt.Sprintf("\n[scanner.rspamd]\naddress = %q\ntimeout = %q\n", rspamd, inTime)
	}
	toml += "\n[quarantine]\nsmtp = \"{mta}\"\n"
	return strings.Join(append([]string{toml}, more...), "\n")
}
