// Package clamd asks clamd(8) whether messages have viruses.
package clamd

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	library "github.com/dutchcoders/go-clamd"

	"coexistd/policy/mail"
	"coexistd/policy/verdict"
	"coexistd/scanners"
)

// Options say which clamd to ask, and how.
//
// clamd has limits of its own: past MaxScanSize, MaxFileSize and its like it
// leaves the rest of a message aside and calls it OK. It says so only with
// "AlertExceedsMax yes" in its configuration, and then the message is unknown.
type Options struct {
	// Addresses are "unix:/PATH" or "inet:HOST:PORT", at least one.
	Addresses []string
	// MaxSize is the size in bytes past which a message is unknown without being
	// asked for. It should not be more than clamd's StreamMaxLength.
	MaxSize int64
	// Timeout bounds one scan, over all addresses.
	Timeout time.Duration
}

// Scanner looks for viruses by asking clamd(8), over a connection of its own for
// each message.
//
// Of several addresses the one that answered last is asked first, then the
// others in order. Each try has an equal share of the time that is left, so that
// two addresses of which the first hangs give the second half of the timeout;
// what a quick failure leaves over goes to the tries after it.
type Scanner struct {
	options   Options
	preferred atomic.Int32 // the index of the address that answered last
}

// New returns a Scanner that asks the clamd of these options.
func New(o Options) *Scanner { return &Scanner{options: o} }

// Check returns verdict.CheckVirus.
func (s *Scanner) Check() string { return verdict.CheckVirus }

// Scan asks clamd for one message. A signature that matches is a hit by its
// name.
func (s *Scanner) Scan(ctx context.Context, m *scanners.Message) verdict.Finding {
	if m.Size > s.options.MaxSize {
		return scanners.Unknown(s.Check(), fmt.Sprintf("the message has %d bytes, more than scanner.clamd.max_size, which is %d", m.Size, s.options.MaxSize))
	}
	if err := ctx.Err(); err != nil {
		return scanners.Down(s.Check(), fmt.Sprintf("clamd was not asked: %v", err))
	}
	ctx, cancel := context.WithTimeout(ctx, s.options.Timeout)
	defer cancel()
	deadline, _ := ctx.Deadline()
	first, n := int(s.preferred.Load()), len(s.options.Addresses)
	var reasons verdict.Reasons
	down := true
	for i := 0; i < n && ctx.Err() == nil; i++ {
		at := (first + i) % n
		share, cancel := context.WithTimeout(ctx, time.Until(deadline)/time.Duration(n-i))
		finding, settled := ask(share, s.options.Addresses[at], m)
		cancel()
		if settled {
			s.preferred.Store(int32(at))
			return finding
		}
		reasons = reasons.AndAll(finding.Reasons)
		down = down && finding.Down
	}
	return verdict.Finding{Check: s.Check(), Reasons: reasons, Down: down}
}

// ask asks the clamd of one address. An unknown is settled when it is the
// message's doing, so that no other clamd could tell more.
func ask(ctx context.Context, address string, m *scanners.Message) (finding verdict.Finding, settled bool) {
	begun := time.Now()
	reply, err := instream(ctx, address, m)
	var unread *contentError
	switch {
	case errors.As(err, &unread):
		return scanners.Unknown(verdict.CheckVirus, unread.Error()), true
	case err != nil && ctx.Err() != nil:
		return scanners.Down(verdict.CheckVirus, fmt.Sprintf("clamd at %s has not answered in %v", address, time.Since(begun).Round(time.Millisecond))), false
	case err != nil:
		return scanners.Down(verdict.CheckVirus, fmt.Sprintf("clamd at %s %v", address, err)), false
	}
	return readVerdict(address, reply)
}

