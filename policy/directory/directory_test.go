package directory

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"testing"

	"coexistd/policy/mail"
	"coexistd/policy/route"
)

var (
	offices = []*route.Platform{{Name: "google", Letter: "G"}, {Name: "office365", Letter: "O"}}
	acme    = &route.Domain{Name: "acmecorp.com", Alternates: map[string]string{"office365": "acmecorp-com.onmicrosoft.com"}}
	twin    = &route.Domain{Name: "xn--bcher-kva.example"}
)

var usual = Source{
	Path:       "users.csv",
	Platforms:  offices,
	Domains:    map[string]*route.Domain{acme.Name: acme, twin.Name: twin},
	MaxLoss:    0.10,
	Delimiters: "+",
}

// build makes a snapshot of rows as a source would, with a comma between fields.
func build(s Source, text string) (*Snapshot, error) {
	b := NewBuilder(s, 0, 0)
	for i, line := range strings.Split(strings.TrimSuffix(text, "\n"), "\n") {
		fields := strings.Split(line, ",")
		if i > 0 {
			b.Add(i+1, fields)
		} else if !b.Columns(1, fields) {
			break
		}
	}
	return b.Snapshot()
}

func load(t testing.TB, text string) *Snapshot {
	t.Helper()
	list, err := build(usual, text)
	if err != nil {
		t.Fatal(err)
	}
	return list
}

