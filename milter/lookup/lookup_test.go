package lookup

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"coexistd/contrib/fake"
	"coexistd/milter/listen"
	"coexistd/milter/sources"
	"coexistd/policy"
	"coexistd/policy/directory"
	"coexistd/policy/mail"
	"coexistd/policy/networks"
	"coexistd/policy/route"
	"coexistd/policy/seal"
)

// deadline bounds each wait for what must come. Only what hangs takes so long, on a
// machine that does other things as well.
const deadline = 5 * time.Minute

const users = `address,residence,login,target
alice@acmecorp.com,office365,al,
bob@acmecorp.com,here,bob,
carol@acmecorp.com,both:google,"carol, dave",
ed@acmecorp.com,moving,,
frank+vip@acmecorp.com,office365,vip,
frank@acmecorp.com,here,frank,
"""a, b""@acmecorp.com",google,,
tina@acmecorp.com,google,,Tina.Smith@targets.example
rita@acmecorp.com,hosted,,
uwe@acmecorp.com,both:hosted,,uwe@in.hosted.example
ed@shared.example,office365,,
eve@shared.example,here,,
`

var keys = seal.NewKeys([]byte("the secret of the tests"))

// hiddenBob is how the MTA knows somebody whom a [[route]] takes to a relay.
var hiddenBob = func() string {
	bob, err := mail.ParseAddress("Bob+x@acmecorp.com", "+")
	if err != nil {
		panic(err)
	}
	return route.Hide(keys, bob, "[filter.example]:2525")
}()

func world(t testing.TB) (*policy.Policy, *directory.Set) {
	t.Helper()
	alternates := map[string]string{"office365": "acmecorp-com.onmicrosoft.com", "google": "gapps.acmecorp.com"}
	demands := []policy.TLS{
		{Name: "the bank", Domains: []string{"bank.example"}, Out: policy.Secure, Version: 12, Names: []string{"mx.bank.example"}},
		{Name: "the cloud", Platform: "office365", Out: policy.Encrypt},
	}
	p := policy.New(&policy.Rules{Hostname: "mail.acmecorp.com", Delimiters: "+", TLS: demands, Routes: route.Rules{
		Platforms: []*route.Platform{
			{Name: "google", Letter: "G", TargetDomains: []string{"targets.example"}, MayRelay: true},
			{Name: "hosted", Letter: "H", ByRelay: true, Relay: "[hosted.example]:25", TargetDomains: []string{"in.hosted.example"}},
			{Name: "office365", Letter: "O", Relay: "[acmecorp-com.mail.protection.outlook.com]:25"},
		},
		Domains: map[string]*route.Domain{
			"acmecorp.com": {Name: "acmecorp.com", Alternates: alternates, Platforms: []string{"hosted"}},
			"all.example": {Name: "all.example",
				Unlisted: route.Residence{Kind: route.There, Platform: "office365"}, Alternates: map[string]string{"office365": "all.onmicrosoft.com"}},
			"3.example": {Name: "3.example",
				Unlisted: route.Residence{Kind: route.There, Platform: "office365"}, Alternates: map[string]string{"office365": "3.onmicrosoft.com"}},
			"open.example":      {Name: "open.example", Unlisted: route.Residence{Kind: route.Here}},
			"shared.example":    {Name: "shared.example", Unlisted: route.Residence{Kind: route.Here}, Alternates: map[string]string{"office365": "shared.onmicrosoft.com"}},
			"broken.example":    {Name: "broken.example"},
			"mail.acmecorp.com": {Name: "mail.acmecorp.com", SameAs: "acmecorp.com", Unlisted: route.Residence{Kind: route.Here}},
		},
	}}, keys, networks.Live{
		"google":    {Networks: networks.SetOf(netip.MustParsePrefix("192.0.2.0/24"), netip.MustParsePrefix("2001:db8::/32"))},
		"hosted":    {Pending: true},
		"office365": {Networks: networks.SetOf(netip.MustParsePrefix("198.51.100.0/24"))},
	})
	path := filepath.Join(t.TempDir(), "users.csv")
	if err := os.WriteFile(path, []byte(users), 0o600); err != nil {
		t.Fatal(err)
	}
	directories := sources.Open([]directory.Source{{Path: path, Domains: p.Routes.Domains, Platforms: p.Routes.Platforms, Delimiters: "+"}}, nil)
	if err := directories.Err(); err != nil {
		t.Fatal(err)
	}
	return p, directory.NewSet(map[string][]*directory.Snapshot{"acmecorp.com": {directories[0].Snapshot}, "shared.example": {directories[0].Snapshot}, "broken.example": {nil}},
		map[string]string{"mail.acmecorp.com": "acmecorp.com"})
}

