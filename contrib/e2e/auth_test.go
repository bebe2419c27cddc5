package e2e

import (
	"crypto/tls"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"coexistd/contrib/lab"
	"coexistd/policy/verdict"
)

// submissionTOML is lab.SiteTOML with a listener of its own, the second, for the
// mail that our users submit.
const submissionTOML = `our_certificates = ["relay.acmecorp.com"]
` + lab.SiteTOML + `
[[listen]]
address    = "unix:{dir}/submission.sock"
mode       = "0666"
checkpoint = "S2"

[quarantine]
smtp = "{mta}"
`

// submissionMilter is the setting of smtpd_milters with which the service
// "submission" hands its mail to the second listener, and all others to the first.
const submissionMilter = "${{$milter_macro_daemon_name} == {submission} ? {unix:{dir}/submission.sock} : {unix:{dir}/milter.sock}}"

// submissionFilter is the same for Sendmail.
const submissionFilter = "MAIL_FILTER(`coexistd-users', `S=unix:{dir}/submission.sock, F=T, T=C:30s;S:30s;R:1m;E:5m')dnl"

// startSubmission starts a site with that configuration and further tables, whose
// users' passwords a Dovecot knows, of Sendmail a saslauthd: "secret" for each of the logins.
func startSubmission(t *testing.T, c lab.SiteConfig, logins ...string) *site {
	t.Helper()
	users := map[string]string{}
	for _, login := range logins {
		users[login] = "secret"
	}
	c.TOML = submissionTOML + c.TOML
	if c.MTA == lab.SendmailMTA {
		c.MC, c.SubmissionFilter, c.Logins = append(c.MC, submissionFilter), "coexistd-users", users
		return startSite(t, c)
	}
	dovecot, err := lab.LendFilters(t).StartDovecot(deadline(t), users)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { stopFilter(t, dovecot.Stop) })
	c.SASL = dovecot.Socket
	main := map[string]string{
		"smtpd_milters":             submissionMilter,
		"message_reject_characters": `\0`, // as contrib/postfix has it
	}
	maps.Copy(main, c.Main)
	c.Main = main
	return startSite(t, c)
}

// submitter is a client of the service "submission", or of another one.
type submitter struct {
	service     string // empty: submission
	from        string // its address; empty: lab.FromInternet
	login       string
	tls         *tls.Config
	certificate string // the name that explain is told
}

// submitAs hands a message in.
func (s *site) submitAs(u submitter, m lab.Mail) lab.Result {
	s.t.Helper()
	c := lab.Client{Server: s.Addr("submission"), Local: lab.FromInternet, TLS: u.tls}
	if u.service != "" {
		c.Server = s.Addr(u.service)
	}
	if u.from != "" {
		c.Local = u.from
	}
	if u.login != "" {
		c.User, c.Password = u.login, "secret"
	}
	r, err := c.Send(deadline(s.t), m)
	if err != nil {
		s.t.Fatal(err)
	}
	return r
}

// explainSubmitted asks explain about a message that a client submits.
func (s *site) explainSubmitted(t *testing.T, u submitter, m lab.Mail) explanation {
	t.Helper()
	file := filepath.Join(t.TempDir(), "message.eml")
	if err := os.WriteFile(file, m.Data, 0o644); err != nil {
		t.Fatal(err)
	}
	listener, client := "2", lab.FromInternet
	if u.service == "public" {
		listener = "1"
	}
	if u.from != "" {
		client = u.from
	}
	args := []string{"explain", "-c", s.Config(), "--json", "--listener", listener, "--client", client,
		"--login", u.login, "--certificate", u.certificate, "--from", m.From}
	for _, to := range m.To {
		args = append(args, "--to", to.Address)
	}
	out, status := ask(t, append(args, file)...)
	var e explanation
	if err := json.Unmarshal(out, &e); err != nil {
		t.Fatalf("explain ended with %d, %v:\n%s", status, err, out)
	}
	return e
}

// loggedTo waits for the log line of the message to an address, which no other
// message of the test is for.
func (s *site) loggedTo(t *testing.T, to string) logLine {
	t.Helper()
	line, err := s.Daemon.WaitLog(deadline(t), regexp.MustCompile(`msg=message .*<`+regexp.QuoteMeta(to)+`>`))
	if err != nil {
		t.Fatal(err)
	}
	return parseLogLine(t, line)
}

const authenticationRequired = "530 5.7.0 Authentication required"

// admission is a client of a site with what is said to its mail for a mailbox
// here, and where that enters.
type admission struct {
	about string
	submitter
	tenant bool // the message bears the header of our Office 365 tenant
	want   string
}

const refusedAtS2 = "S2 " + authenticationRequired

