package lab

import (
	"context"
	"errors"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

func startSamba(t *testing.T, c SambaConfig) *Samba {
	t.Helper()
	s, err := LendDirectories(t).StartSamba(deadline(t), c)
	if err != nil {
		t.Fatal(err)
	}
	stopAtEnd(t, s.filter)
	return s
}

// adUser is an entry of LDIF of a user of Active Directory who needs no password.
func adUser(name string, further ...string) string {
	lines := append([]string{
		"dn: CN=" + name + ",CN=Users," + SambaSuffix, "objectClass: user", "sAMAccountName: " + name,
		"userAccountControl: 544", "mail: " + name + "@acmecorp.com",
	}, further...)
	return strings.Join(lines, "\n") + "\n\n"
}

// searchSamba returns the lines that the reader finds, sorted.
func searchSamba(ctx context.Context, s *Samba, args ...string) (lines []string, err error) {
	asReader := []string{"-LLL", "-o", "ldif-wrap=no"}
	if !slices.Contains(args, "-b") {
		asReader = append(asReader, "-b", SambaSuffix)
	}
	if !slices.Contains(args, "-D") {
		asReader = append(asReader, "-D", SambaReader, "-w", SambaReaderPassword)
	}
	out, err := outputOf(s.Client(ctx, "ldapsearch", append(asReader, args...)...), nil)
	for line := range strings.Lines(out) {
		if line = strings.TrimSpace(line); line != "" && line[0] != '#' {
			lines = append(lines, line)
		}
	}
	slices.Sort(lines)
	return lines, err
}

func foundInSamba(t *testing.T, s *Samba, args ...string) []string {
	t.Helper()
	lines, err := searchSamba(deadline(t), s, args...)
	if err != nil {
		t.Fatal(err)
	}
	return lines
}

// mails has the addresses of all users.
func mails(t *testing.T, s *Samba, args ...string) []string {
	t.Helper()
	lines := foundInSamba(t, s, append(args, "(&(objectCategory=person)(mail=*))", "mail")...)
	return slices.DeleteFunc(lines, func(line string) bool { return !strings.HasPrefix(line, "mail: ") })
}

// usn is the mark of what was changed last.
func usn(t *testing.T, s *Samba) int {
	t.Helper()
	const name = "highestCommittedUSN: "
	for _, line := range foundInSamba(t, s, "-b", "", "-s", "base", strings.TrimSuffix(name, ": ")) {
		if number, ok := strings.CutPrefix(line, name); ok {
			n, err := strconv.Atoi(number)
			if err != nil {
				t.Fatal(err)
			}
			return n
		}
	}
	t.Fatal("no highestCommittedUSN")
	return 0
}

func TestASambaIsAnActiveDirectory(t *testing.T) {
	t.Parallel()
	ours, err := NewAuthority("ours")
	if err != nil {
		t.Fatal(err)
	}
	s := startSamba(t, SambaConfig{Authority: ours, Settings: map[string]string{"ldap server require strong auth": "yes"}})
	overTLS := []string{"-H", s.SecureURL}
	change := func(ldif string) {
		t.Helper()
		if _, err := outputOf(s.Client(deadline(t), "ldapmodify", "-a", "-H", s.SecureURL), strings.NewReader(ldif)); err != nil {
			t.Fatal(err)
		}
	}
	change(adUser("ann", "proxyAddresses: SMTP:ann@acmecorp.com", "proxyAddresses: smtp:a@acmecorp.com",
		"targetAddress: SMTP:ann@acmecorp.onmicrosoft.com", "msExchRecipientTypeDetails: 2147483648", "msExchRecipientDisplayType: -2147483642") +
		adUser("bob") + adUser("carl") +
		"dn: CN=cloud,CN=Users," + SambaSuffix + "\nobjectClass: group\nsAMAccountName: cloud\nmember: CN=ann,CN=Users," + SambaSuffix + "\n")
	for _, how := range [][]string{overTLS, {"-H", s.URL, "-ZZ"}, append([]string{"-E", "pr=2/noprompt"}, overTLS...)} {
		if got, want := mails(t, s, how...), []string{"mail: ann@acmecorp.com", "mail: bob@acmecorp.com", "mail: carl@acmecorp.com"}; !slices.Equal(got, want) {
			t.Errorf("%q: %q; want %q", how, got, want)
		}
	}
	want := []string{
		"dn: CN=ann,CN=Users," + SambaSuffix, "memberOf: CN=cloud,CN=Users," + SambaSuffix,
		"msExchRecipientDisplayType: -2147483642", "msExchRecipientTypeDetails: 2147483648",
		"proxyAddresses: SMTP:ann@acmecorp.com", "proxyAddresses: smtp:a@acmecorp.com", "targetAddress: SMTP:ann@acmecorp.onmicrosoft.com",
	}
	got := foundInSamba(t, s, append(overTLS, "(proxyAddresses=smtp:a@acmecorp.com)", "memberOf", "proxyAddresses", "targetAddress",
		"msExchRecipientTypeDetails", "msExchRecipientDisplayType")...)
	if !slices.Equal(got, want) {
		t.Errorf("ann: %q; want %q", got, want)
	}
	for want, how := range map[string][]string{
		"Strong(er) authentication required": {"-H", s.URL},
		"Invalid credentials":                {"-H", s.SecureURL, "-D", SambaReader, "-w", "wrong"},
		"Operations error":                   {"-H", s.SecureURL, "-D", "", "-w", ""},
	} {
		if got, err := searchSamba(deadline(t), s, how...); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %q, %v; want %s", how, got, err, want)
		}
	}
}

