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
			"  do: put into main.cf: smtpd_milters = { " + ours + ", connect_timeout=10s, default_action=tempfail }; then run: postfix reload\n"}},
		{"accept for all, with another milter", "accept", ours + ", inet:localhost:8890", []string{
			"FAIL  postfix        smtpd (smtp) hands its mail to coexistd by " + ours + ", but while coexistd is away, mail passes by unchecked",
			"  do: put into main.cf: smtpd_milters = { " + ours + ", default_action=tempfail }, inet:localhost:8890; then run: postfix reload\n",
			"FAIL  postfix        cleanup (cleanup) hands", "  do: put into main.cf: non_smtpd_milters = { " + ours + ", default_action=tempfail }; then run: postfix reload\n"}},
		{"tempfail for all, with another milter", "tempfail", ours + ", inet:localhost:8890", []string{
			"ok    postfix        smtpd (smtp) hands its mail to coexistd by " + ours + "\n",
			"warn  postfix        smtpd (smtp) asks inet:localhost:8890 with no default action of its own: while such a milter is away, all mail is put off (milter_default_action is tempfail)\n",
			"  do: put into main.cf: smtpd_milters = { " + ours + ", default_action=tempfail }, { inet:localhost:8890, default_action=accept }; then run: postfix reload; write default_action=tempfail instead for a milter without"}},
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

func TestTheDoctorSaysWhereMailGoesPastOurMilterOrMaps(t *testing.T) {
	t.Parallel()
	const ours = "unix:{dir}/milter.sock"
	const aliases = "inline:{team@acmecorp.com=bob@acmecorp.com}"
	master := strings.Replace(rightMaster, "0 cleanup\n", "0 cleanup -o virtual_alias_maps=socketmap:unix:{dir}/lookup.sock:members\n", 1)
	for _, c := range []struct {
		name        string
		main, files map[string]string
		says        []string
	}{
		{"clients with other milters", map[string]string{"smtpd_milter_maps": "cidr:{dir}/clients"}, nil, []string{
			"warn  postfix        smtpd (smtp) hands its mail to coexistd by " + ours + ", but smtpd_milter_maps (cidr:{dir}/clients) has other milters, or none, for the clients that it names",
			"  do: take smtpd_milter_maps out"}},
		{"a socket that Postfix may not use", nil, map[string]string{"milter.sock": ""}, []string{
			"FAIL  postfix        daemon, as whom Postfix runs, may not use {dir}/milter.sock: ", "  do: run: usermod -aG root daemon; systemctl restart postfix"}},
		{"an old address of ours", map[string]string{"virtual_alias_maps": aliases + ", socketmap:inet:127.0.0.1:1:aliases"}, nil, []string{
			"FAIL  postfix        virtual_alias_maps does not ask coexistd for aliases",
			"  do: put into main.cf: virtual_alias_maps = " + aliases + ", socketmap:unix:{dir}/lookup.sock:aliases; then run"}},
		{"a table of who has moved that cannot be listed", map[string]string{"virtual_alias_maps": "regexp:{dir}/forwards, socketmap:unix:{dir}/lookup.sock:aliases"},
			map[string]string{"forwards": "/^(alice|bob)@acmecorp.com$/ bob@home.example\n/^gail@globex.example$/ gail@gapps.globex.example\n"}, []string{
				"warn  postfix        regexp:{dir}/forwards of virtual_alias_maps has rows of users who live elsewhere, and Postfix asks it before coexistd: what is not rewritten before, such as bounces and the mail of lists, goes by these: alice@acmecorp.com\n",
				"  do: put into main.cf: virtual_alias_maps = socketmap:unix:{dir}/lookup.sock:aliases, regexp:{dir}/forwards; then run: postfix reload; or take these rows out of it\n"}},
		{"a cleanup service without the administrator's aliases", map[string]string{"virtual_alias_maps": aliases + ", socketmap:unix:{dir}/lookup.sock:aliases"},
			map[string]string{"master.cf": master}, []string{
				"FAIL  postfix        cleanup (cleanup) has alias maps of its own without " + aliases + ": what comes by it for the aliases there goes astray or is bounced",
				"  do: put into the lines of cleanup in master.cf: -o virtual_alias_maps=" + aliases + ",socketmap:unix:{dir}/lookup.sock:members; then run"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			mustSay(t, ofPostfix(t, lab.SiteTOML, c.main, c.files), c.says...)
		})
	}
	all := ofPostfix(t, lab.SiteTOML, map[string]string{"virtual_alias_maps": aliases + ", socketmap:unix:{dir}/lookup.sock:aliases"},
		map[string]string{"master.cf": strings.Replace(master, "maps=", "maps="+aliases+",", 1)})
	for _, text := range []string{"smtpd_milter_maps", "as whom Postfix runs", "of its own without"} {
		if strings.Contains(all, text) {
			t.Errorf("of a Postfix that is right the doctor says %q:\n%s", text, all)
		}
	}
}
