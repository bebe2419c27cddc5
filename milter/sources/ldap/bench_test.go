package ldap

import (
	"fmt"
	"strings"
	"testing"

	"coexistd/contrib/lab"
	"coexistd/milter/sources"
)

// BenchmarkReadSlapd reads 20,000 entries of a real slapd, each with an alias.
func BenchmarkReadSlapd(b *testing.B) {
	var people strings.Builder
	for i := range 20_000 {
		uid := fmt.Sprintf("user%05d", i)
		people.WriteString(person(uid, "mailAlternateAddress: alias."+uid+"@acmecorp.com", "mailRoutingAddress: "+uid+"@acmecorp-com.onmicrosoft.com"))
	}
	slapd, err := lab.LendDirectories(b).StartSlapd(b.Context(), lab.SlapdConfig{LDIF: people.String()})
	if err != nil {
		b.Fatal(err)
	}
	defer slapd.Stop()
	o := Presets("")["openldap"]
	o.Servers, o.Bind, o.Password, o.Base = []string{slapd.URL}, lab.SlapdReader, lab.SlapdReaderPassword, lab.SlapdSuffix
	reader, err := New(o)
	if err != nil {
		b.Fatal(err)
	}
	defer reader.Close()
	b.ReportAllocs()
	for b.Loop() {
		rows := 0
		if err := reader.Read(b.Context(), func(sources.Row) error { rows++; return nil }); err != nil || rows != 40_000 {
			b.Fatal(rows, err)
		}
	}
}
