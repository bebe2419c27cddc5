package quarantine

import (
	"bufio"
	"bytes"
	"crypto/rand"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"unicode/utf8"

	"coexistd/policy/mail"
	"coexistd/policy/seal"
)

// A message's file begins with one line of JSON, the head, which may end with
// spaces; the content follows byte for byte. The head alone is enough to make
// the index's entries again.
type head struct {
	Item
	// Digest is that of the content (see copyContent).
	Digest     []byte          `json:"digest"`
	Recipients []headRecipient `json:"recipients"`
}

type headRecipient struct {
	ID string `json:"id"`
	Recipient
}

const (
	// maxText bounds texts that are for people, in bytes.
	maxText = 1000
	// maxPath bounds the paths of the envelope, which have to stay whole. One
	// that was parsed is shorter; one of mail made on the host may not be.
	maxPath = 4 * mail.MaxAddress
	// maxList bounds the number of texts in a list.
	maxList = 32
	// maxHead bounds the head of a file that is read, in bytes. It has room for
	// as many recipients as a message may have.
	maxHead = 64 << 20
)

// bounded returns the item as it is stored: with texts of a bounded size that
// JSON can hold. The error says what cannot be stored without harm to it.
func (i Item) bounded() (Item, error) {
	if !isStorable(i.Sender) {
		return i, fmt.Errorf("the sender %.100q is not valid UTF-8 of at most %d bytes", i.Sender, maxPath)
	}
	// A header field's value begins with the space after its colon.
	for _, field := range []*string{&i.From, &i.Subject, &i.MessageID} {
		*field = strings.TrimSpace(*field)
	}
	for _, text := range []*string{&i.QueueID, &i.Client, &i.Login, &i.Platform, &i.From, &i.Subject, &i.MessageID} {
		*text = boundedText(*text)
	}
	return i, nil
}

func (r Recipient) bounded() (Recipient, error) {
	if !isStorable(r.Address) || !isStorable(r.Owner) || r.Address == "" {
		return r, fmt.Errorf("the recipient %.100q is not valid UTF-8 of 1 to %d bytes", r.Address, maxPath)
	}
	// Half an argument would say something else than the whole.
	if !isArgument(r.Notify) {
		r.Notify = ""
	}
	if !isArgument(r.ORcpt) {
		r.ORcpt = ""
	}
	r.Rewritten, r.Found = boundedList(r.Rewritten), boundedList(r.Found)
	return r, nil
}

func isStorable(path string) bool { return len(path) <= maxPath && utf8.ValidString(path) }

// isArgument reports a value that stays one ESMTP argument.
func isArgument(value string) bool {
	return isStorable(value) && !strings.ContainsFunc(value, func(c rune) bool { return c <= ' ' || c == 0x7f })
}

func boundedText(s string) string {
	s = strings.ToValidUTF8(s, "\uFFFD")
	// A character that the bound cuts through goes.
	return strings.ToValidUTF8(s[:min(len(s), maxText)], "")
}

func boundedList(list []string) []string {
	bounded := make([]string, min(len(list), maxList))
	for i := range bounded {
		bounded[i] = boundedText(list[i])
	}
	return bounded
}

// draft is a message's file before it is part of the store. It lies in the
// folder for drafts and is locked as long as somebody is at work on it, so that
// one without a lock is known to be left over.
type draft struct {
	head
	name string // of the message
	file *os.File
	path string // where the file is now
	room int    // the bytes that the head's line may fill
	size int64  // of the whole file
	kept bool   // it is a message now
}

// newDraft writes a message to disk, for recipients who get their IDs here.
// Whether it fails or not, discard is to be called in the end.
func (s *Store) newDraft(item Item, recipients []Recipient, content io.Reader) (_ *draft, err error) {
	d := &draft{name: strings.ToLower(rand.Text())}
	if d.Item, err = item.bounded(); err != nil {
		return d, err
	}
	d.Size, d.Digest = math.MaxInt64, make([]byte, sha256.Size)
	for _, r := range recipients {
		if r, err = r.bounded(); err != nil {
			return d, err
		}
		d.Recipients = append(d.Recipients, headRecipient{strings.ToLower(rand.Text()[:idLength]), r})
	}
	d.path = filepath.Join(s.dir, draftsFolder, d.name)
	if d.file, err = lockedFile(d.path); err != nil {
		return d, err
	}
	s.fault("put: before writing")
	if err := d.write(content); err != nil {
		return d, err
	}
	s.fault("put: written")
	if err := d.file.Sync(); err != nil {
		return d, err
	}
	s.fault("put: synced")
	return d, nil
}

// lockedFile makes a file that is locked. Another process that starts may take the
// file for one that was left over and remove it before it is locked; then it is
// made again.
func lockedFile(path string) (*os.File, error) {
	const tries = 10
	for range tries {
		file, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
		if err != nil {
			return nil, err
		}
		err = syscall.Flock(int(file.Fd()), syscall.LOCK_EX)
		made, errMade := file.Stat()
		there, errThere := os.Stat(path)
		if err == nil && errMade == nil && errThere == nil && os.SameFile(made, there) {
			return file, nil
		}
		file.Close()
		if err != nil {
			return nil, fmt.Errorf("locking %s: %w", path, err)
		}
	}
	return nil, fmt.Errorf("the file %s is removed again and again", path)
}

