package e2e

import (
	"bytes"
	"context"
	"crypto/rand"
	"fmt"
	"io"
	"net"
	"os"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"coexistd/contrib/lab"
	"coexistd/policy"
)

// inVain is how long a scanner that does not answer is waited for.
const inVain = "2s"

// breakable is a real scanner that can be made to fail.
type breakable interface {
	Suspend() error
	Continue() error
	Kill() error
	Start(context.Context) error
}

// failing is a site of which each message is checked by one scanner, in one way.
type failing struct {
	*site
	check, scanner string
	server         breakable
	address        string // the server's, as the configuration has it
	usual          string // on_error when nothing is said
}

// breakdown is a way for a scanner to fail.
type breakdown struct {
	name    string
	address string // what is asked instead of the server; empty: the server
	keys    string // further keys of the scanner's table
	hangs   bool   // the scanner takes a message and does not answer
	begin   func() error
	end     func() error
	why     string // matches what the finding says; empty: the scanner does not fail
}

// posting is a message with the client who hands it in.
type posting struct {
	client string
	mail   lab.Mail
}

// answered is what became of a posting at the server.
type answered struct {
	lab.Result
	err error
}

// stranger is a sender that no other message has, by which the log tells it.
func stranger() string { return strings.ToLower(rand.Text()) + "@example.net" }

// postAt makes a message of 3 KB for bob that enters at a point.
func postAt(point string) posting {
	from := stranger()
	p := posting{mail: lab.Mail{From: from, To: lab.To("bob@acmecorp.com"), Data: lab.LongLines(from, "bob@acmecorp.com", "checked", 990)}}
	switch point {
	case "S0":
		p.client = lab.FromInternet
	case "S1":
		p.client, p.mail.Data = lab.FromOffice365, fromTenant(lab.OfficeTenant, p.mail.Data)
	case "S2":
		p.client = lab.FromUser
	}
	return p
}

// postAll hands the messages in side by side, once all clients are connected.
func (s *site) postAll(postings []posting) []answered {
	s.t.Helper()
	sessions := make([]*lab.Session, len(postings))
	for i, p := range postings {
		var err error
		if sessions[i], err = (lab.Client{Server: s.Addr("public"), Local: p.client}).Dial(deadline(s.t)); err != nil {
			s.t.Fatal(err)
		}
		defer sessions[i].Close()
	}
	ctx := deadline(s.t)
	results := make([]answered, len(postings))
	var all sync.WaitGroup
	for i, p := range postings {
		all.Go(func() {
			results[i].Result, results[i].err = sessions[i].Send(ctx, p.mail)
		})
	}
	all.Wait()
	for _, r := range results {
		if r.err != nil {
			s.t.Fatal(r.err)
		}
	}
	return results
}

// loggedFrom waits for the first log line of a message of a sender's.
func (s *site) loggedFrom(from string) logLine {
	s.t.Helper()
	return parseLogLine(s.t, s.waitDaemonLog(regexp.QuoteMeta(" from="+from+" ")))
}

// toml has the scanner with its address, timeout and further keys, and the on_error
// of each point that is named.
func (f *failing) toml(address, timeout, keys string, onError map[string]string) string {
	tables := []string{fmt.Sprintf("[scanner.%s]\naddress = %q\ntimeout = %q\n%s\n", f.scanner, address, timeout, keys)}
	for point, verdict := range onError {
		tables = append(tables, fmt.Sprintf("[checkpoint.%[1]s]\nchecks = [%[2]q]\n[checkpoint.%[1]s.%[2]s]\non_error = %[3]q\n", point, f.check, verdict))
	}
	return checkedTOML("", "", tables...)
}

// in has another test use the site.
func (f *failing) in(t *testing.T) *failing {
	other := *f
	other.site = f.site.in(t)
	return &other
}

// errorActions are the verdicts of a check that cannot tell, by point; together
// they are all that there are.
var errorActions = []map[string]string{
	{"S0": "tempfail", "S1": "accept", "S2": "reject"},
	{"S0": "discard", "S1": "tag", "S2": "quarantine"},
}

// suffer has the scanner fail, and checks what becomes of mail at each point.
func (f *failing) suffer(t *testing.T, x breakdown) {
	f = f.in(t)
	if x.begin != nil {
		if err := x.begin(); err != nil {
			t.Fatal(err)
		}
		defer func() {
			if err := x.end(); err != nil {
				t.Error(err)
			}
		}()
	}
	if x.address == "" {
		x.address = f.address
	}
	timeout := inTime
	if x.hangs {
		timeout = inVain
	}
	for i, verdicts := range errorActions {
		// A scanner with settings of its own is one that has not failed yet.
		own := fmt.Sprintf("%s\nmax_scans = %d", x.keys, 10+i)
		f.configure(f.toml(x.address, timeout, own, verdicts))
		points := []string{"S0", "S1", "S2"}
		postings := []posting{postAt("S0"), postAt("S1"), postAt("S2")}
		results := f.postAll(postings)
		f.settle()
		for i, point := range points {
			verdict := verdicts[point]
			if x.why == "" {
				verdict = "accept"
			}
			f.mustBe(point+" "+verdict, verdict, x.why, postings[i], results[i])
		}
	}
}

