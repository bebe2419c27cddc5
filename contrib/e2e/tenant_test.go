package e2e

import (
	"bytes"
	"crypto/rand"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"coexistd/contrib/lab"
)

const foreignTenant = "6d1c0f7a-2b3c-4d5e-8f90-a1b2c3d4e5f6"

// crossTenant is the header field that names a tenant.
func crossTenant(value string) string { return "X-MS-Exchange-CrossTenant-Id: " + value }

// mustEnter checks at which point a message was decided on, and what its line in
// the log says of the proof.
func (s *site) mustEnter(about string, r lab.Result, point, proof string) logLine {
	s.t.Helper()
	if !r.Accepted() {
		s.t.Errorf("%s: the message was not taken: %s", about, r.Data)
		return nil
	}
	line := s.logged(r)
	s.mustBeOf(about, line, point, proof)
	return line
}

func (s *site) mustBeOf(about string, line logLine, point, proof string) {
	s.t.Helper()
	if line["point"] != point || !strings.Contains(line["proof"], proof) || proof == "" && line["proof"] != "" {
		s.t.Errorf("%s: the message is decided on at %s, for the proof says %q; right are %s and %q", about, line["point"], line["proof"], point, proof)
	}
}

func TestAnotherTenantOfThePlatformIsTheInternet(t *testing.T) {
	onEachMTA(t, func(t *testing.T, mta lab.MTA) {
		rspamd := startRspamd(t, lab.RspamdConfig{})
		s := startSite(t, lab.SiteConfig{MTA: mta, TOML: checkedTOML("", rspamd.URL(), neverReport)})
		const ours, to = lab.OfficeTenant, "bob@acmecorp.com"
		upper := strings.ToUpper(ours)
		const isOurs, isAnother = "names our tenant", "names another tenant: the message counts as S0"
		for _, c := range []struct {
			about, client, fields, point, proof string
		}{
			{"ours", lab.FromOffice365, crossTenant(ours), "S1", isOurs},
			{"ours in capitals", lab.FromOffice365, crossTenant(upper), "S1", isOurs},
			{"the name in small letters", lab.FromOffice365, "x-ms-exchange-crosstenant-id: " + ours, "S1", isOurs},
			{"the name in capitals", lab.FromOffice365, "X-MS-EXCHANGE-CROSSTENANT-ID: " + upper, "S1", isOurs},
			{"the name in any case", lab.FromOffice365, "x-Ms-eXcHange-crosstenant-iD: " + ours, "S1", isOurs},
			{"folded by a space", lab.FromOffice365, crossTenant("\r\n " + ours), "S1", isOurs},
			{"folded by a tab", lab.FromOffice365, crossTenant("\r\n\t" + ours), "S1", isOurs},
			{"without a space", lab.FromOffice365, "X-MS-Exchange-CrossTenant-Id:" + ours, "S1", isOurs},
			{"white space around it", lab.FromOffice365, crossTenant(" \t " + ours + " \t"), "S1", isOurs},

			{"none", lab.FromOffice365, "", "S0", "the message lacks X-MS-Exchange-CrossTenant-Id: the message counts as S0"},
			{"a foreign one", lab.FromOffice365, crossTenant(foreignTenant), "S0", isAnother},
			{"the other platform's", lab.FromOffice365, crossTenant(lab.GoogleTenant), "S0", isAnother},
			{"an empty one", lab.FromOffice365, crossTenant(""), "S0", isAnother},
			{"white space only", lab.FromOffice365, crossTenant("  \t "), "S0", isAnother},
			{"two of ours", lab.FromOffice365, crossTenant(ours) + "\r\n" + crossTenant(ours), "S0", "has 2 headers"},
			{"ours before a foreign one", lab.FromOffice365, crossTenant(ours) + "\r\n" + crossTenant(foreignTenant), "S0", "has 2 headers"},
			{"ours after a foreign one", lab.FromOffice365, crossTenant(foreignTenant) + "\r\n" + crossTenant(ours), "S0", "has 2 headers"},
			{"ours beside an empty one", lab.FromOffice365, crossTenant(ours) + "\r\n" + crossTenant(""), "S0", "has 2 headers"},
			{"two that differ in case", lab.FromOffice365, crossTenant(ours) + "\r\nx-ms-exchange-crosstenant-id: " + ours, "S0", "has 2 headers"},
			{"text behind it", lab.FromOffice365, crossTenant(ours + " x"), "S0", isAnother},
			{"text on a further line", lab.FromOffice365, crossTenant(ours + "\r\n x"), "S0", isAnother},
			{"a second one behind it", lab.FromOffice365, crossTenant(foreignTenant + ", " + ours), "S0", isAnother},
			{"a semicolon behind it", lab.FromOffice365, crossTenant(ours + ";"), "S0", isAnother},
			{"a comment behind it", lab.FromOffice365, crossTenant(ours + " (ours)"), "S0", isAnother},
			{"text before it", lab.FromOffice365, crossTenant("x " + ours), "S0", isAnother},
			{"in braces", lab.FromOffice365, crossTenant("{" + ours + "}"), "S0", isAnother},
			{"in quotes", lab.FromOffice365, crossTenant(`"` + ours + `"`), "S0", isAnother},
			{"folded in the middle", lab.FromOffice365, crossTenant(ours[:9] + "\r\n " + ours[9:]), "S0", isAnother},
			{"cut off", lab.FromOffice365, crossTenant(ours[:35]), "S0", isAnother},
			{"another header's name", lab.FromOffice365, "X-MS-Exchange-CrossTenant-Id-2: " + ours, "S0", "lacks"},
			{"in the name of another's line", lab.FromOffice365, "X-Note: \r\n " + crossTenant(ours), "S0", "lacks"},

			{"ours, but from the Internet", lab.FromInternet, crossTenant(ours), "S0", ""},
			{"ours, but from the other platform", lab.FromGoogle, crossTenant(ours), "S0", isAnother},
			{"ours, in the middle of the Internet", lab.FromInternet, "Received: from mail.protection.outlook.com ([" + lab.FromOffice365 + "]) by x; Mon, 1 Jan 2024 00:00:00 +0000\r\n" + crossTenant(ours), "S0", ""},
		} {
			m := spamFor(to, c.about)
			if c.fields != "" {
				m = withHeader(c.fields, m)
			}
			r := s.send(c.client, lab.Mail{From: "eve@example.net", To: lab.To(to), Data: m})
			line := s.mustEnter(c.about, r, c.point, c.proof)
			if c.point == "S1" {
				if line["verdict"] != "accept" || line["platform"] != "office365" {
					t.Errorf("%s: our own tenant's mail gets %v", c.about, line)
				}
				s.mustArrive(m, "here "+to)
				continue
			}
			entries := s.entriesOf(m)
			if line["verdict"] != "quarantine" || line["check"] != "spam" || line["platform"] != "" || len(entries) != 1 || entries[0].Point.String() != "S0" {
				t.Errorf("%s: another tenant's GTUBE gets %v and is held as %+v", c.about, line, entries)
			}
			s.mustArrive(m)
		}
	})
}

