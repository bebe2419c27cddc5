package doctor

import (
	"fmt"
	"slices"
	"strings"

	"coexistd/cmd/coexistd/sendmailcf"
)

// include are the lines of sendmail.mc that bring all of coexistd.m4 about. Without its domains m4
// fails, and leaves half a sendmail.cf.
func (x *examination) include() string {
	lines := []string{fmt.Sprintf("define(`COEXISTD_DOMAINS', `%s')dnl", strings.Join(sendmailcf.DomainsAsked(x.conf), " "))}
	if milter := sendmailcf.ListenerFor(x.conf, false); milter != sendmailcf.UsualMilter && milter != "" {
		lines = append(lines, fmt.Sprintf("define(`COEXISTD_MILTER', `%s')dnl", milter))
	}
	if list := x.conf.Lookups; len(list) > 0 && sendmailcf.Written(list[0].Address) != sendmailcf.UsualLookup {
		lines = append(lines, fmt.Sprintf("define(`COEXISTD_LOOKUP', `%s')dnl", sendmailcf.Written(list[0].Address)))
	}
	return strings.Join(lines, " and ") + " and below that include(`/etc/mail/coexistd.m4')dnl, both behind the FEATURE lines and before the MAILER lines, as contrib/sendmail describes"
}

// addListener is what to do where no listener of ours takes all mail.
func (x *examination) addListener() string {
	return fmt.Sprintf("add to %s: [[listen]] with an address of its own and without checkpoint = \"S2\"; then run: systemctl restart coexistd; and ask the doctor again", x.conf.Path)
}

// fitting is the filter that should have a listener's mail, if there is one. What takes our users'
// mail alone is for no other listeners.
func (x *examination) fitting(d sendmailcf.Daemon) (fitting sendmailcf.Filter, is bool) {
	for _, f := range x.ours() {
		switch isForUsers := f.IsForUsers(x.conf.Listeners); {
		case isForUsers == d.WantsUsers():
			return f, true
		case !isForUsers && !is:
			fitting, is = f, true
		}
	}
	return fitting, is
}

// needless is the filter of ours that a listener can do without, of those that it has.
func (x *examination) needless(d sendmailcf.Daemon, us []sendmailcf.Filter) string {
	for _, f := range us {
		if f.IsForUsers(x.conf.Listeners) != d.WantsUsers() {
			return f.Name
		}
	}
	return us[1].Name
}

// listOf says where the list of a listener's filters is.
func listOf(d sendmailcf.Daemon) string {
	if d.Own {
		return "InputMailFilters in the DAEMON_OPTIONS of " + d.Name
	}
	return "the common list: write MAIL_FILTER in place of its INPUT_MAIL_FILTER, or confINPUT_MAIL_FILTERS without it"
}

// listWith is the line of sendmail.mc that gives a listener another filter in place of one of its
// list, or before all others.
func listWith(d sendmailcf.Daemon, names []string, old, other string) string {
	list := slices.Clone(names)
	if i := slices.Index(names, old); i >= 0 {
		list[i] = other
	} else {
		list = append([]string{other}, list...)
	}
	return listLine(d, list)
}

// listLine is the line of sendmail.mc that gives a listener a list of filters.
func listLine(d sendmailcf.Daemon, list []string) string {
	if d.Own {
		return fmt.Sprintf("InputMailFilters=%s in the DAEMON_OPTIONS of %s", strings.Join(list, ";"), d.Name)
	}
	return fmt.Sprintf("define(`confINPUT_MAIL_FILTERS', `%s')dnl", strings.Join(list, ","))
}

// filterLine is the line of sendmail.mc that makes a filter.
func (s *sendmail) filterLine(name, address, times string) string {
	return fmt.Sprintf("%s(`%s', `S=%s, F=T, T=%s')dnl", s.filterMacro(name), name, address, times)
}

// filterMacro is the one that makes a filter, and puts it into the common list where it stands there.
func (s *sendmail) filterMacro(name string) string {
	if slices.Contains(s.CommonFilters(), name) {
		return "INPUT_MAIL_FILTER"
	}
	return "MAIL_FILTER"
}

// rightAddress is the line that has a filter lead to the listener of ours that is for it.
func (x *examination) rightAddress(d sendmailcf.Daemon, f sendmailcf.Filter) string {
	if f.Name == "coexistd" {
		return fmt.Sprintf("define(`COEXISTD_MILTER', `%s')dnl before the include of coexistd.m4", sendmailcf.ListenerFor(x.conf, false))
	}
	return x.sendmail.filterLine(f.Name, sendmailcf.ListenerFor(x.conf, d.WantsUsers()), sendmailcf.UsualTimes) + " in place of its line"
}

// newFilter is what makes a filter that leads to us, and puts it into a listener's list.
func (x *examination) newFilter(d sendmailcf.Daemon, names []string) string {
	name, line := "coexistd", x.include()
	_, included := x.sendmail.Maps["sendmail"]
	switch address := sendmailcf.ListenerFor(x.conf, d.WantsUsers()); {
	case address != sendmailcf.ListenerFor(x.conf, false):
		name = "coexistd-users"
		line = x.sendmail.filterLine(name, address, sendmailcf.UsualTimes)
	case included:
		line = fmt.Sprintf("INPUT_MAIL_FILTER(`%s', `S=%s, F=T, T=%s')dnl, which is what coexistd.m4 has", name, address, sendmailcf.UsualTimes)
	}
	if d.Own {
		line += ", and " + listWith(d, names, "", name)
	}
	return line
}

// insteadOf is what to write where a listener's list names a filter that no line defines.
func (x *examination) insteadOf(d sendmailcf.Daemon, names []string, lacking string) string {
	isOurs := strings.HasPrefix(strings.ToLower(lacking), "coex") || len(names) == 1
	address := sendmailcf.ListenerFor(x.conf, d.WantsUsers())
	switch f, is := x.fitting(d); {
	case !isOurs, address == "":
		return fmt.Sprintf("MAIL_FILTER(`%s', `S=…')dnl with its socket, or take %s out of the list", lacking, lacking)
	case is && f.IsForUsers(x.conf.Listeners) == d.WantsUsers() && !slices.Contains(names, f.Name):
		return listWith(d, names, lacking, f.Name)
	}
	return fmt.Sprintf("MAIL_FILTER(`%s', `S=%s, F=T, T=%s')dnl", lacking, address, sendmailcf.UsualTimes)
}
