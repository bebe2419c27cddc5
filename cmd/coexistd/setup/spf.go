package setup

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"coexistd/cmd/coexistd/zone"
	"coexistd/policy/mail"
	"coexistd/policy/networks"
	scanned "coexistd/scanners/networks"
)

const (
	// mostInlined is how many addresses may stand in the place of an "a" or "mx" when lookups
	// are too many.
	mostInlined = 4
	// longRecord is the length in bytes from which on an answer may not fit a packet
	// (RFC 7208 section 3.4).
	longRecord = 450
)

// SPF is the one record for SPF that a domain should have.
type SPF struct {
	// Text is the record; empty: none can be said, and Err says why, and what to do first.
	Text string
	Err  error
	// Published says that just this record is published.
	Published bool
	// Notes say what was added to what is published, what was taken out of it and why.
	Notes []string
}

// SPF merges what is published for a domain with what its senders need, and leaves out what only
// those who leave need. It gives no record in part, none that a receiver could not use, and
// none while it is not known what its lookups come to.
func (s *Site) SPF(domain string, senders, leaving []Sender) SPF {
	records := s.DNS[domain]
	if records.Err != nil {
		return SPF{Err: fmt.Errorf("what is published is not known: %w; run this again when the DNS answers", records.Err)}
	}
	m := merging{dns: s.DNS, domain: domain}
	published := records.SPF()
	for _, text := range published {
		if err := m.add(text, len(published) > 1); err != nil {
			return SPF{Err: err}
		}
	}
	if len(published) > 1 {
		m.note("%d records are published, so that receivers use none of them: this one takes the place of all", len(published))
	}
	if err := m.need(senders); err != nil {
		return SPF{Err: err}
	}
	m.drop(senders, leaving)
	m.shorten()
	text := m.text()
	reckoned := s.DNS.Reckon(domain, text)
	switch err := reckoned.Err(); {
	case zone.IsUnknown(err):
		return SPF{Err: unknown(err)}
	case err != nil:
		return SPF{Err: m.tooMuch(reckoned, err)}
	}
	if len(text) > longRecord {
		m.note("the record has %d bytes; from %d on an answer may not fit a packet of the DNS (RFC 7208 section 3.4)", len(text), longRecord)
	}
	for _, t := range reckoned.Terms {
		if t.Unlisted && t.Lookups > 0 && (t.Kind == "include" || t.Kind == "redirect") {
			m.note("what %s stands for depends on the message, so that it may take more lookups than are counted here", mail.Printable(t.Text))
		}
	}
	m.note("%d of %d lookups", reckoned.Lookups(), scanned.MaxLookups)
	return SPF{Text: text, Notes: m.notes, Published: len(published) == 1 && published[0] == text}
}

func unknown(err error) error {
	return fmt.Errorf("how many lookups it takes is not known: %w; run this again when the DNS answers", err)
}

// merging is one call of Site.SPF.
type merging struct {
	dns    zone.Answers
	domain string
	terms  []scanned.Term // without the end
	needed []string       // of terms, those that a sender needs
	rest   []string
	end    string // "-all", "redirect=example.com", or empty
	notes  []string
}

func (m *merging) note(format string, args ...any) {
	m.notes = append(m.notes, fmt.Sprintf(format, args...))
}

