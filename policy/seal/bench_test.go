package seal_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"coexistd/policy/seal"
)

func BenchmarkMarksOf(b *testing.B) {
	h := header("Received", "x", "Message-Id", "<1@far.example>", "Date", "Mon, 1 Jan 2024 00:00:00 +0000", "From", "a@far.example")
	for b.Loop() {
		seal.MarksOf(h)
	}
}

func BenchmarkOpenTraces(b *testing.B) {
	for _, c := range []struct {
		about  string
		values []string
	}{
		{"none", nil},
		{"one", []string{sendOn(1, nil, alice)}},
		{"one of 4096 names", []string{sendOn(1, nil, users(0, 4096)...)}},
		// The worst that fits into a header, with each mark to be tried.
		{"100 forged of 20 KB", slices.Repeat([]string{"v=2;" + strings.Repeat("1=AAAAAAAAAA,", 20_000/13) + ";sig=AAAAAAAAAAAAAAAAAAAAAA"}, 100)},
	} {
		b.Run(c.about, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				keys.OpenTraces(c.values, itsMarks).Passes(alice)
			}
		})
	}
}

func BenchmarkSignTrace(b *testing.B) {
	for _, n := range []int{1, 100, 4096} {
		owners := users(0, n)
		b.Run(fmt.Sprintf("%d owners", n), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				keys.SignTrace(seal.Traces{}, hostname, [8]byte{1}, itsMarks, owners)
			}
		})
	}
}

func BenchmarkSignTraceInPlaceOfAnother(b *testing.B) {
	value := sendOn(1, nil, alice)
	b.ReportAllocs()
	for b.Loop() {
		sendOn(2, []string{value}, alice)
	}
}
