package quarantine

import (
	"database/sql"
	"fmt"
	"slices"
	"strings"
	"time"

	"coexistd/milter/audit"
	"coexistd/milter/senders"
	"coexistd/policy/mail"
	"coexistd/policy/route"
	policy "coexistd/policy/senders"
	"coexistd/policy/spoof"
	"coexistd/policy/verdict"
)

// AddSender has the recipient of an entry allow or block a sender until a time, as Allowing and
// Blocking have it. The entry stays as it is.
func (s *Store) AddSender(id string, what policy.Sender, until time.Time) (senders.Sender, error) {
	added := senders.Sender{Sender: what, Until: until.UTC(), Time: time.Now().UTC(), Who: s.by, Entry: id}
	done := map[policy.Kind]string{policy.Allowed: audit.Allow, policy.Blocked: audit.Block}[what.Kind]
	_, err := s.updateEntry(id, func(tx *sql.Tx, r *row) error {
		if err := senders.Add(tx, added); err != nil {
			return err
		}
		_, err := audit.Add(tx, audit.Event{Who: s.by, Way: audit.Command, What: done, Object: what.Name, Whose: what.Owner, Outcome: audit.Done})
		return err
	})
	return added, err
}

// Allowing returns whom the recipient of an entry allows by it: the domain of its author, or
// their address alone. The error says why it shows nobody who could be allowed, and what else
// can be done.
func (e *Entry) Allowing(routes *route.Rules, address bool) (policy.Sender, error) {
	wrong := func(format string, args ...any) (policy.Sender, error) {
		return policy.Sender{}, fmt.Errorf("the sender of "+e.ID+" cannot be allowed: "+format, args...)
	}
	all := slices.Concat(e.Checks, e.Passed)
	for _, check := range []string{verdict.CheckVirus, verdict.CheckMalware} {
		if slices.Contains(all, check) {
			return wrong("the check %s holds it, and no trust in a sender makes that harmless", check)
		}
	}
	switch {
	case slices.Contains(e.Checks, verdict.CheckBlock):
		return wrong("%s has blocked them; coexistd senders list --to %s tells whom, and coexistd senders remove lets them in again", e.Owner, e.Owner)
	case !slices.Contains(all, verdict.CheckSpam):
		return wrong("the check %s holds it, and allowed senders are spared the check spam alone", strings.Join(e.Checks, ", "))
	case e.Proven == "" && e.Point != verdict.S0:
		return wrong("it came at %s, where nobody asks SPF and DKIM who it is from; release it, or name who may send in an [[allow]]", e.Point)
	case e.Proven == "":
		return wrong("neither SPF nor DKIM proves that it is from whom its From field names, so that anybody can write in that name " +
			"(or the check spoof is not made at S0, and nobody has looked); release it, or name the networks of the sender in an [[allow]]")
	}
	author, err := mail.ParseAddress(e.Proven, "")
	if err != nil {
		return wrong("its author %q cannot be read: %v", e.Proven, err)
	}
	return e.sender(routes, policy.Allowed, author, !address), nil
}

// Blocking returns whom the recipient of an entry blocks by it: its author, or where they are
// not plain or are one of ours the sender of the envelope, or the whole domain of either. The
// error says why it shows nobody who could be blocked.
func (e *Entry) Blocking(routes *route.Rules, domain bool) (policy.Sender, error) {
	wrong := func(format string, args ...any) (policy.Sender, error) {
		return policy.Sender{}, fmt.Errorf("the sender of "+e.ID+" cannot be blocked: "+format, args...)
	}
	switch {
	case e.Point == verdict.S2:
		return wrong("they are one of our own users, or send as one (S2), and those are not blocked")
	case e.Sender == "":
		return wrong("it comes from the null sender, as the bounces of the recipient's own mail do, and those are not blocked")
	}
	authors := spoof.ReadAuthors(func(name string) []string {
		if name == "From" && e.From != "" {
			return []string{e.From}
		}
		return nil
	})
	var from []mail.Address
	if authors.Broken == "" && len(authors.From) == 1 {
		from = append(from, authors.From[0].Address)
	}
	if envelope, err := mail.ParseAddress(e.Sender, ""); err == nil {
		from = append(from, envelope)
	}
	for _, a := range from {
		if a.Domain != "" && routes.Domains[routes.Home(a).Domain] == nil {
			return e.sender(routes, policy.Blocked, a, domain), nil
		}
	}
	return wrong("neither its From field %q nor its envelope sender <%s> names an address that is not of our own domains", e.From, e.Sender)
}

// sender is the address or the domain that the recipient allows or blocks.
func (e *Entry) sender(routes *route.Rules, kind policy.Kind, a mail.Address, domain bool) policy.Sender {
	s := policy.Sender{Owner: e.Owner, Name: policy.Of(a)[0], Kind: kind}
	if domain {
		s.Name = policy.Of(a)[1]
	}
	if owner, err := mail.ParseAddress(e.Owner, ""); err == nil {
		s.Owner = routes.Home(owner).Owner
	}
	return s
}
