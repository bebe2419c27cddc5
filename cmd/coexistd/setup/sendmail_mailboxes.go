package setup

import (
	"cmp"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"coexistd/cmd/coexistd/sendmailcf"
)

// mailertable is where the mailertable is, and of which kind. It need not be in force.
func (g *sendmailSide) mailertable() (path, class string) {
	if m := g.m.Maps["mailertable"]; filepath.IsAbs(m.Path()) {
		return m.Path(), m.Class
	}
	return g.m.beside("mailertable"), "hash"
}

// mailboxes gives the mail for mailboxes here to Dovecot.
func (g *sendmailSide) mailboxes() {
	var lines []string
	said := "Its users are whole addresses. Where they are accounts (bob for bob@" + g.ours()[0] + "), set auth_username_format = %{user | username | lower} in Dovecot (%Ln before 2.4)."
	_, hasTable := g.m.Maps["mailertable"]
	unread := make(map[string]string)
	if !hasTable {
		unread = sendmailcf.Rows(g.m.Texts["mailertable"])
	}
	for _, domain := range g.ours() {
		if g.m.Class("w").Has(domain) || !g.m.HasDovecot || g.route(domain) != "" || g.m.Class("VirtHost").Has(domain) {
			continue
		}
		row := domain + " dovecot:localhost"
		table, _ := g.mailertable()
		if has := unread[domain]; has != "" && domain+" "+has != row {
			said += "\nThe mailertable, which Sendmail has not read so far, has " + domain + " " + has + ": that becomes a comment, as a key stands there once."
			lines = append(lines, edit(table, "s/^"+regexp.QuoteMeta(domain)+"[[:blank:]]/# &/I"))
		}
		delete(unread, domain)
		lines = append(lines, appendTo(table, row))
	}
	if len(lines) == 0 && !g.usesDovecot() {
		return
	}
	if len(unread) > 0 {
		said += "\nAll other lines of the mailertable, which Sendmail has not read so far, come into force: look at them first."
	}
	g.add("Give the mail for mailboxes here to Dovecot", said, append(lines, g.dovecotMailer()...)...)
}

// dovecotMailer are the commands that have Sendmail know the mailer dovecot, and ask the mailertable.
func (g *sendmailSide) dovecotMailer() (lines []string) {
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
	return lines
}

// remakeTable are the commands that make the mailertable's database, where no Makefile does.
func (g *sendmailSide) remakeTable() []string {
	path, class := g.mailertable()
	if !g.usesDovecot() && !g.remakes || !slices.Contains([]string{"hash", "btree"}, cmp.Or(class, "hash")) {
		return nil
	}
	return []string{"makemap " + class + " " + word(path) + " < " + word(path)}
}

// usesDovecot reports a domain of ours whose mail goes to the mailer dovecot.
func (g *sendmailSide) usesDovecot() bool {
	return slices.ContainsFunc(g.ours(), func(domain string) bool {
		return !g.m.Class("w").Has(domain) && strings.HasPrefix(g.route(domain), "dovecot:")
	})
}
