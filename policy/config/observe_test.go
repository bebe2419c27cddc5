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
