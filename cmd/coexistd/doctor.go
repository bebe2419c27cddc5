package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"slices"
	"strings"
	"time"
	"unicode"

	"github.com/spf13/cobra"

	"coexistd/cmd/coexistd/daemon"
	"coexistd/policy/config"
	"coexistd/policy/directory"
	"coexistd/policy/networks"
)

const (
	// examineTime bounds each of the doctor's examinations, which go on side by
	// side.
	examineTime = 15 * time.Second
	// questionTime bounds each question to a server.
	questionTime = 4 * time.Second
)

// The statuses of findings.
const (
	isOK   = "ok"
	isWarn = "warn"
	isFail = "fail"
)

// finding is one thing that the doctor has to say.
type finding struct {
	Subject string `json:"subject"`
	Status  string `json:"status"`
	Found   string `json:"found"`
	// Remedy is empty when there is nothing to be done.
	Remedy string `json:"remedy"`
}

func fine(format string, args ...any) finding {
	return finding{Status: isOK, Found: fmt.Sprintf(format, args...)}
}

func warning(format string, args ...any) finding {
	return finding{Status: isWarn, Found: fmt.Sprintf(format, args...)}
}

func failure(format string, args ...any) finding {
	return finding{Status: isFail, Found: fmt.Sprintf(format, args...)}
}

// do returns the finding with its remedy.
func (f finding) do(format string, args ...any) finding {
	f.Remedy = fmt.Sprintf(format, args...)
	return f
}

// examination is what all of the doctor's looks share. It is not changed while
// they go on.
type examination struct {
	conf        *config.Config
	directories []directory.Source
	networks    networks.Live
	mta         *postfix
	now         time.Time
}

// look is one part of an examination. It returns soon after ctx ends; one that
// does not is left behind.
type look struct {
	subject string
	at      func(ctx context.Context, x *examination) []finding
}

// looks are the parts of an examination, in the order in which they are told.
func looks() []look {
	return []look{
		{"configuration", lookAtNotes},
		{"state_dir", lookAtState},
		{"directory", lookAtDirectories},
		{"clamd", lookAtClamd},
		{"rspamd", lookAtRspamd},
		{"redis", lookAtRedis},
		{"dns", lookAtDNS},
		{"networks", lookAtLists},
		{"tenant", lookAtUnproven},
		{"quarantine", lookAtQuarantine},
		{"daemon", lookAtDaemon},
		{"postfix", lookAtPostfix},
		{"smtp", lookAtSMTP},
	}
}

func doctorCommand(c *call) *cobra.Command {
	cmd := c.command(cobra.Command{
		Use:   "doctor",
		Short: "ask the scanners, the daemon, the MTA and the quarantine how they are, and tell what to do",
		Long: `doctor looks at the running system: each finding is a line with its subject and
what was found, and below it what to do. Run it as root or as the daemon's user.

The exit status is 0 when nothing has failed, 1 when something has, and 2 when the
usage was wrong or the doctor is not allowed to look.`,
		Example: `  coexistd doctor
  coexistd doctor --json`,
		Args: atMost(0),
	}, func([]string) int { return doctor(c) })
	c.jsonFlag(cmd.Flags())
	return cmd
}

func doctor(c *call) int {
	if err := becomeDaemon(c.config); err != nil {
		return c.wrong("%v", err)
	}
	findings := examine(c.config)
	if err := c.print(findings, func(w io.Writer) { printFindings(w, findings) }); err != nil {
		return c.wrong("%v", err)
	}
	if slices.ContainsFunc(findings, func(f finding) bool { return f.Status == isFail }) {
		return exitNo
	}
	return exitYes
}

