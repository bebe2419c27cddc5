package config

import (
	"errors"
	"flag"
	"net/netip"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/BurntSushi/toml"

	"coexistd/policy"
	"coexistd/policy/config/mistakes"
	"coexistd/policy/mail"
	"coexistd/policy/networks"
	"coexistd/policy/route"
	"coexistd/policy/tenant"
	"coexistd/policy/verdict"
)

var update = flag.Bool("update", false, "write the golden files anew")

func TestEveryMistakeIsReportedAsItsGoldenFileSays(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob("testdata/mistakes/*.toml")
	if err != nil || len(files) < 40 {
		t.Fatalf("there are %d files of mistakes (%v); at least 40 were expected", len(files), err)
	}
	folder, err := filepath.Abs("testdata/mistakes")
	if err != nil {
		t.Fatal(err)
	}
	strip := strings.NewReplacer(folder+"/", "", folder, ".", "testdata/mistakes/", "")
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".toml"), func(t *testing.T) {
			t.Parallel()
			_, err := read(file)
			if err == nil {
				t.Fatal("the file was accepted")
			}
			got := strip.Replace(err.Error()) + "\n"
			golden := strings.TrimSuffix(file, ".toml") + ".want"
			if *update {
				if err := os.WriteFile(golden, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(golden)
			if err != nil {
				t.Fatal(err)
			}
			if got != string(want) {
				t.Errorf("got:\n%swant:\n%s", got, want)
			}
		})
	}
}

// write puts a configuration, and the files that it names, into a new folder.
func write(t testing.TB, text string, files map[string]string) string {
	t.Helper()
	folder := t.TempDir()
	path := filepath.Join(folder, "coexistd.toml")
	for name, content := range files {
		if err := os.MkdirAll(filepath.Dir(filepath.Join(folder, name)), 0o750); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(folder, name), []byte(content), 0o640); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(path, []byte(text), 0o640); err != nil {
		t.Fatal(err)
	}
	return path
}

// read is Load, with the problems as an error.
func read(path string) (*Config, error) {
	reading := Load(path)
	if len(reading.Problems) == 0 {
		return reading.Config, nil
	}
	return reading.Config, reading.Problems
}

// onlyLists reports an error that refuses no configuration.
func onlyLists(err error) bool {
	var problems mistakes.Problems
	return errors.As(err, &problems) && !problems.Refuse()
}

func load(t testing.TB, path string) *Config {
	t.Helper()
	c, err := read(path)
	if err != nil {
		t.Fatalf("the configuration was refused:\n%v", err)
	}
	return c
}

func check[T any](t *testing.T, what string, got, want T) {
	t.Helper()
	if !reflect.DeepEqual(got, want) {
		t.Errorf("%s is %+v, not %+v", what, got, want)
	}
}

const users = "address,residence,login\n"

const smallest = `
[[listen]]
address = "unix:/run/coexistd/milter.sock"

[platform.office365]
networks = ["40.92.0.0/15"]
tenant   = "3f2504e0-4f89-11d3-9a0c-0305e82c3301"

[domain."acmecorp.com"]
directory = "users.csv"
alternate = { office365 = "acmecorp-com.onmicrosoft.com" }
`