// add adds the terms of a published record: of one among several a redirect as what it is to
// those, an include. The error says that the DNS does not tell of what it names.
func (m *merging) add(text string, several bool) error {
	reckoned := m.dns.Reckon(m.domain, text)
	for _, t := range reckoned.Terms {
		shown := mail.Printable(t.Text)
		switch {
		case zone.IsUnknown(t.Err):
			return unknown(fmt.Errorf("%s: %w", shown, t.Err))
		case t.Kind == "all" && t.Err != nil:
			m.end = cmp.Or(m.end, "~all")
			m.note("%s is gone: it lets the whole Internet send", shown)
		case t.Kind == "all":
			m.end = cmp.Or(m.end, t.Text)
		case t.Err != nil:
			m.note("%s is gone, since no receiver can use a record with it: %v", shown, t.Err)
		case t.Kind == "redirect" && several:
			m.terms = append(m.terms, m.dns.Reckon(m.domain, "v=spf1 include:"+t.Domain).Terms...)
		case t.Kind == "redirect":
			m.end = t.Text
			m.rest = append(m.rest, reckoned.Rest...)
			return nil
		case !slices.ContainsFunc(m.terms, func(o scanned.Term) bool { return strings.EqualFold(o.Text, t.Text) }):
			m.terms = append(m.terms, t)
		}
	}
	if !several {
		m.rest = append(m.rest, reckoned.Rest...)
	}
	return nil
}

// need adds what senders need and is not there, before all else. The error says what is not
// known of one of them.
func (m *merging) need(senders []Sender) error {
	var added []scanned.Term
	for _, sender := range senders {
		if sender.Err != nil {
			return sender.Err
		}
		m.needed = append(m.needed, sender.Terms...)
		for _, one := range sender.Terms {
			if lets(m.dns, m.domain, m.passes(), []string{one}) {
				continue
			}
			terms := m.dns.Reckon(m.domain, "v=spf1 "+one).Terms
			switch err := terms[0].Err; {
			case zone.IsUnknown(err):
				return unknown(err)
			case err != nil:
				return fmt.Errorf("%s, which %s needs, cannot be used: %w", one, cmp.Or(sender.Name, "this host"), err)
			case len(terms[0].Networks) == 0:
				return fmt.Errorf("%s, which %s needs, stands for no network", one, cmp.Or(sender.Name, "this host"))
			}
			// It may stand behind one that takes it out.
			m.terms = slices.DeleteFunc(m.terms, func(t scanned.Term) bool { return strings.EqualFold(t.Text, one) })
			added = append(added, terms...)
			m.note("%s is new: from there %s sends", one, cmp.Or(sender.Name, "this host"))
		}
	}
	m.terms = append(added, m.terms...)
	return nil
}

// passes are the networks from which the terms let send, wherever the MX goes.
func (m *merging) passes() networks.Set {
	terms := slices.DeleteFunc(slices.Clone(m.terms), func(t scanned.Term) bool { return t.Kind == "mx" && t.Pass })
	return (&scanned.Reckoning{Terms: terms}).Passes()
}

// drop takes out the terms that stand for nothing but networks of those who leave, unless those
// who stay need them.
func (m *merging) drop(senders, leaving []Sender) {
	var theirs []netip.Prefix
	for _, sender := range leaving {
		for _, t := range m.dns.Reckon(m.domain, "v=spf1 "+strings.Join(sender.Terms, " ")).Terms {
			theirs = append(theirs, t.Networks...)
		}
	}
	set := networks.SetOf(theirs...)
	m.terms = slices.DeleteFunc(m.terms, func(t scanned.Term) bool {
		gone := len(t.Networks) > 0 && !slices.ContainsFunc(t.Networks, func(n netip.Prefix) bool { return !set.Holds(n) }) &&
			!slices.Contains(m.needed, strings.TrimPrefix(t.Text, "+"))
		if gone {
			m.note("%s is gone: nobody sends from there any longer", mail.Printable(t.Text))
		}
		return gone
	})
}

// shorten takes out what costs lookups and lets nobody send whom the others do not, and then
// writes hosts as their addresses, until there are no more lookups than may be.
func (m *merging) shorten() {
	for _, way := range []func(int) []scanned.Term{m.empty, m.covered, m.inlined} {
		for i := len(m.terms) - 1; i >= 0; i-- {
			reckoned := m.dns.Reckon(m.domain, m.text())
			if reckoned.Lookups() <= scanned.MaxLookups && reckoned.Void() <= scanned.MaxVoid {
				return
			}
			if m.terms[i].Lookups > 0 {
				m.terms = slices.Concat(m.terms[:i], way(i), m.terms[i+1:])
			}
		}
	}
}

