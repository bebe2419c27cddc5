package probe_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"coexistd/milter/probe"
	"coexistd/policy/mail"
	"coexistd/policy/seal"
)

var (
	keys = seal.NewKeys([]byte("a secret that both tests and nobody else know"))
	now  = time.Unix(1000, 0)
)

// head is the header of a probe with that id, lines ending with CRLF.
func head(t testing.TB, keys seal.Keys, id string, until int64) string {
	t.Helper()
	var h mail.Header
	h.Add([]byte("Message-Id"), []byte(" <probe."+id+"@mail.acmecorp.com>"))
	value := keys.SignProbe(seal.Probe{ID: id, Platform: "office365", Sent: 900, Until: until}, "coexist-probe@acmecorp.com", seal.MarksOf(&h))
	return "X-Coexist-Probe: " + strings.ReplaceAll(value, "\n", "\r\n") + "\r\nSubject: coexistd probes\r\n" + "Message-Id: <probe." + id + "@mail.acmecorp.com>\r\n"
}

const report = "Reporting-MTA: dns; office.example\r\n\r\n" +
	"Final-Recipient: rfc822; coexist-probe@acmecorp-com.onmicrosoft.com\r\nAction: failed\r\nStatus: 5.7.64\r\n" +
	"Diagnostic-Code: smtp; 550 5.7.64 TenantAttribution;\r\n    Relay Access \x01Denied\r\n"

// bounce is one of the usual kind, with that for the message.
func bounce(report, enclosed string) []byte {
	return []byte("This is a multipart message.\r\n\r\n--b\r\nContent-Type: text/plain\r\n\r\nIt could not be delivered.\r\n\r\n" +
		"--b\r\nContent-Type: message/delivery-status\r\n\r\n" + report + "\r\n--b\r\nContent-Type: message/rfc822\r\n\r\n" + enclosed + "\r\nbody\r\n--b--\r\n")
}

func TestABounceTellsOfTheProbeThatItEncloses(t *testing.T) {
	genuine := head(t, keys, "k3mf7qz2ab", 1000)
	foreign := head(t, seal.NewKeys([]byte("another")), "k3mf7qz2ab", 1000)
	for _, c := range []struct {
		about string
		body  []byte
		found bool
		want  probe.Bounce
	}{
		{"usual", bounce(report, genuine), true, probe.Bounce{When: now, Action: "failed", Status: "5.7.64", Diagnosis: "smtp; 550 5.7.64 TenantAttribution; Relay Access ?Denied"}},
		{"with bare line ends", []byte(strings.ReplaceAll(string(bounce(report, genuine)), "\r", "")), true,
			probe.Bounce{When: now, Action: "failed", Status: "5.7.64", Diagnosis: "smtp; 550 5.7.64 TenantAttribution; Relay Access ?Denied"}},
		{"behind hops", bounce(report, "Received: from x by y;\r\n\tMon, 1 Jan 2024 00:00:00 +0000\r\n"+genuine), true,
			probe.Bounce{When: now, Action: "failed", Status: "5.7.64", Diagnosis: "smtp; 550 5.7.64 TenantAttribution; Relay Access ?Denied"}},
		{"late", bounce(strings.ReplaceAll(report, "failed", "Delayed"), genuine), true,
			probe.Bounce{When: now, Action: "delayed", Status: "5.7.64", Diagnosis: "smtp; 550 5.7.64 TenantAttribution; Relay Access ?Denied"}},
		{"without a report", []byte("Sorry.\r\n\r\n" + genuine), true, probe.Bounce{When: now}},
		{"of another system's probe", bounce(report, foreign), false, probe.Bounce{}},
		{"of one that has expired", bounce(report, head(t, keys, "k3mf7qz2ab", 999)), false, probe.Bounce{}},
		{"with the field in another message", bounce(report, strings.ReplaceAll(genuine, "Message-Id: <probe.", "Message-Id: <other.")), false, probe.Bounce{}},
		{"of another message", bounce(report, "Message-Id: <1@example.net>\r\n"), false, probe.Bounce{}},
		{"behind too many", []byte(strings.Repeat("X-Coexist-Probe: x\r\n\r\n", 8) + genuine), false, probe.Bounce{}},
		{"empty", nil, false, probe.Bounce{}},
	} {
		p, got, ok := probe.ReadBounce(c.body, keys, now)
		if ok != c.found {
			t.Errorf("%s: it is found: %v", c.about, ok)
			continue
		}
		if ok && (p.ID != "k3mf7qz2ab" || got != c.want || got.IsFinal() != (got.Action != "delayed")) {
			t.Errorf("%s: it tells %+v of %+v; right is %+v", c.about, got, p, c.want)
		}
	}
}

func TestALongDiagnosisIsCut(t *testing.T) {
	_, got, ok := probe.ReadBounce(bounce("Action: failed\r\nDiagnostic-Code: "+strings.Repeat("x", 60_000)+"\r\n", head(t, keys, "a", 1000)), keys, now)
	if !ok || len(got.Diagnosis) > 500 {
		t.Errorf("found: %v, with %d bytes", ok, len(got.Diagnosis))
	}
}

func FuzzReadBounce(f *testing.F) {
	f.Add(bounce(report, head(f, keys, "k3mf7qz2ab", 1000)))
	f.Add([]byte("X-Coexist-Probe:\n\nAction:\n\n\r\n:\n"))
	f.Fuzz(func(t *testing.T, body []byte) {
		// Nobody else knows the secret.
		if p, _, ok := probe.ReadBounce(body, keys, now); ok && p.ID != "k3mf7qz2ab" {
			t.Fatalf("%q tells of %+v", body, p)
		}
	})
}

func TestABookKnowsAReturnOnce(t *testing.T) {
	var b probe.Book
	one, other := &seal.Probe{ID: "a", Until: 2000}, &seal.Probe{ID: "b", Until: 2000}
	if s := b.Find("a"); s.Return != nil || s.Bounce != nil {
		t.Errorf("an empty book knows %+v", s)
	}
	b.Bounced(one, probe.Bounce{When: now, Action: "failed", Status: "5.7.64"})
	b.Bounced(one, probe.Bounce{When: now, Action: "delayed"})
	if !b.Returned(one, probe.Return{When: now, Entered: "first"}) || b.Returned(one, probe.Return{When: now, Entered: "second"}) || !b.Returned(other, probe.Return{When: now}) {
		t.Error("what comes first, and what comes again, is told otherwise")
	}
	if s := b.Find("a"); s.Return.Entered != "first" || s.Bounce.Status != "5.7.64" {
		t.Errorf("the book knows %+v and %+v", s.Return, s.Bounce)
	}
}

func TestABookIsBoundedByWhatStillHolds(t *testing.T) {
	var b probe.Book
	for i := range 1000 {
		if !b.Returned(&seal.Probe{ID: fmt.Sprint(i), Until: 2000 + int64(i)}, probe.Return{When: now}) {
			t.Fatalf("probe %d is not taken", i)
		}
	}
	one := &seal.Probe{ID: "more", Until: 9000}
	if b.Returned(one, probe.Return{When: now}) {
		t.Error("one more is taken while all hold")
	}
	if !b.Returned(one, probe.Return{When: time.Unix(2001, 0)}) {
		t.Error("one more is not taken though one holds no longer")
	}
	if b.Find("0").Return != nil || b.Find("1").Return == nil {
		t.Error("another was dropped than the one that holds no longer")
	}
}
