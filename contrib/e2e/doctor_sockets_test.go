package e2e

import (
	"errors"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"coexistd/contrib/lab"
)

// queueWith makes a queue directory of Postfix's in whose folder private these sockets are listened at.
func queueWith(t *testing.T, sockets ...string) string {
	t.Helper()
	dir, err := lab.TempDir()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	if err := os.Mkdir(filepath.Join(dir, "private"), 0o755); err != nil {
		t.Fatal(err)
	}
	for _, name := range sockets {
		l, err := net.Listen("unix", filepath.Join(dir, "private", name))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { l.Close() })
	}
	return dir
}

func TestTheDoctorSeesThatNobodyListensForMailOrLogins(t *testing.T) {
	t.Parallel()
	const (
		mailboxes = "mail for the mailboxes of acmecorp.com, globex.example here goes to "
		submit    = "submission inet n - n - - smtpd -o smtpd_sasl_auth_enable=yes\n"
		dovecot   = " -o smtpd_sasl_type=dovecot -o smtpd_sasl_path="
	)
	for _, c := range []struct {
		name   string
		main   map[string]string
		master string // in addition
		says   []string
		silent string // of what the doctor says nothing
	}{
		{"both are there", nil, strings.TrimSuffix(submit, "\n") + dovecot + "private/mailboxes\n", nil, "goes to \nlog in"},
		{"no mailboxes", map[string]string{"virtual_transport": "lmtp:unix:private/none"}, "", []string{
			"FAIL  postfix        " + mailboxes + "{queue}/private/none (virtual_transport), where nobody listens: all of it is put off\n",
			"  do: start the server of the mailboxes"}, "log in"},
		{"mailboxes by a path of their own", map[string]string{"virtual_transport": "lmtp:unix:{queue}/private/mailboxes"}, "", nil, "goes to "},
		{"a path that the chroot hides", map[string]string{"virtual_transport": "inmates:unix:{queue}/private/mailboxes"}, "inmates unix - - y - - lmtp\n", []string{
			"FAIL  postfix        " + mailboxes + "{queue}{queue}/private/mailboxes (virtual_transport), where nobody listens"}, "log in"},
		{"mailboxes by TCP", map[string]string{"virtual_transport": "lmtp:inet:127.0.0.1:1"}, "", nil, "goes to "},
		{"no Dovecot", nil, strings.TrimSuffix(submit, "\n") + dovecot + "private/auth\n", []string{
			"FAIL  postfix        smtpd (submission) lets clients log in by {queue}/private/auth (smtpd_sasl_path), where nobody listens: it ends at each connection, and takes no mail\n",
			"  do: start Dovecot"}, "goes to "},
		{"Dovecot by TCP", nil, strings.TrimSuffix(submit, "\n") + dovecot + "inet:127.0.0.1:1\n", nil, "log in"},
		{"logins in main.cf", map[string]string{"smtpd_sasl_auth_enable": "yes", "smtpd_sasl_type": "dovecot", "smtpd_sasl_path": "unix:private/auth"}, submit, []string{
			"FAIL  postfix        smtpd (smtp, submission) lets clients log in by {queue}/private/auth (smtpd_sasl_path), where nobody listens"}, ""},
		{"a kind that Postfix has not", map[string]string{"smtpd_sasl_type": "courier"}, submit, []string{
			"FAIL  postfix        smtpd (submission) lets clients log in by courier (smtpd_sasl_type), which this Postfix has not: it ends at each connection",
			"  do: set smtpd_sasl_type to one of those that postconf -a lists: "}, ""},
		{"Cyrus", nil, submit, nil, "log in"},
		{"no logins", map[string]string{"smtpd_sasl_type": "dovecot"}, "", nil, "log in"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			out := ofPostfix(t, lab.SiteTOML, c.main, map[string]string{"master.cf": rightMaster + c.master})
			mustSay(t, out, c.says...)
			for _, one := range strings.Split(c.silent, "\n") {
				if one != "" && strings.Contains(out, one) {
					t.Errorf("the doctor says %q:\n%s", one, out)
				}
			}
		})
	}
}

// Postfix's folder is closed to the daemon's user, but the list of sockets is not.
func TestTheDoctorSaysWhatItMayNotSeeInPostfixsFolder(t *testing.T) {
	t.Parallel()
	queue := queueWith(t, "auth")
	dir, err := lab.TempDir()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	config, err := lab.WriteConfiguration(dir, lab.SiteTOML, lab.SiteDirectory)
	if err != nil {
		t.Fatal(err)
	}
	main := "compatibility_level = 3.6\nqueue_directory = " + queue + "\nvirtual_mailbox_domains = acmecorp.com globex.example\nvirtual_transport = lmtp:unix:private/none\n" +
		"smtpd_sasl_auth_enable = yes\nsmtpd_sasl_type = dovecot\nsmtpd_sasl_path = private/auth\nmail_owner = daemon\nsetgid_group = mail\n"
	const uid = 1 // of an account that is always there
	if err := errors.Join(
		os.WriteFile(filepath.Join(dir, "main.cf"), []byte(main), 0o644), os.WriteFile(filepath.Join(dir, "master.cf"), []byte(rightMaster), 0o644),
		os.Chown(filepath.Join(dir, "state"), uid, uid), os.Chmod(filepath.Join(queue, "private"), 0o700),
	); err != nil {
		t.Fatal(err)
	}
	_, out, _ := runDoctor(t, postconfOf(t, lab.Lend(t), dir), nil, "-c", config)
	out = strings.ReplaceAll(about("postfix", out), queue, "{queue}")
	mustSay(t, out,
		"warn  postfix        mail for the mailboxes of acmecorp.com, globex.example here goes to {queue}/private/none (virtual_transport); daemon may not see whether somebody listens there\n",
		"  do: see as root that somebody does: ss -xl | grep {queue}/private/none\n")
	if strings.Contains(out, "log in") {
		t.Errorf("the doctor does not see who listens for logins:\n%s", out)
	}
}
