package networks

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"strings"

	"coexistd/policy/networks"
)

const (
	// maxReckoned bounds what is counted of each term.
	maxReckoned = 50
	// maxTerms bounds the terms of a record that are looked at.
	maxTerms = 200
)

// Reckoning is what a text for SPF costs those who check it, and whom it lets send.
type Reckoning struct {
	// Terms are the record's own, in their order. What stands behind "all" is not among them.
	Terms []Term
	// Rest are the modifiers that name nobody, as they stand.
	Rest []string
}

// Term is one term of a record.
type Term struct {
	// Text is the term as it stands, and Kind its name in lower case: "ip4", "include", "all".
	Text, Kind string
	// Domain is the one that it names, in normal form; empty: the record's own.
	Domain string
	// Pass says that it lets those send whom it matches: Networks, sorted.
	Pass     bool
	Networks []netip.Prefix
	// Lookups and Void are what it costs, at the least where Err or Unlisted is set: terms that
	// ask the DNS, and those among them that may find nothing.
	Lookups, Void int
	// Unlisted says that it stands for no list of networks: what it matches depends on the message.
	Unlisted bool
	// Err says why a receiver cannot use it, and so nothing of the record.
	Err error
}

// Lookups and Void are what all terms together cost a receiver whom none of them matches.
func (r *Reckoning) Lookups() (sum int) {
	for _, t := range r.Terms {
		sum += t.Lookups
	}
	return sum
}

// Void counts the terms that may find nothing. See Lookups.
func (r *Reckoning) Void() (sum int) {
	for _, t := range r.Terms {
		sum += t.Void
	}
	return sum
}

// Err is the first mistake, or that the record goes beyond the limits of RFC 7208.
func (r *Reckoning) Err() error {
	for _, t := range r.Terms {
		if t.Err != nil {
			return t.Err
		}
	}
	switch {
	case r.Lookups() > MaxLookups:
		return fmt.Errorf("it takes %d lookups in the DNS, and %d are the most (RFC 7208 section 4.6.4)", r.Lookups(), MaxLookups)
	case r.Void() > MaxVoid:
		return fmt.Errorf("%d of its lookups may find nothing, and %d are the most (RFC 7208 section 4.6.4)", r.Void(), MaxVoid)
	}
	return nil
}

// Passes are the networks from which the record lets send, as far as it has no mistakes.
func (r *Reckoning) Passes() networks.Set {
	var list []netip.Prefix
	var out networks.Set
	for _, t := range r.Terms {
		if !t.Pass {
			out = out.With(t.Networks...)
			continue
		}
		for _, prefix := range t.Networks {
			list = append(list, without(prefix, out)...)
		}
	}
	return networks.SetOf(list...)
}

// IsSPF reports a TXT record that is one for SPF (RFC 7208 section 4.5).
func IsSPF(text string) bool { return isSPF(text) }

// Reckon tells what each term of a text for which IsSPF holds costs and whom it lets send, as
// a record of a domain, whatever a receiver would make of it. Unlike Flatten it goes on behind
// a mistake and past the limits, so that it can be told which terms are to blame.
func Reckon(ctx context.Context, resolver Resolver, domain, text string) *Reckoning {
	var r Reckoning
	fields := strings.FieldsFunc(text[len("v=spf1"):], func(c rune) bool { return c == ' ' })
	if len(text) > maxRecord || len(fields) > maxTerms {
		r.Terms = []Term{{Err: fmt.Errorf("the record has %d bytes and %d terms, and %d and %d are the most that is read", len(text), len(fields), maxRecord, maxTerms)}}
		return &r
	}
	ended := false
	var redirect []Term
	for _, field := range fields {
		t, err := parseTerm(field)
		switch {
		case err != nil:
			r.Terms = append(r.Terms, Term{Text: field, Err: fmt.Errorf("%.100q is not a term of an SPF record: %w", field, err)})
		case t.kind == "" || t.kind == "exp":
			r.Rest = append(r.Rest, field)
		case t.kind == "redirect" && redirect != nil:
			r.Terms = append(r.Terms, Term{Text: field, Kind: t.kind, Err: errors.New("the record has redirect= twice")})
		case t.kind == "redirect":
			redirect = []Term{reckonTerm(ctx, resolver, domain, t)}
		case !ended:
			r.Terms = append(r.Terms, reckonTerm(ctx, resolver, domain, t))
			ended = t.kind == "all"
		}
	}
	if !ended { // RFC 7208 section 6.1
		r.Terms = append(r.Terms, redirect...)
	}
	return &r
}

// reckonTerm reckons one term of a domain's record.
func reckonTerm(ctx context.Context, resolver Resolver, domain string, t term) Term {
	reckoned := Term{Text: t.text, Kind: t.kind, Domain: t.domain, Pass: t.pass, Unlisted: t.unlisted()}
	if t.kind == "all" {
		if t.pass {
			reckoned.Err = errors.New("+all lets the whole Internet send")
		}
		return reckoned
	}
	f := flattening{resolver: resolver, maxLookups: maxReckoned, maxVoid: maxReckoned, within: []string{domain}}
	reckoned.Networks, reckoned.Err = f.term(ctx, domain, t)
	reckoned.Lookups, reckoned.Void = f.lookups, f.void+f.mayBeVoid
	reckoned.Unlisted = reckoned.Unlisted || len(f.skipped) > 0
	return reckoned
}
