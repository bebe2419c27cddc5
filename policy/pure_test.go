package policy_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

const module = "coexistd"

// pureImports are the packages that package policy and its rooms may use beside each
// other: none of them does I/O or reads a clock, and none is random. Of fmt, see
// pureFmt.
var pureImports = []string{
	"bufio", "bytes", "cmp", "crypto/hmac", "crypto/sha256", "crypto/subtle", "encoding/base64", "encoding/hex", "encoding/json", "errors", "fmt", "hash",
	"hash/maphash", "iter", "maps", "math/bits", "net/netip", "regexp", "slices", "strconv", "strings", "sync", "unicode", "unicode/utf16", "unicode/utf8",
	"golang.org/x/net/idna", "golang.org/x/text/cases",
	// These are tables that are compiled in, and functions of strings.
	"golang.org/x/net/publicsuffix", "golang.org/x/text/unicode/bidi", "golang.org/x/text/unicode/norm", "github.com/emersion/go-message/charset",
	// A table of networks in memory.
	"github.com/gaissmai/bart",
	// Readers of strings; what could be opened with it is on no list.
	"io",
}

// pureFmt are the functions of fmt that leave the outside world alone.
var pureFmt = []string{"Sprintf", "Errorf", "Fprintf"}

// rooms are the packages below policy that decide. Each may use those before it, and
// none of them may use policy.
var rooms = []string{
	"policy/mail", "policy/verdict", "policy/networks", "policy/seal", "policy/route", "policy/rate", "policy/directory",
	"policy/spoof", "policy/tenant", "policy/senders",
}

// mayImport is the direction of imports: what each part of the module may use of the
// others, beside the rooms, which all may use. The longest name that fits a folder is
// its part.
var mayImport = map[string][]string{
	"policy":                 {},
	"policy/config":          {"policy", "policy/config/files", "policy/config/document", "policy/config/wording", "policy/config/quantity", "policy/config/sockets", "policy/config/secret", "policy/config/mistakes", "policy/config/schema"},
	"policy/config/files":    {},
	"scanners":               {"policy", "policy/config/files"},
	"milter/ownmail":         {"policy"},
	"milter/audit":           {"milter/store"},
	"milter/senders":         {"milter/audit", "milter/store", "policy"},
	"milter/quarantine":      {"milter/audit", "milter/senders", "milter/ownmail", "milter/store", "policy", "policy/config/files"},
	"milter/mtalog":          {},
	"milter/messages":        {"milter/mtalog", "milter/ownmail", "milter/record", "milter/store", "policy"},
	"milter/store":           {},
	"milter/sources":         {"policy/config/files"},
	"milter/sources/ldap":    {"milter/sources"},
	"milter/sources/sqldb":   {"milter/sources", "policy/config/files"},
	"milter/sources/exports": {"milter/sources", "policy/config/files"},
	"milter/flood":           {"policy"},
	"milter/record":          {"policy"},
	"milter/probe":           {"policy"},
	"milter/metrics":         {"milter/record", "policy"},
	"milter/listen":          {"policy/config/sockets"},
	"milter/notice":          {"milter/ownmail", "milter/record", "policy"},
	"milter/transaction":     {"milter/flood", "milter/notice", "milter/probe", "milter/quarantine", "milter/record", "scanners", "policy"},
	"milter":                 {"milter/listen", "milter/transaction", "milter/record", "scanners", "policy"},
	"cmd":                    append(slices.Clone(milterParts), "scanners", "policy", "policy/config", "policy/config/files", "policy/config/quantity", "policy/config/sockets", "policy/config/mistakes", "contrib/sendmail"),
	"contrib":                append(slices.Clone(milterParts), "scanners", "policy", "policy/config"),

	"contrib/sendmail":       {},
	"policy/config/document": {},
	"policy/config/mistakes": {},
	"policy/config/wording":  {"policy/config/document"},
	"policy/config/quantity": {"policy/config/wording"},
	"policy/config/sockets":  {"policy/config/wording"},
	"policy/config/secret":   {"policy/config/files", "policy/config/wording"},
	"policy/config/schema":   {"policy/config/document", "policy/config/mistakes", "policy/config/quantity", "policy/config/wording"},
}

// milterParts are milter and those below it.
var milterParts = []string{
	"milter", "milter/audit", "milter/flood", "milter/listen", "milter/messages", "milter/metrics", "milter/mtalog", "milter/notice", "milter/ownmail", "milter/probe", "milter/quarantine", "milter/record", "milter/senders", "milter/sources", "milter/store", "milter/sources/ldap", "milter/sources/sqldb", "milter/sources/exports", "milter/transaction",
}

func init() {
	for i, room := range rooms {
		mayImport[room] = rooms[:i]
	}
}

// part returns the key of mayImport that a folder belongs to, or "".
func part(folder string) string {
	for ; folder != "."; folder = path.Dir(folder) {
		if _, ok := mayImport[folder]; ok {
			return folder
		}
	}
	return ""
}

// allowed reports whether code in one folder may import another of the module.
func allowed(from, to string) bool {
	a, b := part(from), part(to)
	switch {
	case a == "" || b == "":
		return false
	case slices.Contains(rooms, b) && !slices.Contains(rooms, a):
		return true
	}
	return a == b && from != to || slices.Contains(mayImport[a], b)
}

