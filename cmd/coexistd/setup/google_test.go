package setup_test

import (
	"bytes"
	"crypto/ed25519"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"coexistd/cmd/coexistd/postconf"
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
			`(?i)^.*@(acme-corp\.example|acmecorp\.com)$`, "acme-corp.example.test-google-a.com Google makes it by itself", "Gateway IPs: 192.0.2.25 ("}, []string{"SMTP relay service >", "may_relay"}},
		"with a proof":           {"", proof, []string{"header X-Coexist-Proof (without its X- where the field shows that already), its value what /etc/coexistd/proof.key holds"}, []string{proofSecret}},
		"all leaves there":       {`outbound = "google"`, proof, []string{"Only accept mail from the specified IP addresses: 192.0.2.25", "says mail.acmecorp.com in EHLO, which is in a domain of the account"}, []string{"may_relay"}},
		"nobody is on both":      {"", proof, nil, []string{"copies"}},
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

// certificateFile is a file with a certificate for mail.acmecorp.com until then, signed by the one of that
// name, or by itself.
func certificateFile(t *testing.T, by string, end time.Time) string {
	t.Helper()
	key := ed25519.NewKeyFromSeed(bytes.Repeat([]byte{1}, ed25519.SeedSize))
	own := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "mail"}, DNSNames: []string{"mail.acmecorp.com"}, NotBefore: end.Add(-48 * time.Hour), NotAfter: end}
	signer := own
	if by != "" {
		signer = &x509.Certificate{Subject: pkix.Name{CommonName: by}}
	}
	der, err := x509.CreateCertificate(nil, own, signer, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "cert.pem")
	if err := os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// What the certificate of this host does not fulfil keeps all mail from coming.
func TestGoogleDemandsOnlyWhatTheCertificateFulfils(t *testing.T) {
	t.Parallel()
	const both = "Require CA-signed certificate and Validate certificate hostname"
	tomorrow := time.Now().Add(24 * time.Hour)
	for name, c := range map[string]struct{ hostname, file, says string }{
		"signed by itself":    {"mail.acmecorp.com", certificateFile(t, "", tomorrow), "check, but leave " + both + " unchecked: Google takes no certificate then but one of a public authority for mail.acmecorp.com, and of that of this host is to be said: it is signed by itself"},
		"of an own authority": {"mail.acmecorp.com", certificateFile(t, "Acme's own", tomorrow), "it is of an authority that this system does not know (CN=Acme's own)"},
		"for another name":    {"mx.acmecorp.com", certificateFile(t, "", tomorrow), "it is not for mx.acmecorp.com but for mail.acmecorp.com"},
		"over":                {"mail.acmecorp.com", certificateFile(t, "Acme's own", tomorrow.Add(-48*time.Hour)), "it does not hold: x509: certificate has expired"},
		"none":                {"mail.acmecorp.com", "", "leave unchecked: which certificate this host shows is not known here"},
		"that cannot be read": {"mail.acmecorp.com", filepath.Join(t.TempDir(), "none.pem"), "leave unchecked: which certificate this host shows is not known here"},
	} {
		toml := strings.NewReplacer("OUTBOUND", "", "PROOF", "", "mail.acmecorp.com", c.hostname).Replace(withGoogle)
		site := survey(t, toml, "address,residence\n", nil)
		site.SurveyPostfix(t.Context(), &postconf.Settings{Main: map[string]string{"smtpd_tls_cert_file": c.file}})
		if text := strings.ReplaceAll(guideText(site, "google", false), "\n# ", " "); !strings.Contains(text, c.says) {
			t.Errorf("%s: it does not say %q:\n%s", name, c.says, text)
		}
	}
}

// Google is told to let all in before the MX points there, and its rules go after the MX has left.
func TestGoogleIsRetiredByWhereTheMailboxesAre(t *testing.T) {
	t.Parallel()
	const proof = `proof = { header = "X-Coexist-Proof", secret_file = "proof.key" }`
	const another = "[platform.other]\nproof = { header = \"X-Other\", secret_file = \"proof.key\" }\n"
	for name, c := range map[string]struct {
		users, more string
		steps       []string // in this order
		lacks       string
	}{
		"all are there":          {"bob@acmecorp.com,google\nhugo@acme-corp.example,google\n", "", []string{"uncheck Reject all mail not from gateway IPs", "google: the MX", "Default routing: delete", "then delete /etc/coexistd/proof.key"}, "turn Gmail off"},
		"all are here":           {"bob@acmecorp.com,here\nhugo@acme-corp.example,here\n", "", []string{"turn Gmail off for all", "google: the MX", "Default routing: delete"}, "Reject all mail"},
		"each domain's, in one":  {"bob@acmecorp.com,here\nhugo@acme-corp.example,google\n", "", []string{"For acme-corp.example the MX", "For acmecorp.com: when", "google: the MX"}, "not yet"},
		"the secret is others'":  {"bob@acmecorp.com,here\nhugo@acme-corp.example,here\n", another, []string{"Leave /etc/coexistd/proof.key: platform.other.proof.secret_file names it, too"}, "then delete /etc"},
		"one domain's on both":   {"bob@acmecorp.com,here\nanna@acmecorp.com,google\nhugo@acme-corp.example,here\n", "", []string{"google: not yet", "mailboxes of acmecorp.com here and at google"}, "delete"},
		"a domain has none left": {"bob@acmecorp.com,here\n", "", []string{"google: not yet", "mailboxes of acme-corp.example nowhere"}, "delete"},
	} {
		site := survey(t, strings.NewReplacer("OUTBOUND", "", "PROOF", proof).Replace(withGoogle)+c.more, "address,residence\n"+c.users, nil)
		whole := strings.ReplaceAll(guideText(site, "google", true), "\n# ", " ")
		text := whole
		for _, step := range c.steps {
			_, after, found := strings.Cut(text, step)
			if !found {
				t.Errorf("%s: %q does not come, or too early:\n%s", name, step, whole)
			}
			text = after
		}
		if strings.Contains(whole, c.lacks) {
			t.Errorf("%s: it says %q:\n%s", name, c.lacks, whole)
		}
	}
}

// Mail for a mailbox on both sides stops at Google where nothing has it copied here.
func TestGoogleCopiesWhatIsForMailboxesOnBothSides(t *testing.T) {
	t.Parallel()
	for mx, affects := range map[string]string{"": "Email messages to affect: Internal - Receiving alone", "mx = \"google\"\n": "Email messages to affect: Inbound, and Internal - Receiving"} {
		toml := strings.NewReplacer("OUTBOUND", "", "PROOF", `proof = { header = "X-Coexist-Proof", secret_file = "proof.key" }`, "alternate = { google = \"gapps", mx+"alternate = { google = \"gapps").Replace(withGoogle)
		site := survey(t, toml, "address,residence\nbob@acmecorp.com,both\nhugo@acme-corp.example,google\n", nil)
		_, step, _ := strings.Cut(strings.ReplaceAll(guideText(site, "google", false), "\n# ", " "), "google: copies for mailboxes on both sides")
		for _, one := range []string{affects, "Add more recipients, Add, Advanced", "header X-Coexist-Proof", "Route, Change route: check, coexistd", `Pattern match, (?i)^.*@acmecorp\.com$`} {
			if _, step, _ = strings.Cut(step, one); step == "" {
				t.Errorf("with %q it does not say %q, or too early", mx, one)
			}
		}
	}
}
