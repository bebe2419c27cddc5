package sources_test

import (
	"encoding/base64"
	"fmt"
	"strings"
	"testing"

	"coexistd/contrib/lab"
	"coexistd/milter/sources"
	"coexistd/milter/sources/ldap"
)

// tree is an LDAP server's, as tests know it.
type tree struct {
	dn      func(name string) string
	lines   func(name string) string // of an entry, beside those that ldif writes
	options ldap.Options
}

func slapd(t *testing.T) *place {
	s, err := lab.LendDirectories(t).StartSlapd(deadline(t), lab.SlapdConfig{})
	do(t, err)
	stopAfter(t, s)
	p := ofTree(tree{
		dn: func(name string) string { return "uid=" + name + ",ou=people," + lab.SlapdSuffix },
		lines: func(name string) string {
			return "objectClass: inetOrgPerson\nobjectClass: labMailRecipient\ncn: " + name + "\nsn: " + name + "\n"
		},
		options: ldap.Options{Base: "ou=people," + lab.SlapdSuffix, Bind: lab.SlapdReader},
	}, func(ldif string) error { return s.Apply(deadline(t), ldif) })
	backup := ""
	p.backup = func() (err error) { backup, err = s.Backup(deadline(t)); return err }
	p.restore = func() error { return s.Restore(deadline(t), backup) }
	p.server, p.addr, p.password = s, strings.TrimPrefix(s.URL, "ldap://"), lab.SlapdReaderPassword
	return p
}

func activeDirectory(t *testing.T) *place {
	s, err := lab.LendDirectories(t).StartSamba(deadline(t), lab.SambaConfig{})
	do(t, err)
	stopAfter(t, s)
	p := ofTree(tree{
		dn: func(name string) string { return "CN=" + name + ",CN=Users," + lab.SambaSuffix },
		lines: func(name string) string {
			return "objectClass: user\nuserAccountControl: 544\nsAMAccountName: " + name + "\n"
		},
		options: ldap.Options{Base: "CN=Users," + lab.SambaSuffix, Bind: lab.SambaReader},
	}, func(ldif string) error { return s.Apply(deadline(t), ldif) })
	p.backup = func() error { return s.Backup(deadline(t)) }
	p.restore = func() error { return s.Restore(deadline(t)) }
	p.server, p.addr, p.password = s, strings.TrimPrefix(s.URL, "ldap://"), lab.SambaReaderPassword
	return p
}

// ofTree is a place whose entries have attributes that both servers know.
func ofTree(tr tree, apply func(ldif string) error) *place {
	o := tr.options
	o.Filter, o.Page, o.Keep = "(departmentNumber=*)", 50, keeps
	o.Address, o.Aliases, o.Login, o.Target = []string{"mail"}, []string{"proxyAddresses"}, []string{"employeeNumber"}, []string{"targetAddress"}
	o.Kind, o.Kinds = []string{"employeeType"}, []ldap.Choice{{Value: "user", Means: "user"}, {Value: "group", Means: "group"}, {Value: "room", Means: "room"}, {Value: "shared", Means: "shared"}}
	o.Further = map[string]string{"hourly": "carLicense"}
	o.Residence.Attribute = "departmentNumber"
	for lives, word := range words {
		o.Residence.Values = append(o.Residence.Values, ldap.Choice{Value: word, Means: lives})
	}
	return &place{
		open: func(a asking) (sources.Reader, error) {
			o := o
			for _, addr := range a.addrs {
				o.Servers = append(o.Servers, "ldap://"+addr)
			}
			o.Password, o.Timeout = a.password, a.timeout
			return ldap.New(o)
		},
		change: func(gone []string, come []person) error {
			var ldif strings.Builder
			for _, name := range gone {
				fmt.Fprintf(&ldif, "dn: %s\nchangetype: delete\n\n", tr.dn(name))
			}
			for _, one := range come {
				fmt.Fprintf(&ldif, "dn: %s\nchangetype: add\n%s%s\n", tr.dn(one.name), tr.lines(one.name), attributes(one))
			}
			return apply(ldif.String())
		},
		longest: 64 << 10, several: true,
	}
}

// attributes are lines of LDIF.
func attributes(one person) string {
	var lines strings.Builder
	add := func(name, value string) {
		if value != "" {
			fmt.Fprintf(&lines, "%s:: %s\n", name, base64.StdEncoding.EncodeToString([]byte(value)))
		}
	}
	for i, address := range one.addresses {
		if i == 0 {
			add("mail", address)
			address = strings.ToUpper(address) // the same once more is no other
		}
		add("proxyAddresses", "smtp:"+address)
	}
	add("departmentNumber", words[one.lives])
	add("employeeNumber", one.login)
	add("targetAddress", one.target)
	add("employeeType", one.kind)
	add("carLicense", one.hourly)
	return lines.String()
}
