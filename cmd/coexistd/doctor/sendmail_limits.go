package doctor

import (
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"coexistd/cmd/coexistd/account"
)

// number is the value of an option that is a number; 0 where it is none.
func (s *sendmail) number(name string, usual int64) int64 {
	value, err := strconv.ParseInt(s.option(name, strconv.FormatInt(usual, 10)), 10, 64)
	if err != nil {
		return 0
	}
	return value
}

// lookAtBounds looks for bounds of Sendmail's that are too low for the mail of platforms.
func lookAtBounds(s *sendmail) []Finding {
	const (
		usualHeader   = 32768 // conf.h of Sendmail
		leastReceived = 100   // RFC 5321 section 4.5.3.1.8
	)
	var findings []Finding
	if most := s.number("MaxHeadersLength", usualHeader); most > 0 && most < usualHeader {
		findings = append(findings, warning("Sendmail refuses messages whose header is longer than %d bytes (MaxHeadersLength), and Exchange Online's may be", most).
			inMC("define(`confMAX_HEADERS_LENGTH', `131072')dnl"))
	}
	if most := s.number("MaxRecipientsPerMessage", 0); most > 0 && most < leastReceived {
		findings = append(findings, warning("Sendmail takes %d recipients of a message (MaxRecipientsPerMessage), where each host must take %d: mail for more of them comes in pieces, and is counted so", most, leastReceived).
			inMC("define(`confMAX_RCPTS_PER_MESSAGE', `%d')dnl", leastReceived))
	}
	return findings
}

// socketsUsed are our Unix sockets that sendmail.cf names.
func (x *examination) socketsUsed() (paths []string) {
	texts := []string{x.sendmail.maps["sendmail"].address}
	for _, f := range x.sendmail.filters {
		texts = append(texts, f.address)
	}
	listeners := slices.Concat(x.conf.Listeners, x.conf.Lookups)
	for _, text := range texts {
		if kind, path := sendmailSocket(text); kind == "unix" && isListenedAt(kind, path, listeners) && !slices.Contains(paths, path) {
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
		name, _, _ := strings.Cut(s.option("RunAsUser", "root"), ":")
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
	blame := strings.ToLower(s.option("DontBlameSendmail", ""))
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
