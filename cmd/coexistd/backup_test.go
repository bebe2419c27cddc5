package main

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"coexistd/contrib/lab"
)

// What lies in state_dir and is of use after a restart is in the copy, and nothing else.
func TestABackupHasWhatMustSurviveARestart(t *testing.T) {
	t.Parallel()
	c := stock(t, lab.SinkConfig{})
	state := filepath.Join(filepath.Dir(c.config), "state")
	for name, text := range map[string]string{
		"secret.key": "key", "directories/people": "list", "spool/message": "under way", ".secret-1": "half", "store.db.bad-2026": "damaged", "messages.db-shm": "beside",
	} {
		path := filepath.Join(state, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	dir := t.TempDir()
	folder := filepath.Join(dir, "monday")
	if status, out, complaint := tell(dir, "backup", "-c", c.config, folder); status != exitYes || out != "backed up to {dir}/monday\n" || complaint != "" {
		t.Fatalf("backup says %q %q and ends with %d", out, complaint, status)
	}
	var have []string
	if err := filepath.WalkDir(folder, func(path string, e os.DirEntry, err error) error {
		if err == nil && !e.IsDir() {
			have = append(have, strings.TrimPrefix(path, folder+"/"))
		}
		return err
	}); err != nil {
		t.Fatal(err)
	}
	if want := []string{"directories/people", "secret.key", "store.db"}; !slices.Equal(have, want) {
		t.Errorf("the backup has %q; %q is right", have, want)
	}
	for args, want := range map[string]string{
		folder:              "{dir}/monday exists; name a folder that does not",
		dir + "/no/tuesday": "{dir}/no must be writable by the user who runs the daemon",
		"":                  "it needs the folder to be made",
	} {
		status, _, complaint := tell(dir, append([]string{"backup", "-c", c.config}, strings.Fields(args)...)...)
		if status != exitWrong || !strings.Contains(complaint, want) {
			t.Errorf("backup %q ends with %d and %q", args, status, complaint)
		}
	}
}

// A file that cannot be copied whole leaves no backup behind that looks whole.
func TestABackupOfADamagedFileIsNone(t *testing.T) {
	t.Parallel()
	c := stock(t, lab.SinkConfig{})
	path := filepath.Join(filepath.Dir(c.config), "state", "messages.db")
	if err := os.WriteFile(path, []byte(strings.Repeat("this is no file of SQLite ", 1000)), 0o600); err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	status, _, complaint := tell(dir, "backup", "-c", c.config, filepath.Join(dir, "monday"))
	if status != exitWrong || !strings.Contains(complaint, "nothing was backed up") || !strings.Contains(complaint, "messages.db") {
		t.Errorf("backup ends with %d and %q", status, complaint)
	}
	if left, _ := os.ReadDir(dir); len(left) > 0 {
		t.Errorf("it has left %v", left)
	}
}
