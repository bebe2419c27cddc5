package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"

	"coexistd/cmd/coexistd/daemon"
	"coexistd/milter/notice"
	"coexistd/policy/config"
	"coexistd/policy/mail"
	"coexistd/policy/route"
	"coexistd/policy/spoof"
	"coexistd/policy/verdict"
	"coexistd/scanners/networks"
	"coexistd/scanners/sender"
)

const (
	// mostDomains is how many domains of ours the DNS is asked about, and
	// domainsAtOnce how many of them side by side.
	mostDomains   = 200
	domainsAtOnce = 10
	// lateRefresh is the age of a list that a daemon at work has refreshed several
	// times.
	lateRefresh = 3 * time.Hour
)

// lookAtRedis asks the Redis that counts for several hosts.
func lookAtRedis(ctx context.Context, x *examination) []finding {
	c := x.conf.Redis
	switch {
	case c == nil && len(x.conf.Rules.Rates) == 0:
		return []finding{fine("no [[rate]] needs it")}
	case c == nil:
		return []finding{fine("there is no [redis]: this host counts alone, in the daemon's memory")}
	}
	ctx, cancel := context.WithTimeout(ctx, questionTime)
	defer cancel()
	redis, at := daemon.NewRedis(x.conf), strings.Join(c.Addresses, ", ")
	defer redis.Close()
	version, err := redis.Ping(ctx)
	if err != nil {
		return []finding{failure("Redis at %s cannot count: %v", at, err).
			do("see that it runs, and that addresses, master, username, password_file and tls of [redis] in %s are right; until then, each [[rate]] does as its on_error says", x.conf.Path)}
	}
	return []finding{fine("Redis at %s counts, version %s", at, cmp.Or(version, "untold"))}
}

// lookAtDNS sees whether the DNS servers answer, and what the DNS says of our own
// domains.
func lookAtDNS(ctx context.Context, x *examination) []finding {
	if !asksDNS(x.conf) {
		return []finding{fine("no contact point needs it")}
	}
	domains := slices.Sorted(maps.Keys(x.conf.Rules.Routes.Domains))
	findings, answers := lookAtResolvers(ctx, x, domains[0])
	if !answers {
		return findings
	}
	return append(findings, lookAtRecords(ctx, x, domains)...)
}

// asksDNS reports a configuration by which the daemon asks the DNS.
func asksDNS(conf *config.Config) bool {
	p := conf.Rules
	return p.Points[verdict.S0].Makes(verdict.CheckSpoof) || p.PastMX.Makes(verdict.CheckSpoof) ||
		slices.ContainsFunc(conf.Sources, func(s config.Source) bool { return s.Kind == networks.SPF }) ||
		slices.ContainsFunc(p.Routes.Platforms, func(one *route.Platform) bool { return len(p.Tenants[one.Name].Domains) > 0 })
}

// lookAtResolvers asks each server of resolver, or the system's, about a domain.
// That it does not exist is an answer, too.
func lookAtResolvers(ctx context.Context, x *examination, domain string) (findings []finding, answers bool) {
	servers := x.conf.Resolver
	if len(servers) == 0 {
		servers = []string{""}
	}
	failed := sideBySide(servers, len(servers), func(server string) error {
		var only []string // none: the system's
		if server != "" {
			only = []string{server}
		}
		_, err := sender.NewResolver(only).LookupTXT(ctx, domain)
		if dns, is := errors.AsType[*net.DNSError](err); is && dns.IsNotFound {
			return nil
		}
		return err
	})
	answers = slices.Contains(failed, nil)
	for i, server := range servers {
		name := cmp.Or(server, "the system's resolver")
		switch {
		case failed[i] == nil:
			findings = append(findings, fine("%s answers", name))
		case answers:
			findings = append(findings, warning("%s does not answer: %v; the others are asked", name, plainDNS(failed[i])).do("start that server, or take it out of resolver in %s", x.conf.Path))
		default:
			findings = append(findings, failure("%s does not answer: %v; nothing is known of senders", name, plainDNS(failed[i])).
				do("see that the server runs and lets this host ask, or name another: resolver in %s", x.conf.Path))
		}
	}
	return findings, answers
}

// plainDNS says what a failure of the DNS is, without the name and the server.
func plainDNS(err error) error {
	if dns, is := errors.AsType[*net.DNSError](err); is {
		return errors.New(dns.Err)
	}
	return err
}

// sideBySide asks about each of a list, so many at once.
func sideBySide[T, A any](list []T, atOnce int, ask func(T) A) []A {
	answers := make([]A, len(list))
	var done sync.WaitGroup
	slots := make(chan struct{}, atOnce)
	for i, one := range list {
		slots <- struct{}{}
		done.Go(func() {
			defer func() { <-slots }()
			answers[i] = ask(one)
		})
	}
	done.Wait()
	return answers
}

// lookAtRecords tells which of our domains others can tell from forgeries.
func lookAtRecords(ctx context.Context, x *examination, domains []string) []finding {
	verifier := &sender.Verifier{Resolver: sender.NewResolver(x.conf.Resolver)}
	asked := domains[:min(len(domains), mostDomains)]
	found := sideBySide(asked, domainsAtOnce, func(domain string) spoof.Authentication {
		author := mail.Address{Path: "postmaster@" + domain, Local: "postmaster", Domain: domain}
		return verifier.Authenticate(ctx, sender.Question{
			// An address that nobody has (RFC 5737).
			Client: netip.AddrFrom4([4]byte{192, 0, 2, 1}), Sender: author,
			Domains: []string{domain},
		})
	})
	spf, dmarc := make(records), make(records)
	for i, domain := range asked {
		spf.add(domain, found[i].SPF.Result)
		dmarc.add(domain, found[i].DMARC[0].Lookup)
	}
	findings := append(
		spf.findings("SPF", `a TXT record, such as "v=spf1 include:spf.protection.outlook.com ip4:OUR-ADDRESS -all", that names each host which sends its mail`),
		dmarc.findings("DMARC", `a TXT record at _dmarc.DOMAIN, such as "v=DMARC1; p=none; rua=mailto:postmaster@DOMAIN"`)...)
	if more := len(domains) - len(asked); more > 0 {
		findings = append(findings, fine("%d more domains were not asked about", more))
	}
	return findings
}

