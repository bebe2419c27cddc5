package ldap

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	goldap "github.com/go-ldap/ldap/v3"

	"coexistd/milter/sources"
	"coexistd/policy/mail"
)

// What a server may have us hold.
const (
	maxRows   = 10_000_000 // rows, entries, members of groups
	maxValue  = 64 << 10   // bytes of a value, or of a DN
	maxValues = 10_000     // values of an attribute
)

// mapping makes rows of entries.
type mapping struct {
	o      Options
	kinds  []meaning
	values []meaning // of Residence.Attribute
	groups *groups
	wanted []string // the attributes to ask for, in lower case
}

func newMapping(o Options) *mapping {
	m := &mapping{o: o, groups: newGroups(o.Residence)}
	for _, c := range o.Kinds {
		kind, _ := newMeaning(c) // complete has looked at it
		m.kinds = append(m.kinds, kind)
	}
	for _, c := range o.Residence.Values {
		residence, _ := newMeaning(c)
		m.values = append(m.values, residence)
	}
	names := slices.Concat(o.Address, o.Aliases, o.Login, o.Target, slices.Collect(maps.Values(o.Further)))
	if len(o.Kinds) > 0 {
		names = append(names, o.Kind...)
	}
	if len(o.Residence.Values) > 0 {
		names = append(names, o.Residence.Attribute)
	}
	if len(o.Residence.Groups) > 0 && !o.Residence.Nested {
		names = append(names, memberOf)
	}
	for _, name := range names {
		if name = strings.ToLower(name); name != "" && !slices.Contains(m.wanted, name) {
			m.wanted = append(m.wanted, name)
		}
	}
	slices.Sort(m.wanted)
	return m
}

// values are those of an entry, by the names of its attributes in lower case. They are
// sorted, since a server keeps them in no order.
type values map[string][]string

// first returns the first of an attribute's values, or "".
func (v values) first(attribute string) string {
	if all := v[strings.ToLower(attribute)]; len(all) > 0 {
		return all[0]
	}
	return ""
}

// all goes through the values of several attributes.
func (v values) all(attributes []string) (all []string) {
	for _, name := range attributes {
		all = append(all, v[strings.ToLower(name)]...)
	}
	return all
}

// checkNames refuses an attribute that nobody asked for: a server sends what was asked for
// by a second name, such as rfc822Mailbox, under the first, and its values would be missing.
func checkNames(e *goldap.Entry, wanted []string) error {
	for _, a := range e.Attributes {
		name, _, _ := strings.Cut(a.Name, ";")
		if len(a.Values) > 0 && !slices.Contains(wanted, strings.ToLower(name)) {
			return fmt.Errorf("it calls an attribute %q that was not asked for by that name; name it so, in place of one of %s",
				name, strings.Join(wanted, ", "))
		}
	}
	return nil
}

// gather takes the values of the wanted attributes from what a server has sent. An
// attribute may come in several languages, "mail;lang-de" beside "mail"; all count.
func gather(e *goldap.Entry, wanted []string) (values, error) {
	if len(e.DN) > maxValue {
		return nil, fmt.Errorf("it sent an entry whose DN has %d bytes; at most %d are read", len(e.DN), maxValue)
	}
	v := make(values, len(wanted))
	for _, a := range e.Attributes {
		name, options, _ := strings.Cut(strings.ToLower(a.Name), ";")
		if !slices.Contains(wanted, name) {
			continue
		}
		// So Active Directory sends the first 1,500 of many values.
		if strings.Contains(";"+options, ";range=") {
			return nil, fmt.Errorf("%s has so many values of %s that the server sends a part of them only", e.DN, name)
		}
		if len(v[name])+len(a.Values) > maxValues {
			return nil, fmt.Errorf("%s has more than %d values of %s", e.DN, maxValues, name)
		}
		for _, value := range a.Values {
			if len(value) > maxValue {
				return nil, fmt.Errorf("%s has a value of %s with %d bytes; at most %d are read", e.DN, name, len(value), maxValue)
			}
			if value = strings.TrimSpace(value); value != "" {
				v[name] = append(v[name], value)
			}
		}
	}
	for _, several := range v {
		slices.Sort(several)
	}
	return v, nil
}

