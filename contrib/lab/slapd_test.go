package lab

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net/url"
	"os"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

func startSlapd(t *testing.T, c SlapdConfig) *Slapd {
	t.Helper()
	s, err := LendDirectories(t).StartSlapd(deadline(t), c)
	if err != nil {
		t.Fatal(err)
	}
	stopAtEnd(t, s.filter)
	return s
}

// person is an entry of LDIF.
func person(uid string, further ...string) string {
	lines := append([]string{
		"dn: uid=" + uid + ",ou=people," + SlapdSuffix, "objectClass: inetOrgPerson", "objectClass: labMailRecipient",
		"uid: " + uid, "cn: " + uid, "sn: " + uid, "mail: " + uid + "@acmecorp.com",
	}, further...)
	return strings.Join(lines, "\n") + "\n\n"
}

// search returns the lines of LDIF that ldapsearch finds, sorted, and its complaint.
func search(ctx context.Context, s *Slapd, args ...string) (lines []string, err error) {
	out, err := outputOf(s.Client(ctx, "ldapsearch", append([]string{"-b", SlapdSuffix, "-LLL", "-o", "ldif-wrap=no"}, args...)...), nil)
	for line := range strings.Lines(out) {
		if line = strings.TrimSpace(line); line != "" {
			lines = append(lines, line)
		}
	}
	slices.Sort(lines)
	return lines, err
}

// found is what search must find.
func found(t *testing.T, s *Slapd, args ...string) []string {
	t.Helper()
	lines, err := search(deadline(t), s, args...)
	if err != nil {
		t.Fatal(err)
	}
	return lines
}

// uids has the names of all people that the reader sees.
func uids(t *testing.T, s *Slapd, args ...string) []string {
	t.Helper()
	asReader := []string{"-D", SlapdReader, "-w", SlapdReaderPassword}
	lines := found(t, s, append(append(asReader, args...), "(objectClass=inetOrgPerson)", "uid")...)
	return slices.DeleteFunc(lines, func(line string) bool { return !strings.HasPrefix(line, "uid: ") })
}

func change(t *testing.T, s *Slapd, ldif string) {
	t.Helper()
	if err := s.Apply(deadline(t), ldif); err != nil {
		t.Fatal(err)
	}
}

func mark(t *testing.T, s *Slapd) string {
	t.Helper()
	lines := found(t, s, "-D", SlapdReader, "-w", SlapdReaderPassword, "-s", "base", "contextCSN")
	i := slices.IndexFunc(lines, func(line string) bool { return strings.HasPrefix(line, "contextCSN: ") })
	if i < 0 {
		t.Fatalf("no contextCSN in %q", lines)
	}
	return lines[i]
}

func TestASlapdHasWhatItWasGivenAndWhatWasChanged(t *testing.T) {
	t.Parallel()
	s := startSlapd(t, SlapdConfig{LDIF: person("ann",
		"mailHost: cloud.example", "mailRoutingAddress: ann@acmecorp.onmicrosoft.com",
		"mailAlternateAddress: a@acmecorp.com", "mailForwardingAddress: ann@home.example") + person("bob")})
	before := mark(t, s)
	change(t, s, person("carl")+
		"dn: uid=bob,ou=people,"+SlapdSuffix+"\nchangetype: delete\n\n"+
		"dn: uid=ann,ou=people,"+SlapdSuffix+"\nchangetype: modify\nadd: mailAlternateAddress\nmailAlternateAddress: an@acmecorp.com\n\n"+
		"dn: cn=cloud,ou=groups,"+SlapdSuffix+"\nobjectClass: groupOfNames\ncn: cloud\nmember: uid=ann,ou=people,"+SlapdSuffix+"\n")
	if got, want := uids(t, s), []string{"uid: ann", "uid: carl"}; !slices.Equal(got, want) {
		t.Errorf("people: %q; want %q", got, want)
	}
	want := []string{
		"dn: uid=ann,ou=people," + SlapdSuffix,
		"mailAlternateAddress: a@acmecorp.com", "mailAlternateAddress: an@acmecorp.com",
		"mailForwardingAddress: ann@home.example", "mailHost: cloud.example",
		"mailRoutingAddress: ann@acmecorp.onmicrosoft.com", "memberOf: cn=cloud,ou=groups," + SlapdSuffix,
	}
	got := found(t, s, "(mail=ANN@acmecorp.com)", "mailHost", "mailRoutingAddress", "mailAlternateAddress", "mailForwardingAddress", "memberOf")
	if !slices.Equal(got, want) {
		t.Errorf("ann: %q; want %q", got, want)
	}
	if after := mark(t, s); after <= before {
		t.Errorf("after the changes: %s; want more than %s", after, before)
	}
	if err := s.Apply(deadline(t), "dn: uid=nobody,ou=people,"+SlapdSuffix+"\nchangetype: delete\n"); err == nil || !strings.Contains(err.Error(), "No such object") {
		t.Errorf("deleting who is not there: %v", err)
	}
}

