package config

import (
	"net/netip"
	"strings"
	"testing"
	"time"

	"coexistd/policy"
	"coexistd/policy/networks"
)

// everyUpstream says every key of upstreams.
const everyUpstream = `
our_networks = ["10.0.0.0/8", "127.0.0.0/8"]
[[listen]]
address = "inet:127.0.0.1:8701"

[platform.office365]
networks = ["40.92.0.0/15"]
tenant = "3f2504e0-4f89-11d3-9a0c-0305e82c3301"

[upstream.filter]
networks = ["10.1.2.3", "40.92.7.0/24", "spf:gateway.example", "file:list"]
client = "received"
inner = ["127.0.0.1", "10.9.0.0/16"]
max_age = "7d"

[upstream.balancer]
networks = ["127.0.0.0/8"]
client = "mta"

[domain."acmecorp.com"]
directory = "users.csv"
alternate = { office365 = "acmecorp-com.onmicrosoft.com" }
`

var upstreamFiles = map[string]string{"users.csv": users, "list": "192.0.2.0/24\n"}

func TestUpstreamsAreRead(t *testing.T) {
	t.Parallel()
	c := load(t, write(t, everyUpstream, upstreamFiles))
	set := func(list ...string) networks.Set {
		var all []netip.Prefix
		for _, one := range list {
			all = append(all, netip.MustParsePrefix(one))
		}
		return networks.SetOf(all...)
	}
	check(t, "Upstreams", c.Rules.Upstreams, map[string]policy.Upstream{"filter": {Inner: set("127.0.0.1/32", "10.9.0.0/16")}, "balancer": {ByMTA: true}})
	check(t, "filter", c.Networks["filter"], networks.Known{Networks: set("10.1.2.3/32", "40.92.7.0/24", "192.0.2.0/24"), Pending: true, Upstream: true})
	check(t, "balancer", c.Networks["balancer"], networks.Known{Networks: set("127.0.0.0/8"), Upstream: true})
	check(t, "MaxAge", c.MaxAge, map[string]time.Duration{"filter": 7 * 24 * time.Hour})
	if len(c.Sources) != 2 || c.Sources[0] != (Source{"filter", "spf", "gateway.example"}) {
		t.Errorf("the lists are %v", c.Sources)
	}
	for client, want := range map[string]string{"10.1.2.3": "filter", "40.92.7.1": "filter", "192.0.2.1": "filter", "127.0.0.9": "balancer"} {
		if got, _ := c.Networks.Upstream(netip.MustParseAddr(client)); got != want {
			t.Errorf("%s is of %q; want %q", client, got, want)
		}
	}
	if _, pending := c.Networks.Upstream(netip.MustParseAddr("203.0.113.1")); pending != "filter" {
		t.Errorf("a client that may be of the list is said to be of %q", pending)
	}
}

func TestMailPastAnUpstreamCanBeRefusedWhereItCanBeTold(t *testing.T) {
	t.Parallel()
	const received = "[upstream.filter]\nnetworks = [\"192.0.2.1\"]\n"
	text := strings.Replace(smallest, "[domain.", received+"[domain.", 1) + "past_mx = \"reject\"\n"
	c := load(t, write(t, text, upstreamFiles))
	if !c.Rules.Routes.Domains["acmecorp.com"].RefusePastMX {
		t.Error("it is not refused")
	}
	_, err := read(write(t, strings.Replace(text, received, received+"client = \"mta\"\n", 1), upstreamFiles))
	if err == nil || !strings.Contains(err.Error(), "past_mx: would refuse what comes through filter") {
		t.Errorf("the error is %v", err)
	}
}
