// Package doctor looks at a running system as the daemon's user sees it: what the files say,
// what the daemon has, what the servers around it answer, and what the MTA does. Each subject
// has a file and a row in one table.
package doctor

import (
	"cmp"
	"context"
	"errors"
	"sync"
	"time"

	"coexistd/cmd/coexistd/daemon"
	"coexistd/cmd/coexistd/postconf"
	"coexistd/cmd/coexistd/sendmailcf"
	"coexistd/milter/sources"
	"coexistd/policy/config"
	"coexistd/policy/networks"
)

const (
	// examineTime bounds each of the doctor's examinations, which go on side by
	// side.
	examineTime = 15 * time.Second
	// questionTime bounds each question to a server.
	questionTime = 4 * time.Second
)

// examination is what all of the doctor's looks share. It is not changed while
// they go on.
type examination struct {
	conf     *config.Config
	lists    func() sources.Directories // which are read once, as the daemon would at its start
	networks networks.Live
	mta      *postfix
	sendmail *sendmail
	now      time.Time
}

// look is one part of an examination. It returns soon after ctx ends; one that
// does not is left behind.
type look struct {
	subject string
	at      func(ctx context.Context, x *examination) []Finding
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
		{"archive", lookAtArchive},
		{"messages", lookAtMessages},
		{"daemon", lookAtDaemon},
		{"metrics", lookAtMetrics},
		{"postfix", lookAtPostfix},
		{"sendmail", lookAtSendmail},
		{"certificate", lookAtCertificates},
		{"smtp", lookAtSMTP},
	}
}

// Examine looks at everything. Of a configuration with mistakes only the
// directories can be looked at besides, and the lists of networks when there are
// no other mistakes than theirs. SendmailCF is where Sendmail's configuration is; empty: it is
// looked at where it usually is, when there is no Postfix.
func Examine(path, sendmailCF string) []Finding {
	ctx := context.Background()
	reading := config.Load(path)
	conf := reading.Config
	lists := sync.OnceValue(func() sources.Directories { return sources.Open(reading.Directories, nil) })
	if len(reading.Problems) > 0 {
		var findings []Finding
		for _, one := range reading.Problems {
			findings = append(findings, failure("%v", one).do("correct that, see that coexistd check -c %s says ok, and run: systemctl reload coexistd", path))
		}
		named("configuration", findings)
		x := &examination{conf: conf, lists: lists, now: time.Now()}
		if len(reading.Directories) > 0 {
			findings = append(findings, named("directory", lookAtDirectories(ctx, x))...)
		}
		if conf != nil {
			findings = append(findings, named("networks", lookAtLists(ctx, x))...)
		}
		return findings
	}
	x := &examination{conf: conf, lists: lists, networks: daemon.SavedLists(conf).Live(), now: time.Now()}
	x.findMTA(ctx, sendmailCF)
	all := looks()
	told := make([]chan []Finding, len(all))
	for i, one := range all {
		told[i] = make(chan []Finding, 1)
		go func() {
			ctx, cancel := context.WithTimeout(ctx, examineTime)
			defer cancel()
			told[i] <- one.at(ctx, x)
		}()
	}
	patience, cancel := context.WithTimeout(ctx, examineTime+time.Second)
	defer cancel()
	var findings []Finding
	for i, one := range all {
		findings = append(findings, named(one.subject, await(patience, told[i]))...)
	}
	return findings
}

// findMTA reads the settings of the MTA of this host: Sendmail's when it is said where they
// are, otherwise Postfix's, and those of Sendmail when there is no Postfix.
func (x *examination) findMTA(ctx context.Context, sendmailCF string) {
	x.mta, x.sendmail = noPostfix(postconf.ErrNone), &sendmail{sendmailcf.ErrNone, &sendmailcf.Settings{Path: sendmailcf.UsualPath}}
	if sendmailCF == "" {
		x.mta = readPostfix(ctx)
	}
	if errors.Is(x.mta.err, postconf.ErrNone) {
		x.sendmail = readSendmail(cmp.Or(sendmailCF, sendmailcf.UsualPath))
	}
}

// await returns what is told before ctx ends. A look at a disk or a lock that
// hangs cannot be broken off.
func await(ctx context.Context, told <-chan []Finding) []Finding {
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
	return []Finding{failure("it could not be told within %v", examineTime).do("see which disk, file lock or server hangs, and try again")}
}

// named gives the findings their subject.
func named(subject string, findings []Finding) []Finding {
	for i := range findings {
		findings[i].Subject = subject
	}
	return findings
}
