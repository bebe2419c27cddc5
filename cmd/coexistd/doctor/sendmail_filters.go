package doctor

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"coexistd/scanners/sender"
)

// ours are the filters that lead to us.
func (x *examination) ours() (list []sendmailFilter) {
	for _, f := range x.sendmail.filters {
		if x.leadsToMilter(f) {
			list = append(list, f)
		}
	}
	return list
}

func (x *examination) leadsToMilter(f sendmailFilter) bool {
	kind, address := sendmailSocket(f.address)
	return isListenedAt(kind, address, x.conf.Listeners)
}

// listening are Sendmail's listeners; it has one when sendmail.cf names none.
func (s *sendmail) listening() []sendmailDaemon {
	if len(s.daemons) == 0 {
		return []sendmailDaemon{{name: "Daemon0", port: "smtp"}}
	}
	return s.daemons
}

// filtersOf are the names of the filters by which a listener's mail goes, in their order.
func (s *sendmail) filtersOf(d sendmailDaemon) []string {
	if d.own {
		return d.filters
	}
	return filterNames(s.option("InputMailFilters", ""))
}

// filtersOfOurs are those among them that lead to us.
func (x *examination) filtersOfOurs(d sendmailDaemon) (list []sendmailFilter) {
	names := x.sendmail.filtersOf(d)
	for _, f := range x.ours() {
		if slices.Contains(names, f.name) {
			list = append(list, f)
		}
	}
	return list
}

// lookAtFilters sees whether each listener gives its mail to us.
func lookAtFilters(x *examination) []Finding {
	daemons := x.sendmail.listening()
	findings := together("daemon", daemons, func(d sendmailDaemon) string { return d.name }, func(d sendmailDaemon) (Finding, bool) { return x.judgeListener(d), true })
	used := make(map[string]bool)
	for _, d := range daemons {
		for _, name := range x.sendmail.filtersOf(d) {
			used[name] = true
		}
	}
	someAreUsed := slices.ContainsFunc(x.ours(), func(f sendmailFilter) bool { return used[f.name] })
	for _, f := range x.ours() {
		if someAreUsed && !used[f.name] {
			findings = append(findings, warning("the filter %s (%s) leads to coexistd, but no list names it", f.name, f.address).
				do("name it in the InputMailFilters of the DAEMON_OPTIONS whose mail it is for, or take its line out of sendmail.mc"+remade))
		}
	}
	return findings
}

// judgeListener says of one listener whether it gives its mail to us. What it finds reads on from
// its name.
func (x *examination) judgeListener(d sendmailDaemon) Finding {
	names, us := x.sendmail.filtersOf(d), x.filtersOfOurs(d)
	switch {
	case len(us) == 0 && d.own && len(names) == 0 && isLoopback(d.host+":0") && !x.takesHostMail(d):
		return fine("takes mail back from a content filter, without milters")
	case len(us) == 0:
		return x.judgeLack(d, names)
	case len(us) > 1:
		return failure("hands its mail to coexistd twice, by %s and %s", us[0].name, us[1].name).
			do("take one of the two out of the list (InputMailFilters) in sendmail.mc" + remade)
	}
	f := us[0]
	line := fmt.Sprintf("INPUT_MAIL_FILTER(`%s', `S=%s, F=T, T=C:30s;S:30s;R:1m;E:5m')dnl in place of its line", f.name, f.address)
	switch {
	case strings.ContainsAny(f.flags, "T4"):
	case strings.Contains(f.flags, "R"):
		return warning("hands its mail to coexistd by %s, but while coexistd is away, mail is refused for good (F=R)", f.address).inMC("%s", line)
	default:
		return failure("hands its mail to coexistd by %s, but while coexistd is away, mail passes by unchecked, and that for users who live elsewhere goes astray (F= is missing)", f.address).inMC("%s", line)
	}
	if signer := x.signerBefore(names, f.name); signer != "" {
		return warning("hands its mail to coexistd by %s, but to %s before, which signs: what coexistd then changes breaks the signature", f.address, signer).
			do("put the include of coexistd.m4 before the line of %s in sendmail.mc"+remade, signer)
	}
	return fine("hands its mail to coexistd by %s", f.address)
}

