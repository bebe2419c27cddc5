package policy_test

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"coexistd/policy"
	"coexistd/policy/networks"
	"coexistd/policy/spoof"
	"coexistd/policy/verdict"
)

// spoofing gives the world the check spoof. What it could not tell is accepted, so that a
// verdict of its own shows.
func (w *world) spoofing() *world {
	check := policy.Check{Name: verdict.CheckSpoof, OnHit: verdict.Reject, OnError: verdict.Accept}
	w.at(verdict.S0, check).at(verdict.S2, check)
	w.Spoof = spoof.Rules{DMARC: verdict.Reject, SPF: verdict.Tag}
	return w
}

// outcome is the verdict of a message for spoof and what it is about: "reject own
// domain", "accept", "tempfail unknown". It is "accept unasked" where the check is not made.
func outcome(t testing.TB, got result) string {
	t.Helper()
	i := slices.IndexFunc(got.Findings, func(f verdict.Finding) bool { return f.Check == verdict.CheckSpoof })
	if made := slices.Contains(got.Checks, verdict.CheckSpoof); made != (i >= 0) {
		t.Errorf("the checks are %q, and the findings %v", got.Checks, got.Findings)
	}
	switch {
	case i < 0:
		return got.Verdict.String() + " unasked"
	case got.Findings[i].State == verdict.Unknown:
		return got.Verdict.String() + " unknown"
	}
	return strings.TrimSpace(got.Verdict.String() + " " + got.Findings[i].Name)
}

// authentication is what SPF says of a domain, and signatures that pass.
func authentication(result spoof.AuthResult, domain string, signed ...string) *spoof.Authentication {
	a := &spoof.Authentication{SPF: spoof.SPF{Result: result, Domain: domain}}
	for _, domain := range signed {
		a.DKIM = append(a.DKIM, spoof.DKIM{Result: spoof.AuthPass, Domain: domain})
	}
	return a
}

func from(address string) []string { return []string{"From: " + address} }

// Whoever forges may choose a name whose servers do not answer.
func TestAFailureOfTheDNSThatAForgerChoosesLetsNothingIn(t *testing.T) {
	for _, c := range []struct {
		dmarc, onHit, onError verdict.Verdict
		want                  string
	}{
		{verdict.Reject, verdict.Reject, verdict.Accept, "tempfail unknown"},
		{verdict.Quarantine, verdict.Reject, verdict.Accept, "tempfail unknown"},
		{verdict.Tag, verdict.Reject, verdict.Accept, "accept"},
		{verdict.Accept, verdict.Reject, verdict.Accept, "accept"},
		{verdict.Reject, verdict.Quarantine, verdict.Accept, "quarantine unknown"},
		{verdict.Reject, verdict.Tag, verdict.Accept, "tag unknown"},
		{verdict.Reject, verdict.Accept, verdict.Accept, "accept unknown"},
		{verdict.Reject, verdict.Reject, verdict.Tag, "tempfail unknown"},
		{verdict.Reject, verdict.Reject, verdict.Quarantine, "tempfail unknown"},
		{verdict.Reject, verdict.Reject, verdict.Reject, "reject unknown"},
		{verdict.Reject, verdict.Quarantine, verdict.Tempfail, "tempfail unknown"},
	} {
		w := newWorld().spoofing()
		w.at(verdict.S0, policy.Check{Name: verdict.CheckSpoof, OnHit: c.onHit, OnError: c.onError})
		w.Spoof.DMARC = c.dmarc
		a := authentication(spoof.AuthFail, "bank.example")
		a.DKIM = []spoof.DKIM{{Result: spoof.AuthTempError, Domain: "lame.bank.example"}}
		a.DMARC = []spoof.DMARC{{Domain: "bank.example", At: "bank.example", Lookup: spoof.AuthPass, Policy: verdict.Reject, Percent: 100}}
		got := w.send(t, message{client: internetClient, from: "x@bank.example", to: []string{"bob@acmecorp.com"}, fields: from("x@bank.example"), authentication: a})
		want(t, fmt.Sprintf("dmarc %v, on_hit %v, on_error %v", c.dmarc, c.onHit, c.onError), outcome(t, got), c.want)
	}
}

