package config

import (
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// everySource has a source of each type with all that can be said of it.
const everySource = `[[listen]]
address = "unix:/run/coexistd/milter.sock"

[platform.google]
[platform.office365]

[source.ad]
type = "ldap"
preset = "exchange"
servers = ["ldap://dc1.acmecorp.com", "ldap://dc2.acmecorp.com"]
starttls = true
ca_file = "ca.pem"
user = "coexistd@acmecorp.com"
password_file = "directory.password"
interval = "30s"
full_interval = "2h"
full_timeout = "20m"
timeout = "10s"
platform = "office365"
base = "dc=acmecorp,dc=com"
filter = "(mail=*)"
address = "mail"
aliases = ["proxyAddresses", "mailAlternateAddress"]
login = "sAMAccountName"
target = "targetAddress"
kind = "objectClass"
kinds = { group = "group" }
columns = { hourly = "mailQuota" }
[source.ad.residence]
attribute = "mailHost"
values = { "mail*" = "here" }
groups = { "cn=cloud,dc=acmecorp,dc=com" = "google" }
nested = true
default = "here"

[source.sql]
type = "sql"
driver = "postgres"
servers = ["127.0.0.1:5432"]
tls = true
database = "mail"
user = "coexistd"
query = "SELECT address FROM users"
mark_query = "SELECT max(modified) FROM users"

[source.there]
type = "csv"
file = "office365.csv"
platform = "office365"

[domain."acmecorp.com"]
directory = ["users.csv", "source:ad", "source:sql", "source:there"]
alternate = { office365 = "acmecorp-com.onmicrosoft.com", google = "gapps.acmecorp.com" }
`

func TestASourceIsReadWhole(t *testing.T) {
	t.Parallel()
	path := write(t, everySource, map[string]string{"users.csv": users, "directory.password": "secret\n", "ca.pem": ""})
	folder := filepath.Dir(path)
	c := load(t, path)
	check(t, "ad", *c.Outsides[0], Outside{
		Name: "ad", Type: LDAP, Preset: "exchange", Servers: []string{"ldap://dc1.acmecorp.com", "ldap://dc2.acmecorp.com"},
		StartTLS: true, CAFile: filepath.Join(folder, "ca.pem"), User: "coexistd@acmecorp.com", Password: "secret",
		Interval: 30 * time.Second, FullInterval: 2 * time.Hour, FullTimeout: 20 * time.Minute, Timeout: 10 * time.Second, Platform: "office365",
		Base: "dc=acmecorp,dc=com", Filter: "(mail=*)", Address: []string{"mail"}, Aliases: []string{"proxyAddresses", "mailAlternateAddress"},
		Login: []string{"sAMAccountName"}, Target: []string{"targetAddress"}, Kind: []string{"objectClass"}, Kinds: map[string]string{"group": "group"},
		Columns: map[string]string{"hourly": "mailQuota"},
		Residence: OutsideResidence{
			Attribute: "mailHost", Values: map[string]string{"mail*": "here"}, Groups: map[string]string{"cn=cloud,dc=acmecorp,dc=com": "google"}, Nested: true, Default: "here",
		},
	})
	check(t, "sql", *c.Outsides[1], Outside{
		Name: "sql", Type: SQL, Servers: []string{"127.0.0.1:5432"}, TLS: true, User: "coexistd",
		Interval: time.Minute, FullInterval: time.Hour, FullTimeout: 15 * time.Minute, Timeout: 30 * time.Second,
		Driver: "postgres", Database: "mail", Query: "SELECT address FROM users", MarkQuery: "SELECT max(modified) FROM users",
	})
	check(t, "there", *c.Outsides[2], Outside{
		Name: "there", Type: CSV, File: filepath.Join(folder, "office365.csv"), Platform: "office365", Interval: time.Minute, FullInterval: time.Hour, FullTimeout: 15 * time.Minute, Timeout: 30 * time.Second,
	})
	var ranks []string
	for _, one := range c.Directories {
		name, isSource := strings.CutPrefix(one.Path, SourcePrefix)
		if copied := filepath.Join(c.StateDir, "directories", name); isSource && one.Copy != copied {
			t.Errorf("the copies of %s are at %s; right is %s", one.Path, one.Copy, copied)
		}
		ranks = append(ranks, filepath.Base(one.Path)+" "+string(rune('0'+one.Rank["acmecorp.com"])))
	}
	check(t, "ranks", strings.Join(ranks, ", "), "users.csv 0, source:ad 1, source:sql 2, source:there 3")
}

func TestAWordThatIsNoResidenceIsRefused(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ old, new, wrong string }{
		{`default = "here"`, `default = "office356"`, `source.ad.residence.default: "office356" is no residence; did you mean "office365"?`},
		{`= "google" }`, `= "goggle" }`, `source.ad.residence.groups."cn=cloud,dc=acmecorp,dc=com": "goggle" is no residence; did you mean "google"?`},
		{`"mail*" = "here"`, `"mail*" = "hear"`, `source.ad.residence.values."mail*": "hear" is no residence; did you mean "here"?`},
		{`default = "here"`, `default = "both:here"`, `source.ad.residence.default: "both:here" is no residence`},
		{`default = "here"`, `default = "both:Google"`, ""},
		{`default = "here"`, `default = "Moving"`, ""},
	} {
		path := write(t, strings.Replace(everySource, c.old, c.new, 1), map[string]string{"users.csv": users, "directory.password": "secret\n", "ca.pem": ""})
		reading := Load(path)
		said := ""
		if reading.Problems != nil {
			said = reading.Problems.Error()
		}
		if c.wrong == "" && said != "" || !strings.Contains(said, c.wrong) {
			t.Errorf("of %s: %q; right is %q", c.new, said, c.wrong)
		}
	}
}

func TestAPasswordInTheClearIsNoted(t *testing.T) {
	t.Parallel()
	for server, noted := range map[string]bool{"ldap://192.0.2.1": true, "ldap://127.0.0.1:389": false, "ldap://localhost": false, "ldaps://192.0.2.1": false} {
		text := strings.NewReplacer(`"ldap://dc1.acmecorp.com", "ldap://dc2.acmecorp.com"`, `"`+server+`"`, "starttls = true\n", "").Replace(everySource)
		c := load(t, write(t, text, map[string]string{"users.csv": users, "directory.password": "secret\n", "ca.pem": ""}))
		said := false
		for _, note := range c.Notes {
			said = said || strings.Contains(note.Text, "in the clear")
		}
		if said != noted {
			t.Errorf("of %s, the notes are %v", server, c.Notes)
		}
	}
}
