package config

import (
	"maps"
	"net/netip"
	"slices"

	"coexistd/policy"
	"coexistd/policy/config/schema"
	"coexistd/policy/config/wording"
	"coexistd/policy/networks"
)

// maxUpstreams bounds what each message's client is compared with.
const maxUpstreams = 16

func upstreamKeys() schema.Section {
	return schema.Section{Path: "upstream.*", Header: "[upstream.mimecast]", About: "a gateway in front of us, by a name of yours: a filter or a load balancer through which mail from the Internet comes", Keys: []schema.Key{
		{Name: "networks", Kind: schema.Texts(schema.Rules{Empty: "is empty; write the gateway's addresses, or leave the upstream out"}), Missing: `write the gateway's addresses, like "192.0.2.0/24"`, Example: `["192.0.2.0/24", "spf:us._netblocks.mimecast.com"]`,
			Meaning: "from where the gateway hands mail on to our MTA, as a platform's `networks`. A client there is the upstream's, whatever `our_networks` or a platform's networks around it say; no other networks may lie within"},
		{Name: "client", Kind: schema.Choice[schema.Word]("known", "received", "mta"), Usual: "received",
			Meaning: "how we learn from whom the gateway has a message: `\"received\"`, by the Received field that it adds; or `\"mta\"`: it tells our MTA, by Postfix's XCLIENT or the PROXY protocol, and the client that the MTA tells us is the right one. See [a gateway in front of us](senders.md#a-gateway-in-front-of-us)"},
		{Name: "inner", Kind: schema.List(networks.ParsePrefix, schema.Rules{Empty: "is empty; name at least one, or leave it out for none", Twice: schema.Dropped}), Usually: "none", Example: `["127.0.0.1", "10.20.0.0/16"]`,
			Meaning: "networks and addresses of the gateway's own hosts, as its Received fields name them where it hands a message on from one to the next, besides `networks`. Proofpoint, for one, writes 127.0.0.1. List no other's: who is at one of these can have written the field below"},
		{Name: "max_age", Kind: schema.Duration(day, 365*day), Usual: "30d", Meaning: "as for a platform"},
	}}
}

// readUpstreams reads [upstream.NAME].
func (r *reader) readUpstreams(t *schema.Table) {
	if all, ok := t.Entries["upstream"].(map[string]any); ok {
		r.upstreams = slices.Sorted(maps.Keys(all))
	}
	if !t.AtMost("upstream", maxUpstreams, len(r.upstreams), "upstreams") {
		return
	}
	for _, one := range t.Tables("upstream") {
		switch {
		case r.isPlatform(one.Name):
			r.Fail(one.Place, "%s is a platform of this file, too; give the gateway another name", wording.Quote(one.Name))
		case slices.Contains(reserved, one.Name) || !platformName.MatchString(one.Name):
			r.Fail(one.Place, "%s is not an upstream's name; it would be lower-case letters, digits and '-', a letter first, like mimecast", wording.Quote(one.Name))
		default:
			r.upstream(one.ReadSection())
		}
	}
}

// upstream reads one of them.
func (r *reader) upstream(t *schema.Table) {
	u := policy.Upstream{
		ByMTA: schema.Value[schema.Word](t, "client") == "mta",
		Inner: networks.SetOf(schema.Value[[]netip.Prefix](t, "inner")...),
	}
	if u.ByMTA {
		r.byMTA = append(r.byMTA, t.Name)
	}
	known := networks.SetOf(r.readNetworks(t, "networks")...)
	r.config.Networks[t.Name] = networks.Known{Networks: known, Pending: r.sourcesOf(t), Upstream: true}
	r.config.Rules.Upstreams[t.Name] = u
	switch host := slices.IndexFunc(thisHost, known.Has); {
	case u.ByMTA && t.Has("inner"):
		t.Fail("inner", `has no meaning with client = "mta", which reads no Received field; leave it out`)
	case !u.ByMTA && host >= 0:
		t.Fail("networks", `has %s, this host itself, from where coexistd's own mail and what is released come as well; have the gateway connect from another address, like 127.0.0.2, or, where it speaks XCLIENT or the PROXY protocol to the MTA, write client = "mta"`, thisHost[host])
	}
}

// thisHost are the addresses from which the host's own programs connect to its MTA.
var thisHost = []netip.Addr{netip.AddrFrom4([4]byte{127, 0, 0, 1}), netip.IPv6Loopback()}

// isUpstream reports that the file has an upstream of that name, be it right or wrong.
func (r *reader) isUpstream(name string) bool { return slices.Contains(r.upstreams, name) }
