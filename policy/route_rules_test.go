package policy_test

import (
	"net/netip"
	"regexp"
	"slices"
	"strings"
	"testing"

	"coexistd/policy"
	"coexistd/policy/mail"
	"coexistd/policy/networks"
	"coexistd/policy/route"
	"coexistd/policy/seal"
	"coexistd/policy/verdict"
)

var (
	toHere   = route.Goal{Here: true}
	toOffice = route.Goal{Platform: "office365"}
	toGoogle = route.Goal{Platform: "google"}
	toRelay  = route.Goal{Relay: "[filter.example]:26"}
)

// routing is a world with those rules.
func routing(rules ...route.Rule) *world {
	w := newWorld()
	w.Routes.Rules = rules
	return w
}

// rule is one of that name.
func rule(name string, to route.Goal, criteria route.Criteria) route.Rule {
	return route.Rule{Name: name, To: to, For: criteria}
}

// field is a field of the header that holds a text, or fits a pattern.
func field(name, text, pattern string) route.Criteria {
	f := route.Field{Name: name, Text: mail.Fold(text)}
	if pattern != "" {
		f.Pattern = regexp.MustCompile(pattern)
	}
	return route.Criteria{Header: f}
}

func TestARuleTakesMailByEachOfItsCriteria(t *testing.T) {
	t.Parallel()
	const bob, carol = "bob@acmecorp.com", "carol@acmecorp.com"
	points := func(p ...verdict.Checkpoint) route.Criteria { return route.Criteria{Points: p} }
	network := networks.SetOf(netip.MustParsePrefix("203.0.113.0/24"))
	stranger := func(from string, fields ...string) message {
		return message{client: internetClient, from: from, to: []string{bob}, fields: fields}
	}
	for about, c := range map[string]struct {
		criteria route.Criteria
		message  message
		taken    bool
	}{
		"a sender":                         {route.Criteria{Senders: []string{"eve@x.example"}}, stranger("Eve@X.example"), true},
		"a sender with a tag":              {route.Criteria{Senders: []string{"eve@x.example"}}, stranger("eve+1@x.example"), true},
		"another sender":                   {route.Criteria{Senders: []string{"eve@x.example"}}, stranger("adam@x.example"), false},
		"the sender's domain":              {route.Criteria{Senders: []string{"@x.example"}}, stranger("adam@x.example"), true},
		"below the domain":                 {route.Criteria{Senders: []string{"@x.example"}}, stranger("adam@y.x.example"), false},
		"below, with a dot":                {route.Criteria{Senders: []string{".x.example"}}, stranger("adam@y.x.example"), true},
		"the domain, with a dot":           {route.Criteria{Senders: []string{".x.example"}}, stranger("adam@x.example"), false},
		"a domain that ends alike":         {route.Criteria{Senders: []string{".x.example"}}, stranger("adam@yx.example"), false},
		"the null sender":                  {route.Criteria{Senders: []string{"@x.example", "."}}, stranger(""), false},
		"the null sender, of any":          {points(verdict.S0), stranger(""), true},
		"a recipient":                      {route.Criteria{Recipients: []string{bob}}, stranger("eve@x.example"), true},
		"another recipient":                {route.Criteria{Recipients: []string{carol}}, stranger("eve@x.example"), false},
		"the recipient's domain":           {route.Criteria{Recipients: []string{"@acmecorp.com"}}, stranger("eve@x.example"), true},
		"a recipient's subdomain":          {route.Criteria{Recipients: []string{".com"}}, stranger("eve@x.example"), true},
		"a login":                          {route.Criteria{Logins: []string{"bob"}}, message{client: internetClient, login: "Bob", from: bob, to: []string{bob}}, true},
		"another login":                    {route.Criteria{Logins: []string{"bob"}}, message{client: internetClient, login: "carol", from: bob, to: []string{bob}}, false},
		"no login":                         {route.Criteria{Logins: []string{"bob"}}, stranger("bob@x.example"), false},
		"a network":                        {route.Criteria{Clients: network}, stranger("eve@x.example"), true},
		"another network":                  {route.Criteria{Clients: network}, message{client: "198.51.100.1", from: "eve@x.example", to: []string{bob}}, false},
		"a point":                          {points(verdict.S2, verdict.S0), stranger("eve@x.example"), true},
		"another point":                    {points(verdict.S2), stranger("eve@x.example"), false},
		"the host's own mail":              {points(verdict.S2), message{onHost: true, from: bob, to: []string{bob}}, true},
		"a proven platform":                {points(verdict.S1), message{client: officeClient, proven: true, from: "alice@acmecorp.com", to: []string{bob}}, true},
		"a platform without proof":         {points(verdict.S1), message{client: officeClient, from: "alice@x.example", to: []string{bob}}, false},
		"a residence":                      {route.Criteria{Residences: []string{"here"}}, stranger("eve@x.example"), true},
		"another residence":                {route.Criteria{Residences: []string{"both"}}, stranger("eve@x.example"), false},
		"a text of a header":               {field("Subject", "secret", ""), stranger("e@x.example", "Subject: Top SECRET!"), true},
		"another text":                     {field("Subject", "secret", ""), stranger("e@x.example", "Subject: open"), false},
		"another header":                   {field("Subject", "secret", ""), stranger("e@x.example", "X-Subject: secret"), false},
		"a header's name in another case":  {field("subject", "secret", ""), stranger("e@x.example", "SUBJECT: secret"), true},
		"the second of its fields":         {field("X-Tag", "secret", ""), stranger("e@x.example", "X-Tag: open", "X-Tag: secret"), true},
		"a folded text":                    {field("Subject", "top secret", ""), stranger("e@x.example", "Subject: top\r\n secret"), true},
		"an encoded text":                  {field("Subject", "größe", ""), stranger("e@x.example", "Subject: =?utf-8?q?GR=C3=96SSE?="), true},
		"an 8-bit text":                    {field("Subject", "größe", ""), stranger("e@x.example", "Subject: Die Größe"), true},
		"what is no UTF-8":                 {field("Subject", "gr", ""), stranger("e@x.example", "Subject: gr\xf6\xdfe"), true},
		"a pattern":                        {field("X-Class", "", "^secret$"), stranger("e@x.example", "X-Class: secret "), true},
		"a pattern that does not fit":      {field("X-Class", "", "^secret$"), stranger("e@x.example", "X-Class: not secret"), false},
		"both a sender and a header":       {route.Criteria{Senders: []string{"@x.example"}, Header: route.Field{Name: "A", Text: "b"}}, stranger("e@x.example", "A: b"), true},
		"a sender without the header":      {route.Criteria{Senders: []string{"@x.example"}, Header: route.Field{Name: "A", Text: "b"}}, stranger("e@x.example", "A: c"), false},
		"a header without the sender":      {route.Criteria{Senders: []string{"@x.example"}, Header: route.Field{Name: "A", Text: "b"}}, stranger("e@y.example", "A: b"), false},
		"a field beyond those looked at":   {field("A", "b", ""), stranger("e@x.example", append(slices.Repeat([]string{"A: c"}, 100), "A: b")...), false},
		"a text beyond what is looked at":  {field("A", "b", ""), stranger("e@x.example", "A: "+strings.Repeat("c", 8192)+"b"), false},
		"everybody in the network at once": {route.Criteria{Clients: network, Points: []verdict.Checkpoint{verdict.S0}, Residences: []string{"here"}, Recipients: []string{bob}}, stranger("e@x.example"), true},
	} {
		got := routing(rule("it", toGoogle, c.criteria)).send(t, c.message)
		want, flow := "", "LD"
		if c.taken {
			want, flow = "bob@gapps.acmecorp.com", "S4=>G1=>LD"
		}
		if added(got.Decision) != want || len(got.Recipients) != 1 || !strings.HasSuffix(got.Recipients[0].Ways.String(), flow) {
			t.Errorf("%s: it adds %q, not %q: %+v", about, added(got.Decision), want, got)
			continue
		}
		if told := strings.Contains(got.Recipients[0].Reasons.String(), `the route "it" takes it to google`); told != c.taken || (got.Recipients[0].Rule == "it") != c.taken {
			t.Errorf("%s: the reasons are %s", about, got.Recipients[0].Reasons)
		}
		// Exceptions are met by the same criteria.
		excepted := routing(route.Rule{Name: "it", To: toGoogle, For: route.Criteria{Recipients: []string{".com"}}, Except: c.criteria}).send(t, c.message)
		if isTaken := added(excepted.Decision) != ""; isTaken == c.taken {
			t.Errorf("%s, as an exception: it adds %q", about, added(excepted.Decision))
		}
	}
}