// admissions need a trusted authority and one that the MTA does not know.
func admissions(t *testing.T, ours *lab.Authority) []admission {
	t.Helper()
	other, err := lab.NewAuthority("lab authority")
	if err != nil {
		t.Fatal(err)
	}
	const server, listed, unlisted = "mail.acmecorp.com", "relay.acmecorp.com", "printer.acmecorp.com"
	shows := func(a *lab.Authority, name string) *tls.Config {
		c, err := a.Certificate(name)
		if err != nil {
			t.Fatal(err)
		}
		return ours.Client(server, c)
	}
	// What signs its certificates itself is an authority without a name.
	selfSigned := &lab.Authority{}
	return []admission{
		{"a stranger", submitter{}, false, refusedAtS2},
		{"a login", submitter{login: "bob"}, false, "S2 accept"},
		{"a stranger behind a login", submitter{}, false, refusedAtS2},
		{"a login that is an address", submitter{login: "iris@globex.example"}, false, "S2 accept"},
		{"a login from our networks", submitter{login: "bob", from: lab.FromUser}, false, "S2 accept"},
		{"our networks", submitter{from: lab.FromUser}, false, "S2 accept"},
		{"beside our networks", submitter{from: "127.0.5.1"}, false, refusedAtS2},
		{"a platform that proves our tenant", submitter{from: lab.FromOffice365}, true, refusedAtS2},
		{"a listed certificate", submitter{tls: shows(ours, listed), certificate: listed}, false, "S2 accept"},
		{"a listed certificate in another case", submitter{tls: shows(ours, "RELAY.AcmeCorp.com"), certificate: "RELAY.AcmeCorp.com"}, false, "S2 accept"},
		{"a trusted certificate that is not listed", submitter{tls: shows(ours, unlisted), certificate: unlisted}, false, refusedAtS2},
		{"a certificate below a listed name", submitter{tls: shows(ours, "x."+listed), certificate: "x." + listed}, false, refusedAtS2},
		{"a listed certificate of an authority that is not trusted", submitter{tls: shows(other, listed)}, false, refusedAtS2},
		{"a listed certificate that is self-signed", submitter{tls: shows(selfSigned, listed)}, false, refusedAtS2},
		{"TLS without a certificate", submitter{tls: ours.Client(server, nil)}, false, refusedAtS2},
		{"a certificate that is not trusted, and a login", submitter{login: "bob", tls: shows(selfSigned, listed)}, false, "S2 accept"},
		// The listener for everybody tells its users from the Internet.
		{"everybody's listener, a listed certificate", submitter{service: "public", tls: shows(ours, listed), certificate: listed}, false, "S2 accept"},
		{"everybody's listener, a self-signed certificate", submitter{service: "public", tls: shows(selfSigned, listed)}, false, "S0 accept"},
		{"everybody's listener, a stranger", submitter{service: "public"}, false, "S0 accept"},
		{"everybody's listener, our networks", submitter{service: "public", from: lab.FromUser}, false, "S2 accept"},
	}
}

func TestASubmissionListenerTakesMailOfOurUsersOnly(t *testing.T) {
	onEachMTA(t, func(t *testing.T, mta lab.MTA) {
		ours, err := lab.NewAuthority("lab authority")
		if err != nil {
			t.Fatal(err)
		}
		main, files, err := ours.Server("mail.acmecorp.com")
		if err != nil {
			t.Fatal(err)
		}
		s := startSubmission(t, lab.SiteConfig{MTA: mta, Main: main, MC: lab.ServerMC(), Files: files}, "bob", "iris@globex.example")
		for i, a := range admissions(t, ours) {
			to, from := fmt.Sprintf("bob+%d@acmecorp.com", i), "eve@example.net"
			if a.login != "" {
				from = strings.TrimSuffix(a.login, "@globex.example") + "@acmecorp.com"
			}
			if a.login == "iris@globex.example" {
				from = a.login
			}
			message := lab.Plain(from, to, a.about)
			if a.tenant {
				message = fromTenant(lab.OfficeTenant, message)
			}
			m := lab.Mail{From: from, To: lab.To(to), Data: message}
			r, e := s.submitAs(a.submitter, m), s.explainSubmitted(t, a.submitter, m)
			line := s.loggedTo(t, to)
			got := line["point"] + " accept"
			if !r.Accepted() {
				got = line["point"] + " " + r.To[0].String()
			}
			if got != a.want {
				t.Errorf("%s: %s; right is %s", a.about, got, a.want)
			}
			if e.Checkpoint != line["point"] || e.Verdict != line["verdict"] || e.Reply != line["reply"] {
				t.Errorf("%s: the daemon logged %s %s %q, and explain says %s %s %q",
					a.about, line["point"], line["verdict"], line["reply"], e.Checkpoint, e.Verdict, e.Reply)
			}
			if line["login"] != a.login {
				t.Errorf("%s: the log has the login %q", a.about, line["login"])
			}
			if r.Accepted() {
				s.mustArrive(message, "here "+to)
			} else {
				s.mustArrive(message)
				if line["check"] != verdict.CheckAuth || line["reply"] != authenticationRequired {
					t.Errorf("%s: the log says of the check %q and of the reply %q", a.about, line["check"], line["reply"])
				}
			}
			if taken := strings.HasPrefix(a.want, "S2 accept"); taken != strings.Contains(line["findings"], "auth clean") {
				t.Errorf("%s: the log has the findings %q", a.about, line["findings"])
			}
		}
	})
}

