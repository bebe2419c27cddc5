package main

import (
	"encoding/json"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"strings"
	"testing"
	"time"

	"coexistd/cmd/coexistd/daemon"
	"coexistd/milter/messages"
	"coexistd/milter/record"
	"coexistd/policy"
	"coexistd/policy/route"
	"coexistd/policy/tenant"
	"coexistd/policy/verdict"
)

// recorded writes records of some messages, as a daemon would, and returns the configuration.
func recorded(t *testing.T, list ...*record.Record) (config string) {
	t.Helper()
	config = configuration(t, strings.ReplaceAll(heldTOML, "{smtp}", "127.0.0.1:25"), "address,residence\nalice@acmecorp.com,office365\nbob@acmecorp.com,here\n")
	conf := load(t, config)
	if err := os.MkdirAll(conf.StateDir, 0o700); err != nil {
		t.Fatal(err)
	}
	x := messages.New(daemon.MessagesOptions(conf, slog.New(slog.DiscardHandler)))
	for _, r := range list {
		x.Record(r)
	}
	x.Stop()
	if s := x.Status(); s.Lost > 0 {
		t.Fatalf("the records are not written: %+v", s)
	}
	return config
}

// spamFor is a message that is held for bob, and goes on to alice.
func spamFor(when time.Time) *record.Record {
	found := verdict.Finding{Check: verdict.CheckSpam, State: verdict.Hit, Name: "GTUBE", Score: 15, Scored: true, Detail: "GTUBE"}
	return &record.Record{
		Time: when, QueueID: "4F1A2B3C4D", Client: netip.MustParseAddr("192.0.2.1"), Sender: "eve@example.net", MessageID: " <it's\u2019@example.net>",
		Subject: " =?utf-8?q?Gr=C3=BC=C3=9Fe?= \x1b[31mnow", Size: 5000, Count: 3, Ended: true, Held: []string{"vb3kq7x2ma"},
		Proof: tenant.Proof{Reasons: verdict.Because(verdict.Why(verdict.EnteredByStranger).Of(netip.MustParseAddr("192.0.2.1")))},
		Decision: policy.Decision{
			Checkpoint: verdict.S0, Verdict: verdict.Quarantine, Check: verdict.CheckSpam, Findings: []verdict.Finding{found, verdict.Passed(verdict.CheckVirus)}, Reasons: found.Why(),
			Recipients: []policy.Ruling{
				{Address: "bob@acmecorp.com", Verdict: verdict.Quarantine, Residence: route.Residence{Kind: route.Here}, Ways: route.Ways{{route.Ours(verdict.S0), route.LD}}, Held: []string{"spam"}, Reasons: found.Why()},
				{Address: "alice@acmecorp.com", Verdict: verdict.Accept, Residence: route.Residence{Kind: route.There, Platform: "office365"}, Elsewhere: "alice@acmecorp-com.onmicrosoft.com",
					Ways: route.Ways{{route.Ours(verdict.S0), route.Ours(verdict.S4), {Side: "O", Number: 1}, route.LD}}},
			},
		},
		Refused: []policy.Ruling{policy.Refuse("nobody@acmecorp.com", verdict.Why(verdict.BadRecipient))},
	}
}

