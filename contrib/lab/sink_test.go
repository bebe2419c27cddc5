package lab

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

func TestASinkKeepsEveryByteThatTheClientSends(t *testing.T) {
	t.Parallel()
	messages := map[string]string{
		"dots":               "Subject: x\r\n\r\n.\r\n..\r\n.a\r\n\r\n.",
		"empty":              "",
		"bare CR and LF":     "a\rb\nc\n.\nd\r\r\n.e\r\n",
		"NUL and 8-bit":      "a: \x00\xff\r\n\r\n\x80\r\n",
		"cut within CRLF":    string(LongLines("a@example.com", "b@example.com", "x", longestCommand-1)),
		"longer than buffer": strings.Repeat("x", 3*longestCommand) + "\r\n.y\r\n",
	}
	sink := startSink(t, SinkConfig{})
	session, err := Client{Server: sink.Addr(), Local: "127.0.5.6"}.Dial(deadline(t))
	if err != nil {
		t.Fatal(err)
	}
	defer session.Close()
	for name, data := range messages {
		r, err := session.Send(deadline(t), Mail{From: "a@example.com", To: To("b@example.com"), Data: []byte(data)})
		if err != nil || !r.Accepted() {
			t.Fatalf("%s: %+v, %v", name, r, err)
		}
		all := sink.All()
		got := all[len(all)-1]
		if want := data; string(got.Data) != want && string(got.Data) != want+"\r\n" {
			t.Errorf("%s: the sink has %.300q, want %.300q", name, got.Data, want)
		}
		if got.Client != "127.0.5.6" {
			t.Errorf("%s came from %s, want 127.0.5.6", name, got.Client)
		}
	}
}

func TestARefusedRecipientGetsTheReplyThatWasAskedFor(t *testing.T) {
	t.Parallel()
	sink := startSink(t, SinkConfig{Refuse: func(r string) *Reply {
		if r == "bob@example.com" {
			return &Reply{550, "5.1.1", "no such user"}
		}
		return nil
	}})
	client := Client{Server: sink.Addr()}
	r := send(t, client, Mail{To: To("bob@example.com", "alice@example.com"), Data: []byte("x\r\n")})
	if want := (Reply{550, "5.1.1", "no such user"}); r.To[0] != want || r.To[0].String() != "550 5.1.1 no such user" {
		t.Errorf("bob got %v, want %v", r.To[0], want)
	}
	if r.To[1].Code != 250 || !r.Accepted() {
		t.Errorf("alice got %v and the message %v", r.To[1], r.Data)
	}
	if all := sink.All(); len(all) != 1 || !slices.Equal(all[0].To(), []string{"alice@example.com"}) {
		t.Errorf("the sink has %+v", all)
	}
	if r := send(t, client, Mail{To: To("bob@example.com"), Data: []byte("x\r\n")}); r.Accepted() || r.Data != (Reply{}) {
		t.Errorf("without a recipient the message got %+v", r)
	}
}

func TestAMessageThatIsCutOffDoesNotCount(t *testing.T) {
	t.Parallel()
	sink, err := StartSink(SinkConfig{})
	if err != nil {
		t.Fatal(err)
	}
	conn, err := net.Dial("tcp", sink.Addr())
	if err != nil {
		t.Fatal(err)
	}
	io.WriteString(conn, "EHLO x\r\nMAIL FROM:<a@example.com>\r\nRCPT TO:<b@example.com>\r\nDATA\r\nhalf a mess")
	replies := bufio.NewScanner(conn)
	for replies.Scan() && !strings.HasPrefix(replies.Text(), "354") {
	}
	conn.Close()
	if err := sink.Close(); err != nil {
		t.Fatal(err)
	}
	if all := sink.All(); len(all) != 0 {
		t.Errorf("the sink has %+v", all)
	}
}

func TestLMTPRepliesForEachRecipient(t *testing.T) {
	t.Parallel()
	sink := startSink(t, SinkConfig{LMTP: true})
	conn, err := net.Dial("tcp", sink.Addr())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	io.WriteString(conn, "LHLO x\r\nMAIL FROM:<>\r\nRCPT TO:<b@example.com>\r\nRCPT TO:<c@example.com>\r\nDATA\r\n")
	replies := bufio.NewScanner(conn)
	for replies.Scan() && !strings.HasPrefix(replies.Text(), "354") {
	}
	io.WriteString(conn, "x\r\n.\r\nQUIT\r\n")
	var codes []string
	for replies.Scan() {
		codes = append(codes, replies.Text()[:3])
	}
	if want := []string{"250", "250", "221"}; !slices.Equal(codes, want) {
		t.Errorf("the replies are %v, want %v", codes, want)
	}
	if _, err := (Client{Server: sink.Addr()}).Dial(deadline(t)); err == nil || !strings.Contains(err.Error(), "refused EHLO: 500") {
		t.Errorf("EHLO at an LMTP server: %v", err)
	}
}

