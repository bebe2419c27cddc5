package doctor

import (
	"cmp"
	"context"
	"fmt"
	"net"
	"net/netip"
	"path/filepath"
	"slices"
	"strings"

	"coexistd/policy/config"
)

// milterEntry is one milter of a list in main.cf.
type milterEntry struct {
	address string
	// defaultAction is its own; empty: milter_default_action.
	defaultAction string
}

// milterEntries reads smtpd_milters: addresses, each with settings of its own when
// it stands between braces.
func milterEntries(text string) []milterEntry {
	var list []milterEntry
	for _, one := range postfixList(text) {
		inner, braced := strings.CutPrefix(one, "{")
		if !braced {
			list = append(list, milterEntry{address: one})
			continue
		}
		var entry milterEntry
		for i, part := range postfixList(strings.TrimSuffix(inner, "}")) {
			name, value := setting(strings.Trim(part, "{}"))
			if i == 0 {
				entry.address = part
			} else if name == "default_action" {
				entry.defaultAction = value
			}
		}
		list = append(list, entry)
	}
	return list
}

// lookAtMilters sees whether the services that run a program give their mail to
// us.
func lookAtMilters(ctx context.Context, x *examination, program, setting string) []Finding {
	services := x.mta.running(program)
	if len(services) == 0 {
		return []Finding{warning("master.cf has no service that runs %s", program).do("add one, as contrib/postfix describes")}
	}
	return together(program, services, serviceName, func(s *postfixService) (Finding, bool) { return judgeService(ctx, x, s, setting), true })
}

// judgeService says of one service whether it gives its mail to us. What it finds
// reads on from the service's name.
func judgeService(ctx context.Context, x *examination, s *postfixService, setting string) Finding {
	options, milters, file := x.mta.value(s, "receive_override_options"), x.mta.value(s, setting), s.whereIs(setting)
	if slices.Contains(postfixList(options), "no_milters") {
		if _, own := s.own["receive_override_options"]; own && isLoopback(s.name) {
			return fine("takes mail back from a content filter, without milters")
		}
		return failure("asks no milter: receive_override_options has no_milters").
			do("take no_milters out of receive_override_options, save for a service that takes mail back from a content filter on loopback; then run: postfix reload")
	}
	entries := milterEntries(milters)
	if i := slices.IndexFunc(entries, func(e milterEntry) bool { return x.mta.leadsTo(e.address, x.conf.Listeners) }); i >= 0 {
		us := entries[i]
		if maps := x.mta.value(s, "smtpd_milter_maps"); setting == "smtpd_milters" && maps != "" {
			return warning("hands its mail to coexistd by %s, but smtpd_milter_maps (%s) has other milters, or none, for the clients that it names: their mail passes by", us.address, maps).
				do("take smtpd_milter_maps out, or see that it names coexistd for each client; then run: postfix reload")
		}
		return x.mta.judgeAbsence(s, setting, file, us, slices.Delete(entries, i, i+1))
	}
	list := []string{x.conf.Listeners[0].Address}
	for i, one := range postfixList(milters) {
		network, address, _ := strings.Cut(entries[i].address, ":")
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
func (p *postfix) judgeAbsence(s *postfixService, setting, file string, us milterEntry, others []milterEntry) Finding {
	general := p.value(s, "milter_default_action")
	perMilter := fmt.Sprintf("write { %s, default_action=tempfail } for %s in %s of %s; then run: postfix reload", us.address, us.address, setting, file)
	remedy := "put into main.cf: milter_default_action = tempfail; then run: postfix reload"
	if us.defaultAction != "" || len(others) > 0 && p.isFrom(3) {
		remedy = perMilter
	}
	switch action := cmp.Or(us.defaultAction, general); action {
	case "tempfail":
	case "accept":
		return failure("hands its mail to coexistd by %s, but while coexistd is away, mail passes by unchecked, and that for users who live elsewhere goes astray (the default action is accept)", us.address).do("%s", remedy)
	case "reject":
		return warning("hands its mail to coexistd by %s, but while coexistd is away, mail is bounced (the default action is reject)", us.address).do("%s", remedy)
	default:
		return warning("hands its mail to coexistd by %s, but while coexistd is away, the default action is %s", us.address, action).do("%s", remedy)
	}
	var bound []string
	for _, other := range others {
		if other.defaultAction == "" {
			bound = append(bound, other.address)
		}
	}
	_, own := s.own["milter_default_action"]
	if len(bound) > 0 && us.defaultAction == "" && (own || p.explicit["milter_default_action"]) && p.isFrom(3) {
		return warning("hands its mail to coexistd by %s; milter_default_action = tempfail holds for %s as well: while one of them is away, mail is put off", us.address, some(bound)).
			do("%s; milter_default_action is then for the others alone", perMilter)
	}
	return fine("hands its mail to coexistd by %s", us.address)
}

// leadsTo reports that an address as Postfix writes it is one of our listeners':
// "unix:PATH" or "inet:HOST:PORT". A path may be one that Postfix sees from its
// queue directory.
func (p *postfix) leadsTo(address string, listeners []config.Listener) bool {
	kind, rest, _ := strings.Cut(address, ":")
	return isListenedAt(kind, rest, listeners) || kind == "unix" && isListenedAt(kind, filepath.Join(p.main["queue_directory"], rest), listeners)
}

func isLoopback(service string) bool {
	host, _, err := net.SplitHostPort(service)
	if err != nil {
		return false
	}
	address, err := netip.ParseAddr(host)
	return strings.EqualFold(host, "localhost") || err == nil && address.Unmap().IsLoopback()
}
