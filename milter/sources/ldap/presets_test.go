package ldap

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	goldap "github.com/go-ldap/ldap/v3"

	"coexistd/milter/sources"
)

// recorded are entries as servers of each preset have them. Those that the preset's filter
// leaves out say so in their description.
type recorded struct {
	preset  string
	schema  string // what the lab's slapd lacks of it
	change  func(*Options)
	entries string
	rows    []string // address, residence, login, target, kind
}

const adSchema = `
attributetype ( lab:101 NAME 'sAMAccountName' EQUALITY caseIgnoreMatch SYNTAX 1.3.6.1.4.1.1466.115.121.1.15 )
attributetype ( lab:102 NAME 'userPrincipalName' EQUALITY caseIgnoreMatch SYNTAX 1.3.6.1.4.1.1466.115.121.1.15 )
attributetype ( lab:103 NAME 'objectCategory' EQUALITY caseIgnoreMatch SYNTAX 1.3.6.1.4.1.1466.115.121.1.15 )
attributetype ( lab:104 NAME 'userAccountControl' EQUALITY integerMatch SYNTAX 1.3.6.1.4.1.1466.115.121.1.27 )
attributetype ( lab:105 NAME 'msExchRecipientTypeDetails' EQUALITY integerMatch SYNTAX 1.3.6.1.4.1.1466.115.121.1.27 )
objectclass ( lab:120 NAME 'user' SUP person STRUCTURAL MAY ( mail $ proxyAddresses $ targetAddress $ sAMAccountName $
  userPrincipalName $ objectCategory $ userAccountControl $ msExchRecipientTypeDetails ) )
objectclass ( lab:121 NAME 'computer' SUP user STRUCTURAL )
objectclass ( lab:122 NAME 'contact' SUP person STRUCTURAL MAY ( mail $ proxyAddresses $ targetAddress $ msExchRecipientTypeDetails ) )
objectclass ( lab:123 NAME 'group' SUP top STRUCTURAL MUST cn MAY ( mail $ proxyAddresses $ sAMAccountName $ description $ msExchRecipientTypeDetails ) )
`

const zimbraSchema = `
attributetype ( lab:131 NAME 'zimbraMailDeliveryAddress' EQUALITY caseIgnoreIA5Match SYNTAX 1.3.6.1.4.1.1466.115.121.1.26{256} )
attributetype ( lab:132 NAME 'zimbraMailAlias' EQUALITY caseIgnoreIA5Match SYNTAX 1.3.6.1.4.1.1466.115.121.1.26{256} )
attributetype ( lab:133 NAME 'zimbraMailStatus' EQUALITY caseIgnoreMatch SYNTAX 1.3.6.1.4.1.1466.115.121.1.15 SINGLE-VALUE )
attributetype ( lab:134 NAME 'zimbraMailTransport' EQUALITY caseIgnoreMatch SYNTAX 1.3.6.1.4.1.1466.115.121.1.15 SINGLE-VALUE )
objectclass ( lab:140 NAME 'zimbraMailRecipient' AUXILIARY MAY ( mail $ zimbraMailDeliveryAddress $ zimbraMailAlias $ zimbraMailStatus $ zimbraMailTransport ) )
objectclass ( lab:141 NAME 'zimbraAccount' SUP zimbraMailRecipient AUXILIARY )
objectclass ( lab:142 NAME 'zimbraCalendarResource' SUP zimbraAccount AUXILIARY )
objectclass ( lab:143 NAME 'zimbraDistributionList' SUP top STRUCTURAL MUST uid MAY ( mail $ zimbraMailAlias $ zimbraMailStatus ) )
`