// Status is what the clamd of one address tells of itself.
type Status struct {
	Address string
	// Version is the program's: "ClamAV 1.4.6".
	Version string
	// Signatures is the number of its daily signatures and Published their date;
	// empty and zero when it has none of ClamAV's.
	Signatures string
	Published  time.Time
	// Err says why the clamd is of no use. Then all but Address is unset.
	Err error
}

// Ping asks the clamd of each address, all side by side, to scan an empty
// message and to tell its version. It returns one status for each, in their
// order, after the Timeout at the latest.
func (s *Scanner) Ping(ctx context.Context) []Status {
	ctx, cancel := context.WithTimeout(ctx, s.options.Timeout)
	defer cancel()
	all := make([]Status, len(s.options.Addresses))
	var asked sync.WaitGroup
	for i, address := range s.options.Addresses {
		asked.Go(func() { all[i] = ping(ctx, address) })
	}
	asked.Wait()
	return all
}

// ping has it scan first. That proves more than the command PING does, and
// finds out a clamd that hangs before the library is left waiting for it.
func ping(ctx context.Context, address string) Status {
	finding, _ := ask(ctx, address, &scanners.Message{Content: strings.NewReader("")})
	if finding.State != verdict.Clean {
		return Status{Address: address, Err: errors.New(finding.Reasons.String())}
	}
	line, err := askVersion(ctx, address)
	if err != nil {
		return Status{Address: address, Err: fmt.Errorf("clamd at %s, asked for its version, %w", address, err)}
	}
	return readVersion(address, line)
}

// askVersion asks for VERSION. The library knows no time limit: when clamd
// stops answering just then, a goroutine and a connection stay until it ends.
func askVersion(ctx context.Context, address string) (string, error) {
	network, target := splitAddress(address)
	if network == "tcp" {
		target = "tcp://" + target
	}
	type answer struct {
		line string
		err  error
	}
	answers := make(chan answer, 1)
	go func() {
		results, err := library.NewClamd(target).Version()
		if err != nil {
			answers <- answer{err: unreachable(err)}
			return
		}
		// A connection that was closed without an answer has no result.
		if result := <-results; result != nil {
			answers <- answer{line: result.Raw}
		} else {
			answers <- answer{err: errNoAnswer}
		}
		for range results { // The library's goroutine ends with them.
		}
	}()
	select {
	case a := <-answers:
		return a.line, a.err
	case <-ctx.Done():
		return "", errors.New("has not answered in time")
	}
}

// readVersion reads the answer to VERSION: "ClamAV 1.4.6", and where clamd has
// signatures of ClamAV's "ClamAV 1.4.6/27500/Mon Jan  5 09:26:41 2026", in its
// local time, which is taken for ours.
func readVersion(address, line string) Status {
	if !strings.HasPrefix(line, "ClamAV ") {
		return Status{Address: address, Err: fmt.Errorf("clamd at %s answers VERSION with %q, which is not a ClamAV's answer", address, mail.Excerpt(line, maxName))}
	}
	version, signatures, _ := strings.Cut(line, "/")
	number, date, _ := strings.Cut(signatures, "/")
	status := Status{Address: address, Version: mail.Excerpt(version, maxName), Signatures: mail.Excerpt(number, maxName)}
	if published, err := time.ParseInLocation(time.ANSIC, date, time.Local); err == nil {
		status.Published = published
	}
	return status
}

// splitAddress turns "unix:/PATH" or "inet:HOST:PORT" into what net.Dial takes.
func splitAddress(address string) (network, target string) {
	kind, target, _ := strings.Cut(address, ":")
	if kind == "inet" {
		kind = "tcp"
	}
	return kind, target
}

var errNoAnswer = errors.New("closed the connection without an answer")

// unreachable is the error of a clamd that was not reached.
func unreachable(err error) error { return fmt.Errorf("cannot be reached: %w", cause(err)) }

// cause rids an error of the addresses that it happened between.
func cause(err error) error {
	if op := new(net.OpError); errors.As(err, &op) {
		return op.Err
	}
	return err
}
