// Package e2e drives the built coexistd from outside: its daemon behind a real MTA, with
// real scanners and a real Redis, and its commands.
package e2e

import (
	"bytes"
	"cmp"
	"context"
	"slices"
	"strings"
	"testing"
	"time"

	"coexistd/contrib/lab"
	"coexistd/policy/seal"
)

// patience bounds each wait of a test for something that must happen. Only what
// hangs takes so long, on a machine that does other things as well.
const patience = 5 * time.Minute

// deadline is the bound of one wait, from now on.
func deadline(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	t.Cleanup(cancel)
	return ctx
}

// site is a lab.Site with what tests ask of it.
type site struct {
	*lab.Site
	ways
	t *testing.T
}

// startSite starts a site for one test, with the program under test where none is
// said. A race in the daemon fails the test.
func startSite(t *testing.T, c lab.SiteConfig) *site {
	t.Helper()
	var err error
	if c.Program == "" {
		if c.Program, err = program(); err != nil {
			t.Fatal(err)
		}
	}
	p := lab.Lend(t)
	s, err := p.StartSite(deadline(t), c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		err := s.Close()
		if t.Failed() {
			t.Logf("the MTA said:\n%s\ncoexistd said:\n%s", tail(s.Log()), tail(s.Daemon.Log()))
		}
		if err != nil {
			t.Error(err)
		}
		if strings.Contains(s.Daemon.Log(), "DATA RACE") {
			t.Errorf("coexistd has a data race:\n%s", s.Daemon.Log())
		}
	})
	return &site{Site: s, ways: waysOf[cmp.Or(c.MTA, lab.PostfixMTA)], t: t}
}

// in is the same site for a test within the test.
func (s *site) in(t *testing.T) *site { return &site{Site: s.Site, ways: s.ways, t: t} }

// tail is the end of a log, as much as somebody would read.
func tail(log string) string {
	const most = 100_000
	return log[max(0, len(log)-most):]
}

// send hands a message in at the public service, from a client's address.
func (s *site) send(client string, m lab.Mail) lab.Result {
	s.t.Helper()
	r, err := lab.Client{Server: s.Addr("public"), Local: client}.Send(deadline(s.t), m)
	if err != nil {
		s.t.Fatal(err)
	}
	return r
}

// deliver is send for a message that must be taken.
func (s *site) deliver(client string, m lab.Mail) {
	s.t.Helper()
	if r := s.send(client, m); !r.Accepted() {
		s.t.Fatalf("the message from %s was not taken: %+v", client, r)
	}
}

// sinks are the places of arrival, by the names that arrivals uses.
func (s *site) sinks() map[string]*lab.Sink {
	return map[string]*lab.Sink{"here": s.Here, "office365": s.Office, "google": s.Google, "Internet": s.Outside}
}

// arrivals waits until the queue is empty and lists where a message has
// arrived, each as "PLACE ADDRESS", sorted. A copy that is not the message to
// the last byte, below what servers add on top, fails the test.
func (s *site) arrivals(message []byte) []string {
	s.t.Helper()
	s.settle()
	id := messageID(message)
	list := []string{}
	for place, sink := range s.sinks() {
		for _, d := range sink.All() {
			if messageID(d.Data) != id {
				continue
			}
			if !bytes.Equal(below(d.Data), below(message)) {
				s.t.Errorf("the message was changed on its way to %v:\n%q\nwas\n%q", d.To(), d.Data, message)
			}
			for _, to := range d.To() {
				list = append(list, place+" "+to)
			}
		}
	}
	slices.Sort(list)
	return list
}

// settle waits until what was taken has arrived.
func (s *site) settle() {
	s.t.Helper()
	s.do(s.Drain(deadline(s.t)))
}

// do ends the test for an error of what it has had a server do.
func (s *site) do(err error) {
	s.t.Helper()
	if err != nil {
		s.t.Fatal(err)
	}
}

// mustArrive compares where a message has arrived with where it must.
func (s *site) mustArrive(message []byte, want ...string) {
	s.t.Helper()
	slices.Sort(want)
	if got := s.arrivals(message); !slices.Equal(got, want) {
		s.t.Errorf("the message arrived at %q; it must arrive at %q", got, want)
	}
}

// below is a message without what servers and coexistd put on top.
func below(message []byte) []byte {
	return lab.Below(message, "Received", "Return-Path", "Delivered-To", "X-Original-To", seal.TraceHeader, "Authentication-Results")
}

// messageID returns the Message-Id field's value.
func messageID(message []byte) string {
	for line := range bytes.Lines(message) {
		if name, value, _ := bytes.Cut(line, []byte(":")); strings.EqualFold(string(name), "Message-Id") {
			return string(bytes.TrimSpace(value))
		}
	}
	return ""
}

// withHeader puts a header field on top of a message.
func withHeader(field string, message []byte) []byte {
	return append([]byte(field+"\r\n"), message...)
}

// fromTenant makes a message that the Office 365 tenant of the site has sent.
func fromTenant(tenant string, message []byte) []byte {
	return withHeader("X-MS-Exchange-CrossTenant-Id: "+tenant, message)
}
