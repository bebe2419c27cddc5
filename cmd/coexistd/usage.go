package main

import (
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// rule sets what holds for all commands below root: the configuration's flag, help, and
// that wrong usage is told in our words.
func (c *call) rule(root *cobra.Command) {
	root.SetOut(c.stdout)
	root.SetErr(c.stderr)
	root.SilenceErrors, root.SilenceUsage = true, true
	root.DisableAutoGenTag = true
	root.CompletionOptions.DisableDefaultCmd = true // the scripts are files of their own
	root.CompletionOptions.SetDefaultShellCompDirective(cobra.ShellCompDirectiveNoFileComp)
	root.SetFlagErrorFunc(misusedFlag)
	root.SetHelpCommand(c.helpCommand())
	root.PersistentFlags().StringVarP(&c.config, "config", "c", defaultConfig, "the configuration `FILE`")
	root.MarkPersistentFlagFilename("config", "toml")
	root.Flags().BoolVar(&c.asksVersion, "version", false, "print the version")
}

// group makes a command that is nothing without one of those below it.
func (c *call) group(description cobra.Command, below ...*cobra.Command) *cobra.Command {
	group := &description
	group.Args = cobra.ArbitraryArgs // which of them are known is told here
	group.RunE = func(cmd *cobra.Command, words []string) error {
		switch {
		case c.asksVersion:
			c.status = c.printVersion()
			return nil
		case len(words) > 0 && words[0] == "help":
			return c.help(cmd, words[1:])
		case len(words) > 0:
			return unknown(cmd, words[0])
		}
		cmd.SetOut(c.stderr)
		c.status = exitWrong
		return cmd.Help()
	}
	group.AddCommand(below...)
	return group
}

// helpCommand is "coexistd help".
func (c *call) helpCommand() *cobra.Command {
	return &cobra.Command{
		Use:     "help [COMMAND…]",
		Short:   "tell more about a command",
		Example: "  coexistd help quarantine release",
		RunE:    func(cmd *cobra.Command, words []string) error { return c.help(cmd.Root(), words) },
		ValidArgsFunction: func(cmd *cobra.Command, words []string, _ string) (names []string, _ cobra.ShellCompDirective) {
			if at, rest, err := cmd.Root().Find(words); err == nil && len(rest) == 0 {
				for _, one := range at.Commands() {
					if one.IsAvailableCommand() {
						names = append(names, cobra.CompletionWithDesc(one.Name(), one.Short))
					}
				}
			}
			return names, cobra.ShellCompDirectiveNoFileComp
		},
	}
}

// help prints the help of the command that the words name below a group.
func (c *call) help(group *cobra.Command, words []string) error {
	cmd, rest, err := group.Find(words)
	switch {
	case err != nil:
		return err
	case len(rest) > 0:
		return unknown(cmd, rest[0])
	}
	cmd.InitDefaultHelpFlag() // so that it is told of
	return cmd.Help()
}

// misused tells how a command was misused, and returns the exit status for it.
func (c *call) misused(cmd *cobra.Command, err error) int {
	fmt.Fprintf(c.stderr, "%s: %v\nsee: %[1]s --help\n", cmd.CommandPath(), err)
	return exitWrong
}

// unknown says that there is no command of that name, and which may be meant.
func unknown(group *cobra.Command, name string) error {
	kind := "command"
	if group.HasParent() {
		kind = "action"
	}
	if !group.HasSubCommands() {
		return fmt.Errorf("there is nothing below %s, so %q is one word too many", group.Name(), name)
	}
	return fmt.Errorf("there is no %s %q%s", kind, name, meant("", group, name))
}

// misusedFlag says what is right in place of a flag that is not.
func misusedFlag(cmd *cobra.Command, err error) error {
	if words := cmd.Flags().Args(); cmd.HasSubCommands() && len(words) > 0 {
		return unknown(cmd, words[0]) // that the flag is not known follows from this
	}
	missing, is := errors.AsType[*pflag.NotExistError](err)
	if !is {
		return err
	}
	if letters := missing.GetSpecifiedShortnames(); len(letters) > 1 {
		word, _, _ := strings.Cut(letters, "=")
		return fmt.Errorf("%w: -%s is read as one flag for each letter%s", err, word, meant("--", flagsOf(cmd), word))
	}
	if cmd.HasSubCommands() {
		return fmt.Errorf("%w: flags other than -c stand after the command", err)
	}
	return fmt.Errorf("%w%s", err, meant("--", flagsOf(cmd), missing.GetSpecifiedName()))
}

// flagsOf returns a group that has a command for each flag of a command, for cobra knows
// which names are alike of commands alone.
func flagsOf(cmd *cobra.Command) *cobra.Command {
	names := &cobra.Command{}
	cmd.Flags().VisitAll(func(f *pflag.Flag) {
		names.AddCommand(&cobra.Command{Use: f.Name, Run: func(*cobra.Command, []string) {}})
	})
	return names
}

// meant asks whether one of the names in a group was meant, each with what stands before
// it. It is empty when none of them is like the name that was given.
func meant(before string, group *cobra.Command, name string) string {
	group.SuggestionsMinimumDistance = 2 // letters that differ
	names := group.SuggestionsFor(name)
	if len(names) == 0 {
		return ""
	}
	return "; did you mean " + before + strings.Join(names, " or "+before) + "?"
}
