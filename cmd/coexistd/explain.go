package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/netip"
	"os"
	"slices"
	"strings"

	"github.com/emersion/go-message/textproto"

	"coexistd/policy"
	"coexistd/policy/config"
	"coexistd/policy/directory"
	"coexistd/scanners"
	"coexistd/scanners/sender"
)

// explanation is what would happen to a message.
type explanation struct {
	Checkpoint string          `json:"checkpoint"`
	Checks     []string        `json:"checks"`
	Verdict    string          `json:"verdict"`
	Reply      string          `json:"reply"`
	Recipients []explainedRcpt `json:"recipients"`
	Trace      []string        `json:"trace"`
	strictest  policy.Verdict
}

type explainedRcpt struct {
	Address   string   `json:"address"`
	Residence string   `json:"residence"`
	Flow      string   `json:"flow"`
	Rewritten []string `json:"rewritten"`
	Verdict   string   `json:"verdict"`
	Reply     string   `json:"reply"`
}

// question is what explain was asked.
type question struct {
	from     string
	to       []string
	client   string
	user     string
	listener int
	onHost   bool
	file     string

	certificate string
}

func explain(c *call) int {
	path := c.flags.String("c", defaultConfig, "the configuration `file`")
	asJSON := c.flags.Bool("json", false, "print JSON")
	flows := c.flags.Bool("flows", false, "print the table of flows for this configuration")
	var q question
	c.flags.StringVar(&q.from, "from", "", "the envelope `sender`; empty is the null sender")
	c.flags.Func("to", "an envelope `recipient`; may be given again", func(s string) error {
		q.to = append(q.to, s)
		return nil
	})
	c.flags.StringVar(&q.client, "client", "", "the client's `IP` address")
	c.flags.StringVar(&q.user, "user", "", "the `login` of an authenticated client")
	c.flags.StringVar(&q.certificate, "certificate", "", "the common `name` of the client's trusted TLS certificate")
	c.flags.IntVar(&q.listener, "listener", 1, "the `number` of the [[listen]] section that the message comes by")
	c.flags.BoolVar(&q.onHost, "on-host", false, "the message is made on the MTA's host, as by the sendmail command")
	if status, done := c.parse(1); done {
		return status
	}
	q.file = c.flags.Arg(0)
	conf, err := config.Load(*path)
	if err != nil {
		fmt.Fprintln(c.stderr, err)
		if !config.OnlyLists(err) {
			return exitWrong
		}
	}
	if *flows {
		return printFlows(c, conf, *asJSON)
	}
	e, err := answer(conf, q)
	if err != nil {
		return c.wrong("%v", err)
	}
	if *asJSON {
		if err := printJSON(c.stdout, e); err != nil {
			return c.wrong("%v", err)
		}
	} else {
		e.print(c.stdout)
	}
	switch e.strictest {
	case policy.Accept, policy.Tag:
		return exitYes
	case policy.Tempfail:
		return exitWrong
	}
	return exitNo
}

