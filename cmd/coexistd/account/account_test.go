package account

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
)

func TestAFileIsBarredByItsModeOrAFolders(t *testing.T) {
	t.Parallel()
	folder := filepath.Join(t.TempDir(), "folder")
	path := filepath.Join(folder, "secret.key")
	if err := errors.Join(os.Mkdir(folder, 0o755), os.WriteFile(path, nil, 0o600)); err != nil {
		t.Fatal(err)
	}
	own := &Account{uid: os.Geteuid(), gid: os.Getegid()}
	group := &Account{uid: own.uid + 1, gid: own.gid + 1, groups: []int{own.gid}}
	other := &Account{uid: own.uid + 1, gid: own.gid + 1}
	for _, c := range []struct {
		file, folder os.FileMode
		who          *Account
		want         string
	}{
		{0o600, 0o755, own, ""}, {0o600, 0o755, group, path}, {0o600, 0o755, other, path}, {0o640, 0o755, other, path},
		{0o640, 0o700, group, folder}, {0o644, 0o750, other, folder}, {0o060, 0o755, own, path},
	} {
		if err := errors.Join(os.Chmod(path, c.file), os.Chmod(folder, c.folder)); err != nil {
			t.Fatal(err)
		}
		if got, err := c.who.BarredFrom(path, Reading); err != nil || got != c.want {
			t.Errorf("the file %o in the folder %o is barred from %+v by %q (%v), not %q", c.file, c.folder, c.who, got, err, c.want)
		}
	}
}
