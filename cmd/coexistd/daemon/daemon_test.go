package daemon

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	gomilter "github.com/emersion/go-milter"

	"coexistd/cmd/coexistd/control"
	"coexistd/contrib/fake"
	"coexistd/policy/rate"
	"coexistd/policy/verdict"
	"coexistd/scanners"
)

// patience bounds one wait.
const patience = time.Minute

// stand is a daemon in this process.
type stand struct {
	*Daemon
	t    *testing.T
	dir  string
	ask  *control.Client
	said *fake.Log
}

const usualTOML = `
our_networks = ["127.0.0.0/8"]
state_dir = "state"

[[listen]]
address = "unix:{dir}/milter.sock"

[platform.office365]
networks = ["192.0.2.0/24"]
tenant = "3f2504e0-4f89-11d3-9a0c-0305e82c3301"

[domain."acmecorp.com"]
directory = "users.csv"
alternate = { office365 = "acmecorp-com.onmicrosoft.com" }
`

// start starts a daemon of the usual configuration with more at its end.
func start(t *testing.T, more string) *stand {
	t.Helper()
	dir, err := os.MkdirTemp("", "coexistd-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	s := &stand{t: t, dir: dir, ask: control.NewClient(filepath.Join(dir, "state", "control.sock")), said: fake.NewLog()}
	s.write("coexistd.toml", usualTOML+more)
	s.directory(100)
	if s.Daemon, err = New(Options{Config: filepath.Join(dir, "coexistd.toml"), Version: "test", Log: s.said.Logger}); err != nil {
		t.Fatal(err)
	}
	s.Start()
	t.Cleanup(func() {
		s.Stop()
		if t.Failed() {
			t.Log(s.said.String())
		}
	})
	return s
}

// write replaces a file.
func (s *stand) write(name, text string) {
	s.t.Helper()
	path := filepath.Join(s.dir, name)
	err := os.WriteFile(path+".new", []byte(strings.ReplaceAll(text, "{dir}", s.dir)), 0o644)
	if err = errors.Join(err, os.Rename(path+".new", path)); err != nil {
		s.t.Fatal(err)
	}
}

// directory replaces the directory by one of so many addresses.
func (s *stand) directory(addresses int) {
	var text strings.Builder
	text.WriteString("address,residence\nalice@acmecorp.com,office365\n")
	for i := range addresses - 1 {
		fmt.Fprintf(&text, "user%d@acmecorp.com,here\n", i)
	}
	s.write("users.csv", text.String())
}

func (s *stand) within() context.Context {
	ctx, cancel := context.WithTimeout(s.t.Context(), patience)
	s.t.Cleanup(cancel)
	return ctx
}

func (s *stand) status() control.Status {
	s.t.Helper()
	status, err := s.ask.Status(s.within())
	if err != nil {
		s.t.Fatal(err)
	}
	return status
}

func (s *stand) reload() control.Reloaded {
	s.t.Helper()
	r, err := s.ask.Reload(s.within())
	if err != nil {
		s.t.Fatal(err)
	}
	return r
}

// session is an MTA's connection, on which messages may be sent.
type session struct {
	*gomilter.ClientSession
	client *gomilter.Client
}

func (s *stand) connect() *session {
	s.t.Helper()
	client := gomilter.NewClientWithOptions("unix", filepath.Join(s.dir, "milter.sock"), gomilter.ClientOptions{
		ActionMask:  gomilter.OptAddHeader | gomilter.OptChangeHeader | gomilter.OptAddRcpt | gomilter.OptRemoveRcpt | gomilter.OptQuarantine | gomilter.OptChangeFrom | gomilter.OptChangeBody,
		ReadTimeout: patience, WriteTimeout: patience,
	})
	c, err := client.Session()
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { c.Close(); client.Close() })
	return &session{ClientSession: c, client: client}
}

