package policy_test

import (
	"math"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"coexistd/policy"
	"coexistd/policy/networks"
	"coexistd/policy/verdict"
)

// The checks of the tests, with the actions that they usually have.
var (
	spam    = policy.Check{Name: verdict.CheckSpam, OnHit: verdict.Quarantine, OnError: verdict.Accept}
	virus   = policy.Check{Name: verdict.CheckVirus, OnHit: verdict.Reject, OnError: verdict.Tempfail}
	malware = policy.Check{Name: verdict.CheckMalware, OnHit: verdict.Quarantine, OnError: verdict.Quarantine}
)

// checking gives the world the usual checks of each point.
func (w *world) checking() *world {
	w.Points = policy.Points{
		verdict.S0: {Checks: []policy.Check{spam, virus, malware}, Report: true},
		verdict.S1: {Checks: []policy.Check{virus}},
		verdict.S2: {Checks: []policy.Check{virus}},
	}
	w.PastMX = policy.Point{Checks: []policy.Check{virus, malware}}
	return w
}

// at gives one point other checks.
func (w *world) at(point verdict.Checkpoint, checks ...policy.Check) *world {
	w.Points[point] = policy.Point{Checks: checks, Report: point == verdict.S0}
	return w
}

func clean(checks ...string) []verdict.Finding {
	var all []verdict.Finding
	for _, check := range checks {
		all = append(all, verdict.Passed(check))
	}
	return all
}

func hit(check, name string) verdict.Finding {
	return verdict.Finding{Check: check, State: verdict.Hit, Name: name, Reasons: verdict.Because(verdict.Why(verdict.Reported, "it is "+name))}
}

func unknown(check string) verdict.Finding {
	return verdict.Finding{Check: check, State: verdict.Unknown, Reasons: verdict.Because(verdict.Why(verdict.Reported, "nobody answers"))}
}

// found is clean for all checks but those of the findings.
func found(findings ...verdict.Finding) []verdict.Finding {
	return append(findings, clean(verdict.CheckSpam, verdict.CheckVirus, verdict.CheckMalware)...)
}

func TestEachPointAsksForItsChecks(t *testing.T) {
	out := func() *world { return newWorld().checking().at(verdict.S3, malware, virus).at(verdict.S4, spam) }
	past := func() *world { return newWorld().checking().withMX("office365") }
	bob, alice, far := []string{"bob@acmecorp.com"}, []string{"alice@acmecorp.com"}, []string{"x@far.example"}
	for _, c := range []struct {
		about string
		w     *world
		m     message
		want  string
	}{
		{"S0", newWorld().checking(), message{client: internetClient, to: bob}, "spam virus malware"},
		{"S0, to the other platform", newWorld().checking(), message{client: internetClient, to: alice}, "spam virus malware"},
		{"S0 past the MX", past(), message{client: internetClient, to: bob}, "virus malware"},
		{"S0 past the MX, and not", past(), message{client: internetClient, to: []string{"bob@acmecorp.com", "alice@eu.acmecorp.com"}}, "virus malware spam"},
		{"S1", newWorld().checking(), message{client: officeClient, proven: true, to: bob}, "virus"},
		{"S1 with the MX there", past(), message{client: officeClient, proven: true, to: bob}, "virus"},
		{"S1 unproven", newWorld().checking(), message{client: officeClient, to: bob}, "spam virus malware"},
		{"S2", newWorld().checking(), message{client: ourClient, to: bob}, "virus"},
		{"S2 on the host", newWorld().checking(), message{onHost: true, to: far}, "virus"},
		{"S2 with the MX there", past(), message{client: ourClient, to: bob}, "virus"},
		{"S3", out(), message{client: ourClient, to: far}, "virus malware"},
		{"S4", out(), message{client: ourClient, to: alice}, "virus spam"},
		{"S4, for both", out(), message{client: ourClient, to: []string{"carol@acmecorp.com"}}, "virus spam"},
		{"neither S3 nor S4", out(), message{client: ourClient, to: bob}, "virus"},
		{"S3 and S4", out(), message{client: ourClient, to: []string{"x@far.example", "alice@acmecorp.com"}}, "virus malware spam"},
		{"from S0 to S4", out(), message{client: internetClient, to: alice}, "spam virus malware"},
		{"nothing is checked", newWorld(), message{client: internetClient, to: bob}, ""},
	} {
		c.m.from, c.m.findings = stranger, found()
		got := c.w.send(t, c.m)
		want(t, c.about, strings.Join(got.Checks[1:], " "), c.want)
		want(t, c.about, got.Verdict.String(), "accept")
	}
}

