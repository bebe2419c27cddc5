package doctor

import (
	"fmt"
	"slices"
	"strings"

	"coexistd/policy/verdict"
)

// What coexistd.m4 has where sendmail.mc does not say otherwise.
const (
	usualMilter = "inet:8701@127.0.0.1"
	usualLookup = "inet:8702@127.0.0.1"
	usualTimes  = "C:30s;S:30s;R:1m;E:5m"
)

// include are the lines of sendmail.mc that bring all of coexistd.m4 about. Without its domains m4
// fails, and leaves half a sendmail.cf.
func (x *examination) include() string {
	lines := []string{fmt.Sprintf("define(`COEXISTD_DOMAINS', `%s')dnl", strings.Join(x.domainsAsked(), " "))}
	if milter := x.listenerFor(false); milter != usualMilter && milter != "" {
		lines = append(lines, fmt.Sprintf("define(`COEXISTD_MILTER', `%s')dnl", milter))
	}
	if list := x.conf.Lookups; len(list) > 0 && inSendmail(list[0].Address) != usualLookup {
		lines = append(lines, fmt.Sprintf("define(`COEXISTD_LOOKUP', `%s')dnl", inSendmail(list[0].Address)))
	}
	return strings.Join(lines, " and ") + " and below that include(`/etc/mail/coexistd.m4')dnl, both behind the FEATURE lines and before the MAILER lines, as contrib/sendmail describes"
}

// listenerFor is the address, as Sendmail writes it, of a listener of ours where all mail is that of
// our users, or of one that takes all mail. A listener for all does for users, too.
func (x *examination) listenerFor(users bool) string {
	all := ""
	for _, l := range x.conf.Listeners {
		switch isForUsers := l.Checkpoint == verdict.S2; {
		case isForUsers && users:
			return inSendmail(l.Address)
		case !isForUsers && all == "":
			all = inSendmail(l.Address)
		}
	}
	return all
}

// addListener is what to do where no listener of ours takes all mail.
func (x *examination) addListener() string {
	return fmt.Sprintf("add to %s: [[listen]] with an address of its own and without checkpoint = \"S2\"; then run: systemctl restart coexistd; and ask the doctor again", x.conf.Path)
}

// wantsUsers reports a listener that may have a filter of its own for the mail of our users. The
// common list is for all listeners.
func (d sendmailDaemon) wantsUsers() bool { return d.own && d.isForUsers() }

// fitting is the filter that should have a listener's mail, if there is one. What takes our users'
// mail alone is for no other listeners.
func (x *examination) fitting(d sendmailDaemon) (fitting sendmailFilter, is bool) {
	for _, f := range x.ours() {
		switch isForUsers := x.isForUsers(f); {
		case isForUsers == d.wantsUsers():
			return f, true
		case !isForUsers && !is:
			fitting, is = f, true
		}
	}
	return fitting, is
}

// needless is the filter of ours that a listener can do without, of those that it has.
func (x *examination) needless(d sendmailDaemon, us []sendmailFilter) string {
	for _, f := range us {
		if x.isForUsers(f) != d.wantsUsers() {
			return f.name
		}
	}
	return us[1].name
}

// listOf says where the list of a listener's filters is.
func listOf(d sendmailDaemon) string {
	if d.own {
		return "InputMailFilters in the DAEMON_OPTIONS of " + d.name
	}
	return "the common list: write MAIL_FILTER in place of its INPUT_MAIL_FILTER, or confINPUT_MAIL_FILTERS without it"
}

// listWith is the line of sendmail.mc that gives a listener another filter in place of one of its
// list, or before all others.
func listWith(d sendmailDaemon, names []string, old, other string) string {
	list := slices.Clone(names)
	if i := slices.Index(names, old); i >= 0 {
		list[i] = other
	} else {
		list = append([]string{other}, list...)
	}
	if d.own {
		return fmt.Sprintf("InputMailFilters=%s in the DAEMON_OPTIONS of %s", strings.Join(list, ";"), d.name)
	}
	return fmt.Sprintf("define(`confINPUT_MAIL_FILTERS', `%s')dnl", strings.Join(list, ","))
}

// filterLine is the line of sendmail.mc that makes a filter.
func (s *sendmail) filterLine(name, address, times string) string {
	macro := "MAIL_FILTER"
	if slices.Contains(s.commonFilters(), name) {
		macro = "INPUT_MAIL_FILTER" // which puts it into the common list, too
	}
	return fmt.Sprintf("%s(`%s', `S=%s, F=T, T=%s')dnl", macro, name, address, times)
}

// rightAddress is the line that has a filter lead to the listener of ours that is for it.
func (x *examination) rightAddress(d sendmailDaemon, f sendmailFilter) string {
	if f.name == "coexistd" {
		return fmt.Sprintf("define(`COEXISTD_MILTER', `%s')dnl before the include of coexistd.m4", x.listenerFor(false))
	}
	return x.sendmail.filterLine(f.name, x.listenerFor(d.wantsUsers()), usualTimes) + " in place of its line"
}

// newFilter is what makes a filter that leads to us, and puts it into a listener's list.
func (x *examination) newFilter(d sendmailDaemon, names []string) string {
	name, line := "coexistd", x.include()
	_, included := x.sendmail.maps["sendmail"]
	switch address := x.listenerFor(d.wantsUsers()); {
	case address != x.listenerFor(false):
		name = "coexistd-users"
		line = x.sendmail.filterLine(name, address, usualTimes)
	case included:
		line = fmt.Sprintf("INPUT_MAIL_FILTER(`%s', `S=%s, F=T, T=%s')dnl, which is what coexistd.m4 has", name, address, usualTimes)
	}
	if d.own {
		line += ", and " + listWith(d, names, "", name)
	}
	return line
}

// insteadOf is what to write where a listener's list names a filter that no line defines.
func (x *examination) insteadOf(d sendmailDaemon, names []string, lacking string) string {
	isOurs := strings.HasPrefix(strings.ToLower(lacking), "coex") || len(names) == 1
	address := x.listenerFor(d.wantsUsers())
	switch f, is := x.fitting(d); {
	case !isOurs, address == "":
		return fmt.Sprintf("MAIL_FILTER(`%s', `S=…')dnl with its socket, or take %s out of the list", lacking, lacking)
	case is && x.isForUsers(f) == d.wantsUsers() && !slices.Contains(names, f.name):
		return listWith(d, names, lacking, f.name)
	}
	return fmt.Sprintf("MAIL_FILTER(`%s', `S=%s, F=T, T=%s')dnl", lacking, address, usualTimes)
}
