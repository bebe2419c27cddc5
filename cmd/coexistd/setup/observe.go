package setup

import (
	"fmt"
	"slices"
	"strings"

	"coexistd/cmd/coexistd/postconf"
	"coexistd/cmd/coexistd/sendmailcf"
)

// Where the mode is observe for all mail, an MTA only hands its mail to coexistd, and goes on
// without it while it is away.

const observeIntro = "The mode of %s is observe: mail is decided on and recorded, and nothing is done. %s needs one line for that.\n" +
	"Run it as root when coexistd runs (coexistd status): coexistd setup %s | sh -e. Then see what coexistd doctor says.\n" +
	"What else is needed, this command says once the mode is enforce; contrib/docs/observe.md tells when."

// observe says what to set in a Postfix whose mail is only observed.
func (g *postfixSide) observe() (Guide, error) {
	if err := g.passesMilters(); err != nil {
		return Guide{}, err
	}
	g.sockets()
	general, users := g.listeners()
	var wanted []pair
	for _, setting := range []string{"smtpd_milters", "non_smtpd_milters"} {
		raw := g.p.Raw[setting]
		follows := setting == "non_smtpd_milters" && strings.Contains(strings.NewReplacer("{", "", "}", "").Replace(raw), "$smtpd_milters")
		if !follows && !g.leadsToUs(g.p.Main[setting]) {
			wanted = append(wanted, pair{setting, g.passing(general, raw)})
		}
	}
	lines := g.set(wanted...)
	for _, one := range g.p.Filtered() {
		own, has := one.Own["smtpd_milters"]
		address := general
		if users != "" && g.isSubmission(one) {
			address = users
		} else if !has {
			continue
		}
		if !g.leadsToUs(own) {
			lines = append(lines, g.option(one, pair{"smtpd_milters", g.passing(address, g.p.Value(one, "smtpd_milters"))})...)
		}
	}
	text := "While it is away, mail goes on without it."
	if !g.p.IsFrom(3) {
		text = "milter_default_action says what becomes of mail while it is away: accept has it go on without it."
	}
	g.add("Give coexistd every message", text, lines...)
	g.activate()
	return Guide{Intro: fmt.Sprintf(observeIntro, g.Conf.Path, "Postfix", "postfix"), Steps: g.steps, comment: "# "}, g.err
}

// passing is a list of milters with ours before the others, for which nobody waits. Another listener of
// ours makes room for it.
func (g *postfixSide) passing(address, others string) string {
	if g.p.IsFrom(3) {
		address = postconf.Passing(address)
	}
	return joined(append([]string{address}, g.foreign(others)...)...)
}

// observe says what to set in a Sendmail whose mail is only observed.
func (g *sendmailSide) observe() Guide {
	if !slices.ContainsFunc(g.m.Filters, func(f sendmailcf.Filter) bool { return f.LeadsTo(g.Conf.Listeners) }) {
		line := fmt.Sprintf("INPUT_MAIL_FILTER(`%s', `S=%s, T=%s')dnl", ourFilter, sendmailcf.ListenerFor(g.Conf, false), sendmailcf.UsualTimes)
		g.add("Give coexistd every message", "While it is away, mail goes on without it.", g.edit(sendmailMC, `0,/^MAILER/s|^MAILER|`+line+`\n&|`))
	}
	var lines []string
	for _, d := range g.m.Listening() {
		if d.Own && len(d.Filters) > 0 && !g.isFiltered(d, false) && g.hasLine(d) {
			lines = append(lines, g.edit(sendmailMC, addressOf(d)+"s/[,`][[:blank:]]*[Ii][A-Za-z]*=/&"+ourFilter+";/"))
		}
	}
	g.add("Give coexistd the mail of listeners with filters of their own", "", lines...)
	g.activate()
	return Guide{Intro: fmt.Sprintf(observeIntro, g.Conf.Path, "Sendmail", "sendmail"), Steps: g.steps, comment: "# "}
}