func TestTheSmallestFileGetsEveryDefault(t *testing.T) {
	t.Parallel()
	path := write(t, smallest, map[string]string{"users.csv": users})
	c := load(t, path)
	hostname, err := os.Hostname()
	if err != nil {
		t.Fatal(err)
	}
	check(t, "Path", c.Path, path)
	check(t, "Hostname", c.Rules.Hostname, strings.ToLower(hostname))
	check(t, "OurNetworks", c.Rules.OurNetworks.Len(), 0)
	check(t, "Delimiters", c.Rules.Delimiters, "+")
	check(t, "MaxPasses", c.Rules.Routes.MaxPasses, 3)
	check(t, "Outbound", c.Rules.Routes.Outbound, "")
	check(t, "Listeners", c.Listeners, []Listener{{Address: "unix:/run/coexistd/milter.sock", Mode: 0o660}})
	check(t, "Lookups", len(c.Lookups), 0)
	check(t, "StateDir", c.StateDir, "/var/lib/coexistd")
	check(t, "SecretFile", c.SecretFile, "")
	check(t, "Control", c.Control, "unix:/var/lib/coexistd/control.sock")
	check(t, "MaxConnections", c.MaxConnections, 1000)
	check(t, "Header", c.Rules.Header, "")
	check(t, "Notes", len(c.Notes), 4)
	check(t, "Platforms", *c.Rules.Routes.Platforms[0], route.Platform{Name: "office365", Letter: "O"})
	check(t, "Networks", c.Networks, networks.Live{"office365": {Networks: networks.SetOf(netip.MustParsePrefix("40.92.0.0/15"))}})
	check(t, "Tenants", c.Rules.Tenants, tenant.Rules{"office365": {Tenant: "3f2504e0-4f89-11d3-9a0c-0305e82c3301"}})
	d := c.Rules.Routes.Domains["acmecorp.com"]
	check(t, "Domain", *d, route.Domain{
		Name: "acmecorp.com", Alternates: map[string]string{"office365": "acmecorp-com.onmicrosoft.com"},
	})
	if len(c.Directories) != 1 || c.Directories[0].Domains["acmecorp.com"] != d {
		t.Fatalf("the directories are %+v", c.Directories)
	}
	check(t, "Directories[0].Path", c.Directories[0].Path, filepath.Join(filepath.Dir(path), "users.csv"))
	check(t, "Directories[0].MaxLoss", c.Directories[0].MaxLoss, 0.10)
	check(t, "Directories[0].MaxLossFloor", c.Directories[0].MaxLossFloor, 20)
	check(t, "Directories[0].Delimiters", c.Directories[0].Delimiters, "+")
}

const full = `
mode = "observe"
hostname = "Mail.Acmecorp.com."
our_networks = ["10.0.0.0/8", "::1", "10.0.0.0/8"]
state_dir = "state"
secret_file = "secret.key"
max_connections = 50
header = "X-Coexist-Result"
recipient_delimiter = "+-"
max_passes = 5
log_subject = true
outbound = "google"

platform.google.networks = ["file:google.txt"]
platform.google.relay = "aspmx.l.google.com"
platform.google.deliver = "relay"

[[listen]]
address = "unix:/run/coexistd/milter.sock"
mode = "0666"

[[listen]]
address = "inet:[::1]:8701"
checkpoint = "S2"

[[lookup]]
address = "inet:localhost:8702"

[platform.office365]
networks = ["file:endpoints.json", "40.95.0.0/16"]
tenant = "3F2504E0-4F89-11D3-9A0C-0305E82C3301"
may_relay = true
relay = "[acmecorp-com.mail.protection.outlook.com]:25"
target_domains = ["Acmecorp.mail.onmicrosoft.com"]
target_tag = false

[domain."Acmecorp.COM"]
directory = "users.csv"
alternate = { office365 = "Acmecorp-com.onmicrosoft.com", google = "gapps.acmecorp.com" }
mx = "office365"
past_mx = "reject"
unlisted = "google"
max_loss = "2.5%"
max_loss_floor = 5

[domain."bücher.example"]
directory = "./users.csv"

[domain."acmecorp.org"]
directory = "other.csv"
recipient = 1

[domain."all.example"]
mode = "enforce"
platforms = ["google"]
unlisted = "here"

[domain."mail.acmecorp.com"]
same_as = "ACMECORP.com."
unlisted = "here"

[checkpoint.S0]
checks = ["loop"]
[checkpoint.S2]
checks = []
[[tls]]
name = "the bank"
domains = ["Bank.example", ".bank.example"]
clients = ["192.0.2.0/24"]
in = "verify"
out = "dane-only"
version = "1.3"
names = ["MX.bank.example", ".bank.example", "mx.bank.example"]
[[tls]]
name = "the cloud"
platform = "google"
out = "encrypt"
[archive]
address = "Archive@archive.example"
points = ["S1", "S0", "S1"]
ways = ["LD", "S4"]
journals = ["google", "office365", "google"]
domains = ["Legal.example", ".legal.example"]
held = true
[observe]
ready_after = "36h"
expected = ["spoof", "virus", "spoof"]
`

