package config

import (
	"net/netip"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
	_ "time/tzdata" // the zones, where the system has none

	"coexistd/policy"
	"coexistd/policy/networks"
	"coexistd/policy/verdict"
)

const (
	withClamd  = "\n[scanner.clamd]\naddress = \"unix:/run/clamav/clamd.ctl\"\n"
	withRspamd = "\n[scanner.rspamd]\naddress = \"http://127.0.0.1:11333\"\n"
	withRate   = "\n[[rate]]\nname = \"per user\"\nby = \"user\"\nlimit = 200\nper = \"1h\"\n"
)

// loadWith loads the smallest configuration with more behind it.
func loadWith(t *testing.T, more string) *Config {
	t.Helper()
	return load(t, write(t, smallest+more, map[string]string{"users.csv": users}))
}

// names lists a point's checks, with a star for one that goes by the platform's word, and
// whether recipients are told.
func names(p policy.Point) string {
	var list []string
	for _, c := range p.Checks {
		if c.ByWord {
			c.Name += "*"
		}
		list = append(list, c.Name)
	}
	if p.Report {
		list = append(list, "report")
	}
	return strings.Join(list, " ")
}

func TestEachPointMakesTheChecksThatTheFileSays(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		more                     string
		s0, past, s1, s2, s3, s4 string
	}{
		"nothing": {"", "ddos spoof block malware report", "ddos spoof block malware", "block spam*", "ddos auth spoof", "", ""},
		"clamd":   {withClamd, "ddos spoof block virus malware report", "ddos spoof block virus malware", "block spam* virus", "ddos auth spoof virus", "", ""},
		"rspamd":  {withRspamd, "ddos spoof block spam malware report", "ddos spoof block malware", "block spam*", "ddos auth spoof", "", ""},
		"all": {withClamd + withRspamd + withRate, "ddos rate spoof block spam virus malware report", "ddos rate spoof block virus malware",
			"block spam* virus", "ddos rate auth spoof virus", "", ""},
		"a rule of S2": {withRate + "checkpoints = [\"S2\"]\n", "ddos spoof block malware report", "ddos spoof block malware", "block spam*", "ddos rate auth spoof", "", ""},
		"none at S0":   {withClamd + "[checkpoint.S0]\nchecks = []\n", "report", "", "block spam* virus", "ddos auth spoof virus", "", ""},
		"loop alone": {withClamd + "[checkpoint.S1]\nchecks = [\"loop\"]\n", "ddos spoof block virus malware report", "ddos spoof block virus malware", "",
			"ddos auth spoof virus", "", ""},
		"said of S0": {withRspamd + "[checkpoint.S0]\nchecks = [\"malware\", \"loop\", \"spam\", \"ddos\"]\nreport = true\n[checkpoint.S2]\nchecks = [\"loop\"]\n",
			"malware spam ddos report", "malware spam ddos report", "block spam*", "", "", ""},
		"no report": {"[checkpoint.S0]\nreport = false\n", "ddos spoof block malware", "ddos spoof block malware", "block spam*", "ddos auth spoof", "", ""},
		"on the way out": {withClamd + withRate + "[checkpoint.S3]\nchecks = [\"virus\"]\n[checkpoint.S4]\nchecks = [\"malware\", \"rate\"]\nreport = true\n",
			"ddos rate spoof block virus malware report", "ddos rate spoof block virus malware", "block spam* virus", "ddos rate auth spoof virus", "virus", "malware rate report"},
		"spam at S1": {withClamd + withRspamd + "[checkpoint.S1]\nchecks = [\"spam\"]\n", "ddos spoof block spam virus malware report", "ddos spoof block virus malware", "spam",
			"ddos auth spoof virus", "", ""},
		"spam at S1 without rspamd": {"[checkpoint.S1]\nchecks = [\"spam\"]\n", "ddos spoof block malware report", "ddos spoof block malware", "spam*", "ddos auth spoof", "", ""},
		"a section changes no list": {withClamd + "[checkpoint.S1.virus]\non_hit = \"discard\"\n[checkpoint.S2.auth]\non_hit = \"tag\"\n",
			"ddos spoof block virus malware report", "ddos spoof block virus malware", "block spam* virus", "ddos auth spoof virus", "", ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := loadWith(t, c.more).Rules
			for point, want := range map[verdict.Checkpoint]string{
				verdict.S0: c.s0, verdict.S1: c.s1, verdict.S2: c.s2, verdict.S3: c.s3, verdict.S4: c.s4,
			} {
				check(t, point.String(), names(p.Points[point]), want)
			}
			check(t, "S0 past the MX", names(p.PastMX), c.past)
		})
	}
}

