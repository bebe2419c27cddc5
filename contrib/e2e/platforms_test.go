package e2e

import (
	"crypto/rand"
	"encoding/json"
	"slices"
	"strings"
	"testing"

	"coexistd/contrib/lab"
)

// tenantProof is one way in which a platform's mail proves our tenant: what the platform's
// section says of it, and how messages do.
type tenantProof struct {
	toml  string
	prove proving
}

func byTenantHeader(tenant string) tenantProof {
	return tenantProof{`tenant = "` + tenant + `"`, func(_ *testing.T, m []byte) (sent, arrives []byte) {
		m = fromTenant(tenant, m)
		return m, m
	}}
}

// bySecretHeader is what a rule over there adds. It does not arrive.
func bySecretHeader(t *testing.T) tenantProof {
	secret := rand.Text()
	return tenantProof{`proof = { header = "X-Coexist-Proof", secret_file = "` + secretFile(t, secret) + `" }`, func(_ *testing.T, m []byte) (sent, arrives []byte) {
		return withHeader("X-Coexist-Proof: "+secret, m), m
	}}
}

func bySignature(domain string) tenantProof {
	return tenantProof{`proof = { dkim = "` + domain + `" }`, func(t *testing.T, m []byte) (sent, arrives []byte) {
		m = dkimSigned(t, m, domain)
		return m, m
	}}
}

// onBothTOML is the usual configuration with mailboxes of acmecorp.com at both platforms.
// Each has a proof of its own kind; mx is empty for an MX here.
func onBothTOML(mx string, office, google tenantProof) string {
	if mx != "" {
		mx = `mx = "` + mx + `"` + "\n"
	}
	return strings.NewReplacer(
		`tenant   = "`+lab.OfficeTenant+`"`, office.toml,
		`tenant   = "`+lab.GoogleTenant+`"`, google.toml,
		`alternate = { office365 = "acmecorp-com.onmicrosoft.com" }`,
		mx+`alternate = { office365 = "acmecorp-com.onmicrosoft.com", google = "gapps.acmecorp.com" }`,
	).Replace(lab.SiteTOML)
}

const onBothDirectory = `address,residence,login,target
alice@acmecorp.com,office365,,
al@acmecorp.com,office365,,Alice.Smith@acmecorp-com.onmicrosoft.com
carol@acmecorp.com,both:office365,carol,
gina@acmecorp.com,google,,
gi@acmecorp.com,google,,Gina.Jones@gapps.acmecorp.com
gary@acmecorp.com,both:google,gary,
bob@acmecorp.com,here,bob,
`

// side is one of the two platforms of acmecorp.com as the other sees it.
type side struct {
	platform, letter, alternate, client string
	user, alias, target, both           string // local parts of those who live there
	prove                               proving
}

// twoSides are Office 365 and Google.
func twoSides(office, google tenantProof) (side, side) {
	return side{"office365", "O", "acmecorp-com.onmicrosoft.com", lab.FromOffice365, "alice", "al", "Alice.Smith", "carol", office.prove},
		side{"google", "G", "gapps.acmecorp.com", lab.FromGoogle, "gina", "gi", "Gina.Jones", "gary", google.prove}
}

// across are the ways from one platform to mailboxes at the other.
func (from side) across(to side, mx string) []*passage {
	const at, eve = "@acmecorp.com", "eve@example.net"
	there := to.platform + " "
	ways := strings.NewReplacer("P", from.letter, "Q", to.letter)
	list := []*passage{
		{about: "user to user", from: from.user + at, to: to.user + at, flow: "P2=>P3=>S1=>S4=>Q1=>LD", arrival: there + to.user + "@" + to.alternate},
		{about: "user to a subaddress", from: from.user + at, to: to.user + "+News" + at, flow: "P2=>P3=>S1=>S4=>Q1=>LD", arrival: there + to.user + "+News@" + to.alternate},
		{about: "user to an address with a target", from: from.user + at, to: to.alias + at, flow: "P2=>P3=>S1=>S4=>Q1=>LD", arrival: there + to.target + "@" + to.alternate},
		{about: "user to a mailbox there and here", from: from.user + at, to: to.both + at, flow: "P2=>P3=>S1=>LD, P2=>P3=>S1=>S4=>Q1=>LD",
			arrival: there + to.both + "@" + to.alternate + ", here " + to.both + at},
		{about: "user to a mailbox here and where they are", from: from.user + at, to: from.both + at, flow: "P2=>P3=>S1=>LD", arrival: "here " + from.both + at},
		{about: "user to a mailbox here", from: from.user + at, to: "bob" + at, flow: "P2=>P3=>S1=>LD", arrival: "here bob" + at},
	}
	if mx == from.platform {
		list = append(list,
			&passage{about: "Internet to user, by the MX", from: eve, to: to.user + at, flow: "P1=>P3=>S1=>S4=>Q1=>LD", arrival: there + to.user + "@" + to.alternate},
			&passage{about: "bounce to user, by the MX", to: to.user + at, flow: "P1=>P3=>S1=>S4=>Q1=>LD", arrival: there + to.user + "@" + to.alternate})
	}
	for _, p := range list {
		p.about, p.flow, p.client, p.prove = from.platform+", "+p.about, ways.Replace(p.flow), from.client, from.prove
		if places := strings.Split(p.arrival, ", "); len(places) > 1 {
			slices.Sort(places)
			p.arrival = strings.Join(places, ", ")
		}
	}
	return list
}

