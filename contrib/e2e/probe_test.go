package e2e

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"

	"coexistd/contrib/lab"
)

const (
	probeFrom  = "probe@acmecorp.com"
	probeTo    = "coexist-probe@acmecorp.com"
	probeThere = "coexist-probe@acmecorp-com.onmicrosoft.com"
)

// probeTOML is the usual configuration with probes that are waited for so long.
func probeTOML(wait string) string {
	return withHost(lab.SiteTOML) + fmt.Sprintf(`
[quarantine]
smtp = "{mta}"
[quarantine.report]
at = "never"
[probe]
from      = "%s"
addresses = { office365 = "%s" }
wait      = "%s"
`, probeFrom, probeTo, wait)
}

// prober is a site whose Office 365 is the test.
type prober struct {
	*site
	refusal atomic.Pointer[lab.Reply] // of Office 365
	sent    int                       // how many probes have come to Office 365
	log     string                    // the file that stands for the MTA's log
}

func startProber(t *testing.T, mta lab.MTA) *prober {
	t.Helper()
	p := &prober{}
	p.site = startSite(t, lab.SiteConfig{
		MTA: mta, TOML: probeTOML("5m"), Directory: lab.SiteDirectory + probeFrom + ",here,\n" + probeTo + ",office365,\n",
		RefuseOffice: func(string) *lab.Reply { return p.refusal.Load() },
	})
	mx, err := lab.StartSink(lab.SinkConfig{Address: strings.Replace(freeAddress(), ":2525", ":25", 1)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if len(mx.All()) > 0 {
			t.Errorf("the MX was sent %+v", mx.All())
		}
		mx.Close()
	})
	for _, domain := range []string{"acmecorp.com", "globex.example"} {
		p.DNS.Set(domain, "MX", "10 mx."+domain+".")
		p.DNS.Set("mx."+domain, "A", strings.TrimSuffix(mx.Addr(), ":25"))
	}
	p.log = filepath.Join(p.Dir, "mail.log")
	if err := os.WriteFile(p.log, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	return p
}

// probe runs the doctor while the test does something, and returns what it found of probes.
func (p *prober) probe(meanwhile func()) []finding {
	p.t.Helper()
	type result struct {
		status         int
		out, complaint string
	}
	done := make(chan result, 1)
	go func() {
		var r result
		r.status, r.out, r.complaint = runDoctor(p.t, p.Dir, nil, "-c", p.Config(), "--probe", "--json", "--mail-log", p.log)
		done <- r
	}()
	meanwhile()
	r := <-done
	var all, probes []finding
	if err := json.Unmarshal([]byte(r.out), &all); err != nil || r.complaint != "" {
		p.t.Fatalf("the doctor ended with %d: %v %s\n%s", r.status, err, r.complaint, r.out)
	}
	failed := false
	for _, f := range all {
		failed = failed || f.Status == "fail"
		if f.Subject == "probe" {
			probes = append(probes, f)
		}
	}
	if (r.status == 1) != failed || r.status > 1 {
		p.t.Errorf("the doctor ended with %d: %s", r.status, r.out)
	}
	return probes
}

// arrived waits for the next probe at Office 365.
func (p *prober) arrived() lab.Delivery {
	p.t.Helper()
	p.sent++
	all, err := p.Office.WaitCount(deadline(p.t), p.sent)
	if err != nil {
		p.t.Fatal(err)
	}
	d := all[p.sent-1]
	if d.From != probeFrom || strings.Join(d.To(), " ") != probeThere || bytes.Contains(d.Data, []byte("X-Coexist-Pass")) {
		p.t.Errorf("the probe came from <%s> to %q:\n%s", d.From, d.To(), d.Data)
	}
	return d
}

// back sends a message in from Office 365, which must be taken.
func (p *prober) back(from, to string, data []byte) {
	p.t.Helper()
	p.deliver(lab.FromOffice365, lab.Mail{From: from, To: lab.To(to), Data: data})
}

// mustFind checks the finding of the way to Office 365 and back.
func (p *prober) mustFind(findings []finding, status string, words ...string) {
	p.t.Helper()
	for _, f := range findings {
		if !strings.Contains(f.Found, "S2=>S4=>O1=>O3=>S1") {
			continue
		}
		for _, w := range words {
			if f.Status != status || !strings.Contains(f.Found+"\n"+f.Remedy, w) {
				p.t.Errorf("the doctor finds %+v; it must be %s with %q", f, status, w)
			}
		}
		return
	}
	p.t.Errorf("the doctor says nothing of the way: %+v", findings)
}

// mustHaveHere checks the recipients here of all messages that came so far.
func (p *prober) mustHaveHere(want ...string) {
	p.t.Helper()
	p.settle()
	var got []string
	for _, d := range p.Here.All() {
		got = append(got, d.To()...)
	}
	if !slices.Equal(got, want) {
		p.t.Errorf("for mailboxes here there came mail to %q; it must be %q", got, want)
	}
}

func TestTheDoctorSendsAProbeThereAndBack(t *testing.T) {
	onEachMTA(t, func(t *testing.T, mta lab.MTA) {
		p := startProber(t, mta)
		var d lab.Delivery
		forward := func(tenant, to string) func() {
			return func() {
				d = p.arrived()
				data := d.Data
				if tenant != "" {
					data = fromTenant(tenant, data)
				}
				p.back(d.From, to, data)
			}
		}
		found := p.probe(forward(lab.OfficeTenant, probeFrom))
		p.mustFind(found, "ok", "came back from office365 in ", ", as S1: X-MS-Exchange-CrossTenant-Id names our tenant; without TLS")
		for _, w := range []string{"S2: the milter of the MTA at", "the MX of acmecorp.com, mx.acmecorp.com, takes mail for probe@acmecorp.com", "the MX of globex.example, mx.globex.example, takes mail for postmaster@globex.example"} {
			if !strings.Contains(fmt.Sprint(found), w) {
				t.Errorf("the doctor does not say %q: %+v", w, found)
			}
		}
		first := fromTenant(lab.OfficeTenant, d.Data)
		p.mustHaveHere()
		p.waitDaemonLog(`msg=message .*verdict=discard .*a probe of coexistd's own`)

		file := filepath.Join(p.Dir, "probe.eml")
		if err := os.WriteFile(file, first, 0o644); err != nil {
			t.Fatal(err)
		}
		out, status := ask(t, "explain", "-c", p.Config(), "--from", probeFrom, "--to", probeFrom, "--client", lab.FromOffice365, file)
		if status != exitNo || !strings.Contains(string(out), "discard") || !strings.Contains(string(out), "a probe of coexistd's own") {
			t.Errorf("explain ends with %d: %s", status, out)
		}

		// Once more it is mail like any other.
		p.back(probeFrom, probeFrom, first)
		p.mustHaveHere(probeFrom)

		p.mustFind(p.probe(forward("", probeFrom)), "fail", "came back from office365 in ", "as S0: the message lacks X-MS-Exchange-CrossTenant-Id: the message counts as S0", "have a rule over there add a secret header")
		p.mustFind(p.probe(forward(foreignTenant, probeFrom)), "fail", "as S0: X-MS-Exchange-CrossTenant-Id names another tenant")
		p.mustFind(p.probe(forward(lab.OfficeTenant, probeTo)), "fail", "for the same address: mail for it goes round", "make a mailbox of "+probeTo)
		p.mustFind(p.probe(func() {
			d := p.arrived()
			p.deliver(lab.FromInternet, lab.Mail{From: d.From, To: lab.To(probeFrom), Data: fromTenant(lab.OfficeTenant, d.Data)})
		}), "fail", "as S0: the client 127.0.3.1 is neither ours nor a platform's", "add 127.0.3.1, or the list that has it, to networks of platform.office365")
		p.mustFind(p.probe(func() {
			d := p.arrived()
			p.deliver(lab.FromUser, lab.Mail{From: d.From, To: lab.To(probeFrom), Data: d.Data})
		}), "fail", "but as S2, since the client 127.0.4.1 is in our_networks")
		p.mustHaveHere(probeFrom)
	})
}

func TestTheDoctorTellsOfAProbeThatDoesNotComeBack(t *testing.T) {
	onEachMTA(t, func(t *testing.T, mta lab.MTA) {
		p := startProber(t, mta)
		p.configure(probeTOML("1s"))
		p.mustFind(p.probe(func() {}), "fail", "nothing came back from office365 within 1s", "look for the Message-Id probe.", "sends mail for "+probeTo+" on to "+probeFrom)
		late := p.arrived()

		forged := bytes.Replace(late.Data, []byte("flow=office365"), []byte("flow=google"), 1)
		p.back(probeFrom, probeFrom, fromTenant(lab.OfficeTenant, forged))
		p.mustHaveHere(probeFrom)
		other := bytes.Replace(late.Data, []byte("<probe."), []byte("<other."), 1)
		p.back(probeFrom, "bob@acmecorp.com", fromTenant(lab.OfficeTenant, other))
		p.mustHaveHere(probeFrom, "bob@acmecorp.com")
		// One that is late is for nobody, either.
		p.back(probeFrom, "bob@acmecorp.com", fromTenant(lab.OfficeTenant, late.Data))
		p.mustHaveHere(probeFrom, "bob@acmecorp.com")
	})
}

func TestTheDoctorTellsWhyAProbeBounced(t *testing.T) {
	onEachMTA(t, func(t *testing.T, mta lab.MTA) {
		p := startProber(t, mta)
		// The platform takes it, and says later that it could not be delivered.
		p.mustFind(p.probe(func() {
			d := p.arrived()
			report := "From: postmaster@contoso.example\r\nTo: " + probeFrom + "\r\nSubject: Undeliverable\r\nDate: Mon, 1 Jan 2024 00:00:00 +0000\r\nMessage-Id: <ndr@contoso.example>\r\n" +
				"MIME-Version: 1.0\r\nContent-Type: multipart/report; report-type=delivery-status; boundary=b\r\n\r\n" +
				"--b\r\nContent-Type: text/plain\r\n\r\nSorry.\r\n\r\n--b\r\nContent-Type: message/delivery-status\r\n\r\nReporting-MTA: dns; o.example\r\n\r\n" +
				"Final-Recipient: rfc822; " + probeThere + "\r\nAction: failed\r\nStatus: 5.7.520\r\nDiagnostic-Code: smtp; 550 5.7.520 Access denied, Your organization does not allow external forwarding\r\n\r\n" +
				"--b\r\nContent-Type: message/rfc822\r\n\r\n" + string(d.Data) + "\r\n--b--\r\n"
			p.back("", probeFrom, fromTenant(lab.OfficeTenant, []byte(report)))
		}), "fail", "bounced: 5.7.520 smtp; 550 5.7.520 Access denied", "let automatic forwarding over there reach our domain")
		p.mustHaveHere(probeFrom)

		// It does not take it, so the MTA bounces, which no milter sees.
		p.refusal.Store(&lab.Reply{Code: 550, Enhanced: "5.7.64", Text: "TenantAttribution; Relay Access Denied"})
		p.mustFind(p.probe(func() {
			if _, err := p.WaitLog(deadline(t), regexp.MustCompile(`dsn=5\.7\.64`)); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(p.log, []byte(p.Log()), 0o644); err != nil {
				t.Fatal(err)
			}
		}), "fail", "the MTA could not deliver the probe for "+probeTo, "5.7.64 TenantAttribution", "have an inbound connector of type OnPremises over there")
	})
}

// What was broken off is told as that, and the status says that it could not be told.
func TestAProbeThatIsBrokenOffIsNoFailure(t *testing.T) {
	t.Parallel()
	p := startProber(t, lab.PostfixMTA)
	cmd := newDoctor(t, p.Dir, "-c", p.Config(), "--probe", "--mail-log", p.log)
	var out, complaint bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &complaint
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	p.arrived()
	if err := cmd.Process.Signal(syscall.SIGINT); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait() // which tells of the status
	if status := cmd.ProcessState.ExitCode(); status != 2 || !strings.Contains(complaint.String(), "broken off before all was known") {
		t.Errorf("the doctor ended with %d: %s", status, complaint.String())
	}
	if !strings.Contains(out.String(), "the wait for the probe for "+probeTo+" was broken off") || strings.Contains(out.String(), "within") {
		t.Errorf("the doctor said\n%s", out.String())
	}
}
