package sources

import (
	"fmt"

	"coexistd/policy/directory"
)

// follows is what is known of a list that follows the last: whether the source has gone back,
// or went back before.
func (p *Poller) follows(mark Mark, sum string) kept {
	before, restored := p.kept.Seen, p.kept.Back || p.kept.Onward
	if before == nil {
		before = p.kept.Mark
	}
	if restored && p.backIsTaken() {
		restored = false
		if p.kept.Back {
			before = nil // it counts from there on
		}
	}
	now := kept{Mark: mark, Seen: before.and(mark), Sum: sum, Back: mark.WentBack(before)}
	if now.Back {
		now.Mark, now.Seen = before, before // until it is as far again
	}
	now.Onward = !now.Back && (restored || mark.MayLack(before))
	if now.Back || now.Onward {
		now.BackSum = sum
	}
	return now
}

// ending is that under which the list is left to be judged.
func (k *kept) ending() string {
	switch {
	case k.Back:
		return older
	case k.Onward:
		return onward
	}
	return fresh
}

// backIsTaken reports that the list of an earlier time, or one that goes on from it, is the one
// that counts: somebody has accepted it, nobody was missing, or it did before. From then on the
// source counts from where it went back to.
func (p *Poller) backIsTaken() bool {
	return p.kept.BackSum != "" && p.copies.digest(taken) == p.kept.BackSum
}

// guardBack says why a list that was left under an ending may not take the place of the one
// that counts, or nil. A source that goes on after a restored backup is soon as far again, by
// its mark, and yet lacks who came after the backup: few, and nobody wants them gone.
func (c *List) guardBack(ending string, list *directory.Snapshot) error {
	const remedy = "The old list stays. If that is meant, coexistd directory diff %[1]s says how to accept it"
	if ending == older+judged {
		return &loss{fmt.Errorf("%s lists what it did at an earlier time, as after a restored backup. "+remedy, c.Source.Path)}
	}
	if err := c.guard(list); err != nil || ending != onward+judged {
		return err
	}
	others, gone, moved, example := c.others(list), 0, 0, ""
	for e := range c.Snapshot.All() {
		if domain := e.Domain(); c.Source.Domains[domain] == nil || others[domain] || c.inherits[domain] || e.Unclear() {
			continue
		}
		switch now, found := list.Lookup(e.Address()); {
		case !found || now.Unclear():
			gone++
		case now.Residence() != e.Residence() || now.Target() != e.Target():
			moved++
		default:
			continue
		}
		if example == "" {
			example = e.Address()
		}
	}
	if gone+moved == 0 {
		return nil
	}
	return &loss{fmt.Errorf("%s goes on from an earlier time, as after a restored backup, or where another server lags behind: of the addresses from before it lacks %d, and %d live elsewhere, %s for one. "+remedy,
		c.Source.Path, gone, moved, example)}
}
