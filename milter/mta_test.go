package milter

import (
	"bufio"
	"encoding/binary"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	gomilter "github.com/emersion/go-milter"

	"coexistd/contrib/fake"
	"coexistd/milter/record"
	"coexistd/milter/sources"
	"coexistd/milter/transaction"
	"coexistd/policy"
	"coexistd/policy/directory"
	"coexistd/policy/networks"
	"coexistd/policy/route"
	"coexistd/policy/seal"
	"coexistd/policy/tenant"
	"coexistd/policy/verdict"
)

const (
	tenantID = "3f2504e0-4f89-11d3-9a0c-0305e82c3301"
	// patience is how long a test waits for what must come. Only what hangs takes so
	// long, on a machine that does other things as well.
	patience = 5 * time.Minute
)

// newRuntime is acmecorp.com with four mailboxes, its MX here.
func newRuntime(t testing.TB) *transaction.Runtime {
	t.Helper()
	domain := &route.Domain{
		Name:       "acmecorp.com",
		Alternates: map[string]string{"office365": "acmecorp-com.onmicrosoft.com"},
	}
	p := policy.New(&policy.Rules{
		Hostname:    "mail.acmecorp.com",
		OurNetworks: networks.SetOf(netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("2001:db8::/32")),
		Delimiters:  "+",
		Routes: route.Rules{
			Platforms: []*route.Platform{{Name: "office365", Letter: "O"}},
			Domains:   map[string]*route.Domain{"acmecorp.com": domain},
			MaxPasses: 3,
		},
		Tenants: tenant.Rules{"office365": {Tenant: tenantID}},
		Points:  policy.Points{},
	}, seal.NewKeys([]byte("0123456789abcdef0123456789abcdef")),
		networks.Live{"office365": {Networks: networks.SetOf(netip.MustParsePrefix("40.92.0.0/15"))}})
	path := filepath.Join(t.TempDir(), "users.csv")
	rows := "address,residence,login\nalice@acmecorp.com,office365,\nbob@acmecorp.com,here,bob\ncarol@acmecorp.com,both,carol\nmia@acmecorp.com,moving,\n"
	if err := os.WriteFile(path, []byte(rows), 0o600); err != nil {
		t.Fatal(err)
	}
	directories := sources.Open([]directory.Source{{Path: path, Domains: p.Routes.Domains, Platforms: p.Routes.Platforms, MaxLoss: 0.1, Delimiters: p.Delimiters}}, nil)
	if err := directories.Err(); err != nil {
		t.Fatal(err)
	}
	log := slog.New(slog.DiscardHandler)
	return &transaction.Runtime{Policy: p, Directory: directories.Set(), World: &transaction.Live{Log: log}, Sinks: []record.Sink{record.Log{Logger: log}}}
}

// live is the world of a runtime.
func live(rt *transaction.Runtime) *transaction.Live { return rt.World.(*transaction.Live) }

// remake makes a runtime's policy anew, after its rules were changed.
func remake(rt *transaction.Runtime) {
	rt.Policy = policy.New(rt.Policy.Rules, rt.Policy.Keys, rt.Policy.Networks)
}

// lab is a running server.
type lab struct {
	*Server
	log     *fake.Log
	address string
	served  chan error
}

// newLab starts a server on a unix socket. Change may alter it before.
func newLab(t testing.TB, rt *transaction.Runtime, change func(*Server)) *lab {
	t.Helper()
	log := fake.NewLog()
	l := &lab{
		Server:  &Server{Runtime: func() *transaction.Runtime { return rt }, Log: log.Logger},
		log:     log,
		address: filepath.Join(t.TempDir(), "m"),
		served:  make(chan error, 1),
	}
	l.timing = defaultTiming
	l.timing.fresh = patience
	if change != nil {
		change(l.Server)
	}
	l.adopt(rt)
	listener, err := net.Listen("unix", l.address)
	if err != nil {
		t.Fatal(err)
	}
	go func() { l.served <- l.Serve(listener, verdict.Undecided) }()
	t.Cleanup(func() { listener.Close() })
	return l
}

