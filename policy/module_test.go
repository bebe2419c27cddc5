package policy_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"strings"
	"testing"
)

// A name that others may use is explained where it stands: what it promises, its units
// and its errors.
func TestEveryExportedNameHasAComment(t *testing.T) {
	eachFile(t, "..", func(folder string, file *ast.File, at func(token.Pos) token.Position) {
		for _, name := range unexplained(file) {
			t.Errorf("%s: %s has no comment", at(name.Pos()), name)
		}
	})
}

func TestAnExportedNameWithoutACommentIsFound(t *testing.T) {
	const source = `package p
func A() {}
// B is there.
func B() {}
type C struct{}
func (c *C) D() {}
type e struct{}
func (e) F() {}
type (
	G int
	H int // counts
)
const I = 1
// The letters.
const (
	J = 1
	K = 2
)
var L, m = 1, 2
func (n[T]) O() {}
func (P[T]) Q() {}
`
	file, err := parser.ParseFile(token.NewFileSet(), "p.go", source, parser.ParseComments)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, name := range unexplained(file) {
		names = append(names, name.Name)
	}
	want(t, "the names", strings.Join(names, " "), "A C D G I L Q")
}

// unexplained returns the exported names of a file that have no comment.
func unexplained(file *ast.File) (names []*ast.Ident) {
	for _, decl := range file.Decls {
		switch decl := decl.(type) {
		case *ast.FuncDecl:
			if decl.Name.IsExported() && decl.Doc == nil && (decl.Recv == nil || isExportedType(decl.Recv.List[0].Type)) {
				names = append(names, decl.Name)
			}
		case *ast.GenDecl:
			for _, spec := range decl.Specs {
				names = append(names, uncommented(decl, spec)...)
			}
		}
	}
	return names
}

// uncommented returns the exported names of a declaration that nothing explains. The
// comment of a group speaks for its constants and variables.
func uncommented(decl *ast.GenDecl, spec ast.Spec) (names []*ast.Ident) {
	switch spec := spec.(type) {
	case *ast.TypeSpec:
		if spec.Name.IsExported() && spec.Doc == nil && spec.Comment == nil && (decl.Doc == nil || decl.Lparen.IsValid()) {
			names = append(names, spec.Name)
		}
	case *ast.ValueSpec:
		for _, name := range spec.Names {
			if name.IsExported() && spec.Doc == nil && spec.Comment == nil && decl.Doc == nil {
				names = append(names, name)
			}
		}
	}
	return names
}

func isExportedType(expr ast.Expr) bool {
	switch expr := expr.(type) {
	case *ast.StarExpr:
		return isExportedType(expr.X)
	case *ast.IndexExpr:
		return isExportedType(expr.X)
	case *ast.Ident:
		return expr.IsExported()
	}
	return false
}
