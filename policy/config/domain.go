package config

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"coexistd/policy/config/files"
	"coexistd/policy/config/mistakes"
	"coexistd/policy/config/wording"
	"coexistd/policy/directory"
	"coexistd/policy/mail"
	"coexistd/policy/route"
)

// source is a directory's file and the domains that named it.
type source struct {
	directory.Source
	said map[string]place // where max_loss and max_loss_floor were said
}

type alternate struct {
	domain, name string // normal forms
	place        place
}

// domains reads [domain."NAME"].
func (r *reader) domains(t *table) {
	first := make(map[string]place)
	for _, one := range t.tables("domain") {
		if whole := one.cutName(); whole != "" {
			r.fail(one.place, "a dot in a name cuts the key in two; write the name in quotes: [domain.%q]", whole)
			continue
		}
		name, err := domainName(one.name)
		if err != nil {
			r.fail(one.place, "%v", err)
			name = one.name // good enough to find further mistakes
		}
		if other, taken := first[name]; taken {
			here, there := later(one.place, other)
			r.fail(here, "is the same domain as %s on line %d; keep one of them", there.key, there.line)
			continue
		}
		first[name] = one.place
		r.config.Rules.Routes.Domains[name] = r.domain(one, name)
	}
	if !t.has("domain") || t.hasEmpty("domain") {
		t.fail("domain", `is missing: every recipient would be foreign; add [domain."NAME"]`)
	}
	r.refuseAlternates()
	for _, path := range slices.Sorted(maps.Keys(r.sources)) {
		r.config.Directories = append(r.config.Directories, r.sources[path].Source)
	}
}

// cutName returns the name that was meant by [domain.example.com], which is a
// table com in a table example, or "".
func (t *table) cutName() (whole string) {
	name, entries := t.name, t.entries
	for len(entries) == 1 {
		part := slices.Collect(maps.Keys(entries))[0]
		inner, isTable := entries[part].(map[string]any)
		if !isTable || slices.ContainsFunc(keysOf(t.schema), func(k key) bool { return k.name == part }) {
			break
		}
		name, entries = name+"."+part, inner
		whole = name
	}
	return whole
}

