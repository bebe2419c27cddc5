package policy

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
)

// Entry is where a message enters, as far as its client tells. A Provisional
// entry is S1 if the message proves its tenant and S0 if it does not: the
// networks of a platform are shared by all of its tenants.
type Entry struct {
	Point       Checkpoint // S0, S1 (provisional) or S2
	Platform    *Platform  // the platform of a provisional entry; else nil
	Provisional bool
	OnHost      bool
	// Known is set for a client that need not log in any more, or whom nothing
	// asks to: one that has, that is in OurNetworks or has a certificate of
	// OurCertificates, or this host itself.
	Known bool
	// Unready says why it cannot be told yet where the message enters, or is empty.
	Unready string
	Why     string // one sentence for the log
}

// Enter decides the contact point at which a message enters. What the
// listener says goes first, then the login, then the client's address. A
// listener of S0 is S0 whoever comes; a listener of S1 is S1 for a platform's
// networks and S0 for all others.
func (p *Policy) Enter(a Arrival) Entry {
	if a.OnHost {
		return Entry{Point: S2, OnHost: true, Known: true, Why: "the message was made on this host"}
	}
	if a.Listener == S0 {
		return Entry{Point: S0, Why: "the listener is S0"}
	}
	known := p.knows(a)
	switch {
	case a.Listener == S2:
		return Entry{Point: S2, Known: known != "", Why: "the listener is S2"}
	case a.Listener == Undecided && known != "":
		return Entry{Point: S2, Known: true, Why: known}
	}
	unready := ""
	for _, platform := range p.Platforms {
		if contains(platform.Networks, a.Client) {
			return Entry{
				Point: S1, Platform: platform, Provisional: true,
				Why: fmt.Sprintf("the client %s is in the networks of %s", a.Client, platform.Name),
			}
		}
		if platform.Pending {
			unready = "the networks of " + platform.Name + " are not known yet"
		}
	}
	if !a.Client.IsValid() {
		return Entry{Point: S0, Unready: unready, Why: "the client has no address"}
	}
	return Entry{Point: S0, Unready: unready, Why: fmt.Sprintf("the client %s is neither ours nor a platform's", a.Client)}
}

// knows returns why a client is one of ours, or "".
func (p *Policy) knows(a Arrival) string {
	switch {
	case a.Login != "":
		return fmt.Sprintf("the client is logged in as %q", a.Login)
	case contains(p.OurNetworks, a.Client):
		return fmt.Sprintf("the client %s is in our_networks", a.Client)
	case a.Certificate != "" && slices.Contains(p.OurCertificates, strings.ToLower(a.Certificate)):
		return fmt.Sprintf("the client has the certificate of %q", a.Certificate)
	}
	return ""
}

func contains(networks []netip.Prefix, client netip.Addr) bool {
	client = client.Unmap().WithZone("")
	for _, network := range networks {
		if network.Contains(client) {
			return true
		}
	}
	return false
}
