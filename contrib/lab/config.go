package lab

import (
	"cmp"
	"fmt"
	"maps"
	"net"
	"os"
	"os/user"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Config says how an instance of Postfix differs from the lab's plain one.
// The plain one is called mta.lab.test, is final destination of no domain,
// trusts no network, asks no DNS, and has all of Postfix's usual services but
// no smtpd.
type Config struct {
	// Services are the smtpd listeners.
	Services []Service
	// Main are main.cf settings; they win over the lab's own.
	Main map[string]string
	// Package has the usual services, with their chroot, and the settings be those that
	// Debian's package brings, where the lab does not need them otherwise.
	Package bool
	// Master are further lines of master.cf. One with the name and type of a
	// usual service takes its place.
	Master []string
	// Routes says by domain where mail goes, as transport(5) does: a domain
	// or "*" to a next hop such as Sink.NextHop gives. It becomes
	// transport_maps unless Main has that setting.
	Routes map[string]string
	// Users are logins with their passwords. They can authenticate with
	// PLAIN at the services that have smtpd_sasl_auth_enable = yes.
	Users map[string]string
	// SASL is where smtpd asks instead of Users whether a password is right:
	// an absolute path, such as Dovecot.Socket.
	SASL string
	// LogFile is a file that gets the log; empty: none.
	LogFile string
	// Files are further files of the configuration directory, by their bare
	// names; settings refer to them as texthash:$config_directory/NAME.
	Files map[string]string
}

// Service is one smtpd listener.
type Service struct {
	// Name is what Postfix.Addr knows the service by.
	Name string
	// Address is HOST:PORT. Port 0 has a free one picked; "" is 127.0.0.1:0.
	Address string
	// Settings are main.cf settings of this service alone (master.cf's -o).
	Settings map[string]string
}

const standardServices = `pickup unix n - n 60 1 pickup
cleanup unix n - n - 0 cleanup
qmgr unix n - n 10 1 qmgr
tlsmgr unix - - n 1000? 1 tlsmgr
rewrite unix - - n - - trivial-rewrite
bounce unix - - n - 0 bounce
defer unix - - n - 0 bounce
trace unix - - n - 0 bounce
verify unix - - n - 1 verify
flush unix n - n 1000? 0 flush
proxymap unix - - n - - proxymap
proxywrite unix - - n - 1 proxymap
smtp unix - - n - - smtp
relay unix - - n - - smtp
showq unix n - n - - showq
error unix - - n - - error
retry unix - - n - - error
discard unix - - n - - discard
local unix - n n - - local
virtual unix - n n - - virtual
lmtp unix - - n - - lmtp
anvil unix - - n - 1 anvil
scache unix - - n - 1 scache
`

// layout is an instance's folder with the accounts that own its parts.
type layout struct {
	dir                 string
	owner, group        string
	ownerUID, setgidGID int
}

func (l *layout) path(elem ...string) string {
	return filepath.Join(append([]string{l.dir}, elem...)...)
}

// newLayout makes the folders that Postfix does not make itself, with the
// owners and modes that its postfix-files gives them.
func newLayout(dir string) (*layout, error) {
	l := &layout{dir: dir}
	if err := l.findAccounts(); err != nil {
		return nil, err
	}
	type folder struct {
		path     string
		mode     os.FileMode
		uid, gid int
	}
	folders := []folder{
		{"etc", 0o755, 0, 0}, {"queue", 0o755, 0, 0}, {"queue/pid", 0o755, 0, 0},
		{"data", 0o700, l.ownerUID, 0},
		{"queue/maildrop", 0o730, l.ownerUID, l.setgidGID},
		{"queue/public", 0o710, l.ownerUID, l.setgidGID},
	}
	for _, name := range []string{"active", "bounce", "corrupt", "defer", "deferred", "flush", "hold", "incoming", "private", "saved", "trace"} {
		folders = append(folders, folder{"queue/" + name, 0o700, l.ownerUID, 0})
	}
	for _, f := range folders {
		path := l.path(f.path)
		if err := os.Mkdir(path, f.mode); err != nil {
			return nil, fmt.Errorf("lab: %w", err)
		}
		if err := os.Chown(path, f.uid, f.gid); err != nil {
			return nil, fmt.Errorf("lab: %w", err)
		}
		if err := os.Chmod(path, f.mode); err != nil {
			return nil, fmt.Errorf("lab: %w", err)
		}
	}
	return l, nil
}

// findAccounts picks accounts that exist on any machine. Postfix refuses root
// and nobody as mail_owner, and the owner's own group as setgid_group.
func (l *layout) findAccounts() error {
	var primary string
	for _, name := range []string{"postfix", "mail", "daemon"} {
		if u, err := user.Lookup(name); err == nil {
			l.owner, primary = name, u.Gid
			l.ownerUID, _ = strconv.Atoi(u.Uid)
			break
		}
	}
	for _, name := range []string{"postdrop", "daemon", "mail", "nogroup"} {
		if g, err := user.LookupGroup(name); err == nil && g.Gid != primary {
			l.group = name
			l.setgidGID, _ = strconv.Atoi(g.Gid)
			break
		}
	}
	if l.ownerUID == 0 || l.setgidGID == 0 {
		return fmt.Errorf("lab: Postfix needs an account of its own: neither postfix, mail nor daemon exists with a group of another account beside it")
	}
	return nil
}

func (l *layout) write(p *Programs, c Config, addresses map[string]string) error {
	if c.Users != nil && c.SASL != "" {
		return fmt.Errorf("lab: Config.SASL %q would be asked in the place of Config.Users: leave one out", c.SASL)
	}
	for name, content := range c.Files {
		if name != filepath.Base(name) || name == "main.cf" || name == "master.cf" || name == "transport" {
			return fmt.Errorf("lab: Config.Files cannot hold %q: give a bare name that the lab does not write itself", name)
		}
		if err := l.writeFile(name, content); err != nil {
			return err
		}
	}
	var routes strings.Builder
	for _, domain := range slices.Sorted(maps.Keys(c.Routes)) {
		fmt.Fprintf(&routes, "%s %s\n", domain, c.Routes[domain])
	}
	if err := l.writeFile("transport", routes.String()); err != nil {
		return err
	}
	master, err := masterFile(p, c, addresses)
	if err != nil {
		return err
	}
	if err := l.writeFile("master.cf", master); err != nil {
		return err
	}
	return l.writeMain(p, c)
}

func (l *layout) writeMain(p *Programs, c Config) error {
	settings := map[string]string{
		"compatibility_level":    "3.6",
		"queue_directory":        l.path("queue"),
		"data_directory":         l.path("data"),
		"daemon_directory":       p.daemons,
		"command_directory":      p.commands,
		"shlib_directory":        p.libraries,
		"meta_directory":         p.meta,
		"sendmail_path":          p.sendmail,
		"mail_owner":             l.owner,
		"setgid_group":           l.group,
		"maillog_file":           "/dev/stdout",
		"import_environment":     "MAIL_CONFIG LD_LIBRARY_PATH TZ LANG=C",
		"export_environment":     "MAIL_CONFIG LD_LIBRARY_PATH TZ LANG=C",
		"myhostname":             "mta.lab.test",
		"inet_interfaces":        "127.0.0.1",
		"mynetworks":             "",
		"mydestination":          "",
		"alias_maps":             "",
		"alias_database":         "",
		"smtp_dns_support_level": "disabled",
		"smtpd_peername_lookup":  "no",
		// These two make Postfix wait on purpose.
		"smtpd_error_sleep_time": "0",
		"in_flow_delay":          "0",
		// On a busy machine, a milter may need its time, and Postfix's processes
		// at times do not come to speak with each other at once: that is tried
		// again soon, and not after a minute.
		"milter_connect_timeout": "300s",
		"milter_command_timeout": "300s",
		"transport_retry_time":   "1s",
		"service_throttle_time":  "1s",
	}
	if len(c.Routes) > 0 {
		settings["transport_maps"] = "texthash:$config_directory/transport"
	}
	if c.Users != nil || c.SASL != "" {
		settings["smtpd_sasl_type"] = "dovecot"
		settings["smtpd_sasl_path"] = cmp.Or(c.SASL, authSocket)
	}
	if c.Package {
		packaged, err := p.packaged("main.cf.debian", "main.cf.tls")
		if err != nil {
			return err
		}
		for line := range strings.Lines(packaged) {
			name, value, _ := strings.Cut(line, "=")
			settings[strings.TrimSpace(name)] = cmp.Or(settings[strings.TrimSpace(name)], strings.TrimSpace(value))
		}
	}
	maps.Copy(settings, c.Main)
	var b strings.Builder
	for _, name := range slices.Sorted(maps.Keys(settings)) {
		if err := checkSetting(name, settings[name]); err != nil {
			return err
		}
		fmt.Fprintf(&b, "%s = %s\n", name, settings[name])
	}
	return l.writeFile("main.cf", b.String())
}

// writeFile gives the file a time in the past: Postfix takes a younger one for
// a file that is still being written, and reads it again and again until it
// is older than a second.
func (l *layout) writeFile(name, content string) error {
	path, past := l.path("etc", name), time.Now().Add(-time.Minute)
	if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
		return fmt.Errorf("lab: %w", err)
	}
	if err := os.Chtimes(path, past, past); err != nil {
		return fmt.Errorf("lab: %w", err)
	}
	return nil
}

