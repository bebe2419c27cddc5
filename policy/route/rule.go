package route

import (
	"cmp"
	"net/netip"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"coexistd/policy/mail"
	"coexistd/policy/networks"
	"coexistd/policy/seal"
	"coexistd/policy/verdict"
)

// Rule takes some mail another way than the directory does. It changes where mail goes that is
// taken; it has none taken that would be refused.
type Rule struct {
	Name string // stands in the log
	// For says for which mail and recipients it is, and Except for which of those it is not; a
	// zero Except is none.
	For, Except Criteria
	To          Goal
}

// Goal is where a rule takes mail: to the mailbox here alone, to that at another platform alone,
// or to a relay, whoever the recipient is.
type Goal struct {
	Here     bool
	Platform string
	Relay    string // a next hop as Hide has it
}

// relayPrefix begins a goal that is a relay.
const relayPrefix = "relay:"

// String returns the goal as the configuration has it.
func (g Goal) String() string {
	switch {
	case g.Here:
		return "here"
	case g.Relay != "":
		return relayPrefix + g.Relay
	}
	return g.Platform
}

// Criteria are what mail and one of its recipients must meet, all of them. One that is zero is
// met by all.
type Criteria struct {
	// Senders and Recipients hold addresses (as mail.Address.Key and Owner have them), domains
	// as "@" with their normal form, and with a dot before it what is below one.
	Senders, Recipients []string
	// Logins are authenticated users, in lower case, and Clients the networks of clients.
	Logins  []string
	Clients networks.Set
	// Points are those at which the mail enters.
	Points []verdict.Checkpoint
	// Residences are those that the directory says of the recipient, as it writes them, and
	// Internet.
	Residences []string
	// SizeOver is a size in bytes that the mail exceeds.
	SizeOver int64
	Header   Field
}

// Field is a field of the header with what its value holds.
type Field struct {
	Name string // empty: nothing is asked of the header
	// Text stands in the value, whatever the case of its letters (see mail.Fold, in which form
	// it is), or Pattern fits it.
	Text    string
	Pattern *regexp.Regexp // nil: it is Text
}

// IsZero reports that nothing is asked.
func (c *Criteria) IsZero() bool {
	return len(c.Senders)+len(c.Recipients)+len(c.Logins)+c.Clients.Len()+len(c.Points)+len(c.Residences) == 0 && c.SizeOver == 0 && c.Header.Name == ""
}

// Internet is the residence of who is in no domain of ours, nor at a platform.
const Internet = "internet"

// Facts are what rules go by beside the recipient. Keys sign where rules take mail.
type Facts struct {
	Keys   seal.Keys
	From   Origin
	Sender mail.Address
	Login  string
	Client netip.Addr
	Header *mail.Header
	Size   int64
}

// meets reports that mail meets those of the criteria that have nothing to do with recipients.
func (f *Facts) meets(c *Criteria) bool {
	return (len(c.Senders) == 0 || f.Sender.IsIn(c.Senders)) &&
		(len(c.Logins) == 0 || slices.Contains(c.Logins, strings.ToLower(f.Login))) &&
		(c.Clients.Len() == 0 || c.Clients.Has(f.Client)) &&
		(len(c.Points) == 0 || slices.Contains(c.Points, f.From.Point)) &&
		(c.SizeOver == 0 || f.Size > c.SizeOver) &&
		(c.Header.Name == "" || c.Header.isIn(f.Header))
}

// isOf reports that a recipient who lives there meets the others.
func (c *Criteria) isOf(a mail.Address, residence Residence) bool {
	return (len(c.Recipients) == 0 || a.IsIn(c.Recipients)) &&
		(len(c.Residences) == 0 || slices.Contains(c.Residences, cmp.Or(residence.String(), Internet)))
}

// What a stranger writes into a header costs no more than this: so many fields of a name are
// looked at, and so many bytes of each.
const (
	maxLookedAt = 100
	maxValue    = 8192
)

// isIn reports that the header has such a field.
func (f *Field) isIn(h *mail.Header) bool {
	if h == nil || h.Count(f.Name) == 0 {
		return false
	}
	values := h.Values(f.Name)
	return slices.ContainsFunc(values[:min(len(values), maxLookedAt)], func(value string) bool {
		text, _ := mail.DecodeWords(unfolder.Replace(value[:min(len(value), maxValue)]))
		text = strings.TrimSpace(text)
		if f.Pattern != nil {
			return f.Pattern.MatchString(text)
		}
		return strings.Contains(mail.Fold(text), f.Text)
	})
}

// unfolder has a value on one line (RFC 5322 section 2.2.3).
var unfolder = strings.NewReplacer("\r", "", "\n", "")

// Taking is what rules there are for one message.
type Taking struct {
	rules *Rules
	facts Facts
	may   []candidate
}

// candidate is a rule that takes those recipients of a message who meet its criteria.
type candidate struct {
	*Rule
	excepts bool // the message meets what Except says of messages
}

// Taking returns the rules that may take a message. It is nil where there are none.
func (r *Rules) Taking(facts *Facts) *Taking {
	if len(r.Rules) == 0 {
		return nil
	}
	var may []candidate
	for i := range r.Rules {
		rule := &r.Rules[i]
		if r.isBack(facts.From.Platform, rule.To) || !facts.meets(&rule.For) {
			continue
		}
		if may == nil {
			may = make([]candidate, 0, len(r.Rules)-i)
		}
		may = append(may, candidate{rule, !rule.Except.IsZero() && facts.meets(&rule.Except)})
	}
	if len(may) == 0 {
		return nil
	}
	return &Taking{r, *facts, may}
}

