package e2e

import (
	"bytes"
	"cmp"
	"crypto/rand"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"coexistd/contrib/lab"
)

// What everybody has with a key of their own at Google, and who has none.
const (
	gappsOurs   = "globex-example.20230601.gappssmtp.com"
	gappsForger = "forger-example.20230601.gappssmtp.com"
)

// oddMail is a kind of mail that platforms send in ways of their own. Its message is
// testdata/odd/NAME.eml.
type oddMail struct {
	name   string
	sender string // the envelope's; empty is the null sender
	signed string // see dkimSigned: what the platform signs with whatever our tenant has set up
	owner  string // whose it is; empty: bob
	// bare is the point and the outcome (see outcomeOf) of what bears no proof of our tenant,
	// and by those of what bears none but keeps to the rule that the administrator has set.
	bare, rule, by string
	// forged is the outcome of what another tenant sends like it while all rules are set.
	forged string
}

const (
	putOff   = "S0 tempfail tenant not proven"
	ownName  = "S0 reject own domain"
	byHeader = "a header rule"

	journalBox = "journal-7qk2xw@acmecorp.com"
	noShare    = "no-reply@sharepointonline.com"
	fromTeam   = "team+bncBDQ7XZ5M3YIBBH6K2PTAMGQEABC@globex.example"
)

// fromOffice are the kinds that Office 365 sends, and fromGoogle those of Google.
var (
	fromOffice = []oddMail{
		{name: "validation", bare: putOff, rule: byHeader, by: "S1 accept", forged: ownName},
		{name: "sharing", sender: noShare, signed: "sharepointonline.com", bare: "S0 accept", by: "S0 accept"},
		{name: "sharing-as-user", sender: noShare, signed: "sharepointonline.com", bare: putOff, rule: "services", by: "S0 accept", forged: ownName},
		{name: "calendar-outlook", sender: fromAlice, bare: putOff, rule: byHeader, by: "S1 accept", forged: ownName},
		{name: "calendar-phone", sender: "alice+SRS=Xy3Zq=7K=acmecorp.com=alice@acmecorp-com.onmicrosoft.com", bare: putOff, rule: byHeader, by: "S1 accept", forged: ownName},
		{name: "calendar-room", bare: putOff, rule: byHeader, by: "S1 accept", forged: ownName},
		{name: "out-of-office", bare: putOff, rule: byHeader, by: "S1 accept", forged: ownName},
		{name: "read-receipt", bare: putOff, rule: byHeader, by: "S1 accept", forged: ownName},
		{name: "bounce", bare: putOff, rule: byHeader, by: "S1 accept", forged: ownName},
		{name: "journal", sender: "journal-errors@acmecorp.com", owner: journalBox, bare: putOff, rule: "[[allow]]", by: "S0 accept", forged: ownName + ", own domain as Sender"},
		// It says that it is from its author, and encloses what they sent.
		{name: "journal-outside", owner: journalBox, bare: putOff, rule: "[[allow]]", by: "S0 accept", forged: "S0 reject own domain as Sender, DMARC"},
	}
	fromGoogle = []oddMail{
		{name: "calendar-google", sender: "3xwczZwsKCuIEPIb.FIRRIIPMREVS@calendar-server.bounces.google.com", signed: "google.com", bare: putOff, rule: "services", by: "S0 accept", forged: putOff},
		{name: "vacation-google", signed: gappsOurs, bare: putOff, rule: "a dkim proof", by: "S1 accept", forged: putOff},
		{name: "group-google", sender: fromTeam, signed: "googlegroups.com", bare: putOff, rule: byHeader, by: "S1 accept", forged: putOff},
		{name: "group-outside", sender: fromTeam, signed: "googlegroups.com", bare: putOff, rule: byHeader, by: "S1 accept", forged: putOff},
	}
)

// letter reads the message, with an ID of its own.
func (o oddMail) letter(t *testing.T) []byte {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("testdata", "odd", o.name+".eml"))
	if err != nil {
		t.Fatal(err)
	}
	text = bytes.ReplaceAll(text, []byte("{id}"), []byte(rand.Text()))
	text = bytes.ReplaceAll(text, []byte("{date}"), []byte(time.Now().Format(time.RFC1123Z)))
	return bytes.ReplaceAll(text, []byte("\n"), []byte("\r\n"))
}

