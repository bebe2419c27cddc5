package secret

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func write(t *testing.T, text string, mode os.FileMode) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(path, mode); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestATextIsReadWithoutTheSpaceAtItsEnd(t *testing.T) {
	t.Parallel()
	text, err := Read(write(t, "correct horse \r\n", 0o640), 4, "write one")
	if err != nil || text != "correct horse" {
		t.Errorf("got %q, %v", text, err)
	}
}

func TestAnErrorSaysNothingOfTheSecret(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"hush":               "has 4 bytes without the white space at its end; it would be from 8 to 512; write one",
		"hushhush\nhushhush": "holds more than one line, or a character that is not printable ASCII, at byte 9; write one",
		" hushhush":          "begins with white space, which mail systems drop; write one",
	} {
		_, err := Read(write(t, text, 0o640), 8, "write one")
		if err == nil || !strings.HasSuffix(err.Error(), want) || strings.Contains(err.Error(), "hush") {
			t.Errorf("%q: got %v", text, err)
		}
	}
}

func TestASecretThatEverybodyCanReadIsRefused(t *testing.T) {
	t.Parallel()
	path := write(t, strings.Repeat("x", 32), 0o644)
	_, err := Read(path, 1, "write one")
	for _, err := range []error{err, Look(path)} {
		if err == nil || !strings.HasSuffix(err.Error(), "(mode 0644); run: chmod 0640 "+path) {
			t.Errorf("got %v", err)
		}
	}
}
