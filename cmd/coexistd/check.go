package main

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"coexistd/cmd/coexistd/daemon"
	checkup "coexistd/cmd/coexistd/doctor"
	"coexistd/cmd/coexistd/human"
	"coexistd/milter/sources"
	"coexistd/policy"
	"coexistd/policy/config"
	"coexistd/policy/route"
	"coexistd/policy/verdict"
)

// summary is what check found, for people and for programs.
type summary struct {
	OK        bool            `json:"ok"`
	Errors    []string        `json:"errors"`
	Notes     []string        `json:"notes"`
	Listeners []string        `json:"listeners"`
	Lookups   []string        `json:"lookups"`
	Metrics   string          `json:"metrics,omitempty"`
	Platforms []string        `json:"platforms"`
	Upstreams []string        `json:"upstreams"`
	Checks    []pointSummary  `json:"checks"`
	Archive   string          `json:"archive,omitempty"`
	Domains   []domainSummary `json:"domains"`
}

// pointSummary says which checks one contact point makes. PastMX is S0 for the
// domains whose MX is elsewhere.
type pointSummary struct {
	Point  string   `json:"point"`
	PastMX bool     `json:"past_mx"`
	Checks []string `json:"checks"`
	// ByWord are those that go by what the platform says.
	ByWord []string `json:"by_word,omitempty"`
	Report bool     `json:"report"`
}

type domainSummary struct {
	Domain    string         `json:"domain"`
	MX        string         `json:"mx"`
	Unlisted  string         `json:"unlisted"`
	SameAs    string         `json:"same_as,omitempty"`
	Addresses int            `json:"addresses"`
	Residence map[string]int `json:"residence"`
}

func checkCommand(c *call) *cobra.Command {
	var usual bool
	cmd := c.command(cobra.Command{
		Use:   "check",
		Short: "read the configuration and the directories and tell every mistake",
		Long: `check reads the configuration and the directories as the daemon would, and tells
every mistake at once, each with its file, line and key. Where there is none, it
says ok and sums up what is configured. It asks no server but the daemon, where that
runs, whose refusals it tells, too.`,
		Example: `  coexistd check
  coexistd check -c /tmp/new.toml
  coexistd check --json
  coexistd check --print-default > coexistd.toml`,
		Args: atMost(0),
	}, func([]string) int {
		if usual {
			fmt.Fprint(c.stdout, config.Default())
			return exitYes
		}
		return check(c)
	})
	c.jsonFlag(cmd.Flags())
	cmd.Flags().BoolVar(&usual, "print-default", false, "print a file in which every key stands with its meaning, commented out")
	return cmd
}

func check(c *call) int {
	s := summarize(c.config)
	if err := c.print(s, func(w io.Writer) { s.print(w, c.stderr) }); err != nil {
		return c.wrong("%v", err)
	}
	if !s.OK {
		return exitNo
	}
	return exitYes
}

func summarize(path string) summary {
	s := summary{
		Errors: []string{}, Notes: []string{}, Listeners: []string{}, Lookups: []string{}, Platforms: []string{}, Upstreams: []string{},
		Checks: []pointSummary{}, Domains: []domainSummary{},
	}
	reading := config.Load(path)
	for _, one := range reading.Problems {
		s.Errors = append(s.Errors, one.String())
	}
	conf := reading.Config
	if conf == nil {
		s.addDirectories(reading)
		return s
	}
	for _, note := range conf.Notes {
		s.Notes = append(s.Notes, note.Text)
	}
	if err := daemon.CheckOutsides(conf); err != nil {
		s.Errors = append(s.Errors, strings.Split(err.Error(), "\n")...)
	}
	counts, directories := s.addDirectories(reading)
	for _, one := range append(daemon.LostReports(conf, directories.Set()), daemon.LostArchive(conf, directories.Set())...) {
		s.Errors = append(s.Errors, one.String())
	}
	if _, err := daemon.ReadTexts(conf); err != nil {
		s.Errors = append(s.Errors, strings.Split(err.Error(), "\n")...)
	}
	s.Errors = append(s.Errors, unreadable(conf)...)
	status, barred := running(conf)
	s.Errors = append(s.Errors, refusedByRunning(conf, status, directories)...)
	if !barred {
		s.Errors = append(s.Errors, takenPorts(conf, status)...)
	}
	for _, l := range conf.Listeners {
		s.Listeners = append(s.Listeners, strings.TrimSpace(l.Address+" "+l.Checkpoint.String()))
	}
	for _, l := range conf.Lookups {
		s.Lookups = append(s.Lookups, l.Address)
	}
	for _, l := range conf.Metrics {
		s.Metrics = l.Address
	}
	for _, platform := range conf.Rules.Routes.Platforms {
		s.Platforms = append(s.Platforms, platform.Name)
	}
	s.Upstreams = slices.AppendSeq(s.Upstreams, maps.Keys(conf.Rules.Upstreams))
	slices.Sort(s.Upstreams)
	s.addChecks(conf.Rules)
	s.Archive = conf.Rules.Archive.String()
	s.addDomains(conf.Rules.Routes.Domains, counts)
	s.OK = len(s.Errors) == 0
	return s
}

