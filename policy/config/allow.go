package config

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"coexistd/policy"
	"coexistd/policy/config/document"
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

const likeAllowName = `the log names what spared a check, so write one like "partner"`

// allow reads [[allow]]. The checks of all points are known.
func (r *reader) allow(t *table) {
	first := make(map[string]place)
	entries := 0
	for _, one := range t.array("allow") {
		one.readSection()
		a := policy.Allowance{
			Name:       one.uniqueName(first, likeAllowName),
			Checks:     value[[]string](one, "checks"),
			Clients:    networks.SetOf(value[[]netip.Prefix](one, "clients")...),
			Senders:    value[[]string](one, "senders"),
			Recipients: value[[]string](one, "recipients"),
		}
		if !one.has("clients") && !one.has("senders") && !one.has("recipients") {
			r.fail(one.place, "spares all mail its checks; say for which it does: add clients, senders or recipients")
		}
		if len(a.Checks) > 0 && !slices.ContainsFunc(a.Checks, func(check string) bool { return r.made[check] }) {
			r.note("[[allow]] %s has no effect: no contact point makes the check %s", wording.Quote(a.Name), strings.Join(a.Checks, " or "))
		}
		entries += a.Clients.Len() + len(a.Senders) + len(a.Recipients)
		r.config.Rules.Allow = append(r.config.Rules.Allow, a)
	}
	t.atMost("allow", maxAllowed, entries, "clients, senders and recipients")
}

// uniqueName reads a name that stands in the log. Right says why and like what.
func (t *table) uniqueName(first map[string]place, right string) string {
	const longest = 100
	name, said := said[string](t, "name")
	switch other, taken := first[name]; {
	case !said:
	case strings.TrimSpace(name) == "":
		t.fail("name", "is empty; %s", right)
	case len(name) > longest || document.Printable(name) != name:
		t.fail("name", "%s is not a name; it would be one line of at most %d bytes", wording.Quote(name), longest)
	case taken:
		t.fail("name", "%s is the name of the one on line %d, too; choose another", wording.Quote(name), other.line)
	default:
		first[name] = t.at("name")
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
func allowAddress(r *reader, text string) (string, error) {
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
