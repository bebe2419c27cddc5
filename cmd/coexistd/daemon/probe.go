package daemon

import (
	"context"

	"coexistd/cmd/coexistd/control"
)

// probe tells what is known of a probe: nothing until it came back or bounced.
func (d *Daemon) probe(_ context.Context, what control.ProbeQuestion) (control.Probe, error) {
	var answer control.Probe
	known := d.probes.Find(what.ID)
	if r := known.Return; r != nil {
		answer.Return = &control.ProbeReturn{
			When: r.When, Point: r.Point.String(), Platform: r.Platform, Candidates: r.Candidates, Entered: r.Entered, Proof: r.Proof,
			TLS: r.TLS, Certificate: r.Certificate, Unforwarded: r.Unforwarded,
		}
		if r.Client.IsValid() {
			answer.Return.Client = r.Client.String()
		}
	}
	if b := known.Bounce; b != nil {
		answer.Bounce = &control.ProbeBounce{When: b.When, Final: b.IsFinal(), Status: b.Status, Diagnosis: b.Diagnosis}
	}
	return answer, nil
}
