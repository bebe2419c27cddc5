package config

import (
	"net"
	"net/netip"
	"path/filepath"
	"strings"

	"coexistd/policy/config/sockets"
)

// ListenedAt reports that an MTA comes to one of our listeners by a socket: "unix" with a path,
// or "inet" with HOST:PORT.
func ListenedAt(kind, address string, listeners []Listener) bool {
	for _, l := range listeners {
		network, ours, err := sockets.Parse(l.Address)
		switch {
		case err != nil:
		case kind == "unix" && network == "unix" && filepath.Clean(address) == ours,
			kind == "inet" && network == "tcp" && SameSocket(address, ours):
			return true
		}
	}
	return false
}

// SameSocket reports that a connection to address, HOST:PORT, comes to a socket
// of ours.
func SameSocket(address, ours string) bool {
	host, port, err := net.SplitHostPort(address)
	ourHost, ourPort, ourErr := net.SplitHostPort(ours)
	if err != nil || ourErr != nil || port != ourPort {
		return false
	}
	our, _ := netip.ParseAddr(ourHost)
	switch {
	case strings.EqualFold(host, ourHost), our.IsUnspecified():
		return true
	case strings.EqualFold(host, "localhost"):
		return our.IsLoopback()
	}
	theirs, err := netip.ParseAddr(host)
	return err == nil && theirs.Unmap() == our.Unmap()
}
