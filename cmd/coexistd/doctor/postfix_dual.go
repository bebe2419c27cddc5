package doctor

import (
	"slices"
	"strings"

	"coexistd/cmd/coexistd/postconf"
	"coexistd/policy/route"
)

// lookAtDual looks for mail that is sent to the other platform twice, where mailboxes are at both
// sides: the milter adds their second address, and the lookup aliases would add it once more.
func lookAtDual(x *examination) []Finding {
	if !x.hasBoth() {
		return nil
	}
	var twice []string
	for _, s := range append(x.filtered(), x.mta.Running("pickup")...) {
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

// hasBoth reports a mailbox that is here and at a platform.
func (x *examination) hasBoth() bool {
	for _, list := range x.lists() {
		if list.Snapshot == nil {
			continue
		}
		for entry := range list.Snapshot.All() {
			if entry.Residence().Kind == route.Both {
				return true
			}
		}
	}
	return false
}

// filtered are the services that take mail which the milter sees.
func (x *examination) filtered() []*postconf.Service {
	return slices.DeleteFunc(x.mta.Running("smtpd"), func(s *postconf.Service) bool {
		return slices.Contains(postconf.List(x.mta.Value(s, "receive_override_options")), "no_milters")
	})
}

// lookAtRelaying looks for mail for other domains that is put off in the place of being refused, and
// for a platform's users whose mail Postfix does not let through.
func lookAtRelaying(x *examination) []Finding {
	relay, recipient := postconf.List(x.mta.Main["smtpd_relay_restrictions"]), postconf.List(x.mta.Main["smtpd_recipient_restrictions"])
	all := slices.Concat(relay, recipient)
	var findings []Finding
	if slices.Contains(relay, "defer_unauth_destination") {
		findings = append(findings, warning("smtpd_relay_restrictions puts off mail for other domains: a platform that wrongly sends mail for its alternate domain here tries again for days").
			do("write reject_unauth_destination for defer_unauth_destination in smtpd_relay_restrictions of main.cf; then run: postfix reload"))
	}
	for _, platform := range x.conf.Rules.Routes.Platforms {
		if platform.MayRelay && !slices.Contains(all, "check_client_access") {
			findings = append(findings, failure("may_relay is set for %s, but Postfix lets none of its hosts relay: mail of its users for the Internet is refused", platform.Name).
				do("put check_client_access socketmap:%s:networks before reject_unauth_destination in smtpd_relay_restrictions of main.cf, as coexistd setup postfix says; then run: postfix reload", x.lookupAddress()))
		}
	}
	if len(x.conf.Rules.Routes.Platforms) > 0 && x.mta.Main["smtp_tls_security_level"] == "" {
		findings = append(findings, warning("smtp_tls_security_level is empty: mail goes to the platforms in the clear").do("put into main.cf: smtp_tls_security_level = may; then run: postfix reload"))
	}
	return findings
}

// lookupAddress is that of our first lookup.
func (x *examination) lookupAddress() string {
	if len(x.conf.Lookups) == 0 {
		return "inet:127.0.0.1:8702"
	}
	return x.conf.Lookups[0].Address
}
