package e2e

import (
	"context"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"coexistd/contrib/lab"
)

// steady sends message after message to addresses that are known all the while.
type steady struct {
	s    *site
	stop func()

	mu    sync.Mutex          // held while a message is sent, and while none may be
	known [][2]string         // addresses, and where their mail arrives
	sent  map[string][]string // where each message must arrive, by its id
	wrong []string            // answers
}

func sendSteadily(s *site, known ...[2]string) *steady {
	y := &steady{s: s, known: known, sent: make(map[string][]string)}
	within := deadline(s.t)
	ctx, cancel := context.WithCancel(within)
	var sending sync.WaitGroup
	y.stop = func() { cancel(); sending.Wait() }
	s.t.Cleanup(y.stop)
	sending.Go(func() {
		again := time.NewTicker(100 * time.Millisecond)
		defer again.Stop()
		for n := 0; ctx.Err() == nil; n++ {
			y.one(within, n)
			select {
			case <-ctx.Done():
			case <-again.C:
			}
		}
	})
	return y
}

// one sends a message, and waits for the answer even when there is to be no other.
func (y *steady) one(ctx context.Context, n int) {
	y.mu.Lock()
	defer y.mu.Unlock()
	to := y.known[n%len(y.known)]
	m := lab.Plain("eve@example.net", to[0], "steadily")
	r, err := lab.Client{Server: y.s.Addr("public"), Local: lab.FromInternet}.Send(ctx, lab.Mail{From: "eve@example.net", To: lab.To(to[0]), Data: m})
	if err != nil || !r.Accepted() {
		y.wrong = append(y.wrong, fmt.Sprintf("%s: %+v, %v", to[0], r, err))
		return
	}
	y.sent[messageID(m)] = []string{to[1]}
}

// knows adds an address from now on.
func (y *steady) knows(address, arrives string) {
	y.mu.Lock()
	defer y.mu.Unlock()
	y.known = append(y.known, [2]string{address, arrives})
}

// account ends it, and accounts for each message.
func (y *steady) account(t *testing.T) {
	t.Helper()
	y.stop()
	for _, answer := range y.wrong {
		t.Errorf("a known address is answered: %s", answer)
	}
	y.s.settle()
	arrived := make(map[string][]string)
	for place, sink := range y.s.sinks() {
		for _, d := range sink.All() {
			for _, to := range d.To() {
				arrived[messageID(d.Data)] = append(arrived[messageID(d.Data)], place+" "+to)
			}
		}
	}
	for id, want := range y.sent {
		if got := arrived[id]; !slices.Equal(got, want) {
			t.Errorf("message %s has arrived at %q; it must arrive at %q", id, got, want)
		}
	}
	t.Logf("%d messages were sent, and all have been looked for", len(y.sent))
}

// outage is a site whose slapd gets into trouble behind a proxy.
type outage struct {
	*site
	*steady
	slapd     *lab.Slapd
	proxy     *lab.Proxy
	addresses int
}

// comes has somebody come, and waits until the list that counts has them.
func (d *outage) comes(name string, meanwhile func()) {
	d.t.Helper()
	d.do(d.slapd.Apply(deadline(d.t), person(name, "")))
	begun := time.Now()
	meanwhile()
	d.addresses++
	d.waitDaemonLog(fmt.Sprintf(`msg="directory loaded" path=source:people addresses=%d$`, d.addresses))
	d.t.Logf("%s counts after %v", name, time.Since(begun).Round(100*time.Millisecond))
	address := name + "@acmecorp.com"
	d.mustFlow(address, "here "+address)
	d.knows(address, "here "+address)
}

func (d *outage) fails(words string) {
	d.t.Helper()
	d.waitDaemonLog(`msg="a source cannot be read: its last list stays" source=source:people error=.*` + words)
}

func TestADirectoryInTroubleIsNoTroubleForMail(t *testing.T) {
	onEachMTA(t, func(t *testing.T, mta lab.MTA) {
		d := startOutage(t, mta)
		d.stopped()
		older, err := d.slapd.Backup(deadline(t))
		d.do(err)
		d.hung()
		d.cut()
		d.emptied()
		d.restored(older)
		d.account(t)
	})
}

func startOutage(t *testing.T, mta lab.MTA) *outage {
	const there = "@acmecorp-com.onmicrosoft.com"
	d := &outage{slapd: startSlapd(t, lab.SlapdConfig{}), addresses: 604}
	var err error
	if d.proxy, err = lab.StartProxy(strings.TrimPrefix(d.slapd.URL, "ldap://")); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { stopFilter(t, d.proxy.Close) })
	people := person("alice", "alice.smith"+there, "asmith@acmecorp.com") + person("bob", "", "robert@acmecorp.com")
	for i := range 600 { // more than a page
		people += person(fmt.Sprintf("user%d", i), "")
	}
	if err := d.slapd.Apply(deadline(t), people); err != nil {
		t.Fatal(err)
	}
	d.site = startDirectory(t, mta, strings.NewReplacer("{ldap}", "ldap://"+d.proxy.Addr, `"2s"`, `"1s"`).Replace(ldapTOML), lab.SlapdReaderPassword)
	d.waitDaemonLog(`msg="directory loaded" path=source:people addresses=604$`)
	d.steady = sendSteadily(d.site, [2]string{"asmith@acmecorp.com", "office365 alice.smith" + there},
		[2]string{"robert@acmecorp.com", "here robert@acmecorp.com"}, [2]string{"user599@acmecorp.com", "here user599@acmecorp.com"})
	return d
}

