package setup_test

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"coexistd/cmd/coexistd/postconf"
	"coexistd/cmd/coexistd/setup"
	"coexistd/contrib/lab"
	"coexistd/policy/config"
)

// realPostfix is the configuration of a Postfix, read and changed by its own commands, and the
// site that it belongs to. Whatever else a guide runs is not there.
type realPostfix struct {
	t    *testing.T
	dir  string
	site *setup.Site
}

// The usual lines of a configuration of coexistd and of master.cf, which tests begin with.
const (
	plainTOML = `our_networks = ["127.0.0.0/8", "::1"]
[[listen]]
address = "inet:127.0.0.1:8701"
[[lookup]]
address = "inet:127.0.0.1:8702"
[platform.office365]
networks = ["192.0.2.0/24"]
tenant = "3f2504e0-4f89-11d3-9a0c-0305e82c3301"
may_relay = true
[domain."acmecorp.com"]
directory = "users.csv"
unlisted = "office365"
alternate = { office365 = "acmecorp-com.onmicrosoft.com" }
`
	usersListener = "[[listen]]\naddress = \"inet:127.0.0.1:8703\"\ncheckpoint = \"S2\"\n"
	plainMain     = "compatibility_level = 3.6\nmyhostname = mail.acmecorp.com\nmydestination = $myhostname, localhost\nvirtual_mailbox_domains = acmecorp.com\nmail_owner = daemon\nsetgid_group = bin\nmynetworks = 127.0.0.0/8, [::1]/128\n"
	plainMaster   = "smtp inet n - n - - smtpd\npickup unix n - n 60 1 pickup\ncleanup unix n - n - 0 cleanup\nvirtual unix - n n - - virtual\n"
)

// newPostfix has a configuration of plainMain and plainMaster with further lines, beside coexistd as
// plainTOML with further sections.
func newPostfix(t *testing.T, toml, main, master string) *realPostfix {
	t.Helper()
	r := startPostfix(t, t.TempDir(), survey(t, plainTOML+toml, "address,residence\ncarol@acmecorp.com,both:office365\n", nil))
	r.write(main, master)
	return r
}