func TestARuleTakesOnlyWhomItsGoalHas(t *testing.T) {
	t.Parallel()
	every := route.Criteria{Points: []verdict.Checkpoint{verdict.S0, verdict.S1, verdict.S2}}
	user := message{client: internetClient, login: "bob", from: "bob@acmecorp.com"}
	internet := message{client: internetClient, from: "eve@x.example"}
	fromOffice := message{client: officeClient, proven: true, from: "alice@acmecorp.com"}
	for about, c := range map[string]struct {
		to        route.Goal
		message   message
		recipient string
		want      string // the flow, or how the reply begins
		added     string
		deleted   string
		ruled     bool
	}{
		"here":                                   {toHere, internet, "bob@acmecorp.com", "S0=>LD", "", "", true},
		"both, to here":                          {toHere, internet, "carol@acmecorp.com", "S0=>LD", "", "", true},
		"both, to the one":                       {toOffice, internet, "carol@acmecorp.com", "S0=>S4=>O1=>LD", "carol@acmecorp-com.onmicrosoft.com", "carol@acmecorp.com", true},
		"both, to another":                       {toGoogle, user, "Carol+x@acmecorp.com", "S2=>S4=>G1=>LD", "Carol+x@gapps.acmecorp.com", "Carol+x@acmecorp.com", true},
		"there, to here":                         {toHere, internet, "alice@acmecorp.com", "S0=>S4=>O1=>LD", "alice@acmecorp-com.onmicrosoft.com", "alice@acmecorp.com", false},
		"there, to there":                        {toOffice, internet, "alice@acmecorp.com", "S0=>S4=>O1=>LD", "alice@acmecorp-com.onmicrosoft.com", "alice@acmecorp.com", true},
		"there, to another":                      {toGoogle, internet, "alice@acmecorp.com", "S0=>S4=>G1=>LD", "alice@gapps.acmecorp.com", "alice@acmecorp.com", true},
		"here, of a domain that is not there":    {toGoogle, internet, "alice@eu.acmecorp.com", "S0=>LD", "", "", false},
		"a role":                                 {toGoogle, internet, "postmaster@acmecorp.com", "S0=>S4=>G1=>LD", "postmaster@gapps.acmecorp.com", "postmaster@acmecorp.com", true},
		"a stranger's":                           {toGoogle, user, "x@far.example", "S2=>S3=>ED", "", "", false},
		"a stranger's, to here":                  {toHere, user, "x@far.example", "S2=>S3=>ED", "", "", false},
		"an alternate domain's":                  {toGoogle, user, "x@acmecorp-com.onmicrosoft.com", "S2=>S4=>O1=>LD", "", "", false},
		"a bare name":                            {toHere, user, "root", "S2=>LD", "", "", true},
		"a bare name, elsewhere":                 {toGoogle, user, "root", "S2=>LD", "", "", false},
		"from there":                             {toOffice, fromOffice, "bob@acmecorp.com", "O2=>O3=>S1=>LD", "", "", false},
		"from another, to here":                  {toHere, fromOffice, "carol@acmecorp.com", "O2=>O3=>S1=>LD", "", "", true},
		"from there, to another":                 {toGoogle, fromOffice, "bob@acmecorp.com", "O2=>O3=>S1=>S4=>G1=>LD", "bob@gapps.acmecorp.com", "bob@acmecorp.com", true},
		"a loop":                                 {toHere, fromOffice, "alice@acmecorp.com", "554 5.4.6", "", "", false},
		"a loop, to another":                     {toGoogle, fromOffice, "alice@acmecorp.com", "554 5.4.6", "", "", false},
		"nobody":                                 {toGoogle, internet, "nobody@acmecorp.com", "550 5.1.1", "", "", false},
		"who moves":                              {toGoogle, internet, "dave@acmecorp.com", "450 4.2.1", "", "", false},
		"a relay":                                {toGoogle, internet, "x@far.example", "554 5.7.1", "", "", false},
		"a quoted local part":                    {toGoogle, internet, `"two words"@acmecorp.com`, "S0=>S4=>G1=>LD", `"two words"@gapps.acmecorp.com`, `"two words"@acmecorp.com`, true},
		"an internationalized address":           {toGoogle, internet, "jürgen@acmecorp.com", "S0=>S4=>G1=>LD", "jürgen@gapps.acmecorp.com", "jürgen@acmecorp.com", true},
		"an address that would be too long":      {toGoogle, internet, strings.Repeat("b", 236) + "@acmecorp.com", "550 5.1.3", "", "", false},
		"an address that is just short enough":   {toGoogle, internet, strings.Repeat("b", 234) + "@acmecorp.com", "S0=>S4=>G1=>LD", strings.Repeat("b", 234) + "@gapps.acmecorp.com", strings.Repeat("b", 234) + "@acmecorp.com", true},
		"the null sender's, to another platform": {toGoogle, message{client: internetClient}, "bob@acmecorp.com", "S0=>S4=>G1=>LD", "bob@gapps.acmecorp.com", "bob@acmecorp.com", true},
	} {
		w := routing(rule("it", c.to, every))
		for _, length := range []int{234, 236} {
			w.words[strings.Repeat("b", length)+"@acmecorp.com"] = "here"
		}
		c.message.to = []string{c.recipient}
		got := w.send(t, c.message)
		ruling, refused := got.refused[c.recipient]
		if !refused {
			ruling = got.Recipients[0]
		}
		is := ruling.Ways.String()
		if is == "" {
			is = ruling.Reply.String()
		}
		if !strings.HasPrefix(is, c.want) || added(got.Decision) != c.added || deleted(got.Decision) != c.deleted {
			t.Errorf("%s: it goes %q, adds %q and removes %q; right is %q, %q, %q", about, is, added(got.Decision), deleted(got.Decision), c.want, c.added, c.deleted)
		}
		if ruled := ruling.Reasons.HasCode(verdict.RoutedTo); ruled != c.ruled {
			t.Errorf("%s: the rule takes it: %v; the reasons are %s", about, ruled, ruling.Reasons)
		}
	}
}

