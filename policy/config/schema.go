package config

import (
	"slices"
	"strings"
	"time"

	"coexistd/policy/config/sockets"
	"coexistd/policy/networks"
	"coexistd/policy/rate"
	"coexistd/policy/verdict"
)

// The schema has every key of the file once. Of it are made: the strict reading
// (table.read), the reference in contrib/docs/configuration.md, the schema for editors in
// contrib/coexistd.schema.json, and the default file (Default). What holds between keys is
// code, in a file for each section.

// key is what may be said in one place of the file.
type key struct {
	name    string
	kind    kind
	usual   any    // what holds when nothing is said, as the file would say it; nil: nothing
	usually string // the same in words, where it hangs on other things
	missing string // why it must be said, and how; "": it may be left out
	example string // as the file would say it, where the usual value does not show it
	meaning string // in Markdown, for the reference
}

// section is one table of the file.
type section struct {
	path   string // its key; "*" is a name that the administrator gives
	header string // how it is written, for one
	about  string
	keys   []key
}

// Bounds of more than one section, or that code goes by.
const (
	maxAddresses = 16
	maxServices  = 1000
	maxPer       = 366 * day
)

// What a scanner's settings can be.
var (
	scanTime  = duration(time.Second, 10*time.Minute)
	scanSize  = size(1<<10, 2<<30)
	scans     = number(1, 1000)
	addresses = list(allowAddress, rules{empty: "is empty; name at least one, or leave it out for any"})
	prefixes  = alone(networks.ParsePrefix)
	endings   = list(alone(extension), rules{twice: dropped})
	bound     = number(0, 1_000_000)
	spoofed   = choice("a verdict of spoof", verdict.Accept, verdict.Tag, verdict.Quarantine, verdict.Reject)
)