// records are our domains by what was found of their records of a kind: AuthNone,
// AuthPermError, AuthTempError, or AuthPass for any that can be used.
type records map[spoof.AuthResult][]string

func (r records) add(domain string, result spoof.AuthResult) {
	switch result {
	case spoof.AuthNone, spoof.AuthPermError, spoof.AuthTempError:
	default:
		result = spoof.AuthPass
	}
	r[result] = append(r[result], domain)
}

// findings tell of records of a kind, which look like that.
func (r records) findings(kind, like string) (findings []finding) {
	if there := r[spoof.AuthPass]; len(there) > 0 {
		findings = append(findings, fine("domains of ours with a record for %s: %d", kind, len(there)))
	}
	if missing := r[spoof.AuthNone]; len(missing) > 0 {
		findings = append(findings, warning("no record for %s, so that others cannot tell our mail from forged mail: %s", kind, some(missing)).do("publish %s", like))
	}
	if broken := r[spoof.AuthPermError]; len(broken) > 0 {
		findings = append(findings, warning("a record for %s that cannot be used: %s", kind, some(broken)).do("correct it: it is %s", like))
	}
	if unknown := r[spoof.AuthTempError]; len(unknown) > 0 {
		findings = append(findings, warning("whether there is a record for %s cannot be told, since the DNS fails: %s", kind, some(unknown)).do("see that the domain's name servers answer"))
	}
	return findings
}

// lookAtLists sees whether the lists of platforms' networks are there and can
// be refreshed.
func lookAtLists(ctx context.Context, x *examination) []finding {
	resolver := sender.NewResolver(x.conf.Resolver)
	lists := daemon.SavedLists(x.conf).Status()
	if len(lists) == 0 {
		return []finding{fine("no platform's networks come from a list")}
	}
	return sideBySide(lists, len(lists), func(s networks.Status) finding { return lookAtList(ctx, x, resolver, s) })
}

// lookAtList tells of one list.
func lookAtList(ctx context.Context, x *examination, resolver *sender.Resolver, s networks.Status) finding {
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
	const askDaemon = "see that the daemon runs, and what its log says of networks: journalctl -u coexistd | grep networks"
	switch {
	case problem != nil && s.Count == 0:
		return failure("%s is not known, so that its mail is put off, or counts as S0: %v", of, problem).do("%s", remedy)
	case problem != nil && s.Old:
		return warning("%s cannot be refreshed: %v; its %d networks are used, last known to be right %s, which is more than max_age", of, problem, s.Count, ageText(s.Age)).do("%s", remedy)
	case problem != nil:
		return warning("%s cannot be refreshed: %v; its %d networks are used, last known to be right %s", of, problem, s.Count, ageText(s.Age)).do("%s", remedy)
	case isSPF && s.Count == 0:
		return warning("%s has %d networks, but none are saved, and a restart while the DNS fails would put off mail from unknown clients", of, len(now)).do(askDaemon)
	case isSPF && s.Age > lateRefresh:
		return warning("%s has %d networks now, but the daemon has not refreshed its %d since %s", of, len(now), s.Count, ageText(s.Age)).do(askDaemon)
	case len(s.Skipped) > 0:
		return warning("%s has %d networks, without what no list can hold: %s", of, s.Count, some(s.Skipped)).
			do("name what is missing as CIDRs: platform.%s.networks in %s", s.Platform, x.conf.Path)
	case isSPF:
		return fine("%s has %d networks, last asked for %s", of, s.Count, ageText(s.Age))
	}
	return fine("%s has %d networks", of, s.Count)
}

// lookAtUnproven tells of mail in our own name that the daemon has put off in the last 24
// hours, since it bears no proof of its tenant.
func lookAtUnproven(_ context.Context, x *examination) []finding {
	list, err := notice.ReadPutOff(daemon.UnprovenPath(x.conf), x.now)
	if err != nil {
		return []finding{warning("what was put off without proof of its tenant cannot be told: %v", err).
			do("run: chown %s %s; or remove it: the daemon begins anew", ownName(), daemon.UnprovenPath(x.conf))}
	}
	var findings []finding
	for _, one := range list {
		if one.Day == 0 {
			continue
		}
		remedy := fmt.Sprintf(`have a rule over there add a secret header, and add proof = { header = "X-Coexist-Proof", secret_file = "proof.key" } to platform.%s in %s`, one.Platform, x.conf.Path)
		if proofs := x.conf.Rules.Tenants[one.Platform]; proofs.Header != "" {
			remedy = fmt.Sprintf("see that the rule over there adds %s to all mail", proofs.Header)
		}
		findings = append(findings, warning("mail in our own name from %s without proof of its tenant was put off %d times in the last 24 hours, last %s", one.Platform, one.Day, ageText(x.now.Sub(one.Last.Time))).
			do("%s; contrib/docs/senders.md tells more", remedy))
	}
	if findings == nil {
		findings = append(findings, fine("no mail in our own name was put off in the last 24 hours without proof of its tenant"))
	}
	return findings
}