// begin begins a message to alice from the Internet.
func (c *session) begin() error {
	for _, step := range []func() (*gomilter.Action, error){
		func() (*gomilter.Action, error) {
			return c.Conn("mail.example.net", gomilter.FamilyInet, 4711, "198.51.100.7")
		},
		func() (*gomilter.Action, error) { return c.Helo("mail.example.net") },
		func() (*gomilter.Action, error) { return c.Mail("eve@example.net", nil) },
		func() (*gomilter.Action, error) { return c.Rcpt("alice@acmecorp.com", nil) },
	} {
		switch action, err := step(); {
		case err != nil:
			return err
		case action.Code != gomilter.ActContinue:
			return fmt.Errorf("the daemon answers %q %s", action.Code, action.SMTPText)
		}
	}
	return nil
}

// end ends it. It must be taken, with alice's address rewritten.
func (c *session) end() error {
	action, err := c.HeaderField("From", "eve@example.net")
	if err == nil && action.Code == gomilter.ActContinue {
		action, err = c.HeaderEnd()
	}
	if err == nil && action.Code == gomilter.ActContinue {
		var edits []gomilter.ModifyAction
		edits, action, err = c.BodyReadFrom(strings.NewReader("Hello.\r\n"))
		rewritten := func(a gomilter.ModifyAction) bool {
			return a.Code == gomilter.ActAddRcpt && strings.Contains(a.Rcpt, "alice@acmecorp-com.onmicrosoft.com")
		}
		if err == nil && !slices.ContainsFunc(edits, rewritten) {
			err = fmt.Errorf("alice's address is not rewritten: %+v", edits)
		}
	}
	if err == nil && action.Code != gomilter.ActContinue && action.Code != gomilter.ActAccept {
		err = fmt.Errorf("the daemon answers %q %s", action.Code, action.SMTPText)
	}
	return err
}

// eventually waits until what is true.
func (s *stand) eventually(what string, is func() bool) {
	s.t.Helper()
	for until := time.Now().Add(patience); !is(); {
		if time.Now().After(until) {
			s.t.Fatalf("%s has not come about in %v", what, patience)
		}
		runtime.Gosched()
	}
}

func TestAReloadThatIsRefusedSaysWhyAndChangesNothing(t *testing.T) {
	s := start(t, "")
	before := s.status().Configuration
	s.write("coexistd.toml", strings.Replace(usualTOML, "tenant", "tennant", 1))
	r := s.reload()
	if r.Applied || len(r.Refused) == 0 || !strings.Contains(r.Refused[0], "tennant") {
		t.Errorf("the reload says %+v", r)
	}
	after := s.status().Configuration
	if !after.Loaded.Equal(before.Loaded) || !slices.Equal(after.Refused, r.Refused) || after.Tried.IsZero() {
		t.Errorf("the status says %+v; before it was %+v", after, before)
	}
	s.write("coexistd.toml", usualTOML)
	if r := s.reload(); !r.Applied || len(r.Refused) > 0 {
		t.Errorf("the reload of what is right says %+v", r)
	}
	if c := s.status().Configuration; !c.Loaded.After(before.Loaded) || len(c.Refused) > 0 {
		t.Errorf("the status says %+v", c)
	}
}

func TestADirectoryThatLosesTooMuchIsRefusedAloneByAReload(t *testing.T) {
	s := start(t, "")
	s.directory(40)
	s.write("coexistd.toml", usualTOML+"\n[domain.\"globex.example\"]\nunlisted = \"here\"\n")
	r := s.reload()
	if !r.Applied || len(r.Refused) != 1 || !strings.Contains(r.Refused[0], "lacks 60 of 100") {
		t.Fatalf("the reload says %+v", r)
	}
	if !strings.Contains(s.said.String(), "directory refused, the old one stays") {
		t.Error("the log does not tell of the directory")
	}
	d := s.status().Directories[0]
	if d.Addresses != 100 || !slices.Equal(d.Refused, r.Refused) {
		t.Errorf("the status says %+v", d)
	}
	if _, known := s.runtime.Load().Policy.Routes.Domains["globex.example"]; !known {
		t.Error("the rest of the reload did not go on")
	}
}

