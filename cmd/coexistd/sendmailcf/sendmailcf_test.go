package sendmailcf

import (
	"strings"
	"testing"
	"time"
)

func TestSendmailsNetworksAreBeginningsOfAddresses(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"10": "10.0.0.0/8", "192.0.2": "192.0.2.0/24", "192.0.2.": "192.0.2.0/24", "192.0.2.7": "192.0.2.7/32", "[192.0.2.7]": "192.0.2.7/32",
		"IPv6:2001:db8": "2001:db8::/32", "ipv6:2001:db8::7": "2001:db8::7/128", "2001:db8::7": "2001:db8::7/128", "IPv6:2001:0db8:": "2001:db8::/32",
		"acmecorp.com": "", "": "", ".": "", "256": "", "1.2.3.4.5": "", "-1": "", "IPv6:": "", "IPv6:1:2:3:4:5:6:7:8:9": "", "10.x": "",
	} {
		got, ok := Network(text)
		if ok != (want != "") || ok && got.String() != want {
			t.Errorf("%q is %v (%v); right is %q", text, got, ok, want)
		}
	}
}

func TestSendmailsTimesAreRead(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]time.Duration{"30s": 30 * time.Second, "5m": 5 * time.Minute, "1h30m": 90 * time.Minute, "7": 7 * time.Second, "0": 0, "1m30": 90 * time.Second} {
		if got, ok := Time(text); got != want || !ok {
			t.Errorf("%q is %v (%v); right is %v", text, got, ok, want)
		}
	}
	for _, text := range []string{"", "x", "5y", "-5s"} {
		if got, ok := Time(text); ok {
			t.Errorf("%q is %v; it is no time", text, got)
		}
	}
	if got, ok := Time(strings.Repeat("9", 100) + "w"); !ok || got < 0 {
		t.Errorf("a time without an end is %v (%v)", got, ok)
	}
}
