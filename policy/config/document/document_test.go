package document

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/BurntSushi/toml"
)

func TestTheLinesOfKeysAreTheirs(t *testing.T) {
	t.Parallel()
	text := `a = 1 # x = 2 [t]
"b.c" = 2
'd"' . "e\"=" = 3
m = """
x = 1
""\"[t]
"""""
n = '''a\'''
o = '''
[[t]]
''''' # done
list = [ # [
  1, "]", [ 2, [ { k = 14 } ] ],
  { k = 15, l = { m = 15 } }, # }
  3 ]
[ t . "u" ] # ]
v = 18
[[w]]
k = 20

[[w]]
k = 22
  [w.x]
  k = 24
[[w]]
y.z = { p = 26, q = [
 ] }
when = 1979-05-27 07:32:32 # v
`
	var decoded map[string]any
	meta, err := toml.Decode(text, &decoded)
	if err != nil {
		t.Fatal(err)
	}
	lines, exact := indexLines(text, meta.Keys())
	if !exact {
		t.Error("the scanner and the decoder do not see the same keys")
	}
	for path, want := range map[string]int{
		`a`: 1, `"b.c"`: 2, `"d\""."e\"="`: 3, `m`: 4, `n`: 8, `o`: 9, `list`: 12, `list.#0`: 13, `list.#2.#1.#0.k`: 13,
		`list.#3.l.m`: 14, `list.#4`: 15, `t`: 16, `t.u`: 16, `t.u.v`: 17, `w`: 18, `w.#0`: 18, `w.#0.k`: 19,
		`w.#1`: 21, `w.#1.k`: 22, `w.#1.x`: 23, `w.#1.x.k`: 24, `w.#2`: 25, `w.#2.y`: 26, `w.#2.y.z.q`: 26, `w.#2.when`: 28,
	} {
		if lines[path] != want {
			t.Errorf("%s is on line %d, not %d", path, lines[path], want)
		}
	}
}

func TestAMistakeHasTheLineWhereItStands(t *testing.T) {
	for text, want := range map[string]string{
		"a = 1\nb =\n":                           "line 2: not valid TOML",
		"a = 1\n\na = 2\n":                       "line 3: not valid TOML",
		"a = \"\x1b\"\n":                         "line 1: not valid TOML",
		"\n" + strings.Repeat("a.", 9) + "b = 1": "line 2: values are nested more than 8 deep, or a key has more than 8 parts or 512 bytes",
		"a = " + strings.Repeat("[", 1<<20):      "line 1: values are nested",
	} {
		_, err := Parse(text)
		if wrong, is := errors.AsType[*Mistake](err); !is || !strings.HasPrefix(wrong.Error(), want) {
			t.Errorf("%.40q: %v, not %s", text, err, want)
		}
	}
}

func TestAMistakeTellsWhereItsEntryBegins(t *testing.T) {
	for text, want := range map[string]int{
		"a = 1\nb =\n":                           2,
		"a = 1\nb = \"\"\"\nc = 1\nd = 1\n":      2,
		"a = [\n1,\n2]\n\nb = [\n1,\n2,\n":       5,
		"a = [\n1,\n2]\nb = [\n1,\n[c]\nd = 1\n": 4,
		"a = 1\n[b\nc = 1\n":                     2,
		"a = 1\n# b\n\na = 2\n":                  4,
		"a = " + strings.Repeat("[", 1<<20):      1,
	} {
		_, err := Parse(text)
		if wrong, is := errors.AsType[*Mistake](err); !is || wrong.Begins != want {
			t.Errorf("%.40q: %+v; the entry begins on line %d", text, wrong, want)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add("\xff\xfe")
	files, _ := filepath.Glob("../testdata/mistakes/*.toml")
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(string(text))
	}
	f.Fuzz(checkLines)
}

// checkLines holds the scanner of lines against the decoder.
func checkLines(t *testing.T, text string) {
	for _, mark := range []string{"\xef\xbb\xbf", "\xff\xfe", "\xfe\xff"} {
		if strings.HasPrefix(text, mark) { // Parse takes it away
			return
		}
	}
	if _, err := checkBounds(text); err != nil {
		return
	}
	_, keys, err := decode(text)
	if err != nil {
		return
	}
	lines, exact := indexLines(text, keys)
	if !exact {
		t.Fatalf("the scanner and the decoder do not see the same keys: %q", keys)
	}
	if whole, err := Parse(text); err != nil || len(whole.Lines) != len(lines) {
		t.Fatalf("Parse has %d lines, not %d (%v)", len(whole.Lines), len(lines), err)
	}
	last := 1 + strings.Count(text, "\n")
	for path, line := range lines {
		if line < 1 || line > last {
			t.Fatalf("%s is on line %d of %d", path, line, last)
		}
	}
}
