package lab

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
)

// layOut makes the instance's folders, and the files of its machine.
func (m *Sendmail) layOut() error {
	var errs []error
	for name, mode := range map[string]os.FileMode{"etc": 0o755, "dev": 0o755, "queue": 0o700, "submit": 0o770, "home": 0o755} {
		errs = append(errs, os.Mkdir(m.path(name), mode))
	}
	for _, device := range []string{"null", "zero", "random", "urandom"} {
		errs = append(errs, os.WriteFile(m.path("dev", device), nil, 0o644))
	}
	passwd, err := os.ReadFile("/etc/passwd")
	errs = append(errs, err)
	const uids = 61000 // from here on: no distribution gives them away
	for i, name := range append([]string{"smmsp"}, m.config.Accounts...) {
		passwd = fmt.Appendf(passwd, "%s:x:%d:%d::%s:/bin/sh\n", name, uids+i, uids+i, m.path("home", name))
		errs = append(errs, os.Mkdir(m.path("home", name), 0o755), os.Chown(m.path("home", name), uids+i, uids+i))
	}
	// The sendmail command, which hands mail on as smmsp, has a queue of its own.
	errs = append(errs, os.Chown(m.path("submit"), uids, uids))
	files := map[string]string{
		"passwd":         string(passwd),
		"hosts":          "127.0.0.1 localhost\n127.0.0.1 mta.lab.test\n",
		"nsswitch.conf":  "passwd: files\ngroup: files\nhosts: files\n",
		"service.switch": "hosts files\naliases files\npasswd files\n",
		"Sendmail.conf":  "pwcheck_method: saslauthd\nsaslauthd_path: " + m.path("auth") + "\nmech_list: PLAIN\n",
		"aliases":        "postmaster: root\n",
	}
	maps.Copy(files, m.config.Files)
	for name, content := range files {
		mode := os.FileMode(0o644)
		if strings.HasSuffix(name, "key.pem") {
			mode = 0o600 // it uses no private key that others can read
		}
		errs = append(errs, os.WriteFile(m.path("etc", name), []byte(content), mode))
	}
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("lab: laying Sendmail out: %w", err)
	}
	return nil
}

// configure writes sendmail.cf and submit.cf, of what m4 makes of sendmail.mc and
// submit.mc.
func (m *Sendmail) configure(ctx context.Context) error {
	mailers, table, err := mailersOf(m.config.Routes)
	if err != nil {
		return err
	}
	head := []string{
		"define(`_CF_DIR_', `" + filepath.Join(m.programs.sendmailTree, "usr/share/sendmail/cf") + "/')dnl",
		"include(_CF_DIR_`m4/cf.m4')dnl",
		"VERSIONID(`lab')dnl",
		"OSTYPE(`linux')dnl",
	}
	settings := []string{
		"define(`confDOMAIN_NAME', `mta.lab.test')dnl",
		"define(`confTO_IDENT', `0')dnl",
		"define(`confDOUBLE_BOUNCE_ADDRESS', `')dnl",
		"define(`confLOG_LEVEL', `10')dnl", // from here on it logs that it listens
		"define(`confREFUSE_LA', `200')dnl",
		"define(`confQUEUE_LA', `200')dnl",
		"define(`confSERVICE_SWITCH_FILE', `" + m.path("etc", "service.switch") + "')dnl",
	}
	head = append(append(head, "define(`confMAX_HEADERS_LENGTH', `262144')dnl"), settings...)
	own := []string{
		"define(`confDONT_PROBE_INTERFACES', `True')dnl",
		"define(`QUEUE_DIR', `" + m.path("queue") + "')dnl",
		"define(`confPID_FILE', `" + m.path("pid") + "')dnl",
		"define(`STATUS_FILE', `')dnl",
		"define(`ALIAS_FILE', `" + m.path("etc", "aliases") + "')dnl",
		"FEATURE(`nocanonify')dnl",
		"FEATURE(`accept_unresolvable_domains')dnl",
	}
	if table != "" || !m.config.Debian {
		if err := os.WriteFile(m.path("etc", "mailertable"), []byte(table), 0o644); err != nil {
			return fmt.Errorf("lab: %w", err)
		}
		own = append(own, "FEATURE(`mailertable', `text -k0 -v1 "+m.path("etc", "mailertable")+"')dnl")
	}
	// Sendmail empties its environment but for such lines.
	sasl := []string{
		"LOCAL_CONFIG",
		"ESASL_CONF_PATH=" + m.path("etc"),
		"ESASL_PATH=" + m.programs.saslPlugins(),
		"divert(0)dnl",
	}
	_, port, _ := net.SplitHostPort(m.addresses["public"])
	submit := append(head,
		"define(`MSP_QUEUE_DIR', `"+m.path("submit")+"')dnl",
		"define(`confPID_FILE', `"+m.path("submit", "pid")+"')dnl",
		"define(`RELAY_MAILER_ARGS', `TCP $h "+port+"')dnl",
		"FEATURE(`msp', `[127.0.0.1]')dnl")
	if m.config.Debian {
		err = m.configureDebian(ctx, slices.Concat(settings, own, m.config.MC, sasl), mailers)
	} else {
		err = m.build(ctx, "sendmail", slices.Concat(head, own, []string{
			"define(`confAUTH_MECHANISMS', `PLAIN')dnl",
			"TRUST_AUTH_MECH(`PLAIN')dnl",
			"FEATURE(`no_default_msa')dnl",
		}, m.daemonOptions(), m.config.MC, sasl, []string{"MAILER(`local')dnl", "MAILER(`smtp')dnl"}, mailers))
	}
	if err := errors.Join(err, m.build(ctx, "submit", submit)); err != nil {
		return err
	}
	return m.NewAliases(ctx)
}

