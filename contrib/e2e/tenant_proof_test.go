package e2e

import (
	"bytes"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/x509/pkix"
	"encoding/base64"
	"strings"
	"testing"

	"github.com/emersion/go-msgauth/dkim"

	"coexistd/contrib/lab"
)

// signer signs messages in the name of a domain.
type signer struct {
	options dkim.SignOptions
	record  string
}

func newSigner(t *testing.T, domain string) *signer {
	t.Helper()
	public, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return &signer{
		options: dkim.SignOptions{
			Domain: domain, Selector: "test", Signer: private,
			HeaderCanonicalization: dkim.CanonicalizationRelaxed, BodyCanonicalization: dkim.CanonicalizationRelaxed,
		},
		record: "v=DKIM1; k=ed25519; p=" + base64.StdEncoding.EncodeToString(public),
	}
}

func (s *signer) name() string { return "test._domainkey." + s.options.Domain }

// sign puts a signature on top.
func (s *signer) sign(t *testing.T, m []byte) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := dkim.Sign(&b, bytes.NewReader(m), &s.options); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func TestASignatureOfOurDomainProvesTheTenant(t *testing.T) {
	onEachMTA(t, func(t *testing.T, mta lab.MTA) {
		s := startSite(t, lab.SiteConfig{
			MTA:  mta,
			TOML: strings.Replace(lab.SiteTOML, `tenant   = "`+lab.GoogleTenant+`"`, `proof = { dkim = ["globex.example"] }`, 1),
			Main: map[string]string{"message_size_limit": "40000000"},
		})
		ours, below, other := newSigner(t, "globex.example"), newSigner(t, "mail.globex.example"), newSigner(t, "example.net")
		failing, refused := newSigner(t, "globex.example"), newSigner(t, "globex.example")
		failing.options.Selector, refused.options.Selector = "failing", "refused"
		for _, one := range []*signer{ours, below, other} {
			s.DNS.Set(one.name(), "TXT", one.record)
		}
		s.DNS.Fail("failing._domainkey.globex.example", lab.DNSServFail)
		s.DNS.Fail("refused._domainkey.globex.example", lab.DNSRefused)
		large := func(m []byte) []byte {
			return append(m, bytes.Repeat([]byte(strings.Repeat("0123456789", 7)+"\r\n"), 80_000)...)
		}
		change := func(m []byte) []byte { return append(m, "one line more\r\n"...) }
		const passes, broken, none = "a signature of globex.example passes", "the signature of globex.example does not pass but is fail: the message counts as S0", "no signature is one of globex.example: the message counts as S0"
		const gail, eve, usurped, later = "gail@globex.example", "eve@example.net", "550 5.7.26", "451 4.7.0"
		for _, c := range []struct {
			about, client, from string
			make                func(m []byte) []byte
			point, proof        string
			refused             string // the reply's code, else the message is taken
		}{
			{"signed", lab.FromGoogle, gail, func(m []byte) []byte { return ours.sign(t, m) }, "S1", passes, ""},
			{"signed, and large", lab.FromGoogle, gail, func(m []byte) []byte { return ours.sign(t, large(m)) }, "S1", passes, ""},
			{"forwarded by our tenant", lab.FromGoogle, eve, func(m []byte) []byte { return ours.sign(t, m) }, "S1", passes, ""},
			{"signed beside another", lab.FromGoogle, gail, func(m []byte) []byte { return other.sign(t, ours.sign(t, m)) }, "S1", passes, ""},
			{"signed beside a broken one of ours", lab.FromGoogle, gail, func(m []byte) []byte {
				changed := change(bytes.Clone(m))
				signature, _ := bytes.CutSuffix(ours.sign(t, changed), changed)
				return append(signature, ours.sign(t, m)...)
			}, "S1", passes, ""},
			{"signed beside one whose key the DNS fails for", lab.FromGoogle, gail, func(m []byte) []byte { return failing.sign(t, ours.sign(t, m)) }, "S1", passes, ""},

			{"not signed", lab.FromGoogle, eve, func(m []byte) []byte { return m }, "S0", none, ""},
			{"not signed, in our name", lab.FromGoogle, gail, func(m []byte) []byte { return m }, "S0", none, later},
			{"broken", lab.FromGoogle, eve, func(m []byte) []byte { return change(ours.sign(t, m)) }, "S0", broken, ""},
			{"broken, in our name", lab.FromGoogle, gail, func(m []byte) []byte { return change(ours.sign(t, m)) }, "S0", broken, usurped},
			{"broken, in our name, and large", lab.FromGoogle, gail, func(m []byte) []byte { return change(ours.sign(t, large(m))) }, "S0", broken, usurped},
			{"signed by another", lab.FromGoogle, eve, func(m []byte) []byte { return other.sign(t, m) }, "S0", none, ""},
			{"signed by another, in our name", lab.FromGoogle, gail, func(m []byte) []byte { return other.sign(t, m) }, "S0", none, later},
			{"signed by one below", lab.FromGoogle, eve, func(m []byte) []byte { return below.sign(t, m) }, "S0", none, ""},
			{"no key", lab.FromGoogle, eve, func(m []byte) []byte {
				one := newSigner(t, "globex.example")
				one.options.Selector = "gone"
				return one.sign(t, m)
			}, "S0", "the signature of globex.example does not pass but is permerror", ""},
			{"our tenant's name", lab.FromGoogle, eve, func(m []byte) []byte { return withHeader(crossTenant(lab.GoogleTenant), m) }, "S0", none, ""},
			{"from the Internet", lab.FromInternet, gail, func(m []byte) []byte { return ours.sign(t, m) }, "S0", "", ""},
			{"from the other platform", lab.FromOffice365, gail, func(m []byte) []byte { return ours.sign(t, m) }, "S0", "the message lacks X-MS-Exchange-CrossTenant-Id", ""},

			{"the DNS fails", lab.FromGoogle, eve, func(m []byte) []byte { return failing.sign(t, m) }, "S0", "the signature of globex.example does not pass but is temperror", ""},
			{"the DNS fails, in our name", lab.FromGoogle, gail, func(m []byte) []byte { return failing.sign(t, m) }, "S0", "is temperror", "451 4.3.0"},
			{"the DNS refuses, in our name", lab.FromGoogle, gail, func(m []byte) []byte { return refused.sign(t, m) }, "S0", "is temperror", "451 4.3.0"},
		} {
			m := c.make(lab.Plain(c.from, "hugo@globex.example", c.about))
			sender := strings.Replace(c.from, "@", "+"+strings.NewReplacer(" ", "-", ",", "").Replace(c.about)+"@", 1)
			r := s.send(c.client, lab.Mail{From: sender, To: lab.To("hugo@globex.example"), Data: m})
			if c.refused == "" {
				s.mustEnter(c.about, r, c.point, c.proof)
				s.mustArrive(m, "here hugo@globex.example")
				continue
			}
			if code(r.Data) != c.refused {
				t.Errorf("%s: the reply is %s; right is %s", c.about, r.Data, c.refused)
			}
			s.mustBeOf(c.about, parseLogLine(t, s.waitDaemonLog(`msg=message .*from=`+strings.ReplaceAll(sender, "+", `\+`)+` `)), c.point, c.proof)
			s.mustArrive(m)
		}
	})
}

