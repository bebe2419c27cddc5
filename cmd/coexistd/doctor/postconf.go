package doctor

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"coexistd/policy/networks"
)

// postfixSettings are those of main.cf that the doctor reads.
var postfixSettings = [...]string{
	"smtpd_milters", "non_smtpd_milters", "milter_default_action", "milter_protocol", "receive_override_options",
	"virtual_alias_maps", "virtual_mailbox_maps", "local_recipient_maps", "relay_recipient_maps", "transport_maps",
	"message_size_limit", "mynetworks", "recipient_delimiter", "queue_directory", "compatibility_level",
	"mydestination", "virtual_alias_domains", "virtual_mailbox_domains", "relay_domains", "parent_domain_matches_subdomains",
	"local_transport", "virtual_transport", "relay_transport", "relayhost", "virtual_mailbox_base",
	"alias_maps", "myorigin", "myhostname", "append_at_myorigin", "mail_version", "config_directory", "command_directory",
	"message_strip_characters", "message_reject_characters", "smtpd_sasl_auth_enable", "smtpd_sasl_type", "smtpd_sasl_path",
	"smtpd_milter_maps", "mail_owner",
}

// postfix is what Postfix's own configuration says.
type postfix struct {
	err      error             // why nothing is known; errNoPostfix when there is none
	main     map[string]string // postfixSettings by name
	explicit map[string]bool   // those that main.cf sets
	services []*postfixService
	logins   []string // the values that smtpd_sasl_type may have
	postmap  string   // the path of the command that reads tables
}

// postfixService is one line of master.cf.
type postfixService struct {
	name, kind, program string
	chroot              bool
	own                 map[string]string // its -o options by name
}

var errNoPostfix = errors.New("no Postfix was found")

// readPostfix asks the postconf command, which is Postfix's own reader of its
// configuration.
func readPostfix(ctx context.Context) *postfix {
	path, err := exec.LookPath("postconf")
	if err != nil {
		if path, err = exec.LookPath("/usr/sbin/postconf"); err != nil {
			return &postfix{err: errNoPostfix}
		}
	}
	ctx, cancel := context.WithTimeout(ctx, examineTime)
	defer cancel()
	p := &postfix{main: make(map[string]string), explicit: make(map[string]bool)}
	for _, question := range [...]struct {
		args []string
		add  func(line string)
	}{
		{append([]string{"-x"}, postfixSettings[:]...), p.addSetting},
		{append([]string{"-n"}, postfixSettings[:]...), p.addExplicit},
		{[]string{"-M"}, p.addService},
		{[]string{"-xP"}, p.addOption},
		{[]string{"-a"}, p.addLogin},
	} {
		lines, err := postconf(ctx, path, question.args...)
		if err != nil {
			return &postfix{err: err}
		}
		for _, line := range lines {
			question.add(line)
		}
	}
	p.postmap = filepath.Join(filepath.Dir(path), "postmap")
	if _, err := os.Stat(p.postmap); err != nil {
		p.postmap = filepath.Join(p.main["command_directory"], "postmap")
	}
	return p
}

func postconf(ctx context.Context, path string, args ...string) ([]string, error) {
	cmd := exec.CommandContext(ctx, path, args...)
	cmd.WaitDelay = questionTime
	var complaint bytes.Buffer
	cmd.Stderr = &complaint
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("postconf %s: %w: %.500s", args[0], err, strings.TrimSpace(complaint.String()))
	}
	return strings.Split(strings.TrimSpace(string(out)), "\n"), nil
}

// setting reads "NAME = VALUE".
func setting(text string) (name, value string) {
	name, value, _ = strings.Cut(text, "=")
	return strings.TrimSpace(name), strings.TrimSpace(value)
}

func (p *postfix) addSetting(line string) {
	name, value := setting(line)
	p.main[name] = value
}

func (p *postfix) addExplicit(line string) {
	name, _ := setting(line)
	p.explicit[name] = true
}

// addService reads the fields of master(5): name, type, private, unprivileged,
// chroot, wakeup, limit, command.
func (p *postfix) addService(line string) {
	fields := strings.Fields(line)
	if len(fields) < 8 {
		return
	}
	p.services = append(p.services, &postfixService{
		name: fields[0], kind: fields[1], program: filepath.Base(fields[7]),
		// Without a word, only a Postfix that behaves like one before 3.0 has it.
		chroot: fields[4] == "y" || fields[4] == "-" && p.main["compatibility_level"] == "0",
		own:    make(map[string]string),
	})
}

// addOption reads "NAME/TYPE/PARAMETER = VALUE".
func (p *postfix) addOption(line string) {
	key, value := setting(line)
	for _, s := range p.services {
		if parameter, is := strings.CutPrefix(key, s.name+"/"+s.kind+"/"); is {
			s.own[parameter] = value
		}
	}
}

func (p *postfix) addLogin(line string) {
	if line != "" {
		p.logins = append(p.logins, line)
	}
}

func serviceName(s *postfixService) string { return s.name }

// whereIs says where a setting stands, as it holds for the service.
func (s *postfixService) whereIs(name string) string {
	if _, own := s.own[name]; own {
		return "the -o options of " + s.name + " in master.cf"
	}
	return "main.cf"
}

// value is a setting as it holds for a service.
func (p *postfix) value(s *postfixService, name string) string {
	if value, own := s.own[name]; own {
		return value
	}
	return p.main[name]
}

// running are the services that run a program.
func (p *postfix) running(program string) []*postfixService {
	return slices.DeleteFunc(slices.Clone(p.services), func(s *postfixService) bool { return s.program != program })
}

// isFrom reports a Postfix of that major version or a later one.
func (p *postfix) isFrom(major int) bool {
	first, _, _ := strings.Cut(p.main["mail_version"], ".")
	version, err := strconv.Atoi(first)
	return err == nil && version >= major
}

// messageSizeLimit is the size of the largest message that Postfix takes, in
// bytes. 0: it takes any.
func (p *postfix) messageSizeLimit() (limit int64, known bool) {
	limit, err := strconv.ParseInt(p.main["message_size_limit"], 10, 64)
	return limit, err == nil
}

// networks are the networks that mynetworks lists. Others says that it names
// more, by tables or by exceptions.
func (p *postfix) networks() (list []netip.Prefix, others bool) {
	for _, text := range postfixList(p.main["mynetworks"]) {
		network, err := postfixNetwork(text)
		if err != nil {
			others = true
			continue
		}
		list = append(list, network)
	}
	return list, others
}

// trusts tells whether mynetworks has an address, if that is sure.
func (p *postfix) trusts(address netip.Addr) (trusted, sure bool) {
	if p.err != nil {
		return false, false
	}
	list, others := p.networks()
	trusted = networks.SetOf(list...).Has(address)
	return trusted, !others
}

// postfixNetwork reads a network as mynetworks has it: 127.0.0.0/8, 10.0.0.1,
// [::1]/128 or [::ffff:127.0.0.0]/104.
func postfixNetwork(text string) (netip.Prefix, error) {
	text = strings.NewReplacer("[", "", "]", "").Replace(text)
	if address, err := netip.ParseAddr(text); err == nil {
		address = address.Unmap()
		return netip.PrefixFrom(address, address.BitLen()), nil
	}
	network, err := netip.ParsePrefix(text)
	if address := network.Addr(); err == nil && address.Is4In6() && network.Bits() >= 96 {
		network = netip.PrefixFrom(address.Unmap(), network.Bits()-96)
	}
	return network, err
}

// postfixList cuts a list at commas and spaces that are not between braces.
func postfixList(text string) []string {
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
