package quarantine

import (
	"embed"
	"errors"
	"fmt"
	"html/template"
	"strings"
	texttemplate "text/template"
	"time"

	"coexistd/milter/ownmail"
)

//go:embed templates
var templateFiles embed.FS

var (
	texts = texttemplate.Must(texttemplate.New("").Funcs(texttemplate.FuncMap{"wrap": ownmail.Wrap}).ParseFS(templateFiles, "templates/*.txt"))
	pages = template.Must(template.ParseFS(templateFiles, "templates/*.html"))
)

// Text returns the report as plain text.
func (m *Mail) Text() (string, error) {
	var b strings.Builder
	err := texts.ExecuteTemplate(&b, m.template()+".txt", m.page)
	return b.String(), err
}

// HTML returns the report as a page that needs nothing from elsewhere.
func (m *Mail) HTML() (string, error) {
	var b strings.Builder
	err := pages.ExecuteTemplate(&b, m.template()+".html", m.page)
	return b.String(), err
}

func (m *Mail) template() string {
	if m.Summary {
		return "summary"
	}
	return "report"
}

// letter returns the mail as it is given to the MTA.
func (r *Reporter) letter(m *Mail, now time.Time) (*ownmail.Letter, error) {
	text, errText := m.Text()
	html, errHTML := m.HTML()
	if err := errors.Join(errText, errHTML); err != nil {
		return nil, fmt.Errorf("composing it: %w", err)
	}
	l := &ownmail.Letter{
		Kind: "quarantine", Name: "Mail quarantine", From: r.From, To: m.To,
		Subject: m.Subject, Date: now.In(r.Zone), Text: text, HTML: html,
	}
	if r.Contact != r.From {
		l.ReplyTo = r.Contact
	}
	return l, nil
}
