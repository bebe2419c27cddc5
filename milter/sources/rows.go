package sources

import (
	"bufio"
	"encoding/csv"
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"

	"coexistd/policy/directory"
)

// maxLine bounds one row, in bytes.
const maxLine = 64 << 10

// parse reads the text of a CSV file. Without sound columns no row can be judged, so
// that bad ones end the reading.
func parse(s directory.Source, text string) (*directory.Snapshot, error) {
	// No row that lists an address is shorter than "a@b,o".
	most := min(strings.Count(text, "\n")+1, len(text)/len("a@b,o"))
	b := directory.NewBuilder(s, most, len(text))
	if strings.HasPrefix(text, "\xff\xfe") || strings.HasPrefix(text, "\xfe\xff") {
		b.Refuse(1, errUTF16)
		return b.Snapshot()
	}
	rows, number, begun := newRowReader(), 0, false
	for line := range strings.Lines(strings.TrimPrefix(text, "\ufeff")) {
		number++
		line = strings.TrimSuffix(strings.TrimSuffix(line, "\n"), "\r")
		if strings.Trim(line, " ") == "" {
			continue
		}
		switch fields, err := rows.split(line); {
		case err != nil && begun:
			b.Unreadable(number, line, err)
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
func checkLine(line string) error {
	if len(line) > maxLine {
		return fmt.Errorf("the row has %d bytes; at most %d are read", len(line), maxLine)
	}
	for i := range len(line) {
		if line[i] < ' ' || line[i] == 0x7f {
			return fmt.Errorf("the row holds the control character 0x%02x at byte %d", line[i], i+1)
		}
	}
	if !utf8.ValidString(line) {
		return errUTF8
	}
	return nil
}

// rowReader takes rows apart (RFC 4180 section 2, except that no field holds a line
// break).
type rowReader struct {
	text *strings.Reader
	line *bufio.Reader
	csv  *csv.Reader
}

func newRowReader() rowReader {
	text := strings.NewReader("")
	line := bufio.NewReader(text)
	r := rowReader{text, line, csv.NewReader(line)}
	r.csv.FieldsPerRecord, r.csv.ReuseRecord = -1, true
	return r
}

// split returns the fields of a line, without the spaces around them, until the next call.
func (r rowReader) split(line string) ([]string, error) {
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
