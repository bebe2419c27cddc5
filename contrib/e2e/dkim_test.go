package e2e

import (
	"bytes"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"testing"

	"github.com/emersion/go-msgauth/dkim"

	"coexistd/contrib/lab"
)

// The signature covers every field with the strictest canonicalization (RFC
// 6376 section 3.4), in which a changed space breaks it.
func TestADKIMSignatureMadeBeforeTheMilterStillVerifiesAfter(t *testing.T) {
	onEachMTA(t, func(t *testing.T, mta lab.MTA) {
		s := startSite(t, lab.SiteConfig{MTA: mta})
		public, private, err := ed25519.GenerateKey(rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		options := &dkim.SignOptions{
			Domain: "acmecorp.com", Selector: "test", Signer: private,
			HeaderCanonicalization: dkim.CanonicalizationSimple, BodyCanonicalization: dkim.CanonicalizationSimple,
		}
		verify := &dkim.VerifyOptions{LookupTXT: func(name string) ([]string, error) {
			if name != "test._domainkey.acmecorp.com" {
				return nil, errors.New("there is no such record")
			}
			return []string{"v=DKIM1; k=ed25519; p=" + base64.StdEncoding.EncodeToString(public)}, nil
		}}
		signed := map[string][]byte{}
		for about, m := range ordinary(t) {
			var b bytes.Buffer
			if err := dkim.Sign(&b, bytes.NewReader(m), options); err != nil {
				t.Fatalf("%s: %v", about, err)
			}
			signed[about] = b.Bytes()
			if !verifies(signed[about], verify) {
				t.Fatalf("%s: the signature does not verify before it is sent", about)
			}
			if changed := bytes.Replace(signed[about], []byte("Subject: "), []byte("Subject:  "), 1); verifies(changed, verify) {
				t.Fatalf("%s: the signature verifies with a field that was changed", about)
			}
			s.deliver(lab.FromUser, lab.Mail{From: "bob@acmecorp.com", Args: "BODY=8BITMIME", To: fourRecipients, Data: signed[about]})
		}
		if err := s.WaitEmpty(deadline(t)); err != nil {
			t.Fatal(err)
		}
		for about, m := range signed {
			copies, arrivals := s.copies(m)
			if len(arrivals) != len(fourPlaces) {
				t.Errorf("%s: it arrived at %q only", about, arrivals)
			}
			for place, copies := range copies {
				for _, copied := range copies {
					if !verifies(copied, verify) {
						t.Errorf("%s: at %s the signature does not verify any more:\n%.2000q", about, place, copied)
					}
				}
			}
		}
	})
}

// verifies reports that a message bears one signature and that it is right.
func verifies(message []byte, options *dkim.VerifyOptions) bool {
	found, err := dkim.VerifyWithOptions(bytes.NewReader(message), options)
	return err == nil && len(found) == 1 && found[0].Err == nil
}
