package directory

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"coexistd/policy"
)

var acme = &policy.Domain{
	Name: "acmecorp.com",
	Alternates: map[string]string{
		"office365": "acmecorp-com.onmicrosoft.com",
	},
}

var twin = &policy.Domain{
	Name:       "xn--bcher-kva.example",
	Alternates: map[string]string{"office365": "o.example", "google": "g.example"},
}

func source(path string) Source {
	return Source{
		Path:       path,
		Domains:    map[string]*policy.Domain{acme.Name: acme, twin.Name: twin},
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

func load(t testing.TB, content string) *File {
	t.Helper()
	f, err := Load(source(write(t, content)))
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func parse(t testing.TB, address string) policy.Address {
	t.Helper()
	a, err := policy.ParseAddress(address, "+")
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func TestReadsColumnsByNameInAnyOrder(t *testing.T) {
	f := load(t, "\ufeffName,LOGIN, Residence ,Address\r\n"+
		"\"Smith, Alice \"\"Al\"\"\", al ,Office365, Alice@AcmeCorp.com \r\n"+
		"\r\n"+
		"Bob,,here,\"bob@acmecorp.com\"\r\n"+
		"Carol,carol,BOTH,carol@acmecorp.com\r\n"+
		"Dora,,Both:Google,dora@bücher.example\r\n"+
		"Ed,,moving,ed@acmecorp.com")
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
	if _, err := Load(s); err == nil || !strings.Contains(err.Error(), "lists no address") {
		t.Errorf("a list that refuses everybody was taken: %v", err)
	}
	for name, domain := range s.Domains {
		open := *domain
		open.AcceptUnlisted = true
		s.Domains[name] = &open
	}
	f, err := Load(s)
	if err != nil {
		t.Fatal(err)
	}
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
	f, err := Load(source(path))
	if f != nil {
		t.Error("a file with bad rows was loaded")
	}
	bad, ok := errors.AsType[*Errors](err)
	if !ok {
		t.Fatalf("the error is %T: %v", err, err)
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
	_, err := Load(source(write(t, "address,residence\n"+strings.Repeat("x,here\n", 150))))
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
		"address,residence,Address\nx,y\n":   `:1: the header line names the column "address" twice`,
		"address,residence,a, A\nx,y\n":      `:1: the header line names the column "a" twice`,
		"address,residence,,\nx,y\n":         ":1: column 3 of the header line has no name",
		"address,\"residence\nx\"\nx,y\n":    ":1: a field in double quotes does not end",
		"\xff\xfea\x00d\x00d\x00r\x00\n\x00": ":1: the file is UTF-16",
	} {
		path := write(t, content)
		_, err := Load(source(path))
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
	if err := os.Truncate(huge, maxFile+1); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]string{
		folder:                          "it is not a regular file",
		fifo:                            "it is not a regular file",
		huge:                            "at most 1073741824 are read",
		filepath.Join(folder, "absent"): "no such file",
	} {
		_, err := Load(source(path))
		if err == nil || !strings.Contains(err.Error(), path+" cannot be read: ") || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %s", path, err, want)
		}
	}
	if _, err := Load(source(filepath.Join(folder, "absent"))); !errors.Is(err, fs.ErrNotExist) {
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

func TestReloadReturnsNothingWhileTheFileIsTheSame(t *testing.T) {
	f := load(t, rows(0, 10, "here"))
	if fresh, err := f.Reload(); fresh != nil || err != nil {
		t.Errorf("unchanged: %v, %v", fresh, err)
	}
	now := time.Now()
	if err := os.Chtimes(f.Source().Path, now, now); err != nil {
		t.Fatal(err)
	}
	if fresh, err := f.Reload(); fresh != nil || err != nil {
		t.Errorf("touched only: %v, %v", fresh, err)
	}
}

func TestReloadSeesAChangeThatTheTimeOfModificationHides(t *testing.T) {
	path := write(t, rows(0, 10, "here"))
	now := time.Now()
	if err := os.Chtimes(path, now, now); err != nil {
		t.Fatal(err)
	}
	f, err := Load(source(path))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(rows(0, 10, "both")), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Chtimes(path, now, now); err != nil {
		t.Fatal(err)
	}
	fresh, err := f.Reload()
	if err != nil || fresh == nil {
		t.Fatalf("Reload() = %v, %v", fresh, err)
	}
	if e, _ := fresh.Lookup("user3@acmecorp.com"); e.Residence().Kind != policy.Both {
		t.Errorf("user3 lives %v", e.Residence())
	}
	if e, _ := f.Lookup("user3@acmecorp.com"); e.Residence().Kind != policy.Here {
		t.Errorf("the old list changed: user3 lives %v", e.Residence())
	}
}

func TestReloadMayDropTheShareThatMaxLossAllows(t *testing.T) {
	for _, c := range []struct {
		content string
		refused string
	}{
		{rows(10, 100, "here"), ""},
		{rows(11, 100, "here"), "lacks 11 of 100 addresses (11.00 %), user0@acmecorp.com for one; max_loss = \"10%\" allows less"},
		{rows(11, 200, "here"), "lacks 11 of 100 addresses"}, // longer, and yet a loss
		{"address,residence\nnew@acmecorp.com,here\n", "lacks 100 of 100 addresses"},
		{rows(0, 100, "office365"), ""},
	} {
		f := load(t, rows(0, 100, "here"))
		rewrite(t, f.Source().Path, c.content, time.Minute)
		fresh, err := f.Reload()
		if c.refused == "" {
			if err != nil || fresh == nil {
				t.Errorf("refused: %v", err)
			}
			continue
		}
		if err == nil || !strings.Contains(err.Error(), c.refused) {
			t.Errorf("got %v, want %s", err, c.refused)
			continue
		}
		if _, again := f.Reload(); again != err {
			t.Errorf("the unchanged file was judged again: %v", again)
		}
		rewrite(t, f.Source().Path, rows(0, 101, "here"), time.Second)
		if fresh, err := f.Reload(); err != nil || fresh.Len() != 101 {
			t.Errorf("a sound file after a refused one: %v", err)
		}
	}
}

func TestReloadReportsAFileThatIsGoneOrBad(t *testing.T) {
	f := load(t, rows(0, 10, "here"))
	rewrite(t, f.Source().Path, "address,residence\nx,here\n", time.Minute)
	if fresh, err := f.Reload(); fresh != nil || err == nil || !strings.Contains(err.Error(), `:2: the address "x" has no domain`) {
		t.Errorf("bad row: %v, %v", fresh, err)
	}
	if err := os.Remove(f.Source().Path); err != nil {
		t.Fatal(err)
	}
	if fresh, err := f.Reload(); fresh != nil || !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("gone: %v, %v", fresh, err)
	}
	if _, found := f.Lookup("user3@acmecorp.com"); !found {
		t.Error("the old list lost user3")
	}
}

func TestReplaceJudgesByTheNewSource(t *testing.T) {
	f := load(t, rows(0, 100, "here")+"dora@bücher.example,here,\n")
	rewrite(t, f.Source().Path, rows(50, 100, "here"), time.Minute)
	s := f.Source()
	if _, err := f.Replace(s); err == nil {
		t.Error("half of the addresses were dropped at max_loss = 0.1")
	}
	s.MaxLoss = 0.5
	if _, err := f.Replace(s); err == nil {
		t.Error("51 of 101 addresses were dropped at max_loss = 0.5")
	}
	s.Domains = map[string]*policy.Domain{acme.Name: acme}
	if fresh, err := f.Replace(s); err != nil || fresh.Len() != 50 {
		t.Errorf("an address of a domain that is gone was counted: %v", err)
	}
}

func TestSetListsSubaddressesByTheirOwner(t *testing.T) {
	f := load(t, "address,residence,login\n"+
		"alice@acmecorp.com,office365,al\n"+
		"alice+vip@acmecorp.com,here,vip\n"+
		"\"\"\"a b\"\"@acmecorp.com\",moving,\n")
	set := NewSet(map[string]*File{acme.Name: f, twin.Name: nil})
	for address, want := range map[string]string{
		"Alice@ACMEcorp.com":     "alice@acmecorp.com office365 al",
		"\"alice\"@acmecorp.com": "alice@acmecorp.com office365 al",
		"alice+x@acmecorp.com":   "alice@acmecorp.com office365 al",
		"alice+VIP@acmecorp.com": "alice+vip@acmecorp.com here vip",
		`"a b"@acmecorp.com`:     `"a b"@acmecorp.com moving `,
		"bob@acmecorp.com":       "not found",
		"bob+x@acmecorp.com":     "not found",
		"alice":                  "not found",
		"alice@other.example":    "not found",
		"dora@bücher.example":    "failed",
	} {
		login, l := set.Logins(parse(t, address))
		got := fmt.Sprint(l.Address, " ", l.Residence, " ", login)
		switch {
		case l.Failed:
			got = "failed"
		case !l.Found:
			got = "not found"
		}
		if got != want || l != set.List(parse(t, address)) {
			t.Errorf("%s: got %s, want %s", address, got, want)
		}
	}
}

func TestARowIsThatOfTheAddressOrItsOwner(t *testing.T) {
	f := load(t, "address,residence,login,hourly\n"+
		"alice@acmecorp.com,office365,al carol,500\n"+
		"alice+vip@acmecorp.com,here,vip,\n")
	set := NewSet(map[string]*File{acme.Name: f, twin.Name: nil})
	for address, want := range map[string]string{
		"Alice@acmecorp.com":     "al carol, 500",
		"alice+x@acmecorp.com":   "al carol, 500",
		"alice+vip@acmecorp.com": "vip, ",
		"bob@acmecorp.com":       "none",
		"alice@other.example":    "none",
		"dora@bücher.example":    "failed",
	} {
		row := set.Row(parse(t, address))
		got := "none"
		if row.Column != nil {
			got = row.Login + ", " + row.Column("hourly")
		} else if row.Failed {
			got = "failed"
		}
		if got != want {
			t.Errorf("%s: got %s, want %s", address, got, want)
		}
	}
}

func TestRefusesLimitsThatAreNone(t *testing.T) {
	s := source(write(t, strings.Join([]string{
		"address,Volume,residence,HOURLY",
		"a@acmecorp.com,,here,",
		"b@acmecorp.com,1,here,1000000000000",
		"c@acmecorp.com,unlimited,here,Unlimited",
		"d@acmecorp.com,,here,0",
		"e@acmecorp.com,5M,here,7",
		"f@acmecorp.com,,here,-1",
		"g@acmecorp.com,,here,1000000000001",
		"h@acmecorp.com,2.5,here,none",
	}, "\n")))
	if _, err := Load(s); err != nil {
		t.Errorf("columns that are no limits are judged: %v", err)
	}
	s.Limits = []string{"hourly", "volume"}
	_, err := Load(s)
	bad, ok := errors.AsType[*Errors](err)
	if !ok {
		t.Fatalf("the error is %T: %v", err, err)
	}
	const right = "; a limit is a whole number from 1 to 1000000000000, or unlimited, or nothing for that of the rule"
	want := []string{
		`:5: the column "hourly" holds "0"`, `:6: the column "volume" holds "5M"`, `:7: the column "hourly" holds "-1"`,
		`:8: the column "hourly" holds "1000000000001"`, `:9: the column "hourly" holds "none"`,
	}
	var got []string
	for _, row := range bad.Rows {
		got = append(got, strings.TrimPrefix(row.Error(), s.Path))
	}
	for i := range want {
		want[i] += right
	}
	if !slices.Equal(got, want) {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

func TestRefusesAFileWithoutTheColumnOfALimit(t *testing.T) {
	s := source(write(t, "address,residence,login\nbob@acmecorp.com,here,bob\n"))
	f, err := Load(s)
	if err != nil {
		t.Fatal(err)
	}
	s.Limits = []string{"hourly"}
	const want = `:1: the header line lacks the column "hourly", which a [[rate]] of the configuration names; add the column, whose fields may be empty`
	if _, err := f.Replace(s); err == nil || err.Error() != s.Path+want {
		t.Errorf("got %v, not %s", err, want)
	}
}

func TestSetIsNotChangedByItsMap(t *testing.T) {
	files := map[string]*File{}
	set := NewSet(files)
	files[acme.Name] = nil
	if set.List(parse(t, "bob@acmecorp.com")).Failed {
		t.Error("the Set shares its map")
	}
}

func TestLookupDoesNotAllocate(t *testing.T) {
	f := load(t, rows(0, 1000, "both"))
	set := NewSet(map[string]*File{acme.Name: f})
	listed, foreign := parse(t, "user500+x@acmecorp.com"), parse(t, "nobody@acmecorp.com")
	if n := testing.AllocsPerRun(100, func() {
		if _, l := set.Logins(listed); !l.Found {
			t.Error("user500 is not found")
		}
		if set.List(foreign).Found {
			t.Error("nobody is found")
		}
		e, _ := f.Lookup("user7@acmecorp.com")
		if e.Column("login") != "" || e.Line() != 9 {
			t.Error("user7's row is wrong")
		}
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func TestKeepsNothingOfTheFileButItsRows(t *testing.T) {
	blank := strings.Repeat(strings.Repeat(" ", maxLine-1)+"\n", 256)
	path := write(t, rows(0, 10, "Office365")+blank)
	before := heap()
	f, err := Load(source(path))
	if err != nil {
		t.Fatal(err)
	}
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

func TestReloadKeepsEveryDomainThatRefusesUnlistedAddresses(t *testing.T) {
	many := rows(0, 100, "here")
	for _, c := range []struct {
		about, last string
		open        bool
		refused     bool
	}{
		{"its only address is gone", "", false, true},
		{"its only address has another name", "contact@small.example,here,\n", false, false},
		{"unlisted addresses live somewhere", "", true, false},
	} {
		s := source(write(t, many+"info@small.example,here,\n"))
		s.Domains = maps.Clone(s.Domains)
		s.Domains["small.example"] = &policy.Domain{Name: "small.example", AcceptUnlisted: c.open}
		f, err := Load(s)
		if err != nil {
			t.Fatal(err)
		}
		rewrite(t, s.Path, many+c.last, time.Minute)
		_, err = f.Reload()
		if refused := err != nil && strings.Contains(err.Error(), "every address of small.example"); refused != c.refused || err != nil && !refused {
			t.Errorf("%s: %v", c.about, err)
		}
	}
}
