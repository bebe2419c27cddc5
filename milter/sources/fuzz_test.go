package sources

import (
	"encoding/csv"
	"slices"
	"strings"
	"testing"

	"coexistd/policy/mail"
)

// FuzzCSV holds that any file is read or refused, and that every row of a file
// that was read is found again by its address.
func FuzzCSV(f *testing.F) {
	f.Add("address,residence,login\nalice@acmecorp.com,office365,al\nbob@acmecorp.com,here,\n")
	f.Add("\ufeffresidence,Address\r\nboth:google,\"\"\"a b\"\"@bücher.example\"\r\n\r\n")
	f.Add("address,residence\nalice+x@acmecorp.com,moving\n\"\"\"\"")
	f.Add("address,residence\n\xff\x00,\n,,,\nİ@acmecorp.com,here")
	f.Fuzz(func(t *testing.T, text string) {
		s := source("users.csv")
		list, err := parse(s, strings.NewReader(text), int64(len(text)), strings.Count(text, "\n")+1)
		if err != nil {
			if list != nil || strings.Count(err.Error(), "\n") > 100 {
				t.Fatalf("refused with a list, or at length: %v", err)
			}
			return
		}
		n := 0
		for e := range list.All() {
			n++
			again, found := list.Lookup(e.Address())
			if !found || again != e {
				t.Fatalf("%q of line %d is not found again", e.Address(), e.Line())
			}
			a, err := mail.ParseAddress(e.Address(), s.Delimiters)
			if err != nil || a.Key != e.Address() {
				t.Fatalf("%q is not in its normal form, %q", e.Address(), a.Key)
			}
			r, err := s.Domains[a.Domain].Residence(e.Column("residence"), s.Platforms)
			if err != nil || r != e.Residence() {
				t.Fatalf("%q lives %v; its word says %v, %v", e.Address(), e.Residence(), r, err)
			}
			for _, name := range list.Columns() {
				if strings.ContainsAny(e.Column(name), "\n\x00") {
					t.Fatalf("%q holds a control character", e.Column(name))
				}
			}
		}
		if n != list.Len() || n > len(text)/len("a@b,o") {
			t.Fatalf("%d rows, Len() = %d, %d bytes", n, list.Len(), len(text))
		}
	})
}

// FuzzRow holds that a reader splits a line as encoding/csv splits it alone, whatever
// lines it has split before.
func FuzzRow(f *testing.F) {
	f.Add(`a,"b ""c"", d", e ,`)
	f.Add(`"a"b,c`)
	f.Add(`a"b",c`)
	f.Add(`"`)
	f.Fuzz(func(t *testing.T, line string) {
		if checkLine([]byte(line)) != nil || strings.Trim(line, " ") == "" {
			return
		}
		reader := newRowReader()
		for _, before := range []string{"a,b", `"`, `a"b"`, `"a"b,c`} {
			reader.split([]byte(before))
		}
		got, err := reader.split([]byte(line))
		want, wantErr := csv.NewReader(strings.NewReader(line)).Read()
		if (err == nil) != (wantErr == nil) {
			t.Fatalf("%q: %v, encoding/csv %v", line, err, wantErr)
		}
		for i := range want {
			want[i] = strings.Trim(want[i], " ")
		}
		if err == nil && !slices.Equal(got, want) {
			t.Fatalf("%q: %q, encoding/csv %q", line, got, want)
		}
	})
}
