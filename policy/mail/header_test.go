package mail_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"coexistd/policy/mail"
)

func TestValuesKeepOrderAndBytes(t *testing.T) {
	var h mail.Header
	for _, field := range [][2]string{{"Received", " one"}, {"To", "x"}, {"RECEIVED", "\r\n\ttwo "}, {"Re\u017feived", "three"}} {
		h.Add([]byte(field[0]), []byte(field[1]))
	}
	if got := h.Values("received"); !slices.Equal(got, []string{" one", "\r\n\ttwo "}) || h.Count("received") != 2 || h.First("reCEIVED") != " one" {
		t.Errorf("got %q", got)
	}
	if got := h.Values("Cc"); got != nil || h.Count("Cc") != 0 || h.First("Cc") != "" {
		t.Errorf("a field that is not there: %q", got)
	}
	var all []string
	for name, value := range h.All() {
		all = append(all, string(name)+":"+string(value))
	}
	if want := []string{"Received: one", "To:x", "RECEIVED:\r\n\ttwo ", "Re\u017feived:three"}; !slices.Equal(all, want) {
		t.Errorf("got %q", all)
	}
}

func TestAHeaderStandsOnTheWireAsItCame(t *testing.T) {
	var h mail.Header
	for _, field := range [][2]string{{"Subject", "a\n\tb\r\n c"}, {"X-Secret", "s"}, {"To", ""}} {
		h.Add([]byte(field[0]), []byte(field[1]))
	}
	if got := string(h.AppendTo([]byte("> "), []string{"x-secret"}, false)); got != "> Subject: a\r\n\tb\r\n c\r\nTo: \r\n\r\n" {
		t.Errorf("got %q", got)
	}
	if got := string(h.AppendTo(nil, nil, true)); got != "Subject:a\r\n\tb\r\n c\r\nX-Secret:s\r\nTo:\r\n\r\n" {
		t.Errorf("with exact values: %q", got)
	}
}

func TestAHeaderIsBounded(t *testing.T) {
	var h mail.Header
	for range mail.MaxHeaderFields {
		h.Add([]byte("X"), nil)
	}
	if h.TooLarge() {
		t.Error("as many fields as are kept are too many")
	}
	h.Add([]byte("Y"), nil)
	if !h.TooLarge() || h.Count("X") != mail.MaxHeaderFields || h.Count("Y") != 0 {
		t.Errorf("more fields are kept than there may be: %v, %d, %d", h.TooLarge(), h.Count("X"), h.Count("Y"))
	}
	h.Reset()
	half := []byte(strings.Repeat("a", mail.MaxHeaderBytes/2-1))
	h.Add([]byte("X"), half)
	h.Add([]byte("X"), half)
	if h.TooLarge() {
		t.Error("as many bytes as are kept are too many")
	}
	h.Add([]byte("X"), nil)
	h.Add(nil, nil)
	if !h.TooLarge() || h.Count("X") != 2 {
		t.Errorf("more bytes are kept than there may be: %v", h.TooLarge())
	}
	if h.Reset(); h.TooLarge() || h.Count("X") != 0 || fmt.Sprint(h.Values("X")) != "[]" {
		t.Error("the next message has something of the one before")
	}
}