// rows makes the rows of an entry: one for each of its addresses, the same but for that.
func (m *mapping) rows(dn string, v values) []sources.Row {
	var addresses []string
	seen := make(map[string]bool)
	for _, value := range v.all(slices.Concat(m.o.Address, m.o.Aliases)) {
		address, isOurs := m.ours(value)
		if key := strings.ToLower(address); isOurs && !seen[key] {
			seen[key] = true
			addresses = append(addresses, address)
		}
	}
	if len(addresses) == 0 {
		return nil
	}
	row := sources.Row{Origin: dn, Login: m.login(v), Kind: firstMeaning(m.kinds, v.all(m.o.Kind))}
	target, platform := m.target(v)
	if row.Residence = m.residence(dn, v, target, platform); row.Residence != here {
		row.Target = target
	}
	if len(m.o.Further) > 0 {
		row.Further = make(map[string]string, len(m.o.Further))
		for column, attribute := range m.o.Further {
			row.Further[column] = v.first(attribute)
		}
	}
	rows := make([]sources.Row, len(addresses))
	for i, address := range addresses {
		rows[i] = row
		rows[i].Address = address
	}
	return rows
}

const here = "here"

// ours takes the address from a value, and reports that it makes a row. What has a domain
// that cannot be one may be meant to be ours, so that whoever judges the row can say so.
func (m *mapping) ours(value string) (address string, ours bool) {
	address, isMail := withoutPrefix(value)
	at := strings.LastIndexByte(address, '@')
	if !isMail || at < 0 {
		return "", false
	}
	domain := address[at+1:]
	if m.o.Keep == nil || mail.IsLiteral(domain) {
		return address, m.o.Keep == nil
	}
	normal := mail.DomainOf(domain)
	return address, normal == "" || m.o.Keep(normal)
}

// withoutPrefix drops the "SMTP:" before an address, and reports that no other such word
// stands there, which says that the value is no mail address.
func withoutPrefix(value string) (address string, isMail bool) {
	word, rest, found := strings.Cut(value, ":")
	if !found || !mail.IsName(word, "-_") {
		return value, true
	}
	return strings.TrimSpace(rest), strings.EqualFold(word, "smtp")
}

// login returns all names that may log in as the entry, with spaces between them.
func (m *mapping) login(v values) string {
	var logins []string
	seen := make(map[string]bool)
	for _, name := range v.all(m.o.Login) {
		if !seen[name] && len(strings.Fields(name)) == 1 {
			seen[name], logins = true, append(logins, name)
		}
	}
	return strings.Join(logins, " ")
}

// target returns the entry's target, and the platform that it reaches, which is "" for none
// that is known.
func (m *mapping) target(v values) (target, platform string) {
	for _, value := range v.all(m.o.Target) {
		address, isMail := withoutPrefix(value)
		at := strings.LastIndexByte(address, '@')
		if !isMail || at < 0 {
			continue
		}
		if platforms := m.o.Residence.Platforms; platforms != nil {
			if domain := mail.DomainOf(address[at+1:]); domain != "" {
				platform = platforms(domain)
			}
		}
		if platform != "" {
			return address, platform
		}
		if target == "" {
			target = address
		}
	}
	return target, ""
}

// residence returns where the entry says that its mailbox lives.
func (m *mapping) residence(dn string, v values, target, platform string) string {
	r := m.o.Residence
	if said := firstMeaning(m.values, v[strings.ToLower(r.Attribute)]); said != "" {
		return said
	}
	if platform != "" {
		return platform
	}
	if said := m.groups.residence(dn, v[memberOf]); said != "" {
		return said
	}
	if target != "" && r.Platforms != nil {
		return here
	}
	return r.Default
}
