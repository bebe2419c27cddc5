package doctor

import (
	"context"
)

// lookAtNotes tells what the configuration does not bring about, save what the
// looks at scanners tell.
func lookAtNotes(_ context.Context, x *examination) []Finding {
	findings := []Finding{fine("%s has no mistakes", x.conf.Path)}
	for _, note := range x.conf.Notes {
		if note.Lacking == "" {
			findings = append(findings, warning("%s", note.Text))
		}
	}
	return findings
}
