package setup_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"coexistd/cmd/coexistd/setup"
	"coexistd/cmd/coexistd/zone"
	"coexistd/policy/verdict"
)

// sendmailHost is what a site's host has beside a Sendmail that is as Debian's package sets it.
type sendmailHost struct {
	site    string
	dovecot bool
	cf      string // further lines of sendmail.cf
	toml    string // further lines of the configuration
	users   string // the directory; empty: the one of testdata
}

// sendmailHosts are one for each of the sites of testdata.
func sendmailHosts() []sendmailHost {
	const certificate = "O ServerCertFile={dir}/tls/sendmail-server.crt\nO ServerKeyFile={dir}/tls/sendmail-common.key\n"
	return []sendmailHost{
		{site: "google-alternate", dovecot: true},
		{site: "hybrid-onmicrosoft"},
		{site: "mx-both", dovecot: true, toml: "[[listen]]\naddress = \"unix:/run/coexistd/users.sock\"\ncheckpoint = \"S2\"\n"},
		{site: "office365-connector-google-gateway", dovecot: true, cf: certificate},
		{site: "skyconnect-office365", cf: certificate},
	}
}

// survey has a site of testdata with its Sendmail, in a folder of its own.
func (h sendmailHost) survey(t *testing.T) *setup.Site {
	t.Helper()
	var facts struct {
		Certificate []string
		DNS         zone.Answers
	}
	read := func(name string) string { return string(testdata(t, name)) }
	if err := json.Unmarshal(testdata(t, h.site+".json"), &facts); err != nil {
		t.Fatal(err)
	}
	users := h.users
	if users == "" {
		users = read(h.site + ".csv")
	}
	site := survey(t, read(h.site+".toml")+h.toml, users, facts.DNS)
	site.CertificateNames = facts.Certificate
	dir := filepath.Dir(site.Conf.Path)
	for name, text := range map[string]string{
		"sendmail.cf": read("sendmail.cf") + h.cf, "sendmail.mc": read("sendmail.mc"), "local-host-names": "localhost\nmail.acmecorp.com\n", "Makefile": "",
		"access": "Connect:127\tRELAY\nClientRate:127\t0\nClientRate:\t10\nClientConn:\t10\n",
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(strings.ReplaceAll(text, "{dir}", dir)), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	site.SurveySendmail(filepath.Join(dir, "sendmail.cf"))
	if site.Sendmail == nil {
		t.Fatal("the Sendmail of testdata is not read")
	}
	site.Sendmail.HasDovecot = h.dovecot
	return site
}

// guide is what is printed where Sendmail's folder is /etc/mail, and the configuration's /etc/coexistd.
func (h sendmailHost) guide(t *testing.T, site *setup.Site) string {
	t.Helper()
	guide, err := setup.Make("sendmail", site, false)
	if err != nil {
		t.Fatal(err)
	}
	dir := filepath.Dir(site.Conf.Path)
	there := strings.NewReplacer(site.Conf.Path, "/etc/coexistd/coexistd.toml", dir, "/etc/mail")
	guide.Intro = there.Replace(guide.Intro)
	for i := range guide.Steps {
		guide.Steps[i].Text, guide.Steps[i].Code = there.Replace(guide.Steps[i].Text), there.Replace(guide.Steps[i].Code)
	}
	return written(guide)
}

// written is a guide as it is printed.
func written(guide setup.Guide) string {
	var text strings.Builder
	guide.Write(&text)
	return text.String()
}

// matchesFile compares a text with a file of testdata. With WRITE_GUIDES in the environment, it writes what
// it would look for.
func matchesFile(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if os.Getenv("WRITE_GUIDES") != "" {
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("%s is not what is said now; run the tests of this package with WRITE_GUIDES=1, and look at what changed. Now it is\n%s", path, got)
	}
}

func TestEachSitesGuideForSendmailIsAsItWasLookedAt(t *testing.T) {
	t.Parallel()
	for _, h := range sendmailHosts() {
		matchesFile(t, h.site+".sendmail.want", h.guide(t, h.survey(t)))
	}
}

func TestTheGuideForSendmailAsksForTheHostsNameWhereItHasTheUsersOfADomain(t *testing.T) {
	t.Parallel()
	with, without := sendmailHost{site: "skyconnect-office365"}, sendmailHost{site: "skyconnect-office365"}
	with.toml = hostSameAs
	const asks = "\ndefine(`COEXISTD_DOMAINS', `acmecorp.com"
	want := strings.Replace(without.guide(t, without.survey(t)), asks, asks+" mail.acmecorp.com", 1)
	if got := with.guide(t, with.survey(t)); got != want {
		t.Errorf("the guide with the host's name is\n%s\nright is\n%s", got, want)
	}
}

func TestAGuideForSendmailSaysWhatItLacks(t *testing.T) {
	t.Parallel()
	for about, c := range map[string]struct {
		change func(t *testing.T, site *setup.Site, dir string)
		says   string
	}{
		"no Sendmail": {func(_ *testing.T, site *setup.Site, dir string) { site.SurveySendmail(filepath.Join(dir, "none.cf")) }, "no Sendmail was found: run this on the host of the MTA"},
		"half a file": {func(_ *testing.T, site *setup.Site, dir string) {
			site.SurveySendmail(filepath.Join(dir, "sendmail.mc"))
		}, "is no configuration of Sendmail's daemon"},
		"no sendmail.mc":   {func(_ *testing.T, site *setup.Site, _ string) { delete(site.Sendmail.Texts, "sendmail.mc") }, "has no MAILER lines, or is not there"},
		"no lookup":        {func(_ *testing.T, site *setup.Site, _ string) { site.Conf.Lookups = nil }, "has no [[lookup]], by which Sendmail asks who exists"},
		"users alone":      {func(_ *testing.T, site *setup.Site, _ string) { site.Conf.Listeners[0].Checkpoint = verdict.S2 }, "has no [[listen]] without checkpoint"},
		"no host is known": {func(_ *testing.T, site *setup.Site, _ string) { site.DNS = nil }, ""},
	} {
		h := sendmailHost{site: "hybrid-onmicrosoft"}
		site := h.survey(t)
		c.change(t, site, filepath.Dir(site.Conf.Path))
		guide, err := setup.Make("sendmail", site, false)
		if c.says != "" && (err == nil || !strings.Contains(err.Error(), c.says)) {
			t.Errorf("%s: the error is %v; it should say %q", about, err, c.says)
		}
		isUnknown := func(step setup.Step) bool { return strings.Contains(step.Text, "Set platform.office365.relay in") }
		if c.says == "" && !slices.ContainsFunc(guide.Steps, isUnknown) {
			t.Errorf("%s: the guide says\n%s", about, written(guide))
		}
	}
}
