package config

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"coexistd/policy"
	"coexistd/policy/mail"
	"coexistd/policy/verdict"
)

// maxAllowed bounds what each message's addresses are compared with: the entries
// of all [[allow]] together.
const maxAllowed = 10_000

// sparedChecks are the checks that mail can be spared.
var sparedChecks = namesOf(policy.Checks(), func(r policy.CheckRow) bool { return r.NotSpared == "" })

// allow reads [[allow]]. The checks of all points are known.
func (r *reader) allow(t *table) {
	first := make(map[string]place)
	entries := 0
	for _, one := range t.array("allow") {
		one.only("name", "checks", "clients", "senders", "recipients")
		a := policy.Allowance{
			Name:       one.uniqueName(first, `the log names what spared a check, so write one like "partner"`),
			Checks:     one.spared(),
			Clients:    one.allowClients(),
			Senders:    one.allowAddresses("senders"),
			Recipients: one.allowAddresses("recipients"),
		}
		if !one.has("clients") && !one.has("senders") && !one.has("recipients") {
			r.fail(one.place, "spares all mail its checks; say for which it does: add clients, senders or recipients")
		}
		if len(a.Checks) > 0 && !slices.ContainsFunc(a.Checks, r.isMade) {
			r.note("[[allow]] %s has no effect: no contact point makes the check %s", quote(a.Name), strings.Join(a.Checks, " or "))
		}
		entries += len(a.Clients) + len(a.Senders) + len(a.Recipients)
		r.config.Rules.Allow = append(r.config.Rules.Allow, a)
	}
	if entries > maxAllowed {
		t.fail("allow", "there are %d clients, senders and recipients; at most %d are possible", entries, maxAllowed)
	}
}

// isMade reports a check that some point makes.
func (r *reader) isMade(check string) bool {
	p := r.config.Rules
	for _, point := range p.Points {
		if point.Makes(check) {
			return true
		}
	}
	return p.PastMX.Makes(check)
}

// uniqueName reads a name that stands in the log. Right says why and like what.
func (t *table) uniqueName(first map[string]place, right string) string {
	const longest = 100
	name := t.text("name", "")
	at := t.at("name")
	switch other, taken := first[name]; {
	case !t.has("name"):
		t.fail("name", "is missing; %s", right)
	case strings.TrimSpace(name) == "" && t.entries["name"] == name:
		t.fail("name", "is empty; %s", right)
	case len(name) > longest || printable(name) != name:
		t.fail("name", "%s is not a name; it would be one line of at most %d bytes", quote(name), longest)
	case taken:
		t.fail("name", "%s is the name of the one on line %d, too; choose another", quote(name), other.line)
	case name != "":
		first[name] = at
	}
	return name
}

// spared reads the checks that are not made.
func (t *table) spared() []string {
	if !t.has("checks") {
		return []string{verdict.CheckSpam}
	}
	var names []string
	items := t.texts("checks")
	for _, one := range items {
		switch name := one.text; {
		case slices.Contains(sparedChecks, name):
			if !slices.Contains(names, name) {
				names = append(names, name)
			}
		case name == verdict.CheckVirus || name == verdict.CheckLoop:
			t.r.fail(one.place, "no mail is spared the check %s, whoever sent it; take it out", name)
		case row(name).NotSpared != "":
			t.r.fail(one.place, "%s is not spared here: %s", name, row(name).NotSpared)
		default:
			t.r.fail(one.place, "%s is not a check that mail can be spared; %s", quote(name), suggest(name, sparedChecks))
		}
	}
	if _, isList := t.entries["checks"].([]any); isList && len(items) == 0 {
		t.fail("checks", "is empty, so nothing is spared; name checks, or leave it out for spam")
	}
	return names
}

// allowClients reads networks.
func (t *table) allowClients() []netip.Prefix {
	t.refuseEmpty("clients")
	return t.networks("clients")
}

// allowAddresses reads senders or recipients.
func (t *table) allowAddresses(name string) []string {
	t.refuseEmpty(name)
	return t.addresses(name)
}

// addresses reads addresses, and domains behind "@".
func (t *table) addresses(name string) []string {
	var all []string
	for _, one := range t.texts(name) {
		normal, err := allowAddress(one.text, t.r.config.Rules.Delimiters)
		if err != nil {
			t.r.fail(one.place, "%v", err)
			continue
		}
		all = append(all, normal)
	}
	return all
}

// refuseEmpty refuses a condition that nothing could meet: to the policy, an
// empty one holds for all mail.
func (t *table) refuseEmpty(name string) {
	if list, isList := t.entries[name].([]any); isList && len(list) == 0 {
		t.fail(name, "is empty; name at least one, or leave it out for any")
	}
}

// allowAddress returns the normal form of an address, or of a domain behind "@".
func allowAddress(text, delimiters string) (string, error) {
	name, isDomain := strings.CutPrefix(text, "@")
	if isDomain {
		normal, err := domainName(name)
		if err != nil {
			return "", fmt.Errorf(`%s is not a domain; write it like "@partner.example"`, quote(text))
		}
		return "@" + normal, nil
	}
	if text == "" || text == "<>" {
		return "", fmt.Errorf(`%s is the null sender, which everybody can use; write an address like "news@partner.example"`, quote(text))
	}
	meant := strings.TrimPrefix(strings.TrimPrefix(text, "*"), "@")
	if normal, err := domainName(meant); err == nil && !strings.Contains(meant, "@") && strings.Contains(meant, ".") {
		return "", fmt.Errorf("%s is not an address; write %s for all of the domain", quote(text), quote("@"+normal))
	}
	a, err := mail.ParseAddress(text, delimiters)
	if err != nil || a.Domain == "" {
		return "", fmt.Errorf(`%s is not an address; write it like "news@partner.example", or "@partner.example" for all of a domain`, quote(text))
	}
	return a.Key, nil
}
