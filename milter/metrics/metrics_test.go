package metrics

import (
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"coexistd/milter/record"
	"coexistd/policy"
	"coexistd/policy/route"
	"coexistd/policy/tenant"
	"coexistd/policy/verdict"
)

// scrape returns the answer to a request.
func scrape(m *Metrics, method, path string) (status int, text string) {
	answer := httptest.NewRecorder()
	m.Server(slog.New(slog.DiscardHandler)).Handler.ServeHTTP(answer, httptest.NewRequest(method, path, nil))
	return answer.Code, answer.Body.String()
}

// counted are the lines of coexistd's own metrics that count something, sorted.
func counted(m *Metrics) (lines []string) {
	_, text := scrape(m, "GET", Path)
	for line := range strings.Lines(text) {
		line = strings.TrimSuffix(line, "\n")
		if strings.HasPrefix(line, "coexistd_") && !strings.HasSuffix(line, " 0") {
			lines = append(lines, line)
		}
	}
	slices.Sort(lines)
	return lines
}

func nothing() State { return State{} }

// local is a ruling on a recipient who gets the message here.
func local(v verdict.Verdict, check string) policy.Ruling {
	return policy.Ruling{Verdict: v, Check: check, Ways: route.Ways{{route.Ours(verdict.S0), route.LD}}}
}

// observed is what would be of one.
func observed(v verdict.Verdict, check string) policy.Ruling {
	one := local(v, check)
	one.Observed = true
	return one
}

