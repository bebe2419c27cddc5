package config

import (
	"fmt"
	"os"
	"regexp"
	"slices"
	"strings"

	"coexistd/policy"
	"coexistd/policy/config/schema"
	"coexistd/policy/config/secret"
	"coexistd/policy/config/sockets"
	"coexistd/policy/config/wording"
	"coexistd/policy/seal"
)

// topKeys are what stands before the first table.
func (r *reader) topKeys() schema.Section {
	return schema.Section{Path: "", About: "the whole", Keys: []schema.Key{
		{Name: "hostname", Kind: schema.Text(schema.AString, hostname), Usually: "the host's name", Example: `"mail.example.com"`,
			Meaning: "this system's name in trace headers and in `Authentication-Results`: a field of that kind in this name is removed from each message that comes"},
		{Name: "mode", Kind: mode, Usual: "enforce",
			Meaning: "`\"observe\"`: everything is decided, logged and counted, and nothing is done ([how](observe.md)): each message goes on as it came. A `[domain]` may say otherwise of its mail; clients that ask for too much (`ddos`) go by this one"},
		{Name: "our_networks", Kind: schema.Texts(schema.Rules{}), Example: `["127.0.0.0/8", "::1"]`,
			Meaning: "clients that are ours without authentication: S2. A list of CIDR networks and addresses, as in Postfix's `mynetworks`; a platform's are refused. `ddos` does not bound them"},
		{Name: "our_certificates", Kind: schema.Texts(schema.Rules{Most: 1000, What: "names"}), Example: `["relay.example.com"]`,
			Meaning: "the common names of TLS client certificates whose bearers are ours without a login: S2. The MTA must ask for certificates and trust their issuer. `mail.protection.outlook.com`, which Office 365 shows for every tenant, is refused"},
		{Name: "resolver", Kind: schema.OneOrMore(sockets.Resolver, schema.Rules{Empty: "names no server; leave it out for the system's own", Most: 8, What: "servers", Twice: schema.Refused}),
			Usually: "the system's", Example: `["127.0.0.1"]`,
			Meaning: "the DNS servers that are asked for SPF, DKIM, DMARC and `spf:` lists, tried in order: `\"127.0.0.1\"`, `\"[::1]:5353\"`, or a list of up to 8. IP addresses; the port is 53 unless said"},
		{Name: "state_dir", Kind: schema.Text(schema.AString, r.stateDir), Usual: usualStateDir, Meaning: "holds the key that signs trace headers, and the quarantine. It is made when it is missing"},
		{Name: "secret_file", Kind: schema.Text(schema.AString, r.secretFile), Usually: "made in `state_dir`", Example: `"secret.key"`,
			Meaning: "a key file of 32 bytes or more, not readable by others; hosts that share a domain share it"},
		{Name: "max_connections", Kind: schema.Number(1, 100_000), Usual: 1000,
			Meaning: "milter connections at once, over all listeners, and as many for lookups. When more come, silent ones give way ([behaviour](behaviour.md#silent-connections)). Changing it needs a restart"},
		{Name: "recipient_delimiter", Kind: schema.Text(schema.AString, delimiters), Usual: "+", Meaning: "the characters that begin a subaddress's tag; `\"\"` for none. Set it as the MTA's"},
		{Name: "max_passes", Kind: schema.Number(1, 20), Usual: 3, Meaning: "how often a message is sent on for one recipient before it counts as looping"},
		{Name: "outbound", Kind: schema.Text(schema.AString, schema.As[string]), Usual: "here",
			Meaning: "a platform's name when all mail for the Internet leaves through it; shown in flows. The MTA is told by its `relayhost` (Postfix) or `SMART_HOST` (Sendmail). Not a platform with `may_relay`: its mail would go round"},
		{Name: "header", Kind: headerName("X-Coexist-Result", "the result header").OrEmpty(), Example: `"X-Coexist-Result"`,
			Meaning: "the name of a header that is put into each message; those that a message brings along are removed. It says `point=S0; verdict=accept; id=QUEUEID`"},
		{Name: "log_subject", Kind: schema.Boolean(), Usual: false, Meaning: "has the log tell each message's subject, cut and made harmless. Its Message-Id is there in any case"},
	}}
}

