package daemon

import (
	"context"
	"time"

	"coexistd/milter/audit"
)

// auditTime bounds how long an answer waits until the audit has it.
const auditTime = 5 * time.Second

// Asker is who asks the daemon to change something, and by which way, for the audit.
type Asker struct{ Who, Way string }

// BySignal is the Asker of a signal, whose sender the system does not tell.
var BySignal = Asker{Way: audit.Signal}

// askerOf returns who has asked a question of the control socket.
func askerOf(ctx context.Context) Asker {
	by, _ := ctx.Value(asker{}).(Asker)
	return by
}

// audit notes what the daemon was asked to change, and what came of it. That is done by now,
// so that an audit which cannot be written is only told of.
func (d *Daemon) audit(by Asker, what, object, whose string, found bool, failed error) {
	outcome := audit.Done
	switch {
	case failed != nil:
		outcome = failed.Error()
	case !found:
		outcome = audit.Nothing
	}
	e := audit.Event{Who: by.Who, Way: by.Way, What: what, Object: object, Whose: whose, Outcome: outcome}
	ctx, cancel := context.WithTimeout(context.Background(), auditTime)
	defer cancel()
	var err error
	d.with(func(g *generation) { err = g.audit.Write(ctx, e) })
	if err != nil {
		d.log.Error("the audit cannot be written", "who", e.Who, "way", e.Way, "what", e.What, "object", e.Object, "whose", e.Whose, "outcome", e.Outcome, "error", err)
	}
}
