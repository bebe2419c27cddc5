package doctor

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"coexistd/policy/config"
	"coexistd/policy/verdict"
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
	return config.ListenedAt(kind, address, x.conf.Listeners)
}

// isForUsers reports a filter that leads to a listener of ours where all mail is that of our users:
// whoever is not known there gets 530.
func (x *examination) isForUsers(f sendmailFilter) bool {
	kind, address := sendmailSocket(f.address)
	return slices.ContainsFunc(x.conf.Listeners, func(l config.Listener) bool {
		return l.Checkpoint == verdict.S2 && config.ListenedAt(kind, address, []config.Listener{l})
	})
}

// filtersOf are the names of the filters by which a listener's mail goes, in their order.
func (s *sendmail) filtersOf(d sendmailDaemon) []string {
	if d.own {
		return d.filters
	}
	return s.commonFilters()
}

func (s *sendmail) commonFilters() []string { return filterNames(s.option("InputMailFilters", "")) }

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

// undefined is the first of some filters that no X line defines, or "".
func (s *sendmail) undefined(names []string) string {
	for _, name := range names {
		if !slices.ContainsFunc(s.filters, func(f sendmailFilter) bool { return f.name == name }) {
			return name
		}
	}
	return ""
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
		if f, is := x.fitting(d); is && x.judgeListener(d).Status != OK {
			used[f.name] = true // or is to be, as has been told
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
	lacks := x.sendmail.undefined(names)
	switch {
	case lacks != "":
		return failure("names the filter %s, which no line defines: Sendmail does not start (InputFilter %s not defined)", lacks, lacks).inMC("%s", x.insteadOf(d, names, lacks))
	case len(us) == 0 && d.own && len(names) == 0 && d.isLoopback() && !x.takesHostMail(d):
		return fine("takes mail back from a content filter, without milters")
	case len(us) == 0:
		return x.judgeLack(d, names)
	case len(us) > 1:
		return failure("hands its mail to coexistd twice, by %s and %s", us[0].name, us[1].name).
			do("in sendmail.mc, take %s out of %s%s", x.needless(d, us), listOf(d), remade)
	case d.isPublic() && x.isForUsers(us[0]):
		return x.judgeUsersOnly(d, names, us[0])
	}
	return x.judgeFilter(names, us[0])
}

// judgeFilter looks at the filter by which a listener gives its mail to us.
func (x *examination) judgeFilter(names []string, f sendmailFilter) Finding {
	line := x.sendmail.filterLine(f.name, f.address, usualTimes) + " in place of its line"
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

// judgeUsersOnly is of a listener for all whose mail we take for that of our users.
func (x *examination) judgeUsersOnly(d sendmailDaemon, names []string, f sendmailFilter) Finding {
	found := failure("hands its mail to coexistd by %s, where all mail counts as that of our users (checkpoint = \"S2\"): mail from the Internet gets 530", f.address)
	if d.isLoopback() {
		found = warning("hands its mail to coexistd by %s, where all mail counts as that of our users (checkpoint = \"S2\"): mail from the Internet would get 530 there", f.address)
	}
	if x.listenerFor(false) == "" {
		return found.do("%s", x.addListener())
	}
	if right, is := x.fitting(d); is {
		return found.inMC("%s", listWith(d, names, f.name, right.name))
	}
	return found.inMC("%s", x.rightAddress(d, f))
}

// judgeLack says why a listener gives no mail to us.
func (x *examination) judgeLack(d sendmailDaemon, names []string) Finding {
	list := "the list InputMailFilters"
	if d.own {
		list = "its own list InputMailFilters"
	}
	if x.listenerFor(d.wantsUsers()) == "" {
		return failure("does not hand its mail to coexistd, of which each [[listen]] has checkpoint = \"S2\": all mail there counts as that of our users").do("%s", x.addListener())
	}
	for _, f := range x.sendmail.filters {
		if slices.Contains(names, f.name) && strings.HasPrefix(f.name, "coexistd") {
			return failure("does not hand its mail to coexistd: the filter %s is %q, where [[listen]] has none", f.name, f.address).inMC("%s", x.rightAddress(d, f))
		}
	}
	if f, is := x.fitting(d); is {
		return failure("does not hand its mail to coexistd: %s is %q, without %s", list, strings.Join(names, ";"), f.name).inMC("%s", listWith(d, names, "", f.name))
	}
	return failure("does not hand its mail to coexistd: %s is %q, and no filter (X) leads to %s", list, strings.Join(names, ";"), x.listenerFor(d.wantsUsers())).
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
			use := f.timeouts[t.code]
			if use > 0 && use < t.least { // 0 is no bound
				short = append(short, fmt.Sprintf("%c:%v for %s, which may take %v", t.code, use, t.what, t.least))
				use = max(t.least, t.usual)
			}
			right = append(right, fmt.Sprintf("%c:%ds", t.code, int(use.Seconds())))
		}
		if len(short) > 0 {
			findings = append(findings, warning("the filter %s gives coexistd too little time: T=%s; mail that takes longer is put off", f.name, strings.Join(short, ", ")).
				inMC("%s in place of its line", x.sendmail.filterLine(f.name, f.address, strings.Join(right, ";"))))
		}
	}
	return findings
}