// cases are requests with their replies.
var cases = [][2]string{
	{"recipients alice@acmecorp.com", "OK office365"},
	{"recipients ALICE+x@AcmeCorp.com", "OK office365"},
	{"recipients bob@acmecorp.com", "OK here"},
	{"recipients carol@acmecorp.com", "OK both"},
	{"recipients ed@acmecorp.com", "OK moving"},
	{"recipients postmaster@acmecorp.com", "OK here"},
	{"recipients Abuse@acmecorp.com", "OK here"},
	{"recipients nobody@acmecorp.com", notFound},
	{"recipients nobody@all.example", "OK office365"},
	{"recipients nobody@open.example", notFound},
	{"recipients postmaster@open.example", notFound},
	{"recipients ed@shared.example", "OK office365"},
	{"recipients ED+x@shared.example", "OK office365"},
	{"recipients eve@shared.example", "OK here"},
	{"recipients nobody@shared.example", notFound},
	{"recipients alice@other.example", notFound},
	{"recipients alice@gapps.acmecorp.com", notFound},
	{"recipients alice", notFound},
	{"recipients @acmecorp.com", notFound},
	{"recipients acmecorp.com", notFound},
	{"recipients <alice@acmecorp.com>", notFound},
	{"recipients ", notFound},
	{"recipients *", notFound},
	{"recipients a@broken.example", failed},
	{"recipients postmaster@broken.example", failed},

	// The host's own name has the same people.
	{"recipients alice@mail.acmecorp.com", "OK office365"},
	{"recipients bob@mail.acmecorp.com", notFound},
	{"recipients root@mail.acmecorp.com", notFound},
	{"aliases Alice+x@mail.acmecorp.com", "OK Alice+x@acmecorp-com.onmicrosoft.com"},
	{"aliases tina@mail.acmecorp.com", "OK Tina.Smith@targets.example"},
	{"aliases carol@mail.acmecorp.com", "OK carol@mail.acmecorp.com, carol@gapps.acmecorp.com"},
	{"aliases rita@mail.acmecorp.com", "OK rita@acmecorp.com"},
	{"aliases bob@mail.acmecorp.com", notFound},
	{"aliases root@mail.acmecorp.com", notFound},
	{"transport alice@mail.acmecorp.com", "OK smtp:[acmecorp-com.mail.protection.outlook.com]:25"},
	{"transport root@mail.acmecorp.com", notFound},
	{"senders bob@mail.acmecorp.com", "OK bob"},
	{"sendmail alice@mail.acmecorp.com", "OK alice@acmecorp-com.onmicrosoft.com"},
	{"sendmail rita@mail.acmecorp.com", "OK rita@acmecorp.com"},
	{"sendmail rita@acmecorp.com", "OK esmtp:[hosted.example]"},
	{`sendmail "|/bin/cat"@mail.acmecorp.com`, notFound},
	{"sendmail root@mail.acmecorp.com", notFound},

	{"aliases Alice@acmecorp.com", "OK Alice@acmecorp-com.onmicrosoft.com"},
	{"aliases alice+X@acmecorp.com", "OK alice+X@acmecorp-com.onmicrosoft.com"},
	{"aliases frank+vip@acmecorp.com", "OK frank+vip@acmecorp-com.onmicrosoft.com"},
	{"aliases frank+x@acmecorp.com", notFound},
	{"aliases Carol+x@acmecorp.com", "OK Carol+x@acmecorp.com, Carol+x@gapps.acmecorp.com"},
	{`aliases "a, b"@acmecorp.com`, `OK "a, b"@gapps.acmecorp.com`},
	{"aliases bob@acmecorp.com", notFound},
	{"aliases ed@acmecorp.com", notFound},
	{"aliases nobody@acmecorp.com", notFound},
	{"aliases postmaster@acmecorp.com", notFound},
	{"aliases nobody@open.example", notFound},
	{"aliases nobody@shared.example", notFound},
	{"aliases ed@shared.example", "OK ed@shared.onmicrosoft.com"},
	{"aliases nobody@all.example", "OK nobody@all.onmicrosoft.com"},
	{"aliases eve@evil.example,nobody@all.example", notFound},
	{`aliases "eve@evil.example,nobody"@all.example`, `OK "eve@evil.example,nobody"@all.onmicrosoft.com`},
	{"aliases alice@acmecorp-com.onmicrosoft.com", notFound},
	{"aliases carol@gapps.acmecorp.com", notFound},
	{"aliases alice", notFound},
	{"aliases @acmecorp.com", notFound},
	{"aliases alice@broken.example", failed},

	{"members Alice@acmecorp.com", "OK Alice@acmecorp-com.onmicrosoft.com"},
	{"members carol@acmecorp.com", notFound},
	{"members bob@acmecorp.com", notFound},
	{"members alice@broken.example", failed},

	{"sendmail Alice+x@acmecorp.com", "OK Alice+x@acmecorp-com.onmicrosoft.com"},
	{"sendmail_rcpt Alice+x@acmecorp.com", "OK Alice+x@Acmecorp-com.onmicrosoft.com"},
	{`sendmail_rcpt "a, b"@acmecorp.com`, `OK "a, b"@Gapps.acmecorp.com`},
	{"sendmail_rcpt nobody@3.example", "OK nobody@3.Onmicrosoft.com"},
	{"sendmail_rcpt bob@acmecorp.com", notFound},
	{"sendmail nobody@shared.example", notFound},
	{"sendmail_rcpt nobody@shared.example", notFound},
	{"sendmail ed@shared.example", "OK ed@shared.onmicrosoft.com"},
	{"sendmail_rcpt alice@broken.example", failed},
	{"sendmail alice@acmecorp-com.onmicrosoft.com", "OK esmtp:[acmecorp-com.mail.protection.outlook.com]"},
	{"sendmail carol@gapps.acmecorp.com", notFound},
	{"sendmail tina+x@acmecorp.com", "OK Tina.Smith+x@targets.example"},
	{"sendmail_rcpt tina@acmecorp.com", "OK Tina.Smith@Targets.example"},
	{"sendmail rita+x@acmecorp.com", "OK esmtp:[hosted.example]"},
	{"sendmail_rcpt rita@acmecorp.com", "OK esmtp:[hosted.example]"},
	{"sendmail uwe@acmecorp.com", notFound},
	{"sendmail uwe@in.hosted.example", "OK esmtp:[hosted.example]"},
	{"aliases tina@acmecorp.com", "OK Tina.Smith@targets.example"},
	{"aliases Rita+x@acmecorp.com", "OK Rita+x@acmecorp.com"},
	{"members rita@acmecorp.com", "OK rita@acmecorp.com"},
	{"aliases uwe@acmecorp.com", "OK uwe@acmecorp.com, uwe@in.hosted.example"},
	{"recipients rita@acmecorp.com", "OK hosted"},
	{"transport tina@acmecorp.com", "OK smtp:targets.example"},
	{"transport rita+x@acmecorp.com", "OK smtp:[hosted.example]:25"},
	{"transport uwe@acmecorp.com", notFound},
	{"transport uwe@in.hosted.example", "OK smtp:[hosted.example]:25"},
	{"sendmail bob@acmecorp.com", notFound},
	{"sendmail carol@acmecorp.com", notFound},
	{"sendmail postmaster@acmecorp.com", notFound},
	{"sendmail ed@acmecorp.com", `OK error:4.2.1:"450 4.2.1 The mailbox is being moved, try again later"`},
	{"sendmail nobody@acmecorp.com", `OK error:5.1.1:"550 5.1.1 The address is not known here"`},
	{"sendmail nobody@all.example", "OK nobody@all.onmicrosoft.com"},
	{"sendmail eve@example.net", notFound},
	{"sendmail bob", notFound},
	{"sendmail alice@broken.example", failed},

	{"transport alice@acmecorp-com.onmicrosoft.com", "OK smtp:[acmecorp-com.mail.protection.outlook.com]:25"},
	{"transport acmecorp-com.onmicrosoft.com", "OK smtp:[acmecorp-com.mail.protection.outlook.com]:25"},
	{"transport all.OnMicrosoft.com", "OK smtp:[acmecorp-com.mail.protection.outlook.com]:25"},
	{"transport carol@gapps.acmecorp.com", notFound},
	{"transport gapps.acmecorp.com", notFound},
	{"transport acmecorp.com", notFound},
	{"transport .onmicrosoft.com", notFound},
	{"transport *", notFound},
	{"transport ", notFound},
	{"transport alice@acmecorp.com", "OK smtp:[acmecorp-com.mail.protection.outlook.com]:25"},
	{"transport bob@acmecorp.com", notFound},
	{"transport carol@acmecorp.com", notFound},
	{"transport ed@acmecorp.com", "OK ./retry:4.2.1 The mailbox is being moved, try again later"},
	{"transport ed+x@acmecorp.com", "OK ./retry:4.2.1 The mailbox is being moved, try again later"},
	{"transport nobody@acmecorp.com", "OK ./error:5.1.1 The address is not known here"},
	{"transport abuse@acmecorp.com", notFound},
	{"transport nobody@all.example", "OK smtp:[acmecorp-com.mail.protection.outlook.com]:25"},
	{`transport "a, b"@acmecorp.com`, "OK smtp:gapps.acmecorp.com"},
	{"transport alice@other.example", notFound},
	{"transport alice@broken.example", "OK ./retry:4.3.0 The directory cannot be read at the moment, try again later"},

	{"networks 192.0.2.7", "OK permit"},
	{"networks 2001:db8::7", "OK permit"},
	{"networks ::ffff:192.0.2.7", "OK permit"},
	{"networks 198.51.100.7", notFound},
	{"networks 203.0.113.7", notYet},
	{"networks 192.0.2", notFound},
	{"networks unknown", notFound},
	{"networks mail.example.net", notFound},
	{"senders alice@acmecorp.com", "OK al"},
	{"senders Alice+x@acmecorp.com", "OK al"},
	{"senders frank+vip@acmecorp.com", "OK vip"},
	{"senders carol@acmecorp.com", "OK carol, dave"},
	{"senders ed@acmecorp.com", notFound},
	{"senders nobody@acmecorp.com", notFound},
	{"senders alice@other.example", notFound},
	{"senders alice@broken.example", failed},

	{"transport " + hiddenBob, "OK smtp-route:[filter.example]:2525"},
	{"transport " + strings.Replace(hiddenBob, "p2525", "p25", 1), "OK ./retry:4.3.5 The next hop of the address is not known here, try again later"},
	{"transport " + hiddenBob[strings.IndexByte(hiddenBob, '@')+1:], notFound},
	{"transport x@route.invalid", "OK ./retry:4.3.5 The next hop of the address is not known here, try again later"},
	{"generic " + hiddenBob, "OK Bob+x@acmecorp.com"},
	{"generic " + strings.Replace(hiddenBob, "p2525", "p25", 1), notFound},
	{"generic bob@acmecorp.com", notFound},
	{"generic @acmecorp.com", notFound},
	{"aliases " + hiddenBob, notFound},
	{"recipients " + hiddenBob, notFound},
	{"sendmail " + hiddenBob, "OK coexistd2525:[filter.example]:Bob+x@acmecorp.com"},
	{"sendmail x@y.route.invalid", `OK error:4.3.5:"451 4.3.5 The next hop of the address is not known here, try again later"`},
	{"tls bank.example", "OK secure match=mx.bank.example protocols=!SSLv2:!SSLv3:!TLSv1:!TLSv1.1"},
	{"tls Bank.Example", "OK secure match=mx.bank.example protocols=!SSLv2:!SSLv3:!TLSv1:!TLSv1.1"},
	{"tls [acmecorp-com.mail.protection.outlook.com]:25", "OK encrypt protocols=!SSLv2:!SSLv3"},
	{"tls acmecorp-com.onmicrosoft.com", "OK encrypt protocols=!SSLv2:!SSLv3"},
	{"tls .bank.example", notFound},
	{"tls acmecorp.com", notFound},
	{"tls ", notFound},
	{"bogus alice@acmecorp.com", `PERM unknown map "bogus"; there are recipients, aliases, members, transport, senders, networks, tls, generic, sendmail, sendmail_rcpt`},
	{" alice@acmecorp.com", `PERM unknown map ""; there are recipients, aliases, members, transport, senders, networks, tls, generic, sendmail, sendmail_rcpt`},
	{"recipients", noKey},
	{"", noKey},
}

