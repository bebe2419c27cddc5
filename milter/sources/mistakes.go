package sources

import (
	"fmt"

	"coexistd/policy/directory"
)

// Mistake is something in a list that cannot be meant, although the list counts.
type Mistake struct {
	// Text says what is wrong and where, and Remedy what would be right.
	Text, Remedy string
	// PutOff is set where mail is put off for it.
	PutOff bool
}

// mostMistakes bounds those of a kind that are named.
const mostMistakes = 100

// Mistakes tells of what cannot be meant in a list that counts: its bad rows, mailboxes on
// both sides, and logins that two have.
func (d Directories) Mistakes(list *List) []Mistake {
	if list.Snapshot == nil {
		return nil
	}
	all := list.Flaws()
	all = append(all, d.contradictions(list)...)
	for _, text := range list.Snapshot.SharedLogins(mostMistakes) {
		all = append(all, Mistake{Text: list.Source.Path + ": " + text, Remedy: "give each a login of its own, or the kind shared to what several people use"})
	}
	return all
}

// Flaws are the bad rows of a list that counts.
func (c *List) Flaws() (all []Mistake) {
	if c.Snapshot == nil {
		return nil
	}
	flaws := c.Snapshot.Flaws()
	for _, one := range flaws.Rows {
		all = append(all, Mistake{Text: one.Error.Error(), Remedy: "correct the entry there; the daemon takes it at its next reading", PutOff: one.PutOff})
	}
	if flaws.More > 0 {
		all = append(all, Mistake{
			Text: fmt.Sprintf("%s: %d more rows are wrong; for %d addresses mail is put off", c.Source.Path, flaws.More, flaws.PutOff), Remedy: "correct these first", PutOff: flaws.PutOff > 0,
		})
	}
	return all
}

// contradictions tells of the addresses of a list that another one, which is asked earlier,
// has with another residence: a mailbox on both sides, perhaps.
func (d Directories) contradictions(list *List) (all []Mistake) {
	more, ranking := 0, d.Ranking(list)
	for entry := range list.Snapshot.All() {
		by, counts := ranking.shadow(entry)
		if by == nil || entry.Unclear() || counts.Unclear() || counts.Residence() == entry.Residence() {
			continue
		}
		if len(all) == mostMistakes {
			more++
			continue
		}
		all = append(all, Mistake{
			Text: fmt.Sprintf("%s lives %s by %s, which counts, and %s by %s", entry.Address(),
				counts.Column("residence"), where(by, counts), entry.Column("residence"), where(list, entry)),
			Remedy: "take the one out that is wrong, or leave it to the first: coexistd directory find ADDRESS tells which counts",
		})
	}
	if more > 0 {
		all = append(all, Mistake{Text: fmt.Sprintf("so it is with %d more addresses of %s", more, list.Source.Path), Remedy: all[0].Remedy})
	}
	return all
}

// where says in which row of which list an entry stands.
func where(list *List, entry directory.Entry) string {
	if origin := entry.Column("origin"); origin != "" {
		return fmt.Sprintf("%s (%s)", list.Source.Path, origin)
	}
	return fmt.Sprintf("%s:%d", list.Source.Path, entry.Line())
}
