package lab

import (
	"bufio"
	"context"
	"encoding/base64"
	"fmt"
	"maps"
	"net"
	"path/filepath"
	"slices"
	"strings"
)

// Dovecot is a running Dovecot that does nothing but tell whether a password
// is right. It does so for Postfix with Config.SASL.
type Dovecot struct {
	*filter
	Socket string // the absolute path where it is asked
}

// {dir} stands for the instance's folder. The two accounts exist on every
// Debian; Dovecot's own exist only where it is installed. A wrong password is
// answered at once: neither the usual delay nor that for a client which has
// been wrong before (auth-penalty) applies.
const dovecotConf = `protocols =
base_dir = {dir}/run
state_dir = {dir}/run
log_path = /dev/stderr
import_environment = LD_LIBRARY_PATH
default_internal_user = mail
default_internal_group = mail
default_login_user = daemon
ssl = no
auth_mechanisms = plain
auth_failure_delay = 0
passdb {
  driver = passwd-file
  args = {dir}/users
}
service anvil {
  unix_listener anvil-auth-penalty {
    mode = 0
  }
}
service auth {
  unix_listener {dir}/auth {
    mode = 0666
  }
}
`

// StartDovecot starts a Dovecot that knows these logins with their passwords,
// for the mechanism PLAIN, and returns when it can be asked. ctx bounds the
// start only; Stop ends it.
func (f *Filters) StartDovecot(ctx context.Context, users map[string]string) (*Dovecot, error) {
	passwd, err := passwdFile(users)
	if err != nil {
		return nil, err
	}
	dir, err := TempDir()
	if err != nil {
		return nil, err
	}
	conf, path := strings.ReplaceAll(dovecotConf, "{dir}", dir), filepath.Join(dir, "dovecot.conf")
	program, args := f.dovecot, []string{"-F", "-c", path}
	if tree := program.tree; tree != "" {
		// Dovecot looks for the program that reads its configuration at the
		// place where that is installed. Started by that one, it does not.
		args = append([]string{"-f", "service=master", "-m", "master", "-c", path, "-e", program.path}, args...)
		program.path = filepath.Join(tree, "usr/bin/doveconf")
		conf += "libexec_dir = " + filepath.Join(tree, "usr/lib/dovecot") + "\n"
	}
	d := &Dovecot{Socket: filepath.Join(dir, "auth")}
	d.filter = &filter{
		name: "dovecot", program: program, args: args, dir: dir,
		files:  map[string]string{"dovecot.conf": conf, "users": passwd},
		socket: d.Socket, log: newLogbook(),
		ready: func(ctx context.Context) error { return greetDovecot(ctx, d.Socket) },
	}
	if err := d.Start(ctx); err != nil {
		return nil, err
	}
	return d, nil
}

// passwdFile has a line for each user, in which a colon ends the name and the
// password. The latter is encoded, so it may have some.
func passwdFile(users map[string]string) (string, error) {
	var b strings.Builder
	for _, name := range slices.Sorted(maps.Keys(users)) {
		if name == "" || strings.ContainsAny(name, ":\n") {
			return "", fmt.Errorf("lab: %q cannot be a login: it must be without colons and line breaks", name)
		}
		fmt.Fprintf(&b, "%s:{PLAIN.b64}%s\n", name, base64.StdEncoding.EncodeToString([]byte(users[name])))
	}
	return b.String(), nil
}

// greetDovecot reads what the server begins each connection with. The last
// line of it is DONE.
func greetDovecot(ctx context.Context, socket string) error {
	conn, err := new(net.Dialer).DialContext(ctx, "unix", socket)
	if err != nil {
		return err
	}
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { conn.Close() })()
	for greeting := bufio.NewReader(conn); ; {
		line, err := greeting.ReadString('\n')
		if err != nil {
			return fmt.Errorf("its greeting broke off: %w", err)
		}
		if line == "DONE\n" {
			return nil
		}
	}
}
