package quarantine

import (
	"flag"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"testing"
	"time"

	"coexistd/milter/ownmail"
	"coexistd/policy/seal"
	"coexistd/policy/verdict"
)

var update = flag.Bool("update", false, "write the golden files anew")

// reportTime is when the tests' reports are made.
var reportTime = time.Date(2026, 11, 23, 6, 0, 0, 0, time.UTC)

// reporter returns one without a store.
func reporter(t testing.TB) *Reporter {
	t.Helper()
	return &Reporter{
		Post: ownmail.Post{Hostname: "mail.acmecorp.com", Keys: seal.NewKeys([]byte(strings.Repeat("k", 32))), Delimiters: "+"},
		From: "postmaster@acmecorp.com", Contact: "helpdesk@acmecorp.com",
		Summary: []string{"postmaster@acmecorp.com"},
		At:      []time.Duration{7 * time.Hour}, Zone: berlin(t), Keep: 30 * 24 * time.Hour, Log: slog.New(slog.DiscardHandler),
	}
}

// heldFor makes an entry for alice that came some hours before reportTime.
func heldFor(id string, hours int, from, sender, subject, check, found string) Entry {
	return Entry{
		ID: id, State: Held,
		Item: Item{Time: reportTime.Add(-time.Duration(hours) * time.Hour), Point: verdict.S0, From: from, Sender: sender, Subject: subject, Size: int64(hours) * 5000},
		Recipient: Recipient{Address: "Alice@acmecorp.com", Owner: "alice@acmecorp.com",
			Checks: []string{check}, Found: []string{found}, Report: true},
	}
}

func ordinary() []Entry {
	return []Entry{
		heldFor("k7m2qx4tzb", 1, "=?utf-8?q?J=C3=B6rg_M=C3=BCller?= <joerg@partner.example>", "joerg@partner.example", "=?utf-8?q?Angebot_f=C3=BCr_das_neue_B=C3=BCro?=", "spam", ""),
		heldFor("p3w9dy6cna", 3, `"Big Deals" <deals@shop.example>`, "bounce-17a3@mailer.shop.example", "Last chance: 70 % off everything, today only, for our best customers", "spam", ""),
		heldFor("a5h8vr2smq", 9, "Scanner <scan@acmecorp.com>", "scan@acmecorp.com", "Scan 0017", "malware", "executable (scan.pdf.exe)"),
		heldFor("z4g6tb9xwk", 20, "accounts@supplier.example", "accounts@supplier.example", "Invoice 4711", "virus", "Win.Trojan.Agent-1388727"),
	}
}

func hostile() []Entry {
	return []Entry{
		heldFor("b2c4d6f8h3", 1, "x\r\nBcc: victim@evil.example\r\n <a@evil.example>", "a@evil.example", "hello\r\nBcc: victim@evil.example\r\n\r\nContent-Type: text/html\r\n\r\n<h1>owned</h1>", "spam", ""),
		heldFor("c3d5f7g9j4", 2, `<script>alert(1)</script>"'><a href="https://evil.example/">press here</a>`, `"><img/src=x>@evil.example`, `</p></div><a href="https://evil.example/x">Release</a>{{.Contact}}`, "malware", `</bdi><b>x</b> (http://evil.example/a.exe)`),
		heldFor("d4f6g8h2k5", 3, "\u202Egro.knab@troppus\u202C <a@evil.example>", "", "invoice\u202Efdp.exe \u2066\u2067 see https://evil.example/login?x=1 or www.evil.example or write to help@evil.example", "spam", ""),
		heldFor("f5g7h9j3m6", 4, strings.Repeat("x", 300)+"@"+strings.Repeat("y", 60)+".example", strings.Repeat("x", 300)+"@"+strings.Repeat("y", 60)+".example", strings.Repeat("W", 100<<10), "virus", strings.Repeat("Virus", 100)),
		heldFor("g6h8j2k4n7", 5, "=?utf-8?b?2YXYsdit2KjYpyDZh9iw2Kcg2LnYsdi2?= <offer@souk.example>", "offer@souk.example", "=?utf-8?b?2YXYsdit2KjYpyDZh9iw2Kcg2LnYsdi2INiu2KfYtSDZhNmD?=", "spam", ""),
		heldFor("h7j9k3m5p8", 6, "", "", "", "virus", ""),
		heldFor("j8k2m4n6q9", 7, "Z "+strings.Repeat("a\u0301\u0302\u0303\u0304\u0305\u0306", 40), "z@evil.example", "----------------------------------------------------------------------\nID       k7m2qx4tzb", "spam", ""),
	}
}

// reportOf makes the mail that tells alice of some entries.
func reportOf(r *Reporter, entries []Entry) Mail {
	n := notice{owner: "alice@acmecorp.com", to: "alice@acmecorp.com"}
	for _, e := range entries {
		n.add(e)
	}
	return r.compose(&n)
}

// summaryOf makes the mail that tells an administrator of some entries.
func summaryOf(r *Reporter, entries []Entry) Mail {
	s := r.newSummary(reportTime.Add(-24 * time.Hour))
	for i := range entries {
		s.add(&entries[i])
	}
	m := s.mail(Usage{Bytes: 734003200, Free: 40 << 30})
	m.To = "postmaster@acmecorp.com"
	return m
}

func ofMany() []Entry {
	entries := ordinary()
	entries[3].Report, entries[3].Point = false, verdict.S1
	entries[1].State = Releasing
	for i := range 120 {
		e := heldFor(fmt.Sprintf("m%09d", i), 26+i, "bulk@shop.example", "bulk@shop.example", "Offer "+fmt.Sprint(i), "spam", "")
		e.Owner = fmt.Sprintf("user%02d@acmecorp.com", i%30)
		e.Address = e.Owner
		if i%4 == 0 {
			e.Checks, e.Found, e.Report = []string{"virus", "malware"}, []string{"Win.Test.EICAR_HDB-1", "executable"}, i%8 == 0
		}
		if i%5 == 0 {
			e.State = Released
		}
		entries = append(entries, e)
	}
	return entries
}

func TestReportsLookAsTheirGoldenFilesSay(t *testing.T) {
	t.Parallel()
	r := reporter(t)
	mixed := append(ordinary()[:2], hostile()...)
	for name, mail := range map[string]Mail{
		"ordinary":        reportOf(r, ordinary()),
		"one":             reportOf(r, ordinary()[2:3]),
		"virus":           reportOf(r, ordinary()[3:]),
		"hostile":         reportOf(r, mixed),
		"summary":         summaryOf(r, ofMany()),
		"summary-hostile": summaryOf(r, hostile()),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			text, err := mail.Text()
			if err != nil {
				t.Fatal(err)
			}
			html, err := mail.HTML()
			if err != nil {
				t.Fatal(err)
			}
			golden(t, "testdata/"+name+".txt", text)
			golden(t, "testdata/"+name+".html", html)
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
