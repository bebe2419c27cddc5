package e2e

import (
	"cmp"
	"encoding/json"
	"regexp"
	"slices"
	"strings"
	"testing"

	"coexistd/contrib/lab"
)

// shared is one of the site's domains with the platform that it is shared with.
type shared struct {
	platform, letter  string
	domain, alternate string
	here, there       string // local parts of a user here and of one there
	client, tenant    string // how the platform's mail is known
}

var (
	withOffice = shared{"office365", "O", "acmecorp.com", "acmecorp-com.onmicrosoft.com", "bob", "alice", lab.FromOffice365, lab.OfficeTenant}
	withGoogle = shared{"google", "G", "globex.example", "gapps.globex.example", "hugo", "gail", lab.FromGoogle, lab.GoogleTenant}
)

// withMX is the usual configuration with the MX of a domain at its platform.
func withMX(toml string, domains ...shared) string {
	for _, d := range domains {
		alternate := "alternate = { " + d.platform
		toml = strings.Replace(toml, alternate, "mx = \""+d.platform+"\"\n"+alternate, 1)
	}
	return toml
}

// withOutbound is a configuration by which all mail for the Internet leaves
// through a platform, whose own users then do not relay through us.
func withOutbound(toml string, d shared) string {
	relay := "tenant   = \"" + d.tenant + "\"\n"
	return "outbound = \"" + d.platform + "\"\n" + strings.Replace(toml, relay+"may_relay = true\n", relay, 1)
}

// passage is one way through our MTA.
type passage struct {
	about    string
	client   string // where it comes from; empty: the submission service, as bob
	tenant   string // not empty: the message proves this tenant
	prove    proving
	from, to string
	flow     string
	arrival  string // "PLACE ADDRESS", with commas between several

	message []byte
	result  lab.Result
}

// passages are the ways of section 1's table that pass us, and those between
// it: O stands for the platform's letter.
func (d shared) passages(mxThere bool) []*passage {
	here, there := d.here+"@"+d.domain, d.there+"@"+d.domain
	atHere, atThere := "here "+here, d.platform+" "+d.there+"@"+d.alternate
	const eve, user = "eve@example.net", lab.FromUser
	list := []*passage{
		{about: "user here to mailbox here", client: user, from: here, to: here, flow: "S2=>LD", arrival: atHere},
		{about: "user here to mailbox there", client: user, from: here, to: there, flow: "S2=>S4=>O1=>LD", arrival: atThere},
		{about: "user here to the Internet", client: user, from: here, to: eve, flow: "S2=>S3=>ED", arrival: "Internet " + eve},
		{about: "logged-in user to mailbox here", from: here, to: here, flow: "S2=>LD", arrival: atHere},
		{about: "logged-in user to mailbox there", from: here, to: there, flow: "S2=>S4=>O1=>LD", arrival: atThere},
		{about: "logged-in user to the Internet", from: here, to: eve, flow: "S2=>S3=>ED", arrival: "Internet " + eve},
		{about: "user there to mailbox here", client: d.client, tenant: d.tenant, from: there, to: here, flow: "O2=>O3=>S1=>LD", arrival: atHere},
		{about: "user there to the Internet through us", client: d.client, tenant: d.tenant, from: there, to: eve, flow: "O2=>O3=>S1=>S3=>ED", arrival: "Internet " + eve},
		// Past the MX, where that is there.
		{about: "Internet to mailbox here", client: lab.FromInternet, from: eve, to: here, flow: "S0=>LD", arrival: atHere},
		{about: "Internet to mailbox there", client: lab.FromInternet, from: eve, to: there, flow: "S0=>S4=>O1=>LD", arrival: atThere},
		{about: "another tenant to mailbox there", client: d.client, tenant: "00000000-1111-2222-3333-444444444444", from: eve, to: there, flow: "S0=>S4=>O1=>LD", arrival: atThere},
	}
	if mxThere {
		list = append(list,
			&passage{about: "Internet to mailbox here, by the MX there", client: d.client, tenant: d.tenant, from: eve, to: here, flow: "O1=>O3=>S1=>LD", arrival: atHere},
			&passage{about: "bounce to mailbox here, by the MX there", client: d.client, tenant: d.tenant, to: here, flow: "O1=>O3=>S1=>LD", arrival: atHere})
	}
	for _, p := range list {
		p.flow = strings.ReplaceAll(p.flow, "O", d.letter)
	}
	return list
}

// proving puts the proof of a tenant on a message: as it is sent, and as it must arrive.
type proving func(t *testing.T, message []byte) (sent, arrives []byte)

