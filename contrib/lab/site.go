package lab

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// The addresses from which a site's clients come. The site's configuration
// knows them by their networks.
const (
	FromInternet  = "127.0.3.1" // no network of the configuration
	FromOffice365 = "127.0.1.1" // networks of platform.office365
	FromGoogle    = "127.0.2.1" // networks of platform.google
	FromUser      = "127.0.4.1" // our_networks
)

// The tenants of a site's platforms.
const (
	OfficeTenant = "3f2504e0-4f89-11d3-9a0c-0305e82c3301"
	GoogleTenant = "9b2d1e70-5d0a-4c3b-8f6e-1a2b3c4d5e6f"
)

// SiteTOML is a site's usual configuration: acmecorp.com shared with Office 365
// and globex.example shared with Google. {dir} stands for the site's folder, and
// {dns} for the address of its DNS.
const SiteTOML = `hostname     = "mail.acmecorp.com"
our_networks = ["127.0.4.0/24"]
resolver     = "{dns}"
state_dir    = "{dir}/state"

[[listen]]
address = "unix:{dir}/milter.sock"
mode    = "0666"

[[lookup]]
address = "unix:{dir}/lookup.sock"
mode    = "0666"

[platform.office365]
networks = ["127.0.1.0/24"]
tenant   = "` + OfficeTenant + `"
may_relay = true

[platform.google]
networks = ["127.0.2.0/24"]
tenant   = "` + GoogleTenant + `"
may_relay = true

[domain."acmecorp.com"]
directory = "users.csv"
alternate = { office365 = "acmecorp-com.onmicrosoft.com" }

[domain."globex.example"]
directory = "users.csv"
alternate = { google = "gapps.globex.example" }

[check.ddos]
exempt = ["127.0.0.0/8"]
`

// SiteDirectory is a site's usual directory.
const SiteDirectory = `address,residence,login
alice@acmecorp.com,office365,
bob@acmecorp.com,here,bob
carol@acmecorp.com,both,carol
dave@acmecorp.com,moving,dave
gail@globex.example,google,
hugo@globex.example,here,hugo bob
iris@globex.example,both,iris
`

// SiteConfig says how a site differs from the usual one.
type SiteConfig struct {
	MTA       MTA               // empty: PostfixMTA
	Program   string            // the coexistd to run
	TOML      string            // empty: SiteTOML; see WriteTOML for what is replaced in it
	Directory string            // users.csv; empty: SiteDirectory
	Main      map[string]string // further main.cf settings; {dir} stands for the site's folder
	// MC are further lines of sendmail.mc, likewise; {here}, {office} and {google} stand for
	// the ports of these sinks.
	MC       []string
	Accounts []string          // see SendmailConfig
	Routes   map[string]string // further routes; see Config.Routes
	Files    map[string]string // further files; see Config.Files
	Services []Service         // further listeners of Postfix
	// SASL is the socket of the server that knows the users' passwords; see
	// Config.SASL. Empty: the lab's own, which knows bob.
	SASL string
	// Logins are the users with their passwords, as Sendmail knows them. Nil: bob.
	Logins map[string]string
	// SubmissionFilter is the MAIL_FILTER of MC that Sendmail's service "submission" asks
	// instead of the usual one.
	SubmissionFilter string
	// Bare leaves out all that coexistd wants of the MTA, which is then set as Debian's package
	// sets it.
	Bare bool
	// RefuseHere is asked by the sink that stands for the local mailboxes, and
	// RefuseOffice by that of Office 365. Nil takes every address.
	RefuseHere, RefuseOffice func(recipient string) *Reply
}

// Site is an MTA with coexistd attached, as contrib/postfix or contrib/sendmail describes it,
// and a sink for each place where mail can go. Its services are "public",
// for everybody, and "submission", for logged-in users: bob with the password
// "secret".
type Site struct {
	Host
	Postfix *Postfix // the host, where it is that
	Dir     string   // holds coexistd.toml, users.csv and the sockets
	Daemon  *Daemon
	Here    *Sink // the local mailboxes
	Office  *Sink // acmecorp-com.onmicrosoft.com
	Google  *Sink // gapps.globex.example
	Outside *Sink // the Internet
	DNS     *DNS  // knows no name until a test tells it some

	program string
}

