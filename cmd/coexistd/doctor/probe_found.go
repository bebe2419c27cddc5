package doctor

import (
	"cmp"
	"fmt"
	"strings"
	"time"

	"coexistd/cmd/coexistd/control"
)

// judge says what became of a probe, and what to do.
func (p *prober) judge(one *probed) Finding {
	switch {
	case one.brokenOff:
		return warning("%s: the wait for the probe for %s was broken off before it was known what became of it%s", one.way, one.to, p.underWay(one)).do(again)
	case one.refused != nil:
		return failure("%s: the MTA at %s does not take the probe: %v", one.way, p.post.MTA, one.refused).
			do("see that quarantine.smtp in %s is where this host's MTA takes mail, and what its log says", p.conf.Path)
	case one.answer.Return != nil && one.platform == nil:
		return fine("%s: the milter of the MTA at %s knew a probe again", one.way, p.post.MTA)
	case one.answer.Return != nil:
		return p.judgeReturn(one, one.answer.Return)
	case one.answer.Bounce != nil && one.answer.Bounce.Final:
		text := strings.TrimSpace(one.answer.Bounce.Status + " " + one.answer.Bounce.Diagnosis)
		return failure("%s: the probe for %s bounced: %s", one.way, one.to, cmp.Or(text, "the bounce does not say why")).do("%s", remedyOf(text))
	case one.fate.state == bounced:
		return failure("%s: the MTA could not deliver the probe for %s: %s", one.way, one.to, one.fate.text).do("%s", remedyOf(one.fate.text))
	case one.unasked != nil:
		return failure("%s: whether the probe came back cannot be told: %v", one.way, one.unasked).do("see that the daemon of this configuration runs, in this version: systemctl restart coexistd")
	}
	return p.judgeSilence(one)
}

// judgeReturn says how a probe came back from its platform.
func (p *prober) judgeReturn(one *probed, r *control.ProbeReturn) Finding {
	name := one.platform.Name
	came := fmt.Sprintf("%s: the probe came back from %s in %s", one.way, name, took(one, r.When))
	switch {
	case r.Unforwarded:
		return failure("%s: %s sent the probe for %s back to us for the same address: mail for it goes round", one.way, name, one.to).
			do("make a mailbox of %s over there, and the rule that sends its mail on to %s; contrib/docs/probe.md tells how", one.to, p.conf.Probe.From)
	case r.Point == "S2":
		return failure("%s, but as S2, since %s: what %s sends counts as our own users' mail", came, r.Entered, name).
			do("take the platform's addresses out of our_networks and its certificate out of our_certificates in %s, and have no listener of S2 for it", p.conf.Path)
	case r.Point == "S1" && r.Platform == name:
		return fine("%s, as S1: %s; %s", came, r.Proof, secured(r))
	case r.Point == "S1":
		return failure("%s, but as mail of %s: %s", came, r.Platform, r.Proof).do("see that the rule over there for %s sends its mail on from %s, and that no other platform forwards it", one.to, name)
	case !isFrom(r, one.platform):
		return failure("%s, but as S0: %s; %s", came, r.Entered, secured(r)).
			do("add %s, or the list that has it, to networks of platform.%s in %s", r.Client, name, p.conf.Path)
	}
	return failure("%s, but as S0: %s; %s", came, r.Proof, secured(r)).do("%s; contrib/docs/senders.md tells more", p.proofRemedy(name))
}

// proofRemedy says how mail of a platform gets a proof of its tenant.
func (p *prober) proofRemedy(platform string) string {
	if proofs := p.conf.Rules.Tenants[platform]; proofs.Header != "" {
		return fmt.Sprintf("see that the rule over there adds %s, with the secret of secret_file, to all mail that leaves for us, what it sends on included", proofs.Header)
	}
	return fmt.Sprintf(`have a rule over there add a secret header to all mail that leaves for us, and add proof = { header = "X-Coexist-Proof", secret_file = "proof.key" } to platform.%s in %s`, platform, p.conf.Path)
}

