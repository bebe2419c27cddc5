package doctor

import (
	"cmp"
	"context"
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
	milters := x.mta.Value(s, setting)
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
			return x.judgeWaiting(s, setting, us)
		}
		return x.judgeAbsence(s, setting, us)
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
	return failure("does not hand its mail to coexistd: %s is %q", setting, milters).do("%s", put(s, setting, strings.Join(list, ", ")))
}

// judgeAbsence says of a service that hands its mail to us what becomes of mail while we are away.
func (x *examination) judgeAbsence(s *postconf.Service, setting string, us postconf.Milter) Finding {
	action := cmp.Or(us.DefaultAction, x.mta.Value(s, "milter_default_action"))
	remedy := put(s, "milter_default_action", "tempfail")
	if us.DefaultAction != "" || x.isBesideOthers() && x.mta.IsFrom(3) {
		remedy = x.putMilters(s, setting)
	}
	switch action {
	case "tempfail":
		return fine("hands its mail to coexistd by %s", us.Address)
	case "accept":
		return failure("hands its mail to coexistd by %s, but while coexistd is away, mail passes by unchecked, and that for users who live elsewhere goes astray (the default action is accept)", us.Address).do("%s", remedy)
	case "reject":
		return warning("hands its mail to coexistd by %s, but while coexistd is away, mail is bounced (the default action is reject)", us.Address).do("%s", remedy)
	}
	return warning("hands its mail to coexistd by %s, but while coexistd is away, the default action is %s", us.Address, action).do("%s", remedy)
}
