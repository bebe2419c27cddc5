package e2e

import (
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"coexistd/contrib/lab"
)

// aboutDaemon is what the doctor says of the site's daemon. {dir} stands for the site's
// folder.
func (s *site) aboutDaemon() string {
	s.t.Helper()
	_, out, _ := runDoctor(s.t, s.t.TempDir(), nil, "-c", s.Config())
	return about("daemon", strings.ReplaceAll(out, s.Dir, "{dir}"))
}

const daemonIsWell = `ok    daemon         the milter answers at unix:{dir}/milter.sock
ok    daemon         the lookup answers at unix:{dir}/lookup.sock
ok    daemon         the daemon has the configuration and the directories as the files hold them
`

func TestTheDoctorComparesTheDaemonsMemoryWithTheFiles(t *testing.T) {
	t.Parallel()
	var many strings.Builder
	many.WriteString(lab.SiteDirectory)
	for i := range 100 {
		fmt.Fprintf(&many, "user%d@acmecorp.com,here,\n", i)
	}
	s := startSite(t, lab.SiteConfig{Directory: many.String()})
	if got := s.aboutDaemon(); got != daemonIsWell {
		t.Fatalf("the doctor says\n%s\nright is\n%s", got, daemonIsWell)
	}

	// A reload says at once what the daemon would find out by itself soon.
	if err := s.WriteDirectory(lab.SiteDirectory); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Daemon.Reload(deadline(t)); err != nil {
		t.Fatal(err)
	}
	mustSay(t, s.aboutDaemon(), "FAIL  daemon         the daemon refuses {dir}/users.csv as it is: {dir}/users.csv: the new file lacks 100 of 107 addresses",
		"  do: correct {dir}/users.csv; when all of it is meant, run: systemctl restart coexistd\n")

	toml := strings.Replace(lab.SiteTOML, "[[listen]]\n", "max_connections = 7\n[[listen]]\n", 1)
	if err := s.WriteTOML(toml); err != nil {
		t.Fatal(err)
	}
	mustSay(t, s.aboutDaemon(), "warn  daemon         {dir}/coexistd.toml has changed since the daemon loaded it at ", "  do: see that coexistd check -c {dir}/coexistd.toml says ok, and run: systemctl reload coexistd\n")
	if _, err := s.Daemon.Reload(deadline(t)); err != nil {
		t.Fatal(err)
	}
	said := s.aboutDaemon()
	mustSay(t, said, "FAIL  daemon         {dir}/coexistd.toml has changed since the daemon loaded it at ")
	if !strings.Contains(said, " was refused: {dir}/coexistd.toml: max_connections was changed from ") {
		t.Errorf("the doctor says not why the reload was refused:\n%s", said)
	}
}

func TestTheDoctorSeesThatASecretHasChangedSinceTheDaemonReadIt(t *testing.T) {
	t.Parallel()
	secret := secretFile(t, "0123456789abcdef0123\n")
	toml := strings.Replace(lab.SiteTOML, `tenant   = "`+lab.OfficeTenant+`"`, `proof = { header = "X-Coexist-Proof", secret_file = "`+secret+`" }`, 1)
	s := startSite(t, lab.SiteConfig{TOML: toml})
	if said := s.aboutDaemon(); said != daemonIsWell {
		t.Errorf("at first the doctor says:\n%s", said)
	}
	if err := os.WriteFile(secret, []byte("another secret of ours\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	mustSay(t, s.aboutDaemon(), "warn  daemon         {dir}/coexistd.toml, or a file that it names, has changed since the daemon loaded it at ")
	if _, err := s.Daemon.Reload(deadline(t)); err != nil {
		t.Fatal(err)
	}
	if said := s.aboutDaemon(); said != daemonIsWell {
		t.Errorf("after a reload the doctor says:\n%s", said)
	}
}

// Another milter, such as OpenDKIM, may have been given our socket. It negotiates like us.
func TestTheDoctorFindsAnotherMilterOnOurSocket(t *testing.T) {
	t.Parallel()
	s := startSite(t, lab.SiteConfig{})
	path := filepath.Join(s.Dir, "milter.sock")
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer conn.Close()
				offer := make([]byte, 17)
				if _, err := io.ReadFull(conn, offer); err == nil {
					conn.Write(offer)
					io.Copy(io.Discard, conn)
				}
			}()
		}
	}()
	mustSay(t, s.aboutDaemon(), "FAIL  daemon         something answers at unix:{dir}/milter.sock that is not this daemon: the connection did not arrive there\n",
		"  do: find out who listens there (ss -lntxp), give one of the two another address, and run: systemctl restart coexistd\n",
		"ok    daemon         the lookup answers at unix:{dir}/lookup.sock\n")
}

func TestTheDoctorSaysThatTheDaemonCannotBeAsked(t *testing.T) {
	t.Parallel()
	s := startSite(t, lab.SiteConfig{})
	if err := os.Remove(filepath.Join(s.Dir, "state", "control.sock")); err != nil {
		t.Fatal(err)
	}
	mustSay(t, s.aboutDaemon(), "warn  daemon         the milter answers at unix:{dir}/milter.sock; whether it is coexistd cannot be told\n",
		"FAIL  daemon         what the daemon has in its memory cannot be told: no daemon runs with this configuration: nothing answers at unix:{dir}/state/control.sock")
}

func TestTheDoctorSeesAListenerThatTheDaemonHasNotYet(t *testing.T) {
	t.Parallel()
	s := startSite(t, lab.SiteConfig{})
	toml := strings.Replace(lab.SiteTOML, "[[lookup]]\n", "[[listen]]\naddress = \"unix:{dir}/second.sock\"\n[[lookup]]\n", 1)
	if err := s.WriteTOML(toml); err != nil {
		t.Fatal(err)
	}
	mustSay(t, s.aboutDaemon(), "FAIL  daemon         the milter does not answer at unix:{dir}/second.sock, where the running daemon does not listen yet\n  do: run: systemctl reload coexistd\n")
	if _, err := s.Daemon.Reload(deadline(t)); err != nil {
		t.Fatal(err)
	}
	mustSay(t, s.aboutDaemon(), "ok    daemon         the milter answers at unix:{dir}/second.sock\n")
}