var fullFiles = map[string]string{
	"users.csv":  users,
	"other.csv":  users,
	"secret.key": strings.Repeat("k", 32),
	"google.txt": "\xef\xbb\xbf# Google\r\n35.190.247.0/24\r\n\r\n2001:4860:4000::/36 # six\r\n",
	"endpoints.json": `[
		{"id": 9, "serviceArea": "Exchange", "ips": ["13.107.6.152/31"], "tcpPorts": "80,443"},
		{"id": 10, "ips": ["40.92.0.0/15", "2a01:111:f400::/48"], "tcpPorts": "587, 25", "category": "Allow"},
		{"id": 11, "ips": ["40.92.0.0/15"], "tcpPorts": "25"},
		{"id": 12, "urls": ["*.example.com"], "tcpPorts": "25"}]`,
}

func TestTheFullFileIsReadWhole(t *testing.T) {
	t.Parallel()
	path := write(t, strings.Replace(full, "recipient = 1\n", "", 1), fullFiles)
	folder := filepath.Dir(path)
	c := load(t, path)
	p := c.Rules
	check(t, "Hostname", p.Hostname, "mail.acmecorp.com")
	check(t, "OurNetworks", p.OurNetworks, networks.SetOf(netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("::1/128")))
	check(t, "StateDir", c.StateDir, filepath.Join(folder, "state"))
	check(t, "SecretFile", c.SecretFile, filepath.Join(folder, "secret.key"))
	check(t, "MaxConnections", c.MaxConnections, 50)
	check(t, "Header", c.Rules.Header, "X-Coexist-Result")
	check(t, "Delimiters", p.Delimiters, "+-")
	check(t, "MaxPasses", p.Routes.MaxPasses, 5)
	check(t, "LogSubject", c.LogSubject, true)
	check(t, "Observe", p.Observe, true)
	check(t, "TLS", p.TLS, []policy.TLS{
		{
			Name: "the bank", Domains: []string{"bank.example", ".bank.example"}, Clients: networks.SetOf(netip.MustParsePrefix("192.0.2.0/24")),
			In: policy.Verify, Out: policy.DANEOnly, Version: 13, Names: []string{"mx.bank.example", ".bank.example"},
		},
		{Name: "the cloud", Platform: "google", Out: policy.Encrypt, Version: 12},
	})
	check(t, "Archive", *p.Archive, policy.Archive{
		Address: mail.Address{Path: "Archive@archive.example", Local: "Archive", Domain: "archive.example", Key: "archive@archive.example", Owner: "archive@archive.example"},
		Points:  []verdict.Checkpoint{verdict.S1, verdict.S0}, Ways: []route.Hop{route.LD, route.Ours(verdict.S4)}, Domains: []string{"legal.example", ".legal.example"}, Held: true,
		Journals: []string{"google", "office365"},
	})
	check(t, "Observe", c.Observe, Observe{ReadyAfter: day * 3 / 2, Expected: []string{"spoof", "virus"}})
	check(t, "Outbound", p.Routes.Outbound, "google")
	check(t, "Listeners", c.Listeners, []Listener{
		{Address: "unix:/run/coexistd/milter.sock", Mode: 0o666},
		{Address: "inet:[::1]:8701", Checkpoint: verdict.S2, Mode: 0o660},
	})
	check(t, "Lookups", c.Lookups, []Listener{{Address: "inet:localhost:8702", Mode: 0o660}})
	check(t, "google", *p.Routes.Platforms[0], route.Platform{Name: "google", Letter: "G", Relay: "aspmx.l.google.com", ByRelay: true})
	check(t, "office365", *p.Routes.Platforms[1], route.Platform{
		Name: "office365", Letter: "O", MayRelay: true, Relay: "[acmecorp-com.mail.protection.outlook.com]:25",
		TargetDomains: []string{"acmecorp.mail.onmicrosoft.com"}, DropsTag: true,
	})
	check(t, "Tenants", p.Tenants, tenant.Rules{"google": {}, "office365": {Tenant: "3f2504e0-4f89-11d3-9a0c-0305e82c3301"}})
	check(t, "Networks", c.Networks, networks.Live{
		"google": {Networks: networks.SetOf(netip.MustParsePrefix("35.190.247.0/24"), netip.MustParsePrefix("2001:4860:4000::/36"))},
		"office365": {Networks: networks.SetOf(
			netip.MustParsePrefix("40.92.0.0/15"), netip.MustParsePrefix("2a01:111:f400::/48"), netip.MustParsePrefix("40.95.0.0/16"))},
	})
	check(t, "acmecorp.com", *p.Routes.Domains["acmecorp.com"], route.Domain{
		Name: "acmecorp.com", MX: "office365", RefusePastMX: true,
		Unlisted:   route.Residence{Kind: route.There, Platform: "google"},
		Alternates: map[string]string{"office365": "acmecorp-com.onmicrosoft.com", "google": "gapps.acmecorp.com"},
		Observe:    true,
	})
	check(t, "all.example", *p.Routes.Domains["all.example"], route.Domain{
		Name: "all.example", Unlisted: route.Residence{Kind: route.Here}, Alternates: map[string]string{}, Platforms: []string{"google"},
	})
	check(t, "mail.acmecorp.com", *p.Routes.Domains["mail.acmecorp.com"], route.Domain{
		Name: "mail.acmecorp.com", SameAs: "acmecorp.com", Unlisted: route.Residence{Kind: route.Here}, Alternates: map[string]string{}, Observe: true,
	})
	check(t, "the number of domains", len(p.Routes.Domains), 5)
	check(t, "Notes", len(c.Notes), 4)
	check(t, "the number of directories", len(c.Directories), 2)
	check(t, "the first directory's path", c.Directories[0].Path, filepath.Join(folder, "other.csv"))
	shared := c.Directories[1]
	check(t, "SameAs", shared.SameAs, map[string]string{"mail.acmecorp.com": "acmecorp.com"})
	check(t, "MaxLoss", shared.MaxLoss, 0.025)
	check(t, "MaxLossFloor", shared.MaxLossFloor, 5)
	check(t, "the shared directory's delimiters", shared.Delimiters, "+-")
	if len(shared.Domains) != 2 || shared.Domains["acmecorp.com"] == nil || shared.Domains["xn--bcher-kva.example"] == nil {
		t.Errorf("the shared directory serves %v", shared.Domains)
	}
}

