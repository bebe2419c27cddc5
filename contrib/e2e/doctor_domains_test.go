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

// rightMain is what main.cf should have for the usual site, which no daemon serves here.
var rightMain = map[string]string{
	"compatibility_level": "3.6", "queue_directory": "{queue}", "mydestination": "mail.acmecorp.com", "myhostname": "mail.acmecorp.com",
	// Postfix's commands ask for accounts that exist.
	"mail_owner": "daemon", "setgid_group": "mail",
	"smtpd_milters": "unix:{dir}/milter.sock", "non_smtpd_milters": "unix:{dir}/milter.sock", "milter_default_action": "tempfail",
	"virtual_alias_maps": "socketmap:unix:{dir}/lookup.sock:aliases", "virtual_mailbox_maps": "socketmap:unix:{dir}/lookup.sock:recipients",
	"transport_maps": "socketmap:unix:{dir}/lookup.sock:transport", "mynetworks": "127.0.4.0/24", "recipient_delimiter": "+",
	"virtual_mailbox_domains": "acmecorp.com globex.example", "virtual_transport": "lmtp:unix:private/mailboxes", "alias_maps": "",
	"message_reject_characters": `\0`, "smtp_tls_security_level": "may",
	"smtpd_relay_restrictions": "permit_mynetworks, check_client_access socketmap:unix:{dir}/lookup.sock:networks, reject_unauth_destination",
}

const rightMaster = `smtp inet n - n - - smtpd
cleanup unix n - n - 0 cleanup
smtp unix - - n - - smtp
relay unix - - n - - smtp
lmtp unix - - n - - lmtp
local unix - n n - - local
virtual unix - n n - - virtual
error unix - - n - - error
retry unix - - n - - error
discard unix - - n - - discard
`

// ofPostfix is what the doctor says of a Postfix whose main.cf differs from rightMain, and
// whose folder has further files. {dir} stands for the folder, {queue} for Postfix's queue directory.
func ofPostfix(t *testing.T, toml string, main, files map[string]string) string {
	t.Helper()
	p := lab.Lend(t)
	// A mailbox at both sides would want a cleanup service of its own.
	config := configuration(t, toml, strings.ReplaceAll(lab.SiteDirectory, ",both,", ",here,"))
	dir := filepath.Dir(config)
	queue := queueWith(t, "mailboxes")
	all := maps.Clone(rightMain)
	maps.Copy(all, main)
	if all["milter_default_action"] == "" {
		delete(all, "milter_default_action")
	}
	var text strings.Builder
	for _, name := range slices.Sorted(maps.Keys(all)) {
		text.WriteString(name + " = " + all[name] + "\n")
	}
	written := map[string]string{"main.cf": text.String(), "master.cf": rightMaster}
	maps.Copy(written, files)
	for name, content := range written {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(strings.NewReplacer("{dir}", dir, "{queue}", queue).Replace(content)), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	_, out, complaint := runDoctor(t, postconfOf(t, p, dir), nil, "-c", config)
	if complaint != "" {
		t.Errorf("the doctor complains: %s", complaint)
	}
	return about("postfix", strings.NewReplacer(dir, "{dir}", queue, "{queue}").Replace(out))
}

// about is what the doctor says of a subject.
func about(subject, out string) string {
	var said strings.Builder
	is := false
	for line := range strings.Lines(out) {
		if !strings.HasPrefix(line, "  ") {
			is = strings.HasPrefix(line[6:], subject+" ")
		}
		if is {
			said.WriteString(line)
		}
	}
	return said.String()
}

const takenHere = "ok    postfix        Postfix takes mail for acmecorp.com, globex.example\n"

func TestTheDoctorSaysWhichOfOurDomainsPostfixRefuses(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name        string
		main, files map[string]string
		says        []string
		not         string
	}{
		{"all are taken", nil, nil, []string{takenHere}, "FAIL"},
		{"none is named", map[string]string{"virtual_mailbox_domains": ""}, nil,
			[]string{"FAIL  postfix        Postfix takes no mail for acmecorp.com, globex.example: all of it is refused, relay access denied\n",
				"  do: put into main.cf: virtual_mailbox_domains = acmecorp.com, globex.example; then run: postfix reload\n"}, takenHere},
		{"one is forgotten", map[string]string{"virtual_mailbox_domains": "other.example, acmecorp.com"}, nil,
			[]string{"FAIL  postfix        Postfix takes no mail for globex.example: ", "  do: put into main.cf: virtual_mailbox_domains = other.example, acmecorp.com, globex.example;", "ok    postfix        Postfix takes mail for acmecorp.com\n"}, ""},
		{"by a table and a file", map[string]string{"virtual_mailbox_domains": "texthash:{dir}/domains", "relay_domains": "!x.example, {dir}/list", "relay_transport": "relay:[127.0.0.1]"},
			map[string]string{"domains": "acmecorp.com anything\n", "list": "# ours\nGlobex.Example\n"}, []string{takenHere}, "FAIL"},
		{"an exception comes first", map[string]string{"virtual_mailbox_domains": "!globex.example, acmecorp.com, globex.example"}, nil,
			[]string{"FAIL  postfix        Postfix takes no mail for globex.example: "}, ""},
		{"a table that is not there", map[string]string{"virtual_mailbox_domains": "acmecorp.com, texthash:{dir}/none"}, nil,
			[]string{"warn  postfix        the domains of virtual_mailbox_domains cannot be told: texthash:{dir}/none: ", "  do: see that virtual_mailbox_domains can be read by ", "ok    postfix        Postfix takes mail for acmecorp.com\n"}, "globex"},
		{"in two settings", map[string]string{"mydestination": "localhost, acmecorp.com"}, nil,
			[]string{takenHere, "FAIL  postfix        both mydestination and virtual_mailbox_domains have acmecorp.com: Postfix goes by mydestination, delivers by local_transport, and warns in its log\n",
				"  do: take it out of one of the two in main.cf: out of mydestination where virtual_mailbox_domains has the mailboxes; then run: postfix reload\n"}, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			out := ofPostfix(t, lab.SiteTOML, c.main, c.files)
			mustSay(t, out, c.says...)
			if c.not != "" && strings.Contains(out, c.not) {
				t.Errorf("the doctor says %q:\n%s", c.not, out)
			}
		})
	}
}

