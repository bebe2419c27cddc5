package config

import (
	"crypto/sha256"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"coexistd/policy"
	"coexistd/policy/networks"
	"coexistd/policy/rate"
	"coexistd/policy/route"
	"coexistd/policy/spoof"
	"coexistd/policy/tenant"
	"coexistd/policy/verdict"
)

// everySender says everything that can be said of who may send, and how much.
const everySender = `
our_networks = ["10.0.0.0/8"]
our_certificates = ["Relay.Example.com", "relay.example.com", "Drucker Süd"]
resolver = ["127.0.0.1", "[::1]:5353", "192.0.2.53:53"]
max_connections = 500

[[listen]]
address = "unix:/run/coexistd/milter.sock"

[platform.google]
networks = ["spf:_SPF.google.com.", "35.190.247.0/24"]
proof = [{ dkim = ["Acmecorp.com", "bücher.example"] }, { certificate = "SMTP.Google.com" }]
may_relay = true

[platform.office365]
networks = ["spf:spf.protection.outlook.com", "file:google.txt"]
max_age = "7d"
tenant = "3f2504e0-4f89-11d3-9a0c-0305e82c3301"
proof = { header = "X-Coexist-Proof", secret_file = "proof.key" }

[domain."acmecorp.com"]
directory = "users.csv"
alternate = { office365 = "acmecorp-com.onmicrosoft.com", google = "gapps.acmecorp.com" }
mx = "google"
past_mx = "reject"
[domain."acmecorp.org"]
directory = "other.csv"

[checkpoint.S3]
checks = ["rate"]

[check.ddos]
connections = 5
connections_network = 10
total = 450
per_minute = 20
per_minute_network = 0
messages = 30
refused = 6
unknown = 7
exempt = ["192.0.2.0/24"]

[check.spoof]
dmarc = "quarantine"
spf = "accept"
services = ["Mailer.Example.", "192.0.2.0/24", "2001:db8::1", "bücher.example", "mailer.example"]
delegates = { Bob = ["Sales@Acmecorp.com", "@News.acmecorp.com"], "carol@acmecorp.com" = ["@acmecorp.org"] }

[[allow]]
name = "forwarder"
checks = ["spoof"]
clients = ["192.0.2.9"]

[redis]
addresses = ["Redis1.acmecorp.com:26379", "[2001:db8::1]:26379"]
master = "mymaster"
username = "coexistd"
password_file = "redis.password"
tls = true

[[rate]]
name = "per user"
checkpoints = ["S2", "S3"]
by = "user"
count = "recipients"
limit = 200
per = "1h"
burst = 50
on_limit = "reject"
on_error = "tempfail"
overrides = { Newsletter = 5000, "10.1.0.0/16" = 2000, "2001:db8::/32" = 3, "app" = "unlimited", "a.b" = 7 }
column = "Hourly"
[[rate]]
name = "volume"
by = "sender"
count = "bytes"
limit = "10G"
per = "1d"
burst = 1000
on_limit = "tag"
overrides = { "Bob@Acmecorp.COM" = "1M", "10.2.3.4" = 5 }
column = "volume"
[[rate]]
name = "per domain"
by = "sender_domain"
limit = 1_000_000_000_000
per = "366d"
on_error = "accept"
overrides = { "BÜCHER.example" = 6 }
[[rate]]
name = "per client"
checkpoints = ["S0"]
by = "client"
limit = 1
per = "1s"
overrides = { "192.0.2.7" = "unlimited" }
[[rate]]
name = "per recipient"
by = "recipient"
count = "messages"
limit = 9
per = "5m"
overrides = { "list@acmecorp.com" = 10 }
column = "hourly"
`

var senderFiles = map[string]string{
	"users.csv":      "address,residence,login,hourly,volume\n",
	"other.csv":      users,
	"google.txt":     "40.92.0.0/15\n",
	"proof.key":      "sixteen and more \n\r\n",
	"redis.password": "geheim",
}

