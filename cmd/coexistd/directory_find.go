package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"coexistd/cmd/coexistd/control"
	"coexistd/cmd/coexistd/daemon"
	"coexistd/milter/sources"
	"coexistd/policy/config"
)

func directoryFindCommand(c *call) *cobra.Command {
	return c.command(cobra.Command{
		Use:   "find ADDRESS",
		Short: "tell where an address lives, and which source says so",
		Long: `find tells what each source says of an address, or of the one whose subaddress it is,
since when at least, and where mail for it goes. It asks the running daemon, which may go
by another list than the files hold. Where none runs, it reads these, and says so.

The exit status is 1 when nobody has the address, and 2 when nobody can tell: a source
that is asked before cannot be read, or the entry is unclear.`,
		Example: `  coexistd directory find alice@acmecorp.com`,
		Args:    exactly(1, "an address"),
	}, func(args []string) int { return findAddress(c, args[0]) })
}

func findAddress(c *call, text string) int {
	found, err := findRunning(c, text)
	if err != nil {
		conf, lists, unread := c.lists()
		if unread != nil {
			return c.fail(unread)
		}
		fmt.Fprintln(c.stderr, printableLine("by the files: "+err.Error()))
		if found, err = daemon.Find(conf, lists, text); err != nil {
			return c.wrong("%v", err)
		}
	} else {
		c.describe(found.Rows)
	}
	if err := c.print(found, func(w io.Writer) { printFound(w, found) }); err != nil {
		return c.fail(err)
	}
	switch {
	case !found.Known:
		return c.fail(errors.New(cmp.Or(strings.Join(found.Unread, "\n"), "nobody can tell where "+found.Address+" lives: correct its entries")))
	case found.Nobody:
		return exitNo
	}
	return exitYes
}

// findRunning asks the running daemon of this configuration.
func findRunning(c *call, text string) (control.Found, error) {
	found, err := ask(c, func(client *control.Client, ctx context.Context) (control.Found, error) {
		return client.Find(ctx, control.Find{Address: text})
	})
	if path, _ := filepath.Abs(c.config); err == nil && path != found.Configuration {
		return found, fmt.Errorf("the daemon goes by another file: %s", found.Configuration)
	}
	return found, err
}

// describe fills in what a daemon need not have in its memory, from the same rows of the files.
func (c *call) describe(rows []control.Row) {
	needed := func(row control.Row) bool { return row.Origin == "" }
	if !slices.ContainsFunc(rows, needed) {
		return
	}
	_, lists, err := c.lists()
	if err != nil {
		return
	}
	for i, row := range rows {
		one := lists.Named(row.Source)
		if one == nil || one.Snapshot == nil || !needed(row) {
			continue
		}
		e, is := one.Snapshot.Lookup(row.Address)
		if !is {
			continue
		}
		if file := daemon.RowOf(row.Source, e); file.Line == row.Line && file.Residence == row.Residence && file.Login == row.Login && file.Target == row.Target {
			rows[i].Kind, rows[i].Origin = file.Kind, file.Origin
		}
	}
}

func printFound(w io.Writer, f control.Found) {
	lives := cmp.Or(f.Lives, "nobody has it")
	if !f.Known {
		lives = "nobody can tell"
	}
	for _, line := range [][2]string{{"address", f.Address}, {"lives", lives}, {"goes to", f.Goes}, {"answer", f.Why}} {
		if line[1] != "" {
			fmt.Fprintf(w, "%-8s %s\n", line[0], printableLine(line[1]))
		}
	}
	for _, row := range f.Rows {
		note := ""
		if !row.Counts {
			note = ", which does not count: " + row.Why
		}
		fmt.Fprintf(w, "source   %s\n", printableLine(rowText(row)+note))
		if !row.Since.IsZero() {
			fmt.Fprintf(w, "  since  %s at least\n", row.Since.Local().Format(time.DateTime))
		}
	}
}

// rowText is a row in one line.
func rowText(row control.Row) string {
	parts := []string{fmt.Sprintf("%s, line %d: %s lives %s", row.Source, row.Line, row.Address, row.Residence)}
	for _, part := range [][2]string{{"login ", row.Login}, {"target ", row.Target}, {"kind ", row.Kind}, {"entry ", row.Origin}} {
		if part[1] != "" {
			parts = append(parts, part[0]+part[1])
		}
	}
	return strings.Join(parts, ", ")
}

// tellOthers says which of the lists that are named, or of all, the running daemon does not go
// by as the files hold them.
func (c *call) tellOthers(conf *config.Config, lists sources.Directories, names ...string) {
	status, _ := running(conf)
	if status == nil || status.Configuration.Path != conf.Path {
		return
	}
	for _, has := range status.Directories {
		file := lists.Named(has.Source)
		if file == nil || !slices.Contains(append(names, ""), "") && !slices.Contains(names, has.Source) {
			continue
		}
		if file.Snapshot == nil && has.Loaded.IsZero() || file.Snapshot != nil && file.Snapshot.Len() == has.Addresses && file.Bytes == has.Bytes {
			continue
		}
		text := fmt.Sprintf("the running daemon does not go by %s as it is", file.Path())
		if len(has.Refused) > 0 {
			text += ": " + has.Refused[0]
		}
		if has.Loaded.IsZero() {
			text += "; it has no list"
		} else {
			text += fmt.Sprintf("; it has the %d addresses of %s", has.Addresses, has.Loaded.Local().Format(time.DateTime))
		}
		fmt.Fprintln(c.stderr, printableLine(text))
	}
}
