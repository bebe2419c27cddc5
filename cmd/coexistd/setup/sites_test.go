package setup_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"coexistd/cmd/coexistd/setup"
	"coexistd/cmd/coexistd/zone"
	"coexistd/contrib/lab"
	"coexistd/policy/config"
)

// siteNames are the set-ups that people follow guides for. Each has a configuration
// (NAME.toml), its users (NAME.csv), what was asked for it (NAME.json), and a Postfix (NAME.main.cf,
// NAME.master.cf) in testdata, and for
// each side the guide that comes of it: NAME.SIDE.want, NAME.SIDE.retire.want.
var siteNames = []string{
	"google-alternate", "hybrid-onmicrosoft", "mx-both", "office365-connector-google-gateway", "skyconnect-office365",
}

// proofSecret is what proof.key holds at each site.
const proofSecret = "correct-horse-battery-staple"

// siteFolder is where the configuration of a site stands by its guides.
const siteFolder = "/etc/coexistd"

// readSite surveys a site of testdata, with a name server that knows what NAME.json says, and
// what platforms.json says of the platforms.
func readSite(t *testing.T, name string) *setup.Site {
	t.Helper()
	var facts struct {
		Certificate []string
		DNS         zone.Answers
	}
	if err := errors.Join(json.Unmarshal(testdata(t, "platforms.json"), &facts), json.Unmarshal(testdata(t, name+".json"), &facts)); err != nil {
		t.Fatal(err)
	}
	site := survey(t, string(testdata(t, name+".toml")), string(testdata(t, name+".csv")), facts.DNS)
	site.CertificateNames = facts.Certificate
	return site
}

// postfixOf has NAME.main.cf and NAME.master.cf.
func postfixOf(t *testing.T, name string, site *setup.Site) *realPostfix {
	t.Helper()
	dir := t.TempDir()
	for _, file := range []string{"main.cf", "master.cf"} {
		if err := os.WriteFile(filepath.Join(dir, file), testdata(t, name+"."+file), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return startPostfix(t, dir, site)
}

func testdata(t *testing.T, file string) []byte {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("testdata", file))
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// survey surveys a site of a configuration and a directory, users.csv, with a name server that
// knows just these answers. No MTA is asked.
func survey(t *testing.T, toml, users string, answers zone.Answers) *setup.Site {
	t.Helper()
	dns, err := lab.StartDNS()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { dns.Close() })
	for name, records := range answers {
		publish(dns, name, records)
	}
	dir := t.TempDir()
	for file, text := range map[string]string{"coexistd.toml": fmt.Sprintf("resolver = %q\n", dns.Addr) + toml, "users.csv": users, "proof.key": proofSecret + "\n", "google.key": "another-" + proofSecret + "\n"} {
		if err := os.WriteFile(filepath.Join(dir, file), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	reading := config.Load(filepath.Join(dir, "coexistd.toml"))
	if reading.Config == nil {
		t.Fatal(reading.Problems)
	}
	site := setup.Survey(t.Context(), reading.Config)
	site.Postfix, site.CertificateNames = nil, nil
	return site
}

// publish has a name server know the records of a name.
func publish(dns *lab.DNS, name string, records zone.Records) {
	var mx, v4, v6 []string
	for i, host := range records.MX {
		mx = append(mx, fmt.Sprintf("%d %s", 10*(i+1), host))
	}
	for _, address := range records.Addresses {
		if strings.Contains(address, ":") {
			v6 = append(v6, address)
		} else {
			v4 = append(v4, address)
		}
	}
	dns.Set(name, "MX", mx...)
	dns.Set(name, "A", v4...)
	dns.Set(name, "AAAA", v6...)
	dns.Set(name, "TXT", records.TXT...)
}

// guideText is a side's guide as it is printed where the configuration stands in siteFolder;
// without one, why there is none.
func guideText(site *setup.Site, side string, retire bool) string {
	guide, err := setup.Make(side, site, retire)
	if err != nil {
		return err.Error() + "\n"
	}
	there := func(text *string) { *text = strings.ReplaceAll(*text, filepath.Dir(site.Conf.Path), siteFolder) }
	there(&guide.Intro)
	for i := range guide.Steps {
		there(&guide.Steps[i].Text)
		there(&guide.Steps[i].Code)
	}
	var text strings.Builder
	guide.Write(&text)
	return text.String()
}

// postfixAsKnown is a site with its Postfix, on which the guide was carried out when it is to be undone.
func postfixAsKnown(t *testing.T, name string, site *setup.Site, retire bool) *setup.Site {
	t.Helper()
	r := postfixOf(t, name, site)
	if retire {
		r.apply(false)
	} else {
		r.read()
	}
	return r.site
}

// With WRITE_GUIDES in the environment, the test writes what it would look for.
func TestEachSitesGuidesAreAsTheyWereLookedAt(t *testing.T) {
	t.Parallel()
	for _, name := range siteNames {
		for _, side := range setup.Sides() {
			if side == "sendmail" {
				continue // Its sites have their Sendmail in a test of its own.
			}
			for _, retire := range []bool{false, true} {
				file := fmt.Sprintf("testdata/%s.%s.want", name, side)
				if retire {
					file = fmt.Sprintf("testdata/%s.%s.retire.want", name, side)
				}
				site := readSite(t, name)
				if side == "postfix" {
					site = postfixAsKnown(t, name, site, retire)
				}
				got := guideText(site, side, retire)
				if os.Getenv("WRITE_GUIDES") != "" {
					if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
						t.Fatal(err)
					}
				}
				want, err := os.ReadFile(file)
				if err != nil && !errors.Is(err, os.ErrNotExist) {
					t.Fatal(err)
				}
				if got != string(want) {
					t.Errorf("%s is not what is said now; run the tests of this package with WRITE_GUIDES=1, and look at what changed. %s", file, firstDifference(got, string(want)))
				}
			}
		}
	}
}

func firstDifference(got, want string) string {
	lines, wanted := slices.Collect(strings.Lines(got)), slices.Collect(strings.Lines(want))
	for i := range max(len(lines), len(wanted)) {
		switch {
		case i >= len(lines):
			return fmt.Sprintf("It ends before line %d: %q", i+1, wanted[i])
		case i >= len(wanted):
			return fmt.Sprintf("It goes on with line %d: %q", i+1, lines[i])
		case lines[i] != wanted[i]:
			return fmt.Sprintf("Line %d is %q, not %q", i+1, lines[i], wanted[i])
		}
	}
	return ""
}