// answer decides on the message in question as the daemon would.
func answer(conf *config.Config, q question) (*explanation, error) {
	if len(q.to) == 0 {
		return nil, errors.New("--to is missing: give at least one recipient, or --flows")
	}
	if q.listener < 1 || q.listener > len(conf.Listeners) {
		return nil, fmt.Errorf("--listener %d: the configuration has the listeners 1 to %d", q.listener, len(conf.Listeners))
	}
	arrival := policy.Arrival{
		Listener: conf.Listeners[q.listener-1].Checkpoint,
		Login:    q.user, Certificate: q.certificate, OnHost: q.onHost,
	}
	if q.client != "" {
		client, err := netip.ParseAddr(q.client)
		if err != nil {
			return nil, fmt.Errorf("--client %q is not an IP address", q.client)
		}
		arrival.Client = client
	}
	p := withNetworks(conf.Policy, savedLists(conf))
	sender, err := policy.ParseAddress(q.from, p.Delimiters)
	if err != nil {
		return nil, fmt.Errorf("--from %q: %w", q.from, err)
	}
	headers, err := readHeaders(q.file)
	if err != nil {
		return nil, err
	}
	if p.TraceKey, err = readKey(conf); err != nil {
		return nil, err
	}
	e := &explanation{Checks: []string{}, Recipients: []explainedRcpt{}}
	files, err := openDirectories(conf, nil)
	if err != nil {
		e.Trace = append(e.Trace, err.Error()+"; a daemon that is running keeps the list that it has")
	}
	set := directory.NewSet(files)

	m := policy.Message{
		Entry: p.Enter(arrival), Sender: sender, Client: arrival.Client, Login: q.user, Row: set.Row, Limit: set.Limit,
		Traces: headers.Values(policy.TraceHeader), Marks: policy.Marks(headers.Values),
		Authors: authors(q, sender, headers),
	}
	rulings, kept, err := admit(p, set, &m, q.to)
	if err != nil {
		return nil, err
	}
	switch {
	case m.Entry.Provisional && len(kept) == 0:
		m.Proof.Why = "every recipient is refused before the message comes, so it counts as S0"
	case m.Entry.Provisional:
		evidence := scanners.Evidence{Values: headers.Values, Certificate: q.certificate}
		m.Proof = scanners.Prove(m.Entry.Platform, evidence)
		if scanners.NeedsDKIM(m.Entry.Platform, evidence) {
			m.Proof.Why += "; signatures are not verified here, and a daemon may find one that proves the tenant"
		}
	}
	open := p.Open(m)
	for _, check := range unasked(open.Asks()) {
		open.Findings = append(open.Findings, scanners.Clean(check))
	}
	d := open.Decide()
	m = open.Message
	for k, i := range kept {
		rulings[i] = d.Recipients[k]
	}
	if len(kept) == 0 {
		first := slices.MaxFunc(rulings, func(a, b policy.Ruling) int { return int(a.Verdict) - int(b.Verdict) })
		d.Verdict, d.Reply = first.Verdict, first.Reply
	}
	e.fill(m, d, rulings)
	return e, nil
}

// authors are those of the message file. Without one, the envelope's sender is
// taken to be the author.
func authors(q question, from policy.Address, headers scanners.Headers) policy.Authors {
	if q.file != "" {
		return sender.ReadAuthors(headers.Values)
	}
	found := policy.Authors{Fields: 1}
	if !from.IsNull() {
		found.From = []policy.Author{{Address: from}}
	}
	return found
}

// unasked are the checks that explain does not make: those that ask a server, or
// count.
func unasked(asks policy.Asks) []string {
	names := asks.Scans
	if asks.Authentication {
		names = append(names, policy.CheckSpoof)
	}
	if asks.Rate {
		names = append(names, policy.CheckRate)
	}
	return names
}

// admit rules on the recipients one after the other, as at RCPT. It adds to the
// message those that are not refused, and returns their indices as kept.
func admit(p *policy.Policy, set *directory.Set, m *policy.Message, to []string) (rulings []policy.Ruling, kept []int, err error) {
	for i, path := range to {
		address, err := policy.ParseAddress(path, p.Delimiters)
		switch {
		case err != nil:
			return nil, nil, fmt.Errorf("--to %q: %w", path, err)
		case address.IsNull():
			return nil, nil, fmt.Errorf("--to %q names nobody", path)
		}
		if strings.HasPrefix(path, "<") && strings.HasSuffix(path, ">") {
			path = path[1 : len(path)-1]
		}
		r := policy.Recipient{Path: path, Address: address, Listing: set.List(p.Home(address))}
		ruling := p.Admit(m.Entry, m.Sender, len(m.Recipients), r)
		if ruling.Verdict <= policy.Tag {
			m.Recipients = append(m.Recipients, r)
			kept = append(kept, i)
		}
		rulings = append(rulings, ruling)
	}
	return rulings, kept, nil
}