func TestWhatIsSaidOfSendersIsReadWhole(t *testing.T) {
	t.Parallel()
	path := write(t, everySender, senderFiles)
	folder := filepath.Dir(path)
	c := load(t, path)
	p := c.Rules
	prefix := netip.MustParsePrefix
	check(t, "OurCertificates", p.OurCertificates, []string{"relay.example.com", "drucker süd"})
	check(t, "Resolver", c.Resolver, []string{"127.0.0.1:53", "[::1]:5353", "192.0.2.53:53"})
	check(t, "google", *p.Routes.Platforms[0], route.Platform{Name: "google", Letter: "G", MayRelay: true})
	check(t, "office365", *p.Routes.Platforms[1], route.Platform{Name: "office365", Letter: "O"})
	check(t, "Networks", c.Networks, networks.Live{
		"google":    {Networks: networks.SetOf(prefix("35.190.247.0/24")), Pending: true},
		"office365": {Networks: networks.SetOf(prefix("40.92.0.0/15")), Pending: true},
	})
	check(t, "Tenants", p.Tenants, tenant.Rules{
		"google":    {Domains: []string{"acmecorp.com", "xn--bcher-kva.example"}, Certificate: "smtp.google.com"},
		"office365": {Tenant: "3f2504e0-4f89-11d3-9a0c-0305e82c3301", Header: "X-Coexist-Proof", Secret: sha256.Sum256([]byte("sixteen and more"))},
	})
	check(t, "Sources", c.Sources, []Source{
		{"google", "spf", "_spf.google.com"}, {"office365", "spf", "spf.protection.outlook.com"}, {"office365", "file", filepath.Join(folder, "google.txt")},
	})
	check(t, "MaxAge", c.MaxAge, map[string]time.Duration{"google": 30 * 24 * time.Hour, "office365": 7 * 24 * time.Hour})
	check(t, "DDoS", p.DDoS, policy.DDoS{
		Connections: 5, NetworkConnections: 10, Total: 450, PerMinute: 20, Messages: 30, Refused: 6, Unknown: 7,
		Exempt: networks.SetOf(prefix("10.0.0.0/8"), prefix("192.0.2.0/24")),
	})
	check(t, "Spoof", p.Spoof, spoof.Rules{
		DMARC: verdict.Quarantine, SPF: verdict.Accept,
		Services:  spoof.Services{Networks: networks.SetOf(prefix("192.0.2.0/24"), prefix("2001:db8::1/128")), Domains: []string{"mailer.example", "xn--bcher-kva.example"}},
		Delegates: map[string][]string{"bob": {"sales@acmecorp.com", "@news.acmecorp.com"}, "carol@acmecorp.com": {"@acmecorp.org"}},
	})
	check(t, "Allow", p.Allow[0].Checks, []string{"spoof"})
	if notes := fmt.Sprint(c.Notes); strings.Contains(notes, "tenant alone") {
		t.Errorf("a tenant with another proof beside it is said to be alone: %s", notes)
	}
	check(t, "Redis", *c.Redis, Redis{
		Addresses: []string{"redis1.acmecorp.com:26379", "[2001:db8::1]:26379"}, Master: "mymaster", Username: "coexistd", Password: "geheim", TLS: true,
	})
	for _, source := range c.Directories {
		check(t, "Limits of "+source.Path, source.Limits, []string{"hourly", "volume"})
	}
}

