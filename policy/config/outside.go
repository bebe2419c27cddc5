package config

import (
	"fmt"
	"maps"
	"net/netip"
	"net/url"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"coexistd/policy/config/mistakes"
	"coexistd/policy/config/schema"
	"coexistd/policy/config/secret"
	"coexistd/policy/config/wording"
)

// The types of sources outside this host.
const (
	LDAP = "ldap"
	SQL  = "sql"
	CSV  = "csv"
)

// Outside is a source of users outside this host, [source.NAME], as the file has it. What a
// server would have to say of it is not asked here.
type Outside struct {
	Name string
	Type string // LDAP, SQL or CSV
	// Preset names what is usual for a product; empty: nothing is.
	Preset                          string
	Servers                         []string
	StartTLS, TLS                   bool
	CAFile                          string // an absolute path; empty: the system's
	User, Password                  string // the password must stand in no log
	Interval, FullInterval, Timeout time.Duration
	FullTimeout                     time.Duration
	// Platform is where mailboxes of a preset's "remote" users live, or those of File.
	Platform string
	// File is the absolute path of a list that the platform's tools have exported. CSV only.
	File string
	// Base to Kind are of LDAP: whom to seek, and attributes. Nil and empty: the preset's.
	Base, Filter                    string
	Address, Aliases, Login, Target []string
	Kind                            []string
	Kinds                           map[string]string
	// Columns maps further columns to attributes.
	Columns map[string]string
	// Driver to MarkQuery are of SQL.
	Driver, Database, Query, MarkQuery string
	Residence                          OutsideResidence
}

// OutsideResidence says how a source's entries tell where mailboxes live. Values and Groups
// map to a residence's word.
type OutsideResidence struct {
	Attribute string
	Values    map[string]string
	Groups    map[string]string
	Nested    bool
	Default   string
}

// outsideName is the name of a source, which is a file's, too.
var outsideName = regexp.MustCompile(`^[a-z][a-z0-9-]{0,62}$`)

const (
	attributes = "an attribute's name in quotes"
	ldapOnly   = "LDAP only: "
	sqlOnly    = "SQL only: "
	csvOnly    = "CSV only: "
)