func (e *explanation) fill(m policy.Message, d policy.Decision, rulings []policy.Ruling) {
	e.Checkpoint, e.Checks = d.Checkpoint.String(), d.Checks
	e.Verdict, e.Reply, e.strictest = d.Verdict.String(), d.Reply.String(), d.Verdict
	e.Trace = append(e.Trace, fmt.Sprintf("the message enters at %s: %s", d.Checkpoint, m.Entry.Why))
	if m.Entry.Provisional {
		e.Trace = append(e.Trace, m.Proof.Why)
	}
	for _, f := range m.Findings {
		e.Trace = append(e.Trace, f.Check+" is not asked here: counted as clean")
	}
	if m.Entry.Unready != "" {
		e.Trace = append(e.Trace, m.Entry.Unready+": a daemon puts the message off until they are")
	}
	for _, ruling := range rulings {
		rewritten := ruling.Rewritten
		if rewritten == nil {
			rewritten = []string{}
		}
		e.Recipients = append(e.Recipients, explainedRcpt{
			Address: ruling.Address, Residence: ruling.Residence, Flow: ruling.Flow, Rewritten: rewritten,
			Verdict: ruling.Verdict.String(), Reply: ruling.Reply.String(),
		})
		e.Trace = append(e.Trace, fmt.Sprintf("%s: %s", ruling.Address, ruling.Reason))
		e.strictest = max(e.strictest, ruling.Verdict)
	}
	e.Trace = append(e.Trace, fmt.Sprintf("the message's verdict is %s", d.Verdict))
}

func (e *explanation) print(w io.Writer) {
	fmt.Fprintf(w, "enters at  %s\nchecks     %s\nverdict    %s\n", e.Checkpoint, strings.Join(e.Checks, ", "), e.Verdict)
	if e.Reply != "" {
		fmt.Fprintf(w, "reply      %s\n", e.Reply)
	}
	for _, r := range e.Recipients {
		fmt.Fprintf(w, "\n%s\n", r.Address)
		for _, line := range [][2]string{
			{"residence", r.Residence}, {"flow", r.Flow}, {"rewritten", strings.Join(r.Rewritten, ", ")},
			{"verdict", r.Verdict}, {"reply", r.Reply},
		} {
			if line[1] != "" {
				fmt.Fprintf(w, "  %-10s %s\n", line[0], line[1])
			}
		}
	}
	fmt.Fprintln(w, "\nwhy")
	for _, step := range e.Trace {
		fmt.Fprintf(w, "  - %s\n", step)
	}
}

// readHeaders reads a message file's header fields; no file, none.
func readHeaders(path string) (scanners.Headers, error) {
	if path == "" {
		return nil, nil
	}
	file, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("the message cannot be read: %w", err)
	}
	defer file.Close()
	parsed, err := textproto.ReadHeader(bufio.NewReader(file))
	if err != nil {
		return nil, fmt.Errorf("the header of %s cannot be read: %w", path, err)
	}
	var headers scanners.Headers
	for fields := parsed.Fields(); fields.Next(); {
		headers = append(headers, scanners.Header{Name: fields.Key(), Value: fields.Value()})
	}
	return headers, nil
}

// flowTable is the table of flows of one domain and one platform.
type flowTable struct {
	Domain   string           `json:"domain"`
	Platform string           `json:"platform"`
	MX       string           `json:"mx"`
	Flows    []policy.FlowRow `json:"flows"`
}

func printFlows(c *call, conf *config.Config, asJSON bool) int {
	tables := []flowTable{}
	for _, name := range slices.Sorted(maps.Keys(conf.Policy.Domains)) {
		domain := conf.Policy.Domains[name]
		for _, platform := range conf.Policy.Platforms {
			if _, ok := domain.Alternates[platform.Name]; !ok {
				continue
			}
			t := flowTable{Domain: name, Platform: platform.Name, MX: "here", Flows: conf.Policy.Flows(domain, platform)}
			if domain.MX != "" {
				t.MX = domain.MX
			}
			tables = append(tables, t)
		}
	}
	if asJSON {
		if err := printJSON(c.stdout, tables); err != nil {
			return c.wrong("%v", err)
		}
		return exitYes
	}
	for i, t := range tables {
		if i > 0 {
			fmt.Fprintln(c.stdout)
		}
		fmt.Fprintf(c.stdout, "%s and %s, MX at %s\n", t.Domain, t.Platform, t.MX)
		for _, row := range t.Flows {
			mark := " "
			if !row.PassesUs {
				mark = "-"
			}
			fmt.Fprintf(c.stdout, "%s %-20s %-22s %s\n", mark, row.From, row.To, row.Flow)
		}
	}
	fmt.Fprintln(c.stdout, "\n- does not pass our MTA")
	return exitYes
}
