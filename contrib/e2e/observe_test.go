package e2e

import (
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
	"testing"

	"coexistd/contrib/lab"
)

// existing is an MTA that served its organisation before there was a coexistd: it has tables of
// its own, by which it knows more addresses than the directory lists. With milter, it has the one
// line of coexistd's that observing needs.
func existing(mta lab.MTA, toml string, milter bool) lab.SiteConfig {
	c := lab.SiteConfig{MTA: mta, TOML: toml}
	if mta == lab.SendmailMTA {
		c.Bare = true
		c.MC = []string{
			"RELAY_DOMAIN(`acmecorp.com')dnl", "RELAY_DOMAIN(`globex.example')dnl", "RELAY_DOMAIN(`127.0.4')dnl",
			"define(`confAUTH_MECHANISMS', `PLAIN')dnl", "TRUST_AUTH_MECH(`PLAIN')dnl",
		}
		if milter {
			c.MC = append(c.MC, "INPUT_MAIL_FILTER(`coexistd', `S=unix:{dir}/milter.sock, F=T, T=C:30s;S:30s;R:1m;E:5m')dnl")
		}
		return c
	}
	c.Main = map[string]string{
		"virtual_mailbox_maps":     "texthash:$config_directory/mailboxes",
		"virtual_alias_maps":       "texthash:$config_directory/virtual",
		"transport_maps":           "texthash:$config_directory/transport",
		"smtpd_relay_restrictions": "permit_mynetworks, permit_sasl_authenticated, reject_unauth_destination",
	}
	c.Files = map[string]string{
		"mailboxes": "alice@acmecorp.com x\nbob@acmecorp.com x\ncarol@acmecorp.com x\ndave@acmecorp.com x\nretired@acmecorp.com x\ngail@globex.example x\nhugo@globex.example x\n",
		"virtual":   "sales@acmecorp.com bob@acmecorp.com, alice@acmecorp.com\n",
	}
	if !milter {
		c.Main["smtpd_milters"], c.Main["non_smtpd_milters"] = "", ""
	}
	return c
}

// handed is one message of a day's mail.
type handed struct {
	about  string
	client string // empty: the host itself, by the sendmail command
	login  bool   // bob logs in
	mail   lab.Mail
	// does is what comes of it once the mode is enforce: the code that it is answered, "held",
	// "elsewhere" or "marked"; empty: it goes on.
	does string
}

