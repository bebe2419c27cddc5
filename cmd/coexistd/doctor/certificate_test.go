package doctor

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"coexistd/cmd/coexistd/postconf"
)

// certified writes a certificate with these names that ends at a time.
func certified(t *testing.T, end time.Time, names ...string) (path string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotBefore: end.Add(-4800 * time.Hour), NotAfter: end, DNSNames: names, Subject: pkix.Name{CommonName: "mail"}}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	path = filepath.Join(t.TempDir(), "certificate.pem")
	text := append([]byte("-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"), pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})...)
	if err := os.WriteFile(path, text, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestTheDoctorLooksAtTheCertificatesThatTheMTAShows(t *testing.T) {
	t.Parallel()
	const day = 24 * time.Hour
	const byItself = "warn of the certificate that the MTA shows to those who send to it, {path}, is to be said: it is signed by itself. A connector or route that demands one of a public authority delivers nothing here"
	for name, c := range map[string]struct {
		server, client []string // names
		left           time.Duration
		want           []string
	}{
		"all is well":              {[]string{"mail.acmecorp.com"}, []string{"mail.acmecorp.com"}, 31 * day, []string{"ok the certificate that the MTA shows to those who send to it, {path} (for mail.acmecorp.com), holds until ", "ok the certificate that the MTA shows to those to whom it sends", byItself}},
		"for all hosts":            {[]string{"*.acmecorp.com"}, []string{"*.acmecorp.com"}, 31 * day, []string{"ok ", "ok ", byItself}},
		"it ends soon":             {[]string{"mail.acmecorp.com"}, []string{"mail.acmecorp.com"}, 29*day + time.Hour, []string{"warn the certificate that the MTA shows to those who send to it, {path} (for mail.acmecorp.com), ends in 29 days", "warn the certificate that the MTA shows to those to whom it sends", byItself}},
		"it is over":               {[]string{"mail.acmecorp.com"}, []string{"mail.acmecorp.com"}, -time.Hour, []string{"fail the certificate that the MTA shows to those who send to it, {path} (for mail.acmecorp.com), has been over since ", "fail "}},
		"another name":             {[]string{"ns.example.net"}, []string{"ns.example.net"}, 99 * day, []string{"ok ", "ok ", "warn the certificate that the MTA shows to those who send to it is not for mail.acmecorp.com (hostname) but for ns.example.net", "warn the certificate that the MTA shows to those to whom it sends, {path}, is for ns.example.net, and Office 365 looks for the connector"}},
		"a common name alone":      {[]string{}, []string{}, 99 * day, []string{"ok the certificate that the MTA shows to those who send to it, {path} (without a name in its subjectAltName), holds", "ok ", "warn the certificate that the MTA shows to those who send to it is not for mail.acmecorp.com (hostname) but without a name in its subjectAltName: a", "warn the certificate that the MTA shows to those to whom it sends, {path}, is without a name in its subjectAltName, and Office 365"}},
		"below an accepted domain": {[]string{"mail.acmecorp.com"}, []string{"out.acmecorp.com"}, 99 * day, []string{"ok ", "ok ", byItself}},
		"none":                     {nil, nil, 0, []string{"warn the MTA shows no certificate to those who send to it", "warn the MTA shows no certificate to those to whom it sends: Office 365 looks for the connector of our mail by the certificate first"}},
		"none to others":           {[]string{"mail.acmecorp.com"}, nil, 99 * day, []string{"ok ", byItself, "warn the MTA shows no certificate to those to whom it sends"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			x := host(t)
			main := map[string]string{"smtpd_tls_cert_file": "none", "smtpd_tls_chain_files": "", "smtp_tls_cert_file": "", "smtp_tls_chain_files": ""}
			if c.server != nil {
				main["smtpd_tls_chain_files"] = certified(t, x.now.Add(c.left), c.server...) + ", /nowhere"
			}
			if c.client != nil {
				main["smtp_tls_cert_file"] = certified(t, x.now.Add(c.left), c.client...)
			}
			x.mta = &postfix{Settings: &postconf.Settings{Main: main}}
			mustFind(t, lookAtCertificates(t.Context(), x), c.want...)
		})
	}
	x := host(t)
	x.mta = &postfix{Settings: &postconf.Settings{Main: map[string]string{"smtpd_tls_cert_file": "/nowhere", "smtp_tls_cert_file": "/nowhere"}}}
	mustFind(t, lookAtCertificates(t.Context(), x), "warn the certificate that the MTA shows to those who send to it (smtpd_tls_cert_file) cannot be told: /nowhere ", "warn the certificate that the MTA shows to those to whom it sends (smtp_tls_cert_file) cannot be told")
}

func TestTheDoctorLooksAtSendmailsCertificatesToo(t *testing.T) {
	t.Parallel()
	x := host(t, [3]string{"+sendmail.cf", "", "O ServerCertFile=/nowhere\n"})
	mustFind(t, lookAtCertificates(t.Context(), x), "warn the certificate that the MTA shows to those who send to it (ServerCertFile) cannot be told: /nowhere ", "warn the MTA shows no certificate to those to whom it sends")
	for _, f := range lookAtCertificates(t.Context(), host(t)) {
		if strings.Contains(f.Remedy, "ostfix") || !strings.Contains(f.Remedy, "coexistd setup sendmail") {
			t.Errorf("beside Sendmail the remedy is: %s", f.Remedy)
		}
	}
}

// mustFind compares findings with the beginnings of what they should be, in which {path} stands for
// any path.
func mustFind(t *testing.T, findings []Finding, want ...string) {
	t.Helper()
	var got []string
	for _, f := range findings {
		if f.Status != OK && f.Remedy == "" {
			t.Errorf("there is no remedy for: %s", f.Found)
		}
		words := strings.Split(f.Status+" "+f.Found, " ")
		for i, word := range words {
			if strings.HasSuffix(strings.TrimSuffix(word, ","), "certificate.pem") {
				words[i] = "{path}" + strings.TrimPrefix(word, strings.TrimSuffix(word, ","))
			}
		}
		got = append(got, strings.Join(words, " "))
	}
	same := len(got) == len(want)
	for i := range min(len(got), len(want)) {
		same = same && strings.HasPrefix(got[i], want[i])
	}
	if !same {
		t.Errorf("it finds\n%s\nright is\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

func TestTheDoctorTellsOfALoginWithAPasswordThatOffice365GivesUp(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		host, login string
		told        bool
	}{
		{"[smtp.office365.com]:587", "yes", true}, {"[SMTP.office365.com]:587", "yes", true}, {"[smtp.office365.com]:587", "no", false},
		{"[acmecorp-com.mail.protection.outlook.com]", "yes", true}, {"[acmecorp-com.mail.protection.outlook.com]", "no", false}, {"[smtp-relay.gmail.com]:587", "yes", false}, {"", "yes", false},
	} {
		p := &postfix{Settings: &postconf.Settings{Main: map[string]string{"relayhost": c.host, "smtp_sasl_auth_enable": c.login}}}
		var want []string
		if c.told {
			want = []string{"warn relayhost is " + strings.ToLower(c.host) + ", where the MTA logs in with a password"}
		}
		mustFind(t, p.smartHost(), want...)
	}
	office := [3]string{"sendmail.cf", "\nDS\n", "\nDSsmtp.office365.com\n"}
	const want = "warn SMART_HOST is smtp.office365.com, where the MTA logs in with a password"
	mustFind(t, host(t, office).sendmail.smartHost())
	mustFind(t, host(t, office, [3]string{"+access", "", "AuthInfo:smtp.office365.com \"U:a\" \"P:b\"\n"}).sendmail.smartHost(), want)
	mustFind(t, host(t, office, [3]string{"+sendmail.cf", "", "Kauthinfo hash /etc/mail/authinfo\n"}).sendmail.smartHost(), want)
}
