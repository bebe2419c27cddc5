package seal_test

import (
	"errors"
	"io"
	"strings"
	"testing"
	"testing/iotest"

	"coexistd/policy/seal"
)

func bodyOf(t *testing.T, message string) seal.Body {
	t.Helper()
	whole, err := seal.ReadBody(strings.NewReader(message))
	if err != nil {
		t.Fatal(err)
	}
	if piecemeal, err := seal.ReadBody(iotest.OneByteReader(strings.NewReader(message))); err != nil || piecemeal != whole {
		t.Errorf("%.40q read byte by byte has another mark (%v)", message, err)
	}
	return whole
}

func TestABodyIsKnownAgainWhateverServersDoToItsLines(t *testing.T) {
	const message = "Subject: x\r\n\r\none\r\n\r\n.two\r\n"
	its := bodyOf(t, message)
	long := strings.Repeat("y", 200_000)
	for _, same := range []string{
		"Subject: x\n\none\n\n.two\n", "Subject: x\r\n\r\none\r\n\r\n.two", message + "\r\n\r\n",
		"Message-Id: <added@mta>\r\nSubject: x\r\nX: " + long + "\r\n\r\none\r\n\r\n.two\r\n", "\r\none\r\n\r\n.two\r\n",
	} {
		if bodyOf(t, same) != its {
			t.Errorf("%.60q is taken for another message", same)
		}
	}
	for _, other := range []string{"", "\r\n", "Subject: x\r\n\r\n", "Subject: x\r\n\r\none\r\n.two\r\n", "Subject: x\r\n\r\none\r\n\r\ntwo\r\n", "Subject: x\r\n\r\n\r\n" + message[14:], message + "x", message + long} {
		if bodyOf(t, other) == its {
			t.Errorf("%.60q is taken for the message", other)
		}
	}
	many := "\r\n\r\na" + strings.Repeat("\r\n", 10_000)
	if bodyOf(t, many) != bodyOf(t, "\r\n\r\na") || bodyOf(t, many+"b") == bodyOf(t, "\r\n\r\na\r\nb") || bodyOf(t, many+"b") != bodyOf(t, strings.ReplaceAll(many, "\r", "")+"b") {
		t.Error("empty lines between others do not count, or those at the end do")
	}
}

func TestABodyThatCannotBeReadHasNoMark(t *testing.T) {
	for _, begin := range []string{"Subject", "Subject: x\r\n\r\nbo"} {
		if _, err := seal.ReadBody(io.MultiReader(strings.NewReader(begin), iotest.ErrReader(iotest.ErrTimeout))); !errors.Is(err, iotest.ErrTimeout) {
			t.Errorf("%q: %v", begin, err)
		}
	}
}

func TestAPassOfAMessageWithoutMarksHoldsForItsBodyAlone(t *testing.T) {
	const message = "Subject: x\r\n\r\nbody\r\n"
	body, other := bodyOf(t, message), bodyOf(t, "Subject: x\r\n\r\nanother\r\n")
	bare := seal.MarksOf(header("Subject", "x"))
	value := keys.SignPass(released(), "bob@acmecorp.com", bare.And(body))
	for about, c := range map[string]struct {
		marks seal.Marks
		want  bool
	}{
		"the message":                      {bare.And(body), true},
		"its body is not known":            {bare, false},
		"another message":                  {bare.And(other), false},
		"the message with marks of an MTA": {itsMarks.And(body), true},
		"another message with marks":       {itsMarks.And(other), false},
	} {
		if _, ok := keys.OpenPass([]string{value}, c.marks, 0); ok != c.want {
			t.Errorf("%s: the pass holds: %v", about, ok)
		}
	}
	marked := keys.SignPass(released(), "bob@acmecorp.com", itsMarks.And(body))
	if _, ok := keys.OpenPass([]string{marked}, bare.And(body), 0); ok {
		t.Error("a message with marks is known by its body")
	}
}
