package e2e

import (
	"context"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"net/netip"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"coexistd/contrib/lab"
)

// metricsTOML has a site tell its metrics.
const metricsTOML = `
[metrics]
address = "unix:{dir}/metrics.sock"
`

// meteredTOML is the usual configuration with metrics, where a program is held when it
// comes from the Internet, and thrown away when a user sends it.
const meteredTOML = lab.SiteTOML + metricsTOML + `
[checkpoint.S2]
checks = ["auth", "spoof", "malware"]

[checkpoint.S2.malware]
on_hit = "discard"

[quarantine]
report = { at = "never" }
`

// numbers asks for the metrics, by the name with its labels.
func (s *site) numbers() map[string]float64 {
	s.t.Helper()
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true, DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", filepath.Join(s.Dir, "metrics.sock"))
	}}}
	request, err := http.NewRequestWithContext(deadline(s.t), http.MethodGet, "http://coexistd/metrics", nil)
	s.do(err)
	answer, err := client.Do(request)
	s.do(err)
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	s.do(err)
	all := make(map[string]float64)
	for line := range strings.Lines(string(text)) {
		at := strings.LastIndexByte(line, ' ')
		if value, err := strconv.ParseFloat(strings.TrimSpace(line[at+1:]), 64); err == nil && !strings.HasPrefix(line, "#") {
			all[line[:at]] = value
		}
	}
	return all
}

// counts are what counts messages among numbers, but for what is zero.
func counts(all map[string]float64) map[string]float64 {
	counting := []string{"messages_total", "recipients_total", "findings_total", "unproven_messages_total", "quarantine_failures_total", "step_duration_seconds_count", "scan_duration_seconds_count", "ddos_excesses_total"}
	maps.DeleteFunc(all, func(name string, value float64) bool {
		series, _, _ := strings.Cut(strings.TrimPrefix(name, "coexistd_"), "{")
		return value == 0 || !slices.Contains(counting, series)
	})
	return all
}

// What a message counts as.
func aMessage(point, platform, verdict, check string, ended bool) string {
	return fmt.Sprintf(`coexistd_messages_total{check=%q,ended="%v",platform=%q,point=%q,verdict=%q}`, check, ended, platform, point, verdict)
}

func aRecipient(point, flow, verdict, check string) string {
	return fmt.Sprintf(`coexistd_recipients_total{check=%q,flow=%q,point=%q,verdict=%q}`, check, flow, point, verdict)
}

func aFinding(check, state string) string {
	return fmt.Sprintf(`coexistd_findings_total{check=%q,state=%q}`, check, state)
}

func aStep(name string) string {
	return fmt.Sprintf(`coexistd_step_duration_seconds_count{step=%q}`, name)
}

const aScan = `coexistd_scan_duration_seconds_count{check="malware"}`

// metered is a kind of message: who sends it, and all that it counts as.
type metered struct {
	about, client, from string
	to                  []string
	data                func(n int) []byte // nil: the transaction is broken off
	counts              []string
}

// fromS0 and fromS2 are what messages count as of which the checks there find nothing or,
// of their attachments, something.
func fromS0(malware string, more ...string) []string {
	return append(more, aFinding("malware", malware), aFinding("spoof", "clean"), aStep("scan"), aScan)
}

func fromS2(malware string, more ...string) []string {
	return append(more, aFinding("malware", malware), aFinding("spoof", "clean"), aFinding("auth", "clean"), aStep("scan"), aScan)
}

