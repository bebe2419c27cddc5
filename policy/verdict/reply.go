package verdict

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
)

// Reply is what the SMTP client is told: a basic code (RFC 5321 section 4.2), an
// enhanced code (RFC 3463) and one line of text. All of them are made of the
// catalogue. The zero Reply says nothing, which leaves the answer to the MTA.
type Reply struct {
	Code     int    `json:"code"`
	Enhanced string `json:"enhanced"`
	Text     string `json:"text"`
}

// IsZero reports that there is nothing to say.
func (r Reply) IsZero() bool { return r.Code == 0 }

// String returns the reply as one SMTP line without its line end, or "".
func (r Reply) String() string {
	if r.IsZero() {
		return ""
	}
	return fmt.Sprintf("%d %s %s", r.Code, r.Enhanced, r.Text)
}

// Verdict is the verdict that the reply's class stands for (RFC 5321 section 4.2.1):
// Tempfail or Reject, and None for the zero Reply.
func (r Reply) Verdict() Verdict {
	switch {
	case r.IsZero():
		return None
	case r.Code < 500:
		return Tempfail
	}
	return Reject
}

// Replies returns the codes that a reply belongs to, sorted by the reply, then by their
// own names.
func Replies() []Code {
	codes := slices.Sorted(maps.Keys(catalogue))
	codes = slices.DeleteFunc(codes, func(c Code) bool { return catalogue[c].reply.IsZero() })
	slices.SortStableFunc(codes, func(a, b Code) int {
		x, y := catalogue[a].reply, catalogue[b].reply
		return cmp.Or(cmp.Compare(x.Code, y.Code), cmp.Compare(x.Enhanced, y.Enhanced), cmp.Compare(x.Text, y.Text))
	})
	return codes
}
