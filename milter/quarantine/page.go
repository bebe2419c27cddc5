package quarantine

import (
	"fmt"
	"net/url"
	"slices"
	"strings"
	"time"

	"coexistd/milter/ownmail"
	"coexistd/policy/verdict"
)

// maxListed bounds the entries that one report shows.
const maxListed = 200

// page is what the report to a recipient shows.
type page struct {
	Title   string // the mail's subject
	Owner   string
	Count   int
	Entries []line // the newest first, but for Viruses
	Viruses []line
	More    int // entries that are not shown
	Contact string
	Link    string // a mail to Contact that asks for no entry by name
}

// line is one entry as people see it. Times are in the reports' zone.
type line struct {
	ID     string
	Time   time.Time
	From   string // of the header
	Sender string // of the envelope; empty when From names it
	To     string
	About  string
	Why    string
	Checks []string // that hold it
	Size   string
	Until  time.Time // it is kept
	Link   string    // a mail that asks for it
}

func (r *Reporter) compose(n *notice) Mail {
	p := page{
		Title: "Quarantine: 1 message held for you",
		Owner: ownmail.Address(n.owner), Count: len(n.ids), More: len(n.ids) - len(n.listed),
		Contact: r.Contact, Link: mailto(r.Contact, "Quarantine", ""),
	}
	if p.Count > 1 {
		p.Title = fmt.Sprintf("Quarantine: %d messages held for you", p.Count)
	}
	for i := range n.listed {
		if e := &n.listed[i]; e.IsVirus() {
			p.Viruses = append(p.Viruses, r.line(e))
		} else {
			p.Entries = append(p.Entries, r.line(e))
		}
	}
	m := Mail{To: n.to, IDs: n.ids, by: r, domain: domainOf(n.owner), page: p}
	m.Subject = r.subject(&m, p.Title)
	p.Title = m.Subject
	m.page = p
	return m
}

// domainOf returns the domain of an owner.
func domainOf(owner string) string { return owner[strings.LastIndexByte(owner, '@')+1:] }

func (r *Reporter) line(e *Entry) line {
	l := line{
		ID: e.ID, Time: e.Time.In(r.Zone), Checks: e.Checks, To: ownmail.Address(e.Address), Why: ownmail.Unlinked(e.Why()),
		Size: ownmail.Bytes(e.Size), Until: e.Time.Add(r.Keep).In(r.Zone),
		Link: mailto(r.Contact, "Release "+e.ID, fmt.Sprintf("Please release the message %s, which is held in quarantine for %s.", e.ID, ownmail.OneLine(e.Address))),
	}
	from, sender := ownmail.Readable(e.From), ownmail.OneLine(e.Sender)
	switch {
	case from == "" && sender == "":
		from = "nobody (it has no sender, like a bounce)"
	case from == "":
		from, sender = sender, ""
	case sender == "":
		sender = "nobody (like a bounce)"
	case contains(from, sender):
		sender = ""
	}
	l.From, l.Sender = ownmail.Unlinked(from), ownmail.Unlinked(sender)
	if l.About = ownmail.Unlinked(ownmail.Readable(e.Subject)); l.About == "" {
		l.About = "(no subject)"
	}
	return l
}

// Why says in words for its recipient why an entry is held.
func (e *Entry) Why() string {
	var why []string
	for i, check := range e.Checks {
		found := ""
		if i < len(e.Found) {
			found = ownmail.OneLine(e.Found[i])
		}
		why = append(why, because(check, found))
	}
	slices.Sort(why)
	return strings.Join(slices.Compact(why), "; ")
}

// because puts what one check found in words. A spam filter's reasons are not
// for recipients.
func because(check, found string) string {
	switch {
	case check == verdict.CheckSpam:
		return "it looks like spam"
	case check == verdict.CheckVirus && found == "":
		return "it could not be checked for viruses"
	case check == verdict.CheckVirus:
		return "it has the virus " + found
	case check == verdict.CheckMalware && found == "":
		return "its attachments could not be checked"
	case check == verdict.CheckMalware:
		return "it has an attachment of a kind that is not let through: " + found
	case found == "":
		return "the check " + check + " holds it"
	}
	return "the check " + check + " holds it: " + found
}

// mailto writes a link that begins a mail (RFC 6068). All that is not a letter or
// a digit is percent-encoded, so nothing in it can end the link or begin another
// header field.
func mailto(to, subject, body string) string {
	encode := func(s string) string { return strings.ReplaceAll(url.QueryEscape(s), "+", "%20") }
	link := "mailto:" + strings.ReplaceAll(encode(to), "%40", "@") + "?subject=" + encode(subject)
	if body != "" {
		link += "&body=" + encode(body)
	}
	return link
}
