package config

import (
	"errors"
	"fmt"
	"net/url"
	"time"

	"coexistd/policy/config/sockets"
	"coexistd/policy/config/wording"
)

// Clamd is [scanner.clamd], which makes the check virus.
type Clamd struct {
	// Addresses are "unix:/PATH" or "inet:HOST:PORT", to be tried in order.
	Addresses []string
	// Timeout bounds one scan.
	Timeout time.Duration
	// MaxSize is the largest message that is scanned, in bytes.
	MaxSize int64
	// MaxScans bounds the scans at once.
	MaxScans int
}

// Rspamd is [scanner.rspamd], which makes the check spam.
type Rspamd struct {
	// Address is "http://HOST:PORT".
	Address string
	// Timeout, MaxSize and MaxScans are as in Clamd.
	Timeout  time.Duration
	MaxSize  int64
	MaxScans int
}

// scanners reads [scanner.NAME].
func (r *reader) scanners(t *table) {
	parent := t.parent("scanner")
	if parent == nil {
		return
	}
	parent.readSection()
	if one := parent.section("clamd"); one != nil {
		one.readSection()
		r.config.Clamd = &Clamd{
			value[[]string](one, "address"), value[time.Duration](one, "timeout"), value[int64](one, "max_size"), value[int](one, "max_scans"),
		}
	}
	if one := parent.section("rspamd"); one != nil {
		one.readSection()
		r.config.Rspamd = &Rspamd{
			value[string](one, "address"), value[time.Duration](one, "timeout"), value[int64](one, "max_size"), value[int](one, "max_scans"),
		}
	}
}

// hasScannerFor reports that the file has the scanner that a check needs, be it
// right or wrong.
func (r *reader) hasScannerFor(check string) bool {
	scanner := row(check).Scanner
	return scanner == "" || scanner == "clamd" && r.config.Clamd != nil || scanner == "rspamd" && r.config.Rspamd != nil
}

const (
	likeClamd  = `write it like "unix:/run/clamav/clamd.ctl" or "inet:127.0.0.1:3310"`
	likeRspamd = "http://127.0.0.1:11333"
)

// clamdAddress reads what sockets.Parse reads, and suggests what clamd.conf says.
func clamdAddress(r *reader, text string) (string, error) {
	network, addr, err := sockets.Parse(text)
	if err == nil {
		return sockets.Text(network, addr), r.refuseOwn(network, addr)
	}
	for _, kind := range []string{"unix:", "inet:"} {
		if _, _, e := sockets.Parse(kind + text); e == nil {
			return "", fmt.Errorf("%s has no kind; write it as %s", wording.Quote(text), wording.Quote(kind+text))
		}
	}
	return "", fmt.Errorf("%s is not the address of a server; %s", wording.Quote(text), likeClamd)
}

func rspamdAddress(r *reader, text string) (string, error) {
	addr, err := httpAddress(text)
	if err != nil {
		return "", fmt.Errorf("%w; write it like %q", err, likeRspamd)
	}
	return "http://" + addr, r.refuseOwn("tcp", addr)
}

// httpAddress reads "http://HOST:PORT". The error lacks what would be right.
func httpAddress(text string) (string, error) {
	bad := fmt.Errorf("%s is not the address of a server", wording.Quote(text))
	address, err := url.Parse(text)
	switch {
	case err != nil:
		return "", bad
	case address.Scheme == "https":
		return "", errors.New("this version does not speak to rspamd by TLS")
	case address.Scheme != "http" || address.Opaque != "" || address.User != nil || address.RawQuery != "" || address.Fragment != "":
		return "", bad
	case address.Path != "" && address.Path != "/":
		return "", fmt.Errorf("%s has a path, and rspamd's are known", wording.Quote(text))
	case address.Port() == "":
		return "", fmt.Errorf("%s has no port", wording.Quote(text))
	}
	addr, err := sockets.HostPort(address.Host, "")
	if err != nil {
		return "", bad
	}
	return addr, nil
}
