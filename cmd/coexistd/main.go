// Command coexistd lets one email domain live on two platforms. It is a milter
// daemon beside the organisation's MTA, and the commands to look after it.
package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
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
	for _, cmd := range commands() {
		if cmd.name != name {
			continue
		}
		flags := flag.NewFlagSet(name, flag.ContinueOnError)
		flags.SetOutput(stderr)
		flags.Usage = func() {
			fmt.Fprintf(stderr, "usage: coexistd %s %s\n", cmd.name, cmd.arguments)
			flags.PrintDefaults()
		}
		return cmd.run(&call{flags: flags, args: args[1:], stdout: stdout, stderr: stderr})
	}
	fmt.Fprintf(stderr, "coexistd: there is no command %q\n", name)
	usage(stderr)
	return exitWrong
}

func usage(w io.Writer) {
	fmt.Fprintln(w, "coexistd: one email domain on two platforms")
	fmt.Fprintln(w)
	for _, cmd := range commands() {
		fmt.Fprintf(w, "  coexistd %s\n        %s\n", strings.TrimSpace(cmd.name+" "+cmd.arguments), cmd.does)
	}
	fmt.Fprintf(w, "\nFILE is %s unless -c says otherwise.\n", defaultConfig)
}

// parse reads the flags, after which at most so many files may be named. Status
// is the exit status when done is true.
func (c *call) parse(files int) (status int, done bool) {
	switch err := c.flags.Parse(c.args); {
	case errors.Is(err, flag.ErrHelp):
		return exitYes, true
	case err != nil:
		return exitWrong, true
	case c.flags.NArg() > files:
		return c.wrong("%q is one argument too many; flags go before the others", c.flags.Arg(files)), true
	}
	return 0, false
}

// wrong tells the user what was wrong and returns the exit status for it.
func (c *call) wrong(format string, args ...any) int {
	fmt.Fprintf(c.stderr, "coexistd %s: %s\n", c.flags.Name(), fmt.Sprintf(format, args...))
	return exitWrong
}
