package doctor

import (
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"coexistd/cmd/coexistd/account"
	"coexistd/cmd/coexistd/sendmailcf"
	"coexistd/policy/config"
)

// number is the value of an option that is a number; 0 where it is none.
func (s *sendmail) number(name string, usual int64) int64 {
	value, err := strconv.ParseInt(s.Option(name, strconv.FormatInt(usual, 10)), 10, 64)
	if err != nil {
		return 0
	}
	return value
}

// lookAtBounds looks for bounds of Sendmail's that are too low for the mail of platforms.
func lookAtBounds(s *sendmail) []Finding {
	const (
		usualHeader   = 32768 // conf.h of Sendmail
		mostHeader    = 65000 // a field of 64 KiB is more than Sendmail can tell a milter
		leastReceived = 100   // RFC 5321 section 4.5.3.1.8
	)
	var findings []Finding
	if most := s.number("MaxHeadersLength", usualHeader); most > 0 && most <= usualHeader {
		findings = append(findings, warning("Sendmail refuses messages whose header is longer than %d bytes (MaxHeadersLength), and Exchange Online's may be", most).
			inMC("define(`confMAX_HEADERS_LENGTH', `%d')dnl", mostHeader))
	}
	if most := s.number("MaxRecipientsPerMessage", 0); most > 0 && most < leastReceived {
		findings = append(findings, warning("Sendmail takes %d recipients of a message (MaxRecipientsPerMessage), where each host must take %d: mail for more of them comes in pieces, and is counted so", most, leastReceived).
			inMC("define(`confMAX_RCPTS_PER_MESSAGE', `%d')dnl", leastReceived))
	}
	return findings
}

// lookAtHops sees whether a message comes as far as max_passes lets it.
func lookAtHops(x *examination) []Finding {
	const (
		usual = 25  // conf.h of Sendmail
		right = 100 // RFC 5321 section 6.3
		// ofAPass are the servers that a message passes from when we send it on to when a
		// platform has sent it back: the Received fields of Exchange Online, and ours.
		ofAPass = 8
	)
	passes := x.conf.Rules.Routes.MaxPasses
	most := x.sendmail.number("MaxHopCount", usual)
	if most >= int64(ofAPass*passes) {
		return nil
	}
	return []Finding{warning("Sendmail refuses messages that have passed more than %d servers (MaxHopCount), and one that is sent on %d times, as max_passes lets it be, has passed some %d", most, passes, ofAPass*passes).
		inMC("define(`confMAX_HOP', `%d')dnl", right)}
}

// lookAtNotices sees whether coexistd is told rightly that Sendmail offers delivery reports.
func lookAtNotices(s *sendmail) []Finding {
	if s.Macros["coexistd_dsn"] == "" {
		return nil
	}
	if clients := s.withoutNotices(); len(clients) > 0 {
		return []Finding{failure("Sendmail offers some clients no delivery reports (%s in the access map), but {coexistd_dsn} says that it does: recipients of their mail who live elsewhere are lost", some(clients)).
			do("take the d out of these lines, or the line D{coexistd_dsn}yes out of coexistd.m4%s", remade)}
	}
	offers := !strings.Contains(strings.ToLower(s.Option("PrivacyOptions", "")), "noreceipts") && isYes(s.Option("SendMimeErrors", "True"))
	if offers {
		return nil
	}
	return []Finding{failure("Sendmail offers no delivery reports (noreceipts in PrivacyOptions, or SendMimeErrors=False), but {coexistd_dsn} says that it does: recipients for whom a report was asked are lost").
		do("make sendmail.cf anew with the coexistd.m4 of this version behind the define of confPRIVACY_FLAGS, or take D{coexistd_dsn}yes out of it; then run: systemctl restart sendmail")}
}

// withoutNotices are the lines of the access map by which clients are offered no DSN (srv_features):
// a small letter takes a feature away.
func (s *sendmail) withoutNotices() (keys []string) {
	access, _ := s.Table("access")
	for key, value := range access {
		if strings.HasPrefix(key, "srv_features:") && strings.Contains(value, "d") {
			keys = append(keys, key)
		}
	}
	slices.Sort(keys)
	return keys
}

// isYes reads a value as Sendmail's options have it.
func isYes(text string) bool {
	return text == "" || strings.ContainsAny(text[:1], "tTyY")
}

// lookAtLogging looks for a log that gets the secrets which prove a tenant: from its level 9 on, it
// has each header that a milter takes away.
func lookAtLogging(x *examination) []Finding {
	const tells, usual = 9, 9
	secrets := x.conf.Rules.Tenants.SecretHeaders()
	level := x.sendmail.number("Milter.LogLevel", x.sendmail.number("LogLevel", usual))
	if level < tells || len(secrets) == 0 {
		return nil
	}
	return []Finding{warning("Sendmail writes the secret of %s into its log, as every header that coexistd takes out (Milter.LogLevel is %d)", some(secrets), level).
		inMC("define(`confMILTER_LOG_LEVEL', `%d')dnl", tells-1)}
}

// socketsUsed are our Unix sockets that sendmail.cf names.
func (x *examination) socketsUsed() (paths []string) {
	texts := []string{x.sendmail.Maps["sendmail"].Address}
	for _, f := range x.sendmail.Filters {
		texts = append(texts, f.Address)
	}
	listeners := slices.Concat(x.conf.Listeners, x.conf.Lookups)
	for _, text := range texts {
		if kind, path := sendmailcf.Socket(text); kind == "unix" && config.ListenedAt(kind, path, listeners) && !slices.Contains(paths, path) {
			paths = append(paths, path)
		}
	}
	return paths
}

// lookAtSendmailSockets sees whether Sendmail takes our Unix sockets.
func lookAtSendmailSockets(x *examination) []Finding {
	s := x.sendmail
	var findings []Finding
	for _, path := range x.socketsUsed() {
		if folder := s.unsafe(path); folder != "" {
			findings = append(findings, failure("others may write into %s, so that Sendmail does not take %s: all mail is put off", folder, path).
				do("let coexistd listen in a folder of its own, such as unix:/run/coexistd/milter.sock, or take the right away: chmod go-w %s", folder))
		}
		name, _, _ := strings.Cut(s.Option("RunAsUser", "root"), ":")
		user, err := account.Named(name)
		if err != nil || user.IsRoot() {
			continue
		}
		if barring, err := user.BarredFrom(path, account.Writing); err == nil && barring != "" {
			findings = append(findings, failure("%s, as whom Sendmail runs, may not use %s: the owner and the mode of %s do not allow it, and all mail is put off", user.Name, path, barring).
				do("run: usermod -aG %s %s; systemctl restart sendmail", account.OwnName(), user.Name))
		}
	}
	return findings
}

// unsafe is a folder on the way to a socket into which others may write, as far as
// DontBlameSendmail does not say that this is right, or "".
func (s *sendmail) unsafe(path string) string {
	const group, others = 0o020, 0o002
	blame := strings.ToLower(s.Option("DontBlameSendmail", ""))
	for at := filepath.Dir(path); ; at = filepath.Dir(at) {
		state, err := os.Stat(at)
		if err != nil {
			return ""
		}
		mode, bad := state.Mode(), os.FileMode(group|others)
		if strings.Contains(blame, "groupwritabledirpathsafe") {
			bad = others
		}
		if mode&bad != 0 && !(mode&os.ModeSticky != 0 && strings.Contains(blame, "truststickybit")) {
			return at
		}
		if at == filepath.Dir(at) {
			return ""
		}
	}
}
