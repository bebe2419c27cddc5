package mtalog

import (
	"strconv"
	"strings"
	"time"
)

// isSendmail reports a name under which Sendmail logs: sendmail, and in Debian and FreeBSD
// sm-mta, sm-msp-queue and sendmail-in.
func isSendmail(program string) bool {
	return strings.HasPrefix(program, "sendmail") || strings.HasPrefix(program, "sm-")
}

// sendmailEvent reads what Sendmail says.
func sendmailEvent(text string) Event {
	id, rest, ok := cutQueueID(text)
	if !ok {
		return Event{}
	}
	var e Event
	switch {
	case strings.HasPrefix(rest, "ruleset="):
		e = sendmailRuleset(rest)
	case id == "":
	case strings.HasPrefix(rest, "to="):
		e = sendmailDelivery(rest[len("to="):])
	case strings.HasPrefix(rest, "from="):
		e = sendmailSender(rest[len("from="):])
	case strings.HasPrefix(rest, "done; "):
		e.Kind = Removed
	case strings.HasPrefix(rest, "Milter"):
		e = sendmailMilter(rest)
	case strings.HasPrefix(rest, "<"):
		e = sendmailUnknown(rest)
	default:
		e = sendmailNotice(rest)
	}
	e.QueueID = id
	return e
}

// sendmailDelivery reads "<A>,<B>, ctladdr=C (0/0), delay=00:00:01, xdelay=00:00:00, mailer=M,
// pri=1, relay=R [192.0.2.1], dsn=2.0.0, reply=TEXT, stat=Sent (ok)". Only the class of dsn says
// what happened: it stands before the remote's texts.
func sendmailDelivery(text string) (e Event) {
	rest, ok := e.recipients(text)
	delivered := false
	for ok {
		name, value, found := strings.Cut(rest, "=")
		if !found {
			return Event{}
		}
		switch name {
		case "reply":
			reply, stat, both := strings.Cut(value, ", stat=")
			e.Answer = cut(reply, longestAnswer)
			return e.ended(stat, delivered, both)
		case "stat":
			return e.ended(value, delivered, true)
		}
		if value, rest, ok = cutUnquoted(value); !ok {
			return Event{}
		}
		switch name {
		case "delay":
			e.Delay = clockOf(value)
		case "mailer":
			delivered = true
		case "relay":
			e.Relay = cut(value, longestAddress)
		case "dsn":
			if isDSN(value) {
				e.DSN = value
			}
		}
	}
	return Event{}
}

// recipients reads those that a line begins with, with commas between them.
func (e *Event) recipients(text string) (rest string, ok bool) {
	for {
		var address string
		if strings.HasPrefix(text, "<") {
			if address, rest, ok = bracketed(text); !ok {
				return "", false
			}
		} else {
			end := unquotedIndex(text, ',')
			if end < 0 {
				return "", false
			}
			address, rest = cut(text[:end], longestAddress), text[end:]
		}
		switch {
		case e.Recipient == "":
			e.Recipient = address
		case len(e.Others) < mostOthers:
			e.Others = append(e.Others, address)
		}
		if text, ok = strings.CutPrefix(rest, ","); !ok {
			return "", false
		}
		if strings.HasPrefix(text, " ") {
			return text[1:], true
		}
	}
}

// cutUnquoted cuts at the first ", " outside quoted strings.
func cutUnquoted(text string) (before, after string, ok bool) {
	for at := 0; ; {
		next := unquotedIndex(text[at:], ',')
		if next < 0 {
			return "", "", false
		}
		at += next + 1
		if strings.HasPrefix(text[at:], " ") {
			return text[:at-1], text[at+1:], true
		}
	}
}

// ended makes the Event of a delivery. One that was handed to no mailer was refused before it
// was in the queue.
func (e Event) ended(stat string, delivered, whole bool) Event {
	if e.Answer == "" {
		e.Answer = cut(stat, longestAnswer)
	}
	switch {
	case !whole && e.DSN == "":
	case strings.HasPrefix(e.DSN, "2"):
		e.Kind = Sent
		if accepted, ok := strings.CutPrefix(stat, "Sent ("); ok && strings.HasSuffix(stat, " Message accepted for delivery)") {
			e.Next = leadingID(accepted)
		}
	case strings.HasPrefix(e.DSN, "4"):
		e.Kind = Deferred
	case strings.HasPrefix(e.DSN, "5"):
		e.Kind = Bounced
	case !delivered && stat == "discarded":
		e.Kind = Discarded
	case !delivered && stat != "queued":
		e.Kind, e.DSN = Rejected, codes(stat)
	}
	if e.Kind == None {
		return Event{}
	}
	return e
}