func TestTheDirectionOfImportsIsTheDesigns(t *testing.T) {
	for _, c := range []struct {
		from, to string
		allowed  bool
	}{
		{"cmd/coexistd", "milter/lookup", true},
		{"cmd/coexistd", "contrib/lab", false},
		{"cmd/coexistd/setup", "contrib/sendmail", true},
		{"contrib/demo", "contrib/lab", true},
		{"milter/record", "policy/verdict", true},
		{"milter", "milter/transaction", true},
		{"milter/transaction", "milter", false},
		{"milter/record", "milter/transaction", false},
		{"milter", "contrib/lab", false},
		{"milter", "cmd/coexistd", false},
		{"scanners", "milter", false},
		{"scanners", "policy/config", false},
		{"policy", "scanners", false},
		{"policy", "policy/route", true},
		{"policy/route", "policy", false},
		{"policy/route", "policy/mail", true},
		{"policy/mail", "policy/route", false},
		{"scanners", "policy/mail", true},
		{"policy/config", "milter/listen", false},
		{"policy/directory", "policy/config", false},
		{"policy/directory", "milter/sources", false},
		{"milter/sources", "policy/directory", true},
		{"milter/sources", "policy/config", false},
		{"milter/sources", "policy/config/files", true},
		{"scanners", "policy/config/files", true},
		{"policy/config", "policy/config/files", true},
		{"policy/config/files", "policy/config", false},
		{"policy/directory", "policy/config/files", false},
		{"milter/sources", "milter", false},
		{"milter/sources/ldap", "milter/sources", true},
		{"milter/sources/ldap", "policy/mail", true},
		{"milter/sources/ldap", "policy/config/files", false},
		{"milter/sources", "milter/sources/ldap", false},
		{"cmd/coexistd", "milter/sources", true},
		{"milter/quarantine", "milter", false},
		{"milter/quarantine", "milter/ownmail", true},
		{"milter/ownmail", "milter/quarantine", false},
		{"util", "policy", false},
		{"milter", "util", false},
	} {
		if got := allowed(c.from, c.to); got != c.allowed {
			t.Errorf("%s imports %s: allowed is %v, want %v", c.from, c.to, got, c.allowed)
		}
	}
}

func TestImportsRunOneWay(t *testing.T) {
	seen := map[string]bool{}
	eachFile(t, "..", func(folder string, file *ast.File, at func(token.Pos) token.Position) {
		for _, spec := range file.Imports {
			imported, inside := strings.CutPrefix(importPath(t, spec), module+"/")
			if !inside {
				continue
			}
			seen[folder] = true
			if !allowed(folder, imported) {
				t.Errorf("%s: %s imports %s, and imports run cmd → milter → scanners → policy", at(spec.Pos()), folder, imported)
			}
		}
	})
	if !seen["scanners"] || !seen["policy/config"] {
		t.Errorf("the walk missed folders that import policy; it saw %v", seen)
	}
}

func TestPolicyIsPure(t *testing.T) {
	files := map[string]int{}
	eachFile(t, ".", func(folder string, file *ast.File, at func(token.Pos) token.Position) {
		if folder == "config" || strings.HasPrefix(folder, "config/") {
			return
		}
		files[folder]++
		for _, spec := range file.Imports {
			imported := importPath(t, spec)
			if room, inside := strings.CutPrefix(imported, module+"/"); inside && slices.Contains(rooms, room) {
				continue
			}
			if !slices.Contains(pureImports, imported) {
				t.Errorf("%s: policy imports %s, which is not on the list of pure packages", at(spec.Pos()), imported)
			}
			if spec.Name != nil {
				t.Errorf("%s: the import has another name, which hides its use from this test", at(spec.Pos()))
			}
		}
		ast.Inspect(file, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.SelectorExpr:
				if x, ok := n.X.(*ast.Ident); ok && x.Name == "fmt" && !slices.Contains(pureFmt, n.Sel.Name) {
					t.Errorf("%s: policy uses fmt.%s, which may reach the outside world", at(n.Pos()), n.Sel.Name)
				}
			case *ast.FuncDecl:
				if n.Name.Name == "init" && n.Recv == nil {
					t.Errorf("%s: policy has an init function", at(n.Pos()))
				}
			case *ast.GoStmt:
				t.Errorf("%s: policy starts a goroutine", at(n.Pos()))
			}
			return true
		})
	})
	if files["."] < 5 || files["directory"] < 2 || files["networks"] < 2 {
		t.Errorf("files were missed: %v", files)
	}
}

// eachFile parses each Go file below root that belongs to the program, with
// its folder relative to root. Test files and hidden folders are left out.
func eachFile(t *testing.T, root string, visit func(folder string, file *ast.File, at func(token.Pos) token.Position)) {
	t.Helper()
	set := token.NewFileSet()
	err := filepath.WalkDir(root, func(name string, entry fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case entry.IsDir() && name != root && (strings.HasPrefix(entry.Name(), ".") || entry.Name() == "testdata"):
			return filepath.SkipDir
		case entry.IsDir() || !strings.HasSuffix(name, ".go") || strings.HasSuffix(name, "_test.go"):
			return nil
		}
		file, err := parser.ParseFile(set, name, nil, parser.ParseComments|parser.SkipObjectResolution)
		if err != nil {
			return err
		}
		folder, err := filepath.Rel(root, filepath.Dir(name))
		if err != nil {
			return err
		}
		visit(filepath.ToSlash(folder), file, set.Position)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

func importPath(t *testing.T, spec *ast.ImportSpec) string {
	t.Helper()
	imported, err := strconv.Unquote(spec.Path.Value)
	if err != nil {
		t.Fatal(err)
	}
	return imported
}
