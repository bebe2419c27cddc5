package sqldb

import (
	"maps"
	"slices"
	"strings"
	"testing"
)

// product is a database as a product makes it, with those columns only that matter for
// who lives there. The words {BOOL} and {TIME} stand for each database's own types.
type product struct {
	preset string
	tables string
	rows   string
	want   []string
	// changes are statements, one a line, each of which the mark must show.
	changes string
	drivers []string
}

var products = []product{
	{
		preset:  "postfixadmin",
		drivers: []string{Postgres, MySQL, SQLite},
		// As of its schema 1849, with two-factor secrets.
		tables: `CREATE TABLE domain (domain varchar(255) NOT NULL PRIMARY KEY, description varchar(255) NOT NULL DEFAULT '', aliases int NOT NULL DEFAULT 0, mailboxes int NOT NULL DEFAULT 0,
maxquota bigint NOT NULL DEFAULT 0, quota bigint NOT NULL DEFAULT 0, transport varchar(255) NOT NULL DEFAULT '', backupmx {BOOL}, created {TIME}, modified {TIME}, active {BOOL}, password_expiry int DEFAULT 0);
CREATE TABLE alias_domain (alias_domain varchar(255) NOT NULL PRIMARY KEY, target_domain varchar(255) NOT NULL, created {TIME}, modified {TIME}, active {BOOL});
CREATE TABLE mailbox (username varchar(255) NOT NULL PRIMARY KEY, password varchar(255) NOT NULL DEFAULT '', name varchar(255) NOT NULL DEFAULT '', maildir varchar(255) NOT NULL DEFAULT '', quota bigint NOT NULL DEFAULT 0,
local_part varchar(255) NOT NULL, domain varchar(255) NOT NULL, created {TIME}, modified {TIME}, active {BOOL}, phone varchar(30) NOT NULL DEFAULT '', email_other varchar(255) NOT NULL DEFAULT '',
token varchar(255) NOT NULL DEFAULT '', token_validity {TIME}, password_expiry {TIME}, totp_secret varchar(255) DEFAULT NULL);
CREATE TABLE alias (address varchar(255) NOT NULL PRIMARY KEY, goto text NOT NULL, domain varchar(255) NOT NULL, created {TIME}, modified {TIME}, active {BOOL});`,
		rows: `INSERT INTO domain (domain, active) VALUES ('ALL', '1'), ('acmecorp.com', '1'), ('twin.example', '1'), ('off.example', '0'), ('gone.example', '0');
INSERT INTO alias_domain (alias_domain, target_domain, active) VALUES ('twin.example', 'acmecorp.com', '1'), ('gone.example', 'acmecorp.com', '1');
INSERT INTO mailbox (username, local_part, domain, active) VALUES ('alice@acmecorp.com', 'alice', 'acmecorp.com', '1'), ('bob@acmecorp.com', 'bob', 'acmecorp.com', '0'),
('left@acmecorp.com', 'left', 'acmecorp.com', '0'), ('off@off.example', 'off', 'off.example', '1');
INSERT INTO alias (address, goto, domain, active) VALUES ('alice@acmecorp.com', 'alice@acmecorp.com,alice#acmecorp.com@autoreply.example', 'acmecorp.com', '1'),
('bob@acmecorp.com', 'bob@acmecorp.com', 'acmecorp.com', '1'), ('left@acmecorp.com', 'left@elsewhere.example', 'acmecorp.com', '1'), ('sales@acmecorp.com', 'alice@acmecorp.com', 'acmecorp.com', '1'),
('all@acmecorp.com', 'alice@acmecorp.com,bob@acmecorp.com', 'acmecorp.com', '1'), ('old@acmecorp.com', 'alice@acmecorp.com', 'acmecorp.com', '0'), ('@acmecorp.com', 'alice@acmecorp.com', 'acmecorp.com', '1'),
('away@acmecorp.com', 'away@elsewhere.example', 'acmecorp.com', '1'), ('sales@twin.example', 'bob@acmecorp.com,alice@acmecorp.com', 'twin.example', '1'), ('x@off.example', 'alice@acmecorp.com', 'off.example', '1');`,
		want: []string{
			"alice@acmecorp.com | here | alice@acmecorp.com |  | user",
			"alice@twin.example | here | alice@acmecorp.com |  | user",
			"all@acmecorp.com | here |  |  | group",
			"all@twin.example | here |  |  | group",
			"away@acmecorp.com | here |  |  | ",
			"away@twin.example | here |  |  | ",
			"left@acmecorp.com | here |  |  | ",
			"left@twin.example | here |  |  | ",
			"sales@acmecorp.com | here | alice@acmecorp.com |  | user",
			"sales@twin.example | here |  |  | group",
		},
		changes: `UPDATE mailbox SET active = '1', modified = '2026-05-06 07:08:09' WHERE username = 'bob@acmecorp.com'
DELETE FROM alias WHERE address = 'all@acmecorp.com'
INSERT INTO alias_domain (alias_domain, target_domain, active) VALUES ('new.example', 'acmecorp.com', '1')
UPDATE domain SET active = '0', modified = '2026-05-06 07:08:09' WHERE domain = 'twin.example'`,
	},
	{
		preset:  "iredmail",
		drivers: []string{Postgres, MySQL},
		tables: `CREATE TABLE domain (domain varchar(255) NOT NULL PRIMARY KEY, backupmx smallint NOT NULL DEFAULT 0, modified {TIME}, active smallint NOT NULL DEFAULT 1);
CREATE TABLE alias_domain (alias_domain varchar(255) NOT NULL PRIMARY KEY, target_domain varchar(255) NOT NULL, modified {TIME}, active smallint NOT NULL DEFAULT 1);
CREATE TABLE mailbox (username varchar(255) NOT NULL PRIMARY KEY, domain varchar(255) NOT NULL, enabledeliver smallint NOT NULL DEFAULT 1, modified {TIME}, active smallint NOT NULL DEFAULT 1);
CREATE TABLE alias (address varchar(255) NOT NULL PRIMARY KEY, domain varchar(255) NOT NULL, modified {TIME}, active smallint NOT NULL DEFAULT 1);
CREATE TABLE maillists (id bigint NOT NULL PRIMARY KEY, address varchar(255) NOT NULL UNIQUE, domain varchar(255) NOT NULL, modified {TIME}, active smallint NOT NULL DEFAULT 1);
CREATE TABLE forwardings (id bigint NOT NULL PRIMARY KEY, address varchar(255) NOT NULL, forwarding varchar(255) NOT NULL, domain varchar(255) NOT NULL,
is_maillist smallint NOT NULL DEFAULT 0, is_list smallint NOT NULL DEFAULT 0, is_forwarding smallint NOT NULL DEFAULT 0, is_alias smallint NOT NULL DEFAULT 0, active smallint NOT NULL DEFAULT 1);`,
		rows: `INSERT INTO domain (domain, active) VALUES ('acmecorp.com', 1), ('twin.example', 1), ('off.example', 0);
INSERT INTO alias_domain (alias_domain, target_domain) VALUES ('twin.example', 'acmecorp.com');
INSERT INTO mailbox (username, domain, enabledeliver, active) VALUES ('alice@acmecorp.com', 'acmecorp.com', 1, 1), ('bob@acmecorp.com', 'acmecorp.com', 1, 0), ('mute@acmecorp.com', 'acmecorp.com', 0, 1), ('off@off.example', 'off.example', 1, 1);
INSERT INTO alias (address, domain, active) VALUES ('all@acmecorp.com', 'acmecorp.com', 1), ('none@acmecorp.com', 'acmecorp.com', 0);
INSERT INTO maillists (id, address, domain) VALUES (1, 'news@acmecorp.com', 'acmecorp.com');
INSERT INTO forwardings (id, address, forwarding, domain, is_forwarding) VALUES (1, 'alice@acmecorp.com', 'alice@acmecorp.com', 'acmecorp.com', 1), (2, 'acmecorp.com', 'alice@acmecorp.com', 'acmecorp.com', 0);
INSERT INTO forwardings (id, address, forwarding, domain, is_list) VALUES (3, 'all@acmecorp.com', 'alice@acmecorp.com', 'acmecorp.com', 1), (4, 'all@acmecorp.com', 'bob@acmecorp.com', 'acmecorp.com', 1);
INSERT INTO forwardings (id, address, forwarding, domain, is_alias, active) VALUES (5, 'sales@acmecorp.com', 'alice@acmecorp.com', 'acmecorp.com', 1, 1), (6, 'old@acmecorp.com', 'alice@acmecorp.com', 'acmecorp.com', 1, 0),
(7, 'two@acmecorp.com', 'alice@acmecorp.com', 'acmecorp.com', 1, 1), (8, 'two@acmecorp.com', 'mute@acmecorp.com', 'acmecorp.com', 1, 1);`,
		want: []string{
			"alice@acmecorp.com | here | alice@acmecorp.com |  | user",
			"alice@twin.example | here | alice@acmecorp.com |  | user",
			"all@acmecorp.com | here |  |  | group",
			"all@twin.example | here |  |  | group",
			"news@acmecorp.com | here |  |  | group",
			"news@twin.example | here |  |  | group",
			"sales@acmecorp.com | here | alice@acmecorp.com |  | user",
			"sales@twin.example | here | alice@acmecorp.com |  | user",
			"two@acmecorp.com | here |  |  | user",
			"two@twin.example | here |  |  | user",
		},
		changes: `UPDATE forwardings SET active = 1 WHERE id = 6
DELETE FROM forwardings WHERE id = 5
INSERT INTO forwardings (id, address, forwarding, domain, is_alias) VALUES (9, 'new@acmecorp.com', 'alice@acmecorp.com', 'acmecorp.com', 1)
DELETE FROM maillists
UPDATE mailbox SET active = 0 WHERE username = 'alice@acmecorp.com'
UPDATE mailbox SET enabledeliver = 1 WHERE username = 'mute@acmecorp.com'
UPDATE alias SET active = 0 WHERE address = 'all@acmecorp.com'
UPDATE alias_domain SET active = 0
UPDATE domain SET active = 0 WHERE domain = 'twin.example'
UPDATE mailbox SET active = 1, modified = '2026-05-06 07:08:09' WHERE username = 'bob@acmecorp.com'`,
	},
	{
		preset:  "mailcow",
		drivers: []string{MySQL},
		// As of its schema of June 2026.
		tables: `CREATE TABLE domain (domain varchar(255) NOT NULL PRIMARY KEY, description varchar(255), aliases int NOT NULL DEFAULT 0, mailboxes int NOT NULL DEFAULT 0, defquota bigint NOT NULL DEFAULT 3072,
maxquota bigint NOT NULL DEFAULT 102400, quota bigint NOT NULL DEFAULT 102400, relayhost varchar(255) NOT NULL DEFAULT '0', backupmx tinyint(1) NOT NULL DEFAULT 0, gal tinyint(1) NOT NULL DEFAULT 1,
relay_all_recipients tinyint(1) NOT NULL DEFAULT 0, relay_unknown_only tinyint(1) NOT NULL DEFAULT 0, created {TIME}, modified datetime, active tinyint(1) NOT NULL DEFAULT 1);
CREATE TABLE alias_domain (alias_domain varchar(255) NOT NULL PRIMARY KEY, target_domain varchar(255) NOT NULL, created {TIME}, modified datetime, active tinyint(1) NOT NULL DEFAULT 1);
CREATE TABLE mailbox (username varchar(255) NOT NULL PRIMARY KEY, password varchar(255) NOT NULL DEFAULT '', name varchar(255), description varchar(255), mailbox_path_prefix varchar(150) DEFAULT '/var/vmail/',
quota bigint NOT NULL DEFAULT 102400, local_part varchar(255) NOT NULL DEFAULT '', domain varchar(255) NOT NULL, attributes text, custom_attributes text, kind varchar(100) NOT NULL DEFAULT '',
multiple_bookings int NOT NULL DEFAULT -1, authsource varchar(20) DEFAULT 'mailcow', created {TIME}, modified datetime, active tinyint(1) NOT NULL DEFAULT 1);
CREATE TABLE alias (id int NOT NULL PRIMARY KEY, address varchar(255) NOT NULL UNIQUE, goto text NOT NULL, domain varchar(255) NOT NULL, created {TIME}, modified datetime, private_comment text, public_comment text,
sogo_visible tinyint(1) NOT NULL DEFAULT 1, internal tinyint(1) NOT NULL DEFAULT 0, sender_allowed tinyint(1) NOT NULL DEFAULT 1, active tinyint(1) NOT NULL DEFAULT 1);
CREATE TABLE spamalias (address varchar(255) NOT NULL PRIMARY KEY, goto text NOT NULL, description varchar(255) NOT NULL DEFAULT '', created {TIME}, modified datetime, validity int, permanent tinyint(1) NOT NULL DEFAULT 0);`,
		rows: `INSERT INTO domain (domain, active) VALUES ('acmecorp.com', 1), ('twin.example', 1), ('off.example', 0);
INSERT INTO alias_domain (alias_domain, target_domain) VALUES ('twin.example', 'acmecorp.com');
INSERT INTO mailbox (username, domain, kind, active) VALUES ('alice@acmecorp.com', 'acmecorp.com', '', 1), ('bob@acmecorp.com', 'acmecorp.com', '', 0), ('mute@acmecorp.com', 'acmecorp.com', '', 2),
('hall@acmecorp.com', 'acmecorp.com', 'location', 1), ('beamer@acmecorp.com', 'acmecorp.com', 'thing', 1), ('board@acmecorp.com', 'acmecorp.com', 'group', 1);
INSERT INTO alias (id, address, goto, domain, active) VALUES (1, 'alice@acmecorp.com', 'alice@acmecorp.com', 'acmecorp.com', 1), (2, 'sales@acmecorp.com', 'alice@acmecorp.com', 'acmecorp.com', 2),
(3, 'all@acmecorp.com', 'alice@acmecorp.com,mute@acmecorp.com', 'acmecorp.com', 1), (4, '@acmecorp.com', 'alice@acmecorp.com', 'acmecorp.com', 1), (5, 'old@acmecorp.com', 'alice@acmecorp.com', 'acmecorp.com', 0),
(6, 'drop@acmecorp.com', 'null@localhost', 'acmecorp.com', 1), (7, 'mute@acmecorp.com', 'mute@acmecorp.com', 'acmecorp.com', 1);
INSERT INTO alias (id, address, goto, domain, internal, sender_allowed) VALUES (8, 'inside@acmecorp.com', 'alice@acmecorp.com', 'acmecorp.com', 1, 1), (9, 'mask@acmecorp.com', 'alice@acmecorp.com', 'acmecorp.com', 0, 0);
INSERT INTO spamalias (address, goto, validity, permanent) VALUES ('k3z9@acmecorp.com', 'alice@acmecorp.com', 1900000000, 0), ('stays@acmecorp.com', 'alice@acmecorp.com', NULL, 1);`,
		want: []string{
			"alice@acmecorp.com | here | alice@acmecorp.com |  | user",
			"alice@twin.example | here | alice@acmecorp.com |  | user",
			"all@acmecorp.com | here |  |  | group",
			"all@twin.example | here |  |  | group",
			"beamer@acmecorp.com | here | beamer@acmecorp.com |  | room",
			"beamer@twin.example | here | beamer@acmecorp.com |  | room",
			"board@acmecorp.com | here | board@acmecorp.com |  | group",
			"board@twin.example | here | board@acmecorp.com |  | group",
			"drop@acmecorp.com | here |  |  | ",
			"drop@twin.example | here |  |  | ",
			"hall@acmecorp.com | here | hall@acmecorp.com |  | room",
			"hall@twin.example | here | hall@acmecorp.com |  | room",
			"inside@acmecorp.com | here | alice@acmecorp.com |  | user",
			"inside@twin.example | here | alice@acmecorp.com |  | user",
			"k3z9@acmecorp.com | here | alice@acmecorp.com |  | user",
			"mask@acmecorp.com | here |  |  | user",
			"mask@twin.example | here |  |  | user",
			"mute@acmecorp.com | here | mute@acmecorp.com |  | user",
			"mute@twin.example | here | mute@acmecorp.com |  | user",
			"sales@acmecorp.com | here | alice@acmecorp.com |  | user",
			"sales@twin.example | here | alice@acmecorp.com |  | user",
			"stays@acmecorp.com | here | alice@acmecorp.com |  | user",
		},
		changes: `UPDATE mailbox SET active = 1, modified = '2026-05-06 07:08:09' WHERE username = 'bob@acmecorp.com'
DELETE FROM spamalias WHERE address = 'k3z9@acmecorp.com'
UPDATE alias SET sender_allowed = 1, modified = '2026-05-06 07:08:09' WHERE id = 9
DELETE FROM alias_domain; INSERT INTO alias_domain (alias_domain, target_domain, created) VALUES ('other.example', 'acmecorp.com', '2026-05-06 07:08:09')
DELETE FROM domain WHERE domain = 'off.example'; INSERT INTO domain (domain, created) VALUES ('new.example', '2026-05-06 07:08:09')
DELETE FROM spamalias; INSERT INTO spamalias (address, goto) VALUES ('a1@acmecorp.com', 'alice@acmecorp.com')
INSERT INTO alias (id, address, goto, domain, created) VALUES (10, 'new@acmecorp.com', 'bob@acmecorp.com', 'acmecorp.com', '2026-05-06 07:08:09')`,
	},
	{
		preset:  "mailcow",
		drivers: []string{MySQL},
		// As it was before an alias could be kept from sending.
		tables: `CREATE TABLE domain (domain varchar(255) NOT NULL PRIMARY KEY, backupmx tinyint(1) NOT NULL DEFAULT 0, created {TIME}, modified {TIME}, active tinyint(1) NOT NULL DEFAULT 1);
CREATE TABLE alias_domain (alias_domain varchar(255) NOT NULL PRIMARY KEY, target_domain varchar(255) NOT NULL, created {TIME}, modified {TIME}, active tinyint(1) NOT NULL DEFAULT 1);
CREATE TABLE mailbox (username varchar(255) NOT NULL PRIMARY KEY, domain varchar(255) NOT NULL, kind varchar(100) NOT NULL DEFAULT '', created {TIME}, modified {TIME}, active tinyint(1) NOT NULL DEFAULT 1);
CREATE TABLE alias (id int NOT NULL PRIMARY KEY, address varchar(255) NOT NULL UNIQUE, goto text NOT NULL, domain varchar(255) NOT NULL, created {TIME}, modified {TIME}, active tinyint(1) NOT NULL DEFAULT 1);
CREATE TABLE spamalias (address varchar(255) NOT NULL PRIMARY KEY, goto text NOT NULL, validity int);`,
		rows: `INSERT INTO domain (domain, active) VALUES ('acmecorp.com', 1), ('twin.example', 1), ('off.example', 0);
INSERT INTO alias_domain (alias_domain, target_domain) VALUES ('twin.example', 'acmecorp.com');
INSERT INTO mailbox (username, domain, kind, active) VALUES ('alice@acmecorp.com', 'acmecorp.com', '', 1), ('bob@acmecorp.com', 'acmecorp.com', '', 0), ('mute@acmecorp.com', 'acmecorp.com', '', 2),
('hall@acmecorp.com', 'acmecorp.com', 'location', 1), ('beamer@acmecorp.com', 'acmecorp.com', 'thing', 1), ('board@acmecorp.com', 'acmecorp.com', 'group', 1);
INSERT INTO alias (id, address, goto, domain, active) VALUES (1, 'alice@acmecorp.com', 'alice@acmecorp.com', 'acmecorp.com', 1), (2, 'sales@acmecorp.com', 'alice@acmecorp.com', 'acmecorp.com', 2),
(3, 'all@acmecorp.com', 'alice@acmecorp.com,mute@acmecorp.com', 'acmecorp.com', 1), (4, '@acmecorp.com', 'alice@acmecorp.com', 'acmecorp.com', 1), (5, 'old@acmecorp.com', 'alice@acmecorp.com', 'acmecorp.com', 0),
(6, 'drop@acmecorp.com', 'null@localhost', 'acmecorp.com', 1), (7, 'mute@acmecorp.com', 'mute@acmecorp.com', 'acmecorp.com', 1);
INSERT INTO spamalias (address, goto, validity) VALUES ('k3z9@acmecorp.com', 'alice@acmecorp.com', 1900000000);`,
		want: []string{
			"alice@acmecorp.com | here | alice@acmecorp.com |  | user",
			"alice@twin.example | here | alice@acmecorp.com |  | user",
			"all@acmecorp.com | here |  |  | group",
			"all@twin.example | here |  |  | group",
			"beamer@acmecorp.com | here | beamer@acmecorp.com |  | room",
			"beamer@twin.example | here | beamer@acmecorp.com |  | room",
			"board@acmecorp.com | here | board@acmecorp.com |  | group",
			"board@twin.example | here | board@acmecorp.com |  | group",
			"drop@acmecorp.com | here |  |  | ",
			"drop@twin.example | here |  |  | ",
			"hall@acmecorp.com | here | hall@acmecorp.com |  | room",
			"hall@twin.example | here | hall@acmecorp.com |  | room",
			"k3z9@acmecorp.com | here | alice@acmecorp.com |  | user",
			"mute@acmecorp.com | here | mute@acmecorp.com |  | user",
			"mute@twin.example | here | mute@acmecorp.com |  | user",
			"sales@acmecorp.com | here | alice@acmecorp.com |  | user",
			"sales@twin.example | here | alice@acmecorp.com |  | user",
		},
		changes: `UPDATE mailbox SET active = 1, modified = '2026-05-06 07:08:09' WHERE username = 'bob@acmecorp.com'
DELETE FROM spamalias
INSERT INTO alias (id, address, goto, domain, created) VALUES (8, 'new@acmecorp.com', 'bob@acmecorp.com', 'acmecorp.com', '2026-05-06 07:08:09')`,
	},
}

