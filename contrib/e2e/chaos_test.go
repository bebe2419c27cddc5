package e2e

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"coexistd/contrib/lab"
	"coexistd/policy"
	"coexistd/policy/seal"
)

// files returns the nth configuration and directory. Zoe moves to and fro; for
// all others nothing changes that they could see.
func (c *chaos) files(n int) (config, directory string) {
	relay := fmt.Sprintf("relay = %q\n", strings.TrimPrefix(c.Office.NextHop(), "smtp:"))
	config = strings.Replace(withHost(lab.SiteTOML), "[platform.office365]\n", "[platform.office365]\n"+relay, 1)
	users := lab.SiteDirectory
	for i := range 20 { // so that one address is no great loss
		users += fmt.Sprintf("user%d@acmecorp.com,here,user%d\n", i, i)
	}
	if n%2 == 0 {
		return config, users + "zoe@acmecorp.com,here,zoe\n"
	}
	config = "header = \"" + resultHeader + "\"\nmax_passes = 4\n" + config +
		"[[listen]]\naddress = \"unix:{dir}/second.sock\"\n[[lookup]]\naddress = \"unix:{dir}/third.sock\"\n"
	header, rows, _ := strings.Cut(users+"zoe@acmecorp.com,office365,zoe\nextra@acmecorp.com,office365,\n", "\n")
	return config, header + ",note\n" + strings.ReplaceAll(rows, "\n", fmt.Sprintf(",note %d\n", n))
}

func (c *chaos) write(n int) error {
	config, users := c.files(n)
	return errors.Join(c.WriteTOML(config), c.WriteDirectory(users))
}

// reloadOften rewrites the files and sends SIGHUP, up to ten times a second, until
// done is closed.
func (c *chaos) reloadOften(done <-chan struct{}) error {
	tick := time.NewTicker(chaosReload)
	defer tick.Stop()
	for n := 1; ; n++ {
		select {
		case <-done:
			return nil
		case <-tick.C:
		}
		if err := c.write(n); err != nil {
			return err
		}
		if err := c.current.Load().Hangup(); err != nil && !errors.Is(err, os.ErrProcessDone) {
			return err
		}
	}
}

// end ends the daemon, once it has reloaded, and returns what it had logged. It must
// not have had anything to complain of.
func (c *chaos) end(how func(*lab.Daemon) error) string {
	c.t.Helper()
	c.waitDaemonLog("msg=reloaded")
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
	onEachMTA(t, surviveReloadsAndRestarts)
}

func surviveReloadsAndRestarts(t *testing.T, mta lab.MTA) {
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	// What is put off for the moment is tried again soon.
	c := &chaos{site: startSite(t, lab.SiteConfig{MTA: mta, Main: map[string]string{
		"smtpd_client_connection_count_limit": "0",
		"notify_classes":                      "", // or the postmaster gets mail about the refusals
		"queue_run_delay":                     "1s",
		"minimal_backoff_time":                "1s",
		"maximal_backoff_time":                "1s",
	}})}
	if err := c.write(0); err != nil {
		t.Fatal(err)
	}
	c.mustReload()
	total, begun := chaosTotal, time.Now()
	c.current.Store(c.Daemon)
	done, reloader := make(chan struct{}), sync.WaitGroup{}
	reloader.Go(func() {
		if err := c.reloadOften(done); err != nil {
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
		if err := c.StartDaemon(deadline(t)); err != nil {
			t.Fatal(err)
		}
		c.current.Store(c.Daemon)
	}
	sending := time.Since(begun)
	c.waitDaemonLog("msg=reloaded")
	stopReloads()
	// The sendmail command wakes Postfix up for what was put off of its mail.
	if err := c.fromHost(deadline(t), total+1); err != nil {
		t.Fatal(err)
	}
	c.settle()
	all := time.Since(begun)
	logs = append(logs, c.end((*lab.Daemon).Stop))
	messages, copies := c.reconcile(total + 1)
	reloads := strings.Count(strings.Join(logs, ""), "msg=reloaded")
	t.Logf("%d messages in, %d copies out; %d tries put off, %d of unknown end; %d reloads; sent in %v, delivered after %v",
		messages, copies, c.refusals.Load(), c.unsure.Load(), reloads, sending.Round(time.Millisecond), all.Round(time.Millisecond))
	if c.refusals.Load() == 0 {
		t.Error("no client has noticed that the daemon was away: nothing was tested")
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
			below := lab.Below(d.Data, "Received", "Authentication-Results", policy.TagHeader, seal.TraceHeader, resultHeader)
			if !bytes.Equal(below, p.(posted).message) {
				fail("%s was changed on its way to %s:\n%q\nwas\n%q", id, place, d.Data, p.(posted).message)
			}
			for _, to := range d.To() {
				// Of one who moves between RCPT and the end of the message, Sendmail has the
				// domain as the lookups have it.
				to = strings.Replace(to, waysOf[lab.SendmailMTA].noMilter, waysOf[lab.PostfixMTA].noMilter, 1)
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
	onEachMTA(t, nothingPassesByWhileTheDaemonIsAway)
}

func nothingPassesByWhileTheDaemonIsAway(t *testing.T, mta lab.MTA) {
	s := startSite(t, lab.SiteConfig{MTA: mta, TOML: withHost(lab.SiteTOML)})
	client := lab.Client{Server: s.Addr("public"), Local: lab.FromInternet}
	early, err := client.Dial(deadline(t))
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

	mail := lab.Mail{From: "eve@example.net", To: lab.To("bob@acmecorp.com", "alice@acmecorp.com"),
		Data: lab.Plain("eve@example.net", "bob@acmecorp.com", "away")}
	// Postfix does not wait for an answer to MAIL, so it may see at RCPT only
	// that the milter is gone.
	r, err := early.Send(deadline(t), mail)
	late := func(reply lab.Reply) bool { return reply.Code == 451 }
	if err != nil || r.Mail.Code != 451 && (!late(r.To[0]) || !late(r.To[1])) {
		t.Errorf("a client that was there before was told %+v: %v; want 451", r, err)
	}
	// A new one may be told as early as at EHLO.
	if r, err := client.Send(deadline(t), mail); err == nil && r.Mail.Code != 451 || err != nil && !strings.Contains(err.Error(), ": 451 ") {
		t.Errorf("a client was told %+v: %v; want 451", r, err)
	}
	fromHost := lab.Plain("bob@acmecorp.com", "alice@acmecorp.com", "made here meanwhile")
	if err := s.Sendmail(deadline(t), "bob@acmecorp.com", []string{"alice@acmecorp.com"}, fromHost); err != nil {
		t.Fatal(err)
	}
	if err := s.WaitHostMailPutOff(deadline(t)); err != nil {
		t.Error(err)
	}
	for place, sink := range s.sinks() {
		for _, d := range sink.All() {
			t.Errorf("while the daemon was away, this passed by, to %s for %q:\n%s", place, d.To(), d.Data)
		}
	}

	if err := s.StartDaemon(deadline(t)); err != nil {
		t.Fatal(err)
	}
	s.deliver(lab.FromInternet, mail)
	// Another message of the host's makes Postfix look for those it still has.
	later := lab.Plain("bob@acmecorp.com", "bob@acmecorp.com", "made here later")
	if err := s.Sendmail(deadline(t), "bob@acmecorp.com", []string{"bob@acmecorp.com"}, later); err != nil {
		t.Fatal(err)
	}
	s.mustArrive(mail.Data, toBob, toAlice)
	s.mustArrive(fromHost, toAlice)
	s.mustArrive(later, toBob)
}
