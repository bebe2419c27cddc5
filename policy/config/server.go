package config

import (
	"fmt"
	"net"
	"net/netip"
	"strconv"
)

// Redis is [redis]: where several hosts count together.
type Redis struct {
	// Addresses are "HOST:PORT": of a server; of several nodes of a cluster; or,
	// when Master is not empty, of Sentinels that know the server of that name.
	Addresses []string
	Master    string
	// Username and Password are what it is told; both may be empty. The password
	// must stand in no log.
	Username, Password string
	TLS                bool
}

func (r *reader) redis(t *table) {
	one := t.section("redis", "addresses", "master", "username", "password_file", "tls")
	if one == nil {
		return
	}
	r.config.Redis = &Redis{
		Addresses: r.redisAddresses(one),
		Master:    one.line("master", "the name that the Sentinels have for the server"),
		Username:  one.line("username", "a user of Redis"),
		Password:  one.secretText("password_file", 1, "write the path of a file that holds the password and nothing else"),
		TLS:       one.flag("tls", false),
	}
	if one.has("username") && !one.has("password_file") {
		one.fail("username", "has no password; add password_file, or leave username out")
	}
	if !t.has("rate") {
		r.note("[redis] is never asked: there is no [[rate]]")
	}
}

func (r *reader) redisAddresses(t *table) []string {
	const like = "127.0.0.1:6379"
	right := fmt.Sprintf("write it like [%q]", like)
	t.require("addresses", right)
	return t.servers("addresses", t.texts("addresses"), maxAddresses, "addresses", right, func(text string) (string, error) {
		addr, err := hostPort(text, like)
		if err != nil {
			return "", err
		}
		return addr, r.refuseOwn("tcp", addr)
	})
}

// line reads a short text without control characters. An absent one is "".
func (t *table) line(name, what string) string {
	return parsedOr(t, name, what+", in quotes", "", func(text string) (string, error) {
		if text == "" || len(text) > maxText || printable(text) != text {
			return "", fmt.Errorf("%s is not %s; it would be one line of 1 to %d bytes", quote(text), what, maxText)
		}
		return text, nil
	})
}

// resolver reads one DNS server, or a list of them.
func (t *table) resolver() []string {
	const right = "leave it out for the system's own"
	return t.servers("resolver", t.oneOrMore("resolver"), 8, "servers", right, func(text string) (string, error) {
		addr, ok := parseResolver(text)
		if !ok {
			return "", fmt.Errorf(`%s is not the IP address of a DNS server, with or without a port; write it like "127.0.0.1" or "[::1]:53"`, quote(text))
		}
		return addr.String(), nil
	})
}

// parseResolver reads IP or IP:PORT.
func parseResolver(text string) (netip.AddrPort, bool) {
	if addr, err := netip.ParseAddr(text); err == nil {
		return netip.AddrPortFrom(addr, 53), true
	}
	host, port, err := net.SplitHostPort(text)
	if err != nil {
		return netip.AddrPort{}, false
	}
	addr, err := netip.ParseAddr(host)
	number, portErr := strconv.ParseUint(port, 10, 16)
	return netip.AddrPortFrom(addr, uint16(number)), err == nil && portErr == nil && number > 0
}
