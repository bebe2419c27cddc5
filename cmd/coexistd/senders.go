package main

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"coexistd/milter/quarantine"
	"coexistd/milter/senders"
	"coexistd/milter/store"
	"coexistd/policy/config"
	"coexistd/policy/mail"
)

func sendersCommand(c *call) *cobra.Command {
	cmd := c.group(cobra.Command{
		Use:   "senders ACTION",
		Short: "look at the senders that recipients have allowed or blocked, or remove them",
		Long: `senders tells which senders recipients have allowed by coexistd quarantine allow, or
blocked by coexistd quarantine block, and removes them. It needs no running daemon.`,
		Example: `  coexistd senders list
  coexistd senders remove alice@acmecorp.com @partner.example`,
	},
		sendersListCommand(c),
		c.command(cobra.Command{
			Use:   "remove ADDRESS SENDER",
			Short: "have a recipient neither allow nor block a sender any more",
			Long: `remove has the recipient with an address neither allow nor block a sender any more. SENDER
is as "coexistd senders list" prints it: an address, or a domain behind an "@". A daemon
goes by it within ten seconds.

The exit status is 1 when they neither allow nor block that sender.`,
			Example: `  coexistd senders remove alice@acmecorp.com @partner.example
  coexistd senders remove alice@acmecorp.com eve@far.example`,
			Args: exactly(2, "a recipient's address and a sender (see: coexistd senders list)"),
		}, func(args []string) int { return removeSender(c, args[0], args[1]) }),
	)
	c.jsonFlag(cmd.PersistentFlags())
	return cmd
}

func sendersListCommand(c *call) *cobra.Command {
	var to string
	cmd := c.command(cobra.Command{
		Use:   "list",
		Short: "list who is allowed and blocked by whom, and until when",
		Long: `list lists the senders that are allowed and blocked, by their recipients: until when, by
which of the system's users, and by which entry of the quarantine. Those whose time is over
are not listed.`,
		Example: `  coexistd senders list
  coexistd senders list --to alice@acmecorp.com --json`,
		Args: atMost(0),
	}, func([]string) int { return listSenders(c, to) })
	cmd.Flags().StringVar(&to, "to", "", "only those of the recipient with the `ADDRESS`")
	return cmd
}

// openSenders opens the list of senders, as the daemon's user.
func (c *call) openSenders() (*config.Config, *senders.Book, error) {
	conf, _, err := c.openHeld()
	if err != nil {
		return nil, nil, err
	}
	log := slog.New(slog.NewTextHandler(c.stderr, nil))
	return conf, senders.New(store.Open(quarantine.FileOptions(conf.Quarantine.Dir, log))), nil
}

// ownerOf returns by what name a recipient's senders are known.
func ownerOf(conf *config.Config, address string) string {
	if a, err := mail.ParseAddress(address, conf.Rules.Delimiters); err == nil {
		return conf.Rules.Routes.Home(a).Owner
	}
	return address
}

func listSenders(c *call, to string) int {
	conf, book, err := c.openSenders()
	if err != nil {
		return c.fail(err)
	}
	all, err := book.All(context.Background())
	if err != nil {
		return c.fail(err)
	}
	now, left := time.Now(), []senders.Sender{}
	for _, s := range all {
		if s.Until.After(now) && (to == "" || s.Owner == ownerOf(conf, to)) {
			left = append(left, s)
		}
	}
	if err := c.print(left, func(w io.Writer) { printSenders(w, left) }); err != nil {
		return c.fail(err)
	}
	if len(left) == 0 && !c.asJSON {
		fmt.Fprintln(c.stderr, "nobody is allowed or blocked")
	}
	return exitYes
}

func printSenders(w io.Writer, all []senders.Sender) {
	if len(all) == 0 {
		return
	}
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "RECIPIENT\tSENDER\tIS\tUNTIL\tBY\tENTRY")
	for _, s := range all {
		fmt.Fprintf(table, "%s\t%s\t%s\t%s\t%s\t%s\n", printableLine(s.Owner), printableLine(s.Name), s.Kind, s.Until.Local().Format(time.DateOnly), printableLine(s.Who), s.Entry)
	}
	table.Flush()
}

// removed is what came of removing a sender.
type removed struct {
	Owner string `json:"recipient"`
	Name  string `json:"sender"`
	Found bool   `json:"found"`
}

func removeSender(c *call, address, sender string) int {
	conf, book, err := c.openSenders()
	if err != nil {
		return c.fail(err)
	}
	r := removed{Owner: ownerOf(conf, address), Name: sender}
	local, domain, isAddress := strings.Cut(sender, "@")
	if a, err := mail.ParseAddress(sender, ""); err == nil && isAddress && local != "" {
		r.Name = a.Key
	} else if normal, err := mail.NormalDomain(domain); err == nil && isAddress {
		r.Name = "@" + normal
	} else {
		return c.wrong(`%q is no sender; it would be an address, or a domain like "@partner.example" (see: coexistd senders list)`, sender)
	}
	if r.Found, err = book.Remove(context.Background(), r.Owner, r.Name, c.by); err != nil {
		return c.fail(err)
	}
	err = c.print(r, func(w io.Writer) {
		if r.Found {
			fmt.Fprintf(w, "%s neither allows nor blocks %s any more\n", printableLine(r.Owner), printableLine(r.Name))
		} else {
			fmt.Fprintf(c.stderr, "%s neither allows nor blocks %s\n", printableLine(r.Owner), printableLine(r.Name))
		}
	})
	switch {
	case err != nil:
		return c.fail(err)
	case !r.Found:
		return exitNo
	}
	return exitYes
}
