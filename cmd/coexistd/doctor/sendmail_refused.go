package doctor

import (
	"context"
	"maps"
	"slices"

	"coexistd/policy/mail"
)

// lookAtSendmailRefused looks for mail that coexistd has refused lately although Sendmail would have taken it: for the
// host's own name, and for users whom another host has.
func lookAtSendmailRefused(ctx context.Context, x *examination) (findings []Finding) {
	unlisted, foreign := x.refused(ctx)
	written := x.strangers(foreign)
	for _, domain := range slices.Sorted(maps.Keys(written)) {
		// Of the others that Sendmail takes mail for, lookAtSendmailDomains tells.
		if domain == x.sendmail.hostname(x) && x.sendmail.Class("w").Has(domain) && len(findings) < mostNamed {
			findings = append(findings, x.strange("Sendmail", domain, written[domain]))
		}
	}
	return append(findings, x.judgeCatcher(x.stillLacking(unlisted))...)
}

// judgeCatcher looks for refused users whom another host may have: that of LUSER_RELAY, LOCAL_RELAY or MAIL_HUB.
func (x *examination) judgeCatcher(refused []mail.Address) []Finding {
	if x.sendmail.Macros["L"]+x.sendmail.Macros["H"]+x.sendmail.Macros["R"] == "" {
		return nil
	}
	var caught []string
	for _, one := range refused {
		if x.sendmail.Class("w").Has(one.Domain) {
			caught = append(caught, mail.Printable(one.Key))
		}
	}
	if len(caught) == 0 {
		return nil
	}
	slices.Sort(caught)
	return []Finding{warning("%s: Sendmail takes mail to anybody there, and coexistd has refused mail to addresses that the directory lacks: %s", x.sendmail.catcher(), some(slices.Compact(caught))).
		do("list those who have a mailbox there in the directory with the residence here, or set unlisted = \"here\" in the section of their domain; where none of them has one, nothing is to be done")}
}
