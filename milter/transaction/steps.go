package transaction

import (
	"context"
	"crypto/rand"
	"io"
	"log/slog"
	"slices"
	"sync"
	"time"

	"coexistd/milter/notice"
	"coexistd/milter/quarantine"
	"coexistd/milter/record"
	"coexistd/policy"
	"coexistd/policy/rate"
	"coexistd/policy/seal"
	"coexistd/policy/spoof"
	"coexistd/policy/verdict"
	"coexistd/scanners"
	"coexistd/scanners/sender"
)

// gather puts together, once, what is known of the mail by its envelope and header, and
// learns what its decision needs besides.
func (t *Transaction) gather() {
	if t.open != nil {
		return
	}
	authors := sync.OnceValue(func() *spoof.Authors {
		read := spoof.ReadAuthors(t.header.Values)
		return &read
	})
	m := policy.Message{
		Entry: t.entry, Sender: t.sender, Recipients: t.admitted, Unread: t.unread, TooMany: t.tooMany, Observed: t.observed,
		Client: t.Client, Helo: t.Helo, Login: t.Login, Certificate: t.Certificate,
		Header: &t.header, Authors: authors, ChangesFields: t.ChangesFields,
		Row: t.runtime.Directory.Row, Limit: t.runtime.Directory.Limit, Senders: t.runtime.Senders,
		Now: time.Now().Unix(),
	}
	if archive := t.runtime.Policy.Archive; archive != nil {
		m.ArchiveListing = t.runtime.Directory.List(archive.Address)
	}
	rand.Read(m.Nonce[:])
	t.open = t.runtime.Policy.Open(m)
	t.asks = t.open.Asks()
	if t.open.Client != t.Client {
		t.Name = "" // is that of the upstream
	}
	t.entry, t.Client, t.Helo = t.open.Entry, t.open.Client, t.open.Helo
}

// trouble is why the mail cannot be decided on, or zero.
func (t *Transaction) trouble() verdict.Reason {
	switch {
	case t.body.err != nil:
		return t.spoiled(t.body.err)
	case t.asks.Body && t.NoBody:
		// What is to be done with a message that cannot be checked does not help here:
		// what came of it is not the message.
		return verdict.Why(verdict.BodyNotTold)
	}
	return verdict.Reason{}
}

// spoiled tells that the mail's body is not whole.
func (t *Transaction) spoiled(err error) verdict.Reason {
	text := "a message cannot be checked; it is put off"
	if t.open.IsObserved() {
		text = "a message cannot be checked; it would be put off, and is only observed"
	}
	t.report(slog.LevelError, text, slog.String("error", err.Error()))
	return verdict.Why(verdict.SpoolFailed, err.Error())
}

func (t *Transaction) report(level slog.Level, text string, attrs ...slog.Attr) {
	t.runtime.World.Report(level, text, append([]slog.Attr{slog.String("queue_id", t.queueID)}, attrs...)...)
}

// measure tells the length of a mail that was read as a whole.
func (t *Transaction) measure() {
	if t.asks.Body {
		t.open.Measure(t.original().Size)
		t.asks = t.open.Asks()
	}
}

// bind lets the mail's body tell whether its pass is for it, where nothing else has.
func (t *Transaction) bind() {
	if !t.open.Unbound() {
		return
	}
	m := t.original()
	body, err := seal.ReadBody(io.NewSectionReader(m.Content, 0, m.Size))
	if err != nil {
		t.open.Trouble = t.spoiled(err)
		return
	}
	t.open.Bind(body)
	t.asks = t.open.Asks()
}

// prove settles the tenant by the mail's signatures, where nothing else has.
func (t *Transaction) prove(ctx context.Context) {
	if t.open.Unproven() {
		defer t.took(record.Prove, time.Now())
		t.open.Prove(t.runtime.World.Verify(ctx, t.original()))
		t.asks = t.open.Asks()
	}
}

// charge asks the limits for the mail, and tells of those that are reached. It reports
// whether the mail goes on; where nothing is asked, it may be stopped because nobody can
// tell what to ask.
func (t *Transaction) charge(ctx context.Context) (goesOn bool) {
	if !t.asks.Rate {
		return true
	}
	if charges := t.open.Charges(); len(charges) > 0 {
		defer t.took(record.Charge, time.Now())
		t.open.Grants = t.runtime.World.Take(ctx, charges)
		for i, grant := range t.open.Grants {
			if grant.First {
				t.runtime.World.LimitReached(t.event(charges[i], grant))
			}
		}
	}
	return !t.open.IsStopped()
}

// event says that a limit was reached. Of those who send from here, the administrators
// are told by mail, too, unless it stops nothing.
func (t *Transaction) event(c rate.Charge, g rate.Grant) notice.Event {
	observed := t.open.IsObserved()
	return notice.Event{
		Account: record.AccountOf(t.Login, t.Client), Rule: c.Rule, Key: c.Key, Limit: c.Limit, Burst: c.Burst, Wait: g.Wait,
		Client: t.Client, Point: t.entry.Point, Observed: observed,
		Mail: !observed && t.entry.Point == verdict.S2 && c.Rule.By != rate.ByRecipient,
	}
}