// running is a Server on a Unix socket.
type running struct {
	*Server
	path   string
	log    *fake.Log
	served chan error
}

func run(t *testing.T, server *Server) *running {
	t.Helper()
	p, set := world(t)
	server.fresh = cmp.Or(server.fresh, deadline)
	r := &running{Server: server, path: filepath.Join(t.TempDir(), "s"), log: fake.NewLog(), served: make(chan error, 1)}
	r.Runtime = func() (*policy.Policy, *directory.Set) { return p, set }
	r.Log = r.log.Logger
	l, err := net.Listen("unix", r.path)
	if err != nil {
		t.Fatal(err)
	}
	go func() { r.served <- r.Serve(l) }()
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), deadline)
		defer cancel()
		if err := r.Shutdown(ctx); err != nil {
			t.Error(err)
		}
	})
	return r
}

func (r *running) dial(t *testing.T) net.Conn {
	t.Helper()
	c, err := net.Dial("unix", r.path)
	if err != nil {
		t.Fatal(err)
	}
	c.SetDeadline(time.Now().Add(deadline))
	t.Cleanup(func() { c.Close() })
	return c
}

func netstring(s string) string { return fmt.Sprintf("%d:%s,", len(s), s) }

func TestAnswers(t *testing.T) {
	c := run(t, &Server{}).dial(t)
	r := bufio.NewReader(c)
	for _, request := range cases {
		io.WriteString(c, netstring(request[0]))
		reply, err := readNetstring(r)
		if err != nil {
			t.Fatalf("%s: %v", request[0], err)
		}
		if reply != request[1] {
			t.Errorf("%s: got %q, want %q", request[0], reply, request[1])
		}
	}
}