func TestACertificateProvesTheTenant(t *testing.T) {
	onEachMTA(t, func(t *testing.T, mta lab.MTA) {
		make := func(a *lab.Authority, err error) *lab.Authority {
			t.Helper()
			if err != nil {
				t.Fatal(err)
			}
			return a
		}
		trusted, stranger := make(lab.NewAuthority("Lab Root")), make(lab.NewAuthority("Lab Root"))
		const name = "relay.contoso.example"
		main, files, err := trusted.Server("mta.lab.test")
		if err != nil {
			t.Fatal(err)
		}
		s := startSite(t, lab.SiteConfig{
			MTA:  mta,
			TOML: strings.Replace(lab.SiteTOML, `tenant   = "`+lab.OfficeTenant+`"`, `proof = { certificate = "Relay.Contoso.Example" }`, 1),
			Main: main, MC: lab.ServerMC(), Files: files,
		})
		const is, isNot, lacks = "the client's certificate is that of relay.contoso.example", "the client's certificate is not that of relay.contoso.example: the message counts as S0", "the client has no certificate that the MTA trusts: the message counts as S0"
		// An authority may take anything for the other parts of the subject.
		disguised, err := trusted.CertificateOf(pkix.Name{CommonName: "evil.example", SerialNumber: "1/CN=" + name})
		if err != nil {
			t.Fatal(err)
		}
		client := func(a *lab.Authority, name, from string) lab.Client {
			t.Helper()
			c := lab.Client{Server: s.Addr("public"), Local: from}
			switch {
			case a == nil && name == "":
				c.TLS = trusted.Client("mta.lab.test", nil)
			case a != nil:
				own, err := a.Certificate(name)
				if err != nil {
					t.Fatal(err)
				}
				c.TLS = trusted.Client("mta.lab.test", own)
			}
			return c
		}
		for _, c := range []struct {
			about        string
			client       lab.Client
			point, proof string
		}{
			{"right", client(trusted, name, lab.FromOffice365), "S1", is},
			{"right, in capitals", client(trusted, strings.ToUpper(name), lab.FromOffice365), "S1", is},
			{"another name", client(trusted, "mail.contoso.example", lab.FromOffice365), "S0", isNot},
			{"a name below", client(trusted, "x."+name, lab.FromOffice365), "S0", isNot},
			{"a name with more", client(trusted, name+".evil.example", lab.FromOffice365), "S0", isNot},
			{"the name in another part", lab.Client{Server: s.Addr("public"), Local: lab.FromOffice365, TLS: trusted.Client("mta.lab.test", disguised)}, "S0", isNot},
			{"another authority", client(stranger, name, lab.FromOffice365), "S0", lacks},
			{"no certificate", client(nil, "", lab.FromOffice365), "S0", lacks},
			{"no TLS", client(nil, "none", lab.FromOffice365), "S0", lacks},
			{"from the Internet", client(trusted, name, lab.FromInternet), "S0", ""},
		} {
			session, err := c.client.Dial(deadline(t))
			if err != nil {
				t.Fatalf("%s: %v", c.about, err)
			}
			// It holds for each message of the connection.
			for _, which := range []string{"first", "second"} {
				m := lab.Plain("eve@example.net", "bob@acmecorp.com", c.about+", "+which)
				r, err := session.Send(deadline(t), lab.Mail{From: "eve@example.net", To: lab.To("bob@acmecorp.com"), Data: m})
				if err != nil {
					t.Fatalf("%s: %v", c.about, err)
				}
				s.mustEnter(c.about, r, c.point, c.proof)
				s.mustArrive(m, "here bob@acmecorp.com")
			}
			session.Close()
		}
	})
}

