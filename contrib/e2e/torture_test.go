package e2e

import (
	"fmt"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"coexistd/contrib/lab"
)

// tortured is what became of one message of the collection.
type tortured struct {
	name, from string
	answered
	took  time.Duration
	lines []logLine // the daemon's lines about it
}

// torture hands the collection in from the Internet for bob, several at a time.
// Each message has a sender and a connection of its own.
func (s *site) torture(clients int) []tortured {
	s.t.Helper()
	collection := lab.Torture()
	all := make([]tortured, len(collection))
	next := make(chan int)
	var sending sync.WaitGroup
	for range clients {
		sending.Go(func() {
			for i := range next {
				m := &all[i]
				m.name, m.from = collection[i].Name, fmt.Sprintf("torture%d@example.net", i)
				mail := lab.Mail{From: m.from, To: lab.To("bob@acmecorp.com"), Data: collection[i].Data()}
				begun := time.Now()
				m.Result, m.err = lab.Client{Server: s.Addr("public"), Local: lab.FromInternet}.Send(deadline(s.t), mail)
				m.took = time.Since(begun)
			}
		})
	}
	for i := range collection {
		next <- i
	}
	close(next)
	sending.Wait()
	return all
}

// addLines waits for the line of each message that coexistd has answered, and
// then adds all lines that there are.
func (s *site) addLines(all []tortured) {
	s.t.Helper()
	bySender := make(map[string]*tortured, len(all))
	for i := range all {
		bySender[all[i].from] = &all[i]
		if all[i].Accepted() {
			s.loggedFrom(all[i].from)
		}
	}
	for line := range strings.Lines(s.Daemon.Log()) {
		if !strings.Contains(line, "msg=message ") {
			continue
		}
		l := parseLogLine(s.t, strings.TrimSpace(line))
		if m := bySender[l["from"]]; m != nil {
			m.lines = append(m.lines, l)
		}
	}
}

// mustBeTreatedWell checks what became of one message, and returns that in a word
// or two.
func (s *site) mustBeTreatedWell(m tortured, arrived int) string {
	s.t.Helper()
	if m.err != nil {
		s.t.Errorf("%s: there was no answer in %v: %v", m.name, m.took, m.err)
		return "no answer"
	}
	if s.refuses != nil && s.refuses.MatchString(m.Data.String()) {
		if len(m.lines) != 0 || arrived != 0 {
			s.t.Errorf("%s: refused with %s, it arrived %d times, and the log has %v", m.name, m.Data, arrived, m.lines)
		}
		return "refused by the MTA"
	}
	if len(m.lines) != 1 {
		s.t.Errorf("%s: answered with %s, it has %d lines in the log, not one", m.name, m.Data, len(m.lines))
		return "not logged"
	}
	line, reply := m.lines[0], m.Data.String()
	findings, verdict := line["findings"], line["verdict"]
	if reply == headerTooLarge {
		if verdict != "reject" || findings != "" || line["held"] != "" {
			s.t.Errorf("%s: it was refused before a scan, but the log says %v", m.name, line)
		}
		return "header refused"
	}
	state := malwareState.FindStringSubmatch(findings)
	if state == nil {
		s.t.Errorf("%s: the findings %q do not name malware", m.name, findings)
		return "not checked"
	}
	switch {
	case !m.Accepted():
		s.t.Errorf("%s: it was refused with %s, the log says %v", m.name, reply, line)
	case verdict == "accept" && (state[1] != "clean" || line["held"] != "" || arrived != 1),
		verdict == "quarantine" && (state[1] == "clean" || line["held"] == "" || arrived != 0),
		verdict != "accept" && verdict != "quarantine":
		s.t.Errorf("%s: it arrived %d times, the log says %v", m.name, arrived, line)
	}
	return state[1]
}

const headerTooLarge = "552 5.3.4 The message's header is too large"

var malwareState = regexp.MustCompile(`(?:^|; )malware (clean|hit|unknown)`)

// tortureTOML checks what comes for malware and viruses. clamd gives up early, and may
// still need longer than it is given, for archives and letters of very many parts: what
// follows from that is said to be nothing, so that malware alone decides. It takes most of
// the time and sees no MTA: one of them is enough.
func tortureTOML(t *testing.T, mta lab.MTA) string {
	t.Helper()
	if mta != lab.PostfixMTA {
		return checkedTOML("", "", "[checkpoint.S0]\nchecks = [\"malware\"]\n")
	}
	clamd := startClamd(t, lab.ClamdConfig{Settings: map[string]string{"MaxScanTime": "1000"}}) // milliseconds
	return strings.Replace(checkedTOML(clamd.Addr(), "", "[checkpoint.S0]\nchecks = [\"virus\", \"malware\"]\n\n[check.virus]\non_error = \"accept\"\n"), inTime, "10s", 1)
}

// What no program of mail would send is answered too, and costs the
// daemon neither its life nor much memory.
func TestTheTortureCollectionIsAnsweredThroughTheMTA(t *testing.T) {
	onEachMTA(t, func(t *testing.T, mta lab.MTA) {
		const (
			clients    = 8
			mostMemory = 64_000_000 // bytes, the daemon's peak
		)
		s := startSite(t, lab.SiteConfig{MTA: mta, Program: plainProgram(t), TOML: tortureTOML(t, mta), MC: []string{"define(`confMAX_HEADERS_LENGTH', `65000')dnl"}, Main: map[string]string{
			"message_size_limit": "60000000",
			"header_size_limit":  "60000000",
		}})
		pid := s.Daemon.Pid()
		all := s.torture(clients)
		s.addLines(all)
		s.settle()
		arrived := make(map[string]int)
		for _, d := range s.Here.All() {
			arrived[d.From]++
		}
		outcomes := make(map[string]int)
		slowest := all[0]
		for _, m := range all {
			outcome := s.mustBeTreatedWell(m, arrived[m.from])
			outcomes[outcome]++
			t.Logf("%-60q %6d ms %s", m.name, m.took.Milliseconds(), outcome)
			if m.took > slowest.took {
				slowest = m
			}
		}
		peak := residentPeak(t, pid)
		t.Logf("%d messages: %v; the slowest is %q with %v; the daemon's peak is %.1f MB", len(all), outcomes, slowest.name, slowest.took, float64(peak)/1e6)
		if peak > mostMemory {
			t.Errorf("the daemon has needed %d bytes; %d is the most", peak, mostMemory)
		}
		if now := s.Daemon.Pid(); now != pid {
			t.Errorf("the daemon is process %d now; it was %d", now, pid)
		}
		if strings.Contains(s.Daemon.Log(), "panic") {
			t.Error("the daemon's log tells of a panic")
		}
	})
}
