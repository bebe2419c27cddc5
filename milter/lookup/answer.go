package lookup

import (
	"fmt"
	"strings"

	"coexistd/policy"
	"coexistd/policy/directory"
)

// The replies that carry no data of a mailbox (socketmap_table(5)).
const (
	notFound   = "NOTFOUND "
	failed     = "TEMP the directory cannot answer at the moment"
	noKey      = "PERM a request is the name of a map, a space, and a key"
	moving     = "OK retry:4.2.1 The mailbox is being moved, try again later"
	unlisted   = "OK error:5.1.1 The address is not known here"
	unknownMap = "PERM unknown map %q; there are recipients, aliases, members, transport, senders"
)

// question is one key, asked with one policy and one directory.
type question struct {
	policy *policy.Policy
	set    *directory.Set
	key    string
}

// answer returns the reply to a request. Any request is safe.
func answer(p *policy.Policy, set *directory.Set, request string) string {
	name, key, ok := strings.Cut(request, " ")
	if !ok {
		return noKey
	}
	q := question{policy: p, set: set, key: key}
	switch name {
	case "recipients":
		return q.recipients()
	case "aliases":
		return q.aliases(true)
	case "members":
		return q.aliases(false)
	case "transport":
		return q.transport()
	case "senders":
		return q.senders()
	}
	const longest = 40
	return fmt.Sprintf(unknownMap, name[:min(len(name), longest)])
}

// recipients says whether an address exists, and where it lives.
func (q question) recipients() string {
	_, residence, known, reply := q.locate()
	switch {
	case reply != "":
		return reply
	case !known:
		return notFound
	}
	return "OK " + residence.String()
}

// locate finds where the mailbox of the key lives; known is false when nobody
// has the address. A reply that is not empty is the answer to the question: the
// key is not an address of ours, or the directory failed.
func (q question) locate() (a policy.Address, residence policy.Residence, known bool, reply string) {
	a, ok := q.ours()
	if !ok {
		return a, residence, false, notFound
	}
	listing := q.set.List(a)
	if listing.Failed {
		return a, residence, false, failed
	}
	residence, known = q.policy.Locate(a, listing)
	return a, residence, known, ""
}

// aliases gives the addresses that mail for an address goes to, when that is not
// the address alone. Dual delivery is left out when copies is not set: the milter
// sees to it. The address itself, among its own aliases, ends the MTA's search.
func (q question) aliases(copies bool) string {
	a, residence, known, reply := q.locate()
	if reply != "" {
		return reply
	}
	dual := residence.Kind == policy.Both
	if !known || !dual && residence.Kind != policy.There || dual && !copies {
		return notFound
	}
	alternate := q.policy.Domains[a.Domain].Alternates[residence.Platform]
	if alternate == "" {
		return failed
	}
	if dual {
		return "OK " + q.key + ", " + a.At(alternate)
	}
	return "OK " + a.At(alternate)
}

// transport gives the way of mail for an alternate domain, and stops mail for
// addresses of ours that the milter would have refused.
//
// An address of ours that lives elsewhere has its alternate domain's way. The
// queue holds such a one when its mailbox has moved since; and without this
// answer Postfix's local(8) would take the member of an alias for its own, and
// not have it rewritten.
func (q question) transport() string {
	if domain, ok := q.domain(); ok {
		if platform := q.policy.AlternateOf(domain); platform != nil && platform.Relay != "" {
			return "OK smtp:" + platform.Relay
		}
	}
	a, residence, known, reply := q.locate()
	if reply != "" {
		return reply
	}
	switch {
	case !known:
		return unlisted
	case residence.Kind == policy.Moving:
		return moving
	case residence.Kind == policy.There:
		return q.way(residence.Platform, a.Domain)
	}
	return notFound
}

// way gives the way of mail from one of our domains to a platform.
func (q question) way(platform, domain string) string {
	alternate := q.policy.Domains[domain].Alternates[platform]
	if alternate == "" {
		return failed
	}
	if p := q.policy.Platform(platform); p != nil && p.Relay != "" {
		return "OK smtp:" + p.Relay
	}
	return "OK smtp:" + alternate
}

// senders gives the login that owns an address.
func (q question) senders() string {
	a, ok := q.ours()
	if !ok {
		return notFound
	}
	login, listing := q.set.Logins(a)
	switch {
	case listing.Failed:
		return failed
	case login == "":
		return notFound
	}
	return "OK " + login
}

// ours reads the key as an address of one of our domains. What is not one, in
// the form that a message's header has it (RFC 5322 section 3.4.1), is not
// ours: a reply that repeated an unquoted comma would be two addresses.
func (q question) ours() (policy.Address, bool) {
	a, err := policy.ParseAddress(q.key, q.policy.Delimiters)
	if err != nil || a.IsNull() || a.Path != q.key || q.policy.Domains[a.Domain] == nil {
		return policy.Address{}, false
	}
	if a.Local[0] != '"' && strings.ContainsAny(a.Local, ` @,;:<>()[]\"`) {
		return policy.Address{}, false
	}
	return a, true
}

// domain returns the domain of the key, which is an address or a domain.
func (q question) domain() (string, bool) {
	if !strings.Contains(q.key, "@") {
		domain, err := policy.NormalDomain(q.key)
		return domain, err == nil
	}
	a, err := policy.ParseAddress(q.key, q.policy.Delimiters)
	return a.Domain, err == nil && a.Domain != ""
}
