package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"os"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"coexistd/milter/quarantine"
	"coexistd/policy/config"
)

// quarantineActions are the words that may follow "quarantine".
func quarantineActions() []command {
	return []command{
		{"list", "[-c FILE] [--json] [--to ADDRESS] [--all] [WORD…]", "list what is held; --all lists what is settled, too", listHeld},
		{"show", "[-c FILE] [--json] [--raw] ID", "tell all that is known of an entry; --raw prints its message", showHeld},
		{"release", "[-c FILE] [--json] [--again] ID… | --to ADDRESS | --query WORDS", "send messages on to their recipients; viruses only by ID", releaseHeld},
		{"delete", "[-c FILE] [--json] ID… | --to ADDRESS | --query WORDS", "hold messages no longer", deleteHeld},
		{"report", "[-c FILE] [--json] [--dry-run] [--to ADDRESS]", "send the reports now; --dry-run prints them", reportHeld},
	}
}

const quarantineHelp = `
Words choose entries, all of them together: from: to: subject: check: point: found:
before: after: with text or a date like 2026-11-23, or a bare text. WORDS is one
argument: --query 'subject:"past due" after:2026-11-01'
`

// quarantined runs "coexistd quarantine ACTION".
func quarantined(c *call) int {
	name := ""
	if len(c.args) > 0 {
		name = c.args[0]
	}
	for _, action := range quarantineActions() {
		if action.name != name {
			continue
		}
		flags := flag.NewFlagSet("quarantine "+name, flag.ContinueOnError)
		flags.SetOutput(c.stderr)
		flags.Usage = func() {
			fmt.Fprintf(c.stderr, "usage: coexistd quarantine %s %s\n%s\n", name, action.arguments, action.does)
			flags.PrintDefaults()
			fmt.Fprint(c.stderr, quarantineHelp)
		}
		return action.run(&call{flags: flags, args: c.args[1:], stdout: c.stdout, stderr: c.stderr})
	}
	w, status := c.stderr, exitWrong
	switch strings.TrimLeft(name, "-") {
	case "help", "h":
		w, status = c.stdout, exitYes
	case "":
	default:
		c.wrong("there is no action %q", name)
	}
	for _, action := range quarantineActions() {
		fmt.Fprintf(w, "  coexistd quarantine %s %s\n        %s\n", action.name, action.arguments, action.does)
	}
	fmt.Fprint(w, quarantineHelp)
	return status
}

// parseMixed reads flags that may stand between other arguments, and returns the
// others. Status is the exit status when done is true.
func (c *call) parseMixed() (others []string, status int, done bool) {
	for args := c.args; ; args = c.flags.Args()[1:] {
		switch err := c.flags.Parse(args); {
		case errors.Is(err, flag.ErrHelp):
			return nil, exitYes, true
		case err != nil:
			return nil, exitWrong, true
		case c.flags.NArg() == 0:
			return others, 0, false
		}
		others = append(others, c.flags.Arg(0))
	}
}

// fail tells what went wrong, and returns the exit status for what could not be
// told.
func (c *call) fail(err error) int {
	fmt.Fprintln(c.stderr, err)
	return exitWrong
}

// openHeld opens the quarantine of a configuration file for a command.
func (c *call) openHeld(path string) (*config.Config, *quarantine.Store, error) {
	reading := config.Load(path)
	if len(reading.Problems) > 0 {
		return nil, nil, reading.Problems
	}
	conf := reading.Config
	store, err := quarantine.OpenExisting(quarantineOptions(conf, slog.New(slog.NewTextHandler(c.stderr, nil))))
	return conf, store, err
}

func quarantineOptions(conf *config.Config, log *slog.Logger) quarantine.Options {
	q := conf.Quarantine
	return quarantine.Options{Dir: q.Dir, Keep: q.Keep, MaxBytes: q.MaxBytes, Zone: q.Report.Zone, Log: log}
}

func listHeld(c *call) int {
	path := c.flags.String("c", defaultConfig, "the configuration `file`")
	asJSON := c.flags.Bool("json", false, "print JSON")
	to := c.flags.String("to", "", "the recipient's `address`")
	all := c.flags.Bool("all", false, "list what was released, deleted or has expired, too")
	words, status, done := c.parseMixed()
	if done {
		return status
	}
	conf, store, err := c.openHeld(*path)
	if err != nil {
		return c.fail(err)
	}
	facts := []quarantine.Entry{}
	table := heldTable{w: c.stdout, width: terminalWidth(c.stdout), zone: conf.Quarantine.Report.Zone}
	for e, err := range store.All(quarantine.Query{To: *to, Words: words, All: *all}) {
		if err != nil {
			return c.fail(err)
		}
		if *asJSON {
			facts = append(facts, e)
		} else {
			table.row(&e)
		}
	}
	if *asJSON {
		if err := printJSON(c.stdout, facts); err != nil {
			return c.fail(err)
		}
	} else if table.rows == 0 {
		fmt.Fprintln(c.stderr, "no entry is chosen")
	}
	return exitYes
}

// terminalWidth returns the number of columns of the terminal that w is, or 0.
func terminalWidth(w io.Writer) int {
	file, ok := w.(*os.File)
	if !ok {
		return 0
	}
	size, err := unix.IoctlGetWinsize(int(file.Fd()), unix.TIOCGWINSZ)
	if err != nil {
		return 0
	}
	return int(size.Col)
}

// selection names the entries that a command is to act on.
type selection struct {
	ids   []string
	to    string
	words []string
}

// selection reads --to and --query, or the IDs. The error says why they choose
// nothing.
func (c *call) selection(ids []string, to, query string) (s selection, err error) {
	if s.words, err = quarantine.SplitWords(query); err != nil {
		return s, err
	}
	s.to = to
	for _, id := range ids {
		if id = strings.ToLower(id); !slices.Contains(s.ids, id) {
			s.ids = append(s.ids, id)
		}
	}
	chooses := s.to != "" || len(s.words) > 0
	switch {
	case chooses && len(ids) > 0:
		return s, fmt.Errorf("%q is given beside --to or --query: name IDs, or choose with these", ids[0])
	case !chooses && len(ids) == 0:
		return s, errors.New("no entry is named: give IDs (see: coexistd quarantine list), or choose with --to ADDRESS or --query WORDS")
	}
	return s, nil
}

// byID reports that each entry is named by itself.
func (s selection) byID() bool { return len(s.ids) > 0 }

// entries returns what is selected of a store. An ID that names no entry is one
// of which nothing but the ID is known.
func (s selection) entries(store *quarantine.Store) ([]quarantine.Entry, error) {
	if !s.byID() {
		return store.List(quarantine.Query{To: s.to, Words: s.words})
	}
	found, err := store.List(quarantine.Query{IDs: s.ids, All: true})
	if err != nil {
		return nil, err
	}
	entries := make([]quarantine.Entry, len(s.ids))
	for i, id := range s.ids {
		entries[i].ID = id
		if k := slices.IndexFunc(found, func(e quarantine.Entry) bool { return e.ID == id }); k >= 0 {
			entries[i] = found[k]
		}
	}
	return entries, nil
}
