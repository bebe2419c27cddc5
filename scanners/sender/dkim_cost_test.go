package sender_test

import (
	"runtime"
	"runtime/debug"
	"runtime/metrics"
	"strings"
	"testing"
	"time"

	"coexistd/policy/spoof"
	"coexistd/scanners"
	"coexistd/scanners/sender"
)

// repeated is content that takes no memory: a head and the body's piece over and
// over.
type repeated struct{ head, piece string }

func (r repeated) message(times int) *scanners.Message {
	return &scanners.Message{Content: r, Size: int64(len(r.head) + times*len(r.piece))}
}

func (r repeated) ReadAt(p []byte, at int64) (n int, err error) {
	for n < len(p) {
		from := r.head
		if at >= int64(len(r.head)) {
			from = r.piece[(at-int64(len(r.head)))%int64(len(r.piece)):]
		} else {
			from = from[at:]
		}
		c := copy(p[n:], from)
		n += c
		at += int64(c)
	}
	return n, nil
}

// claims is a header with that many signatures of d=evil.example, all of them wrong.
func claims(n int, c string) string {
	return strings.Repeat("DKIM-Signature: v=1; a=ed25519-sha256; d=evil.example; s=s; c=relaxed/"+c+"; h=From; bh=AAAA; b=AAAA\r\n", n)
}

const header = "From: Bob <bob@acmecorp.com>\r\n\r\n"

// What makes the library take time with the square of the body's length, or memory
// with the length, is not given to it.
func TestHostileBodiesTakeLittleTimeAndMemory(t *testing.T) {
	dns := startDNS(t)
	key(t, dns, "evil.example")
	text := strings.Repeat("some text of a line  and more", 3) + "\r\n"
	for _, c := range []struct {
		about, canonical, start, piece string
		size                           int
		why                            string
	}{
		{"empty lines, simple", "simple", "", "\r\n", 10 << 20, "empty lines"},
		{"empty lines, relaxed", "relaxed", "", "\r\n", 50 << 20, "empty lines"},
		{"empty lines after text", "simple", text, "\r\n", 10 << 20, "empty lines"},
		{"empty lines of LF only", "simple", "", "\n", 10 << 20, "empty lines"},
		{"CR only", "relaxed", "", "\r", 10 << 20, "empty lines"},
		{"lines of white space", "relaxed", "", " \t\r\n", 10 << 20, "empty lines"},
		{"white space", "relaxed", "", "                ", 2 << 20, "body hash"},
		{"one line", "simple", "", "0123456789abcdef", 2 << 20, "body hash"},
		{"as many empty lines as there may be", "simple", "", strings.Repeat("\r\n", 32<<10-2) + "x", 2 << 20, "body hash"},
		{"much text", "relaxed", "", text, 2 << 20, "body hash"},
	} {
		t.Run(c.about, func(t *testing.T) {
			m := repeated{claims(10, c.canonical) + header + c.start, c.piece}.message(c.size / len(c.piece))
			var found []spoof.DKIM
			peak := heapPeak(t, func() { found = verifier(dns).DKIMWithin(t.Context(), m, sender.MaxVerified) })
			if peak > 8<<20 {
				t.Errorf("took %d KB of memory", peak>>10)
			}
			if len(found) != 10 {
				t.Fatalf("got %+v", found)
			}
			want := spoof.AuthFail
			if c.why == "empty lines" {
				want = spoof.AuthPermError
			}
			for _, one := range found {
				if one.Result != want || one.Domain != "evil.example" || !strings.Contains(one.Why, c.why) {
					t.Errorf("got %+v", one)
				}
			}
		})
	}
}

// heapPeak returns by how many bytes the heap has grown at most while f runs, with
// a collector that lets little rubbish lie.
func heapPeak(t *testing.T, f func()) uint64 {
	defer debug.SetGCPercent(debug.SetGCPercent(10))
	runtime.GC()
	read := func() uint64 {
		sample := []metrics.Sample{{Name: "/memory/classes/heap/objects:bytes"}}
		metrics.Read(sample)
		return sample[0].Value.Uint64()
	}
	before, peak := read(), uint64(0)
	end, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		ticks := time.NewTicker(time.Millisecond)
		defer ticks.Stop()
		for {
			peak = max(peak, read())
			select {
			case <-end:
				return
			case <-ticks.C:
			}
		}
	}()
	f()
	close(end)
	<-ended
	return peak - min(peak, before)
}

func TestALargeMessageHasOnlySomeOfItsSignaturesVerified(t *testing.T) {
	dns := startDNS(t)
	key(t, dns, "evil.example")
	const size = 100 << 10
	text := claims(2, "relaxed") + strings.Replace(claims(2, "relaxed"), "evil", "keyless", 2) + claims(6, "simple") + header
	m := repeated{text, "0123456789abcd\r\n"}.message(size / 16)
	for i, one := range verifier(dns).DKIMWithin(t.Context(), m, 3*size+200<<10) {
		want, why := spoof.AuthFail, "body hash"
		switch {
		case one.Domain == "keyless.example": // for which the body is not read
			want, why = spoof.AuthPermError, "no key"
		case i >= 6:
			want, why = spoof.AuthPermError, "too many signatures for its size"
		}
		if one.Result != want || !strings.Contains(one.Why, why) {
			t.Errorf("%d: got %+v", i, one)
		}
	}
}

func TestALargeMessageIsStillVerified(t *testing.T) {
	dns := startDNS(t)
	private := key(t, dns, "acmecorp.com")
	text := sign(t, letter+strings.Repeat(strings.Repeat("QUJD", 19)+"\r\n", 25<<20/78), "acmecorp.com", private, nil)
	if found := verifier(dns).DKIMWithin(t.Context(), message(text), sender.MaxVerified); len(found) != 1 || found[0].Result != spoof.AuthPass {
		t.Errorf("got %+v", found)
	}
}
