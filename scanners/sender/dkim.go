package sender

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"time"

	"github.com/emersion/go-msgauth/dkim"

	"coexistd/policy/mail"
	"coexistd/policy/spoof"
	"coexistd/scanners"
)

const (
	// maxSignatures is how many of a message's signatures are verified, the first
	// ones.
	maxSignatures = 10
	// maxVerified bounds the work that a message takes, whatever its size and the
	// number of its signatures: once that many bytes were read to verify some of
	// them, the others are not verified. That takes some two seconds.
	maxVerified = 256 << 20
	// maxBlank is how many line ends may follow one another, with or without white
	// space between them, each of CR and LF counted. The library keeps them all
	// until something else follows, and copies them again and again.
	maxBlank = 64 << 10
	// maxKeyRecord is the longest record of a key, in bytes. RFC 6376 section 3.3.3
	// asks for keys of up to 4,096 bits, which take 800; the time that a key takes
	// grows with the square of its length, and strangers choose it.
	maxKeyRecord = 4 << 10
	// readAhead is the size of the pieces in which the content is read.
	readAhead = 64 << 10
)

// Why signatures are not verified.
var (
	errBlank = errors.New("the body has too many empty lines in a row to verify signatures")
	errSlow  = errors.New("it takes too long to verify the message's signatures")
	errMuch  = errors.New("the message has too many signatures for its size to verify this one")
)

// DKIM verifies the message's signatures (RFC 6376), the first ten, and returns
// what was found of each, in the header's order: never nil. A signature that
// leaves a part of the body unsigned (the tag l) is AuthFail, and so is one that
// has expired; a key that is missing, broken or shorter than 1,024 bits, and an
// algorithm that is not to be used any more (RFC 8301), is AuthPermError, as is
// what takes more work than is done for one message. What the DNS does not answer
// before ctx or Timeout ends is AuthTempError, as is all of a message that cannot
// be read, or not before ctx or Timeout ends.
//
// The DNS gets Timeout, and so does what follows. The message is read in pieces:
// the memory that is taken does not grow with its body.
func (v *Verifier) DKIM(ctx context.Context, m *scanners.Message) []spoof.DKIM {
	var found []spoof.DKIM
	if why := v.try(func() { found = v.signatures(ctx, m, maxVerified, Timeout) }); why != "" {
		return []spoof.DKIM{{Result: spoof.AuthTempError, Why: why}}
	}
	return found
}

// signatures is DKIM with bounds for maxVerified and for the Timeout of verifying.
func (v *Verifier) signatures(ctx context.Context, m *scanners.Message, most int64, limit time.Duration) []spoof.DKIM {
	content := &contentReader{ctx: ctx, from: m.Reader()}
	signatures, err := weigh(bufio.NewReaderSize(content, readAhead))
	found := make([]spoof.DKIM, len(signatures))
	for i, one := range signatures {
		found[i] = claimed(one.value)
	}
	if err == nil && content.err == nil {
		v.verify(ctx, m, signatures, found, most, limit)
		return found
	}
	for i := range found {
		if content.err != nil {
			found[i].Result, found[i].Why = content.failure()
		} else {
			found[i].Result, found[i].Why = spoof.AuthPermError, err.Error()
		}
	}
	return found
}

// verify fills in what is found of the signatures. It asks for all keys at once, and then
// takes one signature after the other until that many bytes were read, or the limit is
// over.
func (v *Verifier) verify(ctx context.Context, m *scanners.Message, signatures []signature, found []spoof.DKIM, most int64, limit time.Duration) {
	keys := v.keys(ctx, found)
	ctx, cancel := context.WithTimeoutCause(ctx, limit, errSlow)
	defer cancel()
	var read int64
	for i, one := range signatures {
		if read >= most {
			found[i].Result, found[i].Why = spoof.AuthPermError, errMuch.Error()
			continue
		}
		content := &contentReader{ctx: ctx, from: one.first(m)}
		why := v.try(func() { keys[i].verify(content, &found[i]) })
		switch {
		case why != "":
			found[i].Result, found[i].Why = spoof.AuthTempError, why
		case content.err != nil:
			found[i].Result, found[i].Why = content.failure()
		}
		read += content.read
	}
}

// key is what the DNS says of the key of a signature.
type key struct {
	records []string
	err     error
}

