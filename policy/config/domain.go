package config

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"coexistd/policy/config/files"
	"coexistd/policy/config/mistakes"
	"coexistd/policy/config/schema"
	"coexistd/policy/config/wording"
	"coexistd/policy/directory"
	"coexistd/policy/mail"
	"coexistd/policy/route"
)

// source is a directory's file and the domains that named it.
type source struct {
	directory.Source
	said map[string]mistakes.Place // where max_loss and max_loss_floor were said
}

type alternate struct {
	domain, name string // normal forms
	platform     string
	place        mistakes.Place
}

func (r *reader) domainKeys() schema.Section {
	return schema.Section{Path: "domain.*", Header: `[domain."example.com"]`, About: "a domain of ours; at least one", Keys: []schema.Key{
		{Name: "mode", Kind: mode, Usually: "that of the domain of `same_as`, or the one at the top", Example: `"observe"`,
			Meaning: "the [mode](observe.md) of mail to the domain and to its alternate domains, and of mail from it to recipients elsewhere. A message for domains of both modes is judged for those with `\"enforce\"` alone"},
		{Name: "directory", Kind: r.csvFile(), Example: `"users.csv"`, Meaning: "the CSV file that says who lives where, or `\"source:NAME\"` for a `[source.NAME]`, or a list of these, of which the first that lists an address counts; several domains may share one. An address is unlisted when none lists it; while one cannot be read, what those before it do not list is put off"},
		{Name: "alternate", Kind: schema.Inline(`{ office365 = "example-com.onmicrosoft.com" }`), Example: `{ office365 = "example-com.onmicrosoft.com" }`,
			Meaning: "`{ office365 = \"acmecorp-com.onmicrosoft.com\" }`: for each platform, the domain that reaches the same mailboxes there only. An alternate domain belongs to one domain and one platform, and is not itself a domain of ours"},
		{Name: "platforms", Kind: schema.Texts(schema.Rules{}), Example: `["office365"]`,
			Meaning: "further platforms that have mailboxes of the domain, besides those with an `alternate`: each needs `deliver = \"relay\"` or `target_domains`"},
		{Name: "mx", Kind: schema.Text(schema.AString, schema.As[string]), Usual: "here", Meaning: "`\"here\"`, or the platform to which the domain's MX points"},
		{Name: "past_mx", Kind: schema.Choice[schema.Word]("known", "accept", "reject"), Usual: "accept",
			Meaning: "`\"reject\"` refuses Internet mail that comes past the MX: that comes here although the MX is at a platform, which needs `networks`, and `tenant` or `proof`; or, where the MX is here, past every `[upstream]`"},
		{Name: "unlisted", Kind: schema.Text(schema.AString, schema.As[string]), Usual: "reject", Meaning: "where an address lives that the directory lacks: `here`, or a platform's name. With `\"here\"` the MTA's own tables say who exists beside those whom the directory lists, and the lookup `recipients` answers for these alone ([Postfix](../postfix/README.md#your-own-aliases), [Sendmail](../sendmail/README.md#your-own-aliases))"},
		{Name: "same_as", Kind: wantDomain, Example: `"example.com"`,
			Meaning: "another domain of ours whose users this one has, too: whoever lives elsewhere by the other's directory, lives there under this domain as well, with the same local part, and the other's `mode` is that of this one, too. All others are the MTA's, so it needs `unlisted = \"here\"`, and no `directory`, `alternate` or `platforms`. It is for the MTA's own host name, to which names without a domain belong ([Postfix](../postfix/README.md#names-without-a-domain), [Sendmail](../sendmail/README.md#names-without-a-domain))"},
		{Name: "max_loss", Kind: schema.Text(`a percentage in quotes, like "10%"`, parseShare), Usual: "10%",
			Meaning: "a new directory file that drops more of the addresses is refused, unless `max_loss_floor` lets it pass. So is one that drops all of a domain's, where `unlisted` is `\"reject\"`, unless this is `\"100%\"`. When the loss is meant, raise it for one reload, or restart"},
		{Name: "max_loss_floor", Kind: schema.Number(0, 1_000_000), Usual: 20,
			Meaning: "so many addresses may be dropped at once whatever their share is, as long as they are no more than half: of 5 addresses 1 may go but not 3, of 1,000 at `max_loss = \"1%\"` 15 but not 25. 0 is none"},
	}}
}

