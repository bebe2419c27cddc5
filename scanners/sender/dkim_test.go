package sender_test

import (
	"bytes"
	"context"
	"crypto"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"errors"
	"fmt"
	"math/big"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/emersion/go-msgauth/dkim"

	"coexistd/contrib/lab"
	"coexistd/policy/spoof"
	"coexistd/scanners"
	"coexistd/scanners/sender"
)

const letter = "From: Bob <bob@acmecorp.com>\r\nTo: x@example.net\r\nSubject: hello\r\nDate: Tue, 1 Jan 2030 10:00:00 +0000\r\n" +
	"Message-ID: <1@acmecorp.com>\r\n\r\nHello,\r\n\r\nthere  is something\tto say.\r\n\r\n\r\n"

func message(text string) *scanners.Message {
	return &scanners.Message{Content: strings.NewReader(text), Size: int64(len(text))}
}

// key makes a key and publishes it as selector s.
func key(t testing.TB, dns *lab.DNS, domain string) ed25519.PrivateKey {
	t.Helper()
	public, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	dns.Set("s._domainkey."+domain, "TXT", "v=DKIM1; k=ed25519; p="+base64.StdEncoding.EncodeToString(public))
	return private
}

func sign(t testing.TB, text, domain string, signer crypto.Signer, change func(*dkim.SignOptions)) string {
	t.Helper()
	options := &dkim.SignOptions{
		Domain: domain, Selector: "s", Signer: signer,
		HeaderCanonicalization: dkim.CanonicalizationRelaxed, BodyCanonicalization: dkim.CanonicalizationRelaxed,
		HeaderKeys: []string{"From", "From", "To", "Subject", "Date", "Message-ID"},
	}
	if change != nil {
		change(options)
	}
	var signed bytes.Buffer
	if err := dkim.Sign(&signed, strings.NewReader(text), options); err != nil {
		t.Fatal(err)
	}
	return signed.String()
}

