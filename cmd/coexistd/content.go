package main

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"time"

	"coexistd/policy/config"
	"coexistd/scanners"
)

const (
	// malwareTime bounds the check of one message's attachments, which asks nobody.
	malwareTime = time.Minute
	// pingTime bounds the questions to the scanners at start.
	pingTime = 5 * time.Second
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
