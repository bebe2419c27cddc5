package e2e

import (
	"strings"
	"testing"

	"coexistd/contrib/lab"
)

// What becomes of the mail, the recipe for iRedMail shows: it has the setting.
func TestTheDoctorFailsWherePostfixForgetsWhomTheClientNamed(t *testing.T) {
	t.Parallel()
	const says = "FAIL  postfix        cleanup (cleanup) loses mail for users who live elsewhere: enable_original_recipient is no in "
	for _, c := range []struct{ value, master, says string }{
		{"yes", "", ""},
		{"no", "", says + "main.cf"},
		{"yes", " -o enable_original_recipient=no", says + "the -o options of cleanup in master.cf"},
		{"no", " -o enable_original_recipient=yes", ""},
	} {
		t.Run(c.value+c.master, func(t *testing.T) {
			t.Parallel()
			out := ofPostfix(t, lab.SiteTOML, map[string]string{"enable_original_recipient": c.value},
				map[string]string{"master.cf": strings.Replace(rightMaster, "0 cleanup\n", "0 cleanup"+c.master+"\n", 1)})
			if c.says == "" && strings.Contains(out, "enable_original_recipient") || !strings.Contains(out, c.says) {
				t.Errorf("the doctor says\n%s", out)
			}
		})
	}
}