func TestAllMailForTheInternetThroughAPlatformIsCheckedAtS4(t *testing.T) {
	w := newWorld().checking().at(verdict.S3, malware).at(verdict.S4, spam)
	w.Routes.Outbound = "office365"
	got := w.send(t, message{client: ourClient, from: "bob@acmecorp.com", to: []string{"x@far.example"}, findings: found()})
	want(t, "checks", strings.Join(got.Checks, " "), "loop virus spam")
}

func TestWhatIsRefusedAnywayAsksForNothing(t *testing.T) {
	w := newWorld().checking()
	for name, m := range map[string]message{
		"a loop":         {client: officeClient, proven: true, from: stranger, to: []string{"bob@acmecorp.com", "alice@acmecorp.com"}},
		"a bounce loop":  {client: officeClient, proven: true, from: "<>", to: []string{"alice@acmecorp.com"}},
		"a move on host": {onHost: true, from: "bob@acmecorp.com", to: []string{"bob@acmecorp.com", "dave@acmecorp.com"}},
	} {
		got := w.send(t, m)
		want(t, name, strings.Join(got.Checks, " "), "loop")
		if got.Verdict <= verdict.Quarantine {
			t.Errorf("%s: the verdict is %v", name, got.Verdict)
		}
	}
	m := policy.Message{Entry: fromOffice, Header: (&message{proven: true}).header()}
	for _, path := range []string{"alice@acmecorp.com", "bob@acmecorp.com"} {
		m.Recipients = append(m.Recipients, w.recipient(t, path))
	}
	want(t, "a looping bounce beside another recipient", strings.Join(w.open(m).Asks().Scans, " "), "virus")
}