func find(t *testing.T, p policy.Point, name string) policy.Check {
	t.Helper()
	i := slices.IndexFunc(p.Checks, func(c policy.Check) bool { return c.Name == name })
	if i < 0 {
		t.Fatalf("the check %s is not made: %+v", name, p)
	}
	return p.Checks[i]
}

func TestActionsAreTakenKeyByKey(t *testing.T) {
	t.Parallel()
	usual := loadWith(t, withClamd+withRspamd+withRate).Rules
	check(t, "the usual auth", find(t, usual.Points[verdict.S2], "auth"), policy.Check{Name: "auth", OnHit: verdict.Reject, OnError: verdict.Accept})
	for _, want := range []policy.Check{
		{Name: "ddos", OnHit: verdict.Tempfail, OnError: verdict.Accept},
		{Name: "rate", OnHit: verdict.Reject, OnError: verdict.Accept},
		{Name: "spoof", OnHit: verdict.Reject, OnError: verdict.Accept},
		{Name: "spam", OnHit: verdict.Quarantine, OnError: verdict.Accept},
		{Name: "virus", OnHit: verdict.Reject, OnError: verdict.Tempfail},
		{Name: "malware", OnHit: verdict.Quarantine, OnError: verdict.Quarantine},
	} {
		check(t, "the usual "+want.Name, find(t, usual.Points[verdict.S0], want.Name), want)
	}

	p := loadWith(t, withClamd+withRspamd+`
[check.virus]
on_hit = "quarantine"
on_error = "accept"
[check.spam]
tag_at = 6
reject_at = 30
[checkpoint.S0.virus]
on_hit = "discard"
[checkpoint.S0.spam]
quarantine_at = 15.5
on_error = "tag"
[checkpoint.S2]
checks = ["virus", "spam", "spoof"]
[checkpoint.S2.virus]
on_error = "reject"
[checkpoint.S2.spam]
tag_at = 7
[check.spoof]
on_hit = "quarantine"
on_error = "tempfail"
[checkpoint.S0.spoof]
on_hit = "tag"
[check.ddos]
on_hit = "reject"
`).Rules
	for _, c := range []struct {
		where string
		point policy.Point
		want  policy.Check
	}{
		{"S0", p.Points[verdict.S0], policy.Check{Name: "virus", OnHit: verdict.Discard, OnError: verdict.Accept}},
		{"S0 past the MX", p.PastMX, policy.Check{Name: "virus", OnHit: verdict.Discard, OnError: verdict.Accept}},
		{"S1", p.Points[verdict.S1], policy.Check{Name: "virus", OnHit: verdict.Quarantine, OnError: verdict.Accept}},
		{"S2", p.Points[verdict.S2], policy.Check{Name: "virus", OnHit: verdict.Quarantine, OnError: verdict.Reject}},
		{"S0", p.Points[verdict.S0], policy.Check{Name: "spam", OnHit: verdict.Quarantine, OnError: verdict.Tag, Thresholds: []policy.Threshold{
			{At: 6, Verdict: verdict.Tag}, {At: 15.5, Verdict: verdict.Quarantine}, {At: 30, Verdict: verdict.Reject}}}},
		{"S0", p.Points[verdict.S0], policy.Check{Name: "ddos", OnHit: verdict.Reject, OnError: verdict.Accept}},
		{"S0", p.Points[verdict.S0], policy.Check{Name: "spoof", OnHit: verdict.Tag, OnError: verdict.Tempfail}},
		{"S2", p.Points[verdict.S2], policy.Check{Name: "spoof", OnHit: verdict.Quarantine, OnError: verdict.Tempfail}},
		{"S2", p.Points[verdict.S2], policy.Check{Name: "spam", OnHit: verdict.Quarantine, OnError: verdict.Accept, Thresholds: []policy.Threshold{
			{At: 7, Verdict: verdict.Tag}, {At: 30, Verdict: verdict.Reject}}}},
	} {
		check(t, c.want.Name+" at "+c.where, find(t, c.point, c.want.Name), c.want)
	}
}

