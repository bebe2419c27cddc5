package quarantine

import (
	"bufio"
	"bytes"
	"cmp"
	"crypto/sha256"
	"database/sql"
	"errors"
	"fmt"
	"hash"
	"hash/crc32"
	"io"
	"strings"

	"coexistd/policy/seal"
)

// castagnoli is the table of the chunks' checksums.
var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// writeChunks writes what comes next of a message, as many chunks as one change may.
func writeChunks(tx *sql.Tx, a *arrival) error {
	insert, err := tx.Prepare("INSERT INTO chunks VALUES (?, ?, ?)")
	if err != nil {
		return err
	}
	defer insert.Close()
	for n := 0; n < chunksAtOnce && !a.ended; n++ {
		n, err := io.ReadFull(a.content, a.buf)
		if a.ended = err == io.EOF || err == io.ErrUnexpectedEOF; err != nil && !a.ended {
			return err
		}
		if n == 0 {
			break
		}
		if a.chunks == maxChunks {
			return errors.New("the message is too large")
		}
		data := a.buf[:n]
		if _, err := insert.Exec(a.number*maxChunks+a.chunks, int64(crc32.Checksum(data, castagnoli)), data); err != nil {
			return err
		}
		a.chunks, a.bytes = a.chunks+1, a.bytes+int64(n)
	}
	return nil
}

// stored is a message's content. It is read chunk by chunk, so that neither much of it is in
// memory nor the store held up.
type stored struct {
	*io.SectionReader
}

// Close does nothing: nothing is open between two reads.
func (stored) Close() error { return nil }

// content returns the content of an entry's message.
func (s *Store) content(e *Entry) stored {
	return stored{io.NewSectionReader(&chunks{store: s, message: e.Message, at: -1}, 0, e.Size)}
}

// chunks read a message at any place. They keep the chunk that was read last.
type chunks struct {
	store   *Store
	message int64
	at      int64
	data    []byte
}

// ReadAt is io.ReaderAt's, of one goroutine at a time.
func (c *chunks) ReadAt(p []byte, offset int64) (n int, err error) {
	for n < len(p) {
		at := offset + int64(n)
		if err := c.load(at / chunkSize); err != nil {
			return n, err
		}
		rest := c.data[min(at%chunkSize, int64(len(c.data))):]
		if len(rest) == 0 {
			return n, io.ErrUnexpectedEOF
		}
		n += copy(p[n:], rest)
	}
	return n, nil
}

func (c *chunks) load(at int64) error {
	if at == c.at {
		return nil
	}
	var sum int64
	c.at = -1
	err := c.store.view(func(tx *sql.Tx) error {
		row, err := tx.Query("SELECT checksum, data FROM chunks WHERE number = ?", c.message*maxChunks+at)
		if err != nil {
			return err
		}
		defer row.Close()
		if !row.Next() {
			return cmp.Or(row.Err(), errors.New("a piece of it is no longer there"))
		}
		var data sql.RawBytes // of which Scan would make one more copy
		err = row.Scan(&sum, &data)
		c.data = append(c.data[:0], data...)
		return err
	})
	switch {
	case err != nil:
		return err
	case int64(crc32.Checksum(c.data, castagnoli)) != sum:
		return fmt.Errorf("piece %d of it is not as it was written: its checksum is wrong", at)
	}
	c.at = at
	return nil
}

// digester hashes what is read through it of a message: the SHA-256 of what follows the pass
// headers that it begins with. A message that comes back after its release has the digest
// with which it was stored.
type digester struct {
	hash    hash.Hash
	content *bufio.Reader
	where   place
}

// place is where a digester is in a message.
type place int

const (
	fieldStart place = iota // at the start of what may be a pass header
	lineStart               // at the start of a line that may belong to one
	inLine                  // within a line of one
	behind                  // behind all of them
)

func newDigester(content io.Reader) *digester {
	return &digester{hash: sha256.New(), content: bufio.NewReaderSize(content, 64<<10)}
}

// Read is io.Reader's.
func (d *digester) Read(p []byte) (n int, err error) {
	next, err := d.content.Peek(1)
	if d.where == lineStart && (err != nil || next[0] != ' ' && next[0] != '\t') {
		d.where = fieldStart
	}
	if d.where == fieldStart && !hasPrefixFold(d.content, seal.PassHeader+":") {
		d.where = behind
	}
	if err != nil {
		return 0, err
	}
	if d.where == behind {
		n, err = d.content.Read(p)
		d.hash.Write(p[:n])
		return n, err
	}
	piece, err := d.content.Peek(min(len(p), d.content.Buffered()))
	if err != nil {
		return 0, err
	}
	d.where = inLine
	if end := bytes.IndexByte(piece, '\n'); end >= 0 {
		piece, d.where = piece[:end+1], lineStart
	}
	return d.content.Read(p[:len(piece)])
}

func hasPrefixFold(r *bufio.Reader, prefix string) bool {
	begin, err := r.Peek(len(prefix))
	return err == nil && strings.EqualFold(string(begin), prefix)
}
