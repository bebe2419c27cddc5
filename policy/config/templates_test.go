package config

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

func TestTemplatesAreFoundByDomainAndChangeTheDigest(t *testing.T) {
	t.Parallel()
	path := write(t, smallest+"\n[quarantine]\ntemplates = \"own\"\n", map[string]string{
		"users.csv": users, "own/report.txt": "a", "own/report.txt~": "b", "own/.git/report.txt": "c", "own/acmecorp.com/summary.html": "d", "own/acmecorp.com/old/report.txt": "e",
	})
	own := filepath.Join(filepath.Dir(path), "own")
	conf := load(t, path)
	want := []Template{{"acmecorp.com", filepath.Join(own, "acmecorp.com/summary.html")}, {"", filepath.Join(own, "report.txt")}}
	if !slices.Equal(conf.Quarantine.Templates, want) {
		t.Errorf("there are %v, not %v", conf.Quarantine.Templates, want)
	}
	if err := os.WriteFile(want[0].Path, []byte("changed"), 0o640); err != nil {
		t.Fatal(err)
	}
	if load(t, path).Digest == conf.Digest {
		t.Error("a template that has changed is not seen")
	}
	for _, one := range want {
		if err := os.Remove(one.Path); err != nil {
			t.Fatal(err)
		}
	}
	if conf = load(t, path); len(conf.Quarantine.Templates) > 0 || !slices.ContainsFunc(conf.Notes, func(n Note) bool { return strings.Contains(n.Text, "the built-in texts are used") }) {
		t.Errorf("without a file there are %v, and the notes %v", conf.Quarantine.Templates, conf.Notes)
	}
}
