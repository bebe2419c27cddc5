package config

import (
	"errors"
	"fmt"
	"net/url"
	"time"
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

// Bounds of a scanner's settings.
const (
	minTimeout, maxTimeout = time.Second, 10 * time.Minute
	minScanSize            = 1 << 10
	maxScanSize            = 2 << 30
	maxScans               = 1000
	maxAddresses           = 16
)

// scanners reads [scanner.NAME].
func (r *reader) scanners(t *table) {
	parent := t.parent("scanner")
	if parent == nil {
		return
	}
	parent.only("clamd", "rspamd")
	keys := []string{"address", "timeout", "max_size", "max_scans"}
	if one := parent.section("clamd", keys...); one != nil {
		r.config.Clamd = &Clamd{
			Addresses: r.clamdAddresses(one),
			Timeout:   one.duration("timeout", 30*time.Second, minTimeout, maxTimeout),
			MaxSize:   one.size("max_size", 25<<20, minScanSize, maxScanSize),
			MaxScans:  one.number("max_scans", 10, 1, maxScans),
		}
	}
	if one := parent.section("rspamd", keys...); one != nil {
		r.config.Rspamd = &Rspamd{
			Address:  r.rspamdAddress(one),
			Timeout:  one.duration("timeout", 20*time.Second, minTimeout, maxTimeout),
			MaxSize:  one.size("max_size", 50<<20, minScanSize, maxScanSize),
			MaxScans: one.number("max_scans", 20, 1, maxScans),
		}
	}
}

// hasScannerFor reports that the file has the scanner that a check needs, be it
// right or wrong.
func (r *reader) hasScannerFor(check string) bool {
	scanner := row(check).Scanner
	return scanner == "" || scanner == "clamd" && r.config.Clamd != nil || scanner == "rspamd" && r.config.Rspamd != nil
}

// clamdAddresses reads one address, or a list of them.
func (r *reader) clamdAddresses(t *table) []string {
	t.require("address", likeClamd)
	return t.servers("address", t.oneOrMore("address"), maxAddresses, "addresses", likeClamd, func(text string) (string, error) {
		network, addr, err := clamdAddress(text)
		if err != nil {
			return "", err
		}
		return socket(network, addr), r.refuseOwn(network, addr)
	})
}

const likeClamd = `write it like "unix:/run/clamav/clamd.ctl" or "inet:127.0.0.1:3310"`

// clamdAddress reads what ParseListen reads, and suggests what clamd.conf says.
func clamdAddress(text string) (network, addr string, err error) {
	if network, addr, err = ParseListen(text); err == nil {
		return network, addr, nil
	}
	for _, kind := range []string{"unix:", "inet:"} {
		if _, _, e := ParseListen(kind + text); e == nil {
			return "", "", fmt.Errorf("%s has no kind; write it as %s", quote(text), quote(kind+text))
		}
	}
	return "", "", fmt.Errorf("%s is not the address of a server; %s", quote(text), likeClamd)
}

func (r *reader) rspamdAddress(t *table) string {
	const like = "http://127.0.0.1:11333"
	t.require("address", fmt.Sprintf("write it like %q", like))
	return parsedOr(t, "address", fmt.Sprintf("a string in quotes, like %q", like), "", func(text string) (string, error) {
		addr, err := httpAddress(text)
		if err != nil {
			return "", fmt.Errorf("%w; write it like %q", err, like)
		}
		return "http://" + addr, r.refuseOwn("tcp", addr)
	})
}

// httpAddress reads "http://HOST:PORT". The error lacks what would be right.
func httpAddress(text string) (string, error) {
	bad := fmt.Errorf("%s is not the address of a server", quote(text))
	address, err := url.Parse(text)
	switch {
	case err != nil:
		return "", bad
	case address.Scheme == "https":
		return "", errors.New("this version does not speak to rspamd by TLS")
	case address.Scheme != "http" || address.Opaque != "" || address.User != nil || address.RawQuery != "" || address.Fragment != "":
		return "", bad
	case address.Path != "" && address.Path != "/":
		return "", fmt.Errorf("%s has a path, and rspamd's are known", quote(text))
	case address.Port() == "":
		return "", fmt.Errorf("%s has no port", quote(text))
	}
	addr, err := hostPort(address.Host, "")
	if err != nil {
		return "", bad
	}
	return addr, nil
}
