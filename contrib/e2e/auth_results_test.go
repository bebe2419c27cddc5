package e2e

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/emersion/go-msgauth/authres"
	"github.com/emersion/go-msgauth/dkim"

	"coexistd/contrib/lab"
	"coexistd/milter/quarantine"
)

// Fields that a message may bring: some are in our name, however it is written, and
// the others are in others' names.
var (
	claimsOfOurs = []string{
		"Authentication-Results: mail.acmecorp.com; dmarc=pass header.from=acmecorp.com\r\n",
		"authentication-results: MAIL.AcmeCorp.COM; dkim=pass header.d=acmecorp.com\r\n",
		"Authentication-Results: (as seen by) mail.acmecorp.com (here); spf=pass\r\n",
		"Authentication-Results: \"mail.acmecorp.com\"; spf=pass\r\n",
		"Authentication-Results:\r\n\tmail.acmecorp.com;\r\n\tspf=pass\r\n",
		"Authentication-Results: mail.acmecorp.com 1; spf=pass\r\n",
		"Authentication-Results: mail.acmecorp.com (x)\r\n 1;\r\n spf=pass\r\n",
		"Authentication-Results: mail.acmecorp.com.; spf=pass\r\n",
		"Authentication-Results : mail.acmecorp.com; spf=pass\r\n",
		"Authentication-Results:mail.acmecorp.com;none\r\n",
	}
	claimsOfOthers = []string{
		"Authentication-Results: mx.example.net; spf=pass smtp.mailfrom=mail.acmecorp.com\r\n",
		"Authentication-Results: mail.acmecorp.com.evil.example; spf=pass\r\n",
		"Authentication-Results: notmail.acmecorp.com; spf=fail\r\n",
		"Authentication-Results: acmecorp.com 1;\r\n\tdkim=none\r\n",
		"X-Authentication-Results: mail.acmecorp.com; spf=pass\r\n",
		"ARC-Authentication-Results: i=1; mail.acmecorp.com; spf=pass\r\n",
	}
)

// claiming puts all of them above a message, in turn. Cleaned is what must be left.
func claiming(message []byte) (claims, cleaned []byte) {
	var all, others string
	for i := range max(len(claimsOfOurs), len(claimsOfOthers)) {
		if i < len(claimsOfOurs) {
			all += claimsOfOurs[i]
		}
		if i < len(claimsOfOthers) {
			all, others = all+claimsOfOthers[i], others+claimsOfOthers[i]
		}
	}
	return slices.Concat([]byte(all), message), slices.Concat([]byte(others), message)
}

// mustBeClean checks that a message arrived once, with these results of ours on top
// and none below, and to the last byte as it was without the claims.
func (s *site) mustBeClean(about string, cleaned []byte, ours string) {
	s.t.Helper()
	s.settle()
	copies, arrivals := s.copies(cleaned)
	if len(arrivals) != 1 {
		s.t.Errorf("%s: it arrived at %q", about, arrivals)
		return
	}
	for place, copies := range copies {
		head, whole := bytes.CutSuffix(copies[0], cleaned)
		if !whole {
			s.t.Errorf("%s: at %s arrived\n%s\nit must be\n%s", about, place, copies[0], cleaned)
			return
		}
		got := readFields(s.t, append(bytes.Clone(head), "\r\n"...))["Authentication-Results"]
		if ours == "" && len(got) > 0 || ours != "" && (len(got) != 1 || resultValues(s.t, got[0]) != ours) {
			s.t.Errorf("%s: on top stand the results %q; they must be %q", about, got, ours)
		}
		if found, err := dkim.VerifyWithOptions(bytes.NewReader(copies[0]), s.verifyOptions()); err != nil || len(found) != 1 || found[0].Err != nil {
			s.t.Errorf("%s: at %s the signature does not verify: %v, %v", about, place, found, err)
		}
	}
}

