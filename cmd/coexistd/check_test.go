package main

import (
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"coexistd/cmd/coexistd/control"
	"coexistd/contrib/lab"
	"coexistd/policy/config"
)

const mistakenTOML = `hostname = "mail.acmecorp.com"
state_dir = "{dir}/state"

[[listen]]
adress = "unix:{dir}/milter.sock"

[platform.office365]
networks = ["40.92/15"]
tenant = "3f2504e0"

[domain."acmecorp.com"]
directory = "users.csv"
alternate = { ofice365 = "acmecorp-com.onmicrosoft.com" }
`

// toldOfMistaken is what is told of mistakenTOML: line, key and part of the reason.
var toldOfMistaken = [][2]string{
	{"coexistd.toml:5: listen.adress: ", `did you mean "address"`},
	{"coexistd.toml:8: platform.office365.networks: ", "40.92.0.0/15"},
	{"coexistd.toml:9: platform.office365.tenant: ", "3f2504e0"},
	{"coexistd.toml:13: ", "office365"},
}

func TestCheckOfASmallFileCountsWhatItHas(t *testing.T) {
	t.Parallel()
	path := configuration(t, "[[listen]]\naddress = \"unix:/tmp/m.sock\"\n[domain.\"acmecorp.com\"]\ndirectory = \"{dir}/users.csv\"\n", "address,residence,login\nalice@acmecorp.com,here,\n")
	_, out, complaint := tell(filepath.Dir(path), "check", "-c", path)
	for _, want := range []string{"\nplatforms  here\n", "\ndomain     acmecorp.com: mx here, 1 address, 1 here, unlisted reject\n"} {
		if !strings.Contains(out, want) {
			t.Errorf("check does not say %q:\n%s%s", want, out, complaint)
		}
	}
}

func TestCheckTellsOfACopyWithoutTheLimitsThatARateNames(t *testing.T) {
	t.Parallel()
	path := configuration(t, `state_dir = "{dir}/state"
[[listen]]
address = "unix:/tmp/m.sock"
[[rate]]
name = "hourly"
by = "user"
per = "1h"
count = "recipients"
limit = 100
column = "hourly"
[source.people]
type = "ldap"
preset = "openldap"
servers = ["ldap://127.0.0.1:1"]
base = "dc=acmecorp,dc=com"
[domain."acmecorp.com"]
directory = "source:people"
`, "")
	dir := filepath.Dir(path)
	copies := filepath.Join(dir, "state", "directories")
	if err := os.MkdirAll(copies, 0o700); err != nil {
		t.Fatal(err)
	}
	const list = "address,residence,login,domains of source:people acmecorp.com\nalice@acmecorp.com,here,alice,\n"
	if err := os.WriteFile(filepath.Join(copies, "people.csv"), []byte(list), 0o600); err != nil {
		t.Fatal(err)
	}
	_, out, complaint := tell(dir, "check", "-c", path)
	for _, want := range []string{"mx here, 1 address, 1 here", `the copy of source:people is from before a [[rate]] named the column "hourly": until the source is read`} {
		if !strings.Contains(out, want) {
			t.Errorf("check does not say %q:\n%s%s", want, out, complaint)
		}
	}
}

func TestCheckSaysOKWithASummary(t *testing.T) {
	t.Parallel()
	path := configuration(t, lab.SiteTOML, lab.SiteDirectory)
	dir := filepath.Dir(path)
	status, out, complaint := tell(dir, "check", "-c", path)
	const want = `ok
listen     unix:{dir}/milter.sock
lookup     unix:{dir}/lookup.sock
platforms  here, google, office365
S0         ddos, spoof, block, malware
S1         block, spam (as the platform says)
S2         ddos, auth, spoof
S3         none
S4         none
domain     acmecorp.com: mx here, 4 addresses, 1 both, 1 here, 1 moving, 1 office365, unlisted reject
domain     globex.example: mx here, 3 addresses, 1 both, 1 google, 1 here, unlisted reject
note       platform google is proven by tenant alone, a header that Exchange Online leaves out at times: such mail of our own users is put off; add proof = { header = "X-Coexist-Proof", secret_file = "proof.key" } and the rule over there that sets it
note       platform office365 is proven by tenant alone, a header that Exchange Online leaves out at times: such mail of our own users is put off; add proof = { header = "X-Coexist-Proof", secret_file = "proof.key" } and the rule over there that sets it
note       there is no [[rate]]: nothing limits how much is sent at S0, S2
note       there is no [scanner.rspamd]: mail is not checked for spam at S0
note       there is no [scanner.clamd]: mail is not checked for virus at S0, S1, S2
`
	if status != exitYes || out != want || complaint != "" {
		t.Errorf("check ended with %d, %q and\n%s\nright is\n%s", status, complaint, out, want)
	}
}

