package e2e

import (
	"bytes"
	"strings"
	"testing"

	"github.com/emersion/go-msgauth/dkim"

	"coexistd/contrib/lab"
)

// Whatever an MTA does with a NUL, it does before it asks a milter: what is checked is what is
// delivered. But what it takes out, it takes out of what was signed.
func TestWhatIsDeliveredOfAMessageWithANULIsWhatWasChecked(t *testing.T) {
	t.Parallel()
	strip := map[string]string{"message_strip_characters": `\0`}
	for _, c := range []struct {
		name   string
		mta    lab.MTA
		main   map[string]string
		seen   bool // the name of a program behind a NUL
		signed bool // the signature of a message with a NUL in its body holds
	}{
		{"left as it is", lab.PostfixMTA, nil, false, true},
		{"taken out", lab.PostfixMTA, strip, true, false},
		{"taken out of the header", lab.SendmailMTA, nil, true, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			s := startSite(t, lab.SiteConfig{MTA: c.mta, TOML: lab.SiteTOML + "\n[check.malware]\non_hit = \"reject\"\n", Main: c.main})
			message := lab.Plain("eve@example.net", "bob@acmecorp.com", "nul")
			r := s.send(lab.FromInternet, lab.Mail{From: "eve@example.net", To: lab.To("bob@acmecorp.com"),
				Data: withHeader("Content-Disposition: attachment;\x00 filename=x.exe", message)})
			if seen := strings.Contains(r.Data.Text, "Attachment refused"); seen != c.seen || seen == r.Accepted() {
				t.Errorf("the name of a program behind a NUL was answered %+v", r)
			}
			key := newSigner(t, "acmecorp.com")
			verify := &dkim.VerifyOptions{LookupTXT: func(string) ([]string, error) { return []string{key.record}, nil }}
			signed := key.sign(t, append(lab.Plain("bob@acmecorp.com", "bob@acmecorp.com", "signed"), "a\x00b\r\n"...))
			s.deliver(lab.FromUser, lab.Mail{From: "bob@acmecorp.com", To: lab.To("bob@acmecorp.com"), Data: signed})
			s.settle()
			if copies, _ := s.copies(message); r.Accepted() && (len(copies["here"]) != 1 || bytes.Contains(copies["here"][0], []byte("x.exe"))) {
				t.Errorf("of a message whose name behind a NUL no milter was told, this is delivered: %q", copies)
			}
			if copies, _ := s.copies(signed); len(copies["here"]) != 1 || verifies(copies["here"][0], verify) != c.signed {
				t.Errorf("a signature over a NUL must hold: %v; this is delivered: %q", c.signed, copies)
			}
		})
	}
}

// It was held before main.cf had the line, and comes back by an smtpd that has it.
func TestAHeldMessageWithANULIsKeptWhenItsReleaseIsRefused(t *testing.T) {
	t.Parallel()
	s := startSite(t, lab.SiteConfig{TOML: checkedTOML("", "", neverReport)})
	message := append(programFor("bob@acmecorp.com", "nul", 100), "a\x00b\r\n"...)
	held := s.hold(message, "bob@acmecorp.com")
	if err := s.Postfix.Restart(deadline(t), map[string]string{"message_reject_characters": `\0`}); err != nil {
		t.Fatal(err)
	}
	s.release(held[0].ID, "failed", "550 5.7.1 disallowed character")
	// As contrib/postfix says of an smtpd for releases.
	if err := s.Postfix.Restart(deadline(t), map[string]string{"receive_override_options": "no_header_body_checks"}); err != nil {
		t.Fatal(err)
	}
	s.release(held[0].ID, "released", "")
	s.mustArrive(message, "here bob@acmecorp.com")
}
