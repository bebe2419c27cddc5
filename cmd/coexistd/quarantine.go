package main

import (
	"fmt"
	"io"
	"log/slog"
	"os"
	"strings"

	"golang.org/x/sys/unix"

	"coexistd/cmd/coexistd/daemon"
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
	const before = "quarantine "
	if action := commandNamed(quarantineActions(), name); action != nil {
		return action.call(before, quarantineHelp, c.args[1:], c.stdout, c.stderr)
	}
	w, status := c.stderr, exitWrong
	switch strings.TrimLeft(name, "-") {
	case "help", "h":
		w, status = c.stdout, exitYes
	case "":
	default:
		c.wrong("there is no action %q", name)
	}
	printCommands(w, before, quarantineActions())
	fmt.Fprint(w, quarantineHelp)
	return status
}

// openHeld opens the quarantine of the configuration.
func (c *call) openHeld() (*config.Config, *quarantine.Store, error) {
	reading := config.Load(c.config)
	if len(reading.Problems) > 0 {
		return nil, nil, reading.Problems
	}
	conf := reading.Config
	store, err := quarantine.OpenExisting(daemon.QuarantineOptions(conf, slog.New(slog.NewTextHandler(c.stderr, nil))))
	return conf, store, err
}

func listHeld(c *call) int {
	c.usualFlags()
	to := c.flags.String("to", "", "the recipient's `address`")
	all := c.flags.Bool("all", false, "list what was released, deleted or has expired, too")
	words, status, done := c.parseMixed()
	if done {
		return status
	}
	conf, store, err := c.openHeld()
	if err != nil {
		return c.fail(err)
	}
	facts := []quarantine.Entry{}
	table := heldTable{w: c.stdout, width: terminalWidth(c.stdout), zone: conf.Quarantine.Report.Zone}
	for e, err := range store.All(quarantine.Query{To: *to, Words: words, All: *all}) {
		if err != nil {
			return c.fail(err)
		}
		if c.asJSON {
			facts = append(facts, e)
		} else {
			table.row(&e)
		}
	}
	err = c.print(facts, func(io.Writer) {
		if table.rows == 0 {
			fmt.Fprintln(c.stderr, "no entry is chosen")
		}
	})
	if err != nil {
		return c.fail(err)
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
