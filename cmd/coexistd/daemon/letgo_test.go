package daemon

import (
	"strings"
	"testing"

	"coexistd/cmd/coexistd/control"
)

// send sends a message to alice, and returns why it was not taken.
func (s *stand) send() error {
	s.t.Helper()
	c := s.connect()
	defer c.client.Close()
	defer c.Close()
	if err := c.begin(); err != nil {
		return err
	}
	return c.end()
}

const onePerClient = `
[[rate]]
name = "clients"
by = "client"
count = "messages"
limit = 1
per = "1h"
checkpoints = ["S0"]
`

func TestTheLogTellsWhatACommandMadeOfAnEntry(t *testing.T) {
	s := start(t, "")
	if err := s.ask.Settled(s.within(), control.Settled{ID: "vb3kq7x2ma", Result: "deleted", By: "alice\nlevel=ERROR"}); err != nil {
		t.Fatal(err)
	}
	s.said.Wait(t, `msg="an entry of the quarantine was settled by a command" id=vb3kq7x2ma result=deleted by="alice\nlevel=ERROR"`)
}

func TestALimitIsListedAndLetGo(t *testing.T) {
	s := start(t, onePerClient)
	if l, err := s.ask.Limits(s.within()); err != nil || len(l.Buckets) != 0 || l.Error != "" {
		t.Errorf("before any message the limits are %+v, %v", l, err)
	}
	if err := s.send(); err != nil {
		t.Fatal(err)
	}
	if err := s.send(); err == nil {
		t.Fatal("a second message passes")
	}
	l, err := s.ask.Limits(s.within())
	if err != nil || len(l.Buckets) != 1 {
		t.Fatalf("the limits are %+v, %v", l, err)
	}
	if b := l.Buckets[0]; b.Rule != "clients" || b.Key != "198.51.100.7" || b.Used != 1 || b.Burst != 1 || !b.Over || !b.InMemory {
		t.Errorf("the limit is %+v", b)
	}
	if found, err := s.ask.Reset(s.within(), control.Reset{Rule: "clients", Key: "192.0.2.99"}); err != nil || found {
		t.Errorf("of another client there was something to forget: %v, %v", found, err)
	}
	if found, err := s.ask.Reset(s.within(), control.Reset{Rule: "clients", Key: "198.51.100.7"}); err != nil || !found {
		t.Errorf("there was nothing to forget: %v, %v", found, err)
	}
	if err := s.send(); err != nil {
		t.Errorf("after the reset: %v", err)
	}
	_, err = s.ask.Reset(s.within(), control.Reset{Rule: "client", Key: "*"})
	if err == nil || !strings.Contains(err.Error(), `no [[rate]] has the name "client"; it would be one of clients`) {
		t.Errorf("an unknown rule: %v", err)
	}
}

func TestAClientThatIsTurnedAwayIsListedAndLetInAgain(t *testing.T) {
	s := start(t, "\n[check.ddos]\nper_minute = 1\n")
	if l, err := s.ask.Clients(s.within()); err != nil || len(l.Clients) != 0 {
		t.Errorf("before any connection they are %+v, %v", l, err)
	}
	if err := s.send(); err != nil {
		t.Fatal(err)
	}
	if err := s.send(); err == nil {
		t.Fatal("a second connection is let in")
	}
	l, err := s.ask.Clients(s.within())
	if err != nil || len(l.Clients) != 1 {
		t.Fatalf("they are %+v, %v", l, err)
	}
	if one := l.Clients[0]; one.Network != "198.51.100.7" || one.Bound != "per_minute" || one.Until.IsZero() || one.Why == "" {
		t.Errorf("the client is %+v", one)
	}
	if found, err := s.ask.Unblock(s.within(), control.Unblock{Network: "192.0.2.0/24"}); err != nil || found {
		t.Errorf("of another network there was something to forget: %v, %v", found, err)
	}
	if found, err := s.ask.Unblock(s.within(), control.Unblock{Network: "::ffff:198.51.100.7"}); err != nil || !found {
		t.Errorf("there was nothing to forget: %v, %v", found, err)
	}
	if err := s.send(); err != nil {
		t.Errorf("let in again, it is told %v", err)
	}
	if _, err := s.ask.Unblock(s.within(), control.Unblock{Network: "mail.example.net"}); err == nil || !strings.Contains(err.Error(), "write an address like 192.0.2.7") {
		t.Errorf("a name: %v", err)
	}
}
