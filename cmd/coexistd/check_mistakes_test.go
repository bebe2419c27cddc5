package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"coexistd/cmd/coexistd/control"
	"coexistd/contrib/lab"
)

// sourceTOML has acmecorp.com's users in a file and in LDAP behind it.
var sourceTOML = strings.NewReplacer(
	`directory = "users.csv"`+"\nalternate = { office365", `directory = ["users.csv", "source:people"]`+"\nalternate = { office365",
	"may_relay = true\n\n[platform.google]", "relay = \"[mail.acmecorp.com]\"\n\n[platform.google]",
).Replace(lab.SiteTOML) + `
[source.people]
type    = "ldap"
preset  = "mithi"
servers = ["ldap://127.0.0.1:1"]
base    = "dc=acmecorp,dc=com"
`

// people is what the daemon has kept of that source.
const people = `address,residence,login,target,kind,origin,domains of source:people acmecorp.com
bob@acmecorp.com,office365,bob,,,"uid=bob,dc=acmecorp,dc=com",
eve@acmecorp.com,here,eve,,,"uid=eve,ou=a",
evelyn@acmecorp.com,here,eve,,,"uid=eve,ou=b",
lost@acmecorp.com,,lost,,,uid=lost,
far@acmecorp.com,yahoo,far,,,uid=far,
ring@acmecorp.com,office365,ring,ringo@acmecorp.com,,uid=ring,
sales@acmecorp.com,here,mia,,,uid=mia,
sales@acmecorp.com,office365,noa,,,uid=noa,
press@acmecorp.com,here,mia,,,uid=mia,
press@acmecorp.com,here,noa,,,uid=noa,
`

