package spoof

import (
	"coexistd/policy/networks"
	"coexistd/policy/verdict"
)

// Rules are what the check spoof goes by.
type Rules struct {
	// DMARC is the strictest verdict of what fails a domain's published policy:
	// Reject is as published.
	DMARC verdict.Verdict
	// SPF is the verdict of what SPF calls a fail, from a domain that publishes no
	// policy by DMARC.
	SPF verdict.Verdict
	// Services are those who may send in our domains' names from outside: clients
	// by their networks, and domains, in normal form, that SPF or DKIM proves.
	Services Services
	// Delegates maps a login, in lower case, to what it may send as beside its own
	// addresses: addresses, and domains as "@" with their normal form.
	Delegates map[string][]string
}

// Services are senders of mail in others' names.
type Services struct {
	Networks networks.Set
	Domains  []string
}
