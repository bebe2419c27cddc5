package listen

import (
	"io"
	"net"
	"testing"

	"golang.org/x/sys/unix"
)

// acknowledgesAtOnce reports whether the kernel acknowledges without waiting for an
// answer (tcp(7), TCP_QUICKACK).
func acknowledgesAtOnce(t *testing.T, socket net.Conn) bool {
	t.Helper()
	raw, err := socket.(*net.TCPConn).SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	var at int
	var failed error
	if err := raw.Control(func(fd uintptr) { at, failed = unix.GetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_QUICKACK) }); err != nil || failed != nil {
		t.Fatal(err, failed)
	}
	return at == 1
}

func TestWhatAPeerSaysIsAcknowledgedAtOnce(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	peer, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer peer.Close()
	socket, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer socket.Close()
	c := &Conn{Conn: socket, on: l, ack: acknowledger(socket)}
	// By answers to what just came, a kernel learns to wait for the next answer.
	for i := range 20 {
		if _, err := peer.Write([]byte("question")); err != nil {
			t.Fatal(err)
		}
		if _, err := io.ReadFull(c, make([]byte, 8)); err != nil {
			t.Fatal(err)
		}
		if !acknowledgesAtOnce(t, socket) {
			t.Fatalf("after %d answers the kernel waits for an answer before it acknowledges", i)
		}
		if _, err := c.Write([]byte("answer")); err != nil {
			t.Fatal(err)
		}
		if _, err := io.ReadFull(peer, make([]byte, 6)); err != nil {
			t.Fatal(err)
		}
	}
}

func TestAUnixSocketHasNothingToAcknowledge(t *testing.T) {
	one, other := net.Pipe()
	defer other.Close()
	defer one.Close()
	if acknowledger(one) != nil {
		t.Error("what is no TCP connection is asked to acknowledge")
	}
}
