package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"coexistd/cmd/coexistd/control"
	"coexistd/cmd/coexistd/daemon"
	"coexistd/milter/sources"
	"coexistd/policy/config"
	"coexistd/policy/directory"
)

func directoryCommand(c *call) *cobra.Command {
	cmd := c.group(cobra.Command{
		Use:   "directory ACTION",
		Short: "see who lives where and by which source, and take a list that was refused",
		Long: `directory reads the directories as the daemon does: files, and the copies that the
daemon keeps of sources outside this host. find asks the daemon itself, where one runs;
the others say so when it goes by another list.`,
		Example: `  coexistd directory find alice@acmecorp.com
  coexistd directory diff source:people
  coexistd directory accept source:people 3f9a0c1b22d4`,
	},
		directoryFindCommand(c),
		directoryListCommand(c),
		directoryDiffCommand(c),
		directoryAcceptCommand(c),
	)
	c.jsonFlag(cmd.PersistentFlags())
	return cmd
}

// lists are a configuration's directories, as far as they can be read.
func (c *call) lists() (*config.Config, sources.Directories, error) {
	reading := config.Load(c.config)
	if reading.Config == nil {
		return nil, nil, reading.Problems
	}
	return reading.Config, sources.Open(reading.Config.Directories, nil), nil
}

func directoryListCommand(c *call) *cobra.Command {
	return c.command(cobra.Command{
		Use:     "list [SOURCE]",
		Short:   "list the addresses, with where they live and by which source",
		Long:    "list lists all addresses that count, or those of one source, such as source:people or the path of a file.",
		Example: "  coexistd directory list\n  coexistd directory list source:people",
		Args:    atMost(1),
	}, func(args []string) int { return listAddresses(c, strings.Join(args, "")) })
}

func listAddresses(c *call, source string) int {
	conf, lists, err := c.lists()
	if err != nil {
		return c.fail(err)
	}
	c.tellOthers(conf, lists, source)
	rows, known := []control.Row{}, source == ""
	for _, one := range lists {
		if source != "" && one.Source.Path != source {
			continue
		}
		known = true
		if one.Snapshot == nil {
			continue
		}
		ranking := lists.Ranking(one)
		for e := range one.Snapshot.All() {
			row := daemon.RowOf(one.Source.Path, e)
			if row.Counts, row.Why = daemon.Counts(ranking, e); row.Counts || source != "" {
				rows = append(rows, row)
			}
		}
	}
	if !known {
		return c.wrong("%q is no source of the configuration; it would be like source:people, or the whole path of a file", source)
	}
	if err := c.print(rows, func(w io.Writer) { printRows(w, rows) }); err != nil {
		return c.fail(err)
	}
	if err := lists.Err(); err != nil {
		return c.fail(err)
	}
	return exitYes
}

func printRows(w io.Writer, rows []control.Row) {
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "ADDRESS\tRESIDENCE\tLOGIN\tTARGET\tSOURCE")
	for _, row := range rows {
		source := row.Source
		if !row.Counts {
			source += " (does not count: " + row.Why + ")"
		}
		fmt.Fprintf(table, "%s\t%s\t%s\t%s\t%s\n", printableLine(row.Address), row.Residence, printableLine(row.Login), printableLine(row.Target), printableLine(source))
	}
	table.Flush()
}

func directoryDiffCommand(c *call) *cobra.Command {
	return c.command(cobra.Command{
		Use:   "diff SOURCE [OTHER]",
		Short: "compare a list that was refused with the one that counts, or two sources",
		Long: `diff shows what would change if the list of a source were taken that was refused for
what it lacks: - stands before an address that would go, + before one that would
come, and ~ before one that would change. The last line has the digest of that list,
by which accept takes it and no other. With another source it compares the two.

The exit status is 1 when they differ.`,
		Example: "  coexistd directory diff source:people\n  coexistd directory diff source:people source:office365",
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 {
				return errors.New("it needs a source")
			}
			return atMost(2)(cmd, args)
		},
	}, func(args []string) int { return diffLists(c, args) })
}

// difference is what two lists do not agree on.
type difference struct {
	Source string `json:"source"`
	// Digest is that of the list of Source that waits; empty: none does.
	Digest  string   `json:"digest"`
	Changes []change `json:"changes"`
}

