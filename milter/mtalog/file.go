package mtalog

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"io"
	"io/fs"
	"os"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
)

const (
	// chunkSize is how much of a file is read at once, and longestLine what a line may have:
	// one that is longer says nothing.
	chunkSize   = 256 << 10
	longestLine = 16 << 10
	// tailSize is how much of what was read a Position knows.
	tailSize = 1 << 10
)

// part is a file of the log that is open: the one of that name, or one that it was renamed or
// copied to.
type part struct {
	*os.File
	at      Position
	skipped bool // a line is being read that is too long
}

// followFile follows the file until something fails.
func (f *Follower) followFile(ctx context.Context) error {
	var current *part
	defer func() {
		if current != nil {
			current.Close()
		}
	}()
	for {
		var err error
		if current, err = f.readOn(ctx, current); err != nil {
			return err
		}
		f.note(nil)
		next, err := f.successor(current)
		if err != nil {
			return err
		}
		if next != nil {
			// Who writes has gone over to the next one, so that this is the end.
			if current, err = f.readAll(ctx, append(f.between(current, next), next)); err != nil {
				return err
			}
		} else if !wait(ctx, f.poll) {
			return ctx.Err()
		}
	}
}

// readOn reads what is new, of the file that is open or, where there is none or what was read
// of it is gone, of those that are to be read. It returns the one that is open then.
func (f *Follower) readOn(ctx context.Context, current *part) (*part, error) {
	if current != nil && current.holds() {
		return current, f.read(ctx, current)
	}
	if current != nil {
		current.Close()
	}
	parts, err := f.pending()
	if err != nil {
		return nil, err
	}
	return f.readAll(ctx, parts)
}

// readAll reads parts to their ends, and returns the last.
func (f *Follower) readAll(ctx context.Context, parts []*part) (last *part, err error) {
	for i, p := range parts {
		if err == nil {
			err = f.read(ctx, p)
		}
		if err != nil || i < len(parts)-1 {
			p.Close()
			continue
		}
		last = p
	}
	return last, err
}

// successor opens the file that now has the log's name, if that is another one. While it is
// empty, the MTA may still write to the one before.
func (f *Follower) successor(current *part) (*part, error) {
	named, err := os.Stat(f.options.Source)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	read, err := current.Stat()
	if err != nil || named.Size() == 0 || os.SameFile(named, read) {
		return nil, err
	}
	return open(f.options.Source)
}

// between returns a file that was read, and those behind it that were renamed already when the
// next one was found.
func (f *Follower) between(read, next *part) (parts []*part) {
	parts = append(parts, read)
	info, err := read.Stat()
	if err != nil {
		return parts
	}
	for _, path := range rotated(f.options.Source) {
		p, err := open(path)
		if err != nil {
			continue
		}
		its, err := p.Stat()
		if err == nil && its.ModTime().After(info.ModTime()) && !same(p, read) && !same(p, next) {
			parts = append(parts, p)
		} else {
			p.Close()
		}
	}
	return parts
}

// open opens a file that can be a log.
func open(path string) (*part, error) {
	// Of a pipe, the opening waits for a writer without O_NONBLOCK.
	file, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if errors.Is(err, fs.ErrPermission) {
		return nil, fmt.Errorf("%w%s", err, remedy(path))
	}
	if err != nil {
		return nil, err
	}
	info, err := file.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = fmt.Errorf("%s is no file (it is of the kind %s); name the file that syslog writes the MTA's log to", path, info.Mode().Type())
	}
	if err != nil {
		file.Close()
		return nil, err
	}
	return &part{File: file}, nil
}

// Check tells why this process could not follow a file; nil: it could.
func Check(path string) error {
	p, err := open(path)
	if err != nil {
		return err
	}
	return p.Close()
}

// remedy says who may read a file.
func remedy(path string) string {
	info, err := os.Stat(path)
	if err != nil {
		return "; the user of coexistd must be let into its folder"
	}
	me := strconv.Itoa(os.Geteuid())
	if account, err := user.LookupId(me); err == nil {
		me = account.Username
	}
	const groupReads = 0o040
	owner, ok := info.Sys().(*syscall.Stat_t)
	if !ok || info.Mode()&groupReads == 0 {
		return fmt.Sprintf("; let its group read it (chmod g+r, and the same in the configuration of logrotate and syslog), and put the user %s into that", me)
	}
	const unknown = 65534 // of a group outside the user namespace that systemd has put the daemon in
	group := strconv.Itoa(int(owner.Gid))
	if known, err := user.LookupGroupId(group); err == nil {
		group = known.Name
	}
	if owner.Gid == unknown {
		group = "GROUP (which ls -l names)"
	}
	return fmt.Sprintf("; its group may read it: usermod -a -G %s %s, and restart coexistd", group, me)
}

