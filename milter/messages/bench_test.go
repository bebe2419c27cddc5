package messages

import (
	"path/filepath"
	"testing"
	"time"

	"coexistd/milter/record"
)

// BenchmarkRecords tells what a record takes from its coming until it is written.
func BenchmarkRecords(b *testing.B) {
	x := New(options(filepath.Join(b.TempDir(), "messages.db"), &logged{}))
	defer x.Stop()
	list := make([]*record.Record, mostQueued/2)
	for i := range list {
		list[i] = numbered(i)
	}
	b.ReportAllocs()
	for n := 0; n < b.N; {
		part := list[:min(len(list), b.N-n)]
		for _, r := range part {
			x.Record(r)
		}
		for n += len(part); x.Status().Records < int64(n); {
			time.Sleep(time.Millisecond)
		}
	}
}
