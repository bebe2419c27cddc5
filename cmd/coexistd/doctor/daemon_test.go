package doctor

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"coexistd/cmd/coexistd/control"
	"coexistd/cmd/coexistd/daemon"
	"coexistd/milter/sources"
	"coexistd/policy/config"
)

const someTOML = `state_dir = "{dir}"
[[listen]]
address = "unix:{dir}/milter.sock"
[[listen]]
address = "inet:{tcp}"
[[lookup]]
address = "unix:{dir}/lookup.sock"
[platform.office365]
networks = ["127.0.1.0/24"]
tenant   = "3f2504e0-4f89-11d3-9a0c-0305e82c3301"
[domain."acmecorp.com"]
directory = "users.csv"
alternate = { office365 = "acmecorp-com.onmicrosoft.com" }
`

// stand has the sockets of a daemon, with what a test says behind them.
type stand struct {
	t   *testing.T
	dir string
	x   *examination

	mu     sync.Mutex
	peers  map[string][]string // of the listeners, by the configuration's address
	status control.Status      // beside the listeners
}

// newStand serves all of a daemon's sockets, save those left out.
func newStand(t *testing.T, without ...string) *stand {
	dir, err := os.MkdirTemp("", "")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	s := &stand{t: t, dir: dir, peers: make(map[string][]string)}
	tcp := s.listen("tcp", "127.0.0.1:0")
	toml := strings.NewReplacer("{dir}", dir, "{tcp}", tcp.Addr().String()).Replace(someTOML)
	s.write("coexistd.toml", toml)
	s.write("users.csv", "address,residence\nalice@acmecorp.com,office365\nbob@acmecorp.com,here\n")
	reading := config.Load(filepath.Join(dir, "coexistd.toml"))
	if len(reading.Problems) > 0 {
		t.Fatal(reading.Problems)
	}
	s.x = &examination{conf: reading.Config, now: time.Now(), lists: sync.OnceValue(func() sources.Directories { return sources.Open(reading.Directories, nil) })}
	s.serve("inet:"+tcp.Addr().String(), tcp, answerMilter)
	s.serve("unix:"+dir+"/milter.sock", s.listen("unix", dir+"/milter.sock"), answerMilter)
	s.serve("unix:"+dir+"/lookup.sock", s.listen("unix", dir+"/lookup.sock"), answerLookup)
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, address := range without {
		s.peers[strings.NewReplacer("{dir}", dir, "{tcp}", tcp.Addr().String()).Replace(address)] = nil
	}
	s.status = control.Status{
		Configuration: control.Configuration{Path: reading.Config.Path, Loaded: time.Now(), Mode: reading.Config.Rules.Mode(), Digest: reading.Config.Digest},
		Directories:   []control.Directory{{Source: dir + "/users.csv", Domains: []string{"acmecorp.com"}, Addresses: 2, Loaded: time.Now(), Bytes: s.size("users.csv")}},
		Quarantine:    control.Quarantine{Open: true},
	}
	return s
}

func (s *stand) write(name, content string) {
	s.t.Helper()
	if err := os.WriteFile(filepath.Join(s.dir, name), []byte(content), 0o600); err != nil {
		s.t.Fatal(err)
	}
}

func (s *stand) size(name string) int64 {
	s.t.Helper()
	info, err := os.Stat(filepath.Join(s.dir, name))
	if err != nil {
		s.t.Fatal(err)
	}
	return info.Size()
}

func (s *stand) listen(network, address string) net.Listener {
	s.t.Helper()
	l, err := net.Listen(network, address)
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { l.Close() })
	return l
}

// serve answers the connections of a listener, and notes whose they are.
func (s *stand) serve(address string, l net.Listener, answer func(net.Conn)) {
	s.mu.Lock()
	s.peers[address] = []string{}
	s.mu.Unlock()
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			peer := conn.RemoteAddr().String()
			if l.Addr().Network() == "unix" {
				peer = fmt.Sprintf("pid %d", os.Getpid())
			}
			s.mu.Lock()
			if s.peers[address] != nil {
				s.peers[address] = append(s.peers[address], peer)
			}
			s.mu.Unlock()
			go func() {
				defer conn.Close()
				answer(conn)
			}()
		}
	}()
}

// answerMilter negotiates as any milter does, and then waits.
func answerMilter(conn net.Conn) {
	offer := make([]byte, 17)
	if _, err := io.ReadFull(conn, offer); err == nil {
		conn.Write(offer)
		io.Copy(io.Discard, conn)
	}
}

func answerLookup(conn net.Conn) {
	if _, err := bufio.NewReader(conn).ReadString(','); err == nil {
		fmt.Fprint(conn, "7:OK here,")
		io.Copy(io.Discard, conn)
	}
}

// control answers the doctor's question with the status.
func (s *stand) control() {
	mux := http.NewServeMux()
	mux.HandleFunc("GET "+control.PathStatus, func(w http.ResponseWriter, _ *http.Request) {
		s.mu.Lock()
		defer s.mu.Unlock()
		status := s.status
		for address, peers := range s.peers {
			l := control.Listener{Address: address}
			for _, peer := range peers {
				l.Connections = append(l.Connections, control.Connection{Peer: peer})
			}
			status.Listeners = append(status.Listeners, l)
		}
		json.NewEncoder(w).Encode(status)
	})
	server := &http.Server{Handler: mux}
	l := s.listen("unix", daemon.ControlPath(s.x.conf))
	go server.Serve(l)
	s.t.Cleanup(func() { server.Close() })
}