func (r *reader) domain(t *table, name string) *route.Domain {
	t.readSection()
	d := &route.Domain{Name: name, Alternates: make(map[string]string)}
	r.readAlternates(t, d)
	d.MX = r.platformOrHere(t, "mx")
	d.RefusePastMX = r.pastMX(t)
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

// wantDomain is the value of each key of alternate.
var wantDomain = text("a domain name in quotes", alone(domainName))

func (r *reader) readAlternates(t *table, d *route.Domain) {
	if _, said := said[map[string]any](t, "alternate"); !said {
		return
	}
	alternates := t.section("alternate")
	for _, platform := range slices.Sorted(maps.Keys(alternates.entries)) {
		if !r.isPlatform(platform) {
			alternates.fail(platform, "%s is not a platform of this file; %s", wording.Quote(platform), r.suggestPlatform(platform))
			continue
		}
		if name, ok := wantDomain.read(alternates, platform, alternates.entries[platform]).(string); ok {
			d.Alternates[platform] = name
			r.alternates = append(r.alternates, alternate{d.Name, name, alternates.at(platform)})
		}
	}
}

func (r *reader) suggestPlatform(name string) string {
	if len(r.platforms) == 0 {
		return "add [platform." + name + "]"
	}
	return wording.Suggest(name, r.platforms)
}

func (r *reader) pastMX(t *table) (refuse bool) {
	refuse = value[word](t, "past_mx") == "reject"
	switch {
	case t.has("past_mx") && (!t.has("mx") || t.entries["mx"] == "here"):
		t.fail("past_mx", `has no meaning when the MX is here; set mx to a platform, or leave past_mx out`)
	case refuse:
		mx, _ := t.entries["mx"].(string)
		if r.isPlatform(mx) && !slices.Contains(r.provable, mx) {
			t.fail("past_mx", "would refuse all mail from the Internet: nothing that %s passes on can be told from what comes past it; give the platform networks, and tenant or proof, or leave past_mx out", mx)
		}
	}
	return refuse
}

// unlisted reads where an address lives that the directory lacks.
func (r *reader) unlisted(t *table, d *route.Domain) {
	value := value[string](t, "unlisted")
	switch {
	case value == "reject":
		if !t.has("directory") && (!t.has("unlisted") || t.entries["unlisted"] == value) {
			t.fail("unlisted", `must be "here" or a platform in a domain without a directory, or every address would be refused; or add directory`)
		}
	case value == "here":
		d.Unlisted = route.Residence{Kind: route.Here}
	case !r.isPlatform(value):
		t.fail("unlisted", `%s is neither "reject" nor "here" nor a platform of this file; %s`,
			wording.Quote(value), wording.Suggest(value, append([]string{"reject", "here"}, r.platforms...)))
	case !t.alternateHas(value):
		t.fail("unlisted", "no alternate domain reaches %s; add it to alternate, like alternate = { %s = \"DOMAIN\" }", value, value)
	default:
		d.Unlisted = route.Residence{Kind: route.There, Platform: value}
	}
}

// alternateHas reports that the domain names an alternate for a platform, be
// it right or wrong.
func (t *table) alternateHas(platform string) bool {
	alternates, isTable := t.entries["alternate"].(map[string]any)
	_, ok := alternates[platform]
	return ok || t.has("alternate") && !isTable
}

// directory reads where the domain's directory is. Whether its rows are right
// is not asked here.
func (r *reader) directory(t *table, d *route.Domain) {
	for _, key := range []string{"max_loss", "max_loss_floor"} {
		if t.has(key) && !t.has("directory") {
			t.fail(key, "has no meaning without a directory; leave it out")
		}
	}
	path, isPath := said[string](t, "directory")
	if !isPath {
		return
	}
	s := r.sources[path]
	if s == nil {
		s = &source{Source: directory.Source{
			Path: path, Domains: make(map[string]*route.Domain), Delimiters: r.config.Rules.Delimiters,
			MaxLoss: value[float64](t, "max_loss"), MaxLossFloor: value[int](t, "max_loss_floor"),
		}, said: make(map[string]place)}
		r.sources[path] = s
	}
	s.Domains[d.Name] = d
	if loss, ok := said[float64](t, "max_loss"); ok && s.agrees(t, "max_loss", s.MaxLoss == loss) {
		s.MaxLoss = loss
	}
	if floor, ok := said[int](t, "max_loss_floor"); ok && s.agrees(t, "max_loss_floor", s.MaxLossFloor == floor) {
		s.MaxLossFloor = floor
	}
}

// agrees refuses that a domain says something else of the directory than another that
// has the same.
func (s *source) agrees(t *table, key string, same bool) bool {
	other, said := s.said[key]
	if said && !same {
		t.fail(key, "differs from %s on line %d, though both domains have the same directory; make them agree", other.key, other.line)
		return false
	}
	s.said[key] = t.at(key)
	return true
}

// csvFile is a directory: the path of its file. One that is missing is used all the same,
// to find further mistakes.
func csvFile() kind {
	return kind{json: "string", want: aString, possible: "a string", read: func(t *table, name string, value any) any {
		if inner, isTable := value.(map[string]any); isTable {
			what := "directories other than a file"
			for key, kind := range map[string]string{"ldap": "directories in LDAP", "redis": "directories in Redis"} {
				if _, says := inner[key]; says {
					what = kind
				}
			}
			t.fail(name, "this version does not have %s; write the path of a CSV file in quotes", what)
			return nil
		}
		file, isText := value.(string)
		if !isText {
			t.fail(name, "is %s; it must be %s", describe(value), aString)
			return nil
		}
		file = t.r.path(file)
		if _, err := files.Look(file); err != nil {
			t.fail(name, "%s %v; write the path of a CSV file that begins with the line address,residence,login", wording.Quote(file), err)
		}
		return file
	}}
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
			here, there := later(a.place, first.place)
			r.fail(here, "%s is already %s on line %d; an alternate domain reaches the mailboxes of one domain on one platform",
				a.name, there.key, there.line)
			continue
		}
		users[a.name] = a
		switch {
		case a.name == a.domain:
			r.fail(a.place, "%s is the domain itself; mail for it would come back here, so write the domain that reaches only the other platform, like example-com.onmicrosoft.com", a.name)
		case ours[a.name] == nil || inCircle[a.domain] && inCircle[a.name]:
		default:
			var circle []string
			if len(r.problems) <= mistakes.MaxPrinted { // a search for each of many takes long
				circle = r.config.Rules.Routes.Circle(a.domain, a.name)
			}
			for _, name := range circle {
				inCircle[name] = true
			}
			if len(circle) > 12 {
				circle = slices.Concat(circle[:8], []string{"…"}, circle[len(circle)-1:])
			}
			if circle != nil {
				r.fail(a.place, "the alternate domains form a circle: %s -> %s; an alternate domain must not be one of our domains",
					a.domain, strings.Join(circle, " -> "))
				continue
			}
			r.fail(a.place, "%s is one of our domains, so mail for it would not leave; write the domain that reaches only the other platform", a.name)
		}
	}
}
