package e2e

import (
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"coexistd/contrib/lab"
)

// An MTA that is set up to observe is set up for more later, by the same command.
func TestSetupHasAnMTAObserveFirstAndEnforceThen(t *testing.T) {
	onEachMTA(t, func(t *testing.T, mta lab.MTA) {
		toml := strings.Replace(lab.SiteTOML, `["127.0.4.0/24"]`, `["127.0.4.0/24", "127.0.0.1", "::1"]`, 1)
		toml = strings.Replace(toml, "[[lookup]]", "[[listen]]\naddress = \"unix:{dir}/users.sock\"\nmode = \"0666\"\ncheckpoint = \"S2\"\n\n[[lookup]]", 1)
		b := startBareSite(t, lab.SiteConfig{MTA: mta, TOML: inMode(toml, "observe", ""), Directory: withRoles})
		side := string(mta)
		script := b.setup(side)
		for _, more := range []string{"lookup.sock", "virtual_", "transport_maps", "coexistd.m4", "mynetworks", "default_action=tempfail", "F=T"} {
			if strings.Contains(script, more) {
				t.Errorf("to observe, it sets %s:\n%s", more, script)
			}
		}
		b.apply(script)
		b.mustBeDone(side)
		b.again()
		if bad := b.complaints(side); len(bad) > 0 {
			t.Errorf("the doctor says\n%s", strings.Join(bad, "\n"))
		}
		b.sendmail("bob@acmecorp.com", lab.Plain("bob@acmecorp.com", "alice@acmecorp.com", "observed"), "alice@acmecorp.com")
		b.waitDaemonLog(`<alice@acmecorp.com> would be office365 S2=>S4=>O1=>LD -> alice@acmecorp-com.onmicrosoft.com`)

		b.configure(toml)
		asked := "postfix check\nsystemctl restart postfix\n"
		if mta == lab.SendmailMTA {
			asked = "systemctl restart sendmail\n"
		}
		b.setUp(side, asked)
	})
}

func TestTheDoctorWantsOnlyTheMilterLineWhereAllIsObserved(t *testing.T) {
	t.Parallel()
	c := existing(lab.PostfixMTA, inMode(withHost(lab.SiteTOML), "observe", ""), true)
	c.Main["smtpd_milters"] = "{ unix:{dir}/milter.sock, default_action=accept }"
	c.Main["non_smtpd_milters"] = "$smtpd_milters"
	c.Main["mynetworks"] = "127.0.0.1/32 127.0.4.0/24"
	s := startSite(t, c)
	s.mustSayOfPostfix("ok    postfix        smtpd (public, submission) hands its mail to coexistd by unix:{dir}/milter.sock, and goes on while coexistd is away, as is right for the mode observe",
		"ok    postfix        cleanup (cleanup-milter, cleanup) hands its mail to coexistd by unix:{dir}/milter.sock, and goes on while coexistd is away, as is right for the mode observe",
		"warn  postfix        once the mode is enforce: texthash:{etc}/virtual of virtual_alias_maps has aliases that the directory lacks, so that their mail is refused: sales@acmecorp.com")

	s.do(s.Postfix.Restart(deadline(t), map[string]string{
		"virtual_alias_maps": "texthash:$config_directory/virtual, socketmap:unix:" + filepath.Join(s.Dir, "lookup.sock") + ":aliases", "milter_default_action": "tempfail",
		"transport_maps": "socketmap:unix:" + filepath.Join(s.Dir, "lookup.sock") + ":transport, texthash:$config_directory/transport",
		"smtpd_milters":  "unix:" + filepath.Join(s.Dir, "milter.sock"),
	}))
	s.mustSayOfPostfix(
		"warn  postfix        smtpd (public, submission) hands its mail to coexistd by unix:{dir}/milter.sock, whose mode is observe, but while coexistd is away, mail is not let through (the default action is tempfail)",
		"  do: put into main.cf: smtpd_milters = { unix:{dir}/milter.sock, default_action=accept }; then run: postfix reload",
		"FAIL  postfix        transport_maps asks coexistd for transport, though the mode is observe: only the milter line is to be set. The map holds nothing, and has mail wait while coexistd is away",
		"  do: put into main.cf: transport_maps = texthash:{etc}/transport; then run: postfix reload")
	status, out, _ := runDoctor(t, postconfOf(t, lab.Lend(t), filepath.Join(s.Postfix.Dir, "etc")), nil, "-c", s.Config())
	if status != 1 || !strings.Contains(out, "warn  configuration  the mode is observe: where it is observe, all is decided and recorded, and nothing is done\n") {
		t.Errorf("the doctor says, with the status %d,\n%s", status, out)
	}
	s.says(0, "status", "mode           observe\n")
	s.says(0, "check", "the mode is observe: ")

	s.configure(inMode(withHost(lab.SiteTOML), "enforce", "observe"))
	if out := s.ofPostfix(); !strings.Contains(out, "FAIL  postfix        virtual_mailbox_maps does not ask coexistd for recipients") {
		t.Errorf("where one domain is enforced, the doctor says\n%s", out)
	}
	s.says(0, "status", "mode           enforce, and observe for acmecorp.com\n")
}