func TestRulesOfRateAreReadWhole(t *testing.T) {
	t.Parallel()
	prefix := netip.MustParsePrefix
	everywhere := []verdict.Checkpoint{verdict.S0, verdict.S2, verdict.S3}
	want := []rate.Rule{{
		Name: "per user", Points: []verdict.Checkpoint{verdict.S2, verdict.S3}, By: rate.ByUser, Count: rate.Recipients,
		Limit: 200, Burst: 50, Per: 3600, OnLimit: verdict.Reject, OnError: rate.ErrorTempfail, Column: "hourly",
		Accounts: map[string]int64{"newsletter": 5000, "app": rate.Unlimited, "a.b": 7},
		Networks: rate.LimitNetworks(map[netip.Prefix]int64{prefix("10.1.0.0/16"): 2000, prefix("2001:db8::/32"): 3}),
	}, {
		Name: "volume", Points: everywhere, By: rate.BySender, Count: rate.Bytes,
		Limit: 10 << 30, Burst: 1000, Per: 86400, OnLimit: verdict.Tag, OnError: rate.ErrorMemory, Column: "volume",
		Accounts: map[string]int64{"bob@acmecorp.com": 1 << 20}, Networks: rate.LimitNetworks(map[netip.Prefix]int64{prefix("10.2.3.4/32"): 5}),
	}, {
		Name: "per domain", Points: everywhere, By: rate.BySenderDomain, Count: rate.Messages,
		Limit: 1e12, Burst: 1e12, Per: 366 * 86400, OnLimit: verdict.Tempfail, OnError: rate.ErrorAccept,
		Accounts: map[string]int64{"xn--bcher-kva.example": 6},
	}, {
		Name: "per client", Points: []verdict.Checkpoint{verdict.S0}, By: rate.ByClient, Count: rate.Messages,
		Limit: 1, Burst: 1, Per: 1, OnLimit: verdict.Tempfail, OnError: rate.ErrorMemory,
		Accounts: map[string]int64{}, Networks: rate.LimitNetworks(map[netip.Prefix]int64{prefix("192.0.2.7/32"): rate.Unlimited}),
	}, {
		Name: "per recipient", Points: everywhere, By: rate.ByRecipient, Count: rate.Messages,
		Limit: 9, Burst: 9, Per: 300, OnLimit: verdict.Tempfail, OnError: rate.ErrorMemory, Column: "hourly",
		Accounts: map[string]int64{"list@acmecorp.com": 10},
	}}
	got := load(t, write(t, everySender, senderFiles)).Rules.Rates
	check(t, "the number of rules", len(got), len(want))
	for i := range min(len(got), len(want)) {
		check(t, want[i].Name, got[i], want[i])
	}
}

func TestWhatIsNotSaidOfSendersHasDefaults(t *testing.T) {
	t.Parallel()
	c := loadWith(t, "")
	check(t, "DDoS", c.Rules.DDoS, policy.DDoS{
		Connections: 50, NetworkConnections: 200, Total: 900, PerMinute: 120, NetworkPerMinute: 600, Messages: 100, Refused: 20, Unknown: 50,
	})
	check(t, "Spoof", c.Rules.Spoof, spoof.Rules{DMARC: verdict.Reject, SPF: verdict.Tag})
	check(t, "Resolver", len(c.Resolver), 0)
	check(t, "OurCertificates", len(c.Rules.OurCertificates), 0)
	check(t, "Rates", len(c.Rules.Rates), 0)
	check(t, "Sources", len(c.Sources), 0)
	check(t, "MaxAge", len(c.MaxAge), 0)
	if c.Redis != nil {
		t.Errorf("there is a Redis that the file does not name: %+v", c.Redis)
	}
	if c.Networks["office365"].Pending {
		t.Error("a platform's networks are pending that are all in the file")
	}
}

func TestBoundsOfConnectionsFollowOtherKeys(t *testing.T) {
	t.Parallel()
	exempt := networks.SetOf(netip.MustParsePrefix("10.0.0.0/8"))
	for name, c := range map[string]struct {
		top, more string
		want      policy.DDoS
	}{
		"few connections": {"max_connections = 50\n", "", policy.DDoS{Connections: 50, NetworkConnections: 200, Total: 45, PerMinute: 120, NetworkPerMinute: 600}},
		"one connection":  {"max_connections = 1\n", "", policy.DDoS{Connections: 50, NetworkConnections: 200, Total: 1, PerMinute: 120, NetworkPerMinute: 600}},
		"many connections": {"max_connections = 100000\n", "[check.ddos]\nconnections = 2000\nper_minute = 3000\ntotal = 100000\n",
			policy.DDoS{Connections: 2000, NetworkConnections: 2000, Total: 100000, PerMinute: 3000, NetworkPerMinute: 3000}},
		"no bounds": {"", "[check.ddos]\nconnections = 0\nconnections_network = 0\nper_minute = 0\nper_minute_network = 0\ntotal = 0\n", policy.DDoS{}},
		"our networks are exempt": {"our_networks = [\"10.0.0.0/8\"]\n", "",
			policy.DDoS{Connections: 50, NetworkConnections: 200, Total: 900, PerMinute: 120, NetworkPerMinute: 600, Exempt: exempt}},
		"our networks are exempt whatever is said": {"our_networks = [\"10.0.0.0/8\"]\n", "[check.ddos]\nexempt = [\"192.0.2.0/24\", \"10.0.0.0/8\"]\n",
			policy.DDoS{Connections: 50, NetworkConnections: 200, Total: 900, PerMinute: 120, NetworkPerMinute: 600, Exempt: exempt.With(netip.MustParsePrefix("192.0.2.0/24"))}},
		"nobody is exempt": {"", "[check.ddos]\nexempt = []\n",
			policy.DDoS{Connections: 50, NetworkConnections: 200, Total: 900, PerMinute: 120, NetworkPerMinute: 600}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got := load(t, write(t, c.top+smallest+c.more, map[string]string{"users.csv": users})).Rules.DDoS
			c.want.Messages, c.want.Refused, c.want.Unknown = 100, 20, 50
			check(t, "DDoS", got, c.want)
		})
	}
}

