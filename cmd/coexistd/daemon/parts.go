package daemon

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"time"

	"coexistd/milter/messages"
	"coexistd/milter/notice"
	"coexistd/milter/ownmail"
	"coexistd/milter/quarantine"
	"coexistd/policy/config"
	"coexistd/policy/seal"
	"coexistd/scanners"
	"coexistd/scanners/attachments"
	"coexistd/scanners/clamd"
	"coexistd/scanners/limits"
	"coexistd/scanners/networks"
	"coexistd/scanners/rspamd"
	"coexistd/scanners/sender"
)

// Here stands how each part of the daemon is made of a configuration, for the daemon and for
// the commands that look at one.

const (
	// malwareTime bounds the check of one message's attachments, which asks nobody.
	malwareTime = time.Minute
	// pingTime bounds the questions to the scanners at start.
	pingTime = 5 * time.Second
)

// Settings by which the scanners are found.
type (
	attachmentSettings struct{ attachments.Rules }
	clamdSettings      struct{ *config.Clamd }
	rspamdSettings     struct {
		*config.Rspamd
		hostname string
	}
)

// holdScanners returns the scanners of a configuration, with the spool's folder for what
// they unpack. One that stays as it is keeps what it knows of its server, whatever else has
// changed.
func holdScanners(h *holds, conf *config.Config, log *slog.Logger) *scanners.Runner {
	guards := []*scanners.Guard{hold(h, attachmentSettings{attachmentRules(conf)}, func(s attachmentSettings) (*scanners.Guard, func()) {
		return scanners.NewGuard(log, scanners.Guarded{
			Scanner: attachments.New(s.Rules), Name: "attachments", Timeout: malwareTime,
			// It uses the processor alone; a few more fill the gaps.
			MaxScans: 4 * runtime.GOMAXPROCS(0),
		}), nil
	})}
	if conf.Clamd != nil {
		guards = append(guards, hold(h, clamdSettings{conf.Clamd}, func(s clamdSettings) (*scanners.Guard, func()) {
			client := NewClamd(s.Clamd)
			answers := func(ctx context.Context) bool {
				return slices.ContainsFunc(client.Ping(ctx), func(one clamd.Status) bool { return one.Err == nil })
			}
			return scanners.NewGuard(log, scanners.Guarded{Scanner: client, Name: "clamd", Timeout: s.Timeout, Answers: answers, MaxScans: s.MaxScans}), nil
		}))
	}
	if conf.Rspamd != nil {
		guards = append(guards, hold(h, rspamdSettings{conf.Rspamd, conf.Rules.Hostname}, func(s rspamdSettings) (*scanners.Guard, func()) {
			client := NewRspamd(conf)
			answers := func(ctx context.Context) bool {
				_, err := client.Ping(ctx)
				return err == nil
			}
			return scanners.NewGuard(log, scanners.Guarded{Scanner: client, Name: "rspamd", Timeout: s.Timeout, Answers: answers, MaxScans: s.MaxScans}), nil
		}))
	}
	return scanners.NewRunner(guards...)
}

// NewClamd makes the client of clamd.
func NewClamd(c *config.Clamd) *clamd.Scanner {
	return clamd.New(clamd.Options{Addresses: c.Addresses, MaxSize: c.MaxSize, Timeout: c.Timeout})
}

// NewRspamd makes the client of a configuration's rspamd, which must be there.
func NewRspamd(conf *config.Config) *rspamd.Scanner {
	c := conf.Rspamd
	return rspamd.New(rspamd.Options{Address: c.Address, MaxSize: c.MaxSize, Timeout: c.Timeout, Hostname: conf.Rules.Hostname})
}

// NewTrainer makes what has a configuration's rspamd learn, which must be there.
func NewTrainer(conf *config.Config) *rspamd.Trainer {
	c := conf.Rspamd
	return rspamd.NewTrainer(rspamd.Options{Address: c.Controller, MaxSize: c.MaxSize, Timeout: c.Timeout, Hostname: conf.Rules.Hostname}, c.Password)
}