func TestMapsThatSayWhereMailGoesHoldNothingOfWhatIsObserved(t *testing.T) {
	p, set := world(t)
	observed := *p.Rules
	observed.Observe = true
	observed.Routes.Domains = make(map[string]*route.Domain)
	for name, domain := range p.Routes.Domains {
		other := *domain
		other.Observe = name != "all.example"
		observed.Routes.Domains[name] = &other
	}
	observing := policy.New(&observed, p.Keys, p.Networks)
	held := 0
	for _, c := range cases {
		request, want := c[0], c[1]
		name, _, _ := strings.Cut(request, " ")
		says := slices.Contains([]string{"aliases", "members", "transport", "tls", "sendmail", "sendmail_rcpt"}, name)
		if lower := strings.ToLower(request); says && !strings.Contains(lower, "@all.example") && !strings.Contains(lower, "all.onmicrosoft.com") && !strings.Contains(lower, "route.invalid") {
			want = notFound
			held++
		}
		if got := answer(observing, set, request); got != want {
			t.Errorf("%q: got %q, want %q", request, got, want)
		}
	}
	if held == 0 {
		t.Error("no case is of such a map")
	}
}

func TestAnswersRequestsThatComeAtOnceAndInPieces(t *testing.T) {
	c := run(t, &Server{}).dial(t)
	var all strings.Builder
	for _, request := range cases {
		all.WriteString(netstring(request[0]))
	}
	// All but the last byte: each whole request has its reply before the rest
	// of the last one is sent.
	text := all.String()
	io.WriteString(c, text[:len(text)-1])
	r := bufio.NewReader(c)
	for i, request := range cases {
		if i == len(cases)-1 {
			io.WriteString(c, text[len(text)-1:])
		}
		if reply, err := readNetstring(r); err != nil || reply != request[1] {
			t.Fatalf("%s: got %q, %v, want %q", request[0], reply, err, request[1])
		}
	}
}

