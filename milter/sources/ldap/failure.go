package ldap

import (
	"context"
	"errors"
	"fmt"

	goldap "github.com/go-ldap/ldap/v3"

	"coexistd/milter/sources"
)

// fail says what a server did not do.
func (o *Options) fail(s *server, asked string, err error) error {
	if already, ok := errors.AsType[*sources.Failure](err); ok {
		return already
	}
	words, remedy := err.Error(), ""
	if asked == readingRoot || asked == o.binding() {
		remedy = "; see that an LDAP server listens there, and whether that port wants TLS from the beginning (ldaps://)"
	}
	if answer, ok := errors.AsType[*goldap.Error](err); ok && answer.Err != nil {
		words = answer.Err.Error()
		if answer.ResultCode < goldap.ErrorNetwork {
			words = fmt.Sprintf("it answers %d (%s) %s", answer.ResultCode, goldap.LDAPResultCodeMap[answer.ResultCode], words)
			remedy = remedies(answer.ResultCode)
		}
	}
	words = sources.Quote(words, o.Password) + remedy
	if errors.Is(err, errNoAnswer) {
		words = sources.Silence(o.Timeout)
	}
	return &sources.Failure{Place: s.url, Asked: asked, Words: words, Cause: err}
}

// errNoAnswer is why a context ends when a server takes too long.
var errNoAnswer = fmt.Errorf("no answer in time: %w", context.DeadlineExceeded)

// remedies returns what would help against a result (RFC 4511, appendix A), or "".
func remedies(code uint16) string {
	switch code {
	case goldap.LDAPResultOperationsError, goldap.LDAPResultInsufficientAccessRights:
		return "; bind as an account that may read this"
	case goldap.LDAPResultTimeLimitExceeded, goldap.LDAPResultSizeLimitExceeded, goldap.LDAPResultAdminLimitExceeded:
		return "; the list is not whole: raise the server's limits for the account that binds, those of pages too, or ask for smaller pages"
	case goldap.LDAPResultStrongAuthRequired, goldap.LDAPResultConfidentialityRequired:
		return "; use ldaps:// or StartTLS"
	case goldap.LDAPResultReferral:
		return "; another server keeps this: name that one, or a base that this one keeps"
	case goldap.LDAPResultNoSuchObject:
		return "; name one that exists and that the account which binds may read"
	case goldap.LDAPResultInvalidCredentials:
		return "; check the DN that binds and its password"
	}
	return ""
}

// isResult reports that a server answered with one of these results.
func isResult(err error, codes ...uint16) bool {
	answer, ok := errors.AsType[*goldap.Error](err)
	if !ok {
		return false
	}
	for _, code := range codes {
		if answer.ResultCode == code {
			return true
		}
	}
	return false
}
