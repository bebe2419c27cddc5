package postconf

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"syscall"

	"coexistd/policy/config"
	"coexistd/policy/mail"
)

// maxTable bounds how much of a table or a list is read, in bytes.
const maxTable = 64 << 20

// Row is one entry of a lookup table.
type Row struct{ Key, Value string }

// IsListable reports a table of a kind whose entries can be listed.
func IsListable(table string) bool {
	kind, _, _ := strings.Cut(Direct(table), ":")
	return slices.Contains([]string{"btree", "cdb", "dbm", "hash", "inline", "lmdb", "sdbm", "texthash"}, kind)
}

// IsOfPatterns reports a table that Postfix asks for whole addresses alone.
func IsOfPatterns(table string) bool {
	kind, _, _ := strings.Cut(Direct(table), ":")
	return kind == "regexp" || kind == "pcre"
}

// Rows lists a table. Listed is false for one of a kind that cannot be listed.
func (p *Settings) Rows(ctx context.Context, table string) (list []Row, listed bool, err error) {
	if !IsListable(table) {
		return nil, false, nil
	}
	list, err = p.runPostmap(ctx, "", "-s", Direct(table))
	return list, true, err
}

// Values asks a table for keys, and returns what it has for those that it has.
func (p *Settings) Values(ctx context.Context, table string, keys []string) (map[string]string, error) {
	list, err := p.runPostmap(ctx, strings.Join(keys, "\n")+"\n", "-q", "-", Direct(table))
	found := make(map[string]string)
	for _, one := range list {
		found[one.Key] = one.Value
	}
	return found, err
}

// Direct is a table as others than Postfix's daemons reach it.
func Direct(table string) string { return strings.TrimPrefix(table, "proxy:") }

// repeated is what Postfix's commands say of a setting that main.cf has more than once, as mailcow's
// has what its administrator adds. The last one counts.
var repeated = regexp.MustCompile(`(?m)^.* warning: .*: overriding earlier entry: .*\n?`)

// runPostmap runs the command postmap, which is Postfix's own reader of tables.
func (p *Settings) runPostmap(ctx context.Context, in string, args ...string) ([]Row, error) {
	ctx, cancel := context.WithTimeout(ctx, endTime)
	defer cancel()
	cmd := exec.CommandContext(ctx, p.Postmap, append([]string{"-c", p.Main["config_directory"]}, args...)...)
	cmd.WaitDelay = endTime
	var out, complaint bounded
	cmd.Stdin, cmd.Stdout, cmd.Stderr = strings.NewReader(in), &out, &complaint
	err := cmd.Run()
	told := strings.TrimSpace(repeated.ReplaceAllString(complaint.String(), ""))
	if failed, is := errors.AsType[*exec.ExitError](err); is && failed.ExitCode() == 1 && told == "" {
		return nil, nil // It has none of the keys, or no entries.
	}
	if err != nil {
		if lines := strings.Split(told, "\n"); lines[len(lines)-1] != "" {
			err = errors.New(lines[len(lines)-1])
		}
		return nil, fmt.Errorf("%.300s", err)
	}
	var list []Row
	for line := range strings.Lines(out.String()) {
		key, value, _ := strings.Cut(strings.TrimSuffix(line, "\n"), "\t")
		list = append(list, Row{key, value})
	}
	return list, nil
}

// bounded keeps the beginning of what a program prints.
type bounded struct{ bytes.Buffer }

func (b *bounded) Write(text []byte) (int, error) {
	b.Buffer.Write(text[:min(len(text), max(0, maxTable-b.Len()))])
	return len(text), nil
}

// Tables are the lookup tables that a setting names, those in unionmap:{one, two} one by
// one. What pipemap and the like make of their tables, nobody can tell without asking.
func Tables(value string) []string {
	var list []string
	for _, one := range List(value) {
		one = Direct(one)
		if inner, is := strings.CutPrefix(one, "unionmap:{"); is {
			list = append(list, Tables(strings.TrimSuffix(inner, "}"))...)
			continue
		}
		list = append(list, one)
	}
	return list
}

// Members tells which domains a list of domains has: names, files of them, tables and
// exceptions, of which the first that fits a domain counts (postconf(5), mydestination).
// Our own lookups, which know addresses alone, are not asked. The error says that some of the
// list cannot be read; what is found is so all the same.
func (p *Settings) Members(ctx context.Context, setting string, domains []string, lookups []config.Listener) (found map[string]bool, err error) {
	parents := slices.Contains(List(p.Main["parent_domain_matches_subdomains"]), setting)
	found, judged := make(map[string]bool), make(map[string]bool)
	patterns, err := withFiles(List(p.Main[setting]))
	for _, pattern := range patterns {
		pattern, except := strings.CutPrefix(pattern, "!")
		if p.IsAnyOfOurs(pattern, lookups) {
			continue
		}
		fits := func(domain string) bool { return fitsDomain(pattern, domain, parents) }
		if strings.Contains(pattern, ":") {
			has, failed := p.Values(ctx, pattern, WithParents(domains, parents))
			if failed != nil {
				err = errors.Join(err, fmt.Errorf("%s: %w", pattern, failed))
			}
			fits = func(domain string) bool {
				return slices.ContainsFunc(WithParents([]string{domain}, parents), func(name string) bool { _, is := has[name]; return is })
			}
		}
		for _, domain := range domains {
			if !judged[domain] && fits(domain) {
				judged[domain], found[domain] = true, !except
			}
		}
	}
	return found, err
}

// fitsDomain reports that a domain is what a pattern names, or with parents below it.
func fitsDomain(pattern, domain string, parents bool) bool {
	pattern = strings.ToLower(pattern)
	if strings.HasPrefix(pattern, ".") {
		return !parents && strings.HasSuffix(domain, pattern)
	}
	return pattern == domain || parents && strings.HasSuffix(domain, "."+pattern)
}

// WithParents are the names by which tables are asked for domains.
func WithParents(domains []string, parents bool) []string {
	list := slices.Clone(domains)
	for _, domain := range domains {
		for parents {
			_, parent, more := strings.Cut(domain, ".")
			if !more {
				break
			}
			domain = parent
			list = append(list, domain)
		}
	}
	return list
}

// withFiles replaces the names of files in a list by what they list.
func withFiles(list []string) (all []string, err error) {
	for _, one := range list {
		path, except := strings.CutPrefix(one, "!")
		if !strings.HasPrefix(path, "/") {
			all = append(all, one)
			continue
		}
		text, failed := readBounded(path)
		err = errors.Join(err, failed)
		for line := range strings.Lines(text) {
			if strings.HasPrefix(strings.TrimSpace(line), "#") {
				continue
			}
			for _, name := range List(strings.TrimSpace(line)) {
				if except {
					name = "!" + name
				}
				all = append(all, name)
			}
		}
	}
	return all, err
}

// readBounded reads the beginning of a file.
func readBounded(path string) (string, error) {
	// A FIFO without a writer must not hold up the doctor.
	file, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return "", err
	}
	defer file.Close()
	text, err := io.ReadAll(io.LimitReader(file, maxTable))
	return string(text), err
}

// Origin is the domain that Postfix gives to names without one. Debian's Postfix takes it from
// the first line of a file where myOrigin is a path, such as /etc/mailname.
func (p *Settings) Origin() (string, error) {
	name := p.Main["myorigin"]
	if strings.HasPrefix(name, "/") {
		text, err := readBounded(name)
		if err != nil {
			return "", err
		}
		name, _, _ = strings.Cut(text, "\n")
	}
	domain, _ := mail.NormalDomain(strings.TrimSpace(name))
	return domain, nil
}
