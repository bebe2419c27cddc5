package main

import (
	"bytes"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/cobra/doc"
)

// pages returns what is made of the table of commands, by the path below contrib: manual
// pages, and completions for shells. What makes the pages is linked to this test alone.
func pages(t *testing.T) map[string][]byte {
	t.Helper()
	pages := make(map[string][]byte)
	add := func(path string, write func(w io.Writer) error) {
		var page bytes.Buffer
		if err := write(&page); err != nil {
			t.Fatal(err)
		}
		pages[path] = page.Bytes()
	}
	root := (&call{}).root()
	add("completions/coexistd.bash", func(w io.Writer) error { return root.GenBashCompletionV2(w, true) })
	add("completions/_coexistd", root.GenZshCompletion)
	add("completions/coexistd.fish", func(w io.Writer) error { return root.GenFishCompletion(w, true) })
	for _, cmd := range withAllBelow(root) {
		add("man/"+strings.ReplaceAll(cmd.CommandPath(), " ", "-")+".8", func(w io.Writer) error { return manual(w, cmd) })
	}
	return pages
}

// withAllBelow lists a command and those below it. A page of one adds help to it, so they
// are listed before.
func withAllBelow(cmd *cobra.Command) []*cobra.Command {
	list := []*cobra.Command{cmd}
	for _, below := range cmd.Commands() {
		list = append(list, withAllBelow(below)...)
	}
	return list
}

// manual writes the page of a command. It bears no date, so that whoever makes it later
// gets the same.
func manual(w io.Writer, cmd *cobra.Command) error {
	var page bytes.Buffer
	err := doc.GenMan(cmd, &doc.GenManHeader{Section: "8", Date: &time.Time{}, Source: "coexistd", Manual: "System Administration"}, &page)
	w.Write(bytes.Replace(page.Bytes(), []byte(`"Jan 0001"`), []byte(`""`), 1))
	return err
}

// With WRITE_DOCS in the environment, the test writes what it would look for ("make docs").
func TestTheManualAndTheCompletionsAreThoseOfTheCommands(t *testing.T) {
	t.Parallel()
	made := pages(t)
	if os.Getenv("WRITE_DOCS") != "" {
		writePages(t, made)
	}
	for path, page := range made {
		if there, err := os.ReadFile(filepath.Join("../../contrib", path)); err != nil || !bytes.Equal(there, page) {
			t.Errorf("contrib/%s is not what the commands say (%v): run make docs, and commit what it writes", path, err)
		}
	}
	for _, folder := range []string{"man", "completions"} {
		files, err := os.ReadDir(filepath.Join("../../contrib", folder))
		if err != nil {
			t.Error(err)
		}
		for _, file := range files {
			if path := folder + "/" + file.Name(); made[path] == nil {
				t.Errorf("contrib/%s is of no command: remove it", path)
			}
		}
	}
}

func writePages(t *testing.T, made map[string][]byte) {
	t.Helper()
	for path, page := range made {
		path = filepath.Join("../../contrib", path)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, page, 0o644); err != nil {
			t.Fatal(err)
		}
	}
}
