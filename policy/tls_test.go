package policy_test

import (
	"net/netip"
	"strings"
	"testing"

	"coexistd/policy"
	"coexistd/policy/networks"
	"coexistd/policy/route"
	"coexistd/policy/spoof"
	"coexistd/policy/verdict"
)

// demanding is a world that makes the check tls, by demands.
func demanding(demands ...policy.TLS) *world {
	w := newWorld()
	w.TLS = demands
	for _, point := range []verdict.Checkpoint{verdict.S0, verdict.S1, verdict.S2} {
		w.Points[point].Checks = []policy.Check{{Name: verdict.CheckTLS, OnHit: verdict.Reject, OnError: verdict.Tempfail}}
	}
	return w
}

var (
	theBank     = policy.TLS{Name: "the bank", Domains: []string{"bank.example", ".bank.example"}, In: policy.Verify, Version: 12, Names: []string{"mx.bank.example", ".out.bank.example"}}
	theNetwork  = policy.TLS{Name: "the network", Clients: networks.SetOf(netip.MustParsePrefix("203.0.113.0/24")), In: policy.Encrypt, Version: 13}
	thePlatform = policy.TLS{Name: "the platform", Platform: "office365", In: policy.Encrypt, Version: 12}
	onlyOut     = policy.TLS{Name: "out", Domains: []string{"bank.example"}, Out: policy.Secure, Version: 12}
)

func TestAClientThatDoesNotMeetADemandIsRefusedBeforeItsMessageComes(t *testing.T) {
	t.Parallel()
	const another = "198.51.100.7"
	for about, c := range map[string]struct {
		demands []policy.TLS
		message message
		want    string // empty: it goes on
	}{
		"nothing is demanded":            {nil, message{client: internetClient, from: "eve@bank.example"}, ""},
		"of servers alone":               {[]policy.TLS{onlyOut}, message{client: internetClient, from: "eve@bank.example"}, ""},
		"of another domain":              {[]policy.TLS{theBank}, message{client: another, from: "eve@example.net"}, ""},
		"of the null sender":             {[]policy.TLS{theBank}, message{client: another}, ""},
		"in the clear":                   {[]policy.TLS{theBank}, message{client: another, from: "eve@bank.example"}, "530 5.7.0"},
		"below the domain, in the clear": {[]policy.TLS{theBank}, message{client: another, from: "eve@eu.Bank.example"}, "530 5.7.0"},
		"a name that ends alike":         {[]policy.TLS{theBank}, message{client: another, from: "eve@mybank.example"}, ""},
		"an old version":                 {[]policy.TLS{theBank}, message{client: another, from: "eve@bank.example", tls: "TLSv1.1", certificate: "mx.bank.example"}, "550 5.7.10"},
		"a version that nobody knows":    {[]policy.TLS{theBank}, message{client: another, from: "eve@bank.example", tls: "SSLv3", certificate: "mx.bank.example"}, "550 5.7.10"},
		"no certificate":                 {[]policy.TLS{theBank}, message{client: another, from: "eve@bank.example", tls: "TLSv1.3"}, "550 5.7.10"},
		"another's certificate":          {[]policy.TLS{theBank}, message{client: another, from: "eve@bank.example", tls: "TLSv1.3", certificate: "mx.example.net"}, "550 5.7.10"},
		"the name that is above":         {[]policy.TLS{theBank}, message{client: another, from: "eve@bank.example", tls: "TLSv1.3", certificate: "out.bank.example"}, "550 5.7.10"},
		"its certificate":                {[]policy.TLS{theBank}, message{client: another, from: "eve@bank.example", tls: "TLSv1.3", certificate: "MX.Bank.example"}, ""},
		"a certificate below":            {[]policy.TLS{theBank}, message{client: another, from: "eve@bank.example", tls: "TLSv1.2", certificate: "a.out.bank.example"}, ""},
		"a network":                      {[]policy.TLS{theNetwork}, message{client: internetClient, from: "eve@example.net", tls: "TLSv1.2"}, "550 5.7.10"},
		"a network, without a sender":    {[]policy.TLS{theNetwork}, message{client: internetClient}, "530 5.7.0"},
		"a network, as demanded":         {[]policy.TLS{theNetwork}, message{client: internetClient, from: "eve@example.net", tls: "TLSv1.3"}, ""},
		"another network":                {[]policy.TLS{theNetwork}, message{client: another, from: "eve@example.net"}, ""},
		"a platform":                     {[]policy.TLS{thePlatform}, message{client: officeClient, from: "alice@acmecorp.com", proven: true}, "530 5.7.0"},
		"a platform, as demanded":        {[]policy.TLS{thePlatform}, message{client: officeClient, from: "alice@acmecorp.com", proven: true, tls: "TLSv1.2"}, ""},
		"another platform":               {[]policy.TLS{thePlatform}, message{client: googleClient, from: "gina@acmecorp.com", proven: true}, ""},
		"each must be met":               {[]policy.TLS{theNetwork, theBank}, message{client: internetClient, from: "eve@bank.example", tls: "TLSv1.3"}, "550 5.7.10"},
		"a user of ours":                 {[]policy.TLS{{Name: "ours", Domains: []string{"acmecorp.com"}, In: policy.Encrypt}}, message{client: ourClient, from: "bob@acmecorp.com"}, "530 5.7.0"},
		"the MTA's own host, by SMTP":    {[]policy.TLS{theBank}, message{client: "127.0.0.1", from: "eve@bank.example"}, ""},
		"the same by IPv6":               {[]policy.TLS{theBank}, message{client: "::1", from: "eve@bank.example"}, ""},
		"the same, where it is named":    {[]policy.TLS{{Name: "itself", Clients: networks.SetOf(netip.MustParsePrefix("127.0.0.0/8")), In: policy.Encrypt}}, message{client: "127.0.0.1", from: "eve@bank.example"}, "530 5.7.0"},
		"this host":                      {[]policy.TLS{{Name: "ours", Domains: []string{"acmecorp.com"}, In: policy.Encrypt}}, message{onHost: true, from: "bob@acmecorp.com"}, ""},
	} {
		c.message.to = []string{"bob@acmecorp.com"}
		got := demanding(c.demands...).send(t, c.message)
		ruling, refused := got.refused["bob@acmecorp.com"]
		switch {
		case c.want == "" && (refused || got.Verdict != verdict.Accept):
			t.Errorf("%s: it is refused: %v, %v %v", about, ruling.Reasons, got.Verdict, got.Reasons)
		case c.want != "" && (!refused || ruling.Check != verdict.CheckTLS || !strings.HasPrefix(ruling.Reply.String(), c.want)):
			t.Errorf("%s: it is answered %q by %q (%v); right is %s", about, ruling.Reply, ruling.Check, ruling.Reasons, c.want)
		}
	}
}