func TestAnotherTenantsMailToAMailboxAtThePlatformGoesBackThereOnce(t *testing.T) {
	onEachMTA(t, func(t *testing.T, mta lab.MTA) {
		s := startSite(t, lab.SiteConfig{MTA: mta})
		for _, tenant := range []string{crossTenant(foreignTenant), "X-Nothing: here"} {
			m := withHeader(tenant, lab.Plain("eve@contoso.example", "alice@acmecorp.com", "from next door"))
			r := s.send(lab.FromOffice365, lab.Mail{From: "eve@contoso.example", To: lab.To("alice@acmecorp.com"), Data: m})
			line := s.mustEnter(tenant, r, "S0", "counts as S0")
			if line["flow"] != "S0=>S4=>O1=>LD" || line["verdict"] != "accept" {
				t.Errorf("the flow is %q and the verdict %q: %v", line["flow"], line["verdict"], line)
			}
			s.mustArrive(m, "office365 "+aliceThere)
			// Over there, the mailbox is alice's, and nothing sends the message on.
			if n := strings.Count(s.Daemon.Log(), `msg=message queue_id=`+line["queue_id"]); n != 1 {
				t.Errorf("the message passed coexistd %d times", n)
			}
		}
	})
}

// secretSite is a site whose platform office365 proves our tenant by a secret
// header, and google by another. All programs that mail carries are held,
// wherever it comes from.
func secretSite(t *testing.T, mta lab.MTA) (s *site, office, google string) {
	t.Helper()
	office, google = rand.Text(), rand.Text()
	toml := checkedTOML("", "", neverReport, `
[checkpoint.S0]
checks = ["malware"]
[checkpoint.S1]
checks = ["malware"]
[checkpoint.S2]
checks = ["malware"]
`)
	toml = strings.Replace(toml, `tenant   = "`+lab.OfficeTenant+`"`, `proof = { header = "X-Coexist-Proof", secret_file = "`+secretFile(t, office+"\n")+`" }`, 1)
	toml = strings.Replace(toml, `tenant   = "`+lab.GoogleTenant+`"`, `proof = [{ header = "X-From-Google", secret_file = "`+secretFile(t, google)+`" }]`, 1)
	return startSite(t, lab.SiteConfig{MTA: mta, TOML: toml}), office, google
}

