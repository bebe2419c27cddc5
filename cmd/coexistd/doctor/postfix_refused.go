package doctor

import (
	"context"
	"log/slog"
	"maps"
	"slices"
	"strings"

	"coexistd/cmd/coexistd/daemon"
	"coexistd/cmd/coexistd/postconf"
	"coexistd/milter/messages"
	"coexistd/policy/mail"
	"coexistd/policy/verdict"
)

// recentRefused is how many of the last messages are looked at that were refused, or had a recipient who was.
const recentRefused = 1000

// lookAtRefused looks for mail that coexistd has refused lately although Postfix would have taken it: for aliases
// and users of tables that cannot be listed, and for domains that the configuration lacks.
func lookAtRefused(ctx context.Context, x *examination) []Finding {
	unlisted, foreign := x.refused(ctx)
	return slices.Concat(x.judgeUnlisted(ctx, unlisted), x.judgeStrange(ctx, foreign))
}

// refused are recipients whom coexistd has refused lately: those whom the directory lacked, and those of
// domains that are not ours. That the records cannot be read is told of elsewhere.
func (x *examination) refused(ctx context.Context) (unlisted, foreign []mail.Address) {
	all := messages.Open(daemon.MessagesOptions(x.conf, slog.New(slog.DiscardHandler)))
	defer all.Close()
	count := 0
	for m, err := range all.All(ctx, messages.Query{Verdict: verdict.Reject, Since: x.now.Add(-recentTime)}) {
		if count++; err != nil || count > recentRefused {
			break
		}
		for _, r := range m.Recipients {
			address, err := mail.ParseAddress(r.Address, x.conf.Rules.Delimiters)
			switch {
			case err != nil || !r.Refused || r.Observed:
			case r.Reasons.HasCode(verdict.Unlisted):
				unlisted = append(unlisted, address)
			case r.Reasons.HasCode(verdict.RelayFromOutside):
				foreign = append(foreign, address)
			}
		}
	}
	return unlisted, foreign
}

// judgeUnlisted looks for some whom the directory still lacks in the tables that cannot be listed.
func (x *examination) judgeUnlisted(ctx context.Context, refused []mail.Address) (findings []Finding) {
	refused = x.stillLacking(refused)
	if len(refused) == 0 {
		return nil
	}
	for _, class := range postconf.Classes {
		in, _ := x.mta.Members(ctx, class.Domains, x.domains(), x.conf.Lookups) // lookAtDomains tells the error.
		isLocal := class.Domains == "mydestination"
		settings := []string{"virtual_alias_maps", class.Recipients}
		if isLocal {
			settings = append(settings, "alias_maps")
		}
		keys := make(map[string]string) // with the address for which they are asked
		for _, one := range refused {
			if in[one.Domain] {
				addKeys(keys, one, isLocal)
			}
		}
		for _, setting := range settings {
			findings = append(findings, x.judgeHidden(ctx, setting, keys)...)
		}
	}
	return findings
}

// stillLacking are those of some addresses that coexistd would refuse now as well.
func (x *examination) stillLacking(refused []mail.Address) []mail.Address {
	a := &aliases{x: x, set: x.lists().Set()}
	return slices.DeleteFunc(refused, func(one mail.Address) bool {
		p, _, ours := a.place(one.Key)
		return !ours || !isRefused(p)
	})
}

// addKeys adds the keys by which Postfix asks tables for an address, each with that address.
func addKeys(keys map[string]string, one mail.Address, isLocal bool) {
	named := []string{one.Key, one.Owner, "@" + one.Domain}
	if isLocal {
		named = append(named, strings.TrimSuffix(one.Owner, "@"+one.Domain))
	}
	for _, key := range named {
		keys[key] = one.Key
	}
}

// judgeHidden looks for addresses in the tables of a setting that cannot be listed.
func (x *examination) judgeHidden(ctx context.Context, setting string, keys map[string]string) (findings []Finding) {
	if len(keys) == 0 || setting == "" {
		return nil
	}
	for _, table := range x.mta.everywhere(setting) {
		if postconf.IsListable(table) || x.mta.IsAnyOfOurs(table, x.conf.Lookups) {
			continue // lookAtAliases has seen it.
		}
		wanted := slices.DeleteFunc(slices.Sorted(maps.Keys(keys)), func(key string) bool {
			// A table of patterns is asked for whole addresses alone.
			return postconf.IsOfPatterns(table) && key != keys[key]
		})
		has, _ := x.mta.Values(ctx, table, wanted) // lookAtDelivery tells the error.
		var found []string
		for key := range has {
			found = append(found, mail.Printable(keys[key]))
		}
		if len(found) > 0 {
			slices.Sort(found)
			findings = append(findings, failure("%s of %s has addresses that the directory lacks, and coexistd has refused mail to them: %s", table, setting, some(slices.Compact(found))).do("%s", x.listHere()))
		}
	}
	return findings
}

// judgeStrange looks for domains for which Postfix takes mail, and to whose addresses somebody outside has written. Of those that main.cf
// names, lookAtDomains tells, save for the names of this host.
func (x *examination) judgeStrange(ctx context.Context, refused []mail.Address) []Finding {
	written := x.strangers(refused)
	domains, told := slices.Sorted(maps.Keys(written)), x.mta.Foreign(nil)
	var taken []string
	for _, class := range postconf.Classes {
		has, _ := x.mta.Members(ctx, class.Domains, domains, x.conf.Lookups) // lookAtDomains tells the error.
		for _, domain := range domains {
			if has[domain] && !slices.Contains(told, domain) && !slices.Contains(taken, domain) {
				taken = append(taken, domain)
			}
		}
	}
	var findings []Finding
	for _, domain := range taken {
		findings = append(findings, x.strange("Postfix", domain, written[domain]))
	}
	return findings
}

// strangers are those of some addresses that are in no domain of ours, one by domain.
func (x *examination) strangers(refused []mail.Address) map[string]string {
	written := make(map[string]string)
	for _, one := range refused {
		if x.conf.Rules.Routes.Domains[one.Domain] == nil {
			written[one.Domain] = mail.Printable(one.Key)
		}
	}
	return written
}

// strange tells of a domain for which the MTA takes mail, and to whose addresses somebody outside has written.
func (x *examination) strange(mta, domain, address string) Finding {
	return warning("%s takes mail for %s, which %s lacks: coexistd has refused mail from the Internet to %s", mta, domain, x.conf.Path, address).
		do("where people outside write to addresses there, add: [domain.%q] with unlisted = \"here\"; then run: systemctl reload coexistd", domain)
}
