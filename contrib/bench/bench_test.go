package main

import (
	"encoding/binary"
	"io"
	"net"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// fakeMilter answers as its fields say and remembers what the MTA sent.
type fakeMilter struct {
	protocol uint32
	symbols  string   // appended to the negotiation's answer
	answers  []string // packets at end of message; the first byte is the command
	skip     byte     // an event that is answered with skip
	refuse   byte     // an event that is answered with reject

	seen   string   // the commands in order, without macros
	macros []string // the macro packets, in order
	err    error
}

func (f *fakeMilter) serve(conn net.Conn) {
	defer conn.Close()
	for {
		head := make([]byte, 5)
		if _, err := io.ReadFull(conn, head); err != nil {
			f.err = err
			return
		}
		data := make([]byte, binary.BigEndian.Uint32(head)-1)
		if _, err := io.ReadFull(conn, data); err != nil {
			f.err = err
			return
		}
		command := head[4]
		if command == cmdMacro {
			f.macros = append(f.macros, string(data))
			continue
		}
		f.seen += string(command)
		if command == cmdQuit {
			return
		}
		for _, answer := range f.reply(command) {
			packet := binary.BigEndian.AppendUint32(nil, uint32(len(answer)))
			conn.Write(append(packet, answer...))
		}
	}
}

func (f *fakeMilter) reply(command byte) []string {
	noReply := map[byte]uint32{}
	for _, g := range []*stage{&connectStage, &heloStage, &mailStage, &rcptStage, &dataStage, &headerStage, &eohStage, &bodyStage} {
		noReply[g.command] = g.noReply
	}
	switch {
	case command == cmdNegotiate:
		text := binary.BigEndian.AppendUint32([]byte("O"), version)
		text = binary.BigEndian.AppendUint32(text, allActions)
		return []string{string(binary.BigEndian.AppendUint32(text, f.protocol)) + f.symbols}
	case command == cmdEndOfBody:
		return f.answers
	case command == cmdAbort || f.protocol&noReply[command] != 0:
		return nil
	case command == f.skip:
		return []string{string(rune(answerSkip))}
	case command == f.refuse:
		return []string{"r"}
	}
	return []string{string(rune(answerContinue))}
}

// converse sends one message to the milter and quits.
func converse(t *testing.T, mta *speaker, f *fakeMilter) error {
	t.Helper()
	socket := filepath.Join(t.TempDir(), "s")
	l, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	done := make(chan struct{})
	go func() {
		defer close(done)
		if conn, err := l.Accept(); err == nil {
			conn.SetDeadline(time.Now().Add(5 * time.Minute)) // for what hangs
			f.serve(conn)
		}
	}()
	s, err := dial(mta, socket, usualClient)
	if err == nil {
		m := &message{headers: newMessage(4096, false).headers[:2], body: make([]byte, 2*chunkSize+1)}
		err = s.send(m, "4BABCDEF", "news@example.net", "a@acmecorp.com", "a@alt.example")
		if err == nil {
			err = s.quit()
		} else {
			s.conn.Close()
		}
	}
	<-done
	if err == nil && f.err != nil {
		t.Errorf("the milter could not read: %v", f.err)
	}
	return err
}

var rightAnswers = []string{
	"i\x00\x00\x00\x00X-Coexist-Trace\x00v=2\x00",
	"2<a@alt.example>\x00ORCPT=rfc822;a@acmecorp.com\x00",
	"-<a@acmecorp.com>\x00",
	"p",
	"c",
}

func TestSendsEveryEventThatTheMilterWants(t *testing.T) {
	for _, test := range []struct {
		name string
		fake fakeMilter
		want string
	}{
		{"all", fakeMilter{}, "OCHMRTLLNBBBEAAQ"},
		{"no answers", fakeMilter{protocol: 0xff080}, "OCHMRTLLNBBBEAAQ"},
		{"envelope only", fakeMilter{protocol: 0x2 | 0x10 | 0x20 | 0x40 | 0x200}, "OCMREAAQ"},
		{"body skipped", fakeMilter{skip: cmdBody}, "OCHMRTLLNBEAAQ"},
		{"headers skipped", fakeMilter{skip: cmdHeader}, "OCHMRTLNBBBEAAQ"},
	} {
		t.Run(test.name, func(t *testing.T) {
			f := test.fake
			f.answers = rightAnswers
			if err := converse(t, postfix, &f); err != nil {
				t.Fatal(err)
			}
			if f.seen != test.want {
				t.Errorf("the milter saw %s; want %s", f.seen, test.want)
			}
		})
	}
}

func TestSendsTheMacrosThatTheMilterAskedFor(t *testing.T) {
	f := fakeMilter{answers: rightAnswers, symbols: "\x00\x00\x00\x00{client_addr}\x00"}
	if err := converse(t, postfix, &f); err != nil {
		t.Fatal(err)
	}
	if want := "C{client_addr}\x00203.0.113.7\x00"; f.macros[0] != want {
		t.Errorf("macros of CONNECT: %q; want %q", f.macros[0], want)
	}
	if want := "Ei\x004BABCDEF\x00"; f.macros[len(f.macros)-1] != want {
		t.Errorf("macros of the end of message: %q; want %q", f.macros[len(f.macros)-1], want)
	}
	if n := len(f.macros); n != 12 {
		t.Errorf("%d macro packets; want one before each of 12 events", n)
	}
}

func TestSendmailSendsNoAbortAndNoMacrosOfContent(t *testing.T) {
	f := fakeMilter{answers: rightAnswers}
	if err := converse(t, sendmail, &f); err != nil {
		t.Fatal(err)
	}
	if want := "OCHMRTLLNBBBEQ"; f.seen != want {
		t.Errorf("the milter saw %s; want %s", f.seen, want)
	}
	if n := len(f.macros); n != 7 {
		t.Errorf("%d macro packets; want one before each of 7 commands", n)
	}
	if want := "Mi\x004BABCDEF\x00"; !strings.HasPrefix(f.macros[2], want) {
		t.Errorf("macros of MAIL: %q; want the queue id first", f.macros[2])
	}
}

func TestRefusesAWrongAnswer(t *testing.T) {
	for _, test := range []struct {
		name    string
		replace int // which of rightAnswers
		by      []string
		want    string
	}{
		{"no trace header", 0, nil, "inserted 0"},
		{"another header", 0, []string{"i\x00\x00\x00\x00X-Other\x00v\x00"}, "X-Other"},
		{"short header", 0, []string{"i\x00"}, "want X-Coexist-Trace"},
		{"wrong alternate", 1, []string{"2<b@alt.example>\x00ORCPT=rfc822;a@acmecorp.com\x00"}, "b@alt.example"},
		{"ORCPT lost", 1, []string{"2<a@alt.example>\x00\x00"}, "want \"<a@alt.example>"},
		{"added twice", 1, []string{rightAnswers[1], rightAnswers[1]}, "added 2"},
		{"not deleted", 2, nil, "deleted 0"},
		{"deleted in another case", 2, []string{"-<A@acmecorp.com>\x00"}, "A@acmecorp.com"},
		{"rejected", 4, []string{"r"}, "'r'"},
		{"oversized packet", 4, []string{"c" + strings.Repeat("x", maxAnswer)}, "packet of"},
	} {
		t.Run(test.name, func(t *testing.T) {
			answers := slices.Replace(slices.Clone(rightAnswers), test.replace, test.replace+1, test.by...)
			err := converse(t, postfix, &fakeMilter{answers: answers})
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("error %v; want one that names %q", err, test.want)
			}
		})
	}
}

