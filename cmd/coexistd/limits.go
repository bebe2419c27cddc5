package main

import (
	"path/filepath"
	"reflect"
	"time"

	"coexistd/milter/notice"
	"coexistd/milter/ownmail"
	"coexistd/policy/config"
	"coexistd/policy/seal"
	"coexistd/scanners/limits"
)

const (
	// maxKeys bounds what rate limits count in this process's memory at once.
	maxKeys = 1_000_000
	// redisEnd is how long a Redis that a reload has replaced can still be asked. A
	// message asks that of the configuration with which it began, and an MTA can take
	// very long to send it.
	redisEnd = 2 * time.Hour
)

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