func TestCheckTellsOfMissingLoginsOnlyWhereNoDirectoryOfTheDomainHasThem(t *testing.T) {
	t.Parallel()
	for directory, tells := range map[string]bool{`"aliases.csv"`: true, `["aliases.csv", "users.csv"]`: false} {
		path := configuration(t, strings.Replace(lab.SiteTOML, `directory = "users.csv"`, "directory = "+directory, 1), lab.SiteDirectory)
		if tells {
			os.WriteFile(filepath.Join(filepath.Dir(path), "users.csv"), []byte("address,residence,login\nhugo@globex.example,here,hugo\n"), 0o644)
		}
		os.WriteFile(filepath.Join(filepath.Dir(path), "aliases.csv"), []byte("address,residence\nroot@acmecorp.com,here\n"), 0o644)
		status, out, complaint := tell(filepath.Dir(path), "check", "-c", path)
		if status != exitYes || strings.Contains(out, "aliases.csv names no login") != tells {
			t.Errorf("with directory = %s check ends with %d and\n%s%s", directory, status, out, complaint)
		}
	}
}

func TestCheckPrintsItsSummaryAsJSON(t *testing.T) {
	t.Parallel()
	path := configuration(t, lab.SiteTOML, "address,residence\n"+`"""a@b""@acmecorp.com",office365`+"\n")
	status, out, _ := tell(filepath.Dir(path), "check", "--json", "-c", path)
	const want = `{
  "ok": true,
  "errors": [],
  "notes": [
    "platform google is proven by tenant alone, a header that Exchange Online leaves out at times: such mail of our own users is put off; add proof = { header = \"X-Coexist-Proof\", secret_file = \"proof.key\" } and the rule over there that sets it",
    "platform office365 is proven by tenant alone, a header that Exchange Online leaves out at times: such mail of our own users is put off; add proof = { header = \"X-Coexist-Proof\", secret_file = \"proof.key\" } and the rule over there that sets it",
    "there is no [[rate]]: nothing limits how much is sent at S0, S2",
    "there is no [scanner.rspamd]: mail is not checked for spam at S0",
    "there is no [scanner.clamd]: mail is not checked for virus at S0, S1, S2",
    "{dir}/users.csv names no login: users who are logged in can write only as their login, when that is an address, or as a delegate of [check.spoof]"
  ],
  "listeners": [
    "unix:{dir}/milter.sock"
  ],
  "lookups": [
    "unix:{dir}/lookup.sock"
  ],
  "platforms": [
    "google",
    "office365"
  ],
  "upstreams": [],
  "checks": [
    {
      "point": "S0",
      "past_mx": false,
      "checks": [
        "ddos",
        "spoof",
        "block",
        "malware"
      ],
      "report": true
    },
    {
      "point": "S1",
      "past_mx": false,
      "checks": [
        "block",
        "spam"
      ],
      "by_word": [
        "spam"
      ],
      "report": false
    },
    {
      "point": "S2",
      "past_mx": false,
      "checks": [
        "ddos",
        "auth",
        "spoof"
      ],
      "report": false
    },
    {
      "point": "S3",
      "past_mx": false,
      "checks": [],
      "report": false
    },
    {
      "point": "S4",
      "past_mx": false,
      "checks": [],
      "report": false
    }
  ],
  "domains": [
    {
      "domain": "acmecorp.com",
      "mx": "here",
      "unlisted": "reject",
      "addresses": 1,
      "residence": {
        "office365": 1
      }
    },
    {
      "domain": "globex.example",
      "mx": "here",
      "unlisted": "reject",
      "addresses": 0,
      "residence": {}
    }
  ]
}
`
	if status != exitYes || out != want {
		t.Errorf("check --json ended with %d and\n%s\nright is\n%s", status, out, want)
	}
}

