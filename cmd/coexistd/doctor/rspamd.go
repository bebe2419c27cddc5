package doctor

import (
	"context"
	"strings"

	"coexistd/cmd/coexistd/daemon"
	"coexistd/policy/verdict"
	"coexistd/scanners/rspamd"
)

// The message that scanners of spam find by agreement, with a hole, so that nobody finds it
// in this program.
const (
	gtubeParts = `XJS*C4JDBQADN1.NSBN3*2IDNEN*GTUBE-?-TEST-EMAIL*C.34X`
	gtubeHole  = "STANDARD-ANTI-UBE"
)

// lookAtRspamd asks rspamd, and has it find the test spam.
func lookAtRspamd(ctx context.Context, x *examination) []Finding {
	c := x.conf.Rspamd
	if c == nil {
		return []Finding{noScanner(x, "rspamd", "http://127.0.0.1:11333")}
	}
	scanner := daemon.NewRspamd(x.conf)
	pingCtx, cancel := context.WithTimeout(ctx, questionTime)
	defer cancel()
	var findings []Finding
	switch version, err := scanner.Ping(pingCtx); {
	case err != nil:
		findings = append(findings, failure("%s: %v", c.Address, err).
			do("start rspamd (systemctl restart rspamd), and see that scanner.rspamd.address is bind_socket of its worker \"normal\" or \"rspamd_proxy\""))
	case version == "":
		findings = append(findings, fine("%s answers and does not tell its version", c.Address), findGTUBE(ctx, x, scanner))
	default:
		findings = append(findings, fine("%s answers, %s", c.Address, version), findGTUBE(ctx, x, scanner))
	}
	if x.conf.Quarantine.Learn {
		findings = append(findings, lookAtLearning(ctx, x))
	}
	return append(findings, compareSizes(x, "rspamd", c.MaxSize, "max_message in rspamd's local.d/options.inc")...)
}

// lookAtLearning asks whether rspamd would learn of what is released.
func lookAtLearning(ctx context.Context, x *examination) Finding {
	ctx, cancel := context.WithTimeout(ctx, questionTime)
	defer cancel()
	at := x.conf.Rspamd.Controller
	if err := daemon.NewTrainer(x.conf).Ready(ctx); err != nil {
		return failure("%s: rspamd learns nothing of what is released: %v", at, err).
			do("see that scanner.rspamd.controller is bind_socket of rspamd's worker \"controller\", and that password_file has its enable_password (or password), or that its secure_ip has this host")
	}
	return fine("%s lets us have rspamd learn", at)
}

func findGTUBE(ctx context.Context, x *examination, scanner *rspamd.Scanner) Finding {
	m := testMessage(x, "", strings.Replace(gtubeParts, "?", gtubeHole, 1))
	ctx, cancel := context.WithTimeout(ctx, questionTime)
	defer cancel()
	switch found := scanner.Scan(ctx, m); found.State {
	case verdict.Hit:
		return fine("%s finds the GTUBE test message: %s", x.conf.Rspamd.Address, found.Reasons)
	case verdict.Unknown:
		return failure("%s could not say whether the GTUBE test message is spam: %s", x.conf.Rspamd.Address, found.Reasons).do("see what rspamd's log says")
	default:
		return failure("%s answers but does not find the GTUBE test message", x.conf.Rspamd.Address).
			do(`see that rspamd's local.d/options.inc does not have gtube_patterns = "disable", and that no setting of it lets all mail pass`)
	}
}
