package setup

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"coexistd/cmd/coexistd/account"
	"coexistd/cmd/coexistd/postconf"
	"coexistd/cmd/coexistd/zone"
	"coexistd/milter/sources"
	"coexistd/policy/config"
	"coexistd/policy/route"
	"coexistd/scanners/sender"
)

// Site is all that guides are made of: the configuration, and what was asked for it.
type Site struct {
	Conf *config.Config
	// User is who runs the daemon; empty: root, or nobody can tell.
	User string
	// BothAt has for each platform the domains that have a mailbox both here and there, sorted.
	BothAt map[string][]string
	// Postfix is what the Postfix of this host says; nil: there is none, or it cannot be asked.
	Postfix *postconf.Settings
	// Sendmail is what the Sendmail of this host says; nil: there is none, or it was not asked.
	Sendmail *Sendmail
	// Classes tells of each domain of ours by which of Postfix's classes it takes its mail, the
	// first that has it. A domain that it lacks is taken by none, as far as can be told.
	Classes map[string]postconf.Class
	// Refused has for each domain of ours the addresses for which Postfix has an alias, and which are refused
	// since the directory lacks them, sorted.
	Refused map[string][]string
	// CertificateNames are the DNS names in the certificate that the MTA shows to clients,
	// sorted. Empty: it is not known.
	CertificateNames []string
	// CertificateErr says why a client that demands a certificate of an authority that all
	// know, with this host's name, does not take that one; nil: it does, or none is known.
	CertificateErr error
	// DNS holds what the DNS says of each domain of ours, of each alternate domain, and of
	// the hosts that these and the configuration name.
	DNS zone.Answers
	// Lives has for each domain the platforms where the directories have mailboxes of it,
	// sorted; "" stands for here.
	Lives map[string][]string

	postfixErr, sendmailErr error // why Postfix and Sendmail are not known
	classesErr              error // why Classes may lack some
}

// Survey asks what guides are made of. What cannot be asked is left empty.
func Survey(ctx context.Context, conf *config.Config) *Site {
	// First, so that a DNS that says nothing takes none of its time.
	settings, err := postconf.Read(ctx)
	s := &Site{Conf: conf, postfixErr: err}
	if err == nil {
		s.SurveyPostfix(ctx, settings)
	}
	s.askDNS(ctx, slices.Collect(maps.Keys(conf.Rules.Routes.Domains)))
	s.Lives, s.BothAt = make(map[string][]string), make(map[string][]string)
	for entry := range sources.Open(conf.Directories, nil).Entries() {
		s.lives(entry.Domain(), entry.Residence())
	}
	for name, domain := range conf.Rules.Routes.Domains {
		s.lives(name, domain.Unlisted)
	}
	if daemon, err := account.Daemon(conf); err == nil && daemon != nil && !daemon.IsRoot() {
		s.User = daemon.Name
	}
	return s
}

// journalTo returns the archive's address where the journal of a platform goes there, or "".
func (s *Site) journalTo(p *route.Platform) string {
	archive := s.Conf.Rules.Archive
	if archive == nil || !slices.Contains(archive.Journals, p.Name) {
		return ""
	}
	return archive.Address.Path
}

// SurveyPostfix takes what a Postfix says of itself into the site.
func (s *Site) SurveyPostfix(ctx context.Context, settings *postconf.Settings) {
	s.Postfix = settings
	s.takeCertificate(settings)
	s.classify(ctx)
	s.surveyAliases(ctx)
}

// AskDNS returns a site of which the DNS alone was asked, about these domains of ours.
func AskDNS(ctx context.Context, conf *config.Config, domains []string) *Site {
	s := &Site{Conf: conf}
	s.askDNS(ctx, domains)
	return s
}

func (s *Site) askDNS(ctx context.Context, domains []string) {
	resolver := sender.NewResolver(s.Conf.Resolver)
	s.DNS = zone.Ask(ctx, resolver, s.names(domains))
	s.DNS.AskHosts(ctx, resolver)
}

// classify fills in Classes.
func (s *Site) classify(ctx context.Context) {
	s.Classes, s.classesErr = make(map[string]postconf.Class), nil
	domains := slices.Collect(maps.Keys(s.Conf.Rules.Routes.Domains))
	for _, class := range slices.Backward(postconf.Classes[:]) {
		found, err := s.Postfix.Members(ctx, class.Domains, domains, s.Conf.Lookups)
		if err != nil {
			s.classesErr = errors.Join(s.classesErr, fmt.Errorf("%s: %w", class.Domains, err))
		}
		for domain, is := range found {
			if is {
				s.Classes[domain] = class
			}
		}
	}
}

// lives notes where mailboxes of a domain are.
func (s *Site) lives(domain string, r route.Residence) {
	add := func(platform string) { note(s.Lives, domain, platform) }
	if r.Kind == route.Both {
		note(s.BothAt, r.Platform, domain)
	}
	if r.Kind == route.Here || r.Kind == route.Both || r.Kind == route.Moving {
		add("")
	}
	if r.Platform != "" {
		add(r.Platform)
	}
	if r.Kind == route.Moving { // from or to one of them
		for _, platform := range s.platformsOf(s.Conf.Rules.Routes.Domains[domain]) {
			add(platform.Name)
		}
	}
}

// note adds a value to the sorted ones of a key, unless it is there.
func note(values map[string][]string, key, value string) {
	if i, there := slices.BinarySearch(values[key], value); !there {
		values[key] = slices.Insert(values[key], i, value)
	}
}

// left are the domains of ours whose mailboxes are all at one other platform, sorted.
func (s *Site) left() []string {
	return slices.DeleteFunc(s.ours(), func(domain string) bool { return len(s.Lives[domain]) != 1 || s.Lives[domain][0] == "" })
}