// oddSite is a site with the DNS that such mail is judged by. SPF passes for all tenants of
// the platforms, as it does in the Internet.
func oddSite(t *testing.T, mta lab.MTA) *site {
	s := startInternet(t, lab.SiteConfig{
		MTA: mta, TOML: oddTOML(bySignature("globex.example").toml),
		Directory: lab.SiteDirectory + journalBox + ",here,journal\nroom101@acmecorp.com,office365,\nteam@globex.example,google,\n",
	})
	const spf = "v=spf1 ip4:127.0.1.0/24 ip4:127.0.2.0/24 -all"
	for _, domain := range []string{"acmecorp.com", "acmecorp-com.onmicrosoft.com", "globex.example", "sharepointonline.com", "google.com",
		"calendar-server.bounces.google.com", "googlegroups.com", gappsOurs, gappsForger, "forger.example"} {
		s.DNS.Set(domain, "TXT", spf)
		s.publishKeys(domain)
	}
	for _, domain := range []string{"acmecorp.com", "globex.example", "sharepointonline.com", "google.com"} {
		s.DNS.Set("_dmarc."+domain, "TXT", "v=DMARC1; p=reject")
	}
	return s
}

// oddTOML is the usual configuration with a proof of Google's.
func oddTOML(google string, more ...string) string {
	toml := checkedTOML("", "", append([]string{neverReport}, more...)...)
	return strings.Replace(toml, `tenant   = "`+lab.GoogleTenant+`"`, google, 1)
}

// sendOdd hands a message in and returns the point and outcome of it. It must have arrived
// where it was taken, and nowhere else.
func (s *site) sendOdd(o oddMail, client, sender string, sent, arrives []byte, owner string) string {
	s.t.Helper()
	local, domain, _ := strings.Cut(cmp.Or(owner, o.owner, fromBob), "@")
	to := strings.ToLower(local + "+" + rand.Text()[:12] + "@" + domain)
	r := s.send(client, lab.Mail{From: sender, To: lab.To(to), Data: sent})
	line := s.lineTo(to)
	outcome := line["point"] + " " + strings.TrimSuffix(outcomeOf(s.t, line), " not checked")
	if !r.Accepted() {
		s.mustArrive(arrives)
	} else {
		s.mustArrive(arrives, "here "+to)
	}
	return outcome
}

func TestMailThatComesOddlyFromAProvenTenantArrives(t *testing.T) {
	onEachMTA(t, func(t *testing.T, mta lab.MTA) {
		s := oddSite(t, mta)
		for _, o := range fromOffice {
			m := fromTenant(lab.OfficeTenant, o.letter(t))
			if got := s.sendOdd(o, lab.FromOffice365, o.sender, m, m, ""); got != "S1 accept" {
				t.Errorf("%s: the outcome is %q; it must be S1 accept", o.name, got)
			}
		}
		for _, o := range fromGoogle {
			m := dkimSigned(t, o.letter(t), "globex.example")
			if got := s.sendOdd(o, lab.FromGoogle, o.sender, m, m, ""); got != "S1 accept" {
				t.Errorf("%s: the outcome is %q; it must be S1 accept", o.name, got)
			}
		}
	})
}

// What a proof is wanting to is put off where it may be our own. A signature of our domain
// proves it as it does any other mail.
func TestMailThatComesOddlyWithoutAProofIsNotTakenForOurs(t *testing.T) {
	onEachMTA(t, func(t *testing.T, mta lab.MTA) {
		s := oddSite(t, mta)
		for client, kinds := range map[string][]oddMail{lab.FromOffice365: fromOffice, lab.FromGoogle: fromGoogle} {
			for _, o := range kinds {
				m := dkimSigned(t, o.letter(t), o.signed)
				if got := s.sendOdd(o, client, o.sender, m, m, ""); got != o.bare {
					t.Errorf("%s: the outcome is %q; it must be %s", o.name, got, o.bare)
				}
			}
		}
		// A tenant's first domain that is no alternate domain of ours is a stranger's.
		first := oddMail{name: "validation"}
		m := bytes.ReplaceAll(first.letter(t), []byte("acmecorp-com.onmicrosoft.com"), []byte("acmecorp.onmicrosoft.com"))
		if got := s.sendOdd(first, lab.FromOffice365, "", m, m, ""); got != "S0 accept" {
			t.Errorf("the validation in the name of the tenant's first domain: the outcome is %q; it must be S0 accept", got)
		}
		for _, o := range fromOffice {
			domain := "acmecorp.com"
			switch {
			case o.bare != putOff || o.owner != "":
				continue
			case o.name == "validation" || o.name == "calendar-phone":
				domain = "acmecorp-com.onmicrosoft.com, acmecorp.com"
			}
			m := dkimSigned(t, o.letter(t), domain)
			if got := s.sendOdd(o, lab.FromOffice365, o.sender, m, m, ""); got != "S0 accept" {
				t.Errorf("%s, signed: the outcome is %q; it must be S0 accept", o.name, got)
			}
		}
	})
}

