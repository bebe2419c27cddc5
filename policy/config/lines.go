package config

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
	maxDepth = 8   // values within values
	maxParts = 8   // parts of one written key
	maxKey   = 512 // bytes of one written key
)

// scanner walks one TOML text.
type scanner struct {
	text string
	pos  int
	line int
	deep bool // a bound was passed; the walk has stopped

	keys  []toml.Key     // the decoder's keys that were not met yet
	lines lineIndex      // nil: only the bounds are wanted
	sizes map[string]int // elements met so far, by the array's path
	exact bool           // every key met was the decoder's next one
}

// lineIndex maps a path to the line where it stands. A path is a key with
// "#N" after the name of an array for its element N, counted from 0:
// listen.#1.address.
type lineIndex map[string]int

// checkBounds reports what the decoder must not be given, and its line.
func checkBounds(text string) (line int, err error) {
	s := scanner{text: text, line: 1}
	s.document()
	if s.deep {
		return s.line, fmt.Errorf("values are nested more than %d deep, or a key has more than %d parts or %d bytes", maxDepth, maxParts, maxKey)
	}
	return 0, nil
}

// indexLines finds the line of each of the keys, which must be those that the
// decoder found in the text. It reports whether every key was found.
func indexLines(text string, keys []toml.Key) (lineIndex, bool) {
	s := scanner{
		text: text, line: 1, keys: keys,
		lines: make(lineIndex), sizes: make(map[string]int), exact: true,
	}
	s.document()
	return s.lines, s.exact && len(s.keys) == 0
}

// join adds one part of a key to a path.
func join(path, part string) string {
	part = toml.Key{part}.String()
	if path == "" {
		return part
	}
	return path + "." + part
}

// element is the path of an array's element.
func element(path string, i int) string { return path + ".#" + strconv.Itoa(i) }

func (s *scanner) document() {
	for s.blank(); s.pos < len(s.text) && !s.deep; s.blank() {
		if s.peek() == '[' {
			s.header()
		} else {
			s.pair(0)
		}
		s.restOfLine()
	}
}

// header reads [a.b] or [[a.b]].
func (s *scanner) header() {
	line := s.line
	s.pos++
	array := s.peek() == '['
	if array {
		s.pos++
	}
	key := s.next(s.key())
	if key == nil {
		return
	}
	path := s.resolve(key, line)
	if array {
		n := s.sizes[path]
		s.sizes[path] = n + 1
		s.note(element(path, n), line)
	}
}

// pair reads key = value.
func (s *scanner) pair(depth int) {
	line := s.line
	path := ""
	if key := s.next(s.key()); key != nil {
		path = s.resolve(key, line)
	}
	s.spaces()
	if s.peek() == '=' {
		s.pos++
		s.value(path, depth)
	}
}

// next takes the decoder's next key. The last part of the key in the text
// must agree with it.
func (s *scanner) next(last string) toml.Key {
	if s.lines == nil || len(s.keys) == 0 {
		s.exact = s.exact && s.lines == nil
		return nil
	}
	key := s.keys[0]
	s.keys = s.keys[1:]
	if last != "" && key[len(key)-1] != last {
		s.exact = false
	}
	return key
}

// resolve turns a key into a path: within an array, the element that was met
// last is meant. Parents that are only implied get the line of their first
// child.
func (s *scanner) resolve(key toml.Key, line int) string {
	path := ""
	for _, part := range key {
		for n := s.sizes[path]; n > 0; n = s.sizes[path] {
			path = element(path, n-1)
		}
		path = join(path, part)
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
	begin := s.pos
	for parts := 1; ; parts++ {
		s.spaces()
		last = ""
		switch c := s.peek(); c {
		case '"', '\'':
			s.quoted(c)
		default:
			start := s.pos
			for s.pos < len(s.text) && isBare(s.text[s.pos]) {
				s.pos++
			}
			last = s.text[start:s.pos]
		}
		if parts > maxParts || s.pos-begin > maxKey {
			s.deep = true
			return ""
		}
		s.spaces()
		if s.peek() != '.' {
			return last
		}
		s.pos++
	}
}

func isBare(c byte) bool {
	return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || c == '_' || c == '-'
}

// value reads one value; path is that of its key or element.
func (s *scanner) value(path string, depth int) {
	if depth > maxDepth {
		s.deep = true
		return
	}
	s.spaces()
	switch c := s.peek(); c {
	case '"', '\'':
		s.quoted(c)
	case '[':
		s.array(path, depth)
	case '{':
		s.inline(depth)
	default:
		for s.pos < len(s.text) && !strings.ContainsRune(",]}#\r\n", rune(s.text[s.pos])) {
			s.pos++
		}
	}
}

func (s *scanner) array(path string, depth int) {
	s.pos++
	for i := 0; !s.deep; i++ {
		s.blank()
		if s.peek() == ']' {
			s.pos++
			return
		}
		start := s.pos
		inner := ""
		if path != "" {
			inner = element(path, i)
			s.note(inner, s.line)
			s.sizes[path] = i + 1
		}
		s.value(inner, depth+1)
		s.blank()
		if s.peek() == ',' {
			s.pos++
		}
		if s.pos == start {
			return
		}
	}
}

func (s *scanner) inline(depth int) {
	s.pos++
	for !s.deep {
		s.blank()
		if s.peek() == '}' {
			s.pos++
			return
		}
		start := s.pos
		s.pair(depth + 1)
		s.blank()
		if s.peek() == ',' {
			s.pos++
		}
		if s.pos == start {
			return
		}
	}
}

// quoted reads a string of either kind, on one line or on several.
func (s *scanner) quoted(mark byte) {
	long := strings.Repeat(string(mark), 3)
	multi := strings.HasPrefix(s.text[s.pos:], long)
	s.pos++
	if multi {
		s.pos += 2
	}
	for s.pos < len(s.text) {
		switch c := s.text[s.pos]; {
		case c == '\\' && mark == '"':
			s.advance()
		case c == '\n' && !multi:
			return
		case c == mark && !multi:
			s.pos++
			return
		case c == mark && strings.HasPrefix(s.text[s.pos:], long):
			s.pos += 3
			// Up to two quotes may stand before the three that close.
			for range 2 {
				if s.peek() == mark {
					s.pos++
				}
			}
			return
		}
		s.advance()
	}
}

func (s *scanner) peek() byte {
	if s.pos < len(s.text) {
		return s.text[s.pos]
	}
	return 0
}

// advance passes one byte.
func (s *scanner) advance() {
	if s.pos < len(s.text) {
		if s.text[s.pos] == '\n' {
			s.line++
		}
		s.pos++
	}
}

// spaces passes the white space within a line.
func (s *scanner) spaces() {
	for s.peek() == ' ' || s.peek() == '\t' {
		s.pos++
	}
}

// blank passes white space, line ends and comments.
func (s *scanner) blank() {
	for {
		switch s.peek() {
		case ' ', '\t', '\r', '\n':
			s.advance()
		case '#':
			s.restOfLine()
		default:
			return
		}
	}
}

func (s *scanner) restOfLine() {
	for s.pos < len(s.text) && s.text[s.pos] != '\n' {
		s.pos++
	}
}
