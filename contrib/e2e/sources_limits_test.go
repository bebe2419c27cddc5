package e2e

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"coexistd/contrib/lab"
)

// limitedPerson is an entry of slapd with limits of its own: messages and octets a day.
func limitedPerson(uid, daily, volume string) string {
	entry := strings.TrimSuffix(person(uid, ""), "\n")
	for attribute, value := range map[string]string{"employeeNumber": daily, "departmentNumber": volume} {
		if value != "" {
			entry += attribute + ": " + value + "\n"
		}
	}
	return entry + "\n"
}

// limitsTOML counts by what those attributes say.
const limitsTOML = `
[source.people.columns]
daily  = "employeeNumber"
volume = "departmentNumber"

[[rate]]
name   = "messages"
by     = "user"
limit  = 2
per    = "1d"
column = "daily"

[[rate]]
name   = "octets"
by     = "user"
count  = "bytes"
limit  = 100000
per    = "1d"
column = "volume"
`

func TestLimitsThatLDAPGivesToUsersHoldAtPostfixWithRedis(t *testing.T) {
	t.Parallel()
	slapd := startSlapd(t, lab.SlapdConfig{})
	entries := limitedPerson("bob", "1", "") + limitedPerson("carol", "unlimited", "3000") + limitedPerson("dave", "", "") + limitedPerson("erin", "many", "")
	if err := slapd.Apply(deadline(t), entries); err != nil {
		t.Fatal(err)
	}
	const own = "address,residence,login,daily,volume\nhugo@globex.example,here,hugo,3,\n"
	s := startSubmission(t, lab.SiteConfig{Program: patient(t), Directory: own}, ratedLogins...)
	s.do(os.WriteFile(filepath.Join(s.Dir, "ldap.password"), []byte(lab.SlapdReaderPassword+"\n"), 0o600))
	s.configure(strings.Replace(submissionTOML, `directory = "users.csv"`, `directory = "source:people"`, 1) +
		redisTOML(startRedis(t, lab.RedisConfig{}).Addr) + strings.NewReplacer("{ldap}", slapd.URL).Replace(ldapTOML) + limitsTOML)
	s.waitDaemonLog(`msg="directory loaded" path=source:people addresses=4`)
	sent := 0
	send := func(about string, all ...rated) {
		t.Helper()
		for _, r := range all {
			sent++
			s.mustAnswerRated(about, r, r.mail("l"+strings.Repeat("i", sent)))
		}
	}
	send("a limit of one's own", rated{by: "bob"}, rated{by: "bob", want: tooMany + in1Day})
	send("no limit on messages, one on octets", rated{by: "carol", size: 900}, rated{by: "carol", size: 900}, rated{by: "carol", size: 900})
	// What comes back in the meantime is less than that.
	if r := s.postRated(rated{by: "carol"}, rated{by: "carol", size: 2000}.mail("volume")); !strings.HasPrefix(r.Data.String(), tooManyBytes) {
		t.Errorf("over the octets of one's own: answered %+v", r)
	}
	send("none said", rated{by: "dave"}, rated{by: "dave"}, rated{by: "dave", want: tooMany + in12Hours})
	send("one that is none", rated{by: "erin"}, rated{by: "erin"}, rated{by: "erin", want: tooMany + in12Hours})
	send("of a file", rated{by: "hugo", from: "hugo@globex.example"}, rated{by: "hugo", from: "hugo@globex.example"}, rated{by: "hugo", from: "hugo@globex.example"},
		rated{by: "hugo", from: "hugo@globex.example", want: tooMany + in8Hours})
	s.says(exitYes, "check", `of erin@acmecorp.com the column "daily" holds "many"`, "that of the rule counts (uid=erin,ou=people,dc=acmecorp,dc=com)")
	if strings.Contains(s.Daemon.Log(), "Redis does not answer") {
		t.Error("Redis was not asked all the time")
	}

	// A limit that is lifted over there counts with the next reading.
	s.do(slapd.Apply(deadline(t), "dn: uid=bob,ou=people,dc=acmecorp,dc=com\nchangetype: modify\nreplace: employeeNumber\nemployeeNumber: unlimited\n\n"+person("fred", "")))
	s.waitDaemonLog(`msg="directory loaded" path=source:people addresses=5`)
	send("a limit that was lifted", rated{by: "bob"}, rated{by: "bob"})
}