// verifyOptions have the keys of dkimSigned for all domains.
func (s *site) verifyOptions() *dkim.VerifyOptions {
	records := dkimKeysFor(s.t).records
	return &dkim.VerifyOptions{LookupTXT: func(name string) ([]string, error) {
		selector, _, _ := strings.Cut(name, ".")
		if records[selector] == "" {
			return nil, errors.New("there is no such key")
		}
		return []string{records[selector]}, nil
	}}
}

func TestOurResultsAreAddedAndThoseInOurNameRemovedWhereverTheMailComesFrom(t *testing.T) {
	onEachMTA(t, func(t *testing.T, mta lab.MTA) {
		s := startInternet(t, lab.SiteConfig{MTA: mta, TOML: withHost(checkedTOML("", "", `[[allow]]
name = "partner"
checks = ["spoof", "malware"]
clients = ["127.0.9.0/24"]
`))})
		s.tellDNS(map[string]string{"acmecorp.com": usualSPF})
		for _, c := range []struct {
			about, client, sender, from, signed string
			tenant, ours                        string
		}{
			{"a stranger", spfPass, "x@reject.example", "x@reject.example", "reject.example", "", "pass/pass/pass"},
			{"a stranger whom SPF calls a fail", spfFail, "x@none.example", "x@none.example", "esp.example", "", "fail/fail/pass"},
			{"the null sender", spfFail, "", "x@none.example", "none.example/ed", "", "none/pass/pass"},
			{"one who is spared the check", "127.0.9.1", "x@reject.example", "x@reject.example", "esp.example", "", ""},
			{"the platform", lab.FromOffice365, "alice@acmecorp.com", "alice@acmecorp.com", "acmecorp.com", lab.OfficeTenant, ""},
			{"a user", lab.FromUser, "bob@acmecorp.com", "bob@acmecorp.com", "acmecorp.com", "", ""},
		} {
			message := lab.Plain(c.from, "bob@acmecorp.com", c.about)
			if c.tenant != "" {
				message = fromTenant(c.tenant, message)
			}
			claims, cleaned := claiming(dkimSigned(t, message, c.signed))
			s.deliver(c.client, lab.Mail{From: c.sender, To: lab.To("bob@acmecorp.com"), Data: claims})
			s.mustBeClean(c.about, cleaned, c.ours)
		}
		claims, cleaned := claiming(dkimSigned(t, lab.Plain("bob@acmecorp.com", "bob@acmecorp.com", "from the host"), "acmecorp.com"))
		s.sendmail("bob@acmecorp.com", claims, "bob@acmecorp.com")
		s.mustBeClean("a program on the host", cleaned, "")
	})
}

func TestOurResultsSayWhatWasFoundOfWhom(t *testing.T) {
	onEachMTA(t, func(t *testing.T, mta lab.MTA) {
		s := startInternet(t, lab.SiteConfig{MTA: mta, TOML: checkedTOML("", "")})
		s.tellDNS(map[string]string{"client.lab.test": usualSPF})
		for _, c := range []struct {
			about, sender, from, signed string
			want                        []authres.Result
		}{
			{"all of one domain", "Some.Body+x@Reject.example", "X <x@reject.example>", "reject.example", []authres.Result{
				&authres.SPFResult{Value: "pass", From: "Some.Body+x@reject.example"},
				&authres.DMARCResult{Value: "pass", From: "reject.example"},
				&authres.DKIMResult{Value: "pass", Domain: "reject.example"},
			}},
			{"two authors, two signatures", "x@esp.example", "x@none.example, y@sp.example", "none.example, !esp.example", []authres.Result{
				&authres.SPFResult{Value: "pass", From: "x@esp.example"},
				&authres.DMARCResult{Value: "pass", From: "none.example"},
				&authres.DMARCResult{Value: "fail", From: "sp.example"},
				&authres.DKIMResult{Value: "pass", Domain: "none.example"},
				&authres.DKIMResult{Value: "fail", Domain: "esp.example"},
			}},
			{"the null sender", "", "x@quiet.example", "", []authres.Result{
				&authres.SPFResult{Value: "pass", Helo: "client.lab.test"},
				&authres.DMARCResult{Value: "none", From: "quiet.example"},
				&authres.DKIMResult{Value: "none"},
			}},
			{"a sender that would break the field", `"a; dkim=pass header.d=acmecorp.com"@esp.example`, "x@quiet.example", "", []authres.Result{
				&authres.SPFResult{Value: "pass", From: "esp.example"},
				&authres.DMARCResult{Value: "none", From: "quiet.example"},
				&authres.DKIMResult{Value: "none"},
			}},
		} {
			message := dkimSigned(t, lab.Plain(c.from, "bob@acmecorp.com", c.about), c.signed)
			s.deliver(spfPass, lab.Mail{From: c.sender, To: lab.To("bob@acmecorp.com"), Data: message})
			s.settle()
			copies, _ := s.copies(message)
			if len(copies["here"]) != 1 {
				t.Errorf("%s: it did not arrive once", c.about)
				continue
			}
			host, got, err := authres.Parse(readFields(t, copies["here"][0]).Get("Authentication-Results"))
			if err != nil || host != "mail.acmecorp.com" || printed(got) != printed(c.want) {
				t.Errorf("%s: %s says %s (%v); it must say %s", c.about, host, printed(got), err, printed(c.want))
			}
		}
	})
}

