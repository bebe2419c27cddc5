package quarantine

import (
	"bytes"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"runtime/debug"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"coexistd/contrib/lab"
	"coexistd/milter/store"
	"coexistd/policy/verdict"
)

var noon = time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)

func options(dir string) Options {
	return Options{Dir: dir, Zone: time.UTC, Log: slog.New(slog.DiscardHandler)}
}

// open opens a store as the daemon does.
func open(t testing.TB, o Options) *Store {
	t.Helper()
	file := store.New(FileOptions(o.Dir, o.Log))
	s := New(file, o)
	if err := s.Ready(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { file.Close() })
	return s
}

// dir is a store's folder.
func dir(s *Store) string { return filepath.Dir(s.file.Path()) }

func newTestStore(t testing.TB) *Store {
	t.Helper()
	return open(t, options(filepath.Join(t.TempDir(), "quarantine")))
}

// spam is the nth message, which came n minutes after noon.
func spam(n int) (Item, string) {
	content := fmt.Sprintf("From: x@example.org\r\nSubject: offer %d\r\n\r\nBuy %d.\r\n", n, n)
	return Item{
		Time: noon.Add(time.Duration(n) * time.Minute), Sender: "x@example.org", Point: verdict.S0,
		Client: "192.0.2.1", From: " x@example.org", Subject: fmt.Sprintf(" offer %d", n),
	}, content
}

func heldForSpam(address string) Recipient {
	return Recipient{Address: address, Owner: strings.ToLower(address), Checks: []string{verdict.CheckSpam}, Found: []string{"GTUBE"}, Report: true}
}

// put stores the nth message for recipients.
func put(t testing.TB, s *Store, n int, addresses ...string) []string {
	t.Helper()
	item, content := spam(n)
	ids, err := s.Put(item, recipients(addresses...), strings.NewReader(content))
	if err != nil {
		t.Fatal(err)
	}
	return ids
}

func recipients(addresses ...string) []Recipient {
	var list []Recipient
	for _, address := range addresses {
		list = append(list, heldForSpam(address))
	}
	return list
}

func listed(t testing.TB, s *Store, q Query) []Entry {
	t.Helper()
	entries, err := s.List(q)
	if err != nil {
		t.Fatal(err)
	}
	return entries
}

func idsOf(entries []Entry) []string {
	ids := make([]string, len(entries))
	for i := range entries {
		ids[i] = entries[i].ID
	}
	return ids
}

func contentOf(t testing.TB, s *Store, id string) string {
	t.Helper()
	r, err := s.Content(id)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	content, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	return string(content)
}

// contents counts the messages whose content is in the store, whole ones and all others.
func contents(t testing.TB, s *Store) (messages, drafts int) {
	t.Helper()
	if err := s.view(func(tx *sql.Tx) error {
		const has = "EXISTS (SELECT 1 FROM chunks WHERE number >= m.number * ? AND number < (m.number + 1) * ?)"
		if err := tx.QueryRow("SELECT count(*) FROM messages m WHERE state = ?", whole).Scan(&messages); err != nil {
			return err
		}
		return tx.QueryRow("SELECT count(*) FROM messages m WHERE state <> ? AND (state <> ? OR "+has+")", whole, swept, maxChunks, maxChunks).Scan(&drafts)
	}); err != nil {
		t.Fatal(err)
	}
	return messages, drafts
}

func wantContents(t testing.TB, s *Store, messages int) {
	t.Helper()
	if got, drafts := contents(t, s); got != messages || drafts != 0 {
		t.Errorf("there are %d messages and %d drafts, want %d and 0", got, drafts, messages)
	}
}

func state(t testing.TB, s *Store, id string) State {
	t.Helper()
	entry, err := s.entry(id)
	if err != nil {
		t.Fatal(err)
	}
	return entry.State
}