func TestTheFirstRuleThatCanTakeARecipientCounts(t *testing.T) {
	t.Parallel()
	w := routing(
		rule("first", toHere, route.Criteria{Recipients: []string{"alice@acmecorp.com", "carol@acmecorp.com"}}),
		rule("second", toGoogle, route.Criteria{Recipients: []string{"@acmecorp.com"}}),
		rule("third", toOffice, route.Criteria{Recipients: []string{"@acmecorp.com", "@acme.net"}}),
	)
	got := w.send(t, message{client: internetClient, from: "eve@x.example", to: []string{
		"alice@acmecorp.com", "bob@acmecorp.com", "carol@acmecorp.com", "gina@acmecorp.com", "alice@acme.net", "alice@eu.acmecorp.com",
	}, edit: func(r *route.Recipient) { r.Notify, r.ORcpt = "NEVER", "rfc822;as@written" }})
	var by []string
	for _, r := range got.Recipients {
		by = append(by, r.Rule)
	}
	want(t, "the rules", strings.Join(by, " "), "second second first second third ")
	want(t, "added", added(got.Decision), "alice@gapps.acmecorp.com bob@gapps.acmecorp.com gina@gapps.acmecorp.com alice@acme-net.onmicrosoft.com")
	if a := addition(got.Decision); a.Notify != "NEVER" || a.ORcpt != "rfc822;as@written" {
		t.Errorf("the arguments are %+v", a)
	}
}