// StartSite starts a site. Close ends it.
func (p *Programs) StartSite(ctx context.Context, c SiteConfig) (_ *Site, err error) {
	if err := c.MTA.known(); err != nil {
		return nil, err
	}
	s := &Site{program: c.Program}
	defer func() {
		if err != nil {
			err = errors.Join(err, s.Close())
		}
	}()
	if s.Dir, err = TempDir(); err != nil {
		return nil, err
	}
	if err := s.startSinks(c); err != nil {
		return nil, err
	}
	if err := os.Mkdir(filepath.Join(s.Dir, "state"), 0o700); err != nil {
		return nil, fmt.Errorf("lab: %w", err)
	}
	if c.TOML == "" {
		c.TOML = SiteTOML
	}
	if c.Directory == "" {
		c.Directory = SiteDirectory
	}
	if err := errors.Join(s.WriteDirectory(c.Directory), s.WriteTOML(c.TOML)); err != nil {
		return nil, err
	}
	if err := s.StartDaemon(ctx); err != nil {
		return nil, err
	}
	if err := s.startHost(ctx, p, c); err != nil {
		return nil, err
	}
	if strings.Contains(c.TOML, mtaMark) {
		// Postfix's address is known only now.
		if err := s.WriteTOML(c.TOML); err != nil {
			return nil, err
		}
		if line, err := s.Daemon.Reload(ctx); err != nil || !strings.Contains(line, "msg=reloaded") {
			return nil, errors.Join(fmt.Errorf("lab: coexistd does not take Postfix's address: %s", line), err)
		}
	}
	return s, nil
}

func (s *Site) startHost(ctx context.Context, p *Programs, c SiteConfig) (err error) {
	if c.MTA == SendmailMTA {
		config, err := s.sendmailConfig(c)
		if err != nil {
			return err
		}
		config.LogFile = s.logFile(c)
		m, err := p.StartSendmail(ctx, config)
		if err == nil {
			s.Host = m
		}
		return err
	}
	config := s.postfixConfig(c)
	config.LogFile = s.logFile(c)
	if s.Postfix, err = p.Start(ctx, config); err != nil {
		return err
	}
	s.Host = s.Postfix
	return nil
}

// MailLog is how a configuration names the MTA's log, which is there where it does.
const MailLog = "{dir}/mail.log"

// logFile is where the MTA's log goes; empty: nowhere.
func (s *Site) logFile(c SiteConfig) string {
	if !strings.Contains(c.TOML, MailLog) {
		return ""
	}
	return filepath.Join(s.Dir, "mail.log")
}

func (s *Site) startSinks(c SiteConfig) error {
	var errs []error
	start := func(sink **Sink, config SinkConfig) {
		var err error
		*sink, err = StartSink(config)
		errs = append(errs, err)
	}
	start(&s.Here, SinkConfig{LMTP: true, Refuse: c.RefuseHere})
	start(&s.Office, SinkConfig{Refuse: c.RefuseOffice})
	start(&s.Google, SinkConfig{})
	start(&s.Outside, SinkConfig{})
	var err error
	s.DNS, err = StartDNS()
	return errors.Join(append(errs, err)...)
}

