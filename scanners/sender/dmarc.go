package sender

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/net/publicsuffix"

	"coexistd/policy/mail"
	"coexistd/policy/spoof"
	"coexistd/policy/verdict"
)

// dmarc looks up the record that holds for an author domain: its own, or that of
// its organisational domain (RFC 7489 section 6.6.3). A forger chooses the author
// domain, and with it one whose name servers fail, below a domain that has a policy:
// that policy is known all the same.
func (v *Verifier) dmarc(ctx context.Context, domain string) spoof.DMARC {
	found := spoof.DMARC{Domain: domain}
	at := domain
	records, err := v.dmarcRecords(ctx, at)
	unsure := err != nil
	if above := organisational(domain); (unsure || len(records) == 0) && above != domain {
		at = above
		records, err = v.dmarcRecords(ctx, at)
	}
	if err != nil || unsure && (at == domain || len(records) != 1) {
		found.Lookup = spoof.AuthTempError
		return found
	}
	if len(records) != 1 {
		return found // several count for none
	}
	found, err = parseDMARC(records[0])
	found.Domain, found.At, found.Unsure = domain, at, unsure
	if err != nil {
		found.Lookup = spoof.AuthPermError
		return found
	}
	found.Lookup = spoof.AuthPass
	if at != domain && !unsure && found.Nonexistent != found.Subdomains {
		found.Missing, err = v.missing(ctx, domain)
		found.Unsure = err != nil
	}
	return found
}

// organisational returns the domain that is registered below a public suffix
// (RFC 7489 section 3.2), or the domain itself when there is none.
func organisational(domain string) string {
	registered, err := publicsuffix.EffectiveTLDPlusOne(domain)
	if err != nil {
		return domain
	}
	return registered
}

// dmarcRecords returns those of a domain's TXT records that are DMARC's.
func (v *Verifier) dmarcRecords(ctx context.Context, domain string) ([]string, error) {
	texts, err := v.Resolver.LookupTXT(ctx, "_dmarc."+domain)
	if err != nil && !isNotFound(err) {
		return nil, err
	}
	return slices.DeleteFunc(slices.Clone(texts), func(text string) bool {
		version, _, _ := strings.Cut(text, ";")
		return !isDMARC(version)
	}), nil
}

// isDMARC reports the tag that a record begins with (RFC 7489 section 6.4).
func isDMARC(tag string) bool {
	name, value, ok := strings.Cut(tag, "=")
	return ok && strings.TrimRight(name, " \t") == "v" && strings.Trim(value, " \t") == "DMARC1"
}

// missing reports that a domain does not exist as RFC 9091 section 2.7 means it:
// that it has neither an address nor an MX.
func (v *Verifier) missing(ctx context.Context, domain string) (bool, error) {
	if _, err := v.Resolver.LookupIPAddr(ctx, domain); !isNotFound(err) {
		return false, err
	}
	if _, err := v.Resolver.LookupMX(ctx, domain); !isNotFound(err) {
		return false, err
	}
	return true, nil
}

// parseDMARC reads a record for which isDMARC holds (RFC 7489 section 6.3, and
// for np RFC 9091 section 3.2). What it says beside its policies is as good as
// absent when it is wrong (RFC 7489 section 6.3), be it for us or for reports.
func parseDMARC(text string) (spoof.DMARC, error) {
	found := spoof.DMARC{Percent: 100}
	tags, err := dmarcTags(text)
	if err != nil {
		return found, err
	}
	p, err := dmarcPolicy(tags, "p", verdict.Accept, true)
	if err == nil {
		found.Policy = p
		found.Subdomains, err = dmarcPolicy(tags, "sp", p, false)
	}
	if err != nil {
		// RFC 7489 section 6.6.3: a record that asks for reports counts as p=none.
		if !strings.Contains(tags["rua"], ":") {
			return spoof.DMARC{Percent: 100}, err
		}
		found.Policy, found.Subdomains = verdict.Accept, verdict.Accept
	}
	if found.Nonexistent, err = dmarcPolicy(tags, "np", found.Subdomains, false); err != nil {
		found.Nonexistent = found.Subdomains
	}
	if percent, err := strconv.ParseUint(tags["pct"], 10, 8); err == nil && percent <= 100 {
		found.Percent = int(percent)
	}
	found.StrictDKIM = strings.EqualFold(tags["adkim"], "s")
	found.StrictSPF = strings.EqualFold(tags["aspf"], "s")
	return found, nil
}

// dmarcTags takes a record apart, without what is no tag. Names are as they are
// written: RFC 6376 section 3.2 makes their case matter, and two of one name an
// error.
func dmarcTags(text string) (map[string]string, error) {
	tags := map[string]string{}
	for one := range strings.SplitSeq(text, ";") {
		name, value, ok := strings.Cut(one, "=")
		name = strings.Trim(name, " \t")
		if !ok {
			continue
		}
		if _, twice := tags[name]; twice {
			return nil, fmt.Errorf("the tag %q stands twice in the record", mail.Printable(name))
		}
		tags[name] = strings.Trim(value, " \t")
	}
	return tags, nil
}

var dmarcPolicies = map[string]verdict.Verdict{
	"none": verdict.Accept, "quarantine": verdict.Quarantine, "reject": verdict.Reject,
}

// dmarcPolicy reads one of the tags that name a policy.
func dmarcPolicy(tags map[string]string, name string, absent verdict.Verdict, needed bool) (verdict.Verdict, error) {
	value, ok := tags[name]
	if !ok && !needed {
		return absent, nil
	}
	if policy, known := dmarcPolicies[strings.ToLower(value)]; known {
		return policy, nil
	}
	return absent, errors.New("the record's tag " + name + " is not none, quarantine or reject")
}
