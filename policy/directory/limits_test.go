package directory

import (
	"fmt"
	"runtime"
	"strings"
	"testing"
)

// limited is a list with the limits hourly and daily.
func limited(t testing.TB, text string) *Snapshot {
	t.Helper()
	s := usual
	s.Limits = []string{"hourly", "daily"}
	f, err := build(s, text)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func TestALoginHasTheSmallestLimitOfItsRows(t *testing.T) {
	f := limited(t, strings.Join([]string{
		"daily,address,login,residence,hourly",
		",bob@acmecorp.com,Bob,here,300",
		",news@acmecorp.com,bob dave,here,unlimited",
		"9,info@acmecorp.com,bob,here,400",
		"unlimited,sales@acmecorp.com,DAVE erin,here,",
		",erin@acmecorp.com,erin,here,7",
		",plain@acmecorp.com,plain,here,",
		",carol@acmecorp.com,,here,50",
		"20,more@acmecorp.com,carol@acmecorp.com,here,60",
		",jürgen@acmecorp.com,jürgen,here,80",
	}, "\n"))
	other := limited(t, "address,residence,login,hourly,daily\ndora@bücher.example,here,erin dora,6,\n")
	set := NewSet(map[string][]*Snapshot{acme.Name: {f}, twin.Name: {other}}, nil)
	for login, want := range map[string]string{
		"bob": "300 9", "BOB": "300 9", "dave": "unlimited unlimited", "erin": "6 unlimited", "dora": "6 ",
		"plain": " ", "nobody": " ", "": " ", "bob dave": " ", "unlimited": " ",
		"carol@acmecorp.com": "50 20", "Carol@ACMECORP.com": "50 20", "carol+x@acmecorp.com": "50 ", "carol": " ",
		"bob@acmecorp.com": "300 ", "news@acmecorp.com": "unlimited ", "dora@bücher.example": "6 ",
		"jürgen": "80 ", "JÜRGEN": " ", "j\xfcrgen": " ", strings.Repeat("x", 100_000): " ",
	} {
		hourly, failed := set.Limit(login, "hourly")
		daily, failedToo := set.Limit(login, "daily")
		if got := hourly + " " + daily; got != want || failed || failedToo {
			t.Errorf("%.40q: got %q (failed: %v), want %q", login, got, failed || failedToo, want)
		}
	}
	if value, failed := set.Limit("bob", "weekly"); value != "" || failed {
		t.Errorf("of a column that is no limit: %q, %v", value, failed)
	}
}

func TestALimitIsUnknownWhenADirectoryFailsAndNoOtherHasTheLogin(t *testing.T) {
	f := limited(t, "address,residence,login,hourly,daily\nbob@acmecorp.com,here,bob,,5\ncarol@acmecorp.com,here,carol,,\n")
	set := NewSet(map[string][]*Snapshot{acme.Name: {f}, twin.Name: {nil}}, nil)
	for login, want := range map[string]bool{"bob": false, "carol@acmecorp.com": false, "carol": true, "dora@bücher.example": true, "x": true} {
		if value, failed := set.Limit(login, "hourly"); failed != want || value != "" {
			t.Errorf("%s: %q, failed: %v, want %v", login, value, failed, want)
		}
	}
	if _, failed := NewSet(nil, nil).Limit("bob", "hourly"); failed {
		t.Error("it fails without any directory")
	}
}

func TestWithoutLimitsNoLoginIsKnown(t *testing.T) {
	f := load(t, "address,residence,login,hourly\nbob@acmecorp.com,here,bob,5\n")
	if len(f.quotas.places) > 0 {
		t.Errorf("%d logins are", len(f.quotas.places))
	}
}

func BenchmarkLimitsOfAMillion(b *testing.B) {
	var text strings.Builder
	text.WriteString("address,residence,login,hourly\n")
	for i := range 1_000_000 {
		fmt.Fprintf(&text, "firstname.lastname%d@acmecorp.com,here,login%d,%d\n", i, i, i+1)
	}
	s := usual
	before := heap()
	plain, err := build(s, text.String())
	if err != nil {
		b.Fatal(err)
	}
	without := heap() - before
	s.Limits = []string{"hourly"}
	before = heap()
	f, err := build(s, text.String())
	if err != nil {
		b.Fatal(err)
	}
	with := heap() - before
	runtime.KeepAlive(plain)
	runtime.KeepAlive(text.String())
	set := NewSet(map[string][]*Snapshot{acme.Name: {f}}, nil)
	logins := make([]string, 1<<16)
	for i := range logins {
		logins[i] = fmt.Sprintf("Login%d", i*7919%1_000_000)
	}
	b.ReportAllocs()
	i := 0
	for b.Loop() {
		if value, failed := set.Limit(logins[i&(len(logins)-1)], "hourly"); value == "" || failed {
			b.Fatal("a login has no limit")
		}
		i++
	}
	b.ReportMetric(float64(with-without)/1e6, "MB-more")
}

func heap() uint64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}
