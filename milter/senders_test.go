package milter

import (
	"context"
	"log/slog"
	"net/netip"
	"strings"
	"testing"
	"time"

	testlab "coexistd/contrib/lab"
	"coexistd/policy"
	"coexistd/scanners/sender"
)

// signed is a session at the end of a message from hard.example with a signature of
// key.example.
func signed(t *testing.T, resolver *sender.Resolver) (*session, *journal) {
	t.Helper()
	s, j := planner(), &journal{}
	s.server = &Server{Log: slog.New(slog.NewJSONHandler(j, nil))}
	m := &s.message
	m.runtime.Resolver = resolver
	m.client = netip.MustParseAddr("192.0.2.1")
	var err error
	if m.sender, err = policy.ParseAddress("a@hard.example", ""); err != nil {
		t.Fatal(err)
	}
	m.open.Authors = policy.Authors{Fields: 1, From: []policy.Author{{Address: m.sender}}}
	const name, value = "DKIM-Signature", " v=1; a=ed25519-sha256; d=key.example; s=s; h=From; bh=AAAA; b=AAAA"
	m.headers.raw = []byte(name + "\x00" + value + "\x00")
	m.headers.fields = []field{{0, int32(len(name)), int32(len(name) + 1 + len(value))}}
	return s, j
}

func TestASlowSignatureDoesNotKeepTheDNSFromBeingAsked(t *testing.T) {
	dns, err := testlab.StartDNS()
	if err != nil {
		t.Fatal(err)
	}
	defer dns.Close()
	dns.Set("hard.example", "TXT", "v=spf1 -all")
	dns.Set("_dmarc.hard.example", "TXT", "v=DMARC1; p=reject")
	dns.Fail("s._domainkey.key.example", testlab.DNSSilent)
	s, j := signed(t, sender.NewResolver([]string{dns.Addr}))
	// When the time is over, the key is still waited for.
	ctx, cancel := context.WithTimeout(t.Context(), 1500*time.Millisecond)
	defer cancel()
	found := s.authenticate(ctx)
	if found.SPF.Result != policy.AuthFail || len(found.DMARC) != 1 || found.DMARC[0].Lookup != policy.AuthPass || found.DMARC[0].Policy != policy.Reject {
		t.Errorf("got %+v", found)
	}
	if len(found.DKIM) != 1 || found.DKIM[0].Result != policy.AuthTempError || found.DKIM[0].Domain != "key.example" {
		t.Errorf("the signature: %+v", found.DKIM)
	}
	if j.String() != "" {
		t.Errorf("the log: %s", j)
	}
}

func TestAPanicWhileAMessageIsAuthenticatedIsLoggedAndExcusesNobody(t *testing.T) {
	s, j := signed(t, nil) // without a resolver
	found := s.authenticate(t.Context())
	if found.SPF.Result != policy.AuthTempError || found.DMARC[0].Lookup != policy.AuthTempError ||
		len(found.DKIM) != 1 || found.DKIM[0].Result != policy.AuthTempError {
		t.Errorf("got %+v", found)
	}
	lines := j.lines("a message's sender could not be authenticated; this is an error in coexistd")
	if len(lines) != 3 {
		t.Errorf("%d lines: %s", len(lines), j)
	}
	for _, line := range lines {
		if stack, _ := line["stack"].(string); !strings.Contains(stack, "LookupTXT") {
			t.Errorf("the line: %v", line)
		}
	}
}
