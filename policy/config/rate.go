package config

import (
	"cmp"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"time"

	"coexistd/policy/config/document"
	"coexistd/policy/config/mistakes"
	"coexistd/policy/config/quantity"
	"coexistd/policy/config/schema"
	"coexistd/policy/config/wording"
	"coexistd/policy/mail"
	"coexistd/policy/networks"
	"coexistd/policy/rate"
	"coexistd/policy/route"
	"coexistd/policy/verdict"
)

// Bounds of [[rate]]. Each message asks all rules that fit it, and those by
// recipient once for each.
const (
	maxRates          = 50
	maxRecipientRates = 10
	maxLimit          = int64(1_000_000_000_000)
	maxOverrides      = 10_000 // of all rules together
	maxPer            = 366 * day
)

const likeRuleName = `the log and the limit's keys name the rule, so write one like "per user"`

// rateTable is one rule while the file is read.
type rateTable struct {
	*schema.Table
	rule rate.Rule
}

func rateKeys() schema.Section {
	return schema.Section{Path: "rate", Header: "[[rate]]", About: "how much may be sent", Keys: []schema.Key{
		{Name: "name", Kind: schema.Text(schema.AString, schema.As[string]), Missing: likeRuleName, Example: `"per user"`,
			Meaning: "stands in the log and in the limit's keys; each rule has its own. A new name begins a new count"},
		{Name: "checkpoints", Kind: schema.Texts(schema.Rules{Empty: "is empty, so nothing is counted; name points, or leave it out for all that make the check rate"}),
			Usually: "all that make the check rate", Example: `["S2"]`,
			Meaning: "the points at which it counts, such as `[\"S2\"]`. A message counts once for each rule"},
		{Name: "by", Kind: schema.Choice("something to count for", rate.ByUser, rate.ByClient, rate.BySender, rate.BySenderDomain, rate.ByRecipient),
			Missing: "it says for what each limit is: user, client, sender, sender_domain or recipient", Example: `"user"`,
			Meaning: "what each limit is for: `\"user\"` (the login), `\"client\"` (the address, IPv6 by its /64), `\"sender\"`, `\"sender_domain\"` (of the envelope; the null sender counts for none) or `\"recipient\"` (each of them)"},
		{Name: "count", Kind: schema.Choice("something to count", rate.Messages, rate.Recipients, rate.Bytes), Usual: "messages", Meaning: "what is counted"},
		{Name: "limit", Kind: schema.Anything("amount", "1 to 1000000000000, or a size"), Missing: "it says how much may come in the time of per, like 200", Example: "200",
			Meaning: "how much may come in the time `per`; bytes also as a size, `\"1G\"`"},
		{Name: "per", Kind: schema.Duration(time.Second, maxPer), Missing: `it says in which time the limit may come, like "1h"`, Example: `"1h"`,
			Meaning: "What was used comes back bit by bit, not all at once when the time is over"},
		{Name: "burst", Kind: schema.Anything("amount", "1 to 1000000000000, or a size"), Usually: "`limit`", Example: "200", Meaning: "how much of it may come at once. It has to come back within 366 days"},
		{Name: "on_limit", Kind: schema.Choice("a verdict of a limit", verdict.Tempfail, verdict.Reject, verdict.Tag), Usual: "tempfail",
			Meaning: "what is done with what is over the limit: also `\"reject\"` or `\"tag\"`"},
		{Name: "on_error", Kind: schema.Choice("what can be done without an answer", rate.ErrorTempfail, rate.ErrorAccept, rate.ErrorMemory), Usual: "memory",
			Meaning: "what is done while Redis does not answer: `\"memory\"` counts in this process meanwhile, `\"accept\"` lets pass, `\"tempfail\"` puts off. Only with `[redis]`; without, limits are in this process's memory, which always answers"},
		{Name: "overrides", Kind: schema.Inline(`{ bob = 5000, "10.1.0.0/16" = "unlimited" }`), Example: `{ bob = 5000, "10.1.0.0/16" = "unlimited" }`,
			Meaning: "other limits, or `\"unlimited\"`, for some: `{ newsletter = 5000, \"10.1.0.0/16\" = \"unlimited\" }`. A key is what the rule is by: a login, an address without a tag, a domain. A network holds for the clients in it, whatever the rule is by; the smallest one counts. `burst` grows and shrinks with the limit"},
		{Name: "column", Kind: schema.Text("the name of a column of the directory, in quotes", schema.As[string]), Example: `"hourly"`,
			Meaning: "a column of the directory with accounts' own limits, for rules by `user`, `sender` and `recipient`. `overrides` for an account go before it, and it goes before those for networks"},
	}}
}

