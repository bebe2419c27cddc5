package e2e

import (
	"bytes"
	"encoding/json"
	"errors"
	"net"
	"net/textproto"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	gomilter "github.com/emersion/go-milter"

	"coexistd/contrib/lab"
)

// pitfall is a way in which an MTA that coexistd is attached to can be set up wrong: a Postfix, or a Sendmail where its site
// says so.
type pitfall struct {
	name string
	site lab.SiteConfig
	// begin is done first, as to see what goes wrong; nil: nothing.
	begin func(p *pit)
	// status, found and remedy are what the doctor must say; {dir}, {etc}, {public} and {return} stand for the
	// site's folder, the MTA's, and services.
	status, found, remedy string
	// mend is the edit that the remedy says; nil: it is carried out as it was printed.
	mend func(p *pit)
	// right sees that mail goes the right way then.
	right func(p *pit)
}

// pit is a site that is set up wrong, until it is mended.
type pit struct {
	*bareSite
	etc   string
	known *strings.Replacer // what differs from run to run
}

// pitTOML and pitMain are those of a site of whose Postfix the doctor has nothing to say.
var (
	pitTOML = withHost(lab.SiteTOML)
	pitMain = map[string]string{"mynetworks": "127.0.0.1/32 127.0.4.0/24", "message_reject_characters": `\0`}
)

func testPitfalls(t *testing.T, rows []pitfall) {
	t.Parallel()
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			start := startPit
			if row.site.MTA == lab.SendmailMTA {
				start = startSendmailPit
			}
			p := start(t, row.site)
			if row.begin != nil {
				row.begin(p)
			}
			remedy := p.mustFind(row)
			if row.mend != nil {
				row.mend(p)
			} else {
				p.carryOut(remedy)
			}
			p.again()
			if left := p.findings(); len(left) > 0 {
				t.Errorf("of the MTA that is mended the doctor says %+v", left)
			}
			row.right(p)
		})
	}
}

func startPit(t *testing.T, c lab.SiteConfig) *pit {
	t.Helper()
	if c.TOML == "" {
		c.TOML = pitTOML
	}
	if c.Directory == "" {
		c.Directory = withRoles
	}
	c.Main = with(pitMain, c.Main)
	s := startSite(t, c)
	p := &pit{bareSite: bare(s), etc: filepath.Join(s.Postfix.Dir, "etc")}
	addresses := []string{s.Dir, "{dir}", p.etc, "{etc}", s.Addr("public"), "{public}", s.Addr("submission"), "{submission}"}
	if len(c.Services) > 0 {
		addresses = append(addresses, s.Addr("return"), "{return}")
	}
	p.known = strings.NewReplacer(addresses...)
	return p
}

// findings are what the doctor finds wrong about the MTA.
func (p *pit) findings() []finding {
	p.t.Helper()
	_, out, complaint := runDoctor(p.t, p.bin, nil, append([]string{"-c", p.Config(), "--json"}, p.mta...)...)
	var all []finding
	if err := json.Unmarshal([]byte(out), &all); err != nil || complaint != "" {
		p.t.Fatalf("the doctor says %v: %s%s", err, complaint, out)
	}
	return slices.DeleteFunc(all, func(f finding) bool { return f.Subject != "postfix" && f.Subject != "sendmail" || f.Status == "ok" })
}

// mustFind has the doctor say what a row wants, and returns the remedy as it was printed.
func (p *pit) mustFind(row pitfall) (remedy string) {
	p.t.Helper()
	all := p.findings()
	for _, f := range all {
		if f.Status == row.status && strings.HasPrefix(p.known.Replace(f.Found), row.found) {
			if said := p.known.Replace(f.Remedy); !strings.HasPrefix(said, row.remedy) || row.remedy == "" {
				p.t.Fatalf("the remedy is\n%s\nright is\n%s", said, row.remedy)
			}
			return f.Remedy
		}
	}
	p.t.Fatalf("the doctor should find (%s)\n%s\nit finds %+v", row.status, row.found, all)
	return ""
}

var (
	ofMain   = regexp.MustCompile(`^put into main\.cf: ([^;]+); then run: postfix reload`)
	ofMaster = regexp.MustCompile(`^put into the lines of (\S+) in master\.cf: -o ([^;]+); then run: postfix reload`)
)

// carryOut does what a remedy says of main.cf, master.cf or sendmail.mc.
func (p *pit) carryOut(remedy string) {
	p.t.Helper()
	if set := ofMC.FindStringSubmatch(remedy); set != nil {
		p.writeMC(set[1], set[2] != "")
		return
	}
	if set := ofMain.FindStringSubmatch(remedy); set != nil {
		p.postconf("-e", set[1])
		return
	}
	set := ofMaster.FindStringSubmatch(remedy)
	if set == nil {
		p.t.Fatalf("nobody knows how to carry out %q", remedy)
	}
	_, out, _ := p.command("postconf", "-M")
	kind := "inet"
	if regexp.MustCompile(`(?m)^` + regexp.QuoteMeta(set[1]) + `\s+unix`).MatchString(out) {
		kind = "unix"
	}
	p.postconf("-P", set[1]+"/"+kind+"/"+set[2])
}

