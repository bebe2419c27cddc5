package policy

import (
	"fmt"
	"math/bits"
	"net/netip"
	"slices"
	"strconv"
	"strings"
)

// By says what a rate limit counts for: each value of it has a count of its own.
type By uint8

// What limits can count for.
const (
	ByUser         By = iota // the authenticated user
	ByClient                 // the connecting address; IPv6 by its /64
	BySender                 // the envelope sender
	BySenderDomain           // its domain
	ByRecipient              // each recipient
)

var byNames = [...]string{"user", "client", "sender", "sender_domain", "recipient"}

// String returns the name that the configuration has for it.
func (b By) String() string { return byNames[b] }

// Unit is what a rate limit counts.
type Unit uint8

// What limits can count.
const (
	Messages Unit = iota
	Recipients
	Bytes
)

var unitNames = [...]string{"messages", "recipients", "bytes"}

// String returns the name that the configuration has for it.
func (u Unit) String() string { return unitNames[u] }

// Rate is one rule of rate limiting.
type Rate struct {
	// Name stands in the log and in the keys of the limiter. No two rules share it.
	Name string
	// Points are the contact points at which it counts: those of a recipient's
	// way that make the check rate.
	Points []Checkpoint
	By     By
	Count  Unit
	// Limit is how much may come in Per seconds, and Burst how much of it at
	// once. Each is at least 1.
	Limit, Burst int64
	Per          int64
	// OnLimit is Tempfail, Reject or Tag.
	OnLimit Verdict
	// OnError says what is done while the limiter cannot answer.
	OnError OnError
	// Accounts and Networks hold for some keys another limit in the place of
	// Limit. Accounts are by the key's text, in lower case.
	Accounts map[string]int64
	Networks []NetworkLimit
	// Column names the directory's column with an account's own limit; empty:
	// there is none.
	Column string
}

// Unlimited in the place of a limit means that nothing is counted.
const Unlimited = int64(-1)

// NetworkLimit is the limit of the clients in a network.
type NetworkLimit struct {
	Network netip.Prefix
	Limit   int64
}

// OnError says what a rate limit does while its limiter cannot answer.
type OnError uint8

// What can be done without an answer.
const (
	ErrorTempfail OnError = iota // put the message off
	ErrorAccept                  // let it pass uncounted
	ErrorMemory                  // count in this process's memory meanwhile
)

var onErrorNames = [...]string{"tempfail", "accept", "memory"}

// String returns the name that the configuration has for it.
func (e OnError) String() string { return onErrorNames[e] }

// Charge is what one message asks of one limit.
type Charge struct {
	Rule *Rate
	// Key is what the limit counts for: "bob", "192.0.2.1", "2001:db8::/64". It
	// may hold a stranger's text, of at most MaxAddress bytes.
	Key string
	// Amount is what the message adds, in the rule's unit; at least 1.
	Amount int64
	// Limit and Burst are those of the rule or of its exception for this key.
	Limit, Burst int64
}

// maxCharges bounds what one message asks of the limits: a limiter answers one
// message after the other.
const maxCharges = 1000

// noLimit is what the finding says when the directory, which has the limit, cannot
// answer.
var noLimit = Finding{
	Check: CheckRate, State: Unknown, Down: true, Proposed: Tempfail,
	Reason: "the directory cannot say what the limit is", Reply: replyFailed,
}

// crowded is what the finding says of a message that asks more than maxCharges.
var crowded = Finding{
	Check: CheckRate, State: Hit, Name: "too many recipients", Proposed: Tempfail,
	Reason: fmt.Sprintf("its recipients ask for more than %d limits at once", maxCharges),
	// RFC 5321 section 4.5.3.1.10.
	Reply: Reply{452, "4.5.3", "Too many recipients"},
}

// Grant is a limiter's answer to one Charge.
type Grant struct {
	// Unknown is set when the limiter could not be asked. The rest is zero then.
	Unknown bool
	// Over is set when the limit does not have room for the amount.
	Over bool
	// Wait is the time in microseconds after which it would have. Never means
	// that it never will: the amount is larger than the burst.
	Wait int64
	// First is set for the first refusal of the key in the rule's period.
	First bool
}

// Never is the Wait of what can never pass.
const Never = int64(-1)

// Charges returns what the message asks of the limits, for Message.Grants. A
// recipient counts where his way has a point that the rule names and that makes
// the check rate. Mail from the null sender counts for no sender. It is nothing
// where Stops is true without an answer: the directory cannot tell a limit, or
// the message asks for more limits than one may.
func (c *Case) Charges() []Charge {
	if !c.charged {
		c.charged = true
		c.chargeAll()
	}
	if c.limitless || c.stopping > maxCharges {
		// It is put off whatever the others say, so nothing is to be counted.
		return nil
	}
	return c.charges
}

