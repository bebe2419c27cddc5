package config

import (
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// oddFiles are what can stand where a regular file should, each with how it is made.
var oddFiles = map[string]func(t *testing.T, path string){
	"a folder": func(t *testing.T, path string) { must(t, os.Mkdir(path, 0o700)) },
	"a FIFO":   func(t *testing.T, path string) { must(t, syscall.Mkfifo(path, 0o600)) },
	"a device": func(t *testing.T, path string) { must(t, os.Symlink("/dev/zero", path)) },
	"a socket": func(t *testing.T, path string) {
		// The name of a socket is short, and that of a test's folder is not.
		dir, err := os.MkdirTemp("", "s")
		must(t, err)
		t.Cleanup(func() { os.RemoveAll(dir) })
		listener, err := net.Listen("unix", filepath.Join(dir, "s"))
		must(t, err)
		t.Cleanup(func() { listener.Close() })
		must(t, os.Symlink(filepath.Join(dir, "s"), path))
	},
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func TestNothingIsReadInPlaceOfTheConfigurationThatIsNoRegularFile(t *testing.T) {
	for name, put := range oddFiles {
		path := filepath.Join(t.TempDir(), "coexistd.toml")
		put(t, path)
		want := path + ": is " + name + ", not a regular file"
		if _, err := read(path); err == nil || err.Error() != want {
			t.Errorf("%s: %v, not %s", name, err, want)
		}
	}
}

func TestNothingIsReadInPlaceOfAFileThatIsNamedThatIsNoRegularFile(t *testing.T) {
	text := strings.Replace(everySender, "our_networks", "secret_file = \"secret.key\"\nour_networks", 1)
	all := map[string]string{"secret.key": strings.Repeat("k", 32)}
	for file, content := range senderFiles {
		all[file] = content
	}
	load(t, write(t, text, all))
	for file, key := range map[string]string{
		"users.csv": `domain."acmecorp.com".directory`, "google.txt": "platform.office365.networks", "secret.key": "secret_file",
		"proof.key": "platform.office365.proof.secret_file", "redis.password": "redis.password_file",
	} {
		for name, put := range oddFiles {
			path := write(t, text, all)
			odd := filepath.Join(filepath.Dir(path), file)
			must(t, os.Remove(odd))
			put(t, odd)
			want := key + ": \"" + odd + "\" is " + name + ", not a regular file; "
			if _, err := read(path); err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("%s in place of %s: %v, not %s", name, file, err, want)
			}
		}
	}
}
