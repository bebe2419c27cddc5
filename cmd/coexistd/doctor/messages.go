package doctor

import (
	"context"
	"errors"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"

	"coexistd/cmd/coexistd/control"
	"coexistd/cmd/coexistd/daemon"
	"coexistd/cmd/coexistd/human"
	"coexistd/milter/messages"
	"coexistd/milter/mtalog"
	"coexistd/policy/config"
)

// lookAtMessages sees whether the records of messages can be searched.
func lookAtMessages(ctx context.Context, x *examination) []Finding {
	o := daemon.MessagesOptions(x.conf, slog.New(slog.DiscardHandler))
	if o.Keep == 0 {
		return []Finding{fine("what becomes of messages is not kept (messages.keep)")}
	}
	switch _, err := os.Stat(o.Path); {
	case errors.Is(err, fs.ErrNotExist):
		return []Finding{failure("%s does not exist: coexistd messages finds nothing", o.Path).
			do("start the daemon, which makes it (systemctl restart coexistd); its log says why when it cannot")}
	case err != nil:
		return []Finding{failure("%s cannot be looked at: %v", o.Path, because(err)).do("%s", writeRemedy(because(err), filepath.Dir(o.Path)))}
	}
	all := messages.Open(o)
	defer all.Close()
	count, err := all.Count(ctx)
	if errors.Is(err, fs.ErrPermission) {
		return []Finding{failure("%s cannot be opened: %v", o.Path, err).do("%s", writeRemedy(err, filepath.Dir(o.Path)))}
	}
	if err != nil {
		return []Finding{failure("%s cannot be searched: %v", o.Path, err).
			do("the daemon sets aside what is damaged, and begins anew, when it writes next; its log tells of it: journalctl -u coexistd | grep messages.db")}
	}
	findings := []Finding{fine("%s has the records of %s", o.Path, human.Count(int(count), "message"))}
	findings = append(findings, lookAtMTALog(o.MTALog)...)
	return append(findings, lookAtClients(ctx, x, all)...)
}

// lookAtMTALog sees whether the MTA's log can be followed.
func lookAtMTALog(source string) []Finding {
	if source == "" || source == config.Journal {
		return nil // of the journal, the daemon tells
	}
	if err := mtalog.Check(source); err != nil {
		return []Finding{failure("the MTA's log cannot be read, so that coexistd messages does not tell what became of messages: %v", err).
			do("do what it says; the name of the file is messages.mta_log in the configuration")}
	}
	return []Finding{fine("the MTA's log %s can be read", source)}
}

// lookAtLost tells of records that the daemon could not write.
func lookAtLost(r control.Records) []Finding {
	switch {
	case r.Failed != "":
		return []Finding{failure("the daemon cannot write what becomes of messages, so that coexistd messages does not find it (mail goes on): %s", r.Failed).
			do("make room on the file system of %s, or let the daemon write there; it tries again with the next message", filepath.Dir(r.Path))}
	case r.MTALog != nil && r.MTALog.Failed != "":
		return []Finding{failure("the daemon cannot follow the MTA's log, so that coexistd messages does not tell what became of messages: %s", r.MTALog.Failed).
			do("do what it says; the daemon tries again by itself")}
	case r.Lost > 0:
		return []Finding{warning("the daemon has lost %s since its start, the last at %s: more came than the disk took in time", human.Count(int(r.Lost), "record"), r.LastLost.Local().Format("2006-01-02 15:04:05")).
			do("see what keeps the disk of %s busy", filepath.Dir(r.Path))}
	}
	return nil
}
