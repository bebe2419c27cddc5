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
	// One after the other: four crowds at once would be a test of the machine.
	for _, mta := range mtas() {
		t.Run(string(mta), func(t *testing.T) { hungScanners(t, mta) })
	}
}

func hungScanners(t *testing.T, mta lab.MTA) {
	t.Run("clamd", func(t *testing.T) {
		t.Parallel()
		clamd := startClamd(t, lab.ClamdConfig{})
		f := failing{check: "virus", scanner: "clamd", server: clamd, address: clamd.Addr(), usual: "tempfail"}
		f.hang(t, mta, "has not answered in")
	})
	t.Run("rspamd", func(t *testing.T) {
		t.Parallel()
		rspamd := startRspamd(t, lab.RspamdConfig{})
		f := failing{check: "spam", scanner: "rspamd", server: rspamd, address: rspamd.URL(), usual: "accept"}
		f.hang(t, mta, "rspamd does not answer: ")
	})
}

// hang sends crowds of mail to a new site while the scanner hangs, and when it
// goes on; waited is what the findings say of a message that waited for it.
func (f *failing) hang(t *testing.T, mta lab.MTA, waited string) {
	f.site = startSite(t, lab.SiteConfig{MTA: mta, TOML: f.toml(f.address, inVain, "max_scans = 10", nil), Main: manyAtOnce})
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

// The daemon says every 5 seconds that it is still at work. An MTA that waits
// for less gives up while clamd's answer is held back, which shows that the longer
// time is one that counts: three times those 5 seconds, in which even a busy machine
// gets something said, and less than the answer is held back for then.
func TestTheMTAWaitsForALongScanThatShowsProgress(t *testing.T) {
	onEachMTA(t, func(t *testing.T, mta lab.MTA) {
		const scan = 17 * time.Second
		clamd := startClamd(t, lab.ClamdConfig{})
		givenUp := make(chan time.Time) // closed when the MTA has given up
		slow := "inet:" + standIn(t, slowly("unix", strings.TrimPrefix(clamd.Addr(), "unix:"), func() <-chan time.Time {
			select {
			case <-givenUp:
				return time.After(scan)
			default:
				return givenUp
			}
		}))
		hasty, patient := startWaiting(t, mta, "2s", slow), startWaiting(t, mta, "15s", slow)
		if r := hasty.scanned(postAt("S0")); !strings.HasSuffix(hasty.away, code(r.Data)+" ") {
			t.Errorf("an MTA that waits for 2 s answers %s", r.Data)
		}
		close(givenUp)
		p := postAt("S0")
		begun := time.Now()
		if r, took := patient.scanned(p), time.Since(begun); !r.Accepted() || took < scan {
			t.Errorf("an MTA that waits for 15 s answers %s in %v; want 250 after %v", r.Data, took, scan)
		}
		patient.mustArrive(p.mail.Data, toBob)
		if found := patient.loggedFrom(p.mail.From)["findings"]; !strings.Contains(found, "virus clean") {
			t.Errorf("the log says that there was found %q", found)
		}
	})
}

// startWaiting starts a site whose MTA waits that long for each answer to a message.
func startWaiting(t *testing.T, mta lab.MTA, patience, clamd string) *site {
	t.Helper()
	return startSite(t, lab.SiteConfig{
		MTA:  mta,
		TOML: checkedTOML(clamd, ""),
		Main: map[string]string{"milter_content_timeout": patience},
		// The filter that a service names stands in for the usual one.
		MC:               []string{"MAIL_FILTER(`waiting', `S=unix:{dir}/milter.sock, F=T, T=C:30s;S:30s;R:" + patience + ";E:5m')dnl"},
		SubmissionFilter: "waiting",
	})
}

// scanned hands a message in at the service whose time startWaiting sets.
func (s *site) scanned(p posting) lab.Result {
	s.t.Helper()
	service := "public"
	if s.Postfix == nil {
		service = "submission"
	}
	r, err := lab.Client{Server: s.Addr(service), Local: p.client}.Send(deadline(s.t), p.mail)
	if err != nil {
		s.t.Fatal(err)
	}
	return r
}
