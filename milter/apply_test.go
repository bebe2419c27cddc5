package milter

import (
	"encoding/binary"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"

	gomilter "github.com/emersion/go-milter"

	"coexistd/policy"
)

// planner is a session as it stands at end of message.
func planner() *session {
	return &session{
		terms:   terms{version: 6, actions: wantedActions, protocol: wantedProtocol},
		message: message{runtime: &Runtime{Policy: &policy.Policy{}}, open: &policy.Case{}},
	}
}

func TestChangesThatNoMTACanTakeChangeNothing(t *testing.T) {
	good := policy.Addition{Address: "a@b.example", ORcpt: "rfc822;a@c.example"}
	add := func(a policy.Addition) policy.Decision {
		return policy.Decision{Delete: []string{"x@c.example"}, Add: []policy.Addition{good, a}}
	}
	if edits, err := planner().plan(new(add(good))); err != nil || len(edits) != 3 {
		t.Fatalf("a good plan: %v, %v", edits, err)
	}
	for name, d := range map[string]policy.Decision{
		"empty path":             {Delete: []string{""}},
		"NUL in path":            {Delete: []string{"a\x00b"}},
		"newline in path":        {Delete: []string{"a\nb"}},
		"long path":              {Delete: []string{strings.Repeat("a", 5000)}},
		"empty address":          add(policy.Addition{ORcpt: "rfc822;x"}),
		"second address":         add(policy.Addition{Address: "a@b> <c@d", ORcpt: "rfc822;x"}),
		"open quote":             add(policy.Addition{Address: "\"a@b", ORcpt: "rfc822;x"}),
		"newline in address":     add(policy.Addition{Address: "a\r\n@b", ORcpt: "rfc822;x"}),
		"second argument":        add(policy.Addition{Address: "a@b", ORcpt: "rfc822;x NOTIFY=NEVER"}),
		"no ORCPT":               add(policy.Addition{Address: "a@b"}),
		"NUL in NOTIFY":          add(policy.Addition{Address: "a@b", Notify: "NEVER\x00", ORcpt: "rfc822;x"}),
		"newline in trace":       {Trace: "v=1\nBcc: x@y"},
		"carriage return":        {Trace: "v=1\r\n\tx"},
		"NUL in trace":           {Trace: "v=1\x00"},
		"blank line in trace":    {Trace: "v=1\n\t \n\tx"},
		"trace of a large frame": {Trace: strings.Repeat("a", maxHeaderValue+1)},
		"newline in a tag":       {Headers: []policy.Field{{Name: "X-Tag", Value: "a\r\nBcc: x@y"}}},
	} {
		if edits, err := planner().plan(&d); err == nil || edits != nil {
			t.Errorf("%s: planned %v, %v", name, edits, err)
		}
	}
	s := planner()
	s.message.runtime.Header = "X Bad"
	if edits, err := s.plan(&policy.Decision{}); err == nil {
		t.Errorf("a bad header name: planned %v", edits)
	}
}

func TestQuotedAddressesArePassedOn(t *testing.T) {
	for _, address := range []string{`"a b"@c.example`, `"a>\"<b"@c.example`, `jörg@c.example`, `a@[192.0.2.1]`} {
		if !isMailbox(address) {
			t.Errorf("%s is refused", address)
		}
	}
}

func TestMessageWithAnUnfitChangeIsPutOff(t *testing.T) {
	rt := newRuntime(t)
	rt.Policy.Domains["acmecorp.com"].Alternates["office365"] = "bad>.example"
	l := newLab(t, rt, nil)
	m := l.postfix(t)
	m.mail("<x@example.org>")
	m.rcpt("<alice@acmecorp.com>")
	m.wantEOM(frame{'y', "451 4.3.0 The message cannot be handled at the moment, try again later\x00"})
	if line := l.message(t); line["verdict"] != "tempfail" || !strings.Contains(line["reason"].(string), "bad>.example") {
		t.Errorf("the log says %v", line)
	}
}

func TestResultHeaderReplacesForgedOnes(t *testing.T) {
	rt := newRuntime(t)
	rt.Header = "X-Coexist"
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
	for range maxForged + 1 {
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

func TestNeverLeavesAMessageWithoutRecipients(t *testing.T) {
	s := planner()
	s.message.admitted = []policy.Recipient{{Path: "a@b"}, {Path: "c@d"}}
	all := policy.Decision{Delete: []string{"a@b", "c@d"}}
	if !s.removesAll(&all) {
		t.Error("both recipients are deleted, and none is added")
	}
	one := policy.Decision{Delete: []string{"a@b", "a@b"}}
	if s.removesAll(&one) {
		t.Error("c@d is left")
	}
	all.Add = []policy.Addition{{Address: "e@f"}}
	if s.removesAll(&all) {
		t.Error("e@f is added")
	}
}

func TestRepliesAreFitForTheMTA(t *testing.T) {
	for reply, want := range map[policy.Reply]string{
		{Code: 550, Enhanced: "5.1.1", Text: "100% no"}:         "y550 5.1.1 100%% no\x00",
		{Code: 550, Enhanced: "5.1.1", Text: "a\r\n250 ok\x00"}: "y550 5.1.1 a??250 ok?\x00",
		{Code: 550, Enhanced: "5.1.1", Text: "jörg"}:            "y550 5.1.1 j?rg\x00",
		{Code: 550, Enhanced: "4.1.1", Text: "x"}:               "t",
		{Code: 250, Enhanced: "2.0.0", Text: "x"}:               "t",
		{Code: 450, Enhanced: "4.x", Text: "x"}:                 "t",
		{}:                                                      "t",
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

func TestLogLinesAreBounded(t *testing.T) {
	rulings := make([]policy.Ruling, 5000)
	for i := range rulings {
		rulings[i] = policy.Ruling{Address: strings.Repeat("a", 5000), Flow: "S0=>LD"}
	}
	list := recipients{rulings: rulings, refused: rulings[:60]}
	var b strings.Builder
	slog.New(slog.NewTextHandler(&b, nil)).Info("message", "recipients", list)
	slog.New(slog.NewJSONHandler(&b, nil)).Info("message", "recipients", list)
	if b.Len() > 2*maxLogged*(maxLoggedText+100) {
		t.Errorf("the log has %d bytes", b.Len())
	}
}

func TestTextLogSaysWhatBecameOfEachRecipient(t *testing.T) {
	list := recipients{
		rulings: []policy.Ruling{{Address: "a@b", Residence: "office365", Flow: "S0=>S4=>O1=>LD", Rewritten: []string{"a@c"}}},
		refused: []policy.Ruling{{Address: "x@b", Verdict: policy.Reject, Reply: policy.Reply{Code: 550, Enhanced: "5.1.1", Text: "No"}}},
	}
	got, _ := list.MarshalText()
	if want := "<x@b> reject: 550 5.1.1 No; <a@b> office365 S0=>S4=>O1=>LD -> a@c"; string(got) != want {
		t.Errorf("got %s, want %s", got, want)
	}
	if got := fmt.Sprint(recipients{}); got == "" {
		t.Error("nothing is printed")
	}
}
