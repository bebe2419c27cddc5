package messages

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"os"
	"slices"
	"syscall"
	"time"

	"coexistd/milter/mtalog"
)

// followMTA follows the MTA's log from where it was read to, as soon as nobody else does, such
// as the Index of before a reload, and the file can say where that is.
func (x *Index) followMTA() {
	defer close(x.followed)
	for {
		from, err := x.claim()
		if err == nil {
			x.setFollower(mtalog.Follow(mtalog.Options{
				Source: x.options.MTALog, From: from, Since: x.options.Keep, Take: x.takeEvents, Log: x.options.Log,
			}))
			return
		}
		if !errors.Is(err, syscall.EWOULDBLOCK) {
			x.note(0, err)
		}
		select {
		case <-x.unfollow:
			return
		case <-time.After(time.Second):
		}
	}
}

// claim has this Index be the one that reads the log into the file, and returns how far it was
// read.
func (x *Index) claim() (from mtalog.Position, err error) {
	if from, err = x.position(context.Background()); err != nil {
		return from, err
	}
	// A lock of the file itself would end those that SQLite has (fcntl_locking(2)).
	lock, err := os.OpenFile(x.options.Path+".lock", os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return from, err
	}
	if err = syscall.Flock(int(lock.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err == nil {
		from, err = x.position(context.Background())
	}
	if err != nil {
		return from, errors.Join(err, lock.Close())
	}
	x.claimed = lock
	return from, nil
}

func (x *Index) setFollower(f *mtalog.Follower) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.follower = f
}

// MTALog tells how far the MTA's log was read; nil: it is not followed.
func (x *Index) MTALog() *mtalog.Status {
	x.mu.Lock()
	f := x.follower
	x.mu.Unlock()
	switch {
	case x.options.MTALog == "":
		return nil
	case f == nil:
		return &mtalog.Status{Source: x.options.MTALog}
	}
	s := f.Status()
	return &s
}

// endFollowing stops what followMTA began.
func (x *Index) endFollowing() {
	close(x.unfollow)
	<-x.followed
	if x.follower != nil {
		x.follower.Stop()
		x.claimed.Close()
	}
}

// position is how far the log was read.
func (x *Index) position(ctx context.Context) (at mtalog.Position, err error) {
	err = x.file.View(ctx, func(tx *sql.Tx) error {
		var text []byte
		err := tx.QueryRowContext(ctx, `SELECT position FROM read_logs WHERE id = 1`).Scan(&text)
		if errors.Is(err, sql.ErrNoRows) {
			return nil
		}
		if err != nil {
			return err
		}
		return json.Unmarshal(text, &at)
	})
	return at, err
}

// takeEvents writes what the MTA's log says, and how far it was read, in one change.
func (x *Index) takeEvents(ctx context.Context, events []mtalog.Event, at mtalog.Position) error {
	text, err := json.Marshal(at)
	if err != nil {
		return err
	}
	x.writing.Lock()
	defer x.writing.Unlock()
	// What is not written is given again, to the gate as it was.
	next := x.gate.clone()
	refused, events := next.take(events, time.Now())
	err = x.update(ctx, func(tx *sql.Tx) error {
		if err := writeDeliveries(ctx, tx, events); err != nil {
			return err
		}
		if len(refused) > 0 {
			if err := x.writer.write(ctx, tx, slices.Values(refused)); err != nil {
				return err
			}
		}
		_, err := tx.ExecContext(ctx, `INSERT INTO read_logs (id, position) VALUES (1, ?) ON CONFLICT (id) DO UPDATE SET position = excluded.position`, string(text))
		return err
	})
	x.settle(next, err)
	return err
}

// settle has the gate be what a change has made of it, unless that was undone.
func (x *Index) settle(next gate, err error) {
	if err == nil {
		x.gate = next
	} else {
		x.writer.next = 0
	}
}

// writeLate writes what was refused before a time by the MTA, and has waited since for who the
// sender was.
func (x *Index) writeLate(ctx context.Context, before time.Time) {
	x.writing.Lock()
	defer x.writing.Unlock()
	next := x.gate.clone()
	refused := next.late(before)
	if len(refused) == 0 {
		return
	}
	err := x.update(ctx, func(tx *sql.Tx) error { return x.writer.write(ctx, tx, slices.Values(refused)) })
	x.settle(next, err)
	x.note(0, err)
}
