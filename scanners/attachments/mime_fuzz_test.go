package attachments_test

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"testing/iotest"

	"coexistd/contrib/lab"
	"coexistd/scanners/attachments/mime"
)

// addMessages makes seeds of the small messages that there are.
func addMessages(f *testing.F) {
	for _, c := range lab.Torture() {
		if data := c.Data(); len(data) < 8<<10 {
			f.Add(data)
		}
	}
	names, err := filepath.Glob("testdata/*/*.eml")
	if err != nil || len(names) == 0 {
		f.Fatalf("testdata has no messages: %v", err)
	}
	for _, name := range names {
		data, err := os.ReadFile(name)
		if err != nil {
			f.Fatal(err)
		}
		if len(data) < 8<<10 {
			f.Add(data)
		}
	}
}

// takeApart tells what a message's parts are, and what was doubtful.
func takeApart(t *testing.T, r *mime.Reader, message io.Reader, size int) (parts []mime.Part, told []string) {
	r.Reset(message, nil, func(format string, args ...any) { told = append(told, fmt.Sprintf(format, args...)) })
	defer r.End()
	decoded := 0
	for {
		p, err := r.Next()
		if err == io.EOF {
			return parts, told
		}
		// A part of a digest can be as short as its delimiter.
		if err != nil || len(parts) > 2*size+2 {
			t.Fatalf("%d parts of %d bytes, and %v", len(parts), size, err)
		}
		parts = append(parts, *p)
		told = append(told, fmt.Sprintf("%q %q %t %s %t %t %t %t %t", p.Media, p.Names, p.IsAttached, p.Encoding, p.IsMultipart, p.IsMessage, p.IsOutside, p.HasBody, p.Returned))
		if p.IsMultipart || p.IsMessage {
			continue
		}
		content, broken := p.Content()
		data, err := io.ReadAll(content)
		// Padding behind a character may stand for two more.
		if decoded += len(data); err != nil || decoded > 2*size {
			t.Fatalf("%d bytes of %d, and %v", decoded, size, err)
		}
		told = append(told, string(data), broken())
	}
}

// However a message comes in, a Reader takes it apart in the same way, and no part is in two
// places.
func FuzzMessageParts(f *testing.F) {
	addMessages(f)
	var r mime.Reader
	f.Fuzz(func(t *testing.T, data []byte) {
		_, first := takeApart(t, &r, bytes.NewReader(data), len(data))
		_, second := takeApart(t, &r, iotest.OneByteReader(bytes.NewReader(data)), len(data))
		if !reflect.DeepEqual(second, first) {
			t.Fatalf("got %q, then %q", first, second)
		}
	})
}

// In a message of texts only, a Reader finds no name, no other type, and no file in a text.
func FuzzOnlyTexts(f *testing.F) {
	addMessages(f)
	var r mime.Reader
	f.Fuzz(func(t *testing.T, data []byte) {
		if !mime.OnlyTexts(bytes.NewReader(data)) {
			return
		}
		parts, _ := takeApart(t, &r, bytes.NewReader(data), len(data))
		for _, p := range parts {
			media := strings.TrimRight(p.Media, "\r") // some programs end a line in CR CR LF
			isText := media == "" || mime.IsText(media) || mime.IsMessageType(media) || media == "message/delivery-status" || strings.HasPrefix(media, "multipart/")
			if len(p.Names) > 0 || !isText {
				t.Fatalf("there is a part %q of the type %q", p.Names, p.Media)
			}
		}
		if files := filesInText(t, bytes.NewReader(data), 64<<10, len(data)); len(files) > 0 {
			t.Fatalf("there are files: %q", files)
		}
	})
}

// filesInText returns the names and contents of the files in a text.
func filesInText(t *testing.T, text io.Reader, piece, size int) (all []string) {
	var lines mime.Lines
	lines.Reset(text, 4<<10)
	files := mime.NewTextFiles(lines.Next)
	for {
		name, content, err := files.Next()
		if err == io.EOF {
			return all
		}
		var b bytes.Buffer
		n, err := io.CopyBuffer(struct{ io.Writer }{&b}, struct{ io.Reader }{content}, make([]byte, piece))
		// A line of two characters may stand for 63 zeros.
		if err != nil || n > 32*int64(size) {
			t.Fatalf("a file of %d bytes in a text of %d, and %v", n, size, err)
		}
		all = append(all, name, b.String())
	}
}

// However a text comes in and is read, the same files are in it.
func FuzzTextFiles(f *testing.F) {
	f.Add([]byte("a text\nbegin 644 a.txt\n#0V%T\n`\nend\nbegin-base64 644 b.txt\nQ2F0\n====\n"))
	f.Add([]byte("=ybegin line=128 size=3 name=a.txt\r\n\x6d\x8b=\x6e\r\n=yend size=3\r\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		if bytes.Count(data, []byte("\n")) > 2000 || slices.ContainsFunc(bytes.Split(data, []byte("\n")), func(line []byte) bool { return len(line) >= 4<<10 }) {
			return // comes in pieces, wherever they end
		}
		first := filesInText(t, bytes.NewReader(data), 64<<10, len(data))
		if second := filesInText(t, iotest.OneByteReader(bytes.NewReader(data)), 1, len(data)); !slices.Equal(second, first) {
			t.Fatalf("got %q, then %q", first, second)
		}
	})
}
