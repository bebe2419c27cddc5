package sources

import (
	"fmt"
	"strings"
	"time"

	"coexistd/policy/mail"
)

// Failure is what a place with a list did not do.
type Failure struct {
	// Place was asked, for what Asked says, and Words say what came of it and what would be
	// right.
	Place, Asked, Words string
	// Cause is what a library or the context said.
	Cause error
}

// Error returns who was asked for what, and what came of it.
func (f *Failure) Error() string { return f.Place + ": " + f.Asked + ": " + f.Words }

// Unwrap returns the cause.
func (f *Failure) Unwrap() error { return f.Cause }

// Silence has the words for a place that took longer for an answer than it may.
func Silence(timeout time.Duration) string {
	return fmt.Sprintf("no answer within %v; see whether the server hangs, or allow it more time", timeout)
}

// Quote makes the words of a place, or of a library that tells them, harmless: short, on one
// line, and without the secret, should the place repeat it.
func Quote(words, secret string) string {
	const most = 500
	if secret != "" {
		words = strings.ReplaceAll(words, secret, "(the password)")
	}
	words = strings.Join(strings.Fields(words), " ")
	if len(words) > most {
		return mail.Excerpt(words, most) + "..."
	}
	return mail.Excerpt(words, most)
}
