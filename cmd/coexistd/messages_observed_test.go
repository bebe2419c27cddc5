package main

import (
	"bytes"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"coexistd/cmd/coexistd/daemon"
	"coexistd/contrib/lab"
	"coexistd/milter/record"
	"coexistd/policy"
	"coexistd/policy/verdict"
)

// observedOf runs messages observed.
func observedOf(config string, args ...string) (status int, out, complaint string) {
	var stdout, stderr bytes.Buffer
	status = run(append([]string{"messages", "observed", "-c", config}, args...), &stdout, &stderr)
	return status, stdout.String(), stderr.String()
}

func TestMessagesObservedSaysWhatWouldHaveBeenDone(t *testing.T) {
	t.Parallel()
	enforced := configuration(t, lab.SiteTOML, lab.SiteDirectory)
	if status, _, complaint := observedOf(enforced); status != exitWrong || !strings.Contains(complaint, "nothing is observed: the mode is enforce") {
		t.Errorf("where nothing is observed, the status is %d: %s", status, complaint)
	}
	config := configuration(t, "mode = \"observe\"\n"+lab.SiteTOML, lab.SiteDirectory)
	path := daemon.ObservedPath(load(t, config))
	if status, out, _ := observedOf(config); status != exitNo || !strings.HasPrefix(out, "Not ready to enforce: no message was observed yet\n") {
		t.Errorf("before the first message, the status is %d: %s", status, out)
	}
	now := time.Now()
	hour := now.Unix() / 3600
	write := func(unexpected time.Time) {
		t.Helper()
		text := `{"since": "` + now.Add(-300*time.Hour).Format(time.RFC3339) + `", "kinds": {` +
			`"refused/spoof": {"latest": "` + unexpected.Format(time.RFC3339) + `", "hours": {"` + fmt.Sprint(hour) + `": 3, "` + fmt.Sprint(hour-48) + `": 2}, "senders": {"eve@example.net\u001b[31m": 5, "": 1}}, "rewritten/": {"hours": {"` + fmt.Sprint(hour) + `": 7}}}}`
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write(now.Add(-time.Hour))
	status, out, complaint := observedOf(config)
	for _, text := range []string{
		"Not ready to enforce: something unexpected would have been done last at ", "\nrefused by spoof (unexpected)\n  3 in the last 24 hours, 5 in the last seven days\n  5 from <eve@example.net", "\n  1 from <>\n",
		"\nrewritten\n  7 in the last 24 hours, 7 in the last seven days\n",
	} {
		if !strings.Contains(out, text) {
			t.Errorf("it does not say %q:\n%s", text, out)
		}
	}
	if status != exitNo || complaint != "" || strings.Contains(out, "\x1b") {
		t.Errorf("the status is %d: %s\n%q", status, complaint, out)
	}
	looked := configuration(t, "mode = \"observe\"\n"+lab.SiteTOML+"[observe]\nexpected = [\"spoof\"]\n", lab.SiteDirectory)
	path = daemon.ObservedPath(load(t, looked))
	write(now)
	if status, out, _ := observedOf(looked); status != exitYes || !strings.Contains(out, "\nrefused by spoof\n  3 in the last") {
		t.Errorf("where spoof is expected, the status is %d: %s", status, out)
	}
	path = daemon.ObservedPath(load(t, config))
	write(now.Add(-200 * time.Hour))
	if status, out, _ := observedOf(config, "--json"); status != exitYes || !strings.Contains(out, `"ready": true`) {
		t.Errorf("once it is ready, the status is %d: %s", status, out)
	}
}

func TestMessagesFindAndShowWhatWouldHaveBeenDone(t *testing.T) {
	t.Parallel()
	why := verdict.Why(verdict.Unlisted, "acmecorp.com", "x@acmecorp.com")
	r := &record.Record{
		Time: time.Now().Add(-time.Minute), QueueID: "4F1A2B3C4D", Sender: "eve@example.net", Ended: true, Count: 1,
		Refused: []policy.Ruling{{Address: "x@acmecorp.com", Verdict: verdict.Reject, Reply: why.Reply(), Reasons: verdict.Because(why), Observed: true}},
		Decision: policy.Decision{
			Checkpoint: verdict.S0, Verdict: verdict.Accept, Observed: &policy.Outcome{Verdict: verdict.Reject, Reply: why.Reply(), Reasons: verdict.Because(why)},
		},
	}
	config := recorded(t, r)
	for _, c := range []struct {
		args   string
		status int
		texts  []string
	}{
		{"find --observed", exitYes, []string{"  accept (would be reject)  ", "x@acmecorp.com"}},
		{"find --observed --verdict tempfail", exitNo, nil},
		{"find --verdict reject", exitNo, nil},
		{"find --verdict accept", exitYes, nil},
		{"show 4F1A2B3C4D", exitYes, []string{
			"\nverdict    accept\nwould be   reject\nreply      550 5.1.1 ", "\nx@acmecorp.com\n  mode       observe: nothing of this is done, it is what would be\n  verdict    reject\n  reply      550 5.1.1 ",
		}},
		{"show 4F1A2B3C4D --json", exitYes, []string{`"observed": {`, `"observed": true`}},
	} {
		var stdout, stderr bytes.Buffer
		status := run(append([]string{"messages", "-c", config}, strings.Fields(c.args)...), &stdout, &stderr)
		if status != c.status {
			t.Errorf("%s: the status is %d, not %d: %s", c.args, status, c.status, stderr.String())
		}
		for _, text := range c.texts {
			if !strings.Contains(stdout.String(), text) {
				t.Errorf("%s does not say %q:\n%s", c.args, text, stdout.String())
			}
		}
	}
}
