package main

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"reflect"
	"runtime"
	"slices"
	"time"

	"coexistd/milter/notice"
	"coexistd/milter/ownmail"
	"coexistd/milter/quarantine"
	"coexistd/policy/config"
	"coexistd/policy/seal"
	"coexistd/scanners"
	"coexistd/scanners/limits"
	"coexistd/scanners/networks"
)

// Here stands how each part of the daemon is made of a configuration, for the daemon and for
// the commands that look at one.

const (
	// malwareTime bounds the check of one message's attachments, which asks nobody.
	malwareTime = time.Minute
	// pingTime bounds the questions to the scanners at start.
	pingTime = 5 * time.Second
	// maxKeys bounds what rate limits count in this process's memory at once.
	maxKeys = 1_000_000
	// redisEnd is how long a Redis that a reload has replaced can still be asked. A
	// message asks that of the configuration with which it began, and an MTA can take
	// very long to send it.
	redisEnd = 2 * time.Hour
)

// newScanners makes the scanners of a configuration, with the spool's folder for
// what they unpack.
func newScanners(conf *config.Config, log *slog.Logger) *scanners.Runner {
	guards := []scanners.Guarded{{
		Scanner: scanners.NewAttachments(attachmentRules(conf)), Name: "attachments", Timeout: malwareTime,
		// It uses the processor alone; a few more fill the gaps.
		MaxScans: 4 * runtime.GOMAXPROCS(0),
	}}
	if c := conf.Clamd; c != nil {
		guards = append(guards, scanners.Guarded{Scanner: newClamd(c), Name: "clamd", Timeout: c.Timeout, MaxScans: c.MaxScans})
	}
	if c := conf.Rspamd; c != nil {
		guards = append(guards, scanners.Guarded{Scanner: newRspamd(conf), Name: "rspamd", Timeout: c.Timeout, MaxScans: c.MaxScans})
	}
	return scanners.NewRunner(log, guards...)
}

func newClamd(c *config.Clamd) *scanners.Clamd {
	return scanners.NewClamd(scanners.ClamdOptions{Addresses: c.Addresses, MaxSize: c.MaxSize, Timeout: c.Timeout})
}

func newRspamd(conf *config.Config) *scanners.Rspamd {
	c := conf.Rspamd
	return scanners.NewRspamd(scanners.RspamdOptions{Address: c.Address, MaxSize: c.MaxSize, Timeout: c.Timeout, Hostname: conf.Rules.Hostname})
}

// attachmentRules are those of the configuration, the usual list of extensions
// filled in.
func attachmentRules(conf *config.Config) scanners.AttachmentRules {
	m, rules := conf.Malware, scanners.DefaultAttachmentRules()
	rules.Macros, rules.Encrypted, rules.Mismatch, rules.Depth = m.Macros, m.Encrypted, m.Mismatch, m.Depth
	rules.TempDir = spoolDir(conf)
	if m.Extensions != nil {
		rules.Extensions = m.Extensions
	}
	rules.Extensions = append(rules.Extensions, m.Also...)
	rules.Extensions = slices.DeleteFunc(rules.Extensions, func(e string) bool { return slices.Contains(m.Except, e) })
	return rules
}

// spoolDir is the folder for what messages need of temporary files.
func spoolDir(conf *config.Config) string { return filepath.Join(conf.StateDir, "spool") }

// makeSpool makes that folder, whose messages are nobody else's to read.
func makeSpool(conf *config.Config) error {
	if err := os.MkdirAll(spoolDir(conf), 0o700); err != nil {
		return fmt.Errorf("the folder for long messages cannot be made: %w; state_dir must be a folder that coexistd may write to", err)
	}
	return nil
}

// newRedis makes the client of a configuration's Redis, or nil.
func newRedis(conf *config.Config) *limits.Redis {
	c := conf.Redis
	if c == nil {
		return nil
	}
	return limits.NewRedis(limits.RedisOptions{
		Addresses: c.Addresses, Master: c.Master, Username: c.Username, Password: c.Password, TLS: c.TLS,
	})
}

