// Package files reads the files that a configuration names, and the configuration
// itself. Anything may stand in their place: a FIFO without a writer, a device without an
// end. None of it holds up the caller, and no file is read past a bound.
//
// The errors continue a sentence that begins with the file's name: "is a folder, not a
// regular file".
package files

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/user"
	"strconv"
	"strings"
	"syscall"
)

// MiB is a mebibyte, for bounds.
const MiB = 1 << 20

// problem is what is wrong with a file, in a text for people.
type problem struct {
	text  string
	cause error // may be nil
}

func (p *problem) Error() string { return p.text }
func (p *problem) Unwrap() error { return p.cause }

// errTorn says that there is no instant at which the file had the content that was read.
var errTorn = errors.New("changes while it is read; write a new file beside it and rename that over it")

// kinds are what else can stand at a path, in people's words.
var kinds = []struct {
	bits fs.FileMode
	name string
}{{fs.ModeDir, "a folder"}, {fs.ModeNamedPipe, "a FIFO"}, {fs.ModeSocket, "a socket"}, {fs.ModeDevice, "a device"}}

// Look returns the state of a regular file, and refuses what is none.
func Look(path string) (fs.FileInfo, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, Plain(err)
	}
	return info, refuseOdd(info)
}

// Open opens a regular file to be read, and refuses what is none.
func Open(path string) (*os.File, fs.FileInfo, error) {
	file, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK|syscall.O_NOCTTY, 0)
	if err != nil {
		return nil, nil, Plain(err)
	}
	info, err := file.Stat()
	if err != nil {
		err = Plain(err)
	} else {
		err = refuseOdd(info)
	}
	if err != nil {
		file.Close()
		return nil, nil, err
	}
	return file, info, nil
}

func refuseOdd(info fs.FileInfo) error {
	if info.Mode().IsRegular() {
		return nil
	}
	for _, kind := range kinds {
		if info.Mode()&kind.bits != 0 {
			return fmt.Errorf("is %s, not a regular file", kind.name)
		}
	}
	return errors.New("is not a regular file")
}

// Read returns the content of a regular file as it was at one instant, as far as the file
// system tells, and its state then. A file that changes while it is read is read again,
// and given up after some tries. One of more bytes than most is refused.
func Read(path string, most int64) (text string, state fs.FileInfo, err error) {
	state, err = Scan(path, most, func(from io.Reader, size int64) {
		var content strings.Builder
		content.Grow(int(size))
		_, _ = io.Copy(&content, from) // Scan tells what is wrong
		text = content.String()
	})
	if err != nil {
		return "", nil, err
	}
	return text, state, nil
}

// Scan is Read for a file that need not be in memory as a whole. It has a function read it,
// which is told the size beforehand, and does so anew when the file changed meanwhile. What
// came of it counts only when there is no error.
func Scan(path string, most int64, read func(from io.Reader, size int64)) (state fs.FileInfo, err error) {
	const tries = 3
	for range tries {
		if state, err = scanOnce(path, most, read); !errors.Is(err, errTorn) {
			break
		}
	}
	return state, err
}

func scanOnce(path string, most int64, read func(from io.Reader, size int64)) (fs.FileInfo, error) {
	// To open a device can have effects, and to open a FIFO waits for its writer. What
	// takes the place of the file after this look is opened without waiting.
	if _, err := Look(path); err != nil {
		return nil, err
	}
	file, before, err := Open(path)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	if before.Size() > most {
		return nil, tooLarge(most)
	}
	// One byte more than may be tells of a file that grew.
	from := &counter{from: io.LimitReader(file, most+1)}
	read(from, before.Size())
	_, _ = io.Copy(io.Discard, from) // what is left
	after, err := file.Stat()
	switch {
	case from.failed != nil:
		return nil, Plain(from.failed)
	case err != nil:
		return nil, Plain(err)
	case from.count > most:
		return nil, tooLarge(most)
	case !Same(before, after) || from.count != after.Size():
		return nil, errTorn
	}
	return after, nil
}

func tooLarge(most int64) error {
	if most%MiB == 0 {
		return fmt.Errorf("is larger than %d MiB", most/MiB)
	}
	return fmt.Errorf("is larger than %d bytes", most)
}

// counter counts what is read, and keeps why no more can be.
type counter struct {
	from   io.Reader
	count  int64
	failed error
}

func (c *counter) Read(p []byte) (int, error) {
	n, err := c.from.Read(p)
	c.count += int64(n)
	if err != nil && err != io.EOF {
		c.failed = err
	}
	return n, err
}

// Same reports that two states are of the same file, and that nothing shows that it
// changed in between.
func Same(a, b fs.FileInfo) bool {
	return os.SameFile(a, b) && a.Size() == b.Size() && a.ModTime().Equal(b.ModTime())
}

// Plain drops the operation and the path that the error of a file begins with, and says whom
// permission was denied. The result still wraps the error.
func Plain(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return &problem{"does not exist", err}
	}
	cause := err
	if failed, ok := errors.AsType[*fs.PathError](err); ok {
		cause = failed.Err
	}
	if errors.Is(err, fs.ErrPermission) {
		// Not user.Current, which knows who a process was at its start.
		if who, unknown := user.LookupId(strconv.Itoa(os.Geteuid())); unknown == nil {
			return &problem{fmt.Sprintf("cannot be read: %v to the user %s", cause, who.Username), err}
		}
	}
	return &problem{fmt.Sprintf("cannot be read: %v", cause), err}
}