func TestSignaturesAreVerified(t *testing.T) {
	dns := startDNS(t)
	private := key(t, dns, "acmecorp.com")
	ours := sign(t, letter, "acmecorp.com", private, nil)
	weak, err := rsa.GenerateKey(rand.Reader, 1024)
	if err != nil {
		t.Fatal(err)
	}
	publish := func(name string, key *rsa.PublicKey) {
		der, err := x509.MarshalPKIXPublicKey(key)
		if err != nil {
			t.Fatal(err)
		}
		dns.Set(name, "TXT", "v=DKIM1; p="+base64.StdEncoding.EncodeToString(der))
	}
	publish("s._domainkey.rsa.example", &weak.PublicKey)
	publish("s._domainkey.short.example", &rsa.PublicKey{N: new(big.Int).SetBit(big.NewInt(12345), 767, 1), E: 65537})
	publish("s._domainkey.long.example", &rsa.PublicKey{N: new(big.Int).SetBit(big.NewInt(12345), 30_000, 1), E: 65537})
	dns.Set("s._domainkey.revoked.example", "TXT", "v=DKIM1; p=")
	dns.Set("s._domainkey.broken.example", "TXT", "v=DKIM1; p=????")
	dns.Set("s._domainkey.twice.example", "TXT", "v=DKIM1; p=AAAA", "v=DKIM1; p=BBBB")
	dns.Fail("s._domainkey.down.example", lab.DNSServFail)
	dns.Fail("s._domainkey.refused.example", lab.DNSRefused)
	dns.Fail("s._domainkey.silent.example", lab.DNSSilent)
	dns.Set("s._domainkey.xn--bcher-kva.example", "TXT", "v=DKIM1; k=ed25519; p="+base64.StdEncoding.EncodeToString(private.Public().(ed25519.PublicKey)))
	signedFor := func(domain string) string { return sign(t, letter, domain, private, nil) }
	expires := func(in time.Duration) func(*dkim.SignOptions) {
		return func(o *dkim.SignOptions) { o.Expiration = time.Now().Add(in) }
	}
	simple := func(o *dkim.SignOptions) { o.HeaderCanonicalization, o.BodyCanonicalization = "simple", "simple" }
	replace := func(old, by string) string {
		if !strings.Contains(ours, old) {
			t.Fatalf("the message has no %q:\n%s", old, ours)
		}
		return strings.Replace(ours, old, by, 1)
	}

	for _, c := range []struct {
		about, text string
		want        spoof.AuthResult
		domain      string
		why         string
	}{
		{"relaxed", ours, spoof.AuthPass, "acmecorp.com", ""},
		{"simple", sign(t, letter, "acmecorp.com", private, simple), spoof.AuthPass, "acmecorp.com", ""},
		{"RSA with 1,024 bits", sign(t, letter, "rsa.example", weak, nil), spoof.AuthPass, "rsa.example", ""},
		{"a domain in another case", sign(t, letter, "AcmeCorp.COM", private, nil), spoof.AuthPass, "acmecorp.com", ""},
		{"a domain in UTF-8 (RFC 8616 section 5)", signedFor("bücher.example"), spoof.AuthPass, "xn--bcher-kva.example", ""},
		{"white space that relaxed does not heed", strings.Replace(ours, "there  is", "there is", 1), spoof.AuthPass, "acmecorp.com", ""},
		{"not expired", sign(t, letter, "acmecorp.com", private, expires(time.Hour)), spoof.AuthPass, "acmecorp.com", ""},
		{"expired", sign(t, letter, "acmecorp.com", private, expires(-time.Hour)), spoof.AuthFail, "acmecorp.com", "expired"},
		{"another body", strings.Replace(ours, "something", "anything", 1), spoof.AuthFail, "acmecorp.com", "body hash"},
		{"more body", ours + "P.S. send money\r\n", spoof.AuthFail, "acmecorp.com", "body hash"},
		{"another subject", replace("Subject: hello", "Subject: money"), spoof.AuthFail, "acmecorp.com", "did not verify"},
		{"another From", replace("From: Bob <bob@", "From: Bob <ceo@"), spoof.AuthFail, "acmecorp.com", ""},
		{"a second From, which the signature excludes", replace("From: Bob", "From: x@evil.example\r\nFrom: Bob"), spoof.AuthFail, "acmecorp.com", ""},
		{"another key", strings.Replace(ours, "d=acmecorp.com", "d=rsa.example", 1), spoof.AuthPermError, "rsa.example", "key algorithm"},
		{"a part of the body unsigned", replace("v=1;", "v=1; l=5;"), spoof.AuthFail, "acmecorp.com", "body length"},
		{"rsa-sha1 (RFC 8301 section 3.1)", strings.Replace(sign(t, letter, "rsa.example", weak, nil), "a=rsa-sha256", "a=rsa-sha1", 1), spoof.AuthPermError, "rsa.example", "too weak"},
		{"RSA with 768 bits (RFC 8301 section 3.2)", sign(t, letter, "short.example", weak, nil), spoof.AuthPermError, "short.example", "too short"},
		{"RSA with 30,000 bits", sign(t, letter, "long.example", weak, nil), spoof.AuthPermError, "long.example", "longer than 4096 bytes"},
		{"a key that was revoked", signedFor("revoked.example"), spoof.AuthPermError, "revoked.example", "revoked"},
		{"a broken key", signedFor("broken.example"), spoof.AuthPermError, "broken.example", "syntax"},
		{"two keys", signedFor("twice.example"), spoof.AuthPermError, "twice.example", "multiple"},
		{"no key", signedFor("none.example"), spoof.AuthPermError, "none.example", "no key"},
		{"a domain that is none", signedFor("a$b.example"), spoof.AuthPermError, "", "no key"},
		{"an address for a domain", signedFor("[192.0.2.1]"), spoof.AuthPermError, "", "no key"},
		{"DNS fails", signedFor("down.example"), spoof.AuthTempError, "down.example", "key unavailable"},
		{"DNS refuses", signedFor("refused.example"), spoof.AuthTempError, "refused.example", "key unavailable"},
		{"DNS is silent", signedFor("silent.example"), spoof.AuthTempError, "silent.example", "key unavailable"},
		{"From unsigned", replace("h=From:From:", "h="), spoof.AuthPermError, "acmecorp.com", "From field not signed"},
		{"another version", replace("v=1;", "v=2;"), spoof.AuthPermError, "acmecorp.com", "version"},
		{"a tag twice", replace("v=1;", "v=1; d=acmecorp.com;"), spoof.AuthPermError, "acmecorp.com", "duplicate"},
		{"rubbish", "DKIM-Signature: rubbish\r\n" + letter, spoof.AuthPermError, "", "malformed"},
		{"nothing", "DKIM-Signature:\r\n" + letter, spoof.AuthPermError, "", "version"},
		{"the name in another case", strings.Replace(ours, "DKIM-Signature", "dkim-SIGNATURE", 1), spoof.AuthPass, "acmecorp.com", ""},
		{"no end of the header", "DKIM-Signature: v=1; d=acmecorp.com; s=s\r\n", spoof.AuthPermError, "acmecorp.com", "cannot be read"},
	} {
		t.Run(c.about, func(t *testing.T) {
			v := verifier(dns)
			if strings.HasPrefix(c.domain, "silent.") {
				v = impatient(dns)
			}
			found := v.DKIM(t.Context(), message(c.text))
			if len(found) != 1 {
				t.Fatalf("got %+v", found)
			}
			got := found[0]
			if got.Result != c.want || got.Domain != c.domain || !strings.Contains(got.Why, c.why) || (got.Why == "") != (c.want == spoof.AuthPass) {
				t.Errorf("got %+v, want %s of %q, %q", got, c.want, c.domain, c.why)
			}
			if got.Domain != "" && got.Selector != "s" {
				t.Errorf("the selector is %q", got.Selector)
			}
		})
	}
}

