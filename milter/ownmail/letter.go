// Package ownmail writes the mail that coexistd sends in its own name, gives it,
// and what is released from quarantine, to the MTA, and makes strangers' texts fit
// to be shown in it.
package ownmail

import (
	"bytes"
	"context"
	"crypto/rand"
	"fmt"
	"io"
	"mime"
	"strings"
	"time"
	"unicode"

	gomail "github.com/emersion/go-message/mail"

	"coexistd/policy/mail"
	"coexistd/policy/seal"
	"coexistd/policy/verdict"
)

const (
	// PassTime is for how long the pass of a message holds that is sent through
	// the MTA: until its milter has seen it.
	PassTime = 10 * time.Minute
	// sendTime bounds how long the MTA may take for one letter.
	sendTime = 2 * time.Minute
)

// Letter is one mail of our own, to one person.
type Letter struct {
	// Kind begins the Message-Id, and Name is the display name of From. Both
	// are plain ASCII words.
	Kind, Name string
	From, To   string // addresses, without angle brackets
	ReplyTo    string // an address; empty: answers go to From
	// Sender is MAIL FROM; empty: the null sender, so that a letter that cannot be
	// delivered does not come back.
	Sender string
	// Probe is what the letter probes; nil: nothing, it is for people.
	Probe   *seal.Probe
	Subject string
	Date    time.Time // in the zone that Date is to have
	// Text is the body, and HTML the same in another form; empty: there is none.
	Text, HTML string
}

// Post is where our own mail goes, and what lets it through our own checks.
type Post struct {
	// Keys sign the way past our own spam check. They are those of the MTA's milter,
	// and Delimiters are the characters that begin a subaddress's tag for it.
	Keys       seal.Keys
	Delimiters string
	// MTA is the host and port that takes the mail.
	MTA string
	// Hostname is what EHLO and Message-Id name.
	Hostname string
}

// Send gives a letter to the MTA. Its errors are those of Submit, and those of a
// letter that cannot be written. A letter has two minutes.
func (p Post) Send(ctx context.Context, l *Letter) error {
	var content bytes.Buffer
	if err := p.Write(&content, l); err != nil {
		return fmt.Errorf("composing it: %w", err)
	}
	ctx, cancel := context.WithTimeout(ctx, sendTime)
	defer cancel()
	return Submit(ctx, p.MTA, p.Hostname, Submission{
		From: l.Sender, To: l.To, EightBit: !mail.IsASCII(content.String()), Content: &content,
	})
}

// Write writes a letter as it is given to the MTA (RFC 5322 and RFC 2046 section
// 5.1.4). On top stands the pass that lets it through our own spam check.
func (p Post) Write(w io.Writer, l *Letter) error {
	for _, address := range [...]string{l.From, l.To, l.ReplyTo, l.Sender} {
		if strings.ContainsFunc(address, unicode.IsControl) {
			return fmt.Errorf("the address %.100q holds a control character", address)
		}
	}
	var h gomail.Header
	h.Set("X-Auto-Response-Suppress", l.unwanted())
	h.Set("Auto-Submitted", "auto-generated") // RFC 3834 section 5
	h.AddRaw(subjectField(l.Subject))
	if l.ReplyTo != "" {
		h.Set("Reply-To", "<"+l.ReplyTo+">")
	}
	h.Set("To", "<"+l.To+">")
	h.Set("From", l.Name+" <"+l.From+">")
	h.SetMessageID(p.MessageID(l))
	h.SetDate(l.Date)

	pass := p.Keys.SignPass(seal.Pass{
		ID: seal.PassReport, Checks: []string{verdict.CheckSpam}, Point: verdict.S2, Until: l.Date.Add(PassTime).Unix(),
	}, p.owner(l.To), marksOf(&h))
	if err := writeField(w, seal.PassHeader, pass); err != nil {
		return err
	}
	if l.Probe != nil {
		if err := writeField(w, seal.ProbeHeader, p.Keys.SignProbe(*l.Probe, p.owner(l.To), marksOf(&h))); err != nil {
			return err
		}
	}
	if l.HTML == "" {
		h.SetContentType("text/plain", map[string]string{"charset": "utf-8"})
		body, err := gomail.CreateSingleInlineWriter(w, h)
		if err != nil {
			return err
		}
		return writeAll(body, l.Text)
	}
	parts, err := gomail.CreateInlineWriter(w, h)
	if err != nil {
		return err
	}
	for _, part := range [...][2]string{{"text/plain", l.Text}, {"text/html", l.HTML}} {
		var ph gomail.InlineHeader
		ph.SetContentType(part[0], map[string]string{"charset": "utf-8"})
		pw, err := parts.CreatePart(ph)
		if err != nil {
			return err
		}
		if err := writeAll(pw, part[1]); err != nil {
			return err
		}
	}
	return parts.Close()
}

// subjectField writes a subject as a field of the header, in encoded words where it is not
// plain (RFC 2047), each of which has a line of its own.
func subjectField(subject string) []byte {
	return []byte("Subject: " + strings.ReplaceAll(mime.QEncoding.Encode("utf-8", subject), "?= =?", "?=\r\n =?") + "\r\n")
}

// MessageID returns what a letter's Message-Id holds between its brackets: that of a probe
// is the same each time.
func (p Post) MessageID(l *Letter) string {
	id := strings.ToLower(rand.Text())
	if l.Probe != nil {
		id = l.Probe.ID
	}
	return fmt.Sprintf("%s.%s@%s", l.Kind, id, p.Hostname)
}

// unwanted names the answers that Exchange is not to give to a letter. To know of a probe that
// cannot be delivered is what it was sent for.
func (l *Letter) unwanted() string {
	if l.Probe != nil {
		return "DR, RN, NRN, OOF, AutoReply"
	}
	return "All"
}

// writeField writes a header field whose value is folded with bare newlines.
func writeField(w io.Writer, name, value string) error {
	_, err := fmt.Fprintf(w, "%s: %s\r\n", name, strings.ReplaceAll(value, "\n", "\r\n"))
	return err
}

func writeAll(w io.WriteCloser, text string) error {
	if _, err := io.WriteString(w, text); err != nil {
		return err
	}
	return w.Close()
}

// owner returns the name under which the MTA's milter will know an address.
func (p Post) owner(address string) string {
	parsed, err := mail.ParseAddress(address, p.Delimiters)
	if err != nil {
		return address
	}
	return parsed.Owner
}

// marksOf returns the marks of a letter, as the MTA's milter will see them.
func marksOf(h *gomail.Header) seal.Marks {
	var header mail.Header
	for fields := h.Fields(); fields.Next(); {
		header.Add([]byte(fields.Key()), []byte(fields.Value()))
	}
	return seal.MarksOf(&header)
}