// keepPeople puts that beside a configuration, and returns its path.
func keepPeople(t *testing.T, list string) (path string) {
	t.Helper()
	path = configuration(t, sourceTOML, lab.SiteDirectory)
	dir := filepath.Join(filepath.Dir(path), "state", "directories")
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	if list == "" {
		return path
	}
	if err := os.WriteFile(filepath.Join(dir, "people.csv"), []byte(list), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestCheckTellsTheMistakesOfASourceWithWhatWouldBeRight(t *testing.T) {
	t.Parallel()
	path := keepPeople(t, people)
	status, out, complaint := tell(filepath.Dir(path), "check", "-c", path)
	const want = `domain     acmecorp.com: mx here, 11 addresses, 1 both, 4 here, 1 moving, 1 office365, 4 unclear, unlisted reject
domain     globex.example: mx here, 3 addresses, 1 both, 1 google, 1 here, unlisted reject
note       platform google is proven by tenant alone, a header that Exchange Online leaves out at times: such mail of our own users is put off; add proof = { header = "X-Coexist-Proof", secret_file = "proof.key" } and the rule over there that sets it
note       the relay of platform office365 is this host, mail.acmecorp.com: its mail would come back; write the host that takes mail for office365
note       platform office365 is proven by tenant alone, a header that Exchange Online leaves out at times: such mail of our own users is put off; add proof = { header = "X-Coexist-Proof", secret_file = "proof.key" } and the rule over there that sets it
note       there is no [[rate]]: nothing limits how much is sent at S0, S2
note       there is no [scanner.rspamd]: mail is not checked for spam at S0
note       there is no [scanner.clamd]: mail is not checked for virus at S0, S1, S2
note       source:people:5: the row has no residence; source.people.residence says what its entry's value means, or the default of all; mail for lost@acmecorp.com is put off (uid=lost); correct the entry there; the daemon takes it at its next reading
note       source:people:6: residence "yahoo" is not known for acmecorp.com; it would be here, both, moving or one of office365; mail for far@acmecorp.com is put off (uid=far); correct the entry there; the daemon takes it at its next reading
note       source:people:7: the target ringo@acmecorp.com would come back: acmecorp.com is one of our domains; it would be of acmecorp-com.onmicrosoft.com; mail for ring@acmecorp.com is put off (uid=ring); correct the entry there; the daemon takes it at its next reading
note       source:people:9: sales@acmecorp.com is the address of two entries, uid=mia and uid=noa, of which one lives here and the other office365; mail for it is put off; take it from the one that does not own it; correct the entry there; the daemon takes it at its next reading
note       source:people:11: press@acmecorp.com is the address of two entries, uid=mia and uid=noa, of which the first counts, with its login "mia"; take it from the one that does not own it; correct the entry there; the daemon takes it at its next reading
note       bob@acmecorp.com lives here by {dir}/users.csv:3, which counts, and office365 by source:people (uid=bob,dc=acmecorp,dc=com); take the one out that is wrong, or leave it to the first: coexistd directory find ADDRESS tells which counts
note       source:people: the login "eve" has two owners: uid=eve,ou=a with eve@acmecorp.com, and uid=eve,ou=b with evelyn@acmecorp.com; either may write as the other; give each a login of its own, or the kind shared to what several people use
`
	if status != exitYes || !strings.HasSuffix(out, want) || complaint != "" {
		t.Errorf("check ended with %d, %q and\n%s\nright at its end is\n%s", status, complaint, out, want)
	}
}

func TestCheckCountsNobodyBehindASourceThatWasNotRead(t *testing.T) {
	t.Parallel()
	path := configuration(t, strings.Replace(sourceTOML, `["users.csv", "source:people"]`, `["source:people", "users.csv"]`, 1), lab.SiteDirectory)
	_, out, _ := tell(filepath.Dir(path), "check", "-c", path)
	for _, want := range []string{
		"domain     acmecorp.com: mx here, 4 addresses, 4 undecided, unlisted reject\n",
		"domain     globex.example: mx here, 3 addresses, 1 both, 1 google, 1 here, unlisted reject\n",
		"note       source:people has not been read yet",
	} {
		if !strings.Contains(out, want) {
			t.Errorf("check does not say %q:\n%s", want, out)
		}
	}
	dir := filepath.Dir(path)
	status, out, complaint := tell(dir, "directory", "find", "-c", path, "bob@acmecorp.com")
	const found = `address  bob@acmecorp.com
lives    nobody can tell
answer   451 4.3.0 The directory cannot be read at the moment, try again later
source   {dir}/users.csv, line 3: bob@acmecorp.com lives here, login bob, which does not count: source:people, which is asked before, cannot say yet whether it has the address
`
	if status != exitWrong || withoutSince(out) != found || !strings.Contains(complaint, "source:people has not been read yet") || !strings.Contains(complaint, "by the files: no daemon runs") {
		t.Errorf("find ended with %d, %q and\n%s\nright is\n%s", status, complaint, out, found)
	}
	if _, out, _ := tell(dir, "directory", "list", "-c", path); strings.Contains(out, "acmecorp.com") || !strings.Contains(out, "hugo@globex.example") {
		t.Errorf("list lists who does not count:\n%s", out)
	}
	if _, out, _ := tell(dir, "directory", "list", "-c", path, filepath.Join(dir, "users.csv")); !strings.Contains(out, "(does not count: source:people, which is asked before, cannot say yet whether it has the address)") {
		t.Errorf("list of the file does not say that it does not count:\n%s", out)
	}
}

// withoutSince drops the times, which each run has of its own.
func withoutSince(out string) string {
	var kept strings.Builder
	for line := range strings.Lines(out) {
		if !strings.HasPrefix(line, "  since  ") {
			kept.WriteString(line)
		}
	}
	return kept.String()
}

func TestFindTellsWhichEntryCountsAndSinceWhen(t *testing.T) {
	t.Parallel()
	begun := time.Now().Add(-2 * time.Second)
	path := keepPeople(t, people)
	dir := filepath.Dir(path)
	for address, c := range map[string]struct {
		status int
		out    string
	}{
		"Bob+x@acmecorp.com": {exitYes, `address  bob+x@acmecorp.com
lives    here
source   {dir}/users.csv, line 3: bob@acmecorp.com lives here, login bob
source   source:people, line 2: bob@acmecorp.com lives office365, login bob, entry uid=bob,dc=acmecorp,dc=com, which does not count: {dir}/users.csv, which is asked before, has the address
`},
		"sales@acmecorp.com": {exitWrong, `address  sales@acmecorp.com
lives    nobody can tell
answer   451 4.3.0 The directory cannot be read at the moment, try again later
source   source:people, line 8: sales@acmecorp.com lives unclear, login mia, entry uid=mia, which does not count: it does not say where the mailbox lives, or two entries contradict each other
`},
		"nobody@acmecorp.com": {exitNo, "address  nobody@acmecorp.com\nlives    nobody has it\nanswer   550 5.1.1 The address is not known here\n"},
	} {
		status, out, complaint := tell(dir, "directory", "find", "-c", path, address)
		if status != c.status || withoutSince(out) != c.out {
			t.Errorf("find %s ended with %d, %q and\n%s\nright is %d and\n%s", address, status, complaint, out, c.status, c.out)
		}
		_, out, _ = tell(dir, "directory", "find", "--json", "-c", path, address)
		var found control.Found
		if err := json.Unmarshal([]byte(out), &found); err != nil {
			t.Error(err)
		}
		for _, row := range found.Rows {
			if row.Since.Before(begun) || row.Since.After(time.Now()) {
				t.Errorf("%s is so since %v, and was written after %v", address, row.Since, begun)
			}
		}
	}
	if status, _, complaint := tell(dir, "directory", "find", "-c", path, "x@elsewhere.example"); status != exitWrong || !strings.Contains(complaint, "is not an address of a domain of ours") {
		t.Errorf("of a stranger find says %q, and ends with %d", complaint, status)
	}
}

// What the configuration does not know of most entries is its own mistake.
func TestCheckRefusesASourceOfWhichMostMailWouldBePutOff(t *testing.T) {
	t.Parallel()
	list, _, _ := strings.Cut(people, "\n")
	list += "\na@acmecorp.com,here,,,,uid=a,\n"
	for _, name := range []string{"b", "c", "d"} {
		list += name + "@acmecorp.com,exchange,,,,uid=" + name + ",\n"
	}
	path := keepPeople(t, list)
	status, _, complaint := tell(filepath.Dir(path), "check", "-c", path)
	const want = `source:people: of 4 addresses 3 do not say where they live, so that their mail is put off: residence "exchange" is not known for acmecorp.com; it would be here, both, moving or one of office365; mail for b@acmecorp.com is put off (uid=b)`
	if status != exitNo || complaint != want+"\n" {
		t.Errorf("check ended with %d and %s", status, complaint)
	}
}