func TestAMessageIsShownWithEveryReasonAndWhereToGoOn(t *testing.T) {
	t.Parallel()
	when := time.Now().Add(-3 * time.Hour).Truncate(time.Second)
	config := recorded(t, spamFor(when))
	_, list, _ := typed("messages find --queue -c " + config)
	if list != "" {
		t.Errorf("wrong usage lists %s", list)
	}
	var facts []messageFacts
	status, out, complaint := typed("messages show --json 4F1A2B3C4D -c " + config)
	if err := json.Unmarshal([]byte(out), &facts); err != nil || status != exitYes || len(facts) != 1 {
		t.Fatalf("show ended with %d, %q, %v and\n%s", status, complaint, err, out)
	}
	f := facts[0]
	if !f.Time.Equal(when) || f.Subject != "Grüße [31mnow" || f.MessageID != "<it's\u2019@example.net>" || f.Count != 3 || len(f.Recipients) != 3 || f.Recipients[1].Held != "vb3kq7x2ma" || f.Reason == "" || !f.Codes.HasCode(verdict.Reported) {
		t.Errorf("the facts are %+v", f)
	}
	utc := func(t time.Time) string { return t.UTC().Format(time.RFC3339) }
	query, end, _ := strings.Cut(f.Traces[0].Query, " -EndDate ")
	if want := `Get-MessageTraceV2 -MessageId '<it''s` + "\u2019\u2019" + `@example.net>' -SenderAddress 'eve@example.net' -RecipientAddress 'alice@acmecorp-com.onmicrosoft.com','alice@acmecorp.com' -StartDate '` + utc(when.Add(-time.Hour)) + `'`; len(f.Traces) != 1 || query != want {
		t.Errorf("the query is\n%s, right is\n%s", query, want)
	}
	if at, err := time.Parse(time.RFC3339, strings.Trim(end, "'")); err != nil || at.Before(when) || at.After(time.Now()) {
		t.Errorf("it ends at %s, %v", end, err)
	}
	rejected := verdict.Why(verdict.BadRecipient).Reply().String()
	text := `id         ` + fmt.Sprint(idOf(t, config)) + `
came       ` + when.Local().Format("2006-01-02 15:04:05 MST") + `
queue id   4F1A2B3C4D
client     192.0.2.1
sender     <eve@example.net>
message id <it's’@example.net>
subject    Grüße [31mnow
size       4.9 KB
point      S0
proof      the client 192.0.2.1 is neither ours nor a platform's
found      spam hit GTUBE 15.00 (GTUBE)
found      virus clean
verdict    quarantine
check      spam
why        ` + f.Reason + `

nobody@acmecorp.com
  verdict    reject
  reply      ` + rejected + `
  why        ` + verdict.Because(verdict.Why(verdict.BadRecipient)).String() + `

bob@acmecorp.com
  residence  here
  flow       S0=>LD
  verdict    quarantine
  why        ` + f.Reason + `
  held by    spam
  held as    vb3kq7x2ma: coexistd quarantine show vb3kq7x2ma

alice@acmecorp.com
  residence  office365
  flow       S0=>S4=>O1=>LD
  rewritten  alice@acmecorp-com.onmicrosoft.com
  verdict    accept

what became of it at office365: in Exchange Online PowerShell, after Connect-ExchangeOnline
  ` + f.Traces[0].Query[:strings.Index(f.Traces[0].Query, "-EndDate")]
	if status, out, complaint := typed("messages show <it's\u2019@example.net> -c " + config); status != exitYes || !strings.HasPrefix(out, text) || complaint != "" {
		t.Errorf("show ended with %d, %q and\n%sright is\n%s", status, complaint, out, text)
	}
}

// idOf is the ID of the only message.
func idOf(t *testing.T, config string) string {
	t.Helper()
	_, out, _ := typed("messages find -c " + config)
	lines := strings.Split(out, "\n")
	if len(lines) < 2 || !strings.HasPrefix(lines[0], "ID") {
		t.Fatalf("the list is %s", out)
	}
	return strings.Fields(lines[1])[0]
}

func TestWhatWentToGoogleIsLookedForInItsLog(t *testing.T) {
	t.Parallel()
	toml := strings.NewReplacer("office365", "google", "acmecorp-com.onmicrosoft.com", "gapps.acmecorp.com", `tenant = "3f2504e0-4f89-11d3-9a0c-0305e82c3301"`, "", "{smtp}", "127.0.0.1:25").Replace(heldTOML)
	config := configuration(t, toml, "address,residence\nalice@acmecorp.com,google\n")
	conf := load(t, config)
	r := spamFor(time.Date(2026, 11, 1, 8, 30, 0, 0, time.UTC))
	r.Decision.Recipients[1].Ways[0][2].Side = "G"
	x := messages.New(daemon.MessagesOptions(conf, slog.New(slog.DiscardHandler)))
	defer x.Stop()
	m := &messages.Message{Time: r.Time, Sender: "", MessageID: "<1@example.net>", Recipients: []messages.Recipient{{Address: "alice@acmecorp.com", Side: "G", Verdict: verdict.Accept}}}
	traces := tracesOf(conf, m, r.Time.Add(30*24*time.Hour))
	want := "Date: 2026-11-01 07:30 UTC to 2026-11-06 08:30 UTC; Recipient: alice@acmecorp.com; Message ID: <1@example.net>"
	if len(traces) != 1 || traces[0].Platform != "google" || traces[0].Query != want || !strings.Contains(traces[0].Where, "Email Log Search") {
		t.Errorf("it is %+v; right is %s", traces, want)
	}
}

