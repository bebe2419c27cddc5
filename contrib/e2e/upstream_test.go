package e2e

import (
	"fmt"
	"net"
	"slices"
	"strings"
	"testing"

	"coexistd/contrib/lab"
)

// fromGateway is where the gateway connects from, and the others are clients before it: in
// the Internet, as far.example's SPF record says of them, and of Office 365.
const (
	fromGateway = "127.0.5.7"
	farClient   = "203.0.113.9"
	otherClient = "203.0.113.66"
	partner     = "203.0.113.130"
	farOffice   = "198.51.100.4"
)

// behindGateway is the usual configuration behind a gateway, with further lines of the
// upstream.
func behindGateway(lines string) string {
	toml := strings.Replace(lab.SiteTOML, `networks = ["127.0.1.0/24"]`, `networks = ["127.0.1.0/24", "198.51.100.0/24"]`, 1)
	return strings.Replace(toml, `[domain."acmecorp.com"]`, "[upstream.filter]\nnetworks = [\""+fromGateway+"\"]\n"+lines+"\n[domain.\"acmecorp.com\"]", 1) + `
[[rate]]
name  = "clients"
by    = "client"
count = "messages"
limit = 3
per   = "24h"

[[allow]]
name    = "partner"
checks  = ["spoof"]
clients = ["203.0.113.128/28"]
`
}

// tellFar has the DNS say who may send for far.example.
func (s *site) tellFar() {
	s.tellDNS(map[string]string{"far.example": "v=spf1 ip4:" + farClient + " -all", "_dmarc.far.example": "v=DMARC1; p=reject"})
}

// receivedFrom is the field of a gateway that has a message from a client.
func receivedFrom(client string) string {
	return "Received: from mail.far.example (unknown [" + client + "])\r\n\tby gw.example (Postfix) with ESMTP id 4Xk1; Mon, 1 Jun 2020 10:00:00 +0000 (UTC)"
}

// fromFar is a message of somebody at far.example to an address of bob's.
func fromFar(to string, fields ...string) lab.Mail {
	message := lab.Plain("x@far.example", to, "through a gateway")
	for _, field := range slices.Backward(fields) {
		message = withHeader(field, message)
	}
	return lab.Mail{From: "x@far.example", To: lab.To(to), Data: message}
}

func TestMailThroughAGatewayIsJudgedByTheClientBeforeIt(t *testing.T) {
	onEachMTA(t, func(t *testing.T, mta lab.MTA) {
		s := startSite(t, lab.SiteConfig{MTA: mta, TOML: strings.Replace(behindGateway(""), "[domain.\"acmecorp.com\"]", "[domain.\"acmecorp.com\"]\npast_mx = \"reject\"", 1)})
		s.tellFar()
		const forged, unproven = "550 5.7.26", "451 4.3.0"
		for i, c := range []struct {
			about, client string
			fields        []string
			reply, point  string // "250": it is taken
			before        string
		}{
			{"whom SPF lets send", fromGateway, []string{receivedFrom(farClient)}, "250", "S0", farClient},
			{"another", fromGateway, []string{receivedFrom(otherClient)}, forged, "S0", otherClient},
			{"another, who forges a field", fromGateway, []string{receivedFrom(otherClient), receivedFrom(farClient)}, forged, "S0", otherClient},
			{"another, who forges the gateway's", fromGateway, []string{receivedFrom(otherClient), receivedFrom(fromGateway), receivedFrom(farClient)}, forged, "S0", otherClient},
			{"within the gateway", fromGateway, []string{receivedFrom(fromGateway), receivedFrom(farClient)}, "250", "S0", farClient},
			{"who is spared the check", fromGateway, []string{receivedFrom(partner)}, "250", "S0", partner},
			{"who is not known", fromGateway, []string{"Received: by gw.example id 1; Mon, 1 Jun 2020 10:00:00 +0000", receivedFrom(farClient)}, unproven, "S0", ""},
			{"a tenant of the platform", fromGateway, []string{receivedFrom(farOffice), "X-MS-Exchange-CrossTenant-Id: " + lab.OfficeTenant}, "250", "S1", farOffice},
			{"another tenant", fromGateway, []string{receivedFrom(farOffice), "X-MS-Exchange-CrossTenant-Id: 11111111-2222-3333-4444-555555555555"}, forged, "S0", farOffice},
			{"past the gateway", lab.FromInternet, []string{receivedFrom(farClient)}, "550 5.7.1", "S0", lab.FromInternet},
		} {
			to := fmt.Sprintf("bob+%d@acmecorp.com", i)
			r := s.send(c.client, fromFar(to, c.fields...))
			reply := r.Data
			if reply.Code == 0 {
				reply = r.To[0]
			}
			if !strings.HasPrefix(reply.String(), c.reply) {
				t.Errorf("%s: it is answered %s; right is %s", c.about, reply, c.reply)
			}
			line := s.lineTo(to)
			client := line["client"]
			if client == "invalid IP" {
				client = ""
			}
			if client != c.before || line["point"] != c.point {
				t.Errorf("%s: it is logged at %s from %q: %v", c.about, line["point"], client, line)
			}
			if c.client == fromGateway && !strings.Contains(line["reason"]+line["proof"], "filter") {
				t.Errorf("%s: the log does not tell of the gateway: %v", c.about, line)
			}
		}
		s.mustCountByClient(t, func(client string) lab.Result {
			return s.send(fromGateway, fromFar("bob@acmecorp.com", receivedFrom(client)))
		})
	})
}

