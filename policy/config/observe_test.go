package config

import (
	"slices"
	"strings"
	"testing"
)

func TestTheNotesSayForWhomTheModeIsObserve(t *testing.T) {
	t.Parallel()
	const two = "[[listen]]\naddress = \"inet:127.0.0.1:8701\"\n[domain.\"a.example\"]\nunlisted = \"here\"\n{a}[domain.\"b.example\"]\nunlisted = \"here\"\n{b}"
	const observe, enforce = "mode = \"observe\"\n", "mode = \"enforce\"\n"
	for _, c := range []struct{ top, a, b, rest, mode string }{
		{"", "", "", "", ""},
		{observe, "", "", "", "observe"},
		{enforce, observe, observe, "", "enforce, and observe for a.example, b.example"},
		{"", observe, "", "", "enforce, and observe for a.example"},
		{observe, "", enforce, "", "observe, and enforce for b.example"},
		{observe, "", "", "[messages]\nkeep = \"0\"\n", "observe"},
	} {
		conf := load(t, write(t, c.top+strings.NewReplacer("{a}", c.a, "{b}", c.b).Replace(two)+c.rest, nil))
		says := func(text string) bool {
			return slices.ContainsFunc(conf.Notes, func(n Note) bool { return strings.HasPrefix(n.Text, text) })
		}
		if says("the mode is ") != (c.mode != "") || !says("the mode is "+c.mode) && c.mode != "" || says("coexistd messages find --observed finds nothing") != (c.rest != "") {
			t.Errorf("%+v: the notes are %+v", c, conf.Notes)
		}
	}
}

// The bare name of a user means the same user: where the domain is enforced alone, its mail must not go on to a mailbox of before.
func TestTheHostsNameGoesByTheModeOfTheDomainWhoseUsersItHas(t *testing.T) {
	t.Parallel()
	const text = "{top}[[listen]]\naddress = \"inet:127.0.0.1:8701\"\n[domain.\"mail.a.example\"]\nsame_as = \"a.example\"\nunlisted = \"here\"\n{own}[domain.\"a.example\"]\ndirectory = \"users.csv\"\n{mode}"
	const observe, enforce = "mode = \"observe\"\n", "mode = \"enforce\"\n"
	for _, c := range []struct {
		top, own, mode string
		observes       bool
	}{
		{"", "", "", false},
		{observe, "", "", true},
		{observe, "", enforce, false},
		{"", "", observe, true},
		{observe, observe, enforce, true},
		{"", enforce, observe, false},
	} {
		conf := load(t, write(t, strings.NewReplacer("{top}", c.top, "{own}", c.own, "{mode}", c.mode).Replace(text), map[string]string{"users.csv": "address,residence\nbob@a.example,here\n"}))
		if got := conf.Rules.Routes.Domains["mail.a.example"].Observe; got != c.observes {
			t.Errorf("%+v: the host's name is observed: %v", c, got)
		}
	}
}
