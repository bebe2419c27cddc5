package main

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"time"

	"coexistd/cmd/coexistd/daemon"
	"coexistd/policy/config"
	"coexistd/policy/verdict"
	"coexistd/scanners"
	"coexistd/scanners/clamd"
	"coexistd/scanners/rspamd"
)

// The files that scanners find by agreement, with a hole, so that nobody finds
// them in this program.
const (
	eicarParts = `X5O!P%@AP[4\PZX54(P^)7CC)7}$EICAR-?-TEST-FILE!$H+H*`
	eicarHole  = "STANDARD-ANTIVIRUS"
	gtubeParts = `XJS*C4JDBQADN1.NSBN3*2IDNEN*GTUBE-?-TEST-EMAIL*C.34X`
	gtubeHole  = "STANDARD-ANTI-UBE"
)

const (
	// oldSignatures is the age at which signatures miss this week's viruses.
	oldSignatures = 7 * 24 * time.Hour
	// largestProbe bounds the size of the message that tries out clamd's limit.
	largestProbe = 64 << 20
)

// lookAtClamd asks each clamd, and has it find the test virus.
func lookAtClamd(ctx context.Context, x *examination) []finding {
	c := x.conf.Clamd
	if c == nil {
		return []finding{noScanner(x, "clamd", "unix:/run/clamav/clamd.ctl")}
	}
	var findings []finding
	pingCtx, cancel := context.WithTimeout(ctx, questionTime)
	defer cancel()
	for _, status := range daemon.NewClamd(c).Ping(pingCtx) {
		if status.Err != nil {
			findings = append(findings, failure("%v", status.Err).do("%s", clamdRemedy(ctx, status.Address)))
			continue
		}
		one := *c
		one.Addresses = []string{status.Address}
		findings = append(findings, signatures(x, status), findEICAR(ctx, x, daemon.NewClamd(&one), status))
		findings = append(findings, probeClamd(ctx, x, daemon.NewClamd(&one), status.Address)...)
	}
	return append(findings, compareSizes(x, "clamd", c.MaxSize, "StreamMaxLength in clamd.conf")...)
}

// noScanner is the finding where a scanner is not configured.
func noScanner(x *examination, scanner, like string) finding {
	for _, note := range x.conf.Notes {
		if note.Lacking == scanner {
			return warning("%s", note.Text).do("add to %s: [scanner.%s] with address = %q", x.conf.Path, scanner, like)
		}
	}
	return fine("no contact point needs it")
}

func clamdRemedy(ctx context.Context, address string) string {
	network, target, _ := config.ParseListen(address)
	conn, err := dial(ctx, network, target)
	if err == nil {
		conn.Close()
	}
	if errors.Is(err, fs.ErrPermission) {
		return fmt.Sprintf("let %s use the socket, by LocalSocketGroup in clamd.conf or by: usermod -aG clamav %s; systemctl restart coexistd", ownName(), ownName())
	}
	return "start clamd (systemctl restart clamav-daemon), and see that scanner.clamd.address is LocalSocket or TCPSocket of its clamd.conf"
}

func signatures(x *examination, status clamd.Status) finding {
	const remedy = "run freshclam, and see that its service runs: systemctl enable --now clamav-freshclam"
	switch age := x.now.Sub(status.Published); {
	case status.Signatures == "":
		return warning("%s is %s, without the signatures of ClamAV's makers", status.Address, status.Version).do(remedy)
	case status.Published.IsZero():
		return warning("%s is %s with the signatures %s, whose date it does not tell", status.Address, status.Version, status.Signatures).do(remedy)
	case age > oldSignatures:
		return warning("%s is %s with the signatures %s of %s, made %s", status.Address, status.Version, status.Signatures, status.Published.Format(time.DateOnly), ageText(age)).do(remedy)
	default:
		return fine("%s is %s with the signatures %s of %s", status.Address, status.Version, status.Signatures, status.Published.Format(time.DateOnly))
	}
}

