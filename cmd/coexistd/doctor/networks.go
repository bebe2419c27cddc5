package doctor

import (
	"context"
	"fmt"
	"net/netip"
	"strings"
	"time"

	"coexistd/cmd/coexistd/daemon"
	"coexistd/cmd/coexistd/human"
	"coexistd/cmd/coexistd/sidebyside"
	"coexistd/scanners/networks"
	"coexistd/scanners/sender"
)

// lateRefresh is the age of a list that a daemon at work has refreshed several
// times.
const lateRefresh = 3 * time.Hour

// lookAtLists sees whether the lists of platforms' networks are there and can
// be refreshed.
func lookAtLists(ctx context.Context, x *examination) []Finding {
	resolver := sender.NewResolver(x.conf.Resolver)
	lists := daemon.SavedLists(x.conf).Status()
	if len(lists) == 0 {
		return []Finding{fine("no platform's networks come from a list")}
	}
	return sidebyside.Ask(lists, len(lists), func(s networks.Status) Finding { return lookAtList(ctx, x, resolver, s) })
}

// lookAtList tells of one list.
func lookAtList(ctx context.Context, x *examination, resolver *sender.Resolver, s networks.Status) Finding {
	of := fmt.Sprintf("%s of %s", s.Source, s.Platform)
	var now []netip.Prefix
	problem := s.Err
	domain, isSPF := strings.CutPrefix(s.Source, networks.SPF+":")
	if isSPF && problem == nil {
		now, s.Skipped, problem = networks.Flatten(ctx, resolver, domain)
	}
	remedy := "correct the file; it is read again by itself"
	if isSPF {
		remedy = "see that the domain is right, and that the DNS answers; it is asked again by itself"
	}
	kind := "platform"
	if s.Upstream {
		kind = "upstream"
	}
	const askDaemon = "see that the daemon runs, and what its log says of networks: journalctl -u coexistd | grep networks"
	count := human.Count(s.Count, "network")
	switch {
	case problem != nil && s.Count == 0:
		return failure("%s is not known, so that its mail is put off, or counts as S0: %v", of, problem).do("%s", remedy)
	case problem != nil && s.Old:
		return warning("%s cannot be refreshed: %v; %s in use, last known to be right %s, which is more than max_age", of, problem, count, human.Age(s.Age)).do("%s", remedy)
	case problem != nil:
		return warning("%s cannot be refreshed: %v; %s in use, last known to be right %s", of, problem, count, human.Age(s.Age)).do("%s", remedy)
	case isSPF && s.Count == 0:
		return warning("%s has %s, but none are saved, and a restart while the DNS fails would put off mail from unknown clients", of, human.Count(len(now), "network")).do(askDaemon)
	case isSPF && s.Age > lateRefresh:
		return warning("%s has %s now, but the daemon, which has %s, has not asked since %s", of, human.Count(len(now), "network"), count, human.Age(s.Age)).do(askDaemon)
	case len(s.Skipped) > 0:
		return warning("%s has %s, without what no list can hold: %s", of, count, some(s.Skipped)).
			do("name what is missing as CIDRs: %s.%s.networks in %s", kind, s.Platform, x.conf.Path)
	case isSPF:
		return fine("%s has %s, last asked for %s", of, count, human.Age(s.Age))
	}
	return fine("%s has %s", of, count)
}
