package seal

import (
	"crypto/hmac"
	"strconv"
	"strings"

	"coexistd/policy/mail"
)

// ProbeHeader is the name of the header field of the messages with which coexistd probes a
// flow. Its value holds for one message, and for minutes: by it the message is known when it
// comes back.
//
//	v=1; id=ID; flow=office365; to=HASH; sent=1795426800; until=1795427100; sig=MAC
const ProbeHeader = "X-Coexist-Probe"

// Probe is what the field of one such message says.
type Probe struct {
	// ID tells the probe from all others. It is of letters and digits.
	ID string
	// Platform names the platform that the probe is sent to, which sends it back. Empty: the
	// probe goes no further than this host's own MTA.
	Platform string
	// To is the keyed hash of the recipient that it is sent to. SignProbe fills it in.
	To string
	// Sent is when it was sent, and Until the last second at which it holds, both counted
	// from 1970 in UTC.
	Sent, Until int64
}

// SignProbe returns the field's value for a message with those marks to one recipient, named
// by their owner (see mail.Address). Lines end with a bare newline.
func (k Keys) SignProbe(p Probe, owner string, marks Marks) string {
	key := k.keyed()
	defer k.giveBack(key)
	body := "v=1; id=" + p.ID + "; flow=" + p.Platform + ";\n\tto=" + key.passName(p.ID, owner) +
		"; sent=" + strconv.FormatInt(p.Sent, 10) + "; until=" + strconv.FormatInt(p.Until, 10) + ";"
	return key.sign(forProbe, []byte(body), marks.best())
}

// OpenProbe returns the first probe among the values of a message's fields of the name
// ProbeHeader that is signed by us for this message and still holds at the time now, in
// seconds since 1970. It looks at the first four.
func (k Keys) OpenProbe(values []string, marks Marks, now int64) (Probe, bool) {
	if len(values) == 0 || k.IsZero() {
		return Probe{}, false
	}
	key := k.keyed()
	defer k.giveBack(key)
	for _, value := range values[:min(len(values), maxPassFields)] {
		body, signature, _ := strings.Cut(mail.Unfold(value), "sig=")
		if !key.hasSigned(forProbe, body, signature, marks) {
			continue
		}
		if probe, ok := parseProbe(body); ok && now <= probe.Until {
			return probe, true
		}
	}
	return Probe{}, false
}

// parseProbe reads an unfolded body that we have written.
func parseProbe(body string) (Probe, bool) {
	fields := fieldsOf(body)
	sent, err1 := strconv.ParseInt(fields["sent"], 10, 64)
	until, err2 := strconv.ParseInt(fields["until"], 10, 64)
	p := Probe{ID: fields["id"], Platform: fields["flow"], To: fields["to"], Sent: sent, Until: until}
	return p, p.ID != "" && err1 == nil && err2 == nil
}

// IsTo reports that the probe was sent to the recipient with that owner.
func (k Keys) IsTo(p *Probe, owner string) bool {
	key := k.keyed()
	defer k.giveBack(key)
	return hmac.Equal([]byte(p.To), []byte(key.passName(p.ID, owner)))
}