func TestATagNamesEveryObjection(t *testing.T) {
	a := authentication(spoof.AuthFail, "evil.example")
	a.DMARC = []spoof.DMARC{{Domain: "evil.example"}}
	got := newWorld().spoofing().send(t, message{client: internetClient, from: "x@evil.example", to: []string{"bob@acmecorp.com"},
		fields: from(`"ceo@acmecorp.com" <x@evil.example>`), authentication: a})
	fields := inserted(got.Decision)
	if len(fields) != 2 || fields[0] != policy.TagHeader+": spoof; SPF, look-alike" || !strings.HasPrefix(fields[1], spoof.ResultsHeader) {
		t.Errorf("the headers are %q", fields)
	}
	for _, why := range []string{"the client may not send for evil.example", "names acmecorp.com, which is ours"} {
		if reason := got.Findings[0].Reasons.String(); !strings.Contains(reason, why) {
			t.Errorf("the reason %q lacks %q", reason, why)
		}
	}
}

func TestClientsWithoutALoginOwnWhatTheyName(t *testing.T) {
	for about, m := range map[string]message{"our networks": {client: ourClient}, "this host": {onHost: true}} {
		m.from, m.to, m.fields = "x@far.example", []string{"x@far.example"}, from("carol@acmecorp.com")
		want(t, about, outcome(t, newWorld().spoofing().send(t, m)), "accept")
	}
}

func TestTheProvenTenantMaySendInOurName(t *testing.T) {
	for about, m := range map[string]message{
		"ours":                               {from: "alice@acmecorp.com", fields: from("alice@acmecorp.com")},
		"what it passes on":                  {from: "x@far.example", fields: from("x@far.example")},
		"the display name trick, passed on":  {from: "x@far.example", fields: from("bob@acmecorp.com <x@far.example>")},
		"ours at its alternate domain":       {from: "alice@acmecorp-com.onmicrosoft.com", fields: from("alice@acmecorp-com.onmicrosoft.com")},
		"below one of ours":                  {from: "x@hr.acmecorp.com", fields: from("x@hr.acmecorp.com")},
		"ours beside a stranger that it has": {from: "", fields: from("x@far.example, alice@acme.net")},
	} {
		m.client, m.proven, m.to = officeClient, true, []string{"bob@acmecorp.com"}
		got := newWorld().spoofing().send(t, m)
		want(t, about, outcome(t, got), "accept unasked")
		want(t, about, got.Checkpoint.String(), "S1")
	}
}

