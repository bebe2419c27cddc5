package setup_test

import (
	"strings"
	"testing"

	"coexistd/cmd/coexistd/zone"
)

const withGoogle = `hostname = "mail.acmecorp.com"
OUTBOUND
[[listen]]
address = "inet:127.0.0.1:8701"
[platform.google]
networks = ["spf:_spf.google.com"]
PROOF
[domain."acmecorp.com"]
directory = "users.csv"
alternate = { google = "gapps.acmecorp.com" }
[domain."acme-corp.example"]
directory = "users.csv"
alternate = { google = "acme-corp.example.test-google-a.com" }
`

func TestGooglesGuideGoesByTheConfiguration(t *testing.T) {
	t.Parallel()
	const proof = `proof = { header = "X-Coexist-Proof", secret_file = "proof.key" }`
	for name, c := range map[string]struct {
		outbound, proof string
		has, lacks      []string
	}{
		"without a proof": {"", "", []string{`first add proof = { header = "X-Coexist-Proof", secret_file = "proof.key" } to platform.google in /etc/coexistd/coexistd.toml`,
			`^.*@(acme-corp\.example|acmecorp\.com)$`, "acme-corp.example.test-google-a.com Google makes it by itself", "Gateway IPs: 192.0.2.25 ("}, []string{"SMTP relay service >", "may_relay"}},
		"with a proof":           {"", proof, []string{"header X-Coexist-Proof (without its X- where the field shows that already), its value the line in /etc/coexistd/proof.key"}, []string{proofSecret}},
		"all leaves there":       {`outbound = "google"`, proof, []string{"Only accept mail from the specified IP addresses: 192.0.2.25", "says mail.acmecorp.com in EHLO, which is in a domain of the account"}, []string{"may_relay"}},
		"users there leave here": {"", proof + "\nmay_relay = true", []string{"Outbound", "Not by Outbound gateway, which adds no header"}, []string{"SMTP relay service >"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			site := survey(t, strings.NewReplacer("OUTBOUND", c.outbound, "PROOF", c.proof).Replace(withGoogle), "address,residence\nbob@acmecorp.com,here\nhugo@acme-corp.example,google\n",
				zone.Answers{"mail.acmecorp.com": {Addresses: []string{"10.0.0.1", "192.0.2.25"}}})
			text := strings.ReplaceAll(guideText(site, "google", false), "\n# ", " ")
			for _, one := range c.has {
				if !strings.Contains(text, one) {
					t.Errorf("it does not say %q:\n%s", one, text)
				}
			}
			for _, one := range c.lacks {
				if strings.Contains(text, one) {
					t.Errorf("it says %q:\n%s", one, text)
				}
			}
			if retire := guideText(site, "google", true); strings.Contains(retire, "SMTP relay service:") != (c.outbound != "") {
				t.Errorf("to retire it says\n%s", retire)
			}
		})
	}
}
