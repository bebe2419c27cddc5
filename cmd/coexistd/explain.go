package main

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/netip"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"coexistd/cmd/coexistd/daemon"
	"coexistd/milter/record"
	"coexistd/milter/transaction"
	"coexistd/policy"
	"coexistd/policy/config"
	"coexistd/policy/mail"
	"coexistd/policy/route"
	"coexistd/policy/seal"
	"coexistd/policy/verdict"
)

// explanation is what would happen to a message.
type explanation struct {
	Checkpoint string    `json:"checkpoint"`
	Checks     []string  `json:"checks"`
	Verdict    string    `json:"verdict"`
	Reply      string    `json:"reply"`
	Observed   *observed `json:"observed,omitempty"`
	// Archived is the address to which a copy for the archive goes, or empty.
	Archived   string          `json:"archived,omitempty"`
	Recipients []explainedRcpt `json:"recipients"`
	Trace      []string        `json:"trace"`
	strictest  verdict.Verdict
}

// observed is what would be done for those recipients for whom the mode is observe.
type observed struct {
	Verdict string `json:"verdict"`
	Check   string `json:"check"`
	Reply   string `json:"reply"`
}

type explainedRcpt struct {
	Address   string   `json:"address"`
	Residence string   `json:"residence"`
	Flow      string   `json:"flow"`
	Rewritten []string `json:"rewritten"`
	Route     string   `json:"route,omitempty"`
	Verdict   string   `json:"verdict"`
	Reply     string   `json:"reply"`
	// Observed says that all of this is only what would be.
	Observed bool `json:"observed,omitempty"`
}

// mode says that nothing is done, or is empty.
func (r *explainedRcpt) mode() string {
	if r.Observed {
		return "observe: nothing of this is done, it is what would be"
	}
	return ""
}

// explained makes of a ruling what is printed of it.
func explained(r policy.Ruling) explainedRcpt {
	one := explainedRcpt{
		Address: r.Address, Residence: r.Residence.String(), Flow: r.Ways.String(), Rewritten: []string{}, Route: r.Rule,
		Verdict: r.Verdict.String(), Reply: r.Reply.String(), Observed: r.Observed,
	}
	if r.Elsewhere != "" {
		one.Rewritten = []string{r.Elsewhere}
	}
	return one
}

// question is what explain was asked.
type question struct {
	from     string
	to       []string
	client   string
	login    string
	listener int
	onHost   bool
	file     string

	header      *mail.Header // takes the place of the file; nil: there is none
	certificate string
	tls         string
	// pass is given to the message, for its first recipient; nil: none.
	pass *seal.Pass
	assumed
}

func explainCommand(c *call) *cobra.Command {
	var q question
	var flows bool
	cmd := c.command(cobra.Command{
		Use:   "explain --from SENDER --to RECIPIENT [FILE.eml]",
		Short: "tell what would happen to a message, and why",
		Long: `explain tells what the daemon would answer to a message, and why. It walks the
message through the same code and asks nobody: what the flags leave unsaid counts as
clean, and is told.

FILE.eml is the message. Without it, the envelope's sender is the author.

The exit status is 0 when the message is taken, 1 when it is refused, held or
dropped, and 2 when it is put off, or the usage was wrong.`,
		Example: `  coexistd explain --from x@example.net --to alice@acmecorp.com --client 192.0.2.1
  coexistd explain --from bob@acmecorp.com --login bob --to x@example.net --over "per user"
  coexistd explain --from "" --to alice@acmecorp.com --client 192.0.2.1 --find virus=hit:Eicar bounce.eml
  coexistd explain --flows`,
		Args: atMost(1),
	}, func(files []string) int {
		q.file = strings.Join(files, "")
		return explain(c, &q, flows)
	})
	c.jsonFlag(cmd.Flags())
	cmd.Flags().BoolVar(&flows, "flows", false, "print the table of flows for this configuration")
	q.flags(cmd.Flags())
	completeQuestion(cmd)
	return cmd
}

// flags are those that ask the question.
func (q *question) flags(flags *pflag.FlagSet) {
	flags.StringVar(&q.from, "from", "", "the envelope `SENDER`; empty is the null sender")
	flags.StringArrayVar(&q.to, "to", nil, "an envelope `RECIPIENT`; may be given again")
	flags.StringVar(&q.client, "client", "", "the client's `IP` address")
	flags.StringVar(&q.login, "login", "", "the `LOGIN` of an authenticated client")
	flags.StringVar(&q.certificate, "certificate", "", "the common `NAME` of the client's trusted TLS certificate")
	flags.StringVar(&q.tls, "tls", "", "the `VERSION` of TLS that the client speaks, like 1.3; empty is none, save with --certificate")
	flags.IntVar(&q.listener, "listener", 1, "the `NUMBER` of the [[listen]] section that the message comes by")
	flags.BoolVar(&q.onHost, "on-host", false, "the message is made on the MTA's host, as by the sendmail command")
	flags.Func("find", "what a check finds, as `CHECK=STATE[:NAME]`, where STATE is clean, hit or unknown; may be given again", q.addFinding)
	flags.Func("over", "the name of a `RULE` whose limit is reached; may be given again", q.addOver)
	flags.Func("signed", "a `DOMAIN` whose DKIM signature of the message passes; may be given again", q.addSigned)
	flags.Func("without", "`WHAT` cannot be had: spool, store, directory or networks; may be given again", q.addWithout)
}

