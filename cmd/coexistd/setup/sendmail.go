package setup

import (
	"fmt"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"coexistd/cmd/coexistd/sendmailcf"
	rules "coexistd/contrib/sendmail"
)

// The files of sendmail.cf's folder that guides are about. Those of ours are all that begins with
// coexistd.
const (
	sendmailMC   = "sendmail.mc"
	rulesM4      = "coexistd.m4"
	ownMC        = "coexistd.mc"
	accessScript = "coexistd-access"
	dovecotMC    = "dovecot.mc"
	starttlsM4   = "tls/starttls.m4"
)

// usersFilter is the filter for the mail of users who have logged in.
const usersFilter = "coexistd-users"

// The marks around the lines of ours in the access map.
const (
	accessBegin = "# coexistd begin"
	accessEnd   = "# coexistd end"
)

// hasMailer finds the first of the lines before which ours belong.
var hasMailer = regexp.MustCompile(`(?m)^MAILER`)

// sendmailSide makes a guide for Sendmail: what differs from what sendmail.cf says now.
type sendmailSide struct {
	*Site
	m     *Sendmail
	steps []Step
	// remakes says that a FEATURE with a table is new: Debian's make learns of that when it is run
	// for the first time, and makes the table when it is run again.
	remakes bool
}

// sendmail says what to set in Sendmail.
func sendmail(s *Site) (Guide, error) {
	g, err := newSendmailSide(s)
	if err != nil {
		return Guide{}, err
	}
	for _, chapter := range []func(){
		g.takeDomains, g.mailboxes, g.rules, g.own, g.readOwn, g.listen, g.users, g.activate,
		// Last, as the map is in force at once: whoever may relay meets coexistd.
		g.access,
	} {
		chapter()
	}
	return Guide{
		Intro: "Sendmail beside coexistd, as the configuration " + s.Conf.Path + " wants it: what differs from what " + g.m.Path + " says now.\n" +
			"Run it as root when coexistd runs (coexistd status): coexistd setup sendmail | sh -e. Then see what coexistd doctor says.",
		Steps: g.steps, comment: "# ",
	}, nil
}

// add adds a step, unless it has no lines.
func (g *sendmailSide) add(title, text string, lines ...string) {
	if len(lines) > 0 {
		g.steps = append(g.steps, Step{Title: title, Text: text, Code: strings.Join(lines, "\n")})
	}
}

// path is that of a file in sendmail.cf's folder, for the shell.
func (g *sendmailSide) path(name string) string { return word(g.m.beside(name)) }

// word writes a word for the shell, as it stands where that is right.
func word(text string) string {
	if strings.Trim(text, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789/._-+@%") == "" {
		return text
	}
	return quote(text)
}

// create is the command that writes a file.
func (g *sendmailSide) create(name, text string) string {
	return fmt.Sprintf("cat > %s <<'COEXISTD'\n%s\nCOEXISTD", g.path(name), strings.TrimRight(text, "\n"))
}

// append is the command that adds a line to a file, unless it is there.
func (g *sendmailSide) append(name, line string) string {
	return fmt.Sprintf("grep -qsxF %s %s || echo %s >> %s", quote(line), g.path(name), quote(line), g.path(name))
}

// edit is the command that changes a file by sed.
func (g *sendmailSide) edit(name, script string) string {
	return "sed -i " + quote(script) + " " + g.path(name)
}

// include has sendmail.mc include a file before its mailers.
func (g *sendmailSide) include(name string) string {
	line := "include(`" + g.m.beside(name) + "')dnl"
	return fmt.Sprintf("grep -qF %s %s || %s", quote(line), g.path(sendmailMC), g.edit(sendmailMC, `0,/^MAILER/s|^MAILER|`+line+`\n&|`))
}

// includes reports that sendmail.mc includes a file.
func (g *sendmailSide) includes(name string) bool {
	return regexp.MustCompile("(?m)^s?include\\(`[^']*" + regexp.QuoteMeta(name) + "'\\)").MatchString(g.m.Texts[sendmailMC])
}

// takeDomains has Sendmail take mail for our domains.
func (g *sendmailSide) takeDomains() {
	access, _ := g.m.Table("access")
	var accounts, relayed []string
	for _, domain := range g.ours() {
		switch {
		case g.m.Class("w").Has(domain):
		case g.isAtMailer(domain) && !g.m.RelaysTo(domain, access):
			relayed = append(relayed, domain)
		case !g.isAtMailer(domain):
			accounts = append(accounts, domain)
		}
	}
	var lines []string
	for _, domain := range relayed {
		lines = append(lines, g.append("relay-domains", domain))
	}
	g.add("Take mail for "+strings.Join(relayed, ", "), "A mailer of the mailertable takes it to the mailboxes here.", lines...)
	lines = nil
	for _, domain := range accounts {
		lines = append(lines, g.append("local-host-names", domain))
	}
	g.add("Take mail for "+strings.Join(accounts, ", "),
		"Mailboxes here are accounts of this host: neither is Dovecot's socket for LMTP there ("+dovecotSocket+"), nor does the mailertable say otherwise. All domains there have the same accounts.\n"+
			"Every domain must have postmaster and abuse: see that aliases(5) has a line for each, such as postmaster: root; then run newaliases.", lines...)
}

