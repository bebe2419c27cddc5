package document

import (
	"regexp"
	"testing"
)

// The tokens once more, as expressions. These say the same in one line each, but look at
// the whole rest of the text for each token.
var tokens = []struct {
	name  string
	take  func(string) int
	model *regexp.Regexp
}{
	{"spaces", spaces, regexp.MustCompile(`^[ \t]*`)},
	{"blank", blank, regexp.MustCompile(`^(?:[ \t\r\n]|#[^\n]*)*`)},
	{"restOfLine", restOfLine, regexp.MustCompile(`^[^\n]*`)},
	{"keyPart", keyPart, regexp.MustCompile(`^(?:` + anyString + `|[A-Za-z0-9_-]*)`)},
	{"plainValue", plainValue, regexp.MustCompile(`^(?:` + anyString + `|[^,\]}#\r\n]*)`)},
}

const anyString = `"""(?:\\(?s:.)|[^\\])*?(?:"{3,5}|\\?\z)` +
	`|'''(?s:.*?)(?:'{3,5}|\z)` +
	`|"(?:\\(?s:.)|[^"\\\n])*"?` +
	`|'[^'\n]*'?`

// mustTakeAsTheModels compares all tokens with their models at the beginning of a text.
func mustTakeAsTheModels(t *testing.T, text string) {
	t.Helper()
	for _, token := range tokens {
		if got, want := token.take(text), len(token.model.FindString(text)); got != want {
			t.Errorf("%s takes %q of %q, and not %q", token.name, text[:got], text, text[:want])
		}
	}
}

// All short texts of the characters that mean something, and some longer ones.
func TestTokensAreTakenAsTheirExpressionsSay(t *testing.T) {
	t.Parallel()
	const characters, longest = "\"'\\\n#a ", 5
	var all func(text string)
	all = func(text string) {
		mustTakeAsTheModels(t, text)
		if len(text) == longest {
			return
		}
		for i := range len(characters) {
			all(text + characters[i:i+1])
		}
	}
	all("")
	for _, begin := range []string{`"""`, "'''", `"`, "'"} {
		for _, rest := range []string{
			"", `"`, `""`, `"""`, `""""`, `"""""`, `""""""`, "'''", "''''''", "''''''''", `\"""`, `\"""x"""y`, `\\"""`, "a\nb", "a\\\nb\"",
			"\xff\\\xff\"", "é\\é'", "a'b\"c", "\r\n", `\`, `a\`, "a,b]c}#d\r\n",
		} {
			mustTakeAsTheModels(t, begin+rest)
		}
	}
	for _, text := range []string{"a_B-9.c", "é", "\t \r\n # x\n\n#y", "#", "# x\r", "1,", "1]", "1}", "1#", "1\r", "\xff\xfe"} {
		mustTakeAsTheModels(t, text)
	}
}

func FuzzTokensAreTakenAsTheirExpressionsSay(f *testing.F) {
	f.Add("a.\"b\" = \"\"\"c\\\"\"\"\"\"\n# d")
	f.Fuzz(mustTakeAsTheModels)
}
