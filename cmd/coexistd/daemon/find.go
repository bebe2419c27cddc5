package daemon

import (
	"context"
	"fmt"
	"net/http"

	"coexistd/cmd/coexistd/control"
	"coexistd/milter/sources"
	"coexistd/policy/config"
	"coexistd/policy/directory"
	"coexistd/policy/mail"
	"coexistd/policy/route"
)

// find tells what the daemon has in its memory of an address.
func (d *Daemon) find(_ context.Context, what control.Find) (control.Found, error) {
	v := d.view.Load()
	found, err := Find(v.conf, v.lists, what.Address)
	if err != nil {
		return found, refusal{http.StatusBadRequest, err.Error()}
	}
	found.Configuration = v.conf.Path
	return found, nil
}

// Find tells what lists have of an address of a configuration's domains, and what follows.
func Find(conf *config.Config, lists sources.Directories, text string) (control.Found, error) {
	routes := &conf.Rules.Routes
	a, err := mail.ParseAddress(text, conf.Rules.Delimiters)
	if err != nil || routes.Domains[routes.Home(a).Domain] == nil {
		return control.Found{}, fmt.Errorf("%q is not an address of a domain of ours", mail.Printable(text))
	}
	a = routes.Home(a)
	set := lists.Set()
	listing, listed := set.List(a), set.Listed(a)
	place := routes.Place(a, listing)
	found := control.Found{
		Address: a.Key, Lives: place.Residence.String(), Goes: place.Elsewhere, Rows: []control.Row{}, Unread: []string{},
		Known: !listing.Failed, Nobody: !listing.Failed && place.Residence.Kind == route.Nowhere,
	}
	if place.Platform != nil && place.Platform.ByRelay && place.Elsewhere == "" {
		found.Goes = place.Platform.Relay
	}
	if place.Refused.Code != "" {
		found.Why = place.Refused.Reply().String()
	}
	for _, one := range lists.Of(listed.Domain) {
		if one.Snapshot == nil {
			found.Unread = append(found.Unread, linesOf(one.Err)...)
			continue
		}
		e, is := one.Snapshot.Find(listed)
		if !is {
			continue
		}
		row := RowOf(one.Source.Path, e)
		row.Counts, row.Why = Counts(lists.Ranking(one), e)
		row.Since = one.Since()
		found.Rows = append(found.Rows, row)
	}
	return found, nil
}

// RowOf is a row of a list that counts.
func RowOf(source string, e directory.Entry) control.Row {
	return control.Row{
		Address: e.Address(), Residence: e.Column("residence"), Login: e.Login(), Target: e.Target(),
		Kind: e.Column("kind"), Source: source, Origin: e.Column("origin"), Line: e.Line(), Counts: true,
	}
}

// Counts reports that mail goes by a row, or says why it does not.
func Counts(ranking *sources.Ranking, e directory.Entry) (counts bool, why string) {
	switch standing, other := ranking.Standing(e); standing {
	case sources.Shadowed:
		return false, other.Source.Path + ", which is asked before, has the address"
	case sources.Undecided:
		return false, other.Source.Path + ", which is asked before, cannot say yet whether it has the address"
	case sources.Unclear:
		return false, "it does not say where the mailbox lives, or two entries contradict each other"
	}
	return true, ""
}
