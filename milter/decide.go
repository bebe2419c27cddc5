package milter

import (
	"context"
	"crypto/rand"
	"errors"
	"log/slog"
	"slices"
	"sync"
	"time"

	gomilter "github.com/emersion/go-milter"

	"coexistd/milter/quarantine"
	"coexistd/policy"
	"coexistd/scanners"
)

// Body decides at end of message.
func (s *session) Body(*gomilter.Modifier) (gomilter.Response, error) {
	defer s.recovered()
	m := &s.message
	switch {
	case m.runtime == nil && !m.barred.IsZero():
		decision := refusal(m.entry, m.barred)
		s.logMessage(&decision, nil)
		s.refuse(m.barred)
		s.forgetMessage()
		return nil, nil
	case m.runtime == nil:
		s.proceed()
		return nil, nil
	}
	s.conn.work()
	decision := s.decide()
	edits, err := s.plan(&decision)
	if err != nil {
		s.log(slog.LevelWarn, "a change to a message is not fit for the MTA; the message is put off",
			slog.String("queue_id", s.macros.queueID()), slog.String("error", err.Error()))
		decision = putOff(decision, "a change to the message is not fit for the MTA: "+err.Error())
	}
	// Once the MTA is told to drop what is held, nobody else has it.
	held, err := s.hold(&decision)
	if err != nil {
		s.log(slog.LevelError, "a message cannot be held in quarantine; it is put off",
			slog.String("queue_id", s.macros.queueID()), slog.String("error", err.Error()))
		decision = putOff(decision, "the message cannot be held in quarantine: "+err.Error())
	}
	s.logMessage(&decision, held)
	s.record(&decision)
	s.conn.done()
	s.apply(decision, edits)
	s.conn.answered()
	s.forgetMessage()
	return nil, nil
}

// wantsBody reports that the body of the message under way must be read. It is
// asked when the first piece of it comes, or the message's end.
func (s *session) wantsBody() bool {
	if s.message.runtime == nil {
		return false
	}
	s.gather()
	return s.message.unsettled || s.message.asks.Body
}

// takeBody keeps the frame's payload when it must be read, and else drops it.
func (s *session) takeBody() error {
	if s.conn.size == 0 || !s.wantsBody() {
		return s.conn.skip()
	}
	return s.message.body.read(s.conn, s.message.runtime.SpoolDir)
}

// gather puts together, once, what is known of the message before its content is
// read.
func (s *session) gather() {
	m := &s.message
	if m.gathered {
		return
	}
	m.gathered = true
	m.facts = policy.Message{
		Entry:      m.entry,
		Sender:     m.sender,
		Recipients: m.admitted,
		Client:     m.client,
		Login:      m.login,
		Row:        s.row,
		Limit:      m.runtime.Directory.Limit,
	}
	if s.unfit() != (policy.Reply{}) {
		return
	}
	facts := &m.facts
	facts.Traces = m.headers.values(policy.TraceHeader)
	facts.Marks = policy.Marks(m.headers.values)
	if passes := m.headers.values(policy.PassHeader); len(passes) > 0 {
		if pass, ok := m.runtime.Policy.OpenPass(passes, facts.Marks, time.Now().Unix()); ok {
			facts.Pass = &pass
		}
	}
	rand.Read(facts.Nonce[:])
	if m.entry.Provisional {
		evidence := s.evidence()
		facts.Proof = scanners.Prove(m.entry.Platform, evidence)
		if m.unsettled = scanners.NeedsDKIM(m.entry.Platform, evidence); m.unsettled {
			return
		}
	}
	s.consider()
}

// unfit is the reply to a message that is refused whatever the policy says, or
// the zero Reply.
func (s *session) unfit() policy.Reply {
	m := &s.message
	switch {
	case m.headers.tooLarge:
		return policy.Reply{Code: 552, Enhanced: "5.3.4", Text: "The message's header is too large"}
	case m.tooMany:
		return policy.Reply{Code: 554, Enhanced: "5.5.3", Text: "The message has too many recipients"}
	}
	for _, name := range append(s.secrets(), m.runtime.Header, authResultsHeader) {
		if name != "" && m.headers.count(name) > maxForged {
			return policy.Reply{Code: 554, Enhanced: "5.6.0", Text: "The message has too many header fields named " + name}
		}
	}
	return policy.Reply{}
}

