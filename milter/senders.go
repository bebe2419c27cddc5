package milter

import (
	"context"
	"log/slog"
	"runtime/debug"
	"sync"

	gomilter "github.com/emersion/go-milter"

	"coexistd/policy"
	"coexistd/scanners"
	"coexistd/scanners/sender"
)

// certificate returns the common name of the client's TLS certificate when the
// MTA trusts its chain, or "". Postfix tells only then; Sendmail tells of any, and
// in {verify} what it thinks of it.
func (s *session) certificate() string {
	subject, verify := s.macros.get(gomilter.StageHelo, "cert_subject"), s.macros.get(gomilter.StageHelo, "verify")
	switch {
	case s.isPostfix() && (verify == "" || verify == "OK"):
		return subject
	case verify == "OK":
		return commonName(subject)
	}
	return ""
}

// evidence is what the message has to prove its tenant with.
func (s *session) evidence() scanners.Evidence {
	return scanners.Evidence{Values: s.message.headers.values, Certificate: s.certificate(), DKIM: s.message.signatures}
}

// settle puts together what could not be known before the message's end: the
// tenant that a signature proves, and with it what the policy asks for.
func (s *session) settle(ctx context.Context) {
	m := &s.message
	if !m.unsettled {
		return
	}
	m.unsettled = false
	s.verify(ctx)
	m.facts.Proof = scanners.Prove(m.entry.Platform, s.evidence())
	s.consider()
}

// consider opens the case and learns what it asks for.
func (s *session) consider() {
	m := &s.message
	m.open = m.runtime.Policy.Open(m.facts)
	m.asks = m.open.Asks()
	if m.asks.Authors {
		m.open.Authors = sender.ReadAuthors(m.headers.values)
	}
}

// senders is what asks who sent the message. What breaks down is logged.
func (s *session) senders() *sender.Verifier {
	return &sender.Verifier{Resolver: s.message.runtime.Resolver, Broken: s.brokeDown}
}

// verify verifies the message's signatures, once.
func (s *session) verify(ctx context.Context) {
	m := &s.message
	if m.signatures == nil {
		m.signatures = s.senders().DKIM(ctx, s.scanned(s.original()))
	}
}

// authenticate asks signatures and the DNS who sent the message, side by side: a
// signature that takes its time is not to keep the DNS from being asked.
func (s *session) authenticate(ctx context.Context) *policy.Authentication {
	var done sync.WaitGroup
	done.Go(func() {
		defer s.gaveUp()
		s.verify(ctx)
	})
	found := s.senders().Authenticate(ctx, s.senderQuestion())
	done.Wait()
	found.DKIM = s.message.signatures
	return &found
}

// gaveUp, deferred, makes a panic something that could not be told of this message.
func (s *session) gaveUp() {
	if v := recover(); v != nil {
		s.brokeDown(v, debug.Stack())
	}
}

func (s *session) brokeDown(panicked any, stack []byte) {
	s.log(slog.LevelError, "a message's sender could not be authenticated; this is an error in coexistd",
		slog.String("queue_id", s.macros.queueID()), slog.Any("panic", panicked), slog.String("stack", string(stack)))
}

func (s *session) senderQuestion() sender.Question {
	m := &s.message
	return sender.Question{Client: m.client, Helo: s.client.helo, Sender: m.sender, Authors: m.open.Authors}
}
