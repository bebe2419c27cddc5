package quarantine

import (
	"bytes"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"coexistd/milter/audit"
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
	e, event, err := s.claim(ctx, id, again)
	if err != nil {
		return e, err
	}
	s.fault("release: claimed")
	message, sent := s.contentOf(&e)
	if sent == nil {
		sent = r.send(ctx, &e, message)
	}
	s.fault("release: sent")
	return s.conclude(e, event, sent)
}

func errUnderWay(id string) error {
	return fmt.Errorf("the message of %s is being released by another process", id)
}

// claimAgain is how long a release waits before it looks again whether another has ended.
const claimAgain = 20 * time.Millisecond

// claim makes an entry one that this process releases. It waits for another that does. The
// event is that of the audit, whose outcome is unknown as yet.
func (s *Store) claim(ctx context.Context, id string, again bool) (e Entry, event int64, err error) {
	if e, err = s.entry(id); err != nil {
		return e, 0, err
	}
	s.fault("release: found")
	for {
		waits := false
		e, err := s.updateEntry(id, func(tx *sql.Tx, r *row) error {
			switch waits = r.isUnderWay(); {
			case !r.isOpen():
				return errSettled(&r.Entry)
			case waits:
				return errUnderWay(id)
			case r.State == Releasing && !again:
				return fmt.Errorf("the release of %s was broken off at %s: %w", id, r.Changed.Format(time.DateTime), ErrUncertain)
			}
			var err error
			if event, err = audit.Add(tx, s.event(audit.Release, &r.Entry, audit.Unknown)); err != nil {
				return err
			}
			_, err = set(tx, r, Releasing, thisProcess(), time.Now())
			return err
		})
		if !waits {
			return e, event, err
		}
		select {
		case <-ctx.Done():
			return e, 0, fmt.Errorf("%w: %w", err, ctx.Err())
		case <-time.After(claimAgain):
		}
	}
}

// conclude notes what came of sending a message.
func (s *Store) conclude(e Entry, event int64, sent error) (Entry, error) {
	state := Held
	switch {
	case errors.Is(sent, ownmail.ErrUnanswered):
		state, sent = Releasing, fmt.Errorf("%w: %w", ErrUncertain, sent)
	case sent == nil:
		state = Released
	}
	var heldAgain *HeldAgainError
	now, err := s.updateEntry(e.ID, func(tx *sql.Tx, r *row) error {
		heldAgain = nil
		if r.State == Releasing {
			if _, err := set(tx, r, state, "", time.Now()); err != nil {
				return err
			}
		}
		if sent != nil {
			return audit.Conclude(tx, event, sent.Error())
		}
		outcome := audit.Done
		holder, found, err := holder(tx, r.digest, r.number)
		if found {
			heldAgain = &HeldAgainError{holder.Entry}
			outcome = heldAgain.Error()
		}
		return errors.Join(err, audit.Conclude(tx, event, outcome))
	})
	switch {
	case err != nil && sent == nil:
		return e, fmt.Errorf("%s was released, but that cannot be noted, and it stays %s: %w", e.ID, Releasing, err)
	case err != nil:
		return e, fmt.Errorf("%w; nor can that be noted of %s: %w", sent, e.ID, err)
	case sent != nil:
		return now, sent
	}
	s.fault("release: committed")
	s.sweepOrTell()
	if heldAgain != nil {
		return now, heldAgain
	}
	return now, nil
}

// send gives the message of an entry to the MTA.
func (r Releaser) send(ctx context.Context, e *Entry, message stored) error {
	header, eightBit, err := examine(message)
	if err != nil {
		return fmt.Errorf("reading the message: %w", err)
	}
	marks, err := marksOf(header, message)
	if err != nil {
		return fmt.Errorf("reading the message: %w", err)
	}
	if _, err := message.Seek(0, io.SeekStart); err != nil {
		return err
	}
	pass := r.Keys.SignPass(seal.Pass{
		ID: e.ID, Checks: slices.Concat(e.Passed, e.Checks), Point: e.Point, Platform: e.Platform, Until: time.Now().Add(ownmail.PassTime).Unix(),
	}, e.Owner, marks)
	pass = seal.PassHeader + ": " + strings.ReplaceAll(pass, "\n", "\r\n") + "\r\n"
	return ownmail.Submit(ctx, r.Address, r.Hostname, ownmail.Submission{
		From: e.Sender, To: e.Address, Notify: e.Notify, ORcpt: e.ORcpt,
		EightBit: eightBit, Content: io.MultiReader(strings.NewReader(pass), message),
	})
}

// marksOf returns the marks of a message, that of its body, too, where its header has none.
func marksOf(header *mail.Header, message io.ReadSeeker) (seal.Marks, error) {
	marks := seal.MarksOf(header)
	if marks.Any() {
		return marks, nil
	}
	if _, err := message.Seek(0, io.SeekStart); err != nil {
		return marks, err
	}
	body, err := seal.ReadBody(message)
	return marks.And(body), err
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
