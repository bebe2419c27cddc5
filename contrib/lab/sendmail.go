package lab

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"syscall"
	"time"
)

// SendmailConfig says how an instance of Sendmail differs from the lab's plain one. The
// plain one is called mta.lab.test, is final destination of no domain, lets loopback
// alone relay, and asks no DNS.
type SendmailConfig struct {
	// Services are the listeners on 127.0.0.1, by the names under which Addr knows them,
	// with further options of DaemonPortOptions: "M=A" offers no AUTH, "M=a" demands it.
	Services map[string]string
	// Debian has sendmail.mc, the access map and a Makefile be those of Debian's package, with the ports
	// and the places of the lab. Its services are "public" and "submission". It has a mailertable where there are
	// Routes.
	Debian bool
	// MC are further lines of sendmail.mc, behind the lab's FEATURE lines and before its
	// mailers. {etc} stands for the folder with Files.
	MC []string
	// Routes says by domain where mail goes: a domain or "." to a next hop such as
	// Sink.NextHop gives.
	Routes map[string]string
	// Users are logins with their passwords, for AUTH PLAIN.
	Users map[string]string
	// Accounts are the local mailboxes: names that Sendmail finds in /etc/passwd. Their
	// home folders are below Dir, in "home".
	Accounts []string
	// Files are further files of the folder etc, by their bare names.
	Files map[string]string
	// LogFile is a file that gets the log; empty: none.
	LogFile string
	// Visible are folders that the instance must reach: those of sockets.
	Visible []string
}

// Sendmail is a running private instance: its own configuration, queue, processes and
// log. It sees a machine of its own: the host's name, /etc/hosts, /etc/passwd, /dev/log
// and /tmp are not those of the machine.
type Sendmail struct {
	instance // etc, queue and home are below Dir

	config SendmailConfig
}

// StartSendmail starts an instance and returns when its services accept connections. The
// error holds what Sendmail said. ctx bounds the start only; Stop ends the instance.
func (p *Programs) StartSendmail(ctx context.Context, c SendmailConfig) (_ *Sendmail, err error) {
	if os.Geteuid() != 0 {
		return nil, errors.New("lab: only root can give Sendmail a machine of its own: run as root")
	}
	dir, err := TempDir()
	if err != nil {
		return nil, err
	}
	m := &Sendmail{instance: instance{Dir: dir, programs: p, log: newLogbook(), signal: syscall.SIGKILL}, config: c}
	defer func() {
		if err != nil {
			err = errors.Join(err, m.Stop())
		}
	}()
	if err := m.log.copyTo(c.LogFile); err != nil {
		return nil, err
	}
	var services []Service
	for name := range c.Services {
		services = append(services, Service{Name: name})
	}
	if m.addresses, err = addressesOf(services); err != nil {
		return nil, err
	}
	if err := m.layOut(); err != nil {
		return nil, err
	}
	if err := m.log.listen(m.path("dev", "log")); err != nil {
		return nil, err
	}
	if c.Users != nil {
		if m.auth, err = startSaslauthd(m.path("auth"), c.Users); err != nil {
			return nil, err
		}
	}
	if err := m.configure(ctx); err != nil {
		return nil, err
	}
	return m, m.begin(ctx)
}

// machine gives what it runs a machine of its own: $1 is the instance's folder, $2 the
// number of folders of /tmp that stay visible, which follow, and then the command. Sendmail
// wants a host's name with a dot that /etc/hosts knows, logs to /dev/log, and takes no
// socket or map below a folder into which others may write, as /tmp is.
const machine = `set -e
dir=$1 visible=$2
shift 2
hostname mta.lab.test
for file in hosts nsswitch.conf passwd; do mount --bind "$dir/etc/$file" /etc/$file; done
for device in null zero random urandom; do mount --bind /dev/$device "$dir/dev/$device"; done
mount --rbind "$dir/dev" /dev
mount --bind /tmp /mnt
mount -t tmpfs -o mode=0755 lab /tmp
while [ $visible -gt 0 ]; do
	case $1 in /tmp/*)
		mkdir -p "$1"
		mount --rbind "/mnt${1#/tmp}" "$1" ;;
	esac
	shift
	visible=$((visible - 1))
done
umount -l /mnt
cd /
exec "$@"`

// command prepares Sendmail's program in the instance's machine.
func (m *Sendmail) command(ctx context.Context, args ...string) *exec.Cmd {
	visible := append([]string{m.Dir, m.programs.sendmailTree}, m.config.Visible...)
	all := []string{"--uts", "--mount", "--pid", "--fork", "--kill-child", "/bin/sh", "-c", machine, "machine", m.Dir, fmt.Sprint(len(visible))}
	all = append(append(all, visible...), filepath.Join(m.programs.sendmailTree, "usr/libexec/sendmail/sendmail"))
	cmd := exec.CommandContext(ctx, "unshare", append(all, args...)...)
	cmd.Env = environment(m.programs.sendmailPath)
	cmd.Dir = "/"
	return cmd
}

var listening = regexp.MustCompile(`sendmail\[\d+\]: started as: `)

// begin starts the daemon in the foreground, as the first process of its machine: its
// end is the end of all the others.
func (m *Sendmail) begin(ctx context.Context) error {
	cmd := m.command(context.WithoutCancel(ctx), "-C", m.path("etc", "sendmail.cf"), "-bD", "-q1h")
	if err := m.launch(ctx, "Sendmail", cmd, listening); err != nil {
		return err
	}
	return m.waitListening(ctx)
}

// waitListening returns when each service accepts connections. Of that Sendmail logs
// nothing: what it says last, it says before.
func (m *Sendmail) waitListening(ctx context.Context) error {
	const often = 5 * time.Millisecond
	for name, address := range m.addresses {
		for {
			conn, err := net.Dial("tcp", address)
			if err == nil {
				conn.Close()
				break
			}
			select {
			case <-time.After(often):
			case <-m.gone:
				return fmt.Errorf("lab: Sendmail has ended; it said:\n%s", m.log)
			case <-ctx.Done():
				return fmt.Errorf("lab: Sendmail's service %s: %w; it said:\n%s", name, err, m.log)
			}
		}
	}
	return nil
}

// Again ends the instance's processes, and starts it with its configuration as that is by now.
func (m *Sendmail) Again(ctx context.Context) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.end()
	return m.begin(ctx)
}

// Forward writes the .forward file of an account.
func (m *Sendmail) Forward(account, content string) error {
	home := m.path("home", account)
	info, err := os.Stat(home)
	if err == nil {
		path := filepath.Join(home, ".forward")
		owner := info.Sys().(*syscall.Stat_t)
		err = errors.Join(os.WriteFile(path, []byte(content), 0o644), os.Chown(path, int(owner.Uid), int(owner.Gid)))
	}
	if err != nil {
		return fmt.Errorf("lab: the .forward file of %s: %w", account, err)
	}
	return nil
}