func TestARuleCountsAtThePointsThatMakeTheCheckRate(t *testing.T) {
	t.Parallel()
	const three = "[checkpoint.S1]\nchecks = [\"rate\"]\n[checkpoint.S2]\nchecks = []\n[checkpoint.S4]\nchecks = [\"rate\"]\n"
	for more, want := range map[string][]verdict.Checkpoint{
		withRate:         {verdict.S0, verdict.S2},
		withRate + three: {verdict.S0, verdict.S1, verdict.S4},
		withRate + "checkpoints = [\"S4\", \"S0\"]\n" + "[checkpoint.S4]\nchecks = [\"rate\"]\n": {verdict.S4, verdict.S0},
		withRate + "[checkpoint.S0]\nchecks = []\n[checkpoint.S2]\nchecks = []\n":                nil,
	} {
		check(t, "the points of "+more, loadWith(t, more).Rules.Rates[0].Points, want)
	}
}

func TestASecretThatIsATextIsReadFromAFileThatOnlyFewCanRead(t *testing.T) {
	t.Parallel()
	const proof = "[platform.google]\nnetworks = [\"192.0.2.1\"]\nproof = { header = \"X-P\", secret_file = \"s\" }\n"
	const redis = "[redis]\naddresses = [\"127.0.0.1:6379\"]\npassword_file = \"s\"\n"
	for name, c := range map[string]struct {
		more, content string
		mode          os.FileMode
		want          string
	}{
		"proof":                        {proof, "0123456789abcdef", 0o640, ""},
		"proof with spaces":            {proof, "0123456789 bcdef \t\r\n\n", 0o400, ""},
		"short":                        {proof, "0123456789abcde\n\n", 0o600, "has 15 bytes without the white space at its end; it would be from 16 to 512; make one with: openssl rand -hex 24"},
		"longest":                      {proof, strings.Repeat("k", 512) + "\n", 0o600, ""},
		"long":                         {proof, strings.Repeat("k", 513), 0o600, "has 513 bytes without"},
		"two lines":                    {proof, "0123456789abcdef\nx", 0o600, "holds more than one line, or a character that is not printable ASCII, at byte 17"},
		"beyond ASCII":                 {proof, "0123456789abcdefü", 0o600, "at byte 17"},
		"white space in front":         {proof, " 0123456789abcdef", 0o600, "begins with white space"},
		"readable by others":           {proof, "0123456789abcdef", 0o644, "can be read, written or run by everybody (mode 0644); run: chmod 0640"},
		"password":                     {redis, "x\n", 0o640, ""},
		"empty password":               {redis, "\n", 0o640, "has 0 bytes without the white space at its end; it would be from 1 to 512"},
		"password readable by others":  {redis, "geheim", 0o604, "(mode 0604)"},
		"password of more than a line": {redis, "geheim\nx", 0o600, "at byte 7"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			path := write(t, smallest+c.more, map[string]string{"users.csv": users, "s": c.content})
			if err := os.Chmod(filepath.Join(filepath.Dir(path), "s"), c.mode); err != nil {
				t.Fatal(err)
			}
			conf, err := read(path)
			if c.want == "" {
				if err != nil {
					t.Fatal(err)
				}
				if got := conf.Rules.Tenants["google"]; c.more == proof && got.Secret != sha256.Sum256([]byte(strings.TrimSpace(c.content))) {
					t.Errorf("the secret is not the digest of the text: %x", got.Secret)
				}
				return
			}
			if err == nil || !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), "_file: ") {
				t.Errorf("got %v, not %s", err, c.want)
			}
			if text := strings.TrimSpace(c.content); text != "" && strings.Contains(fmt.Sprint(err), text) {
				t.Errorf("the error tells the secret: %v", err)
			}
		})
	}
}