func TestMailFromOnePlatformToAMailboxAtTheOtherArrives(t *testing.T) {
	onEachMTA(t, func(t *testing.T, mta lab.MTA) {
		for _, c := range []struct {
			mx             string
			office, google tenantProof
		}{
			{"", byTenantHeader(lab.OfficeTenant), bySignature("acmecorp.com")},
			{"office365", bySecretHeader(t), bySignature("acmecorp.com")},
			// No signature of ours is on what Google passes on as the MX.
			{"google", byTenantHeader(lab.OfficeTenant), bySecretHeader(t)},
		} {
			t.Run("MX at "+c.mx, func(t *testing.T) {
				t.Parallel()
				s := startSite(t, lab.SiteConfig{MTA: mta, TOML: onBothTOML(c.mx, c.office, c.google), Directory: onBothDirectory})
				s.publishKeys("acmecorp.com")
				office, google := twoSides(c.office, c.google)
				s.pass(slices.Concat(office.across(google, c.mx), google.across(office, c.mx)))
				if c.mx == "" {
					return
				}
				// Past the MX, and what comes from there for its own users.
				s.pass([]*passage{
					{about: "Internet to Google", client: lab.FromInternet, from: "eve@example.net", to: "gina@acmecorp.com", flow: "S0=>S4=>G1=>LD", arrival: "google gina@gapps.acmecorp.com"},
					{about: "Internet to Office 365", client: lab.FromInternet, from: "eve@example.net", to: "alice@acmecorp.com", flow: "S0=>S4=>O1=>LD", arrival: "office365 " + aliceThere},
				})
			})
		}
	})
}

func TestMailFromOnePlatformArrivesByTheOthersRelay(t *testing.T) {
	onEachMTA(t, func(t *testing.T, mta lab.MTA) {
		office, google := byTenantHeader(lab.OfficeTenant), bySignature("acmecorp.com")
		o, g := twoSides(office, google)
		for _, c := range []struct{ from, by side }{{o, g}, {g, o}} {
			t.Run(c.by.platform, func(t *testing.T) {
				t.Parallel()
				s := startRelayed(t, mta, shared{platform: c.by.platform, alternate: c.by.alternate},
					lab.SiteConfig{TOML: onBothTOML("", office, google), Directory: "address,residence\nalice@acmecorp.com,office365\ngina@acmecorp.com,google\n"})
				s.publishKeys("acmecorp.com")
				list := c.from.across(c.by, "")[:2] // a target is for platforms that addresses are rewritten for
				for _, p := range list {
					p.arrival = strings.Replace(p.arrival, "@"+c.by.alternate, "@acmecorp.com", 1)
				}
				s.pass(append(list, c.by.across(c.from, "")[:2]...))
			})
		}
	})
}

