// Package archive opens files that hold files: zip, gzip, bzip2, tar, RAR, 7z, TNEF and calendars. It
// gives their names and, where it can unpack them, their contents. Whatever an archive
// claims, no more is read and written than a Budget allows.
package archive

import (
	"archive/tar"
	"bytes"
	"compress/bzip2"
	"compress/flate"
	"compress/gzip"
	"errors"
	"io"
	"strings"
)

// Kind is a kind of archive.
type Kind uint8

// The kinds.
const (
	Zip Kind = iota + 1
	Gzip
	Bzip2
	Tar
	TNEF
	RAR
	SevenZip
	Calendar
)

// Entry is a file in an archive.
type Entry struct {
	// Names are all that programs may take for its name. A folder, which may be called
	// what it likes, has none.
	Names []string
	// IsTitle says that the name is for people: that of a message is its subject.
	IsTitle bool
	// IsRenamed says that the file may have another name, which is given without its content.
	IsRenamed bool
	// Encrypted says that only a password opens it.
	Encrypted bool
	// Content is good until the next entry is asked for. It is nil when there is none, or
	// none that could be read.
	Content io.Reader
}

// ErrSealed says that only a password opens the archive, from here on.
var ErrSealed = errors.New("only a password opens the archive")

// Reader reads one archive, entry by entry. The end is io.EOF. What cannot be read, or may
// be read in several ways, is told to the Budget as a doubt; other errors are ErrSealed only.
type Reader interface {
	Next() (*Entry, error)
}

// Opener opens archives, one at a time, with the same buffers.
type Opener struct {
	memory  bytes.Buffer
	inflate io.Reader
	spool   *spool
}

// Open opens the archive of that kind that r holds; name is that of its file, which packed
// files pass on. TempDir is where a large one is kept meanwhile. Close follows.
func (o *Opener) Open(kind Kind, name string, r io.Reader, b *Budget, tempDir string) Reader {
	switch r = b.Reader(r); kind {
	case Gzip:
		z, err := gzip.NewReader(r)
		if err != nil {
			b.Short("its gzip header cannot be read")
			return &packed{}
		}
		return &packed{&Entry{Names: []string{packedName(name), z.Name}, Content: b.Reader(gzipReader{z})}}
	case Bzip2:
		return &packed{&Entry{Names: []string{packedName(name)}, Content: b.Reader(bzip2.NewReader(r))}}
	case Tar:
		return &tarReader{tar.NewReader(r), b}
	case TNEF:
		return newTNEF(r, b)
	case Calendar:
		return newCalendar(r)
	}
	file, err := newSpool(r, tempDir, &o.memory)
	if err != nil {
		b.Short("the file cannot be read to its end (%v)", err)
	}
	if o.spool = file; file == nil {
		return &packed{}
	}
	switch kind {
	case RAR:
		return newRAR(file, b)
	case SevenZip:
		return &sevenZip{file, b}
	}
	return newZip(file, b, o)
}

// Close ends the reading of an archive.
func (o *Opener) Close() {
	if o.spool != nil {
		o.spool.close()
		o.spool = nil
	}
	if o.inflate != nil {
		o.inflater(strings.NewReader(""))
	}
}

// inflater returns the decompressor, reading r.
func (o *Opener) inflater(r io.Reader) io.Reader {
	if o.inflate == nil {
		o.inflate = flate.NewReader(r)
	}
	// Without a dictionary it cannot fail.
	_ = o.inflate.(flate.Resetter).Reset(r, nil)
	return o.inflate
}

// packed holds one file, or none.
type packed struct{ entry *Entry }

// Next returns the file.
func (p *packed) Next() (*Entry, error) {
	entry := p.entry
	if p.entry = nil; entry == nil {
		return nil, io.EOF
	}
	return entry, nil
}

// gzipReader ends where there is something else behind what is packed, as gunzip does.
type gzipReader struct{ *gzip.Reader }

func (z gzipReader) Read(p []byte) (int, error) {
	n, err := z.Reader.Read(p)
	if err == gzip.ErrHeader {
		err = io.EOF
	}
	return n, err
}

// packedName is the name of the one file in a packed file.
func packedName(name string) string {
	if dot := strings.LastIndexByte(name, '.'); dot > 0 {
		return name[:dot]
	}
	return name
}

type tarReader struct {
	archive *tar.Reader
	budget  *Budget
}

// Next returns the next file.
func (t *tarReader) Next() (*Entry, error) {
	h, err := t.archive.Next()
	switch {
	case err == io.EOF:
		return nil, io.EOF
	case err != nil:
		t.budget.Short("the tar archive cannot be read")
		return nil, io.EOF
	case h.Typeflag == tar.TypeDir:
		return &Entry{}, nil
	}
	return &Entry{Names: []string{h.Name}, Content: t.budget.Reader(t.archive)}, nil
}
