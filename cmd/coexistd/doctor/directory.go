package doctor

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strings"

	"coexistd/cmd/coexistd/account"
	"coexistd/cmd/coexistd/daemon"
	"coexistd/cmd/coexistd/human"
	"coexistd/milter/sources"
	"coexistd/policy/config"
	"coexistd/policy/route"
	"coexistd/policy/verdict"
)

// lookAtDirectories loads every directory as the daemon would at its start.
func lookAtDirectories(_ context.Context, x *examination) []Finding {
	var findings []Finding
	for _, one := range x.lists() {
		findings = append(findings, lookAtDirectory(x, one)...)
	}
	if x.conf == nil {
		return findings // What a source would be is not known.
	}
	if err := daemon.CheckOutsides(x.conf); err != nil {
		for _, line := range strings.Split(err.Error(), "\n") {
			findings = append(findings, failure("%s", line).do("correct it, and see that coexistd check -c %s says ok; the daemon refuses a reload meanwhile", x.conf.Path))
		}
	}
	if findings == nil {
		findings = append(findings, fine("no domain has a directory"))
	}
	return findings
}

func lookAtDirectory(x *examination, d *sources.List) []Finding {
	if errors.Is(d.Err, sources.ErrUnread) {
		return []Finding{failure("%v: its domains are answered 451", d.Err).do("start the daemon, and see with coexistd status what it says of the source")}
	}
	if d.Err != nil {
		var findings []Finding
		for _, line := range strings.Split(d.Err.Error(), "\n") {
			findings = append(findings, failure("%s", line))
		}
		first := "correct " + d.Source.Path
		if errors.Is(d.Err, fs.ErrPermission) {
			first = fmt.Sprintf("let %s read it (chgrp %s %s; chmod 0640 %s) and enter its folder", account.OwnName(), account.OwnName(), d.Source.Path, d.Source.Path)
		}
		const rest = "%s; the daemon takes it as soon as it is right, and until then keeps the list that it has, or answers 451 when it has none"
		findings[len(findings)-1] = findings[len(findings)-1].do(rest, first)
		return findings
	}
	moving := 0
	for entry := range d.Snapshot.All() {
		if entry.Residence().Kind == route.Moving {
			moving++
		}
	}
	changed := "at a time that cannot be told"
	if info, err := os.Stat(d.Path()); err == nil {
		changed = human.Age(x.now.Sub(info.ModTime()))
	}
	findings := []Finding{fine("%s has %d addresses, %d of them moving; it was changed %s", d.Source.Path, d.Snapshot.Len(), moving, changed)}
	if note := LoginNote(x.conf, x.lists(), d); note != "" {
		findings = append(findings, warning("%s", note).do(`fill in the column login, or take "spoof" out of the checks of S2`))
	}
	if note := LimitNote(d); note != "" {
		findings = append(findings, warning("%s", note).do("see with coexistd status that the source can be read"))
	}
	return append(findings, lookAtMistakes(x.lists().Mistakes(d))...)
}

// lookAtMistakes tells of the first of some mistakes, and how many more there are. Those for
// which mail is put off come first.
func lookAtMistakes(all []sources.Mistake) (findings []Finding) {
	slices.SortStableFunc(all, func(a, b sources.Mistake) int {
		switch {
		case a.PutOff == b.PutOff:
			return 0
		case a.PutOff:
			return -1
		}
		return 1
	})
	for _, one := range all[:min(len(all), mostNamed)] {
		finding := warning("%s", one.Text)
		if one.PutOff {
			finding = failure("%s", one.Text)
		}
		findings = append(findings, finding.do("%s", one.Remedy))
	}
	if more := len(all) - mostNamed; more > 0 {
		findings = append(findings, warning("%d more mistakes of that kind", more).do("see them all: coexistd check"))
	}
	return findings
}

// LoginNote says that a directory gives no address to any login, and no other one of its
// domains does, although the check spoof at S2 goes by that, or is "". Commands that
// read directories say it, too.
func LoginNote(conf *config.Config, all sources.Directories, d *sources.List) string {
	if conf == nil || !conf.Rules.Points[verdict.S2].Makes(verdict.CheckSpoof) {
		return ""
	}
	named := make(map[string]bool)
	for _, one := range all {
		if mayNameLogins(one) {
			for domain := range one.Source.Domains {
				named[domain] = true
			}
		}
	}
	for domain := range d.Source.Domains {
		if !named[domain] {
			return d.Source.Path + " names no login: users who are logged in can write only as their login, when that is an address, or as a delegate of [check.spoof]"
		}
	}
	return ""
}

// mayNameLogins reports that a directory has logins, or cannot be read.
func mayNameLogins(d *sources.List) bool {
	if d.Snapshot == nil {
		return true
	}
	for entry := range d.Snapshot.All() {
		if entry.Login() != "" {
			return true
		}
	}
	return false
}

// LimitNote says that the copy of a source lacks a column of limits that a [[rate]] names, or
// is "".
func LimitNote(d *sources.List) string {
	columns := d.Snapshot.Columns()
	for _, name := range d.Source.Limits {
		if !slices.Contains(columns, name) {
			return fmt.Sprintf("the copy of %s is from before a [[rate]] named the column %q: until the source is read, each account has the rule's own limit", d.Source.Path, name)
		}
	}
	return ""
}