func TestWhatOutlivesAReloadIsFoundByItsSettingsAndClosedWithItsLastMessage(t *testing.T) {
	s := start(t, "")
	limits, resolver := s.current.limits, s.current.resolver
	old := s.current
	c := s.connect()
	if err := c.begin(); err != nil {
		t.Fatal(err)
	}
	s.reload()
	if s.current == old || s.current.limits != limits || s.current.resolver != resolver {
		t.Error("a reload that changes nothing made things anew")
	}
	held := len(s.shared.things)
	s.write("coexistd.toml", "resolver = \"127.0.0.1:5353\"\n"+usualTOML)
	s.reload()
	if s.current.resolver == resolver {
		t.Error("the resolver is the old one although its servers changed")
	}
	if got := len(s.shared.things); got != held+1 {
		t.Errorf("%d things are shared while a message needs the old resolver; %d are right", got, held+1)
	}
	if err := c.end(); err != nil {
		t.Fatal(err)
	}
	s.eventually("the end of the old resolver", func() bool {
		s.shared.mu.Lock()
		defer s.shared.mu.Unlock()
		return len(s.shared.things) == held
	})
}

func TestServersThatAreAwayStayAwayAfterAReloadOfOtherThingsAndStatusTellsOfThem(t *testing.T) {
	servers := "[scanner.clamd]\naddress = \"unix:{dir}/none.sock\"\n[redis]\naddresses = [\"127.0.0.1:1\"]\n"
	s := start(t, servers)
	g := s.current
	for range 3 {
		g.scanners.Run(t.Context(), []string{verdict.CheckVirus}, &scanners.Message{Content: strings.NewReader("")})
	}
	hourly := &rate.Rule{Name: "hourly", Limit: 1, Per: 1, Burst: 1}
	g.limits.Take(t.Context(), []rate.Charge{{Rule: hourly, Key: "bob", Amount: 1, Limit: 1, Burst: 1}})
	for _, more := range []string{"", "[check.malware]\nmacros = false\n"} {
		s.write("coexistd.toml", usualTOML+servers+more)
		if r := s.reload(); !r.Applied {
			t.Fatalf("the reload is refused: %v", r.Refused)
		}
		status := s.status()
		if len(status.Scanners) != 2 || status.Redis == nil {
			t.Fatalf("the status has the scanners %+v and the Redis %+v", status.Scanners, status.Redis)
		}
		attachments, clamd := status.Scanners[0], status.Scanners[1]
		if attachments.Name != "attachments" || attachments.Away || attachments.Places == 0 || clamd.Name != "clamd" || clamd.Places == 0 {
			t.Errorf("the scanners are %+v", status.Scanners)
		}
		for _, server := range []control.Server{clamd.Server, *status.Redis} {
			if !server.Away || server.Reason == "" || server.Since.IsZero() || !server.Next.After(server.Since) {
				t.Errorf("after a reload with %q, %+v", more, server)
			}
		}
	}
}

func TestStatusTellsOfServersThatDidNotAnswerAtTheStartAndAreAskedAllTheSame(t *testing.T) {
	s := start(t, "[scanner.clamd]\naddress = \"unix:{dir}/none.sock\"\n[redis]\naddresses = [\"127.0.0.1:1\"]\n")
	s.eventually("a status that tells of both", func() bool {
		status := s.status()
		return status.Scanners[1].Reason != "" && status.Redis.Reason != ""
	})
	status := s.status()
	if status.Well() || status.Scanners[0].Reason != "" || status.Scanners[1].Away || status.Redis.Away {
		t.Errorf("the status is well: %v, with the scanners %+v and the Redis %+v", status.Well(), status.Scanners, status.Redis)
	}
}

