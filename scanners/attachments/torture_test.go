package attachments_test

import (
	"archive/zip"
	"bytes"
	"context"
	"reflect"
	"runtime"
	"strings"
	"testing"
	"time"

	"coexistd/contrib/lab"
	"coexistd/policy/verdict"
	"coexistd/scanners"
)

// Each message of the collection gets a finding in the minute that the daemon gives
// it, and without memory that grows with it. A hit or unknown has its reason.
func TestTheTortureCollectionIsScanned(t *testing.T) {
	collection := lab.Torture()
	if len(collection) < 200 {
		t.Errorf("the collection has %d messages", len(collection))
	}
	seen := make(map[string]bool)
	contents := make(map[string]string)
	states := make(map[verdict.State]int)
	a := defaults()
	for _, c := range collection {
		if seen[c.Name] {
			t.Errorf("%s: there are two of that name", c.Name)
		}
		seen[c.Name] = true
		data := c.Data()
		if other, ok := contents[string(data)]; ok {
			t.Errorf("%s is the same as %s", c.Name, other)
		}
		if len(data) < 64<<10 {
			contents[string(data)] = c.Name
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		start := time.Now()
		f := a.Scan(ctx, &scanners.Message{Content: bytes.NewReader(data), Size: int64(len(data))})
		took := time.Since(start)
		cancel()
		states[f.State]++
		t.Logf("%-60s %8d bytes %6d ms %s %s %s", c.Name, len(data), took.Milliseconds(), f.State, f.Name, f.Reasons.String())
		switch {
		case f.State != verdict.Clean && f.Reasons.String() == "":
			t.Errorf("%s: %v has no reason", c.Name, f)
		case strings.Contains(f.Reasons.String(), "context"):
			t.Errorf("%s took more than a minute", c.Name)
		case len(f.Reasons.String()) > 2000 || len(f.Name) > 100:
			t.Errorf("%s: the finding is too long: %q %q", c.Name, f.Name, f.Reasons.String())
		}
	}
	t.Logf("%d messages: %v", len(collection), states)
}

// What bombs unpack to is never held: a scan allocates no more than its buffers
// and what it spools, one level in memory up to 256 KiB.
func TestBombsAreNotHeldInMemory(t *testing.T) {
	a := defaults()
	for _, c := range lab.Torture() {
		if !strings.Contains(c.Name, "bomb") && !strings.Contains(c.Name, "itself") && !strings.Contains(c.Name, "MB") {
			continue
		}
		data := c.Data()
		m := &scanners.Message{Content: bytes.NewReader(data), Size: int64(len(data))}
		a.Scan(t.Context(), m) // the buffers
		peak := heapPeak(func() { a.Scan(t.Context(), m) })
		t.Logf("%-60s %8d bytes, %6d KiB", c.Name, len(data), peak>>10)
		// Five levels of spools that grow by doubling, and what the collector leaves.
		if peak > 40<<20 {
			t.Errorf("%s: the heap grew by %d MiB", c.Name, peak>>20)
		}
	}
}

// heapPeak returns by how much the heap grew at most while f ran.
func heapPeak(f func()) uint64 {
	var before, now runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	done := make(chan struct{})
	go func() {
		defer close(done)
		f()
	}()
	peak := before.HeapAlloc
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case <-done:
			return peak - before.HeapAlloc
		case <-tick.C:
			runtime.ReadMemStats(&now)
			peak = max(peak, now.HeapAlloc)
		}
	}
}

func FuzzAttachments(f *testing.F) {
	for _, c := range lab.Torture() {
		if data := c.Data(); len(data) < 8<<10 {
			f.Add(data)
		}
	}
	for _, content := range [][]byte{
		zipped(member{"a.txt", []byte("x")}, member{"b.zip", zipped(member{"c", []byte("x")})}), gzipped("a", tarred(member{"b", nil})),
		rar4(0, "a.txt"), rar5("a.txt", "\x03\x07\x00\x00"), tnef("A.TXT", []byte("x")), ole("", "WordDocument"),
	} {
		f.Add([]byte(mixed(file("a", content))))
		f.Add([]byte(mixed("Content-Type: image/png\n\n") + string(content)))
	}
	a := defaults()
	f.Fuzz(func(t *testing.T, data []byte) {
		m := &scanners.Message{Content: bytes.NewReader(data), Size: int64(len(data))}
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		first := a.Scan(ctx, m)
		if first.Check != verdict.CheckMalware || first.State > verdict.Hit || (first.State == verdict.Clean) != (first.Reasons.String() == "") || (first.State == verdict.Hit) != (first.Name != "") {
			t.Fatalf("got %+v", first)
		}
		if strings.Contains(first.Reasons.String(), "context") {
			t.Fatal("it took more than a minute")
		}
		for i := range len(first.Reasons.String()) {
			if c := first.Reasons.String()[i]; c < ' ' || c > '~' {
				t.Fatalf("the reason holds what a stranger wrote: %q", first.Reasons.String())
			}
		}
		if second := a.Scan(ctx, m); !reflect.DeepEqual(second, first) {
			t.Fatalf("got %+v, then %+v", first, second)
		}
		cancel()
		if ended := a.Scan(ctx, m); ended.State != verdict.Unknown {
			t.Fatalf("without time: %+v", ended)
		}
	})
}

// zippedStored makes an archive of one file that is not compressed.
func zippedStored(name string, content []byte) []byte {
	var b bytes.Buffer
	w := zip.NewWriter(&b)
	f, err := w.CreateHeader(&zip.FileHeader{Name: name, Method: zip.Store})
	if err == nil {
		_, err = f.Write(content)
	}
	if err != nil {
		panic(err)
	}
	w.Close()
	return b.Bytes()
}

func BenchmarkAttachments(b *testing.B) {
	text := "From: a@example.net\r\n" + strings.Repeat("Received: from a by b with ESMTP id 1234567890; Mon, 1 Jan 2024 00:00:00 +0000\r\n", 8) + "Content-Type: text/plain; charset=utf-8\r\n"
	line := "The quick brown fox jumps over the lazy dog, and then some more.\r\n"
	image := append([]byte("\xff\xd8\xff\xe0"), bytes.Repeat([]byte("\x01\x93\xf0"), 1<<21)...)
	for _, c := range []struct{ name, message string }{
		{"4KB text", text + "\r\n" + strings.Repeat(line, 50)},
		{"4KB quoted-printable", text + "Content-Transfer-Encoding: quoted-printable\r\n\r\n" + strings.Repeat("Gr=C3=BC=C3=9Fe "+line, 40)},
		{"4KB base64 text", text + "Content-Transfer-Encoding: base64\r\n\r\n" + crlf(wrapped([]byte(strings.Repeat(line, 35))))},
		{"100KB text", text + "\r\n" + strings.Repeat(line, 1500)},
		{"100KB image", mixed(file("a.jpg", image[:72<<10]))},
		{"5MB image", mixed(file("a.jpg", image[:3700<<10]))},
		{"5MB zip", mixed(file("a.zip", zippedStored("a.jpg", image[:3700<<10])))},
		{"5MB doc", mixed(file("a.doc", append(ole("", "WordDocument"), image[:3700<<10]...)))},
	} {
		b.Run(c.name, func(b *testing.B) {
			a := defaults()
			m := &scanners.Message{Content: strings.NewReader(c.message), Size: int64(len(c.message))}
			b.SetBytes(m.Size)
			b.ReportAllocs()
			for b.Loop() {
				if f := a.Scan(b.Context(), m); f.State != verdict.Clean {
					b.Fatal(f)
				}
			}
		})
	}
}