// postconf changes Postfix's configuration.
func (p *pit) postconf(args ...string) {
	p.t.Helper()
	if status, out, complaint := p.command("postconf", args...); status != 0 || complaint != "" {
		p.t.Fatalf("postconf %q: %s%s", args, out, complaint)
	}
}

// command runs one of the commands that know the site's Postfix.
func (p *pit) command(name string, args ...string) (status int, out, complaint string) {
	p.t.Helper()
	cmd := exec.CommandContext(deadline(p.t), filepath.Join(p.bin, name), args...)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	var exit *exec.ExitError
	if err := cmd.Run(); err != nil && !errors.As(err, &exit) {
		p.t.Fatal(err)
	}
	return cmd.ProcessState.ExitCode(), stdout.String(), stderr.String()
}

// fromInternet sends a message from outside, and sees where it arrives.
func (p *pit) fromInternet(to string, arrives ...string) []byte {
	p.t.Helper()
	m := lab.Plain("eve@example.net", to, "to "+to)
	p.deliver(lab.FromInternet, lab.Mail{From: "eve@example.net", To: lab.To(to), Data: m})
	p.mustArrive(m, arrives...)
	return m
}

// mustRefuse has a recipient be answered from outside.
func (p *pit) mustRefuse(to string, code int) {
	p.t.Helper()
	if reply := p.rcpt(lab.FromInternet, "eve@example.net", to); reply.Code != code {
		p.t.Errorf("a message to %s is answered with %s", to, reply)
	}
}

// reachesAlice sees that mail reaches who lives elsewhere.
func reachesAlice(p *pit) { p.fromInternet("alice@acmecorp.com", inOffice) }

const inOffice = "office365 alice@acmecorp-com.onmicrosoft.com"

// list adds rows to the directory, and waits for the daemon to have them.
func (p *pit) list(rows string) {
	p.t.Helper()
	p.do(p.WriteDirectory(withRoles + rows))
	_, err := p.Daemon.Reload(deadline(p.t))
	p.do(err)
}

// verifier and aligner are milters that do what OpenDKIM and OpenDMARC do with results.
type verifier struct{ gomilter.NoOpMilter }

func (verifier) Body(m *gomilter.Modifier) (gomilter.Response, error) {
	return gomilter.RespAccept, m.InsertHeader(0, "Authentication-Results", "mail.acmecorp.com; x-verifier=pass")
}

type aligner struct {
	gomilter.NoOpMilter
	saw string
}

func (a *aligner) Headers(h textproto.MIMEHeader, _ *gomilter.Modifier) (gomilter.Response, error) {
	a.saw = "nothing"
	if strings.Contains(strings.Join(h.Values("Authentication-Results"), " "), "x-verifier=pass") {
		a.saw = "pass"
	}
	return gomilter.RespContinue, nil
}

func (a *aligner) Body(m *gomilter.Modifier) (gomilter.Response, error) {
	return gomilter.RespAccept, m.InsertHeader(0, "Authentication-Results", "mail.acmecorp.com; x-aligner-saw="+a.saw)
}

// milter starts another milter at a socket of the site's folder.
func (p *pit) milter(name string, start func() gomilter.Milter) {
	p.t.Helper()
	path := filepath.Join(p.Dir, name)
	l, err := net.Listen("unix", path)
	p.do(err)
	p.do(os.Chmod(path, 0o666))
	server := &gomilter.Server{NewMilter: start, Actions: gomilter.OptAddHeader | gomilter.OptChangeHeader}
	go server.Serve(l)
	p.t.Cleanup(func() { server.Close() })
}

func (p *pit) startVerifier() {
	p.milter("opendkim.sock", func() gomilter.Milter { return verifier{} })
}

// mustHave has a message from outside arrive at bob with a text, or without it.
func (p *pit) mustHave(has bool, text string) {
	p.t.Helper()
	m := p.fromInternet("bob@acmecorp.com", "here bob@acmecorp.com")
	for _, d := range p.Here.All() {
		if messageID(d.Data) == messageID(m) && bytes.Contains(d.Data, []byte(text)) != has {
			p.t.Errorf("the message has %q: %v; right is %v\n%s", text, !has, has, d.Data)
		}
	}
}

