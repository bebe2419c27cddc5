// Package scantest has what tests of scanners share: the scanners with their servers,
// messages that notice who reads them, and servers that are none.
package scantest

import (
	"context"
	"testing"
	"time"

	"coexistd/contrib/lab"
	"coexistd/scanners"
	"coexistd/scanners/clamd"
	"coexistd/scanners/rspamd"
)

// Subject is a scanner to be held to the promises of scanners.Scanner.
type Subject struct {
	Scanner scanners.Scanner
	// Bad is a message that the scanner finds something in.
	Bad string
	// Server is what the scanner asks; nil when it asks nobody, and then At is
	// too.
	Server Server
	// At makes a scanner of the same kind that asks whoever listens on a TCP port
	// of 127.0.0.1, for no longer than the timeout.
	At func(address string, timeout time.Duration) scanners.Scanner
}

// Server is a real server that the lab runs.
type Server interface {
	Suspend() error
	Continue() error
	Kill() error
	Start(context.Context) error
}

// CleanMail is a message that no scanner finds anything in.
const CleanMail = "From: a@acmecorp.com\r\nTo: b@acmecorp.com\r\nSubject: the minutes\r\n" +
	"Date: Mon, 5 Jan 2026 09:26:41 +0100\r\nMessage-ID: <minutes@acmecorp.com>\r\n\r\nAs we agreed.\r\n"

// EICARMail is a message with the test virus.
const EICARMail = "From: a@acmecorp.com\r\nTo: b@acmecorp.com\r\nSubject: an invoice\r\n\r\n" + lab.EICAR + "\r\n"

// Patience is how long a scan may take that nothing holds up. Only what hangs takes
// so long, on a machine that does other things as well.
const Patience = 2 * time.Minute

// Clamd is the scanner with a real clamd.
func Clamd(t *testing.T) Subject {
	server := StartClamd(t, lab.ClamdConfig{})
	return Subject{
		Scanner: NewClamd(Patience, server.Addr()),
		Bad:     EICARMail,
		Server:  server,
		At: func(address string, timeout time.Duration) scanners.Scanner {
			return NewClamd(timeout, "inet:"+address)
		},
	}
}

// Rspamd is the scanner with a real rspamd.
func Rspamd(t *testing.T) Subject {
	server := StartRspamd(t, "")
	return Subject{
		Scanner: NewRspamd(Patience, server.URL()),
		Bad:     CleanMail + lab.GTUBE + "\r\n",
		Server:  server,
		At: func(address string, timeout time.Duration) scanners.Scanner {
			return NewRspamd(timeout, "http://"+address)
		},
	}
}

// NewClamd makes a scanner that asks each clamd of these addresses.
func NewClamd(timeout time.Duration, addresses ...string) *clamd.Scanner {
	return clamd.New(clamd.Options{Addresses: addresses, MaxSize: 64 << 20, Timeout: timeout})
}

// NewRspamd makes a scanner that asks the rspamd at that URL.
func NewRspamd(timeout time.Duration, url string) *rspamd.Scanner {
	return rspamd.New(rspamd.Options{Address: url, MaxSize: 32 << 20, Timeout: timeout, Hostname: "mail.acmecorp.com"})
}

// StartClamd starts a real clamd for the test.
func StartClamd(t testing.TB, c lab.ClamdConfig) *lab.Clamd {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), Patience)
	defer cancel()
	server, err := lab.LendFilters(t).StartClamd(ctx, c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if t.Failed() {
			t.Log(server.Log())
		}
		if err := server.Stop(); err != nil {
			t.Error(err)
		}
	})
	return server
}

// StartRspamd starts an rspamd with further settings, which ends with the test.
func StartRspamd(t testing.TB, settings string) *lab.Rspamd {
	t.Helper()
	return startRspamd(t, lab.RspamdConfig{Settings: settings})
}

// StartLearningRspamd starts an rspamd that learns into that Redis, and ends with the test.
func StartLearningRspamd(t testing.TB, redis *lab.Redis) *lab.Rspamd {
	t.Helper()
	return startRspamd(t, lab.RspamdConfig{Learn: redis})
}

func startRspamd(t testing.TB, c lab.RspamdConfig) *lab.Rspamd {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), Patience)
	defer cancel()
	server, err := lab.LendFilters(t).StartRspamd(ctx, c)
	if err != nil {
		t.Fatal(err)
	}
	endWith(t, server.Stop)
	return server
}

// StartRedis starts a Redis that ends with the test.
func StartRedis(t testing.TB) *lab.Redis {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), Patience)
	defer cancel()
	redis, err := lab.LendFilters(t).StartRedis(ctx, lab.RedisConfig{})
	if err != nil {
		t.Fatal(err)
	}
	endWith(t, redis.Stop)
	return redis
}

// endWith has a test end a server at its end.
func endWith(t testing.TB, stop func() error) {
	t.Cleanup(func() {
		if err := stop(); err != nil {
			t.Error(err)
		}
	})
}