func printed(results []authres.Result) string {
	var all []string
	for _, one := range results {
		all = append(all, fmt.Sprintf("%+v", one))
	}
	return strings.Join(all, " ")
}

// What is released comes from 127.0.0.1, for which no record of a sender's says
// that it may send.
func TestWhatIsReleasedIsNotJudgedByItsSenderAgain(t *testing.T) {
	onEachMTA(t, func(t *testing.T, mta lab.MTA) {
		s := startInternet(t, lab.SiteConfig{MTA: mta, TOML: checkedTOML("", "", neverReport)})
		s.tellDNS(map[string]string{"_dmarc.acmecorp.com": "v=DMARC1; p=reject", "acmecorp.com": usualSPF})
		program := func(from string) []byte {
			return bytes.Replace(programFor("bob@acmecorp.com", "a program", 0), []byte("From: eve@example.net"), []byte("From: "+from), 1)
		}
		for _, c := range []struct {
			about, client, sender, signed, check string
			message                              []byte
		}{
			{"held for DMARC", spfFail, "x@quarantine.example", "esp.example", "spoof", lab.Plain("x@quarantine.example", "bob@acmecorp.com", "dmarc")},
			{"held for its attachment, SPF had passed", spfPass, "x@reject.example", "esp.example", "malware", program("x@reject.example")},
			{"held for its attachment, signed", spfFail, "x@esp.example", "reject.example", "malware", program("x@reject.example")},
			{"held for its attachment, in our own name", spfPass, "bob@acmecorp.com", "esp.example", "malware", program("bob@acmecorp.com")},
		} {
			claims, cleaned := claiming(dkimSigned(t, c.message, c.signed, "Content-Type"))
			s.deliver(c.client, lab.Mail{From: c.sender, To: lab.To("bob@acmecorp.com"), Data: claims})
			s.mustArrive(claims)
			held := s.held(claims)
			if len(held) != 1 || !slices.Equal(held[0].Checks, []string{c.check}) {
				t.Errorf("%s: held is %+v", c.about, held)
				continue
			}
			// Postfix drops the space before a colon.
			if raw, _ := s.quarantine("show", held[0].ID, "--raw"); raw != strings.Replace(string(claims), "Results :", "Results:", 1) {
				t.Errorf("%s: what is held is\n%q\nsent was\n%q", c.about, raw, claims)
			}
			s.release(held[0].ID, "released", "")
			if got := s.state(held[0].ID); got != quarantine.Released {
				t.Errorf("%s: the entry is %s", c.about, got)
			}
			s.mustBeClean(c.about, cleaned, "")
			if got := outcomeOf(t, parseLogLine(t, s.waitDaemonLog("msg=message .*released from quarantine as "+held[0].ID))); got != "accept not checked" {
				t.Errorf("%s: released, its outcome is %q", c.about, got)
			}
		}
	})
}
