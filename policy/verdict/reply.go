package verdict

import "fmt"

// Reply is what the SMTP client is told: a basic code (RFC 5321 section 4.2), an
// enhanced code (RFC 3463) and one line of text. All of them are made of the
// catalogue. The zero Reply says nothing, which leaves the answer to the MTA.
type Reply struct {
	Code     int
	Enhanced string
	Text     string
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
