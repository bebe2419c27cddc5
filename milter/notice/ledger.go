package notice

import (
	"container/list"
	"slices"
	"strings"
	"sync"
	"time"
	"unicode/utf8"

	"coexistd/policy/mail"
)

const (
	// maxAccounts bounds the accounts that the ledger knows. Each takes up to 15 KB.
	maxAccounts = 2_000
	// maxRecent bounds the messages that it keeps of one account, and maxNamed the
	// recipients of each.
	maxRecent, maxNamed = 10, 3
	// spans is into how many parts the ledger divides its window.
	spans = 12
	// maxText bounds an address and the like, and maxSubject a subject, in bytes.
	maxText, maxSubject = 128, 300
)

// Message is one that an account has sent and that was let through. The ledger
// keeps the beginning of texts that are long.
type Message struct {
	Time    time.Time
	QueueID string
	Sender  string // MAIL FROM's path
	// Recipients are the first few of Count.
	Recipients []string
	Count      int
	Size       int64  // in bytes
	Subject    string // the field's value, as it stands
}

// totals are what an account has sent since a time.
type totals struct {
	since                       time.Time
	messages, recipients, bytes int64
}

// ledger notes what each account has sent lately. It forgets those that have sent
// nothing in its window, and of more than maxAccounts those that have sent nothing
// for the longest time. It may be used by several goroutines at once.
type ledger struct {
	mu sync.Mutex
	// window is for how long messages count. While it is zero, none is noted.
	window   time.Duration
	accounts map[string]*list.Element // of *account
	order    list.List                // who sent last, first
}

// account is the page of one account.
type account struct {
	name   string
	spans  []totals  // the oldest first, each of a part of the window
	recent []Message // the newest last
	used   time.Time // the latest time of a message
}

func (l *ledger) setWindow(window time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.window = window
}

// record notes a message.
func (l *ledger) record(name string, m Message) {
	m = m.clip()
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.window == 0 {
		return
	}
	begin := m.Time.Add(-l.window)
	for e := l.order.Back(); e != nil && e.Value.(*account).used.Before(begin); e = l.order.Back() {
		l.drop(e)
	}
	a := l.account(clip(name, mail.MaxAddress))
	a.forget(begin, l.window/spans)
	if n := len(a.spans); n == 0 || m.Time.Sub(a.spans[n-1].since) >= l.window/spans {
		a.spans = append(a.spans, totals{since: m.Time})
	}
	span := &a.spans[len(a.spans)-1]
	span.messages++
	span.recipients += int64(m.Count)
	span.bytes += m.Size
	if len(a.recent) == maxRecent {
		a.recent = slices.Delete(a.recent, 0, 1)
	}
	a.recent = append(a.recent, m)
	if m.Time.After(a.used) {
		a.used = m.Time
	}
}

// account returns the page of an account, the newest of all from now on. The
// oldest goes when there are too many.
func (l *ledger) account(name string) *account {
	if e := l.accounts[name]; e != nil {
		l.order.MoveToFront(e)
		return e.Value.(*account)
	}
	if l.accounts == nil {
		l.accounts = make(map[string]*list.Element)
	}
	if len(l.accounts) >= maxAccounts {
		l.drop(l.order.Back())
	}
	a := &account{name: name}
	l.accounts[name] = l.order.PushFront(a)
	return a
}

func (l *ledger) drop(e *list.Element) {
	delete(l.accounts, l.order.Remove(e).(*account).name)
}

// sent returns what an account has sent in the window before a time, as far as it
// is known: in all, and the last messages, the newest first.
func (l *ledger) sent(name string, now time.Time) (sum totals, recent []Message) {
	l.mu.Lock()
	defer l.mu.Unlock()
	e := l.accounts[clip(name, mail.MaxAddress)]
	if e == nil {
		return totals{}, nil
	}
	a := e.Value.(*account)
	a.forget(now.Add(-l.window), l.window/spans)
	if len(a.spans) > 0 {
		sum.since = a.spans[0].since
	}
	for _, span := range a.spans {
		sum.messages += span.messages
		sum.recipients += span.recipients
		sum.bytes += span.bytes
	}
	recent = slices.Clone(a.recent)
	slices.Reverse(recent)
	return sum, recent
}

// forget drops what was sent before a time. A span of that length goes as a whole,
// once all of it was.
func (a *account) forget(before time.Time, length time.Duration) {
	a.spans = slices.DeleteFunc(a.spans, func(t totals) bool { return t.since.Add(length).Before(before) })
	a.recent = slices.DeleteFunc(a.recent, func(m Message) bool { return m.Time.Before(before) })
}

// clip returns what the ledger keeps of a message. It shares no memory with it.
func (m Message) clip() Message {
	named := make([]string, min(len(m.Recipients), maxNamed))
	for i := range named {
		named[i] = clip(m.Recipients[i], maxText)
	}
	m.Recipients = named
	m.QueueID, m.Sender = clip(m.QueueID, maxText), clip(m.Sender, maxText)
	long := len(m.Subject) > maxSubject
	m.Subject = clip(m.Subject, maxSubject)
	// Half an encoded word (RFC 2047) cannot be read.
	if begin := strings.LastIndex(m.Subject, "=?"); long && begin > strings.LastIndex(m.Subject, "?=") {
		m.Subject = m.Subject[:begin] + "…"
	}
	return m
}

// clip returns a copy of the beginning of a text: at most so many bytes, and then
// an ellipsis in the place of the rest.
func clip(s string, most int) string {
	if len(s) <= most {
		return strings.Clone(s)
	}
	for most > 0 && !utf8.RuneStart(s[most]) {
		most--
	}
	return s[:most] + "…"
}