var recordings = []recorded{{
	preset: "openldap",
	entries: `
dn: uid=ann,ou=people,dc=acmecorp,dc=com
objectClass: inetOrgPerson
objectClass: labMailRecipient
uid: ann
cn: Ann
sn: Ann
mail: Ann@acmecorp.com
mail: ann.smith@acmecorp.com
mailLocalAddress: ann@acmecorp.com
mailAlternateAddress: a@acmecorp.com
mailAlternateAddress: ann@home.example

dn: uid=bob,ou=people,dc=acmecorp,dc=com
objectClass: inetOrgPerson
objectClass: labMailRecipient
uid: bob
cn: Bob
sn: Bob
mail: bob@acmecorp.com
mailRoutingAddress: bob@acmecorp-com.onmicrosoft.com

dn: uid=carl,ou=people,dc=acmecorp,dc=com
objectClass: inetOrgPerson
objectClass: labMailRecipient
uid: carl
cn: Carl
sn: Carl
mail: carl@acmecorp.com
mailHost: cloud.example
mailRoutingAddress: carl@store1.acmecorp.com

dn: uid=dora,ou=people,dc=acmecorp,dc=com
objectClass: inetOrgPerson
uid: dora
cn: Dora
sn: Dora
description: left out

dn: uid=guest,ou=people,dc=acmecorp,dc=com
objectClass: inetOrgPerson
uid: guest
cn: Guest
sn: Guest
mail: guest@partner.example

dn: cn=all,ou=people,dc=acmecorp,dc=com
objectClass: groupOfNames
objectClass: labMailRecipient
cn: all
mail: all@acmecorp.com
member: uid=ann,ou=people,dc=acmecorp,dc=com
`,
	change: func(o *Options) { o.Residence.Values = []Choice{{"cloud.*", "google"}} },
	rows: []string{
		"Ann@acmecorp.com here 'ann Ann@acmecorp.com ann.smith@acmecorp.com' '' user",
		"a@acmecorp.com here 'ann Ann@acmecorp.com ann.smith@acmecorp.com' '' user",
		"all@acmecorp.com here 'all@acmecorp.com' '' group",
		"ann.smith@acmecorp.com here 'ann Ann@acmecorp.com ann.smith@acmecorp.com' '' user",
		"bob@acmecorp.com office365 'bob bob@acmecorp.com' 'bob@acmecorp-com.onmicrosoft.com' user",
		"carl@acmecorp.com google 'carl carl@acmecorp.com' 'carl@store1.acmecorp.com' user",
	},
}, {
	preset: "mithi",
	entries: `
dn: uid=ann,ou=people,dc=acmecorp,dc=com
objectClass: inetOrgPerson
objectClass: labMailRecipient
uid: ann
cn: Ann
sn: Ann
mail: ann@acmecorp.com
mailHost: mail.acmecorp.com
mailRoutingAddress: ann@mail.acmecorp.com
mailAlternateAddress: sales@acmecorp.com
mailForwardingAddress: ann@acmecorp-com.onmicrosoft.com

dn: uid=bob,ou=people,dc=acmecorp,dc=com
objectClass: inetOrgPerson
objectClass: labMailRecipient
uid: bob
cn: Bob
sn: Bob
mail: bob@acmecorp.com
mailHost: mail.acmecorp.com
mailRoutingAddress: bob.b@acmecorp-com.onmicrosoft.com
mailAlternateAddress: robert@acmecorp.com

dn: cn=all,ou=people,dc=acmecorp,dc=com
objectClass: groupOfNames
objectClass: labMailRecipient
cn: all
mail: all@acmecorp.com
member: uid=ann,ou=people,dc=acmecorp,dc=com
`,
	rows: []string{
		"all@acmecorp.com here 'all@acmecorp.com' '' group",
		"ann@acmecorp.com here 'ann ann@acmecorp.com' '' user",
		"bob@acmecorp.com office365 'bob bob@acmecorp.com' 'bob.b@acmecorp-com.onmicrosoft.com' user",
		"robert@acmecorp.com office365 'bob bob@acmecorp.com' 'bob.b@acmecorp-com.onmicrosoft.com' user",
		"sales@acmecorp.com here 'ann ann@acmecorp.com' '' user",
	},
}, {
	preset: "zimbra",
	schema: zimbraSchema,
	change: func(o *Options) {
		o.Residence.Values = []Choice{{"smtp:acmecorp-com.mail.protection.outlook.com*", "office365"}}
	},
	entries: `
dn: uid=ann,ou=people,dc=acmecorp,dc=com
objectClass: inetOrgPerson
objectClass: zimbraAccount
uid: ann
cn: Ann
sn: Ann
mail: ann@acmecorp.com
mail: a@acmecorp.com
zimbraMailDeliveryAddress: ann@acmecorp.com
zimbraMailAlias: a@acmecorp.com
zimbraMailStatus: enabled
zimbraMailTransport: lmtp:mbox1.acmecorp.com:7025

dn: uid=bob,ou=people,dc=acmecorp,dc=com
objectClass: inetOrgPerson
objectClass: zimbraAccount
uid: bob
cn: Bob
sn: Bob
mail: bob@acmecorp.com
zimbraMailDeliveryAddress: bob@acmecorp.com
zimbraMailStatus: enabled
zimbraMailTransport: smtp:acmecorp-com.mail.protection.outlook.com:25

dn: uid=room1,ou=people,dc=acmecorp,dc=com
objectClass: inetOrgPerson
objectClass: zimbraAccount
objectClass: zimbraCalendarResource
uid: room1
cn: Room
sn: Room
zimbraMailDeliveryAddress: room1@acmecorp.com
zimbraMailStatus: enabled
zimbraMailTransport: lmtp:mbox1.acmecorp.com:7025

dn: uid=gone,ou=people,dc=acmecorp,dc=com
objectClass: inetOrgPerson
objectClass: zimbraAccount
uid: gone
cn: Gone
sn: Gone
zimbraMailDeliveryAddress: gone@acmecorp.com
zimbraMailStatus: disabled
description: left out

dn: uid=all,ou=people,dc=acmecorp,dc=com
objectClass: zimbraDistributionList
uid: all
mail: all@acmecorp.com
zimbraMailAlias: all@acmecorp.com
zimbraMailAlias: everybody@acmecorp.com
zimbraMailStatus: enabled
`,
	rows: []string{
		"a@acmecorp.com here 'ann@acmecorp.com' '' user",
		"all@acmecorp.com here '' '' group",
		"ann@acmecorp.com here 'ann@acmecorp.com' '' user",
		"bob@acmecorp.com office365 'bob@acmecorp.com' '' user",
		"everybody@acmecorp.com here '' '' group",
		"room1@acmecorp.com here 'room1@acmecorp.com' '' room",
	},
}, {
	preset: "ad",
	schema: adSchema,
	entries: `
dn: CN=Ann,ou=people,dc=acmecorp,dc=com
objectClass: user
cn: Ann
sn: Ann
objectCategory: person
userAccountControl: 512
sAMAccountName: ann
userPrincipalName: ann@acmecorp.com
mail: Ann@acmecorp.com
proxyAddresses: SMTP:Ann@acmecorp.com
proxyAddresses: smtp:a.smith@acmecorp.com
proxyAddresses: smtp:ann@acmecorp.local
proxyAddresses: x500:/o=Acme/ou=First/cn=Recipients/cn=ann@acmecorp.com
proxyAddresses: SIP:ann@acmecorp.com

dn: CN=Bob,ou=people,dc=acmecorp,dc=com
objectClass: user
cn: Bob
sn: Bob
objectCategory: person
userAccountControl: 66048
sAMAccountName: bob
userPrincipalName: bob@acmecorp.com
mail: bob@acmecorp.com
targetAddress: SMTP:bob@acmecorp-com.onmicrosoft.com

dn: CN=Office,ou=people,dc=acmecorp,dc=com
objectClass: user
cn: Office
sn: Office
objectCategory: person
userAccountControl: 514
sAMAccountName: office
proxyAddresses: SMTP:office@acmecorp.com
targetAddress: SMTP:office@acmecorp-com.onmicrosoft.com

dn: CN=Leaver,ou=people,dc=acmecorp,dc=com
objectClass: user
cn: Leaver
sn: Leaver
objectCategory: person
userAccountControl: 514
sAMAccountName: leaver
mail: leaver@acmecorp.com
description: left out

dn: CN=PC1,ou=people,dc=acmecorp,dc=com
objectClass: computer
cn: PC1
sn: PC1
objectCategory: computer
userAccountControl: 4096
sAMAccountName: PC1$
mail: pc1@acmecorp.com
description: left out

dn: CN=Partner,ou=people,dc=acmecorp,dc=com
objectClass: contact
cn: Partner
sn: Partner
mail: partner@acmecorp.com
targetAddress: SMTP:partner@partner.example

dn: CN=Sales,ou=people,dc=acmecorp,dc=com
objectClass: group
cn: Sales
sAMAccountName: Sales
mail: sales@acmecorp.com
`,
	rows: []string{
		"Ann@acmecorp.com here 'ann ann@acmecorp.com' '' user",
		"a.smith@acmecorp.com here 'ann ann@acmecorp.com' '' user",
		"bob@acmecorp.com office365 'bob bob@acmecorp.com' 'bob@acmecorp-com.onmicrosoft.com' user",
		"office@acmecorp.com office365 'office' 'office@acmecorp-com.onmicrosoft.com' user",
		"partner@acmecorp.com here '' '' ",
		"sales@acmecorp.com here 'Sales' '' group",
	},
}, {
	preset: "exchange",
	schema: adSchema,
	entries: `
dn: CN=Ann,ou=people,dc=acmecorp,dc=com
objectClass: user
cn: Ann
sn: Ann
userAccountControl: 512
sAMAccountName: ann
msExchRecipientTypeDetails: 1
proxyAddresses: SMTP:ann@acmecorp.com

dn: CN=Bob,ou=people,dc=acmecorp,dc=com
objectClass: user
cn: Bob
sn: Bob
userAccountControl: 512
sAMAccountName: bob
msExchRecipientTypeDetails: 2147483648
proxyAddresses: SMTP:bob@acmecorp.com
proxyAddresses: smtp:bob@acmecorp-com.mail.onmicrosoft.com
targetAddress: SMTP:bob@acmecorp-com.mail.onmicrosoft.com

dn: CN=Room,ou=people,dc=acmecorp,dc=com
objectClass: user
cn: Room
sn: Room
userAccountControl: 514
msExchRecipientTypeDetails: 8589934592
proxyAddresses: SMTP:room@acmecorp.com
targetAddress: SMTP:room@acmecorp-com.mail.onmicrosoft.com

dn: CN=Office,ou=people,dc=acmecorp,dc=com
objectClass: user
cn: Office
sn: Office
userAccountControl: 514
msExchRecipientTypeDetails: 4
proxyAddresses: SMTP:office@acmecorp.com

dn: CN=Mail User,ou=people,dc=acmecorp,dc=com
objectClass: user
cn: Mail User
sn: User
userAccountControl: 512
msExchRecipientTypeDetails: 128
proxyAddresses: SMTP:mailuser@acmecorp.com
targetAddress: SMTP:mailuser@acmecorp-com.mail.onmicrosoft.com

dn: CN=Admin,ou=people,dc=acmecorp,dc=com
objectClass: user
cn: Admin
sn: Admin
userAccountControl: 512
mail: admin@acmecorp.com
description: left out

dn: CN=Sales,ou=people,dc=acmecorp,dc=com
objectClass: group
cn: Sales
proxyAddresses: SMTP:sales@acmecorp.com
`,
	rows: []string{
		"ann@acmecorp.com here 'ann' '' user",
		"bob@acmecorp.com office365 'bob' 'bob@acmecorp-com.mail.onmicrosoft.com' user",
		"mailuser@acmecorp.com office365 '' 'mailuser@acmecorp-com.mail.onmicrosoft.com' user",
		"office@acmecorp.com here '' '' shared",
		"room@acmecorp.com office365 '' 'room@acmecorp-com.mail.onmicrosoft.com' room",
		"sales@acmecorp.com here '' '' group",
	},
}}

