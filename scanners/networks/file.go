package networks

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/netip"
	"os"
	"syscall"
	"time"

	"coexistd/policy/networks"
)

const (
	// maxFile bounds a file with a list, in bytes.
	maxFile = 4 << 20
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
	info, err := os.Stat(f.path)
	if err != nil {
		return nil, err
	}
	// A time in the future tells nothing.
	age := now.Sub(info.ModTime())
	settled := age < 0 || age >= settleTime
	same := f.seen != nil && f.settled && sameState(f.seen, info)
	if !first && !settled || same && !again {
		return nil, errUnchanged
	}
	f.seen, f.settled = nil, settled
	text, seen, err := readRegular(f.path)
	if err != nil {
		return nil, err
	}
	list, err := parseList(f.path, text)
	if err != nil {
		return nil, err
	}
	f.seen = seen
	return list, nil
}

// readRegular returns a file's text and the state that it has.
func readRegular(path string) (text string, state fs.FileInfo, err error) {
	// A FIFO without a writer must not hold up the daemon.
	file, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return "", nil, err
	}
	defer file.Close()
	before, err := file.Stat()
	if err != nil {
		return "", nil, err
	}
	if !before.Mode().IsRegular() {
		return "", nil, fmt.Errorf("%s is not a regular file", path)
	}
	bytes, err := io.ReadAll(io.LimitReader(file, maxFile+1))
	after, errState := file.Stat()
	switch {
	case err != nil || errState != nil:
		return "", nil, errors.Join(err, errState)
	case len(bytes) > maxFile:
		return "", nil, fmt.Errorf("%s is larger than %d MiB", path, maxFile>>20)
	case !sameState(before, after):
		return "", nil, fmt.Errorf("%s changed while it was read; write a new file beside it and rename that over it", path)
	}
	return string(bytes), after, nil
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

func sameState(a, b fs.FileInfo) bool {
	return os.SameFile(a, b) && a.Size() == b.Size() && a.ModTime().Equal(b.ModTime())
}
