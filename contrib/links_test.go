package contrib_test

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

var (
	codeBlock  = regexp.MustCompile("(?ms)^```.*?^```$")
	heading    = regexp.MustCompile(`(?m)^#+ (.*)$`)
	link       = regexp.MustCompile(`\]\(([^)\s]+)\)`)
	linkText   = regexp.MustCompile(`\[([^\]]*)\]\([^)]*\)`)
	notInNames = regexp.MustCompile(`[^\p{L}\p{N}\- _]`)
)

// anchors are the names by which a page's headings are linked to.
func anchors(page string) map[string]bool {
	names := map[string]bool{}
	for _, h := range heading.FindAllStringSubmatch(page, -1) {
		text := strings.ToLower(strings.TrimSpace(linkText.ReplaceAllString(h[1], "$1")))
		names[strings.ReplaceAll(notInNames.ReplaceAllString(text, ""), " ", "-")] = true
	}
	return names
}

func TestEveryLinkOfThePagesLeadsSomewhere(t *testing.T) {
	t.Parallel()
	pages := map[string]string{} // without their blocks of code
	err := filepath.WalkDir("..", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() && path != ".." && strings.HasPrefix(d.Name(), ".") {
			if err == nil {
				err = fs.SkipDir
			}
			return err
		}
		if filepath.Ext(path) == ".md" {
			text, err := os.ReadFile(path)
			pages[path] = codeBlock.ReplaceAllString(string(text), "")
			return err
		}
		return nil
	})
	if err != nil || len(pages) < 10 {
		t.Fatalf("%d pages are found (%v)", len(pages), err)
	}
	for path, page := range pages {
		for _, found := range link.FindAllStringSubmatch(page, -1) {
			if strings.HasPrefix(found[1], "https://") {
				continue
			}
			file, name, _ := strings.Cut(found[1], "#")
			target := path
			if file != "" {
				target = filepath.Join(filepath.Dir(path), file)
			}
			if _, err := os.Stat(target); err != nil {
				t.Errorf("%s has a link to %s: %v", path, found[1], err)
			} else if name != "" && !anchors(pages[target])[name] {
				t.Errorf("%s has a link to %s, where no heading is called so", path, found[1])
			}
		}
	}
}