// decide gives the policy all that is known of the message.
func (s *session) decide() policy.Decision {
	m := &s.message
	s.gather()
	if reply := s.unfit(); !reply.IsZero() {
		return refusal(m.entry, reply)
	}
	if len(m.admitted) == 0 && m.unread == 0 {
		// No MTA comes to the end of a message without a recipient, so there is one
		// of whom nothing is known.
		d := refusal(m.entry, policy.Reply{Code: 451, Enhanced: "4.3.0", Text: "The message cannot be handled at the moment, try again later"})
		d.Reason = "the MTA sends a message without having asked for any of its recipients"
		return d
	}
	if m.body.err != nil {
		s.log(slog.LevelError, "a message cannot be checked; it is put off",
			slog.String("queue_id", s.macros.queueID()), slog.String("error", m.body.err.Error()))
		d := refusal(m.entry, policy.Reply{Code: 452, Enhanced: "4.3.1", Text: "The mail system is out of storage, try again later"})
		d.Reason = m.body.err.Error()
		return d
	}
	if (m.unsettled || m.asks.Body) && s.terms.agreed(gomilter.OptNoBody) {
		// What is to be done with a message that cannot be checked does not help
		// here: what came of it is not the message.
		d := refusal(m.entry, policy.Reply{Code: 451, Enhanced: "4.3.0", Text: "The message cannot be checked at the moment, try again later"})
		d.Reason = "the MTA was told on this connection, before a reload, that bodies are not read"
		return d
	}
	ctx := context.Background()
	s.settle(ctx)
	if m.asks.Rate && m.asks.Body {
		m.open.Size = s.original().size()
	}
	if !m.asks.Rate || s.charge(ctx) {
		s.look(ctx)
	}
	return m.open.Decide()
}

// look has scanners, signatures and the DNS asked, side by side.
func (s *session) look(ctx context.Context) {
	m := &s.message
	var done sync.WaitGroup
	if m.asks.Authentication {
		done.Go(func() {
			defer s.gaveUp()
			m.open.Authentication = s.authenticate(ctx)
		})
	}
	if len(m.asks.Scans) > 0 {
		m.open.Findings = m.runtime.Scanners.Run(ctx, m.asks.Scans, s.scanned(s.content()))
	}
	done.Wait()
}

// scanned is the message as scanners get it.
func (s *session) scanned(whole *content) *scanners.Message {
	m := &s.message
	scanned := &scanners.Message{
		Content: whole, Size: whole.size(),
		Sender: m.sender.Path, Client: m.client, Helo: s.client.helo, ClientName: s.client.name, Login: m.login,
		QueueID: s.macros.queueID(),
	}
	for _, r := range m.admitted {
		scanned.Recipients = append(scanned.Recipients, r.Path)
	}
	return scanned
}

// content is the message as it goes on and is held: without the headers that let
// it pass and that prove its tenant.
func (s *session) content() *content {
	return s.contentWithout(s.secrets())
}

// original is the message as it came.
func (s *session) original() *content { return s.contentWithout(nil) }

func (s *session) contentWithout(names []string) *content {
	m := &s.message
	head := make([]byte, 0, len(m.headers.raw)+3*len(m.headers.fields)+2)
	return &content{m.headers.appendTo(head, names, s.terms.agreed(gomilter.OptHeaderLeadingSpace)), &m.body}
}

// secrets names the header fields that nobody else is to see.
func (s *session) secrets() []string {
	var names []string
	if s.message.facts.Pass != nil {
		names = append(names, policy.PassHeader)
	}
	for _, platform := range s.message.runtime.Policy.Platforms {
		if name := platform.Proof.Header; name != "" {
			names = append(names, name)
		}
	}
	return names
}

// row returns what the directory holds of an address.
func (s *session) row(a policy.Address) policy.Row {
	return s.message.runtime.Directory.Row(a)
}

// hold stores the message for those recipients for whom the decision holds it,
// and returns its names in the quarantine.
func (s *session) hold(d *policy.Decision) ([]string, error) {
	if d.Verdict > policy.Quarantine {
		return nil, nil
	}
	m := &s.message
	var held []quarantine.Recipient
	for i, ruling := range d.Recipients {
		if ruling.Verdict != policy.Quarantine {
			continue
		}
		r := m.admitted[i]
		one := quarantine.Recipient{
			Address: r.Path, Owner: r.Address.Owner, Notify: r.Notify, ORcpt: r.ORcpt,
			Rewritten: ruling.Rewritten, Checks: ruling.Held, Passed: d.Passed, Report: ruling.Report,
		}
		for _, check := range ruling.Held {
			one.Found = append(one.Found, found(d.Findings, check))
		}
		held = append(held, one)
	}
	if len(held) == 0 {
		return nil, nil
	}
	whole := s.content()
	item := quarantine.Item{
		Time: time.Now(), QueueID: s.macros.queueID(), Login: m.login, Sender: m.path,
		Point: d.Checkpoint, Platform: d.Platform, Size: whole.size(),
		From: m.headers.first("From"), Subject: m.headers.first("Subject"), MessageID: m.headers.first("Message-Id"),
	}
	if m.client.IsValid() {
		item.Client = m.client.String()
	}
	if m.runtime.Quarantine == nil {
		return nil, errors.New("the quarantine is not open; the log of the start says why")
	}
	return m.runtime.Quarantine.Put(item, held, whole.reader())
}

// found says in a few words what a check held the message for.
func found(findings []policy.Finding, check string) string {
	i := slices.IndexFunc(findings, func(f policy.Finding) bool { return f.Check == check })
	switch {
	case i < 0:
		return policy.Unknown.String()
	case findings[i].Name != "":
		return findings[i].Name
	case findings[i].State == policy.Unknown:
		return "unknown: " + findings[i].Reason
	}
	return findings[i].String()
}
