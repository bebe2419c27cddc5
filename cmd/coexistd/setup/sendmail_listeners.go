package setup

import (
	"regexp"
	"slices"
	"strings"

	"coexistd/cmd/coexistd/sendmailcf"
)

// listen has Sendmail listen for mail from elsewhere, which Debian's does not.
func (g *sendmailSide) listen() {
	var lines, byHand []string
	isForUsers := func(d sendmailcf.Daemon) bool { return g.usersAddress() != "" && d.IsSubmission() }
	for _, isRight := range []func(d sendmailcf.Daemon) bool{sendmailcf.Daemon.IsPublic, isForUsers} {
		all := slices.DeleteFunc(slices.Clone(g.m.Listening()), func(d sendmailcf.Daemon) bool { return !isRight(d) })
		if slices.ContainsFunc(all, func(d sendmailcf.Daemon) bool { return !d.IsLoopback() }) {
			continue
		}
		for _, d := range all {
			if g.hasLine(d) {
				lines = append(lines, g.edit(sendmailMC, addressOf(d)+"{"+withoutOption("Aa")+"}"))
			} else {
				byHand = append(byHand, d.Name)
			}
		}
	}
	text := "So far it listens on this host's own address alone."
	if len(byHand) > 0 {
		text += " " + sendmailMC + " lacks a line of DAEMON_OPTIONS for " + strings.Join(byHand, ", ") + ": take Addr= out where it is made."
	}
	if len(lines)+len(byHand) > 0 {
		g.steps = append(g.steps, Step{Title: "Listen for mail from elsewhere", Text: text, Code: strings.Join(lines, "\n")})
	}
}

// lineOf matches the line of sendmail.mc that makes a listener, for sed -E as for Go. Sendmail tells the
// options by their first letters.
func lineOf(d sendmailcf.Daemon) string {
	return "^DAEMON_OPTIONS\\(`(.*,)?[[:blank:]]*[Nn][A-Za-z]*=[[:blank:]]*" + regexp.QuoteMeta(d.Name) + "[[:blank:]]*[,']"
}

// hasLine reports that a listener is a line of sendmail.mc.
func (g *sendmailSide) hasLine(d sendmailcf.Daemon) bool {
	return g.hasRow(lineOf(d))
}

// addressOf is the address for sed -E of a listener's line in sendmail.mc.
func addressOf(d sendmailcf.Daemon) string {
	return "/" + strings.ReplaceAll(lineOf(d), "/", `\/`) + "/"
}

// withoutOption is what sed -E does to a listener's line to take out an option that begins with one of some
// letters.
func withoutOption(letters string) string {
	one := "[[:blank:]]*[" + letters + "][A-Za-z]*=[^,')]*"
	return "s/," + one + "//; s/`" + one + ",[[:blank:]]*/`/"
}

// usersAddress is that of a listener of ours for users alone, as Sendmail writes it, or "".
func (g *sendmailSide) usersAddress() string {
	if users := sendmailcf.ListenerFor(g.Conf, true); users != sendmailcf.ListenerFor(g.Conf, false) {
		return users
	}
	return ""
}

// users has listeners with a list of filters of their own ask ours, and those to which our users bring mail
// the listener of ours that is for them.
func (g *sendmailSide) users() {
	var lines, byHand []string
	for _, d := range g.m.Listening() {
		filter := ourFilter
		if g.usersAddress() != "" && d.AsksLogin() {
			filter = usersFilter
		}
		if g.isFiltered(d, filter == usersFilter) || !d.Own && filter == ourFilter || d.Own && len(d.Filters) == 0 {
			continue
		}
		script, list := addressOf(d)+"s/'\\)/, InputMailFilters="+g.usersList()+"')/", g.usersList()
		if d.Own {
			script, list = addressOf(d)+"s/[,`][[:blank:]]*[Ii][A-Za-z]*=/&"+filter+";/", strings.Join(append([]string{filter}, d.Filters...), ";")
		}
		if g.hasLine(d) {
			lines = append(lines, g.edit(sendmailMC, script))
		} else {
			byHand = append(byHand, "InputMailFilters="+list+" to that of "+d.Name)
		}
	}
	text := "Whoever is not logged in gets 530 at a listener for users alone."
	if len(byHand) > 0 {
		text += " " + sendmailMC + " lacks lines of DAEMON_OPTIONS. Write them, and add " + strings.Join(byHand, ", ") + "."
	}
	if len(lines)+len(byHand) > 0 {
		g.steps = append(g.steps, Step{Title: "Give coexistd the mail of listeners with filters of their own", Text: text, Code: strings.Join(lines, "\n")})
	}
}

// othersFilters are the names of the common filters that do not lead to us.
func (g *sendmailSide) othersFilters() []string {
	return slices.DeleteFunc(g.m.CommonFilters(), func(name string) bool {
		return name == ourFilter || slices.ContainsFunc(g.m.Filters, func(f sendmailcf.Filter) bool { return f.Name == name && f.LeadsTo(g.Conf.Listeners) })
	})
}

// usersList is the list of filters for a listener for users: in place of the common one, of which it has
// the others.
func (g *sendmailSide) usersList() string {
	return strings.Join(append([]string{usersFilter}, g.othersFilters()...), ";")
}

// isFiltered reports that one of a listener's filters leads to us: to a listener of ours for users, or
// to one for all.
func (g *sendmailSide) isFiltered(d sendmailcf.Daemon, users bool) bool {
	names := g.m.FiltersOf(d)
	return slices.ContainsFunc(g.m.Filters, func(f sendmailcf.Filter) bool {
		return slices.Contains(names, f.Name) && f.LeadsTo(g.Conf.Listeners) && f.IsForUsers(g.Conf.Listeners) == users
	})
}
