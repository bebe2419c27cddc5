package config

import (
	"net/netip"
	"slices"
	"strings"

	"coexistd/policy"
	"coexistd/policy/config/mistakes"
	"coexistd/policy/config/schema"
	"coexistd/policy/config/wording"
	"coexistd/policy/networks"
)

// maxDemands bounds what each message's client is compared with, and maxDemanded the domains,
// clients and names of all [[tls]] together.
const (
	maxDemands  = 1000
	maxDemanded = 10_000
)

const likeTLSName = `the log names which demand is not met, so write one like "the bank"`

func (r *reader) tlsKeys() schema.Section {
	list := func(parse func(string) (string, error)) schema.Kind {
		return schema.List(parse, orAny)
	}
	return schema.Section{Path: "tls", Header: "[[tls]]", About: "what is demanded of the encryption of some connections", Keys: []schema.Key{
		{Name: "name", Kind: schema.Text(schema.AString, schema.As[string]), Missing: likeTLSName, Example: `"the bank"`, Meaning: "stands in the log where it is not met"},
		{Name: "domains", Kind: list(orBelow(domainName)), Usually: "any", Example: `["bank.example", ".bank.example"]`,
			Meaning: "domains of senders (MAIL FROM) on the way in, and of recipients on the way out. `\".bank.example\"` are the domains below it"},
		{Name: "platform", Kind: schema.Text(schema.AString, schema.As[string]), Usually: "none", Example: `"office365"`,
			Meaning: "a platform: what comes from its `networks`, and what goes to its alternate and target domains or its `relay`"},
		{Name: "clients", Kind: schema.List(networks.ParsePrefix, orAny), Usually: "any", Example: `["192.0.2.0/24"]`,
			Meaning: "networks and addresses of connecting clients, on the way in alone. With `domains` or `platform`, all of them must hold"},
		{Name: "in", Kind: schema.Choice("a demand on a client", policy.Encrypt, policy.Verify), Usually: "nothing", Example: `"verify"`,
			Meaning: "what the check `tls` demands of a client: `\"encrypt\"`, or `\"verify\"`: with a certificate that the MTA trusts"},
		{Name: "out", Kind: schema.Choice("a demand on a server", policy.Encrypt, policy.Verify, policy.Secure, policy.DANE, policy.DANEOnly), Usually: "nothing", Example: `"secure"`,
			Meaning: "what the lookup `tls` has Postfix demand of a server, by the names of `smtp_tls_security_level`"},
		{Name: "version", Kind: schema.Choice[schema.Word]("a version of TLS", "1.0", "1.1", "1.2", "1.3"), Usual: "1.2", Meaning: "the least version of TLS"},
		{Name: "names", Kind: list(orBelow(commonName)), Usually: "any on the way in; the server's own on the way out", Example: `["mail.bank.example"]`,
			Meaning: "names that the certificate may have, where it is verified. `\".bank.example\"` are the names below it. Of a client, the MTA tells the common name alone"},
	}}
}

// orBelow reads what parse reads, with a dot before it or not.
func orBelow(parse func(string) (string, error)) func(string) (string, error) {
	return func(text string) (string, error) {
		name, below := strings.CutPrefix(text, ".")
		normal, err := parse(name)
		if err == nil && below {
			normal = "." + normal
		}
		return normal, err
	}
}

// tls reads [[tls]]. The platforms and upstreams are known.
func (r *reader) tls(t *schema.Table) {
	first := make(map[string]mistakes.Place)
	all := t.Array("tls")
	if !t.AtMost("tls", maxDemands, len(all), "demands") {
		return
	}
	entries := 0
	for _, one := range all {
		demand := r.demand(one.ReadSection(), first)
		entries += len(demand.Domains) + demand.Clients.Len() + len(demand.Names)
		r.config.Rules.TLS = append(r.config.Rules.TLS, demand)
	}
	t.AtMost("tls", maxDemanded, entries, "domains, clients and names")
	if r.demandsOfClients() && slices.ContainsFunc(r.upstreams, func(name string) bool { return !slices.Contains(r.byMTA, name) }) {
		r.note("of mail that comes through an upstream, nothing tells how its client was connected: where in of a [[tls]] holds for it, on_error of [check.tls] says what is done")
	}
}

func (r *reader) demand(t *schema.Table, first map[string]mistakes.Place) policy.TLS {
	demand := policy.TLS{
		Name:    uniqueName(t, first, likeTLSName),
		Domains: schema.Value[[]string](t, "domains"),
		Clients: networks.SetOf(schema.Value[[]netip.Prefix](t, "clients")...),
		In:      schema.Value[policy.Encryption](t, "in"),
		Out:     schema.Value[policy.Encryption](t, "out"),
		Names:   schema.Value[[]string](t, "names"),
	}
	demand.Platform = schema.Value[string](t, "platform")
	demand.Version = policy.TLSVersion("TLSv" + string(schema.Value[schema.Word](t, "version")))
	if demand.Platform != "" && !r.isPlatform(demand.Platform) {
		t.Fail("platform", "%s is no platform of this file; %s", wording.Quote(demand.Platform), r.suggestPlatform(demand.Platform))
	}
	verifies := demand.In == policy.Verify || demand.Out == policy.Verify || demand.Out == policy.Secure
	switch {
	case !t.Has("in") && !t.Has("out"):
		r.Fail(t.Place, `demands nothing; add in = "encrypt" or "verify", or out = "encrypt", "verify", "secure", "dane" or "dane-only"`)
	case demand.In != "" && !t.Has("domains") && !t.Has("platform") && !t.Has("clients"):
		r.Fail(t.Place, "is for all mail; say for whose: add domains, platform or clients")
	case demand.Out != "" && !t.Has("domains") && !t.Has("platform"):
		t.Fail("out", "has no effect: clients are on the way in; add domains or platform")
	case demand.In == "" && t.Has("clients"):
		t.Fail("clients", "have no effect: out is about servers; add in, or leave clients out")
	case t.Has("names") && !verifies:
		t.Fail("names", `have no effect: no certificate is verified; write "verify", or leave names out`)
	}
	refuseOtherNames(t, demand)
	return demand
}

// refuseOtherNames refuses names that no server's certificate is compared with: in Postfix's table they
// would be words of their own, and no mail would leave.
func refuseOtherNames(t *schema.Table, demand policy.TLS) {
	if demand.Out != policy.Verify && demand.Out != policy.Secure {
		return
	}
	for _, name := range demand.Names {
		if _, err := orBelow(domainName)(name); err != nil {
			t.Fail("names", "%s is no name of a server, as out demands one; write it like \"mail.example.com\", and give in a [[tls]] of its own", wording.Quote(name))
		}
	}
}

// demandsOfClients reports that some [[tls]] demands something on the way in.
func (r *reader) demandsOfClients() bool {
	some, _ := r.config.Rules.DemandsTLS()
	return some
}
