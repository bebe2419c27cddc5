package doctor

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	"coexistd/cmd/coexistd/postconf"
	"coexistd/cmd/coexistd/sendmailcf"
	"coexistd/policy/mail"
)

// Where the mode is observe for all mail, the MTA is to hand its mail to us, and to do nothing
// else for us: what only the mode enforce needs is not asked for.

// lookAtObservedPostfix looks at a Postfix whose mail is only observed.
func lookAtObservedPostfix(ctx context.Context, x *examination) []Finding {
	return slices.Concat(
		lookAtMilters(ctx, x, "smtpd", "smtpd_milters"),
		lookAtMilters(ctx, x, "cleanup", "non_smtpd_milters"),
		lookAtNeedlessMaps(x),
		x.judgeChroot(x.mta.chrooted(), x.unixSockets()),
		lookAtRights(x),
		lookAtDelimiters(x),
		lookAtNetworks(x),
		later(slices.Concat(lookAtOtherMilters(x), wrong(lookAtContentFilters(x)), lookAtAliases(ctx, x))),
	)
}

// lookAtObservedSendmail looks at a Sendmail whose mail is only observed.
func lookAtObservedSendmail(ctx context.Context, x *examination) []Finding {
	return slices.Concat(
		lookAtAge(x.sendmail, x.now),
		lookAtTables(x.sendmail),
		lookAtDaemons(x.sendmail),
		lookAtFilters(x),
		lookAtNeedlessRules(x),
		lookAtSendmailSockets(x),
		lookAtDeafFilters(ctx, x),
		later(slices.Concat(lookAtOtherFilters(x), lookAtSendmailAliases(x))),
	)
}

// lookAtNeedlessMaps looks for maps of ours that say where mail goes, and that hold nothing of
// what is observed: all that they do is to have mail wait while we are away.
func lookAtNeedlessMaps(x *examination) []Finding {
	var findings []Finding
	for _, one := range [...]struct{ setting, name string }{
		{"virtual_alias_maps", "aliases"}, {"virtual_alias_maps", "members"}, {"transport_maps", "transport"},
	} {
		if !x.mta.Asks(one.setting, one.name, x.conf.Lookups) {
			continue
		}
		list := postconf.Tables(x.mta.Main[one.setting])
		left := slices.DeleteFunc(list, func(table string) bool { return x.mta.IsAnyOfOurs(table, x.conf.Lookups) })
		findings = append(findings, failure("%s asks coexistd for %s, though the mode is observe: only the milter line is to be set. The map holds nothing, and has mail wait while coexistd is away", one.setting, one.name).
			do("put into main.cf: %s = %s; then run: postfix reload", one.setting, strings.Join(left, ", ")))
	}
	return findings
}

// lookAtNeedlessRules is that for Sendmail's rules.
func lookAtNeedlessRules(x *examination) []Finding {
	var findings []Finding
	for _, name := range slices.Sorted(maps.Keys(x.sendmail.Maps)) {
		m := x.sendmail.Maps[name]
		if m.Class != "socket" || !m.LeadsTo(x.conf.Lookups) || len(findings) > 0 {
			continue
		}
		findings = append(findings, failure("Sendmail asks coexistd where mail goes (map %s), though the mode is observe: only the filter's line is to be set. The map holds nothing, and has mail wait while coexistd is away", name).
			do("take the include of coexistd.m4 out of sendmail.mc, and write in its place: %s", x.sendmail.observing(ourFilter, sendmailcf.ListenerFor(x.conf, false))+remade))
	}
	return findings
}

// ourFilter is the name of the filter that is ours.
const ourFilter = "coexistd"

// observing is the line of a filter that nobody waits for while it is away.
func (s *sendmail) observing(name, address string) string {
	return fmt.Sprintf("INPUT_MAIL_FILTER(`%s', `S=%s, T=%s')dnl", name, address, sendmailcf.UsualTimes)
}

// judgeWaiting says of a service whose mail is only observed what becomes of mail while we are
// away: it is to go on.
func (x *examination) judgeWaiting(s *postconf.Service, setting string, us postconf.Milter) Finding {
	action := cmp.Or(us.DefaultAction, x.mta.Value(s, "milter_default_action"))
	if action == "accept" {
		return fine("hands its mail to coexistd by %s, and goes on while coexistd is away, as is right for the mode observe", us.Address)
	}
	remedy := put(s, "milter_default_action", "accept")
	if x.mta.IsFrom(3) {
		remedy = x.putMilters(s, setting)
	}
	return warning("hands its mail to coexistd by %s, whose mode is observe, but while coexistd is away, mail is not let through (the default action is %s)", us.Address, action).do("%s", remedy)
}

// judgeWaitingFilter is that for a filter of Sendmail's.
func (x *examination) judgeWaitingFilter(f sendmailcf.Filter) Finding {
	if f.Flags == "" {
		return fine("hands its mail to coexistd by %s, and goes on while coexistd is away, as is right for the mode observe", f.Address)
	}
	return warning("hands its mail to coexistd by %s, whose mode is observe, but while coexistd is away, mail is not let through (F=%s)", f.Address, f.Flags).
		inMC("%s in place of its line", x.sendmail.observing(f.Name, f.Address))
}

// whenUnasked says what becomes of mail of which the MTA cannot ask us.
func (x *examination) whenUnasked() string {
	if x.conf.Rules.ObservesAll() {
		return "no mail is observed"
	}
	return "all mail is put off"
}

// later has findings tell of what will be wrong once the mode is enforce.
func later(findings []Finding) []Finding {
	for i, f := range findings {
		if f.Status != OK {
			findings[i].Status, findings[i].Found = Warn, "once the mode is enforce: "+f.Found
		}
	}
	return findings
}

// lookAtMode says what keeps probes from their ways: where their mail is only observed, none is
// rewritten, and none is dropped when it comes back.
func (p *prober) lookAtMode() (lacks []Finding) {
	rules := p.conf.Rules
	addresses := []string{p.conf.Probe.From}
	for _, to := range p.conf.Probe.To {
		addresses = append(addresses, to.Address)
	}
	for _, address := range addresses {
		a, _ := mail.ParseAddress(address, rules.Delimiters)
		if rules.Observes(mail.Address{}, a) {
			return []Finding{failure("nothing is probed: the mode of %s is observe, so that a probe would be neither sent on nor dropped", address).
				do(`probe again once the mode is "enforce"; contrib/docs/observe.md tells what there is to see before`)}
		}
	}
	return nil
}
