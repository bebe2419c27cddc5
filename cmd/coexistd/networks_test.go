package main

import (
	"path/filepath"
	"strings"
	"testing"
)

const platformsTOML = `our_networks = ["127.0.0.0/8"]
[[listen]]
address = "inet:127.0.0.1:8701"
[platform.office365]
networks = ["192.0.2.0/24", "198.51.100.0/23", "2001:db8::/48", "2001:db8:f400::/46"]
tenant   = "c4b2b1ae-1f4b-4f47-9f51-7c6c1b6f4a11"
may_relay = true
[platform.google]
networks = ["203.0.113.128/25", "203.0.113.0/26"]
tenant   = "3f2504e0-4f89-11d3-9a0c-0305e82c3301"
may_relay = true
[platform.late]
networks = ["spf:spf.late.example"]
[platform.bare]
[upstream.filter]
networks = ["192.0.0.7"]
[domain."acmecorp.com"]
unlisted = "here"
`

func TestNetworksAreExportedAsOtherProgramsReadThem(t *testing.T) {
	t.Parallel()
	path := configuration(t, platformsTOML, "")
	for _, c := range []struct{ args, want string }{
		{"--for cidr office365 google", "192.0.2.0/24 OK\n198.51.100.0/23 OK\n203.0.113.0/26 OK\n203.0.113.128/25 OK\n2001:db8::/48 OK\n2001:db8:f400::/46 OK\n"},
		{"--for access google", "Connect:203.0.113.0 RELAY\n*63\nConnect:203.0.113.128 RELAY\n*127\n"},
		{"--for access office365", "Connect:192.0.2 RELAY\nConnect:198.51.100 RELAY\nConnect:198.51.101 RELAY\nConnect:IPv6:2001:db8:0 RELAY\n" +
			"Connect:IPv6:2001:db8:f400 RELAY\nConnect:IPv6:2001:db8:f401 RELAY\nConnect:IPv6:2001:db8:f402 RELAY\nConnect:IPv6:2001:db8:f403 RELAY\n"},
		{"--for clients filter", "Connect:192.0.0.7 OK\n"},
		{"--for rates filter", "ClientRate:192.0.0.7 0\nClientConn:192.0.0.7 0\n"},
		{"--for rates google", "ClientRate:203.0.113 0\nClientConn:203.0.113 0\n"},
		{"--for rates office365", "ClientRate:192.0.2 0\nClientConn:192.0.2 0\nClientRate:198.51 0\nClientConn:198.51 0\nClientRate:IPv6:2001:db8:0 0\nClientConn:IPv6:2001:db8:0 0\nClientRate:IPv6:2001:db8 0\nClientConn:IPv6:2001:db8 0\n"},
		{"--for nft google", "add table inet coexistd\n" +
			"add set inet coexistd platforms4 { type ipv4_addr; flags interval; }\nflush set inet coexistd platforms4\n" +
			"add element inet coexistd platforms4 { 203.0.113.0/26, 203.0.113.128/25 }\n" +
			"add set inet coexistd platforms6 { type ipv6_addr; flags interval; }\nflush set inet coexistd platforms6\n"},
	} {
		status, out, complaint := tell(filepath.Dir(path), append([]string{"networks", "export", "-c", path}, strings.Fields(c.args)...)...)
		if strings.Contains(c.want, "*") {
			first, rest, _ := strings.Cut(c.want, "\n*63\n")
			second, _, _ := strings.Cut(rest, "\n*")
			if lines := strings.Split(strings.TrimSpace(out), "\n"); len(lines) != 64+128 || lines[0] != first || lines[64] != second {
				t.Errorf("%s: %d lines, of which the first is %q and the 65th %q", c.args, len(lines), lines[0], lines[min(64, len(lines)-1)])
			}
			continue
		}
		if status != exitYes || out != c.want {
			t.Errorf("%s: status %d, %s\n%s; right is\n%s", c.args, status, complaint, out, c.want)
		}
	}
}

// A table that lacks a platform's networks would shut it out.
func TestNetworksThatAreNotKnownAreNotExported(t *testing.T) {
	t.Parallel()
	path := configuration(t, platformsTOML, "")
	for args, want := range map[string]string{
		"--for access late":        "the users of late may not send through here, and these lines would let every client there relay",
		"--for access google bare": "the users of bare may not send through here",
		"--for nft":                "the platform bare has no networks: set platform.bare.networks",
		"--for nft late":           "the networks of late are not all known yet",
		"--for nft bare":           "the platform bare has no networks",
		"--for nft nobody":         `there is no platform or upstream "nobody"`,
		"--for pdf":                `--for "pdf" is not known; it would be one of: access, cidr, clients, nft, rates`,
		"office365":                `required flag(s) "for" not set`,
		"--for cidr office3":       `there is no platform or upstream "office3"`,
	} {
		status, out, complaint := tell(filepath.Dir(path), append([]string{"networks", "export", "-c", path}, strings.Fields(args)...)...)
		if status != exitWrong || out != "" || !strings.Contains(complaint, want) {
			t.Errorf("%s: status %d, printed %q, said %q; right is %q", args, status, out, complaint, want)
		}
	}
}

func TestLinesThatLetRelayAreForPlatformsThatMay(t *testing.T) {
	t.Parallel()
	path := configuration(t, platformsTOML, "")
	status, out, complaint := tell(filepath.Dir(path), "networks", "export", "-c", path, "--for", "access")
	if status != exitYes || strings.Count(out, "\n") != 64+128+8 {
		t.Errorf("without names it has status %d, %s and\n%s", status, complaint, out)
	}
	path = configuration(t, strings.ReplaceAll(platformsTOML, "may_relay = true\n", ""), "")
	status, out, complaint = tell(filepath.Dir(path), "networks", "export", "-c", path, "--for", "access")
	if status != exitWrong || out != "" || !strings.Contains(complaint, "has may_relay = true, so that none") {
		t.Errorf("where none may it has status %d, printed %q, said %q", status, out, complaint)
	}
}