// daysMail is mail of every kind that something could be done about, from strangers of a domain.
func daysMail(domain string) []handed {
	from := func(n int) string { return fmt.Sprintf("someone%d@%s", n, domain) }
	plain := func(from string, to ...string) lab.Mail {
		return lab.Mail{From: from, To: lab.To(to...), Data: lab.Plain(from, to[0], "a day's mail")}
	}
	with := func(m lab.Mail, data []byte) lab.Mail { m.Data = data; return m }
	own := with(plain(from(4), "bob@acmecorp.com"), lab.Plain("bob@acmecorp.com", "bob@acmecorp.com", "spoofed"))
	claims := plain(from(5), "hugo@globex.example")
	claims.Data = withHeader("X-Coexist-Result: point=S2; verdict=accept", withHeader("Authentication-Results: mail.acmecorp.com; dmarc=pass", claims.Data))
	bounce := lab.Mail{To: lab.To("bob@acmecorp.com"), Data: lab.Plain("MAILER-DAEMON@example.net", "bob@acmecorp.com", "undeliverable")}
	bounces := lab.Mail{To: lab.To("bob@acmecorp.com", "hugo@globex.example"), Data: lab.Plain("MAILER-DAEMON@example.net", "bob@acmecorp.com", "undeliverable")}
	many := func() lab.Mail { return plain(from(0), "bob@acmecorp.com") }
	secret := plain(from(6), "bob@acmecorp.com")
	secret.Data = fromTenant(lab.OfficeTenant, withHeader("X-Proof: the-secret-of-the-rule-over-there", secret.Data))
	back := plain(from(7), "alice@acmecorp.com")
	back.Data = fromTenant(lab.OfficeTenant, back.Data)
	return []handed{
		{about: "plain", client: lab.FromInternet, mail: plain(from(1), "bob@acmecorp.com"), does: "marked"},
		{about: "a cloud user", client: lab.FromInternet, mail: plain(from(2), "alice@acmecorp.com"), does: "elsewhere"},
		{about: "dual delivery", client: lab.FromInternet, mail: plain(from(3), "carol@acmecorp.com"), does: "elsewhere"},
		{about: "several", client: lab.FromInternet, mail: plain(from(8), "bob@acmecorp.com", "alice@acmecorp.com", "hugo@globex.example"), does: "elsewhere"},
		{about: "one who moves", client: lab.FromInternet, mail: plain(from(9), "dave@acmecorp.com"), does: "450"},
		{about: "an address of the MTA's own tables", client: lab.FromInternet, mail: plain(from(10), "sales@acmecorp.com"), does: "550"},
		{about: "a mailbox that the directory lacks", client: lab.FromInternet, mail: plain(from(11), "retired@acmecorp.com", "bob@acmecorp.com"), does: "550"},
		{about: "who is refused by the MTA", client: lab.FromInternet, mail: plain(from(12), "x@far.example"), does: "same"},
		{about: "spam", client: lab.FromInternet, mail: with(plain(from(13), "bob@acmecorp.com"), spamFor("bob@acmecorp.com", "spam")), does: "held"},
		{about: "a virus", client: lab.FromInternet, mail: with(plain(from(14), "bob@acmecorp.com"), append(lab.Plain(from(14), "bob@acmecorp.com", "a virus"), lab.EICAR+"\r\n"...)), does: "554"},
		{about: "a program", client: lab.FromInternet, mail: with(plain(from(15), "bob@acmecorp.com"), programFor("bob@acmecorp.com", "a program", 5000)), does: "held"},
		{about: "a spoofed author", client: lab.FromInternet, mail: own, does: "550"},
		{about: "forged results", client: lab.FromInternet, mail: claims, does: "marked"},
		{about: "a secret", client: lab.FromInternet, mail: secret, does: "marked"},
		{about: "a bounce", client: lab.FromInternet, mail: bounce, does: "marked"},
		{about: "a bounce to several", client: lab.FromInternet, mail: bounces, does: "550"},
		{about: "within the rate", client: lab.FromInternet, mail: many(), does: "marked"},
		{about: "over the rate", client: lab.FromInternet, mail: many(), does: "450"},
		{about: "sent back by the platform", client: lab.FromOffice365, mail: back, does: "554"},
		{about: "a user's", client: lab.FromUser, mail: plain("bob@acmecorp.com", "hugo@globex.example", "x@far.example"), does: "marked"},
		{about: "a user's to the cloud", client: lab.FromUser, login: true, mail: plain("bob@acmecorp.com", "alice@acmecorp.com"), does: "elsewhere"},
		{about: "a user's in another's name", client: lab.FromUser, login: true, mail: plain("carol@acmecorp.com", "x@far.example"), does: "553"},
		{about: "of the host", mail: plain("bob@acmecorp.com", "alice@acmecorp.com"), does: "elsewhere"},
	}
}

// handIn hands it in, and returns what was answered: the replies, without queue ids.
func (s *site) handIn(h handed) string {
	s.t.Helper()
	client := lab.Client{Server: s.Addr("public"), Local: h.client}
	switch {
	case h.client == "":
		s.sendmail(h.mail.From, h.mail.Data, addressesOf(h.mail.To)...)
		return ""
	case h.login:
		client.Server, client.User, client.Password = s.Addr("submission"), "bob", "secret"
	}
	r, err := client.Send(deadline(s.t), h.mail)
	if err != nil {
		s.t.Fatal(err)
	}
	return hideIDs(fmt.Sprint(r.Mail, " | ", r.To, " | ", r.Data))
}

func addressesOf(to []lab.Rcpt) (addresses []string) {
	for _, one := range to {
		addresses = append(addresses, one.Address)
	}
	return addresses
}

// ownWords are what an MTA itself writes of a message: the id in its queue, and the time.
var ownWords = regexp.MustCompile(`(queued as |\bid |2\.0\.0 )[0-9A-Za-z]{10,}\b|;\s+(?:Sun|Mon|Tue|Wed|Thu|Fri|Sat), [^\r\n]*`)

func hideIDs(text string) string { return ownWords.ReplaceAllString(text, "$1*") }