func TestOneOfSeveralProofsIsEnough(t *testing.T) {
	onEachMTA(t, func(t *testing.T, mta lab.MTA) {
		trusted, err := lab.NewAuthority("Lab Root")
		if err != nil {
			t.Fatal(err)
		}
		main, files, err := trusted.Server("mta.lab.test")
		if err != nil {
			t.Fatal(err)
		}
		relay, err := trusted.Certificate("relay.contoso.example")
		if err != nil {
			t.Fatal(err)
		}
		secret := rand.Text()
		tenant := `tenant   = "` + lab.OfficeTenant + `"`
		s := startSite(t, lab.SiteConfig{
			MTA: mta,
			TOML: strings.Replace(lab.SiteTOML, tenant, tenant+`
proof = [
  { dkim = "acmecorp.com" },
  { header = "X-Coexist-Proof", secret_file = "`+secretFile(t, secret)+`" },
  { certificate = "relay.contoso.example" },
]`, 1),
			Main: main, MC: lab.ServerMC(), Files: files,
		})
		ours := newSigner(t, "acmecorp.com")
		s.DNS.Set(ours.name(), "TXT", ours.record)
		plain := lab.Client{Server: s.Addr("public"), Local: lab.FromOffice365}
		encrypted := plain
		encrypted.TLS = trusted.Client("mta.lab.test", relay)
		for _, c := range []struct {
			about  string
			client lab.Client
			make   func(m []byte) []byte
			proof  string
		}{
			{"the tenant", plain, func(m []byte) []byte { return fromTenant(lab.OfficeTenant, m) }, "names our tenant"},
			{"the secret", plain, func(m []byte) []byte { return withHeader("X-Coexist-Proof: "+secret, m) }, "holds the secret"},
			{"the secret beside another tenant", plain, func(m []byte) []byte {
				return fromTenant(foreignTenant, withHeader("X-Coexist-Proof: "+secret, m))
			}, "holds the secret"},
			{"the certificate", encrypted, func(m []byte) []byte { return m }, "the client's certificate is that of"},
			{"the signature", plain, func(m []byte) []byte { return ours.sign(t, m) }, "a signature of acmecorp.com passes"},
			{"none", plain, func(m []byte) []byte { return m }, ""},
		} {
			m := lab.Plain("eve@example.net", "bob@acmecorp.com", c.about)
			r, err := c.client.Send(deadline(t), lab.Mail{From: "eve@example.net", To: lab.To("bob@acmecorp.com"), Data: c.make(m)})
			if err != nil {
				t.Fatal(err)
			}
			if c.proof != "" {
				s.mustEnter(c.about, r, "S1", c.proof)
				continue
			}
			line := s.mustEnter(c.about, r, "S0", "counts as S0")
			for _, lack := range []string{"lacks X-MS-Exchange-CrossTenant-Id", "lacks X-Coexist-Proof", "no certificate that the MTA trusts", "no signature is one of acmecorp.com"} {
				if !strings.Contains(line["proof"], lack) {
					t.Errorf("the log does not say %q: %s", lack, line["proof"])
				}
			}
		}
		s.mustNotTell(secret)
	})
}
