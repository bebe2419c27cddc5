package milter

import (
	"bytes"
	"encoding/binary"
	"log/slog"
	"net"
	"testing"
	"time"

	"coexistd/milter/transaction"
	"coexistd/policy/seal"
	"coexistd/policy/verdict"
)

// oneConn is a listener of a single connection.
type oneConn struct {
	net.Listener
	conn net.Conn
}

func (l *oneConn) Accept() (net.Conn, error) {
	if l.conn == nil {
		return nil, net.ErrClosed
	}
	conn := l.conn
	l.conn = nil
	return conn, nil
}

func (l *oneConn) Close() error { return nil }

// FuzzFrames sends any bytes whatever to a session. It must end when they do,
// must answer in whole frames, and must keep no more than its bounds allow.
func FuzzFrames(f *testing.F) {
	rt := newRuntime(f)
	rt.Policy.Header = "X-Coexist"
	remake(rt)
	record := func(put func(m *mta)) []byte {
		m := &mta{}
		put(m)
		return m.out
	}
	offer := func(m *mta) {
		b := binary.BigEndian.AppendUint32(nil, 6)
		b = binary.BigEndian.AppendUint32(b, uint32(allActions))
		m.put('O', string(binary.BigEndian.AppendUint32(b, uint32(allProtocol))))
	}
	f.Add(record(func(m *mta) {
		offer(m)
		m.connect('4', 25, "40.92.0.1")
		m.macro('M', "i", "q", "{auth_authen}", "x")
		m.put('M', "<x@example.org>\x00")
		m.put('R', "<alice@acmecorp.com>\x00NOTIFY=NEVER\x00")
		m.put('R', "<nobody@acmecorp.com>\x00")
		m.header("X-Coexist", " x")
		m.header(seal.TraceHeader, " v=1; by=x; id=0; to=x; sig=x")
		m.put('B', "body")
		m.put('E', "end")
		m.put('A', "")
		m.put('K', "")
		m.put('Q', "")
	}))
	f.Add(record(func(m *mta) {
		m.onHost()
		offer(m)
		m.put('M', "\"\x00")
		m.put('R', "\x00")
		m.put('R', "carol@acmecorp.com\x00ORCPT=\x00")
		m.put('E', "")
	}))
	f.Add([]byte{0, 0, 0, 0})
	f.Add([]byte{0xff, 0xff, 0xff, 0xff, 'L'})
	// Pieces between separators become frames of the right length, so that the
	// fuzzer spends its time behind the frame reader too.
	const framed, separator = 0xf5, 0xfe
	f.Add([]byte("\xf5C" + "h\x006\x00\x19IPv6:::1\x00" + "\xfeDMi\x00q\x00\xfeM<>\x00SIZE=1\x00\xfeR<\"a b\"+t@acmecorp.com>\x00ORCPT=x\x00" +
		"\xfeL" + seal.TraceHeader + "\x00v=1\x00\xfeBbody\xfeE\xfeA\xfeK\xfeQ"))
	f.Fuzz(func(t *testing.T, stream []byte) {
		if len(stream) > 0 && stream[0] == framed {
			pieces := bytes.Split(stream[1:], []byte{separator})
			stream = record(func(m *mta) {
				offer(m)
				for _, piece := range pieces {
					if len(piece) > 0 {
						m.put(piece[0], string(piece[1:]))
					}
				}
			})
		}
		s := &Server{Runtime: func() *transaction.Runtime { return rt }, Log: slog.New(slog.DiscardHandler)}
		conn := &script{in: bytes.NewReader(stream), ended: make(chan struct{})}
		go s.Serve(&oneConn{conn: conn}, verdict.Undecided)
		select {
		case <-conn.ended:
		case <-time.After(patience):
			t.Fatal("the session does not end with its input")
		}
		answers := conn.out.Bytes()
		if len(answers) > 1<<16+1000*len(stream) {
			t.Fatalf("%d bytes of answers to %d", len(answers), len(stream))
		}
		for len(answers) > 0 {
			if len(answers) < 5 {
				t.Fatalf("the answers end with %q", answers)
			}
			length := binary.BigEndian.Uint32(answers)
			if length == 0 || int(length) > len(answers)-4 {
				t.Fatalf("an answer has a length of %d bytes, and %d follow", length, len(answers)-4)
			}
			answers = answers[4+length:]
		}
	})
}

// script is a connection whose peer says what it has to say and goes away.
type script struct {
	net.Conn
	in    *bytes.Reader
	out   bytes.Buffer
	ended chan struct{}
}

func (c *script) Read(p []byte) (int, error)       { return c.in.Read(p) }
func (c *script) Write(p []byte) (int, error)      { return c.out.Write(p) }
func (c *script) SetReadDeadline(time.Time) error  { return nil }
func (c *script) SetWriteDeadline(time.Time) error { return nil }
func (c *script) Close() error                     { close(c.ended); return nil }
