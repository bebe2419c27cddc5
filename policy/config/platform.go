package config

import (
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
	"time"

	"coexistd/policy/config/schema"
	"coexistd/policy/config/sockets"
	"coexistd/policy/config/wording"
	"coexistd/policy/networks"
	"coexistd/policy/route"
	"coexistd/policy/tenant"
)

// reserved are the words that stand beside platforms' names in some place, and the
// letters of our own points in flows.
var reserved = []string{"here", "both", "moving", "reject", "s", "l", "e"}

// Source is a list of networks that stands outside the configuration file. Those of
// kind "file" are read with the configuration; those of kind "spf" are not.
type Source struct {
	Platform string // its name, or that of an upstream
	// Kind is "spf", and Name the normal form of a domain whose SPF record lists
	// the networks, or "file", and Name a file's absolute path.
	Kind, Name string
}

func platformKeys() schema.Section {
	return schema.Section{Path: "platform.*", Header: "[platform.office365]", About: "another platform, by a name of yours", Keys: []schema.Key{
		{Name: "networks", Kind: schema.Texts(schema.Rules{}), Example: `["spf:spf.protection.outlook.com"]`,
			Meaning: "where the platform sends from: CIDR networks, addresses, `\"spf:DOMAIN\"`, the networks that the domain's SPF record names, and `\"file:PATH\"`, a file with one network a line or Microsoft's endpoints list (JSON), of which the entries with TCP port 25 count. A list may be as wide as an IPv4 /8 and an IPv6 /24 in all, and have 10,000 networks. Without networks nothing from the platform is S1; a note says so"},
		{Name: "max_age", Kind: schema.Duration(day, 365*day), Usual: "30d",
			Meaning: "how old a list by `spf:` or `file:` may grow that cannot be refreshed before a warning is logged; it is used on. SPF records are asked for every hour and after a reload; a changed file is read by itself"},
		{Name: "tenant", Kind: schema.Text(schema.AString, parseTenant), Example: `"3f2504e0-4f89-11d3-9a0c-0305e82c3301"`,
			Meaning: "Office 365: our tenant's GUID, which it puts into `X-MS-Exchange-CrossTenant-Id`, but not into every message: have a `proof` by `header`, too ([why](senders.md#mail-without-any-proof))"},
		{Name: "proof", Kind: schema.Anything("tables", "a table, or a list of them"), Example: likeProof,
			Meaning: "further ways in which a message proves that our tenant sent it; see below. With neither `tenant` nor `proof`, nothing from the platform is S1; a note says so"},
		{Name: "may_relay", Kind: schema.Boolean(), Usual: false,
			Meaning: "the platform's users may send to the Internet through us, once the tenant is proven; needs `tenant` or `proof`, and a line in [Postfix](../postfix/README.md#a-platforms-users-who-send-through-us) or [Sendmail](../sendmail/README.md#networks-without-authentication)"},
		{Name: "relay", Kind: schema.Text(schema.AString, sockets.NextHop), Usually: "by MX", Example: `"[mail.example.com]:25"`,
			Meaning: "the host that takes the platform's mail, as in Postfix's transport tables: `\"[host]:25\"`. Served by the lookups `transport` and `sendmail`"},
		{Name: "deliver", Kind: schema.Choice[schema.Word]("known", "rewrite", "relay"), Usual: "rewrite",
			Meaning: "`\"relay\"`: the address of a mailbox there stays as it is, and the lookups have `relay` take its mail, which must be set; see [which is better](#rewrite-or-relay). A mailbox at `both` is rewritten all the same"},
		{Name: "target_domains", Kind: schema.Texts(schema.Rules{}), Example: `["acmecorp.mail.onmicrosoft.com"]`,
			Meaning: "the domains besides the `alternate` that the column `target` of a directory may name there."},
		{Name: "target_tag", Kind: schema.Boolean(), Usual: true,
			Meaning: "`false` leaves the tag of a subaddress out of a `target`: mail for `alice+news@acmecorp.com` goes to the target as it stands"},
	}}
}