// typesOf are the types of a database that products differ in.
func typesOf(driver string) *strings.Replacer {
	if driver == Postgres {
		return strings.NewReplacer("{BOOL}", "boolean NOT NULL DEFAULT true", "{TIME}", "timestamp with time zone DEFAULT '2000-01-01'")
	}
	return strings.NewReplacer("{BOOL}", "tinyint(1) NOT NULL DEFAULT '1'", "{TIME}", "datetime DEFAULT '2000-01-01'")
}

// checkPreset has a preset read a database which exec writes.
func checkPreset(t *testing.T, p product, o Options, exec func(t testing.TB, sql string)) {
	t.Helper()
	preset, err := FindPreset(p.preset)
	if err != nil {
		t.Fatal(err)
	}
	o.Query, o.MarkQuery, o.Default = preset.Query, preset.MarkQuery, preset.Default
	exec(t, typesOf(o.Driver).Replace(p.tables))
	empty := mark(t, o)
	if got, err := collect(t, o); err != nil || len(got) != 0 {
		t.Errorf("of an empty database: %q, %v", got, err)
	}
	exec(t, p.rows)
	compare(t, list(t, o), p.want)
	before := mark(t, o)
	if !before.Same(mark(t, o)) || before.Same(empty) || before.WentBack(empty) {
		t.Errorf("the mark was %q and is %q", empty, before)
	}
	for change := range strings.Lines(p.changes) {
		exec(t, change+";")
		after := mark(t, o)
		if after.Same(before) || after.WentBack(before) || before.WentBack(after) {
			t.Errorf("%s: the mark was %q and is %q", change, before, after)
		}
		before = after
	}
	for _, table := range []string{"mailbox", "alias", "domain", "alias_domain", "forwardings", "maillists", "spamalias"} {
		if strings.Contains(p.tables, "CREATE TABLE "+table+" ") {
			exec(t, "DROP TABLE "+table+";")
		}
	}
}

// The words of the presets are those that SQLite knows, too.
func TestPresetsListWhatTheProductAccepts(t *testing.T) {
	for _, p := range products {
		t.Run(p.preset, func(t *testing.T) {
			path := file(t)
			checkPreset(t, p, Options{Driver: SQLite, Database: path}, func(t testing.TB, sql string) { fill(t, path, sql) })
		})
	}
}

func TestAPresetThatIsNotKnownNamesThoseThatAre(t *testing.T) {
	_, err := FindPreset("exim")
	wantWords(t, err, `"exim" is not known; it is one of iredmail, mailcow, postfixadmin`)
	for _, name := range slices.Sorted(maps.Keys(presets)) {
		if !slices.ContainsFunc(products, func(p product) bool { return p.preset == name }) {
			t.Errorf("no database tries %s", name)
		}
	}
}