// scan has scanners, signatures and the DNS asked.
func (t *Transaction) scan(ctx context.Context) {
	if !t.asks.Authentication && len(t.asks.Scans) == 0 {
		return
	}
	defer t.took(record.Scan, time.Now())
	q := Question{
		Asks: t.asks, Message: t.message(), Original: t.original(), Signatures: t.open.Signatures,
		Sender: sender.Question{Client: t.Client, Helo: t.Helo, Sender: t.sender},
	}
	if t.asks.Authentication {
		q.Sender.Domains = t.open.Authors().Domains
	}
	found := t.runtime.World.Find(ctx, q)
	t.open.Findings, t.open.Authentication = found.Findings, found.Authentication
}

// decide has the policy decide, and tells of a change that no MTA could be given.
func (t *Transaction) decide() policy.Decision {
	d := t.open.Decide()
	if d.Reasons.HasCode(verdict.ChangeUnfit) {
		t.report(slog.LevelWarn, "a change to a message is not fit for the MTA; the message is put off", slog.String("error", d.Reasons.String()))
	}
	return d
}

// hold stores the mail for those recipients for whom the decision holds it. Once the MTA
// is told to drop what is held, nobody else has it, so what cannot be held is put off.
func (t *Transaction) hold(d policy.Decision) policy.Decision {
	if d.Verdict > verdict.Quarantine {
		return d
	}
	passed := d.Passed
	if d.Archived != "" {
		passed = append(slices.Clip(passed), policy.PassedArchive)
	}
	var held []quarantine.Recipient
	for i := range d.Recipients {
		ruling := d.Recipients[i].Done()
		if ruling.Verdict != verdict.Quarantine {
			continue
		}
		r := t.admitted[i]
		one := quarantine.Recipient{
			Address: r.Path, Owner: r.Address.Owner, Notify: r.Notify, ORcpt: r.ORcpt,
			Checks: ruling.Held, Passed: passed, Report: ruling.Report, ReportTo: ruling.ReportTo,
		}
		if ruling.Elsewhere != "" {
			one.Rewritten = []string{ruling.Elsewhere}
		}
		for _, check := range ruling.Held {
			one.Found = append(one.Found, found(d.Findings, check))
		}
		held = append(held, one)
	}
	if len(held) == 0 {
		return d
	}
	defer t.took(record.Hold, time.Now())
	whole := t.message()
	item := quarantine.Item{
		Time: time.Now(), QueueID: t.queueID, Login: t.Login, Sender: t.Path,
		Point: d.Checkpoint, Platform: d.Platform, Size: whole.Size,
		From: t.header.First("From"), Subject: t.header.First("Subject"), MessageID: t.header.First("Message-Id"), Proven: t.open.Proven().Key,
	}
	if t.Client.IsValid() {
		item.Client = t.Client.String()
	}
	names, err := t.runtime.World.Hold(item, held, whole)
	if err != nil {
		t.report(slog.LevelError, "a message cannot be held in quarantine; it is put off", slog.String("error", err.Error()))
		return d.PutOff(verdict.Why(verdict.NotHeld, err.Error()))
	}
	t.held = names
	return d
}

// message is the mail as it goes on, is scanned and is held: without the fields that let
// it pass and that prove its tenant.
func (t *Transaction) message() *scanners.Message {
	secrets := t.open.Secrets()
	if !slices.ContainsFunc(secrets, func(name string) bool { return t.header.Count(name) > 0 }) {
		return t.original()
	}
	if t.bare == nil {
		t.bare = t.header.AppendTo(nil, secrets, t.ExactValues)
	}
	return t.messageOf(t.bare)
}

// original is the mail as it came.
func (t *Transaction) original() *scanners.Message {
	if len(t.head) == 0 {
		t.head = t.header.AppendTo(t.head, nil, t.ExactValues)
	}
	return t.messageOf(t.head)
}

// messageOf returns the mail with that header as scanners get it.
func (t *Transaction) messageOf(head []byte) *scanners.Message {
	whole := &content{head, &t.body}
	m := &scanners.Message{
		Content: whole, Size: whole.size(),
		Sender: t.sender.Path, Client: t.Client, Helo: t.Helo, ClientName: t.Name, Login: t.Login,
		QueueID: t.queueID, Recipients: make([]string, 0, len(t.admitted)),
	}
	for _, r := range t.admitted {
		m.Recipients = append(m.Recipients, r.Path)
	}
	return m
}

// found says in a few words what a check held the message for.
func found(findings []verdict.Finding, check string) string {
	i := slices.IndexFunc(findings, func(f verdict.Finding) bool { return f.Check == check })
	switch {
	case i < 0:
		return verdict.Unknown.String()
	case findings[i].Name != "":
		return findings[i].Name
	case findings[i].State == verdict.Unknown:
		return "unknown: " + findings[i].Reasons.String()
	}
	return findings[i].String()
}