// useLimits returns what counts for a configuration: what does now, when that asks
// the same Redis.
func (d *running) useLimits(conf *config.Config) *limits.Keeper {
	if d.limits != nil && reflect.DeepEqual(d.conf.Redis, conf.Redis) {
		return d.limits
	}
	if old := d.limits; old != nil {
		time.AfterFunc(redisEnd, func() { old.Close() })
	}
	return limits.NewKeeper(d.log, newRedis(conf), d.memory)
}

// noticeSettings are those of a configuration: the administrators of the quarantine's
// summary are told of limits, and of mail without proof of its tenant, too.
func noticeSettings(conf *config.Config, keys seal.Keys) notice.Settings {
	report := conf.Quarantine.Report
	return notice.Settings{
		Rates: conf.Rules.Rates, Post: post(conf, keys), From: report.From, To: report.Summary, Zone: report.Zone,
	}
}

// unprovenPath is the file with the counts of mail without proof of its tenant.
func unprovenPath(conf *config.Config) string { return filepath.Join(conf.StateDir, "unproven.json") }

// post is where a configuration's own mail goes.
func post(conf *config.Config, keys seal.Keys) ownmail.Post {
	return ownmail.Post{Keys: keys, Delimiters: conf.Rules.Delimiters, MTA: conf.Quarantine.SMTP, Hostname: conf.Rules.Hostname}
}

// listsOf is what a configuration says of the platforms' networks.
func listsOf(conf *config.Config, resolver networks.Resolver) networks.Config {
	c := networks.Config{Dir: filepath.Join(conf.StateDir, "networks"), Resolver: resolver, Ours: conf.Rules.OurNetworks, Tenants: conf.Rules.Tenants}
	for _, p := range conf.Rules.Routes.Platforms {
		one := networks.Platform{Name: p.Name, Networks: conf.Listed[p.Name], MaxAge: conf.MaxAge[p.Name]}
		for _, source := range conf.Sources {
			if source.Platform == p.Name {
				one.Sources = append(one.Sources, networks.Source{Kind: source.Kind, Name: source.Name})
			}
		}
		c.Platforms = append(c.Platforms, one)
	}
	return c
}

// savedLists are the platforms' networks as far as nobody need be asked for them.
func savedLists(conf *config.Config) *networks.Lists {
	lists := networks.New(slog.New(slog.DiscardHandler), time.Now)
	lists.Configure(listsOf(conf, nil))
	return lists
}

func quarantineOptions(conf *config.Config, log *slog.Logger) quarantine.Options {
	q := conf.Quarantine
	return quarantine.Options{Dir: q.Dir, Keep: q.Keep, MaxBytes: q.MaxBytes, Zone: q.Report.Zone, Log: log}
}

// newReporter makes what sends the reports of a configuration.
func newReporter(conf *config.Config, keys seal.Keys, store *quarantine.Store, log *slog.Logger) *quarantine.Reporter {
	q := conf.Quarantine
	return &quarantine.Reporter{
		Store: store, Post: post(conf, keys),
		From: q.Report.From, Contact: q.Report.Contact, Summary: q.Report.Summary,
		Hour: q.Report.Hour, Minute: q.Report.Minute, Zone: q.Report.Zone, Keep: q.Keep, Log: log,
	}
}

// tellServers says in the log which servers answer. Mail does not wait for it.
func tellServers(ctx context.Context, conf *config.Config, log *slog.Logger) {
	ctx, cancel := context.WithTimeout(ctx, pingTime)
	defer cancel()
	tell := func(server, key string, at any, version string, err error) {
		if err != nil {
			log.Error(server+" does not answer", key, at, "error", err)
		} else {
			log.Info(server+" answers", key, at, "version", version)
		}
	}
	if redis := newRedis(conf); redis != nil {
		version, err := redis.Ping(ctx)
		redis.Close()
		tell("Redis", "addresses", conf.Redis.Addresses, version, err)
	}
	if conf.Clamd != nil {
		for _, status := range newClamd(conf.Clamd).Ping(ctx) {
			tell("clamd", "address", status.Address, status.Version, status.Err)
		}
	}
	if conf.Rspamd != nil {
		version, err := newRspamd(conf).Ping(ctx)
		tell("rspamd", "address", conf.Rspamd.Address, version, err)
	}
}
