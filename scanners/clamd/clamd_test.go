package clamd_test

import (
	"bufio"
	"bytes"
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	library "github.com/dutchcoders/go-clamd"

	"coexistd/contrib/lab"
	"coexistd/contrib/lab/scantest"
	"coexistd/policy/verdict"
	"coexistd/scanners"
	"coexistd/scanners/clamd"
)

// answering is a clamd that takes a whole message and then replies with just
// that text.
func answering(t *testing.T, reply string) (address string) {
	return "inet:" + lab.Listen(t, func(c net.Conn) { takeMessage(c); io.WriteString(c, reply) })
}

// takeMessage reads a command, and behind INSTREAM the message. It returns the
// command.
func takeMessage(c net.Conn) string {
	r := bufio.NewReader(c)
	prefix, err := r.ReadByte()
	if err != nil {
		return ""
	}
	end := byte('\n')
	if prefix == 'z' {
		end = 0
	}
	command, _ := r.ReadString(end)
	for size := uint32(1); size > 0 && strings.HasPrefix(command, "INSTREAM"); {
		if binary.Read(r, binary.BigEndian, &size) != nil {
			break
		}
		io.CopyN(io.Discard, r, int64(size))
	}
	return strings.TrimRight(command, "\n\x00")
}

func TestClamdOverEitherKindOfSocket(t *testing.T) {
	for _, tcp := range []bool{false, true} {
		server := scantest.StartClamd(t, lab.ClamdConfig{TCP: tcp})
		s := scantest.NewClamd(scantest.Patience, server.Addr())
		for _, body := range []string{"", strings.Repeat("x", 64<<10-len(scantest.CleanMail)), strings.Repeat("Yes.\r\n", 20_000)} {
			scantest.Want(t, s, scantest.Scan(t, s, scantest.Text(scantest.CleanMail+body)), verdict.Clean)
			found := scantest.Want(t, s, scantest.Scan(t, s, scantest.Text(scantest.CleanMail+body+lab.EICAR)), verdict.Hit)
			if found.Name != lab.EICARName {
				t.Errorf("%s: found %q, want %q", server.Addr(), found.Name, lab.EICARName)
			}
		}
	}
}

func TestASignaturesNameStaysTheSameWithExtendedDetectionInfo(t *testing.T) {
	server := scantest.StartClamd(t, lab.ClamdConfig{Settings: map[string]string{"ExtendedDetectionInfo": "yes"}})
	if f := scantest.Scan(t, scantest.NewClamd(scantest.Patience, server.Addr()), scantest.Text(scantest.EICARMail)); f.Name != lab.EICARName {
		t.Errorf("found %v, want %s", f, lab.EICARName)
	}
}

func TestAMessageThatClamdsLimitsLeaveUnseenIsUnknown(t *testing.T) {
	for _, tcp := range []bool{false, true} {
		server := scantest.StartClamd(t, lab.ClamdConfig{TCP: tcp, Settings: map[string]string{
			"StreamMaxLength": "1M", "MaxFileSize": "100K", "AlertExceedsMax": "yes",
		}})
		s := scantest.NewClamd(scantest.Patience, server.Addr())
		for _, c := range []struct {
			size   int
			reason string
		}{
			{200 << 10, "Heuristics.Limits.Exceeded"},
			{1<<20 + 1, "StreamMaxLength"},
			{8 << 20, "StreamMaxLength"},
		} {
			for range 10 { // clamd closes while we write
				f := scantest.Want(t, s, scantest.Scan(t, s, scantest.Text(scantest.Long(scantest.CleanMail)[:c.size])), verdict.Unknown)
				if f.Down || !strings.Contains(f.Reasons.String(), c.reason) {
					t.Errorf("%d bytes to %s: found %v, want a reason with %s", c.size, server.Addr(), f, c.reason)
				}
			}
		}
		scantest.Want(t, s, scantest.Scan(t, s, scantest.Text(scantest.CleanMail)), verdict.Clean)
	}
}

func TestAMessageLargerThanMaxSizeIsUnknownUnasked(t *testing.T) {
	c := clamd.New(clamd.Options{Addresses: []string{"unix:/nonexistent"}, MaxSize: 10, Timeout: scantest.Patience})
	if f := scantest.Scan(t, c, scantest.Text("12345678901")); f.State != verdict.Unknown || f.Down || !strings.Contains(f.Reasons.String(), "scanner.clamd.max_size") {
		t.Errorf("found %v, want unknown that names scanner.clamd.max_size", f)
	}
	if f := scantest.Scan(t, c, scantest.Text("1234567890")); !f.Down {
		t.Errorf("a message of that size was not asked about: %v", f)
	}
}

