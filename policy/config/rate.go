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
	"coexistd/policy/config/quantity"
	"coexistd/policy/config/wording"
	"coexistd/policy/mail"
	"coexistd/policy/networks"
	"coexistd/policy/rate"
	"coexistd/policy/verdict"
)

// Bounds of [[rate]]. Each message asks all rules that fit it, and those by
// recipient once for each.
const (
	maxRates          = 50
	maxRecipientRates = 10
	maxLimit          = int64(1_000_000_000_000)
	maxOverrides      = 10_000 // of all rules together
)

const likeRuleName = `the log and the limit's keys name the rule, so write one like "per user"`

// rateTable is one rule while the file is read.
type rateTable struct {
	*table
	rule rate.Rule
}

// readRates reads [[rate]], save for the points at which each rule counts.
func (r *reader) readRates(t *table) {
	first := make(map[string]place)
	overrides, byRecipient := 0, 0
	all := t.array("rate")
	if !t.atMost("rate", maxRates, len(all), "rules") {
		return
	}
	for _, one := range all {
		entry := rateTable{one.readSection(), r.rate(one, first)}
		r.rates = append(r.rates, entry)
		overrides += len(entry.rule.Accounts) + entry.rule.Networks.Len()
		if entry.rule.By == rate.ByRecipient {
			byRecipient++
		}
	}
	t.atMost("rate", maxRecipientRates, byRecipient, "rules by recipient")
	t.atMost("rate", maxOverrides, overrides, "overrides")
}

func (r *reader) rate(t *table, first map[string]place) rate.Rule {
	rule := rate.Rule{
		Name:    t.uniqueName(first, likeRuleName),
		By:      value[rate.By](t, "by"),
		Count:   value[rate.Unit](t, "count"),
		Per:     int64(cmp.Or(value[time.Duration](t, "per"), time.Hour) / time.Second),
		OnLimit: value[verdict.Verdict](t, "on_limit"),
		OnError: value[rate.OnError](t, "on_error"),
	}
	t.amounts(&rule)
	if t.has("on_error") && r.config.Redis == nil {
		t.fail("on_error", "has no effect: without [redis], limits are in this process's memory, which always answers; take it out, or add [redis] with its addresses")
	}
	t.overrides(&rule)
	rule.Column = t.column(rule.By)
	return rule
}

// amounts reads the limit and the burst. A limiter remembers a key until its burst
// has come back, which bounds the time for that.
func (t *table) amounts(rule *rate.Rule) {
	limit, limited := t.amount("limit", rule.Count)
	burst, said := t.amount("burst", rule.Count)
	rule.Limit, rule.Burst = max(1, limit), max(1, limit)
	if said {
		rule.Burst = burst
	}
	days := float64(rule.Burst) / float64(rule.Limit) * float64(rule.Per) / 86400
	if limited && said && days > maxPer.Hours()/24 {
		t.fail("burst", "takes %.0f days to come back at %d in %s; at most %.0f are possible, so lower it",
			days, limit, quantity.Durations.Text(rule.Per*int64(time.Second)), maxPer.Hours()/24)
	}
}

// amount reads how much may come. Bytes can be written as a size.
func (t *table) amount(name string, count rate.Unit) (amount int64, ok bool) {
	value, said := t.entries[name]
	if !said {
		return 0, false
	}
	amount, err := parseAmount(value, count)
	if err != nil {
		t.fail(name, "%v", err)
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
		return 0, fmt.Errorf("is %s; it must be %s", describe(value), want)
	}
	if amount < 1 || amount > maxLimit {
		return 0, fmt.Errorf("%d is out of range; it must be %s", amount, want)
	}
	return amount, nil
}

// overrides reads the limits that hold for some keys and networks.
func (t *table) overrides(rule *rate.Rule) {
	if _, said := said[map[string]any](t, "overrides"); !said {
		return
	}
	all := t.section("overrides")
	rule.Accounts = make(map[string]int64)
	ofNetworks := make(map[netip.Prefix]int64)
	for _, written := range slices.Sorted(maps.Keys(all.entries)) {
		if all.refuseCut(written) {
			continue
		}
		limit := rate.Unlimited
		if all.entries[written] != "unlimited" {
			var err error
			if limit, err = parseAmount(all.entries[written], rule.Count); err != nil {
				all.fail(written, `%v; or "unlimited"`, err)
				continue
			}
		}
		if err := t.r.override(rule, ofNetworks, written, limit); err != nil {
			all.fail(written, "%v", err)
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
func (t *table) column(by rate.By) string {
	text, said := said[string](t, "column")
	name := strings.ToLower(text)
	switch {
	case !said:
		return ""
	case by == rate.ByClient || by == rate.BySenderDomain:
		t.fail("column", "has no meaning for a rule by %s, which has no row in the directory; say it in overrides", by)
	case name == "address" || name == "residence" || name == "login":
		t.fail("column", "%s is a column with a meaning of its own; name one of numbers, like %q", wording.Quote(text), "hourly")
	case strings.Trim(name, " ") != name || name == "" || document.Printable(name) != name:
		t.fail("column", "%s is not the name of a column; it would be a word of the file's first line, like %q", wording.Quote(text), "hourly")
	case len(t.r.config.Directories) == 0:
		t.fail("column", "has no effect: no domain has a directory; take it out")
	}
	return name
}

// isRated reports that some rule is for a point.
func (r *reader) isRated(point verdict.Checkpoint) bool {
	return slices.ContainsFunc(r.rates, func(one rateTable) bool {
		return !one.has("checkpoints") || slices.ContainsFunc(value[[]item](one.table, "checkpoints"), func(i item) bool { return i.value == point.String() })
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
		if rule.Points = making; one.has("checkpoints") {
			rule.Points = one.pointsOf(making)
		}
		switch {
		case len(rule.Points) == 0 && !one.has("checkpoints"):
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
func (one rateTable) pointsOf(making []verdict.Checkpoint) []verdict.Checkpoint {
	return each(one.r, value[[]item](one.table, "checkpoints"), alone(func(text string) (verdict.Checkpoint, error) {
		point, err := parsePoint(text)
		if err == nil && !slices.Contains(making, point) {
			return verdict.Undecided, fmt.Errorf(`%s does not make the check rate; add "rate" to checks of [checkpoint.%s], or take %s out`, point, point, wording.Quote(text))
		}
		return point, err
	}), refused)
}
