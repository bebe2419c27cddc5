package main

import (
	"bytes"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"slices"
	"strings"
	"testing"

	"coexistd/contrib/lab"
)

// dkimKey signs and verifies by RFC 6376 with ed25519-sha256 (RFC 8463). The
// signature covers every field, with the canonicalization "simple" of section
// 3.4, in which a space more or less breaks it.
type dkimKey struct {
	public  ed25519.PublicKey
	private ed25519.PrivateKey
}

func newDKIMKey(t *testing.T) dkimKey {
	t.Helper()
	public, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return dkimKey{public, private}
}

// sign puts a signature of all fields on top of a message.
func (k dkimKey) sign(message []byte) []byte {
	fields, body := headerFields(message)
	names := make([]string, len(fields))
	for i, field := range fields {
		names[i], _, _ = strings.Cut(field, ":")
	}
	slices.Reverse(names) // section 5.4.2: from the bottom up
	head := fmt.Sprintf("DKIM-Signature: v=1; a=ed25519-sha256; c=simple/simple; d=acmecorp.com; s=test;\r\n\th=%s;\r\n\tbh=%s;\r\n\tb=",
		strings.Join(names, ":\r\n\t "), bodyHash(body))
	signature := ed25519.Sign(k.private, signedHash(fields, names, head))
	return slices.Concat([]byte(head+base64.StdEncoding.EncodeToString(signature)+"\r\n"), message)
}

// verifies reports that a message bears one signature, and that it is right.
func (k dkimKey) verifies(message []byte) bool {
	fields, body := headerFields(message)
	isSignature := func(field string) bool { return strings.HasPrefix(field, "DKIM-Signature:") }
	at := slices.IndexFunc(fields, isSignature)
	if at < 0 || slices.ContainsFunc(fields[at+1:], isSignature) {
		return false
	}
	tags := map[string]string{}
	_, list, _ := strings.Cut(strings.Join(strings.Fields(fields[at]), ""), ":")
	for tag := range strings.SplitSeq(list, ";") {
		name, value, _ := strings.Cut(tag, "=")
		tags[name] = value
	}
	head, _, found := strings.Cut(fields[at], tags["b"])
	signature, err := base64.StdEncoding.DecodeString(tags["b"])
	if !found || err != nil || tags["bh"] != bodyHash(body) {
		return false
	}
	return ed25519.Verify(k.public, signedHash(fields, strings.Split(tags["h"], ":"), head), signature)
}

// signedHash is the hash of section 3.7: the named fields, of several of one
// name the lowest first, and the signature's own field with an empty b=.
func signedHash(fields, names []string, head string) []byte {
	var b strings.Builder
	left := slices.Clone(fields)
	for _, name := range names {
		for i, field := range slices.Backward(left) {
			if strings.HasPrefix(field, name+":") {
				b.WriteString(field)
				left = slices.Delete(left, i, i+1)
				break
			}
		}
	}
	hash := sha256.Sum256([]byte(b.String() + head))
	return hash[:]
}

// bodyHash is that of section 3.4.3.
func bodyHash(body []byte) string {
	for bytes.HasSuffix(body, []byte("\r\n\r\n")) {
		body = body[:len(body)-2]
	}
	if len(body) == 0 {
		body = []byte("\r\n")
	}
	hash := sha256.Sum256(body)
	return base64.StdEncoding.EncodeToString(hash[:])
}

// headerFields takes a message apart: its fields with their line ends, and the
// body.
func headerFields(message []byte) (fields []string, body []byte) {
	head, body, _ := bytes.Cut(message, []byte("\r\n\r\n"))
	for line := range strings.Lines(string(head) + "\r\n") {
		if line[0] == ' ' || line[0] == '\t' {
			fields[len(fields)-1] += line
		} else {
			fields = append(fields, line)
		}
	}
	return fields, body
}

func TestADKIMSignatureMadeBeforeTheMilterStillVerifiesAfter(t *testing.T) {
	t.Parallel()
	s := startSite(t, lab.SiteConfig{})
	key := newDKIMKey(t)
	signed := map[string][]byte{}
	for about, m := range ordinary(t) {
		m = key.sign(m)
		for what, changed := range map[string][]byte{
			"a field":  bytes.Replace(m, []byte("\r\nSubject: "), []byte("\r\nSubject:  "), 1),
			"the body": append(slices.Clone(m), "more\r\n"...),
		} {
			if key.verifies(changed) {
				t.Fatalf("%s: the signature verifies with %s changed", about, what)
			}
		}
		if !key.verifies(m) {
			t.Fatalf("%s: the signature does not verify before it is sent", about)
		}
		signed[about] = m
		s.deliver(lab.FromUser, lab.Mail{From: "bob@acmecorp.com", Args: "BODY=8BITMIME", To: fourRecipients, Data: m})
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
				if !key.verifies(copied) {
					t.Errorf("%s: at %s the signature does not verify any more:\n%.2000q", about, place, copied)
				}
			}
		}
	}
}
