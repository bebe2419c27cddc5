package setup

import (
	"crypto/x509"
	"encoding/pem"
	"slices"
	"strings"

	"coexistd/cmd/coexistd/postconf"
	"coexistd/policy/config/files"
)

// maxCertificate bounds a file with a chain of certificates, in bytes.
const maxCertificate = files.MiB

// certificateNames are the DNS names in the first certificate that Postfix shows to clients.
func certificateNames(p *postconf.Settings) []string {
	for _, setting := range []string{"smtpd_tls_chain_files", "smtpd_tls_cert_file"} {
		for _, path := range postconf.List(p.Main[setting]) {
			text, _, err := files.Read(path, maxCertificate)
			if err != nil {
				continue
			}
			if names := namesIn([]byte(text)); len(names) > 0 {
				return names
			}
		}
	}
	return nil
}

// namesIn are the DNS names in the first certificate of a PEM file.
func namesIn(text []byte) []string {
	for {
		block, rest := pem.Decode(text)
		if block == nil {
			return nil
		}
		text = rest
		if block.Type != "CERTIFICATE" {
			continue
		}
		certificate, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil
		}
		return slices.Sorted(slices.Values(certificate.DNSNames))
	}
}

// IsCertified reports that a certificate with these names is one for a host (RFC 6125 section 6.4.3).
func IsCertified(names []string, host string) bool {
	_, above, _ := strings.Cut(host, ".")
	return slices.ContainsFunc(names, func(name string) bool {
		return strings.EqualFold(name, host) || above != "" && strings.EqualFold(name, "*."+above)
	})
}
