package quarantine

import (
	"errors"
	"fmt"
	"time"

	"coexistd/milter/ownmail"
)

// Text returns the report as plain text.
func (m *Mail) Text() (string, error) { return m.by.render(m, ".txt") }

// HTML returns the report as a page that needs nothing from elsewhere.
func (m *Mail) HTML() (string, error) { return m.by.render(m, ".html") }

func (m *Mail) template() string {
	if m.Summary {
		return "summary"
	}
	return "report"
}

// render makes one form of a mail: of the organisation's own text, or of the built-in one
// where that fails.
func (r *Reporter) render(m *Mail, form string) (string, error) {
	name := m.template() + form
	if own := r.Texts.find(m.domain, name); own != nil {
		made, err := render(own.set, name, m.page)
		if err == nil {
			return made, nil
		}
		r.tellFailed(own, err)
	}
	if form == ".html" {
		return render(pages, name, m.page)
	}
	return render(texts, name, m.page)
}

// subject makes a mail's subject likewise. The built-in one is a page's title.
func (r *Reporter) subject(m *Mail, title string) string {
	own := r.Texts.find(m.domain, m.template()+".txt")
	if own == nil || !own.hasSubject {
		return title
	}
	made, err := own.subject(m.page)
	if err != nil {
		r.tellFailed(own, err)
		return title
	}
	return made
}

// tellFailed tells once of each text that the built-in one takes its place.
func (r *Reporter) tellFailed(own *text, err error) {
	if _, told := r.failed.LoadOrStore(own.path, true); !told {
		r.TextFailed(own.wrong(err))
	}
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
