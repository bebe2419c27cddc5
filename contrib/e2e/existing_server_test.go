package e2e

import (
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"coexistd/contrib/lab"
)

// oldServer is a Postfix as it has grown over the years: users and aliases in tables and in aliases(5), a domain that
// has aliases alone, rspamd and OpenDKIM as milters, a content filter, a list of clients to be refused, and
// a gateway in front of it.
type oldServer struct {
	*bareSite
	gateway *lab.Postfix
	rspamd  *lab.Rspamd
	dkim    *lab.OpenDKIM
	filter  *lab.Sink
	keys    map[string]string // the records of keys, by their names
	partner *signer           // who sends from outside
	jobs    string            // the folder in which the program of an alias leaves what it is given
}

// oldTables are its tables. {dir} stands for the folder of the site.
var oldTables = map[string]string{
	"people": "alice x\nanna x\nbob x\ncarol x\n",
	"virtual": `old.example          x
info@old.example     alice@acmecorp.com
@old.example         bob@acmecorp.com
sales@acmecorp.com   bob@acmecorp.com, alice@acmecorp.com
boss@acmecorp.com    alice@acmecorp.com
help@acmecorp.com    staff
`,
	"aliases": `postmaster: root
abuse:      root
root:       alice
office:     bob, carol
cloud:      alice, anna
staff:      bob@acmecorp.com, alice@acmecorp.com, friend@far.example
club:       :include:{dir}/club
job:        "|cat > $(mktemp -p {dir}/jobs)"
`,
}

// oldMain is its main.cf.
const oldMain = `
myhostname = mail.acmecorp.com
myorigin = $myhostname
mydestination = $myhostname, localhost.$mydomain, localhost, acmecorp.com
mynetworks = 127.0.0.1/32, 127.0.4.0/24
recipient_delimiter = +
local_recipient_maps = hash:$config_directory/people, $alias_maps
mailbox_transport = {here}
alias_maps = hash:$config_directory/aliases
alias_database = hash:$config_directory/aliases
virtual_alias_domains = old.example
virtual_alias_maps = hash:$config_directory/virtual
smtpd_relay_restrictions =
smtpd_recipient_restrictions = permit_mynetworks, permit_sasl_authenticated, reject_unauth_destination, reject_rbl_client rbl.example
smtpd_milters = inet:{rspamd}, inet:{dkim}
non_smtpd_milters = inet:{dkim}
milter_default_action = accept
content_filter = scan:[127.0.0.1]:{filter}
default_transport = {outside}
`

// startOldServer starts it, without coexistd.
func startOldServer(t *testing.T) *oldServer {
	t.Helper()
	s := startPlaces(t, lab.StartDNSAtPort53)
	m := &oldServer{jobs: filepath.Join(s.Dir, "jobs"), keys: map[string]string{}, partner: newSigner(t, "partner.example")}
	m.keys[m.partner.name()] = m.partner.record
	m.rspamd = startRspamd(t, lab.RspamdConfig{Milter: true})
	var err error
	m.dkim, err = lab.LendFilters(t).StartOpenDKIM(deadline(t), lab.OpenDKIMConfig{Domain: "acmecorp.com", Host: "mail.acmecorp.com", Internal: []string{"127.0.0.1", "127.0.4.0/24"}, Keys: m.keys})
	s.do(err)
	t.Cleanup(func() { stopFilter(t, m.dkim.Stop) })
	m.keys[lab.OpenDKIMSelector+"._domainkey.acmecorp.com"] = m.dkim.Record
	m.filter, err = lab.StartSink(lab.SinkConfig{Pass: func(d lab.Delivery) lab.Reply { return m.handBack(d) }})
	s.do(err)
	t.Cleanup(func() { m.filter.Close() })
	s.do(errors.Join(os.Mkdir(m.jobs, 0o777), os.Chmod(m.jobs, 0o777), os.WriteFile(filepath.Join(s.Dir, "club"), []byte("carol\nanna@acmecorp.com, friend@far.example\n"), 0o644)))

	s.Postfix, err = lab.Lend(t).Start(deadline(t), m.settings(s))
	s.do(err)
	s.Host = s.Postfix
	m.bareSite = bare(s)
	built, err := program()
	s.do(err)
	s.do(os.Remove(filepath.Join(m.bin, "coexistd")))
	m.writeCommand("coexistd", "exec '"+built+"' -c '"+m.Config()+"' \"$@\"\n")
	m.makeTables()
	m.startGateway()
	return m
}