func TestOneMistakeInTheFullFileIsTheOnlyOneReported(t *testing.T) {
	t.Parallel()
	_, err := read(write(t, full, fullFiles))
	var all mistakes.Problems
	if !errors.As(err, &all) || len(all) != 1 {
		t.Fatalf("got %v", err)
	}
	line := 1 + strings.Count(full[:strings.Index(full, "recipient = 1")], "\n")
	if all[0].Line != line || all[0].Key != `domain."acmecorp.org".recipient` {
		t.Errorf("got %v, on line %d", err, line)
	}
}

func TestRefusesASecretFileThatIsNoSecret(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		size int
		mode os.FileMode
		want string
	}{
		"short":                {31, 0o600, "has 31 bytes; a secret needs at least 32"},
		"readable by others":   {32, 0o644, "can be read, written or run by everybody (mode 0644)"},
		"executable by others": {32, 0o601, "(mode 0601)"},
		"good":                 {32, 0o640, ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			path := write(t, "secret_file = \"s\"\n"+smallest, map[string]string{"users.csv": users, "s": strings.Repeat("k", c.size)})
			if err := os.Chmod(filepath.Join(filepath.Dir(path), "s"), c.mode); err != nil {
				t.Fatal(err)
			}
			_, err := read(path)
			if c.want == "" {
				if err != nil {
					t.Error(err)
				}
				return
			}
			if err == nil || !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), "toml:1: secret_file: ") {
				t.Errorf("got %v, not %s", err, c.want)
			}
		})
	}
}