func TestAHundredAndFiftyReloadsUnderLoadLeaveNothingBehind(t *testing.T) {
	s := start(t, "\n[checkpoint.S0]\nchecks = [\"malware\"]\n") // no bounds for clients
	descriptors := func() int {
		list, err := os.ReadDir("/proc/self/fd")
		if err != nil {
			t.Fatal(err)
		}
		return len(list)
	}
	ctx, stop := context.WithCancel(t.Context())
	failed := make(chan error, 4)
	var senders sync.WaitGroup
	var sent sync.Map
	for i := range 4 {
		senders.Go(func() {
			count := 0
			for ctx.Err() == nil {
				c := s.connect()
				err := c.begin()
				if err == nil {
					err = c.end()
				}
				c.Close()
				c.client.Close()
				if err != nil {
					failed <- err
					return
				}
				count++
			}
			sent.Store(i, count)
		})
	}
	s.reload()
	goroutines, open, things := runtime.NumGoroutine(), descriptors(), len(s.shared.things)
	for range 150 {
		if r := s.reload(); !r.Applied || len(r.Refused) > 0 {
			t.Fatalf("a reload says %+v", r)
		}
	}
	stop()
	senders.Wait()
	close(failed)
	for err := range failed {
		t.Errorf("a message was not taken: %v", err)
	}
	sent.Range(func(_, count any) bool {
		if count == 0 {
			t.Error("a sender sent nothing: there was no load")
		}
		return true
	})
	s.eventually("the number of goroutines from before", func() bool { return runtime.NumGoroutine() <= goroutines })
	s.eventually("the number of descriptors from before", func() bool { return descriptors() <= open })
	if got := len(s.shared.things); got != things {
		t.Errorf("%d things are shared; before it were %d", got, things)
	}
}

func TestOnlyRootAndTheDaemonsUserMayAsk(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root can take another user's place")
	}
	s := start(t, "")
	socket := filepath.Join(s.dir, "state", "control.sock")
	info, err := os.Lstat(socket)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Fatalf("the socket's mode is %v, %v", info.Mode(), err)
	}
	// Even one that the file's mode lets in is refused.
	if err := errors.Join(os.Chmod(s.dir, 0o755), os.Chmod(filepath.Dir(socket), 0o755), os.Chmod(socket, 0o666)); err != nil {
		t.Fatal(err)
	}
	for _, question := range []string{"GET " + control.PathStatus, "POST " + control.PathReload} {
		conn, err := dialAsNobody(socket)
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(conn, "%s HTTP/1.0\r\nContent-Length: 2\r\n\r\n{}", question)
		answer, err := io.ReadAll(conn)
		if conn.Close(); err != nil || !strings.Contains(string(answer), "403 Forbidden") || !strings.Contains(string(answer), "only root and the daemon's user") {
			t.Errorf("%s of another user is answered %q, %v", question, answer, err)
		}
	}
	if strings.Contains(s.said.String(), "msg=reloaded") {
		t.Error("another user had it reload")
	}
	if err := os.Chmod(socket, 0o600); err != nil {
		t.Fatal(err)
	}
	if conn, err := dialAsNobody(socket); !errors.Is(err, fs.ErrPermission) {
		t.Errorf("another user reaches the socket: %v %v", conn, err)
	}
}

// dialAsNobody connects in a thread of its own that has become another user.
func dialAsNobody(path string) (conn net.Conn, err error) {
	const nobody = 65534
	var done sync.WaitGroup
	done.Go(func() {
		// A thread that is not unlocked ends with its goroutine.
		runtime.LockOSThread()
		if _, _, errno := syscall.RawSyscall(syscall.SYS_SETRESUID, nobody, nobody, nobody); errno != 0 {
			err = errno
			return
		}
		conn, err = net.Dial("unix", path)
	})
	done.Wait()
	return conn, err
}

func TestNobodyAtTheControlSocketIsSaidInOneSentence(t *testing.T) {
	dir := t.TempDir()
	_, err := control.NewClient(filepath.Join(dir, "control.sock")).Status(t.Context())
	if err == nil || !strings.Contains(err.Error(), "systemctl start coexistd") {
		t.Errorf("the error is %v", err)
	}
	l, err := net.Listen("unix", filepath.Join(dir, "stale.sock"))
	if err != nil {
		t.Fatal(err)
	}
	l.(*net.UnixListener).SetUnlinkOnClose(false)
	l.Close()
	if _, err := control.NewClient(filepath.Join(dir, "stale.sock")).Status(t.Context()); err == nil || !strings.Contains(err.Error(), "systemctl start coexistd") {
		t.Errorf("the error is %v", err)
	}
}

