package doctor

import (
	"cmp"
	"context"
	"slices"
	"strings"

	"coexistd/cmd/coexistd/sendmailcf"
)

func daemonName(d sendmailcf.Daemon) string { return d.Name }

// surveySendmailMilters looks at the other milters: whether all mail meets them, their order, and what
// becomes of mail while one is away.
func surveySendmailMilters(_ context.Context, s *survey) []Finding {
	daemons := s.sendmail.Listening()
	findings := together("daemon", daemons, daemonName, s.judgeSendmailList)
	var used []standing
	for _, d := range daemons {
		used = append(used, s.sendmailStandings(d)...)
	}
	told := make(map[string]bool)
	for _, m := range used {
		f := m.filter
		if told[f.Name] || m.isUs || !strings.Contains(f.Flags, "R") {
			continue
		}
		told[f.Name] = true
		findings = append(findings, warning("while %s is away, mail is refused for good (F=R)", m).
			inMC("%s in place of its line, or the same without F=T where mail may go on without it", s.sendmail.filterLine(f.Name, f.Address, sendmailcf.UsualTimes)))
	}
	return append(findings, s.askedTwice(used)...)
}

// sendmailStandings are the filters of a listener, in their order.
func (s *survey) sendmailStandings(d sendmailcf.Daemon) (list []standing) {
	for _, name := range s.sendmail.FiltersOf(d) {
		for _, f := range s.sendmail.Filters {
			if f.Name == name {
				kind, address := sendmailcf.Socket(f.Address)
				list = append(list, standing{address: f.Address, filter: f, isUs: f.LeadsTo(s.conf.Listeners), known: knownAs(f.Name, kind+":"+address)})
			}
		}
	}
	return list
}

// judgeSendmailList says of a listener by which milters its mail goes. It reads on from the listener's
// name.
func (s *survey) judgeSendmailList(d sendmailcf.Daemon) (f Finding, is bool) {
	names, list := s.sendmail.FiltersOf(d), s.sendmailStandings(d)
	var said, right []string
	for _, m := range list {
		said = append(said, m.String()+m.absence())
	}
	switch lacks := s.sendmail.undefined(names); {
	case lacks != "":
		return s.sendmail.lacksFilter(lacks).do("write into sendmail.mc: MAIL_FILTER(`%s', `S=…')dnl with its socket, or take %s out of the list%s", lacks, lacks, remade), true
	case d.Own && len(names) == 0 && !s.takesBack(d):
		return failure("asks no milter, as its own list InputMailFilters is empty: its mail will pass by coexistd, and that for users who live elsewhere goes astray").
			do("take InputMailFilters out of the DAEMON_OPTIONS of %s in sendmail.mc, save where a content filter hands mail back there%s", d.Name, remade), true
	case len(list) == 0:
		return f, false
	case inTurn(list):
		return fine("asks %s: coexistd setup sendmail puts coexistd before them, so that they see what it makes of a message", strings.Join(said, ", ")), true
	}
	slices.SortStableFunc(list, func(a, b standing) int { return cmp.Compare(a.place(), b.place()) })
	for _, m := range list {
		right = append(right, m.String())
	}
	return warning("asks %s, and each %s", strings.Join(said, ", "), orderMatters).
		do("have sendmail.mc name them in this order, by its lines INPUT_MAIL_FILTER or in InputMailFilters: %s%s", strings.Join(right, ", "), remade), true
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

// takesBack reports a listener on loopback without filters, by which a content filter hands mail back.
func (x *examination) takesBack(d sendmailcf.Daemon) bool {
	return d.Own && len(d.Filters) == 0 && d.IsLoopback() && !x.takesHostMail(d)
}

// surveySendmailFilters looks at listeners by which a content filter of this host may hand mail back, and
// at those that other hosts do not reach.
func surveySendmailFilters(_ context.Context, s *survey) []Finding {
	findings := together("daemon", s.sendmail.Listening(), daemonName, func(d sendmailcf.Daemon) (f Finding, is bool) {
		switch {
		case s.takesBack(d):
			return takesMailBack(), true
		case !d.IsLoopback() || d.IsPublic() || d.IsSubmission() || d.AsksLogin() || s.takesHostMail(d):
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

// lacksFilter tells of a list that names a filter which no line defines.
func (s *sendmail) lacksFilter(name string) Finding {
	return failure("names the filter %s, which no line defines: Sendmail does not start (InputFilter %s not defined)", name, name)
}

// takesMailBack tells of a listener of a content filter's, as it is right.
func takesMailBack() Finding { return fine("takes mail back from a content filter, without milters") }
