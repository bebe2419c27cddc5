package doctor

import (
	"context"
	"net/netip"
	"slices"
	"strings"

	"coexistd/cmd/coexistd/postconf"
)

// restrictions are the settings of smtpd by which a client may be refused, in the order in which they
// are gone by.
var restrictions = [...]string{
	"smtpd_client_restrictions", "smtpd_helo_restrictions", "smtpd_sender_restrictions",
	"smtpd_relay_restrictions", "smtpd_recipient_restrictions", "smtpd_data_restrictions",
}

// platformsTable is what to name the table of the platforms' networks, and exported is what fills it: first, as Postfix
// puts all mail off while a table that it is to ask is missing.
const (
	platformsTable = "cidr:/etc/postfix/platforms.cidr"
	exported       = "when the daemon runs, and each night from then on, run: coexistd networks export --for cidr > /etc/postfix/platforms.new && mv /etc/postfix/platforms.new /etc/postfix/platforms.cidr && postfix reload; when that table is there, "
)

// lookAtBlocklists looks for blocklists of addresses by which Postfix refuses clients before it asks
// us. The hosts of a platform send for all its tenants, and some are on such lists at times.
func lookAtBlocklists(ctx context.Context, x *examination) []Finding {
	findings := together("smtpd", x.mta.Running("smtpd"), serviceName, func(s *postconf.Service) (Finding, bool) { return x.judgeBlocklists(ctx, s) })
	postscreen := x.mta.Running("postscreen")
	lists := postconf.List(x.mta.Main["postscreen_dnsbl_sites"])
	if len(postscreen) == 0 || len(lists) == 0 || x.mta.Main["postscreen_dnsbl_action"] == "ignore" || x.passes(ctx, postconf.List(x.mta.Main["postscreen_access_list"])) {
		return findings
	}
	access := strings.Join(append(postconf.List(x.mta.Main["postscreen_access_list"]), platformsTable), ", ")
	return append(findings, x.blocked("postscreen asks", lists, exported+"put into main.cf: postscreen_access_list = "+access))
}

// judgeBlocklists tells of the blocklists by which a service refuses clients. It reads on from the
// service's name.
func (x *examination) judgeBlocklists(ctx context.Context, s *postconf.Service) (f Finding, is bool) {
	if x.mta.IsReturn(s) || s.Port() == postconf.SubmissionPort || s.Port() == postconf.SubmissionsPort {
		return f, false
	}
	var lists, others []string
	for i, setting := range restrictions {
		all := postconf.List(x.mta.Value(s, setting))
		refusing, first := refusingLists(all)
		if len(refusing) == 0 || x.passes(ctx, clientTables(all[:first])) {
			continue
		}
		for _, name := range refusing {
			if !slices.Contains(lists, name) {
				lists = append(lists, name)
			}
		}
		if i > 0 {
			others = append(others, setting)
		}
	}
	if len(lists) == 0 {
		return f, false
	}
	remedy := exported + "have " + restrictions[0] + " begin with: permit_mynetworks, permit_sasl_authenticated, check_client_access " + platformsTable + ", reject_rbl_client " + strings.Join(lists, ", reject_rbl_client ")
	if len(others) > 0 {
		remedy += "; let no other setting name these lists (" + strings.Join(others, ", ") + " does)"
	}
	return x.blocked("asks", lists, remedy), true
}

// refusingLists are the blocklists by which restrictions refuse clients, and where the first of them stands. One
// behind warn_if_reject is only logged.
func refusingLists(restrictions []string) (lists []string, first int) {
	for i, word := range restrictions {
		if word != "reject_rbl_client" || i == len(restrictions)-1 || i > 0 && restrictions[i-1] == "warn_if_reject" {
			continue
		}
		if len(lists) == 0 {
			first = i
		}
		lists = append(lists, restrictions[i+1])
	}
	return lists, first
}

// blocked tells of lists that are asked about clients. Remedy is how the platforms' hosts pass them.
func (x *examination) blocked(asks string, lists []string, remedy string) Finding {
	const listed = "hosts of a platform send for all its tenants, and are on such lists at times"
	for _, name := range x.upstreams() {
		if !x.conf.Rules.Upstreams[name].ByMTA {
			return warning("%s the blocklists %s about clients: of what comes through the upstream %s they know the gateway alone, and %s", asks, some(lists), name, listed).
				do("take them out: rspamd ([scanner.rspamd]) asks such lists about the client before the gateway; or %s", remedy)
		}
	}
	return warning("%s the blocklists %s about clients: %s. The mail of your users there would be refused before coexistd is asked", asks, some(lists), listed).do("%s", remedy)
}

// clientTables are the tables of check_client_access in a list of restrictions.
func clientTables(list []string) (tables []string) {
	for i, word := range list {
		if i > 0 && list[i-1] == "check_client_access" {
			tables = append(tables, word)
		}
	}
	return tables
}

// passes reports that one of some tables lets all hosts of the platforms pass, as far as their networks
// are known. Of a network, its first address is asked for.
func (x *examination) passes(ctx context.Context, tables []string) bool {
	var keys []string
	key := func(network netip.Prefix) string { return network.Masked().Addr().String() }
	x.platformsAreAll(func(network netip.Prefix) bool { keys = append(keys, key(network)); return true })
	return slices.ContainsFunc(tables, func(table string) bool {
		if !strings.Contains(table, ":") {
			return false // such as permit_mynetworks
		}
		has, err := x.mta.Values(ctx, table, keys)
		return err == nil && x.platformsAreAll(func(network netip.Prefix) bool {
			action := strings.ToLower(has[key(network)])
			return action == "ok" || strings.HasPrefix(action, "permit")
		})
	})
}