// write leaves room for the head, writes the content, and then the head, which
// tells of the content.
func (d *draft) write(content io.Reader) error {
	line, err := json.Marshal(d.head)
	if err != nil {
		return err
	}
	d.room = len(line) + 1
	if d.room > maxHead {
		return fmt.Errorf("what is known of the message fills %d bytes, and %d are the most", d.room, maxHead)
	}
	if _, err := d.file.Seek(int64(d.room), io.SeekStart); err != nil {
		return err
	}
	w := bufio.NewWriterSize(d.file, 64<<10)
	if d.Size, d.Digest, err = copyContent(w, content); err != nil {
		return err
	}
	if err := w.Flush(); err != nil {
		return err
	}
	d.size = int64(d.room) + d.Size
	return d.writeHead()
}

func (d *draft) writeHead() error {
	line, err := json.Marshal(d.head)
	if err != nil {
		return err
	}
	padded := bytes.Repeat([]byte{' '}, d.room)
	copy(padded, line)
	padded[d.room-1] = '\n'
	_, err = d.file.WriteAt(padded, 0)
	return err
}

// place gives a draft its place among the messages, for those recipients only.
func (s *Store) place(d *draft, recipients []headRecipient) error {
	if len(recipients) < len(d.Recipients) {
		d.Recipients = recipients
		if err := d.writeHead(); err != nil {
			return err
		}
		if err := d.file.Sync(); err != nil {
			return err
		}
	}
	d.kept = true
	path := s.messagePath(d.name)
	folder := filepath.Dir(path)
	if err := os.Mkdir(folder, 0o700); err == nil {
		if err := syncFolder(filepath.Dir(folder)); err != nil {
			return err
		}
	} else if !errors.Is(err, os.ErrExist) {
		return err
	}
	if err := os.Rename(d.path, path); err != nil {
		return err
	}
	d.path = path
	s.fault("put: renamed")
	if err := syncFolder(folder); err != nil {
		return err
	}
	s.fault("put: folder synced")
	return nil
}

// discard ends the work on a draft. One that is not kept is gone, and its space
// is free again.
func (d *draft) discard() {
	if d.file == nil {
		return
	}
	if !d.kept {
		_ = os.Remove(d.path) // the next start removes what is left
	}
	d.file.Close()
}

func syncFolder(path string) error {
	folder, err := os.Open(path)
	if err != nil {
		return err
	}
	defer folder.Close()
	return folder.Sync()
}

// copyContent copies a message and returns its size and its digest: the SHA-256
// of what follows the pass headers that it begins with. A message that comes
// back after its release has the digest with which it was stored.
func copyContent(w io.Writer, content io.Reader) (size int64, digest []byte, err error) {
	r := bufio.NewReaderSize(content, 64<<10)
	for hasPrefixFold(r, seal.PassHeader+":") {
		n, err := copyField(w, r)
		if size += n; err != nil {
			return size, nil, err
		}
	}
	hash := sha256.New()
	n, err := io.Copy(io.MultiWriter(w, hash), r)
	return size + n, hash.Sum(nil), err
}

func hasPrefixFold(r *bufio.Reader, prefix string) bool {
	begin, err := r.Peek(len(prefix))
	return err == nil && strings.EqualFold(string(begin), prefix)
}

// copyField copies a header field with the lines that continue it.
func copyField(w io.Writer, r *bufio.Reader) (size int64, err error) {
	for {
		piece, err := r.ReadSlice('\n')
		n, writeErr := w.Write(piece)
		size += int64(n)
		switch {
		case writeErr != nil:
			return size, writeErr
		case err == io.EOF:
			return size, nil
		case err == bufio.ErrBufferFull:
			continue
		case err != nil:
			return size, err
		}
		if next, err := r.Peek(1); err != nil || next[0] != ' ' && next[0] != '\t' {
			return size, nil
		}
	}
}

// stored is a message's content, open for reading.
type stored struct {
	*io.SectionReader
	file *os.File
}

// Close releases the file.
func (s *stored) Close() error { return s.file.Close() }

// openMessage opens a message's file behind its head.
func (s *Store) openMessage(name string) (*stored, error) {
	file, err := os.Open(s.messagePath(name))
	if err != nil {
		return nil, err
	}
	line, size, err := headLine(file)
	if err != nil {
		file.Close()
		return nil, fmt.Errorf("%s: %w", file.Name(), err)
	}
	room := int64(len(line))
	return &stored{io.NewSectionReader(file, room, size-room), file}, nil
}

// headLine reads the line that a message's file begins with, and the file's size.
func headLine(file *os.File) (line []byte, size int64, err error) {
	info, err := file.Stat()
	if err != nil {
		return nil, 0, err
	}
	line, err = bufio.NewReader(io.LimitReader(file, maxHead)).ReadBytes('\n')
	if err == io.EOF {
		err = errors.New("the file has no head")
	}
	return line, info.Size(), err
}

// readHead reads what is known of a stored message, and the size of its file.
func readHead(file *os.File) (h head, size int64, err error) {
	line, size, err := headLine(file)
	if err != nil {
		return h, 0, err
	}
	if err := json.Unmarshal(line, &h); err != nil {
		return h, 0, fmt.Errorf("the file's head cannot be read: %w", err)
	}
	if want := int64(len(line)) + h.Size; size != want {
		return h, 0, fmt.Errorf("the file has %d bytes; it should have %d", size, want)
	}
	return h, size, nil
}
