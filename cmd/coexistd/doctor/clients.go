package doctor

import (
	"context"
	"net/netip"
	"strings"
	"time"

	"coexistd/milter/messages"
	"coexistd/policy/mail"
	"coexistd/policy/verdict"
)

const (
	// recentMail is how many of the last messages from the Internet are looked at, and recentTime
	// how old they are at most.
	recentMail = 200
	recentTime = 7 * 24 * time.Hour
	// gatewaySenders is how many domains of senders make the only client a gateway.
	gatewaySenders = 10
)

// recentClients are the clients of the last messages from the Internet.
type recentClients struct {
	count   int
	clients map[netip.Addr]bool
	domains map[string]bool // of the senders
	// through is how many came through an upstream, unknown of how many of these the client is not
	// known, and last is why it is not of the last.
	through, unknown int
	last             string
}

func (r *recentClients) add(m *messages.Message) {
	r.count++
	r.clients[m.Client] = true
	if domain := mail.DomainOf(m.Sender[strings.LastIndexByte(m.Sender, '@')+1:]); domain != "" {
		r.domains[domain] = true
	}
	switch why := m.Reasons; {
	case why.HasCode(verdict.HandedUnread), why.HasCode(verdict.HandedWithin), why.HasCode(verdict.HandedByNobody):
		if r.unknown++; r.last == "" {
			r.last = why.String()
		}
		fallthrough
	case why.HasCode(verdict.EnteredThrough), why.HasCode(verdict.EnteredByUpstream):
		r.through++
	}
}

// lookAtClients sees whether the clients of the Internet's mail are those that it comes from, or a
// gateway of which nobody has told, or whose Received fields tell nothing.
func lookAtClients(ctx context.Context, x *examination, all *messages.Records) (findings []Finding) {
	recent := recentClients{clients: make(map[netip.Addr]bool), domains: make(map[string]bool)}
	for m, err := range all.All(ctx, messages.Query{Point: verdict.S0, Since: x.now.Add(-recentTime)}) {
		if err != nil || recent.count == recentMail {
			break // that they cannot be read is told of elsewhere
		}
		recent.add(m)
	}
	if recent.unknown > 0 {
		findings = append(findings, warning("of the last messages through an upstream, %d, it is not known of %d from whom the gateway had them: SPF cannot tell, and no limit counts their clients. The last: %s", recent.through, recent.unknown, recent.last).
			do("name the gateway's own addresses in inner of [upstream.NAME] in %s; contrib/docs/senders.md says which fields are read (A gateway in front of us)", x.conf.Path))
	}
	if len(recent.clients) > 1 || len(recent.domains) < gatewaySenders || recent.through > 0 {
		return findings
	}
	for client := range recent.clients {
		findings = append(findings, warning("the last messages from the Internet, %d, with senders of %d domains, all came from one client, %s: it is a gateway, and they are judged as if they were its own", recent.count, len(recent.domains), client).
			do("name it in %s: [upstream.gateway] with networks = [\"%s\"]; then run: systemctl reload coexistd", x.conf.Path, client))
	}
	return findings
}