func TestWhatIsPutIsListedAndReadByteForByte(t *testing.T) {
	s := newTestStore(t)
	for i, content := range []string{
		"", "\n", "no header", "Subject: x\r\n\r\nbody\r\n", "bare\rCR and bare\nLF\r\n", "\x00\xff\xfe\r\n" + strings.Repeat("x", 1<<20),
		"X-Coexist-Pass: v=1;\r\n\tid=y\r\nSubject: x\r\n\r\n", "X-Coexist-Pass:", "x-coexist-pass: " + strings.Repeat("y", 1<<18),
	} {
		item, _ := spam(i)
		ids, err := s.Put(item, recipients(fmt.Sprintf("user%d@acmecorp.com", i)), strings.NewReader(content))
		if err != nil {
			t.Fatal(err)
		}
		if got := contentOf(t, s, ids[0]); got != content {
			t.Errorf("%.40q (%d bytes) came back as %.40q (%d bytes)", content, len(content), got, len(got))
		}
		if e, err := s.entry(ids[0]); err != nil || e.Size != int64(len(content)) || e.State != Held || !e.Time.Equal(item.Time) || e.Subject != fmt.Sprintf("offer %d", i) || e.From != "x@example.org" || e.Owner != fmt.Sprintf("user%d@acmecorp.com", i) {
			t.Errorf("the entry is %+v, %v", e, err)
		}
		if len(ids[0]) != idLength || strings.Trim(ids[0], "abcdefghijklmnopqrstuvwxyz234567") != "" {
			t.Errorf("the ID is %q", ids[0])
		}
	}
}

func TestEachRecipientHasHisEntry(t *testing.T) {
	s := newTestStore(t)
	ids := put(t, s, 1, "alice@acmecorp.com", "bob@acmecorp.com", "alice@acmecorp.com")
	if len(ids) != 3 || ids[0] == ids[1] || ids[0] != ids[2] {
		t.Fatalf("the IDs are %q", ids)
	}
	wantContents(t, s, 1)
	if err := s.Delete(ids[0]); err != nil {
		t.Fatal(err)
	}
	if got := idsOf(listed(t, s, Query{})); !slices.Equal(got, ids[1:2]) {
		t.Errorf("held are %q, want %q", got, ids[1:2])
	}
	if got := idsOf(listed(t, s, Query{All: true, To: "Alice@AcmeCorp.com"})); !slices.Equal(got, ids[:1]) {
		t.Errorf("Alice had %q, want %q", got, ids[:1])
	}
	wantContents(t, s, 1)
	if err := s.Delete(ids[1]); err != nil {
		t.Fatal(err)
	}
	wantContents(t, s, 0)
	if u, err := s.Usage(); err != nil || u.Bytes != 0 || u.Entries != 0 || u.Free == 0 {
		t.Errorf("the usage is %+v, %v", u, err)
	}
	if _, err := s.Content(ids[1]); err == nil || !strings.Contains(err.Error(), "no longer kept") {
		t.Errorf("the content of a deleted entry: %v", err)
	}
	if err := s.Delete(ids[1]); err == nil || !strings.Contains(err.Error(), "it is deleted since") {
		t.Errorf("deleting twice: %v", err)
	}
	if err := s.Delete("nothere"); !errors.Is(err, ErrNotFound) {
		t.Errorf("deleting what never was: %v", err)
	}
}

func TestAMessageThatIsHeldAlreadyIsNotStoredAgain(t *testing.T) {
	s := newTestStore(t)
	first := put(t, s, 1, "alice@acmecorp.com")
	if again := put(t, s, 1, "alice@acmecorp.com"); !slices.Equal(again, first) {
		t.Errorf("the same message got %q, want %q", again, first)
	}
	wantContents(t, s, 1)
	item, content := spam(1)
	passed := "X-Coexist-Pass: v=1; id=x;\r\n\tsig=y\r\n" + content
	both, err := s.Put(item, recipients("bob@acmecorp.com", "alice@acmecorp.com"), strings.NewReader(passed))
	if err != nil || both[1] != first[0] || both[0] == first[0] {
		t.Errorf("for one more it got %q, %v", both, err)
	}
	if got := len(listed(t, s, Query{})); got != 2 {
		t.Errorf("%d entries are held, want 2", got)
	}
	wantContents(t, s, 2)
	if other := put(t, s, 2, "alice@acmecorp.com"); other[0] == first[0] {
		t.Error("another message got the same ID")
	}
	if err := s.Delete(first[0]); err != nil {
		t.Fatal(err)
	}
	if again := put(t, s, 1, "alice@acmecorp.com"); again[0] == first[0] {
		t.Error("a message that was deleted is not held when it comes once more")
	}
}