// startPostfix has the configuration of a folder.
func startPostfix(t *testing.T, dir string, site *setup.Site) *realPostfix {
	t.Helper()
	r := &realPostfix{t, dir, site}
	if err := lab.Lend(t).WriteCommands(dir, dir); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"postfix", "systemctl", "usermod"} {
		if err := os.WriteFile(filepath.Join(r.dir, name), []byte("#!/bin/sh\n"), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	return r
}

func (r *realPostfix) write(main, master string) {
	r.t.Helper()
	for line := range strings.Lines(plainMain) {
		name, _, _ := strings.Cut(line, "=")
		if !strings.Contains("\n"+main, "\n"+name+"=") {
			main = line + main
		}
	}
	for name, text := range map[string]string{"main.cf": main, "master.cf": plainMaster + master} {
		if err := os.WriteFile(filepath.Join(r.dir, name), []byte(text), 0o644); err != nil {
			r.t.Fatal(err)
		}
	}
}

// read has the site know what the configuration is now.
func (r *realPostfix) read() *postconf.Settings {
	r.t.Helper()
	settings, err := postconf.ReadBy(r.t.Context(), filepath.Join(r.dir, "postconf"))
	if err != nil {
		r.t.Fatal(err)
	}
	names := r.site.CertificateNames
	r.site.SurveyPostfix(r.t.Context(), settings)
	r.site.CertificateNames = names // its files are not there
	return settings
}

func (r *realPostfix) guide(retire bool) (setup.Guide, error) {
	r.t.Helper()
	r.read()
	return setup.Make("postfix", r.site, retire)
}

// apply runs the guide, reads what has come of it, and sees that nothing is left to be done. It returns the script
// as well.
func (r *realPostfix) apply(retire bool) (*postconf.Settings, string) {
	r.t.Helper()
	guide, err := r.guide(retire)
	if err != nil {
		r.t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(r.t.Context(), time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, "/bin/sh", "-e")
	cmd.Env = append(os.Environ(), "PATH="+r.dir+":"+os.Getenv("PATH"))
	script := written(guide)
	cmd.Stdin = strings.NewReader(script)
	if out, err := cmd.CombinedOutput(); err != nil || len(out) > 0 {
		r.t.Fatalf("%v: %s\n%s", err, out, script)
	}
	again, err := r.guide(retire)
	if err != nil || slices.ContainsFunc(again.Steps, func(s setup.Step) bool { return s.Code != "" }) {
		r.t.Errorf("what was done is to be done once more (%v):\n%s\nafter\n%s", err, written(again), script)
	}
	return r.read(), script
}

// values are settings of main.cf, and of services as SERVICE/TYPE/SETTING, in main.cf's own words.
func values(p *postconf.Settings, names ...string) string {
	var lines []string
	for _, name := range names {
		value := p.Raw[name]
		for _, s := range p.Services {
			if option, is := strings.CutPrefix(name, s.Name+"/"+s.Kind+"/"); is {
				value = s.Own[option]
			}
		}
		lines = append(lines, name+" = "+value)
	}
	return strings.Join(lines, "\n")
}

// mustHave fails the test where settings are not as the lines say.
func (r *realPostfix) mustHave(p *postconf.Settings, lines ...string) {
	r.t.Helper()
	for _, line := range lines {
		name, _, _ := strings.Cut(line, " =")
		if got := values(p, name); strings.TrimSpace(got) != strings.TrimSpace(line) {
			r.t.Errorf("it has %q; right is %q", got, line)
		}
	}
}

func TestEmptyMapsOfRecipientsStayEmptyWhereOthersHaveDomainsToo(t *testing.T) {
	t.Parallel()
	const others = "inline:{globex.example=x}"
	r := newPostfix(t, "", "virtual_mailbox_domains = "+others+"\nmydestination = $myhostname, acmecorp.com\nlocal_recipient_maps =\nrelay_domains = "+others+"\n", "")
	got, script := r.apply(false)
	r.mustHave(got, "local_recipient_maps =", "relay_recipient_maps =", "virtual_mailbox_maps =")
	if !strings.Contains(script, "local_recipient_maps is empty and stays so") || strings.Contains(script, "relay_recipient_maps") {
		t.Errorf("the guide does not say what it leaves, or says it of a class without a domain of ours:\n%s", script)
	}
	for _, domains := range []string{"acmecorp.com", "acmecorp.com, " + others + "\nparent_domain_matches_subdomains ="} {
		r.write("virtual_mailbox_domains =\nrelay_domains = "+domains+"\n", "")
		got, script = r.apply(false)
		r.mustHave(got, "relay_recipient_maps =")
		if !strings.Contains(script, "relay_recipient_maps is empty and stays so") {
			t.Errorf("the guide does not say what it leaves:\n%s", script)
		}
	}
	// Where all is ours, nobody else's mail is refused.
	r.write("", "")
	got, _ = r.apply(false)
	r.mustHave(got, "virtual_mailbox_maps = socketmap:inet:127.0.0.1:8702:recipients")
}

// Our map does not know whom the directory lacks, where they live here.
func TestNobodyIsRefusedWhereTheDirectoryHasThoseAloneWhoLiveElsewhere(t *testing.T) {
	t.Parallel()
	toml := strings.Replace(plainTOML, `unlisted = "office365"`, `unlisted = "here"`, 1)
	const directory = "address,residence\ncarol@acmecorp.com,office365\n"
	const ours = "socketmap:inet:127.0.0.1:8702:recipients"
	r := startPostfix(t, t.TempDir(), survey(t, toml, directory, nil))
	for main, want := range map[string]string{
		"": "virtual_mailbox_maps =",
		"virtual_mailbox_domains =\nmydestination = $myhostname\n":                                       "virtual_mailbox_maps =",
		"virtual_mailbox_maps = " + ours + "\n":                                                          "virtual_mailbox_maps =",
		"virtual_mailbox_maps = hash:/a\n":                                                               "virtual_mailbox_maps = hash:/a, " + ours,
		"virtual_mailbox_domains =\nrelay_domains = acmecorp.com\n":                                      "relay_recipient_maps =",
		"virtual_mailbox_domains =\nmydestination = acmecorp.com\n":                                      "local_recipient_maps = proxy:unix:passwd.byname $alias_maps, " + ours,
		"virtual_mailbox_domains =\nmydestination = acmecorp.com\nlocal_recipient_maps =\n":              "local_recipient_maps =",
		"virtual_mailbox_domains =\nmydestination = acmecorp.com\nlocal_recipient_maps = " + ours + "\n": "local_recipient_maps =",
	} {
		r.write(main, "")
		got, script := r.apply(false)
		r.mustHave(got, want)
		isEmpty := strings.HasSuffix(want, "=")
		if strings.Contains(unwrapped(script), "is to be empty: Postfix takes mail to anybody of") != isEmpty {
			t.Errorf("of\n%sthe guide says\n%s", main, script)
		}
	}
}

// hostSameAs has the host's own name have the users of acmecorp.com.
const hostSameAs = "[domain.\"mail.acmecorp.com\"]\nsame_as = \"acmecorp.com\"\nunlisted = \"here\"\n"

func TestTheHostsNameStaysWithItsAccountsWhereItHasTheUsersOfADomain(t *testing.T) {
	t.Parallel()
	const asks = ", socketmap:inet:127.0.0.1:8702:"
	r := newPostfix(t, hostSameAs, "alias_maps = hash:/etc/aliases\nvirtual_alias_maps = hash:/etc/postfix/virtual\n", "")
	got, _ := r.apply(false)
	r.mustHave(got, "mydestination = $myhostname, localhost", "virtual_mailbox_domains = acmecorp.com",
		"local_recipient_maps = proxy:unix:passwd.byname $alias_maps"+asks+"recipients", "virtual_alias_maps = hash:/etc/postfix/virtual"+asks+"aliases")
	if got, _ = r.apply(true); got.IsWritten("local_recipient_maps") {
		t.Error("after --retire main.cf has local_recipient_maps, which it did not have before")
	}
	r.mustHave(got, "local_recipient_maps = proxy:unix:passwd.byname $alias_maps", "virtual_alias_maps = hash:/etc/postfix/virtual")
}

// unwrapped has each comment of a script in one line.
func unwrapped(script string) string { return strings.ReplaceAll(script, "\n# ", " ") }

func TestAliasesThatTheDirectoryLacksAreToldOfWithWhatKeepsThem(t *testing.T) {
	t.Parallel()
	const (
		directory = "address,residence\ncarol@acmecorp.com,office365\nlisted@acmecorp.com,here\n"
		says      = "Postfix has aliases that the directory of acmecorp.com lacks: "
		aliases   = "alias_maps = inline:{{team=x},{listed=y}}\nvirtual_alias_maps = inline:{{Sales@AcmeCorp.com=b@globex.example},{info@acmecorp.com=b@globex.example},{postmaster@acmecorp.com=c@globex.example},{listed@acmecorp.com=d@globex.example},{x@other.example=y@other.example}}\n"
	)
	for unlisted, want := range map[string]string{"reject": "info@acmecorp.com and 1 more. ", "here": "", "office365": ""} {
		r := startPostfix(t, t.TempDir(), survey(t, strings.Replace(plainTOML, `unlisted = "office365"`, `unlisted = "`+unlisted+`"`, 1), directory, nil))
		r.write(aliases, "")
		if _, script := r.apply(false); strings.Contains(unwrapped(script), says+want) != (want != "") {
			t.Errorf("with unlisted %s the guide says\n%s", unlisted, script)
		}
		r.write(aliases+"virtual_mailbox_domains =\nmydestination = acmecorp.com\n", "")
		if _, script := r.apply(false); want != "" && !strings.Contains(unwrapped(script), says+"info@acmecorp.com and 2 more. ") {
			t.Errorf("with local domains the guide says\n%s", script)
		}
	}
}

func TestDomainsThatTheConfigurationLacksMustBeAddedFirst(t *testing.T) {
	t.Parallel()
	r := newPostfix(t, "", "", "")
	for main, want := range map[string]string{
		"mydestination = $myhostname, localhost.acmecorp.com, localhost, Initech.example\n": "lacks: initech.example.",
		"relay_domains = globex.example, acmecorp.com\nvirtual_alias_domains = a.example\n": "lacks: a.example, globex.example.",
		"relay_domains = .acmecorp.com, hash:/a, !/b\n":                                     "",
	} {
		r.write(main, "")
		if _, err := r.guide(false); (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v; right is %q", main, err, want)
		}
		if _, err := r.guide(true); err != nil {
			t.Errorf("it cannot be undone: %v", err)
		}
	}
}

// mustCome fails the test where the commands of a script that begin so are not in that order.
func mustCome(t *testing.T, script string, commands ...string) {
	t.Helper()
	rest := script
	for _, command := range commands {
		_, after, found := strings.Cut(rest, "\npostconf "+command)
		if !found {
			t.Fatalf("%q is not there, or comes before what it should follow:\n%s", command, script)
		}
		rest = after
	}
}

func TestWhatGuardsComesBeforeWhatOpens(t *testing.T) {
	t.Parallel()
	r := newPostfix(t, usersListener, "smtpd_tls_chain_files = /etc/postfix/mail.pem\nrelayhost = [old.example]\nsmtpd_recipient_restrictions = $mine\nmine = permit_mynetworks, reject_unauth_destination, reject_unknown_recipient_domain\n", "")
	r.site.Conf.Rules.Routes.Outbound = "office365"
	r.site.Conf.Rules.Routes.Platforms[0].Relay = "[acmecorp-com.mail.protection.outlook.com]:25"
	r.read()
	r.site.Conf.Rules.OurNetworks = r.site.Conf.Rules.OurNetworks.With(netip.MustParsePrefix("198.51.100.0/24"))
	guide, err := setup.Make("postfix", r.site, false)
	if err != nil {
		t.Fatal(err)
	}
	mustCome(t, written(guide), "-e 'smtp_tls_security_level", "-e 'transport_maps", "-e 'smtpd_milters", "-e 'mynetworks", "-e 'smtpd_relay_restrictions", "-e 'relayhost", "-M 'submission/inet")
	got, _ := r.apply(false)
	r.mustHave(got,
		"smtpd_relay_restrictions = permit_mynetworks, permit_sasl_authenticated, check_client_access socketmap:inet:127.0.0.1:8702:networks, reject_unauth_destination",
		"smtpd_recipient_restrictions = permit_mynetworks, check_client_access socketmap:inet:127.0.0.1:8702:networks, reject_unauth_destination, reject_unknown_recipient_domain",
		"relayhost = [acmecorp-com.mail.protection.outlook.com]:25")
	guide, err = r.guide(true)
	if err != nil {
		t.Fatal(err)
	}
	mustCome(t, written(guide), "-e 'smtpd_relay_restrictions", "-e 'smtpd_recipient_restrictions", "-X 'relayhost'", "-X 'transport_maps'", "-PX 'smtp/inet/cleanup_service_name'", "-X 'smtpd_milters'")
	got, _ = r.apply(true)
	r.mustHave(got, "smtpd_relay_restrictions = permit_mynetworks, permit_sasl_authenticated, reject_unauth_destination",
		"smtpd_recipient_restrictions = permit_mynetworks, reject_unauth_destination, reject_unknown_recipient_domain", "smtpd_milters =", "virtual_alias_maps = $virtual_maps", "transport_maps =")
}

func TestListsInMasterCfAreWrittenWithoutBlanks(t *testing.T) {
	t.Parallel()
	r := newPostfix(t, "", "virtual_alias_maps = unionmap:{inline:{{a@acmecorp.com = b@acmecorp.com}}, hash:/etc/postfix/virtual}\nvirtual_mailbox_maps = hash:/etc/postfix/a, hash:/etc/postfix/b\n"+
		"smtpd_milters = inet:127.0.0.1:8891, inet:127.0.0.1:8892\n", "2525 inet n - n - - smtpd\n -o { smtpd_milters = inet:127.0.0.1:8893, inet:127.0.0.1:8894 }\n127.0.0.1:10025 inet n - n - - smtpd\n -o receive_override_options=no_milters\n")
	got, _ := r.apply(false)
	r.mustHave(got, "127.0.0.1:10025/inet/cleanup_service_name = cleanup-milter", "virtual/unix/virtual_mailbox_maps = hash:/etc/postfix/a,hash:/etc/postfix/b",
		"cleanup-milter/unix/virtual_alias_maps = socketmap:inet:127.0.0.1:8702:members,unionmap:{inline:{{a@acmecorp.com=b@acmecorp.com}},hash:/etc/postfix/virtual}",
		"2525/inet/smtpd_milters = {inet:127.0.0.1:8701,default_action=tempfail},inet:127.0.0.1:8893,inet:127.0.0.1:8894",
		"smtpd_milters = { inet:127.0.0.1:8701, default_action=tempfail }, inet:127.0.0.1:8891, inet:127.0.0.1:8892")
	const inline = "inline:{{a@acmecorp.com=b@acmecorp.com}}"
	if rows, err := got.Values(t.Context(), inline, []string{"a@acmecorp.com"}); err != nil || rows["a@acmecorp.com"] != "b@acmecorp.com" {
		t.Errorf("without blanks %s has %v (%v)", inline, rows, err)
	}
	got, _ = r.apply(true)
	r.mustHave(got, "127.0.0.1:10025/inet/cleanup_service_name =", "virtual/unix/virtual_mailbox_maps =", "2525/inet/smtpd_milters = inet:127.0.0.1:8893,inet:127.0.0.1:8894", "smtpd_milters = inet:127.0.0.1:8891, inet:127.0.0.1:8892")

	r.write("virtual_alias_maps = regexp:{{/^a b@/ b@acmecorp.com}}\n", "")
	if _, err := r.guide(false); err == nil || !strings.Contains(err.Error(), "take no table between braces whose rows have blanks") {
		t.Errorf("a table whose blanks are needed: %v", err)
	}
}

func TestMapsAskedAsOneLoseOursAlone(t *testing.T) {
	t.Parallel()
	r := newPostfix(t, "", "virtual_alias_maps = unionmap:{hash:/a, socketmap:inet:127.0.0.1:8702:aliases}\ntransport_maps = proxy:unionmap:{hash:/a, socketmap:inet:127.0.0.1:8702:transport, hash:/b}\n"+
		"smtpd_milters = { inet:127.0.0.1:8701 }, {inet:127.0.0.1:8891, default_action=accept}\nnon_smtpd_milters = {inet:127.0.0.1:8701}\n", "")
	got, _ := r.apply(true)
	r.mustHave(got, "virtual_alias_maps = hash:/a", "transport_maps = proxy:unionmap:{hash:/a, hash:/b}", "smtpd_milters = {inet:127.0.0.1:8891, default_action=accept}", "non_smtpd_milters =")
}

func TestWhereMailPassesByAllMiltersNothingIsSet(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ main, master, want string }{
		{"receive_override_options = no_milters\n", "", "the service smtp of master.cf asks no milter, as receive_override_options has no_milters in main.cf"},
		{"", "2525 inet n - n - - smtpd\n -o receive_override_options=no_milters\n", "the service 2525 of master.cf asks no milter, as receive_override_options has no_milters in the -o options of 2525 in master.cf"},
		{"", "127.0.0.1:10025 inet n - n - - smtpd\n -o receive_override_options=no_milters\n", ""},
	} {
		r := newPostfix(t, "", c.main, c.master)
		if _, err := r.guide(false); (err == nil) != (c.want == "") || err != nil && !strings.HasPrefix(err.Error(), c.want) {
			t.Errorf("%s%s: %v; right is %q", c.main, c.master, err, c.want)
		}
	}
}

func TestSubmissionHasOursBesideTheMiltersThatStandThere(t *testing.T) {
	t.Parallel()
	const sasl = " -o smtpd_sasl_auth_enable=yes\n"
	for _, c := range []struct{ toml, main, master, milters string }{
		{"", "", "submission inet n - n - - smtpd\n" + sasl + " -o smtpd_milters=inet:127.0.0.1:8891\n",
			"submission/inet/smtpd_milters = {inet:127.0.0.1:8701,default_action=tempfail},inet:127.0.0.1:8891"},
		{usersListener, "smtpd_milters = inet:127.0.0.1:8890, inet:127.0.0.1:8701, inet:127.0.0.1:8891\nmilter_default_action = accept\n", "587 inet n - n - - smtpd\n" + sasl,
			"587/inet/smtpd_milters = inet:127.0.0.1:8890,{inet:127.0.0.1:8703,default_action=tempfail},inet:127.0.0.1:8891"},
		{usersListener, "smtpd_sasl_auth_enable = yes\n", "127.0.0.1:submission inet n - n - - smtpd\n", "127.0.0.1:submission/inet/smtpd_milters = inet:127.0.0.1:8703"},
		{usersListener, "smtpd_sasl_auth_enable = yes\n", "submission inet n - n - - smtpd\n -o smtpd_sasl_auth_enable=no\n", "submission/inet/smtpd_milters ="},
		{usersListener, "", "465 inet n - n - - smtpd\n" + sasl + " -o milter_default_action=accept\n", "465/inet/smtpd_milters = {inet:127.0.0.1:8703,default_action=tempfail}"},
		{usersListener, "smtpd_milters = inet:127.0.0.1:8891\n", "", "submission/inet/smtpd_milters = {inet:127.0.0.1:8703,default_action=tempfail},inet:127.0.0.1:8891"},
		{"", "", "2525 inet n - n - - smtpd\n -o milter_default_action=accept\n", "2525/inet/smtpd_milters = {inet:127.0.0.1:8701,default_action=tempfail}"},
	} {
		r := newPostfix(t, c.toml, c.main, c.master)
		got, _ := r.apply(false)
		r.mustHave(got, c.milters, "smtp/inet/smtpd_milters =")
		ports := make(map[string]int)
		for _, s := range got.Running("smtpd") {
			if ports[s.Port()]++; ports[s.Port()] > 1 {
				t.Errorf("%s%s: two services listen at port %s", c.main, c.master, s.Port())
			}
		}
	}
}

func TestReleasesHaveAServiceOnlyAtAPortOfTheirOwnOnThisHost(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		smtp, master string
		made         bool
	}{
		{"127.0.0.1:10026", "", true}, {"[::1]:10026", "", true}, {"192.0.2.9:10026", "", false}, {"mail.globex.example:25", "", false},
		{"127.0.0.1:587", "", false}, {"127.0.0.1:465", "", false}, {"127.0.0.1:25", "", false}, {"127.0.0.1:10026", "10026 inet n - n - - smtpd\n", false},
	} {
		r := newPostfix(t, "", "", c.master)
		r.site.Conf.Quarantine.SMTP = c.smtp
		got, _ := r.apply(false)
		made := slices.ContainsFunc(got.Services, func(s *postconf.Service) bool { return s.Name == c.smtp })
		if made != c.made {
			t.Errorf("%s beside %q: a service is made: %v", c.smtp, c.master, made)
		}
	}
}