// readRates reads [[rate]], save for the points at which each rule counts.
func (r *reader) readRates(t *schema.Table) {
	first := make(map[string]mistakes.Place)
	overrides, byRecipient := 0, 0
	all := t.Array("rate")
	if !t.AtMost("rate", maxRates, len(all), "rules") {
		return
	}
	for _, one := range all {
		entry := rateTable{one.ReadSection(), r.rate(one, first)}
		r.rates = append(r.rates, entry)
		overrides += len(entry.rule.Accounts) + entry.rule.Networks.Len()
		if entry.rule.By == rate.ByRecipient {
			byRecipient++
		}
	}
	t.AtMost("rate", maxRecipientRates, byRecipient, "rules by recipient")
	t.AtMost("rate", maxOverrides, overrides, "overrides")
}

func (r *reader) rate(t *schema.Table, first map[string]mistakes.Place) rate.Rule {
	rule := rate.Rule{
		Name:    uniqueName(t, first, likeRuleName),
		By:      schema.Value[rate.By](t, "by"),
		Count:   schema.Value[rate.Unit](t, "count"),
		Per:     int64(cmp.Or(schema.Value[time.Duration](t, "per"), time.Hour) / time.Second),
		OnLimit: schema.Value[verdict.Verdict](t, "on_limit"),
		OnError: schema.Value[rate.OnError](t, "on_error"),
	}
	amounts(t, &rule)
	if t.Has("on_error") && r.config.Redis == nil {
		t.Fail("on_error", "has no effect: without [redis], limits are in this process's memory, which always answers; take it out, or add [redis] with its addresses")
	}
	r.overrides(t, &rule)
	rule.Column = r.column(t, rule.By)
	return rule
}

// amounts reads the limit and the burst. A limiter remembers a key until its burst
// has come back, which bounds the time for that.
func amounts(t *schema.Table, rule *rate.Rule) {
	limit, limited := amount(t, "limit", rule.Count)
	burst, said := amount(t, "burst", rule.Count)
	rule.Limit, rule.Burst = max(1, limit), max(1, limit)
	if said {
		rule.Burst = burst
	}
	days := float64(rule.Burst) / float64(rule.Limit) * float64(rule.Per) / 86400
	if limited && said && days > maxPer.Hours()/24 {
		t.Fail("burst", "takes %.0f days to come back at %d in %s; at most %.0f are possible, so lower it",
			days, limit, quantity.Durations.Text(rule.Per*int64(time.Second)), maxPer.Hours()/24)
	}
}

// amount reads how much may come. Bytes can be written as a size.
func amount(t *schema.Table, name string, count rate.Unit) (amount int64, ok bool) {
	value, said := t.Entries[name]
	if !said {
		return 0, false
	}
	amount, err := parseAmount(value, count)
	if err != nil {
		t.Fail(name, "%v", err)
	}
	return amount, err == nil
}

// parseAmount reads a number, or for bytes also a size.
func parseAmount(value any, count rate.Unit) (int64, error) {
	want := fmt.Sprintf("a whole number from 1 to %d", maxLimit)
	if count == rate.Bytes {
		want += ", or a size in quotes, like " + quantity.Sizes.Like
	}
	amount, ok := value.(int64)
	if text, isText := value.(string); isText && count == rate.Bytes {
		var err error
		if amount, err = quantity.Sizes.Parse(text); err != nil {
			return 0, err
		}
		ok = true
	}
	if !ok {
		return 0, fmt.Errorf("is %s; it must be %s", schema.Describe(value), want)
	}
	if amount < 1 || amount > maxLimit {
		return 0, fmt.Errorf("%d is out of range; it must be %s", amount, want)
	}
	return amount, nil
}

// overrides reads the limits that hold for some keys and networks.
func (r *reader) overrides(t *schema.Table, rule *rate.Rule) {
	if _, said := schema.Said[map[string]any](t, "overrides"); !said {
		return
	}
	all := t.Section("overrides")
	rule.Accounts = make(map[string]int64)
	ofNetworks := make(map[netip.Prefix]int64)
	for _, written := range slices.Sorted(maps.Keys(all.Entries)) {
		if refuseCut(all, written) {
			continue
		}
		limit := rate.Unlimited
		if all.Entries[written] != "unlimited" {
			var err error
			if limit, err = parseAmount(all.Entries[written], rule.Count); err != nil {
				all.Fail(written, `%v; or "unlimited"`, err)
				continue
			}
		}
		if err := r.override(rule, ofNetworks, written, limit); err != nil {
			all.Fail(written, "%v", err)
		}
	}
	rule.Networks = rate.LimitNetworks(ofNetworks)
}

// override puts one limit in its place.
func (r *reader) override(rule *rate.Rule, ofNetworks map[netip.Prefix]int64, written string, limit int64) error {
	if rule.By == rate.ByClient || looksLikeNetwork(written) {
		prefix, err := networks.ParsePrefix(written)
		if err != nil {
			return err
		}
		if _, twice := ofNetworks[prefix]; twice {
			return fmt.Errorf("%s is there twice; keep one of them", prefix)
		}
		ofNetworks[prefix] = limit
		return nil
	}
	key, err := r.rateKey(written, rule.By)
	if err != nil {
		return err
	}
	if _, taken := rule.Accounts[key]; taken {
		return fmt.Errorf("%s is there twice, written in two ways; keep one of them", wording.Quote(key))
	}
	rule.Accounts[key] = limit
	return nil
}

