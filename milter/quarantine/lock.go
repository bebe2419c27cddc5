package quarantine

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"syscall"
	"time"
)

// longestPoll is the longest time between two looks at a lock that another
// process holds.
const longestPoll = 20 * time.Millisecond

// lock waits for the store's lock, and returns what gives it back. A writer
// has it alone, readers share it with other processes' readers. The lock is that
// of a file which is never replaced, as the index may be. After s.patience the
// error says that somebody does not give the lock back: nobody waits for ever.
func (s *Store) lock(exclusive bool) (unlock func(), err error) {
	ctx, cancel := context.WithTimeoutCause(context.Background(), s.patience, fmt.Errorf(
		"the store %s is in use by a process that has not let go of it for %v; end the process that hangs (see: fuser %s)",
		s.dir, s.patience, s.path(lockFile)))
	defer cancel()
	select {
	case s.turn <- struct{}{}:
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
	defer func() {
		if err != nil {
			<-s.turn
		}
	}()
	file, err := os.OpenFile(s.path(lockFile), os.O_RDWR, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("the quarantine %s does not exist; coexistd serve makes it when it starts: %w", s.dir, err)
	}
	if err != nil {
		return nil, err
	}
	how := syscall.LOCK_SH
	if exclusive {
		how = syscall.LOCK_EX
	}
	if err := flock(ctx, file, how); err != nil {
		file.Close()
		return nil, err
	}
	return func() {
		file.Close()
		<-s.turn
	}, nil
}

// flock locks a file, or returns the context's cause when that ends first. The
// lock is given back when the file is closed.
func flock(ctx context.Context, file *os.File, how int) error {
	for wait := time.Millisecond; ; wait = min(2*wait, longestPoll) {
		err := syscall.Flock(int(file.Fd()), how|syscall.LOCK_NB)
		switch {
		case err == nil:
			return nil
		case err != syscall.EWOULDBLOCK && err != syscall.EINTR:
			return fmt.Errorf("locking %s: %w", file.Name(), err)
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-time.After(wait):
		}
	}
}

// isLocked reports that a file is locked by means of another opening of it.
func isLocked(file *os.File) (bool, error) {
	for {
		switch err := syscall.Flock(int(file.Fd()), syscall.LOCK_SH|syscall.LOCK_NB); err {
		case nil:
			return false, nil
		case syscall.EWOULDBLOCK:
			return true, nil
		case syscall.EINTR:
		default:
			return false, fmt.Errorf("locking %s: %w", file.Name(), err)
		}
	}
}