func TestMessagesAreFoundByFlagsAndTheExitStatusSaysSo(t *testing.T) {
	t.Parallel()
	now := time.Now()
	var list []*record.Record
	for n := range 60 {
		r := spamFor(now.Add(time.Duration(n-60) * time.Minute))
		r.QueueID, r.Sender = fmt.Sprintf("4F%d", n), fmt.Sprintf("eve%d@example.net", n)
		list = append(list, r)
	}
	config := recorded(t, list...)
	for line, want := range map[string]int{
		"": 50, "--most 7": 7, "--most 100": 60, "--from eve5@example.net": 1, "--to @acmecorp.com --most 99": 60, "--since 10m": 9, "--until 50m": 11, "--verdict accept --most 60": 60, "--verdict discard": 0,
		"--point s2": 0, "--point S0 --check spam --from eve7": 1, "--check virus": 0, "--subject grüße --from eve8": 1, "--client 192.0.2.1 --id 4F3": 1, "--login bob": 0, "--since " + now.Add(time.Hour).Format(time.RFC3339): 0,
		"--since " + now.AddDate(0, 0, -2).Format("2006-01-02") + " --most 60": 60, "--until " + now.AddDate(0, 0, -2).Format("2006-01-02T15:04"): 0,
	} {
		status, out, complaint := typed("messages find " + line + " -c " + config)
		rows := max(strings.Count(out, "\n")-1, 0)
		if rows != want || (status == exitYes) != (want > 0) || (status == exitNo) != (want == 0) || (want == 0) != (complaint == "nothing is found\n") {
			t.Errorf("%q ended with %d, %q and %d rows, not %d", line, status, complaint, rows, want)
		}
		var facts []map[string]any
		_, out, _ = typed("messages find --json " + line + " -c " + config)
		if err := json.Unmarshal([]byte(out), &facts); err != nil || len(facts) != want {
			t.Errorf("%q as JSON are %d, %v", line, len(facts), err)
		}
	}
	if _, _, complaint := typed("messages find -c " + config); !strings.Contains(complaint, "more than 50") {
		t.Errorf("of more it says %q", complaint)
	}
	if status, _, complaint := typed("messages show m1 -c " + config); status != exitNo || complaint != "no message has the ID \"m1\"\n" {
		t.Errorf("show ended with %d and %q", status, complaint)
	}
}

func TestMessagesSayWhatIsWrong(t *testing.T) {
	t.Parallel()
	config := recorded(t)
	for line, want := range map[string]string{
		"find --since yesterday": `"yesterday" is not a time; it would be like 2026-11-23, 2026-11-23T14:05, 14:05, or 2h for two hours ago`,
		"find --verdict refused": `"refused" is not a verdict; it would be one of accept, tag, quarantine, discard, tempfail, reject`,
		"find --check viurs":     `"viurs" is not a check`,
		"find --point S9":        "is not a contact point",
		"find --client x":        `"x" is not an IP address`,
		"find --most 0":          "--most 0: it would be 1 at least",
		"find alice":             `"alice" needs a flag before it that says what it is: --to, `,
		"show":                   "it needs an ID",
	} {
		if status, out, complaint := typed("messages " + line + " -c " + config); status != exitWrong || out != "" || !strings.Contains(complaint, want) {
			t.Errorf("%q ended with %d, %q and %q", line, status, out, complaint)
		}
	}
	path := daemon.MessagesOptions(load(t, config), nil).Path
	if err := os.WriteFile(path, []byte(strings.Repeat("this is no file of SQLite\n", 1000)), 0o600); err != nil {
		t.Fatal(err)
	}
	if status, _, complaint := typed("messages find -c " + config); status != exitWrong || !strings.Contains(complaint, path) || !strings.Contains(complaint, "damaged") {
		t.Errorf("of a damaged file, find ended with %d and %q", status, complaint)
	}
	text, err := os.ReadFile(config)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(config, append(text, "\n[messages]\nkeep = \"0\"\n"...), 0o600); err != nil {
		t.Fatal(err)
	}
	if status, _, complaint := typed("messages find -c " + config); status != exitWrong || !strings.Contains(complaint, `messages.keep is "0"`) {
		t.Errorf("where nothing is kept, find ended with %d and %q", status, complaint)
	}
}

