package sources

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"coexistd/policy/directory"
	"coexistd/policy/route"
)

var (
	offices = []*route.Platform{{Name: "google", Letter: "G"}, {Name: "office365", Letter: "O"}}
	acme    = &route.Domain{Name: "acmecorp.com", Alternates: map[string]string{"office365": "acmecorp-com.onmicrosoft.com"}}
	twin    = &route.Domain{Name: "xn--bcher-kva.example", Alternates: map[string]string{"office365": "o.example", "google": "g.example"}}
)

func source(path string) directory.Source {
	return directory.Source{
		Path:       path,
		Platforms:  offices,
		Domains:    map[string]*route.Domain{acme.Name: acme, twin.Name: twin},
		MaxLoss:    0.10,
		Delimiters: "+",
	}
}

// write makes a directory file with an old time of modification, as a file has
// that was not written just now.
func write(t testing.TB, content string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "users.csv")
	rewrite(t, path, content, time.Hour)
	return path
}

func rewrite(t testing.TB, path, content string, age time.Duration) {
	t.Helper()
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	then := time.Now().Add(-age)
	if err := os.Chtimes(path, then, then); err != nil {
		t.Fatal(err)
	}
}

// load reads a directory that nothing is wrong with.
func load(t testing.TB, s directory.Source) *List {
	t.Helper()
	c := open(s)
	if c.Err != nil {
		t.Fatal(c.Err)
	}
	return c
}

// open reads a directory.
func open(s directory.Source) *List { return Open([]directory.Source{s}, nil)[0] }

// reload reads a directory again for a source, as a reload of the daemon does.
func reload(c *List, s directory.Source) *List { return Open([]directory.Source{s}, Directories{c})[0] }

