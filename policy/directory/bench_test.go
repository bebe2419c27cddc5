package directory

import (
	"fmt"
	"strings"
	"testing"

	"coexistd/policy"
)

func million(b *testing.B) string {
	var text strings.Builder
	text.WriteString("address,residence,login\n")
	homes := []string{"here", "office365", "both", "here"}
	for i := range 1_000_000 {
		fmt.Fprintf(&text, "firstname.lastname%d@acmecorp.com,%s,login%d\n", i, homes[i%4], i)
	}
	return write(b, text.String())
}

func BenchmarkLoadMillion(b *testing.B) {
	s := source(million(b))
	before := heap()
	var f *File
	for b.Loop() {
		var err error
		if f, err = Load(s); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(heap()-before)/1e6, "MB-held")
	if f.Len() != 1_000_000 {
		b.Fatal(f.Len())
	}
}

func BenchmarkLookupMillion(b *testing.B) {
	f, err := Load(source(million(b)))
	if err != nil {
		b.Fatal(err)
	}
	keys := make([]string, 1<<16)
	for i := range keys {
		keys[i] = fmt.Sprintf("firstname.lastname%d@acmecorp.com", i*7919%1_000_000)
	}
	b.ReportAllocs()
	i := 0
	for b.Loop() {
		e, found := f.Lookup(keys[i&(len(keys)-1)])
		if !found || e.Residence().Kind > policy.Moving {
			b.Fatal("a listed address was not found")
		}
		i++
	}
}

func BenchmarkReloadMillion(b *testing.B) {
	f, err := Load(source(million(b)))
	if err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		if _, err := f.Replace(f.Source()); err != nil {
			b.Fatal(err)
		}
	}
}