func (r *reader) outsideKeys() schema.Section {
	names := schema.OneOrMore(attribute, schema.Rules{Empty: "names no attribute; leave it out for the preset's", Most: 20, What: "attributes", Twice: schema.Refused})
	text := func(what string) schema.Kind { return schema.Text("a text in quotes", schema.As[string]) }
	return schema.Section{Path: "source.*", Header: "[source.people]", About: "a directory of users outside this host, by a name of yours; a domain names it by `directory = \"source:people\"`", Keys: []schema.Key{
		{Name: "type", Kind: schema.Choice[schema.Word]("known", LDAP, SQL, CSV), Missing: `write type = "ldap", "sql" or "csv"`, Example: `"ldap"`,
			Meaning: "`\"ldap\"`, `\"sql\"`, or `\"csv\"` for a list that another platform's tools have exported"},
		{Name: "preset", Kind: line("the name of a preset"), Example: `"openldap"`, Meaning: "what is usual for a product: `openldap`, `ad`, `exchange`, `zimbra`, `mithi`; `postfixadmin`, `iredmail`, `mailcow`. The keys below go before it"},
		{Name: "servers", Kind: schema.List(schema.As[string], schema.Rules{Empty: "names no server", Most: maxAddresses, What: "servers", Twice: schema.Refused}), Example: `["ldaps://ldap1.example.com", "ldaps://ldap2.example.com"]`,
			Meaning: "LDAP: URLs, of which the first that answers is asked: `ldaps://HOST`, `ldap://HOST:PORT`, `ldapi://%2Frun%2Fslapd%2Fldapi`. SQL: one, `HOST:PORT` or the path of a Unix socket; none for SQLite"},
		{Name: "starttls", Kind: schema.Boolean(), Usual: false, Meaning: ldapOnly + "each `ldap://` server is asked for TLS first, and not used without"},
		{Name: "tls", Kind: schema.Boolean(), Usual: false, Meaning: sqlOnly + "connect by TLS"},
		{Name: "ca_file", Kind: schema.Text("a path in quotes", func(path string) (string, error) { return r.path(path), nil }), Example: `"ca.pem"`, Meaning: "whom to trust for the server's certificate, in PEM; else the system's authorities"},
		{Name: "user", Kind: line("a user"), Example: `"cn=coexistd,dc=example,dc=com"`, Meaning: "who asks: LDAP the DN to bind as, SQL a database user. They need to read only"},
		{Name: "password_file", Kind: schema.Text("a path in quotes", r.outsidePassword), Example: `"directory.password"`, Meaning: "a file with the password as its only line, not readable by others"},
		{Name: "interval", Kind: schema.Duration(time.Second, day), Usual: "1m", Meaning: "how often the source is asked whether something has changed"},
		{Name: "full_interval", Kind: schema.Duration(time.Minute, 30*day), Usual: "1h", Meaning: "how often it is read whole in any case"},
		{Name: "full_timeout", Kind: schema.Duration(time.Second, day), Usual: "15m", Meaning: "how long the reading of the whole list may take"},
		{Name: "timeout", Kind: schema.Duration(time.Second, 10*time.Minute), Usual: "30s", Meaning: "how long each answer may take"},
		{Name: "platform", Kind: schema.Text(schema.AString, schema.As[string]), Usually: "the only one", Example: `"office365"`, Meaning: "the platform of what the preset `exchange` knows as remote mailboxes, or from which `file` was exported"},
		{Name: "file", Kind: schema.Text("a path in quotes", func(path string) (string, error) { return r.path(path), nil }), Example: `"office365.csv"`,
			Meaning: csvOnly + "the list of users there, as `Get-EXORecipient \\| Export-Csv`, the download of Google's admin console or `gam print users` write it; it is read again when it changes"},
		{Name: "base", Kind: line("a DN"), Example: `"dc=example,dc=com"`, Meaning: ldapOnly + "below which entry everybody is sought"},
		{Name: "filter", Kind: text("a filter"), Usually: "the preset's", Example: `"(mail=*)"`, Meaning: ldapOnly + "whom to seek (RFC 4515)"},
		{Name: "address", Kind: names, Usually: "the preset's", Example: `"mail"`, Meaning: ldapOnly + "the attributes with addresses"},
		{Name: "aliases", Kind: names, Usually: "the preset's", Example: `"mailAlternateAddress"`, Meaning: ldapOnly + "the attributes with further addresses of the mailbox, `smtp:` before them or not"},
		{Name: "login", Kind: names, Usually: "the preset's", Example: `"uid"`, Meaning: ldapOnly + "the attributes that may log in"},
		{Name: "target", Kind: names, Usually: "the preset's", Example: `"mailRoutingAddress"`, Meaning: ldapOnly + "the attributes with the one address that reaches the mailbox at another platform"},
		{Name: "kind", Kind: names, Usually: "the preset's", Example: `"objectClass"`, Meaning: ldapOnly + "the attributes that tell a person from a group"},
		{Name: "kinds", Kind: schema.Inline(`{ groupOfNames = "group" }`), Usually: "the preset's", Example: `{ groupOfNames = "group" }`, Meaning: ldapOnly + "its values' meanings: `user`, `group`, `room`, `shared`"},
		{Name: "columns", Kind: schema.Inline(`{ hourly = "mailQuota" }`), Example: `{ hourly = "mailQuota" }`, Meaning: ldapOnly + "the attributes of columns that `[[rate]]` names, and of `report_to`"},
		{Name: "driver", Kind: schema.Choice[schema.Word]("known", "postgres", "mysql", "sqlite"), Example: `"postgres"`, Meaning: sqlOnly + "`postgres`, `mysql` (MariaDB's, too) or `sqlite`"},
		{Name: "database", Kind: line("the name of a database"), Example: `"mail"`, Meaning: sqlOnly + "the database, for SQLite the path of its file"},
		{Name: "query", Kind: text("a query"), Usually: "the preset's", Example: `"SELECT address, residence FROM users"`, Meaning: sqlOnly + "a `SELECT` that gives a row for each address, with the columns of a directory file by their names"},
		{Name: "mark_query", Kind: text("a query"), Example: `"SELECT CONCAT(count(*), ' ', max(modified)) FROM users"`,
			Meaning: sqlOnly + "a `SELECT` of one row that changes when the list does; without it the list is read whole each time. A number or a time in it is taken for one that only grows, and its going back for a restored backup: write what goes back when a row is removed, such as `COUNT(*)`, as a text: `CONCAT(COUNT(*), '')`"},
	}}
}

