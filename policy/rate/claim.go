package rate

import (
	"fmt"
	"math/bits"
	"net/netip"
	"strconv"
	"strings"

	"coexistd/policy/mail"
	"coexistd/policy/route"
	"coexistd/policy/verdict"
)

// maxCharges bounds what one message asks of the limits: a limiter answers one
// message after the other.
const maxCharges = 1000

// Facts are what the rules go by of one message.
type Facts struct {
	Login  string
	Client netip.Addr
	// Sender is the envelope sender; one of an alternate domain as that of ours which it
	// stands for.
	Sender mail.Address
	// Size is the message's length in bytes, consulted only by rules that count bytes.
	Size int64
	Row  route.Rows
	// Limit returns what a column of the directory says of a login, whatever it sends
	// as: a number, "unlimited", or "" where it says nothing. It failed when the
	// directory cannot tell. Nil: there is no directory.
	Limit func(login, column string) (value string, failed bool)
}

// Claim is all that one message asks of the limits.
type Claim struct {
	charges []Charge
	// limitless is set when the directory cannot tell a limit.
	limitless bool
	// stopping is the number of charges whose rules may stop the message.
	stopping int
	// isBounce is set for mail from the null sender.
	isBounce bool
}

// Ask returns what a message asks of the rules. Counted returns the recipients that a
// rule counts, each as Facts.Sender is. Mail from the null sender counts for no sender.
func Ask(rules []Rule, f *Facts, counted func(*Rule) []mail.Address) *Claim {
	c := &Claim{isBounce: f.Sender.IsNull()}
	for i := range rules {
		if recipients := counted(&rules[i]); len(recipients) > 0 {
			c.ask(&rules[i], f, recipients)
		}
	}
	return c
}

// Charges are what is to be asked of the limiter. There are none where Finding stops the
// message without an answer: the directory cannot tell a limit, or the message asks for
// more limits than one may.
func (c *Claim) Charges() []Charge {
	if c.limitless || c.stopping > maxCharges {
		return nil
	}
	return c.charges
}

// ask adds what the recipients that a rule counts ask of it.
func (c *Claim) ask(rule *Rule, f *Facts, recipients []mail.Address) {
	if rule.By != ByRecipient {
		if key := rule.key(f); key != "" {
			c.add(rule, f, key, f.Sender, len(recipients))
		}
		return
	}
	seen := make(map[string]bool, len(recipients))
	for _, recipient := range recipients {
		if c.stopping > maxCharges || rule.OnLimit == verdict.Tag && len(c.charges) >= maxCharges {
			return
		}
		if key := recipient.Owner; !seen[key] {
			seen[key] = true
			c.add(rule, f, key, recipient, 1)
		}
	}
}

