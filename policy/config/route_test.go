package config

import (
	"fmt"
	"net/netip"
	"regexp"
	"slices"
	"strings"
	"testing"

	"coexistd/policy/networks"
	"coexistd/policy/route"
	"coexistd/policy/verdict"
)

// everyRoute says each key of [[route]].
const everyRoute = `
[[route]]
name = "large"
senders = ["News+Tag@Partner.EXAMPLE", "@Bücher.example", ".partner.example"]
recipients = ["Bob@acmecorp.com"]
logins = ["Bob"]
clients = ["192.0.2.0/24"]
points = ["S0", "S2"]
residences = ["both", "office365", "here"]
size_over = "20M"
header = { name = "Subject", text = "STRASSE ß" }
to = "here"
[route.except]
senders = ["boss@acmecorp.com"]
[route.except.header]
name = "X-Class"
pattern = "(?i)^open"
`

func TestRoutesAreReadWhole(t *testing.T) {
	t.Parallel()
	c := loadWith(t, everyRoute)
	rules := c.Rules.Routes.Rules
	if len(rules) != 1 || rules[0].Except.Header.Pattern == nil {
		t.Fatalf("read are %+v", rules)
	}
	check(t, "the pattern", rules[0].Except.Header.Pattern.String(), "(?i)^open")
	rules[0].Except.Header.Pattern = nil
	check(t, "the rules", rules, []route.Rule{{
		Name: "large", To: route.Goal{Here: true},
		For: route.Criteria{
			Senders: []string{"news+tag@partner.example", "@xn--bcher-kva.example", ".partner.example"}, Recipients: []string{"bob@acmecorp.com"},
			Logins: []string{"bob"}, Clients: networks.SetOf(netip.MustParsePrefix("192.0.2.0/24")),
			Points: []verdict.Checkpoint{verdict.S0, verdict.S2}, Residences: []string{"both", "office365", "here"},
			SizeOver: 20 << 20, Header: route.Field{Name: "Subject", Text: "strasse ss"},
		},
		Except: route.Criteria{Senders: []string{"boss@acmecorp.com"}, Header: route.Field{Name: "X-Class", Pattern: (*regexp.Regexp)(nil)}},
	}})
}

