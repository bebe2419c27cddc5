package e2e

import (
	"bytes"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	gomilter "github.com/emersion/go-milter"

	"coexistd/contrib/lab"
)

// startSendmailPit starts a site with a Sendmail as Debian's package sets it, to which the guide has attached coexistd.
func startSendmailPit(t *testing.T, c lab.SiteConfig) *pit {
	t.Helper()
	if c.TOML == "" {
		c.TOML = bareSendmailTOML
	}
	if c.Directory == "" {
		c.Directory = withRoles
	}
	p := &pit{bareSite: startBareSite(t, c)}
	p.etc = p.bareSite.etc()
	p.known = strings.NewReplacer(p.Dir, "{dir}", p.etc, "{etc}")
	p.apply(p.setup("sendmail"))
	p.again()
	if all := p.findings(); len(all) > 0 {
		t.Fatalf("of a Sendmail as the guide leaves it the doctor says %+v", all)
	}
	return p
}

var (
	ofMC     = regexp.MustCompile(`^put into sendmail\.mc: (\S.*?dnl)( in place of its line)?[^;]*; then make sendmail\.cf anew`)
	filterOf = regexp.MustCompile("^(?:INPUT_)?MAIL_FILTER\\(`[^']+'")
)

// writeMC puts a line into sendmail.mc: before those of the mailers, or in the place of that of the same filter, in
// whichever file it stands.
func (p *pit) writeMC(line string, instead bool) {
	p.t.Helper()
	if !instead {
		p.replace("sendmail.mc", "MAILER_DEFINITIONS\nMAILER(`local')", line+"\nMAILER_DEFINITIONS\nMAILER(`local')")
		p.make()
		return
	}
	old := regexp.MustCompile("(?m)^" + regexp.QuoteMeta(filterOf.FindString(line)) + ".*$")
	for _, name := range []string{"sendmail.mc", "coexistd.mc", "coexistd.m4"} {
		path := filepath.Join(p.etc, name)
		text, err := os.ReadFile(path)
		p.do(err)
		p.do(os.WriteFile(path, old.ReplaceAllLiteral(text, []byte(line)), 0o644))
	}
	p.make()
}

// replace changes a text in a file of Sendmail's, which must have it once at least.
func (p *pit) replace(name, from, to string) {
	p.t.Helper()
	path := filepath.Join(p.etc, name)
	text, err := os.ReadFile(path)
	p.do(err)
	if !bytes.Contains(text, []byte(from)) {
		p.t.Fatalf("%s lacks %q:\n%s", name, from, text)
	}
	p.do(os.WriteFile(path, []byte(strings.Replace(string(text), from, to, 1)), 0o644))
}

// write writes a file of Sendmail's.
func (p *pit) write(name, text string) {
	p.t.Helper()
	p.do(os.WriteFile(filepath.Join(p.etc, name), []byte(text), 0o644))
}

// add adds lines to a file of Sendmail's.
func (p *pit) add(name, lines string) {
	p.t.Helper()
	text, err := os.ReadFile(filepath.Join(p.etc, name))
	p.do(err)
	p.write(name, string(text)+lines)
}

// make has all of Sendmail's files made that are made of others. What it makes the first time, it may read the
// second time.
func (p *pit) make() {
	p.t.Helper()
	now := time.Now()
	p.do(os.Chtimes(filepath.Join(p.etc, "sendmail.mc"), now, now)) // for the files that it includes
	for range 2 {
		p.run("/bin/sh", "", "-c", "make -s -C '"+p.etc+"' 2>&1") // for m4 may warn
	}
	p.do(p.Host.(*lab.Sendmail).NewAliases(deadline(p.t)))
}

// take has Sendmail take what was changed.
func (p *pit) take() {
	p.t.Helper()
	p.make()
	p.again()
}

// beforeUs and behindUs put lines into sendmail.mc; {dir} stands for the site's folder.
func (p *pit) beforeUs(lines string) {
	p.t.Helper()
	include := "include(`" + p.etc + "/coexistd.mc')dnl\n"
	p.replace("sendmail.mc", include, strings.ReplaceAll(lines, "{dir}", p.Dir)+"\n"+include)
}

func (p *pit) behindUs(lines string) {
	p.t.Helper()
	include := "include(`" + p.etc + "/coexistd.mc')dnl\n"
	p.replace("sendmail.mc", include, include+strings.ReplaceAll(lines, "{dir}", p.Dir)+"\n")
}