func TestOfEachPitfallWithMiltersTheDoctorNamesTheRemedy(t *testing.T) {
	const us = "{ unix:{dir}/milter.sock, default_action=tempfail }"
	const dkim, dmarc = "{ unix:{dir}/opendkim.sock, default_action=accept }", "{ unix:{dir}/opendmarc.sock, default_action=accept }"
	milters := func(list string) lab.SiteConfig {
		return lab.SiteConfig{Main: map[string]string{"smtpd_milters": list}}
	}
	both := func(p *pit) {
		p.startVerifier()
		p.milter("opendmarc.sock", func() gomilter.Milter { return new(aligner) })
	}
	testPitfalls(t, []pitfall{
		{
			name: "a verifier before us", site: milters(dkim + ", " + us),
			begin:  func(p *pit) { p.startVerifier(); p.mustHave(false, "x-verifier=pass") },
			status: "warn", found: "smtpd ({public}, {submission}) asks OpenDKIM (unix:{dir}/opendkim.sock), coexistd (unix:{dir}/milter.sock), and each sees only what those before it have made of a message",
			remedy: "put into main.cf: smtpd_milters = " + us + ", " + dkim + "; then run: postfix reload",
			right:  func(p *pit) { p.mustHave(true, "x-verifier=pass"); reachesAlice(p) },
		},
		{
			name: "OpenDMARC before OpenDKIM", site: milters(us + ", " + dmarc + ", " + dkim),
			begin:  func(p *pit) { both(p); p.mustHave(false, "x-aligner-saw=pass") },
			status: "warn", found: "smtpd ({public}, {submission}) asks coexistd (unix:{dir}/milter.sock), OpenDMARC (unix:{dir}/opendmarc.sock), OpenDKIM (unix:{dir}/opendkim.sock), and each",
			remedy: "put into main.cf: smtpd_milters = " + us + ", " + dkim + ", " + dmarc + "; then run: postfix reload",
			right:  func(p *pit) { p.mustHave(true, "x-aligner-saw=pass"); reachesAlice(p) },
		},
		{
			name: "rspamd twice", site: lab.SiteConfig{
				TOML: pitTOML + "\n[scanner.rspamd]\naddress = \"http://127.0.0.1:1\"\n",
				Main: map[string]string{"smtpd_milters": us + ", { unix:{dir}/rspamd.sock, default_action=accept }"},
			},
			status: "warn", found: "rspamd is asked as a milter of the MTA, and by coexistd as well ([scanner.rspamd])",
			remedy: "take its milter out of the MTA's list, unless it signs (dkim_signing) or greylists; or take [scanner.rspamd] out of {dir}/coexistd.toml",
			mend:   func(p *pit) { p.configure(pitTOML) },
			right:  reachesAlice,
		},
		{
			name: "mail passes while we are away", site: lab.SiteConfig{Main: map[string]string{"milter_default_action": "accept"}},
			status: "fail", found: "smtpd ({public}, {submission}) hands its mail to coexistd by unix:{dir}/milter.sock, but while coexistd is away, mail passes by unchecked",
			remedy: "put into main.cf: milter_default_action = tempfail; then run: postfix reload",
			right: func(p *pit) {
				p.do(p.Daemon.Stop())
				if r := p.send(lab.FromInternet, lab.Mail{From: "eve@example.net", To: lab.To("bob@acmecorp.com"), Data: lab.Plain("eve@example.net", "bob@acmecorp.com", "while away")}); r.Accepted() {
					p.t.Errorf("while coexistd is away, mail is taken: %+v", r)
				}
				p.do(p.StartDaemon(deadline(p.t)))
				reachesAlice(p)
			},
		},
		{
			name: "mail waits for another milter", site: lab.SiteConfig{Main: map[string]string{"smtpd_milters": "unix:{dir}/milter.sock, unix:{dir}/opendkim.sock"}},
			begin: func(p *pit) {
				if r := p.send(lab.FromInternet, lab.Mail{From: "eve@example.net", To: lab.To("bob@acmecorp.com"), Data: lab.Plain("eve@example.net", "bob@acmecorp.com", "waits")}); r.Accepted() {
					p.t.Errorf("while the other milter is away, mail is taken: %+v", r)
				}
			},
			status: "warn", found: "smtpd ({public}, {submission}) asks OpenDKIM (unix:{dir}/opendkim.sock) with no default action of its own: while such a milter is away, all mail is put off (milter_default_action is tempfail)",
			remedy: "put into main.cf: smtpd_milters = " + us + ", " + dkim + "; then run: postfix reload; write default_action=tempfail instead for a milter without which",
			right:  reachesAlice,
		},
		{
			name: "no milters", site: lab.SiteConfig{Main: map[string]string{"receive_override_options": "no_milters"}},
			status: "fail", found: "smtpd ({public}, {submission}) asks no milter: receive_override_options has no_milters",
			remedy: "take no_milters out of receive_override_options, save for",
			mend:   func(p *pit) { p.postconf("-e", "receive_override_options =") },
			right:  reachesAlice,
		},
		{
			name: "clients with other milters", site: lab.SiteConfig{Main: map[string]string{"smtpd_milter_maps": "inline:{" + lab.FromInternet + "=DISABLE}"}},
			status: "warn", found: "smtpd ({public}, {submission}) hands its mail to coexistd by unix:{dir}/milter.sock, but smtpd_milter_maps (inline:{" + lab.FromInternet + "=DISABLE}) has other milters, or none",
			remedy: "take smtpd_milter_maps out, or",
			mend:   func(p *pit) { p.postconf("-X", "smtpd_milter_maps") },
			right:  reachesAlice,
		},
	})
}