// Exchange Online leaves its tenant's header out at times: mail of our own users without it
// comes again, and is told of meanwhile. What bears another proof is no mail of theirs.
func TestMailInOurNameFromAPlatformWithoutAnyProofIsPutOff(t *testing.T) {
	const (
		off     = "451 4.7.0 The message lacks the proof of its tenant, try again later"
		refused = "550 5.7.26 Neither SPF nor DKIM proves that the message is from acmecorp.com"
	)
	alice := from("alice@acmecorp.com")
	foreign := append(from("alice@acmecorp.com"), "X-MS-Exchange-CrossTenant-Id: "+anotherTenant)
	doubled := append(from("alice@acmecorp.com"), "X-MS-Exchange-CrossTenant-Id: "+ourTenant, "X-MS-Exchange-CrossTenant-Id: "+ourTenant)
	spf := authentication(spoof.AuthPass, "acmecorp.com") // of every tenant
	journal := append(from("x@far.example"), "Sender: <MicrosoftExchange329e71ec88ae4615bbc36ab6ce41109e@acmecorp-com.onmicrosoft.com>")
	const refuse = "550 5.7.26 The message fails the DMARC policy of far.example"
	refuses := authentication(spoof.AuthFail, "far.example")
	refuses.DMARC = []spoof.DMARC{{Domain: "far.example", Lookup: spoof.AuthPass, At: "far.example", Policy: verdict.Reject, Percent: 100}}
	for _, c := range []struct {
		about string
		m     message
		reply string
	}{
		{"in From", message{client: officeClient, from: "x@far.example", fields: alice, authentication: spf}, off},
		{"in the envelope", message{client: officeClient, from: "alice@acmecorp.com", fields: from("x@far.example"), authentication: spf}, off},
		{"in both", message{client: officeClient, from: "alice@acmecorp.com", fields: alice, authentication: spf}, off},
		{"from another platform", message{client: googleClient, from: "alice@acmecorp.com", fields: alice, authentication: spf}, off},
		{"with a foreign proof", message{client: officeClient, from: "alice@acmecorp.com", fields: foreign, authentication: spf}, refused},
		{"with a proof that is doubled", message{client: officeClient, from: "alice@acmecorp.com", fields: doubled, authentication: spf}, refused},
		{"from elsewhere", message{client: internetClient, from: "alice@acmecorp.com", fields: alice, authentication: authentication(spoof.AuthFail, "acmecorp.com")}, refused},
		{"signed", message{client: officeClient, from: "alice@acmecorp.com", fields: alice, authentication: authentication(spoof.AuthPass, "acmecorp.com", "acmecorp.com")}, ""},
		// A journal report, and what one of our users passes on.
		{"for a stranger whose policy it fails, in Sender", message{client: officeClient, fields: journal, authentication: refuses}, off},
		{"for a stranger whose policy it fails, in the envelope", message{client: officeClient, from: "alice@acmecorp.com", fields: from("x@far.example"), authentication: refuses}, off},
		{"for a stranger whose policy it fails, by another tenant", message{client: officeClient, fields: append(journal[:2:2], foreign[1:]...), authentication: refuses}, refuse},
		{"for a stranger whose policy it fails, from elsewhere", message{client: internetClient, fields: journal, authentication: refuses}, refuse},
		{"for a stranger whose policy it fails", message{client: officeClient, fields: from("x@far.example"), authentication: refuses}, refuse},
		{"for a stranger without a policy, in Sender", message{client: officeClient, fields: journal, authentication: authentication(spoof.AuthNone, "")}, ""},
		{"in a stranger's name", message{client: officeClient, from: "x@far.example", fields: from("x@far.example"), authentication: authentication(spoof.AuthPass, "far.example")}, ""},
	} {
		w := newWorld().spoofing()
		w.Spoof.DMARC = verdict.Reject
		c.m.to = []string{"bob@acmecorp.com"}
		got := w.send(t, c.m)
		want(t, c.about, got.Reply.String(), c.reply)
		want(t, c.about, got.Checkpoint.String(), "S0")
		if told := got.Reasons.HasCode(verdict.TenantNotProven); told != (c.reply == off) {
			t.Errorf("%s: the reason is %q", c.about, got.Reasons)
		}
	}
	got := newWorld().spoofing().send(t, message{client: officeClient, from: "x@far.example", to: []string{"bob@acmecorp.com"}, fields: alice, authentication: spf})
	want(t, "the reason", got.Reasons.String(),
		"spoof: the From field names acmecorp.com, which is ours, and the message from office365 bears no proof of any tenant")
}

