package ownmail

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/emersion/go-message/mail"

	"coexistd/contrib/lab"
	"coexistd/policy/seal"
	"coexistd/policy/verdict"
)

func newPost(mta string) Post {
	return Post{Keys: seal.NewKeys([]byte(strings.Repeat("k", 32))), Delimiters: "+", MTA: mta, Hostname: "mail.acmecorp.com"}
}

func newLetter() *Letter {
	return &Letter{
		Kind: "test", Name: "Mail test", From: "postmaster@acmecorp.com", To: "alice+x@acmecorp.com",
		Subject: "Grüße\r\nBcc: x@y " + strings.Repeat("Grüße ?= =?", 20) + "\r\n", Date: time.Date(2026, 11, 23, 6, 0, 0, 0, time.UTC), Text: "Grüße\n.\n" + strings.Repeat("long ", 300),
	}
}

func TestALetterHasTheFormsThatItWasGiven(t *testing.T) {
	t.Parallel()
	for _, html := range []string{"", "<p>Grüße</p>"} {
		letter := newLetter()
		letter.HTML = html
		var content bytes.Buffer
		if err := newPost("").Write(&content, letter); err != nil {
			t.Fatal(err)
		}
		reader, err := mail.CreateReader(&content)
		if err != nil {
			t.Fatal(err)
		}
		if subject, err := reader.Header.Subject(); err != nil || subject != letter.Subject || reader.Header.Has("Bcc") || reader.Header.Has("Reply-To") {
			t.Errorf("the subject is %q (%v)", subject, err)
		}
		for fields := reader.Header.Fields(); fields.Next(); {
			if raw, err := fields.Raw(); err != nil || slices.ContainsFunc(strings.Split(string(raw), "\r\n"), func(line string) bool { return len(line) > 90 }) {
				t.Errorf("a field has a long line: %s (%v)", raw, err)
			}
		}
		if kind, _, _ := reader.Header.ContentType(); (kind == "text/plain") != (html == "") {
			t.Errorf("with HTML %q it is %s", html, kind)
		}
		for _, want := range []string{letter.Text, html} {
			if want == "" {
				continue
			}
			part, err := reader.NextPart()
			if err != nil {
				t.Fatal(err)
			}
			if got, err := io.ReadAll(part.Body); err != nil || strings.ReplaceAll(string(got), "\r\n", "\n") != want {
				t.Errorf("%q is sent as %q (%v)", want, got, err)
			}
		}
		if _, err := reader.NextPart(); err != io.EOF {
			t.Errorf("with HTML %q it has more parts (%v)", html, err)
		}
		if !holds(reader.Header, letter) {
			t.Error("its pass does not hold")
		}
	}
}

// holds reports that a letter's pass spares it the spam check, and for minutes only.
func holds(header mail.Header, letter *Letter) bool {
	keys, marks := newPost("").Keys, marksOf(&header)
	pass, ok := keys.OpenPass(header.Values(seal.PassHeader), marks, letter.Date.Unix())
	_, late := keys.OpenPass(header.Values(seal.PassHeader), marks, letter.Date.Add(PassTime+time.Second).Unix())
	return ok && !late && strings.Join(pass.Checks, " ") == verdict.CheckSpam
}

func TestALetterHasNoLineEndInItsAddresses(t *testing.T) {
	t.Parallel()
	for i := range 3 {
		letter := newLetter()
		*[]*string{&letter.From, &letter.To, &letter.ReplyTo}[i] = "a@b\r\nBcc: x@y"
		if err := newPost("").Write(io.Discard, letter); err == nil || !strings.Contains(err.Error(), "control character") {
			t.Errorf("address %d with a line end: %v", i, err)
		}
	}
}

func TestOnlyTheRecipientAndTheMailAreRefusedForGood(t *testing.T) {
	t.Parallel()
	for command, want := range map[string]bool{"the connection": false, "EHLO": false, "MAIL": false, "RCPT": true, "DATA": true, "the message": true} {
		for code, permanent := range map[int]bool{421: false, 452: false, 550: true, 554: true} {
			err := fmt.Errorf("sending: %w", &Refusal{command, code, "x"})
			if got := IsForGood(err); got != (want && permanent) {
				t.Errorf("%v: for good is %v", err, got)
			}
		}
	}
	if IsForGood(ErrUnanswered) || IsForGood(nil) {
		t.Error("what is not answered is refused for good")
	}
}

func TestALetterIsSentFromTheNullSender(t *testing.T) {
	t.Parallel()
	sink, err := lab.StartSink(lab.SinkConfig{Refuse: func(recipient string) *lab.Reply {
		if recipient == "gone@acmecorp.com" {
			return &lab.Reply{Code: 550, Enhanced: "5.1.1", Text: "no such user"}
		}
		return nil
	}})
	if err != nil {
		t.Fatal(err)
	}
	defer sink.Close()
	letter := newLetter()
	if err := newPost(sink.Addr()).Send(t.Context(), letter); err != nil {
		t.Fatal(err)
	}
	if all := sink.All(); len(all) != 1 || all[0].From != "" || all[0].To()[0] != letter.To {
		t.Errorf("there arrived %+v", all)
	}
	letter.To = "gone@acmecorp.com"
	if err := newPost(sink.Addr()).Send(t.Context(), letter); !IsForGood(err) {
		t.Errorf("the error is %v", err)
	}
	sink.Close()
	if err := newPost(sink.Addr()).Send(t.Context(), letter); err == nil || errors.As(err, new(*Refusal)) {
		t.Errorf("without an MTA the error is %v", err)
	}
}

func TestTextIsWrappedAndSizesAreForPeople(t *testing.T) {
	t.Parallel()
	got := Wrap("Label  ", strings.Repeat("word ", 20)+strings.Repeat("x", 100))
	want := "Label  " + strings.Repeat("word ", 13) + "word\n       " + strings.Repeat("word ", 5) + "word\n       " + strings.Repeat("x", 100) + "\n"
	if got != want {
		t.Errorf("it is wrapped as\n%s\nright is\n%s", got, want)
	}
	for n, want := range map[int64]string{0: "0 bytes", 1023: "1023 bytes", 1024: "1.0 KB", 10 << 10: "10 KB", 1<<20 - 1: "1.0 MB", 25 << 20: "25 MB", 3 << 40: "3072 GB"} {
		if got := Bytes(n); got != want {
			t.Errorf("%d is %s, right is %s", n, got, want)
		}
	}
}