// hand hands a passage's message in.
func (s *site) hand(p *passage) {
	s.t.Helper()
	p.message = lab.Plain(cmp.Or(p.from, "postmaster@example.net"), p.to, p.about)
	if p.tenant != "" {
		p.message = fromTenant(p.tenant, p.message)
	}
	sent := p.message
	if p.prove != nil {
		sent, p.message = p.prove(s.t, p.message)
	}
	mail := lab.Mail{From: p.from, To: lab.To(p.to), Data: sent}
	client := lab.Client{Server: s.Addr("public"), Local: p.client}
	if p.client == "" {
		client = lab.Client{Server: s.Addr("submission"), Local: lab.FromInternet, User: "bob", Password: "secret"}
	}
	var err error
	if p.result, err = client.Send(deadline(s.t), mail); err != nil {
		s.t.Fatal(err)
	}
}

// follow checks where a passage's message has arrived and what was logged of it.
func (s *site) follow(p *passage) {
	s.t.Helper()
	if !p.result.Accepted() {
		s.t.Errorf("%s: not taken: %+v", p.about, p.result)
		return
	}
	if got := s.arrivals(p.message); !slices.Equal(got, strings.Split(p.arrival, ", ")) {
		s.t.Errorf("%s: it arrived at %q; it must arrive at %s", p.about, got, p.arrival)
	}
	l := s.logged(p.result)
	way := strings.Split(p.flow, "=>")
	point := way[slices.IndexFunc(way, func(step string) bool { return step[0] == 'S' })]
	if l["point"] != point || l["verdict"] != "accept" || l["from"] != p.from {
		s.t.Errorf("%s: the log line says %v; the point must be %s", p.about, l, point)
	}
	if got := l.recipient(s.t, p.to); got.Flow != p.flow {
		s.t.Errorf("%s: the log says of its flow %q; it must be %q", p.about, got.Flow, p.flow)
	}
}

func TestEveryFlowThatPassesUsArrivesAndIsLogged(t *testing.T) {
	onEachMTA(t, func(t *testing.T, mta lab.MTA) {
		for _, c := range []struct {
			about string
			mx    []shared // there
		}{{"MX here", nil}, {"MX there", []shared{withOffice, withGoogle}}} {
			t.Run(c.about, func(t *testing.T) {
				t.Parallel()
				s := startSite(t, lab.SiteConfig{MTA: mta, TOML: withMX(lab.SiteTOML, c.mx...) + metricsTOML})
				list := slices.Concat(withOffice.passages(c.mx != nil), withGoogle.passages(c.mx != nil))
				s.pass(list)
				s.mustCountFlows(list)
			})
		}
	})
}

// pass hands the messages of passages in and follows each.
func (s *site) pass(list []*passage) {
	s.t.Helper()
	for _, p := range list {
		s.hand(p)
	}
	for _, p := range list {
		s.follow(p)
	}
}

// Each site has one domain with its MX here and one with its MX there.
func TestAllMailForTheInternetLeavesThroughTheOtherPlatform(t *testing.T) {
	onEachMTA(t, func(t *testing.T, mta lab.MTA) {
		t.Run(withOffice.platform, func(t *testing.T) {
			t.Parallel()
			allThrough(t, mta, withOffice, withGoogle, func(s *site) **lab.Sink { return &s.Office })
		})
		t.Run(withGoogle.platform, func(t *testing.T) {
			t.Parallel()
			allThrough(t, mta, withGoogle, withOffice, func(s *site) **lab.Sink { return &s.Google })
		})
	})
}