// domains reads [domain."NAME"].
func (r *reader) domains(t *schema.Table) {
	first := make(map[string]mistakes.Place)
	for _, one := range t.Tables("domain") {
		if whole := r.cutName(one); whole != "" {
			r.Fail(one.Place, "a dot in a name cuts the key in two; write the name in quotes: [domain.%q]", whole)
			continue
		}
		name, err := domainName(one.Name)
		if err != nil {
			r.Fail(one.Place, "%v", err)
			name = one.Name // good enough to find further mistakes
		}
		if other, taken := first[name]; taken {
			here, there := mistakes.Later(one.Place, other)
			r.Fail(here, "is the same domain as %s on line %d; keep one of them", there.Key, there.Line)
			continue
		}
		first[name] = one.Place
		r.config.Rules.Routes.Domains[name] = r.domain(one, name)
	}
	if !t.Has("domain") || t.HasEmpty("domain") {
		t.Fail("domain", `is missing: every recipient would be foreign; add [domain."NAME"]`)
	}
	r.haveSameUsers()
	r.refuseAlternates()
	r.refuseTargets()
	for _, path := range slices.Sorted(maps.Keys(r.sources)) {
		r.config.Directories = append(r.config.Directories, r.sources[path].Source)
	}
}

// cutName returns the name that was meant by [domain.example.com], which is a
// table com in a table example, or "".
func (r *reader) cutName(t *schema.Table) (whole string) {
	name, entries := t.Name, t.Entries
	for len(entries) == 1 {
		part := slices.Collect(maps.Keys(entries))[0]
		inner, isTable := entries[part].(map[string]any)
		if !isTable || slices.ContainsFunc(r.Schema.Keys("domain.*"), func(k schema.Key) bool { return k.Name == part }) {
			break
		}
		name, entries = name+"."+part, inner
		whole = name
	}
	return whole
}

func (r *reader) domain(t *schema.Table, name string) *route.Domain {
	t.ReadSection()
	d := &route.Domain{Name: name, Alternates: make(map[string]string), Observe: r.config.Rules.Observe}
	if said, ok := schema.Said[schema.Word](t, "mode"); ok {
		d.Observe = said == observes
	}
	r.readAlternates(t, d)
	d.Platforms = r.furtherPlatforms(t, d)
	d.MX = r.platformOrHere(t, "mx")
	d.RefusePastMX = r.pastMX(t)
	if same, said := schema.Said[string](t, "same_as"); said {
		d.SameAs = same
		r.alike = append(r.alike, alike{t, d})
	}
	r.unlisted(t, d)
	r.directory(t, d)
	return d
}

// domainName returns the normal form of an email domain.
func domainName(text string) (string, error) {
	if err := refuseHidden(text, "a domain name"); err != nil {
		return "", err
	}
	normal, err := mail.NormalDomain(text)
	if err != nil || mail.IsLiteral(normal) {
		return "", fmt.Errorf(`%s is not a domain name; write it like "example.com"`, wording.Quote(text))
	}
	return normal, nil
}

// refuseHidden refuses a name with a character that people cannot see. What is what the
// name would be.
func refuseHidden(text, what string) error {
	if err := mail.CheckVisible(text); err != nil {
		return fmt.Errorf("%s is not %s: %w", wording.Quote(text), what, err)
	}
	return nil
}

// wantDomain is the kind of each key of alternate.
var wantDomain = schema.Text("a domain name in quotes", domainName)

func (r *reader) readAlternates(t *schema.Table, d *route.Domain) {
	if _, said := schema.Said[map[string]any](t, "alternate"); !said {
		return
	}
	alternates := t.Section("alternate")
	for _, platform := range slices.Sorted(maps.Keys(alternates.Entries)) {
		if !r.isPlatform(platform) {
			alternates.Fail(platform, "%s is not a platform of this file; %s", wording.Quote(platform), r.suggestPlatform(platform))
			continue
		}
		if name, ok := schema.ReadEntry[string](alternates, platform, wantDomain); ok {
			d.Alternates[platform] = name
			r.alternates = append(r.alternates, alternate{d.Name, name, platform, alternates.At(platform)})
		}
	}
}

func (r *reader) suggestPlatform(name string) string {
	if len(r.platforms) == 0 {
		return "add [platform." + name + "]"
	}
	return wording.Suggest(name, r.platforms)
}

func (r *reader) pastMX(t *schema.Table) (refuse bool) {
	refuse = schema.Value[schema.Word](t, "past_mx") == "reject"
	switch {
	case t.Has("past_mx") && (!t.Has("mx") || t.Entries["mx"] == "here"):
		switch {
		case len(r.upstreams) == 0:
			t.Fail("past_mx", `has no meaning when the MX is here, and no gateway in front; set mx to a platform, add [upstream.NAME], or leave past_mx out`)
		case refuse && len(r.byMTA) > 0:
			t.Fail("past_mx", `would refuse what comes through %s: with client = "mta", nothing tells that from what comes past it; let nobody but the gateway connect to the MTA, and leave past_mx out`, strings.Join(r.byMTA, " and "))
		}
	case refuse:
		mx, _ := t.Entries["mx"].(string)
		if r.isPlatform(mx) && !slices.Contains(r.provable, mx) {
			t.Fail("past_mx", "would refuse all mail from the Internet: nothing that %s passes on can be told from what comes past it; give the platform networks, and tenant or proof, or leave past_mx out", mx)
		}
	}
	return refuse
}

