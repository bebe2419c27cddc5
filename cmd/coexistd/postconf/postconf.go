// Package postconf reads Postfix's configuration as Postfix itself does: by its command
// postconf.
package postconf

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

const (
	// readTime bounds the reading of the whole configuration.
	readTime = 15 * time.Second
	// endTime is how long a command may take to end once it was told to.
	endTime = 4 * time.Second
)

// Names are the settings of main.cf that are read.
var Names = [...]string{
	"smtpd_milters", "non_smtpd_milters", "milter_default_action", "milter_protocol", "receive_override_options",
	"virtual_alias_maps", "canonical_maps", "recipient_canonical_maps", "virtual_mailbox_maps", "local_recipient_maps", "relay_recipient_maps", "transport_maps",
	"message_size_limit", "mynetworks", "recipient_delimiter", "queue_directory", "compatibility_level",
	"mydestination", "virtual_alias_domains", "virtual_mailbox_domains", "relay_domains", "parent_domain_matches_subdomains",
	"luser_relay", "mailbox_transport", "mailbox_transport_maps", "fallback_transport", "fallback_transport_maps",
	"local_transport", "virtual_transport", "relay_transport", "relayhost", "virtual_mailbox_base",
	"alias_maps", "myorigin", "myhostname", "append_at_myorigin", "mail_version", "config_directory", "command_directory",
	"message_strip_characters", "message_reject_characters", "enable_original_recipient", "smtpd_sasl_auth_enable", "smtpd_sasl_type", "smtpd_sasl_path",
	"smtpd_authorized_xclient_hosts", "smtpd_upstream_proxy_protocol", "postscreen_upstream_proxy_protocol",
	"smtpd_milter_maps", "content_filter", "smtpd_proxy_filter", "mail_owner", "smtpd_relay_restrictions", "smtpd_recipient_restrictions",
	"smtpd_client_restrictions", "smtpd_helo_restrictions", "smtpd_sender_restrictions", "smtpd_data_restrictions",
	"postscreen_dnsbl_sites", "postscreen_dnsbl_action", "postscreen_access_list",
	"smtpd_tls_cert_file", "smtpd_tls_key_file", "smtpd_tls_chain_files", "smtpd_tls_ask_ccert", "smtpd_tls_req_ccert", "smtpd_tls_security_level", "smtp_tls_policy_maps",
	"smtp_tls_CAfile", "smtp_tls_CApath", "tls_append_default_CA", "smtp_dns_support_level", "smtp_tls_cert_file", "smtp_tls_chain_files", "smtp_tls_security_level", "smtp_sasl_auth_enable",
}

// LocalOthers are the settings by which local(8) hands on mail to names that are no accounts.
var LocalOthers = [...]string{"luser_relay", "mailbox_transport", "mailbox_transport_maps", "fallback_transport", "fallback_transport_maps"}

// ErrNone says that this host has no postconf command.
var ErrNone = errors.New("no Postfix was found")

// Settings are what Postfix's configuration says.
type Settings struct {
	// Main holds each of Names with its value, in which other settings' names are
	// replaced by their values.
	Main map[string]string
	// Raw holds the same in main.cf's own words, or in those of Postfix's defaults.
	Raw map[string]string
	// Services are the lines of master.cf.
	Services []*Service
	// Logins are the values that smtpd_sasl_type may have in this build.
	Logins []string
	// Postmap is the path of the command that reads tables.
	Postmap string

	written map[string]bool
}

// Read asks postconf, which is sought in PATH and in /usr/sbin. The error is ErrNone where
// there is none.
func Read(ctx context.Context) (*Settings, error) {
	path, err := exec.LookPath("postconf")
	if err != nil {
		if path, err = exec.LookPath("/usr/sbin/postconf"); err != nil {
			return nil, ErrNone
		}
	}
	return ReadBy(ctx, path)
}

// ReadBy asks the postconf command at a path.
func ReadBy(ctx context.Context, path string) (*Settings, error) {
	ctx, cancel := context.WithTimeout(ctx, readTime)
	defer cancel()
	p := &Settings{Main: make(map[string]string), Raw: make(map[string]string), written: make(map[string]bool)}
	for _, question := range [...]struct {
		args []string
		add  func(line string)
	}{
		{append([]string{"-x"}, Names[:]...), p.addSetting},
		{Names[:], p.addRaw},
		{append([]string{"-n"}, Names[:]...), p.addWritten},
		{[]string{"-M"}, p.addService},
		{[]string{"-xP"}, p.addOption},
		{[]string{"-a"}, p.addLogin},
	} {
		lines, err := run(ctx, path, question.args...)
		if err != nil {
			return nil, err
		}
		for _, line := range lines {
			question.add(line)
		}
	}
	p.Postmap = filepath.Join(filepath.Dir(path), "postmap")
	if _, err := os.Stat(p.Postmap); err != nil {
		p.Postmap = filepath.Join(p.Main["command_directory"], "postmap")
	}
	return p, nil
}