func TestCheckSaysWhichChecksEachPointMakes(t *testing.T) {
	t.Parallel()
	path := configuration(t, lab.SiteTOML+`
[domain."past.example"]
mx       = "office365"
unlisted = "here"

[scanner.clamd]
address = "unix:{dir}/clamd.sock"
[scanner.rspamd]
address = "http://127.0.0.1:11333"

[checkpoint.S3]
checks = ["loop", "malware"]
`, lab.SiteDirectory)
	status, out, _ := tell(filepath.Dir(path), "check", "-c", path)
	const want = `
S0         ddos, spoof, block, spam, virus, malware
S0 past MX ddos, spoof, block, virus, malware
S1         block, spam (as the platform says), virus
S2         ddos, auth, spoof, virus
S3         malware
S4         none
`
	if status != exitYes || !strings.Contains(out, want) {
		t.Errorf("check ended with %d and\n%s\nright is\n%s", status, out, want)
	}
}

func TestCheckTellsAllMistakesAtOnce(t *testing.T) {
	t.Parallel()
	path := configuration(t, mistakenTOML, lab.SiteDirectory)
	for _, args := range [][]string{{"check", "-c", path}, {"check", "--json", "-c", path}} {
		status, out, complaint := tell(filepath.Dir(path), args...)
		if status != exitNo {
			t.Errorf("%q ended with %d; 1 is right", args, status)
		}
		mustName(t, out+complaint, toldOfMistaken)
	}

	path = configuration(t, lab.SiteTOML, "address,residence\nalice@acmecorp.com,nowhere\nbob@example.org,here\nalice\n")
	status, out, complaint := tell(filepath.Dir(path), "check", "-c", path)
	if status != exitNo || out != "" {
		t.Errorf("a bad directory: check ended with %d and %q", status, out)
	}
	rows := [][2]string{{"users.csv:2: ", "nowhere"}, {"users.csv:3: ", "example.org"}, {"users.csv:4: ", ""}}
	mustName(t, complaint, rows)

	path = configuration(t, "max_passes = 0\n"+lab.SiteTOML, "address,residence\nalice@acmecorp.com,nowhere\nbob@example.org,here\nalice\n")
	_, _, complaint = tell(filepath.Dir(path), "check", "-c", path)
	mustName(t, complaint, append(rows, [2]string{"coexistd.toml:1: ", "max_passes"}))
}

// mustName checks that each mistake has a line of its own.
func mustName(t *testing.T, text string, mistakes [][2]string) {
	t.Helper()
	lines := strings.Split(strings.TrimSpace(strings.ReplaceAll(text, `\"`, `"`)), "\n")
	for _, m := range mistakes {
		if !slices.ContainsFunc(lines, func(line string) bool { return strings.Contains(line, m[0]) && strings.Contains(line, m[1]) }) {
			t.Errorf("no line has %q and %q:\n%s", m[0], m[1], text)
		}
	}
}

func TestServeDoesNotStartWithAMistakenConfiguration(t *testing.T) {
	t.Parallel()
	path := configuration(t, mistakenTOML, lab.SiteDirectory)
	status, _, complaint := tell(filepath.Dir(path), "serve", "-c", path)
	if status != exitNo {
		t.Errorf("serve ended with %d; 1 is right", status)
	}
	mustName(t, complaint, toldOfMistaken)
}

func TestWrongUsageEndsWithStatus2(t *testing.T) {
	t.Parallel()
	path := configuration(t, lab.SiteTOML, lab.SiteDirectory)
	for _, c := range []struct{ args, complaint string }{
		{"", "serve       run the daemon"},
		{"sevre", `there is no command "sevre"`},
		{"check --jsn", "-jsn"},
		{"check -c " + path + " more", `"more" is one argument too many`},
		{"serve -c " + path + " more", `"more" is one argument too many`},
		{"version more", `"more" is one argument too many`},
		{"demo", `there is no command "demo"`},
		{"explain -c " + path + " --from a@example.net", "--to is missing"},
		{"explain -c " + path + " --to alice@acmecorp.com --client nowhere", `--client "nowhere"`},
		{"explain -c " + path + " --to alice@acmecorp.com --listener 2", "--listener 2"},
		{"explain -c " + path + " --to alice@acmecorp.com /does/not/exist.eml", "/does/not/exist.eml"},
		{"explain -c " + path + " --to alice@acmecorp.com one.eml two.eml", `"two.eml" is one argument too many`},
		{"explain -c /does/not/exist.toml --to alice@acmecorp.com", "/does/not/exist.toml"},
	} {
		status, out, complaint := tell(filepath.Dir(path), strings.Fields(c.args)...)
		if status != exitWrong || out != "" || !strings.Contains(complaint, c.complaint) {
			t.Errorf("%q ended with %d, %q and %q", c.args, status, out, complaint)
		}
	}
	for _, args := range []string{"help", "--help", "check --help", "version"} {
		if status, _, _ := tell(filepath.Dir(path), strings.Fields(args)...); status != exitYes {
			t.Errorf("%q ended with %d; 0 is right", args, status)
		}
	}
}

