package setup

import (
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"slices"
	"strings"

	"coexistd/cmd/coexistd/postconf"
	"coexistd/policy/config/files"
)

// maxCertificate bounds a file with a chain of certificates, in bytes.
const maxCertificate = files.MiB

// certificateNames are the DNS names in the first certificate that Postfix shows to clients.
func certificateNames(p *postconf.Settings) []string {
	return namesAt(append(postconf.List(p.Main["smtpd_tls_chain_files"]), postconf.List(p.Main["smtpd_tls_cert_file"])...)...)
}

// namesAt are the DNS names in the first of some files that has a certificate.
func namesAt(paths ...string) []string {
	for _, path := range paths {
		if certificate, err := Certificate(path); err == nil {
			return slices.Sorted(slices.Values(certificate.DNSNames))
		}
	}
	return nil
}

// Certificate reads the first certificate of a PEM file.
func Certificate(path string) (*x509.Certificate, error) {
	content, _, err := files.Read(path, maxCertificate)
	if err != nil {
		return nil, fmt.Errorf("%s %w", path, err)
	}
	for rest := []byte(content); ; {
		var block *pem.Block
		if block, rest = pem.Decode(rest); block == nil {
			return nil, fmt.Errorf("%s has no certificate in PEM", path)
		}
		if block.Type != "CERTIFICATE" {
			continue
		}
		certificate, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, fmt.Errorf("%s has a certificate that cannot be read: %w", path, err)
		}
		return certificate, nil
	}
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
