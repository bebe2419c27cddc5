package e2e

import (
	"bytes"
	"crypto/tls"
	"fmt"
	"strings"
	"testing"

	"coexistd/contrib/lab"
)

// demandsTOML demands a certificate of the bank's mail, TLS 1.3 of one network, and TLS of Office
// 365.
const demandsTOML = `
[[tls]]
name = "the bank"
domains = ["bank.example", ".bank.example"]
in = "verify"
names = ["mx.bank.example", ".out.bank.example"]

[[tls]]
name = "the network"
clients = ["127.0.3.64/28"]
in = "encrypt"
version = "1.3"

[[tls]]
name = "the cloud"
platform = "office365"
in = "encrypt"
`

// newAuthority makes an authority.
func newAuthority(t *testing.T) *lab.Authority {
	t.Helper()
	a, err := lab.NewAuthority("Lab Root")
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// certificateOf is a certificate, which made makes.
func certificateOf(t *testing.T, made func(string) (*tls.Certificate, error), name string) *tls.Certificate {
	t.Helper()
	c, err := made(name)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestAConnectionThatIsNotAsDemandedIsRefusedBeforeTheMessage(t *testing.T) {
	onEachMTA(t, func(t *testing.T, mta lab.MTA) {
		trusted, stranger := newAuthority(t), newAuthority(t)
		main, files, err := trusted.Server("mta.lab.test")
		if err != nil {
			t.Fatal(err)
		}
		s := startSite(t, lab.SiteConfig{MTA: mta, TOML: lab.SiteTOML + demandsTOML, Main: main, MC: lab.ServerMC(), Files: files})
		own := func(made func(string) (*tls.Certificate, error), name string) *tls.Config {
			t.Helper()
			return trusted.Client("mta.lab.test", certificateOf(t, made, name))
		}
		none := trusted.Client("mta.lab.test", nil)
		old := none.Clone()
		old.MaxVersion = tls.VersionTLS12
		const ofTheNetwork = "127.0.3.65"
		for _, c := range []struct {
			about, from, client string
			tls                 *tls.Config
			want                string // empty: it arrives
		}{
			{"nothing is demanded", "eve@example.net", lab.FromInternet, nil, ""},
			{"in the clear", "eve@bank.example", lab.FromInternet, nil, "530 5.7.0"},
			{"without a certificate", "eve@bank.example", lab.FromInternet, none, "550 5.7.10"},
			{"right", "eve@bank.example", lab.FromInternet, own(trusted.Certificate, "MX.bank.example"), ""},
			{"right, below", "eve@eu.bank.example", lab.FromInternet, own(trusted.Certificate, "a.out.bank.example"), ""},
			{"another name", "eve@bank.example", lab.FromInternet, own(trusted.Certificate, "mx.example.net"), "550 5.7.10"},
			{"expired", "eve@bank.example", lab.FromInternet, own(trusted.Expired, "mx.bank.example"), "550 5.7.10"},
			{"of nobody who is trusted", "eve@bank.example", lab.FromInternet, own(stranger.Certificate, "mx.bank.example"), "550 5.7.10"},
			{"an old version", "eve@example.net", ofTheNetwork, old, "550 5.7.10"},
			{"the new version", "eve@example.net", ofTheNetwork, none, ""},
			{"the platform, in the clear", "alice@acmecorp.com", lab.FromOffice365, nil, "530 5.7.0"},
			{"the platform", "alice@acmecorp.com", lab.FromOffice365, none, ""},
		} {
			m := fromTenant(lab.OfficeTenant, lab.Plain(c.from, forBob, c.about))
			client := lab.Client{Server: s.Addr("public"), Local: c.client, TLS: c.tls}
			r, err := client.Send(deadline(t), lab.Mail{From: c.from, To: lab.To(forBob), Data: m})
			switch {
			case err != nil:
				t.Errorf("%s: %v", c.about, err)
			case c.want == "":
				s.mustArrive(m, "here "+forBob)
			case !strings.HasPrefix(fmt.Sprint(r.To[0]), c.want):
				t.Errorf("%s: RCPT is answered %v; right is %s", c.about, r.To[0], c.want)
			}
		}

		// A version that nobody speaks any more does not get as far.
		ancient := none.Clone()
		ancient.MinVersion, ancient.MaxVersion = tls.VersionTLS10, tls.VersionTLS10
		m := lab.Mail{From: "eve@example.net", To: lab.To(forBob), Data: lab.Plain("eve@example.net", forBob, "TLS 1.0")}
		if r, err := (lab.Client{Server: s.Addr("public"), Local: ofTheNetwork, TLS: ancient}).Send(deadline(t), m); err == nil && r.Accepted() {
			t.Errorf("by TLS 1.0 it is taken: %+v", r)
		}

		s.says(exitNo, "explain --from eve@bank.example --to "+forBob+" --client "+lab.FromInternet+" --tls 1.3", "550 5.7.10", "the bank")
		s.says(exitYes, "explain --from eve@bank.example --to "+forBob+" --client "+lab.FromInternet+" --certificate mx.bank.example")

		s.configure(lab.SiteTOML + demandsTOML + "\n[check.tls]\non_hit = \"tag\"\n")
		marked := lab.Plain("eve@bank.example", forBob, "marked")
		s.says250(lab.FromInternet, "eve@bank.example", marked, forBob)
		s.settle()
		arrived, _ := s.copies(marked)
		if got := string(bytes.Join(arrived["here"], nil)); !strings.Contains(got, "\r\nX-Coexist-Tag: tls; the bank\r\n") {
			t.Errorf("what is not as demanded arrives as\n%s", got)
		}
	})
}

// The daemon hands released mail in by 127.0.0.1, without TLS.
func TestMailOfAPartnerOfWhomTLSIsDemandedIsReleased(t *testing.T) {
	onEachMTA(t, func(t *testing.T, mta lab.MTA) {
		trusted := newAuthority(t)
		main, files, err := trusted.Server("mta.lab.test")
		if err != nil {
			t.Fatal(err)
		}
		rspamd := startRspamd(t, lab.RspamdConfig{})
		s := startSite(t, lab.SiteConfig{
			MTA: mta, Main: main, MC: lab.ServerMC(), Files: files,
			TOML: checkedTOML("", rspamd.URL(), neverReport, "[[tls]]\nname = \"the partner\"\ndomains = [\"example.net\"]\nin = \"verify\"\n"),
		})
		m := spamFor(forBob, "past due")
		client := lab.Client{Server: s.Addr("public"), Local: lab.FromInternet, TLS: trusted.Client("mta.lab.test", certificateOf(t, trusted.Certificate, "mx.example.net"))}
		if r, err := client.Send(deadline(t), lab.Mail{From: "eve@example.net", To: lab.To(forBob), Data: m}); err != nil || !r.Accepted() {
			t.Fatalf("it is not taken: %+v, %v", r, err)
		}
		held := s.entriesOf(m)
		if len(held) != 1 {
			t.Fatalf("held are %+v", held)
		}
		s.release(held[0].ID, "released", "")
		s.mustArrive(m, "here "+forBob)
	})
}

// server is a host of a partner's, or of a platform's, to which mail leaves.
type server struct {
	about, demand string
	made          func(string) (*tls.Certificate, error) // nil: it knows no TLS
	name          string
	arrives       map[lab.MTA]bool
}

func TestMailLeavesForServersThatAreAsDemandedAndWaitsForOthers(t *testing.T) {
	onEachMTA(t, func(t *testing.T, mta lab.MTA) {
		trusted, stranger := newAuthority(t), newAuthority(t)
		_, files, err := trusted.Server("mta.lab.test")
		if err != nil {
			t.Fatal(err)
		}
		both, neither := map[lab.MTA]bool{lab.PostfixMTA: true, lab.SendmailMTA: true}, map[lab.MTA]bool{}
		const secure = `out = "secure"` + "\n" + `names = ["mx.cloud.example"]`
		servers := []server{
			{"nothing is demanded", "", nil, "", both},
			{"no TLS", `out = "encrypt"`, nil, "", neither},
			{"any certificate", `out = "encrypt"`, stranger.Certificate, "mx.other.example", both},
			{"right", secure, trusted.Certificate, "mx.cloud.example", both},
			{"another name", secure, trusted.Certificate, "mx.other.example", neither},
			{"expired", secure, trusted.Expired, "mx.cloud.example", neither},
			{"of nobody who is trusted", secure, stranger.Certificate, "mx.cloud.example", neither},
			{"no TLS at all", secure, nil, "", neither},
		}
		c := lab.SiteConfig{MTA: mta, Files: files, Routes: map[string]string{}}
		toml, alternates, access := lab.SiteTOML, "", ""
		sinks := make([]*lab.Sink, len(servers))
		for i, one := range servers {
			var config lab.SinkConfig
			if one.made != nil {
				config.TLS = &tls.Config{Certificates: []tls.Certificate{*certificateOf(t, one.made, one.name)}}
			}
			if sinks[i], err = lab.StartSink(config); err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { sinks[i].Close() })
			platform, domain := fmt.Sprintf("p%d", i), fmt.Sprintf("alt%d.example", i)
			toml += fmt.Sprintf("\n[platform.%s]\nrelay = %q\n", platform, strings.TrimPrefix(sinks[i].NextHop(), "smtp:"))
			alternates += fmt.Sprintf(", %s = %q", platform, domain)
			c.Routes[domain] = sinks[i].NextHop()
			switch {
			case one.demand == secure:
				access += "TLS_Rcpt:" + domain + "\tVERIFY:112+CN:mx.cloud.example\n"
			case one.demand != "":
				access += "TLS_Rcpt:" + domain + "\tENCR:112\n"
			}
			if one.demand != "" {
				toml += fmt.Sprintf("\n[[tls]]\nname = %q\nplatform = %q\n%s\n", one.about, platform, one.demand)
			}
		}
		c.TOML = strings.Replace(toml, `"acmecorp-com.onmicrosoft.com" }`, `"acmecorp-com.onmicrosoft.com"`+alternates+" }", 1)
		c.Main = map[string]string{"smtp_tls_policy_maps": "socketmap:unix:{dir}/lookup.sock:tls", "smtp_tls_CAfile": "$config_directory/tls-authority.pem"}
		c.Files["access"] = access
		c.MC = append(lab.ServerMC(), "FEATURE(`access_db', `text -k0 -v1 {etc}/access')dnl")
		s := startSite(t, c)
		for i, one := range servers {
			to := fmt.Sprintf("x@alt%d.example", i)
			m := lab.Plain("bob@acmecorp.com", to, one.about)
			s.deliver(lab.FromUser, lab.Mail{From: "bob@acmecorp.com", To: lab.To(to), Data: m})
			if !one.arrives[mta] {
				s.do(s.WaitDeferred(deadline(t), to, "(?i)tls|certificate|encrypt|verif"))
				continue
			}
			if _, err := sinks[i].Wait(deadline(t), func(lab.Delivery) bool { return true }); err != nil {
				t.Errorf("%s: %v", one.about, err)
			}
		}
		for i, one := range servers {
			if got := len(sinks[i].All()); got > 0 != one.arrives[mta] {
				t.Errorf("%s: %d messages arrived", one.about, got)
			}
		}
	})
}
