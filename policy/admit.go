package policy

import (
	"coexistd/policy/mail"
	"coexistd/policy/route"
	"coexistd/policy/verdict"
)

// Admit rules on one recipient at RCPT, the one place where it can be refused
// alone: it is, when Ruling.Refuses. Earlier is the
// number of recipients that the message has already. At a provisional entry
// it is refused only when S0 and S1 would give the same codes; mail made on
// this host is never refused here, since its MTA could not bear it, nor is a recipient who
// is only observed.
func (p *Policy) Admit(e Entry, sender mail.Address, earlier int, r route.Recipient) Ruling {
	ruling := p.admit(e, sender, earlier, r)
	ruling.Observed = p.Observes(sender, r.Address)
	return ruling
}

func (p *Policy) admit(e Entry, sender mail.Address, earlier int, r route.Recipient) Ruling {
	if sender.IsNull() && earlier > 0 && e.Point != verdict.S2 {
		// What has the null sender answers one message, and so has one recipient.
		return Refuse(r.Path, verdict.Why(verdict.BounceToSeveral))
	}
	if check, made := p.Points[verdict.S2].check(verdict.CheckAuth); made && e.Point == verdict.S2 {
		f := e.authenticated()
		if v := check.verdict(f); v >= verdict.Tempfail {
			return Ruling{Address: r.Path, Verdict: v, Reply: f.Reply(v), Reasons: f.Reasons, Check: check.Name}
		}
	}
	outcomes := p.outcomes(e)
	if refused := p.refuseUnencrypted(e, outcomes, sender, &r); refused.Verdict >= verdict.Tempfail {
		return refused
	}
	first := ruling(&r, p.Routes.Find(outcomes[0], sender, &r))
	certain := !e.OnHost && first.Verdict != verdict.Discard
	for _, o := range outcomes[1:] {
		reply := p.Routes.Find(o, sender, &r).Reply()
		certain = certain && reply.Code == first.Reply.Code && reply.Enhanced == first.Reply.Enhanced
	}
	if !certain {
		first.Verdict, first.Reply = verdict.Accept, verdict.Reply{}
	}
	return first
}

// refuseUnencrypted refuses a recipient for how the connection is encrypted, so that the message
// itself does not come: where each point that it may turn out to enter at does so.
func (p *Policy) refuseUnencrypted(e Entry, outcomes []route.Origin, sender mail.Address, r *route.Recipient) Ruling {
	if len(e.unmet) == 0 {
		return Ruling{}
	}
	f := e.encrypted(sender)
	mildest := verdict.Reject
	for _, o := range outcomes {
		check, made := p.entry(o.Point, r.Address).check(verdict.CheckTLS)
		if !made {
			return Ruling{}
		}
		mildest = min(mildest, check.verdict(f))
	}
	return Ruling{Address: r.Path, Verdict: mildest, Reply: f.Reply(mildest), Reasons: f.Why(), Check: verdict.CheckTLS}
}

// entry is what is done where a message enters, for one recipient.
func (p *Policy) entry(at verdict.Checkpoint, recipient mail.Address) Point {
	if domain := p.Routes.Domains[recipient.Domain]; at == verdict.S0 && domain != nil && domain.MX != "" {
		return p.PastMX
	}
	return p.Points[at]
}

// authenticated is the finding of the check auth.
func (e Entry) authenticated() verdict.Finding {
	if e.Known {
		return verdict.Passed(verdict.CheckAuth)
	}
	return verdict.Finding{
		Check: verdict.CheckAuth, State: verdict.Hit, Name: "not authenticated",
		Reasons: verdict.Because(verdict.Why(verdict.AuthRequired)),
	}
}