// rateKey returns a limit's key in the form in which messages have it: an address
// of an alternate domain counts for ours.
func (r *reader) rateKey(text string, by rate.By) (string, error) {
	p := r.config.Rules
	switch by {
	case rate.ByUser:
		if text == "" || len(text) > mail.MaxAddress || document.Printable(text) != text {
			return "", fmt.Errorf("%s is not a login; write it as users log in with it", wording.Quote(text))
		}
		return strings.ToLower(text), nil
	case rate.BySenderDomain:
		name, err := domainName(text)
		return p.Routes.Home(mail.Address{Domain: name}).Domain, err
	}
	if err := refuseHidden(text, "an address"); err != nil {
		return "", err
	}
	if strings.HasPrefix(text, "@") {
		return "", fmt.Errorf("%s is a domain, and the rule counts by %s; write whole addresses, or count by sender_domain", wording.Quote(text), by)
	}
	a, err := mail.ParseAddress(text, p.Delimiters)
	switch {
	case err != nil || a.IsNull() || a.Domain == "":
		return "", fmt.Errorf(`%s is not an address; write it like "news@example.com"`, wording.Quote(text))
	case a.Owner != a.Key:
		return "", fmt.Errorf("%s is a subaddress, and all of an owner's count together; write it as %s", wording.Quote(text), wording.Quote(a.Owner))
	}
	return p.Routes.Home(a).Owner, nil
}

// column reads the name of the directory's column with accounts' own limits. A
// client has no row there, and a domain has many.
func (r *reader) column(t *schema.Table, by rate.By) string {
	text, said := schema.Said[string](t, "column")
	name := strings.ToLower(text)
	switch {
	case !said:
		return ""
	case by == rate.ByClient || by == rate.BySenderDomain:
		t.Fail("column", "has no meaning for a rule by %s, which has no row in the directory; say it in overrides", by)
	case slices.Contains([]string{"address", "residence", "login", "target", route.KindColumn, route.ReportToColumn}, name):
		t.Fail("column", "%s is a column with a meaning of its own; name one of numbers, like %q", wording.Quote(text), "hourly")
	case strings.Trim(name, " ") != name || name == "" || document.Printable(name) != name:
		t.Fail("column", "%s is not the name of a column; it would be a word of the file's first line, like %q", wording.Quote(text), "hourly")
	case len(r.config.Directories) == 0:
		t.Fail("column", "has no effect: no domain has a directory; take it out")
	}
	return name
}

// isRated reports that some rule is for a point.
func (r *reader) isRated(point verdict.Checkpoint) bool {
	return slices.ContainsFunc(r.rates, func(one rateTable) bool {
		return !one.Has("checkpoints") || slices.ContainsFunc(schema.Value[[]schema.Item](one.Table, "checkpoints"), func(i schema.Item) bool { return i.Value == point.String() })
	})
}

// placeRates says of each rule at which points it counts, and hands the rules to
// the policy. The checks of all points are known.
func (r *reader) placeRates() {
	var making []verdict.Checkpoint
	for _, point := range allPoints {
		if r.config.Rules.Points[point].Makes(verdict.CheckRate) {
			making = append(making, point)
		}
	}
	var columns []string
	for _, one := range r.rates {
		rule := one.rule
		if rule.Points = making; one.Has("checkpoints") {
			rule.Points = r.pointsOf(one, making)
		}
		switch {
		case len(rule.Points) == 0 && !one.Has("checkpoints"):
			r.note("[[rate]] %s has no effect: no contact point makes the check rate", wording.Quote(rule.Name))
		case len(rule.Points) > 0 && rule.By == rate.ByUser && !slices.ContainsFunc(rule.Points, hasUsers):
			r.note("[[rate]] %s counts nobody: no user is logged in at S0 and S1, save at a listener that says so; count by client or by sender there",
				wording.Quote(rule.Name))
		}
		if rule.Column != "" {
			columns = append(columns, rule.Column)
		}
		r.config.Rules.Rates = append(r.config.Rules.Rates, rule)
	}
	slices.Sort(columns)
	columns = slices.Compact(columns)
	for i := range r.config.Directories {
		r.config.Directories[i].Limits = columns
	}
}

// hasUsers reports that mail of clients that are logged in comes past a point.
func hasUsers(p verdict.Checkpoint) bool { return p != verdict.S0 && p != verdict.S1 }

// pointsOf returns the points that a rule names.
func (r *reader) pointsOf(one rateTable, making []verdict.Checkpoint) []verdict.Checkpoint {
	return schema.Each(&r.Reader, schema.Value[[]schema.Item](one.Table, "checkpoints"), func(text string) (verdict.Checkpoint, error) {
		point, err := parsePoint(text)
		if err == nil && !slices.Contains(making, point) {
			return verdict.Undecided, fmt.Errorf(`%s does not make the check rate; add "rate" to checks of [checkpoint.%s], or take %s out`, point, point, wording.Quote(text))
		}
		return point, err
	}, schema.Refused)
}
