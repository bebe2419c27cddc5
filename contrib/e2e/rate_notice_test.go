package e2e

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"coexistd/contrib/lab"
	"coexistd/policy/seal"
)

// noticeTOML names administrators in each place where mail can go. One of them
// is bob himself.
const noticeTOML = `
[quarantine.report]
from    = "abuse@acmecorp.com"
summary = ["bob@acmecorp.com", "gail@globex.example", "far@example.org"]
at      = "never"
zone    = "Europe/Berlin"

[[rate]]
name  = "per user"
by    = "user"
limit = 3
per   = "1d"
[[rate]]
name  = "per recipient"
by    = "recipient"
limit = 1
per   = "1h"
on_limit = "reject"
overrides = { "alice@acmecorp.com" = "unlimited", "hugo@globex.example" = "unlimited" }
[[rate]]
name  = "per client"
by    = "client"
limit = 2
burst = 1
per   = "1d"
overrides = { "127.0.3.1" = "unlimited" }
`

// startNoticed starts a site whose host, too, may send to the Internet, as it may
// where nothing is said of Postfix's mynetworks, with these further tables.
func startNoticed(t *testing.T, mta lab.MTA, toml string) *site {
	t.Helper()
	s := startSubmission(t, lab.SiteConfig{MTA: mta, Main: map[string]string{"mynetworks": "127.0.0.1 127.0.4.0/24"}}, "bob", "carol")
	s.configure(strings.Replace(submissionTOML, `["127.0.4.0/24"]`, `["127.0.0.1", "127.0.4.0/24"]`, 1) + toml)
	return s
}

// notices are the notices of an account that have arrived, by administrator.
func (s *site) notices(account string) map[string][]string {
	s.t.Helper()
	if err := s.WaitEmpty(deadline(s.t)); err != nil {
		s.t.Fatal(err)
	}
	all := map[string][]string{}
	for _, sink := range s.sinks() {
		for _, d := range sink.All() {
			text := strings.ReplaceAll(string(d.Data), "\r\n", "\n")
			if strings.Contains(text, "\nSubject: Limit reached: "+account+" ") {
				for _, to := range d.To() {
					all[to] = append(all[to], text)
				}
			}
		}
	}
	return all
}

// limitLines are the log's lines of limits that an account has reached.
func (s *site) limitLines(account string) (lines []logLine) {
	s.t.Helper()
	for line := range strings.Lines(s.Daemon.Log()) {
		if strings.Contains(line, `msg="limit reached" account=`+account+" ") {
			lines = append(lines, parseLogLine(s.t, strings.TrimSuffix(line, "\n")))
		}
	}
	return lines
}

func TestAnAccountThatReachesItsLimitIsToldToTheAdministratorsOnce(t *testing.T) {
	onEachMTA(t, func(t *testing.T, mta lab.MTA) { startNoticed(t, mta, noticeTOML).mustTellOfBobOnce() })
}