// mustBeAway sends a message that is not taken while a filter is away.
func (p *pit) mustBeAway() {
	p.t.Helper()
	if r := p.send(lab.FromInternet, lab.Mail{From: "eve@example.net", To: lab.To("bob@acmecorp.com"), Data: lab.Plain("eve@example.net", "bob@acmecorp.com", "while away")}); r.Accepted() {
		p.t.Errorf("while a filter is away, mail is taken: %+v", r)
	}
}

func testSendmailPitfalls(t *testing.T, rows []pitfall) {
	for i := range rows {
		rows[i].site.MTA = lab.SendmailMTA
	}
	testPitfalls(t, rows)
}

// The filters of these tests, as sendmail.mc has them, and as the doctor names them.
const (
	dkimLine  = "INPUT_MAIL_FILTER(`opendkim', `S=local:{dir}/opendkim.sock')dnl"
	dmarcLine = "INPUT_MAIL_FILTER(`opendmarc', `S=local:{dir}/opendmarc.sock')dnl"
	dkimName  = "OpenDKIM (local:{dir}/opendkim.sock)"
	dmarcName = "OpenDMARC (local:{dir}/opendmarc.sock)"
	usName    = "coexistd (unix:{dir}/milter.sock)"
)

func TestOfEachPitfallOfSendmailWithFiltersTheDoctorNamesTheRemedy(t *testing.T) {
	const order = "put into sendmail.mc: define(`confINPUT_MAIL_FILTERS', `%s')dnl behind the lines of these filters; then make sendmail.cf anew"
	back := "" // the port of a listener
	testSendmailPitfalls(t, []pitfall{
		{
			name: "a verifier before us",
			begin: func(p *pit) {
				p.startVerifier()
				p.beforeUs(dkimLine)
				p.take()
				p.mustHave(false, "x-verifier=pass")
			},
			status: "warn", found: "daemon (MTA-v4) asks " + dkimName + ", " + usName + ", and each sees only what those before it have made of a message",
			remedy: fmt.Sprintf(order, "coexistd,opendkim"),
			right:  func(p *pit) { p.mustHave(true, "x-verifier=pass"); reachesAlice(p) },
		},
		{
			name: "OpenDMARC before OpenDKIM",
			begin: func(p *pit) {
				p.startVerifier()
				p.milter("opendmarc.sock", func() gomilter.Milter { return new(aligner) })
				p.behindUs(dmarcLine + "\n" + dkimLine)
				p.take()
				p.mustHave(false, "x-aligner-saw=pass")
			},
			status: "warn", found: "daemon (MTA-v4) asks " + usName + ", " + dmarcName + ", " + dkimName + ", and each",
			remedy: fmt.Sprintf(order, "coexistd,opendkim,opendmarc"),
			right:  func(p *pit) { p.mustHave(true, "x-aligner-saw=pass"); reachesAlice(p) },
		},
		{
			name: "rspamd twice", site: lab.SiteConfig{TOML: bareSendmailTOML + "\n[scanner.rspamd]\naddress = \"http://127.0.0.1:1\"\n"},
			begin:  func(p *pit) { p.behindUs("INPUT_MAIL_FILTER(`rspamd', `S=local:{dir}/rspamd.sock')dnl"); p.take() },
			status: "warn", found: "rspamd is asked as a milter of the MTA, and by coexistd as well ([scanner.rspamd])",
			remedy: "take its milter out of the MTA's list, unless it signs (dkim_signing) or greylists; or take [scanner.rspamd] out of {dir}/coexistd.toml",
			mend:   func(p *pit) { p.configure(bareSendmailTOML) },
			right:  reachesAlice,
		},
		{
			name:   "mail passes while we are away",
			begin:  func(p *pit) { p.replace("coexistd.m4", " F=T,", ""); p.take() },
			status: "fail", found: "daemon (MTA-v4) hands its mail to coexistd by unix:{dir}/milter.sock, but while coexistd is away, mail passes by unchecked",
			remedy: "put into sendmail.mc: INPUT_MAIL_FILTER(`coexistd', `S=unix:{dir}/milter.sock, F=T, T=C:30s;S:30s;R:1m;E:5m')dnl in place of its line; then make",
			right: func(p *pit) {
				p.do(p.Daemon.Stop())
				p.mustBeAway()
				p.do(p.StartDaemon(deadline(p.t)))
				reachesAlice(p)
			},
		},
		{
			name: "mail waits for a filter that is away",
			begin: func(p *pit) {
				p.behindUs(strings.Replace(dkimLine, "sock", "sock, F=T", 1))
				p.take()
				p.mustBeAway()
			},
			status: "fail", found: "nobody listens at " + dkimName + ", and without it no mail goes on (F=T): all of it is put off",
			remedy: "start it; or, where mail may go on without it, put into sendmail.mc: " + dkimLine + " in place of its line; then make",
			mend:   func(p *pit) { p.startVerifier() },
			right:  func(p *pit) { p.mustHave(true, "x-verifier=pass"); reachesAlice(p) },
		},
		{
			name: "mail is refused while a filter is away",
			begin: func(p *pit) {
				p.behindUs(strings.Replace(dkimLine, "sock", "sock, F=R", 1))
				p.take()
				_, err := lab.Client{Server: p.Addr("public")}.Send(deadline(p.t), lab.Mail{From: "eve@example.net", To: lab.To("bob@acmecorp.com")})
				if err == nil || !strings.Contains(err.Error(), "554") {
					p.t.Errorf("while the filter is away, a client is answered %v", err)
				}
				p.startVerifier()
			},
			status: "warn", found: "while " + dkimName + " is away, mail is refused for good (F=R)",
			remedy: "put into sendmail.mc: INPUT_MAIL_FILTER(`opendkim', `S=local:{dir}/opendkim.sock, F=T, T=C:30s;S:30s;R:1m;E:5m')dnl in place of its line, or the same without F=T where mail may go on without it; then make",
			right:  func(p *pit) { p.mustHave(true, "x-verifier=pass"); reachesAlice(p) },
		},
		{
			name:   "a filter that no line defines", // with which Sendmail would not start
			begin:  func(p *pit) { p.behindUs("define(`confINPUT_MAIL_FILTERS', `coexistd,spamd')dnl"); p.make() },
			status: "fail", found: "daemon (MTA-v4) names the filter spamd, which no line defines: Sendmail does not start (InputFilter spamd not defined)",
			remedy: "put into sendmail.mc: MAIL_FILTER(`spamd', `S=…')dnl with its socket, or take spamd out of the list; then make",
			mend:   func(p *pit) { p.replace("sendmail.mc", "coexistd,spamd", "coexistd"); p.make() },
			right:  reachesAlice,
		},
		{
			name: "a content filter's mail comes back to filters",
			begin: func(p *pit) {
				l, err := net.Listen("tcp", "127.0.0.1:0")
				p.do(err)
				_, back, _ = net.SplitHostPort(l.Addr().String())
				p.do(l.Close())
				p.beforeUs("DAEMON_OPTIONS(`Name=back, Addr=127.0.0.1, Port=" + back + "')dnl")
				p.take()
			},
			status: "warn", found: "daemon (back) takes mail of this host at port ",
			remedy: "where that is so, write InputMailFilters= into its DAEMON_OPTIONS in sendmail.mc, and where it is not, InputMailFilters=coexistd; then make",
			mend:   func(p *pit) { p.replace("sendmail.mc", "Port="+back, "Port="+back+", InputMailFilters="); p.make() },
			right: func(p *pit) {
				reachesAlice(p)
				m := lab.Plain("eve@example.net", "alice@acmecorp.com", "back from the filter")
				r, err := lab.Client{Server: "127.0.0.1:" + back}.Send(deadline(p.t), lab.Mail{From: "eve@example.net", To: lab.To("alice@acmecorp-com.onmicrosoft.com"), Data: m})
				p.do(err)
				if !r.Accepted() {
					p.t.Fatalf("what the filter hands back is not taken: %+v", r)
				}
				p.mustArrive(m, inOffice)
				if strings.Contains(p.Daemon.Log(), messageID(m)) {
					p.t.Error("coexistd has decided on the message once more")
				}
			},
		},
	})
}