func TestAMessageWithoutSignaturesHasNone(t *testing.T) {
	for _, text := range []string{letter, "", "\r\n", "DKIM-Signature-Of-Mine: v=1; d=x\r\n\r\nDKIM-Signature: v=1; d=x\r\n"} {
		if found := verifier(startDNS(t)).DKIM(t.Context(), message(text)); found == nil || len(found) != 0 {
			t.Errorf("%.30q: %#v", text, found)
		}
	}
}

func TestEachOfSeveralSignaturesIsVerifiedTenAtMost(t *testing.T) {
	dns := startDNS(t)
	text := letter
	for i := range 12 {
		domain := fmt.Sprintf("d%d.example", i)
		text = sign(t, text, domain, key(t, dns, domain), nil)
	}
	dns.Clear("s._domainkey.d5.example")
	dns.Fail("s._domainkey.d6.example", lab.DNSServFail)
	found := verifier(dns).DKIM(t.Context(), message(text))
	if len(found) != 10 {
		t.Fatalf("got %+v", found)
	}
	for i, one := range found {
		n := 11 - i // the last one comes first
		want := map[int]spoof.AuthResult{5: spoof.AuthPermError, 6: spoof.AuthTempError}[n]
		if want == spoof.AuthNone {
			want = spoof.AuthPass
		}
		if one.Domain != fmt.Sprintf("d%d.example", n) || one.Result != want {
			t.Errorf("%d: got %+v, want %s", n, one, want)
		}
	}
}

// failing is a message that cannot be read from some place on.
type failing struct {
	text string
	from int64
}

func (f failing) ReadAt(p []byte, at int64) (int, error) {
	if at >= f.from {
		return 0, errors.New("input/output error")
	}
	n := copy(p, f.text[at:f.from])
	if n < len(p) {
		return n, errors.New("input/output error")
	}
	return n, nil
}

