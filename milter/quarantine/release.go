package quarantine

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"slices"
	"strings"
	"syscall"
	"time"

	"coexistd/milter/ownmail"
	"coexistd/policy/mail"
	"coexistd/policy/seal"
)

// Releaser is what releasing needs besides the store.
type Releaser struct {
	// Keys sign the pass with which a message goes by the checks that held it. They
	// are those of the MTA's milter.
	Keys seal.Keys
	// Address is the host and port at which the MTA takes mail.
	Address string
	// Hostname is what EHLO names.
	Hostname string
}

// ErrUncertain is the error of a release that was broken off, so that nobody can
// say whether the MTA has the message.
var ErrUncertain = errors.New("the message may have reached its recipient; look into the MTA's log, then release it again or delete it")

// HeldAgainError says that the MTA has taken a released message, and that it was
// held for its recipient once more.
type HeldAgainError struct{ Entry Entry }

// Error names the new entry and the checks that hold it.
func (e *HeldAgainError) Error() string {
	return fmt.Sprintf("held again as %s by %s", e.Entry.ID, strings.Join(e.Entry.Checks, ", "))
}

// Release puts a held message back through the MTA, to the recipient of the entry
// alone, past the checks that held it and those that an earlier release let it
// past, and past none else. It returns the entry as it is then.
//
// When the MTA does not take the message, it is held as before, and the error says
// why. When the connection ends before the MTA has answered, the error is
// ErrUncertain and the entry stays Releasing; only with again is such an entry
// released once more. Of releases side by side one sends. A *HeldAgainError comes
// with an entry that is Released. The context bounds how long all of it takes.
func (s *Store) Release(ctx context.Context, r Releaser, id string, again bool) (Entry, error) {
	if r.Keys.IsZero() {
		return Entry{}, errors.New("there is no key to sign the released message's pass with; coexistd serve makes one at its first start")
	}
	e, message, err := s.reserve(ctx, id)
	if err != nil {
		return e, err
	}
	defer message.Close()
	if e, err = s.claim(id, again); err != nil {
		return e, err
	}
	s.fault("release: claimed")
	sent := r.send(ctx, &e, message)
	s.fault("release: sent")
	return s.conclude(e, sent)
}

// reserve opens the message of an entry that is to be released, with the lock on its file
// that shows others that a release is under way. The lock ends with the process.
func (s *Store) reserve(ctx context.Context, id string) (Entry, *stored, error) {
	e, err := s.entry(id)
	if err != nil {
		return e, nil, err
	}
	if !e.isOpen() {
		return e, nil, errSettled(&e)
	}
	s.fault("release: found")
	message, err := s.contentOf(&e)
	if err != nil {
		// Its file goes with an entry that was settled meanwhile.
		if now, errNow := s.entry(id); errNow == nil && !now.isOpen() {
			return now, nil, errSettled(&now)
		}
		return e, nil, err
	}
	if err := flock(ctx, message.file, syscall.LOCK_EX); err != nil {
		message.Close()
		if ctx.Err() != nil {
			err = fmt.Errorf("%w: %w", errUnderWay(id), err)
		}
		return e, nil, err
	}
	return e, message, nil
}

func errUnderWay(id string) error {
	return fmt.Errorf("the message of %s is being released by another process", id)
}

// isUnderWay reports that the message of a file is being released now. Of an entry that is
// Releasing and whose message is not, the release was broken off.
func (s *Store) isUnderWay(message string) (bool, error) {
	file, err := os.Open(s.messagePath(message))
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	defer file.Close()
	return isLocked(file)
}

func (s *Store) claim(id string, again bool) (Entry, error) {
	return s.updateEntry(id, func(ix *index, r *record) error {
		switch {
		case !r.isOpen():
			return errSettled(&r.Entry)
		case r.State == Releasing && !again:
			return fmt.Errorf("the release of %s was broken off at %s: %w", id, r.Changed.Format(time.DateTime), ErrUncertain)
		}
		return ix.set(r, Releasing, time.Now())
	})
}

// conclude notes what came of sending a message.
func (s *Store) conclude(e Entry, sent error) (Entry, error) {
	if errors.Is(sent, ownmail.ErrUnanswered) {
		return e, fmt.Errorf("%w: %w", ErrUncertain, sent)
	}
	state := Held
	if sent == nil {
		state = Released
	}
	var heldAgain *HeldAgainError
	_, err := s.updateEntry(e.ID, func(ix *index, r *record) error {
		heldAgain = nil
		if r.State == Releasing {
			if err := ix.set(r, state, time.Now()); err != nil {
				return err
			}
		}
		e = r.Entry
		if sent != nil {
			return nil
		}
		holder, found, err := ix.holder(r.Digest)
		if found {
			heldAgain = &HeldAgainError{holder.Entry}
		}
		return err
	})
	switch {
	case err != nil && sent == nil:
		return e, fmt.Errorf("%s was released, but that cannot be noted, and it stays %s: %w", e.ID, Releasing, err)
	case err != nil:
		return e, fmt.Errorf("%w; nor can it be noted that %s is held: %w", sent, e.ID, err)
	case sent != nil:
		return e, sent
	}
	s.fault("release: committed")
	if heldAgain != nil {
		return e, heldAgain
	}
	return e, nil
}

// send gives the message of an entry to the MTA.
func (r Releaser) send(ctx context.Context, e *Entry, message *stored) error {
	header, eightBit, err := examine(message)
	if err != nil {
		return fmt.Errorf("reading the message: %w", err)
	}
	if _, err := message.Seek(0, io.SeekStart); err != nil {
		return err
	}
	pass := r.Keys.SignPass(seal.Pass{
		ID: e.ID, Checks: slices.Concat(e.Passed, e.Checks), Point: e.Point, Platform: e.Platform, Until: time.Now().Add(ownmail.PassTime).Unix(),
	}, e.Owner, seal.MarksOf(header))
	pass = seal.PassHeader + ": " + strings.ReplaceAll(pass, "\n", "\r\n") + "\r\n"
	return ownmail.Submit(ctx, r.Address, r.Hostname, ownmail.Submission{
		From: e.Sender, To: e.Address, Notify: e.Notify, ORcpt: e.ORcpt,
		EightBit: eightBit, Content: io.MultiReader(strings.NewReader(pass), message),
	})
}

// examine reads a message: the header fields that can be its marks, and whether it
// has bytes beyond US-ASCII.
func examine(content io.Reader) (h *mail.Header, eightBit bool, err error) {
	var watch eightBitWatch
	content = io.TeeReader(content, &watch)
	if h, err = mail.ReadHeader(content); err != nil {
		return nil, false, err
	}
	_, err = io.Copy(io.Discard, content)
	return h, bool(watch), err
}

// eightBitWatch notes bytes beyond US-ASCII in what is written to it.
type eightBitWatch bool

func (w *eightBitWatch) Write(p []byte) (int, error) {
	*w = *w || eightBitWatch(bytes.ContainsFunc(p, func(c rune) bool { return c >= 0x80 }))
	return len(p), nil
}