func TestASambaKeepsItsDataThroughAKillAndGoesBackToItsBackup(t *testing.T) {
	t.Parallel()
	s := startSamba(t, SambaConfig{})
	u, err := url.Parse(s.URL)
	if err != nil {
		t.Fatal(err)
	}
	change := func(ldif string) {
		t.Helper()
		if err := s.Apply(deadline(t), ldif); err != nil {
			t.Fatal(err)
		}
	}
	change(adUser("ann"))
	for _, end := range []func() error{s.Kill, func() error { return errors.Join(s.Suspend(), s.Kill()) }} {
		pid, before := s.Pid(), usn(t, s)
		if err := end(); err != nil {
			t.Fatal(err)
		}
		if !errors.Is(syscall.Kill(pid, 0), syscall.ESRCH) {
			t.Errorf("process %d is still there", pid)
		}
		if err := bindNobody(deadline(t), u.Host); !errors.Is(err, syscall.ECONNREFUSED) {
			t.Errorf("when it is gone, connecting says: %v", err)
		}
		if err := s.Start(deadline(t)); err != nil {
			t.Fatal(err)
		}
		if got, after := mails(t, s), usn(t, s); !slices.Equal(got, []string{"mail: ann@acmecorp.com"}) || after < before {
			t.Errorf("started again it has %q at %d; want ann at %d or later", got, after, before)
		}
	}
	if err := s.Backup(deadline(t)); err != nil {
		t.Fatal(err)
	}
	change(adUser("bob") + adUser("carl"))
	before := usn(t, s)
	if err := s.Restore(deadline(t)); err != nil {
		t.Fatal(err)
	}
	if got, after := mails(t, s), usn(t, s); !slices.Equal(got, []string{"mail: ann@acmecorp.com"}) || after >= before {
		t.Errorf("restored it has %q at %d; want ann before %d", got, after, before)
	}
	suspendedSambaAnswersNobody(t, s)
}

func suspendedSambaAnswersNobody(t *testing.T, s *Samba) {
	t.Helper()
	if err := s.Suspend(); err != nil {
		t.Fatal(err)
	}
	short, cancel := context.WithTimeout(deadline(t), 200*time.Millisecond)
	defer cancel()
	if got, err := searchSamba(short, s); short.Err() == nil {
		t.Errorf("suspended it answered %q, %v", got, err)
	}
	if err := s.Continue(); err != nil {
		t.Fatal(err)
	}
	if got := mails(t, s); len(got) != 1 {
		t.Errorf("after that it has %q; want one", got)
	}
}

func TestASambaThatCannotStartSaysWhy(t *testing.T) {
	t.Parallel()
	_, err := LendDirectories(t).StartSamba(deadline(t), SambaConfig{Settings: map[string]string{"server role": "no-such-role"}})
	if err == nil || !strings.Contains(err.Error(), "no-such-role") {
		t.Errorf("%v; want an error that names the role", err)
	}
}
