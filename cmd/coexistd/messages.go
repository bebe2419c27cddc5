package main

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"coexistd/cmd/coexistd/account"
	"coexistd/cmd/coexistd/daemon"
	"coexistd/milter/messages"
	"coexistd/milter/mtalog"
	"coexistd/milter/ownmail"
	"coexistd/policy"
	"coexistd/policy/config"
	"coexistd/policy/config/quantity"
	"coexistd/policy/verdict"
)

func messagesCommand(c *call) *cobra.Command {
	cmd := c.group(cobra.Command{
		Use:   "messages ACTION",
		Short: "find out what became of a message",
		Long: `messages tells what became of each message, and why, for as long as messages.keep says.
It needs no running daemon.`,
		Example: `  coexistd messages find --to alice@acmecorp.com --since 2d
  coexistd messages show '<20261123091343.6b1f@example.net>'
  coexistd messages counts --since 7d`,
	},
		messagesFindCommand(c),
		messagesShowCommand(c),
		messagesCountsCommand(c),
		messagesObservedCommand(c),
	)
	c.jsonFlag(cmd.PersistentFlags())
	return cmd
}

// openMessages opens the records of the configuration, as the user who runs the daemon.
func (c *call) openMessages() (*config.Config, *messages.Records, error) {
	if err := account.BecomeDaemon(c.config); err != nil {
		return nil, nil, err
	}
	reading := config.Load(c.config)
	if reading.Config == nil {
		return nil, nil, reading.Problems
	}
	conf := reading.Config
	if conf.Messages.Keep == 0 {
		return nil, nil, fmt.Errorf("what becomes of messages is not kept: messages.keep is \"0\" in %s", conf.Path)
	}
	return conf, messages.Open(daemon.MessagesOptions(conf, slog.New(slog.DiscardHandler))), nil
}

// sought is what the flags of find say.
type sought struct {
	query messages.Query
	most  int
}

func messagesFindCommand(c *call) *cobra.Command {
	var s sought
	cmd := c.command(cobra.Command{
		Use:   "find",
		Short: "find messages, the newest first",
		Long: `find lists the messages for which all holds that the flags say, the newest first. Without
any, those are the latest ones. A message is found a second after its end at the latest.

What the MTA refused for a rule of its own is among them, where messages.mta_log is set: its
point is MTA.

An ADDRESS is a whole one, "@" with a domain, or a local part; a recipient's may be the one
that was written, that without a subaddress's tag, or the one that it was rewritten to. A
TIME is a day like 2026-11-23 (its midnight), 2026-11-23T14:05, 14:05 (of today), a time with
its zone as in RFC 3339, or how long ago: 30m, 2h, 7d. It goes by the clock of this host.

The exit status is 0 when there are some, 1 when there are none, and 2 when it could not be
told or the usage was wrong.`,
		Example: `  coexistd messages find --to alice@acmecorp.com --since 2d
  coexistd messages find --from @example.net --verdict reject
  coexistd messages find --subject "minutes meeting" --since 2026-11-23 --until 2026-11-24
  coexistd messages find --client 192.0.2.1 --check spam --most 500 --json
  coexistd messages find --observed --check spoof --since 1d`,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) > 0 {
				return fmt.Errorf("%q needs a flag before it that says what it is: --to, --from, --subject, --id or another", args[0])
			}
			return nil
		},
	}, func([]string) int { return findMessages(c, &s) })
	s.flags(cmd.Flags())
	s.complete(cmd)
	return cmd
}

func (s *sought) flags(flags *pflag.FlagSet) {
	q := &s.query
	flags.StringVar(&q.ID, "id", "", "the Message-Id, the MTA's queue id, or the `ID` of a message here")
	flags.StringVar(&q.From, "from", "", "the `ADDRESS` of the envelope's sender")
	flags.StringVar(&q.To, "to", "", "the `ADDRESS` of a recipient")
	flags.StringVar(&q.Subject, "subject", "", "`WORDS` of the subject, in any order")
	flags.Func("client", "the client's `IP` address", func(text string) (err error) {
		if q.Client, err = netip.ParseAddr(text); err != nil {
			err = fmt.Errorf("%q is not an IP address", text)
		}
		return err
	})
	flags.StringVar(&q.Login, "login", "", "the `LOGIN` of an authenticated client")
	flags.Func("since", "only what came at a `TIME` or later", moment(&q.Since))
	flags.Func("until", "only what came before a `TIME`", moment(&q.Until))
	flags.Func("verdict", "the `VERDICT` on the message or on a recipient: "+strings.Join(verdicts(), ", "), func(text string) error {
		if !slices.Contains(verdicts(), text) {
			return fmt.Errorf("%q is not a verdict; it would be one of %s", text, strings.Join(verdicts(), ", "))
		}
		return q.Verdict.UnmarshalText([]byte(text))
	})
	flags.Func("point", "the `POINT` at which it entered: S0, S1 or S2", func(text string) error {
		return q.Point.UnmarshalText([]byte(strings.ToUpper(text)))
	})
	flags.Func("check", "a `CHECK` that decided, holds, or has found something: "+strings.Join(checkNames(), ", "), func(text string) error {
		if q.Check = text; !slices.Contains(checkNames(), text) {
			return fmt.Errorf("%q is not a check; it would be one of %s", text, strings.Join(checkNames(), ", "))
		}
		return nil
	})
	flags.Func("mta", "what the MTA did with it: "+strings.Join(mtaWords(), ", ")+" (`STATUS`; where messages.mta_log is set)", func(text string) (err error) {
		known := false
		if q.MTA, known = mtalog.ParseKind(text); !known || !slices.Contains(mtaWords(), text) {
			err = fmt.Errorf("%q is none; it would be one of %s", text, strings.Join(mtaWords(), ", "))
		}
		return err
	})
	flags.BoolVar(&q.Observed, "observed", false, "only those with which something would have been done, were the mode not observe; --verdict and --check are of that then")
	flags.IntVar(&s.most, "most", 50, "list so `MANY` at the most")
}

