package lab

import (
	"bytes"
	"crypto/rand"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/emersion/go-message/mail"
)

// Plain makes a message of plain US-ASCII text, with lines that begin with
// dots.
func Plain(from, to, subject string) []byte {
	return slices.Concat(head(from, to, subject), crlf(`
Good morning,

.a line that begins with a dot
..and one with two

Regards
`))
}

// EightBit makes a message of UTF-8 text sent as it is (8BITMIME, RFC 6152).
func EightBit(from, to, subject string) []byte {
	return slices.Concat(head(from, to, subject), crlf(`MIME-Version: 1.0
Content-Type: text/plain; charset=utf-8
Content-Transfer-Encoding: 8bit

Grüße aus Köln, καλημέρα, नमस्ते.
`))
}

// LongLines makes a message whose text has lines of the given length in
// octets without CRLF. RFC 5322 section 2.1.1 allows 998; Postfix breaks
// longer ones where it sends them on.
func LongLines(from, to, subject string, length int) []byte {
	line := strings.Repeat("0123456789", length/10+1)[:length] + "\r\n"
	return slices.Concat(head(from, to, subject), []byte("\r\n"+line+line+line))
}

// Multipart makes a message with a text and an attachment of that size in
// octets, which no two messages share.
func Multipart(from, to, subject string, size int) ([]byte, error) {
	var h mail.Header
	h.Set("From", from)
	h.Set("To", to)
	h.SetSubject(subject)
	h.SetDate(time.Now())
	h.Set("Message-Id", messageID())
	var text mail.InlineHeader
	text.SetContentType("text/plain", map[string]string{"charset": "utf-8"})
	var attachment mail.AttachmentHeader
	attachment.SetContentType("application/octet-stream", nil)
	attachment.SetFilename("report.bin")
	content := make([]byte, size)
	rand.Read(content)

	var b bytes.Buffer
	w, err := mail.CreateWriter(&b, h)
	if err == nil {
		err = writePart([]byte("The report is attached.\r\n"))(w.CreateSingleInline(text))
	}
	if err == nil {
		err = writePart(content)(w.CreateAttachment(attachment))
	}
	if err == nil {
		err = w.Close()
	}
	if err != nil {
		return nil, fmt.Errorf("lab: making a message: %w", err)
	}
	return b.Bytes(), nil
}

func writePart(content []byte) func(io.WriteCloser, error) error {
	return func(w io.WriteCloser, err error) error {
		if err == nil {
			_, err = w.Write(content)
		}
		if err == nil {
			err = w.Close()
		}
		return err
	}
}

// Below is a message without the header fields of the given names, in any
// case, that stand above all others: what the servers on its way have added.
func Below(message []byte, names ...string) []byte {
	for {
		name, _, found := bytes.Cut(message, []byte(":"))
		added := slices.ContainsFunc(names, func(n string) bool { return strings.EqualFold(n, string(name)) })
		if !found || !added {
			return message
		}
		message = afterField(message)
	}
}

// afterField is what follows the first header field with its folded lines.
func afterField(message []byte) []byte {
	for {
		end := bytes.IndexByte(message, '\n')
		if end < 0 {
			return nil
		}
		message = message[end+1:]
		if len(message) == 0 || message[0] != ' ' && message[0] != '\t' {
			return message
		}
	}
}

func head(from, to, subject string) []byte {
	return fmt.Appendf(nil, "From: %s\r\nTo: %s\r\nSubject: %s\r\nDate: %s\r\nMessage-Id: %s\r\n",
		from, to, subject, time.Now().Format(time.RFC1123Z), messageID())
}

func messageID() string { return "<" + rand.Text() + "@lab.test>" }

func crlf(s string) []byte { return []byte(strings.ReplaceAll(s, "\n", "\r\n")) }
