package doctor

import (
	"context"
	"slices"
	"strings"

	"coexistd/cmd/coexistd/sendmailcf"
)

func daemonName(d sendmailcf.Daemon) string { return d.Name }

// surveySendmailMilters looks at the other milters: whether all mail meets them, their order, and what
// becomes of mail while one is away.
func surveySendmailMilters(_ context.Context, s *survey) []Finding {
	return slices.Concat(together("daemon", s.sendmail.Listening(), daemonName, s.judgeSendmailList), lookAtOtherFilters(s.examination))
}

// judgeSendmailList says of a listener by which milters its mail goes. It reads on from the listener's
// name.
func (s *survey) judgeSendmailList(d sendmailcf.Daemon) (f Finding, is bool) {
	names, list := s.sendmail.FiltersOf(d), s.sendmailStandings(d)
	switch lacks := s.sendmail.undefined(names); {
	case lacks != "":
		return s.sendmail.lacksFilter(lacks).do("write into sendmail.mc: MAIL_FILTER(`%s', `S=…')dnl with its socket, or take %s out of the list%s", lacks, lacks, remade), true
	case d.Own && len(names) == 0 && !s.takesBack(d):
		return failure("asks no milter, as its own list InputMailFilters is empty: its mail will pass by coexistd, and that for users who live elsewhere goes astray").
			do("take InputMailFilters out of the DAEMON_OPTIONS of %s in sendmail.mc, save where a content filter hands mail back there%s", d.Name, remade), true
	case len(list) == 0 || !inTurn(list):
		return f, false
	}
	var said []string
	for _, m := range list {
		said = append(said, m.String()+m.absence())
	}
	return fine("asks %s: coexistd setup sendmail puts coexistd before them, so that they see what it makes of a message", strings.Join(said, ", ")), true
}

// absence says what becomes of mail while a filter of Sendmail's is away.
func (m standing) absence() string {
	switch f := m.filter.Flags; {
	case strings.Contains(f, "T"):
		return ", for which mail waits (F=T)"
	case strings.Contains(f, "4"):
		return ", for which mail waits (F=4)"
	case strings.Contains(f, "R"):
		return ", without which mail is refused (F=R)"
	}
	return ", without which mail goes on"
}

// surveySendmailFilters looks at listeners by which a content filter of this host may hand mail back, and
// at those that other hosts do not reach.
func surveySendmailFilters(_ context.Context, s *survey) []Finding {
	findings := together("daemon", s.sendmail.Listening(), daemonName, func(d sendmailcf.Daemon) (f Finding, is bool) {
		switch {
		case s.takesBack(d):
			return takesMailBack(), true
		case !s.mayTakeBack(d):
			return f, false
		}
		return warning("takes mail of this host at port %s, and coexistd setup sendmail will have it ask coexistd: where a content filter hands mail back there, coexistd would decide on it a second time, as mail of our own users", d.Port).
			do("where that is so, write InputMailFilters= into its DAEMON_OPTIONS in sendmail.mc%s", remade), true
	})
	for _, f := range lookAtReach(s.examination) {
		findings = append(findings, fine("%s: coexistd setup sendmail takes Addr= out of its DAEMON_OPTIONS", f.Found))
	}
	return findings
}