// change is one address that two lists do not agree on.
type change struct {
	Sign   string       `json:"sign"`
	Before *control.Row `json:"before"`
	After  *control.Row `json:"after"`
}

func diffLists(c *call, names []string) int {
	conf, lists, err := c.lists()
	if err != nil {
		return c.fail(err)
	}
	c.tellOthers(conf, lists, names...)
	before := lists.Named(names[0])
	if before == nil {
		return c.wrong("%q is no source of the configuration; it would be like source:people, or the whole path of a file", names[0])
	}
	var after *directory.Snapshot
	var digest string
	if len(names) == 2 {
		other := lists.Named(names[1])
		if other == nil {
			return c.wrong("%q is no source of the configuration", names[1])
		}
		if after = other.Snapshot; after == nil {
			return c.fail(other.Err)
		}
	} else if after, digest, err = before.Waiting(); err != nil {
		return c.fail(err)
	} else if after == nil {
		after = before.Snapshot
	}
	if before.Snapshot == nil && after == nil {
		return c.fail(before.Err)
	}
	d := difference{names[0], digest, compare(before.Snapshot, after, names[0], cmp.Or(strings.Join(names[1:], ""), names[0]+" (refused)"))}
	if err := c.print(d, d.print); err != nil {
		return c.fail(err)
	}
	if len(d.Changes) > 0 {
		return exitNo
	}
	return exitYes
}

// compare lists what differs between two lists, either of which may be nil.
func compare(before, after *directory.Snapshot, was, is string) []change {
	changes := []change{}
	each := func(list, other *directory.Snapshot, do func(e directory.Entry, there *directory.Entry)) {
		if list == nil {
			return
		}
		for e := range list.All() {
			var there *directory.Entry
			if other != nil {
				if found, ok := other.Lookup(e.Address()); ok {
					there = &found
				}
			}
			do(e, there)
		}
	}
	each(before, after, func(e directory.Entry, there *directory.Entry) {
		old := daemon.RowOf(was, e)
		if there == nil {
			changes = append(changes, change{"-", &old, nil})
			return
		}
		if now := daemon.RowOf(is, *there); old.Residence != now.Residence || old.Target != now.Target || old.Login != now.Login || old.Kind != now.Kind {
			changes = append(changes, change{"~", &old, &now})
		}
	})
	each(after, before, func(e directory.Entry, there *directory.Entry) {
		if now := daemon.RowOf(is, e); there == nil {
			changes = append(changes, change{"+", nil, &now})
		}
	})
	return changes
}

func (d difference) print(w io.Writer) {
	if len(d.Changes) == 0 {
		fmt.Fprintln(w, "nothing differs")
	}
	for _, one := range d.Changes {
		switch one.Sign {
		case "-":
			fmt.Fprintf(w, "- %s\n", printableLine(rowText(*one.Before)))
		case "+":
			fmt.Fprintf(w, "+ %s\n", printableLine(rowText(*one.After)))
		default:
			fmt.Fprintf(w, "~ %s\n  %s\n", printableLine(rowText(*one.Before)), printableLine(rowText(*one.After)))
		}
	}
	if d.Digest != "" {
		fmt.Fprintf(w, "to take that list: coexistd directory accept %s %s\n", d.Source, d.Digest)
	}
}

func directoryAcceptCommand(c *call) *cobra.Command {
	return c.command(cobra.Command{
		Use:   "accept SOURCE DIGEST",
		Short: "take a list that was refused for what it lacks",
		Long: `accept has the running daemon take the list of a source outside this host that it
refused, since it lacks too many addresses or is that of an earlier time. diff shows
what would change, and the list's digest. When another list waits by then, nothing
is taken.

The exit status is 1 when no list of the source waits, and 2 when another does.`,
		Example: `  coexistd directory accept source:people 3f9a0c1b22d4`,
		Args:    exactly(2, "a source and the digest that coexistd directory diff SOURCE prints"),
	}, func(args []string) int {
		return c.change(func(client *control.Client, ctx context.Context) (bool, error) {
			return client.Accept(ctx, control.Accept{Source: args[0], Digest: args[1]})
		}, "the list of "+args[0]+" is taken", "no list of "+args[0]+" waits")
	})
}
