package config

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"slices"
	"time"

	"coexistd/policy/config/files"
	"coexistd/policy/config/schema"
	"coexistd/policy/config/sockets"
	"coexistd/policy/config/wording"
	"coexistd/policy/mail"
)

// Quarantine is [quarantine].
type Quarantine struct {
	// Dir is the absolute path of the folder with store.db. It need not exist yet.
	Dir string
	// Keep is how long a message is held.
	Keep time.Duration
	// MaxBytes bounds all messages that are held together.
	MaxBytes int64
	// SMTP is the HOST:PORT of the MTA that takes releases and reports.
	SMTP string
	// Templates are the organisation's own texts, sorted by path.
	Templates []Template
	// Learn has rspamd taught what people say of held messages: Config.Rspamd is there then.
	Learn  bool
	Report Report
}

// Report is [quarantine.report].
type Report struct {
	// At are the times of day at which reports are sent, by the clock of Zone: each is what
	// the clock shows since midnight. None: reports are never sent.
	At   []time.Duration
	Zone *time.Location
	// From is the reports' author, Contact whom they tell to ask for a release.
	From, Contact string
	// Summary is who gets the administrator's summary; Empty: nobody.
	Summary []string
}

func (r *reader) quarantineKeys() schema.Section {
	return schema.Section{Path: "quarantine", Header: "[quarantine]", About: "where messages are held", Keys: []schema.Key{
		{Name: "dir", Kind: schema.Text("a path in quotes", r.quarantineDir), Usually: "`state_dir`", Example: `"/var/spool/coexistd"`, Meaning: "the folder of `store.db`, which has what is held"},
		{Name: "keep", Kind: schema.Duration(time.Minute, 3650*day), Usual: "30d", Meaning: "how long it is held"},
		{Name: "max_size", Kind: schema.Size(1<<20, 1<<50), Usual: "10G", Meaning: "of all messages together; the oldest go first"},
		{Name: "smtp", Kind: schema.Text(schema.AString, r.releaseAddress), Usual: "127.0.0.1:25", Meaning: "the MTA that takes what is released, and the reports. Its milter must be coexistd"},
		{Name: "templates", Kind: schema.Text("a path in quotes", schema.As[string]), Example: `"templates"`,
			Meaning: "a folder with texts of your own for the reports and summaries, for all or by domain: see [report-texts.md](report-texts.md)"},
		{Name: "learn", Kind: schema.Boolean(), Usual: false,
			Meaning: "have rspamd's controller learn that a message which the check spam holds is none, when it is released, and that one by which a sender is blocked is spam: see [behaviour.md](behaviour.md#quarantine)"},
	}}
}

func (r *reader) reportKeys() schema.Section {
	return schema.Section{Path: "quarantine.report", Header: "[quarantine.report]", About: "the mail, once a day or more often, to those for whom something is held", Keys: []schema.Key{
		{Name: "at", Kind: schema.OneOrMore(timeOfDay, schema.Rules{Empty: `names no time; write "never" for no reports`, Most: 24, What: "times", Twice: schema.Refused}),
			Usual: "07:00", Meaning: "when, each day; several times are a list: `[\"07:00\", \"13:00\"]`; or `\"never\"`"},
		{Name: "zone", Kind: schema.Text(`a time zone's name in quotes, like "Europe/Berlin"`, zone), Usually: "the host's", Example: `"Europe/Berlin"`,
			Meaning: "by which clock: `\"Europe/Berlin\"`"},
		{Name: "from", Kind: schema.Text(wantMailbox, r.mailbox), Usually: "`postmaster@` the first domain", Example: `"postmaster@example.com"`, Meaning: "the reports' author"},
		{Name: "contact", Kind: schema.Text(wantMailbox, r.mailbox), Usually: "`from`", Example: `"postmaster@example.com"`, Meaning: "whom it tells to ask for a message"},
		{Name: "summary", Kind: schema.List(r.mailbox, schema.Rules{Most: 100, What: "addresses", Twice: schema.Dropped}), Usually: "`[from]`", Example: `["postmaster@example.com"]`,
			Meaning: "who gets the administrator's summary, and is told of limits and of mail in our own name that bears no proof of its tenant ([senders.md](senders.md)), and of what is only observed ([observe.md](observe.md)); `[]` for nobody"},
	}}
}

