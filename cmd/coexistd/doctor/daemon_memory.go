package doctor

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"coexistd/cmd/coexistd/control"
	"coexistd/milter/sources"
	"coexistd/policy/config"
)

// reloadTime is how long after a change of a directory's file the daemon has it at the
// latest. It leaves a file alone that changes all the time, but not for that long.
const reloadTime = time.Minute

// lookAtMemory compares what the daemon has in its memory with what the files hold.
func lookAtMemory(x *examination, status control.Status) []Finding {
	var findings []Finding
	if status.Draining {
		findings = append(findings, warning("the daemon is ending, and all new mail is put off").do("run: systemctl start coexistd"))
	}
	findings = append(findings, compareConfiguration(x, status.Configuration)...)
	for _, one := range status.Directories {
		findings = append(findings, compareDirectory(x, one)...)
	}
	if q := status.Quarantine; !q.Open && q.Error != "" {
		findings = append(findings, failure("the daemon cannot open the quarantine in %s, so that messages that should be held are put off: %s", q.Dir, q.Error).
			do("see the findings on the quarantine; the daemon tries again by itself"))
	}
	if s := status.Senders; s.Error != "" {
		findings = append(findings, failure("the daemon cannot read since %s which senders recipients have allowed and blocked, and goes by what it read before (%d and %d): %s",
			s.Since.Local().Format(time.DateTime), s.Allowed, s.Blocked, s.Error).
			do("see the findings on the quarantine, whose file they are in; the daemon tries again by itself"))
	}
	findings = append(findings, lookAtLost(status.Records)...)
	if findings == nil {
		return []Finding{fine("the daemon has the configuration and the directories as the files hold them")}
	}
	return findings
}

// compareConfiguration looks for a configuration that the daemon does not have yet, or has
// refused.
func compareConfiguration(x *examination, c control.Configuration) []Finding {
	if !sameFile(c.Path, x.conf.Path) {
		return []Finding{failure("the daemon goes by another file: %s; this is %s", c.Path, x.conf.Path).
			do("run: coexistd doctor -c %s; or have the service start with -c %s", c.Path, x.conf.Path)}
	}
	if c.Digest == x.conf.Digest {
		return nil
	}
	remedy := "see that coexistd check -c " + x.conf.Path + " says ok, and run: systemctl reload coexistd"
	what := x.conf.Path
	if slices.ContainsFunc(x.conf.Files, func(f config.File) bool { return f.AtReload }) {
		what += ", or a file that it names,"
	}
	loaded := c.Loaded.Local().Format(time.DateTime)
	if refused := slices.DeleteFunc(slices.Clone(c.Refused), x.isOfDirectory); len(refused) > 0 {
		return []Finding{failure("%s has changed since the daemon loaded it at %s, and a reload at %s was refused: %s", what, loaded, c.Tried.Local().Format(time.DateTime), some(refused)).do("%s", remedy)}
	}
	return []Finding{warning("%s has changed since the daemon loaded it at %s", what, loaded).do("%s", remedy)}
}

// isOfDirectory reports that a mistake is of a directory's file, which is taken without a
// reload as soon as it is right.
func (x *examination) isOfDirectory(problem string) bool {
	return slices.ContainsFunc(x.lists(), func(one *sources.List) bool { return strings.HasPrefix(problem, one.Source.Path+":") })
}

// sameFile reports that two paths lead to one file.
func sameFile(a, b string) bool {
	one, errOne := os.Stat(a)
	other, errOther := os.Stat(b)
	if errOne == nil && errOther == nil {
		return os.SameFile(one, other)
	}
	return filepath.Clean(a) == filepath.Clean(b)
}

// compareDirectory looks for a directory that the daemon refuses, or has missed.
func compareDirectory(x *examination, d control.Directory) []Finding {
	has := "it has no list, and answers 451 for " + some(d.Domains)
	if !d.Loaded.IsZero() {
		has = "it goes by the list of " + d.Loaded.Local().Format(time.DateTime)
	}
	if d.Outside != nil {
		return compareOutside(x, d, has)
	}
	if len(d.Refused) > 0 {
		return []Finding{failure("the daemon refuses %s as it is: %s; %s", d.Source, strings.TrimSuffix(some(d.Refused), "."), has).
			do("correct %s; when all of it is meant, run: systemctl restart coexistd", d.Source)}
	}
	info, err := os.Stat(d.Source)
	file := x.lists().Named(d.Source)
	if err != nil || file == nil || file.Snapshot == nil || x.now.Sub(info.ModTime()) < reloadTime {
		return nil // The directory's own findings tell, or the daemon is about to take it.
	}
	if file.Snapshot.Len() != d.Addresses || info.Size() != d.Bytes {
		return []Finding{failure("the daemon has %d addresses of %s, from %d bytes, and the file has %d in %d; %s", d.Addresses, d.Source, d.Bytes, file.Snapshot.Len(), info.Size(), has).
			do("run: systemctl reload coexistd; see what its log says of the directory: journalctl -u coexistd | grep directory")}
	}
	return nil
}

// compareOutside looks for a source outside this host that the daemon cannot read, or whose
// list it refuses.
func compareOutside(x *examination, d control.Directory, has string) []Finding {
	var findings []Finding
	if failed := d.Outside.Failed; failed != "" {
		findings = append(findings, failure("the daemon cannot read %s since %s: %s; %s", d.Source, d.Outside.Since.Local().Format(time.DateTime), failed, has).
			do("see that the server answers who asks it by [%s] of %s; the daemon tries again by itself", strings.Replace(d.Source, config.SourcePrefix, "source.", 1), x.conf.Path))
	}
	if len(d.Refused) > 0 && !d.Loaded.IsZero() {
		findings = append(findings, failure("the daemon refuses what %s lists now: %s; %s", d.Source, strings.TrimSuffix(some(d.Refused), "."), has).
			do("correct it there; when all of it is meant: coexistd directory diff %s says how to accept it", d.Source))
	}
	return findings
}