// stopped has slapd away for ten intervals. The daemon is started anew meanwhile.
func (d *outage) stopped() {
	d.t.Helper()
	d.do(d.slapd.Kill())
	d.fails("")
	d.says(exitNo, "status", "CANNOT BE READ")
	d.do(d.proxy.WaitConnections(deadline(d.t), 5))
	func() {
		d.mu.Lock()
		defer d.mu.Unlock()
		d.do(d.Daemon.Stop())
		d.do(d.StartDaemon(deadline(d.t)))
	}()
	if reply := d.rcpt(lab.FromInternet, "eve@example.net", "nobody@acmecorp.com"); code(reply) != "550 5.1.1" {
		d.t.Errorf("while slapd is away, nobody is answered with %s", reply)
	}
	d.do(d.proxy.WaitConnections(deadline(d.t), 5))
	d.proxy.EndAfter(0)
	d.do(d.slapd.Start(deadline(d.t)))
	d.comes("stopped", d.proxy.Pass)
	d.waitDaemonLog(`msg="a source can be read again" source=source:people`)
}

// hung has slapd take connections and say nothing.
func (d *outage) hung() {
	d.t.Helper()
	d.do(d.slapd.Suspend())
	d.fails("no answer within 1s")
	d.do(d.proxy.WaitConnections(deadline(d.t), 2))
	d.proxy.EndAfter(0)
	d.do(d.slapd.Continue())
	d.comes("hung", d.proxy.Pass)
}

// cut ends each connection in the middle of a page, of the first and of the last.
func (d *outage) cut() {
	d.t.Helper()
	d.comes("cut", func() {
		for _, page := range []struct {
			after int64
			words string
		}{{20_000, "reading page 1 of "}, {100_000, "reading page 2 of "}} {
			d.proxy.EndAfter(page.after)
			d.fails(page.words)
		}
		d.proxy.Pass()
	})
}

// emptied has everybody gone, and all of them there again.
func (d *outage) emptied() {
	d.t.Helper()
	backup, err := d.slapd.Backup(deadline(d.t))
	d.do(err)
	var gone strings.Builder
	for _, name := range []string{"alice", "bob", "stopped", "hung", "cut"} {
		gone.WriteString(deleted(name))
	}
	for i := range 600 {
		gone.WriteString(deleted(fmt.Sprintf("user%d", i)))
	}
	d.proxy.EndAfter(0) // else a list of when some are gone might be read, which is one like any other
	d.do(d.slapd.Apply(deadline(d.t), gone.String()))
	d.proxy.Pass()
	d.waitDaemonLog(`msg="directory refused, the old one stays" path=source:people error=.*lists no address`)
	d.says(exitNo, "status", "REFUSED")
	d.do(d.slapd.Restore(deadline(d.t), backup))
	d.comes("emptied", func() {})
}

// restored has slapd go back to an older state, which lacks some who count.
func (d *outage) restored(older string) {
	d.t.Helper()
	before := d.Daemon.LogLines() // it may have been so for an instant while everybody came back
	d.do(d.slapd.Restore(deadline(d.t), older))
	_, err := d.Daemon.WaitLogAfter(deadline(d.t), before, regexp.MustCompile(`msg="directory refused, the old one stays" path=source:people error=.*lists what it did at an earlier time`))
	d.do(err)
	d.says(exitNo, "status", "REFUSED", "coexistd directory diff source:people says how to accept it")
	d.says(exitNo, "directory diff source:people", "hung@acmecorp.com", "cut@acmecorp.com", "emptied@acmecorp.com")
	// The first write there makes its mark as new as before, and brings nobody back.
	d.do(d.slapd.Apply(deadline(d.t), person("onward", "")))
	d.addresses++
	d.waitDaemonLog(`msg="directory refused, the old one stays" path=source:people error=.*goes on from an earlier time.* it lacks 3, and 0 live elsewhere`)
	d.says(exitNo, "directory diff source:people", "hung@acmecorp.com", "onward@acmecorp.com")
	again := ""
	for _, name := range []string{"hung", "cut", "emptied"} {
		d.mustFlow(name+"@acmecorp.com", "here "+name+"@acmecorp.com")
		again += person(name, "")
	}
	d.do(d.slapd.Apply(deadline(d.t), again))
	d.comes("restored", func() {})
	d.says(exitYes, "directory diff source:people", "nothing differs")
}