// past_mx refuses whom the MX over there would have taken. Our own users' mail from there
// may have lost its proof, so it comes again.
func TestMailInOurNameThatComesPastTheMXWithoutAnyProofIsPutOff(t *testing.T) {
	const (
		off  = "451 4.7.0 The message lacks the proof of its tenant, try again later"
		past = "550 5.7.1 Mail for this domain is taken by its MX only"
	)
	w := newWorld().spoofing().withMX("office365")
	w.domain().RefusePastMX = true
	foreign := append(from("alice@acmecorp.com"), "X-MS-Exchange-CrossTenant-Id: "+anotherTenant)
	for _, c := range []struct {
		about string
		m     message
		reply string
	}{
		{"in From", message{client: officeClient, from: "x@far.example", fields: from("alice@acmecorp.com")}, off},
		{"the null sender", message{client: officeClient, fields: from("alice@acmecorp.com")}, off},
		{"in the envelope", message{client: officeClient, from: "alice@acmecorp.com", fields: from("x@far.example")}, off},
		{"from another platform", message{client: googleClient, from: "gina@acmecorp.com", fields: from("gina@acmecorp.com")}, off},
		{"proven", message{client: officeClient, proven: true, from: "alice@acmecorp.com", fields: from("alice@acmecorp.com")}, ""},
		{"in Sender", message{client: officeClient, fields: append(from("x@far.example"), "Sender: x@acmecorp-com.onmicrosoft.com")}, off},
		{"another tenant's", message{client: officeClient, from: "alice@acmecorp.com", fields: foreign}, past},
		{"a stranger's", message{client: officeClient, from: "x@far.example", fields: from("x@far.example")}, past},
	} {
		c.m.to = []string{"bob@acmecorp.com"}
		want(t, c.about, w.send(t, c.m).Reply.String(), c.reply)
	}
}

// The addresses of a platform are those of all its tenants, so nobody is told apart by them.
func TestWhatGoesByAPlatformsAddressesLendsAnotherTenantNothing(t *testing.T) {
	const (
		own     = "550 5.7.26 Neither SPF nor DKIM proves that the message is from acmecorp.com"
		dmarc   = "550 5.7.26 The message fails the DMARC policy of far.example"
		off     = "451 4.7.0 The message lacks the proof of its tenant, try again later"
		partner = "x@far.example"
	)
	office := networks.SetOf(netip.MustParsePrefix("40.92.0.0/15"))
	fails := authentication(spoof.AuthFail, "far.example")
	fails.DMARC = []spoof.DMARC{{Domain: "far.example", Lookup: spoof.AuthPass, At: "far.example", Policy: verdict.Reject, Percent: 100}}
	byClient := policy.Allowance{Name: "journal", Checks: []string{"spoof"}, Clients: office, Recipients: []string{"bob@acmecorp.com"}}
	bySender := policy.Allowance{Name: "partner", Checks: []string{"spoof"}, Clients: office, Senders: []string{"@far.example"}}
	byRecipient := policy.Allowance{Name: "abuse", Checks: []string{"spoof"}, Recipients: []string{"bob@acmecorp.com"}}
	service := policy.Allowance{Name: "none", Checks: []string{"spam"}, Clients: office}
	foreign, doubled := []string{"X-MS-Exchange-CrossTenant-Id: " + anotherTenant}, []string{"X-MS-Exchange-CrossTenant-Id: " + ourTenant, "X-MS-Exchange-CrossTenant-Id: " + ourTenant}
	for _, c := range []struct {
		about  string
		allow  policy.Allowance
		client string
		author string
		proof  []string
		reply  string
	}{
		{"by the client, without any proof", byClient, officeClient, "alice@acmecorp.com", nil, ""},
		{"by the client, a stranger without any proof", byClient, officeClient, partner, nil, ""},
		{"by the client, another tenant in our name", byClient, officeClient, "alice@acmecorp.com", foreign, own},
		{"by the client, our tenant twice in our name", byClient, officeClient, "alice@acmecorp.com", doubled, own},
		{"by the client, another tenant in a stranger's name", byClient, officeClient, partner, foreign, dmarc},
		{"by client and sender, the partner's tenant", bySender, officeClient, partner, foreign, ""},
		{"by client and sender, in our name", bySender, officeClient, "alice@acmecorp.com", foreign, own},
		{"by the recipient, whoever it is from", byRecipient, officeClient, "alice@acmecorp.com", foreign, ""},
		{"a service's network, without any proof", service, officeClient, "alice@acmecorp.com", nil, off},
		{"a service's network, another tenant", service, officeClient, "alice@acmecorp.com", foreign, own},
		{"a service's network, at a platform without a proof", service, googleClient, "alice@acmecorp.com", nil, ""},
	} {
		w := newWorld().spoofing()
		w.Spoof.DMARC = verdict.Reject
		w.Allow = []policy.Allowance{c.allow}
		delete(w.Tenants, "google")
		if strings.HasPrefix(c.about, "a service") {
			w.Spoof.Services.Networks = office.With(netip.MustParsePrefix("209.85.128.0/17"))
		}
		got := w.send(t, message{client: c.client, from: partner, to: []string{"bob@acmecorp.com"},
			fields: append(from(c.author), c.proof...), authentication: fails})
		want(t, c.about, got.Reply.String(), c.reply)
	}
}

