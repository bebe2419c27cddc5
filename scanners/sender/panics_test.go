package sender_test

import (
	"net/netip"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"coexistd/policy/spoof"
	"coexistd/scanners/sender"
)

func TestAPanicEndsOneCheckOnlyAndPassesNobody(t *testing.T) {
	var broken atomic.Int32
	v := &sender.Verifier{Broken: func(panicked any, stack []byte) { // without a resolver
		broken.Add(1)
		if panicked == nil || !strings.Contains(string(stack), "LookupTXT") {
			t.Errorf("got %v and the stack %s", panicked, stack)
		}
	}}
	found := v.Authenticate(t.Context(), sender.Question{
		Client: netip.MustParseAddr("192.0.2.1"), Sender: address(t, "a@hard.example"), Domains: []string{"hard.example", "other.example"},
	})
	if found.SPF.Result != spoof.AuthTempError || found.SPF.Why == "" || found.SPF.Domain != "hard.example" {
		t.Errorf("SPF: %+v", found.SPF)
	}
	for i, domain := range []string{"hard.example", "other.example"} {
		if d := found.DMARC[i]; d.Domain != domain || d.Lookup != spoof.AuthTempError {
			t.Errorf("DMARC: %+v", d)
		}
	}
	if n := broken.Load(); n != 3 {
		t.Errorf("told of %d panics, want 3", n)
	}
	signatures := v.DKIM(t.Context(), message(claims(3, "relaxed")+header))
	if len(signatures) != 3 {
		t.Errorf("got %+v", signatures)
	}
	for _, one := range signatures {
		if one.Result != spoof.AuthTempError || one.Domain != "evil.example" || !strings.Contains(one.Why, "broke down") {
			t.Errorf("DKIM: %+v", one)
		}
	}
	if n := broken.Load(); n != 6 {
		t.Errorf("told of %d panics, want 6", n)
	}
}

func TestAPanicInALookupGoesToWhoAskedForIt(t *testing.T) {
	r := sender.NewResolver(nil)
	r.SetClock(func() time.Time { panic("no time") })
	defer func() {
		if recover() == nil {
			t.Error("no panic")
		}
	}()
	_, err := r.LookupIPAddr(t.Context(), "host.example")
	t.Errorf("got %v", err)
}

func TestAMessageWhoseContentPanicsHasNoSignature(t *testing.T) {
	m := message(claims(1, "relaxed") + header)
	m.Content = nil
	found := (&sender.Verifier{}).DKIM(t.Context(), m)
	if len(found) != 1 || found[0].Result != spoof.AuthTempError {
		t.Errorf("got %+v", found)
	}
}
