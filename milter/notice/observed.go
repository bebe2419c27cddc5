package notice

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"coexistd/milter/record"
	"coexistd/policy"
	"coexistd/policy/verdict"
)

const (
	// maxSenders bounds the senders that are counted of one kind, and shownSenders those that
	// people are shown.
	maxSenders, shownSenders = 100, 5
	// lookInterval is how often it is looked whether a summary is due, and retryInterval how long
	// after one that reached nobody it is sent again.
	lookInterval, retryInterval = 30 * time.Second, time.Hour
)

// Observing is what a configuration says of mail that is only observed.
type Observing struct {
	// Path is the file that keeps the counts.
	Path string
	// Any says that some mail is only observed. Without, what was counted is forgotten.
	Any   bool
	Ready Ready
	// At is when the summary is sent each day: what the clock of Settings.Zone shows since
	// midnight. Nil: never.
	At *time.Duration
}

// Ready says when all is ready to be enforced.
type Ready struct {
	// After is how long nothing unexpected must come before.
	After time.Duration
	// Expected are the checks by which mail may be refused, put off, held or dropped all the
	// same.
	Expected []string
}

// Observed counts what would have been done with mail that is only observed (record.Sink), and
// tells the administrators of it once a day. A file keeps the counts for the next start and for
// other processes. All methods may be called by several goroutines at once; Record waits for
// nothing outside the process.
type Observed struct {
	teller *Teller
	saver  saver

	mu       sync.Mutex
	settings Observing
	kept     observed
	tried    time.Time // when a summary was last tried to be sent
}

// observed is what the file holds.
type observed struct {
	Since time.Time      `json:"since"` // when the first message was counted
	Told  time.Time      `json:"told"`  // when the last summary was sent
	Kinds map[Kind]*kind `json:"kinds"`
}

// Kind is one thing that would have been done, and the check that decides it, or "".
type Kind struct{ Effect, Check string }

// The effects of Kinds.
const (
	Passed     = "passed" // it goes on as it came
	Rewritten  = "rewritten"
	Marked     = "marked"
	Held       = "held"
	Dropped    = "dropped"
	PutOff     = "put off"
	Refused    = "refused"
	Unanswered = "not told" // the directory, a scanner or Redis could not answer
)

// effects are what they are for verdicts.
var effects = map[verdict.Verdict]string{
	verdict.Accept: Passed, verdict.Tag: Marked, verdict.Quarantine: Held, verdict.Discard: Dropped, verdict.Tempfail: PutOff, verdict.Reject: Refused,
}

// isUnexpected reports that enforcing would do more than keep away what nobody wants: it refuses,
// puts off, holds or drops a message for a check that is not expected to, or for none, or somebody
// who is asked does not answer.
func (r Ready) isUnexpected(k Kind) bool {
	switch k.Effect {
	case Held, Dropped, PutOff, Refused:
		return !slices.Contains(r.Expected, k.Check)
	}
	return k.Effect == Unanswered
}

// MarshalText writes a Kind as the file has it.
func (k Kind) MarshalText() ([]byte, error) { return []byte(k.Effect + "/" + k.Check), nil }

// UnmarshalText reads one.
func (k *Kind) UnmarshalText(text []byte) error {
	k.Effect, k.Check, _ = strings.Cut(string(text), "/")
	return nil
}

// kind are the messages of a Kind.
type kind struct {
	Hours  hours     `json:"hours"`
	Latest time.Time `json:"latest"` // the last one
	// Senders are the most common since the last summary.
	Senders map[string]int64 `json:"senders"`
}

// NewObserved returns an Observed whose mails a Teller sends. It keeps nothing until it is
// configured.
func NewObserved(teller *Teller) *Observed {
	return &Observed{teller: teller, saver: newSaver()}
}

