package doctor

import (
	"context"
	"slices"
	"strings"

	"coexistd/cmd/coexistd/postconf"
	"coexistd/policy/route"
)

// lookAtDual looks for mail that is sent to the other platform twice, where mailboxes are at both
// sides: the milter adds their second address, and the lookup aliases would add it once more.
func lookAtDual(x *examination) []Finding {
	if !x.lists().HaveBoth(x.conf.Rules.Routes.Domains) {
		return nil
	}
	var twice []string
	isBehindMilter := func(s *postconf.Service) bool { return x.mta.AsksMilters(s) || x.mta.IsReturn(s) }
	smtpd := slices.DeleteFunc(x.mta.Running("smtpd"), func(s *postconf.Service) bool { return !isBehindMilter(s) })
	for _, s := range append(smtpd, x.mta.Running("pickup")...) {
		name := x.mta.Value(s, "cleanup_service_name")
		if name == "" {
			name = "cleanup"
		}
		maps := x.mta.Main["virtual_alias_maps"]
		if i := slices.IndexFunc(x.mta.Services, func(c *postconf.Service) bool { return c.Name == name && c.Program == "cleanup" }); i >= 0 {
			maps = x.mta.Value(x.mta.Services[i], "virtual_alias_maps")
		}
		if slices.ContainsFunc(postconf.Tables(maps), func(table string) bool { return x.mta.IsOurs(table, "aliases", x.conf.Lookups) }) {
			twice = append(twice, s.Name)
		}
	}
	if len(twice) == 0 {
		return nil
	}
	return []Finding{failure("what comes by %s for a mailbox at both sides is sent to the other platform twice: its cleanup service asks the lookup aliases, and the milter has added the address already", strings.Join(twice, ", ")).
		do("give it a cleanup service that asks members, as coexistd setup postfix says")}
}

// lookAtRelaying looks for mail for other domains that is put off in the place of being refused, and
// for a platform's users whose mail Postfix does not let through.
func lookAtRelaying(ctx context.Context, x *examination) []Finding {
	relay := postconf.List(x.mta.Main["smtpd_relay_restrictions"])
	var findings []Finding
	if slices.Contains(relay, "defer_unauth_destination") {
		findings = append(findings, warning("smtpd_relay_restrictions puts off mail for other domains: a platform that wrongly sends mail for its alternate domain here tries again for days").
			do("write reject_unauth_destination for defer_unauth_destination in smtpd_relay_restrictions of main.cf; then run: postfix reload"))
	}
	for _, platform := range x.conf.Rules.Routes.Platforms {
		if platform.MayRelay && !x.letsRelay(ctx, platform) {
			findings = append(findings, failure("may_relay is set for %s, but Postfix lets none of its hosts relay: mail of its users for the Internet is refused", platform.Name).
				do("put check_client_access socketmap:%s:networks before reject_unauth_destination in smtpd_relay_restrictions of main.cf, as coexistd setup postfix says; then run: postfix reload", x.lookupAddress()))
		}
	}
	if len(x.conf.Rules.Routes.Platforms) > 0 && x.mta.Main["smtp_tls_security_level"] == "" {
		findings = append(findings, warning("smtp_tls_security_level is empty: mail goes to the platforms in the clear").do("put into main.cf: smtp_tls_security_level = may; then run: postfix reload"))
	}
	return findings
}

// letsRelay reports that Postfix lets the hosts of a platform relay: by our lookup, or by a table
// that has one of its addresses, or that cannot be asked.
func (x *examination) letsRelay(ctx context.Context, platform *route.Platform) bool {
	var keys []string
	for _, network := range x.networks[platform.Name].Networks.Prefixes() {
		keys = append(keys, keysOfClient(network.Addr().String())...)
	}
	for _, setting := range []string{"smtpd_relay_restrictions", "smtpd_recipient_restrictions"} {
		if x.mta.Asks(setting, "networks", x.conf.Lookups) {
			return true
		}
		for _, table := range clientTables(postconf.List(x.mta.Main[setting])) {
			if x.mta.IsAnyOfOurs(table, x.conf.Lookups) {
				continue
			}
			if has, err := x.mta.Values(ctx, table, keys); err != nil || len(has) > 0 {
				return true
			}
		}
	}
	return false
}

// keysOfClient are those by which Postfix asks for a client: its address, and the networks of whole octets that
// have it (access(5)).
func keysOfClient(address string) []string {
	keys := []string{address}
	for at := strings.LastIndexByte(address, '.'); at > 0; at = strings.LastIndexByte(address[:at], '.') {
		keys = append(keys, address[:at])
	}
	return keys
}

// lookupAddress is that of our first lookup.
func (x *examination) lookupAddress() string {
	if len(x.conf.Lookups) == 0 {
		return "inet:127.0.0.1:8702"
	}
	return x.conf.Lookups[0].Address
}