// examine looks at everything. Of a configuration with mistakes only the
// directories can be looked at besides, and the lists of networks when there are
// no other mistakes than theirs.
func examine(path string) []finding {
	ctx := context.Background()
	reading := config.Load(path)
	conf := reading.Config
	if len(reading.Problems) > 0 {
		var findings []finding
		for _, one := range reading.Problems {
			findings = append(findings, failure("%v", one).do("correct that, see that coexistd check -c %s says ok, and run: systemctl reload coexistd", path))
		}
		named("configuration", findings)
		x := &examination{conf: conf, directories: reading.Directories, now: time.Now()}
		if len(x.directories) > 0 {
			findings = append(findings, named("directory", lookAtDirectories(ctx, x))...)
		}
		if conf != nil {
			findings = append(findings, named("networks", lookAtLists(ctx, x))...)
		}
		return findings
	}
	x := &examination{conf: conf, directories: reading.Directories, networks: daemon.SavedLists(conf).Live(), mta: readPostfix(ctx), now: time.Now()}
	all := looks()
	told := make([]chan []finding, len(all))
	for i, one := range all {
		told[i] = make(chan []finding, 1)
		go func() {
			ctx, cancel := context.WithTimeout(ctx, examineTime)
			defer cancel()
			told[i] <- one.at(ctx, x)
		}()
	}
	patience, cancel := context.WithTimeout(ctx, examineTime+time.Second)
	defer cancel()
	var findings []finding
	for i, one := range all {
		findings = append(findings, named(one.subject, await(patience, told[i]))...)
	}
	return findings
}

// await returns what is told before ctx ends. A look at a disk or a lock that
// hangs cannot be broken off.
func await(ctx context.Context, told <-chan []finding) []finding {
	select {
	case findings := <-told:
		return findings
	case <-ctx.Done():
	}
	select {
	case findings := <-told:
		return findings
	default:
	}
	return []finding{failure("it could not be told within %v", examineTime).do("see which disk, file lock or server hangs, and try again")}
}

// named gives the findings their subject.
func named(subject string, findings []finding) []finding {
	for i := range findings {
		findings[i].Subject = subject
	}
	return findings
}

// printFindings prints a line for each finding, and below it the remedy.
// Whatever servers and files have said cannot upset a terminal.
func printFindings(w io.Writer, findings []finding) {
	for _, f := range findings {
		status, colour := f.Status, green
		switch status {
		case isFail:
			status, colour = "FAIL", red
		case isWarn:
			colour = yellow
		}
		fmt.Fprintf(w, "%s  %-13s  %s\n", paint(w, colour, fmt.Sprintf("%-4s", status)), f.Subject, printableLine(f.Found))
		if f.Remedy != "" {
			fmt.Fprintf(w, "  do: %s\n", printableLine(f.Remedy))
		}
	}
}

func printableLine(s string) string {
	return strings.Map(func(c rune) rune {
		if !unicode.IsPrint(c) {
			return '?'
		}
		return c
	}, strings.ToValidUTF8(s, "?"))
}

// lookAtNotes tells what the configuration does not bring about, save what the
// looks at scanners tell.
func lookAtNotes(_ context.Context, x *examination) []finding {
	findings := []finding{fine("%s has no mistakes", x.conf.Path)}
	for _, note := range x.conf.Notes {
		if note.Lacking == "" {
			findings = append(findings, warning("%s", note.Text))
		}
	}
	return findings
}

// sizeText writes a number of bytes for people.
func sizeText(bytes int64) string {
	const units = "KMGTPE"
	if bytes < 1<<10 {
		return fmt.Sprintf("%d bytes", bytes)
	}
	size, unit := float64(bytes)/(1<<10), 0
	for size >= 1<<10 {
		size /= 1 << 10
		unit++
	}
	return fmt.Sprintf("%.1f %ciB", size, units[unit])
}

// ageText writes how long ago something was, in the unit that fits.
func ageText(age time.Duration) string {
	count := func(n time.Duration, unit string) string {
		if n == 1 {
			return "1 " + unit + " ago"
		}
		return fmt.Sprintf("%d %ss ago", n, unit)
	}
	const day = 24 * time.Hour
	switch {
	case age < 0:
		return "in the future"
	case age < time.Minute:
		return "less than a minute ago"
	case age < time.Hour:
		return count(age/time.Minute, "minute")
	case age < 2*day:
		return count(age/time.Hour, "hour")
	}
	return count(age/day, "day")
}

// because drops the path that the error of a file begins with.
func because(err error) error {
	if failed, is := errors.AsType[*fs.PathError](err); is {
		return failed.Err
	}
	if failed, is := errors.AsType[*os.LinkError](err); is {
		return failed.Err
	}
	return err
}