// ruledTOML has all rules that let such mail in: the headers that rules over there add, the
// signatures of Google's for those who have no key, services, and the journal.
func ruledTOML(t *testing.T, office, google string) string {
	proof := func(name, secret string) string {
		return `{ header = "` + name + `", secret_file = "` + secretFile(t, secret) + `" }`
	}
	toml := oddTOML(`proof = [`+proof("X-From-Google", google)+`, { dkim = ["globex.example", "`+gappsOurs+`"] }]`, `
[check.spoof]
services = ["sharepointonline.com", "google.com"]

[[allow]]
name       = "journal"
checks     = ["spoof", "malware", "spam"]
clients    = ["127.0.1.0/24"]
recipients = ["`+journalBox+`"]
`)
	tenant := `tenant   = "` + lab.OfficeTenant + `"`
	return strings.Replace(toml, tenant, tenant+"\nproof = "+proof("X-Coexist-Proof", office), 1)
}

func TestMailThatComesOddlyArrivesByItsRuleAndAForgersDoesNot(t *testing.T) {
	onEachMTA(t, func(t *testing.T, mta lab.MTA) {
		s, office, google := oddSite(t, mta), rand.Text(), rand.Text()
		s.configure(ruledTOML(t, office, google))
		for _, o := range append(append([]oddMail{}, fromOffice...), fromGoogle...) {
			client, secret, other := lab.FromOffice365, "X-Coexist-Proof: "+office, crossTenant(foreignTenant)
			signed := "forger.example"
			if strings.Contains(o.name, "google") || strings.HasPrefix(o.name, "group") {
				client, secret, other = lab.FromGoogle, "X-From-Google: "+google, "X-Received: by 2002:a05:600c:1908:b0:431:5187:28dd"
				signed = "forger.example, " + gappsForger
			}
			m := dkimSigned(t, o.letter(t), o.signed)
			sent := m
			if o.rule == byHeader {
				sent = withHeader(secret, m)
			}
			if got := s.sendOdd(o, client, o.sender, sent, m, ""); got != o.by {
				t.Errorf("%s by %s: the outcome is %q; it must be %s", o.name, o.rule, got, o.by)
			}
			if o.forged == "" {
				continue
			}
			m = dkimSigned(t, withHeader(other, o.letter(t)), signed)
			if got := s.sendOdd(o, client, o.sender, m, m, ""); got != o.forged {
				t.Errorf("%s, from another tenant: the outcome is %q; it must be %s", o.name, got, o.forged)
			}
			if o.rule != "[[allow]]" {
				continue
			}
			// The exception is for the journal's address alone.
			m = o.letter(t)
			if got := s.sendOdd(o, client, o.sender, m, m, fromBob); got != o.bare {
				t.Errorf("%s to another: the outcome is %q; it must be %s", o.name, got, o.bare)
			}
		}
		s.mustNotTell(office, google)
	})
}

// A sharing notice is Microsoft's mail, which may bear the tenant of a service of its own. It
// is judged by its signature, in our name as well once its domain is a service.
func TestASharingNoticeIsKnownByItsSignature(t *testing.T) {
	onEachMTA(t, func(t *testing.T, mta lab.MTA) {
		s := oddSite(t, mta)
		asMicrosoft, asUser := oddMail{name: "sharing"}, oddMail{name: "sharing-as-user"}
		for _, services := range []bool{false, true} {
			inOurName := ownName
			if services {
				s.configure(ruledTOML(t, rand.Text(), rand.Text()))
				inOurName = "S0 accept"
			}
			for _, c := range []struct {
				o              oddMail
				client, signed string
				want           string
			}{
				{asMicrosoft, lab.FromOffice365, "sharepointonline.com", "S0 accept"},
				{asMicrosoft, lab.FromInternet, "forger.example", "S0 reject DMARC"},
				{asMicrosoft, lab.FromInternet, "!sharepointonline.com", "S0 reject DMARC"},
				{asUser, lab.FromOffice365, "sharepointonline.com", inOurName},
				{asUser, lab.FromOffice365, "!sharepointonline.com", ownName},
				{asUser, lab.FromInternet, "forger.example", ownName},
			} {
				m := dkimSigned(t, fromTenant(foreignTenant, c.o.letter(t)), c.signed)
				if got := s.sendOdd(c.o, c.client, noShare, m, m, ""); got != c.want {
					t.Errorf("%s from %s, signed %q, services %v: the outcome is %q; it must be %s", c.o.name, c.client, c.signed, services, got, c.want)
				}
			}
		}
	})
}
