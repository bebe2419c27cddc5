package mtalog

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// desk takes events, as the index of messages does.
type desk struct {
	mu       sync.Mutex
	ids      []string
	position Position
	fails    int // how often it still takes none
	changed  chan struct{}
}

func newDesk() *desk { return &desk{changed: make(chan struct{}, 1)} }

func (d *desk) take(_ context.Context, events []Event, at Position) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.fails > 0 {
		d.fails--
		return errors.New("the disk is full")
	}
	for _, e := range events {
		d.ids = append(d.ids, e.QueueID)
	}
	d.position = at
	select {
	case d.changed <- struct{}{}:
	default:
	}
	return nil
}

// wants waits until exactly these events were taken, in this order.
func (d *desk) wants(t *testing.T, ids ...string) {
	t.Helper()
	limit := time.After(time.Minute)
	for {
		d.mu.Lock()
		has := slices.Clone(d.ids)
		d.mu.Unlock()
		if slices.Equal(has, ids) {
			return
		}
		if len(has) >= len(ids) {
			t.Fatalf("it has the events %q, want %q", has, ids)
		}
		select {
		case <-d.changed:
		case <-limit:
			t.Fatalf("it has the events %q after a minute, want %q", has, ids)
		}
	}
}

func (d *desk) at() Position {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.position
}

func start(t *testing.T, source string, d *desk) *Follower {
	t.Helper()
	f := follow(Options{Source: source, From: d.at(), Since: 24 * time.Hour, Take: d.take, Log: slog.New(slog.NewTextHandler(io.Discard, nil))}, 5*time.Millisecond)
	t.Cleanup(f.Stop)
	return f
}

// removed is a line that ends a message.
func removed(id string) string {
	return fmt.Sprintf("%s mx1 postfix/qmgr[1]: %s: removed\n", time.Now().Format(time.RFC3339), id)
}

func write(t *testing.T, path string, lines ...string) {
	t.Helper()
	file, err := os.OpenFile(path, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o640)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	if _, err := file.WriteString(strings.Join(lines, "")); err != nil {
		t.Fatal(err)
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// untilFailed waits until it says what it cannot read.
func untilFailed(t *testing.T, f *Follower, want string) {
	t.Helper()
	often := time.NewTicker(time.Millisecond)
	defer often.Stop()
	for limit := time.After(time.Minute); ; {
		failed := f.Status().Failed
		if strings.Contains(failed, want) && (want == "") == (failed == "") {
			return
		}
		select {
		case <-often.C:
		case <-limit:
			t.Fatalf("it says %q after a minute, want %q", failed, want)
		}
	}
}

func TestALogIsFollowedThroughEachWayOfRotation(t *testing.T) {
	copyTo := func(t *testing.T, from, to string) {
		text, err := os.ReadFile(from)
		must(t, err)
		must(t, os.WriteFile(to, text, 0o640))
	}
	for name, rotate := range map[string]func(t *testing.T, path string){
		"renamed, the next one made at once": func(t *testing.T, path string) {
			must(t, os.Rename(path, path+".1"))
			must(t, os.WriteFile(path, nil, 0o640))
			write(t, path+".1", removed("AAAAA3"))
		},
		"renamed with its date, the next one made late": func(t *testing.T, path string) {
			must(t, os.Rename(path, path+"-20260301"))
			write(t, path+"-20260301", removed("AAAAA3"))
		},
		"copied and truncated": func(t *testing.T, path string) {
			write(t, path, removed("AAAAA3"))
			copyTo(t, path, path+".1")
			must(t, os.Truncate(path, 0))
		},
	} {
		for _, stopped := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, stopped meanwhile: %v", name, stopped), func(t *testing.T) {
				t.Parallel()
				path := filepath.Join(t.TempDir(), "mail.log")
				must(t, os.WriteFile(path+".2.gz", []byte("packed"), 0o640))
				write(t, path, "a line that says nothing\n", removed("AAAAA1"), removed("AAAAA2"))
				d := newDesk()
				f := start(t, path, d)
				d.wants(t, "AAAAA1", "AAAAA2")
				if stopped {
					f.Stop()
				}
				rotate(t, path)
				if stopped {
					start(t, path, d)
				}
				d.wants(t, "AAAAA1", "AAAAA2", "AAAAA3")
				write(t, path, removed("AAAAA4"))
				d.wants(t, "AAAAA1", "AAAAA2", "AAAAA3", "AAAAA4")
			})
		}
	}
}