func TestReadsColumnsByNameInAnyOrder(t *testing.T) {
	f := load(t, source(write(t, "\ufeffName,LOGIN, Residence ,Address\r\n"+
		"\"Smith, Alice \"\"Al\"\"\", al ,Office365, Alice@AcmeCorp.com \r\n"+
		"\r\n"+
		"Bob,,here,\"bob@acmecorp.com\"\r\n"+
		"Carol,carol,BOTH,carol@acmecorp.com\r\n"+
		"Dora,,Both:Google,dora@bücher.example\r\n"+
		"Ed,,moving,ed@acmecorp.com"))).Snapshot
	if f.Len() != 5 {
		t.Fatalf("Len() = %d, want 5", f.Len())
	}
	var got []string
	for e := range f.All() {
		got = append(got, fmt.Sprint(e.Line(), " ", e.Address(), " ", e.Residence(), " ", e.Residence().Platform,
			" ", e.Login(), " ", e.Column("name"), " ", e.Column("residence"), " ", e.Column("address") == e.Address()))
	}
	want := []string{
		`2 alice@acmecorp.com office365 office365 al Smith, Alice "Al" office365 true`,
		`4 bob@acmecorp.com here   Bob here true`,
		`5 carol@acmecorp.com both office365 carol Carol both true`,
		`6 dora@xn--bcher-kva.example both google  Dora both:google true`,
		`7 ed@acmecorp.com moving   Ed moving true`,
	}
	if !slices.Equal(got, want) {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	if columns := f.Columns(); !slices.Equal(columns, []string{"name", "login"}) {
		t.Errorf("Columns() = %q", columns)
	}
	e, found := f.Lookup("bob@acmecorp.com")
	if !found || e.Column("nickname") != "" || e.Column("name") != "Bob" {
		t.Errorf("bob: found %v, nickname %q, name %q", found, e.Column("nickname"), e.Column("name"))
	}
}

func TestAFileWithAHeaderLineOnlyIsAnEmptyListWhereUnlistedAddressesLiveSomewhere(t *testing.T) {
	s := source(write(t, "address,residence\n"))
	if err := open(s).Err; err == nil || !strings.Contains(err.Error(), "lists no address") {
		t.Errorf("a list that refuses everybody was taken: %v", err)
	}
	for name, domain := range s.Domains {
		open := *domain
		open.Unlisted = route.Residence{Kind: route.Here}
		s.Domains[name] = &open
	}
	f := load(t, s).Snapshot
	if f.Len() != 0 {
		t.Errorf("Len() = %d", f.Len())
	}
	if _, found := f.Lookup("bob@acmecorp.com"); found {
		t.Error("an empty list lists bob")
	}
	if e, found := f.Lookup(""); found {
		t.Error("an empty list lists the empty key", e)
	}
}

func TestRefusesTheWholeFileAndNamesEveryBadRow(t *testing.T) {
	path := write(t, strings.Join([]string{
		"address,residence,login",
		"alice@acmecorp.com,here,",
		"bob@acmecorp.com,nowhere,",
		"bob@other.example,here,",
		",here,",
		"bob,here,",
		"ALICE@acmecorp.com,office365,",
		"bob@acmecorp.com;carol@acmecorp.com,here,",
		"<bob@acmecorp.com>,here,",
		"bob@acmecorp.com,here",
		"bob@acmecorp.com,here,\"bob",
		"bob@acmecorp.com,here,\"bob\" x",
		"bob@acmecorp.com,here,b\"o\"b",
		"bob@acmecorp.com,here,b\x00b",
		"bob@acmecorp.com,here,b\tb",
		"bob@acmecorp.com,here,b\xe9b",
		"bob@acmecorp.com,,",
		"bob@xn--bcher-kva.example,both,",
		"bob@acme_corp..com,here,",
		"bob@acmecorp.com,here," + strings.Repeat("x", maxLine),
		"bob@acmecorp.com,here,bob",
	}, "\n"))
	c := open(source(path))
	if c.Snapshot != nil {
		t.Error("a file with bad rows was loaded")
	}
	bad, ok := errors.AsType[*directory.Errors](c.Err)
	if !ok {
		t.Fatalf("the error is %T: %v", c.Err, c.Err)
	}
	want := []string{
		`:3: residence "nowhere" is not known for acmecorp.com`,
		`:4: the address bob@other.example is of the domain other.example; this file serves acmecorp.com, xn--bcher-kva.example`,
		`:5: the row has no address`,
		`:6: the address "bob" has no domain`,
		`:7: the address alice@acmecorp.com is on line 2 already`,
		`:8: "bob@acmecorp.com;carol@acmecorp.com" is not one address`,
		`:9: "<bob@acmecorp.com>" holds more than an address; write bob@acmecorp.com`,
		`:10: the row has 2 fields and the header line 3`,
		`:11: a field in double quotes does not end on its line`,
		`:12: text follows the double quote`,
		`:13: a double quote stands within a field`,
		`:14: the row holds the control character 0x00 at byte 24`,
		`:15: the row holds the control character 0x09 at byte 24`,
		`:16: the row is not UTF-8`,
		`:17: the row has no residence`,
		`:18: residence "both" is ambiguous`,
		`:19: "bob@acme_corp..com" cannot be an address: `,
		`:20: the row has 65558 bytes; at most 65536 are read`,
	}
	lines := strings.Split(bad.Error(), "\n")
	if len(lines) != len(want) || bad.More != 0 {
		t.Fatalf("%d errors and %d more, want %d:\n%s", len(lines), bad.More, len(want), bad)
	}
	for i, line := range lines {
		if !strings.HasPrefix(line, path+want[i]) {
			t.Errorf("got  %s\nwant %s%s …", line, path, want[i])
		}
	}
}

func TestCountsTheBadRowsBeyondAHundred(t *testing.T) {
	err := open(source(write(t, "address,residence\n"+strings.Repeat("x,here\n", 150)))).Err
	if err == nil {
		t.Fatal("loaded")
	}
	lines := strings.Split(err.Error(), "\n")
	if len(lines) != 101 || lines[100] != "and 50 more" {
		t.Errorf("%d lines, the last is %q", len(lines), lines[len(lines)-1])
	}
}

func TestABadHeaderLineIsTheOnlyError(t *testing.T) {
	for content, want := range map[string]string{
		"":                                   ":1: the file is empty",
		"\n \n":                              ":1: the file is empty",
		"\nalice@acmecorp.com,here\nx,y\n":   `:2: the header line lacks the column "address"`,
		"address,login\nx,y\n":               `:1: the header line lacks the column "residence"`,
		"address;residence;login\nx;y;z\n":   `:1: the header line separates the columns by ";"`,
		"address,residence,Address\nx,y\n":   `:1: the header line names the column "address" twice`,
		"address,residence,a, A\nx,y\n":      `:1: the header line names the column "a" twice`,
		"address,residence,,\nx,y\n":         ":1: column 3 of the header line has no name",
		"address,\"residence\nx\"\nx,y\n":    ":1: a field in double quotes does not end",
		"\xff\xfea\x00d\x00d\x00r\x00\n\x00": ":1: the file is UTF-16",
	} {
		path := write(t, content)
		err := open(source(path)).Err
		if err == nil || !strings.HasPrefix(err.Error(), path+want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%q: got %v, want %s", content, err, want)
		}
	}
}

func TestReadsRegularFilesOnly(t *testing.T) {
	folder := t.TempDir()
	fifo := filepath.Join(folder, "fifo")
	if err := syscall.Mkfifo(fifo, 0o600); err != nil {
		t.Fatal(err)
	}
	huge := filepath.Join(folder, "huge")
	if err := os.WriteFile(huge, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(huge, directory.MaxSize+1); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]string{
		folder:                          "is a folder, not a regular file",
		fifo:                            "is a FIFO, not a regular file",
		"/dev/zero":                     "is a device, not a regular file",
		huge:                            "is larger than 1024 MiB",
		filepath.Join(folder, "absent"): "does not exist",
	} {
		err := open(source(path)).Err
		if err == nil || err.Error() != "the directory file "+path+" "+want {
			t.Errorf("%s: %v, want %s", path, err, want)
		}
	}
	if err := open(source(filepath.Join(folder, "absent"))).Err; !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("%v does not tell that the file is absent", err)
	}
}

