package config

import (
	"errors"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"time"
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

// Bounds of the quarantine.
const (
	minKeep, maxKeep       = time.Minute, 3650 * 24 * time.Hour
	minQuarantine          = 1 << 20
	maxQuarantine    int64 = 1 << 50
)

// quarantine reads [quarantine], or makes the usual one.
func (r *reader) quarantine(t *table) {
	one := t.optional("quarantine")
	one.only("dir", "keep", "max_size", "smtp", "report")
	r.config.Quarantine = Quarantine{
		Dir:      r.quarantineDir(one),
		Keep:     one.duration("keep", 30*24*time.Hour, minKeep, maxKeep),
		MaxBytes: one.size("max_size", 10<<30, minQuarantine, maxQuarantine),
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
		t.fail("dir", "%s %v; write the path of a folder, which need not exist", quote(path), plain(err))
	}
	return path
}

func (r *reader) quarantineSMTP(t *table) string {
	const usual = "127.0.0.1:25"
	addr, err := hostPort(t.text("smtp", usual), usual)
	if err != nil {
		t.fail("smtp", "%v", err)
		return usual
	}
	r.refuseOwn(t.at("smtp"), "tcp", addr)
	return addr
}

// report reads [quarantine.report], or makes the usual one.
func (r *reader) report(t *table) Report {
	one := t.optional("report")
	one.only("at", "zone", "from", "contact", "summary")
	var report Report
	report.Never, report.Hour, report.Minute = one.timeOfDay()
	report.Zone = one.zone()
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

// timeOfDay reads when reports are sent.
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

// zone reads the name of a time zone.
func (t *table) zone() *time.Location {
	text, said := get[string](t, "zone", `a time zone's name in quotes, like "Europe/Berlin"`)
	if !said {
		return time.Local
	}
	zone, err := time.LoadLocation(text)
	if err != nil || text == "" {
		t.fail("zone", `%s is not a time zone; write a name of the IANA list, like "Europe/Berlin", or leave it out for this host's`, quote(text))
		return time.Local
	}
	return zone
}

func (t *table) mailbox(name, fallback string) string {
	text, said := get[string](t, name, `an address in quotes, like "postmaster@example.com"`)
	if !said {
		return fallback
	}
	address, err := mailbox(text, t.r.config.Rules.Delimiters)
	if err != nil {
		t.fail(name, "%v", err)
	}
	return address
}

func (t *table) mailboxes(name string) []string {
	const most = 100
	all := []string{}
	for _, one := range t.texts(name) {
		address, err := mailbox(one.text, t.r.config.Rules.Delimiters)
		if err != nil {
			t.r.fail(one.place, "%v", err)
			continue
		}
		if !slices.Contains(all, address) {
			all = append(all, address)
		}
	}
	if len(all) > most {
		t.fail(name, "there are %d addresses; at most %d are possible", len(all), most)
	}
	return all
}
