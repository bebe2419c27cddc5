package sqldb

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// Preset is how the list of a product is asked for. Its names are those of Options.
type Preset struct{ Query, MarkQuery, Default string }

// FindPreset returns the preset of a product: "postfixadmin", "iredmail", "mailcow". The
// list is of what the product's own Postfix accepts: mailboxes and aliases that are
// active, in domains that are, and the same in their alias domains. An alias of one
// mailbox has its login. Catch-all addresses are left out. Whom the product has lives here.
func FindPreset(name string) (Preset, error) {
	p, known := presets[name]
	if !known {
		return Preset{}, fmt.Errorf("the SQL preset %q is not known; it is one of %s", name, strings.Join(slices.Sorted(maps.Keys(presets)), ", "))
	}
	return Preset{Query: withAliasDomains(p.list), MarkQuery: markQuery(p.states), Default: "here"}, nil
}

// A list gives address, login, kind and the domain, each but the login in lower case. The
// words are those that PostgreSQL, MySQL and SQLite have in common; whether active is a
// number or a truth, it is '1' to each of them.
var presets = map[string]struct {
	list   string
	states []state
}{
	"postfixadmin": {
		list: mailboxes("'user'", "m.active = '1'") + aliases("active = '1'", "m.username", ""),
		states: []state{
			{"mailbox", "MAX(modified)"}, {"alias", "MAX(modified)"}, {"domain", "MAX(modified)"}, {"alias_domain", "MAX(modified)"},
		},
	},
	"iredmail": {
		list: mailboxes("'user'", "m.active = '1' AND m.enabledeliver = '1'") + `
UNION ALL
SELECT LOWER(f.address), CASE WHEN COUNT(*) = 1 THEN MIN(f.forwarding) ELSE '' END, 'user', LOWER(f.domain)
FROM forwardings f JOIN domain d ON d.domain = f.domain
WHERE f.is_alias = '1' AND f.active = '1' AND d.active = '1' AND f.address LIKE '_%@%'
AND NOT EXISTS (SELECT 1 FROM mailbox x WHERE x.username = f.address)
AND NOT EXISTS (SELECT 1 FROM alias x WHERE x.address = f.address)
GROUP BY f.address, f.domain` + groups("alias") + groups("maillists"),
		states: []state{
			{"mailbox", "MAX(modified)"}, {"alias", "MAX(modified)"}, {"maillists", "MAX(modified)"}, {"domain", "MAX(modified)"},
			{"alias_domain", "MAX(modified)"}, {"forwardings", "MAX(id)"}, {"forwardings", "SUM(active)"},
			// Who is set inactive by a statement of SQL has no other time for it.
			{"mailbox", "SUM(active)"}, {"mailbox", "SUM(enabledeliver)"}, {"alias", "SUM(active)"}, {"maillists", "SUM(active)"},
			{"domain", "SUM(active)"}, {"alias_domain", "SUM(active)"},
		},
	},
	// An account that may not log in, and an alias that is not shown, are active = 2. A
	// passing address is listed until mailcow removes it: Postfix itself knows its end.
	"mailcow": {
		list: mailboxes("CASE WHEN m.kind = 'group' THEN 'group' WHEN m.kind IN ('location', 'thing') THEN 'room' ELSE 'user' END",
			"m.active IN ('1', '2')") + aliases("active IN ('1', '2')", mailcowOwner, "CROSS JOIN (SELECT 1 AS sender_allowed) before_that") + `
UNION ALL
SELECT LOWER(s.address), COALESCE(m.username, ''), 'user', ''
FROM spamalias s LEFT JOIN mailbox m ON m.username = s.goto
WHERE s.address LIKE '_%@%' AND NOT EXISTS (SELECT 1 FROM alias x WHERE x.address = s.address)`,
		states: []state{
			{"mailbox", "MAX(modified)"}, {"mailbox", "MAX(created)"}, {"alias", "MAX(modified)"}, {"alias", "MAX(created)"},
			{"domain", "MAX(modified)"}, {"domain", "MAX(created)"}, {"alias_domain", "MAX(modified)"}, {"alias_domain", "MAX(created)"},
			{"spamalias", "MAX(address)"},
		},
	},
}