// local has a Sendmail bring mail for accounts to the mailboxes here. The lab has no program that would do so.
var local = lab.SiteConfig{MC: []string{"FEATURE(`local_lmtp', `[IPC]', `TCP 127.0.0.1 {here}')dnl"}}

func TestOfEachPitfallOfSendmailWithTablesTheDoctorNamesTheRemedy(t *testing.T) {
	const virtual = "FEATURE(`virtusertable')dnl\nVIRTUSER_DOMAIN(`acmecorp.com')dnl"
	const office = "acmecorp-com.onmicrosoft.com "
	testSendmailPitfalls(t, []pitfall{
		{
			name:   "a user who lives elsewhere in the host's name",
			begin:  func(p *pit) { p.write("aliases", "postmaster: root\nroot: alice\n"); p.take() },
			status: "fail", found: "aliases have members without a domain whom Sendmail takes for names of this host (mta.lab.test), where nobody of the directory lives: their mail does not reach them: alice of root, who is alice@acmecorp.com",
			remedy: "add to {dir}/coexistd.toml: [domain.\"mta.lab.test\"] with same_as = \"acmecorp.com\" and unlisted = \"here\", and run: systemctl reload coexistd; or write their addresses with the domain in {etc}/aliases",
			mend:   func(p *pit) { p.write("aliases", "postmaster: root\nroot: alice@acmecorp.com\n"); p.make() },
			right: func(p *pit) {
				m := lab.Plain("root@mta.lab.test", "root@mta.lab.test", "from cron")
				p.sendmail("root", m, "root")
				p.mustArrive(m, inOffice)
			},
		},
		{
			name: "a virtual user who has moved",
			begin: func(p *pit) {
				p.beforeUs(virtual)
				p.write("virtusertable", "alice@acmecorp.com bob@acmecorp.com\n")
				p.take()
				reachesAlice(p)
			},
			status: "warn", found: "the virtusertable has addresses that live elsewhere by the directory or by unlisted, so that their mail goes there and not to its line: alice@acmecorp.com",
			remedy: "list each in the directory with the residence here, or take it out of the virtusertable; then run: make -C /etc/mail",
			mend:   func(p *pit) { p.write("virtusertable", ""); p.make() },
			right:  reachesAlice,
		},
		{
			name: "a virtual user whom the directory lacks",
			begin: func(p *pit) {
				p.beforeUs(virtual)
				p.write("virtusertable", "sales@acmecorp.com bob@acmecorp.com\n")
				p.take()
				p.mustRefuse("sales@acmecorp.com", 550)
			},
			status: "fail", found: "the virtusertable has addresses that the directory lacks, or has as moving, so that mail to them is refused or put off: sales@acmecorp.com",
			remedy: "list each in the directory with the residence here, set unlisted = \"here\" in the domain's section, or take it out of the virtusertable",
			mend:   func(p *pit) { p.list("sales@acmecorp.com,here,\n") },
			right:  func(p *pit) { p.fromInternet("sales@acmecorp.com", "here bob@acmecorp.com") },
		},
		{
			name: "a way to the platform that refuses",
			begin: func(p *pit) {
				p.replace("mailertable", office, office+"error:nouser none\n#")
				p.take()
			},
			status: "fail", found: "the mailertable refuses mail for acmecorp-com.onmicrosoft.com (error:nouser",
			remedy: "correct the line of acmecorp-com.onmicrosoft.com in /etc/mail/mailertable; then run: make -C /etc/mail",
			mend: func(p *pit) {
				p.replace("mailertable", office+"error:nouser none\n#", office)
				p.make()
			},
			right: reachesAlice,
		},
		{
			name: "a catch-all of whose users the directory lacks one", site: local,
			begin: func(p *pit) {
				way := p.wayOf("acmecorp.com")
				p.replace("mailertable", "acmecorp.com "+way+"\n", "")
				p.beforeUs("LOCAL_DOMAIN(`acmecorp.com')dnl\nMASQUERADE_EXCEPTION(``acmecorp.com'')dnl\ndefine(`LUSER_RELAY', `" + way + "')dnl")
				p.take()
				if all := p.findings(); len(all) > 0 {
					p.t.Errorf("before anybody has written to such a user, the doctor says %+v", all)
				}
				p.mustRefuse("zoe@acmecorp.com", 550)
				p.waitRecords("zoe@acmecorp.com")
			},
			status: "warn", found: "LUSER_RELAY is route",
			remedy: "list those who have a mailbox there in the directory with the residence here, or set unlisted = \"here\" in the section of their domain; where none of them has one, nothing is to be done",
			mend:   func(p *pit) { p.list("zoe@acmecorp.com,here,\n") },
			right:  func(p *pit) { p.fromInternet("zoe@acmecorp.com", "here zoe@[127.0.0.1]"); reachesAlice(p) }, // at the host that LUSER_RELAY names
		},
	})
}

