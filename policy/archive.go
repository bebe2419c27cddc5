package policy

import (
	"slices"
	"strings"

	"coexistd/policy/mail"
	"coexistd/policy/route"
	"coexistd/policy/seal"
	"coexistd/policy/verdict"
)

// Archive is where a copy goes of the mail that passes us. A condition that is empty holds for
// all mail. Those that are not must all be met, for one recipient of the message at least.
type Archive struct {
	// Address is the archive's, wherever that is: here, at a platform, or on the Internet.
	Address mail.Address
	// Points are those at which a message enters: S0, S1 and S2.
	Points []verdict.Checkpoint
	// Ways are those of which one leads to the recipient: see route.Way.Exit.
	Ways []route.Hop
	// Domains are domains of the sender, or of the recipient, in normal form: each is meant
	// itself, or the ones below it where it begins with a dot.
	Domains []string
	// Journals name the platforms that send reports of their own mail to Address. Reports are not
	// checked.
	Journals []string
	// Held has what the quarantine takes be copied as well.
	Held bool
}

// String says for people what goes where, and nothing where there is no archive.
func (a *Archive) String() string {
	if a == nil {
		return ""
	}
	text := "a copy to " + a.Address.Path
	for _, one := range [...]struct{ what, list string }{
		{"enters at", words(a.Points)}, {"goes on by", words(a.Ways)}, {"is from or to", strings.Join(a.Domains, ", ")},
	} {
		if one.list != "" {
			text += "; what " + one.what + " " + one.list
		}
	}
	if a.Held {
		text += "; what is held, too"
	}
	return text
}

// words are the names of the points, and of the ways.
func words[T interface{ String() string }](list []T) string {
	var names []string
	for _, one := range list {
		names = append(names, one.String())
	}
	return strings.Join(names, ", ")
}

// PassedArchive stands among the checks of a pass for a message of which the archive has a copy
// already.
const PassedArchive = "archive"

// archive has the archive get a copy of the message, where it is to have one. It puts the
// message off while nobody can tell where to send that.
func (c *Case) archive(d Decision) Decision {
	if !c.isForArchive(&d) {
		return d
	}
	address, lost := c.policy.FindArchive(c.ArchiveListing)
	if lost.Code != "" {
		return d.PutOff(lost)
	}
	d.Archived = address
	return d
}

// FindArchive returns the address to which copies go for the archive, by the directory's answer
// for its own, or why nobody can tell. There must be an archive.
func (r *Rules) FindArchive(listing route.Listing) (address string, lost verdict.Reason) {
	a := r.Archive.Address
	if r.Routes.Domains[a.Domain] == nil {
		return a.Path, verdict.Reason{}
	}
	switch place := r.Routes.Place(a, listing); {
	case place.Refused.Code != "":
		return "", verdict.Why(verdict.ArchiveLost, a.Path, place.Refused.String())
	case place.Residence.Kind == route.There && place.Elsewhere != "":
		return place.Elsewhere, verdict.Reason{}
	}
	return a.Path, verdict.Reason{}
}

// isForArchive reports a message of which the archive is to have a copy.
func (c *Case) isForArchive(d *Decision) bool {
	a := c.policy.Archive
	switch {
	case a == nil || c.IsObserved():
		return false
	case d.Verdict > verdict.Tag && (d.Verdict != verdict.Quarantine || !a.Held):
		return false
	case len(a.Points) > 0 && !slices.Contains(a.Points, c.from.Point):
		return false
	}
	return !c.isOurOwn() && !c.wasArchived() && !c.concernsArchive() && c.meetsArchive(d)
}

// journal returns the platform whose report to the archive the message is, or "". Reports prove no
// tenant, and whose they are only the address tells; one of a tenant that is known not to be
// ours is none.
func (c *Case) journal() string {
	a := c.policy.Archive
	if a == nil || len(a.Journals) == 0 || c.pass != nil || c.proof.Foreign || len(c.Recipients) == 0 {
		return ""
	}
	owner := c.archiveOwner()
	if slices.ContainsFunc(c.Recipients, func(r route.Recipient) bool { return c.policy.Routes.Home(r.Address).Owner != owner }) {
		return ""
	}
	for _, name := range c.Entry.Candidates {
		if slices.Contains(a.Journals, name) {
			return name
		}
	}
	return ""
}

// isOurOwn reports a mail that coexistd itself has written.
func (c *Case) isOurOwn() bool {
	return c.probe != nil || c.pass != nil && c.pass.ID == seal.PassReport
}

// archiveOwner is by whom copies are known in traces.
func (c *Case) archiveOwner() string { return c.policy.Routes.Home(c.policy.Archive.Address).Owner }

// wasArchived reports a message of which the archive has a copy already. That is what the pass
// of one tells that is released from quarantine, and the trace of one that comes back. A trace
// counts at once where a server has handed the message on: a platform, or a host of ours.
// Authors could put another message's trace into theirs, so that of them it only keeps a message from going round.
func (c *Case) wasArchived() bool {
	if c.pass != nil && slices.Contains(c.pass.Checks, PassedArchive) {
		return true
	}
	passes := c.traces.Passes(c.archiveOwner())
	relayed := c.from.Point == verdict.S1 || c.from.Point == verdict.S2 && c.Login == "" && !c.from.OnHost
	return passes > 0 && (relayed || passes >= c.policy.Routes.MaxPasses)
}

// concernsArchive reports a message that is from the archive, or goes there by itself.
func (c *Case) concernsArchive() bool {
	routes, owner := &c.policy.Routes, c.archiveOwner()
	return routes.Home(c.Sender).Owner == owner || slices.ContainsFunc(c.Recipients, func(r route.Recipient) bool {
		return routes.Home(r.Address).Owner == owner
	})
}

// meetsArchive reports that somebody for whom the message is not only observed meets the
// conditions of the archive. Of recipients that are no addresses only the sender is known.
func (c *Case) meetsArchive(d *Decision) bool {
	a, routes := c.policy.Archive, &c.policy.Routes
	has := func(address mail.Address) bool {
		domain := routes.Home(address).Domain
		return domain != "" && mail.IsBelow(domain, a.Domains)
	}
	ofSender := len(a.Domains) == 0 || has(c.Sender)
	for i := range d.Recipients {
		r := &d.Recipients[i]
		if r.Observed || r.Verdict == verdict.Discard || r.Verdict == verdict.Quarantine && !a.Held {
			continue
		}
		if a.takes(r.Ways) && (ofSender || has(c.Recipients[i].Address)) {
			return true
		}
	}
	return c.Unread > 0 && len(a.Ways) == 0 && ofSender
}

// takes reports ways that are the archive's.
func (a *Archive) takes(ways route.Ways) bool {
	return len(a.Ways) == 0 || slices.ContainsFunc(ways, func(way route.Way) bool { return slices.Contains(a.Ways, way.Exit()) })
}

// copyToArchive adds the archive to the recipients, unless another of them has the same mailbox
// there. Nobody is told what becomes of the copy.
func (c *Case) copyToArchive(d *Decision, edits []Edit) []Edit {
	if d.Archived == "" {
		return edits
	}
	key := keyOf(d.Archived)
	for i := range edits {
		if edits[i].Kind == AddRecipient && keyOf(edits[i].Address) == key {
			return edits
		}
	}
	return append(edits, Edit{Kind: AddRecipient, Address: d.Archived, Notify: "NEVER", ORcpt: xtext("rfc822", c.policy.Archive.Address.Path)})
}