// postfixConfig has the lines of contrib/postfix's main.cf and master.cf, with
// what they leave to the administrator.
func (s *Site) postfixConfig(c SiteConfig) Config {
	milter := "unix:" + filepath.Join(s.Dir, "milter.sock")
	lookup := func(name string) string { return "socketmap:unix:" + filepath.Join(s.Dir, "lookup.sock") + ":" + name }
	main := map[string]string{
		"smtpd_milters":            milter,
		"non_smtpd_milters":        milter,
		"milter_default_action":    "tempfail",
		"milter_protocol":          "6",
		"virtual_mailbox_domains":  "acmecorp.com globex.example",
		"virtual_mailbox_maps":     lookup("recipients"),
		"virtual_alias_maps":       lookup("aliases"),
		"transport_maps":           lookup("transport") + ", texthash:$config_directory/transport",
		"recipient_delimiter":      "+",
		"smtpd_relay_restrictions": "permit_mynetworks, permit_sasl_authenticated, check_client_access " + lookup("networks") + ", reject_unauth_destination",
		"mynetworks":               "127.0.4.0/24",
		"smtp_tls_security_level":  "may",
	}
	if c.Bare {
		// What the package's questions are answered with.
		main = map[string]string{
			"recipient_delimiter":      "+",
			"smtpd_relay_restrictions": "permit_mynetworks permit_sasl_authenticated defer_unauth_destination",
			"mynetworks":               "127.0.4.0/24",
			"mydestination":            "$myhostname, localhost.localdomain, localhost",
		}
	}
	for name, value := range c.Main {
		main[name] = strings.ReplaceAll(value, "{dir}", s.Dir)
	}
	routes := s.routes(c)
	behind := map[string]string{"cleanup_service_name": "cleanup-milter"}
	submission := map[string]string{"smtpd_sasl_auth_enable": "yes", "milter_macro_daemon_name": "submission"}
	maps.Copy(submission, behind)
	users := map[string]string{"bob": "secret"}
	if c.SASL != "" {
		users = nil
	}
	if c.Bare {
		delete(submission, "cleanup_service_name")
		return Config{Package: true, Services: []Service{{Name: "public"}, {Name: "submission", Settings: submission}}, Main: main, Routes: routes, Users: users, SASL: c.SASL, Files: c.Files}
	}
	return Config{
		Services: append([]Service{{Name: "public", Settings: behind}, {Name: "submission", Settings: submission}}, c.Services...),
		Main:     main,
		Routes:   routes,
		Users:    users,
		SASL:     c.SASL,
		Files:    c.Files,
		Master: []string{
			"pickup unix n - n 60 1 pickup -o cleanup_service_name=cleanup-milter",
			"smtp-route unix - - n - - smtp -o smtp_generic_maps=" + lookup("generic"),
			"cleanup-milter unix n - n - 0 cleanup -o { virtual_alias_maps = " + strings.ReplaceAll(main["virtual_alias_maps"], ":aliases", ":members") + " }",
		},
	}
}

// routes says by domain where mail goes.
func (s *Site) routes(c SiteConfig) map[string]string {
	routes := map[string]string{
		"acmecorp.com":                 s.Here.NextHop(),
		"globex.example":               s.Here.NextHop(),
		"acmecorp-com.onmicrosoft.com": s.Office.NextHop(),
		"gapps.globex.example":         s.Google.NextHop(),
		"gapps.acmecorp.com":           s.Google.NextHop(), // where a configuration has it there, too
		"*":                            s.Outside.NextHop(),
	}
	maps.Copy(routes, c.Routes)
	return routes
}

// sendmailConfig includes contrib/sendmail's coexistd.m4, with what it leaves to the
// administrator.
func (s *Site) sendmailConfig(c SiteConfig) (SendmailConfig, error) {
	root, err := moduleRoot()
	if err != nil {
		return SendmailConfig{}, err
	}
	routes := s.routes(c)
	routes["."] = routes["*"]
	delete(routes, "*")
	mc := []string{
		"RELAY_DOMAIN(`acmecorp.com')dnl",
		"RELAY_DOMAIN(`globex.example')dnl",
		"RELAY_DOMAIN(`127.0.1')dnl", // platforms may relay
		"RELAY_DOMAIN(`127.0.2')dnl",
		"RELAY_DOMAIN(`127.0.4')dnl", // our networks
		"define(`COEXISTD_DOMAINS', `acmecorp.com globex.example')dnl",
		"define(`COEXISTD_MILTER', `unix:" + filepath.Join(s.Dir, "milter.sock") + "')dnl",
		"define(`COEXISTD_LOOKUP', `unix:" + filepath.Join(s.Dir, "lookup.sock") + "')dnl",
	}
	_, here, _ := net.SplitHostPort(s.Here.Addr())
	_, office, _ := net.SplitHostPort(s.Office.Addr())
	_, google, _ := net.SplitHostPort(s.Google.Addr())
	known := strings.NewReplacer("{dir}", s.Dir, "{here}", here, "{office}", office, "{google}", google)
	c.MC = slices.Clone(c.MC)
	for i, line := range c.MC {
		c.MC[i] = known.Replace(line)
	}
	if c.Bare {
		return s.bareSendmail(c, routes), nil
	}
	mc = append(mc, c.MC...)
	submission := ""
	if c.SubmissionFilter != "" {
		submission = "InputMailFilters=" + c.SubmissionFilter
	}
	users := c.Logins
	if users == nil {
		users = map[string]string{"bob": "secret"}
	}
	return SendmailConfig{
		Services: map[string]string{"public": "M=A", "submission": submission},
		MC:       append(mc, "include(`"+filepath.Join(root, "contrib/sendmail/coexistd.m4")+"')dnl"),
		Routes:   routes,
		Users:    users,
		Files:    c.Files,
		Accounts: c.Accounts,
		Visible:  []string{s.Dir},
	}, nil
}

