package doctor

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
)

// The statuses of findings.
const (
	OK   = "ok"
	Warn = "warn"
	Fail = "fail"
)

// Finding is one thing that the doctor has to say.
type Finding struct {
	Subject string `json:"subject"`
	Status  string `json:"status"`
	Found   string `json:"found"`
	// Remedy is empty when there is nothing to be done.
	Remedy string `json:"remedy"`
}

func fine(format string, args ...any) Finding {
	return Finding{Status: OK, Found: fmt.Sprintf(format, args...)}
}

func warning(format string, args ...any) Finding {
	return Finding{Status: Warn, Found: fmt.Sprintf(format, args...)}
}

func failure(format string, args ...any) Finding {
	return Finding{Status: Fail, Found: fmt.Sprintf(format, args...)}
}

// do returns the finding with its remedy.
func (f Finding) do(format string, args ...any) Finding {
	f.Remedy = fmt.Sprintf(format, args...)
	return f
}

// mostNamed bounds how many of a kind are named.
const mostNamed = 5

// some lists the first of some names, and says how many more there are.
func some(names []string) string {
	text := strings.Join(names[:min(len(names), mostNamed)], ", ")
	if more := len(names) - mostNamed; more > 0 {
		text += fmt.Sprintf(" and %d more", more)
	}
	return text
}

// because drops the path that the error of a file begins with.
func because(err error) error {
	if failed, is := errors.AsType[*fs.PathError](err); is {
		return failed.Err
	}
	if failed, is := errors.AsType[*os.LinkError](err); is {
		return failed.Err
	}
	return err
}
