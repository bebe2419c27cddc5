package rate

import (
	"net/netip"
	"strings"

	"coexistd/policy/mail"
	"coexistd/policy/route"
)

var byTexts = [...]string{"login", "client's address", "sender's address", "sender's domain", "recipient's address"}

// Counted returns what a key of the rule is, in people's words: "login".
func (b By) Counted() string { return byTexts[b] }

// Books are where limits of accounts stand: the directory, as Facts has it. The zero
// Books are empty.
type Books struct {
	Row   route.Rows
	Limit func(login, column string) (value string, failed bool)
}

// Allowance is what a rule allows one key.
type Allowance struct {
	// Limit may be Unlimited; Burst says nothing then.
	Limit, Burst int64
	// Unsure is set when a message of the key may find another limit: that goes by the
	// client's network, too, or the directory cannot tell.
	Unsure bool
}

// Allows returns what the rule allows a key, as far as that can be said without a message.
func (r *Rule) Allows(key string, b Books) Allowance {
	f := Facts{Row: b.Row, Limit: b.Limit}
	var account mail.Address
	switch r.By {
	case ByUser:
		f.Login = key
	case ByClient:
		f.Client = clientOf(key)
	case BySender, ByRecipient:
		account, _ = mail.ParseAddress(key, "")
	}
	limit, failed := r.limit(&f, key, account)
	if failed {
		limit = r.Limit
	}
	_, own := r.Accounts[key]
	byNetwork := r.By != ByClient && r.Networks.Len() > 0 && limit == r.Limit
	a := Allowance{Limit: limit, Unsure: !own && (failed || byNetwork)}
	if limit != Unlimited {
		a.Burst = r.burst(limit)
	}
	return a
}

// burst is how much may come at once under a limit of the rule, its own or an exception.
func (r *Rule) burst(limit int64) int64 {
	if limit == r.Limit {
		return r.Burst
	}
	return inProportion(r.Burst, limit, r.Limit)
}

// Key returns the key that a rule counts by for what people write: "Bob@Example.com" is
// bob@example.com to most rules, and an address of IPv6 its /64. What is none is returned
// as it is. An address in an alternate domain is not taken home.
func (r *Rule) Key(written string) string {
	switch r.By {
	case ByUser:
		return strings.ToLower(written)
	case ByClient:
		if key := clientKey(clientOf(written)); key != "" {
			return key
		}
		return written
	case BySenderDomain:
		if domain, err := mail.NormalDomain(written); err == nil {
			return domain
		}
		return written
	}
	if a, err := mail.ParseAddress(written, ""); err == nil && a.Domain != "" {
		return a.Owner
	}
	return written
}

// clientOf reads an address, or the first one of a network. It is invalid when the text is
// neither.
func clientOf(text string) netip.Addr {
	if prefix, err := netip.ParsePrefix(text); err == nil {
		return prefix.Addr()
	}
	client, _ := netip.ParseAddr(text)
	return client
}
