package seal

import (
	"crypto/hmac"
	"strconv"
	"strings"

	"coexistd/policy/mail"
	"coexistd/policy/verdict"
)

// PassHeader is the name of the header field with which coexistd sends a message through
// its own MTA past a check: one that is released from quarantine, or a mail of our own,
// such as a report. Its value holds for one message and one recipient, and only for
// minutes. It is removed on the way.
//
//	v=1; id=ENTRY; checks=spam; point=S0; from=; to=HASH; until=1795426800; sig=MAC
const PassHeader = "X-Coexist-Pass"

// Pass lets a message past checks, and has it judged as if it entered where it did when
// it came first.
type Pass struct {
	// ID names the quarantine's entry, or is PassReport.
	ID string
	// Checks are the names of the checks that the message is spared.
	Checks []string
	Point  verdict.Checkpoint
	// Platform is the platform's name at S1, else empty.
	Platform string
	// To is the recipient's keyed hash. SignPass fills it in.
	To string
	// Until is the last second, counted from 1970 in UTC, at which it holds.
	Until int64
}

// PassReport is the ID of the passes of mail of our own.
const PassReport = "report"

// maxPassFields bounds the fields that are looked at; a message of ours has one.
const maxPassFields = 4

// SignPass returns the field's value for a message with those marks to one recipient,
// named by their owner (see mail.Address). Without a mark it holds for none. Lines end with
// a bare newline.
func (k Keys) SignPass(pass Pass, owner string, marks Marks) string {
	key := k.keyed()
	defer k.giveBack(key)
	body := "v=1; id=" + pass.ID + "; checks=" + strings.Join(pass.Checks, ",") + "; point=" + pass.Point.String() + "; from=" + pass.Platform +
		";\n\tto=" + key.passName(pass.ID, owner) + "; until=" + strconv.FormatInt(pass.Until, 10) + ";"
	return key.sign(forPass, []byte(body), marks.best())
}

// OpenPass returns the first pass among the values of a message's fields of the name
// PassHeader that is signed by us for this message and still holds at the time now, in
// seconds since 1970. It looks at the first four.
func (k Keys) OpenPass(values []string, marks Marks, now int64) (Pass, bool) {
	if len(values) == 0 || k.IsZero() {
		return Pass{}, false
	}
	key := k.keyed()
	defer k.giveBack(key)
	for _, value := range values[:min(len(values), maxPassFields)] {
		body, signature, _ := strings.Cut(mail.Unfold(value), "sig=")
		if !key.hasSigned(forPass, body, signature, marks) {
			continue
		}
		if pass, ok := parsePass(body); ok && now <= pass.Until {
			return pass, true
		}
	}
	return Pass{}, false
}

// parsePass reads an unfolded body that we have written.
func parsePass(body string) (Pass, bool) {
	fields := fieldsOf(body)
	point, isPoint := verdict.ParseCheckpoint(fields["point"])
	until, err := strconv.ParseInt(fields["until"], 10, 64)
	return Pass{
		ID: fields["id"], Checks: strings.Split(fields["checks"], ","), Point: point, Platform: fields["from"], To: fields["to"], Until: until,
	}, isPoint && err == nil
}

// fieldsOf takes an unfolded body apart.
func fieldsOf(body string) map[string]string {
	fields := make(map[string]string)
	for field := range strings.SplitSeq(body, ";") {
		name, value, _ := strings.Cut(field, "=")
		fields[name] = value
	}
	return fields
}

// IsFor reports that the pass was signed for the recipient with that owner.
func (k Keys) IsFor(pass *Pass, owner string) bool {
	key := k.keyed()
	defer k.giveBack(key)
	return hmac.Equal([]byte(pass.To), []byte(key.passName(pass.ID, owner)))
}

// Why says why the message is spared checks.
func (p *Pass) Why() verdict.Reason {
	if p.ID == PassReport {
		return verdict.Why(verdict.PassOfOurs)
	}
	return verdict.Why(verdict.PassOfRelease, p.ID)
}

func (k *keyed) passName(id, owner string) string {
	n := k.name(id, owner)
	return encoding.EncodeToString(n[:])
}