func (r *reader) outsideResidenceKeys() schema.Section {
	return schema.Section{Path: "source.*.residence", Header: "[source.people.residence]", About: "where mailboxes live; the first that says something counts: the values, the target's domain, the groups, the default", Keys: []schema.Key{
		{Name: "attribute", Kind: schema.Text(attributes, attribute), Usually: "the preset's", Example: `"mailHost"`, Meaning: ldapOnly + "the attribute with those values"},
		{Name: "values", Kind: schema.Inline(`{ "mail.example.com" = "here" }`), Example: `{ "mail.example.com" = "here" }`,
			Meaning: "what values mean: `here`, `moving`, `both`, a platform. `\"x*\"` is every value that begins so, `\"&4\"` every number that has that bit. SQL: what the column `residence` says"},
		{Name: "groups", Kind: schema.Inline(`{ "cn=cloud,ou=groups,dc=example,dc=com" = "office365" }`), Example: `{ "cn=cloud,ou=groups,dc=example,dc=com" = "office365" }`,
			Meaning: ldapOnly + "where the members of groups live, by the groups' DNs"},
		{Name: "nested", Kind: schema.Boolean(), Usual: false, Meaning: ldapOnly + "members of a group's groups count, too, as Active Directory tells them"},
		{Name: "default", Kind: line("a residence"), Usually: "the preset's", Example: `"here"`, Meaning: "where a mailbox lives of which nothing else says so"},
	}}
}

// outsides reads [source.NAME].
func (r *reader) outsides(t *schema.Table) {
	for _, one := range t.Tables("source") {
		if !outsideName.MatchString(one.Name) {
			r.Fail(one.Place, "%s is not a source's name; it would be lower-case letters, digits and '-', a letter first, like ad", wording.Quote(one.Name))
		}
		r.config.Outsides = append(r.config.Outsides, r.outside(one))
	}
}

func (r *reader) outside(t *schema.Table) *Outside {
	t.ReadSection()
	o := &Outside{
		Name: t.Name, Type: string(schema.Value[schema.Word](t, "type")), Preset: schema.Value[string](t, "preset"), Servers: schema.Value[[]string](t, "servers"),
		StartTLS: schema.Value[bool](t, "starttls"), TLS: schema.Value[bool](t, "tls"), CAFile: schema.Value[string](t, "ca_file"),
		User: schema.Value[string](t, "user"), Password: schema.Value[string](t, "password_file"),
		Interval: schema.Value[time.Duration](t, "interval"), FullInterval: schema.Value[time.Duration](t, "full_interval"), Timeout: schema.Value[time.Duration](t, "timeout"),
		FullTimeout: schema.Value[time.Duration](t, "full_timeout"),
		File:        schema.Value[string](t, "file"), Base: schema.Value[string](t, "base"), Filter: schema.Value[string](t, "filter"),
		Address: schema.Value[[]string](t, "address"), Aliases: schema.Value[[]string](t, "aliases"), Login: schema.Value[[]string](t, "login"), Target: schema.Value[[]string](t, "target"),
		Kind: schema.Value[[]string](t, "kind"), Kinds: r.texts(t, "kinds"), Columns: r.texts(t, "columns"),
		Driver: string(schema.Value[schema.Word](t, "driver")), Database: schema.Value[string](t, "database"),
		Query: schema.Value[string](t, "query"), MarkQuery: schema.Value[string](t, "mark_query"),
	}
	if o.Driver == "sqlite" && o.Database != "" {
		o.Database = r.path(o.Database)
	}
	if o.CAFile != "" {
		r.names(t.At("ca_file").Key, o.CAFile, false)
	}
	if o.Password != "" && !o.StartTLS && slices.ContainsFunc(o.Servers, func(server string) bool { return strings.HasPrefix(server, "ldap://") && !isLoopback(server) }) {
		r.note("source %s sends its password by ldap:// in the clear: write ldaps://, or starttls = true", o.Name)
	}
	if o.File != "" {
		r.names(t.At("file").Key, o.File, false)
	}
	r.outsidePlatform(t, o)
	r.refuseOthers(t, o.Type)
	if o.Type == CSV && o.File == "" {
		t.Fail("file", `is missing; write the path of the exported list, like file = "office365.csv"`)
	}
	inner := t.Optional("residence")
	inner.ReadSection()
	o.Residence = OutsideResidence{
		Attribute: schema.Value[string](inner, "attribute"), Values: r.texts(inner, "values"), Groups: r.texts(inner, "groups"),
		Nested: schema.Value[bool](inner, "nested"), Default: schema.Value[string](inner, "default"),
	}
	r.checkResidences(inner, &o.Residence)
	return o
}