func TestASlapdKeepsItsDataThroughAKillAndNotThroughAStop(t *testing.T) {
	t.Parallel()
	s := startSlapd(t, SlapdConfig{LDIF: person("ann")})
	u, err := url.Parse(s.URL)
	if err != nil {
		t.Fatal(err)
	}
	for name, end := range map[string]func() error{
		"Kill":             s.Kill,
		"Suspend and Kill": func() error { return errors.Join(s.Suspend(), s.Kill()) },
		"Stop":             s.Stop,
	} {
		change(t, s, person("bob"))
		before := mark(t, s)
		if err := end(); err != nil {
			t.Fatal(err)
		}
		if err := bindNobody(deadline(t), u.Host); !errors.Is(err, syscall.ECONNREFUSED) {
			t.Errorf("%s: when it is gone, connecting says: %v", name, err)
		}
		if err := s.Start(deadline(t)); err != nil {
			t.Fatal(err)
		}
		want := []string{"uid: ann", "uid: bob"}
		if name == "Stop" {
			want = want[:1]
		} else if after := mark(t, s); after != before {
			t.Errorf("%s: %s has become %s", name, before, after)
		}
		if got := uids(t, s); !slices.Equal(got, want) {
			t.Errorf("%s: started again it has %q; want %q", name, got, want)
		}
		if name != "Stop" {
			change(t, s, "dn: uid=bob,ou=people,"+SlapdSuffix+"\nchangetype: delete\n")
		}
	}
}

func TestASlapdWithoutCheckpointsHasAnOlderMarkAfterAKill(t *testing.T) {
	t.Parallel()
	s := startSlapd(t, SlapdConfig{NoCheckpoint: true, LDIF: person("ann")})
	change(t, s, person("bob"))
	before := mark(t, s)
	if err := errors.Join(s.Kill(), s.Start(deadline(t))); err != nil {
		t.Fatal(err)
	}
	if after, people := mark(t, s), uids(t, s); after >= before || len(people) != 2 {
		t.Errorf("after a Kill: %s with %q; want less than %s with both", after, people, before)
	}
}

func TestASuspendedSlapdAnswersNobodyUntilItContinues(t *testing.T) {
	t.Parallel()
	s := startSlapd(t, SlapdConfig{})
	if err := s.Suspend(); err != nil {
		t.Fatal(err)
	}
	short, cancel := context.WithTimeout(deadline(t), 200*time.Millisecond)
	defer cancel()
	if got, err := search(short, s); short.Err() == nil {
		t.Errorf("suspended it answered %q, %v", got, err)
	}
	if err := s.Continue(); err != nil {
		t.Fatal(err)
	}
	if got := uids(t, s); len(got) != 0 {
		t.Errorf("after that it has %q; want nobody", got)
	}
}

func TestASlapdSpeaksTLSAndShowsItsDataToNobodyUnknown(t *testing.T) {
	t.Parallel()
	ours, err := NewAuthority("ours")
	if err != nil {
		t.Fatal(err)
	}
	s := startSlapd(t, SlapdConfig{LDIF: person("ann"), Authority: ours, Settings: []string{"security simple_bind=128"}})
	for _, how := range [][]string{{"-H", s.SecureURL}, {"-H", s.URL, "-ZZ"}} {
		if got := uids(t, s, how...); !slices.Equal(got, []string{"uid: ann"}) {
			t.Errorf("%q: %q; want ann", how, got)
		}
	}
	for want, how := range map[string][]string{
		"Confidentiality required": {"-H", s.URL, "-D", SlapdReader, "-w", SlapdReaderPassword},
		"Invalid credentials":      {"-H", s.SecureURL, "-D", SlapdReader, "-w", "wrong"},
		"No such object":           {"-H", s.SecureURL, "-D", "", "-w", ""},
	} {
		if got, err := search(deadline(t), s, how...); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %q, %v; want %s", how, got, err, want)
		}
	}
	for name, want := range map[string]string{"ldap.acmecorp.com": "", "127.0.0.1": "", "elsewhere.example": "not elsewhere.example"} {
		conn, err := tls.Dial("tcp", strings.TrimPrefix(s.SecureURL, "ldaps://"), ours.Client(name, nil))
		if err == nil {
			conn.Close()
		}
		if (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("as %s: %v; want %q", name, err, want)
		}
	}
	stranger := s.Client(deadline(t), "ldapsearch", "-H", s.SecureURL)
	stranger.Env = append(stranger.Env, "LDAPTLS_CACERT="+os.DevNull)
	if out, err := outputOf(stranger, nil); err == nil {
		t.Errorf("without the authority's certificate it found %q", out)
	}
}

