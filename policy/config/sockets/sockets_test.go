package sockets

import "testing"

func TestParseWritesTheSameSocketAlike(t *testing.T) {
	t.Parallel()
	for address, want := range map[string][2]string{
		"unix:/run//coexistd/./m.sock": {"unix", "/run/coexistd/m.sock"},
		"inet:127.0.0.1:08701":         {"tcp", "127.0.0.1:8701"},
		"inet:[0:0::1]:8701":           {"tcp", "[::1]:8701"},
		"inet:LocalHost:65535":         {"tcp", "localhost:65535"},
	} {
		network, addr, err := Parse(address)
		if err != nil || network != want[0] || addr != want[1] {
			t.Errorf("%s gave %q %q %v", address, network, addr, err)
		}
	}
}

func TestAnAddressThatReachesOurOwnSocketIsSeen(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		network, addr, own string
		want               bool
	}{
		{"tcp", "127.0.0.1:25", "127.0.0.1:25", true},
		{"tcp", "127.0.0.1:25", "127.0.0.1:26", false},
		{"tcp", "127.0.0.1:25", "127.0.0.2:25", false},
		{"tcp", "127.0.0.1:25", "[::1]:25", false},
		{"tcp", "127.0.0.1:25", "0.0.0.0:25", true},
		{"tcp", "localhost:25", "[::]:25", true},
		{"tcp", "localhost:25", "127.0.0.1:25", true},
		{"tcp", "127.0.0.1:25", "localhost:25", true},
		{"tcp", "0.0.0.0:25", "[::]:25", true},
		{"tcp", "mail.example.com:25", "0.0.0.0:25", false},
		{"tcp", "mail.example.com:25", "localhost:25", false},
		{"unix", "/run/a", "/run/a", true},
		{"unix", "/run/a", "/run/b", false},
	} {
		if got := Reaches(c.network, c.addr, c.own); got != c.want {
			t.Errorf("%s reaches %s: %v", c.addr, c.own, got)
		}
	}
}

func TestANextHopIsTakenApart(t *testing.T) {
	t.Parallel()
	for hop, want := range map[string][3]any{
		"mail.example.com":         {"mail.example.com", "25", false},
		"mail.example.com:587":     {"mail.example.com", "587", false},
		"[mail.example.com]":       {"mail.example.com", "25", true},
		"[192.0.2.1]:10025":        {"192.0.2.1", "10025", true},
		"[ipv6:2001:db8::1]:10025": {"2001:db8::1", "10025", true},
		"":                         {"", "25", false},
	} {
		if host, port, isHost := SplitNextHop(hop); want != [3]any{host, port, isHost} {
			t.Errorf("%s is %q, %q, %v", hop, host, port, isHost)
		}
	}
}
