package postconf

import (
	"slices"
	"testing"
)

func TestMiltersAreReadWithTheirOwnSettings(t *testing.T) {
	got := Milters("inet:localhost:8890, { unix:/run/c.sock default_action=accept,connect_timeout=3s } {inet:[::1]:1, {default_action = tempfail}}")
	want := []Milter{
		{"inet:localhost:8890", "inet:localhost:8890", ""},
		{"{ unix:/run/c.sock default_action=accept,connect_timeout=3s }", "unix:/run/c.sock", "accept"},
		{"{inet:[::1]:1, {default_action = tempfail}}", "inet:[::1]:1", "tempfail"},
	}
	if !slices.Equal(got, want) {
		t.Errorf("the milters are %q; right is %q", got, want)
	}
}
