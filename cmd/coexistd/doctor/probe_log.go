package doctor

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"regexp"
	"strings"
	"sync"

	"coexistd/policy/config/files"
)

// usualLogs are where the MTA's log usually is.
var usualLogs = []string{"/var/log/mail.log", "/var/log/maillog"}

const (
	// mostLog bounds how much of a log is read at once, and mostLine what is kept of a line
	// that has not ended yet, in bytes.
	mostLog  = 16 << 20
	mostLine = 64 << 10
	// mostAnswer bounds what is told of the other side's answer, in bytes.
	mostAnswer = 500
)

// MailLog is the MTA's log from when it was opened on. It tells what became of messages that
// left: a bounce that the MTA writes itself passes no milter.
type MailLog struct {
	path string

	mu    sync.Mutex
	file  *os.File
	lost  error             // why the file that has taken the place of this one cannot be read, or nil
	begun []byte            // of a line
	ids   map[string]bool   // the Message-Ids that are watched
	queue map[string]string // the Message-Id by the MTA's name of the message
	fates map[string]fate   // by Message-Id
}

// fate is what the MTA says that became of a message.
type fate struct {
	state string // empty: nothing is known
	text  string
}

// The states of a fate.
const (
	sent     = "sent"
	deferred = "deferred"
	bounced  = "bounced"
)

var states = map[string]string{"2": sent, "4": deferred, "5": bounced}

// OpenMailLog opens the MTA's log at its end. An empty path is where it usually is; a log that
// is not there, or not to be read, is nil.
func OpenMailLog(path string) (*MailLog, error) {
	paths := usualLogs
	if path != "" {
		paths = []string{path}
	}
	var failed error
	for _, one := range paths {
		file, _, err := files.Open(one)
		if err == nil {
			_, err = file.Seek(0, io.SeekEnd)
		}
		if err == nil {
			return &MailLog{path: one, file: file, ids: make(map[string]bool), queue: make(map[string]string), fates: make(map[string]fate)}, nil
		}
		failed = fmt.Errorf("%s %w", one, err)
	}
	if path == "" {
		return nil, nil
	}
	return nil, failed
}

// Close closes the log.
func (l *MailLog) Close() {
	if l != nil {
		l.file.Close()
	}
}

// watch has the log watched for a message.
func (l *MailLog) watch(messageID string) {
	if l == nil {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.ids[messageID] = true
}

// fateOf tells what the log says of a message by now.
func (l *MailLog) fateOf(messageID string) fate {
	if l == nil {
		return fate{}
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.read()
	return l.fates[messageID]
}

// lostTo says why the log tells nothing more, or nil.
func (l *MailLog) lostTo() error {
	if l == nil {
		return nil
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.lost
}

// read reads what was written since, in the file that has taken the place of this one, too.
func (l *MailLog) read() {
	next := l.next()
	l.readFile()
	if next != nil {
		l.file.Close()
		l.file, l.begun = next, nil
		l.readFile()
	}
}

// next returns the file that has taken the place of the log's, once something is written to it: until
// then, who writes has the old one still. It goes back to the beginning of one that was cut.
func (l *MailLog) next() *os.File {
	own, errOwn := l.file.Stat()
	there, err := os.Stat(l.path)
	if errOwn != nil || err != nil {
		return nil
	}
	if os.SameFile(own, there) {
		if at, err := l.file.Seek(0, io.SeekCurrent); err == nil && own.Size() < at {
			_, _ = l.file.Seek(0, io.SeekStart)
			l.begun = nil
		}
		return nil
	}
	if there.Size() == 0 {
		return nil
	}
	var file *os.File
	file, _, l.lost = files.Open(l.path)
	return file
}

// readFile reads what was written to the file since. One that cannot be read tells nothing more.
func (l *MailLog) readFile() {
	fresh, _ := io.ReadAll(io.LimitReader(l.file, mostLog))
	text := append(l.begun, fresh...)
	end := bytes.LastIndexByte(text, '\n') + 1
	for line := range strings.Lines(string(text[:end])) {
		l.take(line)
	}
	if l.begun = bytes.Clone(text[end:]); len(l.begun) > mostLine {
		l.begun = nil
	}
}

var (
	queueID   = regexp.MustCompile(`\]: ([0-9A-Za-z]{6,24}): (.*)`)
	messageID = regexp.MustCompile(`(?:message-id|msgid)=<([^<>]{1,300})>`)
	outcome   = regexp.MustCompile(`\bdsn=([245])\.[0-9]+\.[0-9]+, (.*)`)
)

// take takes one line, of Postfix or of Sendmail.
func (l *MailLog) take(line string) {
	named := queueID.FindStringSubmatch(line)
	if named == nil {
		return
	}
	queue, rest := named[1], named[2]
	if id := messageID.FindStringSubmatch(rest); id != nil && l.ids[id[1]] {
		l.queue[queue] = id[1]
	}
	id, known := l.queue[queue]
	if !known || !strings.HasPrefix(rest, "to=") {
		return
	}
	if said := outcome.FindStringSubmatch(rest); said != nil {
		l.fates[id] = fate{states[said[1]], said[2][:min(len(said[2]), mostAnswer)]}
	}
}