// secretFile writes a secret for the configuration to name.
func secretFile(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "proof.key")
	if err := os.WriteFile(path, []byte(text), 0o640); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestTheSecretHeaderProvesTheTenant(t *testing.T) {
	onEachMTA(t, func(t *testing.T, mta lab.MTA) {
		s, office, google := secretSite(t, mta)
		const holds, differs = "X-Coexist-Proof holds the secret", "X-Coexist-Proof does not hold the secret: the message counts as S0"
		proof := "X-Coexist-Proof: "
		for _, c := range []struct{ about, client, fields, point, proof string }{
			{"right", lab.FromOffice365, proof + office, "S1", holds},
			{"the name in any case", lab.FromOffice365, "x-COEXIST-proof:" + office, "S1", holds},
			{"folded", lab.FromOffice365, proof + "\r\n\t" + office + " ", "S1", holds},
			{"a space before the colon", lab.FromOffice365, "X-Coexist-Proof : " + office, "S1", holds},
			{"the other platform", lab.FromGoogle, "X-From-Google: " + google, "S1", "X-From-Google holds the secret"},

			{"absent", lab.FromOffice365, "", "S0", "the message lacks X-Coexist-Proof: the message counts as S0"},
			{"wrong", lab.FromOffice365, proof + google, "S0", differs},
			{"empty", lab.FromOffice365, proof, "S0", differs},
			{"in small letters", lab.FromOffice365, proof + strings.ToLower(office), "S0", differs},
			{"cut off", lab.FromOffice365, proof + office[:len(office)-1], "S0", differs},
			{"with more", lab.FromOffice365, proof + office + "x", "S0", differs},
			{"with more on another line", lab.FromOffice365, proof + office + "\r\n x", "S0", differs},
			{"twice, as two rules over there add it", lab.FromOffice365, proof + office + "\r\n" + proof + office, "S1", holds},
			{"beside a wrong one", lab.FromOffice365, proof + google + "\r\n" + proof + office, "S0", "the message has 2 headers X-Coexist-Proof"},
			{"under the other platform's name", lab.FromOffice365, "X-From-Google: " + google, "S0", "lacks X-Coexist-Proof"},
			{"from the other platform", lab.FromGoogle, proof + office, "S0", "lacks X-From-Google"},
			{"from the Internet", lab.FromInternet, proof + office, "S0", ""},
			{"only the tenant's name", lab.FromOffice365, crossTenant(lab.OfficeTenant), "S0", "lacks X-Coexist-Proof"},
		} {
			plain := lab.Plain("eve@example.net", "bob@acmecorp.com", c.about)
			m := plain
			if c.fields != "" {
				m = withHeader(c.fields, plain)
			}
			r := s.send(c.client, lab.Mail{From: "eve@example.net", To: lab.To("bob@acmecorp.com"), Data: m})
			s.mustEnter(c.about, r, c.point, c.proof)
			if strings.HasPrefix(c.fields, "X-MS") {
				plain = m
			}
			s.mustArrive(plain, "here bob@acmecorp.com")
		}
		s.mustNotTell(office, google)
	})
}