func parse(t testing.TB, address string) mail.Address {
	t.Helper()
	a, err := mail.ParseAddress(address, "+")
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func rows(from, to int, residence string) string {
	var text strings.Builder
	text.WriteString("address,residence,login\n")
	for i := from; i < to; i++ {
		fmt.Fprintf(&text, "user%d@acmecorp.com,%s,\n", i, residence)
	}
	return text.String()
}

func TestSetListsSubaddressesByTheirOwner(t *testing.T) {
	f := load(t, "address,residence,login\n"+
		"alice@acmecorp.com,office365,al\n"+
		"alice+vip@acmecorp.com,here,vip\n"+
		"\"a b\"@acmecorp.com,moving,\n")
	set := NewSet(map[string][]*Snapshot{acme.Name: {f}, twin.Name: {nil}}, map[string]string{"mail.acmecorp.com": acme.Name})
	for address, want := range map[string]string{
		"Alice+x@mail.acmecorp.com":   "alice@acmecorp.com office365 al",
		"alice+vip@MAIL.acmecorp.com": "alice+vip@acmecorp.com here vip",
		"bob@mail.acmecorp.com":       "not found",
		"Alice@ACMEcorp.com":          "alice@acmecorp.com office365 al",
		"\"alice\"@acmecorp.com":      "alice@acmecorp.com office365 al",
		"alice+x@acmecorp.com":        "alice@acmecorp.com office365 al",
		"alice+VIP@acmecorp.com":      "alice+vip@acmecorp.com here vip",
		`"a b"@acmecorp.com`:          `"a b"@acmecorp.com moving `,
		"bob@acmecorp.com":            "not found",
		"bob+x@acmecorp.com":          "not found",
		"alice":                       "not found",
		"alice@other.example":         "not found",
		"dora@bücher.example":         "failed",
	} {
		l := set.List(parse(t, address))
		got := fmt.Sprint(l.Address, " ", l.Residence, " ", set.Row(parse(t, address)).Login)
		switch {
		case l.Failed:
			got = "failed"
		case !l.Found:
			got = "not found"
		}
		if got != want {
			t.Errorf("%s: got %s, want %s", address, got, want)
		}
	}
}

func TestARowIsThatOfTheAddressOrItsOwner(t *testing.T) {
	f := load(t, "address,residence,login,hourly\n"+
		"alice@acmecorp.com,office365,al carol,500\n"+
		"alice+vip@acmecorp.com,here,vip,\n")
	set := NewSet(map[string][]*Snapshot{acme.Name: {f}, twin.Name: {nil}}, nil)
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

func TestSetIsNotChangedByItsMap(t *testing.T) {
	files := map[string][]*Snapshot{}
	set := NewSet(files, nil)
	files[acme.Name] = []*Snapshot{nil}
	if set.List(parse(t, "bob@acmecorp.com")).Failed {
		t.Error("the Set shares its map")
	}
}

func TestLookupDoesNotAllocate(t *testing.T) {
	f := load(t, rows(0, 1000, "both"))
	set := NewSet(map[string][]*Snapshot{acme.Name: {f}}, nil)
	listed, foreign := parse(t, "user500+x@acmecorp.com"), parse(t, "nobody@acmecorp.com")
	if n := testing.AllocsPerRun(100, func() {
		if !set.List(listed).Found {
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

func TestRefusesLimitsThatAreNone(t *testing.T) {
	s, text := usual, strings.Join([]string{
		"address,Volume,residence,HOURLY",
		"a@acmecorp.com,,here,",
		"b@acmecorp.com,1,here,1000000000000",
		"c@acmecorp.com,unlimited,here,Unlimited",
		"d@acmecorp.com,,here,0",
		"e@acmecorp.com,5M,here,7",
		"f@acmecorp.com,,here,-1",
		"g@acmecorp.com,,here,1000000000001",
		"h@acmecorp.com,2.5,here,none",
	}, "\n")
	if _, err := build(s, text); err != nil {
		t.Errorf("columns that are no limits are judged: %v", err)
	}
	s.Limits = []string{"hourly", "volume"}
	_, err := build(s, text)
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

func TestRefusesAListWithoutTheColumnOfALimit(t *testing.T) {
	s, text := usual, "address,residence,login\nbob@acmecorp.com,here,bob\n"
	if _, err := build(s, text); err != nil {
		t.Fatal(err)
	}
	s.Limits = []string{"hourly"}
	const want = `:1: the header line lacks the column "hourly", which a [[rate]] of the configuration names; add the column, whose fields may be empty`
	if _, err := build(s, text); err == nil || err.Error() != s.Path+want {
		t.Errorf("got %v, not %s", err, want)
	}
}

func TestGuardKeepsEveryDomainThatRefusesUnlistedAddresses(t *testing.T) {
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
		s := usual
		s.Domains = maps.Clone(s.Domains)
		small := &route.Domain{Name: "small.example"}
		if c.open {
			small.Unlisted = route.Residence{Kind: route.Here}
		}
		s.Domains["small.example"] = small
		old, err := build(s, many+"info@small.example,here,\n")
		if err != nil {
			t.Fatal(err)
		}
		fresh, err := build(s, many+c.last)
		if err != nil {
			t.Fatal(err)
		}
		err = Guard(old, fresh, nil, nil)
		if refused := err != nil && strings.Contains(err.Error(), "every address of small.example"); refused != c.refused || err != nil && !refused {
			t.Errorf("%s: %v", c.about, err)
		}
	}
}

func TestAnAddressWithACharacterThatNobodySeesIsRefused(t *testing.T) {
	for address, want := range map[string]string{
		"al\u200bice@acmecorp.com":  "character 3 is U+200B",
		"alice@acme\u200bcorp.com":  "character 11 is U+200B", // the mapping of domain names would drop it
		"alice\u00a0@acmecorp.com":  "character 6 is U+00A0",
		"\ufeffalice@acmecorp.com":  "character 1 is U+FEFF",
		"ali\u00adce@acmecorp.com":  "character 4 is U+00AD",
		"a\u200db@acmecorp.com":     "character 2 is U+200D", // joiners
		"a\u200cb@acmecorp.com":     "character 2 is U+200C",
		"\u202ealice@acmecorp.com":  "character 1 is U+202E", // from right to left
		"a\u2066b@acmecorp.com":     "character 2 is U+2066",
		"a\u3164b@acmecorp.com":     "character 2 is U+3164", // a filler
		"a\ufe0fb@acmecorp.com":     "character 2 is U+FE0F",
		"ü\U000e0041b@acmecorp.com": "character 2 is U+E0041",
		"bücher@acmecorp.com":       "",
		"用户@acmecorp.com":           "",
		"दीपक@acmecorp.com":         "",
		"e\u0301mile@acmecorp.com":  "",
	} {
		_, err := build(usual, "address,residence,login\n"+address+",here,\n")
		if refused := err != nil; refused != (want != "") || refused && !strings.Contains(err.Error(), ":2: \""+clip(strings.Trim(strconv.Quote(address), "\""))+"\" cannot be an address: "+want+", which cannot be seen; take it out") {
			t.Errorf("%+q: %v, not %s", address, err, want)
		}
	}
}

func TestGuardLetsAFewLeaversPassWhateverTheirShareIs(t *testing.T) {
	for _, c := range []struct {
		total, missing int
		share          float64
		floor          int
		want           string
	}{
		{5, 1, 0.10, 20, ""},
		{5, 2, 0.10, 20, ""},
		{5, 3, 0.10, 20, `max_loss = "10%" allows less, and max_loss_floor no more than half of them`},
		{2, 1, 0.10, 20, ""},
		{40, 20, 0.10, 20, ""},
		{40, 21, 0.10, 20, `max_loss = "10%" allows less, and max_loss_floor = 20, too`},
		{1000, 15, 0.01, 20, ""},
		{1000, 20, 0.01, 20, ""},
		{1000, 25, 0.01, 20, `lacks 25 of 1000 addresses (2.50 %), user0@acmecorp.com for one; max_loss = "1%" allows less, and max_loss_floor = 20, too`},
		{1000, 100, 0.10, 20, ""},
		{1000, 101, 0.10, 20, "lacks 101 of 1000"},
		{5, 1, 0.10, 0, "lacks 1 of 5"},
		{5, 1, 0, 1, ""},
		{5, 5, 0.99, 20, "lacks 5 of 5"},
		{1, 1, 0.10, 20, "lacks 1 of 1"},
		{5, 4, 1, 0, ""},
	} {
		s := usual
		s.MaxLoss, s.MaxLossFloor = c.share, c.floor
		old, err := build(s, rows(0, c.total, "here"))
		if err != nil {
			t.Fatal(err)
		}
		fresh, err := build(s, rows(c.missing, c.total+1, "here"))
		if err != nil {
			t.Fatal(err)
		}
		err = Guard(old, fresh, nil, nil)
		if refused := err != nil; refused != (c.want != "") || refused && !strings.Contains(err.Error(), c.want) {
			t.Errorf("%d of %d at %v and a floor of %d: %v, not %q", c.missing, c.total, c.share, c.floor, err, c.want)
		}
	}
}

func TestFindsEveryRowWhileTheTableGrows(t *testing.T) {
	for n := 1; n <= 200; n++ {
		list := load(t, rows(0, n, "here"))
		if len(list.table) > 4+3*n || list.count >= len(list.table) {
			t.Fatalf("%d rows, %d slots", n, len(list.table))
		}
		for i := range n {
			if e, found := list.Lookup(fmt.Sprintf("user%d@acmecorp.com", i)); !found || e.Line() != i+2 {
				t.Fatalf("user%d of %d: found %v", i, n, found)
			}
		}
		if _, found := list.Lookup(fmt.Sprintf("user%d@acmecorp.com", n)); found {
			t.Fatalf("user%d of %d is found", n, n)
		}
	}
}

func TestTheFirstListThatHasAnAddressCounts(t *testing.T) {
	read := func(text string) *Snapshot {
		t.Helper()
		list, err := build(usual, "address,residence,login\n"+text)
		if err != nil {
			t.Fatal(err)
		}
		return list
	}
	first := read("alice@acmecorp.com,office365,first\n")
	last := read("alice@acmecorp.com,here,last\nbob@acmecorp.com,here,bob\n")
	for about, c := range map[string]struct {
		lists []*Snapshot
		want  string
	}{
		"both":                    {[]*Snapshot{first, last}, "office365 here  "},
		"the other way round":     {[]*Snapshot{last, first}, "here here  "},
		"the last cannot answer":  {[]*Snapshot{first, nil}, "office365 failed failed"},
		"the first cannot answer": {[]*Snapshot{nil, last}, "failed failed failed"},
		"one between cannot":      {[]*Snapshot{first, nil, last}, "office365 failed failed"},
	} {
		set := NewSet(map[string][]*Snapshot{acme.Name: c.lists}, nil)
		var got []string
		for _, address := range []string{"alice+x@acmecorp.com", "bob@acmecorp.com", "carol@acmecorp.com"} {
			said := set.List(parse(t, address))
			word := said.Residence.String()
			if said.Failed {
				word = "failed"
			}
			got = append(got, word)
		}
		if strings.TrimSpace(strings.Join(got, " ")) != strings.TrimSpace(c.want) {
			t.Errorf("%s: the answers are %q; right is %q", about, got, c.want)
		}
	}
}

func TestALookupAllocatesNothing(t *testing.T) {
	first := load(t, "address,residence,login,target\nalice@acmecorp.com,office365,al,alice.smith@acmecorp-com.onmicrosoft.com\nal@acmecorp.com,office365,al,\n")
	second := load(t, "address,residence\nbob@acmecorp.com,here\n")
	set := NewSet(map[string][]*Snapshot{acme.Name: {first, second}, twin.Name: {second, nil}}, nil)
	for _, written := range []string{
		"alice@acmecorp.com",         // of the first of several sources, with a target
		"al@acmecorp.com",            // an alias
		"bob@acmecorp.com",           // of the second
		"bob+news@acmecorp.com",      // a subaddress
		"Alice@AcmeCorp.COM",         // in another case
		"\"alice\"@acmecorp.com",     // in needless quotes
		"nobody@acmecorp.com",        // of neither
		"dora@xn--bcher-kva.example", // where a source has no list
		"eve@example.net",            // of no source
	} {
		a := parse(t, written)
		if n := testing.AllocsPerRun(100, func() { listing = set.List(a) }); n != 0 {
			t.Errorf("%s: a lookup allocates %v times", written, n)
		}
	}
}

var listing route.Listing

func TestALeanListHoldsWhatMailIsDecidedByAndJudgesAllElse(t *testing.T) {
	s := usual
	s.Limits, s.Lean = []string{"hourly"}, true
	const header = "origin,address,kind,hourly,residence,room,target,login\n"
	list, err := build(s, header+"cn=al,alice@acmecorp.com,user,7,office365,12,a@acmecorp-com.onmicrosoft.com,al\ncn=b,bob@acmecorp.com,,,here,,,\n")
	if err != nil {
		t.Fatal(err)
	}
	e, _ := list.Lookup("alice@acmecorp.com")
	if e.Column("hourly") != "7" || e.Login() != "al" || e.Target() != "a@acmecorp-com.onmicrosoft.com" || e.Residence().Platform != "office365" {
		t.Errorf("of alice it holds %q, %q, %q and %v", e.Column("hourly"), e.Login(), e.Target(), e.Residence())
	}
	if e.Column("kind") != "user" {
		t.Errorf("of alice it holds the kind %q", e.Column("kind"))
	}
	for _, name := range []string{"origin", "room"} {
		if e.Column(name) != "" {
			t.Errorf("it holds %q of the column %s", e.Column(name), name)
		}
	}
	if got := slices.Sorted(slices.Values(list.Columns())); !slices.Equal(got, []string{"hourly", "kind", "login", "origin", "room", "target"}) {
		t.Errorf("its columns are %q", got)
	}
	if n := len(slices.Collect(list.All())); n != 2 {
		t.Errorf("it goes through %d rows", n)
	}
	_, err = build(s, header+"cn=all,all@acmecorp.com,group,,both,,,\n")
	if err == nil || !strings.Contains(err.Error(), "all@acmecorp.com lives on both sides") || !strings.Contains(err.Error(), "(cn=all)") {
		t.Errorf("a group on both sides: %v", err)
	}
}

func TestAListOfSeveralChunksIsWhole(t *testing.T) {
	const n = 3 * chunkSize / 40
	list := load(t, rows(0, n, "here"))
	if len(list.chunks) < 3 {
		t.Fatalf("%d chunks", len(list.chunks))
	}
	i := 0
	for e := range list.All() {
		again, found := list.Lookup(fmt.Sprintf("user%d@acmecorp.com", i))
		if i++; !found || again != e || e.Line() != i+1 {
			t.Fatalf("row %d is %s of line %d", i, e.Address(), e.Line())
		}
	}
	if i != n || list.Len() != n {
		t.Errorf("it goes through %d rows of %d", i, list.Len())
	}
	_, err := build(usual, "address,residence,note\nbob@acmecorp.com,here,"+strings.Repeat("x", chunkSize)+"\n")
	if err == nil || !strings.Contains(err.Error(), "at most 1048576 are held") {
		t.Errorf("a row that is larger than a chunk: %v", err)
	}
}
