package directory

import (
	"strings"
	"testing"

	"coexistd/policy/mail"
	"coexistd/policy/route"
)

// targeted are three platforms: one with an alternate domain of acmecorp.com, one with
// target domains, and one whose relay takes addresses as they are.
func targeted() Source {
	s := usual
	domain := *acme
	domain.Platforms = []string{"google", "hosted"}
	s.Domains = map[string]*route.Domain{acme.Name: &domain, twin.Name: twin}
	s.Platforms = []*route.Platform{
		{Name: "google", TargetDomains: []string{"targets.example"}},
		{Name: "hosted", ByRelay: true, Relay: "[hosted.example]:25"},
		{Name: "office365"},
	}
	return s
}

func TestATargetIsKeptWithItsDomainInNormalForm(t *testing.T) {
	list, err := build(targeted(), `address,residence,login,target
al@acmecorp.com,office365,al,Alice@AcmeCorp-com.OnMicrosoft.com
tina@acmecorp.com,google,,tina.smith@targets.example
both@acmecorp.com,both:google,,b@targets.example
rita@acmecorp.com,hosted,,
plain@acmecorp.com,office365,,
moves@acmecorp.com,moving,,moves@targets.example
stays@acmecorp.com,here,,stays@acmecorp-com.onmicrosoft.com
`)
	if err != nil {
		t.Fatal(err)
	}
	for address, want := range map[string]string{
		"al@acmecorp.com":    "Alice@acmecorp-com.onmicrosoft.com",
		"al+x@acmecorp.com":  "Alice@acmecorp-com.onmicrosoft.com",
		"tina@acmecorp.com":  "tina.smith@targets.example",
		"rita@acmecorp.com":  "",
		"plain@acmecorp.com": "",
		"moves@acmecorp.com": "moves@targets.example",
	} {
		a, err := mail.ParseAddress(address, "+")
		if err != nil {
			t.Fatal(err)
		}
		if got := NewSet(map[string][]*Snapshot{acme.Name: {list}}, nil).List(a).Target; got != want {
			t.Errorf("the target of %s is %q; right is %q", address, got, want)
		}
	}
	e, _ := list.Lookup("al@acmecorp.com")
	if e.Login() != "al" || e.Column("target") != "Alice@acmecorp-com.onmicrosoft.com" {
		t.Errorf("of al the list has the login %q and the target %q", e.Login(), e.Column("target"))
	}
}

func TestATargetThatWouldLeadAstrayIsRefused(t *testing.T) {
	for row, want := range map[string]string{
		"a@acmecorp.com,google,x@acmecorp-com.onmicrosoft.com": "the target x@acmecorp-com.onmicrosoft.com is of the domain acmecorp-com.onmicrosoft.com; it would be of targets.example",
		"a@acmecorp.com,office365,x@targets.example":           "the target x@targets.example is of the domain targets.example; it would be of acmecorp-com.onmicrosoft.com",
		"a@acmecorp.com,office365,b@acmecorp.com":              "the target b@acmecorp.com would come back: acmecorp.com is one of our domains",
		"a@acmecorp.com,hosted,b@far.example":                  "is of no domain that is known to reach another platform",
		"a@acmecorp.com,moving,b@far.example":                  "it would be of targets.example, acmecorp-com.onmicrosoft.com",
		"a@acmecorp.com,google,":                               "the row needs a target: nothing else reaches the mailbox at google",
		"a@acmecorp.com,both:hosted,":                          "the row needs a target: nothing else reaches the mailbox at hosted",
		"a@acmecorp.com,google,two words@targets.example":      "is not one address",
		"a@acmecorp.com,google,<x@targets.example>":            "holds more than an address",
		"a@acmecorp.com,google,x":                              "has no domain",
	} {
		_, err := build(targeted(), "address,residence,target\n"+row+"\n")
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: the error is %v; it must say %q", row, err, want)
		}
	}
}

func TestAGroupLivesOnOneSide(t *testing.T) {
	for row, refused := range map[string]bool{"team@acmecorp.com,both,Group": true, "team@acmecorp.com,office365,group": false, "team@acmecorp.com,both,user": false, "team@acmecorp.com,both,": false} {
		_, err := build(usual, "address,residence,kind\n"+row+"\n")
		if (err != nil) != refused || refused && !strings.Contains(err.Error(), "the group team@acmecorp.com lives on both sides") {
			t.Errorf("%s: %v", row, err)
		}
	}
}