func TestClosesAConnectionThatSendsGarbage(t *testing.T) {
	good := netstring("recipients bob@acmecorp.com")
	for _, garbage := range []string{
		"GET / HTTP/1.1\r\n\r\n", ":", "-1:x,", "01:x,", "1:xy", "10001:", "99999999999999999999:", "\x00", "+3:abc,", " 3:abc,",
	} {
		server := run(t, &Server{})
		c := server.dial(t)
		io.WriteString(c, good+garbage)
		reply, err := io.ReadAll(c)
		if string(reply) != netstring("OK here") || err != nil && !strings.Contains(err.Error(), "reset") {
			t.Errorf("%q: the replies are %q, %v", garbage, reply, err)
		}
		shutdown(t, server)
		if !strings.Contains(server.log.String(), "a lookup connection was closed") {
			t.Errorf("%q: the log says nothing", garbage)
		}
	}
}

func TestTakesTheLongestRequest(t *testing.T) {
	c := run(t, &Server{}).dial(t)
	io.WriteString(c, netstring("recipients "+strings.Repeat("x", maxRequest-len("recipients "))))
	if reply, err := readNetstring(bufio.NewReader(c)); err != nil || reply != notFound {
		t.Errorf("got %q, %v", reply, err)
	}
}

func TestARequestThatStallsIsLoggedAndAnIdleConnectionIsNot(t *testing.T) {
	const soon = 20 * time.Millisecond
	good := netstring("recipients bob@acmecorp.com")
	for begin, s := range map[string]*Server{
		"":                {fresh: soon, idle: deadline, begun: deadline},
		"27:recip":        {fresh: soon, idle: deadline, begun: deadline},
		good:              {idle: soon, begun: deadline},
		good + "27:recip": {idle: deadline, begun: soon},
	} {
		logged := strings.HasSuffix(begin, "recip")
		server := run(t, s)
		c := server.dial(t)
		io.WriteString(c, begin)
		if rest, err := io.ReadAll(c); string(rest) != map[bool]string{true: netstring("OK here")}[strings.HasPrefix(begin, good)] || err != nil {
			t.Errorf("%q: %q, %v", begin, rest, err)
		}
		// The log line follows the closing.
		shutdown(t, server)
		if got := strings.Contains(server.log.String(), "the request broke off"); got != logged {
			t.Errorf("%q: the log is %q", begin, server.log.String())
		}
	}
}