func TestAllThatWasRotatedWhileItWasStoppedIsRead(t *testing.T) {
	path := filepath.Join(t.TempDir(), "mail.log")
	write(t, path, removed("AAAAA1"))
	d := newDesk()
	f := start(t, path, d)
	d.wants(t, "AAAAA1")
	f.Stop()
	for i, name := range []string{".3", ".2", ".1", ""} {
		write(t, path, removed(fmt.Sprint("BBBBB", i)))
		if name != "" {
			must(t, os.Rename(path, path+name))
			past := time.Now().Add(time.Duration(i-10) * time.Minute)
			must(t, os.Chtimes(path+name, past, past))
		}
	}
	f = start(t, path, d)
	d.wants(t, "AAAAA1", "BBBBB0", "BBBBB1", "BBBBB2", "BBBBB3")
	if s := f.Status(); !s.Gap.IsZero() || s.Failed != "" {
		t.Errorf("%+v", s)
	}
}

func TestAGapIsToldAndTheLogIsReadFromItsBeginning(t *testing.T) {
	path := filepath.Join(t.TempDir(), "mail.log")
	write(t, path, removed("AAAAA1"), removed("AAAAA2"))
	d := newDesk()
	f := start(t, path, d)
	d.wants(t, "AAAAA1", "AAAAA2")
	f.Stop()
	must(t, os.Remove(path))
	write(t, path, removed("BBBBB1"), removed("BBBBB2"), removed("BBBBB3"))
	f = start(t, path, d)
	d.wants(t, "AAAAA1", "AAAAA2", "BBBBB1", "BBBBB2", "BBBBB3")
	if f.Status().Gap.IsZero() {
		t.Error("no gap is told")
	}
}

func TestWhatIsNotTakenIsGivenAgain(t *testing.T) {
	path := filepath.Join(t.TempDir(), "mail.log")
	write(t, path, removed("AAAAA1"))
	d := newDesk()
	d.fails = 3
	start(t, path, d)
	d.wants(t, "AAAAA1")
	write(t, path, removed("AAAAA2"))
	d.wants(t, "AAAAA1", "AAAAA2")
}

func TestALineIsTakenOnceItHasEndedAndNoneThatIsTooLong(t *testing.T) {
	path := filepath.Join(t.TempDir(), "mail.log")
	line := removed("AAAAA2")
	long := strings.TrimSuffix(removed("AAAAA9"), "removed\n")
	write(t, path, removed("AAAAA1"), long, strings.Repeat("x", 3*chunkSize), "\n", removed("AAAAA3"), long, strings.Repeat("x", longestLine), "\n", line[:20])
	d := newDesk()
	start(t, path, d)
	d.wants(t, "AAAAA1", "AAAAA3")
	write(t, path, line[20:])
	d.wants(t, "AAAAA1", "AAAAA3", "AAAAA2")
}

func TestALogThatIsMissingIsReadOnceItIsThere(t *testing.T) {
	path := filepath.Join(t.TempDir(), "mail.log")
	d := newDesk()
	f := start(t, path, d)
	untilFailed(t, f, "does not exist")
	write(t, path, removed("AAAAA1"))
	d.wants(t, "AAAAA1")
	untilFailed(t, f, "")
}

func TestWhatIsNoFileIsRefusedAndNotWaitedFor(t *testing.T) {
	path := filepath.Join(t.TempDir(), "mail.log")
	must(t, syscall.Mkfifo(path, 0o640))
	d := newDesk()
	f := start(t, path, d)
	untilFailed(t, f, "is no file")
	must(t, os.Remove(path))
	write(t, path, removed("AAAAA1"))
	d.wants(t, "AAAAA1")
}

func TestWhoMayNotReadTheLogIsToldWhichGroupMay(t *testing.T) {
	path := filepath.Join(t.TempDir(), "mail.log")
	write(t, path, "")
	must(t, os.Chmod(path, 0o640))
	if said := remedy(path); !strings.Contains(said, "usermod -a -G ") {
		t.Error(said)
	}
	must(t, os.Chmod(path, 0o600))
	if said := remedy(path); !strings.Contains(said, "chmod g+r") {
		t.Error(said)
	}
}

