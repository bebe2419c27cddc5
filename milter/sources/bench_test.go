package sources

import (
	"fmt"
	"strings"
	"testing"

	"coexistd/policy/directory"
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
	var list *directory.Snapshot
	for b.Loop() {
		list = load(b, s).Snapshot
	}
	b.ReportMetric(float64(heap()-before)/1e6, "MB-held")
	if list.Len() != 1_000_000 {
		b.Fatal(list.Len())
	}
}

func BenchmarkReloadMillion(b *testing.B) {
	s := source(million(b))
	old := load(b, s)
	s.MaxLoss = 0.2
	for b.Loop() {
		if err := Open([]directory.Source{s}, Directories{old}).Err(); err != nil {
			b.Fatal(err)
		}
	}
}
