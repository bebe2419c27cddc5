package milter

import (
	"context"
	"time"

	"coexistd/milter/notice"
	"coexistd/policy"
)

// charge asks the limits for the message, and tells of those that are reached. It
// reports whether the message goes on; where nothing is asked, it may be stopped
// because nobody can tell what to ask.
func (s *session) charge(ctx context.Context) bool {
	m := &s.message
	charges := m.open.Charges()
	if len(charges) == 0 {
		return !m.open.Stops()
	}
	m.open.Grants = m.runtime.Limits.Take(ctx, charges)
	for i, grant := range m.open.Grants {
		if grant.First {
			s.tell(charges[i], grant)
		}
	}
	return !m.open.Stops()
}

// tell says once in a rule's period that its limit was reached: in the log, and of
// those who send from here to the administrators by mail, too.
func (s *session) tell(c policy.Charge, g policy.Grant) {
	m := &s.message
	m.runtime.Notices.Tell(notice.Event{
		Account: s.account(), Rule: c.Rule, Key: c.Key, Limit: c.Limit, Burst: c.Burst, Wait: g.Wait,
		Client: m.client, Point: m.entry.Point,
		Mail: m.entry.Point == policy.S2 && c.Rule.By != policy.ByRecipient,
	})
}

// account names who sends: his login, or the address of who need not log in.
func (s *session) account() string {
	m := &s.message
	if m.login == "" && m.client.IsValid() {
		return m.client.String()
	}
	return m.login
}

// record notes what an account of ours has sent, for when it reaches a limit.
func (s *session) record(d *policy.Decision) {
	m := &s.message
	if d.Verdict > policy.Tag || m.entry.Point != policy.S2 || !m.asks.Rate || s.account() == "" {
		return
	}
	sent := notice.Message{
		Time: time.Now(), QueueID: s.macros.queueID(), Sender: m.path, Count: len(m.admitted),
		Size: m.open.Size, Subject: m.headers.first("Subject"),
	}
	for _, r := range m.admitted[:min(len(m.admitted), maxNamed)] {
		sent.Recipients = append(sent.Recipients, r.Path)
	}
	m.runtime.Notices.Record(s.account(), sent)
}

// maxNamed bounds the recipients of a message that a notice names.
const maxNamed = 3