func TestOnlyOneWholeReplyOfClamdCounts(t *testing.T) {
	for _, c := range []struct {
		reply  string
		state  verdict.State
		name   string
		reason string // a part of it
	}{
		{reply: "stream: OK\x00", state: verdict.Clean},
		{reply: "stream: Eicar FOUND\x00", state: verdict.Hit, name: "Eicar"},
		{reply: "stream: Win.Test:EICAR HDB-1 FOUND\x00", state: verdict.Hit, name: "Win.Test:EICAR HDB-1"},
		{reply: "stream: A: OK FOUND\x00", state: verdict.Hit, name: "A: OK"},
		{reply: "stream: \x1b[2J\r\n\xff FOUND\x00", state: verdict.Hit, name: "?[2J???"},
		{reply: "stream: " + strings.Repeat("n", 2000) + " FOUND\x00", state: verdict.Hit, name: strings.Repeat("n", 128)},
		{reply: "stream: Eicar(44d88612fea8a8f36de82e1278abb02f:68) FOUND\x00", state: verdict.Hit, name: "Eicar"},
		{reply: "stream: Heuristics.Phishing.Email FOUND\x00", state: verdict.Hit, name: "Heuristics.Phishing.Email"},
		{reply: "stream: Heuristics.Limits.Exceeded.MaxScanTime FOUND\x00", reason: "all of the message"},
		{reply: "INSTREAM size limit exceeded. ERROR\x00", reason: "StreamMaxLength"},
		{reply: "stream: Can't allocate memory ERROR\x00", reason: "Can't allocate memory"},
		{reply: "stream: No space left. ERROR: OK\x00", reason: "neither"},
		{reply: "stream: OK", reason: "without an end"},
		{reply: "stream: Eicar FOUND", reason: "without an end"},
		{reply: "stream: OK\n", reason: "without an end"},
		{reply: "stream: OK\x00stream: OK\x00", reason: "more than one"},
		{reply: "stream: OK\x00stream: Eicar FOUND\x00", reason: "more than one"},
		{reply: "stream: OK\x00\x00", reason: "more than one"},
		{reply: "OK\x00", reason: "neither"},
		{reply: "stream: not OK\x00", reason: "neither"},
		{reply: "stream:  FOUND\x00", reason: "neither"},
		{reply: "stream: FOUND\x00", reason: "neither"},
		{reply: "UNKNOWN COMMAND\x00", reason: "neither"},
		{reply: "\x00", reason: "neither"},
		{reply: strings.Repeat("x", 10_000), reason: "more than 4096 bytes"},
		{reply: "", reason: "without an answer"},
	} {
		if c.reason != "" {
			c.state = verdict.Unknown
		}
		f := scantest.Scan(t, scantest.NewClamd(scantest.Patience, answering(t, c.reply)), scantest.Text(scantest.CleanMail))
		if f.State != c.state || f.Name != c.name || !strings.Contains(f.Reasons.String(), c.reason) {
			t.Errorf("%.80q: found %v (%s), want %v %q with a reason of %q", c.reply, f, f.Reasons.String(), c.state, c.name, c.reason)
		}
	}
}

func TestOKBeforeTheMessageIsCompleteIsNotBelieved(t *testing.T) {
	address := "inet:" + lab.Listen(t, func(c net.Conn) { scantest.ReadSome(c); io.WriteString(c, "stream: OK\x00") })
	if f := scantest.Scan(t, scantest.NewClamd(scantest.Patience, address), scantest.Text(scantest.Long(scantest.CleanMail))); f.State != verdict.Unknown {
		t.Errorf("found %v, want unknown", f)
	}
}

func TestAReplyWithoutEndIsNotReadToTheTimeout(t *testing.T) {
	address := "inet:" + lab.Listen(t, func(c net.Conn) {
		takeMessage(c)
		for err := error(nil); err == nil; {
			_, err = c.Write(bytes.Repeat([]byte("x"), 64<<10))
		}
	})
	begun := time.Now()
	f := scantest.Scan(t, scantest.NewClamd(scantest.Patience, address), scantest.Text(scantest.CleanMail))
	if took := time.Since(begun); f.State != verdict.Unknown || !strings.Contains(f.Reasons.String(), "more than 4096 bytes") || took > scantest.Patience/2 {
		t.Errorf("found %v after %v, want unknown at once", f, took)
	}
}

