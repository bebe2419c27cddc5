package e2e

import (
	"errors"
	"io/fs"
	"net"
	"net/smtp"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"coexistd/contrib/lab"
)

// writeTOML replaces the configuration by the usual one with a change.
func (s *site) writeTOML(old, new string) {
	s.t.Helper()
	if !strings.Contains(lab.SiteTOML, old) {
		s.t.Fatalf("the usual configuration has no %q", old)
	}
	if err := s.WriteTOML(strings.Replace(lab.SiteTOML, old, new, 1)); err != nil {
		s.t.Fatal(err)
	}
}

// writeDirectory replaces the directory by the usual one with a change.
func (s *site) writeDirectory(old, new string) {
	s.t.Helper()
	if !strings.Contains(lab.SiteDirectory, old) {
		s.t.Fatalf("the usual directory has no %q", old)
	}
	if err := s.WriteDirectory(strings.Replace(lab.SiteDirectory, old, new, 1)); err != nil {
		s.t.Fatal(err)
	}
}

// mustRefuse reloads and checks that the reload is refused with the texts.
func (s *site) mustRefuse(texts ...string) {
	s.t.Helper()
	line := s.reload()
	for _, text := range append(texts, "reload refused, the configuration stays as it was") {
		if !strings.Contains(line, text) {
			s.t.Errorf("the reload lacks %q: %s", text, line)
		}
	}
}

func (s *site) mustReload() {
	s.t.Helper()
	if line := s.reload(); !strings.Contains(line, "msg=reloaded") {
		s.t.Fatalf("the reload was refused: %s", line)
	}
}

// mustFlow sends a message to an address from the Internet, and compares where
// it has arrived with where it must.
func (s *site) mustFlow(to string, want ...string) {
	s.t.Helper()
	m := lab.Plain("eve@example.net", to, "flowing")
	s.deliver(lab.FromInternet, lab.Mail{From: "eve@example.net", To: lab.To(to), Data: m})
	s.mustArrive(m, want...)
}

func TestInvalidConfigurationIsRefusedAndTheOldOneStays(t *testing.T) {
	onEachMTA(t, func(t *testing.T, mta lab.MTA) {
		s := startSite(t, lab.SiteConfig{MTA: mta})
		s.writeTOML("networks = [\"127.0.1.0/24\"]", "networks = [\"127.0.1.0/24\"]\ntennant = \"x\"")
		s.mustRefuse("coexistd.toml:16: ", "platform.office365.tennant", "tenant")
		s.mustFlow("alice@acmecorp.com", "office365 alice@acmecorp-com.onmicrosoft.com")

		s.writeTOML("[platform.office365]", "[platform.office365")
		s.mustRefuse("coexistd.toml:14: ")
		s.mustFlow("alice@acmecorp.com", "office365 alice@acmecorp-com.onmicrosoft.com")

		if err := os.Remove(s.Config()); err != nil {
			t.Fatal(err)
		}
		s.mustRefuse("coexistd.toml")
		s.mustFlow("alice@acmecorp.com", "office365 alice@acmecorp-com.onmicrosoft.com")

		// Nobody writes to a FIFO, and the daemon does not wait for it.
		if err := syscall.Mkfifo(s.Config(), 0o600); err != nil {
			t.Fatal(err)
		}
		s.mustRefuse("coexistd.toml", "is a FIFO")
		if err := os.Remove(s.Config()); err != nil {
			t.Fatal(err)
		}

		s.writeTOML("acmecorp-com.onmicrosoft.com", "other.onmicrosoft.com")
		s.mustReload()
		s.mustFlow("alice@acmecorp.com", "Internet alice@other.onmicrosoft.com")
	})
}

func TestDirectoryIsLoadedWhenItChangesUnlessARowIsBad(t *testing.T) {
	onEachMTA(t, func(t *testing.T, mta lab.MTA) {
		s := startSite(t, lab.SiteConfig{MTA: mta})
		s.writeDirectory("bob@acmecorp.com,here,bob", "bob@acmecorp.com,office365,bob")
		s.waitDaemonLog("directory loaded.*addresses=7")
		s.mustFlow("bob@acmecorp.com", "office365 bob@acmecorp-com.onmicrosoft.com")

		s.writeDirectory("bob@acmecorp.com,here,bob", "bob@acmecorp.com,here,bob\nfrank@acmecorp.com,nowhere,\nmallory@example.org,here,")
		s.waitDaemonLog(`directory refused, the old one stays.*users.csv:4: .*nowhere`)
		s.waitDaemonLog(`directory refused, the old one stays.*users.csv:5: .*example.org`)
		s.mustFlow("bob@acmecorp.com", "office365 bob@acmecorp-com.onmicrosoft.com")
		s.mustRefuse("users.csv:4: ")

		s.writeDirectory("bob@acmecorp.com,here,bob", "bob@acmecorp.com,here,bob\nfrank@acmecorp.com,office365,")
		s.waitDaemonLog("directory loaded.*addresses=8")
		s.mustFlow("bob@acmecorp.com", "here bob@acmecorp.com")
		s.mustFlow("frank@acmecorp.com", "office365 frank@acmecorp-com.onmicrosoft.com")
	})
}

