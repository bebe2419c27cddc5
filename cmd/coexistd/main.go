// Command coexistd lets one email domain live on two platforms. It is a milter
// daemon beside the organisation's MTA, and the commands to look after it.
package main

import (
	"io"
	"os"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

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

func main() {
	os.Exit(run(os.Args[1:], os.Stdout, os.Stderr))
}

// run runs a command line and returns its exit status.
func run(args []string, stdout, stderr io.Writer) int {
	out := &output{Writer: stdout}
	c := &call{stdout: out, stderr: stderr}
	root := c.root()
	if len(args) > 0 && args[0] == cobra.ShellCompRequestCmd {
		unquote(root)
	}
	// Without any, cobra would take those of the process.
	root.SetArgs(append([]string{}, args...))
	if cmd, err := root.ExecuteC(); err != nil {
		return c.misused(cmd, err)
	}
	return out.finish(c.status, stderr)
}

// unquote takes the backticks from the flags' texts, in which they mark a value's name. Help goes
// by them, but a shell that completes is told the texts as they are.
func unquote(cmd *cobra.Command) {
	plain := func(f *pflag.Flag) { f.Usage = strings.ReplaceAll(f.Usage, "`", "") }
	cmd.Flags().VisitAll(plain)
	cmd.PersistentFlags().VisitAll(plain)
	for _, one := range cmd.Commands() {
		unquote(one)
	}
}

// root is the table of commands.
func (c *call) root() *cobra.Command {
	root := c.group(cobra.Command{
		Use:   "coexistd COMMAND",
		Short: "one email domain on two platforms",
		Long: `coexistd lets one email domain live on two platforms. It is a milter daemon beside
the organisation's MTA, and the commands to look after it.

The exit status is 0 for yes or done, 1 for no, and 2 when it could not be told or
the usage was wrong.`,
		Example: `  coexistd check
  coexistd doctor
  coexistd explain --from x@example.net --to alice@acmecorp.com --client 192.0.2.1`,
	},
		serveCommand(c),
		checkCommand(c),
		statusCommand(c),
		reloadCommand(c),
		doctorCommand(c),
		explainCommand(c),
		setupCommand(c),
		directoryCommand(c),
		messagesCommand(c),
		quarantineCommand(c),
		sendersCommand(c),
		networksCommand(c),
		limitsCommand(c),
		clientsCommand(c),
		auditCommand(c),
		backupCommand(c),
		versionCommand(c),
	)
	c.rule(root)
	return root
}
