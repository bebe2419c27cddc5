package main

import (
	"bytes"
	"path/filepath"
	"strings"
	"testing"

	"coexistd/contrib/lab"
)

// explainTo runs explain about a message to bob.
func explainTo(config string, args ...string) (status int, out, complaint string) {
	var stdout, stderr bytes.Buffer
	status = run(append([]string{"explain", "-c", config, "--to", "bob@acmecorp.com"}, args...), &stdout, &stderr)
	return status, stdout.String(), stderr.String()
}

// assumedTOML has each check made, by servers that nobody asks.
const assumedTOML = lab.SiteTOML + `
[scanner.clamd]
address = "inet:127.0.0.1:1"
[scanner.rspamd]
address = "http://127.0.0.1:1"
[[rate]]
name  = "per client"
by    = "client"
limit = 1000
per   = "1h"
`

func TestExplainSaysWhatItAssumes(t *testing.T) {
	t.Parallel()
	config := configuration(t, strings.Replace(assumedTOML, `exempt = ["127.0.0.0/8"]`, "", 1), lab.SiteDirectory)
	const clean = " is not asked here: counted as clean"
	all := []string{"ddos" + clean, "rate" + clean, "spoof" + clean, "spam" + clean, "virus" + clean, "malware" + clean}
	const held = "the quarantine's store is not asked here: it is assumed to take the message"
	for _, c := range []struct {
		about      string
		args       []string
		verdict    string
		says, hush []string
	}{
		{"nothing is said", nil, "accept", all, []string{held, "changes nothing"}},
		{"some is said", []string{"--find", "virus=clean", "--find", "ddos=clean"}, "accept", all[1:4], []string{all[0], all[4]}},
		{"spam is held", []string{"--find", "spam=hit:GTUBE"}, "quarantine", []string{"bob@acmecorp.com: spam: it is assumed to find GTUBE", held, all[4]}, []string{all[3]}},
		{"a limit is said to be reached", []string{"--over", "per client"}, "tempfail", []string{`bob@acmecorp.com: rate: "per client" of 127.0.3.1 has no room for 1 more`}, all[1:2]},
		{"a limit that is not there", []string{"--over", "per month"}, "accept", []string{`no [[rate]] has the name "per month"`}, nil},
		{"what nobody asks", []string{"--client", lab.FromUser, "--find", "spam=hit"}, "accept",
			[]string{"spam asks nobody about this message: what --find says of it changes nothing", all[4]}, []string{all[3]}},
		{"a limit that counts nothing", []string{"--on-host", "--client", "", "--over", "per client"}, "accept",
			[]string{`the limit "per client" does not count this message: --over changes nothing`}, nil},
		{"a client who is exempt", []string{"--client", lab.FromUser, "--find", "ddos=hit"}, "accept",
			[]string{"ddos asks nobody about this message: what --find says of it changes nothing"}, nil},
		{"a signature that nobody asks for", []string{"--client", lab.FromUser, "--signed", "acmecorp.com"}, "accept",
			[]string{"nobody asks who has signed this message: --signed changes nothing"}, nil},
		{"a forged author", []string{"--from", "bob@acmecorp.com", "--find", "spoof=hit"}, "reject", nil, nil},
		{"a signed author", []string{"--from", "bob@acmecorp.com", "--find", "spoof=hit", "--signed", "example.net", "--signed", "ACMECORP.com"}, "accept", nil,
			[]string{"changes nothing"}},
	} {
		_, out, complaint := explainTo(config, append([]string{"--from", "eve@example.net", "--client", lab.FromInternet}, c.args...)...)
		if !strings.Contains(out, "\nverdict    "+c.verdict+"\n") || complaint != "" {
			t.Errorf("%s: the verdict is not %s:\n%s%s", c.about, c.verdict, out, complaint)
		}
		for _, text := range c.says {
			if !strings.Contains(out, "  - "+text) {
				t.Errorf("%s: explain does not say %q:\n%s", c.about, text, out)
			}
		}
		for _, text := range c.hush {
			if strings.Contains(out, text) {
				t.Errorf("%s: explain says %q:\n%s", c.about, text, out)
			}
		}
	}
}

func TestExplainSparesForSignaturesOnlyWhatIsSigned(t *testing.T) {
	t.Parallel()
	config := configuration(t, assumedTOML+"\n[[allow]]\nname = \"partner\"\ndkim = [\"partner.example\"]\n", lab.SiteDirectory)
	ask := []string{"--from", "x@partner.example", "--client", lab.FromInternet, "--find", "spam=hit:GTUBE"}
	if _, out, complaint := explainTo(config, ask...); !strings.Contains(out, "\nverdict    quarantine\n") || complaint != "" {
		t.Errorf("without a signature the verdict is not quarantine:\n%s%s", out, complaint)
	}
	_, out, complaint := explainTo(config, append(ask, "--signed", "partner.example")...)
	if !strings.Contains(out, "\nverdict    accept\n") || strings.Contains(out, "changes nothing") || complaint != "" {
		t.Errorf("signed, the verdict is not accept by that:\n%s%s", out, complaint)
	}
}