var schema = []section{
	{path: "", about: "the whole", keys: []key{
		{name: "hostname", kind: text(aString, alone(hostname)), usually: "the host's name", example: `"mail.example.com"`,
			meaning: "this system's name in trace headers and in `Authentication-Results`: a field of that kind in this name is removed from each message that comes"},
		{name: "our_networks", kind: texts(rules{}), example: `["127.0.0.0/8", "::1"]`,
			meaning: "clients that are ours without authentication: S2. A list of CIDR networks and addresses, as in Postfix's `mynetworks`; a platform's are refused. `ddos` does not bound them"},
		{name: "our_certificates", kind: texts(rules{most: 1000, what: "names"}), example: `["relay.example.com"]`,
			meaning: "the common names of TLS client certificates whose bearers are ours without a login: S2. The MTA must ask for certificates and trust their issuer. `mail.protection.outlook.com`, which Office 365 shows for every tenant, is refused"},
		{name: "resolver", kind: oneOrMore(alone(sockets.Resolver), rules{empty: "names no server; leave it out for the system's own", most: 8, what: "servers", twice: refused}),
			usually: "the system's", example: `["127.0.0.1"]`,
			meaning: "the DNS servers that are asked for SPF, DKIM, DMARC and `spf:` lists, tried in order: `\"127.0.0.1\"`, `\"[::1]:5353\"`, or a list of up to 8. IP addresses; the port is 53 unless said"},
		{name: "state_dir", kind: text(aString, stateDir), usual: usualStateDir, meaning: "holds the key that signs trace headers, and the quarantine. It is made when it is missing"},
		{name: "secret_file", kind: text(aString, secretFile), usually: "made in `state_dir`", example: `"secret.key"`,
			meaning: "a key file of 32 bytes or more, not readable by others; hosts that share a domain share it"},
		{name: "max_connections", kind: number(1, 100_000), usual: 1000,
			meaning: "milter connections at once, over all listeners, and as many for lookups. When more come, silent ones give way ([behaviour](behaviour.md#silent-connections)). Changing it needs a restart"},
		{name: "recipient_delimiter", kind: text(aString, alone(delimiters)), usual: "+", meaning: "the characters that begin a subaddress's tag; `\"\"` for none. Set it as the MTA's"},
		{name: "max_passes", kind: number(1, 20), usual: 3, meaning: "how often a message is sent on for one recipient before it counts as looping"},
		{name: "outbound", kind: text(aString, as[string]), usual: "here",
			meaning: "a platform's name when all mail for the Internet leaves through it; shown in flows. The MTA is told by its `relayhost`. Not a platform with `may_relay`: its mail would go round"},
		{name: "header", kind: orEmpty(headerName("X-Coexist-Result", "the result header")), example: `"X-Coexist-Result"`,
			meaning: "the name of a header that is put into each message; those that a message brings along are removed. It says `point=S0; verdict=accept; id=QUEUEID`"},
		{name: "log_subject", kind: boolean(), usual: false, meaning: "has the log tell each message's subject, cut and made harmless. Its Message-Id is there in any case"},
	}},
	{path: "listen", header: "[[listen]]", about: "a milter socket for the MTA; at least one", keys: []key{
		{name: "address", kind: text(aString, as[string]), missing: sockets.Like, example: `"inet:127.0.0.1:8701"`,
			meaning: "`inet:host:port` or `unix:/path`, such as `inet:127.0.0.1:8701`"},
		{name: "checkpoint", kind: text(aString, alone(entryPoint)), usually: "decided for each message", example: `"S2"`,
			meaning: "`S0`: all mail here is from the Internet; `S1`: from a platform, if it proves it, else S0; `S2`: from our users"},
		{name: "mode", kind: text(aString, alone(sockets.ParseMode)), usual: "0660", meaning: "the unix socket's permissions; refused for `inet`, ignored when systemd holds the socket"},
	}},
	{path: "lookup", header: "[[lookup]]", about: "a socket for the MTA's own questions", keys: []key{
		{name: "address", kind: text(aString, as[string]), missing: sockets.Like, example: `"inet:127.0.0.1:8702"`, meaning: "as for `[[listen]]`, such as `inet:127.0.0.1:8702`"},
		{name: "mode", kind: text(aString, alone(sockets.ParseMode)), usual: "0660", meaning: "as for `[[listen]]`"},
	}},
	{path: "control", header: "[control]", about: "the daemon's own socket, for its commands", keys: []key{
		{name: "address", kind: text(aString, controlAddress), usual: usualControl, meaning: "`unix:PATH`; a relative path is in `state_dir`. At most 107 bytes with it"},
	}},
	{path: "platform.*", header: "[platform.office365]", about: "another platform, by a name of yours", keys: []key{
		{name: "networks", kind: texts(rules{}), example: `["spf:spf.protection.outlook.com"]`,
			meaning: "where the platform sends from: CIDR networks, addresses, `\"spf:DOMAIN\"`, the networks that the domain's SPF record names, and `\"file:PATH\"`, a file with one network a line or Microsoft's endpoints list (JSON), of which the entries with TCP port 25 count. A list may be as wide as an IPv4 /8 and an IPv6 /24 in all, and have 10,000 networks. Without networks nothing from the platform is S1; a note says so"},
		{name: "max_age", kind: duration(day, 365*day), usual: "30d",
			meaning: "how old a list by `spf:` or `file:` may grow that cannot be refreshed before a warning is logged; it is used on. SPF records are asked for every hour and after a reload; a changed file is read by itself"},
		{name: "tenant", kind: text(aString, alone(parseTenant)), example: `"3f2504e0-4f89-11d3-9a0c-0305e82c3301"`,
			meaning: "Office 365: our tenant's GUID, which it puts into `X-MS-Exchange-CrossTenant-Id`, but not into every message: have a `proof` by `header`, too ([why](senders.md#mail-without-any-proof))"},
		{name: "proof", kind: anything("tables", "a table, or a list of them"), example: likeProof,
			meaning: "further ways in which a message proves that our tenant sent it; see below. With neither `tenant` nor `proof`, nothing from the platform is S1; a note says so"},
		{name: "may_relay", kind: boolean(), usual: false,
			meaning: "the platform's users may send to the Internet through us, once the tenant is proven; needs `tenant` or `proof`, and a line in [Postfix](../postfix/README.md)"},
		{name: "relay", kind: text(aString, alone(sockets.NextHop)), usually: "by MX", example: `"[mail.example.com]:25"`,
			meaning: "the host that takes the platform's mail, as in Postfix's transport tables: `\"[host]:25\"`. Served by the lookup `transport`"},
	}},
	{path: "platform.*.proof", keys: []key{
		{name: "header", kind: headerName("X-Coexist-Proof", "a header that proves a tenant"),
			meaning: "`{ header = \"X-Coexist-Proof\", secret_file = \"proof.key\" }`: a header that a routing rule over there adds, with the secret as its value. The header is taken out of every message. No two platforms share one"},
		{name: "secret_file", kind: text("a path in quotes", as[string]),
			meaning: "goes with `header`: a file with one line of 16 to 512 printable ASCII characters, not readable by others; white space at its end does not count"},
		{name: "dkim", kind: oneOrMore(alone(domainName), rules{empty: `names no domain; write the one that the platform signs with, like "example.com"`, twice: refused}),
			meaning: "`{ dkim = \"acmecorp.com\" }`: a DKIM signature of this domain that verifies; a list names several. Not of a domain whose mail anybody else signs"},
		{name: "certificate", kind: text("a certificate's common name in quotes", alone(commonName)),
			meaning: "`{ certificate = \"relay.example.com\" }`: the common name of the TLS client certificate, whose issuer the MTA trusts. All tenants of Office 365 share `mail.protection.outlook.com`, so that this proves only the platform; a note says so"},
	}},
	{path: "domain.*", header: `[domain."example.com"]`, about: "a domain of ours; at least one", keys: []key{
		{name: "directory", kind: csvFile(), example: `"users.csv"`, meaning: "the CSV file that says who lives where; several domains may share one"},
		{name: "alternate", kind: inline(`{ office365 = "example-com.onmicrosoft.com" }`), example: `{ office365 = "example-com.onmicrosoft.com" }`,
			meaning: "`{ office365 = \"acmecorp-com.onmicrosoft.com\" }`: for each platform, the domain that reaches the same mailboxes there only. An alternate domain belongs to one domain and one platform, and is not itself a domain of ours"},
		{name: "mx", kind: text(aString, as[string]), usual: "here", meaning: "`\"here\"`, or the platform to which the domain's MX points"},
		{name: "past_mx", kind: choice[word]("known", "accept", "reject"), usual: "accept",
			meaning: "`\"reject\"` refuses Internet mail that comes here although the MX is at a platform; that platform needs `networks`, and `tenant` or `proof`"},
		{name: "unlisted", kind: text(aString, as[string]), usual: "reject", meaning: "where an address lives that the directory lacks: `here`, or a platform's name"},
		{name: "max_loss", kind: text(`a percentage in quotes, like "10%"`, alone(parseShare)), usual: "10%",
			meaning: "a new directory file that drops more of the addresses is refused, unless `max_loss_floor` lets it pass. So is one that drops all of a domain's, where `unlisted` is `\"reject\"`, unless this is `\"100%\"`. When the loss is meant, raise it for one reload, or restart"},
		{name: "max_loss_floor", kind: number(0, 1_000_000), usual: 20,
			meaning: "so many addresses may be dropped at once whatever their share is, as long as they are no more than half: of 5 addresses 1 may go but not 3, of 1,000 at `max_loss = \"1%\"` 15 but not 25. 0 is none"},
	}},
	{path: "checkpoint.*", header: "[checkpoint.S0]", about: "what is checked at a contact point: S0, S1, S2, S3 or S4", keys: []key{
		{name: "checks", kind: texts(rules{}), usually: "see below", example: `["ddos", "spoof", "malware"]`,
			meaning: "a list of the checks that are made, of those that are possible at the point. `\"loop\"` may stand in it; it is made anyway"},
		{name: "report", kind: boolean(), usually: "`true` at S0, else `false`", example: "true",
			meaning: "recipients are told in their daily report of what is held for them at this point"},
	}},
	{path: "check.*", header: "[check.spam]", about: "what follows, for each check; also [checkpoint.POINT.CHECK]", keys: []key{
		{name: "on_hit", kind: choice("a verdict", allVerdicts...), usually: `ddos "tempfail"; auth, spoof and virus "reject"; spam and malware "quarantine"`, example: `"quarantine"`,
			meaning: "what is done when the check finds something. ddos: `accept`, `tempfail` or `reject` only"},
		{name: "tag_at", kind: score(), example: "6", meaning: "spam only: the score from which on a message is tagged. Without any of the three, rspamd's own action counts: `reject` is `on_hit`, `add header` and `rewrite subject` tag, `soft reject` puts off"},
		{name: "quarantine_at", kind: score(), example: "15", meaning: "spam only: the score from which on a message is held; higher than `tag_at`"},
		{name: "reject_at", kind: score(), example: "30", meaning: "spam only: the score from which on a message is refused; higher than `quarantine_at`"},
		{name: "on_error", kind: choice("a verdict", allVerdicts...), usually: `virus "tempfail", malware "quarantine", spam and spoof "accept"`, example: `"accept"`,
			meaning: "what is done when it cannot tell: the scanner or the DNS does not answer, the message is too large for it, or cannot be taken apart. ddos and auth can always tell and do not have it"},
	}},
	{path: "check.malware", header: "[check.malware]", about: "attachments", keys: []key{
		{name: "extensions", kind: endings, usually: "a list of programs, scripts and the like",
			meaning: "the endings of attachments' names that are hits, without the dot. It takes the place of the usual list; `[]` is none"},
		{name: "also", kind: endings, example: `["xll"]`, meaning: "endings that are added to the usual list"},
		{name: "except", kind: endings, example: `["jar"]`, meaning: "endings that are taken out of it"},
		{name: "macros", kind: boolean(), usual: true, meaning: "documents with macros are hits"},
		{name: "encrypted", kind: boolean(), usual: true, meaning: "encrypted archives and documents are hits"},
		{name: "mismatch", kind: boolean(), usual: true, meaning: "a program that passes for an image or a document is a hit"},
		{name: "depth", kind: number(0, 20), usual: 5, meaning: "how many archives and messages within each other are looked into"},
	}},
	{path: "check.ddos", header: "[check.ddos]", about: "what a client may ask of the system; 0 is no bound", keys: []key{
		{name: "connections", kind: bound, usual: 50, meaning: "of one client at once"},
		{name: "connections_network", kind: bound, usually: "200, or `connections` if that is more", example: "200", meaning: "of one network at once"},
		{name: "total", kind: number(0, 100_000), usually: "900, but at most 90 % of `max_connections`", example: "900",
			meaning: "of all clients that are not exempt; at most `max_connections`"},
		{name: "per_minute", kind: bound, usual: 120, meaning: "new connections of one client in a minute"},
		{name: "per_minute_network", kind: bound, usually: "600, or `per_minute` if that is more", example: "600", meaning: "new connections of one network in a minute"},
		{name: "messages", kind: bound, usual: 100, meaning: "messages in one connection"},
		{name: "refused", kind: bound, usual: 20, meaning: "refused recipients in one connection"},
		{name: "unknown", kind: bound, usual: 50, meaning: "unknown recipients that a client asks for in ten minutes, in any number of connections"},
		{name: "exempt", kind: list(prefixes, rules{twice: dropped}), example: `["192.0.2.0/24"]`,
			meaning: "networks for which none of this holds, beside `our_networks`, for which it never does"},
	}},
	{path: "check.spoof", header: "[check.spoof]", about: "who may write in whose name", keys: []key{
		{name: "dmarc", kind: spoofed, usual: "reject",
			meaning: "the strictest that is done with what fails the DMARC policy of its author's domain: `\"reject\"` is as published; `\"quarantine\"`, `\"tag\"` and `\"accept\"` are milder"},
		{name: "spf", kind: spoofed, usual: "tag", meaning: "what is done with what SPF calls a fail, where the domain has no DMARC policy: one of the same"},
		{name: "services", kind: texts(rules{most: maxServices, what: "services"}), example: `["mailer.example", "192.0.2.0/24"]`,
			meaning: "who may send in our domains' names from outside: clients, as `\"192.0.2.0/24\"`, and domains that SPF or DKIM proves, as `\"mailer.example\"`, with those below them. A public suffix such as `github.io`, and a name without a dot, are refused"},
		{name: "delegates", kind: inline(`{ bob = ["sales@example.com"] }`), example: `{ bob = ["sales@example.com"] }`,
			meaning: "what a login may send as beside the addresses that the directory gives it: `{ bob = [\"sales@acmecorp.com\", \"@news.acmecorp.com\"] }`. The case of a login does not matter"},
	}},
	{path: "scanner.clamd", header: "[scanner.clamd]", about: "ClamAV, for the check virus", keys: []key{
		{name: "address", kind: oneOrMore(clamdAddress, rules{empty: "names no server; " + likeClamd, most: maxAddresses, what: "addresses", twice: refused}),
			missing: likeClamd, example: `"unix:/run/clamav/clamd.ctl"`,
			meaning: "`\"unix:/run/clamav/clamd.ctl\"`, `\"inet:127.0.0.1:3310\"`, or a list of such, tried in order"},
		{name: "timeout", kind: scanTime, usual: "30s", meaning: "for one scan"},
		{name: "max_size", kind: scanSize, usual: "25M",
			meaning: "a larger message is not scanned: `on_error`. Not above clamd's `StreamMaxLength`, and not below the MTA's message size limit"},
		{name: "max_scans", kind: scans, usual: 10, meaning: "scans at once. More wait, within their timeout"},
	}},
	{path: "scanner.rspamd", header: "[scanner.rspamd]", about: "rspamd, for the check spam", keys: []key{
		{name: "address", kind: text(`a string in quotes, like "`+likeRspamd+`"`, rspamdAddress), missing: `write it like "` + likeRspamd + `"`,
			example: `"` + likeRspamd + `"`, meaning: "`\"" + likeRspamd + "\"`"},
		{name: "timeout", kind: scanTime, usual: "20s", meaning: "for one scan"},
		{name: "max_size", kind: scanSize, usual: "50M", meaning: "a larger message is not scanned: `on_error`. Not below the MTA's message size limit"},
		{name: "max_scans", kind: scans, usual: 20, meaning: "scans at once. More wait, within their timeout"},
	}},
	{path: "redis", header: "[redis]", about: "where several hosts count together", keys: []key{
		{name: "addresses", kind: list(redisAddress, rules{empty: "names no server; " + likeRedis, most: maxAddresses, what: "addresses", twice: refused}),
			missing: likeRedis, example: `["127.0.0.1:6379"]`,
			meaning: "a list of `\"HOST:PORT\"`: one is a server, several are nodes of a cluster"},
		{name: "master", kind: line("the name that the Sentinels have for the server"), example: `"mymaster"`,
			meaning: "the name that Sentinels have for the server; `addresses` are then those of the Sentinels"},
		{name: "username", kind: line("a user of Redis"), example: `"coexistd"`, meaning: "needs `password_file`"},
		{name: "password_file", kind: text("a path in quotes", redisPassword), example: `"redis.password"`, meaning: "a file with the password as its only line, not readable by others"},
		{name: "tls", kind: boolean(), usual: false, meaning: "connect by TLS"},
	}},
	{path: "rate", header: "[[rate]]", about: "how much may be sent", keys: []key{
		{name: "name", kind: text(aString, as[string]), missing: likeRuleName, example: `"per user"`,
			meaning: "stands in the log and in the limit's keys; each rule has its own. A new name begins a new count"},
		{name: "checkpoints", kind: texts(rules{empty: "is empty, so nothing is counted; name points, or leave it out for all that make the check rate"}),
			usually: "all that make the check rate", example: `["S2"]`,
			meaning: "the points at which it counts, such as `[\"S2\"]`. A message counts once for each rule"},
		{name: "by", kind: choice("something to count for", rate.ByUser, rate.ByClient, rate.BySender, rate.BySenderDomain, rate.ByRecipient),
			missing: "it says for what each limit is: user, client, sender, sender_domain or recipient", example: `"user"`,
			meaning: "what each limit is for: `\"user\"` (the login), `\"client\"` (the address, IPv6 by its /64), `\"sender\"`, `\"sender_domain\"` (of the envelope; the null sender counts for none) or `\"recipient\"` (each of them)"},
		{name: "count", kind: choice("something to count", rate.Messages, rate.Recipients, rate.Bytes), usual: "messages", meaning: "what is counted"},
		{name: "limit", kind: anything("amount", "1 to 1000000000000, or a size"), missing: "it says how much may come in the time of per, like 200", example: "200",
			meaning: "how much may come in the time `per`; bytes also as a size, `\"1G\"`"},
		{name: "per", kind: duration(time.Second, maxPer), missing: `it says in which time the limit may come, like "1h"`, example: `"1h"`,
			meaning: "What was used comes back bit by bit, not all at once when the time is over"},
		{name: "burst", kind: anything("amount", "1 to 1000000000000, or a size"), usually: "`limit`", example: "200", meaning: "how much of it may come at once. It has to come back within 366 days"},
		{name: "on_limit", kind: choice("a verdict of a limit", verdict.Tempfail, verdict.Reject, verdict.Tag), usual: "tempfail",
			meaning: "what is done with what is over the limit: also `\"reject\"` or `\"tag\"`"},
		{name: "on_error", kind: choice("what can be done without an answer", rate.ErrorTempfail, rate.ErrorAccept, rate.ErrorMemory), usual: "memory",
			meaning: "what is done while Redis does not answer: `\"memory\"` counts in this process meanwhile, `\"accept\"` lets pass, `\"tempfail\"` puts off. Only with `[redis]`; without, limits are in this process's memory, which always answers"},
		{name: "overrides", kind: inline(`{ bob = 5000, "10.1.0.0/16" = "unlimited" }`), example: `{ bob = 5000, "10.1.0.0/16" = "unlimited" }`,
			meaning: "other limits, or `\"unlimited\"`, for some: `{ newsletter = 5000, \"10.1.0.0/16\" = \"unlimited\" }`. A key is what the rule is by: a login, an address without a tag, a domain. A network holds for the clients in it, whatever the rule is by; the smallest one counts. `burst` grows and shrinks with the limit"},
		{name: "column", kind: text("the name of a column of the directory, in quotes", as[string]), example: `"hourly"`,
			meaning: "a column of the directory with accounts' own limits, for rules by `user`, `sender` and `recipient`. `overrides` for an account go before it, and it goes before those for networks"},
	}},
	{path: "allow", header: "[[allow]]", about: "mail that is spared a check", keys: []key{
		{name: "name", kind: text(aString, as[string]), missing: likeAllowName, example: `"partner"`, meaning: "stands in the log beside what it spared"},
		{name: "checks", kind: list(alone(sparedCheck), rules{empty: "is empty, so nothing is spared; name checks, or leave it out for spam", twice: dropped}), usual: []any{verdict.CheckSpam},
			meaning: "of `\"spam\"`, `\"malware\"` and `\"spoof\"`. No mail is spared `virus`. For `ddos` there is `exempt`, for `rate` there are `overrides`, for `auth` `our_networks` and `our_certificates`"},
		{name: "clients", kind: list(prefixes, rules{empty: "is empty; name at least one, or leave it out for any", twice: dropped}), usually: "any", example: `["192.0.2.0/24"]`,
			meaning: "networks and addresses of connecting clients"},
		{name: "senders", kind: addresses, usually: "any", example: `["@partner.example"]`,
			meaning: "envelope senders: `\"news@partner.example\"`, or `\"@partner.example\"` for a domain without its subdomains"},
		{name: "recipients", kind: addresses, usually: "any", example: `["abuse@example.com"]`, meaning: "envelope recipients, likewise"},
	}},
	{path: "quarantine", header: "[quarantine]", about: "where messages are held", keys: []key{
		{name: "dir", kind: text("a path in quotes", quarantineDir), usually: "`quarantine` in `state_dir`", example: `"quarantine"`, meaning: "the folder for what is held"},
		{name: "keep", kind: duration(time.Minute, 3650*day), usual: "30d", meaning: "how long it is held"},
		{name: "max_size", kind: size(1<<20, 1<<50), usual: "10G", meaning: "of all messages together; the oldest go first"},
		{name: "smtp", kind: text(aString, releaseAddress), usual: "127.0.0.1:25", meaning: "the MTA that takes what is released, and the reports. Its milter must be coexistd"},
	}},
	{path: "quarantine.report", header: "[quarantine.report]", about: "the daily mail to those for whom something is held", keys: []key{
		{name: "at", kind: text(`a time of day in quotes, like "07:00", or "never"`, alone(timeOfDay)), usual: "07:00", meaning: "when, or `\"never\"`"},
		{name: "zone", kind: text(`a time zone's name in quotes, like "Europe/Berlin"`, alone(zone)), usually: "the host's", example: `"Europe/Berlin"`,
			meaning: "by which clock: `\"Europe/Berlin\"`"},
		{name: "from", kind: text(wantMailbox, mailbox), usually: "`postmaster@` the first domain", example: `"postmaster@example.com"`, meaning: "the reports' author"},
		{name: "contact", kind: text(wantMailbox, mailbox), usually: "`from`", example: `"postmaster@example.com"`, meaning: "whom it tells to ask for a message"},
		{name: "summary", kind: list(mailbox, rules{most: 100, what: "addresses", twice: dropped}), usually: "`[from]`", example: `["postmaster@example.com"]`,
			meaning: "who gets the administrator's summary, and is told of limits and of mail in our own name that bears no proof of its tenant ([senders.md](senders.md)); `[]` for nobody"},
	}},
}

// keysOf returns the keys of a section.
func keysOf(path string) []key {
	if i := slices.IndexFunc(schema, func(s section) bool { return s.path == path }); i >= 0 {
		return schema[i].keys
	}
	return nil
}

// within returns the names of the sections within one.
func within(path string) (names []string) {
	for _, s := range schema {
		rest, inside := strings.CutPrefix("."+s.path, strings.TrimSuffix("."+path, ".")+".")
		if name, _, _ := strings.Cut(rest, "."); inside && name != "" && !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	return names
}

// under returns the path of the section within another that has a name, or is for all names.
func under(path, name string) string {
	if slices.Contains(within(path), "*") && !slices.Contains(within(path), name) {
		name = "*"
	}
	return strings.TrimPrefix(path+"."+name, ".")
}

// isTopKey reports a key that stands before the first table.
func isTopKey(name string) bool {
	return slices.ContainsFunc(schema[0].keys, func(k key) bool { return k.name == name })
}
