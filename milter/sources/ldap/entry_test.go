package ldap

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	goldap "github.com/go-ldap/ldap/v3"
)

// mapped returns the rows of one entry.
func mapped(t testing.TB, o Options, e *goldap.Entry) (rows []string) {
	t.Helper()
	m := newMapping(o)
	found, err := gather(e, m.wanted)
	if err != nil {
		t.Fatal(err)
	}
	for _, row := range m.rows(e.DN, found) {
		rows = append(rows, fmt.Sprint(shown(row), row.Further))
	}
	return rows
}

func TestAValueIsAnAddressOrNone(t *testing.T) {
	o := Options{Address: []string{"mail"}, Keep: func(domain string) bool { return domain == "acmecorp.com" || domain == "xn--bcher-kva.example" }}
	m := newMapping(o)
	for value, want := range map[string]string{
		"ann@acmecorp.com":         "ann@acmecorp.com",
		"SMTP:Ann@AcmeCorp.com":    "Ann@AcmeCorp.com",
		"smtp: ann@acmecorp.com":   "ann@acmecorp.com",
		`"a:b"@acmecorp.com`:       `"a:b"@acmecorp.com`,
		"dora@bücher.example":      "dora@bücher.example",
		"<ann@acmecorp.com>":       "<ann@acmecorp.com>", // whoever judges the row says what is wrong
		"X500:/o=ann@acmecorp.com": "",
		"sip:ann@acmecorp.com":     "",
		"EUM:1@acmecorp.com":       "",
		"ann@partner.example":      "",
		"ann@[192.0.2.1]":          "",
		"none":                     "",
		"@":                        "@",
	} {
		address, ours := m.ours(value)
		if !ours {
			address = ""
		}
		if address != want {
			t.Errorf("%q: %q; want %q", value, address, want)
		}
	}
}

func TestTheFirstThatSaysSomethingTellsTheResidence(t *testing.T) {
	base := Options{
		Address: []string{"mail"}, Target: []string{"route", "forward"},
		Residence: Residence{
			Attribute: "Type",
			Values:    []Choice{{"moving", "moving"}, {"&12", "google"}, {"smtp:*", "office365"}},
			Platforms: func(domain string) string { return map[string]string{"o.example": "office365"}[domain] },
			Groups:    []Choice{{"cn=Cloud, dc=acmecorp,dc=com", "google"}, {"cn=both,dc=acmecorp,dc=com", "both"}},
			Default:   "office365",
		},
	}
	for _, c := range []struct{ entry, want string }{
		{"type: Moving\nroute: ann@o.example", "moving 'ann@o.example'"},
		{"type: 13", "google ''"},
		{"type: 8", "office365 ''"},
		{"type: 99999999999999999999", "office365 ''"},
		{"type: SMTP:relay.example\nmemberOf: cn=cloud,dc=acmecorp,dc=com", "office365 ''"},
		{"route: smtp:ann@o.example", "office365 'ann@o.example'"},
		{"route: ann@store.example\nforward: ann@O.example", "office365 'ann@O.example'"},
		{"route: ann@store.example", "here ''"},
		{"route: sip:ann@o.example\nroute: none", "office365 ''"},
		{"route: ann@store.example\nmemberOf: CN=Cloud,DC=AcmeCorp,DC=com", "google 'ann@store.example'"},
		{"memberOf: cn=both,dc=acmecorp,dc=com\nmemberOf: CN=Cloud,DC=AcmeCorp,DC=com", "google ''"},
		{"memberOf: cn=other,dc=acmecorp,dc=com\nmemberOf: no DN", "office365 ''"},
	} {
		e := entries(t, "dn: uid=ann\nmail: ann@acmecorp.com\n"+c.entry)[0]
		want := strings.Replace("ann@acmecorp.com "+c.want+" map[]", " '", " '' '", 1)
		if got := mapped(t, base, e); len(got) != 1 || got[0] != strings.Replace(want, " map[]", " map[]", 1) {
			t.Errorf("%s: %q; want %q", c.entry, got, want)
		}
	}
}

func TestFurtherColumnsAndLoginsComeFromAnyAttribute(t *testing.T) {
	o := Options{
		Address: []string{"MAIL"}, Login: []string{"uid", "alias"}, Residence: Residence{Default: "here"},
		Further: map[string]string{"per_hour": "mailLimit", "none": "nothing"},
	}
	e := entries(t, "dn: uid=ann\nmail;lang-de: ann@acmecorp.com\nMail: a@acmecorp.com\nUID: ann\nalias: ann\nalias: two words\nalias: a\nmailLimit:  20\nmailLimit: 100")[0]
	want := []string{
		"a@acmecorp.com here 'ann a' '' map[none: per_hour:100]",
		"ann@acmecorp.com here 'ann a' '' map[none: per_hour:100]",
	}
	if got := mapped(t, o, e); !slices.Equal(got, want) {
		t.Errorf("%q; want %q", got, want)
	}
}

func FuzzRows(f *testing.F) {
	for _, r := range recordings {
		for _, e := range entries(f, r.entries) {
			var text strings.Builder
			for _, a := range e.Attributes {
				for _, value := range a.Values {
					fmt.Fprintf(&text, "%s: %s\n", a.Name, value)
				}
			}
			f.Add(r.preset, e.DN, text.String())
		}
	}
	f.Add("ad", "uid=ann", "mail;range=0-1: a@acmecorp.com\nproxyAddresses: smtp:@\nmemberOf: cn=\\")
	f.Fuzz(func(t *testing.T, preset, dn, text string) {
		o, isPreset := Presets("office365")[preset]
		if !isPreset {
			o = Presets("google")["openldap"]
		}
		o.Keep = func(domain string) bool { return domain == "acmecorp.com" }
		o.Residence.Platforms = func(domain string) string {
			if domain == "o.example" {
				return "google"
			}
			return ""
		}
		o.Residence.Groups = []Choice{{"cn=cloud,dc=acmecorp,dc=com", "both"}}
		attributes, values := make(map[string][]string), 0
		for line := range strings.SplitSeq(text, "\n") {
			name, value, _ := strings.Cut(line, ": ")
			attributes[name] = append(attributes[name], value)
			values++
		}
		m := newMapping(o)
		gathered, err := gather(goldap.NewEntry(dn, attributes), m.wanted)
		if err != nil {
			return
		}
		rows := m.rows(dn, gathered)
		if len(rows) > values {
			t.Errorf("%d rows of %d values", len(rows), values)
		}
		seen := make(map[string]bool)
		for _, row := range rows {
			at := strings.LastIndexByte(row.Address, '@')
			if key := strings.ToLower(row.Address); at < 0 || seen[key] {
				t.Errorf("the address %q", row.Address)
			} else {
				seen[key] = true
			}
			if !slices.Contains([]string{"here", "both", "google", "office365"}, row.Residence) {
				t.Errorf("the residence %q", row.Residence)
			}
			first := rows[0]
			if row.Origin != dn || row.Login != first.Login || row.Target != first.Target || row.Kind != first.Kind || row.Residence != first.Residence {
				t.Errorf("%q is not as %q", row, first)
			}
			if row.Residence == here && row.Target != "" {
				t.Errorf("%q lives here and has a target", row)
			}
		}
	})
}