func TestSizeCountsOnceTheMessageIsWhole(t *testing.T) {
	t.Parallel()
	w := routing(rule("large", toHere, route.Criteria{SizeOver: 1000}))
	w.at(verdict.S4, policy.Check{Name: verdict.CheckVirus, OnHit: verdict.Reject, OnError: verdict.Tempfail})
	if some, _ := w.NeedsContent(verdict.Undecided); !some {
		t.Errorf("no body is read")
	}
	for size, both := range map[int64]bool{1: true, 1000: true, 1001: false, 30 << 20: false} {
		c := w.open(policy.Message{
			Entry: w.enter(policy.Arrival{Client: netip.MustParseAddr(internetClient)}), Sender: w.address(t, "eve@x.example"),
			Recipients: []route.Recipient{w.recipient(t, "carol@acmecorp.com")}, Header: header("Subject: x"),
		})
		if !c.Asks().Body {
			t.Errorf("the body is not asked for")
		}
		c.Measure(size)
		asks := c.Asks()
		c.Findings = clean(asks.Scans...)
		if d := c.Decide(); (added(d) != "") != both || slices.Contains(asks.Scans, verdict.CheckVirus) != both {
			t.Errorf("%d bytes: the edits are %+v and the scans %v", size, d.Edits, asks.Scans)
		}
	}
}

func TestMailThatARuleSendsRoundEnds(t *testing.T) {
	t.Parallel()
	w := routing(rule("there", toGoogle, route.Criteria{Recipients: []string{"bob@acmecorp.com"}}))
	m := message{client: internetClient, from: "eve@x.example", to: []string{"bob@acmecorp.com"}}
	for pass := range 4 {
		got := w.send(t, m)
		if pass < 3 {
			if m.traces = []string{trace(got.Decision)}; m.traces[0] == "" {
				t.Fatalf("pass %d leaves no trace: %+v", pass, got)
			}
			continue
		}
		want(t, "at last", got.Reply.String(), `554 5.4.6 Mail loop: the directory says that bob@acmecorp.com lives here; the route "there" takes it to google; the message was sent on there 3 times and came back`)
	}
}