// errorReplies are the SMTP replies to messages that could not be checked.
var errorReplies = map[string]string{
	"accept": "250 2.0.0", "tag": "250 2.0.0", "quarantine": "250 2.0.0", "discard": "250 2.0.0",
	"tempfail": "451 4.3.0 The message cannot be checked at the moment, try again later",
	"reject":   "554 5.3.0 The message cannot be checked",
}

// mustBe checks the reply, the log, the quarantine and the arrival of a message that
// has met a verdict because the scanner could not tell, which why matches; it is
// empty where the scanner found the message clean.
func (f *failing) mustBe(about, verdict, why string, p posting, r answered) {
	f.t.Helper()
	finding := f.check + " unknown: .*" + why
	if why == "" {
		finding = f.check + " clean"
	}
	if !strings.HasPrefix(r.Data.String(), errorReplies[verdict]) {
		f.t.Errorf("%s: the client was told %q, want %q", about, r.Data, errorReplies[verdict])
	}
	line := f.loggedFrom(p.mail.From)
	if line["verdict"] != verdict || !regexp.MustCompile(finding).MatchString(line["findings"]) {
		f.t.Errorf("%s: the log says %s for %q, want %s for %q", about, line["verdict"], line["findings"], verdict, finding)
	}
	if held := line["held"]; (held != "") != (verdict == "quarantine") {
		f.t.Errorf("%s: the log says that it is held as %q", about, held)
	} else if held != "" {
		f.mustShow(held, f.check+": unknown: .*"+why)
	}
	var want []string
	if verdict == "accept" || verdict == "tag" {
		want = []string{toBob}
	}
	copies, arrivals := f.copies(p.mail.Data)
	if !slices.Equal(arrivals, want) {
		f.t.Errorf("%s: it arrived at %q, want %q", about, arrivals, want)
	}
	for _, copied := range copies["here"] {
		tagged := bytes.Contains(copied, []byte("\n"+policy.TagHeader+": "+f.check+"; unknown\r\n")) || bytes.HasPrefix(copied, []byte(policy.TagHeader+": "+f.check+"; unknown\r\n"))
		if tagged != (verdict == "tag") || bytes.Contains(copied, []byte(policy.SpamHeader)) || !bytes.HasSuffix(copied, p.mail.Data) {
			f.t.Errorf("%s: what arrived is %.400q", about, copied)
		}
	}
}

// mustShow checks that the quarantine has a message for bob, for a reason.
func (f *failing) mustShow(id, reason string) {
	f.t.Helper()
	status, out, complaint := run(f.t, "quarantine", "show", "-c", f.Config(), id)
	if status != exitYes || !regexp.MustCompile(`held by +`+reason).MatchString(out) || !strings.Contains(out, "bob@acmecorp.com") {
		f.t.Errorf("of %s, held for %q, the quarantine shows with %d:\n%s%s", id, reason, status, out, complaint)
	}
}

// recover has the server killed and started again, and checks that mail meets
// the usual verdict in between, and is checked afterwards without a reload.
func (f *failing) recover(t *testing.T) {
	f = f.in(t)
	f.configure(f.toml(f.address, inTime, "", nil))
	for range 2 {
		if err := f.server.Kill(); err != nil {
			t.Fatal(err)
		}
		p := []posting{postAt("S0")}
		results := f.postAll(p)
		f.settle()
		f.mustBe("while it is gone", f.usual, "(cannot be reached|does not answer)", p[0], results[0])
		if err := f.server.Start(deadline(t)); err != nil {
			t.Fatal(err)
		}
		p = []posting{postAt("S0")}
		results = f.postAll(p)
		f.settle()
		f.mustBe("when it is back", "accept", "", p[0], results[0])
	}
}

// standIn listens at a port until the test ends, and has each connection served.
func standIn(t *testing.T, serve func(*net.TCPConn)) (address string) {
	t.Helper()
	l, err := net.ListenTCP("tcp", &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			conn, err := l.AcceptTCP()
			if err != nil {
				return
			}
			go func() {
				defer conn.Close()
				serve(conn)
			}()
		}
	}()
	return l.Addr().String()
}

// replying reads the start of a request, gives the answer, and reads on until the
// client has gone.
func replying(answer string) func(*net.TCPConn) {
	return func(conn *net.TCPConn) {
		conn.Read(make([]byte, 64<<10))
		io.WriteString(conn, answer)
		conn.CloseWrite()
		io.Copy(io.Discard, conn)
	}
}

