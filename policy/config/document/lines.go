package document

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/BurntSushi/toml"
)

// The TOML decoder tells which keys a file has, in order, but not on which
// lines. The scanner below walks the same text, knows just enough of TOML to
// tell keys from values, and pairs each key that it meets with the decoder's
// next one.

// Bounds of what the decoder is given: it calls itself for each nested value,
// and keeps the whole key, parents included, with each key.
const (
	maxDepth = 8 // values within values
	maxParts = 8 // parts of one written key
	// MaxKey is how long a written key can be, in bytes.
	MaxKey = 512
)

// scanner walks one TOML text.
type scanner struct {
	text string // what was not read yet
	line int
	deep bool // a bound was passed; the walk has stopped

	keys  []toml.Key     // the decoder's keys that were not met yet
	lines Lines          // nil: only the bounds are wanted
	sizes map[string]int // elements met so far, by the array's path
	exact bool           // every key met was the decoder's next one
}

// Lines maps a path to the line where it stands. A path is a key with
// "#N" after the name of an array for its element N, counted from 0:
// listen.#1.address.
type Lines map[string]int

// checkBounds reports what the decoder must not be given, and its line.
func checkBounds(text string) (line int, err error) {
	s := scanner{text: text, line: 1}
	s.document()
	if s.deep {
		return s.line, fmt.Errorf("values are nested more than %d deep, or a key has more than %d parts or %d bytes", maxDepth, maxParts, MaxKey)
	}
	return 0, nil
}

// beginOf returns the line where the entry or the header that has a line begins.
func beginOf(text string, line int) int {
	begin := 1
	s := scanner{text: text, line: 1}
	for s.take(blank); s.text != "" && !s.deep && s.line <= line; s.take(blank) {
		begin = s.line
		s.statement()
	}
	return begin
}

// indexLines finds the line of each of the keys, which must be those that the
// decoder found in the text. It reports whether every key was found.
func indexLines(text string, keys []toml.Key) (Lines, bool) {
	s := scanner{
		text: text, line: 1, keys: keys,
		lines: make(Lines), sizes: make(map[string]int), exact: true,
	}
	s.document()
	return s.lines, s.exact && len(s.keys) == 0
}

// Join adds one part of a key to a path.
func Join(path, part string) string {
	part = toml.Key{part}.String()
	if path == "" {
		return part
	}
	return path + "." + part
}

// Element is the path of an array's element.
func Element(path string, i int) string { return path + ".#" + strconv.Itoa(i) }

// take reads what comes next, a token of tokens.go.
func (s *scanner) take(token func(text string) int) string {
	n := token(s.text)
	taken := s.text[:n]
	s.text = s.text[n:]
	s.line += strings.Count(taken, "\n")
	return taken
}

// eat passes a character, and reports that it came next.
func (s *scanner) eat(c string) (came bool) {
	s.text, came = strings.CutPrefix(s.text, c)
	return came
}

func (s *scanner) document() {
	for s.take(blank); s.text != "" && !s.deep; s.take(blank) {
		s.statement()
	}
}

// statement reads a header, or a key and its value, and the rest of the line.
func (s *scanner) statement() {
	if s.eat("[") {
		s.header()
	} else {
		s.pair(0)
	}
	s.take(restOfLine)
}

// header reads [a.b] or [[a.b]], of which the first bracket was read.
func (s *scanner) header() {
	line := s.line
	array := s.eat("[")
	key := s.next(s.key())
	if key == nil {
		return
	}
	path := s.resolve(key, line)
	if array {
		n := s.sizes[path]
		s.sizes[path] = n + 1
		s.note(Element(path, n), line)
	}
}

// pair reads key = value.
func (s *scanner) pair(depth int) {
	line := s.line
	path := ""
	if key := s.next(s.key()); key != nil {
		path = s.resolve(key, line)
	}
	s.take(spaces)
	if s.eat("=") {
		s.value(path, depth)
	}
}

// next takes the decoder's next key. The last part of the key in the text
// must agree with it.
func (s *scanner) next(last string) toml.Key {
	if len(s.keys) == 0 {
		s.exact = false
		return nil
	}
	key := s.keys[0]
	s.keys = s.keys[1:]
	s.exact = s.exact && (last == "" || last == key[len(key)-1])
	return key
}

// resolve turns a key into a path: within an array, the element that was met
// last is meant. Parents that are only implied get the line of their first
// child.
func (s *scanner) resolve(key toml.Key, line int) string {
	path := ""
	for _, part := range key {
		for n := s.sizes[path]; n > 0; n = s.sizes[path] {
			path = Element(path, n-1)
		}
		path = Join(path, part)
		s.note(path, line)
	}
	return path
}

// note remembers the first line of a path.
func (s *scanner) note(path string, line int) {
	if _, known := s.lines[path]; !known {
		s.lines[path] = line
	}
}

// key reads a dotted key. It returns the last part if that is bare, which can
// be compared without decoding escapes, and else "".
func (s *scanner) key() (last string) {
	before := len(s.text)
	for parts := 1; parts == 1 || s.eat("."); parts++ {
		s.take(spaces)
		last = s.take(keyPart)
		if parts > maxParts || before-len(s.text) > MaxKey {
			s.deep = true
			return ""
		}
		s.take(spaces)
	}
	if strings.ContainsAny(last, `"'`) {
		return ""
	}
	return last
}

// value reads one value; path is that of its key or element.
func (s *scanner) value(path string, depth int) {
	if depth > maxDepth {
		s.deep = true
		return
	}
	s.take(spaces)
	switch {
	case s.eat("["):
		s.entries("]", func(i int) {
			inner := ""
			if path != "" {
				inner = Element(path, i)
				s.note(inner, s.line)
				s.sizes[path] = i + 1
			}
			s.value(inner, depth+1)
		})
	case s.eat("{"):
		s.entries("}", func(int) { s.pair(depth + 1) })
	default:
		s.take(plainValue)
	}
}

// entries reads what stands between brackets, of which the first was read.
func (s *scanner) entries(closing string, read func(i int)) {
	for i := 0; !s.deep; i++ {
		s.take(blank)
		if s.eat(closing) {
			return
		}
		before := len(s.text)
		read(i)
		s.take(blank)
		s.eat(",")
		if len(s.text) == before {
			return
		}
	}
}
