package e2e

import (
	"strings"
	"testing"

	"coexistd/contrib/lab"
)

func TestTheDoctorSaysWhichCharactersPostfixTakesOutOfSignedMail(t *testing.T) {
	t.Parallel()
	const taken = "warn  postfix        message_strip_characters is "
	for _, c := range []struct {
		name, strips, refuses string
		master                string // options of cleanup
		says                  []string
	}{
		{"a NUL is let through", "", "", "", []string{"warn  postfix        a message with a NUL is taken, ", "  do: put into main.cf: message_reject_characters = \\0; then run: postfix reload\n"}},
		{"they are refused", "", `\0`, "", nil},
		{"they are refused before", `\0`, `\000\033`, "", nil},
		{"a NUL", `\0`, "", "", []string{
			taken + `\0 in main.cf: Postfix takes these characters out of messages before coexistd sees them`,
			"  do: take it out of main.cf, and put into main.cf: message_reject_characters = \\0; then run: postfix reload\n"}},
		{"one of two is refused before", `\0\033`, `\0`, "", []string{
			taken + `\0\033 in main.cf: `, "  do: take it out of main.cf; then run: postfix reload\n"}},
		{"in master.cf", "", "", ` -o message_strip_characters=\0`, []string{
			taken + `\0 in the -o options of cleanup in master.cf: `, "  do: take it out of the -o options of cleanup in master.cf, and put into main.cf: "}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			out := ofPostfix(t, lab.SiteTOML, map[string]string{"message_strip_characters": c.strips, "message_reject_characters": c.refuses},
				map[string]string{"master.cf": strings.Replace(rightMaster, "0 cleanup\n", "0 cleanup"+c.master+"\n", 1)})
			mustSay(t, out, c.says...)
			if c.says == nil && strings.Contains(out, "_characters") {
				t.Errorf("the doctor says\n%s", out)
			}
		})
	}
}
