package config

import (
	"errors"
	"fmt"
	"net"
	"net/url"
	"time"

	"coexistd/policy/config/schema"
	"coexistd/policy/config/secret"
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
	// Controller is the address of the worker that learns, "http://HOST:PORT", and Password what
	// it is told; empty: nothing. The password must stand in no log.
	Controller, Password string
}

func (r *reader) clamdKeys() schema.Section {
	return schema.Section{Path: "scanner.clamd", Header: "[scanner.clamd]", About: "ClamAV, for the check virus", Keys: []schema.Key{
		{Name: "address", Kind: schema.OneOrMore(r.clamdAddress, schema.Rules{Empty: "names no server; " + likeClamd, Most: maxAddresses, What: "addresses", Twice: schema.Refused}),
			Missing: likeClamd, Example: `"unix:/run/clamav/clamd.ctl"`,
			Meaning: "`\"unix:/run/clamav/clamd.ctl\"`, `\"inet:127.0.0.1:3310\"`, or a list of such, tried in order"},
		{Name: "timeout", Kind: scanTime, Usual: "30s", Meaning: "for one scan"},
		{Name: "max_size", Kind: scanSize, Usual: "25M",
			Meaning: "a larger message is not scanned: `on_error`. Not above clamd's `StreamMaxLength`, and not below the MTA's message size limit"},
		{Name: "max_scans", Kind: scans, Usual: 10, Meaning: "scans at once. More wait, within their timeout"},
	}}
}

func (r *reader) rspamdKeys() schema.Section {
	return schema.Section{Path: "scanner.rspamd", Header: "[scanner.rspamd]", About: "rspamd, for the check spam", Keys: []schema.Key{
		{Name: "address", Kind: schema.Text(`a string in quotes, like "`+likeRspamd+`"`, r.rspamdAddress), Missing: `write it like "` + likeRspamd + `"`,
			Example: `"` + likeRspamd + `"`, Meaning: "`\"" + likeRspamd + "\"`"},
		{Name: "timeout", Kind: scanTime, Usual: "20s", Meaning: "for one scan"},
		{Name: "max_size", Kind: scanSize, Usual: "50M", Meaning: "a larger message is not scanned: `on_error`. Not below the MTA's message size limit"},
		{Name: "max_scans", Kind: scans, Usual: 20, Meaning: "scans at once. More wait, within their timeout"},
		{Name: "controller", Kind: schema.Text(`a string in quotes, like "`+likeController+`"`, r.controllerAddress), Usually: "`address` with the port 11334", Example: `"` + likeController + `"`,
			Meaning: "rspamd's worker of that name, which learns when `[quarantine] learn` is true"},
		{Name: "password_file", Kind: schema.Text("a path in quotes", r.rspamdPassword), Example: `"rspamd.password"`,
			Meaning: "a file with the controller's password (`enable_password`, or `password`) as its only line, not readable by others. Not needed when its `secure_ip` has this host"},
	}}
}

// scanners reads [scanner.NAME].
func (r *reader) scanners(t *schema.Table) {
	parent := t.Parent("scanner")
	if parent == nil {
		return
	}
	parent.ReadSection()
	if one := parent.Section("clamd"); one != nil {
		one.ReadSection()
		r.config.Clamd = &Clamd{
			schema.Value[[]string](one, "address"), schema.Value[time.Duration](one, "timeout"), schema.Value[int64](one, "max_size"), schema.Value[int](one, "max_scans"),
		}
	}
	if one := parent.Section("rspamd"); one != nil {
		one.ReadSection()
		r.config.Rspamd = &Rspamd{
			Address: schema.Value[string](one, "address"), Timeout: schema.Value[time.Duration](one, "timeout"), MaxSize: schema.Value[int64](one, "max_size"), MaxScans: schema.Value[int](one, "max_scans"),
			Controller: schema.Value[string](one, "controller"), Password: schema.Value[string](one, "password_file"),
		}
		if address, err := httpAddress(r.config.Rspamd.Address); err == nil && r.config.Rspamd.Controller == "" {
			host, _, _ := net.SplitHostPort(address)
			r.config.Rspamd.Controller = "http://" + net.JoinHostPort(host, controllerPort)
		}
	}
}

// hasScannerFor reports that the file has the scanner that a check needs, be it
// right or wrong.
func (r *reader) hasScannerFor(check string) bool {
	scanner := row(check).Scanner
	return scanner == "" || scanner == "clamd" && r.config.Clamd != nil || scanner == "rspamd" && r.config.Rspamd != nil
}

// maxAddresses bounds the servers of one kind.
const maxAddresses = 16

const (
	likeClamd  = `write it like "unix:/run/clamav/clamd.ctl" or "inet:127.0.0.1:3310"`
	likeRspamd = "http://127.0.0.1:11333"
	// The port of rspamd's controller, unless its configuration says another.
	controllerPort = "11334"
	likeController = "http://127.0.0.1:" + controllerPort
)

// clamdAddress reads what sockets.Parse reads, and suggests what clamd.conf says.
func (r *reader) clamdAddress(text string) (string, error) {
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

func (r *reader) rspamdAddress(text string) (string, error) { return r.httpServer(text, likeRspamd) }

func (r *reader) controllerAddress(text string) (string, error) {
	return r.httpServer(text, likeController)
}

// httpServer reads the address of a server of rspamd. Like is an example of what is right.
func (r *reader) httpServer(text, like string) (string, error) {
	addr, err := httpAddress(text)
	if err != nil {
		return "", fmt.Errorf("%w; write it like %q", err, like)
	}
	return "http://" + addr, r.refuseOwn("tcp", addr)
}

func (r *reader) rspamdPassword(file string) (string, error) {
	r.names("scanner.rspamd.password_file", r.path(file), true)
	return secret.Read(r.path(file), 1, "write the path of a file that holds the password and nothing else")
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

// What a scanner's settings can be.
var (
	scanTime = schema.Duration(time.Second, 10*time.Minute)
	scanSize = schema.Size(1<<10, 2<<30)
	scans    = schema.Number(1, 1000)
)
