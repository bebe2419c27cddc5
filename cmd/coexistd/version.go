package main

import (
	"fmt"
	"io"
	"runtime"

	"github.com/spf13/cobra"
)

// version is set by the build.
var version = "unknown"

// build says what this program is.
type build struct {
	Version string `json:"version"`
	Go      string `json:"go"`
	OS      string `json:"os"`
	Arch    string `json:"arch"`
}

func versionCommand(c *call) *cobra.Command {
	cmd := c.command(cobra.Command{
		Use:   "version",
		Short: "print the version",
		Example: `  coexistd version
  coexistd version --json`,
		Args: atMost(0),
	}, func([]string) int { return c.printVersion() })
	c.jsonFlag(cmd.Flags())
	return cmd
}

func (c *call) printVersion() int {
	b := build{Version: version, Go: runtime.Version(), OS: runtime.GOOS, Arch: runtime.GOARCH}
	err := c.print(b, func(w io.Writer) {
		fmt.Fprintf(w, "coexistd %s (%s, %s/%s)\n", b.Version, b.Go, b.OS, b.Arch)
	})
	if err != nil {
		return c.fail(err)
	}
	return exitYes
}