func TestRefusesAMilterThatRefusesTheRecipient(t *testing.T) {
	err := converse(t, postfix, &fakeMilter{answers: rightAnswers, refuse: cmdRcpt})
	if err == nil || !strings.HasPrefix(err.Error(), "RCPT a@acmecorp.com") {
		t.Errorf("error %v; want one about RCPT", err)
	}
}

func TestMessageHasTheSizeThatItIsNamedBy(t *testing.T) {
	for _, trial := range trials {
		m := newMessage(trial.size, trial.checks)
		n := len(m.body)
		for _, h := range m.headers {
			n += len(h.name) + len(h.value) - len("\x00\x00") + len(":\r\n")
		}
		if n != trial.size {
			t.Errorf("%s: %d bytes; want %d", trial.name, n, trial.size)
		}
	}
}

func TestProcessorTimeIsReadBehindAnyCommandName(t *testing.T) {
	got, err := parseCPU([]byte("4711 (a) b (c) S 1 1 1 0 -1 4194304 100 0 0 0 250 50 7 7 20 0 1 0 99 0 0\n"))
	if want := 3 * time.Second; err != nil || got != want {
		t.Errorf("got %v, %v; want %v", got, err, want)
	}
	if _, err := parseCPU([]byte("4711 (a) S 1")); err == nil {
		t.Error("a short line gives no error")
	}
}