// mustNotTell looks for secrets wherever something is written.
func (s *site) mustNotTell(secrets ...string) {
	s.t.Helper()
	seen := map[string][]byte{"the daemon's log": []byte(s.Daemon.Log()), "the MTA's log": []byte(s.Log())}
	for place, sink := range s.sinks() {
		for i, d := range sink.All() {
			seen[fmt.Sprintf("message %d at %s", i, place)] = d.Data
		}
	}
	err := filepath.WalkDir(filepath.Join(s.Dir, "state"), func(path string, entry fs.DirEntry, err error) error {
		if err == nil && entry.Type().IsRegular() {
			seen[path], err = os.ReadFile(path)
		}
		return err
	})
	if err != nil {
		s.t.Fatal(err)
	}
	for where, text := range seen {
		for _, secret := range secrets {
			// Nor is it told in another case.
			if bytes.Contains(bytes.ToLower(text), []byte(strings.ToLower(secret))) {
				s.t.Errorf("the secret stands in %s:\n%.3000s", where, text)
			}
		}
		for _, name := range []string{"x-coexist-proof:", "x-from-google:"} {
			if strings.Contains(where, "message") && bytes.Contains(bytes.ToLower(text), []byte(name)) {
				s.t.Errorf("the header %s stands in %s:\n%.3000s", name, where, text)
			}
		}
	}
}

func TestTheSecretHeaderGoesNoFurtherFromWhereverItComes(t *testing.T) {
	onEachMTA(t, func(t *testing.T, mta lab.MTA) {
		s, office, google := secretSite(t, mta)
		const bob, gail, frank = "here bob@acmecorp.com", "google gail@gapps.globex.example", "Internet frank@example.org"
		everywhere := []string{"alice@acmecorp.com", "bob@acmecorp.com", "carol@acmecorp.com", "gail@globex.example"}
		arrived := []string{"office365 " + aliceThere, bob, "here carol@acmecorp.com", "office365 carol@acmecorp-com.onmicrosoft.com", gail}
		right := "X-Coexist-Proof: " + office
		between := func(m []byte) []byte { // not only on top
			at := bytes.Index(m, []byte("Subject:"))
			return bytes.Join([][]byte{m[:at], m[at:]}, []byte("X-From-Google:\r\n "+google+"\r\nx-coexist-proof: "+office+"\r\n"))
		}
		for _, from := range []struct {
			about, point, proof string
			client              lab.Client
			sender              string
		}{
			{"the Internet", "S0", "", lab.Client{Server: s.Addr("public"), Local: lab.FromInternet}, "eve@example.net"},
			{"another tenant", "S0", "the message has 2 headers X-Coexist-Proof", lab.Client{Server: s.Addr("public"), Local: lab.FromOffice365}, "eve@example.net"},
			{"our tenant", "S1", "X-Coexist-Proof holds the secret", lab.Client{Server: s.Addr("public"), Local: lab.FromOffice365}, "alice@acmecorp.com"},
			{"our network", "S2", "", lab.Client{Server: s.Addr("public"), Local: lab.FromUser}, "bob@acmecorp.com"},
			{"our user", "S2", "", lab.Client{Server: s.Addr("submission"), Local: lab.FromInternet, User: "bob", Password: "secret"}, "bob@acmecorp.com"},
		} {
			to, want := everywhere, slices.Clone(arrived)
			switch from.point {
			case "S1": // whose own mailboxes it delivers to by itself
				to, want = []string{"bob@acmecorp.com", "gail@globex.example", "frank@example.org"}, []string{bob, gail, frank}
			case "S2":
				to, want = append(slices.Clone(to), "frank@example.org"), append(want, frank)
			}
			plain := lab.Plain(from.sender, "bob@acmecorp.com", from.about)
			m := withHeader(right, plain)
			if from.point != "S1" {
				m = between(withHeader("X-COEXIST-PROOF:\r\n\tanother than "+office, m))
			}
			r, err := from.client.Send(deadline(t), lab.Mail{From: from.sender, To: lab.To(to...), Data: m})
			if err != nil {
				t.Fatal(err)
			}
			s.mustEnter(from.about, r, from.point, from.proof)
			s.mustArrive(plain, want...)

			held := programFor("bob@acmecorp.com", "held from "+from.about, 100_000)
			m = withHeader(right, held)
			if from.point != "S1" {
				m = between(withHeader("X-COEXIST-PROOF: another", m))
			}
			if r, err = from.client.Send(deadline(t), lab.Mail{From: from.sender, To: lab.To("bob@acmecorp.com", "gail@globex.example"), Data: m}); err != nil {
				t.Fatal(err)
			}
			if line := s.logged(r); line["verdict"] != "quarantine" || line["point"] != from.point {
				t.Errorf("%s: a program gets %v", from.about, line)
			}
			entries := s.entriesOf(held)
			if len(entries) != 2 {
				t.Fatalf("%s: the quarantine has %+v", from.about, entries)
			}
			for _, e := range entries {
				raw, status := s.quarantine("show", "--raw", e.ID)
				if status != exitYes || !bytes.Equal(below([]byte(raw)), held) {
					t.Errorf("%s: what is held is not the message without the header: %d\n%.1000q", from.about, status, raw)
				}
				s.release(e.ID, "released", "")
			}
			s.mustArrive(held, bob, gail)
		}
		made := lab.Plain("bob@acmecorp.com", "bob@acmecorp.com", "from the host")
		s.sendmail("bob@acmecorp.com", between(withHeader(right, made)), everywhere...)
		s.mustArrive(made, arrived...)
		s.mustNotTell(office, google)
	})
}

