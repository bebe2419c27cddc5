package doctor

import (
	"strings"

	"coexistd/cmd/coexistd/sendmailcf"
)

// takesBack reports a listener on loopback without filters, by which a content filter hands mail back.
func (x *examination) takesBack(d sendmailcf.Daemon) bool {
	return d.Own && len(d.Filters) == 0 && d.IsLoopback() && !x.takesHostMail(d)
}

// mayTakeBack reports a listener on loopback that is neither for other hosts, nor for users, nor for the sendmail
// command: a content filter may hand mail back there. Nothing in sendmail.cf says so for sure.
func (x *examination) mayTakeBack(d sendmailcf.Daemon) bool {
	isForUsers := d.IsForUsers() || d.IsSubmission() || strings.HasPrefix(d.Name, "MSA") || strings.HasPrefix(d.Name, "MSP") || strings.HasPrefix(d.Name, "submission")
	return d.IsLoopback() && !d.IsPublic() && !isForUsers && !x.takesHostMail(d)
}

// takesMailBack tells of a listener of a content filter's, as it is right.
func takesMailBack() Finding { return fine("takes mail back from a content filter, without milters") }

// judgeMaybeReturn tells of a listener that may be such a one, and asks coexistd as all do. A list of its own says that
// somebody has thought of it.
func (x *examination) judgeMaybeReturn(d sendmailcf.Daemon) Finding {
	return warning("takes mail of this host at port %s, and asks coexistd: where a content filter hands mail back there, coexistd decides on it a second time, as mail of our own users", d.Port).
		do("where that is so, write InputMailFilters= into its DAEMON_OPTIONS in sendmail.mc, and where it is not, InputMailFilters=%s%s", strings.Join(x.sendmail.FiltersOf(d), ";"), remade)
}