// isBack reports a goal that is the platform from which mail comes. What a rule takes there, the
// platform would send back to it.
func (r *Rules) isBack(from *Platform, to Goal) bool {
	return from != nil && (to.Platform == from.Name || to.Relay != "" && r.LeadsTo(strings.ToLower(to.Relay), from.Name))
}

// Take returns the route of a recipient by the first rule that takes them, and where none does,
// the route that Find gave.
func (t *Taking) Take(found Route, to *Recipient) Route {
	if t == nil || found.Verdict != verdict.Accept {
		return found
	}
	for i := range t.may {
		rule := &t.may[i]
		if !rule.For.isOf(to.Address, found.Residence) || rule.excepts && rule.Except.isOf(to.Address, found.Residence) {
			continue
		}
		if taken, can := t.by(rule.Rule, found, to); can {
			return taken
		}
	}
	return found
}

// by returns the route by a rule. It can take nobody here who has no mailbox here, and nobody to
// a platform of whose address there nothing is known.
func (t *Taking) by(rule *Rule, found Route, to *Recipient) (taken Route, can bool) {
	if rule.To.Relay != "" {
		return t.byRelay(rule, found, to)
	}
	domain := t.rules.Domains[to.Address.Domain]
	has := found.Residence.Kind == Here || found.Residence.Kind == Both
	why := found.Reasons.And(verdict.Why(verdict.RoutedTo, rule.Name, rule.To.String()))
	place := Place{Residence: found.Residence}
	switch {
	case rule.To.Here && !has, !rule.To.Here && domain == nil:
		return Route{}, false
	case !rule.To.Here:
		target := ""
		if found.Residence.Platform == rule.To.Platform {
			if found.Residence.Kind == There {
				found.Rule, found.Reasons = rule.Name, why
				return found, true
			}
			target = to.Listing.Target
		}
		if place = t.rules.at(rule.To.Platform, domain, to.Address, target); place.Platform == nil {
			return Route{}, false
		}
		if place.Refused.Code != "" {
			taken = refuse(found.Residence, place.Refused)
			taken.Rule = rule.Name
			return taken, true
		}
	}
	taken = Route{
		Verdict: verdict.Accept, Residence: found.Residence, Reasons: why, Rule: rule.Name,
		Elsewhere: place.Elsewhere, Instead: place.Elsewhere != "", SentOn: place.Platform != nil,
	}
	tail := []Hop{LD}
	if place.Platform != nil {
		tail = into(place.Platform)
	}
	taken.Ways = Ways{t.rules.way(t.facts.From, t.facts.Sender, to, tail...)}
	return taken, true
}

// byRelay returns the route to a relay. A name without a domain is the MTA's own.
func (t *Taking) byRelay(rule *Rule, found Route, to *Recipient) (taken Route, can bool) {
	if to.Address.Domain == "" {
		return Route{}, false
	}
	hidden := Hide(t.facts.Keys, to.Address, rule.To.Relay)
	if len(hidden) > maxElsewhere {
		taken = refuse(found.Residence, verdict.Why(verdict.TooLongThere, to.Address.Key, rule.To.String(), strconv.Itoa(maxElsewhere)))
		taken.Rule = rule.Name
		return taken, true
	}
	return Route{
		Verdict: verdict.Accept, Residence: found.Residence, Rule: rule.Name, Elsewhere: hidden, Instead: true, SentOn: true,
		Reasons: found.Reasons.And(verdict.Why(verdict.RoutedTo, rule.Name, rule.To.String())),
		Ways:    Ways{t.rules.way(t.facts.From, t.facts.Sender, to, Ours(verdict.S3), ED)},
	}, true
}

// HasRelays reports that some rule takes mail to a relay.
func (r *Rules) HasRelays() bool {
	return slices.ContainsFunc(r.Rules, func(one Rule) bool { return one.To.Relay != "" })
}

// RelayPorts are the ports of the relays, each once, sorted by their text.
func (r *Rules) RelayPorts() (ports []string) {
	for _, rule := range r.Rules {
		if rule.To.Relay == "" {
			continue
		}
		labels := hopLabels(rule.To.Relay)
		ports = append(ports, strings.TrimLeft(labels[strings.LastIndexByte(labels, '.')+1:], portLabel+mxLabel))
	}
	slices.Sort(ports)
	return slices.Compact(ports)
}

// at is the mailbox that an address of a domain of ours has, or would have, at a platform; its
// Platform is nil where no address reaches it.
func (r *Rules) at(platform string, domain *Domain, a mail.Address, target string) Place {
	p := r.Platform(platform)
	elsewhere := p.elsewhere(r.home(domain), a, target)
	if elsewhere == "" {
		return Place{}
	}
	place := Place{Residence: Residence{Kind: There, Platform: platform}, Platform: p, Elsewhere: elsewhere}
	return place.bounded(a)
}

// GoesBySize reports that some rule goes by the size of messages.
func (r *Rules) GoesBySize() bool {
	return slices.ContainsFunc(r.Rules, func(one Rule) bool { return one.For.SizeOver > 0 || one.Except.SizeOver > 0 })
}
