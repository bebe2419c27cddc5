package quarantine

import (
	"time"

	"coexistd/milter/ownmail"
	"coexistd/policy/verdict"
)

// examplesOf returns what a report or a summary may show, to try templates on: a page of all
// that there can be, and pages of as little as there can be.
func examplesOf(kind string) []any {
	r := &Reporter{
		Post: ownmail.Post{Hostname: "mail.example.com"}, Contact: "postmaster@example.com", Zone: time.UTC, Keep: 30 * 24 * time.Hour,
	}
	spam, virus := exampleEntry("k7m2qx4tzb", verdict.CheckSpam, "spam"), exampleEntry("z4g6tb9xwk", verdict.CheckVirus, "Win.Test")
	virus.Report, virus.State = false, Releasing
	if kind == "summary" {
		all, one := r.newSummary(spam.Time.Add(-time.Hour)), r.newSummary(time.Time{})
		for range maxLines + 1 {
			all.add(&virus)
		}
		all.add(&spam)
		one.add(&spam)
		return []any{all.mail(Usage{}).page, one.mail(Usage{}).page}
	}
	var all, one, bad notice
	for range maxListed {
		all.add(spam)
		all.add(virus)
	}
	one.add(spam)
	bad.add(virus)
	var pages []any
	for _, n := range []notice{all, one, bad} {
		n.owner = spam.Owner
		pages = append(pages, r.compose(&n).page)
	}
	return pages
}

func exampleEntry(id, check, found string) Entry {
	const alice = "alice@example.com"
	return Entry{
		ID: id, State: Held,
		Item:      Item{Time: time.Unix(0, 0), Point: verdict.S0, From: "Eve <eve@example.net>", Sender: "bounce@example.net", Subject: "Invoice", Size: 5000},
		Recipient: Recipient{Address: alice, Owner: alice, Checks: []string{check}, Found: []string{found}, Report: true},
	}
}
