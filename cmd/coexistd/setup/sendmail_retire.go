package setup

import (
	"fmt"
	"regexp"
	"slices"
	"strings"

	"coexistd/cmd/coexistd/sendmailcf"
)

// retireSendmail says what to take back, in the order in which it is done.
func retireSendmail(s *Site) (Guide, error) {
	g, err := newSendmailSide(s)
	if err != nil {
		return Guide{}, err
	}
	if text := g.m.Texts["access"]; strings.Contains(text, accessBegin) && !strings.Contains(text[strings.LastIndex(text, accessBegin):], accessEnd) {
		return Guide{}, fmt.Errorf("%s has the line %q, and no line %q behind it, by which what is coexistd's could be told: take that out by hand, and both lines", g.m.beside("access"), accessBegin, accessEnd)
	}
	// First of all nobody may relay any more for being a platform: coexistd leaves after that.
	g.retireAccess()
	g.retireDomains()
	g.retireLists()
	g.retireLines()
	g.activate()
	g.retireFiles()
	return Guide{
		Intro: g.stillSplit() + "Sendmail without coexistd. First see that all mailboxes are here, or all are at the platform and the MX points there, and that nothing is held " +
			"(coexistd quarantine list).\n" + g.unknownUsers() +
			"Run it as root: coexistd setup sendmail --retire | sh -e. Then stop coexistd. Domains that have their mailboxes here, the way to the mailboxes here and the addresses at which Sendmail listens stay as they are; " +
			"the lines for networks, logins, bounds and the way to the Internet that coexistd setup wrote go.",
		Steps: g.steps, comment: "# ",
	}, nil
}

// unknownUsers says what is lost with us where Sendmail itself does not know who exists: a line, or nothing.
func (g *sendmailSide) unknownUsers() string {
	var atMailers []string
	for _, domain := range g.ours() {
		if !slices.Contains(g.left(), domain) && g.route(domain) != "" && !g.m.Class("VirtHost").Has(domain) {
			atMailers = append(atMailers, domain)
		}
	}
	if len(atMailers) == 0 {
		return ""
	}
	return "Who exists in " + strings.Join(atMailers, ", ") + ", only the mailer of the mailertable knows then: Sendmail takes mail for anybody there, and returns what that refuses, to senders who may be forged. " +
		"First have it know them by itself: by FEATURE(`access_db', , `relaytofulladdress'), and a line To:ADDRESS RELAY of the access map for each, in the place of the domain's line of relay-domains.\n"
}

// retireDomains has Sendmail take no mail for domains whose mailboxes are all elsewhere.
func (g *sendmailSide) retireDomains() {
	var lines []string
	text := leftText
	for _, domain := range g.left() {
		at := len(lines)
		for _, name := range []string{"local-host-names", "relay-domains", "mailertable"} {
			row := "^" + regexp.QuoteMeta(domain) + "([[:blank:]]|$)"
			if regexp.MustCompile("(?mi)" + row).MatchString(g.m.Texts[name]) {
				lines = append(lines, g.edit(name, "/"+row+"/Id"))
				g.remakes = g.remakes || name == "mailertable"
			}
		}
		if at == len(lines) && (g.m.Class("w").Has(domain) || g.route(domain) != "") {
			text += " What has it take mail for " + domain + " is in none of its files local-host-names, relay-domains and mailertable: take it out by hand, before all else."
		}
	}
	if len(lines) > 0 || text != leftText {
		g.steps = append(g.steps, Step{Title: "Take no more mail for " + strings.Join(g.left(), ", "), Text: text, Code: strings.Join(lines, "\n")})
	}
}