func TestSpreadLeavesTheOutliersOut(t *testing.T) {
	for _, test := range []struct {
		figures []float64
		want    spread
	}{
		{[]float64{3, 1, 2}, spread{1, 2, 3}},
		{[]float64{4, 1, 2, 3}, spread{2, 2.5, 3}},
		{[]float64{7}, spread{7, 7, 7}},
		{[]float64{9, 2, 8, 3, 7, 4, 6, 5, 1000, 0, 1}, spread{2, 5, 8}},
	} {
		if got := spreadOf(test.figures); got != test.want {
			t.Errorf("%v: %v; want %v", test.figures, got, test.want)
		}
	}
}

func TestRatioComparesARunWithItsNeighbours(t *testing.T) {
	p := pair{before: sample{rate: 300, cpu: 10}, theirs: sample{rate: 100, cpu: 40}, after: sample{rate: 500, cpu: 30}}
	if p.speed() != 4 || p.cost() != 0.5 {
		t.Errorf("speed %v, cost %v; want 4 and 0.5", p.speed(), p.cost())
	}
}

func TestMemoryIsReadByItsName(t *testing.T) {
	const status = "Name:\tcoexistd\nVmHWM:\t  204800 kB\nVmRSS:\t  102400 kB\n"
	for name, want := range map[string]float64{"VmHWM": 200, "VmRSS": 100} {
		if got, err := parseMemory(status, name); err != nil || got != want {
			t.Errorf("%s is %v, %v; want %v", name, got, err, want)
		}
	}
	if _, err := parseMemory(status, "VmSwap"); err == nil {
		t.Error("what is not there gives no error")
	}
}

func TestEachRoundMovesAnotherMailboxThatLivesHereAndHasAnAlias(t *testing.T) {
	for _, s := range []staff{leastAddresses, 1_000_000} {
		addresses, moved := 0, make(map[int]bool)
		for i := range s.mailboxes() {
			addresses += len(s.addresses(i))
		}
		if addresses != int(s) {
			t.Errorf("%d addresses; want %d", addresses, s)
		}
		for round := range 10 {
			i := s.mover(round)
			if moved[i] || isThere(i) || len(s.addresses(i)) != 2 {
				t.Errorf("of %d addresses, round %d moves mailbox %d", s, round, i)
			}
			moved[i] = true
		}
	}
}

func TestSpanHasTheMedianAndTheEnds(t *testing.T) {
	stays := []stay{{first: 3}, {first: 1}, {first: 2}}
	if got := spanOf("%.1f", stays, func(s stay) float64 { return s.first }); got != "**2.0** (1.0–3.0)" {
		t.Errorf("got %s", got)
	}
	if got := spanOf("%.1f", stays, func(s stay) float64 { return s.poll }); got != "–" {
		t.Errorf("what was not measured is %s", got)
	}
}
