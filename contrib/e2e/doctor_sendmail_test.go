package e2e

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"coexistd/contrib/lab"
)

// sendmailSite is a site with a Sendmail that is as contrib/sendmail describes, and with further
// lines of sendmail.mc.
func sendmailSite(t *testing.T, mc ...string) *site {
	t.Helper()
	return startSite(t, lab.SiteConfig{
		MTA:  lab.SendmailMTA,
		TOML: strings.Replace(lab.SiteTOML, `["127.0.4.0/24"]`, `["127.0.4.0/24", "127.0.0.1"]`, 1) + "[quarantine]\nsmtp = \"{mta}\"\n",
		// The lab's folders may stand in one that is open to all.
		MC: append([]string{"define(`confDONT_BLAME_SENDMAIL', `TrustStickyBit')dnl"}, mc...),
	})
}

// sendmailCF is where the site's configuration of Sendmail is.
func (s *site) sendmailCF() string {
	return filepath.Join(s.Host.(*lab.Sendmail).Dir, "etc", "sendmail.cf")
}

// ofSendmail is what the doctor says of the site's Sendmail.
func (s *site) ofSendmail(subject string) string {
	s.t.Helper()
	_, out, complaint := runDoctor(s.t, s.t.TempDir(), nil, "-c", s.Config(), "--sendmail-cf", s.sendmailCF())
	if complaint != "" {
		s.t.Errorf("the doctor complains: %s", complaint)
	}
	return about(subject, strings.NewReplacer(s.Dir, "{dir}", filepath.Dir(s.sendmailCF()), "{etc}", s.Addr("public"), "{mta}").Replace(out))
}

// change replaces a text in a file of the site's Sendmail, as of now.
func (s *site) change(name, from, to string) {
	s.t.Helper()
	path := filepath.Join(filepath.Dir(s.sendmailCF()), name)
	text, err := os.ReadFile(path)
	if err == nil && !strings.Contains(string(text), from) {
		err = errors.New(name + " lacks " + from)
	}
	s.do(err)
	s.do(os.WriteFile(path, []byte(strings.ReplaceAll(string(text), from, to)), 0o644))
}

const healthySendmail = `ok    sendmail       daemon (public, submission) hands its mail to coexistd by unix:{dir}/milter.sock
ok    sendmail       Sendmail asks coexistd at unix:{dir}/lookup.sock
ok    sendmail       Sendmail takes mail for acmecorp.com, globex.example
`

func TestTheDoctorFindsASendmailThatMailFlowsThroughWell(t *testing.T) {
	t.Parallel()
	s := sendmailSite(t)
	if out := s.ofSendmail("sendmail"); out != healthySendmail {
		t.Errorf("the doctor says\n%s\nright is\n%s", out, healthySendmail)
	}
	if out := s.ofSendmail("postfix"); out != "" {
		t.Errorf("beside a Sendmail the doctor says of Postfix\n%s", out)
	}
	if out := s.ofSendmail("smtp"); strings.Contains(out, "warn") || !strings.Contains(out, "the MTA at {mta} takes releases") {
		t.Errorf("of Sendmail's SMTP the doctor says\n%s", out)
	}
	m := lab.Plain("bob@acmecorp.com", "alice@acmecorp.com", "from the host")
	s.sendmail("bob@acmecorp.com", m, "alice@acmecorp.com")
	s.mustArrive(m, "office365 alice@acmecorp-com.onmicrosoft.com")
}

func TestTheDoctorSaysWhatIsWrongWithARealSendmail(t *testing.T) {
	t.Parallel()
	s := sendmailSite(t)
	for _, c := range []struct{ name, from, to, says string }{
		{"no F", " F=T,", "", "FAIL  sendmail       daemon (public, submission) hands its mail to coexistd by unix:{dir}/milter.sock, but while coexistd is away, mail passes by unchecked"},
		{"no list", "O InputMailFilters=coexistd", "#", "FAIL  sendmail       daemon (public, submission) does not hand its mail to coexistd"},
		{"no -T", "-T<TMPF> unix", "unix", "FAIL  sendmail       the map sendmail does not tell a lookup that fails"},
		{"a domain that is not asked for", "\nC{Coexistd}globex.example\n", "\n", "FAIL  sendmail       Sendmail does not ask coexistd about globex.example"},
		{"a domain that is refused", "\nC{R}globex.example", "\n", "FAIL  sendmail       Sendmail takes no mail for globex.example"},
	} {
		before, err := os.ReadFile(s.sendmailCF())
		s.do(err)
		s.change("sendmail.cf", c.from, c.to)
		out := s.ofSendmail("sendmail")
		mustSay(t, out, "warn  sendmail       Sendmail has run since before {etc}/sendmail.cf changed", c.says)
		s.do(os.WriteFile(s.sendmailCF(), before, 0o644))
	}
	past := time.Now().Add(-time.Hour)
	s.do(os.Chtimes(s.sendmailCF(), past, past))
	mustSay(t, s.ofSendmail("sendmail"), "warn  sendmail       {etc}/sendmail.mc was changed after {etc}/sendmail.cf was made")
}

func TestTheDaemonsUserSeesThatARealSendmailDoesNotKnowChangesYet(t *testing.T) {
	t.Parallel()
	s := sendmailSite(t)
	// Of the machine's accounts, daemon is one that is always there. Root becomes that user, who may not
	// read the file with Sendmail's number.
	const uid = 1
	s.do(os.Chown(filepath.Join(s.Dir, "state"), uid, uid))
	s.do(os.Chmod(filepath.Join(s.Host.(*lab.Sendmail).Dir, "pid"), 0o600))
	if out := s.ofSendmail("sendmail"); out != healthySendmail {
		t.Errorf("the doctor says\n%s\nright is\n%s", out, healthySendmail)
	}
	s.change("sendmail.cf", " F=T,", " F=4,")
	mustSay(t, s.ofSendmail("sendmail"), "warn  sendmail       Sendmail has run since before {etc}/sendmail.cf changed")
}

func TestTheDoctorSaysThatThereIsNoMTA(t *testing.T) {
	t.Parallel()
	config := configuration(t, lab.SiteTOML, lab.SiteDirectory)
	_, out, _ := runDoctor(t, t.TempDir(), nil, "-c", config, "--sendmail-cf", filepath.Join(t.TempDir(), "sendmail.cf"))
	mustSay(t, out, "warn  sendmail       Sendmail's settings cannot be read: no Sendmail was found at ", "  do: see that it is there and that root can read it; --sendmail-cf says where another is")
}