func TestWhatCannotBeReadIsToldAndNotSet(t *testing.T) {
	t.Parallel()
	r := newPostfix(t, "", "virtual_mailbox_domains = hash:/no/such/table\n", "")
	guide, err := r.guide(false)
	if err != nil {
		t.Fatal(err)
	}
	script := written(guide)
	if !strings.Contains(script, "See whether Postfix takes mail for acmecorp.com") || !strings.Contains(script, "/no/such/table") || strings.Contains(script, "postconf -e 'virtual_mailbox_domains") {
		t.Errorf("of a table that cannot be read the guide makes\n%s", script)
	}
}

func TestWhatStandsInMainCfCountsAsPostfixReadsIt(t *testing.T) {
	t.Parallel()
	r := newPostfix(t, "", "virtual_mailbox_domains =\nmessage_reject_characters = \\0\\200\nsmtpd_milters = $ours\nours = inet:127.0.0.1:8701\n", "")
	got, _ := r.apply(false)
	r.mustHave(got, "virtual_mailbox_domains = acmecorp.com", "virtual_transport = lmtp:unix:private/dovecot-lmtp", `message_reject_characters = \0\200`, "smtpd_milters = $ours")
	r.write("message_reject_characters = \\200\n", "")
	got, _ = r.apply(false)
	r.mustHave(got, `message_reject_characters = \200\0`)
}

