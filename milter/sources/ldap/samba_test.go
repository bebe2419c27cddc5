package ldap

import (
	"maps"
	"slices"
	"strings"
	"testing"

	"coexistd/contrib/lab"
	"coexistd/milter/sources"
)

// adEntry is an entry of LDIF below CN=Users.
func adEntry(name, class string, lines ...string) string {
	return "dn: CN=" + name + ",CN=Users," + lab.SambaSuffix + "\nobjectClass: " + class + "\n" + strings.Join(lines, "\n") + "\n\n"
}

// adGroup is a group, with an address where one is given.
func adGroup(name string, lines ...string) string {
	return adEntry(name, "group", append(lines, "sAMAccountName: "+name)...)
}

func member(name string) string { return "member: CN=" + name + ",CN=Users," + lab.SambaSuffix }

// adPeople are as an administrator of a domain has them. Outer holds Inner, Inner holds Bob.
var adPeople = adEntry("Ann", "user", "sAMAccountName: ann", "userPrincipalName: ann@acmecorp.com", "userAccountControl: 544",
	"mail: Ann@acmecorp.com", "proxyAddresses: SMTP:Ann@acmecorp.com", "proxyAddresses: smtp:a@acmecorp.com",
	"proxyAddresses: X500:/o=Acme/cn=ann@acmecorp.com", "msExchRecipientTypeDetails: 1") +
	adEntry("Bob", "user", "sAMAccountName: bob", "userAccountControl: 544", "mail: bob@acmecorp.com") +
	adEntry("Carl", "user", "sAMAccountName: carl", "userAccountControl: 544", "proxyAddresses: SMTP:carl@acmecorp.com",
		"targetAddress: SMTP:carl@acmecorp-com.mail.onmicrosoft.com", "msExchRecipientTypeDetails: 2147483648") +
	adEntry("Office", "user", "sAMAccountName: office", "userAccountControl: 546", "proxyAddresses: SMTP:office@acmecorp.com",
		"targetAddress: SMTP:office@acmecorp-com.mail.onmicrosoft.com", "msExchRecipientTypeDetails: 34359738368") +
	adEntry("Leaver", "user", "sAMAccountName: leaver", "userAccountControl: 546", "mail: leaver@acmecorp.com") +
	adEntry("PC1", "computer", "sAMAccountName: PC1$", "userAccountControl: 4128", "mail: pc1@acmecorp.com") +
	adEntry("Partner", "contact", "mail: partner@acmecorp.com", "targetAddress: SMTP:partner@partner.example") +
	adGroup("Inner", member("Bob")) + adGroup("Outer", member("Inner"), "mail: outer@acmecorp.com", "proxyAddresses: SMTP:outer@acmecorp.com")

// adOptions are those of a preset for the lab's Samba.
func adOptions(preset, server string) Options {
	o := recorded{preset: preset}.options()
	o.Servers, o.Base, o.Page = []string{server}, lab.SambaSuffix, 2
	o.Bind, o.Password = lab.SambaReader, lab.SambaReaderPassword
	return o
}

// readAll has the rows of a directory, as recordings have them.
func readAll(t *testing.T, o Options) (rows []string) {
	t.Helper()
	if err := newReader(t, o).Read(deadline(t), func(row sources.Row) error {
		rows = append(rows, shown(row))
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	slices.Sort(rows)
	return rows
}

func TestReadsAnActiveDirectory(t *testing.T) {
	t.Parallel()
	ours, err := lab.NewAuthority("ours")
	if err != nil {
		t.Fatal(err)
	}
	s, err := lab.LendDirectories(t).StartSamba(deadline(t), lab.SambaConfig{Authority: ours})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if t.Failed() {
			t.Log(s.Log())
		}
		if err := s.Stop(); err != nil {
			t.Error(err)
		}
	})
	if err := s.Apply(deadline(t), adPeople); err != nil {
		t.Fatal(err)
	}
	readsPresets(t, s, ours)
	readsNestedGroups(t, s)
	namesMarks(t, s)
}

func readsPresets(t *testing.T, s *lab.Samba, ours *lab.Authority) {
	for preset, want := range map[string][]string{
		"ad": {
			"Ann@acmecorp.com here 'ann ann@acmecorp.com' '' user",
			"a@acmecorp.com here 'ann ann@acmecorp.com' '' user",
			"bob@acmecorp.com here 'bob' '' user",
			"carl@acmecorp.com office365 'carl' 'carl@acmecorp-com.mail.onmicrosoft.com' user",
			"office@acmecorp.com office365 'office' 'office@acmecorp-com.mail.onmicrosoft.com' user",
			"outer@acmecorp.com here 'Outer' '' group",
			"partner@acmecorp.com here '' '' ",
		},
		"exchange": {
			"Ann@acmecorp.com here 'ann ann@acmecorp.com' '' user",
			"a@acmecorp.com here 'ann ann@acmecorp.com' '' user",
			"carl@acmecorp.com office365 'carl' 'carl@acmecorp-com.mail.onmicrosoft.com' user",
			"office@acmecorp.com office365 'office' 'office@acmecorp-com.mail.onmicrosoft.com' shared",
			"outer@acmecorp.com here 'Outer' '' group",
		},
	} {
		o := adOptions(preset, s.URL)
		o.StartTLS, o.TLS = true, ours.Client("dc."+lab.SambaRealm, nil)
		if got := readAll(t, o); !slices.Equal(got, want) {
			t.Errorf("%s:\n%s\nwant\n%s", preset, strings.Join(got, "\n"), strings.Join(want, "\n"))
		}
		secure := adOptions(preset, s.SecureURL)
		secure.TLS = ours.Client("", nil)
		if got := readAll(t, secure); !slices.Equal(got, want) {
			t.Errorf("%s by ldaps: %q", preset, got)
		}
	}
}

func readsNestedGroups(t *testing.T, s *lab.Samba) {
	for _, nested := range []bool{false, true} {
		o := adOptions("ad", s.URL)
		o.Residence.Groups, o.Residence.Nested = []Choice{{"CN=Outer,CN=Users," + lab.SambaSuffix, "google"}}, nested
		want := "here"
		if nested {
			want = "google"
		}
		if got := readAll(t, o); !slices.Contains(got, "bob@acmecorp.com "+want+" 'bob' '' user") {
			t.Errorf("nested %v: %q; want bob %s", nested, got, want)
		}
	}
}

func namesMarks(t *testing.T, s *lab.Samba) {
	m := mark(t, newReader(t, adOptions("ad", s.URL)))
	name := slices.Sorted(maps.Keys(m))[0]
	if len(m) != 2 || len(name) < len("highestCommittedUSN of ")+16 {
		t.Errorf("the mark is of no invocationId: %q", m)
	}
}