// options are the preset's for acmecorp.com, with what an administrator adds.
func (r recorded) options() Options {
	o := Presets("office365")[r.preset]
	o.Servers, o.Base = []string{"ldap://127.0.0.1"}, "ou=people,dc=acmecorp,dc=com"
	o.Keep = func(domain string) bool { return domain == "acmecorp.com" }
	o.Residence.Platforms = func(domain string) string {
		if strings.HasSuffix(domain, ".onmicrosoft.com") {
			return "office365"
		}
		return ""
	}
	if r.change != nil {
		r.change(&o)
	}
	return o
}

// shown is a row as recordings have them.
func shown(row sources.Row) string {
	return fmt.Sprintf("%s %s '%s' '%s' %s", row.Address, row.Residence, row.Login, row.Target, row.Kind)
}

// entries reads LDIF that needs no more than lines.
func entries(t testing.TB, ldif string) (list []*goldap.Entry) {
	t.Helper()
	for block := range strings.SplitSeq(strings.TrimSpace(ldif), "\n\n") {
		attributes := make(map[string][]string)
		for line := range strings.SplitSeq(block, "\n") {
			name, value, found := strings.Cut(line, ": ")
			if !found {
				t.Fatalf("the line %q", line)
			}
			attributes[name] = append(attributes[name], value)
		}
		dn := attributes["dn"][0]
		delete(attributes, "dn")
		list = append(list, goldap.NewEntry(dn, attributes))
	}
	return list
}

func TestEachPresetMapsTheEntriesOfItsServers(t *testing.T) {
	if got, want := slices.Sorted(maps.Keys(Presets(""))), []string{"ad", "exchange", "mithi", "openldap", "zimbra"}; !slices.Equal(got, want) {
		t.Errorf("presets: %q; want %q", got, want)
	}
	for _, r := range recordings {
		o, err := r.options().complete()
		if err != nil {
			t.Errorf("%s: %v", r.preset, err)
			continue
		}
		m := newMapping(o)
		var got []string
		for _, e := range entries(t, r.entries) {
			if e.GetAttributeValue("description") != "" {
				continue
			}
			found, err := gather(e, m.wanted)
			if err != nil {
				t.Fatal(err)
			}
			for _, row := range m.rows(e.DN, found) {
				if row.Origin != e.DN {
					t.Errorf("%s is of %s; want %s", row.Address, row.Origin, e.DN)
				}
				got = append(got, shown(row))
			}
		}
		if slices.Sort(got); !slices.Equal(got, r.rows) {
			t.Errorf("%s:\n%s\nwant\n%s", r.preset, strings.Join(got, "\n"), strings.Join(r.rows, "\n"))
		}
	}
}