func TestTheControlSocketIsWhereTheConfigurationSays(t *testing.T) {
	s := start(t, "\n[control]\naddress = \"unix:own.sock\"\n")
	if _, err := control.NewClient(filepath.Join(s.dir, "state", "own.sock")).Status(s.within()); err != nil {
		t.Error(err)
	}
	if _, err := os.Lstat(filepath.Join(s.dir, "state", "control.sock")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the usual socket is there, too: %v", err)
	}
}

func TestReportsThatNobodyWouldGetAreLoggedOnce(t *testing.T) {
	s := start(t, "\n[quarantine.report]\ncontact = \"helpdesk@acmecorp.com\"\n")
	const told = "reports of the quarantine would be lost"
	count := func() int { return strings.Count(s.said.String(), told) }
	if said := s.said.String(); count() != 1 || !strings.Contains(said, "quarantine.report.contact: helpdesk@acmecorp.com is not in the directory of acmecorp.com") {
		t.Fatalf("the log says\n%s", said)
	}
	if s.reload(); count() != 1 {
		t.Errorf("it is said again:\n%s", s.said)
	}
}

func TestTheStatusTellsTheDigestOfTheFileThatWasLoaded(t *testing.T) {
	s := start(t, "")
	path := filepath.Join(s.dir, "coexistd.toml")
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	s.write("coexistd.toml", "another text")
	if digest := fmt.Sprintf("%x", sha256.Sum256(text)); s.status().Configuration.Digest != digest {
		t.Errorf("the digest is %q; right is %q", s.status().Configuration.Digest, digest)
	}
}

func TestStopWithoutStartLeavesNoSocketBehind(t *testing.T) {
	s := start(t, "")
	s.Stop()
	d, err := New(Options{Config: filepath.Join(s.dir, "coexistd.toml"), Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	d.Stop()
	for _, name := range []string{"milter.sock", "state/control.sock"} {
		if _, err := os.Lstat(filepath.Join(s.dir, name)); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%s is still there: %v", name, err)
		}
	}
}

func TestQuestionsAreAnsweredDuringAReloadThatTakesLong(t *testing.T) {
	s := start(t, "")
	s.mu.Lock() // as a reload has it
	defer s.mu.Unlock()
	if got := s.status(); got.Directories[0].Addresses != 100 {
		t.Errorf("the status is %+v", got)
	}
	if _, err := s.ask.Limits(s.within()); err != nil {
		t.Error(err)
	}
	if _, err := s.ask.Clients(s.within()); err != nil {
		t.Error(err)
	}
}

func TestTheStatusTellsWhoIsConnectedAndWhatIsUnderWay(t *testing.T) {
	s := start(t, "")
	us := fmt.Sprintf("pid %d", os.Getpid())
	quiet := s.connect()
	c := s.connect()
	if err := c.begin(); err != nil {
		t.Fatal(err)
	}
	status := s.status()
	if len(status.Listeners) != 1 || len(status.Listeners[0].Connections) != 2 || status.Messages != 1 {
		t.Fatalf("the status is %+v", status)
	}
	states := make(map[string]int)
	for _, one := range status.Listeners[0].Connections {
		if states[one.State]++; one.Peer != us || one.Since.IsZero() {
			t.Errorf("a connection is %+v; the peer is %s", one, us)
		}
	}
	if states["fresh"] != 1 || states["busy"] != 1 {
		t.Errorf("the states are %v", states)
	}
	if err := c.end(); err != nil {
		t.Fatal(err)
	}
	quiet.Close()
	quiet.client.Close()
	s.eventually("the end of the message and of a connection", func() bool {
		status := s.status()
		return status.Messages == 0 && len(status.Listeners[0].Connections) == 1
	})
}