// theMetered are messages of each fate, from each side.
func theMetered(mta lab.MTA) []metered {
	// Whom the MTA itself refuses by the lookup, the milter does not see: Postfix those who are
	// unknown, Sendmail those who are being moved.
	refused, how := "dave@acmecorp.com", "tempfail"
	if mta == lab.SendmailMTA {
		refused, how = "nobody@acmecorp.com", "reject"
	}
	const eve, alice, bob, outside = "eve@example.net", "alice@acmecorp.com", "bob@acmecorp.com", "x@example.org"
	plain := func(from, to string) func(int) []byte {
		return func(n int) []byte { return lab.Plain(from, to, fmt.Sprint("number ", n)) }
	}
	tenant := func(from, to string) func(int) []byte {
		return func(n int) []byte { return fromTenant(lab.OfficeTenant, plain(from, to)(n)) }
	}
	program := func(from string) func(int) []byte {
		return func(n int) []byte {
			return []byte(strings.ReplaceAll(string(programFor(bob, fmt.Sprint("program ", n), 5000)), eve, from))
		}
	}
	page := func(n int) []byte {
		head, _, _ := strings.Cut(string(plain(eve, bob)(n)), "\r\n\r\n")
		return []byte(head + "\r\nMIME-Version: 1.0\r\nContent-Type: text/html; name=\"page.html\"\r\nContent-Disposition: attachment; filename=\"page.html\"\r\n\r\n" +
			"<html><script>a.href = URL.createObjectURL(new Blob([x])); a.click()</script></html>\r\n")
	}
	accepted := func(point string) string { return aMessage(point, "", "accept", "", true) }
	return []metered{
		{"Internet to here", lab.FromInternet, eve, to(bob), plain(eve, bob), fromS0("clean", accepted("S0"), aRecipient("S0", "S0=>LD", "accept", ""))},
		{"Internet to there", lab.FromInternet, eve, to(alice, "gail@globex.example"), plain(eve, alice),
			fromS0("clean", accepted("S0"), aRecipient("S0", "S0=>S4=>O1=>LD", "accept", ""), aRecipient("S0", "S0=>S4=>G1=>LD", "accept", ""))},
		{"user to each side", lab.FromUser, bob, to(alice, bob, "carol@acmecorp.com", outside), plain(bob, alice),
			fromS2("clean", accepted("S2"), aRecipient("S2", "S2=>S4=>O1=>LD", "accept", ""), aRecipient("S2", "S2=>LD", "accept", ""),
				aRecipient("S2", "S2=>LD, S2=>S4=>O1=>LD", "accept", ""), aRecipient("S2", "S2=>S3=>ED", "accept", ""))},
		{"platform to here and on", lab.FromOffice365, alice, to(bob, outside), tenant(alice, bob),
			[]string{aMessage("S1", "office365", "accept", "", true), aRecipient("S1", "O2=>O3=>S1=>LD", "accept", ""), aRecipient("S1", "O2=>O3=>S1=>S3=>ED", "accept", ""), aFinding("spam", "clean")}},
		{"tagged", lab.FromInternet, eve, to(bob), page, fromS0("hit", aMessage("S0", "", "tag", "malware", true), aRecipient("S0", "S0=>LD", "tag", "malware"))},
		{"held", lab.FromInternet, eve, to(bob, alice), program(eve), fromS0("hit", aMessage("S0", "", "quarantine", "malware", true),
			aRecipient("S0", "S0=>LD", "quarantine", "malware"), aRecipient("S0", "S0=>S4=>O1=>LD", "quarantine", "malware"), aStep("hold"))},
		{"discarded", lab.FromUser, bob, to(alice), program(bob), fromS2("hit", aMessage("S2", "", "discard", "malware", true), aRecipient("S2", "S2=>S4=>O1=>LD", "discard", "malware"))},
		{"put off for want of proof", lab.FromOffice365, alice, to(bob), plain(alice, bob), []string{
			aMessage("S0", "", "tempfail", "spoof", true), aRecipient("S0", "", "tempfail", "spoof"), `coexistd_unproven_messages_total{platform="office365"}`,
			aFinding("malware", "clean"), aFinding("spoof", "unknown"), aStep("scan"), aScan}},
		{"refused as forged", lab.FromInternet, alice, to(bob, "hugo@globex.example"), plain(alice, bob), []string{
			aMessage("S0", "", "reject", "spoof", true), aRecipient("S0", "", "reject", "spoof"), aRecipient("S0", "", "reject", "spoof"),
			aFinding("malware", "clean"), aFinding("spoof", "hit"), aStep("scan"), aScan}},
		{"one taken of three", lab.FromInternet, eve, to("nobody@acmecorp.com", "dave@acmecorp.com", bob), plain(eve, bob), fromS0("clean",
			accepted("S0"), aRecipient("S0", "", how, ""), aRecipient("S0", "S0=>LD", "accept", ""))},
		{"all refused at RCPT", lab.FromInternet, eve, to(refused, refused), plain(eve, bob),
			[]string{aMessage("S0", "", how, "", false), aRecipient("S0", "", how, ""), aRecipient("S0", "", how, "")}},
		{"broken off", lab.FromInternet, eve, to(bob), nil, nil},
		{"broken off after a refusal", lab.FromInternet, eve, to(bob, refused), nil,
			[]string{aMessage("S0", "", how, "", false), aRecipient("S0", "", how, "")}},
		{"a loop", lab.FromOffice365, bob, to(alice), tenant(bob, alice),
			[]string{aMessage("S1", "office365", "reject", "loop", true), aRecipient("S1", "", "reject", "loop")}},
	}
}

