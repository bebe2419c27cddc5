package config

import (
	"fmt"
	"math"
	"net"
	"slices"
	"strconv"
	"strings"
	"time"

	"coexistd/policy/config/wording"
)

const day = 24 * time.Hour

// unit is a word behind a number and what it stands for.
type unit struct {
	word string
	of   int64
}

// quantity is a kind of value that is written as a number with a unit.
type quantity struct {
	what  string // with its article
	like  string // examples
	units []unit // ascending
}

// durations are kept in nanoseconds, sizes in bytes. "MB" and "MiB" are the same
// as "M": a mail administrator's sizes are powers of 1024.
var (
	durations = quantity{"a duration", `"30s", "5m", "2h" or "30d"`, []unit{
		{"s", int64(time.Second)}, {"m", int64(time.Minute)}, {"h", int64(time.Hour)}, {"d", int64(day)},
	}}
	sizes = quantity{"a size", `"512K", "25M" or "10G"`, []unit{
		{"K", 1 << 10}, {"M", 1 << 20}, {"G", 1 << 30}, {"T", 1 << 40},
	}}
)

// parse reads a whole number with a unit. The error says what would be right.
func (q quantity) parse(text string) (int64, error) {
	digits := strings.TrimRight(text, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ")
	word := text[len(digits):]
	if q.units[0].word == "K" {
		word = strings.TrimSuffix(strings.TrimSuffix(strings.ToUpper(word), "B"), "I")
	}
	number, err := strconv.ParseUint(digits, 10, 63)
	if err == nil && word == "" {
		return 0, fmt.Errorf("%s has no unit; write it like %s", wording.Quote(text), q.like)
	}
	for _, u := range q.units {
		if err == nil && u.word == word && number <= uint64(math.MaxInt64/u.of) {
			return int64(number) * u.of, nil
		}
	}
	return 0, fmt.Errorf("%s is not %s; write it like %s", wording.Quote(text), q.what, q.like)
}

// text writes a value in the largest unit that divides it.
func (q quantity) text(value int64) string {
	u := q.units[0]
	for _, larger := range q.units {
		if value%larger.of == 0 {
			u = larger
		}
	}
	return strconv.FormatInt(value/u.of, 10) + u.word
}

func (q quantity) want() string { return q.what + " in quotes, like " + q.like }

// within reads a value within bounds.
func (q quantity) within(text string, low, high int64) (int64, error) {
	value, err := q.parse(text)
	if err == nil && (value < low || value > high) {
		err = fmt.Errorf("%s is out of range; it must be from %s to %s", wording.Quote(text), q.text(low), q.text(high))
	}
	return value, err
}

// hostPort reads HOST:PORT, as net.Dial takes it.
func hostPort(text, like string) (string, error) {
	if rest, ok := strings.CutPrefix(text, "inet:"); ok {
		if addr, err := hostPort(rest, like); err == nil {
			return "", fmt.Errorf("%s begins with a kind, and this is always an inet address; write it as %s", wording.Quote(text), wording.Quote(addr))
		}
	}
	if host, _, err := net.SplitHostPort(text); err == nil && host != "" {
		if addr, err := parseInet(text, text); err == nil {
			return addr, nil
		}
	}
	return "", fmt.Errorf("%s is not HOST:PORT; write it like %s", wording.Quote(text), wording.Quote(like))
}

// refuseOwn refuses the address of a server that is one of our own sockets.
func (r *reader) refuseOwn(network, addr string) error {
	for _, l := range slices.Concat(r.config.Listeners, r.config.Lookups) {
		kind, own, err := ParseListen(l.Address)
		if err == nil && kind == network && reaches(network, addr, own) {
			return fmt.Errorf("%s is where coexistd itself listens (%s); write the address of the other server", wording.Quote(addr), l.Address)
		}
	}
	return nil
}

// reaches reports that a connection to addr comes to the socket own: it has the
// same name, or it is on every address of this host.
func reaches(network, addr, own string) bool {
	if network == "unix" || addr == own {
		return addr == own
	}
	host, port, _ := net.SplitHostPort(addr)
	ownHost, ownPort, _ := net.SplitHostPort(own)
	if port != ownPort {
		return false
	}
	ip, ownIP := net.ParseIP(host), net.ParseIP(ownHost)
	local := func(name string, ip net.IP) bool { return name == "localhost" || ip.IsLoopback() || ip.IsUnspecified() }
	isName := host == "localhost" || ownHost == "localhost"
	return local(host, ip) && (ownIP.IsUnspecified() || isName && local(ownHost, ownIP))
}
