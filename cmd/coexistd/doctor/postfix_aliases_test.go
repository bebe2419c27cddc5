package doctor

import (
	"strings"
	"testing"
)

func TestMembersOfAliasesAreNamesAlone(t *testing.T) {
	for value, want := range map[string]string{
		"bob, Alice":                               "bob alice",
		"bob@acmecorp.com,carol":                   "carol",
		`|/bin/cat, "|/usr/bin/vacation bob", x`:   "x",
		`:include:/etc/list, /var/mail/a, far!bob`: "",
		`\dave, "x y", "x y"@acmecorp.com`:         "",
	} {
		if got := strings.Join(bareMembers(value), " "); got != want {
			t.Errorf("%q has the names %q; right is %q", value, got, want)
		}
	}
}