// completeQuestion tells the shell what may follow.
func completeQuestion(cmd *cobra.Command) {
	cmd.ValidArgsFunction = func(_ *cobra.Command, files []string, _ string) ([]string, cobra.ShellCompDirective) {
		if len(files) > 0 {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		return []string{"eml"}, cobra.ShellCompDirectiveFilterFileExt
	}
	cmd.RegisterFlagCompletionFunc("without", cobra.FixedCompletions(withouts, cobra.ShellCompDirectiveNoFileComp))
	var findings []string
	for _, check := range policy.Checks() {
		for _, state := range []string{"clean", "hit", "unknown"} {
			if finding := check.Name + "=" + state; new(assumed).addFinding(finding) == nil {
				findings = append(findings, finding)
			}
		}
	}
	cmd.RegisterFlagCompletionFunc("find", cobra.FixedCompletions(findings, cobra.ShellCompDirectiveNoFileComp))
}

func explain(c *call, q *question, flows bool) int {
	reading := config.Load(c.config)
	if reading.Config == nil {
		return c.fail(reading.Problems)
	}
	if len(reading.Problems) > 0 {
		fmt.Fprintln(c.stderr, reading.Problems)
	}
	conf := reading.Config
	if flows {
		return printFlows(c, conf)
	}
	e, err := answer(conf, q)
	if err != nil {
		return c.wrong("%v", err)
	}
	if err := c.print(e, e.print); err != nil {
		return c.wrong("%v", err)
	}
	switch e.strictest {
	case verdict.Accept, verdict.Tag:
		return exitYes
	case verdict.Tempfail:
		return exitWrong
	}
	return exitNo
}

// answer walks the message in question through a transaction, as the daemon does.
func answer(conf *config.Config, q *question) (*explanation, error) {
	arrival, err := q.arrival(conf)
	if err != nil {
		return nil, err
	}
	keys, err := daemon.ReadKeys(conf)
	if err != nil {
		return nil, err
	}
	header, body, err := q.message()
	if err != nil {
		return nil, err
	}
	q.addSignature(header)
	if err := q.addPass(header, body, keys, conf.Rules.Delimiters); err != nil {
		return nil, err
	}
	e := &explanation{Checks: []string{}, Recipients: []explainedRcpt{}}
	rt, err := q.runtime(conf, keys)
	if err != nil {
		e.Trace = append(e.Trace, err.Error()+"; a daemon that is running keeps the list that it has")
	}
	var last lastRecord
	rt.Sinks = []record.Sink{&last}
	visitor := q.visitor(rt, arrival.Arrival)
	t := transaction.New(&visitor)
	t.Begin(rt, arrival)
	replies := make([]verdict.Reply, len(q.to))
	for i, path := range q.to {
		path = strings.TrimSuffix(strings.TrimPrefix(path, "<"), ">")
		q.to[i] = path
		replies[i] = t.Recipient(path, "", "")
	}
	if !slices.ContainsFunc(replies, verdict.Reply.IsZero) {
		t.Abort()
	} else {
		for name, value := range header.All() {
			t.Field(name, value)
		}
		if header.TooLarge() {
			t.Field(make([]byte, mail.MaxHeaderBytes), nil) // what was not kept
		}
		if t.WantsBody() {
			// Only reading could fail, and this has been read.
			_ = t.Body(func(b []byte) ([]byte, error) { return append(b, body...), nil })
		}
		t.End(context.Background())
	}
	q.noteUnasked()
	e.fill(last.told, q, replies)
	return e, nil
}

// lastRecord keeps what was told of a message.
type lastRecord struct{ told *record.Record }

func (l *lastRecord) Record(r *record.Record) { l.told = r }

// arrival is what the flags say of the client.
func (q *question) arrival(conf *config.Config) (a transaction.Arrival, err error) {
	if len(q.to) == 0 {
		return a, errors.New("--to is missing: give at least one recipient, or --flows")
	}
	if q.listener < 1 || q.listener > len(conf.Listeners) {
		return a, fmt.Errorf("--listener %d: the configuration has the listeners 1 to %d", q.listener, len(conf.Listeners))
	}
	a = transaction.Arrival{
		Arrival: policy.Arrival{
			Listener: conf.Listeners[q.listener-1].Checkpoint,
			Login:    q.login, Certificate: q.certificate, OnHost: q.onHost,
		},
		Path:  q.from,
		Terms: transaction.Terms{ChangesFields: true, ExactValues: true},
	}
	switch {
	case q.tls != "":
		if a.TLS = "TLSv" + q.tls; policy.TLSVersion(a.TLS) == 0 {
			return a, fmt.Errorf("--tls %q is not a version of TLS; write it like 1.3", q.tls)
		}
	case q.certificate != "":
		a.TLS = "TLSv1.3"
	}
	if q.client != "" {
		if a.Client, err = netip.ParseAddr(q.client); err != nil {
			return a, fmt.Errorf("--client %q is not an IP address", q.client)
		}
	}
	return a, nil
}

// message reads the message file: its header, and its body as it is on the wire. Without
// a file, the envelope's sender is taken to be the author.
func (q *question) message() (header *mail.Header, body []byte, err error) {
	if q.header != nil {
		return q.header, q.spooled(nil), nil
	}
	if q.file == "" {
		header = &mail.Header{}
		from := "<" + q.from + ">"
		if q.from == "" {
			from = "MAILER-DAEMON <>"
		}
		header.Add([]byte("From"), []byte(" "+from))
		return header, q.spooled(nil), nil
	}
	content, err := os.ReadFile(q.file)
	if err != nil {
		return nil, nil, fmt.Errorf("the message cannot be read: %w", err)
	}
	if header, err = mail.ReadHeader(bytes.NewReader(content)); err != nil {
		return nil, nil, fmt.Errorf("the header of %s cannot be read: %w", q.file, err)
	}
	_, body, _ = bytes.Cut(bytes.ReplaceAll(content, []byte("\r\n"), []byte("\n")), []byte("\n\n"))
	return header, q.spooled(bytes.ReplaceAll(body, []byte("\n"), []byte("\r\n"))), nil
}

// addPass gives the message its pass.
func (q *question) addPass(header *mail.Header, body []byte, keys seal.Keys, delimiters string) error {
	if q.pass == nil {
		return nil
	}
	mark, err := seal.ReadBody(io.MultiReader(strings.NewReader("\r\n"), bytes.NewReader(body)))
	if err != nil {
		return err
	}
	q.pass.Until = time.Now().Add(time.Minute).Unix()
	to, _ := mail.ParseAddress(q.to[0], delimiters)
	header.Add([]byte(seal.PassHeader), []byte(keys.SignPass(*q.pass, to.Owner, seal.MarksOf(header).And(mark))))
	return nil
}

// fill makes an explanation of what was told of the message, and of the replies to its
// recipients.
func (e *explanation) fill(r *record.Record, q *question, replies []verdict.Reply) {
	if r == nil {
		r = &record.Record{}
	}
	d, entry := r.Decision, r.Entry
	e.Checkpoint, e.Verdict, e.Reply, e.strictest = d.Checkpoint.String(), d.Verdict.String(), d.Reply.String(), d.Verdict
	e.Checks = append(e.Checks, d.Checks...)
	if len(d.Checks) == 0 {
		e.Checks = q.checksAsked()
	}
	if d.Checkpoint != verdict.Undecided {
		e.Trace = append(e.Trace, fmt.Sprintf("the message enters at %s: %s", d.Checkpoint, verdict.Because(entry.Why, entry.Handed)))
	}
	switch {
	case d.Checkpoint == verdict.Undecided:
		e.Trace = append(e.Trace, "the message is refused before anybody asks where it enters")
	case entry.Unready.Code != "":
		e.Trace = append(e.Trace, entry.Unready.String()+": a daemon puts the message off until they are")
	case entry.IsProvisional() && !r.Ended:
		e.Trace = append(e.Trace, "every recipient is refused before the message comes, so it counts as S0")
	case entry.IsProvisional():
		e.Trace = append(e.Trace, r.Proof.Reasons.String())
	}
	e.Trace = append(e.Trace, q.notes...)
	refused, ruled := r.Refused, d.Recipients
	why, said := d.Reasons.String(), false
	for i, path := range q.to {
		one := policy.Ruling{Address: path, Verdict: d.Verdict, Reply: d.Reply, Reasons: d.Reasons}
		switch taken := replies[i].IsZero(); {
		case len(refused) > 0 && (!taken || refused[0].Observed && refused[0].Address == path):
			one, refused = refused[0], refused[1:]
		case !taken:
			// The record names the first of many.
			one = policy.Ruling{Address: path, Verdict: replies[i].Verdict(), Reply: replies[i]}
		case len(ruled) > 0 && ruled[0].Address == path:
			one, ruled = ruled[0], ruled[1:]
		}
		e.Recipients = append(e.Recipients, explained(one))
		because := one.Reasons.String()
		said = said || because == why
		e.Trace = append(e.Trace, one.Address+": "+because)
		e.strictest = max(e.strictest, one.Done().Verdict)
	}
	if d.Verdict >= verdict.Tempfail && !said {
		e.Trace = append(e.Trace, why)
	}
	e.Trace = append(e.Trace, fmt.Sprintf("the message's verdict is %s", d.Verdict))
	if e.Archived = d.Archived; e.Archived != "" {
		e.Trace = append(e.Trace, fmt.Sprintf("a copy goes to the archive, %s, and nobody is told what becomes of it", e.Archived))
	}
	if would := d.Observed; would != nil {
		e.Observed = &observed{would.Verdict.String(), would.Check, would.Reply.String()}
		e.Trace = append(e.Trace, fmt.Sprintf("the mode is observe for those recipients of whom that is said: nothing is done for them; else the verdict would be %s", would.Verdict))
	}
}

func (e *explanation) print(w io.Writer) {
	fmt.Fprintf(w, "enters at  %s\nchecks     %s\nverdict    %s\n", cmp.Or(e.Checkpoint, "nowhere"), strings.Join(e.Checks, ", "), e.Verdict)
	if e.Reply != "" {
		fmt.Fprintf(w, "reply      %s\n", printableLine(e.Reply))
	}
	if would := e.Observed; would != nil {
		fmt.Fprintf(w, "would be   %s\n", printableLine(strings.TrimSpace(would.Verdict+" "+would.Reply)))
	}
	if e.Archived != "" {
		fmt.Fprintf(w, "archived   %s\n", printableLine(e.Archived))
	}
	for _, r := range e.Recipients {
		fmt.Fprintf(w, "\n%s\n", printableLine(r.Address))
		for _, line := range [][2]string{
			{"mode", r.mode()}, {"residence", r.Residence}, {"flow", r.Flow}, {"rewritten", strings.Join(r.Rewritten, ", ")}, {"route", r.Route},
			{"verdict", r.Verdict}, {"reply", r.Reply},
		} {
			if line[1] != "" {
				fmt.Fprintf(w, "  %-10s %s\n", line[0], printableLine(line[1]))
			}
		}
	}
	fmt.Fprintln(w, "\nwhy")
	for _, step := range e.Trace {
		fmt.Fprintf(w, "  - %s\n", printableLine(step))
	}
}

// flowTable is the table of flows of one domain and one platform.
type flowTable struct {
	Domain   string     `json:"domain"`
	Platform string     `json:"platform"`
	MX       string     `json:"mx"`
	Flows    []flowLine `json:"flows"`
}

type flowLine struct {
	From     string `json:"from"`
	To       string `json:"to"`
	Flow     string `json:"flow"`
	PassesUs bool   `json:"passes_us"`
}

func printFlows(c *call, conf *config.Config) int {
	tables := []flowTable{}
	routes := &conf.Rules.Routes
	// Networks that come from a list count although nobody has fetched it yet.
	provable := func(p *route.Platform) bool {
		proofs, known := conf.Rules.Tenants[p.Name], conf.Networks[p.Name]
		return proofs.Any() && (known.Networks.Len() > 0 || known.Pending)
	}
	for _, name := range slices.Sorted(maps.Keys(routes.Domains)) {
		domain := routes.Domains[name]
		for _, platform := range routes.Platforms {
			if !platform.Holds(domain) {
				continue
			}
			t := flowTable{Domain: name, Platform: platform.Name, MX: cmp.Or(domain.MX, "here")}
			for _, row := range routes.Flows(domain, platform, provable) {
				t.Flows = append(t.Flows, flowLine{row.From, row.To, row.Ways.String(), row.PassesUs})
			}
			tables = append(tables, t)
		}
	}
	err := c.print(tables, func(w io.Writer) {
		for i, t := range tables {
			if i > 0 {
				fmt.Fprintln(w)
			}
			t.print(w)
		}
		fmt.Fprintln(w, "\n- does not pass our MTA")
	})
	if err != nil {
		return c.wrong("%v", err)
	}
	return exitYes
}

func (t flowTable) print(w io.Writer) {
	fmt.Fprintf(w, "%s and %s, MX at %s\n", t.Domain, t.Platform, t.MX)
	from, to := 20, 22
	for _, row := range t.Flows {
		from, to = max(from, columns(row.From)), max(to, columns(row.To))
	}
	for _, row := range t.Flows {
		mark := " "
		if !row.PassesUs {
			mark = "-"
		}
		fmt.Fprintf(w, "%s %s %s %s\n", mark, pad(row.From, from), pad(row.To, to), row.Flow)
	}
}
