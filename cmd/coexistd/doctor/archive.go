package doctor

import (
	"context"

	"coexistd/cmd/coexistd/daemon"
)

// lookAtArchive sees whether copies can be sent to the archive. Whether it takes them, the MTA's
// queue tells.
func lookAtArchive(_ context.Context, x *examination) []Finding {
	if x.conf.Rules.Archive == nil {
		return nil
	}
	for _, lost := range daemon.LostArchive(x.conf, x.lists().Set()) {
		return []Finding{failure("%v", lost).do("correct %s or the directory", x.conf.Path)}
	}
	return []Finding{fine("%s", x.conf.Rules.Archive)}
}
