package sender

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/emersion/go-msgauth/dkim"

	"coexistd/policy"
	"coexistd/scanners"
)

const (
	// maxSignatures is how many of a message's signatures are verified, the first
	// ones. The work that each takes grows with the message.
	maxSignatures = 10
	// maxKeyRecord is the longest record of a key, in bytes. RFC 6376 section 3.3.3
	// asks for keys of up to 4,096 bits, which take 800; the time that a key takes
	// grows with the square of its length, and strangers choose it.
	maxKeyRecord = 4 << 10
	// readAhead is the size of the pieces in which the content is read.
	readAhead = 64 << 10
)

// DKIM verifies the message's signatures (RFC 6376), the first ten, and returns
// what was found of each, in the header's order: never nil. A signature that
// leaves a part of the body unsigned (the tag l) is AuthFail, and so is one that
// has expired; a key that is missing, broken or shorter than 1,024 bits, and an
// algorithm that is not to be used any more (RFC 8301), is AuthPermError. What the
// DNS does not answer, or not before ctx or Timeout ends, is AuthTempError, as is
// all of a message that cannot be read.
func (v *Verifier) DKIM(ctx context.Context, m *scanners.Message) []policy.DKIM {
	ctx, cancel := context.WithTimeout(ctx, Timeout)
	defer cancel()
	content := &contentReader{ctx: ctx, from: m.Reader()}
	signatures, err := weigh(bufio.NewReaderSize(content, readAhead))
	found := make([]policy.DKIM, len(signatures))
	for i, value := range signatures {
		found[i] = claimed(value)
	}
	if err == nil && len(signatures) > 0 && content.err == nil {
		content.from = m.Reader()
		err = v.verify(content, found)
	}
	for i := range found {
		switch {
		case content.err != nil:
			found[i].Result, found[i].Why = policy.AuthTempError, "the message could not be read to its end: "+content.err.Error()
		case err != nil:
			found[i].Result, found[i].Why = policy.AuthPermError, err.Error()
		}
	}
	return found
}

// verify fills in what the library finds of the signatures. An error holds for
// all of them.
func (v *Verifier) verify(content *contentReader, found []policy.DKIM) error {
	// Once it has read the header, the library fails only with its reader, which
	// does not.
	verifications, err := dkim.VerifyWithOptions(bufio.NewReaderSize(content, readAhead), &dkim.VerifyOptions{
		MaxVerifications: maxSignatures,
		LookupTXT:        func(name string) ([]string, error) { return v.keys(content.ctx, name) },
	})
	if len(verifications) != len(found) {
		return fmt.Errorf("the signatures cannot be read: %w", err)
	}
	for i, one := range verifications {
		found[i].Result = dkimResult(one)
		if one.Err != nil {
			found[i].Why = printable(one.Err.Error())
		}
		if found[i].Domain == "" && found[i].Result == policy.AuthPass {
			found[i].Result, found[i].Why = policy.AuthPermError, "the signature's domain is none"
		}
	}
	return nil
}

// dkimResult names a verification's result. RFC 8601 section 2.7.1 calls neutral,
// policy or permerror what others do; of these, only permerror is used here.
func dkimResult(v *dkim.Verification) policy.AuthResult {
	switch {
	case v.Err == nil:
		return policy.AuthPass
	case dkim.IsTempFail(v.Err):
		return policy.AuthTempError
	case dkim.IsPermFail(v.Err) && (v.Expiration.IsZero() || v.Expiration.After(time.Now())):
		return policy.AuthPermError
	}
	return policy.AuthFail
}

var errLongKey = errors.New("the key's record is longer than 4096 bytes")

// keys looks a key's record up. RFC 8616 section 5 lets a signature in a message of
// SMTPUTF8 name its domain and its selector in UTF-8.
func (v *Verifier) keys(ctx context.Context, name string) ([]string, error) {
	if selector, domain, ok := strings.Cut(name, "._domainkey."); ok {
		name = normalDomain(selector) + "._domainkey." + normalDomain(domain)
	}
	records, err := v.Resolver.LookupTXT(ctx, name)
	for _, record := range records {
		if len(record) > maxKeyRecord {
			return nil, errLongKey
		}
	}
	return records, err
}

// claimed reads from a signature's value whose it says it is. White space may stand
// in values (RFC 6376 section 3.2).
func claimed(value string) policy.DKIM {
	var found policy.DKIM
	for tag := range strings.SplitSeq(value, ";") {
		name, value, _ := strings.Cut(tag, "=")
		switch strings.TrimSpace(name) {
		case "d":
			found.Domain = normalDomain(strings.Join(strings.Fields(value), ""))
		case "s":
			found.Selector = normalDomain(strings.Join(strings.Fields(value), ""))
		}
	}
	return found
}

// contentReader reads a message and never fails: from an error on, or from ctx's
// end, the message seems to end, and err says why. The library leaves goroutines
// behind when its reader fails.
type contentReader struct {
	ctx  context.Context
	from io.Reader
	err  error
}

func (r *contentReader) Read(p []byte) (int, error) {
	if r.err == nil {
		r.err = r.ctx.Err()
	}
	if r.err != nil {
		return 0, io.EOF
	}
	n, err := r.from.Read(p)
	if err != nil && err != io.EOF {
		r.err = err
		err = io.EOF
	}
	return n, err
}