// attachmentRules are those of the configuration, the usual list of extensions
// filled in.
func attachmentRules(conf *config.Config) attachments.Rules {
	m, rules := conf.Malware, attachments.DefaultRules()
	rules.Macros, rules.Encrypted, rules.Mismatch, rules.Smuggling, rules.Depth = m.Macros, m.Encrypted, m.Mismatch, m.Smuggling, m.Depth
	rules.TempDir = SpoolDir(conf)
	if m.Extensions != nil {
		rules.Extensions = m.Extensions
	}
	rules.Extensions = append(rules.Extensions, m.Also...)
	rules.Extensions = slices.DeleteFunc(rules.Extensions, func(e string) bool { return slices.Contains(m.Except, e) })
	return rules
}

// SpoolDir is the folder for what messages need of temporary files.
func SpoolDir(conf *config.Config) string { return filepath.Join(conf.StateDir, spoolName) }

const spoolName = "spool"

// ControlPath is the socket of the daemon's own commands.
func ControlPath(conf *config.Config) string { return strings.TrimPrefix(conf.Control, "unix:") }

// makeSpool makes that folder, whose messages are nobody else's to read.
func makeSpool(conf *config.Config) error {
	if err := os.MkdirAll(SpoolDir(conf), 0o700); err != nil {
		return fmt.Errorf("the folder for long messages cannot be made: %w; state_dir must be a folder that coexistd may write to", err)
	}
	return nil
}

// NewRedis makes the client of a configuration's Redis, or nil.
func NewRedis(conf *config.Config) *limits.Redis {
	c := conf.Redis
	if c == nil {
		return nil
	}
	return limits.NewRedis(limits.RedisOptions{
		Addresses: c.Addresses, Master: c.Master, Username: c.Username, Password: c.Password, TLS: c.TLS,
	})
}

// redisSettings are those by which a Redis is found; nil: it is this process's memory.
type redisSettings struct{ *config.Redis }

// holdLimits returns what counts for a configuration: what does already, when that asks
// the same Redis.
func holdLimits(h *holds, conf *config.Config, memory *limits.Memory, log *slog.Logger) *limits.Keeper {
	return hold(h, redisSettings{conf.Redis}, func(redisSettings) (*limits.Keeper, func()) {
		keeper := limits.NewKeeper(log, NewRedis(conf), memory)
		return keeper, func() { keeper.Close() }
	})
}

// resolverSettings are those by which a resolver, with its cache, is found.
type resolverSettings []string

func newResolver(s resolverSettings) (*sender.Resolver, func()) { return sender.NewResolver(s), nil }

// noticeSettings are those of a configuration: the administrators of the quarantine's
// summary are told of limits, and of mail without proof of its tenant, too.
func noticeSettings(conf *config.Config, keys seal.Keys) notice.Settings {
	report := conf.Quarantine.Report
	return notice.Settings{
		Rates: conf.Rules.Rates, Post: post(conf, keys), From: report.From, To: report.Summary, Zone: report.Zone,
	}
}

// observing is what a configuration says of observed mail: the summary is sent at the first time of
// day at which the quarantine's reports are.
func observing(conf *config.Config) notice.Observing {
	o := notice.Observing{Path: ObservedPath(conf), Any: conf.Rules.Mode() != "enforce", Ready: Ready(conf)}
	if at := conf.Quarantine.Report.At; len(at) > 0 {
		o.At = &at[0]
	}
	return o
}

// Ready says when observed mail is ready to be enforced.
func Ready(conf *config.Config) notice.Ready {
	return notice.Ready{After: conf.Observe.ReadyAfter, Expected: conf.Observe.Expected}
}

// ObservedPath is the file with the counts of observed mail.
func ObservedPath(conf *config.Config) string { return filepath.Join(conf.StateDir, "observed.json") }

// UnprovenPath is the file with the counts of mail without proof of its tenant.
func UnprovenPath(conf *config.Config) string { return filepath.Join(conf.StateDir, "unproven.json") }

// post is where a configuration's own mail goes.
func post(conf *config.Config, keys seal.Keys) ownmail.Post {
	return ownmail.Post{Keys: keys, Delimiters: conf.Rules.Delimiters, MTA: conf.Quarantine.SMTP, Hostname: conf.Rules.Hostname}
}

