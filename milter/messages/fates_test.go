package messages

import (
	"context"
	"fmt"
	"slices"
	"testing"

	"coexistd/milter/mtalog"
	"coexistd/milter/record"
)

// What the MTA did is looked for as it is told of each message, in indexed spans and behind
// them, with other keys or alone.
func TestWhatTheMTADidFindsTheMessagesAndNoOthers(t *testing.T) {
	t.Parallel()
	const count = 2*spanSize + 300
	m := beginMTA(t)
	var sent []*record.Record
	for n := range count {
		r := numbered(n)
		r.QueueID = fmt.Sprintf("4Q%08d", n)
		sent = append(sent, r)
	}
	send(t, m.Index, sent...)
	say := func(n int, line string, args ...any) {
		m.say(t, sent[n].Time, fmt.Sprintf(line, args...))
	}
	const to = "smtp[1]: %s: to=<bob@example.net>, relay=%s:25, delay=0.1, delays=0/0/0/0.1, dsn=2.0.0, status=%s"
	const filter, remote = "127.0.0.1[127.0.0.1]", "mx.example.net[192.0.2.25]"
	for n := 3; n < count-2; n += 40 { // of the deferred ones, a span has many
		say(n, to, sent[n].QueueID, remote, "deferred (451 later)")
		say(n, to, sent[n].QueueID, remote, "sent (250 ok)")
		if n < spanSize && n%800 == 3 {
			say(n+1, to, sent[n+1].QueueID, remote, "bounced (550 no)")
			say(n+2, "qmgr[1]: %s: from=<a@b.example>, status=expired, returned to sender", sent[n+2].QueueID)
		}
	}
	// Through a filter, twice; the last one is put off there. One whose record is lost.
	say(90, to, sent[90].QueueID, filter, "sent (250 2.0.0 Ok: queued as 5Q00000001)")
	say(90, to, "5Q00000001", filter, "sent (250 2.0.0 Ok: queued as 5Q00000002)")
	say(90, to, "5Q00000002", remote, "deferred (451 later)")
	say(90, to, "6Q00000001", remote, "bounced (550 no)")
	// The same name again, for one that was bounced before.
	say(count-1, to, sent[4].QueueID, remote, "bounced (550 no)")
	for n := 0; n < count; n += 3000 {
		m.say(t, sent[n].Time, "smtpd[1]: NOQUEUE: reject: RCPT from unknown[192.0.2.7]: 550 5.1.1 No; from=<eve@example.org> to=<nobody@acmecorp.com> proto=ESMTP helo=<h.example.org>")
	}
	m.wait(t)
	type told struct {
		*Message
		did []Delivery
	}
	var everything []told
	r := Open(m.options)
	defer r.Close()
	for _, one := range all(t, m.options, Query{}) {
		did, err := r.Deliveries(context.Background(), one)
		if err != nil {
			t.Fatal(err)
		}
		everything = append(everything, told{one, did})
	}
	for kind := mtalog.Sent; kind <= mtalog.Filtered; kind++ {
		for sender, from := range map[string]string{"": "", "From4@Example.org": "from4@example.org"} {
			var want, got []ID
			for _, one := range everything {
				did := one.MTA == kind.String() || slices.ContainsFunc(one.did, func(d Delivery) bool { return d.Kind == kind && !d.Notice })
				if did && (sender == "" || one.Sender == sender) {
					want = append(want, one.ID)
				}
			}
			for _, one := range all(t, m.options, Query{MTA: kind, From: from}) {
				got = append(got, one.ID)
			}
			if !slices.Equal(got, want) {
				t.Errorf("%s, from %q: %v are found, right are %v", kind, from, got, want)
			}
			if slices.Contains([]mtalog.Kind{mtalog.Sent, mtalog.Deferred, mtalog.Bounced, mtalog.Expired, mtalog.Rejected}, kind) && sender == "" && len(want) == 0 {
				t.Errorf("none are %s", kind)
			}
		}
	}
}