// isAtMailer reports that the mailboxes of a domain are not accounts of this host: the mailertable
// or the virtusertable says where they are, or Dovecot takes their mail.
func (g *sendmailSide) isAtMailer(domain string) bool {
	return g.route(domain) != "" || g.m.Class("VirtHost").Has(domain) || g.m.HasDovecot
}

// route is what the mailertable has for a domain or for one above it. Its line for all others is none for
// mailboxes here.
func (g *sendmailSide) route(domain string) string {
	table, _ := g.m.Table("mailertable")
	if table != nil {
		delete(table, ".")
	}
	return sendmailcf.RouteIn(table, domain)
}

// mailboxes gives the mail for mailboxes here to Dovecot.
func (g *sendmailSide) mailboxes() {
	var lines []string
	for _, domain := range g.ours() {
		if !g.m.Class("w").Has(domain) && g.m.HasDovecot && g.route(domain) == "" && !g.m.Class("VirtHost").Has(domain) {
			lines = append(lines, g.append("mailertable", domain+" dovecot:localhost"))
		}
	}
	if len(lines) == 0 && !g.usesDovecot() {
		return
	}
	_, hasTable := g.m.Maps["mailertable"]
	_, hasMailer := g.m.Mailers["dovecot"]
	text := g.m.Texts[dovecotMC]
	if !hasTable || !hasMailer {
		text = "dnl Mailboxes here are Dovecot's: the mailertable gives their mail to this mailer.\n"
		if !hasTable || strings.Contains(g.m.Texts[dovecotMC], "FEATURE(") {
			text += "FEATURE(`mailertable')dnl\n"
			g.remakes = true
		}
	}
	if !hasMailer || strings.Contains(g.m.Texts[dovecotMC], "Mdovecot") && !hasTable {
		text += "MAILER_DEFINITIONS\nMdovecot, P=[IPC], F=mDFMuXa8z, S=EnvFromSMTP/HdrFromSMTP, R=EnvToSMTP/HdrFromSMTP, E=\\r\\n, L=0,\n" +
			"\tT=DNS/RFC822/SMTP, A=FILE " + dovecotSocket + "\ndivert(0)dnl\n"
	}
	if text != g.m.Texts[dovecotMC] {
		lines = append(lines, g.create(dovecotMC, text))
	}
	if text != "" && !g.includes(dovecotMC) {
		lines = append(lines, g.include(dovecotMC))
	}
	g.add("Give the mail for mailboxes here to Dovecot", "Its users are whole addresses. Where they are accounts (bob for bob@"+g.ours()[0]+"), set auth_username_format = %Ln in Dovecot.", lines...)
}

// usesDovecot reports a domain of ours whose mail goes to the mailer dovecot.
func (g *sendmailSide) usesDovecot() bool {
	return slices.ContainsFunc(g.ours(), func(domain string) bool {
		return !g.m.Class("w").Has(domain) && strings.HasPrefix(g.route(domain), "dovecot:")
	})
}

// rules puts coexistd.m4 where the configuration includes it.
func (g *sendmailSide) rules() {
	if g.m.Texts[rulesM4] != rules.Rules() {
		g.add("Put the rules of this version where Sendmail's configuration includes them", "They ask coexistd where mail for an address goes.", g.create(rulesM4, rules.Rules()))
	}
}

// own writes the lines of sendmail.mc that coexistd needs into a file of their own.
func (g *sendmailSide) own() {
	text := g.ownText()
	if text == "" || text == g.m.Texts[ownMC] {
		return
	}
	var lines []string
	if g.rulesByHand() && !g.hasRules() {
		lines = append(lines, g.edit(sendmailMC, withoutRules))
	}
	g.add("Write down what Sendmail shall do", "It is a file of its own, that sendmail.mc includes.", append(lines, g.create(ownMC, text))...)
}

// withoutRules takes lines that include coexistd.m4, and the defines for it, out of sendmail.mc.
const withoutRules = "/^define(`COEXISTD_/d; /^s*include(.*coexistd\\.m4/d"

// rulesByHand reports that sendmail.mc includes coexistd.m4 itself.
func (g *sendmailSide) rulesByHand() bool { return g.includes(rulesM4) }

func (g *sendmailSide) readOwn() {
	if g.ownText() != "" && !g.includes(ownMC) {
		g.add("Have sendmail.mc include it", "Its place is behind the FEATURE lines and before the MAILER lines.", g.include(ownMC))
	}
}