// key is what a rule counts a message for, or "". Recipients are named each.
func (r *Rule) key(f *Facts) string {
	switch r.By {
	case ByUser:
		return strings.ToLower(f.Login)
	case ByClient:
		return clientKey(f.Client)
	case BySender:
		return f.Sender.Owner
	}
	return f.Sender.Domain
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

// add adds a charge, unless nothing is counted for the key. Account is the sender
// or the recipient, whichever the rule is by, and for other rules the sender.
func (c *Claim) add(rule *Rule, f *Facts, key string, account mail.Address, recipients int) {
	limit, failed := rule.limit(f, key, account)
	if failed && rule.OnLimit != verdict.Tag {
		c.limitless = true
	}
	if failed || limit == Unlimited {
		return
	}
	if rule.OnLimit != verdict.Tag {
		c.stopping++
	}
	charge := Charge{Rule: rule, Key: key, Amount: 1, Limit: limit, Burst: rule.burst(limit)}
	switch rule.Count {
	case Recipients:
		charge.Amount = int64(recipients)
	case Bytes:
		charge.Amount = max(1, f.Size)
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
// network, the smallest one that has it. It failed when the directory cannot say.
func (r *Rule) limit(f *Facts, key string, account mail.Address) (limit int64, failed bool) {
	if own, said := r.Accounts[key]; said {
		return own, false
	}
	value, failed := r.listed(f, account)
	if failed {
		return 0, true
	}
	if strings.EqualFold(value, "unlimited") {
		return Unlimited, false
	}
	if own, err := strconv.ParseInt(value, 10, 64); err == nil && own > 0 {
		return own, false
	}
	if own, said := r.Networks.Of(f.Client); said {
		return own, false
	}
	return r.Limit, false
}

// listed is what the directory's column says of the one for whom the rule counts. A
// user's limit is the login's, so that it is the same whatever address is the sender.
// When a directory cannot answer, and another gives the sender's address to the login,
// the login is known well enough.
func (r *Rule) listed(f *Facts, account mail.Address) (value string, failed bool) {
	switch {
	case r.Column == "":
	case r.By != ByUser:
		row := f.Row.Of(account)
		if row.Failed || row.Column == nil {
			return "", row.Failed
		}
		return row.Column(r.Column), false
	case f.Limit != nil:
		value, failed = f.Limit(f.Login, r.Column)
		return value, failed && !f.Row.Of(account).HasLogin(f.Login)
	}
	return "", false
}

// Finding is the finding of the check rate by the limiter's answers to Charges, in
// order: the strictest of what the limits say. Its Proposed is the verdict, None where
// nothing is objected to. Without answers, the limiter was not asked.
func (c *Claim) Finding(grants []Grant) verdict.Finding {
	worst := verdict.Passed(verdict.CheckRate)
	charges := c.Charges()
	switch {
	case c.limitless:
		return verdict.Finding{
			Check: verdict.CheckRate, Down: true, Proposed: verdict.Tempfail,
			Reasons: verdict.Because(verdict.Why(verdict.LimitNotKnown)),
		}
	case c.stopping > maxCharges:
		return verdict.Finding{
			Check: verdict.CheckRate, State: verdict.Hit, Name: "too many recipients", Proposed: verdict.Tempfail,
			Reasons: verdict.Because(verdict.Why(verdict.TooManyLimits, strconv.Itoa(maxCharges))),
		}
	}
	for i, charge := range charges {
		grant := Grant{Unknown: true}
		if len(grants) == len(charges) {
			grant = grants[i]
		}
		f := charge.finding(grant, c.isBounce)
		if f.Proposed > worst.Proposed || f.Proposed == worst.Proposed && worst.State == verdict.Clean {
			worst = f
		}
	}
	return worst
}

// finding is what a limiter's answer means.
func (c Charge) finding(g Grant, isBounce bool) verdict.Finding {
	f := verdict.Passed(verdict.CheckRate)
	switch {
	case g.Unknown && c.Rule.OnError != ErrorTempfail:
		// Uncounted, as the rule wants it.
	case g.Unknown:
		f.State, f.Proposed, f.Down = verdict.Unknown, verdict.Tempfail, true
		f.Reasons = verdict.Because(verdict.Why(verdict.LimitNotAsked, c.Rule.Name))
	case g.Over:
		f.State, f.Name = verdict.Hit, c.Rule.Name
		var code verdict.Code
		code, f.Proposed = c.over(g, isBounce)
		last := seconds(max(1, (g.Wait+999_999)/1_000_000))
		if code == verdict.OverBurst || code == verdict.OverBurstBounce {
			last = strconv.FormatInt(c.Burst, 10)
		}
		room := fmt.Sprintf("%d more: %d in %s, %d at once", c.Amount, c.Limit, seconds(c.Rule.Per), c.Burst)
		f.Reasons = verdict.Because(verdict.Why(code, c.Rule.Name, c.Key, room, c.Rule.Count.String(), last))
	}
	return f
}

// over says what follows for a message that is over the limit. A bounce is never refused
// for good: it would be lost.
func (c Charge) over(g Grant, isBounce bool) (verdict.Code, verdict.Verdict) {
	switch {
	case c.Rule.OnLimit == verdict.Tag:
		return verdict.OverLimitTagged, verdict.Tag
	case g.Wait == Never && isBounce:
		return verdict.OverBurstBounce, verdict.Tempfail
	case g.Wait == Never:
		return verdict.OverBurst, verdict.Reject
	case c.Rule.OnLimit == verdict.Reject && !isBounce:
		return verdict.OverLimitRefused, verdict.Reject
	}
	return verdict.OverLimit, verdict.Tempfail
}

// seconds writes a time in the largest unit that does not round it much.
func seconds(n int64) string {
	name := "second"
	for _, unit := range [...]struct {
		of   int64
		name string
	}{{86400, "day"}, {3600, "hour"}, {60, "minute"}} {
		if n >= 2*unit.of || n == unit.of {
			n, name = (n+unit.of-1)/unit.of, unit.name
			break
		}
	}
	if n == 1 {
		return "1 " + name
	}
	return strconv.FormatInt(n, 10) + " " + name + "s"
}
