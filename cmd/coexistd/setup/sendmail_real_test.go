package setup_test

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"coexistd/cmd/coexistd/sendmailcf"
	"coexistd/cmd/coexistd/setup"
	"coexistd/contrib/lab"
	"coexistd/policy/networks"
)

// freshSendmail is a real one as Debian's package sets it, and a folder with the commands that guides
// run which are not of its package.
type freshSendmail struct {
	*lab.Sendmail
	t   *testing.T
	ctx context.Context
	bin string
}

func startFreshSendmail(t *testing.T) *freshSendmail {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	t.Cleanup(cancel)
	m, err := lab.Lend(t).StartSendmail(ctx, lab.SendmailConfig{Debian: true, Services: map[string]string{"public": "", "submission": ""}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := m.Stop(); err != nil {
			t.Error(err)
		}
	})
	f := &freshSendmail{m, t, ctx, t.TempDir()}
	for _, name := range []string{"systemctl", "coexistd"} {
		if err := os.WriteFile(filepath.Join(f.bin, name), []byte("#!/bin/sh\n"), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	return f
}

func (f *freshSendmail) etc(name string) string { return filepath.Join(f.Dir, "etc", name) }

func (f *freshSendmail) read(name string) string {
	f.t.Helper()
	text, err := os.ReadFile(f.etc(name))
	if err != nil {
		f.t.Fatal(err)
	}
	return string(text)
}

// guide is what is said of it for a host.
func (f *freshSendmail) guide(h sendmailHost, retire bool) setup.Guide {
	f.t.Helper()
	site := h.survey(f.t)
	site.SurveySendmail(f.etc("sendmail.cf"))
	site.Sendmail.HasDovecot = h.dovecot
	site.Sendmail.Networks = networks.Live{} // as when the access map has them all
	guide, err := setup.Make("sendmail", site, retire)
	if err != nil {
		f.t.Fatal(err)
	}
	return guide
}

// apply runs a guide, and has Sendmail take what it has changed.
func (f *freshSendmail) apply(guide setup.Guide) {
	f.t.Helper()
	script := written(guide)
	cmd := exec.CommandContext(f.ctx, "/bin/sh", "-e")
	cmd.Env = append(os.Environ(), "PATH="+f.bin+":"+os.Getenv("PATH"))
	cmd.Stdin = strings.NewReader(script)
	if out, err := cmd.CombinedOutput(); err != nil {
		f.t.Fatalf("%v: %s\n%s", err, out, script)
	}
	if err := f.Again(f.ctx); err != nil {
		f.t.Fatal(err)
	}
}

// mustHaveNothing fails the test where a guide has steps with commands. What is done by hand stays to be done.
func (f *freshSendmail) mustHaveNothing(guide setup.Guide) {
	f.t.Helper()
	for _, step := range guide.Steps {
		if step.Code != "" {
			f.t.Errorf("what was done is to be done once more: %s\n%s", step.Title, step.Code)
		}
	}
}

func TestARealSendmailTakesTheGuideForEachSite(t *testing.T) {
	t.Parallel()
	for _, h := range sendmailHosts() {
		t.Run(h.site, func(t *testing.T) {
			t.Parallel()
			f := startFreshSendmail(t)
			before := f.read("sendmail.mc")
			f.apply(f.guide(h, false))
			f.mustHaveNothing(f.guide(h, false))
			if cf := f.read("sendmail.cf"); !strings.Contains(cf, "\nKsendmail socket ") || h.dovecot != strings.Contains(cf, "\nMdovecot,") {
				t.Errorf("sendmail.cf is\n%s", cf)
			}
			if h.dovecot && !strings.Contains(f.read("mailertable"), "acmecorp.com dovecot:localhost\n") {
				t.Errorf("the mailertable is\n%s", f.read("mailertable"))
			}
			retiring := f.guide(h, true)
			matchesFile(t, h.site+".sendmail.retire.want", strings.ReplaceAll(written(retiring), f.etc(""), "/etc/mail"))
			f.apply(retiring)
			f.mustHaveNothing(f.guide(h, true))
			if cf := f.read("sendmail.cf"); strings.Contains(cf, "oexistd") && !strings.Contains(f.Dir, "oexistd") {
				t.Errorf("after --retire sendmail.cf is\n%s", cf)
			}
			if after := f.read("sendmail.mc"); !h.dovecot && after != before {
				t.Errorf("after --retire sendmail.mc is\n%s\nat first it was\n%s", after, before)
			}
		})
	}
}

// Debian's package has the names of hosts written as one, and with them the domain of accounts.
func TestTheGuideForSendmailKeepsTheAddressesOfUsers(t *testing.T) {
	t.Parallel()
	f := startFreshSendmail(t)
	h := sendmailHost{site: "hybrid-onmicrosoft"} // mailboxes are accounts
	f.apply(f.guide(h, false))
	for address, want := range map[string]string{"bob@acmecorp.com": "bob@acmecorp.com", "root@localhost": "root@mta.lab.test"} {
		got, err := f.WrittenAs(f.ctx, address)
		if err != nil {
			t.Fatal(err)
		}
		if got != want {
			t.Errorf("%s is written as %s; right is %s", address, got, want)
		}
	}
}

// Who has followed contrib/sendmail by hand has its lines in sendmail.mc.
func TestTheGuideForSendmailTakesLinesThatWereWrittenByHand(t *testing.T) {
	t.Parallel()
	f := startFreshSendmail(t)
	mc := f.read("sendmail.mc")
	rules, err := os.ReadFile("../../../contrib/sendmail/coexistd.m4")
	if err != nil {
		t.Fatal(err)
	}
	byHand := "define(`COEXISTD_DOMAINS', `acmecorp.com')dnl\ninclude(`" + f.etc("coexistd.m4") + "')dnl\n"
	for name, text := range map[string]string{"coexistd.m4": string(rules), "sendmail.mc": strings.Replace(mc, "MAILER_DEFINITIONS", byHand+"MAILER_DEFINITIONS", 1)} {
		if err := os.WriteFile(f.etc(name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if out, err := exec.CommandContext(f.ctx, "make", "-C", f.etc("")).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	one := sendmailHost{site: "skyconnect-office365"}
	for _, step := range f.guide(one, false).Steps {
		if strings.Contains(step.Code, "COEXISTD_DOMAINS") || strings.Contains(step.Code, "coexistd.m4") {
			t.Errorf("what was set by hand is to be set once more: %s\n%s", step.Title, step.Code)
		}
	}
	// A further domain takes the lines' place.
	two := sendmailHost{site: "mx-both"}
	f.apply(f.guide(two, false))
	f.mustHaveNothing(f.guide(two, false))
	if mc := f.read("sendmail.mc"); strings.Contains(mc, "COEXISTD_") || strings.Contains(mc, "coexistd.m4") {
		t.Errorf("sendmail.mc still has the lines:\n%s", mc)
	}
	if cf := f.read("sendmail.cf"); !strings.Contains(cf, "\nC{Coexistd}acmecorp.com\nC{Coexistd}acmecorp.net\n") {
		t.Errorf("sendmail.cf lacks the further domain:\n%s", cf)
	}
}

func TestRetiringHasSendmailTakeNoMailForDomainsThatHaveLeft(t *testing.T) {
	t.Parallel()
	for _, dovecot := range []bool{false, true} {
		f := startFreshSendmail(t)
		h := sendmailHost{site: "skyconnect-office365", dovecot: dovecot}
		f.apply(f.guide(h, false))
		h.users = "address,residence\nbob@acmecorp.com,office365\nalice@acmecorp.com,office365\n"
		retiring := f.guide(h, true)
		f.apply(retiring)
		f.mustHaveNothing(f.guide(h, true))
		cf, err := sendmailcf.Read(f.etc("sendmail.cf"))
		if err != nil {
			t.Fatal(err)
		}
		table, _ := cf.Table("mailertable")
		if cf.Class("w").Has("acmecorp.com") || cf.Class("R").Has("acmecorp.com") || table["acmecorp.com"] != "" || strings.Contains(written(retiring), "NOT YET") {
			t.Errorf("with Dovecot %v, Sendmail still takes mail for the domain that has left (%v) after\n%s", dovecot, table, written(retiring))
		}
	}
}