func TestTheDoctorSaysThatPostfixHasNoWayToTheMailboxesHere(t *testing.T) {
	t.Parallel()
	const table = "socketmap:unix:{dir}/lookup.sock:transport, texthash:{dir}/transport"
	for _, c := range []struct {
		name        string
		main, files map[string]string
		says        string // of the mailboxes, and what to do; "": nothing
	}{
		{"by LMTP", nil, nil, ""},
		{"virtual(8) with our lookup", map[string]string{"virtual_transport": "virtual"}, nil, "goes to virtual(8), which takes no socketmap for security-sensitive data: all of it is put off\n  do: put into main.cf how the mailboxes are reached"},
		{"a service that is not there", map[string]string{"virtual_transport": "dovecot"}, nil, `goes to "dovecot" (virtual_transport), which master.cf lacks: all of it is put off`},
		{"error", map[string]string{"virtual_transport": "error:5.1.1 gone"}, nil, "is bounced: virtual_transport is error"},
		{"retry", map[string]string{"virtual_transport": "retry:4.7.1 later"}, nil, "is put off: virtual_transport is retry"},
		{"discard", map[string]string{"virtual_transport": "discard:"}, nil, "is thrown away: virtual_transport is discard"},
		{"to where the MX points", map[string]string{"virtual_transport": "smtp"}, nil, "goes to where its MX points (virtual_transport is smtp), and comes back"},
		{"a relay domain without a way", map[string]string{"virtual_mailbox_domains": "", "relay_domains": "acmecorp.com globex.example"}, nil, "goes to where its MX points (relay_transport is relay), and comes back"},
		{"a relay domain with a relay host", map[string]string{"virtual_mailbox_domains": "", "relay_domains": "acmecorp.com globex.example", "relayhost": "[127.0.0.1]"}, nil, ""},
		{"by the domain's transport", map[string]string{"virtual_transport": "virtual", "transport_maps": table}, map[string]string{"transport": "acmecorp.com lmtp:unix:private/mailboxes\nglobex.example smtp:[127.0.0.1]\n"}, ""},
		{"by everything's transport", map[string]string{"virtual_transport": "virtual", "transport_maps": table}, map[string]string{"transport": "* smtp:[127.0.0.1]\n"}, ""},
		{"the domain's transport is wrong", map[string]string{"transport_maps": table}, map[string]string{"transport": "* lntp:unix:private/x\n"}, `goes to "lntp" (transport_maps), which master.cf lacks`},
		{"aliases lead to accounts", map[string]string{"virtual_transport": "error", "virtual_alias_maps": "texthash:{dir}/virtual socketmap:unix:{dir}/lookup.sock:aliases"},
			map[string]string{"virtual": "bob@acmecorp.com bob@localhost\n@globex.example x@localhost\n"}, ""},
		{"local(8)", map[string]string{"virtual_mailbox_domains": "", "mydestination": "acmecorp.com globex.example"}, nil, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			out := ofPostfix(t, lab.SiteTOML, c.main, c.files)
			const begin = "FAIL  postfix        mail for the mailboxes of acmecorp.com, globex.example here "
			if c.says == "" && strings.Contains(out, "FAIL  postfix        mail for the mailboxes of ") || c.says != "" && !strings.Contains(out, begin+c.says) {
				t.Errorf("the doctor should say %q:\n%s", c.says, out)
			}
		})
	}
}

