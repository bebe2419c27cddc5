package config

import (
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"

	"coexistd/policy"
	"coexistd/policy/config/schema"
	"coexistd/policy/config/wording"
	"coexistd/policy/networks"
	"coexistd/policy/spoof"
	"coexistd/policy/tenant"
	"coexistd/policy/verdict"
)

// Bounds of [check.spoof]: the addresses of all logins together, and the services.
const (
	maxDelegates = 10_000
	maxServices  = 1000
)

func ddosKeys() schema.Section {
	bound := schema.Number(0, 1_000_000)
	return schema.Section{Path: "check.ddos", Header: "[check.ddos]", About: "what a client may ask of the system; 0 is no bound", Keys: []schema.Key{
		{Name: "connections", Kind: bound, Usual: 50, Meaning: "of one client at once"},
		{Name: "connections_network", Kind: bound, Usually: "200, or `connections` if that is more", Example: "200", Meaning: "of one network at once"},
		{Name: "total", Kind: schema.Number(0, 100_000), Usually: "900, but at most 90 % of `max_connections`", Example: "900",
			Meaning: "of all clients that are not exempt; at most `max_connections`"},
		{Name: "per_minute", Kind: bound, Usual: 120, Meaning: "new connections of one client in a minute"},
		{Name: "per_minute_network", Kind: bound, Usually: "600, or `per_minute` if that is more", Example: "600", Meaning: "new connections of one network in a minute"},
		{Name: "messages", Kind: bound, Usual: 100, Meaning: "messages in one connection"},
		{Name: "refused", Kind: bound, Usual: 20, Meaning: "refused recipients in one connection"},
		{Name: "unknown", Kind: bound, Usual: 50, Meaning: "unknown recipients that a client asks for in ten minutes, in any number of connections"},
		{Name: "exempt", Kind: schema.List(networks.ParsePrefix, schema.Rules{Twice: schema.Dropped}), Example: `["192.0.2.0/24"]`,
			Meaning: "networks for which none of this holds, beside `our_networks`, for which it never does"},
	}}
}

func spoofKeys() schema.Section {
	spoofed := schema.Choice("a verdict of spoof", verdict.Accept, verdict.Tag, verdict.Quarantine, verdict.Reject)
	return schema.Section{Path: "check.spoof", Header: "[check.spoof]", About: "who may write in whose name", Keys: []schema.Key{
		{Name: "dmarc", Kind: spoofed, Usual: "reject",
			Meaning: "the strictest that is done with what fails the DMARC policy of its author's domain: `\"reject\"` is as published; `\"quarantine\"`, `\"tag\"` and `\"accept\"` are milder"},
		{Name: "spf", Kind: spoofed, Usual: "tag", Meaning: "what is done with what SPF calls a fail, where the domain has no DMARC policy: one of the same"},
		{Name: "services", Kind: schema.Texts(schema.Rules{Most: maxServices, What: "services"}), Example: `["mailer.example", "192.0.2.0/24"]`,
			Meaning: "who may send in our domains' names from outside: clients, as `\"192.0.2.0/24\"`, and domains that SPF or DKIM proves, as `\"mailer.example\"`, with those below them. A public suffix such as `github.io`, one below which each tenant of a platform has a domain, such as `onmicrosoft.com`, and a name without a dot, are refused. Networks that are a platform's count for nothing where that has a proof"},
		{Name: "delegates", Kind: schema.Inline(`{ bob = ["sales@example.com"] }`), Example: `{ bob = ["sales@example.com"] }`,
			Meaning: "what a login may send as beside the addresses that the directory gives it: `{ bob = [\"sales@acmecorp.com\", \"@news.acmecorp.com\"] }`. The case of a login does not matter"},
	}}
}

// ddos reads the bounds of [check.ddos]. The usual total leaves a tenth of
// max_connections to clients that are exempt. Our networks always are: reports and
// releases, each on a connection of its own, come from there.
func (r *reader) ddos(t *schema.Table) policy.DDoS {
	most, ours := r.config.MaxConnections, r.config.Rules.OurNetworks
	d := policy.DDoS{
		Connections: schema.Value[int](t, "connections"),
		Total:       max(1, min(900, most*9/10)),
		PerMinute:   schema.Value[int](t, "per_minute"),
		Messages:    schema.Value[int](t, "messages"),
		Refused:     schema.Value[int](t, "refused"),
		Unknown:     schema.Value[int](t, "unknown"),
		Exempt:      ours.With(schema.Value[[]netip.Prefix](t, "exempt")...),
	}
	d.NetworkConnections, d.NetworkPerMinute = max(200, d.Connections), max(600, d.PerMinute)
	for key, bound := range map[string]*int{"total": &d.Total, "connections_network": &d.NetworkConnections, "per_minute_network": &d.NetworkPerMinute} {
		if said, ok := schema.Said[int](t, key); ok {
			*bound = said
		}
	}
	if d.Total > most {
		t.Fail("total", "%d is out of range; it must be a whole number from 0 to %d", d.Total, most)
	}
	for _, pair := range []struct {
		key             string
		client, network int
	}{{"connections", d.Connections, d.NetworkConnections}, {"per_minute", d.PerMinute, d.NetworkPerMinute}} {
		if 0 < pair.network && pair.network < pair.client {
			t.Fail(pair.key+"_network", "%d is less than %s, which is %d for one client of the network; raise it, or lower %s", pair.network, pair.key, pair.client, pair.key)
		}
	}
	return d
}

