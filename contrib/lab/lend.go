package lab

import (
	"context"
	"os"
	"testing"
)

// Lend finds Postfix's programs for a test, as Open does. With -short, it skips the test:
// it is the one place that does, beside the others of this file. Without, a test whose programs are
// missing fails.
func Lend(t testing.TB) *Programs {
	t.Helper()
	skipShort(t)
	p, err := Open(context.Background(), "", os.Stderr)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// LendFilters is Lend for the programs that work beside the MTA.
func LendFilters(t testing.TB) *Filters {
	t.Helper()
	skipShort(t)
	f, err := OpenFilters(context.Background(), "", os.Stderr)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// LendDirectories is Lend for the servers that hold a directory of users.
func LendDirectories(t testing.TB) *Directories {
	t.Helper()
	skipShort(t)
	d, err := OpenDirectories(context.Background(), "", os.Stderr)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// LendPowerShell is Lend for what reads PowerShell.
func LendPowerShell(t testing.TB) *PowerShell {
	t.Helper()
	skipShort(t)
	p, err := OpenPowerShell(context.Background(), "", os.Stderr)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// LendPromtool is Lend for what judges Prometheus' rules.
func LendPromtool(t testing.TB) *Promtool {
	t.Helper()
	skipShort(t)
	p, err := OpenPromtool(context.Background(), "", os.Stderr)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// LendJournalPrograms is Lend for systemd's programs for a journal.
func LendJournalPrograms(t testing.TB) *JournalPrograms {
	t.Helper()
	skipShort(t)
	p, err := OpenJournalPrograms(context.Background(), "", os.Stderr)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func skipShort(t testing.TB) {
	t.Helper()
	if testing.Short() {
		t.Skip("it needs a server program, and -short leaves such tests out")
	}
}
