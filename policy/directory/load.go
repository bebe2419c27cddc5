package directory

import (
	"errors"
	"fmt"
	"hash/maphash"
	"io"
	"io/fs"
	"maps"
	"os"
	"slices"
	"strings"
	"syscall"
	"time"

	"coexistd/policy"
)

// maxFile is the largest file that is read, in bytes. Offsets into the arena
// are 32 bits wide, and no row takes four times its length there.
const maxFile = 1 << 30

// Source says which file holds the addresses of which domains.
type Source struct {
	// Path names a CSV file (RFC 4180) with a header line. The columns address
	// and residence are required; the order is free.
	Path string
	// Domains are the domains that the file may list, by their normal form. A
	// row of any other domain is a bad row.
	Domains map[string]*policy.Domain
	// MaxLoss is the share of the addresses, from 0 to 1, that a reload may
	// drop.
	MaxLoss float64
	// Delimiters are those of policy.Policy.
	Delimiters string
	// Limits names the columns, in lower case, that hold accounts' own limits. The
	// file must have them all. A value that is not empty is a whole number, at least
	// 1 and at most a million million, or "unlimited" in any case.
	Limits []string
}

// refusesUnlisted reports a domain in which only listed addresses exist.
func (s Source) refusesUnlisted() bool {
	for _, domain := range s.Domains {
		if !domain.AcceptUnlisted {
			return true
		}
	}
	return false
}

// Load reads a directory file. A file with bad rows is refused with an error of
// type *Errors, which names them all. So is a file without rows, unless its
// domains say where unlisted addresses live.
func Load(s Source) (*File, error) {
	text, seen, err := read(s.Path)
	if err != nil {
		return nil, err
	}
	return build(s, text, seen)
}

// Reload reads the file again and returns the new list, or nil when the file is
// the same as before. A list that lacks more than Source.MaxLoss of the present
// addresses is refused, as is a file that Load would refuse. A file that was
// refused is not judged again until it changes; the error stays the same. The
// present File stays what it is in any case.
func (f *File) Reload() (*File, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	info, err := os.Stat(f.source.Path)
	if err != nil {
		return nil, unreadable(f.source.Path, err)
	}
	if f.seen.tells(info) {
		return nil, f.refusal
	}
	text, seen, err := read(f.source.Path)
	if err != nil {
		return nil, err
	}
	sum := maphash.String(f.seed, text)
	if sum == f.sum {
		f.seen = seen
		return nil, f.refusal
	}
	fresh, err := build(f.source, text, seen)
	if err == nil {
		err = f.mayBecome(fresh)
	}
	if err != nil {
		f.seen, f.sum, f.refusal = seen, sum, err
		return nil, err
	}
	return fresh, nil
}

// Replace reads the list of another source that takes this one's place: the
// same file under a configuration that has changed. It is judged as Reload
// judges, by the new source's MaxLoss; addresses of domains that the new source
// does not have any more are not counted. It reads the file even when that has
// not changed.
func (f *File) Replace(s Source) (*File, error) {
	fresh, err := Load(s)
	if err != nil {
		return nil, err
	}
	if err := f.mayBecome(fresh); err != nil {
		return nil, err
	}
	return fresh, nil
}

// mayBecome returns an error when fresh drops too many of f's addresses, or leaves
// a domain without any.
func (f *File) mayBecome(fresh *File) error {
	const remedy = "The old list stays. If the loss is meant, raise max_loss for this reload or restart the daemon"
	s := fresh.source
	total, missing, example := 0, 0, ""
	before := make(map[string]bool) // domains
	for e := range f.All() {
		domain := e.Domain()
		if _, ours := s.Domains[domain]; !ours {
			continue
		}
		before[domain] = true
		total++
		if _, found := fresh.Lookup(e.Address()); !found {
			if missing == 0 {
				example = e.Address()
			}
			missing++
		}
	}
	// The allowance keeps a share such as 0.29 of 100 from becoming 28.99….
	const allowance = 1e-6
	if float64(missing) > s.MaxLoss*float64(total)+allowance {
		return fmt.Errorf("%s: the new file lacks %d of %d addresses (%.2f %%), %s for one; max_loss = \"%g%%\" allows less. %s",
			s.Path, missing, total, 100*float64(missing)/float64(total), example, 100*s.MaxLoss, remedy)
	}
	for e := range fresh.All() {
		delete(before, e.Domain())
	}
	for _, domain := range slices.Sorted(maps.Keys(before)) {
		if !s.Domains[domain].AcceptUnlisted && s.MaxLoss < 1 {
			return fmt.Errorf("%s: the new file lacks every address of %s. %s", s.Path, domain, remedy)
		}
	}
	return nil
}

// stamp is what the file system said of a file when it was read.
type stamp struct {
	info fs.FileInfo
	// settled is set when the file had been left alone long enough that a later
	// change must show in its time of modification. File systems count that in
	// ticks, some of two seconds.
	settled bool
}

// tells reports that a file with this info is surely the file that was read.
func (s stamp) tells(info fs.FileInfo) bool {
	return s.settled && sameState(s.info, info)
}

func sameState(a, b fs.FileInfo) bool {
	return os.SameFile(a, b) && a.Size() == b.Size() && a.ModTime().Equal(b.ModTime())
}

// read returns a file's content as it was at one instant, as far as the file
// system tells: a file that changes while it is read is read again, and given
// up after some tries.
func read(path string) (string, stamp, error) {
	// A FIFO without a writer must not hold up the daemon.
	file, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return "", stamp{}, unreadable(path, err)
	}
	defer file.Close()
	const tries = 3
	for range tries {
		text, seen, err := readOnce(file)
		if !errors.Is(err, errTorn) {
			return text, seen, unreadable(path, err)
		}
	}
	return "", stamp{}, unreadable(path, errTorn)
}

var errTorn = errors.New("it changes while it is read; write a new file beside it and rename that over it")

func readOnce(file *os.File) (string, stamp, error) {
	before, err := file.Stat()
	if err != nil {
		return "", stamp{}, err
	}
	if !before.Mode().IsRegular() {
		return "", stamp{}, errors.New("it is not a regular file")
	}
	if before.Size() > maxFile {
		return "", stamp{}, fmt.Errorf("it has %d bytes; at most %d are read", before.Size(), maxFile)
	}
	var text strings.Builder
	text.Grow(int(before.Size()))
	if _, err := io.Copy(&text, io.NewSectionReader(file, 0, before.Size())); err != nil {
		return "", stamp{}, err
	}
	after, err := file.Stat()
	if err != nil {
		return "", stamp{}, err
	}
	if !sameState(before, after) || int64(text.Len()) != after.Size() {
		return "", stamp{}, errTorn
	}
	const tick = 2 * time.Second
	return text.String(), stamp{info: after, settled: time.Since(after.ModTime()) > tick}, nil
}

// unreadable says of an error which file could not be read. Nil stays nil.
func unreadable(path string, err error) error {
	if err == nil {
		return nil
	}
	if pathError, ok := errors.AsType[*fs.PathError](err); ok {
		err = pathError.Err
	}
	return fmt.Errorf("the directory file %s cannot be read: %w", path, err)
}