func TestEveryFindingHasTheVerdictThatTheCheckSays(t *testing.T) {
	scored := func(state verdict.State, score float64) verdict.Finding {
		return verdict.Finding{Check: verdict.CheckSpam, State: state, Score: score, Scored: true}
	}
	proposed := func(v verdict.Verdict) verdict.Finding {
		f := hit(verdict.CheckSpam, "spam")
		f.Proposed = v
		return f
	}
	limits := []policy.Threshold{{At: 6, Verdict: verdict.Tag}, {At: 15, Verdict: verdict.Quarantine}, {At: 30, Verdict: verdict.Reject}}
	for _, c := range []struct {
		about          string
		onHit, onError verdict.Verdict
		limits         []policy.Threshold
		finding        verdict.Finding
		want           verdict.Verdict
	}{
		{"a hit that is marked only", verdict.Reject, verdict.Accept, nil, proposed(verdict.Tag), verdict.Tag},
		{"a hit that is marked only, and hits are let be", verdict.Accept, verdict.Reject, nil, proposed(verdict.Tag), verdict.Accept},
		{"a hit that is to come again", verdict.Quarantine, verdict.Accept, nil, proposed(verdict.Tempfail), verdict.Tempfail},
		{"a hit that is to come again, and hits are let be", verdict.Accept, verdict.Reject, limits, proposed(verdict.Tempfail), verdict.Accept},
		{"a clean score without limits", verdict.Reject, verdict.Reject, nil, scored(verdict.Clean, 100), verdict.Accept},
		{"a score below all limits", verdict.Reject, verdict.Reject, limits, scored(verdict.Hit, 5.99), verdict.Accept},
		{"a score at a limit", verdict.Reject, verdict.Reject, limits, scored(verdict.Clean, 6), verdict.Tag},
		{"a score between limits", verdict.Accept, verdict.Accept, limits, scored(verdict.Hit, 29.9), verdict.Quarantine},
		{"a score above all limits", verdict.Accept, verdict.Accept, limits, scored(verdict.Clean, 1e300), verdict.Reject},
		{"a score that is none", verdict.Reject, verdict.Reject, limits, scored(verdict.Clean, math.NaN()), verdict.Accept},
		{"unknown with a score", verdict.Reject, verdict.Tag, limits, scored(verdict.Unknown, 99), verdict.Tag},
		{"a hit without a score, in spite of limits", verdict.Discard, verdict.Accept, limits, hit(verdict.CheckSpam, "spam"), verdict.Discard},
	} {
		check := policy.Check{Name: verdict.CheckSpam, OnHit: c.onHit, OnError: c.onError, Thresholds: c.limits}
		got := newWorld().checking().at(verdict.S0, check).send(t, message{client: internetClient, from: stranger, to: []string{"bob@acmecorp.com"},
			findings: []verdict.Finding{c.finding}})
		want(t, c.about, got.Verdict.String(), c.want.String())
	}
	for action := verdict.Accept; action <= verdict.Reject; action++ {
		for _, c := range []struct {
			findings []verdict.Finding
			check    policy.Check
			want     verdict.Verdict
		}{
			{clean(verdict.CheckVirus), policy.Check{OnHit: action, OnError: action}, verdict.Accept},
			{found(hit(verdict.CheckVirus, "x")), policy.Check{OnHit: action}, action},
			{found(unknown(verdict.CheckVirus)), policy.Check{OnError: action}, action},
			{nil, policy.Check{OnError: action}, action}, // a check that was not made could not tell
		} {
			c.check.Name = verdict.CheckVirus
			got := newWorld().checking().at(verdict.S0, c.check).send(t, message{client: internetClient, from: stranger,
				to: []string{"alice@acmecorp.com"}, findings: c.findings})
			want(t, "verdict", got.Verdict.String(), c.want.String())
			want(t, "the recipient's", got.Recipients[0].Verdict.String(), c.want.String())
			if decided := got.Check == verdict.CheckVirus; decided != (c.want != verdict.Accept) {
				t.Errorf("%v: the check that decided is %q", c.want, got.Check)
			}
			if (got.Verdict <= verdict.Tag) != (added(got.Decision) != "") {
				t.Errorf("%v: added %q", c.want, added(got.Decision))
			}
			if refused := got.Verdict >= verdict.Tempfail; refused == got.Reply.IsZero() || refused == (len(got.Recipients[0].Ways) > 0) {
				t.Errorf("%v: the reply is %q and the flow %q", c.want, got.Reply, got.Recipients[0].Ways.String())
			}
		}
	}
}

func TestTheReplyOfARefusalSaysWhatItIsFor(t *testing.T) {
	refusing := func(name string) policy.Check {
		return policy.Check{Name: name, OnHit: verdict.Reject, OnError: verdict.Reject}
	}
	for _, c := range []struct {
		finding verdict.Finding
		check   policy.Check
		want    string
	}{
		{hit("virus", "Eicar-Test-Signature"), refusing("virus"), "554 5.7.1 Virus found: Eicar-Test-Signature"},
		{hit("virus", "a\r\nb\x00ü"), refusing("virus"), "554 5.7.1 Virus found: a??b??"},
		{hit("malware", "extension a.exe"), refusing("malware"), "554 5.7.1 Attachment refused: extension a.exe"},
		{hit("spam", "SECRET_RULE"), refusing("spam"), "550 5.7.1 The message is refused as spam"},
		{unknown("virus"), refusing("virus"), "554 5.3.0 The message cannot be checked"},
		{unknown("virus"), virus, "451 4.3.0 The message cannot be checked at the moment, try again later"},
		{hit("malware", "x"), policy.Check{Name: "malware", OnHit: verdict.Tempfail}, "451 4.7.1 The message is not taken at the moment, try again later"},
	} {
		got := newWorld().checking().at(verdict.S0, c.check).send(t, message{client: internetClient, from: stranger, to: []string{"bob@acmecorp.com"},
			findings: []verdict.Finding{c.finding}})
		want(t, c.finding.String(), got.Reply.String(), c.want)
		want(t, "the recipient's reply", got.Recipients[0].Reply.String(), got.Reply.String())
	}
	long := newWorld().checking().send(t, message{client: internetClient, from: stranger, to: []string{"bob@acmecorp.com"},
		findings: found(hit("virus", strings.Repeat("x", 10_000)))})
	if len(long.Reply.String()) > 400 {
		t.Errorf("the reply has %d bytes", len(long.Reply.String()))
	}
}