func TestAFileThatCannotBeReadIsNamedWithoutALine(t *testing.T) {
	t.Parallel()
	missing := filepath.Join(t.TempDir(), "none.toml")
	large := write(t, strings.Repeat("#", maxFile+1), nil)
	folder := t.TempDir()
	for path, want := range map[string]string{
		missing: missing + ": does not exist",
		large:   large + ": is larger than 4 MiB",
		folder:  folder + ": is a folder, not a regular file",
	} {
		if _, err := read(path); err == nil || err.Error() != want {
			t.Errorf("got %v, not %s", err, want)
		}
	}
}

func TestTheControlSocketIsInStateDirUnlessItsPathIsWhole(t *testing.T) {
	t.Parallel()
	const state = "state_dir = \"/srv/mail\"\n"
	long := strings.Repeat("x", 107-len("/srv/mail/"))
	for address, want := range map[string]string{
		"unix:control.sock": "unix:/srv/mail/control.sock", "unix:./a//b.sock": "unix:/srv/mail/a/b.sock", "unix:/run/c.sock": "unix:/run/c.sock",
		"unix:" + long: "unix:/srv/mail/" + long,
	} {
		check(t, address, load(t, write(t, state+smallest+"[control]\naddress = \""+address+"\"\n", map[string]string{"users.csv": users})).Control, want)
	}
	_, err := read(write(t, state+smallest+"[control]\naddress = \"unix:x"+long+"\"\n", map[string]string{"users.csv": users}))
	if err == nil || !strings.Contains(err.Error(), "control.address: the path has 108 bytes; a Unix socket's path has at most 107") {
		t.Errorf("got %v", err)
	}
}

func FuzzLoad(f *testing.F) {
	f.Add(smallest)
	f.Add(full)
	f.Add(smallest + everyCheck)
	f.Add(everySender)
	f.Add("\xff\xfe")
	files, _ := filepath.Glob("testdata/mistakes/*.toml")
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(string(text))
	}
	path := write(f, smallest, fullFiles)
	for name, content := range senderFiles {
		if err := os.WriteFile(filepath.Join(filepath.Dir(path), name), []byte(content), 0o640); err != nil {
			f.Fatal(err)
		}
	}
	f.Fuzz(func(t *testing.T, text string) {
		reading := parse(path, text)
		if (reading.Config == nil) != reading.Problems.Refuse() {
			t.Fatalf("got %v beside %v", reading.Config, reading.Problems)
		}
		if slices.ContainsFunc(reading.Problems, func(p mistakes.Problem) bool { return p.Text == "" || p.File == path && p.Line < 1 }) {
			t.Fatalf("a problem lacks its line: %v", reading.Problems)
		}
	})
}

// decodeTOML has the keys of a text, too.
func decodeTOML(text string) (entries map[string]any, keys []toml.Key, err error) {
	meta, err := toml.Decode(text, &entries)
	return entries, meta.Keys(), err
}

func BenchmarkLoad(b *testing.B) {
	path := write(b, smallest+everyCheck, checkFiles)
	for b.Loop() {
		if reading := Load(path); reading.Config == nil {
			b.Fatal(reading.Problems)
		}
	}
}