func TestHostileTextsAreBounded(t *testing.T) {
	s := newTestStore(t)
	item, content := spam(1)
	item.Subject = strings.Repeat("é", maxText) + "\xff\x00\r\n"
	item.Login = "\xff\xff" + strings.Repeat("\x00", 5000)
	r := heldForSpam("alice@acmecorp.com")
	r.ORcpt, r.Notify = "rfc822;a b", strings.Repeat("N", maxPath+1)
	r.Found = slices.Repeat([]string{strings.Repeat("<", 5000)}, 5000)
	ids, err := s.Put(item, []Recipient{r}, strings.NewReader(content))
	if err != nil {
		t.Fatal(err)
	}
	e, err := s.entry(ids[0])
	if err != nil || len(e.Subject) != maxText || len(e.Login) > maxText || e.ORcpt != "" || e.Notify != "" || len(e.Found) != maxList || len(e.Found[0]) != maxText {
		t.Errorf("the entry is %+v, %v", e, err)
	}
	for _, bad := range []string{"", "\xff@acmecorp.com", strings.Repeat("a", maxPath+1)} {
		if _, err := s.Put(item, recipients(bad), strings.NewReader(content)); err == nil || !strings.Contains(err.Error(), "the recipient") {
			t.Errorf("a recipient %.10q: %v", bad, err)
		}
	}
	wantContents(t, s, 1)
}

func TestAFailingReaderLeavesNothing(t *testing.T) {
	s := newTestStore(t)
	item, content := spam(1)
	_, err := s.Put(item, recipients("alice@acmecorp.com"), io.MultiReader(strings.NewReader(content), &failing{}))
	if !errors.Is(err, errBroken) {
		t.Errorf("the error is %v", err)
	}
	wantContents(t, s, 0)
}

func TestAStoreThatFailsAtTheLastStepKeepsNothing(t *testing.T) {
	s := newTestStore(t)
	sql := func(text string) {
		t.Helper()
		if err := s.update(func(tx *sql.Tx) error { _, err := tx.Exec(text); return err }); err != nil {
			t.Fatal(err)
		}
	}
	sql("CREATE TRIGGER refuse BEFORE INSERT ON entries BEGIN SELECT RAISE(ABORT, 'no entry'); END")
	for _, size := range []int{0, 3 * chunksAtOnce * chunkSize} {
		item, content := spam(1)
		if _, err := s.Put(item, recipients("alice@acmecorp.com"), strings.NewReader(content+strings.Repeat("x", size))); err == nil || !strings.Contains(err.Error(), "no entry") {
			t.Errorf("the error is %v", err)
		}
		wantContents(t, s, 0)
	}
	sql("DROP TRIGGER refuse")
	put(t, s, 1, "alice@acmecorp.com")
	if got := len(listed(t, s, Query{})); got != 1 {
		t.Errorf("%d entries are held, want 1", got)
	}
	wantContents(t, s, 1)
}

var errBroken = errors.New("broken")

type failing struct{}

func (failing) Read([]byte) (int, error) { return 0, errBroken }

func TestACommandMakesNoFile(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "none")
	for range 2 {
		s := OpenExisting(options(dir))
		if got := listed(t, s, Query{All: true}); len(got) != 0 {
			t.Errorf("an empty store has %v", got)
		}
		if at, err := s.LastReport(); err != nil || !at.IsZero() {
			t.Errorf("the last report was %v, %v", at, err)
		}
		if u, err := s.Usage(); err != nil || u.Entries != 0 || u.Bytes != 0 {
			t.Errorf("the usage is %+v, %v", u, err)
		}
		if _, err := s.Content("x"); !errors.Is(err, ErrNotFound) {
			t.Errorf("content: %v", err)
		}
		if err := s.Delete("x"); !errors.Is(err, ErrNotFound) {
			t.Errorf("delete: %v", err)
		}
		if found, _ := filepath.Glob(filepath.Join(dir, "*")); len(found) > 0 {
			t.Errorf("there are %q", found)
		}
		os.Mkdir(dir, 0o700)
	}
	daemon := open(t, options(dir))
	put(t, daemon, 1, "alice@acmecorp.com")
	command := OpenExisting(options(dir))
	if got := listed(t, command, Query{}); len(got) != 1 {
		t.Errorf("a command sees %d entries, want 1", len(got))
	}
	// Without the file, what it held is lost: a command says nothing else, and leaves the
	// making of another to the daemon.
	if err := os.Remove(daemon.file.Path()); err != nil {
		t.Fatal(err)
	}
	if got := listed(t, command, Query{}); len(got) != 0 {
		t.Errorf("without a file there are %d entries", len(got))
	}
	if _, err := os.Stat(daemon.file.Path()); err == nil {
		t.Error("a command has made a file")
	}
	put(t, daemon, 1, "alice@acmecorp.com")
	if got := listed(t, command, Query{}); len(got) != 1 {
		t.Errorf("of the new file a command sees %d entries, want 1", len(got))
	}
}

