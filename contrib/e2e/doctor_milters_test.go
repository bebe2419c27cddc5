package e2e

import (
	"strings"
	"testing"

	"coexistd/contrib/lab"
)

func TestTheDoctorSaysWhatBecomesOfMailWhileAMilterIsAway(t *testing.T) {
	t.Parallel()
	const ours = "unix:{dir}/milter.sock"
	for _, c := range []struct {
		name    string
		action  string // milter_default_action; "": Postfix's own
		milters string
		says    []string
	}{
		{"coexistd alone", "tempfail", ours, []string{"ok    postfix        smtpd (smtp) hands its mail to coexistd by " + ours + "\n"}},
		{"accept for all", "accept", ours, []string{
			"FAIL  postfix        smtpd (smtp) hands its mail to coexistd by " + ours + ", but while coexistd is away, mail passes by unchecked, and that for users who live elsewhere goes astray (the default action is accept)",
			"  do: put into main.cf: milter_default_action = tempfail; then run: postfix reload"}},
		{"accept for coexistd", "tempfail", "{ " + ours + " connect_timeout=10s default_action=accept }", []string{
			"FAIL  postfix        smtpd (smtp) hands its mail to coexistd by " + ours + ", but while coexistd is away, mail passes by unchecked",
			"  do: write { " + ours + ", default_action=tempfail } for " + ours + " in smtpd_milters of main.cf"}},
		{"accept for all, with another milter", "accept", ours + ", inet:localhost:8890", []string{
			"FAIL  postfix        smtpd (smtp) hands its mail to coexistd by " + ours + ", but while coexistd is away, mail passes by unchecked",
			"  do: write { " + ours + ", default_action=tempfail } for " + ours + " in smtpd_milters of main.cf"}},
		{"tempfail for all, with another milter", "tempfail", ours + ", inet:localhost:8890", []string{
			"warn  postfix        smtpd (smtp) hands its mail to coexistd by " + ours + "; milter_default_action = tempfail holds for inet:localhost:8890 as well: while one of them is away, mail is put off\n",
			"  do: write { " + ours + ", default_action=tempfail } for " + ours + " in smtpd_milters of main.cf; then run: postfix reload; milter_default_action is then for the others alone\n"}},
		{"each with its own", "accept", "{ " + ours + ", default_action=tempfail }, inet:localhost:8890", []string{"ok    postfix        smtpd (smtp) hands"}},
		{"the other with its own", "tempfail", ours + ", { inet:localhost:8890, {default_action = accept} }", []string{"ok    postfix        smtpd (smtp) hands"}},
		{"Postfix's own tempfail", "", ours + ", inet:localhost:8890", []string{"ok    postfix        smtpd (smtp) hands"}},
	} {
		t.Run(strings.ReplaceAll(c.name, ",", ""), func(t *testing.T) {
			t.Parallel()
			main := map[string]string{"smtpd_milters": c.milters, "milter_default_action": c.action}
			out := ofPostfix(t, lab.SiteTOML, main, nil)
			mustSay(t, out, c.says...)
		})
	}
}