// verify fills in what the library finds of the first signature of a message.
func (k key) verify(content *contentReader, found *spoof.DKIM) {
	// Of several signatures at once, the library would verify each in a goroutine of
	// its own, whose panic nobody could recover. That there are more is no error here.
	verifications, err := dkim.VerifyWithOptions(bufio.NewReaderSize(content, readAhead), &dkim.VerifyOptions{
		MaxVerifications: 1,
		LookupTXT:        func(string) ([]string, error) { return k.records, k.err },
	})
	if len(verifications) != 1 {
		found.Result, found.Why = spoof.AuthPermError, fmt.Sprintf("the signature cannot be read: %v", err)
		return
	}
	one := verifications[0]
	found.Result = dkimResult(one)
	if one.Err != nil {
		found.Why = mail.Printable(one.Err.Error())
	}
	if found.Domain == "" && found.Result == spoof.AuthPass {
		found.Result, found.Why = spoof.AuthPermError, "the signature's domain is none"
	}
}

// dkimResult names a verification's result. RFC 8601 section 2.7.1 calls neutral,
// policy or permerror what others do; of these, only permerror is used here.
func dkimResult(v *dkim.Verification) spoof.AuthResult {
	switch {
	case v.Err == nil:
		return spoof.AuthPass
	case dkim.IsTempFail(v.Err):
		return spoof.AuthTempError
	case dkim.IsPermFail(v.Err) && (v.Expiration.IsZero() || v.Expiration.After(time.Now())):
		return spoof.AuthPermError
	}
	return spoof.AuthFail
}

var errLongKey = errors.New("the key's record is longer than 4096 bytes")

// keys looks the signatures' keys up, each for Timeout at most.
func (v *Verifier) keys(ctx context.Context, found []spoof.DKIM) []key {
	ctx, cancel := context.WithTimeout(ctx, Timeout)
	defer cancel()
	keys := make([]key, len(found))
	var lookups []func()
	for i, one := range found {
		lookups = append(lookups, func() {
			if why := v.try(func() { keys[i] = v.key(ctx, one.Selector, one.Domain) }); why != "" {
				keys[i].err = &net.DNSError{Err: why, IsTemporary: true}
			}
		})
	}
	together(lookups...)
	return keys
}

// key looks a key's record up. RFC 8616 section 5 lets a signature in a message of
// SMTPUTF8 name its domain and its selector in UTF-8; these are their normal forms.
func (v *Verifier) key(ctx context.Context, selector, domain string) key {
	name := selector + "._domainkey." + domain
	if selector == "" || domain == "" {
		return key{err: notFound(name)}
	}
	records, err := v.Resolver.LookupTXT(ctx, name)
	for _, record := range records {
		if len(record) > maxKeyRecord {
			return key{err: errLongKey}
		}
	}
	return key{records, err}
}

// claimed reads from a signature's value whose it says it is. White space may stand
// in values (RFC 6376 section 3.2).
func claimed(value string) spoof.DKIM {
	var found spoof.DKIM
	for tag := range strings.SplitSeq(value, ";") {
		name, value, _ := strings.Cut(tag, "=")
		switch strings.TrimSpace(name) {
		case "d":
			found.Domain = mail.DomainOf(strings.Join(strings.Fields(value), ""))
		case "s":
			found.Selector = mail.DomainOf(strings.Join(strings.Fields(value), ""))
		}
	}
	return found
}

// contentReader reads a message and never fails: from an error on, from ctx's end,
// or where the body would cost too much, the message seems to end, and err says
// why.
type contentReader struct {
	ctx   context.Context
	from  io.Reader
	read  int64 // bytes
	blank int   // line ends since the last byte that was neither one nor white space
	err   error
}

func (r *contentReader) Read(p []byte) (int, error) {
	if r.err == nil {
		r.err = context.Cause(r.ctx)
	}
	if r.err != nil {
		return 0, io.EOF
	}
	n, err := r.from.Read(p)
	r.read += int64(n)
	if !r.heed(p[:n]) {
		r.err = errBlank
		return 0, io.EOF
	}
	if err != nil && err != io.EOF {
		r.err = err
		err = io.EOF
	}
	return n, err
}

// heed reports that maxBlank is not exceeded up to the end of p.
func (r *contentReader) heed(p []byte) bool {
	for _, c := range p {
		switch c {
		case '\r', '\n':
			if r.blank++; r.blank > maxBlank {
				return false
			}
		case ' ', '\t':
		default:
			r.blank = 0
		}
	}
	return true
}

// failure is what follows from err for the signatures. What is the message's doing
// excuses nobody. That time runs out is this host's: what a message can cost is
// bounded otherwise.
func (r *contentReader) failure() (spoof.AuthResult, string) {
	if r.err == errBlank {
		return spoof.AuthPermError, r.err.Error()
	}
	return spoof.AuthTempError, "the message could not be read to its end: " + r.err.Error()
}
