package mtalog

import (
	"iter"
	"slices"
	"strconv"
	"strings"
	"time"
)

// postfixEvent reads what a program of Postfix says.
func postfixEvent(program, text string) Event {
	id, rest, ok := cutQueueID(text)
	if !ok {
		return Event{}
	}
	var e Event
	switch program {
	case "smtp", "lmtp", "local", "virtual", "pipe", "error", "discard":
		e = postfixDelivery(rest)
	case "qmgr", "oqmgr", "nqmgr":
		if e = postfixQueue(rest); e.Kind == None {
			e = postfixDelivery(rest)
		}
	case "postsuper":
		e = postfixSuper(rest)
	case "bounce":
		e = postfixNotice(rest)
	case "pickup":
		return postfixPickup(id, rest)
	case "smtpd", "postscreen", "cleanup":
		e = postfixGate(rest)
	}
	// Without a name there is no message yet: who is refused is all that there is to tell.
	if id == "" && e.Kind != Rejected && e.Kind != Discarded && e.Kind != Held {
		return Event{}
	}
	e.QueueID = id
	return e
}

var postfixStates = map[string]Kind{"sent": Sent, "deferred": Deferred, "SOFTBOUNCE": Deferred, "bounced": Bounced}

// postfixDelivery reads "to=<A>, orig_to=<B>, relay=R, delay=1, delays=0/0/0/1, dsn=2.0.0,
// status=sent (250 ok)".
func postfixDelivery(text string) (e Event) {
	rest, ok := strings.CutPrefix(text, "to=")
	if !ok {
		return Event{}
	}
	if e.Recipient, rest, ok = bracketed(rest); !ok {
		return Event{}
	}
	if original, found := strings.CutPrefix(rest, ", orig_to="); found {
		if e.Original, rest, ok = bracketed(original); !ok {
			return Event{}
		}
	}
	status := ""
	if rest, ok = strings.CutPrefix(rest, ", "); ok {
		status, ok = e.numbers(rest)
	}
	state, answer, _ := strings.Cut(status, " ")
	if e.Kind = postfixStates[state]; !ok || e.Kind == None {
		return Event{}
	}
	e.Answer = strings.TrimSuffix(strings.TrimPrefix(answer, "("), ")")
	if e.Kind == Sent {
		e.Next = lastName(e.Answer, "queued as ")
		if forwarded, ok := strings.CutPrefix(e.Answer, "forwarded as "); ok && e.Next == "" {
			e.Next = leadingID(forwarded)
		}
	}
	e.Answer = cut(e.Answer, longestAnswer)
	return e
}

// numbers reads "relay=R, delay=1, delays=0/0/0/1, dsn=2.0.0, " and others such as conn_use, and
// returns what stands behind "status=". None of them has a comma in it.
func (e *Event) numbers(text string) (status string, ok bool) {
	for {
		name, rest, found := strings.Cut(text, "=")
		if !found {
			return "", false
		}
		if name == "status" {
			return rest, true
		}
		value := ""
		if value, text, ok = strings.Cut(rest, ", "); !ok {
			return "", false
		}
		switch name {
		case "relay":
			e.Relay = cut(value, longestAddress)
		case "delay":
			e.Delay = secondsOf(value)
		case "dsn":
			if isDSN(value) {
				e.DSN = value
			}
		}
	}
}

// secondsOf reads a number of seconds.
func secondsOf(text string) time.Duration {
	const most = 10 * 366 * 24 * 3600
	seconds, err := strconv.ParseFloat(text, 64)
	if err != nil || seconds < 0 || seconds > most {
		return 0
	}
	return time.Duration(seconds * float64(time.Second)).Round(time.Microsecond)
}

func postfixQueue(text string) (e Event) {
	if text == "removed" {
		return Event{Kind: Removed}
	}
	rest, ok := strings.CutPrefix(text, "from=")
	if !ok {
		return Event{}
	}
	if e.Sender, rest, ok = bracketed(rest); !ok {
		return Event{}
	}
	if state, found := strings.CutPrefix(rest, ", status="); found {
		state, e.Answer, _ = strings.Cut(state, ", ")
		if state == "expired" || state == "force-expired" {
			e.Kind, e.Answer = Expired, cut(e.Answer, longestAnswer)
			return e
		}
	}
	return Event{}
}

// postfixSuper reads what postsuper(1) was told to do.
func postfixSuper(text string) Event {
	switch text {
	case "removed":
		return Event{Kind: Removed}
	case "placed on hold":
		return Event{Kind: Held, Answer: text}
	case "expired":
		return Event{Kind: Expired, Answer: "an administrator said so"}
	}
	return Event{}
}

// postfixNotice reads "sender non-delivery notification: NAME".
func postfixNotice(text string) Event {
	what, next, ok := strings.Cut(text, " notification: ")
	if !ok || !isQueueID(next) {
		return Event{}
	}
	switch what {
	case "sender non-delivery", "sender delivery status", "sender delay", "postmaster non-delivery", "postmaster delay":
		return Event{Kind: Notified, Next: next, Answer: what + " notification"}
	}
	return Event{}
}