// single is a listener on which one connection comes.
type single struct {
	conn   chan net.Conn
	once   sync.Once
	closed chan struct{}
}

func (s *single) Accept() (net.Conn, error) {
	select {
	case c := <-s.conn:
		return c, nil
	case <-s.closed:
		return nil, net.ErrClosed
	}
}

func (s *single) Close() error {
	s.once.Do(func() { close(s.closed) })
	return nil
}

func (s *single) Addr() net.Addr { return &net.UnixAddr{Net: "unix"} }

func TestAConnectionIsKeptWhileTheClientOfAnMTASendsAMessage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, set := world(t)
		server := &Server{Runtime: func() (*policy.Policy, *directory.Set) { return p, set }, Log: fake.NewLog().Logger}
		ours, theirs := net.Pipe()
		l := &single{conn: make(chan net.Conn, 1), closed: make(chan struct{})}
		l.conn <- ours
		served := make(chan error)
		go func() { served <- server.Serve(l) }()
		r := bufio.NewReader(theirs)
		for range 2 {
			io.WriteString(theirs, netstring("recipients bob@acmecorp.com"))
			if reply, err := readNetstring(r); err != nil || reply != "OK here" {
				t.Errorf("got %q, %v", reply, err)
			}
			time.Sleep(2 * time.Hour)
		}
		if err := errors.Join(server.Shutdown(t.Context()), <-served); err != nil {
			t.Error(err)
		}
	})
}

