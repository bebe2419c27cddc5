package e2e

import (
	"encoding/json"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"coexistd/contrib/lab"
)

// rightServer is the main.cf of a server about which nothing need be done before coexistd is attached.
var rightServer = map[string]string{
	"compatibility_level": "3.6", "mail_owner": "daemon", "setgid_group": "mail", "queue_directory": "{dir}/queue",
	"myhostname": "mail.acmecorp.com", "mydestination": "localhost", "alias_maps": "",
	"virtual_mailbox_domains": "acmecorp.com", "virtual_mailbox_maps": "inline:{bob@acmecorp.com=bob}", "mynetworks": "127.0.0.0/8",
}

// surveyed is what a survey tells of a Postfix whose main.cf differs from rightServer, and whose folder has further
// files; {dir} stands for the folder. It has a configuration where files has a coexistd.toml.
func surveyed(t *testing.T, main, files map[string]string, args ...string) (status int, out string) {
	t.Helper()
	dir, all := t.TempDir(), maps.Clone(rightServer)
	maps.Copy(all, main)
	var text strings.Builder
	for _, name := range slices.Sorted(maps.Keys(all)) {
		text.WriteString(name + " = " + all[name] + "\n")
	}
	written := map[string]string{"main.cf": text.String(), "master.cf": rightMaster, "users.csv": lab.SiteDirectory}
	maps.Copy(written, files)
	for name, content := range written {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(strings.ReplaceAll(content, "{dir}", dir)), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	args = append([]string{"--survey", "-c", filepath.Join(dir, "coexistd.toml")}, args...)
	status, out, complaint := runDoctor(t, postconfOf(t, lab.Lend(t), dir), nil, args...)
	if complaint != "" {
		t.Errorf("the survey complains: %s", complaint)
	}
	return status, strings.ReplaceAll(out, dir, "{dir}")
}

// toFill is how the remedy for blocklists begins.
const toFill = "  do: when the daemon runs, and each night from then on, run: coexistd networks export --for cidr > /etc/postfix/platforms.new && mv /etc/postfix/platforms.new /etc/postfix/platforms.cidr && postfix reload; when that table is there, "

// withDomain is a configuration with one domain and what its section says of users who are in no directory.
func withDomain(more string) map[string]string {
	return map[string]string{"coexistd.toml": "our_networks = [\"127.0.0.0/8\"]\n[[listen]]\naddress = \"inet:127.0.0.1:8701\"\n" +
		"[platform.office365]\nnetworks = [\"192.0.2.0/24\"]\ntenant = \"3f2504e0-4f89-11d3-9a0c-0305e82c3301\"\n" +
		"[domain.\"acmecorp.com\"]\ndirectory = \"acmecorp.csv\"\nalternate = { office365 = \"acmecorp-com.onmicrosoft.com\" }\n" + more,
		"acmecorp.csv": "address,residence\nbob@acmecorp.com,here\nalice@acmecorp.com,office365\n"}
}

func TestASurveyOfAServerThatIsRightHasNothingToDo(t *testing.T) {
	t.Parallel()
	const alone = "ok    configuration  there is no {dir}/coexistd.toml yet: this tells of the server alone\n" +
		"ok    domains        Postfix takes mail for acmecorp.com: coexistd will refuse what comes from the Internet for those that its configuration lacks, so each needs a [domain] there\n" +
		"ok    recipients     virtual_mailbox_maps (inline:{bob@acmecorp.com=bob}) says who exists in acmecorp.com: coexistd setup postfix adds the map recipients behind it, for users who live elsewhere. coexistd will refuse whom the directory lacks; with unlisted = \"here\" in the domain's section it leaves them to the MTA, and the directory needs those alone who live elsewhere\n" +
		"ok    networks       mynetworks in main.cf lets clients send without a login. For coexistd, their mail is that of your users where the configuration says: our_networks = [\"127.0.0.0/8\"]. Leave the addresses of a gateway out that hands on mail of the Internet\n"
	if status, out := surveyed(t, nil, nil); status != exitYes || out != alone {
		t.Errorf("of a server alone, the survey ends with %d and says\n%s", status, out)
	}
	const configured = "ok    domains        {dir}/coexistd.toml has all domains that main.cf names\n" +
		"ok    recipients     virtual_mailbox_maps (inline:{bob@acmecorp.com=bob}) says who exists in acmecorp.com: coexistd setup postfix adds the map recipients behind it, for users who live elsewhere\n" +
		"ok    aliases        coexistd refuses none of the aliases that can be listed, nor sends it elsewhere\n" +
		"ok    networks       our_networks has all networks of mynetworks\n"
	if status, out := surveyed(t, nil, withDomain("")); status != exitYes || out != configured {
		t.Errorf("with a configuration, the survey ends with %d and says\n%s", status, out)
	}
	status, out := surveyed(t, map[string]string{"virtual_mailbox_maps": ""}, nil, "--json")
	var findings []struct{ Subject, Status, Found, Remedy string }
	if err := json.Unmarshal([]byte(out), &findings); err != nil || status != exitNo || len(findings) != 4 || findings[2].Subject != "recipients" || findings[2].Status != "warn" || findings[2].Remedy == "" {
		t.Errorf("as JSON, it ends with %d and says %s", status, out)
	}
}

func TestASurveyThatCannotReadPostfixSaysSo(t *testing.T) {
	t.Parallel()
	bin := postconfOf(t, lab.Lend(t), t.TempDir())
	status, out, complaint := runDoctor(t, bin, nil, "--survey")
	if status != exitWrong || out != "" || !strings.Contains(complaint, "the settings of Postfix cannot be read: ") || !strings.Contains(complaint, "as root") {
		t.Errorf("without a main.cf the survey ends with %d and says %q, %q", status, out, complaint)
	}
	if status, out, complaint := runDoctor(t, bin, nil, "--survey", "--probe"); status != exitWrong || out != "" || !strings.Contains(complaint, "leave out --probe") {
		t.Errorf("with probes the survey ends with %d and says %q, %q", status, out, complaint)
	}
}

// Each row is set up wrong, and is told with its remedy, or is right, and has nothing to do.
func TestASurveyNamesEachPitfallOfAServerAndItsRemedy(t *testing.T) {
	t.Parallel()
	master := func(service, options string) map[string]string {
		return map[string]string{"master.cf": strings.Replace(rightMaster, service+"\n", service+options+"\n", 1)}
	}
	const smtpd, amavis = "smtp inet n - n - - smtpd", "amavis:[127.0.0.1]:10024"
	const back = "\n127.0.0.1:10025 inet n - n - - smtpd -o content_filter="
	for _, c := range []struct {
		name        string
		main, files map[string]string
		says        []string
		right       bool
	}{
		{name: "milters in the right order with actions of their own",
			main: map[string]string{"smtpd_milters": "{ inet:127.0.0.1:11332, default_action=accept }, { inet:localhost:8891, default_action=accept }, { unix:/run/opendmarc/opendmarc.sock, default_action=accept }", "non_smtpd_milters": "$smtpd_milters"},
			says: []string{"ok    milters        smtpd (smtp) asks rspamd (inet:127.0.0.1:11332), OpenDKIM (inet:localhost:8891), OpenDMARC (unix:/run/opendmarc/opendmarc.sock): coexistd setup postfix puts coexistd before them"}, right: true},
		{name: "OpenDMARC before OpenDKIM",
			main: map[string]string{"smtpd_milters": "{ inet:localhost:8893, default_action=accept } { inet:localhost:8891, default_action=accept }"},
			says: []string{"warn  milters        smtpd (smtp) asks OpenDMARC (inet:localhost:8893), OpenDKIM (inet:localhost:8891), and each sees only what",
				"  do: put into main.cf: smtpd_milters = { inet:localhost:8891, default_action=accept }, { inet:localhost:8893, default_action=accept }; then run: postfix reload\n"}},
		{name: "a filter behind the signer of a service",
			files: master(smtpd, " -o smtpd_milters={inet:localhost:8891,default_action=accept},{unix:/run/amavis/milter.sock,default_action=tempfail}"),
			says: []string{"warn  milters        smtpd (smtp) asks OpenDKIM (inet:localhost:8891), amavis (unix:/run/amavis/milter.sock), and each",
				"  do: put into the lines of smtp in master.cf: -o smtpd_milters={unix:/run/amavis/milter.sock,default_action=tempfail},{inet:localhost:8891,default_action=accept}; then run"}},
		{name: "a milter without an action of its own",
			main: map[string]string{"smtpd_milters": "{ inet:127.0.0.1:11332, default_action=accept } inet:localhost:8891"},
			says: []string{"warn  milters        smtpd (smtp) asks OpenDKIM (inet:localhost:8891) with no default action of its own: while such a milter is away, all mail is put off (milter_default_action is tempfail)\n",
				"  do: put into main.cf: smtpd_milters = { inet:127.0.0.1:11332, default_action=accept }, { inet:localhost:8891, default_action=accept }; then run: postfix reload; write default_action=tempfail instead for"}},
		{name: "milters past which mail may go", main: map[string]string{"smtpd_milters": "inet:localhost:8891", "milter_default_action": "accept"}, right: true},
		{name: "rspamd asked twice",
			main: map[string]string{"smtpd_milters": "{ inet:127.0.0.1:11332, default_action=accept }"}, files: withDomain("[scanner.rspamd]\naddress = \"http://127.0.0.1:11333\"\n"),
			says: []string{"warn  milters        rspamd is asked as a milter of the MTA, and by coexistd as well ([scanner.rspamd])", "  do: take its milter out of the MTA's list"}},
		{name: "clients with other milters", main: map[string]string{"smtpd_milter_maps": "inline:{192.0.2.1=DISABLE}"},
			says: []string{"FAIL  milters        smtpd (smtp) has other milters, or none, for the clients that smtpd_milter_maps (inline:{192.0.2.1=DISABLE}) names", "  do: take smtpd_milter_maps out"}},
		{name: "a forgotten recipient", main: map[string]string{"enable_original_recipient": "no"},
			says: []string{"FAIL  milters        cleanup (cleanup) has enable_original_recipient = no in main.cf: it would lose mail", "  do: write into main.cf: enable_original_recipient = yes"}},
		{name: "no milters", main: map[string]string{"receive_override_options": "no_milters"},
			says: []string{"FAIL  milters        smtpd (smtp) asks no milter, as receive_override_options has no_milters", "  do: take no_milters out of main.cf"}},

		{name: "an alias", main: map[string]string{"virtual_alias_maps": "texthash:{dir}/virtual"}, files: map[string]string{"virtual": "sales@acmecorp.com bob@acmecorp.com\n@acmecorp.com bob@acmecorp.com\nx@other.example y@other.example\n"},
			says: []string{"warn  aliases        texthash:{dir}/virtual of virtual_alias_maps has aliases: @acmecorp.com, sales@acmecorp.com. coexistd will refuse", "  do: set unlisted = \"here\"",
				"ok    maps           virtual_alias_maps asks texthash:{dir}/virtual: coexistd setup postfix puts the map aliases behind"}},
		{name: "the row of a domain that has aliases alone", main: map[string]string{"virtual_alias_domains": "old.example", "virtual_alias_maps": "texthash:{dir}/virtual"}, files: map[string]string{"virtual": "old.example x\ninfo@old.example bob@acmecorp.com\n"},
			says: []string{"warn  aliases        texthash:{dir}/virtual of virtual_alias_maps has aliases: info@old.example. coexistd will refuse"}},
		{name: "an alias that the directory need not list", main: map[string]string{"virtual_alias_maps": "inline:{sales@acmecorp.com=bob@acmecorp.com}"}, files: withDomain("unlisted = \"here\"\n"),
			says: []string{"ok    aliases        coexistd refuses none of the aliases", "ok    maps           virtual_alias_maps asks inline:"}, right: true},
		{name: "an alias that the directory lacks", main: map[string]string{"virtual_alias_maps": "inline:{sales@acmecorp.com=bob@acmecorp.com}"}, files: withDomain(""),
			says: []string{"FAIL  aliases        inline:{sales@acmecorp.com=bob@acmecorp.com} of virtual_alias_maps has aliases that the directory lacks, so that their mail is refused: sales@acmecorp.com\n"}},
		{name: "bare names in the domain of users", main: map[string]string{"myorigin": "acmecorp.com", "alias_maps": "texthash:{dir}/aliases"}, files: map[string]string{"aliases": "postmaster root\nteam postmaster, alice@acmecorp.com, \"|/bin/program x\"\n"},
			says: []string{"warn  aliases        texthash:{dir}/aliases of alias_maps has members without a domain, which Postfix takes for addresses in acmecorp.com (myorigin): root of postmaster. coexistd will bounce",
				"  do: list accounts of this host, such as root, in the directory with the residence here, or set unlisted = \"here\" for acmecorp.com\n",
				"ok    aliases        texthash:{dir}/aliases of alias_maps has aliases that lead to programs, files or lists of their own (:include:): team. "}},
		{name: "bare names of users in the domain of the host", main: map[string]string{"myorigin": "{dir}/mailname", "alias_maps": "texthash:{dir}/aliases"}, files: map[string]string{"mailname": "mail.acmecorp.com\n", "aliases": "postmaster root\nroot alice\n"},
			says: []string{"warn  aliases        texthash:{dir}/aliases of alias_maps has members without a domain, which Postfix takes for addresses in mail.acmecorp.com (myorigin): alice of root. Their mail will stay here",
				"  do: have the configuration say: [domain.\"mail.acmecorp.com\"] with same_as = \"acmecorp.com\" and unlisted = \"here\"; or write users with their domain, such as alice@acmecorp.com\n"}},
		{name: "aliases with domains", main: map[string]string{"alias_maps": "texthash:{dir}/aliases"}, files: map[string]string{"aliases": "postmaster root\nroot alice@acmecorp.com\n"}, right: true},
		{name: "aliases that cannot be listed", main: map[string]string{"virtual_alias_maps": "inline:{x@other.example=y} regexp:{dir}/forwards"}, files: map[string]string{"forwards": "/^x@/ y\n"},
			says: []string{"warn  maps           virtual_alias_maps asks inline:{x@other.example=y}, regexp:{dir}/forwards, of which nobody can list regexp:{dir}/forwards: coexistd setup postfix puts the map aliases before them", "  do: set unlisted"}},
		{name: "transports", main: map[string]string{"transport_maps": "inline:{acmecorp.com=lmtp:}"},
			says: []string{"ok    maps           transport_maps asks inline:{acmecorp.com=lmtp:}: coexistd setup postfix puts the map transport before"}, right: true},

		{name: "an alias of a user who lives elsewhere", main: map[string]string{"virtual_alias_maps": "inline:{alice@acmecorp.com=bob@acmecorp.com}"}, files: withDomain("unlisted = \"here\"\n"),
			says: []string{"warn  aliases        inline:{alice@acmecorp.com=bob@acmecorp.com} of virtual_alias_maps has aliases that live elsewhere by the directory or by unlisted, so that their mail goes there and not to the alias: alice@acmecorp.com\n", "  do: list each in the directory with the residence here, or take it out"}},

		{name: "strangers who may relay", main: map[string]string{"mynetworks": "127.0.0.0/8 0.0.0.0/0"},
			says: []string{"FAIL  networks       mynetworks in main.cf has 0.0.0.0/0, which is a great part of the Internet", "  do: write the networks of your own hosts there instead"}},
		{name: "strangers who may relay, with a configuration", main: map[string]string{"mynetworks": "127.0.0.0/8 [::]/0"}, files: withDomain(""),
			says: []string{"FAIL  networks       mynetworks in main.cf has ::/0, which is"}},
		{name: "networks that the configuration lacks", main: map[string]string{"mynetworks": "127.0.0.0/8 10.1.0.0/16"}, files: withDomain(""),
			says: []string{"warn  networks       mynetworks has \"10.1.0.0/16\", which our_networks lacks", "  do: add to our_networks in {dir}/coexistd.toml: \"10.1.0.0/16\""}},
		{name: "networks of a platform", main: map[string]string{"mynetworks": "127.0.0.0/8 192.0.2.128/25"}, files: withDomain(""),
			says: []string{"FAIL  networks       mynetworks has 192.0.2.128/25, from where every tenant of office365 sends"}},
		{name: "the address of a gateway among ours", main: map[string]string{"mynetworks": "127.0.0.0/8 198.51.100.7"}, files: withDomain("[upstream.filter]\nnetworks = [\"198.51.100.0/28\"]\n"),
			says: []string{"warn  networks       mynetworks has 198.51.100.7/32, from where the upstream filter hands on", "ok    upstream       Postfix leaves it to us to find the clients of the upstream filter"}},
		{name: "clients in a table", main: map[string]string{"mynetworks": "127.0.0.0/8 cidr:{dir}/clients"}, files: map[string]string{"clients": "10.0.0.1 x\n"},
			says: []string{"warn  networks       mynetworks in main.cf names clients by tables, names or exceptions as well"}},

		{name: "a gateway that speaks XCLIENT", main: map[string]string{"smtpd_authorized_xclient_hosts": "127.0.0.1 198.51.100.7"},
			says: []string{"warn  upstream       smtpd (smtp) is told by 198.51.100.7 who their clients are, by XCLIENT", "  do: name it in the configuration: [upstream.gateway] with networks = [\"198.51.100.7\"] and client = \"mta\"\n"}},
		{name: "a content filter that speaks XCLIENT", main: map[string]string{"smtpd_authorized_xclient_hosts": "127.0.0.0/8"}, right: true},
		{name: "a gateway that speaks PROXY", files: master(smtpd, " -o smtpd_upstream_proxy_protocol=haproxy"),
			says: []string{"warn  upstream       smtpd (smtp) is told by a gateway in front who its clients are, by the PROXY protocol", "  do: name it in the configuration: [upstream.gateway] with networks"}},
		{name: "a gateway that speaks PROXY to postscreen", main: map[string]string{"postscreen_upstream_proxy_protocol": "haproxy"}, files: map[string]string{"master.cf": strings.Replace(rightMaster, smtpd, "smtp inet n - n - 1 postscreen\nsmtpd pass - - n - - smtpd", 1)},
			says: []string{"warn  upstream       smtpd (smtpd) is told by a gateway in front"}},
		{name: "a gateway that is named", main: map[string]string{"smtpd_upstream_proxy_protocol": "haproxy"}, files: withDomain("[upstream.filter]\nnetworks = [\"198.51.100.0/28\"]\nclient = \"mta\"\n"),
			says: []string{"ok    upstream       Postfix takes from the upstream filter who its clients are, by the PROXY protocol"}, right: true},

		{name: "blocklists", main: map[string]string{"smtpd_recipient_restrictions": "permit_mynetworks, reject_unauth_destination, reject_rbl_client zen.example, reject_rbl_client bl.example=127.0.0.2"},
			says: []string{"warn  blocklists     smtpd (smtp) asks the blocklists zen.example, bl.example=127.0.0.2 about clients: hosts of a platform send for all its tenants",
				toFill + "have smtpd_client_restrictions begin with: permit_mynetworks, permit_sasl_authenticated, check_client_access cidr:/etc/postfix/platforms.cidr, reject_rbl_client zen.example, reject_rbl_client bl.example=127.0.0.2; let no other setting name these lists (smtpd_recipient_restrictions does)\n"}},
		{name: "blocklists that only warn", main: map[string]string{"smtpd_recipient_restrictions": "permit_mynetworks, reject_unauth_destination, warn_if_reject reject_rbl_client zen.example"}, right: true},
		{name: "blocklists that refuse and that only warn", main: map[string]string{"smtpd_client_restrictions": "warn_if_reject reject_rbl_client bl.example, reject_rbl_client zen.example"},
			says: []string{"warn  blocklists     smtpd (smtp) asks the blocklists zen.example about clients", toFill + "have smtpd_client_restrictions begin with: permit_mynetworks, permit_sasl_authenticated, check_client_access cidr:/etc/postfix/platforms.cidr, reject_rbl_client zen.example\n"}},
		{name: "blocklists for logins", files: map[string]string{"master.cf": rightMaster + "submission inet n - n - - smtpd -o smtpd_client_restrictions=reject_rbl_client,zen.example\n"}, right: true},
		{name: "blocklists that the platform's hosts pass", main: map[string]string{"smtpd_client_restrictions": "permit_mynetworks, check_client_access cidr:{dir}/platforms, reject_rbl_client zen.example"},
			files: with(withDomain(""), map[string]string{"platforms": "192.0.2.0/24 OK\n"}), right: true},
		{name: "blocklists that other hosts pass", main: map[string]string{"smtpd_client_restrictions": "permit_mynetworks, check_client_access cidr:{dir}/platforms, reject_rbl_client zen.example"},
			files: with(withDomain(""), map[string]string{"platforms": "198.51.100.0/24 OK\n"}), says: []string{"warn  blocklists     smtpd (smtp) asks the blocklists zen.example"}},
		{name: "blocklists that hosts pass only behind", main: map[string]string{"smtpd_client_restrictions": "reject_rbl_client zen.example, check_client_access cidr:{dir}/platforms"},
			files: with(withDomain(""), map[string]string{"platforms": "192.0.2.0/24 OK\n"}), says: []string{"warn  blocklists     smtpd (smtp) asks the blocklists zen.example"}},
		{name: "blocklists behind a gateway", main: map[string]string{"smtpd_client_restrictions": "reject_rbl_client zen.example"}, files: withDomain("[upstream.filter]\nnetworks = [\"198.51.100.0/28\"]\n"),
			says: []string{"warn  blocklists     smtpd (smtp) asks the blocklists zen.example about clients: of what comes through the upstream filter they know the gateway alone", "  do: take them out: rspamd ([scanner.rspamd]) asks such lists"}},
		{name: "blocklists of postscreen", main: map[string]string{"postscreen_dnsbl_sites": "zen.example*3", "postscreen_dnsbl_action": "enforce", "postscreen_access_list": "permit_mynetworks"}, files: map[string]string{"master.cf": "smtp inet n - n - 1 postscreen\n" + strings.Replace(rightMaster, "smtp inet", "smtpd pass", 1)},
			says: []string{"warn  blocklists     postscreen asks the blocklists zen.example*3 about clients", toFill + "put into main.cf: postscreen_access_list = permit_mynetworks, cidr:/etc/postfix/platforms.cidr\n"}},
		{name: "blocklists of postscreen that the platform's hosts pass", main: map[string]string{"postscreen_dnsbl_sites": "zen.example", "postscreen_dnsbl_action": "drop", "postscreen_access_list": "permit_mynetworks, cidr:{dir}/platforms"},
			files: with(with(withDomain(""), map[string]string{"platforms": "192.0.2.0/24 permit\n"}), map[string]string{"master.cf": "smtp inet n - n - 1 postscreen\n" + rightMaster}), right: true},

		{name: "anybody is taken", main: map[string]string{"mydestination": "acmecorp.com", "virtual_mailbox_domains": "", "local_recipient_maps": ""},
			says: []string{"warn  recipients     local_recipient_maps is empty: Postfix takes mail to anybody of acmecorp.com. coexistd will refuse whom the directory lacks", "  do: list all their addresses"}},
		{name: "anybody is taken and stays so", main: map[string]string{"mydestination": "acmecorp.com", "virtual_mailbox_domains": "", "local_recipient_maps": ""}, files: withDomain("unlisted = \"here\"\n"),
			says: []string{"ok    recipients     local_recipient_maps is empty: Postfix takes mail to anybody of acmecorp.com, and coexistd lets it\n"}, right: true},
		{name: "local accounts", main: map[string]string{"mydestination": "acmecorp.com", "virtual_mailbox_domains": ""},
			says: []string{"ok    recipients     local_recipient_maps (proxy:unix:passwd.byname $alias_maps) says who exists in acmecorp.com: "}, right: true},

		{name: "the name of the host is the domain of users", main: map[string]string{"myhostname": "acmecorp.com"},
			says: []string{"warn  domains        myhostname is acmecorp.com, which is the domain of users as well", "  do: give the host a name of its own, such as myhostname = mail.acmecorp.com"}},
		{name: "the name of the host is the only domain", main: map[string]string{"myhostname": "acmecorp.com", "mydestination": "$myhostname", "virtual_mailbox_domains": "", "local_recipient_maps": ""},
			says: []string{"warn  domains        myhostname is acmecorp.com, which is the domain of users as well", "warn  recipients     local_recipient_maps is empty: Postfix takes mail to anybody of acmecorp.com"}},
		{name: "the name of the host is a domain whose addresses are here", main: map[string]string{"mydestination": "$myhostname, localhost"},
			files: with(withDomain("\n[domain.\"mail.acmecorp.com\"]\nunlisted = \"here\"\n"), nil), says: []string{"ok    domains        {dir}/coexistd.toml has all domains that main.cf names"}, right: true},
		{name: "the name of the host takes mail", main: map[string]string{"mydestination": "$myhostname, localhost"},
			says: []string{"warn  domains        Postfix takes mail for the host's own name, mail.acmecorp.com (mydestination, and myorigin for names without a domain)", "  do: have the configuration say: [domain.\"mail.acmecorp.com\"] with same_as = \"acmecorp.com\" and unlisted = \"here\"\n"}},
		{name: "the name of the host takes mail, and names without a domain have another", main: map[string]string{"mydestination": "$myhostname, localhost", "myorigin": "acmecorp.com"},
			says: []string{"warn  domains        Postfix takes mail for the host's own name, mail.acmecorp.com (mydestination)", "  do: where people outside write to addresses there, add: [domain.\"mail.acmecorp.com\"] with unlisted = \"here\"; otherwise take it out of mydestination\n"}},
		{name: "the name of the host, and a domain that comes before it", main: map[string]string{"mydestination": "$myhostname, localhost, acme-old.example"},
			says: []string{"  do: have the configuration say: [domain.\"mail.acmecorp.com\"] with same_as = \"acmecorp.com\" and unlisted = \"here\"\n"}},
		{name: "a domain that the configuration lacks", main: map[string]string{"relay_domains": "partner.example"}, files: withDomain(""),
			says: []string{"FAIL  domains        Postfix takes mail for partner.example, which {dir}/coexistd.toml lacks", "  do: where this host has all their users, add for each: [domain.\"partner.example\"] with unlisted"}},
		{name: "domains in a table", main: map[string]string{"virtual_alias_domains": "inline:{globex.example=x}"},
			says: []string{"warn  domains        virtual_alias_domains has domains in inline:{globex.example=x}", "  do: see that each domain there has a [domain]"}},

		{name: "a content filter whose mail comes back past milters", main: map[string]string{"content_filter": amavis}, files: master(smtpd, back+" -o receive_override_options=no_milters"),
			says: []string{"ok    filters        content_filter " + amavis + " takes mail behind the milters", "ok    filters        smtpd (127.0.0.1:10025) takes mail back from the content filter, without milters"}, right: true},
		{name: "a content filter whose mail comes back to a service that names no milters", main: map[string]string{"content_filter": amavis}, files: master(smtpd, back+" -o smtpd_milters="),
			says: []string{"ok    filters        smtpd (127.0.0.1:10025) takes mail back from the content filter, without milters"}, right: true},
		{name: "a content filter whose mail comes back to milters", main: map[string]string{"content_filter": amavis}, files: master(smtpd, back+" -o receive_override_options=no_address_mappings"),
			says: []string{"FAIL  filters        smtpd (127.0.0.1:10025) takes mail back from the content filter, and asks milters", "  do: put into the lines of 127.0.0.1:10025 in master.cf: -o receive_override_options=no_address_mappings,no_milters; then run: postfix reload\n"}},
		{name: "a content filter that is a program", files: master(smtpd, " -o content_filter=spamc:dummy\nspamc unix - n n - - pipe user=nobody argv=/bin/true"),
			says: []string{"warn  filters        content_filter spamc:dummy is a program", "  do: let it hand mail back by SMTP"}},
		{name: "a proxy", files: master(smtpd, " -o smtpd_proxy_filter=127.0.0.1:10024"),
			says: []string{"FAIL  filters        smtpd (smtp) hands mail to the proxy 127.0.0.1:10024 (smtpd_proxy_filter)", "  do: in the -o options of smtp in master.cf, write content_filter=smtp:[127.0.0.1]:10024 in the place of smtpd_proxy_filter=127.0.0.1:10024; then run: postfix reload; or have a milter"}},

		{name: "a chroot", files: map[string]string{"master.cf": strings.Replace(rightMaster, smtpd, "smtp inet n - y - - smtpd", 1)},
			says: []string{"ok    chroot         Postfix runs smtp in its chroot: they reach coexistd at inet:127.0.0.1:PORT, and at no Unix socket\n"}, right: true},
		{name: "a chroot that hides our socket", files: map[string]string{"master.cf": strings.Replace(rightMaster, smtpd, "smtp inet n - y - - smtpd", 1), "coexistd.toml": strings.Replace(withDomain("")["coexistd.toml"], "inet:127.0.0.1:8701", "unix:/run/coexistd/milter.sock", 1), "acmecorp.csv": withDomain("")["acmecorp.csv"]},
			says: []string{"FAIL  chroot         Postfix runs smtp in its chroot, where they do not see coexistd's Unix sockets (/run/coexistd/milter.sock): all mail is put off\n", "  do: write n into the chroot column"}},
		{name: "a configuration with mistakes", files: map[string]string{"coexistd.toml": "mode = \"watch\"\n"},
			says: []string{"FAIL  configuration  ", "ok    domains        Postfix takes mail for acmecorp.com: "}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			status, out := surveyed(t, c.main, c.files)
			mustSay(t, out, c.says...)
			if isRight := status == exitYes; isRight != c.right {
				t.Errorf("the survey ends with %d:\n%s", status, out)
			}
		})
	}
}
