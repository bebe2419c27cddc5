package milter

import (
	"fmt"
	"io"
	"log/slog"
	"strings"
	"testing"

	"coexistd/milter/flood"
	"coexistd/policy"
	"coexistd/policy/verdict"
)

// BenchmarkMessage is one message of a modern MTA over a unix socket, with a
// recipient that is rewritten and the log written to nowhere.
func BenchmarkMessage(b *testing.B) {
	rt := newRuntime(b)
	for _, clients := range []int{1, 8} {
		b.Run(fmt.Sprintf("connections=%d", clients), func(b *testing.B) {
			l := newLab(b, rt, func(s *Server) { s.Log = slog.New(slog.NewTextHandler(io.Discard, nil)) })
			b.ReportAllocs()
			b.SetParallelism((clients + 1) / 2)
			b.RunParallel(func(pb *testing.PB) {
				m := l.postfix(b)
				for pb.Next() {
					m.macro('M', "{auth_authen}", "")
					m.put('M', "<x@example.org>\x00")
					m.get()
					m.macro('R', "i", "")
					m.put('R', "<alice@acmecorp.com>\x00")
					m.get()
					for range 12 {
						m.header("Received", " from client.example by mail.example with ESMTP id 0123456789")
					}
					m.macro('E', "i", "4QID")
					m.eom()
					m.put('A', "")
				}
			})
		})
	}
}

func TestMessagesTakeNoMemoryForEachHeader(t *testing.T) {
	l := newLab(t, newRuntime(t), nil)
	m := l.postfix(t)
	burst := func(headers int) func() {
		return func() {
			m.put('M', "<x@example.org>\x00")
			m.get()
			m.put('R', "<bob@acmecorp.com>\x00")
			m.get()
			m.out = append(m.out, strings.Repeat("\x00\x00\x00\x0bLName\x00 val\x00", headers)...)
			m.put('E', "")
			m.get()
		}
	}
	few, many := testing.AllocsPerRun(100, burst(10)), testing.AllocsPerRun(100, burst(900))
	if many > few+50 {
		t.Errorf("%v allocations for a message of 10 headers, %v for one of 900", few, many)
	}
}

// BenchmarkRefusedConnection is one connection of a client that asks for too much,
// as an MTA tells of it.
func BenchmarkRefusedConnection(b *testing.B) {
	rt := newRuntime(b)
	rt.Flood = flood.New()
	rt.Policy.DDoS = policy.DDoS{PerMinute: 1}
	rt.Policy.Points = policy.Points{verdict.S0: {Checks: []policy.Check{{Name: verdict.CheckDDoS, OnHit: verdict.Tempfail}}}}
	l := newLab(b, rt, func(s *Server) { s.Log = slog.New(slog.NewTextHandler(io.Discard, nil)) })
	b.ReportAllocs()
	for b.Loop() {
		m := l.dial(b)
		m.negotiate(6, allActions, allProtocol)
		m.macro('C', "{client_addr}", "192.0.2.1", "v", "Postfix 3.7.11")
		m.connect('4', 4711, "192.0.2.1")
		m.get()
		m.conn.Close()
	}
}