// pending opens what is to be read from the position on: the file of the log's name where it is
// the one that was read, and otherwise the one that is, and all that are younger.
func (f *Follower) pending() (parts []*part, err error) {
	current, err := open(f.options.Source)
	missing := errors.Is(err, fs.ErrNotExist)
	if err != nil && !missing {
		return nil, err
	}
	if !missing && current.begin(f.position) {
		return []*part{current}, nil
	}
	parts, lost := f.unread(current)
	if lost && f.position != (Position{}) {
		f.lose()
	}
	switch {
	case missing && len(parts) == 0:
		return nil, fmt.Errorf("%s does not exist; name the file that syslog writes the MTA's log to", f.options.Source)
	case missing:
	case len(parts) > 0 && current.isEmpty():
		current.Close()
	default:
		parts = append(parts, current)
	}
	return parts, nil
}

// unread opens what logrotate has left of the files that are to be read. What was read may be
// packed by now, and what stood behind it is lost. Current is the file of the log's name; nil:
// there is none.
func (f *Follower) unread(current *part) (parts []*part, lost bool) {
	var younger []*part
	for _, path := range rotated(f.options.Source) {
		p, err := open(path)
		if err != nil {
			continue // it was removed or packed by now
		}
		info, err := p.Stat()
		switch {
		case current != nil && same(p, current):
			p.Close() // it was renamed just now
		case len(parts) > 0 || p.begin(f.position):
			parts = append(parts, p)
		case err == nil && info.ModTime().After(f.position.Time):
			younger = append(younger, p)
		default:
			p.Close()
		}
	}
	if len(parts) == 0 {
		return younger, true
	}
	for _, p := range younger {
		p.Close()
	}
	return parts, false
}

func same(a, b *part) bool {
	one, err := a.Stat()
	if err != nil {
		return false
	}
	other, err := b.Stat()
	return err == nil && os.SameFile(one, other)
}

// rotated names the files that logrotate has made of a log, the oldest first, but for those
// that it has packed.
func rotated(path string) (paths []string) {
	type one struct {
		path string
		time time.Time
	}
	var all []one
	folder, name := filepath.Split(path)
	entries, _ := os.ReadDir(filepath.Clean(folder + "."))
	for _, entry := range entries {
		behind, ok := strings.CutPrefix(entry.Name(), name)
		// .1 and .2, or -20060102 and -20060102-1136239445
		if !ok || behind == "" || behind[0] != '.' && behind[0] != '-' || strings.Trim(behind[1:], "0123456789-") != "" {
			continue
		}
		if info, err := entry.Info(); err == nil && info.Mode().IsRegular() {
			all = append(all, one{filepath.Join(folder, entry.Name()), info.ModTime()})
		}
	}
	slices.SortFunc(all, func(a, b one) int { return a.time.Compare(b.time) })
	for _, one := range all {
		paths = append(paths, one.path)
	}
	return paths
}

// begin goes to a position, if the file is the one that it is of.
func (p *part) begin(at Position) bool {
	p.at = at
	if p.holds() {
		return true
	}
	p.at = Position{}
	return false
}

// holds reports that what was read of the file stands there still.
func (p *part) holds() bool {
	tail, err := p.tail(p.at.Offset)
	return err == nil && tail == p.at.Tail
}

// tail is the hash of what stands before an offset.
func (p *part) tail(offset int64) (uint64, error) {
	if offset == 0 {
		return 0, nil
	}
	b := make([]byte, min(offset, tailSize))
	if _, err := p.ReadAt(b, offset-int64(len(b))); err != nil {
		return 0, err
	}
	hash := fnv.New64a()
	hash.Write(b)
	return hash.Sum64(), nil
}

func (p *part) isEmpty() bool {
	info, err := p.Stat()
	return err != nil || info.Size() == 0
}

// read reads a part to its end.
func (f *Follower) read(ctx context.Context, p *part) error {
	if f.chunk == nil {
		f.chunk = make([]byte, chunkSize)
	}
	for ctx.Err() == nil {
		n, err := p.ReadAt(f.chunk, p.at.Offset)
		if err != nil && !errors.Is(err, io.EOF) {
			return err
		}
		lines, used := p.lines(f.chunk[:n], n == len(f.chunk))
		if used == 0 {
			return nil
		}
		at := Position{Offset: p.at.Offset + int64(used), Time: p.at.Time}
		if len(lines) > 0 {
			at.Time = lines[len(lines)-1].Time
		}
		if at.Tail, err = p.tail(at.Offset); err != nil {
			return err
		}
		if err := f.take(ctx, lines, at); err != nil {
			return err
		}
		p.at = at
	}
	return ctx.Err()
}

// lines cuts what was read into lines, and tells how much of it they are. A line that has not
// ended is left, unless it fills all that is read at once.
func (p *part) lines(chunk []byte, full bool) (lines []Line, used int) {
	now := time.Now()
	for {
		end := bytes.IndexByte(chunk[used:], '\n')
		if end < 0 {
			break
		}
		text := chunk[used : used+end]
		used += end + 1
		if p.skipped || len(text) > longestLine {
			p.skipped = false
			continue
		}
		if line, ok := ParseLine(string(text), now); ok {
			lines = append(lines, line)
		}
	}
	if used == 0 && full {
		p.skipped = true
		return nil, len(chunk)
	}
	return lines, used
}