// spoof reads what [check.spoof] has beside the actions.
func (r *reader) spoof(t *schema.Table) spoof.Rules {
	return spoof.Rules{
		DMARC: schema.Value[verdict.Verdict](t, "dmarc"), SPF: schema.Value[verdict.Verdict](t, "spf"),
		Services: r.services(t), Delegates: r.delegates(t),
	}
}

// services reads those who may send in our names: networks and domains.
func (r *reader) services(t *schema.Table) spoof.Services {
	var ranges, domains []schema.Item
	for _, one := range schema.Value[[]schema.Item](t, "services") {
		if looksLikeNetwork(one.Value) {
			ranges = append(ranges, one)
		} else {
			domains = append(domains, one)
		}
	}
	clients := schema.Each(&r.Reader, ranges, networks.ParsePrefix, schema.Kept)
	for _, client := range clients {
		if platform := r.ofAllTenants(client); platform != "" {
			r.note("services has %s, from which every tenant of platform %s sends: there it counts for nothing; name a domain that signs the service's mail", client, platform)
		}
	}
	return spoof.Services{Networks: networks.SetOf(clients...), Domains: schema.Each(&r.Reader, domains, serviceDomain, schema.Dropped)}
}

// ofAllTenants returns the platform that proves its tenant and has a network in common with
// another, as far as the file itself says its networks; else "".
func (r *reader) ofAllTenants(network netip.Prefix) string {
	for _, platform := range r.provable {
		if _, overlaps := r.config.Networks[platform].Networks.Overlapping(network); overlaps {
			return platform
		}
	}
	return ""
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
func (r *reader) delegates(t *schema.Table) map[string][]string {
	if _, said := schema.Said[map[string]any](t, "delegates"); !said {
		return nil
	}
	logins := t.Section("delegates")
	all := make(map[string][]string)
	entries := 0
	for _, written := range slices.Sorted(maps.Keys(logins.Entries)) {
		if refuseCut(logins, written) {
			continue
		}
		login := strings.ToLower(written)
		_, taken := all[login]
		switch {
		case login == "":
			logins.Fail(written, "is nobody's login; write one, like bob")
			continue
		case taken:
			logins.Fail(written, "%s is there in another case, which is the same login; keep one of them", wording.Quote(login))
			continue
		case logins.HasEmpty(written):
			logins.Fail(written, "lists nothing that the login may send as; name at least one address, or take the login out")
			continue
		}
		all[login], _ = schema.ReadEntry[[]string](logins, written, r.addresses())
		entries += len(all[login])
	}
	t.AtMost("delegates", maxDelegates, entries, "addresses")
	return all
}

// refuseCut refuses a key whose value is a table where none can be: a dot without
// quotes cut it in two.
func refuseCut(t *schema.Table, name string) bool {
	entries, cut := t.Entries[name].(map[string]any)
	if !cut {
		return false
	}
	whole := name
	for len(entries) > 0 {
		part := slices.Sorted(maps.Keys(entries))[0]
		whole += "." + part
		entries, _ = entries[part].(map[string]any)
	}
	t.Fail(name, "is a table, since a dot in a key cuts it in two; write the whole key in quotes: %q", whole)
	return true
}

// ourCertificates reads the common names of our clients' certificates. The
// platforms are known.
func (r *reader) ourCertificates(t *schema.Table) []string {
	var all []string
	for _, one := range schema.Value[[]schema.Item](t, "our_certificates") {
		name, err := commonName(one.Value)
		if err != nil {
			r.Fail(one.Place, "%v", err)
			continue
		}
		if name == tenant.SharedCertificate {
			r.Fail(one.Place, "Office 365 shows the certificate of %s for every tenant, so all of its customers would be our users; take it out, and name hosts of ours only", wording.Quote(one.Value))
			continue
		}
		for _, platform := range r.config.Rules.Routes.Platforms {
			if r.config.Rules.Tenants[platform.Name].Certificate == name {
				r.Fail(one.Place, "%s proves platform %s; a client cannot be both, so take it out of one of them", wording.Quote(one.Value), platform.Name)
			}
		}
		if !slices.Contains(all, name) {
			all = append(all, name)
		}
	}
	return all
}