func TestAProcessThatHangsIsNotWaitedForForEver(t *testing.T) {
	o := options(t.TempDir())
	hasty := FileOptions(o.Dir, o.Log)
	hasty.Patience = 50 * time.Millisecond
	file := store.New(hasty)
	defer file.Close()
	s := New(file, o)
	wantContents(t, s, 0)
	other, err := sql.Open("sqlite", file.Path())
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	other.SetMaxOpenConns(1)
	if _, err := other.Exec("BEGIN IMMEDIATE"); err != nil {
		t.Fatal(err)
	}
	var all sync.WaitGroup
	begun := time.Now()
	for n := range 20 {
		all.Go(func() {
			item, content := spam(n)
			if _, err := s.Put(item, recipients("alice@acmecorp.com"), strings.NewReader(content)); err == nil || !strings.Contains(err.Error(), "in use by a process") {
				t.Errorf("the error is %v", err)
			}
		})
	}
	all.Wait()
	if took := time.Since(begun); took > time.Minute {
		t.Errorf("20 messages waited for %v", took)
	}
	wantContents(t, s, 0)
	if _, err := other.Exec("ROLLBACK"); err != nil {
		t.Fatal(err)
	}
	put(t, s, 1, "alice@acmecorp.com")
}

func TestFiftyMessagesAreStoredAtOnce(t *testing.T) {
	t.Parallel()
	s := newTestStore(t)
	var all sync.WaitGroup
	for n := range 50 {
		all.Go(func() { put(t, s, n, "alice@acmecorp.com", "bob@acmecorp.com") })
	}
	all.Wait()
	entries := listed(t, s, Query{})
	if len(entries) != 100 {
		t.Fatalf("%d entries are held, want 100", len(entries))
	}
	for _, e := range entries {
		_, want := spam(int(e.Time.Sub(noon).Minutes()))
		if got := contentOf(t, s, e.ID); got != want {
			t.Errorf("%s has %q, want %q", e.ID, got, want)
		}
	}
}

func TestAFullDiskIsToldAndPasses(t *testing.T) {
	t.Parallel()
	if os.Geteuid() != 0 {
		t.Skip("only root can mount a small file system")
	}
	dir := t.TempDir()
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size=16m"); errors.Is(err, syscall.EPERM) && testing.Short() {
		t.Skip("this root may not mount a small file system")
	} else if err != nil {
		t.Fatalf("mounting a small file system: %v", err)
	}
	defer syscall.Unmount(dir, syscall.MNT_DETACH)
	s := open(t, options(filepath.Join(dir, "quarantine")))
	filler := filepath.Join(dir, "filler")
	stored, refused := 0, 0
	for n := range 40 {
		fill(t, filler, n*reserve/20)
		item, content := spam(n)
		ids, err := s.Put(item, recipients("alice@acmecorp.com"), strings.NewReader(content+strings.Repeat("x", 40_000)))
		switch {
		case err == nil:
			stored++
			contentOf(t, s, ids[0])
		case errors.Is(err, store.ErrFull) && strings.Contains(err.Error(), "the disk is full"):
			refused++
		default:
			t.Errorf("with %d/20 of the reserve left: %v", n, err)
		}
		wantContents(t, s, stored)
		if got := len(listed(t, s, Query{})); got != stored {
			t.Errorf("%d entries are held, want %d", got, stored)
		}
	}
	if stored == 0 || refused == 0 {
		t.Errorf("%d messages were stored and %d refused, so nothing was tried", stored, refused)
	}
	fill(t, filler, 0)
	if err := s.Delete(listed(t, s, Query{})[0].ID); err != nil {
		t.Errorf("deleting with a full disk: %v", err)
	}
	if err := os.Remove(filler); err != nil {
		t.Fatal(err)
	}
	put(t, s, 100, "alice@acmecorp.com")
}

// fill makes a file so large that the file system has so many bytes left.
func fill(t *testing.T, path string, left int) {
	t.Helper()
	os.Remove(path)
	var system syscall.Statfs_t
	if err := syscall.Statfs(filepath.Dir(path), &system); err != nil {
		t.Fatal(err)
	}
	free := int(system.Bavail) * int(system.Bsize)
	if err := os.WriteFile(path, bytes.Repeat([]byte("x"), max(0, free-left)), 0o600); err != nil {
		t.Fatal(err)
	}
}