func TestWhatIsNotRefusedForItsConnectionIsMarkedOrHeld(t *testing.T) {
	t.Parallel()
	m := message{client: "198.51.100.7", from: "eve@bank.example", to: []string{"bob@acmecorp.com", "alice@acmecorp.com"}, tls: "TLSv1.3"}
	for _, v := range []verdict.Verdict{verdict.Accept, verdict.Tag, verdict.Quarantine, verdict.Discard} {
		w := demanding(theBank)
		w.Points[verdict.S0].Checks[0].OnHit = v
		got := w.send(t, m)
		if len(got.refused) > 0 || got.Verdict != v {
			t.Errorf("with on_hit %v it is %v, and %v are refused", v, got.Verdict, got.refused)
		}
		if tags := strings.Join(inserted(got.Decision), "\n"); strings.Contains(tags, "X-Coexist-Tag: tls; the bank") != (v == verdict.Tag) {
			t.Errorf("with on_hit %v its tags are %s", v, tags)
		}
	}
	// A platform's mail may turn out to be S1 or S0: it is refused at RCPT where both would.
	w := demanding(thePlatform)
	w.Points[verdict.S1].Checks[0].OnHit = verdict.Tag
	platform := message{client: officeClient, from: "alice@acmecorp.com", to: []string{"bob@acmecorp.com"}, proven: true}
	if got := w.send(t, platform); len(got.refused) > 0 || got.Verdict != verdict.Tag {
		t.Errorf("proven, it is %v, and %v are refused", got.Verdict, got.refused)
	}
	if platform.proven = false; w.send(t, platform).Verdict != verdict.Reject {
		t.Error("without proof it goes on")
	}
}

func TestOfAConnectionToAnUpstreamNothingIsKnown(t *testing.T) {
	t.Parallel()
	w := demanding(theBank)
	w.Upstreams = map[string]policy.Upstream{"gate": {}}
	w.live["gate"] = networks.Known{Networks: networks.SetOf(netip.MustParsePrefix("192.0.2.0/24")), Upstream: true}
	m := message{client: "192.0.2.1", from: "eve@bank.example", to: []string{"bob@acmecorp.com"}, tls: "TLSv1.3", certificate: "mx.bank.example",
		fields: []string{"Received: from mx.bank.example (mx.bank.example [198.51.100.7]) by gate.example with ESMTPS; Mon, 1 Jan 2024 00:00:00 +0000"}}
	if got := w.send(t, m); got.Verdict != verdict.Tempfail || got.Check != verdict.CheckTLS {
		t.Errorf("it is %v by %q: %v", got.Verdict, got.Check, got.Reasons)
	}
	m.from = "eve@example.net"
	if got := w.send(t, m); got.Verdict != verdict.Accept {
		t.Errorf("of whom nothing is demanded, it is %v: %v", got.Verdict, got.Reasons)
	}
}