// allThrough has all mail for the Internet leave through one platform, while the other
// has the MX of its domain.
func allThrough(t *testing.T, mta lab.MTA, through, mxThere shared, sink func(s *site) **lab.Sink) {
	t.Helper()
	platform, err := lab.StartSink(lab.SinkConfig{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { platform.Close() })
	s := startSite(t, lab.SiteConfig{
		MTA:    mta,
		TOML:   withOutbound(withMX(lab.SiteTOML, mxThere), through),
		Routes: map[string]string{"*": platform.NextHop(), through.alternate: platform.NextHop()},
	})
	usual := sink(s)
	(*usual).Close()
	*usual = platform

	const eve = "eve@example.net"
	ways := strings.NewReplacer("O", through.letter)
	list := []*passage{{
		about: "to a mailbox there", client: lab.FromUser, from: through.here + "@" + through.domain,
		to: through.there + "@" + through.domain, flow: ways.Replace("S2=>S4=>O1=>LD"),
		arrival: through.platform + " " + through.there + "@" + through.alternate,
	}}
	for _, d := range []shared{withOffice, withGoogle} {
		list = append(list, &passage{
			about: d.domain + " to the Internet", client: lab.FromUser, from: d.here + "@" + d.domain,
			to: eve, flow: ways.Replace("S2=>S4=>O1=>O4=>ED"), arrival: through.platform + " " + eve,
		})
	}
	s.pass(list)

	back := &passage{client: through.client, tenant: through.tenant, from: through.there + "@" + through.domain, to: eve}
	if s.hand(back); back.result.To[0].Code != 554 || back.result.To[0].Enhanced != "5.7.1" {
		t.Errorf("what the platform sends out through us would go back to it; it got %+v, and 554 5.7.1 is right", back.result)
	}
	s.mustArrive(back.message)
}

// tableOfFlows is section 1's table for one domain and its platform. Outbound
// is the letter of the platform through which mail for the Internet leaves.
func (d shared) tableOfFlows(mxThere bool, outbound string) []flowLine {
	there := " at " + d.platform
	list := []flowLine{
		{From: "Internet", To: "mailbox here", Flow: "S0=>LD", PassesUs: true},
		{From: "Internet", To: "mailbox" + there, Flow: "S0=>S4=>O1=>LD", PassesUs: true},
		{From: "user here", To: "mailbox here", Flow: "S2=>LD", PassesUs: true},
		{From: "user here", To: "mailbox" + there, Flow: "S2=>S4=>O1=>LD", PassesUs: true},
		{From: "user here", To: "Internet", Flow: "S2=>S3=>ED", PassesUs: true},
		{From: "user" + there, To: "mailbox here", Flow: "O2=>O3=>S1=>LD", PassesUs: true},
		{From: "user" + there, To: "mailbox" + there, Flow: "O2=>LD"},
		{From: "user" + there, To: "Internet", Flow: "O2=>O4=>ED"},
		{From: "user" + there, To: "Internet, through us", Flow: "O2=>O3=>S1=>S3=>ED", PassesUs: true},
	}
	if mxThere {
		list[0].Flow = "O1=>O3=>S1=>LD"
		list[1].Flow, list[1].PassesUs = "O1=>LD", false
	}
	for i := range list {
		list[i].Flow = strings.ReplaceAll(list[i].Flow, "O", d.letter)
	}
	if outbound != "" {
		list[4].Flow = strings.ReplaceAll("S2=>S4=>O1=>O4=>ED", "O", outbound)
		list[8].Flow = d.letter + "2=>" + d.letter + "3=>S1=>S4=>" + outbound + "1=>" + outbound + "4=>ED"
	}
	if outbound == d.letter {
		list = list[:8] // what comes from there for the Internet does not go back
	}
	return list
}

func TestExplainPrintsEveryFlowOfTheTable(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		about, toml, outbound string
		mx                    []shared // there
	}{
		{about: "MX here", toml: lab.SiteTOML},
		{about: "MX there", toml: lab.SiteTOML, mx: []shared{withOffice, withGoogle}},
		{about: "MX here, outbound Office 365", toml: withOutbound(lab.SiteTOML, withOffice), outbound: "O"},
		{about: "MX there, outbound Google", toml: withOutbound(lab.SiteTOML, withGoogle), outbound: "G", mx: []shared{withOffice, withGoogle}},
	} {
		t.Run(c.about, func(t *testing.T) {
			t.Parallel()
			path := configuration(t, withMX(c.toml, c.mx...), lab.SiteDirectory)
			out, status := ask(t, "explain", "-c", path, "--flows", "--json")
			var got []flowTable
			if err := json.Unmarshal(out, &got); err != nil || status != exitYes {
				t.Fatalf("explain --flows --json ended with %d, %v:\n%s", status, err, out)
			}
			text, _ := ask(t, "explain", "-c", path, "--flows")
			want := []flowTable{}
			for _, d := range []shared{withOffice, withGoogle} {
				table := flowTable{Domain: d.domain, Platform: d.platform, MX: "here", Flows: d.tableOfFlows(c.mx != nil, c.outbound)}
				if c.mx != nil {
					table.MX = d.platform
				}
				want = append(want, table)
				for _, r := range table.Flows {
					mark := "-"
					if r.PassesUs {
						mark = " "
					}
					line := `(?m)^` + mark + ` +` + regexp.QuoteMeta(r.From) + ` +` + regexp.QuoteMeta(r.To) + ` +` + regexp.QuoteMeta(r.Flow) + `$`
					if !regexp.MustCompile(line).Match(text) {
						t.Errorf("explain --flows lacks the row %v:\n%s", r, text)
					}
				}
			}
			for i := range want {
				if i >= len(got) || !slices.Equal(got[i].Flows, want[i].Flows) || got[i].Domain != want[i].Domain || got[i].MX != want[i].MX {
					t.Errorf("the tables are\n%+v; right would be\n%+v", got, want)
					break
				}
			}
		})
	}
}
