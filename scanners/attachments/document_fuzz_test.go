package attachments_test

import (
	"bytes"
	"io"
	"os"
	"path/filepath"
	"reflect"
	"testing"

	"coexistd/policy/verdict"
	"coexistd/scanners"
	"coexistd/scanners/attachments/mime"
)

// inTestdata returns the attachments of the messages in testdata that begin so, the larger
// ones left out.
func inTestdata(f *testing.F, begin string) (all [][]byte) {
	names, err := filepath.Glob("testdata/*/*.eml")
	if err != nil || len(names) == 0 {
		f.Fatalf("testdata has no messages: %v", err)
	}
	for _, name := range names {
		message, err := os.ReadFile(name)
		if err != nil {
			f.Fatal(err)
		}
		var r mime.Reader
		r.Reset(bytes.NewReader(message), nil, func(string, ...any) {})
		for part, err := r.Next(); err == nil; part, err = r.Next() {
			if part.IsOutside || part.IsMultipart || part.IsMessage {
				continue
			}
			content, _ := part.Content()
			data, err := io.ReadAll(content)
			if err == nil && bytes.HasPrefix(data, []byte(begin)) && len(data) < 16<<10 {
				all = append(all, data)
			}
		}
	}
	return all
}

// fuzzDocument scans messages that hold one file, which begins so. Each has to get the same
// finding twice.
func fuzzDocument(f *testing.F, begin string) {
	for _, content := range inTestdata(f, begin) {
		f.Add(content[len(begin):])
	}
	a := defaults()
	f.Fuzz(func(t *testing.T, rest []byte) {
		if len(rest) > 128<<10 {
			return
		}
		message := append([]byte("Content-Type: application/octet-stream\r\nContent-Disposition: attachment; filename=a.bin\r\n\r\n"+begin), rest...)
		m := &scanners.Message{Content: bytes.NewReader(message), Size: int64(len(message))}
		first := a.Scan(t.Context(), m)
		if first.State > verdict.Hit || (first.State == verdict.Hit) != (first.Name != "") || (first.State == verdict.Clean) != (first.Reasons.String() == "") {
			t.Fatalf("got %+v", first)
		}
		if second := a.Scan(t.Context(), m); !reflect.DeepEqual(second, first) {
			t.Fatalf("got %+v, then %+v", first, second)
		}
	})
}

func FuzzOLE(f *testing.F) {
	const begin = "\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"
	for _, content := range [][]byte{
		ole("", "WordDocument"), ole("", "Macros", "VBA"),
		compound(node{name: "Macros", nodes: []node{{name: "VBA", nodes: []node{{name: "dir", content: "x"}}}}}, node{name: "WordDocument", content: "text"}),
		compound(node{name: "VBA", nodes: []node{{name: "Module1", content: "x"}}}),
	} {
		f.Add(content[len(begin):])
	}
	fuzzDocument(f, begin)
}

func FuzzPDF(f *testing.F) { fuzzDocument(f, "%PDF-") }

func FuzzRTF(f *testing.F) {
	f.Add([]byte(`f1\ansi{\object\objemb{\*\objdata 0105}}}`))
	fuzzDocument(f, `{\rt`)
}
