package doctor

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"coexistd/cmd/coexistd/account"
	"coexistd/cmd/coexistd/daemon"
	"coexistd/cmd/coexistd/human"
	"coexistd/milter/quarantine"
	"coexistd/milter/store"
	"coexistd/policy/config"
	"coexistd/policy/seal"
)

const (
	// scarce is the share of a file system's space below which it is scarce.
	scarce = 0.05
	// usualMessageSize is Postfix's message_size_limit when nobody has set it.
	usualMessageSize = 10_240_000
	// reportDelay is how long after its time a report may still be under way.
	reportDelay = time.Hour
)

// lookAtQuarantine sees whether messages can be held, and what is held.
func lookAtQuarantine(ctx context.Context, x *examination) []Finding {
	q := x.conf.Quarantine
	switch _, err := os.Stat(q.Dir); {
	case errors.Is(err, fs.ErrNotExist):
		return []Finding{failure("%s does not exist: messages that should be held are put off", q.Dir).
			do("start the daemon, which makes it (systemctl restart coexistd); its log says why when it cannot")}
	case err != nil:
		return []Finding{failure("%s cannot be looked at: %v", q.Dir, because(err)).do("%s", writeRemedy(because(err), filepath.Dir(q.Dir)))}
	}
	findings := append([]Finding{tryQuarantine(q.Dir)}, lookAtSpace(x)...)
	for _, lost := range daemon.LostReports(x.conf, x.lists().Set()) {
		findings = append(findings, failure("%v", lost).do("correct %s or the directory", x.conf.Path))
	}
	findings = append(findings, lookAtFiles(ctx, q.Dir)...)
	return append(findings, lookAtStore(x, quarantine.OpenExisting(daemon.QuarantineOptions(x.conf, slog.New(slog.DiscardHandler))))...)
}

func tryQuarantine(dir string) Finding {
	if err := tryWriting(dir); err != nil {
		remedy := writeRemedy(err, dir)
		if errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) {
			remedy += ", or lower quarantine.keep or quarantine.max_size"
		}
		return failure("nothing can be written to %s, so messages that should be held are put off: %v", dir, err).do("%s", remedy)
	}
	return fine("%s can be written to", dir)
}

// lookAtSpace compares the free space with what may have to be held.
func lookAtSpace(x *examination) []Finding {
	q := x.conf.Quarantine
	var system syscall.Statfs_t
	if err := syscall.Statfs(q.Dir, &system); err != nil {
		return []Finding{failure("the free space of %s cannot be told: %v", q.Dir, err).do("%s", writeRemedy(err, q.Dir))}
	}
	free, total := int64(system.Bavail)*system.Bsize, int64(system.Blocks)*system.Bsize
	largest := int64(usualMessageSize)
	if limit, known := x.sizeLimit(); known && limit.bytes > 0 {
		largest = limit.bytes
	}
	switch {
	case free < largest:
		return []Finding{failure("%s are free, less than one message may have (%s)", human.Size(free), human.Size(largest)).
			do("make room on the file system of %s, or lower quarantine.keep or quarantine.max_size", q.Dir)}
	case float64(free) < scarce*float64(total):
		return []Finding{warning("%s are free, less than %.0f %% of the file system", human.Size(free), 100*scarce).
			do("make room on the file system of %s, or lower quarantine.keep or quarantine.max_size", q.Dir)}
	}
	return nil
}

// lookAtFiles looks for what the daemon's user may not use, such as files that
// root has made by running the daemon once.
func lookAtFiles(ctx context.Context, dir string) []Finding {
	const mayRead, mayWrite, mayEnter = 4, 2, 1
	var barred []string
	err := filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
		need := uint32(mayRead | mayWrite)
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case errors.Is(err, fs.ErrNotExist):
			return nil // The daemon has removed it meanwhile.
		case errors.Is(err, fs.ErrPermission):
			return nil // Counted when its folder was read.
		case err != nil:
			return err
		case entry.IsDir():
			need |= mayEnter
		}
		if errors.Is(syscall.Access(path, need), syscall.EACCES) {
			barred = append(barred, path)
		}
		return nil
	})
	switch {
	case err != nil:
		return []Finding{warning("not all files in %s could be looked at: %v", dir, because(err)).do("%s", writeRemedy(because(err), dir))}
	case len(barred) > 0:
		return []Finding{failure("%s cannot use %d of the files in %s: %s", account.OwnName(), len(barred), dir, some(barred)).do("run: chown -R %s: %s", account.OwnName(), dir)}
	}
	return nil
}

