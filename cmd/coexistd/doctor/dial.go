package doctor

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"time"
)

// maxAnswer bounds what a server may answer, in bytes.
const maxAnswer = 64 << 10

// dial connects to a server for one question: network and address as net.Dial
// takes them.
func dial(ctx context.Context, network, address string) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, questionTime)
	defer cancel()
	conn, err := new(net.Dialer).DialContext(ctx, network, address)
	if err != nil {
		return nil, err
	}
	until, _ := ctx.Deadline()
	return conn, conn.SetDeadline(until)
}

func isTimeout(err error) bool {
	failed, is := errors.AsType[net.Error](err)
	return is && failed.Timeout()
}

// plainNet says what an error of a connection means, without its addresses.
func plainNet(err error) error {
	switch {
	case isTimeout(err):
		return fmt.Errorf("it has said nothing for %v", questionTime.Round(time.Second))
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return errors.New("it closes the connection")
	}
	if failed, is := errors.AsType[*net.OpError](err); is {
		return failed.Err
	}
	return err
}
