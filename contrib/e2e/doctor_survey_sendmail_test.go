package e2e

import (
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"coexistd/contrib/lab"
)

// surveyedSendmail is what a survey tells of a Sendmail that has acmecorp.com for accounts, with further lines
// of sendmail.mc, and further files in its folder; {dir} stands for the folder. It has a configuration where
// files has a coexistd.toml.
func surveyedSendmail(t *testing.T, mc []string, files map[string]string) (status int, out string) {
	t.Helper()
	dir := t.TempDir()
	written := map[string]string{"local-host-names": "acmecorp.com\n", "aliases": "# none\n", "relay-domains": ""}
	maps.Copy(written, files)
	for _, name := range slices.Sorted(maps.Keys(written)) { // a database behind the text that it is made of
		if err := os.WriteFile(filepath.Join(dir, name), []byte(strings.ReplaceAll(written[name], "{dir}", dir)), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	lines := []string{
		"define(`MAIL_SETTINGS_DIR', `{dir}/')dnl", "define(`confDOMAIN_NAME', `mail.acmecorp.com')dnl", "define(`ALIAS_FILE', `{dir}/aliases')dnl",
		"define(`confCW_FILE', `{dir}/local-host-names')dnl", "FEATURE(`use_cw_file')dnl", "define(`confCR_FILE', `{dir}/relay-domains')dnl", "FEATURE(`no_default_msa')dnl",
	}
	all := strings.ReplaceAll(strings.Join(append(lines, mc...), "\n"), "{dir}", dir)
	if err := lab.Lend(t).MakeSendmailCF(t.Context(), dir, all); err != nil {
		t.Fatal(err)
	}
	status, out, complaint := runDoctor(t, t.TempDir(), nil, "--survey", "--sendmail-cf", filepath.Join(dir, "sendmail.cf"), "-c", filepath.Join(dir, "coexistd.toml"))
	if complaint != "" {
		t.Errorf("the survey complains: %s", complaint)
	}
	return status, strings.ReplaceAll(out, dir, "{dir}")
}

// withOwnName is withDomain for a Sendmail, which always takes mail for its host's own name.
func withOwnName(more string) map[string]string {
	files := withDomain(more + "[domain.\"mail.acmecorp.com\"]\nunlisted = \"here\"\n")
	files["coexistd.toml"] = strings.Replace(files["coexistd.toml"], `["127.0.0.0/8"]`, `["127.0.0.0/8", "::1"]`, 1)
	return files
}

func TestASurveyOfASendmailThatIsRightHasNothingToDo(t *testing.T) {
	t.Parallel()
	const alone = "ok    configuration  there is no {dir}/coexistd.toml yet: this tells of the server alone\n" +
		"ok    domains        Sendmail takes mail for acmecorp.com: coexistd will refuse what comes from the Internet for those that its configuration lacks, so each needs a [domain] there\n" +
		"ok    recipients     accounts, aliases(5) and the virtusertable of this host say who exists in acmecorp.com: coexistd's rules are asked before, for users who live elsewhere. coexistd will refuse whom the directory lacks; with unlisted = \"here\" in the domain's section it leaves them to the MTA, and the directory needs those alone who live elsewhere\n" +
		"ok    networks       Sendmail (relay-domains, the access map) lets clients send without a login. For coexistd, their mail is that of your users where the configuration says: our_networks = [\"127.0.0.0/8\", \"::1/128\"]. Leave the addresses of a gateway out that hands on mail of the Internet\n"
	if status, out := surveyedSendmail(t, nil, nil); status != exitYes || out != alone {
		t.Errorf("of a server alone, the survey ends with %d and says\n%s", status, out)
	}
	const configured = "ok    domains        {dir}/coexistd.toml has all domains for which Sendmail takes mail\n" +
		"ok    recipients     accounts, aliases(5) and the virtusertable of this host say who exists in acmecorp.com, mail.acmecorp.com: coexistd's rules are asked before, for users who live elsewhere\n" +
		"ok    aliases        coexistd refuses none of the aliases that can be listed, nor sends it elsewhere\n" +
		"ok    networks       our_networks has all networks whose clients Sendmail lets relay\n"
	if status, out := surveyedSendmail(t, nil, withOwnName("unlisted = \"here\"\n")); status != exitYes || out != configured {
		t.Errorf("with a configuration, the survey ends with %d and says\n%s", status, out)
	}
}

func TestASurveySaysWhyItCannotTellOfASendmail(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for name, text := range map[string]string{"sendmail.mc": "VERSIONID(`x')\n", "submit.cf": "V10/Berkeley\nD{MTAHost}[127.0.0.1]\n"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	for name, says := range map[string]string{
		"sendmail.cf": "no Sendmail was found at " + dir + "/sendmail.cf; run this on the MTA's host, as root, with the folder of Postfix's postconf command in PATH, or say where",
		"sendmail.mc": "the settings of Sendmail cannot be read: " + dir + "/sendmail.mc is no configuration of Sendmail's daemon",
		"submit.cf":   dir + "/submit.cf is what the sendmail command reads",
	} {
		status, out, complaint := runDoctor(t, t.TempDir(), nil, "--survey", "--sendmail-cf", filepath.Join(dir, name), "-c", filepath.Join(dir, "coexistd.toml"))
		if status != exitWrong || out != "" || !strings.Contains(complaint, says) {
			t.Errorf("of %s the survey ends with %d and says %q, %q; right is %q", name, status, out, complaint, says)
		}
	}
}

// Each row is set up wrong, and is told with its remedy, or is right, and has nothing to do.
func TestASurveyNamesEachPitfallOfASendmailAndItsRemedy(t *testing.T) {
	t.Parallel()
	const leaving = "unlisted = \"here\"\n"
	const rspamd, opendkim, opendmarc = "INPUT_MAIL_FILTER(`rspamd', `S=inet:11332@127.0.0.1, F=T')dnl", "INPUT_MAIL_FILTER(`opendkim', `S=local:/run/opendkim/opendkim.sock')dnl", "INPUT_MAIL_FILTER(`dmarc', `S=inet:8893@localhost')dnl"
	const virtual, access = "FEATURE(`virtusertable', `hash {dir}/virtusertable')dnl", "FEATURE(`access_db', `hash -T<TMPF> {dir}/access')dnl"
	const daemon = "DAEMON_OPTIONS(`Name=MTA')dnl"
	for _, c := range []struct {
		name  string
		mc    []string
		files map[string]string
		says  []string
		right bool
	}{
		{name: "milters in the right order", mc: []string{daemon, rspamd, opendkim, opendmarc},
			says: []string{"ok    milters        daemon (MTA) asks rspamd (inet:11332@127.0.0.1), for which mail waits (F=T), OpenDKIM (local:/run/opendkim/opendkim.sock), without which mail goes on, OpenDMARC (inet:8893@localhost), without which mail goes on: coexistd setup sendmail puts coexistd before them"}, right: true},
		{name: "a filter behind the signer", mc: []string{daemon, opendkim, rspamd},
			says: []string{"warn  milters        daemon (MTA) asks OpenDKIM (local:/run/opendkim/opendkim.sock), rspamd (inet:11332@127.0.0.1), and each sees only what",
				"  do: put into sendmail.mc: define(`confINPUT_MAIL_FILTERS', `rspamd,opendkim')dnl behind the lines of these filters; then make sendmail.cf anew"}},
		{name: "a filter without which mail is refused", mc: []string{daemon, "INPUT_MAIL_FILTER(`clamav', `S=local:/run/clamav/milter.sock, F=R')dnl"},
			says: []string{"warn  milters        while clamav-milter (local:/run/clamav/milter.sock) is away, mail is refused for good (F=R)", "  do: put into sendmail.mc: INPUT_MAIL_FILTER(`clamav', `S=local:/run/clamav/milter.sock, F=T"}},
		{name: "a filter that no line defines", mc: []string{daemon, "define(`confINPUT_MAIL_FILTERS', `spamd')dnl"},
			says: []string{"FAIL  milters        daemon (MTA) names the filter spamd, which no line defines: Sendmail does not start", "  do: write into sendmail.mc: MAIL_FILTER(`spamd'"}},
		{name: "a listener without milters", mc: []string{"DAEMON_OPTIONS(`Name=MTA, InputMailFilters=')dnl", rspamd},
			says: []string{"FAIL  milters        daemon (MTA) asks no milter, as its own list InputMailFilters is empty", "  do: take InputMailFilters out of the DAEMON_OPTIONS of MTA"}},
		{name: "rspamd asked twice", mc: []string{daemon, rspamd}, files: withOwnName(leaving + "[scanner.rspamd]\naddress = \"http://127.0.0.1:11333\"\n"),
			says: []string{"warn  milters        rspamd is asked as a milter of the MTA, and by coexistd as well ([scanner.rspamd])", "  do: take its milter out"}},
		{name: "a content filter whose mail comes back past milters", mc: []string{daemon, "DAEMON_OPTIONS(`Name=back, Addr=127.0.0.1, Port=10025, InputMailFilters=')dnl"},
			says: []string{"ok    filters        daemon (back) takes mail back from a content filter, without milters"}, right: true},
		{name: "a content filter whose mail comes back to milters", mc: []string{daemon, "DAEMON_OPTIONS(`Name=back, Addr=127.0.0.1, Port=10025')dnl"},
			says: []string{"warn  filters        daemon (back) takes mail of this host at port 10025, and coexistd setup sendmail will have it ask coexistd", "  do: where that is so, write InputMailFilters= into its DAEMON_OPTIONS"}},
		{name: "a listener for this host alone", mc: []string{"DAEMON_OPTIONS(`Name=MTA, Addr=127.0.0.1, Port=smtp')dnl"},
			says: []string{"ok    filters        daemon (MTA) listens on an address of this host's own alone, and no other takes mail from other hosts: coexistd setup sendmail takes Addr= out"}, right: true},

		{name: "aliases", files: map[string]string{"aliases": "postmaster: root\nteam: postmaster, alice@acmecorp.com, \"|/bin/program x\"\n"},
			says: []string{"warn  aliases        {dir}/aliases has aliases: postmaster, team. coexistd will refuse their mail", "  do: set unlisted = \"here\"", "ok    aliases        {dir}/aliases has aliases that lead to programs, files or lists of their own (:include:): team. While their names live here"}},
		{name: "lists in files", files: with(withOwnName(leaving), map[string]string{"aliases": "all: :include:/etc/mail/all\nlog: /var/log/x, |/bin/x\n"}),
			says: []string{"ok    aliases        {dir}/aliases has aliases that lead to programs, files or lists of their own (:include:): all, log. "}, right: true},
		{name: "bare names of users", files: map[string]string{"aliases": "root: alice\n"},
			says: []string{"warn  aliases        {dir}/aliases has members without a domain, which Sendmail takes for names of this host (mail.acmecorp.com): alice of root. Their mail will stay here", "  do: have the configuration say: [domain.\"mail.acmecorp.com\"] with same_as = \"acmecorp.com\" and unlisted = \"here\"; or write users"}},
		{name: "aliases that the directory need not list", files: with(withOwnName(leaving), map[string]string{"aliases": "team: bob@acmecorp.com, alice@acmecorp.com\n"}),
			says: []string{"ok    aliases        coexistd refuses none of the aliases"}, right: true},
		{name: "aliases that the directory lacks", files: with(withOwnName(""), map[string]string{"aliases": "team: bob@acmecorp.com\n"}),
			says: []string{"warn  aliases        {dir}/aliases has aliases that the directory lacks", "  do: list each in the directory with the residence here, or set unlisted = \"here\""}},
		{name: "aliases that nobody can list", mc: []string{"define(`ALIAS_FILE', `ldap:')dnl"},
			says: []string{"warn  aliases        aliases(5) cannot be listed: ldap: is no file. coexistd will refuse", "  do: see that"}},
		{name: "virtual users", mc: []string{virtual}, files: map[string]string{"virtusertable": "sales@acmecorp.com bob\n@other.example nobody\n", "virtusertable.db": ""},
			says: []string{"warn  aliases        the virtusertable has aliases: sales@acmecorp.com. coexistd will refuse", "  do: set unlisted", "ok    maps           the virtusertable says where mail goes: coexistd's rules are asked before it"}},
		{name: "virtual users that the directory lacks", mc: []string{virtual}, files: with(withOwnName(""), map[string]string{"virtusertable": "sales@acmecorp.com bob\n", "virtusertable.db": ""}),
			says: []string{"FAIL  aliases        the virtusertable has addresses that the directory lacks", "  do: list each in the directory with the residence here, set unlisted = \"here\""}},
		{name: "virtual users that nobody can list", mc: []string{"FEATURE(`virtusertable', `ldap -k (x=%0) -v y')dnl"},
			says: []string{"warn  maps           the virtusertable is of the kind ldap, which nobody can list", "  do: set unlisted"}},
		{name: "a table that was not made", mc: []string{"FEATURE(`mailertable', `hash {dir}/mailertable')dnl"}, files: map[string]string{"mailertable": "other.example smtp:[192.0.2.1]\n"},
			says: []string{"FAIL  maps           {dir}/mailertable.db, of which Sendmail reads its map mailertable, is not there"}},
		{name: "rules of the administrator's own", mc: []string{"LOCAL_RULE_0", "R$* < @ fax. > $*\t$#error $@ 5.1.1 $: no fax"},
			says: []string{"warn  maps           sendmail.mc has rules of its own for addresses (LOCAL_RULE_0)", "  do: see that they leave"}},

		{name: "a catch-all", mc: []string{"define(`LUSER_RELAY', `smtp:old.example')dnl"},
			says: []string{"warn  recipients     LUSER_RELAY is smtp:old.example: Sendmail takes mail to anybody of acmecorp.com. coexistd will refuse", "  do: list all their addresses"}},
		{name: "a catch-all that stays", mc: []string{"define(`LUSER_RELAY', `smtp:old.example')dnl"}, files: withOwnName(leaving),
			says: []string{"ok    recipients     LUSER_RELAY is smtp:old.example: Sendmail takes mail to anybody of acmecorp.com, mail.acmecorp.com, and coexistd lets it"}, right: true},
		{name: "a hub", mc: []string{"define(`MAIL_HUB', `smtp:hub.example')dnl"}, says: []string{"warn  recipients     MAIL_HUB is smtp:hub.example: Sendmail takes mail to anybody"}},
		{name: "mailboxes at another host", files: map[string]string{"relay-domains": "partner.example\n192.0.2\n"},
			says: []string{"ok    domains        Sendmail takes mail for acmecorp.com, partner.example", "warn  recipients     relay-domains or the access map: Sendmail takes mail to anybody of partner.example", "ok    networks       Sendmail (relay-domains, the access map) lets clients send without a login. For coexistd, their mail is that of your users where the configuration says: our_networks = [\"127.0.0.0/8\", \"::1/128\", \"192.0.2.0/24\"]"}},

		{name: "domains that the configuration lacks", files: with(withOwnName(leaving), map[string]string{"local-host-names": "acmecorp.com\nglobex.example\n", "relay-domains": "partner.example\n"}),
			says: []string{"FAIL  domains        Sendmail takes mail for globex.example, which {dir}/coexistd.toml lacks", "  do: where this host has all their users, add for each: [domain.\"globex.example\"]",
				"warn  domains        anybody may send mail through Sendmail to partner.example (relay-domains, the access map), which {dir}/coexistd.toml lacks"}},
		{name: "the name of the host takes mail", files: with(withOwnName(leaving), map[string]string{"coexistd.toml": strings.Replace(withOwnName(leaving)["coexistd.toml"], "mail.acmecorp.com", "old.acmecorp.com", 1)}),
			says: []string{"warn  domains        Sendmail takes mail for the host's own name, mail.acmecorp.com (class w)", "  do: have the configuration say: [domain.\"mail.acmecorp.com\"] with same_as = \"acmecorp.com\" and unlisted = \"here\"\n"}},
		{name: "the name of the host is the domain of users", mc: []string{"define(`confDOMAIN_NAME', `acmecorp.com')dnl"},
			says: []string{"warn  domains        the host's name ($j) is acmecorp.com, which is the domain of users as well", "  do: give the host a name of its own: define(`confDOMAIN_NAME', `mail.acmecorp.com')dnl"}},
		{name: "senders of the host as users", mc: []string{"MASQUERADE_AS(`acmecorp.com')dnl"}, files: withOwnName(""),
			says: []string{"warn  domains        Sendmail writes senders of this host as users of acmecorp.com (MASQUERADE_AS), as in root@acmecorp.com", "  do: list such accounts in the directory with the residence here, set unlisted"}},
		{name: "users as senders of the host", mc: []string{"MASQUERADE_AS(`mail.acmecorp.com')dnl"}, files: withOwnName(leaving),
			says: []string{"ok    domains        Sendmail writes mail.acmecorp.com in the place of acmecorp.com in the senders of mail"}, right: true},
		{name: "senders of the host but root as users", mc: []string{"MASQUERADE_AS(`acmecorp.com')dnl", "EXPOSED_USER(`root')dnl"}, right: true},

		{name: "strangers who may relay", mc: []string{"FEATURE(`promiscuous_relay')dnl"}, says: []string{"FAIL  networks       Sendmail lets anybody relay (FEATURE promiscuous_relay)", "  do: take FEATURE(`promiscuous_relay') out"}},
		{name: "networks that the configuration lacks", files: with(withOwnName(leaving), map[string]string{"relay-domains": "10.1\n"}),
			says: []string{"warn  networks       Sendmail lets \"10.1.0.0/16\" relay, which our_networks lacks", "  do: add to our_networks"}},
		{name: "a gateway that is to tell of its clients", files: withOwnName(leaving + "[upstream.filter]\nnetworks = [\"198.51.100.0/28\"]\nclient = \"mta\"\n"),
			says: []string{"FAIL  upstream       the upstream filter tells the MTA of its clients (client), and Sendmail knows neither", "  do: have the gateway add a Received field"}},

		{name: "blocklists", mc: []string{"FEATURE(`dnsbl', `zen.example')dnl", "FEATURE(`enhdnsbl', `bl.example')dnl"},
			says: []string{"warn  blocklists     Sendmail asks the blocklists zen.example, bl.example about clients: hosts of a platform", "  do: put FEATURE(`access_db') into sendmail.mc; "}},
		{name: "blocklists that the platform's hosts pass", mc: []string{access, "FEATURE(`dnsbl', `zen.example')dnl"}, files: with(withOwnName(leaving), map[string]string{"access": "Connect:192.0.2 OK\n", "access.db": ""}), right: true},
		{name: "blocklists that other hosts pass", mc: []string{access, "FEATURE(`dnsbl', `zen.example')dnl"}, files: with(withOwnName(leaving), map[string]string{"access": "Connect:198.51.100 OK\n", "access.db": ""}),
			says: []string{"warn  blocklists     Sendmail asks the blocklists zen.example", "  do: write into /etc/mail/access what coexistd networks export --for clients prints"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			status, out := surveyedSendmail(t, c.mc, c.files)
			mustSay(t, out, c.says...)
			if isRight := status == exitYes; isRight != c.right {
				t.Errorf("the survey ends with %d:\n%s", status, out)
			}
		})
	}
}
