package spoof

import (
	"slices"
	"strings"
	"unicode"

	"golang.org/x/text/unicode/bidi"

	"coexistd/policy/mail"
)

// turned returns a text as it is shown when it holds characters that change the
// direction of writing (Unicode's Bidi_Control): in lines that are written from the
// left, and in such that are written from the right. TooDeep is set when more of them
// lie within each other than programs heed.
func turned(text string) (shown []string, tooDeep bool) {
	if mail.IsASCII(text) || !strings.ContainsFunc(text, func(r rune) bool { return unicode.Is(unicode.Bidi_Control, r) }) {
		return nil, false
	}
	shown = make([]string, 2)
	for base := range shown {
		var t turner
		for line := range strings.FieldsFuncSeq(text, func(r rune) bool { return classOf(r) == bidi.B }) {
			t.turn(line, int32(base))
			t.shown.WriteByte(' ')
		}
		shown[base], tooDeep = t.shown.String(), tooDeep || t.tooDeep
	}
	return shown, tooDeep
}

func classOf(r rune) bidi.Class {
	properties, _ := bidi.LookupRune(r)
	return properties.Class()
}

// turner turns lines by Unicode's bidirectional algorithm (UAX #9), whose rules the
// comments name. Left out is what concerns the marks on letters and within numbers (W1,
// W4 to W6) and pairs of brackets (N0): our names do not hang on it.
type turner struct {
	text    []rune
	rest    []rune // what is still to be read
	letters []letter
	shown   strings.Builder
	neutral []int // those of letters whose direction depends on what follows
	tooDeep bool
}

// letter is a character of a line. At an odd level it is written from the right.
type letter struct {
	rune
	level int32
}

// embedding is a part of a line that is written in one direction.
type embedding struct {
	level    int32
	override bidi.Class // L or R where it counts for all that is in it; else ON
}

// deepest is max_depth of UAX #9.
const deepest = 125

// within returns the embedding that a character begins in another one (X2 to X5b).
func (e embedding) within(class bidi.Class) embedding {
	switch fromLeft, fromRight := (e.level+2)&^1, (e.level+1)|1; class {
	case bidi.LRO:
		return embedding{fromLeft, bidi.L}
	case bidi.LRE, bidi.LRI:
		return embedding{fromLeft, bidi.ON}
	case bidi.RLO:
		return embedding{fromRight, bidi.R}
	default:
		return embedding{fromRight, bidi.ON}
	}
}

// turn adds a line to what is shown, in that order (L2, L4). Base is 1 where lines are
// written from the right.
func (t *turner) turn(line string, base int32) {
	t.text, t.letters = t.text[:0], t.letters[:0]
	for _, r := range line {
		t.text = append(t.text, r)
	}
	replaceFSI(t.text)
	t.rest = t.text
	t.read(embedding{base, bidi.ON}, false)
	const brackets = "()[]{}<>"
	highest := int32(0)
	for i, l := range t.letters {
		highest = max(highest, l.level)
		if place := strings.IndexRune(brackets, l.rune); place >= 0 && l.level&1 == 1 {
			t.letters[i].rune = rune(brackets[place^1])
		}
	}
	for level := highest; level > 0; level-- {
		for start := 0; start < len(t.letters); start++ {
			end := start
			for end < len(t.letters) && t.letters[end].level >= level {
				end++
			}
			slices.Reverse(t.letters[start:end])
			start = end
		}
	}
	for _, l := range t.letters {
		t.shown.WriteRune(l.rune)
	}
}

// read reads up to the end of the isolate or of the line. What is around an isolate
// takes it for a neutral letter (BD13).
func (t *turner) read(top embedding, isIsolate bool) {
	var around []embedding
	s := sequence{t, len(t.neutral), top.level, top.level & 1, top.level & 1}
	defer func() { s.settle(s.level & 1) }()
	for len(t.rest) > 0 && !t.tooDeep {
		r, class := t.rest[0], classOf(t.rest[0])
		t.rest = t.rest[1:]
		switch class {
		case bidi.RLE, bidi.LRE, bidi.RLO, bidi.LRO:
			around, top = append(around, top), top.within(class)
		case bidi.PDF:
			if n := len(around); n > 0 {
				around, top = around[:n-1], around[n-1]
			}
		case bidi.RLI, bidi.LRI:
			s.add(r, bidi.ON, top)
			t.read(top.within(class), true)
			s.add(r, bidi.ON, top)
		case bidi.PDI:
			if isIsolate {
				return
			}
			s.add(r, bidi.ON, top)
		case bidi.BN:
		default:
			s.add(r, class, top)
		}
		t.tooDeep = t.tooDeep || top.level > deepest
	}
}

// replaceFSI puts RLI or LRI in the place of each FSI, by the first letter in its isolate
// (P2, P3, X5c).
func replaceFSI(text []rune) {
	first, around := '\u2066', []rune(nil)
	for i, r := range slices.Backward(text) {
		switch classOf(r) {
		case bidi.L:
			first = '\u2066'
		case bidi.R, bidi.AL:
			first = '\u2067'
		case bidi.PDI:
			first, around = '\u2066', append(around, first)
		case bidi.FSI:
			text[i] = first
			fallthrough
		case bidi.RLI, bidi.LRI:
			first = '\u2066'
			if n := len(around); n > 0 {
				first, around = around[n-1], around[:n-1]
			}
		}
	}
}

// sequence is what has one level, without the isolates in it. Directions are 0 for that
// from the left, and 1.
type sequence struct {
	*turner
	first        int // the neutral letters of those around it
	level        int32
	side, strong int32 // the direction of the last letter that has one, and without numbers
}

// add adds a letter. It may begin another sequence (X10, W2, W3, W7, I1, I2).
func (s *sequence) add(r rune, class bidi.Class, in embedding) {
	if in.level != s.level {
		s.settle(max(in.level, s.level) & 1)
		s.level, s.strong = in.level, s.side
	}
	if in.override != bidi.ON {
		class = in.override
	}
	side := int32(1)
	switch class {
	case bidi.L:
		side, s.strong = 0, 0
	case bidi.R, bidi.AL:
		s.strong = 1
	case bidi.EN:
		side = s.strong
	case bidi.AN:
	default:
		s.neutral = append(s.neutral, len(s.letters))
		s.letters = append(s.letters, letter{r, s.level})
		return
	}
	s.settle(side)
	level := s.level + (s.level^side)&1
	if side == 1 && (class == bidi.EN || class == bidi.AN) {
		level = (s.level + 2) &^ 1
	}
	s.letters = append(s.letters, letter{r, level})
}

// settle gives the neutral letters the direction of what stands on both sides of them,
// or else that of the embedding (N1, N2).
func (s *sequence) settle(next int32) {
	for _, place := range s.neutral[s.first:] {
		if s.side == next {
			s.letters[place].level += (s.level ^ next) & 1
		}
	}
	s.neutral, s.side = s.neutral[:s.first], next
}