func (c *Case) chargeAll() {
	for i := range c.policy.Rates {
		rule := &c.policy.Rates[i]
		var counted []Recipient
		for j, ruling := range c.rulings {
			if ruling.Verdict <= Tag && c.counts(rule, j, ruling) {
				counted = append(counted, c.Recipients[j])
			}
		}
		if len(counted) > 0 {
			c.charge(rule, counted)
		}
	}
}

// counts reports that a rule counts one recipient.
func (c *Case) counts(rule *Rate, i int, ruling Ruling) (counts bool) {
	c.examine(i, ruling, func(s stage, check Check) {
		counts = counts || check.Name == CheckRate && slices.Contains(rule.Points, s.at)
	})
	return counts
}

// charge adds what the recipients that a rule counts ask of it.
func (c *Case) charge(rule *Rate, counted []Recipient) {
	if rule.By != ByRecipient {
		if key := c.policy.key(rule, &c.Message); key != "" {
			c.add(rule, key, c.policy.Home(c.Sender), len(counted))
		}
		return
	}
	seen := make(map[string]bool, len(counted))
	for _, r := range counted {
		if c.stopping > maxCharges || rule.OnLimit == Tag && len(c.charges) >= maxCharges {
			return
		}
		home := c.policy.Home(r.Address)
		if key := home.Owner; !seen[key] {
			seen[key] = true
			c.add(rule, key, home, 1)
		}
	}
}

// key is what a rule counts a message for, or "". Recipients are named each. An
// address of an alternate domain is that of ours which it stands for.
func (p *Policy) key(rule *Rate, m *Message) string {
	switch rule.By {
	case ByUser:
		return strings.ToLower(m.Login)
	case ByClient:
		return clientKey(m.Client)
	case BySender:
		return p.Home(m.Sender).Owner
	}
	return p.Home(m.Sender).Domain
}

// clientKey names a client. Who has one address of IPv6 has a /64 of them.
func clientKey(client netip.Addr) string {
	client = client.Unmap().WithZone("")
	switch {
	case !client.IsValid():
		return ""
	case client.Is4():
		return client.String()
	}
	return netip.PrefixFrom(client, 64).Masked().String()
}

// row returns what the directory holds of an address.
func (m *Message) row(a Address) Row {
	if m.Row == nil || a.IsNull() {
		return Row{}
	}
	return m.Row(a)
}

// hasLogin reports that a row's address belongs to the login. Its column may
// name several, with spaces between them. Case does not count, that of ASCII only.
func hasLogin(row Row, login string) bool {
	return login != "" && slices.ContainsFunc(strings.Fields(row.Login), func(one string) bool {
		return len(one) == len(login) && strings.EqualFold(one, login)
	})
}

// add adds a charge, unless nothing is counted for the key. Account is the sender
// or the recipient, whichever the rule is by, and for other rules the sender.
func (c *Case) add(rule *Rate, key string, account Address, recipients int) {
	limit, failed := rule.limit(&c.Message, key, account)
	if failed && rule.OnLimit != Tag {
		c.limitless = true
	}
	if failed || limit == Unlimited {
		return
	}
	if rule.OnLimit != Tag {
		c.stopping++
	}
	charge := Charge{Rule: rule, Key: key, Amount: 1, Limit: limit, Burst: rule.Burst}
	if limit != rule.Limit {
		charge.Burst = inProportion(rule.Burst, limit, rule.Limit)
	}
	switch rule.Count {
	case Recipients:
		charge.Amount = int64(recipients)
	case Bytes:
		charge.Amount = max(1, c.Size)
	}
	c.charges = append(c.charges, charge)
}

// inProportion returns burst*limit/of rounded down, but at least 1, and at most
// what is much more than anything that is counted. All are at least 1.
func inProportion(burst, limit, of int64) int64 {
	const most = 1 << 50
	high, low := bits.Mul64(uint64(burst), uint64(limit))
	if high >= uint64(of) {
		return most
	}
	n, _ := bits.Div64(high, low, uint64(of))
	return int64(min(max(n, 1), most))
}

