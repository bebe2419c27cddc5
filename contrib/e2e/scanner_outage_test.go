package e2e

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"coexistd/contrib/lab"
)

// oftenAgain has a Postfix try every second what was put off.
var oftenAgain = map[string]string{"queue_run_delay": "1s", "minimal_backoff_time": "1s", "maximal_backoff_time": "1s"}

func TestNoMessageIsLostWhileClamdIsGone(t *testing.T) {
	onEachMTA(t, func(t *testing.T, mta lab.MTA) {
		clamd := startClamd(t, lab.ClamdConfig{})
		s := startSite(t, lab.SiteConfig{MTA: mta, TOML: checkedTOML(clamd.Addr(), "")})
		far := startHop(t, hop{
			name: "far.lab.test", address: freeAddress(), from: lab.FromInternet,
			routes: map[string]string{"acmecorp.com": nextHop(s.Addr("public"))},
		})
		if err := errors.Join(far.Restart(deadline(t), oftenAgain), clamd.Kill()); err != nil {
			t.Fatal(err)
		}
		const half = 25
		var messages [][]byte
		send := func() {
			for range half {
				p := postAt("S0")
				r, err := lab.Client{Server: far.Addr("public")}.Send(deadline(t), p.mail)
				if err != nil || !r.Accepted() {
					t.Fatalf("the sending Postfix answers %+v, %v", r, err)
				}
				messages = append(messages, p.mail.Data)
			}
		}
		send()
		s.do(far.WaitDeferred(deadline(t), "bob@acmecorp.com", `451 4\.3\.0 The message cannot be checked`))
		if err := clamd.Start(deadline(t)); err != nil {
			t.Fatal(err)
		}
		send()
		s.do(far.Drain(deadline(t)))
		s.settle()
		for i, m := range messages {
			if _, arrivals := s.copies(m); !slices.Equal(arrivals, []string{toBob}) {
				t.Errorf("message %d has arrived at %q", i, arrivals)
			}
		}
		if n := len(s.Here.All()); n != 2*half {
			t.Errorf("%d messages were sent, and %d have arrived", 2*half, n)
		}
	})
}

// manyAtOnce lets one client hold that many connections to Postfix.
var manyAtOnce = map[string]string{"default_process_limit": "200", "smtpd_client_connection_count_limit": "0"}

func TestAHungScannerIsNotWaitedForByOneMessageAfterTheOther(t *testing.T) {
	t.Parallel()
	t.Run("clamd", func(t *testing.T) {
		t.Parallel()
		clamd := startClamd(t, lab.ClamdConfig{})
		f := failing{check: "virus", scanner: "clamd", server: clamd, address: clamd.Addr(), usual: "tempfail"}
		f.hang(t, "has not answered in")
	})
	t.Run("rspamd", func(t *testing.T) {
		t.Parallel()
		rspamd := startRspamd(t, lab.RspamdConfig{})
		f := failing{check: "spam", scanner: "rspamd", server: rspamd, address: rspamd.URL(), usual: "accept"}
		f.hang(t, "rspamd does not answer: ")
	})
}

// hang sends crowds of mail to a new site while the scanner hangs, and when it
// goes on; waited is what the findings say of a message that waited for it.
func (f *failing) hang(t *testing.T, waited string) {
	f.site = startSite(t, lab.SiteConfig{TOML: f.toml(f.address, inVain, "max_scans = 10", nil), Main: manyAtOnce})
	if err := f.server.Suspend(); err != nil {
		t.Fatal(err)
	}
	// The first crowd finds out that it hangs, the second is told so, save for
	// who tries it anew. That happens ever more rarely, and so a machine on which a
	// crowd takes minutes has not many more of them.
	for _, most := range []int{20, 10} {
		if n := strings.Count(strings.Join(f.crowd(f.usual), "\n"), waited); n > most {
			t.Errorf("%d messages of a hundred waited for a %s that hangs, want %d at most", n, f.scanner, most)
		}
	}
	if err := f.server.Continue(); err != nil {
		t.Fatal(err)
	}
	f.insist()
	log := f.Daemon.Log()
	if opens, closes := strings.Count(log, `msg="a scanner does not answer`), strings.Count(log, `msg="a scanner answers again`); opens != 1 || closes != 1 {
		t.Errorf("the log says %d times that %s does not answer, and %d times that it does again; want once each", opens, f.scanner, closes)
	}
	f.configure(f.toml(f.address, inTime, "max_scans = 10", nil))
	for _, found := range f.crowd("accept") {
		if !strings.Contains(found, f.check+" clean") {
			t.Errorf("with %s at work again, the finding is %q", f.scanner, found)
		}
	}
}

