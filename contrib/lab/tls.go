package lab

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"time"
)

// Authority is a certification authority of a test. Its certificates, and it
// itself, are valid for a day.
type Authority struct {
	certificate *x509.Certificate
	key         *ecdsa.PrivateKey
}

// NewAuthority makes an authority of that name (CN), which nobody knows yet.
func NewAuthority(name string) (*Authority, error) {
	a := &Authority{}
	template := &x509.Certificate{
		Subject: pkix.Name{CommonName: name}, IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	issued, err := a.issue(template)
	if err != nil {
		return nil, err
	}
	a.certificate, a.key = issued.Leaf, issued.PrivateKey.(*ecdsa.PrivateKey)
	return a, nil
}

// issue makes a certificate, the authority's own where it has none yet.
func (a *Authority) issue(template *x509.Certificate) (*tls.Certificate, error) {
	fail := func(err error) (*tls.Certificate, error) {
		return nil, fmt.Errorf("lab: making a certificate of %s: %w", template.Subject.CommonName, err)
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return fail(err)
	}
	if template.SerialNumber, err = rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 64)); err != nil {
		return fail(err)
	}
	now := time.Now()
	if template.NotBefore = now.Add(-time.Hour); template.NotAfter.IsZero() {
		template.NotAfter = now.Add(24 * time.Hour)
	}
	parent, signer := a.certificate, a.key
	if parent == nil {
		parent, signer = template, key
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, &key.PublicKey, signer)
	if err != nil {
		return fail(err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		return fail(err)
	}
	return &tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key, Leaf: leaf}, nil
}

// Certificate makes a certificate of that name, as CN and as DNS name, for a
// server or a client.
func (a *Authority) Certificate(name string) (*tls.Certificate, error) {
	return a.CertificateOf(pkix.Name{CommonName: name})
}

// CertificateOf makes a certificate of that subject, with its CN as DNS name.
func (a *Authority) CertificateOf(subject pkix.Name) (*tls.Certificate, error) {
	return a.issue(&x509.Certificate{
		Subject: subject, DNSNames: []string{subject.CommonName}, KeyUsage: x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	})
}

// Expired makes a certificate of that name whose time was over a minute ago.
func (a *Authority) Expired(name string) (*tls.Certificate, error) {
	return a.issue(&x509.Certificate{
		Subject: pkix.Name{CommonName: name}, DNSNames: []string{name}, KeyUsage: x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth}, NotAfter: time.Now().Add(-time.Minute),
	})
}

// ServerMC are the lines of sendmail.mc by which Sendmail uses the files of
// Authority.Server as an smtpd does with its settings: it asks clients for a
// certificate unless TLS_SRV_OPTIONS says otherwise.
func ServerMC() []string {
	return []string{
		"define(`confCACERT', `{etc}/tls-authority.pem')dnl",
		"define(`confCACERT_PATH', `{etc}')dnl",
		"define(`confSERVER_CERT', `{etc}/tls-certificate.pem')dnl",
		"define(`confSERVER_KEY', `{etc}/tls-key.pem')dnl",
		"define(`confTLS_SRV_OPTIONS', `')dnl",
	}
}

// Server makes what an smtpd needs to be the server of that name: settings for
// Config.Main and files for Config.Files. It offers TLS, asks each client for
// a certificate, and trusts those of this authority. See ServerMC for Sendmail.
func (a *Authority) Server(name string) (main, files map[string]string, err error) {
	c, err := a.Certificate(name)
	if err != nil {
		return nil, nil, err
	}
	if files, err = a.files(c); err != nil {
		return nil, nil, err
	}
	main = map[string]string{
		"smtpd_tls_security_level": "may",
		"smtpd_tls_ask_ccert":      "yes",
		"smtpd_tls_loglevel":       "1",
		"smtpd_tls_CAfile":         "$config_directory/tls-authority.pem",
		"smtpd_tls_cert_file":      "$config_directory/tls-certificate.pem",
		"smtpd_tls_key_file":       "$config_directory/tls-key.pem",
	}
	return main, files, nil
}

// The files of a server's folder that a.files makes.
const (
	authorityFile   = "tls-authority.pem"
	certificateFile = "tls-certificate.pem"
	keyFile         = "tls-key.pem"
)

// files has the certificate, its key and that of the authority in PEM.
func (a *Authority) files(c *tls.Certificate) (map[string]string, error) {
	key, err := x509.MarshalPKCS8PrivateKey(c.PrivateKey)
	if err != nil {
		return nil, fmt.Errorf("lab: %w", err)
	}
	encode := func(kind string, der []byte) string {
		return string(pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}))
	}
	return map[string]string{
		authorityFile:   encode("CERTIFICATE", a.certificate.Raw),
		certificateFile: encode("CERTIFICATE", c.Leaf.Raw),
		keyFile:         encode("PRIVATE KEY", key),
	}, nil
}

// loopbackFiles are those of a server that clients know by its name or by its address.
// Without an authority there are none.
func (a *Authority) loopbackFiles(name, address string) (map[string]string, error) {
	if a == nil {
		return map[string]string{}, nil
	}
	c, err := a.issue(&x509.Certificate{
		Subject: pkix.Name{CommonName: name}, DNSNames: []string{name}, IPAddresses: []net.IP{net.ParseIP(address)},
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	})
	if err != nil {
		return nil, err
	}
	return a.files(c)
}

// Client is for Client.TLS: it wants the server of that name, with a
// certificate of this authority. The client's own certificate, which may be
// another authority's, is shown even to a server that does not know its
// authority; nil: none.
func (a *Authority) Client(server string, own *tls.Certificate) *tls.Config {
	c := &tls.Config{ServerName: server, RootCAs: x509.NewCertPool()}
	c.RootCAs.AddCert(a.certificate)
	if own != nil {
		c.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return own, nil }
	}
	return c
}
