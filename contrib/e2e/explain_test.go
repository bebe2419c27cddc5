package e2e

import (
	"encoding/json"
	"regexp"
	"strings"
	"testing"

	"coexistd/contrib/lab"
)

func TestExplainForeseesWhatADaemonWithoutItsFilesSays(t *testing.T) {
	t.Parallel()
	dns := startNames(t)
	dns.Set(outlook, "TXT", "v=spf1 ip4:127.0.1.0/24 -all")
	d := startAgreed(t, listedTOML(dns, "spf:"+outlook, agreePlaces))
	if _, err := d.WaitLog(deadline(t), regexp.MustCompile("the networks of a platform are known")); err != nil {
		t.Fatal(err)
	}
	// The list is saved when the daemon has ended.
	if err := d.Stop(); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		without, client, verdict, reply string
	}{
		{"", lab.FromInternet, "accept", ""},
		{"networks", lab.FromInternet, "tempfail", "451 4.3.0 The mail system is not ready, try again later"},
		{"networks", lab.FromOffice365, "tempfail", "451 4.3.0 The mail system is not ready, try again later"},
		{"networks", lab.FromGoogle, "accept", ""}, // the file has them
		{"networks", lab.FromUser, "accept", ""},
		{"directory", lab.FromInternet, "tempfail", "451 4.3.0 The directory cannot be read at the moment, try again later"},
		{"directory", lab.FromUser, "tempfail", "451 4.3.0 The directory cannot be read at the moment, try again later"},
	} {
		args := []string{"--json", "--from", "eve@example.net", "--client", c.client}
		if c.without != "" {
			args = append(args, "--without", c.without)
		}
		_, out, complaint := run(t, append([]string{"explain", "-c", d.config, "--to", "bob@acmecorp.com"}, args...)...)
		var e explanation
		if err := json.Unmarshal([]byte(out), &e); err != nil {
			t.Fatalf("%v: %s%s", err, out, complaint)
		}
		if e.Verdict != c.verdict || e.Reply != c.reply || e.Recipients[0].Reply != c.reply {
			t.Errorf("from %s without %q explain says %s %q; right is %s %q:\n%s", c.client, c.without, e.Verdict, e.Reply, c.verdict, c.reply, out)
		}
	}
}

func TestTheFlowsOfAListThatIsNotFetchedYetEnterAtS1(t *testing.T) {
	t.Parallel()
	listed := strings.Replace(lab.SiteTOML, `networks = ["127.0.1.0/24"]`, `networks = ["spf:`+outlook+`"]`, 1)
	for _, c := range []struct{ about, toml, flow string }{
		{"from a list", listed, "O2=>O3=>S1=>LD"},
		{"MX there", withMX(listed, withOffice), "O1=>O3=>S1=>LD"},
		{"without a proof", strings.Replace(strings.Replace(listed, "may_relay = true\n", "", 1), `tenant   = "`+lab.OfficeTenant+`"`, "", 1), "O2=>O3=>S0=>LD"},
		{"without networks", strings.Replace(lab.SiteTOML, `networks = ["127.0.1.0/24"]`, "", 1), "O2=>O3=>S0=>LD"},
	} {
		config := configuration(t, c.toml, lab.SiteDirectory)
		status, out, complaint := run(t, "explain", "-c", config, "--flows")
		if status != exitYes {
			t.Fatalf("%s: explain --flows ended with %d:\n%s", c.about, status, complaint)
		}
		office, _, _ := strings.Cut(out, "globex.example and google")
		if !strings.Contains(office, " "+c.flow+"\n") {
			t.Errorf("%s: no flow is %s:\n%s", c.about, c.flow, office)
		}
	}
}
