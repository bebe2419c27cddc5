package config

import (
	"cmp"
	"errors"
	"fmt"
	"net/netip"
	"path/filepath"
	"slices"
	"strings"
	"unicode"

	"coexistd/policy/config/files"
	"coexistd/policy/config/mistakes"
	"coexistd/policy/config/schema"
	"coexistd/policy/config/wording"
	"coexistd/policy/networks"
)

// network is one range of clients with what an error about it needs.
type network struct {
	prefix netip.Prefix
	owner  string // its platform's or upstream's name; empty: it is ours
	place  mistakes.Place
	ofList bool // only a file has it that "file:PATH" names
}

// readNetworks reads a list of networks: a platform's, an upstream's, or ours, which stand at
// the top.
func (r *reader) readNetworks(t *schema.Table, name string) []netip.Prefix {
	owner, ours := t.Name, t.Place.Key == ""
	var all []netip.Prefix
	seen := make(map[netip.Prefix]int) // the index in r.networks
	add := func(prefix netip.Prefix, at mistakes.Place, ofList bool) {
		if i, twice := seen[prefix]; twice {
			r.networks[i].ofList = r.networks[i].ofList && ofList
			return
		}
		seen[prefix] = len(r.networks)
		all = append(all, prefix)
		r.networks = append(r.networks, network{prefix, owner, at, ofList})
	}
	for _, one := range schema.Value[[]schema.Item](t, name) {
		path, isFile := strings.CutPrefix(one.Value, "file:")
		_, isSPF := strings.CutPrefix(one.Value, "spf:")
		switch {
		case ours && (isFile || isSPF):
			r.Fail(one.Place, "%s can stand only in a platform's or an upstream's networks; list CIDRs and addresses here", wording.Quote(one.Value))
		case isSPF:
			r.spfSource(owner, one)
		case isFile:
			r.names(one.Key, r.path(path), false)
			r.source(owner, "file", r.path(path), one)
			for _, prefix := range r.networkFile(path, one.Place) {
				add(prefix, one.Place, true)
			}
		default:
			prefix, err := readNetwork(one.Value, ours)
			if err != nil {
				r.Fail(one.Place, "%v", err)
				continue
			}
			add(prefix, one.Place, false)
			if !ours {
				r.config.Listed[owner] = append(r.config.Listed[owner], prefix)
			}
		}
	}
	return all
}

// readNetwork reads a network of a list. For a name in the list of a platform or an upstream, the error says
// how the networks of that name are listed.
func readNetwork(text string, ours bool) (netip.Prefix, error) {
	prefix, err := networks.ParsePrefix(text)
	if err != nil && !ours && mayBeHost(text) {
		err = fmt.Errorf(`%s is a name; write "spf:%s" for the networks that its SPF record names`, wording.Quote(text), text)
	}
	return prefix, err
}

// mayBeHost reports a name with a dot that is no address with octets missing.
func mayBeHost(text string) bool {
	name, err := domainName(text)
	return err == nil && strings.Contains(name, ".") && !unicode.IsDigit(rune(name[len(name)-1]))
}

// networkFile reads the networks of a file: one a line, or Microsoft's list.
// Mistakes in the file are shown at its own lines.
func (r *reader) networkFile(name string, at mistakes.Place) []netip.Prefix {
	path := r.path(name)
	at.Kind = mistakes.OfList
	text, _, err := files.Read(path, maxFile)
	if err != nil {
		r.Fail(at, "%s %v; write the path of a file with one CIDR a line, or of Microsoft's list of endpoints", wording.Quote(path), err)
		return nil
	}
	inFile := mistakes.Place{File: name, Key: at.Key, Kind: mistakes.OfList}
	if !filepath.IsAbs(name) {
		inFile.File = filepath.Join(filepath.Dir(r.file), name)
	}
	found, mistakes := networks.Parse(text)
	for _, m := range mistakes {
		inFile.Line = m.Line
		r.Fail(inFile, "%s", m.Problem)
	}
	switch {
	case len(mistakes) > 0:
	case len(found) == 0:
		r.Fail(at, "%s holds no network; it needs one CIDR a line", wording.Quote(path))
	default:
		if err := networks.Bounded(networks.Normal(found)); err != nil {
			r.Fail(at, "%s is not taken: %v; take out what is not the platform's, or list wider networks here, without a file", wording.Quote(path), err)
			return nil
		}
	}
	return found
}

// refuseOverlaps refuses networks of two owners that have an address in common and may
// not. CIDRs that overlap lie within each other, so sorting brings each one behind those
// that it lies in. Where one of the two comes from a file that "file:PATH" names, the
// mistake is that list's: the file can change at any time.
func (r *reader) refuseOverlaps() {
	slices.SortStableFunc(r.networks, func(a, b network) int {
		return cmp.Or(a.prefix.Addr().Compare(b.prefix.Addr()), cmp.Compare(a.prefix.Bits(), b.prefix.Bits()), cmp.Compare(a.place.Line, b.place.Line))
	})
	var around []network
	for _, n := range r.networks {
		around = slices.DeleteFunc(around, func(outer network) bool { return !outer.prefix.Overlaps(n.prefix) })
		isOthers := func(outer network) bool { return outer.place.Key != n.place.Key && r.mayShare(outer, n) != nil }
		i := slices.IndexFunc(around, func(outer network) bool { return isOthers(outer) && !outer.ofList })
		if i < 0 {
			i = slices.IndexFunc(around, isOthers)
		}
		if i >= 0 {
			r.overlap(n, around[i])
		}
		around = append(around, n)
	}
}

// overlap puts two networks that share an address on record as a mistake, where the
// later of them stands.
func (r *reader) overlap(a, b network) {
	if a.place.Line < b.place.Line {
		a, b = b, a
	}
	at := a.place
	at.Kind = mistakes.OfDomains
	if a.ofList || b.ofList {
		at.Kind = mistakes.OfList
	}
	r.Fail(at, "%s overlaps %s of %s on line %d; %v", a.prefix, b.prefix, b.place.Key, b.place.Line, r.mayShare(b, a))
}

// mayShare tells whether networks of two owners may overlap, of which the first has the second
// within. An upstream's client is one of its own, so that its network may lie within others, but
// none of them within it. The error says what would be right.
func (r *reader) mayShare(around, within network) error {
	if within.prefix.Bits() > around.prefix.Bits() && r.isUpstream(within.owner) && !r.isUpstream(around.owner) {
		return nil
	}
	return r.mayBeBoth(around.owner, within.owner)
}

// mayBeBoth tells whether a client may be of two owners.
func (r *reader) mayBeBoth(a, b string) error {
	const apart = "take the addresses out of one of them"
	switch isUpstream := r.isUpstream(a) || r.isUpstream(b); {
	case (a == "" || b == "") && slices.Contains(r.byMTA, a+b):
		return nil // the gateway's own clients are not its clients' any more
	case a == "" || b == "" || isUpstream:
		return errors.New("a client cannot be both, so " + apart)
	}
	if err := r.config.Rules.Tenants.MayShare(a, b); err != nil {
		return fmt.Errorf("%w, or %s", err, apart)
	}
	return nil
}