// bareSendmail is a Sendmail as Debian's package sets it, that has a way to the mailboxes here and
// to all others, and users who may log in without TLS.
func (s *Site) bareSendmail(c SiteConfig, routes map[string]string) SendmailConfig {
	return SendmailConfig{
		Services: map[string]string{"public": "", "submission": ""},
		Debian:   true,
		MC:       append([]string{"define(`confAUTH_OPTIONS', `A')dnl"}, c.MC...),
		Routes:   routes,
		Users:    map[string]string{"bob": "secret"},
		Files:    c.Files,
		Visible:  []string{s.Dir},
	}
}

// WriteDirectory replaces users.csv at once, as an administrator should.
func (s *Site) WriteDirectory(content string) error {
	return s.replace("users.csv", content)
}

// mtaMark stands for the address of the service "public" in coexistd.toml.
const mtaMark = "{mta}"

// WriteTOML replaces coexistd.toml; {dir} stands for the site's folder, {dns} for
// the address of its DNS, and {mta} for that of its Postfix.
func (s *Site) WriteTOML(content string) error {
	mta := "127.0.0.1:25"
	if s.Host != nil {
		mta = s.Addr("public")
	}
	return s.replace("coexistd.toml", strings.NewReplacer("{dir}", s.Dir, "{dns}", s.DNS.Addr, mtaMark, mta).Replace(content))
}

func (s *Site) replace(name, content string) error {
	path := filepath.Join(s.Dir, name)
	if err := os.WriteFile(path+".new", []byte(content), 0o644); err != nil {
		return fmt.Errorf("lab: %w", err)
	}
	if err := os.Rename(path+".new", path); err != nil {
		return fmt.Errorf("lab: %w", err)
	}
	return nil
}

// WriteConfiguration writes a configuration for which no site is started into a folder,
// with users.csv and an empty state_dir beside it, and returns its path. {dir} stands for
// the folder, and {dns} for a server that is not there.
func WriteConfiguration(dir, toml, users string) (string, error) {
	path := filepath.Join(dir, "coexistd.toml")
	err := errors.Join(
		os.WriteFile(path, []byte(strings.NewReplacer("{dir}", dir, "{dns}", "127.0.0.1:53").Replace(toml)), 0o644),
		os.WriteFile(filepath.Join(dir, "users.csv"), []byte(users), 0o644),
		os.Mkdir(filepath.Join(dir, "state"), 0o700))
	if err != nil {
		return "", fmt.Errorf("lab: %w", err)
	}
	return path, nil
}

// Config is the path of the site's coexistd.toml.
func (s *Site) Config() string { return filepath.Join(s.Dir, "coexistd.toml") }

// StartDaemon starts coexistd, for the first time or again after its end.
func (s *Site) StartDaemon(ctx context.Context) error {
	d, err := StartDaemon(ctx, s.program, s.Config())
	if err == nil {
		s.Daemon = d
	}
	return err
}

// Close ends all that the site started, and removes its files.
func (s *Site) Close() error {
	var errs []error
	if s.Host != nil {
		errs = append(errs, s.Host.Stop())
	}
	if s.Daemon != nil {
		errs = append(errs, s.Daemon.Stop())
	}
	for _, sink := range []*Sink{s.Here, s.Office, s.Google, s.Outside} {
		if sink != nil {
			errs = append(errs, sink.Close())
		}
	}
	if s.DNS != nil {
		errs = append(errs, s.DNS.Close())
	}
	if s.Dir != "" {
		errs = append(errs, os.RemoveAll(s.Dir))
	}
	return errors.Join(errs...)
}