func TestTheStrictestOfSeveralFindingsDecides(t *testing.T) {
	bob := []string{"bob@acmecorp.com"}
	for _, c := range []struct {
		findings             []verdict.Finding
		verdict, check, held string
	}{
		{found(hit("spam", "s"), hit("virus", "v"), hit("malware", "m")), "reject", "virus", ""},
		{found(hit("spam", "s"), unknown("virus"), unknown("malware")), "tempfail", "virus", ""},
		{found(hit("spam", "s"), hit("malware", "m")), "quarantine", "spam", "spam malware"},
		{found(hit("malware", "m"), unknown("spam")), "quarantine", "malware", "malware"},
		{found(unknown("malware")), "quarantine", "malware", "malware"},
		{found(unknown("spam")), "accept", "", ""},
	} {
		got := newWorld().checking().send(t, message{client: internetClient, from: stranger, to: bob, findings: c.findings})
		want(t, "verdict", got.Verdict.String(), c.verdict)
		want(t, "check", got.Check, c.check)
		if got.Verdict == verdict.Quarantine {
			want(t, "held", strings.Join(got.Recipients[0].Held, " "), c.held)
			if !got.Recipients[0].Report {
				t.Error("the recipient is not told, though S0 reports")
			}
		}
	}
}

// diverse makes the recipients' verdicts differ: far mail is checked at S3, mail
// for the other platform at S4.
func diverse(s3, s4 verdict.Verdict) *world {
	return newWorld().checking().at(verdict.S2).
		at(verdict.S3, policy.Check{Name: verdict.CheckMalware, OnHit: s3}).
		at(verdict.S4, policy.Check{Name: verdict.CheckMalware, OnHit: s4})
}

func TestARecipientIsHeldOrDroppedAlone(t *testing.T) {
	to := []string{"bob@acmecorp.com", "alice@acmecorp.com", "x@far.example"}
	for _, c := range []struct {
		s3, s4                  verdict.Verdict
		verdict, deleted, added string
	}{
		{verdict.Accept, verdict.Quarantine, "accept", "alice@acmecorp.com", ""},
		{verdict.Quarantine, verdict.Accept, "accept", "alice@acmecorp.com x@far.example", "alice@acmecorp-com.onmicrosoft.com"},
		{verdict.Quarantine, verdict.Discard, "accept", "alice@acmecorp.com x@far.example", ""},
		{verdict.Tag, verdict.Quarantine, "tag", "alice@acmecorp.com", ""},
		{verdict.Quarantine, verdict.Tempfail, "tempfail", "", ""},
		{verdict.Reject, verdict.Quarantine, "reject", "", ""},
	} {
		got := diverse(c.s3, c.s4).send(t, message{client: ourClient, from: "bob@acmecorp.com", to: to, findings: found(hit("malware", "m"))})
		want(t, "verdict", got.Verdict.String(), c.verdict)
		want(t, "deleted", deleted(got.Decision), c.deleted)
		want(t, "added", added(got.Decision), c.added)
		want(t, "for bob", got.Recipients[0].Verdict.String(), "accept")
		want(t, "for alice", got.Recipients[1].Verdict.String(), c.s4.String())
		want(t, "for the far one", got.Recipients[2].Verdict.String(), c.s3.String())
	}
}

func TestAMessageHeldForAllIsHeldWhole(t *testing.T) {
	for _, c := range []struct {
		s3, s4  verdict.Verdict
		verdict string
	}{
		{verdict.Quarantine, verdict.Quarantine, "quarantine"},
		{verdict.Quarantine, verdict.Discard, "quarantine"}, // what is held for one is not dropped with the other
		{verdict.Discard, verdict.Quarantine, "quarantine"},
		{verdict.Discard, verdict.Discard, "discard"},
	} {
		got := diverse(c.s3, c.s4).send(t, message{client: ourClient, from: "bob@acmecorp.com", to: []string{"alice@acmecorp.com", "x@far.example"},
			findings: found(hit("malware", "m"))})
		want(t, "verdict", got.Verdict.String(), c.verdict)
		want(t, "check", got.Check, verdict.CheckMalware)
		want(t, "reason", got.Reasons.String(), "malware: it is m")
		want(t, "deleted", deleted(got.Decision), "")
	}
}

