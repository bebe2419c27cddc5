package config

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"time"

	"coexistd/policy/config/files"
	"coexistd/policy/mail"
)

// Quarantine is [quarantine].
type Quarantine struct {
	// Dir is the absolute path of the folder. It need not exist yet.
	Dir string
	// Keep is how long a message is held.
	Keep time.Duration
	// MaxBytes bounds all messages that are held together.
	MaxBytes int64
	// SMTP is the HOST:PORT of the MTA that takes releases and reports.
	SMTP   string
	Report Report
}

// Report is [quarantine.report].
type Report struct {
	// Never switches reports off.
	Never bool
	// Hour and Minute are when reports are sent each day, by the clock of Zone.
	Hour, Minute int
	Zone         *time.Location
	// From is the reports' author, Contact whom they tell to ask for a release.
	From, Contact string
	// Summary is who gets the administrator's summary; empty: nobody.
	Summary []string
}

// quarantine reads [quarantine], or makes the usual one.
func (r *reader) quarantine(t *table) {
	one := t.optional("quarantine", "dir", "keep", "max_size", "smtp", "report")
	r.config.Quarantine = Quarantine{
		Dir:      r.quarantineDir(one),
		Keep:     one.duration("keep", 30*day, time.Minute, 3650*day),
		MaxBytes: one.size("max_size", 10<<30, 1<<20, 1<<50),
		SMTP:     r.quarantineSMTP(one),
		Report:   r.report(one),
	}
}

func (r *reader) quarantineDir(t *table) string {
	text, said := get[string](t, "dir", "a path in quotes")
	switch {
	case !said:
		return filepath.Join(r.config.StateDir, "quarantine")
	case text == "":
		t.fail("dir", "is empty; leave it out for %s", quote(filepath.Join(r.config.StateDir, "quarantine")))
		return ""
	}
	path := r.path(text)
	if path == r.config.StateDir || path == filepath.Dir(path) {
		t.fail("dir", "%s is not a folder of its own; write one like %s", quote(path), quote(filepath.Join(path, "quarantine")))
	}
	if info, err := os.Stat(path); err == nil && !info.IsDir() {
		t.fail("dir", "%s is a file; write the path of a folder, which need not exist", quote(path))
	} else if err != nil && !errors.Is(err, fs.ErrNotExist) {
		t.fail("dir", "%s %v; write the path of a folder, which need not exist", quote(path), files.Plain(err))
	}
	return path
}

func (r *reader) quarantineSMTP(t *table) string {
	const usual = "127.0.0.1:25"
	addr, err := hostPort(t.text("smtp", usual), usual)
	if err == nil {
		err = r.refuseOwn("tcp", addr)
	}
	if err != nil {
		t.fail("smtp", "%v", err)
	}
	return addr
}

// report reads [quarantine.report], or makes the usual one.
func (r *reader) report(t *table) Report {
	one := t.optional("report", "at", "zone", "from", "contact", "summary")
	report := Report{Zone: one.zone()}
	report.Never, report.Hour, report.Minute = one.timeOfDay()
	usual := ""
	if domains := slices.Sorted(maps.Keys(r.config.Rules.Routes.Domains)); len(domains) > 0 {
		usual = "postmaster@" + domains[0]
	}
	report.From = one.mailbox("from", usual)
	report.Contact = one.mailbox("contact", report.From)
	report.Summary = []string{report.From}
	if one.has("summary") {
		report.Summary = one.mailboxes("summary")
	}
	return report
}

func (t *table) timeOfDay() (never bool, hour, minute int) {
	text, said := get[string](t, "at", `a time of day in quotes, like "07:00", or "never"`)
	switch {
	case !said:
		return false, 7, 0
	case text == "never":
		return true, 0, 0
	}
	at, err := time.Parse("15:04", text)
	if err != nil {
		t.fail("at", `%s is not a time of day; write it like "07:00", or "never"`, quote(text))
	}
	return false, at.Hour(), at.Minute()
}

func (t *table) zone() *time.Location {
	return parsedOr(t, "zone", `a time zone's name in quotes, like "Europe/Berlin"`, time.Local, func(text string) (*time.Location, error) {
		zone, err := time.LoadLocation(text)
		if err != nil || text == "" {
			return nil, fmt.Errorf(`%s is not a time zone; write a name of the IANA list, like "Europe/Berlin", or leave it out for this host's`, quote(text))
		}
		return zone, nil
	})
}

func (t *table) mailbox(name, fallback string) string {
	return parsedOr(t, name, `an address in quotes, like "postmaster@example.com"`, fallback, t.r.parseMailbox)
}

func (t *table) mailboxes(name string) []string {
	all := unique(each(t.r, t.texts(name), t.r.parseMailbox))
	t.atMost(name, 100, len(all), "addresses")
	return append([]string{}, all...)
}

// parseMailbox reads one address to send mail to or from. Its local part must be what
// RFC 5322 section 3.4.1 allows, since it goes into a header.
func (r *reader) parseMailbox(text string) (string, error) {
	if err := refuseHidden(text, "an address"); err != nil {
		return "", err
	}
	a, err := mail.ParseAddress(text, r.config.Rules.Delimiters)
	if err != nil {
		return "", fmt.Errorf(`%s is not an address: %w; write it like "postmaster@example.com"`, quote(text), err)
	}
	if a.IsNull() || a.Domain == "" || a.Path != text || a.At(a.Domain) != a.Local+"@"+a.Domain {
		return "", fmt.Errorf(`%s is not an address; write it like "postmaster@example.com"`, quote(text))
	}
	return text, nil
}
