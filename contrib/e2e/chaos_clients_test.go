package e2e

import (
	"context"
	"fmt"
	"maps"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"coexistd/contrib/lab"
)

// chaosKind is one sort of message. To has, after each recipient, the arrivals
// that it must make, as site.arrivals names them; where "|" stands between
// some, it must make one of them and not the others.
type chaosKind struct {
	client string // empty: the sendmail command
	from   string
	tenant string // that the message claims to come from; empty: none
	to     [][]string
}

const (
	chaosTotal   = 10_000
	chaosClients = 6                      // that send at the same time
	chaosRedial  = 97                     // one in so many messages has a connection of its own; a prime, so that all kinds do
	chaosRetry   = 100 * time.Millisecond // from a temporary refusal to the next try
	chaosReload  = 100 * time.Millisecond
	resultHeader = "X-Coexist-Result"

	toAlice = "office365 alice@acmecorp-com.onmicrosoft.com"
	toBob   = "here bob@acmecorp.com"
	toEve   = "Internet eve@example.net"
)

var chaosKinds = []chaosKind{
	{lab.FromInternet, "eve@example.net", "", [][]string{{"bob@acmecorp.com", toBob}}},
	{lab.FromInternet, "eve@example.net", "", [][]string{{"alice@acmecorp.com", toAlice}, {"gail+news@globex.example", "google gail+news@gapps.globex.example"}}},
	{lab.FromUser, "bob@acmecorp.com", "", [][]string{
		{"Alice@acmecorp.com", "office365 Alice@acmecorp-com.onmicrosoft.com"}, {"bob@acmecorp.com", toBob}, {"eve@example.net", toEve},
		{"carol@acmecorp.com", "here carol@acmecorp.com", "office365 carol@acmecorp-com.onmicrosoft.com"},
	}},
	{lab.FromOffice365, "alice@acmecorp.com", lab.OfficeTenant, [][]string{{"bob@acmecorp.com", toBob}, {"carol@acmecorp.com", "here carol@acmecorp.com"}, {"eve@example.net", toEve}}},
	{lab.FromOffice365, "mallory@example.org", "00000000-1111-2222-3333-444444444444", [][]string{{"alice@acmecorp.com", toAlice}}},
	{lab.FromGoogle, "gail@globex.example", lab.GoogleTenant, [][]string{{"hugo@globex.example", "here hugo@globex.example"}, {"alice@acmecorp.com", toAlice}}},
	{lab.FromInternet, "", "", [][]string{{"alice@acmecorp.com", toAlice}}},
	{lab.FromUser, "hugo@globex.example", "", [][]string{{"iris@globex.example", "here iris@globex.example", "google iris@gapps.globex.example"}}},
	{lab.FromInternet, "eve@example.net", "", [][]string{{"zoe@acmecorp.com", "here zoe@acmecorp.com|office365 zoe@acmecorp-com.onmicrosoft.com|office365 zoe@acmecorp.com"}, {"bob@acmecorp.com", toBob}}},
	{lab.FromUser, "bob@acmecorp.com", "", [][]string{{"eve@example.net", toEve}}},
}

var chaosOnHost = chaosKind{"", "bob@acmecorp.com", "", [][]string{{"alice@acmecorp.com", toAlice}, {"bob@acmecorp.com", toBob},
	{"carol@acmecorp.com", "here carol@acmecorp.com", "office365 carol@acmecorp-com.onmicrosoft.com"}}}

func chaosKindOf(serial int) chaosKind {
	if serial%100 == 0 {
		return chaosOnHost
	}
	return chaosKinds[serial%len(chaosKinds)]
}

// message is the one of that serial number as it is sent for the nth time.
// Each try has a Message-Id of its own, so that one that was refused and came
// through all the same shows.
func (k chaosKind) message(serial, try int) []byte {
	text := fmt.Sprintf("From: <%s>\r\nTo: undisclosed:;\r\nSubject: number %d\r\nDate: Mon, 2 Jan 2006 15:04:05 +0000\r\nMessage-Id: %s\r\n\r\n%s",
		k.from, serial, chaosID(serial, try), strings.Repeat(fmt.Sprintf("This is line after line of number %d.\r\n", serial), 10+serial%20))
	if k.tenant != "" {
		return fromTenant(k.tenant, []byte(text))
	}
	return []byte(text)
}

func chaosID(serial, try int) string { return fmt.Sprintf("<%d.%d@chaos.test>", serial, try) }

