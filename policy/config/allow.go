package config

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"coexistd/policy"
	"coexistd/policy/config/document"
	"coexistd/policy/config/mistakes"
	"coexistd/policy/config/schema"
	"coexistd/policy/config/wording"
	"coexistd/policy/mail"
	"coexistd/policy/networks"
	"coexistd/policy/verdict"
)

// maxAllowed bounds what each message's addresses are compared with: the entries
// of all [[allow]] together.
const maxAllowed = 10_000

// sparedChecks are the checks that mail can be spared.
var sparedChecks = namesOf(func(r policy.CheckRow) bool { return r.NotSpared == "" })

// orAny are the rules of a list that stands for any when it is left out.
var orAny = schema.Rules{Empty: "is empty; name at least one, or leave it out for any", Twice: schema.Dropped}

const likeAllowName = `the log names what spared a check, so write one like "partner"`

func (r *reader) allowKeys() schema.Section {
	return schema.Section{Path: "allow", Header: "[[allow]]", About: "mail that is spared a check", Keys: []schema.Key{
		{Name: "name", Kind: schema.Text(schema.AString, schema.As[string]), Missing: likeAllowName, Example: `"partner"`, Meaning: "stands in the log beside what it spared"},
		{Name: "checks", Kind: schema.List(sparedCheck, schema.Rules{Empty: "is empty, so nothing is spared; name checks, or leave it out for spam", Twice: schema.Dropped}), Usual: []any{verdict.CheckSpam},
			Meaning: "of `\"spam\"`, `\"malware\"` and `\"spoof\"`. No mail is spared `virus`. For `ddos` there is `exempt`, for `rate` there are `overrides`, for `auth` `our_networks` and `our_certificates`, for `block` `coexistd senders remove`"},
		{Name: "clients", Kind: schema.List(networks.ParsePrefix, orAny), Usually: "any", Example: `["192.0.2.0/24"]`,
			Meaning: "networks and addresses of connecting clients. Of a platform's, mail with another tenant's proof is not spared `spoof`, unless `senders` names its sender and it is in no name of ours"},
		{Name: "senders", Kind: r.addresses(), Usually: "any", Example: `["@partner.example"]`,
			Meaning: "envelope senders: `\"news@partner.example\"`, or `\"@partner.example\"` for a domain without its subdomains"},
		{Name: "certificates", Kind: schema.List(orBelow(commonName), orAny), Usually: "any", Example: `["mx.partner.example"]`,
			Meaning: "common names of the client's TLS certificate, whose chain the MTA trusts. `\".partner.example\"` are the names below it"},
		{Name: "dkim", Kind: schema.List(orBelow(domainName), orAny), Usually: "any", Example: `["partner.example"]`,
			Meaning: "domains one of which has a DKIM signature of the message that passes. `\".partner.example\"` are the domains below it"},
		{Name: "recipients", Kind: r.addresses(), Usually: "any", Example: `["abuse@example.com"]`, Meaning: "envelope recipients, likewise"},
	}}
}

// allow reads [[allow]]. The checks of all points are known.
func (r *reader) allow(t *schema.Table) {
	first := make(map[string]mistakes.Place)
	entries := 0
	for _, one := range t.Array("allow") {
		one.ReadSection()
		a := policy.Allowance{
			Name:       uniqueName(one, first, likeAllowName),
			Checks:     schema.Value[[]string](one, "checks"),
			Clients:    networks.SetOf(schema.Value[[]netip.Prefix](one, "clients")...),
			Senders:    schema.Value[[]string](one, "senders"),
			Recipients: schema.Value[[]string](one, "recipients"),

			Certificates: schema.Value[[]string](one, "certificates"),
			DKIM:         schema.Value[[]string](one, "dkim"),
		}
		if !slices.ContainsFunc([]string{"clients", "senders", "recipients", "certificates", "dkim"}, one.Has) {
			r.Fail(one.Place, "spares all mail its checks; say for which it does: add clients, senders, recipients, certificates or dkim")
		}
		if len(a.Checks) > 0 && !slices.ContainsFunc(a.Checks, func(check string) bool { return r.made[check] }) {
			r.note("[[allow]] %s has no effect: no contact point makes the check %s", wording.Quote(a.Name), strings.Join(a.Checks, " or "))
		}
		entries += a.Clients.Len() + len(a.Senders) + len(a.Recipients) + len(a.Certificates) + len(a.DKIM)
		r.config.Rules.Allow = append(r.config.Rules.Allow, a)
	}
	t.AtMost("allow", maxAllowed, entries, "clients, senders, recipients, certificates and domains of dkim")
}

// uniqueName reads a name that stands in the log. Right says why and like what.
func uniqueName(t *schema.Table, first map[string]mistakes.Place, right string) string {
	const longest = 100
	name, said := schema.Said[string](t, "name")
	switch other, taken := first[name]; {
	case !said:
	case strings.TrimSpace(name) == "":
		t.Fail("name", "is empty; %s", right)
	case len(name) > longest || document.Printable(name) != name:
		t.Fail("name", "%s is not a name; it would be one line of at most %d bytes", wording.Quote(name), longest)
	case taken:
		t.Fail("name", "%s is the name of the one on line %d, too; choose another", wording.Quote(name), other.Line)
	default:
		first[name] = t.At("name")
	}
	return name
}

func sparedCheck(name string) (string, error) {
	switch {
	case name == verdict.CheckVirus || name == verdict.CheckLoop:
		return "", fmt.Errorf("no mail is spared the check %s, whoever sent it; take it out", name)
	case row(name).NotSpared != "":
		return "", fmt.Errorf("%s is not spared here: %s", name, row(name).NotSpared)
	case !slices.Contains(sparedChecks, name):
		return "", fmt.Errorf("%s is not a check that mail can be spared; %s", wording.Quote(name), wording.Suggest(name, sparedChecks))
	}
	return name, nil
}

// allowAddress returns the normal form of an address, or of a domain behind "@".
func (r *reader) allowAddress(text string) (string, error) {
	if err := refuseHidden(text, "an address"); err != nil {
		return "", err
	}
	if name, isDomain := strings.CutPrefix(text, "@"); isDomain {
		normal, err := domainName(name)
		if err != nil {
			return "", fmt.Errorf(`%s is not a domain; write it like "@partner.example"`, wording.Quote(text))
		}
		return "@" + normal, nil
	}
	if text == "" || text == "<>" {
		return "", fmt.Errorf(`%s is the null sender, which everybody can use; write an address like "news@partner.example"`, wording.Quote(text))
	}
	meant := strings.TrimPrefix(strings.TrimPrefix(text, "*"), "@")
	if normal, err := domainName(meant); err == nil && !strings.Contains(meant, "@") && strings.Contains(meant, ".") {
		return "", fmt.Errorf("%s is not an address; write %s for all of the domain", wording.Quote(text), wording.Quote("@"+normal))
	}
	a, err := mail.ParseAddress(text, r.config.Rules.Delimiters)
	if err != nil || a.Domain == "" {
		return "", fmt.Errorf(`%s is not an address; write it like "news@partner.example", or "@partner.example" for all of a domain`, wording.Quote(text))
	}
	return a.Key, nil
}

// addresses are envelope addresses and domains.
func (r *reader) addresses() schema.Kind {
	return schema.List(r.allowAddress, schema.Rules{Empty: "is empty; name at least one, or leave it out for any"})
}