// deliveries are all that has arrived, byte for byte but for the MTA's own words, each with its
// place and envelope, sorted. Messages that were handed in twice, in both sites, bear the same
// Message-Id.
func (s *site) deliveries() (list []string) {
	s.t.Helper()
	s.settle()
	for place, sink := range s.sinks() {
		for _, d := range sink.All() {
			var to []string
			for _, r := range d.Recipients {
				to = append(to, fmt.Sprintf("%s NOTIFY=%s ORCPT=%s", r.Address, r.Notify, r.ORCPT))
			}
			slices.Sort(to)
			list = append(list, fmt.Sprintf("%s from <%s> to %q\n%s", place, d.From, to, hideIDs(string(d.Data))))
		}
	}
	slices.Sort(list)
	return list
}

// mustBeEqual compares two lists of deliveries.
func mustBeEqual(t *testing.T, about string, got, want []string) {
	t.Helper()
	count := make(map[string]int)
	for _, one := range want {
		count[one]++
	}
	for _, one := range got {
		if count[one]--; count[one] < 0 {
			t.Errorf("%s: this arrived, and would not have:\n%s", about, one)
		}
	}
	for _, one := range slices.Sorted(maps.Keys(count)) {
		if count[one] > 0 {
			t.Errorf("%s: this did not arrive:\n%s", about, one)
		}
	}
}

// observedTOML has all checks, a limit, a header of the result and one that proves a tenant.
func observedTOML(t *testing.T, clamd *lab.Clamd, rspamd *lab.Rspamd) string {
	toml := "header = \"X-Coexist-Result\"\n" + withHost(checkedTOML(clamd.Addr(), rspamd.URL(), neverReport,
		"[[rate]]\nname = \"per sender\"\nby = \"sender\"\nlimit = 1\nper = \"1h\"\non_limit = \"tempfail\"\ncheckpoints = [\"S0\"]\n"))
	proof := fmt.Sprintf("proof = { header = \"X-Proof\", secret_file = %q }\n", secretFile(t, "the-secret-of-the-rule-over-there"))
	return strings.Replace(toml, "[platform.google]\n", "[platform.google]\n"+proof, 1)
}

// inMode is a configuration with a mode at its top, and another of acmecorp.com where one is said.
func inMode(toml, mode, acmecorp string) string {
	toml = fmt.Sprintf("mode = %q\n%s", mode, toml)
	if acmecorp == "" {
		return toml
	}
	const domain = "[domain.\"acmecorp.com\"]\n"
	return strings.Replace(toml, domain, fmt.Sprintf("%smode = %q\n", domain, acmecorp), 1)
}

func TestObservedMailIsAnsweredAndDeliveredAsWithoutCoexistd(t *testing.T) {
	clamd, rspamd := startClamd(t, lab.ClamdConfig{}), startRspamd(t, lab.RspamdConfig{})
	onEachMTA(t, func(t *testing.T, mta lab.MTA) {
		toml := observedTOML(t, clamd, rspamd)
		plain := startSite(t, existing(mta, lab.SiteTOML, false))
		s := startSite(t, existing(mta, inMode(toml, "observe", ""), true))
		day := daysMail("example.net")
		for _, h := range day {
			want := plain.handIn(h)
			if got := s.handIn(h); got != want {
				t.Errorf("%s: it is answered\n%s\nand without coexistd\n%s", h.about, got, want)
			}
		}
		got, want := s.deliveries(), plain.deliveries()
		mustBeEqual(t, "observed", got, want)
		if len(want) < len(day)-1 { // the MTA itself refuses one
			t.Fatalf("without coexistd, %d messages arrived", len(want))
		}
		if held := s.entries(); len(held) > 0 {
			t.Errorf("%d messages are held", len(held))
		}

		s.configure(inMode(toml, "enforce", ""))
		for _, h := range daysMail("example.org") {
			s.mustDo(h, plain.handIn(h))
		}
	})
}

// mustDo hands in a message, of which must come what h says. Plain is what is answered without
// coexistd.
func (s *site) mustDo(h handed, plain string) {
	s.t.Helper()
	held := len(s.entries())
	answer := s.handIn(h)
	s.settle()
	var copies []string
	for place, sink := range s.sinks() {
		for _, d := range sink.All() {
			if messageID(d.Data) == messageID(h.mail.Data) {
				copies = append(copies, place+"\n"+string(d.Data))
			}
		}
	}
	has := func(text string) bool {
		return slices.ContainsFunc(copies, func(one string) bool { return strings.Contains(one, text) })
	}
	done := false
	switch h.does {
	case "same":
		done = answer == plain
	case "held":
		done = len(copies) == 0 && len(s.entries()) == held+1
	case "elsewhere":
		done = has("office365\n") && has("\nX-Coexist-Trace: ")
	case "marked":
		done = has("\nX-Coexist-Result: point=") && !has("point=S2; verdict=accept\r\nAuth") && !has("the-secret-of")
	default:
		done = strings.Contains(answer, h.does+" ") && answer != plain
	}
	if !done {
		s.t.Errorf("%s: enforced, it is to be %s; it is answered %s, and %d copies arrived: %.2000q", h.about, h.does, answer, len(copies), copies)
	}
}

