package config

import (
	"errors"
	"fmt"
	"net/netip"
	"regexp"
	"slices"
	"strings"

	"coexistd/policy/config/mistakes"
	"coexistd/policy/config/schema"
	"coexistd/policy/config/sockets"
	"coexistd/policy/config/wording"
	"coexistd/policy/mail"
	"coexistd/policy/networks"
	"coexistd/policy/route"
	"coexistd/policy/verdict"
)

// maxRoutes bounds the rules that each message is compared with, and maxRouted what all of them
// name.
const (
	maxRoutes = 1000
	maxRouted = 10_000
)

const likeRouteName = `the log names what took mail another way, so write one like "legal"`

// criteria are the keys of what mail must meet.
func (r *reader) criteria() []schema.Key {
	return []schema.Key{
		{Name: "senders", Kind: schema.List(r.routedAddress, orAny), Usually: "any", Example: `["@partner.example"]`,
			Meaning: "envelope senders: `\"news@partner.example\"`, `\"@partner.example\"` for a domain without its subdomains, `\".partner.example\"` for these. The null sender is none of them"},
		{Name: "recipients", Kind: schema.List(r.routedAddress, orAny), Usually: "any", Example: `["legal@acmecorp.com"]`, Meaning: "envelope recipients, likewise"},
		{Name: "logins", Kind: schema.List(loginName, orAny), Usually: "any", Example: `["newsletter"]`, Meaning: "authenticated users"},
		{Name: "clients", Kind: schema.List(networks.ParsePrefix, orAny), Usually: "any", Example: `["192.0.2.0/24"]`, Meaning: "networks and addresses of connecting clients"},
		{Name: "points", Kind: schema.List(entryPoint, orAny), Usually: "any", Example: `["S0"]`, Meaning: "the points at which the mail enters: of `\"S0\"`, `\"S1\"` and `\"S2\"`"},
		{Name: "residences", Kind: schema.List(r.residenceWord, orAny), Usually: "any", Example: `["both"]`,
			Meaning: "where the recipient lives: of `\"here\"`, `\"both\"`, platforms, and `\"internet\"` for who is in no domain of ours"},
		{Name: "header", Kind: schema.Anything("table", "a table"), Usually: "any", Example: `{ name = "Subject", text = "confidential" }`,
			Meaning: "a header field that the mail has: its `name`, and a `text` that stands in it, whatever the case of its letters, or a `pattern` that it fits (RE2). Encoded words are decoded; of each of the first 100 such fields, 8 KiB are looked at"},
		{Name: "size_over", Kind: schema.Size(1, 1<<40), Usually: "any size", Example: `"10M"`, Meaning: "a size that the whole message exceeds. coexistd then reads every message to its end before it knows its way"},
	}
}

var headerKeys = []schema.Key{
	{Name: "name", Kind: schema.Text(schema.AString, routedField), Missing: `name the field, like "Subject"`, Example: `"X-Classification"`, Meaning: "the field's name"},
	{Name: "text", Kind: schema.Text(schema.AString, fieldText), Usually: "none", Example: `"confidential"`, Meaning: "stands in the field's value, in letters of any case"},
	{Name: "pattern", Kind: schema.Text(schema.AString, pattern), Usually: "none", Example: `'(?i)\bsecret\b'`, Meaning: "an RE2 expression that the value fits, in the place of `text`"},
}

func (r *reader) routeKeys() []schema.Section {
	first := []schema.Key{
		{Name: "name", Kind: schema.Text(schema.AString, schema.As[string]), Missing: likeRouteName, Example: `"legal"`, Meaning: "stands in the log beside what it took another way"},
		{Name: "to", Kind: schema.Text(schema.AString, schema.As[string]), Missing: "it says where the mail goes: here, a platform's name, or relay:[HOST]:PORT", Example: `"here"`,
			Meaning: "`\"here\"`: the mailbox here alone. A platform: the mailbox there alone. `\"relay:[filter.example]:25\"`: that host, whoever the recipient is and with the address as it was written; without brackets, the host's MX"},
	}
	last := []schema.Key{{Name: "except", Kind: schema.Anything("table", "a table"), Usually: "nothing", Example: `{ senders = ["boss@acmecorp.com"] }`,
		Meaning: "what the rule is not for: a table of the same criteria, all of which must match"}}
	return []schema.Section{
		{Path: "route", Header: "[[route]]", About: "mail that goes another way than the directory says", Keys: slices.Concat(first, r.criteria(), last)},
		{Path: "route.header", Keys: headerKeys},
		{Path: "route.except", Keys: r.criteria()},
		{Path: "route.except.header", Keys: headerKeys},
	}
}

// routes reads [[route]]. The platforms and domains are known.
func (r *reader) routes(t *schema.Table) {
	first := make(map[string]mistakes.Place)
	all := t.Array("route")
	if !t.AtMost("route", maxRoutes, len(all), "routes") {
		return
	}
	entries := 0
	for _, one := range all {
		one.ReadSection()
		rule := route.Rule{Name: uniqueName(one, first, likeRouteName), To: r.goal(one), For: r.criteriaOf(one)}
		if except := one.Section("except"); except != nil {
			except.ReadSection()
			if rule.Except = r.criteriaOf(except); len(except.Entries) == 0 {
				r.Fail(except.Place, "is for nothing; add criteria, or take it out")
			}
		}
		if rule.For.IsZero() && len(one.Entries) <= 2 {
			r.Fail(one.Place, "is for all mail; say for which: add senders, recipients, logins, clients, points, residences, size_over or header")
		}
		entries += countOf(&rule.For) + countOf(&rule.Except)
		r.config.Rules.Routes.Rules = append(r.config.Rules.Routes.Rules, rule)
	}
	t.AtMost("route", maxRouted, entries, "senders, recipients, logins, clients, points and residences")
	r.noteRoutes()
}