// A long message takes no more memory than a short one, on its way in and out.
func TestALongMessageTakesLittleMemory(t *testing.T) {
	const long = 50 << 20
	if task := task(); len(task) > 0 {
		s := open(t, options(task[0]))
		// What is garbage is not what this is about.
		debug.SetGCPercent(5)
		holdAndRelease := func(n int, content io.Reader) {
			item, _ := spam(n)
			ids, err := s.Put(item, recipients("alice@acmecorp.com"), content)
			if err == nil {
				_, err = s.Release(t.Context(), newReleaser(task[1]), ids[0], false)
			}
			if err != nil {
				t.Fatal(err)
			}
		}
		holdAndRelease(1, strings.NewReader("Subject: short\r\n\r\n"))
		before := peak(t)
		holdAndRelease(2, io.MultiReader(strings.NewReader("Subject: long\r\n\r\n"), io.LimitReader(endless{}, long)))
		fmt.Println("more", peak(t)-before)
		return
	}
	sink := startSink(t, lab.SinkConfig{})
	said, _ := childOf(t, t.Name(), t.TempDir(), sink.Addr())
	most := 8 << 10
	if build, is := debug.ReadBuildInfo(); is && slices.Contains(build.Settings, debug.BuildSetting{Key: "-race", Value: "true"}) {
		most *= 3 // the race detector has its share
	}
	var more int
	if _, err := fmt.Sscanf(said, "more %d", &more); err != nil || more > most {
		t.Errorf("50 MB took %d KB more memory (%v): %s", more, err, said)
	}
	if all := sink.All(); len(all) != 2 || len(all[1].Data) < long {
		t.Errorf("%d messages came", len(all))
	}
}

// endless is a reader of one letter.
type endless struct{}

func (endless) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = 'x'
	}
	return len(p), nil
}

// peak is the most memory that this process has had resident so far, in KB.
func peak(t *testing.T) (kilobytes int) {
	t.Helper()
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(status), "VmHWM:")
	if _, err := fmt.Sscan(rest, &kilobytes); err != nil {
		t.Fatal(err)
	}
	return kilobytes
}

func TestTheTimeOfTheLastReportIsKept(t *testing.T) {
	s := newTestStore(t)
	if at, err := s.LastReport(); err != nil || !at.IsZero() {
		t.Errorf("at first it is %v, %v", at, err)
	}
	if err := s.SetLastReport(noon); err != nil {
		t.Fatal(err)
	}
	if at, err := OpenExisting(options(dir(s))).LastReport(); err != nil || !at.Equal(noon) {
		t.Errorf("it is %v, %v, want %v", at, err, noon)
	}
}

// ofSize is a message of about so many bytes.
func ofSize(n, size int) string {
	return fmt.Sprintf("Subject: %d\r\n\r\n", n) + strings.Repeat("0123456789abcdef", size/16) + "\r\n"
}

func BenchmarkPut(b *testing.B) {
	for name, size := range map[string]int{"4K": 4 << 10, "1M": 1 << 20} {
		b.Run(name, func(b *testing.B) {
			s, n := newTestStore(b), 0
			item, _ := spam(1)
			for b.Loop() {
				n++
				if _, err := s.Put(item, recipients("alice@acmecorp.com"), strings.NewReader(ofSize(n, size))); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkPutBesideOthers tells how long a short message waits while long ones are stored
// and removed.
func BenchmarkPutBesideOthers(b *testing.B) {
	s := newTestStore(b)
	item, _ := spam(1)
	// The file is made, and the long content is at hand: neither is the others' writing.
	if _, err := s.Put(item, recipients("alice@acmecorp.com"), strings.NewReader(ofSize(0, 4<<10))); err != nil {
		b.Fatal(err)
	}
	long := ofSize(0, 50<<20)
	end := make(chan struct{})
	var others sync.WaitGroup
	others.Go(func() {
		for n := 0; ; n++ {
			select {
			case <-end:
				return
			default:
			}
			ids, err := s.Put(item, recipients("bob@acmecorp.com"), io.MultiReader(strings.NewReader(fmt.Sprintf("X: %d\r\n", n)), strings.NewReader(long)))
			if err == nil {
				err = s.Delete(ids[0])
			}
			if err != nil {
				b.Error(err)
				return
			}
		}
	})
	var took []time.Duration
	n := 0
	for b.Loop() {
		n++
		begun := time.Now()
		if _, err := s.Put(item, recipients("alice@acmecorp.com"), strings.NewReader(ofSize(n, 4<<10))); err != nil {
			b.Fatal(err)
		}
		took = append(took, time.Since(begun))
	}
	slices.Sort(took)
	b.ReportMetric(float64(took[len(took)*99/100].Microseconds())/1000, "ms/99th")
	b.ReportMetric(float64(took[len(took)-1].Microseconds())/1000, "ms/worst")
	close(end)
	others.Wait()
}