func TestEachRecordCountsOnce(t *testing.T) {
	both := local(verdict.Accept, "")
	both.Ways = append(both.Ways, route.Way{route.Ours(verdict.S0), route.Ours(verdict.S4), {Side: "O", Number: 1}, route.LD})
	refused := []record.Alike{{Verdict: verdict.Reject, Count: 150}, {Verdict: verdict.Tempfail, Check: "ddos", Count: 2}}
	for name, c := range map[string]struct {
		record record.Record
		want   []string
	}{
		"accepted, two ways, some refused": {
			record.Record{Ended: true, Count: 154, Alike: refused, Decision: policy.Decision{Checkpoint: verdict.S0, Verdict: verdict.Accept, Recipients: []policy.Ruling{local(verdict.Accept, ""), both}}},
			[]string{
				`coexistd_messages_total{check="",ended="true",platform="",point="S0",verdict="accept"} 1`,
				`coexistd_recipients_total{check="",flow="",point="S0",verdict="reject"} 150`,
				`coexistd_recipients_total{check="",flow="S0=>LD",point="S0",verdict="accept"} 1`,
				`coexistd_recipients_total{check="",flow="S0=>LD, S0=>S4=>O1=>LD",point="S0",verdict="accept"} 1`,
				`coexistd_recipients_total{check="ddos",flow="",point="S0",verdict="tempfail"} 2`,
			},
		},
		"ended early": {
			record.Record{Count: 1, Alike: []record.Alike{{Verdict: verdict.Reject, Check: "loop", Count: 1}}, Decision: policy.Decision{Checkpoint: verdict.S1, Verdict: verdict.Reject, Check: "loop"}},
			[]string{
				`coexistd_messages_total{check="loop",ended="false",platform="",point="S1",verdict="reject"} 1`,
				`coexistd_recipients_total{check="loop",flow="",point="S1",verdict="reject"} 1`,
			},
		},
		"one held, one not": {
			record.Record{Ended: true, Count: 2, Decision: policy.Decision{
				Checkpoint: verdict.S1, Platform: "office365", Verdict: verdict.Accept, Recipients: []policy.Ruling{local(verdict.Quarantine, "spam"), local(verdict.Accept, "")},
				Findings: []verdict.Finding{{Check: "spam", State: verdict.Hit}, {Check: "virus", State: verdict.Clean}},
			}},
			[]string{
				`coexistd_findings_total{check="spam",state="hit"} 1`,
				`coexistd_findings_total{check="virus",state="clean"} 1`,
				`coexistd_messages_total{check="",ended="true",platform="office365",point="S1",verdict="accept"} 1`,
				`coexistd_recipients_total{check="",flow="S0=>LD",point="S1",verdict="accept"} 1`,
				`coexistd_recipients_total{check="spam",flow="S0=>LD",point="S1",verdict="quarantine"} 1`,
			},
		},
		"refused as a whole": {
			record.Record{Ended: true, Count: 2, Decision: policy.Decision{Checkpoint: verdict.S2, Verdict: verdict.Reject, Check: "virus", Recipients: []policy.Ruling{local(verdict.Reject, "virus"), local(verdict.Accept, "")}}},
			[]string{
				`coexistd_messages_total{check="virus",ended="true",platform="",point="S2",verdict="reject"} 1`,
				`coexistd_recipients_total{check="virus",flow="",point="S2",verdict="reject"} 2`,
			},
		},
		"not to be held": {
			record.Record{Ended: true, Count: 1, Decision: policy.Decision{Checkpoint: verdict.S0, Recipients: []policy.Ruling{local(verdict.Quarantine, "spam")}}.PutOff(verdict.Why(verdict.NotHeld, "no room"))},
			[]string{
				`coexistd_messages_total{check="",ended="true",platform="",point="S0",verdict="tempfail"} 1`,
				`coexistd_quarantine_failures_total 1`,
				`coexistd_recipients_total{check="",flow="",point="S0",verdict="tempfail"} 1`,
			},
		},
		"observed, beside others": {
			record.Record{Ended: true, Count: 4, Alike: []record.Alike{{Verdict: verdict.Reject, Observed: true, Count: 1}, {Verdict: verdict.Reject, Count: 1}}, Decision: policy.Decision{
				Checkpoint: verdict.S0, Verdict: verdict.Quarantine, Check: "spam", Recipients: []policy.Ruling{local(verdict.Quarantine, "spam"), observed(verdict.Quarantine, "spam")},
				Observed: &policy.Outcome{Verdict: verdict.Quarantine, Check: "spam"},
			}},
			[]string{
				`coexistd_messages_total{check="spam",ended="true",platform="",point="S0",verdict="quarantine"} 1`,
				`coexistd_observed_messages_total{check="spam",platform="",point="S0",verdict="quarantine"} 1`,
				`coexistd_observed_recipients_total{check="",flow="",point="S0",verdict="reject"} 1`,
				`coexistd_observed_recipients_total{check="spam",flow="S0=>LD",point="S0",verdict="quarantine"} 1`,
				`coexistd_recipients_total{check="",flow="",point="S0",verdict="accept"} 2`,
				`coexistd_recipients_total{check="",flow="",point="S0",verdict="reject"} 1`,
				`coexistd_recipients_total{check="spam",flow="S0=>LD",point="S0",verdict="quarantine"} 1`,
			},
		},
		"observed, refused for others": {
			record.Record{Ended: true, Count: 2, Decision: policy.Decision{
				Checkpoint: verdict.S0, Verdict: verdict.Reject, Check: "virus", Recipients: []policy.Ruling{local(verdict.Reject, "virus"), observed(verdict.Accept, "")},
				Observed: &policy.Outcome{Verdict: verdict.Accept},
			}},
			[]string{
				`coexistd_messages_total{check="virus",ended="true",platform="",point="S0",verdict="reject"} 1`,
				`coexistd_observed_messages_total{check="",platform="",point="S0",verdict="accept"} 1`,
				`coexistd_observed_recipients_total{check="",flow="S0=>LD",point="S0",verdict="accept"} 1`,
				`coexistd_recipients_total{check="virus",flow="",point="S0",verdict="reject"} 2`,
			},
		},
		"observed, refused at its entry": {
			record.Record{Ended: true, Count: 2, Decision: policy.Decision{Checkpoint: verdict.S0, Verdict: verdict.Accept, Observed: &policy.Outcome{Verdict: verdict.Tempfail}}},
			[]string{
				`coexistd_messages_total{check="",ended="true",platform="",point="S0",verdict="accept"} 1`,
				`coexistd_observed_messages_total{check="",platform="",point="S0",verdict="tempfail"} 1`,
				`coexistd_recipients_total{check="",flow="",point="S0",verdict="accept"} 2`,
			},
		},
		"observed, ended early": {
			record.Record{Count: 1, Alike: []record.Alike{{Verdict: verdict.Reject, Observed: true, Count: 1}}, Decision: policy.Decision{Checkpoint: verdict.S0, Verdict: verdict.Accept, Observed: &policy.Outcome{Verdict: verdict.Reject}}},
			[]string{
				`coexistd_messages_total{check="",ended="false",platform="",point="S0",verdict="accept"} 1`,
				`coexistd_observed_messages_total{check="",platform="",point="S0",verdict="reject"} 1`,
				`coexistd_observed_recipients_total{check="",flow="",point="S0",verdict="reject"} 1`,
			},
		},
		"without proof": {
			record.Record{Ended: true, Count: 1, Proof: tenant.Proof{Absent: []string{"office365"}}, Decision: policy.Decision{Checkpoint: verdict.S0}.PutOff(verdict.Why(verdict.TenantNotProven, "From", "acmecorp.com", "office365"))},
			[]string{
				`coexistd_messages_total{check="",ended="true",platform="",point="S0",verdict="tempfail"} 1`,
				`coexistd_recipients_total{check="",flow="",point="S0",verdict="tempfail"} 1`,
				`coexistd_unproven_messages_total{platform="office365"} 1`,
			},
		},
	} {
		t.Run(name, func(t *testing.T) {
			m := New(nothing)
			before := counted(m)
			m.Record(&c.record)
			got := slices.DeleteFunc(counted(m), func(line string) bool { return slices.Contains(before, line) })
			if !slices.Equal(got, c.want) {
				t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(c.want, "\n"))
			}
		})
	}
}