func TestNotesSayWhatIsNotChecked(t *testing.T) {
	t.Parallel()
	const (
		unlimited   = "there is no [[rate]]: nothing limits how much is sent at "
		unproven    = "platform google has neither tenant nor proof: nothing that comes from it is ever S1, all of it is judged as S0"
		tenantAlone = `platform office365 is proven by tenant alone, a header that Exchange Online leaves out at times: such mail of our own users is put off; ` +
			`add proof = { header = "X-Coexist-Proof", secret_file = "proof.key" } and the rule over there that sets it`
		certificate = "platform google is proven by the certificate of mail.protection.outlook.com, which Office 365 shows for every tenant: it proves the platform, and any tenant of it"
	)
	for name, c := range map[string]struct {
		more string
		want []string
	}{
		"nothing": {"", []string{unlimited + "S0, S2",
			"there is no [scanner.rspamd]: mail is not checked for spam at S0",
			"there is no [scanner.clamd]: mail is not checked for virus at S0, S1, S2"}},
		"all":         {withClamd + withRspamd + withRate, nil},
		"said as few": {"[checkpoint.S0]\nchecks = [\"malware\"]\n", []string{unlimited + "S2", "there is no [scanner.clamd]: mail is not checked for virus at S1, S2"}},
		"idle": {withClamd + withRspamd + withRate + "[checkpoint.S0]\nchecks = [\"virus\"]\n[checkpoint.S2]\nchecks = []\n[check.spam]\non_hit = \"tag\"\n[check.ddos]\ntotal = 5\n[[allow]]\nname = \"partner\"\nsenders = [\"a@b.example\"]\n",
			[]string{"[check.ddos] has no effect: no contact point makes that check",
				"[scanner.rspamd] is never asked: no contact point makes the check spam", "[check.spam] has no effect: no contact point makes that check",
				`[[rate]] "per user" has no effect: no contact point makes the check rate`,
				`[[allow]] "partner" has no effect: no contact point makes the check spam`}},
		"users where there are none": {withClamd + withRspamd + withRate + "checkpoints = [\"S0\"]\n", []string{
			`[[rate]] "per user" counts nobody: no user is logged in at S0 and S1, save at a listener that says so; count by client or by sender there`}},
		"Redis without limits": {withClamd + withRspamd + "[redis]\naddresses = [\"127.0.0.1:6379\"]\n", []string{"[redis] is never asked: there is no [[rate]]", unlimited + "S0, S2"}},
		"no proof":             {withClamd + withRspamd + withRate + "[platform.google]\nnetworks = [\"192.0.2.1\"]\n", []string{unproven}},
		"a proof without networks": {withClamd + withRspamd + withRate + "[platform.google]\nproof = { dkim = \"acmecorp.com\" }\n",
			[]string{"platform google has no networks: nothing that comes from it is ever S1, all of it is judged as S0"}},
		"a service that sends for all tenants": {withClamd + withRspamd + withRate + "[platform.google]\nnetworks = [\"192.0.2.0/24\"]\nproof = { dkim = \"acmecorp.com\" }\n[check.spoof]\nservices = [\"192.0.2.128/25\", \"198.51.100.1\", \"acmecorp.onmicrosoft.com\"]\n",
			[]string{"services has 192.0.2.128/25, from which every tenant of platform google sends: there it counts for nothing; name a domain that signs the service's mail"}},
		"a certificate of all": {withClamd + withRspamd + withRate + "[platform.google]\nnetworks = [\"192.0.2.1\"]\nproof = { certificate = \"Mail.Protection.Outlook.com\" }\n", []string{certificate}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			// The smallest file proves its platform by the tenant alone.
			others := slices.IndexFunc(c.want, func(note string) bool { return !strings.HasPrefix(note, "platform ") })
			if others < 0 {
				others = len(c.want)
			}
			var texts []string
			for _, note := range loadWith(t, c.more).Notes {
				texts = append(texts, note.Text)
				if lacks := strings.HasPrefix(note.Text, "there is no [scanner."+note.Lacking+"]"); lacks != (note.Lacking != "") {
					t.Errorf("the note %q is said to be of the scanner %q", note.Text, note.Lacking)
				}
			}
			check(t, "Notes", texts, slices.Insert(c.want, others, tenantAlone))
		})
	}
}