// quarantine reads [quarantine], or makes the usual one.
func (r *reader) quarantine(t *schema.Table) {
	one := t.Optional("quarantine").ReadSection()
	dir, said := schema.Said[string](one, "dir")
	if !said {
		dir = r.config.StateDir
	}
	r.config.Quarantine = Quarantine{
		Dir:       dir,
		Keep:      schema.Value[time.Duration](one, "keep"),
		MaxBytes:  schema.Value[int64](one, "max_size"),
		SMTP:      schema.Value[string](one, "smtp"),
		Templates: r.templates(one),
		Learn:     r.learn(one),
		Report:    r.report(one),
	}
}

// learn reads whether rspamd is taught.
func (r *reader) learn(one *schema.Table) bool {
	learn := schema.Value[bool](one, "learn")
	if learn && r.config.Rspamd == nil {
		one.Fail("learn", "is true, and there is no [scanner.rspamd] to be taught; add it, or leave learn out")
	}
	if !learn && r.config.Rspamd != nil && r.config.Rspamd.Password != "" {
		r.note("[scanner.rspamd] password_file is not used: [quarantine] learn is not true")
	}
	return learn
}

func (r *reader) quarantineDir(text string) (string, error) {
	const right = "write the path of a folder, which need not exist"
	if text == "" {
		return "", fmt.Errorf("is empty; leave it out for %s", wording.Quote(r.config.StateDir))
	}
	path := r.path(text)
	info, err := os.Stat(path)
	switch {
	case err == nil && !info.IsDir():
		return "", fmt.Errorf("%s is a file; %s", wording.Quote(path), right)
	case err != nil && !errors.Is(err, fs.ErrNotExist):
		return "", fmt.Errorf("%s %w; %s", wording.Quote(path), files.Plain(err), right)
	}
	return path, nil
}

func (r *reader) releaseAddress(text string) (string, error) {
	addr, err := sockets.HostPort(text, "127.0.0.1:25")
	if err != nil {
		return "", err
	}
	return addr, r.refuseOwn("tcp", addr)
}

// report reads [quarantine.report], or makes the usual one.
func (r *reader) report(t *schema.Table) Report {
	one := t.Optional("report").ReadSection()
	zone := time.Local
	if other, said := schema.Said[*time.Location](one, "zone"); said {
		zone = other
	}
	report := Report{At: reportTimes(one), Zone: zone, From: schema.Value[string](one, "from")}
	if domains := slices.Sorted(maps.Keys(r.config.Rules.Routes.Domains)); report.From == "" && len(domains) > 0 {
		report.From = "postmaster@" + domains[0]
	}
	report.Contact = cmp.Or(schema.Value[string](one, "contact"), report.From)
	report.Summary = []string{report.From}
	if summary, said := schema.Said[[]string](one, "summary"); said {
		report.Summary = summary
	}
	return report
}

// never stands for no time of day.
const never time.Duration = -1

// reportTimes reads at which times of day reports are sent.
func reportTimes(one *schema.Table) []time.Duration {
	at := schema.Value[[]time.Duration](one, "at")
	slices.Sort(at)
	if len(at) == 0 || at[0] != never {
		return at
	}
	if len(at) > 1 {
		one.Fail("at", `has "never" beside times; keep one or the other`)
	}
	return nil
}

func timeOfDay(text string) (time.Duration, error) {
	if text == "never" {
		return never, nil
	}
	at, err := time.Parse("15:04", text)
	if err != nil {
		return 0, fmt.Errorf(`%s is not a time of day; write it like "07:00", or "never"`, wording.Quote(text))
	}
	return time.Duration(at.Hour())*time.Hour + time.Duration(at.Minute())*time.Minute, nil
}

func zone(text string) (*time.Location, error) {
	zone, err := time.LoadLocation(text)
	if err != nil || text == "" {
		return nil, fmt.Errorf(`%s is not a time zone; write a name of the IANA list, like "Europe/Berlin", or leave it out for this host's`, wording.Quote(text))
	}
	return zone, nil
}

const wantMailbox = `an address in quotes, like "postmaster@example.com"`

// mailbox reads one address to send mail to or from. Its local part must be what
// RFC 5322 section 3.4.1 allows, since it goes into a header.
func (r *reader) mailbox(text string) (string, error) {
	if err := refuseHidden(text, "an address"); err != nil {
		return "", err
	}
	a, err := mail.ParseAddress(text, r.config.Rules.Delimiters)
	if err != nil {
		return "", fmt.Errorf(`%s is not an address: %w; write it like "postmaster@example.com"`, wording.Quote(text), err)
	}
	if a.IsNull() || a.Domain == "" || a.Path != text || a.At(a.Domain) != a.Local+"@"+a.Domain {
		return "", fmt.Errorf(`%s is not an address; write it like "postmaster@example.com"`, wording.Quote(text))
	}
	return text, nil
}