func TestASlowClamdIsWaitedFor(t *testing.T) {
	server := scantest.StartClamd(t, lab.ClamdConfig{})
	if err := server.Suspend(); err != nil {
		t.Fatal(err)
	}
	// More than the buffers of a socket hold: the writer has to wait too.
	c := scantest.Text(scantest.Long(scantest.CleanMail))
	reads := 0
	c.OnRead = func() {
		if reads++; reads == 2 {
			if err := server.Continue(); err != nil {
				t.Error(err)
			}
		}
	}
	if f := scantest.Scan(t, scantest.NewClamd(scantest.Patience, server.Addr()), c); f.State != verdict.Clean {
		t.Errorf("found %v, want clean", f)
	}
}

func TestTheReasonNamesEachClamdThatWasTried(t *testing.T) {
	t.Parallel()
	missing := "unix:" + filepath.Join(t.TempDir(), "clamd.sock")
	silent := "inet:" + lab.Listen(t, func(c net.Conn) { io.Copy(io.Discard, c) })
	closing := "inet:" + lab.Listen(t, func(c net.Conn) { takeMessage(c) })
	odd := answering(t, "what?\x00")
	for _, c := range []struct {
		addresses []string
		reasons   []string
		down      bool
	}{
		{[]string{missing}, []string{missing, "no such file"}, true},
		{[]string{missing, silent, closing}, []string{missing, "no such file", silent, "has not answered", closing, "without an answer"}, true},
		{[]string{odd, missing}, []string{odd, "neither", missing}, false},
		{[]string{"inet:127.0.0.1:0"}, []string{"cannot be reached"}, true},
	} {
		// The silent one has a half of that, and the next one the rest.
		f := scantest.Scan(t, scantest.NewClamd(10*time.Second, c.addresses...), scantest.Text(scantest.CleanMail))
		if f.State != verdict.Unknown || f.Down != c.down {
			t.Errorf("%v: found %v, down is %v, want unknown and %v", c.addresses, f, f.Down, c.down)
		}
		for _, reason := range c.reasons {
			if !strings.Contains(f.Reasons.String(), reason) {
				t.Errorf("the reason %q lacks %q", f.Reasons.String(), reason)
			}
		}
	}
}

// counted stands before a clamd and counts who asks it.
func counted(t *testing.T, server *lab.Clamd) (address string, asked *atomic.Int32) {
	network, behind, _ := strings.Cut(strings.Replace(server.Addr(), "inet:", "tcp:", 1), ":")
	asked = new(atomic.Int32)
	return "inet:" + lab.Listen(t, func(c net.Conn) {
		asked.Add(1)
		conn, err := net.Dial(network, behind)
		if err != nil {
			return
		}
		defer conn.Close()
		go func() {
			io.Copy(c, conn)
			c.Close()
		}()
		io.Copy(conn, c)
	}), asked
}

func TestAnotherClamdTakesOverFromOneThatDoesNotAnswer(t *testing.T) {
	t.Parallel()
	first, second := scantest.StartClamd(t, lab.ClamdConfig{}), scantest.StartClamd(t, lab.ClamdConfig{TCP: true})
	const timeout = 10 * time.Second
	one, askedOne := counted(t, first)
	two, askedTwo := counted(t, second)
	c := scantest.NewClamd(timeout, one, two)
	steps := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	finds := func(ones, twos int32) {
		t.Helper()
		if f := scantest.Scan(t, c, scantest.Text(scantest.EICARMail)); f.State != verdict.Hit {
			t.Errorf("found %v, want a hit", f)
		}
		if a, b := askedOne.Swap(0), askedTwo.Swap(0); a != ones || b != twos {
			t.Errorf("the first was asked %d times and the second %d times, want %d and %d", a, b, ones, twos)
		}
	}
	finds(1, 0)
	steps(first.Suspend())
	begun := time.Now()
	finds(1, 1)
	if took := time.Since(begun); took < timeout/2 {
		t.Errorf("the scan took %v, and the first has not had its share of %v", took, timeout)
	}
	finds(0, 1) // the second is asked first
	steps(first.Continue())
	steps(second.Kill())
	finds(1, 1)
	steps(second.Start(t.Context()))
	steps(first.Kill())
	finds(1, 1)
	steps(second.Kill())
	if f := scantest.Scan(t, c, scantest.Text(scantest.EICARMail)); !f.Down {
		t.Errorf("found %v, want it to be down", f)
	}
	steps(first.Start(t.Context()))
	askedOne.Store(0)
	askedTwo.Store(0)
	finds(1, 1)
}