// mustCountByClient holds that the limit of three messages is each client's: of the partner,
// one was taken before.
func (s *site) mustCountByClient(t *testing.T, send func(client string) lab.Result) {
	t.Helper()
	for i, want := range []string{"250", "250", "450 4.7.1"} {
		if r := send(partner); !strings.HasPrefix(r.Data.String(), want) {
			t.Errorf("message %d of one client is answered %s; right is %s", i+2, r.Data, want)
		}
	}
	if r := send("203.0.113.140"); !r.Accepted() {
		t.Errorf("the first message of another client is answered %s", r.Data)
	}
}

func TestAGatewayBeforeTheMTATellsOfItsClientsByItsReceivedField(t *testing.T) {
	t.Parallel()
	s := startSite(t, lab.SiteConfig{TOML: behindGateway("")})
	s.tellFar()
	host, port, err := net.SplitHostPort(s.Addr("public"))
	if err != nil {
		t.Fatal(err)
	}
	gateway, err := lab.Lend(t).Start(deadline(t), lab.Config{
		Services: []lab.Service{{Name: "public"}},
		Main: map[string]string{
			"myhostname": "gw.far.example", "relay_domains": "acmecorp.com", "smtpd_authorized_xclient_hosts": "127.0.0.0/8",
			"smtp_bind_address": fromGateway, "smtpd_relay_restrictions": "reject_unauth_destination",
		},
		Routes: map[string]string{"acmecorp.com": "smtp:[" + host + "]:" + port, "*": s.Outside.NextHop()},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := gateway.Stop(); err != nil {
			t.Error(err)
		}
	})
	for i, c := range []struct{ client, verdict string }{{farClient, "accept"}, {otherClient, "reject"}, {"IPV6:2001:db8::9", "reject"}} {
		to := fmt.Sprintf("bob+%d@acmecorp.com", i)
		sender := lab.Client{Server: gateway.Addr("public"), Local: lab.FromInternet, Hello: "mail.far.example", XClient: "NAME=mail.far.example ADDR=" + c.client}
		r, err := sender.Send(deadline(t), fromFar(to, receivedFrom(farClient)))
		if err != nil || !r.Accepted() {
			t.Fatalf("the gateway does not take the message: %+v, %v", r, err)
		}
		line := s.lineTo(to)
		client := strings.TrimPrefix(c.client, "IPV6:")
		if line["client"] != client || line["verdict"] != c.verdict || !strings.Contains(line["reason"], "it came through filter ("+fromGateway+"); filter has it from "+client) {
			t.Errorf("from %s: %v", c.client, line)
		}
	}
}

// toldClients are the ways in which a gateway tells Postfix of a client.
var toldClients = map[string]struct {
	main map[string]string
	from func(client string) lab.Client
	// late is set where Postfix tells milters of the gateway itself before it is told.
	late bool
}{
	"XCLIENT": {map[string]string{"smtpd_authorized_xclient_hosts": fromGateway}, func(client string) lab.Client {
		return lab.Client{XClient: "NAME=mail.far.example ADDR=" + client}
	}, true},
	"PROXY": {map[string]string{"smtpd_upstream_proxy_protocol": "haproxy"}, func(client string) lab.Client {
		return lab.Client{Proxy: "PROXY TCP4 " + client + " 127.0.0.1 40000 25"}
	}, false},
}

func TestAGatewayMayTellTheMTAOfItsClients(t *testing.T) {
	t.Parallel()
	for way, told := range toldClients {
		t.Run(way, func(t *testing.T) {
			t.Parallel()
			toml := strings.Replace(behindGateway(`client = "mta"`), `exempt = ["127.0.0.0/8"]`, "exempt = [\"127.0.99.0/24\"]\nconnections = 1", 1)
			s := startSite(t, lab.SiteConfig{TOML: toml, Main: told.main})
			s.tellFar()
			dial := func(client string) (*lab.Session, error) {
				c := told.from(client)
				c.Server, c.Local, c.Hello = s.Addr("public"), fromGateway, "mail.far.example"
				return c.Dial(deadline(t))
			}
			if told.late {
				defer s.enter(fromGateway).Close() // it has said nothing of a client yet
			}
			// The gateway has several connections, each of its clients one at most.
			for _, client := range []string{"203.0.113.200", "203.0.113.201"} {
				session, err := dial(client)
				if err != nil {
					t.Fatalf("the only connection of %s is turned away: %v", client, err)
				}
				defer session.Close()
			}
			if session, err := dial("203.0.113.200"); err == nil || !strings.Contains(err.Error(), "421 ") {
				t.Errorf("the second connection of a client is let in, or it failed: %v, %v", session, err)
			}
			send := func(client, to string) lab.Result {
				ctx := deadline(t)
				session, err := dial(client)
				for err != nil && strings.Contains(err.Error(), "421 ") && ctx.Err() == nil {
					session, err = dial(client) // the end of the one before is not known to coexistd yet
				}
				if err != nil {
					t.Fatal(err)
				}
				defer session.Close()
				r, err := session.Send(deadline(t), fromFar(to, receivedFrom(farClient)))
				if err != nil {
					t.Fatal(err)
				}
				return r
			}
			for i, c := range []struct{ client, reply string }{{farClient, "250"}, {otherClient, "550 5.7.26"}, {partner, "250"}} {
				to := fmt.Sprintf("bob+%d@acmecorp.com", i)
				if r := send(c.client, to); !strings.HasPrefix(r.Data.String(), c.reply) {
					t.Errorf("from %s: it is answered %s; right is %s", c.client, r.Data, c.reply)
				}
				if line := s.lineTo(to); line["client"] != c.client {
					t.Errorf("from %s: it is logged as %v", c.client, line)
				}
			}
			s.mustCountByClient(t, func(client string) lab.Result { return send(client, "bob@acmecorp.com") })
		})
	}
}
