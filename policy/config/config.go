// Package config reads the configuration file: TOML on one side, a
// policy.Rules in which every name is resolved on the other. It is strict. A
// mistake anywhere refuses the whole file, and all mistakes are reported at
// once, each with its line, what is wrong and what would be right.
//
// Load looks at the files that the configuration names, to say early that one
// is missing, but it reads only the lists of networks, the secrets that prove a
// platform's tenant, and the password for Redis. It asks nothing of the network.
package config

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"coexistd/policy"
	"coexistd/policy/config/document"
	"coexistd/policy/config/files"
	"coexistd/policy/config/mistakes"
	"coexistd/policy/config/secret"
	"coexistd/policy/config/wording"
	"coexistd/policy/directory"
	"coexistd/policy/networks"
	"coexistd/policy/route"
	"coexistd/policy/seal"
	"coexistd/policy/tenant"
)

// Config is one configuration file, read and found to be without mistakes.
type Config struct {
	// Path is the file's absolute path.
	Path string
	// Digest is the SHA-256 of the file's content, in hexadecimal digits.
	Digest string
	// Rules are what messages are decided by.
	Rules *policy.Rules
	// Networks are the platforms' networks as far as the file has them. See Sources.
	Networks networks.Live
	// Listeners are the sockets for MTAs: [[listen]]. There is at least one.
	Listeners []Listener
	// Lookups are the sockets for the MTA's table lookups: [[lookup]].
	Lookups []Listener
	// Directories holds one source for each distinct file, sorted by path. A
	// domain without a directory is in none.
	Directories []directory.Source
	// StateDir is the absolute path of the folder for what must survive a
	// restart. It need not exist yet.
	StateDir string
	// SecretFile is the absolute path of the file with the secret that hosts
	// share. Empty: the host makes a secret of its own in StateDir.
	SecretFile string
	// Control is the socket for commands to the daemon, "unix:/PATH" as sockets.Parse
	// reads it.
	Control string
	// MaxConnections bounds the milter connections of all listeners together.
	MaxConnections int
	// Clamd and Rspamd are the scanners; nil: there is none.
	Clamd  *Clamd
	Rspamd *Rspamd
	// Malware is what the check malware objects to.
	Malware Malware
	// Redis is where the limits of [[rate]] are counted; nil: in this process.
	Redis *Redis
	// Resolver are the DNS servers to be asked, as "IP:PORT", in order. Empty: those
	// of the system.
	Resolver []string
	// Sources are the lists that platforms' networks come from beside those that
	// the file itself has. MaxAge says by a platform's name how old a list may grow
	// that cannot be refreshed, before that is told.
	Sources []Source
	MaxAge  map[string]time.Duration
	// Listed are the networks, by a platform's name, that the file itself has.
	Listed map[string][]netip.Prefix
	// Quarantine is where messages are held, and how their recipients are told.
	Quarantine Quarantine
	// LogSubject has the log tell each message's subject.
	LogSubject bool
	// Notes tell what the configuration does not bring about, though nothing in it
	// is wrong.
	Notes []Note
}

// Note is a sentence for the administrator.
type Note struct {
	Text string
	// Lacking is the scanner that is not configured, "clamd" or "rspamd", in a note
	// that mail is not checked for want of it; empty in others.
	Lacking string
}

// maxFile bounds every file that this package reads, in bytes.
const maxFile = 4 * files.MiB

// reader turns one file into a Config and collects the mistakes.
type reader struct {
	file     string // as the caller named it
	folder   string // absolute; relative paths start here
	lines    document.Lines
	problems mistakes.Problems
	config   *Config

	platforms  []string // every [platform.NAME], right or wrong
	provable   []string // those of which the file says how a message proves them
	networks   []network
	alternates []alternate
	sources    map[string]*source // by path
	rates      []rateTable
	general    map[string]settings // what [check.NAME] says for all points
	made       map[string]bool     // checks that some point makes
	lacking    map[string][]string // points by the usual check that cannot be made
}

