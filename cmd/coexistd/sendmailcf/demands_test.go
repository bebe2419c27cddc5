package sendmailcf

import (
	"fmt"
	"strings"
	"testing"

	"coexistd/policy"
	"coexistd/policy/route"
)

func TestTheAccessMapDemandsWhatSendmailCan(t *testing.T) {
	t.Parallel()
	rules := &policy.Rules{
		Routes: route.Rules{
			Domains: map[string]*route.Domain{"acmecorp.com": {Name: "acmecorp.com", Alternates: map[string]string{"office365": "acme.onmicrosoft.com"}}},
			Platforms: []*route.Platform{
				{Name: "office365"}, {Name: "google", Relay: "[relay.example]", ByRelay: true, TargetDomains: []string{"targets.example"}},
			},
		},
		TLS: []policy.TLS{
			{Name: "in", Domains: []string{"in.example"}, In: policy.Verify},
			{Name: "below", Domains: []string{".bank.example"}, Out: policy.Encrypt},
			{Name: "bank", Domains: []string{"bank.example"}, Out: policy.Secure, Names: []string{"mx.bank.example"}},
			{Name: "both", Domains: []string{"both.example", ".both.example"}, Out: policy.Verify, Names: []string{"both.example"}},
			{Name: "second", Domains: []string{"bank.example"}, Out: policy.Encrypt},
			{Name: "names", Domains: []string{"names.example"}, Out: policy.Secure, Names: []string{"a.example", "b.example"}},
			{Name: "dns", Domains: []string{"dns.example"}, Out: policy.DANE},
			{Name: "cloud", Platform: "office365", Out: policy.Encrypt},
			{Name: "relay", Platform: "google", Out: policy.Encrypt},
		},
	}
	got := ""
	for _, one := range Demands(rules) {
		got += strings.TrimPrefix(one.Key, "TLS_Rcpt:") + " " + one.Value + "\n"
	}
	const lines = `bank.example VERIFY:112+CN:mx.bank.example
both.example VERIFY:112+CN:both.example
names.example VERIFY:112
acme.onmicrosoft.com ENCR:112
targets.example ENCR:112
`
	if got != lines {
		t.Errorf("the lines are\n%s", got)
	}
	const lacks = `Of "below": Sendmail demands the same of a domain and of those below it, and another [[tls]] names that one.
Of "names": Sendmail compares one whole name with the certificate, and there are others.
Of "dns": what dane demands, Sendmail can demand of all servers alone: confDANE.
Of "relay": Sendmail demands nothing of [relay.example], as mail for users there keeps its domain.
`
	if got := fmt.Sprintln(strings.Join(Undemanded(rules), "\n")); got != lacks {
		t.Errorf("what lacks is\n%s", got)
	}
}