// unlisted reads where an address lives that the directory lacks.
func (r *reader) unlisted(t *schema.Table, d *route.Domain) {
	value := schema.Value[string](t, "unlisted")
	switch {
	case t.Has("same_as") && value != "here":
		t.Fail("unlisted", `must be "here" beside same_as: whom no directory has living elsewhere, the MTA's own tables know`)
	case value == "reject":
		if !t.Has("directory") && (!t.Has("unlisted") || t.Entries["unlisted"] == value) {
			t.Fail("unlisted", `must be "here" or a platform in a domain without a directory, or every address would be refused; or add directory`)
		}
	case value == "here":
		d.Unlisted = route.Residence{Kind: route.Here}
	case !r.isPlatform(value):
		t.Fail("unlisted", `%s is neither "reject" nor "here" nor a platform of this file; %s`,
			wording.Quote(value), wording.Suggest(value, append([]string{"reject", "here"}, r.platforms...)))
	case !alternateHas(t, value) && !r.takes(d, value):
		t.Fail("unlisted", "no alternate domain reaches %s; add it to alternate, like alternate = { %s = \"DOMAIN\" }", value, value)
	default:
		d.Unlisted = route.Residence{Kind: route.There, Platform: value}
	}
}

// furtherPlatforms reads the platforms that need no alternate domain.
func (r *reader) furtherPlatforms(t *schema.Table, d *route.Domain) []string {
	return schema.Each(&r.Reader, schema.Value[[]schema.Item](t, "platforms"), func(name string) (string, error) {
		platform := r.config.Rules.Routes.Platform(name)
		switch {
		case !r.isPlatform(name):
			return name, fmt.Errorf("%s is not a platform of this file; %s", wording.Quote(name), r.suggestPlatform(name))
		case platform == nil: // It is wrong, which was said.
		case d.Alternates[name] == "" && !platform.ByRelay && len(platform.TargetDomains) == 0:
			return name, fmt.Errorf("nothing reaches mailboxes at %s; give the platform deliver = \"relay\" or target_domains, or the domain an alternate there", name)
		}
		return name, nil
	}, schema.Refused)
}

// takes reports that a platform's relay takes all mail for the domain, or that the
// platform is wrong.
func (r *reader) takes(d *route.Domain, name string) bool {
	platform := r.config.Rules.Routes.Platform(name)
	return platform == nil || platform.ByRelay && slices.Contains(d.Platforms, name)
}

// alternateHas reports that the domain names an alternate for a platform, be
// it right or wrong.
func alternateHas(t *schema.Table, platform string) bool {
	alternates, isTable := t.Entries["alternate"].(map[string]any)
	_, ok := alternates[platform]
	return ok || t.Has("alternate") && !isTable
}

// directory reads where the domain's directory is. Whether its rows are right
// is not asked here.
func (r *reader) directory(t *schema.Table, d *route.Domain) {
	for _, key := range []string{"max_loss", "max_loss_floor"} {
		if t.Has(key) && !t.Has("directory") {
			t.Fail(key, "has no meaning without a directory; leave it out")
		}
	}
	paths, _ := schema.Said[[]string](t, "directory")
	for rank, path := range paths {
		r.directoryFile(t, d, rank, path)
	}
}

// directoryFile reads one of the directories, the first of which that lists an address counts.
func (r *reader) directoryFile(t *schema.Table, d *route.Domain, rank int, path string) {
	// One that is missing is used all the same, to find further mistakes.
	outside, isOutside := strings.CutPrefix(path, SourcePrefix)
	if isOutside && !r.outsideNamed(t.At("directory"), outside) {
		return
	}
	if _, err := files.Look(path); err != nil && !isOutside {
		t.Fail("directory", "%s %v; write the path of a CSV file that begins with the line address,residence,login", wording.Quote(path), err)
	}
	s := r.sources[path]
	if s == nil {
		s = &source{Source: directory.Source{
			Path: path, Domains: make(map[string]*route.Domain), SameAs: make(map[string]string), Rank: make(map[string]int), Platforms: r.config.Rules.Routes.Platforms, Delimiters: r.config.Rules.Delimiters,
			MaxLoss: schema.Value[float64](t, "max_loss"), MaxLossFloor: schema.Value[int](t, "max_loss_floor"),
		}, said: make(map[string]mistakes.Place)}
		r.sources[path] = s
		if isOutside {
			s.Copy = r.copyOf(outside)
		} else {
			r.names(t.At("directory").Key, path, false)
		}
	}
	s.Domains[d.Name], s.Rank[d.Name] = d, rank
	if loss, ok := schema.Said[float64](t, "max_loss"); ok && s.agrees(t, "max_loss", s.MaxLoss == loss) {
		s.MaxLoss = loss
	}
	if floor, ok := schema.Said[int](t, "max_loss_floor"); ok && s.agrees(t, "max_loss_floor", s.MaxLossFloor == floor) {
		s.MaxLossFloor = floor
	}
}

