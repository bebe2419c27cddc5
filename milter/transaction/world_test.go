package transaction

import (
	"context"
	"net/netip"
	"strings"
	"testing"
	"time"

	"coexistd/contrib/fake"
	testlab "coexistd/contrib/lab"
	"coexistd/policy"
	"coexistd/policy/mail"
	"coexistd/policy/spoof"
	"coexistd/policy/verdict"
	"coexistd/scanners"
	asked "coexistd/scanners/sender"
)

// question is what is asked of a message from hard.example with a signature of
// key.example.
func question(t *testing.T) Question {
	t.Helper()
	sender, err := mail.ParseAddress("a@hard.example", "")
	if err != nil {
		t.Fatal(err)
	}
	const text = "DKIM-Signature: v=1; a=ed25519-sha256; d=key.example; s=s; h=From; bh=AAAA; b=AAAA\r\n\r\n"
	m := &scanners.Message{Content: strings.NewReader(text), Size: int64(len(text))}
	return Question{
		Asks: policy.Asks{Authentication: true}, Message: m, Original: m,
		Sender: asked.Question{
			Client: netip.MustParseAddr("192.0.2.1"), Sender: sender, Domains: []string{sender.Domain},
		},
	}
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
	log := fake.NewLog()
	world := Live{Log: log.Logger, Resolver: asked.NewResolver([]string{dns.Addr})}
	// The key is waited for until the time is over, a second before it would be given
	// up. Others are answered at once, within that time even on a busy machine.
	ctx, cancel := context.WithTimeout(t.Context(), 4*time.Second)
	defer cancel()
	found := world.Find(ctx, question(t)).Authentication
	if found.SPF.Result != spoof.AuthFail || len(found.DMARC) != 1 || found.DMARC[0].Lookup != spoof.AuthPass || found.DMARC[0].Policy != verdict.Reject {
		t.Errorf("got %+v", found)
	}
	if len(found.DKIM) != 1 || found.DKIM[0].Result != spoof.AuthTempError || found.DKIM[0].Domain != "key.example" {
		t.Errorf("the signature: %+v", found.DKIM)
	}
	if log.String() != "" {
		t.Errorf("the log: %s", log)
	}
}

func TestAPanicWhileAMessageIsAuthenticatedIsLoggedAndExcusesNobody(t *testing.T) {
	log := fake.NewLog()
	world := Live{Log: log.Logger} // without a resolver
	found := world.Find(t.Context(), question(t)).Authentication
	if found.SPF.Result != spoof.AuthTempError || found.DMARC[0].Lookup != spoof.AuthTempError ||
		len(found.DKIM) != 1 || found.DKIM[0].Result != spoof.AuthTempError {
		t.Errorf("got %+v", found)
	}
	told := strings.Split(strings.TrimSpace(log.String()), "\n")
	if len(told) != 3 {
		t.Errorf("%d lines: %s", len(told), log.String())
	}
	for _, line := range told {
		if !strings.Contains(line, "could not be authenticated; this is an error in coexistd") || !strings.Contains(line, "LookupTXT") {
			t.Errorf("the line: %v", line)
		}
	}
}
