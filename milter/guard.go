package milter

import (
	"log/slog"
	"time"

	gomilter "github.com/emersion/go-milter"

	"coexistd/milter/flood"
	"coexistd/policy"
)

// arrive begins the visit of an SMTP client. It returns the reply to a client that
// asks for too much, or the zero Reply.
func (s *session) arrive() policy.Reply {
	s.leave()
	rt := s.server.Runtime()
	if rt == nil {
		return policy.Reply{}
	}
	arrival := s.arrival()
	entry := rt.Policy.Enter(arrival)
	check, guards := rt.Policy.Guards(entry)
	if !guards {
		return policy.Reply{}
	}
	visit, excess := rt.Flood.Connect(time.Now(), &rt.Policy.DDoS, arrival.Client)
	s.visit = visit
	s.blocked = s.excessive(check, entry.Point, excess)
	return s.blocked
}

// leave ends the visit.
func (s *session) leave() {
	s.visit.End()
	s.visit, s.blocked = nil, policy.Reply{}
}

// excessive says in the log that a client asks for too much, and returns the
// reply to him: none when nothing is to be done about it. A flood writes a line a
// minute for a client or network.
func (s *session) excessive(check policy.Check, point policy.Checkpoint, e flood.Excess) policy.Reply {
	if !e.Over() {
		return policy.Reply{}
	}
	if e.First {
		s.log(slog.LevelWarn, "a client asks for too much; more of this is not logged for a minute",
			slog.Any("client", s.arrival().Client), slog.String("point", point.String()), slog.String("check", check.Name),
			slog.String("verdict", check.OnHit.String()), slog.String("reason", e.Why))
	}
	switch check.OnHit {
	case policy.Tempfail:
		return policy.Reply{Code: 421, Enhanced: "4.7.0", Text: "Too many connections or commands, try again later"}
	case policy.Reject:
		return policy.Reply{Code: 554, Enhanced: "5.7.0", Text: "Too many connections or commands"}
	}
	return policy.Reply{}
}

// countMessage counts a message of the connection, and countRefused a recipient of
// it that was refused. Each returns the reply to a client that goes too far.
func (s *session) countMessage(rt *Runtime) policy.Reply {
	if s.visit == nil {
		return policy.Reply{}
	}
	return s.tooMuch(rt, s.visit.Message(time.Now(), &rt.Policy.DDoS))
}

func (s *session) countRefused(rt *Runtime, r policy.Reply) policy.Reply {
	if s.visit == nil || rt == nil {
		return policy.Reply{}
	}
	return s.tooMuch(rt, s.visit.Refused(time.Now(), &rt.Policy.DDoS, r.Enhanced == unknownAddress))
}

// refuseRuled refuses a recipient, with the answer to a client that goes too far
// when it does so by this one.
func (s *session) refuseRuled(r policy.Ruling) {
	if reply := s.countRefused(s.message.runtime, r.Reply); !reply.IsZero() {
		r.Verdict, r.Reply, r.Reason = severity(reply), reply, reply.Text
	}
	if r.Reply == s.blocked {
		r.Check = policy.CheckDDoS
	}
	s.message.refused.add(r)
	s.refuse(r.Reply)
}

// unknownAddress is the enhanced code of an address that nobody has (RFC 3463
// section 3.2).
const unknownAddress = "5.1.1"

// tooMuch holds for the rest of the visit, too: to a recipient that the MTA itself
// refuses it gives its own answer, so that the client learns of ours by the next.
func (s *session) tooMuch(rt *Runtime, e flood.Excess) policy.Reply {
	if !e.Over() {
		return policy.Reply{}
	}
	entry := s.message.entry
	if check, guards := rt.Policy.Guards(entry); guards {
		s.blocked = s.excessive(check, entry.Point, e)
		return s.blocked
	}
	return policy.Reply{}
}

// refusedByMTA returns the reply with which the MTA itself has refused the
// recipient under way, of which it tells us (SMFIP_RCPT_REJ). Both Postfix and
// Sendmail name the mailer "error" then. To Postfix that alone proves nothing: it
// has "error" for the addresses of virtual_alias_domains, too, which it takes. The
// host of those is a code and a text, and that of a refused one the bare code.
func (s *session) refusedByMTA() (policy.Reply, bool) {
	if s.macros.get(gomilter.StageRcptTo, "rcpt_mailer") != "error" {
		return policy.Reply{}, false
	}
	code := s.macros.get(gomilter.StageRcptTo, "rcpt_host")
	if s.isPostfix() && !isStatus(code, 4) && !isStatus(code, 5) {
		return policy.Reply{}, false
	}
	return policy.Reply{Enhanced: code}, true
}
