package doctor

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"slices"
	"strings"
	"syscall"
)

// maxTable bounds how much of a table or a list is read, in bytes.
const maxTable = 64 << 20

// row is one entry of a lookup table.
type row struct{ key, value string }

// listable are the kinds of tables whose entries can be listed.
var listable = []string{"btree", "cdb", "dbm", "hash", "inline", "lmdb", "sdbm", "texthash"}

// rows lists a table. Listed is false for one of a kind that cannot be listed.
func (p *postfix) rows(ctx context.Context, table string) (list []row, listed bool, err error) {
	table = direct(table)
	kind, _, _ := strings.Cut(table, ":")
	if !slices.Contains(listable, kind) {
		return nil, false, nil
	}
	list, err = p.runPostmap(ctx, "", "-s", table)
	return list, true, err
}

// values asks a table for keys, and returns what it has for those that it has.
func (p *postfix) values(ctx context.Context, table string, keys []string) (map[string]string, error) {
	list, err := p.runPostmap(ctx, strings.Join(keys, "\n")+"\n", "-q", "-", direct(table))
	found := make(map[string]string)
	for _, one := range list {
		found[one.key] = one.value
	}
	return found, err
}

// direct is a table as others than Postfix's daemons reach it.
func direct(table string) string { return strings.TrimPrefix(table, "proxy:") }

// runPostmap runs the command postmap, which is Postfix's own reader of tables.
func (p *postfix) runPostmap(ctx context.Context, in string, args ...string) ([]row, error) {
	ctx, cancel := context.WithTimeout(ctx, questionTime)
	defer cancel()
	cmd := exec.CommandContext(ctx, p.postmap, append([]string{"-c", p.main["config_directory"]}, args...)...)
	cmd.WaitDelay = questionTime
	var out, complaint bounded
	cmd.Stdin, cmd.Stdout, cmd.Stderr = strings.NewReader(in), &out, &complaint
	err := cmd.Run()
	told := strings.TrimSpace(complaint.String())
	if failed, is := errors.AsType[*exec.ExitError](err); is && failed.ExitCode() == 1 && told == "" {
		return nil, nil // It has none of the keys, or no entries.
	}
	if err != nil {
		if lines := strings.Split(told, "\n"); lines[len(lines)-1] != "" {
			err = errors.New(lines[len(lines)-1])
		}
		return nil, fmt.Errorf("%.300s", err)
	}
	var list []row
	for line := range strings.Lines(out.String()) {
		key, value, _ := strings.Cut(strings.TrimSuffix(line, "\n"), "\t")
		list = append(list, row{key, value})
	}
	return list, nil
}

// bounded keeps the beginning of what a program prints.
type bounded struct{ bytes.Buffer }

func (b *bounded) Write(text []byte) (int, error) {
	b.Buffer.Write(text[:min(len(text), max(0, maxTable-b.Len()))])
	return len(text), nil
}

// tables are the lookup tables that a setting names, those in unionmap:{one, two} one by
// one. What pipemap and the like make of their tables, nobody can tell without asking.
func tables(value string) []string {
	var list []string
	for _, one := range postfixList(value) {
		one = direct(one)
		if inner, is := strings.CutPrefix(one, "unionmap:{"); is {
			list = append(list, tables(strings.TrimSuffix(inner, "}"))...)
			continue
		}
		list = append(list, one)
	}
	return list
}

// members tells which domains a list of domains has: names, files of them, tables and
// exceptions, of which the first that fits a domain counts (postconf(5), mydestination).
// Our own lookups, which know addresses alone, are not asked. The error says that some of the
// list cannot be read; what is found is so all the same.
func (x *examination) members(ctx context.Context, setting string, domains []string) (found map[string]bool, err error) {
	p := x.mta
	parents := slices.Contains(postfixList(p.main["parent_domain_matches_subdomains"]), setting)
	found, judged := make(map[string]bool), make(map[string]bool)
	patterns, err := withFiles(postfixList(p.main[setting]))
	for _, pattern := range patterns {
		pattern, except := strings.CutPrefix(pattern, "!")
		if p.isAnyOfOurs(pattern, x.conf.Lookups) {
			continue
		}
		fits := func(domain string) bool { return fitsDomain(pattern, domain, parents) }
		if strings.Contains(pattern, ":") {
			has, failed := p.values(ctx, pattern, withParents(domains, parents))
			if failed != nil {
				err = errors.Join(err, fmt.Errorf("%s: %w", pattern, failed))
			}
			fits = func(domain string) bool {
				return slices.ContainsFunc(withParents([]string{domain}, parents), func(name string) bool { _, is := has[name]; return is })
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

// withParents are the names by which tables are asked for domains.
func withParents(domains []string, parents bool) []string {
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
		if failed != nil {
			err = errors.Join(err, fmt.Errorf("%s: %w", path, because(failed)))
		}
		for line := range strings.Lines(text) {
			if strings.HasPrefix(strings.TrimSpace(line), "#") {
				continue
			}
			for _, name := range postfixList(strings.TrimSpace(line)) {
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