// listen has Sendmail listen for mail from elsewhere, which Debian's does not.
func (g *sendmailSide) listen() {
	var lines []string
	for _, isRight := range []func(d sendmailcf.Daemon) bool{sendmailcf.Daemon.IsPublic, func(d sendmailcf.Daemon) bool { return g.usersAddress() != "" && d.IsSubmission() }} {
		all := slices.DeleteFunc(slices.Clone(g.m.Listening()), func(d sendmailcf.Daemon) bool { return !isRight(d) })
		if slices.ContainsFunc(all, func(d sendmailcf.Daemon) bool { return !d.IsLoopback() }) {
			continue
		}
		for _, d := range all {
			if g.hasLine(d) {
				lines = append(lines, g.edit(sendmailMC, lineOf(d)+"s/,[[:blank:]]*Addr=[^,')]*//"))
			}
		}
	}
	g.add("Listen for mail from elsewhere", "So far it listens on this host's own address alone.", lines...)
}

// hasLine reports that a listener is a line of sendmail.mc.
func (g *sendmailSide) hasLine(d sendmailcf.Daemon) bool {
	return regexp.MustCompile("(?m)^DAEMON_OPTIONS\\(.*Name=" + regexp.QuoteMeta(d.Name) + "\\b").MatchString(g.m.Texts[sendmailMC])
}

// lineOf is the address for sed of a listener's line in sendmail.mc.
func lineOf(d sendmailcf.Daemon) string {
	return "/^DAEMON_OPTIONS(.*Name=" + regexp.QuoteMeta(d.Name) + `\b/`
}

// usersAddress is that of a listener of ours for users alone, as Sendmail writes it, or "".
func (g *sendmailSide) usersAddress() string {
	if users := sendmailcf.ListenerFor(g.Conf, true); users != sendmailcf.ListenerFor(g.Conf, false) {
		return users
	}
	return ""
}

// users has listeners with a list of filters of their own ask ours, and those to which our users bring mail
// the listener of ours that is for them.
func (g *sendmailSide) users() {
	var lines, byHand []string
	for _, d := range g.m.Listening() {
		filter := "coexistd"
		if g.usersAddress() != "" && d.AsksLogin() {
			filter = usersFilter
		}
		if g.isFiltered(d, filter == usersFilter) || !d.Own && filter == "coexistd" || d.Own && len(d.Filters) == 0 {
			continue
		}
		script := lineOf(d) + "s/')/, InputMailFilters=" + filter + "')/"
		if d.Own {
			script = lineOf(d) + "s/InputMailFilters=/&" + filter + ";/"
		}
		if g.hasLine(d) {
			lines = append(lines, g.edit(sendmailMC, script))
		} else {
			byHand = append(byHand, "InputMailFilters="+filter+" to that of "+d.Name)
		}
	}
	text := "Whoever is not logged in gets 530 at a listener for users alone."
	if len(byHand) > 0 {
		text += " " + sendmailMC + " lacks lines of DAEMON_OPTIONS. Write them, and add " + strings.Join(byHand, ", ") + "."
	}
	if len(lines)+len(byHand) > 0 {
		g.steps = append(g.steps, Step{Title: "Give coexistd the mail of listeners with filters of their own", Text: text, Code: strings.Join(lines, "\n")})
	}
}

// isFiltered reports that one of a listener's filters leads to us: to a listener of ours for users, or
// to one for all.
func (g *sendmailSide) isFiltered(d sendmailcf.Daemon, users bool) bool {
	names := g.m.FiltersOf(d)
	return slices.ContainsFunc(g.m.Filters, func(f sendmailcf.Filter) bool {
		return slices.Contains(names, f.Name) && f.LeadsTo(g.Conf.Listeners) && f.IsForUsers(g.Conf.Listeners) == users
	})
}

// activate has Sendmail take the changes.
func (g *sendmailSide) activate() {
	if !slices.ContainsFunc(g.steps, func(s Step) bool { return s.Code != "" }) {
		return
	}
	lines := []string{"touch " + g.path(sendmailMC)}
	folder := word(filepath.Dir(g.m.Path))
	switch {
	case g.m.HasMakefile:
		lines = append(lines, "make -C "+folder)
		if g.remakes {
			lines = append(lines, "make -C "+folder+" # which makes the table that the first run learnt of")
		}
	default:
		lines = []string{"m4 " + g.path(sendmailMC) + " > " + g.path("sendmail.cf.new"), "mv " + g.path("sendmail.cf.new") + " " + word(g.m.Path)}
		if g.usesDovecot() || g.remakes {
			lines = append(lines, "makemap hash "+g.path("mailertable")+" < "+g.path("mailertable"))
		}
	}
	g.add("Make sendmail.cf of it, and have Sendmail take it", "", append(lines, "systemctl restart sendmail")...)
}