// says compares what the doctor says of the daemon, each as "STATUS FOUND", with how that
// must begin. All that is well is left out. {dir} stands for the stand's folder.
func (s *stand) says(want ...string) {
	s.t.Helper()
	var got []string
	for _, f := range lookAtDaemon(s.t.Context(), s.x) {
		if f.Status != OK {
			got = append(got, strings.ReplaceAll(f.Status+" "+f.Found, s.dir, "{dir}"))
		}
		if (f.Status == OK) != (f.Remedy == "") {
			s.t.Errorf("the remedy of %+v", f)
		}
	}
	if !slices.EqualFunc(got, want, func(got, want string) bool { return strings.HasPrefix(got, want) }) {
		s.t.Errorf("the doctor says\n%s\nright is\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

func TestADaemonWithAllConnectionsAndFilesIsFoundWell(t *testing.T) {
	s := newStand(t)
	s.control()
	s.says()
}

func TestAnotherMilterOnOurSocketIsNotTakenForTheDaemon(t *testing.T) {
	for _, address := range []string{"unix:{dir}/milter.sock", "inet:{tcp}", "unix:{dir}/lookup.sock"} {
		s := newStand(t, address)
		s.control()
		address = strings.ReplaceAll(address, "{tcp}", strings.TrimPrefix(s.x.conf.Listeners[1].Address, "inet:"))
		s.says("fail something answers at " + address + " that is not this daemon: the connection did not arrive there")
	}
}

func TestADaemonWithoutAControlSocketIsNotFoundWell(t *testing.T) {
	s := newStand(t)
	s.says(
		"warn the milter answers at unix:{dir}/milter.sock; whether it is coexistd cannot be told",
		"warn the milter answers at inet:127.0.0.1:",
		"warn the lookup answers at unix:{dir}/lookup.sock; whether it is coexistd cannot be told",
		"fail what the daemon has in its memory cannot be told: no daemon runs with this configuration: nothing answers at unix:{dir}/control.sock")
}

func TestWhatTheDaemonHasInMemoryIsComparedWithTheFiles(t *testing.T) {
	longAgo := time.Date(2026, 11, 23, 9, 30, 0, 0, time.Local)
	old := func(s *stand, name string) {
		if err := os.Chtimes(filepath.Join(s.dir, name), longAgo, longAgo); err != nil {
			s.t.Fatal(err)
		}
	}
	for name, c := range map[string]struct {
		change func(s *stand)
		want   string
	}{
		"the configuration has changed": {func(s *stand) { s.status.Configuration.Digest, s.status.Configuration.Loaded = "00", longAgo },
			"warn {dir}/coexistd.toml has changed since the daemon loaded it at 2026-11-23 09:30:00"},
		"and a reload was refused": {func(s *stand) {
			c := &s.status.Configuration
			c.Digest, c.Loaded, c.Tried, c.Refused = "00", longAgo, longAgo.Add(time.Hour), []string{"max_connections was changed"}
		}, "fail {dir}/coexistd.toml has changed since the daemon loaded it at 2026-11-23 09:30:00, and a reload at 2026-11-23 10:30:00 was refused: max_connections was changed"},
		"a refusal of what is undone": {func(s *stand) { s.status.Configuration.Refused = []string{"max_connections was changed"} }, ""},
		"another file": {func(s *stand) { s.status.Configuration.Path = "/etc/coexistd/other.toml" },
			"fail the daemon goes by another file: /etc/coexistd/other.toml; this is {dir}/coexistd.toml"},
		"a directory lacks too many": {func(s *stand) {
			s.status.Directories[0].Refused, s.status.Directories[0].Loaded = []string{"the new file lacks 900 of 1000 addresses. The old list stays."}, longAgo
		}, "fail the daemon refuses {dir}/users.csv as it is: the new file lacks 900 of 1000 addresses. The old list stays; it goes by the list of 2026-11-23 09:30:00"},
		"a directory was never read": {func(s *stand) {
			s.status.Directories[0].Refused, s.status.Directories[0].Loaded = []string{"no such file"}, time.Time{}
		}, "fail the daemon refuses {dir}/users.csv as it is: no such file; it has no list, and answers 451 for acmecorp.com"},
		"a directory has more": {func(s *stand) {
			s.status.Directories[0].Addresses, s.status.Directories[0].Loaded = 1, longAgo
			old(s, "users.csv")
		}, "fail the daemon has 1 addresses of {dir}/users.csv, from 69 bytes, and the file has 2 in 69; it goes by the list of 2026-11-23 09:30:00"},
		"a directory has other rows": {func(s *stand) {
			s.status.Directories[0].Bytes++
			old(s, "users.csv")
		}, "fail the daemon has 2 addresses of {dir}/users.csv, from 70 bytes, and the file has 2 in 69; "},
		"a directory has changed a moment ago": {func(s *stand) { s.status.Directories[0].Addresses = 1 }, ""},
		"no quarantine": {func(s *stand) { s.status.Quarantine = control.Quarantine{Dir: "/q", Error: "it is locked"} },
			"fail the daemon cannot open the quarantine in /q, so that messages that should be held are put off: it is locked"},
		"it is ending": {func(s *stand) { s.status.Draining = true }, "warn the daemon is ending, and all new mail is put off"},
	} {
		t.Run(name, func(t *testing.T) {
			s := newStand(t)
			s.control()
			s.mu.Lock()
			c.change(s)
			s.mu.Unlock()
			if c.want == "" {
				s.says()
				return
			}
			s.says(c.want)
		})
	}
}
