package directory

import (
	"fmt"
	"strings"
	"testing"

	"coexistd/policy/route"
)

func BenchmarkLookupMillion(b *testing.B) {
	var text strings.Builder
	text.WriteString("address,residence,login\n")
	homes := []string{"here", "office365", "both", "here"}
	for i := range 1_000_000 {
		fmt.Fprintf(&text, "firstname.lastname%d@acmecorp.com,%s,login%d\n", i, homes[i%4], i)
	}
	f, err := build(usual, text.String())
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
		if !found || e.Residence().Kind > route.Moving {
			b.Fatal("a listed address was not found")
		}
		i++
	}
}