// What bears no proof is judged as S0: our own users' mail is put off until it is proven, a
// stranger's goes on, and what bears another tenant's proof is refused in our name.
func TestMailBetweenPlatformsWithoutAProofIsJudgedAsS0(t *testing.T) {
	onEachMTA(t, func(t *testing.T, mta lab.MTA) {
		office, google := byTenantHeader(lab.OfficeTenant), bySignature("acmecorp.com")
		s := startSite(t, lab.SiteConfig{MTA: mta, TOML: onBothTOML("", office, google), Directory: onBothDirectory})
		s.publishKeys("acmecorp.com", "evil.example")
		// As an administrator publishes it: SPF passes for all tenants of both.
		s.tellDNS(map[string]string{"acmecorp.com": "v=spf1 ip4:127.0.1.0/24 ip4:127.0.2.0/24 -all"})
		for _, c := range []struct {
			about, client, from, to, reply string
			change                         func([]byte) []byte
		}{
			{"Office 365 without its tenant", lab.FromOffice365, "alice@acmecorp.com", "gina@acmecorp.com", "451 4.7.0", nil},
			{"Office 365 with another tenant", lab.FromOffice365, "alice@acmecorp.com", "gina@acmecorp.com", "550 5.7.26",
				func(m []byte) []byte { return fromTenant(foreignTenant, m) }},
			{"Google without our signature", lab.FromGoogle, "gina@acmecorp.com", "alice@acmecorp.com", "451 4.7.0", nil},
			{"Google with another's signature", lab.FromGoogle, "gina@acmecorp.com", "alice@acmecorp.com", "451 4.7.0",
				func(m []byte) []byte { return dkimSigned(t, m, "evil.example") }},
			{"Google with a signature of ours that is broken", lab.FromGoogle, "gina@acmecorp.com", "alice@acmecorp.com", "550 5.7.26",
				func(m []byte) []byte { return dkimSigned(t, m, "!acmecorp.com") }},
			// Google's users by way of Office 365's addresses, and the other way round.
			{"the one's proof from the other", lab.FromGoogle, "alice@acmecorp.com", "bob@acmecorp.com", "451 4.7.0",
				func(m []byte) []byte { return fromTenant(lab.OfficeTenant, m) }},
		} {
			m := lab.Plain(c.from, c.to, c.about)
			if c.change != nil {
				m = c.change(m)
			}
			if r := s.send(c.client, lab.Mail{From: c.from, To: lab.To(c.to), Data: m}); code(r.Data) != c.reply {
				t.Errorf("%s: the answer is %+v; it must be %s", c.about, r, c.reply)
			}
			s.mustArrive(m)
		}
		s.pass([]*passage{
			{about: "a stranger's by Office 365", client: lab.FromOffice365, from: "eve@example.net", to: "gina@acmecorp.com", flow: "S0=>S4=>G1=>LD", arrival: "google gina@gapps.acmecorp.com"},
			{about: "a stranger's by Google", client: lab.FromGoogle, from: "eve@example.net", to: "alice@acmecorp.com", flow: "S0=>S4=>O1=>LD", arrival: "office365 " + aliceThere},
			// Signed by ours, it is proven to be from us, if not from that tenant.
			{about: "ours by its signature", client: lab.FromOffice365, from: "alice@acmecorp.com", to: "gina@acmecorp.com", prove: google.prove, flow: "S0=>S4=>G1=>LD", arrival: "google gina@gapps.acmecorp.com"},
		})
	})
}