// everyCheck says everything that can be said of checks and the quarantine.
const everyCheck = `
[scanner.clamd]
address = ["unix:/run//clamav/clamd.ctl", "inet:LOCALHOST:3310"]
timeout = "1m"
max_size = "100MiB"
max_scans = 4
[scanner.rspamd]
address = "http://[::1]:11333/"
timeout = "5s"
max_size = "512kb"
max_scans = 100
controller = "http://Localhost:11335/"
password_file = "rspamd.password"
[check.malware]
extensions = ["EXE", "com", "exe"]
macros = false
encrypted = false
mismatch = false
smuggling = "quarantine"
depth = 0
[[allow]]
name = "partner"
clients = ["192.0.2.0/24", "2001:db8::1"]
senders = ["News+Tag@Partner.EXAMPLE", "@Bücher.example"]
certificates = ["MX.Partner.example", ".partner.example"]
dkim = [".Bücher.example", "partner.example"]
[[allow]]
name = "abuse"
checks = ["spam", "malware", "spam"]
recipients = ["Abuse@Acmecorp.com.", "\"two words\"@acmecorp.com"]
[quarantine]
dir = "held"
keep = "48h"
max_size = "1T"
smtp = "Mail.Acmecorp.com:10025"
templates = "templates"
learn = true
[quarantine.report]
at = ["23:59", "7:30"]
zone = "Europe/Berlin"
from = "Postmaster@acmecorp.com"
contact = "helpdesk@acmecorp.com"
summary = ["a@acmecorp.com", "b@acmecorp.com", "a@acmecorp.com"]
[messages]
keep = "30d"
mta_log = "/var/log/mail.log"
[probe]
from = "Probe@acmecorp.com"
addresses = { office365 = "coexist-probe@acmecorp.com" }
wait = "30s"
`

var checkFiles = map[string]string{"users.csv": users, "rspamd.password": "sesame", "templates/summary.txt": "{{.Held}}"}

func TestScannersAllowancesAndTheQuarantineAreReadWhole(t *testing.T) {
	t.Parallel()
	path := write(t, smallest+everyCheck, checkFiles)
	c := load(t, path)
	check(t, "Clamd", *c.Clamd, Clamd{
		Addresses: []string{"unix:/run/clamav/clamd.ctl", "inet:localhost:3310"}, Timeout: time.Minute, MaxSize: 100 << 20, MaxScans: 4,
	})
	check(t, "Rspamd", *c.Rspamd, Rspamd{Address: "http://[::1]:11333", Timeout: 5 * time.Second, MaxSize: 512 << 10, MaxScans: 100, Controller: "http://localhost:11335", Password: "sesame"})
	check(t, "Malware", c.Malware, Malware{Extensions: []string{"exe", "com"}, Smuggling: verdict.Quarantine})
	check(t, "Allow", c.Rules.Allow, []policy.Allowance{
		{Name: "partner", Checks: []string{"spam"}, Clients: networks.SetOf(netip.MustParsePrefix("192.0.2.0/24"), netip.MustParsePrefix("2001:db8::1/128")),
			Senders:      []string{"news+tag@partner.example", "@xn--bcher-kva.example"},
			Certificates: []string{"mx.partner.example", ".partner.example"}, DKIM: []string{".xn--bcher-kva.example", "partner.example"}},
		{Name: "abuse", Checks: []string{"spam", "malware"}, Recipients: []string{"abuse@acmecorp.com", `"two words"@acmecorp.com`}},
	})
	berlin, err := time.LoadLocation("Europe/Berlin")
	if err != nil {
		t.Fatal(err)
	}
	check(t, "Messages", c.Messages, Messages{Keep: 30 * day, MTALog: "/var/log/mail.log"})
	check(t, "Quarantine", c.Quarantine, Quarantine{
		Dir: filepath.Join(filepath.Dir(path), "held"), Keep: 48 * time.Hour, MaxBytes: 1 << 40, SMTP: "mail.acmecorp.com:10025",
		Templates: []Template{{"", filepath.Join(filepath.Dir(path), "templates/summary.txt")}}, Learn: true,
		Report: Report{At: []time.Duration{7*time.Hour + 30*time.Minute, 23*time.Hour + 59*time.Minute}, Zone: berlin, From: "Postmaster@acmecorp.com", Contact: "helpdesk@acmecorp.com",
			Summary: []string{"a@acmecorp.com", "b@acmecorp.com"}},
	})
	check(t, "Probe", *c.Probe, Probe{From: "Probe@acmecorp.com", To: []ProbeTo{{"office365", "coexist-probe@acmecorp.com"}}, Wait: 30 * time.Second})
	check(t, "ProbeFrom", c.Rules.ProbeFrom, "probe@acmecorp.com")
}

