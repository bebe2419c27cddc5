package lab

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"
)

// Flood is an MTA that one SMTP client keeps connecting to: of each connection it
// tells the milter on a connection of its own, as Postfix does. It negotiates,
// gives CONNECT and waits for the answer. When the client is let in, it says QUIT.
type Flood struct {
	Socket string     // the milter's
	Client netip.Addr // of IPv4: where the client is said to be
	Rate   int        // connections a second, as far as the machine can
	AtOnce int        // connections at once, at most
}

// Flooded says what came of a flood.
type Flooded struct {
	LetIn   int           // connections
	Refused int           // with 421 4.7.0
	Took    time.Duration // from the first to the end of the last
}

// Rate is the connections a second that the flood came to.
func (f Flooded) Rate() float64 { return float64(f.LetIn+f.Refused) / f.Took.Seconds() }

// Run floods for so long, or until ctx ends. A connection that is due is made at
// once, so that the rate holds over all when it does not in a moment. The first
// connection that comes to something else than an answer ends the flood with its
// error.
func (f Flood) Run(ctx context.Context, length time.Duration) (Flooded, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	knock := f.knock()
	start := time.Now()
	var begun, letIn, refused atomic.Int64
	var clients sync.WaitGroup
	for range f.AtOnce {
		clients.Go(func() {
			for {
				due := time.Duration(begun.Add(1)-1) * time.Second / time.Duration(f.Rate)
				if max(due, time.Since(start)) >= length {
					return
				}
				select {
				case <-time.After(due - time.Since(start)):
				case <-ctx.Done():
					return
				}
				in, err := f.connect(knock)
				switch {
				case err != nil:
					cancel(err)
				case in:
					letIn.Add(1)
				default:
					refused.Add(1)
				}
			}
		})
	}
	clients.Wait()
	return Flooded{int(letIn.Load()), int(refused.Load()), time.Since(start)}, context.Cause(ctx)
}

// The milter protocol's offer of Postfix 3.7: version 6 with all actions and all
// protocol flags.
var floodOffer = milterFrame('O', "\x00\x00\x00\x06\x00\x00\x01\xff\x00\x1f\xff\xff")

// knock is what follows the negotiation: CONNECT with its macros.
func (f Flood) knock() []byte {
	addr := f.Client.String()
	return append(milterFrame('D', "C{client_addr}\x00"+addr+"\x00v\x00Postfix 3.7.11\x00"),
		milterFrame('C', "unknown\x004\xc3\x51"+addr+"\x00")...)
}

func milterFrame(code byte, payload string) []byte {
	b := binary.BigEndian.AppendUint32(nil, uint32(1+len(payload)))
	return append(append(b, code), payload...)
}

// connect is one connection. It reports whether the client was let in.
func (f Flood) connect(knock []byte) (bool, error) {
	conn, err := net.Dial("unix", f.Socket)
	if err != nil {
		return false, fmt.Errorf("lab: flooding: %w", err)
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(5 * time.Minute)) // for what hangs
	if answer, err := askMilter(conn, floodOffer); err != nil || answer[0] != 'O' {
		return false, errors.Join(fmt.Errorf("lab: flooding: the offer was answered with %q", answer), err)
	}
	answer, err := askMilter(conn, knock)
	switch {
	case err == nil && string(answer) == "c":
		_, err = conn.Write(milterFrame('Q', ""))
		return true, err
	case err == nil && len(answer) > 10 && string(answer[:10]) == "y421 4.7.0":
		return false, nil
	}
	return false, errors.Join(fmt.Errorf("lab: flooding: CONNECT was answered with %q", answer), err)
}

// askMilter says something to the milter and returns the one frame of its answer, the
// code first.
func askMilter(conn net.Conn, frames []byte) ([]byte, error) {
	if _, err := conn.Write(frames); err != nil {
		return nil, err
	}
	var b [512]byte // has room for all that coexistd answers to these
	n, err := io.ReadAtLeast(conn, b[:], 5)
	if err != nil {
		return nil, err
	}
	size := int(binary.BigEndian.Uint32(b[:]))
	if size < 1 || 4+size > len(b) {
		return nil, fmt.Errorf("the milter sent a frame of %d bytes", size)
	}
	if n < 4+size {
		_, err = io.ReadFull(conn, b[n:4+size])
	}
	return b[4 : 4+size], err
}
