package setup

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"coexistd/cmd/coexistd/daemon"
	"coexistd/cmd/coexistd/sendmailcf"
	"coexistd/policy/config/files"
	"coexistd/policy/networks"
)

// dovecotSocket is where Dovecot takes mail by LMTP, as Debian and Dovecot have it.
const dovecotSocket = "/run/dovecot/lmtp"

// maxSendmailMC bounds a text that stands beside sendmail.cf.
const maxSendmailMC = 4 * files.MiB

// Sendmail is what was asked of the Sendmail of this host.
type Sendmail struct {
	*sendmailcf.Settings
	// Texts are those files of sendmail.cf's folder that guides are about, by their names, as far
	// as they are there: sendmail.mc, coexistd.mc, access, tls/starttls.m4 and their like.
	Texts map[string]string
	// HasMakefile says that make -C makes sendmail.cf and the tables.
	HasMakefile bool
	// HasDovecot says that a Dovecot of this host takes mail by LMTP.
	HasDovecot bool
	// ConfPath is the configuration's path from the root, for programs that are run later; empty: as
	// it was given.
	ConfPath string
	// Networks are those of the platforms, as far as they are known.
	Networks networks.Live
}

// SurveySendmail asks what guides for Sendmail are made of, if there is one whose configuration stands
// at a path.
func (s *Site) SurveySendmail(path string) {
	// What is printed is run elsewhere, and later.
	if whole, err := filepath.Abs(path); err == nil {
		path = whole
	}
	settings, err := sendmailcf.Read(path)
	if err != nil {
		s.sendmailErr = err
		return
	}
	m := &Sendmail{Settings: settings, Texts: make(map[string]string), Networks: daemon.SavedLists(s.Conf).Live()}
	for _, name := range []string{sendmailMC, ownMC, dovecotMC, rulesM4, accessScript, "access", "mailertable", "local-host-names", "relay-domains", starttlsM4} {
		if text, _, err := files.Read(m.beside(name), maxSendmailMC); err == nil {
			m.Texts[name] = text
		}
	}
	if path, err := filepath.Abs(s.Conf.Path); err == nil {
		m.ConfPath = path
	}
	_, err = files.Look(m.beside("Makefile"))
	m.HasMakefile = err == nil
	_, err = os.Stat(dovecotSocket)
	m.HasDovecot = err == nil
	s.Sendmail = m
	if len(s.CertificateNames) == 0 {
		s.takeFirstOf(settings.Option("ServerCertFile", ""))
	}
}

// beside is the path of a file of sendmail.cf's folder.
func (m *Sendmail) beside(name string) string { return filepath.Join(filepath.Dir(m.Path), name) }

// newSendmailSide says what a guide for Sendmail lacks.
func newSendmailSide(s *Site) (*sendmailSide, error) {
	switch {
	case errors.Is(s.sendmailErr, sendmailcf.ErrNone) || s.Sendmail == nil && s.sendmailErr == nil:
		return nil, fmt.Errorf("no Sendmail was found: run this on the host of the MTA, as root; --sendmail-cf says where its sendmail.cf is when that is not %s", sendmailcf.UsualPath)
	case s.sendmailErr != nil:
		return nil, fmt.Errorf("the settings of Sendmail cannot be read: %w", s.sendmailErr)
	case len(s.Conf.Lookups) == 0 && !s.Conf.Rules.ObservesAll():
		return nil, fmt.Errorf("%s has no [[lookup]], by which Sendmail asks who exists: add one, and see that coexistd check says ok", s.Conf.Path)
	case sendmailcf.ListenerFor(s.Conf, false) == "":
		return nil, fmt.Errorf("%s has no [[listen]] without checkpoint = \"S2\", which all mail passes: add one, and see that coexistd check says ok", s.Conf.Path)
	case !hasMailer.MatchString(s.Sendmail.Texts[sendmailMC]):
		return nil, fmt.Errorf("%s has no MAILER lines, or is not there: have m4 make sendmail.cf of it, as contrib/sendmail describes", s.Sendmail.beside(sendmailMC))
	}
	if !isPlain(s.Sendmail.Path) {
		return nil, fmt.Errorf("the path %q has characters that the shell, sed or m4 may read as something else: give one that has letters, digits and ./_-+@%%: alone", s.Sendmail.Path)
	}
	for _, l := range append(slices.Clone(s.Conf.Listeners), s.Conf.Lookups...) {
		if !isPlain(strings.Trim(sendmailcf.Written(l.Address), "[]")) {
			return nil, fmt.Errorf("%s has the address %q, of which m4 or Sendmail may read characters as something else: give one that has letters, digits and ./_-+@%%: alone", s.Conf.Path, l.Address)
		}
	}
	return &sendmailSide{Site: s, m: s.Sendmail}, nil
}

// mustHaveNoOther refuses to add a filter of ours beside one that leads to us by another name: each message would pass
// coexistd twice.
func (g *sendmailSide) mustHaveNoOther() error {
	for _, f := range g.m.Filters {
		if f.Name != ourFilter && f.LeadsTo(g.Conf.Listeners) && !f.IsForUsers(g.Conf.Listeners) && !g.hasRules() {
			return fmt.Errorf("the filter %s (F=%s) of %s leads to coexistd: take it out of %s, with what names it; coexistd.m4 makes the one that is right. Then make %s anew, and run this again", f.Name, f.Flags, g.m.Path, g.m.beside(sendmailMC), g.m.Path)
		}
	}
	return nil
}
