package config

import (
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"

	"coexistd/policy"
	"coexistd/policy/config/wording"
	"coexistd/policy/networks"
	"coexistd/policy/spoof"
	"coexistd/policy/tenant"
	"coexistd/policy/verdict"
)

// maxDelegates bounds the addresses of all logins together.
const maxDelegates = 10_000

// ddos reads the bounds of [check.ddos]. The usual total leaves a tenth of
// max_connections to clients that are exempt. Our networks always are: reports and
// releases, each on a connection of its own, come from there.
func (r *reader) ddos(t *table) policy.DDoS {
	most, ours := r.config.MaxConnections, r.config.Rules.OurNetworks
	d := policy.DDoS{
		Connections: value[int](t, "connections"),
		Total:       max(1, min(900, most*9/10)),
		PerMinute:   value[int](t, "per_minute"),
		Messages:    value[int](t, "messages"),
		Refused:     value[int](t, "refused"),
		Unknown:     value[int](t, "unknown"),
		Exempt:      ours.With(value[[]netip.Prefix](t, "exempt")...),
	}
	d.NetworkConnections, d.NetworkPerMinute = max(200, d.Connections), max(600, d.PerMinute)
	for key, bound := range map[string]*int{"total": &d.Total, "connections_network": &d.NetworkConnections, "per_minute_network": &d.NetworkPerMinute} {
		if said, ok := said[int](t, key); ok {
			*bound = said
		}
	}
	if d.Total > most {
		t.fail("total", "%d is out of range; it must be a whole number from 0 to %d", d.Total, most)
	}
	for _, pair := range []struct {
		key             string
		client, network int
	}{{"connections", d.Connections, d.NetworkConnections}, {"per_minute", d.PerMinute, d.NetworkPerMinute}} {
		if 0 < pair.network && pair.network < pair.client {
			t.fail(pair.key+"_network", "%d is less than %s, which is %d for one client of the network; raise it, or lower %s", pair.network, pair.key, pair.client, pair.key)
		}
	}
	return d
}

// spoof reads what [check.spoof] has beside the actions.
func (r *reader) spoof(t *table) spoof.Rules {
	return spoof.Rules{
		DMARC: value[verdict.Verdict](t, "dmarc"), SPF: value[verdict.Verdict](t, "spf"),
		Services: t.services(), Delegates: t.delegates(),
	}
}

// services reads those who may send in our names: networks and domains.
func (t *table) services() spoof.Services {
	var ranges, domains []item
	for _, one := range value[[]item](t, "services") {
		if looksLikeNetwork(one.value) {
			ranges = append(ranges, one)
		} else {
			domains = append(domains, one)
		}
	}
	return spoof.Services{Networks: networks.SetOf(each(t.r, ranges, prefixes, kept)...), Domains: each(t.r, domains, alone(serviceDomain), dropped)}
}

// serviceDomain reads a domain that can belong to one service.
func serviceDomain(text string) (string, error) {
	name, err := domainName(text)
	if err != nil {
		return "", fmt.Errorf(`%s is neither a domain nor a network; write it like "mailer.example" or "192.0.2.0/24"`, wording.Quote(text))
	}
	if err := spoof.CheckService(name); err != nil {
		return "", fmt.Errorf("%s %w", wording.Quote(text), err)
	}
	return name, nil
}

// looksLikeNetwork reports a text that is meant as an address or a CIDR, and so
// neither as a domain nor as a login.
func looksLikeNetwork(text string) bool {
	head, _, cut := strings.Cut(text, "/")
	_, err := netip.ParseAddr(head)
	return err == nil || cut && head != "" && strings.Trim(head, "0123456789.") == ""
}

// delegates reads what logins may send as beside their own addresses.
func (t *table) delegates() map[string][]string {
	if _, said := said[map[string]any](t, "delegates"); !said {
		return nil
	}
	logins := t.section("delegates")
	all := make(map[string][]string)
	entries := 0
	for _, written := range slices.Sorted(maps.Keys(logins.entries)) {
		if logins.refuseCut(written) {
			continue
		}
		login := strings.ToLower(written)
		_, taken := all[login]
		switch {
		case login == "":
			logins.fail(written, "is nobody's login; write one, like bob")
			continue
		case taken:
			logins.fail(written, "%s is there in another case, which is the same login; keep one of them", wording.Quote(login))
			continue
		case logins.hasEmpty(written):
			logins.fail(written, "lists nothing that the login may send as; name at least one address, or take the login out")
			continue
		}
		all[login], _ = addresses.read(logins, written, logins.entries[written]).([]string)
		entries += len(all[login])
	}
	t.atMost("delegates", maxDelegates, entries, "addresses")
	return all
}

// refuseCut refuses a key whose value is a table where none can be: a dot without
// quotes cut it in two.
func (t *table) refuseCut(name string) bool {
	entries, cut := t.entries[name].(map[string]any)
	if !cut {
		return false
	}
	whole := name
	for len(entries) > 0 {
		part := slices.Sorted(maps.Keys(entries))[0]
		whole += "." + part
		entries, _ = entries[part].(map[string]any)
	}
	t.fail(name, "is a table, since a dot in a key cuts it in two; write the whole key in quotes: %q", whole)
	return true
}

// ourCertificates reads the common names of our clients' certificates. The
// platforms are known.
func (r *reader) ourCertificates(t *table) []string {
	var all []string
	for _, one := range value[[]item](t, "our_certificates") {
		name, err := commonName(one.value)
		if err != nil {
			r.fail(one.place, "%v", err)
			continue
		}
		if name == tenant.SharedCertificate {
			r.fail(one.place, "Office 365 shows the certificate of %s for every tenant, so all of its customers would be our users; take it out, and name hosts of ours only", wording.Quote(one.value))
			continue
		}
		for _, platform := range r.config.Rules.Routes.Platforms {
			if r.config.Rules.Tenants[platform.Name].Certificate == name {
				r.fail(one.place, "%s proves platform %s; a client cannot be both, so take it out of one of them", wording.Quote(one.value), platform.Name)
			}
		}
		if !slices.Contains(all, name) {
			all = append(all, name)
		}
	}
	return all
}