// insist sends one message after the other until the scanner is asked again.
func (f *failing) insist() {
	f.t.Helper()
	ctx, again := deadline(f.t), time.NewTicker(20*time.Millisecond)
	defer again.Stop()
	for {
		p := postAt("S0")
		f.postAll([]posting{p})
		found := f.loggedFrom(p.mail.From)["findings"]
		if strings.Contains(found, f.check+" clean") {
			return
		}
		select {
		case <-again.C:
		case <-ctx.Done():
			f.t.Fatalf("%s is at work again, and the finding is still %q", f.scanner, found)
		}
	}
}

// crowd sends a hundred messages at once, which must all meet the verdict, and
// returns their findings.
func (f *failing) crowd(verdict string) (findings []string) {
	f.t.Helper()
	var postings []posting
	for range 100 {
		postings = append(postings, postAt("S0"))
	}
	results := f.postAll(postings)
	f.settle()
	for i, r := range results {
		if !strings.HasPrefix(r.Data.String(), errorReplies[verdict]) {
			f.t.Errorf("a message was answered %s; want %s", r.Data, errorReplies[verdict])
		}
		if _, arrivals := f.copies(postings[i].mail.Data); slices.Equal(arrivals, []string{toBob}) != (verdict == "accept") {
			f.t.Errorf("with %s, a message has arrived at %q", verdict, arrivals)
		}
		findings = append(findings, f.loggedFrom(postings[i].mail.From)["findings"])
	}
	return findings
}

// The daemon says every 5 seconds that it is still at work. A Postfix that waits
// for less gives up while clamd's answer is held back, which shows that the longer
// time is one that counts: three times those 5 seconds, in which even a busy machine
// gets something said, and less than the answer is held back for then.
func TestPostfixWaitsForALongScanThatShowsProgress(t *testing.T) {
	t.Parallel()
	const scan, long = 17 * time.Second, "15s"
	clamd := startClamd(t, lab.ClamdConfig{})
	givenUp := make(chan time.Time) // closed when Postfix has given up
	slow := "inet:" + standIn(t, slowly("unix", strings.TrimPrefix(clamd.Addr(), "unix:"), func() <-chan time.Time {
		select {
		case <-givenUp:
			return time.After(scan)
		default:
			return givenUp
		}
	}))
	s := startSite(t, lab.SiteConfig{TOML: checkedTOML(slow, ""), Main: map[string]string{"milter_content_timeout": "2s"}})
	if r := s.postAll([]posting{postAt("S0")})[0]; code(r.Data) != "451 4.7.1" {
		t.Errorf("a Postfix that waits for 2 s answers %s; want 451 4.7.1", r.Data)
	}
	close(givenUp)
	if err := s.Postfix.Restart(deadline(t), map[string]string{"milter_content_timeout": long}); err != nil {
		t.Fatal(err)
	}
	p := postAt("S0")
	begun := time.Now()
	if r, took := s.postAll([]posting{p})[0], time.Since(begun); !r.Accepted() || took < scan {
		t.Errorf("a Postfix that waits for %s answers %s in %v; want 250 after %v", long, r.Data, took, scan)
	}
	s.mustArrive(p.mail.Data, toBob)
	if found := s.loggedFrom(p.mail.From)["findings"]; !strings.Contains(found, "virus clean") {
		t.Errorf("the log says that there was found %q", found)
	}
}