func TestExplainTellsOfTheProof(t *testing.T) {
	t.Parallel()
	secret := rand.Text()
	toml := strings.Replace(lab.SiteTOML, `tenant   = "`+lab.OfficeTenant+`"`, `proof = [{ header = "X-Coexist-Proof", secret_file = "`+secretFile(t, secret)+`" }, { certificate = "relay.contoso.example" }]`, 1)
	toml = strings.Replace(toml, `tenant   = "`+lab.GoogleTenant+`"`, `proof = { dkim = "globex.example" }`, 1)
	path := configuration(t, toml, lab.SiteDirectory)
	ours := newSigner(t, "globex.example")
	for _, c := range []struct {
		about, client, field string
		args                 []string
		point, why           string
	}{
		{"the secret", lab.FromOffice365, "X-Coexist-Proof: " + secret, nil, "S1", "X-Coexist-Proof holds the secret"},
		{"a wrong one", lab.FromOffice365, "X-Coexist-Proof: x" + secret, nil, "S0", "X-Coexist-Proof does not hold the secret"},
		{"none", lab.FromOffice365, "X-Nothing: here", nil, "S0", "the message lacks X-Coexist-Proof"},
		{"the certificate", lab.FromOffice365, "X-Nothing: here", []string{"--certificate", "relay.contoso.example"}, "S1", "the client's certificate is that of relay.contoso.example"},
		{"another certificate", lab.FromOffice365, "X-Nothing: here", []string{"--certificate", "contoso.example"}, "S0", "the client's certificate is not that of relay.contoso.example"},
		{"a signature", lab.FromGoogle, "", nil, "S0", "signatures are not verified here, and a daemon may find one that proves the tenant"},
		{"a signature that is said to pass", lab.FromGoogle, "", []string{"--signed", "globex.example"}, "S1", "a signature of globex.example passes"},
		{"a signature that is said to be there", lab.FromGoogle, "X-Nothing: here", []string{"--signed", "example.net", "--signed", "globex.example"}, "S1", "a signature of globex.example passes"},
		{"a stranger's signature", lab.FromGoogle, "X-Nothing: here", []string{"--signed", "example.net"}, "S0", "no signature is one of globex.example"},
		{"no signature", lab.FromGoogle, "X-Nothing: here", nil, "S0", "no signature is one of globex.example: the message counts as S0"},
	} {
		m := lab.Plain("eve@example.net", "bob@acmecorp.com", c.about)
		if c.field == "" {
			m = ours.sign(t, m)
		} else {
			m = withHeader(c.field, m)
		}
		file := filepath.Join(t.TempDir(), "message.eml")
		if err := os.WriteFile(file, m, 0o600); err != nil {
			t.Fatal(err)
		}
		args := append([]string{"explain", "-c", path, "--client", c.client, "--from", "eve@example.net", "--to", "bob@acmecorp.com"}, append(c.args, file)...)
		out, status := ask(t, args...)
		for _, want := range []string{"enters at  " + c.point + "\n", c.why} {
			if status != exitYes || !strings.Contains(string(out), want) {
				t.Errorf("%s: explain ended with %d and does not say %q:\n%s", c.about, status, want, out)
			}
		}
		if bytes.Contains(out, []byte(secret)) {
			t.Errorf("%s: explain tells the secret:\n%s", c.about, out)
		}
	}
}