func TestThePlatformsOfAPendingListAreProvable(t *testing.T) {
	t.Parallel()
	const google = "[platform.google]\nnetworks = [\"spf:_spf.google.com\"]\n%s\n[domain.\"a.example\"]\nunlisted = \"here\"\nmx = \"google\"\npast_mx = \"reject\"\n"
	loadWith(t, fmt.Sprintf(google, `proof = { dkim = "a.example" }`))
	_, err := read(write(t, smallest+fmt.Sprintf(google, ""), map[string]string{"users.csv": users}))
	if err == nil || !strings.Contains(err.Error(), "past_mx: would refuse all mail from the Internet") {
		t.Errorf("past_mx was taken without a proof: %v", err)
	}
	// A proof that is wrong is no reason to tell of past_mx as well.
	_, err = read(write(t, smallest+fmt.Sprintf(google, `proof = { dkim = "a b" }`), map[string]string{"users.csv": users}))
	if err == nil || strings.Contains(err.Error(), "past_mx") {
		t.Errorf("got %v", err)
	}
}

func TestTheOverridesOfAllRulesAreBounded(t *testing.T) {
	t.Parallel()
	var logins []string
	for i := range maxOverrides / 2 {
		logins = append(logins, fmt.Sprintf("u%d = 5", i))
	}
	rule := withRate + "overrides = { " + strings.Join(logins, ", ") + " }\n"
	two := smallest + rule + strings.Replace(rule, "per user", "second", 1)
	load(t, write(t, two, map[string]string{"users.csv": users}))
	more := strings.Replace(withRate, "per user", "third", 1) + "overrides = { x = 1 }\n"
	_, err := read(write(t, two+more, map[string]string{"users.csv": users}))
	if err == nil || !strings.Contains(err.Error(), "rate: there are 10001 overrides; at most 10000 are possible") {
		t.Errorf("got %v", err)
	}
}

func TestDelegatesAndServicesAreBounded(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ text, want string }{
		{"delegates = { bob = [" + strings.Repeat(`"a@b.example",`, maxDelegates+1) + "] }\n", "delegates: there are 10001 addresses; at most 10000 are possible"},
		{"services = [" + strings.Repeat(`"b.example",`, maxServices+1) + "]\n", "services: there are 1001 services; at most 1000 are possible"},
	} {
		_, err := read(write(t, smallest+"[check.spoof]\n"+c.text, map[string]string{"users.csv": users}))
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("got %v, not %s", err, c.want)
		}
	}
}