// To put off what is only marked or held otherwise would be worse than what is done with
// forged mail.
func TestMailWithoutAnyProofIsTreatedNoWorseThanForgedMail(t *testing.T) {
	for onHit, expected := range map[verdict.Verdict]string{
		verdict.Accept: "accept", verdict.Tag: "tag", verdict.Quarantine: "quarantine", verdict.Discard: "discard", verdict.Tempfail: "tempfail", verdict.Reject: "tempfail",
	} {
		w := newWorld().spoofing().at(verdict.S0, policy.Check{Name: verdict.CheckSpoof, OnHit: onHit, OnError: verdict.Accept})
		got := w.send(t, message{client: officeClient, from: "alice@acmecorp.com", to: []string{"bob@acmecorp.com"},
			fields: from("alice@acmecorp.com"), authentication: authentication(spoof.AuthPass, "acmecorp.com")})
		want(t, "on_hit "+onHit.String(), got.Verdict.String(), expected)
	}
}

// The proof says who sends, and not that they may send for a domain that has nothing there.
func TestTheTenantsProofDoesNotAnswerForADomainWithoutMailboxesThere(t *testing.T) {
	refused := func(domain string) string {
		return "550 5.7.26 Neither SPF nor DKIM proves that the message is from " + domain
	}
	const eu = "eu.acmecorp.com"
	allow := []policy.Allowance{{Name: "the scanner", Checks: []string{verdict.CheckSpoof}, Senders: []string{"@" + eu}}}
	spf := authentication(spoof.AuthPass, eu)
	for _, c := range []struct {
		about  string
		client string
		from   string
		author string
		a      *spoof.Authentication
		allow  []policy.Allowance
		reply  string
	}{
		{"in From", officeClient, "alice@acmecorp.com", "ceo@" + eu, spf, nil, refused(eu)},
		{"in the envelope", officeClient, "ceo@" + eu, "alice@acmecorp.com", spf, nil, refused(eu)},
		{"below it", officeClient, "", "ceo@hr." + eu, spf, nil, refused("hr." + eu)},
		{"a domain that is at the other platform alone", googleClient, "", "ceo@acme.net", authentication(spoof.AuthPass, "acme.net"), nil, refused("acme.net")},
		{"the same from its own", officeClient, "", "ceo@acme.net", nil, nil, ""},
		{"beside an author who is there", officeClient, "", "alice@acmecorp.com, ceo@" + eu, spf, nil, refused(eu)},
		{"in a field that cannot be read", officeClient, "", "<ceo@" + eu + "> <alice@acmecorp.com>", spf, nil, refused(eu)},
		{"signed by it", officeClient, "", "ceo@" + eu, authentication(spoof.AuthNone, "", eu), nil, ""},
		{"signed by another", officeClient, "", "ceo@" + eu, authentication(spoof.AuthNone, "", "far.example"), nil, refused(eu)},
		{"spared by [[allow]]", officeClient, "ceo@" + eu, "ceo@" + eu, spf, allow, ""},
		{"[[allow]] of another", officeClient, "", "ceo@" + eu, spf, allow, refused(eu)},
		{"while the DNS cannot be asked", officeClient, "", "ceo@" + eu, nil, nil, "451 4.3.0 The message cannot be checked at the moment, try again later"},
	} {
		for about, w := range map[string]*world{
			"no checks": newWorld(), "spoof elsewhere": newWorld().spoofing(), "another check": newWorld().at(verdict.S1, virus),
		} {
			w.Allow = c.allow
			got := w.send(t, message{client: c.client, proven: true, from: c.from, to: []string{"bob@acmecorp.com"},
				fields: from(c.author), authentication: c.a, findings: clean(verdict.CheckVirus)})
			want(t, c.about+", "+about, got.Reply.String(), c.reply)
			want(t, c.about+", "+about, got.Checkpoint.String(), "S1")
			if (c.reply == refused(eu)) != got.Reasons.HasCode(verdict.OwnDomainElsewhere) && !strings.Contains(c.reply, "hr.") && !strings.Contains(c.reply, "acme.net") {
				t.Errorf("%s: the reason is %q", c.about, got.Reasons)
			}
		}
	}
}