func shutdown(t *testing.T, server *running) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), deadline)
	defer cancel()
	if err := server.Shutdown(ctx); err != nil {
		t.Error(err)
	}
}

func TestShutdownClosesIdleConnectionsAndEndsServe(t *testing.T) {
	server := run(t, &Server{})
	c := server.dial(t)
	io.WriteString(c, netstring("recipients bob@acmecorp.com"))
	r := bufio.NewReader(c)
	if reply, err := readNetstring(r); err != nil || reply != "OK here" {
		t.Fatalf("got %q, %v", reply, err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), deadline)
	defer cancel()
	if err := server.Shutdown(ctx); err != nil {
		t.Error(err)
	}
	if _, err := r.ReadByte(); err != io.EOF {
		t.Errorf("the idle connection: %v", err)
	}
	select {
	case err := <-server.served:
		if err != nil {
			t.Errorf("Serve: %v", err)
		}
	case <-ctx.Done():
		t.Error("Serve has not returned")
	}
	if _, err := net.Dial("unix", server.path); err == nil {
		t.Error("the listener is still open")
	}
	l, err := net.Listen("unix", server.path)
	if err != nil {
		t.Fatal(err)
	}
	if err := server.Serve(l); err != nil {
		t.Errorf("Serve after Shutdown: %v", err)
	}
}

func TestShutdownLetsARequestFinishUntilItsTimeIsUp(t *testing.T) {
	for _, patient := range []bool{true, false} {
		server := run(t, &Server{})
		entered, release := make(chan struct{}), make(chan struct{})
		inner := server.Runtime
		server.Runtime = func() (*policy.Policy, *directory.Set) {
			close(entered)
			<-release
			return inner()
		}
		c := server.dial(t)
		io.WriteString(c, netstring("recipients bob@acmecorp.com"))
		<-entered
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- server.Shutdown(ctx) }()
		for {
			other, err := net.Dial("unix", server.path)
			if err != nil {
				break // the listener is closed
			}
			other.Close()
		}
		if !patient {
			cancel()
			if _, err := io.ReadAll(c); err != nil && !strings.Contains(err.Error(), "reset") {
				t.Error(err)
			}
		}
		close(release)
		if patient {
			if reply, err := readNetstring(bufio.NewReader(c)); err != nil || reply != "OK here" {
				t.Errorf("got %q, %v", reply, err)
			}
		}
		if err := <-done; patient != (err == nil) || !patient && !errors.Is(err, context.Canceled) {
			t.Errorf("patient %v: %v", patient, err)
		}
		cancel()
	}
}

func TestSilentConnectionsGiveWayToOthers(t *testing.T) {
	const most = 50
	server := &Server{Sessions: listen.Sessions{Max: most, Grace: time.Nanosecond}}
	server.Sessions.Log = slog.New(slog.DiscardHandler)
	r := run(t, server)
	ask := func(c net.Conn, letters string) {
		t.Helper()
		io.WriteString(c, letters)
		if reply, err := readNetstring(bufio.NewReader(c)); err != nil || reply != "OK here" {
			t.Fatalf("got %q, %v", reply, err)
		}
	}
	mustEnd := func(c net.Conn) {
		t.Helper()
		if rest, err := io.ReadAll(c); len(rest) > 0 || errors.Is(err, os.ErrDeadlineExceeded) {
			t.Fatalf("the connection that must give way said %q, %v", rest, err)
		}
	}
	good := netstring("recipients bob@acmecorp.com")
	begun := r.dial(t)
	// A connection rests a moment after its client has the reply.
	allRest := func() {
		isBusy := func(c listen.Connection) bool { return c.State == listen.Busy }
		for slices.ContainsFunc(r.Connections(), isBusy) {
			runtime.Gosched()
		}
	}
	ask(begun, good+"27:recip")
	allRest()
	asked := r.dial(t)
	ask(asked, good)
	allRest()
	var silent []net.Conn
	for range most - 2 {
		silent = append(silent, r.dial(t))
	}
	for _, c := range append(silent, begun, asked) {
		for n := len(r.Connections()); n < most; n = len(r.Connections()) {
			runtime.Gosched()
		}
		newcomer := r.dial(t)
		ask(newcomer, good)
		mustEnd(c)
	}
	for range 2 * most {
		ask(r.dial(t), good)
	}
}

