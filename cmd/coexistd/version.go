package main

import (
	"fmt"
	"runtime"
)

// version is set by the build.
var version = "unknown"

func printVersion(c *call) int {
	if status, done := c.parse(0); done {
		return status
	}
	fmt.Fprintf(c.stdout, "coexistd %s (%s, %s/%s)\n", version, runtime.Version(), runtime.GOOS, runtime.GOARCH)
	return exitYes
}