// addDirectories reads the directories. It returns by domain how many addresses live where.
func (s *summary) addDirectories(reading config.Reading) (counts map[string]map[string]int, all sources.Directories) {
	counts, all = make(map[string]map[string]int), sources.Open(reading.Directories, nil)
	for _, one := range all {
		if errors.Is(one.Err, sources.ErrUnread) {
			s.Notes = append(s.Notes, one.Err.Error()+": until the daemon has read it, its domains are answered 451")
			continue
		}
		if one.Err != nil {
			s.Errors = append(s.Errors, strings.Split(one.Err.Error(), "\n")...)
			continue
		}
		countLiving(counts, all, one)
		for _, note := range []string{checkup.LoginNote(reading.Config, all, one), checkup.LimitNote(one)} {
			if note != "" {
				s.Notes = append(s.Notes, note)
			}
		}
		if text := one.Snapshot.TooUnclear(); text != "" {
			s.Errors = append(s.Errors, text)
		}
		for _, mistake := range all.Mistakes(one) {
			s.Notes = append(s.Notes, mistake.Text+"; "+mistake.Remedy)
		}
	}
	return counts, all
}

// countLiving adds the addresses of a list that count, by domain and where they live.
func countLiving(counts map[string]map[string]int, all sources.Directories, one *sources.List) {
	ranking := all.Ranking(one)
	for entry := range one.Snapshot.All() {
		lives := entry.Residence().String()
		switch standing, _ := ranking.Standing(entry); standing {
		case sources.Shadowed:
			continue
		case sources.Undecided:
			lives = "undecided"
		case sources.Unclear:
			lives = "unclear"
		}
		if counts[entry.Domain()] == nil {
			counts[entry.Domain()] = make(map[string]int)
		}
		counts[entry.Domain()][lives]++
	}
}

func (s *summary) addDomains(domains map[string]*route.Domain, counts map[string]map[string]int) {
	for _, name := range slices.Sorted(maps.Keys(domains)) {
		domain := domains[name]
		d := domainSummary{Domain: name, MX: cmp.Or(domain.MX, "here"), Unlisted: "reject", SameAs: domain.SameAs, Residence: map[string]int{}}
		maps.Copy(d.Residence, counts[name])
		if domain.Unlisted.Kind != route.Nowhere {
			d.Unlisted = domain.Unlisted.String()
		}
		for _, n := range d.Residence {
			d.Addresses += n
		}
		s.Domains = append(s.Domains, d)
	}
}

// addChecks tells the checks of each point. What is past the MX is told only when
// some domain's MX is elsewhere.
func (s *summary) addChecks(p *policy.Rules) {
	add := func(at verdict.Checkpoint, point policy.Point, past bool) {
		one := pointSummary{Point: at.String(), PastMX: past, Checks: []string{}, Report: point.Report}
		for _, check := range point.Checks {
			one.Checks = append(one.Checks, check.Name)
			if check.ByWord {
				one.ByWord = append(one.ByWord, check.Name)
			}
		}
		s.Checks = append(s.Checks, one)
	}
	for at := verdict.S0; at <= verdict.S4; at++ {
		add(at, p.Points[at], false)
		if at == verdict.S0 && slices.ContainsFunc(slices.Collect(maps.Values(p.Routes.Domains)), func(d *route.Domain) bool { return d.MX != "" }) {
			add(at, p.PastMX, true)
		}
	}
}

func (s summary) print(w, stderr io.Writer) {
	for _, text := range s.Errors {
		fmt.Fprintln(stderr, paint(stderr, red, printableLine(text)))
	}
	if !s.OK {
		return
	}
	fmt.Fprintln(w, paint(w, green, "ok"))
	fmt.Fprintf(w, "listen     %s\n", strings.Join(s.Listeners, ", "))
	if len(s.Lookups) > 0 {
		fmt.Fprintf(w, "lookup     %s\n", strings.Join(s.Lookups, ", "))
	}
	if s.Metrics != "" {
		fmt.Fprintf(w, "metrics    %s\n", s.Metrics)
	}
	fmt.Fprintf(w, "platforms  %s\n", strings.Join(append([]string{"here"}, s.Platforms...), ", "))
	if len(s.Upstreams) > 0 {
		fmt.Fprintf(w, "upstreams  %s\n", strings.Join(s.Upstreams, ", "))
	}
	for _, point := range s.Checks {
		name := point.Point
		if point.PastMX {
			name += " past MX"
		}
		checks := slices.Clone(point.Checks)
		for i, check := range checks {
			if slices.Contains(point.ByWord, check) {
				checks[i] += " (as the platform says)"
			}
		}
		fmt.Fprintf(w, "%-10s %s\n", name, cmp.Or(strings.Join(checks, ", "), "none"))
	}
	if s.Archive != "" {
		fmt.Fprintf(w, "archive    %s\n", s.Archive)
	}
	for _, d := range s.Domains {
		people := human.Count(d.Addresses, "address")
		if d.SameAs != "" {
			people = "same as " + d.SameAs
		}
		fmt.Fprintf(w, "domain     %s: mx %s, %s", d.Domain, d.MX, people)
		for _, residence := range slices.Sorted(maps.Keys(d.Residence)) {
			fmt.Fprintf(w, ", %d %s", d.Residence[residence], residence)
		}
		fmt.Fprintf(w, ", unlisted %s\n", d.Unlisted)
	}
	for _, note := range s.Notes {
		fmt.Fprintf(w, "%s       %s\n", paint(w, yellow, "note"), printableLine(note))
	}
}