// adopt has runtimes write into the lab's log.
func (l *lab) adopt(all ...*transaction.Runtime) {
	for _, rt := range all {
		if rt != nil {
			live(rt).Log, rt.Sinks = l.Log, []record.Sink{record.Log{Logger: l.Log}}
		}
	}
}

// message returns the only message line of the log.
func (l *lab) message(t *testing.T) map[string]any {
	t.Helper()
	lines := l.log.Lines("message")
	if len(lines) != 1 {
		t.Fatalf("%d message lines, want 1:\n%s", len(lines), l.log)
	}
	return lines[0]
}

// frame is one frame from the server.
type frame struct {
	code    byte
	payload string
}

func (f frame) String() string { return fmt.Sprintf("%c%q", f.code, f.payload) }

// mta is the MTA's side of a connection.
type mta struct {
	t    testing.TB
	conn net.Conn
	in   *bufio.Reader
	out  []byte

	agreed gomilter.OptProtocol // what the last negotiation came to
}

const (
	allActions  = gomilter.OptAction(0x1ff)
	allProtocol = gomilter.OptProtocol(0x1fffff)
	// What MTAs call themselves in the macro v.
	postfixVersion  = "Postfix 3.7.11"
	sendmailVersion = "8.17.1.9/8.17.1.9/Debian-2"
	// waitsAtMail is what an MTA offers that waits for the answer to MAIL. To a
	// test that answer tells that the message has begun.
	waitsAtMail = allProtocol &^ gomilter.OptNoMailReply
)

