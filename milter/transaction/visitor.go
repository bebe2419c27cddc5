package transaction

import (
	"log/slog"
	"net/netip"
	"time"

	"coexistd/milter/flood"
	"coexistd/policy"
	"coexistd/policy/verdict"
)

// Visitor is an SMTP client from its connection to its leave, as the check ddos sees it.
// The zero Visitor is bounded by nothing.
type Visitor struct {
	visit   *flood.Visit   // nil when the client is not bounded
	blocked verdict.Reason // why all that it asks for is refused, or zero
	client  policy.Arrival
}

// Arrive begins the visit. It returns the reply to a client that asks for too much, or
// the zero Reply.
func (v *Visitor) Arrive(rt *Runtime, client policy.Arrival) verdict.Reply {
	v.Leave()
	v.client = client
	if rt.Policy == nil {
		return verdict.Reply{}
	}
	entry := rt.Policy.Enter(client)
	if _, guards := rt.Policy.Guards(entry); !guards {
		return verdict.Reply{}
	}
	visit, excess := rt.Flood.Connect(time.Now(), &rt.Policy.DDoS, client.Client)
	v.visit = visit
	return v.judge(rt, entry, excess, false).Reply()
}

// Leave ends the visit.
func (v *Visitor) Leave() {
	v.visit.End()
	*v = Visitor{}
}

// beginsMessage counts a message of the visit, and isRefused a recipient of it that was
// refused, or is observed and would have been. Each returns why a client is turned away that
// goes too far. What only a domain observes is not held against a client.
func (v *Visitor) beginsMessage(rt *Runtime, entry policy.Entry) verdict.Reason {
	if v.blocked.Code != "" || v.visit == nil {
		return v.isBlocked(rt, false)
	}
	return v.judge(rt, entry, v.visit.Message(time.Now(), &rt.Policy.DDoS), false)
}

func (v *Visitor) isRefused(rt *Runtime, entry policy.Entry, unknown, observed bool) verdict.Reason {
	if v.visit == nil || rt == nil || observed && !rt.Policy.Observe {
		return verdict.Reason{}
	}
	return v.judge(rt, entry, v.visit.Refused(time.Now(), &rt.Policy.DDoS, unknown), observed)
}

// isBlocked is why all that the client asks for is refused, or zero. Who only observes clients
// refuses nothing, and notes what would be refused to an observed recipient.
func (v *Visitor) isBlocked(rt *Runtime, observed bool) verdict.Reason {
	if rt.Policy.Observe && !observed {
		return verdict.Reason{}
	}
	return v.blocked
}

// judge says what follows for a client that is over a bound, for the rest of the visit,
// too: to a recipient that the MTA itself refuses it gives its own answer, so that the
// client learns of ours by the next. A flood writes a line a minute for a client or
// network.
func (v *Visitor) judge(rt *Runtime, entry policy.Entry, e flood.Excess, observed bool) verdict.Reason {
	check, guards := rt.Policy.Guards(entry)
	if !e.Over() || !guards {
		return verdict.Reason{}
	}
	if e.First {
		attrs := []slog.Attr{
			slog.Any("client", v.client.Client), slog.String("point", entry.Point.String()), slog.String("check", check.Name),
			slog.String("verdict", check.OnHit.String()), slog.String("reason", e.Why),
		}
		if rt.Policy.Observe {
			attrs = append(attrs, slog.Bool("observed", true))
		}
		rt.World.Report(slog.LevelWarn, "a client asks for too much; more of this is not logged for a minute", attrs...)
	}
	v.blocked = check.TooMuch(e.Unknown)
	return v.isBlocked(rt, observed)
}

// Blocked returns a client of that entry who has asked for more than the check ddos
// allows: of unknown recipients, or of all else. Guarded is false where nothing bounds the
// client.
func Blocked(rules *policy.Rules, entry policy.Entry, client netip.Addr, unknown bool) (v Visitor, guarded bool) {
	check, guards := rules.Guards(entry)
	if !guards || rules.DDoS.Exempt.Has(client) {
		return Visitor{}, false
	}
	return Visitor{blocked: check.TooMuch(unknown)}, true
}
