package e2e

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"coexistd/contrib/lab"
)

// dsnUsers are users of the platform with addresses that are hard to carry, and
// the sender whom their bounces reach.
const dsnUsers = `address,residence,login
alice@acmecorp.com,office365,
"""alice b""@acmecorp.com",office365,
grüße@acmecorp.com,office365,
a=b@acmecorp.com,office365,
carol@acmecorp.com,both,carol
bob@acmecorp.com,here,bob
`

// rewrite is a recipient with what the platform must be told of it.
type rewrite struct {
	to, args string // as they are sent
	utf8     bool   // SMTPUTF8 (RFC 6531)
	rewritten,
	notify, orcpt string // as they must arrive; an empty notify: not given
	// original is the field of a bounce that shows the address.
	original string
}

const alternate = "@acmecorp-com.onmicrosoft.com"

var allRewrites = []rewrite{
	{to: "Alice@AcmeCorp.com", rewritten: "Alice" + alternate,
		orcpt: "rfc822;Alice@AcmeCorp.com", original: "rfc822;Alice@AcmeCorp.com"},
	{to: "Alice@AcmeCorp.com", args: "ORCPT=rfc822;Alice@AcmeCorp.com", rewritten: "Alice" + alternate,
		orcpt: "rfc822;Alice@AcmeCorp.com", original: "rfc822;Alice@AcmeCorp.com"},
	{to: "alice@acmecorp.com", args: "NOTIFY=FAILURE,DELAY ORCPT=rfc822;Team+2BSales@lists.example", rewritten: "alice" + alternate,
		notify: "FAILURE,DELAY", orcpt: "rfc822;Team+2BSales@lists.example", original: "rfc822;Team+Sales@lists.example"},
	{to: "ALICE@ACMECORP.COM", args: "notify=success,failure", rewritten: "ALICE" + alternate,
		notify: "SUCCESS,FAILURE", orcpt: "rfc822;ALICE@ACMECORP.COM", original: "rfc822;ALICE@ACMECORP.COM"},
	{to: "Alice+News@AcmeCorp.com", rewritten: "Alice+News" + alternate,
		orcpt: "rfc822;Alice+2BNews@AcmeCorp.com", original: "rfc822;Alice+News@AcmeCorp.com"},
	{to: "A=B@AcmeCorp.com", args: "NOTIFY=FAILURE", rewritten: "A=B" + alternate,
		notify: "FAILURE", orcpt: "rfc822;A+3DB@AcmeCorp.com", original: "rfc822;A=B@AcmeCorp.com"},
	{to: `"Alice B"@AcmeCorp.com`, rewritten: `"Alice B"` + alternate,
		orcpt: `rfc822;"Alice+20B"@AcmeCorp.com`, original: `rfc822;"Alice B"@AcmeCorp.com`},
	{to: "Grüße@AcmeCorp.com", utf8: true, rewritten: "Grüße" + alternate,
		orcpt: `utf-8;Gr\x{FC}\x{DF}e@AcmeCorp.com`, original: "utf-8;Grüße@AcmeCorp.com"},
	{to: "Grüße@AcmeCorp.com", args: `NOTIFY=FAILURE ORCPT=utf-8;Stra\x{DF}e\x{2B}1@lists.example`, utf8: true, rewritten: "Grüße" + alternate,
		notify: "FAILURE", orcpt: `utf-8;Stra\x{DF}e\x{2B}1@lists.example`, original: "utf-8;Straße+1@lists.example"},
	{to: "Carol@AcmeCorp.com", args: "NOTIFY=FAILURE", rewritten: "Carol" + alternate,
		notify: "FAILURE", orcpt: "rfc822;Carol@AcmeCorp.com", original: "rfc822;Carol@AcmeCorp.com"},
	{to: "Alice@AcmeCorp.com", args: "NOTIFY=NEVER", rewritten: "Alice" + alternate,
		notify: "NEVER", orcpt: "rfc822;Alice@AcmeCorp.com"},
	{to: "Alice@AcmeCorp.com", args: "NOTIFY=NEVER ORCPT=rfc822;Alice@AcmeCorp.com", rewritten: "Alice" + alternate,
		notify: "NEVER", orcpt: "rfc822;Alice@AcmeCorp.com"},
	{to: "Carol@AcmeCorp.com", args: "NOTIFY=NEVER", rewritten: "Carol" + alternate,
		notify: "NEVER", orcpt: "rfc822;Carol@AcmeCorp.com"},
}

// rewrites are those that the site's MTA can carry.
func (s *site) rewrites() []rewrite {
	return slices.DeleteFunc(slices.Clone(allRewrites), func(r rewrite) bool { return r.utf8 && !s.smtpUTF8 })
}

// sendAll sends a message for each rewrite, from a subaddress of bob's of its
// own, so that each bounce can be told from the others.
func sendAll(s *site) [][]byte {
	s.t.Helper()
	messages := make([][]byte, len(s.rewrites()))
	for i, r := range s.rewrites() {
		from := bobFor(i)
		messages[i] = lab.Plain(from, "alice@acmecorp.com", "DSN")
		mail := lab.Mail{From: from, Args: "RET=HDRS", To: []lab.Rcpt{{Address: r.to, Args: r.args}}, Data: messages[i]}
		if r.utf8 {
			mail.Args += " SMTPUTF8"
		}
		s.deliver(lab.FromUser, mail)
	}
	return messages
}

// successAsked lists the senders who want to know of success, too.
func (s *site) successAsked() []string {
	var senders []string
	for i, r := range s.rewrites() {
		if strings.Contains(r.notify, "SUCCESS") {
			senders = append(senders, bobFor(i))
		}
	}
	return senders
}

func bobFor(i int) string { return fmt.Sprintf("bob+%d@acmecorp.com", i) }

