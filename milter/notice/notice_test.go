package notice

import (
	"flag"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"strings"
	"testing"
	"time"

	"coexistd/milter/ownmail"
	"coexistd/policy/rate"
	"coexistd/policy/seal"
	"coexistd/policy/verdict"
)

var update = flag.Bool("update", false, "write the golden files anew")

// noon is when the tests' limits are reached.
var noon = time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)

// perUser and perDay are the limits of the tests.
var (
	perUser = &rate.Rule{Name: "per user", By: rate.ByUser, Count: rate.Recipients, Limit: 200, Burst: 50, Per: 3600, OnLimit: verdict.Tempfail}
	perDay  = &rate.Rule{Name: "bytes a day", By: rate.ByClient, Count: rate.Bytes, Limit: 100 << 20, Burst: 10 << 20, Per: 86400, OnLimit: verdict.Reject}
)

// settings have the mails sent to two administrators, through an MTA at an address.
func settings(mta string) Settings {
	return Settings{
		Rates: []rate.Rule{*perUser, *perDay},
		Post:  ownmail.Post{MTA: mta, Hostname: "mail.acmecorp.com", Keys: seal.NewKeys([]byte(strings.Repeat("k", 32))), Delimiters: "+"},
		From:  "postmaster@acmecorp.com", To: []string{"admin@acmecorp.com", "Root+limits@acmecorp.com"},
		Zone: time.FixedZone("CET", 3600),
	}
}

// newTeller has a log that is dropped.
func newTeller(t testing.TB, s Settings) *Teller {
	t.Helper()
	teller := New(slog.New(slog.DiscardHandler))
	teller.Configure(s)
	return teller
}

// bobs is what bob has sent, so many minutes before noon.
func bobs(i, minutes int) Message {
	return Message{
		Time: noon.Add(-time.Duration(minutes) * time.Minute), QueueID: fmt.Sprintf("4ZxQ%02d", i), Sender: "bob@acmecorp.com",
		Recipients: []string{"ann@partner.example", "ben@partner.example", "cleo@partner.example", "dan@partner.example"},
		Count:      4 + i, Size: int64(1000 * (i + 1)), Subject: fmt.Sprintf("=?utf-8?q?Einladung_f=C3=BCr_%d?=", i),
	}
}

func bobsEvent() Event {
	return Event{
		Account: "bob", Rule: perUser, Key: "bob", Limit: 200, Burst: 50, Wait: 1_080_000_000,
		Client: netip.MustParseAddr("10.1.2.3"), Point: verdict.S2, Mail: true,
	}
}

// tell records messages and tells of an event at noon.
func (t *Teller) tellNoon(e Event, sent ...Message) told {
	for _, m := range sent {
		t.ledger.record(e.Account, m)
	}
	t.tell(e, noon)
	return <-t.waiting
}

func hostile() (Event, []Message) {
	const evil = "http://evil.example/\u202Egro\r\nBcc: victim@evil.example\r\n\r\n<b>{{.Account}}"
	e := Event{
		Account: evil, Rule: &rate.Rule{Name: "sender\r\nBcc: x", By: rate.BySender, Count: rate.Messages, Per: 5400, OnLimit: verdict.Tag},
		Key: strings.Repeat("k", 1000) + evil, Limit: 1, Burst: 1, Wait: rate.Never, Point: verdict.S2, Mail: true,
	}
	return e, []Message{
		{Time: noon.Add(-time.Minute), QueueID: "X\r\n-----", Sender: evil, Recipients: []string{evil, "\xff\x00"}, Count: 2, Size: -1, Subject: evil},
		{Time: noon, Sender: strings.Repeat("s", 5000), Recipients: []string{"a"}, Count: 1, Size: 1 << 40, Subject: strings.Repeat("=?utf-8?b?w6TDpMOkw6TDpMOkw6TDpMOkw6TDpMOk?= ", 2000)},
		{Time: noon, Count: 0, Subject: "a" + strings.Repeat("\u0301", 1000)},
	}
}

func TestTheMailLooksAsItsGoldenFileSays(t *testing.T) {
	t.Parallel()
	var bobSent []Message
	for i := range 14 {
		bobSent = append(bobSent, bobs(i, 90-6*i))
	}
	byClient := Event{
		Account: "10.1.2.3", Rule: perDay, Key: "10.1.2.3", Limit: 50 << 20, Burst: 10 << 20, Wait: rate.Never,
		Client: netip.MustParseAddr("10.1.2.3"), Point: verdict.S2, Mail: true,
	}
	hostileEvent, hostileSent := hostile()
	for name, c := range map[string]struct {
		event   Event
		sent    []Message
		dropped int64
	}{
		"user":    {bobsEvent(), bobSent, 0},
		"client":  {byClient, []Message{{Time: noon, Count: 1, Size: 812, QueueID: "1", Recipients: []string{"bob@acmecorp.com"}}}, 7},
		"unknown": {Event{Account: "bob@acmecorp.com", Rule: perUser, Key: "bob@acmecorp.com", Limit: 1, Burst: 1, Point: verdict.S2, Mail: true}, nil, 0},
		"host":    {Event{Rule: perDay, Key: "cron@acmecorp.com", Limit: 1, Burst: 1, Point: verdict.S2, Mail: true}, nil, 0},
		"hostile": {hostileEvent, hostileSent, 0},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := settings("")
			letter, err := s.letter(newTeller(t, s).tellNoon(c.event, c.sent...), c.dropped, "admin@acmecorp.com", noon)
			if err != nil {
				t.Fatal(err)
			}
			golden(t, "testdata/"+name+".txt", "Subject: "+strings.ReplaceAll(letter.Subject, "\r\n", `\r\n`)+"\n\n"+letter.Text)
		})
	}
}

func golden(t *testing.T, path, got string) {
	t.Helper()
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("%s says\n%s\nbut it is\n%s", path, want, got)
	}
}
