package doctor

import (
	"context"
	"fmt"

	"coexistd/cmd/coexistd/account"
	"coexistd/cmd/coexistd/daemon"
	"coexistd/cmd/coexistd/human"
	"coexistd/cmd/coexistd/setup"
	"coexistd/milter/notice"
	"coexistd/policy/mail"
)

// lookAtUnproven tells of mail in our own name that the daemon has put off in the last 24
// hours, since it bears no proof of its tenant.
func lookAtUnproven(_ context.Context, x *examination) []Finding {
	list, err := notice.ReadPutOff(daemon.UnprovenPath(x.conf), x.now)
	if err != nil {
		return []Finding{warning("what was put off without proof of its tenant cannot be told: %v", err).
			do("run: chown %s %s; or remove it: the daemon begins anew", account.OwnName(), daemon.UnprovenPath(x.conf))}
	}
	var findings []Finding
	for _, one := range list {
		if one.Day == 0 {
			continue
		}
		remedy := fmt.Sprintf(`have a rule over there add a secret header, and add proof = { header = "X-Coexist-Proof", secret_file = "proof.key" } to platform.%s in %s`, one.Platform, x.conf.Path)
		if proofs := x.conf.Rules.Tenants[one.Platform]; proofs.Header != "" {
			remedy = fmt.Sprintf("see that the rule over there adds %s to all mail", proofs.Header)
		}
		if command := x.guideOf(one.Platform); command != "" {
			remedy += " (" + command + " has the rule)"
		}
		findings = append(findings, warning("mail in our own name from %s without proof of its tenant was put off %s in the last 24 hours, last %s", one.Platform, human.Count(int(one.Day), "time"), human.Age(x.now.Sub(one.Last.Time))).
			do("%s; contrib/docs/senders.md tells more", remedy))
	}
	if findings == nil {
		findings = append(findings, fine("no mail in our own name was put off in the last 24 hours without proof of its tenant"))
	}
	return append(findings, x.lookAtOnmicrosoft()...)
}

// lookAtOnmicrosoft tells of users at Office 365 who send by an address of onmicrosoft.com, as those
// do whose primary address it is.
func (x *examination) lookAtOnmicrosoft() []Finding {
	list, _ := notice.ReadOnmicrosoft(daemon.UnprovenPath(x.conf), x.now) // what cannot be read was told
	var findings []Finding
	for _, one := range list {
		if one.Week == 0 {
			continue
		}
		findings = append(findings, warning("%s of %s came in seven days from addresses of onmicrosoft.com, last %s from %s: such a sender reaches no more than 100 recipients a day outside (550 5.7.236)",
			human.Count(int(one.Week), "message"), one.Platform, human.Age(x.now.Sub(one.Last.Time)), mail.Printable(one.Last.Sender)).
			do("give the mailbox a primary address in a domain of yours: admin.microsoft.com, Users > Active users > the user > Manage username and email; or in Exchange Online PowerShell: Set-Mailbox -Identity ADDRESS -WindowsEmailAddress USER@DOMAIN"))
	}
	return findings
}

// guideOf is the command that says what to set at a platform; empty: there is none.
func (x *examination) guideOf(platform string) string {
	site := &setup.Site{Conf: x.conf}
	switch p := x.conf.Rules.Routes.Platform(platform); {
	case p == nil:
	case setup.Office365(site, p):
		return "coexistd setup office365"
	case setup.Google(site, p):
		return "coexistd setup google"
	}
	return ""
}
