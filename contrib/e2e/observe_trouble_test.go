package e2e

import (
	"strings"
	"testing"

	"coexistd/contrib/lab"
)

// withoutHelpers has all checks, and nothing listens where the servers are that they ask. Virus would
// have mail of the Internet put off, and the limit mail of users.
func withoutHelpers() string {
	const nobody = "127.0.0.1:1"
	return "header = \"X-Coexist-Result\"\n" + withHost(checkedTOML("inet:"+nobody, "http://"+nobody, neverReport,
		"[check.virus]\non_error = \"tempfail\"\n", redisTOML(nobody),
		"[[rate]]\nname = \"per sender\"\nby = \"sender\"\nlimit = 100\nper = \"1h\"\non_limit = \"tempfail\"\non_error = \"tempfail\"\ncheckpoints = [\"S2\"]\n"))
}

func TestWhatIsObservedWithoutScannersAndRedisGoesOnAsWithoutCoexistd(t *testing.T) {
	onEachMTA(t, func(t *testing.T, mta lab.MTA) {
		toml := withoutHelpers()
		plain := startSite(t, existing(mta, lab.SiteTOML, false))
		s := startSite(t, existing(mta, inMode(toml, "observe", ""), true))
		for _, h := range daysMail("example.net") {
			want := plain.handIn(h)
			if got := s.handIn(h); got != want {
				t.Errorf("%s: it is answered\n%s\nand without coexistd\n%s", h.about, got, want)
			}
		}
		mustBeEqual(t, "observed", s.deliveries(), plain.deliveries())

		s.configure(inMode(toml, "enforce", "observe"))
		m := lab.Plain("eve@example.net", "hugo@globex.example", "enforced")
		if r := s.send(lab.FromInternet, lab.Mail{From: "eve@example.net", To: lab.To("hugo@globex.example"), Data: m}); r.Accepted() {
			t.Errorf("enforced, the same is answered %+v, and must be put off", r)
		}
		s.do(s.Daemon.Stop())
		s.says(exitNo, "messages observed", "Not ready to enforce", "put off by rate", "put off by virus", "virus could not answer", "rate could not answer")
	})
}

func TestABlockedSenderIsHeldForNobodyWhoIsObserved(t *testing.T) {
	onEachMTA(t, func(t *testing.T, mta lab.MTA) {
		toml := checkedTOML("", "", neverReport)
		s := startSite(t, existing(mta, inMode(toml, "enforce", ""), true))
		id := s.hold(programFor(forBob, "the program", 0), forBob)[0].ID
		s.awaitRead(func() { s.says(exitYes, "quarantine block "+id, "eve@example.net is blocked") })
		s.configure(inMode(toml, "enforce", "observe"))

		m := lab.Plain("eve@example.net", forBob, "from who is blocked")
		r := s.says250(lab.FromInternet, "eve@example.net", m, forBob, "hugo@globex.example")
		s.mustArrive(m, "here "+forBob, "here hugo@globex.example")
		line := s.logged(r)
		if line["verdict"] != "accept" || line["observed.verdict"] != "quarantine" || line["observed.check"] != "block" {
			t.Errorf("the log says %v", line)
		}
		if told := line["recipients"]; !strings.Contains(told, "<"+forBob+"> would be here S0=>LD quarantine") {
			t.Errorf("the log says of the recipients: %s", told)
		}

		s.configure(inMode(toml, "enforce", ""))
		m = lab.Plain("eve@example.net", forBob, "once it is enforced")
		s.says250(lab.FromInternet, "eve@example.net", m, forBob)
		s.want("enforced", s.heldFor(m), forBob+" block")
	})
}
