package e2e

import (
	"fmt"
	"net"
	"regexp"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"coexistd/contrib/lab"
)

// relayed is a site with two relays, to which rules take some mail.
type relayed struct {
	*site
	first, second *lab.Sink
	toml          string
}

func startRelays(t *testing.T, mta lab.MTA, refuse func(string) *lab.Reply) *relayed {
	t.Helper()
	start := func() *lab.Sink {
		sink, err := lab.StartSink(lab.SinkConfig{Refuse: refuse})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { sink.Close() })
		return sink
	}
	r := &relayed{first: start(), second: start()}
	hop := func(sink *lab.Sink) string { return strings.TrimPrefix(sink.NextHop(), "smtp:") }
	r.toml = lab.SiteTOML + fmt.Sprintf(`
[[route]]
name = "marked"
header = { name = "X-Class", text = "secret" }
recipients = ["@acmecorp.com", "@far.example"]
to = "relay:%s"

[[route]]
name = "partner"
recipients = [".partner.example"]
points = ["S2"]
to = "relay:%s"
`, hop(r.first), hop(r.second))
	_, first, _ := net.SplitHostPort(r.first.Addr())
	_, second, _ := net.SplitHostPort(r.second.Addr())
	r.site = startSite(t, lab.SiteConfig{
		MTA: mta, TOML: r.toml, Directory: routedUsers, MC: []string{"define(`COEXISTD_RELAY_PORTS', `" + first + " " + second + "')dnl"},
	})
	return r
}

// has waits for a message at a relay, and returns it.
func (r *relayed) has(sink *lab.Sink, message []byte) lab.Delivery {
	r.t.Helper()
	d, err := sink.Wait(deadline(r.t), func(d lab.Delivery) bool { return messageID(d.Data) == messageID(message) })
	if err != nil {
		r.t.Fatal(err)
	}
	return d
}

func TestMailReachesARelayWithTheAddressAsItWasWritten(t *testing.T) {
	onEachMTA(t, func(t *testing.T, mta lab.MTA) {
		r := startRelays(t, mta, nil)
		const eve = "eve@example.net"
		marked := func(message []byte) []byte { return withHeader("X-Class: secret", message) }
		plain := func(from, subject string) []byte { return lab.Plain(from, forBob, subject) }
		for _, c := range []struct {
			about, client, from, args string
			to                        []lab.Rcpt
			message                   []byte
			sink                      *lab.Sink
			relayed, elsewhere        []string
			notify, orcpt             string
		}{
			{"here", lab.FromInternet, eve, "", lab.To("Bob+News@AcmeCorp.com"), marked(plain(eve, "here")), r.first, []string{"Bob+News@AcmeCorp.com"}, nil, "", "rfc822;Bob+2BNews@AcmeCorp.com"},
			{"there", lab.FromInternet, eve, "", lab.To("alice@acmecorp.com"), marked(plain(eve, "there")), r.first, []string{"alice@acmecorp.com"}, nil, "", "rfc822;alice@acmecorp.com"},
			{"both", lab.FromInternet, eve, "", lab.To("carol@acmecorp.com"), marked(plain(eve, "both")), r.first, []string{"carol@acmecorp.com"}, nil, "", "rfc822;carol@acmecorp.com"},
			{"mixed", lab.FromUser, forBob, "", lab.To("alice@acmecorp.com", "hugo@globex.example", "x@far.example", "y@other.example", forBob), marked(plain(forBob, "mixed")), r.first,
				[]string{"alice@acmecorp.com", forBob, "x@far.example"}, []string{"here hugo@globex.example", "Internet y@other.example"}, "", "rfc822;alice@acmecorp.com"},
			{"the second relay", lab.FromUser, forBob, "", lab.To("x@a.partner.example"), plain(forBob, "partner"), r.second, []string{"x@a.partner.example"}, nil, "", "rfc822;x@a.partner.example"},
			{"the null sender", lab.FromInternet, "", "", lab.To(forBob), marked(plain("MAILER-DAEMON@example.net", "null")), r.first, []string{forBob}, nil, "", "rfc822;" + forBob},
			{"8 bits", lab.FromInternet, eve, "BODY=8BITMIME", lab.To(forBob), marked(lab.EightBit(eve, forBob, "8 bits")), r.first, []string{forBob}, nil, "", "rfc822;" + forBob},
			{"arguments", lab.FromInternet, eve, "RET=HDRS", []lab.Rcpt{{Address: forBob, Args: "NOTIFY=FAILURE,DELAY ORCPT=rfc822;Team+2BSales@lists.example"}}, marked(plain(eve, "arguments")), r.first,
				[]string{forBob}, nil, "FAILURE,DELAY", "rfc822;Team+2BSales@lists.example"},
		} {
			r.deliver(c.client, lab.Mail{From: c.from, Args: c.args, To: c.to, Data: c.message})
			got := r.has(c.sink, c.message)
			to := got.To()
			slices.Sort(to)
			slices.Sort(c.relayed)
			if !slices.Equal(to, c.relayed) || got.From != c.from || !strings.EqualFold(got.Recipients[0].Notify, c.notify) {
				t.Errorf("%s: the relay has it from %q for %+v", c.about, got.From, got.Recipients)
			}
			if !slices.ContainsFunc(got.Recipients, func(one lab.Recipient) bool { return one.ORCPT == c.orcpt }) {
				t.Errorf("%s: the relay was told %+v; right is ORCPT=%s", c.about, got.Recipients, c.orcpt)
			}
			if string(below(got.Data)) != string(below(c.message)) {
				t.Errorf("%s: the message came as\n%s\nand was\n%s", c.about, below(got.Data), below(c.message))
			}
			r.mustArrive(c.message, c.elsewhere...)
		}
		if r.smtpUTF8 {
			m := marked(plain(eve, "UTF-8"))
			r.deliver(lab.FromInternet, lab.Mail{From: eve, Args: "SMTPUTF8", To: lab.To("Grüße@acmecorp.com"), Data: m})
			if got := r.has(r.first, m); !slices.Equal(got.To(), []string{"Grüße@acmecorp.com"}) || !got.UTF8 {
				t.Errorf("the relay has UTF-8 for %+v", got.Recipients)
			}
		}
		r.says(exitYes, "explain --from "+forBob+" --login bob --to x@a.partner.example", "route      partner", "x=at=a.partner.example@127.0.0.1.p", "S2=>S3=>ED")
	})
}