// Reading is what came of reading a configuration.
type Reading struct {
	// Config is nil when a problem refuses the file.
	Config *Config
	// Directories are Config's, or those that can be read although the file is refused,
	// so that their mistakes can be told in the same breath.
	Directories []directory.Source
	Problems    mistakes.Problems
}

// Load reads the configuration file at path. A relative path in the file starts at the
// file's folder.
func Load(path string) Reading {
	text, _, err := files.Read(path, maxFile)
	if err != nil {
		return Reading{Problems: mistakes.Problems{{File: path, Text: err.Error()}}}
	}
	return parse(path, text)
}

// parse reads a configuration that stands, or would stand, at path.
func parse(path, text string) Reading {
	absolute, err := filepath.Abs(path)
	if err != nil {
		return Reading{Problems: mistakes.Problems{{File: path, Text: fmt.Sprintf("cannot be found: %v", err)}}}
	}
	r := &reader{
		file:   path,
		folder: filepath.Dir(absolute),
		config: &Config{
			Path: absolute, Digest: fmt.Sprintf("%x", sha256.Sum256([]byte(text))),
			Rules: &policy.Rules{
				Routes: route.Rules{Domains: make(map[string]*route.Domain)}, Tenants: make(tenant.Rules),
			},
			Networks: make(networks.Live),
			MaxAge:   make(map[string]time.Duration),
			Listed:   make(map[string][]netip.Prefix),
		},
		sources: make(map[string]*source),
		general: make(map[string]settings),
		made:    make(map[string]bool),
		lacking: make(map[string][]string),
	}
	written, err := document.Parse(text)
	if wrong, is := errors.AsType[*document.Mistake](err); is {
		r.fail(place{file: path, line: wrong.Line}, "%s", wrong.Text)
	} else if top := (place{file: path, line: 1}); len(written.Entries) == 0 {
		r.fail(top, "the file says nothing; it needs at least one [[listen]] and one [domain.\"NAME\"]")
	} else {
		r.lines = written.Lines
		r.root(&table{r: r, place: top, entries: written.Entries})
	}
	r.problems.Sort(path)
	reading := Reading{Problems: r.problems}
	if !slices.ContainsFunc(r.problems, func(p mistakes.Problem) bool { return p.Kind == mistakes.OfDomains }) {
		reading.Directories = r.config.Directories
	}
	if !r.problems.Refuse() {
		reading.Config = r.config
	}
	return reading
}

func (r *reader) fail(at place, format string, args ...any) {
	r.problems = append(r.problems, mistakes.Problem{File: at.file, Line: at.line, Key: at.key, Text: fmt.Sprintf(format, args...), Kind: at.kind})
}

func (r *reader) note(format string, args ...any) {
	r.config.Notes = append(r.config.Notes, Note{Text: fmt.Sprintf(format, args...)})
}

// root reads the whole file, top to bottom. Platforms come before all that
// names them.
func (r *reader) root(t *table) {
	t.readSection()
	p := r.config.Rules
	r.settings(t)
	if !r.readPlatforms(t) {
		return
	}
	p.OurNetworks = networks.SetOf(r.readNetworks(t, "our_networks")...)
	p.OurCertificates = r.ourCertificates(t)
	p.Routes.Outbound = r.platformOrHere(t, "outbound")
	if way := p.Routes.Platform(p.Routes.Outbound); way != nil && way.MayRelay {
		t.fail("outbound", "is %s, whose may_relay lets its users send to the Internet through us: their mail would go round; leave one of the two out", way.Name)
	}
	r.listeners(t)
	r.control(t)
	r.domains(t)
	r.scanners(t)
	r.redis(t)
	r.readRates(t)
	r.checks(t)
	r.placeRates()
	r.allow(t)
	r.quarantine(t)
	r.refuseOverlaps()
}