func TestExplainRefusesAssumptionsThatMeanNothing(t *testing.T) {
	t.Parallel()
	config := configuration(t, assumedTOML, lab.SiteDirectory)
	for _, c := range [][3]string{
		{"--find", "sapm=hit", `"sapm" is not a check`},
		{"--find", "ddos=hit:unknownn", `"unknownn" is no bound of ddos that has a reply of its own; it would be unknown`},
		{"--find", "spam=maybe", `"maybe" is nothing that spam finds; it would be clean, hit or unknown`},
		{"--find", "spam", `"" is nothing that spam finds`},
		{"--find", "ddos=unknown", `"unknown" is nothing that ddos finds; it would be clean or hit`},
		{"--find", "auth=hit", "what auth finds is known; say who the client is by --login, --certificate and --client"},
		{"--find", "rate=hit", "what rate finds is said by --over RULE for each rule"},
		{"--find", "spoof=hit:DMARC", `"DMARC" is nothing that the DNS says against a sender; it would be one of ["dmarc-fails"`},
		{"--signed", "globex..example", `"globex..example" is not a domain`},
		{"--without", "clamd", `"clamd" is nothing that can be left out; it would be spool, store, directory or networks`},
	} {
		if status, out, complaint := explainTo(config, c[0], c[1]); status != exitWrong || out != "" || !strings.Contains(complaint, c[2]) {
			t.Errorf("explain %s %s ended with %d and %q; right is a word of %q:\n%s", c[0], c[1], status, complaint, c[2], out)
		}
	}
}

func TestExplainBeforeTheFirstStartPutsOffWhatADaemonPutsOff(t *testing.T) {
	t.Parallel()
	config := configuration(t, strings.Replace(lab.SiteTOML, `networks = ["127.0.1.0/24"]`, `networks = ["spf:spf.protection.outlook.com"]`, 1), lab.SiteDirectory)
	for _, client := range []string{lab.FromInternet, lab.FromOffice365, ""} {
		status, out, complaint := explainTo(config, "--from", "eve@example.net", "--client", client)
		for _, text := range []string{
			"enters at  S0\n", "\nverdict    tempfail\n", "\nreply      451 4.3.0 The mail system is not ready, try again later\n",
			"\n  verdict    tempfail\n", "the networks of office365 are not known yet: a daemon puts the message off until they are",
		} {
			if !strings.Contains(out, text) {
				t.Errorf("from %q explain does not say %q:\n%s", client, text, out)
			}
		}
		if status != exitWrong || strings.Contains(out, "accept") || complaint != "" {
			t.Errorf("from %q explain ended with %d:\n%s%s", client, status, out, complaint)
		}
	}
	if status, out, _ := explainTo(config, "--from", "bob@acmecorp.com", "--client", lab.FromUser); status != exitYes || !strings.Contains(out, "\nverdict    accept\n") {
		t.Errorf("of our own users' mail explain ended with %d:\n%s", status, out)
	}
}

func TestExplainOfAMessageThatCannotBeReadSaysSo(t *testing.T) {
	t.Parallel()
	config := configuration(t, lab.SiteTOML, lab.SiteDirectory)
	status, out, complaint := explainTo(config, filepath.Join(t.TempDir(), "gone.eml"))
	if status != exitWrong || out != "" || !strings.Contains(complaint, "the message cannot be read: ") {
		t.Errorf("explain ended with %d, %q:\n%s", status, complaint, out)
	}
}

func TestExplainSaysWhatWouldBeWhereTheModeIsObserve(t *testing.T) {
	t.Parallel()
	toml := strings.Replace(assumedTOML, "[domain.\"acmecorp.com\"]\n", "[domain.\"acmecorp.com\"]\nmode = \"observe\"\n", 1)
	config := configuration(t, toml, lab.SiteDirectory)
	for _, c := range []struct {
		about  string
		args   []string
		status int
		says   []string
	}{
		{"spam", []string{"--find", "spam=hit:GTUBE"}, exitYes, []string{
			"\nverdict    accept\nwould be   quarantine\n\nbob@acmecorp.com\n  mode       observe: nothing of this is done, it is what would be\n", "  verdict    quarantine\n",
		}},
		{"an unlisted address", []string{"--to", "nobody@acmecorp.com", "--to", "alice@acmecorp.com"}, exitYes, []string{
			"nobody@acmecorp.com\n  mode       observe", "  verdict    reject\n  reply      550 5.1.1", "\nalice@acmecorp.com\n  mode       observe", "  rewritten  alice@acmecorp-com.onmicrosoft.com\n",
		}},
		{"for both modes", []string{"--to", "hugo@globex.example", "--find", "spam=hit:GTUBE"}, exitNo, []string{
			"\nverdict    quarantine\nwould be   quarantine\n", "hugo@globex.example\n  residence  here\n",
		}},
	} {
		status, out, complaint := explainTo(config, append([]string{"--from", "eve@example.net", "--client", lab.FromInternet}, c.args...)...)
		if status != c.status || complaint != "" {
			t.Errorf("%s: the status is %d, want %d: %s", c.about, status, c.status, complaint)
		}
		for _, text := range c.says {
			if !strings.Contains(out, text) {
				t.Errorf("%s: explain does not say %q:\n%s", c.about, text, out)
			}
		}
	}
	if _, out, _ := explainTo(config, "--from", "eve@example.net", "--json"); !strings.Contains(out, `"observed": {`) || !strings.Contains(out, `"observed": true`) {
		t.Errorf("as JSON it does not say what is observed: %s", out)
	}
}
