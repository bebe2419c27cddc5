package main

import (
	"strings"
	"testing"
)

func TestServeRefusesALogThatIsNone(t *testing.T) {
	t.Parallel()
	for line, want := range map[string]string{
		"serve --log-level loud":  `invalid argument "loud" for "--log-level" flag: it would be debug, info, warn or error`,
		"serve --log-level INFO":  "it would be debug, info, warn or error",
		"serve --log-format yaml": `invalid argument "yaml" for "--log-format" flag: it would be text or json`,
	} {
		if status, out, complaint := typed(line); status != exitWrong || out != "" || !strings.Contains(complaint, want) {
			t.Errorf("%q ended with %d, %q and %q", line, status, out, complaint)
		}
	}
}