// readPlatforms reads [platform.NAME]. It reports whether the rest can be read.
func (r *reader) readPlatforms(t *schema.Table) bool {
	if all, ok := t.Entries["platform"].(map[string]any); ok {
		r.platforms = slices.Sorted(maps.Keys(all))
	}
	// Each message's client is compared with all of them.
	if !t.AtMost("platform", 64, len(r.platforms), "platforms") {
		return false
	}
	p := r.config.Rules
	var names []string
	for _, one := range t.Tables("platform") {
		if platform := r.platform(one); platform != nil {
			p.Routes.Platforms = append(p.Routes.Platforms, platform)
			names = append(names, platform.Name)
		}
	}
	letters := route.Letters(names)
	for _, platform := range p.Routes.Platforms {
		platform.Letter = letters[platform.Name]
	}
	return true
}

// isPlatform reports that the file has a platform of that name, be it right or
// wrong.
func (r *reader) isPlatform(name string) bool { return slices.Contains(r.platforms, name) }

// platform reads one platform. It is nil when the name is wrong.
func (r *reader) platform(t *schema.Table) *route.Platform {
	t.ReadSection()
	p := &route.Platform{
		Name: t.Name, MayRelay: schema.Value[bool](t, "may_relay"), Relay: schema.Value[string](t, "relay"),
		ByRelay: schema.Value[schema.Word](t, "deliver") == "relay", TargetDomains: r.targetDomains(t), DropsTag: !schema.Value[bool](t, "target_tag"),
	}
	if p.ByRelay {
		r.relays = append(r.relays, t.At("deliver"))
		if !t.Has("relay") {
			t.Fail("deliver", `needs the host that takes the mail; add relay = "[mail.example.com]:25"`)
		}
	}
	if host, port, _ := sockets.SplitNextHop(p.Relay); strings.EqualFold(host, r.config.Rules.Hostname) && port == "25" {
		r.note("the relay of platform %s is this host, %s: its mail would come back; write the host that takes mail for %s", t.Name, host, t.Name)
	}
	proofs := r.proofs(t)
	r.config.Rules.Tenants[t.Name] = proofs
	r.config.Networks[t.Name] = networks.Known{Networks: networks.SetOf(r.readNetworks(t, "networks")...), Pending: r.sourcesOf(t)}
	proves := t.Has("tenant") || t.Has("proof")
	switch {
	case !proves && p.MayRelay:
		t.Fail("may_relay", "needs a tenant or a proof: only users whose tenant is proven may relay; add tenant or proof, or leave may_relay out")
	case !proves:
		r.note("platform %s has neither tenant nor proof: nothing that comes from it is ever S1, all of it is judged as S0", t.Name)
	case !t.Has("networks"):
		r.note("platform %s has no networks: nothing that comes from it is ever S1, all of it is judged as S0", t.Name)
	}
	if proves && t.Has("networks") {
		r.provable = append(r.provable, t.Name)
	}
	if proofs.Tenant != "" && len(proofs.Domains) == 0 && proofs.Header == "" && proofs.Certificate == "" {
		r.note(`platform %s is proven by tenant alone, a header that Exchange Online leaves out at times: such mail of our own users is put off; add proof = { header = "X-Coexist-Proof", secret_file = "proof.key" } and the rule over there that sets it`, t.Name)
	}
	if proofs.Certificate == tenant.SharedCertificate {
		r.note("platform %s is proven by the certificate of %s, which Office 365 shows for every tenant: it proves the platform, and any tenant of it", t.Name, tenant.SharedCertificate)
	}
	switch {
	case slices.Contains(reserved, t.Name):
		r.Fail(t.Place, "%s is a word with a meaning of its own; a platform is named like office365 or google", wording.Quote(t.Name))
	case !platformName.MatchString(t.Name):
		r.Fail(t.Place, "%s is not a platform's name; it would be lower-case letters, digits and '-', a letter first, like office365", wording.Quote(t.Name))
	default:
		return p
	}
	return nil
}