// signerBefore is a filter before ours that seems to sign messages, or "".
func (x *examination) signerBefore(names []string, ours string) string {
	for _, name := range names {
		if name == ours {
			break
		}
		for _, f := range x.sendmail.filters {
			text := strings.ToLower(f.name + " " + f.address)
			if f.name == name && (strings.Contains(text, "dkim") || strings.Contains(text, "openarc")) {
				return name
			}
		}
	}
	return ""
}

// judgeLack says why a listener gives no mail to us.
func (x *examination) judgeLack(d sendmailDaemon, names []string) Finding {
	here := inSendmail(x.conf.Listeners[0].Address)
	list := "the list InputMailFilters"
	if d.own {
		list = "its own list InputMailFilters"
	}
	if ours := x.ours(); len(ours) > 0 {
		return failure("does not hand its mail to coexistd: %s is %q, without %s", list, strings.Join(names, ";"), ours[0].name).
			inMC("%s", x.listWith(d, names, ours[0].name))
	}
	for _, f := range x.sendmail.filters {
		if slices.Contains(names, f.name) && strings.HasPrefix(f.name, "coexistd") {
			return failure("does not hand its mail to coexistd: the filter %s is %q, where [[listen]] has none", f.name, f.address).
				inMC("define(`COEXISTD_MILTER', `%s')dnl before the include of coexistd.m4", here)
		}
	}
	return failure("does not hand its mail to coexistd: %s is %q, and no filter (X) leads to %s", list, strings.Join(names, ";"), here).
		inMC("include(`/etc/mail/coexistd.m4')dnl, with define(`COEXISTD_MILTER', `%s')dnl before it, as contrib/sendmail describes", here)
}

// listWith is the line of sendmail.mc that gives a listener one filter more.
func (x *examination) listWith(d sendmailDaemon, names []string, more string) string {
	list := strings.Join(append([]string{more}, names...), ";")
	if d.own {
		return fmt.Sprintf("InputMailFilters=%s in the DAEMON_OPTIONS of %s", list, d.name)
	}
	return fmt.Sprintf("define(`confINPUT_MAIL_FILTERS', `%s')dnl", strings.ReplaceAll(list, ";", ","))
}

// leastTimes are the times that Sendmail must give us at least, and those of coexistd.m4. At the
// end of a message we say every five seconds that we are at work (milter.conn), which R waits for;
// E is for all of it.
func (x *examination) leastTimes() []leastTime {
	return []leastTime{
		{'C', 5 * time.Second, 30 * time.Second, "the connection"},
		{'S', 10 * time.Second, 30 * time.Second, "each piece that it sends"},
		{'R', 10 * time.Second, time.Minute, "each answer"},
		{'E', x.longestChecks(), 5 * time.Minute, "the end of a message"},
	}
}

type leastTime struct {
	code         byte
	least, usual time.Duration
	what         string
}

// longestChecks is how long the end of a message may take: the DNS proves the tenant, and then
// scanners are asked, side by side.
func (x *examination) longestChecks() time.Duration {
	longest := 2 * sender.Timeout
	if c := x.conf.Clamd; c != nil {
		longest = max(longest, c.Timeout)
	}
	if c := x.conf.Rspamd; c != nil {
		longest = max(longest, c.Timeout)
	}
	return 2*sender.Timeout + longest
}

// lookAtTimeouts sees whether Sendmail waits for us long enough. What waits too short a time
// counts as away.
func lookAtTimeouts(x *examination) []Finding {
	var findings []Finding
	for _, f := range x.ours() {
		var short, right []string
		for _, t := range x.leastTimes() {
			use := f.timeouts[t.code]
			if use > 0 && use < t.least { // 0 is no bound
				short = append(short, fmt.Sprintf("%c:%v for %s, which may take %v", t.code, use, t.what, t.least))
				use = max(t.least, t.usual)
			}
			right = append(right, fmt.Sprintf("%c:%ds", t.code, int(use.Seconds())))
		}
		if len(short) > 0 {
			findings = append(findings, warning("the filter %s gives coexistd too little time: T=%s; mail that takes longer is put off", f.name, strings.Join(short, ", ")).
				inMC("INPUT_MAIL_FILTER(`%s', `S=%s, F=T, T=%s')dnl in place of its line", f.name, f.address, strings.Join(right, ";")))
		}
	}
	return findings
}
