package e2e

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"coexistd/contrib/lab"
)

// says runs a command on the site's configuration. It must exit with the status, and print
// the texts on standard output or standard error.
func (s *site) says(status int, command string, texts ...string) string {
	s.t.Helper()
	args := append(strings.Fields(command), "-c", s.Config())
	got, out, complaint := run(s.t, args...)
	if got != status {
		s.t.Errorf("coexistd %s exits with %d; %d is right. It says:\n%s%s", command, got, status, out, complaint)
	}
	for _, text := range texts {
		if !strings.Contains(out+complaint, text) {
			s.t.Errorf("coexistd %s lacks %q:\n%s%s", command, text, out, complaint)
		}
	}
	return out
}

func TestTheStatusTellsWhatTheDaemonHas(t *testing.T) {
	t.Parallel()
	s := startSite(t, lab.SiteConfig{})
	s.says(exitYes, "status", "process "+strconv.Itoa(s.Daemon.Pid()), s.Config(), "milter.sock", "7 addresses", "quarantine", "0 under way")
	var facts struct {
		PID         int
		Directories []struct {
			Addresses int
			Refused   []string
		}
	}
	if err := json.Unmarshal([]byte(s.says(exitYes, "status --json")), &facts); err != nil || facts.PID != s.Daemon.Pid() || len(facts.Directories) != 1 || facts.Directories[0].Addresses != 7 {
		t.Errorf("the facts are %+v, %v", facts, err)
	}
	s.writeDirectory("bob@acmecorp.com,here,bob", "bob@acmecorp.com,nowhere,bob")
	s.waitDaemonLog("directory refused, the old one stays")
	s.says(exitNo, "status", "7 addresses", "REFUSED", "nowhere")
	s.says(exitNo, "reload", "nowhere")
	if out := s.says(exitNo, "status", "REFUSED"); strings.Count(out, "nowhere") != 1 {
		t.Errorf("after a reload that was refused for the same row, the status is\n%s", out)
	}
	if err := s.Daemon.Stop(); err != nil {
		t.Fatal(err)
	}
	s.says(exitWrong, "status", "no daemon runs with this configuration", "systemctl start coexistd")
	if err := s.StartDaemon(deadline(t)); err != nil {
		t.Fatal(err)
	}
}

func TestTheReloadSaysWhatItRefused(t *testing.T) {
	t.Parallel()
	s := startSite(t, lab.SiteConfig{})
	s.says(exitYes, "reload", "reloaded")
	s.writeTOML("networks = [\"127.0.1.0/24\"]", "networks = [\"127.0.1.0/24\"]\ntennant = \"x\"")
	s.says(exitNo, "reload", "the configuration stays as it was", "coexistd.toml:16: ", "platform.office365.tennant")
	s.says(exitNo, "status", "REFUSED", "tennant")
	// Not even TOML is needed to find the daemon.
	s.writeTOML("[platform.office365]", "[platform.office365")
	s.says(exitNo, "reload --json", `"applied": false`, "coexistd.toml:14: ")
	s.mustFlow("alice@acmecorp.com", "office365 alice@acmecorp-com.onmicrosoft.com")
	s.writeTOML("acmecorp-com.onmicrosoft.com", "other.onmicrosoft.com")
	s.says(exitYes, "reload --json", `"applied": true`)
	s.mustFlow("alice@acmecorp.com", "Internet alice@other.onmicrosoft.com")
}

func TestCheckTellsWhichDirectoryTheRunningDaemonRefuses(t *testing.T) {
	t.Parallel()
	s := startSite(t, lab.SiteConfig{TOML: strings.ReplaceAll(lab.SiteTOML, "directory = \"users.csv\"", "directory = \"users.csv\"\nmax_loss_floor = 1")})
	s.says(exitYes, "check", "ok")
	s.writeDirectory("alice@acmecorp.com,office365,\nbob@acmecorp.com,here,bob\n", "")
	s.waitDaemonLog("directory refused, the old one stays.*lacks 2 of 7 addresses")
	s.says(exitNo, "check", "the running daemon refuses a directory: ", "lacks 2 of 7 addresses", "max_loss_floor")
	s.says(exitNo, "status", "REFUSED", "lacks 2 of 7 addresses")
	s.says(exitNo, "reload", "reloaded, but for what was refused", "lacks 2 of 7 addresses")
	s.writeDirectory("bob@acmecorp.com,here,bob\n", "")
	s.waitDaemonLog("directory loaded.*addresses=6")
	s.says(exitYes, "check", "ok")
	s.says(exitYes, "status", "6 addresses")
}

func TestALimitThatIsReachedIsListedAndLetGo(t *testing.T) {
	t.Parallel()
	redis := startRedis(t, lab.RedisConfig{})
	rule := "\n[[rate]]\nname = \"clients\"\nby = \"client\"\ncount = \"messages\"\nlimit = 1\nper = \"1h\"\ncheckpoints = [\"S0\"]\n"
	s := startSite(t, lab.SiteConfig{TOML: lab.SiteTOML + rule + redisTOML(redis.Addr)})
	message := func() lab.Mail {
		return lab.Mail{From: "eve@example.net", To: lab.To("bob@acmecorp.com"), Data: lab.Plain("eve@example.net", "bob@acmecorp.com", "limited")}
	}
	s.says(exitYes, "limits list", "nothing is counted")
	s.deliver(lab.FromInternet, message())
	if s.send(lab.FromInternet, message()).Accepted() {
		t.Fatal("a second message passes")
	}
	s.says(exitYes, "limits list", "clients", lab.FromInternet, "OVER")
	s.says(exitNo, "limits reset clients 192.0.2.99", "nothing is counted")
	s.says(exitWrong, "limits reset client *", "it would be one of clients")
	s.says(exitWrong, "limits reset clients", "it needs a rule and a key")
	s.says(exitYes, "limits reset clients "+lab.FromInternet, "forgotten")
	s.deliver(lab.FromInternet, message())
}