// sendMetered sends so many messages, as many of each kind as of the others, and returns what
// they count as.
func (s *site) sendMetered(kinds []metered, total int) map[string]float64 {
	s.t.Helper()
	var next atomic.Int64
	var senders sync.WaitGroup
	for range 8 {
		senders.Go(func() {
			for n := int(next.Add(1) - 1); n < total; n = int(next.Add(1) - 1) {
				k := kinds[n%len(kinds)]
				m := lab.Mail{From: k.from, To: lab.To(k.to...)}
				if k.data != nil {
					m.Data = k.data(n)
				}
				if _, err := (lab.Client{Server: s.Addr("public"), Local: k.client}).Send(deadline(s.t), m); err != nil {
					s.t.Errorf("%s: %v", k.about, err)
				}
			}
		})
	}
	senders.Wait()
	want := make(map[string]float64)
	for n := range total {
		for _, name := range kinds[n%len(kinds)].counts {
			want[name]++
		}
	}
	return want
}

// mustCount waits until the metrics count what they must, and nothing else: a session may end
// a moment after its client has gone.
func (s *site) mustCount(want map[string]float64) {
	s.t.Helper()
	var got map[string]float64
	for ctx := deadline(s.t); ctx.Err() == nil; {
		if got = counts(s.numbers()); maps.Equal(got, want) {
			return
		}
		select {
		case <-time.After(100 * time.Millisecond):
		case <-ctx.Done():
		}
	}
	for _, name := range slices.Sorted(maps.Keys(got)) {
		if got[name] != want[name] {
			s.t.Errorf("%s is %v; what was sent is %v", name, got[name], want[name])
		}
	}
	for _, name := range slices.Sorted(maps.Keys(want)) {
		if _, told := got[name]; !told {
			s.t.Errorf("%s is not told; what was sent is %v", name, want[name])
		}
	}
}

// mustCountFlows compares what the metrics count of recipients with the ways of messages that
// were all accepted.
func (s *site) mustCountFlows(list []*passage) {
	s.t.Helper()
	want := make(map[string]float64)
	for _, p := range list {
		at := strings.IndexByte(p.flow, 'S')
		want[aRecipient(p.flow[at:at+2], p.flow, "accept", "")]++
	}
	got := counts(s.numbers())
	maps.DeleteFunc(got, func(name string, _ float64) bool { return !strings.HasPrefix(name, "coexistd_recipients_total{") })
	if !maps.Equal(got, want) {
		s.t.Errorf("the metrics count\n%v\nand what was sent is\n%v", got, want)
	}
}

func TestEveryNumberOfTheMetricsIsWhatWasSent(t *testing.T) {
	onEachMTA(t, func(t *testing.T, mta lab.MTA) {
		toml := strings.Replace(meteredTOML, "[check.ddos]\nexempt = [\"127.0.0.0/8\"]", "[check.ddos]\nexempt = [\"127.0.0.0/8\"]\nper_minute = 10", 1)
		s := startSite(t, lab.SiteConfig{MTA: mta, TOML: toml})
		total := 1000
		if mta != lab.PostfixMTA {
			total = 100 // it takes fewer in a second, and counts by the same code
		}
		want := s.sendMetered(theMetered(mta), total)
		s.settle()
		s.mustCount(want)

		flood := lab.Flood{Socket: filepath.Join(s.Dir, "milter.sock"), Client: netip.MustParseAddr("192.0.2.77"), Rate: 200, AtOnce: 10}
		flooded, err := flood.Run(t.Context(), time.Second)
		s.do(err)
		if flooded.Refused == 0 {
			t.Errorf("nobody was turned away: %+v", flooded)
		}
		want[`coexistd_ddos_excesses_total{at="connection"}`] = float64(flooded.Refused)
		s.mustCount(want)

		held := 2 * want[aStep("hold")]
		for ctx := deadline(t); s.numbers()["coexistd_quarantine_entries"] != held; {
			select {
			case <-time.After(time.Second):
			case <-ctx.Done():
				t.Fatalf("the quarantine has %v entries; %v were held", s.numbers()["coexistd_quarantine_entries"], held)
			}
		}
		all := s.numbers()
		if all["coexistd_quarantine_bytes"] < held/2*5000 || time.Since(time.Unix(int64(all["coexistd_quarantine_oldest_timestamp_seconds"]), 0)) > patience || all["coexistd_ddos_turned_away"] != 1 {
			t.Errorf("the quarantine has %v bytes, the oldest of %v; %v are turned away", all["coexistd_quarantine_bytes"], all["coexistd_quarantine_oldest_timestamp_seconds"], all["coexistd_ddos_turned_away"])
		}
	})
}