func TestChecksAreSparedOnlyWhereTheyCanBe(t *testing.T) {
	t.Parallel()
	for _, name := range allChecks {
		_, err := read(write(t, smallest+"[[allow]]\nname = \"x\"\nsenders = [\"a@b.example\"]\nchecks = [\""+name+"\"]\n", map[string]string{"users.csv": users}))
		if spared := slices.Contains(sparedChecks, name); spared != (err == nil) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestEveryKeyOfTheFileIsInTheDocumentationAndTheReverse(t *testing.T) {
	t.Parallel()
	page, err := os.ReadFile("../../contrib/docs/configuration.md")
	if err != nil {
		t.Fatal(err)
	}
	// Names that the administrator gives are no keys.
	named := []string{"platform", "upstream", "domain", "alternate", "overrides", "delegates", "source", "kinds", "columns", "values", "groups", "addresses"}
	const rest = "[check.spam]\non_hit=1\non_error=1\ntag_at=1\nquarantine_at=1\nreject_at=1\n[check.malware]\nalso=1\nexcept=1\n[checkpoint.S0]\nreport=1\n"
	said := make(map[string]bool)
	for _, text := range []string{full, everyCheck, everySender, everySource, everyUpstream, everyRoute, rest} {
		_, keys, err := decodeTOML(text)
		if err != nil {
			t.Fatal(err)
		}
		for _, key := range keys {
			if len(key) > 1 && slices.Contains(named, key[len(key)-2]) || key[0] == "domain" && key[len(key)-1] == "recipient" {
				continue
			}
			name := key[len(key)-1]
			said[name] = true
			if !regexp.MustCompile("[`.\\[{ ]" + name + "[`.\\] ]").Match(page) {
				t.Errorf("configuration.md does not have %s", key)
			}
		}
	}
	for _, row := range regexp.MustCompile("(?m)^\\| (`[a-z_`, ]+) \\|").FindAllSubmatch(page, -1) {
		for name := range strings.SplitSeq(strings.ReplaceAll(string(row[1]), "`", ""), ", ") {
			if !said[name] && !slices.Contains(allChecks, name) && !slices.ContainsFunc(allVerdicts, func(v verdict.Verdict) bool { return v.String() == name }) {
				t.Errorf("configuration.md has %s, which no test reads", name)
			}
		}
	}
}

func TestPlatformsWithProofsOfTheirOwnShareNetworks(t *testing.T) {
	t.Parallel()
	const second = "[platform.second]\nnetworks = [\"spf:spf.example\", \"file:list\", \"40.93.0.0/16\"]\ntenant = \"11111111-2222-3333-4444-555555555555\"\n"
	text := strings.Replace(smallest, "networks = [", "networks = [\"spf:spf.example\", \"file:list\", ", 1) + second
	c, err := read(write(t, text, map[string]string{"users.csv": users, "list": "40.92.7.0/24\n"}))
	if err != nil {
		t.Fatal(err)
	}
	if len(c.Sources) != 4 {
		t.Errorf("the lists are %v", c.Sources)
	}
	for client, want := range map[string][]string{"40.92.7.1": {"office365", "second"}, "40.93.0.1": {"office365", "second"}, "40.92.0.1": {"office365"}} {
		if got, _ := c.Networks.Of(netip.MustParseAddr(client)); !slices.Equal(got, want) {
			t.Errorf("%s is of %v; want %v", client, got, want)
		}
	}
}

func TestAListThatOverlapsOthersIsTheListsMistake(t *testing.T) {
	t.Parallel()
	const google = "[platform.google]\nnetworks = [%s]\n"
	for networks, want := range map[string]bool{
		`"file:list"`:                  true,
		`"file:list", "35.190.0.0/16"`: true,
		`"40.93.0.0/16"`:               false,
		`"file:list", "40.92.7.0/24"`:  false, // the file has the same
		`"40.92.7.0/24", "file:list"`:  false,
		`"file:list", "40.93.0.0/16"`:  false,
	} {
		c, err := read(write(t, smallest+fmt.Sprintf(google, networks), map[string]string{"users.csv": users, "list": "40.92.7.0/24\n"}))
		if err == nil || !strings.Contains(err.Error(), "overlaps") || onlyLists(err) != want {
			t.Errorf("of %s the error is %v, of lists only: %v", networks, err, onlyLists(err))
		}
		if want && (c == nil || len(c.Sources) != 1) {
			t.Errorf("of %s the configuration is not complete", networks)
		}
	}
	// A network of a list hides no mistake between two others.
	_, err := read(write(t, smallest+fmt.Sprintf(google, `"file:list"`)+"[platform.third]\nnetworks = [\"40.92.7.0/25\"]\n",
		map[string]string{"users.csv": users, "list": "40.92.7.0/24\n"}))
	if err == nil || onlyLists(err) || !strings.Contains(err.Error(), "40.92.7.0/25 overlaps 40.92.0.0/15 of platform.office365.networks") {
		t.Errorf("the error is %v, of lists only: %v", err, onlyLists(err))
	}
}
