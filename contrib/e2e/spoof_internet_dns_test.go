package e2e

import (
	"fmt"
	"sync"
	"testing"
	"time"

	"coexistd/contrib/lab"
)

// dnsFailures are the ways in which a server does not answer.
var dnsFailures = []string{lab.DNSServFail, lab.DNSRefused, lab.DNSSilent}

// failDNS makes names fail, each below a domain named for how: SPF of spf.HOW.example,
// DMARC of dmarc.HOW.example, the key HOW of key.HOW.example, SPF of
// HOW.acmecorp.com, and the keys of HOW.acmecorp.com and HOW.reject.example.
func (s *site) failDNS() {
	for _, how := range dnsFailures {
		spf, dmarc, key, ours := "spf."+how+".example", "dmarc."+how+".example", "key."+how+".example", how+".acmecorp.com"
		s.tellDNS(map[string]string{
			dmarc: usualSPF, key: usualSPF,
			"_dmarc." + spf: "v=DMARC1; p=reject", "_dmarc." + key: "v=DMARC1; p=reject",
		})
		s.publishKeys(spf, dmarc)
		for _, name := range []string{spf, "_dmarc." + dmarc, selectorDown + "._domainkey." + key, ours,
			selectorDown + "._domainkey." + ours, selectorDown + "._domainkey." + how + ".reject.example"} {
			s.DNS.Fail(name, how)
		}
	}
}

// whileFailing are messages of which the DNS keeps what it needs to be known, with
// what follows where that is what a stranger publishes. What our domains are named
// in is put off, and so is what only a name that its sender chose could prove.
func whileFailing(how, unknown string) []senderCase {
	spf, dmarc, key, ours := "x@spf."+how+".example", "x@dmarc."+how+".example", "x@key."+how+".example", "bob@"+how+".acmecorp.com"
	signer := func(address string) string { return address[2:] }
	return []senderCase{
		{how + ": SPF", spfPass, spf, spf, "", "tempfail unknown", ""},
		{how + ": SPF, signed", spfPass, spf, spf, signer(spf), "accept", "temperror/pass/pass"},
		{how + ": DMARC", spfFail, dmarc, dmarc, "", unknown, "fail/temperror/none"},
		{how + ": DMARC, but all pass", spfPass, dmarc, dmarc, signer(dmarc), "accept", "pass/temperror/pass"},
		{how + ": the key", spfFail, key, key, signer(key) + "/" + selectorDown, "tempfail unknown", ""},
		{how + ": the key, SPF passes", spfPass, key, key, signer(key) + "/" + selectorDown, "accept", "pass/pass/temperror"},
		{how + ": a key below the author's", spfFail, "x@esp.example", "x@reject.example", how + ".reject.example/" + selectorDown, "tempfail unknown", ""},
		{how + ": another's SPF", spfPass, spf, "x@reject.example", "", "reject DMARC", ""},
		{how + ": SPF of ours", spfPass, ours, ours, "", "tempfail unknown", ""},
		{how + ": SPF of ours in the envelope alone", spfPass, ours, "x@none.example", "", "tempfail unknown", ""},
		{how + ": the key of ours", spfPass, "x@esp.example", ours, how + ".acmecorp.com/" + selectorDown, "tempfail unknown", ""},
		{how + ": SPF of ours, signed", spfPass, ours, ours, "acmecorp.com", "accept", "temperror/none/pass"},
		{how + ": another's SPF, in our name", spfPass, spf, "bob@acmecorp.com", "", "reject own domain", ""},
	}
}

func TestWhatTheDNSDoesNotTellIsUnknownAndNeverForgery(t *testing.T) {
	t.Parallel()
	toml := func(onError string) string {
		return checkedTOML("", "", neverReport, fmt.Sprintf("[check.spoof]\non_error = %q\n", onError))
	}
	s := startInternet(t, lab.SiteConfig{TOML: toml("accept")})
	s.publishKeys("acmecorp.com")
	s.failDNS()
	for _, how := range []string{lab.DNSServFail, lab.DNSRefused} {
		s.judgeAll(whileFailing(how, "accept unknown"))
	}
	for _, onError := range []string{"tag", "quarantine", "tempfail"} {
		s.configure(toml(onError))
		s.judgeAll(whileFailing(lab.DNSServFail, onError+" unknown"))
	}
}

// As soon as the servers answer again they are believed: a failure is not
// remembered.
func TestAMessageThatWasPutOffIsTakenOnceTheDNSAnswers(t *testing.T) {
	onEachMTA(t, func(t *testing.T, mta lab.MTA) {
		s := startInternet(t, lab.SiteConfig{MTA: mta, TOML: checkedTOML("", "")})
		for _, how := range []string{lab.DNSServFail, lab.DNSRefused} {
			const bob, eve = "bob@acmecorp.com", "eve@later.example"
			s.DNS.Fail("acmecorp.com", how)
			s.DNS.Fail("_dmarc.later.example", how)
			s.restart() // what was known before is forgotten
			s.judgeAll([]senderCase{
				{how + ": ours, as long as it lasts", spfPass, bob, bob, "", "tempfail unknown", ""},
				{how + ": a stranger's, as long as it lasts", spfPass, "x@esp.example", eve, "", "accept unknown", "pass/temperror/none"},
			})
			s.DNS.Clear("acmecorp.com")
			s.DNS.Clear("_dmarc.later.example")
			s.tellDNS(map[string]string{"acmecorp.com": usualSPF, "_dmarc.later.example": "v=DMARC1; p=reject"})
			s.judgeAll([]senderCase{
				{how + ": ours, afterwards", spfPass, bob, bob, "", "accept", "pass/none/none"},
				{how + ": a stranger's, afterwards", spfPass, "x@esp.example", eve, "", "reject DMARC", ""},
			})
		}
	})
}