// dial connects without a word.
func (l *lab) dial(t testing.TB) *mta {
	t.Helper()
	conn, err := net.Dial("unix", l.address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return &mta{t: t, conn: conn, in: bufio.NewReader(conn)}
}

// postfix connects as a modern MTA does, with a client at 192.0.2.1.
func (l *lab) postfix(t testing.TB) *mta {
	t.Helper()
	m := l.dial(t)
	m.negotiate(6, allActions, waitsAtMail)
	m.macro('C', "v", postfixVersion)
	m.connect('4', 4711, "192.0.2.1")
	return m
}

// put gathers a frame; it goes out before the next answer is awaited.
func (m *mta) put(code byte, payload string) {
	m.out = binary.BigEndian.AppendUint32(m.out, uint32(len(payload)+1))
	m.out = append(append(m.out, code), payload...)
}

func (m *mta) flush() {
	m.t.Helper()
	m.conn.SetDeadline(time.Now().Add(patience))
	if len(m.out) == 0 { // the server may have closed, with answers still to be read
		return
	}
	if _, err := m.conn.Write(m.out); err != nil {
		m.t.Fatalf("writing to the server: %v", err)
	}
	m.out = m.out[:0]
}

func (m *mta) get() frame {
	m.t.Helper()
	m.flush()
	f, err := m.read()
	if err != nil {
		m.t.Fatalf("reading from the server: %v", err)
	}
	return f
}

func (m *mta) read() (frame, error) {
	var head [4]byte
	if _, err := io.ReadFull(m.in, head[:]); err != nil {
		return frame{}, err
	}
	body := make([]byte, binary.BigEndian.Uint32(head[:]))
	if _, err := io.ReadFull(m.in, body); err != nil {
		return frame{}, err
	}
	return frame{body[0], string(body[1:])}, nil
}

// wantEnd expects that the server closes the connection without a further frame.
func (m *mta) wantEnd() {
	m.t.Helper()
	m.conn.SetDeadline(time.Now().Add(patience))
	if f, err := m.read(); err == nil || os.IsTimeout(err) {
		m.t.Fatalf("got %v, %v; want the end of the connection", f, err)
	}
}

func (m *mta) want(code byte, payload string) {
	m.t.Helper()
	if got, want := m.get(), (frame{code, payload}); got != want {
		m.t.Fatalf("got %v, want %v", got, want)
	}
}

func (m *mta) negotiate(version uint32, actions gomilter.OptAction, protocol gomilter.OptProtocol) (gomilter.OptAction, gomilter.OptProtocol) {
	m.t.Helper()
	var b []byte
	b = binary.BigEndian.AppendUint32(b, version)
	b = binary.BigEndian.AppendUint32(b, uint32(actions))
	b = binary.BigEndian.AppendUint32(b, uint32(protocol))
	m.put('O', string(b))
	f := m.get()
	if f.code != 'O' || len(f.payload) < 12 {
		m.t.Fatalf("the offer was answered by %v", f)
	}
	if got := binary.BigEndian.Uint32([]byte(f.payload)); got != min(version, 6) {
		m.t.Fatalf("the server speaks version %d with an MTA of %d", got, version)
	}
	m.agreed = gomilter.OptProtocol(binary.BigEndian.Uint32([]byte(f.payload[8:])))
	return gomilter.OptAction(binary.BigEndian.Uint32([]byte(f.payload[4:]))), m.agreed
}

func (m *mta) macro(code byte, pairs ...string) {
	m.put('D', string(code)+strings.Join(pairs, "\x00")+"\x00")
}

func (m *mta) connect(family byte, port uint16, addr string) {
	m.put('C', "client.example\x00"+string(family)+string(binary.BigEndian.AppendUint16(nil, port))+addr+"\x00")
}

func (m *mta) onHost() { m.put('C', "localhost\x004\x00\x00127.0.0.1\x00") }

func (m *mta) mail(path string) {
	m.t.Helper()
	m.put('M', path+"\x00")
	if m.agreed&gomilter.OptNoMailReply == 0 {
		m.want('c', "")
	}
}

// rcpt gives a recipient and returns the reply, or "" when it was admitted.
func (m *mta) rcpt(path string, arguments ...string) string {
	m.t.Helper()
	m.put('R', path+"\x00"+strings.Join(append(arguments, ""), "\x00"))
	f := m.get()
	if f.code == 'c' {
		return ""
	}
	return strings.TrimSuffix(f.payload, "\x00")
}

func (m *mta) header(name, value string) { m.put('L', name+"\x00"+value+"\x00") }

// eom ends the message and returns all that the server says to it.
func (m *mta) eom() []frame {
	m.t.Helper()
	m.put('E', "")
	return m.verdict()
}

func (m *mta) verdict() []frame {
	m.t.Helper()
	var all []frame
	for {
		f := m.get()
		all = append(all, f)
		if strings.IndexByte("cadrty", f.code) >= 0 {
			return all
		}
	}
}

// wantEOM ends the message and expects frames; of a trace header, only that it
// is inserted.
func (m *mta) wantEOM(want ...frame) {
	m.t.Helper()
	got := m.eom()
	for i := range got {
		if got[i].code == 'i' && strings.Contains(got[i].payload, seal.TraceHeader) {
			got[i].payload = got[i].payload[:4+len(seal.TraceHeader)+1]
		}
	}
	if fmt.Sprint(got) != fmt.Sprint(want) {
		m.t.Fatalf("end of message:\n got %v\nwant %v", got, want)
	}
}

var (
	deleteAlice = frame{'-', "<alice@acmecorp.com>\x00"}
	deleteBare  = frame{'-', "<alice>\x00"} // of mail that is made on the host
	addAlice    = frame{'2', "<alice@acmecorp-com.onmicrosoft.com>\x00ORCPT=rfc822;alice@acmecorp.com\x00"}
	addTrace    = frame{'i', "\x00\x00\x00\x00" + seal.TraceHeader + "\x00"}
	proceed     = frame{'c', ""}
)

// exchange sends one whole message to bob and expects that it is accepted.
func (m *mta) exchange() {
	m.t.Helper()
	m.mail("<x@example.org>")
	if reply := m.rcpt("<bob@acmecorp.com>"); reply != "" {
		m.t.Fatalf("bob is refused: %s", reply)
	}
	m.wantEOM(proceed)
}