func TestOfEachPitfallOfSendmailWithDomainsAndNetworksTheDoctorNamesTheRemedy(t *testing.T) {
	const noRelay = "may_relay = true\n"
	allTenants := strings.ReplaceAll(bareSendmailTOML, noRelay, "")
	testSendmailPitfalls(t, []pitfall{
		{
			name: "a domain that the configuration lacks",
			begin: func(p *pit) {
				p.add("relay-domains", "partner.example\n")
				p.take()
				p.mustRefuse("x@partner.example", 554)
			},
			status: "warn", found: "anybody may send mail through Sendmail to partner.example (relay-domains, the access map), which {dir}/coexistd.toml lacks: coexistd refuses it when it comes from the Internet",
			remedy: "add for each that is yours: [domain.\"partner.example\"] with unlisted = \"here\"; take the others out",
			mend: func(p *pit) {
				p.configure(bareSendmailTOML + "\n[domain.\"partner.example\"]\nunlisted = \"here\"\n")
				p.add("mailertable", "partner.example "+p.wayOf(".")+"\n")
				p.make()
			},
			right: func(p *pit) { p.fromInternet("x@partner.example", "Internet x@partner.example") },
		},
		{
			name: "the host's own name, to which people write", site: local,
			begin: func(p *pit) {
				p.write("aliases", "postmaster: root\nbob: bob@acmecorp.com\n")
				p.take()
				if all := p.findings(); len(all) > 0 {
					p.t.Errorf("before anybody has written there, the doctor says %+v", all)
				}
				p.mustRefuse("bob@mta.lab.test", 554)
				p.waitRecords("bob@mta.lab.test")
			},
			status: "warn", found: "Sendmail takes mail for mta.lab.test, which {dir}/coexistd.toml lacks: coexistd has refused mail from the Internet to bob@mta.lab.test",
			remedy: "where people outside write to addresses there, add: [domain.\"mta.lab.test\"] with unlisted = \"here\"; then run: systemctl reload coexistd",
			mend:   func(p *pit) { p.configure(bareSendmailTOML + "\n[domain.\"mta.lab.test\"]\nunlisted = \"here\"\n") },
			right:  func(p *pit) { p.fromInternet("bob@mta.lab.test", "here bob@acmecorp.com") },
		},
		{
			name: "the host is called as the domain of users", // to which Sendmail would not be started
			begin: func(p *pit) {
				p.replace("m4/provider.m4", "define(`confDOMAIN_NAME', `mta.lab.test')", "define(`confDOMAIN_NAME', `acmecorp.com')")
				p.make()
			},
			status: "warn", found: "the host's name ($j) is acmecorp.com, which is the domain of users as well: mail of this host itself (root, cron) and names without a domain count as theirs",
			remedy: "give the host a name of its own: define(`confDOMAIN_NAME', `mail.acmecorp.com')dnl in sendmail.mc, and write acmecorp.com into /etc/mail/local-host-names; then make",
			mend: func(p *pit) {
				p.replace("m4/provider.m4", "define(`confDOMAIN_NAME', `acmecorp.com')", "define(`confDOMAIN_NAME', `mta.lab.test')")
				p.make()
			},
			right: reachesAlice,
		},
		{
			name: "senders of the host as users",
			begin: func(p *pit) {
				p.replace("sendmail.mc", "MASQUERADE_AS(`mta.lab.test')", "MASQUERADE_AS(`acmecorp.com')")
				p.take()
			},
			status: "warn", found: "Sendmail writes senders of this host as users of acmecorp.com (MASQUERADE_AS), as in root@acmecorp.com: coexistd refuses bounces and answers",
			remedy: "list such accounts in the directory with the residence here, set unlisted = \"here\" for acmecorp.com, or write EXPOSED_USER(`root')dnl into sendmail.mc; then make",
			mend:   func(p *pit) { p.list("root@acmecorp.com,here,\n") },
			right:  func(p *pit) { p.fromInternet("root@acmecorp.com", "here root@acmecorp.com") },
		},
		{
			name:   "users as senders of the host",
			begin:  func(p *pit) { p.beforeUs("MASQUERADE_DOMAIN(`acmecorp.com')dnl"); p.take() },
			status: "fail", found: "Sendmail writes mta.lab.test in the place of acmecorp.com in the senders of mail, and in From (MASQUERADE_AS;",
			remedy: "put into sendmail.mc: MASQUERADE_EXCEPTION(``acmecorp.com'')dnl; then make",
			right: func(p *pit) {
				m := lab.Plain("bob@acmecorp.com", "eve@example.net", "from a user")
				p.deliver(lab.FromUser, lab.Mail{From: "bob@acmecorp.com", To: lab.To("eve@example.net"), Data: m})
				p.mustArrive(m, "Internet eve@example.net")
				for _, d := range p.Outside.All() {
					if d.From != "bob@acmecorp.com" {
						p.t.Errorf("the user's message comes from %s", d.From)
					}
				}
			},
		},
		{
			name:   "strangers who may relay",
			begin:  func(p *pit) { p.beforeUs("FEATURE(`promiscuous_relay')dnl"); p.take() },
			status: "fail", found: "Sendmail lets anybody relay (FEATURE promiscuous_relay): the Internet's mail for other domains is taken and sent on",
			remedy: "take FEATURE(`promiscuous_relay') out of sendmail.mc, and name the networks of your own hosts:",
			mend:   func(p *pit) { p.replace("sendmail.mc", "FEATURE(`promiscuous_relay')dnl\n", ""); p.make() },
			right:  func(p *pit) { p.mustRefuse("x@example.net", 550); reachesAlice(p) },
		},
		{
			name:   "a network that our_networks lacks",
			begin:  func(p *pit) { p.add("access", "Connect:127.0.9 RELAY\nClientRate:127.0.9 0\n"); p.take() },
			status: "warn", found: "Sendmail lets \"127.0.9.0/24\" relay, which our_networks lacks: mail from there counts as the Internet's",
			remedy: "add to our_networks in {dir}/coexistd.toml: \"127.0.9.0/24\"",
			mend: func(p *pit) {
				p.configure(strings.Replace(bareSendmailTOML, "our_networks = [", "our_networks = [\"127.0.9.0/24\", ", 1))
			},
			right: func(p *pit) {
				m := lab.Plain("bob@acmecorp.com", "eve@example.net", "from our network")
				p.deliver("127.0.9.1", lab.Mail{From: "bob@acmecorp.com", To: lab.To("eve@example.net"), Data: m})
				p.mustArrive(m, "Internet eve@example.net")
			},
		},
		{
			name: "all tenants of a platform may relay", site: lab.SiteConfig{TOML: allTenants},
			begin:  func(p *pit) { p.add("access", "Connect:127.0.1 RELAY\n"); p.take() },
			status: "fail", found: "Sendmail lets 127.0.1.0/24 relay, from where every tenant of office365 sends",
			remedy: "take it out of /etc/mail/relay-domains and the access map; for the platform's own users set platform.office365.may_relay in {dir}/coexistd.toml",
			mend:   func(p *pit) { p.replace("access", "Connect:127.0.1 RELAY\n", ""); p.make() },
			right:  reachesAlice,
		},
		{
			name: "a blocklist", site: lab.SiteConfig{TOML: allTenants},
			begin:  func(p *pit) { p.beforeUs("FEATURE(`dnsbl', `rbl.lab.test')dnl"); p.make() },
			status: "warn", found: "Sendmail asks the blocklists rbl.lab.test about clients: hosts of a platform send for all its tenants",
			remedy: "write into /etc/mail/access what coexistd networks export --for clients prints, such as Connect:40.92 OK; then run: make -C /etc/mail",
			mend: func(p *pit) {
				_, lines, _ := run(p.t, "networks", "export", "-c", p.Config(), "--for", "clients")
				p.add("access", lines)
				p.make()
			},
			right: func(p *pit) {
				m := fromTenant(lab.OfficeTenant, lab.Plain("alice@acmecorp.com", "bob@acmecorp.com", "from the platform"))
				p.deliver(lab.FromOffice365, lab.Mail{From: "alice@acmecorp.com", To: lab.To("bob@acmecorp.com"), Data: m})
				p.mustArrive(m, "here bob@acmecorp.com")
			},
		},
	})
}

// wayOf is what the mailertable says of a domain.
func (p *pit) wayOf(domain string) string {
	p.t.Helper()
	table, err := os.ReadFile(filepath.Join(p.etc, "mailertable"))
	p.do(err)
	row := regexp.MustCompile("(?m)^" + regexp.QuoteMeta(domain) + `\s+(\S+)$`).FindSubmatch(table)
	if row == nil {
		p.t.Fatalf("the mailertable has nothing of %s", domain)
	}
	return string(row[1])
}
