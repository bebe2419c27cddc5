package setup

import (
	"slices"
	"strings"

	"coexistd/cmd/coexistd/postconf"
	"coexistd/policy/route"
)

// relayRestrictions are the settings by which smtpd says who may send to other domains.
var relayRestrictions = [...]string{"smtpd_relay_restrictions", "smtpd_recipient_restrictions"}

// relaying refuses mail for other domains, rather than put it off, and lets the users of a platform
// with may_relay send through us.
func (g *postfixSide) relaying() {
	mayRelay := slices.ContainsFunc(g.Conf.Rules.Routes.Platforms, func(p *route.Platform) bool { return p.MayRelay })
	var wanted []pair
	for _, setting := range relayRestrictions {
		list := g.restrictions(setting)
		before := slices.Clone(list)
		end := slices.IndexFunc(list, func(one string) bool {
			return slices.Contains([]string{"defer_unauth_destination", "reject_unauth_destination", "reject", "defer"}, one)
		})
		if end < 0 {
			continue
		}
		if list[end] == "defer_unauth_destination" {
			list[end] = "reject_unauth_destination"
		}
		if mayRelay && !g.p.Asks(setting, "networks", g.Conf.Lookups) {
			list = slices.Insert(list, end, "check_client_access "+g.lookup("networks"))
		}
		if !slices.Equal(list, before) {
			wanted = append(wanted, pair{setting, joined(list...)})
		}
	}
	title := "Refuse mail for other domains"
	text := "Otherwise a platform that wrongly sends mail for its alternate domain here tries again for days."
	if mayRelay {
		title += ", save that of the platform's users"
		text += " All tenants of the platform send from the networks that the lookup has; coexistd refuses what does not prove ours."
	}
	g.add(title, text, g.set(wanted...)...)
}

// restrictions are those of a setting in main.cf's own words, unless they refer to other parameters or
// are Postfix's default: these are written out.
func (g *postfixSide) restrictions(setting string) []string {
	list := postconf.List(g.p.Raw[setting])
	if slices.ContainsFunc(list, func(one string) bool { return strings.HasPrefix(one, "$") }) {
		return postconf.List(g.p.Main[setting])
	}
	return list
}

// retireRelaying lets nobody relay whom the milter would have judged.
func (g *postfixSide) retireRelaying() {
	var wanted []pair
	for _, setting := range relayRestrictions {
		list := g.restrictions(setting)
		if at := slices.IndexFunc(list, g.isOurs); at > 0 && list[at-1] == "check_client_access" {
			wanted = append(wanted, pair{setting, joined(slices.Delete(list, at-1, at+1)...)})
		}
	}
	g.add("Let the platform's users send through here no more", "First, as the milter alone tells them from other tenants of the platform.", g.set(wanted...)...)
}
