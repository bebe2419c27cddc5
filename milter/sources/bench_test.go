package sources

import (
	"context"
	"fmt"
	"log/slog"
	"path/filepath"
	"strings"
	"testing"
	"time"

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

// people is a Reader of 600,000 mailboxes and 400,000 aliases, each row as LDAP gives it.
type people struct{ moved int }

func (p people) Mark(context.Context) (Mark, error) { return nil, nil }
func (p people) Close()                             {}

func (p people) Read(_ context.Context, add func(Row) error) error {
	for i := range 600_000 {
		login := fmt.Sprintf("lastname%06d", i)
		row := Row{Origin: "uid=" + login + ",ou=people,dc=acmecorp,dc=com", Residence: "here", Login: login, Kind: "user"}
		if i%3 == 0 || i == p.moved {
			row.Residence, row.Target = "office365", fmt.Sprintf("firstname.lastname%06d@acmecorp-com.onmicrosoft.com", i)
		}
		addresses := []string{fmt.Sprintf("firstname.lastname%06d@acmecorp.com", i), fmt.Sprintf("f.lastname%06d@acmecorp.com", i)}
		if i >= 400_000 {
			addresses = addresses[:1]
		}
		for _, row.Address = range addresses {
			if err := add(row); err != nil {
				return err
			}
		}
	}
	return nil
}

// outsideMillion is the list of a source that gives a million rows, and its poller.
func outsideMillion(b *testing.B) (*List, *Poller, *people) {
	s := source("source:people")
	s.Copy, s.Lean = filepath.Join(b.TempDir(), "people"), true
	reader := &people{}
	return Open([]directory.Source{s}, nil)[0], NewPoller(Polling{Name: s.Path, Copy: s.Copy, Domains: []string{"acmecorp.com"}, FullTimeout: time.Hour}, func() (Reader, error) { return reader, nil }, slog.New(slog.DiscardHandler)), reader
}

// BenchmarkReadMillion reads a list that is as before, and saves it.
func BenchmarkReadMillion(b *testing.B) {
	_, poller, _ := outsideMillion(b)
	b.ReportAllocs()
	for b.Loop() {
		if !poller.poll(b.Context(), &time.Time{}) {
			b.Fatal(poller.State().Failed)
		}
	}
}

// BenchmarkTakeMillion judges a list with one change, and takes it.
func BenchmarkTakeMillion(b *testing.B) {
	list, poller, reader := outsideMillion(b)
	before := heap()
	b.ReportAllocs()
	for b.Loop() {
		b.StopTimer()
		reader.moved++
		poller.poll(b.Context(), &time.Time{})
		b.StartTimer()
		if (Directories{list}).Poll(time.Now()); list.Err != nil || list.Snapshot.Len() != 1_000_000 {
			b.Fatal(list.Err)
		}
	}
	b.ReportMetric(float64(heap()-before)/1e6, "MB-held")
	if list.Snapshot.Len() != 1_000_000 {
		b.Fatal("the list is gone")
	}
}
