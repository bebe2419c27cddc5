package doctor

import (
	"archive/zip"
	"bytes"
	"context"
	"encoding/base64"
	"os"
	"strings"

	"coexistd/policy/verdict"
	"coexistd/scanners"
	"coexistd/scanners/clamd"
)

// deeperThanClamd is more archives within each other than any clamd opens: MaxRecursion is 100
// at most.
const deeperThanClamd = 101

// lookAtLimits sees whether clamd tells what its limits keep it from looking into. No answer of
// clamd's has its configuration, so it is given something that is past one of them.
func lookAtLimits(ctx context.Context, x *examination, scanner *clamd.Scanner, address string) []Finding {
	switch found := scan(ctx, scanner, attached(x, "nested.zip", packed("nothing", deeperThanClamd))); {
	case found.Down:
		return nil // which is told of the EICAR test file
	case found.State == verdict.Unknown:
		return []Finding{fine("%s tells what it did not look into: %s", address, found.Reasons)}
	case found.State == verdict.Hit:
		return []Finding{warning("%s takes archives within archives for %s, so that it cannot be seen whether it tells what it did not look into", address, found.Name).
			do("see that %s has the line: AlertExceedsMax yes", clamdConf())}
	}
	open := scan(ctx, scanner, attached(x, "eicar.com", []byte(eicar())))
	if inZip := scan(ctx, scanner, attached(x, "eicar.zip", packed(eicar(), 1))); open.State == verdict.Hit && inZip.State == verdict.Clean {
		return []Finding{failure("%s does not look into archives: it finds the EICAR test file, but not in a zip archive", address).
			do("put into %s: ScanArchive yes; then run: systemctl restart clamav-daemon", clamdConf())}
	}
	return []Finding{warning("%s says OK of what it did not look into: what is larger than MaxScanSize or MaxFileSize, or nested deeper than MaxRecursion, is delivered unscanned", address).
		do("put into %s: AlertExceedsMax yes; then run: systemctl restart clamav-daemon. on_error of virus then says what becomes of such mail, as of mail while clamd is away: tempfail, the default, puts it off until its sender gives up; to hold it, put into %s: [check.virus] with on_error = \"quarantine\"", clamdConf(), x.conf.Path)}
}

func scan(ctx context.Context, scanner *clamd.Scanner, m *scanners.Message) verdict.Finding {
	ctx, cancel := context.WithTimeout(ctx, questionTime)
	defer cancel()
	return scanner.Scan(ctx, m)
}

// attached makes a message that has a file attached.
func attached(x *examination, name string, file []byte) *scanners.Message {
	const lineLength = 76 // RFC 2045 section 6.8
	var body strings.Builder
	for text := base64.StdEncoding.EncodeToString(file); text != ""; {
		n := min(len(text), lineLength)
		body.WriteString(text[:n] + "\r\n")
		text = text[n:]
	}
	return testMessage(x, "Content-Type: application/octet-stream; name="+name+"\r\nContent-Transfer-Encoding: base64\r\n", strings.TrimSuffix(body.String(), "\r\n"))
}

// packed is a text in that many zip archives within each other. The innermost compresses it, so
// that it cannot be read from outside.
func packed(text string, times int) []byte {
	content, method := []byte(text), zip.Deflate
	for range times {
		var b bytes.Buffer
		w := zip.NewWriter(&b)
		if file, err := w.CreateHeader(&zip.FileHeader{Name: "packed", Method: method}); err == nil {
			_, _ = file.Write(content) // A bytes.Buffer takes all.
		}
		_ = w.Close()
		content, method = b.Bytes(), zip.Store
	}
	return content
}

// clamdConf is where clamd's configuration is, if it is where distributions put it.
func clamdConf() string {
	for _, path := range [...]string{"/etc/clamav/clamd.conf", "/etc/clamd.d/scan.conf"} {
		if _, err := os.Stat(path); err == nil {
			return path
		}
	}
	return "clamd.conf"
}
