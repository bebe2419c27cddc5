package lookup

import (
	"fmt"
	"net/netip"
	"strings"

	"coexistd/policy"
	"coexistd/policy/directory"
	"coexistd/policy/mail"
	"coexistd/policy/route"
	"coexistd/policy/verdict"
)

// The replies that carry no data of a mailbox (socketmap_table(5)).
const (
	notFound   = "NOTFOUND "
	failed     = "TEMP the directory cannot answer at the moment"
	noKey      = "PERM a request is the name of a map, a space, and a key"
	unknownMap = "PERM unknown map %q; there are recipients, aliases, members, transport, senders, networks, tls, generic, sendmail, sendmail_rcpt"
	notYet     = "OK DEFER_IF_REJECT the networks of a platform are not known at the moment" // access(5)
)

// question is one key, asked with one policy and one directory.
type question struct {
	*policy.Policy
	set *directory.Set
	key string
}

// answer returns the reply to a request. Any request is safe.
func answer(p *policy.Policy, set *directory.Set, request string) string {
	name, key, ok := strings.Cut(request, " ")
	if !ok {
		return noKey
	}
	q := question{p, set, key}
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
	case "networks":
		return q.networks()
	case "tls":
		return q.tls()
	case "generic":
		return q.generic()
	case "sendmail":
		return q.sendmail(false)
	case "sendmail_rcpt":
		return q.sendmail(true)
	}
	const longest = 40
	return fmt.Sprintf(unknownMap, name[:min(len(name), longest)])
}

// recipients says whether an address exists, and where it lives. Where the domain leaves
// unlisted addresses to the MTA, its other tables say of those; where it has the people of another,
// of all who live here.
func (q question) recipients() string {
	a, place, ok := q.place()
	switch {
	case !ok || place.Refused.Code == verdict.Unlisted:
		return notFound
	case place.Residence.Kind == route.Here && q.leavesToMTA(a):
		return notFound
	case place.Refused.Code == verdict.DirectoryFailed:
		return failed
	}
	return "OK " + place.Residence.String()
}

// leavesToMTA reports an address here of which the MTA's own tables say whether it exists.
func (q question) leavesToMTA(a mail.Address) bool {
	domain := q.Routes.Domains[a.Domain]
	return domain.SameAs != "" || domain.LeavesUnlisted() && !q.set.List(a).Found
}

// place finds where mail for the key is delivered; ok is false when it is no address of
// ours.
func (q question) place() (a mail.Address, place route.Place, ok bool) {
	if a, ok = q.ours(); ok {
		place = q.Routes.Place(a, q.set.List(a))
	}
	return a, place, ok
}

// aliases gives the addresses that mail for an address goes to, when that is not
// the mailbox here alone. Dual delivery is left out when copies is not set: the milter
// sees to it. The address itself, among its own aliases, ends the MTA's search: no table
// behind this one says anything of who lives elsewhere.
func (q question) aliases(copies bool) string {
	_, place, ok := q.place()
	dual := place.Residence.Kind == route.Both
	switch {
	case !ok || dual && !copies || q.isObserved():
		return notFound
	case place.Refused.Code == verdict.DirectoryFailed:
		return failed
	case place.Residence.Kind == route.There && place.Elsewhere == "":
		return "OK " + q.key // The platform's relay takes it as it is.
	case place.Elsewhere == "":
		return notFound
	case dual:
		return "OK " + q.key + ", " + place.Elsewhere
	}
	return "OK " + place.Elsewhere
}

// transport gives the way of mail for an alternate domain, and stops mail for
// addresses of ours that the milter would have refused or put off.
//
// An address of ours that lives elsewhere has the way of the address that reaches it there. The
// queue holds such a one when its mailbox has moved since; and without this
// answer Postfix's local(8) would take the member of an alias for its own, and
// not have it rewritten.
func (q question) transport() string {
	switch _, hop, is := q.hidden(); {
	case is && hop == "":
		return stop(verdict.Why(verdict.HiddenUnknown).Reply())
	case is:
		return "OK " + hiddenService + hop
	}
	if q.isObserved() {
		return notFound
	}
	if relay := q.relay(); relay != "" {
		return "OK smtp:" + relay
	}
	_, place, ok := q.place()
	switch {
	case !ok:
		return notFound
	case place.Refused.Code != "":
		return stop(place.Refused.Reply())
	case place.Residence.Kind != route.There:
		return notFound
	case place.Platform.Relay != "":
		return "OK smtp:" + place.Platform.Relay
	}
	return "OK smtp:" + place.Elsewhere[strings.LastIndexByte(place.Elsewhere, '@')+1:]
}