func TestLinesThatAreTooOldAreLeftOut(t *testing.T) {
	path := filepath.Join(t.TempDir(), "mail.log")
	old := time.Now().Add(-48 * time.Hour).Format(time.RFC3339)
	write(t, path, old+" mx1 postfix/qmgr[1]: AAAAA0: removed\n", removed("AAAAA1"))
	d := newDesk()
	start(t, path, d)
	d.wants(t, "AAAAA1")
}

// journal writes a program that stands for journalctl: it has what it is asked for written to
// the file args, prints the entries of a file from the cursor on, and waits for more.
func journal(t *testing.T) (folder string) {
	t.Helper()
	folder = t.TempDir()
	script := `#!/bin/sh
folder=` + folder + `
after=
for one in "$@"; do
	echo "$one" >>$folder/args
	case $one in --after-cursor=*) after=${one#--after-cursor=} ;; esac
done
if [ -e $folder/broken ]; then cat $folder/broken >&2; exit 1; fi
sed "1,/\"__CURSOR\":\"$after\"/{/^/{${after:+d}}}" $folder/entries
echo $$ >$folder/pid
exec sleep 600
`
	must(t, os.WriteFile(filepath.Join(folder, "journalctl"), []byte(script), 0o755))
	t.Setenv("PATH", folder+":"+os.Getenv("PATH"))
	return folder
}

func entryOf(cursor, message string) string {
	return fmt.Sprintf(`{"__CURSOR":"%s","__REALTIME_TIMESTAMP":"%d","SYSLOG_IDENTIFIER":"postfix/qmgr","MESSAGE":%s}`+"\n", cursor, time.Now().UnixMicro(), message)
}

func TestTheJournalIsFollowedFromItsCursor(t *testing.T) {
	folder := journal(t)
	path := filepath.Join(folder, "entries")
	write(t, path, entryOf("c1", `"AAAAA1: removed"`), "no entry\n", entryOf("c2", "null"), entryOf("c3", `"`+strings.Repeat("x", 2*longestEntry)+`"`), entryOf("c4", `[65,65,65,65,65,52,58,32,114,101,109,111,118,101,100]`))
	d := newDesk()
	f := start(t, Journal, d)
	d.wants(t, "AAAAA1", "AAAAA4")
	f.Stop()
	write(t, path, entryOf("c5", `"AAAAA5: removed"`))
	start(t, Journal, d)
	d.wants(t, "AAAAA1", "AAAAA4", "AAAAA5")
	args, err := os.ReadFile(filepath.Join(folder, "args"))
	must(t, err)
	for _, want := range []string{"--since=@", "--after-cursor=c4", "SYSLOG_FACILITY=2", "--follow"} {
		if !bytes.Contains(args, []byte(want)) {
			t.Errorf("journalctl was not asked for %s:\n%s", want, args)
		}
	}
}

func TestAJournalThatMayNotBeReadIsToldWithTheRemedy(t *testing.T) {
	folder := journal(t)
	write(t, filepath.Join(folder, "entries"), entryOf("c1", `"AAAAA1: removed"`))
	write(t, filepath.Join(folder, "broken"), "No journal files were opened due to insufficient permissions.\n")
	d := newDesk()
	f := start(t, Journal, d)
	untilFailed(t, f, "group systemd-journal")
	must(t, os.Remove(filepath.Join(folder, "broken")))
	d.wants(t, "AAAAA1")
}

func TestBehindAGapAllThatIsThereIsRead(t *testing.T) {
	path := filepath.Join(t.TempDir(), "mail.log")
	write(t, path, removed("AAAAA1"))
	d := newDesk()
	f := start(t, path, d)
	d.wants(t, "AAAAA1")
	f.Stop()
	must(t, os.Remove(path)) // and what was packed of it is left out
	write(t, path+".3", removed("OLDER1"))
	past := time.Now().Add(-time.Hour)
	must(t, os.Chtimes(path+".3", past, past))
	soon := time.Now().Add(time.Minute)
	write(t, path+".1", removed("BBBBB1"))
	must(t, os.Chtimes(path+".1", soon, soon))
	write(t, path, removed("BBBBB2"))
	f = start(t, path, d)
	d.wants(t, "AAAAA1", "BBBBB1", "BBBBB2")
	if f.Status().Gap.IsZero() {
		t.Error("no gap is told")
	}
}