func TestScannersAndTheQuarantineHaveDefaults(t *testing.T) {
	t.Parallel()
	c := loadWith(t, withClamd+withRspamd+"[domain.\"a.example\"]\nunlisted = \"here\"\n")
	check(t, "Clamd", *c.Clamd, Clamd{Addresses: []string{"unix:/run/clamav/clamd.ctl"}, Timeout: 30 * time.Second, MaxSize: 25 << 20, MaxScans: 10})
	check(t, "Rspamd", *c.Rspamd, Rspamd{Address: "http://127.0.0.1:11333", Timeout: 20 * time.Second, MaxSize: 50 << 20, MaxScans: 20, Controller: "http://127.0.0.1:11334"})
	check(t, "Malware", c.Malware, Malware{Macros: true, Encrypted: true, Mismatch: true, Smuggling: verdict.Tag, Depth: 5})
	check(t, "Quarantine", c.Quarantine, Quarantine{
		Dir: "/var/lib/coexistd", Keep: 30 * 24 * time.Hour, MaxBytes: 10 << 30, SMTP: "127.0.0.1:25",
		Report: Report{At: []time.Duration{7 * time.Hour}, Zone: time.Local, From: "postmaster@a.example", Contact: "postmaster@a.example", Summary: []string{"postmaster@a.example"}},
	})
	c = loadWith(t, "[check.malware]\nextensions = []\n[quarantine.report]\nat = \"never\"\nfrom = \"q@acmecorp.com\"\nsummary = []\n")
	if c.Probe != nil || c.Rules.ProbeFrom != "" {
		t.Errorf("probes are configured that the file does not name: %+v", c.Probe)
	}
	check(t, "Probe", *loadWith(t, "[probe]\nfrom = \"probe@acmecorp.com\"\n").Probe, Probe{From: "probe@acmecorp.com", Wait: 2 * time.Minute})
	if c.Clamd != nil || c.Rspamd != nil {
		t.Errorf("there are scanners that the file does not name: %+v, %+v", c.Clamd, c.Rspamd)
	}
	check(t, "a list that blocks nothing", c.Malware.Extensions, []string{})
	check(t, "Report", c.Quarantine.Report, Report{Zone: time.Local, From: "q@acmecorp.com", Contact: "q@acmecorp.com", Summary: []string{}})
}

func TestTheEntriesOfAllAllowancesAreBounded(t *testing.T) {
	t.Parallel()
	half := "\n[[allow]]\nname = \"%\"\nsenders = [" + strings.Repeat("\"a@b.example\",", maxAllowed/2) + "]\n"
	two := smallest + withRspamd + strings.Replace(half, "%", "a", 1) + strings.Replace(half, "%", "b", 1)
	load(t, write(t, two, map[string]string{"users.csv": users}))
	_, err := read(write(t, two+"recipients = [\"c@d.example\"]\n", map[string]string{"users.csv": users}))
	if err == nil || !strings.Contains(err.Error(), "allow: there are 10001 clients, senders, recipients, certificates and domains of dkim; at most 10000 are possible") {
		t.Errorf("got %v", err)
	}
}