func TestDirectoryThatLosesTooManyAddressesNeedsMaxLoss(t *testing.T) {
	onEachMTA(t, func(t *testing.T, mta lab.MTA) {
		s := startSite(t, lab.SiteConfig{MTA: mta})
		s.writeTOML("directory = \"users.csv\"", "directory = \"users.csv\"\nmax_loss_floor = 1")
		s.mustReload()
		s.writeDirectory("alice@acmecorp.com,office365,\nbob@acmecorp.com,here,bob\n", "")
		s.waitDaemonLog("directory refused, the old one stays.*lacks 2 of 7 addresses.*max_loss_floor = 1")
		s.mustReload() // of all else
		s.mustFlow("bob@acmecorp.com", "here bob@acmecorp.com")

		if err := s.WriteTOML(strings.ReplaceAll(lab.SiteTOML, "directory = \"users.csv\"", "directory = \"users.csv\"\nmax_loss = \"30%\"\nmax_loss_floor = 1")); err != nil {
			t.Fatal(err)
		}
		s.mustReload()
		if r := s.send(lab.FromInternet, lab.Mail{From: "eve@example.net", To: lab.To("bob@acmecorp.com")}); r.To[0].Code != 550 || r.To[0].Enhanced != "5.1.1" {
			t.Errorf("bob, who is in the directory no more, gets %s", r.To[0])
		}
	})
}

func TestListenersComeAndGoWithAReload(t *testing.T) {
	t.Parallel()
	s := startSite(t, lab.SiteConfig{})
	const first, second = `address = "unix:{dir}/milter.sock"`, `address = "unix:{dir}/second.sock"`
	s.writeTOML("[[listen]]\n"+first, "[[listen]]\n"+second+"\nmode = \"0666\"\n\n[[listen]]\n"+first)
	s.mustReload()
	milter := "unix:" + filepath.Join(s.Dir, "second.sock")
	if err := s.Postfix.Restart(deadline(t), map[string]string{"smtpd_milters": milter, "non_smtpd_milters": milter}); err != nil {
		t.Fatal(err)
	}
	s.mustFlow("alice@acmecorp.com", "office365 alice@acmecorp-com.onmicrosoft.com")

	s.writeTOML(first, second)
	s.mustReload()
	if _, err := os.Lstat(filepath.Join(s.Dir, "milter.sock")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the socket of the listener that was removed is still there: %v", err)
	}
	s.mustFlow("alice@acmecorp.com", "office365 alice@acmecorp-com.onmicrosoft.com")

	// What only a restart can do is refused, and what cannot be done at all.
	taken, err := net.Listen("unix", filepath.Join(s.Dir, "taken.sock"))
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	other := func(path string) string {
		return "address = \"unix:{dir}/" + path + "\"\n\n[[listen]]\n" + second
	}
	for change, texts := range map[string][]string{
		second + "\ncheckpoint = \"S0\"": {"second.sock", "checkpoint", "restart"},
		other("taken.sock"):              {"taken.sock", "another process"},
		other("no/dir.sock"):             {"no/dir.sock", "must exist"},
	} {
		s.writeTOML(first, change)
		s.mustRefuse(texts...)
		s.mustFlow("alice@acmecorp.com", "office365 alice@acmecorp-com.onmicrosoft.com")
	}
}

func TestTerminationLetsTheTransactionUnderWayEnd(t *testing.T) {
	onEachMTA(t, func(t *testing.T, mta lab.MTA) {
		s := startSite(t, lab.SiteConfig{MTA: mta})
		m := lab.Plain("eve@example.net", "alice@acmecorp.com", "under way")
		client, err := smtp.Dial(s.Addr("public"))
		if err != nil {
			t.Fatal(err)
		}
		defer client.Close()
		if err := errors.Join(client.Mail("eve@example.net"), client.Rcpt("alice@acmecorp.com")); err != nil {
			t.Fatal(err)
		}
		ended := make(chan error, 1)
		go func() { ended <- s.Daemon.Stop() }()
		s.waitDaemonLog("msg=stopping")
		body, err := client.Data()
		if err != nil {
			t.Fatal(err)
		}
		if _, err := body.Write(m); err != nil {
			t.Fatal(err)
		}
		if err := body.Close(); err != nil {
			t.Errorf("the message under way was not taken: %v", err)
		}
		if err := <-ended; err != nil {
			t.Errorf("the daemon ended with %v; it must exit with 0", err)
		}
		s.waitDaemonLog("msg=stopped$")
		// The lookups are gone, and Postfix cannot route before they are back.
		if err := s.StartDaemon(deadline(t)); err != nil {
			t.Fatal(err)
		}
		s.flush()
		s.mustArrive(m, "office365 alice@acmecorp-com.onmicrosoft.com")
	})
}

func TestSecondDaemonOnTheSameSocketRefusesToStart(t *testing.T) {
	onEachMTA(t, func(t *testing.T, mta lab.MTA) {
		s := startSite(t, lab.SiteConfig{MTA: mta})
		path, err := program()
		if err != nil {
			t.Fatal(err)
		}
		_, err = lab.StartDaemon(deadline(t), path, s.Config())
		if err == nil || !strings.Contains(err.Error(), "milter.sock: another process answers on the socket") {
			t.Errorf("a second daemon: %v", err)
		}
		s.mustFlow("alice@acmecorp.com", "office365 alice@acmecorp-com.onmicrosoft.com")
	})
}