func TestCountsAreToldByMinuteHourAndDay(t *testing.T) {
	t.Parallel()
	day := time.Now().AddDate(0, 0, -3)
	at := func(hour, minute, second int) time.Time {
		return time.Date(day.Year(), day.Month(), day.Day(), hour, minute, second, 0, time.Local)
	}
	refused := &record.Record{
		Time: at(9, 59, 0), Count: 2, Ended: true, Decision: policy.Decision{Checkpoint: verdict.S2, Verdict: verdict.Reject, Check: verdict.CheckVirus},
		Paths: []string{"bob@acmecorp.com", "alice@acmecorp.com"},
	}
	config := recorded(t, spamFor(at(9, 14, 0)), spamFor(at(9, 14, 59)), spamFor(at(10, 0, 0)), refused, spamFor(day.AddDate(0, 0, -30)))
	stamp := func(at time.Time) string { return at.Format("2006-01-02 15:04") }
	date := at(0, 0, 0).Format("2006-01-02")
	for flags, want := range map[string]string{
		"": `TIME        POINT  FLOW                    VERDICT     CHECK  MESSAGES  RECIPIENTS
` + date + `  S0     S0=>LD, S0=>S4=>O1=>LD  quarantine  spam   3         9
` + date + `  S2                             reject      virus  1         2
`,
		"--per hour": `TIME              POINT  FLOW                    VERDICT     CHECK  MESSAGES  RECIPIENTS
` + stamp(at(9, 0, 0)) + `  S0     S0=>LD, S0=>S4=>O1=>LD  quarantine  spam   2         6
` + stamp(at(9, 0, 0)) + `  S2                             reject      virus  1         2
` + stamp(at(10, 0, 0)) + `  S0     S0=>LD, S0=>S4=>O1=>LD  quarantine  spam   1         3
`,
		"--per minute --since " + at(9, 14, 0).Format("2006-01-02T15:04") + " --until " + at(9, 59, 0).Format("2006-01-02T15:04"): `TIME              POINT  FLOW                    VERDICT     CHECK  MESSAGES  RECIPIENTS
` + stamp(at(9, 14, 0)) + `  S0     S0=>LD, S0=>S4=>O1=>LD  quarantine  spam   2         6
`,
	} {
		if status, out, complaint := typed("messages counts " + flags + " -c " + config); status != exitYes || out != want || complaint != "" {
			t.Errorf("counts %s ended with %d, %q and\n%s\nright is\n%s", flags, status, complaint, out, want)
		}
	}
	if status, out, complaint := typed("messages counts --since 1h -c " + config); status != exitNo || out != "" || complaint != "there were none\n" {
		t.Errorf("counts of nothing ended with %d, %q and %q", status, complaint, out)
	}
	if status, _, complaint := typed("messages counts --per week -c " + config); status != exitWrong || !strings.Contains(complaint, "minute, hour, day") {
		t.Errorf("a span that is none ended with %d, %q", status, complaint)
	}
	var facts []countFacts
	status, out, _ := typed("messages counts --json -c " + config)
	if err := json.Unmarshal([]byte(out), &facts); err != nil || status != exitYes || len(facts) != 2 || !facts[0].Time.Equal(at(0, 0, 0)) || facts[0].Recipients != 9 {
		t.Errorf("as data, they are %+v, %v, from %s", facts, err, out)
	}
}
