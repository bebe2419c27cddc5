package lab

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path/filepath"
	"slices"
	"time"
)

// Queued is one message in an instance's queue.
type Queued struct {
	Queue      string            `json:"queue_name"` // maildrop, incoming, active, deferred or hold
	ID         string            `json:"queue_id"`
	Sender     string            `json:"sender"`
	Size       int64             `json:"message_size"` // octets
	Recipients []QueuedRecipient `json:"recipients"`
}

// QueuedRecipient is a recipient whom the message has not reached yet.
type QueuedRecipient struct {
	Address string `json:"address"`
	Delay   string `json:"delay_reason"` // empty before the first attempt
}

// Sendmail hands a message in as a program on the host does, with the
// sendmail command. An empty from is the null sender.
func (m *Postfix) Sendmail(ctx context.Context, from string, to []string, message []byte) error {
	args := append([]string{"-C", m.layout.path("etc"), "-i", "-f", from, "--"}, to...)
	_, err := m.command(ctx, message, "sendmail", args...)
	return err
}

// Queue lists the messages that are in the queue.
func (m *Postfix) Queue(ctx context.Context) ([]Queued, error) {
	out, err := m.command(ctx, nil, "postqueue", "-c", m.layout.path("etc"), "-j")
	if err != nil {
		return nil, err
	}
	var queue []Queued
	for lines := json.NewDecoder(bytes.NewReader(out)); ; {
		var q Queued
		if err := lines.Decode(&q); errors.Is(err, io.EOF) {
			return queue, nil
		} else if err != nil {
			return nil, fmt.Errorf("lab: what postqueue -j says is not understood: %w", err)
		}
		// What moves to another queue meanwhile is listed in both; it is in the last one.
		queue = slices.DeleteFunc(queue, func(earlier Queued) bool { return earlier.ID == q.ID })
		queue = append(queue, q)
	}
}

// Flush has every message that waits for its next attempt tried now.
func (m *Postfix) Flush(ctx context.Context) error {
	_, err := m.command(ctx, nil, "postqueue", "-c", m.layout.path("etc"), "-f")
	return err
}

// WaitEmpty returns when the queue is empty. When ctx ends first, the error
// says what is still there.
func (m *Postfix) WaitEmpty(ctx context.Context) error {
	for {
		seen := m.log.len()
		empty := true
		// A message that moves from one queue to the other while they are
		// read may be seen in neither, so one look is not enough, nor are two
		// while something happens.
		for range 2 {
			waiting, err := m.holds("maildrop", "incoming", "active", "deferred", "hold")
			if err != nil {
				return err
			}
			empty = empty && !waiting
		}
		err := m.log.catchUp(ctx)
		if err == nil && empty && seen == m.log.len() {
			return nil
		}
		if err == nil {
			err = m.log.somethingHappens(ctx, seen)
		}
		if err != nil {
			return fmt.Errorf("lab: the queue did not become empty: %w; in it: %s", err, m.inQueue(ctx))
		}
	}
}

// holds reports that there is a message in one of the queues. To read their folders is
// what postqueue has a server do as well; but that costs two processes each time, and
// who waits for the queue looks at it after each line of the log.
func (m *Postfix) holds(queues ...string) (bool, error) {
	found := false
	for _, name := range queues {
		err := filepath.WalkDir(m.layout.path("queue", name), func(_ string, entry fs.DirEntry, err error) error {
			if err != nil || entry.IsDir() {
				return err
			}
			info, err := entry.Info()
			if errors.Is(err, fs.ErrNotExist) {
				return nil // it has gone on meanwhile
			}
			// What is still being written, and not yet taken, has not all of its owner's rights.
			if err == nil && info.Mode().Perm()&0o700 == 0o700 {
				found, err = true, fs.SkipAll
			}
			return err
		})
		if err != nil {
			return false, fmt.Errorf("lab: looking for mail in the queue: %w", err)
		}
	}
	return found, nil
}

// inQueue lists what is in the queue for an error, even though the time is up.
func (m *Postfix) inQueue(ctx context.Context) string {
	const patience = 10 * time.Second
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), patience)
	defer cancel()
	queue, err := m.Queue(ctx)
	if err != nil {
		return err.Error()
	}
	return fmt.Sprintf("%+v", queue)
}

func (m *Postfix) command(ctx context.Context, input []byte, name string, args ...string) ([]byte, error) {
	cmd := m.programs.Command(ctx, name, args...)
	cmd.Dir = "/"
	cmd.Stdin = bytes.NewReader(input)
	var out, complaint bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &complaint
	if err := cmd.Run(); err != nil {
		return nil, fmt.Errorf("lab: %s: %w: %s", name, err, bytes.TrimSpace(complaint.Bytes()))
	}
	return out.Bytes(), nil
}