// listsOf is what a configuration says of the platforms' and the upstreams' networks.
func listsOf(conf *config.Config, resolver networks.Resolver) networks.Config {
	c := networks.Config{Dir: filepath.Join(conf.StateDir, "networks"), Resolver: resolver, Ours: conf.Rules.OurNetworks, Tenants: conf.Rules.Tenants}
	add := func(name string, upstream bool) {
		one := networks.Platform{Name: name, Upstream: upstream, Networks: conf.Listed[name], MaxAge: conf.MaxAge[name]}
		for _, source := range conf.Sources {
			if source.Platform == name {
				one.Sources = append(one.Sources, networks.Source{Kind: source.Kind, Name: source.Name})
			}
		}
		c.Platforms = append(c.Platforms, one)
	}
	for _, p := range conf.Rules.Routes.Platforms {
		add(p.Name, false)
	}
	for _, name := range slices.Sorted(maps.Keys(conf.Rules.Upstreams)) {
		add(name, true)
	}
	return c
}

// SavedLists are the platforms' and the upstreams' networks as far as nobody need be asked for them.
func SavedLists(conf *config.Config) *networks.Lists {
	lists := networks.New(slog.New(slog.DiscardHandler), time.Now)
	lists.Configure(listsOf(conf, nil))
	return lists
}

// QuarantineOptions are those of the store of a configuration.
func QuarantineOptions(conf *config.Config, log *slog.Logger) quarantine.Options {
	q := conf.Quarantine
	return quarantine.Options{Dir: q.Dir, Keep: q.Keep, MaxBytes: q.MaxBytes, Zone: q.Report.Zone, Log: log}
}

// MessagesOptions are those of the records of messages of a configuration.
func MessagesOptions(conf *config.Config, log *slog.Logger) messages.Options {
	return messages.Options{
		Path: filepath.Join(conf.StateDir, "messages.db"), Keep: conf.Messages.Keep, MTALog: conf.Messages.MTALog, Delimiters: conf.Rules.Delimiters, Log: log,
	}
}

// holdMessages returns what keeps the records of messages.
func holdMessages(h *holds, conf *config.Config, log *slog.Logger) *messages.Index {
	return hold(h, MessagesOptions(conf, log), func(o messages.Options) (*messages.Index, func()) {
		x := messages.New(o)
		return x, x.Stop
	})
}

// ReadTexts reads the organisation's own texts of a configuration. The error has a line for
// each mistake.
func ReadTexts(conf *config.Config) (*quarantine.Texts, error) {
	var list []quarantine.Template
	for _, one := range conf.Quarantine.Templates {
		list = append(list, quarantine.Template(one))
	}
	return quarantine.ReadTexts(list)
}

// NewReporter makes what sends the reports of a configuration, by texts of its own or, with
// nil, the built-in ones.
func NewReporter(conf *config.Config, keys seal.Keys, store *quarantine.Store, texts *quarantine.Texts, log *slog.Logger) *quarantine.Reporter {
	q := conf.Quarantine
	return &quarantine.Reporter{
		Store: store, Post: post(conf, keys),
		From: q.Report.From, Contact: q.Report.Contact, Summary: q.Report.Summary,
		At: q.Report.At, Zone: q.Report.Zone, Keep: q.Keep, Log: log, Texts: texts,
		TextFailed: func(err error) {
			log.Error("a text of [quarantine] templates cannot be used: mails have the built-in one", "error", err)
		},
	}
}

// tellServers says in the log which servers answer, and has those who stand before them know.
// Mail does not wait for it.
func tellServers(ctx context.Context, g *generation, log *slog.Logger) {
	ctx, cancel := context.WithTimeout(ctx, pingTime)
	defer cancel()
	tell := func(server, key string, at any, version string, err error) string {
		if err != nil {
			log.Error(server+" does not answer", key, at, "error", err)
			return err.Error()
		}
		log.Info(server+" answers", key, at, "version", version)
		return ""
	}
	conf := g.conf
	if redis := NewRedis(conf); redis != nil {
		version, err := redis.Ping(ctx)
		redis.Close()
		g.limits.Heard(tell("Redis", "addresses", conf.Redis.Addresses, version, err))
	}
	if conf.Clamd != nil {
		var reasons []string
		for _, status := range NewClamd(conf.Clamd).Ping(ctx) {
			reasons = append(reasons, tell("clamd", "address", status.Address, status.Version, status.Err))
		}
		g.scanners.Heard("clamd", slices.Min(reasons)) // "" where one of them answers
	}
	if conf.Rspamd != nil {
		version, err := NewRspamd(conf).Ping(ctx)
		g.scanners.Heard("rspamd", tell("rspamd", "address", conf.Rspamd.Address, version, err))
	}
}
