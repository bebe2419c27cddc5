package config

import (
	"net"
	"net/netip"
	"slices"
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

// maxResolvers bounds the servers that are tried one after the other.
const maxResolvers = 8

// redis reads [redis].
func (r *reader) redis(t *table) {
	one := t.table("redis", "a table, written as [redis]")
	if one == nil {
		return
	}
	one.only("addresses", "master", "username", "password_file", "tls")
	r.config.Redis = &Redis{
		Addresses: r.redisAddresses(one),
		Master:    one.line("master", "the name that the Sentinels have for the server"),
		Username:  one.line("username", "a user of Redis"),
		Password:  one.secretText("password_file", minPassword, "write the path of a file that holds the password and nothing else"),
		TLS:       one.flag("tls", false),
	}
	if one.has("username") && !one.has("password_file") {
		one.fail("username", "has no password; add password_file, or leave username out")
	}
	if !t.has("rate") {
		r.note("[redis] is never asked: there is no [[rate]]")
	}
}

// redisAddresses reads where Redis is.
func (r *reader) redisAddresses(t *table) []string {
	const like = "127.0.0.1:6379"
	items := t.texts("addresses")
	switch _, isList := t.entries["addresses"].([]any); {
	case !t.has("addresses"):
		t.fail("addresses", `is missing; write it like [%q]`, like)
	case isList && len(items) == 0:
		t.fail("addresses", `names no server; write it like [%q]`, like)
	case len(items) > maxAddresses:
		t.fail("addresses", "there are %d addresses; at most %d are possible", len(items), maxAddresses)
		return nil
	}
	var all []string
	for _, one := range items {
		addr, err := hostPort(one.text, like)
		if err != nil {
			r.fail(one.place, "%v", err)
			continue
		}
		if slices.Contains(all, addr) {
			r.fail(one.place, "%s is there twice; keep one of them", quote(one.text))
			continue
		}
		r.refuseOwn(one.place, "tcp", addr)
		all = append(all, addr)
	}
	return all
}

// line reads a short text without control characters. An absent one is "".
func (t *table) line(name, what string) string {
	text, said := get[string](t, name, what+", in quotes")
	if said && (text == "" || len(text) > maxText || printable(text) != text) {
		t.fail(name, "%s is not %s; it would be one line of 1 to %d bytes", quote(text), what, maxText)
	}
	return text
}

// resolver reads one DNS server, or a list of them.
func (t *table) resolver() []string {
	const like = `write it like "127.0.0.1" or "[::1]:53"`
	items := t.oneOrMore("resolver")
	switch {
	case t.has("resolver") && items != nil && len(items) == 0:
		t.fail("resolver", "names no server; leave it out for the system's own")
	case len(items) > maxResolvers:
		t.fail("resolver", "there are %d servers; at most %d are possible", len(items), maxResolvers)
		return nil
	}
	var all []string
	for _, one := range items {
		addr, ok := parseResolver(one.text)
		switch server := addr.String(); {
		case !ok:
			t.r.fail(one.place, "%s is not the IP address of a DNS server, with or without a port; %s", quote(one.text), like)
		case slices.Contains(all, server):
			t.r.fail(one.place, "%s is there twice; keep one of them", quote(one.text))
		default:
			all = append(all, server)
		}
	}
	return all
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