func TestOfEachPitfallWithFiltersAndChrootsTheDoctorNamesTheRemedy(t *testing.T) {
	back := func(options string) lab.Service {
		settings := map[string]string{"content_filter": "", "cleanup_service_name": "cleanup-milter", "smtpd_sender_restrictions": "", "mynetworks": "127.0.0.0/8"}
		if options != "" {
			settings["receive_override_options"] = options
		}
		return lab.Service{Name: "return", Settings: settings}
	}
	// The sink for the Internet is the filter: what it gets is handed back, once.
	filtered := func(p *pit) {
		m := lab.Plain("eve@example.net", "alice@acmecorp.com", "through the filter")
		p.deliver(lab.FromInternet, lab.Mail{From: "eve@example.net", To: lab.To("alice@acmecorp.com"), Data: m})
		d, err := p.Outside.Wait(deadline(p.t), func(d lab.Delivery) bool { return messageID(d.Data) == messageID(m) })
		p.do(err)
		if !slices.Equal(d.To(), []string{"alice@acmecorp-com.onmicrosoft.com"}) {
			p.t.Errorf("the filter gets the message for %q", d.To())
		}
		p.postconf("-e", "content_filter =")
		p.do(p.Host.Again(deadline(p.t)))
		r, err := lab.Client{Server: p.Addr("return")}.Send(deadline(p.t), lab.Mail{From: d.From, To: lab.To(d.To()...), Data: d.Data})
		p.do(err)
		if !r.Accepted() {
			p.t.Fatalf("what the filter hands back is not taken: %+v", r)
		}
		_, err = p.Office.Wait(deadline(p.t), func(d lab.Delivery) bool { return messageID(d.Data) == messageID(m) })
		p.do(err)
		if passes := strings.Count(p.Daemon.Log(), messageID(m)); passes != 1 {
			p.t.Errorf("coexistd has decided on the message %d times", passes)
		}
	}
	testPitfalls(t, []pitfall{
		{
			name: "a filter's mail comes back to milters", site: lab.SiteConfig{Services: []lab.Service{back("")}},
			begin:  func(p *pit) { p.postconf("-e", "content_filter = "+p.Outside.NextHop()) },
			status: "fail", found: "smtpd ({return}) takes mail back from the content filter, and asks milters: coexistd decides on it a second time, as mail of our own users",
			remedy: "put into the lines of {return} in master.cf: -o receive_override_options=no_milters; then run: postfix reload",
			right:  filtered,
		},
		{
			name: "a filter that is a program", site: lab.SiteConfig{Main: map[string]string{"content_filter": "checker:dummy"}},
			begin:  func(p *pit) { p.postconf("-M", "checker/unix=checker unix - n n - - pipe user=nobody argv=/bin/true") },
			status: "warn", found: "content_filter checker:dummy is a program: where it hands mail back by the sendmail command, milters are asked again, and coexistd decides",
			remedy: "let it hand mail back by SMTP to a service on loopback, and add that to master.cf: 127.0.0.1:10025 inet n - n - - smtpd -o content_filter= -o receive_override_options=no_milters; then run: postfix reload",
			mend: func(p *pit) {
				l, err := net.Listen("tcp", "127.0.0.1:0")
				p.do(err)
				address := l.Addr().String()
				p.do(l.Close())
				p.postconf("-M", address+"/inet="+address+" inet n - n - - smtpd -o content_filter= -o receive_override_options=no_milters -o cleanup_service_name=cleanup-milter")
			},
			right: func(p *pit) {
				m := lab.Plain("eve@example.net", "alice@acmecorp.com", "to the program")
				p.deliver(lab.FromInternet, lab.Mail{From: "eve@example.net", To: lab.To("alice@acmecorp.com"), Data: m})
				p.settle()
				if !strings.Contains(p.Log(), "to=<alice@acmecorp-com.onmicrosoft.com>, orig_to=<alice@acmecorp.com>, relay=checker") && !strings.Contains(p.Log(), "to=<alice@acmecorp-com.onmicrosoft.com>, relay=checker") {
					p.t.Errorf("the program does not get the message as coexistd has rewritten it")
				}
			},
		},
		{
			name: "a proxy", site: lab.SiteConfig{Services: []lab.Service{back("no_milters")}},
			begin: func(p *pit) {
				p.postconf("-P", p.Addr("public")+"/inet/smtpd_proxy_filter="+p.Outside.Addr())
			},
			status: "fail", found: "smtpd ({public}) hands mail to the proxy 127.0.0.1:",
			remedy: "in the -o options of {public} in master.cf, write content_filter=smtp:[127.0.0.1]:",
			mend: func(p *pit) {
				p.postconf("-PX", p.Addr("public")+"/inet/smtpd_proxy_filter")
				p.postconf("-P", p.Addr("public")+"/inet/content_filter="+p.Outside.NextHop())
			},
			right: filtered,
		},
		{
			name: "a chroot", site: lab.SiteConfig{},
			begin: func(p *pit) {
				p.postconf("-F", p.Addr("public")+"/inet/chroot=y")
			},
			status: "fail", found: "Postfix runs {public} in its chroot, where they do not see coexistd's Unix sockets ({dir}/milter.sock, {dir}/lookup.sock): all mail is put off",
			remedy: "write n into the chroot column of their lines in master.cf, or let coexistd listen on",
			mend:   func(p *pit) { p.postconf("-F", p.Addr("public")+"/inet/chroot=n") },
			right:  reachesAlice,
		},
	})
}

