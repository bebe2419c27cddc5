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

// The filters that are ours: the one for all mail, as coexistd.m4 calls it, and the one for the mail of
// users who have logged in.
const (
	ourFilter   = "coexistd"
	usersFilter = "coexistd-users"
)

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
	steps
	m *Sendmail
	// remakes says that a FEATURE with a table is new: Debian's make learns of that when it is run
	// for the first time, and makes the table when it is run again.
	remakes bool
}

// sendmail says what to set in Sendmail.
func sendmail(s *Site) (Guide, error) {
	g, err := newSendmailSide(s)
	if err == nil && s.Conf.Rules.ObservesAll() {
		return g.observe(), nil
	}
	if err == nil {
		err = g.mustHaveNoOther()
	}
	if err != nil {
		return Guide{}, err
	}
	for _, chapter := range []func(){
		g.rules, g.own, g.readOwn, g.users, g.mailboxes, g.takeDomains, g.listen, g.activate,
		// Last, as the map is in force at once: whoever may relay meets coexistd.
		g.access,
	} {
		chapter()
	}
	return Guide{
		Intro: "Sendmail beside coexistd, as the configuration " + s.Conf.Path + " wants it: what differs from what " + g.m.Path + " says now.\n" +
			"Run it as root when coexistd runs (coexistd status): coexistd setup sendmail | sh -e. Then see what coexistd doctor says." + g.lacksCertificate(),
		Steps: g.steps, comment: "# ",
	}, nil
}

// path is that of a file in sendmail.cf's folder, for the shell.
func (g *sendmailSide) path(name string) string { return word(g.m.beside(name)) }

// word writes a word for the shell, as it stands where that is right.
func word(text string) string {
	if isPlain(text) {
		return text
	}
	return quote(text)
}

// isPlain reports a text that the shell, sed and m4 take for what it says.
func isPlain(text string) bool {
	return strings.Trim(text, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789/._-+@%:") == ""
}

// create is the command that writes a file.
func (g *sendmailSide) create(name, text string) string {
	return fmt.Sprintf("cat > %s <<'COEXISTD'\n%s\nCOEXISTD", g.path(name), strings.TrimRight(text, "\n"))
}

// appendTo is the command that adds a line to a file, unless it is there. A last line that lacks its end
// gets that first.
func appendTo(path, line string) string {
	path, line = word(path), quote(line)
	return fmt.Sprintf("grep -qsxF -e %s %s || { [ -z \"$(tail -c 1 %s)\" ] || echo; printf '%%s\\n' %s; } >> %s", line, path, path, line, path)
}

// edit is the command that changes a file of sendmail.cf's folder by sed.
func (g *sendmailSide) edit(name, script string) string { return edit(g.m.beside(name), script) }

func edit(path, script string) string { return "sed -E -i " + quote(script) + " " + word(path) }

// include has sendmail.mc include a file before its mailers.
func (g *sendmailSide) include(name string) string {
	line := "include(`" + g.m.beside(name) + "')dnl"
	return fmt.Sprintf("grep -qF %s %s || %s", quote(line), g.path(sendmailMC), g.edit(sendmailMC, `0,/^MAILER/s|^MAILER|`+line+`\n&|`))
}

// includes reports that sendmail.mc includes a file.
func (g *sendmailSide) includes(name string) bool {
	return regexp.MustCompile("(?m)^s?include\\(`([^']*/)?" + regexp.QuoteMeta(name) + "'\\)").MatchString(g.m.Texts[sendmailMC])
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
		lines = append(lines, appendTo(g.m.beside("relay-domains"), domain))
	}
	g.add("Take mail for "+strings.Join(relayed, ", "), "A mailer of the mailertable takes it to the mailboxes here.", lines...)
	lines = nil
	for _, domain := range accounts {
		lines = append(lines, appendTo(g.m.beside("local-host-names"), domain))
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
	if g.hasRow(rulesByHand) && !g.hasRules() {
		lines = append(lines, g.edit(sendmailMC, withoutRules))
	}
	g.add("Write down what Sendmail shall do", "It is a file of its own, that sendmail.mc includes.", append(lines, g.create(ownMC, text))...)
}

// rulesByHand matches what includes coexistd.m4, the defines for it, and its filter, where these are lines
// of sendmail.mc itself.
const rulesByHand = "^(define\\(`COEXISTD_|s?include\\(`([^']*/)?coexistd\\.m4'|(INPUT_)?MAIL_FILTER\\(`coexistd')"

// withoutRules takes them out.
const withoutRules = "\\#" + rulesByHand + "#d"

// hasRow reports that sendmail.mc has a line that matches, for Go as for sed -E.
func (g *sendmailSide) hasRow(pattern string) bool {
	return regexp.MustCompile("(?m)" + pattern).MatchString(g.m.Texts[sendmailMC])
}

func (g *sendmailSide) readOwn() {
	if g.ownText() != "" && !g.includes(ownMC) {
		g.add("Have sendmail.mc include it", "Its place is behind the FEATURE lines and before the MAILER lines.", g.include(ownMC))
	}
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
		lines = append(lines, g.remakeTable()...)
	}
	g.add("Make sendmail.cf of it, and have Sendmail take it", "", append(lines, "systemctl restart sendmail")...)
}