// source puts a list on record that networks of a platform or an upstream name. Two of them
// share one only where they may share networks.
func (r *reader) source(platform, kind, name string, at schema.Item) {
	for _, other := range r.config.Sources {
		if other.Kind != kind || other.Name != name {
			continue
		}
		if other.Platform == platform {
			r.Fail(at.Place, "%s is there twice; keep one of them", wording.Quote(at.Value))
			return
		}
		if r.isUpstream(other.Platform) || r.isUpstream(platform) {
			r.Fail(at.Place, "%s is a list of %s, too; a client cannot be both, so take it out of one of them", wording.Quote(at.Value), other.Platform)
			return
		}
		if err := r.config.Rules.Tenants.MayShare(other.Platform, platform); err != nil {
			r.Fail(at.Place, "%s is a list of platform %s, too; %v, or take it out of one of them", wording.Quote(at.Value), other.Platform, err)
			return
		}
	}
	r.config.Sources = append(r.config.Sources, Source{platform, kind, name})
}

// spfSource reads the domain of "spf:DOMAIN".
func (r *reader) spfSource(platform string, at schema.Item) {
	name, err := domainName(strings.TrimPrefix(at.Value, "spf:"))
	if err != nil || !strings.Contains(name, ".") {
		r.Fail(at.Place, `%s names no domain; write it like "spf:spf.protection.outlook.com"`, wording.Quote(at.Value))
		return
	}
	r.source(platform, "spf", name, at)
}

// sourcesOf reads what a platform's lists bring about. It reports that a part of its
// networks is not known before one was fetched.
func (r *reader) sourcesOf(t *schema.Table) (pending bool) {
	count := 0
	for _, one := range r.config.Sources {
		if one.Platform == t.Name {
			count++
			pending = pending || one.Kind == "spf"
		}
	}
	t.AtMost("networks", 16, count, `lists by "spf:" and "file:"`)
	if count > 0 {
		r.config.MaxAge[t.Name] = schema.Value[time.Duration](t, "max_age")
	} else if t.Has("max_age") && !mentionsSource(t) {
		t.Fail("max_age", `has no meaning without a list that can grow old: an "spf:DOMAIN" or "file:PATH" in networks; leave it out`)
	}
	return pending
}

// mentionsSource reports that networks has a list, be it right or wrong.
func mentionsSource(t *schema.Table) bool {
	list, _ := t.Entries["networks"].([]any)
	return slices.ContainsFunc(list, func(entry any) bool {
		text, _ := entry.(string)
		return strings.HasPrefix(text, "spf:") || strings.HasPrefix(text, "file:")
	})
}

var (
	platformName = regexp.MustCompile(`^[a-z][a-z0-9-]{0,62}$`)
	guid         = regexp.MustCompile(`^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$`)
)

// parseTenant reads a GUID (RFC 9562 section 4) and puts it in lower case.
func parseTenant(text string) (string, error) {
	bare := strings.ToLower(strings.Trim(text, "{} "))
	if !guid.MatchString(bare) {
		const like = "3f2504e0-4f89-11d3-9a0c-0305e82c3301"
		return bare, fmt.Errorf("%s is not a GUID; write the tenant ID that the Entra admin centre shows, like %q", wording.Quote(text), like)
	}
	if len(text) != len(bare) {
		return bare, fmt.Errorf("%s is not a GUID; write it as %q", wording.Quote(text), bare)
	}
	return bare, nil
}

// platformOrHere reads a platform's name, or "here", which is also what an absent key
// means. It returns "" for that.
func (r *reader) platformOrHere(t *schema.Table, name string) string {
	value := schema.Value[string](t, name)
	if value == "here" {
		return ""
	}
	if !r.isPlatform(value) {
		t.Fail(name, `%s is neither "here" nor a platform of this file; %s`, wording.Quote(value), wording.Suggest(value, append([]string{"here"}, r.platforms...)))
		return ""
	}
	return value
}