// checkResidences refuses words that no domain of ours could take for a residence: mail for all
// whom they are of would be put off.
func (r *reader) checkResidences(t *schema.Table, o *OutsideResidence) {
	words := append([]string{"here", "moving", "both"}, r.platforms...)
	wrong := func(word string) string {
		platform, isBoth := strings.CutPrefix(strings.ToLower(strings.TrimSpace(word)), "both:")
		if platform == "" && !isBoth || r.isPlatform(platform) || !isBoth && slices.Contains(words, platform) {
			return ""
		}
		return fmt.Sprintf("%s is no residence; %s", wording.Quote(word), wording.Suggest(platform, words))
	}
	if why := wrong(o.Default); why != "" {
		t.Fail("default", "%s", why)
	}
	for name, means := range map[string]map[string]string{"values": o.Values, "groups": o.Groups} {
		for _, value := range slices.Sorted(maps.Keys(means)) {
			if why := wrong(means[value]); why != "" {
				t.Section(name).Fail(value, "%s", why)
			}
		}
	}
}

// isLoopback reports the URL of a server on this host.
func isLoopback(server string) bool {
	u, err := url.Parse(server)
	if err != nil {
		return false
	}
	address, err := netip.ParseAddr(u.Hostname())
	return u.Hostname() == "localhost" || err == nil && address.IsLoopback()
}

// outsidePlatform reads the platform of remote mailboxes.
func (r *reader) outsidePlatform(t *schema.Table, o *Outside) {
	o.Platform = schema.Value[string](t, "platform")
	switch {
	case o.Platform != "" && !r.isPlatform(o.Platform):
		t.Fail("platform", "%s is not a platform of this file; %s", wording.Quote(o.Platform), r.suggestPlatform(o.Platform))
	case o.Platform == "" && len(r.platforms) == 1:
		o.Platform = r.platforms[0]
	case o.Platform == "" && (o.Preset == "exchange" || o.Type == CSV):
		t.Fail("platform", "is missing: where do those live whom the source lists? It would be one of %s", strings.Join(r.platforms, ", "))
	}
}

// refuseOthers refuses keys that belong to another type of source.
func (r *reader) refuseOthers(t *schema.Table, kind string) {
	for _, k := range r.Schema.Keys("source.*") {
		of := []string{LDAP, SQL}
		switch {
		case strings.HasPrefix(k.Meaning, ldapOnly):
			of = []string{LDAP}
		case strings.HasPrefix(k.Meaning, sqlOnly):
			of = []string{SQL}
		case strings.HasPrefix(k.Meaning, csvOnly):
			of = []string{CSV}
		case slices.Contains([]string{"type", "platform", "interval", "full_interval", "full_timeout"}, k.Name):
			continue
		}
		if kind != "" && t.Has(k.Name) && !slices.Contains(of, kind) {
			t.Fail(k.Name, `has no meaning with type = %q; leave it out`, kind)
		}
	}
	if kind == CSV && t.Has("residence") {
		t.Fail("residence", "has no meaning with type = \"csv\": whom the file lists lives at the platform; leave it out")
	}
}

// texts reads a table of texts by names of the administrator's.
func (r *reader) texts(t *schema.Table, name string) map[string]string {
	if _, said := schema.Said[map[string]any](t, name); !said {
		return nil
	}
	all := make(map[string]string)
	table := t.Section(name)
	for _, key := range slices.Sorted(maps.Keys(table.Entries)) {
		if text, ok := schema.ReadEntry[string](table, key, schema.Text("a text in quotes", schema.As[string])); ok {
			all[key] = text
		}
	}
	return all
}

func attribute(name string) (string, error) {
	if !regexp.MustCompile(`^[A-Za-z][A-Za-z0-9.;-]{0,99}$`).MatchString(name) {
		return "", fmt.Errorf("%s is not an attribute's name; it would be like mail", wording.Quote(name))
	}
	return name, nil
}

func (r *reader) outsidePassword(file string) (string, error) {
	r.names("source.password_file", r.path(file), true)
	return secret.Read(r.path(file), 1, "write the path of a file that holds the password and nothing else")
}

// copyOf is the path of the copies of a source's lists, without their endings.
func (r *reader) copyOf(name string) string {
	return filepath.Join(r.config.StateDir, "directories", name)
}

// outsideNamed finds the source that a domain's directory names, or says what is wrong.
func (r *reader) outsideNamed(at mistakes.Place, name string) bool {
	var names []string
	for _, one := range r.config.Outsides {
		names = append(names, one.Name)
	}
	if slices.Contains(names, name) {
		return true
	}
	remedy := wording.Suggest(name, names)
	if len(names) == 0 {
		remedy = "add [source." + name + "]"
	}
	r.Fail(at, "%s is not a source of this file; %s", wording.Quote(name), remedy)
	return false
}
