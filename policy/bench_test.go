package policy_test

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"coexistd/policy"
	"coexistd/policy/route"
	"coexistd/policy/spoof"
	"coexistd/policy/verdict"
)

// BenchmarkDecide is the decision of the common message: from the Internet, to one
// recipient who lives there, by the checks that the configuration makes when it says
// nothing, none of which has anything against it.
func BenchmarkDecide(b *testing.B) {
	w := newWorld()
	var checks []policy.Check
	for _, row := range policy.Checks() {
		if row.Name != verdict.CheckAuth {
			checks = append(checks, policy.Check{Name: row.Name, OnHit: row.OnHit, OnError: row.OnError})
		}
	}
	w.at(verdict.S0, checks...)
	w.Spoof = spoof.Rules{DMARC: verdict.Reject, SPF: verdict.Tag}
	p := w.policy()
	client := netip.MustParseAddr(internetClient)
	m := policy.Message{
		Entry: p.Enter(policy.Arrival{Client: client}), Client: client, Sender: w.address(b, "jane@far.example"),
		Recipients: []route.Recipient{w.recipient(b, "alice@acmecorp.com")},
		Header: header(
			"Received: from mx.far.example (mx.far.example [203.0.113.9])\n\tby mail.acmecorp.com (Postfix) with ESMTPS id 4bXyZ1234;\n\tWed, 18 Jun 2025 10:12:13 +0200 (CEST)",
			"Received: from app.far.example by mx.far.example; Wed, 18 Jun 2025 10:12:12 +0200",
			"DKIM-Signature: v=1; a=rsa-sha256; c=relaxed/relaxed; d=far.example; s=s1;\n\th=from:to:subject:date; bh="+strings.Repeat("A", 44)+"; b="+strings.Repeat("B", 344),
			"Date: Wed, 18 Jun 2025 10:12:11 +0200",
			"From: Jane Doe <jane@far.example>",
			"To: Alice <alice@acmecorp.com>",
			"Message-Id: <20250618081211.1234@far.example>",
			"Subject: The minutes of Tuesday",
			"MIME-Version: 1.0",
			"Content-Type: text/plain; charset=utf-8",
			"X-Mailer: Mail 1.0",
		),
		ChangesFields: true,
	}
	authors := spoof.ReadAuthors(m.Header.Values)
	m.Authors = func() *spoof.Authors { return &authors }
	authentication := &spoof.Authentication{
		SPF:  spoof.SPF{Result: spoof.AuthPass, Domain: "far.example"},
		DKIM: []spoof.DKIM{{Result: spoof.AuthPass, Domain: "far.example", Selector: "s1"}},
		DMARC: []spoof.DMARC{{Domain: "far.example", At: "far.example", Lookup: spoof.AuthPass, Percent: 100,
			Policy: verdict.Reject, Subdomains: verdict.Reject, Nonexistent: verdict.Reject}},
	}
	findings := clean(verdict.CheckSpam, verdict.CheckVirus, verdict.CheckMalware)
	b.ReportAllocs()
	for b.Loop() {
		open := p.Open(m)
		if asks := open.Asks(); !asks.Authentication || len(asks.Scans) != len(findings) {
			b.Fatalf("it asks for %+v", asks)
		}
		open.Authentication, open.Findings = authentication, findings
		if d := open.Decide(); d.Verdict != verdict.Accept || len(d.Edits) != 4 {
			b.Fatalf("the decision is %+v", d)
		}
	}
}

// BenchmarkFiftyRoutes is what 50 rules add for a message that none of them takes.
func BenchmarkFiftyRoutes(b *testing.B) {
	w := newWorld()
	for i := range 50 {
		criteria := route.Criteria{Recipients: []string{"@far.example", fmt.Sprintf("user%d@acmecorp.com", i)}}
		switch i % 3 {
		case 0:
			criteria.Senders = []string{".far.example", "@partner.example"}
		case 1:
			criteria.Header = route.Field{Name: "X-Class", Text: "secret"}
		}
		w.Routes.Rules = append(w.Routes.Rules, route.Rule{Name: "it", To: route.Goal{Here: true}, For: criteria})
	}
	to := w.recipient(b, "alice@acmecorp.com")
	facts := route.Facts{From: route.Origin{Point: verdict.S0}, Sender: w.address(b, "jane@mail.far.example"), Header: header("Subject: x", "X-Mailer: y")}
	found := w.Routes.Find(facts.From, facts.Sender, &to)
	b.ReportAllocs()
	for b.Loop() {
		if got := w.Routes.Taking(&facts).Take(found, &to); got.Rule != "" {
			b.Fatal(got)
		}
	}
}