// top reads what is a plain value at the top of the file.
func (r *reader) top(t *schema.Table) {
	c, p := r.config, r.config.Rules
	c.StateDir = schema.Value[string](t, "state_dir")
	c.SecretFile = schema.Value[string](t, "secret_file")
	c.MaxConnections = schema.Value[int](t, "max_connections")
	c.Resolver = schema.Value[[]string](t, "resolver")
	c.LogSubject = schema.Value[bool](t, "log_subject")
	p.Routes.MaxPasses = schema.Value[int](t, "max_passes")
	p.Delimiters = schema.Value[string](t, "recipient_delimiter")
	p.Header = schema.Value[string](t, "header")
	p.Observe = schema.Value[schema.Word](t, "mode") == observes
	p.Hostname = schema.Value[string](t, "hostname")
	if t.Has("hostname") {
		return
	}
	name, err := os.Hostname()
	if err == nil {
		p.Hostname, err = hostname(name)
	}
	if err != nil {
		t.Fail("hostname", "is missing, and the system has no host name that could be used: %v", err)
	}
}

const observes schema.Word = "observe"

// mode is whether what is decided is done.
var mode = schema.Choice[schema.Word]("a mode", "enforce", observes)

// noteMode tells whose mail is only observed.
func (r *reader) noteMode() {
	mode := r.config.Rules.Mode()
	if mode == "enforce" {
		return
	}
	r.note("the mode is %s: where it is observe, all is decided and recorded, and nothing is done", mode)
	if r.config.Messages.Keep == 0 {
		r.note(`coexistd messages find --observed finds nothing, since messages.keep is "0": say how long records are to be kept`)
	}
}

func hostname(text string) (string, error) {
	normal, err := domainName(text)
	if err != nil {
		return "", fmt.Errorf(`%s is not a host name; write it like "mail.example.com"`, wording.Quote(text))
	}
	return normal, nil
}

const (
	usualStateDir = "/var/lib/coexistd"
	usualControl  = "unix:control.sock"
)

func (r *reader) stateDir(text string) (string, error) {
	path := r.path(text)
	r.config.StateDir = path
	if text == "" {
		return path, fmt.Errorf("is empty; leave it out for %q", usualStateDir)
	}
	return path, nil
}

func (r *reader) secretFile(name string) (string, error) {
	path := r.path(name)
	r.names("secret_file", path, true)
	return path, secret.Look(path)
}

// delimiters reads what may stand in a local part without quotes (RFC 5322 section
// 3.2.3), save for letters and digits.
func delimiters(text string) (string, error) {
	if strings.Trim(text, "!#$%&'*+-./=?^_`{|}~") != "" {
		return "", fmt.Errorf(`%s cannot separate a tag from a local part; usual are "+", "-" and "" for none`, wording.Quote(text))
	}
	return text, nil
}

// fieldName is a header field's name (RFC 5322 section 3.6.8).
var fieldName = regexp.MustCompile(`^[!-9;-~]{1,76}$`)

// ownedByOthers are header fields, or the beginnings of their names, that a message may
// bear for others, or that are put into messages. A message is rid of the result header
// and of the header that proves a tenant, so these must be none of them.
var ownedByOthers = []string{
	"arc-", "authentication-results", "auto-submitted", "bcc", "cc", "content-", "date", "dkim-signature", "from",
	"in-reply-to", "list-", "message-id", "mime-version", "received", "references", "reply-to", "resent-",
	"return-path", "sender", "subject", "to", "x-ms-",
	strings.ToLower(seal.TraceHeader), strings.ToLower(seal.PassHeader), strings.ToLower(policy.TagHeader), strings.ToLower(policy.SpamHeader),
}

// headerName is the name of a header field that messages are rid of. What says what it is
// for.
func headerName(like, what string) schema.Kind {
	return schema.Text("a header's name in quotes, like "+wording.Quote(like), func(name string) (string, error) {
		lower := strings.ToLower(name)
		owned := func(other string) bool {
			return lower == other || strings.HasSuffix(other, "-") && strings.HasPrefix(lower, other)
		}
		switch {
		case !fieldName.MatchString(name):
			return "", fmt.Errorf("%s is not the name of a header field (RFC 5322 section 2.2); write it like %q", wording.Quote(name), like)
		case slices.ContainsFunc(ownedByOthers, owned):
			return "", fmt.Errorf("%s has a meaning of its own, and %s is removed from messages that bring one; choose a name like %q", wording.Quote(name), what, like)
		}
		return name, nil
	})
}
