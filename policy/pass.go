package policy

import (
	"crypto/hmac"
	"fmt"
	"strconv"
	"strings"
)

// PassHeader is the name of the header with which coexistd sends a message
// through its own MTA past a check: one that is released from quarantine, or a
// quarantine report. Its value is signed with the trace key, holds for one
// message and one recipient, and only for minutes. It is removed on the way.
//
//	v=1; id=ENTRY; checks=spam; point=S0; from=; to=HASH; until=1795426800; sig=MAC
const PassHeader = "X-Coexist-Pass"

// Pass lets a message past checks, and has it judged as if it entered where it
// did when it came first.
type Pass struct {
	// ID names the quarantine's entry, or is PassReport.
	ID     string
	Checks []string
	Point  Checkpoint
	// Platform is the platform's name at S1, else empty.
	Platform string
	// To is the recipient's keyed hash. SignPass fills it in.
	To string
	// Until is the last second, counted from 1970 in UTC, at which it holds.
	Until int64
}

// PassReport is the ID of the passes of quarantine reports.
const PassReport = "report"

// SignPass returns the header's value for a message with those marks (see
// Marks) to a recipient, named as Address.Owner has him.
func (p *Policy) SignPass(pass Pass, owner string, marks []string) string {
	key := p.traceKey()
	body := fmt.Sprintf("v=1; id=%s; checks=%s; point=%s; from=%s;\n\tto=%s; until=%d;",
		pass.ID, strings.Join(pass.Checks, ","), pass.Point, pass.Platform, key.hash(pass.ID, owner), pass.Until)
	mark := ""
	if len(marks) > 0 {
		mark = marks[0]
	}
	return body + "\n\tsig=" + key.signPass(unfold(body), mark)
}

// OpenPass returns the first pass among header values that is signed by us for
// the message and still holds at the time now, in seconds since 1970.
func (p *Policy) OpenPass(values, marks []string, now int64) (Pass, bool) {
	if len(values) > maxPasses {
		values = values[:maxPasses]
	}
	key := p.traceKey()
	for _, value := range values {
		body, sig, found := strings.Cut(unfold(value), "sig=")
		if !found || !key.hasSignedPass(body, sig, marks) {
			continue
		}
		if pass, ok := parsePass(body); ok && now <= pass.Until {
			return pass, true
		}
	}
	return Pass{}, false
}

// maxPasses bounds the headers that are looked at; a message of ours has one.
const maxPasses = 4

// signPass signs for a purpose of its own, so that no trace serves as a pass.
func (k traceKey) signPass(body, mark string) string {
	return k.sum(traceMACBytes, "pass\n", body, "\n", mark)
}

func (k traceKey) hasSignedPass(body, sig string, marks []string) bool {
	for _, mark := range append(marks[:len(marks):len(marks)], "") {
		if hmac.Equal([]byte(sig), []byte(k.signPass(body, mark))) {
			return true
		}
	}
	return false
}

// parsePass reads an unfolded body that we have written.
func parsePass(body string) (Pass, bool) {
	var pass Pass
	var err error
	for field := range strings.SplitSeq(body, ";") {
		name, value, _ := strings.Cut(field, "=")
		switch name {
		case "id":
			pass.ID = value
		case "checks":
			pass.Checks = strings.Split(value, ",")
		case "point":
			pass.Point, _ = ParseCheckpoint(value)
		case "from":
			pass.Platform = value
		case "to":
			pass.To = value
		case "until":
			pass.Until, err = strconv.ParseInt(value, 10, 64)
		}
	}
	return pass, err == nil && pass.Point != Undecided
}

// isFor reports that the pass was signed for this recipient.
func (p *Policy) isFor(pass *Pass, a Address) bool {
	return hmac.Equal([]byte(pass.To), []byte(p.traceKey().hash(pass.ID, a.Owner)))
}

// origin is where a message with a pass entered when it came first.
func (p *Policy) origin(pass *Pass) origin {
	if pass.Point == S1 {
		if platform := p.Platform(pass.Platform); platform != nil {
			return origin{point: S1, platform: platform}
		}
		return origin{point: S0}
	}
	return origin{point: pass.Point}
}

func (p *Pass) why() string {
	if p.ID == PassReport {
		return "this is a mail of our own"
	}
	return "released from quarantine as " + p.ID
}