func TestTheDoctorLooksForTheAccountsOfMailboxesHere(t *testing.T) {
	t.Parallel()
	const table = "texthash:{dir}/table"
	const said = " live here by the directory, and this host has no account and no alias of their names: local(8) bounces their mail\n" +
		"  do: make an account or an alias for each, or take them out of the directory\n"
	local := map[string]string{"virtual_mailbox_domains": "globex.example", "mydestination": "acmecorp.com", "recipient_delimiter": "+"}
	for _, c := range []struct {
		name string
		main map[string]string
		rows string
		told bool
	}{
		{"they have accounts", nil, "", false},
		{"nobody has one", nil, "", true},
		{"all are aliases", map[string]string{"alias_maps": table}, "{names}", false},
		{"all are virtual aliases", map[string]string{"virtual_alias_maps": table}, "@acmecorp.com bob@example.net\n", false},
		{"a table has their way", map[string]string{"transport_maps": table}, "{addresses}", false},
		{"their domain's way is not theirs", map[string]string{"transport_maps": table}, "acmecorp.com local:\n", true},
		{"others get what has no account", map[string]string{"luser_relay": "bob@example.net"}, "", false},
		{"others deliver", map[string]string{"mailbox_transport": "lmtp:unix:private/mailboxes"}, "", false},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			main := maps.Clone(local)
			maps.Copy(main, c.main)
			var names, addresses strings.Builder
			for row := range strings.Lines(lab.SiteDirectory) {
				address, _, _ := strings.Cut(row, ",")
				if name, domain, _ := strings.Cut(address, "@"); domain == "acmecorp.com" {
					names.WriteString(strings.ToLower(name) + " daemon\n")
					addresses.WriteString(address + " lmtp:unix:private/mailboxes\n")
				}
			}
			rows := strings.NewReplacer("{names}", names.String(), "{addresses}", addresses.String()).Replace(c.rows)
			files := map[string]string{"table": rows}
			if c.name == "they have accounts" {
				files["users.csv"] = "address,residence\nDaemon@acmecorp.com,here\nmail+news@acmecorp.com,here\nhugo@globex.example,here\n"
			}
			out := ofPostfix(t, lab.SiteTOML, main, files)
			if told := strings.Contains(out, said) && strings.Contains(out, "FAIL  postfix        bob@acmecorp.com, "); told != c.told || !told && strings.Contains(out, "local(8)") {
				t.Errorf("that it tells of them should be %v:\n%s", c.told, out)
			}
		})
	}
}

// What the doctor says of a Postfix is what it does.
func TestADomainThatTheDoctorMissesInPostfixIsRefusedThere(t *testing.T) {
	t.Parallel()
	s := startSite(t, lab.SiteConfig{Main: map[string]string{"virtual_mailbox_domains": "globex.example"}})
	p := lab.Lend(t)
	status, out, _ := runDoctor(t, postconfOf(t, p, filepath.Join(s.Postfix.Dir, "etc")), nil, "-c", s.Config())
	mustSay(t, out, "FAIL  postfix        Postfix takes no mail for acmecorp.com: all of it is refused, relay access denied")
	if status != exitNo {
		t.Errorf("the doctor ended with %d", status)
	}
	r := s.send(lab.FromInternet, lab.Mail{From: "eve@example.net", To: []lab.Rcpt{{Address: "bob@acmecorp.com"}}, Data: []byte("Subject: x\r\n\r\n")})
	if !strings.Contains(r.To[0].Text, "Relay access denied") {
		t.Errorf("Postfix says %+v", r)
	}
}