// limit is the rule's limit for a key: what is said of the account goes before
// what the directory says of it, and that before what is said of the client's
// network, the smallest one that has him. It failed when the directory cannot say.
func (r *Rate) limit(m *Message, key string, account Address) (limit int64, failed bool) {
	if own, said := r.Accounts[key]; said {
		return own, false
	}
	value, failed := r.listed(m, account)
	if failed {
		return 0, true
	}
	switch value = strings.ToLower(value); value {
	case "":
	case "unlimited":
		return Unlimited, false
	default:
		if own, err := strconv.ParseInt(value, 10, 64); err == nil && own > 0 {
			return own, false
		}
	}
	limit, bits := r.Limit, -1
	for _, n := range r.Networks {
		if n.Network.Bits() > bits && contains([]netip.Prefix{n.Network}, m.Client) {
			limit, bits = n.Limit, n.Network.Bits()
		}
	}
	return limit, false
}

// listed is what the directory's column says of whom the rule counts for. A user's
// limit is his login's, so that it is the same whatever he sends as. When a
// directory cannot answer, and another gives him the address that he sends as, he
// is known well enough.
func (r *Rate) listed(m *Message, account Address) (value string, failed bool) {
	switch {
	case r.Column == "":
	case r.By != ByUser:
		row := m.row(account)
		if row.Failed || row.Column == nil {
			return "", row.Failed
		}
		return row.Column(r.Column), false
	case m.Limit != nil:
		value, failed = m.Limit(m.Login, r.Column)
		return value, failed && !hasLogin(m.row(account), m.Login)
	}
	return "", false
}

// Stops reports that the limiter's answers stop the message, so that nothing else
// need be asked of it.
func (c *Case) Stops() bool { return c.rated().Proposed >= Tempfail }

// rated is the finding of the check rate: the strictest of what the limits say.
// Its Proposed is the verdict.
func (c *Case) rated() Finding {
	worst := Finding{Check: CheckRate}
	charges := c.Charges()
	switch {
	case c.limitless:
		return noLimit
	case c.stopping > maxCharges:
		return crowded
	}
	for i, charge := range charges {
		grant := Grant{Unknown: true}
		if len(c.Grants) == len(charges) {
			grant = c.Grants[i]
		}
		f := charge.finding(grant, c.Sender.IsNull())
		if f.Proposed > worst.Proposed || f.Proposed == worst.Proposed && worst.State == Clean {
			worst = f
		}
	}
	return worst
}

// finding is what a limiter's answer means. A bounce is never refused for good:
// it would be lost.
func (c Charge) finding(g Grant, isNull bool) Finding {
	f := Finding{Check: CheckRate}
	rule := c.Rule
	switch {
	case g.Unknown && rule.OnError != ErrorTempfail:
		// Uncounted, as the rule wants it.
	case g.Unknown:
		f.State, f.Proposed, f.Down = Unknown, Tempfail, true
		f.Reason = fmt.Sprintf("the limit %q cannot be asked", rule.Name)
		f.Reply = Reply{450, "4.7.1", "The rate limit cannot be asked at the moment, try again later"}
	case g.Over:
		f.State, f.Name, f.Proposed = Hit, rule.Name, rule.OnLimit
		f.Reason = fmt.Sprintf("%q of %s has no room for %d more: %d in %s, %d at once",
			rule.Name, printable(c.Key), c.Amount, c.Limit, seconds(rule.Per), c.Burst)
		switch {
		case g.Wait == Never && rule.OnLimit != Tag:
			f.Proposed = Reject
			f.Reply = Reply{550, "5.7.1", fmt.Sprintf("The message has more %s than are taken at once: %d", rule.Count, c.Burst)}
			if isNull {
				f.Proposed, f.Reply.Code, f.Reply.Enhanced = Tempfail, 450, "4.7.1"
			}
		case rule.OnLimit == Reject && !isNull:
			f.Reply = Reply{550, "5.7.1", "Too many " + rule.Count.String() + " were sent"}
		case rule.OnLimit != Tag:
			f.Proposed = Tempfail
			f.Reply = Reply{450, "4.7.1", "Too many " + rule.Count.String() + " were sent, try again in " + seconds(max(1, (g.Wait+999_999)/1_000_000))}
		}
	}
	return f
}

// seconds writes a time in the largest unit that does not round it much.
func seconds(n int64) string {
	for _, unit := range [...]struct {
		of   int64
		name string
	}{{86400, "day"}, {3600, "hour"}, {60, "minute"}} {
		if n >= 2*unit.of || n == unit.of {
			n = (n + unit.of - 1) / unit.of
			return plural(n, unit.name)
		}
	}
	return plural(n, "second")
}

func plural(n int64, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return strconv.FormatInt(n, 10) + " " + what + "s"
}
