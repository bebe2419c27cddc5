package doctor

import (
	"net/netip"
	"regexp"
	"slices"

	"coexistd/cmd/coexistd/sendmailcf"
	"coexistd/policy/networks"
)

// blocklistRule matches what a rule of FEATURE(dnsbl) or FEATURE(enhdnsbl) asks a blocklist.
var blocklistRule = regexp.MustCompile(`\$\((?:dnsbl|ednsbl) \$4\.\$3\.\$2\.\$1\.([^ $]+?)\.? `)

// lookAtSendmailBlocklists looks for blocklists of addresses by which Sendmail refuses clients before it
// asks us. What the access map takes (OK, RELAY), they are not asked about.
func lookAtSendmailBlocklists(x *examination) []Finding {
	var lists []string
	for _, rule := range slices.Concat(x.sendmail.Rules["Basic_check_relay"], x.sendmail.Rules["check_relay"]) {
		if found := blocklistRule.FindStringSubmatch(rule); found != nil && !slices.Contains(lists, found[1]) {
			lists = append(lists, found[1])
		}
	}
	list, _ := x.sendmail.Accepted()
	accepted := networks.SetOf(list...)
	passes := func(network netip.Prefix) bool {
		for one := range sendmailcf.Whole(network) {
			if network.Addr().Is4() && !accepted.Holds(one) { // The lists are not asked about IPv6.
				return false
			}
		}
		return true
	}
	if len(lists) == 0 || x.platformsAreAll(passes) {
		return nil
	}
	remedy := "put FEATURE(`access_db') into sendmail.mc" + remade + "; and "
	if _, is := x.sendmail.Maps["access"]; is {
		remedy = ""
	}
	return []Finding{x.blocked("Sendmail asks", lists, remedy+"write into /etc/mail/access what coexistd networks export --for clients prints, such as Connect:40.92 OK; then run: make -C /etc/mail")}
}

// platformsAreAll reports that something is so of all networks of the platforms, as far as any are known.
func (x *examination) platformsAreAll(is func(network netip.Prefix) bool) bool {
	var all []netip.Prefix
	for _, platform := range x.conf.Rules.Routes.Platforms {
		all = append(all, x.networks[platform.Name].Networks.Prefixes()...)
	}
	return len(all) > 0 && !slices.ContainsFunc(all, func(network netip.Prefix) bool { return !is(network) })
}
