package e2e

import (
	"strings"
	"testing"

	"coexistd/contrib/lab"
)

func TestTheDoctorSeesWhetherPostfixDemandsWhatItShould(t *testing.T) {
	t.Parallel()
	const lookup = "\n[[lookup]]\naddress = \"unix:{dir}/lookup.sock\"\nmode    = \"0666\"\n"
	demands := func(out string) string {
		return lab.SiteTOML + "\n[[tls]]\nname = \"the bank\"\ndomains = [\"bank.example\"]\nout = \"" + out + "\"\n"
	}
	asks := func(more map[string]string) map[string]string {
		return with(map[string]string{"smtp_tls_policy_maps": "socketmap:unix:{dir}/lookup.sock:tls"}, more)
	}
	clients := strings.Replace(demands("encrypt"), "out = \"encrypt\"", "in = \"verify\"", 1)
	const noCertificate = "smtpd (smtp) asks clients for no certificate"
	const authority, dnssec = "smtp (smtp, relay) trusts no authority", "smtp (smtp, relay) asks the DNS without DNSSEC"
	for _, c := range []struct {
		about, toml string
		main        map[string]string
		says        string // empty: nothing is wrong with it
	}{
		{"encrypt", demands("encrypt"), asks(nil), ""},
		{"nobody asks", demands("encrypt"), nil, "FAIL  postfix        smtp_tls_policy_maps does not ask coexistd for tls: mail goes to servers whatever out of [[tls]] demands of them"},
		{"no lookup", strings.Replace(demands("encrypt"), lookup, "", 1), nil, "FAIL  postfix        there is no [[lookup]], of which Postfix asks what is demanded of servers"},
		{"no authority", demands("secure"), asks(nil), "FAIL  postfix        " + authority},
		{"authorities", demands("verify"), asks(map[string]string{"smtp_tls_CApath": "/etc/ssl/certs"}), ""},
		{"no DNSSEC", demands("dane"), asks(nil), "FAIL  postfix        " + dnssec},
		{"of clients", clients, map[string]string{"smtpd_tls_security_level": "may"}, "warn  postfix        " + noCertificate},
		{"of clients, asked for one", clients, map[string]string{"smtpd_tls_security_level": "may", "smtpd_tls_ask_ccert": "yes"}, ""},
		{"of clients, who must have one", clients, map[string]string{"smtpd_tls_security_level": "encrypt", "smtpd_tls_req_ccert": "yes"}, ""},
		{"DNSSEC", demands("dane-only"), asks(map[string]string{"smtp_dns_support_level": "dnssec"}), ""},
	} {
		t.Run(c.about, func(t *testing.T) {
			t.Parallel()
			out := ofPostfix(t, c.toml, c.main, nil)
			wrong := strings.Contains(out, authority) || strings.Contains(out, dnssec) || strings.Contains(out, noCertificate) || strings.Contains(out, "whatever out of [[tls]]")
			if c.says == "" && wrong || !strings.Contains(out, c.says) {
				t.Errorf("the doctor says\n%s", out)
			}
		})
	}
}