// clockOf reads a time as "1+02:03:04", of which the days may be missing.
func clockOf(text string) time.Duration {
	const most = 3660
	days := 0
	if before, after, ok := strings.Cut(text, "+"); ok {
		days, _ = strconv.Atoi(before)
		text = after
	}
	if len(text) != len("00:00:00") || days < 0 || days > most {
		return 0
	}
	hours, minutes, seconds := number(text[:2]), number(text[3:5]), number(text[6:])
	if hours < 0 || minutes < 0 || seconds < 0 {
		return 0
	}
	return time.Duration(days)*24*time.Hour + time.Duration(hours)*time.Hour + time.Duration(minutes)*time.Minute + time.Duration(seconds)*time.Second
}

// sendmailSender reads "<A>, size=1, class=0, nrcpts=1, ..., relay=R [192.0.2.1]".
func sendmailSender(text string) (e Event) {
	rest, ok := "", false
	if e.Sender, rest, ok = bracketed(text); !ok {
		end := unquotedIndex(text, ',')
		if end < 0 {
			return Event{}
		}
		e.Sender, rest = cut(text[:end], longestAddress), text[end:]
	}
	// What Sendmail did not make itself stands between, such as the Message-Id.
	if !strings.HasPrefix(rest, ", size=") {
		return Event{}
	}
	if at := strings.LastIndex(rest, ", relay="); at >= 0 {
		e.Client = clientIn(rest[at:])
	}
	e.Kind = Begun
	return e
}

// sendmailRuleset reads "ruleset=check_rcpt, arg1=<A>, relay=R [192.0.2.1], reject=550 5.7.1
// TEXT".
func sendmailRuleset(text string) (e Event) {
	set, rest, ok := strings.Cut(strings.TrimPrefix(text, "ruleset="), ", ")
	if !ok {
		return Event{}
	}
	var reply string
	for ok {
		name, value, found := strings.Cut(rest, "=")
		if !found {
			return Event{}
		}
		if name == "reject" {
			reply = value
			break
		}
		address := ""
		if address, rest, ok = bracketed(value); ok {
			rest, ok = strings.CutPrefix(rest, ", ")
		} else {
			address, rest, ok = cutUnquoted(value)
			address = cut(address, longestAddress)
		}
		switch {
		case name == "arg1" && set == "check_rcpt":
			e.Recipient = address
		case name == "arg1" && set == "check_mail":
			e.Sender = address
		case name == "relay":
			e.Client = clientIn(address)
		}
	}
	if reply == "" {
		return Event{}
	}
	e.Kind, e.DSN, e.Answer = Rejected, codes(reply), cut(reply, longestAnswer)
	return e
}

// sendmailMilter reads "Milter: data, reject=550 5.7.1 TEXT", "Milter: to=<A>, reject=550 5.1.1
// TEXT" and "Milter: data, discard". What a milter drops is the whole message, whenever it does.
func sendmailMilter(text string) (e Event) {
	_, what, ok := strings.Cut(text, ": ")
	if to, found := strings.CutPrefix(what, "to="); ok && found {
		e.Recipient, what, ok = bracketed(to)
	}
	_, reply, refused := strings.Cut(what, ", reject=")
	switch {
	case ok && refused:
		e.Kind, e.DSN, e.Answer = Filtered, codes(reply), cut(reply, longestAnswer)
	case ok && strings.HasSuffix(what, ", discard"):
		return Event{Kind: Filtered, Answer: "discard"}
	default:
		return Event{}
	}
	return e
}

// sendmailUnknown reads "<A>... User unknown", which says that a recipient was refused.
func sendmailUnknown(text string) (e Event) {
	rest, ok := "", false
	if e.Recipient, rest, ok = bracketed(text); !ok {
		return Event{}
	}
	if e.Answer, ok = strings.CutPrefix(rest, "... "); !ok {
		return Event{}
	}
	e.Kind, e.DSN, e.Answer = Rejected, codes(e.Answer), cut(e.Answer, longestAnswer)
	return e
}

// sendmailNotice reads "NAME: DSN: TEXT": the sender is told.
func sendmailNotice(text string) Event {
	next, rest, ok := strings.Cut(text, ": ")
	if !ok || !isQueueID(next) {
		return Event{}
	}
	for _, what := range [...]string{"DSN: ", "sender notify: ", "return to sender: ", "postmaster notify: "} {
		if answer, found := strings.CutPrefix(rest, what); found {
			kind := Notified
			if strings.HasPrefix(answer, "Cannot send message for ") {
				kind = Expired
			}
			return Event{Kind: kind, Next: next, Answer: cut(answer, longestAnswer)}
		}
	}
	return Event{}
}
