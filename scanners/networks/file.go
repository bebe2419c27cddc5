package networks

import (
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"time"

	"coexistd/policy/config/files"
	"coexistd/policy/networks"
)

const (
	// maxFile bounds a file with a list, in bytes.
	maxFile = 4 * files.MiB
	// settleTime is how long a changed file is left alone before it is read, since
	// its writer may be at work on it. It is also as long as the ticks of some file
	// systems' clocks: a change to a file that has been left alone longer shows.
	settleTime = 2 * time.Second
)

// errUnchanged says that the list which a file gave before still holds.
var errUnchanged = errors.New("the file is as it was")

// file is a file with a list, and the state in which it was read last.
type file struct {
	path    string
	seen    fs.FileInfo // nil: there is none
	settled bool        // a later change shows in seen
}

// read returns the list, sorted, or errUnchanged: also of a file that was
// changed a moment ago, unless it is the first list. Again reads a file whose
// state is the same, too.
func (f *file) read(now time.Time, first, again bool) ([]netip.Prefix, error) {
	info, err := files.Look(f.path)
	if err != nil {
		return nil, fmt.Errorf("%s %w", f.path, err)
	}
	// A time in the future tells nothing.
	age := now.Sub(info.ModTime())
	settled := age < 0 || age >= settleTime
	same := f.seen != nil && f.settled && files.Same(f.seen, info)
	if !first && !settled || same && !again {
		return nil, errUnchanged
	}
	f.seen, f.settled = nil, settled
	text, seen, err := files.Read(f.path, maxFile)
	if err != nil {
		return nil, fmt.Errorf("%s %w", f.path, err)
	}
	list, err := parseList(f.path, text)
	if err != nil {
		return nil, err
	}
	f.seen = seen
	return list, nil
}

// parseList reads the text of a file. The error tells the first mistake.
func parseList(path, text string) ([]netip.Prefix, error) {
	list, mistakes := networks.Parse(text)
	switch {
	case len(mistakes) > 0:
		err := fmt.Errorf("%s:%d: %s", path, mistakes[0].Line, mistakes[0].Problem)
		if len(mistakes) > 1 {
			err = fmt.Errorf("%w; and %d more mistakes", err, len(mistakes)-1)
		}
		return nil, err
	case len(list) == 0:
		return nil, fmt.Errorf("%s holds no network; it needs one CIDR a line", path)
	}
	list = networks.Normal(list)
	if err := networks.Bounded(list); err != nil {
		return nil, fmt.Errorf("%s is not taken: %w", path, err)
	}
	return list, nil
}