func TestAClamdInTroubleIsPassedOverButAMessageTooLargeIsNot(t *testing.T) {
	good := scantest.StartClamd(t, lab.ClamdConfig{})
	for reply, state := range map[string]verdict.State{
		"stream: Can't write to temporary file. ERROR\x00": verdict.Clean,
		"what?\x00": verdict.Clean,
		"INSTREAM size limit exceeded. ERROR\x00":                  verdict.Unknown,
		"stream: Heuristics.Limits.Exceeded.MaxFileSize FOUND\x00": verdict.Unknown,
	} {
		if f := scantest.Scan(t, scantest.NewClamd(scantest.Patience, answering(t, reply), good.Addr()), scantest.Text(scantest.CleanMail)); f.State != state {
			t.Errorf("after %q: found %v, want %v", reply, f, state)
		}
	}
}

// telling is a clamd that finds every message clean and has that to say of its
// version.
func telling(t *testing.T, version string) (address string) {
	return "inet:" + lab.Listen(t, func(c net.Conn) {
		if takeMessage(c) == "VERSION" {
			io.WriteString(c, version)
		} else {
			io.WriteString(c, "stream: OK\x00")
		}
	})
}

func TestPingTellsOfEachClamd(t *testing.T) {
	server := scantest.StartClamd(t, lab.ClamdConfig{TCP: true})
	dated := telling(t, "ClamAV 1.4.6/27500/Mon Jan  5 09:26:41 2026\n")
	silent, odd := telling(t, ""), telling(t, "lab\x1b 1.0\nand more\n")
	missing := "unix:" + filepath.Join(t.TempDir(), "clamd.sock")
	all := scantest.NewClamd(scantest.Patience, server.Addr(), dated, silent, odd, missing).Ping(t.Context())
	if len(all) != 5 {
		t.Fatalf("%d clamd tell of themselves, want 5", len(all))
	}
	if s := all[0]; s.Err != nil || s.Address != server.Addr() || !strings.HasPrefix(s.Version, "ClamAV ") {
		t.Errorf("the real one tells %+v", s)
	}
	published := time.Date(2026, 1, 5, 9, 26, 41, 0, time.Local)
	if s := all[1]; s.Err != nil || s.Version != "ClamAV 1.4.6" || s.Signatures != "27500" || !s.Published.Equal(published) {
		t.Errorf("the one with signatures tells %+v, want 27500 of %v", s, published)
	}
	for i, reason := range map[int]string{2: "without an answer", 3: "not a ClamAV's", 4: "no such file"} {
		if s := all[i]; s.Err == nil || !strings.Contains(s.Err.Error(), reason) || !strings.Contains(s.Err.Error(), s.Address) || s.Version != "" {
			t.Errorf("found %+v, want an error with the address and %q", s, reason)
		}
	}
	scantest.NoneLeft(t)
}

func TestPingDoesNotWaitForAHungClamd(t *testing.T) {
	server := scantest.StartClamd(t, lab.ClamdConfig{})
	if err := server.Suspend(); err != nil {
		t.Fatal(err)
	}
	begun := time.Now()
	all := scantest.NewClamd(200*time.Millisecond, server.Addr()).Ping(t.Context())
	if took := time.Since(begun); all[0].Err == nil || took >= scantest.Patience {
		t.Errorf("found %+v after %v, want an error after 200ms", all[0], took)
	}
	scantest.NoneLeft(t)
}

func TestPingEndsWhenClamdHangsBeforeItsVersion(t *testing.T) {
	release := make(chan struct{})
	address := "inet:" + lab.Listen(t, func(c net.Conn) {
		if takeMessage(c) == "VERSION" {
			<-release
		} else {
			io.WriteString(c, "stream: OK\x00")
		}
	})
	defer close(release)
	if all := scantest.NewClamd(200*time.Millisecond, address).Ping(t.Context()); all[0].Err == nil {
		t.Errorf("found %+v, want an error", all[0])
	}
}

