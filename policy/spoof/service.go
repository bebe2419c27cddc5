package spoof

import (
	"errors"
	"fmt"
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
	if like := tenantsBelow(domain); like != "" {
		return fmt.Errorf("has a domain below it for each tenant, and all of them could write in our name; write that of our own, like %q", like)
	}
	return nil
}

// tenantsBelow returns what a tenant's domain looks like below one in which a platform gives
// each of its tenants a domain that mail is signed with; "" for any other.
func tenantsBelow(domain string) (like string) {
	switch {
	case domain == "onmicrosoft.com" || domain == "mail.onmicrosoft.com":
		return "acmecorp." + domain
	case domain == gappsDomain:
		return "acmecorp-com.20230601." + gappsDomain
	}
	// Google's have the day from which the key is, and a tenant's name before it.
	day, isGoogles := strings.CutSuffix(domain, "."+gappsDomain)
	if isGoogles && strings.Trim(day, "0123456789") == "" {
		return "acmecorp-com." + domain
	}
	return ""
}

// gappsDomain is that with which Google signs for tenants who have no key of their own.
const gappsDomain = "gappssmtp.com"