// complete tells the shell what may follow.
func (s *sought) complete(cmd *cobra.Command) {
	for name, words := range map[string][]string{"verdict": verdicts(), "mta": mtaWords(), "check": checkNames(), "point": {"S0", "S1", "S2"}} {
		cmd.RegisterFlagCompletionFunc(name, cobra.FixedCompletions(words, cobra.ShellCompDirectiveNoFileComp))
	}
}

func verdicts() (names []string) {
	for v := verdict.Accept; v <= verdict.Reject; v++ {
		names = append(names, v.String())
	}
	return names
}

// mtaWords are what an MTA does with messages.
func mtaWords() (words []string) {
	for k := mtalog.Sent; k <= mtalog.Filtered; k++ {
		words = append(words, k.String())
	}
	return words
}

func checkNames() []string {
	names := []string{verdict.CheckLoop}
	for _, check := range policy.Checks() {
		names = append(names, check.Name)
	}
	return names
}

// moments are how a flag writes a time.
var moments = [...]string{"2006-01-02", "2006-01-02T15:04", "2006-01-02 15:04", "2006-01-02T15:04:05", "2006-01-02 15:04:05", time.RFC3339}

// moment reads a time of a flag.
func moment(to *time.Time) func(string) error {
	return func(text string) error {
		now := time.Now()
		if ago, err := quantity.Durations.Parse(text); err == nil {
			*to = now.Add(-time.Duration(ago))
			return nil
		}
		if clock, err := time.Parse("15:04", text); err == nil {
			*to = time.Date(now.Year(), now.Month(), now.Day(), clock.Hour(), clock.Minute(), 0, 0, time.Local)
			return nil
		}
		for _, layout := range moments {
			if at, err := time.ParseInLocation(layout, text, time.Local); err == nil {
				*to = at
				return nil
			}
		}
		return fmt.Errorf("%q is not a time; it would be like 2026-11-23, 2026-11-23T14:05, 14:05, or 2h for two hours ago", text)
	}
}

func findMessages(c *call, s *sought) int {
	if s.most < 1 {
		return c.wrong("--most %d: it would be 1 at least", s.most)
	}
	conf, all, err := c.openMessages()
	if err != nil {
		return c.fail(err)
	}
	defer all.Close()
	facts := []messageFacts{}
	list := newListing(c.stdout)
	list.least = []int{9, 16, 5, 10, 24, 28, 28, 0}
	count, more := 0, false
	for m, err := range all.All(context.Background(), s.query) {
		if err != nil {
			return c.fail(err)
		}
		if more = count == s.most; more {
			break
		}
		if count++; c.asJSON {
			facts = append(facts, factsOf(conf, m))
			continue
		}
		if count == 1 {
			list.add("ID", "TIME", "POINT", "VERDICT", "CHECK", "FROM", "TO", "SUBJECT")
		}
		list.add(found(m)...)
	}
	list.flush()
	err = c.print(facts, func(io.Writer) {
		switch {
		case more:
			fmt.Fprintf(c.stderr, "there are more than %d; say more of what is looked for, or --most\n", s.most)
		case count == 0:
			fmt.Fprintln(c.stderr, "nothing is found")
		}
	})
	switch {
	case err != nil:
		return c.fail(err)
	case count == 0:
		return exitNo
	}
	return exitYes
}

// verdictText says what was done, and what would have been where that is only observed.
func verdictText(m *messages.Message) string {
	text := m.Verdict.String()
	if m.Observed.Verdict > verdict.Accept {
		text += " (would be " + strings.TrimSpace(m.Observed.Verdict.String()+" "+m.Observed.Check) + ")"
	}
	return text
}

// found are the cells of a message's row.
func found(m *messages.Message) []string {
	to := ""
	if len(m.Recipients) > 0 {
		to = ownmail.OneLine(m.Recipients[0].Address)
	}
	if m.Count > 1 {
		to += fmt.Sprintf(" +%d", m.Count-1)
	}
	point := m.Point.String()
	if m.MTA != "" {
		point = "MTA"
	}
	return []string{
		m.ID.String(), m.Time.Local().Format("2006-01-02 15:04"), point, verdictText(m), m.Check,
		"<" + ownmail.OneLine(m.Sender) + ">", to, ownmail.Readable(m.Subject),
	}
}