func TestWaitingInVainTellsWhatDidArrive(t *testing.T) {
	t.Parallel()
	sink := startSink(t, SinkConfig{})
	send(t, Client{Server: sink.Addr()}, Mail{From: "a@example.com", To: To("b@example.com"), Data: []byte("x\r\n")})
	ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
	defer cancel()
	_, err := sink.Wait(ctx, to("c@example.com"))
	if !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), `from <a@example.com> to ["b@example.com"]`) {
		t.Errorf("the error is %v", err)
	}
	if _, err := sink.WaitCount(ctx, 2); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("waiting for two of one: %v", err)
	}
	if all, err := sink.WaitCount(deadline(t), 1); err != nil || len(all) != 1 {
		t.Errorf("waiting for one of one: %v, %v", all, err)
	}
}

func TestSendingEndsWithItsContext(t *testing.T) {
	t.Parallel()
	silent, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if _, err := (Client{Server: silent.Addr().String()}).Send(ctx, Mail{}); err == nil {
		t.Error("a server that says nothing gave no error")
	}
}

func TestBelowTakesOnlyTheNamedFieldsFromTheTop(t *testing.T) {
	t.Parallel()
	const own = "Subject: x\r\nReceived: by an earlier server\r\n\r\nbody\r\n"
	cases := map[string]string{
		own: own,
		"Received: a\r\n\tfolded\r\nX-Coexist-Trace: b\r\nreceived: c\r\n" + own: own,
		"Received: a\r\nOther: b\r\n" + own:                                      "Other: b\r\n" + own,
		"Received: a":                                                            "",
		"\r\nReceived: in the body\r\n":                                          "\r\nReceived: in the body\r\n",
	}
	for message, want := range cases {
		if got := Below([]byte(message), "Received", "X-Coexist-Trace"); string(got) != want {
			t.Errorf("below %q is %q, want %q", message, got, want)
		}
	}
}

func TestMadeMessagesAreWholeAndDistinct(t *testing.T) {
	t.Parallel()
	multipart, err := Multipart("a@example.com", "b@example.com", "report", 1000)
	if err != nil {
		t.Fatal(err)
	}
	again, err := Multipart("a@example.com", "b@example.com", "report", 1000)
	if err != nil {
		t.Fatal(err)
	}
	if bytes.Equal(multipart, again) {
		t.Error("two multipart messages are equal")
	}
	for name, m := range map[string][]byte{
		"plain": Plain("a@example.com", "b@example.com", "x"), "8-bit": EightBit("a@example.com", "b@example.com", "x"),
		"long": LongLines("a@example.com", "b@example.com", "x", 998), "multipart": multipart,
	} {
		if !bytes.HasSuffix(m, []byte("\r\n")) || bytes.Count(m, []byte("\n")) != bytes.Count(m, []byte("\r\n")) {
			t.Errorf("%s has lines that do not end with CRLF", name)
		}
		for _, field := range []string{"From: ", "To: ", "Subject: ", "Date: ", "Message-Id: <"} {
			if !bytes.Contains(m, []byte(field)) {
				t.Errorf("%s has no %q", name, field)
			}
		}
	}
	if !bytes.Contains(EightBit("a@example.com", "b@example.com", "x"), []byte("Grüße")) {
		t.Error("the 8-bit message has no 8-bit text")
	}
}

func TestATreeThatIsNotWholeIsNamed(t *testing.T) {
	t.Parallel()
	tree := filepath.Join(t.TempDir(), "postfix")
	if err := os.Mkdir(tree, 0o755); err != nil {
		t.Fatal(err)
	}
	if _, err := unpacked(tree); err == nil || !strings.Contains(err.Error(), "remove "+tree) {
		t.Errorf("the error is %v", err)
	}
}

// FuzzSink holds that a sink gets back what the client stuffed, and that no
// input at all stops it or has it keep what was not ended by a dot.
func FuzzSink(f *testing.F) {
	f.Add([]byte("Subject: x\r\n\r\n.\r\n..\r\na\r\r\n.b\n.\n"))
	f.Add([]byte("EHLO x\r\nMAIL FROM:<\"a>\\\"b\"@c> RET=\r\nRCPT TO:<@a,@b:c@d> ORCPT=x;=y\r\nDATA\r\n.\r\n.\r\nRCPT\r\nQUIT\r\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		got, err := readMessage(bufio.NewReaderSize(bytes.NewReader(stuff(data)), 16), 0)
		if err != nil || !bytes.Equal(got, data) && !bytes.Equal(got, append(bytes.Clone(data), "\r\n"...)) {
			t.Errorf("%q came back as %q, %v", data, got, err)
		}
		sink := &Sink{changed: make(chan struct{})}
		server, client := net.Pipe()
		go func() {
			client.Write(data)
			client.Close()
		}()
		go io.Copy(io.Discard, client)
		receive(sink, server)
		if len(sink.All()) > bytes.Count(data, []byte(".\r\n")) {
			t.Errorf("%q left %+v", data, sink.All())
		}
	})
}