// agrees refuses that a domain says something else of the directory than another that
// has the same.
func (s *source) agrees(t *schema.Table, key string, same bool) bool {
	other, said := s.said[key]
	if said && !same {
		t.Fail(key, "differs from %s on line %d, though both domains have the same directory; make them agree", other.Key, other.Line)
		return false
	}
	s.said[key] = t.At(key)
	return true
}

// HasDirectory reports a domain of ours with a directory of its own.
func (c *Config) HasDirectory(domain string) bool {
	return slices.ContainsFunc(c.Directories, func(s directory.Source) bool { return s.Domains[domain] != nil })
}

// SourcePrefix begins the name of a source outside this host, where a file's path could
// stand: "source:ad". The Path of its directory.Source is that.
const SourcePrefix = "source:"

// csvFile is a domain's directories: the paths of their files, which need not be there.
func (r *reader) csvFile() schema.Kind {
	return schema.OneOrMore(func(text string) (string, error) {
		if strings.HasPrefix(text, SourcePrefix) {
			return text, nil
		}
		return r.path(text), nil
	}, schema.Rules{
		Empty: "names no file; leave it out, or write the path of a CSV file", Most: 20, What: "files", Twice: schema.Refused,
	}).But(func(value any) error {
		inner, isTable := value.(map[string]any)
		if !isTable {
			return nil
		}
		for _, key := range []string{LDAP, SQL} {
			if _, says := inner[key]; says {
				return fmt.Errorf(`is a table; write "source:NAME" in quotes, and what the source is in [source.NAME]`)
			}
		}
		return fmt.Errorf(`is a table; write the path of a CSV file, or "source:NAME", in quotes`)
	})
}

// parseShare reads a percentage.
func parseShare(text string) (float64, error) {
	number, isPercent := strings.CutSuffix(text, "%")
	percent, err := strconv.ParseFloat(strings.TrimSpace(number), 64)
	if !isPercent || err != nil || !(percent >= 0 && percent <= 100) {
		return 0, fmt.Errorf(`%s is not a percentage from 0%% to 100%%; write it like "10%%"`, wording.Quote(text))
	}
	return percent / 100, nil
}

// refuseAlternates refuses alternate domains that would not lead away from
// here, or not to one domain's mailboxes alone.
func (r *reader) refuseAlternates() {
	ours := r.config.Rules.Routes.Domains
	users := make(map[string]alternate) // by alternate domain
	inCircle := make(map[string]bool)   // domains of circles that were reported
	for _, a := range r.alternates {
		if first, taken := users[a.name]; taken {
			here, there := mistakes.Later(a.place, first.place)
			r.Fail(here, "%s is already %s on line %d; an alternate domain reaches the mailboxes of one domain on one platform",
				a.name, there.Key, there.Line)
			continue
		}
		users[a.name] = a
		switch {
		case a.name == a.domain:
			r.Fail(a.place, "%s is the domain itself; mail for it would come back here, so write the domain that reaches only the other platform, like example-com.onmicrosoft.com", a.name)
		case ours[a.name] == nil || inCircle[a.domain] && inCircle[a.name]:
		default:
			var circle []string
			if len(r.Problems) <= mistakes.MaxPrinted { // a search for each of many takes long
				circle = r.config.Rules.Routes.Circle(a.domain, a.name)
			}
			for _, name := range circle {
				inCircle[name] = true
			}
			if len(circle) > 12 {
				circle = slices.Concat(circle[:8], []string{"…"}, circle[len(circle)-1:])
			}
			if circle != nil {
				r.Fail(a.place, "the alternate domains form a circle: %s -> %s; an alternate domain must not be one of our domains",
					a.domain, strings.Join(circle, " -> "))
				continue
			}
			r.Fail(a.place, "%s is one of our domains, so mail for it would not leave; write the domain that reaches only the other platform", a.name)
		}
	}
}