// mailboxes lists the table that PostfixAdmin made and its descendants kept.
func mailboxes(kind, active string) string {
	return `SELECT LOWER(m.username) AS address, m.username AS login, ` + kind + ` AS kind, LOWER(m.domain) AS domain
FROM mailbox m JOIN domain d ON d.domain = m.domain
WHERE ` + active + ` AND d.active = '1'`
}

// mailcowOwner is the login of an alias's one mailbox, unless it may not write as the alias. Of
// a mailcow from before aliases had that column, the name means that of the table which is
// joined in its stead.
const mailcowOwner = "CASE WHEN (SELECT sender_allowed FROM alias v WHERE v.address = a.address) = '0' THEN '' ELSE m.username END"

// aliases lists PostfixAdmin's table of aliases. Each mailbox has a row there, too, which
// says where else its mail goes; it counts by itself where the mailbox is not active. Owner is
// the login of an alias's one mailbox, and with a table that it needs.
func aliases(active, owner, with string) string {
	return `
UNION ALL
SELECT LOWER(a.address), COALESCE(` + owner + `, ''),
CASE WHEN m.username IS NOT NULL THEN 'user' WHEN a.goto LIKE '%,%' THEN 'group' ELSE '' END, LOWER(a.domain)
FROM alias a JOIN domain d ON d.domain = a.domain LEFT JOIN mailbox m ON m.username = a.goto ` + with + `
WHERE a.` + active + ` AND d.active = '1' AND a.address LIKE '_%@%' AND a.goto <> a.address
AND NOT EXISTS (SELECT 1 FROM mailbox x WHERE x.username = a.address AND x.` + active + ")"
}

// groups lists one of iRedMail's tables of them.
func groups(table string) string {
	return `
UNION ALL
SELECT LOWER(g.address), '', 'group', LOWER(g.domain)
FROM ` + table + ` g JOIN domain d ON d.domain = g.domain
WHERE g.active = '1' AND d.active = '1' AND g.address LIKE '_%@%'`
}

// withAliasDomains adds to a list what it lists in alias domains. What is there by itself
// comes first.
func withAliasDomains(list string) string {
	const address = "REPLACE(u.address, CONCAT('@', u.domain), CONCAT('@', LOWER(s.alias_domain)))"
	return "SELECT address, login, kind FROM (" + list + `) l
UNION ALL
SELECT ` + address + `, u.login, u.kind FROM (` + list + `) u
JOIN alias_domain s ON s.target_domain = u.domain JOIN domain e ON e.domain = s.alias_domain
WHERE s.active = '1' AND e.active = '1'
AND NOT EXISTS (SELECT 1 FROM mailbox y WHERE y.username = ` + address + `)
AND NOT EXISTS (SELECT 1 FROM alias y WHERE y.address = ` + address + ")"
}

// state is a value that changes when a table does.
type state struct{ table, value string }

// markQuery asks for the states, and for the number of rows of each table. All are texts,
// and so have no order: each goes back when a row is removed, too.
func markQuery(states []state) string {
	var columns []string
	for i, s := range states {
		columns = append(columns, fmt.Sprintf("(SELECT CONCAT(%s, '') FROM %s) AS %[2]s_%d", s.value, s.table, i))
	}
	tables := make(map[string]bool)
	for _, s := range states {
		tables[s.table] = true
	}
	for _, table := range slices.Sorted(maps.Keys(tables)) {
		columns = append(columns, fmt.Sprintf("(SELECT CONCAT(COUNT(*), '') FROM %s) AS %[1]s_rows", table))
	}
	return "SELECT " + strings.Join(columns, ",\n")
}
