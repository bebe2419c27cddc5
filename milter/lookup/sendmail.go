package lookup

import (
	"strconv"
	"strings"

	"coexistd/policy/route"
	"coexistd/policy/verdict"
)

// sendmail says where Sendmail's ruleset 0 shall send mail for an address: to another
// address, nowhere because of an error, or by a mailer to a host; not found leaves it to
// the rules that follow. See contrib/sendmail/coexistd.m4, which takes the answer apart.
//
// Sendmail asks at RCPT already, before it asks a milter, and takes the address that it
// gets here and the one that the milter adds for one recipient when both are written
// alike: what the milter says of delivery reports would be lost (recipient.c). So at RCPT
// the domain, which has no case (RFC 4343), is written otherwise. The milter takes that
// recipient away again. Otherwise it is written as the milter writes it: a member of an
// alias who is a recipient, too, gets the message once.
func (q question) sendmail(atRCPT bool) string {
	if address, hop, is := q.hidden(); is {
		return toRelay(address, hop)
	}
	if q.isObserved() {
		return notFound
	}
	if relay := q.relay(); relay != "" {
		return "OK esmtp:" + withoutPort(relay)
	}
	_, place, ok := q.place()
	switch code := place.Refused.Code; {
	case !ok:
		return notFound
	case code == verdict.DirectoryFailed:
		return failed
	case code != "":
		r := place.Refused.Reply()
		// Unquoted, it would lose the blanks behind commas.
		return "OK error:" + r.Enhanced + ":" + strconv.Quote(r.String())
	case place.Residence.Kind != route.There:
		return notFound
	case place.Elsewhere == "":
		return "OK esmtp:" + withoutPort(place.Platform.Relay)
	}
	if !atRCPT {
		return "OK " + place.Elsewhere
	}
	at := strings.LastIndexByte(place.Elsewhere, '@')
	return "OK " + place.Elsewhere[:at] + upperFirst(place.Elsewhere[at:])
}

// relayMailer begins the names of coexistd.m4's mailers for relays, one for each port.
const relayMailer = "coexistd"

// toRelay has a mailer take mail to a next hop; empty: it is not known.
func toRelay(address, hop string) string {
	if hop == "" {
		r := verdict.Why(verdict.HiddenUnknown).Reply()
		return "OK error:" + r.Enhanced + ":" + strconv.Quote(r.String())
	}
	end := strings.LastIndexByte(hop, ':')
	return "OK " + relayMailer + hop[end+1:] + ":" + hop[:end] + ":" + address
}

// withoutPort is a next hop without its port, which Sendmail has with its mailers.
func withoutPort(hop string) string {
	if end := strings.IndexByte(hop, ']'); end >= 0 {
		return hop[:end+1]
	}
	host, _, _ := strings.Cut(hop, ":")
	return host
}

// upperFirst has the first letter of a domain that follows an "@" in upper case. A domain may
// begin with digits (RFC 1123 section 2.1); its last label has letters.
func upperFirst(at string) string {
	i := strings.IndexFunc(at, func(c rune) bool { return c >= 'a' && c <= 'z' })
	if i < 0 {
		return at
	}
	return at[:i] + strings.ToUpper(at[i:i+1]) + at[i+1:]
}
