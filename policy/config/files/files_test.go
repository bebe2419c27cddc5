package files

import (
	"errors"
	"io"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
)

// odd makes what is no regular file, by its name in errors.
func odd(t *testing.T) map[string]string {
	t.Helper()
	dir := t.TempDir()
	fifo, socket := filepath.Join(dir, "fifo"), filepath.Join(dir, "socket")
	if err := syscall.Mkfifo(fifo, 0o600); err != nil {
		t.Fatal(err)
	}
	listener, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { listener.Close() })
	return map[string]string{"a folder": dir, "a FIFO": fifo, "a socket": socket, "a device": "/dev/zero"}
}

func TestWhatIsNoRegularFileIsRefusedAtOnce(t *testing.T) {
	for name, path := range odd(t) {
		want := "is " + name + ", not a regular file"
		if _, err := Look(path); err == nil || err.Error() != want {
			t.Errorf("Look at %s: %v, not %s", name, err, want)
		}
		if text, _, err := Read(path, MiB); err == nil || err.Error() != want || text != "" {
			t.Errorf("Read of %s: %v, not %s", name, err, want)
		}
		link := filepath.Join(t.TempDir(), "link")
		if err := os.Symlink(path, link); err != nil {
			t.Fatal(err)
		}
		if _, _, err := Read(link, MiB); err == nil || err.Error() != want {
			t.Errorf("Read of a link to %s: %v, not %s", name, err, want)
		}
	}
}

func TestARegularFileIsReadUpToItsBound(t *testing.T) {
	path := filepath.Join(t.TempDir(), "file")
	for _, c := range []struct {
		size, most int64
		want       string
	}{
		{0, MiB, ""}, {MiB, MiB, ""}, {MiB + 1, MiB, "is larger than 1 MiB"}, {7, 6, "is larger than 6 bytes"},
	} {
		content := strings.Repeat("x", int(c.size))
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		text, state, err := Read(path, c.most)
		if c.want != "" {
			if err == nil || err.Error() != c.want {
				t.Errorf("%d bytes: %v, not %s", c.size, err, c.want)
			}
			continue
		}
		if err != nil || text != content || state.Size() != c.size {
			t.Errorf("%d bytes: %v, %d were read", c.size, err, len(text))
		}
		if info, err := Look(path); err != nil || !Same(info, state) {
			t.Errorf("%d bytes: the state differs though nothing changed (%v)", c.size, err)
		}
	}
}

func TestAFileThatChangesWhileItIsReadIsReadAnew(t *testing.T) {
	path := filepath.Join(t.TempDir(), "file")
	write := func(content string) {
		t.Helper()
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for changes, want := range map[int]string{0: "0", 2: "2", 3: ""} {
		write("0")
		text, tries := "", 0
		state, err := Scan(path, MiB, func(from io.Reader, size int64) {
			content, _ := io.ReadAll(io.LimitReader(from, size))
			text = string(content)
			if tries++; tries <= changes {
				write(strings.Repeat(strconv.Itoa(tries), 1+tries))
			}
		})
		switch {
		case want == "":
			if err == nil || !strings.HasPrefix(err.Error(), "changes while it is read") {
				t.Errorf("changed each time: %v", err)
			}
		case err != nil || !strings.HasPrefix(text, want) || state.Size() != int64(len(text)):
			t.Errorf("changed %d times: %q, %v", changes, text, err)
		}
	}
}

func TestErrorsTellWhatIsWrongAndWrapTheSystems(t *testing.T) {
	absent := filepath.Join(t.TempDir(), "absent")
	_, _, err := Read(absent, MiB)
	if err == nil || err.Error() != "does not exist" || !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("an absent file: %v", err)
	}
	_, err = Look(filepath.Join(absent, strings.Repeat("x", 300)))
	if !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a file in an absent folder: %v", err)
	}
	err = Plain(&fs.PathError{Op: "open", Path: "/secret", Err: syscall.EACCES})
	if !strings.HasPrefix(err.Error(), "cannot be read: permission denied to the user ") || !errors.Is(err, fs.ErrPermission) {
		t.Errorf("a file without permission: %v", err)
	}
}
