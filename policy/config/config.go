// Package config reads the configuration file: TOML on one side, a
// policy.Rules in which every name is resolved on the other. It is strict. A
// mistake anywhere refuses the whole file, and all mistakes are reported at
// once, each with its line, what is wrong and what would be right.
//
// Load looks at the files that the configuration names, to say early that one
// is missing, but it reads only the lists of networks, the secrets that prove a
// platform's tenant, and passwords. It asks nothing of the network.
package config

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"net/netip"
	"path/filepath"
	"slices"
	"time"

	"coexistd/policy"
	"coexistd/policy/config/document"
	"coexistd/policy/config/files"
	"coexistd/policy/config/mistakes"
	"coexistd/policy/config/schema"
	"coexistd/policy/directory"
	"coexistd/policy/networks"
	"coexistd/policy/route"
	"coexistd/policy/tenant"
)

// Config is one configuration file, read and found to be without mistakes.
type Config struct {
	// Path is the file's absolute path.
	Path string
	// Digest tells what was read from something else: the file's content, and the state of
	// the files that it names and that only a reload takes, as of which nothing can be told of
	// secrets. It is in hexadecimal digits.
	Digest string
	// Files are those that the file names and the daemon reads, in the order of reading.
	Files []File
	// Rules are what messages are decided by.
	Rules *policy.Rules
	// Networks are the platforms' and upstreams' networks as far as the file has them. See
	// Sources.
	Networks networks.Live
	// Listeners are the sockets for MTAs: [[listen]]. There is at least one.
	Listeners []Listener
	// Lookups are the sockets for the MTA's table lookups: [[lookup]].
	Lookups []Listener
	// Metrics is the socket for Prometheus: [metrics]. There is one at most.
	Metrics []Listener
	// Directories holds one source for each distinct file, sorted by path. A
	// domain without a directory is in none.
	Directories []directory.Source
	// Outsides are the sources of users outside this host: [source.NAME], sorted by name.
	Outsides []*Outside
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
	// Sources are the lists that platforms' and upstreams' networks come from beside those
	// that the file itself has. MaxAge says by their name how old a list may grow that
	// cannot be refreshed, before that is told.
	Sources []Source
	MaxAge  map[string]time.Duration
	// Listed are the networks, by a platform's or an upstream's name, that the file itself has.
	Listed map[string][]netip.Prefix
	// Quarantine is where messages are held, and how their recipients are told.
	Quarantine Quarantine
	// Messages is how long what became of messages is kept.
	Messages Messages
	// Observe is how observed mail is summed up.
	Observe Observe
	// Probe says where doctor --probe sends to; nil: nowhere.
	Probe *Probe
	// LogSubject has the log tell each message's subject.
	LogSubject bool
	// Notes tell what the configuration does not bring about, though nothing in it
	// is wrong.
	Notes []Note
}

// File is one that the configuration names.
type File struct {
	// Key is the whole key that names it, and Path its absolute path.
	Key, Path string
	// AtReload is set when only a reload takes what it has: a secret, a template.
	AtReload bool
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
	schema.Reader
	file   string // as the caller named it
	folder string // absolute; relative paths start here
	config *Config

	platforms  []string // every [platform.NAME], right or wrong
	upstreams  []string // every [upstream.NAME], right or wrong
	byMTA      []string // those of them with client = "mta"
	provable   []string // those of which the file says how a message proves them
	networks   []network
	alternates []alternate
	alike      []alike
	targets    []target
	relays     []mistakes.Place   // of each deliver = "relay"
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
		return Reading{Problems: mistakes.Problems{{Place: mistakes.Place{File: path}, Text: err.Error()}}}
	}
	return parse(path, text)
}

// parse reads a configuration that stands, or would stand, at path.
func parse(path, text string) Reading {
	absolute, err := filepath.Abs(path)
	if err != nil {
		return Reading{Problems: mistakes.Problems{{Place: mistakes.Place{File: path}, Text: fmt.Sprintf("cannot be found: %v", err)}}}
	}
	r := newReader(path, absolute)
	r.Schema = r.keys()
	written, err := document.Parse(text)
	if wrong, is := errors.AsType[*document.Mistake](err); is {
		r.Fail(mistakes.Place{File: path, Line: wrong.Line}, "%s", wrong.Text)
	} else if len(written.Entries) == 0 {
		r.Fail(mistakes.Place{File: path, Line: 1}, "the file says nothing; it needs at least one [[listen]] and one [domain.\"NAME\"]")
	} else {
		r.Lines = written.Lines
		r.root(r.Top(path, written.Entries))
	}
	r.Problems.Sort(path)
	reading := Reading{Problems: r.Problems}
	if !slices.ContainsFunc(r.Problems, func(p mistakes.Problem) bool { return p.Kind == mistakes.OfDomains }) {
		reading.Directories = r.config.Directories
	}
	if !r.Problems.Refuse() {
		r.config.Digest = digest(text, r.config.Files)
		reading.Config = r.config
	}
	return reading
}