func TestAPanicIsTheEndOfItsConnectionAlone(t *testing.T) {
	r := run(t, &Server{})
	sound := r.Runtime
	var failed atomic.Bool
	r.Runtime = func() (*policy.Policy, *directory.Set) {
		if !failed.Swap(true) {
			panic("a fault of ours")
		}
		return sound()
	}
	question := netstring("recipients bob@acmecorp.com")
	first, second := r.dial(t), r.dial(t)
	io.WriteString(first, question)
	if rest, err := io.ReadAll(first); len(rest) > 0 || errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("the one that failed said %q, %v", rest, err)
	}
	io.WriteString(second, question)
	if reply, err := readNetstring(bufio.NewReader(second)); err != nil || reply != "OK here" {
		t.Errorf("the other one said %q, %v", reply, err)
	}
	r.log.Wait(t, `panic="a fault of ours"`)
}

// A question that comes in the instant in which its connection is to give way has its whole
// answer, or none.
func TestAnAnswerIsNotCutOff(t *testing.T) {
	server := &Server{Sessions: listen.Sessions{Max: 1, Grace: time.Nanosecond}}
	server.Sessions.Log = slog.New(slog.DiscardHandler)
	r := run(t, server)
	good := netstring("recipients bob@acmecorp.com")
	var answered, closed int
	for range 300 {
		c := r.dial(t)
		io.WriteString(c, good)
		if reply, err := readNetstring(bufio.NewReader(c)); err != nil {
			closed++ // by the one that came in the round before
			c.Close()
			continue
		} else if reply != "OK here" {
			t.Fatalf("got %q", reply)
		}
		go func() {
			if other, err := net.Dial("unix", r.path); err == nil {
				other.Close()
			}
		}()
		io.WriteString(c, good+good)
		switch rest, _ := io.ReadAll(io.LimitReader(c, int64(2*len(netstring("OK here"))))); string(rest) {
		case "":
			closed++
		case netstring("OK here"), netstring("OK here") + netstring("OK here"):
			answered++
		default:
			t.Fatalf("the answers are %q", rest)
		}
		c.Close()
	}
	t.Logf("%d were answered, %d were closed", answered, closed)
}

func FuzzSocketmap(f *testing.F) {
	p, set := world(f)
	for _, request := range cases {
		f.Add(netstring(request[0]) + netstring("recipients bob@acmecorp.com"))
	}
	f.Add("10001:x")
	f.Add("007:x,")
	f.Fuzz(func(t *testing.T, input string) {
		// A pipe whose client has sent all of its requests and takes any reply.
		c := &canned{in: strings.NewReader(input)}
		server := &Server{Runtime: func() (*policy.Policy, *directory.Set) { return p, set }}
		(&session{Conn: &listen.Conn{Conn: c}, server: server}).answer()
		r := bufio.NewReader(&c.out)
		for {
			reply, err := readNetstring(r)
			if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
				break
			}
			if err != nil {
				t.Fatalf("a reply is not a netstring: %v", err)
			}
			status, data, ok := strings.Cut(reply, " ")
			if !ok || !strings.Contains("OK NOTFOUND TEMP PERM", status) || strings.ContainsAny(data, "\r\n\x00") {
				t.Fatalf("the reply %q", reply)
			}
		}
	})
}

// canned is a connection whose input is at hand.
type canned struct {
	net.Conn
	in  io.Reader
	out bytes.Buffer
}

func (c *canned) Read(b []byte) (int, error)       { return c.in.Read(b) }
func (c *canned) Write(b []byte) (int, error)      { return c.out.Write(b) }
func (c *canned) SetReadDeadline(time.Time) error  { return nil }
func (c *canned) SetWriteDeadline(time.Time) error { return nil }
