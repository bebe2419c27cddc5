package lab

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"regexp"
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
	var queue []Queued
	for {
		seen := m.log.len()
		empty := true
		// A message that moves from one queue to the other while they are
		// read may be seen in neither, so one look is not enough, nor are two
		// while something happens.
		for range 2 {
			var err error
			if queue, err = m.queueOr(ctx, queue); err != nil {
				return err
			}
			empty = empty && len(queue) == 0
		}
		if err := m.log.catchUp(ctx); err != nil {
			return err
		}
		if empty && seen == m.log.len() {
			return nil
		}
		// Whatever leaves the queue is logged.
		if _, err := m.log.wait(ctx, seen, anyLine); err != nil {
			return fmt.Errorf("lab: the queue did not become empty: %w; in it: %+v", err, queue)
		}
	}
}

var anyLine = regexp.MustCompile("")

// queueOr is Queue, with an error that tells of the last known queue when the
// time is up.
func (m *Postfix) queueOr(ctx context.Context, last []Queued) ([]Queued, error) {
	queue, err := m.Queue(ctx)
	if err != nil && ctx.Err() != nil {
		return nil, fmt.Errorf("lab: the queue did not become empty: %w; in it: %+v", ctx.Err(), last)
	}
	return queue, err
}

// Log is all that the instance has logged.
func (m *Postfix) Log() string { return m.log.String() }

// WaitLog returns the first line of the log, from the start of the instance
// on, that matches. When ctx ends first, the error has the last lines.
func (m *Postfix) WaitLog(ctx context.Context, re *regexp.Regexp) (string, error) {
	line, err := m.log.wait(ctx, 0, re)
	if err != nil {
		const tail = 20
		last, _ := m.log.since(max(0, m.log.len()-tail))
		return "", fmt.Errorf("lab: nothing in Postfix's log matches %q: %w; its last lines: %q", re, err, last)
	}
	return line, nil
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
