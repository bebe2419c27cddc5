package seal_test

import (
	"fmt"
	"strings"
	"sync"
	"testing"

	"coexistd/policy/mail"
	"coexistd/policy/seal"
)

const hostname = "mail.acmecorp.com"

var (
	keys    = seal.NewKeys([]byte("a secret that both tests and nobody else know"))
	foreign = seal.NewKeys([]byte("another organisation's"))
	// unkeyed sign with what everybody knows.
	unkeyed = seal.NewKeys(nil)
)

// header returns a header with fields, given as name, value, and so on.
func header(fields ...string) *mail.Header {
	var h mail.Header
	for i := 0; i < len(fields); i += 2 {
		h.Add([]byte(fields[i]), []byte(fields[i+1]))
	}
	return &h
}

var itsMarks = seal.MarksOf(header("From", "the message's From", "Date", "the message's Date", "message-id", "the message's Message-Id"))

// squeeze drops the white space that hops may change.
func squeeze(s string) string {
	return strings.NewReplacer(" ", "", "\t", "", "\r", "", "\n", "").Replace(s)
}

func want[T comparable](t testing.TB, about string, got, want T) {
	t.Helper()
	if got != want {
		t.Errorf("%s: got %v, want %v", about, got, want)
	}
}

func TestMarksAreThoseOfTheFirstFieldsThatTheMessageHas(t *testing.T) {
	want(t, "marks of a message with all", len(itsMarks.List()), 3)
	want(t, "marks of a message with none", len(seal.MarksOf(header("Subject", "x")).List()), 0)
	want(t, "marks of a message with an empty one", len(seal.MarksOf(header("Date", "")).List()), 1)
	for i, name := range []string{"Message-Id", "Date", "From"} {
		alone := seal.MarksOf(header("Subject", "x", strings.ToUpper(name), " the message's\r\n\t"+name, name, "a second")).List()
		if len(alone) != 1 || alone[0] != itsMarks.List()[i] {
			t.Errorf("the mark of %s is %q, want the one at place %d of all", name, alone, i)
		}
	}
}

func TestASecretIsTheKeysOwn(t *testing.T) {
	secret := []byte("a secret of its maker")
	k := seal.NewKeys(secret)
	value := k.SignTrace(seal.Traces{}, hostname, [8]byte{1}, itsMarks, []string{"alice@acmecorp.com"})
	secret[0] = 'A'
	want(t, "passes", k.OpenTraces([]string{value}, itsMarks).Passes("alice@acmecorp.com"), 1)
}

func TestKeysServeManyGoroutinesAtOnce(t *testing.T) {
	var group sync.WaitGroup
	for i := range 8 {
		group.Go(func() {
			owner := fmt.Sprintf("user%d@acmecorp.com", i)
			value := keys.SignTrace(seal.Traces{}, hostname, [8]byte{byte(i)}, itsMarks, []string{owner})
			want(t, "passes", keys.OpenTraces([]string{value}, itsMarks).Passes(owner), 1)
			pass, ok := keys.OpenPass([]string{keys.SignPass(released(), owner, itsMarks)}, itsMarks, 0)
			want(t, "the pass holds", ok && keys.IsFor(&pass, owner), true)
		})
	}
	group.Wait()
}