func TestEachRecipientOfAStrangerIsRefused(t *testing.T) {
	onEachMTA(t, func(t *testing.T, mta lab.MTA) {
		s := startSubmission(t, lab.SiteConfig{MTA: mta}, "bob")
		m := lab.Plain("bob@acmecorp.com", "alice@acmecorp.com", "not logged in")
		mail := lab.Mail{From: "bob@acmecorp.com", To: lab.To("alice@acmecorp.com", "bob@acmecorp.com", "hugo@globex.example"), Data: m}
		for i, reply := range s.submitAs(submitter{}, mail).To {
			if reply.String() != authenticationRequired {
				t.Errorf("recipient %d was answered %s; right is %s", i, reply, authenticationRequired)
			}
		}
		// A password that is wrong is no login.
		wrong := lab.Client{Server: s.Addr("submission"), Local: lab.FromInternet, User: "bob", Password: "Secret"}
		if _, err := wrong.Send(deadline(t), mail); err == nil || !strings.Contains(err.Error(), "refused AUTH: "+s.wrongLogin) {
			t.Errorf("with a wrong password: %v; want %s", err, s.wrongLogin)
		}
		if r := s.submitAs(submitter{login: "bob"}, mail); !r.Accepted() {
			t.Errorf("with a login: %+v", r)
		}
		s.mustArrive(m, "office365 alice@acmecorp-com.onmicrosoft.com", "here bob@acmecorp.com", "here hugo@globex.example")
	})
}

func TestWhatFollowsForWhoIsNotLoggedIn(t *testing.T) {
	onEachMTA(t, func(t *testing.T, mta lab.MTA) {
		s := startSubmission(t, lab.SiteConfig{MTA: mta}, "bob")
		for _, c := range []struct {
			onHit string
			rcpt  string // the reply to RCPT; empty: it is taken, and so is the message
			tags  []string
		}{
			{"accept", "", nil},
			{"tag", "", []string{"auth; not authenticated"}},
			{"quarantine", "", nil},
			{"discard", "", nil},
			{"tempfail", "451 4.7.1 The message is not taken at the moment, try again later", nil},
			{"reject", authenticationRequired, nil},
		} {
			s.configure(submissionTOML + "\n[checkpoint.S2.auth]\non_hit = \"" + c.onHit + "\"\n")
			to := "bob+" + c.onHit + "@acmecorp.com"
			m := lab.Mail{From: "eve@example.net", To: lab.To(to), Data: lab.Plain("eve@example.net", to, c.onHit)}
			r, e := s.submitAs(submitter{}, m), s.explainSubmitted(t, submitter{}, m)
			line := s.loggedTo(t, to)
			if taken := c.rcpt == ""; r.Accepted() != taken || !taken && r.To[0].String() != c.rcpt {
				t.Errorf("%s: RCPT was answered %s and the message %s; right is %q", c.onHit, r.To[0], r.Data, c.rcpt)
			}
			if line["verdict"] != c.onHit || line["point"] != "S2" || line["reply"] != c.rcpt || e.Verdict != c.onHit || e.Reply != c.rcpt {
				t.Errorf("%s: the log says %s %s %q, and explain %s %q", c.onHit, line["point"], line["verdict"], line["reply"], e.Verdict, e.Reply)
			}
			if c.onHit == "accept" || c.onHit == "tag" {
				s.mustArriveTagged(m.Data, c.tags, "here "+to)
			} else {
				s.mustArrive(m.Data)
			}
			held := s.held(m.Data)
			if is := len(held) == 1 && held[0].Found[0] == "not authenticated"; is != (c.onHit == "quarantine") || len(held) > 1 {
				t.Errorf("%s: the quarantine holds %v", c.onHit, held)
			}
		}
	})
}

func TestMailOfTheSendmailCommandNeedsNoLogin(t *testing.T) {
	t.Parallel()
	s := startSubmission(t, lab.SiteConfig{Main: map[string]string{"non_smtpd_milters": "unix:{dir}/submission.sock"}}, "bob")
	for _, from := range []string{"bob@acmecorp.com", "eve@example.net", ""} {
		m := lab.Plain("cron@mail.acmecorp.com", "bob@acmecorp.com", "from the host")
		s.sendmail(from, m, "bob@acmecorp.com", "alice@acmecorp.com", "far@example.org")
		s.mustArrive(m, "here bob@acmecorp.com", "office365 alice@acmecorp-com.onmicrosoft.com", "Internet far@example.org")
	}
	line := s.loggedTo(t, "far@example.org")
	if line["point"] != "S2" || line["verdict"] != "accept" || !strings.Contains(line["findings"], "auth clean") || !strings.Contains(line["findings"], "spoof clean") {
		t.Errorf("the log says %v", line)
	}
}