// leftText says why an MTA that is to ask us no more must not take mail for such domains.
const leftText = "All its mailboxes are elsewhere: this host sends its mail there by the MX from now on, and would otherwise look for them here. Whoever still knows an old MX that points here is refused: let its TTL be over first."

// stillSplit warns whoever undoes the split while it is on: a line, or nothing.
func (s *Site) stillSplit() string {
	var split []string
	for _, domain := range s.ours() {
		if lives := s.Lives[domain]; len(lives) != 1 {
			split = append(split, domain+" has mailboxes "+cmp.Or(places(lives), "nowhere that is known"))
		}
	}
	if len(split) == 0 {
		return ""
	}
	return "NOT YET: by the directories, and by unlisted, " + strings.Join(split, ", ") +
		". Once all below is undone, mail for some of them bounces, or stays in a mailbox here that nobody reads. Move the last of them, then run this again.\n"
}

// names are those that the DNS is asked about, for these domains of ours.
func (s *Site) names(domains []string) []string {
	routes := &s.Conf.Rules.Routes
	names := []string{s.Conf.Rules.Hostname}
	for _, platform := range routes.Platforms {
		names = append(names, RelayHost(platform))
		names = append(names, platform.TargetDomains...)
	}
	for _, name := range domains {
		domain := routes.Domains[name]
		names = append(names, name, stsName(name), "_dmarc."+name, "_dmarc."+organisation(name))
		names = slices.AppendSeq(names, maps.Values(domain.Alternates))
		for _, platform := range s.platformsOf(domain) {
			names = append(names, s.includes(platform)...)
			for _, selector := range s.selectors(platform) {
				names = append(names, selector+"._domainkey."+name)
			}
		}
	}
	return names
}

// platformsOf are the platforms that have mailboxes of a domain, or its MX, by their names.
func (s *Site) platformsOf(d *route.Domain) []*route.Platform {
	return slices.DeleteFunc(slices.Clone(s.Conf.Rules.Routes.Platforms), func(p *route.Platform) bool { return !p.Holds(d) && d.MX != p.Name })
}

// Pair is a domain of ours and a platform that has mailboxes of it.
type Pair struct {
	Domain   *route.Domain
	Platform *route.Platform
	// Alternate is the domain that reaches the mailboxes there; empty: there is none.
	Alternate string
}

// Pairs are the pairs of a kind of platform, sorted by the platform's name and the domain.
func (s *Site) Pairs(is func(*Site, *route.Platform) bool) (all []Pair) {
	routes := &s.Conf.Rules.Routes
	for _, platform := range routes.Platforms {
		if !is(s, platform) {
			continue
		}
		for _, name := range slices.Sorted(maps.Keys(routes.Domains)) {
			domain := routes.Domains[name]
			if slices.Contains(s.platformsOf(domain), platform) {
				all = append(all, Pair{domain, platform, domain.Alternates[platform.Name]})
			}
		}
	}
	return all
}

// Office365 and Google report a platform of that kind: by its name, by the list that its networks
// come from, or by its alternate domains.
func Office365(s *Site, p *route.Platform) bool {
	return p.Name == "office365" || s.Conf.Rules.Tenants[p.Name].Tenant != "" || s.isKnownBy(p, "spf.protection.outlook.com", ".onmicrosoft.com")
}

// Google reports a platform that is Google Workspace. See Office365.
func Google(s *Site, p *route.Platform) bool {
	return p.Name == "google" || s.isKnownBy(p, "_spf.google.com", ".test-google-a.com")
}

func (s *Site) isKnownBy(p *route.Platform, list, suffix string) bool {
	if slices.Contains(s.Conf.Sources, config.Source{Platform: p.Name, Kind: "spf", Name: list}) {
		return true
	}
	for _, domain := range s.Conf.Rules.Routes.Domains {
		if strings.HasSuffix(domain.Alternates[p.Name], suffix) {
			return true
		}
	}
	return false
}

// ours are our domains, sorted.
func (s *Site) ours() []string {
	return slices.Sorted(maps.Keys(s.Conf.Rules.Routes.Domains))
}

// outboundHost is the host by which all mail for the Internet leaves through a platform, as far as it is
// known, as Postfix writes it: "[HOST]:PORT". Platform is nil where mail leaves from here.
func (s *Site) outboundHost() (host string, platform *route.Platform) {
	routes := &s.Conf.Rules.Routes
	platform = routes.Platform(routes.Outbound)
	if platform == nil {
		return "", nil
	}
	host = platform.Relay
	if host == "" && Google(s, platform) {
		host = "[smtp-relay.gmail.com]:587"
	}
	for _, name := range s.ours() {
		if mx := s.DNS[routes.Domains[name].Alternates[platform.Name]].MX; host == "" && len(mx) > 0 {
			host = "[" + mx[0] + "]"
		}
	}
	return host, platform
}

// unknownHost is the step of whoever does not know where mail shall leave.
func (s *Site) unknownHost(title string, platform *route.Platform) Step {
	return Step{Title: title, Text: fmt.Sprintf("The host that takes it is not known: the DNS tells of no MX of the alternate domain. Set platform.%s.relay in %s, and run this again.", platform.Name, s.Conf.Path)}
}

// goesByCertificates reports that the configuration goes by the certificates of clients.
func (s *Site) goesByCertificates() bool {
	_, asked := s.Conf.Rules.DemandsTLS()
	asked = asked || len(s.Conf.Rules.OurCertificates) > 0
	for _, proofs := range s.Conf.Rules.Tenants {
		asked = asked || proofs.Certificate != ""
	}
	return asked
}