// FuzzClamdReply holds that only clamd's OK is clean, and that what is shown of
// its words is short and printable.
func FuzzClamdReply(f *testing.F) {
	for _, seed := range []string{"stream: OK\x00", "stream: A.B-1 FOUND\x00", "stream: x ERROR\x00", "stream: Heuristics.Limits.Exceeded FOUND\x00", ""} {
		f.Add([]byte(seed))
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		f.Fatal(err)
	}
	f.Cleanup(func() { l.Close() })
	c := scantest.NewClamd(scantest.Patience, "inet:"+l.Addr().String())
	f.Fuzz(func(t *testing.T, reply []byte) {
		var serving sync.WaitGroup
		serving.Go(func() {
			conn, err := l.Accept()
			if err != nil {
				t.Error(err)
				return
			}
			defer conn.Close()
			takeMessage(conn)
			conn.Write(reply)
		})
		found := scantest.Scan(t, c, scantest.Text(scantest.CleanMail))
		serving.Wait()
		if (found.State == verdict.Clean) != (string(reply) == "stream: OK\x00") {
			t.Errorf("%q is %v", reply, found)
		}
		if found.State == verdict.Hit && !bytes.HasSuffix(reply, []byte(" FOUND\x00")) {
			t.Errorf("%q is %v", reply, found)
		}
		for _, shown := range []string{found.Name, found.Reasons.String()} {
			if i := strings.IndexFunc(shown, func(r rune) bool { return r < ' ' || r > '~' }); i >= 0 || len(shown) > 500 {
				t.Errorf("%q is shown as %q", reply, shown)
			}
		}
	})
}

// BenchmarkClamd compares a scan with one by the package go-clamd and with
// clamdscan, which reads a file and has a process to start. cpu-ms is the CPU
// time of the client alone.
func BenchmarkClamd(b *testing.B) {
	server := scantest.StartClamd(b, lab.ClamdConfig{})
	for _, size := range []int{4 << 10, 100 << 10, 5 << 20, 25 << 20} {
		mail := attachment(size)
		file := filepath.Join(b.TempDir(), "mail")
		if err := os.WriteFile(file, mail, 0o600); err != nil {
			b.Fatal(err)
		}
		for _, c := range []struct {
			name string
			scan func() string
		}{
			{"coexistd", func() string {
				m := &scanners.Message{Content: bytes.NewReader(mail), Size: int64(len(mail))}
				return scantest.NewClamd(time.Minute, server.Addr()).Scan(b.Context(), m).String()
			}},
			{"go-clamd", func() string { return libraryScan(b, server, mail) }},
			{"clamdscan", func() string {
				out, err := server.Clamdscan(b.Context(), "--stream", "--no-summary", file).CombinedOutput()
				if err != nil {
					b.Fatalf("clamdscan: %v: %s", err, out)
				}
				return string(out)
			}},
		} {
			b.Run(fmt.Sprintf("%dKB/%s", size>>10, c.name), func(b *testing.B) {
				b.SetBytes(int64(len(mail)))
				before := cpuTime(b)
				for b.Loop() {
					if said := c.scan(); !strings.HasSuffix(strings.TrimSpace(said), "OK") && said != "virus clean" {
						b.Fatalf("it says %q", said)
					}
				}
				b.ReportMetric((cpuTime(b)-before).Seconds()*1000/float64(b.N), "cpu-ms/op")
			})
		}
	}
}

// cpuTime is what this process has used, and those that it has waited for.
func cpuTime(b *testing.B) (sum time.Duration) {
	for _, who := range []int{syscall.RUSAGE_SELF, syscall.RUSAGE_CHILDREN} {
		var used syscall.Rusage
		if err := syscall.Getrusage(who, &used); err != nil {
			b.Fatal(err)
		}
		sum += time.Duration(used.Utime.Nano() + used.Stime.Nano())
	}
	return sum
}

// libraryScan scans by the package go-clamd.
func libraryScan(b *testing.B, server *lab.Clamd, mail []byte) string {
	abort := make(chan bool)
	defer close(abort)
	results, err := library.NewClamd(server.Addr()).ScanStream(bytes.NewReader(mail), abort)
	if err != nil {
		b.Fatal(err)
	}
	said := ""
	for result := range results {
		said += result.Raw
	}
	return said
}

// attachment is a mail of that size with random bytes in Base64.
func attachment(size int) []byte {
	raw := make([]byte, size*3/4)
	rand.NewChaCha8([32]byte{}).Read(raw)
	mail := bytes.NewBufferString("From: a@acmecorp.com\r\nSubject: a file\r\nMIME-Version: 1.0\r\n" +
		"Content-Type: application/octet-stream; name=file\r\nContent-Transfer-Encoding: base64\r\n\r\n")
	for lines := base64.StdEncoding.EncodeToString(raw); mail.Len() < size && lines != ""; {
		n := min(76, len(lines))
		mail.WriteString(lines[:n] + "\r\n")
		lines = lines[n:]
	}
	return mail.Bytes()
}