// judgeSilence says what is known of a probe that did not come back.
func (p *prober) judgeSilence(one *probed) Finding {
	waited, id := p.conf.Probe.Wait, p.post.MessageID(&one.letter)
	if one.platform == nil {
		return failure("%s: the milter of the MTA at %s did not see the probe within %v: it asks another daemon, or none", one.way, p.post.MTA, waited).
			do("see that quarantine.smtp in %s is the MTA whose milter is this coexistd, and that all hosts of secret_file have the same", p.conf.Path)
	}
	return failure("%s: nothing came back from %s within %v%s", one.way, one.platform.Name, waited, p.underWay(one)).
		do("look for the Message-Id %s: in the queue and the log of this host's MTA, in the mailbox of %s, where a bounce would be, and in the message trace of %s; see that the rule there sends mail for %s on to %s", id, p.conf.Probe.From, one.platform.Name, one.to, p.conf.Probe.From)
}

// underWay continues a sentence by what is known of a probe that has not come back.
func (p *prober) underWay(one *probed) string {
	lost := p.log.lostTo()
	switch b := one.answer.Bounce; {
	case b != nil:
		return "; a notice says that it is late: " + strings.TrimSpace(b.Status+" "+b.Diagnosis)
	case one.fate.state != "":
		return fmt.Sprintf("; of its way there, the MTA's log says %s: %s", one.fate.state, one.fate.text)
	case lost != nil:
		return fmt.Sprintf("; the MTA's log was rotated meanwhile, and the new one cannot be read: %v", lost)
	}
	return ""
}

// took is how long a probe was under way. Its clocks are this host's.
func took(one *probed, back time.Time) string {
	return fmt.Sprintf("%.1f s", max(back.Sub(one.letter.Date), 0).Seconds())
}

// secured says how the connection was secured by which a probe came.
func secured(r *control.ProbeReturn) string {
	switch {
	case r.TLS == "" && r.Certificate == "":
		return "without TLS, as far as the MTA tells"
	case r.Certificate == "":
		return "by " + r.TLS + ", without a certificate that the MTA trusts"
	}
	return "by " + cmp.Or(r.TLS, "TLS") + ", with the certificate of " + r.Certificate
}

// remedies are what to do about answers by which platforms refuse mail, by the subject and the
// detail of their enhanced codes (RFC 3463 section 2).
var remedies = []struct{ code, do string }{
	{"7.64", "have an inbound connector of type OnPremises over there that knows this host by its certificate, whose name is an accepted domain, or by its address; see that it is enabled"},
	{"7.68", "have an inbound connector over there that knows this host: RejectDirectSend refuses our own domain from anybody else"},
	{"7.520", "let automatic forwarding over there reach our domain (the outbound spam policy), or use a mail flow rule that redirects instead"},
	{"7.236", "have the platform's users send with an address of a domain of ours: onmicrosoft addresses may send to few"},
	{"4.1", "make the mailbox over there, and have the domain be an internal relay there"},
	{"1.1", "make the mailbox over there, with its address in the alternate domain"},
	{"1.10", "make the mailbox over there, with its address in the alternate domain"},
	{"4.6", "see that the mailbox is there, and that the rule there sends its mail on to from of [probe]: mail goes round"},
	{"4.14", "see that the mailbox is there, and that the rule there sends its mail on to from of [probe]: mail goes round"},
}

// remedyOf says what to do about an answer.
func remedyOf(answer string) string {
	words := strings.FieldsFunc(answer, func(c rune) bool { return c != '.' && (c < '0' || c > '9') })
	for _, word := range words {
		for _, known := range remedies {
			if code, is := strings.CutPrefix(strings.Trim(word, "."), "5."); is && code == known.code {
				return known.do
			}
		}
	}
	return "see what the answer says, and mend that; contrib/docs/probe.md tells what a probe needs over there"
}
