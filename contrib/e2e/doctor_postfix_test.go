package e2e

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"coexistd/contrib/lab"
)

func TestTheDoctorReadsMasterCF(t *testing.T) {
	t.Parallel()
	p := lab.Lend(t)
	config := configuration(t, lab.SiteTOML+"\n[[listen]]\naddress = \"inet:127.0.0.1:8701\"\n", lab.SiteDirectory)
	dir := filepath.Dir(config)
	main := strings.ReplaceAll(`compatibility_level = 3.6
queue_directory = {dir}/queue
smtpd_milters = { inet:localhost:8701, connect_timeout=10s, default_action=reject }
non_smtpd_milters = unix:{dir}/milter.sock
milter_default_action = tempfail
virtual_alias_maps = proxy:socketmap:unix:{dir}/lookup.sock:aliases
virtual_mailbox_maps = unionmap:{texthash:/a, socketmap:unix:{dir}/lookup.sock:recipients}
transport_maps = socketmap:unix:{dir}/lookup.sock:transport
mynetworks = 127.0.4.0/24 [::ffff:127.0.4.0]/120
message_reject_characters = \0
`, "{dir}", dir)
	master := `smtp inet n - y - - smtpd
  -o { smtpd_milters = inet:127.0.0.1:8701 }
submission inet n - - - - smtpd
465 inet n - n - - smtpd -o smtpd_milters=
127.0.0.1:10026 inet n - n - - smtpd -o receive_override_options=no_header_body_checks,no_milters
10027 inet n - n - - smtpd -o receive_override_options=no_milters
cleanup unix n - n - 0 cleanup
`
	for name, content := range map[string]string{"main.cf": main, "master.cf": master} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	status, out, _ := runDoctor(t, postconfOf(t, p, dir), nil, "-c", config)
	out = strings.ReplaceAll(out, dir, "{dir}")
	if status != exitNo {
		t.Errorf("the doctor ended with %d", status)
	}
	const want = `ok    postfix        smtpd (smtp) hands its mail to coexistd by inet:127.0.0.1:8701
warn  postfix        smtpd (submission) hands its mail to coexistd by inet:localhost:8701, but while coexistd is away, mail is bounced (the default action is reject)
  do: put into main.cf: smtpd_milters = { inet:localhost:8701, connect_timeout=10s, default_action=tempfail }; then run: postfix reload
FAIL  postfix        smtpd (465) does not hand its mail to coexistd: smtpd_milters is ""
  do: put into the lines of 465 in master.cf: -o smtpd_milters=unix:{dir}/milter.sock; then run: postfix reload
ok    postfix        smtpd (127.0.0.1:10026) takes mail back from a content filter, without milters
FAIL  postfix        smtpd (10027) asks no milter: receive_override_options has no_milters
  do: take no_milters out of receive_override_options, save for a service that takes mail back from a content filter on loopback; then run: postfix reload
ok    postfix        cleanup (cleanup) hands its mail to coexistd by unix:{dir}/milter.sock
ok    postfix        virtual_mailbox_maps asks coexistd for recipients
ok    postfix        virtual_alias_maps asks coexistd for aliases
ok    postfix        transport_maps asks coexistd for transport
FAIL  postfix        what comes by smtp, submission, 465, 127.0.0.1:10026 for a mailbox at both sides is sent to the other platform twice: its cleanup service asks the lookup aliases, and the milter has added the address already
  do: give it a cleanup service that asks members, as coexistd setup postfix says
warn  postfix        smtpd_relay_restrictions puts off mail for other domains: a platform that wrongly sends mail for its alternate domain here tries again for days
  do: write reject_unauth_destination for defer_unauth_destination in smtpd_relay_restrictions of main.cf; then run: postfix reload
FAIL  postfix        may_relay is set for google, but Postfix lets none of its hosts relay: mail of its users for the Internet is refused
  do: put check_client_access socketmap:unix:{dir}/lookup.sock:networks before reject_unauth_destination in smtpd_relay_restrictions of main.cf, as coexistd setup postfix says; then run: postfix reload
FAIL  postfix        may_relay is set for office365, but Postfix lets none of its hosts relay: mail of its users for the Internet is refused
  do: put check_client_access socketmap:unix:{dir}/lookup.sock:networks before reject_unauth_destination in smtpd_relay_restrictions of main.cf, as coexistd setup postfix says; then run: postfix reload
warn  postfix        smtp_tls_security_level is empty: mail goes to the platforms in the clear
  do: put into main.cf: smtp_tls_security_level = may; then run: postfix reload
FAIL  postfix        Postfix runs smtp in its chroot, where they do not see coexistd's Unix sockets ({dir}/milter.sock, {dir}/lookup.sock): all mail is put off
`
	if !strings.Contains(out, want) {
		t.Errorf("the doctor says\n%s\nright is\n%s", out, want)
	}

	// A Postfix without a configuration is nothing to compare with.
	if _, out, _ := runDoctor(t, postconfOf(t, p, filepath.Join(dir, "none")), nil, "-c", config); !strings.Contains(out, "warn  postfix        Postfix's settings cannot be read: ") {
		t.Errorf("without a main.cf the doctor says\n%s", out)
	}
}
