package milter

import (
	"encoding/binary"
	"strings"
	"sync"
	"testing"

	gomilter "github.com/emersion/go-milter"

	"coexistd/milter/transaction"
	"coexistd/policy/verdict"
)

func TestMessageWithAnUnfitChangeIsPutOff(t *testing.T) {
	rt := newRuntime(t)
	rt.Policy.Routes.Domains["acmecorp.com"].Alternates["office365"] = "bad>.example"
	l := newLab(t, rt, nil)
	m := l.postfix(t)
	m.mail("<x@example.org>")
	m.rcpt("<alice@acmecorp.com>")
	m.wantEOM(frame{'y', "451 4.3.0 The message cannot be handled at the moment, try again later\x00"})
	if line := l.message(t); line["verdict"] != "tempfail" || !strings.Contains(line["reason"].(string), "bad>.example") {
		t.Errorf("the log says %v", line)
	}
	lines := l.log.Lines("a change to a message is not fit for the MTA; the message is put off")
	if len(lines) != 1 || lines[0]["level"] != "WARN" || !strings.Contains(lines[0]["error"].(string), "bad>.example") {
		t.Errorf("the log warns %v", lines)
	}
}

func TestResultHeaderReplacesForgedOnes(t *testing.T) {
	rt := newRuntime(t)
	rt.Policy.Header = "X-Coexist"
	remake(rt)
	l := newLab(t, rt, nil)
	change := func(index uint32) frame {
		return frame{'m', string(binary.BigEndian.AppendUint32(nil, index)) + "X-Coexist\x00\x00"}
	}
	ours := func(value string) frame { return frame{'i', "\x00\x00\x00\x00X-Coexist\x00 " + value + "\x00"} }

	m := l.postfix(t)
	m.mail("<x@example.org>")
	m.rcpt("<bob@acmecorp.com>")
	m.header("X-COEXIST", " point=S2")
	m.header("Subject", " x")
	m.header("x-coexist", " point=S1")
	m.macro('E', "i", "4QID")
	m.wantEOM(change(2), change(1), ours("point=S0; verdict=accept; id=4QID"), proceed)

	m.mail("<x@example.org>")
	m.rcpt("<bob@acmecorp.com>")
	m.macro('E', "i", "evil\r\nid")
	m.wantEOM(ours("point=S0; verdict=accept"), proceed)

	m.mail("<x@example.org>")
	m.rcpt("<bob@acmecorp.com>")
	for range 101 {
		m.header("X-Coexist", " x")
	}
	if got := m.eom()[0]; got.code != 'y' || !strings.HasPrefix(got.payload, "554 5.6.0 ") {
		t.Errorf("very many forged headers: %v", got)
	}

	old := l.dial(t)
	old.negotiate(6, allActions&^gomilter.OptChangeHeader, allProtocol)
	old.mail("<x@example.org>")
	old.rcpt("<bob@acmecorp.com>")
	old.header("X-Coexist", " forged")
	old.wantEOM(proceed)
}

func TestRepliesAreFitForTheMTA(t *testing.T) {
	for reply, want := range map[verdict.Reply]string{
		{Code: 550, Enhanced: "5.1.1", Text: "100% no"}:         "y550 5.1.1 100%% no\x00",
		{Code: 550, Enhanced: "5.1.1", Text: "a\r\n250 ok\x00"}: "y550 5.1.1 a??250 ok?\x00",
		{Code: 550, Enhanced: "5.1.1", Text: "jörg"}:            "y550 5.1.1 j?rg\x00",
		{}: "t",
	} {
		s := &session{conn: newConn(nil, defaultTiming, new(sync.Pool))}
		s.refuse(reply)
		if got := string(s.conn.out[4:]); got != want {
			t.Errorf("%+v: got %q, want %q", reply, got, want)
		}
	}
	if got := len(replyText(strings.Repeat("x", 5000))); got != maxReplyText {
		t.Errorf("a long reply has %d bytes", got)
	}
}

func TestAMessageOfWhichNothingIsDecidedIsPutOff(t *testing.T) {
	s := &session{conn: newConn(nil, defaultTiming, new(sync.Pool))}
	s.apply(transaction.Answer{})
	if got := string(s.conn.out[4:]); got != "t" {
		t.Errorf("the MTA gets %q", got)
	}
}
