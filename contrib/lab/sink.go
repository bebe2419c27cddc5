package lab

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"slices"
	"strings"
	"sync"
	"time"
)

// SinkConfig says how a sink behaves.
type SinkConfig struct {
	// Address is HOST:PORT, or unix:PATH. Port 0 has a free one picked; "" is 127.0.0.1:0.
	Address string
	// LMTP makes it an LMTP server (RFC 2033) instead of an SMTP server.
	LMTP bool
	// Refuse is asked for each recipient, in the form of Recipient.Address.
	// It returns nil to accept it, or the reply to refuse it with. Several
	// connections ask side by side. A nil Refuse accepts everybody.
	Refuse func(recipient string) *Reply
	// Pass hands a message on before it is answered for, and returns the reply. Several
	// connections do so side by side. A nil Pass hands on nothing.
	Pass func(Delivery) Reply
	// TLS, with a certificate, has it offer STARTTLS, and take no mail without.
	TLS *tls.Config
}

// Sink is an SMTP or LMTP server that accepts mail and keeps it, in memory.
// It offers 8BITMIME, DSN and SMTPUTF8.
type Sink struct {
	config SinkConfig
	server *server

	mu         sync.Mutex
	deliveries []Delivery
	changed    chan struct{} // closed and replaced at each delivery
}

// Delivery is one message that a sink has accepted, in one SMTP transaction.
// Addresses and arguments are spelt as they were sent.
type Delivery struct {
	Client     string // the IP address that it came from
	From       string // empty: the null sender
	Return     string // RET= (RFC 3461 section 4.3): FULL, HDRS or empty
	EnvelopeID string // ENVID=, in xtext
	UTF8       bool   // SMTPUTF8 was asked for (RFC 6531)
	Recipients []Recipient
	Data       []byte // the octets of the message, without the dots of RFC 5321 section 4.5.2
	When       time.Time
}

// Recipient is a recipient of a Delivery.
type Recipient struct {
	Address string
	Notify  string // NOTIFY=, such as NEVER or SUCCESS,FAILURE; empty: not given
	ORCPT   string // ORCPT=, in xtext, such as rfc822;alice@example.com; empty: not given
}

// To lists the recipients' addresses.
func (d Delivery) To() []string {
	to := make([]string, len(d.Recipients))
	for i, r := range d.Recipients {
		to[i] = r.Address
	}
	return to
}

// StartSink starts a sink.
func StartSink(c SinkConfig) (*Sink, error) {
	address := c.Address
	if address == "" {
		address = "127.0.0.1:0"
	}
	listen := func() (net.Listener, error) { return net.Listen("tcp", address) }
	if path, is := strings.CutPrefix(address, "unix:"); is {
		listen = func() (net.Listener, error) { return listenForAll(path) }
	}
	l, err := listen()
	if err != nil {
		return nil, fmt.Errorf("lab: sink: %w", err)
	}
	s := &Sink{config: c, changed: make(chan struct{})}
	s.server = serveEach(l, func(conn net.Conn) { receive(s, conn) })
	return s, nil
}

// Addr is the sink's address, HOST:PORT, or the path of its socket.
func (s *Sink) Addr() string { return s.server.listener.Addr().String() }

// NextHop is the sink as Config.Routes and transport(5) name it.
func (s *Sink) NextHop() string {
	host, port, _ := net.SplitHostPort(s.Addr())
	if s.config.LMTP {
		return fmt.Sprintf("lmtp:inet:[%s]:%s", host, port)
	}
	return fmt.Sprintf("smtp:[%s]:%s", host, port)
}

// Close ends the sink and its connections. What it has kept stays readable.
func (s *Sink) Close() error { return s.server.close() }

// All lists what has arrived, in that order.
func (s *Sink) All() []Delivery {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.deliveries)
}

// Wait returns the first delivery that matches, of those that are there and
// those to come. When ctx ends first, the error lists what did arrive.
func (s *Sink) Wait(ctx context.Context, match func(Delivery) bool) (Delivery, error) {
	for seen := 0; ; {
		s.mu.Lock()
		fresh, changed := s.deliveries[seen:], s.changed
		s.mu.Unlock()
		if i := slices.IndexFunc(fresh, match); i >= 0 {
			return fresh[i], nil
		}
		seen += len(fresh)
		select {
		case <-changed:
		case <-ctx.Done():
			return Delivery{}, fmt.Errorf("lab: no such message reached the sink %s: %w; what did: %s", s.Addr(), ctx.Err(), summary(s.All()))
		}
	}
}

// WaitCount returns all deliveries as soon as there are n of them.
func (s *Sink) WaitCount(ctx context.Context, n int) ([]Delivery, error) {
	count := 0
	if n > 0 {
		if _, err := s.Wait(ctx, func(Delivery) bool { count++; return count == n }); err != nil {
			return nil, err
		}
	}
	return s.All(), nil
}

func summary(deliveries []Delivery) string {
	const most = 10
	var b strings.Builder
	fmt.Fprintf(&b, "%d messages", len(deliveries))
	for _, d := range deliveries[:min(most, len(deliveries))] {
		fmt.Fprintf(&b, "; from <%s> to %q", d.From, d.To())
	}
	return b.String()
}

func (s *Sink) keep(d Delivery) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.deliveries = append(s.deliveries, d)
	close(s.changed)
	s.changed = make(chan struct{})
}