// lookAtStore tells what is held, and what became of reports and releases.
func lookAtStore(x *examination, held *quarantine.Store) []Finding {
	file := filepath.Join(x.conf.Quarantine.Dir, quarantine.FileName)
	damaged := func(err error) []Finding {
		switch {
		case errors.Is(err, fs.ErrPermission):
			return nil // lookAtFiles has said so.
		case errors.Is(err, store.ErrBusy):
			return []Finding{failure("%v", err).do("see which process hangs that has it open: fuser -v %s", file)}
		case errors.Is(err, store.ErrDamaged):
			return []Finding{failure("%v", err).do("run: systemctl restart coexistd; it sets the file aside and keeps what can be read of it")}
		}
		return []Finding{failure("%v", err).do("%s", writeRemedy(because(err), file))}
	}
	usage, err := held.Usage()
	if err != nil {
		return damaged(err)
	}
	q := x.conf.Quarantine
	told := fmt.Sprintf("entries held: %d, with %s of %s (quarantine.max_size)", usage.Entries, human.Size(usage.Bytes), human.Size(q.MaxBytes))
	if usage.Entries > 0 {
		told += "; the oldest came " + human.Age(x.now.Sub(usage.Oldest))
	}
	findings := []Finding{fine("%s", told)}
	if rest := q.MaxBytes - usage.Bytes; usage.Free < rest {
		findings = append(findings, warning("%s are free, less than the %s that it may still take by quarantine.max_size", human.Size(usage.Free), human.Size(rest)).
			do("make room on the file system of %s, or set quarantine.max_size to %dM at most", q.Dir, max(1, (usage.Free+usage.Bytes)>>20)))
	}
	var uncertain []string
	for entry, err := range held.All(quarantine.Query{}) {
		if err != nil {
			return append(findings, damaged(err)...)
		}
		if entry.State == quarantine.Releasing {
			uncertain = append(uncertain, entry.ID)
		}
	}
	if len(uncertain) > 0 {
		findings = append(findings, warning("releases begun and not ended, so that the messages may have arrived or not: %s", some(uncertain)).
			do("ask the recipients; then coexistd quarantine release --again ID, or coexistd quarantine delete ID"))
	}
	return append(findings, lookAtReports(x.conf, held, x.now))
}

func lookAtReports(conf *config.Config, store *quarantine.Store, now time.Time) Finding {
	report := conf.Quarantine.Report
	last, err := store.LastReport()
	sent, failed := store.LastSent()
	err = errors.Join(err, failed)
	due := daemon.NewReporter(conf, seal.Keys{}, store, nil, slog.New(slog.DiscardHandler)).Next(last)
	told := "the last was sent " + human.Age(now.Sub(sent))
	if sent.IsZero() {
		told = "none was sent yet"
	}
	switch {
	case len(report.At) == 0:
		return fine("no reports are sent (quarantine.report.at)")
	case err != nil:
		return failure("when the last reports were sent cannot be told: %v", err).do("run: systemctl restart coexistd")
	case last.IsZero():
		return fine("reports: %s", told)
	case now.Sub(due) > reportDelay:
		return warning("reports are due since %s, and were last seen to %s; %s", due.Format(time.DateTime), human.Age(now.Sub(last)), told).
			do("see what the daemon's log says of reports: journalctl -u coexistd | grep report")
	}
	return fine("reports were last seen to %s; %s", human.Age(now.Sub(last)), told)
}
