package policy_test

import (
	"go/ast"
	"go/token"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

// replyText finds what only the catalogue may hold: an enhanced status code (RFC 3463
// section 2), and a reply that begins with a basic code. Versions have more numbers, and
// addresses larger ones.
var replyText = regexp.MustCompile(`(^|[^0-9.])[245]\.[0-9]\.[0-9]{1,2}($|[^0-9.])|^[245][0-5][0-9][ -][A-Z0-9]`)

// rfcSection finds what looks like an enhanced status code and is none.
var rfcSection = regexp.MustCompile(`RFC [0-9]+ section [0-9.]+`)

func TestWhatLooksLikeAReplyIsFound(t *testing.T) {
	for text, found := range map[string]bool{
		"5.7.1": true, "450 4.7.1 Try again later": true, "550 No": true, "250-SIZE": true, "a 5.1.1 b": true, "(4.4.2)": true,
		"1.2.3": false, "15.7.1": false, "5.7.1.2": false, "4.18.22": false, "550": false, "451": false, "5.7": false, "192.0.2.1": false, "450 messages": false,
	} {
		if got := replyText.MatchString(text); got != found {
			t.Errorf("%q: found is %v", text, got)
		}
	}
}

// All that a client is told stands in the catalogue, where explain can foresee it and the
// documentation has it.
func TestRepliesStandInTheCatalogueOnly(t *testing.T) {
	eachFile(t, "..", func(folder string, file *ast.File, at func(token.Pos) token.Position) {
		if folder == "policy/verdict" || strings.HasPrefix(folder, "contrib") {
			return // the lab has MTAs of its own
		}
		ast.Inspect(file, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.CompositeLit:
				if kind, ok := n.Type.(*ast.SelectorExpr); ok && kind.Sel.Name == "Reply" && len(n.Elts) > 0 {
					if room, ok := kind.X.(*ast.Ident); ok && room.Name == "verdict" {
						t.Errorf("%s: a reply is made here; it would stand in policy/verdict/catalogue.go", at(n.Pos()))
					}
				}
			case *ast.BasicLit:
				text, err := strconv.Unquote(n.Value)
				if n.Kind == token.STRING && err == nil && replyText.MatchString(rfcSection.ReplaceAllString(text, "")) {
					t.Errorf("%s: %.60q looks like a reply; it would stand in policy/verdict/catalogue.go", at(n.Pos()), text)
				}
			}
			return true
		})
	})
}
