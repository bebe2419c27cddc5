package doctor

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"

	"coexistd/cmd/coexistd/postconf"
)

// lookAtMilters sees whether the services that run a program give their mail to
// us.
func lookAtMilters(ctx context.Context, x *examination, program, setting string) []Finding {
	services := x.mta.Running(program)
	if len(services) == 0 {
		return []Finding{warning("master.cf has no service that runs %s", program).do("add one, as contrib/postfix describes")}
	}
	return together(program, services, serviceName, func(s *postconf.Service) (Finding, bool) { return judgeService(ctx, x, s, setting), true })
}

// judgeService says of one service whether it gives its mail to us. What it finds
// reads on from the service's name.
func judgeService(ctx context.Context, x *examination, s *postconf.Service, setting string) Finding {
	milters, file := x.mta.Value(s, setting), s.Where(setting)
	entries := postconf.Milters(milters)
	i := slices.IndexFunc(entries, func(e postconf.Milter) bool { return x.mta.LeadsTo(e.Address, x.conf.Listeners) })
	switch asks := x.mta.AsksMilters(s); {
	case asks && i >= 0:
		us := entries[i]
		if maps := x.mta.Value(s, "smtpd_milter_maps"); setting == "smtpd_milters" && maps != "" {
			return warning("hands its mail to coexistd by %s, but smtpd_milter_maps (%s) has other milters, or none, for the clients that it names: their mail passes by", us.Address, maps).
				do("take smtpd_milter_maps out, or see that it names coexistd for each client; then run: postfix reload")
		}
		if x.conf.Rules.ObservesAll() {
			return x.mta.judgeWaiting(s, setting, file, us)
		}
		return x.mta.judgeAbsence(s, setting, file, us, slices.Delete(entries, i, i+1))
	case x.mta.IsReturn(s) && asks && len(entries) > 0:
		return fine("takes mail back that coexistd has seen, for milters of its own")
	case x.mta.IsReturn(s):
		return fine("takes mail back from a content filter, without milters")
	case !asks:
		return failure("asks no milter: receive_override_options has no_milters").
			do("take no_milters out of receive_override_options, save for a service that takes mail back from a content filter on loopback; then run: postfix reload")
	}
	list := []string{x.conf.Listeners[0].Address}
	if x.conf.Rules.ObservesAll() && x.mta.IsFrom(3) {
		list[0] = postconf.Passing(list[0])
	}
	for i, one := range postconf.List(milters) {
		network, address, _ := strings.Cut(entries[i].Address, ":")
		if network == "inet" {
			network = "tcp"
		}
		if knock(ctx, network, address) != deaf { // as our own address is that was changed
			list = append(list, one)
		}
	}
	return failure("does not hand its mail to coexistd: %s is %q", setting, milters).
		do("put into %s: %s = %s; then run: postfix reload", file, setting, strings.Join(list, ", "))
}

// judgeAbsence says of a service that hands its mail to us what becomes of mail while we
// are away, and what that asks of the other milters.
func (p *postfix) judgeAbsence(s *postconf.Service, setting, file string, us postconf.Milter, others []postconf.Milter) Finding {
	general := p.Value(s, "milter_default_action")
	perMilter := fmt.Sprintf("write { %s, default_action=tempfail } for %s in %s of %s; then run: postfix reload", us.Address, us.Address, setting, file)
	remedy := "put into main.cf: milter_default_action = tempfail; then run: postfix reload"
	if us.DefaultAction != "" || len(others) > 0 && p.IsFrom(3) {
		remedy = perMilter
	}
	switch action := cmp.Or(us.DefaultAction, general); action {
	case "tempfail":
	case "accept":
		return failure("hands its mail to coexistd by %s, but while coexistd is away, mail passes by unchecked, and that for users who live elsewhere goes astray (the default action is accept)", us.Address).do("%s", remedy)
	case "reject":
		return warning("hands its mail to coexistd by %s, but while coexistd is away, mail is bounced (the default action is reject)", us.Address).do("%s", remedy)
	default:
		return warning("hands its mail to coexistd by %s, but while coexistd is away, the default action is %s", us.Address, action).do("%s", remedy)
	}
	var bound []string
	for _, other := range others {
		if other.DefaultAction == "" {
			bound = append(bound, other.Address)
		}
	}
	_, own := s.Own["milter_default_action"]
	if len(bound) > 0 && us.DefaultAction == "" && (own || p.IsWritten("milter_default_action")) && p.IsFrom(3) {
		return warning("hands its mail to coexistd by %s; milter_default_action = tempfail holds for %s as well: while one of them is away, mail is put off", us.Address, some(bound)).
			do("%s; milter_default_action is then for the others alone", perMilter)
	}
	return fine("hands its mail to coexistd by %s", us.Address)
}
