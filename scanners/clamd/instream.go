package clamd

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"regexp"
	"slices"
	"strings"
	"time"

	"coexistd/policy/mail"
	"coexistd/policy/verdict"
	"coexistd/scanners"
)

// INSTREAM is spoken here and not by the package go-clamd, which sends chunks of
// 1 KB: a mail of 5 MB took 325 ms by it and 39 ms of this process's CPU time, and
// 262 ms and 4 ms here; clamdscan took 273 ms (BenchmarkClamd). Nor does that
// package bound what it reads, or read what clamd says before it closes early.
const (
	chunkSize = 64 << 10 // bytes
	maxReply  = 4 << 10  // bytes; the name of a signature is the longest part
)

// contentError is an error of reading the message, for which no clamd is to
// blame.
type contentError struct{ err error }

func (e *contentError) Error() string { return "the message could not be read: " + e.err.Error() }

// instream sends one message to one clamd and returns all that it replied, which
// is something, of at most maxReply+1 bytes (clamd(8): INSTREAM with the
// prefix z, by which command and reply end with NUL). When the message could not
// be read, the error is a contentError and clamd was not told that the message
// is complete; any other reads on from "clamd at ADDRESS".
func instream(ctx context.Context, address string, m *scanners.Message) ([]byte, error) {
	network, target := splitAddress(address)
	conn, err := new(net.Dialer).DialContext(ctx, network, target)
	if err != nil {
		return nil, unreachable(err)
	}
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { conn.SetDeadline(time.Unix(1, 0)) })()

	sent := sendMessage(conn, m)
	var unread *contentError
	if errors.As(sent, &unread) {
		return nil, sent
	}
	// clamd says why before it closes early.
	reply, err := io.ReadAll(io.LimitReader(conn, maxReply+1))
	switch {
	case ctx.Err() != nil:
		return nil, ctx.Err()
	case sent != nil && (len(reply) == 0 || string(reply) == replyOK):
		return nil, fmt.Errorf("closed the connection before it had the whole message: %w", cause(sent))
	case len(reply) == 0 && err != nil:
		return nil, fmt.Errorf("broke the connection: %w", cause(err))
	case len(reply) == 0:
		return nil, errNoAnswer
	}
	return reply, nil
}

// sendMessage writes the command and the message, each chunk after its length
// in four bytes, and an empty chunk at the end.
func sendMessage(w io.Writer, m *scanners.Message) error {
	frame := []byte("zINSTREAM\x00")
	for at := int64(0); at < m.Size; {
		size := int(min(m.Size-at, chunkSize))
		frame = binary.BigEndian.AppendUint32(frame, uint32(size))
		start := len(frame)
		frame = slices.Grow(frame, size)[:start+size]
		// At the end of the content, ReadAt may return io.EOF with all of it.
		if n, err := m.Content.ReadAt(frame[start:], at); n < size {
			if err == io.EOF {
				err = fmt.Errorf("it ends after %d of %d bytes", at+int64(n), m.Size)
			}
			return &contentError{err}
		}
		if _, err := w.Write(frame); err != nil {
			return err
		}
		frame = frame[:0]
		at += int64(size)
	}
	_, err := w.Write(append(frame, 0, 0, 0, 0))
	return err
}

// What clamd replies to INSTREAM. Anything else is no verdict.
const (
	replyOK    = "stream: OK\x00"
	replyStart = "stream: "
	replyFound = " FOUND"
	replyLimit = "INSTREAM size limit exceeded. ERROR"
)

// partlyScanned begins the names by which clamd tells, with AlertExceedsMax,
// that a limit of its own kept it from looking into all of a message.
const partlyScanned = "Heuristics.Limits.Exceeded"

// readVerdict turns the reply of the clamd at that address into a finding. An unknown
// that is not settled may be this clamd's own trouble.
func readVerdict(address string, reply []byte) (finding verdict.Finding, settled bool) {
	if string(reply) == replyOK {
		return verdict.Passed(verdict.CheckVirus), true
	}
	line, rest, ended := strings.Cut(string(reply), "\x00")
	named, isStream := strings.CutPrefix(line, replyStart)
	name, found := strings.CutSuffix(named, replyFound)
	name = mail.Excerpt(strings.TrimSpace(withoutHash.ReplaceAllString(name, "")), maxName)
	trouble := func(what, words string) (verdict.Finding, bool) {
		return scanners.Unknown(verdict.CheckVirus, fmt.Sprintf("clamd at %s %s: %q", address, what, mail.Excerpt(words, maxName))), false
	}
	switch {
	case len(reply) > maxReply:
		return scanners.Unknown(verdict.CheckVirus, fmt.Sprintf("clamd at %s gave an answer of more than %d bytes", address, maxReply)), false
	case !ended:
		return trouble("gave an answer without an end", line)
	case rest != "":
		return trouble("gave more than one answer", line+" "+rest)
	case isStream && found && strings.HasPrefix(name, partlyScanned):
		return scanners.Unknown(verdict.CheckVirus, "a limit of clamd's kept it from looking into all of the message: "+name), true
	case isStream && found && name != "":
		return scanners.Hit(verdict.CheckVirus, name, "clamd found "+name), true
	case line == replyLimit:
		return scanners.Unknown(verdict.CheckVirus, "the message is larger than clamd's StreamMaxLength, which should be at least scanner.clamd.max_size"), true
	case strings.HasSuffix(line, " ERROR"):
		return trouble("failed on the message", line)
	}
	return trouble("gave an answer that says neither OK nor FOUND", line)
}

// withoutHash matches what ExtendedDetectionInfo adds to a name: the file's MD5
// sum and size.
var withoutHash = regexp.MustCompile(`\([0-9a-f]{32}:[0-9]+\)$`)

// maxName bounds what is shown of clamd's words, in bytes. They come from a
// database of signatures and go into replies and logs.
const maxName = 128