// zoe has no mailbox: the directory says that hers is at Google, Google says that it is at
// Office 365, and Office 365 that it is here or elsewhere, which is what it says of all.
func TestALoopBetweenTwoPlatformsEnds(t *testing.T) {
	onEachMTA(t, func(t *testing.T, mta lab.MTA) {
		const zoe, zoeThere = "zoe@acmecorp.com", "the directory says that zoe@acmecorp.com lives at google"
		for _, c := range []struct {
			about           string
			atOffice, alias string // what Office 365 has for its own domain, and Google for gapps.acmecorp.com
			byUs            bool   // Google's mail for Office 365 goes through us
			office, google  int    // visits of a message
			why             string
		}{
			{"from the one to the other", "@acmecorp.com", "@acmecorp-com.onmicrosoft.com", false, 3, 3, "554 5.4.6 Mail loop: " + zoeThere + "; the message was sent on there 3 times and came back"},
			{"from the one to the other through us", "@acmecorp.com", "@acmecorp-com.onmicrosoft.com", true, 3, 3, "554 5.4.6 Mail loop: " + zoeThere + "; the message was sent on there 3 times and came back"},
			{"by their own addresses", "@gapps.acmecorp.com", "@acmecorp-com.onmicrosoft.com", true, 3, 4,
				"554 5.4.6 Mail loop: zoe@acmecorp-com.onmicrosoft.com is an address at office365; the message was sent on there 3 times and came back"},
			{"back to us", "@acmecorp.com", "@acmecorp.com", true, 0, 1, "554 5.4.6 Mail loop: " + zoeThere + ", but google sent the message here"},
		} {
			t.Run(c.about, func(t *testing.T) {
				t.Parallel()
				officeAddress, googleAddress := freeAddress(), freeAddress()
				s := startSite(t, lab.SiteConfig{
					MTA: mta, TOML: onBothTOML("", byTenantHeader(lab.OfficeTenant), byTenantHeader(lab.GoogleTenant)),
					Directory: onBothDirectory + "zoe@acmecorp.com,google,,\n",
					Routes:    map[string]string{"acmecorp-com.onmicrosoft.com": nextHop(officeAddress), "gapps.acmecorp.com": nextHop(googleAddress)},
				})
				office := startHop(t, hop{
					name: "office.lab.test", address: officeAddress, from: officeServer, tenant: lab.OfficeTenant,
					aliases: map[string]string{"@acmecorp-com.onmicrosoft.com": c.atOffice},
					routes:  map[string]string{"acmecorp.com": nextHop(s.Addr("public")), "gapps.acmecorp.com": nextHop(s.Addr("public")), "*": s.Outside.NextHop()},
				})
				there := nextHop(officeAddress)
				if c.byUs {
					there = nextHop(s.Addr("public"))
				}
				google := startHop(t, hop{
					name: "google.lab.test", address: googleAddress, from: googleServer, tenant: lab.GoogleTenant,
					aliases: map[string]string{"@gapps.acmecorp.com": c.alias},
					routes:  map[string]string{"acmecorp.com": nextHop(s.Addr("public")), "acmecorp-com.onmicrosoft.com": there, "*": s.Outside.NextHop()},
				})
				r := newRing(t, []*site{s}, office, google)
				for client, m := range map[string]lab.Mail{
					lab.FromUser:      note("bob@acmecorp.com", zoe),
					lab.FromInternet:  note("eve@example.net", zoe),
					lab.FromOffice365: note("eve@example.net", zoe),
				} {
					bounce := bounceToEve
					switch client {
					case lab.FromUser:
						bounce = bounceToBob
					case lab.FromOffice365:
						m.Data = fromTenant(lab.OfficeTenant, m.Data)
					}
					got := r.round(client, m, bounce)
					mustTell(t, got[bounce], c.why)
					r.visits(c.office, c.google)
				}
				// A bounce that goes round ends without another.
				r.round(lab.FromInternet, note("", zoe))
				r.visits(c.office, c.google)
			})
		}
	})
}

func TestExplainPrintsTheFlowsBetweenTwoPlatforms(t *testing.T) {
	t.Parallel()
	office, google := byTenantHeader(lab.OfficeTenant), bySecretHeader(t)
	for mx, want := range map[string][]string{
		"":          {"user at office365, mailbox at google, O2=>O3=>S1=>S4=>G1=>LD", "user at google, mailbox at office365, G2=>G3=>S1=>S4=>O1=>LD", "Internet, mailbox at google, S0=>S4=>G1=>LD"},
		"office365": {"user at office365, mailbox at google, O2=>O3=>S1=>S4=>G1=>LD", "user at google, mailbox at office365, G2=>G3=>S1=>S4=>O1=>LD", "Internet, mailbox at google, O1=>O3=>S1=>S4=>G1=>LD"},
		"google":    {"user at office365, mailbox at google, O2=>O3=>S1=>S4=>G1=>LD", "user at google, mailbox at office365, G2=>G3=>S1=>S4=>O1=>LD", "Internet, mailbox at office365, G1=>G3=>S1=>S4=>O1=>LD"},
	} {
		path := configuration(t, onBothTOML(mx, office, google), onBothDirectory)
		out, status := ask(t, "explain", "-c", path, "--flows", "--json")
		var tables []flowTable
		if err := json.Unmarshal(out, &tables); err != nil || status != exitYes {
			t.Fatalf("explain --flows --json ended with %d, %v:\n%s", status, err, out)
		}
		var rows []string
		for _, table := range tables {
			for _, row := range table.Flows {
				if table.Domain == "acmecorp.com" && row.PassesUs {
					rows = append(rows, row.From+", "+row.To+", "+row.Flow)
				}
			}
		}
		for _, row := range want {
			if !slices.Contains(rows, row) {
				t.Errorf("MX at %q: the tables lack %q:\n%s", mx, row, strings.Join(rows, "\n"))
			}
		}
	}
}