func countOf(c *route.Criteria) int {
	return len(c.Senders) + len(c.Recipients) + len(c.Logins) + c.Clients.Len() + len(c.Points) + len(c.Residences)
}

// goal reads where a route goes.
func (r *reader) goal(t *schema.Table) route.Goal {
	to, said := schema.Said[string](t, "to")
	switch {
	case to == "here":
		return route.Goal{Here: true}
	case strings.HasPrefix(to, "relay:"):
		return route.Goal{Relay: r.relayOf(t, to)}
	case said && !r.isPlatform(to):
		t.Fail("to", "%s is neither here nor a platform of this file, nor does it begin with relay:; %s", wording.Quote(to), wording.Suggest(to, append([]string{"here"}, r.platforms...)))
	}
	return route.Goal{Platform: to}
}

// relayOf reads the next hop of a route.
func (r *reader) relayOf(t *schema.Table, to string) string {
	hop, err := sockets.NextHop(strings.TrimPrefix(to, "relay:"))
	host, port, _ := sockets.SplitNextHop(hop)
	switch isOfPlatform := func(p *route.Platform) bool { return r.config.Rules.Routes.LeadsTo(strings.ToLower(hop), p.Name) }; {
	case err != nil:
		t.Fail("to", "%v", err)
	case len(r.config.Lookups) == 0:
		t.Fail("to", "needs a [[lookup]], by which the MTA learns what the relay takes; add one")
	case strings.EqualFold(host, r.config.Rules.Hostname) && port == "25":
		r.note("[[route]] %s goes to this host, %s: its mail would come back", wording.Quote(schema.Value[string](t, "name")), host)
	case slices.ContainsFunc(r.config.Rules.Routes.Platforms, isOfPlatform):
		r.note("[[route]] %s goes to the relay of a platform with the address as it was written; to the mailbox there leads the platform's name", wording.Quote(schema.Value[string](t, "name")))
	}
	return hop
}

func (r *reader) criteriaOf(t *schema.Table) route.Criteria {
	c := route.Criteria{
		Senders: schema.Value[[]string](t, "senders"), Recipients: schema.Value[[]string](t, "recipients"),
		Logins: schema.Value[[]string](t, "logins"), Clients: networks.SetOf(schema.Value[[]netip.Prefix](t, "clients")...),
		Points: schema.Value[[]verdict.Checkpoint](t, "points"), Residences: schema.Value[[]string](t, "residences"),
		SizeOver: schema.Value[int64](t, "size_over"),
	}
	header := t.Section("header")
	if header == nil {
		return c
	}
	header.ReadSection()
	c.Header = route.Field{
		Name: schema.Value[string](header, "name"), Text: mail.Fold(schema.Value[string](header, "text")), Pattern: schema.Value[*regexp.Regexp](header, "pattern"),
	}
	if header.Has("text") == header.Has("pattern") {
		r.Fail(header.Place, "needs one of text and pattern")
	}
	return c
}

// routedAddress is an address, or a domain as allowAddress has it, or with a dot before it what is
// below one.
func (r *reader) routedAddress(text string) (string, error) {
	if strings.HasPrefix(text, ".") {
		return orBelow(domainName)(text)
	}
	return r.allowAddress(text)
}

func loginName(text string) (string, error) {
	if text == "" || strings.TrimSpace(text) != text {
		return "", fmt.Errorf("%s is not a login; write it as users log in with it", wording.Quote(text))
	}
	return strings.ToLower(text), nil
}

// residenceWord is a residence of which mail is taken.
func (r *reader) residenceWord(text string) (string, error) {
	known := append([]string{"here", "both", route.Internet}, r.platforms...)
	if slices.Contains(known, text) {
		return text, nil
	}
	return "", fmt.Errorf("%s is no residence; %s", wording.Quote(text), wording.Suggest(text, known))
}

func routedField(text string) (string, error) {
	if !fieldName.MatchString(text) {
		return "", fmt.Errorf(`%s is not the name of a header field; write it like "Subject"`, wording.Quote(text))
	}
	return text, nil
}

func fieldText(text string) (string, error) {
	if strings.TrimSpace(text) == "" {
		return "", errors.New(`is empty, and stands in every value; leave it out, or write a text like "confidential"`)
	}
	return text, nil
}

func pattern(text string) (*regexp.Regexp, error) {
	compiled, err := regexp.Compile(text)
	if err != nil {
		return nil, fmt.Errorf("%s is not an RE2 expression: %w", wording.Quote(text), err)
	}
	return compiled, nil
}

// noteRoutes notes rules that take nothing, and ways that go round.
func (r *reader) noteRoutes() {
	routes := &r.config.Rules.Routes
	for i := range routes.Rules {
		rule := &routes.Rules[i]
		if why := routes.TakesNothing(rule); why != "" {
			r.note("[[route]] %s takes no mail: %s", wording.Quote(rule.Name), why)
		}
		if earlier := slices.IndexFunc(routes.Rules[:i], func(one route.Rule) bool { return one.TakesAllOf(rule) }); earlier >= 0 {
			r.note("[[route]] %s takes no mail: the earlier one %s takes all of it", wording.Quote(rule.Name), wording.Quote(routes.Rules[earlier].Name))
		}
		for j := range routes.Rules[:i] {
			if other := &routes.Rules[j]; other.MayReturn(rule) && rule.MayReturn(other) {
				r.note("[[route]] %s and %s may send the same mail round between %s and %s, until max_passes ends it: say in points of either that S1 is not meant",
					wording.Quote(other.Name), wording.Quote(rule.Name), other.To, rule.To)
			}
		}
	}
}