// The key of ptr.example and each of the client's names are asked for in vain, for
// five seconds each: one after the other, that would take 55.
func TestSilentServersHoldAMessageUpForABoundedTimeAndNoOther(t *testing.T) {
	t.Parallel()
	const one, all = 5 * time.Second, 55 * time.Second // a question, and one question after the other
	s := startInternet(t, lab.SiteConfig{TOML: checkedTOML("", "")})
	s.publishKeys("acmecorp.com")
	s.failDNS()
	s.tellDNS(map[string]string{"ptr.example": "v=spf1 ptr -all", "_dmarc.ptr.example": "v=DMARC1; p=reject"})
	var names []string
	for i := range 10 {
		names = append(names, fmt.Sprintf("host%d.ptr.example", i))
		s.DNS.Fail(names[i], lab.DNSSilent)
	}
	s.DNS.Set("1.3.0.127.in-addr.arpa", "PTR", names...)
	s.DNS.Fail(selectorDown+"._domainkey.ptr.example", lab.DNSSilent)
	silent := append(whileFailing(lab.DNSSilent, "accept unknown"),
		senderCase{"silent: all that can be", spfPass, "x@ptr.example", "x@ptr.example", "!ptr.example/" + selectorDown, "tempfail unknown", ""})

	done := make([]judgedCase, len(silent))
	took := make([]time.Duration, len(silent))
	var sending sync.WaitGroup
	begun := time.Now()
	for i, m := range silent {
		message := dkimSigned(t, lab.Plain(m.from, "bob@acmecorp.com", m.about), m.signed)
		done[i] = judgedCase{m, message, fmt.Sprintf("bob+%d@acmecorp.com", i)}
		sending.Go(func() {
			r, err := lab.Client{Server: s.Addr("public"), Local: m.client}.Send(deadline(t), lab.Mail{From: m.sender, To: lab.To(done[i].to), Data: message})
			took[i] = time.Since(begun)
			if err != nil {
				t.Errorf("%s: %v", m.about, err)
			}
			s.mustAnswer(m, r.Data)
		})
	}
	other := senderCase{"while others wait", spfPass, "x@reject.example", "x@reject.example", "reject.example", "accept", "pass/pass/pass"}
	judged := s.judge(other, dkimSigned(t, lab.Plain(other.from, "bob@acmecorp.com", other.about), other.signed))
	meanwhile := time.Since(begun)
	sending.Wait()
	for i, m := range silent {
		s.mustBeJudged(m, s.lineTo(done[i].to))
		if took[i] >= all {
			t.Errorf("%s: it took %v", m.about, took[i])
		}
	}
	if last := took[len(took)-1]; last < one-time.Second || meanwhile > last {
		t.Errorf("the slowest took %v, and another message %v meanwhile; the first must be %v at least, to say anything", last, meanwhile, one)
	}
	t.Logf("a message of which no server says anything took %v, another one was through after %v", took[len(took)-1], meanwhile)
	s.mustEnd(append(done, judged))
}

func TestTheDNSIsAskedOnceForManyMessagesOfOneDomain(t *testing.T) {
	t.Parallel()
	s := startInternet(t, lab.SiteConfig{TOML: checkedTOML("", "")})
	s.tellDNS(map[string]string{"www.np.example": "A:192.0.2.1"})
	const often, clients = 10, 4
	first := []senderCase{
		{"of a domain", spfPass, "x@reject.example", "x@reject.example", "reject.example", "accept", "pass/pass/pass"},
		{"of a domain without records", spfPass, "x@empty.example", "x@deep.empty.example", "", "accept", "none/none/none"},
		{"of a domain that may not exist", spfPass, "x@www.np.example", "x@www.np.example", "", "accept", "none/fail/none"},
		{"that is refused", spfFail, "x@reject.example", "x@reject.example", "", "reject DMARC", ""},
	}
	s.judgeAll(first)
	var sending sync.WaitGroup
	for range clients {
		sending.Go(func() {
			for range often {
				for _, m := range first {
					message := dkimSigned(t, lab.Plain(m.from, "bob@acmecorp.com", "again"), m.signed)
					r, err := lab.Client{Server: s.Addr("public"), Local: m.client}.Send(deadline(t), lab.Mail{From: m.sender, To: lab.To("bob@acmecorp.com"), Data: message})
					if err != nil || r.Accepted() == (m.results == "") {
						t.Errorf("again %s: %+v, %v", m.about, r, err)
						return
					}
				}
			}
		})
	}
	sending.Wait()
	for name, want := range map[string]int{
		"reject.example": 1, "_dmarc.reject.example": 1, "rsa._domainkey.reject.example": 1,
		"empty.example": 1, "_dmarc.deep.empty.example": 1, "_dmarc.empty.example": 1,
		// Its SPF, and both kinds of addresses, since np is said.
		"www.np.example": 3, "_dmarc.www.np.example": 1, "_dmarc.np.example": 1,
	} {
		if got := s.DNS.Asked(name); got != want {
			t.Errorf("for %s the DNS was asked %d times by %d messages; it must be %d", name, got, len(first)*(1+often*clients), want)
		}
	}
}
