package doctor

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"coexistd/cmd/coexistd/daemon"
)

func TestTheDoctorTellsWhatTheDaemonCountedOfEachPlatform(t *testing.T) {
	t.Parallel()
	x := host(t)
	count := func(text string) {
		t.Helper()
		one := fmt.Sprintf(`{"office365": {"hours": {"%d": 3}, "last": {"time": %q, "client": "40.92.0.1", "sender": "alice@acmecorp.onmicrosoft.com\\u001b"}}}`, x.now.Unix()/3600, x.now.UTC().Format("2006-01-02T15:04:05Z"))
		if err := os.WriteFile(daemon.UnprovenPath(x.conf), []byte(strings.ReplaceAll(text, "ONE", one)), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	const none = "ok no mail in our own name was put off"
	mustFind(t, lookAtUnproven(t.Context(), x), none)
	count(`{"onmicrosoft": ONE}`)
	mustFind(t, lookAtUnproven(t.Context(), x), none, "warn 3 messages of office365 came in seven days from addresses of onmicrosoft.com, last ")
	count(`{"platforms": ONE}`)
	findings := lookAtUnproven(t.Context(), x)
	mustFind(t, findings, "warn mail in our own name from office365 without proof of its tenant was put off 3 times in the last 24 hours")
	if !strings.Contains(findings[0].Remedy, "(coexistd setup office365 has the rule)") {
		t.Errorf("its remedy is %s", findings[0].Remedy)
	}
}
