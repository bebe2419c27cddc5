// Command coexistd lets one email domain live on two platforms. It is a milter
// daemon beside the organisation's MTA, and the commands to look after it.
package main

import (
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	// Reports have a time zone, which the system may not know.
	_ "time/tzdata"
)

// Exit statuses of every command.
const (
	exitYes   = 0 // yes, or done
	exitNo    = 1 // no
	exitWrong = 2 // it could not be told, or the usage was wrong
)

const defaultConfig = "/etc/coexistd/coexistd.toml"

// command is one word of the command line.
type command struct {
	name, arguments, does string
	run                   func(c *call) int
}

// call is one invocation of a command: its flags and where it writes.
type call struct {
	flags          *flag.FlagSet
	args           []string
	stdout, stderr io.Writer

	config string // the configuration file, by -c
	asJSON bool   // by --json
}

func commands() []command {
	return []command{
		{"serve", "[-c FILE]", "run the daemon; SIGHUP reloads, SIGTERM drains", serve},
		{"check", "[-c FILE] [--json]", "read the configuration and the directories and tell every mistake", check},
		{"doctor", "[-c FILE] [--json]", "ask the scanners, the daemon, the MTA and the quarantine how they are, and tell what to do", doctor},
		{"explain", "[-c FILE] [--json] --from A --to B [--to C] [--client IP] [--user LOGIN] [--certificate NAME] [--listener N] [--on-host] [--find CHECK=STATE[:NAME]] [--over RULE] [--signed DOMAIN] [--without WHAT] [FILE.eml] | --flows", "tell what would happen to a message, and why", explain},
		{"quarantine", "list | show | release | delete | report …", "look at what is held, let it go, or report it; \"quarantine help\" tells more", quarantined},
		{"demo", "[--lab DIR]", "show the main job on a real Postfix, with nothing to set up", demo},
		{"version", "", "print the version", printVersion},
	}
}

func main() {
	os.Exit(run(os.Args[1:], os.Stdout, os.Stderr))
}

func run(args []string, stdout, stderr io.Writer) int {
	if len(args) == 0 {
		usage(stderr)
		return exitWrong
	}
	name := strings.TrimLeft(args[0], "-")
	if name == "help" || name == "h" {
		usage(stdout)
		return exitYes
	}
	if cmd := commandNamed(commands(), name); cmd != nil {
		return cmd.call("", "", args[1:], stdout, stderr)
	}
	fmt.Fprintf(stderr, "coexistd: there is no command %q\n", name)
	usage(stderr)
	return exitWrong
}

func usage(w io.Writer) {
	fmt.Fprintln(w, "coexistd: one email domain on two platforms")
	fmt.Fprintln(w)
	printCommands(w, "", commands())
	fmt.Fprintf(w, "\nFILE is %s unless -c says otherwise.\n", defaultConfig)
}

func commandNamed(list []command, name string) *command {
	if i := slices.IndexFunc(list, func(cmd command) bool { return cmd.name == name }); i >= 0 {
		return &list[i]
	}
	return nil
}

// printCommands lists commands, each with the words that go before it.
func printCommands(w io.Writer, before string, list []command) {
	for _, cmd := range list {
		fmt.Fprintf(w, "  coexistd %s\n        %s\n", strings.TrimSpace(before+cmd.name+" "+cmd.arguments), cmd.does)
	}
}

// call runs a command. Before are the words that go before its name, and help is what its
// usage says besides.
func (cmd *command) call(before, help string, args []string, stdout, stderr io.Writer) int {
	flags := flag.NewFlagSet(before+cmd.name, flag.ContinueOnError)
	flags.SetOutput(stderr)
	flags.Usage = func() {
		fmt.Fprintf(stderr, "usage: coexistd %s %s\n", flags.Name(), cmd.arguments)
		if help != "" {
			fmt.Fprintln(stderr, cmd.does)
		}
		flags.PrintDefaults()
		fmt.Fprint(stderr, help)
	}
	return cmd.run(&call{flags: flags, args: args, stdout: stdout, stderr: stderr})
}

func (c *call) configFlag() {
	c.flags.StringVar(&c.config, "c", defaultConfig, "the configuration `file`")
}

// usualFlags are those of commands that tell what they find.
func (c *call) usualFlags() {
	c.configFlag()
	c.flags.BoolVar(&c.asJSON, "json", false, "print JSON")
}

// parse reads the flags, after which at most so many files may be named. Status
// is the exit status when done is true.
func (c *call) parse(files int) (status int, done bool) {
	if status, done = c.parseFlags(c.args); !done && c.flags.NArg() > files {
		return c.wrong("%q is one argument too many; flags go before the others", c.flags.Arg(files)), true
	}
	return status, done
}

// parseMixed reads flags that may stand between other arguments, and returns the
// others. Status is the exit status when done is true.
func (c *call) parseMixed() (others []string, status int, done bool) {
	for args := c.args; ; args = c.flags.Args()[1:] {
		if status, done = c.parseFlags(args); done || c.flags.NArg() == 0 {
			return others, status, done
		}
		others = append(others, c.flags.Arg(0))
	}
}

func (c *call) parseFlags(args []string) (status int, done bool) {
	switch err := c.flags.Parse(args); {
	case errors.Is(err, flag.ErrHelp):
		return exitYes, true
	case err != nil:
		return exitWrong, true
	}
	return 0, false
}

// print prints facts as JSON where that is asked for, or else as text.
func (c *call) print(facts any, text func(io.Writer)) error {
	if !c.asJSON {
		text(c.stdout)
		return nil
	}
	encoder := json.NewEncoder(c.stdout)
	encoder.SetEscapeHTML(false)
	encoder.SetIndent("", "  ")
	return encoder.Encode(facts)
}

// wrong tells the user what was wrong and returns the exit status for it.
func (c *call) wrong(format string, args ...any) int {
	fmt.Fprintf(c.stderr, "coexistd %s: %s\n", c.flags.Name(), fmt.Sprintf(format, args...))
	return exitWrong
}

// fail tells what went wrong, and returns the exit status for what could not be
// told.
func (c *call) fail(err error) int {
	fmt.Fprintln(c.stderr, err)
	return exitWrong
}
