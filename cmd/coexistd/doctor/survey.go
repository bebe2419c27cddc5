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
	"coexistd/cmd/coexistd/postconf"
	"coexistd/cmd/coexistd/sendmailcf"
	"coexistd/milter/sources"
	"coexistd/policy"
	"coexistd/policy/config"
)

// survey is what is known of an MTA that coexistd is to be attached to.
type survey struct {
	*examination // its conf is empty where there is no configuration yet
	// configured says that there is a configuration without mistakes.
	configured bool
	// domains are those of the configuration; without one, those that the MTA's names. Sorted.
	domains []string
}

// part is one part of a survey.
type part struct {
	subject string
	at      func(ctx context.Context, s *survey) []Finding
}

// partsOfPostfix are the parts of a survey of Postfix, in the order in which they are to be looked at.
func partsOfPostfix() []part {
	return []part{
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

// partsOfSendmail are those of a survey of Sendmail.
func partsOfSendmail() []part {
	of := func(look func(x *examination) []Finding) func(context.Context, *survey) []Finding {
		return func(_ context.Context, s *survey) []Finding { return look(s.examination) }
	}
	return []part{
		{"domains", surveySendmailDomains},
		{"recipients", surveySendmailRecipients},
		{"aliases", surveySendmailAliases},
		{"maps", surveySendmailMaps},
		{"networks", surveySendmailNetworks},
		{"upstream", of(lookAtSendmailUpstreams)},
		{"blocklists", of(lookAtSendmailBlocklists)},
		{"milters", surveySendmailMilters},
		{"filters", surveySendmailFilters},
	}
}

// Survey tells of the MTA of this host what coexistd will change about it, and what is to be
// done before it is attached. Path is where the configuration is, if there is one: without, it
// tells of the server alone. SendmailCF is as for Examine. A finding that fails says that mail would be
// refused or go astray. The error says why nothing can be told.
func Survey(ctx context.Context, path, sendmailCF string) ([]Finding, error) {
	s := &survey{examination: &examination{conf: &config.Config{Rules: new(policy.Rules)}, now: time.Now()}}
	s.findMTA(ctx, sendmailCF)
	parts, err := s.parts()
	if err != nil {
		return nil, err
	}
	var findings []Finding
	if s.mta.err == nil {
		findings = named("mta", sendmailBeside(sendmailcf.UsualPath))
	}
	findings = append(findings, named("configuration", s.configure(path))...)
	switch {
	case s.configured:
		s.domains = s.examination.domains()
	case s.mta.err == nil:
		s.domains = withWhole(s.mta.Main["myhostname"], s.mta.Foreign(nil))
	default:
		own, relayed := s.sendmail.foreign(s.examination, nil)
		s.domains = withWhole(s.sendmail.hostname(s.examination), append(own, relayed...))
	}
	for _, one := range parts {
		findings = append(findings, named(one.subject, one.at(ctx, s))...)
	}
	return findings, nil
}

// parts are those for the MTA of this host.
func (s *survey) parts() ([]part, error) {
	switch err := s.sendmail.err; {
	case s.mta.err == nil:
		return partsOfPostfix(), nil
	case !errors.Is(s.mta.err, postconf.ErrNone):
		return nil, fmt.Errorf("the settings of Postfix cannot be read: %w; run this on the host of the Postfix, as root, with the folder of its postconf command in PATH", s.mta.err)
	case errors.Is(err, sendmailcf.ErrNone):
		return nil, fmt.Errorf("%w, and %w; run this on the MTA's host, as root, with the folder of Postfix's postconf command in PATH, or say where Sendmail's configuration is: --sendmail-cf FILE", s.mta.err, err)
	case err != nil:
		return nil, fmt.Errorf("the settings of Sendmail cannot be read: %w; run this as root, and see that m4 has made the file", err)
	case s.sendmail.Macros["MTAHost"] != "":
		return nil, fmt.Errorf("%s is what the sendmail command reads, as submit.cf, and says nothing of the daemon: name the sendmail.cf beside it", s.sendmail.Path)
	}
	return partsOfSendmail(), nil
}

// sendmailBeside says that there is a Sendmail as well, whose configuration is at a path.
func sendmailBeside(path string) []Finding {
	other := readSendmail(path)
	if errors.Is(other.err, sendmailcf.ErrNone) {
		return nil
	}
	if _, err := other.started(); err != nil {
		return []Finding{fine("this tells of Postfix. There is a %s as well, but no Sendmail seems to run", path)}
	}
	return []Finding{warning("this tells of Postfix, but a Sendmail with %s runs here as well", path).
		do("where Sendmail is it that takes the mail, run: coexistd doctor --survey --sendmail-cf %s; otherwise stop it", path)}
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