// daemonOptions has a line for each service.
func (m *Sendmail) daemonOptions() []string {
	var lines []string
	for _, name := range slices.Sorted(maps.Keys(m.config.Services)) {
		host, port, _ := net.SplitHostPort(m.addresses[name])
		line := "Name=" + name + ", Addr=" + host + ", Port=" + port
		if options := m.config.Services[name]; options != "" {
			line += ", " + options
		}
		lines = append(lines, "DAEMON_OPTIONS(`"+line+"')dnl")
	}
	return lines
}

// mailersOf makes a mailer for each next hop, since it is the mailer that has the port,
// and the mailertable. A message's lines stay as long as they are (L=0).
func mailersOf(routes map[string]string) (mailers []string, table string, err error) {
	mailers = []string{"MAILER_DEFINITIONS"}
	for i, domain := range slices.Sorted(maps.Keys(routes)) {
		kind, hop, _ := strings.Cut(routes[domain], ":")
		host, port, err := net.SplitHostPort(strings.TrimPrefix(hop, "inet:"))
		if err != nil {
			return nil, "", fmt.Errorf("lab: the next hop %q of %s: %w", routes[domain], domain, err)
		}
		flags := "mDFMuXa8"
		if kind == "lmtp" {
			flags += "z"
		}
		mailers = append(mailers, fmt.Sprintf("Mroute%d, P=[IPC], F=%s, S=EnvFromSMTP/HdrFromSMTP, R=EnvToSMTP, E=\\r\\n, L=0, T=DNS/RFC822/SMTP, A=TCP $h %s", i, flags, port))
		table += fmt.Sprintf("%s route%d:[%s]\n", domain, i, host)
	}
	return mailers, table, nil
}

// build has m4 make NAME.cf of NAME.mc.
func (m *Sendmail) build(ctx context.Context, name string, lines []string) error {
	text := strings.ReplaceAll(strings.Join(lines, "\n")+"\n", "{etc}", m.path("etc"))
	return m.programs.makeCF(ctx, m.path("etc", name), text)
}

// MakeSendmailCF writes a sendmail.mc of some lines into a folder, with the mailers local and smtp behind
// them, and what Sendmail's m4 makes of it.
func (p *Programs) MakeSendmailCF(ctx context.Context, dir string, lines ...string) error {
	cf := filepath.Join(p.sendmailTree, "usr/share/sendmail/cf")
	head := "define(`_CF_DIR_', `" + cf + "/')dnl\ninclude(_CF_DIR_`m4/cf.m4')dnl\nVERSIONID(`lab')dnl\nOSTYPE(`linux')dnl\n"
	return p.makeCF(ctx, filepath.Join(dir, "sendmail"), head+strings.Join(lines, "\n")+"\nMAILER(`local')dnl\nMAILER(`smtp')dnl\n")
}

// makeCF writes PATH.mc, and has m4 make PATH.cf of it.
func (p *Programs) makeCF(ctx context.Context, path, text string) error {
	if err := os.WriteFile(path+".mc", []byte(text), 0o644); err != nil {
		return fmt.Errorf("lab: %w", err)
	}
	cmd := exec.CommandContext(ctx, filepath.Join(p.sendmailTree, "usr/bin/m4"), path+".mc")
	cmd.Env = environment(p.sendmailPath)
	var complaint bytes.Buffer
	cmd.Stderr = &complaint
	made, err := cmd.Output()
	if err == nil {
		err = os.WriteFile(path+".cf", made, 0o644)
	}
	if err != nil {
		return fmt.Errorf("lab: making %s.cf: %w: %s", filepath.Base(path), err, complaint.Bytes())
	}
	return nil
}

// NewAliases makes the database of the aliases file, as the command newaliases does.
func (m *Sendmail) NewAliases(ctx context.Context) error {
	out, err := m.command(ctx, "-C", m.path("etc", "sendmail.cf"), "-bi").CombinedOutput()
	if err != nil {
		return fmt.Errorf("lab: newaliases: %w: %s", err, out)
	}
	return nil
}