func TestNoRecordIsLostWhereManyComeAtOnce(t *testing.T) {
	const crowd, each = 8, 500
	m := New(nothing)
	var all sync.WaitGroup
	for range crowd {
		all.Go(func() {
			for i := range each {
				check := fmt.Sprint("check", i%50)
				m.Record(&record.Record{Ended: true, Count: 1, Decision: policy.Decision{Checkpoint: verdict.S0, Verdict: verdict.Accept, Check: check, Recipients: []policy.Ruling{local(verdict.Accept, check)}}})
			}
		})
	}
	all.Wait()
	for i := range 50 {
		want := fmt.Sprintf(`coexistd_messages_total{check="check%d",ended="true",platform="",point="S0",verdict="accept"} %d`, i, crowd*each/50)
		if !slices.Contains(counted(m), want) {
			t.Errorf("it does not tell %s", want)
		}
	}
}

func TestDurationsAreCountedOfWhatWasMade(t *testing.T) {
	m := New(nothing)
	r := &record.Record{Decision: policy.Decision{Findings: []verdict.Finding{{Check: "virus", Took: int64(30 * time.Millisecond)}, {Check: "auth"}}}}
	r.Took[record.Scan] = 30 * time.Millisecond
	m.Record(r)
	_, text := scrape(m, "GET", Path)
	for _, want := range []string{
		`coexistd_step_duration_seconds_bucket{step="scan",le="0.025"} 0`,
		`coexistd_step_duration_seconds_bucket{step="scan",le="0.05"} 1`,
		`coexistd_step_duration_seconds_sum{step="scan"} 0.03`,
		`coexistd_step_duration_seconds_count{step="hold"} 0`,
		`coexistd_scan_duration_seconds_count{check="virus"} 1`,
	} {
		if !strings.Contains(text, want+"\n") {
			t.Errorf("it lacks %s:\n%s", want, text)
		}
	}
	if strings.Contains(text, `coexistd_scan_duration_seconds_count{check="auth"}`) {
		t.Error("a check without a scanner has a duration")
	}
}

// full is a State in which everything is known.
func full() State {
	now := time.Unix(1_800_000_000, 0)
	return State{
		Version: "v1", Loaded: now, Listeners: []Listener{{Use: "milter", Address: "inet:127.0.0.1:8701", Open: 2}},
		Scanners: []Scanner{{Name: "clamd", Scans: 1, Places: 4, Away: true}}, Redis: &Redis{Asked: 3, Failed: 1, Took: time.Second},
		Quarantine: Quarantine{Open: true, Known: true, Entries: 2, Bytes: 3, Oldest: now},
		Sources:    []Source{{Name: "source:people", Addresses: 5, Loaded: now, Asked: now, Outside: true, Failed: true}},
		Networks:   []Networks{{Platform: "office365", Source: "spf:spf.protection.outlook.com", Age: time.Minute, Old: true}},
		Stores:     []Store{{File: "store.db", Changes: 3, Failed: 1, Took: time.Second}},
		Records:    &Records{Lost: 7, Bytes: 4096, Failed: true, MTALog: &MTALog{Failed: true}},
	}
}