func TestAMessageThatCannotBeReadFailsNoSignature(t *testing.T) {
	dns := startDNS(t)
	private := key(t, dns, "acmecorp.com")
	long := letter + strings.Repeat("a long body\r\n", 20_000)
	for signatures, text := range map[int]string{
		1: sign(t, long, "acmecorp.com", private, nil),
		2: sign(t, sign(t, long, "acmecorp.com", private, nil), "acmecorp.com", private, nil),
	} {
		v := verifier(dns)
		before := runtime.NumGoroutine()
		for range 20 {
			found := v.DKIM(t.Context(), &scanners.Message{Content: failing{text, 100_000}, Size: int64(len(text))})
			if len(found) != signatures {
				t.Fatalf("got %+v", found)
			}
			for _, one := range found {
				if one.Result != spoof.AuthTempError || one.Domain != "acmecorp.com" || !strings.Contains(one.Why, "input/output error") {
					t.Errorf("got %+v", one)
				}
			}
		}
		for end := time.Now().Add(time.Minute); runtime.NumGoroutine() > before+15; runtime.Gosched() {
			if time.Now().After(end) {
				t.Fatalf("%d signatures: %d goroutines before, %d after 20 messages", signatures, before, runtime.NumGoroutine())
			}
		}
	}
}

func TestVerifyingEndsWithItsContext(t *testing.T) {
	dns := startDNS(t)
	text := sign(t, sign(t, letter, "acmecorp.com", key(t, dns, "acmecorp.com"), nil), "silent.example", key(t, dns, "silent.example"), nil)
	dns.Fail("s._domainkey.silent.example", lab.DNSSilent)
	v := verifier(dns)
	v.Resolver.SetPatience(time.Minute, time.Minute)
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	start := time.Now()
	found := v.DKIM(ctx, message(text))
	if took := time.Since(start); took >= time.Minute {
		t.Errorf("took %v", took)
	}
	if len(found) != 2 || found[0].Result != spoof.AuthTempError || found[1].Result == spoof.AuthFail || found[1].Result == spoof.AuthPermError {
		t.Errorf("got %+v", found)
	}
}

// What would take the library minutes is not given to it, which the result shows: that
// of a header that it is given would be pass, or that nothing was told in time.
func TestHostileHeadersTakeLittleTime(t *testing.T) {
	dns := startDNS(t)
	private := key(t, dns, "evil.example")
	list := func(o *dkim.SignOptions) {
		o.HeaderKeys = nil
		for range 280 {
			o.HeaderKeys = append(o.HeaderKeys, "x")
		}
		o.HeaderKeys = append(o.HeaderKeys, "From")
	}
	heavy := strings.Repeat("x: y\r\n", 1900) + letter
	for range 10 {
		heavy = sign(t, heavy, "evil.example", private, list)
	}
	for _, c := range []struct {
		about, text string
		want        spoof.AuthResult
	}{
		{"a signature that lists 100,000 names", "DKIM-Signature: v=1; d=evil.example; h=From" + strings.Repeat(":x", 100_000) + "\r\n" + letter, spoof.AuthPermError},
		{"a signature of 1 MB in lines", "DKIM-Signature: v=1; d=evil.example; h=From" + strings.Repeat(":x\r\n ", 200_000) + "\r\n" + letter, spoof.AuthPermError},
		{"a field of 1 MB in short lines", "DKIM-Signature: v=1; d=evil.example\r\nX: " + strings.Repeat("\r\n ", 300_000) + "\r\n" + letter, spoof.AuthPermError},
		{"a line of 1 MB", "DKIM-Signature: v=1; d=evil.example\r\nX: " + strings.Repeat("x", 1<<20) + "\r\n" + letter, spoof.AuthPermError},
		{"100,000 fields", "DKIM-Signature: v=1; d=evil.example\r\n" + strings.Repeat("x:y\r\n", 100_000) + letter, spoof.AuthPermError},
		{"a domain of 15 KB in UTF-8", "DKIM-Signature: v=1; d=" + strings.Repeat("\u00fc\u4e00", 3000) + "\r\n" + letter, spoof.AuthPermError},
		{"what is just allowed", heavy, spoof.AuthPass},
	} {
		t.Run(c.about, func(t *testing.T) {
			found := verifier(dns).DKIMWithin(t.Context(), message(c.text), sender.MaxVerified)
			if len(found) == 0 {
				t.Fatal("no signature")
			}
			for _, one := range found {
				if one.Result != c.want || len(one.Why) > 300 {
					t.Errorf("got %+v", one)
				}
			}
		})
	}
}