func TestARecipientHeldHereIsStillAddedForAnother(t *testing.T) {
	// Both names lead to one mailbox there; only the first is held.
	w := newWorld().checking()
	w.Allow = []policy.Allowance{{Name: "lab", Checks: []string{"spam"}, Recipients: []string{"alice+lab@acmecorp.com"}}}
	got := w.send(t, message{client: internetClient, from: stranger, to: []string{"alice@acmecorp.com", "alice+lab@acmecorp.com"}, findings: found(hit("spam", "s"))})
	want(t, "deleted", deleted(got.Decision), "alice@acmecorp.com alice+lab@acmecorp.com")
	want(t, "added", added(got.Decision), "alice+lab@acmecorp-com.onmicrosoft.com")
}

func TestPastTheMXSpamIsNotAsked(t *testing.T) {
	w := newWorld().checking().withMX("office365")
	got := w.send(t, message{client: internetClient, from: stranger, to: []string{"bob@acmecorp.com"}, findings: found(hit("spam", "s"))})
	want(t, "spam", got.Verdict.String(), "accept")
	got = w.send(t, message{client: internetClient, from: stranger, to: []string{"bob@acmecorp.com"}, findings: found(hit("malware", "m"))})
	want(t, "malware", got.Verdict.String(), "quarantine")
	if got.Recipients[0].Report {
		t.Error("the recipient is told, though nobody is past the MX")
	}
}

func TestAllowancesSpareWhatMeetsAllTheirConditions(t *testing.T) {
	network := networks.SetOf(netip.MustParsePrefix("203.0.113.0/24"))
	for _, c := range []struct {
		about  string
		allow  policy.Allowance
		from   string
		spared bool
	}{
		{"the client", policy.Allowance{Clients: network}, stranger, true},
		{"another client", policy.Allowance{Clients: networks.SetOf(netip.MustParsePrefix("192.0.2.0/24"))}, stranger, false},
		{"the sender", policy.Allowance{Senders: []string{"news@partner.example"}}, "News@Partner.Example", true},
		{"the sender's owner", policy.Allowance{Senders: []string{"news@partner.example"}}, "news+17@partner.example", true},
		{"the owner, when a tag is listed", policy.Allowance{Senders: []string{"news+17@partner.example"}}, "news@partner.example", false},
		{"the sender's domain", policy.Allowance{Senders: []string{"@partner.example"}}, "anybody@partner.example", true},
		{"a subdomain", policy.Allowance{Senders: []string{"@partner.example"}}, "anybody@sub.partner.example", false},
		{"a domain that ends alike", policy.Allowance{Senders: []string{"@partner.example"}}, "anybody@notpartner.example", false},
		{"a sender with the domain in his name", policy.Allowance{Senders: []string{"@partner.example"}}, `"x@partner.example"@elsewhere.example`, false},
		{"the null sender", policy.Allowance{Senders: []string{"@", "", "@partner.example"}}, "<>", false},
		{"the recipient", policy.Allowance{Recipients: []string{"bob@acmecorp.com"}}, stranger, true},
		{"the recipient's domain", policy.Allowance{Recipients: []string{"@acmecorp.com"}}, "<>", true},
		{"another recipient", policy.Allowance{Recipients: []string{"alice@acmecorp.com"}}, stranger, false},
		{"all of three", policy.Allowance{Clients: network, Senders: []string{"@partner.example"}, Recipients: []string{"@acmecorp.com"}}, "a@partner.example", true},
		{"two of three", policy.Allowance{Clients: network, Senders: []string{"@partner.example"}, Recipients: []string{"@acme.net"}}, "a@partner.example", false},
	} {
		w := newWorld().checking()
		c.allow.Name, c.allow.Checks = "the partner", []string{verdict.CheckSpam}
		w.Allow = []policy.Allowance{c.allow}
		m := message{client: internetClient, from: c.from, to: []string{"Bob+x@acmecorp.com"}, findings: found(hit("spam", "s"))}
		got := w.send(t, m)
		want(t, c.about, got.Verdict.String(), map[bool]string{true: "accept", false: "quarantine"}[c.spared])
		for _, reason := range []string{got.Reasons.String(), got.Recipients[0].Reasons.String()} {
			if n := strings.Count(reason, `spam is passed by: "the partner" allows it`); n != map[bool]int{true: 1}[c.spared] {
				t.Errorf("%s: the reason is %q", c.about, reason)
			}
		}
		if asked := slices.Contains(got.Checks, verdict.CheckSpam); asked == c.spared {
			t.Errorf("%s: the checks are %q", c.about, got.Checks)
		}
		m.findings = found(hit("virus", "v"))
		want(t, c.about+", with a virus", w.send(t, m).Verdict.String(), "reject")
	}
}

