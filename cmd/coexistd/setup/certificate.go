package setup

import (
	"bytes"
	"cmp"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"coexistd/cmd/coexistd/postconf"
	"coexistd/policy/config/files"
)

// maxCertificate bounds a file with a chain of certificates, in bytes.
const maxCertificate = files.MiB

// takeCertificate takes the certificate that Postfix shows to clients into the site.
func (s *Site) takeCertificate(p *postconf.Settings) {
	s.takeFirstOf(append(postconf.List(p.Main["smtpd_tls_chain_files"]), postconf.List(p.Main["smtpd_tls_cert_file"])...)...)
}

// takeFirstOf takes the first of some files that has a certificate into the site.
func (s *Site) takeFirstOf(paths ...string) {
	for _, path := range paths {
		if chain, err := Chain(path); err == nil {
			s.CertificateNames = slices.Sorted(slices.Values(chain[0].DNSNames))
			s.CertificateErr = Distrust(chain, s.Conf.Rules.Hostname, time.Now())
			return
		}
	}
}

// Distrust says why a client that demands the certificate of an authority that all know, with
// the name of a host, does not take the first of a chain at a time; nil: by the authorities that
// this system knows, it does.
func Distrust(chain []*x509.Certificate, host string, now time.Time) error {
	own := chain[0]
	between := x509.NewCertPool()
	for _, one := range chain[1:] {
		between.AddCert(one)
	}
	_, err := own.Verify(x509.VerifyOptions{DNSName: host, Intermediates: between, CurrentTime: now})
	_, unknown := errors.AsType[x509.UnknownAuthorityError](err)
	switch {
	case err == nil:
		return nil
	case unknown && bytes.Equal(own.RawIssuer, own.RawSubject):
		return errors.New("it is signed by itself")
	case unknown:
		return fmt.Errorf("it is of an authority that this system does not know (%s), or lacks the certificates between", own.Issuer)
	case !IsCertified(own.DNSNames, host):
		return fmt.Errorf("it is not for %s but for %s", host, cmp.Or(strings.Join(own.DNSNames, ", "), "no DNS name"))
	}
	return fmt.Errorf("it does not hold: %w", err)
}

// Chain reads the certificates of a PEM file, of which there is one at least.
func Chain(path string) ([]*x509.Certificate, error) {
	content, _, err := files.Read(path, maxCertificate)
	if err != nil {
		return nil, fmt.Errorf("%s %w", path, err)
	}
	var chain []*x509.Certificate
	for block, rest := pem.Decode([]byte(content)); block != nil; block, rest = pem.Decode(rest) {
		if block.Type != "CERTIFICATE" {
			continue
		}
		certificate, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, fmt.Errorf("%s has a certificate that cannot be read: %w", path, err)
		}
		chain = append(chain, certificate)
	}
	if len(chain) == 0 {
		return nil, fmt.Errorf("%s has no certificate in PEM", path)
	}
	return chain, nil
}

// IsCertified reports that a certificate with these names is one for a host (RFC 6125 section 6.4.3).
func IsCertified(names []string, host string) bool {
	_, above, _ := strings.Cut(host, ".")
	return slices.ContainsFunc(names, func(name string) bool {
		return strings.EqualFold(name, host) || above != "" && strings.EqualFold(name, "*."+above)
	})
}

// hasOurName reports a certificate in the name of a domain of ours, or of a host below one.
func (s *Site) hasOurName() bool {
	return slices.ContainsFunc(s.CertificateNames, func(name string) bool {
		return slices.ContainsFunc(s.ours(), func(domain string) bool { return name == domain || strings.HasSuffix(name, "."+domain) })
	})
}
