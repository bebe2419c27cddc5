package doctor

import (
	"log/slog"
	"testing"
	"time"

	"coexistd/cmd/coexistd/daemon"
	"coexistd/milter/quarantine"
	"coexistd/milter/store"
)

func TestReportsThatWereNeverSentAreNotSaidToBe(t *testing.T) {
	s := newStand(t)
	o := daemon.QuarantineOptions(s.x.conf, slog.New(slog.DiscardHandler))
	file := store.New(quarantine.FileOptions(o.Dir, o.Log))
	t.Cleanup(func() { file.Close() })
	held := quarantine.New(file, o)
	must := func(want string) {
		t.Helper()
		if f := lookAtReports(s.x.conf, held, s.x.now); f.Found != want || f.Status != OK {
			t.Errorf("the doctor says %+v; right is %q", f, want)
		}
	}
	must("reports: none was sent yet")
	// A daemon that finds nothing to report on its first day.
	if err := held.SetLastReport(s.x.now.Add(-time.Second)); err != nil {
		t.Fatal(err)
	}
	must("reports were last seen to less than a minute ago; none was sent yet")
}