func TestAMessageForBothModesIsJudgedForTheEnforcedDomainAlone(t *testing.T) {
	clamd, rspamd := startClamd(t, lab.ClamdConfig{}), startRspamd(t, lab.RspamdConfig{})
	onEachMTA(t, func(t *testing.T, mta lab.MTA) {
		c := existing(mta, inMode(observedTOML(t, clamd, rspamd), "enforce", "observe"), true)
		s := startSite(t, c)
		to := []string{"alice@acmecorp.com", "bob@acmecorp.com", "retired@acmecorp.com", "hugo@globex.example", "gail@globex.example"}
		observed := []string{"here alice@acmecorp.com", "here bob@acmecorp.com", "here retired@acmecorp.com"}

		m := lab.Plain("eve1@example.net", to[0], "for both")
		s.deliver(lab.FromInternet, lab.Mail{From: "eve1@example.net", To: lab.To(to...), Data: m})
		s.settle()
		_, arrivals := s.copies(m)
		want := append([]string{"here hugo@globex.example", "google gail@gapps.globex.example"}, observed...)
		if slices.Sort(want); !slices.Equal(arrivals, want) {
			t.Errorf("it arrived at %q; right is %q", arrivals, want)
		}

		// Held for the one domain, it goes on for the other, as it came.
		m = spamFor(to[0], "spam for both")
		r := s.send(lab.FromInternet, lab.Mail{From: "eve2@example.net", To: lab.To(to...), Data: m})
		s.mustArrive(m, observed...)
		if held := s.entriesOf(m); len(held) != 2 {
			t.Errorf("it is held for %d recipients, not 2", len(held))
		}
		line := s.logged(r)
		if line["verdict"] != "quarantine" || line["observed.verdict"] != "quarantine" || line["observed.check"] != "spam" {
			t.Errorf("the log says %v", line)
		}
		if told := line["recipients"]; !strings.Contains(told, "<bob@acmecorp.com> would be here S0=>LD quarantine") {
			t.Errorf("the log says of the recipients: %s", told)
		}

		// What the enforced domain refuses is refused for all.
		m = append(lab.Plain("eve3@example.net", to[0], "a virus for both"), lab.EICAR+"\r\n"...)
		if r := s.send(lab.FromInternet, lab.Mail{From: "eve3@example.net", To: lab.To(to...), Data: m}); r.Data.Code != 554 {
			t.Errorf("a virus is answered %s", r.Data)
		}
		s.mustArrive(m)
		m = append(lab.Plain("eve4@example.net", to[0], "a virus"), lab.EICAR+"\r\n"...)
		s.deliver(lab.FromInternet, lab.Mail{From: "eve4@example.net", To: lab.To(to[:2]...), Data: m})
		s.mustArrive(m, observed[:2]...)

		// A recipient of the enforced domain is refused alone.
		r = s.send(lab.FromInternet, lab.Mail{From: "eve5@example.net", To: lab.To("nobody@globex.example", "retired@acmecorp.com"), Data: lab.Plain("eve5@example.net", to[0], "to nobody")})
		if r.To[0].Code != 550 || r.To[1].Code != 250 || !r.Accepted() {
			t.Errorf("it is answered %+v", r)
		}

		s.do(s.Daemon.Stop())
		s.says(1, "messages observed", "Not ready to enforce: something unexpected would have been done last at ",
			"\nrefused (unexpected)\n  4 in the last 24 hours, 4 in the last seven days\n  1 from <eve1@example.net>\n", "\nheld by spam\n  1 in ", "\nrefused by virus\n  2 in ", "\nrewritten\n")
		s.says(0, "messages find --observed --verdict quarantine", "quarantine (would be quarantine spam)", "<eve2@example.net>")
		s.says(1, "messages find --verdict accept --from eve3@example.net")
	})
}