// digest makes Config.Digest. Of a file that is named it takes the state only: of a short
// secret, more could be guessed.
func digest(text string, named []File) string {
	sum := sha256.New()
	sum.Write([]byte(text))
	for _, file := range named {
		if info, err := files.Look(file.Path); file.AtReload && err == nil {
			fmt.Fprintf(sum, "\x00%s %d %d", file.Path, info.Size(), info.ModTime().UnixNano())
		}
	}
	return fmt.Sprintf("%x", sum.Sum(nil))
}

// names notes a file that the daemon reads.
func (r *reader) names(key, path string, atReload bool) {
	r.config.Files = append(r.config.Files, File{key, path, atReload})
}

// newReader returns a reader of the file at a path, which is absolute or as the caller named
// it.
func newReader(path, absolute string) *reader {
	r := &reader{
		file:   path,
		folder: filepath.Dir(absolute),
		config: &Config{
			Path: absolute, StateDir: usualStateDir,
			Rules: &policy.Rules{
				Routes: route.Rules{Domains: make(map[string]*route.Domain)}, Tenants: make(tenant.Rules), Upstreams: make(map[string]policy.Upstream),
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
	r.Kinds = map[string]mistakes.Kind{"platform": mistakes.OfDomains, "domain": mistakes.OfDomains}
	return r
}

// keys returns the schema: every key of the file once, in the order of the reference. The
// tables' keys stand in the files of their sections, each before what is made of them and
// what holds between them.
func (r *reader) keys() schema.Schema {
	return slices.Concat(schema.Schema{
		r.topKeys(), listenKeys(), lookupKeys(), r.controlKeys(), metricsKeys(),
		platformKeys(), proofKeys(), upstreamKeys(), r.outsideKeys(), r.outsideResidenceKeys(), r.domainKeys(),
		pointKeys(), checkKeys(), malwareKeys(), ddosKeys(), spoofKeys(), r.clamdKeys(), r.rspamdKeys(),
		r.redisKeys(), rateKeys(), r.tlsKeys(),
	}, r.routeKeys(), schema.Schema{
		r.allowKeys(), r.archiveKeys(), r.quarantineKeys(), r.reportKeys(), messagesKeys(), r.probeKeys(), observeKeys(),
	})
}

// Default returns the text of a configuration in which every key stands with its meaning,
// and with its usual value or an example, all commented out. At least one [[listen]] and
// one [domain."NAME"] must be uncommented.
func Default() string {
	return newReader("", "").keys().Default("# The configuration of coexistd. A line that begins with # and no space is a setting: it shows what\n" +
		"# holds when nothing is said, or an example where nothing does. Needed are a [[listen]] with its address\n" +
		"# and a [domain.\"NAME\"] with its directory. The whole is told by contrib/docs/configuration.md.\n")
}

func (r *reader) note(format string, args ...any) {
	r.config.Notes = append(r.config.Notes, Note{Text: fmt.Sprintf(format, args...)})
}

// root reads the whole file, top to bottom. Platforms come before all that
// names them.
func (r *reader) root(t *schema.Table) {
	t.ReadSection()
	p := r.config.Rules
	r.top(t)
	if !r.readPlatforms(t) {
		return
	}
	r.readUpstreams(t)
	p.OurNetworks = networks.SetOf(r.readNetworks(t, "our_networks")...)
	p.OurCertificates = r.ourCertificates(t)
	p.Routes.Outbound = r.platformOrHere(t, "outbound")
	if way := p.Routes.Platform(p.Routes.Outbound); way != nil && way.MayRelay {
		t.Fail("outbound", "is %s, whose may_relay lets its users send to the Internet through us: their mail would go round; leave one of the two out", way.Name)
	}
	r.listeners(t)
	if len(r.config.Lookups) == 0 {
		for _, place := range r.relays {
			r.Fail(place, "needs a [[lookup]], by which the MTA learns whose mail the relay takes; add one")
		}
	}
	r.control(t)
	r.outsides(t)
	r.domains(t)
	r.scanners(t)
	r.redis(t)
	r.readRates(t)
	r.tls(t)
	r.routes(t)
	r.checks(t)
	r.placeRates()
	r.allow(t)
	r.archive(t)
	r.quarantine(t)
	r.messages(t)
	r.probe(t)
	r.observe(t)
	r.noteMode()
	r.refuseOverlaps()
}

// path makes a path from the file absolute.
func (r *reader) path(name string) string {
	if !filepath.IsAbs(name) {
		name = filepath.Join(r.folder, name)
	}
	return filepath.Clean(name)
}
