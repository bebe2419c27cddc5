package attachments_test

import (
	"archive/zip"
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"fmt"
	"io"
	"reflect"
	"slices"
	"strings"
	"testing"

	"coexistd/scanners/attachments/archive"
)

// unpacked is what an archive gave.
type unpacked struct {
	Names, Files, Doubts []string
	IsSealed             bool
}

// unpack reads an archive as a scan does, to its end or to a thousand files.
func unpack(t *testing.T, o *archive.Opener, kind archive.Kind, data []byte, left int64) unpacked {
	var u unpacked
	doubt := func(format string, args ...any) { u.Doubts = append(u.Doubts, fmt.Sprintf(format, args...)) }
	budget := &archive.Budget{Context: t.Context(), Left: left, Doubt: doubt, Short: doubt}
	reader := o.Open(kind, "a.bin", bytes.NewReader(data), budget, "")
	defer o.Close()
	total := int64(0)
	for len(u.Files) < 1000 {
		entry, err := reader.Next()
		if err != nil {
			if u.IsSealed = err == archive.ErrSealed; !u.IsSealed && err != io.EOF {
				t.Fatalf("Next returned %v", err)
			}
			break
		}
		sum := sha256.New()
		size := int64(0)
		if entry.Content != nil {
			size, err = io.Copy(sum, entry.Content)
		}
		total += size
		u.Names = append(u.Names, entry.Names...)
		u.Files = append(u.Files, fmt.Sprintf("%q %t %t %x %v", entry.Names, entry.IsTitle, entry.Encrypted, sum.Sum(nil), err))
	}
	// What runs out does so within a reading.
	if total > left+64<<10 {
		t.Fatalf("%d bytes were unpacked, where %d were allowed", total, left)
	}
	return u
}

// fuzzArchive lets archives of that kind be unpacked, which have to give the same twice, and
// no more than they may. Further checks follow.
func fuzzArchive(f *testing.F, kind archive.Kind, checks ...func(*testing.T, []byte, unpacked)) {
	var opener archive.Opener
	f.Fuzz(func(t *testing.T, data []byte) {
		if len(data) > 64<<10 {
			return
		}
		first := unpack(t, &opener, kind, data, 4<<20)
		for _, doubt := range first.Doubts {
			if strings.ContainsFunc(doubt, func(c rune) bool { return c < ' ' || c > '~' }) {
				t.Fatalf("a doubt holds what a stranger wrote: %q", doubt)
			}
		}
		unpack(t, &opener, kind, data, int64(len(data)/2)) // leaves nothing behind
		if second := unpack(t, &opener, kind, data, 4<<20); !reflect.DeepEqual(second, first) {
			t.Fatalf("got %+v, then %+v", first, second)
		}
		for _, check := range checks {
			check(t, data, first)
		}
	})
}

func FuzzZip(f *testing.F) {
	f.Add(zipped(member{"a.txt", []byte("x")}, member{"b/", nil}, member{"b/c.zip", zipped(member{"c", []byte("x")})}))
	f.Add(zippedStored("a.exe", pe))
	for _, content := range inTestdata(f, "PK\x03\x04") {
		f.Add(content)
	}
	fuzzArchive(f, archive.Zip, func(t *testing.T, data []byte, got unpacked) {
		r, err := zip.NewReader(bytes.NewReader(data), int64(len(data)))
		if err != nil || len(got.Doubts) > 0 || len(r.File) > 1000 {
			return
		}
		for _, file := range r.File {
			if !strings.HasSuffix(file.Name, "/") && !slices.Contains(got.Names, file.Name) {
				t.Fatalf("the file %q is not told: %+v", file.Name, got)
			}
		}
	})
}

func FuzzPacked(f *testing.F) {
	f.Add([]byte("BZh91AY&SY\x17\x72\x45\x38\x50\x90\x00\x00\x00\x00"))
	f.Add(gzipped("a.txt", []byte("some text")))
	f.Add(brokenGzip([]byte("some text")))
	f.Fuzz(func(t *testing.T, data []byte) {
		var opener archive.Opener
		for _, kind := range []archive.Kind{archive.Gzip, archive.Bzip2} {
			first := unpack(t, &opener, kind, data, 1<<20)
			if second := unpack(t, &opener, kind, data, 1<<20); !reflect.DeepEqual(second, first) {
				t.Fatalf("got %+v, then %+v", first, second)
			}
			if _, err := gzip.NewReader(bytes.NewReader(data)); kind == archive.Gzip && err == nil && len(first.Files) != 1 {
				t.Fatalf("the file is not told: %+v", first)
			}
		}
	})
}

func FuzzTar(f *testing.F) {
	f.Add(tarred(member{"a.txt", []byte("some text")}, member{"b.exe", pe}))
	fuzzArchive(f, archive.Tar)
}

func FuzzCalendar(f *testing.F) {
	f.Add([]byte("BEGIN:VCALENDAR\r\nATTACH;ENCODING=BASE64;VALUE=BINARY;FMTTYPE=text/plain;X-FILENAME=\"a.exe\":TVqQ\r\n AAMA\r\nEND:VCALENDAR\r\n"))
	f.Add([]byte("ATTACH;VALUE=BINARY:TVqQ\nATTACH;FILENAME=b.js:x"))
	fuzzArchive(f, archive.Calendar)
}

func FuzzRAR(f *testing.F) {
	f.Add(rar4(0, "a.txt"))
	f.Add(rar4(4, "a.txt"))
	f.Add(rar4(0x200, "a.txt\x00\x00\xc0\x83\x01exe"))
	f.Add(append([]byte("in front"), rar5("a.txt", "")...))
	f.Add(rar5("a.txt", "\x03\x01\x00\x00"))
	f.Add([]byte("Rar!\x1a\x07\x01\x00\x00\x00\x00\x00\x03\x04\x00\x00garbage"))
	fuzzArchive(f, archive.RAR)
}

func FuzzSevenZip(f *testing.F) {
	f.Add(append([]byte("7z\xbc\xaf\x27\x1c\x00\x04\x00\x00\x00\x00\x04\x00\x00\x00\x00\x00\x00\x00\x06\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00"), "data\x17\x06\xf1\x07\x01\x00"...))
	fuzzArchive(f, archive.SevenZip)
}

func FuzzTNEF(f *testing.F) {
	f.Add(tnef("A.TXT", []byte("x")))
	f.Add(tnefLong("A.TXT", []byte("x"), property(0x3707, 0x1f, wide("a long name.txt")), property(0x3701, 0x0d, append(make([]byte, 16), "inner"...))))
	f.Add(tnefLong("", nil, property(0x3001, 0x1e, []byte("a subject\x00")), property(0x3701, 0x102, []byte("x"))))
	for _, content := range inTestdata(f, "\x78\x9f\x3e\x22") {
		f.Add(content)
	}
	fuzzArchive(f, archive.TNEF)
}