func TestAClientThatAsksForTooMuchIsListedAndLetInAgain(t *testing.T) {
	t.Parallel()
	s := startSite(t, lab.SiteConfig{TOML: bounded("per_minute = 1")})
	const client = "127.0.88.7"
	s.says(exitYes, "clients list", "nobody is turned away")
	s.enter(client).Close()
	s.mustBeShutOut(client)
	s.says(exitYes, "clients list", client, "per_minute")
	s.says(exitNo, "clients unblock 192.0.2.0/24", "nothing is known of 192.0.2.0/24")
	s.says(exitWrong, "clients unblock mail.example.net", "192.0.2.7")
	s.says(exitYes, "clients unblock "+client, "let in again")
	s.enter(client).Close()
}

func TestAnotherUserMayNotAskTheDaemon(t *testing.T) {
	t.Parallel()
	if os.Geteuid() != 0 {
		t.Fatal("run the tests as root: another user must ask")
	}
	s := startSite(t, lab.SiteConfig{})
	path, err := program()
	if err != nil {
		t.Fatal(err)
	}
	// Whoever can read the configuration may not ask for all that.
	for name := s.Dir; name != "/"; name = filepath.Dir(name) {
		if err := os.Chmod(name, 0o755); err != nil {
			t.Fatal(err)
		}
		if name == os.TempDir() {
			break
		}
	}
	// A program that this process had written could be busy: another test's command, just
	// forked, would have it open.
	linked := filepath.Join(s.Dir, "coexistd-link")
	if err := os.Link(path, linked); err != nil {
		t.Fatal(err)
	}
	for _, command := range []string{"status", "reload", "limits list", "limits reset clients *", "clients list", "clients unblock 192.0.2.7"} {
		cmd := exec.CommandContext(deadline(t), linked, append(strings.Fields(command), "-c", s.Config())...)
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
		out, err := cmd.CombinedOutput()
		if err == nil || cmd.ProcessState.ExitCode() != exitWrong || !strings.Contains(string(out), "only root and the daemon's user may ask it") {
			t.Errorf("coexistd %s of another user ends with %v and says %s", command, err, out)
		}
	}
	if strings.Contains(s.Daemon.Log(), "msg=reloaded") {
		t.Error("another user had the daemon reload")
	}
}

// It reloads as fast as mail goes, at least 150 times in a minute.
func TestReloadsUnderLoadPutNoMessageOff(t *testing.T) {
	onEachMTA(t, reloadUnderLoad)
}

func reloadUnderLoad(t *testing.T, mta lab.MTA) {
	s := startSite(t, lab.SiteConfig{MTA: mta})
	// Files of SQLite outlive reloads. More connections to them are opened as they are needed,
	// but not one for each reload.
	const reloads = 150
	descriptors := func() (ofDatabases, others int) {
		folder := "/proc/" + strconv.Itoa(s.Daemon.Pid()) + "/fd"
		list, err := os.ReadDir(folder)
		if err != nil {
			t.Fatal(err)
		}
		for _, one := range list {
			if to, err := os.Readlink(filepath.Join(folder, one.Name())); err == nil && strings.Contains(to, ".db") {
				ofDatabases++
			} else {
				others++
			}
		}
		return ofDatabases, others
	}
	var sent atomic.Int64
	var done atomic.Bool
	var senders sync.WaitGroup
	for range 4 {
		senders.Go(func() {
			for !done.Load() {
				m := lab.Mail{From: "eve@example.net", To: lab.To("alice@acmecorp.com"), Data: lab.Plain("eve@example.net", "alice@acmecorp.com", "under load")}
				r, err := lab.Client{Server: s.Addr("public"), Local: lab.FromInternet}.Send(deadline(t), m)
				if err != nil || !r.Accepted() {
					t.Errorf("a message was not taken: %+v, %v", r, err)
					return
				}
				sent.Add(1)
			}
		})
	}
	s.mustReload()
	_, open := descriptors()
	begun := time.Now()
	for range reloads {
		s.mustReload()
	}
	took := time.Since(begun)
	done.Store(true)
	senders.Wait()
	t.Logf("%d messages and %d reloads in %v", sent.Load(), reloads, took)
	if sent.Load() == 0 {
		t.Error("there was no load")
	}
	if tempfailed := regexp.MustCompile(`msg=message .* verdict=tempfail`).FindString(s.Daemon.Log()); tempfailed != "" {
		t.Errorf("a message was put off: %s", tempfailed)
	}
	// The MTA's processes would keep their connections for as long as they may be idle.
	s.do(s.Stop())
	for ctx, again := deadline(t), time.Tick(20*time.Millisecond); ; <-again {
		ofDatabases, others := descriptors()
		if ofDatabases < reloads/2 && others <= open {
			return
		}
		if ctx.Err() != nil {
			t.Fatalf("%d descriptors are open, before the reloads it were %d; and %d of databases", others, open, ofDatabases)
		}
	}
}
