package doctor

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"coexistd/cmd/coexistd/account"
	"coexistd/cmd/coexistd/sendmailcf"
	"coexistd/policy/config/files"
)

// remade is what brings a change of sendmail.mc about.
const remade = "; then make sendmail.cf anew (make -C /etc/mail, or m4 sendmail.mc > sendmail.cf), and run: systemctl restart sendmail"

// inMC returns the finding with what to write into sendmail.mc.
func (f Finding) inMC(format string, args ...any) Finding {
	return f.do("put into sendmail.mc: %s", fmt.Sprintf(format, args...)+remade)
}

// sendmail is what Sendmail's own configuration says.
type sendmail struct {
	err error // why nothing is known; sendmailcf.ErrNone when there is none
	*sendmailcf.Settings
}

// readSendmail reads Sendmail's configuration.
func readSendmail(path string) *sendmail {
	settings, err := sendmailcf.Read(path)
	return &sendmail{err, settings}
}

// lookAtSendmail compares Sendmail's settings with ours.
func lookAtSendmail(ctx context.Context, x *examination) []Finding {
	s := x.sendmail
	switch {
	case errors.Is(s.err, sendmailcf.ErrNone) && s.Path == sendmailcf.UsualPath:
		return nil // which is told of Postfix
	case s.err == nil && s.Macros["MTAHost"] != "":
		return []Finding{failure("%s is what the sendmail command reads, as submit.cf, and says nothing of the daemon", s.Path).
			do("run: coexistd doctor --sendmail-cf %s", filepath.Join(filepath.Dir(s.Path), "sendmail.cf"))}
	case errors.Is(s.err, sendmailcf.ErrNoConfiguration):
		return []Finding{failure("%v", s.err).do("where m4 makes it, run: make -C %s (or m4 sendmail.mc > sendmail.cf), and see that it says no error; --sendmail-cf says where another is", filepath.Dir(s.Path))}
	case s.err != nil:
		return []Finding{warning("Sendmail's settings cannot be read: %v", s.err).
			do("see that it is there and that %s can read it; --sendmail-cf says where another is", account.OwnName())}
	}
	if x.conf.Rules.ObservesAll() {
		return lookAtObservedSendmail(ctx, x)
	}
	return slices.Concat(
		lookAtAge(s, x.now),
		lookAtTables(s),
		lookAtDaemons(s),
		lookAtReach(x),
		lookAtFilters(x),
		lookAtOtherFilters(x),
		lookAtDeafFilters(ctx, x),
		lookAtTimeouts(x),
		lookAtSendmailLogins(x),
		lookAtLookupMap(x),
		lookAtRules(x),
		lookAtRelayMailers(x),
		lookAtCoexistdClass(x),
		lookAtSendmailSockets(x),
		lookAtSendmailDomains(x),
		x.sharedSendmailName(x.domains()),
		lookAtSendmailRefused(ctx, x),
		lookAtAlternates(x),
		lookAtMasquerade(x),
		x.masquerades(x.domains()),
		lookAtSendmailDemands(x),
		lookAtWays(x),
		lookAtLocalMailer(x),
		lookAtSendmailAliases(x),
		lookAtRelays(x),
		lookAtSendmailUpstreams(x),
		lookAtSendmailBlocklists(x),
		lookAtSubmission(ctx, x),
		lookAtBounds(s),
		lookAtClientBounds(x),
		lookAtHops(x),
		lookAtNotices(s),
		lookAtLogging(x),
		s.smartHost(),
	)
}

// lookAtAge looks for changes that Sendmail does not know yet.
func lookAtAge(s *sendmail, now time.Time) []Finding {
	var findings []Finding
	for _, name := range []string{strings.TrimSuffix(filepath.Base(s.Path), ".cf") + ".mc", "coexistd.mc", "coexistd.m4", "dovecot.mc"} {
		source := filepath.Join(filepath.Dir(s.Path), name)
		if state, err := files.Look(source); err == nil && state.ModTime().After(s.Changed) {
			findings = append(findings, warning("%s was changed after %s was made: what it says is not in force", source, s.Path).
				do("run: make -C %s (or m4 sendmail.mc > sendmail.cf); then run: systemctl restart sendmail", filepath.Dir(s.Path)))
		}
	}
	started, err := s.started()
	switch {
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, errStopped):
		return findings
	case err != nil:
		return append(findings, warning("since when Sendmail runs, and whether that is since its files were changed, cannot be told: %v", err).
			do("see that %s can look at it (PidFile); or run after each change: systemctl restart sendmail", account.OwnName()))
	}
	var changed []string
	for _, path := range append([]string{s.Path}, s.Files...) {
		if state, err := files.Look(path); err == nil && state.ModTime().After(started) && !slices.Contains(changed, path) {
			changed = append(changed, path)
		}
	}
	if len(changed) > 0 {
		findings = append(findings, warning("Sendmail has run since before %s changed, which it reads when it starts", some(changed)).do("run: systemctl restart sendmail"))
	}
	return findings
}

var errStopped = errors.New("no Sendmail runs")

// started is when the daemon wrote its number down, if that one runs. It takes the file away when it
// ends: where only its time can be seen, as with Debian's, the daemon is taken to run.
func (s *sendmail) started() (at time.Time, err error) {
	const most = 4096
	path := s.Option("PidFile", "/var/run/sendmail.pid")
	text, state, err := files.Read(path, most)
	if errors.Is(err, fs.ErrPermission) {
		if state, err = files.Look(path); err == nil {
			return state.ModTime(), nil
		}
	}
	if err != nil {
		return at, fmt.Errorf("%s %w", path, err)
	}
	line, _, _ := strings.Cut(text, "\n")
	pid, err := strconv.ParseUint(strings.TrimSpace(line), 10, 31)
	if err != nil {
		return at, fmt.Errorf("%s has no number of a process", path)
	}
	if _, _, err = files.Read(fmt.Sprintf("/proc/%d/stat", pid), files.MiB); errors.Is(err, fs.ErrNotExist) {
		return at, errStopped
	}
	return state.ModTime(), nil
}
