package spoof

import (
	"errors"
	"strings"

	"golang.org/x/net/publicsuffix"
)

// CheckService refuses a domain, in normal form, that cannot belong to one service. The
// error continues a sentence that begins with the domain.
func CheckService(domain string) error {
	// What the list of suffixes lacks has its last part for one.
	suffix, listed := publicsuffix.PublicSuffix(domain)
	isWord := !strings.Contains(domain, ".")
	switch {
	case suffix == domain && (listed || !isWord):
		return errors.New("is a public suffix: everybody can have a domain below it; write the service's own domain")
	case isWord:
		return errors.New(`is no domain that anybody has in the DNS; write the service's own whole, like "mailer.example"`)
	}
	return nil
}
