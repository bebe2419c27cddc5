package doctor

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"sync"
	"time"

	"coexistd/cmd/coexistd/daemon"
	"coexistd/milter/sources"
	"coexistd/policy"
	"coexistd/policy/config"
)

// survey is what is known of a Postfix that coexistd is to be attached to.
type survey struct {
	*examination // its conf is empty where there is no configuration yet
	// configured says that there is a configuration without mistakes.
	configured bool
	// domains are those of the configuration; without one, those that main.cf names. Sorted.
	domains []string
}

// surveyed are the parts of a survey, in the order in which they are to be looked at.
func surveyed() []struct {
	subject string
	at      func(ctx context.Context, s *survey) []Finding
} {
	return []struct {
		subject string
		at      func(ctx context.Context, s *survey) []Finding
	}{
		{"domains", surveyDomains},
		{"recipients", surveyRecipients},
		{"aliases", surveyAliases},
		{"maps", surveyMaps},
		{"networks", surveyNetworks},
		{"upstream", surveyUpstreams},
		{"blocklists", func(ctx context.Context, s *survey) []Finding { return lookAtBlocklists(ctx, s.examination) }},
		{"milters", surveyMilters},
		{"filters", surveyFilters},
		{"chroot", surveyChroots},
	}
}

// Survey tells of the Postfix of this host what coexistd will change about it, and what is to be
// done before it is attached. Path is where the configuration is, if there is one: without, it
// tells of the server alone. A finding that fails says that mail would be refused or go astray. The error says why Postfix cannot be read.
func Survey(ctx context.Context, path string) ([]Finding, error) {
	mta := readPostfix(ctx)
	if mta.err != nil {
		return nil, fmt.Errorf("the settings of Postfix cannot be read: %w; run this on the host of the Postfix, as root, with the folder of its postconf command in PATH", mta.err)
	}
	s := &survey{examination: &examination{conf: &config.Config{Rules: new(policy.Rules)}, mta: mta, now: time.Now()}}
	findings := named("configuration", s.configure(path))
	if s.configured {
		s.domains = s.examination.domains()
	} else {
		s.domains = s.namedDomains()
	}
	for _, one := range surveyed() {
		findings = append(findings, named(one.subject, one.at(ctx, s))...)
	}
	return findings, nil
}

// configure reads the configuration, where there is one.
func (s *survey) configure(path string) (findings []Finding) {
	if _, err := os.Stat(path); errors.Is(err, fs.ErrNotExist) {
		return []Finding{fine("there is no %s yet: this tells of the server alone", path)}
	}
	reading := config.Load(path)
	for _, one := range reading.Problems {
		findings = append(findings, failure("%v", one).do("correct that, see that coexistd check -c %s says ok, and run this again: until then it tells of the server alone", path))
	}
	if len(findings) == 0 {
		s.configured, s.conf, s.networks = true, reading.Config, daemon.SavedLists(reading.Config).Live()
		s.lists = sync.OnceValue(func() sources.Directories { return sources.Open(reading.Directories, nil) })
	}
	return findings
}

// takes tells of some domains which of them a class of Postfix's has.
func (s *survey) takes(ctx context.Context, setting string, domains []string) (list []string, err error) {
	has, err := s.mta.Members(ctx, setting, domains, s.conf.Lookups)
	for _, domain := range domains {
		if has[domain] {
			list = append(list, domain)
		}
	}
	slices.Sort(list)
	return list, err
}
