package networks

import (
	"net/netip"
	"testing"
)

func TestAnUpstreamsListsAreItsOwnBesideThePlatforms(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.config.Ours = ours(t, "198.51.100.0/24")
	s.config.Platforms = append(s.config.Platforms,
		Platform{Name: "filter", Upstream: true, Sources: []Source{{SPF, "f.example"}}, MaxAge: day},
		Platform{Name: "other", Upstream: true, Networks: prefixes(t, "198.18.7.0/24")})
	zone(s.dns, "f.example TXT v=spf1 ip4:203.0.113.7 ip4:198.18.0.1 -all")
	s.start()
	if _, pending := s.Live().Upstream(netip.MustParseAddr("192.0.2.1")); pending != "filter" {
		t.Errorf("while its list is not known, %q may be the client's", pending)
	}
	s.lookNow()
	s.wantSaid("the networks of a platform are known", "the networks of an upstream are known")
	// It goes before a platform that has the address as well.
	s.want("filter", "198.18.0.1/32 203.0.113.7/32", false)
	s.want("office365", "192.0.2.0/24 203.0.113.0/24", false)
	for client, want := range map[string]string{"203.0.113.7": "filter", "198.18.7.1": "other", "192.0.2.1": ""} {
		if of, pending := s.Live().Upstream(netip.MustParseAddr(client)); of != want || pending != "" {
			t.Errorf("%s is of %q, pending %q; want %q", client, of, pending, want)
		}
	}
	if of, _ := s.Live().Of(netip.MustParseAddr("198.18.0.1")); of != nil {
		t.Errorf("an upstream's client is of %v", of)
	}
	if one := s.Status()[1]; one.Platform != "filter" || !one.Upstream || one.Err != nil {
		t.Errorf("the status is %+v", one)
	}
	for _, c := range []struct{ network, want string }{
		{"198.51.100.7", "198.51.100.7/32 overlaps 198.51.100.0/24 of our_networks; a client cannot be both"},
		{"198.18.7.1", "198.18.7.1/32 overlaps 198.18.7.0/24 of upstream.other.networks; a client cannot be both"},
	} {
		s.dns.Set("f.example", "TXT", "v=spf1 ip4:203.0.113.7 ip4:198.18.0.1 ip4:"+c.network)
		s.later(2 * freshTime)
		s.want("filter", "198.18.0.1/32 203.0.113.7/32", false)
		if err := s.Status()[1].Err; err == nil || err.Error()[:len(c.want)] != c.want {
			t.Errorf("with %s the error is %v; want %s", c.network, err, c.want)
		}
	}
}
