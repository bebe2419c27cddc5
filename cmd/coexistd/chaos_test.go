package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"coexistd/contrib/lab"
	"coexistd/policy"
)

// chaosKind is one sort of message. To has, after each recipient, the arrivals
// that it must make, as site.arrivals names them; where "|" stands between
// two, it must make one of them and not the other.
type chaosKind struct {
	client string // empty: the sendmail command
	from   string
	tenant string // that the message claims to come from; empty: none
	to     [][]string
}

const (
	chaosTotal   = 10_000
	chaosClients = 6                      // that send at the same time
	chaosPerDial = 100                    // messages in one connection
	chaosTries   = 1000                   // of one message
	chaosRetry   = 100 * time.Millisecond // from a temporary refusal to the next try
	chaosReload  = 100 * time.Millisecond
	chaosTime    = 10 * time.Minute // for a machine that does other things as well
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
	{lab.FromInternet, "eve@example.net", "", [][]string{{"zoe@acmecorp.com", "here zoe@acmecorp.com|office365 zoe@acmecorp-com.onmicrosoft.com"}, {"bob@acmecorp.com", toBob}}},
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

// chaos is mail under way from several clients.
type chaos struct {
	*site
	posted   sync.Map // posted by Message-Id
	refusals atomic.Int64
	unsure   atomic.Int64
}

// carry hands one message in, as an MTA does: what is refused for the moment is
// tried again, for the recipients that were refused.
func (c *chaos) carry(ctx context.Context, sessions map[string]*lab.Session, serial int) error {
	k := chaosKindOf(serial)
	if k.client == "" {
		return c.fromHost(ctx, serial)
	}
	left := k.to
	for try := range chaosTries {
		if serial%chaosPerDial == 0 {
			c.hangUp(sessions, k.client)
		}
		var err error
		if left, err = c.try(ctx, sessions, k, left, serial, try); err != nil || len(left) == 0 {
			return err
		}
		c.refusals.Add(1)
		c.hangUp(sessions, k.client)
		select {
		case <-time.After(chaosRetry):
		case <-ctx.Done():
			return fmt.Errorf("number %d: %w", serial, context.Cause(ctx))
		}
	}
	return fmt.Errorf("number %d was put off %d times", serial, chaosTries)
}

func (c *chaos) hangUp(sessions map[string]*lab.Session, client string) {
	if s := sessions[client]; s != nil {
		s.Close()
		delete(sessions, client)
	}
}

// try returns the recipients that have to be tried again.
func (c *chaos) try(ctx context.Context, sessions map[string]*lab.Session, k chaosKind, to [][]string, serial, try int) ([][]string, error) {
	if sessions[k.client] == nil {
		s, err := lab.Client{Server: c.Addr("public"), Local: k.client}.Dial(ctx)
		if err != nil {
			return to, nil // EHLO may be refused as well
		}
		sessions[k.client] = s
	}
	mail := lab.Mail{From: k.from, Data: k.message(serial, try)}
	for _, r := range to {
		mail.To = append(mail.To, lab.Rcpt{Address: r[0]})
	}
	result, err := sessions[k.client].Send(ctx, mail)
	var taken, left [][]string
	for i, r := range to {
		if result.To[i].Code/100 == 2 {
			taken = append(taken, r)
		} else {
			left = append(left, r)
		}
	}
	for _, reply := range append([]lab.Reply{result.Mail, result.Data}, result.To...) {
		if reply.Code/100 == 5 {
			return nil, fmt.Errorf("number %d from %s was refused for good: %+v", serial, k.client, result)
		}
	}
	switch {
	case err != nil && len(taken) > 0:
		c.unsure.Add(1)
		c.posted.Store(chaosID(serial, try), posted{mail.Data, taken, true})
		return to, nil
	case err != nil || !result.Accepted():
		return to, nil
	}
	c.posted.Store(chaosID(serial, try), posted{mail.Data, taken, false})
	return left, nil
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

// chaosFiles returns the nth configuration and directory. Zoe moves to and fro;
// for all others nothing changes that they could see.
func chaosFiles(n int) (config, directory string) {
	users := lab.SiteDirectory
	for i := range 20 {
		users += fmt.Sprintf("user%d@acmecorp.com,here,user%d\n", i, i)
	}
	if n%2 == 0 {
		return lab.SiteTOML, users + "zoe@acmecorp.com,here,zoe\n"
	}
	users += "zoe@acmecorp.com,office365,zoe\nextra@acmecorp.com,office365,\n"
	users = strings.ReplaceAll(users, "\n", fmt.Sprintf(",note %d\n", n))
	return "header = \"" + resultHeader + "\"\nmax_passes = 4\n" + lab.SiteTOML + `
[[listen]]
address = "unix:{dir}/second.sock"
[[lookup]]
address = "unix:{dir}/third.sock"
`, strings.Replace(users, fmt.Sprintf(",note %d\n", n), ",note\n", 1)
}

// reloadOften rewrites the files and sends SIGHUP, ten times a second, until
// done is closed. It returns how often.
func (c *chaos) reloadOften(current *atomic.Pointer[lab.Daemon], done <-chan struct{}) (sent int, err error) {
	tick := time.NewTicker(chaosReload)
	defer tick.Stop()
	for n := 1; ; n++ {
		select {
		case <-done:
			return sent, nil
		case <-tick.C:
		}
		config, users := chaosFiles(n)
		if err := errors.Join(c.WriteTOML(config), c.WriteDirectory(users)); err != nil {
			return sent, err
		}
		if err := current.Load().Hangup(); err == nil {
			sent++
		} else if !errors.Is(err, os.ErrProcessDone) {
			return sent, err
		}
	}
}

// end ends the daemon and returns what it had logged. It must not have had
// anything to complain of.
func (c *chaos) end(how func(*lab.Daemon) error) string {
	c.t.Helper()
	if err := how(c.Daemon); err != nil {
		c.t.Errorf("coexistd ended with %v", err)
	}
	log := c.Daemon.Log()
	for line := range strings.Lines(log) {
		for _, complaint := range []string{"level=ERROR", "DATA RACE", "panic", "refused,", "not fit for the MTA", "does not speak"} {
			if strings.Contains(line, complaint) {
				c.t.Errorf("coexistd said: %s", line)
			}
		}
	}
	return log
}

func TestTenThousandMessagesSurviveReloadsAndRestarts(t *testing.T) {
	t.Parallel()
	total := chaosTotal
	if testing.Short() {
		total /= 10
	}
	ctx, cancel := context.WithTimeout(t.Context(), chaosTime)
	defer cancel()
	config, users := chaosFiles(0)
	// What is put off for the moment is tried again soon.
	c := &chaos{site: startSite(t, lab.SiteConfig{TOML: config, Directory: users, Main: map[string]string{
		"smtpd_client_connection_count_limit": "0",
		"queue_run_delay":                     "1s",
		"minimal_backoff_time":                "1s",
		"maximal_backoff_time":                "1s",
		"transport_retry_time":                "1s",
	}})}
	begun := time.Now()
	var current atomic.Pointer[lab.Daemon]
	current.Store(c.Daemon)
	done, reloader := make(chan struct{}), sync.WaitGroup{}
	var hangups int
	reloader.Go(func() {
		var err error
		if hangups, err = c.reloadOften(&current, done); err != nil {
			t.Error(err)
		}
	})
	stopReloads := sync.OnceFunc(func() { close(done); reloader.Wait() })
	defer stopReloads()

	const restarts, killed = 5, 2
	logs := make([]string, 0, restarts+1)
	taken, failed := c.sendAll(ctx, total)
	for n := 1; n <= total; n++ {
		select {
		case <-taken:
		case err := <-failed:
			t.Fatal(err)
		}
		if len(logs) == restarts || n < total*(len(logs)+1)/(restarts+1) {
			continue
		}
		how := (*lab.Daemon).Stop
		if len(logs) == killed {
			how = (*lab.Daemon).Kill
		}
		logs = append(logs, c.end(how))
		if err := c.StartDaemon(ctx); err != nil {
			t.Fatal(err)
		}
		current.Store(c.Daemon)
	}
	sending := time.Since(begun)
	stopReloads()
	// The sendmail command wakes Postfix up for what was put off of its mail.
	if err := c.fromHost(ctx, total+1); err != nil {
		t.Fatal(err)
	}
	if err := c.WaitEmpty(ctx); err != nil {
		t.Fatal(err)
	}
	all := time.Since(begun)
	logs = append(logs, c.end((*lab.Daemon).Stop))
	messages, copies := c.reconcile(total + 1)
	reloads := strings.Count(strings.Join(logs, ""), "msg=reloaded")
	t.Logf("%d messages in, %d copies out; %d tries put off, %d of unknown end; %d reloads for %d signals; sent in %v, delivered after %v",
		messages, copies, c.refusals.Load(), c.unsure.Load(), reloads, hangups, sending.Round(time.Millisecond), all.Round(time.Millisecond))
	if c.refusals.Load() == 0 {
		t.Error("no client has noticed that the daemon was away: nothing was tested")
	}
	if reloads < hangups/2 {
		t.Errorf("the daemon has reloaded %d times; it was asked to %d times", reloads, hangups)
	}
}

// reconcile compares what was taken with what has arrived.
func (c *chaos) reconcile(total int) (messages, copies int) {
	c.t.Helper()
	const most = 20 // errors to tell
	wrong := 0
	fail := func(format string, args ...any) {
		if wrong++; wrong <= most {
			c.t.Errorf(format, args...)
		}
	}
	arrived := map[string][]string{}
	for place, sink := range c.sinks() {
		for _, d := range sink.All() {
			id := messageID(d.Data)
			p, found := c.posted.Load(id)
			if !found {
				fail("%s came to %s for %q, but no server had taken it:\n%s", id, place, d.To(), d.Data)
				continue
			}
			below := lab.Below(d.Data, "Received", policy.TraceHeader, resultHeader)
			if !bytes.Equal(below, p.(posted).message) {
				fail("%s was changed on its way to %s:\n%q\nwas\n%q", id, place, d.Data, p.(posted).message)
			}
			for _, to := range d.To() {
				arrived[id] = append(arrived[id], place+" "+to)
				copies++
			}
		}
	}
	serials := map[string]bool{}
	for id, v := range c.posted.Range {
		p := v.(posted)
		serial, _, _ := strings.Cut(id.(string), ".")
		serials[serial] = true
		got := arrived[id.(string)]
		slices.Sort(got)
		if p.unsure && len(got) == 0 {
			continue
		}
		messages++
		if !p.matches(got) {
			fail("%s arrived at %q; it must arrive at %q", id, got, p.to)
		}
	}
	if len(serials) != total {
		fail("%d messages were taken; %d were sent", len(serials), total)
	}
	if wrong > most {
		c.t.Errorf("… and %d more", wrong-most)
	}
	return messages, copies
}

// matches reports that a message has arrived everywhere it must, once, and
// nowhere else.
func (p posted) matches(arrived []string) bool {
	left := slices.Clone(arrived)
	for _, r := range p.to {
		for _, want := range r[1:] {
			at := slices.IndexFunc(left, func(got string) bool { return slices.Contains(strings.Split(want, "|"), got) })
			if at < 0 {
				return false
			}
			left = slices.Delete(left, at, at+1)
		}
	}
	return len(left) == 0
}

func TestNothingPassesByWhileTheDaemonIsAway(t *testing.T) {
	t.Parallel()
	s := startSite(t, lab.SiteConfig{})
	early, err := lab.Client{Server: s.Addr("public"), Local: lab.FromInternet}.Dial(deadline(t))
	if err != nil {
		t.Fatal(err)
	}
	defer early.Close()
	if err := s.Daemon.Stop(); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"milter.sock", "lookup.sock"} {
		if _, err := os.Lstat(filepath.Join(s.Dir, name)); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("the daemon is gone and %s is still there: %v", name, err)
		}
	}
}