// Configure puts settings in the place of those before. What the file holds counts if nothing
// was counted yet. A file that cannot be read is begun anew.
func (o *Observed) Configure(s Observing) {
	k, err := readKept[observed](s.Path)
	if err != nil && s.Any {
		o.teller.log.Warn("the counts of observed mail cannot be read: they begin anew", "error", err)
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	o.settings = s
	if o.kept.Since.IsZero() {
		o.kept = k
	}
	if s.Any {
		return
	}
	o.kept = observed{}
	if err := os.Remove(s.Path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		o.teller.log.Error("the counts of observed mail cannot be removed", "error", err)
	}
}

// Record counts a message with recipients for whom the mode is observe (record.Sink).
func (o *Observed) Record(r *record.Record) {
	if r.Decision.Observed == nil {
		return
	}
	kinds := kindsOf(r)
	o.mu.Lock()
	defer o.mu.Unlock()
	if !o.settings.Any {
		return
	}
	if o.kept.Since.IsZero() {
		o.kept.Since = r.Time
	}
	o.kept.forget(r.Time)
	for _, one := range kinds {
		o.kept.add(one, r.Time, r.Sender)
	}
	o.saver.touch()
}

// kindsOf are what would have been done with a message, for some recipient who is observed, each
// once.
func kindsOf(r *record.Record) (kinds []Kind) {
	add := func(k Kind) {
		if !slices.Contains(kinds, k) {
			kinds = append(kinds, k)
		}
	}
	d := &r.Decision
	for _, list := range [...][]policy.Ruling{r.Refused, d.Recipients} {
		for i := range list {
			if one := &list[i]; one.Observed {
				add(kindOf(one))
			}
			if list[i].Reasons.HasCode(verdict.DirectoryFailed) {
				add(Kind{Unanswered, "directory"})
			}
		}
	}
	if len(kinds) == 0 {
		add(Kind{effects[d.Observed.Verdict], d.Observed.Check})
	}
	for _, f := range d.Findings {
		if f.State == verdict.Unknown && slices.Contains([]string{verdict.CheckRate, verdict.CheckSpam, verdict.CheckVirus}, f.Check) {
			add(Kind{Unanswered, f.Check})
		}
	}
	return kinds
}

// kindOf is what would have been done for one recipient.
func kindOf(r *policy.Ruling) Kind {
	if r.Verdict == verdict.Accept && r.Elsewhere != "" {
		return Kind{Effect: Rewritten}
	}
	return Kind{effects[r.Verdict], r.Check}
}

// add counts a message of a kind. Of more senders than are counted, those stay that are common
// (J. Misra and D. Gries, "Finding repeated elements").
func (k *observed) add(one Kind, at time.Time, sender string) {
	if k.Kinds == nil {
		k.Kinds = make(map[Kind]*kind)
	}
	c := k.Kinds[one]
	if c == nil {
		c = &kind{Hours: make(hours), Senders: make(map[string]int64)}
		k.Kinds[one] = c
	}
	c.Hours[hourOf(at)]++
	c.Latest = at
	sender = clip(strings.ToLower(sender), maxText)
	if _, known := c.Senders[sender]; known || len(c.Senders) < maxSenders {
		c.Senders[sender]++
		return
	}
	for other := range c.Senders {
		if c.Senders[other]--; c.Senders[other] == 0 {
			delete(c.Senders, other)
		}
	}
}

// forget drops the counts of more than a week before a time. What is after it, from a clock that
// was put back, counts as of now.
func (k *observed) forget(now time.Time) {
	for _, c := range k.Kinds {
		c.Hours.forget(now)
		if c.Latest.After(now) {
			c.Latest = now
		}
	}
}

// Run saves the counts, once a minute at most and at its end, and sends the summaries, until the
// context ends.
func (o *Observed) Run(ctx context.Context) {
	look := time.NewTimer(0)
	defer look.Stop()
	o.saver.run(ctx, o.save, look.C, func(now time.Time) {
		look.Reset(lookInterval)
		if o.isDue(now) {
			o.told(now, o.teller.deliver(ctx, notice{kind: "observe", write: o.letter}))
		}
	})
}

// isDue reports that a summary is to be sent, and notes that it is tried: once a day, from the
// time of day on at which it is sent, of what was counted before.
func (o *Observed) isDue(now time.Time) bool {
	settings := o.teller.settings.Load()
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.settings.At == nil || !o.settings.Any || o.kept.Since.IsZero() || len(settings.To) == 0 || now.Sub(o.tried).Abs() < retryInterval {
		return false
	}
	year, month, day := now.In(settings.Zone).Date()
	at := time.Date(year, month, day, 0, int(o.settings.At.Minutes()), 0, 0, settings.Zone)
	if now.Before(at) || !o.kept.Since.Before(at) || !o.kept.Told.Before(at) && !o.kept.Told.After(now) {
		return false
	}
	o.tried = now
	return true
}

// told notes whether the summary of a time is done with.
func (o *Observed) told(at time.Time, done bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if !done {
		return
	}
	o.kept.Told = at
	for _, c := range o.kept.Kinds {
		clear(c.Senders)
	}
	o.saver.touch()
}

// save writes the file, once there is something to count. One call at a time may do so.
func (o *Observed) save() {
	o.mu.Lock()
	path, isEmpty := o.settings.Path, o.kept.Since.IsZero()
	text, err := json.Marshal(&o.kept)
	o.mu.Unlock()
	if isEmpty {
		return
	}
	if err == nil {
		err = replace(path, text)
	}
	if err != nil {
		o.teller.log.Error("the counts of observed mail cannot be saved", "error", err)
	}
}

// Summary says what would have been done with observed mail.
type Summary struct {
	// Since is when the first message was counted; zero: none was.
	Since time.Time `json:"since"`
	// Unexpected is when something unexpected last would have been done; zero: never.
	Unexpected time.Time `json:"unexpected"`
	// ReadyAfter is how long nothing unexpected must come, and Ready says that it is so.
	ReadyAfter time.Duration `json:"-"`
	Ready      bool          `json:"ready"`
	Kinds      []CountedKind `json:"kinds"`
}

// CountedKind is how often one thing would have been done.
type CountedKind struct {
	Effect     string `json:"effect"`
	Check      string `json:"check"` // or empty
	Unexpected bool   `json:"unexpected"`
	// Day and Week count the messages of the last 24 hours and seven days, and up to an hour
	// more. One for several recipients may count in several kinds.
	Day  int64 `json:"day"`
	Week int64 `json:"week"`
	// Senders are the most common since the last summary that was sent, the most common first.
	Senders []Sender `json:"senders"`
}

// String says what would have been done, for people.
func (c *CountedKind) String() string {
	text := c.Effect
	switch {
	case c.Effect == Unanswered:
		return fmt.Sprintf("%s could not answer (unexpected)", c.Check)
	case c.Check != "":
		text += " by " + c.Check
	case c.Effect == Passed:
		text = "nothing"
	}
	if c.Unexpected {
		text += " (unexpected)"
	}
	return text
}

// Counts says how often, for people.
func (c *CountedKind) Counts() string {
	return fmt.Sprintf("%d in the last 24 hours, %d in the last seven days", c.Day, c.Week)
}

// Readiness says for people whether all is ready to be enforced, and why. Clock writes a time.
func (s *Summary) Readiness(clock func(time.Time) string) string {
	after := period(int64(s.ReadyAfter/time.Second), "")
	switch {
	case s.Since.IsZero():
		return "Not ready to enforce: no message was observed yet"
	case s.Ready:
		return "Ready to enforce: for " + after + " nothing unexpected would have been done"
	case s.Unexpected.IsZero():
		return "Not ready to enforce: mail is observed only since " + clock(s.Since) + ", and not for " + after
	}
	return "Not ready to enforce: something unexpected would have been done last at " + clock(s.Unexpected) + ", and it is to be " + after + " without"
}

// Sender is how many messages somebody sent at the least.
type Sender struct {
	Address string `json:"address"` // empty is the null sender
	Count   int64  `json:"count"`
}

// ReadObserved reads from the file of an Observed what it says at a time. Without the file, nothing
// was counted.
func ReadObserved(path string, now time.Time, ready Ready) (Summary, error) {
	k, err := readKept[observed](path)
	return k.summary(now, ready), err
}

// summary says what was counted, what is unexpected first, and then the most frequent.
func (k *observed) summary(now time.Time, ready Ready) Summary {
	s := Summary{Since: k.Since, ReadyAfter: ready.After, Kinds: []CountedKind{}}
	begin := k.Since
	for one, c := range k.Kinds {
		counted := CountedKind{Effect: one.Effect, Check: one.Check, Unexpected: ready.isUnexpected(one), Senders: []Sender{}}
		if counted.Unexpected && c.Latest.After(s.Unexpected) {
			s.Unexpected = c.Latest
		}
		counted.Day, counted.Week = c.Hours.since(now)
		for address, n := range c.Senders {
			counted.Senders = append(counted.Senders, Sender{address, n})
		}
		slices.SortFunc(counted.Senders, func(a, b Sender) int {
			return cmp.Or(cmp.Compare(b.Count, a.Count), strings.Compare(a.Address, b.Address))
		})
		counted.Senders = counted.Senders[:min(len(counted.Senders), shownSenders)]
		if counted.Week > 0 {
			s.Kinds = append(s.Kinds, counted)
		}
	}
	if s.Unexpected.After(begin) {
		begin = s.Unexpected
	}
	s.Ready = !k.Since.IsZero() && now.Sub(begin) >= ready.After
	slices.SortFunc(s.Kinds, func(a, b CountedKind) int {
		if a.Unexpected != b.Unexpected {
			if a.Unexpected {
				return -1
			}
			return 1
		}
		return cmp.Or(cmp.Compare(b.Week, a.Week), strings.Compare(a.Effect+a.Check, b.Effect+b.Check))
	})
	return s
}
