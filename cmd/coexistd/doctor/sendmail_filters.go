package doctor

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"coexistd/cmd/coexistd/sendmailcf"
	"coexistd/scanners/sender"
)

// ours are the filters that lead to us.
func (x *examination) ours() (list []sendmailcf.Filter) {
	for _, f := range x.sendmail.Filters {
		if f.LeadsTo(x.conf.Listeners) {
			list = append(list, f)
		}
	}
	return list
}

// filtersOfOurs are those among them that lead to us.
func (x *examination) filtersOfOurs(d sendmailcf.Daemon) (list []sendmailcf.Filter) {
	names := x.sendmail.FiltersOf(d)
	for _, f := range x.ours() {
		if slices.Contains(names, f.Name) {
			list = append(list, f)
		}
	}
	return list
}

// lacksFilter tells of a list that names a filter which no line defines.
func (s *sendmail) lacksFilter(name string) Finding {
	return failure("names the filter %s, which no line defines: Sendmail does not start (InputFilter %s not defined)", name, name)
}

// undefined is the first of some filters that no X line defines, or "".
func (s *sendmail) undefined(names []string) string {
	for _, name := range names {
		if !slices.ContainsFunc(s.Filters, func(f sendmailcf.Filter) bool { return f.Name == name }) {
			return name
		}
	}
	return ""
}

// lookAtFilters sees whether each listener gives its mail to us.
func lookAtFilters(x *examination) []Finding {
	daemons := x.sendmail.Listening()
	findings := together("daemon", daemons, daemonName, func(d sendmailcf.Daemon) (Finding, bool) { return x.judgeListener(d), true })
	used := make(map[string]bool)
	for _, d := range daemons {
		for _, name := range x.sendmail.FiltersOf(d) {
			used[name] = true
		}
		if f, is := x.fitting(d); is && x.judgeListener(d).Status != OK {
			used[f.Name] = true // or is to be, as has been told
		}
	}
	someAreUsed := slices.ContainsFunc(x.ours(), func(f sendmailcf.Filter) bool { return used[f.Name] })
	for _, f := range x.ours() {
		if someAreUsed && !used[f.Name] {
			findings = append(findings, warning("the filter %s (%s) leads to coexistd, but no list names it", f.Name, f.Address).
				do("name it in the InputMailFilters of the DAEMON_OPTIONS whose mail it is for, or take its line out of sendmail.mc"+remade))
		}
	}
	return findings
}

// judgeListener says of one listener whether it gives its mail to us. What it finds reads on from
// its name.
func (x *examination) judgeListener(d sendmailcf.Daemon) Finding {
	names, us := x.sendmail.FiltersOf(d), x.filtersOfOurs(d)
	lacks := x.sendmail.undefined(names)
	switch {
	case lacks != "":
		return x.sendmail.lacksFilter(lacks).inMC("%s", x.insteadOf(d, names, lacks))
	case x.takesBack(d):
		return takesMailBack()
	case len(us) == 0 && x.conf.Rules.ObservesAll():
		return failure("does not hand its mail to coexistd").inMC("%s", x.sendmail.observing(ourFilter, sendmailcf.ListenerFor(x.conf, d.WantsUsers())))
	case len(us) == 0:
		return x.judgeLack(d, names)
	case len(us) > 1:
		return failure("hands its mail to coexistd twice, by %s and %s", us[0].Name, us[1].Name).
			do("in sendmail.mc, take %s out of %s%s", x.needless(d, us), listOf(d), remade)
	case d.IsPublic() && us[0].IsForUsers(x.conf.Listeners):
		return x.judgeUsersOnly(d, names, us[0])
	}
	if f := x.judgeFilter(us[0]); f.Status != OK || d.Own || !x.mayTakeBack(d) {
		return f
	}
	return x.judgeMaybeReturn(d)
}

// judgeFilter looks at the filter by which a listener gives its mail to us.
func (x *examination) judgeFilter(f sendmailcf.Filter) Finding {
	if x.conf.Rules.ObservesAll() {
		return x.judgeWaitingFilter(f)
	}
	line := x.sendmail.filterLine(f.Name, f.Address, sendmailcf.UsualTimes) + " in place of its line"
	switch {
	case strings.ContainsAny(f.Flags, "T4"):
	case strings.Contains(f.Flags, "R"):
		return warning("hands its mail to coexistd by %s, but while coexistd is away, mail is refused for good (F=R)", f.Address).inMC("%s", line)
	default:
		return failure("hands its mail to coexistd by %s, but while coexistd is away, mail passes by unchecked, and that for users who live elsewhere goes astray (F= is missing)", f.Address).inMC("%s", line)
	}
	return fine("hands its mail to coexistd by %s", f.Address)
}

// judgeUsersOnly is of a listener for all whose mail we take for that of our users.
func (x *examination) judgeUsersOnly(d sendmailcf.Daemon, names []string, f sendmailcf.Filter) Finding {
	found := failure("hands its mail to coexistd by %s, where all mail counts as that of our users (checkpoint = \"S2\"): mail from the Internet gets 530", f.Address)
	if d.IsLoopback() {
		found = warning("hands its mail to coexistd by %s, where all mail counts as that of our users (checkpoint = \"S2\"): mail from the Internet would get 530 there", f.Address)
	}
	if sendmailcf.ListenerFor(x.conf, false) == "" {
		return found.do("%s", x.addListener())
	}
	if right, is := x.fitting(d); is {
		return found.inMC("%s", listWith(d, names, f.Name, right.Name))
	}
	return found.inMC("%s", x.rightAddress(d, f))
}

// judgeLack says why a listener gives no mail to us.
func (x *examination) judgeLack(d sendmailcf.Daemon, names []string) Finding {
	list := "the list InputMailFilters"
	if d.Own {
		list = "its own list InputMailFilters"
	}
	if sendmailcf.ListenerFor(x.conf, d.WantsUsers()) == "" {
		return failure("does not hand its mail to coexistd, of which each [[listen]] has checkpoint = \"S2\": all mail there counts as that of our users").do("%s", x.addListener())
	}
	for _, f := range x.sendmail.Filters {
		if slices.Contains(names, f.Name) && strings.HasPrefix(f.Name, "coexistd") {
			return failure("does not hand its mail to coexistd: the filter %s is %q, where [[listen]] has none", f.Name, f.Address).inMC("%s", x.rightAddress(d, f))
		}
	}
	if f, is := x.fitting(d); is {
		return failure("does not hand its mail to coexistd: %s is %q, without %s", list, strings.Join(names, ";"), f.Name).inMC("%s", listWith(d, names, "", f.Name))
	}
	return failure("does not hand its mail to coexistd: %s is %q, and no filter (X) leads to %s", list, strings.Join(names, ";"), sendmailcf.ListenerFor(x.conf, d.WantsUsers())).
		inMC("%s", x.newFilter(d, names))
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
			use := f.Timeouts[t.code]
			if use > 0 && use < t.least { // 0 is no bound
				short = append(short, fmt.Sprintf("%c:%v for %s, which may take %v", t.code, use, t.what, t.least))
				use = max(t.least, t.usual)
			}
			right = append(right, fmt.Sprintf("%c:%ds", t.code, int(use.Seconds())))
		}
		if len(short) > 0 {
			findings = append(findings, warning("the filter %s gives coexistd too little time: T=%s; mail that takes longer is put off", f.Name, strings.Join(short, ", ")).
				inMC("%s in place of its line", x.sendmail.filterLine(f.Name, f.Address, strings.Join(right, ";"))))
		}
	}
	return findings
}