// packaged returns the lines of files that the package of Postfix brings, without comments.
func (p *Programs) packaged(names ...string) (string, error) {
	var lines strings.Builder
	for _, name := range names {
		text, err := os.ReadFile(filepath.Join(p.commands, "../share/postfix", name))
		if err != nil {
			return "", fmt.Errorf("lab: %w", err)
		}
		for line := range strings.Lines(string(text)) {
			if strings.TrimSpace(line) != "" && line[0] != '#' {
				lines.WriteString(line)
			}
		}
	}
	return lines.String(), nil
}

func masterFile(p *Programs, c Config, addresses map[string]string) (string, error) {
	var b strings.Builder
	usual, chroot := standardServices, "n"
	if c.Package {
		packaged, err := p.packaged("master.cf.dist")
		if err != nil {
			return "", err
		}
		own := regexp.MustCompile(`(?m)^(smtp\s+inet|postlog\s).*\n`) // The lab keeps the log itself.
		usual, chroot = own.ReplaceAllString(packaged, ""), "y"
	}
	for _, s := range c.Services {
		fmt.Fprintf(&b, "%s inet n - %s - - smtpd", addresses[s.Name], chroot)
		for _, name := range slices.Sorted(maps.Keys(s.Settings)) {
			if err := checkSetting(name, s.Settings[name]); err != nil {
				return "", fmt.Errorf("%w (service %q)", err, s.Name)
			}
			fmt.Fprintf(&b, " -o { %s = %s }", name, s.Settings[name])
		}
		b.WriteString("\n")
	}
	own := map[string]bool{}
	for _, line := range c.Master {
		own[serviceKey(line)] = true
		b.WriteString(line + "\n")
	}
	for line := range strings.Lines(usual) {
		if !own[serviceKey(line)] {
			b.WriteString(line)
		}
	}
	return b.String(), nil
}

// serviceKey is what no two lines of master.cf may share: name and type.
func serviceKey(line string) string {
	fields := strings.Fields(line)
	return strings.Join(fields[:min(2, len(fields))], " ")
}

func checkSetting(name, value string) error {
	if name == "" || strings.ContainsAny(name, " \t\n={}") || strings.Contains(value, "\n") {
		return fmt.Errorf("lab: %q = %q is no Postfix setting: it must be one word and one line", name, value)
	}
	return nil
}

// addressesOf has the services' addresses, by their names.
func addressesOf(services []Service) (map[string]string, error) {
	addresses := map[string]string{}
	for _, s := range services {
		if _, twice := addresses[s.Name]; twice {
			return nil, fmt.Errorf("lab: two services are called %q: give each its own name", s.Name)
		}
		host, port, err := net.SplitHostPort(cmp.Or(s.Address, "127.0.0.1:0"))
		if err == nil && port == "0" {
			_, port, err = freeAddress()
		}
		address := net.JoinHostPort(host, port)
		if err == nil {
			err = isFree(address)
		}
		if err != nil {
			return nil, fmt.Errorf("lab: service %q: %w", s.Name, err)
		}
		addresses[s.Name] = address
	}
	return addresses, nil
}