func TestDeliveryStatusArgumentsSurviveTheRewrite(t *testing.T) {
	onEachMTA(t, func(t *testing.T, mta lab.MTA) {
		startSite(t, lab.SiteConfig{MTA: mta, Directory: dsnUsers}).mustCarryArguments(t)
	})
}

func (s *site) mustCarryArguments(t *testing.T) {
	t.Helper()
	messages := sendAll(s)
	for i, r := range s.rewrites() {
		want := []string{"office365 " + r.rewritten}
		if strings.HasPrefix(r.to, "Carol") {
			want = append(want, "here "+r.to)
		}
		s.mustArrive(messages[i], want...)
		for _, d := range s.Office.All() {
			if messageID(d.Data) != messageID(messages[i]) {
				continue
			}
			if got := d.Recipients[0]; !strings.EqualFold(got.Notify, r.notify) || got.ORCPT != r.orcpt {
				t.Errorf("%s %s: the platform was told NOTIFY=%s ORCPT=%s, and right would be NOTIFY=%s ORCPT=%s",
					r.to, r.args, got.Notify, got.ORCPT, r.notify, r.orcpt)
			}
		}
	}
}

// checkBounces checks that bob's mailbox here has got exactly one bounce of
// each message that asks for one, and that it shows the address that was
// written.
func checkBounces(s *site) {
	s.t.Helper()
	got := map[string][]string{}
	for place, sink := range s.sinks() {
		for _, d := range sink.All() {
			if d.From != "" {
				continue
			}
			// Where Postfix's own lookup rewrites the address too, it says so to a
			// sender who asks for NOTIFY=SUCCESS.
			expanded := strings.Contains(string(d.Data), "\r\nAction: expanded\r\n")
			for _, to := range d.To() {
				if expanded && slices.Contains(s.successAsked(), to) {
					continue
				}
				got[place+" "+to] = append(got[place+" "+to], string(d.Data))
			}
		}
	}
	for i, r := range s.rewrites() {
		bob := "here " + bobFor(i)
		bounces := got[bob]
		delete(got, bob)
		switch {
		case r.notify == "NEVER":
			if len(bounces) != 0 {
				s.t.Errorf("%s %s: there are %d bounces; there must be none:\n%s", r.to, r.args, len(bounces), bounces[0])
			}
		case len(bounces) != 1:
			s.t.Errorf("%s %s: bob has %d bounces; one is right: %s", r.to, r.args, len(bounces), bounces)
		case !strings.Contains(bounces[0], "\r\nAction: failed\r\n"):
			s.t.Errorf("%s %s: the bounce does not say that delivery failed:\n%s", r.to, r.args, bounces[0])
		case !strings.Contains(bounces[0], "\r\nOriginal-Recipient: "+r.original+"\r\n"):
			s.t.Errorf("%s %s: the bounce does not say Original-Recipient: %s\n%s", r.to, r.args, r.original, bounces[0])
		}
	}
	for to := range got {
		s.t.Errorf("a bounce arrived at %s", to)
	}
}

// refusingSink is a server that has no mailbox.
func refusingSink(t *testing.T) *lab.Sink {
	t.Helper()
	sink, err := lab.StartSink(lab.SinkConfig{Refuse: func(string) *lab.Reply {
		return &lab.Reply{Code: 550, Enhanced: "5.1.10", Text: "Recipient not found"}
	}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { sink.Close() })
	return sink
}

// The platform refuses the recipient, so our own Postfix makes the bounce.
func TestABounceOfWhatThePlatformRefusesShowsTheAddressThatTheSenderWrote(t *testing.T) {
	onEachMTA(t, func(t *testing.T, mta lab.MTA) {
		s := startSite(t, lab.SiteConfig{MTA: mta, Directory: dsnUsers, Routes: map[string]string{alternate[1:]: refusingSink(t).NextHop()}})
		sendAll(s)
		s.do(s.WaitEmpty(deadline(t)))
		checkBounces(s)
	})
}

// The platform takes the message and bounces it later: a second Postfix, whose
// mailboxes refuse everybody.
func TestABounceFromThePlatformShowsTheAddressThatTheSenderWrote(t *testing.T) {
	onEachMTA(t, func(t *testing.T, mta lab.MTA) {
		p := lab.Lend(t)
		mailboxes := refusingSink(t)
		platform, err := p.Start(deadline(t), lab.Config{
			Services: []lab.Service{{Name: "public"}},
			Main:     map[string]string{"mynetworks": "127.0.0.0/8", "smtp_bind_address": "127.0.1.7", "myhostname": "platform.lab.test"},
			Routes:   map[string]string{alternate[1:]: mailboxes.NextHop()},
		})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			if err := platform.Stop(); err != nil {
				t.Error(err)
			}
			if t.Failed() {
				t.Logf("the platform said:\n%s", platform.Log())
			}
		})
		s := startSite(t, lab.SiteConfig{MTA: mta, Directory: dsnUsers, Routes: map[string]string{alternate[1:]: "smtp:[127.0.0.1]:" + port(platform.Addr("public"))}})
		if err := platform.Restart(deadline(t), map[string]string{"relayhost": "[127.0.0.1]:" + port(s.Addr("public"))}); err != nil {
			t.Fatal(err)
		}
		sendAll(s)
		for _, queue := range []lab.Host{s, platform, s} {
			if err := queue.WaitEmpty(deadline(t)); err != nil {
				t.Fatal(err)
			}
		}
		checkBounces(s)
		if n := platform.Bounced(); n != len(s.rewrites()) {
			t.Errorf("the platform has bounced %d messages; it must be %d", n, len(s.rewrites()))
		}
	})
}

// port is the port of HOST:PORT.
func port(address string) string { return address[strings.LastIndexByte(address, ':')+1:] }