func TestServersAreDemandedWhatTheFirstDemandSays(t *testing.T) {
	t.Parallel()
	w := newWorld()
	w.Routes.Platforms = []*route.Platform{{Name: "office365", Relay: "[Relay.example]:25", TargetDomains: []string{"targets.example"}}}
	w.TLS = []policy.TLS{
		{Name: "in", Domains: []string{"bank.example"}, In: policy.Verify},
		{Name: "bank", Domains: []string{"bank.example", ".bank.example"}, Out: policy.Secure, Version: 12, Names: []string{"mx.bank.example", ".out.bank.example"}},
		{Name: "second", Domains: []string{"bank.example", "dane.example"}, Out: policy.DANEOnly, Version: 13, Names: []string{"x"}},
		{Name: "cloud", Platform: "office365", Out: policy.Encrypt, Version: 10},
	}
	for hop, want := range map[string]string{
		"bank.example":                 "secure match=mx.bank.example:.out.bank.example protocols=!SSLv2:!SSLv3:!TLSv1:!TLSv1.1",
		".bank.example":                "secure match=mx.bank.example:.out.bank.example protocols=!SSLv2:!SSLv3:!TLSv1:!TLSv1.1",
		"dane.example":                 "dane-only protocols=!SSLv2:!SSLv3:!TLSv1:!TLSv1.1:!TLSv1.2",
		"acmecorp-com.onmicrosoft.com": "encrypt protocols=!SSLv2:!SSLv3",
		"targets.example":              "encrypt protocols=!SSLv2:!SSLv3",
		"[relay.example]:25":           "encrypt protocols=!SSLv2:!SSLv3",
		"gapps.acmecorp.com":           "",
		"other.example":                "",
		"acmecorp.com":                 "",
	} {
		got := ""
		if demand := w.Demands(hop); demand != nil {
			got = demand.Policy()
		}
		if got != want {
			t.Errorf("of %s is demanded %q; right is %q", hop, got, want)
		}
	}
}

func TestAPartnerWhoIsProvenIsSparedAndOthersAreNot(t *testing.T) {
	t.Parallel()
	w := newWorld()
	w.Points[verdict.S0].Checks = []policy.Check{{Name: verdict.CheckSpam, OnHit: verdict.Reject}}
	w.Allow = []policy.Allowance{
		{Name: "certificate", Checks: []string{verdict.CheckSpam}, Certificates: []string{"mx.bank.example", ".out.bank.example"}},
		{Name: "signature", Checks: []string{verdict.CheckSpam}, Senders: []string{"@partner.example"}, DKIM: []string{"partner.example", ".partner.example"}},
		{Name: "another check", Checks: []string{verdict.CheckMalware}, DKIM: []string{"other.example"}},
	}
	if some, _ := w.NeedsContent(verdict.S0); !some {
		t.Error("no body would be read, and so no signature verified")
	}
	signed := func(domain string, result spoof.AuthResult) []spoof.DKIM {
		return []spoof.DKIM{{Domain: "list.example", Result: spoof.AuthPass}, {Domain: domain, Result: result}}
	}
	for about, c := range map[string]struct {
		from, certificate string
		signatures        []spoof.DKIM
		more              []string // header fields
		spared            bool
	}{
		"nothing":                      {from: "x@partner.example"},
		"the certificate":              {from: "x@else.example", certificate: "MX.bank.example", spared: true},
		"a certificate below":          {from: "x@else.example", certificate: "a.out.bank.example", spared: true},
		"another certificate":          {from: "x@else.example", certificate: "out.bank.example"},
		"the signature":                {from: "x@partner.example", signatures: signed("partner.example", spoof.AuthPass), spared: true},
		"a signature below":            {from: "x@partner.example", signatures: signed("eu.partner.example", spoof.AuthPass), spared: true},
		"a second author":              {from: "x@partner.example", signatures: signed("partner.example", spoof.AuthPass), more: []string{"From: boss@acmecorp.com"}},
		"a signature that fails":       {from: "x@partner.example", signatures: signed("partner.example", spoof.AuthFail)},
		"another's signature":          {from: "x@partner.example", signatures: signed("mypartner.example", spoof.AuthPass)},
		"another sender":               {from: "x@else.example", signatures: signed("partner.example", spoof.AuthPass)},
		"a check that is not made":     {from: "x@partner.example", signatures: signed("other.example", spoof.AuthPass)},
		"signed, where nobody says so": {from: "x@partner.example", signatures: nil},
	} {
		m := message{client: internetClient, from: c.from, to: []string{"bob@acmecorp.com"}, certificate: c.certificate, findings: []verdict.Finding{{Check: verdict.CheckSpam, State: verdict.Hit}}}
		if c.signatures != nil {
			m.fields = append([]string{"DKIM-Signature: v=1", "From: x@partner.example"}, c.more...)
			m.authentication = &spoof.Authentication{DKIM: c.signatures}
		}
		got := w.send(t, m)
		if spared := got.Verdict == verdict.Accept; spared != c.spared {
			t.Errorf("%s: it is spared: %v (%v)", about, spared, got.Reasons)
		}
	}
}
