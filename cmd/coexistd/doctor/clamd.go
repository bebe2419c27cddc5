package doctor

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"time"

	"coexistd/cmd/coexistd/account"
	"coexistd/cmd/coexistd/daemon"
	"coexistd/cmd/coexistd/human"
	"coexistd/policy/config/sockets"
	"coexistd/policy/verdict"
	"coexistd/scanners/clamd"
)

// The file that scanners of viruses find by agreement, with a hole, so that nobody finds it
// in this program.
const (
	eicarParts = `X5O!P%@AP[4\PZX54(P^)7CC)7}$EICAR-?-TEST-FILE!$H+H*`
	eicarHole  = "STANDARD-ANTIVIRUS"
)

const (
	// oldSignatures is the age at which signatures miss this week's viruses.
	oldSignatures = 7 * 24 * time.Hour
	// largestProbe bounds the size of the message that tries out clamd's limit.
	largestProbe = 64 << 20
)

func eicar() string { return strings.Replace(eicarParts, "?", eicarHole, 1) }

// lookAtClamd asks each clamd, and has it find the test virus.
func lookAtClamd(ctx context.Context, x *examination) []Finding {
	c := x.conf.Clamd
	if c == nil {
		return []Finding{noScanner(x, "clamd", "unix:/run/clamav/clamd.ctl")}
	}
	var findings []Finding
	pingCtx, cancel := context.WithTimeout(ctx, questionTime)
	defer cancel()
	for _, status := range daemon.NewClamd(c).Ping(pingCtx) {
		if status.Err != nil {
			findings = append(findings, failure("%v", status.Err).do("%s", clamdRemedy(ctx, status.Address)))
			continue
		}
		one := *c
		one.Addresses = []string{status.Address}
		scanner := daemon.NewClamd(&one)
		findings = append(findings, signatures(x, status), findEICAR(ctx, x, scanner, status))
		findings = append(findings, lookAtLimits(ctx, x, scanner, status.Address)...)
		findings = append(findings, probeClamd(ctx, x, scanner, status.Address)...)
	}
	return append(findings, compareSizes(x, "clamd", c.MaxSize, "StreamMaxLength in clamd.conf")...)
}

func clamdRemedy(ctx context.Context, address string) string {
	network, target, _ := sockets.Parse(address)
	conn, err := dial(ctx, network, target)
	if err == nil {
		conn.Close()
	}
	if errors.Is(err, fs.ErrPermission) {
		return fmt.Sprintf("let %s use the socket, by LocalSocketGroup in clamd.conf or by: usermod -aG clamav %s; systemctl restart coexistd", account.OwnName(), account.OwnName())
	}
	return "start clamd (systemctl restart clamav-daemon), and see that scanner.clamd.address is LocalSocket or TCPSocket of its clamd.conf"
}

func signatures(x *examination, status clamd.Status) Finding {
	const remedy = "run freshclam, and see that its service runs: systemctl enable --now clamav-freshclam"
	switch age := x.now.Sub(status.Published); {
	case status.Signatures == "":
		return warning("%s is %s, without the signatures of ClamAV's makers", status.Address, status.Version).do(remedy)
	case status.Published.IsZero():
		return warning("%s is %s with the signatures %s, whose date it does not tell", status.Address, status.Version, status.Signatures).do(remedy)
	case age > oldSignatures:
		return warning("%s is %s with the signatures %s of %s, made %s", status.Address, status.Version, status.Signatures, status.Published.Format(time.DateOnly), human.Age(age)).do(remedy)
	default:
		return fine("%s is %s with the signatures %s of %s", status.Address, status.Version, status.Signatures, status.Published.Format(time.DateOnly))
	}
}

// findEICAR has clamd scan the test virus, attached to a message.
func findEICAR(ctx context.Context, x *examination, scanner *clamd.Scanner, status clamd.Status) Finding {
	switch found := scan(ctx, scanner, attached(x, "eicar.com", []byte(eicar()))); {
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
func probeClamd(ctx context.Context, x *examination, scanner *clamd.Scanner, address string) []Finding {
	size := min(x.conf.Clamd.MaxSize, largestProbe)
	if limit, is := x.sizeLimit(); is && limit.bytes > 0 {
		size = min(size, limit.bytes)
	}
	m := testMessage(x, "", "")
	if size > m.Size {
		content := bytes.Repeat([]byte(" "), int(size))
		_, _ = m.Content.ReadAt(content, 0) // which is all of it, with blanks behind it
		m.Content, m.Size = bytes.NewReader(content), size
	}
	if found := scanner.Scan(ctx, m); found.State == verdict.Unknown && !found.Down {
		return []Finding{warning("%s does not take a message of %s: %s", address, human.Size(m.Size), found.Reasons).
			do("set StreamMaxLength, MaxScanSize and MaxFileSize in clamd.conf to %dM at least, or scanner.clamd.max_size in %s to what they are", (m.Size+1<<20-1)>>20, x.conf.Path)}
	}
	return nil
}