// settings are those of its Postfix. The services are in their chroot, as Debian has it.
func (m *oldServer) settings(s *site) lab.Config {
	_, filter, _ := net.SplitHostPort(m.filter.Addr())
	known := strings.NewReplacer("{dir}", s.Dir, "{here}", s.Here.NextHop(), "{outside}", s.Outside.NextHop(), "{rspamd}", m.rspamd.MilterAddr, "{dkim}", m.dkim.Addr, "{filter}", filter)
	c := lab.Config{
		Package: true,
		Services: []lab.Service{
			{Name: "public"},
			{Name: "submission", Settings: map[string]string{"smtpd_sasl_auth_enable": "yes", "smtpd_milters": "inet:" + m.dkim.Addr}},
			{Name: "back", Settings: map[string]string{"content_filter": "", "smtpd_milters": "", "smtpd_recipient_restrictions": "permit_mynetworks, reject", "receive_override_options": "no_unknown_recipient_checks"}},
		},
		Master: []string{"scan unix - - y - 4 smtp -o disable_dns_lookups=yes"},
		Users:  map[string]string{"bob": "secret"},
		Routes: map[string]string{"acmecorp-com.onmicrosoft.com": s.Office.NextHop()},
		Main:   map[string]string{}, Files: map[string]string{},
	}
	for name, value := range settings(oldMain) {
		c.Main[name] = known.Replace(value)
	}
	for name, text := range oldTables {
		c.Files[name] = known.Replace(text)
	}
	return c
}

// makeTables makes the databases of the tables, and gives the services in the chroot what the
// package's own script copies there.
func (m *oldServer) makeTables() {
	m.t.Helper()
	etc, jail := filepath.Join(m.Postfix.Dir, "etc"), filepath.Join(m.Postfix.Dir, "queue", "etc")
	for name, command := range map[string]string{"people": "postmap", "virtual": "postmap", "aliases": "postalias"} {
		cmd := lab.Lend(m.t).Command(deadline(m.t), command, "-c", etc, "hash:"+filepath.Join(etc, name))
		if out, err := cmd.CombinedOutput(); err != nil {
			m.t.Fatalf("%s %s: %v\n%s", command, name, err, out)
		}
	}
	host, _, _ := net.SplitHostPort(m.DNS.Addr)
	m.do(errors.Join(os.MkdirAll(jail, 0o755), os.WriteFile(filepath.Join(jail, "resolv.conf"), []byte("nameserver "+host+"\n"), 0o644)))
}

// startGateway starts the host to which the MX points. It believes what a client says of where it
// comes from.
func (m *oldServer) startGateway() {
	m.t.Helper()
	host, port, err := net.SplitHostPort(m.Addr("public"))
	m.do(err)
	m.gateway, err = lab.Lend(m.t).Start(deadline(m.t), lab.Config{
		Services: []lab.Service{{Name: "public"}},
		Main: map[string]string{
			"myhostname": "gw.example", "relay_domains": "acmecorp.com, mail.acmecorp.com, old.example", "smtpd_authorized_xclient_hosts": "127.0.0.0/8",
			"smtp_bind_address": fromGateway, "smtpd_relay_restrictions": "reject_unauth_destination",
		},
		Routes: map[string]string{"acmecorp.com": "smtp:[" + host + "]:" + port, "mail.acmecorp.com": "smtp:[" + host + "]:" + port, "old.example": "smtp:[" + host + "]:" + port, "*": m.Outside.NextHop()},
	})
	m.do(err)
	m.t.Cleanup(func() {
		if m.t.Failed() {
			m.t.Logf("the gateway said:\n%s", tail(m.gateway.Log()))
		}
		if err := m.gateway.Stop(); err != nil {
			m.t.Error(err)
		}
	})
}

// handBack is the content filter: it marks a message, and hands it back.
func (m *oldServer) handBack(d lab.Delivery) lab.Reply {
	mail := lab.Mail{From: d.From, Args: "BODY=8BITMIME", Data: withHeader("X-Scanned: by the content filter", d.Data)}
	mail.Args += arguments("RET", d.Return, "ENVID", d.EnvelopeID)
	for _, r := range d.Recipients {
		mail.To = append(mail.To, lab.Rcpt{Address: r.Address, Args: strings.TrimSpace(arguments("NOTIFY", r.Notify, "ORCPT", r.ORCPT))})
	}
	r, err := lab.Client{Server: m.Addr("back")}.Send(deadline(m.t), mail)
	if err != nil || !r.Accepted() {
		return lab.Reply{Code: 451, Enhanced: "4.3.0", Text: fmt.Sprintf("it cannot be handed back: %+v, %v", r, err)}
	}
	return r.Data
}

// arguments writes names with their values, save those without, as MAIL and RCPT take them.
func arguments(pairs ...string) (text string) {
	for pair := range slices.Chunk(pairs, 2) {
		if pair[1] != "" {
			text += " " + pair[0] + "=" + pair[1]
		}
	}
	return text
}