func TestMailForARelayWaitsAndGoesOnWhateverBecomesOfItsRule(t *testing.T) {
	onEachMTA(t, func(t *testing.T, mta lab.MTA) {
		var says atomic.Pointer[lab.Reply]
		says.Store(&lab.Reply{Code: 451, Enhanced: "4.2.1", Text: "come back later"})
		r := startRelays(t, mta, func(string) *lab.Reply { return says.Load() })
		m := withHeader("X-Class: secret", lab.Plain("eve@example.net", "bob+wait@acmecorp.com", "waiting"))
		r.says250(lab.FromInternet, "eve@example.net", m, "bob+wait@acmecorp.com")
		hidden := regexp.MustCompile(`\S+@\S+\.route\.invalid`).FindString(r.waitDaemonLog(`-> \S+\.route\.invalid by the route`))
		if !strings.HasPrefix(hidden, "bob+wait=at=acmecorp.com@127.0.0.1.p") {
			t.Fatalf("the MTA knows the recipient as %q", hidden)
		}
		r.do(r.WaitDeferred(deadline(t), hidden, "come back later"))

		// Nobody else may send by such an address.
		for _, client := range []string{lab.FromInternet, lab.FromUser, lab.FromOffice365} {
			if got := r.rcpt(client, forBob, hidden); got.Code != 554 && got.Code != 550 {
				t.Errorf("from %s, the address of route.invalid is answered %+v", client, got)
			}
		}

		r.configure(lab.SiteTOML)
		says.Store(nil)
		r.flush()
		if got := r.has(r.first, m); !slices.Equal(got.To(), []string{"bob+wait@acmecorp.com"}) {
			t.Errorf("the relay has it for %+v", got.Recipients)
		}

		r.configure(r.toml)
		says.Store(&lab.Reply{Code: 550, Enhanced: "5.1.1", Text: "nobody"})
		m = withHeader("X-Class: secret", lab.Plain(forBob, "alice@acmecorp.com", "bounced"))
		r.says250(lab.FromUser, forBob, m, "alice@acmecorp.com")
		bounce, err := r.Here.Wait(deadline(t), func(d lab.Delivery) bool { return d.From == "" })
		if err != nil {
			t.Fatal(err)
		}
		for _, text := range []string{"alice=at=acmecorp.com@127.0.0.1.p", "\r\nOriginal-Recipient: rfc822;alice@acmecorp.com\r\n"} {
			if !strings.Contains(string(bounce.Data), text) {
				t.Errorf("the bounce lacks %q:\n%s", text, bounce.Data)
			}
		}
	})
}
