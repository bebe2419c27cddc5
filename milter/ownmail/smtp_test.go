package ownmail

import (
	"bufio"
	"errors"
	"strings"
	"testing"
)

func TestNothingInAMessageEndsIt(t *testing.T) {
	for _, c := range []struct{ content, want string }{
		{"a\r\n.\r\nb", "a\r\n..\r\nb\r\n"},
		{"a\n.\nb", "a\n..\nb\r\n"},
		{"a\n.\r\nMAIL FROM:<x>\r\n", "a\n..\r\nMAIL FROM:<x>\r\n"},
		{"a\r.\rb", "a\r..\rb\r\n"},
		{"a\r.\nb", "a\r..\nb\r\n"},
		{"a\r.", "a\r..\r\n"},
		{"a\r.b", "a\r.b\r\n"},
		{"a.\r\n.b", "a.\r\n..b\r\n"},
		{"a\n", "a\n\r\n"},
		{"\n", "\n\r\n"},
		{"", ""},
	} {
		var b strings.Builder
		w := bufio.NewWriter(&b)
		if err := errors.Join(writeData(w, strings.NewReader(c.content)), w.Flush()); err != nil || b.String() != c.want {
			t.Errorf("%q is sent as %q (%v), want %q", c.content, b.String(), err, c.want)
		}
	}
}

func FuzzAnyMessageArrivesWhole(f *testing.F) {
	f.Add("a\r\n.\r\nb\n.\n\r.\r")
	f.Fuzz(func(t *testing.T, content string) {
		var b strings.Builder
		w := bufio.NewWriter(&b)
		if err := errors.Join(writeData(w, strings.NewReader(content)), w.Flush()); err != nil {
			t.Fatal(err)
		}
		sent := b.String()
		if sent != "" && !strings.HasSuffix(sent, "\r\n") {
			t.Errorf("%q is sent as %q", content, sent)
		}
		for _, end := range []string{"\r\n.\r\n", "\n.\n", "\n.\r", "\r.\r", "\r.\n"} {
			if strings.Contains("\r\n"+sent, end) {
				t.Errorf("%q is sent as %q, which has %q", content, sent, end)
			}
		}
	})
}
