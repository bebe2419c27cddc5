package lab

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"
)

// Sendmail hands a message in as a program on the host does: to submit.cf's queue, from
// where it goes to the service "public". What is refused there bounces (-oem), and is no
// error.
func (m *Sendmail) Sendmail(ctx context.Context, from string, to []string, message []byte) error {
	if from == "" {
		from = "<>"
	}
	cmd := m.command(ctx, append([]string{"-Ac", "-C", m.path("etc", "submit.cf"), "-i", "-oem", "-f", from, "--"}, to...)...)
	cmd.Stdin = bytes.NewReader(message)
	const noUser, unavailable = 67, 69 // sysexits.h: it was refused, and bounces
	if out, err := cmd.CombinedOutput(); err != nil && cmd.ProcessState.ExitCode() != noUser && cmd.ProcessState.ExitCode() != unavailable {
		return fmt.Errorf("lab: sendmail: %w: %s", err, out)
	}
	return nil
}

// Class has the words of a class, such as {Coexistd}, as Sendmail has read them, sorted.
func (m *Sendmail) Class(ctx context.Context, name string) ([]string, error) {
	out, err := m.try(ctx, "$="+name+"\n")
	if err != nil {
		return nil, err
	}
	_, list, _ := strings.Cut(out, "\n> ") // its prompt, behind what it says first
	words := strings.Fields(strings.ReplaceAll(list, "> ", ""))
	slices.Sort(words)
	return words, nil
}

// WrittenAs is what Sendmail makes of a sender's address in the header of mail that it sends on.
func (m *Sendmail) WrittenAs(ctx context.Context, address string) (string, error) {
	out, err := m.try(ctx, "/tryflags HS\n/try esmtp "+address+"\n")
	if err != nil {
		return "", err
	}
	_, written, is := strings.Cut(out, "addr = ")
	if !is {
		return "", fmt.Errorf("lab: sendmail -bt says of %s: %s", address, out)
	}
	written, _, _ = strings.Cut(written, "\n")
	return written, nil
}

// try has Sendmail say what its rules make of something, by lines of its mode for tests.
func (m *Sendmail) try(ctx context.Context, lines string) (string, error) {
	cmd := m.command(ctx, "-C", m.path("etc", "sendmail.cf"), "-bt")
	cmd.Stdin = strings.NewReader(lines)
	out, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("lab: sendmail -bt: %w: %s", err, out)
	}
	return string(out), nil
}

// Queue lists the messages that are in the queue; "submit" is that of the sendmail
// command.
func (m *Sendmail) Queue(context.Context) ([]Queued, error) {
	var queue []Queued
	for _, name := range []string{"submit", "queue"} {
		files, err := filepath.Glob(m.path(name, "[qhQ]f*"))
		if err != nil {
			return nil, fmt.Errorf("lab: %w", err)
		}
		for _, file := range files {
			q, err := readQueueFile(file)
			if errors.Is(err, fs.ErrNotExist) {
				continue // it has gone meanwhile
			}
			if err != nil {
				return nil, err
			}
			q.Queue = name
			queue = append(queue, q)
		}
	}
	return queue, nil
}

// readQueueFile reads of a qf file what is known of its message.
func readQueueFile(path string) (Queued, error) {
	content, err := os.ReadFile(path)
	if err != nil {
		return Queued{}, fmt.Errorf("lab: %w", err)
	}
	q := Queued{ID: filepath.Base(path)[2:]}
	delay := ""
	for lines := bufio.NewScanner(bytes.NewReader(content)); lines.Scan(); {
		line := lines.Text()
		switch {
		case strings.HasPrefix(line, "S"):
			q.Sender = strings.Trim(line[1:], "<>")
		case strings.HasPrefix(line, "M"):
			delay = line[1:]
		case strings.HasPrefix(line, "R"):
			_, address, _ := strings.Cut(line, ":")
			q.Recipients = append(q.Recipients, QueuedRecipient{Address: strings.Trim(address, "<>"), Delay: delay})
		}
	}
	return q, nil
}