// posted is one try that the server took, or may have taken.
type posted struct {
	message []byte
	to      [][]string // as chaosKind.to, of the recipients that were taken
	unsure  bool       // the connection broke before the last reply
}

// chaos is mail under way from several clients, while the daemon has no rest.
type chaos struct {
	*site
	current atomic.Pointer[lab.Daemon]

	posted   sync.Map // posted by Message-Id
	refusals atomic.Int64
	unsure   atomic.Int64
}

// carry hands one message in, as an MTA does: what is refused for the moment is
// tried again, for the recipients that were refused, as long as tests have patience.
func (c *chaos) carry(ctx context.Context, sessions map[string]*lab.Session, serial int) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	k := chaosKindOf(serial)
	if k.client == "" {
		return c.fromHost(ctx, serial)
	}
	if serial%chaosRedial == 0 {
		c.hangUp(sessions, k.client)
	}
	left, why := k.to, ""
	for try := 0; ; try++ {
		var err error
		if left, why, err = c.try(ctx, sessions, k, left, serial, try); err != nil || len(left) == 0 {
			return err
		}
		c.refusals.Add(1)
		c.hangUp(sessions, k.client)
		select {
		case <-time.After(chaosRetry):
		case <-ctx.Done():
			return fmt.Errorf("number %d: %w; it was put off: %s", serial, ctx.Err(), why)
		}
	}
}

func (c *chaos) hangUp(sessions map[string]*lab.Session, client string) {
	if s := sessions[client]; s != nil {
		s.Close()
		delete(sessions, client)
	}
}

// try returns the recipients that have to be tried again, and why.
func (c *chaos) try(ctx context.Context, sessions map[string]*lab.Session, k chaosKind, to [][]string, serial, try int) (left [][]string, why string, err error) {
	if sessions[k.client] == nil {
		s, err := lab.Client{Server: c.Addr("public"), Local: k.client}.Dial(ctx)
		if err != nil {
			return to, err.Error(), nil // EHLO may be refused as well
		}
		sessions[k.client] = s
	}
	mail := lab.Mail{From: k.from, Data: k.message(serial, try)}
	for _, r := range to {
		mail.To = append(mail.To, lab.Rcpt{Address: r[0]})
	}
	result, err := sessions[k.client].Send(ctx, mail)
	var taken [][]string
	for i, r := range to {
		if result.To[i].Code/100 == 2 {
			taken = append(taken, r)
		} else {
			left = append(left, r)
		}
	}
	for _, reply := range append([]lab.Reply{result.Mail, result.Data}, result.To...) {
		if reply.Code/100 == 5 {
			return nil, "", fmt.Errorf("number %d from %s was refused for good: %+v", serial, k.client, result)
		}
	}
	switch {
	case err != nil && len(taken) > 0:
		c.unsure.Add(1)
		c.posted.Store(chaosID(serial, try), posted{mail.Data, taken, true})
		return to, err.Error(), nil
	case err != nil || !result.Accepted():
		return to, fmt.Sprintf("%+v, %v", result, err), nil
	}
	c.posted.Store(chaosID(serial, try), posted{mail.Data, taken, false})
	return left, fmt.Sprintf("%+v", result), nil
}

// fromHost hands a message in with the sendmail command, which always takes it.
func (c *chaos) fromHost(ctx context.Context, serial int) error {
	var to []string
	for _, r := range chaosOnHost.to {
		to = append(to, r[0])
	}
	message := chaosOnHost.message(serial, 0)
	c.posted.Store(chaosID(serial, 0), posted{message, chaosOnHost.to, false})
	return c.Sendmail(ctx, chaosOnHost.from, to, message)
}

// sendAll has the clients send messages 1 to total, and tells each that was
// taken. The first error ends it.
func (c *chaos) sendAll(ctx context.Context, total int) (taken <-chan struct{}, failed <-chan error) {
	tell, fail := make(chan struct{}, total), make(chan error, chaosClients)
	var next atomic.Int64
	for range chaosClients {
		go func() {
			sessions := map[string]*lab.Session{}
			defer func() {
				for client := range maps.Clone(sessions) {
					c.hangUp(sessions, client)
				}
			}()
			for serial := int(next.Add(1)); serial <= total; serial = int(next.Add(1)) {
				if err := c.carry(ctx, sessions, serial); err != nil {
					fail <- err
					return
				}
				tell <- struct{}{}
			}
		}()
	}
	return tell, fail
}