func TestOfEachPitfallWithTablesTheDoctorNamesTheRemedy(t *testing.T) {
	const ours = "socketmap:unix:{dir}/lookup.sock:"
	const team = "team@acmecorp.com alice@acmecorp.com\n"
	const listHere = "list each in the directory with the residence here, or set unlisted = \"here\" in the domain's section of {dir}/coexistd.toml"
	aliases := func(tables string, files map[string]string) lab.SiteConfig {
		return lab.SiteConfig{Directory: withRoles + "team@acmecorp.com,here,\n", Main: map[string]string{"virtual_alias_maps": tables}, Files: files}
	}
	local := func(recipients string) lab.SiteConfig {
		return lab.SiteConfig{
			Main:   with(localDomain, map[string]string{"local_recipient_maps": recipients}),
			Routes: map[string]string{"acmecorp.com": "local:"},
			Files:  map[string]string{"users": "/^zoe@acmecorp\\.com$/ zoe\n/^bob@acmecorp\\.com$/ bob\n"},
		}
	}
	bobHere := func(p *pit) { p.fromInternet("bob@acmecorp.com", "here bob@acmecorp.com") }
	leaving := strings.Replace(pitTOML, "[domain.\"acmecorp.com\"]\n", "[domain.\"acmecorp.com\"]\nunlisted = \"here\"\n", 1)
	teamAway := func(p *pit) { p.fromInternet("team@acmecorp.com", inOffice) }
	testPitfalls(t, []pitfall{
		{
			name: "a table that answers first for who has moved",
			site: aliases("texthash:$config_directory/virtual, regexp:$config_directory/forwards, "+ours+"aliases",
				map[string]string{"virtual": team, "forwards": "/^alice@acmecorp\\.com$/ bob@acmecorp.com\n"}),
			begin:  func(p *pit) { p.fromInternet("team@acmecorp.com", "here bob@acmecorp.com") },
			status: "warn", found: "regexp:{etc}/forwards of virtual_alias_maps of cleanup-milter in master.cf has rows of users who live elsewhere, and Postfix asks it before coexistd: what is not rewritten before, such as bounces and the mail of lists, goes by these: alice@acmecorp.com",
			remedy: "put into the lines of cleanup-milter in master.cf: -o virtual_alias_maps=texthash:{etc}/virtual," + ours + "members,regexp:{etc}/forwards; then run: postfix reload",
			mend: func(p *pit) {
				for _, f := range p.findings() { // of main.cf, too
					p.carryOut(f.Remedy)
				}
			},
			right: teamAway,
		},
		{
			name: "aliases without our map", site: aliases("texthash:$config_directory/virtual", map[string]string{"virtual": team}),
			begin:  func(p *pit) { p.fromInternet("team@acmecorp.com") },
			status: "fail", found: "virtual_alias_maps does not ask coexistd for aliases: ",
			remedy: "put into main.cf: virtual_alias_maps = texthash:{etc}/virtual, " + ours + "aliases; then run: postfix reload",
			mend: func(p *pit) {
				for _, f := range p.findings() { // of the service with maps of its own, too
					p.carryOut(f.Remedy)
				}
			},
			right: teamAway,
		},
		{
			name: "a transport of who has moved",
			site: lab.SiteConfig{
				Main:  map[string]string{"transport_maps": "regexp:$config_directory/ways, " + ours + "transport, texthash:$config_directory/transport"},
				Files: map[string]string{"ways": "/^alice@acmecorp\\.com$/ local:\n"},
			},
			status: "warn", found: "regexp:{etc}/ways of transport_maps has rows of users who live elsewhere, and Postfix asks it before coexistd: their mail that is not rewritten is delivered here: alice@acmecorp.com",
			remedy: "put into main.cf: transport_maps = " + ours + "transport, regexp:{etc}/ways, texthash:{etc}/transport; then run: postfix reload",
			right:  reachesAlice,
		},
		{
			name: "an alias of who has moved", site: aliases("texthash:$config_directory/virtual, "+ours+"aliases", map[string]string{"virtual": "alice@acmecorp.com bob@acmecorp.com\n"}),
			status: "warn", found: "texthash:{etc}/virtual of virtual_alias_maps has aliases that live elsewhere by the directory or by unlisted, so that their mail goes there and not to the alias: alice@acmecorp.com",
			remedy: "list each in the directory with the residence here, or take it out of texthash:{etc}/virtual",
			mend:   func(p *pit) { p.do(os.WriteFile(filepath.Join(p.etc, "virtual"), nil, 0o644)) },
			right:  reachesAlice,
		},
		{
			name: "an alias that the directory lacks", site: aliases("inline:{sales@acmecorp.com=bob@acmecorp.com}, "+ours+"aliases", nil),
			begin:  func(p *pit) { p.mustRefuse("sales@acmecorp.com", 550) },
			status: "fail", found: "inline:{sales@acmecorp.com=bob@acmecorp.com} of virtual_alias_maps has aliases that the directory lacks, so that their mail is refused: sales@acmecorp.com",
			remedy: listHere,
			mend:   func(p *pit) { p.list("sales@acmecorp.com,here,\n") },
			right:  func(p *pit) { p.fromInternet("sales@acmecorp.com", "here bob@acmecorp.com") },
		},
		{
			name: "an alias that nobody can list", site: aliases("regexp:$config_directory/forwards, "+ours+"aliases", map[string]string{"forwards": "/^sales@acmecorp\\.com$/ bob@acmecorp.com\n"}),
			begin:  func(p *pit) { p.mustRefuse("sales@acmecorp.com", 550); p.waitRecords("sales@acmecorp.com") },
			status: "fail", found: "regexp:{etc}/forwards of virtual_alias_maps has addresses that the directory lacks, and coexistd has refused mail to them: sales@acmecorp.com",
			remedy: listHere,
			mend:   func(p *pit) { p.list("sales@acmecorp.com,here,\n") },
			right:  func(p *pit) { p.fromInternet("sales@acmecorp.com", "here bob@acmecorp.com") },
		},
		{
			name: "recipients without our map", site: local("regexp:$config_directory/users"),
			begin:  func(p *pit) { p.postconf("-e", "mailbox_transport = "+p.Here.NextHop()) },
			status: "fail", found: "local_recipient_maps does not ask coexistd for recipients: Postfix refuses users who live elsewhere",
			remedy: "put into main.cf: local_recipient_maps = regexp:{etc}/users, " + ours + "recipients; then run: postfix reload",
			right:  reachesAlice,
		},
		{
			name: "recipients with our map alone", site: func() lab.SiteConfig {
				c := local(ours + "recipients")
				c.TOML, c.Directory = leaving, cloudOnly+"postmaster@globex.example,here\nabuse@globex.example,here\n"
				return c
			}(),
			begin:  func(p *pit) { p.mustRefuse("bob@acmecorp.com", 550) },
			status: "fail", found: "local_recipient_maps has no table but coexistd's, which leaves unlisted addresses of acmecorp.com to Postfix (unlisted = \"here\"): Postfix refuses all whom the directory lacks",
			remedy: "name there, before ours, the table that has the users here; without one, leave it empty, and Postfix takes mail to anybody of mydestination: local_recipient_maps =;",
			mend: func(p *pit) {
				p.postconf("-e", "local_recipient_maps = inline:{bob=x}, socketmap:unix:"+p.Dir+"/lookup.sock:recipients", "mailbox_transport = "+p.Here.NextHop())
			},
			right: func(p *pit) { bobHere(p); reachesAlice(p) },
		},
		{
			name:   "a user whom the directory lacks",
			site:   lab.SiteConfig{Main: map[string]string{"virtual_mailbox_maps": "inline:{zoe@acmecorp.com=x,alice@acmecorp.com=x}, " + ours + "recipients"}},
			begin:  func(p *pit) { p.mustRefuse("zoe@acmecorp.com", 550) },
			status: "fail", found: "inline:{zoe@acmecorp.com=x,alice@acmecorp.com=x} of virtual_mailbox_maps has users that the directory lacks, so that their mail is refused: zoe@acmecorp.com",
			remedy: listHere,
			mend:   func(p *pit) { p.configure(leaving) },
			right:  func(p *pit) { p.fromInternet("zoe@acmecorp.com", "here zoe@acmecorp.com"); reachesAlice(p) },
		},
		{
			name: "a user whom nobody can list", site: local("regexp:$config_directory/users, " + ours + "recipients"),
			begin:  func(p *pit) { p.mustRefuse("zoe@acmecorp.com", 550); p.waitRecords("zoe@acmecorp.com") },
			status: "fail", found: "regexp:{etc}/users of local_recipient_maps has addresses that the directory lacks, and coexistd has refused mail to them: zoe@acmecorp.com",
			remedy: listHere,
			mend: func(p *pit) {
				p.list("zoe@acmecorp.com,here,\n")
				p.postconf("-e", "mailbox_transport = "+p.Here.NextHop())
			},
			right: func(p *pit) { p.fromInternet("zoe@acmecorp.com", "here zoe@acmecorp.com") },
		},
	})
}

