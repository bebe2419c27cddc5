package doctor

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
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

// wrong are those findings about which something is to be done.
func wrong(findings []Finding) []Finding {
	return slices.DeleteFunc(findings, func(f Finding) bool { return f.Status == OK })
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

// together tells what judge finds of an MTA's services of a kind, those about which there is
// the same to say at once. What it finds reads on from a service's name; ok is false where
// there is nothing to say.
func together[S any](kind string, services []S, name func(S) string, judge func(S) (f Finding, ok bool)) []Finding {
	var findings []Finding
	names := make(map[Finding][]string)
	for _, s := range services {
		f, ok := judge(s)
		if !ok {
			continue
		}
		if names[f] == nil {
			findings = append(findings, f)
		}
		names[f] = append(names[f], name(s))
	}
	for i, f := range findings {
		findings[i].Found = fmt.Sprintf("%s (%s) %s", kind, strings.Join(names[f], ", "), f.Found)
	}
	return findings
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