// retireLists takes our filters out of the lists of listeners, and out of a common one that stands in
// sendmail.mc.
func (g *sendmailSide) retireLists() {
	var lines, byHand []string
	for _, f := range g.m.Filters {
		if !f.LeadsTo(g.Conf.Listeners) {
			continue
		}
		for _, d := range g.m.Listening() {
			if d.Own && slices.Contains(d.Filters, f.Name) && g.hasLine(d) {
				lines = append(lines, g.edit(sendmailMC, g.withoutFilter(d, f.Name)))
			}
		}
		if f.Name != ourFilter && f.Name != usersFilter {
			byHand = append(byHand, f.Name)
		}
	}
	if common := "^define\\(`confINPUT_MAIL_FILTERS', *`([^']*,)? *" + ourFilter + " *[,']"; g.hasRow(common) {
		lines = append(lines, g.edit(sendmailMC, "/"+common+"/{s/([`,]) *"+ourFilter+" *,/\\1/; s/, *"+ourFilter+" *'/'/; s/` *"+ourFilter+" *'/`'/}"))
	}
	text := ""
	if len(byHand) > 0 {
		text = "Take out by hand what leads to coexistd by another name, before coexistd is stopped: " + strings.Join(byHand, ", ") + "."
	}
	if len(lines)+len(byHand) > 0 {
		g.steps = append(g.steps, Step{Title: "Give coexistd no more messages of listeners with filters of their own", Text: text, Code: strings.Join(lines, "\n")})
	}
}

// withoutFilter is what sed does to a listener's line to take a filter out of its list, or the list
// where what is left is the common one.
func (g *sendmailSide) withoutFilter(d sendmailcf.Daemon, name string) string {
	rest := slices.DeleteFunc(slices.Clone(d.Filters), func(one string) bool { return one == name })
	if slices.Equal(rest, g.othersFilters()) || len(rest) == 0 {
		return addressOf(d) + "{" + withoutOption("Ii") + "}"
	}
	return addressOf(d) + "{s/([=;][[:blank:]]*)" + name + "[[:blank:]]*;/\\1/; s/;[[:blank:]]*" + name + "[[:blank:]]*([,'])/\\1/}"
}

// ownInclude matches the line of sendmail.mc that includes coexistd.mc.
const ownInclude = "^s?include\\(`([^']*/)?coexistd\\.mc'"

// retireLines takes the lines that are ours out of sendmail.mc.
func (g *sendmailSide) retireLines() {
	var scripts []string
	for _, line := range []string{ownInclude, rulesByHand, "^(INPUT_)?MAIL_FILTER\\(`" + usersFilter + "'"} {
		if g.hasRow(line) {
			scripts = append(scripts, "\\#"+line+"#d")
		}
	}
	if len(scripts) > 0 {
		g.add("Give coexistd no more messages, and ask it no more", "", g.edit(sendmailMC, strings.Join(scripts, "; ")))
	}
}

// retireAccess takes our lines out of the access map, and before that what would write them anew.
func (g *sendmailSide) retireAccess() {
	var lines []string
	if g.m.Texts[accessScript] != "" {
		lines = append(lines, "rm -f /etc/cron.daily/"+accessScript+" "+g.path(accessScript))
	}
	if strings.Contains(g.m.Texts["access"], accessBegin) {
		lines = append(lines, g.edit("access", "/^"+accessBegin+"/,/^"+accessEnd+"/d"))
		if g.m.HasMakefile {
			lines = append(lines, "make -C "+g.path(""))
		} else {
			lines = append(lines, "makemap hash "+g.path("access")+" < "+g.path("access"))
		}
	}
	g.add("Let nobody relay, and make many connections, for being a platform", "Where something else runs the script "+accessScript+" each day, take that away, too. Mail that platforms' users send to others through here is refused from now on.", lines...)
}

// retireFiles takes our files away, which nothing includes any more.
func (g *sendmailSide) retireFiles() {
	var lines []string
	for _, name := range []string{ownMC, rulesM4} {
		if g.m.Texts[name] != "" {
			lines = append(lines, "rm "+g.path(name))
		}
	}
	g.add("Take its files away", "", lines...)
}
