package quarantine

import (
	"crypto/rand"
	"embed"
	"fmt"
	"html/template"
	"io"
	"strings"
	texttemplate "text/template"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/emersion/go-message/mail"

	"coexistd/policy"
)

//go:embed templates
var templateFiles embed.FS

// textWidth is where the lines of plain text end, if words allow it (RFC 5322
// section 2.1.1 asks for 78).
const textWidth = 76

// Text returns the report as plain text.
func (m *Mail) Text() (string, error) {
	t := texttemplate.New("").Funcs(texttemplate.FuncMap{"wrap": wrap})
	t, err := t.ParseFS(templateFiles, "templates/"+m.template()+".txt")
	if err != nil {
		return "", err
	}
	var b strings.Builder
	err = t.ExecuteTemplate(&b, m.template()+".txt", m.page)
	return b.String(), err
}

// HTML returns the report as a page that needs nothing from elsewhere.
func (m *Mail) HTML() (string, error) {
	t, err := template.ParseFS(templateFiles, "templates/"+m.template()+".html", "templates/head.html")
	if err != nil {
		return "", err
	}
	var b strings.Builder
	err = t.ExecuteTemplate(&b, m.template()+".html", m.page)
	return b.String(), err
}

func (m *Mail) template() string {
	if m.Summary {
		return "summary"
	}
	return "report"
}

// wrap writes text in lines that begin below each other, behind a label.
func wrap(label, text string) string {
	var b strings.Builder
	b.WriteString(label)
	indent := strings.Repeat(" ", len(label))
	width := len(label)
	for i, word := range strings.Fields(text) {
		size := utf8.RuneCountInString(strings.ReplaceAll(word, "\u200B", ""))
		switch {
		case i == 0:
		case width+1+size > textWidth:
			b.WriteString("\n" + indent)
			width = len(indent)
		default:
			b.WriteByte(' ')
			width++
		}
		b.WriteString(word)
		width += size
	}
	b.WriteByte('\n')
	return b.String()
}

// write writes the mail as it is given to the MTA (RFC 5322 and RFC 2046 section
// 5.1.4). On top stands the pass that lets it through our own spam check.
func (r *Reporter) write(w io.Writer, m *Mail, now time.Time) error {
	if strings.ContainsFunc(m.To, unicode.IsControl) {
		return fmt.Errorf("the address %.100q holds a control character", m.To)
	}
	text, err := m.Text()
	if err != nil {
		return err
	}
	html, err := m.HTML()
	if err != nil {
		return err
	}
	var h mail.Header
	h.Set("X-Auto-Response-Suppress", "All")
	h.Set("Auto-Submitted", "auto-generated") // RFC 3834 section 5
	h.SetSubject(m.Subject)
	if r.Contact != r.From {
		h.Set("Reply-To", "<"+r.Contact+">")
	}
	h.Set("To", "<"+m.To+">")
	h.Set("From", "Mail quarantine <"+r.From+">")
	h.SetMessageID(fmt.Sprintf("quarantine.%s@%s", strings.ToLower(rand.Text()), r.Hostname))
	h.SetDate(now.In(r.Zone))

	pass := r.Policy.SignPass(policy.Pass{
		ID: policy.PassReport, Checks: []string{policy.CheckSpam}, Point: policy.S2, Until: now.Add(passTime).Unix(),
	}, m.owner, policy.Marks(h.Values))
	if _, err := fmt.Fprintf(w, "%s: %s\r\n", policy.PassHeader, strings.ReplaceAll(pass, "\n", "\r\n")); err != nil {
		return err
	}
	parts, err := mail.CreateInlineWriter(w, h)
	if err != nil {
		return err
	}
	for _, part := range [...][2]string{{"text/plain", text}, {"text/html", html}} {
		var ph mail.InlineHeader
		ph.SetContentType(part[0], map[string]string{"charset": "utf-8"})
		pw, err := parts.CreatePart(ph)
		if err != nil {
			return err
		}
		if _, err := io.WriteString(pw, part[1]); err != nil {
			return err
		}
		if err := pw.Close(); err != nil {
			return err
		}
	}
	return parts.Close()
}