// settings reads what is a plain value at the top of the file.
func (r *reader) settings(t *table) {
	c, p := r.config, r.config.Rules
	c.StateDir = value[string](t, "state_dir")
	c.SecretFile = value[string](t, "secret_file")
	c.MaxConnections = value[int](t, "max_connections")
	c.Resolver = value[[]string](t, "resolver")
	c.LogSubject = value[bool](t, "log_subject")
	p.Routes.MaxPasses = value[int](t, "max_passes")
	p.Delimiters = value[string](t, "recipient_delimiter")
	p.Header = value[string](t, "header")
	p.Hostname = value[string](t, "hostname")
	if t.has("hostname") {
		return
	}
	name, err := os.Hostname()
	if err == nil {
		p.Hostname, err = hostname(name)
	}
	if err != nil {
		t.fail("hostname", "is missing, and the system has no host name that could be used: %v", err)
	}
}

func hostname(text string) (string, error) {
	normal, err := domainName(text)
	if err != nil {
		return "", fmt.Errorf(`%s is not a host name; write it like "mail.example.com"`, wording.Quote(text))
	}
	return normal, nil
}

const (
	usualStateDir = "/var/lib/coexistd"
	usualControl  = "unix:control.sock"
)

func stateDir(r *reader, text string) (string, error) {
	path := r.path(text)
	r.config.StateDir = path
	if text == "" {
		return path, fmt.Errorf("is empty; leave it out for %q", usualStateDir)
	}
	return path, nil
}

func secretFile(r *reader, name string) (string, error) {
	path := r.path(name)
	return path, secret.Look(path)
}

// delimiters reads what may stand in a local part without quotes (RFC 5322 section
// 3.2.3), save for letters and digits.
func delimiters(text string) (string, error) {
	if strings.Trim(text, "!#$%&'*+-./=?^_`{|}~") != "" {
		return "", fmt.Errorf(`%s cannot separate a tag from a local part; usual are "+", "-" and "" for none`, wording.Quote(text))
	}
	return text, nil
}

// fieldName is a header field's name (RFC 5322 section 3.6.8).
var fieldName = regexp.MustCompile(`^[!-9;-~]{1,76}$`)

// ownedByOthers are header fields, or the beginnings of their names, that a message may
// bear for others, or that are put into messages. A message is rid of the result header
// and of the header that proves a tenant, so these must be none of them.
var ownedByOthers = []string{
	"arc-", "authentication-results", "auto-submitted", "bcc", "cc", "content-", "date", "dkim-signature", "from",
	"in-reply-to", "list-", "message-id", "mime-version", "received", "references", "reply-to", "resent-",
	"return-path", "sender", "subject", "to", "x-ms-",
	strings.ToLower(seal.TraceHeader), strings.ToLower(seal.PassHeader), strings.ToLower(policy.TagHeader), strings.ToLower(policy.SpamHeader),
}

// headerName is the name of a header field that messages are rid of. What says what it is
// for.
func headerName(like, what string) kind {
	return text("a header's name in quotes, like "+wording.Quote(like), alone(func(name string) (string, error) {
		lower := strings.ToLower(name)
		owned := func(other string) bool {
			return lower == other || strings.HasSuffix(other, "-") && strings.HasPrefix(lower, other)
		}
		switch {
		case !fieldName.MatchString(name):
			return "", fmt.Errorf("%s is not the name of a header field (RFC 5322 section 2.2); write it like %q", wording.Quote(name), like)
		case slices.ContainsFunc(ownedByOthers, owned):
			return "", fmt.Errorf("%s has a meaning of its own, and %s is removed from messages that bring one; choose a name like %q", wording.Quote(name), what, like)
		}
		return name, nil
	}))
}

// path makes a path from the file absolute.
func (r *reader) path(name string) string {
	if !filepath.IsAbs(name) {
		name = filepath.Join(r.folder, name)
	}
	return filepath.Clean(name)
}