func TestTheClientOfMailWithoutAddressMeetsNoNetwork(t *testing.T) {
	w := newWorld().checking()
	w.Allow = []policy.Allowance{{Name: "n", Checks: []string{"spam"}, Clients: networks.SetOf(netip.MustParsePrefix("::/1"))}}
	got := w.send(t, message{from: stranger, to: []string{"bob@acmecorp.com"}, findings: found(hit("spam", "s"))})
	want(t, "verdict", got.Verdict.String(), "quarantine")
}

func TestWhatMalwareIsSparedIsSparedNothingElse(t *testing.T) {
	w := newWorld().checking()
	w.Allow = []policy.Allowance{{Name: "n", Checks: []string{"malware"}, Recipients: []string{"bob@acmecorp.com"}}}
	m := message{client: internetClient, from: stranger, to: []string{"bob@acmecorp.com", "alice@acmecorp.com"}, findings: found(hit("malware", "m"))}
	got := w.send(t, m)
	want(t, "deleted", deleted(got.Decision), "alice@acmecorp.com")
	want(t, "for bob", got.Recipients[0].Verdict.String(), "accept")
	want(t, "for alice", got.Recipients[1].Verdict.String(), "quarantine")
	want(t, "checks", strings.Join(got.Checks, " "), "loop spam virus malware")
	m.findings = found(hit("spam", "s"))
	want(t, "spam", w.send(t, m).Verdict.String(), "quarantine")
}

func TestTheHeadersOfTagsAreBoundedAndPrintable(t *testing.T) {
	tagging := func(name string) policy.Check {
		return policy.Check{Name: name, OnHit: verdict.Tag, OnError: verdict.Tag}
	}
	scored := hit("spam", "GTUBE")
	scored.Score, scored.Scored = 15, true
	huge := hit("virus", strings.Repeat("é\r\nX-Evil: 1", 1000))
	huge.Score, huge.Scored = -math.MaxFloat64, true
	for _, c := range []struct {
		findings []verdict.Finding
		want     []string
	}{
		{found(), nil},
		{found(scored), []string{"X-Coexist-Tag: spam; GTUBE 15.00", "X-Spam-Flag: YES"}},
		{found(unknown("spam"), hit("malware", "extension a.exe")), []string{
			"X-Coexist-Tag: spam; unknown", "X-Coexist-Tag: malware; extension a.exe"}},
		{found(huge), nil},
	} {
		got := newWorld().checking().at(verdict.S0, tagging("spam"), tagging("virus"), tagging("malware")).
			send(t, message{client: internetClient, from: stranger, to: []string{"bob@acmecorp.com", "alice@acmecorp.com"}, findings: c.findings})
		if c.want != nil && !slices.Equal(inserted(got.Decision), c.want) {
			t.Errorf("the headers are %q", inserted(got.Decision))
		}
		if tagged := got.Verdict == verdict.Tag; tagged != (len(inserted(got.Decision)) > 0) {
			t.Errorf("the verdict is %v and the headers are %q", got.Verdict, inserted(got.Decision))
		}
		for _, field := range inserted(got.Decision) {
			// RFC 5322 section 2.1.1.
			if len(field) > 900 || strings.ContainsFunc(field, func(c rune) bool { return c < ' ' || c > '~' }) {
				t.Errorf("the header is %q", field)
			}
		}
	}
}