func TestCheckRefusesReportsThatNobodyWouldGet(t *testing.T) {
	t.Parallel()
	for report, want := range map[string]string{
		"contact = \"bob@acmecorp.com\"":                                       "",
		"contact = \"Bob+q@Acmecorp.com\"":                                     "",
		"contact = \"abuse@acmecorp.com\"":                                     "",
		"contact = \"helpdesk@elsewhere.example\"":                             "",
		"contact = \"helpdesk@open.example\"":                                  "",
		"contact = \"helpdesk@acmecorp.com\"":                                  "quarantine.report.contact: helpdesk@acmecorp.com is not in the directory of acmecorp.com, so that mail to it is refused",
		"from = \"reports@acmecorp.com\"":                                      "quarantine.report.from: reports@acmecorp.com is not in the directory",
		"summary = [\"bob@acmecorp.com\", \"x@acmecorp.com\"]\nat = \"never\"": "quarantine.report.summary: x@acmecorp.com is not in the directory",
	} {
		path := configuration(t, lab.SiteTOML+"[domain.\"open.example\"]\nunlisted = \"here\"\n[quarantine.report]\n"+report+"\n", lab.SiteDirectory)
		status, _, complaint := tell(filepath.Dir(path), "check", "-c", path)
		if refused := status == exitNo; refused != (want != "") || !strings.Contains(complaint, want) || strings.Count(complaint, "quarantine.report") > 1 {
			t.Errorf("%s: check ended with %d and %q, not %q", report, status, complaint, want)
		}
	}
}

func TestCheckTellsOfAPortThatAnotherProgramHas(t *testing.T) {
	t.Parallel()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	address := "inet:" + listener.Addr().String()
	path := configuration(t, lab.SiteTOML+"[[lookup]]\naddress = \""+address+"\"\n", lab.SiteDirectory)
	status, out, complaint := tell(filepath.Dir(path), "check", "-c", path)
	if status != exitNo || !strings.Contains(complaint, address+" is taken by another program") {
		t.Errorf("check ended with %d and %s%s", status, out, complaint)
	}
	conf := config.Load(path).Config
	running := &control.Status{Listeners: []control.Listener{{Address: address}}}
	if errs := takenPorts(conf, running); errs != nil {
		t.Errorf("of the daemon's own port check says %q", errs)
	}
	inOtherWords := "inet:" + strings.Replace(listener.Addr().String(), "127.0.0.1", "localhost", 1)
	running.Listeners[0].Address = inOtherWords
	want := address + " is taken by the running daemon itself, which listens on " + inOtherWords
	if errs := takenPorts(conf, running); len(errs) != 1 || !strings.HasPrefix(errs[0], want) {
		t.Errorf("of the daemon's own port in other words check says %q, not %q", errs, want)
	}
}

func TestTheToolsSayWhereADomainHasTheUsersOfAnother(t *testing.T) {
	t.Parallel()
	path := configuration(t, lab.SiteTOML+"\n[domain.\"mail.acmecorp.com\"]\nsame_as = \"acmecorp.com\"\nunlisted = \"here\"\n", lab.SiteDirectory)
	for _, c := range []struct {
		args []string
		says string
	}{
		{[]string{"check"}, "\ndomain     mail.acmecorp.com: mx here, same as acmecorp.com, unlisted here\n"},
		{[]string{"directory", "find", "Alice+x@mail.acmecorp.com"},
			"lives    office365\ngoes to  Alice+x@acmecorp-com.onmicrosoft.com\nsource   {dir}/users.csv, line 2: alice@acmecorp.com lives office365\n"},
		{[]string{"directory", "find", "root@mail.acmecorp.com"}, "address  root@mail.acmecorp.com\nlives    here"},
		{[]string{"explain", "--on-host", "--from", "bob@acmecorp.com", "--to", "alice@mail.acmecorp.com"},
			"alice@mail.acmecorp.com\n  residence  office365\n  flow       S2=>S4=>O1=>LD\n  rewritten  alice@acmecorp-com.onmicrosoft.com\n"},
	} {
		status, out, complaint := tell(filepath.Dir(path), append(c.args, "-c", path)...)
		if status != exitYes || !strings.Contains(out, c.says) {
			t.Errorf("%q ended with %d and\n%s%s\nright is %q", c.args, status, out, complaint, c.says)
		}
	}
}
