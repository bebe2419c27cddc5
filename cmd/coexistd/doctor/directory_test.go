package doctor

import (
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"coexistd/contrib/lab"
	"coexistd/milter/sources"
	"coexistd/policy/config"
)

// examined is an examination of a configuration, with what the daemon has kept of
// source:people.
func examined(t *testing.T, toml, users, people string) *examination {
	t.Helper()
	dir := t.TempDir()
	path, err := lab.WriteConfiguration(dir, toml, users)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(filepath.Join(dir, "state", "directories"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "state", "directories", "people.csv"), []byte(people), 0o600); err != nil {
		t.Fatal(err)
	}
	reading := config.Load(path)
	if len(reading.Problems) > 0 {
		t.Fatal(reading.Problems)
	}
	return &examination{conf: reading.Config, now: time.Now(), lists: sync.OnceValue(func() sources.Directories { return sources.Open(reading.Directories, nil) })}
}

func TestTheDoctorFailsForRowsThatPutMailOffAndWarnsOfWhatCannotBeMeant(t *testing.T) {
	toml := strings.Replace(lab.SiteTOML, `directory = "users.csv"`, `directory = ["users.csv", "source:people"]`, 1) +
		"[source.people]\ntype = \"ldap\"\npreset = \"mithi\"\nservers = [\"ldap://127.0.0.1:1\"]\nbase = \"dc=x\"\n"
	people := `address,residence,login,target,kind,origin,domains of source:people acmecorp.com
bob@acmecorp.com,office365,bob,,,uid=bob,
eve@acmecorp.com,here,eve,,,"uid=eve,ou=a",
evelyn@acmecorp.com,here,eve,,,"uid=eve,ou=b",
press@acmecorp.com,here,mia,,,uid=mia,
press@acmecorp.com,here,noa,,,uid=noa,
sales@acmecorp.com,here,mia,,,uid=mia,
sales@acmecorp.com,office365,noa,,,uid=noa,
lost@acmecorp.com,,lost,,,uid=lost,
`
	x := examined(t, toml, lab.SiteDirectory, people)
	findings := lookAtDirectories(t.Context(), x)
	want := []string{
		"ok " + x.lists()[0].Source.Path + " has 7 addresses, 1 of them moving",
		"ok source:people has 6 addresses, 0 of them moving",
		"fail source:people:8: sales@acmecorp.com is the address of two entries, uid=mia and uid=noa, of which one lives here and the other office365; mail for it is put off; take it from the one that does not own it",
		"fail source:people:9: the row has no residence",
		"warn source:people:6: press@acmecorp.com is the address of two entries, uid=mia and uid=noa, of which the first counts",
		"warn bob@acmecorp.com lives here by ",
		`warn source:people: the login "eve" has two owners: uid=eve,ou=a with eve@acmecorp.com, and uid=eve,ou=b with evelyn@acmecorp.com`,
	}
	if len(findings) != len(want) {
		t.Fatalf("the findings are %+v", findings)
	}
	for i, f := range findings {
		if !strings.HasPrefix(f.Status+" "+f.Found, want[i]) || (f.Status == OK) != (f.Remedy == "") {
			t.Errorf("finding %d is %+v\nright is %s", i, f, want[i])
		}
	}
	if more := lookAtMistakes(make([]sources.Mistake, mostNamed+3)); len(more) != mostNamed+1 || more[mostNamed].Found != "3 more mistakes of that kind" {
		t.Errorf("of many mistakes the doctor says %+v", more)
	}
}

func TestTheDoctorTellsOfAPlatformWhoseMailComesBackByTheDNS(t *testing.T) {
	dns, err := lab.StartDNS()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { dns.Close() })
	own := []netip.Addr{netip.MustParseAddr("192.0.2.7")}
	for about, c := range map[string]struct {
		relay string
		set   func()
		want  string
	}{
		"no records":           {"", func() {}, ""},
		"the MX is elsewhere":  {"", func() { dns.Set("acmecorp-com.onmicrosoft.com", "MX", "10 mx.example.") }, ""},
		"the MX is our name":   {"", func() { dns.Set("acmecorp-com.onmicrosoft.com", "MX", "10 Mail.acmecorp.com.") }, "office365 comes back: the MX of acmecorp-com.onmicrosoft.com is this host, Mail.acmecorp.com"},
		"we are the second MX": {"", func() { dns.Set("acmecorp-com.onmicrosoft.com", "MX", "10 mx.example.", "20 mail.acmecorp.com.") }, ""},
		"the MX is our address": {"", func() {
			dns.Set("acmecorp-com.onmicrosoft.com", "MX", "10 old.example.")
			dns.Set("old.example", "A", "192.0.2.7")
		}, "office365 comes back: the MX of acmecorp-com.onmicrosoft.com is this host, old.example (192.0.2.7)"},
		"no MX, but our address": {"", func() { dns.Set("acmecorp-com.onmicrosoft.com", "A", "192.0.2.7") }, "office365 comes back: the MX of acmecorp-com.onmicrosoft.com is this host, acmecorp-com.onmicrosoft.com (192.0.2.7)"},
		"the relay is our address": {"[relay.example]", func() {
			dns.Set("acmecorp-com.onmicrosoft.com", "MX", "10 mail.acmecorp.com.")
			dns.Set("relay.example", "A", "192.0.2.7")
		}, "office365 comes back: its relay is this host, relay.example (192.0.2.7)"},
		"a service beside us at another port": {"[192.0.2.7]:10025", func() {}, ""},
		"the relay's MX is our name":          {"relay.example", func() { dns.Set("relay.example", "MX", "10 mail.acmecorp.com.") }, "office365 comes back: the MX of relay.example is this host, mail.acmecorp.com"},
	} {
		for _, name := range []string{"acmecorp-com.onmicrosoft.com", "old.example", "relay.example"} {
			dns.Clear(name)
		}
		c.set()
		toml := lab.SiteTOML
		if c.relay != "" {
			toml = strings.Replace(toml, "[platform.office365]\n", "[platform.office365]\nrelay = \""+c.relay+"\"\n", 1)
		}
		x := examined(t, strings.Replace(toml, "{dns}", dns.Addr, 1), lab.SiteDirectory, "")
		findings := lookAtReturns(t.Context(), x, own)
		if c.want == "" && len(findings) > 0 || c.want != "" && (len(findings) != 1 || findings[0].Status != Warn || findings[0].Found != "mail for mailboxes at "+c.want || findings[0].Remedy == "") {
			t.Errorf("%s: the findings are %+v\nright is %q", about, findings, c.want)
		}
	}
}
