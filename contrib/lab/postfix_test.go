package lab

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// deadline is the bound of one wait, from now on. Only what hangs takes so long, on
// a machine that does other things as well.
func deadline(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	t.Cleanup(cancel)
	return ctx
}

func startPostfix(t *testing.T, c Config) *Postfix {
	t.Helper()
	p := Lend(t)
	m, err := p.Start(deadline(t), c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if t.Failed() {
			t.Log(m.Log())
		}
		if err := m.Stop(); err != nil {
			t.Error(err)
		}
	})
	return m
}

func startSink(t *testing.T, c SinkConfig) *Sink {
	t.Helper()
	s, err := StartSink(c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

func send(t *testing.T, c Client, m Mail) Result {
	t.Helper()
	r, err := c.Send(deadline(t), m)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func anything(Delivery) bool { return true }

func to(address string) func(Delivery) bool {
	return func(d Delivery) bool { return len(d.Recipients) == 1 && d.Recipients[0].Address == address }
}

func TestEveryByteArrivesThroughTwoServicesAtThreeSinks(t *testing.T) {
	t.Parallel()
	internet, platform, here := startSink(t, SinkConfig{}), startSink(t, SinkConfig{Address: "127.0.0.9:0"}), startSink(t, SinkConfig{LMTP: true})
	m := startPostfix(t, Config{
		Services: []Service{
			{Name: "internet", Settings: map[string]string{"smtpd_relay_restrictions": "permit_mynetworks, reject_unauth_destination"}},
			{Name: "users", Address: "127.0.0.2:0", Settings: map[string]string{"mynetworks": "127.0.7.0/24"}},
		},
		Main:   map[string]string{"relay_domains": "acmecorp.com there.acmecorp.com"},
		Routes: map[string]string{"*": internet.NextHop(), "there.acmecorp.com": platform.NextHop(), "acmecorp.com": here.NextHop()},
	})
	attachment, err := Multipart("carol@example.org", "bob@acmecorp.com", "report", 100_000)
	if err != nil {
		t.Fatal(err)
	}
	messages := map[string][]byte{
		"plain":     Plain("carol@example.org", "bob@acmecorp.com", "plain"),
		"8-bit":     EightBit("carol@example.org", "bob@acmecorp.com", "8-bit"),
		"multipart": attachment,
		"long":      LongLines("carol@example.org", "bob@acmecorp.com", "long", 998),
	}
	for name, data := range messages {
		from := name + "@example.org"
		outside := Client{Server: m.Addr("internet"), Local: "127.0.5.1"}
		if r := send(t, outside, Mail{From: from, To: To("bob@acmecorp.com", "alice@there.acmecorp.com"), Data: data}); !r.Accepted() {
			t.Fatalf("%s from outside: %+v", name, r)
		}
		user := Client{Server: m.Addr("users"), Local: "127.0.7.1"}
		if r := send(t, user, Mail{From: from, To: To("dave@example.net"), Data: data}); !r.Accepted() {
			t.Fatalf("%s from a user: %+v", name, r)
		}
		for sink, recipient := range map[*Sink]string{internet: "dave@example.net", platform: "alice@there.acmecorp.com", here: "bob@acmecorp.com"} {
			d, err := sink.Wait(deadline(t), func(d Delivery) bool { return d.From == from })
			if err != nil {
				t.Fatal(err)
			}
			if len(d.Recipients) != 1 || d.Recipients[0].Address != recipient {
				t.Errorf("%s reached %q, want %s", name, d.To(), recipient)
			}
			if got := Below(d.Data, "Received"); !bytes.Equal(got, data) || len(got) == len(d.Data) {
				t.Errorf("%s at %s differs below Received:\n%.500q\nwant\n%.500q", name, recipient, got, data)
			}
		}
	}
	for _, client := range []string{"127.0.5.1", "127.0.7.1"} {
		if _, err := m.WaitLog(deadline(t), regexp.MustCompile(regexp.QuoteMeta("client=unknown["+client+"]"))); err != nil {
			t.Errorf("Postfix did not see %s: %v", client, err)
		}
	}
	if r := send(t, Client{Server: m.Addr("internet")}, Mail{From: "x@example.org", To: To("dave@example.net")}); r.To[0].Code != 554 || r.To[0].Enhanced != "5.7.1" {
		t.Errorf("relaying from outside got %v, want 554 5.7.1", r.To[0])
	}
}

func TestDSNArgumentsSMTPUTF8AndQuotedLocalPartsReachTheSink(t *testing.T) {
	t.Parallel()
	sink := startSink(t, SinkConfig{})
	m := startPostfix(t, Config{
		Services: []Service{{Name: "smtp"}},
		Main:     map[string]string{"mynetworks": "127.0.0.0/8"},
		Routes:   map[string]string{"*": sink.NextHop()},
	})
	r := send(t, Client{Server: m.Addr("smtp"), Hello: "jörg.example"}, Mail{
		From: "jörg@example.org", Args: "RET=HDRS ENVID=a+2Bb SMTPUTF8 BODY=8BITMIME",
		To: []Rcpt{
			{"alice@example.com", "NOTIFY=NEVER ORCPT=rfc822;al+2Bice@example.com"},
			{`"b b@x"@example.com`, "NOTIFY=SUCCESS,FAILURE"},
			{"jürgen@example.com", ""},
		},
		Data: Plain("jörg@example.org", "alice@example.com", "Grüße"),
	})
	if !r.Accepted() {
		t.Fatalf("%+v", r)
	}
	d, err := sink.Wait(deadline(t), anything)
	if err != nil {
		t.Fatal(err)
	}
	if d.From != "jörg@example.org" || d.Return != "HDRS" || d.EnvelopeID != "a+2Bb" || !d.UTF8 || d.When.IsZero() || d.Client != "127.0.0.1" {
		t.Errorf("the envelope is %+v", d)
	}
	want := []Recipient{
		{"alice@example.com", "NEVER", "rfc822;al+2Bice@example.com"},
		{`"b b@x"@example.com`, "SUCCESS,FAILURE", `rfc822;"b+20b@x"@example.com`},
		{"jürgen@example.com", "", "rfc822;j+C3+BCrgen@example.com"},
	}
	for _, w := range want {
		found := false
		for _, got := range d.Recipients {
			found = found || got == w
		}
		if !found {
			t.Errorf("no recipient is %+v; there are %+v", w, d.Recipients)
		}
	}
}

func TestOnlyTheRightPasswordAuthenticates(t *testing.T) {
	t.Parallel()
	sink := startSink(t, SinkConfig{})
	m := startPostfix(t, Config{
		Services: []Service{{Name: "submission", Settings: map[string]string{"smtpd_sasl_auth_enable": "yes"}}},
		Routes:   map[string]string{"*": sink.NextHop()},
		Users:    map[string]string{"bob": "secret"},
	})
	mail := Mail{From: "bob@acmecorp.com", To: To("dave@example.net"), Data: Plain("bob@acmecorp.com", "dave@example.net", "hello")}
	if r := send(t, Client{Server: m.Addr("submission"), User: "bob", Password: "secret"}, mail); !r.Accepted() {
		t.Errorf("with the right password: %+v", r)
	}
	if _, err := m.WaitLog(deadline(t), regexp.MustCompile("sasl_username=bob")); err != nil {
		t.Errorf("Postfix did not learn who authenticated: %v", err)
	}
	for _, c := range []Client{{User: "bob", Password: "wrong"}, {User: "eve", Password: ""}} {
		c.Server = m.Addr("submission")
		if _, err := c.Send(deadline(t), mail); err == nil || !strings.Contains(err.Error(), "refused AUTH: 535 5.7.8") {
			t.Errorf("%s with %q: %v, want 535 5.7.8", c.User, c.Password, err)
		}
	}
	if r := send(t, Client{Server: m.Addr("submission")}, mail); r.To[0].Code/100 == 2 {
		t.Errorf("without authentication: %v", r.To[0])
	}
}

func TestSendmailCommandHandsMailIn(t *testing.T) {
	t.Parallel()
	sink := startSink(t, SinkConfig{})
	m := startPostfix(t, Config{Routes: map[string]string{"*": sink.NextHop()}})
	data := Plain("root@acmecorp.com", "alice@example.com", "from the host")
	for _, from := range []string{"root@acmecorp.com", ""} {
		if err := m.Sendmail(deadline(t), from, []string{"alice@example.com"}, data); err != nil {
			t.Fatal(err)
		}
		d, err := sink.Wait(deadline(t), func(d Delivery) bool { return d.From == from })
		if err != nil {
			t.Fatal(err)
		}
		if got := Below(d.Data, "Received"); !bytes.Equal(got, data) {
			t.Errorf("what arrived is\n%q\nwant\n%q", got, data)
		}
	}
	if err := m.WaitEmpty(deadline(t)); err != nil {
		t.Error(err)
	}
}

func TestDeferredMailStaysInTheQueueUntilItIsFlushed(t *testing.T) {
	t.Parallel()
	var open atomic.Bool
	sink := startSink(t, SinkConfig{Refuse: func(recipient string) *Reply {
		if open.Load() {
			return nil
		}
		return &Reply{450, "4.2.1", recipient + " is moving"}
	}})
	m := startPostfix(t, Config{
		Services: []Service{{Name: "smtp"}},
		Main:     map[string]string{"mynetworks": "127.0.0.0/8"},
		Routes:   map[string]string{"*": sink.NextHop()},
	})
	send(t, Client{Server: m.Addr("smtp")}, Mail{From: "bob@acmecorp.com", To: To("alice@example.com"), Data: Plain("bob@acmecorp.com", "alice@example.com", "wait")})
	if _, err := m.WaitLog(deadline(t), regexp.MustCompile("status=deferred .*450 4.2.1 alice@example.com is moving")); err != nil {
		t.Fatal(err)
	}
	queue, err := m.Queue(deadline(t))
	if err != nil {
		t.Fatal(err)
	}
	if len(queue) != 1 || queue[0].Sender != "bob@acmecorp.com" || len(queue[0].Recipients) != 1 || queue[0].Recipients[0].Address != "alice@example.com" {
		t.Errorf("the queue is %+v", queue)
	}
	var said string
	for brief := 100 * time.Millisecond; !strings.Contains(said, "alice@example.com"); brief *= 2 { // until it has had a look
		ctx, cancel := context.WithTimeout(deadline(t), brief)
		err := m.WaitEmpty(ctx)
		cancel()
		if !errors.Is(err, context.DeadlineExceeded) || brief > time.Minute {
			t.Fatalf("waiting for a queue that is not empty: %v", err)
		}
		said = err.Error()
	}
	open.Store(true)
	if err := m.Flush(deadline(t)); err != nil {
		t.Fatal(err)
	}
	if err := m.WaitEmpty(deadline(t)); err != nil {
		t.Fatal(err)
	}
	if got := sink.All(); len(got) != 1 {
		t.Errorf("%d messages arrived, want 1", len(got))
	}
}

func TestALineOfMasterTakesTheUsualServicesPlace(t *testing.T) {
	t.Parallel()
	m := startPostfix(t, Config{
		Services: []Service{{Name: "smtp"}},
		Main:     map[string]string{"mynetworks": "127.0.0.0/8", "default_transport": "smtp"},
		Master:   []string{"smtp unix - - n - - discard"},
	})
	send(t, Client{Server: m.Addr("smtp")}, Mail{To: To("alice@example.com"), Data: Plain("a@example.org", "alice@example.com", "no")})
	if _, err := m.WaitLog(deadline(t), regexp.MustCompile(`postfix/discard\[\d+\]: .*to=<alice@example.com>, .*status=sent`)); err != nil {
		t.Error(err)
	}
}

func TestRestartTakesUpNewSettings(t *testing.T) {
	t.Parallel()
	m := startPostfix(t, Config{
		Services: []Service{{Name: "smtp"}},
		Main:     map[string]string{"relay_domains": "acmecorp.com", "relay_recipient_maps": "texthash:$config_directory/users"},
		Files:    map[string]string{"users": "bob@acmecorp.com here\n"},
	})
	ask := func() Reply {
		return send(t, Client{Server: m.Addr("smtp")}, Mail{From: "x@example.org", To: To("alice@acmecorp.com")}).To[0]
	}
	if r := ask(); r.Code != 550 || r.Enhanced != "5.1.1" {
		t.Errorf("an unlisted recipient got %v, want 550 5.1.1", r)
	}
	if err := m.Restart(deadline(t), map[string]string{"relay_recipient_maps": ""}); err != nil {
		t.Fatal(err)
	}
	if r := ask(); r.Code != 250 {
		t.Errorf("after the restart she got %v, want 250", r)
	}
}

// processes lists the processes that belong to the instance: those of the
// session that its master process leads.
func processes(t *testing.T, m *Postfix) []string {
	t.Helper()
	stats, err := fs.Glob(os.DirFS("/proc"), "[0-9]*/stat")
	if err != nil || len(stats) == 0 {
		t.Fatalf("no processes in /proc: %v", err)
	}
	var found []string
	for _, path := range stats {
		stat, err := os.ReadFile("/proc/" + path)
		if err != nil {
			continue // it has ended meanwhile
		}
		// The name, in parentheses, may hold spaces; state, parent, group and session follow.
		after := strings.Fields(string(stat[bytes.LastIndexByte(stat, ')')+1:]))
		if after[0] != "Z" && after[3] == strconv.Itoa(m.process.Process.Pid) {
			found = append(found, string(stat))
		}
	}
	return found
}

func TestRestartKeepsAddressesQueueAndLog(t *testing.T) {
	t.Parallel()
	sink := startSink(t, SinkConfig{})
	m := startPostfix(t, Config{
		Services: []Service{{Name: "smtp"}},
		Main:     map[string]string{"mynetworks": "127.0.0.0/8", "defer_transports": "smtp"},
		Routes:   map[string]string{"*": sink.NextHop()},
	})
	send(t, Client{Server: m.Addr("smtp")}, Mail{From: "bob@acmecorp.com", To: To("alice@example.com"), Data: Plain("bob@acmecorp.com", "alice@example.com", "wait")})
	if _, err := m.WaitLog(deadline(t), regexp.MustCompile("status=deferred .deferred transport")); err != nil {
		t.Fatal(err)
	}
	address, before := m.Addr("smtp"), m.Log()
	if err := m.Restart(deadline(t), map[string]string{"defer_transports": ""}); err != nil {
		t.Fatal(err)
	}
	if err := m.Flush(deadline(t)); err != nil {
		t.Fatal(err)
	}
	if _, err := sink.Wait(deadline(t), to("alice@example.com")); err != nil {
		t.Error(err)
	}
	if m.Addr("smtp") != address || !strings.HasPrefix(m.Log(), before) {
		t.Errorf("the address was %s and is %s; the log was\n%s", address, m.Addr("smtp"), before)
	}
	send(t, Client{Server: address}, Mail{From: "bob@acmecorp.com", To: To("alice@example.com")})
}

func TestStopLeavesNoProcessSocketOrFile(t *testing.T) {
	t.Parallel()
	sink := startSink(t, SinkConfig{})
	m := startPostfix(t, Config{
		Services: []Service{{Name: "smtp"}, {Name: "other"}},
		Main:     map[string]string{"mynetworks": "127.0.0.0/8"},
		Routes:   map[string]string{"*": sink.NextHop()},
		Users:    map[string]string{"bob": "secret"},
	})
	session, err := Client{Server: m.Addr("other")}.Dial(deadline(t))
	if err != nil {
		t.Fatal(err)
	}
	defer session.Close()
	send(t, Client{Server: m.Addr("smtp")}, Mail{From: "bob@acmecorp.com", To: To("alice@example.com"), Data: Plain("bob@acmecorp.com", "alice@example.com", "last")})
	if _, err := sink.Wait(deadline(t), anything); err != nil {
		t.Fatal(err)
	}
	if before := processes(t, m); len(before) < 5 {
		t.Fatalf("the test sees too few of the instance's processes: %q", before)
	}
	if err := m.Stop(); err != nil {
		t.Fatal(err)
	}
	if after := processes(t, m); len(after) > 0 {
		t.Errorf("processes are left: %q", after)
	}
	if _, err := os.Stat(m.Dir); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the folder %s is left: %v", m.Dir, err)
	}
	for _, name := range []string{"smtp", "other"} {
		if conn, err := net.Dial("tcp", m.Addr(name)); err == nil {
			conn.Close()
			t.Errorf("the service %s still answers", name)
		}
	}
	if err := m.Stop(); err != nil {
		t.Errorf("a second Stop: %v", err)
	}
}

func TestInstancesRunSideBySide(t *testing.T) {
	t.Parallel()
	var all sync.WaitGroup
	for i := range 3 {
		all.Go(func() {
			sink := startSink(t, SinkConfig{})
			m := startPostfix(t, Config{
				Services: []Service{{Name: "smtp"}},
				Main:     map[string]string{"mynetworks": "127.0.0.0/8", "myhostname": fmt.Sprintf("mta%d.lab.test", i)},
				Routes:   map[string]string{"*": sink.NextHop()},
			})
			send(t, Client{Server: m.Addr("smtp")}, Mail{To: To(fmt.Sprintf("user%d@example.com", i)), Data: Plain("a@example.org", "b@example.com", "side by side")})
			if _, err := sink.Wait(deadline(t), to(fmt.Sprintf("user%d@example.com", i))); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
}

func TestAFailedStartSaysWhy(t *testing.T) {
	t.Parallel()
	p := Lend(t)
	taken := startSink(t, SinkConfig{})
	cases := map[string]struct {
		config Config
		want   string
	}{
		"address in use":                      {Config{Services: []Service{{Name: "smtp", Address: taken.Addr()}}}, `service "smtp": somebody listens at ` + taken.Addr()},
		"address in use by Postfix's account": {Config{Master: []string{taken.Addr() + " inet n - n - - smtpd"}}, "Address already in use"},
		"bad master.cf":                       {Config{Master: []string{"nonsense"}}, `missing "transport type" field`},
		"two of one name":                     {Config{Services: []Service{{Name: "a"}, {Name: "a"}}}, `two services are called "a"`},
		"setting of two lines":                {Config{Main: map[string]string{"a": "b\nc"}}, "one line"},
		"file of the lab's":                   {Config{Files: map[string]string{"main.cf": ""}}, `"main.cf"`},
		"file outside":                        {Config{Files: map[string]string{"../x": ""}}, `"../x"`},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			m, err := p.Start(deadline(t), c.config)
			if err == nil {
				m.Stop()
				t.Fatal("it started")
			}
			if !strings.Contains(err.Error(), c.want) {
				t.Errorf("the error is %q, want one with %q", err, c.want)
			}
		})
	}
}