// waitRecords waits until the records tell of a recipient.
func (p *pit) waitRecords(to string) {
	p.t.Helper()
	for ctx := deadline(p.t); len(p.find("--to", to)) == 0; {
		p.do(ctx.Err())
	}
}

func TestOfEachPitfallWithNamesWithoutADomainTheDoctorNamesTheRemedy(t *testing.T) {
	testPitfalls(t, []pitfall{
		{
			name: "a user who lives elsewhere in the host's name",
			site: lab.SiteConfig{
				Main: map[string]string{
					"mydestination": "$myhostname", "alias_maps": "texthash:$config_directory/aliases",
					"local_recipient_maps": "inline:{bob=x} $alias_maps socketmap:unix:{dir}/lookup.sock:recipients",
				},
				Files:  map[string]string{"aliases": "root alice\n"},
				Routes: map[string]string{"mta.lab.test": "local:"},
			},
			status: "fail", found: "texthash:{etc}/aliases of alias_maps has members without a domain that Postfix takes for addresses in mta.lab.test (myorigin), where nobody of the directory lives: their mail does not reach them: alice of root, who is alice@acmecorp.com",
			remedy: "add to {dir}/coexistd.toml: [domain.\"mta.lab.test\"] with same_as = \"acmecorp.com\" and unlisted = \"here\", and run: systemctl reload coexistd; or",
			mend:   func(p *pit) { p.configure(pitTOML + sameAs) },
			right: func(p *pit) {
				m := lab.Plain("root@mta.lab.test", "root@mta.lab.test", "from cron")
				p.sendmail("root", m, "root")
				p.mustArrive(m, inOffice)
			},
		},
		{
			name: "an account in the domain of users",
			site: lab.SiteConfig{
				Directory: withRoles + "team@acmecorp.com,here,\n",
				Main:      map[string]string{"myorigin": "acmecorp.com", "virtual_alias_maps": "texthash:$config_directory/virtual, socketmap:unix:{dir}/lookup.sock:aliases"},
				Files:     map[string]string{"virtual": "team@acmecorp.com root, alice\n"},
			},
			begin:  func(p *pit) { p.fromInternet("team@acmecorp.com", inOffice) },
			status: "fail", found: "texthash:{etc}/virtual of virtual_alias_maps has members without a domain that Postfix takes for addresses in acmecorp.com (myorigin), which the directory lacks: their mail is bounced: root of team@acmecorp.com",
			remedy: "list them in the directory with the residence here, or write their addresses with a domain that is not shared",
			mend:   func(p *pit) { p.list("team@acmecorp.com,here,\nroot@acmecorp.com,here,\n") },
			right:  func(p *pit) { p.fromInternet("team@acmecorp.com", "here root@acmecorp.com", inOffice) },
		},
	})
}