func TestNotesSayWhichRoutesTakeNothingOrGoRound(t *testing.T) {
	t.Parallel()
	const platforms = `
[platform.google]
proof = { dkim = ["gapps.shared.example"] }
networks = ["209.85.128.0/17"]
[platform.zimbra]
relay = "[zimbra.example]:25"
deliver = "relay"
[[lookup]]
address = "unix:/run/coexistd/lookup.sock"
[domain."shared.example"]
directory = "users.csv"
alternate = { office365 = "shared.onmicrosoft.com", google = "gapps.shared.example" }
platforms = ["zimbra"]
`
	one := func(name, to, criteria string) string {
		return "[[route]]\nname = \"" + name + "\"\nto = \"" + to + "\"\n" + criteria + "\n"
	}
	for about, c := range map[string]struct{ routes, want string }{
		"useful":                  {one("a", "here", `residences = ["both"]`) + one("b", "office365", `senders = ["@x.example"]`), ""},
		"strangers":               {one("a", "here", `recipients = ["x@far.example"]`), `"a" takes no mail: none of its recipients is in a domain of ours`},
		"below":                   {one("a", "here", `recipients = [".example"]`), ""},
		"nobody here":             {one("a", "here", `residences = ["google"]`), `"a" takes no mail: it takes mail to the mailbox here`},
		"strangers here":          {one("a", "here", `residences = ["internet"]`), `"a" takes no mail: it takes mail to the mailbox here`},
		"no alternate":            {one("a", "zimbra", `residences = ["here"]`), `"a" takes no mail: no domain has an alternate domain at zimbra`},
		"its own":                 {one("a", "zimbra", `residences = ["zimbra"]`), ""},
		"the same":                {one("a", "here", `logins = ["bob"]`) + one("b", "here", `logins = ["Bob"]`), `"b" takes no mail: the earlier one "a" takes all of it`},
		"a domain's address":      {one("a", "here", `recipients = ["@shared.example"]`) + one("b", "here", `recipients = ["x@shared.example"]`), `"b" takes no mail`},
		"below a domain":          {one("a", "here", `senders = [".x.example"]`) + one("b", "here", `senders = ["@y.x.example", ".z.x.example"]`), `"b" takes no mail`},
		"a smaller network":       {one("a", "here", `clients = ["192.0.2.0/24"]`) + one("b", "here", `clients = ["192.0.2.7"]`), `"b" takes no mail`},
		"a larger network":        {one("a", "here", `clients = ["192.0.2.0/24"]`) + one("b", "here", `clients = ["192.0.0.0/16"]`), ""},
		"larger still":            {one("a", "here", `size_over = "1M"`) + one("b", "here", `size_over = "2M"`), `"b" takes no mail`},
		"less large":              {one("a", "here", `size_over = "2M"`) + one("b", "here", `size_over = "1M"`), ""},
		"the same header":         {one("a", "here", `header = { name = "Subject", pattern = "x" }`) + one("b", "here", `header = { name = "subject", pattern = "x" }`), `"b" takes no mail`},
		"another header":          {one("a", "here", `header = { name = "Subject", pattern = "x" }`) + one("b", "here", `header = { name = "Subject", text = "x" }`), ""},
		"an exception":            {one("a", "here", "points = [\"S0\"]\nexcept = { logins = [\"bob\"] }") + one("b", "here", `points = ["S0"]`), ""},
		"another goal":            {one("a", "here", `points = ["S0"]`) + one("b", "google", `points = ["S0"]`), ""},
		"a relay, for strangers":  {one("a", "relay:[filter.example]:25", `recipients = ["x@far.example"]`), ""},
		"a platform's relay":      {one("a", "relay:[Zimbra.example]:25", `logins = ["bob"]`), `"a" goes to the relay of a platform`},
		"two relays":              {one("a", "relay:filter.example", `points = ["S0"]`) + one("b", "relay:[other.example]:25", `points = ["S0"]`), `"b" takes no mail`},
		"a relay before the rest": {one("a", "relay:filter.example", `points = ["S0"]`) + one("b", "here", `points = ["S0"]`), ""},
		"round":                   {one("a", "google", `residences = ["here"]`) + one("b", "office365", `senders = ["@x.example"]`), `"a" and "b" may send the same mail round between google and office365`},
		"round for other people":  {one("a", "google", `recipients = ["a@shared.example"]`) + one("b", "office365", `recipients = ["b@shared.example"]`), ""},
		"not what comes from one": {one("a", "google", "points = [\"S0\", \"S2\"]") + one("b", "office365", `senders = ["@x.example"]`), ""},
	} {
		var notes []string
		for _, note := range loadWith(t, platforms+c.routes).Notes {
			if strings.HasPrefix(note.Text, "[[route]]") {
				notes = append(notes, note.Text)
			}
		}
		if c.want == "" && len(notes) > 0 || c.want != "" && !slices.ContainsFunc(notes, func(note string) bool { return strings.Contains(note, c.want) }) {
			t.Errorf("%s: the notes are %q; want %q", about, notes, c.want)
		}
	}
}

func TestWhatRoutesNameIsBounded(t *testing.T) {
	t.Parallel()
	var names strings.Builder
	for i := range maxRouted + 1 {
		fmt.Fprintf(&names, "\"a%d@b.example\",", i)
	}
	const begin = "[[route]]\nname = \"a\"\nto = \"here\"\n"
	for text, want := range map[string]string{
		strings.Repeat(begin+"logins = [\"b\"]\n", maxRoutes+1): "there are 1001 routes; at most 1000 are possible",
		begin + "senders = [" + names.String() + "]\n":          "there are 10001 senders, recipients",
	} {
		_, err := read(write(t, smallest+text, map[string]string{"users.csv": users}))
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %q", err, want)
		}
	}
}
