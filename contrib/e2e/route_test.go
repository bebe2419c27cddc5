package e2e

import (
	"strings"
	"testing"

	"coexistd/contrib/lab"
)

// routesTOML takes some mail another way than the directory does.
const routesTOML = `
[[route]]
name = "large"
residences = ["both"]
size_over = "20K"
to = "here"

[[route]]
name = "secret"
recipients = [".com", "@acmecorp.com"]
points = ["S0"]
header = { name = "X-Class", pattern = "(?i)^secret" }
except = { senders = ["@partner.example"] }
to = "office365"

[[route]]
name = "the newsletter's answers"
senders = [".news.example"]
recipients = ["@acmecorp.com", "@globex.example"]
to = "here"

[[route]]
name = "all of the network"
clients = ["127.0.3.64/28"]
to = "google"
`

const routedUsers = `address,residence,login
alice@acmecorp.com,office365,alice
grüße@acmecorp.com,here,gerd
bob@acmecorp.com,here,bob
carol@acmecorp.com,both,carol
hugo@globex.example,here,hugo
gina@globex.example,both,gina
`

func TestMailGoesTheWayThatARuleSays(t *testing.T) {
	onEachMTA(t, func(t *testing.T, mta lab.MTA) {
		s := startSite(t, lab.SiteConfig{MTA: mta, TOML: lab.SiteTOML + routesTOML, Directory: routedUsers, Main: map[string]string{"message_size_limit": "40960000"}})
		const eve, network = "eve@example.net", "127.0.3.65"
		const bobThere = "office365 bob@acmecorp-com.onmicrosoft.com"
		large, err := lab.Multipart(eve, "carol@acmecorp.com", "large", 18<<20) // 25 MB in base64
		if err != nil {
			t.Fatal(err)
		}
		marked := func(message []byte) []byte { return withHeader("X-Class: =?utf-8?q?SECRET?=", message) }
		plain := func(from, subject string) []byte { return lab.Plain(from, forBob, subject) }
		for _, c := range []struct {
			client, from, args string
			to                 []string
			message            []byte
			want               []string
		}{
			{lab.FromInternet, eve, "", []string{"carol@acmecorp.com"}, plain(eve, "small"), []string{"here carol@acmecorp.com", "office365 carol@acmecorp-com.onmicrosoft.com"}},
			{lab.FromInternet, eve, "", []string{"carol@acmecorp.com", "gina@globex.example", "alice@acmecorp.com"}, large,
				[]string{"here carol@acmecorp.com", "here gina@globex.example", "office365 alice@acmecorp-com.onmicrosoft.com"}},
			{lab.FromInternet, eve, "", []string{forBob}, plain(eve, "open"), []string{"here " + forBob}},
			{lab.FromInternet, eve, "", []string{"Bob+News@acmecorp.com", "carol@acmecorp.com", "hugo@globex.example"}, marked(plain(eve, "secret")),
				[]string{"office365 Bob+News@acmecorp-com.onmicrosoft.com", "office365 carol@acmecorp-com.onmicrosoft.com", "here hugo@globex.example"}},
			{lab.FromInternet, eve, "BODY=8BITMIME", []string{forBob}, marked(lab.EightBit(eve, forBob, "8 bits")), []string{bobThere}},
			{lab.FromInternet, "", "", []string{forBob}, marked(plain("MAILER-DAEMON@example.net", "null sender")), []string{bobThere}},
			{lab.FromInternet, "a@partner.example", "", []string{forBob}, marked(plain("a@partner.example", "except")), []string{"here " + forBob}},
			{lab.FromUser, forBob, "", []string{forBob}, marked(plain(forBob, "from within")), []string{"here " + forBob}},
			{lab.FromInternet, "x@a.news.example", "", []string{"gina@globex.example", "alice@acmecorp.com"}, plain("x@a.news.example", "an answer"),
				[]string{"here gina@globex.example", "office365 alice@acmecorp-com.onmicrosoft.com"}},
			{network, eve, "", []string{"hugo@globex.example", "gina@globex.example", forBob}, plain(eve, "the network"),
				[]string{"google hugo@gapps.globex.example", "google gina@gapps.globex.example", "here " + forBob}},
		} {
			s.deliver(c.client, lab.Mail{From: c.from, Args: c.args, To: lab.To(c.to...), Data: c.message})
			s.mustArrive(c.message, c.want...)
		}
		if s.smtpUTF8 {
			m := marked(plain(eve, "UTF-8"))
			s.deliver(lab.FromInternet, lab.Mail{From: eve, Args: "SMTPUTF8", To: lab.To("Grüße@acmecorp.com"), Data: m})
			s.mustArrive(m, "office365 Grüße@acmecorp-com.onmicrosoft.com")
		}

		m := marked(plain(eve, "arguments"))
		s.deliver(lab.FromInternet, lab.Mail{From: eve, To: []lab.Rcpt{{Address: "BOB@acmecorp.com", Args: "NOTIFY=NEVER"}}, Data: m})
		s.mustArrive(m, "office365 BOB@acmecorp-com.onmicrosoft.com")
		for _, d := range s.Office.All() {
			if got := d.Recipients[0]; messageID(d.Data) == messageID(m) && (!strings.EqualFold(got.Notify, "NEVER") || got.ORCPT != "rfc822;BOB@acmecorp.com") {
				t.Errorf("the platform was told %+v", got)
			}
		}

		// What the platform has is its own: it comes back for the mailbox here, and goes there.
		back := fromTenant(lab.OfficeTenant, marked(plain(eve, "back")))
		s.deliver(lab.FromOffice365, lab.Mail{From: eve, To: lab.To(forBob), Data: back})
		s.mustArrive(back, "here "+forBob)

		s.says(exitYes, "explain --from x@a.news.example --to gina@globex.example --client "+lab.FromInternet,
			"route      the newsletter's answers", `the route "the newsletter's answers" takes it to here`, "flow       S0=>LD")
		s.says(exitYes, "explain --from x@a.news.example --to alice@acmecorp.com --client "+lab.FromInternet, "S4=>O1=>LD")
	})
}
