package lab

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// masquerading is what Debian's package adds to sendmail.mc when it is installed, with what /etc/mailname
// says (update_mc).
const masquerading = "dnl # Masquerading options\nFEATURE(`always_add_domain')dnl\nMASQUERADE_AS(`mta.lab.test')dnl\n" +
	"FEATURE(`allmasquerade')dnl\nFEATURE(`masquerade_envelope')dnl\ndnl #\n"

// configureDebian writes what Debian's package writes when it is installed: its sendmail.mc, its
// access map and a Makefile, with the ports of the lab, and with the places of the lab where those of the
// machine stand. What the lab must have besides is where Debian includes an administrator's own lines.
func (m *Sendmail) configureDebian(ctx context.Context, lab, mailers []string) error {
	cf := filepath.Join(m.programs.sendmailTree, "usr/share/sendmail/cf")
	text, err := os.ReadFile(filepath.Join(cf, "debian/sendmail.mc"))
	if err != nil {
		return fmt.Errorf("lab: %w", err)
	}
	port := func(service string) string {
		_, port, _ := net.SplitHostPort(m.addresses[service])
		return port
	}
	etc := m.path("etc") + "/"
	mc := strings.NewReplacer(
		"include(`/usr/share/sendmail/cf/m4/cf.m4')dnl", "define(`_CF_DIR_', `"+cf+"/')dnl\ninclude(`"+cf+"/m4/cf.m4')dnl\n"+
			"define(`MAIL_SETTINGS_DIR', `"+etc+"')dnl\ninclude(`"+cf+"/debian/autoconf.m4')dnl",
		"/etc/mail/", etc,
		"dnl # Default Mailer setup", masquerading+"dnl # Default Mailer setup",
		"Name=MTA-v4, Port=smtp", "Name=MTA-v4, Port="+port("public"),
		"Name=MSP-v4, Port=submission", "Name=MSP-v4, Port="+port("submission"),
	).Replace(string(text))
	access, err := os.ReadFile(filepath.Join(m.programs.sendmailTree, "usr/share/sendmail/examples/db/access"))
	if err != nil {
		return fmt.Errorf("lab: %w", err)
	}
	// All hosts of the lab are at loopback. Of these, one stands for this host, and the others' mail comes
	// without pauses; that of some who are no platform, as often as they want.
	rows := strings.NewReplacer(
		"Connect:127\t", "Connect:127.0.0.1\t", "ClientRate:127\t", "ClientRate:127.0.0.1\t", "ClientConn:127\t", "ClientConn:127.0.0.1\t",
	).Replace(string(access)) + "ClientRate:127.0.3\t0\nClientRate:127.0.4\t0\n"
	program := func(name string) string {
		return "env LD_LIBRARY_PATH=" + m.programs.sendmailPath + " " + filepath.Join(m.programs.sendmailTree, name)
	}
	makefile := "all: sendmail.cf $(addsuffix .db,$(wildcard access mailertable virtusertable))\n" +
		"sendmail.cf: sendmail.mc\n\t@" + program("usr/bin/m4") + " sendmail.mc > sendmail.cf.new && mv sendmail.cf.new sendmail.cf\n" +
		"%.db: %\n\t@" + program("usr/libexec/sendmail/makemap") + " -C sendmail.cf hash $< < $<\n"
	if err := os.Mkdir(m.path("etc", "m4"), 0o755); err != nil {
		return fmt.Errorf("lab: %w", err)
	}
	for name, content := range map[string]string{
		"sendmail.mc": mc + strings.Join(mailers, "\n") + "\n", "access": rows, "Makefile": makefile, "local-host-names": "localhost\nmta.lab.test\n", "trusted-users": "",
		"m4/dialup.m4": "define(`confTRUSTED_USER', `root')dnl\nundefine(`confHOST_STATUS_DIRECTORY')dnl\nundefine(`confCONTROL_SOCKET_NAME')dnl\n", "m4/provider.m4": strings.Join(lab, "\n") + "\n",
	} {
		if err := os.WriteFile(m.path("etc", name), []byte(strings.ReplaceAll(content, "{etc}", m.path("etc"))), 0o644); err != nil {
			return fmt.Errorf("lab: %w", err)
		}
	}
	return m.make(ctx)
}

// make has the Makefile of the folder etc make what it knows of.
func (m *Sendmail) make(ctx context.Context) error {
	cmd := exec.CommandContext(ctx, "make", "-C", m.path("etc"))
	cmd.Env = environment("")
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("lab: make: %w: %s", err, out)
	}
	return nil
}