func TestPostfixHasTheGroupWhereItMayNotUseTheSocket(t *testing.T) {
	t.Parallel()
	r := newPostfix(t, "", "", "")
	dir, err := lab.TempDir() // which others may enter
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	path := filepath.Join(dir, "milter.sock")
	socket, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	defer socket.Close()
	r.site.Conf.Listeners[0].Address, r.site.User = "unix:"+path, "coexistd"
	for _, c := range []struct {
		mode   os.FileMode
		needed bool
	}{{0o660, true}, {0o666, false}} {
		if err := os.Chmod(path, c.mode); err != nil {
			t.Fatal(err)
		}
		guide, err := r.guide(false)
		if got := strings.Contains(written(guide), "\nusermod -aG coexistd daemon\n"); got != c.needed || err != nil {
			t.Errorf("a socket of mode %o (%v) has usermod: %v\n%s", c.mode, err, got, written(guide))
		}
	}
}

// The one test of a postconf that is found in PATH.
func TestWhyPostfixCannotBeAskedIsSaidAndASilentDNSTakesNoneOfItsTime(t *testing.T) {
	dir := t.TempDir()
	silent, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	for name, text := range map[string]string{
		"coexistd.toml": fmt.Sprintf("resolver = %q\n", silent.LocalAddr()) + plainTOML,
		"users.csv":     "address,residence\ncarol@acmecorp.com,here\n",
		"postconf":      "#!/bin/sh\n: > '" + dir + "/asked'\necho 'postconf: fatal: main.cf is broken' >&2\nexit 1\n",
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	reading := config.Load(filepath.Join(dir, "coexistd.toml"))
	if reading.Config == nil {
		t.Fatal(reading.Problems)
	}
	t.Setenv("PATH", dir+":"+os.Getenv("PATH"))
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	asked := make(chan error, 1)
	go func() {
		_, _, err := silent.ReadFrom(make([]byte, 1500))
		if err == nil {
			_, err = os.Stat(filepath.Join(dir, "asked"))
		}
		asked <- err
		cancel()
	}()
	_, err = setup.Make("postfix", setup.Survey(ctx, reading.Config), false)
	if err == nil || !strings.Contains(err.Error(), "the settings of Postfix cannot be read: postconf ") || !strings.Contains(err.Error(), "main.cf is broken") {
		t.Errorf("of a postconf that fails is said: %v", err)
	}
	if err := <-asked; err != nil {
		t.Errorf("the DNS was asked before Postfix: %v", err)
	}
}

// An MTA that takes mail for a domain looks here for mailboxes that have all moved away.
func TestRetiringHasPostfixTakeNoMailForDomainsThatHaveLeft(t *testing.T) {
	t.Parallel()
	const further = "[domain.\"globex.example\"]\ndirectory = \"users.csv\"\nalternate = { office365 = \"globex.onmicrosoft.com\" }\n"
	const table = "inline:{acmecorp.com=x}"
	for name, c := range map[string]struct {
		users, domains string
		want, says     string
	}{
		"all are there":    {"carol@acmecorp.com,office365\nhugo@globex.example,here\n", "AcmeCorp.com, globex.example", "virtual_mailbox_domains = globex.example", "Take no more mail for acmecorp.com"},
		"all are here":     {"carol@acmecorp.com,here\nhugo@globex.example,here\n", "acmecorp.com, globex.example", "virtual_mailbox_domains = acmecorp.com, globex.example", ""},
		"they are on both": {"carol@acmecorp.com,office365\nbob@acmecorp.com,here\nhugo@globex.example,here\n", "acmecorp.com, globex.example", "virtual_mailbox_domains = acmecorp.com, globex.example", "NOT YET: by the directories, and by unlisted, acmecorp.com has mailboxes here and at office365. Once"},
		"nobody knows":     {"carol@acmecorp.com,here\n", "acmecorp.com, globex.example", "virtual_mailbox_domains = acmecorp.com, globex.example", "globex.example has mailboxes nowhere that is known"},
		"by a table":       {"carol@acmecorp.com,office365\nhugo@globex.example,here\n", table + ", globex.example", "virtual_mailbox_domains = " + table + ", globex.example", "by hand, before all else: acmecorp.com (virtual_mailbox_domains = " + table},
		"both have moved":  {"carol@acmecorp.com,office365\nhugo@globex.example,office365\n", "acmecorp.com, globex.example", "virtual_mailbox_domains =", "Take no more mail for acmecorp.com, globex.example"},
	} {
		toml := strings.Replace(plainTOML, "unlisted = \"office365\"\n", "", 1) + further
		r := startPostfix(t, t.TempDir(), survey(t, toml, "address,residence\n"+c.users, nil))
		r.write("virtual_mailbox_domains = "+c.domains+"\n", "")
		got, script := r.apply(true)
		r.mustHave(got, c.want)
		if whole := strings.ReplaceAll(script, "\n# ", " "); !strings.Contains(whole, c.says) || c.says == "" && (strings.Contains(whole, "NOT YET") || strings.Contains(whole, "Take no more mail")) {
			t.Errorf("%s: it does not say %q:\n%s", name, c.says, script)
		}
	}
}
