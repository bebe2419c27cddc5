package listen

import (
	"errors"
	"net"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// State says what a connection is doing.
type State int

// The states, in the order in which connections give way to new ones. One that is Busy
// never does.
const (
	// Fresh is a connection on which nothing has begun yet: no message, no question.
	Fresh State = iota
	// Idle is one between two messages, or two questions.
	Idle
	// Busy is one with a message or a question under way.
	Busy
)

var stateNames = [...]string{Fresh: "fresh", Idle: "idle", Busy: "busy"}

// String returns the state's name.
func (s State) String() string { return stateNames[s] }

// Conn is a connection of a server. The goroutine that serves it says with Begin, Rest
// and Heard what it is doing, and closes it. Between Begin and Rest it is closed from
// outside only where a shutdown's time is up.
type Conn struct {
	net.Conn
	on    net.Listener // which it came on
	spoke func()       // has the connection that waits for room look again
	ack   func()       // see acknowledger; nil: nothing is to be done

	mu     sync.Mutex
	mute   bool // the peer has said nothing yet
	state  State
	since  time.Time // of the state; while it is not Busy, of what the peer said last
	ending bool      // nothing more is to begin
}

// Read waits for what the peer says. The peer knows by then that all it said has come.
func (c *Conn) Read(p []byte) (int, error) {
	if c.ack != nil {
		c.ack()
	}
	return c.Conn.Read(p)
}

// acknowledger returns what has the kernel acknowledge at once all that has come on a TCP
// connection (tcp(7), TCP_QUICKACK), and nil for others. The kernel would wait 40 ms for an
// answer that the acknowledgement can go with. Sendmail writes the macros of a command, and
// then the command; its own kernel keeps the second of two small segments back until the
// first is acknowledged (RFC 896; Sendmail turns that off only where it was built with
// MILTER_NO_NAGLE). The option does not last: it is set before each reading.
func acknowledger(socket net.Conn) func() {
	connection, is := socket.(*net.TCPConn)
	if !is {
		return nil
	}
	raw, err := connection.SyscallConn()
	if err != nil {
		return nil
	}
	set := func(fd uintptr) {
		// Where it cannot be set, the peer only waits longer.
		_ = unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_QUICKACK, 1)
	}
	return func() { _ = raw.Control(set) }
}

// Begin notes that a message or a question is under way. It returns false when nothing
// more is to begin: then the connection is to be closed without an answer.
func (c *Conn) Begin() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.ending {
		return false
	}
	c.state, c.since = Busy, time.Now()
	c.speak()
	return true
}

// Rest notes that what was under way is over, and that the peer has all answers. Where
// nothing more is to begin, reading ends at once.
func (c *Conn) Rest() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.state == Busy {
		c.state, c.since = Idle, time.Now()
	}
	if c.ending {
		c.Conn.SetReadDeadline(past)
	}
}

// Heard notes that the peer has said something. While the connection is Busy, that
// changes nothing.
func (c *Conn) Heard() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.state != Busy {
		c.since = time.Now()
	}
	c.speak()
}

// speak notes that the peer is not mute. The caller has c.mu.
func (c *Conn) speak() {
	if c.mute {
		c.mute = false
		c.spoke()
	}
}

// IsOver reports that nothing is under way on the connection, and nothing more is to begin.
func (c *Conn) IsOver() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.isOver()
}

func (c *Conn) isOver() bool { return c.ending && c.state != Busy }

// SetReadDeadline sets the time at which reading ends. On a connection that is over, that
// is at once.
func (c *Conn) SetReadDeadline(t time.Time) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.isOver() {
		t = past
	}
	return c.Conn.SetReadDeadline(t)
}

var past = time.Unix(1, 0)

// drain ends reading when nothing is under way, and else once that is over.
func (c *Conn) drain() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.ending = true; c.isOver() {
		c.Conn.SetReadDeadline(past)
	}
}

// giveWay closes the connection, unless something is under way.
func (c *Conn) giveWay() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.state == Busy {
		return false
	}
	c.ending = true
	c.Conn.Close()
	return true
}

// now returns the state, since when, and whether the peer has said nothing yet.
func (c *Conn) now() (state State, since time.Time, mute bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.state, c.since, c.mute
}

// Connection is what is known of a connection at one moment.
type Connection struct {
	On     net.Listener // which it came on
	Remote string       // the peer's HOST:PORT; empty on a Unix socket
	PID    int          // the peer's process on a Unix socket; else, and where it cannot be told, 0
	State  State
	// Since is when the state began. Of a connection that is not Busy, it is when the
	// peer last said something, if that was later.
	Since time.Time
}

func (c *Conn) describe() Connection {
	state, since, _ := c.now()
	d := Connection{On: c.on, State: state, Since: since}
	if peer, err := Peer(c.Conn); err == nil {
		d.PID = int(peer.Pid)
	}
	// A peer that has not bound its Unix socket is "@" to Go.
	if remote := c.RemoteAddr(); remote.Network() != "unix" {
		d.Remote = remote.String()
	}
	return d
}

// Peer returns whose process has connected to a Unix socket (unix(7), SO_PEERCRED). Other
// connections do not tell that.
func Peer(c net.Conn) (*unix.Ucred, error) {
	socket, is := c.(*net.UnixConn)
	if !is {
		return nil, errors.New("only a Unix socket tells whose process has connected")
	}
	raw, err := socket.SyscallConn()
	if err != nil {
		return nil, err
	}
	var credentials *unix.Ucred
	var failed error
	err = raw.Control(func(fd uintptr) {
		credentials, failed = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED)
	})
	return credentials, errors.Join(err, failed)
}