// postfixPickup reads "uid=0 from=<A> orig_id=NAME", which a message has that postsuper(1) has
// put into the queue anew.
func postfixPickup(id, text string) Event {
	rest, ok := strings.CutPrefix(text, "uid=")
	if ok {
		_, rest, ok = strings.Cut(rest, " from=")
	}
	if ok {
		_, rest, ok = bracketed(rest)
	}
	if before, requeued := strings.CutPrefix(rest, " orig_id="); ok && requeued && isQueueID(before) && id != "" {
		return Event{Kind: Requeued, QueueID: before, Next: id}
	}
	return Event{}
}

var postfixGates = map[string]Kind{
	"reject": Rejected, "proxy-reject": Rejected, "discard": Discarded, "hold": Held,
	"milter-reject": Filtered, "milter-discard": Filtered,
}

// postfixGate reads "reject: RCPT from name[192.0.2.1]: REPLY; from=<A> to=<B> proto=ESMTP
// helo=<C>", and what cleanup(8) says of header fields.
func postfixGate(text string) (e Event) {
	action, rest, _ := strings.Cut(text, ": ")
	kind := postfixGates[action]
	if kind == None {
		return Event{}
	}
	stage, rest, ok := strings.Cut(rest, " ")
	if !ok {
		return Event{}
	}
	if !isStage(stage) {
		e = postfixContent(stage + " " + rest)
		e.Kind = kind
		return e
	}
	client, rest, ok := strings.Cut(strings.TrimPrefix(rest, "from "), ": ")
	if !ok {
		return Event{}
	}
	e = Event{Kind: kind, Client: clientIn(client)}
	e.Answer = cut(strings.TrimSuffix(rest, ";"), longestAnswer)
	for at := range partsOf(rest) {
		if envelope, behind, ok := parseEnvelope(rest[at+len(partMark):]); ok && behind == "" {
			e.Sender, e.Recipient, e.Hello, e.Answer = envelope.Sender, envelope.Recipient, envelope.Hello, cut(rest[:at], longestAnswer)
			break
		}
	}
	e.DSN = codes(e.Answer)
	return e
}

// isStage reports that a word is the name of a command or the like, and not of a part of the
// content.
func isStage(word string) bool {
	for i := range len(word) {
		if (word[i] < 'A' || word[i] > 'Z') && word[i] != '-' {
			return false
		}
	}
	return word != ""
}

// postfixContent reads "header Subject: TEXT from name[192.0.2.1]; from=<A> to=<B> proto=ESMTP
// helo=<C>: REASON". The text is a stranger's. Where it, or an address, has been made to look
// like what follows, nothing is taken from either.
func postfixContent(text string) (e Event) {
	found := 0
	for at := range partsOf(text) {
		envelope, behind, ok := parseEnvelope(text[at+len(partMark):])
		if !ok || behind != "" && !strings.HasPrefix(behind, ": ") {
			continue
		}
		found++
		e = envelope
		e.Client = clientIn(text[:at])
		e.Answer = cut(strings.TrimPrefix(behind, ": "), longestAnswer)
	}
	if found != 1 {
		e = Event{}
	}
	if e.Answer == "" {
		e.Answer = cut(text, longestAnswer)
	}
	e.DSN = codes(e.Answer)
	return e
}

// partMark stands before what Postfix adds to a reason, and mostParts bounds how often one is
// looked at: a reason may have any number.
const (
	partMark  = "; "
	mostParts = 16
)

// partsOf gives the places of the marks.
func partsOf(text string) iter.Seq[int] {
	return func(yield func(int) bool) {
		at := 0
		for range mostParts {
			next := strings.Index(text[at:], partMark)
			if next < 0 || !yield(at+next) {
				return
			}
			at += next + len(partMark)
		}
	}
}

// parseEnvelope reads "from=<A> to=<B> proto=ESMTP helo=<C>", of which parts may be missing.
// postscreen(8) has commas between them. No value but an address has a space in it.
func parseEnvelope(text string) (e Event, rest string, ok bool) {
	rest = text
	for _, one := range [...]struct {
		name string
		into *string
	}{{"from=", &e.Sender}, {"to=", &e.Recipient}} {
		if value, found := strings.CutPrefix(rest, one.name); found {
			if *one.into, rest, ok = bracketed(value); !ok {
				return Event{}, text, false
			}
			rest = nextPart(rest)
		}
	}
	for {
		name, value, found := strings.Cut(rest, "=")
		if !found || !slices.Contains(envelopeWords, name) {
			return e, rest, ok
		}
		end := endOfWord(value)
		if name == "helo" {
			e.Hello = cut(strings.TrimSuffix(strings.TrimPrefix(value[:end], "<"), ">"), longestAddress)
		}
		rest, ok = nextPart(value[end:]), true
	}
}

// envelopeWords are the values without a space.
var envelopeWords = []string{"proto", "helo", "sasl_method", "sasl_username", "sasl_sender"}

// endOfWord is where a value ends: at a space, or at a comma or colon before one.
func endOfWord(value string) int {
	end := strings.IndexByte(value, ' ')
	if end < 0 {
		return len(value)
	}
	if end > 0 && (value[end-1] == ',' || value[end-1] == ':') {
		end--
	}
	return end
}

func nextPart(rest string) string { return strings.TrimPrefix(strings.TrimPrefix(rest, ","), " ") }
