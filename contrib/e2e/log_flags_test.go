package e2e

import (
	"encoding/json"
	"strings"
	"testing"

	"coexistd/contrib/lab"
)

// logOf returns what the daemon says from its start to its end.
func logOf(t *testing.T, flags ...string) string {
	t.Helper()
	path, err := program()
	if err != nil {
		t.Fatal(err)
	}
	d, err := lab.StartDaemon(deadline(t), path, configuration(t, lab.SiteTOML, lab.SiteDirectory), flags...)
	if err != nil {
		t.Fatal(err)
	}
	if err := d.Stop(); err != nil {
		t.Error(err)
	}
	return d.Log()
}

func TestTheLogIsOfTheFormatAndLevelThatTheFlagsSay(t *testing.T) {
	t.Parallel()
	if log := logOf(t); !strings.Contains(log, "level=INFO msg=started") {
		t.Errorf("without flags the log is\n%s", log)
	}
	var said []string
	for line := range strings.Lines(logOf(t, "--log-format", "json")) {
		var entry struct{ Time, Level, Msg string }
		if err := json.Unmarshal([]byte(line), &entry); err != nil || entry.Time == "" {
			t.Errorf("the line %q is no JSON object with a time: %v", line, err)
		}
		said = append(said, entry.Level+" "+entry.Msg)
	}
	if all := strings.Join(said, "\n"); !strings.Contains(all, "INFO started\n") || !strings.Contains(all, "INFO stopped") {
		t.Errorf("the daemon says\n%s", all)
	}
	if log := logOf(t, "--log-level=error"); strings.Contains(log, "INFO") || strings.Contains(log, "started") {
		t.Errorf("asked for errors alone, the daemon says\n%s", log)
	}
}
