package policy_test

import (
	"strings"
	"testing"

	"coexistd/policy/verdict"
)

// TestRoutesEveryFlowOfTheDesign walks each flow that passes our MTA, and each
// refusal, for both platforms and both places of the MX. In the table P stands
// for the platform's letter, PLATFORM for its name and ALTERNATE for its
// alternate domain.
func TestRoutesEveryFlowOfTheDesign(t *testing.T) {
	const (
		internet = "someone@elsewhere.example"
		bob      = "bob@acmecorp.com"
		there    = "alice@acmecorp.com"
		both     = "carol@acmecorp.com"
		sentOn   = "alice@ALTERNATE"
	)
	cases := []struct {
		name      string
		mx        string // "here", "there" or "" for each
		via       string // internet, user, tenant (proven) or shared (unproven)
		from, to  string
		flow      string
		rewritten string
		reply     string // where it begins; empty: accepted
	}{
		{"Internet to a mailbox here", "here", "internet", internet, bob, "S0=>LD", "", ""},
		{"Internet to a mailbox there", "here", "internet", internet, there, "S0=>S4=>P1=>LD", sentOn, ""},
		{"Internet to both", "here", "internet", internet, both, "S0=>LD, S0=>S4=>P1=>LD", "carol@ALTERNATE", ""},
		{"Internet through the platform's MX to a mailbox here", "there", "tenant", internet, bob, "P1=>P3=>S1=>LD", "", ""},
		{"Internet past the MX to a mailbox here", "there", "internet", internet, bob, "S0=>LD", "", ""},
		{"Internet past the MX to a mailbox there", "there", "internet", internet, there, "S0=>S4=>P1=>LD", sentOn, ""},
		{"user here to a mailbox here", "", "user", bob, bob, "S2=>LD", "", ""},
		{"user here to a mailbox there", "", "user", bob, there, "S2=>S4=>P1=>LD", sentOn, ""},
		{"user here to both", "", "user", bob, both, "S2=>LD, S2=>S4=>P1=>LD", "carol@ALTERNATE", ""},
		{"user here to the Internet", "", "user", bob, internet, "S2=>S3=>ED", "", ""},
		{"user here to an alternate address", "", "user", bob, sentOn, "S2=>S4=>P1=>LD", "", ""},
		{"user there to a mailbox here", "", "tenant", there, bob, "P2=>P3=>S1=>LD", "", ""},
		{"user there to both", "", "tenant", there, both, "P2=>P3=>S1=>LD", "", ""},
		{"another tenant to a mailbox here", "", "shared", internet, bob, "S0=>LD", "", ""},
		{"another tenant to a mailbox there", "", "shared", internet, there, "S0=>S4=>P1=>LD", sentOn, ""},
		{"another tenant that poses as ours", "", "shared", there, bob, "S0=>LD", "", ""},

		{"Internet to the Internet", "", "internet", internet, "x@far.example", "", "", "554 5.7.1 Relay access denied"},
		{"Internet, posing as a user, to the Internet", "", "internet", bob, "x@far.example", "", "", "554 5.7.1 Relay access denied"},
		{"Internet to an alternate address", "", "internet", internet, sentOn, "", "", "554 5.7.1 Relay access denied"},
		{"another tenant to the Internet", "", "shared", there, "x@far.example", "", "", "554 5.7.1 Relay access denied"},
		{"another tenant to an alternate address", "", "shared", internet, sentOn, "", "", "554 5.7.1 Relay access denied"},
		{"user there to the Internet through us", "", "tenant", there, "x@far.example", "", "", "554 5.7.1 Relay access denied"},
		{"user there to a mailbox there", "", "tenant", there, there, "", "",
			"554 5.4.6 Mail loop: the directory says that alice@acmecorp.com lives at PLATFORM, but PLATFORM sent"},
		{"Internet through the platform's MX to a mailbox there", "", "tenant", internet, there, "", "", "554 5.4.6 Mail loop: the directory says"},
		{"user there to an alternate address", "", "tenant", there, sentOn, "", "", "554 5.4.6 Mail loop: the directory says that"},
		{"user there to the alternate domain's postmaster", "", "tenant", there, "postmaster@ALTERNATE", "", "", "554 5.4.6 Mail loop: PLATFORM sent"},
		{"Internet to nobody", "", "internet", internet, "nobody@acmecorp.com", "", "", "550 5.1.1 "},
		{"user here to nobody", "", "user", bob, "nobody@acmecorp.com", "", "", "550 5.1.1 "},
		{"user there to nobody", "", "tenant", there, "nobody@acmecorp.com", "", "", "550 5.1.1 "},
		{"Internet to one who moves", "", "internet", internet, "dave@acmecorp.com", "", "", "450 4.2.1 "},
		{"user there to one who moves", "", "tenant", there, "dave@acmecorp.com", "", "", "450 4.2.1 "},
	}
	platforms := []struct{ name, letter, client, alternate string }{
		{"office365", "O", officeClient, "acmecorp-com.onmicrosoft.com"},
		{"google", "G", googleClient, "gapps.acmecorp.com"},
	}
	for _, p := range platforms {
		for _, mx := range []string{"here", "there"} {
			for _, c := range cases {
				if c.mx != "" && c.mx != mx {
					continue
				}
				t.Run(p.name+"/MX "+mx+"/"+c.name, func(t *testing.T) {
					w := newWorld().with(map[string]string{there: p.name, both: "both:" + p.name})
					if mx == "there" {
						w.withMX(p.name)
					}
					fill := strings.NewReplacer("P1", p.letter+"1", "P2", p.letter+"2", "P3", p.letter+"3",
						"PLATFORM", p.name, "ALTERNATE", p.alternate).Replace
					m := message{from: fill(c.from), to: []string{fill(c.to)}, proven: c.via == "tenant"}
					switch c.via {
					case "internet":
						m.client = internetClient
					case "user":
						m.client, m.login = internetClient, "bob"
					default:
						m.client = p.client
					}
					got := w.send(t, m)
					ruling, atRcpt := got.refused[m.to[0]]
					if !atRcpt {
						ruling = got.Recipients[0]
						want(t, "the message's reply", got.Reply.String(), ruling.Reply.String())
					}
					want(t, "flow", ruling.Ways.String(), fill(c.flow))
					want(t, "rewritten", ruling.Elsewhere, fill(c.rewritten))
					want(t, "added", added(got.Decision), fill(c.rewritten))
					reply := ruling.Reply.String()
					if c.reply == "" {
						want(t, "reply", reply, "")
					} else if !strings.HasPrefix(reply, fill(c.reply)) {
						t.Errorf("reply: got %q, want it to begin with %q", reply, fill(c.reply))
					}
					v := verdict.Accept
					switch {
					case strings.HasPrefix(c.reply, "4"):
						v = verdict.Tempfail
					case c.reply != "":
						v = verdict.Reject
					}
					want(t, "verdict", ruling.Verdict.String(), v.String())
				})
			}
		}
	}
}

func TestAnAlternateAddressThatComesBackIsCalledByTheDirectorysEntry(t *testing.T) {
	w := newWorld()
	for path, reason := range map[string]string{
		"Gina+x@gapps.acmecorp.com":      "the directory says that gina@acmecorp.com lives at google, but google sent the message for gina+x@gapps.acmecorp.com here",
		`"two words"@gapps.acmecorp.com`: `the directory says that "two words"@acmecorp.com lives at office365, but google sent the message for "two words"@gapps.acmecorp.com here`,
		"nobody@gapps.acmecorp.com":      "google sent the message for nobody@gapps.acmecorp.com here, which is an address of its own",
	} {
		got := w.send(t, message{client: googleClient, proven: true, from: stranger, to: []string{path}})
		want(t, path, got.Reply.String(), "554 5.4.6 Mail loop: "+reason)
	}
	for _, path := range []string{"alice@acmecorp.com", "x@far.example", "postmaster", ""} {
		if a := w.address(t, path); w.Routes.Home(a) != a {
			t.Errorf("%q is at home in itself, not in %+v", path, w.Routes.Home(a))
		}
	}
}