// mustTellOfBobOnce has bob, and then carol, reach a limit.
func (s *site) mustTellOfBobOnce() {
	t := s.t
	t.Helper()
	administrators := []string{"bob@acmecorp.com", "gail@gapps.globex.example", "far@example.org"}
	send := func(login, subject string, to ...string) lab.Result {
		from := login + "@acmecorp.com"
		return s.submitAs(submitter{login: login}, lab.Mail{From: from, To: lab.To(to...), Data: lab.Plain(from, to[0], subject)})
	}
	// Neither what bob may get nor what the daemon's address may send is left.
	last := lab.Mail{
		From: "carol@acmecorp.com", To: lab.To("bob@acmecorp.com"), Data: lab.Plain("carol@acmecorp.com", "bob@acmecorp.com", "the last one"),
	}
	if r := s.submitAs(submitter{service: "public", from: "127.0.0.1"}, last); !r.Accepted() {
		t.Fatalf("%+v", r)
	}
	s.mustReply(s.submitAs(submitter{service: "public", from: "127.0.0.1"}, last), 550, "5.7.1", "Too many messages were sent")
	last.To = lab.To("hugo@globex.example")
	s.mustReply(s.submitAs(submitter{service: "public", from: "127.0.0.1"}, last), 450, "4.7.1", "Too many messages were sent, "+in12Hours)
	for i, to := range [][]string{{"alice@acmecorp.com", "hugo@globex.example"}, {"hugo@globex.example"}, {"alice@acmecorp.com"}} {
		if r := send("bob", fmt.Sprintf("Offer %d", i), to...); !r.Accepted() {
			t.Fatalf("message %d: %+v", i, r)
		}
	}
	for i := range 5 {
		r := send("bob", fmt.Sprintf("Refused %d", i), "hugo@globex.example")
		s.mustReply(r, 450, "4.7.1", "Too many messages were sent, "+in8Hours)
	}
	for _, to := range []string{"bob@acmecorp.com", "gail@globex.example", "far@example.org"} {
		s.waitDaemonLog(`msg="limit notice sent" account=bob rule="per user" to=` + regexp.QuoteMeta(to))
	}
	lines := s.limitLines("bob")
	if len(lines) != 1 {
		t.Fatalf("the log has %d lines of bob's limit: %v", len(lines), lines)
	}
	for key, want := range map[string]string{
		"level": "WARN", "rule": "per user", "by": "user", "key": "bob", "unit": "messages", "limit": "3", "burst": "3", "per": "24h0m0s",
		"point": "S2", "verdict": "tempfail", "client": lab.FromInternet, "sent_messages": "3", "sent_recipients": "4", "mail": "queued",
	} {
		if got := lines[0][key]; got != want {
			t.Errorf("the log's line of the limit has %s=%q; right is %q", key, got, want)
		}
	}
	berlin, err := time.LoadLocation("Europe/Berlin")
	if err != nil {
		t.Fatal(err)
	}
	zone, _ := time.Now().In(berlin).Zone()
	got := s.notices("bob")
	for _, to := range administrators {
		if len(got[to]) != 1 {
			t.Errorf("%d notices arrived for %s, of %d recipients; right is one", len(got[to]), to, len(got))
			continue
		}
		for _, part := range []string{
			"The account bob has reached a limit of mail.acmecorp.com", "per user", "3 messages", "a day",
			"3 messages to 4 recipients", "Offer 0", "Offer 1", "Offer 2", zone,
		} {
			if !strings.Contains(got[to][0], part) {
				t.Errorf("the notice to %s lacks %q:\n%s", to, part, got[to][0])
			}
		}
		if strings.Contains(got[to][0], "Refused") || strings.Contains(got[to][0], seal.PassHeader) {
			t.Errorf("the notice to %s says too much:\n%s", to, got[to][0])
		}
	}
	// Another account's limit is told by itself.
	for range 5 {
		send("carol", "Greetings", "hugo@globex.example")
	}
	s.waitDaemonLog(`msg="limit notice sent" account=carol rule="per user" to=far@example.org`)
	if got := s.notices("carol"); len(got["far@example.org"]) != 1 || len(s.limitLines("carol")) != 1 {
		t.Errorf("of carol's limit came %v, and the log has %v", got, s.limitLines("carol"))
	}
	if got := s.notices("bob"); len(got["far@example.org"]) != 1 || len(s.limitLines("bob")) != 1 {
		t.Error("of bob's limit came another notice")
	}
}

func TestTheNextWindowHasANoticeOfItsOwn(t *testing.T) {
	t.Parallel()
	quick, _, _ := strings.Cut(noticeTOML, "[[rate]]")
	quick += `[[rate]]
name  = "per user"
by    = "user"
limit = 1
per   = "2s"
`
	s := startNoticed(t, lab.PostfixMTA, quick)
	until := deadline(t)
	for n := 0; len(s.limitLines("bob")) < 3; n++ {
		if until.Err() != nil {
			t.Fatal("the log has too few lines of bob's limit")
		}
		s.submitAs(submitter{login: "bob"}, lab.Mail{
			From: "bob@acmecorp.com", To: lab.To("hugo@globex.example"), Data: lab.Plain("bob@acmecorp.com", "hugo@globex.example", fmt.Sprint(n)),
		})
	}
	var times []time.Time
	for _, line := range s.limitLines("bob") {
		at, err := time.Parse(time.RFC3339Nano, line["time"])
		if err != nil {
			t.Fatal(err)
		}
		times = append(times, at)
	}
	for i := 1; i < len(times); i++ {
		// The log's clock rounds to milliseconds.
		if apart := times[i].Sub(times[i-1]); apart < 2*time.Second-10*time.Millisecond {
			t.Errorf("two lines of one window, %v apart", apart)
		}
	}
	sink := s.Outside
	isNotice := func(d lab.Delivery) bool { return strings.Contains(string(d.Data), "Limit reached: bob") }
	left := len(times)
	if _, err := sink.Wait(deadline(t), func(d lab.Delivery) bool {
		if isNotice(d) {
			left--
		}
		return left == 0
	}); err != nil {
		t.Fatal(err)
	}
	if got := len(slices.DeleteFunc(sink.All(), func(d lab.Delivery) bool { return !isNotice(d) })); got != len(times) {
		t.Errorf("%d notices came for %d windows", got, len(times))
	}
}
