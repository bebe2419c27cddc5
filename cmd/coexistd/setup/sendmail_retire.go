package setup

import (
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
	g.retireLists()
	g.retireLines()
	// Make writes the map before Sendmail starts again: nobody may relay past coexistd.
	g.retireAccess()
	g.activate()
	g.retireFiles()
	return Guide{
		Intro: "Sendmail without coexistd. First see that all mailboxes are here, or all are at the platform and the MX points there, and that nothing is held " +
			"(coexistd quarantine list).\n" +
			"Run it as root: coexistd setup sendmail --retire | sh -e. Then stop coexistd. The domains, the way to the mailboxes here and the addresses at which Sendmail listens stay as they are; " +
			"the lines for networks, logins, bounds and the way to the Internet that coexistd setup wrote go.",
		Steps: g.steps, comment: "# ",
	}, nil
}

// retireLists takes our filters out of the lists of listeners.
func (g *sendmailSide) retireLists() {
	var lines []string
	for _, f := range g.m.Filters {
		for _, d := range g.m.Listening() {
			if d.Own && slices.Contains(d.Filters, f.Name) && f.LeadsTo(g.Conf.Listeners) && g.hasLine(d) {
				lines = append(lines, g.edit(sendmailMC, g.withoutFilter(d, f.Name)))
			}
		}
	}
	g.add("Give coexistd no more messages of listeners with filters of their own", "", lines...)
}

// withoutFilter is what sed does to a listener's line to take a filter out of its list, or the list
// where it has no other.
func (g *sendmailSide) withoutFilter(d sendmailcf.Daemon, name string) string {
	if len(d.Filters) == 1 {
		return lineOf(d) + "s/,[[:blank:]]*InputMailFilters=" + name + "//"
	}
	return lineOf(d) + "{s/\\([=;]\\)" + name + ";/\\1/; s/;" + name + "\\b//}"
}

// ourLines are the lines of sendmail.mc that are ours, by what begins them, as sed reads it.
var ourLines = []string{"include(`[^']*coexistd\\.mc", "include(`[^']*coexistd\\.m4", "define(`COEXISTD_", "MAIL_FILTER(`coexistd", "INPUT_MAIL_FILTER(`coexistd"}

// retireLines takes the lines that are ours out of sendmail.mc.
func (g *sendmailSide) retireLines() {
	var scripts []string
	for _, line := range ourLines {
		if regexp.MustCompile("(?m)^" + strings.ReplaceAll(line, "(", `\(`)).MatchString(g.m.Texts[sendmailMC]) {
			scripts = append(scripts, "\\|^"+line+"|d")
		}
	}
	if len(scripts) > 0 {
		g.add("Give coexistd no more messages, and ask it no more", "", g.edit(sendmailMC, strings.Join(scripts, "; ")))
	}
}

// retireAccess takes our lines out of the access map.
func (g *sendmailSide) retireAccess() {
	if strings.Contains(g.m.Texts["access"], accessBegin) {
		g.add("Let nobody relay, and make many connections, for being a platform", "Where the script "+accessScript+" runs each day, take that away, too.",
			g.edit("access", "/^"+accessBegin+"/,/^"+accessEnd+"/d"))
	}
}

// retireFiles takes our files away, which nothing includes any more.
func (g *sendmailSide) retireFiles() {
	var lines []string
	for _, name := range []string{ownMC, rulesM4, accessScript} {
		if g.m.Texts[name] != "" {
			lines = append(lines, "rm "+g.path(name))
		}
	}
	g.add("Take its files away", "", lines...)
}
