package e2e

import (
	"cmp"
	"testing"

	"coexistd/contrib/lab"
)

// entrance is where a message is handed in.
type entrance string

const (
	byGateway entrance = "the gateway"
	direct    entrance = "the server, from the Internet"
	byNetwork entrance = "the server, from our network"
	loggedIn  entrance = "the submission service, by bob"
	byCommand entrance = "the sendmail command"
)

// blocklisted is a client that the blocklist has.
const blocklisted = "127.0.3.66"

// dayMail is one message of a day.
type dayMail struct {
	about string
	at    entrance
	from  string // the client, where it is not the usual one
	mail  lab.Mail
}

// theDay is the mail of a day, each time the same bytes.
func theDay(t *testing.T, partner *signer) (day []dayMail) {
	t.Helper()
	add := func(about string, at entrance, m lab.Mail) *dayMail {
		day = append(day, dayMail{about: about, at: at, mail: m})
		return &day[len(day)-1]
	}
	plain := func(from string, to ...string) lab.Mail {
		return lab.Mail{From: from, To: lab.To(to...), Data: lab.Plain(from, to[0], "a day's mail")}
	}
	const far, bob = "x@far.example", "bob@acmecorp.com"
	for _, to := range [][]string{
		{"bob@acmecorp.com"}, {"alice@acmecorp.com"}, {"anna@acmecorp.com"}, {"Alice@ACMECORP.com"}, {"bob+news@acmecorp.com"}, {"alice+news@acmecorp.com"},
		{"bob@acmecorp.com", "alice@acmecorp.com"}, {"carol@acmecorp.com", "office@acmecorp.com", "anna@acmecorp.com"},
		{"sales@acmecorp.com"}, {"boss@acmecorp.com"}, {"help@acmecorp.com"}, {"info@old.example"}, {"anybody@old.example"},
		{"office@acmecorp.com"}, {"cloud@acmecorp.com"}, {"staff@acmecorp.com"}, {"club@acmecorp.com"}, {"job@acmecorp.com"}, {"postmaster@acmecorp.com"},
		{"root@mail.acmecorp.com"}, {"gone@acmecorp.com"}, {"bob@acmecorp.com", "gone@acmecorp.com"},
	} {
		add("to "+to[0], byGateway, plain(far, to...))
	}
	for _, to := range []string{"bob@acmecorp.com", "alice@acmecorp.com", "staff@acmecorp.com"} {
		add("8-bit to "+to, byGateway, lab.Mail{From: far, Args: "BODY=8BITMIME", To: lab.To(to), Data: lab.EightBit(far, to, "Grusse")})
		add("a bounce to "+to, byGateway, lab.Mail{To: lab.To(to), Data: lab.Plain("MAILER-DAEMON@far.example", to, "undeliverable")})
		m := plain("jane@partner.example", to)
		m.Data = partner.sign(t, m.Data)
		add("signed to "+to, byGateway, m)
	}
	attached, err := lab.Multipart(far, bob, "a report", 20_000)
	if err != nil {
		t.Fatal(err)
	}
	add("an attachment", byGateway, lab.Mail{From: far, To: lab.To(bob, "alice@acmecorp.com"), Data: attached})
	add("what rspamd marks", byGateway, lab.Mail{From: far, To: lab.To(bob, "alice@acmecorp.com"), Data: append(lab.Plain(far, bob, "offers"), lab.SpamWord+"\r\n"...)})
	add("what rspamd refuses", byGateway, lab.Mail{From: far, To: lab.To(bob), Data: append(lab.Plain(far, bob, "offers"), lab.GTUBE+"\r\n"...)})
	add("a success to be told", byGateway, lab.Mail{From: far, Args: "RET=HDRS ENVID=day", To: []lab.Rcpt{{Address: bob, Args: "NOTIFY=SUCCESS,FAILURE ORCPT=rfc822;robert@acmecorp.com"}}, Data: lab.Plain(far, bob, "tell me")})

	add("past the gateway", direct, plain("y@near.example", bob))
	add("past the gateway, to the cloud", direct, plain("y@near.example", "alice@acmecorp.com"))
	add("past the gateway, to nobody", direct, plain("y@near.example", "gone@acmecorp.com"))
	add("to be relayed", direct, plain("y@near.example", far))
	add("a client to be refused", direct, plain("y@near.example", bob)).from = blocklisted

	for _, to := range [][]string{{bob}, {"alice@acmecorp.com"}, {far}, {"job@acmecorp.com"}, {"office@acmecorp.com"}, {"carol@acmecorp.com", "anna@acmecorp.com", far}, {"info@old.example"}, {"gone@acmecorp.com"}, {"gone@far.example"}} {
		add("bob's to "+to[0], loggedIn, plain(bob, to...))
		add("carol's to "+to[0], byNetwork, plain("carol@acmecorp.com", to...))
	}
	add("bob's from home", loggedIn, plain(bob, far)).from = blocklisted
	add("alice's, which bounces", byNetwork, plain("alice@acmecorp.com", "gone@far.example"))
	add("8-bit of bob's", loggedIn, lab.Mail{From: bob, Args: "BODY=8BITMIME", To: lab.To("alice@acmecorp.com", far), Data: lab.EightBit(bob, far, "Grusse")})

	for _, to := range []string{"root", "alice@acmecorp.com", "office", "staff", "job", "club", "bob@acmecorp.com", far} {
		add("the host's to "+to, byCommand, plain("root@mail.acmecorp.com", to))
	}
	add("the host's to nobody", byCommand, plain(bob, "gone@acmecorp.com"))
	add("the host's, which bounces to the cloud", byCommand, plain("alice@acmecorp.com", "gone@far.example"))
	add("the host's, of the null sender", byCommand, lab.Mail{To: lab.To("alice@acmecorp.com"), Data: lab.Plain(bob, "alice@acmecorp.com", "automatic")})
	return day
}

// hand hands a message in, and returns what was answered, without queue ids.
func (m *oldServer) hand(d dayMail) string {
	m.t.Helper()
	client := lab.Client{Server: m.Addr("public"), Local: cmp.Or(d.from, lab.FromInternet)}
	switch d.at {
	case byGateway:
		client = lab.Client{Server: m.gateway.Addr("public"), Local: lab.FromInternet, Hello: "mail.far.example", XClient: "NAME=mail.far.example ADDR=" + farClient}
	case byNetwork:
		client.Local = lab.FromUser
	case loggedIn:
		client.Server, client.User, client.Password = m.Addr("submission"), "bob", "secret"
	case byCommand:
		m.sendmail(d.mail.From, d.mail.Data, addressesOf(d.mail.To)...)
		return ""
	}
	r, err := client.Send(deadline(m.t), d.mail)
	m.do(err)
	return queuedAsAny.ReplaceAllString(r.Mail.String()+" | "+repliesOf(r.To)+" | "+r.Data.String(), "queued as *")
}
