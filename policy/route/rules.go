package route

import (
	"maps"
	"slices"
	"strings"

	"coexistd/policy/mail"
)

// Rules are what the administrator says of domains and platforms. They are never changed
// once they are in use.
type Rules struct {
	// Platforms are the other platforms, sorted by name.
	Platforms []*Platform
	// Domains maps a domain's normal form (see mail.NormalDomain) to its settings.
	Domains map[string]*Domain
	// MaxPasses is how many times a message may be sent on for one recipient; when it
	// comes back once more, it is refused.
	MaxPasses int
	// Outbound names the platform through which all mail for the Internet leaves; empty
	// when it leaves from here.
	Outbound string
	// Rules take some mail another way, in order: the first that can take a recipient counts.
	Rules []Rule
}

// Platform is another platform: Office 365, Google Workspace, or a further one that the
// administrator names.
type Platform struct {
	// Name is the configuration's name, in lower case: "office365".
	Name string
	// Letter stands for the platform in flows: "O" in "S4=>O1". See Letters.
	Letter string
	// MayRelay allows the platform's users, once their tenant is proven, to send mail to
	// the Internet through us.
	MayRelay bool
	// Relay is the host that takes mail for the platform, as Postfix writes a
	// transport's next hop: "[acmecorp-com.mail.protection.outlook.com]:25". Empty: the
	// MTA finds the host by MX.
	Relay string
	// ByRelay says that the address of a mailbox there stays as it is: the MTA's lookups
	// have Relay take its mail. Nothing else brings a mailbox elsewhere to that host.
	ByRelay bool
	// TargetDomains are the normal forms of the domains, besides alternate domains, that
	// targets may have there. They are of this platform alone.
	TargetDomains []string
	// DropsTag has a target be used without the tag of a subaddress.
	DropsTag bool
}

// Holds reports a platform that has mailboxes of a domain.
func (p *Platform) Holds(d *Domain) bool {
	return d.Alternates[p.Name] != "" || slices.Contains(d.Platforms, p.Name)
}

// Platform returns the platform of that name, or nil.
func (r *Rules) Platform(name string) *Platform {
	for _, platform := range r.Platforms {
		if platform.Name == name {
			return platform
		}
	}
	return nil
}

// alternate returns the domain of ours whose alternate domain this is, and the
// name of the platform that it reaches; nil when it is none.
func (r *Rules) alternate(domain string) (ours *Domain, platform string) {
	for _, d := range r.Domains {
		for name, alternate := range d.Alternates {
			if alternate == domain {
				return d, name
			}
		}
	}
	return nil, ""
}

// AlternateOf returns the platform whose alternate domain or target domain this is, or nil.
func (r *Rules) AlternateOf(domain string) *Platform {
	if _, name := r.alternate(domain); name != "" {
		return r.Platform(name)
	}
	for _, platform := range r.Platforms {
		if slices.Contains(platform.TargetDomains, domain) {
			return platform
		}
	}
	return nil
}

// LeadsTo reports that a next hop is a platform's: one of its alternate domains and target
// domains, or its relay. The hop is in lower case.
func (r *Rules) LeadsTo(hop, platform string) bool {
	if p := r.AlternateOf(hop); p != nil && p.Name == platform {
		return true
	}
	p := r.Platform(platform)
	return p != nil && p.Relay != "" && hop == strings.ToLower(p.Relay)
}

// Alternates returns all alternate domains and target domains, sorted.
func (r *Rules) Alternates() []string {
	var all []string
	for _, d := range r.Domains {
		all = slices.AppendSeq(all, maps.Values(d.Alternates))
	}
	for _, platform := range r.Platforms {
		all = append(all, platform.TargetDomains...)
	}
	slices.Sort(all)
	return slices.Compact(all)
}

// Leaving returns those of our domains that leave unlisted addresses to the MTA, sorted.
func (r *Rules) Leaving() (domains []string) {
	for _, name := range slices.Sorted(maps.Keys(r.Domains)) {
		if r.Domains[name].LeavesUnlisted() {
			domains = append(domains, name)
		}
	}
	return domains
}

// Home returns the address of ours that an address of an alternate domain
// stands for. Any other address is returned as it is.
func (r *Rules) Home(a mail.Address) mail.Address {
	if a.Domain == "" || r.Domains[a.Domain] != nil {
		return a
	}
	if ours, _ := r.alternate(a.Domain); ours != nil {
		return a.InDomain(ours.Name)
	}
	return a
}

// Locate returns where an address lives by the directory's answer and by its domain's
// rule for unlisted addresses: Nowhere when nobody has it, or its domain is not ours.
// Postmaster and abuse live here unless something else is said of them. It must not be
// asked when the directory failed.
func (r *Rules) Locate(a mail.Address, l Listing) Residence {
	domain := r.Domains[a.Domain]
	switch {
	case domain == nil:
		return Residence{}
	case l.Found:
		return l.Residence
	case domain.Unlisted.Kind == Nowhere && IsRole(a):
		return Residence{Kind: Here}
	}
	return domain.Unlisted
}

// Letters gives each platform's name the letter that stands for it in flows:
// O for office365, G for google, else the name's first letter. A letter that
// another platform has (office365 and google go first, the rest by name), or
// that our own points use (S, L, E), makes way for the whole name.
func Letters(names []string) map[string]string {
	letters := make(map[string]string, len(names))
	taken := map[string]bool{"S": true, "L": true, "E": true}
	order := append([]string{"google", "office365"}, slices.Sorted(slices.Values(names))...)
	for _, name := range order {
		if letters[name] != "" || !slices.Contains(names, name) {
			continue
		}
		upper := strings.ToUpper(name)
		letter := upper[:1]
		if taken[letter] {
			letter = upper
		}
		taken[letter] = true
		letters[name] = letter
	}
	return letters
}