// Each signature is verified as the first; what it signs of the others stays.
func TestASignatureMaySignThoseBelowIt(t *testing.T) {
	dns := startDNS(t)
	private := key(t, dns, "acmecorp.com")
	others := func(o *dkim.SignOptions) { o.HeaderKeys = append(o.HeaderKeys, "DKIM-Signature") }
	text := sign(t, letter, "acmecorp.com", private, nil)
	for i := range 3 {
		text = fmt.Sprintf("X-Above: %d\r\n", i) + sign(t, text, "acmecorp.com", private, others)
	}
	found := verifier(dns).DKIM(t.Context(), message(text))
	for i, one := range found {
		if one.Result != spoof.AuthPass {
			t.Errorf("%d: got %+v", i, one)
		}
	}
	if len(found) != 4 {
		t.Errorf("got %+v", found)
	}
	changed := strings.Replace(text, "h=From:From", "h=from:From", 4)
	for i, one := range verifier(dns).DKIM(t.Context(), message(changed)) {
		if one.Result != spoof.AuthFail {
			t.Errorf("changed, %d: got %+v", i, one)
		}
	}
}

// slow is content whose reading ends a context.
type slow struct {
	repeated
	from   int64
	cancel func()
}

func (s slow) ReadAt(p []byte, at int64) (int, error) {
	if at >= s.from {
		s.cancel()
	}
	return s.repeated.ReadAt(p, at)
}

func TestTimeThatRunsOutProvesNothing(t *testing.T) {
	dns := startDNS(t)
	key(t, dns, "evil.example")
	long := repeated{claims(2, "relaxed") + header, "a line of text\r\n"}
	for about, c := range map[string]struct {
		cause error
		want  spoof.AuthResult
	}{
		"our own time is over": {sender.ErrSlow, spoof.AuthTempError},
		"we are to end":        {context.Canceled, spoof.AuthTempError},
	} {
		ctx, cancel := context.WithCancelCause(t.Context())
		m := long.message(1 << 20)
		m.Content = slow{long, 1 << 20, func() { cancel(c.cause) }}
		found := verifier(dns).DKIM(ctx, m)
		if len(found) != 2 || found[0].Result != c.want || found[1].Result != c.want {
			t.Errorf("%s: got %+v", about, found)
		}
	}
}

func FuzzDKIM(f *testing.F) {
	dns := startDNS(f)
	private := key(f, dns, "acmecorp.com")
	f.Add(sign(f, letter, "acmecorp.com", private, nil))
	f.Add("DKIM-Signature\r\n : v=1; d=a; s=b; h=From; bh=; b=; a=rsa-sha256\r\n\r\n")
	f.Add("DKIM-Signature: v=1\r\ndkim-signature: \r\n\tx\n\r\n\n")
	v := verifier(dns)
	f.Fuzz(func(t *testing.T, text string) {
		for _, one := range v.DKIM(t.Context(), message(text)) {
			if one.Result == spoof.AuthNone || one.Result == spoof.AuthPass && one.Domain != "acmecorp.com" || len(one.Why) > 300 {
				t.Errorf("got %+v", one)
			}
		}
	})
}

func BenchmarkDKIM(b *testing.B) {
	dns := startDNS(b)
	private := key(b, dns, "acmecorp.com")
	text := sign(b, letter+strings.Repeat("a line of the body as it comes in mail, more or less\r\n", 20_000), "acmecorp.com", private, nil)
	v := verifier(dns)
	b.SetBytes(int64(len(text)))
	for b.Loop() {
		if found := v.DKIM(b.Context(), message(text)); found[0].Result != spoof.AuthPass {
			b.Fatal(found)
		}
	}
}