func TestASlapdsReaderHasTheLimitsThatWereSet(t *testing.T) {
	t.Parallel()
	var people strings.Builder
	for i := range 30 {
		people.WriteString(person(fmt.Sprintf("user%02d", i)))
	}
	const paged = "pr=10/noprompt"
	s := startSlapd(t, SlapdConfig{LDIF: people.String(), Limits: "size=20 size.pr=15 size.prtotal=unlimited"})
	asReader := []string{"-D", SlapdReader, "-w", SlapdReaderPassword, "(uid=*)", "uid"}
	for range 2 {
		if got, err := search(deadline(t), s, asReader...); err == nil || !strings.Contains(err.Error(), "Size limit exceeded") {
			t.Errorf("without pages: %d lines, %v; want the limit", len(got), err)
		}
		if got := uids(t, s, "-E", paged); len(got) != 30 {
			t.Errorf("in pages of 10: %d; want all 30", len(got))
		}
		// The limits are still there when it has been started again.
		if err := errors.Join(s.Kill(), s.Start(deadline(t))); err != nil {
			t.Fatal(err)
		}
	}
	for range 2 {
		if err := s.Limit(deadline(t), "size=unlimited size.pr=5 size.prtotal=12"); err != nil {
			t.Fatal(err)
		}
		if got := uids(t, s); len(got) != 30 {
			t.Errorf("without limits: %d; want all 30", len(got))
		}
		if got, err := search(deadline(t), s, append([]string{"-E", "pr=4/noprompt"}, asReader...)...); err == nil || !strings.Contains(err.Error(), "limit exceeded") {
			t.Errorf("over 12 in pages of 4: %d lines, %v; want the limit", len(got), err)
		}
		if err := errors.Join(s.Kill(), s.Start(deadline(t))); err != nil {
			t.Fatal(err)
		}
	}
}

func TestARestoredSlapdIsWhatItWasWithAnOlderMark(t *testing.T) {
	t.Parallel()
	s := startSlapd(t, SlapdConfig{LDIF: person("ann")})
	change(t, s, person("bob"))
	backup, err := s.Backup(deadline(t))
	if err != nil {
		t.Fatal(err)
	}
	before := mark(t, s)
	change(t, s, person("carl")+"dn: uid=ann,ou=people,"+SlapdSuffix+"\nchangetype: delete\n")
	if err := s.Restore(deadline(t), backup); err != nil {
		t.Fatal(err)
	}
	if got, want := uids(t, s), []string{"uid: ann", "uid: bob"}; !slices.Equal(got, want) || mark(t, s) != before {
		t.Errorf("restored it has %q at %s; want %q at %s", got, mark(t, s), want, before)
	}
	if err := s.Load(deadline(t), strings.NewReader(person("dora"))); err == nil || !strings.Contains(err.Error(), "Kill it first") {
		t.Errorf("loading while it runs: %v", err)
	}
	if err := errors.Join(s.Kill(), s.Load(deadline(t), strings.NewReader(person("dora"))), s.Start(deadline(t))); err != nil {
		t.Fatal(err)
	}
	if got := uids(t, s); len(got) != 3 {
		t.Errorf("with one more loaded it has %q", got)
	}
}

func TestASlapdThatCannotStartSaysWhy(t *testing.T) {
	t.Parallel()
	d := LendDirectories(t)
	for want, c := range map[string]SlapdConfig{
		"no-such-setting": {Settings: []string{"no-such-setting yes"}},
		"nosuchattribute": {LDIF: person("ann", "nosuchattribute: 1")},
	} {
		if _, err := d.StartSlapd(deadline(t), c); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v; want an error that names %s", err, want)
		}
	}
}

func TestPostfixFindsItsUsersInSlapd(t *testing.T) {
	t.Parallel()
	s := startSlapd(t, SlapdConfig{LDIF: person("bob")})
	m := startPostfix(t, Config{
		Services: []Service{{Name: "public"}},
		Main: map[string]string{
			"virtual_mailbox_domains": "acmecorp.com", "virtual_transport": "discard",
			"virtual_mailbox_maps": "ldap:$config_directory/users.cf, proxy:ldap:$config_directory/users.cf",
		},
		Files: map[string]string{"users.cf": "server_host = " + s.URL + "\nversion = 3\nbind_dn = " + SlapdReader + "\nbind_pw = " + SlapdReaderPassword +
			"\nsearch_base = " + SlapdSuffix + "\nquery_filter = (mail=%s)\nresult_attribute = uid\n"},
	})
	r := send(t, Client{Server: m.Addr("public")}, Mail{From: "eve@example.net", To: To("bob@acmecorp.com", "nobody@acmecorp.com"), Data: Plain("eve@example.net", "bob@acmecorp.com", "x")})
	if !r.Accepted() || r.To[0].Code != 250 || r.To[1].Enhanced != "5.1.1" {
		t.Errorf("for a user that slapd has and one that it has not, the answers are %+v", r)
	}
}