// A message of ours that was held at S1 and is released is not asked for its proof again.
func TestAMessageThatIsReleasedIsNotAskedForItsDomainAgain(t *testing.T) {
	w := newWorld().at(verdict.S1, virus)
	pass := released()
	pass.Point, pass.Platform = verdict.S1, "office365"
	m := message{client: ourClient, from: stranger, to: []string{"bob@acmecorp.com"}, fields: from("ceo@eu.acmecorp.com"), findings: clean(verdict.CheckVirus)}
	m.pass = w.keys.SignPass(pass, "bob@acmecorp.com", marksOf(m))
	got := w.send(t, m)
	want(t, "checks", strings.Join(got.Checks, " "), "loop virus")
	want(t, "verdict", got.Verdict.String(), "accept")
}

func TestNobodyProvesATenantFromElsewhere(t *testing.T) {
	got := newWorld().spoofing().send(t, message{client: internetClient, proven: true, from: "alice@acmecorp.com", to: []string{"bob@acmecorp.com"},
		fields: from("alice@acmecorp.com"), authentication: authentication(spoof.AuthFail, "acmecorp.com")})
	want(t, "the outcome", outcome(t, got), "reject own domain")
}

// Two tenants of one host share its networks.
func TestOfTwoPlatformsThatShareNetworksTheProofPicksOne(t *testing.T) {
	w := newWorld()
	w.live["google"] = w.live["office365"]
	w.Tenants["google"] = tenantOf(anotherTenant)
	entry := w.enter(policy.Arrival{Client: netip.MustParseAddr(officeClient)})
	want(t, "the candidates", strings.Join(entry.Candidates, " "), "google office365")
	want(t, "why", entry.Why.String(), "the client 40.92.1.2 is in the networks of google and office365")
	for _, c := range []struct{ value, point, platform, flow string }{
		{ourTenant, "S1", "office365", "O2=>O3=>S1=>S4=>G1=>LD"},
		{anotherTenant, "S1", "google", ""}, // gina lives there
		{"a third", "S0", "", "S0=>S4=>G1=>LD"},
	} {
		got := w.send(t, message{client: officeClient, from: stranger, to: []string{"gina@acmecorp.com"}, fields: []string{"X-MS-Exchange-CrossTenant-Id: " + c.value}})
		want(t, c.value, got.Checkpoint.String()+" "+got.Platform, c.point+" "+c.platform)
		want(t, c.value, got.Recipients[0].Ways.String(), c.flow)
	}
}