// closing reads a little and closes.
func closing(conn *net.TCPConn) { conn.Read(make([]byte, 1)) }

// What an answer is held back for.
func afterASecond() <-chan time.Time { return time.After(time.Second) }
func never() <-chan time.Time        { return nil }

// slowly passes a request on to a real server, and holds its answer back until there
// is a value in what held returns. Such a server closes the connection behind its
// answer.
func slowly(network, address string, held func() <-chan time.Time) func(*net.TCPConn) {
	return func(conn *net.TCPConn) {
		server, err := net.Dial(network, address)
		if err != nil {
			return
		}
		defer server.Close()
		gone := make(chan struct{})
		go func() {
			defer close(gone)
			io.Copy(server, conn)
		}()
		answer, _ := io.ReadAll(server)
		select {
		case <-held():
			conn.Write(answer)
		case <-gone:
		}
	}
}

func TestEachFailureOfClamdMeetsItsVerdict(t *testing.T) {
	t.Parallel()
	clamd, small := startClamd(t, lab.ClamdConfig{}), startClamd(t, lab.ClamdConfig{Settings: map[string]string{"StreamMaxLength": "1K"}})
	f := failing{check: "virus", scanner: "clamd", server: clamd, address: clamd.Addr(), usual: "tempfail"}
	f.site = startSite(t, lab.SiteConfig{TOML: f.toml(f.address, inTime, "", nil)})
	socket := strings.TrimPrefix(clamd.Addr(), "unix:")
	fake := func(serve func(*net.TCPConn)) string { return "inet:" + standIn(t, serve) }
	for _, x := range []breakdown{
		{name: "killed", begin: clamd.Kill, end: func() error { return clamd.Start(t.Context()) }, why: "cannot be reached"},
		{name: "hung", hangs: true, begin: clamd.Suspend, end: clamd.Continue, why: "has not answered in "},
		{name: "its socket missing",
			begin: func() error { return os.Rename(socket, socket+".away") },
			end:   func() error { return os.Rename(socket+".away", socket) }, why: "cannot be reached: .*no such file"},
		{name: "slow", address: fake(slowly("unix", socket, afterASecond))},
		{name: "too slow", hangs: true, address: fake(slowly("unix", socket, never)), why: "has not answered in "},
		{name: "garbage", address: fake(replying("\xff\x01garbage\x00")), why: "says neither OK nor FOUND"},
		{name: "closing early", address: fake(closing), why: "(closed|broke) the connection"},
		{name: "refusing the size", address: small.Addr(), why: "larger than clamd's StreamMaxLength"},
		{name: "max_size", keys: `max_size = "1K"`, why: "more than scanner.clamd.max_size"},
	} {
		t.Run(x.name, func(t *testing.T) { f.suffer(t, x) })
	}
	t.Run("restarted", f.recover)
}

func TestEachFailureOfRspamdMeetsItsVerdict(t *testing.T) {
	t.Parallel()
	rspamd, small := startRspamd(t, lab.RspamdConfig{}), startRspamd(t, lab.RspamdConfig{Settings: "options { max_message = 1024; }\n"})
	f := failing{check: "spam", scanner: "rspamd", server: rspamd, address: rspamd.URL(), usual: "accept"}
	f.site = startSite(t, lab.SiteConfig{TOML: f.toml(f.address, inTime, "", nil)})
	host := strings.TrimPrefix(rspamd.URL(), "http://")
	fake := func(serve func(*net.TCPConn)) string { return "http://" + standIn(t, serve) }
	for _, x := range []breakdown{
		{name: "killed", begin: rspamd.Kill, end: func() error { return rspamd.Start(t.Context()) }, why: "does not answer: .*connection refused"},
		{name: "hung", hangs: true, begin: rspamd.Suspend, end: rspamd.Continue, why: "does not answer: .*deadline exceeded"},
		{name: "slow", address: fake(slowly("tcp", host, afterASecond))},
		{name: "too slow", hangs: true, address: fake(slowly("tcp", host, never)), why: "does not answer: .*deadline exceeded"},
		{name: "garbage", address: fake(replying("\xff\x01garbage\r\n\r\n")), why: "does not answer: "},
		{name: "garbage in HTTP", address: fake(replying("HTTP/1.1 200 OK\r\nContent-Length: 7\r\n\r\ngarbage")), why: "answer cannot be read"},
		{name: "an error of its own", address: fake(replying("HTTP/1.1 500 no\r\nContent-Length: 6\r\n\r\nbroken")), why: "answers with status 500: broken"},
		{name: "closing early", address: fake(closing), why: "does not answer: "},
		{name: "refusing the size", address: small.URL(), why: "closed the connection on this message"},
		{name: "max_size", keys: `max_size = "1K"`, why: "more than rspamd is asked about"},
	} {
		t.Run(x.name, func(t *testing.T) { f.suffer(t, x) })
	}
	t.Run("restarted", f.recover)
}