// empty returns what stands in the place of a term that finds nothing: nothing.
func (m *merging) empty(i int) []scanned.Term {
	t := m.terms[i]
	if t.Unlisted || len(t.Networks) > 0 || t.Kind != "a" && t.Kind != "mx" {
		return []scanned.Term{t}
	}
	m.note("%s is gone: it finds nothing", mail.Printable(t.Text))
	return nil
}

// covered returns nothing in the place of a term from whose networks the others let send.
func (m *merging) covered(i int) []scanned.Term {
	t := m.terms[i]
	others := scanned.Reckoning{Terms: slices.Concat(m.terms[:i], m.terms[i+1:])}
	passes := others.Passes()
	if !t.Pass || t.Unlisted || slices.Contains(m.needed, t.Text) || slices.ContainsFunc(t.Networks, func(n netip.Prefix) bool { return !passes.Holds(n) }) {
		return []scanned.Term{t}
	}
	m.note("%s is gone, to save lookups: the others let send whom it lets", mail.Printable(t.Text))
	return nil
}

// inlined returns the addresses that a term stands for.
func (m *merging) inlined(i int) []scanned.Term {
	t := m.terms[i]
	if !t.Pass || t.Unlisted || len(t.Networks) == 0 || len(t.Networks) > mostInlined || t.Kind != "a" && t.Kind != "mx" {
		return []scanned.Term{t}
	}
	var terms []string
	for _, network := range t.Networks {
		terms = append(terms, term(network))
	}
	m.note("%s is written as %s, to save lookups; change it when the addresses do", mail.Printable(t.Text), strings.Join(terms, " "))
	return m.dns.Reckon(m.domain, "v=spf1 "+strings.Join(terms, " ")).Terms
}

// text is the record as it stands so far. Where nothing is said of those whom it does not name,
// they are told to fail softly.
func (m *merging) text() string {
	words := []string{"v=spf1"}
	for _, t := range m.terms {
		words = append(words, t.Text)
	}
	words = append(words, cmp.Or(m.end, "~all"))
	seen := make(map[string]bool)
	for _, text := range m.rest {
		name, _, _ := strings.Cut(strings.ToLower(text), "=")
		if !seen[name] {
			words = append(words, text)
		}
		seen[name] = true
	}
	return strings.Join(words, " ")
}

// tooMuch says what a record costs that no receiver would use, and what to take out.
func (m *merging) tooMuch(reckoned *scanned.Reckoning, why error) error {
	terms := slices.DeleteFunc(slices.Clone(reckoned.Terms), func(t scanned.Term) bool { return t.Lookups == 0 && t.Err == nil })
	slices.SortStableFunc(terms, func(a, b scanned.Term) int { return cmp.Compare(b.Lookups, a.Lookups) })
	var costs, out []string
	over := reckoned.Lookups() - scanned.MaxLookups
	for _, t := range terms {
		shown := mail.Printable(t.Text)
		costs = append(costs, fmt.Sprintf("%s %d", shown, t.Lookups))
		if over > 0 && !slices.Contains(m.needed, strings.TrimPrefix(t.Text, "+")) {
			out = append(out, shown)
			over -= t.Lookups
		}
	}
	do := "none of the published terms can help: the senders that the configuration has need too many"
	if over <= 0 {
		do = "take out of the published record " + strings.Join(out, ", ") + ", or what costs as much: who does not send any more; who can send in a subdomain's name, with a record of its own; or write networks in the place of names (ip4:, ip6:)"
	}
	return fmt.Errorf("no record can be given: with all who send, %w. Their lookups: %s. Do this first, then run this again: %s", why, strings.Join(costs, ", "), do)
}