func TestWhatIsReleasedFromQuarantineIsTakenByRulesAgain(t *testing.T) {
	t.Parallel()
	w := routing(rule("there", toGoogle, route.Criteria{Points: []verdict.Checkpoint{verdict.S0}}))
	m := message{client: ourClient, from: "eve@x.example", to: []string{"bob@acmecorp.com"}}
	m.pass = w.keys.SignPass(seal.Pass{ID: "q1", Point: verdict.S0, Checks: []string{verdict.CheckSpam}, Until: now + 1}, "bob@acmecorp.com", seal.MarksOf(header(passMark)))
	want(t, "it goes", w.send(t, m).Recipients[0].Ways.String(), "S0=>S4=>G1=>LD")
}

func TestARuleToARelayTakesEverybodyWhoseMailIsTaken(t *testing.T) {
	t.Parallel()
	w := routing(rule("it", toRelay, route.Criteria{Points: []verdict.Checkpoint{verdict.S0, verdict.S1, verdict.S2}}))
	w.Routes.Platform("google").Relay = "[Filter.example]:26"
	long := strings.Repeat("l", 200) + "@acmecorp.com"
	w.words[long] = "here"
	for _, c := range []struct {
		about string
		message
		recipient, want string // what it is taken for, or how the reply begins; empty: it stays
	}{
		{"here", message{client: internetClient, from: "eve@x.example"}, "Bob+x@acmecorp.com", "Bob+x@acmecorp.com"},
		{"there", message{client: internetClient, from: "eve@x.example"}, "alice@acmecorp.com", "alice@acmecorp.com"},
		{"both", message{client: internetClient}, "carol@acmecorp.com", "carol@acmecorp.com"},
		{"a stranger's", message{client: internetClient, login: "bob", from: "bob@acmecorp.com"}, "x@far.example", "x@far.example"},
		{"an alternate domain's", message{client: internetClient, login: "bob", from: "bob@acmecorp.com"}, "x@gapps.acmecorp.com", "x@gapps.acmecorp.com"},
		{"a name alone", message{client: ourClient, from: "bob@acmecorp.com"}, "root", ""},
		{"from the relay's platform", message{client: googleClient, proven: true, from: "gina@acmecorp.com"}, "bob@acmecorp.com", ""},
		{"nobody", message{client: internetClient, from: "eve@x.example"}, "nobody@acmecorp.com", "550 5.1.1"},
		{"from outside", message{client: internetClient, from: "eve@x.example"}, "x@far.example", "554 5.7.1"},
		{"too long", message{client: internetClient, from: "eve@x.example"}, long, "550 5.1.3"},
	} {
		c.to = []string{c.recipient}
		got := w.send(t, c.message)
		ruling, refused := got.refused[c.recipient]
		if !refused {
			ruling = got.Recipients[0]
		}
		if is := ruling.Reply.String(); is != "" || c.want == "" {
			if !strings.HasPrefix(is, c.want) || added(got.Decision) != "" {
				t.Errorf("%s: the answer is %q; right begins with %q; added is %q", c.about, is, c.want, added(got.Decision))
			}
			continue
		}
		address, hop, ok := route.Reveal(w.keys, added(got.Decision))
		if !ok || address != c.want || hop != "[filter.example]:26" || deleted(got.Decision) != c.recipient || !strings.HasSuffix(ruling.Ways.String(), "S3=>ED") {
			t.Errorf("%s: it goes to %s for %s by %s: %+v", c.about, hop, address, ruling.Ways, got.Decision)
		}
		// Nobody else may send by that address, be it one of ours.
		for _, m := range []message{{client: internetClient, from: "eve@x.example"}, {client: internetClient, login: "bob", from: "bob@acmecorp.com"}, {onHost: true, from: "bob@acmecorp.com"}} {
			m.to = []string{added(got.Decision)}
			again := w.send(t, m)
			if ruling, refused := again.refused[m.to[0]]; refused {
				want(t, c.about, ruling.Reply.String(), "554 5.7.1 Relay access denied")
			} else {
				want(t, c.about, again.Reply.String(), "554 5.7.1 Relay access denied")
			}
		}
	}
	w = routing(rule("out", toRelay, route.Criteria{Residences: []string{route.Internet}}))
	got := w.send(t, message{client: ourClient, from: "bob@acmecorp.com", to: []string{"x@far.example", "bob@acmecorp.com", "alice@acmecorp.com"}})
	if len(got.Recipients) != 3 || got.Recipients[0].Rule != "out" || got.Recipients[1].Rule+got.Recipients[2].Rule != "" {
		t.Errorf("the rule for the Internet takes %+v", got.Recipients)
	}
}