func rows(from, to int, residence string) string {
	var text strings.Builder
	text.WriteString("address,residence,login\n")
	for i := from; i < to; i++ {
		fmt.Fprintf(&text, "user%d@acmecorp.com,%s,\n", i, residence)
	}
	return text.String()
}

func TestReloadKeepsTheListWhileTheFileIsTheSame(t *testing.T) {
	c := load(t, source(write(t, rows(0, 10, "here"))))
	same := func(about string) {
		t.Helper()
		if again := reload(c, c.Source); again.Snapshot != c.Snapshot || again.Err != nil {
			t.Errorf("%s: another list, or %v", about, again.Err)
		}
	}
	same("unchanged")
	now := time.Now()
	if err := os.Chtimes(c.Source.Path, now, now); err != nil {
		t.Fatal(err)
	}
	same("touched only")
}

func TestReloadSeesAChangeThatTheTimeOfModificationHides(t *testing.T) {
	path := write(t, rows(0, 10, "here"))
	now := time.Now()
	if err := os.Chtimes(path, now, now); err != nil {
		t.Fatal(err)
	}
	c := load(t, source(path))
	if err := os.WriteFile(path, []byte(rows(0, 10, "both")), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Chtimes(path, now, now); err != nil {
		t.Fatal(err)
	}
	fresh := reload(c, c.Source)
	if fresh.Err != nil || fresh.Snapshot == c.Snapshot {
		t.Fatalf("the list is the old one: %v", fresh.Err)
	}
	if e, _ := fresh.Snapshot.Lookup("user3@acmecorp.com"); e.Residence().Kind != route.Both {
		t.Errorf("user3 lives %v", e.Residence())
	}
	if e, _ := c.Snapshot.Lookup("user3@acmecorp.com"); e.Residence().Kind != route.Here {
		t.Errorf("the old list changed: user3 lives %v", e.Residence())
	}
}

func TestReloadMayDropTheShareThatMaxLossAllows(t *testing.T) {
	for _, one := range []struct {
		content string
		refused string
	}{
		{rows(10, 100, "here"), ""},
		{rows(11, 100, "here"), "lacks 11 of 100 addresses (11.00 %), user0@acmecorp.com for one; max_loss = \"10%\" allows less"},
		{rows(11, 200, "here"), "lacks 11 of 100 addresses"}, // longer, and yet a loss
		{"address,residence\nnew@acmecorp.com,here\n", "lacks 100 of 100 addresses"},
		{rows(0, 100, "office365"), ""},
	} {
		old := load(t, source(write(t, rows(0, 100, "here"))))
		rewrite(t, old.Source.Path, one.content, time.Minute)
		c := reload(old, old.Source)
		if one.refused == "" {
			if c.Err != nil || c.Snapshot == old.Snapshot {
				t.Errorf("refused: %v", c.Err)
			}
			continue
		}
		if c.Err == nil || !strings.Contains(c.Err.Error(), one.refused) || c.Snapshot != old.Snapshot {
			t.Errorf("got %v, want %s", c.Err, one.refused)
			continue
		}
		if again := reload(c, c.Source); again.Err != c.Err {
			t.Errorf("the unchanged file was judged again: %v", again.Err)
		}
		rewrite(t, c.Source.Path, rows(0, 101, "here"), time.Second)
		if c = reload(c, c.Source); c.Err != nil || c.Snapshot.Len() != 101 {
			t.Errorf("a sound file after a refused one: %v", c.Err)
		}
	}
}

func TestReloadReportsAFileThatIsGoneOrBad(t *testing.T) {
	old := load(t, source(write(t, rows(0, 10, "here"))))
	rewrite(t, old.Source.Path, "address,residence\nx,here\n", time.Minute)
	c := reload(old, old.Source)
	if c.Err == nil || !strings.Contains(c.Err.Error(), `:2: the address "x" has no domain`) {
		t.Errorf("bad row: %v", c.Err)
	}
	if err := os.Remove(c.Source.Path); err != nil {
		t.Fatal(err)
	}
	if c = reload(c, c.Source); !errors.Is(c.Err, fs.ErrNotExist) {
		t.Errorf("gone: %v", c.Err)
	}
	if _, found := c.Snapshot.Lookup("user3@acmecorp.com"); !found || c.Snapshot != old.Snapshot {
		t.Error("the old list lost user3")
	}
}

func TestReloadJudgesByTheNewSource(t *testing.T) {
	c := load(t, source(write(t, rows(0, 100, "here")+"dora@bücher.example,here,\n")))
	s := c.Source
	rewrite(t, s.Path, rows(50, 100, "here"), time.Minute)
	if reload(c, s).Err == nil {
		t.Error("half of the addresses were dropped at max_loss = 0.1")
	}
	s.MaxLoss = 0.5
	if reload(c, s).Err == nil {
		t.Error("51 of 101 addresses were dropped at max_loss = 0.5")
	}
	s.Domains = map[string]*route.Domain{acme.Name: acme}
	if fresh := reload(c, s); fresh.Err != nil || fresh.Snapshot.Len() != 50 {
		t.Errorf("an address of a domain that is gone was counted: %v", fresh.Err)
	}
}

func TestReloadReadsAnUnchangedFileForASourceThatAsksForMore(t *testing.T) {
	c := load(t, source(write(t, rows(0, 10, "here"))))
	s := c.Source
	s.Limits = []string{"hourly"}
	if err := reload(c, s).Err; err == nil || !strings.Contains(err.Error(), `:1: the header line lacks the column "hourly"`) {
		t.Errorf("a file without the column was taken: %v", err)
	}
}

func TestKeepsNothingOfTheFileButItsRows(t *testing.T) {
	blank := strings.Repeat(strings.Repeat(" ", maxLine-1)+"\n", 256)
	path := write(t, rows(0, 10, "Office365")+blank)
	before := heap()
	f := load(t, source(path)).Snapshot
	after := heap()
	if after > before+4<<20 {
		t.Errorf("%d addresses hold %d bytes", f.Len(), after-before)
	}
	runtime.KeepAlive(f)
	runtime.KeepAlive(blank)
}

func heap() uint64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}