// hiddenService is the service of Postfix's master.cf that takes mail to where a [[route]] says.
const hiddenService = "smtp-route:"

// hidden finds what the key stands for, where it is an address that a [[route]] has made. It says so whatever
// the routes and the mode are by now, for mail in the queue. One that was not made with our keys has no
// address and no next hop. It is to wait: they may come back, and who has forged it need not be told.
func (q question) hidden() (address, hop string, is bool) {
	domain, ok := q.domain()
	if !ok || !route.IsHidden(domain) || !strings.Contains(q.key, "@") {
		return "", "", false
	}
	if address, hop, ok = route.Reveal(q.Keys, q.key); !ok {
		return "", "", true
	}
	return address, hop, true
}

// generic gives the address that a relay is to see (smtp_generic_maps).
func (q question) generic() string {
	if address, _, is := q.hidden(); is && address != "" {
		return "OK " + address
	}
	return notFound
}

// isObserved reports that the mode is observe for mail to the key's domain: the MTA goes on as
// if there were no map.
func (q question) isObserved() bool {
	domain, _ := q.domain()
	return q.Observes(mail.Address{}, mail.Address{Domain: domain})
}

// relay is the host that takes the mail for the key's domain, when that is the alternate
// domain of a platform which has one; otherwise "".
func (q question) relay() string {
	domain, ok := q.domain()
	if !ok {
		return ""
	}
	platform := q.Routes.AlternateOf(domain)
	if platform == nil {
		return ""
	}
	return platform.Relay
}

// stop has Postfix defer mail, or bounce it, by its services retry and error. smtpd keeps
// the transport of an address as long as its process lives, and refuses by itself what it
// has kept as "retry", "error" or a failure. A transport's name is a path below Postfix's
// folder of sockets, so the dot leads to the same service and means nothing to smtpd.
func stop(r verdict.Reply) string {
	service := "./error"
	if r.Verdict() == verdict.Tempfail {
		service = "./retry"
	}
	return "OK " + service + ":" + r.Enhanced + " " + r.Text
}

// senders gives the login that owns an address.
func (q question) senders() string {
	a, ok := q.ours()
	if !ok {
		return notFound
	}
	row := q.set.Row(a)
	switch {
	case row.Failed:
		return failed
	case row.Login == "":
		return notFound
	}
	return "OK " + row.Login
}

// networks lets a client relay that comes from a platform with MayRelay. Postfix also asks for
// the client's name, and for parts of its name and its address: no platform has those. While a
// list is not known, Postfix puts off what it would otherwise refuse.
func (q question) networks() string {
	client, err := netip.ParseAddr(q.key)
	if err != nil {
		return notFound
	}
	platforms, pending := q.Networks.Of(client.Unmap())
	for _, name := range platforms {
		if platform := q.Routes.Platform(name); platform != nil && platform.MayRelay {
			return "OK permit"
		}
	}
	if pending != "" {
		return notYet
	}
	return notFound
}

// tls gives what is demanded of the server to which mail leaves. Postfix asks for the next hop,
// and for a domain also for those above it, with a dot before them.
func (q question) tls() string {
	if demand := q.Demands(strings.ToLower(q.key)); demand != nil && !q.isObserved() {
		return "OK " + demand.Policy()
	}
	return notFound
}

// ours reads the key as an address of one of our domains. What is not one, in
// the form that a message's header has it (RFC 5322 section 3.4.1), is not
// ours: a reply that repeated an unquoted comma would be two addresses.
func (q question) ours() (mail.Address, bool) {
	a, err := mail.ParseAddress(q.key, q.Delimiters)
	if err != nil || a.IsNull() || a.Path != q.key || q.Routes.Domains[a.Domain] == nil {
		return mail.Address{}, false
	}
	if a.Local[0] != '"' && strings.ContainsAny(a.Local, ` @,;:<>()[]\"`) {
		return mail.Address{}, false
	}
	return a, true
}

// domain returns the domain of the key, which is an address or a domain.
func (q question) domain() (string, bool) {
	if !strings.Contains(q.key, "@") {
		domain, err := mail.NormalDomain(q.key)
		return domain, err == nil
	}
	a, err := mail.ParseAddress(q.key, q.Delimiters)
	return a.Domain, err == nil && a.Domain != ""
}