// run runs postconf and returns its lines.
func run(ctx context.Context, path string, args ...string) ([]string, error) {
	cmd := exec.CommandContext(ctx, path, args...)
	cmd.WaitDelay = endTime
	var complaint bytes.Buffer
	cmd.Stderr = &complaint
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("postconf %.80s: %w: %.500s", strings.Join(args, " "), err, strings.TrimSpace(complaint.String()))
	}
	return strings.Split(strings.TrimSpace(string(out)), "\n"), nil
}

// setting reads postconf's "NAME = VALUE"; without a value, "NAME =".
func setting(line string) (name, value string) {
	name, value, _ = strings.Cut(line, " =")
	return name, strings.TrimPrefix(value, " ")
}

func (p *Settings) addSetting(line string) {
	name, value := setting(line)
	p.Main[name] = value
}

func (p *Settings) addRaw(line string) {
	name, value := setting(line)
	p.Raw[name] = value
}

func (p *Settings) addWritten(line string) {
	name, _ := setting(line)
	p.written[name] = true
}

// IsWritten reports a setting that main.cf sets; the others have Postfix's defaults.
func (p *Settings) IsWritten(name string) bool { return p.written[name] }

// addService reads the fields of master(5): name, type, private, unprivileged,
// chroot, wakeup, limit, command.
func (p *Settings) addService(line string) {
	fields := strings.Fields(line)
	if len(fields) < 8 {
		return
	}
	p.Services = append(p.Services, &Service{
		Name: fields[0], Kind: fields[1], Program: filepath.Base(fields[7]),
		// Without a word, only a Postfix that behaves like one before 3.0 has it.
		Chroot: fields[4] == "y" || fields[4] == "-" && p.Main["compatibility_level"] == "0",
		Own:    make(map[string]string),
	})
}

// addOption reads "NAME/TYPE/PARAMETER = VALUE".
func (p *Settings) addOption(line string) {
	key, value := setting(line)
	for _, s := range p.Services {
		if parameter, is := strings.CutPrefix(key, s.Name+"/"+s.Kind+"/"); is {
			s.Own[parameter] = value
		}
	}
}

func (p *Settings) addLogin(line string) {
	if line != "" {
		p.Logins = append(p.Logins, line)
	}
}

// IsFrom reports a Postfix of that major version or a later one.
func (p *Settings) IsFrom(major int) bool {
	first, _, _ := strings.Cut(p.Main["mail_version"], ".")
	version, err := strconv.Atoi(first)
	return err == nil && version >= major
}

// MessageSizeLimit is the size of the largest message that Postfix takes, in
// bytes. 0: it takes any.
func (p *Settings) MessageSizeLimit() (limit int64, known bool) {
	limit, err := strconv.ParseInt(p.Main["message_size_limit"], 10, 64)
	return limit, err == nil
}

// Networks are the networks that mynetworks lists. Others says that it names
// more, by tables or by exceptions.
func (p *Settings) Networks() (list []netip.Prefix, others bool) {
	return Networks(p.Main["mynetworks"])
}

// Networks are the networks that a setting's value lists. Others says that it names more, by
// tables, names or exceptions.
func Networks(value string) (list []netip.Prefix, others bool) {
	for _, text := range List(value) {
		one, err := network(text)
		if err != nil {
			others = true
			continue
		}
		list = append(list, one)
	}
	return list, others
}

// Exceptions are the networks that a setting's value excepts, each with a ! in front.
func Exceptions(value string) (list []netip.Prefix) {
	for _, text := range List(value) {
		except, is := strings.CutPrefix(text, "!")
		if one, err := network(except); is && err == nil {
			list = append(list, one)
		}
	}
	return list
}

// network reads a network as mynetworks has it: 127.0.0.0/8, 10.0.0.1,
// [::1]/128 or [::ffff:127.0.0.0]/104.
func network(text string) (netip.Prefix, error) {
	text = strings.NewReplacer("[", "", "]", "").Replace(text)
	if address, err := netip.ParseAddr(text); err == nil {
		address = address.Unmap()
		return netip.PrefixFrom(address, address.BitLen()), nil
	}
	prefix, err := netip.ParsePrefix(text)
	if address := prefix.Addr(); err == nil && address.Is4In6() && prefix.Bits() >= 96 {
		prefix = netip.PrefixFrom(address.Unmap(), prefix.Bits()-96)
	}
	return prefix, err
}

// List cuts a setting's value at commas and spaces that are not between braces.
func List(text string) []string {
	var list []string
	depth, start := 0, 0
	text += " "
	for i, c := range text {
		switch {
		case c == '{':
			depth++
		case c == '}':
			depth--
		case depth <= 0 && strings.ContainsRune(", \t\r\n", c):
			if i > start {
				list = append(list, text[start:i])
			}
			start = i + 1
		}
	}
	return list
}
