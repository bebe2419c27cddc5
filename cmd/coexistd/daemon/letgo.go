package daemon

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"time"

	"coexistd/cmd/coexistd/control"
	"coexistd/milter/audit"
	"coexistd/policy/rate"
	"coexistd/scanners/limits"
)

const (
	// mostTold bounds how many limits and clients are told of.
	mostTold = 1000
	// redisTime bounds what is asked of Redis for it.
	redisTime = 30 * time.Second
)

// limitsNow tells how much of the limits is used, by the rules of this moment.
func (d *Daemon) limitsNow(ctx context.Context, _ struct{}) (control.Limits, error) {
	ctx, cancel := context.WithTimeout(ctx, redisTime)
	defer cancel()
	var listing limits.Listing
	var failed error
	set := d.runtime.Load().Directory
	d.with(func(g *generation) {
		listing, failed = g.limits.List(ctx, limits.Query{
			Rules: g.conf.Rules.Rates, Books: rate.Books{Row: set.Row, Limit: set.Limit}, Most: mostTold,
		})
	})
	answer := control.Limits{Buckets: []control.Bucket{}, Partial: listing.Cut || listing.Partly, Damaged: listing.Damaged}
	if failed != nil {
		answer.Error = failed.Error()
	}
	now := time.Now()
	for _, b := range listing.Buckets {
		answer.Buckets = append(answer.Buckets, control.Bucket{
			Rule: b.Rule.Name, By: b.Rule.By.Counted(), Key: b.Key, Used: b.Used, Burst: b.Burst, Unit: b.Rule.Count.String(),
			Over: b.Over, Unsure: b.Unsure, InMemory: b.InMemory, Empty: now.Add(b.EmptyIn),
		})
	}
	return answer, nil
}

// resetLimit forgets what is counted for a key of a rule, or for all of its keys.
func (d *Daemon) resetLimit(ctx context.Context, what control.Reset) (done control.Done, err error) {
	ctx, cancel := context.WithTimeout(ctx, redisTime)
	defer cancel()
	d.with(func(g *generation) {
		rules := g.conf.Rules.Rates
		at := slices.IndexFunc(rules, func(r rate.Rule) bool { return r.Name == what.Rule })
		if at < 0 {
			err = refusal{http.StatusBadRequest, noRule(what.Rule, rules)}
			return
		}
		key := what.Key
		if key != limits.AllKeys {
			key = rules[at].Key(key)
		}
		done.Found, err = g.limits.Reset(ctx, what.Rule, key)
	})
	d.audit(askerOf(ctx), audit.Reset, what.Rule, what.Key, done.Found, err)
	if err == nil && done.Found {
		d.log.Info("a limit was reset", "rule", what.Rule, "key", what.Key)
	}
	return done, err
}

// noRule says which rules there are.
func noRule(name string, rules []rate.Rule) string {
	if len(rules) == 0 {
		return "no [[rate]] is configured: nothing is limited"
	}
	var names []string
	for _, r := range rules {
		names = append(names, r.Name)
	}
	return fmt.Sprintf("no [[rate]] has the name %q; it would be one of %s", name, strings.Join(names, ", "))
}

// clientsNow tells who is turned away by the check ddos.
func (d *Daemon) clientsNow(context.Context, struct{}) (control.Clients, error) {
	turned, more := d.flood.Turned(time.Now(), &d.runtime.Load().Policy.DDoS, mostTold)
	answer := control.Clients{Clients: []control.Turned{}, Partial: more}
	for _, one := range turned {
		network := "everybody"
		if one.Who.IsValid() {
			network = prefixText(one.Who)
		}
		answer.Clients = append(answer.Clients, control.Turned{Network: network, Bound: one.Bound, Why: one.Why, Until: one.Until})
	}
	return answer, nil
}

// unblock lets a client or a network in again.
func (d *Daemon) unblock(ctx context.Context, what control.Unblock) (done control.Done, err error) {
	who, err := parsePrefix(what.Network)
	if err != nil {
		return done, refusal{http.StatusBadRequest, err.Error()}
	}
	if done.Found = d.flood.Unblock(time.Now(), who); done.Found {
		d.log.Info("a client was let in again", "client", prefixText(who))
	}
	d.audit(askerOf(ctx), audit.Unblock, prefixText(who), "", done.Found, nil)
	return done, nil
}

// parsePrefix reads an address or a network.
func parsePrefix(text string) (netip.Prefix, error) {
	if addr, err := netip.ParseAddr(text); err == nil {
		addr = addr.Unmap().WithZone("")
		return netip.PrefixFrom(addr, addr.BitLen()), nil
	}
	prefix, err := netip.ParsePrefix(text)
	if err != nil {
		return prefix, errors.New("that is no client; write an address like 192.0.2.7, or a network like 192.0.2.0/24")
	}
	return prefix.Masked(), nil
}

// prefixText writes a network, and one of a single address as the address.
func prefixText(p netip.Prefix) string {
	if p.IsSingleIP() {
		return p.Addr().String()
	}
	return p.String()
}

// with has do use the generation of this moment, which stays for so long.
func (d *Daemon) with(do func(*generation)) {
	for {
		g := d.view.Load().generation
		if g.users.Enter() {
			defer g.users.Leave()
		} else if !d.stopped.Load() {
			continue // a reload has replaced it since
		}
		do(g)
		return
	}
}