func TestOnlyDeliveredRecipientsTag(t *testing.T) {
	w := diverse(verdict.Quarantine, verdict.Accept)
	w.at(verdict.S2, policy.Check{Name: verdict.CheckSpam, OnHit: verdict.Tag})
	m := message{client: ourClient, from: stranger, to: []string{"x@far.example"}, findings: found(hit("spam", "s"), hit("malware", "m"))}
	got := w.send(t, m)
	want(t, "verdict", got.Verdict.String(), "quarantine")
	if len(inserted(got.Decision)) > 0 {
		t.Errorf("a message that is held gets the headers %q", inserted(got.Decision))
	}
	m.to = append(m.to, "bob@acmecorp.com")
	got = w.send(t, m)
	want(t, "with one who gets it", got.Verdict.String(), "tag")
	if len(inserted(got.Decision)) != 2 {
		t.Errorf("the headers are %q", inserted(got.Decision))
	}
	w.at(verdict.S2).at(verdict.S3, malware, policy.Check{Name: verdict.CheckSpam, OnHit: verdict.Tag})
	got = w.send(t, m)
	want(t, "tagged for him alone who does not get it", got.Verdict.String(), "accept")
	if len(inserted(got.Decision)) > 0 {
		t.Errorf("the headers are %q", inserted(got.Decision))
	}
}

func TestContentIsReadOnlyWhereACheckReadsIt(t *testing.T) {
	none := policy.Check{Name: "rate"}
	everywhere := func(w *world) *world {
		for _, d := range w.Routes.Domains {
			d.Alternates = map[string]string{"google": "g." + d.Name, "office365": "o." + d.Name}
		}
		return w
	}
	unproven := newWorld()
	unproven.Tenants = nil
	for _, c := range []struct {
		about            string
		w                *world
		listener         verdict.Checkpoint
		wantSome, wantIt bool
	}{
		{"no checks", everywhere(newWorld()), verdict.Undecided, false, false},
		{"no checks, and a domain that has no mailboxes at a platform", newWorld(), verdict.Undecided, true, false},
		{"no checks, where no platform can prove its tenant", unproven, verdict.S1, false, false},
		{"a check that reads nothing", newWorld().checking().at(verdict.S0, none).at(verdict.S1, none).at(verdict.S2, none), verdict.S2, true, false}, // past the MX
		{"every point", newWorld().checking(), verdict.Undecided, true, true},
		{"every point, S0", newWorld().checking(), verdict.S0, true, true},
		{"not S1", newWorld().checking().at(verdict.S1), verdict.Undecided, true, false},
		{"not S1, at S0", newWorld().checking().at(verdict.S1), verdict.S0, true, true},
		{"not S1, at S1", newWorld().checking().at(verdict.S1), verdict.S1, true, false},
		{"not S2, at S0, where mail made on the host comes, too", newWorld().checking().at(verdict.S2), verdict.S0, true, false},
		{"not S2, at S2, where what is released comes", newWorld().checking().at(verdict.S2), verdict.S2, true, false},
		{"S2", newWorld().checking(), verdict.S2, true, true},
		{"S0 alone does not", newWorld().checking().at(verdict.S0), verdict.S0, true, false},
	} {
		some, all := c.w.NeedsContent(c.listener)
		if some != c.wantSome || all != c.wantIt {
			t.Errorf("%s: some %v, all %v", c.about, some, all)
		}
	}
	w := newWorld()
	w.Points = policy.Points{verdict.S3: {Checks: []policy.Check{virus}}}
	if some, all := w.NeedsContent(verdict.S0); !some || all {
		t.Errorf("S3 alone: some %v, all %v", some, all)
	}
}

func TestAFindingReadsAsALogHasIt(t *testing.T) {
	scored := verdict.Finding{Check: "spam", State: verdict.Hit, Name: "GTUBE", Score: 15, Scored: true, Detail: "GTUBE(15.00)"}
	for text, f := range map[string]verdict.Finding{
		"spam hit GTUBE 15.00 (GTUBE(15.00))": scored,
		"virus clean":                         verdict.Passed("virus"),
		"virus unknown: nobody answers":       unknown("virus"),
		"spam clean -1.50":                    {Check: "spam", State: verdict.Clean, Score: -1.5, Scored: true},
	} {
		want(t, "finding", f.String(), text)
	}
}
