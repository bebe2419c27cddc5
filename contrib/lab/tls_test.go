package lab

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"regexp"
	"strings"
	"testing"
)

func newAuthority(t *testing.T, name string) *Authority {
	t.Helper()
	a, err := NewAuthority(name)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func certificate(t *testing.T, a *Authority, name string) *tls.Certificate {
	t.Helper()
	c, err := a.Certificate(name)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestPostfixTrustsTheClientCertificatesOfItsAuthorityOnly(t *testing.T) {
	t.Parallel()
	ours, other := newAuthority(t, "lab authority"), newAuthority(t, "other authority")
	main, files, err := ours.Server("mta.lab.test")
	if err != nil {
		t.Fatal(err)
	}
	main["mynetworks"] = "127.0.0.0/8"
	main["smtpd_tls_received_header"] = "yes"
	sink := startSink(t, SinkConfig{})
	m := startPostfix(t, Config{
		Services: []Service{{Name: "smtp", Settings: map[string]string{"smtpd_sasl_auth_enable": "yes", "smtpd_tls_auth_only": "yes"}}},
		Main:     main, Files: files,
		Routes: map[string]string{"*": sink.NextHop()},
		Users:  map[string]string{"bob": "secret"},
	})
	const name = "mail.protection.example"
	for _, test := range []struct {
		local    string
		own      *tls.Certificate
		log      string
		received string
	}{
		{"127.0.1.1", certificate(t, ours, name), "Trusted", `Client CN "mail.protection.example", Issuer "lab authority" (verified OK)`},
		{"127.0.1.2", certificate(t, other, name), "Untrusted", `Client CN "mail.protection.example", Issuer "other authority" (not verified)`},
		{"127.0.1.3", nil, "Anonymous", "Client did not present a certificate"},
	} {
		from := test.local + "@example.org"
		c := Client{Server: m.Addr("smtp"), Local: test.local, TLS: ours.Client("mta.lab.test", test.own), User: "bob", Password: "secret"}
		if r := send(t, c, Mail{From: from, To: To("alice@example.com"), Data: Plain(from, "alice@example.com", "hello")}); !r.Accepted() {
			t.Fatalf("%s: %+v", test.log, r)
		}
		want := regexp.MustCompile(test.log + ` TLS connection established from unknown\[` + regexp.QuoteMeta(test.local) + `\]: TLSv1.3`)
		if !want.MatchString(m.Log()) {
			t.Errorf("the log does not have %s", want)
		}
		d, err := sink.Wait(deadline(t), func(d Delivery) bool { return d.From == from })
		if err != nil {
			t.Fatal(err)
		}
		if got := strings.Join(strings.Fields(string(d.Data)), " "); !strings.Contains(got, test.received) {
			t.Errorf("%s: the message is %s\nwant %s", test.log, got, test.received)
		}
	}
	if _, err := (Client{Server: m.Addr("smtp"), User: "bob", Password: "secret"}).Dial(deadline(t)); err == nil || !strings.Contains(err.Error(), "refused AUTH") {
		t.Errorf("AUTH without TLS: %v; want it refused", err)
	}
	for _, stranger := range []*tls.Config{other.Client("mta.lab.test", nil), ours.Client("mx.lab.test", nil)} {
		var failure *tls.CertificateVerificationError
		if _, err := (Client{Server: m.Addr("smtp"), TLS: stranger}).Dial(deadline(t)); !errors.As(err, &failure) {
			t.Errorf("a client that wants %s, of another authority or name: %v", stranger.ServerName, err)
		}
	}
}

func TestAServerWithoutTLSIsNotSpokenToWithIt(t *testing.T) {
	t.Parallel()
	m := startPostfix(t, Config{Services: []Service{{Name: "smtp"}}})
	c := Client{Server: m.Addr("smtp"), TLS: newAuthority(t, "lab authority").Client("mta.lab.test", nil)}
	if _, err := c.Dial(deadline(t)); err == nil || !strings.Contains(err.Error(), "refused STARTTLS: 5") {
		t.Errorf("%v; want STARTTLS refused", err)
	}
}

func TestACertificateServesForADayAndItsNameOnly(t *testing.T) {
	t.Parallel()
	a := newAuthority(t, "lab authority")
	c := certificate(t, a, "mta.lab.test")
	roots := a.Client("", nil).RootCAs
	for name, want := range map[string]bool{"mta.lab.test": true, "mx.lab.test": false} {
		_, err := c.Leaf.Verify(x509.VerifyOptions{Roots: roots, DNSName: name})
		if (err == nil) != want {
			t.Errorf("for %s: %v; want it valid: %v", name, err, want)
		}
	}
	_, err := c.Leaf.Verify(x509.VerifyOptions{Roots: roots, CurrentTime: c.Leaf.NotBefore.AddDate(0, 0, 2)})
	if err == nil {
		t.Error("it is valid for two days")
	}
}
