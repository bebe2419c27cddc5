package sources

import (
	"bufio"
	"bytes"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"strings"
	"unicode/utf8"

	"coexistd/policy/directory"
)

// maxLine bounds one row, in bytes.
const maxLine = 64 << 10

// parse reads a CSV file of so many bytes, with room for so many lines to begin with. Without
// sound columns no row can be judged, so that bad ones end the reading.
func parse(s directory.Source, from io.Reader, size int64, lines int) (*directory.Snapshot, error) {
	// No row that lists an address is shorter than "a@b,o".
	b := directory.NewBuilder(s, min(lines, int(size)/len("a@b,o")), int(size))
	text := bufio.NewReaderSize(from, maxLine+len("\r\n"))
	begin, _ := text.Peek(len("\ufeff"))
	switch {
	case bytes.HasPrefix(begin, []byte("\xff\xfe")), bytes.HasPrefix(begin, []byte("\xfe\xff")):
		b.Refuse(1, errUTF16)
		return b.Snapshot()
	case string(begin) == "\ufeff":
		_, _ = text.Discard(len(begin)) // they are there
	}
	rows, begun := newRowReader(), false
	for number := 1; ; number++ {
		line, more, err := nextLine(text)
		if !more {
			break
		}
		if err == nil && len(bytes.Trim(line, " ")) == 0 {
			continue
		}
		var fields []string
		if err == nil {
			fields, err = rows.split(line)
		}
		switch {
		case err != nil && begun:
			b.Unreadable(number, string(line), err)
		case err != nil:
			b.Refuse(number, err)
		case begun:
			b.Add(number, fields)
		default:
			begun = b.Columns(number, fields)
		}
		if !begun {
			return b.Snapshot()
		}
	}
	if !begun {
		b.Refuse(1, errEmpty)
	}
	return b.Snapshot()
}

// nextLine returns a line without its end, until the next call, or that there is no more.
// The error is of one that is too long, of which it returns the beginning.
func nextLine(from *bufio.Reader) (line []byte, more bool, err error) {
	line, failed := from.ReadSlice('\n')
	length, last := len(line), line
	if failed == bufio.ErrBufferFull {
		line = bytes.Clone(line) // what follows takes its place
	}
	for failed == bufio.ErrBufferFull {
		last, failed = from.ReadSlice('\n')
		length += len(last)
	}
	bare := bytes.TrimSuffix(bytes.TrimSuffix(last, []byte("\n")), []byte("\r"))
	if long := length - (len(last) - len(bare)); long > maxLine {
		return line, true, fmt.Errorf("the row has %d bytes; at most %d are read", long, maxLine)
	}
	return bare, length > 0, nil
}

var (
	errOpenQuote  = errors.New("a field in double quotes does not end on its line")
	errAfterQuote = errors.New("text follows the double quote that ends a field; a double quote within a field is written twice")
	errBareQuote  = errors.New("a double quote stands within a field that does not begin with one; put the field in double quotes and write the inner ones twice")
	errUTF8       = errors.New("the row is not UTF-8; save the file as UTF-8")
	errUTF16      = errors.New("the file is UTF-16; save it as UTF-8")
	errEmpty      = errors.New("the file is empty; its first line would be address,residence,login")
)

// checkLine refuses what no list has a use for and what some later reader of
// the file would trip over.
func checkLine(line []byte) error {
	for i := range len(line) {
		if line[i] < ' ' || line[i] == 0x7f {
			return fmt.Errorf("the row holds the control character 0x%02x at byte %d", line[i], i+1)
		}
	}
	if !utf8.Valid(line) {
		return errUTF8
	}
	return nil
}

// rowReader takes rows apart (RFC 4180 section 2, except that no field holds a line
// break).
type rowReader struct {
	text *bytes.Reader
	line *bufio.Reader
	csv  *csv.Reader
}

func newRowReader() rowReader {
	text := bytes.NewReader(nil)
	line := bufio.NewReader(text)
	r := rowReader{text, line, csv.NewReader(line)}
	r.csv.FieldsPerRecord, r.csv.ReuseRecord = -1, true
	return r
}

// split returns the fields of a line, without the spaces around them, until the next call.
func (r rowReader) split(line []byte) ([]string, error) {
	if err := checkLine(line); err != nil {
		return nil, err
	}
	r.text.Reset(line)
	r.line.Reset(r.text)
	fields, err := r.csv.Read()
	wrong, _ := errors.AsType[*csv.ParseError](err)
	switch {
	case errors.Is(err, csv.ErrBareQuote):
		return nil, errBareQuote
	case err != nil && wrong.Column > len(line):
		return nil, errOpenQuote
	case err != nil:
		return nil, errAfterQuote
	}
	for i, field := range fields {
		fields[i] = strings.Trim(field, " ")
	}
	return fields, nil
}