// findEICAR has clamd scan the test virus, attached to a message.
func findEICAR(ctx context.Context, x *examination, scanner *clamd.Scanner, status clamd.Status) finding {
	file := strings.Replace(eicarParts, "?", eicarHole, 1)
	m := testMessage(x, "Content-Type: application/octet-stream; name=eicar.com\r\nContent-Transfer-Encoding: base64\r\n",
		base64.StdEncoding.EncodeToString([]byte(file)))
	ctx, cancel := context.WithTimeout(ctx, questionTime)
	defer cancel()
	switch found := scanner.Scan(ctx, m); {
	case found.State == verdict.Hit:
		return fine("%s finds the EICAR test file: %s", status.Address, found.Name)
	case found.State == verdict.Unknown:
		return failure("%s could not say whether the EICAR test file is a virus: %s", status.Address, found.Reasons).do("see what clamd's log says")
	case status.Signatures == "":
		return failure("%s answers but does not find the EICAR test file: its signature database is missing", status.Address).do("run: freshclam; systemctl restart clamav-daemon")
	default:
		return failure("%s answers but does not find the EICAR test file, attached to a message", status.Address).do("see that clamd.conf has ScanMail yes, run freshclam, and run: systemctl restart clamav-daemon")
	}
}

// probeClamd tries out whether clamd takes a message of the largest size that it
// will be asked about. What it does not answer is told elsewhere.
func probeClamd(ctx context.Context, x *examination, scanner *clamd.Scanner, address string) []finding {
	size := min(x.conf.Clamd.MaxSize, largestProbe)
	if limit, is := x.mta.messageSizeLimit(); is && limit > 0 {
		size = min(size, limit)
	}
	m := testMessage(x, "", "")
	if size > m.Size {
		content := bytes.Repeat([]byte(" "), int(size))
		m.Content.ReadAt(content, 0) // which is all of it, with blanks behind it
		m.Content, m.Size = bytes.NewReader(content), size
	}
	if found := scanner.Scan(ctx, m); found.State == verdict.Unknown && !found.Down {
		return []finding{warning("%s does not take a message of %s: %s", address, sizeText(m.Size), found.Reasons).
			do("set StreamMaxLength, MaxScanSize and MaxFileSize in clamd.conf to %dM at least, or scanner.clamd.max_size in %s to what they are", (m.Size+1<<20-1)>>20, x.conf.Path)}
	}
	return nil
}

// compareSizes looks for messages that Postfix takes and a scanner does not.
func compareSizes(x *examination, scanner string, size int64, setting string) []finding {
	limit, is := x.mta.messageSizeLimit()
	if !is || limit > 0 && limit <= size {
		return nil
	}
	taken := sizeText(limit)
	if limit == 0 {
		taken = "any size"
	}
	return []finding{warning("Postfix takes messages of %s (message_size_limit), %s is asked about %s at most (scanner.%s.max_size): what is larger is dealt with by on_error", taken, scanner, sizeText(size), scanner).
		do("raise scanner.%s.max_size in %s and %s, or set message_size_limit = %d in main.cf", scanner, x.conf.Path, setting, size)}
}

// lookAtRspamd asks rspamd, and has it find the test spam.
func lookAtRspamd(ctx context.Context, x *examination) []finding {
	c := x.conf.Rspamd
	if c == nil {
		return []finding{noScanner(x, "rspamd", "http://127.0.0.1:11333")}
	}
	scanner := daemon.NewRspamd(x.conf)
	pingCtx, cancel := context.WithTimeout(ctx, questionTime)
	defer cancel()
	var findings []finding
	switch version, err := scanner.Ping(pingCtx); {
	case err != nil:
		findings = append(findings, failure("%s: %v", c.Address, err).
			do("start rspamd (systemctl restart rspamd), and see that scanner.rspamd.address is bind_socket of its worker \"normal\" or \"rspamd_proxy\""))
	case version == "":
		findings = append(findings, fine("%s answers and does not tell its version", c.Address), findGTUBE(ctx, x, scanner))
	default:
		findings = append(findings, fine("%s answers, %s", c.Address, version), findGTUBE(ctx, x, scanner))
	}
	return append(findings, compareSizes(x, "rspamd", c.MaxSize, "max_message in rspamd's local.d/options.inc")...)
}

func findGTUBE(ctx context.Context, x *examination, scanner *rspamd.Scanner) finding {
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

// testMessage makes a message for scanners only, which goes to nobody.
func testMessage(x *examination, fields, body string) *scanners.Message {
	from := x.conf.Quarantine.Report.From
	var b bytes.Buffer
	fmt.Fprintf(&b, "From: <%s>\r\nTo: <%s>\r\nDate: %s\r\nMessage-Id: <doctor.%d@%s>\r\nSubject: coexistd doctor\r\nMIME-Version: 1.0\r\n%s\r\n%s\r\n",
		from, from, x.now.Format(time.RFC1123Z), x.now.UnixNano(), x.conf.Rules.Hostname, fields, body)
	return &scanners.Message{
		Content: bytes.NewReader(b.Bytes()), Size: int64(b.Len()),
		Sender: from, Recipients: []string{from},
	}
}