// mustSayOfPostfix has the doctor say those lines of the site's Postfix.
func (s *site) mustSayOfPostfix(lines ...string) {
	s.t.Helper()
	etc := filepath.Join(s.Postfix.Dir, "etc")
	out := strings.NewReplacer(s.Dir, "{dir}", etc, "{etc}", s.Addr("public"), "public", s.Addr("submission"), "submission").Replace(s.ofPostfix())
	all := strings.Split(out, "\n")
	for _, line := range lines {
		if !slices.Contains(all, line) {
			s.t.Errorf("the doctor does not say\n%s\nit says\n%s", line, out)
		}
	}
}

func TestTheDoctorFailsWhereSendmailAsksWhatIsObserved(t *testing.T) {
	t.Parallel()
	toml := withHost(lab.SiteTOML)
	s := startSite(t, lab.SiteConfig{MTA: lab.SendmailMTA, TOML: inMode(toml, "observe", "")})
	out := s.ofSendmail("sendmail")
	for _, text := range []string{
		"warn  sendmail       daemon (public, submission) hands its mail to coexistd by unix:{dir}/milter.sock, whose mode is observe, but while coexistd is away, mail is not let through (F=T)\n" +
			"  do: put into sendmail.mc: INPUT_MAIL_FILTER(`coexistd', `S=unix:{dir}/milter.sock, T=C:30s;S:30s;R:1m;E:5m')dnl in place of its line; ",
		"FAIL  sendmail       Sendmail asks coexistd where mail goes (map sendmail), though the mode is observe: only the filter's line is to be set. ",
	} {
		if !strings.Contains(out, text) {
			t.Errorf("the doctor does not say\n%s\nit says\n%s", text, out)
		}
	}
}

func TestNothingIsProbedWhereTheModeIsObserve(t *testing.T) {
	t.Parallel()
	toml := inMode(withHost(lab.SiteTOML), "enforce", "observe") + "\n[probe]\nfrom = \"bob@acmecorp.com\"\naddresses = { office365 = \"alice@acmecorp.com\" }\n"
	s := startSite(t, lab.SiteConfig{TOML: toml})
	_, out, complaint := runDoctor(t, postconfOf(t, lab.Lend(t), filepath.Join(s.Postfix.Dir, "etc")), nil, "-c", s.Config(), "--probe")
	if !strings.Contains(out, "FAIL  probe          nothing is probed: the mode of bob@acmecorp.com is observe") {
		t.Errorf("the doctor says\n%s%s", out, complaint)
	}
	if n := len(s.Here.All()) + len(s.Office.All()); n > 0 {
		t.Errorf("%d messages were sent", n)
	}
}
