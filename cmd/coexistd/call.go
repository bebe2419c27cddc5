package main

import (
	"encoding/json"
	"fmt"
	"io"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// call is one invocation of coexistd: what its flags say, where it writes, and what
// came of it.
type call struct {
	stdout, stderr io.Writer

	cmd         *cobra.Command // the command that runs
	config      string         // the configuration file, by -c
	asJSON      bool           // by --json
	asksVersion bool           // by --version
	status      int            // the exit status
	by          string         // who runs it, of a command that becomes the daemon's user
}

// command makes a command of its description and of the function that does it, which
// returns the exit status.
func (c *call) command(description cobra.Command, do func(args []string) int) *cobra.Command {
	cmd := &description
	cmd.Run = func(cmd *cobra.Command, args []string) {
		c.cmd = cmd
		c.status = do(args)
	}
	return cmd
}

// jsonFlag is for commands that print facts.
func (c *call) jsonFlag(flags *pflag.FlagSet) {
	flags.BoolVar(&c.asJSON, "json", false, "print the facts as JSON")
}

// atMost bounds the arguments that are no flags.
func atMost(n int) cobra.PositionalArgs {
	return func(_ *cobra.Command, args []string) error {
		if len(args) > n {
			return fmt.Errorf("%q is one argument too many", args[n])
		}
		return nil
	}
}

// exactly asks for so many arguments that are no flags. What names them.
func exactly(n int, what string) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if len(args) < n {
			return fmt.Errorf("it needs %s", what)
		}
		return atMost(n)(cmd, args)
	}
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
	fmt.Fprintf(c.stderr, "%s: %s\n", c.cmd.CommandPath(), fmt.Sprintf(format, args...))
	return exitWrong
}

// fail tells what went wrong, and returns the exit status for what could not be
// told.
func (c *call) fail(err error) int {
	fmt.Fprintln(c.stderr, err)
	return exitWrong
}