func TestOfEachPitfallWithDomainsAndNetworksTheDoctorNamesTheRemedy(t *testing.T) {
	gateway := strings.Replace(pitTOML, "[domain.\"acmecorp.com\"]", "[upstream.filter]\nnetworks = [\"192.0.2.0/28\"]\nclient = \"mta\"\n\n[domain.\"acmecorp.com\"]", 1)
	testPitfalls(t, []pitfall{
		{
			name: "a domain that the configuration lacks", site: lab.SiteConfig{Main: map[string]string{"relay_domains": "partner.example"}},
			begin:  func(p *pit) { p.mustRefuse("x@partner.example", 554) },
			status: "fail", found: "Postfix takes mail for partner.example, which {dir}/coexistd.toml lacks: coexistd refuses it when it comes from the Internet",
			remedy: "where this host has all their users, add for each: [domain.\"partner.example\"] with unlisted = \"here\"; then run: systemctl reload coexistd",
			mend: func(p *pit) {
				p.configure(pitTOML + "\n[domain.\"partner.example\"]\nunlisted = \"here\"\n")
				p.postconf("-e", "relayhost = "+strings.TrimPrefix(p.Outside.NextHop(), "smtp:"))
			},
			right: func(p *pit) { p.fromInternet("x@partner.example", "Internet x@partner.example") },
		},
		{
			name: "the host's own name, to which people write",
			site: lab.SiteConfig{Main: map[string]string{"mydestination": "$myhostname", "local_recipient_maps": "inline:{bob=x}"}, Routes: map[string]string{"mta.lab.test": "local:"}},
			begin: func(p *pit) {
				if all := p.findings(); len(all) > 0 {
					p.t.Errorf("before anybody has written there, the doctor says %+v", all)
				}
				p.mustRefuse("bob@mta.lab.test", 554)
				p.waitRecords("bob@mta.lab.test")
			},
			status: "warn", found: "Postfix takes mail for mta.lab.test, which {dir}/coexistd.toml lacks: coexistd has refused mail from the Internet to bob@mta.lab.test",
			remedy: "where people outside write to addresses there, add: [domain.\"mta.lab.test\"] with unlisted = \"here\"; then run: systemctl reload coexistd",
			mend: func(p *pit) {
				p.configure(pitTOML + "\n[domain.\"mta.lab.test\"]\nunlisted = \"here\"\n")
				p.postconf("-e", "mailbox_transport = "+p.Here.NextHop())
			},
			right: func(p *pit) { p.fromInternet("bob@mta.lab.test", "here bob@mta.lab.test") },
		},
		{
			name: "the host's name is the domain of users",
			site: lab.SiteConfig{
				Main:   map[string]string{"myhostname": "acmecorp.com", "mydestination": "$myhostname", "virtual_mailbox_domains": "globex.example", "local_recipient_maps": "socketmap:unix:{dir}/lookup.sock:recipients"},
				Routes: map[string]string{"acmecorp.com": "local:", "mail.acmecorp.com": "local:"},
			},
			begin:  func(p *pit) { p.postconf("-e", "mailbox_transport = "+p.Here.NextHop()) },
			status: "warn", found: "myhostname is acmecorp.com, which is the domain of users as well: mail of this host itself (root, cron) and names without a domain count as theirs, and are refused where the directory lacks them",
			remedy: "give the host a name of its own, such as myhostname = mail.acmecorp.com, and write acmecorp.com where main.cf has meant it by $myhostname (mydestination, myorigin); then run: postfix reload",
			mend: func(p *pit) {
				p.postconf("-e", "myhostname = mail.acmecorp.com", "mydestination = $myhostname, acmecorp.com")
			},
			right: func(p *pit) {
				m := lab.Plain("root@mail.acmecorp.com", "root@mail.acmecorp.com", "from cron")
				p.sendmail("root", m, "root")
				p.mustArrive(m, "here root@mail.acmecorp.com")
				reachesAlice(p)
			},
		},
		{
			name: "a gateway of which Postfix hears nothing", site: lab.SiteConfig{TOML: gateway},
			status: "fail", found: "the upstream filter tells the MTA of its clients (client), but Postfix hears nothing of the kind from 192.0.2.0/28",
			remedy: "put into main.cf: smtpd_authorized_xclient_hosts = 192.0.2.0/28, where the gateway speaks XCLIENT, or",
			mend:   func(p *pit) { p.postconf("-e", "smtpd_authorized_xclient_hosts = 192.0.2.0/28") },
			right:  reachesAlice,
		},
		{
			name: "a network that our_networks lacks", site: lab.SiteConfig{Main: map[string]string{"mynetworks": "127.0.0.1/32 127.0.4.0/24 127.0.9.0/24"}},
			status: "warn", found: "mynetworks has \"127.0.9.0/24\", which our_networks lacks: mail from there counts as the Internet's",
			remedy: "add to our_networks in {dir}/coexistd.toml: \"127.0.9.0/24\"",
			mend: func(p *pit) {
				p.configure(strings.Replace(pitTOML, "our_networks = [", "our_networks = [\"127.0.9.0/24\", ", 1))
			},
			right: func(p *pit) {
				m := lab.Plain("bob@acmecorp.com", "eve@example.net", "from our network")
				p.deliver("127.0.9.1", lab.Mail{From: "bob@acmecorp.com", To: lab.To("eve@example.net"), Data: m})
				p.mustArrive(m, "Internet eve@example.net")
			},
		},
		{
			name: "a platform's network among ours", site: lab.SiteConfig{Main: map[string]string{"mynetworks": "127.0.0.1/32 127.0.4.0/24 127.0.1.0/24"}},
			status: "fail", found: "mynetworks has 127.0.1.0/24, from where every tenant of office365 sends: all of them may relay through Postfix",
			remedy: "take it out of mynetworks in main.cf; see may_relay",
			mend:   func(p *pit) { p.postconf("-e", "mynetworks = 127.0.0.1/32 127.0.4.0/24") },
			right:  reachesAlice,
		},
		{
			name: "a blocklist", site: lab.SiteConfig{Main: map[string]string{"smtpd_client_restrictions": "reject_rbl_client rbl.lab.test=127.0.0.2"}},
			status: "warn", found: "smtpd ({public}, {submission}) asks the blocklists rbl.lab.test=127.0.0.2 about clients: hosts of a platform send for all its tenants",
			remedy: "when the daemon runs, and each night from then on, run: coexistd networks export --for cidr > /etc/postfix/platforms.new && mv /etc/postfix/platforms.new /etc/postfix/platforms.cidr && postfix reload; when that table is there, " +
				"have smtpd_client_restrictions begin with: permit_mynetworks, permit_sasl_authenticated, check_client_access cidr:/etc/postfix/platforms.cidr, reject_rbl_client rbl.lab.test=127.0.0.2",
			mend: func(p *pit) {
				_, table, _ := run(p.t, "networks", "export", "-c", p.Config(), "--for", "cidr")
				p.do(os.WriteFile(filepath.Join(p.etc, "platforms.cidr"), []byte(table), 0o644))
				p.postconf("-e", "smtpd_client_restrictions = permit_mynetworks, permit_sasl_authenticated, check_client_access cidr:"+p.etc+"/platforms.cidr, reject_rbl_client rbl.lab.test=127.0.0.2")
			},
			right: func(p *pit) {
				m := fromTenant(lab.OfficeTenant, lab.Plain("alice@acmecorp.com", "bob@acmecorp.com", "from the platform"))
				p.deliver(lab.FromOffice365, lab.Mail{From: "alice@acmecorp.com", To: lab.To("bob@acmecorp.com"), Data: m})
				p.mustArrive(m, "here bob@acmecorp.com")
			},
		},
	})
}
