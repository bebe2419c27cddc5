package e2e

import (
	"encoding/json"
	"os"
	"slices"
	"strings"
	"testing"
)

// The mail of a day is handed in four times: to the server alone, while coexistd observes, while it enforces, and when it
// is taken away again.
// What is done in between, the page says, and the tools that it names.
func TestAnExistingServerIsTakenOverByThePageAlone(t *testing.T) {
	t.Parallel()
	m := startOldServer(t)
	m.tellDNS()
	day := theDay(t, m.partner)
	alone := m.live(day)
	if len(alone.arrivals) < len(day) {
		t.Fatalf("of %d messages, %d arrived without coexistd", len(day), len(alone.arrivals))
	}

	_, survey := m.shell(existingPage, toLook, "coexistd doctor --survey", "--json")
	m.write()
	m.obey(survey)
	m.must(existingPage, toWrite, "coexistd check")
	m.must(existingPage, toWrite, "coexistd doctor --survey")
	m.start()
	m.must(existingPage, toObserve, "coexistd setup postfix | sh -e")
	m.again()
	m.consult(existingPage, toObserve)
	observed := m.live(day)
	mustAnswerAlike(t, "observed", day, observed, alone)
	mustBeEqual(t, "observed", observed.told(), alone.told())
	m.mustBeExpected()

	toml, err := os.ReadFile(m.Config())
	m.do(err)
	m.do(os.WriteFile(m.Config(), []byte(instead(t, string(toml), `"observe"`, `"enforce"`)), 0o644))
	m.must(observePage, toEnforce, "coexistd reload")
	m.must(observePage, toEnforce, "coexistd setup postfix | sh -e")
	m.again()
	m.consult(observePage, toEnforce)
	enforced := m.live(day)
	mustAnswerAlike(t, "enforced", day, enforced, alone)
	mustBeEqual(t, "enforced", enforced.each(stay), alone.each(moveAway))

	m.must(existingPage, toTakeBack, "coexistd setup postfix --retire | sh -e")
	m.again()
	m.do(m.Daemon.Stop())
	retired := m.live(day)
	mustAnswerAlike(t, "retired", day, retired, alone)
	mustBeEqual(t, "retired", retired.told(), alone.told())
}

// consult has the doctor see to the server, in which nothing is left to be done. That rspamd stays a milter of Postfix, that
// the server has no certificate of its own, and what the configuration might have besides, is well.
func (m *oldServer) consult(page, heading string) {
	m.t.Helper()
	status, printed := m.shell(page, heading, "coexistd doctor", "--json")
	var list []finding
	if err := json.Unmarshal([]byte(printed), &list); err != nil || status != exitYes {
		m.t.Fatalf("the doctor ends with %d (%v) and says\n%s", status, err, printed)
	}
	for _, one := range list {
		if one.Status != "ok" && !slices.Contains([]string{"configuration", "clamd", "rspamd", "certificate"}, one.Subject) {
			m.t.Errorf("the doctor says %+v", one)
		}
	}
}

// mustBeExpected checks that of the mail that was observed, nothing would have been refused, put off or held.
func (m *oldServer) mustBeExpected() {
	m.t.Helper()
	for ctx := deadline(m.t); len(m.find()) < len(m.lines()); {
		m.do(ctx.Err()) // The daemon waits for no record.
	}
	seen := m.must(observePage, toEnforce, "coexistd messages find --observed")
	if strings.Contains(seen, "would be") || strings.Count(seen, "\n") < 10 {
		m.t.Errorf("what is observed is\n%s", seen)
	}
}

// mustAnswerAlike compares what two days were answered.
func mustAnswerAlike(t *testing.T, about string, day []dayMail, got, want livedDay) {
	t.Helper()
	for i, answer := range got.answers {
		if answer != want.answers[i] {
			t.Errorf("%s: %s, by %s, is answered\n%s\nand alone\n%s", about, day[i].about, day[i].at, answer, want.answers[i])
		}
	}
}

// stay leaves all that arrives where it is.
func stay(place, to string) (string, string) { return place, to }

// moveAway has the mail of those who live elsewhere arrive there.
func moveAway(place, to string) (string, string) {
	local, domain, _ := strings.Cut(to, "@")
	name, _, _ := strings.Cut(strings.ToLower(local), "+")
	if place != "here" || name != "alice" && name != "anna" || domain != "mail.acmecorp.com" && !strings.EqualFold(domain, "acmecorp.com") {
		return place, to
	}
	return "office365", local + "@acmecorp-com.onmicrosoft.com"
}

// tellDNS has what the DNS has of the domains, and of who sends to them.
func (m *oldServer) tellDNS() {
	for _, domain := range []string{"acmecorp.com", "mail.acmecorp.com", "old.example"} {
		m.DNS.Set(domain, "TXT", "v=spf1 ip4:192.0.2.7 ip4:192.0.2.8 include:spf.protection.outlook.com -all")
		m.DNS.Set("_dmarc."+domain, "TXT", "v=DMARC1; p=reject")
		m.DNS.Set(domain, "MX", "10 gw.example")
	}
	for name, records := range map[string][2]string{
		"gw.example":                   {"A", "192.0.2.7"},
		"mail.acmecorp.com":            {"A", "192.0.2.8"},
		"spf.protection.outlook.com":   {"TXT", "v=spf1 ip4:40.92.0.0/15 -all"},
		"acmecorp-com.onmicrosoft.com": {"MX", "0 acmecorp-com.mail.protection.outlook.com"},
		"far.example":                  {"TXT", "v=spf1 ip4:" + farClient + " -all"},
		m.partner.name():               {"TXT", m.partner.record},
		"66.3.0.127.rbl.example":       {"A", "127.0.0.2"},
	} {
		m.DNS.Set(name, records[0], records[1])
	}
}