func TestTheTableHasEachMetricThatIsToldAndNoOther(t *testing.T) {
	m := New(full)
	m.Configure([]string{"office365"})
	r := &record.Record{Count: 1, Decision: policy.Decision{
		Findings: []verdict.Finding{{Check: "virus", Took: 1}}, Recipients: []policy.Ruling{observed(verdict.Accept, "")}, Observed: &policy.Outcome{},
	}}
	m.Record(r)
	_, text := scrape(m, "GET", Path)
	told := map[string]kind{}
	for _, match := range regexp.MustCompile(`(?m)^# TYPE (coexistd_\S+) (\S+)$`).FindAllStringSubmatch(text, -1) {
		told[match[1]] = kind(match[2])
	}
	for _, row := range table {
		if told[row.name] != row.kind {
			t.Errorf("%s is told as %q; the table has %q", row.name, told[row.name], row.kind)
		}
		delete(told, row.name)
		for _, label := range row.labels {
			if !regexp.MustCompile(`(?m)^` + row.name + `(_count|_bucket)?\{.*\b` + label + `="`).MatchString(text) {
				t.Errorf("%s has no label %s", row.name, label)
			}
		}
	}
	if len(told) > 0 {
		t.Errorf("the table lacks %v", told)
	}
	for _, others := range []string{"go_goroutines", "process_start_time_seconds"} {
		if !strings.Contains(text, "\n"+others+" ") {
			t.Errorf("it lacks %s", others)
		}
	}
}

// Prometheus' practices: base units, and _total for what is counted.
func TestNamesFollowPrometheusPractices(t *testing.T) {
	for _, row := range table {
		if strings.HasSuffix(row.name, "_total") != (row.kind == counter) {
			t.Errorf("%s is a %s", row.name, row.kind)
		}
		if row.help == "" || strings.HasSuffix(row.help, ".") {
			t.Errorf("the help of %s is %q", row.name, row.help)
		}
	}
}

func TestNothingElseIsServed(t *testing.T) {
	m := New(nothing)
	for request, want := range map[string]int{
		"GET " + Path: http.StatusOK, "HEAD " + Path: http.StatusOK, "POST " + Path: http.StatusMethodNotAllowed, "DELETE " + Path: http.StatusMethodNotAllowed,
		"GET /": http.StatusNotFound, "GET /debug/pprof/": http.StatusNotFound,
	} {
		method, path, _ := strings.Cut(request, " ")
		if got, _ := scrape(m, method, path); got != want {
			t.Errorf("%s: the status is %d, want %d", request, got, want)
		}
	}
}

// The documentation's table of metrics is this package's. To write it anew, run the test with
// WRITE_METRICS=1.
func TestTheDocumentationHasEveryMetric(t *testing.T) {
	const file, begin, end = "../../contrib/docs/metrics.md", "<!-- metrics: begin -->\n", "<!-- metrics: end -->\n"
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	before, rest, found := strings.Cut(string(text), begin)
	has, after, ended := strings.Cut(rest, end)
	if !found || !ended {
		t.Fatalf("%s lacks the lines %q and %q", file, begin, end)
	}
	var b strings.Builder
	b.WriteString("| metric | kind | labels | tells |\n|---|---|---|---|\n")
	for _, row := range table {
		labels := ""
		if len(row.labels) > 0 {
			labels = "`" + strings.Join(row.labels, "`, `") + "`"
		}
		fmt.Fprintf(&b, "| `%s` | %s | %s | %s |\n", row.name, row.kind, labels, row.help)
	}
	if os.Getenv("WRITE_METRICS") != "" {
		if err := os.WriteFile(file, []byte(before+begin+b.String()+end+after), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if has != b.String() {
		t.Errorf("%s is not as the table; run: WRITE_METRICS=1 go test ./milter/metrics", file)
	}
}

func BenchmarkRecord(b *testing.B) {
	m := New(nothing)
	r := &record.Record{Ended: true, Count: 1, Decision: policy.Decision{
		Checkpoint: verdict.S0, Verdict: verdict.Accept, Recipients: []policy.Ruling{local(verdict.Accept, "")},
		Findings: []verdict.Finding{{Check: "spam", State: verdict.Clean, Took: 5e6}, {Check: "virus", State: verdict.Clean, Took: 5e6}, {Check: "spoof", State: verdict.Clean}, {Check: "rate", State: verdict.Clean}},
	}}
	for step := range r.Took {
		r.Took[step] = time.Millisecond
	}
	b.ReportAllocs()
	for b.Loop() {
		m.Record(r)
	}
}

func TestTheSendersOfRecipientsAreTold(t *testing.T) {
	lines := counted(New(func() State { return State{Senders: Senders{Allowed: 3, Blocked: 2, Failed: true}} }))
	for _, want := range []string{`coexistd_senders{kind="allowed"} 3`, `coexistd_senders{kind="blocked"} 2`, `coexistd_senders_failed 1`} {
		if !slices.Contains(lines, want) {
			t.Errorf("%s is not told; there are %q", want, lines)
		}
	}
}