// Flush has every message that waits for its next attempt tried now. In the foreground:
// with the first process of its machine the others end.
func (m *Sendmail) Flush(ctx context.Context) error {
	for _, args := range [][]string{{"-Ac", "-C", m.path("etc", "submit.cf"), "-qf"}, {"-C", m.path("etc", "sendmail.cf"), "-qf"}} {
		if out, err := m.command(ctx, args...).CombinedOutput(); err != nil {
			return fmt.Errorf("lab: running Sendmail's queue: %w: %s", err, out)
		}
	}
	return nil
}

// WaitEmpty returns when the queue is empty. When ctx ends first, the error says what is
// still there.
func (m *Sendmail) WaitEmpty(ctx context.Context) error {
	for {
		seen := m.log.len()
		empty, err := m.isEmpty()
		if err == nil {
			err = m.log.catchUp(ctx)
		}
		if err == nil && empty && seen == m.log.len() {
			return nil
		}
		if err == nil {
			err = m.log.somethingHappens(ctx, seen)
		}
		if err != nil {
			queue, _ := m.Queue(ctx)
			return fmt.Errorf("lab: the queue did not become empty: %w; in it: %+v", err, queue)
		}
	}
}

// isEmpty reports that there is no file of a message in a queue.
func (m *Sendmail) isEmpty() (bool, error) {
	for _, name := range []string{"submit", "queue"} {
		files, err := filepath.Glob(m.path(name, "[a-zA-Z]f*"))
		if err != nil {
			return false, fmt.Errorf("lab: looking for mail in the queue: %w", err)
		}
		if len(files) > 0 {
			return false, nil
		}
	}
	return true, nil
}

// Drain has what was put off tried again until the queue is empty. When ctx ends first,
// the error says what is still in the queue.
func (m *Sendmail) Drain(ctx context.Context) error {
	for while := time.Second; ; while *= 2 {
		some, cancel := context.WithTimeout(ctx, while)
		err := m.WaitEmpty(some)
		cancel()
		if err == nil || ctx.Err() != nil || some.Err() == nil {
			return err
		}
		if err := m.Flush(ctx); err != nil {
			return err
		}
	}
}

var takenAs = regexp.MustCompile(`(\S+) Message accepted`)

// QueueID is the id in the queue of a message that was answered with r. The id is empty
// when the reply names none.
func (m *Sendmail) QueueID(r Reply) string {
	if id := takenAs.FindStringSubmatch(r.Text); id != nil {
		return id[1]
	}
	return ""
}

// WaitDeferred returns once a delivery to an address was put off, for a reason that
// matches. Sendmail does not log what one of its rules puts off; that stands in the queue
// alone.
func (m *Sendmail) WaitDeferred(ctx context.Context, to, why string) error {
	logged := regexp.MustCompile("to=<?" + regexp.QuoteMeta(to) + ">?,.*stat=Deferred.*" + why)
	reason := regexp.MustCompile(why)
	for {
		seen := m.log.len()
		if logged.MatchString(m.Log()) {
			return nil
		}
		queue, err := m.Queue(ctx)
		if err != nil {
			return err
		}
		for _, q := range queue {
			for _, r := range q.Recipients {
				if r.Address == to && reason.MatchString(r.Delay) {
					return nil
				}
			}
		}
		if err := m.log.somethingHappens(ctx, seen); err != nil {
			return fmt.Errorf("lab: nothing to %s was put off: %w; in the queue: %+v", to, err, queue)
		}
	}
}

// WaitHostMailPutOff returns once mail of the host itself was put off: a milter said so or
// did not answer, or a lookup failed.
func (m *Sendmail) WaitHostMailPutOff(ctx context.Context) error {
	return m.waitFor(ctx, `to=.*relay=\[127\.0\.0\.1\].*stat=Deferred`)
}

// Visits is how often a message was begun at the services of the instance so far.
func (m *Sendmail) Visits() int { return strings.Count(m.Log(), ": from=") }

// Bounced is how many deliveries the instance has given up so far.
func (m *Sendmail) Bounced() int {
	return strings.Count(m.Log(), "dsn=5.")
}
